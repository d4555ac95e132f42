/*-------------------------------------------------------------------------
 *
 * worker.h
 *		The launcher and the worker of each database.
 *
 * IDENTIFICATION
 *		src/worker/worker.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_WORKER_H
#define MKTG_WORKER_H

#include "postgres.h"

#include "postmaster/bgworker.h"

/* most messages a worker can be told to have under way */
#define MKTG_MOST_IN_FLIGHT 4096

extern void mktg_worker_settings_init(void);
extern void mktg_launcher_init(void);

/* entry points of the processes */
extern PGDLLEXPORT void mktg_launcher_main(Datum main_arg);
extern PGDLLEXPORT void mktg_worker_main(Datum main_arg);
extern PGDLLEXPORT void mktg_segments_main(Datum main_arg);

/* Settings of a process of ours, whatever role or database say. */
extern void mktg_worker_configure(void);

/* Starts the process that refreshes segments unless it runs. */
extern void mktg_segments_start(int slot, const char *database);

/* A process of a database that nobody restarts: what it is called, and what it runs with a slot as its argument. */
extern void mktg_describe_process(BackgroundWorker *process, const char *type, const char *function, const char *database, int slot);

/* settings */
extern int	mktg_max_in_flight;
extern char *mktg_databases;

#endif
