/*-------------------------------------------------------------------------
 *
 * quote.c
 *		The price of a cart, step by step: phase, offers, fees, tax.
 *
 * Every step is whole minor units, and the steps add up to the total.
 *
 * IDENTIFICATION
 *		src/offer/quote.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/numeric.h"

#include "base/base.h"
#include "offer/offer.h"

#define MAX_RULES	100

/* A fee or a tax: a percentage of a base, or an amount so many times. */
typedef struct Rule
{
	MktgSlice	name;
	bool		is_rate;
	int64		value;
	char	   *base;			/* of a fee: order, line, unit; of a tax: total, net, fees */
	int64		amount;			/* out */
} Rule;

typedef struct Quote
{
	MktgPricing pricing;
	int64	   *base_prices;	/* by line */
	MktgPhase  *phases;			/* by line */
	int64		base_subtotal;
	int64		redeemed;		/* taken off by earlier redemptions of the purchase */
	int64		net;
	MktgApplied *offers;
	int			noffers;
	Rule		fees[MAX_RULES + MKTG_CART_MAX_FEES];
	int			nfees;
	Rule		taxes[MAX_RULES];
	int			ntaxes;
	int64		fee_total;
	int64		tax_total;
	int64		total;
} Quote;

PG_FUNCTION_INFO_V1(mktg_quote);

static void
refuse(const char *message, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_VALUE),
			 errmsg("%s", message),
			 errdetail("%s.", detail),
			 errhint("fee_rules are such as {\"fees\": [{\"name\": \"booking\", \"percent\": 2.5}, {\"name\": \"seat\", \"amount\": 500, \"per\": \"unit\"}],"
					 " \"taxes\": [{\"name\": \"GST\", \"percent\": 18, \"on\": \"total\"}]}.")));
}

static int64
add(int64 a, int64 b)
{
	int64		sum;

	if (pg_add_s64_overflow(a, b, &sum))
		refuse("the amounts add up to more than a bigint holds", "No price is that high");
	return sum;
}

/* ---- rules ---- */

static void
read_word(Rule *rule, const JsonbValue *value, const char *const *words, int n)
{
	if (value->type != jbvString || mktg_json_word(words, n, value->val.string.val, value->val.string.len) < 0)
		refuse("invalid fee_rules", "per is order, line or unit, and on is total, net or fees");
	rule->base = pnstrdup(value->val.string.val, value->val.string.len);
}

static void
read_number(Rule *rule, const JsonbValue *value, bool is_rate)
{
	char	   *number = value->type == jbvNumeric ? numeric_normalize(value->val.numeric) : "";

	rule->is_rate = is_rate;
	if (rule->value >= 0 || !mktg_read_decimal(number, strlen(number), is_rate ? 6 : 0, &rule->value) || rule->value < 0 ||
		(is_rate && rule->value > 10 * MKTG_RATE_MAX))
		refuse("invalid fee_rules", "A rule has either a percent from 0 to 1000, or an amount in whole minor units");
}

static void
read_rule(JsonbContainer *object, bool is_tax, Rule *rule)
{
	static const char *const pers[] = {"order", "line", "unit"};
	static const char *const ons[] = {"total", "net", "fees"};
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	*rule = (Rule) {.value = -1, .base = is_tax ? "total" : "order"};
	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		MktgSlice	word;

		if (token != WJB_KEY)
			continue;
		word = (MktgSlice) {key.val.string.val, key.val.string.len};
		(void) JsonbIteratorNext(&iterator, &value, true);
		if (mktg_slice_is(word, "name") && value.type == jbvString)
			rule->name = (MktgSlice) {value.val.string.val, value.val.string.len};
		else if (mktg_slice_is(word, "percent"))
			read_number(rule, &value, true);
		else if (mktg_slice_is(word, "amount") && !is_tax)
			read_number(rule, &value, false);
		else if (mktg_slice_is(word, is_tax ? "on" : "per"))
			read_word(rule, &value, is_tax ? ons : pers, 3);
		else
			refuse("invalid fee_rules", psprintf("A rule has no \"%s\", or not of this type", pnstrdup(word.text, Min(word.length, 60))));
	}
	if (rule->value < 0)
		refuse("invalid fee_rules", "A rule must have a percent or an amount");
}

static int
read_rules(JsonbValue *list, bool is_tax, Rule *rules)
{
	int			n;

	if (list->type != jbvBinary || !JsonContainerIsArray(list->val.binary.data))
		refuse("invalid fee_rules", "fees and taxes are arrays of objects");
	n = JsonContainerSize(list->val.binary.data);
	if (n > MAX_RULES)
		refuse("invalid fee_rules", "There are more than 100 of them");
	for (int i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(list->val.binary.data, i);

		if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
			refuse("invalid fee_rules", "fees and taxes are arrays of objects");
		read_rule(element->val.binary.data, is_tax, &rules[i]);
	}
	return n;
}

