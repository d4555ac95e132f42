/*-------------------------------------------------------------------------
 *
 * offer.c
 *		Unit tests of codes, discounts, carts and scopes: src/core/code.c,
 *		discount.c, json.c, cart.c and scope.c.
 *
 * IDENTIFICATION
 *		test/unit/offer.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "core/offer.h"
#include "json_events.h"
#include "tap.h"

typedef __int128 wide;

static uint64_t seed = 42;

static uint64_t
draw(uint64_t below)
{
	seed += 0x9E3779B97F4A7C15u;
	uint64_t	z = seed;

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
	return (z ^ (z >> 31)) % below;
}

/* ---- codes ---- */

static void
codes(void)
{
	static const char *const worked[][2] = {
		{"ABCDEFG", "7"}, {"X7K9PQR", "Z"}, {"7GHT3MN", "K"}, {"ZZZZZZZ", "E"}, {"P", "H"}
	};
	char		out[MKTG_CODE_MAX + 1];
	char		body[34];
	char		long_code[MKTG_CODE_MAX + 2];
	bool		singles = true;
	bool		swaps = true;
	bool		jumps = true;
	bool		valid = true;

	for (size_t i = 0; i < sizeof(worked) / sizeof(worked[0]); i++)
	{
		ok(mktg_code_check(mktg_code_plain, worked[i][0], strlen(worked[i][0])) == worked[i][1][0],
		   "%s has the check symbol %s", worked[i][0], worked[i][1]);
		snprintf(body, sizeof(body), "%s%s", worked[i][0], worked[i][1]);
		ok(mktg_code_valid(mktg_code_plain, body, strlen(body)), "%s is valid", body);
	}
	ok(mktg_code_check(mktg_code_plain, "A0", 2) == '\0', "0 is none of the symbols");
	ok(!mktg_code_valid(mktg_code_plain, "AB\0", 3), "nor is NUL");
	ok(!mktg_code_valid(mktg_code_plain, "2", 1), "a symbol alone is no body");

	for (int round = 0; round < 2000; round++)
	{
		const char *alphabet = round % 2 ? mktg_code_plain : mktg_code_ambiguous;
		unsigned char random[32];
		size_t		length = 4 + draw(28);

		for (size_t i = 0; i < length; i++)
			random[i] = (unsigned char) draw(256);
		mktg_code_body(alphabet, random, length, true, body);
		valid = valid && mktg_code_valid(alphabet, body, length);
		for (size_t i = 0; i < length; i++)
		{
			char		was = body[i];

			for (int k = 0; k < 32; k++)
			{
				body[i] = alphabet[k];
				if (alphabet[k] != was && mktg_code_valid(alphabet, body, length))
					singles = false;
			}
			body[i] = was;
			for (size_t far = 1; far <= 2 && i + far < length; far++)
			{
				if (body[i + far] == was)
					continue;
				body[i] = body[i + far];
				body[i + far] = was;
				if (mktg_code_valid(alphabet, body, length))
					*(far == 1 ? &swaps : &jumps) = false;
				body[i + far] = body[i];
				body[i] = was;
			}
		}
	}
	ok(valid, "bodies end in their check symbol");
	ok(singles, "every single error shows");
	ok(swaps, "every swap of neighbours shows");
	ok(jumps, "and of symbols with one between them");

	ok(mktg_code_normalize(" ab-c d\t2\n", 10, out), "a typed code");
	is_string(out, "ABCD2", "without blanks and dashes, in capitals");
	ok(!mktg_code_normalize(" - ", 3, out), "nothing is left");
	ok(!mktg_code_normalize("a\0b", 3, out), "NUL");
	ok(!mktg_code_normalize("\xC3\xA9", 2, out), "not ASCII");
	memset(long_code, 'x', sizeof(long_code));
	ok(mktg_code_normalize(long_code, MKTG_CODE_MAX, out), "the longest");
	ok(!mktg_code_normalize(long_code, MKTG_CODE_MAX + 1, out), "longer than that");
}

/* ---- amounts ---- */

static void
parts_are(int64_t total, const int64_t *weights, int n, const int64_t *want, const char *name)
{
	MktgShare	shares[8];
	bool		same = true;

	for (int i = 0; i < n; i++)
		shares[i].weight = weights[i];
	mktg_apportion(total, shares, n);
	for (int i = 0; i < n; i++)
		same = same && shares[i].part == want[i];
	ok(same, "%s", name);
}

