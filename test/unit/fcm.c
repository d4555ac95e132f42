/*-------------------------------------------------------------------------
 *
 * fcm.c
 *		Unit tests of src/provider/fcm.c and src/provider/authority.c: options,
 *		messages, replies, and how the access token is come by.
 *
 * IDENTIFICATION
 *		test/unit/fcm.c
 *
 *-------------------------------------------------------------------------
 */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "provider/transport.h"
#include "stub.h"

#include "error_cases.h"

/* what the stub does, and what it has seen */
typedef struct Play
{
	int			tokens;			/* asked for */
	int			good_token;		/* the one that is taken; 0: the last given out */
	int			token_status;	/* 200, or how a question ends */
	int			life;			/* of a token, in seconds */
	int			send_status;
	int			sends;			/* with a good token */
	int			refused;
	bool		no_token;		/* the reply has none */
	bool		wait;			/* the question is answered when this ends */
} Play;

static Play *play;
static char *pem;
static MktgTransport *transport;

/* ---- the stub ---- */

static void
reply(int fd, int status, const char *body)
{
	char		head[200];

	snprintf(head, sizeof(head), "HTTP/1.1 %d Some\r\nContent-Length: %zu\r\n\r\n", status, strlen(body));
	stub_say(fd, head);
	stub_say(fd, body);
}

