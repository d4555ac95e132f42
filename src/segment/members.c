/*-------------------------------------------------------------------------
 *
 * members.c
 *		Members of segments as bitmaps in chunks of 65,536 contacts.
 *
 * Sizes, overlaps and audiences are operations on words; who is in a segment is
 * found in one chunk.  A refresh writes the chunks that changed.
 *
 * IDENTIFICATION
 *		src/segment/members.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "core/bitmap.h"
#include "segment/segment.h"

PG_FUNCTION_INFO_V1(mktg_chunk_members);
PG_FUNCTION_INFO_V1(mktg_in_segment);
PG_FUNCTION_INFO_V1(mktg_audience_size);
PG_FUNCTION_INFO_V1(mktg_segment_overlap);

static const Oid chunk_types[] = {INT8OID, INT8OID, INT8OID, INT4OID, BYTEAOID};
static const Oid emptied_types[] = {INT8OID, INT8OID, INT8OID};
static const Oid history_types[] = {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID};

/* A chunk as stored. */
typedef struct Stored
{
	int64		segment;
	int64		chunk;
	bytea	   *bits;
} Stored;

static void
add_stored(uint64 *words, const Stored *stored)
{
	if (!mktg_chunk_add((const uint8_t *) VARDATA_ANY(stored->bits), VARSIZE_ANY_EXHDR(stored->bits), words))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("chunk " INT64_FORMAT " of segment " INT64_FORMAT " cannot be read", stored->chunk, stored->segment),
				 errhint("mktg.refresh_segment() makes a dynamic segment anew.")));
}

/* The stored chunks of segments, by chunk. */
static Stored *
read_stored(Datum segments, int64 tenant, uint64 *n)
{
	static MktgQuery query = MKTG_QUERY("SELECT segment_id, chunk, bits FROM mktg.segment_bitmap"
										" WHERE tenant_id = $1 AND segment_id = ANY ($2) ORDER BY chunk, segment_id",
										INT8OID, INT8ARRAYOID);
	Stored	   *stored;
	bool		isnull;

	*n = mktg_call(&query, MKTG_INT64(tenant), MKTG_ARG(segments));
	stored = palloc(sizeof(Stored) * (*n + 1));
	for (uint64 i = 0; i < *n; i++)
		stored[i] = (Stored) {
			mktg_int64_at(i, 1), mktg_int64_at(i, 2),
			DatumGetByteaPP(PointerGetDatum(PG_DETOAST_DATUM_COPY(mktg_value_at(i, 3, &isnull))))
		};
	SPI_freetuptable(SPI_tuptable);
	return stored;
}

static Datum
one_segment(int64 segment)
{
	Datum		value = Int64GetDatum(segment);

	return mktg_array(&value, NULL, 1, INT8OID);
}

/* ---- writing ---- */

void
mktg_members_begin(MktgMembersWriter *writer, int64 tenant, TimestampTz at)
{
	writer->tenant = tenant;
	writer->at = at;
	writer->chunks = (MktgColumns) MKTG_COLUMNS(chunk_types);
	writer->emptied = (MktgColumns) MKTG_COLUMNS(emptied_types);
	writer->history = (MktgColumns) MKTG_COLUMNS(history_types);
}

static void
note_history(MktgMembersWriter *writer, int64 segment, int64 chunk, const uint64 *words, const char *change)
{
	MktgArg		what = MKTG_TEXT(change);

	for (int i = 0; i < MKTG_CHUNK_WORDS; i++)
		for (uint64 word = words[i]; word != 0; word &= word - 1)
			mktg_columns_add(&writer->history, (MktgArg[])
							 {
								 MKTG_INT64(writer->tenant), MKTG_INT64(segment),
								 MKTG_INT64((chunk << MKTG_CHUNK_SHIFT) + i * 64 + __builtin_ctzll(word)),
								 MKTG_TIME(writer->at), what
							 });
}

