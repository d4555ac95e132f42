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
#include "utils/date.h"
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

int32
mktg_day_at(TimestampTz at, pg_tz *zone)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			offset;

	if (TIMESTAMP_NOT_FINITE(at) || timestamp2tm(at, &offset, &tm, &fsec, NULL, zone) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range"),
				 errhint("Give a time that has a day.")));
	return date2j(tm.tm_year, tm.tm_mon, tm.tm_mday) - POSTGRES_EPOCH_JDATE;
}

TimestampTz
mktg_midnight(int64 day, pg_tz *zone)
{
	struct pg_tm tm = {0};
	int			offset;
	TimestampTz result;

	/* some 5,000 years either way */
	day = Min(Max(day, -2000000), 2000000);
	j2date((int) day + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
	tm.tm_isdst = -1;
	offset = DetermineTimeZoneOffset(&tm, zone);
	if (tm2timestamp(&tm, 0, &offset, &result) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range"),
				 errhint("Give a time that has a day.")));
	return result;
}

bool
mktg_read_time(const char *text, pg_tz *zone, TimestampTz *instant, bool *date_only)
{
	char		workbuf[MAXDATELEN + MAXDATEFIELDS];
	char	   *field[MAXDATEFIELDS];
	int			ftype[MAXDATEFIELDS];
	int			nfields;
	int			kind;
	int			offset;
	struct pg_tm tm;
	fsec_t		fsec;

	/* a year first: what else the server reads depends on its settings */
	if (strspn(text, "0123456789") < 4 ||
		ParseDateTime(text, workbuf, sizeof(workbuf), field, ftype, MAXDATEFIELDS, &nfields) != 0)
		return false;
	*date_only = nfields == 1;
	if (mktg_decode_datetime(field, ftype, nfields, &kind, &tm, &fsec, NULL) == 0)
	{
		tm.tm_isdst = -1;
		if (kind == DTK_DATE)
			offset = DetermineTimeZoneOffset(&tm, zone);
	}
	/* a zone of its own is an error where none is wanted */
	else if (ParseDateTime(text, workbuf, sizeof(workbuf), field, ftype, MAXDATEFIELDS, &nfields) != 0 ||
			 mktg_decode_datetime(field, ftype, nfields, &kind, &tm, &fsec, &offset) != 0)
		return false;
	return kind == DTK_DATE && tm2timestamp(&tm, fsec, &offset, instant) == 0;
}
