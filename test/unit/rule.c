/*-------------------------------------------------------------------------
 *
 * rule.c
 *		Unit tests of src/core/rule*.c.
 *
 * A tree is compared as text, which show() writes.
 *
 * IDENTIFICATION
 *		test/unit/rule.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/core.h"
#include "core/rule.h"
#include "tap.h"

/* Rules copied to the heap, exactly as long, and given back before the tree is looked at. */
static MktgRuleTree *
parse(const char *json, size_t length, MktgRuleError *error)
{
	char	   *copy = malloc(length > 0 ? length : 1);
	MktgRuleTree *tree;

	memcpy(copy, json, length);
	tree = mktg_rule_parse(copy, length, error);
	free(copy);
	return tree;
}

static void
show_values(MktgBuffer *out, const MktgRule *rule)
{
	int			i;

	if (rule->placeholder)
		mktg_buffer_puts(out, " $value");
	if (rule->list)
		mktg_buffer_puts(out, " [");
	for (i = 0; i < rule->nvalues; i++)
	{
		bool		string = rule->values[i].kind == MKTG_VALUE_STRING;

		mktg_buffer_puts(out, rule->values[i].kind == MKTG_VALUE_BOOLEAN ? " ?" :
						 string ? " '" : " ");
		mktg_buffer_puts(out, rule->values[i].text);
		mktg_buffer_puts(out, string ? "'" : "");
	}
	if (rule->list)
		mktg_buffer_puts(out, " ]");
}

/* "{path: field OP values within DAYS where (...)}", "AND(...)", "SHORT(...)", "!" before what is negated */
static void
show(MktgBuffer *out, const MktgRule *rule)
{
	char		number[32];
	int			i;

	mktg_buffer_puts(out, rule->negate ? "!" : "");
	switch (rule->kind)
	{
		case MKTG_RULE_GROUP:
			mktg_buffer_puts(out, rule->short_form ? "SHORT " : rule->any ? "OR " : "AND ");
			mktg_buffer_puts(out, rule->path);
			mktg_buffer_puts(out, "(");
			for (i = 0; i < rule->nrules; i++)
				show(out, rule->rules[i]);
			mktg_buffer_puts(out, ")");
			return;
		case MKTG_RULE_SEGMENT:
			snprintf(number, sizeof(number), "%" PRId64, rule->segment);
			mktg_buffer_puts(out, "{");
			mktg_buffer_puts(out, rule->path);
			mktg_buffer_puts(out, ": segment ");
			mktg_buffer_puts(out, rule->name != NULL ? rule->name : number);
			break;
		case MKTG_RULE_COMPARE:
		case MKTG_RULE_SHORT:
			mktg_buffer_puts(out, "{");
			mktg_buffer_puts(out, rule->path);
			mktg_buffer_puts(out, rule->kind == MKTG_RULE_SHORT ? ": short " : ": ");
			mktg_buffer_puts(out, rule->name);
			mktg_buffer_puts(out, " ");
			mktg_buffer_puts(out, mktg_operator_name(rule->op));
			show_values(out, rule);
			break;
	}
	if (rule->within_days != NULL)
	{
		mktg_buffer_puts(out, " within ");
		mktg_buffer_puts(out, rule->within_days);
	}
	if (rule->where != NULL)
	{
		mktg_buffer_puts(out, " where ");
		show(out, rule->where);
	}
	mktg_buffer_puts(out, "}");
}

static void
is_tree(MktgRuleTree *tree, const char *want, const char *name)
{
	MktgBuffer	out = {0};

	show(&out, mktg_rule_root(tree));
	is_string(out.data, want, name);
	mktg_buffer_free(&out);
}

/* the rules as JSON with ' for " */
static MktgRuleTree *
parse_quoted(const char *rules, MktgRuleError *error)
{
	size_t		length = strlen(rules);
	char	   *json = malloc(length + 1);
	MktgRuleTree *tree;
	size_t		i;

	for (i = 0; i <= length; i++)
		json[i] = rules[i] == '\'' ? '"' : rules[i];
	tree = parse(json, length, error);
	free(json);
	return tree;
}

static void
takes(const char *rules, const char *want)
{
	MktgRuleError error;
	MktgRuleTree *tree = parse_quoted(rules, &error);

	if (tree == NULL)
	{
		ok(false, "takes %s", rules);
		printf("# at \"%s\": %s; %s\n", error.path, error.message, error.hint);
		return;
	}
	is_tree(tree, want, rules);
	mktg_rule_free(tree);
}

/* a hint that is to end in "*" may go on in any way: the rest is json-c's */
static bool
is_error(const MktgRuleError *error, const char *path, const char *message, const char *hint,
		 const char *name)
{
	size_t		star = strcspn(hint, "*");
	bool		same = strcmp(error->path, path) == 0 && strcmp(error->message, message) == 0 &&
		strncmp(error->hint, hint, star) == 0 && !error->too_large &&
		(hint[star] == '*' || error->hint[star] == '\0');

	if (!ok(same, "%s", name))
		printf("# at \"%s\": %s; %s\n", error->path, error->message, error->hint);
	return same;
}

