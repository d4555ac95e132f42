/*-------------------------------------------------------------------------
 *
 * collect.h
 *		Programs for one pass over a source, and what they collect.
 *
 * A program is a bytea, so that it reaches parallel workers as any parameter
 * does.  It says which values to take of a row, which conditions to hold them
 * against, and which facts to gather of the rows that pass.  It carries the ids
 * of the contacts it is about; what is collected is one record a contact, in
 * the order of ids.
 *
 * A record begins as zeros and holds, in this order:
 *		peaks	uint64, the greatest of what came (times, biased so that 0 is none;
 *				for least ones the complement); the first is the next flip
 *		sums	int64
 *		counts	uint32
 *		bits
 *
 * IDENTIFICATION
 *		src/segment/collect.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_SEGMENT_COLLECT_H
#define MKTG_SEGMENT_COLLECT_H

#include "postgres.h"

#include "port/atomics.h"
#include "storage/dsm.h"

#include "segment/segment.h"

#define MKTG_MAX_INPUTS		90	/* arguments of one pass; a function has at most 100 */
#define MKTG_MAX_VALUES		360	/* a JSON input may have many */
#define MKTG_MAX_CONDS		512
#define MKTG_MAX_FACTS		2048
#define MKTG_PROGRAM_MAGIC	0x6d6b7031

typedef enum MktgValueOf
{
	MKTG_VALUE_INT,				/* int2, int4, int8 */
	MKTG_VALUE_TIME,			/* timestamptz */
	MKTG_VALUE_DATE,
	MKTG_VALUE_TEXT,
	MKTG_VALUE_BOOL,
	MKTG_VALUE_ANY,				/* NULL or not */
	MKTG_VALUE_TEXTS,			/* text[] */
	MKTG_VALUE_JSON_TEXT,		/* a key of a jsonb */
	MKTG_VALUE_JSON_TEXTS,
	MKTG_VALUE_JSON_NUMBER,
	MKTG_VALUE_JSON_COUNT,		/* also of the jsonb itself */
	MKTG_VALUE_ADVANCE_DAYS,	/* of a key and a second input, a time */
	MKTG_VALUE_WEEKDAY,
	MKTG_VALUE_MONTH
} MktgValueOf;

typedef struct MktgProgramValue
{
	int32		of;				/* MktgValueOf */
	int32		input;
	int32		time;			/* second input, or -1 */
	int32		outer;			/* key of the object the key is in; -1: the jsonb itself */
	int32		key;			/* of the keys; -1: no key */
} MktgProgramValue;

typedef enum MktgProgramTest
{
	MKTG_IN_RANGES,				/* first .. n of the ranges */
	MKTG_ONE_OF,				/* first .. n of the constants; of texts: any of them */
	MKTG_NUMBER_IS,				/* op with first .. n of the constants, which are numerics */
	MKTG_HAS_TEXT,
	MKTG_BEGINS_WITH,
	MKTG_IS_THERE,
	MKTG_IS_TRUE,
	MKTG_IS_FALSE
} MktgProgramTest;

typedef struct MktgProgramCond
{
	int32		value;
	int32		test;			/* MktgProgramTest */
	int32		first;
	int32		n;
	int32		op;				/* MktgOperator, of NUMBER_IS */
} MktgProgramCond;

typedef struct MktgProgramString
{
	int32		offset;
	int32		length;
} MktgProgramString;

typedef enum MktgFactKind
{
	MKTG_FACT_ANY,				/* a bit */
	MKTG_FACT_COUNT,
	MKTG_FACT_SUM,				/* a sum and a count of what was summed */
	MKTG_FACT_MIN,
	MKTG_FACT_MAX,
	MKTG_FACT_LAST_TWO			/* two peaks, last and last but one, and a count */
} MktgFactKind;

