/*-------------------------------------------------------------------------
 *
 * add.c
 *		Adds to counter rows of the session's slot: directly where it can
 *		(direct.c), else by one statement a row.
 *
 * Slots are numbers of live sessions, so nobody else waits for a row this
 * transaction holds.  Two exceptions, and both only wait: housekeeping that is
 * folding the row, and a prepared transaction, whose session has gone on.
 *
 * IDENTIFICATION
 *		src/stats/add.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

#include "base/base.h"
#include "base/compat.h"
#include "stats/stats.h"

/* Arguments of the statement: the key, the slot, a delta for each counter. */
#define KEY_ARGS	5
#define NARGS		(KEY_ARGS + MKTG_COUNTERS)

/* Tables a statement is kept for; what comes after takes turns. */
#define KEPT_TABLES	4

typedef struct Statement
{
	char	   *table;			/* as the trigger names it */
	SPIPlanPtr	plan;			/* NULL: free */
} Statement;

static const char *const counters[MKTG_COUNTERS] = {
#define COUNTER_NAME(name)	name,
	MKTG_EACH_COUNTER(COUNTER_NAME)
};

static RangeVar *table_name(const char *argument);
static void upsert(const char *table, const MktgCount *count);
static SPIPlanPtr find_plan(const char *table);

int32
mktg_stat_slot(void)
{
	return MyProcNumber + 1;
}

void
mktg_add_counts(const char *table, Oid owner, MktgCount **counts, int n)
{
	Oid			user;
	int			context;
	Relation	relation;
	bool		direct;

	/* an error takes the rights back with the transaction */
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
	relation = table_openrv(table_name(table), RowExclusiveLock);
	direct = mktg_is_direct(relation, owner);
	for (int i = 0; i < n; i++)
		if (!direct || !mktg_add_directly(relation, counts[i]))
			upsert(table, counts[i]);
	table_close(relation, NoLock);
	SetUserIdAndSecContext(user, context);
}

void
mktg_empty_counts(const char *table, Oid owner)
{
	RangeVar   *name = table_name(table);
	Oid			user;
	int			context;
	int			result;

	SPI_connect();
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
	result = SPI_execute(psprintf("TRUNCATE %s", quote_qualified_identifier(name->schemaname, name->relname)),
						 false, 0);
	if (result < 0)
		elog(ERROR, "could not empty counters: %s", SPI_result_code_string(result));
	SetUserIdAndSecContext(user, context);
	SPI_finish();
}

/* The trigger's argument, which names its schema: search_path decides nothing. */
static RangeVar *
table_name(const char *argument)
{
	RangeVar   *name = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(argument)));

	if (name->schemaname == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("table name \"%s\" has no schema", argument),
				 errhint("Write it like mktg.campaign_stat.")));
	return name;
}

static void
upsert(const char *table, const MktgCount *count)
{
	const MktgCountKey *key = &count->key;
	Datum		values[NARGS] = {
		Int64GetDatum(key->tenant_id), Int64GetDatum(key->campaign_id),
		Int16GetDatum(key->variant), DateADTGetDatum(key->day),
		Int32GetDatum(mktg_stat_slot())
	};
	int			result;

	for (int i = 0; i < MKTG_COUNTERS; i++)
		values[KEY_ARGS + i] = Int64GetDatum(count->delta[i]);
	SPI_connect();
	result = SPI_execute_plan(find_plan(table), values, NULL, false, 0);
	if (result != SPI_OK_INSERT_RETURNING)
		elog(ERROR, "could not add to counters: %s", SPI_result_code_string(result));
	if (SPI_processed == 1)
	{
		bool		isnull;
		Oid			oid = DatumGetObjectId(mktg_value_at(0, 1, &isnull));

		mktg_remember_place(oid, key, (ItemPointer) DatumGetPointer(mktg_value_at(0, 2, &isnull)));
	}
	SPI_finish();
}

/*
 * Operators by schema: the text runs with the owner's rights under the
 * caller's search_path.
 */
static char *
upsert_text(const char *table)
{
	RangeVar   *name = table_name(table);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s AS s (tenant_id, campaign_id, variant, day, slot",
					 quote_qualified_identifier(name->schemaname, name->relname));
	for (int i = 0; i < MKTG_COUNTERS; i++)
		appendStringInfo(&sql, ", %s", counters[i]);
	appendStringInfoString(&sql, ") VALUES ($1, $2, $3, $4, $5");
	for (int i = 0; i < MKTG_COUNTERS; i++)
		appendStringInfo(&sql, ", $%d", KEY_ARGS + 1 + i);
	appendStringInfoString(&sql, ") ON CONFLICT (tenant_id, campaign_id, variant, day, slot) DO UPDATE SET");
	for (int i = 0; i < MKTG_COUNTERS; i++)
		appendStringInfo(&sql, "%s %s = s.%s OPERATOR(pg_catalog.+) excluded.%s", i == 0 ? "" : ",",
						 counters[i], counters[i], counters[i]);
	appendStringInfoString(&sql, " RETURNING tableoid, ctid");
	return sql.data;
}

static SPIPlanPtr
find_plan(const char *table)
{
	static Statement kept[KEPT_TABLES];
	static int	next = 0;
	Oid			types[NARGS] = {INT8OID, INT8OID, INT2OID, DATEOID, INT4OID};
	Statement  *statement;
	SPIPlanPtr	plan;
	char	   *copy;

	for (int i = 0; i < KEPT_TABLES; i++)
		if (kept[i].plan != NULL && strcmp(kept[i].table, table) == 0)
			return kept[i].plan;

	for (int i = KEY_ARGS; i < NARGS; i++)
		types[i] = INT8OID;
	copy = MemoryContextStrdup(TopMemoryContext, table);
	plan = SPI_prepare(upsert_text(table), NARGS, types);
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare statement: %s", SPI_result_code_string(SPI_result));

	statement = &kept[next];
	next = (next + 1) % KEPT_TABLES;
	if (statement->plan != NULL)
	{
		SPI_freeplan(statement->plan);
		pfree(statement->table);
	}
	statement->table = copy;
	statement->plan = plan;
	return plan;
}
