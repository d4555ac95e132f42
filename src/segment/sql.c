/*-------------------------------------------------------------------------
 *
 * sql.c
 *		A tree of leaves to one statement with bound parameters.
 *
 * A leaf becomes a condition on contact row "c": of the row itself, EXISTS over
 * the rows of a source, or EXISTS over its groups with HAVING.  What passes
 * without any row becomes NOT EXISTS of its complement, so that the planner may
 * join either way and never has to look at contacts that have no rows.
 *
 * Expressions are the registry's, values are always parameters.
 *
 * IDENTIFICATION
 *		src/segment/sql.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"

#include "base/base.h"
#include "segment/segment.h"

static void test_sql(MktgStatement *statement, const char *value, Oid type, const MktgTest *test);
static void rows_sql(MktgStatement *statement, const MktgLeaf *leaf, int only, const char *columns);

void
mktg_statement_begin(MktgStatement *statement, const MktgCompiled *compiled)
{
	memset(statement, 0, sizeof(*statement));
	initStringInfo(&statement->sql);
	mktg_statement_param(statement, INT8OID, Int64GetDatum(compiled->registry->tenant_id));
	mktg_statement_param(statement, TIMESTAMPTZOID, TimestampTzGetDatum(compiled->at));
	mktg_statement_param(statement, TEXTOID, CStringGetTextDatum(compiled->registry->time_zone));
	mktg_statement_param(statement, TEXTOID, CStringGetTextDatum(compiled->registry->currency));
}

int
mktg_statement_param(MktgStatement *statement, Oid type, Datum value)
{
	if (statement->nparams == statement->capacity)
	{
		statement->capacity = statement->capacity * 2 + 16;
		statement->types = statement->types == NULL ? palloc(sizeof(Oid) * statement->capacity) :
			repalloc(statement->types, sizeof(Oid) * statement->capacity);
		statement->values = statement->values == NULL ? palloc(sizeof(Datum) * statement->capacity) :
			repalloc(statement->values, sizeof(Datum) * statement->capacity);
	}
	statement->types[statement->nparams] = type;
	statement->values[statement->nparams] = value;
	return ++statement->nparams;
}

/* ---- tests ---- */

static const char *
operator_sql(MktgOperator op)
{
	switch (op)
	{
		case MKTG_OP_GT:
			return ">";
		case MKTG_OP_LT:
			return "<";
		case MKTG_OP_GE:
			return ">=";
		case MKTG_OP_LE:
			return "<=";
		default:
			return "=";
	}
}

static Datum
text_array(const MktgTest *test)
{
	Datum	   *values = palloc(sizeof(Datum) * test->n);

	for (int i = 0; i < test->n; i++)
		values[i] = CStringGetTextDatum(test->texts[i]);
	return mktg_array(values, NULL, test->n, TEXTOID);
}

static void
text_sql(MktgStatement *statement, const char *value, const MktgTest *test)
{
	StringInfo	sql = &statement->sql;

	if (test->op == MKTG_OP_IN)
	{
		appendStringInfo(sql, "%s = ANY ($%d)", value,
						 mktg_statement_param(statement, TEXTARRAYOID, text_array(test)));
		return;
	}
	if (test->op == MKTG_OP_CONTAINS)
		appendStringInfo(sql, "pg_catalog.strpos(%s, ", value);
	else if (test->op == MKTG_OP_STARTS_WITH)
		appendStringInfo(sql, "%s ^@ ", value);
	else
		appendStringInfo(sql, "%s %s ", value, test->op == MKTG_OP_BETWEEN ? "BETWEEN" : operator_sql(test->op));
	appendStringInfo(sql, "$%d", mktg_statement_param(statement, TEXTOID, CStringGetTextDatum(test->texts[0])));
	if (test->op == MKTG_OP_BETWEEN)
		appendStringInfo(sql, " AND $%d", mktg_statement_param(statement, TEXTOID, CStringGetTextDatum(test->texts[1])));
	if (test->op == MKTG_OP_CONTAINS)
		appendStringInfoString(sql, ") > 0");
}

