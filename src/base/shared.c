/*-------------------------------------------------------------------------
 *
 * shared.c
 *		Shared memory of launcher, workers and backends.
 *
 * IDENTIFICATION
 *		src/base/shared.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "base/shared.h"

/* how long a dropped database's worker is kept away */
#define BAN_MS	30000

typedef struct MktgShared
{
	LWLock	   *lock;
	MktgWorkerSlot slots[MKTG_MAX_DATABASES];
} MktgShared;

static MktgShared *shared = NULL;
static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;
static bool wake_wanted = false;

static void request_memory(void);
static void attach_memory(void);
static void wake_on_commit(XactEvent event, void *arg);

/* From _PG_init, while preloading. */
void
mktg_shared_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = attach_memory;
}

bool
mktg_shared_ready(void)
{
	return shared != NULL;
}

static void
request_memory(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(MktgShared)));
	RequestNamedLWLockTranche("mktg", 1);
}

static void
attach_memory(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("mktg", sizeof(MktgShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(MktgShared));
		shared->lock = &GetNamedLWLockTranche("mktg")->lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

static void
wake_pid(int pid)
{
	PGPROC	   *proc = pid == 0 ? NULL : BackendPidGetProc(pid);

	if (proc != NULL)
		SetLatch(&proc->procLatch);
}

void
mktg_wake_at_commit(void)
{
	static bool registered = false;

	if (shared == NULL)
		return;
	if (!registered)
	{
		RegisterXactCallback(wake_on_commit, NULL);
		registered = true;
	}
	wake_wanted = true;
}

static void
wake_on_commit(XactEvent event, void *arg)
{
	int			pid = 0;

	if (!wake_wanted)
		return;
	if (event == XACT_EVENT_ABORT)
		wake_wanted = false;
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_PREPARE)
		return;
	wake_wanted = false;
	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < MKTG_MAX_DATABASES; i++)
		if (shared->slots[i].database_oid == MyDatabaseId)
			pid = shared->slots[i].pid;
	LWLockRelease(shared->lock);
	wake_pid(pid);
}

bool
mktg_worker_slot(int n, MktgWorkerSlot *copy)
{
	if (shared == NULL)
		return false;
	LWLockAcquire(shared->lock, LW_SHARED);
	*copy = shared->slots[n];
	LWLockRelease(shared->lock);
	return NameStr(copy->database)[0] != '\0';
}

int
mktg_slot_for(const char *database)
{
	int			free_slot = -1;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MKTG_MAX_DATABASES; i++)
	{
		MktgWorkerSlot *slot = &shared->slots[i];

		if (strcmp(NameStr(slot->database), database) == 0)
		{
			LWLockRelease(shared->lock);
			return i;
		}
		if (free_slot < 0 && NameStr(slot->database)[0] == '\0')
			free_slot = i;
	}
	if (free_slot >= 0)
	{
		memset(&shared->slots[free_slot], 0, sizeof(MktgWorkerSlot));
		namestrcpy(&shared->slots[free_slot].database, database);
	}
	LWLockRelease(shared->lock);
	return free_slot;
}

void
mktg_slot_release(int n)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	memset(&shared->slots[n], 0, sizeof(MktgWorkerSlot));
	LWLockRelease(shared->lock);
}

void
mktg_slot_set(int n, Oid database_oid, int pid, MktgWorkerState state, const char *note)
{
	MktgWorkerSlot *slot = &shared->slots[n];

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (NameStr(slot->database)[0] != '\0')
	{
		slot->database_oid = database_oid;
		slot->pid = pid;
		slot->state = state;
		strlcpy(slot->note, note, sizeof(slot->note));
	}
	LWLockRelease(shared->lock);
}

void
mktg_evict_worker(const char *database, int timeout_ms)
{
	TimestampTz started = GetCurrentTimestamp();
	int			found = -1;

	if (shared == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MKTG_MAX_DATABASES; i++)
	{
		if (strcmp(NameStr(shared->slots[i].database), database) != 0)
			continue;
		found = i;
		shared->slots[i].banned_until = TimestampTzPlusMilliseconds(started, BAN_MS);
	}
	LWLockRelease(shared->lock);

	while (found >= 0)
	{
		MktgWorkerSlot slot;

		if (!mktg_worker_slot(found, &slot) || slot.pid == 0 ||
			BackendPidGetProc(slot.pid) == NULL ||
			TimestampDifferenceExceeds(started, GetCurrentTimestamp(), timeout_ms))
			break;
		kill(slot.pid, SIGTERM);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 20,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}
