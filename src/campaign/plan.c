/*-------------------------------------------------------------------------
 *
 * plan.c
 *		Lays the days of a campaign over the positions of its recipients.
 *
 * A plan is ranges: on this day positions 251 to 500.  Batches go out in the
 * order of positions, so what has been dispatched is always the beginning and
 * what is left one range at the end; planning anew drops the planned rows and
 * lays that range again.  It costs days, not recipients.
 *
 * Campaigns that share a sender with a daily limit are laid together, the
 * higher priority first and among equals the one activated first.  The lock on
 * the sender's row serialises everything that plans or dispatches.
 *
 * IDENTIFICATION
 *		src/campaign/plan.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "base/base.h"
#include "campaign/campaign.h"

/* What is left of one campaign. */
typedef struct Rest
{
	int64		campaign_id;
	int32		daily_limit;	/* 0: none */
	DateADT		start;			/* not before */
	int32		next;			/* first position left */
	int32		last;			/* last position */
	int32		batch;			/* number of the last batch dispatched */
	int32		used_today;		/* recipients dispatched today */
} Rest;

/* What the days still hold of the sender's limit, by days from today. */
typedef struct Days
{
	int32		limit;			/* 0: none */
	int			nwarmup;
	Datum	   *warmup;			/* limits of the days from warmup_start on */
	int			warmup_start;
	int			count;
	int32	   *left;
} Days;

static const Oid plan_types[] = {INT8OID, INT8OID, DATEOID, INT4OID, INT4OID, INT4OID};

static Rest *load_rests(int64 sender, int64 campaign, DateADT today, int64 tenant, int *count);
static void lay(const Rest *rest, DateADT today, int64 tenant, Days *days, MktgColumns *plan);
static void load_warmup(Days *days, int64 sender, DateADT today, int64 tenant);
static int32 limit_of(const Days *days, int day);
static int32 *day_left(Days *days, int day);
static void store(const Rest *rests, int count, const MktgColumns *plan, int64 tenant);

int32
mktg_lock_sender(int64 sender, int64 tenant)
{
	/* a pool's contacts of 24 hours are planned as a day's; the claim counts them exactly */
	static MktgQuery query = MKTG_QUERY("SELECT coalesce(least(s.daily_limit, (SELECT p.unique_contacts FROM mktg.sender_pool p"
										"   WHERE p.tenant_id = s.tenant_id AND p.pool_id = s.pool_id)),"
										"  CASE WHEN s.warmup IS NOT NULL THEN 2147483647 END)"
										" FROM mktg.sender s WHERE s.tenant_id = $1 AND s.sender_id = $2 FOR NO KEY UPDATE OF s",
										INT8OID, INT8OID);

	return mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(sender)) == 0 ? 0 : mktg_int32_at(0, 1);
}

void
mktg_plan_sender(int64 sender, int32 sender_limit, int64 campaign, DateADT today, int64 tenant)
{
	Days		days = {.limit = sender_limit};
	MktgColumns plan = MKTG_COLUMNS(plan_types);
	Rest	   *rests;
	int			count;

	load_warmup(&days, sender, today, tenant);
	rests = load_rests(sender, sender_limit > 0 ? 0 : campaign, today, tenant, &count);
	for (int i = 0; i < count && sender_limit > 0; i++)
		*day_left(&days, 0) = Max(*day_left(&days, 0) - rests[i].used_today, 0);
	for (int i = 0; i < count; i++)
		lay(&rests[i], today, tenant, &days, &plan);
	store(rests, count, &plan, tenant);
}

/*
 * The sender's running campaigns in the order of their claim to its days.
 * Paused and ended ones only matter for what they dispatched today.
 */