static void
read_fee_rules(Quote *quote, Jsonb *rules)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(rules))
		refuse("invalid fee_rules", "They must be an object");
	iterator = JsonbIteratorInit(&rules->root);
	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		MktgSlice	word;

		if (token != WJB_KEY)
			continue;
		word = (MktgSlice) {key.val.string.val, key.val.string.len};
		(void) JsonbIteratorNext(&iterator, &value, true);
		if (mktg_slice_is(word, "fees"))
			quote->nfees = read_rules(&value, false, quote->fees);
		else if (mktg_slice_is(word, "taxes"))
			quote->ntaxes = read_rules(&value, true, quote->taxes);
		else
			refuse("invalid fee_rules", psprintf("There is no \"%s\"", pnstrdup(word.text, Min(word.length, 60))));
	}
}

/* ---- steps ---- */

/* Lines at the price of the phase they are in. */
static void
apply_phases(Quote *quote, TimestampTz at)
{
	MktgCart   *cart = &quote->pricing.cart;
	Datum	   *items = palloc(cart->nlines * sizeof(Datum));
	Datum	   *booked = palloc(cart->nlines * sizeof(Datum));

	quote->base_prices = palloc(cart->nlines * sizeof(int64));
	quote->phases = palloc(cart->nlines * sizeof(MktgPhase));
	quote->base_subtotal = cart->subtotal;
	for (int i = 0; i < cart->nlines; i++)
	{
		MktgSlice	item = cart->lines[i].item;

		items[i] = PointerGetDatum(cstring_to_text_with_len(item.text == NULL ? "" : item.text, item.length));
		booked[i] = Int64GetDatum(cart->lines[i].booked_seats);
	}
	mktg_find_phases(quote->pricing.tenant_id, items, booked, cart->nlines, at, quote->phases);
	for (int i = 0; i < cart->nlines; i++)
	{
		quote->base_prices[i] = cart->lines[i].unit_price;
		if (quote->phases[i].phase_id != 0)
			cart->lines[i].unit_price = quote->phases[i].price;
	}
	if (!mktg_cart_total(cart))
		refuse("the amounts add up to more than a bigint holds", "No price is that high");
	for (int i = 0; i < cart->nlines; i++)
		quote->pricing.rest[i] = cart->lines[i].amount;
}

static int64
rest_of(const Quote *quote)
{
	int64		rest = 0;

	for (int i = 0; i < quote->pricing.cart.nlines; i++)
		rest += quote->pricing.rest[i];
	return rest;
}

static void
apply_offers(Quote *quote, ArrayType *codes)
{
	MktgPricing *pricing = &quote->pricing;

	if (pricing->cart.purchase.text != NULL)
		mktg_read_priors(pricing, pnstrdup(pricing->cart.purchase.text, pricing->cart.purchase.length), 0);
	quote->redeemed = pricing->cart.subtotal - rest_of(quote);
	quote->offers = mktg_apply_best(pricing, codes, &quote->noffers);
	quote->net = rest_of(quote);
}

static int64
percent_of(int64 amount, int64 rate)
{
	int64		result;

	if (!mktg_percent_of(amount, rate, &result))
		refuse("the amounts add up to more than a bigint holds", "No price is that high");
	return result;
}

static void
apply_fees(Quote *quote)
{
	MktgCart   *cart = &quote->pricing.cart;
	int64		units = 0;

	for (int i = 0; i < cart->nlines; i++)
		units = add(units, cart->lines[i].quantity);
	for (int i = 0; i < quote->nfees; i++)
	{
		Rule	   *fee = &quote->fees[i];
		int64		times = strcmp(fee->base, "unit") == 0 ? units : strcmp(fee->base, "line") == 0 ? cart->nlines : 1;

		if (fee->is_rate)
			fee->amount = percent_of(quote->net, fee->value);
		else if (pg_mul_s64_overflow(fee->value, times, &fee->amount))
			refuse("the amounts add up to more than a bigint holds", "No price is that high");
	}
	for (int i = 0; i < cart->nfees; i++)
		quote->fees[quote->nfees++] = (Rule) {.name = cart->fees[i].name, .amount = cart->fees[i].amount};
	for (int i = 0; i < quote->nfees; i++)
		quote->fee_total = add(quote->fee_total, quote->fees[i].amount);
}

static void
apply_taxes(Quote *quote)
{
	for (int i = 0; i < quote->ntaxes; i++)
	{
		Rule	   *tax = &quote->taxes[i];
		int64		base = strcmp(tax->base, "net") == 0 ? quote->net :
			strcmp(tax->base, "fees") == 0 ? quote->fee_total : add(quote->net, quote->fee_total);

		tax->amount = percent_of(base, tax->value);
		quote->tax_total = add(quote->tax_total, tax->amount);
	}
	quote->total = add(add(quote->net, quote->fee_total), quote->tax_total);
}

/* ---- the answer ---- */

