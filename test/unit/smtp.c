/*-------------------------------------------------------------------------
 *
 * smtp.c
 *		Unit tests of src/provider/smtp.c, mail.c and threads.c against an SMTP
 *		server that answers as it is told.
 *
 * IDENTIFICATION
 *		test/unit/smtp.c
 *
 *-------------------------------------------------------------------------
 */
#include "provider/mail.h"
#include "stub.h"

/* What the server answers; NULL: as a good one would.  "!" before a text: and hangs up. */
typedef struct Script
{
	const char *greeting;
	const char *ehlo;
	const char *auth;
	const char *mail;
	const char *rcpt;
	const char *data;
	const char *end;
	const char *quit;
	int			wait_ms;		/* before the reply to the end of a message */
} Script;

#define HANG_UP	"!"
#define RESET	"!!"
#define STALL	"?"

/* Answers; does not come back where the script ends the connection. */
static void
answer(int fd, const char *scripted, const char *usual)
{
	const char *text = scripted != NULL ? scripted : usual;
	char		reply[300];

	if (strcmp(text, STALL) == 0)
	{
		char		byte;

		while (read(fd, &byte, 1) > 0)
			;
		_exit(0);
	}
	if (strcmp(text, RESET) == 0)
		stub_reset(fd);
	if (text[0] == '!')
	{
		snprintf(reply, sizeof(reply), "%s\r\n", text + 1);
		if (text[1] != '\0' && text[1] != '!')
			stub_say(fd, reply);
		_exit(0);
	}
	snprintf(reply, sizeof(reply), "%s\r\n", text);
	stub_say(fd, reply);
}

/* Reads a line without its end; false at the end of the connection. */
static bool
read_line(FILE *in, char *line, size_t size)
{
	if (fgets(line, (int) size, in) == NULL)
		return false;
	line[strcspn(line, "\r\n")] = '\0';
	return true;
}

static void
serve_smtp(int fd, StubShared *shared, const void *argument)
{
	const Script *script = argument;
	FILE	   *in = fdopen(dup(fd), "r");
	char		line[2000];

	answer(fd, script->greeting, "220 stub ESMTP");
	while (read_line(in, line, sizeof(line)))
	{
		if (strncasecmp(line, "EHLO", 4) == 0 || strncasecmp(line, "HELO", 4) == 0)
			answer(fd, script->ehlo, script->auth ? "250-stub\r\n250-AUTH PLAIN\r\n250 SIZE" :
				   "250-stub\r\n250 SIZE 10000000");
		else if (strncasecmp(line, "AUTH", 4) == 0)
		{
			stub_say(fd, "334 \r\n");
			if (read_line(in, line, sizeof(line)))
				answer(fd, script->auth, "235 2.7.0 fine");
		}
		else if (strncasecmp(line, "MAIL", 4) == 0)
			answer(fd, script->mail, "250 2.1.0 fine");
		else if (strncasecmp(line, "RCPT", 4) == 0)
			answer(fd, script->rcpt, "250-2.1.5 it\r\n250 2.1.5 fine");
		else if (strncasecmp(line, "DATA", 4) == 0)
		{
			answer(fd, script->data, "354 go on");
			if (script->data != NULL)
				continue;
			while (read_line(in, line, sizeof(line)) && strcmp(line, ".") != 0)
				;
			__atomic_add_fetch(&shared->requests, 1, __ATOMIC_SEQ_CST);
			usleep((useconds_t) script->wait_ms * 1000);
			answer(fd, script->end, "250 2.0.0 Ok: queued as 3F2A");
		}
		else if (strncasecmp(line, "QUIT", 4) == 0)
			answer(fd, script->quit, "!221 bye");
		else
			answer(fd, NULL, "500 5.5.2 what?");
	}
}

/* ---- the tests ---- */

static MktgDelivery
make_delivery(void)
{
	MktgDelivery delivery = {
		.tenant_id = 1, .campaign_id = 7, .contact_id = 3, .ref = "", .id = "m1", .attempt = 1,
		.channel = "email", .address = "bob@example.com", .from_address = "shop@example.org",
		.subject = "Hello", .subject_length = 5, .body = "hello\n.\nbye", .body_length = 11,
		.hold = true, .now = 1735689600
	};

	return delivery;
}

