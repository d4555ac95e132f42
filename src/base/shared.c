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
#include "port/atomics.h"
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

/* how long the worker of a database that is to be dropped is kept away */
#define BAN_MS	30000

typedef struct MktgShared
{
	LWLock	   *lock;
	int			launcher_pid;
	pg_atomic_uint32 wakes[MKTG_MAX_DATABASES];	/* wake-ups so far; latches are set for other reasons too */
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
		for (int i = 0; i < MKTG_MAX_DATABASES; i++)
			pg_atomic_init_u32(&shared->wakes[i], 0);
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
	{
		if (shared->slots[i].database_oid != MyDatabaseId)
			continue;
		pid = shared->slots[i].pid;
		pg_atomic_fetch_add_u32(&shared->wakes[i], 1);
	}
	LWLockRelease(shared->lock);
	wake_pid(pid);
}

bool
mktg_slot_woken(int n)
{
	static uint32 seen = 0;
	uint32		wakes = pg_atomic_read_u32(&shared->wakes[n]);
	bool		woken = wakes != seen;

	seen = wakes;
	return woken;
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

bool
mktg_segments_take(int n, int pid)
{
	MktgWorkerSlot *slot = &shared->slots[n];
	bool		taken;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	taken = NameStr(slot->database)[0] != '\0' &&
		(slot->segments_pid == 0 || BackendPidGetProc(slot->segments_pid) == NULL);
	if (taken)
		slot->segments_pid = pid;
	LWLockRelease(shared->lock);
	return taken;
}

void
mktg_segments_release(int n, int pid)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (shared->slots[n].segments_pid == pid)
		shared->slots[n].segments_pid = 0;
	LWLockRelease(shared->lock);
}

void
mktg_launcher_set(int pid)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->launcher_pid = pid;
	LWLockRelease(shared->lock);
}

int
mktg_launcher_pid(void)
{
	int			pid = 0;

	if (shared == NULL)
		return 0;
	LWLockAcquire(shared->lock, LW_SHARED);
	pid = shared->launcher_pid;
	LWLockRelease(shared->lock);
	return pid;
}

/* Sets when the worker of a database may start again, 0 for now; its slot, or -1. */
static int
set_ban(const char *database, TimestampTz until)
{
	int			found = -1;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MKTG_MAX_DATABASES; i++)
	{
		if (strcmp(NameStr(shared->slots[i].database), database) != 0)
			continue;
		found = i;
		shared->slots[i].banned_until = until;
		shared->slots[i].anew = until == 0;
	}
	LWLockRelease(shared->lock);
	return found;
}

static bool
is_alive(int pid)
{
	return pid != 0 && BackendPidGetProc(pid) != NULL;
}

void
mktg_evict_worker(const char *database, int timeout_ms)
{
	TimestampTz started = GetCurrentTimestamp();
	int			found;
	MktgWorkerSlot slot;

	if (shared == NULL)
		return;
	found = set_ban(database, TimestampTzPlusMilliseconds(started, BAN_MS));
	while (found >= 0 && mktg_worker_slot(found, &slot) &&
		   (is_alive(slot.pid) || is_alive(slot.segments_pid)) &&
		   !TimestampDifferenceExceeds(started, GetCurrentTimestamp(), timeout_ms))
	{
		if (is_alive(slot.pid))
			kill(slot.pid, SIGTERM);
		if (is_alive(slot.segments_pid))
			kill(slot.segments_pid, SIGTERM);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 20,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

void
mktg_readmit_worker(const char *database)
{
	if (shared != NULL)
		(void) set_ban(database, 0);
}

void
mktg_slot_seen(int n)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->slots[n].anew = false;
	LWLockRelease(shared->lock);
}
