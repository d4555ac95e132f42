/*-------------------------------------------------------------------------
 *
 * reply.c
 *		Fuzzes what drivers make of replies: every message gets an outcome,
 *		whatever a provider says.
 *
 * The input is the driver, the number of messages and the status, a byte each,
 * and the reply.
 *
 * IDENTIFICATION
 *		test/fuzz/reply.c
 *
 *-------------------------------------------------------------------------
 */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "fuzz.h"
#include "provider/provider.h"

#define DAY_MS		86400000
#define LENGTH(array)	((int) (sizeof(array) / sizeof((array)[0])))

static const MktgSetting settings[] = {
	{"api_key", "k"}, {"domain", "mg.example.com"}
};
static const MktgSetting twilio_settings[] = {
	{"account_sid", "AC0123456789abcdef0123456789abcdef"}, {"auth_token", "t"}
};

static const MktgSetting whatsapp_settings[] = {
	{"access_token", "t"}, {"phone_number_id", "1"}
};

static MktgProvider *providers[5];

/* fcm wants a key, whichever */
static MktgProvider *
open_fcm(char *why, size_t why_size)
{
	EVP_PKEY   *key = EVP_RSA_gen(2048);
	BIO		   *bio = BIO_new(BIO_s_mem());
	char		pem[4096] = "";
	const MktgSetting fcm_settings[] = {
		{"project_id", "demo"}, {"client_email", "a@b"}, {"private_key", pem}
	};

	PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	PROMISE(BIO_read(bio, pem, sizeof(pem) - 1) > 0);
	BIO_free(bio);
	EVP_PKEY_free(key);
	return mktg_provider_open(mktg_driver_find("fcm"), fcm_settings, 3, why, why_size);
}

static void
open_providers(void)
{
	char		why[300];

	providers[0] = mktg_provider_open(mktg_driver_find("sendgrid"), settings, 1, why, sizeof(why));
	providers[1] = mktg_provider_open(mktg_driver_find("mailgun"), settings, 2, why, sizeof(why));
	providers[2] = mktg_provider_open(mktg_driver_find("twilio"), twilio_settings, 2, why, sizeof(why));
	providers[3] = open_fcm(why, sizeof(why));
	providers[4] = mktg_provider_open(mktg_driver_find("whatsapp"), whatsapp_settings, 2, why, sizeof(why));
	for (int i = 0; i < LENGTH(providers); i++)
		PROMISE(providers[i] != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const long statuses[] = {0, 200, 201, 202, 301, 400, 401, 402, 403, 404, 413, 429, 500, 503};
	MktgDelivery deliveries[8] = {{.id = "1", .now = 1735689600}};
	MktgDelivery *pointers[8];
	MktgRequest request = {.deliveries = pointers, .may_have_arrived = true};

	if (size < 3)
		return 0;
	if (providers[0] == NULL)
		open_providers();
	request.provider = providers[data[0] % LENGTH(providers)];
	request.count = request.provider->driver->max_batch == 1 ? 1 : 1 + data[1] % 8;
	request.status = statuses[data[2] % LENGTH(statuses)];
	request.reply.limit = MKTG_REPLY_LIMIT;
	mktg_buffer_add(&request.reply, (const char *) data + 3, size - 3);
	for (int i = 0; i < request.count; i++)
	{
		deliveries[i] = deliveries[0];
		pointers[i] = &deliveries[i];
	}
	/* what may be a token is read first */
	if (request.provider->driver->authorized != NULL && data[1] % 2 == 1 && request.provider->driver->authorized(&request) > 0)
		deliveries[0].outcome.kind = MKTG_OUTCOME_SENT;
	else if (deliveries[0].outcome.kind == MKTG_OUTCOME_NONE)
		request.provider->driver->classify(&request);
	for (int i = 0; i < request.count; i++)
	{
		const MktgOutcome *outcome = &deliveries[i].outcome;

		PROMISE(outcome->kind > MKTG_OUTCOME_NONE && outcome->kind <= MKTG_OUTCOME_CAMPAIGN);
		PROMISE(memchr(outcome->reason, '\0', sizeof(outcome->reason)) != NULL);
		PROMISE(memchr(outcome->provider_id, '\0', sizeof(outcome->provider_id)) != NULL);
		PROMISE(outcome->retry_after_ms >= 0 && outcome->retry_after_ms <= DAY_MS);
		for (const char *c = outcome->reason; *c != '\0'; c++)
			PROMISE(*c >= 0x20 && *c < 0x7F);
		/* nobody goes again for another's fault unless somebody was dealt with */
		if (outcome->kind == MKTG_OUTCOME_AGAIN)
			PROMISE(request.count > 1);
	}
	mktg_buffer_free(&request.reply);
	return 0;
}
