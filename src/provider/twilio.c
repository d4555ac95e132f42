/*-------------------------------------------------------------------------
 *
 * twilio.c
 *		A driver for SMS and MMS by Twilio's Programmable Messaging.
 *
 * https://www.twilio.com/docs/messaging/api/message-resource
 *
 * One recipient a request.  The sender's from_address is a number, a short
 * code, a name, or the SID of a Messaging Service.  What is not text stands in
 * the message's data: media_url for MMS, content_sid and content_variables for
 * a template kept at Twilio.
 *
 * IDENTIFICATION
 *		src/provider/twilio.c
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <json-c/json.h>

#include "provider/api.h"
#include "provider/drivers.h"

#define BASE_URL		"https://api.twilio.com"
#define SID_LENGTH		34		/* two letters and 32 hex digits */
#define MAX_CHARACTERS	1600
#define MAX_MEDIA		10
#define MAX_URL			2048
#define MAX_VALIDITY	36000
#define MAX_BODY		(256 * 1024)	/* texts, ten URLs, and variables */

typedef struct Twilio
{
	char	   *url;
	char	   *user;			/* account SID or API key */
	char	   *password;
	char	   *status_callback;	/* NULL: none */
	long		max_segments;	/* 0: any number */
	MktgBuffer	tail;			/* what the options add to every form, from a "&" on */
	struct curl_slist *headers;
} Twilio;

static bool check_account(const char *value, char *why, size_t why_size);
static bool check_callback(const char *value, char *why, size_t why_size);
static bool check_segments(const char *value, char *why, size_t why_size);
static bool check_validity(const char *value, char *why, size_t why_size);

static const MktgOptionSpec options[] = {
	{"account_sid", false, true, check_account},
	{"api_key", true, false, mktg_check_credential},
	{"api_secret", true, false, mktg_check_credential},
	{"auth_token", true, false, mktg_check_credential},
	{"base_url", false, false, mktg_check_base_url},
	{"max_segments", false, false, check_segments},
	{"smart_encoded", false, false, mktg_check_boolean},
	{"status_callback", false, false, check_callback},
	{"validity_period", false, false, check_validity},
	{NULL, false, false, NULL}
};

/* ---- options ---- */

/* "AC" or the like, and 32 hex digits */
static bool
is_sid(const char *text, size_t length, const char *letters)
{
	if (length != SID_LENGTH || strncmp(text, letters, 2) != 0)
		return false;
	for (size_t i = 2; i < length; i++)
		if (!isxdigit((unsigned char) text[i]))
			return false;
	return true;
}

static bool
check_account(const char *value, char *why, size_t why_size)
{
	if (is_sid(value, strlen(value), "AC"))
		return true;
	snprintf(why, why_size, "must be AC and 32 hex digits");
	return false;
}

static bool
check_segments(const char *value, char *why, size_t why_size)
{
	if (mktg_check_integer(value, why, why_size) && atol(value) >= 1)
		return true;
	snprintf(why, why_size, "must be a whole number from 1 on");
	return false;
}

static bool
check_validity(const char *value, char *why, size_t why_size)
{
	if (mktg_check_integer(value, why, why_size) && atol(value) >= 1 && atol(value) <= MAX_VALIDITY)
		return true;
	snprintf(why, why_size, "must be seconds from 1 to %d", MAX_VALIDITY);
	return false;
}

/* Is the URL one that Twilio can call?  It refuses a host with an underscore. */
static bool
check_callback(const char *value, char *why, size_t why_size)
{
	CURLU	   *url = NULL;
	char	   *host = NULL;
	bool		ok = false;

	if (strncasecmp(value, "https://", 8) == 0 && strlen(value) <= MAX_URL &&
		mktg_header_safe(value, strlen(value)) && strchr(value, '#') == NULL && (url = curl_url()) != NULL)
		ok = curl_url_set(url, CURLUPART_URL, value, CURLU_DISALLOW_USER) == CURLUE_OK &&
			curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK && strchr(host, '_') == NULL;
	curl_free(host);
	curl_url_cleanup(url);
	if (!ok)
		snprintf(why, why_size, "must be an https URL without user, password and fragment,"
				 " its host without an underscore");
	return ok;
}

static void
add_field(MktgBuffer *form, const char *name, const char *value, size_t length)
{
	mktg_buffer_puts(form, name);
	mktg_buffer_percent(form, value, length);
}

