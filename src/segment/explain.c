/*-------------------------------------------------------------------------
 *
 * explain.c
 *		Shows what rules become: the statement, its plan, indexes it misses.
 *
 * IDENTIFICATION
 *		src/segment/explain.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/index.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/base.h"
#include "segment/ask.h"
#include "segment/segment.h"

/* Tables smaller than this many rows need no index. */
#define SMALL_TABLE		10000

PG_FUNCTION_INFO_V1(mktg_explain_segment);
PG_FUNCTION_INFO_V1(mktg_explain_segment_plan);

/*
 * SQL: mktg.explain_segment(rules jsonb, tenant bigint) returns text
 *
 * The parameters follow the statement as comments.
 */
Datum
mktg_explain_segment(PG_FUNCTION_ARGS)
{
	Jsonb	   *rules = mktg_rules_argument(fcinfo, 0);
	int64		tenant = mktg_int64_argument(fcinfo, 1, "tenant");
	MktgStatement statement;
	StringInfoData out;
	text	   *result;

	mktg_begin();
	mktg_select_contacts(&statement, mktg_compile_rules(rules, mktg_now(), tenant), "c.contact_id");
	initStringInfo(&out);
	appendStringInfo(&out, "%s", statement.sql.data);
	for (int i = 0; i < statement.nparams; i++)
	{
		Oid			output;
		bool		varlena;

		getTypeOutputInfo(statement.types[i], &output, &varlena);
		appendStringInfo(&out, "\n-- $%d = %s (%s)", i + 1,
						 quote_literal_cstr(OidOutputFunctionCall(output, statement.values[i])),
						 format_type_be(statement.types[i]));
	}
	result = mktg_keep_text(out.data);
	mktg_end();
	PG_RETURN_TEXT_P(result);
}

/* Is there an index whose first column, behind tenant_id where the relation has it, is this? */
static bool
has_index(Relation relation, AttrNumber column, bool has_tenant)
{
	List	   *indexes = RelationGetIndexList(relation);
	ListCell   *cell;
	bool		found = false;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		int2vector *keys = &index->rd_index->indkey;
		int			first = 0;

		if (has_tenant && keys->dim1 > 1 && keys->values[0] > 0 &&
			strcmp(get_attname(RelationGetRelid(relation), keys->values[0], false), "tenant_id") == 0)
			first = 1;
		found |= keys->values[first] == column;
		index_close(index, AccessShareLock);
	}
	return found;
}

static void
advise(StringInfo out, const MktgSource *source)
{
	static MktgQuery query = MKTG_QUERY("SELECT contact_column::text FROM mktg.source WHERE name = $1 AND tenant_id IN (0, $2)"
										" ORDER BY tenant_id DESC LIMIT 1", TEXTOID, INT8OID);
	Relation	relation;
	char	   *column;

	if (source->is_contact || mktg_call(&query, MKTG_TEXT(source->name), MKTG_INT64(source->tenant_id)) == 0)
		return;
	column = mktg_text_at(0, 1);
	relation = table_open(source->relation, AccessShareLock);
	if (relation->rd_rel->reltuples >= SMALL_TABLE && relation->rd_rel->relkind != RELKIND_VIEW &&
		!has_index(relation, get_attnum(source->relation, column), source->has_tenant))
		appendStringInfo(out, "\nMissing index, for single contacts and those who changed:"
						 " CREATE INDEX ON %s (%s%s);", source->relation_sql,
						 source->has_tenant ? "tenant_id, " : "", quote_identifier(column));
	table_close(relation, AccessShareLock);
}

/*
 * SQL: mktg.explain_segment(rules jsonb, analyze boolean, tenant bigint) returns text
 */
Datum
mktg_explain_segment_plan(PG_FUNCTION_ARGS)
{
	Jsonb	   *rules = mktg_rules_argument(fcinfo, 0);
	bool		analyze = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");
	MktgCompiled *compiled;
	MktgStatement statement;
	MktgStatement explain;
	StringInfoData out;
	text	   *result;
	ListCell   *cell;

	mktg_begin();
	compiled = mktg_compile_rules(rules, mktg_now(), tenant);
	mktg_select_contacts(&statement, compiled, "count(*)");
	explain = statement;
	initStringInfo(&explain.sql);
	appendStringInfo(&explain.sql, "EXPLAIN (%sCOSTS) %s", analyze ? "ANALYZE, BUFFERS, " : "", statement.sql.data);
	if (SPI_execute_with_args(explain.sql.data, explain.nparams, explain.types, explain.values, NULL, false, 0) < 0)
		elog(ERROR, "could not explain rules");
	initStringInfo(&out);
	for (uint64 i = 0; i < SPI_processed; i++)
		appendStringInfo(&out, "%s%s", i > 0 ? "\n" : "", mktg_text_at(i, 1));
	if (mktg_pass_is_cheaper(compiled))
		appendStringInfoString(&out, "\nOne pass over each source is cheaper than this plan and is what"
							   " mktg.estimate_segment() does.");
	foreach(cell, compiled->sources)
		advise(&out, lfirst(cell));
	result = mktg_keep_text(out.data);
	mktg_end();
	PG_RETURN_TEXT_P(result);
}
