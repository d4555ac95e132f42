/*-------------------------------------------------------------------------
 *
 * transport.c
 *		Unit tests of src/provider/transport.c, request.c and webhook.c against
 *		an HTTP server that behaves badly.
 *
 * IDENTIFICATION
 *		test/unit/transport.c
 *
 *-------------------------------------------------------------------------
 */
#include "stub.h"

#define SECRET	"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define LOCAL	"127.0.0.0/8"

/* ---- the server ---- */

static void
reply(int fd, const char *status, const char *headers, const char *body)
{
	char		head[600];

	snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n",
			 status, strlen(body), headers);
	stub_say(fd, head);
	stub_say(fd, body);
}

/* The outcome of each line of a batch, as its first letter asks: see the driver below. */
static void
reply_batch(int fd, char *body)
{
	char		out[1000] = "";
	char	   *next = NULL;

	for (char *id = strtok_r(body, "\n", &next); id != NULL; id = strtok_r(NULL, "\n", &next))
		if (id[0] != 'x')		/* of these the reply says nothing */
			snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s %s\n", id,
					 id[0] == 's' ? "sent" : "refused");
	reply(fd, "200 OK", "", out);
}

static void
drip(int fd)
{
	stub_say(fd, "HTTP/1.1 200 OK\r\n");
	for (;;)
	{
		usleep(50000);
		stub_say(fd, "X");
	}
}

static void
reply_huge(int fd, const char *status)
{
	char	   *body = malloc(1000001);

	memset(body, 'x', 1000000);
	body[1000000] = '\0';
	reply(fd, status, "", body);
	free(body);
}

/* Behaves as the path of each request says. */
static void
serve_http(int fd, StubShared *shared, const void *argument)
{
	static char text[200000];
	int			in_connection = 0;

	(void) argument;
	while (stub_read_request(fd, text, sizeof(text)))
	{
		char		path[100] = "";

		in_connection++;
		__atomic_add_fetch(&shared->requests, 1, __ATOMIC_SEQ_CST);
		sscanf(text, "POST /%99s", path);
		if (strcmp(path, "ok") == 0)
			reply(fd, "200 OK", "", "fine");
		else if (strcmp(path, "echo") == 0)
		{
			/* a reason shows the beginning of the reply */
			char	   *id = strcasestr(text, "\r\nwebhook-id: ");

			reply(fd, "400 Bad Request", "",
				  strcasestr(text, "\r\nExpect:") != NULL || strcasestr(text, "chunked") != NULL ||
				  id == NULL ? "bad request" : "good request");
		}
		else if (strncmp(path, "status-", 7) == 0)
		{
			char		status[20];

			snprintf(status, sizeof(status), "%.3s Some", path + 7);
			reply(fd, status, "Retry-After: 120\r\nLocation: /ok\r\n", "why: bob@example.com");
		}
		else if (strcmp(path, "batch") == 0)
			reply_batch(fd, strstr(text, "\r\n\r\n") + 4);
		else if (strcmp(path, "reset") == 0)
			break;
		else if (strcmp(path, "close") == 0)
			return;
		else if (strcmp(path, "once") == 0)
		{
			/* the second request on a connection is read, and never answered */
			if (in_connection > 1)
				return;
			reply(fd, "200 OK", "", "");
		}
		else if (strcmp(path, "hangup") == 0)
		{
			reply(fd, "200 OK", "", "");
			return;
		}
		else if (strcmp(path, "stall") == 0)
			pause();
		else if (strcmp(path, "garbage") == 0)
		{
			stub_say(fd, "\x01\x02 this is no HTTP\r\n\r\n");
			return;
		}
		else if (strcmp(path, "drip") == 0)
			drip(fd);
		else if (strcmp(path, "short") == 0)
		{
			stub_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
			return;
		}
		else if (strcmp(path, "huge-200") == 0)
			reply_huge(fd, "200 OK");
		else if (strcmp(path, "huge-503") == 0)
			reply_huge(fd, "503 Busy");
		else if (strcmp(path, "headers") == 0)
		{
			stub_say(fd, "HTTP/1.1 200 OK\r\n");
			for (;;)
				stub_say(fd, "X-More: and more and more and more and more and more\r\n");
		}
	}
	stub_reset(fd);
}

