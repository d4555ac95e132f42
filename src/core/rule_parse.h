/*-------------------------------------------------------------------------
 *
 * rule_parse.h
 *		What the files of the rule parser share; others include rule.h.
 *
 * IDENTIFICATION
 *		src/core/rule_parse.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_CORE_RULE_PARSE_H
#define MKTG_CORE_RULE_PARSE_H

#include <json-c/json.h>

#include "core/rule.h"

#define MKTG_RULE_MAX_NAME	200 /* bytes of a field or a short key */
#define MKTG_RULE_MAX_DAYS	36500

struct MktgRuleTree
{
	MktgRule   *root;
	struct MktgRuleBlock *blocks;
};

typedef struct MktgRuleParser
{
	MktgRuleTree *tree;
	MktgRuleError *error;
	int			nrules;
} MktgRuleParser;

/* where an error is: a rule, a key of it, an element of the list there */
typedef struct MktgRulePlace
{
	const char *path;
	const char *key;			/* or NULL */
	int			index;			/* or -1 */
} MktgRulePlace;

#define AT(path, key)	((MktgRulePlace) {path, key, -1})

/* ---- rule_tree.c ---- */

/* both give false; a hint belongs to the failure before it */
extern bool mktg_rule_fail(MktgRuleError *error, MktgRulePlace place, const char *format,...)
			__attribute__((format(printf, 3, 4)));
extern bool mktg_rule_hint(MktgRuleError *error, const char *format,...)
			__attribute__((format(printf, 2, 3)));
extern bool mktg_rule_out_of_memory(MktgRuleError *error);

/* how many bytes of "text" a message may repeat: whole characters */
extern int	mktg_rule_quoted(const char *text);

/* memory of the tree, zeroed; NULL and the error if there is none */
extern void *mktg_rule_allocate(MktgRuleParser *parser, size_t size);
extern char *mktg_rule_copy(MktgRuleParser *parser, const char *text);

/* the path of a key of "path" or, with an index of 0 or more, of an element there */
extern char *mktg_rule_path(MktgRuleParser *parser, const char *path, const char *key, int index);

/* NULL also where there are too many rules */
extern MktgRule *mktg_rule_new(MktgRuleParser *parser, MktgRuleKind kind, char *path);

/* ---- rule_json.c ---- */

/*
 * The text as JSON, for json_object_put(); NULL is null.  False and *error if
 * it is none or nested too deeply.
 */
extern bool mktg_rule_json(const char *text, size_t length, json_object **json, MktgRuleError *error);

/* ---- rule_value.c ---- */

extern const char *const mktg_operator_names[MKTG_OPERATORS];

/* text of a number as it was written, or NULL and the error */
extern char *mktg_rule_number(MktgRuleParser *parser, json_object *json, MktgRulePlace place);

/* is it a number of days that may be looked back? */
extern bool mktg_rule_is_days(const MktgValue *value);

/* reads a scalar or an array of scalars into the rule, without regard to its operator */
extern bool mktg_rule_values(MktgRuleParser *parser, json_object *json, MktgRulePlace place,
							 MktgRule *rule);

/* are they as many as the operator takes, and days where it wants days? */
extern bool mktg_rule_values_fit(const MktgRule *rule, MktgRulePlace place, MktgRuleError *error);

#endif
