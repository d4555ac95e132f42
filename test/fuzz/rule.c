/*-------------------------------------------------------------------------
 *
 * rule.c
 *		Fuzzes rules: taken as src/core/rule.h says, or refused with a reason.
 *
 * What is taken is filled as a template with fixed short keys and, where it is
 * a short form, into fixed templates.  In an input with a NUL byte the rules
 * before it are a template for the short keys behind it.
 *
 * IDENTIFICATION
 *		test/fuzz/rule.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/rule.h"
#include "fuzz.h"

typedef struct Count
{
	int			rules;
	size_t		values;
	const char *path;			/* of all rules, once they are filled */
} Count;

/* Is it UTF-8, as far as continuation bytes go?  Enough to see a character cut in two. */
static bool
is_whole(const char *text, size_t length)
{
	size_t		i = 0;

	while (i < length)
	{
		unsigned char lead = (unsigned char) text[i++];
		int			more = lead < 0x80 ? 0 : lead < 0xC0 ? -1 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;

		if (more < 0)
			return false;
		for (; more > 0; more--)
			if (i == length || ((unsigned char) text[i++] & 0xC0) != 0x80)
				return false;
	}
	return true;
}

static void
check_error(const MktgRuleError *error, bool whole)
{
	PROMISE(memchr(error->path, '\0', sizeof(error->path)) != NULL);
	PROMISE(memchr(error->message, '\0', sizeof(error->message)) != NULL);
	PROMISE(memchr(error->hint, '\0', sizeof(error->hint)) != NULL);
	PROMISE(error->message[0] != '\0' && strlen(error->message) < sizeof(error->message) - 1);
	PROMISE(strlen(error->hint) < sizeof(error->hint) - 1);
	PROMISE(!error->too_large || error->hint[0] != '\0');
	if (whole)
		PROMISE(is_whole(error->path, strlen(error->path)) &&
				is_whole(error->message, strlen(error->message)) &&
				is_whole(error->hint, strlen(error->hint)));
}

static void
check_number(const char *text)
{
	size_t		length = strlen(text);

	PROMISE(length > 0 && strspn(text, "0123456789.eE+-") == length);
	PROMISE(text[length - 1] >= '0' && text[length - 1] <= '9');
	PROMISE(text[0] == '-' || (text[0] >= '0' && text[0] <= '9'));
}

static void
check_days(const char *text)
{
	check_number(text);
	PROMISE(strtod(text, NULL) > 0 && strtod(text, NULL) <= 36500);
}

static void
check_values(const MktgRule *rule, Count *count)
{
	int			i;

	PROMISE(rule->nvalues <= MKTG_RULE_MAX_VALUES);
	for (i = 0; i < rule->nvalues; i++)
	{
		const MktgValue *value = &rule->values[i];

		PROMISE(value->text != NULL);
		PROMISE(value->kind == MKTG_VALUE_STRING || value->kind == MKTG_VALUE_NUMBER ||
				value->kind == MKTG_VALUE_BOOLEAN);
		if (value->kind == MKTG_VALUE_NUMBER)
			check_number(value->text);
		if (value->kind == MKTG_VALUE_BOOLEAN)
			PROMISE(strcmp(value->text, "true") == 0 || strcmp(value->text, "false") == 0);
	}
	count->values += (size_t) rule->nvalues;

	switch (rule->op)
	{
		case MKTG_OP_IN:
		case MKTG_OP_NOT_IN:
			PROMISE(rule->list && rule->nvalues >= 1);
			break;
		case MKTG_OP_BETWEEN:
			PROMISE(rule->list && rule->nvalues == 2);
			break;
		case MKTG_OP_EXISTS:
		case MKTG_OP_NOT_EXISTS:
			PROMISE(!rule->list && rule->nvalues == 0);
			break;
		case MKTG_OP_WITHIN_LAST:
		case MKTG_OP_NOT_WITHIN_LAST:
			PROMISE(!rule->list && rule->nvalues == 1 && rule->values[0].kind == MKTG_VALUE_NUMBER);
			check_days(rule->values[0].text);
			break;
		default:
			PROMISE(!rule->list && rule->nvalues == 1);
	}
}

static void
check_compare(const MktgRule *rule, Count *count)
{
	PROMISE(rule->name != NULL && rule->name[0] != '\0' && strlen(rule->name) <= 200);
	PROMISE(rule->nrules == 0 && !rule->any && (!rule->short_form || count->path != NULL) && rule->segment == 0);
	PROMISE((int) rule->op >= 0 && (int) rule->op < MKTG_OPERATORS);
	if (rule->placeholder)
		PROMISE(rule->kind == MKTG_RULE_COMPARE && count->path == NULL && !rule->list && rule->nvalues == 0 &&
				rule->op != MKTG_OP_EXISTS && rule->op != MKTG_OP_NOT_EXISTS);
	else
		check_values(rule, count);
	if (rule->within_days != NULL)
		check_days(rule->within_days);
	if (rule->kind == MKTG_RULE_SHORT)
		PROMISE((rule->op == MKTG_OP_EQ || rule->op == MKTG_OP_IN) && !rule->negate &&
				rule->within_days == NULL && rule->where == NULL);
}

