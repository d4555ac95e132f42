/*-------------------------------------------------------------------------
 *
 * sendgrid.c
 *		A driver for SendGrid's v3 Mail Send.
 *
 * https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
 *
 * A request carries up to 1000 messages, a personalization each.  Its content
 * is there once: it holds what the texts have in common, and tags for the rest,
 * which stands in substitutions of the personalizations.  These may hold 10,000
 * bytes; a message that has more of its own goes in another request.
 *
 * SendGrid takes a request whole or not at all.  Where it says which
 * personalization it does not like, that message fails and the others go again.
 *
 * IDENTIFICATION
 *		src/provider/sendgrid.c
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "core/common.h"
#include "provider/api.h"
#include "provider/drivers.h"
#include "provider/mail.h"

#define BASE_URL		"https://api.sendgrid.com"
#define PATH			"/v3/mail/send"
#define MAX_BATCH		1000
#define MAX_BODY		(30 * 1024 * 1024)

/* 10,000 are documented; how what stands between the texts counts is not */
#define MAX_SUBSTITUTIONS	9000
#define TAG				"-mktg%d-"
#define TAG_SIZE		18		/* with four digits, and what JSON puts around it and its text */

#define MAX_CATEGORIES	10
#define MAX_CATEGORY	255
#define MAX_GROUPS		25

typedef struct SendGrid
{
	char	   *url;
	struct curl_slist *headers;
	MktgBuffer	tail;			/* what the options add to every request, from a comma on */
} SendGrid;

static bool check_categories(const char *value, char *why, size_t why_size);
static bool check_group(const char *value, char *why, size_t why_size);
static bool check_groups(const char *value, char *why, size_t why_size);
static bool check_pool(const char *value, char *why, size_t why_size);

static const MktgOptionSpec options[] = {
	{"api_key", true, true, mktg_check_credential},
	{"asm_group_id", false, false, check_group},
	{"asm_groups_to_display", false, false, check_groups},
	{"base_url", false, false, mktg_check_base_url},
	{"categories", false, false, check_categories},
	{"click_tracking", false, false, mktg_check_boolean},
	{"ip_pool_name", false, false, check_pool},
	{"open_tracking", false, false, mktg_check_boolean},
	{"sandbox_mode", false, false, mktg_check_boolean},
	{"subscription_tracking", false, false, mktg_check_boolean},
	{NULL, false, false, NULL}
};

/* ---- options ---- */

static bool
check_categories(const char *value, char *why, size_t why_size)
{
	return mktg_check_items(value, MAX_CATEGORIES, MAX_CATEGORY, why, why_size);
}

static bool
check_group(const char *value, char *why, size_t why_size)
{
	if (mktg_check_integer(value, why, why_size) && atol(value) > 0)
		return true;
	snprintf(why, why_size, "must be the number of an unsubscribe group");
	return false;
}

static bool
check_groups(const char *value, char *why, size_t why_size)
{
	bool		digits = strspn(value, "0123456789, ") == strlen(value);

	if (digits && mktg_check_items(value, MAX_GROUPS, 9, why, why_size))
		return true;
	snprintf(why, why_size, "must be the numbers of at most %d unsubscribe groups,"
			 " with commas between them", MAX_GROUPS);
	return false;
}

static bool
check_pool(const char *value, char *why, size_t why_size)
{
	size_t		length = strlen(value);

	if (length >= 2 && length <= 64 && mktg_header_safe(value, length))
		return true;
	snprintf(why, why_size, "must be the name of an IP pool, of 2 to 64 bytes");
	return false;
}

static bool
sendgrid_check(const MktgSetting *settings, int n, char *why, size_t why_size)
{
	if (mktg_setting(settings, n, "asm_groups_to_display", NULL) == NULL ||
		mktg_setting(settings, n, "asm_group_id", NULL) != NULL)
		return true;
	snprintf(why, why_size, "option \"asm_groups_to_display\" needs \"asm_group_id\" beside it");
	return false;
}

