/*-------------------------------------------------------------------------
 *
 * json.c
 *		Values in JSON objects, for fields of rules.
 *
 * An attribute that somebody wrote wrong must not break everybody's segments:
 * nothing here refuses a value, it is none.
 *
 * IDENTIFICATION
 *		src/segment/json.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"

#include "base/base.h"
#include "base/zone.h"
#include "core/bitmap.h"
#include "segment/json.h"

#define MAX_NUMBER	100			/* characters of a number in a string */

PG_FUNCTION_INFO_V1(mktg_json_number);
PG_FUNCTION_INFO_V1(mktg_json_count_sql);
PG_FUNCTION_INFO_V1(mktg_json_texts);
PG_FUNCTION_INFO_V1(mktg_json_boolean);
PG_FUNCTION_INFO_V1(mktg_json_time);
PG_FUNCTION_INFO_V1(mktg_advance_days);
PG_FUNCTION_INFO_V1(mktg_weekday);
PG_FUNCTION_INFO_V1(mktg_month);
PG_FUNCTION_INFO_V1(mktg_chunk_has_sql);

bool
mktg_json_value(Jsonb *object, const char *key, int key_length, JsonbValue *value)
{
	return JB_ROOT_IS_OBJECT(object) &&
		getKeyJsonValueFromContainer(&object->root, key, key_length, value) != NULL &&
		value->type != jbvNull;
}

/* The value of argument 1's key in argument 0. */
static bool
argument_value(FunctionCallInfo fcinfo, JsonbValue *value)
{
	text	   *key = PG_GETARG_TEXT_PP(1);

	return mktg_json_value(PG_GETARG_JSONB_P(0), VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key), value);
}

/* Digits with a sign, a point and a small exponent, and nothing else. */
static bool
is_number(const char *s, int length)
{
	int			digits = 0;
	int			i = 0;

	if (length > MAX_NUMBER)
		return false;
	if (i < length && (s[i] == '-' || s[i] == '+'))
		i++;
	for (; i < length && s[i] >= '0' && s[i] <= '9'; i++)
		digits++;
	if (i < length && s[i] == '.')
		for (i++; i < length && s[i] >= '0' && s[i] <= '9'; i++)
			digits++;
	if (digits == 0)
		return false;
	if (i < length && (s[i] == 'e' || s[i] == 'E'))
	{
		int			first;

		i++;
		if (i < length && (s[i] == '-' || s[i] == '+'))
			i++;
		for (first = i; i < length && s[i] >= '0' && s[i] <= '9'; i++)
			;
		if (i == first || i - first > 3)
			return false;
	}
	return i == length;
}