/* Replaces a chunk: "was" by "words". */
static void
replace_chunk(MktgMembersWriter *writer, int64 segment, int64 chunk, const uint64 *was, const uint64 *words,
			  bool history, MktgMembersChange *change)
{
	uint64		entered[MKTG_CHUNK_WORDS];
	uint64		exited[MKTG_CHUNK_WORDS];
	unsigned int members = mktg_words_count(words, MKTG_CHUNK_WORDS);
	unsigned int n_entered;
	unsigned int n_exited;
	bytea	   *bits;
	size_t		length;

	change->size += members;
	for (int i = 0; i < MKTG_CHUNK_WORDS; i++)
	{
		entered[i] = words[i] & ~was[i];
		exited[i] = was[i] & ~words[i];
	}
	n_entered = mktg_words_count(entered, MKTG_CHUNK_WORDS);
	n_exited = mktg_words_count(exited, MKTG_CHUNK_WORDS);
	change->entered += n_entered;
	change->exited += n_exited;
	if (n_entered == 0 && n_exited == 0)
		return;
	if (history)
	{
		note_history(writer, segment, chunk, entered, "entered");
		note_history(writer, segment, chunk, exited, "exited");
	}
	if (members == 0)
	{
		mktg_columns_add(&writer->emptied, (MktgArg[])
						 {
							 MKTG_INT64(writer->tenant), MKTG_INT64(segment), MKTG_INT64(chunk)
						 });
		return;
	}
	bits = palloc(VARHDRSZ + MKTG_CHUNK_MAX);
	length = mktg_chunk_encode(words, (uint8_t *) VARDATA(bits));
	SET_VARSIZE(bits, VARHDRSZ + length);
	mktg_columns_add(&writer->chunks, (MktgArg[])
					 {
						 MKTG_INT64(writer->tenant), MKTG_INT64(segment), MKTG_INT64(chunk),
						 MKTG_INT32((int32) members), MKTG_ARG(PointerGetDatum(bits))
					 });
}

static bool
is_set(const uint64 *bits, int64 i)
{
	return (bits[i / 64] >> (i % 64) & 1) != 0;
}

/*
 * What becomes of one chunk: contacts "from" up to "to" of the universe are in
 * it; those outside of the universe stay what they were, unless there are none.
 */
static void
new_words(const MktgUniverse *universe, const uint64 *members, int64 from, int64 to, bool all,
		  const uint64 *was, uint64 *words)
{
	if (all)
		memset(words, 0, MKTG_CHUNK_BYTES);
	else
		memcpy(words, was, MKTG_CHUNK_BYTES);
	for (int64 k = from; k < to; k++)
	{
		unsigned int bit = mktg_chunk_bit(universe->ids[k]);

		if (all && k % 64 == 0)
		{
			/* nobody of the next 64 */
			while (k < to && members[k / 64] == 0)
				k = (k / 64 + 1) * 64;
			if (k >= to)
				break;
			bit = mktg_chunk_bit(universe->ids[k]);
		}
		if (is_set(members, k))
			words[bit / 64] |= UINT64CONST(1) << (bit % 64);
		else if (!all)
			words[bit / 64] &= ~(UINT64CONST(1) << (bit % 64));
	}
}

MktgMembersChange
mktg_members_apply(MktgMembersWriter *writer, int64 segment, const MktgUniverse *universe,
				   const uint64 *members, bool all, bool history)
{
	MktgMembersChange change = {0};
	uint64		nstored;
	Stored	   *stored = read_stored(one_segment(segment), writer->tenant, &nstored);
	uint64		s = 0;
	int64		k = 0;

	while (s < nstored || k < universe->n)
	{
		uint64		was[MKTG_CHUNK_WORDS] = {0};
		uint64		words[MKTG_CHUNK_WORDS];
		int64		chunk = k < universe->n ? mktg_chunk_of(universe->ids[k]) : PG_INT64_MAX;
		int64		from = k;

		CHECK_FOR_INTERRUPTS();
		if (s < nstored && stored[s].chunk < chunk)
			chunk = stored[s].chunk;
		if (s < nstored && stored[s].chunk == chunk)
			add_stored(was, &stored[s++]);
		while (k < universe->n && mktg_chunk_of(universe->ids[k]) == chunk)
			k++;
		new_words(universe, members, from, k, all, was, words);
		replace_chunk(writer, segment, chunk, was, words, history, &change);
	}
	return change;
}

