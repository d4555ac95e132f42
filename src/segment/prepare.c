/*-------------------------------------------------------------------------
 *
 * prepare.c
 *		Checks a program and makes it ready to be carried out.
 *
 * Whoever may call functions can hand the aggregate a program, so nothing in it
 * is believed.  What follows from it alone is worked out here, once, and not for
 * each row.
 *
 * IDENTIFICATION
 *		src/segment/prepare.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/mman.h>

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "segment/collecting.h"

#define HUGE_PAGE	((Size) 2 * 1024 * 1024)

/* ---- programs ---- */

void
mktg_refuse_program(void)
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
		mktg_refuse_program();
	*at = begin + MAXALIGN(n * size);
	return begin;
}

static void
check_place(int32 place, int32 n, int32 extra)
{
	if (place < 0 || place > n - 1 - extra)
		mktg_refuse_program();
}

static bool
is_text(int32 of)
{
	return of == MKTG_VALUE_TEXT || of == MKTG_VALUE_JSON_TEXT;
}

static bool
is_texts(int32 of)
{
	return of == MKTG_VALUE_TEXTS || of == MKTG_VALUE_JSON_TEXTS;
}

/* A constant that is used as a numeric where it stands. */
static void
check_numeric(const Collecting *c, const MktgProgramString *constant)
{
	const char *bytes = c->strings + constant->offset;

	if (constant->length < (int) (VARHDRSZ + sizeof(uint16)) || constant->offset % MAXIMUM_ALIGNOF != 0 ||
		VARATT_IS_EXTENDED(bytes) || VARSIZE(bytes) != (Size) constant->length)
		mktg_refuse_program();
}

static void
check_strings(const Collecting *c, const MktgProgramString *strings, int n)
{
	for (int i = 0; i < n; i++)
		if (strings[i].offset < 0 || strings[i].length < 0 ||
			strings[i].offset > c->program->nstrings - strings[i].length)
			mktg_refuse_program();
}

static void
check_conds(const Collecting *c)
{
	for (int i = 0; i < c->program->nconds; i++)
	{
		const MktgProgramCond *cond = &c->conds[i];
		bool		ranges = cond->test == MKTG_IN_RANGES;
		bool		texts = cond->test == MKTG_ONE_OF || cond->test == MKTG_HAS_TEXT || cond->test == MKTG_BEGINS_WITH;
		bool		numbers = cond->test == MKTG_NUMBER_IS;
		int32		of;

		check_place(cond->value, c->program->nvalues, 0);
		of = c->values[cond->value].of;
		if (cond->n < 0 || cond->first < 0 ||
			(ranges && cond->first > c->program->nranges - cond->n) ||
			((texts || numbers) && (cond->n < 1 || cond->first > c->program->nconstants - cond->n)) ||
			(numbers != (of == MKTG_VALUE_JSON_NUMBER) && cond->test != MKTG_IS_THERE) ||
			(texts && !is_text(of) && !(cond->test == MKTG_ONE_OF && is_texts(of))))
			mktg_refuse_program();
		for (int k = 0; numbers && k < cond->n; k++)
			check_numeric(c, &c->constants[cond->first + k]);
	}
}

static void
check_facts(const Collecting *c)
{
	for (int i = 0; i < c->program->nfacts; i++)
	{
		const MktgProgramFact *fact = &c->facts[i];
		int			depth = 0;

		if (fact->code < 0 || fact->ncode < 1 || fact->ncode > MKTG_MAX_CODE || fact->code > c->program->ncode - fact->ncode)
			mktg_refuse_program();
		for (int k = 0; k < fact->ncode; k++)
		{
			int32		step = c->code[fact->code + k];

			if (step >= c->program->nconds || step < MKTG_CODE_TRUE ||
				depth < (step == MKTG_CODE_AND || step == MKTG_CODE_OR ? 2 : step == MKTG_CODE_NOT ? 1 : 0))
				mktg_refuse_program();
			depth += step >= 0 || step == MKTG_CODE_TRUE ? 1 : step == MKTG_CODE_NOT ? 0 : -1;
		}
		if (depth != 1)
			mktg_refuse_program();
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
		case MKTG_VALUE_TEXTS:
			return type == TEXTARRAYOID;
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
			mktg_refuse_program();
		check_place(value->input, c->program->ninputs, 0);
		if (!type_serves(c->input_types[value->input], value->of))
			mktg_refuse_program();
		if (value->of >= MKTG_VALUE_ADVANCE_DAYS)
		{
			check_place(value->time, c->program->ninputs, 0);
			if (c->input_types[value->time] != TIMESTAMPTZOID)
				mktg_refuse_program();
		}
		if (value->of < MKTG_VALUE_JSON_TEXT)
			continue;
		if (value->key < -1 || value->key >= c->program->nkeys || value->outer < -1 || value->outer >= c->program->nkeys ||
			(value->key < 0 && value->of != MKTG_VALUE_JSON_COUNT))
			mktg_refuse_program();
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
		mktg_refuse_program();
	c->values = part(&at, end, p->nvalues, sizeof(MktgProgramValue));
	c->conds = part(&at, end, p->nconds, sizeof(MktgProgramCond));
	c->ranges = part(&at, end, p->nranges, sizeof(MktgRange));
	c->constants = part(&at, end, p->nconstants, sizeof(MktgProgramString));
	c->keys = part(&at, end, p->nkeys, sizeof(MktgProgramString));
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
				mktg_refuse_program();
			rank += __builtin_popcountll(c->id_words[i]);
			if (rank > p->nids)
				mktg_refuse_program();
		}
	}
	else
		c->ids = part(&at, end, p->nids, sizeof(int64));
	check_strings(c, c->constants, p->nconstants);
	check_strings(c, c->keys, p->nkeys);
	check_values(c);
	check_conds(c);
	check_facts(c);
}

