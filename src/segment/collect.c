/*-------------------------------------------------------------------------
 *
 * collect.c
 *		The aggregate that carries out a program over the rows of a source.
 *
 * It has no GROUP BY: its state is a table of records, one a contact, so that a
 * row costs a few comparisons and additions instead of a group in a hash table
 * for each aggregate.  Parallel workers fill tables of their own, which are
 * handed over whole and added up.  The final function hands the table to the
 * pass that asked for it and returns a number alone.
 *
 * Whoever may call functions can call this one, so a program is checked before
 * it is carried out.
 *
 * IDENTIFICATION
 *		src/segment/collect.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "segment/collect.h"
#include "segment/json.h"

#define COND_WORDS	(MKTG_MAX_CONDS / 64)

/* Constants of one value in a hash table: which conditions each satisfies. */
typedef struct Constant
{
	const char *bytes;			/* NULL: free */
	int32		length;
	uint64		conds[COND_WORDS];
} Constant;

typedef struct Constants
{
	uint32		mask;			/* size - 1; 0: the value has none */
	Constant   *table;
} Constants;

/* A formula that is a conjunction needs no steps. */
typedef struct Mask
{
	bool		simple;
	uint64		set[COND_WORDS];
	uint64		clear[COND_WORDS];
} Mask;

typedef struct RowValue
{
	bool		isnull;
	int64		number;
	const char *bytes;
	int			length;
} RowValue;

typedef struct Collecting
{
	MktgCollected out;			/* first, what it becomes */
	const MktgProgram *program;	/* NULL in a state that came from another process */
	const MktgProgramValue *values;
	const MktgProgramCond *conds;
	const MktgRange *ranges;
	const MktgProgramString *constants;
	const MktgProgramFact *facts;
	const int32 *code;
	const char *strings;
	const uint64 *id_words;		/* dense */
	const uint32 *id_ranks;
	const int64 *ids;			/* not dense */
	int			cond_words;
	Constants  *lookup;			/* of each value */
	Mask	   *masks;			/* of each fact */
	bool	   *is_json;		/* of each input */
	Oid		   *input_types;
	pg_tz	   *zone;
} Collecting;

/* the pass that runs, and what was collected for it */
static MemoryContext pass_context = NULL;
static MktgCollected *pass_collected = NULL;

PG_FUNCTION_INFO_V1(mktg_collect_row);
PG_FUNCTION_INFO_V1(mktg_collect_combine);
PG_FUNCTION_INFO_V1(mktg_collect_serialize);
PG_FUNCTION_INFO_V1(mktg_collect_deserialize);
PG_FUNCTION_INFO_V1(mktg_collect_end);

static int
bit_words(const MktgProgram *layout)
{
	return (layout->nbits + 63) / 64;
}

int
mktg_record_width(const MktgProgram *layout)
{
	return 8 * (layout->npeaks + layout->nsums + (layout->ncounts + 1) / 2 + bit_words(layout));
}

/* ---- programs ---- */

static void
refuse_program(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_VALUE),
			 errmsg("this is no program of a pass"),
			 errhint("mktg._collect() is for mktg.refresh_segments() alone.")));
}

/* The next part of a program: n elements, checked to be there. */
static const void *
part(const char **at, const char *end, int64 n, int64 size)
{
	const char *begin = *at;

	if (n < 0 || n > INT64CONST(1) << 31 || MAXALIGN(n * size) > end - begin)
		refuse_program();
	*at = begin + MAXALIGN(n * size);
	return begin;
}

static void
check_place(int32 place, int32 n, int32 extra)
{
	if (place < 0 || place > n - 1 - extra)
		refuse_program();
}

static void
check_conds(const Collecting *c)
{
	for (int i = 0; i < c->program->nconds; i++)
	{
		const MktgProgramCond *cond = &c->conds[i];
		bool		ranges = cond->test == MKTG_IN_RANGES;
		bool		texts = cond->test == MKTG_ONE_OF || cond->test == MKTG_HAS_TEXT || cond->test == MKTG_BEGINS_WITH;
		int32		of;

		check_place(cond->value, c->program->nvalues, 0);
		of = c->values[cond->value].of;
		if (cond->n < 0 || cond->first < 0 ||
			(ranges && cond->first > c->program->nranges - cond->n) ||
			(texts && cond->first > c->program->nconstants - cond->n) ||
			(texts && (cond->n < 1 || (of != MKTG_VALUE_TEXT && of != MKTG_VALUE_JSON_TEXT))))
			refuse_program();
	}
	for (int i = 0; i < c->program->nconstants; i++)
		if (c->constants[i].offset < 0 || c->constants[i].length < 0 ||
			c->constants[i].offset > c->program->nstrings - c->constants[i].length)
			refuse_program();
}

