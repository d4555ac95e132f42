/*-------------------------------------------------------------------------
 *
 * whatsapp.c
 *		A driver that sends WhatsApp messages through Meta's Cloud API.
 *
 * https://developers.facebook.com/docs/whatsapp/cloud-api
 *
 * Within 24 hours of a person's last message anything may be said to them; at
 * any other time only a template that Meta has approved.  So the message's data
 * names a template and fills it in; without one the body goes as free text.
 *
 * What the API says of a template concerns every message of the campaign:
 * the campaign stops, and the sender goes on with others.
 *
 * IDENTIFICATION
 *		src/provider/whatsapp.c
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "provider/api.h"
#include "provider/drivers.h"

#define BASE_URL		"https://graph.facebook.com"
#define API_VERSION		"v23.0"
#define MAX_TEXT		4096	/* characters of a free text */
#define MAX_NAME		512		/* of a template */
#define OPTED_OUT		131050	/* of marketing */
#define SECOND_MS		INT64_C(1000)
#define DAY_MS			(24 * 3600 * SECOND_MS)

typedef struct Whatsapp
{
	char	   *base;			/* URL up to the number's id */
	char	   *number;			/* its id; NULL: each sender's from_address */
	struct curl_slist *headers;
	char	   *product_policy; /* NULL: not said */
	char	   *activity_sharing;	/* "true", "false"; NULL: not said */
	bool		marketing;		/* by the endpoint for that */
} Whatsapp;

/* what a handle keeps: whom its URL is of */
typedef struct Scratch
{
	char		number[24];
} Scratch;

/* the template of a message, as its data has it */
typedef struct Template
{
	const char *name;			/* NULL: none */
	const char *language;
	json_object *components;	/* NULL: none */
} Template;

static bool check_number(const char *value, char *why, size_t why_size);
static bool check_version(const char *value, char *why, size_t why_size);
static bool check_policy(const char *value, char *why, size_t why_size);

static const MktgOptionSpec options[] = {
	{"access_token", true, true, mktg_check_credential},
	{"api_version", false, false, check_version},
	{"base_url", false, false, mktg_check_base_url},
	{"marketing_messages", false, false, mktg_check_boolean},
	{"message_activity_sharing", false, false, mktg_check_boolean},
	{"phone_number_id", false, false, check_number},
	{"product_policy", false, false, check_policy},
	{NULL, false, false, NULL}
};

/* ---- options ---- */

static bool
is_number(const char *text)
{
	size_t		digits = strspn(text, "0123456789");

	return digits >= 1 && digits <= 20 && text[digits] == '\0';
}

static bool
check_number(const char *value, char *why, size_t why_size)
{
	if (is_number(value))
		return true;
	snprintf(why, why_size, "must be the id that Meta gave the phone number: digits alone");
	return false;
}

static bool
check_version(const char *value, char *why, size_t why_size)
{
	size_t		major = value[0] == 'v' ? strspn(value + 1, "0123456789") : 0;
	size_t		minor = major > 0 && value[1 + major] == '.' ? strspn(value + 2 + major, "0123456789") : 0;

	if (minor > 0 && value[2 + major + minor] == '\0' && strlen(value) <= 10)
		return true;
	snprintf(why, why_size, "must be a version of the Graph API, such as %s", API_VERSION);
	return false;
}

static bool
check_policy(const char *value, char *why, size_t why_size)
{
	if (strcmp(value, "CLOUD_API_FALLBACK") == 0 || strcmp(value, "STRICT") == 0)
		return true;
	snprintf(why, why_size, "must be CLOUD_API_FALLBACK or STRICT");
	return false;
}