/* The type a number is passed as, so that an index over the column serves. */
static Oid
number_type(Oid type, const MktgTest *test)
{
	if (type == FLOAT8OID || type == FLOAT4OID)
		return FLOAT8OID;
	if (type != INT8OID && type != INT4OID && type != INT2OID)
		return NUMERICOID;
	if (!test->whole)
		return NUMERICOID;
	for (int i = 0; i < test->n; i++)
	{
		Numeric		n = test->numbers[i];

		if (DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(n),
											  NumericGetDatum(int64_to_numeric(PG_INT64_MAX)))) > 0 ||
			DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(n),
											  NumericGetDatum(int64_to_numeric(PG_INT64_MIN)))) < 0)
			return NUMERICOID;
	}
	return INT8OID;
}

static Datum
number_datum(Numeric number, Oid type)
{
	switch (type)
	{
		case INT8OID:
			return DirectFunctionCall1(numeric_int8, NumericGetDatum(number));
		case FLOAT8OID:
			return DirectFunctionCall1(numeric_float8, NumericGetDatum(number));
		default:
			return NumericGetDatum(number);
	}
}

static int
number_param(MktgStatement *statement, Numeric number, Oid type)
{
	return mktg_statement_param(statement, type, number_datum(number, type));
}

static void
number_sql(MktgStatement *statement, const char *value, Oid value_type, const MktgTest *test)
{
	Oid			type = number_type(value_type, test);
	StringInfo	sql = &statement->sql;

	if (test->op == MKTG_OP_IN)
	{
		Datum	   *values = palloc(sizeof(Datum) * test->n);

		for (int i = 0; i < test->n; i++)
			values[i] = number_datum(test->numbers[i], type);
		appendStringInfo(sql, "%s = ANY ($%d)", value,
						 mktg_statement_param(statement, type == INT8OID ? INT8ARRAYOID : type == FLOAT8OID ? FLOAT8ARRAYOID : NUMERICARRAYOID,
											  mktg_array(values, NULL, test->n, type)));
	}
	else if (test->op == MKTG_OP_BETWEEN)
	{
		int			low = number_param(statement, test->numbers[0], type);
		int			high = number_param(statement, test->numbers[1], type);

		appendStringInfo(sql, "%s BETWEEN $%d AND $%d", value, low, high);
	}
	else
		appendStringInfo(sql, "%s %s $%d", value, operator_sql(test->op),
						 number_param(statement, test->numbers[0], type));
}

static int
bound_param(MktgStatement *statement, int64 bound, bool dates)
{
	if (dates)
		return mktg_statement_param(statement, DATEOID, DateADTGetDatum((DateADT) bound));
	return mktg_statement_param(statement, TIMESTAMPTZOID, TimestampTzGetDatum(bound));
}

static void
range_sql(MktgStatement *statement, const char *value, const MktgRange *range, bool dates)
{
	StringInfo	sql = &statement->sql;

	if (range->lo >= range->hi)
	{
		appendStringInfoString(sql, "false");
		return;
	}
	if (range->lo != PG_INT64_MIN)
		appendStringInfo(sql, "%s >= $%d", value, bound_param(statement, range->lo, dates));
	if (range->lo != PG_INT64_MIN && range->hi != PG_INT64_MAX)
		appendStringInfoString(sql, " AND ");
	if (range->hi != PG_INT64_MAX)
		appendStringInfo(sql, "%s < $%d", value, bound_param(statement, range->hi, dates));
}

/* A value as the type its ranges are in. */
static const char *
time_value(const char *value, Oid type)
{
	if (type == TIMESTAMPOID)
		return psprintf("(%s AT TIME ZONE $3)", value);
	return value;
}

static void
ranges_sql(MktgStatement *statement, const char *value, Oid type, const MktgTest *test)
{
	if (test->nranges == 0)
		appendStringInfoString(&statement->sql, "false");
	for (int i = 0; i < test->nranges; i++)
	{
		if (i > 0)
			appendStringInfoString(&statement->sql, " OR ");
		range_sql(statement, time_value(value, type), &test->ranges[i], type == DATEOID);
	}
}

