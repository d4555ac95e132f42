/*-------------------------------------------------------------------------
 *
 * compile.c
 *		Rules to a tree of leaves.
 *
 * Negative operators are the exact complements of the positive ones, and a
 * comparison with nothing is false: so every leaf is true or false, and "not"
 * turns it round.  Dynamic segments named by a rule are taken in as their rules.
 *
 * IDENTIFICATION
 *		src/segment/compile.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_collation_d.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

#include "base/base.h"
#include "segment/define.h"
#include "segment/segment.h"

#define USECS_OF(days)	((int64) rint((days) * USECS_PER_DAY))

static MktgNode *compile_text(MktgCompiling *compiling, const char *json, size_t length, const char *path);
static MktgNode *compile_rule(MktgCompiling *compiling, const MktgRule *rule);
static MktgNode *compile_group(MktgCompiling *compiling, const MktgRule *rule);
static MktgNode *compile_leaf(MktgCompiling *compiling, const MktgRule *rule);
static MktgNode *compile_segment(MktgCompiling *compiling, const MktgRule *rule);
static MktgNode *compile_short(MktgCompiling *compiling, const MktgRule *rule);
static void merge_rows(MktgNode *group);

void
mktg_refuse_rule(int code, const char *path, const char *part, const char *message, const char *hint)
{
	const char *dot = path[0] != '\0' && part[0] != '\0' && part[0] != '[' ? "." : "";

	ereport(ERROR,
			(errcode(code),
			 path[0] == '\0' && part[0] == '\0' ?
			 errmsg("invalid rule: %s", message) :
			 errmsg("invalid rule at %s%s%s: %s", path, dot, part, message),
			 hint != NULL && hint[0] != '\0' ? errhint("%s", hint) :
			 errhint("The language is described in doc/segment.md; mktg.rule_field and mktg.rule_operator list what it knows.")));
}

MktgCompiled *
mktg_compile_rules(Jsonb *rules, TimestampTz at, int64 tenant)
{
	MktgCompiled *compiled = palloc0(sizeof(MktgCompiled));
	MktgCompiling compiling = {.registry = mktg_registry(tenant), .at = at};
	char	   *json;

	if (VARSIZE(rules) > MKTG_RULE_MAX_BYTES)
		mktg_refuse_rule(ERRCODE_MKTG_TOO_LARGE, "", "", "it is too large",
						 psprintf("Rules have at most %d bytes.", MKTG_RULE_MAX_BYTES));
	json = JsonbToCString(NULL, &rules->root, VARSIZE(rules));
	compiled->root = compile_text(&compiling, json, strlen(json), "");
	compiled->changes = compiling.changes;
	compiled->sources = compiling.sources;
	compiled->registry = compiling.registry;
	compiled->at = at;
	return compiled;
}

static void
free_tree(void *tree)
{
	mktg_rule_free(tree);
}

/* A tree that goes with the memory context. */
static MktgRuleTree *
parse(const char *json, size_t length, const char *path)
{
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));
	MktgRuleError error;
	MktgRuleTree *tree = mktg_rule_parse(json, length, &error);

	if (tree == NULL)
		mktg_refuse_rule(error.too_large ? ERRCODE_MKTG_TOO_LARGE : ERRCODE_MKTG_INVALID_RULE,
						 path[0] != '\0' ? path : error.path, path[0] != '\0' ? error.path : "",
						 error.message, error.hint);
	callback->func = free_tree;
	callback->arg = tree;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	return tree;
}

static MktgNode *
compile_text(MktgCompiling *compiling, const char *json, size_t length, const char *path)
{
	return compile_rule(compiling, mktg_rule_root(parse(json, length, path)));
}

