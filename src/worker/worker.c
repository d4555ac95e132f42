/*-------------------------------------------------------------------------
 *
 * worker.c
 *		The delivery worker of one database.
 *
 * Its loop has two sides.  In one short transaction it records what has
 * finished and leases what can start at once; outside any transaction it
 * renders, sends and waits on one descriptor for all connections.  Recording
 * and claiming share the transaction and so its commit; where that fails the
 * results stay in memory, nothing is sent, and it is tried again.
 *
 * The worker holds a session lock on its number.  Whoever gets the lock knows
 * that leases under this number are a dead worker's, however old they are.
 *
 * A worker that is told to end is no dead worker: it waits a moment for what
 * is under way, then hangs up, and records all of it.  Being told so in the
 * middle of a transaction it completes that first, unless it takes too long.
 *
 * IDENTIFICATION
 *		src/worker/worker.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
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
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/wait_event.h"

#include "ads/ads.h"
#include "base/base.h"
#include "base/compat.h"
#include "base/shared.h"
#include "campaign/campaign.h"
#include "install/install.h"
#include "segment/segment.h"
#include "worker/pump.h"
#include "worker/worker.h"

#define POLL_MS			5000	/* a net for what no wake-up announced */
#define RECORD_MS		5		/* longest wait of a finished message for company */
#define HOUSEKEEPING_MS	1000
#define IDLE_KEEPING_MS	100		/* the same with nothing under way; a busy worker may often be so for a moment */
#define REPLAN_MS		5000	/* a plan made while the queue was empty does not suit a full one */
#define FIRST_REST_MS	1000	/* after a failed transaction, doubling */
#define LAST_REST_MS	30000
#define FAREWELL_MS		500		/* what is under way may still finish at a stop */
#define PATIENCE_MS		500		/* a transaction may still complete at a stop */

/* One worker a database for now; the number is the key of its lock. */
#define WORKER_NUMBER	1
#define LOCK_CLASS		1835759719	/* "mktg" */

typedef struct Loop
{
	Pump	   *pump;
	WaitEventSet *events;		/* latch and transport: kept, for a wait must not want a descriptor */
	int			slot;			/* in shared memory */
	bool		recovered;		/* what a dead predecessor left is settled */
	bool		woken;
	TimestampTz next_claim;
	TimestampTz next_housekeeping;
	TimestampTz next_replan;
	TimestampTz rest_until;		/* after a failed transaction */
	int			rest_ms;
	bool		installed;		/* extension and schema are there */
	bool		recorded;		/* by the transaction under way */
	bool		segments;		/* there is something to refresh */
	TimestampTz rated_at;		/* when it last looked how fast it goes */
	uint64		rated_from;
	double		rate;			/* outcomes a second */
	char		note[128];		/* why it may not send; empty: it may */
} Loop;

static int	shared_slot = -1;
static Pump *open_pump = NULL;	/* for the exit callback */

/* what the handlers of SIGTERM and of the timeout tell each other */
static volatile sig_atomic_t stop_wanted = false;
static volatile sig_atomic_t in_step = false;
static volatile sig_atomic_t patience_over = false;
static TimeoutId patience_timeout;

static void on_stop(SIGNAL_ARGS);
static void on_impatience(void);
static void plan_by_keys(void);
static void forget_slot(int code, Datum arg);
static void close_pump(int code, Datum arg);
static bool banned(int slot);
static bool take_number(void);
static void run_step(Loop *loop);
static void step(Loop *loop);
static bool may_send(Loop *loop);
static bool worth_claiming(const Pump *pump);
static bool worth_recording(const Pump *pump);
static int	deliveries_awaited(const Pump *pump);
static bool step_due(const Loop *loop, TimestampTz now);
static long wait_ms(const Loop *loop, TimestampTz now);
static WaitEventSet *make_events(pgsocket transport);
static int	wait_for_events(Loop *loop, long timeout);
static void end_worker(Loop *loop);
static void plan_next_claim(Loop *loop);
static void report_activity(Loop *loop);
static void tell(Loop *loop);