static void
reply_token(int fd, const char *request)
{
	char		body[200];
	int			number = __atomic_add_fetch(&play->tokens, 1, __ATOMIC_SEQ_CST);

	while (__atomic_load_n(&play->wait, __ATOMIC_SEQ_CST))
		usleep(1000);
	if (strstr(request, "Content-Type: application/x-www-form-urlencoded") == NULL ||
		strstr(request, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=eyJ") == NULL)
		reply(fd, 400, "bad question");
	else if (play->token_status != 200)
		reply(fd, play->token_status, "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT Signature.\"}");
	else if (play->no_token)
		reply(fd, 200, "{\"expires_in\":3599}");
	else
	{
		snprintf(body, sizeof(body), "{\"access_token\":\"ya29.%d\",\"expires_in\":%d,\"token_type\":\"Bearer\"}",
				 number, play->life);
		reply(fd, 200, body);
	}
}

static void
serve(int fd, StubShared *shared, const void *argument)
{
	static char text[100000];

	(void) shared;
	(void) argument;
	while (stub_read_request(fd, text, sizeof(text)))
	{
		char	   *bearer = strstr(text, "\r\nAuthorization: Bearer ya29.");
		int			token = bearer != NULL ? atoi(bearer + 29) : 0;

		if (strncmp(text, "POST /token ", 12) == 0)
			reply_token(fd, text);
		else if (token == 0 || token != (play->good_token != 0 ? play->good_token : play->tokens))
		{
			__atomic_add_fetch(&play->refused, 1, __ATOMIC_SEQ_CST);
			reply(fd, 401, "{\"error\":{\"code\":401,\"message\":\"Request had invalid authentication credentials.\","
				  "\"status\":\"UNAUTHENTICATED\"}}");
		}
		else
		{
			__atomic_add_fetch(&play->sends, 1, __ATOMIC_SEQ_CST);
			reply(fd, play->send_status, play->send_status == 200 ?
				  "{\"name\":\"projects/demo/messages/0:1500415314455276%31bd1c9631bd1c96\"}" :
				  "{\"error\":{\"code\":401,\"message\":\"Invalid APNs credentials\",\"status\":\"UNAUTHENTICATED\",\"details\":[{"
				  "\"@type\":\"type.googleapis.com/google.firebase.fcm.v1.FcmError\",\"errorCode\":\"THIRD_PARTY_AUTH_ERROR\"}]}}");
		}
	}
}

static void
reset_play(void)
{
	memset(play, 0, sizeof(*play));
	play->token_status = play->send_status = 200;
	play->life = 3599;
}

static MktgProvider *
open_fcm(const Stub *stub)
{
	char		base[80];
	char		token_uri[80];
	MktgSetting settings[] = {
		{"base_url", base}, {"token_uri", token_uri}, {"project_id", "demo"},
		{"client_email", "sender@demo.iam.gserviceaccount.com"}, {"private_key", pem},
		{"private_key_id", "key-1"}, {"timeout_ms", "5000"}
	};

	snprintf(base, sizeof(base), "http://127.0.0.1:%d", stub->port);
	snprintf(token_uri, sizeof(token_uri), "http://127.0.0.1:%d/token", stub->port);
	return stub_provider(mktg_driver_find("fcm"), settings, 7);
}

static MktgDelivery
make_delivery(void)
{
	MktgDelivery delivery = {
		.tenant_id = 1, .campaign_id = 7, .contact_id = 3, .ref = "", .id = "1-7-3", .attempt = 1,
		.channel = "push", .address = "dGVzdA:APA91b-_x", .subject = "Hi", .subject_length = 2,
		.body = "Come in", .body_length = 7, .data = "{}", .data_length = 2, .hold = true, .now = 1735689600
	};

	return delivery;
}

/* ---- options ---- */

static void
refuses(const char *name, const char *value, const char *want)
{
	MktgSetting settings[] = {
		{name, value}, {"project_id", "demo"}, {"client_email", "a@b"}, {"private_key", pem}
	};
	char		why[200] = "";
	MktgProvider *provider = mktg_provider_open(mktg_driver_find("fcm"), settings, 4, why, sizeof(why));

	if (!ok(provider == NULL && strcmp(why, want) == 0, "%s \"%.20s\" is refused", name, value))
		printf("# said \"%s\"\n", why);
	mktg_provider_close(provider);
}

static void
test_options(void)
{
	MktgSetting settings[] = {{"project_id", "demo"}, {"client_email", "a@b"}};
	char		why[200] = "";

	refuses("project_id", "my project", "option \"project_id\" must be a project id of Firebase: small letters, digits and dashes");
	refuses("project_id", "../x", "option \"project_id\" must be a project id of Firebase: small letters, digits and dashes");
	refuses("private_key", "secret", "option \"private_key\" must be an RSA private key of 2048 bits or more,"
			" in PEM with line ends as \\n");
	refuses("client_email", "", "option \"client_email\" must be a text of 1 to 4096 bytes without control characters");
	refuses("token_uri", "http://example.com/token", "option \"token_uri\" must be an https URL without user, password,"
			" query and last slash (or http to 127.0.0.1)");
	refuses("validate_only", "yes", "option \"validate_only\" must be true or false");
	refuses("topic", "news", "driver \"fcm\" knows no option \"topic\"");
	ok(mktg_provider_open(mktg_driver_find("fcm"), settings, 2, why, sizeof(why)) == NULL &&
	   strcmp(why, "credential \"private_key\" is missing") == 0, "a private key is needed");
}

/* ---- messages ---- */

static MktgProvider *
open_for_messages(const char *validate_only)
{
	MktgSetting settings[] = {
		{"project_id", "demo"}, {"client_email", "a@b"}, {"private_key", pem}, {"validate_only", validate_only}
	};

	return stub_provider(mktg_driver_find("fcm"), settings, 4);
}

/* Builds one message; the body, or the reason it cannot be sent. */
static const char *
build(MktgProvider *provider, MktgDelivery *delivery)
{
	static char text[10000];
	MktgDelivery *deliveries[] = {delivery};
	MktgRequest request = {.provider = provider, .deliveries = deliveries, .count = 1};

	memset(&delivery->outcome, 0, sizeof(delivery->outcome));
	delivery->data_length = strlen(delivery->data);
	if (provider->driver->build(&request) == (delivery->outcome.kind != MKTG_OUTCOME_NONE))
		return "built and not built";
	if (delivery->outcome.kind == MKTG_OUTCOME_NONE)
		snprintf(text, sizeof(text), "%s", request.body.data);
	else
		snprintf(text, sizeof(text), "%s: %s", stub_kinds[delivery->outcome.kind], delivery->outcome.reason);
	mktg_buffer_free(&request.body);
	return text;
}

static void
test_messages(void)
{
	MktgProvider *provider = open_for_messages("false");
	MktgDelivery delivery = make_delivery();
	char		long_body[5000];
	static const struct
	{
		const char *data;
		const char *want;
	}			cases[] = {
		{"{\"order\":\"x\"}", "{\"message\":{\"token\":\"dGVzdA:APA91b-_x\",\"notification\":{\"title\":\"Hi\",\"body\":\"Come in\"}}}"},
		{"{\"image\":\"https://x/y.png\",\"data\":{\"screen\":\"sale/1\",\"e\":\"\\\"\\u00e9\"}}",
		"{\"message\":{\"token\":\"dGVzdA:APA91b-_x\",\"notification\":{\"title\":\"Hi\",\"body\":\"Come in\","
		"\"image\":\"https://x/y.png\"},\"data\":{\"screen\":\"sale/1\",\"e\":\"\\\"\xC3\xA9\"}}}"},
		{"{\"android\":{\"priority\":\"HIGH\",\"ttl\":\"3600s\"},\"apns\":{\"payload\":{\"aps\":{\"badge\":1,\"x\":1.50}}},"
		"\"webpush\":{},\"fcm_options\":{\"analyticsLabel\":\"a\"},\"data\":null}",
		"{\"message\":{\"token\":\"dGVzdA:APA91b-_x\",\"notification\":{\"title\":\"Hi\",\"body\":\"Come in\"},"
		"\"android\":{\"priority\":\"HIGH\",\"ttl\":\"3600s\"},\"apns\":{\"payload\":{\"aps\":{\"badge\":1,\"x\":1.50}}},"
		"\"webpush\":{},\"fcmOptions\":{\"analyticsLabel\":\"a\"}}}"},
		{"{\"data\":{\"n\":17}}", "permanent: data: FCM takes texts alone, and \"n\" is none"},
		{"{\"data\":{\"n\":null}}", "permanent: data: FCM takes texts alone, and \"n\" is none"},
		{"{\"data\":{\"from\":\"x\"}}", "permanent: data: FCM keeps the key \"from\" to itself"},
		{"{\"data\":{\"message_type\":\"x\"}}", "permanent: data: FCM keeps the key \"message_type\" to itself"},
		{"{\"data\":{\"google.x\":\"x\"}}", "permanent: data: FCM keeps the key \"google.x\" to itself"},
		{"{\"data\":{\"gcm.notification.x\":\"x\"}}", "permanent: data: FCM keeps the key \"gcm.notification.x\" to itself"},
		{"{\"data\":\"x\"}", "permanent: data: FCM takes an object of texts"},
		{"{\"image\":7}", "permanent: image: must be the URL of a picture"},
		{"{\"android\":[]}", "permanent: android: must be an object"},
		{"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", "permanent: template_data is nested too deeply"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		delivery.data = cases[i].data;
		is_string(build(provider, &delivery), cases[i].want, cases[i].data);
	}

	delivery.data = "{\"data\":{\"a\":\"b\"}}";
	delivery.subject = NULL;
	delivery.subject_length = delivery.body_length = 0;
	is_string(build(provider, &delivery), "{\"message\":{\"token\":\"dGVzdA:APA91b-_x\",\"data\":{\"a\":\"b\"}}}",
			  "without texts only the app sees it");
	delivery = make_delivery();
	delivery.subject = NULL;
	delivery.subject_length = 0;
	is_string(build(provider, &delivery), "{\"message\":{\"token\":\"dGVzdA:APA91b-_x\",\"notification\":{\"body\":\"Come in\"}}}",
			  "a text without a title");

	/* ,"notification":{"body":"..."} holds 27 bytes beside the text */
	memset(long_body, 'x', sizeof(long_body));
	delivery.body = long_body;
	delivery.body_length = 4096 - 27;
	ok(strncmp(build(provider, &delivery), "{\"message\"", 10) == 0, "a message of 4096 bytes");
	delivery.body_length++;
	is_string(build(provider, &delivery), "permanent: the message has 4097 bytes, and FCM takes 4096", "one of 4097");

	delivery = make_delivery();
	for (int i = 0; i < 4; i++)
	{
		static const char *const bad[] = {"", "a b", "a\n", "+4915112345678!"};

		delivery.address = bad[i];
		is_string(build(provider, &delivery), "permanent: the address is no registration token of FCM", "an address that is no token");
	}
	mktg_provider_close(provider);

	provider = open_for_messages("true");
	delivery = make_delivery();
	is_string(build(provider, &delivery), "{\"validateOnly\":true,\"message\":{\"token\":\"dGVzdA:APA91b-_x\","
			  "\"notification\":{\"title\":\"Hi\",\"body\":\"Come in\"}}}", "only to be validated");
	mktg_provider_close(provider);
}

/* ---- replies ---- */

static MktgDelivery
classify(long status, const char *body, const char *retry_after)
{
	MktgProvider *provider = open_for_messages("false");
	MktgDelivery delivery = make_delivery();
	MktgDelivery *deliveries[] = {&delivery};
	MktgRequest request = {
		.provider = provider, .deliveries = deliveries, .count = 1, .status = status, .may_have_arrived = true
	};

	snprintf(request.retry_after, sizeof(request.retry_after), "%s", retry_after);
	mktg_buffer_puts(&request.reply, body);
	provider->driver->classify(&request);
	mktg_buffer_free(&request.reply);
	mktg_provider_close(provider);
	return delivery;
}

static void
test_replies(void)
{
#define FCM_ERROR(code) "{\"error\":{\"message\":\"m\",\"details\":[{\"errorCode\":\"" code "\"}]}}"
	static const struct
	{
		long		status;
		const char *body;
		const char *retry_after;
		MktgOutcomeKind want;
		int64_t		wait;
	}			cases[] = {
		{200, "{\"name\":\"projects/p/messages/7\"}", "", MKTG_OUTCOME_SENT, 0},
		{200, "nothing", "", MKTG_OUTCOME_SENT, 0},
		{404, FCM_ERROR("UNREGISTERED"), "", MKTG_OUTCOME_SUPPRESS, 0},
		{404, "<html>", "", MKTG_OUTCOME_CONFIG, 0},
		{403, FCM_ERROR("SENDER_ID_MISMATCH"), "", MKTG_OUTCOME_CONFIG, 0},
		{401, FCM_ERROR("THIRD_PARTY_AUTH_ERROR"), "", MKTG_OUTCOME_CONFIG, 0},
		{401, "{\"error\":{\"message\":\"m\"}}", "", MKTG_OUTCOME_CONFIG, 0},
		{429, FCM_ERROR("QUOTA_EXCEEDED"), "", MKTG_OUTCOME_RETRY, 60000},
		{429, FCM_ERROR("QUOTA_EXCEEDED"), "7", MKTG_OUTCOME_RETRY, 7000},
		{503, FCM_ERROR("UNAVAILABLE"), "9", MKTG_OUTCOME_RETRY, 9000},
		{500, FCM_ERROR("INTERNAL"), "", MKTG_OUTCOME_RETRY, 0},
		{400, FCM_ERROR("SOMETHING_NEW"), "", MKTG_OUTCOME_PERMANENT, 0},
		{400, "{\"error\":{\"details\":[{\"errorCode\":\"INVALID_ARGUMENT\"},{\"fieldViolations\":"
		"[{\"field\":\"message.token\"}]}]}}", "", MKTG_OUTCOME_SUPPRESS, 0},
		{400, "{\"error\":{\"details\":[{\"errorCode\":\"INVALID_ARGUMENT\"},{\"fieldViolations\":"
		"[{\"field\":\"message.android.ttl\"}]}]}}", "", MKTG_OUTCOME_PERMANENT, 0},
		{400, "{\"error\":\"text\"}", "", MKTG_OUTCOME_PERMANENT, 0},
		{400, "{\"error\":{\"details\":{\"errorCode\":\"UNREGISTERED\"}}}", "", MKTG_OUTCOME_PERMANENT, 0},
		{400, "[1,2", "", MKTG_OUTCOME_PERMANENT, 0},
		{0, "", "", MKTG_OUTCOME_DOUBT, 0},
	};
	MktgDelivery delivery;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		delivery = classify(cases[i].status, cases[i].body, cases[i].retry_after);
		is_kind(&delivery, cases[i].want, cases[i].body);
		is_int(delivery.outcome.retry_after_ms, cases[i].wait, "and when again");
	}
	delivery = classify(404, FCM_ERROR("UNREGISTERED"), "");
	is_string(delivery.outcome.reason, "FCM UNREGISTERED (HTTP 404): m", "the reason");
	delivery = classify(200, cases[0].body, "");
	is_string(delivery.outcome.provider_id, "7", "the provider's id");
}

static void
test_recorded(void)
{
	static const struct
	{
		const char *expect;
		MktgOutcomeKind want;
	}			kinds[] = {
		{"drop_token", MKTG_OUTCOME_SUPPRESS}, {"permanent", MKTG_OUTCOME_PERMANENT},
		{"permanent_keep_token", MKTG_OUTCOME_PERMANENT}
	};
	int			found = 0;

	for (int i = 0; cases[i].provider != NULL; i++)
		for (size_t kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++)
			if (strcmp(cases[i].provider, "fcm") == 0 && strcmp(cases[i].expect, kinds[kind].expect) == 0)
			{
				MktgDelivery delivery = classify(cases[i].status, cases[i].body, "");

				is_kind(&delivery, kinds[kind].want, cases[i].name);
				found++;
			}
	if (cases[0].provider == NULL)
		skip("the recorded errors are not there");
	else
		is_int(found, 3, "all recorded errors");
}

/* ---- the access token ---- */

#define MANY 20

/* Sends so many at once; how many ended as wanted. */
static int
send_many(MktgProvider *provider, MktgDelivery *deliveries, int n, MktgOutcomeKind want)
{
	MktgDelivery *done[1];
	int			count = 0;

	for (int i = 0; i < n; i++)
	{
		MktgDelivery *delivery = &deliveries[i];

		deliveries[i] = make_delivery();
		mktg_transport_start(transport, provider, &delivery, 1);
	}
	for (int i = 0; i < n; i++)
		count += stub_wait(transport, done) == 1 && done[0]->outcome.kind == want;
	return count;
}

static void
test_one_token(const Stub *stub)
{
	MktgProvider *provider = open_fcm(stub);
	MktgDelivery deliveries[MANY];

	reset_play();
	is_int(send_many(provider, deliveries, MANY, MKTG_OUTCOME_SENT), MANY, "twenty messages wait for a token and go");
	is_int(play->tokens, 1, "one token is asked for");
	is_string(deliveries[0].outcome.provider_id, "0:1500415314455276%31bd1c9631bd1c96", "the provider's id");
	is_int(send_many(provider, deliveries, MANY, MKTG_OUTCOME_SENT), MANY, "twenty more");
	is_int(play->tokens, 1, "go with the same one");
	is_int(play->sends, 2 * MANY, "each was sent once");
	is_int(provider->open_requests, 0, "nothing is open");
	mktg_provider_close(provider);
}

/* The loop goes on while a token is waited for. */
static void
test_waiting(const Stub *stub)
{
	MktgProvider *provider = open_fcm(stub);
	MktgDelivery delivery = make_delivery();
	MktgDelivery *pointer = &delivery;
	MktgDelivery *done[1];
	double		start = stub_seconds();

	reset_play();
	play->wait = true;
	mktg_transport_start(transport, provider, &pointer, 1);
	while (play->tokens == 0)
		mktg_transport_drive(transport);
	for (int i = 0; i < 10; i++)
		mktg_transport_drive(transport);
	ok(stub_seconds() - start < 2, "driving does not wait for a token");
	is_int(mktg_transport_finished(transport, done), 0, "the message waits");
	is_int(play->sends, 0, "and has not been sent");
	__atomic_store_n(&play->wait, false, __ATOMIC_SEQ_CST);
	is_int(stub_wait(transport, done), 1, "it goes when there is one");
	is_kind(&delivery, MKTG_OUTCOME_SENT, "the message that waited");
	mktg_provider_close(provider);
}

static void
test_refused_token(const Stub *stub)
{
	MktgProvider *provider = open_fcm(stub);
	MktgDelivery deliveries[MANY];

	reset_play();
	send_many(provider, deliveries, MANY, MKTG_OUTCOME_SENT);
	/* the provider ends it before its time */
	play->good_token = 2;
	is_int(send_many(provider, deliveries, MANY, MKTG_OUTCOME_SENT), MANY, "a token that is no longer good");
	is_int(play->tokens, 2, "is asked for anew, once for all of them");
	is_int(play->refused, MANY, "each had been refused once");
	play->good_token = 99;
	is_int(send_many(provider, deliveries, MANY, MKTG_OUTCOME_CONFIG), MANY, "none is good");
	is_int(play->tokens, 3, "is asked for once more, and not again and again");
	is_int(play->sends, 2 * MANY, "nothing went twice");
	play->good_token = 0;
	play->send_status = 401;
	is_int(send_many(provider, deliveries, 1, MKTG_OUTCOME_CONFIG), 1, "Apple's key is not mended by another token");
	mktg_provider_close(provider);
}

static void
test_no_token(const Stub *stub)
{
	static const struct
	{
		int			status;
		bool		no_token;
		MktgOutcomeKind want;
		const char *reason;
	}			cases[] = {
		{400, false, MKTG_OUTCOME_CONFIG, "no access token: HTTP 400: {\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT Signature.\"}"},
		{401, false, MKTG_OUTCOME_CONFIG, NULL},
		{503, false, MKTG_OUTCOME_RETRY, NULL},
		{200, true, MKTG_OUTCOME_RETRY, "no access token: the reply holds none"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		MktgProvider *provider = open_fcm(stub);
		MktgDelivery deliveries[3];

		reset_play();
		play->token_status = cases[i].status;
		play->no_token = cases[i].no_token;
		is_int(send_many(provider, deliveries, 3, cases[i].want), 3, "no token: so ends whoever waits");
		is_string(deliveries[2].outcome.reason, cases[i].reason != NULL ? cases[i].reason : deliveries[2].outcome.reason, "with a reason");
		is_int(play->sends + play->refused, 0, "nothing was sent");
		play->token_status = 200;
		play->no_token = false;
		is_int(send_many(provider, deliveries, 3, MKTG_OUTCOME_SENT), 3, "the next ones ask again");
		mktg_provider_close(provider);
	}
}

static void
test_renewal(const Stub *stub)
{
	MktgProvider *provider = open_fcm(stub);
	MktgDelivery deliveries[2];

	reset_play();
	send_many(provider, deliveries, 1, MKTG_OUTCOME_SENT);
	/* it is time to ask, and the old one is still good */
	provider->authority->ask_at = 0;
	play->good_token = 1;
	play->wait = true;
	is_int(send_many(provider, deliveries, 2, MKTG_OUTCOME_SENT), 2, "messages go while a token is renewed");
	ok(mktg_provider_busy(provider), "which is under way");
	play->good_token = 0;
	__atomic_store_n(&play->wait, false, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 5000 && mktg_provider_busy(provider); i++)
	{
		mktg_transport_drive(transport);
		usleep(1000);
	}
	ok(!mktg_provider_busy(provider), "it has come");
	is_int(send_many(provider, deliveries, 2, MKTG_OUTCOME_SENT), 2, "and is the one in use");
	is_int(play->tokens, 2, "one was asked for");

	/* a renewal that fails leaves the old one */
	provider->authority->ask_at = 0;
	play->token_status = 503;
	play->good_token = 2;
	is_int(send_many(provider, deliveries, 1, MKTG_OUTCOME_SENT), 1, "a renewal that fails stops nobody");
	for (int i = 0; i < 5000 && mktg_provider_busy(provider); i++)
	{
		mktg_transport_drive(transport);
		usleep(1000);
	}
	is_int(send_many(provider, deliveries, 1, MKTG_OUTCOME_SENT), 1, "the old token is still in use");
	is_int(play->tokens, 3, "and not asked for at every message");
	mktg_provider_close(provider);
}

static void
test_end(const Stub *stub)
{
	MktgTransport *own = mktg_transport_create();
	MktgProvider *provider = open_fcm(stub);
	MktgDelivery deliveries[3];
	MktgDelivery *done[1];
	int			count = 0;

	reset_play();
	play->wait = true;
	for (int i = 0; i < 3; i++)
	{
		MktgDelivery *delivery = &deliveries[i];

		deliveries[i] = make_delivery();
		mktg_transport_start(own, provider, &delivery, 1);
	}
	while (play->tokens == 0)
		mktg_transport_drive(own);
	mktg_transport_abandon(own);
	while (mktg_transport_finished(own, done) > 0)
		count += done[0]->outcome.kind == MKTG_OUTCOME_RETRY;
	is_int(count, 3, "whoever waits when the process ends has not been sent");
	mktg_transport_destroy(own);

	/* the same, and nobody asks how it ended */
	own = mktg_transport_create();
	for (int i = 0; i < 3; i++)
	{
		MktgDelivery *delivery = &deliveries[i];

		mktg_transport_start(own, provider, &delivery, 1);
	}
	mktg_transport_drive(own);
	mktg_transport_destroy(own);
	is_int(provider->open_requests, 0, "nothing is open when the transport is gone");
	__atomic_store_n(&play->wait, false, __ATOMIC_SEQ_CST);
	mktg_provider_close(provider);
}

int
main(void)
{
	BIO		   *bio = BIO_new(BIO_s_mem());
	EVP_PKEY   *key = EVP_RSA_gen(2048);
	Stub		stub;
	char	   *data;
	long		length;

	PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	length = BIO_get_mem_data(bio, &data);
	pem = strndup(data, (size_t) length);
	BIO_free(bio);
	EVP_PKEY_free(key);
	play = mmap(NULL, sizeof(Play), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	stub = stub_start(serve, NULL);
	transport = mktg_transport_create();

	test_options();
	test_messages();
	test_replies();
	test_recorded();
	test_one_token(&stub);
	test_waiting(&stub);
	test_refused_token(&stub);
	test_no_token(&stub);
	test_renewal(&stub);
	test_end(&stub);
	mktg_transport_destroy(transport);
	stub_stop(&stub);
	free(pem);
	return tap_done();
}
