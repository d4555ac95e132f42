/*-------------------------------------------------------------------------
 *
 * request.c
 *		Requests: a libcurl easy handle, what it carries, what comes back.
 *
 * A request and its handle belong to one provider and are used again and
 * again.  What never changes is set when the handle is made; a message sets
 * little more than its body.
 *
 * libcurl repeats a request by itself when a connection that it used again
 * turns out to be closed; the server may have read the request before it
 * closed.  So a request whose body has begun to leave is not begun a second
 * time where on_doubt is "hold": its body goes through a read callback, and
 * neither rewinding (no seek callback) nor starting over (before_request) is
 * possible.  Where a repetition does no harm libcurl is given the body itself,
 * which then leaves with the header in one piece: one system call less on
 * either side.
 *
 * Requests that an HTTP/2 server says it has not looked at may go again
 * wherever they are: http2.c finds out.
 *
 * IDENTIFICATION
 *		src/provider/request.c
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "provider/transport.h"

#ifndef MKTG_VERSION
#define MKTG_VERSION	"test"
#endif

#define IDLE_SECONDS		30L	/* a connection that was idle longer is not used again */
#define LIFETIME_SECONDS	300L	/* nor one this old: names move */
#define KEPT_BODY			(256 * 1024)	/* memory an idle request may keep */

#define SET(request, option, value) \
	(curl_easy_setopt((request)->easy, (option), (value)) == CURLE_OK)

static size_t read_body(char *out, size_t size, size_t n, void *data);
static int	seek_body(void *data, curl_off_t offset, int origin);
static size_t take_reply(char *bytes, size_t size, size_t n, void *data);
static size_t take_header(char *line, size_t size, size_t n, void *data);
static int	before_request(void *data, char *ip, char *local_ip, int port, int local_port);
static curl_socket_t open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address);
static int	close_socket(void *data, curl_socket_t fd);

/* ---- queue ---- */

void
mktg_queue_add(MktgRequestQueue *queue, MktgRequest *request)
{
	request->next = NULL;
	if (queue->last != NULL)
		queue->last->next = request;
	else
		queue->first = request;
	queue->last = request;
}

MktgRequest *
mktg_queue_take(MktgRequestQueue *queue)
{
	MktgRequest *request = queue->first;

	if (request == NULL)
		return NULL;
	queue->first = request->next;
	if (queue->first == NULL)
		queue->last = NULL;
	request->next = NULL;
	return request;
}

/* ---- making ---- */

/* What every handle has. */
static bool
set_common_options(MktgRequest *request)
{
	const MktgProvider *provider = request->provider;

	return SET(request, CURLOPT_NOSIGNAL, 1L) &&
		SET(request, CURLOPT_QUICK_EXIT, 1L) &&
		SET(request, CURLOPT_TIMEOUT_MS, provider->timeout_ms) &&
		SET(request, CURLOPT_CONNECTTIMEOUT_MS, provider->connect_timeout_ms) &&
		SET(request, CURLOPT_PROTOCOLS_STR, provider->driver->protocols) &&
		SET(request, CURLOPT_FOLLOWLOCATION, 0L) &&
		SET(request, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L) &&
		/* empty strings: the environment is not asked */
		SET(request, CURLOPT_PROXY, provider->proxy != NULL ? provider->proxy : "") &&
		SET(request, CURLOPT_NOPROXY, "") &&
		SET(request, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) &&
		SET(request, CURLOPT_SSL_VERIFYPEER, 1L) &&
		SET(request, CURLOPT_SSL_VERIFYHOST, 2L) &&
		SET(request, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2) &&
		(provider->ca_file == NULL || SET(request, CURLOPT_CAINFO, provider->ca_file)) &&
		SET(request, CURLOPT_MAXAGE_CONN, IDLE_SECONDS) &&
		SET(request, CURLOPT_MAXLIFETIME_CONN, LIFETIME_SECONDS) &&
		SET(request, CURLOPT_TCP_NODELAY, 1L) &&
		/* agreed on in the TLS handshake; until then the others wait to join */
		SET(request, CURLOPT_HTTP_VERSION,
			(long) (provider->http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1)) &&
		SET(request, CURLOPT_PIPEWAIT, provider->http2 ? 1L : 0L) &&
		SET(request, CURLOPT_USERAGENT, "mktg/" MKTG_VERSION) &&
		SET(request, CURLOPT_PRIVATE, request) &&
		SET(request, CURLOPT_ERRORBUFFER, request->error);
}

