/*-------------------------------------------------------------------------
 *
 * count.c
 *		The trigger that keeps the counters of messages.
 *
 * Fired once a statement, whatever the statement: it reads the transition
 * tables in one pass, -1 for each row as it was and +1 for each row as it is,
 * and adds what is left to one counter row for each campaign, variant and day
 * touched.  What it costs follows the rows the statement wrote, never the size
 * of the campaign.  The counters change in the transaction of the messages: a
 * snapshot that sees one sees the other, and a rollback takes both.
 *
 * A statement on a partitioned table fires that table's trigger, one on a
 * partition the partition's: name both.
 *
 * IDENTIFICATION
 *		src/stats/count.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "base/base.h"
#include "base/compat.h"
#include "stats/stats.h"

/* The columns a message is counted by. */
enum
{
	TENANT_ID,
	CAMPAIGN_ID,
	VARIANT,
	SEND_DAY,
	STATUS,
	EVENT,						/* the first of the times */
	NCOLUMNS = EVENT + MKTG_EVENT_COUNTERS
};

static const struct
{
	const char *name;
	Oid			type;
}			columns[NCOLUMNS] = {
	{"tenant_id", INT8OID},
	{"campaign_id", INT8OID},
	{"variant", INT2OID},
	{"send_day", DATEOID},
	{"status", TEXTOID},
#define EVENT_COLUMN(name)	{name "_at", TIMESTAMPTZOID},
	MKTG_EACH_EVENT(EVENT_COLUMN)
};

static const struct
{
	const char *name;
	Size		length;
}			statuses[MKTG_STATUS_COUNTERS] = {
#define STATUS_NAME(name)	{name, sizeof(name) - 1},
	MKTG_EACH_STATUS(STATUS_NAME)
};

#define SH_PREFIX		counts
#define SH_ELEMENT_TYPE	MktgCount
#define SH_KEY_TYPE		MktgCountKey
#define SH_KEY			key
#define SH_HASH_KEY(tb, key)	mktg_hash_count_key(key)
#define SH_EQUAL(tb, a, b)		mktg_same_count_key(a, b)
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct Counting
{
	counts_hash *counts;
	MktgCount  *last;			/* of the row before; most rows share it */
	AttrNumber	attnums[NCOLUMNS];
	AttrNumber	most;			/* the highest of them */
	TupleTableSlot *slot;
} Counting;

static void refuse_unless_statement(FunctionCallInfo fcinfo);
static void find_columns(Counting *counting, Relation relation);
static void count_rows(Counting *counting, Tuplestorestate *rows, int64 sign);
static int	status_of(Datum value);
static void add(Counting *counting, const char *table, Oid owner);

PG_FUNCTION_INFO_V1(mktg_count_messages);

/*
 * SQL: trigger mktg._count_messages('schema.table'), AFTER FOR EACH STATEMENT;
 *		INSERT with the NEW table, UPDATE with both, DELETE with the OLD table,
 *		TRUNCATE, which empties the counters
 *
 * The table it hangs on has the columns above, in any order and among others.
 * Counters are written with the rights of that table's owner, who chose their
 * table: who may write messages needs no rights on counters.
 */
Datum
mktg_count_messages(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	Counting	counting;
	char	   *table;
	Oid			owner;

	refuse_unless_statement(fcinfo);
	table = trigdata->tg_trigger->tgargs[0];
	owner = trigdata->tg_relation->rd_rel->relowner;
	if (TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event))
	{
		mktg_empty_counts(table, owner);
		return PointerGetDatum(NULL);
	}

	find_columns(&counting, trigdata->tg_relation);
	counting.last = NULL;
	counting.counts = counts_create(CurrentMemoryContext, 6, NULL);
	counting.slot = MakeSingleTupleTableSlot(RelationGetDescr(trigdata->tg_relation),
											 &TTSOpsMinimalTuple);
	if (trigdata->tg_oldtable != NULL)
		count_rows(&counting, trigdata->tg_oldtable, -1);
	if (trigdata->tg_newtable != NULL)
		count_rows(&counting, trigdata->tg_newtable, +1);
	ExecDropSingleTupleTableSlot(counting.slot);
	add(&counting, table, owner);

	return PointerGetDatum(NULL);
}

/* A trigger without one of its transition tables would count half of a change. */
static void
refuse_unless_statement(FunctionCallInfo fcinfo)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	TriggerEvent event;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("mktg._count_messages() can only be called as a trigger"),
				 errhint("mktg.rebuild_stats() counts a campaign's messages anew.")));
	event = trigdata->tg_event;
	if (TRIGGER_FIRED_AFTER(event) && TRIGGER_FIRED_FOR_STATEMENT(event) &&
		trigdata->tg_trigger->tgnargs == 1 &&
		(trigdata->tg_newtable != NULL) == (TRIGGER_FIRED_BY_INSERT(event) || TRIGGER_FIRED_BY_UPDATE(event)) &&
		(trigdata->tg_oldtable != NULL) == (TRIGGER_FIRED_BY_UPDATE(event) || TRIGGER_FIRED_BY_DELETE(event)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg("trigger \"%s\" does not fire as mktg._count_messages() needs it",
					trigdata->tg_trigger->tgname),
			 errdetail("It counts AFTER statements, with their transition tables, into the table named by its one argument."),
			 errhint("mktg.migrate() puts the triggers of mktg.message back; model others on them.")));
}

