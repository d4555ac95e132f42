/*-------------------------------------------------------------------------
 *
 * refresh.c
 *		Segments brought up to date: one, all, or those who changed.
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
#include "pgtime.h"
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
#include "core/bitmap.h"
#include "segment/ask.h"
#include "segment/segment.h"

/* Above this part of all contacts, looking at everybody is cheaper. */
#define MANY_DIRTY		8

/* Sets taken at once; there may be one for every statement of a busy hour. */
#define SETS_AT_ONCE	20000

typedef struct Refreshed
{
	int64		segment;
	char	   *name;
	Jsonb	   *rules;
	bool		history;
	bool		stale;
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

static const Oid due_types[] = {INT8OID, INT8OID, TIMESTAMPTZOID, BYTEAOID};

static void write_failed(const Refresh *refresh);
static int64 count_contacts(int64 tenant);
static void compile_all(Refresh *refresh);
static void run_all(Refresh *refresh, const int64 *ids, int64 nids, int64 due_of);
static void note_flips(Refresh *refresh, const MktgPass *pass, int64 segment);

PG_FUNCTION_INFO_V1(mktg_refresh_segment);
PG_FUNCTION_INFO_V1(mktg_refresh_segments);
PG_FUNCTION_INFO_V1(mktg_refresh_dirty);

/* ---- the calendar ---- */

TimestampTz
mktg_calendar_due(const MktgRegistry *registry, MktgChanges changes, TimestampTz at)
{
	pg_tz	   *zone;
	struct pg_tm tm;
	fsec_t		fsec;
	int			offset;
	TimestampTz due;

	if (changes == MKTG_CHANGES_NEVER)
		return DT_NOEND;
	zone = mktg_find_zone(registry->time_zone);
	if (timestamp2tm(at, &offset, &tm, &fsec, NULL, zone) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	if (changes == MKTG_CHANGES_MONTHLY)
	{
		tm.tm_mday = 1;
		if (++tm.tm_mon > 12)
		{
			tm.tm_mon = 1;
			tm.tm_year++;
		}
	}
	else
		j2date(date2j(tm.tm_year, tm.tm_mon, tm.tm_mday) + 1, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_isdst = -1;
	offset = DetermineTimeZoneOffset(&tm, zone);
	if (tm2timestamp(&tm, 0, &offset, &due) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	return due;
}

/* ---- which segments ---- */

/*
 * Needs to be held against everybody: new, changed by the calendar, or unsettled
 * with nobody left to wait for.  One that failed gets a minute.
 */
#define IS_STALE(at) \
	"((refreshed_at IS NULL OR calendar_due <= " at " OR (settle_after > '0'::xid8 AND NOT EXISTS" \
	" (SELECT FROM pg_snapshot_xip(pg_current_snapshot()) AS x WHERE x < settle_after)))" \
	" AND (failed_at IS NULL OR failed_at < clock_timestamp() - interval '1 minute'))"

/* Always in this order, so that no two refreshes wait for each other. */
#define LOCK_SEGMENTS(which) \
	"SELECT segment_id, name, rules, keeps_history, " IS_STALE("$2") ", sources FROM mktg.segment" \
	" WHERE tenant_id = $1 AND kind = 'dynamic' AND " which " ORDER BY segment_id FOR NO KEY UPDATE"

static void
take_segments(Refresh *refresh, int64 segment)
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
	}
}

static void
begin(Refresh *refresh, TimestampTz at, int64 tenant)
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
static void
compile_all(Refresh *refresh)
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
static void
run_all(Refresh *refresh, const int64 *ids, int64 nids, int64 due_of)
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

static void
write_due(Refresh *refresh)
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
write_whole(Refresh *refresh, bool alone, uint64 next_xid)
{
	static MktgQuery query = MKTG_QUERY(
		"UPDATE mktg.segment s SET size = u.size, refreshed_at = $4, failure = NULL, failed_at = NULL,"
		"  calendar_due = nullif(u.calendar_due, 'infinity'),"
		"  settle_after = CASE WHEN settle_after IS NULL OR $5 THEN NULL WHEN settle_after = '0'::xid8 THEN $6::text::xid8"
		"   WHEN NOT EXISTS (SELECT FROM pg_snapshot_xip(pg_current_snapshot()) AS x WHERE x < settle_after) THEN NULL"
		"   ELSE settle_after END"
		" FROM unnest($1, $2, $3) AS u (segment_id, size, calendar_due)"
		" WHERE s.tenant_id = $7 AND s.segment_id = u.segment_id",
		INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZOID, BOOLOID, TEXTOID, INT8OID);
	static const Oid types[] = {INT8OID, INT8OID, TIMESTAMPTZOID};
	MktgColumns columns = MKTG_COLUMNS(types);

	for (int i = 0; i < refresh->n; i++)
	{
		const Refreshed *one = &refresh->segments[i];

		if (one->compiled != NULL)
			mktg_columns_add(&columns, (MktgArg[])
							 {
								 MKTG_INT64(one->segment), MKTG_INT64(one->change.size),
								 MKTG_TIME(mktg_calendar_due(one->compiled->registry, one->compiled->changes, refresh->at))
							 });
	}
	if (columns.n == 0)
		return;
	mktg_call(&query, mktg_columns_array(&columns, 0), mktg_columns_array(&columns, 1), mktg_columns_array(&columns, 2),
			  MKTG_TIME(refresh->at), MKTG_ARG(BoolGetDatum(alone)),
			  MKTG_TEXT(psprintf(UINT64_FORMAT, next_xid)), MKTG_INT64(refresh->tenant));
}

/* Does no other transaction run? And the first id that none of those has. */
static bool
running(uint64 *next_xid)
{
	static MktgQuery query = MKTG_QUERY("SELECT NOT EXISTS (SELECT FROM pg_snapshot_xip(pg_current_snapshot())),"
										" pg_snapshot_xmax(pg_current_snapshot())::text");

	mktg_run(&query, NULL);
	*next_xid = strtoull(mktg_text_at(0, 2), NULL, 10);
	return mktg_bool_at(0, 1);
}

/* Holds all contacts against the segments taken; "due_of" is whose due sets are replaced, 0 for all. */
static void
refresh_whole(Refresh *refresh, int64 due_of)
{
	static MktgQuery forget_all = MKTG_QUERY("DELETE FROM mktg.segment_due WHERE tenant_id = $1", INT8OID);
	static MktgQuery forget_one = MKTG_QUERY("DELETE FROM mktg.segment_due WHERE tenant_id = $1 AND segment_id = $2",
											 INT8OID, INT8OID);
	uint64		next_xid;
	bool		alone = running(&next_xid);

	compile_all(refresh);
	if (due_of == 0)
		mktg_call(&forget_all, MKTG_INT64(refresh->tenant));
	else
		mktg_call(&forget_one, MKTG_INT64(refresh->tenant), MKTG_INT64(due_of));
	run_all(refresh, NULL, 0, due_of);
	write_due(refresh);
	write_whole(refresh, alone, next_xid);
	write_failed(refresh);
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
	begin(&refresh, at, tenant);
	take_segments(&refresh, segment);
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
	refresh_whole(&refresh, segment);
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
	begin(&refresh, at, tenant);
	take_segments(&refresh, 0);
	refresh_whole(&refresh, 0);
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

/* ---- who changed ---- */

typedef struct Ids
{
	int64	   *ids;
	int64		n;
	int64		capacity;
} Ids;

static void
make_room(Ids *to, int64 more)
{
	if (to->n + more <= to->capacity)
		return;
	to->capacity = (to->n + more) * 2 + 64;
	to->ids = to->ids == NULL ? MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int64) * to->capacity) :
		repalloc_huge(to->ids, sizeof(int64) * to->capacity);
}

static bool
add_chunk(void *context, int64 chunk, const uint64 *words)
{
	Ids		   *to = context;

	make_room(to, mktg_words_count(words, MKTG_CHUNK_WORDS));
	for (int i = 0; i < MKTG_CHUNK_WORDS; i++)
		for (uint64 word = words[i]; word != 0; word &= word - 1)
			to->ids[to->n++] = (chunk << MKTG_CHUNK_SHIFT) + i * 64 + __builtin_ctzll(word);
	return true;
}

/* The contacts of the application's own ids; those that are none yet come with a mark of their own. */
static void
add_named(const Refresh *refresh, ArrayType *names, Ids *to)
{
	static MktgQuery query = MKTG_QUERY("SELECT contact_id FROM mktg.contact WHERE tenant_id = $1 AND external_id = ANY ($2)",
										INT8OID, TEXTARRAYOID);
	uint64		n = mktg_call(&query, MKTG_INT64(refresh->tenant), MKTG_ARG(PointerGetDatum(names)));

	make_room(to, n);
	for (uint64 i = 0; i < n; i++)
		to->ids[to->n++] = mktg_int64_at(i, 1);
}

static int
compare_ids(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

static List *
add_name(List *names, char *name)
{
	ListCell   *cell;

	foreach(cell, names)
		if (strcmp(lfirst(cell), name) == 0)
			return names;
	return lappend(names, name);
}

/* Segments that read none of the sources are left out. */
static void
leave_out(Refresh *refresh, List *sources)
{
	for (int i = 0; i < refresh->n; i++)
	{
		Datum	   *names;
		int			n;

		deconstruct_array(refresh->segments[i].sources, TEXTOID, -1, false, TYPALIGN_INT, &names, NULL, &n);
		refresh->segments[i].left_out = true;
		for (int k = 0; k < n; k++)
		{
			char	   *name = TextDatumGetCString(names[k]);
			ListCell   *cell;

			foreach(cell, sources)
				if (strcmp(lfirst(cell), name) == 0)
					refresh->segments[i].left_out = false;
		}
	}
}

static void
sort_ids(Ids *ids)
{
	int64		n = 0;

	qsort(ids->ids, ids->n, sizeof(int64), compare_ids);
	for (int64 i = 0; i < ids->n; i++)
		if (n == 0 || ids->ids[n - 1] != ids->ids[i])
			ids->ids[n++] = ids->ids[i];
	ids->n = n;
}

/* Who is in "ids" but not in "others"; both ascending. */
static void
take_away(Ids *ids, const Ids *others)
{
	int64		n = 0;
	int64		k = 0;

	for (int64 i = 0; i < ids->n; i++)
	{
		while (k < others->n && others->ids[k] < ids->ids[i])
			k++;
		if (k == others->n || others->ids[k] != ids->ids[i])
			ids->ids[n++] = ids->ids[i];
	}
	ids->n = n;
}

/*
 * Takes the sets that are due: who has to be held against all segments, and who
 * only against those that read one of the sources; ascending, each once.
 */
static void
take_due(Refresh *refresh, Ids *everywhere, Ids *dirty, List **sources)
{
	static MktgQuery query = MKTG_QUERY(
		"WITH d AS MATERIALIZED (SELECT s.ctid AS tid FROM mktg.segment_due s WHERE s.tenant_id = $1 AND s.due <= $2"
		"  ORDER BY s.due LIMIT $3 FOR UPDATE SKIP LOCKED)"
		" DELETE FROM mktg.segment_due s USING d WHERE s.ctid = d.tid RETURNING s.contacts, s.external_ids, s.source",
		INT8OID, TIMESTAMPTZOID, INT4OID);
	uint64		sets = mktg_call(&query, MKTG_INT64(refresh->tenant), MKTG_TIME(refresh->at), MKTG_INT32(SETS_AT_ONCE));
	List	   *names = NIL;
	ListCell   *cell;

	for (uint64 i = 0; i < sets; i++)
	{
		bool		isnull;
		char	   *source = mktg_text_at(i, 3);
		bytea	   *set;

		if (source != NULL)
			*sources = add_name(*sources, source);
		if (mktg_null_at(i, 1))
		{
			names = lappend(names, DatumGetArrayTypePCopy(mktg_value_at(i, 2, &isnull)));
			continue;
		}
		set = DatumGetByteaPP(mktg_value_at(i, 1, &isnull));
		if (!mktg_set_visit((const uint8_t *) VARDATA_ANY(set), VARSIZE_ANY_EXHDR(set), add_chunk,
							source == NULL ? everywhere : dirty))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("a set of contacts in mktg.segment_due cannot be read"),
					 errhint("DELETE FROM mktg.segment_due, then run mktg.refresh_segments().")));
	}
	foreach(cell, names)
		add_named(refresh, lfirst(cell), dirty);
	sort_ids(everywhere);
	sort_ids(dirty);
	take_away(dirty, everywhere);
}