static bool
whatsapp_check(const MktgSetting *settings, int n, char *why, size_t why_size)
{
	static const char *const of_marketing[] = {"product_policy", "message_activity_sharing"};

	if (strcmp(mktg_setting(settings, n, "marketing_messages", "false"), "true") == 0)
		return true;
	for (size_t i = 0; i < sizeof(of_marketing) / sizeof(of_marketing[0]); i++)
		if (mktg_setting(settings, n, of_marketing[i], NULL) != NULL)
		{
			snprintf(why, why_size, "option \"%s\" is only for \"marketing_messages\"", of_marketing[i]);
			return false;
		}
	return true;
}

/* What every request has. */
static bool
make_headers(Whatsapp *whatsapp, const char *token)
{
	char	   *bearer = NULL;
	bool		made = asprintf(&bearer, "Bearer %s", token) >= 0 &&
		mktg_add_header(&whatsapp->headers, "Content-Type", "application/json") &&
		mktg_add_header(&whatsapp->headers, "Authorization", bearer);

	if (bearer != NULL)
		explicit_bzero(bearer, strlen(bearer));
	free(bearer);
	return made;
}

static bool
whatsapp_open(MktgProvider *provider, const MktgSetting *settings, int n, char *why, size_t why_size)
{
	Whatsapp   *whatsapp = calloc(1, sizeof(Whatsapp));

	provider->state = whatsapp;
	if (whatsapp == NULL ||
		asprintf(&whatsapp->base, "%s/%s/", mktg_setting(settings, n, "base_url", BASE_URL),
				 mktg_setting(settings, n, "api_version", API_VERSION)) < 0 ||
		!make_headers(whatsapp, mktg_setting(settings, n, "access_token", "")) ||
		!mktg_copy_setting(settings, n, "phone_number_id", &whatsapp->number) ||
		!mktg_copy_setting(settings, n, "product_policy", &whatsapp->product_policy) ||
		!mktg_copy_setting(settings, n, "message_activity_sharing", &whatsapp->activity_sharing))
	{
		snprintf(why, why_size, "out of memory");
		return false;
	}
	whatsapp->marketing = strcmp(mktg_setting(settings, n, "marketing_messages", "false"), "true") == 0;
	return true;
}

static void
whatsapp_close(MktgProvider *provider)
{
	Whatsapp   *whatsapp = provider->state;

	if (whatsapp == NULL)
		return;
	free(whatsapp->base);
	free(whatsapp->number);
	mktg_free_headers(whatsapp->headers);
	free(whatsapp->product_policy);
	free(whatsapp->activity_sharing);
	free(whatsapp);
}

/* ---- messages ---- */

/* The URL holds the number's id, which may be another one with each message. */
static bool
whatsapp_prepare(MktgRequest *request)
{
	const Whatsapp *whatsapp = request->provider->state;

	return mktg_api_prepare(request, whatsapp->base, whatsapp->headers);
}

static bool
refuse(MktgDelivery *delivery, MktgOutcomeKind kind, const char *reason)
{
	mktg_outcome_set(&delivery->outcome, kind, "%s", reason);
	return false;
}

static bool
set_url(MktgRequest *request, MktgDelivery *delivery)
{
	const Whatsapp *whatsapp = request->provider->state;
	Scratch    *scratch = request->scratch;
	const char *number = whatsapp->number != NULL ? whatsapp->number : delivery->from_address;
	char	   *url = NULL;
	bool		set;

	if (number == NULL || !is_number(number))
		return refuse(delivery, MKTG_OUTCOME_CONFIG,
					  "neither the option phone_number_id nor the sender's from_address is the id of a phone number");
	if (strcmp(scratch->number, number) == 0)
		return true;
	set = asprintf(&url, "%s%s/%s", whatsapp->base, number, whatsapp->marketing ? "marketing_messages" : "messages") >= 0 &&
		curl_easy_setopt(request->easy, CURLOPT_URL, url) == CURLE_OK;
	if (set)
		snprintf(scratch->number, sizeof(scratch->number), "%s", number);
	free(url);
	return set || refuse(delivery, MKTG_OUTCOME_RETRY, "not sent: out of memory");
}

