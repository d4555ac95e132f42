/*-------------------------------------------------------------------------
 *
 * network.c
 *		A thread that drives one curl_multi behind one epoll descriptor.
 *
 * What libcurl and the kernel do for a message takes about as long as leasing
 * and recording it, and so is done beside that.  The thread begins requests,
 * has them built and classified by their drivers, and touches nothing of
 * PostgreSQL's.  It starts with all signals blocked, and so do the threads in
 * which libcurl resolves names.
 *
 * libcurl asks for each socket to be watched while a transfer uses it and to
 * be left alone in between.  With connections that are used again at once,
 * doing so would cost two system calls a message, so a connection stays in the
 * epoll set with what it was last watched for, until it is closed, or shows an
 * event that nobody waits for.  Sockets libcurl makes for its own use (those
 * its resolver wakes it up with) are closed without a word and taken out.
 *
 * IDENTIFICATION
 *		src/provider/network.c
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "provider/transport.h"

#define EVENTS_AT_ONCE		256
#define IDLE_CONNECTIONS	1024L	/* kept open over all providers; one that is closed was opened for one message */

#define MOST_CONNECTIONS	4096L
#define FILES_WANTED		(3 * MOST_CONNECTIONS)

/* What epoll and libcurl want of one descriptor; an array by descriptor. */
typedef struct Watch
{
	uint32_t	set;			/* events in the epoll set; 0 = not in it */
	uint32_t	wanted;			/* events libcurl waits for; 0 = none */
	bool		connection;		/* its closing will be told: it may stay in the set */
} Watch;

struct MktgNetwork
{
	MktgTransport *transport;
	pthread_t	thread;
	bool		running;		/* the caller's alone */
	int			wake_fd;		/* eventfd: written when "incoming" is no longer empty, or to stop */

	pthread_mutex_t lock;		/* guards the next two */
	MktgRequestQueue incoming;
	bool		stop;

	/* the thread's alone, once it runs */
	int			epoll_fd;
	CURLM	   *multi;
	int64_t		deadline;		/* when multi wants to be called, monotonic ms; -1 = never */
	Watch	   *watches;
	int			n_watches;
	MktgRequest **requests;		/* in multi */
	int			n_requests;
	int			max_requests;
	MktgRequestQueue held;		/* wait for a token of their provider, not yet built */
	MktgRequestQueue done;		/* not yet handed back */
};

static void *network_main(void *data);
static int	watch_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *unused);
static int	set_timer(CURLM *multi, long timeout_ms, void *data);

/* ---- life ---- */

/*
 * Connections there may be: half of the files the process may have open, for
 * the database wants the rest.  Where there may be more than there are, they
 * are asked for.  Requests beyond that wait inside libcurl.
 */
static long
most_connections(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 100;
	if (limit.rlim_cur < FILES_WANTED && limit.rlim_cur < limit.rlim_max)
	{
		struct rlimit more = limit;

		more.rlim_cur = limit.rlim_max < FILES_WANTED ? limit.rlim_max : FILES_WANTED;
		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			limit = more;
	}
	return limit.rlim_cur < 2 * MOST_CONNECTIONS ? (long) limit.rlim_cur / 2 : MOST_CONNECTIONS;
}

static bool
create_multi(MktgNetwork *network)
{
	long		most = most_connections();
	CURLM	   *multi = curl_multi_init();

	network->multi = multi;
	return multi != NULL &&
		curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch_socket) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, network) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_TIMERDATA, network) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long) CURLPIPE_MULTIPLEX) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, most) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, most < IDLE_CONNECTIONS ? most : IDLE_CONNECTIONS) == CURLM_OK;
}

/* Watches for requests that come in.  Edge-triggered, it need not be read. */
static bool
watch_incoming(MktgNetwork *network)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};

	network->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	event.data.fd = network->wake_fd;
	return network->wake_fd >= 0 &&
		epoll_ctl(network->epoll_fd, EPOLL_CTL_ADD, network->wake_fd, &event) == 0;
}

MktgNetwork *
mktg_network_create(MktgTransport *transport)
{
	MktgNetwork *network = calloc(1, sizeof(MktgNetwork));

	if (network == NULL)
		return NULL;
	network->transport = transport;
	network->deadline = -1;
	network->wake_fd = -1;
	pthread_mutex_init(&network->lock, NULL);
	network->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (network->epoll_fd >= 0 && watch_incoming(network) && create_multi(network) &&
		mktg_thread_create(&network->thread, network_main, network))
	{
		network->running = true;
		return network;
	}
	mktg_network_destroy(network);
	return NULL;
}

void
mktg_network_destroy(MktgNetwork *network)
{
	if (network == NULL)
		return;
	mktg_network_stop(network);
	if (network->multi != NULL)
		(void) curl_multi_cleanup(network->multi);
	if (network->wake_fd >= 0)
		close(network->wake_fd);
	if (network->epoll_fd >= 0)
		close(network->epoll_fd);
	pthread_mutex_destroy(&network->lock);
	free(network->requests);
	free(network->watches);
	free(network);
}