static MktgNode *
compile_rule(MktgCompiling *compiling, const MktgRule *rule)
{
	MktgNode   *node = NULL;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (++compiling->rules > MKTG_RULE_MAX_RULES)
		mktg_refuse_rule(ERRCODE_MKTG_TOO_LARGE, rule->path, "", "there are too many rules",
						 psprintf("At most %d are taken, those of segments it names included.", MKTG_RULE_MAX_RULES));
	switch (rule->kind)
	{
		case MKTG_RULE_GROUP:
			node = compile_group(compiling, rule);
			break;
		case MKTG_RULE_COMPARE:
			node = compile_leaf(compiling, rule);
			break;
		case MKTG_RULE_SEGMENT:
			node = compile_segment(compiling, rule);
			break;
		case MKTG_RULE_SHORT:
			node = compile_short(compiling, rule);
			break;
	}
	/* a segment's own rules may be negated, too */
	node->negate ^= rule->negate;
	node->path = pstrdup(rule->path);
	return node;
}

static MktgNode *
make_node(MktgNodeKind kind)
{
	MktgNode   *node = palloc0(sizeof(MktgNode));

	node->kind = kind;
	node->path = "";
	return node;
}

static MktgNode *
compile_group(MktgCompiling *compiling, const MktgRule *rule)
{
	MktgNode   *node = make_node(rule->any ? MKTG_NODE_OR : MKTG_NODE_AND);

	node->nodes = palloc(sizeof(MktgNode *) * rule->nrules);
	for (int i = 0; i < rule->nrules; i++)
		node->nodes[node->nnodes++] = compile_rule(compiling, rule->rules[i]);
	node->text = rule->any ? "any of" : "all of";
	if (rule->short_form)
		merge_rows(node);
	return node;
}

/* ---- leaves ---- */

/* Is it a field whose keys are the fields? */
static bool
is_json(const MktgCompiling *compiling, const char *name)
{
	for (int i = 0; i < compiling->registry->nfields; i++)
		if (strcmp(compiling->registry->fields[i]->name, name) == 0)
			return compiling->registry->fields[i]->type == MKTG_FIELD_JSON;
	return false;
}

static MktgField *
find_field(MktgCompiling *compiling, const MktgRule *rule, const char **key)
{
	MktgField  *field = mktg_find_field(compiling->registry, rule->name, key);
	const char *nearest;

	if (field == NULL)
	{
		nearest = mktg_nearest_field(compiling->registry, rule->name);
		mktg_refuse_rule(ERRCODE_MKTG_UNKNOWN_FIELD, rule->path, "field",
						 psprintf("field \"%s\" does not exist", rule->name),
						 nearest == NULL ? "The view mktg.rule_field lists the fields." :
						 is_json(compiling, nearest) ? psprintf("Name a key of it, such as \"%s.%s\".", nearest, "plan") :
						 psprintf("Did you mean \"%s\"?", nearest));
	}
	if (field->source->relation_sql == NULL)
		mktg_refuse_rule(ERRCODE_MKTG_UNKNOWN_FIELD, rule->path, "field",
						 psprintf("the relation of source \"%s\" does not exist", field->source->name),
						 "mktg.map_source() maps the source to another relation.");
	if (field->changes > compiling->changes)
		compiling->changes = field->changes;
	compiling->sources = list_append_unique_ptr(compiling->sources, field->source);
	return field;
}

/* The positive operator, and whether it is to be complemented. */
static MktgOperator
positive(MktgOperator op, bool *negate)
{
	static const MktgOperator pairs[][2] = {
		{MKTG_OP_NE, MKTG_OP_EQ}, {MKTG_OP_NOT_IN, MKTG_OP_IN},
		{MKTG_OP_NOT_EXISTS, MKTG_OP_EXISTS}, {MKTG_OP_NOT_WITHIN_LAST, MKTG_OP_WITHIN_LAST}
	};

	*negate = false;
	for (int i = 0; i < lengthof(pairs); i++)
		if (op == pairs[i][0])
		{
			*negate = true;
			return pairs[i][1];
		}
	return op;
}

