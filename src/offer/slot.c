/*-------------------------------------------------------------------------
 *
 * slot.c
 *		Limits and budgets of offers, in shares that checkouts take from.
 *
 * What is left of an offer lies in MKTG_OFFER_SLOTS rows.  A row is changed
 * only by who holds its lock, exclusively and until the transaction ends; so a
 * row's committed version plus what its holder takes is all there is of it.
 *
 *  - A checkout takes from a slot that is free, its session's own first: no two
 *    wait for each other, and none waits for a commit.
 *  - If that one is empty, it adds the fullest free ones and shares out anew
 *    what they have together.  It does not wait while it holds any.
 *  - Only what cannot be decided so, because others have hold of what might be
 *    enough, takes all locks in ascending order, waiting for each while it holds
 *    no other of a higher number.  Then it has all of it before it: no unit is
 *    lost, and none is given twice.
 *  - Who finds nothing left waits for those that may yet give theirs back, by
 *    shared locks, so that refusals do not queue behind one another.
 *
 * Locks are advisory ones of the transaction, so that one that was taken and
 * found useless can be let go, which a row's cannot.  A transaction that
 * redeems several offers may still come to wait for another that does so in
 * the opposite order; the server then ends one of them, as it does for rows.
 *
 * Offers without limit or budget have no rows.  Their locks are taken all the
 * same, shared, for update_promo() to wait for uses that it has to count.
 *
 * IDENTIFICATION
 *		src/offer/slot.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "storage/lock.h"

#include "base/base.h"
#include "offer/offer.h"

/* The fourth field of the tag; pg_advisory_lock() and its kin use 1 and 2. */
#define LOCK_SPACE	79

/* free slots to try before looking at all of them */
#define PROBES		4

typedef struct Slots
{
	int64		uses[MKTG_OFFER_SLOTS];
	int64		budget[MKTG_OFFER_SLOTS];
	int64		all_uses;
	int64		all_budget;
	bool		held[MKTG_OFFER_SLOTS]; /* locked by this call */
} Slots;

static int
own_slot(void)
{
	return MyProcNumber % MKTG_OFFER_SLOTS;
}

static LOCKTAG
slot_tag(int64 tenant, int64 offer, int slot)
{
	LOCKTAG		tag;
	uint64		key = hash_combine64((uint64) tenant, (uint64) offer);

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key ^ (key >> 32)), slot, LOCK_SPACE);
	return tag;
}

