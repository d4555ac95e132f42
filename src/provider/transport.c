/*-------------------------------------------------------------------------
 *
 * transport.c
 *		One curl_multi behind one epoll descriptor, and the way of a request
 *		from start to outcome.
 *
 * libcurl is only called from mktg_transport_drive(), with all signals blocked:
 * a thread that libcurl starts to resolve a name inherits the mask, and a
 * signal handler of the server must run in the main thread alone.
 *
 * libcurl asks for each socket to be watched while a transfer uses it and to
 * be left alone in between.  With connections that are used again at once,
 * doing so would cost two system calls a message, so a connection stays in the
 * epoll set with what it was last watched for, until it is closed, or shows an
 * event that nobody waits for.  Sockets libcurl makes for its own use (those
 * its resolver wakes it up with) are closed without a word and taken out.
 *
 * IDENTIFICATION
 *		src/provider/transport.c
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "provider/transport.h"

#define EVENTS_AT_ONCE		64
#define IDLE_CONNECTIONS	1024L	/* kept open over all providers; one that is closed was opened for one message */

/* What epoll and libcurl want of one descriptor; an array by descriptor. */
typedef struct Watch
{
	uint32_t	set;			/* events in the epoll set; 0 = not in it */
	uint32_t	wanted;			/* events libcurl waits for; 0 = none */
	bool		connection;		/* its closing will be told: it may stay in the set */
} Watch;

struct MktgTransport
{
	int			epoll_fd;
	CURLM	   *multi;
	int64_t		deadline;		/* when multi wants to be called, monotonic ms; -1 = never */
	Watch	   *watches;
	int			n_watches;
	int			open;			/* requests started and not yet taken from finished */
	MktgRequestQueue held;		/* wait for a token of their provider, not yet built */
	MktgRequestQueue starting;	/* for the next drive() to hand to libcurl */
	MktgRequestQueue finished;
	MktgRequest **running;		/* in multi; for destroy() */
	int			n_running;
	int			max_running;
	MktgThreads *threads;			/* NULL until a provider needs one */
};

static int	watch_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *unused);
static int	set_timer(CURLM *multi, long timeout_ms, void *data);
static void complete(MktgTransport *transport, MktgRequest *request, CURLcode result);

int64_t
mktg_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- life ---- */

static bool
create_multi(MktgTransport *transport)
{
	CURLM	   *multi = curl_multi_init();

	transport->multi = multi;
	return multi != NULL &&
		curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch_socket) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, transport) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_TIMERDATA, transport) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS) == CURLM_OK;
}

MktgTransport *
mktg_transport_create(void)
{
	static bool initialized = false;
	MktgTransport *transport;

	if (!initialized && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return NULL;
	initialized = true;

	transport = calloc(1, sizeof(MktgTransport));
	if (transport == NULL)
		return NULL;
	transport->deadline = -1;
	transport->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (transport->epoll_fd >= 0 && create_multi(transport))
		return transport;
	mktg_transport_destroy(transport);
	return NULL;
}

void
mktg_transport_destroy(MktgTransport *transport)
{
	MktgRequest *request;

	if (transport == NULL)
		return;
	mktg_threads_destroy(transport->threads);
	for (int i = 0; i < transport->n_running; i++)
	{
		(void) curl_multi_remove_handle(transport->multi, transport->running[i]->easy);
		mktg_request_put(transport->running[i]);
	}
	while ((request = mktg_queue_take(&transport->held)) != NULL ||
		   (request = mktg_queue_take(&transport->starting)) != NULL ||
		   (request = mktg_queue_take(&transport->finished)) != NULL)
		mktg_request_put(request);

	if (transport->multi != NULL)
		(void) curl_multi_cleanup(transport->multi);
	if (transport->epoll_fd >= 0)
		close(transport->epoll_fd);
	free(transport->running);
	free(transport->watches);
	free(transport);
}

/* ---- sockets ---- */

/* The watch of a descriptor; NULL if there was no memory. */
static Watch *
get_watch(MktgTransport *transport, int fd)
{
	if (fd >= transport->n_watches)
	{
		int			n = fd + 64;
		Watch	   *watches = realloc(transport->watches, (size_t) n * sizeof(Watch));

		if (watches == NULL)
			return NULL;
		memset(watches + transport->n_watches, 0,
			   (size_t) (n - transport->n_watches) * sizeof(Watch));
		transport->watches = watches;
		transport->n_watches = n;
	}
	return &transport->watches[fd];
}

/*
 * Brings the epoll set to "events" for a descriptor; 0 takes it out.  Where
 * the kernel has no memory for that, nothing is heard of the transfer until
 * libcurl's timers end it.
 */
static void
set_events(MktgTransport *transport, int fd, Watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};
	int			operation = watch->set == 0 ? EPOLL_CTL_ADD :
		events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
	int			result;

	if (watch->set == events)
		return;
	result = epoll_ctl(transport->epoll_fd, operation, fd, &event);
	/* a descriptor that was closed and opened again is not where the watch says */
	if (result != 0 && errno == ENOENT && events != 0)
		result = epoll_ctl(transport->epoll_fd, EPOLL_CTL_ADD, fd, &event);
	else if (result != 0 && errno == EEXIST)
		result = epoll_ctl(transport->epoll_fd, EPOLL_CTL_MOD, fd, &event);
	watch->set = result == 0 ? events : 0;
}

