/*-------------------------------------------------------------------------
 *
 * chance.c
 *		Unit tests of src/core/chance.c.
 *
 * IDENTIFICATION
 *		test/unit/chance.c
 *
 *-------------------------------------------------------------------------
 */
#include <math.h>

#include "core/core.h"
#include "tap.h"

/* Numbers worked out apart from this code; they must never change. */
static void
test_chance_vectors(void)
{
	ok(mktg_chance(0, "", 0, 0) == 0x1.6c87da3fe9dfcp-2, "seed 0, no text, draw 0");
	ok(mktg_chance(42, "+919876543210", 13, 0) == 0x1.dc4470989e4d6p-2, "seed 42, a number, draw 0");
	ok(mktg_chance(42, "+919876543210", 13, 7) == 0x1.1cdf41677b7a9p-1, "draw 7");
	ok(mktg_chance(UINT64_MAX, "\xC3\xBC", 2, 4294967295u) == 0x1.47fba4bad1f6ap-2, "the largest seed and draw");
}

/*
 * Chi-square over 100 classes: 99 degrees of freedom, below 149 with
 * probability 0.999.  Fixed inputs, so the test cannot fail by chance.
 */
static double
chi_square(int kind)
{
	int			count[100] = {0};
	double		sum = 0;
	int			i;

	for (i = 0; i < 100000; i++)
	{
		char		text[32];
		int			length = snprintf(text, sizeof(text), "contact-%d", kind == 0 ? i : 1);
		double		value = mktg_chance(kind == 1 ? (uint64_t) i : 1, text, (size_t) length,
										kind == 2 ? (unsigned) i : 0);

		if (!(value >= 0 && value < 1))
			return INFINITY;
		count[(int) (value * 100)]++;
	}
	for (i = 0; i < 100; i++)
		sum += (count[i] - 1000.0) * (count[i] - 1000.0) / 1000.0;
	return sum;
}

static void
test_chance_even(void)
{
	static const char *const over[] = {"texts", "seeds", "draws"};
	int			i;

	for (i = 0; i < 3; i++)
	{
		double		chi = chi_square(i);

		if (!ok(chi < 149, "even over %s", over[i]))
			printf("# chi-square %g\n", chi);
	}
}

static void
test_backoff(void)
{
	is_int(mktg_backoff_ms(1, 0, 0), 2000, "two seconds after the first attempt");
	is_int(mktg_backoff_ms(2, 0, 0), 4000, "four after the second");
	is_int(mktg_backoff_ms(11, 0, 0), 2048000, "2048 after the eleventh");
	is_int(mktg_backoff_ms(12, 0, 0), 3600000, "an hour after the twelfth");
	is_int(mktg_backoff_ms(INT32_MAX, 0, 0), 3600000, "an hour after any more");
	is_int(mktg_backoff_ms(0, 0, 0), 1000, "one second before the first");
	is_int(mktg_backoff_ms(-5, 0, 0), 1000, "a negative attempt is none");
	is_int(mktg_backoff_ms(1, 0, 0.5), 2250, "half the jitter");
	ok(mktg_backoff_ms(1, 0, 0.999999) <= 2500, "jitter is a quarter at most");
	is_int(mktg_backoff_ms(1, 30000, 0), 30000, "Retry-After counts where it is more");
	is_int(mktg_backoff_ms(6, 30000, 0), 64000, "and not where it is less");
	is_int(mktg_backoff_ms(1, 7200000, 0.5), 8100000, "jitter is added to it, beyond the hour too");
	is_int(mktg_backoff_ms(1, -1, 0), 2000, "no Retry-After");
	ok(mktg_backoff_ms(1, INT64_MAX, 1) > 0, "the largest Retry-After does not overflow");
	is_int(mktg_backoff_ms(1, 0, NAN), 2000, "a chance that is no number adds nothing");
	is_int(mktg_backoff_ms(1, 0, 7), 2500, "a chance above 1 is 1");
}

#define NOW INT64_C(784111777)	/* Sun, 06 Nov 1994 08:49:37 GMT */

static void
retry(const char *value, int64_t now, int64_t want)
{
	int64_t		got = mktg_retry_after_ms(value, now);

	if (!ok(got == want, "Retry-After \"%s\" at %" PRId64 ": %" PRId64,
			value != NULL ? value : "(none)", now, want))
		printf("# got %" PRId64 "\n", got);
}

static void
test_retry_seconds(void)
{
	retry("0", NOW, 0);
	retry("120", NOW, 120000);
	retry(" 120\t", NOW, 120000);
	retry("007", NOW, 7000);
	retry("86400", NOW, 86400000);
	retry("86401", NOW, 86400000);
	retry("99999999999999999999999999999", NOW, 86400000);
	retry("", NOW, -1);
	retry(NULL, NOW, -1);
	retry("-1", NOW, -1);
	retry("+1", NOW, -1);
	retry("1.5", NOW, -1);
	retry("1 2", NOW, -1);
	retry("120s", NOW, -1);
	retry("soon", NOW, -1);
}

