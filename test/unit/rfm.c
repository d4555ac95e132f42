/*-------------------------------------------------------------------------
 *
 * rfm.c
 *		Unit tests of src/core/rfm.c.
 *
 * IDENTIFICATION
 *		test/unit/rfm.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/rfm.h"
#include "tap.h"

#define DAY		(INT64_C(86400) * 1000000)

/* ---- segments ---- */

static void
test_segments(void)
{
	/* counted in the published map with the project's changes */
	static const struct
	{
		const char *name;
		int			codes;
	}			want[] = {
		{"Champions", 3}, {"Loyal Customers", 7}, {"Potential Loyalists", 24}, {"Recent Customers", 4},
		{"Promising", 19}, {"Needs Attention", 12}, {"About to Sleep", 8}, {"At Risk", 22},
		{"Can't Lose Them", 8}, {"Hibernating", 12}, {"Lost", 6}
	};

	for (int i = 0; i < MKTG_RFM_SEGMENTS; i++)
	{
		int			codes = 0;

		for (int code = 0; code < 125; code++)
			codes += strcmp(mktg_rfm_segment(code / 25 + 1, code / 5 % 5 + 1, code % 5 + 1), want[i].name) == 0;
		is_int(codes, want[i].codes, want[i].name);
	}
	is_string(mktg_rfm_segment(5, 1, 1), "Recent Customers", "511, which two segments claim");
	is_string(mktg_rfm_segment(5, 4, 5), "Loyal Customers", "545");
	is_string(mktg_rfm_segment(5, 4, 4), "Champions", "544");
	ok(mktg_rfm_segment(0, 3, 3) == NULL && mktg_rfm_segment(3, 6, 3) == NULL && mktg_rfm_segment(3, 3, -1) == NULL,
	   "no segment of what is no score");
}

/* ---- adding up ---- */

static MktgRfm *
group(const MktgRfmPurchase *rows, size_t n, size_t *contacts)
{
	MktgRfmPurchase *copy = malloc((n + 1) * sizeof(MktgRfmPurchase));
	MktgRfm    *out = malloc((n + 1) * sizeof(MktgRfm));
	void	   *scratch = malloc(mktg_rfm_group_scratch(n));

	memcpy(copy, rows, n * sizeof(MktgRfmPurchase));
	*contacts = mktg_rfm_group(copy, n, scratch, out);
	free(copy);
	free(scratch);
	return out;
}

static void
test_group(void)
{
	static const MktgRfmPurchase rows[] = {
		{7, 100, 20}, {INT64_MAX, 5, -3}, {7, 30, 20}, {7, 0, MKTG_RFM_CONTACT}, {3, 9, 1},
		{INT64_MIN, 0, MKTG_RFM_CONTACT}, {7, -1, 18}, {INT64_MAX, 0, MKTG_RFM_CONTACT},
		{4, 0, MKTG_RFM_CONTACT}, {INT64_MIN, 2, 100000000}, {INT64_MAX, 6, -4000000}, {7, 1, 19}
	};
	static const MktgRfmPurchase much[] = {
		{7, INT64_MAX, 20}, {7, 0, MKTG_RFM_CONTACT}, {7, 1, 21}
	};
	size_t		n;
	MktgRfm    *out = group(rows, 12, &n);

	is_int(n, 3, "contacts that exist and have purchases");
	ok(out[0].contact_id == INT64_MIN && out[1].contact_id == 7 && out[2].contact_id == INT64_MAX, "in the order of contact");
	ok(out[1].frequency == 3 && out[1].monetary == 130 && out[1].recency_days == 20, "purchases of a day are one");
	ok(out[0].frequency == 1 && out[0].monetary == 2 && out[0].recency_days == 100000000, "far in the future");
	ok(out[2].frequency == 2 && out[2].monetary == 11 && out[2].recency_days == -3, "long ago");
	free(out);
	out = group(rows, 0, &n);
	is_int(n, 0, "nothing");
	free(out);
	out = group(rows + 4, 1, &n);
	is_int(n, 0, "a purchase of nobody");
	free(out);
	out = group(much, 3, &n);
	ok(n == SIZE_MAX && out[0].contact_id == 7, "a sum that does not fit");
	free(out);
}