static void
check_facts(const Collecting *c)
{
	for (int i = 0; i < c->program->nfacts; i++)
	{
		const MktgProgramFact *fact = &c->facts[i];
		int			depth = 0;

		if (fact->code < 0 || fact->ncode < 1 || fact->ncode > MKTG_MAX_CODE || fact->code > c->program->ncode - fact->ncode)
			refuse_program();
		for (int k = 0; k < fact->ncode; k++)
		{
			int32		step = c->code[fact->code + k];

			if (step >= c->program->nconds || step < MKTG_CODE_TRUE ||
				depth < (step == MKTG_CODE_AND || step == MKTG_CODE_OR ? 2 : step == MKTG_CODE_NOT ? 1 : 0))
				refuse_program();
			depth += step >= 0 || step == MKTG_CODE_TRUE ? 1 : step == MKTG_CODE_NOT ? 0 : -1;
		}
		if (depth != 1)
			refuse_program();
		if (fact->kind == MKTG_FACT_ANY)
			check_place(fact->bit, c->program->nbits, 0);
		if (fact->kind == MKTG_FACT_COUNT || fact->kind == MKTG_FACT_SUM || fact->kind == MKTG_FACT_LAST_TWO)
			check_place(fact->count, c->program->ncounts, 0);
		if (fact->kind == MKTG_FACT_SUM)
			check_place(fact->sum, c->program->nsums, 0);
		if (fact->kind == MKTG_FACT_MIN || fact->kind == MKTG_FACT_MAX)
			check_place(fact->peak, c->program->npeaks, 0);
		if (fact->kind == MKTG_FACT_LAST_TWO)
			check_place(fact->peak, c->program->npeaks, 1);
		if (fact->kind != MKTG_FACT_ANY && fact->kind != MKTG_FACT_COUNT)
			check_place(fact->value, c->program->nvalues, 0);
	}
}

/* The type an input must have for a value. */
static bool
type_serves(Oid type, int32 of)
{
	switch (of)
	{
		case MKTG_VALUE_INT:
			return type == INT8OID || type == INT4OID || type == INT2OID;
		case MKTG_VALUE_TIME:
			return type == TIMESTAMPTZOID;
		case MKTG_VALUE_DATE:
			return type == DATEOID;
		case MKTG_VALUE_TEXT:
			return type == TEXTOID || type == VARCHAROID;
		case MKTG_VALUE_BOOL:
			return type == BOOLOID;
		case MKTG_VALUE_ANY:
			return true;
		default:
			return type == JSONBOID;
	}
}

static void
check_values(const Collecting *c)
{
	for (int i = 0; i < c->program->nvalues; i++)
	{
		const MktgProgramValue *value = &c->values[i];

		if (value->of < MKTG_VALUE_INT || value->of > MKTG_VALUE_MONTH)
			refuse_program();
		check_place(value->input, c->program->ninputs, 0);
		if (!type_serves(c->input_types[value->input], value->of))
			refuse_program();
		if (value->of >= MKTG_VALUE_ADVANCE_DAYS)
		{
			check_place(value->time, c->program->ninputs, 0);
			if (c->input_types[value->time] != TIMESTAMPTZOID)
				refuse_program();
		}
		if (value->of >= MKTG_VALUE_JSON_TEXT &&
			(value->key < 0 || value->key_length < 0 || value->key > c->program->nstrings - value->key_length))
			refuse_program();
	}
}

