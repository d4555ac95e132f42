/*-------------------------------------------------------------------------
 *
 * chance.c
 *		Pseudo-random numbers from names, and how long to wait.
 *
 * The same seed, text and draw give the same number on every machine and in
 * every version: variants and simulated outcomes depend on it.
 *
 * FNV-1a: Fowler, Noll, Vo; 64 bits.  SplitMix64: Steele, Lea, Flood, "Fast
 * splittable pseudorandom number generators", OOPSLA 2014.
 *
 * IDENTIFICATION
 *		src/core/chance.c
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "core/core.h"

#define GOLDEN_GAMMA	UINT64_C(0x9E3779B97F4A7C15)

#define SECOND_MS		INT64_C(1000)
#define HOUR_MS			(3600 * SECOND_MS)
#define DAY_SECONDS		INT64_C(86400)
#define YEAR_MS			(366 * DAY_SECONDS * SECOND_MS)

/* a date HTTP can write */
typedef struct HttpDate
{
	int64_t		year;
	int			month;			/* 1 to 12 */
	int			day;
	int			hour;
	int			minute;
	int			second;
} HttpDate;

static uint64_t
mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

/*
 * The text's hash and the mixed seed make the start of a SplitMix64 stream;
 * "draw" is the place in it.  Mixing keeps neighbouring seeds apart.
 */
double
mktg_chance(uint64_t seed, const char *text, size_t length, unsigned int draw)
{
	uint64_t	hash = UINT64_C(0xCBF29CE484222325);
	uint64_t	state;
	size_t		i;

	for (i = 0; i < length; i++)
		hash = (hash ^ (unsigned char) text[i]) * UINT64_C(0x00000100000001B3);
	state = hash ^ mix(seed + GOLDEN_GAMMA);
	state += ((uint64_t) draw + 1) * GOLDEN_GAMMA;

	/* 53 bits are what a double holds */
	return (double) (mix(state) >> 11) * 0x1.0p-53;
}

int64_t
mktg_backoff_ms(int attempt, int64_t retry_after_ms, double chance)
{
	int64_t		wait = HOUR_MS;

	if (attempt < 0)
		attempt = 0;
	if (attempt < 12)			/* 2^12 s are more than an hour */
		wait = (INT64_C(1) << attempt) * SECOND_MS;
	if (wait > HOUR_MS)
		wait = HOUR_MS;
	if (retry_after_ms > wait)
		wait = retry_after_ms < YEAR_MS ? retry_after_ms : YEAR_MS;

	/* after Retry-After, never instead of it; written so that NaN is no jitter */
	if (chance > 0)
		wait += (int64_t) ((double) (wait / 4) * (chance < 1 ? chance : 1));
	return wait;
}

/* ---- Retry-After ---- */

/* Reads "count" digits; -1 if they are not all there. */
static int
read_digits(const char **at, int count)
{
	int			value = 0;

	for (; count > 0; count--, (*at)++)
	{
		if (**at < '0' || **at > '9')
			return -1;
		value = value * 10 + (**at - '0');
	}
	return value;
}

/* Reads one of "names", each "width" letters long (0: up to the next blank); its number, or -1. */
static int
read_name(const char **at, const char *names, size_t width)
{
	const char *name = names;
	int			number;

	for (number = 0; *name != '\0'; number++)
	{
		size_t		length = width > 0 ? width : strcspn(name, " ");

		if (strncmp(*at, name, length) == 0)
		{
			*at += length;
			return number;
		}
		name += length;
		name += strspn(name, " ");
	}
	return -1;
}

/*
 * The year of two digits that lies nearest: one that seems more than 50 years
 * ahead was in the past (RFC 9110, 5.6.7).
 */
static int64_t
full_year(int two_digits, int64_t now)
{
	int64_t		this_year;
	int64_t		year;

	/* close enough, and safe for any clock */
	if (now < 0)
		now = 0;
	if (now > INT64_C(253402300799))	/* the end of 9999 */
		now = INT64_C(253402300799);
	this_year = 1970 + now / (DAY_SECONDS * 365 + DAY_SECONDS / 4);
	year = this_year - this_year % 100 + two_digits;
	if (year > this_year + 50)
		year -= 100;
	else if (year <= this_year - 50)
		year += 100;
	return year;
}

