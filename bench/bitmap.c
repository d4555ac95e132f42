/*-------------------------------------------------------------------------
 *
 * bitmap.c
 *		Chunks of members (src/core/bitmap.c) against CRoaring.
 *
 * A segment's members are stored as a row a chunk of 65,536 ids, so CRoaring
 * stands here twice: as a bitmap a chunk, in place of ours, and as one bitmap
 * for all, which is no row a chunk any more but what it was made for.  Both in
 * the portable form, after run_optimize.  Everything starts from and ends in
 * the written form, as in a database.
 *
 * Each figure is the best of some turns; the ways take turns.
 *
 * IDENTIFICATION
 *		bench/bitmap.c
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <roaring/roaring.h>
#include <roaring/roaring_version.h>

#include "core/bitmap.h"

#define TURNS		7
#define SETS		5
#define PROBES		1000
#define WAYS		3
#define MAX_IDS		10000000
#define MAX_CHUNKS	(MAX_IDS / MKTG_CHUNK_IDS + 1)

/* Written forms: a piece a chunk, or one for all. */
typedef struct Written
{
	char	   *bytes;
	size_t		begins[MAX_CHUNKS + 1];
	int			n;
} Written;

typedef struct Way
{
	const char *name;
	void		(*write) (const uint32_t *ids, size_t n, int nchunks, Written *out);
	uint64_t	(*count) (Written *const *sets, int nchunks);
	bool		(*has) (const Written *set, uint32_t id);
} Way;

static uint32_t *ids[SETS];
static size_t counts[SETS];
static Written written[WAYS][SETS];

/* ---- ours ---- */

static void
write_ours(const uint32_t *from, size_t n, int nchunks, Written *out)
{
	static uint16_t bits[MKTG_CHUNK_IDS];
	size_t		i = 0;

	out->n = nchunks;
	out->begins[0] = 0;
	for (int chunk = 0; chunk < nchunks; chunk++)
	{
		unsigned int count = 0;

		while (i < n && (int) (from[i] >> MKTG_CHUNK_SHIFT) == chunk)
			bits[count++] = (uint16_t) from[i++];
		out->begins[chunk + 1] = out->begins[chunk] +
			mktg_chunk_encode_bits(bits, count, (uint8_t *) out->bytes + out->begins[chunk]);
	}
}

static uint64_t
count_ours(Written *const *sets, int nchunks)
{
	uint64_t	count = 0;

	for (int chunk = 0; chunk < nchunks; chunk++)
	{
		uint64_t	words[MKTG_CHUNK_WORDS] = {0};

		for (int k = 0; k < SETS; k++)
		{
			size_t		begin = sets[k]->begins[chunk];
			size_t		length = sets[k]->begins[chunk + 1] - begin;

			if (length > 0 && !mktg_chunk_add((uint8_t *) sets[k]->bytes + begin, length, words))
				abort();
		}
		count += mktg_words_count(words, MKTG_CHUNK_WORDS);
	}
	return count;
}

static bool
has_ours(const Written *set, uint32_t id)
{
	size_t		begin = set->begins[id >> MKTG_CHUNK_SHIFT];

	return mktg_chunk_has((uint8_t *) set->bytes + begin, set->begins[(id >> MKTG_CHUNK_SHIFT) + 1] - begin,
						  mktg_chunk_bit(id));
}

/* ---- CRoaring, a bitmap a chunk ---- */

static size_t
write_roaring(roaring_bitmap_t *bitmap, char *out)
{
	size_t		length;

	roaring_bitmap_run_optimize(bitmap);
	length = roaring_bitmap_portable_serialize(bitmap, out);
	roaring_bitmap_free(bitmap);
	return length;
}

static void
write_chunks(const uint32_t *from, size_t n, int nchunks, Written *out)
{
	static uint32_t bits[MKTG_CHUNK_IDS];
	size_t		i = 0;

	out->n = nchunks;
	out->begins[0] = 0;
	for (int chunk = 0; chunk < nchunks; chunk++)
	{
		size_t		count = 0;

		while (i < n && (int) (from[i] >> MKTG_CHUNK_SHIFT) == chunk)
			bits[count++] = from[i++] & (MKTG_CHUNK_IDS - 1);
		out->begins[chunk + 1] = out->begins[chunk] + (count == 0 ? 0 :
			write_roaring(roaring_bitmap_of_ptr(count, bits), out->bytes + out->begins[chunk]));
	}
}

static roaring_bitmap_t *
read_roaring(const Written *set, int piece)
{
	size_t		begin = set->begins[piece];
	roaring_bitmap_t *bitmap = set->begins[piece + 1] == begin ? roaring_bitmap_create() :
		roaring_bitmap_portable_deserialize_safe(set->bytes + begin, set->begins[piece + 1] - begin);

	if (bitmap == NULL)
		abort();
	return bitmap;
}

static uint64_t
count_pieces(Written *const *sets, int pieces)
{
	uint64_t	count = 0;

	for (int piece = 0; piece < pieces; piece++)
	{
		roaring_bitmap_t *read[SETS];
		roaring_bitmap_t *all;

		for (int k = 0; k < SETS; k++)
			read[k] = read_roaring(sets[k], piece);
		all = roaring_bitmap_or_many(SETS, (const roaring_bitmap_t **) read);
		count += roaring_bitmap_get_cardinality(all);
		roaring_bitmap_free(all);
		for (int k = 0; k < SETS; k++)
			roaring_bitmap_free(read[k]);
	}
	return count;
}

