/*-------------------------------------------------------------------------
 *
 * segment.h
 *		Segments: from rules to members.
 *
 *		registry.c		what rules may name
 *		compile.c, test.c	rules to a tree of leaves
 *		sql.c			a tree to one statement: for one segment, one contact
 *		collect.c, pass.c	many trees in one pass over each source
 *		members.c		bitmaps of members
 *		refresh.c		all, some or one segment brought up to date
 *
 * A leaf asks something about the rows a contact has in one source: whether
 * there is one such that..., or how an aggregate over them compares.  Leaves
 * and trees are true or false, never unknown.
 *
 * All functions are called within SPI (mktg_begin()).
 *
 * IDENTIFICATION
 *		src/segment/segment.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_SEGMENT_H
#define MKTG_SEGMENT_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "base/query.h"
#include "core/rule.h"

/* ---- registry.c ---- */

typedef enum MktgFieldType
{
	MKTG_FIELD_TEXT,
	MKTG_FIELD_NUMBER,
	MKTG_FIELD_MONEY,			/* minor units */
	MKTG_FIELD_BOOLEAN,
	MKTG_FIELD_TIMESTAMP,
	MKTG_FIELD_DATE,
	MKTG_FIELD_ARRAY,			/* text[] */
	MKTG_FIELD_JSON				/* an object: its keys are the fields */
} MktgFieldType;

typedef enum MktgAggregate
{
	MKTG_AGG_NONE,				/* the field is one of each row */
	MKTG_AGG_COUNT,
	MKTG_AGG_SUM,
	MKTG_AGG_MIN,
	MKTG_AGG_MAX,
	MKTG_AGG_AVG,
	MKTG_AGG_BOOL_AND,
	MKTG_AGG_BOOL_OR,
	MKTG_AGG_DAYS_SINCE,		/* whole days from the last to the instant asked for */
	MKTG_AGG_LIFECYCLE			/* the stage the times of purchases make */
} MktgAggregate;

typedef enum MktgChanges
{
	MKTG_CHANGES_NEVER,			/* by the calendar alone */
	MKTG_CHANGES_MONTHLY,
	MKTG_CHANGES_DAILY
} MktgChanges;

typedef struct MktgSource
{
	int64		tenant_id;		/* 0: it ships */
	char	   *name;
	Oid			relation;
	char	   *relation_sql;	/* quoted, with its schema */
	char	   *contact_sql;	/* contact_id, or external_id as text */
	char	   *at_sql;			/* timestamptz, or NULL */
	bool		external;		/* by external_id */
	bool		has_tenant;		/* it has a column tenant_id */
	bool		is_contact;		/* mktg.contact itself: one row a contact */
	bool		watched;
} MktgSource;

/* In expressions $1 is the tenant, $2 the instant, $3 the time zone, $4 the currency. */
typedef struct MktgField
{
	char	   *name;
	MktgSource *source;
	MktgFieldType type;
	MktgAggregate aggregate;
	char	   *row_sql;		/* of a row: the field, or what is aggregated; NULL: rows themselves */
	Oid			row_type;		/* InvalidOid until asked for */
	char	   *at_sql;
	MktgChanges changes;
	Jsonb	   *synonyms;		/* or NULL */
	bool		minor;			/* money that rules give in minor units */
} MktgField;

typedef struct MktgAlias
{
	char	   *key;
	char	   *rule;			/* JSON */
	size_t		length;
} MktgAlias;

typedef struct MktgRegistry
{
	int64		tenant_id;
	MktgField **fields;
	int			nfields;
	MktgSource **sources;
	int			nsources;
	MktgAlias  *aliases;
	int			naliases;
	char	   *time_zone;
	char	   *currency;
	int			exponent;		/* digits of the currency's minor unit */
} MktgRegistry;

extern const MktgRegistry *mktg_registry(int64 tenant);

/* The field of a name; of a JSON field "name.key" gives the key, else NULL.  NULL if there is none. */
extern MktgField *mktg_find_field(const MktgRegistry *registry, const char *name, const char **json_key);
extern const MktgAlias *mktg_find_alias(const MktgRegistry *registry, const char *key);
extern const char *mktg_nearest_field(const MktgRegistry *registry, const char *name);
extern const char *mktg_nearest_alias(const MktgRegistry *registry, const char *key);

/* Type of what an expression over a source's rows gives, and its collation if "collation" is not NULL. */
extern Oid	mktg_expression_type(const MktgSource *source, const char *sql, Oid *collation);
extern const char *mktg_field_type_name(MktgFieldType type);

#define MKTG_FIXED_PARAMS	4

/* ---- test.c: a comparison with constants ---- */

