/*-------------------------------------------------------------------------
 *
 * cache.c
 *		What a backend remembers of offers until somebody changes one.
 *
 * Offers, tenants and forms of codes change by hand, and every checkout asks
 * about them.  Triggers on their tables invalidate the relation mktg.offer, as a
 * change of its columns would: every backend hears of it at its next lock
 * or transaction, at the latest.  Limits do not rest on this; see slot.c.
 *
 * IDENTIFICATION
 *		src/offer/cache.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "offer/cache.h"

/* an end to what one backend keeps, of a tenant with very many codes */
#define MAX_MEMORY	(32 * 1024 * 1024)

HTAB	   *mktg_cache_tables[MKTG_CACHE_TABLES];

static MemoryContext memory = NULL;
static Oid	watched = InvalidOid;	/* mktg.offer; InvalidOid: something has changed */

PG_FUNCTION_INFO_V1(mktg_offer_changed);

static Oid
offer_table(void)
{
	Oid			namespace_oid = get_namespace_oid("mktg", true);

	return OidIsValid(namespace_oid) ? get_relname_relid("offer", namespace_oid) : InvalidOid;
}

/*
 * Trigger on offer, code_series and tenant: AFTER, FOR EACH STATEMENT.
 */
Datum
mktg_offer_changed(PG_FUNCTION_ARGS)
{
	Oid			relation = offer_table();

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("_offer_changed must be fired as a trigger")));
	/* it may be gone while the tables are dropped */
	if (OidIsValid(relation))
		CacheInvalidateRelcacheByRelid(relation);
	return PointerGetDatum(NULL);
}

/* Runs at any time: what was remembered may be in use, and stays until it is asked for again. */
static void
forget(Datum argument, Oid relation)
{
	if (relation == InvalidOid || relation == watched)
		watched = InvalidOid;
}

MemoryContext
mktg_cache_memory(void)
{
	if (memory == NULL)
	{
		memory = AllocSetContextCreate(TopMemoryContext, "mktg offers", ALLOCSET_DEFAULT_SIZES);
		CacheRegisterRelcacheCallback(forget, (Datum) 0);
	}
	AcceptInvalidationMessages();
	if (!OidIsValid(watched) || MemoryContextMemAllocated(memory, true) > MAX_MEMORY)
	{
		memset(mktg_cache_tables, 0, sizeof(mktg_cache_tables));
		MemoryContextReset(memory);
		watched = offer_table();
	}
	return memory;
}

HTAB *
mktg_cache_table(MktgCacheTable table, Size keysize, Size entrysize)
{
	HASHCTL		control = {.keysize = keysize, .entrysize = entrysize, .hcxt = memory};

	if (mktg_cache_tables[table] == NULL)
		mktg_cache_tables[table] = hash_create("mktg offers", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return mktg_cache_tables[table];
}
