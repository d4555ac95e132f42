/*-------------------------------------------------------------------------
 *
 * program.c
 *		Which values, conditions and facts the leaves of one source need.
 *
 * What the pass can hold against constants itself it takes as it is in the row;
 * whatever else a condition may be, the server evaluates and the pass gets true
 * or false.  Everything is asked for once, however many leaves name it.
 *
 * IDENTIFICATION
 *		src/segment/program.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "base/base.h"
#include "segment/program.h"

static int	add_value(MktgProgramMaker *maker, const char *sql, Oid type);
static bool add_formula(MktgProgramMaker *maker, const MktgCond *cond);

void
mktg_program_begin(MktgProgramMaker *maker, const MktgSource *source, const MktgCompiled *compiled)
{
	memset(maker, 0, sizeof(*maker));
	maker->source = source;
	mktg_statement_begin(&maker->statement, compiled);
	initStringInfo(&maker->inputs);
	initStringInfo(&maker->ranges);
	initStringInfo(&maker->constants);
	initStringInfo(&maker->keys);
	initStringInfo(&maker->code);
	initStringInfo(&maker->strings);
	maker->header.magic = MKTG_PROGRAM_MAGIC;
	maker->header.at = compiled->at;
	maker->header.npeaks = 1;	/* the next flip */
	strlcpy(maker->header.zone, compiled->registry->time_zone, sizeof(maker->header.zone));
}

/* ---- inputs and values ---- */

static int
add_input(MktgProgramMaker *maker, const char *sql)
{
	ListCell   *cell;
	int			i = 0;

	foreach(cell, maker->input_sqls)
	{
		if (strcmp(lfirst(cell), sql) == 0)
			return i;
		i++;
	}
	if (i == MKTG_MAX_INPUTS)
	{
		maker->full = true;
		return 0;
	}
	maker->input_sqls = lappend(maker->input_sqls, pstrdup(sql));
	appendStringInfo(&maker->inputs, ", %s", sql);
	maker->header.ninputs++;
	return i;
}

static int
add_string(MktgProgramMaker *maker, const char *bytes, int length)
{
	int			offset = maker->strings.len;

	appendBinaryStringInfo(&maker->strings, bytes, length);
	return offset;
}

/* A key of JSON objects, by its number; each is there once. */
static int
place_key(MktgProgramMaker *maker, const char *key)
{
	const MktgProgramString *keys = (const MktgProgramString *) maker->keys.data;
	MktgProgramString made;

	if (key == NULL)
		return -1;
	made.length = strlen(key);
	for (int i = 0; i < maker->header.nkeys; i++)
		if (keys[i].length == made.length && memcmp(maker->strings.data + keys[i].offset, key, made.length) == 0)
			return i;
	made.offset = add_string(maker, key, made.length);
	appendBinaryStringInfo(&maker->keys, (char *) &made, sizeof(made));
	return maker->header.nkeys++;
}

static int
place_json(MktgProgramMaker *maker, MktgValueOf of, int input, int time, const char *outer, const char *key)
{
	MktgProgramValue made = {of, input, time, place_key(maker, outer), place_key(maker, key)};

	for (int i = 0; i < maker->header.nvalues; i++)
		if (memcmp(&maker->values[i], &made, sizeof(made)) == 0)
			return i;
	if (maker->header.nvalues == MKTG_MAX_VALUES)
	{
		maker->full = true;
		return 0;
	}
	maker->values[maker->header.nvalues] = made;
	return maker->header.nvalues++;
}

static int
place_value(MktgProgramMaker *maker, MktgValueOf of, int input)
{
	return place_json(maker, of, input, -1, NULL, NULL);
}

/* Reads a bare column name. */
static const char *
read_column(const char *p, char **column)
{
	const char *begin = p;

	while (isalnum((unsigned char) *p) || *p == '_')
		p++;
	if (p == begin || isdigit((unsigned char) *begin))
		return NULL;
	*column = pnstrdup(begin, p - begin);
	return p;
}

