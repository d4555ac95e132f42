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

#include <sys/statvfs.h>

#include "access/parallel.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "storage/dsm_impl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "segment/collecting.h"

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

void
mktg_collected_lay_out(MktgCollected *out)
{
	out->sums_at = 8 * out->layout.npeaks;
	out->counts_at = out->sums_at + 8 * out->layout.nsums;
	out->bits_at = out->counts_at + 8 * ((out->layout.ncounts + 1) / 2);
	out->width = mktg_record_width(&out->layout);
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
add_fact(const Collecting *c, int i, const Pending *row)
{
	const MktgProgramFact *fact = &c->facts[i];
	uint64	   *peaks = (uint64 *) row->record;
	int64	   *sums = (int64 *) (row->record + c->out.sums_at);
	uint32	   *counts = (uint32 *) (row->record + c->out.counts_at);
	uint64	   *bits = (uint64 *) (row->record + c->out.bits_at);
	int64		number = row->numbers[c->kept_of[i]];

	if (fact->kind == MKTG_FACT_ANY)
	{
		bits[fact->bit / 64] |= UINT64CONST(1) << (fact->bit % 64);
		return;
	}
	if (fact->kind != MKTG_FACT_COUNT && row->nulls[c->kept_of[i]])
		return;
	switch (fact->kind)
	{
		case MKTG_FACT_SUM:
			add_sum(&sums[fact->sum], number);
			counts[fact->count]++;
			break;
		case MKTG_FACT_MIN:
			raise_peak(&peaks[fact->peak], MKTG_PEAK_OF_MIN(mktg_finite_time(number)));
			break;
		case MKTG_FACT_MAX:
			raise_peak(&peaks[fact->peak], MKTG_PEAK_OF_MAX(mktg_finite_time(number)));
			break;
		case MKTG_FACT_LAST_TWO:
			/* an infinite time is no purchase, as mktg.lifecycle_stage() has it */
			if (number == mktg_finite_time(PG_INT64_MIN) || number == mktg_finite_time(PG_INT64_MAX))
				break;
			add_last(&peaks[fact->peak], MKTG_PEAK_OF_MAX(number));
			counts[fact->count]++;
			break;
		default:
			counts[fact->count]++;
	}
}

/* Writes the facts of a row: looks at those whose most telling condition holds. */
static void
write_row(const Collecting *c, Pending *row)
{
	const Triggers *t = &c->triggers;

	if (row->record == NULL)
		return;
	for (int k = 0; k < t->nalways; k++)
		if (formula_holds(c, t->always[k], row->bits))
			add_fact(c, t->always[k], row);
	for (int w = 0; w < c->cond_words; w++)
		for (uint64 word = row->bits[w] & t->any[w]; word != 0; word &= word - 1)
		{
			int			cond = w * 64 + __builtin_ctzll(word);

			for (int k = t->begins[cond]; k < t->begins[cond + 1]; k++)
				if (formula_holds(c, t->facts[k], row->bits))
					add_fact(c, t->facts[k], row);
		}
	if (row->flip != PG_INT64_MAX)
		raise_peak((uint64 *) row->record, MKTG_PEAK_OF_MIN(row->flip));
	row->record = NULL;
}

static void
write_pending(Collecting *c)
{
	for (int i = 0; c->program != NULL && i < PENDING; i++)
		write_row(c, &c->pending[i]);
}

/*
 * SQL: mktg._collect_row(state internal, program bytea, contact bigint, VARIADIC inputs "any") returns internal
 */
Datum
mktg_collect_row(PG_FUNCTION_ARGS)
{
	MemoryContext aggregate;
	Collecting *c;
	Pending    *pending;
	int64		place;

	if (!AggCheckCallContext(fcinfo, &aggregate))
		elog(ERROR, "mktg_collect_row called in non-aggregate context");
	if (PG_ARGISNULL(1))
		mktg_refuse_program();
	c = PG_ARGISNULL(0) ? mktg_collecting_begin(fcinfo, aggregate) : (Collecting *) PG_GETARG_POINTER(0);
	if (PG_ARGISNULL(2))
		PG_RETURN_POINTER(c);
	c->out.seen++;
	place = place_of(c, PG_GETARG_INT64(2));
	if (place < 0)
		PG_RETURN_POINTER(c);

	pending = &c->pending[c->next++ % PENDING];
	write_row(c, pending);
	mktg_hold_row(c, fcinfo, pending);
	pending->record = c->out.records + place * c->out.width;
	for (int at = 0; at < c->out.width; at += 64)
		__builtin_prefetch(pending->record + at, 1);
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
	int64		table;			/* of shared memory: no records follow; -1 */
} Written;

/* A varlena that is the only column of a tuple is aligned, what is behind its header of four bytes is not. */
#define WRITTEN_PAD	(MAXIMUM_ALIGNOF - VARHDRSZ)

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
	Size		peaks;
	Size		size;
	bytea	   *out;
	char	   *at;
	bool	   *pairs;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "mktg_collect_serialize called in non-aggregate context");
	c = (Collecting *) PG_GETARG_POINTER(0);
	write_pending(c);
	pairs = palloc0(c->out.layout.npeaks);
	find_pairs(c, pairs);
	records = c->out.table >= 0 ? 0 : (Size) c->out.layout.nids * c->out.width;
	peaks = MAXALIGN(c->out.layout.npeaks);
	size = VARHDRSZ + WRITTEN_PAD + sizeof(written) + peaks + records;
	out = MemoryContextAllocHuge(CurrentMemoryContext, size);
	SET_VARSIZE(out, size);
	written.layout = c->out.layout;
	written.seen = c->out.seen;
	written.table = c->out.table;
	at = VARDATA(out);
	memset(at, 0, WRITTEN_PAD);
	at += WRITTEN_PAD;
	memcpy(at, &written, sizeof(written));
	at += sizeof(written);
	memset(at, 0, peaks);
	memcpy(at, pairs, c->out.layout.npeaks);
	at += peaks;
	memcpy(at, c->out.records, records);
	/* the table itself is not needed any more, and two of them are many */
	if (c->out.memory != NULL)
		pfree(c->out.memory);
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
	Size		records;
	char	   *at;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "mktg_collect_deserialize called in non-aggregate context");
	bytes = PG_GETARG_BYTEA_PP(0);
	length = VARSIZE_ANY_EXHDR(bytes);
	at = VARDATA_ANY(bytes);
	if (length < WRITTEN_PAD + sizeof(written))
		mktg_refuse_program();
	length -= WRITTEN_PAD;
	at += WRITTEN_PAD;
	memcpy(&written, at, sizeof(written));
	arrived = palloc0(sizeof(Arrived));
	out = &arrived->state.out;
	out->layout = written.layout;
	mktg_collected_lay_out(out);
	records = written.table >= 0 ? 0 : (Size) out->layout.nids * out->width;
	if (out->layout.magic != MKTG_PROGRAM_MAGIC || out->layout.npeaks < 1 || out->layout.nids < 0 ||
		length != sizeof(written) + MAXALIGN(out->layout.npeaks) + records)
		mktg_refuse_program();
	out->seen = written.seen;
	arrived->pairs = palloc(out->layout.npeaks + 1);
	memcpy(arrived->pairs, at + sizeof(written), out->layout.npeaks);
	arrived->pairs[out->layout.npeaks - 1] = false;
	at += sizeof(written) + MAXALIGN(out->layout.npeaks);
	out->table = (int32) written.table;
	if (out->table >= 0)
	{
		out->records = mktg_shared_table(&out->layout, out->table);
		if (out->records == NULL)
			mktg_refuse_program();
		PG_RETURN_POINTER(arrived);
	}
	/* it is combined at once, before the bytes go; they are read as words */
	out->records = at;
	if ((uintptr_t) at % MAXIMUM_ALIGNOF != 0)
	{
		out->records = MemoryContextAllocHuge(CurrentMemoryContext, records + 1);
		memcpy(out->records, at, records);
	}
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
	if (PG_ARGISNULL(0) && from->state.out.table >= 0)
	{
		/* the first table becomes the sum of all */
		to = mktg_collecting_make(aggregate, &from->state.out.layout, &from->state.out);
		to->out.seen = from->state.out.seen;
		PG_RETURN_POINTER(to);
	}
	to = PG_ARGISNULL(0) ? mktg_collecting_make(aggregate, &from->state.out.layout, NULL) :
		(Collecting *) PG_GETARG_POINTER(0);
	if (memcmp(&to->out.layout, &from->state.out.layout, sizeof(MktgProgram)) != 0)
		mktg_refuse_program();
	add_records(&to->out, &from->state.out, from->pairs);
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
	write_pending(c);
	if (pass_context != NULL)
	{
		MemoryContextSetParent(c->out.context, pass_context);
		pass_collected = &c->out;
	}
	PG_RETURN_INT64(c->out.seen);
}