static bool
is_phone(const char *address)
{
	size_t		digits = address[0] == '+' ? strspn(address + 1, "0123456789") : 0;

	return digits >= 7 && digits <= 15 && address[1 + digits] == '\0';
}

/*
 * Finds the template: {"template": "promo", "language": "en", "components": [...]},
 * or {"template": {...}} with the members in it as Meta documents them.
 */
static void
find_template(json_object *data, Template *tpl)
{
	json_object *member;
	json_object *language;

	memset(tpl, 0, sizeof(*tpl));
	if (!json_object_object_get_ex(data, "template", &member))
		return;
	tpl->name = mktg_member_text(data, "template", NULL);
	if (json_object_is_type(member, json_type_object))
	{
		data = member;
		tpl->name = mktg_member_text(data, "name", "");
	}
	else if (member != NULL && tpl->name == NULL)
		tpl->name = "";			/* neither a name nor a template */
	tpl->language = mktg_member_text(data, "language", NULL);
	if (json_object_object_get_ex(data, "language", &language) && json_object_is_type(language, json_type_object))
		tpl->language = mktg_member_text(language, "code", NULL);
	(void) json_object_object_get_ex(data, "components", &tpl->components);
}

static void
add_text(MktgBuffer *body, const char *start, const char *text)
{
	mktg_buffer_puts(body, start);
	mktg_buffer_json_string(body, text, strlen(text));
}