static bool
is_column(TupleDesc tupdesc, AttrNumber attnum, int i)
{
	Form_pg_attribute att;

	if (attnum < 1 || attnum > tupdesc->natts)
		return false;
	att = TupleDescAttr(tupdesc, attnum - 1);
	return !att->attisdropped && att->atttypid == columns[i].type &&
		strcmp(NameStr(att->attname), columns[i].name) == 0;
}

/*
 * Finds the columns by name and type.  Where they were the last time is held
 * against the descriptor each time, so that nothing needs to be invalidated
 * when a table changes or another table comes along.
 */
static void
find_columns(Counting *counting, Relation relation)
{
	static AttrNumber guess[NCOLUMNS];
	TupleDesc	tupdesc = RelationGetDescr(relation);

	counting->most = 0;
	for (int i = 0; i < NCOLUMNS; i++)
	{
		AttrNumber	attnum = guess[i];

		if (!is_column(tupdesc, attnum, i))
			for (attnum = 1; !is_column(tupdesc, attnum, i); attnum++)
				if (attnum > tupdesc->natts)
					ereport(ERROR,
							(errcode(ERRCODE_UNDEFINED_COLUMN),
							 errmsg("relation \"%s\" has no column \"%s\" of type %s",
									RelationGetRelationName(relation), columns[i].name,
									format_type_be(columns[i].type)),
							 errhint("mktg._count_messages() needs the columns of mktg.message.")));
		guess[i] = counting->attnums[i] = attnum;
		counting->most = Max(counting->most, attnum);
	}
}

/* The counters of a key, zero if it is new. */
static MktgCount *
find_count(Counting *counting, MktgCountKey key)
{
	bool		found;

	if (counting->last == NULL || !mktg_same_count_key(counting->last->key, key))
	{
		/* may move the entries, this one among them */
		counting->last = counts_insert(counting->counts, key, &found);
		if (!found)
			memset(counting->last->delta, 0, sizeof(counting->last->delta));
	}
	return counting->last;
}

static void
count_rows(Counting *counting, Tuplestorestate *rows, int64 sign)
{
	TupleTableSlot *slot = counting->slot;

	/* triggers share the transition tables; each begins anew */
	tuplestore_select_read_pointer(rows, 0);
	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		MktgCountKey key;
		MktgCount  *count;

		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(slot, counting->most);
#define VALUE(i)	(slot->tts_values[counting->attnums[i] - 1])
#define IS_NULL(i)	(slot->tts_isnull[counting->attnums[i] - 1])
		if (IS_NULL(TENANT_ID) || IS_NULL(CAMPAIGN_ID) || IS_NULL(VARIANT) || IS_NULL(STATUS))
			ereport(ERROR,
					(errcode(ERRCODE_NOT_NULL_VIOLATION),
					 errmsg("cannot count a message without tenant, campaign, variant or status"),
					 errhint("Declare these columns NOT NULL, as in mktg.message.")));
		key.tenant_id = DatumGetInt64(VALUE(TENANT_ID));
		key.campaign_id = DatumGetInt64(VALUE(CAMPAIGN_ID));
		key.variant = DatumGetInt16(VALUE(VARIANT));
		key.day = IS_NULL(SEND_DAY) ? DATEVAL_NOBEGIN : DatumGetDateADT(VALUE(SEND_DAY));

		count = find_count(counting, key);
		count->delta[status_of(VALUE(STATUS))] += sign;
		for (int i = 0; i < MKTG_EVENT_COUNTERS; i++)
			if (!IS_NULL(EVENT + i))
				count->delta[MKTG_STATUS_COUNTERS + i] += sign;
	}
}

static int
status_of(Datum value)
{
	text	   *status = DatumGetTextPP(value);
	Size		length = VARSIZE_ANY_EXHDR(status);

	for (int i = 0; i < MKTG_STATUS_COUNTERS; i++)
		if (length == statuses[i].length &&
			memcmp(VARDATA_ANY(status), statuses[i].name, length) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_UNKNOWN_STATUS),
			 errmsg("status \"%s\" does not exist", text_to_cstring(status)),
			 errdetail("Messages are counted by status."),
			 errhint("Statuses are those of the check constraint on mktg.message.")));
}

static bool
is_zero(const MktgCount *count)
{
	for (int i = 0; i < MKTG_COUNTERS; i++)
		if (count->delta[i] != 0)
			return false;
	return true;
}

static int
compare_counts(const void *a, const void *b)
{
	const MktgCountKey *x = &(*(MktgCount *const *) a)->key;
	const MktgCountKey *y = &(*(MktgCount *const *) b)->key;

	if (x->tenant_id != y->tenant_id)
		return x->tenant_id < y->tenant_id ? -1 : 1;
	if (x->campaign_id != y->campaign_id)
		return x->campaign_id < y->campaign_id ? -1 : 1;
	if (x->variant != y->variant)
		return x->variant < y->variant ? -1 : 1;
	if (x->day != y->day)
		return x->day < y->day ? -1 : 1;
	return 0;
}

/* In the order of keys, so that two statements lock nothing crosswise. */
static void
add(Counting *counting, const char *table, Oid owner)
{
	MktgCount **counts = palloc(sizeof(MktgCount *) * (counting->counts->members + 1));
	counts_iterator iterator;
	MktgCount  *count;
	int			n = 0;

	counts_start_iterate(counting->counts, &iterator);
	while ((count = counts_iterate(counting->counts, &iterator)) != NULL)
		if (!is_zero(count))
			counts[n++] = count;
	if (n == 0)
		return;
	qsort(counts, n, sizeof(MktgCount *), compare_counts);
	mktg_add_counts(table, owner, counts, n);
}
