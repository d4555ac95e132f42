/*-------------------------------------------------------------------------
 *
 * signature.c
 *		Fuzzes webhook secrets, compared with OpenSSL's own base64.
 *
 * IDENTIFICATION
 *		test/fuzz/signature.c
 *
 *-------------------------------------------------------------------------
 */
#include <openssl/evp.h>

#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *secret = fuzz_string(data, size);
	const char *digits = strncmp(secret, "whsec_", 6) == 0 ? secret + 6 : secret;
	unsigned char *key = malloc(64);
	unsigned char encoded[90];
	char		out[64];
	int			length = mktg_webhook_secret(secret, key);

	PROMISE(length == -1 || (length >= 24 && length <= 64));
	if (length > 0)
	{
		EVP_EncodeBlock(encoded, key, length);
		PROMISE(strcmp((char *) encoded, digits) == 0);
		PROMISE(mktg_webhook_sign(key, (size_t) length, secret, (int64_t) size,
								  (const char *) data, size, out));
		PROMISE(strlen(out) == 47 && strncmp(out, "v1,", 3) == 0);
	}
	free(key);
	free(secret);
	return 0;
}