/* Finds the parts of a program and checks them. */
static void
read_program(Collecting *c, bytea *bytes)
{
	const char *at = VARDATA(bytes);
	const char *end = at + VARSIZE(bytes) - VARHDRSZ;
	const MktgProgram *p;

	p = c->program = part(&at, end, 1, sizeof(MktgProgram));
	if (p->magic != MKTG_PROGRAM_MAGIC || p->nconds > MKTG_MAX_CONDS || p->nfacts > MKTG_MAX_FACTS ||
		p->ninputs < 0 || p->ninputs > MKTG_MAX_INPUTS || p->npeaks < 1 || p->npeaks > 2 * MKTG_MAX_FACTS ||
		p->nsums < 0 || p->nsums > MKTG_MAX_FACTS || p->ncounts < 0 || p->ncounts > MKTG_MAX_FACTS ||
		p->nbits < 0 || p->nbits > MKTG_MAX_FACTS || p->nids < 0 || p->nids > PG_INT32_MAX || p->nvalues > MKTG_MAX_VALUES || memchr(p->zone, '\0', sizeof(p->zone)) == NULL)
		refuse_program();
	c->values = part(&at, end, p->nvalues, sizeof(MktgProgramValue));
	c->conds = part(&at, end, p->nconds, sizeof(MktgProgramCond));
	c->ranges = part(&at, end, p->nranges, sizeof(MktgRange));
	c->constants = part(&at, end, p->nconstants, sizeof(MktgProgramString));
	c->facts = part(&at, end, p->nfacts, sizeof(MktgProgramFact));
	c->code = part(&at, end, p->ncode, sizeof(int32));
	c->strings = part(&at, end, p->nstrings, 1);
	if (p->dense)
	{
		c->id_words = part(&at, end, p->nwords, sizeof(uint64));
		c->id_ranks = part(&at, end, p->nwords, sizeof(uint32));
		/* ranks are places in the table of records */
		for (int64 i = 0, rank = 0; i < p->nwords; i++)
		{
			if (c->id_ranks[i] != rank)
				refuse_program();
			rank += __builtin_popcountll(c->id_words[i]);
			if (rank > p->nids)
				refuse_program();
		}
	}
	else
		c->ids = part(&at, end, p->nids, sizeof(int64));
	check_values(c);
	check_conds(c);
	check_facts(c);
}

/* ---- the state ---- */

static void
lay_out(MktgCollected *out)
{
	out->sums_at = 8 * out->layout.npeaks;
	out->counts_at = out->sums_at + 8 * out->layout.nsums;
	out->bits_at = out->counts_at + 8 * ((out->layout.ncounts + 1) / 2);
	out->width = mktg_record_width(&out->layout);
}

