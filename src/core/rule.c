/*-------------------------------------------------------------------------
 *
 * rule.c
 *		The rule language of segments: JSON text in, a tree out.
 *
 * The forms a rule may have; rule_json.c reads the text, rule_value.c the values,
 * rule_tree.c has the memory.
 *
 * IDENTIFICATION
 *		src/core/rule.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "core/rule_parse.h"

#define PLACEHOLDER		"$value"

#define LENGTH_OF(array) ((int) (sizeof(array) / sizeof((array)[0])))

/* "not" stands last, for it alone makes no object canonical */
static const char *const canonical_keys[] = {
	"logic", "rules", "field", "operator", "value", "within_days", "where", "segment", "not"
};
static const char *const group_keys[] = {"logic", "rules", "not"};
static const char *const compare_keys[] = {
	"field", "operator", "value", "within_days", "where", "not"
};
static const char *const segment_keys[] = {"segment", "not"};

static MktgRule *parse_rule(MktgRuleParser *parser, json_object *json, char *path, bool in_where);

/* ---- keys ---- */

static bool
is_one_of(const char *key, const char *const *keys, int n)
{
	int			i;

	for (i = 0; i < n; i++)
		if (strcmp(key, keys[i]) == 0)
			return true;
	return false;
}

static bool
has_key(json_object *json, const char *key)
{
	return json_object_object_get_ex(json, key, NULL);
}

/* Refuses keys that "what" (of n keys) does not have. */
static bool
check_keys(MktgRuleParser *parser, json_object *json, const char *path, const char *what,
		   const char *const *keys, int n)
{
	json_object_object_foreach(json, key, value)
	{
		const char *nearest;
		char		all[128] = "";
		int			i;

		(void) value;
		if (is_one_of(key, keys, n))
			continue;
		mktg_rule_fail(parser->error, AT(path, key), "%s has no key \"%.*s\"", what,
					   mktg_rule_quoted(key), key);
		nearest = mktg_nearest_name(key, keys, n);
		if (nearest != NULL)
			return mktg_rule_hint(parser->error, "Perhaps \"%s\" is meant.", nearest);
		for (i = 0; i < n; i++)
		{
			strcat(all, i == 0 ? "" : i == n - 1 ? " and " : ", ");
			strcat(all, keys[i]);
		}
		return mktg_rule_hint(parser->error, "Its keys are %s.", all);
	}
	return true;
}

/* Reads true or false; a key that is not there is false. */
static bool
read_not(MktgRuleParser *parser, json_object *json, MktgRule *rule)
{
	json_object *value;

	if (!json_object_object_get_ex(json, "not", &value))
		return true;
	if (!json_object_is_type(value, json_type_boolean))
		return mktg_rule_fail(parser->error, AT(rule->path, "not"), "\"not\" must be true or false");
	rule->negate = json_object_get_boolean(value);
	return true;
}

/* ---- comparisons ---- */

static bool
read_field(MktgRuleParser *parser, json_object *json, MktgRule *rule)
{
	MktgRulePlace place = AT(rule->path, "field");
	json_object *value;

	if (!json_object_object_get_ex(json, "field", &value))
		return mktg_rule_fail(parser->error, AT(rule->path, NULL), "rule has no \"field\"");
	if (!json_object_is_type(value, json_type_string))
		return mktg_rule_fail(parser->error, place, "\"field\" must be a string");
	if (json_object_get_string_len(value) == 0)
		return mktg_rule_fail(parser->error, place, "\"field\" is empty");
	if (json_object_get_string_len(value) > MKTG_RULE_MAX_NAME)
		return mktg_rule_fail(parser->error, place, "\"field\" is longer than %d bytes",
							  MKTG_RULE_MAX_NAME);
	rule->name = mktg_rule_copy(parser, json_object_get_string(value));
	return rule->name != NULL;
}

/*
 * An operator as mktg_operator_names has it: "not in" and "Not-In" are NOT_IN,
 * "==" is "=".  Cut where it is too long for an operator.
 */