static bool
set_callbacks(MktgRequest *request)
{
	return SET(request, CURLOPT_READFUNCTION, read_body) &&
		SET(request, CURLOPT_READDATA, request) &&
		SET(request, CURLOPT_SEEKDATA, request) &&
		SET(request, CURLOPT_WRITEFUNCTION, take_reply) &&
		SET(request, CURLOPT_WRITEDATA, request) &&
		SET(request, CURLOPT_HEADERFUNCTION, take_header) &&
		SET(request, CURLOPT_HEADERDATA, request) &&
		SET(request, CURLOPT_PREREQFUNCTION, before_request) &&
		SET(request, CURLOPT_PREREQDATA, request) &&
		SET(request, CURLOPT_OPENSOCKETFUNCTION, open_socket) &&
		SET(request, CURLOPT_OPENSOCKETDATA, request) &&
		SET(request, CURLOPT_CLOSESOCKETFUNCTION, close_socket) &&
		SET(request, CURLOPT_CLOSESOCKETDATA, request->transport);
}

static void
request_free(MktgRequest *request)
{
	/* libcurl would say goodbye and wait for the answer */
	mktg_threads_hang_up(request);
	curl_easy_cleanup(request->easy);
	mktg_buffer_free(&request->body);
	mktg_buffer_free(&request->reply);
	free(request->deliveries);
	free(request->scratch);
	free(request);
}

static MktgRequest *
request_new(MktgTransport *transport, MktgProvider *provider)
{
	const MktgDriver *driver = provider->driver;
	MktgRequest *request = calloc(1, sizeof(MktgRequest));

	if (request == NULL)
		return NULL;
	request->provider = provider;
	request->transport = transport;
	request->socket = CURL_SOCKET_BAD;
	request->reply.limit = MKTG_REPLY_LIMIT;
	request->deliveries = calloc((size_t) driver->max_batch, sizeof(MktgDelivery *));
	/* one byte more: calloc(0) may give NULL */
	request->scratch = calloc(1, driver->scratch_size + 1);
	if (!driver->in_process)
		request->easy = curl_easy_init();

	if (request->deliveries != NULL && request->scratch != NULL &&
		(driver->in_process ||
		 (request->easy != NULL &&
		  set_common_options(request) && set_callbacks(request) &&
		  (!driver->blocking || mktg_threads_prepare(request)) &&
		  (!provider->http2 || mktg_http2_prepare(request)) &&
		  (driver->prepare == NULL || driver->prepare(request)))))
		return request;
	request_free(request);
	return NULL;
}

/* ---- using ---- */

static void
load(MktgRequest *request, MktgDelivery **deliveries, int count)
{
	request->next = NULL;
	request->count = count;
	memcpy(request->deliveries, deliveries, (size_t) count * sizeof(MktgDelivery *));
	request->hold = false;
	for (int i = 0; i < count; i++)
	{
		memset(&deliveries[i]->outcome, 0, sizeof(MktgOutcome));
		request->hold |= deliveries[i]->hold;
	}
}

MktgRequest *
mktg_request_get(MktgTransport *transport, MktgProvider *provider,
				 MktgDelivery **deliveries, int count)
{
	MktgRequest *request = provider->idle;

	if (request != NULL)
		provider->idle = request->next;
	else
		request = request_new(transport, provider);
	if (request == NULL)
		return NULL;

	if (request->transport != transport && request->easy != NULL && !provider->driver->blocking)
		(void) SET(request, CURLOPT_CLOSESOCKETDATA, transport);
	request->transport = transport;
	load(request, deliveries, count);
	provider->open_requests++;
	return request;
}

MktgRequest *
mktg_request_asking(MktgTransport *transport, MktgProvider *provider, MktgDelivery *delivery)
{
	MktgRequest *request = request_new(transport, provider);

	if (request == NULL)
		return NULL;
	request->asks = true;
	load(request, &delivery, 1);
	return request;
}

/*
 * With its size known libcurl sends Content-Length in place of chunks.  A MIME
 * structure brings its own size, and body then only holds the texts.
 */
