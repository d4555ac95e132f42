/*-------------------------------------------------------------------------
 *
 * purchases.c
 *		An aggregate that adds up purchases by contact.
 *
 * GROUP BY would count purchases of one day twice or sort all of them, and does
 * so with a hash entry and a numeric sum a contact.  Here each process of a
 * parallel scan throws what it reads into one of 256 heaps by contact; the
 * leader joins the heaps, and sorts each where it fits the processor's cache.
 * Contacts themselves go through the same heaps, as a sign that they exist.
 *
 * IDENTIFICATION
 *		src/rfm/purchases.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "parser/scansup.h"
#include "pgtime.h"
#include "port/pg_bitutils.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "base/zone.h"
#include "rfm/rfm.h"

#define HEAPS			256
#define FIRST_CHUNK		512		/* bytes; each further one of a heap is twice as large */
#define LARGEST_CHUNK	65536

/*
 * A row takes the bytes that its numbers need, some 8: one that tells how many,
 * the contact, the amount, and the days since the chunk's row before.
 */
#define LARGEST_ROW		(1 + 8 + 8 + 4)
#define SLACK			8		/* numbers are written and read by 8 bytes */

typedef struct Chunk
{
	struct Chunk *next;
	char	   *bytes;
	uint32		n;				/* rows */
	uint32		used;
	uint32		capacity;
	int32		day;			/* of the last row */
} Chunk;

typedef struct Purchases
{
	MemoryContext context;
	const bytea *sent;			/* what another process has gathered, as it came */
	Chunk	   *heaps[HEAPS];	/* newest chunk first */
	MktgDays	days;			/* its zone is NULL until a row has brought it */
} Purchases;

PG_FUNCTION_INFO_V1(mktg_rfm_purchases_add);
PG_FUNCTION_INFO_V1(mktg_rfm_purchases_combine);
PG_FUNCTION_INFO_V1(mktg_rfm_purchases_send);
PG_FUNCTION_INFO_V1(mktg_rfm_purchases_receive);
PG_FUNCTION_INFO_V1(mktg_rfm_purchases_end);

static MemoryContext
aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this function serves an aggregate and cannot be called by itself"),
				 errhint("Call mktg.score_rfm().")));
	return context;
}

static Purchases *
make_purchases(MemoryContext context)
{
	Purchases  *purchases = MemoryContextAllocZero(context, sizeof(Purchases));

	purchases->context = context;
	return purchases;
}

/* ---- rows ---- */

#ifdef WORDS_BIGENDIAN
#define LITTLE(number)	pg_bswap64(number)
#else
#define LITTLE(number)	(number)
#endif

/* small numbers of either sign as small ones without */
static inline uint64
zigzag(int64 value)
{
	return ((uint64) value << 1) ^ (uint64) (value >> 63);
}

static inline int64
unzigzag(uint64 value)
{
	return (int64) (value >> 1) ^ -(int64) (value & 1);
}

/* bytes that a number needs, at least one */
static inline int
width(uint64 value)
{
	return pg_leftmost_one_pos64(value | 1) / 8 + 1;
}

static inline char *
write_number(char *to, uint64 value, int bytes)
{
	value = LITTLE(value);
	memcpy(to, &value, sizeof(value));
	return to + bytes;
}

static inline const char *
read_number(const char *from, uint64 *value, int bytes)
{
	memcpy(value, from, sizeof(*value));
	*value = LITTLE(*value) & (~UINT64CONST(0) >> (64 - 8 * bytes));
	return from + bytes;
}

/* by the two bits of a row's first byte; 0: no day, but the sign of a contact */
static const int day_widths[] = {0, 1, 2, 4};

static char *
write_row(char *to, int64 contact_id, int64 amount, int32 day, int32 day_before)
{
	uint64		contact = zigzag(contact_id);
	uint64		money = zigzag(amount);
	uint64		days = zigzag((int64) day - day_before);
	int			contact_width = width(contact);
	int			money_width = width(money);
	int			days_kind = day == MKTG_RFM_CONTACT ? 0 : days < 256 ? 1 : days < 65536 ? 2 : 3;

	*to++ = (char) ((contact_width - 1) | (money_width - 1) << 3 | days_kind << 6);
	to = write_number(to, contact, contact_width);
	to = write_number(to, money, money_width);
	return days_kind == 0 ? to : write_number(to, days, day_widths[days_kind]);
}

