/*-------------------------------------------------------------------------
 *
 * dirty.c
 *		Contacts that changed, or that time changed, held against the rules
 *		again.
 *
 * IDENTIFICATION
 *		src/segment/dirty.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "core/bitmap.h"
#include "segment/ask.h"
#include "segment/refreshing.h"

/* Above this part of all contacts, looking at everybody is cheaper. */
#define MANY_DIRTY		8

/* Sets taken at once; there may be one for every statement of a busy hour. */
#define SETS_AT_ONCE	20000

PG_FUNCTION_INFO_V1(mktg_refresh_dirty);

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

/* Are n contacts more than one in MANY_DIRTY?  Counts no further than it takes. */
static bool
are_many(int64 n, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT count(*) FROM (SELECT FROM mktg.contact WHERE tenant_id = $1 LIMIT $2) c",
										INT8OID, INT8OID);

	mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(n * MANY_DIRTY));
	return mktg_int64_at(0, 1) < n * MANY_DIRTY;
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
	mktg_refresh_whole(&refresh, stale == 1 ? refresh.segments[0].segment : 0);
	return count_contacts(all->tenant);
}

/* Static segments lose the contacts that are gone: the rows of the last statement. */
static void
leave_static(const Refresh *refresh, uint64 ngone)
{
	static MktgQuery segment_query = MKTG_QUERY("SELECT segment_id, keeps_history FROM mktg.segment"
												" WHERE tenant_id = $1 AND kind = 'static' ORDER BY segment_id FOR NO KEY UPDATE",
												INT8OID);
	static MktgQuery size_query = MKTG_QUERY("UPDATE mktg.segment SET size = size - $3"
											 " WHERE tenant_id = $1 AND segment_id = $2", INT8OID, INT8OID, INT8OID);
	MktgUniverse gone = {.n = ngone};
	MktgMembersWriter writer;
	uint64	   *nobody;
	uint64		n;
	int64	   *segments;
	bool	   *history;

	if (ngone == 0)
		return;
	gone.ids = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int64) * ngone);
	for (uint64 i = 0; i < ngone; i++)
		gone.ids[i] = mktg_int64_at(i, 1);
	nobody = palloc0((ngone / 64 + 1) * sizeof(uint64));
	n = mktg_call(&segment_query, MKTG_INT64(refresh->tenant));
	segments = palloc(sizeof(int64) * (n + 1));
	history = palloc(n + 1);
	for (uint64 i = 0; i < n; i++)
	{
		segments[i] = mktg_int64_at(i, 1);
		history[i] = mktg_bool_at(i, 2);
	}
	mktg_members_begin(&writer, refresh->tenant, refresh->at);
	for (uint64 i = 0; i < n; i++)
	{
		MktgMembersChange change = mktg_members_apply(&writer, segments[i], &gone, nobody, false, history[i]);

		if (change.exited > 0)
			mktg_call(&size_query, MKTG_INT64(refresh->tenant), MKTG_INT64(segments[i]), MKTG_INT64(change.exited));
	}
	mktg_members_end(&writer);
}

void
mktg_refresh_static(const Refresh *refresh)
{
	static MktgQuery query = MKTG_BULK_QUERY(
		"SELECT DISTINCT m.contact_id FROM mktg.segment s"
		" JOIN mktg.segment_bitmap b ON b.tenant_id = $1 AND b.segment_id = s.segment_id"
		" CROSS JOIN LATERAL mktg._chunk_members(b.chunk, b.bits) AS m (contact_id)"
		" WHERE s.tenant_id = $1 AND s.kind = 'static' AND NOT EXISTS"
		"  (SELECT FROM mktg.contact c WHERE c.tenant_id = $1 AND c.contact_id = m.contact_id)"
		" ORDER BY m.contact_id", INT8OID);

	leave_static(refresh, mktg_call(&query, MKTG_INT64(refresh->tenant)));
}

/* The same for some contacts, whether they are gone or not. */
static void
refresh_static_of(const Refresh *refresh, const Ids *ids)
{
	static MktgQuery query = MKTG_BULK_QUERY("SELECT u.id FROM unnest($2::bigint[]) AS u (id) WHERE NOT EXISTS"
										" (SELECT FROM mktg.contact c WHERE c.tenant_id = $1 AND c.contact_id = u.id)"
										" ORDER BY u.id", INT8OID, INT8ARRAYOID);
	Datum	   *values = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Datum) * (ids->n + 1));

	for (int64 i = 0; i < ids->n; i++)
		values[i] = Int64GetDatum(ids->ids[i]);
	leave_static(refresh, mktg_call(&query, MKTG_INT64(refresh->tenant),
									MKTG_ARG(mktg_array(values, NULL, (int) ids->n, INT8OID))));
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

	mktg_refresh_begin(&refresh, at, tenant);
	mktg_refresh_take_segments(&refresh, 0);
	looked = refresh_stale(&refresh);
	take_due(&refresh, &everywhere, &dirty, &sources);
	if (everywhere.n + dirty.n == 0)
		return looked;
	if (limit > 0)
		put_back(&refresh, &everywhere, &dirty, sources, limit);
	if (everywhere.n > 0)
		refresh_static_of(&refresh, &everywhere);
	if (refresh.n == 0)
		return looked + everywhere.n;
	if (everywhere.n + dirty.n > 10000 && are_many(everywhere.n + dirty.n, tenant))
	{
		mktg_refresh_whole(&refresh, 0);
		return looked + count_contacts(tenant);
	}
	mktg_refresh_compile_all(&refresh);
	for (int i = 0; i < refresh.n; i++)
		refresh.segments[i].change = (MktgMembersChange) {0};
	if (everywhere.n > 0)
		mktg_refresh_run_all(&refresh, everywhere.ids, everywhere.n, 0);
	if (dirty.n > 0)
	{
		leave_out(&refresh, sources);
		mktg_refresh_run_all(&refresh, dirty.ids, dirty.n, 0);
	}
	mktg_refresh_write_due(&refresh);
	write_some(&refresh);
	mktg_refresh_write_failed(&refresh);
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

/* A tenant with something to refresh, the first behind the one given; 0 if there is none. */
static int64
find_tenant(TimestampTz at, int64 behind)
{
	static MktgQuery query = MKTG_QUERY(
		"SELECT t.tenant_id FROM mktg.tenant t WHERE"
		" EXISTS (SELECT FROM mktg.segment WHERE tenant_id = t.tenant_id AND kind = 'dynamic' AND " MKTG_IS_STALE("$1") ")"
		" OR EXISTS (SELECT FROM mktg.segment_due d WHERE d.tenant_id = t.tenant_id AND d.due <= $1)"
		" ORDER BY t.tenant_id <= $2, t.tenant_id LIMIT 1", TIMESTAMPTZOID, INT8OID);

	return mktg_call(&query, MKTG_TIME(at), MKTG_INT64(behind)) == 0 ? 0 : mktg_int64_at(0, 1);
}

bool
mktg_refresh_wanted(TimestampTz at)
{
	return find_tenant(at, 0) != 0;
}

bool
mktg_refresh_next(TimestampTz at, int64 limit)
{
	/* in turn: one that fails does not keep the others waiting */
	static int64 last = 0;

	last = find_tenant(at, last);
	return last != 0 && refresh_dirty(at, last, limit) > 0;
}
