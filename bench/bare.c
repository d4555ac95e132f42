/*-------------------------------------------------------------------------
 *
 * bare.c
 *		What libcurl does without a database, and a listener that tells when
 *		requests arrive: the references of bench/delivery.sh.
 *
 *	bare http URL MESSAGES CONNECTIONS BYTES			curl_multi behind epoll, POST
 *	bare http2 URL MESSAGES STREAMS BYTES CA_FILE	the same, over HTTP/2 with TLS
 *	bare smtp URL MESSAGES CONNECTIONS BYTES			a thread a connection
 *	bare listen PORT MESSAGES							prints each request's arrival
 *
 * The loops print messages a second and microseconds of processor a message.
 * SMTP takes threads because libcurl waits inside that protocol, also under
 * curl_multi, which would make the reference slower than it need be.  A mail
 * has two texts, and libcurl writes its MIME structure.
 *
 * IDENTIFICATION
 *		bench/bare.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS	1024

static const char *url;
static long messages;
static int	connections;
static size_t body_size;
static char *body;
static const char *ca_file;		/* NULL: HTTP/1.1 */

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static double
seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static size_t
swallow(char *bytes, size_t size, size_t n, void *data)
{
	(void) bytes;
	(void) data;
	return size * n;
}

static void
report(double started)
{
	double		took = seconds(CLOCK_MONOTONIC) - started;

	printf("%.0f %.1f\n", (double) messages / took,
		   seconds(CLOCK_PROCESS_CPUTIME_ID) / (double) messages * 1e6);
}

/* ---- http ---- */

static int	epoll_fd;
static double deadline = -1;

static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *known)
{
	struct epoll_event event = {.data.fd = fd};

	(void) easy;
	event.events = ((what & CURL_POLL_IN) != 0 ? EPOLLIN : 0) |
		((what & CURL_POLL_OUT) != 0 ? EPOLLOUT : 0);
	if (what == CURL_POLL_REMOVE)
		(void) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, &event);
	else
	{
		(void) epoll_ctl(epoll_fd, known == NULL ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
		(void) curl_multi_assign(data, fd, &epoll_fd);
	}
	return 0;
}

static int
set_timer(CURLM *multi, long timeout_ms, void *data)
{
	(void) multi;
	(void) data;
	deadline = timeout_ms < 0 ? -1 : seconds(CLOCK_MONOTONIC) + (double) timeout_ms / 1e3;
	return 0;
}

static CURL *
new_post(void)
{
	static struct curl_slist *headers = NULL;
	CURL	   *easy = curl_easy_init();

	if (headers == NULL)
	{
		headers = curl_slist_append(headers, "Content-Type: application/json");
		headers = curl_slist_append(headers, "Expect:");
	}
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long) body_size);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, swallow);
	if (ca_file != NULL)
	{
		curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
		curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);
		curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
	}
	return easy;
}

/* Gives every finished handle its next message; the number that finished. */
static long
take_finished(CURLM *multi, long *left)
{
	CURLMsg    *message;
	int			queued;
	long		done = 0;
	long		status;

	while ((message = curl_multi_info_read(multi, &queued)) != NULL)
	{
		CURL	   *easy = message->easy_handle;

		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
		if (message->data.result != CURLE_OK || status != 200)
		{
			fprintf(stderr, "%s, status %ld\n", curl_easy_strerror(message->data.result), status);
			exit(1);
		}
		done++;
		curl_multi_remove_handle(multi, easy);
		if ((*left)-- > 0)
			curl_multi_add_handle(multi, easy);
		else
			curl_easy_cleanup(easy);
	}
	return done;
}