static bool
lock_slot(const MktgOffer *offer, int slot, LOCKMODE mode, bool wait)
{
	LOCKTAG		tag = slot_tag(offer->tenant_id, offer->offer_id, slot);

	return LockAcquire(&tag, mode, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/* One that an earlier call took in this transaction stays. */
static void
unlock_slot(const MktgOffer *offer, int slot, LOCKMODE mode)
{
	LOCKTAG		tag = slot_tag(offer->tenant_id, offer->offer_id, slot);

	(void) LockRelease(&tag, mode, false);
}

static void
unlock_held(const MktgOffer *offer, Slots *slots)
{
	for (int i = 0; i < MKTG_OFFER_SLOTS; i++)
		if (slots->held[i])
			unlock_slot(offer, i, ExclusiveLock);
	memset(slots->held, 0, sizeof(slots->held));
}

static bool
is_limited(const MktgOffer *offer)
{
	return offer->usage_limit >= 0 || offer->budget >= 0;
}

/* The limits as they are now; true if they are those that the caller knows. */
static bool
same_limits(MktgOffer *offer)
{
	static MktgQuery query = {
		.sql = "SELECT o.revision, coalesce(o.usage_limit, -1), coalesce(o.budget, -1)"
		"  FROM mktg.offer o WHERE o.tenant_id = $1 AND o.offer_id = $2",
		.fresh = true, .nargs = 2, .argtypes = {INT8OID, INT8OID}
	};
	int64		known = offer->revision;

	if (mktg_call(&query, MKTG_INT64(offer->tenant_id), MKTG_INT64(offer->offer_id)) == 0)
		mktg_refuse_unknown_promo(offer->tenant_id, offer->offer_id);
	offer->revision = mktg_int64_at(0, 1);
	offer->usage_limit = mktg_int64_at(0, 2);
	offer->budget = mktg_int64_at(0, 3);
	return offer->revision == known;
}

/* Takes from one slot, if it has enough. */
static bool
update_slot(const MktgOffer *offer, int slot, int64 uses, int64 budget)
{
	static MktgQuery query = {
		.sql = "UPDATE mktg.offer_slot SET uses_left = uses_left - $5, budget_left = budget_left - $6"
		" WHERE tenant_id = $1 AND offer_id = $2 AND slot = $3 AND revision = $4"
		"  AND coalesce(uses_left >= $5, true) AND coalesce(budget_left >= $6, true)",
		.fresh = true, .nargs = 6, .argtypes = {INT8OID, INT8OID, INT4OID, INT8OID, INT8OID, INT8OID}
	};

	return mktg_call(&query, MKTG_INT64(offer->tenant_id), MKTG_INT64(offer->offer_id), MKTG_INT32(slot),
					 MKTG_INT64(offer->revision), MKTG_INT64(uses), MKTG_INT64(budget)) > 0;
}

/* All slots, as committed or as we have them; false if the limits have changed. */
static bool
read_slots(const MktgOffer *offer, Slots *slots)
{
	static MktgQuery query = {
		.sql = "SELECT slot, coalesce(uses_left, 0), coalesce(budget_left, 0) FROM mktg.offer_slot"
		" WHERE tenant_id = $1 AND offer_id = $2 AND revision = $3",
		.fresh = true, .nargs = 3, .argtypes = {INT8OID, INT8OID, INT8OID}
	};
	uint64		n = mktg_call(&query, MKTG_INT64(offer->tenant_id), MKTG_INT64(offer->offer_id), MKTG_INT64(offer->revision));

	slots->all_uses = 0;
	slots->all_budget = 0;
	for (uint64 i = 0; i < n; i++)
	{
		int			slot = mktg_int32_at(i, 1);

		slots->uses[slot] = mktg_int64_at(i, 2);
		slots->budget[slot] = mktg_int64_at(i, 3);
		slots->all_uses += slots->uses[slot];
		slots->all_budget += slots->budget[slot];
	}
	return n == MKTG_OFFER_SLOTS;
}

static MktgReason
missing(const MktgOffer *offer, int64 has_uses, int64 has_budget, int64 uses, int64 budget)
{
	if (offer->usage_limit >= 0 && has_uses < uses)
		return MKTG_REASON_USAGE_LIMIT;
	if (offer->budget >= 0 && has_budget < budget)
		return MKTG_REASON_BUDGET;
	return MKTG_REASON_OK;
}

/* The n-th of "many" equal shares of an amount. */
static int64
share(int64 amount, int n, int many)
{
	return amount / many + (n < amount % many);
}

/* Shares of what is given, a row for each slot that is held: slot, uses, budget. */
static void
make_shares(const bool *held, int64 uses, int64 budget, MktgColumns *columns)
{
	int			many = 0;
	int			n = 0;

	for (int i = 0; i < MKTG_OFFER_SLOTS; i++)
		many += held[i];
	for (int i = 0; i < MKTG_OFFER_SLOTS; i++)
	{
		int			slot = (own_slot() + i) % MKTG_OFFER_SLOTS;

		if (!held[slot])
			continue;
		mktg_columns_add(columns, (MktgArg[])
						 {
							 MKTG_INT32(slot),
							 uses < 0 ? MKTG_NULL : MKTG_INT64(share(uses, n, many)),
							 budget < 0 ? MKTG_NULL : MKTG_INT64(share(budget, n, many))
						 });
		n++;
	}
}

static const Oid share_types[] = {INT4OID, INT8OID, INT8OID};

static void
write_slots(const MktgOffer *offer, const bool *held, int64 uses, int64 budget)
{
	static MktgQuery query = {
		.sql = "UPDATE mktg.offer_slot s SET uses_left = n.uses, budget_left = n.budget"
		" FROM unnest($3, $4, $5) AS n (slot, uses, budget) WHERE s.tenant_id = $1 AND s.offer_id = $2 AND s.slot = n.slot",
		.fresh = true, .nargs = 5, .argtypes = {INT8OID, INT8OID, INT4ARRAYOID, INT8ARRAYOID, INT8ARRAYOID}
	};
	MktgColumns columns = MKTG_COLUMNS(share_types);

	make_shares(held, uses, budget, &columns);
	mktg_call(&query, MKTG_INT64(offer->tenant_id), MKTG_INT64(offer->offer_id), mktg_columns_array(&columns, 0),
			  mktg_columns_array(&columns, 1), mktg_columns_array(&columns, 2));
}

/* Takes from the slots that are held, if they have enough together; what is left of them is shared anew. */
static MktgReason
take_from_held(const MktgOffer *offer, const Slots *slots, int64 uses, int64 budget)
{
	int64		has_uses = 0;
	int64		has_budget = 0;
	MktgReason	reason;

	for (int i = 0; i < MKTG_OFFER_SLOTS; i++)
	{
		has_uses += slots->held[i] ? slots->uses[i] : 0;
		has_budget += slots->held[i] ? slots->budget[i] : 0;
	}
	reason = missing(offer, has_uses, has_budget, uses, budget);
	if (reason == MKTG_REASON_OK)
		write_slots(offer, slots->held,
					offer->usage_limit < 0 ? -1 : has_uses - uses, offer->budget < 0 ? -1 : has_budget - budget);
	return reason;
}

/* ---- the ways to take, from the cheapest on ---- */

static bool
take_from_one(const MktgOffer *offer, int64 uses, int64 budget)
{
	for (int i = 0; i < PROBES; i++)
	{
		int			slot = (own_slot() + i) % MKTG_OFFER_SLOTS;

		if (!lock_slot(offer, slot, ExclusiveLock, false))
			continue;
		if (update_slot(offer, slot, uses, budget))
			return true;
		unlock_slot(offer, slot, ExclusiveLock);
	}
	return false;
}

/* The slot with the most that was not tried; -1 if there is none with anything. */
static int
fullest(const MktgOffer *offer, const Slots *slots, const bool *tried)
{
	int			best = -1;

	for (int i = 0; i < MKTG_OFFER_SLOTS; i++)
		if (!tried[i] && (slots->uses[i] > 0 || offer->usage_limit < 0) && (slots->budget[i] > 0 || offer->budget < 0) &&
			(best < 0 || slots->uses[i] > slots->uses[best] ||
			 (slots->uses[i] == slots->uses[best] && slots->budget[i] > slots->budget[best])))
			best = i;
	return best;
}

/* The own slot and the fullest others that are free, until they have enough. */
static bool
take_from_some(const MktgOffer *offer, Slots *slots, int64 uses, int64 budget)
{
	bool		tried[MKTG_OFFER_SLOTS] = {0};
	int64		has_uses = 0;
	int64		has_budget = 0;
	int			slot = own_slot();

	do
	{
		tried[slot] = true;
		if (lock_slot(offer, slot, ExclusiveLock, false))
		{
			slots->held[slot] = true;
			has_uses += slots->uses[slot];
			has_budget += slots->budget[slot];
		}
		slot = fullest(offer, slots, tried);
	} while (slot >= 0 && missing(offer, has_uses, has_budget, uses, budget) != MKTG_REASON_OK);

	/* as they are, and not as they were before they were locked */
	if (missing(offer, has_uses, has_budget, uses, budget) == MKTG_REASON_OK && read_slots(offer, slots) &&
		take_from_held(offer, slots, uses, budget) == MKTG_REASON_OK)
		return true;
	unlock_held(offer, slots);
	return false;
}

/* Until what others have hold of is taken or given back. */
static void
wait_for_others(const MktgOffer *offer)
{
	for (int i = 0; i < MKTG_OFFER_SLOTS; i++)
		(void) lock_slot(offer, i, ShareLock, true);
	for (int i = 0; i < MKTG_OFFER_SLOTS; i++)
		unlock_slot(offer, i, ShareLock);
}

/* With everything in hand, and with what reservations that are over give back. */
static MktgReason
take_from_all(MktgOffer *offer, Slots *slots, int64 uses, int64 budget, TimestampTz at, bool *stale)
{
	MktgReason	reason;
	int64		back_uses;
	int64		back_budget;

	for (int i = 0; i < MKTG_OFFER_SLOTS; i++)
		slots->held[i] = lock_slot(offer, i, ExclusiveLock, true);
	*stale = !read_slots(offer, slots);
	if (*stale)
		reason = MKTG_REASON_OK;
	else
	{
		reason = take_from_held(offer, slots, uses, budget);
		if (reason != MKTG_REASON_OK)
		{
			back_uses = mktg_expire_reservations(offer->tenant_id, offer->offer_id, 0, 0, mktg_over_at(at), &back_budget);
			reason = take_from_held(offer, slots, uses - back_uses, budget - back_budget);
		}
	}
	if (*stale || reason != MKTG_REASON_OK)
		unlock_held(offer, slots);
	return reason;
}

/* Without a limit; false if there is one by now. */
static bool
take_unlimited(MktgOffer *offer)
{
	int			slot = own_slot();

	(void) lock_slot(offer, slot, ShareLock, true);
	if (same_limits(offer))
		return true;
	unlock_slot(offer, slot, ShareLock);
	return false;
}

/* Gives back to the own slot, waiting for it; false if the limits have changed. */
static bool
give_back(MktgOffer *offer, int64 uses, int64 budget)
{
	int			slot = own_slot();

	(void) lock_slot(offer, slot, ExclusiveLock, true);
	if (update_slot(offer, slot, uses, budget))
		return true;
	unlock_slot(offer, slot, ExclusiveLock);
	return false;
}

static MktgReason
take_limited(MktgOffer *offer, int64 uses, int64 budget, TimestampTz at, bool *stale)
{
	Slots		slots = {0};
	MktgReason	reason;

	*stale = false;
	if (take_from_one(offer, uses, budget))
		return MKTG_REASON_OK;
	if (uses <= 0 && budget <= 0 && give_back(offer, uses, budget))
		return MKTG_REASON_OK;
	*stale = !read_slots(offer, &slots);
	if (*stale)
		return MKTG_REASON_OK;
	if (missing(offer, slots.all_uses, slots.all_budget, uses, budget) == MKTG_REASON_OK)
	{
		if (take_from_some(offer, &slots, uses, budget))
			return MKTG_REASON_OK;
	}
	else
	{
		wait_for_others(offer);
		*stale = !read_slots(offer, &slots);
		if (*stale)
			return MKTG_REASON_OK;
		reason = missing(offer, slots.all_uses, slots.all_budget, uses, budget);
		if (reason != MKTG_REASON_OK && !mktg_has_overdue(offer->tenant_id, offer->offer_id, mktg_over_at(at)))
			return reason;
	}
	return take_from_all(offer, &slots, uses, budget, at, stale);
}

MktgReason
mktg_take_uses(MktgOffer *offer, int64 uses, int64 budget, TimestampTz at)
{
	MktgReason	reason;
	bool		stale;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (!is_limited(offer))
		{
			if (take_unlimited(offer))
				return MKTG_REASON_OK;
			continue;
		}
		reason = take_limited(offer, uses, budget, at, &stale);
		if (!stale)
			return reason;
		if (same_limits(offer))
			elog(ERROR, "shares of promo " INT64_FORMAT " are not there", offer->offer_id);
	}
}

void
mktg_lock_slots(int64 tenant, int64 offer)
{
	MktgOffer	of = {.tenant_id = tenant, .offer_id = offer};

	for (int i = 0; i < MKTG_OFFER_SLOTS; i++)
		(void) lock_slot(&of, i, ExclusiveLock, true);
}

void
mktg_share_slots(int64 tenant, int64 offer, int64 revision, int64 uses, int64 budget)
{
	static MktgQuery forget = {
		.sql = "DELETE FROM mktg.offer_slot WHERE tenant_id = $1 AND offer_id = $2",
		.fresh = true, .nargs = 2, .argtypes = {INT8OID, INT8OID}
	};
	static MktgQuery insert = MKTG_QUERY("INSERT INTO mktg.offer_slot (tenant_id, offer_id, slot, revision, uses_left, budget_left)"
										 " SELECT $1, $2, n.slot, $3, n.uses, n.budget FROM unnest($4, $5, $6) AS n (slot, uses, budget)",
										 INT8OID, INT8OID, INT8OID, INT4ARRAYOID, INT8ARRAYOID, INT8ARRAYOID);
	MktgColumns columns = MKTG_COLUMNS(share_types);
	bool		all[MKTG_OFFER_SLOTS];

	mktg_call(&forget, MKTG_INT64(tenant), MKTG_INT64(offer));
	if (uses < 0 && budget < 0)
		return;
	memset(all, true, sizeof(all));
	make_shares(all, uses, budget, &columns);
	mktg_call(&insert, MKTG_INT64(tenant), MKTG_INT64(offer), MKTG_INT64(revision), mktg_columns_array(&columns, 0),
			  mktg_columns_array(&columns, 1), mktg_columns_array(&columns, 2));
}