/* called by libcurl: what to watch a socket for; an error returned would kill the multi handle */
static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *unused)
{
	MktgTransport *transport = data;
	Watch	   *watch = get_watch(transport, fd);

	(void) easy;
	(void) unused;
	if (watch == NULL)
		return 0;
	if (what == CURL_POLL_REMOVE)
	{
		watch->wanted = 0;
		if (!watch->connection)
			set_events(transport, fd, watch, 0);
		return 0;
	}
	watch->wanted = ((what & CURL_POLL_IN) != 0 ? EPOLLIN : 0) |
		((what & CURL_POLL_OUT) != 0 ? EPOLLOUT : 0);
	set_events(transport, fd, watch, watch->wanted);
	return 0;
}

/* A connection's socket was opened; false if it cannot be kept track of. */
bool
mktg_transport_socket_opened(MktgTransport *transport, int fd)
{
	Watch	   *watch = get_watch(transport, fd);

	if (watch == NULL)
		return false;
	memset(watch, 0, sizeof(*watch));
	watch->connection = true;
	return true;
}

/* called by libcurl: closing takes the socket out of the epoll set */
int
mktg_transport_close_socket(void *data, curl_socket_t fd)
{
	MktgTransport *transport = data;

	if (fd < transport->n_watches)
		memset(&transport->watches[fd], 0, sizeof(Watch));
	return close(fd);
}

/* ---- timer ---- */

/* called by libcurl: when it wants to be called at the latest */
static int
set_timer(CURLM *multi, long timeout_ms, void *data)
{
	MktgTransport *transport = data;

	(void) multi;
	transport->deadline = timeout_ms < 0 ? -1 : mktg_now_ms() + timeout_ms;
	return 0;
}

int
mktg_transport_fd(const MktgTransport *transport)
{
	return transport->epoll_fd;
}

long
mktg_transport_timeout_ms(const MktgTransport *transport)
{
	int64_t		left;

	if (transport->starting.first != NULL || transport->finished.first != NULL)
		return 0;
	if (transport->deadline < 0)
		return -1;
	left = transport->deadline - mktg_now_ms();
	return left > 0 ? (long) left : 0;
}

int
mktg_transport_open_requests(const MktgTransport *transport)
{
	return transport->open;
}

/* ---- starting ---- */

static void
set_all(MktgDelivery **deliveries, int count, MktgOutcomeKind kind, const char *reason)
{
	for (int i = 0; i < count; i++)
		if (deliveries[i]->outcome.kind == MKTG_OUTCOME_NONE)
			mktg_outcome_set(&deliveries[i]->outcome, kind, "%s", reason);
}

MktgRequestQueue *
mktg_transport_held(MktgTransport *transport)
{
	return &transport->held;
}

void
mktg_transport_finish(MktgTransport *transport, MktgRequest *request)
{
	if (request->asks)
		mktg_authority_settle(transport, request);
	else
		mktg_queue_add(&transport->finished, request);
}