/* ---- shared memory ---- */

/* As much as is wanted must be free twice: what is missing when it is used ends a process. */
static bool
is_enough_free(Size size)
{
	struct statvfs file_system;

	return dynamic_shared_memory_type == DSM_IMPL_POSIX && statvfs("/dev/shm", &file_system) == 0 &&
		(uint64) file_system.f_bavail * file_system.f_frsize >= 2 * (uint64) size;
}

dsm_segment *
mktg_shared_records(int ntables, Size size)
{
	Size		table = TYPEALIGN(MKTG_SHARED_HEADER, size);
	Size		total = MKTG_SHARED_HEADER + table * ntables;
	dsm_segment *segment;
	MktgSharedRecords *shared;

	if (!is_enough_free(total))
		return NULL;
	segment = dsm_create(total, DSM_CREATE_NULL_IF_MAXSEGMENTS);
	if (segment == NULL)
		return NULL;
	shared = dsm_segment_address(segment);
	shared->ntables = ntables;
	shared->table_size = table;
	pg_atomic_init_u32(&shared->next, 0);
	shared->magic = MKTG_PROGRAM_MAGIC;
	return segment;
}

/* The table, or for -1 what stands in front of all. */
char *
mktg_shared_table(const MktgProgram *program, int32 table)
{
	dsm_segment *segment;
	MktgSharedRecords *shared;

	if (program->shared == DSM_HANDLE_INVALID)
		return NULL;
	segment = dsm_find_mapping(program->shared);
	if (segment == NULL && IsParallelWorker() && (segment = dsm_attach(program->shared)) != NULL)
	{
		/* it goes with the worker, which ends with the pass */
		dsm_pin_mapping(segment);
	}
	if (segment == NULL || dsm_segment_map_length(segment) < MKTG_SHARED_HEADER)
		return NULL;
	shared = dsm_segment_address(segment);
	if (shared->magic != MKTG_PROGRAM_MAGIC || table >= shared->ntables ||
		shared->table_size < (uint64) program->nids * mktg_record_width(program) ||
		dsm_segment_map_length(segment) < MKTG_SHARED_HEADER + shared->table_size * shared->ntables)
		return NULL;
	return table < 0 ? (char *) shared : (char *) shared + MKTG_SHARED_HEADER + shared->table_size * table;
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
