/*-------------------------------------------------------------------------
 *
 * scope.c
 *		What an offer is for: from JSON, and held against a cart line by line.
 *
 * IDENTIFICATION
 *		src/core/scope.c
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "core/offer.h"

#define LENGTH_OF(array)	((int) (sizeof(array) / sizeof((array)[0])))

enum
{
	FIRST_PURCHASE = MKTG_SCOPE_LISTS, BOOKING_WINDOW, TRAVEL_WINDOW, BLACKOUT, WEEKDAYS
};

static const char *const keys[] = {
	"organizers", "items", "categories", "cities", "routes", "excluded_routes", "fares", "excluded_fares",
	"channels", "segments", "first_purchase", "booking_window", "travel_window", "blackout", "weekdays"
};

static const char *const span_keys[] = {"start", "end"};

static const MktgSpanOfTime always = {INT64_MIN, INT64_MAX, INT32_MIN, INT32_MAX};

void
mktg_scope_begin(MktgScopeReader *reader, MktgScope *scope, const MktgSurroundings *surroundings)
{
	memset(reader, 0, sizeof(*reader));
	memset(scope, 0, sizeof(*scope));
	scope->booking_window = always;
	scope->travel_window = always;
	reader->scope = scope;
	reader->surroundings = surroundings;
}

static bool
add_value(MktgScopeReader *reader, int key, const char *text, size_t length)
{
	MktgScope  *scope = reader->scope;

	if (scope->lists[key].n == MKTG_SCOPE_MAX_VALUES)
		return mktg_json_fail(&reader->place, "%s has more than %d values", keys[key], MKTG_SCOPE_MAX_VALUES);
	scope->lists[key].values = mktg_json_room(reader->surroundings, scope->lists[key].values, scope->lists[key].n,
											  &reader->capacity, sizeof(MktgSlice));
	if (scope->lists[key].values == NULL)
		return mktg_json_fail(&reader->place, "out of memory");
	scope->lists[key].values[scope->lists[key].n++] = (MktgSlice) {text, length};
	scope->lists[key].given = true;
	return true;
}

static bool
add_weekday(MktgScopeReader *reader, const char *text, size_t length)
{
	int64_t		day;

	if (!mktg_read_decimal(text, length, 0, &day) || day < 1 || day > 7)
		return mktg_json_fail(&reader->place, "weekdays are numbers from 1, Monday, to 7");
	reader->scope->weekdays |= 1u << day;
	return true;
}

static bool
span_value(MktgScopeReader *reader, MktgJsonEvent event, const char *text, size_t length)
{
	MktgSpanOfTime *span = reader->span;
	bool		is_end = reader->place.key[1] == 1;

	if (event == MKTG_JSON_STRING &&
		reader->surroundings->read_time(reader->surroundings->context, text, length,
										is_end ? &span->end : &span->start,
										is_end ? &span->end_day : &span->start_day))
		return true;
	return mktg_json_fail(&reader->place, "%s of %s must be a date such as 2025-07-01 or a time",
						  span_keys[is_end], keys[reader->place.key[0]]);
}

static bool
value(MktgScopeReader *reader, MktgJsonEvent event, const char *text, size_t length)
{
	MktgJsonPlace *place = &reader->place;
	int			key = place->key[0];
	bool		is_text = event == MKTG_JSON_STRING || event == MKTG_JSON_NUMBER;

	if (place->depth == 0)
		return mktg_json_fail(place, "a scope must be an object");
	if (event == MKTG_JSON_NULL && place->depth == 1)
		return true;
	if (place->depth == 3 || (place->depth == 2 && (key == BOOKING_WINDOW || key == TRAVEL_WINDOW)))
		return span_value(reader, event, text, length);
	if (place->depth == 2 && key < MKTG_SCOPE_LISTS && is_text)
		return add_value(reader, key, text, length);
	if (place->depth == 2 && key == WEEKDAYS && event == MKTG_JSON_NUMBER)
		return add_weekday(reader, text, length);
	if (place->depth == 1 && key == FIRST_PURCHASE && event == MKTG_JSON_BOOLEAN)
	{
		reader->scope->first_purchase = length > 0;
		return true;
	}
	return mktg_json_fail(place, "%s must be %s", keys[key],
						  key < MKTG_SCOPE_LISTS ? "an array of strings" :
						  key == FIRST_PURCHASE ? "true or false" :
						  key == WEEKDAYS ? "an array of numbers" :
						  key == BLACKOUT ? "an array of objects with start and end" :
						  "an object with start and end");
}

static bool
begin_span(MktgScopeReader *reader)
{
	MktgScope  *scope = reader->scope;

	if (reader->place.key[0] == BOOKING_WINDOW)
		reader->span = &scope->booking_window;
	else if (reader->place.key[0] == TRAVEL_WINDOW)
		reader->span = &scope->travel_window;
	else
	{
		if (scope->nblackouts == MKTG_SCOPE_MAX_VALUES)
			return mktg_json_fail(&reader->place, "blackout has more than %d values", MKTG_SCOPE_MAX_VALUES);
		scope->blackouts = mktg_json_room(reader->surroundings, scope->blackouts, scope->nblackouts,
										  &reader->capacity, sizeof(MktgSpanOfTime));
		if (scope->blackouts == NULL)
			return mktg_json_fail(&reader->place, "out of memory");
		reader->span = &scope->blackouts[scope->nblackouts++];
	}
	*reader->span = always;
	reader->place.key[1] = 0;
	return true;
}

static bool
end_span(MktgScopeReader *reader)
{
	const MktgSpanOfTime *span = reader->span;

	if (reader->place.key[0] == BLACKOUT)
	{
		if (span->start_day == INT32_MIN || span->end_day == INT32_MAX)
			return mktg_json_fail(&reader->place, "blackout must have start and end");
		if (span->start_day > span->end_day)
			return mktg_json_fail(&reader->place, "blackout ends before it starts");
	}
	else if (span->start >= span->end)
		return mktg_json_fail(&reader->place, "%s must start before it ends", keys[reader->place.key[0]]);
	return true;
}

static bool
open_container(MktgScopeReader *reader, MktgJsonEvent event)
{
	MktgJsonPlace *place = &reader->place;
	int			key = place->key[0];
	bool		in_window = key == BOOKING_WINDOW || key == TRAVEL_WINDOW;

	if (event == MKTG_JSON_OBJECT)
	{
		if (place->depth == 0 && !reader->done)
			key = place->key[0] = 0;
		else if ((place->depth == 1 && in_window) || (place->depth == 2 && key == BLACKOUT))
		{
			if (!begin_span(reader))
				return false;
		}
		else
			return value(reader, event, "", 0);
	}
	else if (place->depth != 1 || in_window || key == FIRST_PURCHASE)
		return value(reader, event, "", 0);
	else
	{
		/* a key that comes twice: the last one counts */
		if (key < MKTG_SCOPE_LISTS)
		{
			reader->scope->lists[key].n = 0;
			reader->scope->lists[key].given = false;
		}
		else if (key == BLACKOUT)
			reader->scope->nblackouts = 0;
		reader->capacity = 0;
	}
	place->depth++;
	return true;
}

