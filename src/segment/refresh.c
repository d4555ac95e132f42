/*-------------------------------------------------------------------------
 *
 * refresh.c
 *		Segments brought up to date: one, or all; dirty.c has those who changed.
 *
 * A refresh first locks the segments it writes and takes the marks of what
 * changed, then looks: so it sees all that the marks it took are about, and
 * what comes later has marks of its own.  With the members it writes down when,
 * for whom, time alone will change an answer; those contacts are then marked.
 * What the calendar changes for everybody has a due date at the segment.
 *
 * A segment is new to the triggers: who wrote while it was made may have left
 * no mark.  It is refreshed whole once more after all transactions of that time
 * have ended (settle_after).
 *
 * IDENTIFICATION
 *		src/segment/refresh.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "base/zone.h"
#include "segment/ask.h"
#include "segment/refreshing.h"

/* Ids of transactions, as texts. */
typedef struct Running
{
	char	   *own;
	char	   *oldest;			/* of those that run */
} Running;

static const Oid due_types[] = {INT8OID, INT8OID, TIMESTAMPTZOID, BYTEAOID};

static void note_flips(Refresh *refresh, const MktgPass *pass, int64 segment);

PG_FUNCTION_INFO_V1(mktg_refresh_segment);
PG_FUNCTION_INFO_V1(mktg_refresh_segments);

/* ---- the calendar ---- */

TimestampTz
mktg_calendar_due(const MktgRegistry *registry, MktgChanges changes, TimestampTz at)
{
	pg_tz	   *zone;
	int32		day;
	int			year;
	int			month;
	int			mday;

	if (changes == MKTG_CHANGES_NEVER)
		return DT_NOEND;
	zone = mktg_find_zone(registry->time_zone);
	day = mktg_day_at(at, zone);
	j2date(day + POSTGRES_EPOCH_JDATE, &year, &month, &mday);
	if (changes == MKTG_CHANGES_MONTHLY)
		return mktg_midnight((month == 12 ? date2j(year + 1, 1, 1) : date2j(year, month + 1, 1)) - POSTGRES_EPOCH_JDATE, zone);
	return mktg_midnight(day + 1, zone);
}

/* ---- which segments ---- */

/* Always in this order, so that no two refreshes wait for each other. */
#define LOCK_SEGMENTS(which) \
	"SELECT segment_id, name, rules, keeps_history, " MKTG_IS_STALE("$2") ", sources, xmin," \
	" refreshed_at IS NULL OR calendar_due <= $2 FROM mktg.segment" \
	" WHERE tenant_id = $1 AND kind = 'dynamic' AND " which " ORDER BY segment_id FOR NO KEY UPDATE"

void
mktg_refresh_take_segments(Refresh *refresh, int64 segment)
{
	static MktgQuery all = MKTG_QUERY(LOCK_SEGMENTS("$3 IS NULL"), INT8OID, TIMESTAMPTZOID, INT8OID);
	static MktgQuery one = MKTG_QUERY(LOCK_SEGMENTS("segment_id = $3"), INT8OID, TIMESTAMPTZOID, INT8OID);
	uint64		n = mktg_call(segment == 0 ? &all : &one, MKTG_INT64(refresh->tenant), MKTG_TIME(refresh->at),
							  segment == 0 ? MKTG_NULL : MKTG_INT64(segment));

	refresh->segments = palloc0(sizeof(Refreshed) * (n + 1));
	refresh->n = n;
	for (uint64 i = 0; i < n; i++)
	{
		Refreshed  *taken = &refresh->segments[i];
		bool		isnull;

		taken->segment = mktg_int64_at(i, 1);
		taken->name = mktg_text_at(i, 2);
		taken->rules = DatumGetJsonbPCopy(mktg_value_at(i, 3, &isnull));
		taken->history = mktg_bool_at(i, 4);
		taken->stale = mktg_bool_at(i, 5);
		taken->sources = DatumGetArrayTypePCopy(mktg_value_at(i, 6, &isnull));
		taken->made_here = TransactionIdIsCurrentTransactionId(DatumGetTransactionId(mktg_value_at(i, 7, &isnull)));
		/* that it is not settled yet is for later transactions */
		if (taken->made_here)
			taken->stale &= mktg_bool_at(i, 8);
	}
}

void
mktg_refresh_begin(Refresh *refresh, TimestampTz at, int64 tenant)
{
	memset(refresh, 0, sizeof(*refresh));
	refresh->tenant = tenant;
	refresh->at = at;
	refresh->due = (MktgColumns) MKTG_COLUMNS(due_types);
}

/* ---- errors of single segments ---- */

typedef struct Attempt
{
	Refresh    *refresh;
	int			segment;		/* -1: all */
	const int64 *ids;
	int64		nids;
	int64		due_of;
} Attempt;