static void
add_json(MktgBuffer *out, const char *start, const char *text, size_t length)
{
	mktg_buffer_puts(out, start);
	mktg_buffer_json_string(out, text, length);
}

/* A list of the option as a JSON array: of texts, or of numbers as they are. */
static void
add_list(MktgBuffer *out, const char *start, const char *list, bool numbers)
{
	const char *item;
	size_t		length;
	const char *separator = "[";

	mktg_buffer_puts(out, start);
	while (mktg_next_item(&list, &item, &length))
	{
		mktg_buffer_puts(out, separator);
		if (!numbers)
			mktg_buffer_json_string(out, item, length);
		else
		{
			/* JSON knows no leading zeros */
			while (length > 1 && *item == '0')
				item++, length--;
			mktg_buffer_add(out, item, length);
		}
		separator = ",";
	}
	mktg_buffer_puts(out, "]");
}

/* "tracking_settings" of the options that are given. */
static void
add_tracking(MktgBuffer *out, const MktgSetting *settings, int n)
{
	static const char *const names[] = {"click_tracking", "open_tracking", "subscription_tracking"};
	int			given = 0;

	for (int i = 0; i < 3; i++)
	{
		const char *value = mktg_setting(settings, n, names[i], NULL);

		if (value == NULL)
			continue;
		mktg_buffer_puts(out, given++ == 0 ? ",\"tracking_settings\":{\"" : ",\"");
		mktg_buffer_puts(out, names[i]);
		mktg_buffer_puts(out, "\":{\"enable\":");
		mktg_buffer_puts(out, value);
		mktg_buffer_puts(out, "}");
	}
	if (given > 0)
		mktg_buffer_puts(out, "}");
}

static void
build_tail(MktgBuffer *out, const MktgSetting *settings, int n)
{
	const char *categories = mktg_setting(settings, n, "categories", NULL);
	const char *group = mktg_setting(settings, n, "asm_group_id", NULL);
	const char *groups = mktg_setting(settings, n, "asm_groups_to_display", NULL);
	const char *pool = mktg_setting(settings, n, "ip_pool_name", NULL);

	if (categories != NULL)
		add_list(out, ",\"categories\":", categories, false);
	if (group != NULL)
	{
		char		number[64];

		snprintf(number, sizeof(number), ",\"asm\":{\"group_id\":%ld", atol(group));
		mktg_buffer_puts(out, number);
		if (groups != NULL)
			add_list(out, ",\"groups_to_display\":", groups, true);
		mktg_buffer_puts(out, "}");
	}
	if (pool != NULL)
		add_json(out, ",\"ip_pool_name\":", pool, strlen(pool));
	add_tracking(out, settings, n);
	if (strcmp(mktg_setting(settings, n, "sandbox_mode", "false"), "true") == 0)
		mktg_buffer_puts(out, ",\"mail_settings\":{\"sandbox_mode\":{\"enable\":true}}");
	mktg_buffer_puts(out, "}");
}

static bool
sendgrid_open(MktgProvider *provider, const MktgSetting *settings, int n,
			  char *why, size_t why_size)
{
	SendGrid   *sendgrid = calloc(1, sizeof(SendGrid));
	char		bearer[5000];
	bool		ok;

	provider->state = sendgrid;
	snprintf(bearer, sizeof(bearer), "Bearer %s", mktg_setting(settings, n, "api_key", ""));
	ok = sendgrid != NULL &&
		(sendgrid->url = mktg_api_url(mktg_setting(settings, n, "base_url", BASE_URL), PATH)) != NULL &&
		mktg_add_header(&sendgrid->headers, "Authorization", bearer) &&
		mktg_add_header(&sendgrid->headers, "Content-Type", "application/json") &&
		mktg_add_header(&sendgrid->headers, "Expect", "");
	explicit_bzero(bearer, sizeof(bearer));
	if (ok)
	{
		build_tail(&sendgrid->tail, settings, n);
		ok = !sendgrid->tail.failed;
	}
	if (!ok)
		snprintf(why, why_size, "out of memory");
	return ok;
}