static void
worked_numbers(void)
{
	int64_t		result;

	parts_are(1000, (int64_t[]) {7, 7, 7}, 3, (int64_t[]) {334, 333, 333}, "1000 over three equal lines");
	parts_are(1777, (int64_t[]) {5186, 999, 12345}, 3, (int64_t[]) {497, 96, 1184}, "1777 over three lines");
	parts_are(0, (int64_t[]) {0, 0}, 2, (int64_t[]) {0, 0}, "nothing over nothing");
	parts_are(INT64_MAX, (int64_t[]) {INT64_MAX, 0}, 2, (int64_t[]) {INT64_MAX, 0}, "the largest amount");
	ok(mktg_percent_of(5186, 40 * (int64_t) MKTG_RATE_PERCENT, &result) && result == 2074, "40 %% of 51.86 are 20.74");
	ok(mktg_percent_of(3112, 8250000, &result) && result == 257, "8.25 %% of 31.12 are 2.57");
	ok(mktg_percent_of(5, 10 * (int64_t) MKTG_RATE_PERCENT, &result) && result == 1, "half goes up");
	ok(mktg_percent_of(INT64_MAX, MKTG_RATE_MAX, &result) && result == INT64_MAX, "100 %% of the largest amount");
	ok(!mktg_percent_of(INT64_MAX, MKTG_RATE_MAX + 1, &result), "a little more does not fit");
}

static void
decimals(void)
{
	int64_t		result;

	ok(mktg_read_decimal("12.5", 4, 6, &result) && result == 12500000, "12.5");
	ok(mktg_read_decimal("-12.50", 6, 1, &result) && result == -125, "-12.50 with one decimal");
	ok(!mktg_read_decimal("12.55", 5, 1, &result), "12.55 has two");
	ok(mktg_read_decimal("9223372036854775807", 19, 0, &result) && result == INT64_MAX, "the largest");
	ok(mktg_read_decimal("-9223372036854775808", 20, 0, &result) && result == INT64_MIN, "the least");
	ok(!mktg_read_decimal("9223372036854775808", 19, 0, &result), "one more");
	ok(!mktg_read_decimal("9223372036855", 13, 6, &result), "too large with its decimals");
	ok(!mktg_read_decimal("", 0, 0, &result) && !mktg_read_decimal("-", 1, 0, &result) &&
	   !mktg_read_decimal("1e3", 3, 0, &result) && !mktg_read_decimal(".5", 2, 1, &result), "what is no number");
}

/*
 * An oracle of exact fractions: amounts are held against them by cross
 * multiplication.  "total" is half up of base * rate / 10^8 and never above the
 * base; a line's part is the floor or the ceiling of total * weight / base, and
 * no line that was rounded down has a larger fraction, or the same and comes first.
 */
static bool
percent_is_exact(int64_t base, int64_t rate, int64_t total)
{
	wide		twice = 2 * (wide) base * rate;
	wide		unit = 2 * (wide) MKTG_RATE_MAX;

	/* total - 1/2 <= exact < total + 1/2 */
	return (wide) total * unit - MKTG_RATE_MAX <= twice && twice < (wide) total * unit + MKTG_RATE_MAX;
}

static bool
parts_are_exact(int64_t total, int64_t base, const int64_t *weights, const int64_t *parts, int n)
{
	wide		sum = 0;

	for (int i = 0; i < n; i++)
	{
		wide		over = (wide) parts[i] * base - (wide) total * weights[i];

		sum += parts[i];
		if (parts[i] < 0 || parts[i] > weights[i] || (base > 0 && (over <= -base || over >= base)))
			return false;
		/* over > 0: rounded up by that; those rounded down have -over as their fraction */
		for (int k = 0; over > 0 && k < n; k++)
		{
			wide		other = (wide) parts[k] * base - (wide) total * weights[k];

			if (other < 0 && (-other > base - over || (-other == base - over && k < i)))
				return false;
		}
	}
	return sum == total;
}

static int64_t
some_amount(void)
{
	return (int64_t) (draw(UINT64_C(1) << (1 + draw(49))));
}