typedef enum MktgTestKind
{
	MKTG_TEST_EXISTS,			/* is not NULL */
	MKTG_TEST_TEXT,				/* op over texts */
	MKTG_TEST_NUMBER,			/* op over numbers */
	MKTG_TEST_RANGE,			/* in one of the ranges: times in microseconds, dates in days */
	MKTG_TEST_BOOLEAN,
	MKTG_TEST_ARRAY				/* CONTAINS or IN: has one of the texts */
} MktgTestKind;

/* From lo on, below hi; moving bounds go along with the instant asked for. */
typedef struct MktgRange
{
	int64		lo;				/* PG_INT64_MIN: open */
	int64		hi;				/* PG_INT64_MAX: open */
	bool		lo_moves;
	bool		hi_moves;
} MktgRange;

typedef struct MktgTest
{
	MktgTestKind kind;
	MktgOperator op;			/* never a negative one */
	int			n;
	char	  **texts;
	Numeric    *numbers;		/* money in minor units */
	MktgRange  *ranges;			/* RANGE; NUMBER where "whole" */
	int			nranges;
	bool		whole;			/* the numbers as ranges of whole numbers */
	bool		boolean;
} MktgTest;

typedef struct MktgCompiling
{
	const MktgRegistry *registry;
	TimestampTz at;
	MktgChanges changes;		/* of all seen so far */
	List	   *sources;		/* of MktgSource */
	List	   *segments;		/* being expanded, to find circles */
	int			rules;			/* in all, segments within segments included */
} MktgCompiling;

/* The test of a rule on a field of a type; refuses values that do not fit. */
extern MktgTest *mktg_make_test(MktgCompiling *compiling, const MktgRule *rule, const MktgField *field,
								MktgFieldType type, MktgOperator op);

/* Does a number pass? For what an aggregate is without rows. */
extern bool mktg_zero_passes(const MktgTest *test);

extern bool mktg_in_ranges(const MktgTest *test, int64 value);

/* ---- compile.c ---- */

typedef enum MktgCondKind
{
	MKTG_COND_TEST,
	MKTG_COND_AND,
	MKTG_COND_OR
} MktgCondKind;

/* A condition on one row of a source. */
typedef struct MktgCond
{
	MktgCondKind kind;
	bool		negate;
	const MktgField *field;		/* TEST */
	char	   *row_sql;		/* TEST: what is tested */
	Oid			row_type;
	Oid			collation;
	MktgTest   *test;
	struct MktgCond **conds;	/* AND, OR */
	int			nconds;
} MktgCond;

typedef struct MktgLeaf
{
	const MktgSource *source;
	const MktgField *field;
	MktgAggregate aggregate;	/* NONE: is there such a row */
	MktgTest   *test;			/* of the aggregate */
	MktgCond   *rows;			/* of which rows; NULL: of all */
	const char *at_sql;			/* time of a row, or NULL */
	MktgRange	window;			/* which it must be in */
	bool		empty_passes;	/* the aggregate over no rows passes */
	uint64	   *bits;			/* in a pass: which contacts pass */
} MktgLeaf;

typedef enum MktgNodeKind
{
	MKTG_NODE_LEAF,
	MKTG_NODE_AND,
	MKTG_NODE_OR,
	MKTG_NODE_STATIC			/* member of a static segment */
} MktgNodeKind;

typedef struct MktgNode
{
	MktgNodeKind kind;
	bool		negate;
	char	   *path;
	char	   *text;			/* the rule in words: "customer.city = Berlin" */
	MktgLeaf   *leaf;
	int64		segment;		/* STATIC */
	uint64	   *bits;			/* STATIC, in a pass: its members */
	struct MktgNode **nodes;
	int			nnodes;
} MktgNode;

typedef struct MktgCompiled
{
	MktgNode   *root;
	MktgChanges changes;
	List	   *sources;		/* of MktgSource */
	TimestampTz at;
	const MktgRegistry *registry;
} MktgCompiled;

/* Error MK026 (and others) with the path of what is wrong. */
extern MktgCompiled *mktg_compile_rules(Jsonb *rules, TimestampTz at, int64 tenant);

extern void mktg_refuse_rule(int code, const char *path, const char *part, const char *message, const char *hint)
			pg_attribute_noreturn();

/* ---- sql.c ---- */

typedef struct MktgStatement
{
	StringInfoData sql;
	int			nparams;
	int			capacity;
	Oid		   *types;
	Datum	   *values;
} MktgStatement;

/* Begins a statement with the four fixed parameters. */
extern void mktg_statement_begin(MktgStatement *statement, const MktgCompiled *compiled);
extern int	mktg_statement_param(MktgStatement *statement, Oid type, Datum value);