void
mktg_members_end(MktgMembersWriter *writer)
{
	static MktgQuery write = MKTG_QUERY(
		"INSERT INTO mktg.segment_bitmap (tenant_id, segment_id, chunk, members, bits)"
		" SELECT * FROM unnest($1, $2, $3, $4, $5)"
		" ON CONFLICT (tenant_id, segment_id, chunk) DO UPDATE SET members = excluded.members, bits = excluded.bits",
		INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID, BYTEAARRAYOID);
	static MktgQuery empty = MKTG_QUERY(
		"DELETE FROM mktg.segment_bitmap b USING unnest($1, $2, $3) AS u (tenant_id, segment_id, chunk)"
		" WHERE b.tenant_id = u.tenant_id AND b.segment_id = u.segment_id AND b.chunk = u.chunk",
		INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID);
	static MktgQuery history = MKTG_QUERY(
		"INSERT INTO mktg.segment_change (tenant_id, segment_id, contact_id, at, change)"
		" SELECT * FROM unnest($1, $2, $3, $4, $5)",
		INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID);

	mktg_run_columns(&write, &writer->chunks);
	mktg_run_columns(&empty, &writer->emptied);
	mktg_run_columns(&history, &writer->history);
}

/* ---- reading ---- */

static void
append_ids(int64 **ids, int64 *n, int64 *capacity, int64 chunk, const uint64 *words)
{
	int64		more = mktg_words_count(words, MKTG_CHUNK_WORDS);

	if (*n + more > *capacity)
	{
		*capacity = (*n + more) * 2;
		*ids = *ids == NULL ? MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int64) * *capacity) :
			repalloc_huge(*ids, sizeof(int64) * *capacity);
	}
	for (int i = 0; i < MKTG_CHUNK_WORDS; i++)
		for (uint64 word = words[i]; word != 0; word &= word - 1)
			(*ids)[(*n)++] = (chunk << MKTG_CHUNK_SHIFT) + i * 64 + __builtin_ctzll(word);
}

int64 *
mktg_members_read(int64 segment, int64 tenant, int64 *n)
{
	int64		capacity = 64;
	int64	   *ids = palloc(sizeof(int64) * capacity);
	uint64		nstored;
	Stored	   *stored = read_stored(one_segment(segment), tenant, &nstored);

	*n = 0;
	for (uint64 s = 0; s < nstored; s++)
	{
		uint64		words[MKTG_CHUNK_WORDS] = {0};

		add_stored(words, &stored[s]);
		append_ids(&ids, n, &capacity, stored[s].chunk, words);
	}
	return ids;
}

/*
 * SQL: mktg._chunk_members(chunk bigint, bits bytea) returns setof bigint
 */
Datum
mktg_chunk_members(PG_FUNCTION_ARGS)
{
	typedef struct Members
	{
		uint64		words[MKTG_CHUNK_WORDS];
		int			word;
	} Members;
	FuncCallContext *call;
	Members    *members;

	if (SRF_IS_FIRSTCALL())
	{
		bytea	   *bits = PG_GETARG_BYTEA_PP(1);

		call = SRF_FIRSTCALL_INIT();
		members = call->user_fctx = MemoryContextAllocZero(call->multi_call_memory_ctx, sizeof(Members));
		add_stored(members->words, &(Stored) {0, PG_GETARG_INT64(0), bits});
	}
	call = SRF_PERCALL_SETUP();
	members = call->user_fctx;
	while (members->word < MKTG_CHUNK_WORDS && members->words[members->word] == 0)
		members->word++;
	if (members->word == MKTG_CHUNK_WORDS)
		SRF_RETURN_DONE(call);
	else
	{
		uint64	   *word = &members->words[members->word];
		int64		id = (PG_GETARG_INT64(0) << MKTG_CHUNK_SHIFT) + members->word * 64 + __builtin_ctzll(*word);

		*word &= *word - 1;
		SRF_RETURN_NEXT(call, Int64GetDatum(id));
	}
}

/*
 * SQL: mktg.in_segment(contact bigint, segment bigint, tenant bigint) returns boolean
 *
 * Errors: MK019 segment.
 */
Datum
mktg_in_segment(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("SELECT b.bits FROM mktg.segment_bitmap b"
										" WHERE b.tenant_id = $1 AND b.segment_id = $2 AND b.chunk = $3",
										INT8OID, INT8OID, INT8OID);
	int64		contact = mktg_int64_argument(fcinfo, 0, "contact");
	int64		segment = mktg_int64_argument(fcinfo, 1, "segment");
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");
	bool		result = false;

	mktg_begin();
	mktg_require_segment(segment, tenant);
	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(segment), MKTG_INT64(mktg_chunk_of(contact))) > 0)
	{
		bool		isnull;
		bytea	   *bits = DatumGetByteaPP(mktg_value_at(0, 1, &isnull));

		result = mktg_chunk_has((const uint8_t *) VARDATA_ANY(bits), VARSIZE_ANY_EXHDR(bits), mktg_chunk_bit(contact));
	}
	mktg_end();
	PG_RETURN_BOOL(result);
}

