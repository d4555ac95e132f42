/*-------------------------------------------------------------------------
 *
 * limits.c
 *		When a campaign's messages are too late to be sent, and when a
 *		campaign stops by itself.
 *
 * IDENTIFICATION
 *		src/campaign/limits.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/numeric.h"

#include "base/base.h"
#include "campaign/campaign.h"

/* fewer messages than these say nothing of a rate */
#define LEAST_SAMPLE	"100"

const Oid	mktg_pause_types[3] = {INT8OID, INT8OID, TEXTOID};

PG_FUNCTION_INFO_V1(mktg_set_delivery_limits);

static void
require_rate(FunctionCallInfo fcinfo, int n, const char *what)
{
	Numeric		rate;

	if (PG_ARGISNULL(n))
		return;
	rate = PG_GETARG_NUMERIC(n);
	if (!numeric_is_nan(rate) &&
		DatumGetBool(DirectFunctionCall2(numeric_gt, NumericGetDatum(rate), NumericGetDatum(int64_to_numeric(0)))) &&
		DatumGetBool(DirectFunctionCall2(numeric_le, NumericGetDatum(rate), NumericGetDatum(int64_to_numeric(1)))))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_LIMIT),
			 errmsg("%s must be greater than 0 and at most 1", what),
			 errdetail("The value given is %s.",
					   DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(rate)))),
			 errhint("Give a share, such as 0.02 for two in a hundred; leave it NULL for no limit.")));
}

/*
 * SQL: mktg.set_delivery_limits(campaign bigint, expires_at timestamptz,
 *		max_age interval, max_bounce_rate numeric, max_complaint_rate numeric,
 *		tenant bigint) returns void
 *
 * Sets all of them; NULL is no limit.
 * Errors: MK010, MK014, MK021 rates, MK024 max_age.
 */
Datum
mktg_set_delivery_limits(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.campaign SET expires_at = $3, max_age = $4, max_bounce_rate = $5,"
										" max_complaint_rate = $6 WHERE tenant_id = $1 AND campaign_id = $2",
										INT8OID, INT8OID, TIMESTAMPTZOID, INTERVALOID, NUMERICOID, NUMERICOID);
	static MktgQuery age_query = MKTG_QUERY("SELECT $1 > '0'", INTERVALOID);
	int64		id = mktg_int64_argument(fcinfo, 0, "campaign");
	int64		tenant = mktg_int64_argument(fcinfo, 5, "tenant");

	mktg_begin();
	mktg_require_campaign(id, tenant);
	require_rate(fcinfo, 3, "max_bounce_rate");
	require_rate(fcinfo, 4, "max_complaint_rate");
	if (!PG_ARGISNULL(2) && (mktg_call(&age_query, MKTG_FCARG(2)), !mktg_bool_at(0, 1)))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("max_age must be more than nothing"),
				 errhint("Give how long a message may wait, such as '10 minutes'; leave it NULL for any time.")));
	mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(id), MKTG_FCARG(1), MKTG_FCARG(2), MKTG_FCARG(3), MKTG_FCARG(4));
	mktg_end();
	PG_RETURN_VOID();
}

/*
 * One whose row somebody holds is left for the next time: the caller may hold
 * its messages.
 */
void
mktg_pause_campaigns(const MktgColumns *campaigns)
{
	static MktgQuery query = MKTG_QUERY(
		"WITH mine AS MATERIALIZED (SELECT c.tenant_id, c.campaign_id, p.reason FROM mktg.campaign c"
		"   JOIN (SELECT tenant_id, campaign_id, min(reason) AS reason FROM unnest($1, $2, $3)"
		"     AS u (tenant_id, campaign_id, reason) GROUP BY 1, 2) p"
		"    ON p.tenant_id = c.tenant_id AND p.campaign_id = c.campaign_id"
		"  WHERE c.status = 'active' FOR NO KEY UPDATE OF c SKIP LOCKED)"
		" UPDATE mktg.campaign c SET status = 'paused', pause_reason = m.reason FROM mine m"
		"  WHERE c.tenant_id = m.tenant_id AND c.campaign_id = m.campaign_id",
		INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID);

	mktg_run_columns(&query, campaigns);
}

/* Those that bounce, or annoy, more than they may. */
void
mktg_pause_over_limits(void)
{
	static MktgQuery query = MKTG_QUERY(
		"SELECT * FROM (SELECT c.tenant_id, c.campaign_id,"
		"    CASE WHEN n.sent + n.bounced >= " LEAST_SAMPLE " AND n.bounced > c.max_bounce_rate * (n.sent + n.bounced)"
		"      THEN format('bounces: %s of %s, over %s', n.bounced, n.sent + n.bounced, c.max_bounce_rate)"
		"     WHEN n.sent >= " LEAST_SAMPLE " AND x.n > c.max_complaint_rate * n.sent"
		"      THEN format('complaints: %s of %s, over %s', x.n, n.sent, c.max_complaint_rate) END AS reason"
		"   FROM mktg.campaign c"
		"  CROSS JOIN LATERAL (SELECT coalesce(sum(k.sent), 0) AS sent, coalesce(sum(k.bounced), 0) AS bounced"
		"     FROM mktg._campaign_count k WHERE k.tenant_id = c.tenant_id AND k.campaign_id = c.campaign_id) n"
		"  CROSS JOIN LATERAL (SELECT count(*) AS n FROM mktg.complaint k"
		"     WHERE c.max_complaint_rate IS NOT NULL AND k.tenant_id = c.tenant_id AND k.campaign_id = c.campaign_id) x"
		"  WHERE c.status = 'active' AND (c.max_bounce_rate IS NOT NULL OR c.max_complaint_rate IS NOT NULL)) o"
		" WHERE o.reason IS NOT NULL");
	MktgColumns over = MKTG_COLUMNS(mktg_pause_types);
	uint64		count = mktg_run(&query, NULL);

	for (uint64 i = 0; i < count; i++)
		mktg_columns_add(&over, (MktgArg[])
						 {
							 MKTG_INT64(mktg_int64_at(i, 1)), MKTG_INT64(mktg_int64_at(i, 2)), MKTG_TEXT(mktg_text_at(i, 3))
						 });
	mktg_pause_campaigns(&over);
}
