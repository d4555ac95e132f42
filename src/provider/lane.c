/*-------------------------------------------------------------------------
 *
 * lane.c
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
 * long as the lane.  Destroying it hangs up their sockets, so that a wait ends
 * at once, and joins them.
 *
 * IDENTIFICATION
 *		src/provider/lane.c
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

struct MktgLane
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
	pthread_t	threads[MAX_THREADS];
};

typedef struct ThreadStart
{
	MktgLane   *lane;
	int			number;
} ThreadStart;

/*
 * Guards every request->socket.  Not the lane's own lock: an idle handle may
 * outlive its lane.  While it is held a noted descriptor is surely open, and
 * still that connection's.
 */
static pthread_mutex_t socket_lock = PTHREAD_MUTEX_INITIALIZER;

static void *thread_main(void *data);

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

MktgLane *
mktg_lane_create(void)
{
	MktgLane   *lane = calloc(1, sizeof(MktgLane));

	if (lane == NULL)
		return NULL;
	lane->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (lane->fd < 0)
	{
		free(lane);
		return NULL;
	}
	pthread_mutex_init(&lane->lock, NULL);
	pthread_cond_init(&lane->work, NULL);
	return lane;
}

int
mktg_lane_fd(const MktgLane *lane)
{
	return lane->fd;
}

/* One thread more; false if it cannot be had. */
static bool
add_thread(MktgLane *lane)
{
	ThreadStart *start = malloc(sizeof(ThreadStart));
	pthread_attr_t attributes;
	sigset_t	all;
	sigset_t	before;
	int			result;

	if (start == NULL)
		return false;
	start->lane = lane;
	start->number = lane->n_threads;

	/* signals are for the main thread, which knows what to do with them */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	result = pthread_create(&lane->threads[lane->n_threads], &attributes, thread_main, start);
	pthread_attr_destroy(&attributes);
	pthread_sigmask(SIG_SETMASK, &before, NULL);

	if (result != 0)
	{
		free(start);
		return false;
	}
	lane->n_threads++;
	return true;
}

bool
mktg_lane_start(MktgLane *lane, MktgRequest *request)
{
	bool		need_thread;

	pthread_mutex_lock(&lane->lock);
	need_thread = lane->n_waiting + 1 > lane->idle;
	pthread_mutex_unlock(&lane->lock);
	if (need_thread && lane->n_threads < MAX_THREADS &&
		!add_thread(lane) && lane->n_threads == 0)
		return false;

	pthread_mutex_lock(&lane->lock);
	mktg_queue_add(&lane->waiting, request);
	lane->n_waiting++;
	pthread_cond_signal(&lane->work);
	pthread_mutex_unlock(&lane->lock);
	return true;
}

MktgRequest *
mktg_lane_finished(MktgLane *lane)
{
	MktgRequest *request;
	eventfd_t	count;

	pthread_mutex_lock(&lane->lock);
	request = mktg_queue_take(&lane->finished);
	if (request == NULL)
		(void) eventfd_read(lane->fd, &count);
	pthread_mutex_unlock(&lane->lock);
	return request;
}

/* The next request for this thread; NULL when the lane ends.  The lock is held. */
static MktgRequest *
wait_for_work(MktgLane *lane)
{
	lane->idle++;
	while (lane->waiting.first == NULL && !lane->stop)
		pthread_cond_wait(&lane->work, &lane->lock);
	lane->idle--;
	if (lane->stop)
		return NULL;
	lane->n_waiting--;
	return mktg_queue_take(&lane->waiting);
}

static void *
thread_main(void *data)
{
	ThreadStart start = *(ThreadStart *) data;
	MktgLane   *lane = start.lane;
	MktgRequest *request;

	free(data);
	pthread_mutex_lock(&lane->lock);
	while ((request = wait_for_work(lane)) != NULL)
	{
		lane->running[start.number] = request;
		pthread_mutex_unlock(&lane->lock);

		/* libcurl's own timeout comes first, where it has one */
		request->deadline = now_ms() + request->provider->timeout_ms + GRACE_MS;
		request->result = curl_easy_perform(request->easy);

		pthread_mutex_lock(&lane->lock);
		lane->running[start.number] = NULL;
		/* readable already, if something else has finished and not been taken */
		if (lane->finished.first == NULL)
			(void) eventfd_write(lane->fd, 1);
		mktg_queue_add(&lane->finished, request);
	}
	pthread_mutex_unlock(&lane->lock);
	return NULL;
}

/*
 * Requests that were under way come to nothing; those that had not begun go
 * back to their provider like the others.  What became of the messages is
 * for the caller, who keeps the deliveries.
 */
void
mktg_lane_destroy(MktgLane *lane)
{
	MktgRequest *request;

	if (lane == NULL)
		return;
	pthread_mutex_lock(&lane->lock);
	lane->stop = true;
	pthread_cond_broadcast(&lane->work);
	for (int i = 0; i < lane->n_threads; i++)
		if (lane->running[i] != NULL)
			mktg_lane_hang_up(lane->running[i]);
	pthread_mutex_unlock(&lane->lock);

	for (int i = 0; i < lane->n_threads; i++)
		pthread_join(lane->threads[i], NULL);

	while ((request = mktg_queue_take(&lane->waiting)) != NULL ||
		   (request = mktg_queue_take(&lane->finished)) != NULL)
		mktg_request_put(request);
	close(lane->fd);
	pthread_cond_destroy(&lane->work);
	pthread_mutex_destroy(&lane->lock);
	free(lane);
}

/* ---- sockets of requests ---- */

static curl_socket_t
lane_open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address)
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
lane_close_socket(void *data, curl_socket_t fd)
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
lane_progress(void *data, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal, curl_off_t ulnow)
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
mktg_lane_prepare(MktgRequest *request)
{
	return curl_easy_setopt(request->easy, CURLOPT_OPENSOCKETFUNCTION, lane_open_socket) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_OPENSOCKETDATA, request) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_CLOSESOCKETFUNCTION, lane_close_socket) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_CLOSESOCKETDATA, request) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_XFERINFOFUNCTION, lane_progress) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_XFERINFODATA, request) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_NOPROGRESS, 0L) == CURLE_OK;
}

void
mktg_lane_hang_up(MktgRequest *request)
{
	pthread_mutex_lock(&socket_lock);
	request->hung_up = true;
	if (request->socket != CURL_SOCKET_BAD)
		(void) shutdown(request->socket, SHUT_RDWR);
	pthread_mutex_unlock(&socket_lock);
}