/* ---- audiences ---- */

/* Ids of segments, each once; an unknown one and NULL are refused. */
static int64 *
segment_list(Datum array, const char *what, int64 tenant, int *n)
{
	static MktgQuery query = MKTG_QUERY("SELECT u.id FROM unnest($2::bigint[]) AS u (id)"
										" WHERE NOT EXISTS (SELECT FROM mktg.segment s"
										"  WHERE s.tenant_id = $1 AND s.segment_id = u.id) LIMIT 1",
										INT8OID, INT8ARRAYOID);
	Datum	   *values;
	bool	   *nulls;
	int			given;
	int64	   *ids;

	deconstruct_array(DatumGetArrayTypeP(array), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &values, &nulls, &given);
	ids = palloc(sizeof(int64) * (given + 1));
	*n = 0;
	for (int i = 0; i < given; i++)
	{
		int			k = 0;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("array \"%s\" must not contain NULL", what),
					 errhint("List the ids of segments.")));
		while (k < *n && ids[k] != DatumGetInt64(values[i]))
			k++;
		if (k == *n)
			ids[(*n)++] = DatumGetInt64(values[i]);
	}
	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_ARG(array)) > 0)
		mktg_require_segment(mktg_int64_at(0, 1), tenant);
	return ids;
}

void
mktg_require_segments(Datum array, const char *what, int64 tenant)
{
	int			n;

	(void) segment_list(array, what, tenant, &n);
}

static bool
listed(const int64 *ids, int n, int64 id)
{
	for (int i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

typedef struct Algebra
{
	int64	   *include;
	int			ninclude;
	int64	   *exclude;
	int			nexclude;
	bool		every;			/* in all of those included */
	Stored	   *stored;
	uint64		nstored;
	uint64		next;
} Algebra;

static void
begin_algebra(Algebra *algebra, Datum include, Datum exclude, bool every, int64 tenant)
{
	Datum	   *all;

	algebra->include = segment_list(include, "include", tenant, &algebra->ninclude);
	algebra->exclude = segment_list(exclude, "exclude", tenant, &algebra->nexclude);
	algebra->every = every;
	algebra->next = 0;
	all = palloc(sizeof(Datum) * (algebra->ninclude + algebra->nexclude + 1));
	for (int i = 0; i < algebra->ninclude; i++)
		all[i] = Int64GetDatum(algebra->include[i]);
	for (int i = 0; i < algebra->nexclude; i++)
		all[algebra->ninclude + i] = Int64GetDatum(algebra->exclude[i]);
	algebra->stored = read_stored(mktg_array(all, NULL, algebra->ninclude + algebra->nexclude, INT8OID), tenant,
								  &algebra->nstored);
}

/* The audience of the next chunk; false at the end. */
static bool
next_chunk(Algebra *algebra, int64 *chunk, uint64 *words)
{
	uint64		out[MKTG_CHUNK_WORDS] = {0};
	int			seen = 0;

	if (algebra->next == algebra->nstored)
		return false;
	CHECK_FOR_INTERRUPTS();
	*chunk = algebra->stored[algebra->next].chunk;
	memset(words, 0, MKTG_CHUNK_BYTES);
	for (; algebra->next < algebra->nstored && algebra->stored[algebra->next].chunk == *chunk; algebra->next++)
	{
		const Stored *stored = &algebra->stored[algebra->next];

		if (listed(algebra->include, algebra->ninclude, stored->segment))
		{
			if (algebra->every && seen > 0)
			{
				uint64		other[MKTG_CHUNK_WORDS] = {0};

				add_stored(other, stored);
				for (int i = 0; i < MKTG_CHUNK_WORDS; i++)
					words[i] &= other[i];
			}
			else
				add_stored(words, stored);
			seen++;
		}
		if (listed(algebra->exclude, algebra->nexclude, stored->segment))
			add_stored(out, stored);
	}
	if (algebra->every && seen < algebra->ninclude)
		memset(words, 0, MKTG_CHUNK_BYTES);
	for (int i = 0; i < MKTG_CHUNK_WORDS; i++)
		words[i] &= ~out[i];
	return true;
}

static Datum
array_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be NULL", what),
				 errhint("Give an array of segment ids, '{}' for none.")));
	return PG_GETARG_DATUM(n);
}

