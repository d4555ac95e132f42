/*-------------------------------------------------------------------------
 *
 * whatsapp.c
 *		Unit tests of src/provider/whatsapp.c: options, messages, replies.
 *
 * IDENTIFICATION
 *		test/unit/whatsapp.c
 *
 *-------------------------------------------------------------------------
 */
#include "driver.h"

#define TOKEN	"access_token=EAAB-test"
#define HEAD	"{\"messaging_product\":\"whatsapp\",\"recipient_type\":\"individual\",\"to\":\"16505551234\"," \
	"\"biz_opaque_callback_data\":\"1-7-3\""

static MktgDelivery
make_delivery(const char *data)
{
	MktgDelivery delivery = {
		.tenant_id = 1, .campaign_id = 7, .contact_id = 3, .ref = "", .id = "1-7-3", .attempt = 1,
		.channel = "whatsapp", .address = "+16505551234", .body = "Come in", .body_length = 7,
		.data = data, .data_length = strlen(data), .hold = true, .now = 1735689600
	};

	return delivery;
}

static void
test_options(void)
{
	refused("whatsapp", "", "credential \"access_token\" is missing");
	refused("whatsapp", TOKEN " phone_number_id=+1650", "option \"phone_number_id\" must be the id that Meta gave the phone number: digits alone");
	refused("whatsapp", TOKEN " api_version=23", "option \"api_version\" must be a version of the Graph API, such as v23.0");
	refused("whatsapp", TOKEN " api_version=v23.0/x", "option \"api_version\" must be a version of the Graph API, such as v23.0");
	refused("whatsapp", TOKEN " product_policy=STRICT", "option \"product_policy\" is only for \"marketing_messages\"");
	refused("whatsapp", TOKEN " message_activity_sharing=true marketing_messages=false",
			"option \"message_activity_sharing\" is only for \"marketing_messages\"");
	refused("whatsapp", TOKEN " marketing_messages=true product_policy=strict",
			"option \"product_policy\" must be CLOUD_API_FALLBACK or STRICT");
	refused("whatsapp", TOKEN " marketing_messages=1", "option \"marketing_messages\" must be true or false");
	mktg_provider_close(opened("whatsapp", TOKEN " marketing_messages=true product_policy=STRICT message_activity_sharing=true"));
}

/* What is built for one message of this data. */
static void
builds(MktgProvider *provider, const char *data, const char *want)
{
	MktgDelivery delivery = make_delivery(data);
	char	   *body = built(provider, &delivery, 1);

	is_string(body, want, data);
	free(body);
}

/* What is said of one message of this data that cannot be sent. */
static void
refuses(MktgProvider *provider, MktgDelivery *delivery, MktgOutcomeKind kind, const char *reason)
{
	char	   *body = built(provider, delivery, 1);

	ok(body == NULL, "nothing is sent: %.60s", delivery->data);
	outcome_is(delivery, kind, reason, reason);
	free(body);
}

