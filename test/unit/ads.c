/*-------------------------------------------------------------------------
 *
 * ads.c
 *		Unit tests of the drivers of advertisers: meta_audience,
 *		meta_conversions, x_audience.
 *
 * IDENTIFICATION
 *		test/unit/ads.c
 *
 *-------------------------------------------------------------------------
 */
#include "driver.h"

/* What a feed has put in stands for itself; other hashes were worked out with another implementation. */
#define HASH_A	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B	"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HASH_C	"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

#define META	"access_token=T"
#define PIXEL	"access_token=T pixel=123"
#define X		"consumer_key=ck consumer_secret=cs access_token=at access_token_secret=as account=18ce54d4x5t"
#define NOW		1735689600

static MktgDelivery
message(const char *data, const char *contact)
{
	MktgDelivery delivery = {
		.tenant_id = 1, .campaign_id = 7, .contact_id = 3, .ref = "r", .id = "1-7-3-r", .attempt = 1,
		.channel = "ads", .address = "ann@example.com", .now = NOW
	};

	delivery.data = data;
	delivery.data_length = strlen(data);
	delivery.contact = contact;
	delivery.contact_length = contact == NULL ? 0 : strlen(contact);
	return delivery;
}

#define ADD(hashes)		"{\"audience\":\"238\",\"operation\":\"add\"," hashes "}"
#define REMOVE(hashes)	"{\"audience\":\"238\",\"operation\":\"remove\"," hashes "}"
#define EMAIL_A			"\"email\":\"" HASH_A "\""
#define BOTH_B			"\"email\":\"" HASH_B "\",\"phone\":\"" HASH_C "\",\"phone_e164\":\"" HASH_A "\""

static void
test_options(void)
{
	static const char schema[] = "option \"schema\" must be different ones of EMAIL,PHONE,FN,LN,DOBY,DOBM,DOBD,GEN,CT,ST,"
		"COUNTRY,EXTERN_ID, with EMAIL or PHONE among them";

	refused("meta_audience", "schema=EMAIL", "credential \"access_token\" is missing");
	refused("meta_audience", META " schema=FN,LN", schema);
	refused("meta_audience", META " schema=EMAIL,EMAIL", schema);
	refused("meta_audience", META " schema=MAIL", schema);
	refused("meta_audience", META " api_version=25", "option \"api_version\" must be a version such as v25.0");
	refused("meta_conversions", META, "option \"pixel\" is missing");
	refused("meta_conversions", META " pixel=12a", "option \"pixel\" must be the number of a pixel or dataset");
	refused("x_audience", "consumer_key=k account=a", "credential \"access_token\" is missing");
	refused("x_audience", X " api_version=v12", "option \"api_version\" must be a version such as 12");
	refused("x_audience", "consumer_key=ck consumer_secret=cs access_token=at access_token_secret=as account=a/b",
			"option \"account\" must be the id of an ads account, such as 18ce54d4x5t");
}

/* Percent-decoded, malloc'd. */
static char *
decoded(char *text)
{
	char	   *to = text;

	for (const char *from = text; *from != '\0'; from++)
	{
		if (*from != '%')
			*to++ = *from;
		else
		{
			char		code[3] = {from[1], from[2], '\0'};

			*to++ = (char) strtol(code, NULL, 16);
			from += 2;
		}
	}
	*to = '\0';
	return text;
}