/* Nothing was sent, and the request comes out with that. */
static void
fail_unsent(MktgTransport *transport, MktgRequest *request, const char *reason)
{
	set_all(request->deliveries, request->count, MKTG_OUTCOME_RETRY, reason);
	mktg_transport_finish(transport, request);
}

void
mktg_transport_launch(MktgTransport *transport, MktgRequest *request)
{
	const MktgDriver *driver = request->provider->driver;

	if (!(request->asks ? driver->authorize : driver->build) (request))
		/* the driver has said why of each; this is for one that forgot */
		fail_unsent(transport, request, "not sent: the request could not be built");
	else if (!mktg_request_set_body(request))
		fail_unsent(transport, request, "not sent: out of memory");
	else
		mktg_queue_add(&transport->starting, request);
}

bool
mktg_transport_start(MktgTransport *transport, MktgProvider *provider,
					 MktgDelivery **deliveries, int count)
{
	const MktgDriver *driver = provider->driver;
	MktgRequest *request = mktg_request_get(transport, provider, deliveries, count);

	if (request == NULL)
	{
		for (int i = 0; i < count; i++)
			deliveries[i]->outcome.kind = MKTG_OUTCOME_NONE;
		set_all(deliveries, count, MKTG_OUTCOME_RETRY, "not sent: out of memory");
		return false;
	}
	transport->open++;

	if (driver->in_process)
	{
		for (int i = 0; i < count; i++)
			driver->deliver(provider, deliveries[i]);
		mktg_queue_add(&transport->finished, request);
	}
	else if (provider->authority != NULL)
		mktg_authority_launch(transport, request);
	else
		mktg_transport_launch(transport, request);
	return true;
}

/* Makes the set of threads and watches it. */
static bool
get_threads(MktgTransport *transport)
{
	struct epoll_event event = {.events = EPOLLIN};
	MktgThreads *threads;

	if (transport->threads != NULL)
		return true;
	threads = mktg_threads_create();
	if (threads == NULL)
		return false;
	event.data.fd = mktg_threads_fd(threads);
	if (epoll_ctl(transport->epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event) != 0)
	{
		mktg_threads_destroy(threads);
		return false;
	}
	transport->threads = threads;
	return true;
}

/* Hands one request to the multi handle and notes that it is there. */
static bool
add_to_multi(MktgTransport *transport, MktgRequest *request)
{
	if (transport->n_running == transport->max_running)
	{
		int			max = transport->max_running * 2 + 64;
		MktgRequest **running = realloc(transport->running, (size_t) max * sizeof(MktgRequest *));

		if (running == NULL)
			return false;
		transport->running = running;
		transport->max_running = max;
	}
	if (curl_multi_add_handle(transport->multi, request->easy) != CURLM_OK)
		return false;
	request->running_at = transport->n_running;
	transport->running[transport->n_running++] = request;
	return true;
}

static void
start_waiting(MktgTransport *transport)
{
	MktgRequest *request;

	while ((request = mktg_queue_take(&transport->starting)) != NULL)
	{
		bool		started;

		if (request->provider->driver->blocking)
			started = get_threads(transport) && mktg_threads_start(transport->threads, request);
		else
			started = add_to_multi(transport, request);
		if (!started)
			fail_unsent(transport, request, "not sent: the request could not be started");
	}
}

/* ---- driving ---- */

/* The reply, or the lack of it, is here: an outcome for everyone. */
static void
complete(MktgTransport *transport, MktgRequest *request, CURLcode result)
{
	mktg_request_done(request, result);
	if (!request->asks)
	{
		if (request->provider->authority != NULL && mktg_authority_again(transport, request))
			return;
		request->provider->driver->classify(request);
		set_all(request->deliveries, request->count, MKTG_OUTCOME_DOUBT,
				"the driver did not say what became of the message");
	}
	mktg_transport_finish(transport, request);
}

