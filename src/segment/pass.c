/*-------------------------------------------------------------------------
 *
 * pass.c
 *		Many rules at once: one pass over each source they read.
 *
 * For each source a program (program.c) gathers what all leaves need to know of
 * each contact (collect.c).  Each leaf then becomes a bit a contact, and trees
 * of leaves are bitwise operations: what the rules cost is next to nothing, the
 * rows are what is paid for, and once.  A leaf that is not for a pass is run as
 * its own statement.
 *
 * IDENTIFICATION
 *		src/segment/pass.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "optimizer/paths.h"
#include "nodes/params.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

#include "base/base.h"
#include "core/bitmap.h"
#include "core/rfm.h"
#include "segment/program.h"

/* Records of one pass take at most this; contacts beyond it wait for another. */
#define MAX_RECORDS		(INT64CONST(192) * 1024 * 1024)

/* Contacts whose records are in the processor's cache together: a word of bits. */
#define BLOCK			64

typedef struct Passing
{
	MktgPass   *pass;
	const MktgCompiled *first;	/* tenant and instant are those of all */
	bool		all;			/* contacts of the tenant */
	Datum		ids;			/* else: the array of them */
	uint64	   *there;			/* who of the list still is a contact; NULL: all */
	List	   *leaves;
	List	   *statics;		/* nodes */
} Passing;

/* Takes bigints as they come. */
typedef struct IdReceiver
{
	DestReceiver receiver;
	int64	   *ids;
	int64		n;
	int64		capacity;
	bool		ascending;
} IdReceiver;

static void receive_ids(MktgStatement *statement, IdReceiver *to);
static void set_ids(const MktgUniverse *universe, uint64 *bits, const int64 *ids, int64 n);
static void gather(Passing *passing, MktgNode *node);
static void run_source(Passing *passing, const MktgSource *source);
static void run_alone(Passing *passing, MktgLeaf *leaf);
static void run_static(Passing *passing, MktgNode *node);
static void combine(const MktgNode *node, uint64 *out, int64 nwords);

/* ---- lists of ids from statements ---- */

static bool
receive_id(TupleTableSlot *slot, DestReceiver *self)
{
	IdReceiver *to = (IdReceiver *) self;
	bool		isnull;
	Datum		value = slot_getattr(slot, 1, &isnull);
	int64		id;

	if (isnull)
		return true;
	id = DatumGetInt64(value);
	if (to->n == to->capacity)
	{
		to->capacity = to->capacity * 2 + 1024;
		to->ids = to->ids == NULL ? palloc(sizeof(int64) * to->capacity) :
			repalloc_huge(to->ids, sizeof(int64) * to->capacity);
	}
	if (to->n > 0 && to->ids[to->n - 1] >= id)
		to->ascending = false;
	to->ids[to->n++] = id;
	return true;
}

static void
receive_nothing(DestReceiver *self, int operation, TupleDesc tupdesc)
{
}

static void
receive_end(DestReceiver *self)
{
}