static void
refuses(const char *rules, const char *path, const char *message, const char *hint)
{
	MktgRuleError error;
	MktgRuleTree *tree = parse_quoted(rules, &error);

	if (tree != NULL)
		ok(false, "refuses %s", rules);
	else
		is_error(&error, path, message, hint, rules);
	mktg_rule_free(tree);
}

/* one rule in a group */
#define ONE(rule)	"{'rules': [" rule "]}"

static void
test_forms(void)
{
	takes("{'field': 'city', 'operator': '=', 'value': 'Rome'}", "{: city = 'Rome'}");
	takes(" \n{'field': 'city', 'value': 'Rome', 'not': false}\t\r\n", "{: city = 'Rome'}");
	takes("{'field': 'city'}", "{: city EXISTS}");
	takes("{'not': true, 'field': 'city'}", "!{: city EXISTS}");
	takes("{'logic': 'AND', 'rules': [{'field': 'a'}, {'field': 'b'}]}",
		  "AND ({rules[0]: a EXISTS}{rules[1]: b EXISTS})");
	takes("{'logic': 'or', 'not': true, 'rules': [{'field': 'a'}, {'field': 'b'}]}",
		  "!OR ({rules[0]: a EXISTS}{rules[1]: b EXISTS})");
	takes(ONE("{'field': 'a'}"), "AND ({rules[0]: a EXISTS})");
	takes(ONE("{'logic': 'OR', 'rules': [{'field': 'a'}, {'rules': [{'field': 'b', 'not': true}]}]}"),
		  "AND (OR rules[0]({rules[0].rules[0]: a EXISTS}"
		  "AND rules[0].rules[1](!{rules[0].rules[1].rules[0]: b EXISTS})))");

	takes("{'segment': 7}", "{: segment 7}");
	takes(ONE("{'segment': 'vip', 'not': true}, {'segment': 9223372036854775807}"),
		  "AND (!{rules[0]: segment vip}{rules[1]: segment 9223372036854775807})");

	takes("{'city': 'Rome'}", "SHORT ({city: short city = 'Rome'})");
	takes("{'city': ['Rome', 7, true], 'not': true, 'spent': 1.50}",
		  "!SHORT ({city: short city IN [ 'Rome' 7 ?true ]}{spent: short spent = 1.50})");
	takes(ONE("{'field': 'a'}, {'vip': false, 'city': ['Rome']}"),
		  "AND ({rules[0]: a EXISTS}SHORT rules[1]({rules[1].vip: short vip = ?false}"
		  "{rules[1].city: short city IN [ 'Rome' ]}))");
	takes("{'Field': 'a', 'order.total': '$value'}",
		  "SHORT ({Field: short Field = 'a'}{order.total: short order.total = '$value'})");
	takes("{'a': 1, 'a': 2}", "SHORT ({a: short a = 2})");
}

static void
test_where(void)
{
	takes(ONE("{'field': 'order.total', 'operator': '>', 'value': 10, 'within_days': 30,"
			  " 'where': [{'field': 'order.kind', 'value': 'b'}, {'logic': 'OR', 'rules': [{'field': 'x'}]}]}"),
		  "AND ({rules[0]: order.total > 10 within 30 where AND rules[0].where("
		  "{rules[0].where[0]: order.kind = 'b'}"
		  "OR rules[0].where[1]({rules[0].where[1].rules[0]: x EXISTS}))})");
	takes("{'field': 'order', 'where': {'field': 'kind', 'not': true, 'value': 'b'}}",
		  "{: order EXISTS where AND where(!{where: kind = 'b'})}");
	takes(ONE("{'field': 'order', 'where': {'logic': 'OR', 'not': true, 'rules': [{'field': 'x'}]}}"),
		  "AND ({rules[0]: order EXISTS where !OR rules[0].where({rules[0].where.rules[0]: x EXISTS})})");
	takes("{'field': 'order', 'within_days': 0.5}", "{: order EXISTS within 0.5}");
	takes("{'field': 'order', 'within_days': 36500}", "{: order EXISTS within 36500}");
	takes("{'field': 'order', 'within_days': 3.65e4}", "{: order EXISTS within 3.65e4}");

	refuses("{'field': 'a', 'where': []}", "where", "\"where\" is empty", "");
	refuses("{'field': 'a', 'where': {}}", "where", "rule is empty", "");
	refuses("{'field': 'a', 'where': [{}]}", "where[0]", "rule is empty", "");
	refuses("{'field': 'a', 'where': 'x'}", "where", "\"where\" must be a list of rules, or one rule", "");
	refuses("{'field': 'a', 'where': null}", "where", "\"where\" must be a list of rules, or one rule", "");
	refuses("{'field': 'a', 'where': [{'field': 'b'}, 7]}", "where[1]", "rule must be a JSON object", "");
	refuses(ONE("{'field': 'a', 'where': [{'field': 'b'}, {'field': ''}]}"),
			"rules[0].where[1].field", "\"field\" is empty", "");
	refuses(ONE("{'field': 'a', 'where': {'field': ''}}"), "rules[0].where.field", "\"field\" is empty", "");
	refuses("{'field': 'a', 'where': [{'city': 'Rome'}]}", "where[0]",
			"short form cannot stand within \"where\"",
			"Write a condition with \"field\", \"operator\" and \"value\".");
	refuses("{'field': 'a', 'where': [{'rules': [{'segment': 1}]}]}", "where[0].rules[0].segment",
			"\"segment\" cannot stand within \"where\"", "");
	refuses("{'field': 'a', 'where': {'field': 'b', 'where': [{'field': 'c'}]}}", "where.where",
			"\"where\" cannot stand within \"where\"", "");
	refuses("{'field': 'a', 'where': {'rules': [{'field': 'b', 'within_days': 1}]}}",
			"where.rules[0].within_days", "\"within_days\" cannot stand within \"where\"", "");
}

