/*-------------------------------------------------------------------------
 *
 * judge.c
 *		May an offer be used for a cart, and what does it take off?
 *
 * Every question is asked whatever the others answered, of a code that does not
 * exist too, and only then the reason is chosen: how long an answer takes says
 * nothing about the code.
 *
 * IDENTIFICATION
 *		src/offer/judge.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "offer/offer.h"

const char *const mktg_reasons[] = {
	"ok", "unknown", "disabled", "not_started", "expired", "usage_limit", "contact_limit", "minimum_amount",
	"scope", "currency", "blackout", "budget", "stacking", "segment", "first_purchase", "invalid_cart"
};

/* ---- stacking ---- */

static bool
names(Datum list, const char *code)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	if (code == NULL)
		return false;
	deconstruct_array(DatumGetArrayTypeP(list), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i] && strcmp(TextDatumGetCString(elements[i]), code) == 0)
			return true;
	return false;
}

bool
mktg_combine(const MktgOffer *a, const MktgOffer *b)
{
	return (a->stackable || names(a->combine_with, b->code)) &&
		(b->stackable || names(b->combine_with, a->code));
}

static bool
combines_with_priors(const MktgPricing *pricing, const MktgOffer *offer)
{
	for (int i = 0; i < pricing->npriors; i++)
	{
		const MktgPrior *prior = &pricing->priors[i];
		MktgOffer	other = {.code = prior->code, .stackable = prior->stackable, .combine_with = prior->combine_with};

		/* what was redeemed is not taken off again */
		if (prior->offer_id == offer->offer_id || !mktg_combine(offer, &other))
			return false;
	}
	return true;
}

/* ---- what the cart does not tell ---- */

static bool
is_first_purchase(const MktgPricing *pricing)
{
	static MktgQuery query = MKTG_QUERY("SELECT EXISTS (SELECT FROM mktg.purchase"
										"  WHERE tenant_id = $1 AND contact_id = $2 AND placed_at <= $3"
										"   AND external_id IS DISTINCT FROM $4)",
										INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID);
	MktgSlice	purchase = pricing->cart.purchase;

	if (pricing->contact_id == 0)
		return false;
	mktg_call(&query, MKTG_INT64(pricing->tenant_id), MKTG_INT64(pricing->contact_id), MKTG_TIME(pricing->at),
			  MKTG_TEXT(purchase.text == NULL ? NULL : pnstrdup(purchase.text, purchase.length)));
	return !mktg_bool_at(0, 1);
}

/* Is the contact in one of the segments, by id or name? */
static bool
in_segments(const MktgPricing *pricing, const MktgScope *scope)
{
	static MktgQuery query = MKTG_QUERY("SELECT EXISTS (SELECT FROM mktg.segment s"
										"  JOIN mktg.segment_bitmap b ON b.tenant_id = s.tenant_id AND b.segment_id = s.segment_id"
										" WHERE s.tenant_id = $1 AND (s.name = ANY ($2) OR s.segment_id::text = ANY ($2))"
										"  AND b.chunk = $3 >> 16 AND mktg._chunk_has(b.bits, $3))",
										INT8OID, TEXTARRAYOID, INT8OID);
	int			n = scope->lists[MKTG_SCOPE_SEGMENTS].n;
	Datum	   *values = palloc(n * sizeof(Datum));

	if (pricing->contact_id == 0)
		return false;
	for (int i = 0; i < n; i++)
		values[i] = PointerGetDatum(cstring_to_text_with_len(scope->lists[MKTG_SCOPE_SEGMENTS].values[i].text,
															 scope->lists[MKTG_SCOPE_SEGMENTS].values[i].length));
	mktg_call(&query, MKTG_INT64(pricing->tenant_id), MKTG_ARG(mktg_array(values, NULL, n, TEXTOID)),
			  MKTG_INT64(pricing->contact_id));
	return mktg_bool_at(0, 1);
}

/* ---- limits ---- */