bool
mktg_json_numeric(const JsonbValue *value, Numeric *number)
{
	if (value->type == jbvNumeric)
	{
		*number = value->val.numeric;
		return true;
	}
	if (value->type != jbvString || !is_number(value->val.string.val, value->val.string.len))
		return false;
	*number = DatumGetNumeric(DirectFunctionCall3(numeric_in,
												  CStringGetDatum(pnstrdup(value->val.string.val, value->val.string.len)),
												  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	return true;
}

/* SQL: mktg._json_number(object jsonb, key text) returns numeric */
Datum
mktg_json_number(PG_FUNCTION_ARGS)
{
	JsonbValue	value;
	Numeric		number;

	if (!argument_value(fcinfo, &value) || !mktg_json_numeric(&value, &number))
		PG_RETURN_NULL();
	/* one that is inside the object goes with it */
	PG_RETURN_DATUM(value.type == jbvNumeric ? datumCopy(NumericGetDatum(number), false, -1) : NumericGetDatum(number));
}

int32
mktg_json_count(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return 0;
		case jbvNumeric:
			{
				Datum		number = NumericGetDatum(value->val.numeric);

				if (DatumGetBool(DirectFunctionCall2(numeric_lt, number, NumericGetDatum(int64_to_numeric(0)))))
					return 0;
				if (DatumGetBool(DirectFunctionCall2(numeric_gt, number, NumericGetDatum(int64_to_numeric(PG_INT32_MAX)))))
					return PG_INT32_MAX;
				return DatumGetInt32(DirectFunctionCall1(numeric_int4, DirectFunctionCall1(numeric_floor, number)));
			}
		case jbvBool:
			return value->val.boolean ? 1 : 0;
		case jbvString:
			return value->val.string.len > 0 ? 1 : 0;
		case jbvBinary:
			return JsonContainerIsArray(value->val.binary.data) ?
				(int32) JsonContainerSize(value->val.binary.data) : 1;
		default:
			return 1;
	}
}

/* SQL: mktg._json_count(object jsonb, key text DEFAULT NULL) returns integer */
Datum
mktg_json_count_sql(PG_FUNCTION_ARGS)
{
	JsonbValue	value;

	if (PG_ARGISNULL(0))
		PG_RETURN_INT32(0);
	if (PG_ARGISNULL(1))
	{
		Jsonb	   *all = PG_GETARG_JSONB_P(0);

		PG_RETURN_INT32(JB_ROOT_IS_ARRAY(all) && !JB_ROOT_IS_SCALAR(all) ? (int32) JB_ROOT_COUNT(all) : 0);
	}
	PG_RETURN_INT32(argument_value(fcinfo, &value) ? mktg_json_count(&value) : 0);
}

static Datum
string_datum(const JsonbValue *value)
{
	return PointerGetDatum(cstring_to_text_with_len(value->val.string.val, value->val.string.len));
}

/*
 * SQL: mktg._json_texts(object jsonb, key text) returns text[]
 *
 * The strings of an array; a string is an array of one.
 */
Datum
mktg_json_texts(PG_FUNCTION_ARGS)
{
	JsonbValue	value;
	Datum	   *texts;
	int			n = 0;

	if (!argument_value(fcinfo, &value))
		PG_RETURN_NULL();
	if (value.type == jbvString)
	{
		Datum		one = string_datum(&value);

		PG_RETURN_DATUM(mktg_array(&one, NULL, 1, TEXTOID));
	}
	if (value.type != jbvBinary || !JsonContainerIsArray(value.val.binary.data))
		PG_RETURN_NULL();
	texts = palloc(sizeof(Datum) * (JsonContainerSize(value.val.binary.data) + 1));
	for (uint32 i = 0; i < JsonContainerSize(value.val.binary.data); i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(value.val.binary.data, i);

		if (element != NULL && element->type == jbvString)
			texts[n++] = string_datum(element);
	}
	PG_RETURN_DATUM(mktg_array(texts, NULL, n, TEXTOID));
}

/* SQL: mktg._json_boolean(object jsonb, key text) returns boolean */
Datum
mktg_json_boolean(PG_FUNCTION_ARGS)
{
	JsonbValue	value;

	if (!argument_value(fcinfo, &value))
		PG_RETURN_NULL();
	if (value.type == jbvBool)
		PG_RETURN_BOOL(value.val.boolean);
	if (value.type == jbvString && value.val.string.len == 4 && memcmp(value.val.string.val, "true", 4) == 0)
		PG_RETURN_BOOL(true);
	if (value.type == jbvString && value.val.string.len == 5 && memcmp(value.val.string.val, "false", 5) == 0)
		PG_RETURN_BOOL(false);
	PG_RETURN_NULL();
}

static MktgDays *
zone_argument(FunctionCallInfo fcinfo, int n)
{
	/* it is the tenant's, the same for every row */
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		pg_tz	   *zone = mktg_find_zone(text_to_cstring(PG_GETARG_TEXT_PP(n)));

		fcinfo->flinfo->fn_extra = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(MktgDays));
		mktg_days_begin(fcinfo->flinfo->fn_extra, zone);
	}
	return fcinfo->flinfo->fn_extra;
}

/*
 * SQL: mktg._json_time(object jsonb, key text, zone text) returns timestamptz
 *
 * ISO 8601; without a zone it is in that of the tenant, a date is its midnight.
 */
