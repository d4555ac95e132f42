/*-------------------------------------------------------------------------
 *
 * rule_value.c
 *		Operators and their values, in rules and in templates of short keys.
 *
 * IDENTIFICATION
 *		src/core/rule_value.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "core/rule_parse.h"

#define WHAT_VALUES_ARE	"A value is a string, a number, true, false or a list of these."

const char *const mktg_operator_names[MKTG_OPERATORS] = {
	[MKTG_OP_EQ] = "=",
	[MKTG_OP_NE] = "!=",
	[MKTG_OP_GT] = ">",
	[MKTG_OP_LT] = "<",
	[MKTG_OP_GE] = ">=",
	[MKTG_OP_LE] = "<=",
	[MKTG_OP_IN] = "IN",
	[MKTG_OP_NOT_IN] = "NOT_IN",
	[MKTG_OP_BETWEEN] = "BETWEEN",
	[MKTG_OP_CONTAINS] = "CONTAINS",
	[MKTG_OP_STARTS_WITH] = "STARTS_WITH",
	[MKTG_OP_EXISTS] = "EXISTS",
	[MKTG_OP_NOT_EXISTS] = "NOT_EXISTS",
	[MKTG_OP_BEFORE] = "BEFORE",
	[MKTG_OP_AFTER] = "AFTER",
	[MKTG_OP_WITHIN_LAST] = "WITHIN_LAST",
	[MKTG_OP_NOT_WITHIN_LAST] = "NOT_WITHIN_LAST"
};

const char *
mktg_operator_name(MktgOperator op)
{
	return op < MKTG_OPERATORS ? mktg_operator_names[op] : "?";
}

/* ---- values ---- */

char *
mktg_rule_number(MktgRuleParser *parser, json_object *json, MktgRulePlace place)
{
	const char *text;

	/* json-c makes these of integers that are too large for it */
	if (json_object_is_type(json, json_type_int) &&
		(json_object_get_uint64(json) == UINT64_MAX || json_object_get_int64(json) == INT64_MIN))
	{
		mktg_rule_fail(parser->error, place, "number has too many digits");
		mktg_rule_hint(parser->error, "Write it with \".0\" behind it to keep all of its digits.");
		return NULL;
	}
	text = json_object_get_string(json);
	if (text == NULL)
	{
		mktg_rule_out_of_memory(parser->error);
		return NULL;
	}
	return mktg_rule_copy(parser, text);
}

static bool
read_scalar(MktgRuleParser *parser, json_object *json, MktgRulePlace place, MktgValue *value)
{
	switch (json_object_get_type(json))
	{
		case json_type_string:
			value->kind = MKTG_VALUE_STRING;
			value->text = mktg_rule_copy(parser, json_object_get_string(json));
			break;
		case json_type_boolean:
			value->kind = MKTG_VALUE_BOOLEAN;
			value->text = mktg_rule_copy(parser, json_object_get_boolean(json) ? "true" : "false");
			break;
		case json_type_int:
		case json_type_double:
			value->kind = MKTG_VALUE_NUMBER;
			value->text = mktg_rule_number(parser, json, place);
			break;
		case json_type_null:
			mktg_rule_fail(parser->error, place, "value is null");
			return mktg_rule_hint(parser->error,
								  "Use EXISTS or NOT_EXISTS to ask whether there is a value.");
		case json_type_object:
			mktg_rule_fail(parser->error, place, "value is an object");
			return mktg_rule_hint(parser->error, WHAT_VALUES_ARE);
		case json_type_array:
			mktg_rule_fail(parser->error, place, "value is a list within a list");
			return mktg_rule_hint(parser->error, WHAT_VALUES_ARE);
	}
	return value->text != NULL;
}