/* Reads a literal without backslashes. */
static const char *
read_literal(const char *p, char **literal)
{
	StringInfoData text;

	if (*p++ != '\'')
		return NULL;
	initStringInfo(&text);
	for (; *p != '\0'; p++)
	{
		if (*p == '\\')
			return NULL;
		if (*p == '\'' && *++p != '\'')
		{
			*literal = text.data;
			return p;
		}
		appendStringInfoChar(&text, *p);
	}
	return NULL;
}

static const char *
expect(const char *p, const char *word)
{
	size_t		length = strlen(word);

	return p != NULL && strncmp(p, word, length) == 0 ? p + length : NULL;
}

/*
 * Expressions that take a key of a jsonb column, or of an object it has under
 * another key, which the pass does itself: as a registry writes them, to the
 * letter.
 */
static int
add_json_value(MktgProgramMaker *maker, const char *sql)
{
	static const struct
	{
		const char *name;
		MktgValueOf of;
	}			functions[] = {
		{"mktg._json_texts(", MKTG_VALUE_JSON_TEXTS},
		{"mktg._json_number(", MKTG_VALUE_JSON_NUMBER},
		{"mktg._json_count(", MKTG_VALUE_JSON_COUNT},
		{"mktg._advance_days(", MKTG_VALUE_ADVANCE_DAYS},
		{"mktg._weekday(", MKTG_VALUE_WEEKDAY},
		{"mktg._month(", MKTG_VALUE_MONTH}
	};
	char	   *column;
	char	   *outer = NULL;
	char	   *key = NULL;
	char	   *time = NULL;
	const char *p;

	p = expect(read_column(sql, &column), " ->> ");
	if (p != NULL && (p = read_literal(p, &key)) != NULL && *p == '\0')
		return place_json(maker, MKTG_VALUE_JSON_TEXT, add_input(maker, column), -1, NULL, key);
	for (int i = 0; i < lengthof(functions); i++)
	{
		p = expect(sql, functions[i].name);
		if (p == NULL || (p = read_column(p, &column)) == NULL)
			continue;
		if (functions[i].of == MKTG_VALUE_JSON_COUNT && strcmp(p, ")") == 0)
			return place_json(maker, MKTG_VALUE_JSON_COUNT, add_input(maker, column), -1, NULL, NULL);
		if (expect(p, " -> ") != NULL && (p = read_literal(expect(p, " -> "), &outer)) == NULL)
			continue;
		if ((p = expect(p, ", ")) == NULL || (p = read_literal(p, &key)) == NULL)
			continue;
		if (functions[i].of >= MKTG_VALUE_ADVANCE_DAYS &&
			((p = expect(p, ", ")) == NULL || (p = read_column(p, &time)) == NULL || (p = expect(p, ", $3")) == NULL))
			continue;
		if (strcmp(p, ")") != 0)
			continue;
		return place_json(maker, functions[i].of, add_input(maker, column),
						  time == NULL ? -1 : add_input(maker, time), outer, key);
	}
	return -1;
}

/* A value of an expression, or -1 if its type is not one the pass compares. */
static int
add_value(MktgProgramMaker *maker, const char *sql, Oid type)
{
	int			value = add_json_value(maker, sql);

	if (value >= 0)
		return value;
	switch (type)
	{
		case INT8OID:
		case INT4OID:
		case INT2OID:
			return place_value(maker, MKTG_VALUE_INT, add_input(maker, sql));
		case TIMESTAMPTZOID:
			return place_value(maker, MKTG_VALUE_TIME, add_input(maker, sql));
		case TIMESTAMPOID:
			return place_value(maker, MKTG_VALUE_TIME,
							   add_input(maker, psprintf("((%s) AT TIME ZONE $3)", sql)));
		case DATEOID:
			return place_value(maker, MKTG_VALUE_DATE, add_input(maker, sql));
		case TEXTOID:
		case VARCHAROID:
			return place_value(maker, MKTG_VALUE_TEXT, add_input(maker, sql));
		case BOOLOID:
			return place_value(maker, MKTG_VALUE_BOOL, add_input(maker, sql));
		case TEXTARRAYOID:
			return place_value(maker, MKTG_VALUE_TEXTS, add_input(maker, sql));
		default:
			return -1;
	}
}

