/*-------------------------------------------------------------------------
 *
 * redeem.c
 *		Reserving an offer for a cart, or using it at once.
 *
 * The row of the redemption comes first: its keys make others that mean the
 * same wait.  Then the contact's count, the code, and last the offer's limits, in
 * this order for everybody.  A refusal is an error, which takes back what was
 * written.
 *
 * IDENTIFICATION
 *		src/offer/redeem.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "storage/lock.h"
#include "utils/fmgrprotos.h"

#include "base/base.h"
#include "offer/offer.h"

/* The fourth field of the tag; slot.c has 79. */
#define LOCK_SPACE	80

#define MAX_KEY		200

typedef struct Request
{
	char		code[MKTG_CODE_MAX + 1];
	bool		commits;
	const char *purchase;		/* NULL: not known yet */
	const char *key;			/* NULL: none */
	int64		hash;
	TimestampTz expires_at;
} Request;

typedef struct Redeemed
{
	int64		redemption_id;
	int64		discount;
	TimestampTz expires_at;		/* DT_NOEND: does not */
} Redeemed;

PG_FUNCTION_INFO_V1(mktg_reserve_promo);
PG_FUNCTION_INFO_V1(mktg_redeem_promo);

static void
refuse(MktgReason reason, const char *problem)
{
	static const char *const hints[] = {
		"", "No such code is known, or it belongs to somebody else.", "The promo was disabled.", "The promo has not started.",
		"The promo is over.", "The code has been used as often as it may be.", "The contact has used the code as often as it may.",
		"The eligible part of the cart is below the minimum.", "Nothing in the cart is what the promo is for.",
		"The promo is in another currency.", "The day is one of those the promo leaves out.", "What is left of the budget is less than the discount.",
		"What was redeemed for the purchase does not combine with the promo.", "The contact is in none of the promo's segments.",
		"The contact has bought before.", ""
	};

	ereport(ERROR,
			(errcode(ERRCODE_MKTG_PROMO_REFUSED),
			 errmsg("promo code was refused"),
			 errdetail("%s", mktg_reasons[reason]),
			 problem != NULL ? errhint("The cart is invalid: %s.", problem) : errhint("%s", hints[reason])));
}

/* Two that redeem for one purchase would not see one another's discounts. */
static void
lock_purchase(int64 tenant, const char *purchase)
{
	LOCKTAG		tag;
	uint64		key = hash_bytes_extended((const unsigned char *) purchase, strlen(purchase), (uint64) tenant);

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key, LOCK_SPACE);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

static int64
content_hash(const Request *request, const MktgPricing *pricing, Jsonb *cart)
{
	uint64		hash = DatumGetUInt64(DirectFunctionCall2(jsonb_hash_extended, JsonbPGetDatum(cart), UInt64GetDatum(0)));

	hash = hash_combine64(hash, hash_bytes_extended((const unsigned char *) request->code, strlen(request->code), 1));
	hash = hash_combine64(hash, (uint64) pricing->contact_id);
	if (request->purchase != NULL)
		hash = hash_combine64(hash, hash_bytes_extended((const unsigned char *) request->purchase,
														strlen(request->purchase), 2));
	return (int64) hash;
}

/* ---- what was redeemed before ---- */

static void
refuse_other_content(const char *what, int64 redemption)
{
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_IDEMPOTENCY_CONFLICT),
			 errmsg("%s was used with another content", what),
			 errdetail("Redemption " INT64_FORMAT " has another code, contact, cart or purchase.", redemption),
			 errhint("Repeat a call as it was, or use another key.")));
}

static void
refuse_over(int64 redemption, const char *status)
{
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_REDEMPTION_OVER),
			 errmsg("redemption " INT64_FORMAT " is there already", redemption),
			 errdetail("It is %s.", status),
			 errhint("A reserved one is committed by mktg.commit_redemption(); for one that is over use another key and purchase.")));
}