bool
mktg_rule_values(MktgRuleParser *parser, json_object *json, MktgRulePlace place, MktgRule *rule)
{
	size_t		n;
	size_t		i;

	rule->list = json_object_is_type(json, json_type_array);
	n = rule->list ? json_object_array_length(json) : 1;
	if (n > MKTG_RULE_MAX_VALUES)
	{
		mktg_rule_fail(parser->error, place, "list is too long");
		parser->error->too_large = true;
		return mktg_rule_hint(parser->error, "A list may hold at most %d values.",
							  MKTG_RULE_MAX_VALUES);
	}
	rule->values = mktg_rule_allocate(parser, n * sizeof(MktgValue));
	if (rule->values == NULL)
		return false;
	rule->nvalues = (int) n;
	if (!rule->list)
		return read_scalar(parser, json, place, &rule->values[0]);
	for (i = 0; i < n; i++)
	{
		place.index = (int) i;
		if (!read_scalar(parser, json_object_array_get_idx(json, i), place, &rule->values[i]))
			return false;
	}
	return true;
}

bool
mktg_rule_is_days(const MktgValue *value)
{
	double		days;

	if (value->kind != MKTG_VALUE_NUMBER)
		return false;
	days = strtod(value->text, NULL);
	return days > 0 && days <= MKTG_RULE_MAX_DAYS;
}

bool
mktg_rule_values_fit(const MktgRule *rule, MktgRulePlace place, MktgRuleError *error)
{
	const char *name = mktg_operator_name(rule->op);

	switch (rule->op)
	{
		case MKTG_OP_IN:
		case MKTG_OP_NOT_IN:
			if (rule->list && rule->nvalues > 0)
				return true;
			if (rule->list)
				return mktg_rule_fail(error, place, "list of %s is empty", name);
			mktg_rule_fail(error, place, "%s takes a list", name);
			return mktg_rule_hint(error, "Write a list in brackets, even of one value.");
		case MKTG_OP_BETWEEN:
			if (rule->list && rule->nvalues == 2)
				return true;
			mktg_rule_fail(error, place, "%s takes a list of two values", name);
			return mktg_rule_hint(error, "Write the least and the greatest value in brackets.");
		case MKTG_OP_WITHIN_LAST:
		case MKTG_OP_NOT_WITHIN_LAST:
			if (!rule->list && mktg_rule_is_days(&rule->values[0]))
				return true;
			mktg_rule_fail(error, place, "%s takes a number of days", name);
			return mktg_rule_hint(error, "It must be above 0 and at most %d.", MKTG_RULE_MAX_DAYS);
		default:
			if (!rule->list)
				return true;
			mktg_rule_fail(error, place, "%s takes one value, not a list", name);
			return mktg_rule_hint(error, "Use IN or NOT_IN for a list, BETWEEN for a range.");
	}
}

/* ---- templates of short keys ---- */

/* Fills a placeholder; the operator follows the values where both forms are meant. */
static bool
fill_values(MktgRule *rule, const MktgRule *given, MktgRuleError *error)
{
	rule->placeholder = false;
	rule->short_form = true;
	rule->values = given->values;
	rule->nvalues = given->nvalues;
	rule->list = given->list;
	if (rule->op == MKTG_OP_IN || rule->op == MKTG_OP_NOT_IN)
		rule->list = true;
	else if (rule->list && rule->op == MKTG_OP_EQ)
		rule->op = MKTG_OP_IN;
	else if (rule->list && rule->op == MKTG_OP_NE)
		rule->op = MKTG_OP_NOT_IN;
	return mktg_rule_values_fit(rule, AT(given->path, NULL), error);
}

static bool
fill_rule(MktgRule *rule, const MktgRule *given, int *filled, MktgRuleError *error)
{
	int			i;

	rule->path = given->path;
	if (rule->placeholder)
	{
		(*filled)++;
		if (!fill_values(rule, given, error))
			return false;
	}
	for (i = 0; i < rule->nrules; i++)
		if (!fill_rule(rule->rules[i], given, filled, error))
			return false;
	return rule->where == NULL || fill_rule(rule->where, given, filled, error);
}

bool
mktg_rule_fill(MktgRuleTree *tree, const MktgRule *given, MktgRuleError *error)
{
	int			filled = 0;

	memset(error, 0, sizeof(*error));
	if (!fill_rule(tree->root, given, &filled, error))
		return false;
	if (filled > 0)
		return true;
	if (given->list || given->nvalues != 1 || given->values[0].kind != MKTG_VALUE_BOOLEAN)
		return mktg_rule_fail(error, AT(given->path, NULL), "value must be true or false");
	if (strcmp(given->values[0].text, "false") == 0)
		tree->root->negate = !tree->root->negate;
	return true;
}