/* Takes either the account's token or a key with its secret. */
static bool
read_credentials(Twilio *twilio, const MktgSetting *settings, int n, char *why, size_t why_size)
{
	const char *token = mktg_setting(settings, n, "auth_token", NULL);
	const char *key = mktg_setting(settings, n, "api_key", NULL);
	const char *secret = mktg_setting(settings, n, "api_secret", NULL);

	if (token != NULL && (key != NULL || secret != NULL))
		snprintf(why, why_size, "credentials \"auth_token\" and \"api_key\" exclude each other");
	else if (token == NULL && key == NULL && secret == NULL)
		snprintf(why, why_size, "credential \"auth_token\" is missing, or \"api_key\" and \"api_secret\"");
	else if (token == NULL && (key == NULL || secret == NULL))
		snprintf(why, why_size, "credential \"%s\" is missing", key == NULL ? "api_key" : "api_secret");
	else if ((twilio->user = strdup(key != NULL ? key : mktg_setting(settings, n, "account_sid", ""))) == NULL ||
			 (twilio->password = strdup(key != NULL ? secret : token)) == NULL)
		snprintf(why, why_size, "out of memory");
	else
		return true;
	return false;
}

static bool
twilio_open(MktgProvider *provider, const MktgSetting *settings, int n, char *why, size_t why_size)
{
	Twilio	   *twilio = calloc(1, sizeof(Twilio));
	const char *validity = mktg_setting(settings, n, "validity_period", NULL);
	const char *smart = mktg_setting(settings, n, "smart_encoded", NULL);
	char		path[128];

	provider->state = twilio;
	snprintf(path, sizeof(path), "/2010-04-01/Accounts/%.*s/Messages.json", SID_LENGTH,
			 mktg_setting(settings, n, "account_sid", ""));
	if (twilio == NULL ||
		(twilio->url = mktg_api_url(mktg_setting(settings, n, "base_url", BASE_URL), path)) == NULL ||
		!mktg_copy_setting(settings, n, "status_callback", &twilio->status_callback) ||
		!mktg_add_header(&twilio->headers, "Content-Type", "application/x-www-form-urlencoded") ||
		!mktg_add_header(&twilio->headers, "Expect", ""))
	{
		snprintf(why, why_size, "out of memory");
		return false;
	}
	twilio->max_segments = atol(mktg_setting(settings, n, "max_segments", "0"));
	if (validity != NULL)
		add_field(&twilio->tail, "&ValidityPeriod=", validity, strlen(validity));
	if (smart != NULL)
		add_field(&twilio->tail, "&SmartEncoded=", smart, strlen(smart));
	return read_credentials(twilio, settings, n, why, why_size);
}

static void
twilio_close(MktgProvider *provider)
{
	Twilio	   *twilio = provider->state;

	if (twilio == NULL)
		return;
	if (twilio->password != NULL)
		explicit_bzero(twilio->password, strlen(twilio->password));
	free(twilio->password);
	free(twilio->user);
	free(twilio->url);
	free(twilio->status_callback);
	mktg_buffer_free(&twilio->tail);
	mktg_free_headers(twilio->headers);
	free(twilio);
}

/* ---- requests ---- */

static bool
twilio_prepare(MktgRequest *request)
{
	const Twilio *twilio = request->provider->state;

	return mktg_api_prepare(request, twilio->url, twilio->headers) &&
		mktg_api_log_in(request, twilio->user, twilio->password);
}

/* A number in E.164, as contacts have them. */
static bool
is_phone(const char *text)
{
	char		normal[MKTG_ADDRESS_BUFFER];

	return mktg_phone_normalize(text, strlen(text), normal) == MKTG_ADDRESS_OK &&
		strcmp(text, normal) == 0;
}

/* A short code, or a name of up to 11 letters, digits and a few signs. */
static bool
is_short_code_or_name(const char *text)
{
	size_t		length = strlen(text);
	size_t		digits = strspn(text, "0123456789");

	if (digits == length)
		return length >= 3 && length <= 8;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char) text[i]) && strchr(" +-_&", text[i]) == NULL)
			return false;
	return length <= 11 && strpbrk(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != NULL;
}

/* False with the delivery's outcome set. */
static bool
add_sender(MktgBuffer *form, MktgDelivery *delivery)
{
	const char *from = delivery->from_address;

	if (from != NULL && is_sid(from, strlen(from), "MG"))
		add_field(form, "&MessagingServiceSid=", from, strlen(from));
	else if (from != NULL && (is_phone(from) || is_short_code_or_name(from)))
		add_field(form, "&From=", from, strlen(from));
	else
	{
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_CONFIG, "the sender's from_address is neither"
						 " a number such as +14155552345, a short code, a name of up to 11 letters"
						 " nor the SID of a Messaging Service");
		return false;
	}
	return true;
}

