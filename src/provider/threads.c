/*-------------------------------------------------------------------------
 *
 * threads.c
 *		Threads that carry requests of protocols in which libcurl waits.
 *
 * In SMTP libcurl waits for the reply to the final dot, and to QUIT, inside
 * the call, also under curl_multi: one slow server would hold up every other
 * request and the worker with them (https://github.com/curl/curl/issues/8555,
 * a known limitation of all versions so far).  Such a request is carried by a
 * thread of its own, which calls curl_easy_perform() and nothing else: no
 * thread ever touches what is PostgreSQL's.  A handle has its own connection,
 * which stays with it from message to message.
 *
 * Threads start when they are needed, with every signal blocked, and live as
 * long as the set of them.  Destroying the set hangs up their sockets, so that
 * a wait ends at once, and joins them; exit() does the same, for a thread must
 * not use what OpenSSL tears down there.
 *
 * IDENTIFICATION
 *		src/provider/threads.c
 *
 *-------------------------------------------------------------------------
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "provider/transport.h"

#define MAX_THREADS		64
#define GRACE_MS		500
#define STACK_SIZE		(512 * 1024)	/* libcurl and OpenSSL need far less */

struct MktgThreads
{
	pthread_mutex_t lock;		/* guards all that follows */
	pthread_cond_t work;
	MktgRequestQueue waiting;
	MktgRequestQueue finished;
	MktgRequest *running[MAX_THREADS];	/* by thread */
	int			idle;			/* threads with nothing to do */
	int			n_waiting;
	bool		stop;
	/* of the process's main thread alone */
	int			fd;				/* eventfd: readable while something has finished */
	int			n_threads;
	pthread_t	ids[MAX_THREADS];
	pid_t		process;
	struct MktgThreads *next;
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

/* all sets there are; of the main thread alone */
static MktgThreads *all_sets = NULL;

static void *thread_main(void *data);
static void at_exit(void);

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

MktgThreads *
mktg_threads_create(void)
{
	static bool registered = false;
	MktgThreads *threads;

	/* after libcurl has initialized OpenSSL, so that this is called before its own */
	if (!registered && atexit(at_exit) != 0)
		return NULL;
	registered = true;

	threads = calloc(1, sizeof(MktgThreads));
	if (threads == NULL)
		return NULL;
	threads->process = getpid();
	threads->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (threads->fd < 0)
	{
		free(threads);
		return NULL;
	}
	pthread_mutex_init(&threads->lock, NULL);
	pthread_cond_init(&threads->work, NULL);
	threads->next = all_sets;
	all_sets = threads;
	return threads;
}

int
mktg_threads_fd(const MktgThreads *threads)
{
	return threads->fd;
}

/* One thread more; false if it cannot be had. */
static bool
add_thread(MktgThreads *threads)
{
	ThreadStart *start = malloc(sizeof(ThreadStart));
	pthread_attr_t attributes;
	sigset_t	all;
	sigset_t	before;
	int			result;

	if (start == NULL)
		return false;
	start->threads = threads;
	start->number = threads->n_threads;

	/* signals are for the main thread, which knows what to do with them */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	result = pthread_create(&threads->ids[threads->n_threads], &attributes, thread_main, start);
	pthread_attr_destroy(&attributes);
	pthread_sigmask(SIG_SETMASK, &before, NULL);

	if (result != 0)
	{
		free(start);
		return false;
	}
	threads->n_threads++;
	return true;
}

bool
mktg_threads_start(MktgThreads *threads, MktgRequest *request)
{
	bool		need_thread;

	pthread_mutex_lock(&threads->lock);
	need_thread = threads->n_waiting + 1 > threads->idle;
	pthread_mutex_unlock(&threads->lock);
	if (need_thread && threads->n_threads < MAX_THREADS &&
		!add_thread(threads) && threads->n_threads == 0)
		return false;

	pthread_mutex_lock(&threads->lock);
	mktg_queue_add(&threads->waiting, request);
	threads->n_waiting++;
	pthread_cond_signal(&threads->work);
	pthread_mutex_unlock(&threads->lock);
	return true;
}

MktgRequest *
mktg_threads_finished(MktgThreads *threads)
{
	MktgRequest *request;
	eventfd_t	count;

	pthread_mutex_lock(&threads->lock);
	request = mktg_queue_take(&threads->finished);
	if (request == NULL)
		(void) eventfd_read(threads->fd, &count);
	pthread_mutex_unlock(&threads->lock);
	return request;
}

/* The next request for this thread; NULL at the end.  The lock is held. */
static MktgRequest *
wait_for_work(MktgThreads *threads)
{
	threads->idle++;
	while (threads->waiting.first == NULL && !threads->stop)
		pthread_cond_wait(&threads->work, &threads->lock);
	threads->idle--;
	if (threads->stop)
		return NULL;
	threads->n_waiting--;
	return mktg_queue_take(&threads->waiting);
}

static void *
thread_main(void *data)
{
	ThreadStart start = *(ThreadStart *) data;
	MktgThreads *threads = start.threads;
	MktgRequest *request;

	free(data);
	pthread_mutex_lock(&threads->lock);
	while ((request = wait_for_work(threads)) != NULL)
	{
		threads->running[start.number] = request;
		pthread_mutex_unlock(&threads->lock);

		/* libcurl's own timeout comes first, where it has one */
		request->deadline = now_ms() + request->provider->timeout_ms + GRACE_MS;
		request->result = curl_easy_perform(request->easy);

		pthread_mutex_lock(&threads->lock);
		threads->running[start.number] = NULL;
		/* readable already, if something else has finished and not been taken */
		if (threads->finished.first == NULL)
			(void) eventfd_write(threads->fd, 1);
		mktg_queue_add(&threads->finished, request);
	}
	pthread_mutex_unlock(&threads->lock);
	return NULL;
}

void
mktg_threads_stop(MktgThreads *threads)
{
	pthread_mutex_lock(&threads->lock);
	threads->stop = true;
	pthread_cond_broadcast(&threads->work);
	for (int i = 0; i < threads->n_threads; i++)
		if (threads->running[i] != NULL)
			mktg_threads_hang_up(threads->running[i]);
	pthread_mutex_unlock(&threads->lock);

	for (int i = 0; i < threads->n_threads; i++)
		pthread_join(threads->ids[i], NULL);
	threads->n_threads = 0;
}

MktgRequest *
mktg_threads_unbegun(MktgThreads *threads)
{
	return mktg_queue_take(&threads->waiting);
}

/* exit(), whoever called it: a child that was forked has no such threads */
static void
at_exit(void)
{
	for (MktgThreads *threads = all_sets; threads != NULL; threads = threads->next)
		if (threads->process == getpid())
			mktg_threads_stop(threads);
}

/*
 * Requests that were under way come to nothing; those that had not begun go
 * back to their provider like the others.  What became of the messages is
 * for the caller, who keeps the deliveries.
 */
void
mktg_threads_destroy(MktgThreads *threads)
{
	MktgRequest *request;

	if (threads == NULL)
		return;
	mktg_threads_stop(threads);
	for (MktgThreads **link = &all_sets; *link != NULL; link = &(*link)->next)
		if (*link == threads)
		{
			*link = threads->next;
			break;
		}

	while ((request = mktg_queue_take(&threads->waiting)) != NULL ||
		   (request = mktg_queue_take(&threads->finished)) != NULL)
		mktg_request_put(request);
	close(threads->fd);
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
	return hung_up || now_ms() > request->deadline;
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
