/*-------------------------------------------------------------------------
 *
 * meta_conversions.c
 *		A driver for Meta's Conversions API.
 *
 * https://developers.facebook.com/docs/marketing-api/conversions-api
 *
 * Meta takes a request whole or not at all, so what it would refuse fails here,
 * alone: an event older than seven days, one of a website without its URL and
 * user agent.  Events that are refused for a reason nobody foresaw go again in
 * ever smaller company.  Repeated events are told by their event_id.
 *
 * IDENTIFICATION
 *		src/provider/meta_conversions.c
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provider/api.h"
#include "provider/drivers.h"
#include "provider/upload.h"

#define MAX_EVENTS		1000
#define MAX_BODY		(30 * 1024 * 1024)
#define MAX_AGE			(7 * 24 * 3600)
#define DEFAULT_SOURCE	"system_generated"

typedef struct Conversions
{
	char	   *url;
	struct curl_slist *headers;
	char	   *test_event_code;	/* NULL: none */
	char		proof[MKTG_HASH_SIZE];	/* empty: none */
} Conversions;

static bool check_pixel(const char *value, char *why, size_t why_size);

static const MktgOptionSpec options[] = {
	{"access_token", true, true, mktg_check_credential},
	{"api_version", false, false, mktg_check_graph_version},
	{"app_secret", true, false, mktg_check_credential},
	{"base_url", false, false, mktg_check_base_url},
	{"pixel", false, true, check_pixel},
	{"test_event_code", false, false, mktg_check_credential},
	{NULL, false, false, NULL}
};

/* members of "properties" that are the event's own, and those that tell of its user; others are custom_data */
static const char *const event_members[] = {
	"action_source", "event_source_url", "opt_out", "data_processing_options",
	"data_processing_options_country", "data_processing_options_state"
};
static const char *const user_members[] = {
	"client_ip_address", "client_user_agent", "fbc", "fbp"
};

/* ---- options ---- */

static bool
check_pixel(const char *value, char *why, size_t why_size)
{
	size_t		length = strlen(value);

	if (length >= 1 && length <= 30 && strspn(value, "0123456789") == length)
		return true;
	snprintf(why, why_size, "must be the number of a pixel or dataset");
	return false;
}

static bool
conversions_open(MktgProvider *provider, const MktgSetting *settings, int n, char *why, size_t why_size)
{
	Conversions *conversions = calloc(1, sizeof(Conversions));
	const char *token = mktg_setting(settings, n, "access_token", "");
	const char *secret = mktg_setting(settings, n, "app_secret", NULL);
	char		path[100];
	char		bearer[5000];
	bool		ok;

	provider->state = conversions;
	snprintf(path, sizeof(path), "/%s/%s/events", mktg_setting(settings, n, "api_version", MKTG_GRAPH_VERSION),
			 mktg_setting(settings, n, "pixel", ""));
	snprintf(bearer, sizeof(bearer), "Bearer %s", token);
	ok = conversions != NULL &&
		(conversions->url = mktg_api_url(mktg_setting(settings, n, "base_url", MKTG_GRAPH_URL), path)) != NULL &&
		mktg_add_header(&conversions->headers, "Authorization", bearer) &&
		mktg_add_header(&conversions->headers, "Content-Type", "application/json") &&
		mktg_add_header(&conversions->headers, "Expect", "") &&
		mktg_copy_setting(settings, n, "test_event_code", &conversions->test_event_code) &&
		(secret == NULL || mktg_graph_proof(secret, token, conversions->proof));
	explicit_bzero(bearer, sizeof(bearer));
	if (!ok)
		snprintf(why, why_size, "out of memory");
	return ok;
}

static void
conversions_close(MktgProvider *provider)
{
	Conversions *conversions = provider->state;

	if (conversions == NULL)
		return;
	free(conversions->url);
	free(conversions->test_event_code);
	mktg_free_headers(conversions->headers);
	free(conversions);
}

/* ---- requests ---- */

static bool
conversions_prepare(MktgRequest *request)
{
	const Conversions *conversions = request->provider->state;

	return mktg_api_prepare(request, conversions->url, conversions->headers);
}

static int
conversions_fit(const MktgProvider *provider, MktgDelivery *const *deliveries, int n)
{
	int			most = MAX_EVENTS;

	(void) provider;
	for (int i = 0; i < n; i++)
	{
		int			here = mktg_api_most(deliveries[i]->attempt);

		most = here < most ? here : most;
		if (i > 0 && i >= most)
			return i;
	}
	return n;
}

