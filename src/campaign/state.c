/*-------------------------------------------------------------------------
 *
 * state.c
 *		Takes campaigns from one state to the next: activate, pause, resume,
 *		cancel.
 *
 * The states and what leads from one to another are in campaign.c, whose
 * trigger holds them against everybody; the days are laid in plan.c.
 *
 * IDENTIFICATION
 *		src/campaign/state.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/base.h"
#include "base/shared.h"
#include "campaign/campaign.h"

static void require_activatable(const MktgCampaign *campaign, int64 sender);
static void require_own_channel(const MktgCampaign *campaign);
static void require_start(DateADT start, DateADT today, int64 tenant);
static char *day_text(DateADT day);

PG_FUNCTION_INFO_V1(mktg_activate_campaign);
PG_FUNCTION_INFO_V1(mktg_pause_campaign);
PG_FUNCTION_INFO_V1(mktg_resume_campaign);
PG_FUNCTION_INFO_V1(mktg_cancel_campaign);

/*
 * SQL: mktg.activate_campaign(campaign bigint, start_date date DEFAULT NULL,
 *		tenant bigint DEFAULT 1) returns (campaign_id, status,
 *		recipients_scheduled, daily_limit, estimated_days,
 *		estimated_completion_date)
 *
 * Errors: MK014 unknown, MK015 no sender, MK021 plan too long, MK030 no
 * recipients, MK031 no template, MK032 template of another channel, MK033 not
 * a draft, MK034 start in the past, MK035 start too far ahead.
 */
Datum
mktg_activate_campaign(PG_FUNCTION_ARGS)
{
	static MktgQuery sender_query = MKTG_QUERY("SELECT sender_id, channel FROM mktg.campaign"
											   " WHERE tenant_id = $1 AND campaign_id = $2", INT8OID, INT8OID);
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.campaign SET status = 'active', start_date = $3,"
										" activated_at = $5, sender_id = $4"
										" WHERE tenant_id = $1 AND campaign_id = $2",
										INT8OID, INT8OID, DATEOID, INT8OID, TIMESTAMPTZOID);
	static MktgQuery plan_query = MKTG_QUERY("SELECT sum(batch_size)::bigint, count(DISTINCT send_date)::integer, max(send_date)"
											 " FROM mktg.send_schedule WHERE tenant_id = $1 AND campaign_id = $2"
											 " AND status = 'planned'", INT8OID, INT8OID);
	int64		id = mktg_int64_argument(fcinfo, 0, "campaign");
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");
	MktgCampaign campaign;
	DateADT		today;
	DateADT		start;
	int64		sender;
	int32		sender_limit;
	int32		limit;
	bool		isnull;
	Datum		result;

	mktg_begin();
	mktg_require_campaign(id, tenant);
	today = mktg_tenant_day(mktg_now(), tenant);
	start = PG_ARGISNULL(1) ? today + 1 : PG_GETARG_DATEADT(1);
	mktg_call(&sender_query, MKTG_INT64(tenant), MKTG_INT64(id));
	sender = mktg_int64_at(0, 1);
	if (sender == 0)
		sender = mktg_find_sender(NULL, mktg_text_at(0, 2), tenant);
	sender_limit = mktg_lock_sender(sender, tenant);
	mktg_lock_campaign(id, tenant, &campaign);
	require_activatable(&campaign, sender);
	require_start(start, today, tenant);

	mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(id), MKTG_DATE(start),
			  MKTG_INT64(sender), MKTG_TIME(mktg_now()));
	mktg_plan_sender(sender, sender_limit, id, today, tenant);
	mktg_call(&plan_query, MKTG_INT64(tenant), MKTG_INT64(id));
	limit = campaign.daily_limit == 0 ? sender_limit :
		sender_limit == 0 ? campaign.daily_limit : Min(campaign.daily_limit, sender_limit);
	result = mktg_keep_row(fcinfo, (MktgArg[])
						   {
							   MKTG_INT64(id), MKTG_TEXT("active"),
							   MKTG_INT64(mktg_int64_at(0, 1)),
							   limit == 0 ? MKTG_NULL : MKTG_INT32(limit),
							   MKTG_INT32(mktg_int32_at(0, 2)),
							   MKTG_ARG(mktg_value_at(0, 3, &isnull))
						   });
	mktg_end();
	PG_RETURN_DATUM(result);
}