static bool
set_body(MktgRequest *request)
{
	curl_off_t	size = (curl_off_t) request->body.length;

	if (request->body.failed)
		return false;
	if (request->mime != NULL || size == 0)
		return true;
	/* mail is not posted: its driver hands it out */
	if (!request->provider->driver->blocking &&
		!SET(request, CURLOPT_POSTFIELDS, request->hold ? NULL : request->body.data))
		return false;
	return SET(request, CURLOPT_POSTFIELDSIZE_LARGE, size) &&
		SET(request, CURLOPT_INFILESIZE_LARGE, size) &&
		SET(request, CURLOPT_SEEKFUNCTION, request->hold && !request->provider->http2 ? NULL : seek_body);
}

static void
set_all(MktgRequest *request, MktgOutcomeKind kind, const char *reason)
{
	for (int i = 0; i < request->count; i++)
		if (request->deliveries[i]->outcome.kind == MKTG_OUTCOME_NONE)
			mktg_outcome_set(&request->deliveries[i]->outcome, kind, "%s", reason);
}

void
mktg_request_unsent(MktgRequest *request, const char *reason)
{
	set_all(request, MKTG_OUTCOME_RETRY, reason);
}

bool
mktg_request_build(MktgRequest *request)
{
	const MktgDriver *driver = request->provider->driver;

	if (!(request->asks ? driver->authorize : driver->build) (request))
		/* the driver has said why of each; this is for one that forgot */
		mktg_request_unsent(request, "not sent: the request could not be built");
	else if (!set_body(request))
		mktg_request_unsent(request, "not sent: out of memory");
	else
		return true;
	return false;
}

void
mktg_request_cut_short(MktgRequest *request)
{
	if (request->error[0] == '\0')
		snprintf(request->error, sizeof(request->error), "the sending process was told to end");
}

void
mktg_request_done(MktgRequest *request, CURLcode result)
{
	long		sent = 0;

	request->result = result;
	if (curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &request->status) != CURLE_OK)
		request->status = 0;
	/* what cannot be known may have arrived; what went before it began was for a proxy */
	if (curl_easy_getinfo(request->easy, CURLINFO_REQUEST_SIZE, &sent) != CURLE_OK)
		sent = 1;
	request->may_have_arrived = request->begun && sent > 0 && !request->refused;
}

void
mktg_request_classify(MktgRequest *request)
{
	request->provider->driver->classify(request);
	set_all(request, MKTG_OUTCOME_DOUBT, "the driver did not say what became of the message");
}

static void
clear_buffer(MktgBuffer *buffer)
{
	if (buffer->capacity > KEPT_BODY)
	{
		size_t		limit = buffer->limit;

		mktg_buffer_free(buffer);
		buffer->limit = limit;
	}
	else
		mktg_buffer_clear(buffer);
}

/*
 * What the driver hung on the handle goes; setting an option to NULL has no
 * way to fail.
 */
void
mktg_request_clear(MktgRequest *request)
{
	if (request->headers != NULL)
	{
		(void) SET(request, CURLOPT_HTTPHEADER, NULL);
		curl_slist_free_all(request->headers);
		request->headers = NULL;
	}
	if (request->recipients != NULL)
	{
		(void) SET(request, CURLOPT_MAIL_RCPT, NULL);
		curl_slist_free_all(request->recipients);
		request->recipients = NULL;
	}
	if (request->mime != NULL)
	{
		(void) SET(request, CURLOPT_MIMEPOST, NULL);
		curl_mime_free(request->mime);
		request->mime = NULL;
	}
	if (request->body.length > 0 && !request->provider->driver->blocking)
		(void) SET(request, CURLOPT_POSTFIELDS, NULL);
	clear_buffer(&request->body);
	clear_buffer(&request->reply);
	request->body_sent = 0;
	request->begun = false;
	request->connection = 0;
	request->stream = 0;
	request->refused = false;
	request->header_bytes = 0;
	request->reply_too_long = false;
	request->refused_address = false;
	request->retry_after[0] = '\0';
	request->error[0] = '\0';
	request->result = CURLE_OK;
	request->status = 0;
	request->may_have_arrived = false;
}

void
mktg_request_put(MktgRequest *request)
{
	MktgProvider *provider = request->provider;

	mktg_request_clear(request);
	if (request->asks)
	{
		__atomic_sub_fetch(&provider->authority->out, 1, __ATOMIC_SEQ_CST);
		request_free(request);
		return;
	}
	request->asked_again = false;
	request->count = 0;

	provider->open_requests--;
	if (request->hung_up)
	{
		request_free(request);
		return;
	}
	request->next = provider->idle;
	provider->idle = request;
}

void
mktg_requests_free(MktgRequest *list)
{
	while (list != NULL)
	{
		MktgRequest *next = list->next;

		request_free(list);
		list = next;
	}
}

