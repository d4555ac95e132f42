/*-------------------------------------------------------------------------
 *
 * allowance.c
 *		What senders and the pools they share may still take.
 *
 * Both are kept in rows that every claim locks, pools before senders and each
 * in the order of their keys, so that caps hold for any number of workers and
 * over restarts and no two claims wait for each other.
 *
 * A day and a month count first attempts: a retry is free, for its contact has
 * been counted.  A pool counts contacts, each as long as it has been written to
 * within 24 hours.
 *
 * IDENTIFICATION
 *		src/sender/allowance.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"

#include "base/base.h"
#include "sender/sender.h"

static const Oid sender_types[] = {INT8OID, INT8OID, DATEOID, FLOAT8OID};
static const Oid pool_types[] = {INT8OID, INT8OID, TIMESTAMPTZOID};
static const Oid spend_types[] = {INT8OID, INT8OID, DATEOID, INT4OID, FLOAT8OID, INT4OID};
static const Oid contact_types[] = {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID};

static void lock_pools(MktgAllowances *all, TimestampTz now);
static void lock_senders(MktgAllowances *all, TimestampTz now);
static void read_sender(MktgAllowance *allowance, uint64 row, TimestampTz now);

bool
mktg_is_capped(const MktgSenderCaps *caps)
{
	return caps->daily_limit > 0 || caps->rate > 0 || caps->budgeted || caps->pool_id != 0;
}

MktgAllowance *
mktg_allowances_find(const MktgAllowances *all, int64 tenant, int64 sender)
{
	for (int i = 0; i < all->n; i++)
		if (all->list[i].caps.tenant_id == tenant && all->list[i].caps.sender_id == sender)
			return &all->list[i];
	return NULL;
}

MktgAllowance *
mktg_allowances_add(MktgAllowances *all, const MktgSenderCaps *caps)
{
	MktgAllowance *allowance = mktg_allowances_find(all, caps->tenant_id, caps->sender_id);

	if (allowance != NULL)
		return allowance;
	all->list = all->list == NULL ? palloc(sizeof(MktgAllowance)) :
		repalloc(all->list, sizeof(MktgAllowance) * (all->n + 1));
	allowance = &all->list[all->n++];
	memset(allowance, 0, sizeof(*allowance));
	allowance->caps = *caps;
	return allowance;
}

static MktgPool *
find_pool(const MktgAllowances *all, int64 tenant, int64 pool)
{
	for (int i = 0; i < all->npools; i++)
		if (all->pools[i].tenant_id == tenant && all->pools[i].pool_id == pool)
			return &all->pools[i];
	return NULL;
}

void
mktg_allowances_lock(MktgAllowances *all, TimestampTz now)
{
	all->contacts = (MktgColumns) MKTG_COLUMNS(contact_types);
	all->pools = palloc0(sizeof(MktgPool) * (all->n + 1));
	for (int i = 0; i < all->n; i++)
	{
		const MktgSenderCaps *caps = &all->list[i].caps;

		if (caps->pool_id == 0 || find_pool(all, caps->tenant_id, caps->pool_id) != NULL)
			continue;
		all->pools[all->npools].tenant_id = caps->tenant_id;
		all->pools[all->npools++].pool_id = caps->pool_id;
	}
	if (all->npools > 0)
		lock_pools(all, now);
	for (int i = 0; i < all->n; i++)
		all->list[i].pool = find_pool(all, all->list[i].caps.tenant_id, all->list[i].caps.pool_id);
	if (all->n > 0)
		lock_senders(all, now);
}

/* Contacts that were last written to 24 hours ago cease to count. */
static void
lock_pools(MktgAllowances *all, TimestampTz now)
{
	static MktgQuery lock_query = MKTG_QUERY(
		"SELECT FROM mktg.sender_pool p JOIN unnest($1, $2) AS u (tenant_id, pool_id)"
		"  ON p.tenant_id = u.tenant_id AND p.pool_id = u.pool_id ORDER BY p.tenant_id, p.pool_id FOR NO KEY UPDATE OF p",
		INT8ARRAYOID, INT8ARRAYOID);
	static MktgQuery query = MKTG_QUERY(
		"WITH gone AS (DELETE FROM mktg.pool_contact c USING unnest($1, $2, $3) AS u (tenant_id, pool_id, before)"
		"   WHERE c.tenant_id = u.tenant_id AND c.pool_id = u.pool_id AND c.at <= u.before RETURNING c.tenant_id, c.pool_id),"
		" tally AS (SELECT tenant_id, pool_id, count(*)::integer AS n FROM gone GROUP BY 1, 2),"
		" less AS (UPDATE mktg.sender_pool p SET used = greatest(p.used - t.n, 0) FROM tally t"
		"   WHERE p.tenant_id = t.tenant_id AND p.pool_id = t.pool_id)"
		" SELECT p.tenant_id, p.pool_id, greatest(p.used - coalesce(t.n, 0), 0), p.unique_contacts,"
		"   (SELECT min(c.at) FROM mktg.pool_contact c WHERE c.tenant_id = p.tenant_id AND c.pool_id = p.pool_id AND c.at > u.before)"
		"  FROM mktg.sender_pool p JOIN unnest($1, $2, $3) AS u (tenant_id, pool_id, before)"
		"    ON p.tenant_id = u.tenant_id AND p.pool_id = u.pool_id"
		"  LEFT JOIN tally t ON t.tenant_id = p.tenant_id AND t.pool_id = p.pool_id",
		INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID);
	MktgColumns pools = MKTG_COLUMNS(pool_types);
	uint64		count;

	for (int i = 0; i < all->npools; i++)
		mktg_columns_add(&pools, (MktgArg[])
						 {
							 MKTG_INT64(all->pools[i].tenant_id), MKTG_INT64(all->pools[i].pool_id),
							 MKTG_TIME(now - MKTG_POOL_WINDOW)
						 });
	mktg_call(&lock_query, mktg_columns_array(&pools, 0), mktg_columns_array(&pools, 1));
	count = mktg_run_columns(&query, &pools);
	for (uint64 i = 0; i < count; i++)
	{
		MktgPool   *pool = find_pool(all, mktg_int64_at(i, 1), mktg_int64_at(i, 2));

		pool->used = mktg_int32_at(i, 3);
		pool->left = Max(mktg_int32_at(i, 4) - pool->used, 0);
		pool->frees_at = mktg_null_at(i, 5) ? 0 : mktg_int64_at(i, 5) + MKTG_POOL_WINDOW;
	}
}

