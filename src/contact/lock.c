/*-------------------------------------------------------------------------
 *
 * lock.c
 *		Keeps two transactions from making the same contact at once.
 *
 * Several contacts may share an e-mail or a phone, so no unique index settles
 * who makes the first one.  Whoever found none locks the keys it looked for,
 * until it commits, and looks again.
 *
 * A transaction that makes thousands of contacts would fill the lock table of
 * the whole server.  Each maker therefore shares a lock on its tenant, and one
 * that holds many key locks tries to have the tenant's lock for itself, which
 * stands for all further keys.  It never waits for it: two such transactions
 * would wait for each other.
 *
 * IDENTIFICATION
 *		src/contact/lock.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"

#include "base/compat.h"
#include "contact/contact.h"

/* The fourth field of the tag; pg_advisory_lock() and its kin use 1 and 2. */
#define LOCK_SPACE	77

/* keys a transaction locks one by one before it tries for the tenant */
#define MAX_KEY_LOCKS	256

static LOCKTAG
key_tag(uint64 key)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key, LOCK_SPACE);
	return tag;
}

static uint64
key_hash(int64 tenant, char kind, const char *value)
{
	uint64		seed = hash_combine64((uint64) tenant, (uint64) kind);

	return hash_bytes_extended((const unsigned char *) value, (int) strlen(value), seed);
}

static int
compare_hashes(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

void
mktg_lock_contact_keys(int64 tenant, const MktgContactKey *keys, int nkeys)
{
	static LocalTransactionId counted_in = InvalidLocalTransactionId;
	static int	held = 0;
	uint64		hashes[MKTG_CONTACT_KEYS];
	LOCKTAG		tag = key_tag(key_hash(tenant, 't', ""));

	Assert(nkeys <= MKTG_CONTACT_KEYS);
	if (counted_in != mktg_transaction_id())
	{
		counted_in = mktg_transaction_id();
		held = 0;
	}

	/* Asking again for a lock that is held costs nothing shared. */
	if (held >= MAX_KEY_LOCKS &&
		LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
		return;
	(void) LockAcquire(&tag, ShareLock, false, false);

	/* always in the same order, so that two do not wait for each other */
	for (int i = 0; i < nkeys; i++)
		hashes[i] = key_hash(tenant, keys[i].kind, keys[i].value);
	qsort(hashes, nkeys, sizeof(uint64), compare_hashes);
	for (int i = 0; i < nkeys; i++)
	{
		tag = key_tag(hashes[i]);
		(void) LockAcquire(&tag, ExclusiveLock, false, false);
		held++;
	}
}