static bool
close_container(MktgScopeReader *reader, MktgJsonEvent event)
{
	MktgJsonPlace *place = &reader->place;

	if (event == MKTG_JSON_END_OBJECT && place->depth > 1 && !end_span(reader))
		return false;
	place->depth--;
	reader->done = place->depth == 0;
	return true;
}

static bool
read_key(MktgScopeReader *reader, const char *text, size_t length)
{
	MktgJsonPlace *place = &reader->place;
	int			word;

	if (place->depth == 1)
	{
		word = mktg_json_word(keys, LENGTH_OF(keys), text, length);
		if (word < 0)
			return mktg_json_fail(place, "unknown key \"%.*s\"", (int) (length < 60 ? length : 60), text);
		place->key[0] = word;
		return true;
	}
	word = mktg_json_word(span_keys, LENGTH_OF(span_keys), text, length);
	if (word < 0)
		return mktg_json_fail(place, "unknown key \"%.*s\" in %s", (int) (length < 60 ? length : 60), text,
							  keys[place->key[0]]);
	place->key[1] = word;
	return true;
}

bool
mktg_scope_feed(MktgScopeReader *reader, MktgJsonEvent event, const char *text, size_t length)
{
	if (reader->place.failed)
		return false;
	switch (event)
	{
		case MKTG_JSON_KEY:
			return read_key(reader, text, length);
		case MKTG_JSON_OBJECT:
		case MKTG_JSON_ARRAY:
			return open_container(reader, event);
		case MKTG_JSON_END_OBJECT:
		case MKTG_JSON_END_ARRAY:
			return close_container(reader, event);
		default:
			return value(reader, event, text, length);
	}
}