/* "(value op $n)"; NULL where the value is. */
static void
test_sql(MktgStatement *statement, const char *value, Oid type, const MktgTest *test)
{
	StringInfo	sql = &statement->sql;

	appendStringInfoChar(sql, '(');
	switch (test->kind)
	{
		case MKTG_TEST_EXISTS:
			if (type == TEXTARRAYOID)
				appendStringInfo(sql, "pg_catalog.cardinality(%s) > 0", value);
			else
				appendStringInfo(sql, "%s IS NOT NULL", value);
			break;
		case MKTG_TEST_TEXT:
			text_sql(statement, value, test);
			break;
		case MKTG_TEST_NUMBER:
			number_sql(statement, value, type, test);
			break;
		case MKTG_TEST_RANGE:
			ranges_sql(statement, value, type, test);
			break;
		case MKTG_TEST_BOOLEAN:
			appendStringInfo(sql, "%s = %s", value, test->boolean ? "true" : "false");
			break;
		case MKTG_TEST_ARRAY:
			appendStringInfo(sql, "%s && $%d", value,
							 mktg_statement_param(statement, TEXTARRAYOID, text_array(test)));
			break;
	}
	appendStringInfoChar(sql, ')');
}

void
mktg_cond_sql(MktgStatement *statement, const MktgCond *cond, bool two_valued)
{
	StringInfo	sql = &statement->sql;

	if (cond->kind == MKTG_COND_TEST)
	{
		appendStringInfoChar(sql, '(');
		test_sql(statement, psprintf("(%s)", cond->row_sql), cond->row_type, cond->test);
		appendStringInfoString(sql, cond->negate ? " IS NOT TRUE)" : two_valued ? " IS TRUE)" : ")");
		return;
	}
	appendStringInfoString(sql, cond->negate ? "(NOT (" : "(");
	for (int i = 0; i < cond->nconds; i++)
	{
		if (i > 0)
			appendStringInfoString(sql, cond->kind == MKTG_COND_AND ? " AND " : " OR ");
		mktg_cond_sql(statement, cond->conds[i], two_valued || cond->negate);
	}
	appendStringInfoString(sql, cond->negate ? "))" : ")");
}

/* ---- leaves ---- */

void
mktg_source_sql(MktgStatement *statement, const MktgSource *source, const char *columns)
{
	appendStringInfo(&statement->sql, "SELECT %s FROM %s s WHERE %s", columns, source->relation_sql,
					 source->has_tenant ? "s.tenant_id = $1" : "true");
}

/* The rows of a leaf's source that count, of any contact or of "only" one. */
static void
rows_sql(MktgStatement *statement, const MktgLeaf *leaf, int only, const char *columns)
{
	StringInfo	sql = &statement->sql;

	mktg_source_sql(statement, leaf->source, columns);
	if (only > 0 && leaf->source->external)
		appendStringInfo(sql, " AND %s = (SELECT external_id FROM mktg.contact"
						 " WHERE tenant_id = $1 AND contact_id = $%d)", leaf->source->contact_sql, only);
	else if (only > 0)
		appendStringInfo(sql, " AND %s = $%d", leaf->source->contact_sql, only);
	if (leaf->at_sql != NULL)
	{
		appendStringInfoString(sql, " AND ");
		range_sql(statement, leaf->at_sql, &leaf->window, false);
	}
	if (leaf->rows != NULL)
	{
		appendStringInfoString(sql, " AND ");
		mktg_cond_sql(statement, leaf->rows, false);
	}
}

/* The column of contact row "c" that a source's rows name. */
static const char *
contact_column(const MktgSource *source)
{
	return source->external ? "c.external_id" : "c.contact_id";
}

static const char *
aggregate_sql(const MktgLeaf *leaf, Oid *type)
{
	const char *row = leaf->field->row_sql;

	*type = NUMERICOID;
	switch (leaf->aggregate)
	{
		case MKTG_AGG_COUNT:
			*type = INT8OID;
			return row == NULL ? "count(*)" : psprintf("count(%s)", row);
		case MKTG_AGG_SUM:
			return psprintf("coalesce(sum(%s), 0)", row);
		case MKTG_AGG_AVG:
			return psprintf("avg(%s)", row);
		case MKTG_AGG_BOOL_AND:
			*type = BOOLOID;
			return psprintf("coalesce(bool_and(%s), false)", row);
		case MKTG_AGG_BOOL_OR:
			*type = BOOLOID;
			return psprintf("coalesce(bool_or(%s), false)", row);
		case MKTG_AGG_LIFECYCLE:
			*type = TEXTOID;
			return psprintf("mktg.lifecycle_stage(%s, $2)", row);
		case MKTG_AGG_DAYS_SINCE:
			*type = TIMESTAMPTZOID;
			return psprintf("max(%s)", row);
		default:
			*type = mktg_expression_type(leaf->source, row, NULL);
			/* local times have another order where the clocks are set back */
			if (*type == TIMESTAMPOID)
			{
				*type = TIMESTAMPTZOID;
				row = psprintf("(%s) AT TIME ZONE $3", row);
			}
			return psprintf("%s(%s)", leaf->aggregate == MKTG_AGG_MIN ? "min" : "max", row);
	}
}

