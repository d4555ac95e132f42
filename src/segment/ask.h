/*-------------------------------------------------------------------------
 *
 * ask.h
 *		What the entry points about rules share.
 *
 * IDENTIFICATION
 *		src/segment/ask.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_SEGMENT_ASK_H
#define MKTG_SEGMENT_ASK_H

#include "fmgr.h"

#include "segment/segment.h"

extern Jsonb *mktg_rules_argument(FunctionCallInfo fcinfo, int n);
extern TimestampTz mktg_at_argument(FunctionCallInfo fcinfo, int n);

/* Runs a statement read-only; "again": it will come again with other values. */
extern uint64 mktg_statement_run(MktgStatement *statement, bool again);

/* "SELECT columns" of the contacts the rules mean. */
extern void mktg_select_contacts(MktgStatement *statement, const MktgCompiled *compiled, const char *columns);

/* Does reading every source once cost less than the statement? */
extern bool mktg_pass_is_cheaper(MktgCompiled *compiled);

/* How many contacts the rules mean, the cheaper way. */
extern int64 mktg_count_matching(MktgCompiled *compiled);

#endif