/* Reservations that are over count as free: whoever redeems ends them. */
static void
add_overdue(const MktgPricing *pricing, const MktgOffer *offer, MktgLeft *left)
{
	static MktgQuery query = MKTG_QUERY("SELECT count(*), coalesce(sum(discount)::bigint, 0),"
										" count(*) FILTER (WHERE contact_id = $4 AND period = $5),"
										" count(*) FILTER (WHERE redemption_id = $6)"
										"  FROM mktg.redemption WHERE tenant_id = $1 AND offer_id = $2 AND status = 'reserved' AND expires_at <= $3",
										INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID, DATEOID, INT8OID);

	mktg_call(&query, MKTG_INT64(pricing->tenant_id), MKTG_INT64(offer->offer_id), MKTG_TIME(mktg_over_at(pricing->at)),
			  MKTG_INT64(pricing->contact_id),
			  MKTG_DATE(mktg_offer_period(offer->per_contact_period, pricing->moment.day)), MKTG_INT64(offer->taken_by));
	if (offer->usage_limit >= 0)
		left->uses += mktg_int64_at(0, 1);
	if (offer->budget >= 0)
		left->budget += mktg_int64_at(0, 2);
	if (offer->per_contact_limit > 0)
		left->contact_uses += mktg_int64_at(0, 3);
	left->code_free = left->code_free || mktg_int64_at(0, 4) > 0;
}

void
mktg_read_left(const MktgPricing *pricing, const MktgOffer *offers, int n, MktgLeft *left)
{
	static MktgQuery query = MKTG_QUERY("SELECT coalesce(sum(s.uses_left)::bigint, 9223372036854775807),"
										" coalesce(sum(s.budget_left)::bigint, 9223372036854775807),"
										" coalesce((SELECT c.used FROM mktg.offer_contact c WHERE c.tenant_id = $1 AND c.offer_id = $2"
										"            AND c.contact_id = $3 AND c.period = $4), 0)"
										"  FROM mktg.offer_slot s WHERE s.tenant_id = $1 AND s.offer_id = $2",
										INT8OID, INT8OID, INT8OID, DATEOID);

	for (int i = 0; i < n; i++)
	{
		mktg_call(&query, MKTG_INT64(pricing->tenant_id), MKTG_INT64(offers[i].offer_id), MKTG_INT64(pricing->contact_id),
				  MKTG_DATE(mktg_offer_period(offers[i].per_contact_period, pricing->moment.day)));
		left[i].uses = offers[i].usage_limit < 0 ? PG_INT64_MAX : mktg_int64_at(0, 1);
		left[i].budget = offers[i].budget < 0 ? PG_INT64_MAX : mktg_int64_at(0, 2);
		left[i].contact_uses = offers[i].per_contact_limit == 0 ? PG_INT64_MAX :
			(int64) offers[i].per_contact_limit - mktg_int32_at(0, 3);
		left[i].code_free = offers[i].taken_by == 0;
		add_overdue(pricing, &offers[i], &left[i]);
	}
}

/* ---- the verdict ---- */

void
mktg_discount(const MktgPricing *pricing, const MktgOffer *offer, MktgVerdict *verdict)
{
	MktgShare  *shares = palloc(pricing->cart.nlines * sizeof(MktgShare));

	verdict->discount = mktg_offer_discount(offer->type, offer->value, &pricing->cart, verdict->eligible,
											pricing->rest, verdict->parts, shares);
	pfree(shares);
}

static MktgReason
choose(const MktgPricing *pricing, const MktgOffer *offer, const MktgLeft *left, const MktgVerdict *verdict,
	   MktgScopeAnswer answer, bool in_segment, bool is_first)
{
	const char *wanted = offer->currency;

	if (offer->offer_id == 0 || (offer->assigned != 0 && offer->assigned != pricing->contact_id))
		return MKTG_REASON_UNKNOWN;
	if (offer->disabled)
		return MKTG_REASON_DISABLED;
	if (pricing->at < offer->starts_at)
		return MKTG_REASON_NOT_STARTED;
	if (pricing->at >= offer->ends_at)
		return MKTG_REASON_EXPIRED;
	if (wanted != NULL && strcmp(wanted, pricing->currency) != 0)
		return MKTG_REASON_CURRENCY;
	if (answer == MKTG_SCOPE_BLACKED_OUT)
		return MKTG_REASON_BLACKOUT;
	if (answer == MKTG_SCOPE_MISSES)
		return MKTG_REASON_SCOPE;
	if (!in_segment)
		return MKTG_REASON_SEGMENT;
	if (!is_first)
		return MKTG_REASON_FIRST_PURCHASE;
	if (verdict->eligible_subtotal < offer->minimum_amount)
		return MKTG_REASON_MINIMUM_AMOUNT;
	if (!combines_with_priors(pricing, offer))
		return MKTG_REASON_STACKING;
	/* whose uses are limited must be known */
	if (offer->per_contact_limit > 0 && pricing->contact_id == 0)
		return MKTG_REASON_CONTACT_LIMIT;
	if (left == NULL)
		return MKTG_REASON_OK;
	if (left->uses < 1 || !left->code_free)
		return MKTG_REASON_USAGE_LIMIT;
	if (left->contact_uses < 1)
		return MKTG_REASON_CONTACT_LIMIT;
	return left->budget < verdict->discount ? MKTG_REASON_BUDGET : MKTG_REASON_OK;
}

