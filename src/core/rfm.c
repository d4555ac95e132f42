/*-------------------------------------------------------------------------
 *
 * rfm.c
 *		Recency, frequency and monetary scores, their segments, and lifecycle
 *		stages.
 *
 * Everything is sorted by radix: keys are whole numbers in narrow ranges (days,
 * counts, amounts, serial ids), so that two or three passes do.
 *
 * IDENTIFICATION
 *		src/core/rfm.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/rfm.h"

#include <string.h>

#define DAY_US		(INT64_C(86400) * 1000000)

/* ---- segments ---- */

static const char *const segment_names[MKTG_RFM_SEGMENTS] = {
	"Champions", "Loyal Customers", "Potential Loyalists", "Recent Customers", "Promising",
	"Needs Attention", "About to Sleep", "At Risk", "Can't Lose Them", "Hibernating", "Lost"
};

enum
{
	CH, LO, PL, RE, PR, NA, AS, AR, CL, HI, LS
};

/*
 * The whole map, by r, f and m.  511 is in two segments of the published maps
 * and goes to the first listed, Recent; 545 stays Loyal beside 544, a Champion.
 */
static const uint8_t segments[MKTG_RFM_SCORES][MKTG_RFM_SCORES][MKTG_RFM_SCORES] = {
	{{LS, LS, HI, CL, CL}, {LS, HI, HI, AR, AR}, {LS, HI, AR, AR, AR}, {LS, AR, AR, CL, CL}, {LS, AR, AR, CL, CL}},
	{{HI, HI, HI, CL, CL}, {HI, HI, HI, AR, AR}, {HI, HI, AR, AR, AR}, {AS, AR, AR, AR, AR}, {AS, AR, AR, AR, AR}},
	{{AS, AS, PR, PR, PR}, {AS, AS, NA, NA, NA}, {AS, AS, NA, NA, PL}, {NA, NA, NA, PL, LO}, {PL, PL, PL, LO, LO}},
	{{PR, PR, PR, PR, PR}, {PR, PR, PR, PR, PR}, {NA, NA, NA, NA, PL}, {PL, PL, PL, PL, LO}, {PL, PL, PL, LO, LO}},
	{{RE, RE, PR, PR, PR}, {RE, RE, PR, PR, PR}, {PL, PL, PL, PL, PL}, {PL, PL, PL, CH, LO}, {PL, PL, PL, CH, CH}}
};

static bool
is_score(int score)
{
	return score >= 1 && score <= MKTG_RFM_SCORES;
}

int
mktg_rfm_segment_number(int r, int f, int m)
{
	return segments[r - 1][f - 1][m - 1];
}

const char *
mktg_rfm_segment_name(int number)
{
	return segment_names[number];
}

const char *
mktg_rfm_segment(int r, int f, int m)
{
	if (!is_score(r) || !is_score(f) || !is_score(m))
		return NULL;
	return segment_names[segments[r - 1][f - 1][m - 1]];
}

/* ---- sorting ---- */

#define DIGIT_BITS	11
#define DIGITS		(1 << DIGIT_BITS)

typedef struct Item
{
	uint64_t	key;
	uint32_t	place;			/* of the contact */
} Item;

/* Order of signed numbers as order of unsigned ones. */
static inline uint64_t
unsigned_key(int64_t value)
{
	return (uint64_t) value ^ (UINT64_C(1) << 63);
}

/* Counts into places: where the first of each digit goes. */
static void
add_up(size_t *counts)
{
	size_t		sum = 0;

	for (int i = 0; i < DIGITS; i++)
	{
		size_t		count = counts[i];

		counts[i] = sum;
		sum += count;
	}
}

/*
 * Sorts items by key, stably, and gives the half of the room where they end up.
 * Keys are taken from their minimum, so only digits in which they differ count.
 */
static Item *
sort_items(Item *items, Item *other, size_t n, size_t *counts)
{
	uint64_t	low = UINT64_MAX;
	uint64_t	high = 0;

	for (size_t i = 0; i < n; i++)
	{
		low = items[i].key < low ? items[i].key : low;
		high = items[i].key > high ? items[i].key : high;
	}
	for (int shift = 0; n > 1 && shift < 64 && (high - low) >> shift != 0; shift += DIGIT_BITS)
	{
		Item	   *sorted = other;

		memset(counts, 0, DIGITS * sizeof(size_t));
		for (size_t i = 0; i < n; i++)
			counts[((items[i].key - low) >> shift) & (DIGITS - 1)]++;
		add_up(counts);
		for (size_t i = 0; i < n; i++)
			sorted[counts[((items[i].key - low) >> shift) & (DIGITS - 1)]++] = items[i];
		other = items;
		items = sorted;
	}
	return items;
}

