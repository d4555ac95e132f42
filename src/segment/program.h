/*-------------------------------------------------------------------------
 *
 * program.h
 *		Making programs: which facts the leaves of one source need.
 *
 * IDENTIFICATION
 *		src/segment/program.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_SEGMENT_PROGRAM_H
#define MKTG_SEGMENT_PROGRAM_H

#include "segment/collect.h"

/* How the answer of a leaf is read from a record. */
typedef struct MktgReading
{
	MktgLeaf   *leaf;
	int			fact;			/* in the program; -1: the leaf is not for a pass */
	int			other;			/* BOOL_AND, BOOL_OR: whether any is false */
	bool		negate;			/* ANY: passes if there are none */
	int64	   *scaled;			/* AVG: the test's numbers times "scale" */
	int64		scale;
} MktgReading;

/* A program being made for one source. */
typedef struct MktgProgramMaker
{
	const MktgSource *source;
	MktgStatement statement;	/* holds parameters of inputs */
	MktgProgram header;
	StringInfoData inputs;		/* SQL, each after ", " */
	List	   *input_sqls;
	MktgProgramValue values[MKTG_MAX_VALUES];
	MktgProgramCond conds[MKTG_MAX_CONDS];
	MktgProgramFact facts[MKTG_MAX_FACTS];
	StringInfoData ranges;
	StringInfoData constants;
	StringInfoData keys;
	StringInfoData code;
	StringInfoData strings;
	bool		full;			/* something did not fit; what was asked last has no place */
} MktgProgramMaker;

extern void mktg_program_begin(MktgProgramMaker *maker, const MktgSource *source, const MktgCompiled *compiled);

/*
 * Adds what a leaf needs; false, and nothing added that matters, if it is not
 * for a pass or there is no room.
 */
extern bool mktg_program_add(MktgProgramMaker *maker, MktgLeaf *leaf, MktgReading *reading);

/* For the flips of a leaf that is not for a pass: the moving bounds of its rows' times. */
extern bool mktg_program_watch(MktgProgramMaker *maker, const MktgLeaf *leaf);

/* All is added: a program that looks at nothing of a row is given something, for VARIADIC takes no less. */
extern void mktg_program_end(MktgProgramMaker *maker);

/* The program as a parameter, about these contacts, with records in shared memory unless that is DSM_HANDLE_INVALID. */
extern Datum mktg_program_write(MktgProgramMaker *maker, const int64 *ids, int64 nids, dsm_handle shared);

#endif
