/*-------------------------------------------------------------------------
 *
 * collecting.h
 *		A program made ready to be carried out: between prepare.c and
 *		collect.c.
 *
 * IDENTIFICATION
 *		src/segment/collecting.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_SEGMENT_COLLECTING_H
#define MKTG_SEGMENT_COLLECTING_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/jsonb.h"

#include "base/zone.h"
#include "segment/collect.h"

#define COND_WORDS	(MKTG_MAX_CONDS / 64)

/*
 * Keys of one jsonb input, in the order in which jsonb keeps keys: one walk over
 * the object finds all of them.
 */
typedef struct Object
{
	int			input;
	int			n;
	const MktgProgramString **keys;
	JsonbValue *found;			/* of each; jbvNull where it is not there */
	bool		looked;			/* at this row */
	Jsonb	   *jsonb;			/* of this row */
} Object;

/* Constants of one value in a hash table: which conditions each satisfies. */
typedef struct Constant
{
	const char *bytes;			/* NULL: free */
	int32		length;
	uint64		conds[COND_WORDS];
} Constant;

/*
 * What is known of a value before a row is seen.  All ranges it is held against
 * cut the numbers into intervals; within one the same conditions hold, and the
 * same moving bound is the next to be crossed.
 */
typedef struct Lookup
{
	uint32		mask;			/* size of the table - 1; 0: there are no constants */
	Constant   *table;
	int			nbounds;
	int64	   *bounds;			/* ascending */
	int64	   *moving;			/* of interval i (from bound i - 1 on): greatest moving bound; PG_INT64_MIN: none */
	uint64	   *holds;			/* of interval i: cond_words words */
} Lookup;

/* A formula that is a conjunction needs no steps. */
typedef struct Mask
{
	bool		simple;
	uint64		set[COND_WORDS];
	uint64		clear[COND_WORDS];
} Mask;

/* Facts that can only be if a condition holds; the others come first. */
typedef struct Triggers
{
	int			nalways;
	int		   *always;
	uint64		any[COND_WORDS];	/* conditions that have facts */
	int		   *begins;			/* of each condition, in "facts"; one more at the end */
	int		   *facts;
} Triggers;

/*
 * A row whose facts are not written yet.  Records are far apart and seldom in a
 * cache; while one is fetched the next rows are looked at.
 */
#define PENDING			16		/* a power of two */
#define MAX_KEPT		24		/* values that facts take */

typedef struct Pending
{
	char	   *record;			/* NULL: none */
	int64		flip;
	uint64		bits[COND_WORDS];
	int64		numbers[MAX_KEPT];
	bool		nulls[MAX_KEPT];
} Pending;

typedef struct Collecting
{
	MktgCollected out;			/* first, what it becomes */
	const MktgProgram *program;	/* NULL in a state that came from another process */
	const MktgProgramValue *values;
	const MktgProgramCond *conds;
	const MktgRange *ranges;
	const MktgProgramString *constants;
	const MktgProgramString *keys;
	const MktgProgramFact *facts;
	const int32 *code;
	const char *strings;
	const uint64 *id_words;		/* dense */
	const uint32 *id_ranks;
	const int64 *ids;			/* not dense */
	int			cond_words;
	int			nobjects;
	Object	   *objects;
	int		   *object_of;		/* of each value: -1 if it is of none */
	int		   *slot_of;		/* of each value: its key's, or that of the object its key is in */
	Lookup	   *lookups;		/* of each value */
	int			nplain;			/* conditions that are held one by one */
	int		   *plain;
	Mask	   *masks;			/* of each fact */
	Triggers	triggers;
	int			nkept;
	int			kept[MAX_KEPT];	/* values */
	int		   *kept_of;		/* of each fact */
	Pending		pending[PENDING];
	unsigned int next;
	Oid		   *input_types;
	MktgDays	days;
} Collecting;

/* Texts are short and constants few. */
static inline uint32
mktg_constant_hash(const char *bytes, int length)
{
	uint64		hash = (uint64) length * UINT64CONST(0x9e3779b97f4a7c15);

	for (; length >= 8; bytes += 8, length -= 8)
	{
		uint64		word;

		memcpy(&word, bytes, 8);
		hash = (hash ^ word) * UINT64CONST(0xff51afd7ed558ccd);
		hash ^= hash >> 32;
	}
	for (; length > 0; bytes++, length--)
		hash = (hash ^ (unsigned char) *bytes) * UINT64CONST(0x100000001b3);
	return (uint32) (hash ^ hash >> 29);
}

/* Infinite times as ones that are not: a record's zeros are for none. */
static inline int64
mktg_finite_time(int64 time)
{
	return Min(Max(time, PG_INT64_MIN + 1), PG_INT64_MAX - 1);
}

/* The state of the call's program; the program is checked. */
extern Collecting *mktg_collecting_begin(FunctionCallInfo fcinfo, MemoryContext parent);

/* An empty state of a layout; "records": it takes over those of another, or NULL. */
extern Collecting *mktg_collecting_make(MemoryContext parent, const MktgProgram *layout, const MktgCollected *records);

/* Takes the values of a row and holds them against all conditions: bits, flip and what facts take. */
extern void mktg_hold_row(Collecting *c, FunctionCallInfo fcinfo, Pending *pending);

extern void mktg_refuse_program(void) pg_attribute_noreturn();

#endif
