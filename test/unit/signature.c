/*-------------------------------------------------------------------------
 *
 * signature.c
 *		Unit tests of src/core/signature.c.
 *
 * IDENTIFICATION
 *		test/unit/signature.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/core.h"
#include "tap.h"

#include "signature_cases.h"

/* Is "signature" one of the list with blanks between them? */
static bool
holds(const char *list, const char *signature)
{
	size_t		length = strlen(signature);

	while (*list != '\0')
	{
		size_t		one = strcspn(list, " ");

		if (one == length && memcmp(list, signature, length) == 0)
			return true;
		list += one;
		list += strspn(list, " ");
	}
	return false;
}

static void
test_inline(void)
{
	unsigned char key[64];
	char		out[64];
	unsigned char long_key[64];
	int			length = mktg_webhook_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", key);

	is_int(length, 24, "a secret of 24 bytes");
	ok(mktg_webhook_sign(key, 24, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
						 "{\"test\": 2432232314}", 20, out), "signs");
	is_string(out, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
			  "the signature of the reference libraries");

	/* worked out with another implementation over "m.-1." and "m.0.a\0b" */
	memset(long_key, 0xAB, sizeof(long_key));
	ok(mktg_webhook_sign(long_key, 64, "m", -1, NULL, 0, out), "signs nothing");
	is_string(out, "v1,AMqO8zX4pFCD6PtLDRAHmwfhZJjDpgdj6kW02HgDL3k=", "an empty body, a negative time");
	ok(mktg_webhook_sign(long_key, 64, "m", 0, "a\0b", 3, out), "signs NUL");
	is_string(out, "v1,64WvM8WH8mDQnzz8FnvWWXkW1RwZtA8lQipZ5RvCnTA=", "NUL in the body");
	ok(mktg_webhook_sign(long_key, 64, "m", INT64_MIN, "x", 1, out), "signs the longest time");
}

/* what one signature leaves behind is not in the next */
static void
test_signer(void)
{
	unsigned char key[64];
	char		out[64];
	int			length = mktg_webhook_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", key);
	MktgSigner *signer = mktg_signer_create(key, (size_t) length);

	for (int i = 0; i < 2; i++)
	{
		ok(mktg_signer_sign(signer, "other", 1, "something else", 14, out), "a signer signs");
		ok(mktg_signer_sign(signer, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
							"{\"test\": 2432232314}", 20, out), "and again");
		is_string(out, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "what the key alone would");
	}
	mktg_signer_free(signer);
	mktg_signer_free(NULL);
}

static void
secret(const char *text, int want, const char *name)
{
	unsigned char key[64];

	is_int(mktg_webhook_secret(text, key), want, name);
}

#define A32 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static void
test_secrets(void)
{
	unsigned char key[64];

	ok(mktg_webhook_secret("+/+/AAAAAAAAAAAAAAAAAAAAAAAAAQ==", key) == -1, "22 bytes are too few");
	ok(mktg_webhook_secret("+/+/" A32, key) == 27 && memcmp(key, "\xfb\xff\xbf\0", 4) == 0,
	   "+ and / decode");
	secret(A32, 24, "24 bytes, no prefix");
	secret("whsec_" A32, 24, "24 bytes");
	secret("whsec_" A32 "AA==", 25, "25 bytes");
	secret("whsec_" A32 "AAA=", 26, "26 bytes");
	secret(A32 A32 "AAAAAAAAAAAAAAAAAAAAAA==", 64, "64 bytes");
	secret(A32 A32 "AAAAAAAAAAAAAAAAAAAAAAA=", -1, "65 bytes");
	secret(A32 A32 A32 A32, -1, "96 bytes");
	secret("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", -1, "23 bytes");
	secret("", -1, "empty");
	secret("whsec_", -1, "the prefix alone");
	secret("WHSEC_" A32, -1, "another prefix");
	secret(A32 "A", -1, "a digit too many");
	secret(A32 "AA", -1, "no padding");
	secret(A32 "A===", -1, "too much padding");
	secret(A32 "AB==", -1, "bits behind the last byte");
	secret(A32 "====", -1, "padding alone");
	secret("AAAA====" A32, -1, "padding inside");
	secret(A32 "AA==AAAA", -1, "more behind the padding");
	secret(A32 "AA A", -1, "a blank");
	secret(A32 "AAA\n", -1, "a line end");
	secret(A32 "AA-_", -1, "base64url");
}

static void
test_cases(void)
{
	size_t		i;

	for (i = 0; cases[i].name != NULL; i++)
	{
		unsigned char key[64];
		char		out[64];
		int			length = mktg_webhook_secret(cases[i].secret, key);

		ok(length > 0 &&
		   mktg_webhook_sign(key, (size_t) length, cases[i].id, cases[i].timestamp,
							 cases[i].body, strlen(cases[i].body), out) &&
		   holds(cases[i].signature, out) == cases[i].valid,
		   "Standard Webhooks: %s", cases[i].name);
	}
	if (i == 0)
		skip("the vectors of Standard Webhooks are not here");
}

int
main(void)
{
	test_inline();
	test_signer();
	test_secrets();
	test_cases();
	return tap_done();
}