static void
random_carts(void)
{
	int			wrong = 0;

	for (int round = 0; round < 100000; round++)
	{
		int			n = 1 + (int) draw(16);
		MktgCartLine lines[16];
		MktgCart	cart = {.lines = lines, .nlines = n};
		bool		eligible[16];
		int64_t		rest[16];
		int64_t		weights[16];
		int64_t		parts[16];
		MktgShare	shares[16];
		int64_t		base = 0;
		MktgOfferType type = draw(2) ? MKTG_OFFER_PERCENT : MKTG_OFFER_FLAT;
		int64_t		value = 1 + (int64_t) draw(type == MKTG_OFFER_PERCENT ? (uint64_t) MKTG_RATE_MAX : UINT64_C(1) << (1 + draw(52)));
		int64_t		discount;
		bool		right;

		if (draw(4) == 0 && type == MKTG_OFFER_PERCENT)
			value = (1 + (int64_t) draw(100)) * MKTG_RATE_PERCENT;
		memset(lines, 0, sizeof(lines));
		for (int i = 0; i < n; i++)
		{
			/* some are equal, for ties */
			lines[i].unit_price = i > 0 && draw(3) == 0 ? lines[i - 1].unit_price : some_amount();
			lines[i].quantity = 1 + (int64_t) draw(9);
			lines[i].amount = lines[i].unit_price * lines[i].quantity;
			rest[i] = draw(3) == 0 ? (int64_t) draw((uint64_t) lines[i].amount + 1) : lines[i].amount;
			eligible[i] = draw(4) != 0;
			weights[i] = eligible[i] ? rest[i] : 0;
			base += weights[i];
		}
		discount = mktg_offer_discount(type, value, &cart, eligible, rest, parts, shares);
		right = discount >= 0 && discount <= base && parts_are_exact(discount, base, weights, parts, n) &&
			(type == MKTG_OFFER_PERCENT ? percent_is_exact(base, value, discount) :
			 discount == (value < base ? value : base));
		wrong += !right;
	}
	ok(wrong == 0, "discounts of 100,000 random carts are exact, and so are their lines");
}

static void
free_items(void)
{
	MktgCartLine lines[3] = {{.unit_price = 900, .quantity = 3, .amount = 2700}, {.unit_price = 500, .quantity = 1, .amount = 500}, {.unit_price = 500, .quantity = 2, .amount = 1000}};
	MktgCart	cart = {.lines = lines, .nlines = 3};
	int64_t		rest[3] = {2700, 500, 1000};
	int64_t		parts[3];
	MktgShare	shares[3];

	is_int(mktg_offer_discount(MKTG_OFFER_FREE_ITEM, 1, &cart, (bool[]) {true, true, true}, rest, parts, shares), 500, "one free item");
	ok(parts[0] == 0 && parts[1] == 500 && parts[2] == 0, "the first of the cheapest");
	is_int(mktg_offer_discount(MKTG_OFFER_FREE_ITEM, 4, &cart, (bool[]) {true, true, true}, rest, parts, shares), 2400, "four");
	ok(parts[0] == 900 && parts[1] == 500 && parts[2] == 1000, "and so on");
	is_int(mktg_offer_discount(MKTG_OFFER_FREE_ITEM, INT64_MAX, &cart, (bool[]) {false, true, false}, rest, parts, shares), 500, "more than there are");
	is_int(mktg_offer_discount(MKTG_OFFER_POINTS, 5, &cart, (bool[]) {true, true, true}, rest, parts, shares), 0, "points take nothing off");
}

/* ---- carts and scopes from text ---- */

static void
days(void)
{
	int32_t		day;

	ok(mktg_read_day("2000-01-01", 10, &day) && day == 0, "2000-01-01 is day 0");
	ok(mktg_read_day("1999-12-31", 10, &day) && day == -1, "the day before");
	ok(mktg_read_day("2024-02-29", 10, &day) && day == 8825, "a leap day");
	ok(mktg_read_day("9999-12-31", 10, &day) && day == 2921939, "the last day of four digits");
	ok(!mktg_read_day("2025-02-29", 10, &day) && !mktg_read_day("1900-02-29", 10, &day) && !mktg_read_day("2025-13-01", 10, &day) &&
	   !mktg_read_day("2025-00-01", 10, &day) && !mktg_read_day("2025-01-00", 10, &day) && !mktg_read_day("0000-01-01", 10, &day) &&
	   !mktg_read_day("2025/01/01", 10, &day) && !mktg_read_day("2025-01-1", 9, &day) && !mktg_read_day("20-5-01-01", 10, &day), "what is no day");
}

