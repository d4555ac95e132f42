/*-------------------------------------------------------------------------
 *
 * threads.c
 *		Threads that carry requests of protocols in which libcurl waits.
 *
 * In SMTP libcurl waits for the reply to the final dot, and to QUIT, inside
 * the call, also under curl_multi: one slow server would hold up every other
 * request and the worker with them (https://github.com/curl/curl/issues/8555,
 * a known limitation of all versions so far).  Such a request is carried by a
 * thread of its own from being built to being classified.  No thread ever
 * touches what is PostgreSQL's.  A handle has its own connection, which stays
 * with it from message to message.
 *
 * Threads start when they are needed and live as long as the set of them.
 * Stopping it hangs up their sockets, so that a wait ends at once, and joins
 * them.
 *
 * IDENTIFICATION
 *		src/provider/threads.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "provider/transport.h"

#define MAX_THREADS		64
#define GRACE_MS		500

struct MktgThreads
{
	MktgTransport *transport;
	/* of the caller's thread alone */
	int			n_threads;
	pthread_t	ids[MAX_THREADS];

	pthread_mutex_t lock;		/* guards what follows */
	pthread_cond_t work;
	MktgRequestQueue waiting;
	MktgRequest *running[MAX_THREADS];	/* by thread; atomic, and set under the lock */
	int			idle;			/* threads with nothing to do */
	int			n_waiting;
	bool		stop;
};

typedef struct ThreadStart
{
	MktgThreads *threads;
	int			number;
} ThreadStart;

/*
 * Guards every request->socket.  Not the set's own lock: an idle handle may
 * outlive it.  While it is held a noted descriptor is surely open, and
 * still that connection's.
 */
static pthread_mutex_t socket_lock = PTHREAD_MUTEX_INITIALIZER;

static void *thread_main(void *data);

MktgThreads *
mktg_threads_create(MktgTransport *transport)
{
	MktgThreads *threads = calloc(1, sizeof(MktgThreads));

	if (threads == NULL)
		return NULL;
	threads->transport = transport;
	pthread_mutex_init(&threads->lock, NULL);
	pthread_cond_init(&threads->work, NULL);
	return threads;
}

/* One thread more; false if it cannot be had. */
static bool
add_thread(MktgThreads *threads)
{
	ThreadStart *start = malloc(sizeof(ThreadStart));

	if (start == NULL)
		return false;
	start->threads = threads;
	start->number = threads->n_threads;
	if (!mktg_thread_create(&threads->ids[threads->n_threads], thread_main, start))
	{
		free(start);
		return false;
	}
	threads->n_threads++;
	return true;
}

/*
 * Takes over the whole queue; false, with the queue as it was, if there is no
 * thread and can be none.  Threads are woken when the lock is free again, for
 * it is the first thing they want.
 */
bool
mktg_threads_start(MktgThreads *threads, MktgRequestQueue *requests)
{
	MktgRequest *request;
	int			n = 0;
	int			lacking;

	for (request = requests->first; request != NULL; request = request->next)
		n++;
	pthread_mutex_lock(&threads->lock);
	lacking = threads->n_waiting + n - threads->idle;
	pthread_mutex_unlock(&threads->lock);
	while (lacking-- > 0 && threads->n_threads < MAX_THREADS && add_thread(threads))
		;
	if (threads->n_threads == 0)
		return false;

	pthread_mutex_lock(&threads->lock);
	while ((request = mktg_queue_take(requests)) != NULL)
		mktg_queue_add(&threads->waiting, request);
	threads->n_waiting += n;
	pthread_mutex_unlock(&threads->lock);
	while (n-- > 0)
		pthread_cond_signal(&threads->work);
	return true;
}

/* The next request for this thread; NULL at the end. */
static MktgRequest *
wait_for_work(MktgThreads *threads, int number)
{
	MktgRequest *request = NULL;

	pthread_mutex_lock(&threads->lock);
	threads->idle++;
	while (threads->waiting.first == NULL && !threads->stop)
		pthread_cond_wait(&threads->work, &threads->lock);
	threads->idle--;
	if (!threads->stop)
	{
		threads->n_waiting--;
		request = mktg_queue_take(&threads->waiting);
		__atomic_store_n(&threads->running[number], request, __ATOMIC_SEQ_CST);
	}
	pthread_mutex_unlock(&threads->lock);
	return request;
}

