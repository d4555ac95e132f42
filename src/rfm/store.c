/*-------------------------------------------------------------------------
 *
 * store.c
 *		Writes the scores of a tenant into mktg.rfm_score.
 *
 * A plain table is written without the executor: new rows a page at a time, as
 * COPY does it, and new versions of rows beside the old ones.  Whatever is not
 * plain about it (triggers, policies, checks, shards elsewhere) is left to
 * statements.
 *
 * IDENTIFICATION
 *		src/rfm/store.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/stratnum.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "parser/parse_func.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "base/table.h"
#include "rfm/rfm.h"

static const MktgTableColumn columns[] = {
	{"tenant_id", INT8OID},
	{"contact_id", INT8OID},
	{"recency_days", INT4OID},
	{"frequency", INT4OID},
	{"monetary", INT8OID},
	{"r", INT2OID},
	{"f", INT2OID},
	{"m", INT2OID},
	{"code", TEXTOID},
	{"segment", TEXTOID},
	{"spend_percentile", FLOAT8OID}
};

#define NCOLUMNS	lengthof(columns)

/* rows written in one go; of a statement */
#define BATCH			1000
#define STATEMENT_ROWS	100000

/* Texts made once: a code and a segment by number. */
typedef struct Texts
{
	Datum		codes[MKTG_RFM_SCORES * MKTG_RFM_SCORES * MKTG_RFM_SCORES];
	Datum		segments[MKTG_RFM_SEGMENTS];
} Texts;

static void
make_texts(Texts *texts)
{
	for (int i = 0; i < lengthof(texts->codes); i++)
		texts->codes[i] = CStringGetTextDatum(psprintf("%d%d%d", i / 25 + 1, i / 5 % 5 + 1, i % 5 + 1));
	for (int i = 0; i < MKTG_RFM_SEGMENTS; i++)
		texts->segments[i] = CStringGetTextDatum(mktg_rfm_segment_name(i));
}

static void
fill_row(Datum *values, int64 tenant, const MktgRfm *contact, size_t n, const Texts *texts)
{
	values[0] = Int64GetDatum(tenant);
	values[1] = Int64GetDatum(contact->contact_id);
	values[2] = Int32GetDatum(contact->recency_days);
	values[3] = Int32GetDatum(contact->frequency);
	values[4] = Int64GetDatum(contact->monetary);
	values[5] = Int16GetDatum(contact->r);
	values[6] = Int16GetDatum(contact->f);
	values[7] = Int16GetDatum(contact->m);
	values[8] = texts->codes[(contact->r - 1) * 25 + (contact->f - 1) * 5 + contact->m - 1];
	values[9] = texts->segments[mktg_rfm_segment_number(contact->r, contact->f, contact->m)];
	values[10] = Float8GetDatum(mktg_rfm_percentile(contact, n));
}

/* Tenant and contact, in this order. */
static bool
is_our_key(Oid index_oid)
{
	Relation	index = index_open(index_oid, AccessShareLock);
	Form_pg_index form = index->rd_index;
	bool		ours = index->rd_rel->relam == BTREE_AM_OID && form->indisvalid && form->indisready &&
		form->indimmediate && form->indnkeyatts == 2 &&
		form->indkey.values[0] == 1 && form->indkey.values[1] == 2;

	index_close(index, NoLock);
	return ours;
}

/*
 * Triggers that say whose scores changed need not be fired: segments that read
 * scores begin anew after all of them have been made.
 */
static bool
has_other_triggers(Relation table)
{
	Oid			marks = LookupFuncName(list_make2(makeString("mktg"), makeString("_mark_contacts")), 0, NULL, true);

	for (int i = 0; table->trigdesc != NULL && i < table->trigdesc->numtriggers; i++)
		if (table->trigdesc->triggers[i].tgfoid != marks)
			return true;
	return false;
}

/* Nothing but a table, its key and our columns, and ours to write. */
static bool
is_plain(Relation table)
{
	return mktg_is_plain_table(table, columns, NCOLUMNS) && RelationGetDescr(table)->natts == NCOLUMNS &&
		is_our_key(table->rd_pkindex) && !has_other_triggers(table) &&
		pg_class_aclcheck(RelationGetRelid(table), GetUserId(), ACL_INSERT) == ACLCHECK_OK &&
		pg_class_aclcheck(RelationGetRelid(table), GetUserId(), ACL_DELETE) == ACLCHECK_OK &&
		check_enable_rls(RelationGetRelid(table), InvalidOid, true) != RLS_ENABLED;
}