/* In the code of a formula: a condition by its number, or these. */
#define MKTG_CODE_AND	(-1)
#define MKTG_CODE_OR	(-2)
#define MKTG_CODE_NOT	(-3)
#define MKTG_CODE_TRUE	(-4)
#define MKTG_MAX_CODE	4096	/* steps of one formula */

typedef struct MktgProgramFact
{
	int32		kind;			/* MktgFactKind */
	int32		value;			/* SUM, MIN, MAX, LAST_TWO */
	int32		code;			/* first step of the formula */
	int32		ncode;
	int32		peak;			/* places in the record, or -1 */
	int32		sum;
	int32		count;
	int32		bit;
} MktgProgramFact;

/* The header of a program; the parts follow in this order, 8-byte aligned. */
typedef struct MktgProgram
{
	uint32		magic;
	int32		ninputs;
	int32		nvalues;
	int32		nconds;
	int32		nranges;
	int32		nconstants;
	int32		nkeys;
	int32		nfacts;
	int32		ncode;
	int32		nstrings;		/* bytes */
	int32		npeaks;
	int32		nsums;
	int32		ncounts;
	int32		nbits;
	int32		dense;			/* ids as bits from "lowest" on, with ranks; else as they are */
	int64		at;
	int64		lowest;
	int64		nids;
	int64		nwords;			/* dense: of bits */
	char		zone[64];
	uint32		shared;			/* a dsm_handle: where processes keep their records; DSM_HANDLE_INVALID: each for itself */
	int32		unused;
} MktgProgram;

/*
 * Shared memory of a pass: a table of records for each process that asks for
 * one.  What a worker has collected is where the session can read it, and
 * nothing is sent but the number of the table.
 */
typedef struct MktgSharedRecords
{
	uint32		magic;
	int32		ntables;
	uint64		table_size;
	pg_atomic_uint32 next;		/* table that is free */
} MktgSharedRecords;

#define MKTG_SHARED_HEADER	4096	/* bytes in front of the first table */

/* What a pass has collected. */
typedef struct MktgCollected
{
	MemoryContext context;
	MktgProgram layout;			/* the header */
	int			width;			/* bytes of a record */
	int			sums_at;		/* where they begin in a record */
	int			counts_at;
	int			bits_at;
	int64		seen;			/* rows */
	char	   *records;
	void	   *memory;			/* what they are in; NULL: shared memory */
	int32		table;			/* of shared memory; -1: none */
} MktgCollected;

#define MKTG_PEAK_OF_MAX(v)	((uint64) (v) - (uint64) PG_INT64_MIN)
#define MKTG_MAX_OF_PEAK(p)	((int64) ((p) + (uint64) PG_INT64_MIN))
#define MKTG_PEAK_OF_MIN(v)	((uint64) PG_INT64_MAX - (uint64) (v))
#define MKTG_MIN_OF_PEAK(p)	((int64) ((uint64) PG_INT64_MAX - (p)))

extern int	mktg_record_width(const MktgProgram *layout);

/* When, after "at", a value crosses a moving bound; PG_INT64_MAX if it has or never does. */
static inline int64
mktg_crosses(int64 value, int64 bound, int64 at)
{
	int64		distance;

	if (value < bound || __builtin_sub_overflow(value, bound, &distance) ||
		__builtin_add_overflow(at, distance, &distance) || distance == PG_INT64_MAX)
		return PG_INT64_MAX;
	return distance + 1;
}

/* Shared memory for n tables of records of a size; NULL where there is not enough. */
extern dsm_segment *mktg_shared_records(int ntables, Size size);

/* A table of it, or NULL if it is not the program's. */
extern char *mktg_shared_table(const MktgProgram *program, int32 table);

/* Where a record has what; from the layout. */
extern void mktg_collected_lay_out(MktgCollected *out);

/*
 * Runs a statement that calls mktg._collect() once and gives what it collected;
 * NULL if there were no rows.
 */
extern MktgCollected *mktg_collect(const char *sql, int nparams, Oid *types, Datum *values);

#endif