static Collecting *
make_state(MemoryContext parent, const MktgProgram *layout)
{
	MemoryContext context = AllocSetContextCreate(parent, "mktg collected", ALLOCSET_DEFAULT_SIZES);
	Collecting *c = MemoryContextAllocZero(context, sizeof(Collecting));

	c->out.context = context;
	c->out.layout = *layout;
	lay_out(&c->out);
	c->out.records = MemoryContextAllocExtended(context, (Size) layout->nids * c->out.width + 1,
												MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	return c;
}

static void
add_constant(Collecting *c, Constants *lookup, const MktgProgramString *string, int cond)
{
	const char *bytes = c->strings + string->offset;
	uint32		hash = hash_bytes((const unsigned char *) bytes, string->length);
	Constant   *place;

	for (;; hash++)
	{
		place = &lookup->table[hash & lookup->mask];
		if (place->bytes == NULL)
		{
			place->bytes = bytes;
			place->length = string->length;
			break;
		}
		if (place->length == string->length && memcmp(place->bytes, bytes, string->length) == 0)
			break;
	}
	place->conds[cond / 64] |= UINT64CONST(1) << (cond % 64);
}

static void
make_lookups(Collecting *c)
{
	int		   *sizes = palloc0(sizeof(int) * (c->program->nvalues + 1));

	c->lookup = palloc0(sizeof(Constants) * (c->program->nvalues + 1));
	for (int i = 0; i < c->program->nconds; i++)
		if (c->conds[i].test == MKTG_ONE_OF)
			sizes[c->conds[i].value] += c->conds[i].n;
	for (int i = 0; i < c->program->nvalues; i++)
		if (sizes[i] > 0)
		{
			uint32		size = pg_nextpower2_32(sizes[i] * 2);

			c->lookup[i].mask = size - 1;
			c->lookup[i].table = palloc0(sizeof(Constant) * size);
		}
	for (int i = 0; i < c->program->nconds; i++)
		for (int k = 0; c->conds[i].test == MKTG_ONE_OF && k < c->conds[i].n; k++)
			add_constant(c, &c->lookup[c->conds[i].value], &c->constants[c->conds[i].first + k], i);
}

/* Conditions and negated conditions joined by AND alone? */
static void
make_masks(Collecting *c)
{
	c->masks = palloc0(sizeof(Mask) * (c->program->nfacts + 1));
	for (int i = 0; i < c->program->nfacts; i++)
	{
		const MktgProgramFact *fact = &c->facts[i];
		const int32 *code = c->code + fact->code;
		Mask	   *mask = &c->masks[i];

		mask->simple = true;
		for (int k = 0; k < fact->ncode; k++)
		{
			int32		step = code[k];

			if (step >= 0 && k + 1 < fact->ncode && code[k + 1] == MKTG_CODE_NOT)
			{
				mask->clear[step / 64] |= UINT64CONST(1) << (step % 64);
				k++;
			}
			else if (step >= 0)
				mask->set[step / 64] |= UINT64CONST(1) << (step % 64);
			else if (step != MKTG_CODE_AND && step != MKTG_CODE_TRUE)
				mask->simple = false;
		}
	}
}

static Collecting *
begin(FunctionCallInfo fcinfo, MemoryContext parent)
{
	bytea	   *bytes = PG_GETARG_BYTEA_PP(1);
	MktgProgram header;
	Collecting *c;
	MemoryContext caller;
	bytea	   *copy;

	if (VARSIZE_ANY_EXHDR(bytes) < sizeof(MktgProgram))
		refuse_program();
	memcpy(&header, VARDATA_ANY(bytes), sizeof(header));
	if (header.magic != MKTG_PROGRAM_MAGIC || header.ninputs != PG_NARGS() - 3)
		refuse_program();

	/* the parts are checked before anything is made by them */
	{
		Collecting	check = {0};

		/* VARDATA must be aligned for the parts */
		StaticAssertStmt(VARHDRSZ == 4, "a varlena header has four bytes");
		caller = MemoryContextSwitchTo(parent);
		copy = (bytea *) ((char *) palloc(VARSIZE_ANY_EXHDR(bytes) + 2 * MAXIMUM_ALIGNOF) + MAXIMUM_ALIGNOF - VARHDRSZ);
		SET_VARSIZE(copy, VARSIZE_ANY_EXHDR(bytes) + VARHDRSZ);
		memcpy(VARDATA(copy), VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
		check.input_types = palloc(sizeof(Oid) * (header.ninputs + 1));
		for (int i = 0; i < header.ninputs; i++)
			check.input_types[i] = get_fn_expr_argtype(fcinfo->flinfo, 3 + i);
		read_program(&check, copy);
		c = make_state(parent, check.program);
		check.out = c->out;
		*c = check;
	}
	c->cond_words = (c->program->nconds + 63) / 64;
	c->zone = pg_tzset(c->program->zone);
	if (c->zone == NULL)
		c->zone = session_timezone;
	make_lookups(c);
	make_masks(c);
	MemoryContextSwitchTo(caller);
	return c;
}

/* The place of a contact's record, or -1. */
static inline int64
place_of(const Collecting *c, int64 id)
{
	const MktgProgram *p = c->program;

	if (p->dense)
	{
		uint64		offset = (uint64) id - (uint64) p->lowest;
		uint64		word;

		if (offset >= (uint64) p->nwords * 64)
			return -1;
		word = c->id_words[offset / 64];
		if (!(word >> (offset % 64) & 1))
			return -1;
		return c->id_ranks[offset / 64] + __builtin_popcountll(word & ((UINT64CONST(1) << (offset % 64)) - 1));
	}
	else
	{
		int64		low = 0;
		int64		high = p->nids - 1;

		while (low <= high)
		{
			int64		middle = (low + high) / 2;

			if (c->ids[middle] == id)
				return middle;
			if (c->ids[middle] < id)
				low = middle + 1;
			else
				high = middle - 1;
		}
		return -1;
	}
}

/* ---- a row ---- */

/* Twice the number, odd where it lies between two whole ones. */
static bool
doubled(const JsonbValue *value, int64 *number)
{
	Numeric		numeric;
	Numeric		floor;
	int64		whole;

	if (!mktg_json_numeric(value, &numeric) || numeric_is_nan(numeric) || numeric_is_inf(numeric))
		return false;
	floor = DatumGetNumeric(DirectFunctionCall1(numeric_floor, NumericGetDatum(numeric)));
	if (DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(floor),
										  NumericGetDatum(int64_to_numeric(PG_INT64_MAX / 4)))) > 0)
		whole = PG_INT64_MAX / 4;
	else if (DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(floor),
											   NumericGetDatum(int64_to_numeric(PG_INT64_MIN / 4)))) < 0)
		whole = PG_INT64_MIN / 4;
	else
		whole = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(floor)));
	*number = whole * 2 +
		(DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(floor), NumericGetDatum(numeric))) != 0);
	return true;
}

static void
json_text(const JsonbValue *found, RowValue *out)
{
	if (found->type == jbvString)
	{
		out->bytes = found->val.string.val;
		out->length = found->val.string.len;
	}
	else if (found->type == jbvBool)
	{
		out->bytes = found->val.boolean ? "true" : "false";
		out->length = found->val.boolean ? 4 : 5;
	}
	else if (found->type == jbvNumeric)
	{
		out->bytes = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(found->val.numeric)));
		out->length = strlen(out->bytes);
	}
	else
	{
		StringInfoData text;

		initStringInfo(&text);
		(void) JsonbToCString(&text, found->val.binary.data, found->val.binary.len);
		out->bytes = text.data;
		out->length = text.len;
	}
}