static const char *
read_row(const char *from, MktgRfmPurchase *row, int32 *day_before)
{
	unsigned char widths = (unsigned char) *from++;
	uint64		contact;
	uint64		money;
	uint64		days;

	from = read_number(from, &contact, (widths & 7) + 1);
	from = read_number(from, &money, (widths >> 3 & 7) + 1);
	row->contact_id = unzigzag(contact);
	row->amount = unzigzag(money);
	row->day = MKTG_RFM_CONTACT;
	if (widths >> 6 == 0)
		return from;
	from = read_number(from, &days, day_widths[widths >> 6]);
	*day_before += (int32) unzigzag(days);
	row->day = *day_before;
	return from;
}

/* Room for one more row. */
static Chunk *
add_chunk(Purchases *purchases, int heap)
{
	Chunk	   *last = purchases->heaps[heap];
	uint32		capacity = last == NULL ? FIRST_CHUNK : Min(last->capacity * 2, LARGEST_CHUNK);
	Chunk	   *chunk = MemoryContextAlloc(purchases->context, sizeof(Chunk) + capacity);

	*chunk = (Chunk) {.next = last, .bytes = (char *) (chunk + 1), .capacity = capacity};
	purchases->heaps[heap] = chunk;
	return chunk;
}

static inline void
add_row(Purchases *purchases, int64 contact_id, int64 amount, int32 day)
{
	/* any ids, also multiples of a power of two, spread */
	int			heap = ((uint64) contact_id * UINT64CONST(0x9E3779B97F4A7C15)) >> 56;
	Chunk	   *chunk = purchases->heaps[heap];
	char	   *end;

	if (unlikely(chunk == NULL || chunk->used + LARGEST_ROW + SLACK > chunk->capacity))
		chunk = add_chunk(purchases, heap);
	end = write_row(chunk->bytes + chunk->used, contact_id, amount, day, chunk->day);
	chunk->used = end - chunk->bytes;
	chunk->n++;
	if (day != MKTG_RFM_CONTACT)
		chunk->day = day;
}

/*
 * SQL: mktg._rfm_purchases_add(internal, contact bigint, amount bigint, placed_at timestamptz, time_zone text)
 *
 * A row without placed_at says that the contact exists.
 */
Datum
mktg_rfm_purchases_add(PG_FUNCTION_ARGS)
{
	Purchases  *purchases;
	TimestampTz at;

	if (PG_ARGISNULL(0))
		purchases = make_purchases(aggregate_context(fcinfo));
	else
		purchases = (Purchases *) PG_GETARG_POINTER(0);
	if (PG_ARGISNULL(1))
		PG_RETURN_POINTER(purchases);
	if (PG_ARGISNULL(3))
	{
		add_row(purchases, PG_GETARG_INT64(1), 0, MKTG_RFM_CONTACT);
		PG_RETURN_POINTER(purchases);
	}
	at = PG_GETARG_TIMESTAMPTZ(3);
	if (PG_ARGISNULL(2) || PG_ARGISNULL(4) || TIMESTAMP_NOT_FINITE(at))
		PG_RETURN_POINTER(purchases);
	if (unlikely(purchases->days.zone == NULL))
		mktg_days_begin(&purchases->days, mktg_find_zone(text_to_cstring(PG_GETARG_TEXT_PP(4))));
	add_row(purchases, PG_GETARG_INT64(1), PG_GETARG_INT64(2), mktg_local_day(&purchases->days, at));
	PG_RETURN_POINTER(purchases);
}

/* ---- between processes: chunks one after the other, each behind what is known of it ---- */

typedef struct SentChunk
{
	uint32		heap;
	uint32		n;
	uint32		used;
} SentChunk;