/* What of a JSON object a rule means: the values it gives say of which type. */
static void
choose_json(const MktgRule *rule, MktgOperator op, const char *object, const char *key,
			MktgFieldType *type, char **sql)
{
	char	   *quoted = quote_literal_cstr(key);

	if (op == MKTG_OP_BEFORE || op == MKTG_OP_AFTER || op == MKTG_OP_WITHIN_LAST)
	{
		*type = MKTG_FIELD_TIMESTAMP;
		*sql = psprintf("mktg._json_time(%s, %s, $3)", object, quoted);
	}
	else if (op == MKTG_OP_CONTAINS || (op == MKTG_OP_IN && rule->values[0].kind == MKTG_VALUE_STRING))
	{
		/* of a text one element */
		*type = MKTG_FIELD_ARRAY;
		*sql = psprintf("mktg._json_texts(%s, %s)", object, quoted);
	}
	else if (rule->nvalues > 0 && rule->values[0].kind == MKTG_VALUE_NUMBER)
	{
		*type = MKTG_FIELD_NUMBER;
		*sql = psprintf("mktg._json_number(%s, %s)", object, quoted);
	}
	else if (rule->nvalues > 0 && rule->values[0].kind == MKTG_VALUE_BOOLEAN)
	{
		*type = MKTG_FIELD_BOOLEAN;
		*sql = psprintf("mktg._json_boolean(%s, %s)", object, quoted);
	}
	else
	{
		*type = MKTG_FIELD_TEXT;
		*sql = psprintf("%s ->> %s", object, quoted);
	}
}

/* What a row must be for the rule to be true of it; the complement is left to the caller. */
static MktgCond *
row_test(MktgCompiling *compiling, const MktgRule *rule, const MktgField *field, const char *key, bool *negate)
{
	MktgCond   *cond = palloc0(sizeof(MktgCond));
	MktgOperator op = positive(rule->op, negate);
	MktgFieldType type = field->type;

	cond->kind = MKTG_COND_TEST;
	cond->field = field;
	cond->row_sql = field->row_sql;
	if (key != NULL)
		choose_json(rule, op, field->row_sql, key, &type, &cond->row_sql);
	cond->row_type = mktg_expression_type(field->source, cond->row_sql, &cond->collation);
	cond->test = mktg_make_test(compiling, rule, field, type, op);
	return cond;
}

static MktgCond *
join_conds(MktgCond *a, MktgCond *b)
{
	MktgCond   *both;

	if (a == NULL || b == NULL)
		return a == NULL ? b : a;
	both = palloc0(sizeof(MktgCond));
	both->kind = MKTG_COND_AND;
	both->conds = palloc(sizeof(MktgCond *) * 2);
	both->conds[0] = a;
	both->conds[1] = b;
	both->nconds = 2;
	return both;
}

/* "where": conditions on the rows that count. */
static MktgCond *
compile_where(MktgCompiling *compiling, const MktgRule *rule, const MktgSource *source)
{
	MktgCond   *cond;

	check_stack_depth();
	if (++compiling->rules > MKTG_RULE_MAX_RULES)
		mktg_refuse_rule(ERRCODE_MKTG_TOO_LARGE, rule->path, "", "there are too many rules",
						 psprintf("At most %d are taken.", MKTG_RULE_MAX_RULES));
	if (rule->kind == MKTG_RULE_COMPARE)
	{
		const char *key;
		MktgField  *field = find_field(compiling, rule, &key);
		bool		negate;

		if (field->source != source)
			mktg_refuse_rule(ERRCODE_MKTG_INVALID_RULE, rule->path, "field",
							 psprintf("field %s is not one of source %s", field->name, source->name),
							 "Conditions of \"where\" are on the rows that are counted.");
		if (field->aggregate != MKTG_AGG_NONE)
			mktg_refuse_rule(ERRCODE_MKTG_INVALID_RULE, rule->path, "field",
							 psprintf("field %s is an aggregate", field->name),
							 "Conditions of \"where\" are on single rows.");
		cond = row_test(compiling, rule, field, key, &negate);
		cond->negate = negate ^ rule->negate;
		return cond;
	}
	cond = palloc0(sizeof(MktgCond));
	cond->kind = rule->any ? MKTG_COND_OR : MKTG_COND_AND;
	cond->negate = rule->negate;
	cond->conds = palloc(sizeof(MktgCond *) * rule->nrules);
	for (int i = 0; i < rule->nrules; i++)
		cond->conds[cond->nconds++] = compile_where(compiling, rule->rules[i], source);
	return cond;
}

