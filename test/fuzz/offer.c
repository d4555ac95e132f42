/*-------------------------------------------------------------------------
 *
 * offer.c
 *		Fuzzes typed codes, carts and scopes, and what comes of them.
 *
 * The first byte says how much of the input is the cart; the rest is the scope.
 *
 * IDENTIFICATION
 *		test/fuzz/offer.c
 *
 *-------------------------------------------------------------------------
 */
#include "../unit/json_events.h"
#include "fuzz.h"

static void
check_code(const char *text, size_t length)
{
	char		code[MKTG_CODE_MAX + 1];
	char		again[MKTG_CODE_MAX + 1];

	if (!mktg_code_normalize(text, length, code))
		return;
	PROMISE(strlen(code) >= 1 && strlen(code) <= MKTG_CODE_MAX && strlen(code) <= length);
	PROMISE(mktg_code_normalize(code, strlen(code), again) && strcmp(code, again) == 0);
	if (mktg_code_check(mktg_code_plain, code, strlen(code)) != '\0' && strlen(code) < MKTG_CODE_MAX)
	{
		char		checked[MKTG_CODE_MAX + 2];

		snprintf(checked, sizeof(checked), "%s%c", code, mktg_code_check(mktg_code_plain, code, strlen(code)));
		PROMISE(mktg_code_valid(mktg_code_plain, checked, strlen(checked)));
	}
}

/* Whatever a scope leaves of a cart, discounts stay within it. */
static void
check_discounts(const MktgCart *cart, const MktgScope *scope, int64_t value)
{
	bool	   *eligible = calloc((size_t) cart->nlines, sizeof(bool));
	int64_t    *rest = calloc((size_t) cart->nlines, sizeof(int64_t));
	int64_t    *parts = calloc((size_t) cart->nlines, sizeof(int64_t));
	MktgShare  *shares = calloc((size_t) cart->nlines, sizeof(MktgShare));
	bool		any = false;
	MktgScopeAnswer answer = mktg_scope_match(scope, cart, (MktgMoment) {value, (int32_t) (value % 100000)}, eligible);

	for (int i = 0; i < cart->nlines; i++)
	{
		rest[i] = cart->lines[i].amount;
		any = any || eligible[i];
	}
	PROMISE(answer != MKTG_SCOPE_FITS || any);
	for (MktgOfferType type = MKTG_OFFER_PERCENT; type <= MKTG_OFFER_POINTS; type++)
	{
		int64_t		discount = mktg_offer_discount(type, type == MKTG_OFFER_PERCENT ? value % MKTG_RATE_MAX : value, cart,
												   eligible, rest, parts, shares);
		int64_t		sum = 0;

		for (int i = 0; i < cart->nlines; i++)
		{
			PROMISE(parts[i] >= 0 && parts[i] <= (eligible[i] ? rest[i] : 0));
			sum += parts[i];
		}
		PROMISE(sum == discount);
	}
	free(eligible);
	free(rest);
	free(parts);
	free(shares);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t		split = size == 0 ? 0 : data[0] * (size - 1) / 255;
	const char *text = (const char *) data + (size > 0);
	JsonEvents	of_cart;
	JsonEvents	of_scope;
	MktgCart	cart;
	MktgScope	scope;
	bool		is_cart;
	bool		is_scope;

	check_code(text, size - (size > 0));
	events_begin(&of_cart);
	events_begin(&of_scope);
	is_cart = events_cart(&of_cart, text, split, &cart);
	is_scope = events_scope(&of_scope, text + split, size - (size > 0) - split, &scope);
	if (!is_cart)
		PROMISE(of_cart.problem[0] != '\0');
	if (!is_scope)
		PROMISE(of_scope.problem[0] != '\0');
	if (is_cart && is_scope)
		check_discounts(&cart, &scope, 1 + (int64_t) split * 7919);
	events_end(&of_cart);
	events_end(&of_scope);
	return 0;
}