static void
json_value(const Collecting *c, const MktgProgramValue *value, Jsonb *object, TimestampTz time, bool no_time,
		   RowValue *out)
{
	JsonbValue	found;
	bool		there = mktg_json_value(object, c->strings + value->key, value->key_length, &found);
	int32		day;

	switch (value->of)
	{
		case MKTG_VALUE_JSON_TEXT:
			out->isnull = !there;
			if (there)
				json_text(&found, out);
			break;
		case MKTG_VALUE_JSON_NUMBER:
			out->isnull = !there || !doubled(&found, &out->number);
			break;
		case MKTG_VALUE_JSON_COUNT:
			out->isnull = false;
			out->number = there ? mktg_json_count(&found) : 0;
			break;
		default:
			there = there && mktg_json_day(&found, &day);
			out->isnull = no_time || (value->of == MKTG_VALUE_ADVANCE_DAYS && !there) ||
				(TIMESTAMP_NOT_FINITE(time) && (value->of == MKTG_VALUE_ADVANCE_DAYS || !there));
			if (out->isnull)
				break;
			if (value->of == MKTG_VALUE_ADVANCE_DAYS)
				out->number = (int64) day - mktg_local_day(time, c->zone);
			else
			{
				if (!there)
					day = mktg_local_day(time, c->zone);
				out->number = value->of == MKTG_VALUE_WEEKDAY ? mktg_weekday_of(day) : mktg_month_of(day);
			}
	}
}

static int64
finite_time(int64 time)
{
	/* the record's zeros are for none */
	return Min(Max(time, PG_INT64_MIN + 1), PG_INT64_MAX - 1);
}

static void
take_value(const Collecting *c, FunctionCallInfo fcinfo, const MktgProgramValue *value, Jsonb **objects,
		   RowValue *out)
{
	const NullableDatum *input = &fcinfo->args[3 + value->input];

	out->isnull = input->isnull;
	if (out->isnull && value->of != MKTG_VALUE_JSON_COUNT)
		return;
	switch (value->of)
	{
		case MKTG_VALUE_INT:
			out->number = c->input_types[value->input] == INT8OID ? DatumGetInt64(input->value) :
				c->input_types[value->input] == INT4OID ? DatumGetInt32(input->value) : DatumGetInt16(input->value);
			break;
		case MKTG_VALUE_TIME:
			out->number = finite_time(DatumGetTimestampTz(input->value));
			break;
		case MKTG_VALUE_DATE:
			out->number = DatumGetDateADT(input->value);
			break;
		case MKTG_VALUE_BOOL:
			out->number = DatumGetBool(input->value);
			break;
		case MKTG_VALUE_TEXT:
			{
				text	   *bytes = DatumGetTextPP(input->value);

				out->bytes = VARDATA_ANY(bytes);
				out->length = VARSIZE_ANY_EXHDR(bytes);
				break;
			}
		case MKTG_VALUE_ANY:
			break;
		default:
			if (out->isnull)
			{
				out->isnull = false;
				out->number = 0;
				break;
			}
			if (objects[value->input] == NULL)
				objects[value->input] = DatumGetJsonbP(input->value);
			json_value(c, value, objects[value->input],
					   value->time >= 0 ? DatumGetTimestampTz(fcinfo->args[3 + value->time].value) : 0,
					   value->time >= 0 && fcinfo->args[3 + value->time].isnull, out);
	}
}

static bool
has_text(const RowValue *value, const char *text, int length)
{
	return length == 0 || memmem(value->bytes, value->length, text, length) != NULL;
}

/* Holds a value against ranges, and notes when time alone will change the answer. */
static bool
in_ranges(const Collecting *c, const MktgProgramCond *cond, int64 value, int64 *flip)
{
	bool		in = false;

	for (int k = 0; k < cond->n; k++)
	{
		const MktgRange *range = &c->ranges[cond->first + k];

		in |= value >= range->lo && value < range->hi;
		if (range->lo_moves)
			*flip = Min(*flip, mktg_crosses(value, range->lo, c->program->at));
		if (range->hi_moves)
			*flip = Min(*flip, mktg_crosses(value, range->hi, c->program->at));
	}
	return in;
}