static void
normalize_operator(const char *text, char *out, size_t size)
{
	size_t		n = 0;
	bool		gap = false;

	for (; *text != '\0' && n + 2 < size; text++)
	{
		if (*text == ' ' || *text == '\t')
		{
			gap = true;
			continue;
		}
		if (gap && n > 0)
			out[n++] = '_';
		gap = false;
		if (*text >= 'a' && *text <= 'z')
			out[n++] = (char) (*text - ('a' - 'A'));
		else
			out[n++] = *text == '-' ? '_' : *text;
	}
	out[n] = '\0';
	if (strcmp(out, "==") == 0)
		strcpy(out, "=");
	else if (strcmp(out, "<>") == 0)
		strcpy(out, "!=");
}

static bool
unknown_operator(MktgRuleParser *parser, MktgRulePlace place, const char *text, const char *normal)
{
	const char *nearest = mktg_nearest_name(normal, mktg_operator_names, MKTG_OPERATORS);
	char		all[200] = "";
	int			i;

	mktg_rule_fail(parser->error, place, "there is no operator \"%.*s\"",
				   mktg_rule_quoted(text), text);
	if (nearest != NULL)
		return mktg_rule_hint(parser->error, "Perhaps %s is meant.", nearest);
	for (i = 0; i < MKTG_OPERATORS; i++)
	{
		strcat(all, " ");
		strcat(all, mktg_operator_names[i]);
	}
	return mktg_rule_hint(parser->error, "Operators are%s.", all);
}

static bool
read_operator(MktgRuleParser *parser, json_object *json, MktgRule *rule)
{
	MktgRulePlace place = AT(rule->path, "operator");
	json_object *value;
	const char *text;
	char		normal[40];
	int			i;

	if (!json_object_object_get_ex(json, "operator", &value))
	{
		rule->op = has_key(json, "value") ? MKTG_OP_EQ : MKTG_OP_EXISTS;
		return true;
	}
	if (!json_object_is_type(value, json_type_string))
		return mktg_rule_fail(parser->error, place, "\"operator\" must be a string");
	text = json_object_get_string(value);
	normalize_operator(text, normal, sizeof(normal));
	for (i = 0; i < MKTG_OPERATORS; i++)
		if (strcmp(normal, mktg_operator_names[i]) == 0)
		{
			rule->op = (MktgOperator) i;
			return true;
		}
	return unknown_operator(parser, place, text, normal);
}

/* Reads the value that belongs to the operator, which has been read. */
static bool
read_compared(MktgRuleParser *parser, json_object *json, MktgRule *rule)
{
	MktgRulePlace place = AT(rule->path, "value");
	json_object *value = NULL;
	bool		given = json_object_object_get_ex(json, "value", &value);
	const char *name = mktg_operator_name(rule->op);

	if (rule->op == MKTG_OP_EXISTS || rule->op == MKTG_OP_NOT_EXISTS)
	{
		if (!given ||
			(json_object_is_type(value, json_type_boolean) && json_object_get_boolean(value)))
			return true;
		mktg_rule_fail(parser->error, place, "%s takes no value", name);
		return mktg_rule_hint(parser->error, "Leave \"value\" out.");
	}
	if (!given)
		return mktg_rule_fail(parser->error, AT(rule->path, NULL), "%s needs a value", name);
	if (json_object_is_type(value, json_type_string) &&
		strcmp(json_object_get_string(value), PLACEHOLDER) == 0)
	{
		rule->placeholder = true;
		return true;
	}
	return mktg_rule_values(parser, value, place, rule) &&
		mktg_rule_values_fit(rule, place, parser->error);
}

static bool
read_within_days(MktgRuleParser *parser, json_object *json, MktgRule *rule)
{
	MktgRulePlace place = AT(rule->path, "within_days");
	MktgValue	days;
	json_object *value;

	if (!json_object_object_get_ex(json, "within_days", &value))
		return true;
	if (json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double))
	{
		days.kind = MKTG_VALUE_NUMBER;
		days.text = mktg_rule_number(parser, value, place);
		if (days.text == NULL)
			return false;
		if (mktg_rule_is_days(&days))
		{
			rule->within_days = days.text;
			return true;
		}
	}
	mktg_rule_fail(parser->error, place, "\"within_days\" must be a number of days");
	return mktg_rule_hint(parser->error, "It must be above 0 and at most %d.", MKTG_RULE_MAX_DAYS);
}