void
mktg_worker_main(Datum main_arg)
{
	Loop		loop = {.slot = DatumGetInt32(main_arg)};
	char	   *database = MyBgworkerEntry->bgw_extra;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, on_stop);
	pqsignal(SIGINT, SIG_IGN);
	BackgroundWorkerUnblockSignals();
	shared_slot = loop.slot;
	before_shmem_exit(forget_slot, (Datum) 0);
	mktg_slot_set(loop.slot, InvalidOid, MyProcPid, MKTG_WORKER_STARTING, "starting");
	BackgroundWorkerInitializeConnection(database, NULL, 0);
	patience_timeout = RegisterTimeout(USER_TIMEOUT, on_impatience);
	/* the command that wants the database for itself may have come while we connected */
	if (banned(loop.slot))
		proc_exit(0);
	mktg_slot_set(loop.slot, MyDatabaseId, MyProcPid, MKTG_WORKER_STARTING, "starting");
	pgstat_report_appname("mktg worker");
	mktg_worker_configure();
	plan_by_keys();

	while (!take_number())
	{
		tell(&loop);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1000, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	before_shmem_exit(close_pump, (Datum) 0);
	loop.pump = open_pump = mktg_pump_create(WORKER_NUMBER);
	loop.events = make_events(mktg_transport_fd(loop.pump->transport));

	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		int			events;

		if (step_due(&loop, now))
			run_step(&loop);
		if (loop.pump->nclaimed > 0)
			mktg_pump_start(loop.pump, !stop_wanted);

		mktg_transport_await(loop.pump->transport, deliveries_awaited(loop.pump));
		events = wait_for_events(&loop, wait_ms(&loop, GetCurrentTimestamp()));
		if (events & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			loop.woken |= mktg_slot_woken(loop.slot);
		}
		if (stop_wanted)
			end_worker(&loop);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			loop.woken = true;
		}
		mktg_pump_drive(loop.pump);
	}
}

/* SIGTERM: between transactions the loop sees to it; one that takes long is given up. */
static void
on_stop(SIGNAL_ARGS)
{
	stop_wanted = true;
	if (open_pump == NULL || (in_step && patience_over))
		die(postgres_signal_arg);
	else
		SetLatch(MyLatch);
}

/* The transaction has taken PATIENCE_MS. */
static void
on_impatience(void)
{
	patience_over = true;
	if (stop_wanted)
		die(SIGTERM);
}

static bool
banned(int slot)
{
	MktgWorkerSlot copy;

	return !mktg_worker_slot(slot, &copy) || copy.banned_until > GetCurrentTimestamp();
}

static void
set_options(const char *const (*settings)[2], int n)
{
	for (int i = 0; i < n; i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

void
mktg_worker_configure(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
#if PG_VERSION_NUM >= 170000
		{"transaction_timeout", "0"},
#endif
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"session_replication_role", "origin"},
		{"synchronous_commit", "on"},
		{"jit", "off"}
	};

	set_options(settings, lengthof(settings));
}

/* Batches are small beside the tables: keys, whatever the estimates of the day. */
static void
plan_by_keys(void)
{
	static const char *const settings[][2] = {
		{"enable_seqscan", "off"},
		{"enable_hashjoin", "off"},
		{"enable_mergejoin", "off"},
		{"enable_bitmapscan", "off"},
		{"enable_sort", "off"},
		{"plan_cache_mode", "force_generic_plan"}
	};

	set_options(settings, lengthof(settings));
}

static void
forget_slot(int code, Datum arg)
{
	mktg_slot_set(shared_slot, InvalidOid, 0, MKTG_WORKER_NONE, "ended");
}

/* Connections and threads of the transport must not outlive what exit() tears down. */
static void
close_pump(int code, Datum arg)
{
	if (open_pump != NULL)
		mktg_pump_close(open_pump);
}

static bool
take_number(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, LOCK_CLASS, WORKER_NUMBER, 2);
	return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* ---- when ---- */

/* More waits, and half of what may be under way has come back. */
static bool
worth_claiming(const Pump *pump)
{
	return pump->more && mktg_pump_room(pump) >= Max(mktg_max_in_flight / 2, 1);
}

/*
 * Half of what was under way has come back.  The other half keeps the network
 * busy meanwhile, also where a provider's connections are far fewer than what
 * may be under way.
 */
static bool
worth_recording(const Pump *pump)
{
	return pump->nfinished > 0 &&
		(pump->nfinished >= pump->under_way || pump->nfinished >= mktg_max_in_flight / 2);
}

/*
 * How many must finish to be worth waking up for: the first, from which the
 * wait for company is measured, and then as many as are worth recording.
 */
static int
deliveries_awaited(const Pump *pump)
{
	int			half = mktg_max_in_flight / 2 - pump->nfinished;

	if (pump->nfinished == 0)
		return 1;
	return Min(half, (pump->under_way - pump->nfinished + 1) / 2);
}