/* ---- conditions ---- */

static int
place_cond(MktgProgramMaker *maker, int value, MktgProgramTest test, int first, int n)
{
	if (maker->header.nconds == MKTG_MAX_CONDS)
	{
		maker->full = true;
		return 0;
	}
	maker->conds[maker->header.nconds] = (MktgProgramCond) {value, test, first, n, 0};
	return maker->header.nconds++;
}

static int
find_plain_cond(MktgProgramMaker *maker, int value, MktgProgramTest test)
{
	for (int i = 0; i < maker->header.nconds; i++)
		if (maker->conds[i].value == value && maker->conds[i].test == test)
			return i;
	return place_cond(maker, value, test, 0, 0);
}

static int
find_ranges_cond(MktgProgramMaker *maker, int value, const MktgRange *ranges, int n)
{
	for (int i = 0; i < maker->header.nconds; i++)
	{
		const MktgProgramCond *cond = &maker->conds[i];
		const MktgRange *others = (MktgRange *) maker->ranges.data + cond->first;
		int			k = 0;

		if (cond->value != value || cond->test != MKTG_IN_RANGES || cond->n != n)
			continue;
		while (k < n && others[k].lo == ranges[k].lo && others[k].hi == ranges[k].hi &&
			   others[k].lo_moves == ranges[k].lo_moves && others[k].hi_moves == ranges[k].hi_moves)
			k++;
		if (k == n)
			return i;
	}
	for (int k = 0; k < n; k++)
	{
		MktgRange	range;

		/* the bytes between, too, are part of the program */
		memset(&range, 0, sizeof(range));
		range.lo = ranges[k].lo;
		range.hi = ranges[k].hi;
		range.lo_moves = ranges[k].lo_moves;
		range.hi_moves = ranges[k].hi_moves;
		appendBinaryStringInfo(&maker->ranges, (char *) &range, sizeof(range));
	}
	maker->header.nranges += n;
	return place_cond(maker, value, MKTG_IN_RANGES, maker->header.nranges - n, n);
}

static int
find_texts_cond(MktgProgramMaker *maker, int value, MktgProgramTest test, const MktgTest *texts)
{
	for (int i = 0; i < maker->header.nconds; i++)
	{
		const MktgProgramCond *cond = &maker->conds[i];
		const MktgProgramString *others = (MktgProgramString *) maker->constants.data + cond->first;
		int			k = 0;

		if (cond->value != value || cond->test != test || cond->n != texts->n)
			continue;
		while (k < texts->n && others[k].length == (int) strlen(texts->texts[k]) &&
			   memcmp(maker->strings.data + others[k].offset, texts->texts[k], others[k].length) == 0)
			k++;
		if (k == texts->n)
			return i;
	}
	for (int k = 0; k < texts->n; k++)
	{
		MktgProgramString string;

		string.length = strlen(texts->texts[k]);
		string.offset = add_string(maker, texts->texts[k], string.length);
		appendBinaryStringInfo(&maker->constants, (char *) &string, sizeof(string));
	}
	maker->header.nconstants += texts->n;
	return place_cond(maker, value, test, maker->header.nconstants - texts->n, texts->n);
}

