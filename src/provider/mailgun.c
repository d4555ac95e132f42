/*-------------------------------------------------------------------------
 *
 * mailgun.c
 *		A driver for Mailgun's v3 Messages.
 *
 * https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages
 *
 * A request carries up to 1000 messages.  What differs stands in the form
 * field recipient-variables, JSON by address; subject, text, html and our id
 * are only references to it.  That field is what makes a mail for each of the
 * recipients: without it all of them would see each other in To, so it is
 * always there.
 *
 * Mailgun takes a request whole or not at all, and does not say whose fault a
 * refusal is.
 *
 * IDENTIFICATION
 *		src/provider/mailgun.c
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <json-c/json.h>

#include "provider/api.h"
#include "provider/drivers.h"
#include "provider/mail.h"

#define BASE_URL		"https://api.mailgun.net"
#define MAX_BATCH		1000
#define MAX_BODY		(25 * 1024 * 1024)
#define MAX_TEXTS		(8 * 1024 * 1024)	/* of a batch; leaves room for their escapes */
#define MAX_TAGS		10
#define MAX_TAG			128

/*
 * No value of the form holds a line break: names and addresses were asked for
 * control characters, and texts stand in JSON, which escapes them.  So none can
 * hold the boundary.
 */
#define BOUNDARY		"mktg-7d9f1b0c5e3a"

#define ADDRESS_SLOTS	2048	/* power of two, well above MAX_BATCH */

typedef struct Mailgun
{
	char	   *url;
	char	   *api_key;
	MktgBuffer	tail;			/* fields that the options add, and the end of the form */
	struct curl_slist *headers;
} Mailgun;

static bool check_tags(const char *value, char *why, size_t why_size);
static bool check_tracking(const char *value, char *why, size_t why_size);

static const MktgOptionSpec options[] = {
	{"api_key", true, true, mktg_check_credential},
	{"base_url", false, false, mktg_check_base_url},
	{"domain", false, true, mktg_check_host},
	{"require_tls", false, false, mktg_check_boolean},
	{"tags", false, false, check_tags},
	{"testmode", false, false, mktg_check_boolean},
	{"tracking", false, false, check_tracking},
	{"tracking_clicks", false, false, check_tracking},
	{"tracking_opens", false, false, mktg_check_boolean},
	{NULL, false, false, NULL}
};

/* ---- options ---- */

static bool
check_tags(const char *value, char *why, size_t why_size)
{
	return mktg_check_items(value, MAX_TAGS, MAX_TAG, why, why_size);
}

static bool
check_tracking(const char *value, char *why, size_t why_size)
{
	if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0 || strcmp(value, "htmlonly") == 0)
		return true;
	snprintf(why, why_size, "must be true, false or htmlonly");
	return false;
}

static bool
mailgun_check(const MktgSetting *settings, int n, char *why, size_t why_size)
{
	static const char *const parts[] = {"tracking_clicks", "tracking_opens"};

	if (strcmp(mktg_setting(settings, n, "tracking", ""), "false") != 0)
		return true;
	for (int i = 0; i < 2; i++)
		if (strcmp(mktg_setting(settings, n, parts[i], "false"), "false") != 0)
		{
			snprintf(why, why_size, "option \"tracking\" is false, and \"%s\" is not", parts[i]);
			return false;
		}
	return true;
}

/* ---- forms ---- */