static void
test_within_days(void)
{
	static const char *const bad[] = {
		"0", "-1", "36500.5", "36501", "1e999", "1e-999", "'30'", "true", "null", "[30]", "{'days': 1}"
	};
	char		rules[100];
	size_t		i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		snprintf(rules, sizeof(rules), "{'field': 'a', 'within_days': %s}", bad[i]);
		refuses(rules, "within_days", "\"within_days\" must be a number of days",
				"It must be above 0 and at most 36500.");
	}
}

static void
test_operators(void)
{
	static const struct
	{
		const char *written;
		const char *value;
		const char *shown;
	}			operators[] = {
		{"=", "1", "= 1"},
		{"==", "1", "= 1"},
		{"!=", "'x'", "!= 'x'"},
		{"<>", "'x'", "!= 'x'"},
		{">", "-1.50", "> -1.50"},
		{"<", "1e5", "< 1e5"},
		{">=", "true", ">= ?true"},
		{" <= ", "''", "<= ''"},
		{"IN", "['a', 1]", "IN [ 'a' 1 ]"},
		{"NOT_IN", "[1]", "NOT_IN [ 1 ]"},
		{"not in", "[1]", "NOT_IN [ 1 ]"},
		{"Not-In", "[1]", "NOT_IN [ 1 ]"},
		{"BETWEEN", "[1, 2]", "BETWEEN [ 1 2 ]"},
		{"contains", "'a'", "CONTAINS 'a'"},
		{"starts with", "'a'", "STARTS_WITH 'a'"},
		{"BEFORE", "'2026-01-01'", "BEFORE '2026-01-01'"},
		{"After", "'2026-01-01'", "AFTER '2026-01-01'"},
		{"WITHIN_LAST", "30", "WITHIN_LAST 30"},
		{"not  within\\tlast", "0.5", "NOT_WITHIN_LAST 0.5"},
		{"EXISTS", "true", "EXISTS"},
		{"NOT EXISTS", "true", "NOT_EXISTS"},
		{"IN", "'$value'", "IN $value"},
		{"between", "'$value'", "BETWEEN $value"},
		{"WITHIN_LAST", "'$value'", "WITHIN_LAST $value"},
		{"=", "'$value'", "= $value"},
		{"=", "' $value'", "= ' $value'"},
		{"IN", "['$value']", "IN [ '$value' ]"}
	};
	char		rules[200];
	char		want[100];
	size_t		i;
	int			op;

	for (i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
	{
		snprintf(rules, sizeof(rules), "{'field': 'f', 'operator': '%s', 'value': %s}",
				 operators[i].written, operators[i].value);
		snprintf(want, sizeof(want), "{: f %s}", operators[i].shown);
		takes(rules, want);
	}
	takes("{'field': 'f', 'operator': 'NOT_EXISTS'}", "{: f NOT_EXISTS}");
	for (op = 0; op < MKTG_OPERATORS; op++)
		ok(mktg_operator_name((MktgOperator) op)[0] != '\0', "operator %d has a name", op);
	is_string(mktg_operator_name(MKTG_OP_NOT_WITHIN_LAST), "NOT_WITHIN_LAST", "and the last its own");
}

#define ALL_OPERATORS "Operators are = != > < >= <= IN NOT_IN BETWEEN CONTAINS STARTS_WITH EXISTS " \
	"NOT_EXISTS BEFORE AFTER WITHIN_LAST NOT_WITHIN_LAST."
#define LIST_ONLY "Use IN or NOT_IN for a list, BETWEEN for a range."
#define TWO "Write the least and the greatest value in brackets."
#define DAYS "It must be above 0 and at most 36500."
#define NO_NULL "Use EXISTS or NOT_EXISTS to ask whether there is a value."
#define VALUES "A value is a string, a number, true, false or a list of these."

static void
test_operator_errors(void)
{
	refuses(ONE("{'field': 'a'}, {'field': 'a', 'operator': 'LIKE', 'value': 1}"), "rules[1].operator",
			"there is no operator \"LIKE\"", ALL_OPERATORS);
	refuses("{'field': 'a', 'operator': '', 'value': 1}", "operator", "there is no operator \"\"", ALL_OPERATORS);
	refuses("{'field': 'a', 'operator': 'starts', 'value': 1}", "operator",
			"there is no operator \"starts\"", ALL_OPERATORS);
	refuses("{'field': 'a', 'operator': 'contain', 'value': 1}", "operator",
			"there is no operator \"contain\"", "Perhaps CONTAINS is meant.");
	refuses("{'field': 'a', 'operator': '!==', 'value': 1}", "operator",
			"there is no operator \"!==\"", "Perhaps != is meant.");
	refuses("{'field': 'a', 'operator': 'within-lats', 'value': 1}", "operator",
			"there is no operator \"within-lats\"", "Perhaps WITHIN_LAST is meant.");
	refuses("{'field': 'a', 'operator': 'NOT_WITHIN_LAST_AND_THEN_SOME_MORE_UNTIL_IT_IS_MUCH_TOO_LONG_FOR_US'}",
			"operator",
			"there is no operator \"NOT_WITHIN_LAST_AND_THEN_SOME_MORE_UNTIL_IT_IS_MUCH_TOO_LONG\"", ALL_OPERATORS);
	/* 59 bytes and a character of two */
	refuses("{'field': 'a', 'operator': '-----------------------------------------------------------\xC3\xA4x'}",
			"operator",
			"there is no operator \"-----------------------------------------------------------\"", ALL_OPERATORS);
	refuses("{'field': 'a', 'operator': 7}", "operator", "\"operator\" must be a string", "");
	refuses("{'field': 'a', 'operator': null}", "operator", "\"operator\" must be a string", "");

	refuses("{'field': 'a', 'operator': '='}", "", "= needs a value", "");
	refuses(ONE("{'field': 'a', 'operator': 'IN'}"), "rules[0]", "IN needs a value", "");
	refuses(ONE("{'field': 'a', 'operator': 'in', 'value': []}"), "rules[0].value", "list of IN is empty", "");
	refuses("{'field': 'a', 'operator': 'not in', 'value': []}", "value", "list of NOT_IN is empty", "");
	refuses("{'field': 'a', 'operator': 'IN', 'value': 'x'}", "value", "IN takes a list",
			"Write a list in brackets, even of one value.");
	refuses("{'field': 'a', 'value': ['x']}", "value", "= takes one value, not a list", LIST_ONLY);
	refuses("{'field': 'a', 'operator': 'AFTER', 'value': []}", "value", "AFTER takes one value, not a list", LIST_ONLY);
	refuses("{'field': 'a', 'operator': 'BETWEEN', 'value': 1}", "value", "BETWEEN takes a list of two values", TWO);
	refuses("{'field': 'a', 'operator': 'BETWEEN', 'value': [1]}", "value", "BETWEEN takes a list of two values", TWO);
	refuses("{'field': 'a', 'operator': 'BETWEEN', 'value': [1, 2, 3]}", "value",
			"BETWEEN takes a list of two values", TWO);
	refuses("{'field': 'a', 'operator': 'WITHIN_LAST', 'value': 0}", "value", "WITHIN_LAST takes a number of days", DAYS);
	refuses("{'field': 'a', 'operator': 'WITHIN_LAST', 'value': 36501}", "value",
			"WITHIN_LAST takes a number of days", DAYS);
	refuses("{'field': 'a', 'operator': 'WITHIN_LAST', 'value': '30'}", "value",
			"WITHIN_LAST takes a number of days", DAYS);
	refuses("{'field': 'a', 'operator': 'WITHIN_LAST', 'value': [30]}", "value",
			"WITHIN_LAST takes a number of days", DAYS);
	refuses("{'field': 'a', 'operator': 'NOT_WITHIN_LAST', 'value': true}", "value",
			"NOT_WITHIN_LAST takes a number of days", DAYS);
	refuses("{'field': 'a', 'operator': 'EXISTS', 'value': false}", "value", "EXISTS takes no value",
			"Leave \"value\" out.");
	refuses("{'field': 'a', 'operator': 'NOT_EXISTS', 'value': '$value'}", "value", "NOT_EXISTS takes no value",
			"Leave \"value\" out.");
}

static void
test_value_errors(void)
{
	refuses("{'field': 'a', 'value': null}", "value", "value is null", NO_NULL);
	refuses(ONE("{'field': 'a', 'operator': 'IN', 'value': [1, 2, 3, null]}"), "rules[0].value[3]",
			"value is null", NO_NULL);
	refuses("{'field': 'a', 'value': {'b': 1}}", "value", "value is an object", VALUES);
	refuses("{'field': 'a', 'operator': 'IN', 'value': [{}]}", "value[0]", "value is an object", VALUES);
	refuses("{'field': 'a', 'operator': 'IN', 'value': [1, [2]]}", "value[1]", "value is a list within a list", VALUES);

	refuses("{'city': null}", "city", "value is null", NO_NULL);
	refuses(ONE("{'city': ['a', null]}"), "rules[0].city[1]", "value is null", NO_NULL);
	refuses("{'city': []}", "city", "list of \"city\" is empty", "");
	refuses("{'city': {'a': 1}}", "city", "value is an object", VALUES);
	refuses("{'rulez': [{'field': 'a'}]}", "rulez[0]", "value is an object", "Perhaps \"rules\" is meant.");
	refuses("{'Where': {'a': 1}}", "Where", "value is an object", "Perhaps \"where\" is meant.");
}

#define NOT_JSON "rules are not valid JSON"

static void
test_numbers(void)
{
	static const struct
	{
		const char *number;
		const char *reason;
	}			bad[] = {
		{"01", "5 bytes: number expected"},
		{"-01", "5 bytes: number expected"},
		{"00.5", "5 bytes: number expected"},
		{"1.", "5 bytes: number expected"},
		{"1.e5", "5 bytes: number expected"},
		{"1e", "5 bytes: number expected"},
		{"1e+", "5 bytes: number expected"},
		{"-", "5 bytes: number expected"},
		{"-Infinity", "5 bytes: number expected"},
		{".5", "5 bytes: unexpected character"},
		{"+1", "5 bytes: unexpected character"},
		{"NaN", "5 bytes: unexpected character"},
		{"Infinity", "5 bytes: unexpected character"},
	};
	char		rules[100];
	char		hint[100];
	size_t		i;

	takes("{'a': [0, -1, 0.10, 1e5, 1E+05, -2.5e-3, 1e999]}",
		  "SHORT ({a: short a IN [ 0 -1 0.10 1e5 1E+05 -2.5e-3 1e999 ]})");
	takes("{'a': [9223372036854775807, -9223372036854775807, 9223372036854775808]}",
		  "SHORT ({a: short a IN [ 9223372036854775807 -9223372036854775807 9223372036854775808 ]})");
	takes("{'a': 123456789012345678901234567890.0}", "SHORT ({a: short a = 123456789012345678901234567890.0})");
	refuses("{'a': [1, 123456789012345678901234567890]}", "a[1]", "number has too many digits",
			"Write it with \".0\" behind it to keep all of its digits.");
	refuses("{'field': 'a', 'value': -123456789012345678901234567890}", "value", "number has too many digits",
			"Write it with \".0\" behind it to keep all of its digits.");
	refuses("{'field': 'a', 'within_days': 123456789012345678901}", "within_days", "number has too many digits",
			"Write it with \".0\" behind it to keep all of its digits.");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		snprintf(rules, sizeof(rules), "{'a':%s}", bad[i].number);
		snprintf(hint, sizeof(hint), "The JSON parser stopped after %s.", bad[i].reason);
		refuses(rules, "", NOT_JSON, hint);
	}
}

