/*-------------------------------------------------------------------------
 *
 * sendgrid.c
 *		Unit tests of the SendGrid driver: options, what fits into a request,
 *		bodies, and whom a refusal concerns.
 *
 * IDENTIFICATION
 *		test/unit/sendgrid.c
 *
 *-------------------------------------------------------------------------
 */
#include "driver.h"

#define KEY		"api_key=SG.x "

static MktgDelivery model = {
	.tenant_id = 1, .campaign_id = 7, .contact_id = 3, .ref = "", .id = "1.7.3", .attempt = 1,
	.channel = "email", .address = "a@example.com", .from_address = "shop@example.com",
	.from_name = "The \"Shop\"", .reply_to = "help@example.com",
	.subject = "Hi", .subject_length = 2, .body = "t\n", .body_length = 2,
	.html = "<p>\xC3\xA9</p>", .html_length = 9, .now = 1735689600
};

static void
test_options(void)
{
	refused("sendgrid", "", "credential \"api_key\" is missing");
	refused("sendgrid", KEY "base_url=http://api.sendgrid.com", "option \"base_url\" must be an https URL"
			" without user, password, query and last slash (or http to 127.0.0.1)");
	refused("sendgrid", KEY "asm_groups_to_display=1,2",
			"option \"asm_groups_to_display\" needs \"asm_group_id\" beside it");
	refused("sendgrid", KEY "asm_group_id=0", "option \"asm_group_id\" must be the number of an unsubscribe group");
	refused("sendgrid", KEY "asm_group_id=1 asm_groups_to_display=1,x", "option \"asm_groups_to_display\" must be"
			" the numbers of at most 25 unsubscribe groups, with commas between them");
	refused("sendgrid", KEY "categories=a,b,a", "option \"categories\" must be at most 10 different texts of 1 to"
			" 255 bytes, with commas between them");
	refused("sendgrid", KEY "categories=1,2,3,4,5,6,7,8,9,10,11", "option \"categories\" must be at most 10"
			" different texts of 1 to 255 bytes, with commas between them");
	refused("sendgrid", KEY "ip_pool_name=x", "option \"ip_pool_name\" must be the name of an IP pool, of 2 to 64 bytes");
	refused("sendgrid", KEY "open_tracking=yes", "option \"open_tracking\" must be true or false");
	refused("sendgrid", KEY "region=eu", "driver \"sendgrid\" knows no option \"region\"");
}