/* Reads the elements of an array, which stands under "key", into a group. */
static bool
read_list(MktgRuleParser *parser, json_object *json, const char *path, const char *key,
		  MktgRule *group, bool in_where)
{
	size_t		n = json_object_array_length(json);
	size_t		i;

	if (n == 0)
		return mktg_rule_fail(parser->error, AT(path, key), "\"%s\" is empty", key);
	/* of more than these none would come into the tree */
	group->rules = mktg_rule_allocate(parser, sizeof(MktgRule *) *
									  (n < MKTG_RULE_MAX_RULES ? n : MKTG_RULE_MAX_RULES));
	if (group->rules == NULL)
		return false;
	for (i = 0; i < n; i++)
	{
		char	   *child = mktg_rule_path(parser, path, key, (int) i);
		MktgRule   *rule;

		if (child == NULL)
			return false;
		rule = parse_rule(parser, json_object_array_get_idx(json, i), child, in_where);
		if (rule == NULL)
			return false;
		group->rules[group->nrules++] = rule;
	}
	return true;
}

/* Reads "where", a list of rules or one, into a group. */
static bool
read_where(MktgRuleParser *parser, json_object *json, MktgRule *rule)
{
	json_object *value;
	char	   *path;
	MktgRule   *only = NULL;

	if (!json_object_object_get_ex(json, "where", &value))
		return true;
	path = mktg_rule_path(parser, rule->path, "where", -1);
	if (path == NULL)
		return false;
	if (json_object_is_type(value, json_type_object))
	{
		only = parse_rule(parser, value, path, true);
		if (only == NULL)
			return false;
		if (only->kind == MKTG_RULE_GROUP)
		{
			rule->where = only;
			return true;
		}
	}
	else if (!json_object_is_type(value, json_type_array))
		return mktg_rule_fail(parser->error, AT(path, NULL),
							  "\"where\" must be a list of rules, or one rule");

	rule->where = mktg_rule_new(parser, MKTG_RULE_GROUP, path);
	if (rule->where == NULL)
		return false;
	if (only == NULL)
		return read_list(parser, value, rule->path, "where", rule->where, true);
	rule->where->rules = mktg_rule_allocate(parser, sizeof(MktgRule *));
	if (rule->where->rules == NULL)
		return false;
	rule->where->rules[rule->where->nrules++] = only;
	return true;
}

static MktgRule *
parse_compare(MktgRuleParser *parser, json_object *json, char *path, bool in_where)
{
	static const char *const outer[] = {"where", "within_days"};
	MktgRule   *rule = mktg_rule_new(parser, MKTG_RULE_COMPARE, path);
	int			i;

	if (rule == NULL ||
		!check_keys(parser, json, path, "rule", compare_keys, LENGTH_OF(compare_keys)))
		return NULL;
	for (i = 0; in_where && i < LENGTH_OF(outer); i++)
		if (has_key(json, outer[i]))
		{
			mktg_rule_fail(parser->error, AT(path, outer[i]),
						   "\"%s\" cannot stand within \"where\"", outer[i]);
			return NULL;
		}
	if (!read_not(parser, json, rule) ||
		!read_field(parser, json, rule) ||
		!read_operator(parser, json, rule) ||
		!read_compared(parser, json, rule) ||
		!read_within_days(parser, json, rule) ||
		!read_where(parser, json, rule))
		return NULL;
	return rule;
}

/* ---- groups, segments, short forms ---- */

static MktgRule *
parse_group(MktgRuleParser *parser, json_object *json, char *path, bool in_where)
{
	MktgRule   *rule = mktg_rule_new(parser, MKTG_RULE_GROUP, path);
	json_object *value;

	if (rule == NULL ||
		!check_keys(parser, json, path, "group", group_keys, LENGTH_OF(group_keys)) ||
		!read_not(parser, json, rule))
		return NULL;
	if (json_object_object_get_ex(json, "logic", &value))
	{
		const char *logic = json_object_is_type(value, json_type_string) ?
			json_object_get_string(value) : "";
		char		normal[8];

		normalize_operator(logic, normal, sizeof(normal));
		rule->any = strcmp(normal, "OR") == 0;
		if (!rule->any && strcmp(normal, "AND") != 0)
		{
			mktg_rule_fail(parser->error, AT(path, "logic"), "\"logic\" must be AND or OR");
			return NULL;
		}
	}
	if (!json_object_object_get_ex(json, "rules", &value))
	{
		mktg_rule_fail(parser->error, AT(path, NULL), "group has no \"rules\"");
		return NULL;
	}
	if (!json_object_is_type(value, json_type_array))
	{
		mktg_rule_fail(parser->error, AT(path, "rules"), "\"rules\" must be a list");
		return NULL;
	}
	return read_list(parser, value, path, "rules", rule, in_where) ? rule : NULL;
}

