/*-------------------------------------------------------------------------
 *
 * best.c
 *		Which of several offers apply together, and in which order.
 *
 * Offers are taken by priority, then by what they would take off alone; each
 * must combine with all that were taken before it. Those taken are applied by
 * priority, percentages before amounts, then by id, each to what the ones
 * before it have left.
 *
 * IDENTIFICATION
 *		src/offer/best.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/array.h"

#include "base/base.h"
#include "offer/offer.h"

#define MAX_CODES	100

PG_FUNCTION_INFO_V1(mktg_best_offers);

static int
compare(int64 a, int64 b)
{
	return a < b ? -1 : a > b;
}

static int
by_worth(const void *left, const void *right)
{
	const MktgApplied *a = *(MktgApplied *const *) left;
	const MktgApplied *b = *(MktgApplied *const *) right;
	int			order = compare(a->offer->priority, b->offer->priority);

	if (order == 0)
		order = compare(b->verdict.discount, a->verdict.discount);
	return order != 0 ? order : compare(a->offer->offer_id, b->offer->offer_id);
}

static int
by_turn(const void *left, const void *right)
{
	const MktgApplied *a = *(MktgApplied *const *) left;
	const MktgApplied *b = *(MktgApplied *const *) right;
	int			order = compare(a->offer->priority, b->offer->priority);

	if (order == 0)
		order = compare(a->offer->type, b->offer->type);
	return order != 0 ? order : compare(a->offer->offer_id, b->offer->offer_id);
}

/* The codes as they are kept, without those that can be none ("refused") and those that come twice. */
static ArrayType *
normalize_codes(int64 tenant, ArrayType *codes, MktgOffer **refused, int *nrefused)
{
	Datum	   *typed = NULL;
	bool	   *nulls;
	Datum	   *kept;
	int			n = 0;
	int			nkept = 0;

	if (codes != NULL)
		deconstruct_array(codes, TEXTOID, -1, false, TYPALIGN_INT, &typed, &nulls, &n);
	if (n > MAX_CODES)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_TOO_LARGE),
				 errmsg("there are too many codes"),
				 errdetail("%d were given, and %d are the most.", n, MAX_CODES),
				 errhint("Ask for those the contact has entered.")));
	kept = palloc((n + 1) * sizeof(Datum));
	*refused = palloc0((n + 1) * sizeof(MktgOffer));
	*nrefused = 0;
	for (int i = 0; i < n; i++)
	{
		char		code[MKTG_CODE_MAX + 1];
		text	   *given = nulls[i] ? cstring_to_text("") : DatumGetTextPP(typed[i]);
		bool		again = false;

		if (!mktg_code_plausible(tenant, VARDATA_ANY(given), VARSIZE_ANY_EXHDR(given), code))
		{
			(*refused)[(*nrefused)++].typed = text_to_cstring(given);
			continue;
		}
		for (int k = 0; k < nkept && !again; k++)
			again = strcmp(TextDatumGetCString(kept[k]), code) == 0;
		if (!again)
			kept[nkept++] = CStringGetTextDatum(code);
	}
	return DatumGetArrayTypeP(mktg_array(kept, NULL, nkept, TEXTOID));
}

static bool
combines_with_all(const MktgApplied *candidate, MktgApplied *const *taken, int n)
{
	for (int i = 0; i < n; i++)
		if (candidate->offer->offer_id == taken[i]->offer->offer_id || !mktg_combine(candidate->offer, taken[i]->offer))
			return false;
	return true;
}

/* The applicable ones that go together go to the front of "list"; gives their number. */
static int
select_best(MktgApplied **list, int n)
{
	int			taken = 0;

	qsort(list, n, sizeof(MktgApplied *), by_worth);
	for (int i = 0; i < n; i++)
	{
		MktgApplied *candidate = list[i];

		if (candidate->verdict.reason != MKTG_REASON_OK)
			continue;
		if (!combines_with_all(candidate, list, taken))
		{
			candidate->verdict.reason = MKTG_REASON_STACKING;
			continue;
		}
		candidate->applied = true;
		list[i] = list[taken];
		list[taken++] = candidate;
	}
	qsort(list, taken, sizeof(MktgApplied *), by_turn);
	return taken;
}