static void
check_rule(const MktgRule *rule, const char *parent, bool in_where, Count *count)
{
	int			i;

	PROMISE(++count->rules <= MKTG_RULE_MAX_RULES);
	PROMISE(rule->path != NULL && strncmp(rule->path, parent, strlen(parent)) == 0);
	if (count->path != NULL)
		PROMISE(strcmp(rule->path, count->path) == 0);
	switch (rule->kind)
	{
		case MKTG_RULE_GROUP:
			PROMISE(rule->nrules >= 1 && rule->nvalues == 0 && rule->name == NULL && rule->where == NULL);
			PROMISE(!rule->short_form || (!rule->any && !in_where));
			for (i = 0; i < rule->nrules; i++)
			{
				PROMISE((rule->rules[i]->kind == MKTG_RULE_SHORT) == rule->short_form);
				check_rule(rule->rules[i], rule->path, in_where, count);
			}
			break;
		case MKTG_RULE_COMPARE:
			check_compare(rule, count);
			PROMISE(!in_where || (rule->where == NULL && rule->within_days == NULL));
			if (rule->where != NULL)
			{
				PROMISE(rule->where->kind == MKTG_RULE_GROUP);
				check_rule(rule->where, rule->path, true, count);
			}
			break;
		case MKTG_RULE_SHORT:
			check_compare(rule, count);
			break;
		case MKTG_RULE_SEGMENT:
			PROMISE(!in_where && rule->nrules == 0 && rule->nvalues == 0 && rule->where == NULL);
			PROMISE(rule->name != NULL ? rule->name[0] != '\0' && rule->segment == 0 : rule->segment >= 1);
			break;
		default:
			PROMISE(false);
	}
}

static MktgRuleTree *
parse(const char *json, size_t size)
{
	MktgRuleError error;
	MktgRuleTree *tree;
	Count		count = {0, 0, NULL};

	tree = mktg_rule_parse(json, size, &error);
	if (tree == NULL)
	{
		check_error(&error, is_whole(json, size));
		return NULL;
	}
	PROMISE(error.message[0] == '\0' && error.path[0] == '\0' && error.hint[0] == '\0' && !error.too_large);
	PROMISE(mktg_rule_root(tree)->path[0] == '\0');
	check_rule(mktg_rule_root(tree), "", false, &count);
	PROMISE(count.values <= size);
	return tree;
}

/* Fills the template, parsed anew, with each key of a short form. */
static void
fill(const char *template, size_t size, MktgRuleTree *given)
{
	const MktgRule *group = mktg_rule_root(given);
	int			i;

	for (i = 0; group->short_form && i < group->nrules && i < 10; i++)
	{
		MktgRuleTree *tree = parse(template, size);
		MktgRuleError error;
		Count		count = {0, 0, group->rules[i]->path};

		if (tree == NULL)
			return;
		if (mktg_rule_fill(tree, group->rules[i], &error))
			check_rule(mktg_rule_root(tree), count.path, false, &count);
		else
		{
			check_error(&error, true);
			PROMISE(strncmp(error.path, count.path, sizeof(error.path) - 4) == 0);
		}
		mktg_rule_free(tree);
	}
}

static void
fill_fixed(const char *json, size_t size, MktgRuleTree *tree)
{
	static const char *const templates[] = {
		"{\"field\": \"f\", \"value\": \"$value\"}",
		"{\"field\": \"f\", \"where\": {\"field\": \"g\", \"operator\": \"!=\", \"value\": \"$value\"}}",
		"{\"logic\": \"OR\", \"rules\": [{\"field\": \"f\", \"operator\": \"BETWEEN\", \"value\": \"$value\"}]}",
		"{\"field\": \"f\", \"operator\": \"WITHIN_LAST\", \"value\": \"$value\"}",
		"{\"segment\": 7, \"not\": true}"
	};
	static const char given[] = "{\"a\": \"x\", \"b\": [1, true], \"c\": false, \"d\": 30, \"e\": [1, 2, 3]}";
	size_t		i;

	if (mktg_rule_root(tree)->short_form)
		for (i = 0; i < sizeof(templates) / sizeof(templates[0]); i++)
			fill(templates[i], strlen(templates[i]), tree);
	else
	{
		MktgRuleTree *keys = parse(given, sizeof(given) - 1);

		PROMISE(keys != NULL);
		fill(json, size, keys);
		mktg_rule_free(keys);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *json = (const char *) data;
	const char *end = size > 0 ? memchr(json, '\0', size) : NULL;
	MktgRuleTree *tree = parse(json, size);

	if (tree != NULL)
	{
		PROMISE(end == NULL);
		fill_fixed(json, size, tree);
		mktg_rule_free(tree);
	}
	else if (end != NULL)
	{
		tree = parse(end + 1, size - (size_t) (end - json) - 1);
		if (tree != NULL)
			fill(json, (size_t) (end - json), tree);
		mktg_rule_free(tree);
	}
	return 0;
}
