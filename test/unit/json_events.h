/*-------------------------------------------------------------------------
 *
 * json_events.h
 *		JSON text as events of core/offer.h, for unit tests and fuzzers.
 *
 * json-c reads the text; times are days in UTC.
 *
 * IDENTIFICATION
 *		test/unit/json_events.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_JSON_EVENTS_H
#define MKTG_JSON_EVENTS_H

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/offer.h"

/* What was allocated for a reader, and the text it points into. */
typedef struct JsonEvents
{
	MktgSurroundings surroundings;
	void	   *memory[64];
	int			n;
	json_object *json;
	char		problem[128];
} JsonEvents;

typedef bool (*TakeEvent) (void *reader, MktgJsonEvent event, const char *text, size_t length);

static void *
events_grow(void *context, void *old, size_t size)
{
	JsonEvents *events = context;
	void	   *result;

	for (int i = 0; i < events->n; i++)
		if (events->memory[i] == old)
			return events->memory[i] = realloc(old, size);
	if (events->n == 64 || (result = malloc(size)) == NULL)
		return NULL;
	return events->memory[events->n++] = result;
}

static bool
events_time(void *context, const char *text, size_t length, int64_t *instant, int32_t *day)
{
	(void) context;
	if (!mktg_read_day(text, length, day))
		return false;
	*instant = *day * INT64_C(86400000000);
	return true;
}

__attribute__((unused))
static void
events_begin(JsonEvents *events)
{
	memset(events, 0, sizeof(*events));
	events->surroundings = (MktgSurroundings) {events, events_grow, events_time};
}

__attribute__((unused))
static void
events_end(JsonEvents *events)
{
	for (int i = 0; i < events->n; i++)
		free(events->memory[i]);
	json_object_put(events->json);
}

static bool
events_walk(json_object *json, TakeEvent take, void *reader)
{
	const char *number;

	switch (json_object_get_type(json))
	{
		case json_type_object:
			if (!take(reader, MKTG_JSON_OBJECT, "", 0))
				return false;
			json_object_object_foreach(json, key, value)
			{
				if (!take(reader, MKTG_JSON_KEY, key, strlen(key)) || !events_walk(value, take, reader))
					return false;
			}
			return take(reader, MKTG_JSON_END_OBJECT, "", 0);
		case json_type_array:
			if (!take(reader, MKTG_JSON_ARRAY, "", 0))
				return false;
			for (size_t i = 0; i < json_object_array_length(json); i++)
				if (!events_walk(json_object_array_get_idx(json, i), take, reader))
					return false;
			return take(reader, MKTG_JSON_END_ARRAY, "", 0);
		case json_type_string:
			return take(reader, MKTG_JSON_STRING, json_object_get_string(json), (size_t) json_object_get_string_len(json));
		case json_type_boolean:
			return take(reader, MKTG_JSON_BOOLEAN, "", json_object_get_boolean(json) ? 1 : 0);
		case json_type_null:
			return take(reader, MKTG_JSON_NULL, "", 0);
		default:
			number = json_object_get_string(json);
			return take(reader, MKTG_JSON_NUMBER, number, strlen(number));
	}
}

static bool
events_take_cart(void *reader, MktgJsonEvent event, const char *text, size_t length)
{
	return mktg_cart_feed(reader, event, text, length);
}

static bool
events_take_scope(void *reader, MktgJsonEvent event, const char *text, size_t length)
{
	return mktg_scope_feed(reader, event, text, length);
}

/* False if the text is no JSON. */
static bool
events_parse(JsonEvents *events, const char *text, size_t length)
{
	json_tokener *tokener = json_tokener_new();

	json_object_put(events->json);
	events->json = json_tokener_parse_ex(tokener, text, (int) length);
	if (json_tokener_get_error(tokener) == json_tokener_continue)
		events->json = json_tokener_parse_ex(tokener, "", 1);
	if (json_tokener_get_error(tokener) != json_tokener_success)
	{
		json_object_put(events->json);
		events->json = NULL;
		json_tokener_free(tokener);
		snprintf(events->problem, sizeof(events->problem), "not JSON");
		return false;
	}
	json_tokener_free(tokener);
	return true;
}

__attribute__((unused))
static bool
events_cart(JsonEvents *events, const char *text, size_t length, MktgCart *cart)
{
	MktgCartReader reader;

	if (!events_parse(events, text, length))
		return false;
	mktg_cart_begin(&reader, cart, &events->surroundings);
	(void) events_walk(events->json, events_take_cart, &reader);
	if (mktg_cart_end(&reader))
		return true;
	memcpy(events->problem, reader.place.problem, sizeof(events->problem));
	return false;
}

__attribute__((unused))
static bool
events_scope(JsonEvents *events, const char *text, size_t length, MktgScope *scope)
{
	MktgScopeReader reader;

	if (!events_parse(events, text, length))
		return false;
	mktg_scope_begin(&reader, scope, &events->surroundings);
	(void) events_walk(events->json, events_take_scope, &reader);
	if (mktg_scope_end(&reader))
		return true;
	memcpy(events->problem, reader.place.problem, sizeof(events->problem));
	return false;
}

#endif
