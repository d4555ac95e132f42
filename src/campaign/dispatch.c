/*-------------------------------------------------------------------------
 *
 * dispatch.c
 *		Moves the batches of a day from the plan into the queue.
 *
 * Consent and suppression are asked again: whoever has opted out since the
 * recipients were added becomes "skipped".  The rows of the plan are locked
 * and change status with the move, so a second run, or one at the same time,
 * finds nothing left to do.
 *
 * IDENTIFICATION
 *		src/campaign/dispatch.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "base/base.h"
#include "base/shared.h"
#include "campaign/campaign.h"

static void make_good_missed_days(DateADT today, int64 tenant);

PG_FUNCTION_INFO_V1(mktg_process_daily);

/*
 * SQL: mktg.process_daily(day date DEFAULT NULL, tenant bigint DEFAULT 1)
 *		returns (day, campaigns_processed, messages_queued, messages_skipped)
 *
 * The batches of an earlier day that was missed are planned anew from today
 * on, within the caps; asking for such a day therefore queues nothing.
 * Errors: MK010 tenant, MK035 a later day, 40001 a message changed meanwhile.
 */
Datum
mktg_process_daily(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_BULK_QUERY(
		"WITH batch AS MATERIALIZED (SELECT s.tenant_id, s.campaign_id, s.send_date, s.batch,"
		"   s.from_position, s.to_position, c.channel, c.type"
		"   FROM mktg.send_schedule s JOIN mktg.campaign c ON c.tenant_id = s.tenant_id AND c.campaign_id = s.campaign_id"
		"  WHERE s.tenant_id = $1 AND s.send_date = $2 AND s.status = 'planned' AND c.status = 'active' FOR UPDATE OF s),"
		/* by place, not by key: a join by key, planned on tables nobody has analysed, can be quadratic */
		" due AS MATERIALIZED (SELECT m.ctid AS tid, b.batch, "
		MKTG_SQL_GATE("m", "b", "p") " AS reason"
		"   FROM batch b JOIN mktg.message m ON m.tenant_id = b.tenant_id AND m.campaign_id = b.campaign_id"
		"    AND m.position BETWEEN b.from_position AND b.to_position AND m.status = 'pending'"
		"   LEFT JOIN mktg.contact p ON p.tenant_id = m.tenant_id AND p.contact_id = m.contact_id FOR UPDATE OF m),"
		" moved AS (UPDATE mktg.message m SET send_day = $2, failure_reason = d.reason,"
		"    status = CASE WHEN d.reason IS NULL THEN 'queued' ELSE 'skipped' END,"
		"    queued_at = CASE WHEN d.reason IS NULL THEN $3 END"
		"   FROM due d WHERE m.ctid = d.tid"
		"   RETURNING m.tenant_id, m.campaign_id, m.contact_id, m.ref, m.status, m.send_after, d.batch),"
		" queued AS (INSERT INTO mktg.outbox (tenant_id, campaign_id, contact_id, ref, due)"
		"   SELECT tenant_id, campaign_id, contact_id, ref, greatest(send_after, $3) FROM moved WHERE status = 'queued'),"
		" tally AS (SELECT tenant_id, campaign_id, batch, count(*) FILTER (WHERE status = 'queued')::integer AS queued,"
		"    count(*) FILTER (WHERE status = 'skipped')::integer AS skipped FROM moved GROUP BY 1, 2, 3),"
		" done AS (UPDATE mktg.send_schedule s SET status = 'dispatched', remaining = 0,"
		"    queued = coalesce(t.queued, 0), skipped = coalesce(t.skipped, 0)"
		"   FROM batch b LEFT JOIN tally t ON t.tenant_id = b.tenant_id AND t.campaign_id = b.campaign_id AND t.batch = b.batch"
		"  WHERE s.tenant_id = b.tenant_id AND s.campaign_id = b.campaign_id AND s.send_date = b.send_date AND s.batch = b.batch"
		"  RETURNING s.campaign_id, s.queued, s.skipped)"
		" SELECT count(DISTINCT campaign_id)::integer, coalesce(sum(queued), 0)::bigint, coalesce(sum(skipped), 0)::bigint,"
		"  (SELECT count(*) FROM due) FROM done",
		INT8OID, DATEOID, TIMESTAMPTZOID);
	int64		tenant = mktg_int64_argument(fcinfo, 1, "tenant");
	TimestampTz now = mktg_now();
	DateADT		today;
	DateADT		day;
	int32		campaigns = 0;
	int64		queued = 0;
	int64		skipped = 0;
	Datum		result;

	mktg_begin();
	today = mktg_tenant_day(now, tenant);
	day = PG_ARGISNULL(0) ? today : PG_GETARG_DATEADT(0);
	if (day > today)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_DATE_FUTURE),
				 errmsg("day %s has not come yet",
						DatumGetCString(DirectFunctionCall1(date_out, DateADTGetDatum(day)))),
				 errdetail("Today is %s for tenant " INT64_FORMAT ".",
						   DatumGetCString(DirectFunctionCall1(date_out, DateADTGetDatum(today))), tenant),
				 errhint("Leave the day out for today's batches.")));
	make_good_missed_days(today, tenant);
	if (day == today)
	{
		mktg_call(&query, MKTG_INT64(tenant), MKTG_DATE(day), MKTG_TIME(now));
		campaigns = mktg_int32_at(0, 1);
		queued = mktg_int64_at(0, 2);
		skipped = mktg_int64_at(0, 3);
		/* one that somebody changed after our snapshot cannot be moved in it, and its batch must not pass for done */
		if (queued + skipped < mktg_int64_at(0, 4))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("messages of day %s were changed while it was dispatched",
							DatumGetCString(DirectFunctionCall1(date_out, DateADTGetDatum(day)))),
					 errhint("Nothing was queued; call mktg.process_daily() again.")));
	}
	if (queued > 0)
		mktg_wake_at_commit();
	mktg_complete_campaigns(tenant, now);
	result = mktg_keep_row(fcinfo, (MktgArg[])
						   {
							   MKTG_DATE(day), MKTG_INT32(campaigns), MKTG_INT64(queued), MKTG_INT64(skipped)
						   });
	mktg_end();
	PG_RETURN_DATUM(result);
}

