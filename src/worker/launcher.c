/*-------------------------------------------------------------------------
 *
 * launcher.c
 *		Keeps one worker running for each database that mktg.databases names.
 *
 * The launcher itself is connected to none, so it holds up no DROP DATABASE;
 * a worker that would hold up a command that wants its database for itself is
 * ended before the command runs.  A worker that fails is started again after a
 * delay that doubles from 1 s to 5 min.
 *
 * IDENTIFICATION
 *		src/worker/launcher.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "base/shared.h"
#include "worker/worker.h"

#define FIRST_DELAY_MS	1000
#define LAST_DELAY_MS	300000
#define STEADY_MS		60000	/* a worker that ran so long begins anew with the first delay */
#define EVICT_MS		5000

/* What the launcher knows of the worker of one slot. */
typedef struct Charge
{
	BackgroundWorkerHandle *handle;
	bool		wanted;
	bool		running;
	int			delay_ms;
	TimestampTz started;
	TimestampTz next_start;
} Charge;

char	   *mktg_databases = NULL;
int			mktg_max_in_flight = 64;

static Charge charges[MKTG_MAX_DATABASES];
static bool slots_missing = false;	/* a database found no free slot */
static ProcessUtility_hook_type previous_utility_hook = NULL;

static bool check_databases(char **newval, void **extra, GucSource source);
static void make_way(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
					 ProcessUtilityContext context, ParamListInfo params,
					 QueryEnvironment *query_env, DestReceiver *dest, QueryCompletion *completion);
static void forget_launcher(int code, Datum arg);
static void read_wanted(void);
static void look_after(int n, TimestampTz now);
static void start_worker(int n, const char *database, TimestampTz now);

void
mktg_worker_settings_init(void)
{
	DefineCustomStringVariable("mktg.databases",
							   "Names the databases whose messages this server delivers.",
							   "Names are separated by commas. Each gets a worker of its own.",
							   &mktg_databases,
							   "postgres",
							   PGC_SIGHUP, GUC_LIST_INPUT,
							   check_databases, NULL, NULL);
	DefineCustomIntVariable("mktg.max_in_flight",
							"Sets how many messages a worker may have under way at once.",
							"Each holds a lease, and over the network a connection. "
							"After a crash this many may be in doubt.",
							&mktg_max_in_flight,
							64, 1, MKTG_MOST_IN_FLIGHT,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
}

static bool
check_databases(char **newval, void **extra, GucSource source)
{
	char	   *copy = pstrdup(*newval);
	List	   *names;
	bool		ok = SplitIdentifierString(copy, ',', &names);

	if (!ok)
		GUC_check_errdetail("It must be a list of database names separated by commas.");
	else if (list_length(names) > MKTG_MAX_DATABASES)
	{
		GUC_check_errdetail("At most %d databases can be named.", MKTG_MAX_DATABASES);
		ok = false;
	}
	list_free(names);
	pfree(copy);
	return ok;
}

/* From _PG_init, while preloading. */
void
mktg_launcher_init(void)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "mktg", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "mktg_launcher_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "mktg launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "mktg launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);

	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = make_way;
}

/* The value of an option in a statement about databases; NULL without it. */
static const char *
option_value(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/* The database in which a statement suffers no other session; NULL if there is none. */
static const char *
wanted_alone(Node *statement)
{
	if (IsA(statement, DropdbStmt))
		return castNode(DropdbStmt, statement)->dbname;
	if (IsA(statement, CreatedbStmt))
		return option_value(castNode(CreatedbStmt, statement)->options, "template");
	if (IsA(statement, RenameStmt) && castNode(RenameStmt, statement)->renameType == OBJECT_DATABASE)
		return castNode(RenameStmt, statement)->subname;
	if (IsA(statement, AlterDatabaseStmt) &&
		option_value(castNode(AlterDatabaseStmt, statement)->options, "tablespace") != NULL)
		return castNode(AlterDatabaseStmt, statement)->dbname;
	return NULL;
}

/* Hook of utility statements, in the backend that runs one. */
static void
make_way(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
		 ProcessUtilityContext context, ParamListInfo params,
		 QueryEnvironment *query_env, DestReceiver *dest, QueryCompletion *completion)
{
	ProcessUtility_hook_type next = previous_utility_hook ? previous_utility_hook : standard_ProcessUtility;
	Node	   *statement = pstmt->utilityStmt;
	const char *database = wanted_alone(statement);
	Oid			oid = database == NULL ? InvalidOid : get_database_oid(database, true);

	/* whoever will be refused must not stop delivery either */
	if (!OidIsValid(oid) || !mktg_owns_database(oid, GetUserId()))
		next(pstmt, query_string, read_only_tree, context, params, query_env, dest, completion);
	else
	{
		mktg_evict_worker(database, EVICT_MS);
		PG_TRY();
		{
			next(pstmt, query_string, read_only_tree, context, params, query_env, dest, completion);
		}
		PG_CATCH();
		{
			mktg_readmit_worker(database);
			PG_RE_THROW();
		}
		PG_END_TRY();
		if (!IsA(statement, DropdbStmt))
			mktg_readmit_worker(database);
	}
	if (IsA(statement, CreatedbStmt))
		mktg_readmit_worker(castNode(CreatedbStmt, statement)->dbname);
}

void
mktg_launcher_main(Datum main_arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, SIG_IGN);
	BackgroundWorkerUnblockSignals();
	before_shmem_exit(forget_launcher, (Datum) 0);
	mktg_launcher_set(MyProcPid);
	read_wanted();

	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();

		for (int i = 0; i < MKTG_MAX_DATABASES; i++)
			look_after(i, now);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1000, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			read_wanted();
			/* whatever was in the way may have been mended */
			for (int i = 0; i < MKTG_MAX_DATABASES; i++)
				charges[i].next_start = 0;
		}
		else if (slots_missing)
			read_wanted();
	}
}