/* What writing the table directly takes. */
typedef struct Writer
{
	Relation	table;
	Relation	index;
	IndexInfo  *info;
	TupleDesc	tupdesc;
	CommandId	command;
	Snapshot	snapshot;
	int64		tenant;
	const MktgRfm *contacts;
	size_t		n;
	bool	   *written;		/* by contact: has its row already */
	uint64		changed;		/* rows that came, went or changed */
	Texts		texts;
} Writer;

static TupleTableSlot *
make_slot(Writer *writer)
{
	/* of a descriptor that is not pinned: the resource owner is slow at many pins of one thing */
	TupleTableSlot *slot = MakeSingleTupleTableSlot(writer->tupdesc, table_slot_callbacks(writer->table));

	memset(slot->tts_isnull, false, NCOLUMNS * sizeof(bool));
	return slot;
}

static void
fill_slot(Writer *writer, TupleTableSlot *slot, size_t place)
{
	ExecClearTuple(slot);
	fill_row(slot->tts_values, writer->tenant, &writer->contacts[place], writer->n, &writer->texts);
	ExecStoreVirtualTuple(slot);
}

static void
insert_index_entry(Writer *writer, TupleTableSlot *slot, IndexUniqueCheck check)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	FormIndexDatum(writer->info, slot, NULL, values, isnull);
	index_insert(writer->index, values, isnull, &slot->tts_tid, writer->table, check, false, writer->info);
}

static bool
same_row(TupleTableSlot *old, TupleTableSlot *new)
{
	/* code and segment follow from the scores, and these from no more than that */
	for (int i = 2; i < 8; i++)
		if (old->tts_values[i] != new->tts_values[i])
			return false;
	return DatumGetFloat8(old->tts_values[10]) == DatumGetFloat8(new->tts_values[10]);
}

static void
require_done(TM_Result result)
{
	if (result == TM_Ok)
		return;
	/* rows are locked only by who has waited for us, unless the isolation shows an older state */
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent update"),
			 errhint("Repeat the transaction.")));
}

static void
replace_row(Writer *writer, TupleTableSlot *old, TupleTableSlot *new, size_t place)
{
	TM_FailureData failure;
	LockTupleMode lock_mode;
	TU_UpdateIndexes update_indexes;

	writer->written[place] = true;
	fill_slot(writer, new, place);
	slot_getallattrs(old);
	if (same_row(old, new))
		return;
	require_done(table_tuple_update(writer->table, &old->tts_tid, new, writer->command, writer->snapshot,
									InvalidSnapshot, true, &failure, &lock_mode, &update_indexes));
	if (update_indexes != TU_None)
		/* its key is that of the version it replaces */
		insert_index_entry(writer, new, UNIQUE_CHECK_NO);
	writer->changed++;
}

static void
delete_row(Writer *writer, TupleTableSlot *old)
{
	TM_FailureData failure;

	require_done(table_tuple_delete(writer->table, &old->tts_tid, writer->command, writer->snapshot,
									InvalidSnapshot, true, &failure, false));
	writer->changed++;
}

/*
 * Old rows and contacts side by side, both in the order of contact_id.  A new
 * version goes beside the old one, for which the table leaves room, so that
 * neither index nor table grow with every run.
 */
static void
replace_rows(Writer *writer)
{
	TupleTableSlot *old = table_slot_create(writer->table, NULL);
	TupleTableSlot *new = make_slot(writer);
	IndexScanDesc scan = index_beginscan(writer->table, writer->index, writer->snapshot, 1, 0);
	ScanKeyData key;
	size_t		place = 0;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(writer->tenant));
	index_rescan(scan, &key, 1, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, old))
	{
		int64		contact_id;

		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(old, 2);
		contact_id = DatumGetInt64(old->tts_values[1]);
		while (place < writer->n && writer->contacts[place].contact_id < contact_id)
			place++;
		if (place < writer->n && writer->contacts[place].contact_id == contact_id)
			replace_row(writer, old, new, place);
		else
			delete_row(writer, old);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(new);
	ExecDropSingleTupleTableSlot(old);
}

/*
 * Contacts that have no row yet.  Nobody else can have made one: that need not be
 * looked up a million times, unless the isolation shows an older state.
 */