/* The answer given before to the same request; false if there is none. */
static bool
find_answer(const MktgPricing *pricing, const MktgOffer *offer, const Request *request, Redeemed *redeemed)
{
#define ANSWER_COLUMNS "SELECT redemption_id, discount, coalesce(expires_at, 'infinity'), content_hash, status FROM mktg.redemption"
	static MktgQuery by_key = {
		.sql = ANSWER_COLUMNS " WHERE tenant_id = $1 AND idempotency_key = $2",
		.fresh = true, .nargs = 2, .argtypes = {INT8OID, TEXTOID}
	};
	static MktgQuery by_purchase = {
		.sql = ANSWER_COLUMNS " WHERE tenant_id = $1 AND purchase = $2 AND offer_id = $3 AND status NOT IN ('released', 'expired')",
		.fresh = true, .nargs = 3, .argtypes = {INT8OID, TEXTOID, INT8OID}
	};
	const char *what = "idempotency key";
	uint64		rows = 0;
	char	   *status;

	if (request->key != NULL)
		rows = mktg_call(&by_key, MKTG_INT64(pricing->tenant_id), MKTG_TEXT(request->key));
	if (rows == 0 && request->purchase != NULL && offer->offer_id != 0)
	{
		what = "purchase";
		rows = mktg_call(&by_purchase, MKTG_INT64(pricing->tenant_id), MKTG_TEXT(request->purchase), MKTG_INT64(offer->offer_id));
	}
	if (rows == 0)
		return false;
	redeemed->redemption_id = mktg_int64_at(0, 1);
	redeemed->discount = mktg_int64_at(0, 2);
	redeemed->expires_at = mktg_int64_at(0, 3);
	if (mktg_int64_at(0, 4) != request->hash)
		refuse_other_content(what, redeemed->redemption_id);
	status = mktg_text_at(0, 5);
	if (strcmp(status, "committed") != 0 && (request->commits || strcmp(status, "reserved") != 0))
		refuse_over(redeemed->redemption_id, status);
	return true;
}

/* ---- a use ---- */

/* False if others have used the key or the purchase meanwhile. */
static bool
insert_redemption(const MktgPricing *pricing, const MktgOffer *offer, const Request *request, const MktgVerdict *verdict,
				  Redeemed *redeemed)
{
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.redemption (tenant_id, offer_id, contact_id, content_hash,"
										"  eligible_subtotal, discount, reserved_at, expires_at, committed_at, period, status, code,"
										"  idempotency_key, purchase, currency, lines)"
										" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN $8 IS NULL THEN $7 END, $9,"
										"  CASE WHEN $8 IS NULL THEN 'committed' ELSE 'reserved' END, $10, $11, $12, $13, $14)"
										" ON CONFLICT DO NOTHING RETURNING redemption_id",
										INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
										DATEOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID);

	if (mktg_call(&query, MKTG_INT64(pricing->tenant_id), MKTG_INT64(offer->offer_id),
				  pricing->contact_id == 0 ? MKTG_NULL : MKTG_INT64(pricing->contact_id), MKTG_INT64(request->hash),
				  MKTG_INT64(verdict->eligible_subtotal), MKTG_INT64(verdict->discount), MKTG_TIME(pricing->at),
				  request->commits ? MKTG_NULL : MKTG_TIME(request->expires_at),
				  offer->per_contact_limit == 0 ? MKTG_NULL : MKTG_DATE(verdict->period), MKTG_TEXT(request->code),
				  MKTG_TEXT(request->key), MKTG_TEXT(request->purchase), MKTG_TEXT(pricing->currency),
				  MKTG_ARG(mktg_verdict_lines(pricing, verdict))) == 0)
		return false;
	redeemed->redemption_id = mktg_int64_at(0, 1);
	redeemed->discount = verdict->discount;
	redeemed->expires_at = request->commits ? DT_NOEND : request->expires_at;
	return true;
}

static bool
count_contact(const MktgPricing *pricing, const MktgOffer *offer, DateADT period)
{
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.offer_contact AS c (tenant_id, offer_id, contact_id, period, used)"
										" VALUES ($1, $2, $3, $4, 1) ON CONFLICT (tenant_id, offer_id, contact_id, period)"
										" DO UPDATE SET used = c.used + 1 WHERE c.used < $5",
										INT8OID, INT8OID, INT8OID, DATEOID, INT4OID);

	return mktg_call(&query, MKTG_INT64(pricing->tenant_id), MKTG_INT64(offer->offer_id), MKTG_INT64(pricing->contact_id),
					 MKTG_DATE(period), MKTG_INT32(offer->per_contact_limit)) > 0;
}