/* Numbers of JSON are numerics, and so are the constants they are held against. */
static int
numeric_cond(MktgProgramMaker *maker, int value, const MktgTest *test)
{
	int			first = maker->header.nconstants;
	int			cond;

	for (int k = 0; k < test->n; k++)
	{
		MktgProgramString string;

		while (maker->strings.len % MAXIMUM_ALIGNOF != 0)
			appendStringInfoChar(&maker->strings, '\0');
		string.length = VARSIZE(test->numbers[k]);
		string.offset = add_string(maker, (const char *) test->numbers[k], string.length);
		appendBinaryStringInfo(&maker->constants, (char *) &string, sizeof(string));
	}
	maker->header.nconstants += test->n;
	cond = place_cond(maker, value, MKTG_NUMBER_IS, first, test->n);
	maker->conds[cond].op = test->op;
	return cond;
}

/* A test the pass carries out itself; -1 if it does not. */
static int
own_cond(MktgProgramMaker *maker, int value, const MktgTest *test, Oid collation)
{
	MktgValueOf of = maker->values[value].of;

	switch (test->kind)
	{
		case MKTG_TEST_EXISTS:
			return of == MKTG_VALUE_JSON_COUNT || of == MKTG_VALUE_TEXTS || of == MKTG_VALUE_JSON_TEXTS ? -1 :
				find_plain_cond(maker, value, MKTG_IS_THERE);
		case MKTG_TEST_BOOLEAN:
			return of != MKTG_VALUE_BOOL ? -1 :
				find_plain_cond(maker, value, test->boolean ? MKTG_IS_TRUE : MKTG_IS_FALSE);
		case MKTG_TEST_RANGE:
			return of != MKTG_VALUE_TIME && of != MKTG_VALUE_DATE ? -1 :
				find_ranges_cond(maker, value, test->ranges, test->nranges);
		case MKTG_TEST_NUMBER:
			if (of == MKTG_VALUE_JSON_NUMBER)
				return numeric_cond(maker, value, test);
			if (of != MKTG_VALUE_INT && of != MKTG_VALUE_JSON_COUNT && of < MKTG_VALUE_ADVANCE_DAYS)
				return -1;
			return find_ranges_cond(maker, value, test->ranges, test->nranges);
		case MKTG_TEST_TEXT:
			if ((of != MKTG_VALUE_TEXT && of != MKTG_VALUE_JSON_TEXT) ||
				(OidIsValid(collation) && !get_collation_isdeterministic(collation)))
				return -1;
			if (test->op == MKTG_OP_EQ || test->op == MKTG_OP_IN)
				return find_texts_cond(maker, value, MKTG_ONE_OF, test);
			if (test->op == MKTG_OP_CONTAINS)
				return find_texts_cond(maker, value, MKTG_HAS_TEXT, test);
			if (test->op == MKTG_OP_STARTS_WITH)
				return find_texts_cond(maker, value, MKTG_BEGINS_WITH, test);
			return -1;
		case MKTG_TEST_ARRAY:
			if ((of != MKTG_VALUE_TEXTS && of != MKTG_VALUE_JSON_TEXTS) ||
				(OidIsValid(collation) && !get_collation_isdeterministic(collation)))
				return -1;
			return find_texts_cond(maker, value, MKTG_ONE_OF, test);
		default:
			return -1;
	}
}

/* A condition the server evaluates. */
static int
server_cond(MktgProgramMaker *maker, const char *sql)
{
	return find_plain_cond(maker, place_value(maker, MKTG_VALUE_BOOL, add_input(maker, sql)), MKTG_IS_TRUE);
}

static int
add_cond(MktgProgramMaker *maker, const MktgCond *cond)
{
	int			value = add_value(maker, cond->row_sql, cond->row_type);
	int			own = value < 0 ? -1 : own_cond(maker, value, cond->test, cond->collation);
	MktgCond	plain = *cond;
	StringInfoData sql;

	if (own >= 0)
		return own;
	plain.negate = false;
	sql = maker->statement.sql;
	initStringInfo(&maker->statement.sql);
	mktg_cond_sql(&maker->statement, &plain, false);
	own = server_cond(maker, maker->statement.sql.data);
	maker->statement.sql = sql;
	return own;
}

