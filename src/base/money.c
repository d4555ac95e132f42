/*-------------------------------------------------------------------------
 *
 * money.c
 *		Amounts of money: minor units, and how many make a major one.
 *
 * IDENTIFICATION
 *		src/base/money.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/base.h"

/* ISO 4217, list one: those that do not have two decimals */
static const struct
{
	const char *code;
	int			exponent;
}			exceptions[] = {
	{"BIF", 0}, {"CLP", 0}, {"DJF", 0}, {"GNF", 0}, {"ISK", 0}, {"JPY", 0},
	{"KMF", 0}, {"KRW", 0}, {"PYG", 0}, {"RWF", 0}, {"UGX", 0}, {"UYI", 0},
	{"VND", 0}, {"VUV", 0}, {"XAF", 0}, {"XOF", 0}, {"XPF", 0},
	{"BHD", 3}, {"IQD", 3}, {"JOD", 3}, {"KWD", 3}, {"LYD", 3}, {"OMR", 3}, {"TND", 3},
	{"CLF", 4}, {"UYW", 4}
};

/* Decimals of a currency: 10 to this many minor units are a major one. */
int
mktg_currency_exponent(const char *code)
{
	for (int i = 0; i < lengthof(exceptions); i++)
		if (strcmp(code, exceptions[i].code) == 0)
			return exceptions[i].exponent;
	return 2;
}