static bool
add_text(MktgBuffer *form, const Twilio *twilio, MktgDelivery *delivery)
{
	MktgSms		sms = mktg_sms_measure(delivery->body, delivery->body_length);

	if (sms.characters > MAX_CHARACTERS)
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "the text has %d characters, and Twilio takes %d", sms.characters, MAX_CHARACTERS);
	else if (twilio->max_segments > 0 && sms.segments > twilio->max_segments)
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "the text takes %d segments (%d %s), and max_segments is %ld", sms.segments, sms.units,
						 sms.gsm ? "of the GSM alphabet" : "UCS-2 units: not all of it is in the GSM alphabet",
						 twilio->max_segments);
	else
	{
		if (delivery->body_length > 0)
			add_field(form, "&Body=", delivery->body, delivery->body_length);
		return true;
	}
	return false;
}

static bool
is_url(const char *text)
{
	return text != NULL && strlen(text) <= MAX_URL && mktg_header_safe(text, strlen(text)) &&
		(strncasecmp(text, "https://", 8) == 0 || strncasecmp(text, "http://", 7) == 0);
}

/* A member of the data as text; NULL if it is none. */
static const char *
text_of(json_object *value)
{
	return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
}

/* media_url: a URL, or up to ten in an array; how many, or -1 with the outcome set. */
static int
add_media(MktgBuffer *form, json_object *media, MktgDelivery *delivery)
{
	bool		list = json_object_is_type(media, json_type_array);
	size_t		n = media == NULL ? 0 : list ? json_object_array_length(media) : 1;

	for (size_t i = 0; i < n && n <= MAX_MEDIA; i++)
	{
		const char *url = text_of(list ? json_object_array_get_idx(media, i) : media);

		if (!is_url(url))
		{
			mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
							 "media_url must be an http or https URL, or a list of them");
			return -1;
		}
		add_field(form, "&MediaUrl=", url, strlen(url));
	}
	if (n > MAX_MEDIA)
	{
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "media_url has %zu URLs, and Twilio takes %d", n, MAX_MEDIA);
		return -1;
	}
	return (int) n;
}

/* content_sid and content_variables; false with the outcome set. */
static bool
add_template(MktgBuffer *form, json_object *sid, json_object *variables, MktgDelivery *delivery)
{
	const char *id = text_of(sid);

	if (id == NULL || !is_sid(id, strlen(id), "HX"))
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "content_sid must be HX and 32 hex digits");
	else if (variables != NULL && !json_object_is_type(variables, json_type_object))
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "content_variables must be an object");
	else
	{
		add_field(form, "&ContentSid=", id, strlen(id));
		if (variables != NULL)
		{
			const char *text = json_object_to_json_string_ext(variables, JSON_C_TO_STRING_PLAIN);

			add_field(form, "&ContentVariables=", text, strlen(text));
		}
		return true;
	}
	return false;
}

/* What is said: a template of Twilio's, or text and media.  False with the outcome set. */
static bool
add_content(MktgBuffer *form, const Twilio *twilio, MktgDelivery *delivery)
{
	json_object *data = mktg_data_json(delivery);
	json_object *sid = NULL;
	json_object *variables = NULL;
	json_object *media = NULL;
	int			n_media;
	bool		ok;

	(void) json_object_object_get_ex(data, "content_sid", &sid);
	(void) json_object_object_get_ex(data, "content_variables", &variables);
	(void) json_object_object_get_ex(data, "media_url", &media);

	n_media = add_media(form, media, delivery);
	if (n_media < 0)
		ok = false;
	else if (sid != NULL)
		ok = add_template(form, sid, variables, delivery);
	else
		ok = add_text(form, twilio, delivery);
	if (ok && sid == NULL && n_media == 0 && delivery->body_length == 0)
	{
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "the message has neither text, media_url nor content_sid");
		ok = false;
	}
	json_object_put(data);
	return ok;
}

/* The URL with our id in its query, by which the callback is known. */
static void
add_callback(MktgBuffer *form, const char *url, const char *id)
{
	MktgBuffer	query = {0};

	mktg_buffer_puts(&query, url);
	mktg_buffer_puts(&query, strchr(url, '?') != NULL ? "&mktg_id=" : "?mktg_id=");
	mktg_buffer_percent(&query, id, strlen(id));
	form->failed |= query.failed;
	add_field(form, "&StatusCallback=", query.data, query.length);
	mktg_buffer_free(&query);
}

