/*-------------------------------------------------------------------------
 *
 * smtp.c
 *		A driver that hands mail to an SMTP server.
 *
 * libcurl speaks the protocol and writes the MIME structure.  One recipient a
 * transaction, so that each has an answer of its own; connections stay open
 * from one message to the next.
 *
 * Where a transaction ended is known by counting the replies since it began:
 * to MAIL, RCPT, DATA, and to the text.  Until the last byte of the text has
 * been handed to libcurl the server cannot have taken the message; from then
 * on, and without a reply, nobody knows.
 *
 * IDENTIFICATION
 *		src/provider/smtp.c
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provider/drivers.h"
#include "provider/mail.h"

#define MAX_MESSAGE		(32 * 1024 * 1024)
#define TIMEOUT_MS		120000	/* servers look through a message before they answer */
#define CONNECTIONS		10		/* few servers let more in from one client */

/* replies since MAIL was sent */
typedef enum Stage
{
	STAGE_BEGUN,
	STAGE_MAIL,
	STAGE_RCPT,
	STAGE_DATA,
	STAGE_END
} Stage;

typedef struct Smtp
{
	char	   *url;
	long		use_ssl;
	char	   *user;			/* NULL: no authentication */
	char	   *password;
} Smtp;

/* A text of request->body on its way into the MIME structure. */
typedef struct Part
{
	MktgRequest *request;
	size_t		start;
	size_t		end;
	size_t		at;
	bool		last;
} Part;

typedef struct Scratch
{
	struct curl_slist recipient;
	char		address[MKTG_MAX_EMAIL + 2];
	Part		parts[2];
	bool		begun;			/* in a transaction, not in the greeting and what follows it */
	bool		ended;			/* the reply that decides has come; QUIT is no part of it */
	bool		all_read;		/* libcurl has had the last byte */
	int			replies;		/* Stage, while begun */
	int			code;			/* of the last reply kept; 0 = none */
	char		line[512];		/* its last line */
} Scratch;

static bool check_port(const char *value, char *why, size_t why_size);
static bool check_tls(const char *value, char *why, size_t why_size);

static const MktgOptionSpec options[] = {
	{"helo", false, false, mktg_check_host},
	{"host", false, true, mktg_check_host},
	{"password", true, false, NULL},
	{"port", false, false, check_port},
	{"tls", false, false, check_tls},
	{"user", true, false, NULL},
	{NULL, false, false, NULL}
};

/* ---- options ---- */

static bool
check_port(const char *value, char *why, size_t why_size)
{
	if (mktg_check_integer(value, why, why_size) && atol(value) >= 1 && atol(value) <= 65535)
		return true;
	snprintf(why, why_size, "must be a port from 1 to 65535");
	return false;
}

static bool
check_tls(const char *value, char *why, size_t why_size)
{
	if (strcmp(value, "starttls") == 0 || strcmp(value, "implicit") == 0 ||
		strcmp(value, "none") == 0)
		return true;
	snprintf(why, why_size, "must be starttls, implicit or none");
	return false;
}

/* smtp://HOST:PORT/HELO */
static char *
make_url(const MktgSetting *settings, int n, const char *tls)
{
	const char *host = mktg_setting(settings, n, "host", "");
	const char *port = strcmp(tls, "implicit") == 0 ? "465" :
		strcmp(tls, "none") == 0 ? "25" : "587";
	const char *helo = mktg_setting(settings, n, "helo", "");
	bool		bare_ipv6 = strchr(host, ':') != NULL && host[0] != '[';
	char		url[1024];

	port = mktg_setting(settings, n, "port", port);
	snprintf(url, sizeof(url), "%s://%s%s%s:%s/%s",
			 strcmp(tls, "implicit") == 0 ? "smtps" : "smtp",
			 bare_ipv6 ? "[" : "", host, bare_ipv6 ? "]" : "", port, helo);
	return strdup(url);
}

