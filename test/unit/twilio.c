/*-------------------------------------------------------------------------
 *
 * twilio.c
 *		Unit tests of the Twilio driver: options, forms, and what codes say.
 *
 * IDENTIFICATION
 *		test/unit/twilio.c
 *
 *-------------------------------------------------------------------------
 */
#include "driver.h"

#define ACCOUNT		"account_sid=AC0123456789abcdef0123456789abcdef "
#define TOKEN		ACCOUNT "auth_token=t "
#define SERVICE		"MG0123456789abcdef0123456789abcdef"
#define CONTENT		"HX0123456789abcdef0123456789abcdef"

static MktgDelivery model = {
	.tenant_id = 1, .campaign_id = 7, .contact_id = 3, .ref = "a b", .id = "1.7.3.a b", .attempt = 1,
	.channel = "sms", .address = "+14155550100", .from_address = "+14155552345",
	.body = "Hi & bye\n", .body_length = 9, .now = 1735689600
};

static void
test_options(void)
{
	refused("twilio", "auth_token=t", "option \"account_sid\" is missing");
	refused("twilio", "account_sid=AC1 auth_token=t", "option \"account_sid\" must be AC and 32 hex digits");
	refused("twilio", ACCOUNT, "credential \"auth_token\" is missing, or \"api_key\" and \"api_secret\"");
	refused("twilio", ACCOUNT "api_key=SK1", "credential \"api_secret\" is missing");
	refused("twilio", ACCOUNT "api_secret=x", "credential \"api_key\" is missing");
	refused("twilio", TOKEN "api_key=SK1 api_secret=x",
			"credentials \"auth_token\" and \"api_key\" exclude each other");
	refused("twilio", TOKEN "validity_period=36001", "option \"validity_period\" must be seconds from 1 to 36000");
	refused("twilio", TOKEN "max_segments=0", "option \"max_segments\" must be a whole number from 1 on");
	refused("twilio", TOKEN "status_callback=https://a_b.example.com/x", "option \"status_callback\" must be an"
			" https URL without user, password and fragment, its host without an underscore");
	refused("twilio", TOKEN "status_callback=http://example.com/x", "option \"status_callback\" must be an"
			" https URL without user, password and fragment, its host without an underscore");
	refused("twilio", TOKEN "from=x", "driver \"twilio\" knows no option \"from\"");
	mktg_provider_close(opened("twilio", ACCOUNT "api_key=SK1 api_secret=x"));
	mktg_provider_close(opened("twilio", TOKEN "status_callback=https://example.com/a_b?c_d=1"));
}

static void
form_is(MktgProvider *provider, MktgDelivery delivery, const char *want, const char *name)
{
	char	   *form = built(provider, &delivery, 1);

	if (form == NULL)
		outcome_is(&delivery, MKTG_OUTCOME_NONE, "", name);
	else
		is_string(form, want, name);
	free(form);
}

static void
not_built(MktgProvider *provider, MktgDelivery delivery, MktgOutcomeKind kind, const char *reason, const char *name)
{
	char	   *form = built(provider, &delivery, 1);

	ok(form == NULL, "%s: nothing is sent", name);
	outcome_is(&delivery, kind, reason, name);
	free(form);
}

static MktgDelivery
with_data(const char *data)
{
	MktgDelivery delivery = model;

	delivery.data = data;
	delivery.data_length = strlen(data);
	return delivery;
}

static void
test_form(void)
{
	MktgProvider *plain = opened("twilio", TOKEN);
	MktgProvider *full = opened("twilio", TOKEN "validity_period=600 smart_encoded=true"
								" status_callback=https://example.com/s?k=1");
	MktgDelivery delivery = model;

	form_is(plain, model, "To=%2B14155550100&From=%2B14155552345&Body=Hi%20%26%20bye%0A", "a text");
	form_is(full, model, "To=%2B14155550100&From=%2B14155552345&Body=Hi%20%26%20bye%0A"
			"&StatusCallback=https%3A%2F%2Fexample.com%2Fs%3Fk%3D1%26mktg_id%3D1.7.3.a%2520b"
			"&ValidityPeriod=600&SmartEncoded=true", "every option");
	delivery.from_address = SERVICE;
	form_is(plain, delivery, "To=%2B14155550100&MessagingServiceSid=" SERVICE "&Body=Hi%20%26%20bye%0A", "a Messaging Service");
	delivery.from_address = "12345";
	form_is(plain, delivery, "To=%2B14155550100&From=12345&Body=Hi%20%26%20bye%0A", "a short code");
	delivery.from_address = "My Shop";
	form_is(plain, delivery, "To=%2B14155550100&From=My%20Shop&Body=Hi%20%26%20bye%0A", "a name");

	form_is(plain, with_data("{\"media_url\":\"https://x/a.png\"}"),
			"To=%2B14155550100&From=%2B14155552345&MediaUrl=https%3A%2F%2Fx%2Fa.png&Body=Hi%20%26%20bye%0A", "an MMS");
	delivery = with_data("{\"media_url\":[\"https://x/a\",\"http://x/b\"],\"other\":1}");
	delivery.body_length = 0;
	form_is(plain, delivery, "To=%2B14155550100&From=%2B14155552345&MediaUrl=https%3A%2F%2Fx%2Fa&MediaUrl=http%3A%2F%2Fx%2Fb",
			"an MMS without text");
	form_is(plain, with_data("{\"content_sid\":\"" CONTENT "\",\"content_variables\":{\"1\":\"A&B\"}}"),
			"To=%2B14155550100&From=%2B14155552345&ContentSid=" CONTENT "&ContentVariables=%7B%221%22%3A%22A%26B%22%7D",
			"a template of Twilio's");
	mktg_provider_close(plain);
	mktg_provider_close(full);
}