/* Rows are made where there are none, all of them locked, then read as they are. */
static void
lock_senders(MktgAllowances *all, TimestampTz now)
{
	static MktgQuery make_query = MKTG_QUERY(
		"INSERT INTO mktg.sender_state (tenant_id, sender_id, day, tokens, tokens_at)"
		" SELECT tenant_id, sender_id, day, rate, clock_timestamp() FROM unnest($1, $2, $3, $4) AS u (tenant_id, sender_id, day, rate)"
		" ORDER BY 1, 2 ON CONFLICT DO NOTHING",
		INT8ARRAYOID, INT8ARRAYOID, DATEARRAYOID, FLOAT8ARRAYOID);

	/* tokens run on real time, whatever mktg.clock says; a second's worth may gather */
	static MktgQuery query = MKTG_QUERY(
		"SELECT t.tenant_id, t.sender_id, CASE t.day WHEN u.day THEN t.used ELSE 0 END,"
		"  least(greatest(u.rate, 1), t.tokens + u.rate * greatest(extract(epoch FROM clock_timestamp() - t.tokens_at), 0)::float8),"
		"  (SELECT least(greatest(trunc((s.monthly_budget - CASE t.month WHEN date_trunc('month', u.day)::date THEN t.spent ELSE 0 END)"
		"     / nullif(s.cost_per_message, 0)), 0), 2147483647)::integer FROM mktg.sender s"
		"    WHERE s.tenant_id = t.tenant_id AND s.sender_id = t.sender_id)"
		" FROM mktg.sender_state t JOIN unnest($1, $2, $3, $4) AS u (tenant_id, sender_id, day, rate)"
		"   ON t.tenant_id = u.tenant_id AND t.sender_id = u.sender_id"
		" ORDER BY t.tenant_id, t.sender_id FOR NO KEY UPDATE OF t",
		INT8ARRAYOID, INT8ARRAYOID, DATEARRAYOID, FLOAT8ARRAYOID);
	MktgColumns senders = MKTG_COLUMNS(sender_types);
	uint64		count;

	for (int i = 0; i < all->n; i++)
	{
		const MktgSenderCaps *caps = &all->list[i].caps;

		mktg_columns_add(&senders, (MktgArg[])
						 {
							 MKTG_INT64(caps->tenant_id), MKTG_INT64(caps->sender_id), MKTG_DATE(caps->today),
							 MKTG_ARG(Float8GetDatum(caps->rate))
						 });
	}
	count = mktg_run_columns(&query, &senders);
	if (count < senders.n)
	{
		mktg_run_columns(&make_query, &senders);
		count = mktg_run_columns(&query, &senders);
	}
	for (uint64 i = 0; i < count; i++)
		read_sender(mktg_allowances_find(all, mktg_int64_at(i, 1), mktg_int64_at(i, 2)), i, now);
}

