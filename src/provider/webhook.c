/*-------------------------------------------------------------------------
 *
 * webhook.c
 *		A driver that posts messages as JSON to a URL, signed as Standard
 *		Webhooks says.
 *
 * https://github.com/standard-webhooks/standard-webhooks
 *
 * The URL is an option of the server or, where there is none, the address of
 * the message.  What the endpoint behind an address says concerns that
 * address alone: it never stops the sender.
 *
 * Targets are held to public addresses, after name resolution, beside those
 * that allow_networks names.
 *
 * A message costs no setting of libcurl but the size of its body: the header
 * lines are a list whose texts are written anew in place.
 *
 * IDENTIFICATION
 *		src/provider/webhook.c
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "provider/drivers.h"

#define MAX_KEYS		4		/* secrets valid at once, for rotation */
#define MAX_KEY			64
#define SIGNATURE_SIZE	64
#define MAX_ID			256
#define MAX_BODY		(2 * 1024 * 1024)
#define MAX_URL			2048

typedef struct Key
{
	int			length;
	unsigned char bytes[MAX_KEY];
} Key;

typedef struct Webhook
{
	char	   *url;			/* NULL: the address of each message */
	char	   *allow_networks; /* NULL: none */
	bool		allow_http;
	int			n_keys;
	MktgSigner *signers[MAX_KEYS];	/* used where requests are built, and nowhere else */
} Webhook;

/* what a handle keeps: header lines, linked once, written for each message */
typedef struct Scratch
{
	struct curl_slist type;
	struct curl_slist expect;
	struct curl_slist id;
	struct curl_slist timestamp;
	struct curl_slist signature;
	char		id_line[MAX_ID + 16];
	char		timestamp_line[48];
	char		signature_line[32 + MAX_KEYS * SIGNATURE_SIZE];
	bool		plain;			/* this request goes by http */
} Scratch;

static bool check_url(const char *value, char *why, size_t why_size);
static bool check_secret(const char *value, char *why, size_t why_size);
static bool check_http_version(const char *value, char *why, size_t why_size);

static const MktgOptionSpec options[] = {
	{"allow_http", false, false, mktg_check_boolean},
	{"allow_networks", false, false, mktg_check_networks},
	{"http_version", false, false, check_http_version},
	{"secret", true, true, check_secret},
	{"url", false, false, check_url},
	{NULL, false, false, NULL}
};

/* ---- options ---- */

static bool
is_http(const char *url)
{
	return strncasecmp(url, "http://", 7) == 0;
}

static bool
is_https(const char *url)
{
	return strncasecmp(url, "https://", 8) == 0;
}

static bool
check_url(const char *value, char *why, size_t why_size)
{
	CURLU	   *url;
	bool		ok = false;

	if ((is_http(value) || is_https(value)) && strlen(value) <= MAX_URL &&
		mktg_header_safe(value, strlen(value)) && (url = curl_url()) != NULL)
	{
		/* what is in a server option is for all to read: no password there */
		ok = curl_url_set(url, CURLUPART_URL, value, CURLU_DISALLOW_USER) == CURLUE_OK;
		curl_url_cleanup(url);
	}
	if (!ok)
		snprintf(why, why_size, "must be an https URL without user and password");
	return ok;
}

static bool
check_http_version(const char *value, char *why, size_t why_size)
{
	if (strcmp(value, "1.1") == 0 || strcmp(value, "2") == 0)
		return true;
	snprintf(why, why_size, "must be 1.1 or 2");
	return false;
}

/* Reads "whsec_...,whsec_..." into keys; their number, or -1. */
static int
read_keys(const char *value, Key keys[MAX_KEYS])
{
	char	   *copy = strdup(value);
	char	   *next = NULL;
	int			n = 0;

	if (copy == NULL)
		return -1;
	for (char *word = strtok_r(copy, ", ", &next); word != NULL; word = strtok_r(NULL, ", ", &next))
	{
		int			length = n < MAX_KEYS ? mktg_webhook_secret(word, keys[n].bytes) : -1;

		if (length < 0)
		{
			n = -1;
			break;
		}
		keys[n++].length = length;
	}
	explicit_bzero(copy, strlen(value));
	free(copy);
	return n > 0 ? n : -1;
}

static bool
check_secret(const char *value, char *why, size_t why_size)
{
	Key			keys[MAX_KEYS];
	int			n = read_keys(value, keys);

	explicit_bzero(keys, sizeof(keys));
	if (n > 0)
		return true;
	snprintf(why, why_size, "must be whsec_ and the base64 of 24 to 64 bytes; up to %d with commas between them",
			 MAX_KEYS);
	return false;
}