/* The code, if it can be used once. */
static bool
claim_code(const MktgPricing *pricing, const Request *request, int64 redemption)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.promo_code SET redemption_id = $3"
										" WHERE tenant_id = $1 AND code = $2 AND redemption_id IS NULL",
										INT8OID, TEXTOID, INT8OID);

	return mktg_call(&query, MKTG_INT64(pricing->tenant_id), MKTG_TEXT(request->code), MKTG_INT64(redemption)) > 0;
}

/*
 * What reservations that are over give back of their uses and budget is taken
 * into account where the offer's own are taken, once.
 */
static void
take(const MktgPricing *pricing, MktgOffer *offer, const Request *request, const MktgVerdict *verdict, int64 redemption)
{
	TimestampTz over_at = mktg_over_at(pricing->at);
	int64		back_uses = 0;
	int64		back_budget = 0;
	int64		budget;
	MktgReason	reason;

	if (offer->per_contact_limit > 0 && !count_contact(pricing, offer, verdict->period))
	{
		back_uses += mktg_expire_reservations(pricing->tenant_id, offer->offer_id, pricing->contact_id, 0, over_at, &budget);
		back_budget += budget;
		if (!count_contact(pricing, offer, verdict->period))
			refuse(MKTG_REASON_CONTACT_LIMIT, NULL);
	}
	if (offer->is_single && !claim_code(pricing, request, redemption))
	{
		if (offer->taken_by != 0)
		{
			back_uses += mktg_expire_reservations(pricing->tenant_id, offer->offer_id, 0, offer->taken_by, over_at, &budget);
			back_budget += budget;
		}
		if (!claim_code(pricing, request, redemption))
			refuse(MKTG_REASON_USAGE_LIMIT, NULL);
	}
	reason = mktg_take_uses(offer, 1 - back_uses, verdict->discount - back_budget, pricing->at);
	if (reason != MKTG_REASON_OK)
		refuse(reason, NULL);
}

static void
redeem(MktgPricing *pricing, Request *request, Jsonb *cart, Redeemed *redeemed)
{
	MktgOffer	offer;
	MktgVerdict verdict;
	bool		recalled;

	if (request->purchase != NULL)
		lock_purchase(pricing->tenant_id, request->purchase);
	recalled = mktg_recall_offer(pricing->tenant_id, request->code, &offer);
	request->hash = content_hash(request, pricing, cart);
	if (request->purchase != NULL)
		mktg_read_priors(pricing, request->purchase, offer.offer_id);
	mktg_judge(pricing, &offer, NULL, &verdict);
	if (verdict.reason != MKTG_REASON_OK)
	{
		if (find_answer(pricing, &offer, request, redeemed))
			return;
		/* no sooner than a code that does not exist */
		if (recalled)
			mktg_look_up_offer(pricing->tenant_id, request->code, &offer);
		refuse(verdict.reason, pricing->problem);
	}
	if (insert_redemption(pricing, &offer, request, &verdict, redeemed))
		take(pricing, &offer, request, &verdict, redeemed->redemption_id);
	else if (!find_answer(pricing, &offer, request, redeemed))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update"),
				 errdetail("A redemption with the same key was made and ended meanwhile."),
				 errhint("Repeat the transaction.")));
}

/* ---- entry points ---- */

static const char *
key_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	char	   *key;

	if (PG_ARGISNULL(n))
		return NULL;
	key = text_to_cstring(PG_GETARG_TEXT_PP(n));
	if (key[0] == '\0' || strlen(key) > MAX_KEY)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("%s must have 1 to %d bytes", what, MAX_KEY),
				 errdetail("It has %d.", (int) strlen(key)),
				 errhint("Leave it NULL for none.")));
	return key;
}