static MktgRule *
parse_segment(MktgRuleParser *parser, json_object *json, char *path)
{
	MktgRule   *rule = mktg_rule_new(parser, MKTG_RULE_SEGMENT, path);
	json_object *value;

	if (rule == NULL ||
		!check_keys(parser, json, path, "segment rule", segment_keys, LENGTH_OF(segment_keys)) ||
		!read_not(parser, json, rule))
		return NULL;
	value = json_object_object_get(json, "segment");
	if (json_object_is_type(value, json_type_string) && json_object_get_string_len(value) > 0)
	{
		rule->name = mktg_rule_copy(parser, json_object_get_string(value));
		return rule->name != NULL ? rule : NULL;
	}
	/* beyond int64_t json-c has an unsigned number */
	if (json_object_is_type(value, json_type_int) && json_object_get_int64(value) >= 1 &&
		json_object_get_uint64(value) <= INT64_MAX)
	{
		rule->segment = json_object_get_int64(value);
		return rule;
	}
	mktg_rule_fail(parser->error, AT(path, "segment"),
				   "\"segment\" must be the name or the number of a segment");
	return NULL;
}

/* A rule or a list of rules under a short key: likely a misspelt key of another form. */
static bool
holds_object(json_object *json)
{
	if (json_object_is_type(json, json_type_array))
		json = json_object_array_length(json) > 0 ? json_object_array_get_idx(json, 0) : NULL;
	return json_object_is_type(json, json_type_object);
}

static MktgRule *
parse_short_key(MktgRuleParser *parser, const char *key, json_object *value, const char *parent)
{
	MktgRule   *rule;
	char	   *path;
	const char *nearest;

	if (key[0] == '\0')
	{
		mktg_rule_fail(parser->error, AT(parent, NULL), "a key is empty");
		return NULL;
	}
	if (strlen(key) > MKTG_RULE_MAX_NAME)
	{
		mktg_rule_fail(parser->error, AT(parent, NULL), "a key is longer than %d bytes",
					   MKTG_RULE_MAX_NAME);
		return NULL;
	}
	path = mktg_rule_path(parser, parent, key, -1);
	rule = path != NULL ? mktg_rule_new(parser, MKTG_RULE_SHORT, path) : NULL;
	if (rule == NULL || (rule->name = mktg_rule_copy(parser, key)) == NULL)
		return NULL;
	if (!mktg_rule_values(parser, value, AT(path, NULL), rule))
	{
		nearest = mktg_nearest_name(key, canonical_keys, LENGTH_OF(canonical_keys));
		if (holds_object(value) && nearest != NULL)
			mktg_rule_hint(parser->error, "Perhaps \"%s\" is meant.", nearest);
		return NULL;
	}
	if (rule->nvalues == 0)
	{
		mktg_rule_fail(parser->error, AT(path, NULL), "list of \"%.*s\" is empty",
					   mktg_rule_quoted(key), key);
		return NULL;
	}
	rule->op = rule->list ? MKTG_OP_IN : MKTG_OP_EQ;
	return rule;
}

