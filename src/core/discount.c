/*-------------------------------------------------------------------------
 *
 * discount.c
 *		What offers take off, to the last minor unit.
 *
 * Products are of 128 bits, so that no amount of 64 bits is too large.
 *
 * IDENTIFICATION
 *		src/core/discount.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "core/offer.h"

typedef unsigned __int128 wide;

bool
mktg_percent_of(int64_t amount, int64_t rate, int64_t *result)
{
	wide		product = (wide) amount * (wide) rate;
	wide		quotient = (2 * product + MKTG_RATE_MAX) / (2 * (wide) MKTG_RATE_MAX);

	if (quotient > INT64_MAX)
		return false;
	*result = (int64_t) quotient;
	return true;
}

static int
by_remainder(const void *left, const void *right)
{
	const MktgShare *a = left;
	const MktgShare *b = right;

	if (a->remainder != b->remainder)
		return a->remainder < b->remainder ? 1 : -1;
	return a->place - b->place;
}

static int
by_place(const void *left, const void *right)
{
	return ((const MktgShare *) left)->place - ((const MktgShare *) right)->place;
}

void
mktg_apportion(int64_t total, MktgShare *shares, int n)
{
	wide		weights = 0;
	int64_t		rest = total;

	for (int i = 0; i < n; i++)
		weights += (wide) shares[i].weight;
	for (int i = 0; i < n; i++)
	{
		wide		product = (wide) total * (wide) shares[i].weight;

		shares[i].place = i;
		shares[i].part = weights == 0 ? 0 : (int64_t) (product / weights);
		shares[i].remainder = weights == 0 ? 0 : (uint64_t) (product % weights);
		rest -= shares[i].part;
	}
	if (rest == 0 || weights == 0)
		return;
	/* what is left is less than the number of shares with a remainder */
	qsort(shares, (size_t) n, sizeof(MktgShare), by_remainder);
	for (int i = 0; rest > 0 && i < n; i++, rest--)
		shares[i].part++;
	qsort(shares, (size_t) n, sizeof(MktgShare), by_place);
}

bool
mktg_read_decimal(const char *text, size_t length, int decimals, int64_t *result)
{
	bool		negative = length > 0 && *text == '-';
	int			places = -1;
	bool		digits = false;
	int64_t		value = 0;

	for (size_t i = negative; i < length; i++)
	{
		if (text[i] == '.' && places < 0 && digits)
		{
			places = 0;
			continue;
		}
		if (text[i] < '0' || text[i] > '9')
			return false;
		digits = true;
		if (places >= decimals)
		{
			if (text[i] != '0')
				return false;
			continue;
		}
		if (places >= 0)
			places++;
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_sub_overflow(value, text[i] - '0', &value))
			return false;
	}
	for (places = places < 0 ? 0 : places; places < decimals; places++)
		if (__builtin_mul_overflow(value, 10, &value))
			return false;
	/* collected below zero, where there is room for one more */
	if (!negative && __builtin_sub_overflow(0, value, &value))
		return false;
	*result = value;
	return digits;
}

/* So many of the cheapest units are free; of equal ones those of the first line. */
static int64_t
free_units(int64_t units, const MktgCart *cart, const bool *eligible, const int64_t *rest,
		   int64_t *parts, MktgShare *shares)
{
	int64_t		discount = 0;
	int			n = 0;

	for (int i = 0; i < cart->nlines; i++)
	{
		parts[i] = 0;
		if (!eligible[i] || rest[i] == 0)
			continue;
		/* the largest remainder comes first, so what is cheap is made large */
		shares[n].remainder = UINT64_MAX - (uint64_t) (rest[i] / cart->lines[i].quantity);
		shares[n++].place = i;
	}
	qsort(shares, (size_t) n, sizeof(MktgShare), by_remainder);
	for (int i = 0; i < n && units > 0; i++)
	{
		int			line = shares[i].place;
		int64_t		quantity = cart->lines[line].quantity;
		int64_t		taken = units < quantity ? units : quantity;

		parts[line] = (int64_t) ((wide) rest[line] * (wide) taken / (wide) quantity);
		discount += parts[line];
		units -= taken;
	}
	return discount;
}

int64_t
mktg_offer_discount(MktgOfferType type, int64_t value, const MktgCart *cart,
					const bool *eligible, const int64_t *rest, int64_t *parts, MktgShare *shares)
{
	int64_t		base = 0;
	int64_t		discount = 0;

	if (type == MKTG_OFFER_FREE_ITEM)
		return free_units(value, cart, eligible, rest, parts, shares);
	for (int i = 0; i < cart->nlines; i++)
	{
		shares[i].weight = eligible[i] ? rest[i] : 0;
		base += shares[i].weight;
	}
	if (type == MKTG_OFFER_PERCENT)
		(void) mktg_percent_of(base, value, &discount);
	else if (type == MKTG_OFFER_FLAT)
		discount = value;
	if (discount > base)
		discount = base;
	mktg_apportion(discount, shares, cart->nlines);
	for (int i = 0; i < cart->nlines; i++)
		parts[i] = shares[i].part;
	return discount;
}
