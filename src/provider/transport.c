/*-------------------------------------------------------------------------
 *
 * transport.c
 *		The way of a request from its caller to a thread and back.
 *
 * The caller's thread makes requests, hands them over and takes them back
 * with their outcomes; other threads carry them: one for all that libcurl
 * carries side by side (network.c), and one a request where it cannot
 * (threads.c).  A request belongs to whoever holds it, so only the queues
 * between are locked.
 *
 * exit() joins the threads: they must not use what OpenSSL tears down there.
 *
 * IDENTIFICATION
 *		src/provider/transport.c
 *
 *-------------------------------------------------------------------------
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "provider/transport.h"

#define STACK_SIZE		(1024 * 1024)	/* libcurl, OpenSSL and drivers need far less */

/* all there are; of the caller's thread alone */
static MktgTransport *all_transports = NULL;

int64_t
mktg_monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Signals are for the main thread, which knows what to do with them. */
bool
mktg_thread_create(pthread_t *thread, void *(*run) (void *), void *data)
{
	pthread_attr_t attributes;
	sigset_t	all;
	sigset_t	before;
	int			result;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	result = pthread_create(thread, &attributes, run, data);
	pthread_attr_destroy(&attributes);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return result == 0;
}

/* ---- life ---- */

/* exit(), whoever called it: a child that was forked has no such threads */
static void
at_exit(void)
{
	for (MktgTransport *transport = all_transports; transport != NULL; transport = transport->next)
		if (transport->process == getpid())
		{
			mktg_network_stop(transport->network);
			mktg_threads_stop(transport->threads);
		}
}

MktgTransport *
mktg_transport_create(void)
{
	static bool initialized = false;
	MktgTransport *transport;

	/* ours after libcurl has initialized OpenSSL, so that it is called before OpenSSL's own */
	if (!initialized && (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || atexit(at_exit) != 0))
		return NULL;
	initialized = true;

	transport = calloc(1, sizeof(MktgTransport));
	if (transport == NULL)
		return NULL;
	transport->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (transport->fd < 0)
	{
		free(transport);
		return NULL;
	}
	transport->wanted = 1;
	transport->process = getpid();
	pthread_mutex_init(&transport->lock, NULL);
	transport->next = all_transports;
	all_transports = transport;
	return transport;
}

void
mktg_transport_destroy(MktgTransport *transport)
{
	MktgRequest *request;

	if (transport == NULL)
		return;
	mktg_transport_abandon(transport);
	while ((request = mktg_queue_take(&transport->home)) != NULL)
		mktg_request_put(request);
	mktg_network_destroy(transport->network);
	mktg_threads_destroy(transport->threads);

	for (MktgTransport **link = &all_transports; *link != NULL; link = &(*link)->next)
		if (*link == transport)
		{
			*link = transport->next;
			break;
		}
	close(transport->fd);
	pthread_mutex_destroy(&transport->lock);
	free(transport);
}

/* ---- coming home ---- */

/* Is there what the caller waits for, and is it not told yet?  The lock is held. */
static bool
must_announce(MktgTransport *transport)
{
	if (transport->announced || transport->n_finished == 0 ||
		(transport->n_finished < transport->wanted && transport->under_way > 0))
		return false;
	transport->announced = true;
	return true;
}

/* Hands back what is done; called by any thread. */
void
mktg_transport_done(MktgTransport *transport, MktgRequestQueue *done)
{
	MktgRequest *request;
	bool		announce;

	if (done->first == NULL)
		return;
	pthread_mutex_lock(&transport->lock);
	while ((request = mktg_queue_take(done)) != NULL)
	{
		mktg_queue_add(&transport->finished, request);
		if (request->asks)		/* carries no message: nobody waits for it */
			continue;
		transport->n_finished += request->count;
		transport->under_way--;
	}
	announce = must_announce(transport);
	pthread_mutex_unlock(&transport->lock);
	if (announce)
		(void) eventfd_write(transport->fd, 1);
}

void
mktg_transport_await(MktgTransport *transport, int count)
{
	bool		announce;

	pthread_mutex_lock(&transport->lock);
	transport->wanted = count > 1 ? count : 1;
	announce = must_announce(transport);
	pthread_mutex_unlock(&transport->lock);
	if (announce)
		(void) eventfd_write(transport->fd, 1);
}

