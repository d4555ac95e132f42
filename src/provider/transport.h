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

/* Empties the request and keeps it with its provider. */
extern void mktg_request_put(MktgRequest *request);
extern void mktg_requests_free(MktgRequest *list);

/* ---- transport.c: connections' sockets, as they come and go ---- */

extern bool mktg_transport_socket_opened(MktgTransport *transport, int fd);
extern int	mktg_transport_close_socket(void *transport, curl_socket_t fd);

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
