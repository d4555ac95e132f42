/*-------------------------------------------------------------------------
 *
 * bitmap.c
 *		Sets of ids in chunks.
 *
 * IDENTIFICATION
 *		src/core/bitmap.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/bitmap.h"

#include <string.h>

#define FORM_LIST	'L'
#define FORM_RUNS	'R'
#define FORM_WORDS	'W'

static void
put16(uint8_t *out, unsigned int value)
{
	out[0] = (uint8_t) value;
	out[1] = (uint8_t) (value >> 8);
}

static unsigned int
get16(const uint8_t *in)
{
	return in[0] | (unsigned int) in[1] << 8;
}

/* Words are little-endian where they are written; most machines have them so. */
static inline uint64_t
little_endian(uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return __builtin_bswap64(word);
#else
	return word;
#endif
}

static void
put_words(const uint64_t *words, uint8_t *out)
{
	for (int i = 0; i < MKTG_CHUNK_WORDS; i++)
	{
		uint64_t	word = little_endian(words[i]);

		memcpy(out + i * 8, &word, 8);
	}
}

static inline uint64_t
get_word(const uint8_t *in)
{
	uint64_t	word;

	memcpy(&word, in, 8);
	return little_endian(word);
}

unsigned int
mktg_words_count(const uint64_t *words, size_t n)
{
	unsigned int count = 0;

	for (size_t i = 0; i < n; i++)
		count += (unsigned int) __builtin_popcountll(words[i]);
	return count;
}

/* How many runs of members there are: ends of runs are bits whose successor is not set. */
static unsigned int
count_runs(const uint64_t *words)
{
	unsigned int runs = 0;

	for (int i = 0; i < MKTG_CHUNK_WORDS; i++)
	{
		uint64_t	next = i + 1 < MKTG_CHUNK_WORDS ? words[i + 1] : 0;

		runs += (unsigned int) __builtin_popcountll(words[i] & ~((words[i] >> 1) | (next << 63)));
	}
	return runs;
}

/* The first bit from "from" on that is set (or not set); MKTG_CHUNK_IDS if none is. */
static unsigned int
next_bit(const uint64_t *words, unsigned int from, bool set)
{
	while (from < MKTG_CHUNK_IDS)
	{
		uint64_t	word = (set ? words[from / 64] : ~words[from / 64]) >> (from % 64);

		if (word != 0)
			return from + (unsigned int) __builtin_ctzll(word);
		from = (from / 64 + 1) * 64;
	}
	return MKTG_CHUNK_IDS;
}

size_t
mktg_chunk_encode(const uint64_t *words, uint8_t *out)
{
	unsigned int count = mktg_words_count(words, MKTG_CHUNK_WORDS);
	unsigned int runs = count_runs(words);
	uint8_t    *to = out + 1;

	if (count == 0)
		return 0;
	if (runs * 2 < count && runs * 4 < MKTG_CHUNK_BYTES)
	{
		out[0] = FORM_RUNS;
		for (unsigned int first = next_bit(words, 0, true); first < MKTG_CHUNK_IDS;)
		{
			unsigned int end = next_bit(words, first, false);

			put16(to, first);
			put16(to + 2, end - first - 1);
			to += 4;
			first = next_bit(words, end, true);
		}
	}
	else if (count * 2 < MKTG_CHUNK_BYTES)
	{
		out[0] = FORM_LIST;
		for (int i = 0; i < MKTG_CHUNK_WORDS; i++)
			for (uint64_t word = words[i]; word != 0; word &= word - 1)
			{
				put16(to, (unsigned int) (i * 64 + __builtin_ctzll(word)));
				to += 2;
			}
	}
	else
	{
		out[0] = FORM_WORDS;
		put_words(words, to);
		to += MKTG_CHUNK_BYTES;
	}
	return (size_t) (to - out);
}

/* The same forms as of words, without words where there are few members. */
size_t
mktg_chunk_encode_bits(const uint16_t *bits, unsigned int n, uint8_t *out)
{
	uint64_t	words[MKTG_CHUNK_WORDS];
	unsigned int runs = 0;
	uint8_t    *to = out + 1;

	if (n == 0)
		return 0;
	if (n * 2 < MKTG_CHUNK_BYTES)
	{
		for (unsigned int i = 0; i < n; i++)
			runs += i == 0 || bits[i] != bits[i - 1] + 1;
		if (runs * 2 >= n)
		{
			out[0] = FORM_LIST;
			for (unsigned int i = 0; i < n; i++, to += 2)
				put16(to, bits[i]);
			return (size_t) (to - out);
		}
	}
	memset(words, 0, sizeof(words));
	for (unsigned int i = 0; i < n; i++)
		words[bits[i] / 64] |= UINT64_C(1) << (bits[i] % 64);
	return mktg_chunk_encode(words, out);
}