static void
read_sender(MktgAllowance *allowance, uint64 row, TimestampTz now)
{
	const MktgSenderCaps *caps = &allowance->caps;
	bool		isnull;

	allowance->used = mktg_int32_at(row, 3);
	allowance->tokens = DatumGetFloat8(mktg_value_at(row, 4, &isnull));
	allowance->left = PG_INT32_MAX;
	allowance->first_left = caps->daily_limit > 0 ? Max(caps->daily_limit - allowance->used, 0) : PG_INT32_MAX;
	if (caps->budgeted && !mktg_null_at(row, 5))
		allowance->first_left = Min(allowance->first_left, mktg_int32_at(row, 5));
	if (caps->rate <= 0)
		return;
	allowance->left = (int) Min(floor(allowance->tokens), PG_INT32_MAX);
	if (allowance->tokens < 1)
		allowance->refills_at = now + (int64) ((1 - allowance->tokens) / caps->rate * USECS_PER_SEC);
}

void
mktg_allowances_count(MktgAllowances *all, const MktgAllowance *allowance, int64 contact, TimestampTz at)
{
	mktg_columns_add(&all->contacts, (MktgArg[])
					 {
						 MKTG_INT64(allowance->pool->tenant_id), MKTG_INT64(allowance->pool->pool_id),
						 MKTG_INT64(contact), MKTG_TIME(at)
					 });
}

void
mktg_allowances_spend(MktgAllowances *all)
{
	static MktgQuery query = MKTG_QUERY(
		"UPDATE mktg.sender_state t SET day = u.day, used = u.used, tokens = u.tokens, tokens_at = clock_timestamp(),"
		"  month = date_trunc('month', u.day)::date,"
		"  spent = CASE t.month WHEN date_trunc('month', u.day)::date THEN t.spent ELSE 0 END + u.first * coalesce(s.cost_per_message, 0)"
		" FROM unnest($1, $2, $3, $4, $5, $6) AS u (tenant_id, sender_id, day, used, tokens, first)"
		" JOIN mktg.sender s ON s.tenant_id = u.tenant_id AND s.sender_id = u.sender_id"
		" WHERE t.tenant_id = u.tenant_id AND t.sender_id = u.sender_id",
		INT8ARRAYOID, INT8ARRAYOID, DATEARRAYOID, INT4ARRAYOID, FLOAT8ARRAYOID, INT4ARRAYOID);
	static MktgQuery pool_query = MKTG_QUERY(
		"WITH u AS MATERIALIZED (SELECT DISTINCT ON (1, 2, 3) * FROM unnest($1, $2, $3, $4) AS u (tenant_id, pool_id, contact_id, at)),"
		" put AS (INSERT INTO mktg.pool_contact AS c (tenant_id, pool_id, contact_id, at) SELECT * FROM u"
		"   ON CONFLICT (tenant_id, pool_id, contact_id) DO UPDATE SET at = excluded.at"
		"   RETURNING c.tenant_id, c.pool_id, (xmax = 0) AS is_new)"
		" UPDATE mktg.sender_pool p SET used = p.used + t.n"
		"  FROM (SELECT tenant_id, pool_id, count(*)::integer AS n FROM put WHERE is_new GROUP BY 1, 2) t"
		" WHERE p.tenant_id = t.tenant_id AND p.pool_id = t.pool_id",
		INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID);
	MktgColumns spent = MKTG_COLUMNS(spend_types);

	for (int i = 0; i < all->n; i++)
	{
		const MktgAllowance *allowance = &all->list[i];

		if (allowance->attempts == 0)
			continue;
		mktg_columns_add(&spent, (MktgArg[])
						 {
							 MKTG_INT64(allowance->caps.tenant_id), MKTG_INT64(allowance->caps.sender_id),
							 MKTG_DATE(allowance->caps.today), MKTG_INT32(allowance->used + allowance->first_attempts),
							 MKTG_ARG(Float8GetDatum(Max(allowance->tokens - allowance->attempts, 0))),
							 MKTG_INT32(allowance->first_attempts)
						 });
	}
	mktg_run_columns(&query, &spent);
	mktg_run_columns(&pool_query, &all->contacts);
}