/* ---- callbacks ---- */

static size_t
read_body(char *out, size_t size, size_t n, void *data)
{
	MktgRequest *request = data;
	size_t		left = request->body.length - request->body_sent;
	size_t		take = size * n < left ? size * n : left;

	if (take > 0)
		memcpy(out, request->body.data + request->body_sent, take);
	request->body_sent += take;
	return take;
}

/* May a request that has begun to leave begin again? */
static bool
may_repeat(const MktgRequest *request)
{
	return !request->hold || request->refused || request->body_sent == 0;
}

static int
seek_body(void *data, curl_off_t offset, int origin)
{
	MktgRequest *request = data;

	if (!may_repeat(request) || origin != SEEK_SET || offset < 0 || (size_t) offset > request->body.length)
		return CURL_SEEKFUNC_FAIL;
	request->body_sent = (size_t) offset;
	return CURL_SEEKFUNC_OK;
}

/* More than the limit ends the transfer; the status has come by then. */
static size_t
take_reply(char *bytes, size_t size, size_t n, void *data)
{
	MktgRequest *request = data;

	if (request->reply.length + size * n > MKTG_REPLY_LIMIT)
	{
		request->reply_too_long = true;
		return 0;
	}
	mktg_buffer_add(&request->reply, bytes, size * n);
	return request->reply.failed ? 0 : size * n;
}

/* Only one header is asked for; libcurl keeps them all, so they are limited too. */
static size_t
take_header(char *line, size_t size, size_t n, void *data)
{
	static const char name[] = "retry-after:";
	MktgRequest *request = data;
	size_t		length = size * n;
	size_t		start = sizeof(name) - 1;

	request->header_bytes += length;
	if (request->header_bytes > MKTG_REPLY_LIMIT)
	{
		request->reply_too_long = true;
		return 0;
	}
	if (length <= start || strncasecmp(line, name, start) != 0)
		return length;
	while (start < length && (line[start] == ' ' || line[start] == '\t'))
		start++;
	while (length > start && (unsigned char) line[length - 1] <= ' ')
		length--;
	if (length - start < sizeof(request->retry_after))
	{
		memcpy(request->retry_after, line + start, length - start);
		request->retry_after[length - start] = '\0';
	}
	return size * n;
}

/* the address libcurl shows as text, as the policy wants it */
static bool
text_address_allowed(MktgRequest *request, const char *ip)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, ip, &in.sin_addr) == 1)
		return request->provider->driver->allow(request, (struct sockaddr *) &in);
	if (inet_pton(AF_INET6, ip, &in6.sin6_addr) == 1)
		return request->provider->driver->allow(request, (struct sockaddr *) &in6);
	return false;
}

/*
 * The connection stands and the request is about to go.  It may be one that
 * another provider opened under another policy; and it may be the second try
 * of a request that had already begun to leave.  Behind a proxy the address
 * is the proxy's, which the operator chose.
 */
static int
before_request(void *data, char *ip, char *local_ip, int port, int local_port)
{
	MktgRequest *request = data;

	if (request->begun && !may_repeat(request))
		return CURL_PREREQFUNC_ABORT;
	if (request->provider->driver->allow != NULL && request->provider->proxy == NULL &&
		!text_address_allowed(request, ip))
	{
		request->refused_address = true;
		return CURL_PREREQFUNC_ABORT;
	}
	request->begun = true;
	request->refused = false;
	request->body_sent = 0;
	if (request->provider->http2)
		mktg_http2_begins(request, ip, local_ip, port, local_port);
	return CURL_PREREQFUNC_OK;
}

static curl_socket_t
open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
	MktgRequest *request = data;
	bool		(*allow) (const MktgRequest *, const struct sockaddr *) = request->provider->driver->allow;
	int			fd;

	(void) purpose;
	if (allow != NULL && request->provider->proxy == NULL && !allow(request, &address->addr))
	{
		request->refused_address = true;
		return CURL_SOCKET_BAD;
	}
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	if (fd >= 0 && !mktg_network_socket_opened(request->transport->network, fd))
	{
		close(fd);
		fd = CURL_SOCKET_BAD;
	}
	return fd;
}

/* A connection may outlive the request that opened it, so this is the transport's. */
static int
close_socket(void *data, curl_socket_t fd)
{
	MktgTransport *transport = data;

	mktg_network_socket_closed(transport->network, fd);
	return close(fd);
}
