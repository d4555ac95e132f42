/*-------------------------------------------------------------------------
 *
 * direct.c
 *		Adds to a counter row this session has written before, without a
 *		statement.
 *
 * A session remembers where the counter rows it wrote last are.  Nobody but
 * the session and housekeeping writes rows of its slot, so the row is most
 * often still there: it is fetched by its address and updated in place of the
 * executor.  That is not only cheaper.  A statement finds the row through the
 * index, past every version that a transaction in progress, this one or
 * somebody's long report, keeps from being removed: thousands of one-row
 * statements in one transaction would cost more with each.
 *
 * The address is a guess, held against the row's key each time.  Whatever is
 * not as expected, of the row or of the table, is left to the statement.
 *
 * IDENTIFICATION
 *		src/stats/direct.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/table.h"
#include "stats/stats.h"

/* The table begins with these columns; behind them it may have others. */
#define NKEYS		5
#define NCOLUMNS	(NKEYS + MKTG_COUNTERS)

static const MktgTableColumn columns[NCOLUMNS] = {
	{"tenant_id", INT8OID},
	{"campaign_id", INT8OID},
	{"variant", INT2OID},
	{"day", DATEOID},
	{"slot", INT4OID},
#define COUNTER_COLUMN(name)	{name, INT8OID},
	MKTG_EACH_COUNTER(COUNTER_COLUMN)
};

typedef struct Place
{
	Oid			table;			/* InvalidOid: nothing remembered */
	MktgCountKey key;
	ItemPointerData tid;
} Place;

/* One place a hash value; a key that comes later takes it over. */
#define NPLACES		64
static Place places[NPLACES];

static bool is_our_row(TupleTableSlot *slot, const MktgCountKey *key);
static void add_deltas(TupleTableSlot *old, TupleTableSlot *new, const MktgCount *count);
static void insert_index_entry(Relation table, TupleTableSlot *slot);

static Place *
find_place(const MktgCountKey *key)
{
	return &places[mktg_hash_count_key(*key) % NPLACES];
}

void
mktg_remember_place(Oid table, const MktgCountKey *key, ItemPointer tid)
{
	Place	   *place = find_place(key);

	place->table = table;
	place->key = *key;
	place->tid = *tid;
}

/*
 * A plain table of its owner's, with its key as its only index and nothing
 * else that the executor would have to see to.
 */
bool
mktg_is_direct(Relation table, Oid owner)
{
	return table->rd_rel->relowner == owner && !table->rd_rel->relforcerowsecurity && table->trigdesc == NULL &&
		mktg_is_plain_table(table, columns, NCOLUMNS);
}

/* False, and nothing done, where the statement has to do it. */
bool
mktg_add_directly(Relation table, const MktgCount *count)
{
	Place	   *place = find_place(&count->key);
	TupleTableSlot *old;
	TupleTableSlot *new;
	Buffer		buffer;
	TM_Result	result;
	TM_FailureData failure;
	LockTupleMode lock_mode;
	TU_UpdateIndexes update_indexes;

	/* the table may have been emptied and grown anew */
	if (place->table != RelationGetRelid(table) ||
		!mktg_same_count_key(place->key, count->key) ||
		ItemPointerGetBlockNumber(&place->tid) >= RelationGetNumberOfBlocks(table))
		return false;

	/* Scans clear a page of dead versions as they pass; we pass without one. */
	buffer = ReadBuffer(table, ItemPointerGetBlockNumber(&place->tid));
	heap_page_prune_opt(table, buffer);

	/* this command may have written the row, too */
	CommandCounterIncrement();
	old = table_slot_create(table, NULL);
	new = MakeSingleTupleTableSlot(RelationGetDescr(table), &TTSOpsVirtual);
	result = TM_Deleted;
	if (table_tuple_fetch_row_version(table, &place->tid, SnapshotSelf, old) &&
		is_our_row(old, &count->key))
	{
		add_deltas(old, new, count);
		result = table_tuple_update(table, &place->tid, new, GetCurrentCommandId(true),
									GetActiveSnapshot(), InvalidSnapshot, true,
									&failure, &lock_mode, &update_indexes);
	}
	if (result == TM_Ok)
	{
		place->tid = new->tts_tid;
		if (update_indexes != TU_None)
			insert_index_entry(table, new);
		/* for whatever looks at the counters in this same command */
		CommandCounterIncrement();
	}
	ExecDropSingleTupleTableSlot(new);
	ExecDropSingleTupleTableSlot(old);
	ReleaseBuffer(buffer);
	return result == TM_Ok;
}

static bool
is_our_row(TupleTableSlot *slot, const MktgCountKey *key)
{
	slot_getallattrs(slot);
	for (int i = 0; i < NCOLUMNS; i++)
		if (slot->tts_isnull[i])
			return false;
	return DatumGetInt64(slot->tts_values[0]) == key->tenant_id &&
		DatumGetInt64(slot->tts_values[1]) == key->campaign_id &&
		DatumGetInt16(slot->tts_values[2]) == key->variant &&
		DatumGetDateADT(slot->tts_values[3]) == key->day &&
		DatumGetInt32(slot->tts_values[4]) == mktg_stat_slot();
}

static void
add_deltas(TupleTableSlot *old, TupleTableSlot *new, const MktgCount *count)
{
	int			natts = old->tts_tupleDescriptor->natts;

	memcpy(new->tts_values, old->tts_values, natts * sizeof(Datum));
	memcpy(new->tts_isnull, old->tts_isnull, natts * sizeof(bool));
	for (int i = 0; i < MKTG_COUNTERS; i++)
		new->tts_values[NKEYS + i] =
			Int64GetDatum(DatumGetInt64(old->tts_values[NKEYS + i]) + count->delta[i]);
	ExecStoreVirtualTuple(new);
}

/*
 * The version did not fit on its page.  Its key is that of the version it
 * replaces, so there is nothing to check, and the index is told so.
 */
static void
insert_index_entry(Relation table, TupleTableSlot *slot)
{
	Relation	index = index_open(table->rd_pkindex, RowExclusiveLock);
	IndexInfo  *info = BuildIndexInfo(index);
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	FormIndexDatum(info, slot, NULL, values, isnull);
	index_insert(index, values, isnull, &slot->tts_tid, table, UNIQUE_CHECK_NO, true, info);
	index_close(index, NoLock);
}