static bool
add_template(MktgBuffer *body, MktgDelivery *delivery, const Template *tpl)
{
	size_t		length = strlen(tpl->name);

	/* what is wrong with all messages of the campaign stops it */
	if (length == 0 || length > MAX_NAME)
		return refuse(delivery, MKTG_OUTCOME_CAMPAIGN, "template_data: template must be a name, or an object that has one");
	if (tpl->language == NULL)
		return refuse(delivery, MKTG_OUTCOME_CAMPAIGN, "template_data: language is missing, such as en_US");
	if (tpl->components != NULL && !json_object_is_type(tpl->components, json_type_array))
		return refuse(delivery, MKTG_OUTCOME_CAMPAIGN, "template_data: components must be an array");
	/* one that comes from the contact may be empty for this one alone */
	if (tpl->language[0] == '\0')
		return refuse(delivery, MKTG_OUTCOME_PERMANENT, "the language of the template is empty");
	add_text(body, ",\"type\":\"template\",\"template\":{\"name\":", tpl->name);
	add_text(body, ",\"language\":{\"policy\":\"deterministic\",\"code\":", tpl->language);
	mktg_buffer_puts(body, "}");
	if (tpl->components != NULL)
	{
		mktg_buffer_puts(body, ",\"components\":");
		mktg_buffer_puts(body, json_object_to_json_string_ext(tpl->components,
															  JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	}
	mktg_buffer_puts(body, "}");
	return true;
}

static size_t
count_characters(const char *text, size_t length)
{
	size_t		count = 0;

	for (size_t i = 0; i < length; i++)
		count += ((unsigned char) text[i] & 0xC0) != 0x80;
	return count;
}

static bool
add_free_text(MktgBuffer *body, MktgDelivery *delivery)
{
	size_t		characters = count_characters(delivery->body, delivery->body_length);

	if (characters == 0)
		return refuse(delivery, MKTG_OUTCOME_PERMANENT, "the message has neither a template nor a text");
	if (characters > MAX_TEXT)
	{
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "the text has %zu characters, and WhatsApp takes %d", characters, MAX_TEXT);
		return false;
	}
	mktg_buffer_puts(body, ",\"type\":\"text\",\"text\":{\"body\":");
	mktg_buffer_json_string(body, delivery->body, delivery->body_length);
	mktg_buffer_puts(body, "}");
	return true;
}

static bool
add_content(const Whatsapp *whatsapp, MktgBuffer *body, MktgDelivery *delivery, json_object *data)
{
	Template	tpl;

	find_template(data, &tpl);
	if (tpl.name != NULL)
		return add_template(body, delivery, &tpl);
	if (whatsapp->marketing)
		return refuse(delivery, MKTG_OUTCOME_CAMPAIGN, "template_data names no template, and a marketing message needs one");
	return add_free_text(body, delivery);
}

static bool
whatsapp_build(MktgRequest *request)
{
	const Whatsapp *whatsapp = request->provider->state;
	MktgDelivery *delivery = request->deliveries[0];
	MktgBuffer *body = &request->body;
	json_object *data;
	bool		built;

	if (!is_phone(delivery->address))
		return refuse(delivery, MKTG_OUTCOME_PERMANENT, "the address is no phone number with its country code");
	if (!set_url(request, delivery))
		return false;
	data = mktg_data_json(delivery);
	if (data == NULL)
		return refuse(delivery, MKTG_OUTCOME_CAMPAIGN, "template_data is nested too deeply");
	add_text(body, "{\"messaging_product\":\"whatsapp\",\"recipient_type\":\"individual\",\"to\":", delivery->address + 1);
	add_text(body, ",\"biz_opaque_callback_data\":", delivery->id);
	if (whatsapp->product_policy != NULL)
		add_text(body, ",\"product_policy\":", whatsapp->product_policy);
	if (whatsapp->activity_sharing != NULL)
	{
		mktg_buffer_puts(body, ",\"message_activity_sharing\":");
		mktg_buffer_puts(body, whatsapp->activity_sharing);
	}
	built = add_content(whatsapp, body, delivery, data);
	mktg_buffer_puts(body, "}");
	json_object_put(data);
	return built;
}

/* ---- replies ---- */

/* "decide on code, never the text"; others go by their HTTP status */
static const struct
{
	int			code;
	MktgOutcomeKind kind;
	int64_t		wait_ms;
	bool		own;			/* the recipient's wait, or perhaps the message's own fault */
} codes[] = {
	/* too fast, or out of order for now */
	{2, MKTG_OUTCOME_RETRY, 0, false},
	{4, MKTG_OUTCOME_RETRY, 60 * SECOND_MS, false},
	{80007, MKTG_OUTCOME_RETRY, 60 * SECOND_MS, false},
	{130429, MKTG_OUTCOME_RETRY, SECOND_MS, false},
	{131000, MKTG_OUTCOME_RETRY, 0, false},
	{131016, MKTG_OUTCOME_RETRY, 0, false},
	{131057, MKTG_OUTCOME_RETRY, 60 * SECOND_MS, false},
	/* too often to this person */
	{131056, MKTG_OUTCOME_RETRY, 6 * SECOND_MS, true},
	{131049, MKTG_OUTCOME_RETRY, DAY_MS, true},
	{OPTED_OUT, MKTG_OUTCOME_SUPPRESS, 0, false},
	{130472, MKTG_OUTCOME_PERMANENT, 0, false},
	{131026, MKTG_OUTCOME_PERMANENT, 0, false},
	{131047, MKTG_OUTCOME_PERMANENT, 0, false},
	/* the template, or what it is filled in with */
	{132000, MKTG_OUTCOME_CAMPAIGN, 0, true},
	{132001, MKTG_OUTCOME_CAMPAIGN, 0, false},
	{132005, MKTG_OUTCOME_CAMPAIGN, 0, true},
	{132007, MKTG_OUTCOME_CAMPAIGN, 0, false},
	{132012, MKTG_OUTCOME_CAMPAIGN, 0, true},
	{132015, MKTG_OUTCOME_CAMPAIGN, 0, false},
	{132016, MKTG_OUTCOME_CAMPAIGN, 0, false},
	/* the account */
	{0, MKTG_OUTCOME_CONFIG, 0, false},
	{3, MKTG_OUTCOME_CONFIG, 0, false},
	{10, MKTG_OUTCOME_CONFIG, 0, false},
	{190, MKTG_OUTCOME_CONFIG, 0, false},
	{368, MKTG_OUTCOME_CONFIG, 0, false},
	{131005, MKTG_OUTCOME_CONFIG, 0, false},
	{131031, MKTG_OUTCOME_CONFIG, 0, false},
	{131042, MKTG_OUTCOME_CONFIG, 0, false},
	{131045, MKTG_OUTCOME_CONFIG, 0, false},
	{131048, MKTG_OUTCOME_CONFIG, 0, false},
	{133010, MKTG_OUTCOME_CONFIG, 0, false},
};

static void
take_id(const MktgRequest *request, MktgOutcome *outcome)
{
	json_object *reply = mktg_reply_json(request);
	json_object *messages;

	if (json_object_object_get_ex(reply, "messages", &messages) && json_object_is_type(messages, json_type_array))
		snprintf(outcome->provider_id, sizeof(outcome->provider_id), "%s",
				 mktg_member_text(json_object_array_get_idx(messages, 0), "id", ""));
	json_object_put(reply);
}

/* The name and language of the message's template go before what is said of it. */
static void
name_template(const MktgDelivery *delivery, MktgOutcome *outcome)
{
	json_object *data = mktg_data_json(delivery);
	Template	tpl;

	find_template(data, &tpl);
	mktg_outcome_set(outcome, MKTG_OUTCOME_CAMPAIGN, "template \"%.100s\" (%.20s): %s", tpl.name != NULL ? tpl.name : "",
					 tpl.language != NULL ? tpl.language : "", outcome->reason);
	json_object_put(data);
}

static void
apply_code(int64_t code, MktgOutcome *outcome)
{
	outcome->opted_out = code == OPTED_OUT;
	/* permissions that are missing */
	if (code >= 200 && code <= 299)
		outcome->kind = MKTG_OUTCOME_CONFIG;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == code)
		{
			outcome->kind = codes[i].kind;
			outcome->own_wait = codes[i].own && codes[i].kind == MKTG_OUTCOME_RETRY;
			outcome->perhaps_own = codes[i].own && codes[i].kind == MKTG_OUTCOME_CAMPAIGN;
			if (codes[i].wait_ms > outcome->retry_after_ms)
				outcome->retry_after_ms = codes[i].wait_ms;
		}
}

