/*-------------------------------------------------------------------------
 *
 * oauth1.c
 *		OAuth 1.0a with HMAC-SHA1 (RFC 5849).
 *
 * IDENTIFICATION
 *		src/core/oauth1.c
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "core/core.h"

#define MAX_PARAMS		16

static void
add_percent(MktgBuffer *buffer, const char *text)
{
	mktg_buffer_percent(buffer, text, strlen(text));
}

static int
compare_params(const void *a, const void *b)
{
	const MktgOauthParam *x = a;
	const MktgOauthParam *y = b;
	int			order = strcmp(x->name, y->name);

	return order != 0 ? order : strcmp(x->value, y->value);
}

/* METHOD&URL&NAME=VALUE&..., each part encoded, and what is encoded already once more. */
static void
add_base_string(MktgBuffer *out, const char *method, const char *url, const MktgOauthParam *params, int n)
{
	MktgOauthParam sorted[MAX_PARAMS];
	MktgBuffer	pairs = {0};

	memcpy(sorted, params, sizeof(MktgOauthParam) * (size_t) n);
	/* by bytes: the names there are have none that encoding would move */
	qsort(sorted, (size_t) n, sizeof(MktgOauthParam), compare_params);
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			mktg_buffer_puts(&pairs, "&");
		add_percent(&pairs, sorted[i].name);
		mktg_buffer_puts(&pairs, "=");
		add_percent(&pairs, sorted[i].value);
	}
	mktg_buffer_puts(out, method);
	mktg_buffer_puts(out, "&");
	add_percent(out, url);
	mktg_buffer_puts(out, "&");
	mktg_buffer_percent(out, pairs.data, pairs.length);
	out->failed |= pairs.failed;
	mktg_buffer_free(&pairs);
}

bool
mktg_oauth1_sign(const char *method, const char *url, const MktgOauthParam *params, int n,
				 const char *consumer_secret, const char *token_secret, char signature[MKTG_OAUTH1_SIGNATURE])
{
	MktgBuffer	base = {0};
	MktgBuffer	key = {0};
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int digest_length = 0;
	bool		ok = n <= MAX_PARAMS;

	if (ok)
		add_base_string(&base, method, url, params, n);
	add_percent(&key, consumer_secret);
	mktg_buffer_puts(&key, "&");
	add_percent(&key, token_secret);
	ok = ok && !base.failed && !key.failed &&
		HMAC(EVP_sha1(), key.data, (int) key.length, (const unsigned char *) base.data, base.length,
			 digest, &digest_length) != NULL;
	signature[0] = '\0';
	if (ok)
		EVP_EncodeBlock((unsigned char *) signature, digest, (int) digest_length);
	if (key.data != NULL)
		explicit_bzero(key.data, key.length);
	mktg_buffer_free(&key);
	mktg_buffer_free(&base);
	return ok;
}

bool
mktg_oauth1_authorization(const char *method, const char *url, const MktgOauthKeys *keys,
						  const char *nonce, int64_t timestamp, MktgBuffer *out)
{
	char		stamp[32];
	char		signature[MKTG_OAUTH1_SIGNATURE];
	const MktgOauthParam params[] = {
		{"oauth_consumer_key", keys->consumer_key}, {"oauth_nonce", nonce},
		{"oauth_signature_method", "HMAC-SHA1"}, {"oauth_timestamp", stamp},
		{"oauth_token", keys->token}, {"oauth_version", "1.0"}, {"oauth_signature", signature}
	};
	int			n = (int) (sizeof(params) / sizeof(params[0]));

	snprintf(stamp, sizeof(stamp), "%" PRId64, timestamp);
	if (!mktg_oauth1_sign(method, url, params, n - 1, keys->consumer_secret, keys->token_secret, signature))
		return false;
	mktg_buffer_puts(out, "OAuth ");
	for (int i = 0; i < n; i++)
	{
		mktg_buffer_puts(out, i > 0 ? ", " : "");
		mktg_buffer_puts(out, params[i].name);
		mktg_buffer_puts(out, "=\"");
		add_percent(out, params[i].value);
		mktg_buffer_puts(out, "\"");
	}
	return !out->failed;
}
