/*-------------------------------------------------------------------------
 *
 * money.c
 *		Minor units of currencies.
 *
 * IDENTIFICATION
 *		src/base/money.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/base.h"

/* Digits of the minor unit, by ISO 4217. */
int
mktg_currency_exponent(const char *code)
{
	static const char none[] = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
	static const char three[] = "BHD IQD JOD KWD LYD OMR TND";
	static const char four[] = "CLF UYW";

	if (strlen(code) != 3)
		return 2;
	return strstr(none, code) ? 0 : strstr(three, code) ? 3 : strstr(four, code) ? 4 : 2;
}
