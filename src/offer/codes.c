/*-------------------------------------------------------------------------
 *
 * codes.c
 *		Codes that can be used once, by the million.
 *
 * Bodies come from the server's strong random numbers.  They are sorted before they
 * are written, so that the indexes are filled from left to right and not all over.
 *
 * IDENTIFICATION
 *		src/offer/codes.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "lib/qunique.h"
#include "utils/array.h"
#include "utils/datetime.h"

#include "base/base.h"
#include "core/core.h"
#include "offer/offer.h"

#define MAX_CODES	10000000
#define MAX_AFFIX	24

/* codes a statement writes */
#define BATCH		1000000

typedef struct Series
{
	int64		tenant_id;
	int64		offer_id;
	char		prefix[MKTG_CODE_MAX + 1];
	char		suffix[MKTG_CODE_MAX + 1];
	int			length;
	bool		checksum;
	bool		ambiguous;
} Series;

/* What patterns in prefix and suffix may name, and what that stands for; NULL: nothing. */
static const char *const word_names[] = {"CODE", "CAMPAIGN", "SEGMENT", "DATE", "YEAR", "MONTH"};

#define NWORDS	lengthof(word_names)

typedef struct Words
{
	char	   *values[NWORDS];
	char		unknown[41];	/* a name that stands for nothing; empty: there was none */
} Words;

PG_FUNCTION_INFO_V1(mktg_generate_codes);

/* ---- prefix and suffix ---- */

/* Of a name such as "Loyal Customers" what a code can have. */
static char *
letters_of(char *name)
{
	char	   *to = name;

	if (name == NULL)
		return NULL;
	for (const char *from = name; *from != '\0'; from++)
		if ((*from >= '0' && *from <= '9') || (*from >= 'A' && *from <= 'Z') || (*from >= 'a' && *from <= 'z'))
			*to++ = *from;
	*to = '\0';
	return name;
}

static void
read_words(const Series *series, Words *words)
{
	static MktgQuery query = MKTG_QUERY("SELECT o.code, coalesce(c.code, c.name),"
										" coalesce((SELECT s.name FROM mktg.segment s WHERE s.tenant_id = o.tenant_id"
										"   AND s.segment_id::text = o.scope -> 'segments' ->> 0), o.scope -> 'segments' ->> 0),"
										" to_char($3 AT TIME ZONE t.time_zone, 'YYYYMMDD'), to_char($3 AT TIME ZONE t.time_zone, 'YYYY'),"
										" to_char($3 AT TIME ZONE t.time_zone, 'MM')"
										" FROM mktg.offer o JOIN mktg.tenant t ON t.tenant_id = o.tenant_id"
										" LEFT JOIN mktg.campaign c ON c.tenant_id = o.tenant_id AND c.campaign_id = o.campaign_id"
										" WHERE o.tenant_id = $1 AND o.offer_id = $2", INT8OID, INT8OID, TIMESTAMPTZOID);

	mktg_call(&query, MKTG_INT64(series->tenant_id), MKTG_INT64(series->offer_id), MKTG_TIME(mktg_now()));
	for (int i = 0; i < NWORDS; i++)
		words->values[i] = letters_of(mktg_text_at(0, i + 1));
	words->unknown[0] = '\0';
}

/* Raises no error: the pattern is not PostgreSQL's memory. */
static bool
find_word(void *context, const char *name, size_t name_length, const char **value, size_t *length)
{
	Words	   *words = context;
	int			word = mktg_json_word(word_names, NWORDS, name, name_length);

	if (word < 0 || words->values[word] == NULL)
	{
		snprintf(words->unknown, sizeof(words->unknown), "%.*s", (int) Min(name_length, 40), name);
		return false;
	}
	*value = words->values[word];
	*length = strlen(*value);
	return true;
}

static void
refuse_affix(const char *what, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_VALUE),
			 errmsg("invalid %s of codes", what),
			 errdetail("%s.", detail),
			 errhint("Up to %d letters, digits and signs of ASCII, and {{CODE}}, {{CAMPAIGN}}, {{SEGMENT}}, {{DATE}}, {{YEAR}} or {{MONTH}}.",
					 MAX_AFFIX)));
}