/*
 * Calls "work" so that an error undoes it alone; false, and the error as a
 * warning, if there was one.
 */
static bool
attempt(void (*work) (Attempt *), Attempt *what, const char *name)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool ok = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		work(what);
		ReleaseCurrentSubTransaction();
		ok = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		/* whoever cancels means all of it */
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN ||
			ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK)
			ReThrowError(error);
		if (name != NULL)
		{
			what->refresh->segments[what->segment].failure = pstrdup(error->message);
			ereport(WARNING,
					(errcode(error->sqlerrcode),
					 errmsg("segment \"%s\" was not refreshed: %s", name, error->message),
					 error->hint != NULL ? errhint("%s", error->hint) : 0));
		}
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return ok;
}

static void
compile_one(Attempt *what)
{
	Refreshed  *one = &what->refresh->segments[what->segment];

	one->compiled = mktg_compile_rules(one->rules, what->refresh->at, what->refresh->tenant);
}

/* Rules that may not hold any more: NULL, without a word, if they do not. */
MktgCompiled *
mktg_try_compile(Jsonb *rules, TimestampTz at, int64 tenant)
{
	Refreshed	one = {.rules = rules};
	Refresh		refresh = {.tenant = tenant, .at = at, .segments = &one, .n = 1};
	Attempt		what = {.refresh = &refresh};

	return attempt(compile_one, &what, NULL) ? one.compiled : NULL;
}

/* Rules may have come to name what was dropped; the other segments do not mind. */
void
mktg_refresh_compile_all(Refresh *refresh)
{
	for (int i = 0; i < refresh->n; i++)
	{
		Attempt		what = {.refresh = refresh, .segment = i};

		if (!attempt(compile_one, &what, refresh->segments[i].name))
			refresh->segments[i].compiled = NULL;
	}
}

/* ---- evaluating and writing ---- */

static void
hold(Attempt *what)
{
	Refresh    *refresh = what->refresh;
	MktgCompiled **compiled = palloc(sizeof(MktgCompiled *) * (refresh->n + 1));
	Refreshed **segments = palloc(sizeof(Refreshed *) * (refresh->n + 1));
	MktgMembersWriter writer;
	MktgPass   *pass;
	int			n = 0;

	for (int i = 0; i < refresh->n; i++)
		if (refresh->segments[i].compiled != NULL && !refresh->segments[i].left_out &&
			(what->segment < 0 || what->segment == i))
		{
			segments[n] = &refresh->segments[i];
			compiled[n++] = refresh->segments[i].compiled;
		}
	if (n == 0)
		return;
	/* a snapshot of its own: later than the marks that were taken */
	PushActiveSnapshot(GetTransactionSnapshot());
	pass = mktg_pass_run(compiled, n, what->ids, what->nids, refresh->tenant);
	PopActiveSnapshot();
	mktg_members_begin(&writer, refresh->tenant, refresh->at);
	for (int i = 0; i < n; i++)
	{
		MktgMembersChange change = mktg_members_apply(&writer, segments[i]->segment, &pass->universe, pass->members[i],
													  what->ids == NULL, segments[i]->history);

		segments[i]->change.entered += change.entered;
		segments[i]->change.exited += change.exited;
		segments[i]->change.size = change.size;
	}
	mktg_members_end(&writer);
	note_flips(refresh, pass, what->due_of);
}

/* All together; if that fails, each for itself, and those that fail are left out. */
void
mktg_refresh_run_all(Refresh *refresh, const int64 *ids, int64 nids, int64 due_of)
{
	Attempt		what = {.refresh = refresh, .segment = -1, .ids = ids, .nids = nids, .due_of = due_of};

	if (refresh->n == 1 || !attempt(hold, &what, NULL))
		for (int i = 0; i < refresh->n; i++)
		{
			what.segment = i;
			if (refresh->segments[i].compiled != NULL && !attempt(hold, &what, refresh->segments[i].name))
				refresh->segments[i].compiled = NULL;
		}
}

/*
 * Contacts by when they are due: minutes of the next hour, hours of the next
 * day, days after that.  A set is due when the first of it is.
 */
#define MINUTES		60
#define HOURS		24
#define DAYS		40000
#define SLOTS		(MINUTES + HOURS + DAYS)

static int
slot_of(int64 wait)
{
	if (wait < USECS_PER_HOUR)
		return (int) (wait / USECS_PER_MINUTE);
	if (wait < USECS_PER_DAY)
		return MINUTES + (int) (wait / USECS_PER_HOUR);
	return MINUTES + HOURS + (int) Min(wait / USECS_PER_DAY, DAYS - 1);
}

