/*-------------------------------------------------------------------------
 *
 * stats.h
 *		Counters of messages.
 *
 * IDENTIFICATION
 *		src/stats/stats.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_STATS_H
#define MKTG_STATS_H

/* Folds the slots of past days into slot 0.  Within SPI. */
extern void mktg_fold_stats(void);

#endif