/* ---- a driver that sends three messages at once ---- */

static bool
batch_open(MktgProvider *provider, const MktgSetting *settings, int n, char *why, size_t why_size)
{
	(void) why;
	(void) why_size;
	provider->state = strdup(mktg_setting(settings, n, "url", ""));
	return true;
}

static void
batch_close(MktgProvider *provider)
{
	free(provider->state);
}

static bool
batch_build(MktgRequest *request)
{
	int			left = 0;

	for (int i = 0; i < request->count; i++)
	{
		MktgDelivery *delivery = request->deliveries[i];

		if (strcmp(delivery->address, "bad") == 0)
		{
			mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT, "bad address");
			continue;
		}
		mktg_buffer_puts(&request->body, delivery->id);
		mktg_buffer_puts(&request->body, "\n");
		left++;
	}
	return left > 0 &&
		curl_easy_setopt(request->easy, CURLOPT_URL, (char *) request->provider->state) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_POST, 1L) == CURLE_OK;
}

/* "ID sent" or "ID refused" for each; of a missing line the transport says that nobody knows */
static void
batch_classify(MktgRequest *request)
{
	for (int i = 0; i < request->count; i++)
	{
		MktgDelivery *delivery = request->deliveries[i];
		char		line[100];

		if (delivery->outcome.kind != MKTG_OUTCOME_NONE)
			continue;
		if (request->status != 200)
		{
			mktg_classify_http(request, &delivery->outcome);
			continue;
		}
		snprintf(line, sizeof(line), "%s sent\n", delivery->id);
		if (strstr(request->reply.data, line) != NULL)
			delivery->outcome.kind = MKTG_OUTCOME_SENT;
		snprintf(line, sizeof(line), "%s refused\n", delivery->id);
		if (strstr(request->reply.data, line) != NULL)
			mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_SUPPRESS, "refused");
	}
}

static const MktgOptionSpec batch_options[] = {
	{"url", false, true, NULL},
	{NULL, false, false, NULL}
};

static const MktgDriver batch_driver = {
	.name = "batch",
	.options = batch_options,
	.max_batch = 3,
	.protocols = "http",
	.open = batch_open,
	.close = batch_close,
	.build = batch_build,
	.classify = batch_classify,
};

/* ---- the tests ---- */

static MktgDelivery
make_delivery(const char *id)
{
	MktgDelivery delivery = {
		.tenant_id = 1, .campaign_id = 7, .contact_id = 3, .ref = "", .id = id, .attempt = 1,
		.channel = "webhook", .address = "someone", .body = "hello", .body_length = 5,
		.hold = true, .now = 1735689600
	};

	return delivery;
}

static MktgProvider *
webhook(const Stub *stub, const char *path, const char *networks)
{
	char		url[200];
	MktgSetting settings[] = {
		{"url", url}, {"secret", SECRET}, {"allow_networks", networks}, {"timeout_ms", "400"}
	};

	snprintf(url, sizeof(url), "http://127.0.0.1:%d/%s", stub->port, path);
	return stub_provider(mktg_driver_find("webhook"), settings, 4);
}

/* One message to one path of the stub. */
static MktgDelivery
send_to(MktgTransport *transport, const Stub *stub, const char *path, bool hold)
{
	MktgProvider *provider = webhook(stub, path, LOCAL);
	MktgDelivery delivery = make_delivery("m1");

	delivery.hold = hold;
	stub_send(transport, provider, &delivery);
	mktg_provider_close(provider);
	return delivery;
}