static void
test_messages(void)
{
	MktgProvider *provider = opened("whatsapp", TOKEN " phone_number_id=106540352242922");

	builds(provider, "{\"template\":\"promo\",\"language\":\"en_US\"}",
		   HEAD ",\"type\":\"template\",\"template\":{\"name\":\"promo\",\"language\":{\"policy\":\"deterministic\",\"code\":\"en_US\"}}}");
	builds(provider, "{\"template\":\"promo\",\"language\":\"de\",\"name\":\"Ada\",\"components\":[{\"type\":\"body\",\"parameters\":"
		   "[{\"type\":\"text\",\"text\":\"Ada \\\"\\u00e9\\\"\"},{\"type\":\"currency\",\"amount\":1.50}]}]}",
		   HEAD ",\"type\":\"template\",\"template\":{\"name\":\"promo\",\"language\":{\"policy\":\"deterministic\",\"code\":\"de\"},"
		   "\"components\":[{\"type\":\"body\",\"parameters\":[{\"type\":\"text\",\"text\":\"Ada \\\"\xC3\xA9\\\"\"},"
		   "{\"type\":\"currency\",\"amount\":1.50}]}]}}");
	builds(provider, "{\"template\":{\"name\":\"promo\",\"language\":{\"code\":\"de\"},\"components\":[]},\"language\":\"fr\"}",
		   HEAD ",\"type\":\"template\",\"template\":{\"name\":\"promo\",\"language\":{\"policy\":\"deterministic\",\"code\":\"de\"},"
		   "\"components\":[]}}");
	builds(provider, "{\"name\":\"Ada\"}", HEAD ",\"type\":\"text\",\"text\":{\"body\":\"Come in\"}}");
	builds(provider, "{\"template\":null}", HEAD ",\"type\":\"text\",\"text\":{\"body\":\"Come in\"}}");
	mktg_provider_close(provider);

	provider = opened("whatsapp", TOKEN " marketing_messages=true product_policy=STRICT message_activity_sharing=false"
					  " phone_number_id=106540352242922");
	builds(provider, "{\"template\":\"promo\",\"language\":\"en_US\"}",
		   HEAD ",\"product_policy\":\"STRICT\",\"message_activity_sharing\":false,\"type\":\"template\",\"template\":"
		   "{\"name\":\"promo\",\"language\":{\"policy\":\"deterministic\",\"code\":\"en_US\"}}}");
	mktg_provider_close(provider);
}

static void
test_refusals(void)
{
	MktgProvider *provider = opened("whatsapp", TOKEN);
	MktgDelivery delivery = make_delivery("{}");
	char		text[4096 * 2 + 4];
	static const struct
	{
		const char *data;
		MktgOutcomeKind kind;
		const char *reason;
	}			cases_of_data[] = {
		{"{\"template\":\"promo\"}", MKTG_OUTCOME_CAMPAIGN, "template_data: language is missing, such as en_US"},
		{"{\"template\":\"promo\",\"language\":{}}", MKTG_OUTCOME_CAMPAIGN, "template_data: language is missing, such as en_US"},
		{"{\"template\":\"promo\",\"language\":\"\"}", MKTG_OUTCOME_PERMANENT, "the language of the template is empty"},
		{"{\"template\":\"\",\"language\":\"en\"}", MKTG_OUTCOME_CAMPAIGN, "template_data: template must be a name, or an object that has one"},
		{"{\"template\":{},\"language\":\"en\"}", MKTG_OUTCOME_CAMPAIGN, "template_data: template must be a name, or an object that has one"},
		{"{\"template\":7,\"language\":\"en\"}", MKTG_OUTCOME_CAMPAIGN, "template_data: template must be a name, or an object that has one"},
		{"{\"template\":\"promo\",\"language\":\"en\",\"components\":{}}", MKTG_OUTCOME_CAMPAIGN, "template_data: components must be an array"},
		{"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", MKTG_OUTCOME_CAMPAIGN, "template_data is nested too deeply"},
	};
	static const char *const addresses[] = {"", "16505551234", "+1650", "+1650555123a", "+1234567890123456", "bob@example.com"};

	refuses(provider, &delivery, MKTG_OUTCOME_CONFIG,
			"neither the option phone_number_id nor the sender's from_address is the id of a phone number");
	delivery.from_address = "news@example.com";
	refuses(provider, &delivery, MKTG_OUTCOME_CONFIG,
			"neither the option phone_number_id nor the sender's from_address is the id of a phone number");
	for (int i = 0; i < LENGTH(cases_of_data); i++)
	{
		delivery = make_delivery(cases_of_data[i].data);
		delivery.from_address = "106540352242922";
		refuses(provider, &delivery, cases_of_data[i].kind, cases_of_data[i].reason);
	}
	for (int i = 0; i < LENGTH(addresses); i++)
	{
		delivery = make_delivery("{}");
		delivery.from_address = "106540352242922";
		delivery.address = addresses[i];
		refuses(provider, &delivery, MKTG_OUTCOME_PERMANENT, "the address is no phone number with its country code");
	}

	delivery = make_delivery("{}");
	delivery.from_address = "106540352242922";
	delivery.body_length = 0;
	refuses(provider, &delivery, MKTG_OUTCOME_PERMANENT, "the message has neither a template nor a text");
	for (int i = 0; i < 4097; i++)
		memcpy(text + 2 * i, "\xC3\xA9", 2);
	delivery.body = text;
	delivery.body_length = 2 * 4097;
	refuses(provider, &delivery, MKTG_OUTCOME_PERMANENT, "the text has 4097 characters, and WhatsApp takes 4096");
	delivery.body_length = 2 * 4096;
	memset(&delivery.outcome, 0, sizeof(delivery.outcome));
	free(built(provider, &delivery, 1));
	is_int(delivery.outcome.kind, MKTG_OUTCOME_NONE, "4096 characters of two bytes");
	mktg_provider_close(provider);

	provider = opened("whatsapp", TOKEN " marketing_messages=true phone_number_id=1");
	delivery = make_delivery("{}");
	refuses(provider, &delivery, MKTG_OUTCOME_CAMPAIGN, "template_data names no template, and a marketing message needs one");
	mktg_provider_close(provider);
}

