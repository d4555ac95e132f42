/*-------------------------------------------------------------------------
 *
 * install.h
 *		Tables and their versions, and the place delivery is armed for.
 *
 * IDENTIFICATION
 *		src/install/install.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_INSTALL_H
#define MKTG_INSTALL_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* May this place send?  Within SPI.  If not, *why says so in words. */
extern bool mktg_delivery_armed(const char **why);

/*
 * Arms this place if it is armed for an earlier timeline of this database and
 * the setting mktg.rearm_on_promote allows it.  Within SPI; the worker's part.
 */
extern bool mktg_rearm_promoted(void);

/* Arms this place and no other.  Within SPI. */
extern void mktg_arm_here(void);

/* Takes our jobs out of pg_cron, where that is here; gives their number.  Within SPI. */
extern uint64 mktg_forget_jobs(void);

/* Makes the partitions of the present month and of those to come.  Within SPI. */
extern void mktg_make_partitions(TimestampTz at);

extern void mktg_install_settings_init(void);

#endif