static MktgProvider *
smtp_within(const char *timeout_ms, int port, const char *user)
{
	char		number[20];
	MktgSetting settings[] = {
		{"host", "127.0.0.1"}, {"port", number}, {"tls", "none"}, {"timeout_ms", timeout_ms},
		{"helo", "me.example"}, {"user", user}, {"password", "secret"}
	};

	snprintf(number, sizeof(number), "%d", port);
	return stub_provider(mktg_driver_find("smtp"), settings, user != NULL ? 7 : 5);
}

static MktgProvider *
smtp(int port, const char *user)
{
	return smtp_within("700", port, user);
}

static void
test_replies(MktgTransport *transport)
{
	static const struct
	{
		const char *name;
		Script		script;
		MktgOutcomeKind want;
		const char *reason;
		int			arrived;
	}			cases[] = {
		{"a good server", {0}, MKTG_OUTCOME_SENT, "", 1},
		/* before a transaction */
		{"greeting 421", {.greeting = "421 4.3.2 later"}, MKTG_OUTCOME_RETRY, "421", 0},
		{"greeting 554", {.greeting = "554 5.7.1 go away"}, MKTG_OUTCOME_CONFIG, "554", 0},
		{"no greeting", {.greeting = HANG_UP}, MKTG_OUTCOME_RETRY, "not sent", 0},
		{"stalled greeting", {.greeting = STALL}, MKTG_OUTCOME_RETRY, "not sent", 0},
		{"garbage for a greeting", {.greeting = "SSH-2.0-x"}, MKTG_OUTCOME_RETRY, "not sent", 0},
		{"EHLO refused", {.ehlo = "550 no"}, MKTG_OUTCOME_CONFIG, "550", 0},
		/* MAIL */
		{"MAIL 451", {.mail = "451 4.3.0 later"}, MKTG_OUTCOME_RETRY, "451", 0},
		{"MAIL 530", {.mail = "530 5.7.0 log in"}, MKTG_OUTCOME_CONFIG, "530", 0},
		{"MAIL 553", {.mail = "553 5.1.8 who are you"}, MKTG_OUTCOME_CONFIG, "553", 0},
		{"MAIL 552", {.mail = "552 5.3.4 too big"}, MKTG_OUTCOME_PERMANENT, "552", 0},
		{"hang-up at MAIL", {.mail = HANG_UP}, MKTG_OUTCOME_RETRY, "not sent", 0},
		{"421 and hang-up at MAIL", {.mail = "!421 4.4.2 idle"}, MKTG_OUTCOME_RETRY, "421", 0},
		{"stall at MAIL", {.mail = STALL}, MKTG_OUTCOME_RETRY, "not sent", 0},
		/* RCPT */
		{"RCPT 450", {.rcpt = "450 4.2.0 greylisted"}, MKTG_OUTCOME_RETRY, "450", 0},
		{"RCPT 452", {.rcpt = "452 4.2.2 full"}, MKTG_OUTCOME_RETRY, "452", 0},
		{"RCPT 550 5.1.1", {.rcpt = "550 5.1.1 <bob@example.com>: unknown"},
		MKTG_OUTCOME_SUPPRESS, "550 5.1.1 <[...]>: unknown", 0},
		{"RCPT 550 5.1.1 in lines", {.rcpt = "550-5.1.1 first\r\n550 5.1.1 last"},
		MKTG_OUTCOME_SUPPRESS, "last", 0},
		{"RCPT 550 5.1.10", {.rcpt = "550 5.1.10 null MX"}, MKTG_OUTCOME_SUPPRESS, "550", 0},
		{"RCPT 550", {.rcpt = "550 no such user"}, MKTG_OUTCOME_SUPPRESS, "550", 0},
		{"RCPT 553", {.rcpt = "553 no such user"}, MKTG_OUTCOME_SUPPRESS, "553", 0},
		{"RCPT 552 5.2.2", {.rcpt = "552 5.2.2 full"}, MKTG_OUTCOME_PERMANENT, "552", 0},
		{"RCPT 550 5.7.1", {.rcpt = "550 5.7.1 policy"}, MKTG_OUTCOME_PERMANENT, "550", 0},
		{"RCPT 550 5.1.8", {.rcpt = "550 5.1.8 bad sender"}, MKTG_OUTCOME_PERMANENT, "550", 0},
		{"RCPT 554", {.rcpt = "554 no"}, MKTG_OUTCOME_PERMANENT, "554", 0},
		{"RCPT 530", {.rcpt = "530 5.7.0 log in"}, MKTG_OUTCOME_CONFIG, "530", 0},
		{"RCPT 550, QUIT unanswered", {.rcpt = "550 5.1.1 no", .quit = STALL},
		MKTG_OUTCOME_SUPPRESS, "550", 0},
		{"RCPT 251", {.rcpt = "251 will forward"}, MKTG_OUTCOME_SENT, "", 1},
		{"hang-up at RCPT", {.rcpt = HANG_UP}, MKTG_OUTCOME_RETRY, "not sent", 0},
		{"garbage at RCPT", {.rcpt = "what?\r\nwhat?"}, MKTG_OUTCOME_RETRY, "not sent", 0},
		/* DATA and the end */
		{"DATA 451", {.data = "451 4.3.0 later"}, MKTG_OUTCOME_RETRY, "451", 0},
		{"DATA 554", {.data = "554 5.5.1 no valid recipients"}, MKTG_OUTCOME_PERMANENT, "554", 0},
		{"hang-up at DATA", {.data = HANG_UP}, MKTG_OUTCOME_RETRY, "not sent", 0},
		{"end 451", {.end = "451 4.7.1 greylisted"}, MKTG_OUTCOME_RETRY, "451", 1},
		{"end 421 and hang-up", {.end = "!421 4.3.2 later"}, MKTG_OUTCOME_RETRY, "421", 1},
		{"end 554", {.end = "554 5.7.1 spam"}, MKTG_OUTCOME_PERMANENT, "554", 1},
		{"end 550", {.end = "550 no"}, MKTG_OUTCOME_PERMANENT, "550", 1},
		{"end 550 5.1.1", {.end = "550 5.1.1 no"}, MKTG_OUTCOME_SUPPRESS, "550", 1},
		{"hang-up after the end", {.end = HANG_UP}, MKTG_OUTCOME_DOUBT, "no reply", 1},
		{"reset after the end", {.end = RESET}, MKTG_OUTCOME_DOUBT, "no reply", 1},
		{"stall after the end", {.end = STALL}, MKTG_OUTCOME_DOUBT, "no reply", 1},
		{"garbage after the end", {.end = "!what?"}, MKTG_OUTCOME_DOUBT, "no reply", 1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		Stub		stub = stub_start(serve_smtp, &cases[i].script);
		MktgProvider *provider = smtp(stub.port, NULL);
		MktgDelivery delivery = make_delivery();

		stub_send(transport, provider, &delivery);
		is_kind(&delivery, cases[i].want, cases[i].name);
		if (strstr(delivery.outcome.reason, cases[i].reason) == NULL ||
			strstr(delivery.outcome.reason, "bob") != NULL)
			ok(false, "%s: reason is \"%s\"", cases[i].name, delivery.outcome.reason);
		if (stub.shared->requests != cases[i].arrived)
			ok(false, "%s: %d messages arrived", cases[i].name, stub.shared->requests);
		if (i == 0)
			is_string(delivery.outcome.provider_id, "3F2A", "the id in the server's queue");
		mktg_provider_close(provider);
		stub_stop(&stub);
	}
}

static void
test_login(MktgTransport *transport)
{
	static const struct
	{
		const char *name;
		Script		script;
		MktgOutcomeKind want;
	}			cases[] = {
		{"a good login", {.auth = "235 2.7.0 fine"}, MKTG_OUTCOME_SENT},
		{"a bad password", {.auth = "535 5.7.8 bad credentials"}, MKTG_OUTCOME_CONFIG},
		{"a login server that is down", {.auth = "454 4.7.0 later"}, MKTG_OUTCOME_RETRY},
		{"a server that knows no AUTH and wants none", {0}, MKTG_OUTCOME_SENT},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		Stub		stub = stub_start(serve_smtp, &cases[i].script);
		MktgProvider *provider = smtp(stub.port, "shop");
		MktgDelivery delivery = make_delivery();

		stub_send(transport, provider, &delivery);
		is_kind(&delivery, cases[i].want, cases[i].name);
		mktg_provider_close(provider);
		stub_stop(&stub);
	}
}

/* STARTTLS is required unless told otherwise. */
static void
test_starttls(MktgTransport *transport)
{
	static const Script script = {0};
	Stub		stub = stub_start(serve_smtp, &script);
	char		port[20];
	MktgSetting settings[] = {{"host", "127.0.0.1"}, {"port", port}};
	MktgProvider *provider;
	MktgDelivery delivery = make_delivery();

	snprintf(port, sizeof(port), "%d", stub.port);
	provider = stub_provider(mktg_driver_find("smtp"), settings, 2);
	stub_send(transport, provider, &delivery);
	is_kind(&delivery, MKTG_OUTCOME_CONFIG, "a server without STARTTLS");
	is_int(stub.shared->requests, 0, "gets nothing");
	mktg_provider_close(provider);
	stub_stop(&stub);
}

/* A connection older than timeout_ms still serves, and a refusal does not end it badly. */
static void
test_reuse(MktgTransport *transport)
{
	static const Script script = {0};
	Stub		stub = stub_start(serve_smtp, &script);
	MktgProvider *provider = smtp(stub.port, NULL);
	MktgDelivery delivery = make_delivery();
	int			sent = 0;

	for (int i = 0; i < 20; i++)
	{
		sent += stub_send(transport, provider, &delivery) == MKTG_OUTCOME_SENT;
		usleep(50000);
	}
	is_int(sent, 20, "twenty messages in more than timeout_ms");
	is_int(stub.shared->connections, 1, "over one connection");
	mktg_provider_close(provider);
	stub_stop(&stub);
}

/* The reason for the threads: libcurl waits for the reply to the end of a message. */
static void
test_slow_server(MktgTransport *transport)
{
	static const Script slow = {.wait_ms = 300};
	Stub		stub = stub_start(serve_smtp, &slow);
	MktgProvider *provider = smtp_within("10000", stub.port, NULL);
	enum {MANY = 20};
	static MktgDelivery deliveries[MANY];
	MktgDelivery *done[1];
	double		start = stub_seconds();
	double		longest = 0;
	int			sent = 0;

	for (int i = 0; i < MANY; i++)
	{
		MktgDelivery *delivery = &deliveries[i];

		*delivery = make_delivery();
		mktg_transport_start(transport, provider, &delivery, 1);
	}
	for (int i = 0; i < MANY; i++)
	{
		double		begin = stub_seconds();

		mktg_transport_drive(transport);
		if (stub_seconds() - begin > longest)
			longest = stub_seconds() - begin;
		if (stub_wait(transport, done) == 1)
			sent += done[0]->outcome.kind == MKTG_OUTCOME_SENT;
	}
	is_int(sent, MANY, "twenty messages at once to a server that thinks 0.3 s about each");
	ok(stub_seconds() - start < 3, "side by side: %.1f s instead of 6", stub_seconds() - start);
	ok(longest < 0.2, "and the caller is never held up");
	mktg_provider_close(provider);
	stub_stop(&stub);
}

static void
test_destroy(void)
{
	static const Script script = {.end = STALL};
	Stub		stub = stub_start(serve_smtp, &script);
	MktgTransport *transport = mktg_transport_create();
	MktgProvider *provider = smtp(stub.port, NULL);
	MktgDelivery delivery = make_delivery();
	MktgDelivery *pointer = &delivery;
	double		start;

	mktg_transport_start(transport, provider, &pointer, 1);
	mktg_transport_drive(transport);
	while (stub.shared->requests == 0)
		usleep(1000);
	start = stub_seconds();
	mktg_transport_destroy(transport);
	ok(stub_seconds() - start < 0.5, "destroying the transport ends the wait for a reply");
	is_int(provider->open_requests, 0, "and gives the request back");
	mktg_provider_close(provider);
	stub_stop(&stub);
}

/* A process that ends with a request under way: no crash, and no waiting. */
static void
test_exit(void)
{
	static const Script script = {.end = STALL};
	Stub		stub = stub_start(serve_smtp, &script);
	double		start;
	int			status = -1;
	pid_t		pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
	{
		MktgTransport *transport = mktg_transport_create();
		MktgDelivery delivery = make_delivery();
		MktgDelivery *pointer = &delivery;

		mktg_transport_start(transport, smtp(stub.port, NULL), &pointer, 1);
		mktg_transport_drive(transport);
		while (stub.shared->requests == 0)
			usleep(1000);
		exit(7);
	}
	while (stub.shared->requests == 0)
		usleep(1000);
	start = stub_seconds();
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 7, "exit() with a request under way");
	ok(stub_seconds() - start < 0.5, "does not wait for it");
	stub_stop(&stub);
}