static void
hold_conds(const Collecting *c, const RowValue *values, uint64 *bits, int64 *flip)
{
	for (int i = 0; i < c->program->nvalues; i++)
	{
		const Constants *lookup = &c->lookup[i];
		uint32		hash;

		if (lookup->mask == 0 || values[i].isnull)
			continue;
		hash = hash_bytes((const unsigned char *) values[i].bytes, values[i].length);
		for (const Constant *place; (place = &lookup->table[hash & lookup->mask])->bytes != NULL; hash++)
			if (place->length == values[i].length && memcmp(place->bytes, values[i].bytes, place->length) == 0)
			{
				for (int w = 0; w < c->cond_words; w++)
					bits[w] |= place->conds[w];
				break;
			}
	}
	for (int i = 0; i < c->program->nconds; i++)
	{
		const MktgProgramCond *cond = &c->conds[i];
		const RowValue *value = &values[cond->value];
		bool		holds = false;

		if (value->isnull)
			continue;
		switch (cond->test)
		{
			case MKTG_ONE_OF:
				continue;
			case MKTG_IN_RANGES:
				holds = in_ranges(c, cond, value->number, flip);
				break;
			case MKTG_HAS_TEXT:
				holds = has_text(value, c->strings + c->constants[cond->first].offset, c->constants[cond->first].length);
				break;
			case MKTG_BEGINS_WITH:
				holds = value->length >= c->constants[cond->first].length &&
					memcmp(value->bytes, c->strings + c->constants[cond->first].offset, c->constants[cond->first].length) == 0;
				break;
			case MKTG_IS_THERE:
				holds = true;
				break;
			case MKTG_IS_TRUE:
				holds = value->number != 0;
				break;
			case MKTG_IS_FALSE:
				holds = value->number == 0;
				break;
		}
		if (holds)
			bits[i / 64] |= UINT64CONST(1) << (i % 64);
	}
}

static bool
formula_holds(const Collecting *c, int fact, const uint64 *bits)
{
	const Mask *mask = &c->masks[fact];
	const int32 *code = c->code + c->facts[fact].code;
	bool		stack[MKTG_MAX_CODE];
	int			depth = 0;

	if (mask->simple)
	{
		for (int w = 0; w < c->cond_words; w++)
			if ((bits[w] & mask->set[w]) != mask->set[w] || (bits[w] & mask->clear[w]) != 0)
				return false;
		return true;
	}
	for (int k = 0; k < c->facts[fact].ncode; k++)
		switch (code[k])
		{
			case MKTG_CODE_AND:
				depth--;
				stack[depth - 1] &= stack[depth];
				break;
			case MKTG_CODE_OR:
				depth--;
				stack[depth - 1] |= stack[depth];
				break;
			case MKTG_CODE_NOT:
				stack[depth - 1] = !stack[depth - 1];
				break;
			case MKTG_CODE_TRUE:
				stack[depth++] = true;
				break;
			default:
				stack[depth++] = (bits[code[k] / 64] >> (code[k] % 64) & 1) != 0;
		}
	return stack[0];
}

static inline void
raise_peak(uint64 *peak, uint64 to)
{
	if (*peak < to)
		*peak = to;
}

static inline void
add_last(uint64 *two, uint64 peak)
{
	if (peak > two[0])
	{
		two[1] = two[0];
		two[0] = peak;
	}
	else if (peak > two[1])
		two[1] = peak;
}

static void
add_sum(int64 *sum, int64 value)
{
	if (__builtin_add_overflow(*sum, value, sum))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("sum of a segment's rule is out of range"),
						errhint("Rules add up to about 9e18 minor units a contact.")));
}

static void
add_fact(const Collecting *c, const MktgProgramFact *fact, const RowValue *values, char *record)
{
	uint64	   *peaks = (uint64 *) record;
	int64	   *sums = (int64 *) (record + c->out.sums_at);
	uint32	   *counts = (uint32 *) (record + c->out.counts_at);
	uint64	   *bits = (uint64 *) (record + c->out.bits_at);

	if (fact->kind == MKTG_FACT_ANY)
	{
		bits[fact->bit / 64] |= UINT64CONST(1) << (fact->bit % 64);
		return;
	}
	if (fact->kind != MKTG_FACT_COUNT && values[fact->value].isnull)
		return;
	switch (fact->kind)
	{
		case MKTG_FACT_SUM:
			add_sum(&sums[fact->sum], values[fact->value].number);
			counts[fact->count]++;
			break;
		case MKTG_FACT_MIN:
			raise_peak(&peaks[fact->peak], MKTG_PEAK_OF_MIN(finite_time(values[fact->value].number)));
			break;
		case MKTG_FACT_MAX:
			raise_peak(&peaks[fact->peak], MKTG_PEAK_OF_MAX(finite_time(values[fact->value].number)));
			break;
		case MKTG_FACT_LAST_TWO:
			/* an infinite time is no purchase, as mktg.lifecycle_stage() has it */
			if (values[fact->value].number == finite_time(PG_INT64_MIN) ||
				values[fact->value].number == finite_time(PG_INT64_MAX))
				break;
			add_last(&peaks[fact->peak], MKTG_PEAK_OF_MAX(finite_time(values[fact->value].number)));
			counts[fact->count]++;
			break;
		default:
			counts[fact->count]++;
	}
}