static void
require_activatable(const MktgCampaign *campaign, int64 sender)
{
	if (strcmp(campaign->status, "draft") != 0)
		mktg_refuse_transition(campaign, "activated");
	if (campaign->last_position == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_NO_RECIPIENTS),
				 errmsg("campaign " INT64_FORMAT " has no recipients", campaign->campaign_id),
				 errhint("Add some with mktg.add_recipients() or mktg.add_all_contacts().")));
	if (campaign->template_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_NO_TEMPLATE),
				 errmsg("campaign " INT64_FORMAT " has no template", campaign->campaign_id),
				 errhint("Make one of channel %s with mktg.create_template() and set campaign.template_id, "
						 "or name it in mktg.create_campaign().", campaign->channel)));
	if (sender == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_UNKNOWN_SENDER),
				 errmsg("there is no sender for channel %s", campaign->channel),
				 errhint("mktg.set_sender() makes one.")));
	require_own_channel(campaign);
}

/* template_id may have been set by hand */
static void
require_own_channel(const MktgCampaign *campaign)
{
	static MktgQuery query = MKTG_QUERY("SELECT name, channel FROM mktg.template WHERE tenant_id = $1"
										" AND template_id = $2 AND channel <> $3", INT8OID, INT8OID, TEXTOID);

	if (mktg_call(&query, MKTG_INT64(campaign->tenant_id), MKTG_INT64(campaign->template_id),
				  MKTG_TEXT(campaign->channel)) > 0)
		mktg_refuse_other_channel("template", mktg_text_at(0, 1), mktg_text_at(0, 2), campaign->channel);
}

static void
require_start(DateADT start, DateADT today, int64 tenant)
{
	if (start < today)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_DATE_PAST),
				 errmsg("a campaign cannot start in the past"),
				 errdetail("The start is %s and today is %s for tenant " INT64_FORMAT ".",
						   day_text(start), day_text(today), tenant),
				 errhint("Start today or later; NULL means tomorrow.")));
	if (start > today + MKTG_MAX_PLAN_DAYS)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_DATE_FUTURE),
				 errmsg("a campaign cannot start more than %d days ahead", MKTG_MAX_PLAN_DAYS),
				 errdetail("The start is %s and today is %s for tenant " INT64_FORMAT ".",
						   day_text(start), day_text(today), tenant),
				 errhint("Choose an earlier day; NULL means tomorrow.")));
}

static char *
day_text(DateADT day)
{
	return DatumGetCString(DirectFunctionCall1(date_out, DateADTGetDatum(day)));
}

/*
 * SQL: mktg.pause_campaign(campaign bigint, tenant bigint DEFAULT 1) returns text
 *
 * The next claim passes the campaign by.  Its place in the sender's days is
 * free for others until it is resumed.  Errors: MK014, MK033 not active.
 */
Datum
mktg_pause_campaign(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.campaign SET status = 'paused', pause_reason = NULL"
										" WHERE tenant_id = $1 AND campaign_id = $2", INT8OID, INT8OID);
	int64		id = mktg_int64_argument(fcinfo, 0, "campaign");
	int64		tenant = mktg_int64_argument(fcinfo, 1, "tenant");
	MktgCampaign campaign;

	mktg_begin();
	mktg_lock_campaign(id, tenant, &campaign);
	if (strcmp(campaign.status, "active") != 0)
		mktg_refuse_transition(&campaign, "paused");
	mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(id));
	mktg_end();
	PG_RETURN_TEXT_P(cstring_to_text("paused"));
}

