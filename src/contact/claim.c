/*-------------------------------------------------------------------------
 *
 * claim.c
 *		Keeps two transactions from making the same contact at once.
 *
 * Several contacts may share an e-mail or a phone, so no unique index on them
 * settles who makes the first one.  Whoever found none claims the keys it
 * looked for, until it ends, and looks again.
 *
 * A claim is a row of mktg.contact_claim, inserted and deleted again in the
 * same transaction.  Nobody ever sees one, but whoever inserts the same key
 * waits at the unique index for the transaction to end.  Locks would do the
 * same, if there were room for those of an import of a million contacts.
 *
 * IDENTIFICATION
 *		src/contact/claim.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/array.h"

#include "base/base.h"
#include "contact/contact.h"

/* Two keys of the same hash wait for each other without need, no more. */
static Datum
key_hash(const MktgContactKey *key)
{
	return Int64GetDatum((int64) hash_bytes_extended((const unsigned char *) key->value,
													 (int) strlen(key->value),
													 (uint64) key->kind));
}

void
mktg_claim_contact_keys(int64 tenant, const MktgContactKey *keys, int nkeys)
{
	/* always in the same order, so that two do not wait for each other */
	static MktgQuery claim =
		MKTG_QUERY("INSERT INTO mktg.contact_claim (tenant_id, key_hash)"
				   " SELECT $1, h FROM unnest($2) AS u (h) ORDER BY h"
				   " ON CONFLICT (tenant_id, key_hash) DO NOTHING",
				   INT8OID, INT8ARRAYOID);
	/* one by one: for a list, the planner may read all dead claims of the tenant */
	static MktgQuery hide =
		MKTG_QUERY("DELETE FROM mktg.contact_claim WHERE tenant_id = $1 AND key_hash = $2",
				   INT8OID, INT8OID);
	Datum		hashes[MKTG_CONTACT_KEYS];
	ArrayType  *array;

	Assert(nkeys <= MKTG_CONTACT_KEYS);
	for (int i = 0; i < nkeys; i++)
		hashes[i] = key_hash(&keys[i]);
	array = construct_array(hashes, nkeys, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
							TYPALIGN_DOUBLE);
	mktg_call(&claim, MKTG_INT64(tenant), MKTG_ARG(PointerGetDatum(array)));
	for (int i = 0; i < nkeys; i++)
		mktg_call(&hide, MKTG_INT64(tenant), MKTG_ARG(hashes[i]));
}