Datum
mktg_rfm_purchases_send(PG_FUNCTION_ARGS)
{
	Purchases  *purchases;
	Size		size = VARHDRSZ + SLACK;
	bytea	   *sent;
	char	   *end;

	(void) aggregate_context(fcinfo);
	purchases = (Purchases *) PG_GETARG_POINTER(0);
	for (int i = 0; i < HEAPS; i++)
		for (Chunk *chunk = purchases->heaps[i]; chunk != NULL; chunk = chunk->next)
			size += sizeof(SentChunk) + chunk->used;
	if (!AllocSizeIsValid(size))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_TOO_LARGE),
				 errmsg("too many purchases to be scored by parallel processes"),
				 errdetail("One of them has gathered %zu bytes.", size),
				 errhint("SET max_parallel_workers_per_gather = 0 for the call.")));
	sent = palloc(size);
	SET_VARSIZE(sent, size);
	end = VARDATA(sent);
	for (int i = 0; i < HEAPS; i++)
		for (Chunk *chunk = purchases->heaps[i]; chunk != NULL; chunk = chunk->next)
		{
			SentChunk	header = {i, chunk->n, chunk->used};

			memcpy(end, &header, sizeof(header));
			memcpy(end + sizeof(header), chunk->bytes, chunk->used);
			end += sizeof(header) + chunk->used;
		}
	memset(end, 0, SLACK);
	PG_RETURN_BYTEA_P(sent);
}

/* Keeps the bytes where they are: combine() is next, and copies them. */
Datum
mktg_rfm_purchases_receive(PG_FUNCTION_ARGS)
{
	Purchases  *purchases;

	(void) aggregate_context(fcinfo);
	purchases = palloc0(sizeof(Purchases));
	purchases->sent = PG_GETARG_BYTEA_PP(0);
	PG_RETURN_POINTER(purchases);
}

Datum
mktg_rfm_purchases_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	Purchases  *sum = PG_ARGISNULL(0) ? make_purchases(context) : (Purchases *) PG_GETARG_POINTER(0);
	Purchases  *more = PG_ARGISNULL(1) ? NULL : (Purchases *) PG_GETARG_POINTER(1);
	char	   *bytes;
	char	   *end;

	if (more == NULL)
		PG_RETURN_POINTER(sum);
	if (more->sent == NULL || VARSIZE_ANY_EXHDR(more->sent) < SLACK)
		elog(ERROR, "state of purchases was not sent");
	bytes = MemoryContextAlloc(sum->context, VARSIZE_ANY_EXHDR(more->sent));
	memcpy(bytes, VARDATA_ANY(more->sent), VARSIZE_ANY_EXHDR(more->sent));
	end = bytes + VARSIZE_ANY_EXHDR(more->sent) - SLACK;
	while (bytes < end)
	{
		SentChunk	header;
		Chunk	   *chunk;

		if (end - bytes < sizeof(header))
			elog(ERROR, "invalid state of purchases");
		memcpy(&header, bytes, sizeof(header));
		bytes += sizeof(header);
		if (header.heap >= HEAPS || header.used > end - bytes)
			elog(ERROR, "invalid state of purchases");
		chunk = MemoryContextAlloc(sum->context, sizeof(Chunk));
		*chunk = (Chunk) {
			.next = sum->heaps[header.heap], .bytes = bytes,
			.n = header.n, .used = header.used, .capacity = header.used
		};
		sum->heaps[header.heap] = chunk;
		bytes += header.used;
	}
	PG_RETURN_POINTER(sum);
}

/* ---- the end ---- */

static uint64
rows_of(const Purchases *purchases, int heap)
{
	uint64		n = 0;

	for (const Chunk *chunk = purchases->heaps[heap]; chunk != NULL; chunk = chunk->next)
		n += chunk->n;
	return n;
}

/* The contacts of one heap; gives their number. */
static size_t
group_heap(Purchases *purchases, int heap, MktgRfmPurchase *rows, void *scratch, MktgRfm *out)
{
	size_t		n = 0;
	size_t		contacts;

	for (const Chunk *chunk = purchases->heaps[heap]; chunk != NULL; chunk = chunk->next)
	{
		const char *from = chunk->bytes;
		int32		day = 0;

		for (uint32 i = 0; i < chunk->n && from < chunk->bytes + chunk->used; i++)
			from = read_row(from, &rows[n++], &day);
	}
	contacts = mktg_rfm_group(rows, n, scratch, out);
	if (contacts == SIZE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("purchases of contact " INT64_FORMAT " add up to more than a bigint holds",
						out[0].contact_id),
				 errhint("Amounts are minor units: correct those of this contact in mktg.purchase.")));
	return contacts;
}

/*
 * SQL: aggregate mktg._rfm_purchases, its end.  Contacts as an array of MktgRfm,
 * behind the bytes that align it.  Reads the state and leaves it as it is.
 */