/* An average is compared as sum and count, which are exact. */
static void
average_sql(MktgStatement *statement, const MktgLeaf *leaf)
{
	StringInfo	sql = &statement->sql;
	const MktgTest *test = leaf->test;
	const char *row = leaf->field->row_sql;

	appendStringInfo(sql, "(count(%s) > 0", row);
	for (int i = 0; i < test->n && test->kind == MKTG_TEST_NUMBER; i++)
	{
		const char *op = test->op == MKTG_OP_BETWEEN ? (i == 0 ? ">=" : "<=") : operator_sql(test->op);

		appendStringInfo(sql, "%s sum(%s) %s $%d * count(%s)",
						 i == 0 ? " AND (" : test->op == MKTG_OP_IN ? " OR" : " AND", row, op,
						 mktg_statement_param(statement, NUMERICOID, NumericGetDatum(test->numbers[i])), row);
	}
	appendStringInfoString(sql, test->kind == MKTG_TEST_NUMBER ? "))" : ")");
}

static void
having_sql(MktgStatement *statement, const MktgLeaf *leaf)
{
	Oid			type;
	const char *value;

	if (leaf->aggregate == MKTG_AGG_AVG)
	{
		average_sql(statement, leaf);
		return;
	}
	/* these are 0 and false where no row has a value, which does not make them one */
	if (leaf->test->kind == MKTG_TEST_EXISTS &&
		(leaf->aggregate == MKTG_AGG_SUM || leaf->aggregate == MKTG_AGG_BOOL_AND || leaf->aggregate == MKTG_AGG_BOOL_OR))
	{
		appendStringInfo(&statement->sql, "(count(%s) > 0)", leaf->field->row_sql);
		return;
	}
	value = aggregate_sql(leaf, &type);
	test_sql(statement, value, type, leaf->test);
}

/* Is it enough to find a row, or to find none? */
static bool
asks_for_rows(const MktgLeaf *leaf, bool *none)
{
	const MktgTest *test = leaf->test;

	*none = false;
	if (leaf->aggregate == MKTG_AGG_NONE)
		return true;
	if (leaf->aggregate != MKTG_AGG_COUNT || leaf->field->row_sql != NULL || test->nranges != 1)
		return false;
	*none = test->ranges[0].lo <= 0 && test->ranges[0].hi == 1;
	return *none || (test->ranges[0].lo == 1 && test->ranges[0].hi == PG_INT64_MAX);
}

/*
 * The largest value is from a bound on if any is, the smallest below one
 * likewise: no need to group.  Rows behind the window's end do not count, so
 * that a bound there is none.
 */
static bool
extreme_is_any(const MktgLeaf *leaf, MktgRange *any)
{
	const MktgTest *test = leaf->test;
	bool		largest = leaf->aggregate == MKTG_AGG_MAX || leaf->aggregate == MKTG_AGG_DAYS_SINCE;
	bool		is_time;

	if ((!largest && leaf->aggregate != MKTG_AGG_MIN) || test->kind != MKTG_TEST_RANGE || test->nranges != 1 ||
		leaf->empty_passes)
		return false;
	*any = test->ranges[0];
	is_time = leaf->at_sql != NULL && strcmp(leaf->at_sql, leaf->field->row_sql) == 0;
	if (is_time && any->hi >= leaf->window.hi)
		any->hi = PG_INT64_MAX;
	if (is_time && any->lo <= leaf->window.lo)
		any->lo = PG_INT64_MIN;
	return any->lo < any->hi && (largest ? any->hi == PG_INT64_MAX && any->lo != PG_INT64_MIN :
								 any->lo == PG_INT64_MIN && any->hi != PG_INT64_MAX);
}