static bool
has_in_piece(const Written *set, int piece, uint32_t id)
{
	roaring_bitmap_t *bitmap = read_roaring(set, piece);
	bool		has = roaring_bitmap_contains(bitmap, id);

	roaring_bitmap_free(bitmap);
	return has;
}

static bool
has_chunks(const Written *set, uint32_t id)
{
	return has_in_piece(set, (int) (id >> MKTG_CHUNK_SHIFT), mktg_chunk_bit(id));
}

/* ---- CRoaring, one for all ---- */

static void
write_whole(const uint32_t *from, size_t n, int nchunks, Written *out)
{
	(void) nchunks;
	out->n = 1;
	out->begins[0] = 0;
	out->begins[1] = write_roaring(roaring_bitmap_of_ptr(n, from), out->bytes);
}

static uint64_t
count_whole(Written *const *sets, int nchunks)
{
	(void) nchunks;
	return count_pieces(sets, 1);
}

static bool
has_whole(const Written *set, uint32_t id)
{
	return has_in_piece(set, 0, id);
}

static const Way ways[WAYS] = {
	{"ours", write_ours, count_ours, has_ours},
	{"CRoaring a chunk", write_chunks, count_pieces, has_chunks},
	{"CRoaring for all", write_whole, count_whole, has_whole},
};

/* ---- measuring ---- */

static uint64_t
chance(void)
{
	static uint64_t state = UINT64_C(88172645463325252);

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double) time.tv_sec * 1e6 + (double) time.tv_nsec / 1e3;
}

/* Members of a set: each id with a chance of "part" in a million, or runs of 200 with gaps of 800 on average. */
static void
fill(int k, uint32_t n, unsigned int part)
{
	size_t		count = 0;

	if (part > 0)
	{
		for (uint32_t id = 0; id < n; id++)
			if (chance() % 1000000 < part)
				ids[k][count++] = id;
	}
	else
		for (uint64_t id = chance() % 1600; id < n; id += 1 + chance() % 1600)
			for (uint64_t end = id + 1 + chance() % 400; id < end && id < n; id++)
				ids[k][count++] = (uint32_t) id;
	counts[k] = count;
}

static void
measure(const char *shape, uint32_t n)
{
	int			nchunks = (int) ((n - 1) / MKTG_CHUNK_IDS) + 1;
	double		write[WAYS];
	double		count[WAYS];
	double		has[WAYS];
	uint64_t	sizes[WAYS];
	unsigned int found[WAYS];
	static uint32_t probes[PROBES];

	for (int i = 0; i < PROBES; i++)
		probes[i] = (uint32_t) (chance() % n);
	for (int w = 0; w < WAYS; w++)
		write[w] = count[w] = has[w] = 1e18;
	for (int turn = 0; turn < TURNS; turn++)
		for (int w = 0; w < WAYS; w++)
		{
			Written    *sets[SETS];
			/* a bitmap for all is read whole: fewer will do */
			int			nprobes = w == 2 ? 10 : PROBES;
			double		begin = now();
			double		end;

			for (int k = 0; k < SETS; k++)
			{
				ways[w].write(ids[k], counts[k], nchunks, &written[w][k]);
				sets[k] = &written[w][k];
			}
			end = now();
			write[w] = end - begin < write[w] ? end - begin : write[w];
			begin = end;
			sizes[w] = ways[w].count(sets, nchunks);
			end = now();
			count[w] = end - begin < count[w] ? end - begin : count[w];
			begin = end;
			found[w] = 0;
			for (int i = 0; i < nprobes; i++)
			{
				bool		is = ways[w].has(sets[0], probes[i]);

				if (is != has_ours(&written[0][0], probes[i]))
					abort();
				found[w] += is;
			}
			end = now();
			has[w] = (end - begin) / nprobes < has[w] ? (end - begin) / nprobes : has[w];
		}
	for (int w = 0; w < WAYS; w++)
	{
		size_t		bytes = 0;

		if (sizes[w] != sizes[0] || (w < 2 && found[w] != found[0]))
			abort();
		for (int k = 0; k < SETS; k++)
			bytes += written[w][k].begins[written[w][k].n];
		printf("%10" PRIu32 "  %-9s  %-17s %11zu %11.1f %11.1f %11.3f\n", n, shape, ways[w].name,
			   bytes / SETS, write[w] / SETS, count[w], has[w]);
	}
}

int
main(void)
{
	static const struct
	{
		const char *name;
		unsigned int part;
	}			shapes[] = {{"dense", 500000}, {"medium", 50000}, {"sparse", 1000}, {"clustered", 0}};

	for (int k = 0; k < SETS; k++)
	{
		ids[k] = malloc(sizeof(uint32_t) * MAX_IDS);
		for (int w = 0; w < WAYS; w++)
			written[w][k].bytes = malloc((size_t) (MKTG_CHUNK_MAX + 64) * (MAX_CHUNKS + 1));
	}
	printf("CRoaring %d.%d.%d\n", ROARING_VERSION_MAJOR, ROARING_VERSION_MINOR, ROARING_VERSION_REVISION);
	printf("dense: half of the ids, medium: 5 %%, sparse: 0.1 %%, clustered: runs of 200, a fifth of the ids\n\n");
	printf("%10s  %-9s  %-17s %11s %11s %11s %11s\n", "ids", "members", "", "bytes", "write, us", "5 sets, us", "has, us");
	for (uint32_t n = 1000000; n <= MAX_IDS; n *= 10)
		for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		{
			for (int k = 0; k < SETS; k++)
				fill(k, n, shapes[i].part);
			measure(shapes[i].name, n);
		}
	return 0;
}