static int64
sum_of(const int64 *amounts, int n)
{
	int64		sum = 0;

	for (int i = 0; i < n; i++)
		sum += amounts[i];
	return sum;
}

MktgApplied *
mktg_apply_best(MktgPricing *pricing, ArrayType *codes, int *n)
{
	MktgOffer  *refused;
	int			nrefused;
	ArrayType  *kept = normalize_codes(pricing->tenant_id, codes, &refused, &nrefused);
	int			nfound;
	MktgOffer  *offers = mktg_find_offers(pricing->tenant_id, kept, pricing->at, &nfound);
	MktgLeft   *left = palloc((nfound + 1) * sizeof(MktgLeft));
	MktgApplied *all;
	MktgApplied **list;
	MktgApplied *result;
	int			lines = pricing->cart.nlines;
	int			taken;
	int			next = 0;

	*n = nfound + nrefused;
	all = palloc0((*n + 1) * sizeof(MktgApplied));
	list = palloc((*n + 1) * sizeof(MktgApplied *));
	result = palloc((*n + 1) * sizeof(MktgApplied));
	mktg_read_left(pricing, offers, nfound, left);
	for (int i = 0; i < *n; i++)
	{
		all[i].offer = i < nfound ? &offers[i] : &refused[i - nfound];
		list[i] = &all[i];
		if (i < nfound)
			mktg_judge(pricing, all[i].offer, &left[i], &all[i].verdict);
		else
			all[i].verdict.reason = MKTG_REASON_UNKNOWN;
	}
	taken = select_best(list, *n);
	for (int i = 0; i < taken; i++)
	{
		mktg_discount(pricing, list[i]->offer, &list[i]->verdict);
		for (int k = 0; k < lines; k++)
			pricing->rest[k] -= list[i]->verdict.parts[k];
		list[i]->running_total = sum_of(pricing->rest, lines);
		result[next++] = *list[i];
	}
	/* what does not apply, in the order it was named; automatic offers go without saying */
	for (int i = 0; i < *n; i++)
	{
		if (all[i].applied || (all[i].offer->typed == NULL && all[i].verdict.reason != MKTG_REASON_STACKING))
			continue;
		all[i].verdict.discount = 0;
		all[i].running_total = pricing->problem == NULL ? sum_of(pricing->rest, lines) : 0;
		result[next++] = all[i];
	}
	*n = next;
	return result;
}

/*
 * SQL: mktg.best_offers(contact bigint, cart jsonb, codes text[], at timestamptz, tenant bigint)
 *		returns setof (code text, applied boolean, reason text, discount bigint, running_total bigint)
 *
 * Errors: MK010 tenant, MK011 contact, MK025 over 100 codes.
 */
Datum
mktg_best_offers(PG_FUNCTION_ARGS)
{
	Jsonb	   *cart = mktg_cart_argument(fcinfo, 1);
	TimestampTz at = PG_ARGISNULL(3) ? mktg_now() : PG_GETARG_TIMESTAMPTZ(3);
	int64		tenant = mktg_int64_argument(fcinfo, 4, "tenant");
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MktgPricing pricing;
	MktgApplied *applied;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	mktg_begin();
	mktg_pricing_begin(&pricing, PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0), cart, at, tenant);
	if (pricing.problem == NULL && pricing.cart.purchase.text != NULL)
		mktg_read_priors(&pricing, pnstrdup(pricing.cart.purchase.text, pricing.cart.purchase.length), 0);
	applied = mktg_apply_best(&pricing, PG_ARGISNULL(2) ? NULL : PG_GETARG_ARRAYTYPE_P(2), &n);
	for (int i = 0; i < n; i++)
	{
		Datum		values[5];
		bool		nulls[5] = {applied[i].offer->typed == NULL};

		values[0] = nulls[0] ? (Datum) 0 : CStringGetTextDatum(applied[i].offer->typed);
		values[1] = BoolGetDatum(applied[i].applied);
		values[2] = CStringGetTextDatum(mktg_reasons[applied[i].verdict.reason]);
		values[3] = Int64GetDatum(applied[i].verdict.discount);
		values[4] = Int64GetDatum(applied[i].running_total);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	mktg_end();
	return (Datum) 0;
}
