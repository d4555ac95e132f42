/*-------------------------------------------------------------------------
 *
 * bitmap.c
 *		Tests of src/core/bitmap.c: written forms and what is read of them.
 *
 * IDENTIFICATION
 *		test/unit/bitmap.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/bitmap.h"
#include "tap.h"

static uint64_t words[MKTG_CHUNK_WORDS];
static uint16_t bits[MKTG_CHUNK_IDS];
static unsigned int n;

static uint64_t
chance(void)
{
	static uint64_t state = UINT64_C(88172645463325252);

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void
add(unsigned int bit)
{
	words[bit / 64] |= UINT64_C(1) << (bit % 64);
	bits[n++] = (uint16_t) bit;
}

static void
clear(void)
{
	memset(words, 0, sizeof(words));
	n = 0;
}

/* Runs of up to "run" members with gaps of up to "gap". */
static void
fill(unsigned int run, unsigned int gap)
{
	clear();
	for (unsigned int bit = (unsigned int) (chance() % gap); bit < MKTG_CHUNK_IDS; bit += 1 + (unsigned int) (chance() % gap))
		for (unsigned int end = bit + 1 + (unsigned int) (chance() % run); bit < end && bit < MKTG_CHUNK_IDS; bit++)
			add(bit);
}

/* Both ways of writing give the same, as short as can be, and reading gives the members. */
static bool
round_trip(void)
{
	static uint8_t a[MKTG_CHUNK_MAX];
	static uint8_t b[MKTG_CHUNK_MAX];
	uint64_t	read[MKTG_CHUNK_WORDS] = {0};
	size_t		length = mktg_chunk_encode(words, a);

	if (mktg_chunk_encode_bits(bits, n, b) != length || memcmp(a, b, length) != 0 ||
		length > 1 + 2 * (size_t) n || mktg_words_count(words, MKTG_CHUNK_WORDS) != n)
		return false;
	if (length == 0)
		return n == 0;
	if (!mktg_chunk_add(a, length, read) || memcmp(read, words, sizeof(words)) != 0)
		return false;
	for (unsigned int bit = 0; bit < MKTG_CHUNK_IDS; bit++)
		if (mktg_chunk_has(a, length, bit) != ((words[bit / 64] >> (bit % 64) & 1) != 0))
			return false;
	return true;
}

static bool
collect(void *context, int64_t chunk, const uint64_t *members)
{
	int64_t   **to = context;

	for (int i = 0; i < MKTG_CHUNK_WORDS; i++)
		for (uint64_t word = members[i]; word != 0; word &= word - 1)
			*(*to)++ = chunk * MKTG_CHUNK_IDS + i * 64 + __builtin_ctzll(word);
	return true;
}

int
main(void)
{
	static const unsigned int runs[] = {1, 2, 3, 10, 200, 5000, 70000};
	static const unsigned int gaps[] = {1, 2, 3, 20, 500, 9000, 70000};
	static int64_t ids[5000];
	static int64_t back[5000];
	int64_t    *end = back;
	uint8_t    *set;
	size_t		length;
	uint8_t		bad[] = {'R', 0xff, 0xff, 1, 0};
	bool		good = true;

	clear();
	ok(round_trip(), "nobody");
	add(65535);
	ok(round_trip(), "the last one");
	for (size_t r = 0; r < sizeof(runs) / sizeof(runs[0]); r++)
		for (size_t g = 0; g < sizeof(gaps) / sizeof(gaps[0]); g++)
			for (int i = 0; i < 5; i++)
			{
				fill(runs[r], gaps[g]);
				good = good && round_trip();
			}
	ok(good, "members in runs and gaps of any length");

	for (int i = 0; i < 5000; i++)
		ids[i] = (i == 0 ? -200000 : ids[i - 1]) + 1 + (int64_t) (chance() % (i % 2 == 0 ? 2 : 90000));
	set = malloc(mktg_set_bound(5000));
	length = mktg_set_encode(ids, 5000, set);
	ok(length <= mktg_set_bound(5000) && mktg_set_visit(set, length, collect, &end) && end == back + 5000 &&
	   memcmp(ids, back, sizeof(ids)) == 0, "sets over chunks, ids below zero too");
	end = back;
	ok(!mktg_set_visit(set, length - 1, collect, &end), "a set cut short is none");
	clear();
	ok(!mktg_chunk_add(bad, sizeof(bad), words) && !mktg_chunk_add((uint8_t *) "X00", 3, words) &&
	   !mktg_chunk_add(bad, 2, words), "a run beyond the chunk, an unknown form and half a member are none");
	free(set);
	return tap_done();
}
