/*-------------------------------------------------------------------------
 *
 * ads.h
 *		People in the audiences of advertisers, and what they bought.
 *
 * Called within SPI (mktg_begin()).
 *
 * IDENTIFICATION
 *		src/ads/ads.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_ADS_H
#define MKTG_ADS_H

#include "postgres.h"

#include "utils/timestamp.h"

/* Is there anything to feed, of any tenant? */
extern bool mktg_feed_wanted(void);

/* What a feed has done. */
typedef struct MktgFeed
{
	int64		changes;		/* taken */
	int64		uploads;		/* queued */
} MktgFeed;

/* Feeds at most "limit" changes of a tenant's syncs (0: all tenants) into the queue. */
extern MktgFeed mktg_feed(TimestampTz now, int64 limit, int64 tenant);

#endif