static void
cart_is(const char *text, const char *problem)
{
	JsonEvents	events;
	MktgCart	cart;

	events_begin(&events);
	is_string(events_cart(&events, text, strlen(text), &cart) ? "" : events.problem, problem, text);
	events_end(&events);
}

static void
carts(void)
{
	JsonEvents	events;
	MktgCart	cart;
	const char *text = "{\"currency\": \"INR\", \"purchase\": \"x-1\", \"extra\": [{\"lines\": [1]}, 2], \"lines\": [{\"id\": 7, \"unit_price\": 250, \"quantity\": 2,"
		" \"note\": {\"id\": 1}, \"travel_date\": \"2025-07-01\"}, {\"unit_price\": 1}], \"fees\": [{\"name\": \"f\", \"amount\": 9}, {\"amount\": 1}]}";

	events_begin(&events);
	ok(events_cart(&events, text, strlen(text), &cart), "a cart");
	ok(cart.nlines == 2 && cart.subtotal == 501 && cart.fee_total == 10 && cart.nfees == 2, "with its sums");
	ok(mktg_slice_is(cart.currency, "INR") && mktg_slice_is(cart.purchase, "x-1") && mktg_slice_is(cart.lines[0].id, "7"), "and texts");
	ok(cart.lines[0].has_travel_day && cart.lines[0].travel_day == 9313 && !cart.lines[1].has_travel_day, "and days");
	events_end(&events);

	cart_is("{\"lines\": [{\"unit_price\": 1}], \"fees\": 5}", "");
	cart_is("[]", "a cart must be an object");
	cart_is("{}", "a cart must have lines");
	cart_is("{\"lines\": {}}", "lines must be an array");
	cart_is("{\"lines\": [[]]}", "elements of lines must be objects");
	cart_is("{\"lines\": [null]}", "elements of lines must be objects");
	cart_is("{\"lines\": [{\"id\": []}]}", "id must be a string");
	cart_is("{\"lines\": [{\"id\": \"a\"}]}", "a line must have a unit_price");
	cart_is("{\"lines\": [{\"unit_price\": 0.5}]}", "unit_price must be a whole number");
	cart_is("{\"lines\": [{\"unit_price\": 1, \"quantity\": 0}]}", "quantity must be at least 1");
	cart_is("{\"lines\": [{\"unit_price\": 4611686018427387904, \"quantity\": 2}]}", "the amounts add up to more than a bigint holds");
	cart_is("{\"lines\": [{\"unit_price\": 1}], \"fees\": [{}]}", "a fee must have an amount");
	cart_is("{\"lines\": [{\"unit_price\": 1, \"travel_date\": 5}]}", "travel_date must be a date such as 2025-07-01");
}

static void
scope_is(const char *text, const char *problem)
{
	JsonEvents	events;
	MktgScope	scope;

	events_begin(&events);
	is_string(events_scope(&events, text, strlen(text), &scope) ? "" : events.problem, problem, text);
	events_end(&events);
}

static void
scopes(void)
{
	scope_is("{}", "");
	scope_is("{\"items\": [\"a\", 5], \"weekdays\": [1, 7], \"first_purchase\": true, \"blackout\": [{\"start\": \"2025-01-01\", \"end\": \"2025-01-01\"}]}", "");
	scope_is("{\"item\": []}", "unknown key \"item\"");
	scope_is("{\"blackout\": [{\"from\": \"2025-01-01\"}]}", "unknown key \"from\" in blackout");
	scope_is("{\"items\": {}}", "items must be an array of strings");
	scope_is("{\"items\": [[]]}", "items must be an array of strings");
	scope_is("{\"weekdays\": [1.5]}", "weekdays are numbers from 1, Monday, to 7");
	scope_is("{\"travel_window\": []}", "travel_window must be an object with start and end");
	scope_is("{\"travel_window\": {\"start\": {}}}", "start of travel_window must be a date such as 2025-07-01 or a time");
	scope_is("{\"first_purchase\": []}", "first_purchase must be true or false");
	scope_is("5", "a scope must be an object");
}

int
main(void)
{
	codes();
	worked_numbers();
	decimals();
	random_carts();
	free_items();
	days();
	carts();
	scopes();
	return tap_done();
}