static void
read_error(const MktgRequest *request, MktgOutcome *outcome)
{
	json_object *reply = mktg_reply_json(request);
	json_object *error;
	json_object *data = NULL;
	int64_t		code;

	if (json_object_object_get_ex(reply, "error", &error) && json_object_is_type(error, json_type_object))
	{
		code = mktg_member_number(error, "code", -1);
		apply_code(code, outcome);
		(void) json_object_object_get_ex(error, "error_data", &data);
		mktg_outcome_set(outcome, outcome->kind, "WhatsApp %" PRId64 ": %s", code,
						 mktg_member_text(data, "details", mktg_member_text(error, "message", "no reason given")));
	}
	json_object_put(reply);
}

static void
whatsapp_classify(MktgRequest *request)
{
	MktgDelivery *delivery = request->deliveries[0];
	MktgOutcome *outcome = &delivery->outcome;

	mktg_api_classify(request, outcome);
	if (outcome->kind == MKTG_OUTCOME_SENT)
		take_id(request, outcome);
	if (request->status < 300)
		return;
	read_error(request, outcome);
	if (outcome->kind == MKTG_OUTCOME_CAMPAIGN)
		name_template(delivery, outcome);
}

const MktgDriver mktg_whatsapp_driver = {
	.name = "whatsapp",
	.options = options,
	.max_batch = 1,
	.wants_data = true,
	.http2 = true,
	.protocols = "https",
	.scratch_size = sizeof(Scratch),
	.check = whatsapp_check,
	.open = whatsapp_open,
	.close = whatsapp_close,
	.prepare = whatsapp_prepare,
	.build = whatsapp_build,
	.classify = whatsapp_classify,
};