static void
is_refused(const char *json, size_t length, const char *message, const char *hint, const char *name)
{
	MktgRuleError error;
	MktgRuleTree *tree = parse(json, length, &error);

	if (ok(tree == NULL, "refuses %s", name))
		is_error(&error, "", message, hint, name);
	mktg_rule_free(tree);
}

#define REFUSE(json, message, hint, name)	is_refused(json, sizeof(json) - 1, message, hint, name)

#define STOPPED "The JSON parser stopped after *"

static void
test_json(void)
{
	MktgRuleError error;
	MktgRuleTree *tree = mktg_rule_parse("{\"a\":1}trailing", 7, &error);

	ok(tree != NULL, "not a byte more than the length is read");
	mktg_rule_free(tree);
	mktg_rule_free(NULL);
	tree = mktg_rule_parse(NULL, 0, &error);
	ok(tree == NULL && strcmp(error.message, NOT_JSON) == 0, "no text at all is no rule");

	refuses("", "", NOT_JSON, STOPPED);
	refuses("{'a': 1", "", NOT_JSON, STOPPED);
	refuses("{'a': 'x", "", NOT_JSON, STOPPED);
	refuses("{'a': '\\", "", NOT_JSON, STOPPED);
	refuses("{'a': 1} x", "", NOT_JSON, STOPPED);
	refuses("{'a': 1}{}", "", NOT_JSON, STOPPED);
	refuses("{'a': 1}}", "", NOT_JSON, STOPPED);
	refuses("{'a': 1,}", "", NOT_JSON, STOPPED);
	refuses("{'a': [1,]}", "", NOT_JSON, STOPPED);
	refuses("{'a': TRUE}", "", NOT_JSON, STOPPED);
	refuses("{a: 1}", "", NOT_JSON, STOPPED);
	refuses("{/* no */ 'a': 1}", "", NOT_JSON, STOPPED);
	REFUSE("{'a': 1}", NOT_JSON, STOPPED, "single quotes");
	REFUSE("{\"a\":\"\xFF\"}", NOT_JSON, STOPPED,
		   "bytes that are not UTF-8");

#define NUL_INSIDE "rules hold a NUL character"
	REFUSE("{\"a\": 1}\0", NUL_INSIDE, "", "NUL at the end");
	REFUSE("{\"a\": \"x\0\"}", NUL_INSIDE, "", "NUL in a string");
	REFUSE("{\"a\": \"x\\u0000\"}", NUL_INSIDE, "", "an escaped NUL in a string");
	REFUSE("{\"a\\u0000b\": 1}", NUL_INSIDE, "", "an escaped NUL in a key");
	takes("{'a': '\\\\u0000 \\u0001\\u00e4 \\ud83d\\ude00'}",
		  "SHORT ({a: short a = '\\u0000 \x01\xC3\xA4 \xF0\x9F\x98\x80'})");
	takes("{'a': '{[\\\"N}01'}", "SHORT ({a: short a = '{[\"N}01'})");
}