static void
test_body(void)
{
	MktgProvider *plain = opened("sendgrid", KEY);
	MktgProvider *full = opened("sendgrid", KEY "categories=a,b asm_group_id=12 asm_groups_to_display=12,013"
								" ip_pool_name=mass click_tracking=false open_tracking=true sandbox_mode=true");
	MktgDelivery two[2] = {model, model};
	char	   *body = built(plain, two, 1);

	is_string(body, "{\"from\":{\"email\":\"shop@example.com\",\"name\":\"The \\\"Shop\\\"\"},"
			  "\"reply_to\":{\"email\":\"help@example.com\"},\"personalizations\":["
			  "{\"to\":[{\"email\":\"a@example.com\"}],\"subject\":\"Hi\",\"custom_args\":"
			  "{\"mktg_id\":\"1.7.3\",\"mktg_tenant\":\"1\",\"mktg_campaign\":\"7\"}}],"
			  "\"content\":[{\"type\":\"text/plain\",\"value\":\"t\\n\"},"
			  "{\"type\":\"text/html\",\"value\":\"<p>\xC3\xA9</p>\"}]}", "one message: its texts are the content");
	free(body);
	two[1].address = "b@example.com";
	two[1].id = "1.7.4";
	two[1].body = "u\n";
	two[0].html_length = two[1].html_length = 0;
	two[0].from_name = two[0].reply_to = NULL;
	body = built(full, two, 2);
	is_string(body, "{\"from\":{\"email\":\"shop@example.com\"},\"personalizations\":["
			  "{\"to\":[{\"email\":\"a@example.com\"}],\"subject\":\"Hi\",\"custom_args\":"
			  "{\"mktg_id\":\"1.7.3\",\"mktg_tenant\":\"1\",\"mktg_campaign\":\"7\"},"
			  "\"substitutions\":{\"-mktg0-\":\"t\\n\"}},"
			  "{\"to\":[{\"email\":\"b@example.com\"}],\"subject\":\"Hi\",\"custom_args\":"
			  "{\"mktg_id\":\"1.7.4\",\"mktg_tenant\":\"1\",\"mktg_campaign\":\"7\"},"
			  "\"substitutions\":{\"-mktg0-\":\"u\\n\"}}],"
			  "\"content\":[{\"type\":\"text/plain\",\"value\":\"-mktg0-\"}],"
			  "\"categories\":[\"a\",\"b\"],\"asm\":{\"group_id\":12,\"groups_to_display\":[12,13]},"
			  "\"ip_pool_name\":\"mass\",\"tracking_settings\":{\"click_tracking\":{\"enable\":false},"
			  "\"open_tracking\":{\"enable\":true}},\"mail_settings\":{\"sandbox_mode\":{\"enable\":true}}}",
			  "two messages, and every option");
	free(body);

	two[0] = two[1] = model;
	two[0].body = "Dear Ada,\nthis is a line that all of us get.\n";
	two[1].body = "Dear Bob,\nthis is a line that all of us get.\n";
	two[0].body_length = two[1].body_length = strlen(two[0].body);
	two[0].html = "<p>Dear <b class=\"highlighted name\">Ada</b></p><p>the same</p>";
	two[1].html = "<p>Dear <b class=\"highlighted name\">Bob</b></p><p>the same</p>";
	two[0].html_length = two[1].html_length = strlen(two[0].html);
	body = built(plain, two, 2);
	ok(strstr(body, "\"substitutions\":{\"-mktg0-\":\"Dear Ada,\\nthis is a line \",\"-mktg1-\":\"name\\\">Ada</b></p><p>the \"}") != NULL &&
	   strstr(body, "\"substitutions\":{\"-mktg0-\":\"Dear Bob,\\nthis is a line \",\"-mktg1-\":\"name\\\">Bob</b></p><p>the \"}") != NULL,
	   "what each has of its own");
	ok(strstr(body, "[{\"type\":\"text/plain\",\"value\":\"-mktg0-that all of us get.\\n\"},"
			  "{\"type\":\"text/html\",\"value\":\"<p>Dear <b class=\\\"highlighted -mktg1-same</p>\"}]") != NULL,
	   "and what they share");
	free(body);
	mktg_provider_close(plain);
	mktg_provider_close(full);
}

/* What cannot be sent gets its reason; the others of the request go. */
static void
test_bad_input(void)
{
	static const char *const addresses[] = {"a b@example.com", "a@example.com\r\nBcc: x@example.com", "", "nobody"};
	MktgProvider *provider = opened("sendgrid", KEY);
	MktgDelivery many[6];
	char	   *body;
	char	   *large = malloc(31 * 1024 * 1024);

	for (int i = 0; i < 6; i++)
		many[i] = model;
	for (int i = 0; i < LENGTH(addresses); i++)
		many[i].address = addresses[i];
	many[4].subject_length = 0;
	body = built(provider, many, 6);
	for (int i = 0; i < LENGTH(addresses); i++)
		outcome_is(&many[i], MKTG_OUTCOME_PERMANENT, "the address is not a valid e-mail address", "a bad address");
	outcome_is(&many[4], MKTG_OUTCOME_PERMANENT, "the message has no subject, and SendGrid takes none without", "no subject");
	ok(body != NULL && strstr(body, "a@example.com") != NULL && strstr(body, "Bcc") == NULL &&
	   many[5].outcome.kind == MKTG_OUTCOME_NONE, "the good one goes");
	free(body);

	many[0] = model;
	many[0].html_length = many[0].body_length = 0;
	ok(built(provider, many, 1) == NULL, "nothing to say");
	outcome_is(&many[0], MKTG_OUTCOME_PERMANENT, "the message is empty, and SendGrid takes none without text", "an empty message");

	memset(large, 'x', 31 * 1024 * 1024);
	many[0] = model;
	many[0].html = large;
	many[0].html_length = 31 * 1024 * 1024;
	ok(built(provider, many, 1) == NULL, "a message of 31 MB");
	outcome_is(&many[0], MKTG_OUTCOME_PERMANENT, "the message is larger than the 30 MB SendGrid takes", "too large");

	many[0] = model;
	many[0].from_address = NULL;
	ok(built(provider, many, 1) == NULL, "no sender");
	outcome_is(&many[0], MKTG_OUTCOME_CONFIG, "the sender has no valid from_address", "no from_address");

	/* fit() has been asked with the first one, which is like both */
	for (int i = 0; i < 3; i++)
		many[i] = model;
	many[0].address = "nobody";
	many[1].html = large;
	many[1].html_length = 10000;
	body = built(provider, many, 3);
	ok(body != NULL && many[1].outcome.kind == MKTG_OUTCOME_NONE, "a large one goes, without the one before");
	outcome_is(&many[2], MKTG_OUTCOME_AGAIN, "not sent: there was no room in its request", "the others wait");
	free(body);
	free(large);
	mktg_provider_close(provider);
}