void
mktg_network_start(MktgNetwork *network, MktgRequestQueue *requests)
{
	MktgRequest *request;
	bool		wake;

	pthread_mutex_lock(&network->lock);
	wake = network->incoming.first == NULL && requests->first != NULL;
	while ((request = mktg_queue_take(requests)) != NULL)
		mktg_queue_add(&network->incoming, request);
	pthread_mutex_unlock(&network->lock);
	if (wake)
		(void) eventfd_write(network->wake_fd, 1);
}

void
mktg_network_stop(MktgNetwork *network)
{
	if (network == NULL || !network->running)
		return;
	pthread_mutex_lock(&network->lock);
	network->stop = true;
	pthread_mutex_unlock(&network->lock);
	(void) eventfd_write(network->wake_fd, 1);
	pthread_join(network->thread, NULL);
	network->running = false;
}

/* ---- sockets ---- */

/* The watch of a descriptor; NULL if there was no memory. */
static Watch *
get_watch(MktgNetwork *network, int fd)
{
	if (fd >= network->n_watches)
	{
		int			n = fd + 64;
		Watch	   *watches = realloc(network->watches, (size_t) n * sizeof(Watch));

		if (watches == NULL)
			return NULL;
		memset(watches + network->n_watches, 0,
			   (size_t) (n - network->n_watches) * sizeof(Watch));
		network->watches = watches;
		network->n_watches = n;
	}
	return &network->watches[fd];
}

/*
 * Brings the epoll set to "events" for a descriptor; 0 takes it out.  Where
 * the kernel has no memory for that, nothing is heard of the transfer until
 * libcurl's timers end it.
 */
static void
set_events(MktgNetwork *network, int fd, Watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};
	int			operation = watch->set == 0 ? EPOLL_CTL_ADD :
		events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
	int			result;

	if (watch->set == events)
		return;
	result = epoll_ctl(network->epoll_fd, operation, fd, &event);
	/* a descriptor that was closed and opened again is not where the watch says */
	if (result != 0 && errno == ENOENT && events != 0)
		result = epoll_ctl(network->epoll_fd, EPOLL_CTL_ADD, fd, &event);
	else if (result != 0 && errno == EEXIST)
		result = epoll_ctl(network->epoll_fd, EPOLL_CTL_MOD, fd, &event);
	watch->set = result == 0 ? events : 0;
}

/* called by libcurl: what to watch a socket for; an error returned would kill the multi handle */
static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *unused)
{
	MktgNetwork *network = data;
	Watch	   *watch = get_watch(network, fd);

	(void) easy;
	(void) unused;
	if (watch == NULL)
		return 0;
	if (what == CURL_POLL_REMOVE)
	{
		watch->wanted = 0;
		if (!watch->connection)
			set_events(network, fd, watch, 0);
		return 0;
	}
	watch->wanted = ((what & CURL_POLL_IN) != 0 ? EPOLLIN : 0) |
		((what & CURL_POLL_OUT) != 0 ? EPOLLOUT : 0);
	set_events(network, fd, watch, watch->wanted);
	return 0;
}

/* A connection's socket was opened; false if it cannot be kept track of. */
bool
mktg_network_socket_opened(MktgNetwork *network, int fd)
{
	Watch	   *watch = get_watch(network, fd);

	if (watch == NULL)
		return false;
	memset(watch, 0, sizeof(*watch));
	watch->connection = true;
	return true;
}

/* Closing takes the socket out of the epoll set. */
void
mktg_network_socket_closed(MktgNetwork *network, int fd)
{
	if (fd < network->n_watches)
		memset(&network->watches[fd], 0, sizeof(Watch));
}

/* ---- requests ---- */

/* called by libcurl: when it wants to be called at the latest */
static int
set_timer(CURLM *multi, long timeout_ms, void *data)
{
	MktgNetwork *network = data;

	(void) multi;
	network->deadline = timeout_ms < 0 ? -1 : mktg_monotonic_ms() + timeout_ms;
	return 0;
}

/* Hands one request to the multi handle and notes that it is there. */
static bool
add_to_multi(MktgNetwork *network, MktgRequest *request)
{
	if (network->n_requests == network->max_requests)
	{
		int			max = network->max_requests * 2 + 64;
		MktgRequest **requests = realloc(network->requests, (size_t) max * sizeof(MktgRequest *));

		if (requests == NULL)
			return false;
		network->requests = requests;
		network->max_requests = max;
	}
	if (curl_multi_add_handle(network->multi, request->easy) != CURLM_OK)
		return false;
	request->running_at = network->n_requests;
	network->requests[network->n_requests++] = request;
	return true;
}

static void
remove_from_multi(MktgNetwork *network, MktgRequest *request)
{
	MktgRequest *last = network->requests[--network->n_requests];

	(void) curl_multi_remove_handle(network->multi, request->easy);
	network->requests[request->running_at] = last;
	last->running_at = request->running_at;
}

MktgRequestQueue *
mktg_network_held(MktgNetwork *network)
{
	return &network->held;
}

