/*-------------------------------------------------------------------------
 *
 * mailgun.c
 *		Unit tests of the Mailgun driver: options, what fits into a request,
 *		forms, and what replies say.
 *
 * IDENTIFICATION
 *		test/unit/mailgun.c
 *
 *-------------------------------------------------------------------------
 */
#include "driver.h"

#define KEY		"api_key=k domain=mg.example.com "

static MktgDelivery model = {
	.tenant_id = 1, .campaign_id = 7, .contact_id = 3, .ref = "", .id = "1.7.3", .attempt = 1,
	.channel = "email", .address = "a@example.com", .from_address = "shop@example.com",
	.subject = "Hi", .subject_length = 2, .body = "t\r\n--mktg-7d9f1b0c5e3a--\r\n", .body_length = 26,
	.now = 1640032401			/* 2021-12-20 20:33:21 UTC */
};

static void
test_options(void)
{
	refused("mailgun", "domain=x", "credential \"api_key\" is missing");
	refused("mailgun", "api_key=k", "option \"domain\" is missing");
	refused("mailgun", "api_key=k domain=a/b", "option \"domain\" must be a host name or an address");
	refused("mailgun", KEY "tracking=yes", "option \"tracking\" must be true, false or htmlonly");
	refused("mailgun", KEY "tracking_opens=htmlonly", "option \"tracking_opens\" must be true or false");
	refused("mailgun", KEY "tracking=false tracking_clicks=htmlonly",
			"option \"tracking\" is false, and \"tracking_clicks\" is not");
	refused("mailgun", KEY "tracking=false tracking_opens=true",
			"option \"tracking\" is false, and \"tracking_opens\" is not");
	refused("mailgun", KEY "tags=a,,b", "option \"tags\" must be at most 10 different texts of 1 to 128 bytes,"
			" with commas between them");
	refused("mailgun", KEY "base_url=https://api.eu.mailgun.net/", "option \"base_url\" must be an https URL"
			" without user, password, query and last slash (or http to 127.0.0.1)");
	refused("mailgun", KEY "tag=x", "driver \"mailgun\" knows no option \"tag\"");
	mktg_provider_close(opened("mailgun", KEY "tracking=false tracking_clicks=false"));
}

#define FIELD(name, value)	"--mktg-7d9f1b0c5e3a\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"

static void
test_form(void)
{
	MktgProvider *plain = opened("mailgun", KEY);
	MktgProvider *full = opened("mailgun", KEY "tags=a,b tracking=htmlonly tracking_clicks=true tracking_opens=false"
								" require_tls=true testmode=true");
	MktgDelivery two[2] = {model, model};
	char	   *form = built(plain, two, 1);

	is_string(form, FIELD("from", "<shop@example.com>") FIELD("to", "a@example.com")
			  FIELD("recipient-variables", "{\"a@example.com\":{\"mktg_id\":\"1.7.3\",\"subject\":\"Hi\","
					"\"text\":\"t\\r\\n--mktg-7d9f1b0c5e3a--\\r\\n\"}}")
			  FIELD("subject", "%recipient.subject%") FIELD("text", "%recipient.text%")
			  FIELD("v:mktg_id", "%recipient.mktg_id%") FIELD("v:mktg_tenant", "1") FIELD("v:mktg_campaign", "7")
			  "--mktg-7d9f1b0c5e3a--\r\n", "one message; a boundary in its text is harmless");
	free(form);

	two[1].address = "b@example.com";
	two[1].id = "1.7.4";
	for (int i = 0; i < 2; i++)
	{
		two[i].from_name = "The \"Sh\xC3\xB6p\\\"";
		two[i].reply_to = "help@example.com";
		two[i].body_length = 0;
		two[i].html = "<p>%</p>";
		two[i].html_length = 8;
	}
	form = built(full, two, 2);
	is_string(form, FIELD("from", "\"The \\\"Sh\xC3\xB6p\\\\\\\"\" <shop@example.com>") FIELD("h:Reply-To", "help@example.com")
			  FIELD("to", "a@example.com") FIELD("to", "b@example.com")
			  FIELD("recipient-variables", "{\"a@example.com\":{\"mktg_id\":\"1.7.3\",\"subject\":\"Hi\",\"html\":\"<p>%</p>\"},"
					"\"b@example.com\":{\"mktg_id\":\"1.7.4\",\"subject\":\"Hi\",\"html\":\"<p>%</p>\"}}")
			  FIELD("subject", "%recipient.subject%") FIELD("html", "%recipient.html%")
			  FIELD("v:mktg_id", "%recipient.mktg_id%") FIELD("v:mktg_tenant", "1") FIELD("v:mktg_campaign", "7")
			  FIELD("o:tag", "a") FIELD("o:tag", "b") FIELD("o:tracking", "htmlonly") FIELD("o:tracking-clicks", "true")
			  FIELD("o:tracking-opens", "false") FIELD("o:require-tls", "true") FIELD("o:testmode", "yes")
			  "--mktg-7d9f1b0c5e3a--\r\n", "two messages, and every option");
	free(form);
	mktg_provider_close(plain);
	mktg_provider_close(full);
}

