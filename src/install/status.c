/*-------------------------------------------------------------------------
 *
 * status.c
 *		mktg.status(): is everything as it should be?
 *
 * Answers in every state: not preloaded, not installed, standby, unarmed.
 *
 * IDENTIFICATION
 *		src/install/status.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"

#include "base/base.h"
#include "base/shared.h"
#include "install/install.h"

static void report(FunctionCallInfo fcinfo, const char *check, bool ok, const char *detail);
static void report_workers(FunctionCallInfo fcinfo);
static const char *why_no_worker(void);
static void report_queue(FunctionCallInfo fcinfo);
static void report_failures(FunctionCallInfo fcinfo);

PG_FUNCTION_INFO_V1(mktg_status);

/*
 * SQL: mktg.status() returns table ("check" text, ok boolean, detail text)
 *
 * Checks: library, preloaded, schema, armed, worker DATABASE, queue, failures.
 */
Datum
mktg_status(PG_FUNCTION_ARGS)
{
	const char *why;
	bool		ready;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	report(fcinfo, "library", true, "mktg " MKTG_VERSION);
	report(fcinfo, "preloaded", mktg_shared_ready(),
		   mktg_shared_ready() ? "shared_preload_libraries names mktg" :
		   "no worker can run; add mktg to shared_preload_libraries and restart");
	ready = mktg_schema_ready(&why);
	report(fcinfo, "schema", ready, ready ? psprintf("version %d", MKTG_SCHEMA_VERSION) : why);
	if (ready)
	{
		bool		armed = mktg_delivery_armed(&why);

		report(fcinfo, "armed", armed, armed ? "for this place" : why);
	}
	report_workers(fcinfo);
	if (ready)
	{
		report_queue(fcinfo);
		report_failures(fcinfo);
	}
	SPI_finish();
	PG_RETURN_NULL();
}

static void
report(FunctionCallInfo fcinfo, const char *check, bool ok, const char *detail)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[3] = {CStringGetTextDatum(check), BoolGetDatum(ok), CStringGetTextDatum(detail)};
	bool		nulls[3] = {false, false, false};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void
report_workers(FunctionCallInfo fcinfo)
{
	const char *own = get_database_name(MyDatabaseId);
	bool		own_seen = false;
	MktgWorkerSlot slot;

	for (int i = 0; i < MKTG_MAX_DATABASES; i++)
	{
		if (!mktg_worker_slot(i, &slot))
			continue;
		if (strcmp(NameStr(slot.database), own) == 0)
			own_seen = true;
		report(fcinfo, psprintf("worker %s", NameStr(slot.database)),
			   slot.pid != 0 && slot.state == MKTG_WORKER_DELIVERING,
			   slot.pid == 0 ? (slot.note[0] ? psprintf("not running: %s", slot.note) : "not running") :
			   slot.note[0] ? psprintf("pid %d, idle: %s", slot.pid, slot.note) :
			   psprintf("pid %d", slot.pid));
	}
	if (!own_seen)
		report(fcinfo, psprintf("worker %s", own), false, why_no_worker());
}

static const char *
why_no_worker(void)
{
	if (!mktg_shared_ready())
		return "none; mktg is not preloaded";
	if (RecoveryInProgress())
		return "none; this server is a standby";
	if (mktg_launcher_pid() == 0)
		return "none; the launcher does not run: raise max_worker_processes, or see the server log";
	return "none; the setting mktg.databases does not name this database";
}

static void
report_queue(FunctionCallInfo fcinfo)
{
	static MktgQuery query = MKTG_QUERY("SELECT count(*) FILTER (WHERE lease IS NULL),"
										" count(*) FILTER (WHERE lease IS NOT NULL),"
										" extract(epoch FROM $1 - min(due) FILTER (WHERE lease IS NULL AND due <= $1))::bigint"
										" FROM mktg.outbox", TIMESTAMPTZOID);
	int64		age;
	bool		idle;

	mktg_call(&query, MKTG_TIME(mktg_now()));
	idle = mktg_null_at(0, 3);
	age = mktg_int64_at(0, 3);
	/* a row due for five minutes that nobody takes is a sign of trouble */
	report(fcinfo, "queue", idle || age < 300,
		   psprintf(INT64_FORMAT " waiting, " INT64_FORMAT " leased, oldest due row %s",
					mktg_int64_at(0, 1), mktg_int64_at(0, 2),
					idle ? "none" : psprintf(INT64_FORMAT " s old", age)));
}

static void
report_failures(FunctionCallInfo fcinfo)
{
	static MktgQuery query = MKTG_QUERY("SELECT coalesce(sum(failures), 0)::bigint,"
										" coalesce(string_agg(format('%s %s: %s (%s)', name, class, failures, last_reason), '; '"
										"   ORDER BY name, class), 'none')"
										" FROM (SELECT s.name, f.class, sum(f.failures) AS failures,"
										"   (array_agg(f.last_reason ORDER BY f.minute DESC))[1] AS last_reason"
										"   FROM mktg.provider_failure f"
										"   JOIN mktg.sender s ON s.tenant_id = f.tenant_id AND s.sender_id = f.sender_id"
										"   WHERE f.minute > $1 - interval '1 hour' GROUP BY s.name, f.class) x",
										TIMESTAMPTZOID);

	mktg_call(&query, MKTG_TIME(mktg_now()));
	report(fcinfo, "provider failures in the last hour", mktg_int64_at(0, 1) == 0, mktg_text_at(0, 2));
}
