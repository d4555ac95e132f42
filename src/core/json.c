/*-------------------------------------------------------------------------
 *
 * json.c
 *		What the readers of carts and scopes share.
 *
 * IDENTIFICATION
 *		src/core/json.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/offer.h"

int
mktg_json_word(const char *const *words, int n, const char *text, size_t length)
{
	for (int i = 0; i < n; i++)
		if (strlen(words[i]) == length && memcmp(words[i], text, length) == 0)
			return i;
	return -1;
}

bool
mktg_json_fail(MktgJsonPlace *place, const char *format,...)
{
	va_list		args;

	place->failed = true;
	va_start(args, format);
	vsnprintf(place->problem, sizeof(place->problem), format, args);
	va_end(args);
	return false;
}

void *
mktg_json_room(const MktgSurroundings *surroundings, void *array, int n, int *capacity, size_t size)
{
	if (array != NULL && n < *capacity)
		return array;
	*capacity = n == 0 ? 16 : 2 * n;
	return surroundings->grow(surroundings->context, array, (size_t) *capacity * size);
}

static int
number_at(const char *text, int digits)
{
	int			number = 0;

	for (int i = 0; i < digits; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return -1;
		number = number * 10 + (text[i] - '0');
	}
	return number;
}

bool
mktg_read_day(const char *text, size_t length, int32_t *day)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int			year;
	int			month;
	int			date;
	int			era;
	bool		leap;

	if (length != 10 || text[4] != '-' || text[7] != '-')
		return false;
	year = number_at(text, 4);
	month = number_at(text + 5, 2);
	date = number_at(text + 8, 2);
	if (year < 1 || month < 1 || month > 12 || date < 1)
		return false;
	leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	if (date > days[month - 1] + (month == 2 && leap))
		return false;
	/* years begin in March, so that the day leap years add is the last */
	year -= month <= 2;
	era = year / 400;
	month = (month + 9) % 12;
	*day = era * 146097 + (year % 400) * 365 + (year % 400) / 4 - (year % 400) / 100 +
		(153 * month + 2) / 5 + date - 1 - 730425;
	return true;
}