static bool
step_due(const Loop *loop, TimestampTz now)
{
	const Pump *pump = loop->pump;

	if (now < loop->rest_until)
		return false;
	if (loop->woken || now >= loop->next_claim || now >= loop->next_housekeeping)
		return true;
	if (worth_claiming(pump))
		return true;
	return worth_recording(pump) ||
		(pump->nfinished > 0 && TimestampDifferenceExceeds(pump->first_finished, now, RECORD_MS));
}

static long
until(TimestampTz now, TimestampTz then)
{
	return then <= now ? 0 : TimestampDifferenceMilliseconds(now, then);
}

static long
wait_ms(const Loop *loop, TimestampTz now)
{
	long		wait = Min(until(now, loop->next_claim), until(now, loop->next_housekeeping));
	long		transport = mktg_transport_timeout_ms(loop->pump->transport);

	if (worth_claiming(loop->pump) || worth_recording(loop->pump))
		wait = 0;
	else if (loop->pump->nfinished > 0)
		wait = Min(wait, RECORD_MS);
	wait = Max(wait, until(now, loop->rest_until));
	if (transport >= 0)
		wait = Min(wait, transport);
	return Min(wait, 1000);
}

static WaitEventSet *
make_events(pgsocket transport)
{
#if PG_VERSION_NUM >= 170000
	WaitEventSet *events = CreateWaitEventSet(NULL, 3);
#else
	WaitEventSet *events = CreateWaitEventSet(TopMemoryContext, 3);
#endif

	AddWaitEventToSet(events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(events, WL_SOCKET_READABLE, transport, NULL, NULL);
	return events;
}

static int
wait_for_events(Loop *loop, long timeout)
{
	WaitEvent	occurred[3];
	int			n = WaitEventSetWait(loop->events, timeout, occurred, lengthof(occurred), PG_WAIT_EXTENSION);
	int			events = 0;

	for (int i = 0; i < n; i++)
		events |= occurred[i].events;
	return events;
}

/* ---- what ---- */

/*
 * The step in a transaction of its own.  An error is logged, not propagated:
 * what is under way must outlive one bad row.
 */
static void
run_step(Loop *loop)
{
	volatile bool ok = false;

	loop->woken = false;
	pgstat_report_activity(STATE_RUNNING, "recording and claiming messages");
	patience_over = false;
	in_step = true;
	enable_timeout_after(patience_timeout, PATIENCE_MS);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PG_TRY();
	{
		SPI_connect();
		PushActiveSnapshot(GetTransactionSnapshot());
		step(loop);
		SPI_finish();
		PopActiveSnapshot();
		CommitTransactionCommand();
		ok = true;
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		EmitErrorReport();
		AbortOutOfAnyTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	disable_timeout(patience_timeout, false);
	in_step = false;

	if (ok)
	{
		loop->rest_ms = 0;
		if (loop->recorded)
			mktg_pump_recorded(loop->pump);
		if (loop->segments)
			mktg_segments_start(loop->slot, MyBgworkerEntry->bgw_extra);
		plan_next_claim(loop);
	}
	else
	{
		mktg_pump_claim_failed(loop->pump);
		loop->rest_ms = loop->rest_ms == 0 ? FIRST_REST_MS : Min(loop->rest_ms * 2, LAST_REST_MS);
		loop->rest_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), loop->rest_ms);
		strlcpy(loop->note, "the last transaction failed; see the server log", sizeof(loop->note));
	}
	tell(loop);
	pgstat_report_stat(false);
	report_activity(loop);
}

/* What pg_stat_activity shows between transactions. */
static void
report_activity(Loop *loop)
{
	const Pump *pump = loop->pump;
	TimestampTz now = GetCurrentTimestamp();
	int64		since = (now - loop->rated_at) / USECS_PER_SEC;
	char		text[128];

	if (since >= 1)
	{
		loop->rate = (double) (pump->recorded - loop->rated_from) / since;
		loop->rated_from = pump->recorded;
		loop->rated_at = now;
	}
	snprintf(text, sizeof(text), "delivering messages: %d under way, %.0f a second", pump->used - pump->nfinished, loop->rate);
	pgstat_report_activity(STATE_IDLE, text);
}

