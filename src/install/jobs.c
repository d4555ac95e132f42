/*-------------------------------------------------------------------------
 *
 * jobs.c
 *		Housekeeping, and the pg_cron jobs that run it.
 *
 * IDENTIFICATION
 *		src/install/jobs.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/extension.h"

#include "base/base.h"
#include "install/install.h"
#include "offer/offer.h"
#include "stats/stats.h"

/*
 * process_daily() is idempotent and knows each tenant's day, so it runs every
 * hour: a day begins within the hour wherever the tenant lives, and a run that
 * was missed is made good by the next.
 */
#define DAILY_TIMES		"5 * * * *"
#define SEGMENTS_TIMES	"20 4 * * *"
#define MAINTAIN_TIMES	"35 3 * * *"

PG_FUNCTION_INFO_V1(mktg_maintain);
PG_FUNCTION_INFO_V1(mktg_schedule_jobs);
PG_FUNCTION_INFO_V1(mktg_unschedule_jobs);

/*
 * SQL: mktg.maintain() returns void
 */
Datum
mktg_maintain(PG_FUNCTION_ARGS)
{
	static MktgQuery forget_failures = MKTG_QUERY("DELETE FROM mktg.provider_failure"
												  " WHERE minute < $1 - interval '30 days'", TIMESTAMPTZOID);
	static MktgQuery forget_sandbox = MKTG_QUERY("DELETE FROM mktg.sandbox_message"
												 " WHERE sent_at < $1 - interval '30 days'", TIMESTAMPTZOID);
	static MktgQuery forget_inbox = MKTG_QUERY("DELETE FROM mktg.inbox_message WHERE expires_at <= $1", TIMESTAMPTZOID);
	static MktgQuery forget_sends = MKTG_QUERY("DELETE FROM mktg.contact_send s WHERE s.at <= $1 - coalesce((SELECT max(f.per)"
											   " FROM mktg.frequency_cap f WHERE f.tenant_id = s.tenant_id), '0')", TIMESTAMPTZOID);
	static MktgQuery forget_rates = MKTG_QUERY("DELETE FROM mktg.delivery_rate WHERE minute < clock_timestamp() - interval '1 day'");
	MktgArg		now = MKTG_TIME(mktg_now());

	mktg_begin();
	mktg_run(&forget_failures, &now);
	mktg_run(&forget_sandbox, &now);
	mktg_run(&forget_inbox, &now);
	mktg_run(&forget_sends, &now);
	mktg_run(&forget_rates, NULL);
	mktg_make_partitions(mktg_now());
	mktg_expire_all(mktg_now());
	/* last: a session whose counters it folds waits for our end */
	mktg_fold_stats();
	mktg_end();
	PG_RETURN_VOID();
}

static void
require_pg_cron(void)
{
	if (OidIsValid(get_extension_oid("pg_cron", true)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_NO_PG_CRON),
			 errmsg("pg_cron is not installed in this database"),
			 errdetail("pg_cron lives in one database of a cluster, the one cron.database_name names."),
			 errhint("Run CREATE EXTENSION pg_cron there, or call mktg.process_daily() from another scheduler.")));
}

/*
 * SQL: mktg.schedule_jobs(tenant bigint DEFAULT 1) returns integer
 *
 * Errors: MK006 no pg_cron here, MK010 unknown tenant.
 */
Datum
mktg_schedule_jobs(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("SELECT cron.schedule($1, $2, $3)", TEXTOID, TEXTOID, TEXTOID);
	int64		tenant = mktg_int64_argument(fcinfo, 0, "tenant");

	mktg_begin();
	require_pg_cron();
	mktg_require_tenant(tenant);
	mktg_call(&query,
			  MKTG_TEXT(psprintf("mktg daily " INT64_FORMAT, tenant)),
			  MKTG_TEXT(DAILY_TIMES),
			  MKTG_TEXT(psprintf("SELECT mktg.process_daily(tenant => " INT64_FORMAT ")", tenant)));
	/* segments read the scores, so these two are one job, in this order */
	mktg_call(&query,
			  MKTG_TEXT(psprintf("mktg segments " INT64_FORMAT, tenant)),
			  MKTG_TEXT(SEGMENTS_TIMES),
			  MKTG_TEXT(psprintf("SELECT mktg.score_rfm(tenant => " INT64_FORMAT ");"
								 " SELECT mktg.refresh_segments(tenant => " INT64_FORMAT ")", tenant, tenant)));
	mktg_call(&query, MKTG_TEXT("mktg maintain"), MKTG_TEXT(MAINTAIN_TIMES),
			  MKTG_TEXT("SELECT mktg.maintain()"));
	mktg_end();
	PG_RETURN_INT32(3);
}

uint64
mktg_forget_jobs(void)
{
	static MktgQuery query = MKTG_QUERY("SELECT cron.unschedule(jobid) FROM cron.job"
										" WHERE database = pg_catalog.current_database()"
										" AND (jobname = 'mktg maintain' OR jobname LIKE 'mktg daily %' OR jobname LIKE 'mktg segments %')");

	return OidIsValid(get_extension_oid("pg_cron", true)) ? mktg_run(&query, NULL) : 0;
}

/*
 * SQL: mktg.unschedule_jobs() returns integer
 *
 * Errors: MK006 no pg_cron here.
 */
Datum
mktg_unschedule_jobs(PG_FUNCTION_ARGS)
{
	uint64		jobs;

	mktg_begin();
	require_pg_cron();
	jobs = mktg_forget_jobs();
	mktg_end();
	PG_RETURN_INT32((int32) jobs);
}