static bool
smtp_open(MktgProvider *provider, const MktgSetting *settings, int n, char *why, size_t why_size)
{
	Smtp	   *smtp = calloc(1, sizeof(Smtp));
	const char *tls = mktg_setting(settings, n, "tls", "starttls");
	const char *user = mktg_setting(settings, n, "user", NULL);
	const char *password = mktg_setting(settings, n, "password", NULL);

	provider->state = smtp;
	if (smtp == NULL ||
		(smtp->url = make_url(settings, n, tls)) == NULL ||
		(user != NULL && (smtp->user = strdup(user)) == NULL) ||
		(password != NULL && (smtp->password = strdup(password)) == NULL))
	{
		snprintf(why, why_size, "out of memory");
		return false;
	}
	if ((user == NULL) != (password == NULL))
	{
		snprintf(why, why_size, "credential \"%s\" is missing", user == NULL ? "user" : "password");
		return false;
	}
	smtp->use_ssl = strcmp(tls, "none") == 0 ? CURLUSESSL_NONE : CURLUSESSL_ALL;
	if (mktg_setting(settings, n, "timeout_ms", NULL) == NULL)
		provider->timeout_ms = TIMEOUT_MS;
	if (mktg_setting(settings, n, "max_connections", NULL) == NULL)
		provider->max_connections = CONNECTIONS;
	return true;
}

static void
smtp_close(MktgProvider *provider)
{
	Smtp	   *smtp = provider->state;

	if (smtp == NULL)
		return;
	if (smtp->password != NULL)
		explicit_bzero(smtp->password, strlen(smtp->password));
	free(smtp->url);
	free(smtp->user);
	free(smtp->password);
	free(smtp);
}

/* ---- what libcurl tells on the way ---- */

/* The connection stands, greeted and authenticated: MAIL comes next. */
static int
transaction_begins(void *data, char *ip, char *local_ip, int port, int local_port)
{
	MktgRequest *request = data;
	Scratch    *scratch = request->scratch;

	(void) ip;
	(void) local_ip;
	(void) port;
	(void) local_port;
	scratch->begun = true;
	scratch->ended = false;
	scratch->replies = STAGE_BEGUN;
	scratch->code = 0;
	scratch->line[0] = '\0';
	return CURL_PREREQFUNC_OK;
}

/* Keeps the last line of a reply that says something about the message. */
static void
take_reply(Scratch *scratch, const char *line, size_t length)
{
	int			code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');

	if (scratch->ended)
		return;
	if (code == 220)
		scratch->begun = false; /* a greeting: libcurl has taken a new connection */
	/* before the transaction only refusals matter */
	if (!scratch->begun && code < 400)
		return;

	if (length > sizeof(scratch->line) - 1)
		length = sizeof(scratch->line) - 1;
	memcpy(scratch->line, line, length);
	scratch->line[length] = '\0';
	scratch->code = code;
	if (!scratch->begun)
		return;
	scratch->replies++;
	scratch->ended = code >= 400 || scratch->replies == STAGE_END;
}

/* One line the server said.  A reply may have many; the last has no dash. */
static size_t
take_line(char *line, size_t size, size_t n, void *data)
{
	MktgRequest *request = data;
	size_t		length = size * n;

	while (length > 0 && (unsigned char) line[length - 1] <= ' ')
		length--;
	if (length >= 3 && isdigit((unsigned char) line[0]) && isdigit((unsigned char) line[1]) &&
		isdigit((unsigned char) line[2]) && (length == 3 || line[3] == ' '))
		take_reply(request->scratch, line, length);
	return size * n;
}

static size_t
read_text(char *out, size_t size, size_t n, void *data)
{
	MktgRequest *request = data;
	Scratch    *scratch = request->scratch;
	size_t		left = request->body.length - request->body_sent;
	size_t		take = size * n < left ? size * n : left;

	if (take > 0)
		memcpy(out, request->body.data + request->body_sent, take);
	request->body_sent += take;
	scratch->all_read |= request->body_sent == request->body.length;
	return take;
}

