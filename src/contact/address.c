/*-------------------------------------------------------------------------
 *
 * address.c
 *		The one written form of an address, and its hash.
 *
 * The rules for e-mail and phone are in core/address.c; here they meet SQL.
 * Addresses are personal data: no message of this file repeats one.
 *
 * IDENTIFICATION
 *		src/contact/address.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "base/base.h"
#include "contact/contact.h"

static bool find_form(FunctionCallInfo fcinfo, MktgAddressKind *kind,
					  MktgAddressResult *result, Datum *form);

PG_FUNCTION_INFO_V1(mktg_normalize_address);
PG_FUNCTION_INFO_V1(mktg_address_or_null);
PG_FUNCTION_INFO_V1(mktg_address_hash);

/*
 * SQL: mktg.normalize_address(channel text, address text) returns text
 *
 * Declared STRICT.
 */
Datum
mktg_normalize_address(PG_FUNCTION_ARGS)
{
	MktgAddressKind kind;
	MktgAddressResult result;
	Datum		form;

	if (!find_form(fcinfo, &kind, &result, &form))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_ADDRESS),
				 errmsg("invalid address for channel \"%s\"",
						text_to_cstring(PG_GETARG_TEXT_PP(0))),
				 mktg_address_errdetail(kind, result, VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(1))),
				 mktg_address_errhint(kind)));
	PG_RETURN_DATUM(form);
}

/*
 * SQL: mktg._address_or_null(channel text, address text) returns text
 *
 * Declared STRICT.  Called for every element of arrays of a million: an
 * address that has its form already is given back as it came, uncopied.
 */
Datum
mktg_address_or_null(PG_FUNCTION_ARGS)
{
	MktgAddressKind kind;
	MktgAddressResult result;
	Datum		form;

	if (!find_form(fcinfo, &kind, &result, &form))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(form);
}

/*
 * SQL: mktg.address_hash(address text) returns bytea
 *
 * Declared STRICT.
 */
Datum
mktg_address_hash(PG_FUNCTION_ARGS)
{
	text	   *address = PG_GETARG_TEXT_PP(0);
	bytea	   *hash = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);

	SET_VARSIZE(hash, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	mktg_address_digest(VARDATA_ANY(address), VARSIZE_ANY_EXHDR(address),
						(uint8 *) VARDATA(hash));
	PG_RETURN_BYTEA_P(hash);
}

/* Form of argument 1 for the channel in argument 0; false if it has none. */
static bool
find_form(FunctionCallInfo fcinfo, MktgAddressKind *kind,
		  MktgAddressResult *result, Datum *form)
{
	text	   *channel = PG_GETARG_TEXT_PP(0);
	text	   *address = PG_GETARG_TEXT_PP(1);
	const char *in = VARDATA_ANY(address);
	size_t		length = VARSIZE_ANY_EXHDR(address);
	char		buffer[MKTG_ADDRESS_BUFFER];
	const char *out;
	size_t		out_length;

	*kind = mktg_address_kind(VARDATA_ANY(channel), VARSIZE_ANY_EXHDR(channel), in, length);
	*result = mktg_address_form(*kind, in, length, buffer, &out, &out_length);
	if (*result != MKTG_ADDRESS_OK)
		return false;
	if (out_length == length && memcmp(out, in, length) == 0)
		*form = PointerGetDatum(address);
	else
		*form = PointerGetDatum(cstring_to_text_with_len(out, out_length));
	return true;
}

MktgAddressKind
mktg_address_kind(const char *channel, size_t length, const char *address, size_t address_length)
{
	char	   *name;

	if (length == 5 && memcmp(channel, "email", 5) == 0)
		return MKTG_KIND_EMAIL;
	if ((length == 3 && memcmp(channel, "sms", 3) == 0) ||
		(length == 8 && memcmp(channel, "whatsapp", 8) == 0))
		return MKTG_KIND_PHONE;
	if (length == 3 && memcmp(channel, "ads", 3) == 0)
		return memchr(address, '@', address_length) != NULL ? MKTG_KIND_EMAIL : MKTG_KIND_PHONE;

	name = pnstrdup(channel, length);
	mktg_require_channel(name);
	pfree(name);
	return MKTG_KIND_PLAIN;
}