static void
test_bad_input(void)
{
	MktgProvider *provider = opened("mailgun", KEY);
	MktgDelivery many[4] = {model, model, model, model};
	size_t		size = 26 * 1024 * 1024;
	char	   *large = malloc(size);
	char	   *form;

	many[0].address = "a@example.com\r\nX: y";
	many[1].subject = "two\nlines";
	many[1].subject_length = 9;
	many[2].body_length = 0;
	form = built(provider, many, 4);
	outcome_is(&many[0], MKTG_OUTCOME_PERMANENT, "the address is not a valid e-mail address", "a bad address");
	outcome_is(&many[1], MKTG_OUTCOME_PERMANENT, "the subject holds a line break or another control character", "a bad subject");
	outcome_is(&many[2], MKTG_OUTCOME_PERMANENT, "the message is empty, and Mailgun takes none without text", "an empty message");
	ok(form != NULL && many[3].outcome.kind == MKTG_OUTCOME_NONE, "the good one goes");
	free(form);

	many[0] = model;
	many[0].from_name = "a\r\nb";
	ok(built(provider, many, 1) == NULL, "a sender's name with a line break");
	outcome_is(&many[0], MKTG_OUTCOME_CONFIG, "the sender's from_name holds a control character", "a bad from_name");

	memset(large, 'x', size);
	many[0] = model;
	many[0].body = large;
	many[0].body_length = size;
	ok(built(provider, many, 1) == NULL, "a message of 26 MB");
	outcome_is(&many[0], MKTG_OUTCOME_PERMANENT, "the message is larger than the 25 MB Mailgun takes", "too large");
	free(large);
	mktg_provider_close(provider);
}

static void
test_fit(void)
{
	MktgProvider *provider = opened("mailgun", KEY);
	MktgDelivery *many = calloc(1000, sizeof(MktgDelivery));
	char		addresses[1000][32];
	size_t		size = 1024 * 1024;
	char	   *text = malloc(size);

	memset(text, 'x', size);
	for (int i = 0; i < 1000; i++)
	{
		snprintf(addresses[i], sizeof(addresses[i]), "%d@example.com", i);
		many[i] = model;
		many[i].address = addresses[i];
	}
	is_int(fitting(provider, many, 1000), 1000, "a thousand go together");
	many[700].address = "42@EXAMPLE.com";
	is_int(fitting(provider, many, 1000), 700, "until an address comes again");
	is_int(fitting(provider, many + 700, 300), 300, "which goes with the others");
	many[10].html = text;
	many[10].html_length = 1;
	is_int(fitting(provider, many, 1000), 10, "until one has other parts");
	for (int i = 0; i < 20; i++)
	{
		many[i].html = text;
		many[i].html_length = size;
	}
	is_int(fitting(provider, many, 20), 7, "texts of 8 MB together");
	for (int i = 0; i < 1000; i++)
		many[i].attempt = 3;
	is_int(fitting(provider, many + 100, 600), 10, "ten at the third attempt");
	free(text);
	free(many);
	mktg_provider_close(provider);
}