static void
test_meta_audience(void)
{
	MktgProvider *provider = opened("meta_audience", META " schema=EMAIL,PHONE,COUNTRY,DOBY,EXTERN_ID");
	MktgProvider *proven = opened("meta_audience", META " app_secret=S schema=EMAIL");
	MktgDelivery several[4] = {
		message(ADD(EMAIL_A), "{\"email\":\"other@example.com\",\"country\":\"DE\",\"birth_date\":\"1990-02-05\",\"external_id\":\"c-1\"}"),
		message(ADD(BOTH_B), "{}"),
		message(REMOVE(BOTH_B), "{\"external_id\":\"c-1\"}"),
		message("{}", NULL),
	};
	char	   *body;

	is_int(fitting(provider, several, 4), 2, "additions alone");
	is_int(fitting(provider, several + 2, 1), 1, "a removal alone");
	body = decoded(built(provider, several, 2));
	is_string(body, "payload={\"schema\":[\"EMAIL\",\"PHONE\",\"COUNTRY\",\"DOBY\",\"EXTERN_ID\"],\"data\":["
			  "[\"" HASH_A "\",\"\",\"959a45d44e6fcf58361ed004681556fe50129f2109e817dec098c00c9e5d2578\",\"a7be8e1fe282a37cd666e0632b17d933fa13f21addf4798fc0455bc166e2488c\",\"c-1\"],"
			  "[\"" HASH_B "\",\"" HASH_C "\",\"\",\"\",\"\"]]}", "two additions");
	free(body);
	body = decoded(built(provider, several + 2, 1));
	is_string(body, "payload={\"schema\":[\"EMAIL\",\"PHONE\"],\"data\":[[\"" HASH_B "\",\"" HASH_C "\"]]}",
			  "a removal, by what was uploaded");
	free(body);
	body = decoded(built(proven, several, 1));
	is_string(body, "payload={\"schema\":[\"EMAIL\"],\"data\":[[\"" HASH_A "\"]]}&appsecret_proof="
			  "e1785f02b5e5ffd73395592554b927bfe123c47a28485c132be2b91412dbe1fd", "with the app's proof");
	free(body);

	ok(built(provider, several + 3, 1) == NULL, "no upload");
	outcome_is(&several[3], MKTG_OUTCOME_PERMANENT, "the message is not of a sync: mktg.sync_segment() makes one", "says so");
	several[3] = message("{\"audience\":\"1\",\"operation\":\"add\"}", NULL);
	ok(built(provider, several + 3, 1) == NULL, "an upload of nobody");
	outcome_is(&several[3], MKTG_OUTCOME_PERMANENT, "the upload has neither an e-mail address nor a phone number", "says so");
	several[3] = message(ADD("\"phone\":\"" HASH_C "\",\"phone_e164\":\"" HASH_C "\""), NULL);
	ok(built(proven, several + 3, 1) == NULL, "a phone number where only mail is asked for");
	outcome_is(&several[3], MKTG_OUTCOME_PERMANENT, "the contact has none of the addresses that \"schema\" names", "says so");
	several[2] = message(ADD(EMAIL_A), "{}");
	body = decoded(built(proven, several + 2, 2));
	ok(body != NULL && strstr(body, "[[\"" HASH_A "\"]]") != NULL, "the others go");
	free(body);

	several[0].outcome.kind = several[1].outcome.kind = MKTG_OUTCOME_NONE;
	classify(provider, several, 2, 200, "{\"audience_id\":\"238\",\"session_id\":\"55\",\"num_received\":2,\"num_invalid_entries\":0}");
	ok(several[0].outcome.kind == MKTG_OUTCOME_SENT && several[1].outcome.kind == MKTG_OUTCOME_SENT, "taken");
	is_string(several[1].outcome.provider_id, "55", "its session");
	mktg_provider_close(provider);
	mktg_provider_close(proven);
}