/* Comparing whole days since the last row is comparing the time of that row. */
static void
days_to_ranges(MktgTest *test, TimestampTz at)
{
	MktgRange  *days = test->ranges;
	int			n = test->nranges;

	if (test->kind != MKTG_TEST_NUMBER)
		return;
	test->kind = MKTG_TEST_RANGE;
	test->ranges = palloc(sizeof(MktgRange) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		bool		open_lo = days[i].hi > 100 * 366;
		bool		open_hi = days[i].lo <= 0;
		bool		never = days[i].lo > 100 * 366 || days[i].hi <= 0;

		/* floor((at - t) / day) >= lo means t <= at - lo days; < hi means t > at - hi days */
		test->ranges[i].lo = never ? 1 : open_lo ? PG_INT64_MIN : at - days[i].hi * USECS_PER_DAY + 1;
		test->ranges[i].hi = never ? 0 : open_hi ? at + 1 : at - days[i].lo * USECS_PER_DAY + 1;
		test->ranges[i].lo_moves = !never && !open_lo;
		test->ranges[i].hi_moves = !never;
	}
}

static bool
text_passes(const char *text, const MktgTest *test)
{
	int			first = varstr_cmp(text, strlen(text), test->texts[0], strlen(test->texts[0]), DEFAULT_COLLATION_OID);

	switch (test->op)
	{
		case MKTG_OP_CONTAINS:
			return strstr(text, test->texts[0]) != NULL;
		case MKTG_OP_STARTS_WITH:
			return strncmp(text, test->texts[0], strlen(test->texts[0])) == 0;
		case MKTG_OP_GT:
			return first > 0;
		case MKTG_OP_GE:
			return first >= 0;
		case MKTG_OP_LT:
			return first < 0;
		case MKTG_OP_LE:
			return first <= 0;
		case MKTG_OP_BETWEEN:
			return first >= 0 &&
				varstr_cmp(text, strlen(text), test->texts[1], strlen(test->texts[1]), DEFAULT_COLLATION_OID) <= 0;
		default:
			return first == 0;
	}
}

/* There are six stages: whatever is asked of the name becomes a list of names. */
static void
stages_by_name(MktgTest *test)
{
	static char *const stages[] = {"New", "Active", "Engaged", "At-Risk", "Churned", "Reactivated"};
	char	  **names;
	int			n = 0;

	if (test->kind != MKTG_TEST_TEXT || test->op == MKTG_OP_EQ || test->op == MKTG_OP_IN)
		return;
	names = palloc(sizeof(char *) * lengthof(stages));
	for (int i = 0; i < lengthof(stages); i++)
		if (text_passes(stages[i], test))
			names[n++] = stages[i];
	test->op = MKTG_OP_IN;
	test->texts = names;
	test->n = n;
}

static void
aggregate_test(MktgCompiling *compiling, MktgLeaf *leaf, const MktgRule *rule, MktgOperator op)
{
	MktgTest   *test = mktg_make_test(compiling, rule, leaf->field, leaf->field->type, op);

	/* "has a count" is "has any" */
	if (leaf->aggregate == MKTG_AGG_COUNT && test->kind == MKTG_TEST_EXISTS)
	{
		test->kind = MKTG_TEST_NUMBER;
		test->op = MKTG_OP_GE;
		test->n = 1;
		test->numbers = palloc(sizeof(Numeric));
		test->numbers[0] = int64_to_numeric(1);
		test->ranges = palloc(sizeof(MktgRange));
		test->ranges[0] = (MktgRange) {1, PG_INT64_MAX, false, false};
		test->nranges = 1;
		test->whole = true;
	}
	switch (leaf->aggregate)
	{
		case MKTG_AGG_COUNT:
		case MKTG_AGG_SUM:
			leaf->empty_passes = mktg_zero_passes(test);
			break;
		case MKTG_AGG_BOOL_AND:
		case MKTG_AGG_BOOL_OR:
			leaf->empty_passes = test->kind == MKTG_TEST_BOOLEAN && !test->boolean;
			break;
		case MKTG_AGG_DAYS_SINCE:
			days_to_ranges(test, compiling->at);
			break;
		case MKTG_AGG_LIFECYCLE:
			stages_by_name(test);
			break;
		default:
			break;
	}
	leaf->test = test;
}