static void
test_codes(void)
{
	MktgProvider *provider = opened("whatsapp", TOKEN);
	static const struct
	{
		long		status;
		int			code;
		MktgOutcomeKind kind;
		int64_t		wait;
		bool		own_wait;
	}			cases_of_code[] = {
		{429, 130429, MKTG_OUTCOME_RETRY, 1000, false},
		{400, 131056, MKTG_OUTCOME_RETRY, 6000, true},
		{400, 80007, MKTG_OUTCOME_RETRY, 60000, false},
		{400, 4, MKTG_OUTCOME_RETRY, 60000, false},
		{500, 131000, MKTG_OUTCOME_RETRY, 0, false},
		{400, 131016, MKTG_OUTCOME_RETRY, 0, false},
		{500, 131057, MKTG_OUTCOME_RETRY, 60000, false},
		{500, 2, MKTG_OUTCOME_RETRY, 0, false},
		{400, 131049, MKTG_OUTCOME_RETRY, 86400000, true},
		{400, 131050, MKTG_OUTCOME_SUPPRESS, 0, false},
		{400, 131026, MKTG_OUTCOME_PERMANENT, 0, false},
		{400, 131047, MKTG_OUTCOME_PERMANENT, 0, false},
		{400, 130472, MKTG_OUTCOME_PERMANENT, 0, false},
		{400, 131048, MKTG_OUTCOME_CONFIG, 0, false},
		{403, 131031, MKTG_OUTCOME_CONFIG, 0, false},
		{403, 368, MKTG_OUTCOME_CONFIG, 0, false},
		{401, 190, MKTG_OUTCOME_CONFIG, 0, false},
		{403, 10, MKTG_OUTCOME_CONFIG, 0, false},
		{400, 131042, MKTG_OUTCOME_CONFIG, 0, false},
		{400, 200, MKTG_OUTCOME_CONFIG, 0, false},
		{400, 100, MKTG_OUTCOME_PERMANENT, 0, false},
		{400, 999999, MKTG_OUTCOME_PERMANENT, 0, false},
		{503, 999999, MKTG_OUTCOME_RETRY, 0, false},
		{429, 999999, MKTG_OUTCOME_RETRY, 0, false},
	};
	static const int of_template[] = {132000, 132001, 132005, 132007, 132012, 132015, 132016};
	MktgDelivery delivery;
	char		reply[300];

	for (int i = 0; i < LENGTH(cases_of_code); i++)
	{
		delivery = make_delivery("{}");
		snprintf(reply, sizeof(reply), "{\"error\":{\"message\":\"(#1) m\",\"code\":%d,\"error_data\":{\"details\":\"why\"}}}",
				 cases_of_code[i].code);
		classify(provider, &delivery, 1, cases_of_code[i].status, reply);
		snprintf(reply, sizeof(reply), "WhatsApp %d: why", cases_of_code[i].code);
		outcome_is(&delivery, cases_of_code[i].kind, reply, reply);
		ok(delivery.outcome.opted_out == (cases_of_code[i].code == 131050), "opted out or not");
		ok(delivery.outcome.retry_after_ms == cases_of_code[i].wait && delivery.outcome.own_wait == cases_of_code[i].own_wait,
		   "and when again");
	}
	for (int i = 0; i < LENGTH(of_template); i++)
	{
		delivery = make_delivery("{\"template\":\"promo\",\"language\":\"en_US\"}");
		snprintf(reply, sizeof(reply), "{\"error\":{\"message\":\"no such template\",\"code\":%d}}", of_template[i]);
		classify(provider, &delivery, 1, 404, reply);
		snprintf(reply, sizeof(reply), "template \"promo\" (en_US): WhatsApp %d: no such template", of_template[i]);
		outcome_is(&delivery, MKTG_OUTCOME_CAMPAIGN, reply, "a template");
		ok(delivery.outcome.perhaps_own == (of_template[i] == 132000 || of_template[i] == 132005 || of_template[i] == 132012),
		   "or what it is filled in with");
	}
	mktg_provider_close(provider);
}

