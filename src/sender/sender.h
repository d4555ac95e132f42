/*-------------------------------------------------------------------------
 *
 * sender.h
 *		Senders, the pools they share, and the caps on both and on contacts.
 *
 * Functions are called within SPI (mktg_begin()) unless it says otherwise.
 *
 * IDENTIFICATION
 *		src/sender/sender.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_SENDER_H
#define MKTG_SENDER_H

#include "postgres.h"

#include "pgtime.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#include "base/query.h"

/* ---- hours.c: quiet hours and weekdays, on the recipient's clock ---- */

#define MKTG_EVERY_WEEKDAY	0x7f

typedef struct MktgHours
{
	bool		quiet;			/* the next two hold */
	TimeADT		quiet_from;		/* to quiet_until; over midnight where that is earlier */
	TimeADT		quiet_until;
	int			weekdays;		/* bit 0 is Monday */
} MktgHours;

extern bool mktg_any_time(const MktgHours *hours);

/* A sender's, of a row of the last result: quiet_from, quiet_until and MKTG_SQL_WEEKDAYS from that column on. */
extern MktgHours mktg_hours_at(uint64 row, int column);

/* Weekdays of row "s" of mktg.sender as MktgHours has them. */
#define MKTG_SQL_WEEKDAYS(s) "coalesce((SELECT sum(1 << (d - 1)) FROM unnest(" s ".weekdays) d), 127)::integer"

/*
 * The first instant from "at" on that the clock of the zone allows; "at"
 * itself where it does.  Needs no SPI.
 */
extern TimestampTz mktg_next_allowed(TimestampTz at, const MktgHours *hours, pg_tz *zone);

/* The zone of that name, or the other where there is none.  Needs no SPI. */
extern pg_tz *mktg_zone_or(const char *name, pg_tz *fallback);

/* ---- allowance.c: what senders and pools may still take ---- */

/* for how long a contact counts */
#define MKTG_POOL_WINDOW	(INT64CONST(24) * 60 * 60 * USECS_PER_SEC)

typedef struct MktgSenderCaps
{
	int64		tenant_id;
	int64		sender_id;
	int64		pool_id;		/* 0: none */
	DateADT		today;			/* the tenant's */
	int32		daily_limit;	/* of today, a warm-up included; 0: none */
	double		rate;			/* messages a second; 0: no limit */
	bool		budgeted;		/* there is a budget for the month */
} MktgSenderCaps;

typedef struct MktgPool
{
	int64		tenant_id;
	int64		pool_id;
	int32		used;			/* contacts that count now */
	int32		left;			/* more of them */
	TimestampTz frees_at;		/* when the next ceases to count; 0: none does */
} MktgPool;

/* What a sender may still take, and has taken in this claim. */
typedef struct MktgAllowance
{
	MktgSenderCaps caps;
	MktgPool   *pool;			/* NULL: none */
	int32		used;			/* of the day */
	double		tokens;
	int			left;			/* attempts, by the rate */
	int			first_left;		/* first attempts, by day and month */
	int			first_attempts;
	int			attempts;
	TimestampTz refills_at;		/* when the rate allows the next; 0: now */
} MktgAllowance;

typedef struct MktgAllowances
{
	int			n;
	MktgAllowance *list;
	int			npools;
	MktgPool   *pools;
	MktgColumns contacts;		/* newly in a pool */
} MktgAllowances;

/* Is there a cap at all? */
extern bool mktg_is_capped(const MktgSenderCaps *caps);

/* Adds a sender; one that is there already is found again. */
extern MktgAllowance *mktg_allowances_add(MktgAllowances *all, const MktgSenderCaps *caps);

/* Locks pools and senders, in the order of their keys, and reads what is left. */
extern void mktg_allowances_lock(MktgAllowances *all, TimestampTz now);
extern MktgAllowance *mktg_allowances_find(const MktgAllowances *all, int64 tenant, int64 sender);

/* A contact is written to: it counts in the pool from "at" on. */
extern void mktg_allowances_count(MktgAllowances *all, const MktgAllowance *allowance, int64 contact, TimestampTz at);

/* Writes what was taken. */
extern void mktg_allowances_spend(MktgAllowances *all);

/* Least of daily limit and warm-up, for row "s" of mktg.sender on a day (SQL expressions); NULL: none. */
#define MKTG_SQL_DAY_LIMIT(s, day) \
	"least(" s ".daily_limit, CASE WHEN " day " - " s ".warmup_start < cardinality(" s ".warmup)" \
	" THEN " s ".warmup[greatest(" day " - " s ".warmup_start, 0) + 1] END)"

/* ---- frequency.c: caps on contacts ---- */

/* Do messages of campaign row "c" count at all? */
#define MKTG_SQL_COUNTED(c) "(" c ".type <> 'transactional' AND " c ".channel <> 'ads')"

/* Is cap row "f" about row "r" with channel and type? */
#define MKTG_SQL_CAP_MEANS(f, r) "(" f ".channel IS NULL OR " f ".channel = " r ".channel)" \
	" AND (" f ".type IS NULL OR " f ".type = " r ".type)"

typedef struct MktgTouch
{
	int64		tenant_id;
	int64		campaign_id;
	int64		contact_id;
	const char *ref;
	const char *channel;
	const char *type;
	/* answers */
	bool		over;
	bool		skip;			/* else it waits */
	TimestampTz until;			/* when no cap is in the way any more */
	char	   *cap;			/* name of that with the last word */
} MktgTouch;

/* Locks the caps of tenants: claims of theirs go one after another. */
extern void mktg_frequency_lock(const int64 *tenants, int n);
extern void mktg_frequency_ask(MktgTouch *touches, int n, TimestampTz now);
extern void mktg_frequency_record(const MktgTouch *touches, int n, TimestampTz now);

/* Takes back what never arrived. */
extern const Oid mktg_untouch_types[4];
extern void mktg_frequency_forget(const MktgColumns *messages);

#endif