static MktgSlice
slice(const char *string)
{
	return (MktgSlice) {string, string == NULL ? 0 : strlen(string)};
}

static void
push_lines(JsonbParseState **state, const Quote *quote)
{
	const MktgCart *cart = &quote->pricing.cart;

	mktg_push_key(state, "lines");
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < cart->nlines; i++)
	{
		const MktgCartLine *line = &cart->lines[i];

		pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		mktg_push_number(state, "line", i + 1);
		mktg_push_text(state, "id", line->id);
		mktg_push_text(state, "item", line->item);
		mktg_push_number(state, "quantity", line->quantity);
		mktg_push_number(state, "base_price", quote->base_prices[i]);
		mktg_push_number(state, "unit_price", line->unit_price);
		if (quote->phases[i].phase_id != 0)
		{
			mktg_push_number(state, "phase_id", quote->phases[i].phase_id);
			mktg_push_text(state, "phase_name", slice(quote->phases[i].name));
		}
		mktg_push_number(state, "amount", line->amount);
		mktg_push_number(state, "discount", line->amount - quote->pricing.rest[i]);
		mktg_push_number(state, "net", quote->pricing.rest[i]);
		pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static void
push_offers(JsonbParseState **state, const Quote *quote)
{
	mktg_push_key(state, "offers");
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < quote->noffers; i++)
	{
		const MktgApplied *offer = &quote->offers[i];
		JsonbValue	applied = {.type = jbvBool};

		pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		mktg_push_text(state, "code", slice(offer->offer->typed));
		if (offer->offer->offer_id != 0)
			mktg_push_number(state, "promo", offer->offer->offer_id);
		mktg_push_key(state, "applied");
		applied.val.boolean = offer->applied;
		pushJsonbValue(state, WJB_VALUE, &applied);
		mktg_push_text(state, "reason", slice(mktg_reasons[offer->verdict.reason]));
		mktg_push_number(state, "discount", offer->verdict.discount);
		mktg_push_number(state, "running_total", offer->running_total);
		pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static void
push_rules(JsonbParseState **state, const char *key, const Rule *rules, int n)
{
	mktg_push_key(state, key);
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
	{
		pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		mktg_push_text(state, "name", rules[i].name);
		mktg_push_number(state, "amount", rules[i].amount);
		pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static Jsonb *
as_json(const Quote *quote)
{
	JsonbParseState *state = NULL;
	int64		subtotal = quote->pricing.cart.subtotal;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	mktg_push_text(&state, "currency", slice(quote->pricing.currency));
	push_lines(&state, quote);
	mktg_push_number(&state, "base_subtotal", quote->base_subtotal);
	mktg_push_number(&state, "phase_adjustment", subtotal - quote->base_subtotal);
	mktg_push_number(&state, "subtotal", subtotal);
	mktg_push_number(&state, "redeemed", quote->redeemed);
	push_offers(&state, quote);
	mktg_push_number(&state, "discount", subtotal - quote->net);
	mktg_push_number(&state, "net", quote->net);
	push_rules(&state, "fees", quote->fees, quote->nfees);
	mktg_push_number(&state, "fee_total", quote->fee_total);
	push_rules(&state, "taxes", quote->taxes, quote->ntaxes);
	mktg_push_number(&state, "tax_total", quote->tax_total);
	mktg_push_number(&state, "total", quote->total);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * SQL: mktg.quote(contact bigint, cart jsonb, codes text[], fee_rules jsonb, at timestamptz, tenant bigint)
 *		returns jsonb
 *
 * Errors: MK024 cart or fee_rules, MK010 tenant, MK011 contact, MK025 over 100 codes.
 */
Datum
mktg_quote(PG_FUNCTION_ARGS)
{
	Jsonb	   *cart = mktg_cart_argument(fcinfo, 1);
	TimestampTz at = PG_ARGISNULL(4) ? mktg_now() : PG_GETARG_TIMESTAMPTZ(4);
	int64		tenant = mktg_int64_argument(fcinfo, 5, "tenant");
	Quote	   *quote;
	Jsonb	   *answer;
	Jsonb	   *result;

	mktg_begin();
	quote = palloc0(sizeof(Quote));
	mktg_pricing_begin(&quote->pricing, PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0), cart, at, tenant);
	if (quote->pricing.problem != NULL)
		refuse("invalid cart", quote->pricing.problem);
	if (!PG_ARGISNULL(3))
		read_fee_rules(quote, PG_GETARG_JSONB_P(3));
	apply_phases(quote, at);
	apply_offers(quote, PG_ARGISNULL(2) ? NULL : PG_GETARG_ARRAYTYPE_P(2));
	apply_fees(quote);
	apply_taxes(quote);
	answer = as_json(quote);
	result = SPI_palloc(VARSIZE(answer));
	memcpy(result, answer, VARSIZE(answer));
	mktg_end();
	PG_RETURN_JSONB_P(result);
}
