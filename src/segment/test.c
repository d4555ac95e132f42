/*-------------------------------------------------------------------------
 *
 * test.c
 *		Comparisons of a field with the constants of a rule.
 *
 * Times become ranges [lo, hi) of microseconds: an instant is one of them, a
 * date stands for its whole day in the tenant's time zone.  Bounds that are
 * relative to the instant asked for move along with it; those that are relative
 * to its day do so at midnight.
 *
 * IDENTIFICATION
 *		src/segment/test.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"

#include "base/base.h"
#include "base/zone.h"
#include "segment/segment.h"

#define BIT(type)	(1 << (type))
#define TEXT		BIT(MKTG_FIELD_TEXT)
#define NUMBER		(BIT(MKTG_FIELD_NUMBER) | BIT(MKTG_FIELD_MONEY))
#define BOOLEAN		BIT(MKTG_FIELD_BOOLEAN)
#define TIME		(BIT(MKTG_FIELD_TIMESTAMP) | BIT(MKTG_FIELD_DATE))
#define ARRAY		BIT(MKTG_FIELD_ARRAY)

/* Which operators there are for which types, and what they take. */
static const struct
{
	int			types;
	const char *value;
	const char *description;
}			operators[MKTG_OPERATORS] = {
	[MKTG_OP_EQ] = {TEXT | NUMBER | BOOLEAN | TIME, "one", "is"},
	[MKTG_OP_NE] = {TEXT | NUMBER | BOOLEAN | TIME, "one", "is not; true without a value"},
	[MKTG_OP_GT] = {TEXT | NUMBER | TIME, "one", "is more than"},
	[MKTG_OP_LT] = {TEXT | NUMBER | TIME, "one", "is less than"},
	[MKTG_OP_GE] = {TEXT | NUMBER | TIME, "one", "is at least"},
	[MKTG_OP_LE] = {TEXT | NUMBER | TIME, "one", "is at most"},
	[MKTG_OP_IN] = {TEXT | NUMBER | TIME | ARRAY, "list", "is one of; of an array: has one of"},
	[MKTG_OP_NOT_IN] = {TEXT | NUMBER | TIME | ARRAY, "list", "is none of; true without a value"},
	[MKTG_OP_BETWEEN] = {TEXT | NUMBER | TIME, "two", "is from the first to the second, both included"},
	[MKTG_OP_CONTAINS] = {TEXT | ARRAY, "one", "has the text in it; of an array: has the element"},
	[MKTG_OP_STARTS_WITH] = {TEXT, "one", "begins with the text"},
	[MKTG_OP_EXISTS] = {TEXT | NUMBER | BOOLEAN | TIME | ARRAY, "none", "has a value"},
	[MKTG_OP_NOT_EXISTS] = {TEXT | NUMBER | BOOLEAN | TIME | ARRAY, "none", "has no value"},
	[MKTG_OP_BEFORE] = {TIME, "one", "is earlier than"},
	[MKTG_OP_AFTER] = {TIME, "one", "is later than"},
	[MKTG_OP_WITHIN_LAST] = {TIME, "days", "is within the last days up to now"},
	[MKTG_OP_NOT_WITHIN_LAST] = {TIME, "days", "is not within the last days; true without a value"}
};

/* What a value of time stands for. */
typedef struct Moment
{
	int64		lo;
	int64		hi;
	bool		moves;
} Moment;

static void refuse_value(const MktgRule *rule, int n, const char *message, const char *hint);
static void texts_test(MktgTest *test, const MktgRule *rule, const MktgField *field);
static void numbers_test(MktgCompiling *compiling, MktgTest *test, const MktgRule *rule, const MktgField *field,
						 MktgFieldType type);
static void times_test(MktgCompiling *compiling, MktgTest *test, const MktgRule *rule, const MktgField *field,
					   bool dates);

PG_FUNCTION_INFO_V1(mktg_rule_operators);