static void
sendgrid_close(MktgProvider *provider)
{
	SendGrid   *sendgrid = provider->state;

	if (sendgrid == NULL)
		return;
	free(sendgrid->url);
	mktg_free_headers(sendgrid->headers);
	mktg_buffer_free(&sendgrid->tail);
	free(sendgrid);
}

/* ---- requests ---- */

static bool
sendgrid_prepare(MktgRequest *request)
{
	const SendGrid *sendgrid = request->provider->state;

	return mktg_api_prepare(request, sendgrid->url, sendgrid->headers);
}

static size_t
text_size(const MktgDelivery *delivery)
{
	return delivery->body_length + delivery->html_length;
}

/* What the texts of several messages have in common. */
typedef struct Shared
{
	MktgCommon *text;
	MktgCommon *html;
	size_t		longest;		/* text and html of the longest message */
} Shared;

static void
free_shared(Shared *shared)
{
	mktg_common_free(shared->text);
	mktg_common_free(shared->html);
}

/* False if there was no memory. */
static bool
begin_shared(Shared *shared, const MktgDelivery *first)
{
	shared->text = mktg_common_new(first->body, first->body_length);
	shared->html = mktg_common_new(first->html, first->html_length);
	shared->longest = text_size(first);
	if (shared->text != NULL && shared->html != NULL)
		return true;
	free_shared(shared);
	return false;
}

/* Takes one message more, if the substitutions of none would be too large then. */
static bool
share(Shared *shared, const MktgDelivery *delivery)
{
	size_t		longest = shared->longest;
	size_t		size = text_size(delivery);
	size_t		tags;

	longest = size > longest ? size : longest;
	mktg_common_add(shared->text, delivery->body, delivery->body_length);
	mktg_common_add(shared->html, delivery->html, delivery->html_length);
	tags = (size_t) (mktg_common_gaps(shared->text) + mktg_common_gaps(shared->html));
	size = longest - mktg_common_length(shared->text) - mktg_common_length(shared->html);
	if (size + tags * TAG_SIZE <= MAX_SUBSTITUTIONS)
	{
		shared->longest = longest;
		return true;
	}
	mktg_common_undo(shared->text);
	mktg_common_undo(shared->html);
	return false;
}

/* Messages with the same parts that differ little enough for substitutions. */
static int
sendgrid_fit(const MktgProvider *provider, MktgDelivery *const *deliveries, int n)
{
	Shared		shared;
	int			most = mktg_api_most(deliveries[0]->attempt);
	int			i;

	(void) provider;
	if (n == 1 || most == 1 || !begin_shared(&shared, deliveries[0]))
		return 1;
	for (i = 1; i < n; i++)
	{
		int			here = mktg_api_most(deliveries[i]->attempt);

		most = here < most ? here : most;
		if (i >= most || !mktg_mail_same_parts(deliveries[i], deliveries[0]) || !share(&shared, deliveries[i]))
			break;
	}
	free_shared(&shared);
	return i;
}

static bool
check_delivery(MktgDelivery *delivery)
{
	if (!mktg_mail_check(delivery))
		return false;
	if (delivery->subject_length == 0)
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "the message has no subject, and SendGrid takes none without");
	else if (text_size(delivery) == 0)
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "the message is empty, and SendGrid takes none without text");
	else
		return true;
	return false;
}

/* custom_args come back with every event of the message; only strings may be there */
static void
add_custom_args(MktgBuffer *body, const MktgDelivery *delivery)
{
	char		numbers[100];

	add_json(body, ",\"custom_args\":{\"mktg_id\":", delivery->id, strlen(delivery->id));
	snprintf(numbers, sizeof(numbers), ",\"mktg_tenant\":\"%" PRId64 "\",\"mktg_campaign\":\"%" PRId64 "\"}",
			 delivery->tenant_id, delivery->campaign_id);
	mktg_buffer_puts(body, numbers);
}