static void
test_fit(void)
{
	MktgProvider *provider = opened("sendgrid", KEY);
	MktgDelivery *many = calloc(1000, sizeof(MktgDelivery));
	char		text[9001];

	memset(text, 'x', sizeof(text));
	for (int i = 0; i < 1000; i++)
		many[i] = model;
	is_int(fitting(provider, many, 1000), 1000, "a thousand go together");
	many[300].html = text;
	many[300].html_length = 9001;
	is_int(fitting(provider, many, 1000), 300, "until one has too much of its own for substitutions");
	is_int(fitting(provider, many + 300, 700), 1, "which goes alone");
	for (int i = 0; i < 1000; i++)
	{
		many[i].html = text;
		many[i].html_length = 9001;
	}
	is_int(fitting(provider, many, 1000), 1000, "large ones that differ in nothing go together");
	for (int i = 0; i < 1000; i++)
		many[i] = model;
	many[300] = model;
	many[300].html_length = 0;
	is_int(fitting(provider, many, 1000), 300, "until one has other parts");
	many[300] = model;
	many[300].attempt = 4;
	is_int(fitting(provider, many, 1000), 300, "until one has been tried often");
	is_int(fitting(provider, many + 300, 700), 1, "which goes alone, too");
	for (int i = 0; i < 1000; i++)
		many[i].attempt = 2;
	is_int(fitting(provider, many, 1000), 100, "a hundred at the second attempt");
	free(many);
	mktg_provider_close(provider);
}

static MktgOutcomeKind
expects(const char *word)
{
	return strcmp(word, "retry") == 0 ? MKTG_OUTCOME_RETRY :
		strcmp(word, "permanent") == 0 ? MKTG_OUTCOME_PERMANENT : MKTG_OUTCOME_NONE;
}