MktgTest *
mktg_make_test(MktgCompiling *compiling, const MktgRule *rule, const MktgField *field,
			   MktgFieldType type, MktgOperator op)
{
	MktgTest   *test = palloc0(sizeof(MktgTest));

	if (!(operators[op].types & BIT(type)))
	{
		StringInfoData hint;

		initStringInfo(&hint);
		appendStringInfoString(&hint, "Operators for it are");
		for (int i = 0; i < MKTG_OPERATORS; i++)
			if (operators[i].types & BIT(type))
				appendStringInfo(&hint, " %s", mktg_operator_name(i));
		appendStringInfoChar(&hint, '.');
		mktg_refuse_rule(ERRCODE_MKTG_INVALID_RULE, rule->path, "operator",
						 psprintf("operator %s is not for field %s, which is of type %s",
								  mktg_operator_name(op), field->name, mktg_field_type_name(type)), hint.data);
	}
	test->op = op;
	test->n = rule->nvalues;
	if (op == MKTG_OP_EXISTS)
	{
		test->kind = MKTG_TEST_EXISTS;
		return test;
	}
	switch (type)
	{
		case MKTG_FIELD_TEXT:
			test->kind = MKTG_TEST_TEXT;
			texts_test(test, rule, field);
			break;
		case MKTG_FIELD_ARRAY:
			test->kind = MKTG_TEST_ARRAY;
			texts_test(test, rule, field);
			break;
		case MKTG_FIELD_NUMBER:
		case MKTG_FIELD_MONEY:
			test->kind = MKTG_TEST_NUMBER;
			numbers_test(compiling, test, rule, field, type);
			break;
		case MKTG_FIELD_BOOLEAN:
			test->kind = MKTG_TEST_BOOLEAN;
			if (rule->values[0].kind != MKTG_VALUE_BOOLEAN)
				refuse_value(rule, -1, psprintf("field %s needs true or false", field->name), NULL);
			test->boolean = strcmp(rule->values[0].text, "true") == 0;
			break;
		case MKTG_FIELD_TIMESTAMP:
		case MKTG_FIELD_DATE:
			test->kind = MKTG_TEST_RANGE;
			times_test(compiling, test, rule, field, type == MKTG_FIELD_DATE);
			break;
		case MKTG_FIELD_JSON:
			elog(ERROR, "a JSON field has no values of its own");
	}
	return test;
}

/* n is the element of a list, or -1. */
static void
refuse_value(const MktgRule *rule, int n, const char *message, const char *hint)
{
	/* a short key is its own path */
	const char *part = rule->short_form ? "" : "value";

	mktg_refuse_rule(ERRCODE_MKTG_INVALID_RULE, rule->path,
					 n >= 0 && rule->list ? psprintf("%s[%d]", part, n) : part, message, hint);
}

static void
texts_test(MktgTest *test, const MktgRule *rule, const MktgField *field)
{
	test->texts = palloc(sizeof(char *) * rule->nvalues);
	for (int i = 0; i < rule->nvalues; i++)
	{
		JsonbValue	found;
		JsonbValue *synonym = NULL;

		if (rule->values[i].kind != MKTG_VALUE_STRING)
			refuse_value(rule, i, psprintf("field %s needs a string", field->name),
						 "Write it in quotes, such as \"value\": \"gold\".");
		test->texts[i] = pstrdup(rule->values[i].text);
		if (field->synonyms != NULL)
			synonym = getKeyJsonValueFromContainer(&field->synonyms->root, test->texts[i],
												   strlen(test->texts[i]), &found);
		if (synonym != NULL && synonym->type == jbvString)
			test->texts[i] = pnstrdup(synonym->val.string.val, synonym->val.string.len);
	}
}

/* ---- numbers ---- */

static Numeric
numeric_of(const char *text)
{
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
											   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

static int
compare_numerics(Numeric a, Numeric b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a), NumericGetDatum(b)));
}

