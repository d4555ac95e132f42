/*-------------------------------------------------------------------------
 *
 * rebuild.c
 *		Counts a campaign's messages anew, and folds the counters of past days.
 *
 * Both write slot 0, which no session's statements write: they wait for
 * nobody who writes messages.  Both add differences instead of setting
 * values, so that what sessions add meanwhile stays.
 *
 * IDENTIFICATION
 *		src/stats/rebuild.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lock.h"

#include "base/base.h"
#include "base/compat.h"
#include "campaign/campaign.h"
#include "stats/stats.h"

/* The fourth field of the tag; pg_advisory_lock() and its kin use 1 and 2. */
#define LOCK_SPACE	78

/* What the statements say of each counter. */
#define NAME(counter)			", " counter
#define SUM(counter)			", sum(" counter ") AS " counter
#define IS_COUNTED(counter)		" OR " counter " <> 0"
#define OF_STATUS(counter)		", count(*) FILTER (WHERE status = '" counter "') AS " counter
#define OF_EVENT(counter)		", count(" counter "_at) AS " counter
#define DIFFERENCE(counter) \
	", (coalesce(m." counter ", 0) - coalesce(k." counter ", 0))::bigint AS " counter
#define IS_WRONG(counter)		" + (" counter " <> 0)::integer"
#define ADD(counter)			counter " = s." counter " + excluded." counter ", "

#define INTO_SLOT_0 \
	" INSERT INTO mktg.campaign_stat AS s (tenant_id, campaign_id, variant, day, slot" \
	MKTG_EACH_COUNTER(NAME) ")"
#define OR_ADD \
	" ON CONFLICT (tenant_id, campaign_id, variant, day, slot) DO UPDATE SET " \
	MKTG_EACH_COUNTER(ADD) "slot = 0"

static void lock_rebuild(int64 campaign, int64 tenant);

PG_FUNCTION_INFO_V1(mktg_rebuild_stats);

/*
 * SQL: mktg.rebuild_stats(campaign bigint, tenant bigint DEFAULT 1) returns bigint
 *
 * One statement: in its snapshot messages and counters belong together, as
 * every transaction changes both, so writers need not be kept out.
 * Errors: MK010 unknown tenant, MK014 unknown campaign.
 */
Datum
mktg_rebuild_stats(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_BULK_QUERY(
		"WITH counted AS ("
		"SELECT variant, coalesce(send_day, '-infinity') AS day"
		MKTG_EACH_STATUS(OF_STATUS) MKTG_EACH_EVENT(OF_EVENT)
		" FROM mktg.message WHERE tenant_id = $1 AND campaign_id = $2 GROUP BY 1, 2),"
		" kept AS ("
		"SELECT variant, day" MKTG_EACH_COUNTER(SUM)
		" FROM mktg.campaign_stat WHERE tenant_id = $1 AND campaign_id = $2 GROUP BY 1, 2),"
		" difference AS ("
		"SELECT variant, day" MKTG_EACH_COUNTER(DIFFERENCE)
		" FROM counted m FULL JOIN kept k USING (variant, day)),"
		" wrong AS MATERIALIZED ("
		"SELECT *, 0" MKTG_EACH_COUNTER(IS_WRONG) " AS counters FROM difference),"
		" mended AS ("
		INTO_SLOT_0
		" SELECT $1, $2, variant, day, 0" MKTG_EACH_COUNTER(NAME)
		" FROM wrong WHERE counters > 0 ORDER BY variant, day"
		OR_ADD ")"
		" SELECT coalesce(sum(counters), 0)::bigint FROM wrong",
		INT8OID, INT8OID);
	int64		campaign = mktg_int64_argument(fcinfo, 0, "campaign");
	int64		tenant = mktg_int64_argument(fcinfo, 1, "tenant");
	int64		wrong;

	mktg_begin();
	mktg_require_campaign(campaign, tenant);
	lock_rebuild(campaign, tenant);
	mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(campaign));
	wrong = mktg_int64_at(0, 1);
	mktg_end();
	PG_RETURN_INT64(wrong);
}

/*
 * Two at once would find the same difference and add it twice.  The second
 * waits here, before its statement's snapshot; in a transaction with an older
 * snapshot it fails to serialize when it comes upon the first one's row.
 */
static void
lock_rebuild(int64 campaign, int64 tenant)
{
	LOCKTAG		tag;
	uint64		key = hash_combine64((uint64) tenant, (uint64) campaign);

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key, LOCK_SPACE);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/*
 * Rows of days before yesterday, and of messages without a day, go into slot
 * 0; what a session has in hand is left for the next time.  Yesterday is
 * UTC's: of a day that ends later somewhere, only the cost differs.
 */
void
mktg_fold_stats(void)
{
	static MktgQuery query = MKTG_BULK_QUERY(
		"WITH past AS MATERIALIZED ("
		"SELECT tenant_id, campaign_id, variant, day, slot FROM mktg.campaign_stat"
		" WHERE day < ($1 AT TIME ZONE 'UTC')::date - 1 AND slot <> 0 FOR UPDATE SKIP LOCKED),"
		" gone AS ("
		"DELETE FROM mktg.campaign_stat s USING past p"
		" WHERE s.tenant_id = p.tenant_id AND s.campaign_id = p.campaign_id"
		" AND s.variant = p.variant AND s.day = p.day AND s.slot = p.slot RETURNING s.*)"
		INTO_SLOT_0
		" SELECT tenant_id, campaign_id, variant, day, 0" MKTG_EACH_COUNTER(NAME)
		" FROM (SELECT tenant_id, campaign_id, variant, day" MKTG_EACH_COUNTER(SUM)
		" FROM gone GROUP BY 1, 2, 3, 4) n"
		" WHERE false" MKTG_EACH_COUNTER(IS_COUNTED)
		" ORDER BY 1, 2, 3, 4"
		OR_ADD,
		TIMESTAMPTZOID);

	mktg_call(&query, MKTG_TIME(mktg_now()));
}
