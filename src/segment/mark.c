/*-------------------------------------------------------------------------
 *
 * mark.c
 *		The trigger that says whose rows a statement changed.
 *
 * It writes one row a statement and tenant, the contacts as a set, whatever
 * their number; and none at all where no segment reads the table.  The row
 * commits with the change, so that whoever takes it sees what it is about.
 *
 * IDENTIFICATION
 *		src/segment/mark.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/base.h"
#include "core/bitmap.h"
#include "segment/segment.h"

/* A row's contact, by id or by the application's own. */
typedef struct Marked
{
	int64		tenant;
	int64		contact;
	char	   *external;		/* or NULL */
} Marked;

typedef struct Marking
{
	TriggerData *trigger;
	const char *source;
	AttrNumber	column;
	Oid			type;
	bool		external;
	AttrNumber	tenant_column;	/* 0: all rows are of "tenant" */
	int64		tenant;
	int			nwatched;		/* an update that changes none of these does not matter; 0: all matter */
	AttrNumber	watched[16];
	bool		rekeyed;		/* an update gave a contact another id */
	Marked	   *marked;
	int64		n;
	int64		capacity;
} Marking;

/* names of the sources that segments read; kept until a segment says otherwise */
static List *used_sources = NIL;
static bool used_known = false;
static bool used_missed = false;	/* one said otherwise while they were being read */
static Oid	segment_table = InvalidOid;

PG_FUNCTION_INFO_V1(mktg_mark_contacts);

static void
on_relcache(Datum arg, Oid relation)
{
	if (relation == segment_table || !OidIsValid(relation))
	{
		used_known = false;
		used_missed = true;
	}
}

void
mktg_segments_changed(void)
{
	CacheInvalidateRelcacheByRelid(get_relname_relid("segment", get_namespace_oid("mktg", false)));
}

/* Does any segment read the source? "*" is read by every one. Within SPI, as the tables' owner. */
static bool
is_used(const char *source)
{
	static MktgQuery query = {
		.sql = "SELECT DISTINCT unnest(sources || '*'::text) FROM mktg.segment", .fresh = true
	};
	static bool registered = false;
	ListCell   *cell;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(on_relcache, (Datum) 0);
		registered = true;
	}
	/* a segment made since the statement began counts */
	AcceptInvalidationMessages();
	if (!used_known)
	{
		MemoryContext caller;

		list_free_deep(used_sources);
		used_sources = NIL;
		segment_table = get_relname_relid("segment", get_namespace_oid("mktg", false));
		used_missed = false;
		mktg_run(&query, NULL);
		caller = MemoryContextSwitchTo(TopMemoryContext);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			char	   *name = mktg_text_at(i, 1);

			used_sources = lappend(used_sources, pstrdup(name));
		}
		MemoryContextSwitchTo(caller);
		used_known = !used_missed;
	}
	foreach(cell, used_sources)
		if (strcmp(lfirst(cell), source) == 0)
			return true;
	return false;
}

/* ---- writing down ---- */

MktgArg
mktg_set_datum(const int64 *ids, int64 n)
{
	Size		bound = VARHDRSZ + mktg_set_bound(n);
	bytea	   *set = MemoryContextAllocHuge(CurrentMemoryContext, bound);

	SET_VARSIZE(set, VARHDRSZ + mktg_set_encode(ids, n, (uint8_t *) VARDATA(set)));
	return MKTG_ARG(PointerGetDatum(set));
}

void
mktg_mark_ids(int64 tenant, const char *source, const int64 *ids, int64 n)
{
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.segment_due (tenant_id, source, contacts) VALUES ($1, $2, $3)",
										INT8OID, TEXTOID, BYTEAOID);

	if (n > 0)
		mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(source), mktg_set_datum(ids, n));
}

static bool
is_of_contacts(const Marking *marking)
{
	return strcmp(marking->source, "contact") == 0;
}

/*
 * A contact that comes or goes is or is no longer in segments that read nothing
 * of it, and one whose ids change has other rows in other sources.
 */
static const char *
marked_source(const Marking *marking)
{
	return is_of_contacts(marking) && (marking->rekeyed || !TRIGGER_FIRED_BY_UPDATE(marking->trigger->tg_event)) ?
		NULL : marking->source;
}

static int
compare_marked(const void *a, const void *b)
{
	const Marked *x = a;
	const Marked *y = b;

	if (x->tenant != y->tenant)
		return x->tenant < y->tenant ? -1 : 1;
	return x->contact < y->contact ? -1 : x->contact > y->contact;
}

static void
write_marks(Marking *marking)
{
	int64	   *ids = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int64) * (marking->n + 1));

	qsort(marking->marked, marking->n, sizeof(Marked), compare_marked);
	for (int64 i = 0; i < marking->n;)
	{
		int64		tenant = marking->marked[i].tenant;
		int64		n = 0;

		for (; i < marking->n && marking->marked[i].tenant == tenant; i++)
			if (n == 0 || ids[n - 1] != marking->marked[i].contact)
				ids[n++] = marking->marked[i].contact;
		mktg_mark_ids(tenant, marked_source(marking), ids, n);
	}
}