static MktgRule *
parse_short_form(MktgRuleParser *parser, json_object *json, char *path)
{
	MktgRule   *group = mktg_rule_new(parser, MKTG_RULE_GROUP, path);
	int			n = json_object_object_length(json);
	json_object_iter iter;

	if (group == NULL || !read_not(parser, json, group))
		return NULL;
	group->short_form = true;
	group->rules = mktg_rule_allocate(parser, sizeof(MktgRule *) *
									  (size_t) (n < MKTG_RULE_MAX_RULES ? n : MKTG_RULE_MAX_RULES));
	if (group->rules == NULL)
		return NULL;

	json_object_object_foreachC(json, iter)
	{
		MktgRule   *rule;

		if (strcmp(iter.key, "not") == 0)
			continue;
		rule = parse_short_key(parser, iter.key, iter.val, path);
		if (rule == NULL)
			return NULL;
		group->rules[group->nrules++] = rule;
	}
	if (group->nrules == 0)
	{
		mktg_rule_fail(parser->error, AT(path, NULL), "rule is empty");
		return NULL;
	}
	return group;
}

/* ---- any rule ---- */

static bool
is_canonical(json_object *json)
{
	int			i;

	for (i = 0; i < LENGTH_OF(canonical_keys) - 1; i++)
		if (has_key(json, canonical_keys[i]))
			return true;
	return false;
}

/* Refuses an object that wants to be two things at once. */
static bool
is_one_kind(MktgRuleParser *parser, json_object *json, const char *path)
{
	static const char *const heads[] = {"field", "rules", "segment"};
	const char *first = NULL;
	int			i;

	for (i = 0; i < LENGTH_OF(heads); i++)
	{
		if (!has_key(json, heads[i]))
			continue;
		if (first != NULL)
			return mktg_rule_fail(parser->error, AT(path, NULL),
								  "\"%s\" and \"%s\" cannot stand together", first, heads[i]);
		first = heads[i];
	}
	return true;
}

/* Parses one rule, whose path is the tree's; in "where" fewer kinds may stand. */
static MktgRule *
parse_rule(MktgRuleParser *parser, json_object *json, char *path, bool in_where)
{
	if (!json_object_is_type(json, json_type_object))
	{
		mktg_rule_fail(parser->error, AT(path, NULL), "rule must be a JSON object");
		return NULL;
	}
	if (!is_canonical(json))
	{
		if (!in_where || json_object_object_length(json) == 0)
			return parse_short_form(parser, json, path);
		mktg_rule_fail(parser->error, AT(path, NULL), "short form cannot stand within \"where\"");
		mktg_rule_hint(parser->error, "Write a condition with \"field\", \"operator\" and \"value\".");
		return NULL;
	}
	if (!is_one_kind(parser, json, path))
		return NULL;
	if (has_key(json, "segment"))
	{
		if (!in_where)
			return parse_segment(parser, json, path);
		mktg_rule_fail(parser->error, AT(path, "segment"), "\"segment\" cannot stand within \"where\"");
		return NULL;
	}
	if (!has_key(json, "field") && (has_key(json, "rules") || has_key(json, "logic")))
		return parse_group(parser, json, path, in_where);
	return parse_compare(parser, json, path, in_where);
}

/* ---- the whole ---- */

static bool
parse(MktgRuleParser *parser, const char *text, size_t length)
{
	json_object *json;
	char	   *path;

	if (!mktg_rule_json(text, length, &json, parser->error))
		return false;
	if (!json_object_is_type(json, json_type_object))
		mktg_rule_fail(parser->error, AT("", NULL), "rules must be a JSON object");
	else if ((path = mktg_rule_copy(parser, "")) != NULL)
		parser->tree->root = parse_rule(parser, json, path, false);
	json_object_put(json);
	return parser->tree->root != NULL;
}

MktgRuleTree *
mktg_rule_parse(const char *json, size_t length, MktgRuleError *error)
{
	MktgRuleParser parser = {.error = error};

	memset(error, 0, sizeof(*error));
	if (length == 0)
		json = "";
	if (length > MKTG_RULE_MAX_BYTES)
	{
		mktg_rule_fail(error, AT("", NULL), "rules are too long");
		mktg_rule_hint(error, "They may be at most %d bytes long.", MKTG_RULE_MAX_BYTES);
		error->too_large = true;
		return NULL;
	}
	parser.tree = calloc(1, sizeof(MktgRuleTree));
	if (parser.tree == NULL)
	{
		mktg_rule_out_of_memory(error);
		return NULL;
	}
	if (!parse(&parser, json, length))
	{
		mktg_rule_free(parser.tree);
		return NULL;
	}
	return parser.tree;
}