Datum
mktg_json_time(PG_FUNCTION_ARGS)
{
	JsonbValue	value;
	char		text[MAXDATELEN + 1];
	TimestampTz instant;
	bool		date_only;

	if (!argument_value(fcinfo, &value) || value.type != jbvString || value.val.string.len > MAXDATELEN)
		PG_RETURN_NULL();
	memcpy(text, value.val.string.val, value.val.string.len);
	text[value.val.string.len] = '\0';
	if (!mktg_read_time(text, zone_argument(fcinfo, 2)->zone, &instant, &date_only))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(instant);
}

/* ---- days of travel ---- */

static int
two_digits(const char *s)
{
	return (s[0] - '0') * 10 + s[1] - '0';
}

bool
mktg_json_day(const JsonbValue *value, int32 *day)
{
	static const char form[] = "dddd-dd-dd";
	const char *s = value->val.string.val;
	int			year;
	int			month;
	int			mday;

	if (value->type != jbvString || value->val.string.len < 10 ||
		(value->val.string.len > 10 && s[10] != 'T' && s[10] != ' '))
		return false;
	for (int i = 0; i < 10; i++)
		if (form[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != form[i])
			return false;
	year = two_digits(s) * 100 + two_digits(s + 2);
	month = two_digits(s + 5);
	mday = two_digits(s + 8);
	if (year < 1 || month < 1 || month > 12 || mday < 1 || mday > day_tab[isleap(year)][month - 1])
		return false;
	*day = date2j(year, month, mday) - POSTGRES_EPOCH_JDATE;
	return true;
}

int32
mktg_weekday_of(int32 day)
{
	int32		weekday = (day + 6) % 7;	/* 2000-01-01 was a Saturday */

	if (weekday <= 0)
		weekday += 7;
	return weekday;
}

int32
mktg_month_of(int32 day)
{
	int			year;
	int			month;
	int			mday;

	j2date(day + POSTGRES_EPOCH_JDATE, &year, &month, &mday);
	return month;
}

/* The day the key names; where it names none, that of argument 2, which has none if it is infinite. */
static bool
travel_day(FunctionCallInfo fcinfo, int32 *day)
{
	JsonbValue	value;

	if (argument_value(fcinfo, &value) && mktg_json_day(&value, day))
		return true;
	if (TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(2)))
		return false;
	*day = mktg_local_day(zone_argument(fcinfo, 3), PG_GETARG_TIMESTAMPTZ(2));
	return true;
}

/* SQL: mktg._advance_days(object jsonb, key text, at timestamptz, zone text) returns integer */
Datum
mktg_advance_days(PG_FUNCTION_ARGS)
{
	JsonbValue	value;
	int32		day;

	if (!argument_value(fcinfo, &value) || !mktg_json_day(&value, &day) ||
		TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(2)))
		PG_RETURN_NULL();
	PG_RETURN_INT32(day - mktg_local_day(zone_argument(fcinfo, 3), PG_GETARG_TIMESTAMPTZ(2)));
}

/* SQL: mktg._weekday(object jsonb, key text, at timestamptz, zone text) returns integer */
Datum
mktg_weekday(PG_FUNCTION_ARGS)
{
	int32		day;

	if (!travel_day(fcinfo, &day))
		PG_RETURN_NULL();
	PG_RETURN_INT32(mktg_weekday_of(day));
}

/* SQL: mktg._month(object jsonb, key text, at timestamptz, zone text) returns integer */
Datum
mktg_month(PG_FUNCTION_ARGS)
{
	int32		day;

	if (!travel_day(fcinfo, &day))
		PG_RETURN_NULL();
	PG_RETURN_INT32(mktg_month_of(day));
}

/* SQL: mktg._chunk_has(bits bytea, contact bigint) returns boolean */
Datum
mktg_chunk_has_sql(PG_FUNCTION_ARGS)
{
	bytea	   *bits = PG_GETARG_BYTEA_PP(0);

	PG_RETURN_BOOL(mktg_chunk_has((const uint8_t *) VARDATA_ANY(bits), VARSIZE_ANY_EXHDR(bits),
								  mktg_chunk_bit(PG_GETARG_INT64(1))));
}