/* Appends a condition on contact row "c"; "only" is the parameter that is the one contact, or 0. */
extern void mktg_node_sql(MktgStatement *statement, const MktgNode *node, int only);
extern void mktg_leaf_sql(MktgStatement *statement, const MktgLeaf *leaf, int only, bool two_valued);
extern void mktg_cond_sql(MktgStatement *statement, const MktgCond *cond, bool two_valued);

/* Appends the value a leaf looks at, as text, for the contact "only". */
extern void mktg_value_sql(MktgStatement *statement, const MktgLeaf *leaf, int only);

/* FROM and WHERE of a leaf's source without conditions on rows; "s" is the row. */
extern void mktg_source_sql(MktgStatement *statement, const MktgSource *source, const char *columns);

/* ---- pass.c ---- */

/* Contacts held against rules together, in ascending order; also those who are no more. */
typedef struct MktgUniverse
{
	int64	   *ids;
	int64		n;
} MktgUniverse;

typedef struct MktgPass
{
	MktgUniverse universe;
	int			nroots;
	uint64	  **members;		/* a bit a contact of the universe for each root */
	TimestampTz *next_flip;		/* of each contact: when time alone may change an answer; NULL: never for all */
} MktgPass;

/* Ids a statement gives, ascending, each once. */
extern int64 *mktg_statement_ids(MktgStatement *statement, int64 *n);

/* Holds contacts ("ids" ascending; NULL: all of the tenant) against the rules, one pass a source. */
extern MktgPass *mktg_pass_run(MktgCompiled **compiled, int ncompiled, const int64 *ids, int64 nids,
							   int64 tenant);

/* ---- members.c ---- */

typedef struct MktgMembersChange
{
	int64		entered;
	int64		exited;
	int64		size;
} MktgMembersChange;

/* Changes of many segments, written together. */
typedef struct MktgMembersWriter
{
	int64		tenant;
	TimestampTz at;
	MktgColumns chunks;
	MktgColumns emptied;
	MktgColumns history;
} MktgMembersWriter;

extern void mktg_members_begin(MktgMembersWriter *writer, int64 tenant, TimestampTz at);

/*
 * Makes the contacts of the universe whose bit is set members, the others of it
 * not; "all" says that nobody outside of it is a member.
 */
extern MktgMembersChange mktg_members_apply(MktgMembersWriter *writer, int64 segment, const MktgUniverse *universe,
											const uint64 *members, bool all, bool history);
extern void mktg_members_end(MktgMembersWriter *writer);

/* Members of a segment, ascending. */
extern int64 *mktg_members_read(int64 segment, int64 tenant, int64 *n);

/* Contacts in any of the segments included and none excluded, ascending. */
extern int64 *mktg_audience_ids(Datum include, Datum exclude, int64 tenant, int64 *n);

extern void mktg_require_segment(int64 segment, int64 tenant);

/* The same for an array of them; NULLs in it are refused. */
extern void mktg_require_segments(Datum array, const char *what, int64 tenant);

/* ---- refresh.c ---- */

/* Rules that may not hold any more: NULL if they do not. */
extern MktgCompiled *mktg_try_compile(Jsonb *rules, TimestampTz at, int64 tenant);

/* Contacts the rules mean, ascending. */
extern int64 *mktg_matching_ids(MktgCompiled *compiled, int64 *n);

extern int64 mktg_bits_count(const uint64 *words, int64 n);

/* The instant the next change of the calendar makes of "at". */
extern TimestampTz mktg_calendar_due(const MktgRegistry *registry, MktgChanges changes, TimestampTz at);

/* Is there anything to refresh, of any tenant? */
extern bool mktg_refresh_wanted(TimestampTz at);

/*
 * Brings segments of one tenant up to date, holding about "limit" contacts
 * against them; false if there was nothing to do.
 */
extern bool mktg_refresh_next(TimestampTz at, int64 limit);

/* ---- mark.c ---- */

/* Writes a set of contacts (ascending, each once) down as due from an instant on. */
extern MktgArg mktg_set_datum(const int64 *ids, int64 n);

/*
 * Contacts (ascending, each once) to be held against the rules again at once:
 * those of segments that read a source, or all of them (NULL).
 */
extern void mktg_mark_ids(int64 tenant, const char *source, const int64 *ids, int64 n);

/*
 * What rules may name has changed: dynamic segments are refreshed anew, and
 * what they read is found out anew where their rules still hold.
 */
extern void mktg_segments_outdated(int64 tenant);

/* Tells all sessions that what segments read has changed. */
extern void mktg_segments_changed(void);

#endif