static void
add_step(MktgProgramMaker *maker, int32 step)
{
	appendBinaryStringInfo(&maker->code, (char *) &step, sizeof(step));
}

static bool
add_formula(MktgProgramMaker *maker, const MktgCond *cond)
{
	check_stack_depth();
	if (cond->kind == MKTG_COND_TEST)
		add_step(maker, add_cond(maker, cond));
	else
		for (int i = 0; i < cond->nconds; i++)
		{
			if (!add_formula(maker, cond->conds[i]))
				return false;
			if (i > 0)
				add_step(maker, cond->kind == MKTG_COND_AND ? MKTG_CODE_AND : MKTG_CODE_OR);
		}
	if (cond->negate)
		add_step(maker, MKTG_CODE_NOT);
	return !maker->full;
}

/* ---- facts ---- */

/* Begins the formula of a leaf: its window and its conditions on rows. Gives its first step. */
static int
begin_formula(MktgProgramMaker *maker, const MktgLeaf *leaf)
{
	int			first = maker->code.len / sizeof(int32);

	if (leaf->at_sql == NULL)
		add_step(maker, MKTG_CODE_TRUE);
	else
		add_step(maker, find_ranges_cond(maker, add_value(maker, leaf->at_sql, TIMESTAMPTZOID), &leaf->window, 1));
	if (leaf->rows != NULL)
	{
		(void) add_formula(maker, leaf->rows);
		add_step(maker, MKTG_CODE_AND);
	}
	return first;
}

static void
and_cond(MktgProgramMaker *maker, int cond)
{
	add_step(maker, cond);
	add_step(maker, MKTG_CODE_AND);
}

/* The fact of this kind over the formula that begins at "first"; one that is there already takes its place. */
static int
end_fact(MktgProgramMaker *maker, MktgFactKind kind, int value, int first)
{
	const int32 *code = (const int32 *) maker->code.data;
	int			n = maker->code.len / sizeof(int32) - first;
	MktgProgramFact *fact = &maker->facts[maker->header.nfacts];

	if (maker->full || n > MKTG_MAX_CODE)
	{
		maker->full = true;
		return -1;
	}
	for (int i = 0; i < maker->header.nfacts; i++)
	{
		const MktgProgramFact *other = &maker->facts[i];

		if (other->kind == kind && other->value == value && other->ncode == n &&
			memcmp(code + other->code, code + first, sizeof(int32) * n) == 0)
		{
			maker->code.len = first * sizeof(int32);
			return i;
		}
	}
	if (maker->header.nfacts == MKTG_MAX_FACTS)
	{
		maker->full = true;
		return -1;
	}
	*fact = (MktgProgramFact) {kind, value, first, n, -1, -1, -1, -1};
	switch (kind)
	{
		case MKTG_FACT_ANY:
			fact->bit = maker->header.nbits++;
			break;
		case MKTG_FACT_COUNT:
			fact->count = maker->header.ncounts++;
			break;
		case MKTG_FACT_SUM:
			fact->sum = maker->header.nsums++;
			fact->count = maker->header.ncounts++;
			break;
		case MKTG_FACT_MIN:
		case MKTG_FACT_MAX:
			fact->peak = maker->header.npeaks++;
			break;
		case MKTG_FACT_LAST_TWO:
			fact->peak = maker->header.npeaks;
			maker->header.npeaks += 2;
			fact->count = maker->header.ncounts++;
			break;
	}
	return maker->header.nfacts++;
}

/* "count(x)" counts rows where x is there. */
static int
there_cond(MktgProgramMaker *maker, const MktgLeaf *leaf)
{
	int			value = add_value(maker, leaf->field->row_sql,
								  mktg_expression_type(leaf->source, leaf->field->row_sql, NULL));

	if (value >= 0 && maker->values[value].of != MKTG_VALUE_JSON_COUNT && maker->values[value].of != MKTG_VALUE_JSON_TEXTS)
		return find_plain_cond(maker, value, MKTG_IS_THERE);
	return server_cond(maker, psprintf("((%s) IS NOT NULL)", leaf->field->row_sql));
}

