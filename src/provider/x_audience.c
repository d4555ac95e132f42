/*-------------------------------------------------------------------------
 *
 * x_audience.c
 *		A driver that adds people to X's custom audiences, and removes them.
 *
 * https://docs.x.com/x-ads-api/audiences
 *
 * A request may add and remove; it succeeds or fails whole, and repeating it is
 * harmless.
 *
 * IDENTIFICATION
 *		src/provider/x_audience.c
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/rand.h>

#include "provider/api.h"
#include "provider/drivers.h"
#include "provider/upload.h"

#define BASE_URL		"https://ads-api.x.com"
#define API_VERSION		"12"
#define MAX_USERS		2500
#define MAX_BODY		5000000
#define MAX_URL			512
#define NONCE_BYTES		16
#define LETTERS			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

typedef struct XAudience
{
	char	   *base;			/* URL up to the account */
	char	   *keys[4];		/* consumer's key and secret, token's */
} XAudience;

static const char *const key_names[4] = {"consumer_key", "consumer_secret", "access_token", "access_token_secret"};

static bool check_account(const char *value, char *why, size_t why_size);
static bool check_version(const char *value, char *why, size_t why_size);

static const MktgOptionSpec options[] = {
	{"access_token", true, true, mktg_check_credential},
	{"access_token_secret", true, true, mktg_check_credential},
	{"account", false, true, check_account},
	{"api_version", false, false, check_version},
	{"base_url", false, false, mktg_check_base_url},
	{"consumer_key", true, true, mktg_check_credential},
	{"consumer_secret", true, true, mktg_check_credential},
	{NULL, false, false, NULL}
};

/* ---- options ---- */

static bool
check_account(const char *value, char *why, size_t why_size)
{
	size_t		length = strlen(value);

	if (length >= 1 && length <= 40 && strspn(value, LETTERS) == length)
		return true;
	snprintf(why, why_size, "must be the id of an ads account, such as 18ce54d4x5t");
	return false;
}

static bool
check_version(const char *value, char *why, size_t why_size)
{
	size_t		length = strlen(value);

	if (length >= 1 && length <= 3 && strspn(value, "0123456789") == length)
		return true;
	snprintf(why, why_size, "must be a version such as " API_VERSION);
	return false;
}

static bool
x_open(MktgProvider *provider, const MktgSetting *settings, int n, char *why, size_t why_size)
{
	XAudience  *x = calloc(1, sizeof(XAudience));
	char		path[100];
	bool		ok;

	provider->state = x;
	snprintf(path, sizeof(path), "/%s/accounts/%s", mktg_setting(settings, n, "api_version", API_VERSION),
			 mktg_setting(settings, n, "account", ""));
	ok = x != NULL && (x->base = mktg_api_url(mktg_setting(settings, n, "base_url", BASE_URL), path)) != NULL;
	for (int i = 0; ok && i < 4; i++)
		ok = mktg_copy_setting(settings, n, key_names[i], &x->keys[i]);
	if (!ok)
		snprintf(why, why_size, "out of memory");
	return ok;
}

static void
x_close(MktgProvider *provider)
{
	XAudience  *x = provider->state;

	if (x == NULL)
		return;
	for (int i = 0; i < 4; i++)
		if (x->keys[i] != NULL)
		{
			explicit_bzero(x->keys[i], strlen(x->keys[i]));
			free(x->keys[i]);
		}
	free(x->base);
	free(x);
}

/* ---- requests ---- */

static bool
x_prepare(MktgRequest *request)
{
	const XAudience *x = request->provider->state;

	return mktg_api_prepare(request, x->base, NULL);
}

/* In ever smaller company, so that one that X refuses stands alone in the end. */
static int
x_fit(const MktgProvider *provider, MktgDelivery *const *deliveries, int n)
{
	int			most = mktg_api_most(deliveries[0]->attempt);

	(void) provider;
	/* nobody has refused what goes for the first time */
	if (deliveries[0]->attempt <= 1)
		most = MAX_USERS;
	for (int i = 1; i < n && i < most; i++)
		if (deliveries[i]->attempt != deliveries[0]->attempt)
			return i;
	return n < most ? n : most;
}

/* ,"name":["hash"] */
static void
add_hash(MktgBuffer *out, const char *start, const char *name, const char *hash)
{
	mktg_buffer_puts(out, start);
	mktg_buffer_json_string(out, name, strlen(name));
	mktg_buffer_puts(out, ":[");
	mktg_buffer_json_string(out, hash, strlen(hash));
	mktg_buffer_puts(out, "]");
}

static void
add_user(MktgBuffer *users, const MktgUpload *upload)
{
	const char *start = users->length > 0 ? ",{" : "{";

	if (upload->email != NULL)
	{
		add_hash(users, start, "email", upload->email);
		start = ",";
	}
	if (upload->phone_e164 != NULL)
		add_hash(users, start, "phone_number", upload->phone_e164);
	mktg_buffer_puts(users, "}");
}

static void
add_operation(MktgBuffer *body, const char *operation, const MktgBuffer *users)
{
	if (users->length == 0)
		return;
	mktg_buffer_puts(body, body->length > 0 ? "," : "[");
	mktg_buffer_puts(body, "{\"operation_type\":\"");
	mktg_buffer_puts(body, operation);
	mktg_buffer_puts(body, "\",\"params\":{\"users\":[");
	mktg_buffer_add(body, users->data, users->length);
	mktg_buffer_puts(body, "]}}");
	body->failed |= users->failed;
}