static void
read_affix(FunctionCallInfo fcinfo, int n, const char *what, Words *words, char *out)
{
	char	   *text = mktg_text_argument(fcinfo, n, what);
	MktgTemplateError error;
	MktgTemplate *pattern = mktg_template_parse(text, strlen(text), &error);
	MktgBuffer	buffer = {.limit = 256};
	char		rendered[257] = "";
	bool		fits;

	out[0] = '\0';
	if (pattern == NULL)
		refuse_affix(what, error.message);
	fits = mktg_template_render(pattern, MKTG_ESCAPE_NONE, find_word, words, &buffer);
	if (fits && buffer.data != NULL)
		strlcpy(rendered, buffer.data, sizeof(rendered));
	mktg_template_free(pattern);
	mktg_buffer_free(&buffer);
	if (words->unknown[0] != '\0')
		refuse_affix(what, psprintf("{{%s}} stands for nothing here", words->unknown));
	if (!fits || (rendered[0] != '\0' && !mktg_code_normalize(rendered, strlen(rendered), out)) || strlen(out) > MAX_AFFIX)
		refuse_affix(what, "It is too long, or has letters that codes do not");
}

/* ---- bodies ---- */

static int
by_text(const void *left, const void *right, void *length)
{
	return memcmp(left, right, *(size_t *) length);
}

static void
refuse_random(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("could not generate random values"),
			 errhint("Repeat the call.")));
}

/* So many different bodies, sorted, without an end each. */
static char *
make_bodies(const Series *series, int64 n)
{
	size_t		length = series->length;
	const char *alphabet = series->ambiguous ? mktg_code_ambiguous : mktg_code_plain;
	char	   *bodies = MemoryContextAllocHuge(CurrentMemoryContext, n * length + 1);
	int64		made = 0;

	while (made < n)
	{
		unsigned char random[MKTG_CODE_MAX_BODY * 64];
		int64		some = Min(n - made, (int64) 64);

		CHECK_FOR_INTERRUPTS();
		if (!pg_strong_random(random, some * length))
			refuse_random();
		for (int64 i = 0; i < some; i++, made++)
			mktg_code_body(alphabet, random + i * length, length, series->checksum, bodies + made * length);
		if (made == n)
		{
			qsort_arg(bodies, n, length, by_text, &length);
			made = qunique_arg(bodies, n, length, by_text, &length);
		}
	}
	return bodies;
}

/* The codes as an array of texts. */
static MktgArg
as_array(const Series *series, const char *bodies, int64 n)
{
	size_t		before = strlen(series->prefix);
	size_t		after = strlen(series->suffix);
	Size		size = VARHDRSZ + before + series->length + after;
	Size		step = MAXALIGN(size);
	char	   *texts = MemoryContextAllocHuge(CurrentMemoryContext, n * step);
	Datum	   *values = palloc(n * sizeof(Datum));
	Datum		result;

	for (int64 i = 0; i < n; i++)
	{
		char	   *text = texts + i * step;

		SET_VARSIZE(text, size);
		memcpy(VARDATA(text), series->prefix, before);
		memcpy(VARDATA(text) + before, bodies + i * series->length, series->length);
		memcpy(VARDATA(text) + before + series->length, series->suffix, after);
		values[i] = PointerGetDatum(text);
	}
	result = mktg_array(values, NULL, n, TEXTOID);
	pfree(texts);
	pfree(values);
	return MKTG_ARG(result);
}

#define INSERT_CODES(contact, from) \
	"INSERT INTO mktg.promo_code (tenant_id, code, offer_id, contact_id)" \
	" SELECT $1, c.code, $2, " contact " FROM " from \
	" WHERE NOT EXISTS (SELECT FROM mktg.offer o WHERE o.tenant_id = $1 AND o.code = c.code)" \
	" ON CONFLICT DO NOTHING"