/*
 * SQL: mktg.audience_size(include bigint[], exclude bigint[], mode text, tenant bigint) returns bigint
 *
 * Errors: MK019 segment, MK024 mode.
 */
Datum
mktg_audience_size(PG_FUNCTION_ARGS)
{
	Datum		include = array_argument(fcinfo, 0, "include");
	Datum		exclude = array_argument(fcinfo, 1, "exclude");
	char	   *mode = mktg_text_argument(fcinfo, 2, "mode");
	int64		tenant = mktg_int64_argument(fcinfo, 3, "tenant");
	bool		every = strcmp(mode, "all") == 0;
	Algebra		algebra;
	uint64		words[MKTG_CHUNK_WORDS];
	int64		chunk;
	int64		size = 0;

	if (!every && strcmp(mode, "any") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("mode \"%s\" does not exist", mode),
				 errhint("Modes are any (in one of the segments) and all (in every one).")));
	mktg_begin();
	mktg_require_tenant(tenant);
	begin_algebra(&algebra, include, exclude, every, tenant);
	while (next_chunk(&algebra, &chunk, words))
		size += mktg_words_count(words, MKTG_CHUNK_WORDS);
	mktg_end();
	PG_RETURN_INT64(size);
}

int64 *
mktg_audience_ids(Datum include, Datum exclude, int64 tenant, int64 *n)
{
	Algebra		algebra;
	uint64		words[MKTG_CHUNK_WORDS];
	int64		chunk;
	int64		capacity = 64;
	int64	   *ids = palloc(sizeof(int64) * capacity);

	*n = 0;
	begin_algebra(&algebra, include, exclude, false, tenant);
	while (next_chunk(&algebra, &chunk, words))
		append_ids(&ids, n, &capacity, chunk, words);
	return ids;
}

#define MAX_OVERLAP		200

/*
 * SQL: mktg.segment_overlap(segments bigint[], tenant bigint) returns setof (a bigint, b bigint, both bigint)
 *
 * Errors: MK019 segment, MK025 more than 200.
 */
Datum
mktg_segment_overlap(PG_FUNCTION_ARGS)
{
	Datum		segments = array_argument(fcinfo, 0, "segments");
	int64		tenant = mktg_int64_argument(fcinfo, 1, "tenant");
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int64	   *ids;
	int			n;
	uint64		nstored;
	Stored	   *stored;
	uint64	   *words;
	bool	   *there;
	int64	   *both;

	InitMaterializedSRF(fcinfo, 0);
	mktg_begin();
	mktg_require_tenant(tenant);
	ids = segment_list(segments, "segments", tenant, &n);
	if (n > MAX_OVERLAP)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_TOO_LARGE),
				 errmsg("too many segments"),
				 errdetail("The array has %d, and %d are the most.", n, MAX_OVERLAP),
				 errhint("Ask for fewer at once.")));
	stored = read_stored(segments, tenant, &nstored);
	words = palloc(MKTG_CHUNK_BYTES * (n + 1));
	there = palloc(n + 1);
	both = palloc0(sizeof(int64) * (n * n + 1));
	for (uint64 s = 0; s < nstored;)
	{
		int64		chunk = stored[s].chunk;

		CHECK_FOR_INTERRUPTS();
		memset(there, 0, n);
		for (; s < nstored && stored[s].chunk == chunk; s++)
		{
			int			k = 0;

			while (ids[k] != stored[s].segment)
				k++;
			memset(words + k * MKTG_CHUNK_WORDS, 0, MKTG_CHUNK_BYTES);
			add_stored(words + k * MKTG_CHUNK_WORDS, &stored[s]);
			there[k] = true;
		}
		for (int a = 0; a < n; a++)
			for (int b = a + 1; there[a] && b < n; b++)
				for (int i = 0; there[b] && i < MKTG_CHUNK_WORDS; i++)
					both[a * n + b] += __builtin_popcountll(words[a * MKTG_CHUNK_WORDS + i] & words[b * MKTG_CHUNK_WORDS + i]);
	}
	for (int a = 0; a < n; a++)
		for (int b = a + 1; b < n; b++)
		{
			Datum		values[3] = {Int64GetDatum(ids[a]), Int64GetDatum(ids[b]), Int64GetDatum(both[a * n + b])};
			bool		nulls[3] = {0};

			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	mktg_end();
	return (Datum) 0;
}
