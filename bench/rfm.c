/*-------------------------------------------------------------------------
 *
 * rfm.c
 *		What the scores alone cost: facts of contacts in, scores out.
 *
 * Reads "contact_id recency_days frequency monetary" a line, in the order of
 * contact_id, and prints the milliseconds that scoring them by ntile took (the
 * median of five), and the sum of r + 10 f + 100 m, to be held against SQL's.
 *
 * IDENTIFICATION
 *		bench/rfm.c
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/rfm.h"

#define TURNS	5

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static int
compare(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

int
main(void)
{
	size_t		n = 0;
	size_t		capacity = 1024;
	MktgRfm    *contacts = malloc(capacity * sizeof(MktgRfm));
	MktgRfm		contact = {0};
	double		took[TURNS];
	uint64_t	sum = 0;

	while (scanf("%" SCNd64 " %" SCNd32 " %" SCNd32 " %" SCNd64, &contact.contact_id, &contact.recency_days,
				 &contact.frequency, &contact.monetary) == 4)
	{
		if (n == capacity)
			contacts = realloc(contacts, (capacity *= 2) * sizeof(MktgRfm));
		contacts[n++] = contact;
	}
	for (int i = 0; i < TURNS; i++)
	{
		double		begin = now();
		void	   *scratch = malloc(mktg_rfm_score_scratch(n));

		mktg_rfm_score(contacts, n, MKTG_RFM_NTILE, 2, scratch);
		free(scratch);
		took[i] = now() - begin;
	}
	qsort(took, TURNS, sizeof(double), compare);
	for (size_t i = 0; i < n; i++)
		sum += contacts[i].r + 10 * contacts[i].f + 100 * contacts[i].m;
	printf("%.3f %" PRIu64 "\n", took[TURNS / 2], sum);
	return 0;
}