static int
by_number(const void *left, const void *right)
{
	int64		a = DatumGetInt64(*(const Datum *) left);
	int64		b = DatumGetInt64(*(const Datum *) right);

	return a < b ? -1 : a > b;
}

/*
 * Writes codes that are not there yet, each with its contact.  Contacts whose code
 * was there already move to the end of the n; gives how many have one.
 */
static int64
write_assigned(const Series *series, const char *bodies, int64 n, Datum *contacts)
{
	static MktgQuery query = MKTG_QUERY(INSERT_CODES("c.contact", "unnest($3, $4) AS c (code, contact)") " RETURNING contact_id",
										INT8OID, INT8OID, TEXTARRAYOID, INT8ARRAYOID);
	int64		written = mktg_call(&query, MKTG_INT64(series->tenant_id), MKTG_INT64(series->offer_id),
									as_array(series, bodies, n), MKTG_ARG(mktg_array(contacts, NULL, n, INT8OID)));
	Datum	   *have;
	int64		kept = 0;

	if (written == n)
		return n;
	have = palloc((written + 1) * sizeof(Datum));
	for (int64 i = 0; i < written; i++)
		have[i] = Int64GetDatum(mktg_int64_at(i, 1));
	qsort(have, written, sizeof(Datum), by_number);
	qsort(contacts, n, sizeof(Datum), by_number);
	for (int64 i = 0; i < n; i++)
		if (kept < written && DatumGetInt64(contacts[i]) == DatumGetInt64(have[kept]))
		{
			Datum		swap = contacts[kept];

			contacts[kept++] = contacts[i];
			contacts[i] = swap;
		}
	return written;
}

static int64
write_codes(const Series *series, const char *bodies, int64 n)
{
	static MktgQuery query = MKTG_QUERY(INSERT_CODES("NULL", "unnest($3) AS c (code)"), INT8OID, INT8OID, TEXTARRAYOID);

	return mktg_call(&query, MKTG_INT64(series->tenant_id), MKTG_INT64(series->offer_id), as_array(series, bodies, n));
}

/* So that the order of the contacts says nothing of their codes, which are written in theirs. */
static void
shuffle(Datum *contacts, int64 n)
{
	pg_prng_state state;

	if (n < 2)
		return;
	if (!pg_prng_strong_seed(&state))
		refuse_random();
	for (int64 i = n - 1; i > 0; i--)
	{
		int64		other = pg_prng_uint64_range(&state, 0, i);
		Datum		swap = contacts[i];

		contacts[i] = contacts[other];
		contacts[other] = swap;
	}
}

/* ---- the series ---- */

/* Counts the codes to the series, and keeps others from doing so until the end. */
static void
count_series(const Series *series, int64 count)
{
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.code_series AS s (tenant_id, prefix, suffix, length, checksum, ambiguous, made)"
										" VALUES ($1, $2, $3, $4, $5, $6, $7)"
										" ON CONFLICT (tenant_id, prefix, suffix, length, checksum, ambiguous)"
										" DO UPDATE SET made = s.made + excluded.made RETURNING made",
										INT8OID, TEXTOID, TEXTOID, INT4OID, BOOLOID, BOOLOID, INT8OID);
	int			symbols = series->length - series->checksum;
	int64		made;

	mktg_call(&query, MKTG_INT64(series->tenant_id), MKTG_TEXT(series->prefix), MKTG_TEXT(series->suffix),
			  MKTG_INT32(series->length), MKTG_ARG(BoolGetDatum(series->checksum)), MKTG_ARG(BoolGetDatum(series->ambiguous)),
			  MKTG_INT64(count));
	made = mktg_int64_at(0, 1);
	if (symbols <= 12 && made > INT64CONST(1) << (5 * symbols - 1))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_TOO_LARGE),
				 errmsg("codes of this form would be more than half of all there can be"),
				 errdetail("There are " INT64_FORMAT " such codes.", INT64CONST(1) << (5 * symbols)),
				 errhint("Choose a greater length or another prefix.")));
}