static void
forget_launcher(int code, Datum arg)
{
	mktg_launcher_set(0);
}

/* Gives each database of the setting a slot. */
static void
read_wanted(void)
{
	char	   *copy = pstrdup(mktg_databases);
	List	   *names = NIL;
	ListCell   *cell;

	slots_missing = false;
	for (int i = 0; i < MKTG_MAX_DATABASES; i++)
		charges[i].wanted = false;
	if (SplitIdentifierString(copy, ',', &names))
	{
		foreach(cell, names)
		{
			int			n = mktg_slot_for((char *) lfirst(cell));

			/* those of databases no longer named become free in a moment */
			if (n < 0)
			{
				slots_missing = true;
				continue;
			}
			charges[n].wanted = true;
		}
	}
	list_free(names);
	pfree(copy);
}

static void
look_after(int n, TimestampTz now)
{
	Charge	   *charge = &charges[n];
	MktgWorkerSlot slot;
	pid_t		pid;

	if (!mktg_worker_slot(n, &slot))
		return;
	if (charge->running)
	{
		if (GetBackgroundWorkerPid(charge->handle, &pid) != BGWH_STOPPED)
		{
			if (!charge->wanted)
				TerminateBackgroundWorker(charge->handle);
			return;
		}
		charge->running = false;
		pfree(charge->handle);
		mktg_slot_set(n, InvalidOid, 0, MKTG_WORKER_NONE, "ended, to be started again; see the server log");
		charge->delay_ms = TimestampDifferenceExceeds(charge->started, now, STEADY_MS) || charge->delay_ms == 0 ?
			FIRST_DELAY_MS : Min(charge->delay_ms * 2, LAST_DELAY_MS);
		charge->next_start = TimestampTzPlusMilliseconds(now, charge->delay_ms);
		if (charge->wanted)
			ereport(LOG,
					(errmsg("mktg worker of database \"%s\" has ended, next start in %d s",
							NameStr(slot.database), charge->delay_ms / 1000)));
	}
	if (slot.anew)
	{
		charge->delay_ms = 0;
		charge->next_start = 0;
		mktg_slot_seen(n);
	}
	if (!charge->wanted)
	{
		mktg_slot_release(n);
		memset(charge, 0, sizeof(*charge));
	}
	else if (now >= charge->next_start && now >= slot.banned_until)
		start_worker(n, NameStr(slot.database), now);
}

void
mktg_describe_process(BackgroundWorker *process, const char *type, const char *function, const char *database, int slot)
{
	memset(process, 0, sizeof(*process));
	process->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	process->bgw_start_time = BgWorkerStart_RecoveryFinished;
	process->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(process->bgw_library_name, "mktg", sizeof(process->bgw_library_name));
	strlcpy(process->bgw_function_name, function, sizeof(process->bgw_function_name));
	snprintf(process->bgw_name, sizeof(process->bgw_name), "%s %s", type, database);
	strlcpy(process->bgw_type, type, sizeof(process->bgw_type));
	strlcpy(process->bgw_extra, database, sizeof(process->bgw_extra));
	process->bgw_main_arg = Int32GetDatum(slot);
}

static void
start_worker(int n, const char *database, TimestampTz now)
{
	Charge	   *charge = &charges[n];
	BackgroundWorker worker;

	mktg_describe_process(&worker, "mktg worker", "mktg_worker_main", database, n);
	worker.bgw_notify_pid = MyProcPid;

	/* before there is a worker, which says for itself what it does next */
	mktg_slot_set(n, InvalidOid, 0, MKTG_WORKER_STARTING, "starting");
	charge->running = RegisterDynamicBackgroundWorker(&worker, &charge->handle);
	charge->started = now;
	if (charge->running)
		return;
	/* said once, when the trouble begins */
	if (charge->delay_ms == 0)
		ereport(LOG,
				(errmsg("no background worker slot for the mktg worker of database \"%s\"", database),
				 errhint("Raise max_worker_processes.")));
	mktg_slot_set(n, InvalidOid, 0, MKTG_WORKER_NONE, "no background worker slot; raise max_worker_processes");
	charge->delay_ms = Min(Max(charge->delay_ms, FIRST_DELAY_MS / 2) * 2, LAST_DELAY_MS);
	charge->next_start = TimestampTzPlusMilliseconds(now, charge->delay_ms);
}
