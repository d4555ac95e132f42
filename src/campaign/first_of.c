/*-------------------------------------------------------------------------
 *
 * first_of.c
 *		Is this the first time a value is seen in this scan?
 *
 * Choosing one contact an address by GROUP BY takes rows out of their order and
 * would have them sorted twice.  Here they stream through a set of 128-bit
 * hashes: 24 bytes an address, and a chance of 10^-21 that two of a thousand
 * million are taken for one.
 *
 * IDENTIFICATION
 *		src/campaign/first_of.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "base/base.h"

typedef struct Digest
{
	uint64		high;
	uint64		low;
} Digest;

typedef struct Seen
{
	Digest		digest;
	char		status;
} Seen;

#define SH_PREFIX seen
#define SH_ELEMENT_TYPE Seen
#define SH_KEY_TYPE Digest
#define SH_KEY digest
#define SH_HASH_KEY(tb, key) ((uint32) (key).low)
#define SH_EQUAL(tb, a, b) ((a).high == (b).high && (a).low == (b).low)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* any two different seeds */
#define SEED_HIGH	0x6d6b7467
#define SEED_LOW	1

PG_FUNCTION_INFO_V1(mktg_first_of);

/*
 * SQL: mktg._first_of(value text) returns boolean
 *
 * The set lives as long as the call site, which is one execution of the query.
 * Declared STRICT and VOLATILE.
 */
Datum
mktg_first_of(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);
	const unsigned char *bytes = (const unsigned char *) VARDATA_ANY(value);
	int			length = VARSIZE_ANY_EXHDR(value);
	seen_hash  *seen = fcinfo->flinfo->fn_extra;
	Digest		digest = {
		hash_bytes_extended(bytes, length, SEED_HIGH),
		hash_bytes_extended(bytes, length, SEED_LOW)
	};
	bool		found;

	if (seen == NULL)
		seen = fcinfo->flinfo->fn_extra = seen_create(fcinfo->flinfo->fn_mcxt, 1024, NULL);
	(void) seen_insert(seen, digest, &found);
	PG_RETURN_BOOL(!found);
}