/* Copies a text; false if there was no memory. */
static bool
copy_text(const char *value, char **copy)
{
	if (value == NULL)
		return true;
	*copy = strdup(value);
	return *copy != NULL;
}

static bool
webhook_check(const MktgSetting *settings, int n, char *why, size_t why_size)
{
	if (!is_http(mktg_setting(settings, n, "url", "")) ||
		strcmp(mktg_setting(settings, n, "allow_http", "false"), "true") == 0 ||
		mktg_setting(settings, n, "allow_networks", NULL) != NULL)
		return true;
	snprintf(why, why_size, "option \"url\" is plain http, which neither \"allow_http\""
			 " nor \"allow_networks\" allows");
	return false;
}

static bool
open_keys(Webhook *webhook, const char *secret)
{
	Key			keys[MAX_KEYS];
	int			n = read_keys(secret, keys);
	bool		ok = n > 0;

	for (int i = 0; ok && i < n; i++)
	{
		webhook->signers[i] = mktg_signer_create(keys[i].bytes, (size_t) keys[i].length);
		ok = webhook->signers[i] != NULL;
	}
	explicit_bzero(keys, sizeof(keys));
	webhook->n_keys = n;
	return ok;
}

static bool
webhook_open(MktgProvider *provider, const MktgSetting *settings, int n,
			 char *why, size_t why_size)
{
	Webhook    *webhook = calloc(1, sizeof(Webhook));

	provider->state = webhook;
	if (webhook == NULL ||
		!copy_text(mktg_setting(settings, n, "url", NULL), &webhook->url) ||
		!copy_text(mktg_setting(settings, n, "allow_networks", NULL), &webhook->allow_networks))
	{
		snprintf(why, why_size, "out of memory");
		return false;
	}
	webhook->allow_http = strcmp(mktg_setting(settings, n, "allow_http", "false"), "true") == 0;
	provider->http2 = strcmp(mktg_setting(settings, n, "http_version", "1.1"), "2") == 0;
	if (open_keys(webhook, mktg_setting(settings, n, "secret", "")))
		return true;
	snprintf(why, why_size, "credential \"secret\" cannot be read");
	return false;
}

static void
webhook_close(MktgProvider *provider)
{
	Webhook    *webhook = provider->state;

	if (webhook == NULL)
		return;
	for (int i = 0; i < MAX_KEYS; i++)
		mktg_signer_free(webhook->signers[i]);
	free(webhook->url);
	free(webhook->allow_networks);
	free(webhook);
}

/* ---- requests ---- */

static bool
webhook_prepare(MktgRequest *request)
{
	const Webhook *webhook = request->provider->state;
	Scratch    *scratch = request->scratch;
	bool		http = webhook->allow_http || webhook->allow_networks != NULL;

	scratch->type = (struct curl_slist) {(char *) "Content-Type: application/json", &scratch->expect};
	/* no waiting for "100 Continue" */
	scratch->expect = (struct curl_slist) {(char *) "Expect:", &scratch->id};
	scratch->id = (struct curl_slist) {scratch->id_line, &scratch->timestamp};
	scratch->timestamp = (struct curl_slist) {scratch->timestamp_line, &scratch->signature};
	scratch->signature = (struct curl_slist) {scratch->signature_line, NULL};
	scratch->plain = webhook->url != NULL && is_http(webhook->url);

	return curl_easy_setopt(request->easy, CURLOPT_POST, 1L) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_HTTPHEADER, &scratch->type) == CURLE_OK &&
		(!http || curl_easy_setopt(request->easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK) &&
		(webhook->url == NULL ||
		 curl_easy_setopt(request->easy, CURLOPT_URL, webhook->url) == CURLE_OK);
}

/* ,"name":number */
static void
add_number(MktgBuffer *body, const char *start, int64_t value)
{
	char		text[64];
	int			length = snprintf(text, sizeof(text), "%s%" PRId64, start, value);

	mktg_buffer_add(body, text, (size_t) length);
}

/* ,"name":"text" or null */
static void
add_text(MktgBuffer *body, const char *start, const char *text, size_t length)
{
	mktg_buffer_puts(body, start);
	if (text != NULL)
		mktg_buffer_json_string(body, text, length);
	else
		mktg_buffer_puts(body, "null");
}

static bool
build_body(MktgBuffer *body, const MktgDelivery *delivery)
{
	body->limit = MAX_BODY;
	add_text(body, "{\"id\":", delivery->id, strlen(delivery->id));
	add_number(body, ",\"tenant\":", delivery->tenant_id);
	add_number(body, ",\"campaign\":", delivery->campaign_id);
	add_number(body, ",\"contact\":", delivery->contact_id);
	add_text(body, ",\"channel\":", delivery->channel, strlen(delivery->channel));
	add_text(body, ",\"to\":", delivery->address, strlen(delivery->address));
	add_text(body, ",\"subject\":", delivery->subject, delivery->subject_length);
	add_text(body, ",\"body\":", delivery->body, delivery->body_length);
	add_text(body, ",\"html\":", delivery->html, delivery->html_length);
	add_number(body, ",\"sent_at\":", delivery->now);
	mktg_buffer_puts(body, "}");
	return !body->failed;
}