/* ---- what is worked out ---- */

/* Records are read in no order: pages of usual size would cost a look-up for each. */
static void
make_records(MktgCollected *out, Size size)
{
	out->memory = MemoryContextAllocHuge(out->context, size + 2 * HUGE_PAGE);
	out->records = (char *) TYPEALIGN(HUGE_PAGE, (uintptr_t) out->memory);
#ifdef MADV_HUGEPAGE
	if (size >= HUGE_PAGE)
		(void) madvise(out->records, TYPEALIGN(HUGE_PAGE, size), MADV_HUGEPAGE);
#endif
	memset(out->records, 0, size);
}

/* A table of the shared memory that nobody has; false if there is none. */
static bool
take_shared_table(MktgCollected *out)
{
	MktgSharedRecords *shared = (MktgSharedRecords *) mktg_shared_table(&out->layout, -1);

	if (shared == NULL)
		return false;
	out->table = (int32) pg_atomic_fetch_add_u32(&shared->next, 1);
	out->records = mktg_shared_table(&out->layout, out->table);
	if (out->records == NULL)
		out->table = -1;
	return out->records != NULL;
}

Collecting *
mktg_collecting_make(MemoryContext parent, const MktgProgram *layout, const MktgCollected *records)
{
	MemoryContext context = AllocSetContextCreate(parent, "mktg collected", ALLOCSET_DEFAULT_SIZES);
	Collecting *c = MemoryContextAllocZero(context, sizeof(Collecting));

	c->out.context = context;
	c->out.layout = *layout;
	mktg_collected_lay_out(&c->out);
	c->out.table = -1;
	if (records != NULL)
	{
		c->out.records = records->records;
		c->out.table = records->table;
	}
	else if (!take_shared_table(&c->out))
		make_records(&c->out, (Size) layout->nids * c->out.width);
	return c;
}