static void
test_replies(MktgTransport *transport, const Stub *stub)
{
	static const struct
	{
		const char *path;
		MktgOutcomeKind want;
		int64_t		retry_after_ms;
	}			cases[] = {
		{"ok", MKTG_OUTCOME_SENT, 0},
		{"status-202", MKTG_OUTCOME_SENT, 0},
		{"status-301", MKTG_OUTCOME_PERMANENT, 0},
		{"status-307", MKTG_OUTCOME_PERMANENT, 0},
		{"status-400", MKTG_OUTCOME_PERMANENT, 0},
		{"status-401", MKTG_OUTCOME_CONFIG, 0},
		{"status-403", MKTG_OUTCOME_CONFIG, 0},
		{"status-404", MKTG_OUTCOME_PERMANENT, 0},
		{"status-408", MKTG_OUTCOME_RETRY, 120000},
		{"status-410", MKTG_OUTCOME_CONFIG, 0},
		{"status-425", MKTG_OUTCOME_RETRY, 120000},
		{"status-429", MKTG_OUTCOME_RETRY, 120000},
		{"status-500", MKTG_OUTCOME_RETRY, 120000},
		{"status-503", MKTG_OUTCOME_RETRY, 120000},
		{"reset", MKTG_OUTCOME_DOUBT, 0},
		{"close", MKTG_OUTCOME_DOUBT, 0},
		{"stall", MKTG_OUTCOME_DOUBT, 0},
		{"garbage", MKTG_OUTCOME_DOUBT, 0},
		{"drip", MKTG_OUTCOME_SENT, 0},	/* the status came before the timeout */
		{"short", MKTG_OUTCOME_SENT, 0},
		{"huge-200", MKTG_OUTCOME_SENT, 0},
		{"huge-503", MKTG_OUTCOME_RETRY, 0},
		{"headers", MKTG_OUTCOME_SENT, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		MktgDelivery delivery = send_to(transport, stub, cases[i].path, true);

		is_kind(&delivery, cases[i].want, cases[i].path);
		if (delivery.outcome.retry_after_ms != cases[i].retry_after_ms)
			ok(false, "%s: Retry-After is %lld ms", cases[i].path,
			   (long long) cases[i].retry_after_ms);
		if (strstr(delivery.outcome.reason, "bob") != NULL)
			ok(false, "%s: the reason shows no address", cases[i].path);
	}
}

static void
test_form(MktgTransport *transport, const Stub *stub)
{
	MktgDelivery delivery = send_to(transport, stub, "echo", true);

	ok(strstr(delivery.outcome.reason, "good request") != NULL,
	   "Content-Length and no Expect in the request");
	delivery = send_to(transport, stub, "echo", false);
	ok(strstr(delivery.outcome.reason, "good request") != NULL, "also where it may be repeated");
}

static void
test_batch(MktgTransport *transport, const Stub *stub)
{
	char		url[100];
	MktgSetting settings[] = {{"url", url}};
	MktgDelivery deliveries[5];
	MktgDelivery *pointers[5];
	MktgDelivery *done[3];
	MktgProvider *provider;
	static const char *const ids[] = {"s1", "r2", "x3", "s4", "s5"};

	snprintf(url, sizeof(url), "http://127.0.0.1:%d/batch", stub->port);
	provider = stub_provider(&batch_driver, settings, 1);
	for (int i = 0; i < 5; i++)
	{
		deliveries[i] = make_delivery(ids[i]);
		pointers[i] = &deliveries[i];
	}
	stub->shared->requests = 0;
	ok(mktg_transport_start(transport, provider, pointers, 3), "three messages in one request");
	is_int(stub_wait(transport, done), 3, "three outcomes in one reply");
	is_int(stub->shared->requests, 1, "by one request");
	ok(done[0] == &deliveries[0] && done[1] == &deliveries[1] && done[2] == &deliveries[2],
	   "the deliveries come out as they went in");
	is_kind(&deliveries[0], MKTG_OUTCOME_SENT, "the first of a batch");
	is_kind(&deliveries[1], MKTG_OUTCOME_SUPPRESS, "the second of a batch");
	is_kind(&deliveries[2], MKTG_OUTCOME_DOUBT, "the third, which the reply does not name");

	deliveries[3].address = "bad";
	ok(mktg_transport_start(transport, provider, pointers + 3, 2), "one of two cannot be built");
	is_int(stub_wait(transport, done), 2, "both come out");
	is_kind(&deliveries[3], MKTG_OUTCOME_PERMANENT, "the one that cannot be built");
	is_kind(&deliveries[4], MKTG_OUTCOME_SENT, "the other one");

	deliveries[4].address = "bad";
	stub->shared->requests = 0;
	ok(mktg_transport_start(transport, provider, pointers + 3, 2), "neither can be built");
	is_int(stub_wait(transport, done), 2, "both come out");
	is_int(stub->shared->requests, 0, "and nothing was sent");
	is_int(provider->open_requests, 0, "no request is open");
	mktg_provider_close(provider);
}

/* libcurl repeats a request by itself when a used connection closes without a reply. */
static void
test_silent_repeat(const Stub *stub)
{
	for (int hold = 1; hold >= 0; hold--)
	{
		MktgTransport *transport = mktg_transport_create();
		MktgProvider *provider = webhook(stub, "once", LOCAL);
		MktgDelivery first = make_delivery("m1");
		MktgDelivery second = make_delivery("m2");

		first.hold = second.hold = hold;
		stub->shared->requests = 0;
		is_int((int) stub_send(transport, provider, &first), MKTG_OUTCOME_SENT, "the connection is there");
		stub_send(transport, provider, &second);
		is_kind(&second, hold ? MKTG_OUTCOME_DOUBT : MKTG_OUTCOME_SENT,
				hold ? "hold: no reply on a used connection" : "retry: no reply on a used connection");
		is_int(stub->shared->requests, hold ? 2 : 3,
			   hold ? "hold: the server has seen it once" : "retry: libcurl has repeated it");
		mktg_transport_destroy(transport);
		mktg_provider_close(provider);
	}
}

static void
test_reuse(const Stub *stub)
{
	MktgTransport *transport = mktg_transport_create();
	MktgProvider *provider = webhook(stub, "ok", LOCAL);
	MktgProvider *hangup = webhook(stub, "hangup", LOCAL);
	MktgDelivery delivery = make_delivery("m1");
	int			sent = 0;

	stub->shared->connections = 0;
	for (int i = 0; i < 50; i++)
		sent += stub_send(transport, provider, &delivery) == MKTG_OUTCOME_SENT;
	is_int(sent, 50, "fifty messages, one after the other");
	is_int(stub->shared->connections, 1, "over one connection");

	sent = 0;
	for (int i = 0; i < 5; i++)
	{
		int			ended = stub->shared->ended;

		sent += stub_send(transport, hangup, &delivery) == MKTG_OUTCOME_SENT;
		for (int ms = 0; ms < 5000 && *(volatile int *) &stub->shared->ended == ended; ms++)
			usleep(1000);
	}
	is_int(sent, 5, "a server that hangs up after each reply");
	mktg_transport_destroy(transport);
	mktg_provider_close(provider);
	mktg_provider_close(hangup);
}

static void
test_policy(MktgTransport *transport, const Stub *stub)
{
	MktgProvider *allowed = webhook(stub, "ok", LOCAL);
	MktgProvider *other = webhook(stub, "ok", "10.0.0.0/8");
	MktgDelivery delivery = make_delivery("m1");
	static const char *const names[] = {
		"http://127.0.0.1:%d/ok", "http://2130706433:%d/ok", "http://0x7f000001:%d/ok",
		"http://0177.0.0.1:%d/ok", "http://127.1:%d/ok", "http://localhost:%d/ok",
		"http://[::1]:%d/ok", "http://[::ffff:127.0.0.1]:%d/ok", "http://0:%d/ok"
	};

	stub_send(transport, allowed, &delivery);
	is_kind(&delivery, MKTG_OUTCOME_SENT, "an address of allow_networks");
	stub->shared->requests = 0;
	stub_send(transport, other, &delivery);
	is_kind(&delivery, MKTG_OUTCOME_CONFIG,
			"another policy, while a connection to the same place stands open");
	is_int(stub->shared->requests, 0, "nothing was sent over it");
	mktg_provider_close(allowed);
	mktg_provider_close(other);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		MktgSetting settings[] = {{"secret", SECRET}, {"allow_http", "true"}};
		MktgProvider *provider = stub_provider(mktg_driver_find("webhook"), settings, 2);
		char		url[100];

		snprintf(url, sizeof(url), names[i], stub->port);
		delivery.address = url;
		stub_send(transport, provider, &delivery);
		is_kind(&delivery, MKTG_OUTCOME_PERMANENT, names[i]);
		mktg_provider_close(provider);
	}
	is_int(stub->shared->requests, 0, "no way of writing loopback gets through");
}