static void
note_flips(Refresh *refresh, const MktgPass *pass, int64 segment)
{
	const TimestampTz *flips = pass->next_flip;
	int64	   *counts;
	int64	   *begins;
	TimestampTz *first;
	int64	   *ids;
	int64		total = 0;

	if (flips == NULL)
		return;
	counts = palloc0(sizeof(int64) * SLOTS);
	begins = palloc0(sizeof(int64) * SLOTS);
	first = palloc(sizeof(TimestampTz) * SLOTS);
	for (int64 i = 0; i < pass->universe.n; i++)
		if (flips[i] != PG_INT64_MAX)
		{
			int			slot = slot_of(flips[i] - refresh->at);

			if (counts[slot]++ == 0 || first[slot] > flips[i])
				first[slot] = flips[i];
		}
	for (int slot = 0; slot < SLOTS; slot++)
	{
		begins[slot] = total;
		total += counts[slot];
	}
	ids = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int64) * (total + 1));
	for (int64 i = 0; i < pass->universe.n; i++)
		if (flips[i] != PG_INT64_MAX)
			ids[begins[slot_of(flips[i] - refresh->at)]++] = pass->universe.ids[i];
	for (int slot = 0; slot < SLOTS; slot++)
		if (counts[slot] > 0)
			mktg_columns_add(&refresh->due, (MktgArg[])
							 {
								 MKTG_INT64(refresh->tenant), MKTG_INT64(segment), MKTG_TIME(first[slot]),
								 mktg_set_datum(ids + begins[slot] - counts[slot], counts[slot])
							 });
	pfree(ids);
}

void
mktg_refresh_write_due(Refresh *refresh)
{
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.segment_due (tenant_id, segment_id, due, contacts)"
										" SELECT * FROM unnest($1, $2, $3, $4)",
										INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, BYTEAARRAYOID);

	mktg_run_columns(&query, &refresh->due);
}

/*
 * Notes at the segments what a refresh of all contacts has made of them.
 * Whether transactions are left that may have written without marks was asked
 * before the refresh began.
 */
static void
write_whole(Refresh *refresh, const Running *running)
{
	static MktgQuery query = MKTG_QUERY(
		"UPDATE mktg.segment s SET size = u.size, refreshed_at = $5, failure = NULL, failed_at = NULL,"
		"  calendar_due = nullif(u.calendar_due, 'infinity'),"
		"  settle_after = CASE WHEN settle_after IS NULL THEN NULL WHEN u.made_here THEN '0'::xid8"
		"   WHEN $6::text::xid8 >= CASE settle_after WHEN '0'::xid8 THEN $7::text::xid8 ELSE settle_after END THEN NULL"
		"   WHEN settle_after = '0'::xid8 THEN $7::text::xid8 ELSE settle_after END"
		" FROM unnest($1, $2, $3, $4) AS u (segment_id, size, calendar_due, made_here)"
		" WHERE s.tenant_id = $8 AND s.segment_id = u.segment_id",
		INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, BOOLARRAYOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, INT8OID);
	static const Oid types[] = {INT8OID, INT8OID, TIMESTAMPTZOID, BOOLOID};
	MktgColumns columns = MKTG_COLUMNS(types);

	for (int i = 0; i < refresh->n; i++)
	{
		const Refreshed *one = &refresh->segments[i];

		if (one->compiled != NULL)
			mktg_columns_add(&columns, (MktgArg[])
							 {
								 MKTG_INT64(one->segment), MKTG_INT64(one->change.size),
								 MKTG_TIME(mktg_calendar_due(one->compiled->registry, one->compiled->changes, refresh->at)),
								 MKTG_ARG(BoolGetDatum(one->made_here))
							 });
	}
	if (columns.n == 0)
		return;
	mktg_call(&query, mktg_columns_array(&columns, 0), mktg_columns_array(&columns, 1), mktg_columns_array(&columns, 2),
			  mktg_columns_array(&columns, 3), MKTG_TIME(refresh->at), MKTG_TEXT(running->oldest), MKTG_TEXT(running->own),
			  MKTG_INT64(refresh->tenant));
}

/*
 * Ids of transactions: all below the oldest have ended; whoever wrote before this
 * one began to has one below its own.  The snapshot's list of those that run has
 * none younger than the last that ended, so its oldest is what to ask for.
 */
static void
find_running(Running *running)
{
	static MktgQuery query = MKTG_QUERY("SELECT pg_current_xact_id()::text, pg_snapshot_xmin(pg_current_snapshot())::text");

	mktg_run(&query, NULL);
	running->own = mktg_text_at(0, 1);
	running->oldest = mktg_text_at(0, 2);
}

