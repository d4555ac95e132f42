/*-------------------------------------------------------------------------
 *
 * segments.c
 *		The process that keeps segments up to date beside the worker, and feeds
 *		audiences at advertisers with what has changed in them.
 *
 * A refresh may take seconds, and messages must not wait for it.  So the worker
 * only asks, once a second, whether there is anything to refresh, and starts
 * this process if so.  It ends when there has been nothing to do for a while;
 * where no process can be had, mktg.refresh_dirty() can still be called.
 *
 * It works with the rights of the tables' owner, whose registry the rules'
 * expressions come from.
 *
 * IDENTIFICATION
 *		src/worker/segments.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/wait_event.h"

#include "ads/ads.h"
#include "base/base.h"
#include "base/shared.h"
#include "segment/segment.h"
#include "worker/worker.h"

#define LOOK_MS			1000	/* how often it looks */
#define IDLE_LOOKS		60		/* after so many without anything to do it ends */
#define LONGEST_REST	300		/* looks it leaves out after failures, doubling */
#define CONTACTS_AT_ONCE 100000	/* one transaction's */
#define TIMEOUT_MS		600000	/* longest refresh: rules that never end must not keep the others waiting */

static int	shared_slot = -1;

static void forget_process(int code, Datum arg);

/* What came of a transaction. */
typedef enum Step
{
	STEP_DONE,					/* there may be more */
	STEP_NOTHING,				/* there was nothing to do */
	STEP_FAILED
} Step;

static Step refresh_step(void);

/* From the worker, outside of transactions: there is something to refresh. */
void
mktg_segments_start(int slot, const char *database)
{
	static bool told = false;
	BackgroundWorker worker;
	MktgWorkerSlot copy;

	if (!mktg_worker_slot(slot, &copy) || copy.segments_pid != 0 || copy.banned_until > GetCurrentTimestamp())
		return;
	mktg_describe_process(&worker, "mktg segments", "mktg_segments_main", database, slot);
	if (RegisterDynamicBackgroundWorker(&worker, NULL))
		told = false;
	else if (!told)
	{
		told = true;
		ereport(LOG,
				(errmsg("no background worker slot to refresh the segments of database \"%s\"", database),
				 errhint("Raise max_worker_processes, or have mktg.refresh_dirty() called.")));
	}
}

void
mktg_segments_main(Datum main_arg)
{
	int			idle = 0;
	int			rest = 0;		/* looks to be left out */

	shared_slot = DatumGetInt32(main_arg);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, StatementCancelHandler);
	BackgroundWorkerUnblockSignals();
	/* one a database */
	if (!mktg_segments_take(shared_slot, MyProcPid))
		proc_exit(0);
	before_shmem_exit(forget_process, (Datum) 0);
	BackgroundWorkerInitializeConnection(MyBgworkerEntry->bgw_extra, NULL, 0);
	pgstat_report_appname("mktg segments");
	mktg_worker_configure();

	while (idle < IDLE_LOOKS)
	{
		MktgWorkerSlot slot;

		CHECK_FOR_INTERRUPTS();
		if (!mktg_worker_slot(shared_slot, &slot) || slot.banned_until > GetCurrentTimestamp())
			break;
		switch (refresh_step())
		{
			case STEP_DONE:
				idle = rest = 0;
				continue;
			case STEP_NOTHING:
				idle++;
				rest = 0;
				break;
			case STEP_FAILED:
				idle = 0;
				rest = rest == 0 ? 1 : Min(rest * 2, LONGEST_REST);
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LOOK_MS * Max(rest, 1), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
	proc_exit(0);
}

static void
forget_process(int code, Datum arg)
{
	mktg_segments_release(shared_slot, MyProcPid);
}

/* The owner of the tables, or InvalidOid where extension or schema are not there. */
static Oid
find_owner(void)
{
	const char *why;
	Oid			extension = get_extension_oid("mktg", true);
	HeapTuple	tuple;
	Oid			owner = InvalidOid;

	if (!OidIsValid(extension))
		return InvalidOid;
	/* DROP EXTENSION waits for this transaction */
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	if (!OidIsValid(get_extension_oid("mktg", true)) || !mktg_schema_ready(&why))
		return InvalidOid;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(get_relname_relid("segment", get_namespace_oid("mktg", false))));
	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

/* One transaction. */
static Step
refresh_step(void)
{
	volatile Step step = STEP_NOTHING;
	Oid			owner;
	Oid			user;
	int			context;

	pgstat_report_activity(STATE_RUNNING, "refreshing segments");
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	enable_timeout_after(STATEMENT_TIMEOUT, TIMEOUT_MS);
	PG_TRY();
	{
		SPI_connect();
		PushActiveSnapshot(GetTransactionSnapshot());
		owner = find_owner();
		if (OidIsValid(owner))
		{
			GetUserIdAndSecContext(&user, &context);
			SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
			if (mktg_refresh_next(mktg_now(), CONTACTS_AT_ONCE) ||
				mktg_feed(mktg_now(), CONTACTS_AT_ONCE, 0).changes > 0)
				step = STEP_DONE;
			SetUserIdAndSecContext(user, context);
		}
		SPI_finish();
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		step = STEP_FAILED;
		EmitErrorReport();
		AbortOutOfAnyTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	disable_timeout(STATEMENT_TIMEOUT, false);
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	return step;
}