/* The least whole number not below (up) or the greatest not above, within what a bigint holds. */
static int64
whole(Numeric number, bool up)
{
	Numeric		rounded = DatumGetNumeric(up ? DirectFunctionCall1(numeric_ceil, NumericGetDatum(number)) :
										  DirectFunctionCall1(numeric_floor, NumericGetDatum(number)));

	if (compare_numerics(rounded, int64_to_numeric(PG_INT64_MAX - 1)) >= 0)
		return PG_INT64_MAX;
	if (compare_numerics(rounded, int64_to_numeric(PG_INT64_MIN + 1)) <= 0)
		return PG_INT64_MIN;
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(rounded)));
}

static void
add_range(MktgTest *test, int64 lo, int64 hi, bool lo_moves, bool hi_moves)
{
	if (lo < hi)
		test->ranges[test->nranges++] = (MktgRange) {lo, hi, lo_moves, hi_moves};
}

static int64
after(int64 value)
{
	return value == PG_INT64_MAX ? value : value + 1;
}

/* The whole numbers for which the test is true. */
static void
whole_ranges(MktgTest *test)
{
	test->ranges = palloc(sizeof(MktgRange) * test->n);
	switch (test->op)
	{
		case MKTG_OP_GT:
			add_range(test, after(whole(test->numbers[0], false)), PG_INT64_MAX, false, false);
			break;
		case MKTG_OP_GE:
			add_range(test, whole(test->numbers[0], true), PG_INT64_MAX, false, false);
			break;
		case MKTG_OP_LT:
			add_range(test, PG_INT64_MIN, whole(test->numbers[0], true), false, false);
			break;
		case MKTG_OP_LE:
			add_range(test, PG_INT64_MIN, after(whole(test->numbers[0], false)), false, false);
			break;
		case MKTG_OP_BETWEEN:
			add_range(test, whole(test->numbers[0], true), after(whole(test->numbers[1], false)), false, false);
			break;
		default:
			for (int i = 0; i < test->n; i++)
				add_range(test, whole(test->numbers[i], true), after(whole(test->numbers[i], false)), false, false);
	}
}

static void
numbers_test(MktgCompiling *compiling, MktgTest *test, const MktgRule *rule, const MktgField *field,
			 MktgFieldType type)
{
	int			exponent = type == MKTG_FIELD_MONEY && !field->minor ? compiling->registry->exponent : 0;

	test->numbers = palloc(sizeof(Numeric) * rule->nvalues);
	test->whole = true;
	for (int i = 0; i < rule->nvalues; i++)
	{
		Numeric		number;

		if (rule->values[i].kind != MKTG_VALUE_NUMBER)
			refuse_value(rule, i, psprintf("field %s needs a number", field->name),
						 type == MKTG_FIELD_MONEY ? "Give it without quotes, in major units of the tenant's currency." :
						 "Give it without quotes.");
		if (strlen(rule->values[i].text) > 100)
			refuse_value(rule, i, "the number is too long", "Numbers have at most 100 characters.");
		number = numeric_of(rule->values[i].text);
		if (exponent > 0)
			number = DatumGetNumeric(DirectFunctionCall2(numeric_mul, NumericGetDatum(number),
														 NumericGetDatum(numeric_of(psprintf("1e%d", exponent)))));
		test->numbers[i] = number;
		if (compare_numerics(number, DatumGetNumeric(DirectFunctionCall1(numeric_floor, NumericGetDatum(number)))) != 0)
			test->whole = false;
	}
	whole_ranges(test);
}

bool
mktg_in_ranges(const MktgTest *test, int64 value)
{
	for (int i = 0; i < test->nranges; i++)
		if (value >= test->ranges[i].lo && value < test->ranges[i].hi)
			return true;
	return false;
}

bool
mktg_zero_passes(const MktgTest *test)
{
	return test->kind == MKTG_TEST_NUMBER && mktg_in_ranges(test, 0);
}

/* ---- times ---- */

static pg_tz *
zone_of(const MktgCompiling *compiling)
{
	return mktg_find_zone(compiling->registry->time_zone);
}

