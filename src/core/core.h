/*-------------------------------------------------------------------------
 *
 * core.h
 *		Plain C that knows nothing of PostgreSQL: compiled into the extension
 *		and, alone, into unit tests and fuzzers.
 *
 * Nothing here keeps state between calls or reads files, settings or clocks.
 * Memory comes from malloc and is the caller's to give back, as each
 * declaration says; strings that come in need not end in NUL.
 *
 * IDENTIFICATION
 *		src/core/core.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_CORE_H
#define MKTG_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr;

/* ---- buffer.c: a growing byte string ---- */

typedef struct MktgBuffer
{
	char	   *data;			/* NUL after the last byte; NULL while empty */
	size_t		length;
	size_t		capacity;
	size_t		limit;			/* most bytes it may hold; 0 = no limit */
	bool		failed;			/* out of memory, or over the limit: nothing more is added */
} MktgBuffer;

extern void mktg_buffer_add(MktgBuffer *buffer, const char *bytes, size_t length);
extern void mktg_buffer_puts(MktgBuffer *buffer, const char *string);
extern void mktg_buffer_clear(MktgBuffer *buffer);	/* keeps the memory; may be added to again */
extern void mktg_buffer_free(MktgBuffer *buffer);

/* adds bytes as a form and a query hold them: letters, digits and -._~ as they are, the rest as %XX */
extern void mktg_buffer_percent(MktgBuffer *buffer, const char *bytes, size_t length);

/* adds a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD */
extern void mktg_buffer_json_string(MktgBuffer *buffer, const char *bytes, size_t length);

/* ---- address.c: e-mail and E.164 phone addresses ---- */

#define MKTG_MAX_EMAIL	254		/* RFC 5321, 4.5.3.1.3 less the brackets */
#define MKTG_MAX_PHONE	16		/* '+' and 15 digits */
#define MKTG_ADDRESS_BUFFER 256

typedef enum MktgAddressResult
{
	MKTG_ADDRESS_OK,
	MKTG_ADDRESS_EMPTY,			/* nothing but blanks */
	MKTG_ADDRESS_TOO_LONG,
	MKTG_ADDRESS_MALFORMED,
	MKTG_ADDRESS_CONTROL,		/* control character, CR, LF or NUL inside */
	MKTG_ADDRESS_NO_COUNTRY		/* phone number without + or 00 */
} MktgAddressResult;

/*
 * The one written form of an address, NUL-terminated, into "out" of
 * MKTG_ADDRESS_BUFFER bytes.  E-mail: blanks around it go, ASCII letters become small.
 * Phone: spaces, dashes, dots, slashes and brackets go, 00 becomes +; "(0)" is
 * malformed, for nobody can tell whether it is to be dialled.
 */
extern MktgAddressResult mktg_email_normalize(const char *in, size_t length, char *out);
extern MktgAddressResult mktg_phone_normalize(const char *in, size_t length, char *out);

/* ---- template.c: texts with {{name}} in them ---- */

typedef struct MktgTemplate MktgTemplate;

typedef enum MktgEscape
{
	MKTG_ESCAPE_NONE,			/* plain text, subjects */
	MKTG_ESCAPE_HTML			/* & < > " ' */
} MktgEscape;

/*
 * Looks a name up.  Gives the value in *value, *length, valid until the next
 * call, and true; false where there is no such name (renders as nothing).
 */
typedef bool (*MktgTemplateLookup) (void *context, const char *name, size_t name_length,
									const char **value, size_t *length);

typedef struct MktgTemplateError
{
	size_t		offset;			/* byte of the source the error is at */
	char		message[128];
} MktgTemplateError;

/* NULL and *error on a text that is no template.  Free with mktg_template_free. */
extern MktgTemplate *mktg_template_parse(const char *source, size_t length,
										 MktgTemplateError *error);
extern void mktg_template_free(MktgTemplate *tpl);

/* Adds the rendered text to "out" (its limit holds); false if that failed. */
extern bool mktg_template_render(const MktgTemplate *tpl, MktgEscape escape,
								 MktgTemplateLookup lookup, void *context,
								 MktgBuffer *out);

/* calls "visit" for each name in the text, in its order; twice for a name that stands there twice */
extern void mktg_template_names(const MktgTemplate *tpl,
								void (*visit) (void *context, const char *name, size_t length),
								void *context);

/* ---- signature.c: Standard Webhooks ---- */

/*
 * Decodes "whsec_BASE64" (the prefix may be missing) into key; gives its
 * length, or -1 if it is not base64 of 24 to 64 bytes.
 */
extern int	mktg_webhook_secret(const char *secret, unsigned char key[64]);

/* "v1,BASE64" over id.timestamp.body into out (64 bytes are enough); false if OpenSSL failed */
extern bool mktg_webhook_sign(const unsigned char *key, size_t key_length,
							  const char *id, int64_t timestamp,
							  const char *body, size_t body_length,
							  char out[64]);

/* The same with a key made ready, for one thread at a time; NULL if it could not be had. */
typedef struct MktgSigner MktgSigner;
extern MktgSigner *mktg_signer_create(const unsigned char *key, size_t key_length);
extern void mktg_signer_free(MktgSigner *signer);
extern bool mktg_signer_sign(MktgSigner *signer, const char *id, int64_t timestamp,
							 const char *body, size_t body_length, char out[64]);

/* ---- jwt.c: JSON Web Tokens signed with RS256 ---- */