static void
replies(const char *driver, const char *options, const char *data, const char *contact)
{
	static const struct
	{
		const char *driver;		/* first letters */
		int			n;
		long		status;
		const char *reply;
		MktgOutcomeKind kind;
		const char *reason;
	}			all[] = {
		{"meta", 1, 400, "{\"error\":{\"message\":\"User request limit reached\",\"code\":17}}", MKTG_OUTCOME_RETRY, "HTTP 400: (#17) User request limit reached"},
		{"meta", 1, 403, "{\"error\":{\"message\":\"limit\",\"code\":80003}}", MKTG_OUTCOME_RETRY, "HTTP 403: (#80003) limit"},
		{"meta", 1, 403, "{\"error\":{\"message\":\"limit\",\"code\":80015}}", MKTG_OUTCOME_PERMANENT, "HTTP 403: (#80015) limit"},
		{"meta", 1, 400, "{\"error\":{\"message\":\"no token\",\"code\":190}}", MKTG_OUTCOME_CONFIG, "HTTP 400: (#190) no token"},
		{"meta", 1, 403, "{\"error\":{\"message\":\"no right\",\"code\":200}}", MKTG_OUTCOME_CONFIG, "HTTP 403: (#200) no right"},
		{"meta", 1, 500, "{\"error\":{\"message\":\"oops\",\"code\":1}}", MKTG_OUTCOME_RETRY, "HTTP 500: (#1) oops"},
		{"meta", 1, 400, "{\"error\":{\"message\":\"later\",\"code\":2650,\"is_transient\":true}}", MKTG_OUTCOME_RETRY, "HTTP 400: (#2650) later"},
		{"meta", 1, 400, "{\"error\":{\"message\":\"Invalid parameter\",\"code\":100}}", MKTG_OUTCOME_PERMANENT, "HTTP 400: (#100) Invalid parameter"},
		{"meta", 1, 503, "<html>", MKTG_OUTCOME_RETRY, "HTTP 503: <html>"},
		{"meta_c", 2, 400, "{\"error\":{\"message\":\"Invalid parameter\",\"code\":100}}", MKTG_OUTCOME_RETRY, "HTTP 400: (#100) Invalid parameter"},
		{"meta_c", 2, 200, "{\"events_received\":2,\"fbtrace_id\":\"A\"}", MKTG_OUTCOME_SENT, ""},
		{"meta_c", 2, 200, "{\"events_received\":1}", MKTG_OUTCOME_RETRY, "HTTP 200, but 1 of 2 events were received"},
		{"meta_c", 2, 200, "nonsense", MKTG_OUTCOME_RETRY, "HTTP 200, but 0 of 2 events were received"},
		{"meta_a", 2, 200, "{\"num_received\":1}", MKTG_OUTCOME_RETRY, "HTTP 200, but 1 of 2 entries were received"},
		{"meta_a", 2, 200, "", MKTG_OUTCOME_RETRY, "HTTP 200, but 0 of 2 entries were received"},
		{"x", 2, 200, "{\"data\":{\"success_count\":2,\"total_count\":2}}", MKTG_OUTCOME_SENT, ""},
		{"x", 2, 200, "{\"data\":{\"success_count\":1,\"total_count\":2}}", MKTG_OUTCOME_RETRY, "HTTP 200, but 1 of 2 users were taken"},
		{"x", 2, 200, "{}", MKTG_OUTCOME_RETRY, "HTTP 200, but 0 of 2 users were taken"},
		{"x", 2, 400, "{\"errors\":[{\"code\":\"INVALID_PARAMETER\",\"message\":\"no\"}]}", MKTG_OUTCOME_RETRY, "HTTP 400: INVALID_PARAMETER: no"},
		{"x", 1, 400, "{\"errors\":[{\"code\":\"INVALID_PARAMETER\",\"message\":\"no\"}]}", MKTG_OUTCOME_PERMANENT, "HTTP 400: INVALID_PARAMETER: no"},
		{"x", 1, 401, "{\"errors\":[{\"code\":\"UNAUTHORIZED_ACCESS\",\"message\":\"no\"}]}", MKTG_OUTCOME_CONFIG, "HTTP 401: UNAUTHORIZED_ACCESS: no"},
		{"x", 1, 404, "{\"errors\":[{\"code\":\"NOT_FOUND\",\"message\":\"no\"}]}", MKTG_OUTCOME_CONFIG, "HTTP 404: NOT_FOUND: no"},
		{"x", 2, 429, "", MKTG_OUTCOME_RETRY, "HTTP 429: no reply text"},
		{"x", 2, 500, "[]", MKTG_OUTCOME_RETRY, "HTTP 500: []"},
	};
	MktgProvider *provider = opened(driver, options);

	for (int i = 0; i < LENGTH(all); i++)
	{
		MktgDelivery two[2] = {message(data, contact), message(data, contact)};
		/* an audience that Meta finds fault with stops the sender, whoever is uploaded */
		MktgOutcomeKind kind = all[i].kind == MKTG_OUTCOME_PERMANENT && strcmp(driver, "meta_audience") == 0 ?
			MKTG_OUTCOME_CONFIG : all[i].kind;

		if (strncmp(driver, all[i].driver, strlen(all[i].driver)) != 0)
			continue;
		classify(provider, two, all[i].n, all[i].status, all[i].reply);
		outcome_is(&two[all[i].n - 1], kind, all[i].reason, driver);
	}
	mktg_provider_close(provider);
}