/* The three lines of Standard Webhooks; the time is that of the attempt. */
static bool
build_headers(const Webhook *webhook, Scratch *scratch, const MktgDelivery *delivery,
			  const MktgBuffer *body)
{
	int64_t		now = (int64_t) time(NULL);
	char	   *end = scratch->signature_line;

	snprintf(scratch->id_line, sizeof(scratch->id_line), "webhook-id: %s", delivery->id);
	snprintf(scratch->timestamp_line, sizeof(scratch->timestamp_line),
			 "webhook-timestamp: %" PRId64, now);
	end += sprintf(end, "webhook-signature:");
	for (int i = 0; i < webhook->n_keys; i++)
	{
		*end++ = ' ';
		if (!mktg_signer_sign(webhook->signers[i], delivery->id, now, body->data, body->length, end))
			return false;
		end += strlen(end);
	}
	return true;
}

/* Takes the message's address as the URL; false with its outcome set. */
static bool
set_url(MktgRequest *request, MktgDelivery *delivery)
{
	const Webhook *webhook = request->provider->state;
	Scratch    *scratch = request->scratch;
	const char *url = delivery->address;

	scratch->plain = is_http(url);
	if (!is_https(url) &&
		!(scratch->plain && (webhook->allow_http || webhook->allow_networks != NULL)))
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT, "the address is not an https URL");
	else if (strlen(url) > MAX_URL || !mktg_header_safe(url, strlen(url)))
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT, "the address is not a valid URL");
	else if (curl_easy_setopt(request->easy, CURLOPT_URL, url) != CURLE_OK)
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_RETRY, "not sent: out of memory");
	else
		return true;
	return false;
}

static bool
webhook_build(MktgRequest *request)
{
	const Webhook *webhook = request->provider->state;
	MktgDelivery *delivery = request->deliveries[0];
	size_t		id_length = strlen(delivery->id);

	if (webhook->url == NULL && !set_url(request, delivery))
		return false;
	if (id_length > MAX_ID || !mktg_header_safe(delivery->id, id_length))
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "the message id cannot stand in a header");
	else if (!build_body(&request->body, delivery))
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "the message is larger than %d bytes", MAX_BODY);
	else if (!build_headers(webhook, request->scratch, delivery, &request->body))
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_RETRY, "not sent: it could not be signed");
	else
		return true;
	return false;
}

static bool
webhook_allow(const MktgRequest *request, const struct sockaddr *address)
{
	const Webhook *webhook = request->provider->state;
	const Scratch *scratch = request->scratch;

	if (webhook->allow_networks != NULL &&
		mktg_address_in_list(address, webhook->allow_networks) == 1)
		return true;
	return (!scratch->plain || webhook->allow_http) && mktg_address_is_public(address);
}

static void
webhook_classify(MktgRequest *request)
{
	const Webhook *webhook = request->provider->state;
	MktgOutcome *outcome = &request->deliveries[0]->outcome;

	if (webhook->url == NULL)
		request->error[0] = '\0';	/* names the host: part of the address */
	mktg_classify_http(request, outcome);

	if (webhook->url != NULL)
	{
		/* the endpoint is gone, or no message will ever get there */
		if (request->status == 410 ||
			(outcome->kind == MKTG_OUTCOME_PERMANENT && request->status == 0))
			outcome->kind = MKTG_OUTCOME_CONFIG;
	}
	else if (request->status == 410)
		outcome->kind = MKTG_OUTCOME_SUPPRESS;
	else if (request->status == 401 || request->status == 403)
		outcome->kind = MKTG_OUTCOME_PERMANENT;
	else if (outcome->kind == MKTG_OUTCOME_CONFIG &&
			 request->result == CURLE_PEER_FAILED_VERIFICATION)
		outcome->kind = MKTG_OUTCOME_RETRY;
}

const MktgDriver mktg_webhook_driver = {
	.name = "webhook",
	.options = options,
	.max_batch = 1,
	.protocols = "https",
	.scratch_size = sizeof(Scratch),
	.check = webhook_check,
	.open = webhook_open,
	.close = webhook_close,
	.prepare = webhook_prepare,
	.build = webhook_build,
	.classify = webhook_classify,
	.allow = webhook_allow,
};