struct evp_pkey_st;

/*
 * Reads an RSA private key of 2048 bits or more from PEM, whose line ends may
 * be written as \n; NULL if it is none.  Free with mktg_rsa_key_free().
 */
extern struct evp_pkey_st *mktg_rsa_key(const char *pem);
extern void mktg_rsa_key_free(struct evp_pkey_st *key);

/* Adds HEADER.PAYLOAD.SIGNATURE in base64url; false if that failed. */
extern bool mktg_jwt_sign(struct evp_pkey_st *key, const char *header, const char *payload,
						  size_t payload_length, MktgBuffer *out);

/* ---- identifier.c: what advertisers know people by ---- */

typedef enum MktgIdentifier
{
	MKTG_IDENTIFIER_EMAIL,
	MKTG_IDENTIFIER_PHONE,		/* digits with the country code, no sign */
	MKTG_IDENTIFIER_PHONE_E164,
	MKTG_IDENTIFIER_NAME,		/* small letters; for texts without a form of their own, too */
	MKTG_IDENTIFIER_PLACE,		/* small letters, no blanks, digits, dots, dashes, brackets */
	MKTG_IDENTIFIER_COUNTRY,	/* two letters */
	MKTG_IDENTIFIER_GENDER,		/* m or f, also of words */
	MKTG_IDENTIFIER_YEAR,
	MKTG_IDENTIFIER_MONTH,
	MKTG_IDENTIFIER_DAY
} MktgIdentifier;

#define MKTG_IDENTIFIER_BUFFER	MKTG_ADDRESS_BUFFER
#define MKTG_HASH_SIZE			65	/* SHA-256 in small hexadecimal digits, and a NUL */

/* The one form, NUL-terminated; false if the text cannot be one of this kind, or is empty. */
extern bool mktg_identifier_normalize(MktgIdentifier kind, const char *in, size_t length,
									  char out[MKTG_IDENTIFIER_BUFFER]);

/* Its hash; a text of 64 hexadecimal digits is one already.  False and empty as above. */
extern bool mktg_identifier_hash(MktgIdentifier kind, const char *in, size_t length, char hash[MKTG_HASH_SIZE]);

/* ---- oauth1.c: OAuth 1.0a with HMAC-SHA1 ---- */

typedef struct MktgOauthParam
{
	const char *name;
	const char *value;
} MktgOauthParam;

typedef struct MktgOauthKeys
{
	const char *consumer_key;
	const char *consumer_secret;
	const char *token;
	const char *token_secret;
} MktgOauthKeys;

#define MKTG_OAUTH1_SIGNATURE	32

/*
 * The signature over all parameters of a request, at most 16, those of its
 * query and form among them; the URL without query, scheme and host in small
 * letters.  False if OpenSSL failed or there was no memory.
 */
extern bool mktg_oauth1_sign(const char *method, const char *url, const MktgOauthParam *params, int n,
							 const char *consumer_secret, const char *token_secret,
							 char signature[MKTG_OAUTH1_SIGNATURE]);

/* Adds the value of the Authorization header of a request without query and form. */
extern bool mktg_oauth1_authorization(const char *method, const char *url, const MktgOauthKeys *keys,
									  const char *nonce, int64_t timestamp, MktgBuffer *out);

/* ---- netpolicy.c: which addresses a URL that came as data may reach ---- */

/* public unicast only: hardening, section 2 */
extern bool mktg_address_is_public(const struct sockaddr *address);

/*
 * Does "list", networks in CIDR form or single addresses with commas between
 * them, hold the address?  A list that is none (empty, or with bits set behind a
 * prefix) gives -1.
 */
extern int	mktg_address_in_list(const struct sockaddr *address, const char *list);

/* ---- chance.c: pseudo-random numbers from names ---- */

/* even in [0,1), the same for the same seed and text everywhere (SplitMix64 over FNV-1a) */
extern double mktg_chance(uint64_t seed, const char *text, size_t length, unsigned int draw);

/*
 * Milliseconds to wait before attempt "attempt"+1: 2^attempt seconds up to an hour,
 * or "retry_after_ms" if that is more; then up to a quarter more by "chance" in [0,1).
 */
extern int64_t mktg_backoff_ms(int attempt, int64_t retry_after_ms, double chance);

/* Retry-After: seconds or an HTTP date, against "now" (Unix seconds); -1 if neither. Milliseconds, at most a day. */
extern int64_t mktg_retry_after_ms(const char *value, int64_t now);

/* "... try again after 120 seconds" or "... after Mon, 20 Dec 2021 20:33:21 UTC"; -1 if neither. As above. */
extern int64_t mktg_retry_phrase_ms(const char *text, int64_t now);

/* ---- sms.c: what a text takes as a short message ---- */

typedef struct MktgSms
{
	bool		gsm;			/* every character is of the GSM 7-bit alphabet; else UCS-2 */
	int			characters;		/* UTF-16 units: one above U+FFFF counts twice */
	int			units;			/* septets, or UTF-16 units */
	int			segments;		/* 0 for an empty text */
} MktgSms;

/* bytes that are not UTF-8 count as a character each that GSM does not have */
extern MktgSms mktg_sms_measure(const char *text, size_t length);

/* ---- header.c ---- */

/* no CR, LF, NUL or other control character but TAB: may stand in a header */
extern bool mktg_header_safe(const char *bytes, size_t length);

#endif