/* "head", then "part" n times with commas between, then "tail" */
static MktgRuleTree *
parse_repeated(const char *head, const char *part, int n, const char *comma, const char *tail,
			   MktgRuleError *error)
{
	MktgBuffer	rules = {0};
	MktgRuleTree *tree;
	int			i;

	mktg_buffer_puts(&rules, head);
	for (i = 0; i < n; i++)
	{
		mktg_buffer_puts(&rules, i > 0 ? comma : "");
		mktg_buffer_puts(&rules, part);
	}
	mktg_buffer_puts(&rules, tail);
	tree = parse_quoted(rules.data, error);
	mktg_buffer_free(&rules);
	return tree;
}

static void
is_too_large(MktgRuleTree *tree, MktgRuleError *error, const char *path, const char *message,
			 const char *hint)
{
	if (ok(tree == NULL && error->too_large, "too large: %s", message))
	{
		error->too_large = false;
		is_error(error, path, message, hint, "and says where and why");
	}
	mktg_rule_free(tree);
}

static void
is_taken(MktgRuleTree *tree, const char *name)
{
	ok(tree != NULL, "%s", name);
	mktg_rule_free(tree);
}

#define MANY "there are too many rules"
#define AT_MOST_RULES "There may be at most 1000 rules, groups and conditions together."

