/*-------------------------------------------------------------------------
 *
 * record.c
 *		Records what became of leased messages.
 *
 * Every write compares the lease token first: a record that comes after the
 * lease was taken away changes nothing.
 *
 * IDENTIFICATION
 *		src/worker/record.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "campaign/campaign.h"
#include "worker/claim.h"

static const Oid record_types[] = {
	INT8OID, INT8OID, INT8OID, TEXTOID, INT8OID,	/* key and lease */
	INT2OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID
};

#define ROW_TYPES	INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, INT8ARRAYOID, \
	INT2ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID

/*
 * Each row is looked up by its key and then taken by its place.  In a plain join
 * the planner, which takes a queue that was empty when last vacuumed for empty,
 * would read all of it for every batch.
 */
#define ROWS_CTE	"WITH r AS MATERIALIZED (SELECT r.*, q.tid FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)" \
	" AS r (tenant_id, campaign_id, contact_id, ref, lease, attempt, status, at, due, provider_id, reason)" \
	" CROSS JOIN LATERAL (SELECT o.ctid AS tid FROM mktg.outbox o WHERE o.tenant_id = r.tenant_id" \
	"  AND o.campaign_id = r.campaign_id AND o.contact_id = r.contact_id AND o.ref = r.ref AND o.lease = r.lease LIMIT 1) q)"

static const char *
status_of(MktgRecordKind kind)
{
	switch (kind)
	{
		case MKTG_RECORD_SENT:
			return "sent";
		case MKTG_RECORD_FAILED:
			return "failed";
		case MKTG_RECORD_BOUNCED:
			return "bounced";
		case MKTG_RECORD_IN_DOUBT:
			return "in_doubt";
		case MKTG_RECORD_RETRY:
		case MKTG_RECORD_RELEASE:
			break;
	}
	return NULL;
}

static void
add_row(MktgColumns *rows, const MktgRecord *record)
{
	int			attempt = record->attempt - (record->kind == MKTG_RECORD_RELEASE ? 1 : 0);

	mktg_columns_add(rows, (MktgArg[])
					 {
						 MKTG_INT64(record->tenant_id), MKTG_INT64(record->campaign_id),
						 MKTG_INT64(record->contact_id), MKTG_TEXT(record->ref), MKTG_INT64(record->lease),
						 MKTG_ARG(Int16GetDatum(attempt)), MKTG_TEXT(status_of(record->kind)),
						 MKTG_TIME(record->at), MKTG_TIME(record->due),
						 MKTG_TEXT(record->provider_id), MKTG_TEXT(record->reason)
					 });
}

uint64
mktg_record(const MktgRecord *records, int n)
{
	/* a report may have come first: the status only moves forward, the times are ours to add */
	static MktgQuery end_query = MKTG_QUERY(
		ROWS_CTE ", gone AS (DELETE FROM mktg.outbox o USING r WHERE o.ctid = r.tid AND o.lease = r.lease RETURNING r.*),"
		" rate AS (INSERT INTO mktg.delivery_rate AS d (tenant_id, campaign_id, minute, ended)"
		"   SELECT tenant_id, campaign_id, date_trunc('minute', clock_timestamp()), count(*) FROM gone GROUP BY 1, 2 ORDER BY 1, 2"
		"   ON CONFLICT (tenant_id, campaign_id, minute) DO UPDATE SET ended = d.ended + excluded.ended)"
		" UPDATE mktg.message m SET attempts = g.attempt,"
		"   status = CASE WHEN m.status = 'queued' OR " MKTG_SQL_MOVES("m.status", "g.status") " THEN g.status ELSE m.status END,"
		"   sent_at = CASE g.status WHEN 'sent' THEN coalesce(m.sent_at, g.at) ELSE m.sent_at END,"
		"   failed_at = CASE WHEN g.status <> 'sent' AND m.status = 'queued' THEN g.at ELSE m.failed_at END,"
		"   failure_reason = CASE WHEN g.status <> 'sent' AND m.status = 'queued' THEN g.reason ELSE m.failure_reason END,"
		"   provider_message_id = coalesce(g.provider_id, m.provider_message_id)"
		"  FROM gone g WHERE m.tenant_id = g.tenant_id AND m.campaign_id = g.campaign_id"
		"   AND m.contact_id = g.contact_id AND m.ref = g.ref", ROW_TYPES);
	static MktgQuery wait_query = MKTG_QUERY(
		ROWS_CTE " UPDATE mktg.outbox o SET lease = NULL, worker = NULL, due = r.due, attempt = r.attempt"
		"  FROM r WHERE o.ctid = r.tid AND o.lease = r.lease", ROW_TYPES);
	MktgColumns ended = MKTG_COLUMNS(record_types);
	MktgColumns waiting = MKTG_COLUMNS(record_types);

	for (int i = 0; i < n; i++)
		add_row(status_of(records[i].kind) != NULL ? &ended : &waiting, &records[i]);
	return mktg_run_columns(&end_query, &ended) + mktg_run_columns(&wait_query, &waiting);
}

