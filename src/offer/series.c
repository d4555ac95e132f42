/*-------------------------------------------------------------------------
 *
 * series.c
 *		Forms of generated codes, by which a mistyped one is known at once.
 *
 * A backend remembers the forms of a tenant, and the few codes of create_promo()
 * that look like one of them but have no check symbol.  What was typed is then
 * refused without a table: if it has the form of checked codes and no other, a
 * wrong check symbol, and is none of those few.
 *
 * IDENTIFICATION
 *		src/offer/series.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/base.h"
#include "offer/cache.h"

/* more forms than this are not remembered: every code is looked up */
#define MAX_SERIES	64
#define MAX_EXEMPT	10000

typedef struct Series
{
	char	   *prefix;
	char	   *suffix;
	int			length;
	bool		checksum;
	const char *alphabet;
} Series;

typedef struct TenantSeries
{
	int64		tenant_id;
	int			nseries;		/* 0: nothing is known of any code */
	Series	   *series;
	HTAB	   *exempt;
} TenantSeries;

typedef struct Exempt
{
	char		code[MKTG_CODE_MAX + 1];
} Exempt;

/* Does the code have the form?  The body, if so. */
static const char *
body_of(const Series *series, const char *code, size_t length)
{
	size_t		before = strlen(series->prefix);
	size_t		after = strlen(series->suffix);

	if (length != before + series->length + after ||
		memcmp(code, series->prefix, before) != 0 ||
		memcmp(code + before + series->length, series->suffix, after) != 0)
		return NULL;
	return code + before;
}

/* Of a checked form alone, with a wrong check symbol. */
static bool
is_mistyped(const TenantSeries *of, const char *code)
{
	bool		mistyped = false;

	for (int i = 0; i < of->nseries; i++)
	{
		const char *body = body_of(&of->series[i], code, strlen(code));

		if (body == NULL)
			continue;
		if (!of->series[i].checksum || mktg_code_valid(of->series[i].alphabet, body, of->series[i].length))
			return false;
		mistyped = true;
	}
	return mistyped;
}

static void
load_series(TenantSeries *into, int n, MemoryContext memory)
{
	MemoryContext caller = MemoryContextSwitchTo(memory);

	into->series = palloc(n * sizeof(Series));
	for (int i = 0; i < n; i++)
		into->series[i] = (Series)
	{
		.prefix = pstrdup(mktg_text_at(i, 1)), .suffix = pstrdup(mktg_text_at(i, 2)), .length = mktg_int32_at(i, 3),
		.checksum = mktg_bool_at(i, 4), .alphabet = mktg_bool_at(i, 5) ? mktg_code_ambiguous : mktg_code_plain
	};
	into->nseries = n;
	MemoryContextSwitchTo(caller);
}

static void
load_exempt(TenantSeries *into, MemoryContext memory)
{
	static MktgQuery query = {
		.sql = "SELECT code FROM mktg.offer WHERE tenant_id = $1 AND code IS NOT NULL",
		.fresh = true, .nargs = 1, .argtypes = {INT8OID}
	};
	HASHCTL		control = {.keysize = MKTG_CODE_MAX + 1, .entrysize = sizeof(Exempt), .hcxt = memory};
	uint64		n = mktg_call(&query, MKTG_INT64(into->tenant_id));

	into->exempt = hash_create("mktg exempt codes", 16, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	for (uint64 i = 0; i < n; i++)
	{
		char	   *code = mktg_text_at(i, 1);

		if (is_mistyped(into, code))
			(void) hash_search(into->exempt, code, HASH_ENTER, NULL);
	}
	if (hash_get_num_entries(into->exempt) > MAX_EXEMPT)
		into->nseries = 0;
}

static TenantSeries *
load(int64 tenant, MemoryContext memory)
{
	static MktgQuery query = {
		.sql = "SELECT prefix, suffix, length, checksum, ambiguous FROM mktg.code_series WHERE tenant_id = $1",
		.fresh = true, .nargs = 1, .argtypes = {INT8OID}
	};
	TenantSeries loaded = {.tenant_id = tenant};
	TenantSeries *kept;
	uint64		n;

	mktg_begin();
	n = mktg_call(&query, MKTG_INT64(tenant));
	if (n > 0 && n <= MAX_SERIES)
	{
		load_series(&loaded, (int) n, memory);
		load_exempt(&loaded, memory);
	}
	mktg_end();
	/* the last step: an error on the way leaves nothing half known */
	kept = hash_search(mktg_cache_table(MKTG_CACHE_SERIES, sizeof(int64), sizeof(TenantSeries)), &tenant, HASH_ENTER, NULL);
	*kept = loaded;
	return kept;
}

bool
mktg_code_plausible(int64 tenant, const char *typed, size_t length, char *out)
{
	MemoryContext memory;
	TenantSeries *of;

	if (!mktg_code_normalize(typed, length, out))
		return false;
	memory = mktg_cache_memory();
	of = hash_search(mktg_cache_table(MKTG_CACHE_SERIES, sizeof(int64), sizeof(TenantSeries)), &tenant, HASH_FIND, NULL);
	if (of == NULL)
		of = load(tenant, memory);
	return of->nseries == 0 || !is_mistyped(of, out) ||
		hash_search(of->exempt, out, HASH_FIND, NULL) != NULL;
}
