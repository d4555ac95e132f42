/*-------------------------------------------------------------------------
 *
 * shared.h
 *		What the launcher, the workers and the backends tell each other in
 *		shared memory: which database has a worker, and "there is work".
 *
 * Plain data only, no pointers.  Without preloading there is no such memory;
 * everything but the worker works all the same.
 *
 * IDENTIFICATION
 *		src/base/shared.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_BASE_SHARED_H
#define MKTG_BASE_SHARED_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* databases one launcher can serve */
#define MKTG_MAX_DATABASES	32

typedef enum MktgWorkerState
{
	MKTG_WORKER_NONE,			/* slot free, or its worker is gone */
	MKTG_WORKER_STARTING,
	MKTG_WORKER_IDLE,			/* runs, but may not send: the note says why */
	MKTG_WORKER_DELIVERING
} MktgWorkerState;

typedef struct MktgWorkerSlot
{
	NameData	database;		/* empty: slot free */
	Oid			database_oid;	/* known once the worker is connected */
	int			pid;			/* 0: not running */
	int			segments_pid;	/* of the process that refreshes segments; 0: not running */
	MktgWorkerState state;
	char		note[128];		/* why it idles, in words */
	TimestampTz banned_until;	/* not started again before: the database must be free of sessions */
	bool		anew;			/* what kept it from starting may be gone: no more delay */
} MktgWorkerSlot;

extern void mktg_shared_init(void);
extern bool mktg_shared_ready(void);

/* Backends: wake the worker of this database when the transaction commits. */
extern void mktg_wake_at_commit(void);

/* A copy of slot n (0 .. MKTG_MAX_DATABASES-1); false if it is free. */
extern bool mktg_worker_slot(int n, MktgWorkerSlot *copy);

/* Launcher and workers. */
extern int	mktg_slot_for(const char *database);	/* claims a free one; -1 if full */
extern void mktg_slot_release(int n);
extern void mktg_slot_set(int n, Oid database_oid, int pid, MktgWorkerState state, const char *note);
extern bool mktg_segments_take(int n, int pid);	/* false: another process refreshes this database's segments */
extern void mktg_segments_release(int n, int pid);
extern bool mktg_slot_woken(int n);	/* a backend has woken the worker since it asked last */
extern void mktg_launcher_set(int pid);	/* 0: it has ended */
extern int	mktg_launcher_pid(void);

/*
 * Ends the worker of a database and keeps it away for a while, so that the
 * database can be dropped or renamed; waits until it is gone or "timeout_ms"
 * has passed.
 */
extern void mktg_evict_worker(const char *database, int timeout_ms);

/* It may come back at once. */
extern void mktg_readmit_worker(const char *database);
extern void mktg_slot_seen(int n);	/* the launcher has taken note of that */

#endif