/* What is held against the cart for a code that does not exist: as much as most offers have. */
static Jsonb *
decoy_scope(void)
{
	static Jsonb *decoy = NULL;

	if (decoy == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);

		decoy = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
												   CStringGetDatum("{\"organizers\": [\"o1\", \"o2\"], \"items\": [\"i1\", \"i2\", \"i3\"], \"categories\": [\"c1\", \"c2\"],"
																   " \"cities\": [\"c1\", \"c2\"], \"routes\": [\"r1\", \"r2\"], \"fares\": [\"f1\", \"f2\"], \"weekdays\": [1, 2],"
																   " \"travel_window\": {\"start\": \"2000-01-01\", \"end\": \"2100-01-01\"},"
																   " \"blackout\": [{\"start\": \"2000-01-01\", \"end\": \"2000-01-02\"}]}")));
		MemoryContextSwitchTo(caller);
	}
	return decoy;
}

/* Refused sooner than a code that does not exist is an answer, too. */
static void
take_time(const MktgPricing *pricing, const MktgOffer *offer)
{
	Jsonb	   *decoy = decoy_scope();
	MktgScope	scope;

	if (offer->offer_id == 0 || VARSIZE(offer->scope) >= VARSIZE(decoy))
		return;
	if (mktg_read_scope(decoy, &pricing->surroundings, &scope) == NULL)
		(void) mktg_scope_match(&scope, &pricing->cart, pricing->moment, palloc(pricing->cart.nlines * sizeof(bool)));
}

void
mktg_judge(MktgPricing *pricing, MktgOffer *offer, const MktgLeft *left, MktgVerdict *verdict)
{
	int			n = pricing->cart.nlines;
	MktgScope	scope;
	MktgScopeAnswer answer;
	const char *problem;
	bool		in_segment;
	bool		is_first;

	memset(verdict, 0, sizeof(*verdict));
	if (pricing->problem != NULL)
	{
		verdict->reason = MKTG_REASON_INVALID_CART;
		return;
	}
	verdict->eligible = palloc0(n * sizeof(bool));
	verdict->parts = palloc0(n * sizeof(int64));
	verdict->period = mktg_offer_period(offer->per_contact_period, pricing->moment.day);
	problem = mktg_read_scope(offer->offer_id == 0 ? decoy_scope() : offer->scope, &pricing->surroundings, &scope);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("promo " INT64_FORMAT " has an invalid scope", offer->offer_id),
				 errdetail("%s.", problem),
				 errhint("mktg.update_promo() gives it another.")));
	answer = mktg_scope_match(&scope, &pricing->cart, pricing->moment, verdict->eligible);
	for (int i = 0; i < n; i++)
		if (verdict->eligible[i])
			verdict->eligible_subtotal += pricing->cart.lines[i].amount;
	mktg_discount(pricing, offer, verdict);
	in_segment = !scope.lists[MKTG_SCOPE_SEGMENTS].given || in_segments(pricing, &scope);
	is_first = !scope.first_purchase || is_first_purchase(pricing);
	verdict->reason = choose(pricing, offer, left, verdict, answer, in_segment, is_first);
	if (verdict->reason != MKTG_REASON_OK)
		take_time(pricing, offer);
}
