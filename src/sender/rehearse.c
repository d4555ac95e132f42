/*-------------------------------------------------------------------------
 *
 * rehearse.c
 *		mktg.rehearse(): the whole of a campaign, as if it ran, and then as if
 *		nothing had been.
 *
 * The campaign is really given its audience and its plan, in a subtransaction
 * that is rolled back when the rows have been read.
 *
 * IDENTIFICATION
 *		src/sender/rehearse.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/base.h"
#include "base/zone.h"
#include "campaign/campaign.h"
#include "sender/sender.h"

#define FETCH_ROWS	10000

enum
{
	R_CONTACT = 1, R_POSITION, R_ADDRESS, R_DAY, R_EARLIEST, R_REASON, R_CAP, R_CAP_SKIPS, R_OVER_BUDGET, R_COST,
	R_CONTACT_ZONE, R_TENANT_ZONE, R_TYPE, R_QUIET_FROM, R_QUIET_UNTIL, R_WEEKDAYS, R_EXPIRES
};

static void run_campaign(int64 campaign, int64 tenant);
static void read_plan(ReturnSetInfo *rsinfo, int64 campaign, int64 tenant, TimestampTz now);
static void put_row(ReturnSetInfo *rsinfo, uint64 row, pg_tz *tenant_zone);

PG_FUNCTION_INFO_V1(mktg_rehearse);

/*
 * SQL: mktg.rehearse(campaign bigint, tenant bigint) returns setof (contact_id,
 *		"position", address, send_date, send_at, action, reason, cost)
 *
 * Errors: those of add_audience() and activate_campaign(); MK033 an ended campaign.
 */
Datum
mktg_rehearse(PG_FUNCTION_ARGS)
{
	int64		campaign = mktg_int64_argument(fcinfo, 0, "campaign");
	int64		tenant = mktg_int64_argument(fcinfo, 1, "tenant");
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	InitMaterializedSRF(fcinfo, 0);
	mktg_begin();
	context = CurrentMemoryContext;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		run_campaign(campaign, tenant);
		read_plan((ReturnSetInfo *) fcinfo->resultinfo, campaign, tenant, mktg_now());
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error != NULL)
		ReThrowError(error);
	mktg_end();
	PG_RETURN_NULL();
}

/* A draft gets its audience and is activated from today on, a paused campaign resumed. */
static void
run_campaign(int64 campaign, int64 tenant)
{
	static MktgQuery audience_query = MKTG_QUERY(
		"SELECT mktg.add_audience(campaign_id, tenant_id) FROM mktg.campaign WHERE tenant_id = $2 AND campaign_id = $1"
		" AND last_position = 0 AND (target_audience IS NOT NULL OR include_segments <> '{}')", INT8OID, INT8OID);
	static MktgQuery activate_query = MKTG_QUERY("SELECT mktg.activate_campaign($1, coalesce(start_date, $3), $2)"
												 " FROM mktg.campaign WHERE tenant_id = $2 AND campaign_id = $1",
												 INT8OID, INT8OID, DATEOID);
	static MktgQuery resume_query = MKTG_QUERY("SELECT mktg.resume_campaign($1, $2)", INT8OID, INT8OID);
	MktgCampaign found;

	mktg_require_campaign(campaign, tenant);
	mktg_lock_campaign(campaign, tenant, &found);
	if (strcmp(found.status, "draft") == 0)
	{
		mktg_call(&audience_query, MKTG_INT64(campaign), MKTG_INT64(tenant));
		mktg_call(&activate_query, MKTG_INT64(campaign), MKTG_INT64(tenant), MKTG_DATE(mktg_tenant_day(mktg_now(), tenant)));
	}
	else if (strcmp(found.status, "paused") == 0)
		mktg_call(&resume_query, MKTG_INT64(campaign), MKTG_INT64(tenant));
	else if (strcmp(found.status, "active") != 0)
		mktg_refuse_transition(&found, "rehearsed");
}