static void
test_limits(void)
{
	MktgRuleError error;
	MktgBuffer	keys = {0};
	char		key[20];
	int			i;

	is_taken(parse_repeated("{'rules': [", "{'field': 'a'}", 999, ",", "]}", &error), "1000 rules");
	is_too_large(parse_repeated("{'rules': [", "{'field': 'a'}", 1000, ",", "]}", &error), &error,
				 "rules[999]", MANY, AT_MOST_RULES);
	is_too_large(parse_repeated("{'rules': [", "{'field': 'a'}", 30000, ",", "]}", &error), &error,
				 "rules[999]", MANY, AT_MOST_RULES);
	is_too_large(parse_repeated("{'rules': [", "{'field': 'a', 'where': {'field': 'b'}}", 334, ",", "]}", &error),
				 &error, "rules[333]", MANY, AT_MOST_RULES);
	for (i = 0; i < 1000; i++)
	{
		snprintf(key, sizeof(key), "%s'k%d': 1", i > 0 ? "," : "{", i);
		mktg_buffer_puts(&keys, key);
	}
	is_too_large(parse_repeated(keys.data, "", 0, "", "}", &error), &error, "k999", MANY, AT_MOST_RULES);
	mktg_buffer_free(&keys);

	is_taken(parse_repeated("{'a': [", "1", 10000, ",", "]}", &error), "10000 values");
	is_too_large(parse_repeated("{'a': [", "1", 10001, ",", "]}", &error), &error, "a",
				 "list is too long", "A list may hold at most 10000 values.");
	is_too_large(parse_repeated("{'field': 'a', 'operator': 'IN', 'value': [", "1", 10001, ",", "]}", &error), &error,
				 "value", "list is too long", "A list may hold at most 10000 values.");

	is_taken(parse_repeated("{'a': 1}", " ", 1024 * 1024 - 8, "", "", &error), "1 MB");
	is_too_large(parse_repeated("{'a': 1}", " ", 1024 * 1024 - 7, "", "", &error), &error, "",
				 "rules are too long", "They may be at most 1048576 bytes long.");
}

#define DEEP "Objects and arrays may be nested at most 64 deep."

static void
test_depth(void)
{
	MktgRuleError error;
	MktgBuffer	rules = {0};
	int			depth;
	int			i;

	/* a group is an object and an array, the innermost rule an object or with its list two */
	for (depth = 63; depth <= 65; depth++)
	{
		mktg_buffer_clear(&rules);
		for (i = 0; i < (depth - 1) / 2; i++)
			mktg_buffer_puts(&rules, "{'rules': [");
		mktg_buffer_puts(&rules, depth % 2 == 1 ? "{'a': 1}" : "{'a': [1]}");
		for (i = 0; i < (depth - 1) / 2; i++)
			mktg_buffer_puts(&rules, "]}");
		if (depth <= MKTG_RULE_MAX_DEPTH)
			is_taken(parse_repeated(rules.data, "", 0, "", "", &error), "nested 63 and 64 deep");
		else
			is_too_large(parse_repeated(rules.data, "", 0, "", "", &error), &error, "",
						 "rules are nested too deeply", DEEP);
	}
	mktg_buffer_free(&rules);
	is_too_large(parse_repeated("", "[", 100000, "", "", &error), &error, "",
				 "rules are nested too deeply", DEEP);
	is_too_large(parse_repeated("", "{'a':", 100000, "", "", &error), &error, "",
				 "rules are nested too deeply", DEEP);
	refuses("]]]]]]{", "", NOT_JSON, STOPPED);
}