/* The offer counts its codes, and is not automatic any more. */
static void
count_made(const Series *series, int64 count)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.offer SET codes_made = codes_made + $3 WHERE tenant_id = $1 AND offer_id = $2",
										INT8OID, INT8OID, INT8OID);

	if (mktg_call(&query, MKTG_INT64(series->tenant_id), MKTG_INT64(series->offer_id), MKTG_INT64(count)) == 0)
		mktg_refuse_unknown_promo(series->tenant_id, series->offer_id);
}

static int64
read_contacts(FunctionCallInfo fcinfo, int n, int64 count, int64 tenant, Datum **contacts)
{
	static MktgQuery query = MKTG_QUERY("SELECT i.id FROM unnest($2) AS i (id) WHERE NOT EXISTS"
										" (SELECT FROM mktg.contact c WHERE c.tenant_id = $1 AND c.contact_id = i.id) LIMIT 1",
										INT8OID, INT8ARRAYOID);
	bool	   *nulls;
	int			ncontacts;

	*contacts = NULL;
	if (PG_ARGISNULL(n))
		return 0;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, contacts, &nulls, &ncontacts);
	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_FCARG(n)) > 0)
	{
		if (mktg_null_at(0, 1))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" must not have NULL in it", "contacts"),
					 errhint("Leave it out.")));
		mktg_require_contact(mktg_int64_at(0, 1), tenant);
	}
	if (ncontacts > count)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("there are more contacts than codes"),
				 errdetail("%d contacts, " INT64_FORMAT " codes.", ncontacts, count),
				 errhint("Each contact gets one code.")));
	return ncontacts;
}

static void
check_form(int64 count, int length)
{
	if (count < 1 || count > MAX_CODES)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("count must be from 1 to %d", MAX_CODES),
				 errhint("Call it several times for more.")));
	if (length < MKTG_CODE_MIN_BODY || length > MKTG_CODE_MAX_BODY)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("length must be from %d to %d", MKTG_CODE_MIN_BODY, MKTG_CODE_MAX_BODY),
				 errhint("8 symbols, one of them the check symbol, are 34 billion codes.")));
}

/*
 * SQL: mktg.generate_codes(promo bigint, count integer, prefix text, suffix text, length integer,
 *		checksum boolean, exclude_ambiguous boolean, contacts bigint[], tenant bigint) returns bigint
 *
 * Errors: MK082 promo, MK011 contact, MK024 count, length, prefix or suffix,
 * MK025 more than half of all codes of the form.
 */
Datum
mktg_generate_codes(PG_FUNCTION_ARGS)
{
	int64		count = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);
	Series		series = {
		.offer_id = mktg_int64_argument(fcinfo, 0, "promo"), .tenant_id = mktg_int64_argument(fcinfo, 8, "tenant"),
		.length = PG_ARGISNULL(4) ? 8 : PG_GETARG_INT32(4), .checksum = PG_ARGISNULL(5) || PG_GETARG_BOOL(5),
		.ambiguous = !PG_ARGISNULL(6) && !PG_GETARG_BOOL(6)
	};
	Words		words;
	Datum	   *contacts;
	int64		ncontacts;
	int64		written = 0;

	check_form(count, series.length);
	mktg_begin();
	count_made(&series, count);
	read_words(&series, &words);
	read_affix(fcinfo, 2, "prefix", &words, series.prefix);
	read_affix(fcinfo, 3, "suffix", &words, series.suffix);
	ncontacts = read_contacts(fcinfo, 7, count, series.tenant_id, &contacts);
	count_series(&series, count);
	shuffle(contacts, ncontacts);
	/* what was there already is made up for by the next round */
	while (written < count)
	{
		bool		assigned = written < ncontacts;
		int64		n = assigned ? Min(ncontacts - written, (int64) BATCH / 10) : Min(count - written, (int64) BATCH);
		char	   *bodies = make_bodies(&series, n);

		written += assigned ? write_assigned(&series, bodies, n, contacts + written) : write_codes(&series, bodies, n);
		pfree(bodies);
	}
	mktg_end();
	PG_RETURN_INT64(written);
}