/* The same for purchases, by contact and, within, by day. */
static MktgRfmPurchase *
sort_purchases(MktgRfmPurchase *rows, MktgRfmPurchase *other, size_t n, bool by_day, size_t *counts)
{
	uint64_t	low = UINT64_MAX;
	uint64_t	high = 0;

#define KEY(row)	unsigned_key(by_day ? (row).day : (row).contact_id)
	for (size_t i = 0; i < n; i++)
	{
		uint64_t	key = KEY(rows[i]);

		/* the sign of a contact is no day: it would make the range a wide one */
		if (by_day && rows[i].day == MKTG_RFM_CONTACT)
			continue;
		low = key < low ? key : low;
		high = key > high ? key : high;
	}
	if (by_day)
		low--;					/* where the signs go */
#define DIGIT(row) \
	((by_day && (row).day == MKTG_RFM_CONTACT ? 0 : (KEY(row) - low) >> shift) & (DIGITS - 1))
	for (int shift = 0; n > 1 && high >= low && shift < 64 && (high - low) >> shift != 0; shift += DIGIT_BITS)
	{
		MktgRfmPurchase *sorted = other;

		memset(counts, 0, DIGITS * sizeof(size_t));
		for (size_t i = 0; i < n; i++)
			counts[DIGIT(rows[i])]++;
		add_up(counts);
		for (size_t i = 0; i < n; i++)
			sorted[counts[DIGIT(rows[i])]++] = rows[i];
		other = rows;
		rows = sorted;
	}
#undef DIGIT
#undef KEY
	return rows;
}

size_t
mktg_rfm_group_scratch(size_t n)
{
	return DIGITS * sizeof(size_t) + n * sizeof(MktgRfmPurchase);
}

size_t
mktg_rfm_score_scratch(size_t n)
{
	return DIGITS * sizeof(size_t) + 2 * n * sizeof(Item);
}

/* ---- purchases into facts ---- */

size_t
mktg_rfm_group(MktgRfmPurchase *rows, size_t n, void *scratch, MktgRfm *out)
{
	size_t	   *counts = scratch;
	MktgRfmPurchase *other = (MktgRfmPurchase *) (counts + DIGITS);
	MktgRfmPurchase *sorted = sort_purchases(rows, other, n, true, counts);
	size_t		contacts = 0;

	sorted = sort_purchases(sorted, sorted == rows ? other : rows, n, false, counts);
	for (size_t i = 0; i < n;)
	{
		int64_t		contact_id = sorted[i].contact_id;
		bool		exists = sorted[i].day == MKTG_RFM_CONTACT;
		MktgRfm		sum = {.contact_id = contact_id, .recency_days = MKTG_RFM_CONTACT};

		for (; i < n && sorted[i].contact_id == contact_id; i++)
		{
			if (sorted[i].day == MKTG_RFM_CONTACT || !exists)
				continue;
			sum.frequency += sorted[i].day != sum.recency_days;
			sum.recency_days = sorted[i].day;
			if (__builtin_add_overflow(sum.monetary, sorted[i].amount, &sum.monetary))
			{
				out[0].contact_id = contact_id;
				return SIZE_MAX;
			}
		}
		if (sum.frequency > 0)
			out[contacts++] = sum;
	}
	return contacts;
}

void
mktg_rfm_order(const MktgRfm *contacts, size_t n, void *scratch, MktgRfm *out)
{
	size_t	   *counts = scratch;
	Item	   *items = (Item *) (counts + DIGITS);

	for (size_t i = 0; i < n; i++)
		items[i] = (Item) {unsigned_key(contacts[i].contact_id), (uint32_t) i};
	items = sort_items(items, items + n, n, counts);
	for (size_t i = 0; i < n; i++)
		out[i] = contacts[items[i].place];
}

/* ---- facts into scores ---- */

static uint8_t
fixed_recency(int32_t days)
{
	return days <= 30 ? 5 : days <= 90 ? 4 : days <= 180 ? 3 : days <= 365 ? 2 : 1;
}

static uint8_t
fixed_frequency(int32_t frequency)
{
	return frequency >= 10 ? 5 : frequency >= 5 ? 4 : frequency >= 3 ? 3 : frequency;
}