static int64
count_contacts(int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT count(*) FROM mktg.contact WHERE tenant_id = $1", INT8OID);

	mktg_call(&query, MKTG_INT64(tenant));
	return mktg_int64_at(0, 1);
}

/* What a refresh of some contacts has made of the segments. */
static void
write_some(Refresh *refresh)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.segment s SET size = s.size + u.more"
										" FROM unnest($1, $2) AS u (segment_id, more)"
										" WHERE s.tenant_id = $3 AND s.segment_id = u.segment_id",
										INT8ARRAYOID, INT8ARRAYOID, INT8OID);
	static const Oid types[] = {INT8OID, INT8OID};
	MktgColumns columns = MKTG_COLUMNS(types);

	for (int i = 0; i < refresh->n; i++)
	{
		const MktgMembersChange *change = &refresh->segments[i].change;

		if (refresh->segments[i].compiled != NULL && change->entered != change->exited)
			mktg_columns_add(&columns, (MktgArg[])
							 {
								 MKTG_INT64(refresh->segments[i].segment), MKTG_INT64(change->entered - change->exited)
							 });
	}
	if (columns.n > 0)
		mktg_call(&query, mktg_columns_array(&columns, 0), mktg_columns_array(&columns, 1), MKTG_INT64(refresh->tenant));
}