static int64
day_of(const MktgCompiling *compiling, TimestampTz at)
{
	return mktg_day_at(at, zone_of(compiling));
}

static void
whole_day(MktgCompiling *compiling, int64 day, Moment *moment)
{
	moment->lo = mktg_midnight(day, zone_of(compiling));
	moment->hi = mktg_midnight(day + 1, zone_of(compiling));
	moment->moves = false;
}

static void
depends_on_day(MktgCompiling *compiling)
{
	compiling->changes = MKTG_CHANGES_DAILY;
}

/* "-30 days", "+2 weeks", "6 hours": moves along; months and years count whole days. */
static bool
parse_relative(MktgCompiling *compiling, const char *text, Moment *moment)
{
	static const struct
	{
		const char *name;
		int64		length;
		int			months;
	}			units[] = {
		{"minute", USECS_PER_MINUTE, 0}, {"hour", USECS_PER_HOUR, 0}, {"day", USECS_PER_DAY, 0},
		{"week", 7 * USECS_PER_DAY, 0}, {"month", 0, 1}, {"year", 0, 12}
	};
	char	   *end;
	long		count;
	size_t		length;

	errno = 0;
	count = strtol(text, &end, 10);
	if (end == text || errno != 0 || count < -1000000 || count > 1000000)
		return false;
	while (*end == ' ')
		end++;
	length = strlen(end);
	if (length > 1 && end[length - 1] == 's')
		length--;
	for (int i = 0; i < lengthof(units); i++)
	{
		if (length != strlen(units[i].name) || pg_strncasecmp(end, units[i].name, length) != 0)
			continue;
		if (units[i].months == 0)
		{
			moment->lo = compiling->at + count * units[i].length;
			moment->hi = moment->lo + 1;
			moment->moves = true;
		}
		else
		{
			int			year;
			int			month;
			int			mday;
			int64		months;

			j2date((int) day_of(compiling, compiling->at) + POSTGRES_EPOCH_JDATE, &year, &month, &mday);
			months = (int64) year * 12 + month - 1 + count * units[i].months;
			if (months < 12 || months > 9999 * 12)
				return false;
			year = (int) (months / 12);
			month = (int) (months % 12) + 1;
			mday = Min(mday, day_tab[isleap(year)][month - 1]);
			whole_day(compiling, date2j(year, month, mday) - POSTGRES_EPOCH_JDATE, moment);
			depends_on_day(compiling);
		}
		return true;
	}
	return false;
}

static bool
parse_absolute(MktgCompiling *compiling, const char *text, Moment *moment)
{
	TimestampTz instant;
	bool		date_only;

	if (!mktg_read_time(text, zone_of(compiling), &instant, &date_only))
		return false;
	if (date_only)
		whole_day(compiling, day_of(compiling, instant), moment);
	else
		*moment = (Moment) {instant, instant + 1, false};
	return true;
}

static void
parse_moment(MktgCompiling *compiling, const MktgRule *rule, int n, const MktgField *field, Moment *moment)
{
	static const struct
	{
		const char *name;
		int			days;
	}			days[] = {{"yesterday", -1}, {"today", 0}, {"tomorrow", 1}};
	const MktgValue *value = &rule->values[n];

	if (value->kind == MKTG_VALUE_STRING)
	{
		for (int i = 0; i < lengthof(days); i++)
			if (pg_strcasecmp(value->text, days[i].name) == 0)
			{
				whole_day(compiling, day_of(compiling, compiling->at) + days[i].days, moment);
				depends_on_day(compiling);
				return;
			}
		if (pg_strcasecmp(value->text, "now") == 0)
		{
			*moment = (Moment) {compiling->at, compiling->at + 1, true};
			return;
		}
		if (parse_relative(compiling, value->text, moment) || parse_absolute(compiling, value->text, moment))
			return;
	}
	refuse_value(rule, n, psprintf("field %s needs a time", field->name),
				 "Write \"2026-01-31\", \"2026-01-31 18:00\", \"2026-01-31T18:00:00Z\", \"now\", \"today\" or \"-30 days\".");
}