/*
 * SQL: mktg._collect_row(state internal, program bytea, contact bigint, VARIADIC inputs "any") returns internal
 */
Datum
mktg_collect_row(PG_FUNCTION_ARGS)
{
	MemoryContext aggregate;
	Collecting *c;
	RowValue	values[MKTG_MAX_VALUES];
	Jsonb	   *objects[MKTG_MAX_INPUTS];
	uint64		bits[COND_WORDS];
	int64		flip = PG_INT64_MAX;
	int64		place;
	char	   *record;

	if (!AggCheckCallContext(fcinfo, &aggregate))
		elog(ERROR, "mktg_collect_row called in non-aggregate context");
	if (PG_ARGISNULL(1))
		refuse_program();
	c = PG_ARGISNULL(0) ? begin(fcinfo, aggregate) : (Collecting *) PG_GETARG_POINTER(0);
	if (PG_ARGISNULL(2))
		PG_RETURN_POINTER(c);
	c->out.seen++;
	place = place_of(c, PG_GETARG_INT64(2));
	if (place < 0)
		PG_RETURN_POINTER(c);

	memset(objects, 0, sizeof(Jsonb *) * c->program->ninputs);
	memset(bits, 0, sizeof(uint64) * c->cond_words);
	for (int i = 0; i < c->program->nvalues; i++)
		take_value(c, fcinfo, &c->values[i], objects, &values[i]);
	hold_conds(c, values, bits, &flip);
	record = c->out.records + place * c->out.width;
	for (int i = 0; i < c->program->nfacts; i++)
		if (formula_holds(c, i, bits))
			add_fact(c, &c->facts[i], values, record);
	if (flip != PG_INT64_MAX)
		raise_peak((uint64 *) record, MKTG_PEAK_OF_MIN(flip));
	PG_RETURN_POINTER(c);
}

/* ---- putting together ---- */

/* Which peaks are pairs is known to the facts alone, so they come along as bits of "pairs". */
static void
add_records(MktgCollected *to, const MktgCollected *from, const bool *pairs)
{
	const MktgProgram *p = &to->layout;

	for (int64 i = 0; i < p->nids; i++)
	{
		uint64	   *peaks = (uint64 *) (to->records + i * to->width);
		uint64	   *other = (uint64 *) (from->records + i * to->width);
		int			at = p->npeaks;

		for (int k = 0; k < p->npeaks; k++)
			if (pairs[k])
			{
				add_last(&peaks[k], other[k]);
				add_last(&peaks[k], other[k + 1]);
				k++;
			}
			else
				raise_peak(&peaks[k], other[k]);
		for (int k = 0; k < p->nsums; k++, at++)
			add_sum((int64 *) &peaks[at], (int64) other[at]);
		for (int k = 0; k < p->ncounts; k++)
			((uint32 *) &peaks[at])[k] += ((uint32 *) &other[at])[k];
		at += (p->ncounts + 1) / 2;
		for (int k = 0; k < bit_words(p); k++, at++)
			peaks[at] |= other[at];
	}
	to->seen += from->seen;
}

static void
find_pairs(const Collecting *c, bool *pairs)
{
	for (int i = 0; i < c->program->nfacts; i++)
		if (c->facts[i].kind == MKTG_FACT_LAST_TWO)
			pairs[c->facts[i].peak] = true;
}

/* What is written down for another process: this, a byte for each peak, the records. */
typedef struct Written
{
	MktgProgram layout;
	int64		seen;
} Written;

/* A state that came from another process: its layout, and which peaks are pairs. */
typedef struct Arrived
{
	Collecting	state;
	bool	   *pairs;
} Arrived;

/*
 * SQL: mktg._collect_serialize(state internal) returns bytea
 */