/* A segment that failed is not up to date; why is there to be read. */
static void
write_failed(const Refresh *refresh)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.segment SET refreshed_at = NULL, failure = $3, failed_at = clock_timestamp()"
										" WHERE tenant_id = $1 AND segment_id = $2", INT8OID, INT8OID, TEXTOID);

	for (int i = 0; i < refresh->n; i++)
		if (refresh->segments[i].compiled == NULL)
			mktg_call(&query, MKTG_INT64(refresh->tenant), MKTG_INT64(refresh->segments[i].segment),
					  MKTG_TEXT(refresh->segments[i].failure));
}

/* Segments that are due for everybody: one alone, several with all others; who is looked at. */
static int64
refresh_stale(const Refresh *all)
{
	Refresh		refresh = *all;
	int			stale = 0;

	for (int i = 0; i < all->n; i++)
		if (all->segments[i].stale)
		{
			refresh.segments = &all->segments[i];
			stale++;
		}
	if (stale == 0)
		return 0;
	refresh.n = stale == 1 ? 1 : all->n;
	if (stale > 1)
		refresh.segments = all->segments;
	refresh_whole(&refresh, stale == 1 ? refresh.segments[0].segment : 0);
	return count_contacts(all->tenant);
}

/* Those beyond the limit wait for another time. */
static void
put_back(Refresh *refresh, Ids *everywhere, Ids *dirty, List *sources, int64 limit)
{
	ListCell   *cell;

	if (everywhere->n > limit)
	{
		mktg_mark_ids(refresh->tenant, NULL, everywhere->ids + limit, everywhere->n - limit);
		everywhere->n = limit;
	}
	limit -= everywhere->n;
	if (dirty->n <= limit)
		return;
	foreach(cell, sources)
		mktg_mark_ids(refresh->tenant, lfirst(cell), dirty->ids + limit, dirty->n - limit);
	dirty->n = limit;
}

