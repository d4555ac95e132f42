/*-------------------------------------------------------------------------
 *
 * hours.c
 *		Quiet hours and weekdays, on the clock of the recipient.
 *
 * What counts is what that clock shows at an instant.  So an hour that a zone
 * leaves out in spring is over when the clock has leapt past it, and one that
 * it repeats in autumn is quiet, or not, twice.
 *
 * IDENTIFICATION
 *		src/sender/hours.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "sender/sender.h"

/* a week has 7 ends of quiet hours, 7 midnights and a change of the clock or two */
#define MOST_STEPS	32

bool
mktg_any_time(const MktgHours *hours)
{
	return !hours->quiet && hours->weekdays == MKTG_EVERY_WEEKDAY;
}

MktgHours
mktg_hours_at(uint64 row, int column)
{
	return (MktgHours)
	{
		.quiet = !mktg_null_at(row, column), .quiet_from = mktg_int64_at(row, column),
			.quiet_until = mktg_int64_at(row, column + 1), .weekdays = mktg_int32_at(row, column + 2)
	};
}

pg_tz *
mktg_zone_or(const char *name, pg_tz *fallback)
{
	pg_tz	   *zone = name == NULL ? NULL : pg_tzset(name);

	return zone == NULL ? fallback : zone;
}

static bool
is_quiet(const MktgHours *hours, TimeADT clock)
{
	if (!hours->quiet)
		return false;
	if (hours->quiet_from < hours->quiet_until)
		return clock >= hours->quiet_from && clock < hours->quiet_until;
	return clock >= hours->quiet_from || clock < hours->quiet_until;
}

/* How long the clock must run until it may allow something; 0: it does. */
static int64
wait_on_clock(const MktgHours *hours, const struct pg_tm *tm, fsec_t fsec)
{
	TimeADT		clock = ((tm->tm_hour * MINS_PER_HOUR + tm->tm_min) * SECS_PER_MINUTE + tm->tm_sec) * USECS_PER_SEC + fsec;
	int			weekday = (j2day(date2j(tm->tm_year, tm->tm_mon, tm->tm_mday)) + 6) % 7;

	if ((hours->weekdays & (1 << weekday)) == 0)
		return USECS_PER_DAY - clock;
	if (!is_quiet(hours, clock))
		return 0;
	return (clock < hours->quiet_until ? hours->quiet_until : USECS_PER_DAY) - clock;
}

TimestampTz
mktg_next_allowed(TimestampTz at, const MktgHours *hours, pg_tz *zone)
{
	if (mktg_any_time(hours))
		return at;
	for (int i = 0; i < MOST_STEPS; i++)
	{
		struct pg_tm tm;
		fsec_t		fsec;
		int			offset;
		int64		wait;
		pg_time_t	seconds = timestamptz_to_time_t(at);
		pg_time_t	boundary;
		long		before;
		long		after;
		int			before_isdst;
		int			after_isdst;

		if (timestamp2tm(at, &offset, &tm, &fsec, NULL, zone) != 0)
			return at;
		wait = wait_on_clock(hours, &tm, fsec);
		if (wait == 0)
			return at;
		/* where the clock is changed on the way, it is read again at that moment */
		if (pg_next_dst_boundary(&seconds, &before, &before_isdst, &boundary, &after, &after_isdst, zone) == 1)
			wait = Min(wait, time_t_to_timestamptz(boundary) - at);
		at += wait;
	}
	return at;
}