static void
begin_field(MktgBuffer *form, const char *name)
{
	mktg_buffer_puts(form, "--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"");
	mktg_buffer_puts(form, name);
	mktg_buffer_puts(form, "\"\r\n\r\n");
}

static void
add_field(MktgBuffer *form, const char *name, const char *value, size_t length)
{
	begin_field(form, name);
	mktg_buffer_add(form, value, length);
	mktg_buffer_puts(form, "\r\n");
}

static void
add_option(MktgBuffer *form, const char *name, const MktgSetting *settings, int n, const char *option)
{
	const char *value = mktg_setting(settings, n, option, NULL);

	if (value != NULL)
		add_field(form, name, value, strlen(value));
}

static void
build_tail(MktgBuffer *form, const MktgSetting *settings, int n)
{
	const char *tags = mktg_setting(settings, n, "tags", NULL);
	const char *tag;
	size_t		length;

	while (mktg_next_item(&tags, &tag, &length))
		add_field(form, "o:tag", tag, length);
	add_option(form, "o:tracking", settings, n, "tracking");
	add_option(form, "o:tracking-clicks", settings, n, "tracking_clicks");
	add_option(form, "o:tracking-opens", settings, n, "tracking_opens");
	add_option(form, "o:require-tls", settings, n, "require_tls");
	/* any value would turn it on */
	if (strcmp(mktg_setting(settings, n, "testmode", "false"), "true") == 0)
		add_field(form, "o:testmode", "yes", 3);
	mktg_buffer_puts(form, "--" BOUNDARY "--\r\n");
}

static bool
mailgun_open(MktgProvider *provider, const MktgSetting *settings, int n, char *why, size_t why_size)
{
	Mailgun    *mailgun = calloc(1, sizeof(Mailgun));
	char		path[320];

	provider->state = mailgun;
	snprintf(path, sizeof(path), "/v3/%s/messages", mktg_setting(settings, n, "domain", ""));
	if (mailgun != NULL)
		build_tail(&mailgun->tail, settings, n);
	if (mailgun != NULL && !mailgun->tail.failed &&
		(mailgun->url = mktg_api_url(mktg_setting(settings, n, "base_url", BASE_URL), path)) != NULL &&
		mktg_copy_setting(settings, n, "api_key", &mailgun->api_key) &&
		mktg_add_header(&mailgun->headers, "Content-Type", "multipart/form-data; boundary=" BOUNDARY) &&
		mktg_add_header(&mailgun->headers, "Expect", ""))
		return true;
	snprintf(why, why_size, "out of memory");
	return false;
}

static void
mailgun_close(MktgProvider *provider)
{
	Mailgun    *mailgun = provider->state;

	if (mailgun == NULL)
		return;
	if (mailgun->api_key != NULL)
		explicit_bzero(mailgun->api_key, strlen(mailgun->api_key));
	free(mailgun->api_key);
	free(mailgun->url);
	mktg_free_headers(mailgun->headers);
	mktg_buffer_free(&mailgun->tail);
	free(mailgun);
}

/* ---- requests ---- */

static bool
mailgun_prepare(MktgRequest *request)
{
	const Mailgun *mailgun = request->provider->state;

	return mktg_api_prepare(request, mailgun->url, mailgun->headers) &&
		mktg_api_log_in(request, "api", mailgun->api_key);
}

static size_t
text_size(const MktgDelivery *delivery)
{
	return delivery->subject_length + delivery->body_length + delivery->html_length;
}

/* Enters an address; false if it is there already, in whatever case. */
static bool
enter_address(const char *slots[ADDRESS_SLOTS], const char *address)
{
	uint32_t	hash = 2166136261u;	/* FNV-1a */

	for (const char *c = address; *c != '\0'; c++)
		hash = (hash ^ (uint32_t) tolower((unsigned char) *c)) * 16777619u;
	for (;; hash++)
	{
		const char **slot = &slots[hash % ADDRESS_SLOTS];

		if (*slot == NULL)
		{
			*slot = address;
			return true;
		}
		if (strcasecmp(*slot, address) == 0)
			return false;
	}
}

/* Messages with the same parts, to different addresses: variables go by address. */
static int
mailgun_fit(const MktgProvider *provider, MktgDelivery *const *deliveries, int n)
{
	const char *addresses[ADDRESS_SLOTS] = {NULL};
	size_t		total = 0;
	int			most = n;

	(void) provider;
	for (int i = 0; i < n; i++)
	{
		int			here = mktg_api_most(deliveries[i]->attempt);

		most = here < most ? here : most;
		total += text_size(deliveries[i]);
		if ((i > 0 && (i >= most || total > MAX_TEXTS || !mktg_mail_same_parts(deliveries[i], deliveries[0]))) ||
			!enter_address(addresses, deliveries[i]->address))
			return i;
	}
	return n;
}

static bool
check_delivery(MktgDelivery *delivery)
{
	if (!mktg_mail_check(delivery))
		return false;
	if (delivery->body_length > 0 || delivery->html_length > 0)
		return true;
	mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
					 "the message is empty, and Mailgun takes none without text");
	return false;
}