static void
test_bad_input(void)
{
	static const char *const addresses[] = {
		"", "4155550100", "+1 415 555 0100", "+1415555010012345", "bob@example.com", "+1415\r\n", "whatsapp:+14155550100"
	};
	static const char *const senders[] = {"", "12", "123456789", "Twelve chars", "a@b", "MG0123456789abcdef", "<x>", "12 34"};
	static const char no_sender[] = "the sender's from_address is neither a number such as [...], a short code,"
		" a name of up to 11 letters nor the SID of a Messaging Service";
	MktgProvider *provider = opened("twilio", TOKEN "max_segments=2");
	MktgDelivery delivery = model;
	char		text[1602];
	char		list[400] = "{\"media_url\":[";

	for (int i = 0; i < LENGTH(addresses); i++)
	{
		delivery.address = addresses[i];
		not_built(provider, delivery, MKTG_OUTCOME_PERMANENT, "the address is not a phone number in E.164", addresses[i]);
	}
	delivery = model;
	for (int i = 0; i < LENGTH(senders); i++)
	{
		delivery.from_address = senders[i];
		not_built(provider, delivery, MKTG_OUTCOME_CONFIG, no_sender, senders[i]);
	}
	delivery.from_address = NULL;
	not_built(provider, delivery, MKTG_OUTCOME_CONFIG, no_sender, "no from_address");

	memset(text, 'x', sizeof(text));
	delivery = model;
	delivery.body = text;
	delivery.body_length = 1601;
	not_built(provider, delivery, MKTG_OUTCOME_PERMANENT, "the text has 1601 characters, and Twilio takes 1600", "too long");
	delivery.body_length = 307;
	not_built(provider, delivery, MKTG_OUTCOME_PERMANENT,
			  "the text takes 3 segments (307 of the GSM alphabet), and max_segments is 2", "too many segments");
	memcpy(text, "\xE2\x80\x99", 3);
	delivery.body_length = 140;
	not_built(provider, delivery, MKTG_OUTCOME_PERMANENT, "the text takes 3 segments (138 UCS-2 units: not all of it"
			  " is in the GSM alphabet), and max_segments is 2", "too many segments for a curly apostrophe");
	delivery.body_length = 0;
	not_built(provider, delivery, MKTG_OUTCOME_PERMANENT, "the message has neither text, media_url nor content_sid", "empty");

	not_built(provider, with_data("{\"media_url\":7}"), MKTG_OUTCOME_PERMANENT,
			  "media_url must be an http or https URL, or a list of them", "media_url that is a number");
	not_built(provider, with_data("{\"media_url\":[\"https://x/\",\"ftp://x/\"]}"), MKTG_OUTCOME_PERMANENT,
			  "media_url must be an http or https URL, or a list of them", "media_url that is no web page");
	not_built(provider, with_data("{\"media_url\":\"https://x/\\r\\n\"}"), MKTG_OUTCOME_PERMANENT,
			  "media_url must be an http or https URL, or a list of them", "media_url with a line break");
	for (int i = 0; i < 11; i++)
		strcat(list, i == 0 ? "\"https://x/\"" : ",\"https://x/\"");
	strcat(list, "]}");
	not_built(provider, with_data(list), MKTG_OUTCOME_PERMANENT, "media_url has 11 URLs, and Twilio takes 10", "eleven media");
	not_built(provider, with_data("{\"content_sid\":\"HX1\"}"), MKTG_OUTCOME_PERMANENT,
			  "content_sid must be HX and 32 hex digits", "a wrong content_sid");
	not_built(provider, with_data("{\"content_sid\":\"" CONTENT "\",\"content_variables\":\"x\"}"), MKTG_OUTCOME_PERMANENT,
			  "content_variables must be an object", "variables that are a text");
	mktg_provider_close(provider);
}