static void
test_replies(void)
{
	MktgProvider *provider = opened("whatsapp", TOKEN);
	MktgDelivery delivery = make_delivery("{}");
	static const struct
	{
		long		status;
		const char *reply;
		MktgOutcomeKind kind;
	}			cases_of_reply[] = {
		{404, "<html>", MKTG_OUTCOME_CONFIG},
		{404, "{\"error\":\"text\"}", MKTG_OUTCOME_CONFIG},
		{400, "{\"error\":{}}", MKTG_OUTCOME_PERMANENT},
		{400, "{\"error\":{\"code\":\"131050\"}}", MKTG_OUTCOME_PERMANENT},
		{400, "{\"error\":[131050]}", MKTG_OUTCOME_PERMANENT},
		{400, "{\"error\":{\"code\":1e400,\"error_data\":7}}", MKTG_OUTCOME_PERMANENT},
		{200, "{\"messages\":{}}", MKTG_OUTCOME_SENT},
		{200, "{\"messages\":[]}", MKTG_OUTCOME_SENT},
		{200, "nothing", MKTG_OUTCOME_SENT},
		{0, "", MKTG_OUTCOME_DOUBT},
	};

	classify(provider, &delivery, 1, 200, "{\"messaging_product\":\"whatsapp\",\"contacts\":[{\"input\":\"x\",\"wa_id\":\"y\"}],"
			 "\"messages\":[{\"id\":\"wamid.HBgL\",\"message_status\":\"accepted\"}]}");
	outcome_is(&delivery, MKTG_OUTCOME_SENT, "", "taken");
	is_string(delivery.outcome.provider_id, "wamid.HBgL", "its id");
	for (int i = 0; i < LENGTH(cases_of_reply); i++)
	{
		delivery = make_delivery("{}");
		classify(provider, &delivery, 1, cases_of_reply[i].status, cases_of_reply[i].reply);
		ok(delivery.outcome.kind == cases_of_reply[i].kind, "%ld %s: %s", cases_of_reply[i].status,
		   cases_of_reply[i].reply, kinds[cases_of_reply[i].kind]);
	}
	mktg_provider_close(provider);
}

static MktgOutcomeKind
expects(const char *word)
{
	return strcmp(word, "retry") == 0 ? MKTG_OUTCOME_RETRY :
		strcmp(word, "config") == 0 ? MKTG_OUTCOME_CONFIG : MKTG_OUTCOME_NONE;
}

int
main(void)
{
	MktgDelivery model = make_delivery("{}");
	MktgProvider *provider;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	test_options();
	test_messages();
	test_refusals();
	test_codes();
	test_replies();
	provider = opened("whatsapp", TOKEN);
	test_recorded(provider, &model, expects);
	mktg_provider_close(provider);
	return tap_done();
}
