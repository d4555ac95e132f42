/*-------------------------------------------------------------------------
 *
 * jwt.c
 *		JSON Web Tokens signed with RS256 (RFC 7515, RFC 7518 section 3.3).
 *
 * IDENTIFICATION
 *		src/core/jwt.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "core/core.h"

#define MIN_BITS	2048		/* RFC 7518 */
#define MAX_PEM		16384

/* Without a passphrase, and without asking anybody for one. */
static int
no_passphrase(char *out, int size, int writing, void *data)
{
	(void) out;
	(void) size;
	(void) writing;
	(void) data;
	return 0;
}

/* A copy with real line ends in place of written ones; free with free(). */
static char *
with_line_ends(const char *pem)
{
	size_t		length = strlen(pem);
	char	   *copy = length <= MAX_PEM ? malloc(length + 1) : NULL;
	char	   *out = copy;

	if (copy == NULL)
		return NULL;
	while (*pem != '\0')
	{
		if (pem[0] == '\\' && pem[1] == 'n')
		{
			*out++ = '\n';
			pem += 2;
		}
		else
			*out++ = *pem++;
	}
	*out = '\0';
	return copy;
}

EVP_PKEY *
mktg_rsa_key(const char *pem)
{
	char	   *text = with_line_ends(pem);
	size_t		length = text != NULL ? strlen(text) : 0;
	BIO		   *bio = text != NULL ? BIO_new_mem_buf(text, (int) length) : NULL;
	EVP_PKEY   *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

	if (key != NULL && (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_get_bits(key) < MIN_BITS))
	{
		EVP_PKEY_free(key);
		key = NULL;
	}
	BIO_free(bio);
	if (text != NULL)
		OPENSSL_cleanse(text, length);
	free(text);
	ERR_clear_error();
	return key;
}

void
mktg_rsa_key_free(EVP_PKEY *key)
{
	EVP_PKEY_free(key);
}

/* Adds base64url without padding (RFC 7515, appendix C). */
static void
add_base64url(MktgBuffer *out, const unsigned char *bytes, size_t length)
{
	while (length > 0 && !out->failed)
	{
		unsigned char text[65];
		size_t		n = length < 48 ? length : 48;
		size_t		digits = (n * 8 + 5) / 6;

		EVP_EncodeBlock(text, bytes, (int) n);
		for (size_t i = 0; i < digits; i++)
			text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
		mktg_buffer_add(out, (const char *) text, digits);
		bytes += n;
		length -= n;
	}
}

/* Adds the signature of the bytes from "start" on. */
static bool
add_signature(EVP_PKEY *key, MktgBuffer *out, size_t start)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	size_t		length = (size_t) EVP_PKEY_get_size(key);
	unsigned char *signature = malloc(length);
	bool		ok = context != NULL && signature != NULL &&
		EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestSign(context, signature, &length, (const unsigned char *) out->data + start,
					   out->length - start) == 1;

	if (ok)
	{
		mktg_buffer_add(out, ".", 1);
		add_base64url(out, signature, length);
	}
	free(signature);
	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return ok && !out->failed;
}

bool
mktg_jwt_sign(EVP_PKEY *key, const char *header, const char *payload, size_t payload_length,
			  MktgBuffer *out)
{
	size_t		start = out->length;

	add_base64url(out, (const unsigned char *) header, strlen(header));
	mktg_buffer_add(out, ".", 1);
	add_base64url(out, (const unsigned char *) payload, payload_length);
	return !out->failed && add_signature(key, out, start);
}