static void
test_refusals(MktgTransport *transport)
{
	static const Script script = {0};
	Stub		stub = stub_start(serve_smtp, &script);
	MktgProvider *provider = smtp(stub.port, NULL);
	MktgDelivery delivery;

#define REFUSED(field, text, want) \
	do { \
		delivery = make_delivery(); \
		delivery.field = text; \
		delivery.subject_length = delivery.subject != NULL ? strlen(delivery.subject) : 0; \
		stub_send(transport, provider, &delivery); \
		is_kind(&delivery, want, #field " " #text); \
	} while (0)

	REFUSED(subject, "Hi\r\nBcc: all@example.com", MKTG_OUTCOME_PERMANENT);
	REFUSED(subject, "Hi\nthere", MKTG_OUTCOME_PERMANENT);
	REFUSED(address, "bob@example.com>\r\nDATA", MKTG_OUTCOME_PERMANENT);
	REFUSED(address, "bob@example.com> SIZE=1", MKTG_OUTCOME_PERMANENT);
	REFUSED(address, "bob", MKTG_OUTCOME_PERMANENT);
	REFUSED(address, "bob@", MKTG_OUTCOME_PERMANENT);
	REFUSED(address, "@example.com", MKTG_OUTCOME_PERMANENT);
	REFUSED(address, "a@example.com,b@example.com", MKTG_OUTCOME_PERMANENT);
	REFUSED(from_name, "Shop\rX: y", MKTG_OUTCOME_CONFIG);
	REFUSED(from_address, "shop", MKTG_OUTCOME_CONFIG);
	REFUSED(from_address, NULL, MKTG_OUTCOME_CONFIG);
	REFUSED(reply_to, "a@b\nc", MKTG_OUTCOME_CONFIG);
	REFUSED(body, NULL, MKTG_OUTCOME_PERMANENT);

	delivery = make_delivery();
	delivery.subject = "a\0b";
	delivery.subject_length = 3;
	stub_send(transport, provider, &delivery);
	is_kind(&delivery, MKTG_OUTCOME_PERMANENT, "subject with a NUL");
	is_int(stub.shared->connections, 0, "the server has heard nothing of it");

	delivery = make_delivery();
	delivery.html = delivery.body;
	delivery.html_length = delivery.body_length;
	stub_send(transport, provider, &delivery);
	is_kind(&delivery, MKTG_OUTCOME_SENT, "the same handle then sends a good message of two texts");
	delivery.html = NULL;
	stub_send(transport, provider, &delivery);
	is_kind(&delivery, MKTG_OUTCOME_SENT, "and one of one text");
	delivery.body = NULL;
	delivery.html = "";
	delivery.html_length = 0;
	stub_send(transport, provider, &delivery);
	is_kind(&delivery, MKTG_OUTCOME_SENT, "and an empty one");
	mktg_provider_close(provider);
	stub_stop(&stub);
}

/* ---- header lines and texts ---- */

static void
is_text(MktgBuffer *buffer, const char *want, const char *name)
{
	is_bytes(buffer->data != NULL ? buffer->data : "", buffer->length, want, strlen(want), name);
	mktg_buffer_clear(buffer);
}

static void
test_headers(void)
{
	MktgBuffer	out = {0};
	char		long_text[400];

	mktg_mail_text(&out, "Subject", "Hello, you", 10);
	is_text(&out, "Subject: Hello, you\r\n", "an ASCII subject");
	mktg_mail_text(&out, "Subject", "Grüße", 7);
	is_text(&out, "Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\n", "one that is not ASCII");
	mktg_mail_text(&out, "Subject", "=?x?=", 5);
	is_text(&out, "Subject: =?utf-8?B?PT94Pz0=?=\r\n", "one that looks like an encoded word");
	mktg_mail_text(&out, "Subject", "a\tb", 3);
	is_text(&out, "Subject: =?utf-8?B?YQli?=\r\n", "one with a tab");
	mktg_mail_text(&out, "Subject", "", 0);
	is_text(&out, "Subject: \r\n", "an empty one");

	/* 42 ASCII letters, then characters of four bytes: the cut falls before one */
	memset(long_text, 'a', 42);
	strcpy(long_text + 42, "😀😀");
	mktg_mail_text(&out, "Subject", long_text, strlen(long_text));
	is_text(&out, "Subject: =?utf-8?B?YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh?=\r\n"
			" =?utf-8?B?8J+YgPCfmIA=?=\r\n", "encoded words end between characters");
	memset(long_text, 'b', 300);
	mktg_mail_text(&out, "Subject", long_text, 300);
	for (char *line = strtok(out.data, "\r\n"); line != NULL; line = strtok(NULL, "\r\n"))
		if (strlen(line) > 85)
			ok(false, "a long subject is folded");
	mktg_buffer_clear(&out);

	mktg_mail_address(&out, "From", "Jo \"J\\\" Doe, Inc.", "jo@example.com");
	is_text(&out, "From: \"Jo \\\"J\\\\\\\" Doe, Inc.\"\r\n <jo@example.com>\r\n", "a display name is quoted");
	mktg_mail_address(&out, "From", "Zoë", "zoe@example.com");
	is_text(&out, "From: =?utf-8?B?Wm/Dqw==?=\r\n <zoe@example.com>\r\n", "or encoded");
	mktg_mail_address(&out, "To", NULL, "zoe@example.com");
	is_text(&out, "To: <zoe@example.com>\r\n", "or not there");
	mktg_mail_date(&out, 1735689599);
	is_text(&out, "Date: Tue, 31 Dec 2024 23:59:59 +0000\r\n", "a date");
	mktg_mail_message_id(&out, "1.7.3.a b>@\xC3\xA9=", "x@shop.example");
	is_text(&out, "Message-ID: <1.7.3.a=20b=3E=40=C3=A9=3D@shop.example>\r\n",
			"a message id that can be read back");
	mktg_buffer_free(&out);
}

static void
test_texts(void)
{
	MktgBuffer	out = {0};
	char		text[3000];

	mktg_mail_lines(&out, "a\nb\r\nc\rd\n\r\n", 11);
	is_text(&out, "a\r\nb\r\nc\r\nd\r\n\r\n", "every line end becomes CRLF");
	mktg_mail_lines(&out, "", 0);
	is_text(&out, "", "an empty text");
	mktg_mail_base64(&out, "Hello\r\n", 7);
	is_text(&out, "SGVsbG8NCg==\r\n", "base64");

	memset(text, 'a', sizeof(text));
	is_string(mktg_mail_encoding("plain\r\n", 7), "7bit", "a plain text");
	is_string(mktg_mail_encoding(text, 990), "7bit", "a line of 990");
	is_string(mktg_mail_encoding(text, 991), "quoted-printable", "a line of 991");
	is_string(mktg_mail_encoding("a few \xC3\xA9 among letters", 23), "quoted-printable", "few others");
	is_string(mktg_mail_encoding("\xE0\xA4\xA8\xE0\xA4\xAE", 6), "base64", "mostly others");
	is_string(mktg_mail_encoding("a\0bcdefgh", 9), "quoted-printable", "a NUL");
	mktg_buffer_free(&out);
}

int
main(void)
{
	MktgTransport *transport = mktg_transport_create();

	test_headers();
	test_texts();
	test_replies(transport);
	test_login(transport);
	test_starttls(transport);
	test_reuse(transport);
	test_slow_server(transport);
	test_refusals(transport);
	mktg_transport_destroy(transport);
	test_destroy();
	test_exit();
	return tap_done();
}
