/*-------------------------------------------------------------------------
 *
 * rfm.h
 *		Recency, frequency, monetary: purchases into facts of a contact, facts
 *		into scores, scores into segments; and lifecycle stages.
 *
 * Plain C.  Sorting needs room, which callers bring: nothing here allocates.
 *
 * IDENTIFICATION
 *		src/core/rfm.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_CORE_RFM_H
#define MKTG_CORE_RFM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MKTG_RFM_SCORES		5	/* 1 to 5, 5 the best */
#define MKTG_RFM_SEGMENTS	11

typedef enum MktgRfmMethod
{
	MKTG_RFM_FIXED,				/* thresholds */
	MKTG_RFM_NTILE,				/* five groups of the same size; ties by contact_id */
	MKTG_RFM_PERCENTILE			/* five parts of the ranks; equal values, equal scores */
} MktgRfmMethod;

/* No purchase, but the sign that the contact exists; comes before any day. */
#define MKTG_RFM_CONTACT	INT32_MIN

typedef struct MktgRfmPurchase
{
	int64_t		contact_id;
	int64_t		amount;			/* minor units */
	int32_t		day;			/* any count of days, or MKTG_RFM_CONTACT */
} MktgRfmPurchase;

typedef struct MktgRfm
{
	int64_t		contact_id;
	int64_t		monetary;		/* minor units */
	int32_t		recency_days;	/* as mktg_rfm_group() leaves it: day of the last purchase */
	int32_t		frequency;		/* days with purchases */
	uint32_t	spent_less;		/* contacts that spent less */
	uint8_t		r;
	uint8_t		f;
	uint8_t		m;
} MktgRfm;

/* bytes that the functions below sort with, for n rows: 24 and 32 a row, and 16 KB */
extern size_t mktg_rfm_group_scratch(size_t n);
extern size_t mktg_rfm_score_scratch(size_t n);

/*
 * Adds up purchases by contact, those of one day as one; in order of contact.
 * Contacts without their sign, or without purchases, are left out.  "out" has
 * room for as many as there are rows.  Gives their number; SIZE_MAX where a sum
 * exceeds 64 bits, out[0].contact_id then says whose.  Rows change places.
 */
extern size_t mktg_rfm_group(MktgRfmPurchase *rows, size_t n, void *scratch, MktgRfm *out);

/* Puts contacts into the order of contact_id; "out" must not be "contacts". */
extern void mktg_rfm_order(const MktgRfm *contacts, size_t n, void *scratch, MktgRfm *out);

/*
 * r, f, m and spent_less of contacts that stand in the order of contact_id, at
 * most UINT32_MAX of them.  "exponent" is that of the currency of monetary, for
 * the thresholds of MKTG_RFM_FIXED.
 */
extern void mktg_rfm_score(MktgRfm *contacts, size_t n, MktgRfmMethod method, int exponent,
						   void *scratch);

/* percent of the other contacts that spent less: 0 to 100; the only contact has 100 */
extern double mktg_rfm_percentile(const MktgRfm *contact, size_t n);

/* The segment of scores: every code of three digits from 1 to 5 has one; NULL for others. */
extern const char *mktg_rfm_segment(int r, int f, int m);
/* its number, 0 to MKTG_RFM_SEGMENTS - 1, and the name of a number */
extern int	mktg_rfm_segment_number(int r, int f, int m);
extern const char *mktg_rfm_segment_name(int number);

/*
 * The stage of a contact's life after "count" purchases, at an instant not
 * before the last; previous_us counts if there are two.  NULL without purchases.
 * Times are microseconds of any epoch.
 */
extern const char *mktg_lifecycle_stage(int64_t count, int64_t last_us, int64_t previous_us,
										int64_t at_us);

#endif