/* "customer.totalSpend >= 5000", for people. */
static char *
rule_text(const MktgRule *rule)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "%s", rule->name);
	if (rule->kind == MKTG_RULE_COMPARE)
		appendStringInfo(&text, " %s", mktg_operator_name(rule->op));
	for (int i = 0; i < rule->nvalues && i < 10; i++)
		appendStringInfo(&text, "%s %s", i > 0 ? "," : rule->kind == MKTG_RULE_SHORT ? ":" : "", rule->values[i].text);
	if (rule->nvalues > 10)
		appendStringInfo(&text, " and %d more", rule->nvalues - 10);
	if (rule->within_days != NULL)
		appendStringInfo(&text, " within %s days", rule->within_days);
	if (rule->where != NULL)
		appendStringInfoString(&text, " where ...");
	return text.data;
}

static MktgNode *
compile_leaf(MktgCompiling *compiling, const MktgRule *rule)
{
	MktgNode   *node = make_node(MKTG_NODE_LEAF);
	MktgLeaf   *leaf = palloc0(sizeof(MktgLeaf));
	const char *key;
	MktgField  *field = find_field(compiling, rule, &key);
	bool		negate;

	leaf->field = field;
	leaf->source = field->source;
	leaf->aggregate = field->aggregate;
	leaf->at_sql = field->at_sql;
	leaf->window = (MktgRange) {PG_INT64_MIN, PG_INT64_MAX, false, false};
	if (leaf->at_sql != NULL)
	{
		leaf->window.hi = compiling->at + 1;
		leaf->window.hi_moves = true;
	}
	if (rule->within_days != NULL)
	{
		if (leaf->at_sql == NULL)
			mktg_refuse_rule(ERRCODE_MKTG_INVALID_RULE, rule->path, "within_days",
							 psprintf("source %s has no time", leaf->source->name),
							 "within_days counts the rows of the last days: it needs a source with a time column.");
		leaf->window.lo = compiling->at - USECS_OF(strtod(rule->within_days, NULL)) + 1;
		leaf->window.lo_moves = true;
	}
	if (rule->where != NULL)
		leaf->rows = compile_where(compiling, rule->where, leaf->source);
	if (leaf->aggregate == MKTG_AGG_NONE)
		leaf->rows = join_conds(leaf->rows, row_test(compiling, rule, field, key, &negate));
	else
		aggregate_test(compiling, leaf, rule, positive(rule->op, &negate));
	node->leaf = leaf;
	node->negate = negate;
	node->text = rule_text(rule);
	return node;
}

/* ---- names of segments and short keys ---- */

static MktgNode *
compile_segment(MktgCompiling *compiling, const MktgRule *rule)
{
	static MktgQuery query = MKTG_QUERY("SELECT segment_id, kind, rules::text, name FROM mktg.segment"
										" WHERE tenant_id = $1 AND (segment_id = $2 OR name = $3)",
										INT8OID, INT8OID, TEXTOID);
	MktgNode   *node;
	int64		id;
	char	   *kind;
	char	   *rules;
	char	   *name;

	if (mktg_call(&query, MKTG_INT64(compiling->registry->tenant_id),
				  rule->name == NULL ? MKTG_INT64(rule->segment) : MKTG_NULL, MKTG_TEXT(rule->name)) == 0)
		mktg_refuse_rule(ERRCODE_MKTG_UNKNOWN_SEGMENT, rule->path, "segment",
						 rule->name == NULL ? psprintf("segment " INT64_FORMAT " does not exist", rule->segment) :
						 psprintf("segment \"%s\" does not exist", rule->name),
						 "The view mktg.segment_list lists them.");
	id = mktg_int64_at(0, 1);
	kind = mktg_text_at(0, 2);
	rules = mktg_text_at(0, 3);
	name = mktg_text_at(0, 4);
	if (strcmp(kind, "static") == 0)
	{
		node = make_node(MKTG_NODE_STATIC);
		node->segment = id;
	}
	else
	{
		ListCell   *cell;

		foreach(cell, compiling->segments)
			if (*(int64 *) lfirst(cell) == id)
				mktg_refuse_rule(ERRCODE_MKTG_INVALID_RULE, rule->path, "segment",
								 psprintf("segment \"%s\" is made of itself", name),
								 "Take one of the segments out of the circle.");
		compiling->segments = lappend(compiling->segments, &id);
		node = compile_text(compiling, rules, strlen(rules), rule->path);
		compiling->segments = list_delete_last(compiling->segments);
	}
	node->text = psprintf("segment %s", name);
	return node;
}

