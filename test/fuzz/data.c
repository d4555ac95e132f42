/*-------------------------------------------------------------------------
 *
 * data.c
 *		Fuzzes what drivers make of a message's data: JSON that is well formed,
 *		or an outcome.
 *
 * The input is the driver, a byte, and the data.
 *
 * IDENTIFICATION
 *		test/fuzz/data.c
 *
 *-------------------------------------------------------------------------
 */
#include <json-c/json.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "fuzz.h"
#include "provider/provider.h"

#define LENGTH(array)	((int) (sizeof(array) / sizeof((array)[0])))

static const MktgSetting whatsapp_settings[] = {
	{"access_token", "t"}, {"phone_number_id", "1"}
};

static MktgProvider *providers[2];
static CURL *easy;
static void *scratch;

static void
open_providers(void)
{
	EVP_PKEY   *key = EVP_RSA_gen(2048);
	BIO		   *bio = BIO_new(BIO_s_mem());
	char		pem[4096] = "";
	char		why[300];
	const MktgSetting fcm_settings[] = {
		{"project_id", "demo"}, {"client_email", "a@b"}, {"private_key", pem}
	};

	PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	PROMISE(BIO_read(bio, pem, sizeof(pem) - 1) > 0);
	BIO_free(bio);
	EVP_PKEY_free(key);
	providers[0] = mktg_provider_open(mktg_driver_find("fcm"), fcm_settings, 3, why, sizeof(why));
	providers[1] = mktg_provider_open(mktg_driver_find("whatsapp"), whatsapp_settings, 2, why, sizeof(why));
	easy = curl_easy_init();
	scratch = calloc(1, 1024);
	PROMISE(providers[0] != NULL && providers[1] != NULL && easy != NULL && scratch != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const addresses[] = {"token:x", "+16505551234"};
	MktgBuffer	text = {0};
	MktgDelivery delivery = {
		.id = "1-7-3", .subject = "Hi", .subject_length = 2, .body = "you", .body_length = 3, .now = 1735689600
	};
	MktgDelivery *pointers[] = {&delivery};
	MktgRequest request = {.deliveries = pointers, .count = 1};
	json_object *body;
	int			which;

	if (size < 1)
		return 0;
	if (providers[0] == NULL)
		open_providers();
	which = data[0] % LENGTH(providers);
	mktg_buffer_add(&text, (const char *) data + 1, size - 1);
	delivery.address = addresses[which];
	delivery.data = text.data;
	delivery.data_length = text.length;
	request.provider = providers[which];
	request.easy = easy;
	request.scratch = scratch;

	if (request.provider->driver->build(&request))
	{
		PROMISE(delivery.outcome.kind == MKTG_OUTCOME_NONE && request.body.length > 0);
		body = json_tokener_parse(request.body.data);
		PROMISE(json_object_is_type(body, json_type_object));
		json_object_put(body);
	}
	else
		PROMISE(delivery.outcome.kind == MKTG_OUTCOME_PERMANENT || delivery.outcome.kind == MKTG_OUTCOME_CAMPAIGN);
	mktg_buffer_free(&request.body);
	mktg_buffer_free(&text);
	return 0;
}