/* ,"substitutions":{"-mktg0-":"...","-mktg1-":"..."} of one text; "number" is that of its first tag */
static void
add_gaps(MktgBuffer *body, const MktgCommon *common, const char *text, size_t length,
		 MktgSpan *gaps, int number)
{
	int			n = mktg_common_gaps(common);
	char		tag[40];

	mktg_common_split(common, text, length, gaps);
	for (int i = 0; i < n; i++, number++)
	{
		snprintf(tag, sizeof(tag), "%s\"" TAG "\":", number == 0 ? ",\"substitutions\":{" : ",", number);
		add_json(body, tag, gaps[i].text, gaps[i].length);
	}
}

static void
add_personalization(MktgBuffer *body, const MktgDelivery *delivery, const Shared *shared, MktgSpan *gaps)
{
	int			in_text = mktg_common_gaps(shared->text);

	add_json(body, "{\"to\":[{\"email\":", delivery->address, strlen(delivery->address));
	add_json(body, "}],\"subject\":", delivery->subject, delivery->subject_length);
	add_custom_args(body, delivery);
	add_gaps(body, shared->text, delivery->body, delivery->body_length, gaps, 0);
	add_gaps(body, shared->html, delivery->html, delivery->html_length, gaps, in_text);
	mktg_buffer_puts(body, in_text + mktg_common_gaps(shared->html) > 0 ? "}}" : "}");
}

static void
add_tag(MktgBuffer *out, int number, void *context)
{
	char		tag[20];

	snprintf(tag, sizeof(tag), TAG, number + *(int *) context);
	mktg_buffer_puts(out, tag);
}

/* One text of the content, tags in place of what differs. */
static void
add_part(MktgBuffer *body, const char *start, const MktgCommon *common, int number)
{
	MktgBuffer	text = {.limit = MAX_BODY};

	mktg_common_write(common, &text, add_tag, &number);
	add_json(body, start, text.data, text.length);
	body->failed |= text.failed;
	mktg_buffer_free(&text);
}

static void
add_content(MktgBuffer *body, const MktgDelivery *first, const Shared *shared)
{
	mktg_buffer_puts(body, ",\"content\":[");
	if (first->body_length > 0)
		add_part(body, "{\"type\":\"text/plain\",\"value\":", shared->text, 0);
	if (first->body_length > 0 && first->html_length > 0)
		mktg_buffer_puts(body, "},");
	if (first->html_length > 0)
		add_part(body, "{\"type\":\"text/html\",\"value\":", shared->html, mktg_common_gaps(shared->text));
	mktg_buffer_puts(body, "}]");
}

static void
add_sender(MktgBuffer *body, const MktgDelivery *delivery)
{
	add_json(body, "{\"from\":{\"email\":", delivery->from_address, strlen(delivery->from_address));
	if (delivery->from_name != NULL && delivery->from_name[0] != '\0')
		add_json(body, ",\"name\":", delivery->from_name, strlen(delivery->from_name));
	if (delivery->reply_to != NULL)
		add_json(body, "},\"reply_to\":{\"email\":", delivery->reply_to, strlen(delivery->reply_to));
	mktg_buffer_puts(body, "}");
}