static void
test_conversions(void)
{
	static const char contact[] = "{\"email\":\"ann@example.com\",\"phone\":\"+16505551212\",\"name\":\"Ann B. Lee\",\"birth_date\":\"1990-02-05\"}";
	MktgProvider *provider = opened("meta_conversions", PIXEL " test_event_code=TEST1");
	MktgDelivery several[8];
	char	   *body;

	several[0] = message("{\"event\":\"Purchase\",\"occurred_at\":1735600000,\"value\":19.99,\"currency\":\"EUR\",\"event_id\":\"o-1\","
						 "\"properties\":{\"action_source\":\"website\",\"event_source_url\":\"https://shop.example/a\","
						 "\"client_user_agent\":\"UA\",\"fbp\":\"fb.1\",\"content_ids\":[\"A\"],\"opt_out\":false}}", contact);
	body = built(provider, several, 1);
	is_string(body, "{\"data\":[{\"event_name\":\"Purchase\",\"event_time\":1735600000,\"event_id\":\"o-1\",\"action_source\":\"website\","
			  "\"event_source_url\":\"https://shop.example/a\",\"opt_out\":false,\"user_data\":{"
			  "\"em\":[\"71d4f55f72fa128dfb468a1a3901507c804b74316488744d769d7f4b16696476\"],"
			  "\"ph\":[\"e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176\"],"
			  "\"fn\":[\"49915e0d7d4b402e3017d010bc1c0e83cac6c797d6c16e66340fe3268693a6a1\"],"
			  "\"ln\":[\"1508b697895abf03d55c3841f59236ab92c9ba6ba89795c8337fcf392fdee8b4\"],"
			  "\"db\":[\"b5e35cb7fa620e895d27312119f0f09c42b128234c4cc1f7467d390ed397ada2\"],"
			  ""
			  "\"client_user_agent\":\"UA\",\"fbp\":\"fb.1\"},"
			  "\"custom_data\":{\"content_ids\":[\"A\"],\"value\":19.99,\"currency\":\"EUR\"}}],\"test_event_code\":\"TEST1\"}", "an event");
	free(body);

	several[0] = message("{\"event\":\"Lead\",\"occurred_at\":1735600000}", "{\"email\":\"ann@example.com\"}");
	several[1] = message("{\"event\":\"Lead\",\"occurred_at\":1735084799}", contact);	/* a second too old */
	several[2] = message("{\"event\":\"Lead\",\"occurred_at\":1735084800}", contact);
	several[3] = message("{\"event\":\"Lead\",\"occurred_at\":1735600000,\"properties\":{\"action_source\":\"website\"}}", contact);
	several[4] = message("{\"event\":\"Lead\",\"occurred_at\":1735600000,\"properties\":{\"action_source\":\"web\"}}", contact);
	several[5] = message("{\"event\":\"Lead\",\"occurred_at\":1735600000}", "{\"name\":\"Ann\"}");
	several[6] = message("{}", contact);
	body = built(provider, several, 7);
	ok(body != NULL && strstr(body, "\"event_id\":\"1-7-3-r\"") != NULL && strstr(body, "1735084800") != NULL &&
	   strstr(body, "1735084799") == NULL && strstr(body, "website") == NULL, "the good ones go, by our id");
	free(body);
	ok(several[0].outcome.kind == MKTG_OUTCOME_NONE && several[2].outcome.kind == MKTG_OUTCOME_NONE, "and wait for their reply");
	outcome_is(&several[1], MKTG_OUTCOME_PERMANENT, "the event is older than the 7 days Meta takes", "too old");
	outcome_is(&several[3], MKTG_OUTCOME_PERMANENT, "an event of a website needs event_source_url and client_user_agent", "a website");
	outcome_is(&several[4], MKTG_OUTCOME_PERMANENT, "Meta knows no such action_source", "another source");
	outcome_is(&several[5], MKTG_OUTCOME_PERMANENT, "the contact has neither an e-mail address nor a phone number", "nobody");
	outcome_is(&several[6], MKTG_OUTCOME_PERMANENT, "the message is no conversion: mktg.send_conversion() makes one", "nothing");
	classify(provider, several, 7, 200, "{\"events_received\":2,\"fbtrace_id\":\"AB\"}");
	ok(several[0].outcome.kind == MKTG_OUTCOME_SENT && several[1].outcome.kind == MKTG_OUTCOME_PERMANENT, "the others keep theirs");
	is_string(several[2].outcome.provider_id, "AB", "the trace is its id");
	several[7] = several[2];
	several[7].attempt = 5;
	is_int(fitting(provider, several, 8), 7, "what was refused often goes alone");
	is_int(fitting(provider, several + 7, 1), 1, "so it does");
	mktg_provider_close(provider);
}

static void
test_x(void)
{
	MktgProvider *provider = opened("x_audience", X);
	MktgDelivery several[4] = {message(ADD(EMAIL_A), NULL), message(ADD(BOTH_B), NULL), message(REMOVE(EMAIL_A), NULL), message("[]", NULL)};
	char	   *body = built(provider, several, 4);

	is_string(body, "[{\"operation_type\":\"Delete\",\"params\":{\"users\":[{\"email\":[\"" HASH_A "\"]}]}},"
			  "{\"operation_type\":\"Update\",\"params\":{\"users\":[{\"email\":[\"" HASH_A "\"]},"
			  "{\"email\":[\"" HASH_B "\"],\"phone_number\":[\"" HASH_A "\"]}]}}]", "additions and removals in one request");
	free(body);
	outcome_is(&several[3], MKTG_OUTCOME_PERMANENT, "the message is not of a sync: mktg.sync_segment() makes one", "no upload");
	is_int(fitting(provider, several, 4), 4, "all together");
	several[2].attempt = 2;
	is_int(fitting(provider, several, 4), 2, "but those tried before");
	several[0].attempt = 7;
	is_int(fitting(provider, several, 1), 1, "which go alone in the end");
	mktg_provider_close(provider);
}

int
main(void)
{
	static const char event[] = "{\"event\":\"Lead\",\"occurred_at\":1735600000}";

	test_options();
	test_meta_audience();
	test_conversions();
	test_x();
	replies("meta_audience", META, ADD(EMAIL_A), "{}");
	replies("meta_conversions", PIXEL, event, "{\"email\":\"a@example.com\"}");
	replies("x_audience", X, ADD(EMAIL_A), NULL);
	return tap_done();
}