/* Takes a request out of the multi handle. */
static void
remove_from_multi(MktgTransport *transport, MktgRequest *request)
{
	MktgRequest *last = transport->running[--transport->n_running];

	(void) curl_multi_remove_handle(transport->multi, request->easy);
	transport->running[request->running_at] = last;
	last->running_at = request->running_at;
}

/* Takes what libcurl has finished. */
static void
take_finished(MktgTransport *transport)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(transport->multi, &left)) != NULL)
	{
		CURLcode	result = message->data.result;
		CURL	   *easy = message->easy_handle;
		char	   *private = NULL;
		MktgRequest *request;

		if (message->msg != CURLMSG_DONE ||
			curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private) != CURLE_OK)
			continue;
		request = (MktgRequest *) private;
		/* "message" is gone after this */
		remove_from_multi(transport, request);
		complete(transport, request, result);
	}
}

/* One event of the epoll set. */
static void
handle_event(MktgTransport *transport, const struct epoll_event *event)
{
	Watch	   *watch;
	int			fd = event->data.fd;
	int			mask = 0;
	int			running;

	if (transport->threads != NULL && fd == mktg_threads_fd(transport->threads))
		return;					/* drive() asks it anyway */

	watch = get_watch(transport, fd);
	if (watch == NULL)
		return;
	if (watch->wanted == 0)
	{
		/* an idle connection: libcurl sees what happened when it takes it up */
		set_events(transport, fd, watch, 0);
		return;
	}
	if ((event->events & EPOLLIN) != 0)
		mask |= CURL_CSELECT_IN;
	if ((event->events & EPOLLOUT) != 0)
		mask |= CURL_CSELECT_OUT;
	if ((event->events & (EPOLLERR | EPOLLHUP)) != 0)
		mask |= CURL_CSELECT_ERR;
	(void) curl_multi_socket_action(transport->multi, fd, mask, &running);
}

static void
handle_timer(MktgTransport *transport)
{
	int			running;

	/* libcurl sets it anew from inside the call */
	transport->deadline = -1;
	(void) curl_multi_socket_action(transport->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

void
mktg_transport_drive(MktgTransport *transport)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	MktgRequest *request;
	sigset_t	all;
	sigset_t	before;
	int			n;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);

	start_waiting(transport);
	n = epoll_wait(transport->epoll_fd, events, EVENTS_AT_ONCE, 0);
	for (int i = 0; i < n; i++)
		handle_event(transport, &events[i]);
	if (transport->deadline >= 0 && transport->deadline <= mktg_now_ms())
		handle_timer(transport);
	take_finished(transport);
	while (transport->threads != NULL &&
		   (request = mktg_threads_finished(transport->threads)) != NULL)
		complete(transport, request, request->result);

	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The request ends with what is known of it now. */
static void
cut_short(MktgTransport *transport, MktgRequest *request, CURLcode result)
{
	if (request->error[0] == '\0')
		snprintf(request->error, sizeof(request->error), "the sending process was told to end");
	complete(transport, request, result);
}

void
mktg_transport_abandon(MktgTransport *transport)
{
	MktgRequest *request;

	while (transport->n_running > 0)
	{
		request = transport->running[0];
		remove_from_multi(transport, request);
		cut_short(transport, request, CURLE_ABORTED_BY_CALLBACK);
	}
	while ((request = mktg_queue_take(&transport->starting)) != NULL ||
		   (request = mktg_queue_take(&transport->held)) != NULL)
		fail_unsent(transport, request, "not sent: the sending process was told to end");
	if (transport->threads == NULL)
		return;
	mktg_threads_stop(transport->threads);
	while ((request = mktg_threads_finished(transport->threads)) != NULL)
		cut_short(transport, request, request->result);
	while ((request = mktg_threads_unbegun(transport->threads)) != NULL)
		fail_unsent(transport, request, "not sent: the sending process was told to end");
}

int
mktg_transport_finished(MktgTransport *transport, MktgDelivery **done)
{
	MktgRequest *request = mktg_queue_take(&transport->finished);
	int			count;

	if (request == NULL)
		return 0;
	count = request->count;
	memcpy(done, request->deliveries, (size_t) count * sizeof(MktgDelivery *));
	mktg_request_put(request);
	transport->open--;
	return count;
}