/* Moments as ranges of days. */
static void
to_days(MktgCompiling *compiling, Moment *moment)
{
	int64		last = day_of(compiling, moment->hi - 1);

	if (moment->moves)
		depends_on_day(compiling);
	moment->lo = day_of(compiling, moment->lo);
	moment->hi = last + 1;
	moment->moves = false;
}

static void
within_last(MktgCompiling *compiling, MktgTest *test, const MktgRule *rule, const MktgField *field, bool dates)
{
	double		days;

	if (rule->values[0].kind != MKTG_VALUE_NUMBER || (days = strtod(rule->values[0].text, NULL)) <= 0 || days > 36500)
		refuse_value(rule, -1, psprintf("operator %s needs a number of days", mktg_operator_name(test->op)),
					 "Give a number above 0 and up to 36500.");
	else if (dates)
	{
		int64		today = day_of(compiling, compiling->at);

		depends_on_day(compiling);
		add_range(test, today - (int64) ceil(days) + 1, today + 1, false, false);
	}
	else
		add_range(test, compiling->at - (int64) rint(days * USECS_PER_DAY) + 1, compiling->at + 1, true, true);
}

static void
times_test(MktgCompiling *compiling, MktgTest *test, const MktgRule *rule, const MktgField *field, bool dates)
{
	Moment	   *moments = palloc(sizeof(Moment) * rule->nvalues);

	test->ranges = palloc(sizeof(MktgRange) * rule->nvalues);
	if (test->op == MKTG_OP_WITHIN_LAST)
	{
		within_last(compiling, test, rule, field, dates);
		return;
	}
	for (int i = 0; i < rule->nvalues; i++)
	{
		parse_moment(compiling, rule, i, field, &moments[i]);
		if (dates)
			to_days(compiling, &moments[i]);
	}
	switch (test->op)
	{
		case MKTG_OP_LT:
		case MKTG_OP_BEFORE:
			add_range(test, PG_INT64_MIN, moments[0].lo, false, moments[0].moves);
			break;
		case MKTG_OP_LE:
			add_range(test, PG_INT64_MIN, moments[0].hi, false, moments[0].moves);
			break;
		case MKTG_OP_GT:
		case MKTG_OP_AFTER:
			add_range(test, moments[0].hi, PG_INT64_MAX, moments[0].moves, false);
			break;
		case MKTG_OP_GE:
			add_range(test, moments[0].lo, PG_INT64_MAX, moments[0].moves, false);
			break;
		case MKTG_OP_BETWEEN:
			add_range(test, moments[0].lo, moments[1].hi, moments[0].moves, moments[1].moves);
			break;
		default:
			for (int i = 0; i < rule->nvalues; i++)
				add_range(test, moments[i].lo, moments[i].hi, moments[i].moves, moments[i].moves);
	}
}

/*
 * SQL: mktg._rule_operators() returns setof (operator text, value text, types text[], description text)
 */
Datum
mktg_rule_operators(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int op = 0; op < MKTG_OPERATORS; op++)
	{
		Datum		types[MKTG_FIELD_JSON + 1];
		int			n = 0;
		Datum		values[4];
		bool		nulls[4] = {0};

		for (int type = 0; type < MKTG_FIELD_JSON; type++)
			if (operators[op].types & BIT(type))
				types[n++] = CStringGetTextDatum(mktg_field_type_name(type));
		types[n++] = CStringGetTextDatum(mktg_field_type_name(MKTG_FIELD_JSON));
		values[0] = CStringGetTextDatum(mktg_operator_name(op));
		values[1] = CStringGetTextDatum(operators[op].value);
		values[2] = mktg_array(types, NULL, n, TEXTOID);
		values[3] = CStringGetTextDatum(operators[op].description);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