static MktgOutcomeKind
expects(const char *word)
{
	return strcmp(word, "retry") == 0 ? MKTG_OUTCOME_RETRY :
		strcmp(word, "opt_out") == 0 ? MKTG_OUTCOME_SUPPRESS : MKTG_OUTCOME_NONE;
}

static void
test_replies(void)
{
	static const struct
	{
		int			code;
		int			status;
		MktgOutcomeKind want;
	}			codes[] = {
		{21610, 400, MKTG_OUTCOME_SUPPRESS}, {21211, 400, MKTG_OUTCOME_SUPPRESS},
		{21614, 400, MKTG_OUTCOME_SUPPRESS}, {30005, 400, MKTG_OUTCOME_SUPPRESS},
		{30006, 400, MKTG_OUTCOME_SUPPRESS}, {21408, 400, MKTG_OUTCOME_PERMANENT},
		{21617, 400, MKTG_OUTCOME_PERMANENT}, {30007, 400, MKTG_OUTCOME_PERMANENT},
		{20429, 429, MKTG_OUTCOME_RETRY}, {20429, 400, MKTG_OUTCOME_RETRY}, {30001, 400, MKTG_OUTCOME_RETRY},
		{21611, 400, MKTG_OUTCOME_RETRY}, {20003, 401, MKTG_OUTCOME_CONFIG}, {20003, 400, MKTG_OUTCOME_CONFIG},
		{21606, 400, MKTG_OUTCOME_CONFIG}, {30034, 400, MKTG_OUTCOME_CONFIG}, {20404, 404, MKTG_OUTCOME_CONFIG},
		{99999, 400, MKTG_OUTCOME_PERMANENT}, {99999, 503, MKTG_OUTCOME_RETRY}, {99999, 401, MKTG_OUTCOME_CONFIG},
	};
	MktgProvider *provider = opened("twilio", TOKEN);
	MktgDelivery delivery;
	char		reply[200];

#define REPLY(status, reply) (delivery = model, classify(provider, &delivery, 1, (status), (reply)))

	test_recorded(provider, &model, expects);
	for (int i = 0; i < LENGTH(codes); i++)
	{
		snprintf(reply, sizeof(reply), "{\"code\":%d,\"message\":\"m\",\"status\":%d}", codes[i].code, codes[i].status);
		REPLY(codes[i].status, reply);
		snprintf(reply, sizeof(reply), "Twilio error %d: m", codes[i].code);
		outcome_is(&delivery, codes[i].want, reply, reply);
		ok(delivery.outcome.opted_out == (codes[i].code == 21610), "opted out or not");
	}
	REPLY(201, "{\"sid\":\"SM0123456789abcdef0123456789abcdef\",\"status\":\"queued\",\"error_code\":null}");
	outcome_is(&delivery, MKTG_OUTCOME_SENT, "", "201");
	is_string(delivery.outcome.provider_id, "SM0123456789abcdef0123456789abcdef", "its sid");
	REPLY(201, "{\"sid\":\"SM1\",\"status\":\"failed\",\"error_code\":30006,\"error_message\":\"Landline\"}");
	outcome_is(&delivery, MKTG_OUTCOME_SUPPRESS, "Twilio error 30006: Landline", "201 of a message that has failed");
	REPLY(201, "no JSON");
	outcome_is(&delivery, MKTG_OUTCOME_SENT, "", "201 that is no JSON");
	REPLY(400, "no JSON");
	outcome_is(&delivery, MKTG_OUTCOME_PERMANENT, "HTTP 400: no JSON", "400 that is no JSON");
	REPLY(400, "{\"code\":\"21610\",\"message\":7}");
	ok(delivery.outcome.kind == MKTG_OUTCOME_PERMANENT, "a code that is a text");
	REPLY(400, "{\"code\":21211,\"message\":\"The number +14155550100 is not valid\"}");
	outcome_is(&delivery, MKTG_OUTCOME_SUPPRESS, "Twilio error 21211: The number [...] is not valid", "no number in a reason");
	REPLY(0, "");
	ok(delivery.outcome.kind == MKTG_OUTCOME_DOUBT, "no reply");
	mktg_provider_close(provider);
}

int
main(void)
{
	test_options();
	test_form();
	test_bad_input();
	test_replies();
	return tap_done();
}
