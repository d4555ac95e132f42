/*-------------------------------------------------------------------------
 *
 * stats.h
 *		Counters of messages.
 *
 * A counter row belongs to a campaign, variant, day and slot.  Each session
 * adds to rows of its own slot, so that no two writers queue behind one row;
 * slot 0 is for housekeeping, which folds past days into it.
 *
 * IDENTIFICATION
 *		src/stats/stats.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_STATS_H
#define MKTG_STATS_H

#include "postgres.h"

#include "common/hashfn.h"
#include "storage/itemptr.h"
#include "utils/date.h"
#include "utils/relcache.h"

/*
 * Every counter, in the order of the table's columns: the statuses, of which
 * a message counts under its own, and the events it had.
 */
#define MKTG_STATUS_COUNTERS	10
#define MKTG_EVENT_COUNTERS		4
#define MKTG_COUNTERS			(MKTG_STATUS_COUNTERS + MKTG_EVENT_COUNTERS)

#define MKTG_EACH_STATUS(X) \
	X("pending") X("queued") X("sent") X("delivered") X("read") \
	X("failed") X("bounced") X("skipped") X("cancelled") X("in_doubt")
#define MKTG_EACH_EVENT(X) \
	X("opened") X("clicked") X("converted") X("unsubscribed")
#define MKTG_EACH_COUNTER(X)	MKTG_EACH_STATUS(X) MKTG_EACH_EVENT(X)

typedef struct MktgCountKey
{
	int64		tenant_id;
	int64		campaign_id;
	DateADT		day;			/* -infinity: no day yet */
	int16		variant;
} MktgCountKey;

/* What is to be added to the counters of a key. */
typedef struct MktgCount
{
	MktgCountKey key;
	char		status;			/* the hash table's */
	int64		delta[MKTG_COUNTERS];
} MktgCount;

static inline uint32
mktg_hash_count_key(MktgCountKey key)
{
	uint32		h = murmurhash32((uint32) key.campaign_id ^ (uint32) (key.campaign_id >> 32));

	h = hash_combine(h, murmurhash32((uint32) key.tenant_id ^ (uint32) (key.tenant_id >> 32)));
	h = hash_combine(h, murmurhash32((uint32) key.day));
	return hash_combine(h, murmurhash32((uint32) key.variant));
}

static inline bool
mktg_same_count_key(MktgCountKey a, MktgCountKey b)
{
	return a.campaign_id == b.campaign_id && a.day == b.day &&
		a.variant == b.variant && a.tenant_id == b.tenant_id;
}

/* ---- add.c ---- */

/* The session's own slot, from 1. */
extern int32 mktg_stat_slot(void);

/* Adds to the table "schema.table" in the session's slot, with the rights of "owner". */
extern void mktg_add_counts(const char *table, Oid owner, MktgCount **counts, int n);

/* Empties it. */
extern void mktg_empty_counts(const char *table, Oid owner);

/* ---- direct.c ---- */

/* May rows of the table be updated directly? */
extern bool mktg_is_direct(Relation table, Oid owner);

/* Remembers where the row of a key and the session's slot is. */
extern void mktg_remember_place(Oid table, const MktgCountKey *key, ItemPointer tid);

/* Adds to the row remembered; false, and nothing done, if it is not there. */
extern bool mktg_add_directly(Relation table, const MktgCount *count);

/* ---- rebuild.c ---- */

/* Folds the slots of past days into slot 0.  Within SPI. */
extern void mktg_fold_stats(void);

#endif