static bool
add_count(MktgProgramMaker *maker, MktgLeaf *leaf, MktgReading *reading)
{
	const MktgTest *test = leaf->test;
	int			first = begin_formula(maker, leaf);
	MktgFactKind kind = MKTG_FACT_COUNT;

	if (leaf->field->row_sql != NULL)
		and_cond(maker, there_cond(maker, leaf));
	/* "any" and "none" need no count */
	if (test->nranges == 1 && test->ranges[0].lo == 1 && test->ranges[0].hi == PG_INT64_MAX)
		kind = MKTG_FACT_ANY;
	else if (test->nranges == 1 && test->ranges[0].lo <= 0 && test->ranges[0].hi == 1)
	{
		kind = MKTG_FACT_ANY;
		reading->negate = true;
	}
	reading->fact = end_fact(maker, kind, -1, first);
	return reading->fact >= 0;
}

/* Two bits: is any true, is any false. */
static bool
add_booleans(MktgProgramMaker *maker, MktgLeaf *leaf, MktgReading *reading, int value)
{
	int			first = begin_formula(maker, leaf);

	if (maker->values[value].of != MKTG_VALUE_BOOL)
		return false;
	and_cond(maker, find_plain_cond(maker, value, MKTG_IS_TRUE));
	reading->fact = end_fact(maker, MKTG_FACT_ANY, -1, first);
	first = begin_formula(maker, leaf);
	and_cond(maker, find_plain_cond(maker, value, MKTG_IS_FALSE));
	reading->other = end_fact(maker, MKTG_FACT_ANY, -1, first);
	return reading->fact >= 0 && reading->other >= 0;
}

/* Constants of an average as whole numbers over a power of ten, so that comparing is exact. */
static bool
scale_numbers(const MktgTest *test, MktgReading *reading)
{
	reading->scaled = palloc(sizeof(int64) * (test->n + 1));
	reading->scale = 1;
	for (int digits = 0; digits <= 9; digits++, reading->scale *= 10)
	{
		int			i;

		for (i = 0; i < test->n && test->kind == MKTG_TEST_NUMBER; i++)
		{
			Datum		scaled = DirectFunctionCall2(numeric_mul, NumericGetDatum(test->numbers[i]),
													 NumericGetDatum(int64_to_numeric(reading->scale)));
			Datum		limit = NumericGetDatum(int64_to_numeric(INT64CONST(1000000000000000000)));

			if (DatumGetInt32(DirectFunctionCall2(numeric_cmp, scaled, DirectFunctionCall1(numeric_floor, scaled))) != 0 ||
				DatumGetBool(DirectFunctionCall2(numeric_gt, DirectFunctionCall1(numeric_abs, scaled), limit)))
				break;
			reading->scaled[i] = DatumGetInt64(DirectFunctionCall1(numeric_int8, scaled));
		}
		if (i == test->n || test->kind != MKTG_TEST_NUMBER)
			return true;
	}
	return false;
}

