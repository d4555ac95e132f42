/*-------------------------------------------------------------------------
 *
 * zone.h
 *		Time zones by name, and local days of many instants.
 *
 * IDENTIFICATION
 *		src/base/zone.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_BASE_ZONE_H
#define MKTG_BASE_ZONE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "pgtime.h"

/* The zone AT TIME ZONE means by a name; refuses one that it does not know. */
extern pg_tz *mktg_find_zone(const char *name);

/* The local day of an instant, in days since 2000-01-01; refuses infinity. */
extern int32 mktg_day_at(TimestampTz at, pg_tz *zone);

/* When a local day begins. */
extern TimestampTz mktg_midnight(int64 day, pg_tz *zone);

/*
 * A time of ISO 8601, in the zone unless it names one; a date alone is its
 * midnight, and "date_only" says so.  False if it is none.
 */
extern bool mktg_read_time(const char *text, pg_tz *zone, TimestampTz *instant, bool *date_only);

/*
 * Offsets from UTC by spans of time of 2^37 microseconds, 38 hours: four years
 * of them.  A span in which the clocks change is asked about row by row.
 */
#define MKTG_SPAN_BITS	37
#define MKTG_SPANS		1024

typedef struct MktgSpan
{
	int64		number;
	int32		offset;			/* seconds east */
} MktgSpan;

typedef struct MktgDays
{
	pg_tz	   *zone;
	MktgSpan	spans[MKTG_SPANS];
} MktgDays;

extern void mktg_days_begin(MktgDays *days, pg_tz *zone);

/* The local day of an instant, in days since 2000-01-01. */
extern int32 mktg_local_day(MktgDays *days, TimestampTz at);

#endif