bool
mktg_scope_end(MktgScopeReader *reader)
{
	if (!reader->place.failed && !reader->done)
		return mktg_json_fail(&reader->place, "a scope must be an object");
	return !reader->place.failed;
}

/* ---- against a cart ---- */

static bool
in_list(const MktgScope *scope, MktgScopeList list, MktgSlice slice)
{
	for (int i = 0; slice.text != NULL && i < scope->lists[list].n; i++)
		if (scope->lists[list].values[i].length == slice.length &&
			memcmp(scope->lists[list].values[i].text, slice.text, slice.length) == 0)
			return true;
	return false;
}

static bool
allowed(const MktgScope *scope, MktgScopeList list, MktgSlice slice)
{
	return !scope->lists[list].given || in_list(scope, list, slice);
}

static bool
is_black(const MktgScope *scope, int32_t day)
{
	for (int i = 0; i < scope->nblackouts; i++)
		if (day >= scope->blackouts[i].start_day && day <= scope->blackouts[i].end_day)
			return true;
	return false;
}

/* 1 is Monday; 2000-01-01 was a Saturday */
static int
weekday(int32_t day)
{
	return (int) ((((int64_t) day + 5) % 7 + 7) % 7) + 1;
}

static bool
line_fits(const MktgScope *scope, const MktgCartLine *line, MktgMoment at)
{
	int32_t		day = line->has_travel_day ? line->travel_day : at.day;
	bool		travels = scope->travel_window.start_day != INT32_MIN || scope->travel_window.end_day != INT32_MAX;

	return allowed(scope, MKTG_SCOPE_ORGANIZERS, line->organizer) &&
		allowed(scope, MKTG_SCOPE_ITEMS, line->item) &&
		allowed(scope, MKTG_SCOPE_CATEGORIES, line->category) &&
		allowed(scope, MKTG_SCOPE_CITIES, line->city) &&
		allowed(scope, MKTG_SCOPE_ROUTES, line->route) &&
		!in_list(scope, MKTG_SCOPE_EXCLUDED_ROUTES, line->route) &&
		allowed(scope, MKTG_SCOPE_FARES, line->fare) &&
		!in_list(scope, MKTG_SCOPE_EXCLUDED_FARES, line->fare) &&
		(!travels || (line->has_travel_day && line->travel_day >= scope->travel_window.start_day &&
					  line->travel_day < scope->travel_window.end_day)) &&
		(scope->weekdays == 0 || (scope->weekdays & (1u << weekday(day))) != 0);
}

MktgScopeAnswer
mktg_scope_match(const MktgScope *scope, const MktgCart *cart, MktgMoment at, bool *eligible)
{
	bool		black = is_black(scope, at.day);
	bool		open = allowed(scope, MKTG_SCOPE_CHANNELS, cart->channel) &&
		at.instant >= scope->booking_window.start && at.instant < scope->booking_window.end;
	bool		any = false;

	for (int i = 0; i < cart->nlines; i++)
	{
		const MktgCartLine *line = &cart->lines[i];

		eligible[i] = open && line_fits(scope, line, at);
		if (eligible[i] && line->has_travel_day && is_black(scope, line->travel_day))
		{
			black = true;
			eligible[i] = false;
		}
		any = any || eligible[i];
	}
	/* a day on which nothing is sold, or a line that only its day keeps out */
	if (is_black(scope, at.day) || (!any && black))
		return MKTG_SCOPE_BLACKED_OUT;
	return any ? MKTG_SCOPE_FITS : MKTG_SCOPE_MISSES;
}