static size_t
read_part(char *out, size_t size, size_t n, void *data)
{
	Part	   *part = data;
	Scratch    *scratch = part->request->scratch;
	size_t		left = part->end - part->at;
	size_t		take = size * n < left ? size * n : left;

	if (take > 0)
		memcpy(out, part->request->body.data + part->at, take);
	part->at += take;
	scratch->all_read |= part->last && part->at == part->end;
	return take;
}

/* libcurl goes back to the start before it first reads */
static int
seek_part(void *data, curl_off_t offset, int origin)
{
	Part	   *part = data;

	if (origin != SEEK_SET || offset < 0 || (size_t) offset > part->end - part->start)
		return CURL_SEEKFUNC_FAIL;
	part->at = part->start + (size_t) offset;
	return CURL_SEEKFUNC_OK;
}

/* ---- building ---- */

static bool
smtp_prepare(MktgRequest *request)
{
	const Smtp *smtp = request->provider->state;
	Scratch    *scratch = request->scratch;

	scratch->recipient = (struct curl_slist) {scratch->address, NULL};
	return curl_easy_setopt(request->easy, CURLOPT_URL, smtp->url) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_USE_SSL, smtp->use_ssl) == CURLE_OK &&
		(smtp->user == NULL ||
		 (curl_easy_setopt(request->easy, CURLOPT_USERNAME, smtp->user) == CURLE_OK &&
		  curl_easy_setopt(request->easy, CURLOPT_PASSWORD, smtp->password) == CURLE_OK)) &&
		curl_easy_setopt(request->easy, CURLOPT_MAIL_RCPT, &scratch->recipient) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_READFUNCTION, read_text) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_HEADERFUNCTION, take_line) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_PREREQFUNCTION, transaction_begins) == CURLE_OK;
}

static void
build_headers(MktgBuffer *out, const MktgDelivery *delivery)
{
	mktg_mail_address(out, "From", delivery->from_name, delivery->from_address);
	mktg_mail_address(out, "To", NULL, delivery->address);
	if (delivery->reply_to != NULL)
		mktg_mail_address(out, "Reply-To", NULL, delivery->reply_to);
	if (delivery->subject != NULL)
		mktg_mail_text(out, "Subject", delivery->subject, delivery->subject_length);
	mktg_mail_date(out, delivery->now);
	mktg_mail_message_id(out, delivery->id, delivery->from_address);
}

/* A message of one text: header and text in one piece. */
static bool
build_single(MktgRequest *request, const char *type, const char *text, size_t length)
{
	MktgBuffer	lines = {.limit = MAX_MESSAGE};
	MktgBuffer *body = &request->body;
	bool		plain;

	mktg_mail_lines(&lines, text, length);
	plain = strcmp(mktg_mail_encoding(lines.data, lines.length), "7bit") == 0;

	build_headers(body, request->deliveries[0]);
	mktg_buffer_puts(body, "MIME-Version: 1.0\r\nContent-Type: ");
	mktg_buffer_puts(body, type);
	mktg_buffer_puts(body, plain ? "\r\nContent-Transfer-Encoding: 7bit\r\n\r\n" :
					 "\r\nContent-Transfer-Encoding: base64\r\n\r\n");
	if (plain)
	{
		mktg_buffer_add(body, lines.data, lines.length);
		/* the dot that ends the message stands on a line of its own */
		if (lines.length < 2 || lines.data[lines.length - 1] != '\n')
			mktg_buffer_puts(body, "\r\n");
	}
	else
		mktg_mail_base64(body, lines.data, lines.length);

	if (lines.failed)
		body->failed = true;
	mktg_buffer_free(&lines);
	return !body->failed &&
		curl_easy_setopt(request->easy, CURLOPT_UPLOAD, 1L) == CURLE_OK;
}