/* ---- scores ---- */

/* a few facts that often tie; contact_id rises */
static MktgRfm *
make_contacts(size_t n, uint64_t seed)
{
	MktgRfm    *contacts = calloc(n + 1, sizeof(MktgRfm));

	for (size_t i = 0; i < n; i++)
	{
		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		contacts[i].contact_id = (int64_t) i * 3 - 50;
		contacts[i].recency_days = (seed >> 33) % 40;
		contacts[i].frequency = 1 + (seed >> 40) % 7;
		contacts[i].monetary = (int64_t) ((seed >> 45) % 3000) - 200;
	}
	return contacts;
}

/* by counting, for each contact, who comes before it */
static void
check_scores(MktgRfmMethod method, size_t n, const char *name)
{
	MktgRfm    *contacts = make_contacts(n, n + 1);
	void	   *scratch = malloc(mktg_rfm_score_scratch(n));
	size_t		wrong = 0;

	mktg_rfm_score(contacts, n, method, 2, scratch);
	for (size_t i = 0; i < n; i++)
	{
		const uint8_t got[3] = {contacts[i].r, contacts[i].f, contacts[i].m};
		size_t		before[3] = {0};
		size_t		less[3] = {0};

		for (size_t j = 0; j < n; j++)
		{
			int64_t		own[3] = {-contacts[i].recency_days, contacts[i].frequency, contacts[i].monetary};
			int64_t		other[3] = {-contacts[j].recency_days, contacts[j].frequency, contacts[j].monetary};

			for (int k = 0; k < 3; k++)
			{
				less[k] += other[k] < own[k];
				before[k] += other[k] < own[k] || (other[k] == own[k] && j < i);
			}
		}
		for (int k = 0; k < 3; k++)
		{
			size_t		want = n == 1 ? 5 : 1 + 5 * less[k] / (n - 1);

			if (method == MKTG_RFM_NTILE)
			{
				size_t		end = 0;

				for (want = 0; end <= before[k]; want++)
					end += n / 5 + (want < n % 5);
			}
			wrong += got[k] != (want > 5 ? 5 : want);
		}
		wrong += contacts[i].spent_less != less[2];
	}
	if (!ok(wrong == 0, "%s of %zu", name, n))
		printf("# %zu wrong\n", wrong);
	free(contacts);
	free(scratch);
}

static void
test_scores(void)
{
	static const size_t sizes[] = {1, 2, 3, 4, 5, 6, 7, 9, 11, 100, 1003};
	MktgRfm		one = {.contact_id = 1, .recency_days = 500, .frequency = 1, .monetary = 1};
	uint64_t	scratch[12500];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
	{
		check_scores(MKTG_RFM_NTILE, sizes[i], "ntile");
		check_scores(MKTG_RFM_PERCENTILE, sizes[i], "percentile");
	}
	mktg_rfm_score(&one, 1, MKTG_RFM_NTILE, 2, scratch);
	ok(one.r == 1 && one.f == 1 && one.m == 1, "the only one is in the first group");
	ok(mktg_rfm_percentile(&one, 1) == 100, "and spends more than all the others");
}

