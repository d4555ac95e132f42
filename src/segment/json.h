/*-------------------------------------------------------------------------
 *
 * json.h
 *		Values in JSON objects, whatever somebody wrote there: what is not of
 *		the kind asked for is none.
 *
 * IDENTIFICATION
 *		src/segment/json.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_SEGMENT_JSON_H
#define MKTG_SEGMENT_JSON_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

/* The value of a key, not null; false if there is none, or this is no object. */
extern bool mktg_json_value(Jsonb *object, const char *key, int key_length, JsonbValue *value);

/* A number, or a string that is one. */
extern bool mktg_json_numeric(const JsonbValue *value, Numeric *number);

/* Elements of an array; a number is itself, anything else that is not empty one. */
extern int32 mktg_json_count(const JsonbValue *value);

/* The day a string begins with, YYYY-MM-DD, in days since 2000-01-01. */
extern bool mktg_json_day(const JsonbValue *value, int32 *day);

extern int32 mktg_weekday_of(int32 day);	/* Monday 1 to Sunday 7 */
extern int32 mktg_month_of(int32 day);

#endif
