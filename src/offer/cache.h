/*-------------------------------------------------------------------------
 *
 * cache.h
 *		What a backend remembers of offers until somebody changes one.
 *
 * IDENTIFICATION
 *		src/offer/cache.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_OFFER_CACHE_H
#define MKTG_OFFER_CACHE_H

#include "utils/hsearch.h"

#include "offer/offer.h"

/*
 * The memory of what is remembered, emptied if anything has changed since.
 * Whoever keeps something there reads it from the tables as they are committed
 * (MktgQuery.fresh), and copies what it takes out: the memory may be emptied by
 * the next call.
 */
extern MemoryContext mktg_cache_memory(void);

/* Tables in that memory, NULL after it was emptied; each file has its own. */
typedef enum MktgCacheTable
{
	MKTG_CACHE_SERIES,
	MKTG_CACHE_TENANTS,
	MKTG_CACHE_OFFERS,
	MKTG_CACHE_TABLES
} MktgCacheTable;

extern HTAB *mktg_cache_tables[MKTG_CACHE_TABLES];

/* A table of entries that begin with a key of "keysize" bytes, made where it is missing. */
extern HTAB *mktg_cache_table(MktgCacheTable table, Size keysize, Size entrysize);

#endif
