/*-------------------------------------------------------------------------
 *
 * contact.h
 *		What the files of the room share.
 *
 * IDENTIFICATION
 *		src/contact/contact.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_CONTACT_CONTACT_H
#define MKTG_CONTACT_CONTACT_H

#include "postgres.h"

#include "common/sha2.h"
#include "fmgr.h"

#include "core/core.h"

/* what an address of a channel looks like */
typedef enum MktgAddressKind
{
	MKTG_KIND_EMAIL,
	MKTG_KIND_PHONE,
	MKTG_KIND_PLAIN				/* tokens, URLs, keys: any text */
} MktgAddressKind;

#define MKTG_MAX_PLAIN_ADDRESS	2000	/* bytes */
#define MKTG_MAX_EXTERNAL_ID	1000	/* bytes; an index entry must hold it */
#define MKTG_MAX_JSON			(1024 * 1024)	/* bytes */

/*
 * The one form of an address: "form" points into "in" or into "buffer", of
 * MKTG_ADDRESS_BUFFER bytes, and does not end in NUL.
 */
extern MktgAddressResult mktg_address_form(MktgAddressKind kind,
										   const char *in, size_t length, char *buffer,
										   const char **form, size_t *form_length);

/*
 * Kind of an address of a channel; an unknown channel is refused.  Advertisers know
 * people by e-mail address or phone number, whichever it is.
 */
extern MktgAddressKind mktg_address_kind(const char *channel, size_t length,
										 const char *address, size_t address_length);

/* What is wrong with an address and how it is mended, to go with MK022. */
extern int	mktg_address_errdetail(MktgAddressKind kind, MktgAddressResult result, size_t length);
extern int	mktg_address_errhint(MktgAddressKind kind);

/* SHA-256 of an address that has its one form already */
extern void mktg_address_digest(const char *form, size_t length,
								uint8 digest[PG_SHA256_DIGEST_LENGTH]);

/* nothing but blanks, or nothing at all */
extern bool mktg_blank(const char *bytes, size_t length);

/* SQL entries that other files of the room call */
extern Datum mktg_normalize_address(PG_FUNCTION_ARGS);
extern Datum mktg_address_hash(PG_FUNCTION_ARGS);

/* Claims keys until the transaction ends, so that two cannot make the same contact. */
#define MKTG_CONTACT_KEYS	3
typedef struct MktgContactKey
{
	char		kind;			/* x external_id, e e-mail, p phone */
	const char *value;
} MktgContactKey;
extern void mktg_claim_contact_keys(int64 tenant, const MktgContactKey *keys, int nkeys);

#endif