static void
test_fixed(void)
{
	static const int32_t days[] = {0, 30, 31, 90, 91, 180, 181, 365, 366};
	static const uint8_t r[] = {5, 5, 4, 4, 3, 3, 2, 2, 1};
	static const int32_t counts[] = {1, 2, 3, 4, 5, 9, 10, 1000, 1};
	static const uint8_t f[] = {1, 2, 3, 3, 4, 4, 5, 5, 1};
	static const int64_t amounts[] = {-1, 500, 501, 1000, 1001, 2500, 2501, 5000, 5001};
	static const uint8_t m[] = {1, 1, 2, 2, 3, 3, 4, 4, 5};
	MktgRfm		contacts[9] = {0};
	uint64_t	scratch[12500];
	bool		right = true;

	for (int exponent = 0, unit = 1; exponent <= 4; exponent++, unit *= 10)
	{
		for (int i = 0; i < 9; i++)
			contacts[i] = (MktgRfm) {
				.contact_id = i, .monetary = amounts[i] * unit, .recency_days = days[i], .frequency = counts[i]
			};
		mktg_rfm_score(contacts, 9, MKTG_RFM_FIXED, exponent, scratch);
		for (int i = 0; i < 9; i++)
			right = right && contacts[i].r == r[i] && contacts[i].f == f[i] && contacts[i].m == m[i] && contacts[i].spent_less == (uint32_t) i;
		ok(right, "thresholds of a currency with %d decimals", exponent);
		if (exponent > 0)
		{
			contacts[0].monetary = 500 * unit + 1;
			mktg_rfm_score(contacts, 1, MKTG_RFM_FIXED, exponent, scratch);
			is_int(contacts[0].m, 2, "one minor unit above");
		}
	}
}

static void
test_order(void)
{
	static const int64_t ids[] = {5, INT64_MIN, -1, INT64_MAX, 0, 70000};
	MktgRfm		contacts[6] = {0};
	MktgRfm		out[6];
	uint64_t	scratch[12500];
	bool		right = true;

	for (int i = 0; i < 6; i++)
		contacts[i].contact_id = ids[i];
	mktg_rfm_order(contacts, 6, scratch, out);
	for (int i = 1; i < 6; i++)
		right = right && out[i - 1].contact_id < out[i].contact_id;
	ok(right, "any ids in order");
}

/* ---- lifecycle ---- */

static void
test_lifecycle(void)
{
	const int64_t at = INT64_C(1000) * DAY;
	static const struct
	{
		int64_t		count;
		int64_t		since;		/* microseconds before "at" */
		int64_t		gap;		/* between the last two */
		const char *stage;
	}			cases[] = {
		{1, 0, 0, "New"}, {1, 30 * DAY, 0, "New"}, {1, 30 * DAY + 1, 0, "Active"},
		{1, 90 * DAY, 0, "Active"}, {1, 90 * DAY + 1, 0, "At-Risk"}, {1, 180 * DAY, 0, "At-Risk"},
		{1, 180 * DAY + 1, 0, "Churned"}, {2, 0, DAY, "Active"}, {2, 90 * DAY, 0, "Active"},
		{4, 90 * DAY, 180 * DAY, "Active"}, {5, 90 * DAY, 180 * DAY, "Engaged"},
		{5, 90 * DAY, 180 * DAY + 1, "Reactivated"}, {2, 0, 180 * DAY + 1, "Reactivated"},
		{2, 90 * DAY + 1, 400 * DAY, "At-Risk"}, {9, 180 * DAY, 400 * DAY, "At-Risk"},
		{9, 180 * DAY + 1, DAY, "Churned"}, {5, 90 * DAY + 1, DAY, "At-Risk"}
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const char *stage = mktg_lifecycle_stage(cases[i].count, at - cases[i].since,
												 at - cases[i].since - cases[i].gap, at);

		ok(strcmp(stage, cases[i].stage) == 0, "%d purchases, %.1f days ago, %.1f apart: %s", (int) cases[i].count,
		   (double) cases[i].since / DAY, (double) cases[i].gap / DAY, cases[i].stage);
	}
	ok(mktg_lifecycle_stage(0, 0, 0, at) == NULL, "no purchase, no stage");
	is_string(mktg_lifecycle_stage(1, at, INT64_MIN, at), "New", "without a second one, none before it is read");
	is_string(mktg_lifecycle_stage(2, INT64_MIN, INT64_MIN, INT64_MAX), "Churned", "as long ago as can be");
	is_string(mktg_lifecycle_stage(2, INT64_MAX, INT64_MIN, INT64_MAX), "Reactivated", "as far apart as can be");
}

int
main(void)
{
	test_segments();
	test_group();
	test_scores();
	test_fixed();
	test_order();
	test_lifecycle();
	return tap_done();
}