/* A segment that failed is not up to date; why is there to be read. */
void
mktg_refresh_write_failed(const Refresh *refresh)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.segment SET refreshed_at = NULL, failure = $3, failed_at = clock_timestamp()"
										" WHERE tenant_id = $1 AND segment_id = $2", INT8OID, INT8OID, TEXTOID);

	for (int i = 0; i < refresh->n; i++)
		if (refresh->segments[i].compiled == NULL)
			mktg_call(&query, MKTG_INT64(refresh->tenant), MKTG_INT64(refresh->segments[i].segment),
					  MKTG_TEXT(refresh->segments[i].failure));
}

/* Holds all contacts against the segments taken; "due_of" is whose due sets are replaced, 0 for all. */
void
mktg_refresh_whole(Refresh *refresh, int64 due_of)
{
	static MktgQuery forget_all = MKTG_QUERY("DELETE FROM mktg.segment_due WHERE tenant_id = $1", INT8OID);
	static MktgQuery forget_one = MKTG_QUERY("DELETE FROM mktg.segment_due WHERE tenant_id = $1 AND segment_id = $2",
											 INT8OID, INT8OID);
	Running		running;

	find_running(&running);
	mktg_refresh_compile_all(refresh);
	if (due_of == 0)
	{
		mktg_call(&forget_all, MKTG_INT64(refresh->tenant));
		mktg_refresh_static(refresh);
	}
	else
		mktg_call(&forget_one, MKTG_INT64(refresh->tenant), MKTG_INT64(due_of));
	mktg_refresh_run_all(refresh, NULL, 0, due_of);
	mktg_refresh_write_due(refresh);
	write_whole(refresh, &running);
	mktg_refresh_write_failed(refresh);
}

/*
 * SQL: mktg.refresh_segment(segment bigint, at timestamptz, tenant bigint) returns (entered, exited, size)
 *
 * Errors: MK019 segment, MK029 a static one.
 */
Datum
mktg_refresh_segment(PG_FUNCTION_ARGS)
{
	int64		segment = mktg_int64_argument(fcinfo, 0, "segment");
	TimestampTz at = mktg_at_argument(fcinfo, 1);
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");
	Refresh		refresh;
	Datum		result;

	mktg_begin();
	mktg_refresh_begin(&refresh, at, tenant);
	mktg_refresh_take_segments(&refresh, segment);
	if (refresh.n == 0)
	{
		mktg_require_segment(segment, tenant);
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_WRONG_KIND),
				 errmsg("segment " INT64_FORMAT " is static", segment),
				 errhint("Its members are those of mktg.add_to_segment() and remove_from_segment().")));
	}
	/* here an error is the caller's */
	(void) mktg_compile_rules(refresh.segments[0].rules, at, tenant);
	mktg_refresh_whole(&refresh, segment);
	if (refresh.segments[0].compiled == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_RULE),
				 errmsg("segment \"%s\" cannot be refreshed", refresh.segments[0].name),
				 errdetail("Looking at the rows failed: %s.", refresh.segments[0].failure),
				 errhint("Mend the rows, or the expression of the field: SELECT * FROM mktg.rule_field.")));
	result = mktg_keep_row(fcinfo, (MktgArg[])
						   {
							   MKTG_INT64(refresh.segments[0].change.entered),
							   MKTG_INT64(refresh.segments[0].change.exited),
							   MKTG_INT64(refresh.segments[0].change.size)
						   });
	mktg_end();
	PG_RETURN_DATUM(result);
}

/*
 * SQL: mktg.refresh_segments(at timestamptz, tenant bigint)
 *		returns setof (segment_id, name, entered, exited, size)
 *
 * A segment whose rules do not hold any more is left out, with a warning.
 */
Datum
mktg_refresh_segments(PG_FUNCTION_ARGS)
{
	TimestampTz at = mktg_at_argument(fcinfo, 0);
	int64		tenant = mktg_int64_argument(fcinfo, 1, "tenant");
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Refresh		refresh;

	InitMaterializedSRF(fcinfo, 0);
	mktg_begin();
	mktg_require_tenant(tenant);
	mktg_refresh_begin(&refresh, at, tenant);
	mktg_refresh_take_segments(&refresh, 0);
	mktg_refresh_whole(&refresh, 0);
	for (int i = 0; i < refresh.n; i++)
	{
		const Refreshed *one = &refresh.segments[i];
		Datum		values[5] = {
			Int64GetDatum(one->segment), CStringGetTextDatum(one->name), Int64GetDatum(one->change.entered),
			Int64GetDatum(one->change.exited), Int64GetDatum(one->change.size)
		};
		bool		nulls[5] = {0};

		if (one->compiled != NULL)
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	mktg_end();
	return (Datum) 0;
}