/* Thresholds are major units, and belong to the lower score. */
static uint8_t
fixed_monetary(int64_t monetary, int exponent)
{
	int64_t		unit = 1;

	while (exponent-- > 0)
		unit *= 10;
	return monetary <= 500 * unit ? 1 : monetary <= 1000 * unit ? 2 :
		monetary <= 2500 * unit ? 3 : monetary <= 5000 * unit ? 4 : 5;
}

/* Which of five groups place "i" of n is in, as SQL's ntile(5); from 1. */
static uint8_t
group_of_place(size_t i, size_t n)
{
	size_t		size = n / MKTG_RFM_SCORES;
	size_t		larger = n % MKTG_RFM_SCORES;	/* groups that have one more */
	size_t		in_larger = larger * (size + 1);

	return 1 + (i < in_larger ? i / (size + 1) : larger + (i - in_larger) / size);
}

static uint8_t
part_of_rank(size_t below, size_t n)
{
	size_t		part = n > 1 ? 1 + MKTG_RFM_SCORES * below / (n - 1) : MKTG_RFM_SCORES;

	return part < MKTG_RFM_SCORES ? part : MKTG_RFM_SCORES;
}

static uint64_t
key_of(const MktgRfm *contact, char fact)
{
	switch (fact)
	{
		case 'r':
			return unsigned_key(-(int64_t) contact->recency_days);
		case 'f':
			return unsigned_key(contact->frequency);
		default:
			return unsigned_key(contact->monetary);
	}
}

/* Scores one fact by its order; contacts stand in the order that decides ties. */
static void
score_by_order(MktgRfm *contacts, size_t n, char fact, MktgRfmMethod method, void *scratch)
{
	size_t	   *counts = scratch;
	Item	   *items = (Item *) (counts + DIGITS);
	size_t		below = 0;

	for (size_t i = 0; i < n; i++)
		items[i] = (Item) {key_of(&contacts[i], fact), (uint32_t) i};
	items = sort_items(items, items + n, n, counts);
	for (size_t i = 0; i < n; i++)
	{
		MktgRfm    *contact = &contacts[items[i].place];
		uint8_t		score;

		if (i > 0 && items[i].key != items[i - 1].key)
			below = i;
		score = method == MKTG_RFM_NTILE ? group_of_place(i, n) : part_of_rank(below, n);
		if (fact == 'r')
			contact->r = score;
		else if (fact == 'f')
			contact->f = score;
		else
		{
			contact->m = score;
			contact->spent_less = (uint32_t) below;
		}
	}
}

void
mktg_rfm_score(MktgRfm *contacts, size_t n, MktgRfmMethod method, int exponent, void *scratch)
{
	score_by_order(contacts, n, 'm', method, scratch);
	if (method != MKTG_RFM_FIXED)
	{
		score_by_order(contacts, n, 'r', method, scratch);
		score_by_order(contacts, n, 'f', method, scratch);
		return;
	}
	for (size_t i = 0; i < n; i++)
	{
		contacts[i].r = fixed_recency(contacts[i].recency_days);
		contacts[i].f = fixed_frequency(contacts[i].frequency);
		contacts[i].m = fixed_monetary(contacts[i].monetary, exponent);
	}
}

double
mktg_rfm_percentile(const MktgRfm *contact, size_t n)
{
	return n > 1 ? 100.0 * contact->spent_less / (n - 1) : 100.0;
}

/* ---- lifecycle ---- */

/* later - earlier of any two instants; the whole range does not fit a signed number */
static uint64_t
between(int64_t earlier, int64_t later)
{
	return (uint64_t) later - (uint64_t) earlier;
}

const char *
mktg_lifecycle_stage(int64_t count, int64_t last_us, int64_t previous_us, int64_t at_us)
{
	uint64_t	since;

	if (count <= 0)
		return NULL;
	since = between(last_us, at_us);
	if (since <= 90 * DAY_US && count >= 2 && between(previous_us, last_us) > 180 * DAY_US)
		return "Reactivated";
	if (since > 180 * DAY_US)
		return "Churned";
	if (since > 90 * DAY_US)
		return "At-Risk";
	if (count >= 5)
		return "Engaged";
	if (count >= 2)
		return "Active";
	if (since <= 30 * DAY_US)
		return "New";
	/* one purchase 30 to 90 days ago, which fits no other */
	return "Active";
}
