/*-------------------------------------------------------------------------
 *
 * refreshing.h
 *		A refresh under way: between refresh.c and dirty.c.
 *
 * IDENTIFICATION
 *		src/segment/refreshing.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_SEGMENT_REFRESHING_H
#define MKTG_SEGMENT_REFRESHING_H

#include "postgres.h"

#include "utils/array.h"

#include "segment/segment.h"

typedef struct Refreshed
{
	int64		segment;
	char	   *name;
	Jsonb	   *rules;
	bool		history;
	bool		stale;
	bool		made_here;		/* by this transaction: others cannot see it yet */
	bool		left_out;		/* of what is held now: it reads nothing that changed */
	ArrayType  *sources;
	char	   *failure;		/* or NULL */
	MktgCompiled *compiled;		/* NULL: its rules do not hold any more */
	MktgMembersChange change;
} Refreshed;

typedef struct Refresh
{
	int64		tenant;
	TimestampTz at;
	Refreshed  *segments;
	int			n;
	MktgColumns due;
} Refresh;

/*
 * Needs to be held against everybody: new, changed by the calendar, or unsettled
 * with nobody left to wait for.  One that failed gets a minute.
 */
#define MKTG_IS_STALE(at) \
	"((refreshed_at IS NULL OR calendar_due <= " at " OR pg_snapshot_xmin(pg_current_snapshot()) >= settle_after)" \
	" AND (failed_at IS NULL OR failed_at < clock_timestamp() - interval '1 minute'))"

extern void mktg_refresh_begin(Refresh *refresh, TimestampTz at, int64 tenant);

/* Locks and reads the dynamic segments of the tenant, or one of them; always in the same order. */
extern void mktg_refresh_take_segments(Refresh *refresh, int64 segment);

/* Compiles what was taken; rules that do not hold any more leave a failure. */
extern void mktg_refresh_compile_all(Refresh *refresh);

/* Holds contacts (NULL: all) against all segments that are not left out, and writes members. */
extern void mktg_refresh_run_all(Refresh *refresh, const int64 *ids, int64 nids, int64 due_of);

/* Writes down when time alone will change an answer. */
extern void mktg_refresh_write_due(Refresh *refresh);
extern void mktg_refresh_write_failed(const Refresh *refresh);

/* Static segments lose contacts that are no more. */
extern void mktg_refresh_static(const Refresh *refresh);

/* All of it for all contacts; "due_of" is whose due sets are replaced, 0 for all. */
extern void mktg_refresh_whole(Refresh *refresh, int64 due_of);

#endif
