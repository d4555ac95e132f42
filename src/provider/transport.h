/*-------------------------------------------------------------------------
 *
 * transport.h
 *		What transport.c, request.c and lane.c share.
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

/* ---- lane.c: threads for protocols in which libcurl waits ---- */

typedef struct MktgLane MktgLane;

extern MktgLane *mktg_lane_create(void);
extern void mktg_lane_destroy(MktgLane *lane);	/* ends its requests and joins its threads */
extern int	mktg_lane_fd(const MktgLane *lane);
extern bool mktg_lane_start(MktgLane *lane, MktgRequest *request);

/* the next request that is done, its result set; NULL if there is none */
extern MktgRequest *mktg_lane_finished(MktgLane *lane);

/* notes the request's socket, so that its wait can be ended from outside */
extern bool mktg_lane_prepare(MktgRequest *request);
extern void mktg_lane_hang_up(MktgRequest *request);

#endif