/* Writes the request of the deliveries that have no outcome; false if there was no memory for it. */
static bool
write_body(MktgRequest *request, const MktgDelivery *first)
{
	const SendGrid *sendgrid = request->provider->state;
	MktgBuffer *body = &request->body;
	const char *separator = ",\"personalizations\":[";
	Shared		shared;
	MktgSpan   *gaps;
	size_t		most;

	if (!begin_shared(&shared, first))
		return false;
	/* without those that cannot go, what is in common may be another than fit() found */
	for (int i = 0; i < request->count; i++)
		if (request->deliveries[i]->outcome.kind == MKTG_OUTCOME_NONE && request->deliveries[i] != first &&
			!share(&shared, request->deliveries[i]))
			mktg_outcome_set(&request->deliveries[i]->outcome, MKTG_OUTCOME_AGAIN,
							 "not sent: there was no room in its request");
	most = (size_t) (mktg_common_gaps(shared.text) + mktg_common_gaps(shared.html));
	gaps = malloc((most + 1) * sizeof(MktgSpan));
	if (gaps != NULL)
	{
		add_sender(body, first);
		for (int i = 0; i < request->count; i++)
		{
			if (request->deliveries[i]->outcome.kind != MKTG_OUTCOME_NONE)
				continue;
			mktg_buffer_puts(body, separator);
			add_personalization(body, request->deliveries[i], &shared, gaps);
			separator = ",";
		}
		mktg_buffer_puts(body, "]");
		add_content(body, first, &shared);
		mktg_buffer_add(body, sendgrid->tail.data, sendgrid->tail.length);
	}
	free(gaps);
	free_shared(&shared);
	return gaps != NULL;
}

static bool
sendgrid_build(MktgRequest *request)
{
	const MktgDelivery *first = NULL;
	MktgOutcome outcome = {0};
	int			n = 0;

	for (int i = 0; i < request->count; i++)
		if (check_delivery(request->deliveries[i]) && n++ == 0)
			first = request->deliveries[i];
	if (n == 0)
		return false;

	request->body.limit = MAX_BODY;
	if (!write_body(request, first))
		mktg_outcome_set(&outcome, MKTG_OUTCOME_RETRY, "not sent: out of memory");
	else if (request->body.failed)
		/* in smaller company it may fit */
		mktg_outcome_set(&outcome, n == 1 ? MKTG_OUTCOME_PERMANENT : MKTG_OUTCOME_RETRY,
						 "the message is larger than the %d MB SendGrid takes", MAX_BODY / (1024 * 1024));
	else
		return true;
	mktg_outcome_all(request, &outcome);
	return false;
}

/* ---- replies ---- */

/*
 * Number in "personalizations.3.to" or "personalizations[3].to", and the field
 * within it; -1 if the field is another.
 */
static int
personalization_of(const char *field, const char **within)
{
	static const char start[] = "personalizations";
	char	   *end;
	long		number;

	*within = field;
	if (strncmp(field, start, strlen(start)) != 0)
		return -1;
	field += strlen(start);
	if ((*field != '.' && *field != '[') || field[1] < '0' || field[1] > '9')
		return -1;
	number = strtol(field + 1, &end, 10);
	*within = end + strspn(end, "].");
	return number < MAX_BATCH ? (int) number : -1;
}