static bool
twilio_build(MktgRequest *request)
{
	const Twilio *twilio = request->provider->state;
	MktgDelivery *delivery = request->deliveries[0];
	MktgBuffer *form = &request->body;

	if (!is_phone(delivery->address))
	{
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "the address is not a phone number in E.164");
		return false;
	}
	form->limit = MAX_BODY;
	add_field(form, "To=", delivery->address, strlen(delivery->address));
	if (!add_sender(form, delivery) || !add_content(form, twilio, delivery))
		return false;
	if (twilio->status_callback != NULL)
		add_callback(form, twilio->status_callback, delivery->id);
	mktg_buffer_add(form, twilio->tail.data, twilio->tail.length);
	if (form->failed)
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "the message is larger than %d KB", MAX_BODY / 1024);
	return !form->failed;
}

/* ---- replies ---- */

/* What a code says, whatever the HTTP status; NONE for the others. */
static MktgOutcomeKind
kind_of_code(int64_t code, bool *opted_out)
{
	*opted_out = code == 21610;
	switch (code)
	{
		case 21610:				/* opted out */
		case 21211:				/* no valid number */
		case 21614:				/* no mobile number */
		case 30005:				/* unknown */
		case 30006:				/* a landline, or out of reach for good */
			return MKTG_OUTCOME_SUPPRESS;
		case 21408:				/* a region the account may not send to */
		case 21617:				/* too long */
		case 30007:				/* filtered */
			return MKTG_OUTCOME_PERMANENT;
		case 20429:				/* too many requests */
		case 21611:				/* the number's queue is full */
		case 30001:				/* a queue overflowed */
		case 30003:				/* the phone is off or out of reach */
		case 30008:				/* unknown */
			return MKTG_OUTCOME_RETRY;
		case 20003:				/* credentials */
		case 21212:				/* the sender is no valid number */
		case 21603:				/* no sender */
		case 21606:				/* not a sender of the account */
		case 30034:				/* not registered */
			return MKTG_OUTCOME_CONFIG;
		default:
			return MKTG_OUTCOME_NONE;
	}
}

/* A message that was made, and may have failed at once. */
static void
classify_created(json_object *reply, MktgOutcome *outcome)
{
	const char *sid = mktg_member_text(reply, "sid", "");
	const char *status = mktg_member_text(reply, "status", "");
	int64_t		code = mktg_member_number(reply, "error_code", 0);
	MktgOutcomeKind kind;

	snprintf(outcome->provider_id, sizeof(outcome->provider_id), "%s", sid);
	if (strcmp(status, "failed") != 0 && strcmp(status, "undelivered") != 0)
		return;
	kind = kind_of_code(code, &outcome->opted_out);
	mktg_outcome_set(outcome, kind != MKTG_OUTCOME_NONE ? kind : MKTG_OUTCOME_PERMANENT,
					 "Twilio error %lld: %.200s", (long long) code,
					 mktg_member_text(reply, "error_message", status));
}

static void
twilio_classify(MktgRequest *request)
{
	MktgOutcome *outcome = &request->deliveries[0]->outcome;
	json_object *reply;
	int64_t		code;
	MktgOutcomeKind kind;

	mktg_api_classify(request, outcome);
	if (request->status < 200)
		return;
	reply = mktg_reply_json(request);
	if (outcome->kind == MKTG_OUTCOME_SENT)
		classify_created(reply, outcome);
	else if ((code = mktg_member_number(reply, "code", 0)) != 0)
	{
		kind = kind_of_code(code, &outcome->opted_out);
		mktg_outcome_set(outcome, kind != MKTG_OUTCOME_NONE ? kind : outcome->kind,
						 "Twilio error %lld: %.200s", (long long) code,
						 mktg_member_text(reply, "message", "no message"));
		if (outcome->kind != MKTG_OUTCOME_RETRY)
			outcome->retry_after_ms = 0;
	}
	json_object_put(reply);
}

const MktgDriver mktg_twilio_driver = {
	.name = "twilio",
	.options = options,
	.max_batch = 1,
	.wants_data = true,
	.protocols = "https",
	.open = twilio_open,
	.close = twilio_close,
	.prepare = twilio_prepare,
	.build = twilio_build,
	.classify = twilio_classify,
};