/* Reads one field; false if it is not there. */
static bool
read_field(const char **at, char field, int64_t now, HttpDate *date)
{
	int			value = -1;

	switch (field)
	{
		case 'w':
			return read_name(at, "MonTueWedThuFriSatSun", 3) >= 0;
		case 'W':
			return read_name(at, "Monday Tuesday Wednesday Thursday Friday Saturday Sunday", 0) >= 0;
		case 'b':
			value = date->month = 1 + read_name(at, "JanFebMarAprMayJunJulAugSepOctNovDec", 3);
			return value > 0;
		case 'e':				/* a blank may stand for the first digit */
			if (**at == ' ')
			{
				(*at)++;
				value = date->day = read_digits(at, 1);
				return value >= 0;
			}
			/* FALLTHROUGH */
		case 'd':
			value = date->day = read_digits(at, 2);
			break;
		case 'Y':
			value = read_digits(at, 4);
			date->year = value;
			break;
		case 'y':
			value = read_digits(at, 2);
			date->year = full_year(value, now);
			break;
		case 'H':
			value = date->hour = read_digits(at, 2);
			break;
		case 'M':
			value = date->minute = read_digits(at, 2);
			break;
		case 'S':
			value = date->second = read_digits(at, 2);
			break;
	}
	return value >= 0;
}

/* Does the text have the form of "pattern", fields of strptime in it, and end there? */
static bool
read_pattern(const char *at, const char *pattern, int64_t now, HttpDate *date)
{
	for (; *pattern != '\0'; pattern++)
	{
		if (*pattern == '%')
		{
			if (!read_field(&at, *++pattern, now, date))
				return false;
		}
		else if (*at++ != *pattern)
			return false;
	}
	return at[strspn(at, " \t")] == '\0';
}

/* Unix seconds of a date; false if the calendar or the clock has no such time. */
static bool
to_unix(const HttpDate *date, int64_t *seconds)
{
	static const int days_before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
	int64_t		year = date->year;
	bool		leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	int			month = date->month;
	int			month_days = days_before[month] - days_before[month - 1] + (leap && month == 2);
	int64_t		days;

	if (date->day < 1 || date->day > month_days ||
		date->hour > 23 || date->minute > 59 || date->second > 60)
		return false;

	/* whole years since 1970-01-01, leap days counted from year 1 */
	days = (year - 1970) * 365;
	if (year > 0)
		days += (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 - 477;
	else
		days -= 478;
	days += days_before[month - 1] + (leap && month > 2) + date->day - 1;
	*seconds = days * DAY_SECONDS + date->hour * 3600 + date->minute * 60 + date->second;
	return true;
}

int64_t
mktg_retry_after_ms(const char *value, int64_t now)
{
	static const char *const forms[] = {
		"%w, %d %b %Y %H:%M:%S GMT",	/* IMF-fixdate */
		"%W, %d-%b-%y %H:%M:%S GMT",	/* RFC 850 */
		"%w %b %e %H:%M:%S %Y"	/* asctime */
	};
	int64_t		seconds = 0;
	size_t		digits;
	size_t		i;

	if (value == NULL)
		return -1;
	value += strspn(value, " \t");
	digits = strspn(value, "0123456789");
	if (digits > 0)
	{
		if (value[digits + strspn(value + digits, " \t")] != '\0')
			return -1;
		for (i = 0; i < digits && seconds < DAY_SECONDS; i++)
			seconds = seconds * 10 + (value[i] - '0');
		return (seconds < DAY_SECONDS ? seconds : DAY_SECONDS) * SECOND_MS;
	}

	for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
	{
		HttpDate	date = {0};

		if (!read_pattern(value, forms[i], now, &date))
			continue;
		if (!to_unix(&date, &seconds))
			return -1;
		if (seconds <= now)
			return 0;
		if (seconds - DAY_SECONDS >= now)
			return DAY_SECONDS * SECOND_MS;
		return (seconds - now) * SECOND_MS;
	}
	return -1;
}

int64_t
mktg_retry_phrase_ms(const char *text, int64_t now)
{
	static const char mark[] = "after ";
	const char *at = NULL;
	char		copy[64];
	size_t		length;
	size_t		digits;

	for (const char *next = text; (next = strstr(next, mark)) != NULL;)
		at = next += strlen(mark);
	if (at == NULL)
		return -1;
	length = strcspn(at, "\"\n");
	if (length >= sizeof(copy))
		return -1;
	memcpy(copy, at, length);
	while (length > 0 && strchr(" .'", copy[length - 1]) != NULL)
		length--;
	copy[length] = '\0';

	digits = strspn(copy, "0123456789");
	if (digits > 0)
	{
		if (strcmp(copy + digits, " seconds") != 0 && strcmp(copy + digits, " second") != 0)
			return -1;
		copy[digits] = '\0';
	}
	else if (length > 4 && strcmp(copy + length - 4, " UTC") == 0)
		memcpy(copy + length - 3, "GMT", 3);	/* as HTTP calls it */
	return mktg_retry_after_ms(copy, now);
}
