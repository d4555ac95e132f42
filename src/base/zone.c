/*-------------------------------------------------------------------------
 *
 * zone.c
 *		Time zones by name, and local days of many instants.
 *
 * IDENTIFICATION
 *		src/base/zone.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "parser/scansup.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/zone.h"

#define NO_SPAN		PG_INT64_MIN
#define CHANGES		PG_INT32_MIN

void
mktg_days_begin(MktgDays *days, pg_tz *zone)
{
	days->zone = zone;
	for (int i = 0; i < MKTG_SPANS; i++)
		days->spans[i].number = NO_SPAN;
}

/* What AT TIME ZONE makes of the text: an abbreviation comes before a name. */
pg_tz *
mktg_find_zone(const char *name)
{
	char	   *small = downcase_truncate_identifier(name, strlen(name), false);
	pg_tz	   *zone = NULL;
	int			offset;
	int			kind;

	mktg_decode_timezone_abbrev(small, &kind, &offset, &zone);
	if (kind == TZ || kind == DTZ)
		zone = pg_tzset_offset(-offset);
	else if (kind != DYNTZ)
		zone = pg_tzset(name);
	if (zone == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("time zone \"%s\" does not exist", name),
				 errhint("Use a name such as Asia/Kolkata; SELECT name FROM pg_timezone_names lists them.")));
	return zone;
}

/* Seconds east of UTC at an instant; "until" is when they change, or the end of time. */
static int32
offset_at(const pg_tz *zone, TimestampTz at, TimestampTz *until)
{
	pg_time_t	seconds = timestamptz_to_time_t(at);
	pg_time_t	boundary;
	long		offset;
	long		offset_after;
	int			is_dst;
	int			found;

	/* which rounds towards zero, and times before 2000 are negative */
	if (at < 0 && at % USECS_PER_SEC != 0)
		seconds--;
	found = pg_next_dst_boundary(&seconds, &offset, &is_dst, &boundary, &offset_after, &is_dst, zone);
	if (found < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range"),
				 errhint("Correct the time of the row.")));
	*until = found > 0 ? time_t_to_timestamptz(boundary) : DT_NOEND;
	return offset;
}

static int64
floor_div(int64 value, int64 by)
{
	return value / by - (value % by < 0);
}

/* The local day of an instant, as a DateADT. */
int32
mktg_local_day(MktgDays *days, TimestampTz at)
{
	int64		number = at >> MKTG_SPAN_BITS;
	MktgSpan   *span = &days->spans[number & (MKTG_SPANS - 1)];
	TimestampTz until;
	int32		offset;

	if (unlikely(span->number != number))
	{
		TimestampTz begin = number * (INT64CONST(1) << MKTG_SPAN_BITS);

		span->number = number;
		span->offset = CHANGES;
		/* the very first span begins where timestamps do not */
		if (begin >= MIN_TIMESTAMP)
		{
			offset = offset_at(days->zone, begin, &until);
			if (until - 1 >= begin + ((INT64CONST(1) << MKTG_SPAN_BITS) - 1))
				span->offset = offset;
		}
	}
	offset = span->offset;
	if (unlikely(offset == CHANGES))
		offset = offset_at(days->zone, at, &until);
	return floor_div(at + offset * USECS_PER_SEC, USECS_PER_DAY);
}