/* Adds one text to the structure; its bytes stay in request->body. */
static bool
add_part(MktgRequest *request, Part *part, const char *type, const char *text, size_t length)
{
	MktgBuffer *body = &request->body;
	curl_mimepart *mimepart = curl_mime_addpart(request->mime);

	part->request = request;
	part->start = part->at = body->length;
	mktg_mail_lines(body, text, length);
	part->end = body->length;
	if (mimepart == NULL || body->failed)
		return false;
	return curl_mime_data_cb(mimepart, (curl_off_t) (part->end - part->start),
							 read_part, seek_part, NULL, part) == CURLE_OK &&
		curl_mime_type(mimepart, type) == CURLE_OK &&
		curl_mime_encoder(mimepart, mktg_mail_encoding(body->data + part->start,
													   part->end - part->start)) == CURLE_OK;
}

/* Header lines one by one, as libcurl takes them; a folded one stays whole. */
static bool
add_headers(MktgRequest *request, char *lines)
{
	char	   *start = lines;

	for (char *at = lines; (at = strstr(at, "\r\n")) != NULL;)
	{
		struct curl_slist *list;

		at += 2;
		if (*at == ' ')
			continue;
		at[-2] = '\0';
		list = curl_slist_append(request->headers, start);
		if (list == NULL)
			return false;
		request->headers = list;
		start = at;
	}
	return curl_easy_setopt(request->easy, CURLOPT_HTTPHEADER, request->headers) == CURLE_OK;
}

/* A message of two texts that say the same: multipart/alternative. */
static bool
build_alternative(MktgRequest *request)
{
	const MktgDelivery *delivery = request->deliveries[0];
	Scratch    *scratch = request->scratch;
	MktgBuffer	lines = {0};
	bool		ok;

	request->mime = curl_mime_init(request->easy);
	if (request->mime == NULL)
		return false;
	build_headers(&lines, delivery);
	mktg_buffer_puts(&lines, "Content-Type: multipart/alternative\r\n");
	scratch->parts[0].last = false;
	scratch->parts[1].last = true;
	ok = !lines.failed && add_headers(request, lines.data) &&
		add_part(request, &scratch->parts[0], "text/plain; charset=utf-8",
				 delivery->body, delivery->body_length) &&
		add_part(request, &scratch->parts[1], "text/html; charset=utf-8",
				 delivery->html, delivery->html_length) &&
		curl_easy_setopt(request->easy, CURLOPT_UPLOAD, 1L) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_MIMEPOST, request->mime) == CURLE_OK;
	mktg_buffer_free(&lines);
	return ok;
}

static bool
smtp_build(MktgRequest *request)
{
	MktgDelivery *delivery = request->deliveries[0];
	Scratch    *scratch = request->scratch;
	bool		ok;

	if (!mktg_mail_check(delivery))
		return false;
	scratch->begun = scratch->ended = scratch->all_read = false;
	scratch->replies = STAGE_BEGUN;
	scratch->code = 0;
	scratch->line[0] = '\0';
	snprintf(scratch->address, sizeof(scratch->address), "%s", delivery->address);
	request->body.limit = MAX_MESSAGE;

	if (curl_easy_setopt(request->easy, CURLOPT_MAIL_FROM, delivery->from_address) != CURLE_OK)
		ok = false;
	else if (delivery->html != NULL && delivery->body != NULL)
		ok = build_alternative(request);
	else if (delivery->html != NULL)
		ok = build_single(request, "text/html; charset=utf-8",
						  delivery->html, delivery->html_length);
	else
		ok = build_single(request, "text/plain; charset=utf-8",
						  delivery->body, delivery->body_length);

	if (!ok && request->body.failed)
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "the message is larger than %d bytes", MAX_MESSAGE);
	else if (!ok)
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_RETRY, "not sent: out of memory");
	return ok;
}

/* ---- classifying ---- */

/* Subject of an enhanced status code (RFC 3463), as in x.1.z; -1 if the line has none. */
static int
enhanced_subject(const char *line, int *detail)
{
	int			class;
	int			subject;

	if (strlen(line) > 4 && sscanf(line + 4, "%1d.%3d.%3d", &class, &subject, detail) == 3 &&
		class == line[0] - '0')
		return subject;
	return -1;
}