static void
step(Loop *loop)
{
	TimestampTz now = GetCurrentTimestamp();
	Pump	   *pump = loop->pump;
	bool		allowed = may_send(loop);

	/*
	 * Results are recorded even where nothing more may be sent.  Without the
	 * extension there are no triggers that count, so they wait in memory.
	 */
	loop->recorded = loop->installed && pump->nfinished > 0;
	if (loop->recorded)
		mktg_pump_record(pump);
	if (!allowed)
		pump->more = false;
	loop->segments = loop->installed && now >= loop->next_housekeeping &&
		(mktg_refresh_wanted(mktg_now()) || mktg_feed_wanted());
	if (!allowed || stop_wanted)
		return;
	if (!loop->recovered)
	{
		mktg_recover(WORKER_NUMBER, mktg_now());
		loop->recovered = true;
	}
	if (pump->sandbox_used || now >= loop->next_housekeeping)
		pump->sandbox_used = mktg_hear_sandbox(mktg_now()) > 0;
	if (now >= loop->next_housekeeping ||
		(pump->used == pump->nfinished && !pump->more &&
		 TimestampTzPlusMilliseconds(now, HOUSEKEEPING_MS - IDLE_KEEPING_MS) >= loop->next_housekeeping))
	{
		mktg_pause_over_limits();
		mktg_sweep_cancelled();
		mktg_complete_campaigns(0, mktg_now());
		loop->next_housekeeping = TimestampTzPlusMilliseconds(now, HOUSEKEEPING_MS);
	}
	if (pump->more && now >= loop->next_replan)
	{
		ResetPlanCache();
		loop->next_replan = TimestampTzPlusMilliseconds(now, REPLAN_MS);
	}
	if (mktg_pump_room(pump) > 0)
		mktg_pump_claim(pump);
}

/* Is everything there, and may this place send?  If not, the note says why. */
static bool
may_send(Loop *loop)
{
	const char *why = NULL;
	Oid			extension = get_extension_oid("mktg", true);

	loop->installed = false;
	if (!OidIsValid(extension))
		why = "extension mktg is not in this database";
	else
	{
		/* DROP EXTENSION waits for this transaction, and this one then sees it gone */
		LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
		if (!OidIsValid(get_extension_oid("mktg", true)))
			why = "extension mktg is not in this database";
		else if (mktg_schema_ready(&why))
		{
			loop->installed = true;
			if (!mktg_delivery_armed(&why) && mktg_rearm_promoted())
				why = NULL;
		}
	}
	strlcpy(loop->note, why == NULL ? "" : why, sizeof(loop->note));
	return why == NULL;
}

/* Tells shared memory how it stands, and the log when that changes. */
static void
tell(Loop *loop)
{
	static char last[128] = "unknown";

	if (loop->pump == NULL)
		strlcpy(loop->note, "another worker holds this database's queue", sizeof(loop->note));
	if (strcmp(last, loop->note) == 0)
		return;
	strlcpy(last, loop->note, sizeof(last));
	mktg_slot_set(loop->slot, MyDatabaseId, MyProcPid,
				  loop->note[0] == '\0' ? MKTG_WORKER_DELIVERING : MKTG_WORKER_IDLE, loop->note);
	if (loop->note[0] == '\0')
		ereport(LOG, (errmsg("mktg worker delivers")));
	else
		ereport(LOG, (errmsg("mktg worker idles: %s", loop->note)));
}

static void
plan_next_claim(Loop *loop)
{
	TimestampTz now = GetCurrentTimestamp();
	long		wait = POLL_MS;

	/* due times are on mktg's clock, which may stand still */
	if (loop->note[0] == '\0' && loop->pump->claim.next_due != 0)
		wait = Min(wait, Max(1, until(mktg_wall_now(), loop->pump->claim.next_due)));
	if (loop->note[0] != '\0')
		loop->next_housekeeping = TimestampTzPlusMilliseconds(now, POLL_MS);
	loop->next_claim = TimestampTzPlusMilliseconds(now, wait);
}

/*
 * The server stops, or the database is to be dropped.  What is under way gets
 * a moment; then all that is known is recorded, so that nothing looks as if a
 * worker had died with it and no more than must be is left in doubt.
 */
static void
end_worker(Loop *loop)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), FAREWELL_MS);
	Pump	   *pump = loop->pump;

	while (pump->under_way > 0 && GetCurrentTimestamp() < end)
	{
		if (wait_for_events(loop, 10) & WL_LATCH_SET)
			ResetLatch(MyLatch);
		mktg_pump_drive(pump);
	}
	mktg_pump_hang_up(pump);
	if (pump->nfinished > 0)
		run_step(loop);
	proc_exit(0);
}