static void
read_plan(ReturnSetInfo *rsinfo, int64 campaign, int64 tenant, TimestampTz now)
{
	static MktgQuery zone_query = MKTG_QUERY("SELECT time_zone FROM mktg.tenant WHERE tenant_id = $1", INT8OID);
	static const char *const sql =
		"SELECT m.contact_id, m.position, m.address, d.day, greatest(d.day::timestamp AT TIME ZONE n.time_zone, m.send_after, $3),"
		"  " MKTG_SQL_GATE("m", "c", "p") ", f.name, f.action = 'skip',"
		/* the budget of the month of that day, after those that go before */
		"  row_number() OVER (PARTITION BY date_trunc('month', d.day) ORDER BY d.day, m.position) * s.cost_per_message"
		"    > s.monthly_budget - CASE WHEN date_trunc('month', d.day) = date_trunc('month', $3 AT TIME ZONE n.time_zone)"
		"       THEN s.spent_this_month ELSE 0 END,"
		"  s.cost_per_message, p.time_zone, n.time_zone, c.type, s.quiet_from, s.quiet_until,"
		"  " MKTG_SQL_WEEKDAYS("s") ", c.expires_at"
		" FROM mktg.campaign c JOIN mktg.tenant n ON n.tenant_id = c.tenant_id"
		" JOIN mktg.sender_status s ON s.tenant_id = c.tenant_id AND s.sender_id = c.sender_id"
		" JOIN mktg.message m ON m.tenant_id = c.tenant_id AND m.campaign_id = c.campaign_id AND m.status IN ('pending', 'queued')"
		" LEFT JOIN mktg.contact p ON p.tenant_id = m.tenant_id AND p.contact_id = m.contact_id"
		" LEFT JOIN LATERAL (SELECT r.send_date, r.to_position FROM mktg.send_schedule r WHERE r.tenant_id = m.tenant_id"
		"   AND r.campaign_id = m.campaign_id AND r.from_position <= m.position AND m.status = 'pending'"
		"   ORDER BY r.from_position DESC LIMIT 1) r ON r.to_position >= m.position"
		" CROSS JOIN LATERAL (SELECT coalesce(m.send_day, r.send_date) AS day) d"
		" LEFT JOIN LATERAL (SELECT f.name, f.action FROM mktg.frequency_cap f WHERE f.tenant_id = m.tenant_id"
		"   AND " MKTG_SQL_COUNTED("c") " AND " MKTG_SQL_CAP_MEANS("f", "c")
		"   AND (SELECT count(*) FROM mktg.contact_send x WHERE x.tenant_id = m.tenant_id AND x.contact_id = m.contact_id"
		"     AND x.at > greatest(d.day::timestamp AT TIME ZONE n.time_zone, $3) - f.per"
		"     AND " MKTG_SQL_CAP_MEANS("f", "x") ") >= f.messages"
		"   ORDER BY f.action = 'skip' DESC, f.name LIMIT 1) f ON true"
		" WHERE c.tenant_id = $2 AND c.campaign_id = $1 ORDER BY m.position NULLS FIRST, m.contact_id";
	Oid			types[] = {INT8OID, INT8OID, TIMESTAMPTZOID};
	Datum		values[] = {Int64GetDatum(campaign), Int64GetDatum(tenant), TimestampTzGetDatum(now)};
	MemoryContext rows_context;
	MemoryContext previous;
	pg_tz	   *tenant_zone;
	Portal		portal;

	mktg_call(&zone_query, MKTG_INT64(tenant));
	tenant_zone = mktg_find_zone(mktg_text_at(0, 1));
	portal = SPI_cursor_open_with_args(NULL, sql, lengthof(types), types, values, NULL, false, 0);
	rows_context = AllocSetContextCreate(CurrentMemoryContext, "mktg rehearsal", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		previous = MemoryContextSwitchTo(rows_context);
		for (uint64 i = 0; i < SPI_processed; i++)
			put_row(rsinfo, i, tenant_zone);
		MemoryContextSwitchTo(previous);
		MemoryContextReset(rows_context);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
}

static void
put_row(ReturnSetInfo *rsinfo, uint64 row, pg_tz *tenant_zone)
{
	MktgHours	hours = mktg_hours_at(row, R_QUIET_FROM);
	bool		transactional = strcmp(mktg_text_at(row, R_TYPE), "transactional") == 0;
	bool		planned = !mktg_null_at(row, R_DAY);
	TimestampTz earliest = (TimestampTz) mktg_int64_at(row, R_EARLIEST);
	TimestampTz at = transactional || !planned ? earliest :
		mktg_next_allowed(earliest, &hours, mktg_zone_or(mktg_text_at(row, R_CONTACT_ZONE), tenant_zone));
	const char *action = "send";
	const char *reason = at > earliest ? "quiet hours" : NULL;
	Datum		values[8];
	bool		nulls[8] = {false};

	if (!mktg_null_at(row, R_REASON))
	{
		action = "skip";
		reason = mktg_text_at(row, R_REASON);
	}
	else if (!mktg_null_at(row, R_EXPIRES) && at >= (TimestampTz) mktg_int64_at(row, R_EXPIRES))
	{
		action = "skip";
		reason = "expired";
	}
	else if (!mktg_null_at(row, R_CAP))
	{
		action = mktg_bool_at(row, R_CAP_SKIPS) ? "skip" : "wait";
		reason = psprintf("frequency cap %s", mktg_text_at(row, R_CAP));
	}
	else if (mktg_bool_at(row, R_OVER_BUDGET))
	{
		action = "wait";
		reason = "budget used up";
	}
	values[0] = mktg_value_at(row, R_CONTACT, &nulls[0]);
	values[1] = mktg_value_at(row, R_POSITION, &nulls[1]);
	values[2] = mktg_value_at(row, R_ADDRESS, &nulls[2]);
	values[3] = mktg_value_at(row, R_DAY, &nulls[3]);
	values[4] = TimestampTzGetDatum(at);
	nulls[4] = !planned || strcmp(action, "send") != 0;
	values[5] = CStringGetTextDatum(action);
	values[6] = reason == NULL ? (Datum) 0 : CStringGetTextDatum(reason);
	nulls[6] = reason == NULL;
	values[7] = mktg_value_at(row, R_COST, &nulls[7]);
	nulls[7] = nulls[7] || strcmp(action, "send") != 0;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}
