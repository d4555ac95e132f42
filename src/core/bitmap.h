/*-------------------------------------------------------------------------
 *
 * bitmap.h
 *		Sets of ids in chunks of 65,536, as segments keep their members.
 *
 * A chunk in memory is 1,024 words.  Written down it is one byte for the form
 * and then the smallest of: the members as 16-bit numbers, runs of members as
 * pairs (first, further ones), or the words; all little-endian.
 *
 * IDENTIFICATION
 *		src/core/bitmap.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_CORE_BITMAP_H
#define MKTG_CORE_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MKTG_CHUNK_SHIFT	16
#define MKTG_CHUNK_IDS		65536
#define MKTG_CHUNK_WORDS	(MKTG_CHUNK_IDS / 64)
#define MKTG_CHUNK_BYTES	(MKTG_CHUNK_IDS / 8)
#define MKTG_CHUNK_MAX		(MKTG_CHUNK_BYTES + 1)	/* longest written form */

static inline int64_t
mktg_chunk_of(int64_t id)
{
	return id >> MKTG_CHUNK_SHIFT;
}

static inline unsigned int
mktg_chunk_bit(int64_t id)
{
	return (unsigned int) (id & (MKTG_CHUNK_IDS - 1));
}

/* Writes a chunk into "out" of MKTG_CHUNK_MAX bytes; gives the length, 0 for an empty one. */
extern size_t mktg_chunk_encode(const uint64_t *words, uint8_t *out);

/* The same for n ascending, different bits of one chunk. */
extern size_t mktg_chunk_encode_bits(const uint16_t *bits, unsigned int n, uint8_t *out);

/* Sets the members in "words", others stay; false if the bytes are no chunk. */
extern bool mktg_chunk_add(const uint8_t *in, size_t length, uint64_t *words);

/* Is one id a member?  False for bytes that are no chunk. */
extern bool mktg_chunk_has(const uint8_t *in, size_t length, unsigned int bit);

extern unsigned int mktg_words_count(const uint64_t *words, size_t n);

/*
 * A set of ids of any chunks: each chunk's number (8 bytes), its length (4) and
 * its written form, by ascending chunk.
 */

/* Bytes needed at most for n ids. */
extern size_t mktg_set_bound(size_t n);

/* Writes n ascending, different ids; gives the length. */
extern size_t mktg_set_encode(const int64_t *ids, size_t n, uint8_t *out);

/*
 * Calls "visit" for each chunk with its 1,024 words; false if the bytes are no
 * set, or visit said so.
 */
extern bool mktg_set_visit(const uint8_t *in, size_t length,
						   bool (*visit) (void *context, int64_t chunk, const uint64_t *words),
						   void *context);

#endif
