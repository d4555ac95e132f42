/*-------------------------------------------------------------------------
 *
 * address.c
 *		Fuzzes addresses: what comes out is safe, and stays as it is.
 *
 * IDENTIFICATION
 *		test/fuzz/address.c
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

static void
check_email(const char *in, size_t length)
{
	char		out[MKTG_ADDRESS_BUFFER];
	char		again[MKTG_ADDRESS_BUFFER];
	size_t		out_length;

	if (mktg_email_normalize(in, length, out) != MKTG_ADDRESS_OK)
	{
		PROMISE(out[0] == '\0');
		return;
	}
	out_length = strlen(out);
	PROMISE(out_length >= 5 && out_length <= MKTG_MAX_EMAIL);
	PROMISE(strchr(out, '@') != NULL && strchr(out, '@') == strrchr(out, '@'));
	PROMISE(strpbrk(out, " \t\r\n\"<>(),:;\\[]ABCDEFGHIJKLMNOPQRSTUVWXYZ") == NULL);
	PROMISE(strstr(out, "..") == NULL);
	PROMISE(mktg_header_safe(out, out_length));
	PROMISE(mktg_email_normalize(out, out_length, again) == MKTG_ADDRESS_OK);
	PROMISE(strcmp(out, again) == 0);
}

static void
check_phone(const char *in, size_t length)
{
	char		out[MKTG_ADDRESS_BUFFER];
	char		again[MKTG_ADDRESS_BUFFER];
	size_t		out_length;

	if (mktg_phone_normalize(in, length, out) != MKTG_ADDRESS_OK)
	{
		PROMISE(out[0] == '\0');
		return;
	}
	out_length = strlen(out);
	PROMISE(out_length >= 8 && out_length <= MKTG_MAX_PHONE);
	PROMISE(out[0] == '+' && out[1] != '0' && strspn(out + 1, "0123456789") == out_length - 1);
	PROMISE(mktg_phone_normalize(out, out_length, again) == MKTG_ADDRESS_OK);
	PROMISE(strcmp(out, again) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_email((const char *) data, size);
	check_phone((const char *) data, size);
	return 0;
}