static void
test_retry_dates(void)
{
	retry("Sun, 06 Nov 1994 08:49:37 GMT", NOW, 0);
	retry("Sun, 06 Nov 1994 08:49:37 GMT", NOW - 90, 90000);
	retry("Sunday, 06-Nov-94 08:49:37 GMT", NOW - 90, 90000);
	retry("Sun Nov  6 08:49:37 1994", NOW - 90, 90000);
	retry("Wed Nov 16 08:49:37 1994 ", NOW + 10 * 86400 - 1, 1000);
	retry("Sun, 06 Nov 1994 08:49:37 GMT", NOW + 1, 0);
	retry("Sun, 06 Nov 1994 08:49:37 GMT", NOW - 86400, 86400000);
	retry("Sun, 06 Nov 1994 08:49:37 GMT", NOW - 86401, 86400000);
	retry("Sun, 06 Nov 1994 08:49:37 GMT", INT64_MIN, 86400000);
	retry("Sun, 06 Nov 1994 08:49:37 GMT", INT64_MAX, 0);

	retry("Thu, 29 Feb 2024 12:00:00 GMT", 1709208000 - 5, 5000);
	retry("Thu, 29 Feb 2023 12:00:00 GMT", 1709208000, -1);
	retry("Wed, 31 Dec 2025 23:59:60 GMT", 1767225600 - 5, 5000);
	retry("Thu, 01 Jan 1970 00:00:00 GMT", -5, 5000);
	retry("Sat, 01 Jan 0000 00:00:00 GMT", INT64_C(-62167219200) - 5, 5000);
	retry("Mon, 01 Jan 0001 00:00:00 GMT", INT64_C(-62135596800) - 5, 5000);
	retry("Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799) - 5, 5000);
	retry("Tue, 29 Feb 2000 00:00:00 GMT", 951782400 - 5, 5000);
	retry("Fri, 29 Feb 2100 00:00:00 GMT", 0, -1);

	/* two digits: the century that puts it at most 50 years ahead */
	retry("Saturday, 01-Jan-00 00:00:00 GMT", 946684800 - 5, 5000);
	retry("Tuesday, 01-Jan-75 00:00:00 GMT", 1748736000, 86400000);
	retry("Wednesday, 01-Jan-76 00:00:00 GMT", 1748736000, 0);
	retry("Friday, 01-Jan-99 00:00:00 GMT", INT64_MIN, 86400000);

	retry("Sun, 06 Nov 1994 08:49:37", NOW, -1);
	retry("Sun, 06 Nov 1994 08:49:37 UTC", NOW, -1);
	retry("Sun, 6 Nov 1994 08:49:37 GMT", NOW, -1);
	retry("Xyz, 06 Nov 1994 08:49:37 GMT", NOW, -1);
	retry("Sun, 06 Nix 1994 08:49:37 GMT", NOW, -1);
	retry("Sun, 00 Nov 1994 08:49:37 GMT", NOW, -1);
	retry("Sun, 31 Nov 1994 08:49:37 GMT", NOW, -1);
	retry("Sun, 06 Nov 1994 24:49:37 GMT", NOW, -1);
	retry("Sun, 06 Nov 1994 08:60:37 GMT", NOW, -1);
	retry("Sun, 06 Nov 1994 08:49:61 GMT", NOW, -1);
	retry("Sun, 06 Nov 1994 08:49:37 GMT x", NOW, -1);
	retry("Sun, 06 Nov 1994 08:4", NOW, -1);
	retry("Sun", NOW, -1);
	retry("Su", NOW, -1);
	retry("Sunday, 06-Nov-9", NOW, -1);
}

/* NOW is 1994-11-06 08:49:37 */
static void
phrase(const char *text, int64_t want)
{
	int64_t		got = mktg_retry_phrase_ms(text, NOW);

	if (!ok(got == want, "\"%s\": %" PRId64, text, want))
		printf("# got %" PRId64 "\n", got);
}

static void
test_retry_phrases(void)
{
	phrase("Domain x is not allowed to send: account-requests-per-sec limit exceeded, try again after 120 seconds", 120000);
	phrase("try again after 1 second.", 1000);
	phrase("Too many after all, try again after 120 seconds", 120000);
	phrase("Domain x: 1 hour limit exceeded, try again after Sun, 06 Nov 1994 08:51:07 UTC", 90000);
	phrase("try again after Sun, 06 Nov 1994 08:51:07 GMT", 90000);
	phrase("try again after Sun, 06 Nov 1994 08:49:07 UTC", 0);
	phrase("try again after 999999 seconds", 86400000);
	phrase("", -1);
	phrase("after ", -1);
	phrase("try again after 120", -1);
	phrase("try again after 120 minutes", -1);
	phrase("try again after lunch", -1);
	phrase("try again after  UTC", -1);
	phrase("after 12345678901234567890123456789012345678901234567890123456789012345678901234567890 seconds", -1);
}

int
main(void)
{
	test_chance_vectors();
	test_chance_even();
	test_backoff();
	test_retry_seconds();
	test_retry_dates();
	test_retry_phrases();
	return tap_done();
}
