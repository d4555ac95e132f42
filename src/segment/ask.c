/*-------------------------------------------------------------------------
 *
 * ask.c
 *		Questions about rules, from the tables as they are: how many, is this
 *		one, why, and by which statement.  Nothing is stored.
 *
 * IDENTIFICATION
 *		src/segment/ask.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "segment/ask.h"
#include "segment/segment.h"

PG_FUNCTION_INFO_V1(mktg_estimate_segment);
PG_FUNCTION_INFO_V1(mktg_matches);
PG_FUNCTION_INFO_V1(mktg_why_segment);

Jsonb *
mktg_rules_argument(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be NULL", "rules"),
				 errhint("For example '{\"city\": \"Berlin\"}'.")));
	return PG_GETARG_JSONB_P(n);
}

TimestampTz
mktg_at_argument(FunctionCallInfo fcinfo, int n)
{
	TimestampTz at = PG_ARGISNULL(n) ? mktg_now() : PG_GETARG_TIMESTAMPTZ(n);

	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("argument \"%s\" must be an instant", "at"),
				 errdetail("Infinity is none."),
				 errhint("Leave it out for the present time.")));
	return at;
}

/*
 * Plans of statements that come again and again, such as the rules of an
 * application's matches(): by their text, whose values are all parameters.
 */
#define KEPT_PLANS	256

typedef struct KeptPlan
{
	uint64		hash;
	char	   *sql;
	int			nparams;
	Oid		   *types;			/* one text may come with values of different types */
	SPIPlanPtr	plan;
} KeptPlan;

static SPIPlanPtr
kept_plan(const MktgStatement *statement)
{
	static KeptPlan plans[KEPT_PLANS];
	Size		types_size = sizeof(Oid) * statement->nparams;
	uint64		hash = hash_bytes_extended((const unsigned char *) statement->sql.data, statement->sql.len,
										   hash_bytes((const unsigned char *) statement->types, types_size));
	KeptPlan   *place = &plans[hash % KEPT_PLANS];
	SPIPlanPtr	plan;

	if (place->plan != NULL && place->hash == hash && strcmp(place->sql, statement->sql.data) == 0 &&
		place->nparams == statement->nparams && memcmp(place->types, statement->types, types_size) == 0)
		return place->plan;
	plan = SPI_prepare(statement->sql.data, statement->nparams, statement->types);
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare statement: %s", SPI_result_code_string(SPI_result));
	if (place->plan != NULL)
	{
		SPI_freeplan(place->plan);
		place->plan = NULL;
		pfree(place->sql);
		pfree(place->types);
	}
	place->sql = MemoryContextStrdup(TopMemoryContext, statement->sql.data);
	place->nparams = statement->nparams;
	place->types = MemoryContextAlloc(TopMemoryContext, types_size);
	memcpy(place->types, statement->types, types_size);
	place->hash = hash;
	place->plan = plan;
	return plan;
}

/* The size of an array is part of a plan's cost, so that one that is seldom run is planned for its values. */
uint64
mktg_statement_run(MktgStatement *statement, bool again)
{
	MemoryContext caller = CurrentMemoryContext;
	int			result;

	if (again)
		result = SPI_execute_plan(kept_plan(statement), statement->values, NULL, true, 0);
	else
		result = SPI_execute_with_args(statement->sql.data, statement->nparams, statement->types,
									   statement->values, NULL, true, 0);
	if (result < 0)
		elog(ERROR, "could not run rules: %s", SPI_result_code_string(result));
	MemoryContextSwitchTo(caller);
	return SPI_processed;
}

/* The contacts the rules mean: FROM and WHERE of the statement for one segment. */
void
mktg_select_contacts(MktgStatement *statement, const MktgCompiled *compiled, const char *columns)
{
	mktg_statement_begin(statement, compiled);
	appendStringInfo(&statement->sql, "SELECT %s\n  FROM mktg.contact c\n WHERE c.tenant_id = $1\n   AND ", columns);
	mktg_node_sql(statement, compiled->root, 0);
}

/*
 * SQL: mktg.estimate_segment(rules jsonb, at timestamptz, tenant bigint) returns bigint
 *
 * Errors: MK026 and MK027 for rules that are none, MK010 tenant.
 */
Datum
mktg_estimate_segment(PG_FUNCTION_ARGS)
{
	Jsonb	   *rules = mktg_rules_argument(fcinfo, 0);
	TimestampTz at = mktg_at_argument(fcinfo, 1);
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");
	int64		count;

	mktg_begin();
	count = mktg_count_matching(mktg_compile_rules(rules, at, tenant));
	mktg_end();
	PG_RETURN_INT64(count);
}

