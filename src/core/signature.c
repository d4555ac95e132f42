/*-------------------------------------------------------------------------
 *
 * signature.c
 *		Standard Webhooks: secrets, and signatures of scheme v1.
 *
 * https://github.com/standard-webhooks/standard-webhooks
 *
 * IDENTIFICATION
 *		src/core/signature.c
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "core/core.h"

#define SECRET_PREFIX	"whsec_"
#define MIN_KEY			24
#define MAX_KEY			64
#define DIGEST_LENGTH	32		/* SHA-256 */

/* Value of a base64 digit, or -1. */
static int
base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/*
 * Padding must be there and blanks must not: a secret that was cut or torn in
 * copying is refused here instead of at the receiver.
 */
static int
base64_decode(const char *in, size_t length, unsigned char *out, size_t size)
{
	uint32_t	bits = 0;
	int			n_bits = 0;
	size_t		n_out = 0;
	size_t		padding = 0;
	size_t		i;

	if (length == 0 || length % 4 != 0)
		return -1;
	while (padding < 2 && in[length - 1 - padding] == '=')
		padding++;

	for (i = 0; i < length - padding; i++)
	{
		int			digit = base64_digit(in[i]);

		if (digit < 0)
			return -1;
		bits = (bits << 6 | (uint32_t) digit) & 0xFFFF;
		n_bits += 6;
		if (n_bits < 8)
			continue;
		if (n_out == size)
			return -1;
		n_bits -= 8;
		out[n_out++] = (unsigned char) (bits >> n_bits);
	}
	/* bits left over are padding, and zero in what an encoder wrote */
	if ((bits & ((1u << n_bits) - 1)) != 0)
		return -1;
	return (int) n_out;
}

int
mktg_webhook_secret(const char *secret, unsigned char key[64])
{
	size_t		prefix = strlen(SECRET_PREFIX);
	int			length;

	if (strncmp(secret, SECRET_PREFIX, prefix) == 0)
		secret += prefix;
	length = base64_decode(secret, strlen(secret), key, MAX_KEY);
	if (length < MIN_KEY)
	{
		OPENSSL_cleanse(key, MAX_KEY);
		return -1;
	}
	return length;
}

/* A key made ready: fetching the algorithm and taking up a key costs as much as signing 1 KB. */
struct MktgSigner
{
	EVP_MAC    *mac;
	EVP_MAC_CTX *context;
};

MktgSigner *
mktg_signer_create(const unsigned char *key, size_t key_length)
{
	MktgSigner *signer = calloc(1, sizeof(MktgSigner));
	char		digest_name[] = "SHA256";
	OSSL_PARAM	params[2];

	if (signer == NULL)
		return NULL;
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest_name, 0);
	params[1] = OSSL_PARAM_construct_end();
	signer->mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	signer->context = signer->mac != NULL ? EVP_MAC_CTX_new(signer->mac) : NULL;
	if (signer->context != NULL && EVP_MAC_init(signer->context, key, key_length, params) == 1)
		return signer;
	mktg_signer_free(signer);
	return NULL;
}

void
mktg_signer_free(MktgSigner *signer)
{
	if (signer == NULL)
		return;
	EVP_MAC_CTX_free(signer->context);	/* which wipes the key */
	EVP_MAC_free(signer->mac);
	free(signer);
}

bool
mktg_signer_sign(MktgSigner *signer, const char *id, int64_t timestamp,
				 const char *body, size_t body_length, char out[64])
{
	EVP_MAC_CTX *context = signer->context;
	char		stamp[32];
	int			stamp_length = snprintf(stamp, sizeof(stamp), ".%" PRId64 ".", timestamp);
	unsigned char digest[EVP_MAX_MD_SIZE];
	size_t		digest_length = 0;

	out[0] = '\0';
	/* without a key it begins again with the one it has */
	if (EVP_MAC_init(context, NULL, 0, NULL) != 1 ||
		EVP_MAC_update(context, (const unsigned char *) id, strlen(id)) != 1 ||
		EVP_MAC_update(context, (const unsigned char *) stamp, (size_t) stamp_length) != 1 ||
		(body_length > 0 &&
		 EVP_MAC_update(context, (const unsigned char *) body, body_length) != 1) ||
		EVP_MAC_final(context, digest, &digest_length, sizeof(digest)) != 1 ||
		digest_length != DIGEST_LENGTH)
		return false;
	memcpy(out, "v1,", 3);
	/* 44 characters and a NUL */
	EVP_EncodeBlock((unsigned char *) out + 3, digest, DIGEST_LENGTH);
	return true;
}

bool
mktg_webhook_sign(const unsigned char *key, size_t key_length,
				  const char *id, int64_t timestamp,
				  const char *body, size_t body_length, char out[64])
{
	MktgSigner *signer = mktg_signer_create(key, key_length);
	bool		ok = signer != NULL && mktg_signer_sign(signer, id, timestamp, body, body_length, out);

	mktg_signer_free(signer);
	if (!ok)
		out[0] = '\0';
	return ok;
}
