/*-------------------------------------------------------------------------
 *
 * store.c
 *		Writes the scores of a tenant into mktg.rfm_score.
 *
 * The executor inserts row by row, each with a record of its own in the WAL.  A
 * plain table is written a page at a time instead, as COPY does it; whatever is
 * not plain about it (triggers, policies, checks, shards elsewhere) is left to a
 * statement.
 *
 * IDENTIFICATION
 *		src/rfm/store.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "base/base.h"
#include "rfm/rfm.h"

static const struct
{
	const char *name;
	Oid			type;
}			columns[] = {
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

/* Nothing but a table, its indexes and our columns, and ours to write. */
static bool
is_plain(Relation table)
{
	Form_pg_class form = table->rd_rel;
	TupleDesc	tupdesc = RelationGetDescr(table);

	if (form->relkind != RELKIND_RELATION || form->relam != HEAP_TABLE_AM_OID || form->relispartition ||
		table->trigdesc != NULL || XactReadOnly || tupdesc->natts != NCOLUMNS ||
		(tupdesc->constr != NULL &&
		 (tupdesc->constr->num_check > 0 || tupdesc->constr->has_generated_stored)) ||
		pg_class_aclcheck(RelationGetRelid(table), GetUserId(), ACL_INSERT) != ACLCHECK_OK ||
		check_enable_rls(RelationGetRelid(table), InvalidOid, true) == RLS_ENABLED)
		return false;
	for (int i = 0; i < NCOLUMNS; i++)
	{
		Form_pg_attribute att = TupleDescAttr(tupdesc, i);

		if (att->attisdropped || att->atttypid != columns[i].type || strcmp(NameStr(att->attname), columns[i].name) != 0)
			return false;
	}
	return true;
}

static void
insert_directly(Relation table, int64 tenant, const MktgRfm *contacts, size_t n)
{
	Texts		texts;
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *relation_info = makeNode(ResultRelInfo);
	BulkInsertState bulk = GetBulkInsertState();
	CommandId	command = GetCurrentCommandId(true);
	int			nslots = Min(n, BATCH);
	TupleTableSlot **slots = palloc(nslots * sizeof(TupleTableSlot *));

	make_texts(&texts);
	for (int i = 0; i < nslots; i++)
	{
		slots[i] = table_slot_create(table, NULL);
		memset(slots[i]->tts_isnull, false, NCOLUMNS * sizeof(bool));
	}
	InitResultRelInfo(relation_info, table, 1, NULL, 0);
	ExecOpenIndices(relation_info, false);
	for (size_t done = 0; done < n; done += nslots)
	{
		int			batch = Min(n - done, nslots);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < batch; i++)
		{
			ExecClearTuple(slots[i]);
			fill_row(slots[i]->tts_values, tenant, &contacts[done + i], n, &texts);
			ExecStoreVirtualTuple(slots[i]);
		}
		table_multi_insert(table, slots, batch, command, 0, bulk);
		for (int i = 0; relation_info->ri_NumIndices > 0 && i < batch; i++)
		{
			(void) mktg_insert_index_tuples(relation_info, slots[i], estate);
			ResetPerTupleExprContext(estate);
		}
	}
	table_finish_bulk_insert(table, 0);
	ExecCloseIndices(relation_info);
	for (int i = 0; i < nslots; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	FreeBulkInsertState(bulk);
	FreeExecutorState(estate);
	/* for whatever looks at the scores in this same command */
	CommandCounterIncrement();
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

uint64
mktg_rfm_store(int64 tenant, const MktgRfm *contacts, size_t n)
{
	static MktgQuery query = MKTG_BULK_QUERY("DELETE FROM mktg.rfm_score WHERE tenant_id = $1", INT8OID);
	uint64		gone = mktg_call(&query, MKTG_INT64(tenant));
	Relation	table;

	if (n == 0)
		return gone;
	table = table_open(get_relname_relid("rfm_score", get_namespace_oid("mktg", false)), RowExclusiveLock);
	if (is_plain(table))
		insert_directly(table, tenant, contacts, n);
	else
		insert_by_statement(tenant, contacts, n);
	table_close(table, NoLock);
	return gone + n;
}