/* "name" <address>; the name in UTF-8 as it is */
static void
add_from(MktgBuffer *form, const MktgDelivery *delivery)
{
	const char *name = delivery->from_name;

	begin_field(form, "from");
	if (name != NULL && name[0] != '\0')
	{
		mktg_buffer_puts(form, "\"");
		for (; *name != '\0'; name++)
		{
			if (*name == '"' || *name == '\\')
				mktg_buffer_puts(form, "\\");
			mktg_buffer_add(form, name, 1);
		}
		mktg_buffer_puts(form, "\" ");
	}
	mktg_buffer_puts(form, "<");
	mktg_buffer_puts(form, delivery->from_address);
	mktg_buffer_puts(form, ">\r\n");
}

static void
add_variable(MktgBuffer *form, const char *start, const char *text, size_t length)
{
	if (length == 0)
		return;
	mktg_buffer_puts(form, start);
	mktg_buffer_json_string(form, text, length);
}

/* "address":{"mktg_id":"...","subject":"...","text":"...","html":"..."} */
static void
add_variables(MktgBuffer *form, const MktgDelivery *delivery)
{
	mktg_buffer_json_string(form, delivery->address, strlen(delivery->address));
	mktg_buffer_puts(form, ":{\"mktg_id\":");
	mktg_buffer_json_string(form, delivery->id, strlen(delivery->id));
	mktg_buffer_puts(form, ",\"subject\":");
	mktg_buffer_json_string(form, delivery->subject, delivery->subject_length);
	add_variable(form, ",\"text\":", delivery->body, delivery->body_length);
	add_variable(form, ",\"html\":", delivery->html, delivery->html_length);
	mktg_buffer_puts(form, "}");
}

static void
add_recipients(MktgBuffer *form, const MktgRequest *request)
{
	const char *separator = "{";

	for (int i = 0; i < request->count; i++)
	{
		const MktgDelivery *delivery = request->deliveries[i];

		if (delivery->outcome.kind == MKTG_OUTCOME_NONE)
			add_field(form, "to", delivery->address, strlen(delivery->address));
	}
	begin_field(form, "recipient-variables");
	for (int i = 0; i < request->count; i++)
	{
		if (request->deliveries[i]->outcome.kind != MKTG_OUTCOME_NONE)
			continue;
		mktg_buffer_puts(form, separator);
		add_variables(form, request->deliveries[i]);
		separator = ",";
	}
	mktg_buffer_puts(form, "}\r\n");
}

static void
add_reference(MktgBuffer *form, const char *name, const char *variable)
{
	char		text[64];
	int			length = snprintf(text, sizeof(text), "%%recipient.%s%%", variable);

	add_field(form, name, text, (size_t) length);
}

static void
add_number(MktgBuffer *form, const char *name, int64_t number)
{
	char		text[32];
	int			length = snprintf(text, sizeof(text), "%" PRId64, number);

	add_field(form, name, text, (size_t) length);
}

