/*-------------------------------------------------------------------------
 *
 * bitmap.c
 *		Fuzzes chunks and sets of ids.
 *
 * The first byte of the input chooses what the others are: a chunk as stored, a
 * set as stored, or numbers that become one.
 *
 * IDENTIFICATION
 *		test/fuzz/bitmap.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/bitmap.h"
#include "fuzz.h"

static bool
is_set(const uint64_t *words, unsigned int bit)
{
	return (words[bit / 64] >> (bit % 64) & 1) != 0;
}

/* Is what was read written again as the same members? */
static void
rewrite(const uint64_t *words)
{
	uint8_t		out[MKTG_CHUNK_MAX];
	uint64_t	again[MKTG_CHUNK_WORDS] = {0};
	size_t		length = mktg_chunk_encode(words, out);
	unsigned int count = mktg_words_count(words, MKTG_CHUNK_WORDS);

	PROMISE((length == 0) == (count == 0));
	if (length == 0)
		return;
	PROMISE(length <= MKTG_CHUNK_MAX && length <= 1 + 2 * (size_t) count);
	PROMISE(mktg_chunk_add(out, length, again));
	PROMISE(memcmp(words, again, sizeof(again)) == 0);
	for (unsigned int bit = 0; bit < MKTG_CHUNK_IDS; bit += 1 + bit % 61)
		PROMISE(mktg_chunk_has(out, length, bit) == is_set(words, bit));
}

static bool
visit(void *context, int64_t chunk, const uint64_t *words)
{
	size_t	   *chunks = context;

	++*chunks;
	rewrite(words);
	return *chunks < 20;
}

/* What is no set, or what the visit breaks off, is said to be so. */
static void
read_set(const uint8_t *data, size_t size)
{
	size_t		chunks = 0;
	bool		whole = mktg_set_visit(data, size, visit, &chunks);

	PROMISE(chunks <= 20 && !(whole && chunks == 20));
	PROMISE(!whole || (chunks == 0) == (size == 0));
}

static int
compare(const void *a, const void *b)
{
	int64_t		x = *(const int64_t *) a;
	int64_t		y = *(const int64_t *) b;

	return x < y ? -1 : x > y;
}

typedef struct Expected
{
	const int64_t *ids;
	size_t		n;
} Expected;

static bool
visit_expected(void *context, int64_t chunk, const uint64_t *words)
{
	Expected   *expected = context;
	unsigned int count = mktg_words_count(words, MKTG_CHUNK_WORDS);

	for (unsigned int i = 0; i < count; i++)
	{
		PROMISE(expected->n > 0);
		PROMISE(mktg_chunk_of(*expected->ids) == chunk && is_set(words, mktg_chunk_bit(*expected->ids)));
		expected->ids++;
		expected->n--;
	}
	return true;
}

/* Numbers of one to eight bytes, as the first byte of each says. */
static void
make_set(const uint8_t *data, size_t size)
{
	int64_t    *ids = malloc((size + 1) * sizeof(int64_t));
	uint8_t    *out;
	size_t		n = 0;
	size_t		unique = 0;
	Expected	expected;

	for (size_t i = 0; i < size;)
	{
		size_t		bytes = 1 + data[i] % 8;
		uint64_t	id = (data[i] & 0x80) != 0 ? UINT64_MAX : 0;

		for (i++; bytes > 0 && i < size; bytes--, i++)
			id = id << 8 | data[i];
		ids[n++] = (int64_t) id;
	}
	qsort(ids, n, sizeof(int64_t), compare);
	for (size_t i = 0; i < n; i++)
		if (unique == 0 || ids[unique - 1] != ids[i])
			ids[unique++] = ids[i];
	out = malloc(mktg_set_bound(unique));
	expected = (Expected) {ids, unique};
	PROMISE(mktg_set_visit(out, mktg_set_encode(ids, unique, out), visit_expected, &expected));
	PROMISE(expected.n == 0);
	free(out);
	free(ids);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] % 3 == 0)
	{
		uint64_t	words[MKTG_CHUNK_WORDS] = {0};
		bool		right = mktg_chunk_add(data + 1, size - 1, words);

		if (right)
		{
			PROMISE(mktg_words_count(words, MKTG_CHUNK_WORDS) > 0 || data[1] == 'W');
			rewrite(words);
		}
		for (unsigned int bit = 0; bit < MKTG_CHUNK_IDS; bit += 1009)
			/* what is out of order may hide members, never invent them */
			PROMISE(!mktg_chunk_has(data + 1, size - 1, bit) || !right || is_set(words, bit));
	}
	else if (data[0] % 3 == 1)
		read_set(data + 1, size - 1);
	else
		make_set(data + 1, size - 1);
	return 0;
}