static void
test_names(void)
{
	MktgRuleError error;
	MktgRuleTree *tree;

	is_taken(parse_repeated("{'field': '", "n", 200, "", "'}", &error), "a field of 200 bytes");
	tree = parse_repeated("{'field': '", "n", 201, "", "'}", &error);
	ok(tree == NULL, "and one of 201");
	is_error(&error, "field", "\"field\" is longer than 200 bytes", "", "is refused");
	is_taken(parse_repeated("{'", "n", 200, "", "': 1}", &error), "a short key of 200 bytes");
	tree = parse_repeated("{'", "n", 201, "", "': 1}", &error);
	ok(tree == NULL, "and one of 201");
	is_error(&error, "", "a key is longer than 200 bytes", "", "is refused");

	/* "segment", 'x' in front so that characters of two bytes straddle the end of the path */
	tree = parse_repeated("{'segment': 1, 'x", "\xC3\xA4", 400, "", "': 1}", &error);
	ok(tree == NULL && strlen(error.path) == 511 && (unsigned char) error.path[510] == 0xA4,
	   "a path that does not fit is cut");
	tree = parse_repeated("{'segment': 1, '", "\xC3\xA4", 400, "", "': 1}", &error);
	ok(tree == NULL && strlen(error.path) == 510 && (unsigned char) error.path[509] == 0xA4,
	   "between two characters");
	ok(strlen(error.message) == strlen("segment rule has no key \"\"") + 60, "and a message repeats 60 bytes of it");
}

/* Fills "template" with the one short key of "given". */
static bool
fill(const char *template, const char *given, const char *want, MktgRuleError *error)
{
	MktgRuleTree *tree = parse_quoted(template, error);
	MktgRuleTree *short_form = parse_quoted(given, error);
	MktgRule   *group = mktg_rule_root(short_form);
	MktgRule   *key = group->short_form ? group->rules[0] : group->rules[1]->rules[0];
	bool		filled = mktg_rule_fill(tree, key, error);

	if (filled && want != NULL)
		is_tree(tree, want, template);
	mktg_rule_free(tree);
	mktg_rule_free(short_form);
	return filled;
}

static void
fills(const char *template, const char *given, const char *want)
{
	MktgRuleError error;

	if (!fill(template, given, want, &error))
	{
		ok(false, "%s with %s", template, given);
		printf("# at \"%s\": %s; %s\n", error.path, error.message, error.hint);
	}
}

static void
fills_not(const char *template, const char *given, const char *message, const char *hint)
{
	MktgRuleError error;

	if (fill(template, given, NULL, &error))
		ok(false, "%s with %s", template, given);
	else
		is_error(&error, "k", message, hint, template);
}

static void
test_fill(void)
{
#define TEMPLATE(op) "{'field': 'f', 'operator': '" op "', 'value': '$value'}"
	fills(TEMPLATE("="), "{'k': 'x'}", "{k: f = 'x'}");
	fills(TEMPLATE("="), "{'k': ['x']}", "{k: f IN [ 'x' ]}");
	fills(TEMPLATE("="), "{'k': ['x', 1.0]}", "{k: f IN [ 'x' 1.0 ]}");
	fills(TEMPLATE("!="), "{'k': true}", "{k: f != ?true}");
	fills(TEMPLATE("!="), "{'k': [1, 2]}", "{k: f NOT_IN [ 1 2 ]}");
	fills(TEMPLATE("IN"), "{'k': 'x'}", "{k: f IN [ 'x' ]}");
	fills(TEMPLATE("NOT_IN"), "{'k': 'x'}", "{k: f NOT_IN [ 'x' ]}");
	fills(TEMPLATE("NOT_IN"), "{'k': ['x']}", "{k: f NOT_IN [ 'x' ]}");
	fills(TEMPLATE("BETWEEN"), "{'k': [1, 2]}", "{k: f BETWEEN [ 1 2 ]}");
	fills(TEMPLATE(">="), "{'k': 10}", "{k: f >= 10}");
	fills(TEMPLATE("WITHIN_LAST"), "{'k': 30}", "{k: f WITHIN_LAST 30}");
	fills("{'rules': [" TEMPLATE("=") ", {'field': 'g', 'value': 'fixed'}]}",
		  "{'rules': [{'field': 'z'}, {'k': 'x'}]}",
		  "AND rules[1].k({rules[1].k: f = 'x'}{rules[1].k: g = 'fixed'})");
	fills("{'field': 'o', 'within_days': 30, 'where': [" TEMPLATE("=") ", {'rules': [" TEMPLATE("IN") "]}]}", "{'k': [1]}",
		  "{k: o EXISTS within 30 where AND k({k: f IN [ 1 ]}AND k({k: f IN [ 1 ]}))}");

	fills_not(TEMPLATE("BETWEEN"), "{'k': 1}", "BETWEEN takes a list of two values", TWO);
	fills_not(TEMPLATE("BETWEEN"), "{'k': [1, 2, 3]}", "BETWEEN takes a list of two values", TWO);
	fills_not(TEMPLATE(">"), "{'k': [1]}", "> takes one value, not a list", LIST_ONLY);
	fills_not(TEMPLATE("CONTAINS"), "{'k': ['a', 'b']}", "CONTAINS takes one value, not a list", LIST_ONLY);
	fills_not(TEMPLATE("WITHIN_LAST"), "{'k': 'x'}", "WITHIN_LAST takes a number of days", DAYS);
	fills_not(TEMPLATE("NOT_WITHIN_LAST"), "{'k': 0}", "NOT_WITHIN_LAST takes a number of days", DAYS);

#define SWITCH "{'field': 'f', 'operator': '>', 'value': 0}"
	fills(SWITCH, "{'k': true}", "{k: f > 0}");
	fills(SWITCH, "{'k': false}", "!{k: f > 0}");
	fills("{'not': true, 'rules': [" SWITCH "]}", "{'k': false}", "AND k({k: f > 0})");
	fills("{'not': true, 'segment': 7}", "{'k': true}", "!{k: segment 7}");
	fills_not(SWITCH, "{'k': 1}", "value must be true or false", "");
	fills_not(SWITCH, "{'k': 'true'}", "value must be true or false", "");
	fills_not(SWITCH, "{'k': [true]}", "value must be true or false", "");
}