Datum
mktg_collect_serialize(PG_FUNCTION_ARGS)
{
	Collecting *c;
	Written		written = {0};
	Size		records;
	Size		size;
	bytea	   *out;
	char	   *at;
	bool	   *pairs;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "mktg_collect_serialize called in non-aggregate context");
	c = (Collecting *) PG_GETARG_POINTER(0);
	pairs = palloc0(c->out.layout.npeaks);
	find_pairs(c, pairs);
	records = (Size) c->out.layout.nids * c->out.width;
	size = VARHDRSZ + sizeof(written) + c->out.layout.npeaks + records;
	out = palloc(size);
	SET_VARSIZE(out, size);
	written.layout = c->out.layout;
	written.seen = c->out.seen;
	at = VARDATA(out);
	memcpy(at, &written, sizeof(written));
	at += sizeof(written);
	memcpy(at, pairs, c->out.layout.npeaks);
	at += c->out.layout.npeaks;
	memcpy(at, c->out.records, records);
	/* the table itself is not needed any more, and two of them are many */
	pfree(c->out.records);
	c->out.records = NULL;
	PG_RETURN_BYTEA_P(out);
}

/*
 * SQL: mktg._collect_deserialize(serialized bytea, state internal) returns internal
 */
Datum
mktg_collect_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *bytes;
	Written		written;
	Arrived    *arrived;
	MktgCollected *out;
	Size		length;
	char	   *at;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "mktg_collect_deserialize called in non-aggregate context");
	bytes = PG_GETARG_BYTEA_PP(0);
	length = VARSIZE_ANY_EXHDR(bytes);
	at = VARDATA_ANY(bytes);
	if (length < sizeof(written))
		refuse_program();
	memcpy(&written, at, sizeof(written));
	arrived = palloc0(sizeof(Arrived));
	out = &arrived->state.out;
	out->layout = written.layout;
	lay_out(out);
	if (out->layout.magic != MKTG_PROGRAM_MAGIC || out->layout.npeaks < 1 || out->layout.nids < 0 ||
		length != sizeof(written) + out->layout.npeaks + (Size) out->layout.nids * out->width)
		refuse_program();
	out->seen = written.seen;
	arrived->pairs = palloc(out->layout.npeaks + 1);
	memcpy(arrived->pairs, at + sizeof(written), out->layout.npeaks);
	arrived->pairs[out->layout.npeaks - 1] = false;
	/* records are read as words */
	out->records = MemoryContextAllocExtended(CurrentMemoryContext, (Size) out->layout.nids * out->width + 1,
											  MCXT_ALLOC_HUGE);
	memcpy(out->records, at + sizeof(written) + out->layout.npeaks, (Size) out->layout.nids * out->width);
	PG_RETURN_POINTER(arrived);
}

/*
 * SQL: mktg._collect_combine(a internal, b internal) returns internal
 *
 * "b" is one that has arrived; "a" is ours, and begins as nothing.
 */
Datum
mktg_collect_combine(PG_FUNCTION_ARGS)
{
	MemoryContext aggregate;
	Collecting *to;
	Arrived    *from;

	if (!AggCheckCallContext(fcinfo, &aggregate))
		elog(ERROR, "mktg_collect_combine called in non-aggregate context");
	if (PG_ARGISNULL(1))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_POINTER(PG_GETARG_POINTER(0));
	}
	from = (Arrived *) PG_GETARG_POINTER(1);
	to = PG_ARGISNULL(0) ? make_state(aggregate, &from->state.out.layout) : (Collecting *) PG_GETARG_POINTER(0);
	if (memcmp(&to->out.layout, &from->state.out.layout, sizeof(MktgProgram)) != 0)
		refuse_program();
	add_records(&to->out, &from->state.out, from->pairs);
	pfree(from->state.out.records);
	PG_RETURN_POINTER(to);
}

/*
 * SQL: mktg._collect_end(state internal) returns bigint
 */
Datum
mktg_collect_end(PG_FUNCTION_ARGS)
{
	Collecting *c;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "mktg_collect_end called in non-aggregate context");
	if (PG_ARGISNULL(0))
		PG_RETURN_INT64(0);
	c = (Collecting *) PG_GETARG_POINTER(0);
	if (pass_context != NULL)
	{
		MemoryContextSetParent(c->out.context, pass_context);
		pass_collected = &c->out;
	}
	PG_RETURN_INT64(c->out.seen);
}

MktgCollected *
mktg_collect(const char *sql, int nparams, Oid *types, Datum *values)
{
	MemoryContext caller = CurrentMemoryContext;
	int			result;

	pass_collected = NULL;
	pass_context = caller;
	PG_TRY();
	{
		result = SPI_execute_with_args(sql, nparams, types, values, NULL, true, 0);
	}
	PG_FINALLY();
	{
		pass_context = NULL;
	}
	PG_END_TRY();
	if (result < 0)
		elog(ERROR, "could not run a pass: %s", SPI_result_code_string(result));
	SPI_freetuptable(SPI_tuptable);
	MemoryContextSwitchTo(caller);
	return pass_collected;
}