/* Takes over what has come back. */
static void
take_finished(MktgTransport *transport)
{
	MktgRequestQueue finished;
	MktgRequest *request;
	eventfd_t	count;

	pthread_mutex_lock(&transport->lock);
	if (transport->announced)
		(void) eventfd_read(transport->fd, &count);
	transport->announced = false;
	finished = transport->finished;
	transport->finished = (MktgRequestQueue) {0};
	transport->n_finished = 0;
	pthread_mutex_unlock(&transport->lock);
	while ((request = mktg_queue_take(&finished)) != NULL)
		if (request->asks)
			mktg_request_put(request);
		else
			mktg_queue_add(&transport->home, request);
}

int
mktg_transport_finished(MktgTransport *transport, MktgDelivery **done)
{
	MktgRequest *request = mktg_queue_take(&transport->home);
	int			count;

	if (request == NULL)
		return 0;
	count = request->count;
	memcpy(done, request->deliveries, (size_t) count * sizeof(MktgDelivery *));
	mktg_request_put(request);
	transport->open--;
	return count;
}

int
mktg_transport_fd(const MktgTransport *transport)
{
	return transport->fd;
}

long
mktg_transport_timeout_ms(const MktgTransport *transport)
{
	return transport->starting.first != NULL || transport->home.first != NULL ? 0 : -1;
}

int
mktg_transport_open_requests(const MktgTransport *transport)
{
	return transport->open;
}

/* ---- starting ---- */

bool
mktg_transport_start(MktgTransport *transport, MktgProvider *provider,
					 MktgDelivery **deliveries, int count)
{
	const MktgDriver *driver = provider->driver;
	MktgRequest *request = mktg_request_get(transport, provider, deliveries, count);

	if (request == NULL)
	{
		for (int i = 0; i < count; i++)
			mktg_outcome_set(&deliveries[i]->outcome, MKTG_OUTCOME_RETRY, "not sent: out of memory");
		return false;
	}
	transport->open++;
	if (!driver->in_process)
	{
		mktg_queue_add(&transport->starting, request);
		return true;
	}
	for (int i = 0; i < count; i++)
		driver->deliver(provider, deliveries[i]);
	mktg_queue_add(&transport->home, request);
	return true;
}

static void
give_back(MktgTransport *transport, MktgRequestQueue *requests, const char *reason)
{
	MktgRequest *request;

	while ((request = mktg_queue_take(requests)) != NULL)
	{
		mktg_request_unsent(request, reason);
		mktg_queue_add(&transport->home, request);
	}
}

static bool
start_network(MktgTransport *transport, MktgRequestQueue *requests)
{
	if (transport->network == NULL)
		transport->network = mktg_network_create(transport);
	if (transport->network == NULL)
		return false;
	mktg_network_start(transport->network, requests);
	return true;
}

static bool
start_threads(MktgTransport *transport, MktgRequestQueue *requests)
{
	if (transport->threads == NULL)
		transport->threads = mktg_threads_create(transport);
	return transport->threads != NULL && mktg_threads_start(transport->threads, requests);
}

/* Hands requests of one kind over, or gives them back where no thread can be had. */
static void
hand_over(MktgTransport *transport, MktgRequestQueue *requests, int n,
		  bool (*start) (MktgTransport *, MktgRequestQueue *))
{
	if (n == 0)
		return;
	/* counted first: some may be done before start() returns */
	pthread_mutex_lock(&transport->lock);
	transport->under_way += n;
	pthread_mutex_unlock(&transport->lock);
	if (start(transport, requests))
		return;
	pthread_mutex_lock(&transport->lock);
	transport->under_way -= n;
	pthread_mutex_unlock(&transport->lock);
	give_back(transport, requests, "not sent: no thread could be started");
}

void
mktg_transport_drive(MktgTransport *transport)
{
	MktgRequestQueue network = {0};
	MktgRequestQueue threads = {0};
	MktgRequest *request;
	int			n_network = 0;
	int			n_threads = 0;

	while ((request = mktg_queue_take(&transport->starting)) != NULL)
		if (request->provider->driver->blocking)
		{
			mktg_queue_add(&threads, request);
			n_threads++;
		}
		else
		{
			mktg_queue_add(&network, request);
			n_network++;
		}
	hand_over(transport, &network, n_network, start_network);
	hand_over(transport, &threads, n_threads, start_threads);
	take_finished(transport);
}

void
mktg_transport_abandon(MktgTransport *transport)
{
	MktgRequestQueue unbegun = {0};
	MktgRequest *request;

	mktg_network_stop(transport->network);
	mktg_threads_stop(transport->threads);
	take_finished(transport);
	while ((request = mktg_threads_unbegun(transport->threads)) != NULL)
		mktg_queue_add(&unbegun, request);
	give_back(transport, &unbegun, MKTG_TOLD_TO_END);
	give_back(transport, &transport->starting, MKTG_TOLD_TO_END);
}