Datum
mktg_rfm_purchases_end(PG_FUNCTION_ARGS)
{
	Purchases  *purchases;
	uint64		largest = 0;
	size_t		contacts = 0;
	size_t		capacity = 1024;
	MktgRfmPurchase *rows;
	MktgRfm    *heap_contacts;
	void	   *scratch;
	char	   *result;

	(void) aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	purchases = (Purchases *) PG_GETARG_POINTER(0);
	for (int i = 0; i < HEAPS; i++)
		largest = Max(largest, rows_of(purchases, i));
	rows = palloc_extended((largest + 1) * sizeof(MktgRfmPurchase), MCXT_ALLOC_HUGE);
	heap_contacts = palloc_extended((largest + 1) * sizeof(MktgRfm), MCXT_ALLOC_HUGE);
	scratch = palloc_extended(mktg_rfm_group_scratch(largest), MCXT_ALLOC_HUGE);
	result = palloc(MAXALIGN(VARHDRSZ) + capacity * sizeof(MktgRfm));
	for (int i = 0; i < HEAPS; i++)
	{
		size_t		n = group_heap(purchases, i, rows, scratch, heap_contacts);

		if (contacts + n > capacity)
		{
			/* heaps are alike: the first tells of all */
			capacity = Max((contacts + n) * 2, n * (HEAPS + HEAPS / 8));
			capacity = Min(capacity, (MaxAllocSize - MAXALIGN(VARHDRSZ)) / sizeof(MktgRfm));
			if (contacts + n > capacity)
				ereport(ERROR,
						(errcode(ERRCODE_MKTG_TOO_LARGE),
						 errmsg("too many contacts to be scored at once"),
						 errdetail("There are more than %zu.", capacity),
						 errhint("Divide them into tenants.")));
			result = repalloc(result, MAXALIGN(VARHDRSZ) + capacity * sizeof(MktgRfm));
		}
		memcpy(result + MAXALIGN(VARHDRSZ) + contacts * sizeof(MktgRfm), heap_contacts, n * sizeof(MktgRfm));
		contacts += n;
		CHECK_FOR_INTERRUPTS();
	}
	memset(result, 0, MAXALIGN(VARHDRSZ));
	SET_VARSIZE(result, MAXALIGN(VARHDRSZ) + contacts * sizeof(MktgRfm));
	pfree(rows);
	pfree(heap_contacts);
	pfree(scratch);
	PG_RETURN_BYTEA_P((bytea *) result);
}

/* ---- the statement ---- */

size_t
mktg_rfm_collect(int64 tenant, TimestampTz from, TimestampTz at, const char *time_zone,
				 const char *currency, MktgRfm **contacts)
{
	static MktgQuery query = MKTG_BULK_QUERY(
		"SELECT mktg._rfm_purchases(contact_id, amount, placed_at, $4) FROM ("
		"SELECT contact_id, amount, placed_at FROM mktg.purchase"
		" WHERE tenant_id = $1 AND placed_at <= $2 AND placed_at > $3 AND (currency IS NULL OR currency = $5)"
		" UNION ALL"
		" SELECT contact_id, NULL::bigint, NULL::timestamptz FROM mktg.contact WHERE tenant_id = $1) r",
		INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID);
	bool		isnull;
	bytea	   *result;
	MktgRfm    *found;
	size_t		n;
	void	   *scratch;

	mktg_call(&query, MKTG_INT64(tenant), MKTG_TIME(at), MKTG_TIME(from), MKTG_TEXT(time_zone), MKTG_TEXT(currency));
	result = (bytea *) DatumGetPointer(mktg_value_at(0, 1, &isnull));
	if (isnull)
		return 0;
	/* as it came from memory it is neither compressed nor short, unless it is empty */
	result = PG_DETOAST_DATUM(PointerGetDatum(result));
	n = (VARSIZE(result) - MAXALIGN(VARHDRSZ)) / sizeof(MktgRfm);
	found = (MktgRfm *) ((char *) result + MAXALIGN(VARHDRSZ));
	*contacts = palloc_extended((n + 1) * sizeof(MktgRfm), MCXT_ALLOC_HUGE);
	scratch = palloc_extended(mktg_rfm_score_scratch(n), MCXT_ALLOC_HUGE);
	mktg_rfm_order(found, n, scratch, *contacts);
	pfree(scratch);
	SPI_freetuptable(SPI_tuptable);
	return n;
}