/* Gives the number of contacts looked at. */
static int64
refresh_dirty(TimestampTz at, int64 tenant, int64 limit)
{
	Refresh		refresh;
	Ids			everywhere = {0};	/* to be held against all segments */
	Ids			dirty = {0};		/* to be held against those that read "sources" */
	List	   *sources = NIL;
	int64		looked;

	begin(&refresh, at, tenant);
	take_segments(&refresh, 0);
	looked = refresh_stale(&refresh);
	take_due(&refresh, &everywhere, &dirty, &sources);
	if (everywhere.n + dirty.n == 0 || refresh.n == 0)
		return looked;
	if (limit > 0)
		put_back(&refresh, &everywhere, &dirty, sources, limit);
	if (everywhere.n + dirty.n > 10000 && everywhere.n + dirty.n > count_contacts(tenant) / MANY_DIRTY)
	{
		refresh_whole(&refresh, 0);
		return looked + count_contacts(tenant);
	}
	compile_all(&refresh);
	for (int i = 0; i < refresh.n; i++)
		refresh.segments[i].change = (MktgMembersChange) {0};
	if (everywhere.n > 0)
		run_all(&refresh, everywhere.ids, everywhere.n, 0);
	if (dirty.n > 0)
	{
		leave_out(&refresh, sources);
		run_all(&refresh, dirty.ids, dirty.n, 0);
	}
	write_due(&refresh);
	write_some(&refresh);
	write_failed(&refresh);
	return looked + everywhere.n + dirty.n;
}

/*
 * SQL: mktg.refresh_dirty(limit bigint, at timestamptz, tenant bigint) returns bigint
 *
 * Errors: MK021 limit below 1.
 */
Datum
mktg_refresh_dirty(PG_FUNCTION_ARGS)
{
	TimestampTz at = mktg_at_argument(fcinfo, 1);
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");
	int64		looked;

	if (!PG_ARGISNULL(0) && PG_GETARG_INT64(0) < 1)
		mktg_require_limit("limit", (int32) Max(PG_GETARG_INT64(0), PG_INT32_MIN));
	mktg_begin();
	mktg_require_tenant(tenant);
	looked = refresh_dirty(at, tenant, PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0));
	mktg_end();
	PG_RETURN_INT64(looked);
}

/* A tenant with something to refresh; 0 if there is none. */
static int64
find_tenant(TimestampTz at)
{
	static MktgQuery query = MKTG_QUERY(
		"SELECT t.tenant_id FROM mktg.tenant t WHERE"
		" EXISTS (SELECT FROM mktg.segment WHERE tenant_id = t.tenant_id AND kind = 'dynamic' AND " IS_STALE("$1") ")"
		" OR EXISTS (SELECT FROM mktg.segment_due d WHERE d.tenant_id = t.tenant_id AND d.due <= $1)"
		" LIMIT 1", TIMESTAMPTZOID);

	return mktg_call(&query, MKTG_TIME(at)) == 0 ? 0 : mktg_int64_at(0, 1);
}

bool
mktg_refresh_wanted(TimestampTz at)
{
	return find_tenant(at) != 0;
}

bool
mktg_refresh_next(TimestampTz at, int64 limit)
{
	int64		tenant = find_tenant(at);

	return tenant != 0 && refresh_dirty(at, tenant, limit) > 0;
}