/* Is the field filled from the sender or the server's options: the same in every request? */
static bool
is_setting(const char *field)
{
	static const char *const fields[] = {
		"from", "reply_to", "asm", "categories", "ip_pool_name", "tracking_settings", "mail_settings"
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
	{
		size_t		length = strlen(fields[i]);

		if (strncmp(field, fields[i], length) == 0 && (field[length] == '\0' || field[length] == '.'))
			return true;
	}
	return false;
}

/* "HTTP 400: message (field)" */
static void
refuse(const MktgRequest *request, json_object *error, MktgOutcomeKind kind, MktgOutcome *outcome)
{
	const char *field = mktg_member_text(error, "field", "");
	const char *message = mktg_member_text(error, "message", "no message");

	(void) personalization_of(field, &field);
	if (field[0] == '\0')
		mktg_outcome_set(outcome, kind, "HTTP %ld: %.200s", request->status, message);
	else
		mktg_outcome_set(outcome, kind, "HTTP %ld: %.200s (%.60s)", request->status, message, field);
}

/* The array of errors in a reply, or NULL. */
static json_object *
errors_of(json_object *reply)
{
	json_object *errors;

	if (json_object_object_get_ex(reply, "errors", &errors) &&
		json_object_is_type(errors, json_type_array) && json_object_array_length(errors) > 0)
		return errors;
	return NULL;
}

/*
 * The request was refused as it stands.  Who is named fails; the others go
 * again.  Where nobody is named, and a setting is not at fault either, the
 * only message fails, and several go again in smaller company.
 */
static void
classify_refusal(MktgRequest *request, json_object *errors, const MktgOutcome *whole)
{
	MktgDelivery *sent[MAX_BATCH];
	MktgOutcome rest = *whole;
	int			n = 0;
	bool		named = false;

	for (int i = 0; i < request->count; i++)
		if (request->deliveries[i]->outcome.kind == MKTG_OUTCOME_NONE)
			sent[n++] = request->deliveries[i];
	rest.kind = n == 1 ? MKTG_OUTCOME_PERMANENT : MKTG_OUTCOME_RETRY;

	for (size_t i = 0; errors != NULL && i < json_object_array_length(errors); i++)
	{
		json_object *error = json_object_array_get_idx(errors, i);
		const char *field = mktg_member_text(error, "field", "");
		int			number = personalization_of(field, &field);

		if (number >= 0 && number < n)
		{
			refuse(request, error, MKTG_OUTCOME_PERMANENT, &sent[number]->outcome);
			named = true;
		}
		else if (is_setting(field))
			refuse(request, error, MKTG_OUTCOME_CONFIG, &rest);
	}
	if (named && rest.kind != MKTG_OUTCOME_CONFIG)
		mktg_outcome_set(&rest, MKTG_OUTCOME_AGAIN, "HTTP %ld for another message of the request",
						 request->status);
	mktg_outcome_all(request, &rest);
}

/* When the rate limit is over, by the header with the second it is reset. */
static void
obey_rate_limit(const MktgRequest *request, MktgOutcome *outcome)
{
	const char *reset = mktg_reply_header(request, "X-RateLimit-Reset");
	int64_t		wait;

	if (request->status != 429 || outcome->retry_after_ms > 0 || reset == NULL)
		return;
	wait = (int64_t) strtoll(reset, NULL, 10) - request->deliveries[0]->now;
	if (wait > 0 && wait <= 86400)
		outcome->retry_after_ms = wait * 1000;
}

static void
sendgrid_classify(MktgRequest *request)
{
	MktgOutcome outcome = {0};
	json_object *reply = NULL;
	json_object *errors = NULL;

	mktg_api_classify(request, &outcome);
	if (outcome.kind == MKTG_OUTCOME_SENT)
	{
		const char *id = mktg_reply_header(request, "X-Message-Id");

		if (id != NULL)
			snprintf(outcome.provider_id, sizeof(outcome.provider_id), "%s", id);
	}
	else if (request->status >= 300)
	{
		reply = mktg_reply_json(request);
		errors = errors_of(reply);
		if (errors != NULL)
			refuse(request, json_object_array_get_idx(errors, 0), outcome.kind, &outcome);
		obey_rate_limit(request, &outcome);
	}
	if (outcome.kind == MKTG_OUTCOME_PERMANENT)
		classify_refusal(request, errors, &outcome);
	else
		mktg_outcome_all(request, &outcome);
	json_object_put(reply);
}

const MktgDriver mktg_sendgrid_driver = {
	.name = "sendgrid",
	.options = options,
	.max_batch = MAX_BATCH,
	.mail = true,
	.protocols = "https",
	.check = sendgrid_check,
	.open = sendgrid_open,
	.close = sendgrid_close,
	.prepare = sendgrid_prepare,
	.fit = sendgrid_fit,
	.build = sendgrid_build,
	.classify = sendgrid_classify,
};
