/*-------------------------------------------------------------------------
 *
 * transport.h
 *		What transport.c, request.c and threads.c share.
 *
 * IDENTIFICATION
 *		src/provider/transport.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_PROVIDER_TRANSPORT_H
#define MKTG_PROVIDER_TRANSPORT_H

#include "provider/provider.h"

/* first in, first out */
typedef struct MktgRequestQueue
{
	MktgRequest *first;
	MktgRequest *last;
} MktgRequestQueue;

extern void mktg_queue_add(MktgRequestQueue *queue, MktgRequest *request);
extern MktgRequest *mktg_queue_take(MktgRequestQueue *queue);	/* NULL if empty */

/* ---- request.c: easy handles ---- */

/* An idle request of the provider, or a new one; NULL if there was no memory. */
extern MktgRequest *mktg_request_get(MktgTransport *transport, MktgProvider *provider,
									 MktgDelivery **deliveries, int count);

/* Sets what concerns this request's body alone. */
extern bool mktg_request_set_body(MktgRequest *request);

/* Reads what libcurl knows once it is done. */
extern void mktg_request_done(MktgRequest *request, CURLcode result);

/* Empties the request, but for its deliveries. */
extern void mktg_request_clear(MktgRequest *request);

/* Empties the request and keeps it with its provider, or frees it if it asked for a token. */
extern void mktg_request_put(MktgRequest *request);
extern void mktg_requests_free(MktgRequest *list);

/* ---- transport.c: connections' sockets, as they come and go ---- */

extern bool mktg_transport_socket_opened(MktgTransport *transport, int fd);
extern int	mktg_transport_close_socket(void *transport, curl_socket_t fd);

/* Builds the request and lets it leave with the next drive(). */
extern void mktg_transport_launch(MktgTransport *transport, MktgRequest *request);

/* The request comes out as finished, its outcomes set. */
extern void mktg_transport_finish(MktgTransport *transport, MktgRequest *request);

extern MktgRequestQueue *mktg_transport_held(MktgTransport *transport);	/* those that wait for a token */
extern int64_t mktg_now_ms(void);	/* monotonic */

/* ---- authority.c: tokens of providers ---- */

typedef struct MktgAuthority
{
	MktgDelivery delivery;		/* of the request that asks: how that went */
	bool		asking;
	unsigned int token;			/* number of the one there is, or was */
	int64_t		ask_at;			/* monotonic ms */
	int64_t		valid_until;
} MktgAuthority;

/* Lets the request go, or holds it until there is a token, which is asked for where that is due. */
extern void mktg_authority_launch(MktgTransport *transport, MktgRequest *request);

/* The request that asked is done: those that waited go, or end as it did. */
extern void mktg_authority_settle(MktgTransport *transport, MktgRequest *request);

/* Was the token refused, and does the request go once more?  Then it is on its way. */
extern bool mktg_authority_again(MktgTransport *transport, MktgRequest *request);

/* ---- threads.c: threads for protocols in which libcurl waits ---- */

typedef struct MktgThreads MktgThreads;

extern MktgThreads *mktg_threads_create(void);
extern void mktg_threads_destroy(MktgThreads *threads);	/* ends its requests and joins its threads */
extern int	mktg_threads_fd(const MktgThreads *threads);
extern bool mktg_threads_start(MktgThreads *threads, MktgRequest *request);

/* the next request that is done, its result set; NULL if there is none */
extern MktgRequest *mktg_threads_finished(MktgThreads *threads);

/* ends its requests, which then come out as finished, and joins its threads */
extern void mktg_threads_stop(MktgThreads *threads);

/* the next request that never began, once they have stopped; NULL if there is none */
extern MktgRequest *mktg_threads_unbegun(MktgThreads *threads);

/* notes the request's socket, so that its wait can be ended from outside */
extern bool mktg_threads_prepare(MktgRequest *request);
extern void mktg_threads_hang_up(MktgRequest *request);

#endif