static void
test_never_sent(MktgTransport *transport)
{
	Stub		nobody = {0};
	int			fd = stub_listen(&nobody.port);
	MktgSetting settings[] = {{"secret", SECRET}};
	MktgProvider *provider;
	MktgDelivery delivery;

	close(fd);
	delivery = send_to(transport, &nobody, "ok", true);
	is_kind(&delivery, MKTG_OUTCOME_RETRY, "nobody listens");

	provider = stub_provider(mktg_driver_find("webhook"), settings, 1);
	delivery = make_delivery("m1");
	delivery.address = "http://example.com/";
	stub_send(transport, provider, &delivery);
	is_kind(&delivery, MKTG_OUTCOME_PERMANENT, "an http address where only https is allowed");
	delivery.address = "https://exa mple.com/";
	stub_send(transport, provider, &delivery);
	is_kind(&delivery, MKTG_OUTCOME_PERMANENT, "an address that is no URL");
	delivery.address = "https://user:pass@example.com/";
	stub_send(transport, provider, &delivery);
	ok(delivery.outcome.kind != MKTG_OUTCOME_SENT && strstr(delivery.outcome.reason, "pass") == NULL,
	   "an address with a password in it goes nowhere");
	delivery.address = "https://no-such-host.invalid/";
	stub_send(transport, provider, &delivery);
	is_kind(&delivery, MKTG_OUTCOME_RETRY, "a name that cannot be resolved");
	ok(strstr(delivery.outcome.reason, "no-such-host") == NULL,
	   "the reason does not show the address");
	delivery.address = "https://example.com/\r\nX: y";
	stub_send(transport, provider, &delivery);
	is_kind(&delivery, MKTG_OUTCOME_PERMANENT, "an address with a line break");
	delivery.address = "https://example.com/";
	delivery.id = "a\nb";
	stub_send(transport, provider, &delivery);
	is_kind(&delivery, MKTG_OUTCOME_PERMANENT, "a message id with a line break");
	mktg_provider_close(provider);
}

