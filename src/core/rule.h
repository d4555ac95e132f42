/*-------------------------------------------------------------------------
 *
 * rule.h
 *		The rule language of segments: JSON text in, a tree out.
 *
 * Knows the form of rules, not the names in them: whether a field, a segment
 * or a short key exists and what type it has is for src/segment to say.
 * doc/segment.md has the grammar.
 *
 * IDENTIFICATION
 *		src/core/rule.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_CORE_RULE_H
#define MKTG_CORE_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MKTG_RULE_MAX_BYTES		(1024 * 1024)
#define MKTG_RULE_MAX_DEPTH		64		/* objects and arrays within each other */
#define MKTG_RULE_MAX_RULES		1000	/* rules, groups and conditions in "where" together */
#define MKTG_RULE_MAX_VALUES	10000	/* elements of one list */

typedef enum MktgOperator
{
	MKTG_OP_EQ,
	MKTG_OP_NE,
	MKTG_OP_GT,
	MKTG_OP_LT,
	MKTG_OP_GE,
	MKTG_OP_LE,
	MKTG_OP_IN,
	MKTG_OP_NOT_IN,
	MKTG_OP_BETWEEN,
	MKTG_OP_CONTAINS,
	MKTG_OP_STARTS_WITH,
	MKTG_OP_EXISTS,
	MKTG_OP_NOT_EXISTS,
	MKTG_OP_BEFORE,
	MKTG_OP_AFTER,
	MKTG_OP_WITHIN_LAST,
	MKTG_OP_NOT_WITHIN_LAST
} MktgOperator;

#define MKTG_OPERATORS	(MKTG_OP_NOT_WITHIN_LAST + 1)

/* as rules write them: "=", "NOT_IN" */
extern const char *mktg_operator_name(MktgOperator op);

typedef enum MktgValueKind
{
	MKTG_VALUE_STRING,
	MKTG_VALUE_NUMBER,			/* text as written, a JSON number */
	MKTG_VALUE_BOOLEAN			/* text is "true" or "false" */
} MktgValueKind;

typedef struct MktgValue
{
	MktgValueKind kind;
	char	   *text;			/* NUL-terminated, no NUL inside */
} MktgValue;

typedef enum MktgRuleKind
{
	MKTG_RULE_GROUP,			/* rules joined by AND or OR */
	MKTG_RULE_COMPARE,			/* field, operator, values */
	MKTG_RULE_SEGMENT,			/* {"segment": 7} or {"segment": "name"} */
	MKTG_RULE_SHORT				/* one key of a short form; the keys of one object stand in one GROUP */
} MktgRuleKind;

typedef struct MktgRule
{
	MktgRuleKind kind;
	char	   *path;			/* "rules[2]"; "" is the whole; a short key's is "city" or "rules[1].city" */
	bool		negate;			/* "not": true */

	/* GROUP */
	bool		any;			/* OR */
	bool		short_form;		/* its rules are the keys of one short-form object; COMPARE: its value is a key's */
	struct MktgRule **rules;
	int			nrules;			/* at least 1 */

	/* COMPARE: field; SHORT: key; SEGMENT: name, or NULL where the id is given */
	char	   *name;
	int64_t		segment;

	/* COMPARE and SHORT; SEGMENT has none */
	MktgOperator op;
	MktgValue  *values;			/* IN, NOT_IN: 1 or more; BETWEEN: 2; EXISTS, NOT_EXISTS: none; else 1 */
	int			nvalues;
	bool		list;			/* they came as an array */
	bool		placeholder;	/* the value is "$value": a template of a short key (COMPARE) */

	/* COMPARE */
	char	   *within_days;	/* a number above 0 as written, or NULL */
	struct MktgRule *where;		/* a GROUP of COMPARE and GROUP, or NULL */
} MktgRule;

typedef struct MktgRuleError
{
	char		path[512];		/* "rules[2].value", as far as it fits; "" is the whole */
	char		message[256];	/* one fact without a full stop */
	char		hint[256];		/* a sentence, or empty */
	bool		too_large;		/* a limit above was passed */
} MktgRuleError;

typedef struct MktgRuleTree MktgRuleTree;

/*
 * Parses JSON text.  NULL and *error if it is no rule.  Free with
 * mktg_rule_free(); everything the tree points at goes with it.
 */
extern MktgRuleTree *mktg_rule_parse(const char *json, size_t length, MktgRuleError *error);
extern MktgRule *mktg_rule_root(MktgRuleTree *tree);
extern void mktg_rule_free(MktgRuleTree *tree);

/*
 * Fills the template of a short key: every placeholder in it becomes the
 * values of "given" (a SHORT rule, which outlives the tree), every path that of "given".  A single
 * value where IN or NOT_IN stands is a list of one; a list where = stands makes
 * it IN, where != stands NOT_IN.  A template without a placeholder is a switch:
 * the value must be true, or false, which negates the root.  False and *error
 * if the values do not fit.
 */
extern bool mktg_rule_fill(MktgRuleTree *tree, const MktgRule *given, MktgRuleError *error);

/*
 * The one of n names that is nearest to "name" without regard to case, or NULL
 * where none is near (more than a third of the letters would have to change).
 */
extern const char *mktg_nearest_name(const char *name, const char *const *names, int n);

#endif
