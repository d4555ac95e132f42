/*-------------------------------------------------------------------------
 *
 * identifier.c
 *		Unit tests of src/core/identifier.c.
 *
 * IDENTIFICATION
 *		test/unit/identifier.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/core.h"
#include "tap.h"

#include "identifier_cases.h"

static void
form(MktgIdentifier kind, const char *in, const char *want)
{
	char		out[MKTG_IDENTIFIER_BUFFER] = "";
	bool		found = mktg_identifier_normalize(kind, in, strlen(in), out);

	if (!ok(found == (want != NULL) && (want == NULL || strcmp(out, want) == 0), "%s: %s", in, want ? want : "none"))
		printf("# got %s\n", found ? out : "none");
}

static void
test_forms(void)
{
	char		long_name[300];

	form(MKTG_IDENTIFIER_EMAIL, " Ann.Lee@Example.COM\n", "ann.lee@example.com");
	form(MKTG_IDENTIFIER_EMAIL, "ann", NULL);
	form(MKTG_IDENTIFIER_PHONE, "+1 (650) 555-1212", "16505551212");
	form(MKTG_IDENTIFIER_PHONE, "0049 30 123456", "4930123456");
	form(MKTG_IDENTIFIER_PHONE, "030 123456", NULL);
	form(MKTG_IDENTIFIER_PHONE_E164, "+1 (650) 555-1212", "+16505551212");
	form(MKTG_IDENTIFIER_NAME, " Mary ANN ", "mary ann");
	form(MKTG_IDENTIFIER_NAME, "\xc3\x84NNA \xc3\x98STERG\xc3\x85RD", "\xc3\xa4nna \xc3\xb8sterg\xc3\xa5rd");
	form(MKTG_IDENTIFIER_NAME, "\xc5\x81UKASZ \xc5\xbb\xc3\x93\xc5\x81\xc4\x86", "\xc5\x82ukasz \xc5\xbc\xc3\xb3\xc5\x82\xc4\x87");
	form(MKTG_IDENTIFIER_NAME, "\xc5\xb8\xc4\xbd", "\xc3\xbf\xc4\xbe");
	form(MKTG_IDENTIFIER_NAME, "\xce\x91\xce\xa9 \xd0\x96\xd0\xaf \xd0\x81", "\xce\xb1\xcf\x89 \xd0\xb6\xd1\x8f \xd1\x91");
	form(MKTG_IDENTIFIER_NAME, "\xc3\x97 \xe6\x9d\x8e \xc3", "\xc3\x97 \xe6\x9d\x8e \xc3");
	form(MKTG_IDENTIFIER_NAME, " \t ", NULL);
	form(MKTG_IDENTIFIER_NAME, "", NULL);
	memset(long_name, 'x', sizeof(long_name));
	long_name[sizeof(long_name) - 1] = '\0';
	ok(!mktg_identifier_normalize(MKTG_IDENTIFIER_NAME, long_name, strlen(long_name), long_name), "a name of 299 bytes");
	ok(!mktg_identifier_normalize(MKTG_IDENTIFIER_NAME, "a\0b", 3, long_name), "a NUL");
	form(MKTG_IDENTIFIER_PLACE, "St. Louis (MO) 63101-2", "stlouismo");
	form(MKTG_IDENTIFIER_PLACE, "12345", NULL);
	form(MKTG_IDENTIFIER_COUNTRY, "DE", "de");
	form(MKTG_IDENTIFIER_COUNTRY, "Germany", NULL);
	form(MKTG_IDENTIFIER_COUNTRY, "4D", NULL);
	form(MKTG_IDENTIFIER_GENDER, "Female", "f");
	form(MKTG_IDENTIFIER_GENDER, "M", "m");
	form(MKTG_IDENTIFIER_GENDER, "diverse", NULL);
	form(MKTG_IDENTIFIER_YEAR, "1990", "1990");
	form(MKTG_IDENTIFIER_YEAR, "90", NULL);
	form(MKTG_IDENTIFIER_MONTH, "2", "02");
	form(MKTG_IDENTIFIER_MONTH, "13", NULL);
	form(MKTG_IDENTIFIER_MONTH, "0", NULL);
	form(MKTG_IDENTIFIER_DAY, "07", "07");
	form(MKTG_IDENTIFIER_DAY, "007", NULL);
	form(MKTG_IDENTIFIER_DAY, "-1", NULL);
}

static void
test_hashes(void)
{
	static const char upper[] = "62A14E44F765419D10FEA99367361A727C12365E2520F32218D505ED9AA0F62F";
	char		hash[MKTG_HASH_SIZE];

	ok(mktg_identifier_hash(MKTG_IDENTIFIER_NAME, "abc", 3, hash), "hashes");
	is_string(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "SHA-256 of FIPS 180");
	ok(mktg_identifier_hash(MKTG_IDENTIFIER_EMAIL, upper, strlen(upper), hash), "what is a hash");
	is_string(hash, "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f", "stays, in small letters");
	ok(!mktg_identifier_hash(MKTG_IDENTIFIER_EMAIL, "none", 4, hash) && hash[0] == '\0', "nothing of what is malformed");
}

/* Vectors whose form needs more than the text, such as the country of a number, begin with the form. */
static void
test_cases(void)
{
	int			n = 0;

	for (; cases[n].input != NULL; n++)
	{
		char		hash[MKTG_HASH_SIZE];
		bool		found = mktg_identifier_hash(cases[n].kind, cases[n].input, strlen(cases[n].input), hash);

		ok(cases[n].hash == NULL ? !found : found && strcmp(hash, cases[n].hash) == 0,
		   "published: %s %s", cases[n].field, cases[n].input);
	}
	if (n == 0)
		skip("the published vectors are not there");
}

int
main(void)
{
	test_forms();
	test_hashes();
	test_cases();
	return tap_done();
}