/* A proxy that takes CONNECT, or does not; then it is the target that hangs up. */
static void
serve_proxy(int fd, StubShared *shared, const void *argument)
{
	char		text[4000];
	size_t		length = 0;
	ssize_t		n;

	while ((n = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
	{
		length += (size_t) n;
		text[length] = '\0';
		if (strstr(text, "\r\n\r\n") == NULL)
			continue;
		__atomic_add_fetch(&shared->requests, 1, __ATOMIC_SEQ_CST);
		stub_say(fd, argument);
		return;
	}
}

static void
test_proxy(MktgTransport *transport)
{
	static const struct
	{
		const char *reply;
		const char *url;
		MktgOutcomeKind want;
	}			cases[] = {
		{"HTTP/1.1 503 No\r\nRetry-After: 9\r\n\r\n", "https://example.com/", MKTG_OUTCOME_RETRY},
		{"HTTP/1.1 200 Fine\r\n\r\n", "https://example.com/", MKTG_OUTCOME_RETRY},
		{"HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n", "http://example.com/", MKTG_OUTCOME_SENT},
		{"", "http://example.com/", MKTG_OUTCOME_DOUBT},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		Stub		stub = stub_start(serve_proxy, cases[i].reply);
		char		proxy[100];
		MktgSetting settings[] = {
			{"secret", SECRET}, {"allow_http", "true"}, {"proxy", proxy}, {"url", cases[i].url}
		};
		MktgProvider *provider;
		MktgDelivery delivery = make_delivery("m1");

		snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", stub.port);
		provider = stub_provider(mktg_driver_find("webhook"), settings, 4);
		stub_send(transport, provider, &delivery);
		is_kind(&delivery, cases[i].want, cases[i].url);
		is_int(stub.shared->requests, 1, "through the proxy of the options");
		mktg_provider_close(provider);
		stub_stop(&stub);
	}
}

static void
test_many(MktgTransport *transport, const Stub *stub)
{
	MktgProvider *provider = webhook(stub, "ok", LOCAL);
	enum {MANY = 200};
	static MktgDelivery deliveries[MANY];
	int			sent = 0;
	int			started = 0;
	int			finished = 0;
	MktgDelivery *done[1];

	/* this is about connections, not about time */
	provider->timeout_ms = provider->connect_timeout_ms = 20000;
	stub->shared->connections = 0;
	while (finished < MANY)
	{
		while (started < MANY && provider->open_requests < 20)
		{
			MktgDelivery *delivery = &deliveries[started++];

			*delivery = make_delivery("many");
			if (!mktg_transport_start(transport, provider, &delivery, 1))
				break;
		}
		if (stub_wait(transport, done) != 1)
			break;
		finished++;
		sent += done[0]->outcome.kind == MKTG_OUTCOME_SENT;
	}
	is_int(sent, MANY, "two hundred messages, twenty at once");
	ok(stub->shared->connections <= 20, "over no more connections than that");
	is_int(mktg_transport_open_requests(transport), 0, "none is open");
	mktg_provider_close(provider);
}

static void
test_destroy(const Stub *stub)
{
	MktgTransport *transport = mktg_transport_create();
	MktgProvider *provider = webhook(stub, "stall", LOCAL);
	MktgDelivery delivery = make_delivery("m1");
	MktgDelivery *pointer = &delivery;
	double		start;

	mktg_transport_start(transport, provider, &pointer, 1);
	mktg_transport_drive(transport);
	is_int(provider->open_requests, 1, "a request is under way");
	start = stub_seconds();
	mktg_transport_destroy(transport);
	ok(stub_seconds() - start < 1, "destroying the transport does not wait for it");
	is_int(provider->open_requests, 0, "and gives it back");

	/* the handle is used again by another transport */
	transport = mktg_transport_create();
	stub_send(transport, provider, &delivery);
	is_kind(&delivery, MKTG_OUTCOME_DOUBT, "its handle serves the next transport");
	mktg_transport_destroy(transport);
	mktg_provider_close(provider);
}

static void
test_in_process(MktgTransport *transport)
{
	MktgProvider *provider = stub_provider(mktg_driver_find("sandbox"), NULL, 0);
	MktgDelivery delivery = make_delivery("m1");

	stub_send(transport, provider, &delivery);
	is_kind(&delivery, MKTG_OUTCOME_SENT, "a driver in the process, through the same door");
	mktg_provider_close(provider);
}

int
main(void)
{
	Stub		stub = stub_start(serve_http, NULL);
	MktgTransport *transport;

	/* none of these may be obeyed */
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("all_proxy", "http://127.0.0.1:1", 1);
	transport = mktg_transport_create();
	test_replies(transport, &stub);
	test_form(transport, &stub);
	test_batch(transport, &stub);
	test_silent_repeat(&stub);
	test_reuse(&stub);
	test_policy(transport, &stub);
	test_never_sent(transport);
	test_proxy(transport);
	test_many(transport, &stub);
	test_destroy(&stub);
	test_in_process(transport);
	mktg_transport_destroy(transport);
	stub_stop(&stub);
	return tap_done();
}