void
mktg_leaf_sql(MktgStatement *statement, const MktgLeaf *leaf, int only, bool two_valued)
{
	StringInfo	sql = &statement->sql;
	const char *key = leaf->source->contact_sql;
	bool		none;
	MktgRange	any;

	if (leaf->source->is_contact && leaf->aggregate == MKTG_AGG_NONE)
	{
		/* expressions name columns alone, and "c" is what they find here */
		mktg_cond_sql(statement, leaf->rows, two_valued);
		return;
	}
	if (asks_for_rows(leaf, &none))
	{
		appendStringInfoString(sql, none ? "NOT EXISTS (" : "EXISTS (");
		rows_sql(statement, leaf, only, "");
		if (only == 0)
			appendStringInfo(sql, " AND %s = %s", key, contact_column(leaf->source));
		appendStringInfoChar(sql, ')');
		return;
	}
	if (extreme_is_any(leaf, &any))
	{
		const char *row = leaf->field->row_sql;
		Oid			type = mktg_expression_type(leaf->source, row, NULL);

		appendStringInfoString(sql, "EXISTS (");
		rows_sql(statement, leaf, only, "");
		appendStringInfoString(sql, " AND ");
		range_sql(statement, time_value(row, type), &any, type == DATEOID);
		if (only == 0)
			appendStringInfo(sql, " AND %s = %s", key, contact_column(leaf->source));
		appendStringInfoChar(sql, ')');
		return;
	}
	appendStringInfo(sql, "%sEXISTS (SELECT FROM (", leaf->empty_passes ? "NOT " : "");
	rows_sql(statement, leaf, only, psprintf("%s AS key", key));
	appendStringInfo(sql, " GROUP BY %s HAVING ", key);
	having_sql(statement, leaf);
	if (leaf->empty_passes)
		appendStringInfoString(sql, " IS NOT TRUE");
	appendStringInfo(sql, ") g WHERE g.key = %s)", contact_column(leaf->source));
}

static void
node_sql(MktgStatement *statement, const MktgNode *node, int only, bool two_valued)
{
	StringInfo	sql = &statement->sql;

	check_stack_depth();
	two_valued |= node->negate;
	appendStringInfoString(sql, node->negate ? "(NOT " : "(");
	switch (node->kind)
	{
		case MKTG_NODE_LEAF:
			mktg_leaf_sql(statement, node->leaf, only, two_valued);
			break;
		case MKTG_NODE_STATIC:
			appendStringInfo(sql, "EXISTS (SELECT FROM mktg.segment_bitmap b WHERE b.tenant_id = $1 AND b.segment_id = $%d"
							 " AND b.chunk = c.contact_id >> 16 AND mktg._chunk_has(b.bits, c.contact_id))",
							 mktg_statement_param(statement, INT8OID, Int64GetDatum(node->segment)));
			break;
		default:
			appendStringInfoChar(sql, '(');
			for (int i = 0; i < node->nnodes; i++)
			{
				if (i > 0)
					appendStringInfoString(sql, node->kind == MKTG_NODE_AND ? " AND " : " OR ");
				node_sql(statement, node->nodes[i], only, two_valued);
			}
			appendStringInfoChar(sql, ')');
	}
	appendStringInfoChar(sql, ')');
}

void
mktg_node_sql(MktgStatement *statement, const MktgNode *node, int only)
{
	node_sql(statement, node, only, false);
}

void
mktg_value_sql(MktgStatement *statement, const MktgLeaf *leaf, int only)
{
	StringInfo	sql = &statement->sql;
	const MktgCond *cond = leaf->rows;
	MktgLeaf	all = *leaf;

	if (leaf->aggregate != MKTG_AGG_NONE)
	{
		Oid			type;
		const char *value = leaf->aggregate == MKTG_AGG_DAYS_SINCE ?
			psprintf("mktg.days_since(%s, $2)", leaf->field->row_sql) : aggregate_sql(leaf, &type);

		appendStringInfoChar(sql, '(');
		rows_sql(statement, leaf, only, psprintf("(%s)::text", value));
		appendStringInfoChar(sql, ')');
		return;
	}
	/* the last condition is the rule's own, those before it are of "where" */
	while (cond->kind != MKTG_COND_TEST)
		cond = cond->conds[cond->nconds - 1];
	all.rows = NULL;
	appendStringInfoString(sql, "(SELECT pg_catalog.string_agg(v, ', ' ORDER BY v) FROM (SELECT DISTINCT v FROM (");
	rows_sql(statement, &all, only, psprintf("(%s)::text AS v", cond->row_sql));
	appendStringInfoString(sql, ") u WHERE v IS NOT NULL ORDER BY v LIMIT 10) t)");
}