static Rest *
load_rests(int64 sender, int64 campaign, DateADT today, int64 tenant, int *count)
{
	static MktgQuery query = MKTG_QUERY("SELECT c.campaign_id, coalesce(c.daily_send_limit, 0),"
										" greatest(c.start_date, $4), coalesce(d.last_position, 0) + 1,"
										" CASE c.status WHEN 'active' THEN c.last_position ELSE 0 END,"
										" coalesce(d.batch, 0), coalesce(d.used_today, 0)::integer"
										" FROM mktg.campaign c LEFT JOIN LATERAL"
										"  (SELECT max(s.to_position) AS last_position, max(s.batch) AS batch,"
										"          sum(s.batch_size) FILTER (WHERE s.send_date = $4) AS used_today"
										"     FROM mktg.send_schedule s WHERE s.tenant_id = c.tenant_id"
										"      AND s.campaign_id = c.campaign_id AND s.status = 'dispatched') d ON true"
										" WHERE c.tenant_id = $1 AND c.sender_id = $2"
										"  AND ($3 = 0 OR c.campaign_id = $3)"
										"  AND (c.status = 'active' OR d.used_today > 0)"
										" ORDER BY c.priority DESC, c.activated_at, c.campaign_id",
										INT8OID, INT8OID, INT8OID, DATEOID);
	Rest	   *rests;

	*count = (int) mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(sender), MKTG_INT64(campaign),
							 MKTG_DATE(today));
	rests = palloc(sizeof(Rest) * (*count + 1));
	for (int i = 0; i < *count; i++)
	{
		rests[i].campaign_id = mktg_int64_at(i, 1);
		rests[i].daily_limit = mktg_int32_at(i, 2);
		rests[i].start = mktg_int32_at(i, 3);
		rests[i].next = mktg_int32_at(i, 4);
		rests[i].last = mktg_int32_at(i, 5);
		rests[i].batch = mktg_int32_at(i, 6);
		rests[i].used_today = mktg_int32_at(i, 7);
	}
	return rests;
}

/* Lay one campaign over the days that are left to it. */
static void
lay(const Rest *rest, DateADT today, int64 tenant, Days *days, MktgColumns *plan)
{
	int32		position = rest->next;
	int32		batch = rest->batch;

	for (int day = rest->start - today; position <= rest->last; day++)
	{
		int32		size = rest->last - position + 1;

		if (day - (rest->start - today) > MKTG_MAX_PLAN_DAYS)
			ereport(ERROR,
					(errcode(ERRCODE_MKTG_INVALID_LIMIT),
					 errmsg("the plan of campaign " INT64_FORMAT " would take more than %d days",
							rest->campaign_id, MKTG_MAX_PLAN_DAYS),
					 errhint("Raise daily_send_limit or the sender's daily limit.")));
		if (rest->daily_limit > 0)
			size = Min(size, rest->daily_limit - (day == 0 ? rest->used_today : 0));
		if (days->limit > 0)
			size = Min(size, *day_left(days, day));
		if (size <= 0)
			continue;
		mktg_columns_add(plan, (MktgArg[])
						 {
							 MKTG_INT64(tenant), MKTG_INT64(rest->campaign_id), MKTG_DATE(today + day),
							 MKTG_INT32(++batch), MKTG_INT32(position), MKTG_INT32(position + size - 1)
						 });
		if (days->limit > 0)
			*day_left(days, day) -= size;
		position += size;
	}
}

static void
load_warmup(Days *days, int64 sender, DateADT today, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT warmup, warmup_start FROM mktg.sender"
										" WHERE tenant_id = $1 AND sender_id = $2 AND warmup IS NOT NULL",
										INT8OID, INT8OID);
	bool		isnull;

	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(sender)) == 0)
		return;
	days->warmup_start = mktg_int32_at(0, 2) - today;
	deconstruct_array(DatumGetArrayTypePCopy(mktg_value_at(0, 1, &isnull)), INT4OID, sizeof(int32), true, TYPALIGN_INT,
					  &days->warmup, NULL, &days->nwarmup);
}

static int32
limit_of(const Days *days, int day)
{
	int			step = Max(day - days->warmup_start, 0);

	return step < days->nwarmup ? Min(days->limit, DatumGetInt32(days->warmup[step])) : days->limit;
}

static int32 *
day_left(Days *days, int day)
{
	if (day >= days->count)
	{
		int			count = Max(day + 1, days->count * 2 + 64);

		days->left = days->left == NULL ? palloc(count * sizeof(int32)) :
			repalloc(days->left, count * sizeof(int32));
		for (int i = days->count; i < count; i++)
			days->left[i] = limit_of(days, i);
		days->count = count;
	}
	return &days->left[day];
}

