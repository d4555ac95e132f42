/*-------------------------------------------------------------------------
 *
 * mktg.c
 *		The library's beginning: settings, shared memory, the launcher.
 *
 * Preloaded, it brings the workers; loaded by a session, everything but them.
 *
 * IDENTIFICATION
 *		src/mktg.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "base/base.h"
#include "base/shared.h"
#include "install/install.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	if (IsBinaryUpgrade)
		return;
	mktg_settings_init();
	mktg_install_settings_init();
	mktg_worker_settings_init();
	MarkGUCPrefixReserved("mktg");

	if (!process_shared_preload_libraries_in_progress)
		return;
	mktg_shared_init();
	mktg_launcher_init();
}