static void
test_errors(void)
{
	refuses("[]", "", "rules must be a JSON object", "");
	refuses("7", "", "rules must be a JSON object", "");
	refuses("'rules'", "", "rules must be a JSON object", "");
	refuses("null", "", "rules must be a JSON object", "");
	refuses("{}", "", "rule is empty", "");
	refuses("{'not': true}", "", "rule is empty", "");
	refuses(ONE("{'field': 'a'}, {}"), "rules[1]", "rule is empty", "");
	refuses("{'rules': [null]}", "rules[0]", "rule must be a JSON object", "");
	refuses("{'rules': [[]]}", "rules[0]", "rule must be a JSON object", "");
	refuses("{'rules': []}", "rules", "\"rules\" is empty", "");
	refuses(ONE("{'rules': []}"), "rules[0].rules", "\"rules\" is empty", "");
	refuses("{'rules': {'field': 'a'}}", "rules", "\"rules\" must be a list", "");
	refuses("{'logic': 'AND'}", "", "group has no \"rules\"", "");
	refuses("{'logic': 'XOR', 'rules': [{'field': 'a'}]}", "logic", "\"logic\" must be AND or OR", "");
	refuses("{'logic': true, 'rules': [{'field': 'a'}]}", "logic", "\"logic\" must be AND or OR", "");
	refuses("{'not': 1, 'rules': [{'field': 'a'}]}", "not", "\"not\" must be true or false", "");
	refuses("{'not': 'true', 'city': 'a'}", "not", "\"not\" must be true or false", "");
	refuses(ONE("{'field': 'a', 'not': null}"), "rules[0].not", "\"not\" must be true or false", "");

	refuses("{'field': 'a', 'rules': []}", "", "\"field\" and \"rules\" cannot stand together", "");
	refuses(ONE("{'segment': 1, 'field': 'a'}"), "rules[0]", "\"field\" and \"segment\" cannot stand together", "");
	refuses("{'segment': 1, 'rules': []}", "", "\"rules\" and \"segment\" cannot stand together", "");

	refuses("{'rules': [{'field': 'a'}], 'logci': 'OR'}", "logci", "group has no key \"logci\"",
			"Perhaps \"logic\" is meant.");
	refuses("{'rules': [{'field': 'a'}], 'value': 1}", "value", "group has no key \"value\"",
			"Its keys are logic, rules and not.");
	refuses(ONE("{'feild': 'a', 'value': 1}"), "rules[0].feild", "rule has no key \"feild\"",
			"Perhaps \"field\" is meant.");
	refuses("{'field': 'a', 'logic': 'AND'}", "logic", "rule has no key \"logic\"",
			"Its keys are field, operator, value, within_days, where and not.");
	refuses("{'segment': 1, 'Not': true}", "Not", "segment rule has no key \"Not\"", "Perhaps \"not\" is meant.");
	refuses("{'segment': 1, 'value': true}", "value", "segment rule has no key \"value\"",
			"Its keys are segment and not.");

	refuses("{'operator': '=', 'value': 1}", "", "rule has no \"field\"", "");
	refuses(ONE("{'where': []}"), "rules[0]", "rule has no \"field\"", "");
	refuses("{'field': 7}", "field", "\"field\" must be a string", "");
	refuses("{'field': null}", "field", "\"field\" must be a string", "");
	refuses("{'field': ''}", "field", "\"field\" is empty", "");
	refuses(ONE("{'': 1}"), "rules[0]", "a key is empty", "");
}

static void
test_segment_errors(void)
{
	static const char *const bad[] = {
		"0", "-1", "1.0", "''", "true", "null", "[1]", "{}", "9223372036854775808", "99999999999999999999"
	};
	char		rules[100];
	size_t		i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		snprintf(rules, sizeof(rules), ONE("{'segment': %s}"), bad[i]);
		refuses(rules, "rules[0].segment", "\"segment\" must be the name or the number of a segment", "");
	}
}

int
main(void)
{
	test_forms();
	test_where();
	test_within_days();
	test_operators();
	test_operator_errors();
	test_value_errors();
	test_numbers();
	test_json();
	test_errors();
	test_segment_errors();
	test_limits();
	test_depth();
	test_names();
	test_fill();
	return tap_done();
}