/* 5yz to RCPT, or to the text: is it the address that is bad? */
static bool
is_bad_address(Stage stage, int code, const char *line)
{
	int			detail = 0;
	int			subject = enhanced_subject(line, &detail);

	/* 5.1.7 and 5.1.8 are about the sender's address */
	if (subject >= 0)
		return subject == 1 && detail != 7 && detail != 8;
	return stage == STAGE_RCPT && (code == 550 || code == 551 || code == 553);
}

/* The server said no. */
static void
classify_refusal(const Scratch *scratch, Stage stage, MktgOutcome *outcome)
{
	int			code = scratch->code;
	MktgOutcomeKind kind = MKTG_OUTCOME_PERMANENT;

	if (code < 500)
		kind = MKTG_OUTCOME_RETRY;
	else if (code == 530 || code == 535 || stage == STAGE_BEGUN)
		kind = MKTG_OUTCOME_CONFIG;
	else if (stage == STAGE_MAIL && code != 552)
		kind = MKTG_OUTCOME_CONFIG; /* the sender's address, the same with every message */
	else if (stage >= STAGE_RCPT && is_bad_address(stage, code, scratch->line))
		kind = MKTG_OUTCOME_SUPPRESS;
	mktg_outcome_set(outcome, kind, "SMTP %s", scratch->line);
}

/* "250 2.0.0 Ok: queued as 3F2A" */
static void
take_queue_id(const char *line, MktgOutcome *outcome)
{
	static const char mark[] = "queued as ";
	const char *id = strcasestr(line, mark);
	size_t		length = 0;

	if (id == NULL)
		return;
	id += strlen(mark);
	while (length < sizeof(outcome->provider_id) - 1 &&
		   (isalnum((unsigned char) id[length]) || (id[length] != '\0' && strchr("-_.", id[length]))))
		length++;
	memcpy(outcome->provider_id, id, length);
	outcome->provider_id[length] = '\0';
}

/* No transaction began: connecting, TLS, greeting or authentication failed. */
static void
classify_connect(MktgRequest *request, MktgOutcome *outcome)
{
	const Scratch *scratch = request->scratch;

	if (scratch->code >= 400)
	{
		classify_refusal(scratch, STAGE_BEGUN, outcome);
		return;
	}
	request->status = 0;
	request->may_have_arrived = false;
	mktg_classify_http(request, outcome);
	/* what no attempt will mend is the server's options, not the message */
	if (outcome->kind == MKTG_OUTCOME_PERMANENT)
		outcome->kind = MKTG_OUTCOME_CONFIG;
}

static void
smtp_classify(MktgRequest *request)
{
	const Scratch *scratch = request->scratch;
	MktgOutcome *outcome = &request->deliveries[0]->outcome;
	Stage		stage = (Stage) scratch->replies;
	int			code = scratch->code;
	bool		accepted = stage == STAGE_DATA ? code == 354 : code >= 200 && code < 300;

	if (!scratch->begun)
		classify_connect(request, outcome);
	else if (stage >= STAGE_END && accepted)
	{
		outcome->kind = MKTG_OUTCOME_SENT;
		take_queue_id(scratch->line, outcome);
	}
	else if (stage > STAGE_BEGUN && code >= 400)
		classify_refusal(scratch, stage, outcome);
	else if (request->result == CURLE_OK || (stage >= STAGE_DATA && scratch->all_read))
		mktg_outcome_set(outcome, MKTG_OUTCOME_DOUBT, "no reply after the end of the message: %s",
						 curl_easy_strerror(request->result));
	else
		mktg_outcome_set(outcome, MKTG_OUTCOME_RETRY, "not sent: %s",
						 curl_easy_strerror(request->result));
}

const MktgDriver mktg_smtp_driver = {
	.name = "smtp",
	.options = options,
	.max_batch = 1,
	.mail = true,
	.blocking = true,
	.protocols = "smtp,smtps",
	.scratch_size = sizeof(Scratch),
	.open = smtp_open,
	.close = smtp_close,
	.prepare = smtp_prepare,
	.build = smtp_build,
	.classify = smtp_classify,
};