static void
add_constant(Collecting *c, Lookup *lookup, const MktgProgramString *string, int cond)
{
	const char *bytes = c->strings + string->offset;
	uint32		hash = mktg_constant_hash(bytes, string->length);
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

static int
compare_bounds(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

static bool
in_ranges(const Collecting *c, const MktgProgramCond *cond, int64 value)
{
	for (int k = 0; k < cond->n; k++)
		if (value >= c->ranges[cond->first + k].lo && value < c->ranges[cond->first + k].hi)
			return true;
	return false;
}

static void
note_moving(Lookup *lookup, int64 bound)
{
	for (int i = 0; i < lookup->nbounds; i++)
		if (lookup->bounds[i] >= bound)
			lookup->moving[i + 1] = Max(lookup->moving[i + 1], bound);
}

/* The intervals of a value. "n" bounds come, some more than once. */
static void
make_intervals(Collecting *c, int value, int64 n)
{
	Lookup	   *lookup = &c->lookups[value];
	int			distinct = 0;

	lookup->bounds = palloc(sizeof(int64) * (n + 1));
	for (int i = 0; i < c->program->nconds; i++)
	{
		const MktgProgramCond *cond = &c->conds[i];

		for (int k = 0; cond->value == value && cond->test == MKTG_IN_RANGES && k < cond->n; k++)
		{
			lookup->bounds[lookup->nbounds++] = c->ranges[cond->first + k].lo;
			lookup->bounds[lookup->nbounds++] = c->ranges[cond->first + k].hi;
		}
	}
	qsort(lookup->bounds, lookup->nbounds, sizeof(int64), compare_bounds);
	for (int i = 0; i < lookup->nbounds; i++)
		if (distinct == 0 || lookup->bounds[distinct - 1] != lookup->bounds[i])
			lookup->bounds[distinct++] = lookup->bounds[i];
	lookup->nbounds = distinct;
	lookup->moving = palloc(sizeof(int64) * (distinct + 1));
	lookup->holds = palloc0(sizeof(uint64) * c->cond_words * (distinct + 1));
	for (int i = 0; i <= distinct; i++)
		lookup->moving[i] = PG_INT64_MIN;
	for (int i = 0; i < c->program->nconds; i++)
	{
		const MktgProgramCond *cond = &c->conds[i];

		if (cond->value != value || cond->test != MKTG_IN_RANGES)
			continue;
		for (int k = 0; k <= distinct; k++)
			if (in_ranges(c, cond, k == 0 ? PG_INT64_MIN : lookup->bounds[k - 1]))
				lookup->holds[k * c->cond_words + i / 64] |= UINT64CONST(1) << (i % 64);
		for (int k = 0; k < cond->n; k++)
		{
			if (c->ranges[cond->first + k].lo_moves)
				note_moving(lookup, c->ranges[cond->first + k].lo);
			if (c->ranges[cond->first + k].hi_moves)
				note_moving(lookup, c->ranges[cond->first + k].hi);
		}
	}
}

static void
make_lookups(Collecting *c)
{
	int64	   *constants = palloc0(sizeof(int64) * (c->program->nvalues + 1));
	int64	   *bounds = palloc0(sizeof(int64) * (c->program->nvalues + 1));

	c->lookups = palloc0(sizeof(Lookup) * (c->program->nvalues + 1));
	c->plain = palloc(sizeof(int) * (c->program->nconds + 1));
	for (int i = 0; i < c->program->nconds; i++)
		if (c->conds[i].test == MKTG_ONE_OF)
			constants[c->conds[i].value] += c->conds[i].n;
		else if (c->conds[i].test == MKTG_IN_RANGES)
			bounds[c->conds[i].value] += 2 * c->conds[i].n;
		else
			c->plain[c->nplain++] = i;
	for (int i = 0; i < c->program->nvalues; i++)
	{
		if (constants[i] > 0)
		{
			uint32		size = pg_nextpower2_32(constants[i] * 2);

			c->lookups[i].mask = size - 1;
			c->lookups[i].table = MemoryContextAllocExtended(CurrentMemoryContext, sizeof(Constant) * size,
															 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
		}
		if (bounds[i] > 0)
			make_intervals(c, i, bounds[i]);
	}
	for (int i = 0; i < c->program->nconds; i++)
		for (int k = 0; c->conds[i].test == MKTG_ONE_OF && k < c->conds[i].n; k++)
			add_constant(c, &c->lookups[c->conds[i].value], &c->constants[c->conds[i].first + k], i);
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

/* The condition of a conjunction that is likely to hold least often; -1 if there is none. */
static int
trigger_of(const Collecting *c, int fact)
{
	int			best = -1;
	int			best_rank = -1;

	for (int i = 0; c->masks[fact].simple && i < c->program->nconds; i++)
	{
		int			rank = c->conds[i].test == MKTG_IN_RANGES ? (c->values[c->conds[i].value].of == MKTG_VALUE_TIME ? 0 : 1) : 2;

		if ((c->masks[fact].set[i / 64] >> (i % 64) & 1) && rank > best_rank)
		{
			best = i;
			best_rank = rank;
		}
	}
	return best;
}

static void
make_triggers(Collecting *c)
{
	Triggers   *t = &c->triggers;
	int		   *trigger = palloc(sizeof(int) * (c->program->nfacts + 1));
	int			n = 0;

	t->always = palloc(sizeof(int) * (c->program->nfacts + 1));
	t->begins = palloc0(sizeof(int) * (c->program->nconds + 1));
	t->facts = palloc(sizeof(int) * (c->program->nfacts + 1));
	for (int i = 0; i < c->program->nfacts; i++)
	{
		trigger[i] = trigger_of(c, i);
		if (trigger[i] < 0)
			t->always[t->nalways++] = i;
		else
			t->any[trigger[i] / 64] |= UINT64CONST(1) << (trigger[i] % 64);
	}
	for (int cond = 0; cond < c->program->nconds; cond++)
	{
		t->begins[cond] = n;
		for (int i = 0; i < c->program->nfacts; i++)
			if (trigger[i] == cond)
				t->facts[n++] = i;
	}
	t->begins[c->program->nconds] = n;
}

static int
compare_keys(const Collecting *c, const MktgProgramString *a, const MktgProgramString *b)
{
	if (a->length != b->length)
		return a->length < b->length ? -1 : 1;
	return memcmp(c->strings + a->offset, c->strings + b->offset, a->length);
}

/* The jsonb inputs and their keys. */
static void
make_objects(Collecting *c)
{
	int			nvalues = c->program->nvalues;

	c->objects = palloc0(sizeof(Object) * (nvalues + 1));
	c->object_of = palloc(sizeof(int) * (nvalues + 1));
	c->slot_of = palloc(sizeof(int) * (nvalues + 1));
	for (int i = 0; i < nvalues; i++)
	{
		const MktgProgramValue *value = &c->values[i];
		const MktgProgramString *key;
		Object	   *object;
		int			k = 0;

		c->object_of[i] = -1;
		if (value->of < MKTG_VALUE_JSON_TEXT)
			continue;
		while (k < c->nobjects && c->objects[k].input != value->input)
			k++;
		object = &c->objects[k];
		c->object_of[i] = k;
		if (k == c->nobjects)
		{
			c->nobjects++;
			object->input = value->input;
			object->keys = palloc(sizeof(*object->keys) * (nvalues + 1));
			object->found = palloc(sizeof(JsonbValue) * (nvalues + 1));
		}
		if (value->key < 0)
			continue;
		key = &c->keys[value->outer >= 0 ? value->outer : value->key];
		for (k = 0; k < object->n && compare_keys(c, object->keys[k], key) < 0; k++)
			;
		if (k < object->n && compare_keys(c, object->keys[k], key) == 0)
			continue;
		memmove(&object->keys[k + 1], &object->keys[k], sizeof(*object->keys) * (object->n - k));
		object->keys[k] = key;
		object->n++;
	}
	for (int i = 0; i < nvalues; i++)
	{
		const MktgProgramValue *value = &c->values[i];

		if (c->object_of[i] < 0 || value->key < 0)
			continue;
		c->slot_of[i] = 0;
		while (compare_keys(c, c->objects[c->object_of[i]].keys[c->slot_of[i]],
							&c->keys[value->outer >= 0 ? value->outer : value->key]) != 0)
			c->slot_of[i]++;
	}
}

/* The values that facts take, each once. */
static void
make_kept(Collecting *c)
{
	c->kept_of = palloc0(sizeof(int) * (c->program->nfacts + 1));
	for (int i = 0; i < c->program->nfacts; i++)
	{
		int			k = 0;

		if (c->facts[i].kind == MKTG_FACT_ANY || c->facts[i].kind == MKTG_FACT_COUNT)
			continue;
		while (k < c->nkept && c->kept[k] != c->facts[i].value)
			k++;
		if (k == c->nkept)
		{
			if (k == MAX_KEPT)
				mktg_refuse_program();
			c->kept[c->nkept++] = c->facts[i].value;
		}
		c->kept_of[i] = k;
	}
}

Collecting *
mktg_collecting_begin(FunctionCallInfo fcinfo, MemoryContext parent)
{
	bytea	   *bytes = PG_GETARG_BYTEA_PP(1);
	Size		size = VARSIZE_ANY_EXHDR(bytes);
	MemoryContext caller = MemoryContextSwitchTo(parent);
	Collecting	checked = {0};
	Collecting *c;
	MktgProgram header;
	bytea	   *copy;

	if (size < sizeof(header))
		mktg_refuse_program();
	memcpy(&header, VARDATA_ANY(bytes), sizeof(header));
	if (header.magic != MKTG_PROGRAM_MAGIC || header.ninputs != PG_NARGS() - 3)
		mktg_refuse_program();

	/* what stands behind the header of four bytes is aligned */
	copy = (bytea *) ((char *) MemoryContextAllocHuge(parent, size + 2 * MAXIMUM_ALIGNOF) + MAXIMUM_ALIGNOF - VARHDRSZ);
	SET_VARSIZE(copy, size + VARHDRSZ);
	memcpy(VARDATA(copy), VARDATA_ANY(bytes), size);
	checked.input_types = palloc(sizeof(Oid) * (header.ninputs + 1));
	for (int i = 0; i < header.ninputs; i++)
		checked.input_types[i] = get_fn_expr_argtype(fcinfo->flinfo, 3 + i);
	read_program(&checked, copy);
	c = mktg_collecting_make(parent, checked.program, NULL);
	checked.out = c->out;
	*c = checked;
	c->cond_words = (c->program->nconds + 63) / 64;
	mktg_days_begin(&c->days, mktg_find_zone(c->program->zone));
	make_objects(c);
	make_lookups(c);
	make_masks(c);
	make_triggers(c);
	make_kept(c);
	MemoryContextSwitchTo(caller);
	return c;
}