void
mktg_recover(int worker, TimestampTz now)
{
	/*
	 * One reading of the queue, which may be long, in the order of its pages: an
	 * inner query that locks is planned apart, and so by no index.
	 */
	static MktgQuery query = MKTG_BULK_QUERY(
		"WITH dead AS MATERIALIZED (SELECT o.tid, o.tenant_id, o.campaign_id, o.contact_id, o.ref, o.deaths, o.attempt,"
		"    " MKTG_SQL_ON_DOUBT("c", "s") " AS on_doubt"
		"   FROM (SELECT ctid AS tid, * FROM mktg.outbox WHERE lease IS NOT NULL AND worker = $1 FOR UPDATE) o"
		"   JOIN mktg.campaign c ON c.tenant_id = o.tenant_id AND c.campaign_id = o.campaign_id"
		"   LEFT JOIN mktg.sender s ON s.tenant_id = c.tenant_id AND s.sender_id = c.sender_id),"
		" again AS (UPDATE mktg.outbox o SET lease = NULL, worker = NULL, due = $2, deaths = d.deaths + 1"
		"   FROM dead d WHERE d.on_doubt = 'retry' AND d.deaths = 0 AND o.ctid = d.tid),"
		" gone AS (DELETE FROM mktg.outbox o USING dead d WHERE (d.on_doubt = 'hold' OR d.deaths > 0) AND o.ctid = d.tid"
		"   RETURNING d.*)"
		" UPDATE mktg.message m SET attempts = g.attempt, failed_at = $2,"
		"   status = CASE g.on_doubt WHEN 'hold' THEN 'in_doubt' ELSE 'failed' END,"
		"   failure_reason = CASE g.on_doubt WHEN 'hold' THEN 'worker died while it was under way'"
		"    ELSE 'quarantined: two workers died with it' END"
		"  FROM gone g WHERE m.tenant_id = g.tenant_id AND m.campaign_id = g.campaign_id"
		"   AND m.contact_id = g.contact_id AND m.ref = g.ref AND m.status = 'queued'",
		INT2OID, TIMESTAMPTZOID);

	mktg_call(&query, MKTG_ARG(Int16GetDatum(worker)), MKTG_TIME(now));
}

void
mktg_sweep_cancelled(void)
{
	/* from the campaigns to their rows, whatever the planner takes the queue for */
	static MktgQuery query = MKTG_QUERY(
		"WITH w AS MATERIALIZED (SELECT o.tid FROM mktg.campaign c CROSS JOIN LATERAL (SELECT q.ctid AS tid FROM mktg.outbox q"
		"    WHERE q.tenant_id = c.tenant_id AND q.campaign_id = c.campaign_id AND q.lease IS NULL OFFSET 0) o"
		"   WHERE c.status = 'cancelled'),"
		" gone AS (DELETE FROM mktg.outbox o USING w WHERE o.ctid = w.tid AND o.lease IS NULL"
		"   RETURNING o.tenant_id, o.campaign_id, o.contact_id, o.ref)"
		" UPDATE mktg.message m SET status = 'cancelled' FROM gone g"
		"  WHERE m.tenant_id = g.tenant_id AND m.campaign_id = g.campaign_id AND m.contact_id = g.contact_id"
		"   AND m.ref = g.ref AND m.status = 'queued'");

	mktg_run(&query, NULL);
}