static bool
is_one_of(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

#define IS_ONE_OF(name, list)	is_one_of(name, list, sizeof(list) / sizeof((list)[0]))

static json_object *
member(json_object *object, const char *name)
{
	json_object *found = NULL;

	(void) json_object_object_get_ex(object, name, &found);
	return found;
}

/* What Meta would refuse the whole request for; false with the outcome set. */
static bool
check_event(MktgDelivery *delivery, json_object *data, json_object *contact)
{
	static const char *const sources[] = {
		"app", "business_messaging", "chat", "email", "other", "phone_call", "physical_store",
		"system_generated", "website"
	};
	json_object *properties = member(data, "properties");
	const char *source = mktg_member_text(properties, "action_source", DEFAULT_SOURCE);
	int64_t		occurred = mktg_member_number(data, "occurred_at", 0);
	const char *why = NULL;

	if (mktg_member_text(data, "event", "")[0] == '\0')
		why = "the message is no conversion: mktg.send_conversion() makes one";
	else if (occurred < delivery->now - MAX_AGE)
		why = "the event is older than the 7 days Meta takes";
	else if (!IS_ONE_OF(source, sources))
		why = "Meta knows no such action_source";
	else if (strcmp(source, "website") == 0 &&
			 (mktg_member_text(properties, "event_source_url", "")[0] == '\0' ||
			  mktg_member_text(properties, "client_user_agent", "")[0] == '\0'))
		why = "an event of a website needs event_source_url and client_user_agent";
	else if (mktg_member_text(contact, "email", "")[0] == '\0' && mktg_member_text(contact, "phone", "")[0] == '\0')
		why = "the contact has neither an e-mail address nor a phone number";
	if (why != NULL)
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT, "%s", why);
	return why == NULL;
}

/* "name":["hash"], where there is one */
static void
add_hash(json_object *user, const char *name, const char *hash)
{
	json_object *list;

	if (hash[0] == '\0')
		return;
	list = json_object_new_array();
	json_object_array_add(list, json_object_new_string(hash));
	json_object_object_add(user, name, list);
}

static json_object *
make_user(json_object *contact, json_object *properties)
{
	static const struct
	{
		const char *name;
		const char *column;
		MktgIdentifier kind;
	}			columns[] = {
		{"em", "email", MKTG_IDENTIFIER_EMAIL}, {"ph", "phone", MKTG_IDENTIFIER_PHONE},
		{"ge", "gender", MKTG_IDENTIFIER_GENDER}, {"ct", "city", MKTG_IDENTIFIER_PLACE},
		{"st", "region", MKTG_IDENTIFIER_PLACE}, {"country", "country", MKTG_IDENTIFIER_COUNTRY},
		{"external_id", "external_id", MKTG_IDENTIFIER_NAME},
	};
	json_object *user = json_object_new_object();
	const char *birth = mktg_member_text(contact, "birth_date", "");
	char		hash[MKTG_HASH_SIZE];
	char		day[9];

	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
	{
		(void) mktg_contact_hash(contact, columns[i].column, columns[i].kind, hash);
		add_hash(user, columns[i].name, hash);
	}
	(void) mktg_contact_name_hash(contact, false, hash);
	add_hash(user, "fn", hash);
	(void) mktg_contact_name_hash(contact, true, hash);
	add_hash(user, "ln", hash);
	if (strlen(birth) == 10)
	{
		snprintf(day, sizeof(day), "%.4s%.2s%.2s", birth, birth + 5, birth + 8);
		(void) mktg_identifier_hash(MKTG_IDENTIFIER_NAME, day, strlen(day), hash);
		add_hash(user, "db", hash);
	}
	for (size_t i = 0; i < sizeof(user_members) / sizeof(user_members[0]); i++)
		if (member(properties, user_members[i]) != NULL)
			json_object_object_add(user, user_members[i], json_object_get(member(properties, user_members[i])));
	return user;
}

/* What is left of the properties, with value and currency. */
static json_object *
make_custom_data(json_object *data, json_object *properties)
{
	json_object *custom = json_object_new_object();

	if (properties != NULL)
	{
		json_object_object_foreach(properties, name, value)
		{
			if (!IS_ONE_OF(name, event_members) && !IS_ONE_OF(name, user_members))
				json_object_object_add(custom, name, json_object_get(value));
		}
	}
	if (member(data, "value") != NULL)
	{
		json_object_object_add(custom, "value", json_object_get(member(data, "value")));
		json_object_object_add(custom, "currency", json_object_get(member(data, "currency")));
	}
	return custom;
}