static void
test_replies(void)
{
	static const char named[] = "{\"errors\":[{\"message\":\"Does not contain a valid address.\","
		"\"field\":\"personalizations.1.to.0.email\",\"help\":\"x\"}]}";
	MktgProvider *provider = opened("sendgrid", KEY);
	MktgDelivery three[3];

#define REPLY(n, status, reply) \
	(three[0] = three[1] = three[2] = model, classify(provider, three, (n), (status), (reply)))

	test_recorded(provider, &model, expects);
	REPLY(3, 202, "");
	outcome_is(&three[2], MKTG_OUTCOME_SENT, "", "202");
	REPLY(3, 200, "");
	outcome_is(&three[0], MKTG_OUTCOME_SENT, "", "200 of the sandbox mode");

	REPLY(3, 400, named);
	outcome_is(&three[0], MKTG_OUTCOME_AGAIN, "HTTP 400 for another message of the request", "a good neighbour");
	outcome_is(&three[1], MKTG_OUTCOME_PERMANENT,
			   "HTTP 400: Does not contain a valid address. (to.0.email)", "who is named");
	outcome_is(&three[2], MKTG_OUTCOME_AGAIN, "HTTP 400 for another message of the request", "another neighbour");

	/* one could not be built: the numbers count those that were sent */
	three[0] = three[1] = three[2] = model;
	mktg_outcome_set(&three[0].outcome, MKTG_OUTCOME_PERMANENT, "not built");
	classify(provider, three, 3, 400, named);
	outcome_is(&three[0], MKTG_OUTCOME_PERMANENT, "not built", "what was never sent keeps its outcome");
	outcome_is(&three[1], MKTG_OUTCOME_AGAIN, "HTTP 400 for another message of the request", "the first that was");
	ok(three[2].outcome.kind == MKTG_OUTCOME_PERMANENT, "the second that was");

	REPLY(3, 400, "{\"errors\":[{\"message\":\"bad\",\"field\":\"personalizations[2].subject\"}]}");
	ok(three[2].outcome.kind == MKTG_OUTCOME_PERMANENT && three[0].outcome.kind == MKTG_OUTCOME_AGAIN,
	   "a number in brackets");
	REPLY(3, 400, "{\"errors\":[{\"message\":\"bad\",\"field\":\"personalizations.3.to\"}]}");
	ok(three[0].outcome.kind == MKTG_OUTCOME_RETRY && three[2].outcome.kind == MKTG_OUTCOME_RETRY,
	   "a number nobody has");
	REPLY(3, 400, "{\"errors\":[{\"message\":\"bad\",\"field\":\"personalizations.99999999999999999999.to\"}]}");
	ok(three[0].outcome.kind == MKTG_OUTCOME_RETRY, "a number beyond all bounds");
	REPLY(3, 400, "{\"errors\":[{\"message\":\"Bad Request\",\"field\":null}]}");
	outcome_is(&three[0], MKTG_OUTCOME_RETRY, "HTTP 400: Bad Request", "nobody named: in smaller company");
	REPLY(1, 400, "{\"errors\":[{\"message\":\"Bad Request\",\"field\":null}]}");
	outcome_is(&three[0], MKTG_OUTCOME_PERMANENT, "HTTP 400: Bad Request", "nobody named, and alone");
	REPLY(3, 400, "{\"errors\":[{\"message\":\"no such group\",\"field\":\"asm.group_id\"}]}");
	outcome_is(&three[1], MKTG_OUTCOME_CONFIG, "HTTP 400: no such group (asm.group_id)", "an option is at fault");
	REPLY(3, 400, "{\"errors\":[{\"message\":\"m\",\"field\":\"from.email\"},{\"message\":\"n\",\"field\":\"personalizations.0.to\"}]}");
	ok(three[0].outcome.kind == MKTG_OUTCOME_PERMANENT && three[1].outcome.kind == MKTG_OUTCOME_CONFIG,
	   "the sender and a message");
	REPLY(1, 413, "{\"errors\":[{\"message\":\"content too large\"}]}");
	outcome_is(&three[0], MKTG_OUTCOME_PERMANENT, "HTTP 413: content too large", "too large, and alone");
	REPLY(2, 413, "");
	ok(three[0].outcome.kind == MKTG_OUTCOME_RETRY, "too large together");

	REPLY(2, 401, "{\"errors\":[{\"message\":\"The provided authorization grant is invalid\"}]}");
	ok(three[0].outcome.kind == MKTG_OUTCOME_CONFIG && three[1].outcome.kind == MKTG_OUTCOME_CONFIG, "401");
	REPLY(1, 403, "{\"errors\":[{\"message\":\"not a verified Sender Identity\",\"field\":\"from\"}]}");
	outcome_is(&three[0], MKTG_OUTCOME_CONFIG, "HTTP 403: not a verified Sender Identity (from)", "403");
	REPLY(1, 404, "no such page");
	ok(three[0].outcome.kind == MKTG_OUTCOME_CONFIG, "404: the base_url is wrong");
	REPLY(1, 301, "");
	ok(three[0].outcome.kind == MKTG_OUTCOME_CONFIG, "301");
	REPLY(1, 500, "<html>");
	outcome_is(&three[0], MKTG_OUTCOME_RETRY, "HTTP 500: <html>", "500 that is no JSON");
	REPLY(2, 400, "{\"errors\":7}");
	ok(three[1].outcome.kind == MKTG_OUTCOME_RETRY, "errors that are none");
	REPLY(1, 400, "{\"errors\":[[[[\"x\"]]],null,7,{\"field\":7,\"message\":{}}]}");
	ok(three[0].outcome.kind == MKTG_OUTCOME_PERMANENT, "errors of other shapes");
	REPLY(3, 0, "");
	ok(three[0].outcome.kind == MKTG_OUTCOME_DOUBT && three[2].outcome.kind == MKTG_OUTCOME_DOUBT, "no reply");
	mktg_provider_close(provider);
}

int
main(void)
{
	test_options();
	test_body();
	test_bad_input();
	test_fit();
	test_replies();
	return tap_done();
}
