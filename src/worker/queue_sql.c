/*-------------------------------------------------------------------------
 *
 * queue_sql.c
 *		Claim and record as SQL functions, for tests of races and for looking
 *		at the queue the way the worker does.
 *
 * IDENTIFICATION
 *		src/worker/queue_sql.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "campaign/campaign.h"
#include "worker/claim.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(mktg_claim_sql);
PG_FUNCTION_INFO_V1(mktg_record_sql);

/*
 * SQL: mktg._claim(worker smallint, most integer) returns setof (message, lease, attempt)
 */
Datum
mktg_claim_sql(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MktgClaim	claim = {.lease = (int64) (pg_prng_uint64(&pg_global_prng_state) >> 1)};
	int			most = PG_ARGISNULL(1) ? 1 : PG_GETARG_INT32(1);

	InitMaterializedSRF(fcinfo, 0);
	mktg_begin();
	mktg_pause_over_limits();
	mktg_claim_lanes(&claim, 0);
	if (claim.nlanes > 0)
		mktg_claim_rows(&claim, PG_ARGISNULL(0) ? 1 : PG_GETARG_INT16(0), most, false);
	for (int n = 0; n < claim.nleased; n++)
	{
		uint64		i = claim.leased[n];
		const MktgLane *lane = &claim.lanes[mktg_int32_at(i, MKTG_CLAIMED_LANE) - 1];
		MktgMessageKey key = {
			lane->tenant_id, lane->campaign_id,
			mktg_int64_at(i, MKTG_CLAIMED_CONTACT), mktg_text_at(i, MKTG_CLAIMED_REF)
		};
		Datum		values[3] = {
			CStringGetTextDatum(mktg_message_id(&key)), Int64GetDatum(claim.lease),
			Int32GetDatum(mktg_int32_at(i, MKTG_CLAIMED_ATTEMPT))
		};
		bool		nulls[3] = {false, false, false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	mktg_end();
	PG_RETURN_NULL();
}

/*
 * SQL: mktg._record(message text, lease bigint, outcome text, reason text) returns boolean
 *
 * Outcomes: sent, failed, bounced, in_doubt, retry, release.
 */
Datum
mktg_record_sql(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("SELECT attempt::integer FROM mktg.outbox WHERE tenant_id = $1 AND campaign_id = $2"
										" AND contact_id = $3 AND ref = $4 AND lease = $5",
										INT8OID, INT8OID, INT8OID, TEXTOID, INT8OID);
	static const char *const outcomes[] = {"sent", "failed", "bounced", "in_doubt", "retry", "release"};
	char	   *id = mktg_text_argument(fcinfo, 0, "message");
	char	   *outcome = mktg_text_argument(fcinfo, 2, "outcome");
	TimestampTz now = mktg_now();
	MktgRecord	record = {
		.lease = mktg_int64_argument(fcinfo, 1, "lease"), .at = now, .due = now,
		.reason = mktg_optional_text(fcinfo, 3)
	};
	MktgMessageKey key;
	uint64		count;
	int			kind = 0;

	while (kind < lengthof(outcomes) && strcmp(outcome, outcomes[kind]) != 0)
		kind++;
	if (kind == lengthof(outcomes) || !mktg_parse_message_id(id, &key))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_UNKNOWN_STATUS),
				 errmsg("there is no such message or outcome"),
				 errhint("Outcomes are sent, failed, bounced, in_doubt, retry and release.")));
	record.kind = (MktgRecordKind) kind;
	record.tenant_id = key.tenant_id;
	record.campaign_id = key.campaign_id;
	record.contact_id = key.contact_id;
	record.ref = key.ref;
	mktg_begin();
	if (mktg_call(&query, MKTG_INT64(key.tenant_id), MKTG_INT64(key.campaign_id), MKTG_INT64(key.contact_id),
				  MKTG_TEXT(key.ref), MKTG_INT64(record.lease)) > 0)
		record.attempt = mktg_int32_at(0, 1);
	count = mktg_record(&record, 1);
	mktg_end();
	PG_RETURN_BOOL(count > 0);
}