static json_object *
make_event(const MktgDelivery *delivery, json_object *data, json_object *contact)
{
	json_object *event = json_object_new_object();
	json_object *properties = member(data, "properties");

	json_object_object_add(event, "event_name", json_object_get(member(data, "event")));
	json_object_object_add(event, "event_time", json_object_get(member(data, "occurred_at")));
	json_object_object_add(event, "event_id",
						   json_object_new_string(mktg_member_text(data, "event_id", delivery->id)));
	json_object_object_add(event, "action_source", json_object_new_string(DEFAULT_SOURCE));
	for (size_t i = 0; i < sizeof(event_members) / sizeof(event_members[0]); i++)
		if (member(properties, event_members[i]) != NULL)
			json_object_object_add(event, event_members[i], json_object_get(member(properties, event_members[i])));
	json_object_object_add(event, "user_data", make_user(contact, properties));
	json_object_object_add(event, "custom_data", make_custom_data(data, properties));
	return event;
}

/* One event after those that are there; false with the outcome set. */
static bool
add_event(MktgBuffer *body, MktgDelivery *delivery)
{
	json_object *data = mktg_parse_object(delivery->data, delivery->data_length);
	json_object *contact = mktg_parse_object(delivery->contact, delivery->contact_length);
	bool		good = check_event(delivery, data, contact);
	json_object *event;

	if (good)
	{
		event = make_event(delivery, data, contact);
		mktg_buffer_puts(body, body->length == 0 ? "{\"data\":[" : ",");
		mktg_buffer_puts(body, json_object_to_json_string_ext(event, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(event);
	}
	json_object_put(contact);
	json_object_put(data);
	return good;
}

/* ,"name":"text" */
static void
add_text(MktgBuffer *body, const char *start, const char *text)
{
	mktg_buffer_puts(body, start);
	mktg_buffer_json_string(body, text, strlen(text));
}

static bool
conversions_build(MktgRequest *request)
{
	const Conversions *conversions = request->provider->state;
	MktgBuffer *body = &request->body;
	MktgOutcome outcome = {0};
	int			n = 0;

	body->limit = MAX_BODY;
	for (int i = 0; i < request->count; i++)
		n += add_event(body, request->deliveries[i]);
	if (n == 0)
		return false;
	mktg_buffer_puts(body, "]");
	if (conversions->test_event_code != NULL)
		add_text(body, ",\"test_event_code\":", conversions->test_event_code);
	if (conversions->proof[0] != '\0')
		add_text(body, ",\"appsecret_proof\":", conversions->proof);
	mktg_buffer_puts(body, "}");
	if (!body->failed)
		return true;
	mktg_outcome_set(&outcome, n == 1 ? MKTG_OUTCOME_PERMANENT : MKTG_OUTCOME_RETRY,
					 "the events are larger than %d MB", MAX_BODY / (1024 * 1024));
	mktg_outcome_all(request, &outcome);
	return false;
}

/* ---- replies ---- */

static void
conversions_classify(MktgRequest *request)
{
	MktgOutcome outcome = {0};
	json_object *reply = mktg_reply_json(request);
	int			sent = 0;

	for (int i = 0; i < request->count; i++)
		sent += request->deliveries[i]->outcome.kind == MKTG_OUTCOME_NONE;
	/* one of several may be to blame */
	mktg_graph_classify(request, reply, sent > 1 ? MKTG_OUTCOME_RETRY : MKTG_OUTCOME_PERMANENT, &outcome);
	if (outcome.kind == MKTG_OUTCOME_SENT)
	{
		int64_t		received = mktg_member_number(reply, "events_received", -1);

		if (received == sent)
			snprintf(outcome.provider_id, sizeof(outcome.provider_id), "%s", mktg_member_text(reply, "fbtrace_id", ""));
		else
			mktg_outcome_set(&outcome, MKTG_OUTCOME_RETRY, "HTTP %ld, but %" PRId64 " of %d events were received",
							 request->status, received < 0 ? 0 : received, sent);
	}
	mktg_outcome_all(request, &outcome);
	json_object_put(reply);
}

const MktgDriver mktg_meta_conversions_driver = {
	.name = "meta_conversions",
	.options = options,
	.max_batch = MAX_EVENTS,
	.wants_data = true,
	.wants_contact = true,
	.protocols = "https",
	.open = conversions_open,
	.close = conversions_close,
	.prepare = conversions_prepare,
	.fit = conversions_fit,
	.build = conversions_build,
	.classify = conversions_classify,
};