static bool
mailgun_build(MktgRequest *request)
{
	const Mailgun *mailgun = request->provider->state;
	MktgBuffer *form = &request->body;
	const MktgDelivery *first = NULL;
	MktgOutcome outcome = {0};
	int			n = 0;

	for (int i = 0; i < request->count; i++)
		if (check_delivery(request->deliveries[i]) && n++ == 0)
			first = request->deliveries[i];
	if (n == 0)
		return false;

	form->limit = MAX_BODY;
	add_from(form, first);
	if (first->reply_to != NULL)
		add_field(form, "h:Reply-To", first->reply_to, strlen(first->reply_to));
	add_recipients(form, request);
	add_reference(form, "subject", "subject");
	if (first->body_length > 0)
		add_reference(form, "text", "text");
	if (first->html_length > 0)
		add_reference(form, "html", "html");
	add_reference(form, "v:mktg_id", "mktg_id");
	add_number(form, "v:mktg_tenant", first->tenant_id);
	add_number(form, "v:mktg_campaign", first->campaign_id);
	mktg_buffer_add(form, mailgun->tail.data, mailgun->tail.length);
	if (!form->failed)
		return true;

	/* in smaller company it may fit */
	mktg_outcome_set(&outcome, n == 1 ? MKTG_OUTCOME_PERMANENT : MKTG_OUTCOME_RETRY,
					 "the message is larger than the %d MB Mailgun takes", MAX_BODY / (1024 * 1024));
	mktg_outcome_all(request, &outcome);
	return false;
}

/* ---- replies ---- */

/* Does a refusal concern the sender or the domain: the same with every message? */
static bool
is_setting(const char *message)
{
	return strncasecmp(message, "from parameter", 14) == 0 ||
		(strncasecmp(message, "Domain ", 7) == 0 && strstr(message, "is not allowed to send") != NULL);
}

static void
take_id(const char *id, MktgOutcome *outcome)
{
	size_t		length;

	if (*id == '<')
		id++;
	length = strcspn(id, ">");
	if (length < sizeof(outcome->provider_id))
	{
		memcpy(outcome->provider_id, id, length);
		outcome->provider_id[length] = '\0';
	}
}

static int
still_open(const MktgRequest *request)
{
	int			n = 0;

	for (int i = 0; i < request->count; i++)
		n += request->deliveries[i]->outcome.kind == MKTG_OUTCOME_NONE;
	return n;
}

static void
mailgun_classify(MktgRequest *request)
{
	MktgOutcome outcome = {0};
	json_object *reply = NULL;
	const char *message;

	mktg_api_classify(request, &outcome);
	if (request->status >= 200)
		reply = mktg_reply_json(request);
	message = mktg_member_text(reply, "message", NULL);
	if (outcome.kind == MKTG_OUTCOME_SENT)
		take_id(mktg_member_text(reply, "id", ""), &outcome);
	else if (message != NULL)
	{
		mktg_outcome_set(&outcome, outcome.kind, "HTTP %ld: %.200s", request->status, message);
		if (outcome.kind == MKTG_OUTCOME_PERMANENT && is_setting(message))
			outcome.kind = MKTG_OUTCOME_CONFIG;
		if (request->status == 429 && outcome.retry_after_ms == 0)
		{
			int64_t		wait = mktg_retry_phrase_ms(message, request->deliveries[0]->now);

			outcome.retry_after_ms = wait > 0 ? wait : 0;
		}
	}
	/* nobody says who of several is to blame */
	if (outcome.kind == MKTG_OUTCOME_PERMANENT && still_open(request) > 1)
		outcome.kind = MKTG_OUTCOME_RETRY;
	mktg_outcome_all(request, &outcome);
	json_object_put(reply);
}

const MktgDriver mktg_mailgun_driver = {
	.name = "mailgun",
	.options = options,
	.max_batch = MAX_BATCH,
	.mail = true,
	.protocols = "https",
	.check = mailgun_check,
	.open = mailgun_open,
	.close = mailgun_close,
	.prepare = mailgun_prepare,
	.fit = mailgun_fit,
	.build = mailgun_build,
	.classify = mailgun_classify,
};