static void
insert_rows(Writer *writer)
{
	IndexUniqueCheck check = IsolationUsesXactSnapshot() ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;
	BulkInsertState bulk = GetBulkInsertState();
	TupleTableSlot **slots = palloc(BATCH * sizeof(TupleTableSlot *));
	int			nslots = 0;

	for (size_t place = 0; place < writer->n;)
	{
		int			batch = 0;

		CHECK_FOR_INTERRUPTS();
		for (; batch < BATCH && place < writer->n; place++)
		{
			if (writer->written[place])
				continue;
			if (batch == nslots)
				slots[nslots++] = make_slot(writer);
			fill_slot(writer, slots[batch++], place);
		}
		if (batch == 0)
			break;
		table_multi_insert(writer->table, slots, batch, writer->command, 0, bulk);
		for (int i = 0; i < batch; i++)
			insert_index_entry(writer, slots[i], check);
		writer->changed += batch;
	}
	table_finish_bulk_insert(writer->table, 0);
	for (int i = 0; i < nslots; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	FreeBulkInsertState(bulk);
}

static uint64
store_directly(Relation table, int64 tenant, const MktgRfm *contacts, size_t n)
{
	Writer		writer = {
		.table = table, .tenant = tenant, .contacts = contacts, .n = n,
		.tupdesc = CreateTupleDescCopy(RelationGetDescr(table)),
		.index = index_open(table->rd_pkindex, RowExclusiveLock),
		.written = MemoryContextAllocExtended(CurrentMemoryContext, n + 1, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO)
	};

	make_texts(&writer.texts);
	writer.info = BuildIndexInfo(writer.index);
	/* what earlier commands of this transaction wrote is old, what we write is not yet */
	CommandCounterIncrement();
	writer.snapshot = RegisterSnapshot(GetTransactionSnapshot());
	writer.command = GetCurrentCommandId(true);
	replace_rows(&writer);
	insert_rows(&writer);
	UnregisterSnapshot(writer.snapshot);
	index_close(writer.index, NoLock);
	/* for whatever looks at the scores in this same command */
	CommandCounterIncrement();
	return writer.changed;
}

static void
insert_by_statement(int64 tenant, const MktgRfm *contacts, size_t n)
{
	static MktgQuery query = MKTG_BULK_QUERY(
		"INSERT INTO mktg.rfm_score (tenant_id, contact_id, recency_days, frequency, monetary, r, f, m, code, segment, spend_percentile)"
		" SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
		INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT8ARRAYOID, INT2ARRAYOID, INT2ARRAYOID,
		INT2ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, FLOAT8ARRAYOID);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "scores", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);

	for (size_t done = 0; done < n;)
	{
		static const Oid types[] = {
			INT8OID, INT8OID, INT4OID, INT4OID, INT8OID, INT2OID, INT2OID, INT2OID, TEXTOID, TEXTOID, FLOAT8OID
		};
		MktgColumns rows = MKTG_COLUMNS(types);
		Texts		texts;

		make_texts(&texts);
		for (int i = 0; i < STATEMENT_ROWS && done < n; i++, done++)
		{
			Datum		values[NCOLUMNS];
			MktgArg		row[NCOLUMNS];

			fill_row(values, tenant, &contacts[done], n, &texts);
			for (int column = 0; column < NCOLUMNS; column++)
				row[column] = MKTG_ARG(values[column]);
			mktg_columns_add(&rows, row);
		}
		(void) mktg_run_columns(&query, &rows);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}

/*
 * Nobody else may write scores meanwhile: two at once would both put theirs in
 * place of the same old ones.  Who reads is not held up.
 */
Relation
mktg_rfm_lock_scores(void)
{
	return table_open(get_relname_relid("rfm_score", get_namespace_oid("mktg", false)), ShareRowExclusiveLock);
}

uint64
mktg_rfm_store(Relation table, int64 tenant, const MktgRfm *contacts, size_t n)
{
	static MktgQuery query = MKTG_BULK_QUERY("DELETE FROM mktg.rfm_score WHERE tenant_id = $1", INT8OID);
	uint64		gone;

	if (is_plain(table))
		return store_directly(table, tenant, contacts, n);
	gone = mktg_call(&query, MKTG_INT64(tenant));
	if (n > 0)
		insert_by_statement(tenant, contacts, n);
	return gone + n;
}