/*
 * SQL: mktg.resume_campaign(campaign bigint, tenant bigint DEFAULT 1) returns text
 *
 * Errors: MK014, MK033 not paused.
 */
Datum
mktg_resume_campaign(PG_FUNCTION_ARGS)
{
	static MktgQuery sender_query = MKTG_QUERY("SELECT coalesce(sender_id, 0) FROM mktg.campaign"
											   " WHERE tenant_id = $1 AND campaign_id = $2", INT8OID, INT8OID);
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.campaign SET status = 'active', pause_reason = NULL"
										" WHERE tenant_id = $1 AND campaign_id = $2", INT8OID, INT8OID);
	int64		id = mktg_int64_argument(fcinfo, 0, "campaign");
	int64		tenant = mktg_int64_argument(fcinfo, 1, "tenant");
	MktgCampaign campaign;
	DateADT		today;
	int32		sender_limit;
	int64		sender;

	mktg_begin();
	mktg_require_campaign(id, tenant);
	mktg_call(&sender_query, MKTG_INT64(tenant), MKTG_INT64(id));
	sender = mktg_int64_at(0, 1);
	/* the sender before its campaigns, as everywhere */
	sender_limit = mktg_lock_sender(sender, tenant);
	mktg_lock_campaign(id, tenant, &campaign);
	if (strcmp(campaign.status, "paused") != 0)
		mktg_refuse_transition(&campaign, "resumed");
	mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(id));
	today = mktg_tenant_day(mktg_now(), tenant);
	mktg_recall_overdue(sender, sender_limit > 0 ? 0 : id, today, tenant);
	mktg_plan_sender(sender, sender_limit, id, today, tenant);
	mktg_wake_at_commit();
	mktg_end();
	PG_RETURN_TEXT_P(cstring_to_text("active"));
}

/*
 * SQL: mktg.cancel_campaign(campaign bigint, tenant bigint DEFAULT 1) returns text
 *
 * What waits becomes cancelled; what the worker holds ends as it ends.
 * Errors: MK014, MK033 completed or cancelled already.
 */
Datum
mktg_cancel_campaign(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.campaign SET status = 'cancelled', ended_at = $3"
										" WHERE tenant_id = $1 AND campaign_id = $2", INT8OID, INT8OID, TIMESTAMPTZOID);
	static MktgQuery plan_query = MKTG_QUERY("UPDATE mktg.send_schedule SET status = 'cancelled'"
											 " WHERE tenant_id = $1 AND campaign_id = $2 AND status = 'planned'",
											 INT8OID, INT8OID);

	/* a leased row is the worker's: its message stays queued until it reports */
	static MktgQuery message_query = MKTG_BULK_QUERY("WITH gone AS (DELETE FROM mktg.outbox"
													 "  WHERE tenant_id = $1 AND campaign_id = $2 AND lease IS NULL"
													 "  RETURNING contact_id, ref)"
													 " UPDATE mktg.message m SET status = 'cancelled'"
													 " WHERE m.tenant_id = $1 AND m.campaign_id = $2 AND (m.status = 'pending'"
													 "  OR m.status = 'queued' AND (m.contact_id, m.ref) IN (SELECT contact_id, ref FROM gone))",
													 INT8OID, INT8OID);
	int64		id = mktg_int64_argument(fcinfo, 0, "campaign");
	int64		tenant = mktg_int64_argument(fcinfo, 1, "tenant");
	MktgCampaign campaign;

	mktg_begin();
	mktg_lock_campaign(id, tenant, &campaign);
	if (strcmp(campaign.status, "completed") == 0 || strcmp(campaign.status, "cancelled") == 0)
		mktg_refuse_transition(&campaign, "cancelled");
	mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(id), MKTG_TIME(mktg_now()));
	mktg_call(&plan_query, MKTG_INT64(tenant), MKTG_INT64(id));
	mktg_call(&message_query, MKTG_INT64(tenant), MKTG_INT64(id));
	mktg_end();
	PG_RETURN_TEXT_P(cstring_to_text("cancelled"));
}
