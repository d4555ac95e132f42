/*-------------------------------------------------------------------------
 *
 * rfm.h
 *		RFM scores: from purchases to mktg.rfm_score.
 *
 * IDENTIFICATION
 *		src/rfm/rfm.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_RFM_H
#define MKTG_RFM_H

#include "postgres.h"

#include "utils/rel.h"

#include "base/base.h"
#include "core/rfm.h"

/*
 * Facts of the tenant's contacts, in the order of contact_id; gives their number.
 * recency_days is the local day of the last purchase, as a DateADT.
 */
extern size_t mktg_rfm_collect(int64 tenant, TimestampTz from, TimestampTz at,
							   const char *time_zone, const char *currency, MktgRfm **contacts);

/* The table of scores, which nobody else writes until the transaction ends; to be closed. */
extern Relation mktg_rfm_lock_scores(void);

/* Puts the scores of a tenant in place of those it has; gives how many went and came. */
extern uint64 mktg_rfm_store(Relation table, int64 tenant, const MktgRfm *contacts, size_t n);

#endif
