/*-------------------------------------------------------------------------
 *
 * jwt.c
 *		Unit tests of src/core/jwt.c.
 *
 * IDENTIFICATION
 *		test/unit/jwt.c
 *
 *-------------------------------------------------------------------------
 */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "core/core.h"
#include "tap.h"

#include "jwt_cases.h"

/* A key of the kind and size in PEM; free with free(). */
static char *
make_pem(EVP_PKEY *key)
{
	BIO		   *bio = BIO_new(BIO_s_mem());
	char	   *data;
	char	   *pem;
	long		length;

	PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	length = BIO_get_mem_data(bio, &data);
	pem = strndup(data, (size_t) length);
	BIO_free(bio);
	EVP_PKEY_free(key);
	return pem;
}

/* The same on one line, as it stands in a file of NAME=VALUE. */
static char *
on_one_line(const char *pem)
{
	char	   *line = malloc(2 * strlen(pem) + 1);
	char	   *out = line;

	for (; *pem != '\0'; pem++)
	{
		if (*pem == '\n')
			*out++ = '\\';
		*out++ = *pem == '\n' ? 'n' : *pem;
	}
	*out = '\0';
	return line;
}

static void
test_published(void)
{
	if (cases[0].name == NULL)
		skip("the published tokens are not there");
	for (int i = 0; cases[i].name != NULL; i++)
	{
		char	   *line = on_one_line(cases[i].key);
		struct evp_pkey_st *key = mktg_rsa_key(line);
		MktgBuffer	out = {0};

		ok(key != NULL && mktg_jwt_sign(key, cases[i].header, cases[i].payload, strlen(cases[i].payload), &out),
		   "%s is signed", cases[i].name);
		is_string(out.data, cases[i].token, cases[i].name);
		mktg_buffer_free(&out);
		mktg_rsa_key_free(key);
		free(line);
	}
}

static void
test_keys(void)
{
	char	   *good = make_pem(EVP_RSA_gen(2048));
	char	   *small = make_pem(EVP_RSA_gen(1024));
	char	   *curve = make_pem(EVP_EC_gen("P-256"));
	char	   *line = on_one_line(good);
	char	   *cut = strdup(good);
	char	   *huge = malloc(20001);
	struct evp_pkey_st *key = mktg_rsa_key(good);
	MktgBuffer	out = {.limit = 100};

	ok(key != NULL, "a key of 2048 bits");
	ok(!mktg_jwt_sign(key, "{}", "{}", 2, &out), "a token that does not fit is none");
	mktg_rsa_key_free(key);
	key = mktg_rsa_key(line);
	ok(key != NULL, "its line ends written as \\n");
	mktg_rsa_key_free(key);
	ok(mktg_rsa_key(small) == NULL, "1024 bits are too few");
	ok(mktg_rsa_key(curve) == NULL, "a key of another kind");
	cut[strlen(cut) / 2] = '\0';
	ok(mktg_rsa_key(cut) == NULL, "half a key");
	ok(mktg_rsa_key("") == NULL, "no key");
	ok(mktg_rsa_key("\\n\\n-----BEGIN PRIVATE KEY-----\\n") == NULL, "the beginning of one");
	memset(huge, 'x', 20000);
	huge[20000] = '\0';
	ok(mktg_rsa_key(huge) == NULL, "20,000 bytes of anything");
	mktg_buffer_free(&out);
	free(good);
	free(small);
	free(curve);
	free(line);
	free(cut);
	free(huge);
}

int
main(void)
{
	test_published();
	test_keys();
	return tap_done();
}