/* Sets "length" bits from "first" on; they stay within the chunk. */
static void
set_run(uint64_t *words, unsigned int first, unsigned int length)
{
	while (length > 0)
	{
		unsigned int offset = first % 64;
		unsigned int n = 64 - offset < length ? 64 - offset : length;
		uint64_t	mask = n == 64 ? ~UINT64_C(0) : ((UINT64_C(1) << n) - 1) << offset;

		words[first / 64] |= mask;
		first += n;
		length -= n;
	}
}

/* Are the bytes behind the form as they must be? */
static bool
well_formed(const uint8_t *in, size_t length)
{
	if (length < 3)
		return false;
	switch (in[0])
	{
		case FORM_WORDS:
			return length == MKTG_CHUNK_MAX;
		case FORM_LIST:
			return (length - 1) % 2 == 0 && length <= MKTG_CHUNK_MAX;
		case FORM_RUNS:
			return (length - 1) % 4 == 0 && length <= MKTG_CHUNK_MAX;
		default:
			return false;
	}
}

bool
mktg_chunk_add(const uint8_t *in, size_t length, uint64_t *words)
{
	if (!well_formed(in, length))
		return false;
	if (in[0] == FORM_WORDS)
		for (int i = 0; i < MKTG_CHUNK_WORDS; i++)
			words[i] |= get_word(in + 1 + i * 8);
	else if (in[0] == FORM_LIST)
		for (size_t i = 1; i < length; i += 2)
		{
			unsigned int bit = get16(in + i);

			words[bit / 64] |= UINT64_C(1) << (bit % 64);
		}
	else
		for (size_t i = 1; i < length; i += 4)
		{
			unsigned int first = get16(in + i);
			unsigned int run = get16(in + i + 2) + 1;

			if (first + run > MKTG_CHUNK_IDS)
				return false;
			set_run(words, first, run);
		}
	return true;
}

/* The last of the entries of "step" bytes whose first number is not above "bit"; -1 if none is. */
static long
find_entry(const uint8_t *in, size_t n, size_t step, unsigned int bit)
{
	size_t		low = 0;
	size_t		high = n;

	while (low < high)
	{
		size_t		middle = (low + high) / 2;

		if (get16(in + middle * step) <= bit)
			low = middle + 1;
		else
			high = middle;
	}
	return (long) low - 1;
}

bool
mktg_chunk_has(const uint8_t *in, size_t length, unsigned int bit)
{
	long		at;

	if (!well_formed(in, length) || bit >= MKTG_CHUNK_IDS)
		return false;
	if (in[0] == FORM_WORDS)
		return (in[1 + bit / 8] >> (bit % 8) & 1) != 0;
	if (in[0] == FORM_LIST)
	{
		at = find_entry(in + 1, (length - 1) / 2, 2, bit);
		return at >= 0 && get16(in + 1 + at * 2) == bit;
	}
	at = find_entry(in + 1, (length - 1) / 4, 4, bit);
	return at >= 0 && bit <= get16(in + 1 + at * 4) + get16(in + 3 + at * 4);
}

#define SET_HEADER	12

size_t
mktg_set_bound(size_t n)
{
	/* a chunk for each, or full ones; whichever is less for a chunk */
	size_t		chunks = n;
	size_t		bytes = chunks * (SET_HEADER + 1 + 2);

	return bytes + MKTG_CHUNK_MAX;
}

size_t
mktg_set_encode(const int64_t *ids, size_t n, uint8_t *out)
{
	uint8_t    *to = out;
	size_t		i = 0;

	while (i < n)
	{
		int64_t		chunk = mktg_chunk_of(ids[i]);
		uint64_t	number = (uint64_t) chunk;
		uint16_t	bits[MKTG_CHUNK_IDS];
		unsigned int count = 0;
		size_t		length;

		while (i < n && mktg_chunk_of(ids[i]) == chunk)
			bits[count++] = (uint16_t) mktg_chunk_bit(ids[i++]);
		length = mktg_chunk_encode_bits(bits, count, to + SET_HEADER);
		for (int k = 0; k < 8; k++)
			to[k] = (uint8_t) (number >> (8 * k));
		put16(to + 8, (unsigned int) length);
		put16(to + 10, 0);
		to += SET_HEADER + length;
	}
	return (size_t) (to - out);
}

bool
mktg_set_visit(const uint8_t *in, size_t length,
			   bool (*visit) (void *context, int64_t chunk, const uint64_t *words), void *context)
{
	while (length > 0)
	{
		uint64_t	words[MKTG_CHUNK_WORDS];
		size_t		chunk_length;

		if (length < SET_HEADER)
			return false;
		chunk_length = get16(in + 8);
		if (get16(in + 10) != 0 || chunk_length > length - SET_HEADER)
			return false;
		memset(words, 0, sizeof(words));
		if (!mktg_chunk_add(in + SET_HEADER, chunk_length, words) ||
			!visit(context, (int64_t) get_word(in), words))
			return false;
		in += SET_HEADER + chunk_length;
		length -= SET_HEADER + chunk_length;
	}
	return true;
}
