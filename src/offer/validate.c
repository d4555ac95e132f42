/*-------------------------------------------------------------------------
 *
 * validate.c
 *		What a code would take off a cart, and the answer for strangers.
 *
 * Nothing is written, and nothing is promised: redeeming asks again.
 *
 * IDENTIFICATION
 *		src/offer/validate.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/array.h"

#include "base/base.h"
#include "offer/offer.h"

#define REFUSED		"This code cannot be used for this order."
#define ACCEPTED	"The code has been applied."

PG_FUNCTION_INFO_V1(mktg_validate_promo);

/* Refusals are of one shape, whatever their reason. */
static Datum
answer(FunctionCallInfo fcinfo, MktgReason reason, const MktgVerdict *verdict, Datum lines)
{
	bool		valid = reason == MKTG_REASON_OK;

	return mktg_keep_row(fcinfo, (MktgArg[])
						 {
							 MKTG_ARG(BoolGetDatum(valid)),
							 MKTG_TEXT(mktg_reasons[reason]),
							 MKTG_INT64(valid ? verdict->discount : 0),
							 MKTG_INT64(valid ? verdict->eligible_subtotal : 0),
							 MKTG_ARG(lines),
							 MKTG_TEXT(valid ? ACCEPTED : REFUSED)
						 });
}

static Datum
no_lines(void)
{
	MktgPricing none = {0};
	MktgVerdict verdict = {0};

	return mktg_verdict_lines(&none, &verdict);
}

/*
 * SQL: mktg.validate_promo(code text, contact bigint, cart jsonb, at timestamptz, tenant bigint)
 *		returns (valid boolean, reason text, discount bigint, eligible_subtotal bigint, lines jsonb, message text)
 *
 * Errors: MK010 tenant, MK011 contact.
 */
Datum
mktg_validate_promo(PG_FUNCTION_ARGS)
{
	int64		contact = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);
	TimestampTz at = PG_ARGISNULL(3) ? mktg_now() : PG_GETARG_TIMESTAMPTZ(3);
	int64		tenant = mktg_int64_argument(fcinfo, 4, "tenant");
	text	   *typed = PG_ARGISNULL(0) ? cstring_to_text("") : PG_GETARG_TEXT_PP(0);
	Jsonb	   *cart = mktg_cart_argument(fcinfo, 2);
	char		code[MKTG_CODE_MAX + 1];
	MktgPricing pricing;
	MktgOffer	offer;
	MktgLeft	left;
	MktgVerdict verdict;
	Datum		result;

	if (!mktg_code_plausible(tenant, VARDATA_ANY(typed), VARSIZE_ANY_EXHDR(typed), code))
	{
		SPI_connect();
		result = answer(fcinfo, MKTG_REASON_UNKNOWN, NULL, no_lines());
		SPI_finish();
		PG_RETURN_DATUM(result);
	}
	mktg_begin();
	mktg_pricing_begin(&pricing, contact, cart, at, tenant);
	mktg_look_up_offer(tenant, code, &offer);
	mktg_read_left(&pricing, &offer, 1, &left);
	if (pricing.cart.purchase.text != NULL && pricing.problem == NULL)
		mktg_read_priors(&pricing, pnstrdup(pricing.cart.purchase.text, pricing.cart.purchase.length), offer.offer_id);
	mktg_judge(&pricing, &offer, &left, &verdict);
	result = answer(fcinfo, verdict.reason, &verdict, mktg_verdict_lines(&pricing, &verdict));
	mktg_end();
	PG_RETURN_DATUM(result);
}