bool
mktg_blank(const char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (strchr(" \t\r\n", bytes[i]) == NULL || bytes[i] == '\0')
			return false;
	return true;
}

/* what core/address.c takes away around an address too */
static inline bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static MktgAddressResult
plain_form(const char *in, size_t length, const char **form, size_t *form_length)
{
	while (length > 0 && is_blank(in[length - 1]))
		length--;
	while (length > 0 && is_blank(*in))
	{
		in++;
		length--;
	}
	if (length == 0)
		return MKTG_ADDRESS_EMPTY;
	if (length > MKTG_MAX_PLAIN_ADDRESS)
		return MKTG_ADDRESS_TOO_LONG;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char) in[i] < 0x20 || in[i] == 0x7f)
			return MKTG_ADDRESS_CONTROL;
	*form = in;
	*form_length = length;
	return MKTG_ADDRESS_OK;
}

MktgAddressResult
mktg_address_form(MktgAddressKind kind, const char *in, size_t length, char *buffer,
				  const char **form, size_t *form_length)
{
	MktgAddressResult result;

	if (kind == MKTG_KIND_PLAIN)
		return plain_form(in, length, form, form_length);

	if (kind == MKTG_KIND_EMAIL)
		result = mktg_email_normalize(in, length, buffer);
	else
		result = mktg_phone_normalize(in, length, buffer);
	if (result == MKTG_ADDRESS_OK)
	{
		*form = buffer;
		*form_length = strlen(buffer);
	}
	return result;
}

int
mktg_address_errdetail(MktgAddressKind kind, MktgAddressResult result, size_t length)
{
	switch (result)
	{
		case MKTG_ADDRESS_EMPTY:
			return errdetail("It is empty or blank.");
		case MKTG_ADDRESS_CONTROL:
			return errdetail("It holds a control character, such as a line break.");
		case MKTG_ADDRESS_NO_COUNTRY:
			return errdetail("The number has no country code.");
		case MKTG_ADDRESS_TOO_LONG:
			if (kind == MKTG_KIND_PHONE)
				return errdetail("A phone number has at most %d digits.", MKTG_MAX_PHONE - 1);
			return errdetail("It has %zu bytes, at most %d are allowed.", length,
							 kind == MKTG_KIND_EMAIL ? MKTG_MAX_EMAIL : MKTG_MAX_PLAIN_ADDRESS);
		default:
			break;
	}
	if (kind == MKTG_KIND_PHONE)
		return errdetail("It is not a number of 7 to 15 digits after the sign +.");
	return errdetail("It does not have the form name@domain.");
}

int
mktg_address_errhint(MktgAddressKind kind)
{
	if (kind == MKTG_KIND_EMAIL)
		return errhint("Write it like name@example.com.");
	if (kind == MKTG_KIND_PHONE)
		return errhint("Write it in international form, like +14155550123.");
	return errhint("Give 1 to %d bytes without control characters.", MKTG_MAX_PLAIN_ADDRESS);
}

/*
 * The context is kept for the backend's life: looking the algorithm up costs
 * OpenSSL 3 several times what hashing a short text does.
 */
void
mktg_address_digest(const char *form, size_t length, uint8 digest[PG_SHA256_DIGEST_LENGTH])
{
	static EVP_MD_CTX *context = NULL;
	const EVP_MD *algorithm = NULL;

	if (context == NULL)
	{
		context = EVP_MD_CTX_new();
		if (context == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory")));
	}
	/* no algorithm named: start again with the one of last time */
	if (EVP_MD_CTX_get0_md(context) == NULL)
		algorithm = EVP_sha256();
	if (EVP_DigestInit_ex(context, algorithm, NULL) != 1 ||
		EVP_DigestUpdate(context, form, length) != 1 ||
		EVP_DigestFinal_ex(context, digest, NULL) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not compute SHA-256")));
}