/*
 * SQL: mktg.matches(contact bigint, rules jsonb, at timestamptz, tenant bigint) returns boolean
 *
 * Errors: MK011 contact, and those of rules.
 */
Datum
mktg_matches(PG_FUNCTION_ARGS)
{
	int64		contact = mktg_int64_argument(fcinfo, 0, "contact");
	Jsonb	   *rules = mktg_rules_argument(fcinfo, 1);
	TimestampTz at = mktg_at_argument(fcinfo, 2);
	int64		tenant = mktg_int64_argument(fcinfo, 3, "tenant");
	MktgCompiled *compiled;
	MktgStatement statement;
	int			only;
	bool		result;

	mktg_begin();
	compiled = mktg_compile_rules(rules, at, tenant);
	mktg_statement_begin(&statement, compiled);
	only = mktg_statement_param(&statement, INT8OID, Int64GetDatum(contact));
	appendStringInfoString(&statement.sql, "SELECT ");
	mktg_node_sql(&statement, compiled->root, only);
	appendStringInfo(&statement.sql, " FROM mktg.contact c WHERE c.tenant_id = $1 AND c.contact_id = $%d", only);
	if (mktg_statement_run(&statement, true) == 0)
		mktg_require_contact(contact, tenant);
	result = mktg_bool_at(0, 1);
	mktg_end();
	PG_RETURN_BOOL(result);
}

/* ---- why ---- */

static void
why_columns(MktgStatement *statement, const MktgNode *node, int only)
{
	MktgNode	plain = *node;

	appendStringInfoString(&statement->sql, ", ");
	mktg_node_sql(statement, &plain, only);
	appendStringInfoString(&statement->sql, " IS TRUE, ");
	if (node->kind != MKTG_NODE_LEAF)
		appendStringInfoString(&statement->sql, "NULL::text");
	else if (node->leaf->source->is_contact && node->leaf->aggregate == MKTG_AGG_NONE)
	{
		const MktgCond *cond = node->leaf->rows;

		while (cond->kind != MKTG_COND_TEST)
			cond = cond->conds[cond->nconds - 1];
		appendStringInfo(&statement->sql, "(%s)::text", cond->row_sql);
	}
	else
		mktg_value_sql(statement, node->leaf, only);
}

static void
why_walk(ReturnSetInfo *result, const MktgCompiled *compiled, const MktgNode *node, int64 contact)
{
	MktgStatement statement;
	int			only;
	Datum		values[4];
	bool		nulls[4] = {0};
	char	   *value;

	check_stack_depth();
	mktg_statement_begin(&statement, compiled);
	only = mktg_statement_param(&statement, INT8OID, Int64GetDatum(contact));
	appendStringInfoString(&statement.sql, "SELECT 1");
	why_columns(&statement, node, only);
	appendStringInfo(&statement.sql, " FROM mktg.contact c WHERE c.tenant_id = $1 AND c.contact_id = $%d", only);
	if (mktg_statement_run(&statement, true) == 0)
		mktg_require_contact(contact, compiled->registry->tenant_id);
	value = mktg_text_at(0, 3);
	values[0] = CStringGetTextDatum(node->path);
	values[1] = CStringGetTextDatum(node->negate && node->kind != MKTG_NODE_LEAF ? psprintf("not %s", node->text) : node->text);
	values[2] = value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
	nulls[2] = value == NULL;
	values[3] = BoolGetDatum(mktg_bool_at(0, 2));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	for (int i = 0; i < node->nnodes; i++)
		why_walk(result, compiled, node->nodes[i], contact);
}

/*
 * SQL: mktg.why_segment(contact bigint, rules jsonb, at timestamptz, tenant bigint)
 *		returns setof (path text, rule text, value text, passed boolean)
 *
 * Errors: MK011 contact, and those of rules.
 */
Datum
mktg_why_segment(PG_FUNCTION_ARGS)
{
	int64		contact = mktg_int64_argument(fcinfo, 0, "contact");
	Jsonb	   *rules = mktg_rules_argument(fcinfo, 1);
	TimestampTz at = mktg_at_argument(fcinfo, 2);
	int64		tenant = mktg_int64_argument(fcinfo, 3, "tenant");
	MktgCompiled *compiled;

	InitMaterializedSRF(fcinfo, 0);
	mktg_begin();
	compiled = mktg_compile_rules(rules, at, tenant);
	why_walk((ReturnSetInfo *) fcinfo->resultinfo, compiled, compiled->root, contact);
	mktg_end();
	return (Datum) 0;
}