static MktgOutcomeKind
expects(const char *word)
{
	return strncmp(word, "retry", 5) == 0 ? MKTG_OUTCOME_RETRY :
		strcmp(word, "permanent") == 0 ? MKTG_OUTCOME_PERMANENT : MKTG_OUTCOME_NONE;
}

static void
test_replies(void)
{
	MktgProvider *provider = opened("mailgun", KEY);
	MktgDelivery two[2];

#define REPLY(n, status, reply) \
	(two[0] = two[1] = model, classify(provider, two, (n), (status), (reply)))

	test_recorded(provider, &model, expects);
	REPLY(2, 200, "{\"id\":\"<20211220.1@mg.example.com>\",\"message\":\"Queued. Thank you.\"}");
	outcome_is(&two[1], MKTG_OUTCOME_SENT, "", "200");
	is_string(two[1].outcome.provider_id, "20211220.1@mg.example.com", "its id");
	REPLY(1, 200, "Queued");
	outcome_is(&two[0], MKTG_OUTCOME_SENT, "", "200 that is no JSON");

	REPLY(2, 429, "{\"message\":\"Domain example.com is not allowed to send: account-requests-per-sec limit exceeded, try again after 120 seconds\"}");
	ok(two[1].outcome.kind == MKTG_OUTCOME_RETRY && two[1].outcome.retry_after_ms == 120000, "429, after seconds");
	REPLY(2, 429, "{\"message\":\"limit exceeded, try again after Mon, 20 Dec 2021 20:34:31 UTC\"}");
	ok(two[0].outcome.kind == MKTG_OUTCOME_RETRY && two[0].outcome.retry_after_ms == 70000, "429, after a time");
	REPLY(1, 429, "{\"message\":\"slow down\"}");
	ok(two[0].outcome.kind == MKTG_OUTCOME_RETRY && two[0].outcome.retry_after_ms == 0, "429 without a time");

	REPLY(2, 401, "Forbidden");
	outcome_is(&two[1], MKTG_OUTCOME_CONFIG, "HTTP 401: Forbidden", "401 that is no JSON");
	REPLY(1, 401, "\"Forbidden\"");
	ok(two[0].outcome.kind == MKTG_OUTCOME_CONFIG, "401 that is a JSON text");
	REPLY(1, 404, "{\"message\":\"Domain not found: mg.example.com\"}");
	outcome_is(&two[0], MKTG_OUTCOME_CONFIG, "HTTP 404: Domain not found: mg.example.com", "404");
	REPLY(1, 400, "{\"message\":\"from parameter is not a valid address. please check documentation\"}");
	ok(two[0].outcome.kind == MKTG_OUTCOME_CONFIG, "400 about the sender");
	REPLY(2, 400, "{\"message\":\"Domain mg.example.com is not allowed to send: disabled\"}");
	ok(two[1].outcome.kind == MKTG_OUTCOME_CONFIG, "400 about the domain");
	REPLY(2, 400, "{\"message\":\"to parameter is not a valid address. please check documentation\"}");
	ok(two[0].outcome.kind == MKTG_OUTCOME_RETRY && two[1].outcome.kind == MKTG_OUTCOME_RETRY,
	   "400 of several: again, in smaller company");
	REPLY(1, 402, "{\"message\":\"Request Failed\"}");
	outcome_is(&two[0], MKTG_OUTCOME_PERMANENT, "HTTP 402: Request Failed", "402");
	REPLY(1, 413, "");
	outcome_is(&two[0], MKTG_OUTCOME_PERMANENT, "HTTP 413: no reply text", "413");
	REPLY(2, 500, "{\"message\":\"Internal Server Error\"}");
	outcome_is(&two[1], MKTG_OUTCOME_RETRY, "HTTP 500: Internal Server Error", "500");
	REPLY(2, 0, "");
	ok(two[0].outcome.kind == MKTG_OUTCOME_DOUBT && two[1].outcome.kind == MKTG_OUTCOME_DOUBT, "no reply");
	mktg_provider_close(provider);
}

int
main(void)
{
	test_options();
	test_form();
	test_bad_input();
	test_fit();
	test_replies();
	return tap_done();
}