/*
 * Contacts that go by the application's own ids are looked up by whoever takes
 * the mark: one that another transaction is about to make is not there yet.
 */
static void
write_external_marks(Marking *marking)
{
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.segment_due (tenant_id, source, external_ids)"
										" SELECT tenant_id, $3, array_agg(DISTINCT external_id)"
										" FROM unnest($1, $2) AS u (tenant_id, external_id) GROUP BY tenant_id",
										INT8ARRAYOID, TEXTARRAYOID, TEXTOID);
	static const Oid types[] = {INT8OID, TEXTOID};
	MktgColumns names = MKTG_COLUMNS(types);

	for (int64 i = 0; i < marking->n; i++)
		mktg_columns_add(&names, (MktgArg[]) {MKTG_INT64(marking->marked[i].tenant), MKTG_TEXT(marking->marked[i].external)});
	if (names.n > 0)
		mktg_call(&query, mktg_columns_array(&names, 0), mktg_columns_array(&names, 1), MKTG_TEXT(marking->source));
}

/* ---- reading the statement ---- */

static void
add_marked(Marking *marking, TupleTableSlot *slot)
{
	Marked		one = {marking->tenant, 0, NULL};
	bool		isnull;
	Datum		value = slot_getattr(slot, marking->column, &isnull);

	if (isnull)
		return;
	if (marking->external)
	{
		Oid			out;
		bool		varlena;

		getTypeOutputInfo(marking->type, &out, &varlena);
		one.external = OidOutputFunctionCall(out, value);
	}
	else
		one.contact = marking->type == INT8OID ? DatumGetInt64(value) :
			marking->type == INT4OID ? DatumGetInt32(value) : DatumGetInt16(value);
	if (marking->tenant_column != 0)
	{
		value = slot_getattr(slot, marking->tenant_column, &isnull);
		if (isnull)
			return;
		one.tenant = DatumGetInt64(value);
	}
	/* rows of one contact often follow each other */
	if (marking->n > 0 && !marking->external && compare_marked(&marking->marked[marking->n - 1], &one) == 0)
		return;
	if (marking->n == marking->capacity)
	{
		marking->capacity = marking->capacity * 2 + 64;
		marking->marked = marking->marked == NULL ? palloc(sizeof(Marked) * marking->capacity) :
			repalloc_huge(marking->marked, sizeof(Marked) * marking->capacity);
	}
	marking->marked[marking->n++] = one;
}

static AttrNumber
find_column(Relation relation, const char *name)
{
	TupleDesc	tupdesc = RelationGetDescr(relation);

	for (int i = 0; i < tupdesc->natts; i++)
		if (!TupleDescAttr(tupdesc, i)->attisdropped && strcmp(NameStr(TupleDescAttr(tupdesc, i)->attname), name) == 0)
			return i + 1;
	return 0;
}

/* Does any of the columns differ? */
static bool
differ(const AttrNumber *columns, int n, TupleTableSlot *old, TupleTableSlot *new)
{
	TupleDesc	tupdesc = new->tts_tupleDescriptor;

	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute att = TupleDescAttr(tupdesc, columns[i] - 1);
		bool		old_null;
		bool		new_null;
		Datum		old_value = slot_getattr(old, columns[i], &old_null);
		Datum		new_value = slot_getattr(new, columns[i], &new_null);

		if (old_null != new_null ||
			(!old_null && !datum_image_eq(old_value, new_value, att->attbyval, att->attlen)))
			return true;
	}
	return false;
}

static bool
matters(const Marking *marking, TupleTableSlot *old, TupleTableSlot *new)
{
	return marking->nwatched == 0 || differ(marking->watched, marking->nwatched, old, new);
}