/* Signed over method and URL: a body of JSON is not part of it. */
static bool
add_headers(MktgRequest *request, const XAudience *x, const char *url)
{
	MktgOauthKeys keys = {x->keys[0], x->keys[1], x->keys[2], x->keys[3]};
	MktgBuffer	authorization = {0};
	unsigned char noise[NONCE_BYTES];
	char		nonce[2 * NONCE_BYTES + 1];
	bool		ok = RAND_bytes(noise, sizeof(noise)) == 1;

	for (int i = 0; i < NONCE_BYTES; i++)
		sprintf(nonce + 2 * i, "%02x", noise[i]);
	ok = ok && mktg_oauth1_authorization("POST", url, &keys, nonce, (int64_t) time(NULL), &authorization) &&
		mktg_add_header(&request->headers, "Authorization", authorization.data) &&
		mktg_add_header(&request->headers, "Content-Type", "application/json") &&
		mktg_add_header(&request->headers, "Expect", "") &&
		curl_easy_setopt(request->easy, CURLOPT_HTTPHEADER, request->headers) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_URL, url) == CURLE_OK;
	mktg_buffer_free(&authorization);
	return ok;
}

static bool
x_build(MktgRequest *request)
{
	const XAudience *x = request->provider->state;
	MktgBuffer	users[2] = {{0}, {0}};	/* to be added, to be removed */
	MktgOutcome outcome = {0};
	char		url[MAX_URL] = "";
	bool		built;

	for (int i = 0; i < request->count; i++)
	{
		MktgUpload	upload;

		if (!mktg_upload_read(request->deliveries[i], &upload))
			continue;
		if (url[0] == '\0')
			snprintf(url, sizeof(url), "%s/custom_audiences/%s/users", x->base, upload.audience);
		add_user(&users[upload.removal], &upload);
		mktg_upload_free(&upload);
	}
	request->body.limit = MAX_BODY;
	add_operation(&request->body, "Delete", &users[1]);
	add_operation(&request->body, "Update", &users[0]);
	mktg_buffer_puts(&request->body, "]");
	mktg_buffer_free(&users[0]);
	mktg_buffer_free(&users[1]);
	if (url[0] == '\0')
		return false;
	/* libcurl must not repeat it by itself: X would see the nonce twice */
	request->hold = true;
	built = !request->body.failed && add_headers(request, x, url);
	if (!built)
	{
		mktg_outcome_set(&outcome, MKTG_OUTCOME_RETRY, "not sent: out of memory");
		mktg_outcome_all(request, &outcome);
	}
	return built;
}

/* ---- replies ---- */

/* A 429 says in a header when the window of the rate limit ends. */
static void
obey_rate_limit(const MktgRequest *request, MktgOutcome *outcome)
{
	const char *reset = mktg_reply_header(request, "x-rate-limit-reset");
	int64_t		wait;

	if (request->status != 429 || outcome->retry_after_ms > 0 || reset == NULL)
		return;
	wait = (int64_t) strtoll(reset, NULL, 10) - (int64_t) time(NULL);
	if (wait > 0 && wait <= 86400)
		outcome->retry_after_ms = wait * 1000;
}

/* "HTTP 400: CODE: message" of the first error */
static void
quote_error(const MktgRequest *request, json_object *reply, MktgOutcome *outcome)
{
	json_object *errors = NULL;
	json_object *error;

	if (!json_object_object_get_ex(reply, "errors", &errors) || !json_object_is_type(errors, json_type_array) ||
		json_object_array_length(errors) == 0)
		return;
	error = json_object_array_get_idx(errors, 0);
	mktg_outcome_set(outcome, outcome->kind, "HTTP %ld: %.60s: %.150s", request->status,
					 mktg_member_text(error, "code", "no code"), mktg_member_text(error, "message", "no message"));
}

static void
x_classify(MktgRequest *request)
{
	MktgOutcome outcome = {0};
	json_object *reply = mktg_reply_json(request);
	json_object *data = NULL;
	int			sent = 0;

	for (int i = 0; i < request->count; i++)
		sent += request->deliveries[i]->outcome.kind == MKTG_OUTCOME_NONE;
	mktg_api_classify(request, &outcome);
	if (outcome.kind == MKTG_OUTCOME_SENT)
	{
		int64_t		success;
		int64_t		total;

		(void) json_object_object_get_ex(reply, "data", &data);
		success = mktg_member_number(data, "success_count", -1);
		total = mktg_member_number(data, "total_count", -2);
		if (success != total)
			mktg_outcome_set(&outcome, MKTG_OUTCOME_RETRY, "HTTP %ld, but %" PRId64 " of %d users were taken",
							 request->status, success < 0 ? 0 : success, sent);
	}
	else if (request->status >= 300)
	{
		quote_error(request, reply, &outcome);
		/* one of several may be to blame */
		if (outcome.kind == MKTG_OUTCOME_PERMANENT && sent > 1)
			outcome.kind = MKTG_OUTCOME_RETRY;
		obey_rate_limit(request, &outcome);
	}
	mktg_outcome_all(request, &outcome);
	json_object_put(reply);
}

const MktgDriver mktg_x_audience_driver = {
	.name = "x_audience",
	.options = options,
	.max_batch = MAX_USERS,
	.wants_data = true,
	.protocols = "https",
	.open = x_open,
	.close = x_close,
	.prepare = x_prepare,
	.fit = x_fit,
	.build = x_build,
	.classify = x_classify,
};