MktgTransport *
mktg_network_transport(MktgNetwork *network)
{
	return network->transport;
}

void
mktg_network_finish(MktgNetwork *network, MktgRequest *request)
{
	if (request->asks)
		mktg_authority_settle(network, request);
	mktg_queue_add(&network->done, request);
}

static void
finish_unsent(MktgNetwork *network, MktgRequest *request, const char *reason)
{
	mktg_request_unsent(request, reason);
	mktg_network_finish(network, request);
}

void
mktg_network_launch(MktgNetwork *network, MktgRequest *request)
{
	if (!mktg_request_build(request))
		mktg_network_finish(network, request);
	else if (!add_to_multi(network, request))
		finish_unsent(network, request, "not sent: the request could not be started");
}

/* Begins what has come in; false if the thread is to end. */
static bool
take_incoming(MktgNetwork *network)
{
	MktgRequestQueue incoming;
	MktgRequest *request;
	bool		stop;

	pthread_mutex_lock(&network->lock);
	incoming = network->incoming;
	network->incoming = (MktgRequestQueue) {0};
	stop = network->stop;
	pthread_mutex_unlock(&network->lock);

	while ((request = mktg_queue_take(&incoming)) != NULL)
		if (stop)
			finish_unsent(network, request, MKTG_TOLD_TO_END);
		else if (request->provider->authority != NULL)
			mktg_authority_launch(network, request);
		else
			mktg_network_launch(network, request);
	return !stop;
}

/* The reply, or the lack of it, is here. */
static void
complete(MktgNetwork *network, MktgRequest *request, CURLcode result)
{
	mktg_request_done(request, result);
	if (!request->asks)
	{
		if (request->provider->authority != NULL && mktg_authority_again(network, request))
			return;
		mktg_request_classify(request);
	}
	mktg_network_finish(network, request);
}

void
mktg_network_goaway(MktgNetwork *network, uint64_t connection, unsigned int last)
{
	for (int i = 0; i < network->n_requests; i++)
	{
		MktgRequest *request = network->requests[i];

		if (request->connection == connection && request->stream > last)
			request->refused = true;
	}
}

/* Takes what libcurl has finished. */
static void
take_finished(MktgNetwork *network)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(network->multi, &left)) != NULL)
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
		remove_from_multi(network, request);
		complete(network, request, result);
	}
}

/* What is under way ends as it stands. */
static void
hang_up(MktgNetwork *network)
{
	MktgRequest *request;

	while ((request = mktg_queue_take(&network->held)) != NULL)
		finish_unsent(network, request, MKTG_TOLD_TO_END);
	while (network->n_requests > 0)
	{
		request = network->requests[0];
		remove_from_multi(network, request);
		mktg_request_cut_short(request);
		mktg_request_done(request, CURLE_ABORTED_BY_CALLBACK);
		if (!request->asks)
			mktg_request_classify(request);
		mktg_network_finish(network, request);
	}
}

/* ---- driving ---- */

/* One event of a connection. */
static void
handle_event(MktgNetwork *network, const struct epoll_event *event)
{
	int			fd = event->data.fd;
	Watch	   *watch = get_watch(network, fd);
	int			mask = 0;
	int			running;

	if (watch == NULL)
		return;
	if (watch->wanted == 0)
	{
		/* an idle connection: libcurl sees what happened when it takes it up */
		set_events(network, fd, watch, 0);
		return;
	}
	if ((event->events & EPOLLIN) != 0)
		mask |= CURL_CSELECT_IN;
	if ((event->events & EPOLLOUT) != 0)
		mask |= CURL_CSELECT_OUT;
	if ((event->events & (EPOLLERR | EPOLLHUP)) != 0)
		mask |= CURL_CSELECT_ERR;
	(void) curl_multi_socket_action(network->multi, fd, mask, &running);
}

static void
handle_timer(MktgNetwork *network)
{
	int			running;

	if (network->deadline < 0 || network->deadline > mktg_monotonic_ms())
		return;
	/* libcurl sets it anew from inside the call */
	network->deadline = -1;
	(void) curl_multi_socket_action(network->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

static int
wait_ms(const MktgNetwork *network)
{
	int64_t		left;

	if (network->deadline < 0)
		return -1;
	left = network->deadline - mktg_monotonic_ms();
	return left <= 0 ? 0 : left < INT32_MAX ? (int) left : INT32_MAX;
}

static void *
network_main(void *data)
{
	MktgNetwork *network = data;
	bool		going = true;

	while (going)
	{
		struct epoll_event events[EVENTS_AT_ONCE];
		int			n = epoll_wait(network->epoll_fd, events, EVENTS_AT_ONCE, wait_ms(network));

		for (int i = 0; i < n; i++)
			if (events[i].data.fd == network->wake_fd)
				going = take_incoming(network);
			else
				handle_event(network, &events[i]);
		handle_timer(network);
		take_finished(network);
		if (!going)
			hang_up(network);
		mktg_transport_done(network->transport, &network->done);
	}
	return NULL;
}