static void
store(const Rest *rests, int count, const MktgColumns *plan, int64 tenant)
{
	static MktgQuery drop_query = MKTG_QUERY("DELETE FROM mktg.send_schedule WHERE tenant_id = $1"
											 " AND campaign_id = ANY ($2) AND status = 'planned'",
											 INT8OID, INT8ARRAYOID);
	static MktgQuery add_query = MKTG_QUERY("INSERT INTO mktg.send_schedule (tenant_id, campaign_id, send_date, batch,"
											" from_position, to_position, batch_size, remaining)"
											" SELECT n, c, d, b, f, t, t - f + 1, t - f + 1"
											" FROM unnest($1, $2, $3, $4, $5, $6) AS u (n, c, d, b, f, t)",
											INT8ARRAYOID, INT8ARRAYOID, DATEARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID);
	Datum	   *ids = palloc(sizeof(Datum) * (count + 1));
	int			running = 0;

	/* a paused campaign keeps its rows until it is resumed */
	for (int i = 0; i < count; i++)
		if (rests[i].last > 0)
			ids[running++] = Int64GetDatum(rests[i].campaign_id);
	mktg_call(&drop_query, MKTG_INT64(tenant), MKTG_ARG(mktg_array(ids, NULL, running, INT8OID)));
	mktg_run_columns(&add_query, plan);
}

/*
 * Recipients queued on an earlier day whose sending has not begun are taken
 * back and join the end of their campaign's order, where a daily limit holds:
 * sent now they would come on top of today's batch.
 */
void
mktg_recall_overdue(int64 sender, int64 campaign, DateADT today, int64 tenant)
{
	static MktgQuery query = MKTG_BULK_QUERY(
		"WITH late AS MATERIALIZED (SELECT o.ctid AS queue_tid, m.ctid AS tid, m.campaign_id, m.position, m.send_day"
		"   FROM mktg.campaign c"
		"   JOIN mktg.sender s ON s.tenant_id = c.tenant_id AND s.sender_id = c.sender_id"
		"   JOIN mktg.outbox o ON o.tenant_id = c.tenant_id AND o.campaign_id = c.campaign_id"
		"   JOIN mktg.message m ON m.tenant_id = o.tenant_id AND m.campaign_id = o.campaign_id"
		"    AND m.contact_id = o.contact_id AND m.ref = o.ref"
		"  WHERE c.tenant_id = $1 AND c.sender_id = $2 AND ($4 = 0 OR c.campaign_id = $4) AND c.status = 'active'"
		"    AND (coalesce(c.daily_send_limit, s.daily_limit) IS NOT NULL OR s.warmup IS NOT NULL OR s.pool_id IS NOT NULL)"
		"    AND o.lease IS NULL AND o.attempt = 0"
		"    AND m.position IS NOT NULL AND m.status = 'queued' AND m.send_day < $3"
		"  FOR UPDATE OF o, m SKIP LOCKED),"
		" placed AS (SELECT l.*, c.last_position + row_number() OVER"
		"    (PARTITION BY l.campaign_id ORDER BY l.position) AS new_position"
		"   FROM late l JOIN mktg.campaign c ON c.tenant_id = $1 AND c.campaign_id = l.campaign_id),"
		" moved AS (UPDATE mktg.message m SET status = 'pending', position = p.new_position, send_day = NULL, queued_at = NULL"
		"   FROM placed p WHERE m.ctid = p.tid"
		"   RETURNING m.tenant_id, m.campaign_id, p.position, p.queue_tid),"
		/* only with its message: one changed after our snapshot stays as it is */
		" gone AS (DELETE FROM mktg.outbox o USING moved v WHERE o.ctid = v.queue_tid),"
		/* its old position tells which batch it was of */
		" tally AS (SELECT s.tenant_id, s.campaign_id, s.send_date, s.batch, count(*)::integer AS n"
		"   FROM moved v JOIN mktg.send_schedule s ON s.tenant_id = v.tenant_id AND s.campaign_id = v.campaign_id"
		"    AND v.position BETWEEN s.from_position AND s.to_position AND s.status = 'dispatched' GROUP BY 1, 2, 3, 4),"
		" reduced AS (UPDATE mktg.send_schedule s SET queued = s.queued - t.n, batch_size = s.batch_size - t.n"
		"   FROM tally t WHERE s.tenant_id = t.tenant_id AND s.campaign_id = t.campaign_id"
		"    AND s.send_date = t.send_date AND s.batch = t.batch)"
		" UPDATE mktg.campaign c SET last_position = c.last_position + t.n"
		"   FROM (SELECT tenant_id, campaign_id, count(*)::integer AS n FROM moved GROUP BY 1, 2) t"
		"  WHERE c.tenant_id = t.tenant_id AND c.campaign_id = t.campaign_id",
		INT8OID, INT8OID, DATEOID, INT8OID);

	mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(sender), MKTG_DATE(today), MKTG_INT64(campaign));
}