/* Both tables of an update have a row of each in the same order. */
static void
read_rows(Marking *marking)
{
	TriggerData *trigger = marking->trigger;
	TupleDesc	tupdesc = RelationGetDescr(trigger->tg_relation);
	TupleTableSlot *old = MakeSingleTupleTableSlot(tupdesc, &TTSOpsMinimalTuple);
	TupleTableSlot *new = MakeSingleTupleTableSlot(tupdesc, &TTSOpsMinimalTuple);
	Tuplestorestate *old_rows = trigger->tg_oldtable;
	Tuplestorestate *new_rows = trigger->tg_newtable;
	AttrNumber	keys[3];
	int			nkeys = 0;

	for (int i = 0; is_of_contacts(marking) && i < lengthof(keys); i++)
	{
		static const char *const names[] = {"tenant_id", "contact_id", "external_id"};

		keys[nkeys] = find_column(trigger->tg_relation, names[i]);
		if (keys[nkeys] != 0)
			nkeys++;
	}
	for (int i = 0; i < 2; i++)
	{
		Tuplestorestate *rows = i == 0 ? old_rows : new_rows;

		if (rows == NULL)
			continue;
		tuplestore_select_read_pointer(rows, 0);
		tuplestore_rescan(rows);
	}
	for (;;)
	{
		bool		has_old = old_rows != NULL && tuplestore_gettupleslot(old_rows, true, false, old);
		bool		has_new = new_rows != NULL && tuplestore_gettupleslot(new_rows, true, false, new);

		CHECK_FOR_INTERRUPTS();
		if (!has_old && !has_new)
			break;
		if (has_old && has_new && !matters(marking, old, new))
			continue;
		if (has_old && has_new && !marking->rekeyed)
			marking->rekeyed = differ(keys, nkeys, old, new);
		if (has_old)
			add_marked(marking, old);
		if (has_new)
			add_marked(marking, new);
	}
	ExecDropSingleTupleTableSlot(old);
	ExecDropSingleTupleTableSlot(new);
}

/* Arguments: source, column, key, tenant of all rows where there is no column tenant_id, watched columns. */
static void
read_arguments(Marking *marking)
{
	Trigger    *trigger = marking->trigger->tg_trigger;
	Relation	relation = marking->trigger->tg_relation;

	if (trigger->tgnargs < 4 || trigger->tgnargs > 4 + (int) lengthof(marking->watched))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("_mark_contacts needs source, column, key and tenant"),
				 errhint("mktg.map_source() makes its triggers.")));
	marking->source = trigger->tgargs[0];
	marking->column = find_column(relation, trigger->tgargs[1]);
	marking->external = strcmp(trigger->tgargs[2], "external_id") == 0;
	marking->tenant = strtoll(trigger->tgargs[3], NULL, 10);
	if (marking->column == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("relation \"%s\" has no column \"%s\"", RelationGetRelationName(relation), trigger->tgargs[1]),
				 errhint("Map the source anew with mktg.map_source().")));
	marking->type = TupleDescAttr(RelationGetDescr(relation), marking->column - 1)->atttypid;
	marking->tenant_column = find_column(relation, "tenant_id");
	if (marking->tenant_column != 0 &&
		TupleDescAttr(RelationGetDescr(relation), marking->tenant_column - 1)->atttypid != INT8OID)
		marking->tenant_column = 0;
	if (!marking->external && marking->type != INT8OID && marking->type != INT4OID && marking->type != INT2OID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" cannot hold contact_ids", trigger->tgargs[1]),
				 errhint("Map the source anew with mktg.map_source().")));
	for (int i = 4; i < trigger->tgnargs; i++)
	{
		AttrNumber	column = find_column(relation, trigger->tgargs[i]);

		if (column != 0)
			marking->watched[marking->nwatched++] = column;
	}
}

/* Everybody's rows went: segments that read them (NULL: all) begin anew. */
static void
mark_all(const char *source)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.segment SET refreshed_at = NULL WHERE kind = 'dynamic'"
										" AND ($1 IS NULL OR $1 = ANY (sources))", TEXTOID);
	static MktgQuery members = MKTG_QUERY("DELETE FROM mktg.segment_bitmap b USING mktg.segment s WHERE s.tenant_id = b.tenant_id"
										  " AND s.segment_id = b.segment_id AND s.kind = 'static'");
	static MktgQuery sizes = MKTG_QUERY("UPDATE mktg.segment SET size = 0 WHERE kind = 'static'");

	if (source == NULL)
	{
		/* there is no contact left that could be in one */
		mktg_run(&members, NULL);
		mktg_run(&sizes, NULL);
	}
	mktg_call(&query, MKTG_TEXT(source));
}

static Oid
owner_of_segments(void)
{
	Oid			table = get_relname_relid("segment_due", get_namespace_oid("mktg", false));
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_NOT_INSTALLED),
				 errmsg("mktg is not installed"),
				 errhint("Run SELECT mktg.install();")));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * Trigger: AFTER INSERT, UPDATE or DELETE with transition tables, or TRUNCATE,
 * FOR EACH STATEMENT, on a relation that is a source.
 */
Datum
mktg_mark_contacts(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Marking		marking = {.trigger = trigger};
	Oid			user;
	int			context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("_mark_contacts must be fired after statements")));
	read_arguments(&marking);

	/* an error takes the rights back with the transaction */
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner_of_segments(), context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (is_used(is_of_contacts(&marking) ? "*" : marking.source))
	{
		if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
			mark_all(marked_source(&marking));
		else
		{
			read_rows(&marking);
			if (marking.external)
				write_external_marks(&marking);
			else if (marked_source(&marking) == NULL || is_used(marking.source))
				write_marks(&marking);
		}
	}
	SPI_finish();
	SetUserIdAndSecContext(user, context);
	return PointerGetDatum(NULL);
}