static int
compare_ids(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

int64 *
mktg_statement_ids(MktgStatement *statement, int64 *n)
{
	IdReceiver	receiver;

	receive_ids(statement, &receiver);
	*n = receiver.n;
	return receiver.ids;
}

/* Ids a statement gives, ascending, each once. */
static void
receive_ids(MktgStatement *statement, IdReceiver *to)
{
	SPIExecuteOptions options = {0};
	MemoryContext caller = CurrentMemoryContext;
	int			result;

	memset(to, 0, sizeof(*to));
	to->receiver.receiveSlot = receive_id;
	to->receiver.rStartup = receive_nothing;
	to->receiver.rShutdown = receive_end;
	to->receiver.rDestroy = receive_end;
	to->receiver.mydest = DestNone;
	to->ascending = true;
	to->capacity = 1024;
	to->ids = palloc(sizeof(int64) * to->capacity);
	options.params = makeParamList(statement->nparams);
	options.read_only = true;
	options.dest = &to->receiver;
	for (int i = 0; i < statement->nparams; i++)
	{
		options.params->params[i].value = statement->values[i];
		options.params->params[i].isnull = false;
		options.params->params[i].pflags = PARAM_FLAG_CONST;
		options.params->params[i].ptype = statement->types[i];
	}
	result = SPI_execute_extended(statement->sql.data, &options);
	if (result < 0)
		elog(ERROR, "could not list contacts: %s", SPI_result_code_string(result));
	MemoryContextSwitchTo(caller);
	if (!to->ascending)
	{
		int64		n = 0;

		qsort(to->ids, to->n, sizeof(int64), compare_ids);
		for (int64 i = 0; i < to->n; i++)
			if (n == 0 || to->ids[n - 1] != to->ids[i])
				to->ids[n++] = to->ids[i];
		to->n = n;
	}
}

/* ---- the pass ---- */

static int64
words_of(const Passing *passing)
{
	return (passing->pass->universe.n + BLOCK - 1) / BLOCK;
}

static uint64 *
make_bits(const Passing *passing)
{
	return MemoryContextAllocExtended(CurrentMemoryContext, sizeof(uint64) * (words_of(passing) + 1),
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

static void
find_universe(Passing *passing)
{
	MktgStatement statement;
	IdReceiver	receiver;

	mktg_statement_begin(&statement, passing->first);
	appendStringInfoString(&statement.sql, "SELECT contact_id FROM mktg.contact WHERE tenant_id = $1");
	if (!passing->all)
		appendStringInfo(&statement.sql, " AND contact_id = ANY ($%d)",
						 mktg_statement_param(&statement, INT8ARRAYOID, passing->ids));
	receive_ids(&statement, &receiver);
	if (passing->all)
		passing->pass->universe = (MktgUniverse) {receiver.ids, receiver.n};
	else
	{
		passing->there = make_bits(passing);
		set_ids(&passing->pass->universe, passing->there, receiver.ids, receiver.n);
	}
}

/*
 * As many processes as there are processors: each keeps a table of records, and
 * one more would only have to be added up.  Compiling expressions costs more
 * than it saves on statements that run once.
 */
static int
set_options(bool all)
{
	int			nest = NewGUCNestLevel();
	long		processors = sysconf(_SC_NPROCESSORS_ONLN);
	char		workers[16];

	if (processors > 0 && max_parallel_workers_per_gather >= processors)
	{
		snprintf(workers, sizeof(workers), "%ld", processors - 1);
		(void) set_config_option("max_parallel_workers_per_gather", workers, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	}
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	/*
	 * A list is of those who were written just now, and their rows are in memory;
	 * in the order of pages they are fetched twice as fast as in that of contacts.
	 */
	if (!all)
	{
		(void) set_config_option("random_page_cost", "1.1", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
		(void) set_config_option("enable_indexscan", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	}
	return nest;
}

MktgPass *
mktg_pass_run(MktgCompiled **compiled, int ncompiled, const int64 *ids, int64 nids, int64 tenant)
{
	MktgPass   *pass = palloc0(sizeof(MktgPass));
	Passing		passing = {.pass = pass, .first = compiled[0], .all = ids == NULL};
	List	   *sources = NIL;
	ListCell   *cell;
	int			nest = set_options(ids == NULL);

	if (ids != NULL)
	{
		Datum	   *values = palloc(sizeof(Datum) * (nids + 1));

		for (int64 i = 0; i < nids; i++)
			values[i] = Int64GetDatum(ids[i]);
		pass->universe = (MktgUniverse) {(int64 *) ids, nids};
		passing.ids = mktg_array(values, NULL, nids, INT8OID);
	}
	find_universe(&passing);
	pass->nroots = ncompiled;
	pass->members = palloc(sizeof(uint64 *) * ncompiled);
	for (int i = 0; i < ncompiled; i++)
		gather(&passing, compiled[i]->root);
	foreach(cell, passing.leaves)
		sources = list_append_unique_ptr(sources, (void *) ((MktgLeaf *) lfirst(cell))->source);
	foreach(cell, sources)
		run_source(&passing, lfirst(cell));
	foreach(cell, passing.statics)
		run_static(&passing, lfirst(cell));
	for (int i = 0; i < ncompiled; i++)
	{
		pass->members[i] = make_bits(&passing);
		combine(compiled[i]->root, pass->members[i], words_of(&passing));
		for (int64 w = 0; passing.there != NULL && w < words_of(&passing); w++)
			pass->members[i][w] &= passing.there[w];
		/* bits behind the last contact mean nobody */
		if (pass->universe.n % BLOCK != 0)
			pass->members[i][words_of(&passing) - 1] &= (UINT64CONST(1) << (pass->universe.n % BLOCK)) - 1;
	}
	AtEOXact_GUC(true, nest);
	return pass;
}

static void
gather(Passing *passing, MktgNode *node)
{
	check_stack_depth();
	if (node->kind == MKTG_NODE_LEAF)
		passing->leaves = lappend(passing->leaves, node->leaf);
	else if (node->kind == MKTG_NODE_STATIC)
		passing->statics = lappend(passing->statics, node);
	for (int i = 0; i < node->nnodes; i++)
		gather(passing, node->nodes[i]);
}

static void
combine(const MktgNode *node, uint64 *out, int64 nwords)
{
	check_stack_depth();
	if (node->kind == MKTG_NODE_LEAF || node->kind == MKTG_NODE_STATIC)
		memcpy(out, node->kind == MKTG_NODE_LEAF ? node->leaf->bits : node->bits, sizeof(uint64) * nwords);
	else
	{
		uint64	   *other = MemoryContextAllocExtended(CurrentMemoryContext, sizeof(uint64) * (nwords + 1), MCXT_ALLOC_HUGE);

		combine(node->nodes[0], out, nwords);
		for (int i = 1; i < node->nnodes; i++)
		{
			combine(node->nodes[i], other, nwords);
			if (node->kind == MKTG_NODE_AND)
				for (int64 w = 0; w < nwords; w++)
					out[w] &= other[w];
			else
				for (int64 w = 0; w < nwords; w++)
					out[w] |= other[w];
		}
		pfree(other);
	}
	if (node->negate)
		for (int64 w = 0; w < nwords; w++)
			out[w] = ~out[w];
}

/* ---- one source ---- */

typedef struct Run
{
	MktgProgramMaker *maker;
	MktgReading *readings;
	int			n;
	bool		watches;		/* also for the flips of leaves that are not for a pass */
} Run;

/* Earliest row any leaf can count, where all go by one time; PG_INT64_MIN: any. */
static int64
earliest(const Run *run)
{
	int64		lo = PG_INT64_MAX;
	const char *at = NULL;

	if (run->watches)
		return PG_INT64_MIN;
	for (int i = 0; i < run->n; i++)
	{
		const MktgLeaf *leaf = run->readings[i].leaf;

		if (leaf->at_sql == NULL || (at != NULL && strcmp(at, leaf->at_sql) != 0))
			return PG_INT64_MIN;
		at = leaf->at_sql;
		lo = Min(lo, leaf->window.lo);
	}
	return at == NULL ? PG_INT64_MIN : lo;
}

static void
run_sql(Passing *passing, Run *run, const MktgSource *source, int program)
{
	MktgStatement *statement = &run->maker->statement;
	StringInfo	sql = &statement->sql;
	int64		lo = earliest(run);
	int			only = passing->all ? 0 : mktg_statement_param(statement, INT8ARRAYOID, passing->ids);

	if (source->external)
	{
		appendStringInfo(sql, "SELECT mktg._collect($%d, c.mktg_contact%s) FROM (SELECT contact_id AS mktg_contact,"
						 " external_id AS mktg_external FROM mktg.contact WHERE tenant_id = $1",
						 program, run->maker->inputs.data);
		if (only > 0)
			appendStringInfo(sql, " AND contact_id = ANY ($%d)", only);
		appendStringInfo(sql, ") c JOIN %s s ON c.mktg_external = %s WHERE %s", source->relation_sql,
						 source->contact_sql, source->has_tenant ? "s.tenant_id = $1" : "true");
	}
	else
	{
		mktg_source_sql(statement, source, psprintf("mktg._collect($%d, %s::bigint%s)", program, source->contact_sql,
													run->maker->inputs.data));
		if (only > 0)
			appendStringInfo(sql, " AND %s = ANY ($%d)", source->contact_sql, only);
	}
	if (lo != PG_INT64_MIN)
		appendStringInfo(sql, " AND %s >= $%d", run->readings[0].leaf->at_sql,
						 mktg_statement_param(statement, TIMESTAMPTZOID, TimestampTzGetDatum(lo)));
}

static inline bool
average_passes(const MktgReading *reading, int64 sum, uint32 count)
{
	const MktgTest *test = reading->leaf->test;
	int128		left = (int128) sum * reading->scale;

	if (test->kind == MKTG_TEST_EXISTS || count == 0)
		return count > 0;
	for (int i = 0; i < test->n; i++)
	{
		int128		right = (int128) reading->scaled[i] * count;
		MktgOperator op = test->op == MKTG_OP_BETWEEN ? (i == 0 ? MKTG_OP_GE : MKTG_OP_LE) : test->op;
		bool		holds = op == MKTG_OP_GT ? left > right : op == MKTG_OP_GE ? left >= right :
			op == MKTG_OP_LT ? left < right : op == MKTG_OP_LE ? left <= right : left == right;

		if (test->op == MKTG_OP_IN ? holds : !holds)
			return test->op == MKTG_OP_IN;
	}
	return test->op != MKTG_OP_IN;
}

static void
note_flip(TimestampTz *flip, int64 time)
{
	if (*flip > time)
		*flip = time;
}

/* A time an aggregate gives: in the ranges, and when it will cross a bound? */
static inline bool
time_passes(const MktgTest *test, int64 time, TimestampTz at, TimestampTz *flip)
{
	for (int i = 0; i < test->nranges; i++)
	{
		if (test->ranges[i].lo_moves)
			note_flip(flip, mktg_crosses(time, test->ranges[i].lo, at));
		if (test->ranges[i].hi_moves)
			note_flip(flip, mktg_crosses(time, test->ranges[i].hi, at));
	}
	return mktg_in_ranges(test, time);
}

/* A text that no row has, held against the constants here. */
static bool
text_passes(const MktgTest *test, const char *text)
{
	for (int i = 0; i < test->n; i++)
	{
		const char *constant = test->texts[i];
		int			order = varstr_cmp(text, strlen(text), constant, strlen(constant), DEFAULT_COLLATION_OID);
		bool		holds;

		switch (test->op)
		{
			case MKTG_OP_CONTAINS:
				holds = strstr(text, constant) != NULL;
				break;
			case MKTG_OP_STARTS_WITH:
				holds = strncmp(text, constant, strlen(constant)) == 0;
				break;
			case MKTG_OP_GT:
				holds = order > 0;
				break;
			case MKTG_OP_GE:
				holds = order >= 0;
				break;
			case MKTG_OP_LT:
				holds = order < 0;
				break;
			case MKTG_OP_LE:
				holds = order <= 0;
				break;
			case MKTG_OP_BETWEEN:
				holds = i == 0 ? order >= 0 : order <= 0;
				break;
			default:
				holds = strcmp(text, constant) == 0;
		}
		/* both bounds of BETWEEN, one of a list */
		if (test->op == MKTG_OP_BETWEEN ? !holds : holds)
			return test->op != MKTG_OP_BETWEEN;
	}
	return test->op == MKTG_OP_BETWEEN;
}

static bool
stage_passes(const MktgTest *test, uint32 count, const uint64 *peaks, TimestampTz at, TimestampTz *flip)
{
	static const int days[] = {30, 90, 180};
	int64		last;
	const char *stage;

	if (count == 0)
		return false;
	last = MKTG_MAX_OF_PEAK(peaks[0]);
	for (int i = 0; i < lengthof(days); i++)
		if (last + days[i] * USECS_PER_DAY >= at)
			note_flip(flip, last + days[i] * USECS_PER_DAY + 1);
	stage = mktg_lifecycle_stage(count, last, count > 1 ? MKTG_MAX_OF_PEAK(peaks[1]) : 0, at);
	if (stage == NULL || test->kind == MKTG_TEST_EXISTS)
		return stage != NULL;
	return text_passes(test, stage);
}

static bool
passes(const MktgReading *reading, const MktgProgramFact *fact, const MktgProgramFact *other,
	   const MktgCollected *c, const char *record, TimestampTz at, TimestampTz *flip)
{
	const uint64 *peaks = (const uint64 *) record;
	const int64 *sums = (const int64 *) (record + c->sums_at);
	const uint32 *counts = (const uint32 *) (record + c->counts_at);
	const uint64 *bits = (const uint64 *) (record + c->bits_at);
	const MktgTest *test = reading->leaf->test;

	switch (fact->kind)
	{
		case MKTG_FACT_ANY:
			{
				bool		any = (bits[fact->bit / 64] >> (fact->bit % 64) & 1) != 0;

				if (other != NULL)
				{
					bool		any_false = (bits[other->bit / 64] >> (other->bit % 64) & 1) != 0;

					if (test->kind == MKTG_TEST_EXISTS)
						return any || any_false;
					if (reading->leaf->aggregate == MKTG_AGG_BOOL_AND)
						any = any && !any_false;
					return any == test->boolean;
				}
				return any != reading->negate;
			}
		case MKTG_FACT_COUNT:
			return mktg_in_ranges(test, counts[fact->count]);
		case MKTG_FACT_SUM:
			if (reading->leaf->aggregate == MKTG_AGG_AVG)
				return average_passes(reading, sums[fact->sum], counts[fact->count]);
			return test->kind == MKTG_TEST_EXISTS ? counts[fact->count] > 0 : mktg_in_ranges(test, sums[fact->sum]);
		case MKTG_FACT_LAST_TWO:
			return stage_passes(test, counts[fact->count], peaks + fact->peak, at, flip);
		default:
			{
				uint64		peak = peaks[fact->peak];
				int64		value = fact->kind == MKTG_FACT_MIN ? MKTG_MIN_OF_PEAK(peak) : MKTG_MAX_OF_PEAK(peak);

				return peak != 0 && (test->kind == MKTG_TEST_EXISTS || time_passes(test, value, at, flip));
			}
	}
}

/* Most facts are a bit or a count; these need no looking at each contact what they are. */
static bool
read_simple_block(const MktgReading *reading, const MktgProgramFact *fact, const MktgCollected *c,
				  const char *record, int64 size, uint64 *word)
{
	*word = 0;
	if (fact->kind == MKTG_FACT_ANY && reading->other < 0)
	{
		int			at = c->bits_at + fact->bit / 64 * 8;
		int			shift = fact->bit % 64;

		for (int64 i = 0; i < size; i++, record += c->width)
			*word |= (*(const uint64 *) (record + at) >> shift & 1) << i;
		if (reading->negate)
			*word = ~*word;
		return true;
	}
	if (fact->kind == MKTG_FACT_COUNT && reading->leaf->test->nranges == 1)
	{
		int			at = c->counts_at + fact->count * 4;
		int64		lo = reading->leaf->test->ranges[0].lo;
		int64		hi = reading->leaf->test->ranges[0].hi;

		for (int64 i = 0; i < size; i++, record += c->width)
		{
			int64		count = *(const uint32 *) (record + at);

			*word |= (uint64) (count >= lo && count < hi) << i;
		}
		return true;
	}
	return false;
}

/* Reads the answers of contacts "from" on from their records. */
static void
read_answers(Passing *passing, const Run *run, const MktgCollected *c, int64 from, int64 n)
{
	TimestampTz at = passing->first->at;
	TimestampTz *flips = passing->pass->next_flip + from;

	for (int64 i = 0; i < n; i++)
	{
		uint64		peak = *(const uint64 *) (c->records + i * c->width);

		if (peak != 0)
			note_flip(&flips[i], MKTG_MIN_OF_PEAK(peak));
	}
	for (int64 block = 0; block < n; block += BLOCK)
	{
		int64		size = Min(BLOCK, n - block);

		CHECK_FOR_INTERRUPTS();
		for (int r = 0; r < run->n; r++)
		{
			const MktgReading *reading = &run->readings[r];
			const MktgProgramFact *fact = &run->maker->facts[reading->fact];
			const MktgProgramFact *other = reading->other < 0 ? NULL : &run->maker->facts[reading->other];
			const char *record = c->records + block * c->width;
			uint64		word;

			if (!read_simple_block(reading, fact, c, record, size, &word))
				for (int64 i = 0; i < size; i++, record += c->width)
					word |= (uint64) passes(reading, fact, other, c, record, at, &flips[block + i]) << i;
			reading->leaf->bits[(from + block) / BLOCK] = word;
		}
	}
}

/* Nobody has rows: a record of zeros stands for all. */
static void
read_nothing(Passing *passing, const Run *run, int64 from, int64 n)
{
	MktgCollected c = {.layout = run->maker->header};
	int			width = mktg_record_width(&c.layout);
	TimestampTz flip = PG_INT64_MAX;

	c.records = palloc0(width);
	c.sums_at = 8 * c.layout.npeaks;
	c.counts_at = c.sums_at + 8 * c.layout.nsums;
	c.bits_at = c.counts_at + 8 * ((c.layout.ncounts + 1) / 2);
	for (int r = 0; r < run->n; r++)
	{
		const MktgReading *reading = &run->readings[r];
		bool		all = passes(reading, &run->maker->facts[reading->fact],
								 reading->other < 0 ? NULL : &run->maker->facts[reading->other],
								 &c, c.records, passing->first->at, &flip);

		memset(&reading->leaf->bits[from / BLOCK], all ? 0xff : 0, sizeof(uint64) * ((n + BLOCK - 1) / BLOCK));
	}
}

/* Shared memory for the records, where workers are likely to help; NULL: each process has its own. */
static dsm_segment *
share_records(const Passing *passing, const Run *run, int64 n)
{
	Size		size = (Size) n * mktg_record_width(&run->maker->header);

	/* records are some times smaller than the rows they come from */
	if (!passing->all || max_parallel_workers_per_gather == 0 ||
		size < (Size) min_parallel_table_scan_size * BLCKSZ / 8)
		return NULL;
	return mktg_shared_records(max_parallel_workers_per_gather + 1, size);
}

static void
run_program(Passing *passing, Run *run, const MktgSource *source)
{
	MktgUniverse *universe = &passing->pass->universe;
	MktgStatement *statement = &run->maker->statement;
	int64		slice = Max(MAX_RECORDS / mktg_record_width(&run->maker->header) / BLOCK, 1) * BLOCK;
	int			program = mktg_statement_param(statement, BYTEAOID, (Datum) 0);

	mktg_program_end(run->maker);
	run_sql(passing, run, source, program);
	ereport(DEBUG1,
			(errmsg_internal("pass over %s: %d inputs, %d values, %d conditions, %d facts, %d bytes a contact",
							 source->name, run->maker->header.ninputs, run->maker->header.nvalues,
							 run->maker->header.nconds, run->maker->header.nfacts,
							 mktg_record_width(&run->maker->header))));
	for (int64 from = 0; from < universe->n; from += slice)
	{
		int64		n = Min(slice, universe->n - from);
		dsm_segment *shared = share_records(passing, run, n);
		Datum		written = mktg_program_write(run->maker, universe->ids + from, n,
												 shared == NULL ? DSM_HANDLE_INVALID : dsm_segment_handle(shared));
		MktgCollected *collected;

		statement->values[program - 1] = written;
		collected = mktg_collect(statement->sql.data, statement->nparams, statement->types, statement->values);
		if (collected == NULL)
			read_nothing(passing, run, from, n);
		else
		{
			read_answers(passing, run, collected, from, n);
			MemoryContextDelete(collected->context);
		}
		if (shared != NULL)
			dsm_detach(shared);
		pfree(DatumGetPointer(written));
	}
}

static void
begin_run(Passing *passing, Run *run, const MktgSource *source, int nleaves)
{
	run->maker = palloc(sizeof(MktgProgramMaker));
	run->readings = palloc(sizeof(MktgReading) * nleaves);
	run->n = 0;
	run->watches = false;
	mktg_program_begin(run->maker, source, passing->first);
}

static bool
add_leaf(Run *run, MktgLeaf *leaf)
{
	if (!mktg_program_add(run->maker, leaf, &run->readings[run->n]))
		return false;
	run->n++;
	return true;
}

static bool
run_is_empty(const Run *run)
{
	return run->n == 0 && !run->watches;
}

static void
run_source(Passing *passing, const MktgSource *source)
{
	int			nleaves = list_length(passing->leaves);
	List	   *alone = NIL;
	Run			run;
	ListCell   *cell;

	if (passing->pass->next_flip == NULL)
	{
		passing->pass->next_flip = MemoryContextAllocHuge(CurrentMemoryContext,
														  sizeof(TimestampTz) * (passing->pass->universe.n + 1));
		for (int64 i = 0; i < passing->pass->universe.n; i++)
			passing->pass->next_flip[i] = PG_INT64_MAX;
	}
	begin_run(passing, &run, source, nleaves);
	foreach(cell, passing->leaves)
	{
		MktgLeaf   *leaf = lfirst(cell);

		if (leaf->source != source)
			continue;
		leaf->bits = make_bits(passing);
		if (add_leaf(&run, leaf))
			continue;
		if (run.maker->full && !run_is_empty(&run))
		{
			/* there is no room for more; the next program goes on */
			run_program(passing, &run, source);
			begin_run(passing, &run, source, nleaves);
			if (add_leaf(&run, leaf))
				continue;
		}
		/* what one leaf needs is more than a program has room for, or is not for a pass */
		run.maker->full = false;
		alone = lappend(alone, leaf);
		run.watches = true;
		if (!mktg_program_watch(run.maker, leaf))
			ereport(ERROR,
					(errcode(ERRCODE_MKTG_TOO_LARGE),
					 errmsg("rule on field %s is too large", leaf->field->name),
					 errhint("Use fewer conditions on times.")));
	}
	if (!run_is_empty(&run))
		run_program(passing, &run, source);
	foreach(cell, alone)
		run_alone(passing, lfirst(cell));
}

/* ---- what is not for a pass ---- */

/* Sets the bits of contacts in a list; both are ascending. */
static void
set_ids(const MktgUniverse *universe, uint64 *bits, const int64 *ids, int64 n)
{
	int64		k = 0;

	for (int64 i = 0; i < n; i++)
	{
		while (k < universe->n && universe->ids[k] < ids[i])
			k++;
		if (k < universe->n && universe->ids[k] == ids[i])
			bits[k / BLOCK] |= UINT64CONST(1) << (k % BLOCK);
	}
}

static void
run_alone(Passing *passing, MktgLeaf *leaf)
{
	MktgStatement statement;
	IdReceiver	receiver;

	mktg_statement_begin(&statement, passing->first);
	appendStringInfoString(&statement.sql, "SELECT c.contact_id FROM mktg.contact c WHERE c.tenant_id = $1 AND ");
	mktg_leaf_sql(&statement, leaf, 0, false);
	if (!passing->all)
		appendStringInfo(&statement.sql, " AND c.contact_id = ANY ($%d)",
						 mktg_statement_param(&statement, INT8ARRAYOID, passing->ids));
	receive_ids(&statement, &receiver);
	set_ids(&passing->pass->universe, leaf->bits, receiver.ids, receiver.n);
	pfree(receiver.ids);
}

static void
run_static(Passing *passing, MktgNode *node)
{
	MktgUniverse *universe = &passing->pass->universe;
	int64		nmembers;
	int64	   *members = mktg_members_read(node->segment, passing->first->registry->tenant_id, &nmembers);

	node->bits = make_bits(passing);
	set_ids(universe, node->bits, members, nmembers);
}