/*
 * Locks the tenant's senders, in order, and plans anew where a day was missed:
 * its batches not dispatched, or not sent.
 */
static void
make_good_missed_days(DateADT today, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT s.sender_id, EXISTS (SELECT FROM mktg.campaign c"
										"  JOIN mktg.send_schedule p ON p.tenant_id = c.tenant_id AND p.campaign_id = c.campaign_id"
										"  WHERE c.tenant_id = s.tenant_id AND c.sender_id = s.sender_id AND c.status = 'active'"
										"   AND p.send_date < $2 AND (p.status = 'planned' OR p.queued > 0 AND EXISTS"
										"    (SELECT FROM mktg.outbox o WHERE o.tenant_id = c.tenant_id"
										"      AND o.campaign_id = c.campaign_id AND o.lease IS NULL)))"
										" FROM mktg.sender s WHERE s.tenant_id = $1"
										" ORDER BY s.sender_id FOR NO KEY UPDATE OF s",
										INT8OID, DATEOID);
	uint64		count = mktg_call(&query, MKTG_INT64(tenant), MKTG_DATE(today));
	SPITupleTable *senders = SPI_tuptable;

	for (uint64 i = 0; i < count; i++)
	{
		int64		sender;

		SPI_tuptable = senders;
		if (!mktg_bool_at(i, 2))
			continue;
		sender = mktg_int64_at(i, 1);
		mktg_recall_overdue(sender, 0, today, tenant);
		mktg_plan_sender(sender, mktg_lock_sender(sender, tenant), 0, today, tenant);
	}
}

/*
 * All recipients of campaign "c" have been dispatched and nothing of it waits.
 * The stream behind mktg.send() was never given a start and has no end.
 */
#define AT_ITS_END \
	"c.status = 'active' AND c.start_date IS NOT NULL" \
	" AND c.last_position = (SELECT max(s.to_position) FROM mktg.send_schedule s" \
	"  WHERE s.tenant_id = c.tenant_id AND s.campaign_id = c.campaign_id AND s.status = 'dispatched')" \
	" AND NOT EXISTS (SELECT FROM mktg.send_schedule s WHERE s.tenant_id = c.tenant_id" \
	"  AND s.campaign_id = c.campaign_id AND s.status = 'planned')" \
	" AND NOT EXISTS (SELECT FROM mktg.outbox o WHERE o.tenant_id = c.tenant_id" \
	"  AND o.campaign_id = c.campaign_id)"

/*
 * Whatever gives a campaign more to send locks its row first.  So the rows are
 * locked, those that others hold left for next time, and asked again.
 */
void
mktg_complete_campaigns(int64 tenant, TimestampTz now)
{
	static MktgQuery lock_query = MKTG_QUERY("SELECT c.tenant_id, c.campaign_id FROM mktg.campaign c"
											 " WHERE ($1 = 0 OR c.tenant_id = $1) AND " AT_ITS_END
											 " FOR NO KEY UPDATE SKIP LOCKED", INT8OID);
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.campaign c SET status = 'completed', ended_at = $3"
										" FROM unnest($1, $2) AS u (tenant_id, campaign_id)"
										" WHERE c.tenant_id = u.tenant_id AND c.campaign_id = u.campaign_id AND " AT_ITS_END,
										INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID);
	static const Oid types[] = {INT8OID, INT8OID};
	MktgColumns ended = MKTG_COLUMNS(types);
	uint64		count = mktg_call(&lock_query, MKTG_INT64(tenant));

	for (uint64 i = 0; i < count; i++)
		mktg_columns_add(&ended, (MktgArg[]) {MKTG_INT64(mktg_int64_at(i, 1)), MKTG_INT64(mktg_int64_at(i, 2))});
	if (count > 0)
		mktg_call(&query, mktg_columns_array(&ended, 0), mktg_columns_array(&ended, 1), MKTG_TIME(now));
}