/* One request from beginning to end. */
static void
carry(MktgRequest *request)
{
	CURLcode	result;
	bool		hung_up;

	if (!mktg_request_build(request))
		return;
	/* libcurl's own timeout comes first, where it has one */
	request->deadline = mktg_monotonic_ms() + request->provider->timeout_ms + GRACE_MS;
	result = curl_easy_perform(request->easy);

	pthread_mutex_lock(&socket_lock);
	hung_up = request->hung_up;
	pthread_mutex_unlock(&socket_lock);
	if (hung_up)
		mktg_request_cut_short(request);
	mktg_request_done(request, result);
	mktg_request_classify(request);
}

static void *
thread_main(void *data)
{
	ThreadStart start = *(ThreadStart *) data;
	MktgThreads *threads = start.threads;
	MktgRequest *request;

	free(data);
	while ((request = wait_for_work(threads, start.number)) != NULL)
	{
		MktgRequestQueue done = {0};

		carry(request);
		/* once it is handed back the caller may use it again, or free it */
		__atomic_store_n(&threads->running[start.number], NULL, __ATOMIC_SEQ_CST);
		mktg_queue_add(&done, request);
		mktg_transport_done(threads->transport, &done);
	}
	return NULL;
}

void
mktg_threads_stop(MktgThreads *threads)
{
	if (threads == NULL)
		return;
	pthread_mutex_lock(&threads->lock);
	threads->stop = true;
	pthread_cond_broadcast(&threads->work);
	pthread_mutex_unlock(&threads->lock);
	/* one that is just being handed back is still there: only the caller of this frees it */
	for (int i = 0; i < threads->n_threads; i++)
	{
		MktgRequest *request = __atomic_load_n(&threads->running[i], __ATOMIC_SEQ_CST);

		if (request != NULL)
			mktg_threads_hang_up(request);
	}

	for (int i = 0; i < threads->n_threads; i++)
		pthread_join(threads->ids[i], NULL);
	threads->n_threads = 0;
}

MktgRequest *
mktg_threads_unbegun(MktgThreads *threads)
{
	return threads == NULL ? NULL : mktg_queue_take(&threads->waiting);
}

void
mktg_threads_destroy(MktgThreads *threads)
{
	if (threads == NULL)
		return;
	mktg_threads_stop(threads);
	pthread_cond_destroy(&threads->work);
	pthread_mutex_destroy(&threads->lock);
	free(threads);
}

/* ---- sockets of requests ---- */

static curl_socket_t
thread_open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
	MktgRequest *request = data;
	curl_socket_t fd = socket(address->family, address->socktype | SOCK_CLOEXEC,
							  address->protocol);

	(void) purpose;
	pthread_mutex_lock(&socket_lock);
	if (request->hung_up && fd >= 0)
	{
		close(fd);
		fd = CURL_SOCKET_BAD;
	}
	request->socket = fd;
	pthread_mutex_unlock(&socket_lock);
	return fd;
}

static int
thread_close_socket(void *data, curl_socket_t fd)
{
	MktgRequest *request = data;

	pthread_mutex_lock(&socket_lock);
	if (request->socket == fd)
		request->socket = CURL_SOCKET_BAD;
	close(fd);
	pthread_mutex_unlock(&socket_lock);
	return 0;
}

/*
 * Asked at least once a second, also while libcurl waits inside: for a reply
 * to QUIT it would wait longer than the request may take.
 */
static int
thread_progress(void *data, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal, curl_off_t ulnow)
{
	MktgRequest *request = data;
	bool		hung_up;

	(void) dltotal;
	(void) dlnow;
	(void) ultotal;
	(void) ulnow;
	pthread_mutex_lock(&socket_lock);
	hung_up = request->hung_up;
	pthread_mutex_unlock(&socket_lock);
	return hung_up || mktg_monotonic_ms() > request->deadline;
}

bool
mktg_threads_prepare(MktgRequest *request)
{
	return curl_easy_setopt(request->easy, CURLOPT_OPENSOCKETFUNCTION, thread_open_socket) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_OPENSOCKETDATA, request) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_CLOSESOCKETFUNCTION, thread_close_socket) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_CLOSESOCKETDATA, request) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_XFERINFOFUNCTION, thread_progress) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_XFERINFODATA, request) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_NOPROGRESS, 0L) == CURLE_OK;
}

void
mktg_threads_hang_up(MktgRequest *request)
{
	pthread_mutex_lock(&socket_lock);
	request->hung_up = true;
	if (request->socket != CURL_SOCKET_BAD)
		(void) shutdown(request->socket, SHUT_RDWR);
	pthread_mutex_unlock(&socket_lock);
}
