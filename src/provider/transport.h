/*-------------------------------------------------------------------------
 *
 * transport.h
 *		What transport.c, network.c, threads.c, request.c and those
 *		they call share.
 *
 * IDENTIFICATION
 *		src/provider/transport.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_PROVIDER_TRANSPORT_H
#define MKTG_PROVIDER_TRANSPORT_H

#include <pthread.h>

#include "provider/provider.h"

/* first in, first out */
typedef struct MktgRequestQueue
{
	MktgRequest *first;
	MktgRequest *last;
} MktgRequestQueue;

extern void mktg_queue_add(MktgRequestQueue *queue, MktgRequest *request);
extern MktgRequest *mktg_queue_take(MktgRequestQueue *queue);	/* NULL if empty */

typedef struct MktgNetwork MktgNetwork;
typedef struct MktgThreads MktgThreads;

struct MktgTransport
{
	/* of the caller's thread alone */
	int			fd;				/* eventfd: readable when there is what was waited for */
	int			open;			/* requests started and not yet taken from mktg_transport_finished() */
	MktgRequestQueue starting;	/* for the next drive() to hand over */
	MktgRequestQueue home;		/* back, to be taken */
	MktgNetwork *network;		/* NULL until a provider needs it; so is the next */
	MktgThreads *threads;
	pid_t		process;
	struct MktgTransport *next;

	pthread_mutex_t lock;		/* guards what follows */
	MktgRequestQueue finished;
	int			n_finished;		/* deliveries in it */
	int			under_way;		/* requests handed over and not finished */
	int			wanted;			/* deliveries the caller waits for */
	bool		announced;		/* fd is readable */
};

/* ---- transport.c ---- */

/* hands back requests with their outcomes; called by any thread */
extern void mktg_transport_done(MktgTransport *transport, MktgRequestQueue *done);

/* a thread with all signals blocked; false if there can be none */
extern bool mktg_thread_create(pthread_t *thread, void *(*run) (void *), void *data);
extern int64_t mktg_monotonic_ms(void);

/* ---- request.c: easy handles ---- */

#define MKTG_TOLD_TO_END	"not sent: the sending process was told to end"

/* An idle request of the provider, or a new one; NULL if there was no memory. */
extern MktgRequest *mktg_request_get(MktgTransport *transport, MktgProvider *provider,
									 MktgDelivery **deliveries, int count);

/* A request with a handle of its own, which mktg_request_put() frees; it does not count as open. */
extern MktgRequest *mktg_request_asking(MktgTransport *transport, MktgProvider *provider,
										MktgDelivery *delivery);

/* Has the driver build it; false if nothing is to be sent, every outcome set. */
extern bool mktg_request_build(MktgRequest *request);

/* Every delivery without outcome was not sent, and may go again. */
extern void mktg_request_unsent(MktgRequest *request, const char *reason);

/* The request was hung up: says so, where libcurl says nothing. */
extern void mktg_request_cut_short(MktgRequest *request);

/* The reply, or the lack of it, is here: reads what libcurl knows of it. */
extern void mktg_request_done(MktgRequest *request, CURLcode result);

/* An outcome for every delivery. */
extern void mktg_request_classify(MktgRequest *request);

/* Empties the request, but for its deliveries. */
extern void mktg_request_clear(MktgRequest *request);

/* Empties the request and keeps it with its provider, or frees it if it asked for a token. */
extern void mktg_request_put(MktgRequest *request);
extern void mktg_requests_free(MktgRequest *list);

/* ---- network.c: a thread for what libcurl carries side by side ---- */

extern MktgNetwork *mktg_network_create(MktgTransport *transport);
extern void mktg_network_destroy(MktgNetwork *network);
extern void mktg_network_start(MktgNetwork *network, MktgRequestQueue *requests);

/* hangs up: everything comes back as it stands, and the thread has ended */
extern void mktg_network_stop(MktgNetwork *network);

/* connections' sockets, as they come and go; called in the thread */
extern bool mktg_network_socket_opened(MktgNetwork *network, int fd);
extern void mktg_network_socket_closed(MktgNetwork *network, int fd);

/* The server ends the connection and has not looked at streams above this one. */
extern void mktg_network_goaway(MktgNetwork *network, uint64_t connection, unsigned int last);

/* For authority.c, in the thread: builds the request and lets it leave. */
extern void mktg_network_launch(MktgNetwork *network, MktgRequest *request);

/* The request is done, its outcomes set. */
extern void mktg_network_finish(MktgNetwork *network, MktgRequest *request);

extern MktgRequestQueue *mktg_network_held(MktgNetwork *network);	/* those that wait for a token */
extern MktgTransport *mktg_network_transport(MktgNetwork *network);

/* ---- http2.c: in the network's thread too, but for prepare ---- */

/* has libcurl tell what becomes of the request's stream */
extern bool mktg_http2_prepare(MktgRequest *request);

/* the request is about to go on this connection */
extern void mktg_http2_begins(MktgRequest *request, const char *ip, const char *local_ip,
							  int port, int local_port);

/* ---- authority.c: tokens of providers; all in the network's thread ---- */

typedef struct MktgAuthority
{
	MktgDelivery delivery;		/* of the request that asks: how that went */
	bool		asking;
	unsigned int token;			/* number of the one there is, or was */
	int64_t		ask_at;			/* monotonic ms */
	int64_t		valid_until;
	int			out;			/* requests that ask and are not back: atomic, for the caller's thread */
} MktgAuthority;

/* Lets the request go, or holds it until there is a token, which is asked for where that is due. */
extern void mktg_authority_launch(MktgNetwork *network, MktgRequest *request);

/* The request that asked is done: those that waited go, or end as it did. */
extern void mktg_authority_settle(MktgNetwork *network, MktgRequest *request);

/* Was the token refused, and does the request go once more?  Then it is on its way. */
extern bool mktg_authority_again(MktgNetwork *network, MktgRequest *request);

/* ---- threads.c: threads for protocols in which libcurl waits ---- */

extern MktgThreads *mktg_threads_create(MktgTransport *transport);
extern void mktg_threads_destroy(MktgThreads *threads);
extern bool mktg_threads_start(MktgThreads *threads, MktgRequestQueue *requests);

/* hangs up: what has begun comes back as it stands, and the threads have ended */
extern void mktg_threads_stop(MktgThreads *threads);

/* the next request that never began, once they have stopped; NULL if there is none */
extern MktgRequest *mktg_threads_unbegun(MktgThreads *threads);

/* notes the request's socket, so that its wait can be ended from outside */
extern bool mktg_threads_prepare(MktgRequest *request);
extern void mktg_threads_hang_up(MktgRequest *request);

#endif