static void
run_http(void)
{
	CURLM	   *multi = curl_multi_init();
	double		started = seconds(CLOCK_MONOTONIC);
	long		left = messages - connections;
	long		done = 0;
	int			running;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, multi);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) connections);
	for (int i = 0; i < connections; i++)
		curl_multi_add_handle(multi, new_post());
	while (done < messages)
	{
		struct epoll_event events[64];
		double		wait = deadline < 0 ? 1 : deadline - seconds(CLOCK_MONOTONIC);
		int			n = epoll_wait(epoll_fd, events, 64, wait <= 0 ? 0 : (int) (wait * 1e3) + 1);

		for (int i = 0; i < n; i++)
			curl_multi_socket_action(multi, events[i].data.fd,
									 ((events[i].events & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
									 ((events[i].events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
									 ((events[i].events & (EPOLLERR | EPOLLHUP)) != 0 ? CURL_CSELECT_ERR : 0),
									 &running);
		if (deadline >= 0 && deadline <= seconds(CLOCK_MONOTONIC))
		{
			deadline = -1;
			curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
		}
		done += take_finished(multi, &left);
	}
	report(started);
	curl_multi_cleanup(multi);
}

/* ---- smtp ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long started_mails = 0;

static void
add_text(curl_mime *mime, const char *type, const char *text, size_t length)
{
	curl_mimepart *part = curl_mime_addpart(mime);

	curl_mime_data(part, text, length);
	curl_mime_type(part, type);
	curl_mime_encoder(part, "7bit");
}

static void
send_mail(CURL *easy)
{
	static const char *const lines[] = {
		"From: <shop@example.com>", "To: <customer@example.com>", "Subject: News",
		"Date: Wed, 01 Jan 2025 00:00:00 +0000", "Message-ID: <1@example.com>",
		"MIME-Version: 1.0", "Content-Type: multipart/alternative"
	};
	struct curl_slist *headers = NULL;
	curl_mime  *mime = curl_mime_init(easy);
	CURLcode	result;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		headers = curl_slist_append(headers, lines[i]);
	add_text(mime, "text/plain; charset=utf-8", body, body_size / 2);
	add_text(mime, "text/html; charset=utf-8", body + body_size / 2, body_size - body_size / 2);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_MIMEPOST, mime);
	result = curl_easy_perform(easy);
	if (result != CURLE_OK)
	{
		fprintf(stderr, "%s\n", curl_easy_strerror(result));
		exit(1);
	}
	curl_easy_setopt(easy, CURLOPT_MIMEPOST, NULL);
	curl_mime_free(mime);
	curl_slist_free_all(headers);
}

static void *
mail_thread(void *data)
{
	CURL	   *easy = curl_easy_init();
	struct curl_slist *to = curl_slist_append(NULL, "<customer@example.com>");

	(void) data;
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_MAIL_FROM, "<shop@example.com>");
	curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, to);
	curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
	for (;;)
	{
		bool		more;

		pthread_mutex_lock(&lock);
		more = started_mails++ < messages;
		pthread_mutex_unlock(&lock);
		if (!more)
			break;
		send_mail(easy);
	}
	curl_easy_cleanup(easy);
	curl_slist_free_all(to);
	return NULL;
}

static void
run_smtp(void)
{
	pthread_t	threads[MAX_CONNECTIONS];
	double		started = seconds(CLOCK_MONOTONIC);

	for (int i = 0; i < connections; i++)
		if (pthread_create(&threads[i], NULL, mail_thread, NULL) != 0)
			fail("pthread_create");
	for (int i = 0; i < connections; i++)
		pthread_join(threads[i], NULL);
	report(started);
}

/* ---- listen ---- */

/* Reads one request; false when the client has closed. */
static bool
read_request(int fd)
{
	static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	char		bytes[16384];
	size_t		length = 0;

	for (;;)
	{
		ssize_t		n = read(fd, bytes + length, sizeof(bytes) - 1 - length);
		char	   *end;
		char	   *size;

		if (n <= 0)
			return false;
		if (length == 0)
			printf("%.6f\n", seconds(CLOCK_REALTIME));
		length += (size_t) n;
		bytes[length] = '\0';
		end = strstr(bytes, "\r\n\r\n");
		size = strcasestr(bytes, "\r\nContent-Length:");
		if (end != NULL && size != NULL &&
			length >= (size_t) (end + 4 - bytes) + strtoul(size + 17, NULL, 10))
			break;
	}
	return write(fd, reply, sizeof(reply) - 1) > 0;
}

/* One connection after another: the messages come one at a time. */
static void
run_listen(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};
	int			listener = socket(AF_INET, SOCK_STREAM, 0);
	int			one = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	(void) setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (listener < 0 || bind(listener, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		listen(listener, 16) != 0)
		fail("listen");
	while (messages > 0)
	{
		int			fd = accept(listener, NULL, NULL);

		if (fd < 0)
			fail("accept");
		(void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		while (messages > 0 && read_request(fd))
			messages--;
		close(fd);
	}
}

int
main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "listen") == 0)
	{
		setvbuf(stdout, NULL, _IOLBF, 0);
		messages = atol(argv[3]);
		run_listen(atoi(argv[2]));
		return 0;
	}
	if (argc == 7 && strcmp(argv[1], "http2") == 0)
		ca_file = argv[6];
	if ((argc != 6 && ca_file == NULL) || atoi(argv[4]) < 1 || atoi(argv[4]) > MAX_CONNECTIONS || atol(argv[3]) < atol(argv[4]))
	{
		fprintf(stderr, "usage: bare http|smtp URL MESSAGES CONNECTIONS BYTES, bare http2 URL MESSAGES STREAMS BYTES CA_FILE,"
				" or bare listen PORT MESSAGES\n");
		return 2;
	}
	url = argv[2];
	messages = atol(argv[3]);
	connections = atoi(argv[4]);
	body_size = (size_t) atol(argv[5]);
	body = malloc(body_size + 3);
	memset(body, 'x', body_size);
	/* lines, as in a mail */
	for (size_t i = 60; i + 2 < body_size; i += 62)
		memcpy(body + i, "\r\n", 2);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	if (strncmp(argv[1], "http", 4) == 0)
		run_http();
	else
		run_smtp();
	return 0;
}
