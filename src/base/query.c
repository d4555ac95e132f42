/*-------------------------------------------------------------------------
 *
 * query.c
 *		Statements the rooms run, and the check of the schema they run on.
 *
 * IDENTIFICATION
 *		src/base/query.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "base/compat.h"

void
mktg_begin(void)
{
	mktg_require_schema();
	SPI_connect();
}

void
mktg_end(void)
{
	SPI_finish();
}

/*
 * Is the schema there and known?  If not, "detail" says why.  The answer is
 * remembered for the transaction and what it was read from: migrate() takes a
 * lock nobody else holds, uninstall() and DROP EXTENSION drop what was read.
 */
bool
mktg_schema_ready(const char **detail)
{
	static LocalTransactionId checked_in = InvalidLocalTransactionId;
	static Oid	checked[2];
	static MktgQuery version_query = MKTG_QUERY("SELECT max(version) FROM mktg.schema_version");
	Oid			namespace_oid = get_namespace_oid("mktg", true);
	Oid			relation = InvalidOid;
	Oid			view;
	int32		version;
	bool		snapshot_pushed = false;

	*detail = NULL;
	if (OidIsValid(namespace_oid))
		relation = get_relname_relid("schema_version", namespace_oid);
	if (!OidIsValid(relation))
	{
		*detail = "not installed";
		return false;
	}
	view = get_relname_relid("recipient", namespace_oid);
	if (mktg_transaction_id() == checked_in && relation == checked[0] && view == checked[1])
		return true;

	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		snapshot_pushed = true;
	}
	SPI_connect();
	mktg_run(&version_query, NULL);
	version = mktg_int32_at(0, 1);
	SPI_finish();
	if (snapshot_pushed)
		PopActiveSnapshot();

	/* the view depends on the extension, as the triggers do, and goes where they go */
	if (version == MKTG_SCHEMA_VERSION && !OidIsValid(view))
	{
		*detail = "the schema without its triggers and views, which DROP EXTENSION took";
		return false;
	}
	if (version != MKTG_SCHEMA_VERSION)
	{
		*detail = psprintf("schema version %d, library knows version %d",
						   version, MKTG_SCHEMA_VERSION);
		return false;
	}
	checked_in = mktg_transaction_id();
	checked[0] = relation;
	checked[1] = view;
	return true;
}

void
mktg_require_schema(void)
{
	const char *detail;

	if (mktg_schema_ready(&detail))
		return;
	if (strcmp(detail, "not installed") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_NOT_INSTALLED),
				 errmsg("mktg is not installed in database \"%s\"",
						get_database_name(MyDatabaseId)),
				 errhint("Run SELECT mktg.install();")));
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_SCHEMA_VERSION),
			 errmsg("mktg cannot work on this schema version"),
			 errdetail("This is %s.", detail),
			 errhint("Run SELECT mktg.migrate(), or install the library that belongs to the schema.")));
}

/* Plan once, keep for the backend's life. */
static void
prepare(MktgQuery *query)
{
	SPIPlanPtr	plan = SPI_prepare(query->sql, query->nargs, query->argtypes);

	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare statement: %s", SPI_result_code_string(SPI_result));
	query->plan = plan;
}

/*
 * A plan made while a table was small may be a poor one when it has grown, and
 * nobody says so before the table is analyzed: not in the transaction that
 * fills it, for one.  So plan anew at every doubling of the runs.  Whoever is
 * running the old plan keeps it to the end.
 */
static void
renew_plan(MktgQuery *query)
{
	ListCell   *cell;

	query->runs++;
	if (query->runs < 16 || (query->runs & (query->runs - 1)) != 0)
		return;
	foreach(cell, SPI_plan_get_plan_sources(query->plan))
	{
		CachedPlanSource *source = lfirst(cell);

		if (source->gplan != NULL)
			source->gplan->is_valid = false;
	}
}

/*
 * Give a statement over whole tables the memory that maintenance gets.  Where
 * it surely touches most rows, a plan for few, made on tables nobody has
 * analysed yet, would be ruinous: then no nested loops.
 */