/* Reads what both have in common: code, contact and cart are the first arguments. */
static void
begin_request(FunctionCallInfo fcinfo, TimestampTz at, int64 tenant, MktgPricing *pricing, Request *request)
{
	text	   *typed = PG_ARGISNULL(0) ? cstring_to_text("") : PG_GETARG_TEXT_PP(0);
	Jsonb	   *cart = mktg_cart_argument(fcinfo, 2);
	int64		contact = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);

	if (!mktg_code_plausible(tenant, VARDATA_ANY(typed), VARSIZE_ANY_EXHDR(typed), request->code))
		refuse(MKTG_REASON_UNKNOWN, NULL);
	mktg_begin();
	mktg_pricing_begin(pricing, contact, cart, at, tenant);
}

/*
 * SQL: mktg.reserve_promo(code text, contact bigint, cart jsonb, idempotency_key text, ttl interval,
 *		at timestamptz, tenant bigint) returns (redemption_id bigint, discount bigint, expires_at timestamptz)
 *
 * Errors: MK080 refused, the reason in the detail; MK081 same key or purchase
 * with another content; MK084 the same redemption is over; MK010, MK011, MK024.
 */
Datum
mktg_reserve_promo(PG_FUNCTION_ARGS)
{
	TimestampTz at = PG_ARGISNULL(5) ? mktg_now() : PG_GETARG_TIMESTAMPTZ(5);
	int64		tenant = mktg_int64_argument(fcinfo, 6, "tenant");
	MktgPricing pricing;
	Request		request = {.key = key_argument(fcinfo, 3, "idempotency_key")};
	Redeemed	redeemed;
	Datum		result;

	if (PG_ARGISNULL(4))
		(void) mktg_text_argument(fcinfo, 4, "ttl");
	begin_request(fcinfo, at, tenant, &pricing, &request);
	request.expires_at = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(at),
																 PG_GETARG_DATUM(4)));
	if (request.expires_at <= at)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("ttl must be longer than nothing"),
				 errhint("For example '15 min'.")));
	if (pricing.problem == NULL && pricing.cart.purchase.text != NULL)
		request.purchase = pnstrdup(pricing.cart.purchase.text, pricing.cart.purchase.length);
	redeem(&pricing, &request, PG_GETARG_JSONB_P(2), &redeemed);
	result = mktg_keep_row(fcinfo, (MktgArg[])
						   {
							   MKTG_INT64(redeemed.redemption_id), MKTG_INT64(redeemed.discount),
							   redeemed.expires_at == DT_NOEND ? MKTG_NULL : MKTG_TIME(redeemed.expires_at)
						   });
	mktg_end();
	PG_RETURN_DATUM(result);
}

/*
 * SQL: mktg.redeem_promo(code text, contact bigint, cart jsonb, purchase text, idempotency_key text,
 *		at timestamptz, tenant bigint) returns (redemption_id bigint, discount bigint)
 *
 * Errors: those of reserve_promo().
 */
Datum
mktg_redeem_promo(PG_FUNCTION_ARGS)
{
	TimestampTz at = PG_ARGISNULL(5) ? mktg_now() : PG_GETARG_TIMESTAMPTZ(5);
	int64		tenant = mktg_int64_argument(fcinfo, 6, "tenant");
	MktgPricing pricing;
	Request		request = {.commits = true, .purchase = key_argument(fcinfo, 3, "purchase"), .key = key_argument(fcinfo, 4, "idempotency_key")};
	Redeemed	redeemed;
	MktgSlice	in_cart;
	Datum		result;

	begin_request(fcinfo, at, tenant, &pricing, &request);
	in_cart = pricing.cart.purchase;
	if (pricing.problem == NULL && in_cart.text != NULL)
	{
		if (request.purchase == NULL)
			request.purchase = pnstrdup(in_cart.text, in_cart.length);
		else if (!mktg_slice_is(in_cart, request.purchase))
			ereport(ERROR,
					(errcode(ERRCODE_MKTG_INVALID_VALUE),
					 errmsg("the cart names another purchase"),
					 errhint("Give the same one in both places, or in one.")));
	}
	redeem(&pricing, &request, PG_GETARG_JSONB_P(2), &redeemed);
	result = mktg_keep_row(fcinfo, (MktgArg[])
						   {
							   MKTG_INT64(redeemed.redemption_id), MKTG_INT64(redeemed.discount)
						   });
	mktg_end();
	PG_RETURN_DATUM(result);
}
