/*-------------------------------------------------------------------------
 *
 * count.c
 *		One segment's rules, run the cheaper way.
 *
 * As one statement the planner may use indexes and join in any order: best
 * where few contacts or rows qualify.  As a pass every source is read once and
 * nothing is grouped or joined: best where the rules look at most rows.  The
 * planner says what the statement costs, and what reading the sources does.
 *
 * IDENTIFICATION
 *		src/segment/count.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/params.h"
#include "parser/parser.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "core/bitmap.h"
#include "segment/ask.h"
#include "segment/segment.h"

/*
 * What a row of a pass costs in the planner's units, beside reading it: about
 * what the server charges for grouping it by a hash, which took three times as
 * long where this was measured.
 */
#define PASS_ROW_COST	0.01

static Cost
plan_cost(const MktgStatement *statement, double *rows)
{
	List	   *raw = pg_parse_query(statement->sql.data);
	ParamListInfo params = makeParamList(statement->nparams);
	List	   *queries;
	PlannedStmt *plan;

	for (int i = 0; i < statement->nparams; i++)
	{
		params->params[i].value = statement->values[i];
		params->params[i].isnull = false;
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = statement->types[i];
	}
	queries = pg_analyze_and_rewrite_fixedparams(linitial_node(RawStmt, raw), statement->sql.data,
												 statement->types, statement->nparams, NULL);
	plan = pg_plan_query(linitial_node(Query, queries), statement->sql.data, CURSOR_OPT_PARALLEL_OK, params);
	*rows = plan->planTree->plan_rows;
	return plan->planTree->total_cost;
}

/* Reading all contacts, and every source the rules name; no more of them than it takes to reach a limit. */
static Cost
pass_cost(const MktgCompiled *compiled, Cost limit)
{
	MktgStatement statement;
	Cost		cost;
	double		rows;
	ListCell   *cell;

	mktg_statement_begin(&statement, compiled);
	appendStringInfoString(&statement.sql, "SELECT contact_id FROM mktg.contact WHERE tenant_id = $1");
	cost = plan_cost(&statement, &rows);
	foreach(cell, compiled->sources)
	{
		MktgSource *source = lfirst(cell);
		MktgStatement scan;
		MktgStatement count;

		if (cost >= limit)
			break;
		mktg_statement_begin(&scan, compiled);
		mktg_source_sql(&scan, source, "1");
		(void) plan_cost(&scan, &rows);
		mktg_statement_begin(&count, compiled);
		mktg_source_sql(&count, source, "count(*)");
		{
			double		one;

			cost += plan_cost(&count, &one) + rows * PASS_ROW_COST;
		}
	}
	return cost;
}

bool
mktg_pass_is_cheaper(MktgCompiled *compiled)
{
	MktgStatement statement;
	double		rows;
	Cost		cost;

	mktg_select_contacts(&statement, compiled, "count(*)");
	cost = plan_cost(&statement, &rows);
	return pass_cost(compiled, cost) < cost;
}

int64
mktg_count_matching(MktgCompiled *compiled)
{
	MktgStatement statement;
	MktgPass   *pass;

	if (mktg_pass_is_cheaper(compiled))
	{
		pass = mktg_pass_run(&compiled, 1, NULL, 0, compiled->registry->tenant_id);
		return mktg_bits_count(pass->members[0], (pass->universe.n + 63) / 64);
	}
	mktg_select_contacts(&statement, compiled, "count(*)");
	mktg_statement_run(&statement, false);
	return mktg_int64_at(0, 1);
}

int64
mktg_bits_count(const uint64 *words, int64 n)
{
	int64		count = 0;

	for (int64 i = 0; i < n; i++)
		count += __builtin_popcountll(words[i]);
	return count;
}

int64 *
mktg_matching_ids(MktgCompiled *compiled, int64 *n)
{
	MktgStatement statement;
	MktgPass   *pass;
	int64	   *ids;

	if (!mktg_pass_is_cheaper(compiled))
	{
		mktg_select_contacts(&statement, compiled, "c.contact_id");
		return mktg_statement_ids(&statement, n);
	}
	pass = mktg_pass_run(&compiled, 1, NULL, 0, compiled->registry->tenant_id);
	ids = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int64) * (pass->universe.n + 1));
	*n = 0;
	for (int64 i = 0; i < pass->universe.n; i++)
		if (pass->members[0][i / 64] >> (i % 64) & 1)
			ids[(*n)++] = pass->universe.ids[i];
	return ids;
}