static int
prepare_for_bulk(bool most_rows)
{
	int			nest = NewGUCNestLevel();
	char		value[32];

	if (maintenance_work_mem > work_mem)
	{
		snprintf(value, sizeof(value), "%d", maintenance_work_mem);
		(void) set_config_option("work_mem", value, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	}
	if (most_rows)
		(void) set_config_option("enable_nestloop", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	/* compiling costs more than it saves on statements that run once */
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return nest;
}

uint64
mktg_run(MktgQuery *query, const MktgArg *args)
{
	Datum		values[MKTG_MAX_ARGS];
	char		nulls[MKTG_MAX_ARGS + 1];
	MemoryContext caller = CurrentMemoryContext;
	int			result;

	Assert(query->nargs <= MKTG_MAX_ARGS);
	for (int i = 0; i < query->nargs; i++)
	{
		values[i] = args[i].value;
		nulls[i] = args[i].isnull ? 'n' : ' ';
	}
	nulls[query->nargs] = '\0';

	if (query->bulk)
	{
		int			nest = prepare_for_bulk(query->most_rows);

		result = SPI_execute_with_args(query->sql, query->nargs, query->argtypes,
									   values, nulls, false, 0);
		AtEOXact_GUC(true, nest);
	}
	else
	{
		if (query->plan == NULL)
			prepare(query);
		else
			renew_plan(query);
		if (query->fresh && IsolationUsesXactSnapshot())
			result = SPI_execute_snapshot(query->plan, values, nulls, GetLatestSnapshot(),
										  InvalidSnapshot, false, false, 0);
		else
			result = SPI_execute_plan(query->plan, values, nulls, false, 0);
	}
	if (result < 0)
		elog(ERROR, "could not run statement: %s", SPI_result_code_string(result));
	/* SPI leaves its own context behind */
	MemoryContextSwitchTo(caller);
	return SPI_processed;
}

MktgArg
mktg_text_arg(const char *cstring)
{
	if (cstring == NULL)
		return MKTG_NULL;
	return MKTG_ARG(CStringGetTextDatum(cstring));
}

Datum
mktg_array(Datum *values, bool *nulls, int n, Oid type)
{
	int16		length;
	bool		by_value;
	char		align;
	int			lower = 1;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	if (n == 0)
		return PointerGetDatum(construct_empty_array(type));
	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower, type,
											  length, by_value, align));
}

void
mktg_columns_add(MktgColumns *columns, const MktgArg *row)
{
	if (columns->n == columns->capacity)
	{
		columns->capacity = columns->capacity * 2 + 64;
		for (int i = 0; i < columns->ncolumns; i++)
		{
			columns->values[i] = columns->n == 0 ? palloc(columns->capacity * sizeof(Datum)) :
				repalloc(columns->values[i], columns->capacity * sizeof(Datum));
			columns->nulls[i] = columns->n == 0 ? palloc(columns->capacity * sizeof(bool)) :
				repalloc(columns->nulls[i], columns->capacity * sizeof(bool));
		}
	}
	for (int i = 0; i < columns->ncolumns; i++)
	{
		columns->values[i][columns->n] = row[i].value;
		columns->nulls[i][columns->n] = row[i].isnull;
	}
	columns->n++;
}

MktgArg
mktg_columns_array(const MktgColumns *columns, int column)
{
	return MKTG_ARG(mktg_array(columns->values[column], columns->nulls[column],
							   columns->n, columns->types[column]));
}

uint64
mktg_run_columns(MktgQuery *query, const MktgColumns *columns)
{
	MktgArg		args[MKTG_MAX_ARGS];

	if (columns->n == 0)
		return 0;
	Assert(query->nargs == columns->ncolumns);
	for (int i = 0; i < columns->ncolumns; i++)
		args[i] = mktg_columns_array(columns, i);
	return mktg_run(query, args);
}

Datum
mktg_value_at(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

bool
mktg_null_at(uint64 row, int column)
{
	bool		isnull;

	(void) mktg_value_at(row, column, &isnull);
	return isnull;
}

int64
mktg_int64_at(uint64 row, int column)
{
	bool		isnull;
	Datum		value = mktg_value_at(row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

int32
mktg_int32_at(uint64 row, int column)
{
	bool		isnull;
	Datum		value = mktg_value_at(row, column, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

bool
mktg_bool_at(uint64 row, int column)
{
	bool		isnull;
	Datum		value = mktg_value_at(row, column, &isnull);

	return !isnull && DatumGetBool(value);
}

char *
mktg_text_at(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

/* The function's result row, allocated for its caller. */
Datum
mktg_keep_row(FunctionCallInfo fcinfo, const MktgArg *columns)
{
	TupleDesc	tupdesc;
	Datum		values[64];
	bool		nulls[64];

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	Assert(tupdesc->natts <= 64);
	for (int i = 0; i < tupdesc->natts; i++)
	{
		values[i] = columns[i].value;
		nulls[i] = columns[i].isnull;
	}
	return PointerGetDatum(SPI_returntuple(heap_form_tuple(tupdesc, values, nulls), tupdesc));
}

text *
mktg_keep_text(const char *cstring)
{
	Size		length = strlen(cstring);
	text	   *result = SPI_palloc(length + VARHDRSZ);

	SET_VARSIZE(result, length + VARHDRSZ);
	memcpy(VARDATA(result), cstring, length);
	return result;
}
