/*-------------------------------------------------------------------------
 *
 * bitmap.c
 *		Unit tests of src/core/bitmap.c.
 *
 * IDENTIFICATION
 *		test/unit/bitmap.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/bitmap.h"
#include "tap.h"

#define LIST_MOST	4095		/* members of which a list is shorter than words */

static uint64_t seed = 42;

static uint64_t
chance(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void
set(uint64_t *words, unsigned int bit)
{
	words[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static bool
is_set(const uint64_t *words, unsigned int bit)
{
	return (words[bit / 64] >> (bit % 64) & 1) != 0;
}

/* What is written is read again, by whole and by bit, from a buffer that is exactly as long. */
static bool
comes_back(const uint64_t *words, char form, size_t length)
{
	uint8_t		out[MKTG_CHUNK_MAX];
	uint64_t	again[MKTG_CHUNK_WORDS] = {0};
	size_t		n = mktg_chunk_encode(words, out);
	uint8_t    *exact;
	bool		same;

	if ((form != 0 && (n == 0 || out[0] != form)) || (length != 0 && n != length))
		return false;
	if (n == 0)
		return mktg_words_count(words, MKTG_CHUNK_WORDS) == 0;
	exact = malloc(n);
	memcpy(exact, out, n);
	same = mktg_chunk_add(exact, n, again) && memcmp(words, again, sizeof(again)) == 0;
	for (unsigned int bit = 0; same && bit < MKTG_CHUNK_IDS; bit++)
		same = mktg_chunk_has(exact, n, bit) == is_set(words, bit);
	free(exact);
	return same;
}

static void
test_forms(void)
{
	static const unsigned int edges[] = {0, 1, 62, 63, 64, 65, 127, 128, 4095, 4096, 32767, 32768, 65471, 65472, 65534, 65535};
	uint64_t	words[MKTG_CHUNK_WORDS] = {0};
	uint8_t		out[MKTG_CHUNK_MAX];

	ok(mktg_chunk_encode(words, out) == 0, "an empty chunk is nothing");
	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
	{
		memset(words, 0, sizeof(words));
		set(words, edges[i]);
		ok(comes_back(words, 'L', 3), "one member, %u", edges[i]);
	}
	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
		set(words, edges[i]);
	ok(comes_back(words, 0, 0), "all of these");

	memset(words, 0xff, sizeof(words));
	ok(comes_back(words, 'R', 5), "a full chunk is one run");
	ok(mktg_words_count(words, MKTG_CHUNK_WORDS) == MKTG_CHUNK_IDS, "of all of its members");
	words[0] &= ~UINT64_C(1);
	ok(comes_back(words, 'R', 5), "without the first");
	words[MKTG_CHUNK_WORDS - 1] &= ~(UINT64_C(1) << 63);
	ok(comes_back(words, 'R', 5), "and the last");
	words[511] &= ~(UINT64_C(1) << 63);
	ok(comes_back(words, 'R', 9), "and one in the middle, at the end of a word");

	memset(words, 0, sizeof(words));
	for (unsigned int i = 0; i < LIST_MOST; i++)
		set(words, 16 * i);
	ok(comes_back(words, 'L', 1 + 2 * LIST_MOST), "%d members apart are a list", LIST_MOST);
	set(words, 16 * LIST_MOST);
	ok(comes_back(words, 'W', MKTG_CHUNK_MAX), "one more, and they are words");

	memset(words, 0, sizeof(words));
	for (unsigned int i = 0; i < 2047; i++)
		for (unsigned int k = 0; k < 3; k++)
			set(words, 32 * i + 31 + k);
	ok(comes_back(words, 'R', 1 + 4 * 2047), "2047 runs of three, over the ends of words");
	for (unsigned int k = 0; k < 2; k++)
		set(words, 65533 + k);
	ok(comes_back(words, 'W', MKTG_CHUNK_MAX), "one more, and they are words");

	memset(words, 0, sizeof(words));
	for (unsigned int i = 0; i < 1000; i++)
	{
		set(words, 60 * i);
		set(words, 60 * i + 1);
	}
	ok(comes_back(words, 'L', 1 + 2 * 2000), "runs of two are not shorter than a list");
	for (unsigned int i = 0; i < MKTG_CHUNK_WORDS; i++)
		words[i] = UINT64_C(0x5555555555555555);
	ok(comes_back(words, 'W', MKTG_CHUNK_MAX), "every other one");
}

static void
test_add(void)
{
	uint64_t	words[MKTG_CHUNK_WORDS] = {0};
	uint64_t	more[MKTG_CHUNK_WORDS] = {0};
	uint8_t		out[MKTG_CHUNK_MAX];
	uint16_t	bits[40];
	size_t		n;

	set(words, 7);
	set(words, 65535);
	set(more, 8);
	n = mktg_chunk_encode(more, out);
	ok(mktg_chunk_add(out, n, words) && is_set(words, 7) && is_set(words, 8) && is_set(words, 65535) &&
	   mktg_words_count(words, MKTG_CHUNK_WORDS) == 3, "members that are there stay");
	ok(!mktg_chunk_has(out, n, 65536) && !mktg_chunk_has(out, n, UINT32_MAX), "no bit is beyond a chunk");

	ok(mktg_chunk_encode_bits(bits, 0, out) == 0, "no bits are nothing");
	for (unsigned int i = 0; i < 40; i++)
		bits[i] = (uint16_t) (65535 - 39 + i);
	for (unsigned int i = 1; i <= 40; i++)
	{
		bool		right;

		memset(words, 0, sizeof(words));
		n = mktg_chunk_encode_bits(bits + 40 - i, i, out);
		right = mktg_chunk_add(out, n, words) && mktg_words_count(words, MKTG_CHUNK_WORDS) == i;
		for (unsigned int k = 40 - i; k < 40; k++)
			right &= is_set(words, bits[k]) && mktg_chunk_has(out, n, bits[k]);
		ok(right && !mktg_chunk_has(out, n, 65535 - i), "the last %u bits of a chunk by number", i);
	}
}

static void
test_random(void)
{
	static const char *const kinds[] = {"scattered", "in runs", "dense", "of all kinds"};

	for (int kind = 0; kind < 4; kind++)
	{
		int			wrong = 0;

		for (int round = 0; round < 200; round++)
		{
			uint64_t	words[MKTG_CHUNK_WORDS] = {0};
			int			shape = kind < 3 ? kind : (int) (chance() % 3);
			unsigned int n = (unsigned int) (chance() % (shape == 0 ? 9000 : 300));

			if (shape == 2)
				for (int i = 0; i < MKTG_CHUNK_WORDS; i++)
					words[i] = chance() | chance();
			for (unsigned int i = 0; shape == 0 && i < n; i++)
				set(words, (unsigned int) (chance() % MKTG_CHUNK_IDS));
			for (unsigned int i = 0; shape == 1 && i < n; i++)
				for (unsigned int bit = (unsigned int) (chance() % MKTG_CHUNK_IDS), k = (unsigned int) (chance() % 500);
					 k > 0 && bit < MKTG_CHUNK_IDS; k--, bit++)
					set(words, bit);
			wrong += !comes_back(words, 0, 0);
		}
		ok(wrong == 0, "200 random chunks, %s", kinds[kind]);
	}
}

static void
refused(const char *bytes, size_t length, const char *what)
{
	uint64_t	words[MKTG_CHUNK_WORDS] = {0};
	uint8_t    *exact = malloc(length > 0 ? length : 1);
	bool		has = false;

	memcpy(exact, bytes, length);
	for (unsigned int bit = 0; bit < MKTG_CHUNK_IDS; bit += 13)
		has |= mktg_chunk_has(exact, length, bit);
	ok(!mktg_chunk_add(exact, length, words) && !has, "no chunk: %s", what);
	free(exact);
}

static void
test_corrupt(void)
{
	char		long_list[MKTG_CHUNK_MAX + 2] = "L";
	uint64_t	words[MKTG_CHUNK_WORDS];
	uint8_t		beyond[] = {'R', 0, 0xff, 0, 2};
	int			accepted = 0;

	refused("", 0, "nothing");
	refused("L", 1, "a form alone");
	refused("L\1", 2, "half a member");
	refused("L\1\0\2", 4, "one and a half");
	refused("R\1\0\1", 4, "half a run");
	refused("R\1\0\1\0\1\0", 7, "one and a half");
	refused("W\1\0\0\0\0\0\0\0", 9, "a word alone");
	refused("X\1\0", 3, "another form");
	refused("\0\1\0", 3, "no form");
	refused(long_list, sizeof(long_list), "a list longer than words");
	memset(words, 0, sizeof(words));
	ok(!mktg_chunk_add(beyond, sizeof(beyond), words), "a run beyond the end");

	for (int round = 0; round < 100000; round++)
	{
		uint8_t		bytes[64];
		size_t		length = chance() % sizeof(bytes);
		uint8_t    *exact = malloc(length + 1);

		for (size_t i = 0; i < length; i++)
			exact[i] = (uint8_t) chance();
		if (length > 0 && chance() % 4 > 0)
			exact[0] = (uint8_t) "LRW"[chance() % 3];
		exact = realloc(exact, length > 0 ? length : 1);
		accepted += mktg_chunk_add(exact, length, words);
		(void) mktg_chunk_has(exact, length, (unsigned int) (chance() % MKTG_CHUNK_IDS));
		free(exact);
	}
	ok(accepted > 1000, "random bytes do no harm; %d of 100000 are chunks", accepted);
}

/* ---- sets ---- */

typedef struct Visited
{
	int64_t		ids[70000];
	size_t		n;
	size_t		chunks;
	size_t		most;			/* chunks after which it says so */
} Visited;

static Visited visited;

static bool
visit(void *context, int64_t chunk, const uint64_t *words)
{
	Visited    *to = context;

	to->chunks++;
	for (int i = 0; i < MKTG_CHUNK_WORDS; i++)
		for (uint64_t word = words[i]; word != 0; word &= word - 1)
			if (to->n < sizeof(to->ids) / sizeof(to->ids[0]))
				to->ids[to->n++] = (int64_t) ((uint64_t) chunk << MKTG_CHUNK_SHIFT) + i * 64 + __builtin_ctzll(word);
	return to->most == 0 || to->chunks < to->most;
}

static uint8_t *
encode(const int64_t *ids, size_t n, size_t *length)
{
	uint8_t    *out = malloc(mktg_set_bound(n));
	uint8_t    *exact;

	*length = mktg_set_encode(ids, n, out);
	exact = malloc(*length > 0 ? *length : 1);
	memcpy(exact, out, *length);
	free(out);
	return exact;
}

static bool
set_comes_back(const int64_t *ids, size_t n)
{
	size_t		length;
	uint8_t    *set_bytes = encode(ids, n, &length);
	bool		same;

	memset(&visited, 0, sizeof(visited));
	same = mktg_set_visit(set_bytes, length, visit, &visited) && visited.n == n &&
		memcmp(visited.ids, ids, n * sizeof(int64_t)) == 0;
	free(set_bytes);
	return same;
}

static int
compare(const void *a, const void *b)
{
	int64_t		x = *(const int64_t *) a;
	int64_t		y = *(const int64_t *) b;

	return x < y ? -1 : x > y;
}

static void
test_sets(void)
{
	static const int64_t edges[] = {
		INT64_MIN, INT64_MIN + 1, -65537, -65536, -65535, -5, -1, 0, 1, 65535, 65536, 131071, 131072,
		INT64_C(4294967295), INT64_C(4294967296), INT64_MAX - 65536, INT64_MAX - 1, INT64_MAX
	};
	static int64_t ids[70000];	/* more than a chunk */
	size_t		length;
	uint8_t    *bytes;
	int			wrong = 0;
	bool		never = true;

	ok(set_comes_back(edges, 0), "an empty set");
	ok(set_comes_back(edges, sizeof(edges) / sizeof(edges[0])), "ids from the smallest to the largest");
	for (size_t i = 0; i < 70000; i++)
		ids[i] = (int64_t) i - 1000;
	ok(set_comes_back(ids, 70000), "70000 ids in a row");
	for (size_t i = 0; i < 20000; i++)
		ids[i] = ((int64_t) i - 10000) * 65536;
	ok(set_comes_back(ids, 20000), "20000 ids, each in a chunk of its own, fit into what mktg_set_bound() says");
	for (int round = 0; round < 200; round++)
	{
		size_t		n = chance() % 1000;
		int			shift = (int) (chance() % 64);
		size_t		unique = 0;

		for (size_t i = 0; i < n; i++)
			ids[i] = (int64_t) chance() >> shift;
		qsort(ids, n, sizeof(int64_t), compare);
		for (size_t i = 0; i < n; i++)
			if (unique == 0 || ids[unique - 1] != ids[i])
				ids[unique++] = ids[i];
		wrong += !set_comes_back(ids, unique);
	}
	ok(wrong == 0, "200 random sets");

	bytes = encode(edges, sizeof(edges) / sizeof(edges[0]), &length);
	memset(&visited, 0, sizeof(visited));
	visited.most = 2;
	ok(!mktg_set_visit(bytes, length, visit, &visited) && visited.chunks == 2, "a visit may end it");
	memset(&visited, 0, sizeof(visited));
	for (size_t cut = 1; cut < length; cut++)
	{
		uint8_t    *torn = malloc(cut);
		size_t		before = visited.chunks;

		memcpy(torn, bytes, cut);
		/* at the end of a chunk it is a set of fewer */
		never &= !mktg_set_visit(torn, cut, visit, &visited) || visited.chunks > before;
		free(torn);
	}
	ok(never, "a set that is torn is none, or one of whole chunks");
	for (int round = 0; round < 5000; round++)
	{
		uint8_t    *changed = malloc(length);

		memcpy(changed, bytes, length);
		for (int i = (int) (chance() % 4); i >= 0; i--)
			changed[chance() % length] = (uint8_t) chance();
		memset(&visited, 0, offsetof(Visited, ids) + sizeof(int64_t));
		visited.n = visited.chunks = 0;
		(void) mktg_set_visit(changed, length, visit, &visited);
		free(changed);
	}
	ok(true, "5000 sets with bytes that are wrong do no harm");
	free(bytes);
}

int
main(void)
{
	ok(mktg_chunk_of(0) == 0 && mktg_chunk_of(65535) == 0 && mktg_chunk_of(65536) == 1 && mktg_chunk_of(-1) == -1 &&
	   mktg_chunk_of(-65536) == -1 && mktg_chunk_of(-65537) == -2 && mktg_chunk_of(INT64_MIN) == INT64_MIN / 65536 &&
	   mktg_chunk_of(INT64_MAX) == INT64_MAX / 65536, "chunks of ids");
	ok(mktg_chunk_bit(0) == 0 && mktg_chunk_bit(65535) == 65535 && mktg_chunk_bit(65536) == 0 && mktg_chunk_bit(-1) == 65535 &&
	   mktg_chunk_bit(-65536) == 0 && mktg_chunk_bit(INT64_MIN) == 0 && mktg_chunk_bit(INT64_MAX) == 65535, "bits of ids");
	test_forms();
	test_add();
	test_random();
	test_corrupt();
	test_sets();
	return tap_done();
}
