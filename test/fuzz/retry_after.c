/*-------------------------------------------------------------------------
 *
 * retry_after.c
 *		Fuzzes Retry-After, and compares dates with the C library's.
 *
 * The first 8 bytes of the input are the time it is, the rest is the value.
 *
 * IDENTIFICATION
 *		test/fuzz/retry_after.c
 *
 *-------------------------------------------------------------------------
 */
#include <time.h>

#include "fuzz.h"

#define DAY_MS INT64_C(86400000)

/* Every time of the years 0 to 9999, written and read back. */
static void
check_written(int64_t seconds)
{
	static const char *const forms[] = {
		"%a, %d %b %Y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"
	};
	const int64_t first = INT64_C(-62167219200);
	const int64_t span = INT64_C(253402300800) - first;
	time_t		when = (time_t) (first + (int64_t) ((uint64_t) seconds % (uint64_t) span));
	struct tm	tm;
	size_t		i;

	PROMISE(gmtime_r(&when, &tm) != NULL);
	for (i = 0; i < 2; i++)
	{
		char		text[64];
		char		padded[80];

		/* %Y has no leading zeros */
		PROMISE(strftime(text, sizeof(text), forms[i], &tm) > 0);
		if (tm.tm_year + 1900 < 1000)
		{
			char	   *at = text + (i == 0 ? 12 : 20);

			snprintf(padded, sizeof(padded), "%.*s%04d%s", (int) (at - text), text,
					 tm.tm_year + 1900, at + strcspn(at, " "));
		}
		else
			snprintf(padded, sizeof(padded), "%s", text);
		PROMISE(mktg_retry_after_ms(padded, when) == 0);
		PROMISE(mktg_retry_after_ms(padded, when - 7) == 7000);
		PROMISE(mktg_retry_after_ms(padded, when - 86401) == DAY_MS);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int64_t		now;
	int64_t		wait;
	int64_t		backoff;
	char	   *value;
	double		chance;

	if (size < sizeof(now))
		return 0;
	memcpy(&now, data, sizeof(now));
	check_written(now);

	value = fuzz_string(data + sizeof(now), size - sizeof(now));
	wait = mktg_retry_after_ms(value, now);
	PROMISE(wait >= -1 && wait <= DAY_MS);
	wait = mktg_retry_phrase_ms(value, now);
	PROMISE(wait >= -1 && wait <= DAY_MS);
	free(value);

	memcpy(&chance, data, sizeof(chance));
	backoff = mktg_backoff_ms((int) now, now, chance);
	PROMISE(backoff >= 1000);
	PROMISE(backoff <= 2 * DAY_MS * 366);
	chance = mktg_chance((uint64_t) now, (const char *) data, size, (unsigned) now);
	PROMISE(chance >= 0 && chance < 1);
	return 0;
}