static bool
add_aggregate(MktgProgramMaker *maker, MktgLeaf *leaf, MktgReading *reading)
{
	Oid			type = mktg_expression_type(leaf->source, leaf->field->row_sql, NULL);
	int			value = add_value(maker, leaf->field->row_sql, type);
	MktgValueOf of = value < 0 ? MKTG_VALUE_ANY : maker->values[value].of;
	bool		number = of == MKTG_VALUE_INT;
	bool		time = of == MKTG_VALUE_TIME || of == MKTG_VALUE_DATE;
	MktgFactKind kind;

	switch (leaf->aggregate)
	{
		case MKTG_AGG_BOOL_AND:
		case MKTG_AGG_BOOL_OR:
			return value >= 0 && add_booleans(maker, leaf, reading, value);
		case MKTG_AGG_SUM:
		case MKTG_AGG_AVG:
			if (!number || (leaf->aggregate == MKTG_AGG_AVG && !scale_numbers(leaf->test, reading)))
				return false;
			kind = MKTG_FACT_SUM;
			break;
		case MKTG_AGG_MIN:
			if (!number && !time)
				return false;
			kind = MKTG_FACT_MIN;
			break;
		case MKTG_AGG_LIFECYCLE:
			if (of != MKTG_VALUE_TIME)
				return false;
			kind = MKTG_FACT_LAST_TWO;
			break;
		default:
			if (!number && !time)
				return false;
			kind = MKTG_FACT_MAX;
	}
	reading->fact = end_fact(maker, kind, value, begin_formula(maker, leaf));
	return reading->fact >= 0;
}

/* What a maker held before something that may not fit. */
typedef struct Before
{
	MktgProgram header;
	int			inputs;
	int			ninputs;
	int			ranges;
	int			constants;
	int			keys;
	int			code;
} Before;

static Before
remember(const MktgProgramMaker *maker)
{
	return (Before) {
		maker->header, maker->inputs.len, list_length(maker->input_sqls),
		maker->ranges.len, maker->constants.len, maker->keys.len, maker->code.len
	};
}

static void
go_back(MktgProgramMaker *maker, const Before *before)
{
	maker->header = before->header;
	maker->inputs.len = before->inputs;
	maker->inputs.data[before->inputs] = '\0';
	maker->input_sqls = list_truncate(maker->input_sqls, before->ninputs);
	maker->ranges.len = before->ranges;
	maker->constants.len = before->constants;
	maker->keys.len = before->keys;
	maker->code.len = before->code;
}

bool
mktg_program_add(MktgProgramMaker *maker, MktgLeaf *leaf, MktgReading *reading)
{
	Before		before = remember(maker);
	bool		added;

	*reading = (MktgReading) {.leaf = leaf, .fact = -1, .other = -1};
	if (leaf->aggregate == MKTG_AGG_NONE)
	{
		reading->fact = end_fact(maker, MKTG_FACT_ANY, -1, begin_formula(maker, leaf));
		added = reading->fact >= 0;
	}
	else if (leaf->aggregate == MKTG_AGG_COUNT)
		added = add_count(maker, leaf, reading);
	else
		added = add_aggregate(maker, leaf, reading);
	if (!added || maker->full)
	{
		go_back(maker, &before);
		reading->fact = -1;
	}
	return reading->fact >= 0;
}

/* Conditions on times of rows, which time alone turns round. */
static void
watch_cond(MktgProgramMaker *maker, const MktgCond *cond)
{
	int			value;

	check_stack_depth();
	for (int i = 0; i < cond->nconds; i++)
		watch_cond(maker, cond->conds[i]);
	if (cond->kind != MKTG_COND_TEST || cond->test->kind != MKTG_TEST_RANGE)
		return;
	value = add_value(maker, cond->row_sql, cond->row_type);
	if (value >= 0)
		(void) own_cond(maker, value, cond->test, cond->collation);
}

void
mktg_program_end(MktgProgramMaker *maker)
{
	if (maker->header.ninputs == 0)
		(void) add_input(maker, "0");
}

bool
mktg_program_watch(MktgProgramMaker *maker, const MktgLeaf *leaf)
{
	Before		before = remember(maker);

	if (leaf->at_sql != NULL)
		(void) find_ranges_cond(maker, add_value(maker, leaf->at_sql, TIMESTAMPTZOID), &leaf->window, 1);
	if (leaf->rows != NULL)
		watch_cond(maker, leaf->rows);
	if (!maker->full)
		return true;
	go_back(maker, &before);
	return false;
}