static MktgNode *
compile_short(MktgCompiling *compiling, const MktgRule *rule)
{
	const MktgAlias *alias = mktg_find_alias(compiling->registry, rule->name);
	MktgRuleTree *tree;
	MktgRuleError error;
	MktgNode   *node;

	if (alias == NULL)
	{
		const char *nearest = mktg_nearest_alias(compiling->registry, rule->name);

		mktg_refuse_rule(ERRCODE_MKTG_UNKNOWN_FIELD, rule->path, "",
						 psprintf("short key \"%s\" does not exist", rule->name),
						 nearest != NULL ? psprintf("Did you mean \"%s\"?", nearest) :
						 "mktg.define_alias() makes short keys; mktg.rule_alias has them.");
	}
	tree = parse(alias->rule, alias->length, rule->path);
	if (!mktg_rule_fill(tree, rule, &error))
		mktg_refuse_rule(ERRCODE_MKTG_INVALID_RULE, error.path, "", error.message, error.hint);
	node = compile_rule(compiling, mktg_rule_root(tree));
	node->text = rule_text(rule);
	return node;
}

/* Names in the rule of a short key, whose values are not known yet. */
static void
check_names(MktgCompiling *compiling, const MktgRule *rule)
{
	const char *key;

	check_stack_depth();
	if (rule->kind == MKTG_RULE_COMPARE)
		(void) find_field(compiling, rule, &key);
	if (rule->kind == MKTG_RULE_SHORT)
		mktg_refuse_rule(ERRCODE_MKTG_INVALID_RULE, rule->path, "", "a short key cannot stand for short keys",
						 "Write its rule with field, operator and value.");
	for (int i = 0; i < rule->nrules; i++)
		check_names(compiling, rule->rules[i]);
	if (rule->where != NULL)
		check_names(compiling, rule->where);
}

void
mktg_check_template(Jsonb *rule, int64 tenant)
{
	MktgCompiling compiling = {.registry = mktg_registry(tenant)};
	char	   *json = JsonbToCString(NULL, &rule->root, VARSIZE(rule));

	check_names(&compiling, mktg_rule_root(parse(json, strlen(json), "")));
}

static bool
can_merge(const MktgNode *node)
{
	return node->kind == MKTG_NODE_LEAF && !node->negate && node->leaf->aggregate == MKTG_AGG_NONE &&
		!node->leaf->source->is_contact;
}

/* May both ask for one row? Some fields of a source go by another time than the others. */
static bool
same_rows(const MktgLeaf *a, const MktgLeaf *b)
{
	if (a->source != b->source)
		return false;
	return a->at_sql == NULL || b->at_sql == NULL ? a->at_sql == b->at_sql : strcmp(a->at_sql, b->at_sql) == 0;
}

/*
 * Keys of one short form that ask for a row of one source ask for one and the
 * same row, which is in the narrower of their windows.
 */
static void
merge_rows(MktgNode *group)
{
	int			n = 0;

	for (int i = 0; i < group->nnodes; i++)
	{
		MktgNode   *node = group->nodes[i];
		int			k = 0;

		while (k < n && !(can_merge(node) && can_merge(group->nodes[k]) && same_rows(node->leaf, group->nodes[k]->leaf)))
			k++;
		if (k == n)
			group->nodes[n++] = node;
		else
		{
			MktgNode   *first = group->nodes[k];

			first->leaf->rows = join_conds(first->leaf->rows, node->leaf->rows);
			first->leaf->window.lo = Max(first->leaf->window.lo, node->leaf->window.lo);
			first->leaf->window.lo_moves |= node->leaf->window.lo_moves;
			first->path = psprintf("%s, %s", first->path, node->path);
			first->text = psprintf("%s, %s", first->text, node->text);
		}
	}
	group->nnodes = n;
}
