/*-------------------------------------------------------------------------
 *
 * claim.c
 *		Leases messages from the queue.
 *
 * The attempt is counted and committed before any byte leaves.  Campaign
 * status, consent and suppression are read in the statement that locks the
 * rows, so a pause or an unsubscribe committed before it always wins.  Caps are
 * kept in rows that every claim locks first (sender/allowance.c,
 * sender/frequency.c), so they hold for any number of workers.
 *
 * One statement locks rows and brings what is known of them; what becomes of
 * each is decided here; one statement for each decision carries it out.  What
 * has to wait for an hour or for a contact's sake is put off to the time it can
 * go, so that it stands in nobody's way.
 *
 * Rows are taken lane by lane, a lane being a running campaign: those of a
 * paused campaign cost nothing, however many wait.
 *
 * IDENTIFICATION
 *		src/worker/claim.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"

#include "base/base.h"
#include "base/zone.h"
#include "campaign/campaign.h"
#include "worker/claim.h"

/* Rows of lane "l" that wait and are due, suspects or others. */
#define WAITING_ROWS	"SELECT o.ctid AS tid, o.contact_id, o.ref, o.due, o.attempt FROM mktg.outbox o" \
	" WHERE o.tenant_id = l.tenant_id AND o.campaign_id = l.campaign_id AND o.lease IS NULL" \
	" AND o.due <= $6 AND (o.deaths > 0) = $7 AND " MKTG_SQL_ITS_TURN("l.type", "o")

/* What is to become of the rows looked at. */
typedef struct Decisions
{
	MktgColumns dropped;		/* tid, reason */
	MktgColumns deferred;		/* tid, time */
	Datum	   *leased;			/* tids */
	int			ntouches;
	MktgTouch  *touches;		/* of the frequency caps */
	uint64	   *touch_rows;
} Decisions;

/* A contact that a message is on its way to. */
typedef struct ContactKey
{
	int64		tenant_id;
	int64		contact_id;
} ContactKey;

static void read_lane(MktgLane *lane, uint64 row);
static void rotate_equals(MktgClaim *claim, uint32 rotation);
static void look_at_rows(MktgClaim *claim, int most, bool suspect);
static void lock_caps(MktgClaim *claim, MktgAllowances *allowances);
static void limit_lane(MktgClaim *claim, MktgLane *lane, MktgAllowance *allowance);
static void decide(MktgClaim *claim, MktgAllowances *allowances, Decisions *decisions);
static void ask_frequency(MktgClaim *claim, Decisions *decisions, bool *settled);
static void lease(MktgClaim *claim, MktgAllowances *allowances, Decisions *decisions, const bool *settled);
static void carry_out(const MktgClaim *claim, int worker, const Decisions *decisions);
#ifdef MKTG_PLANT_RECORD_FIRST
static void record_first(const MktgClaim *claim);
#endif

void
mktg_claim_lanes(MktgClaim *claim, uint32 rotation)
{
	static MktgQuery query = MKTG_QUERY(
		"SELECT c.tenant_id, c.campaign_id, c.sender_id, c.template_id, t.version, c.priority, c.channel,"
		"  c.template_data, s.name, s.provider::text, s.from_address, s.from_name, s.reply_to,"
		"  coalesce(" MKTG_SQL_DAY_LIMIT("s", "n.today") ", 0), coalesce(s.rate_per_second, 0), s.max_attempts::integer,"
		"  " MKTG_SQL_ON_DOUBT("c", "s") " = 'hold',"
		"  n.today, o.due, u.due, coalesce(u.contact_id, 0), c.type, s.fallback::text, a.resting_until,"
		"  s.monthly_budget IS NOT NULL, coalesce(s.pool_id, 0), n.time_zone, s.quiet_from, s.quiet_until,"
		"  " MKTG_SQL_WEEKDAYS("s") ","
		"  " MKTG_SQL_COUNTED("c") " AND EXISTS (SELECT FROM mktg.frequency_cap f WHERE f.tenant_id = c.tenant_id"
		"   AND " MKTG_SQL_CAP_MEANS("f", "c") ")"
		" FROM mktg.campaign c"
		" JOIN mktg.sender s ON s.tenant_id = c.tenant_id AND s.sender_id = c.sender_id AND s.is_active"
		" LEFT JOIN mktg.template t ON t.tenant_id = c.tenant_id AND t.template_id = c.template_id"
		" JOIN LATERAL (SELECT n.time_zone, ($1 AT TIME ZONE n.time_zone)::date AS today FROM mktg.tenant n"
		"   WHERE n.tenant_id = c.tenant_id) n ON true"
		" LEFT JOIN mktg.sender_state a ON a.tenant_id = s.tenant_id AND a.sender_id = s.sender_id"
		" LEFT JOIN unnest($2, $3, $4, $5) AS u (tenant_id, campaign_id, due, contact_id)"
		"   ON u.tenant_id = c.tenant_id AND u.campaign_id = c.campaign_id"
		" CROSS JOIN LATERAL (SELECT o.due FROM mktg.outbox o WHERE o.tenant_id = c.tenant_id"
		"   AND o.campaign_id = c.campaign_id AND o.lease IS NULL"
		"   AND (o.due, o.contact_id) >= (coalesce(u.due, '-infinity'), coalesce(u.contact_id, 0))"
		"   ORDER BY o.due, o.contact_id LIMIT 1) o"
		" WHERE c.status = 'active' ORDER BY c.priority DESC, c.tenant_id, c.campaign_id",
		TIMESTAMPTZOID, INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID);
	static const Oid cursor_types[] = {INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID};
	MktgColumns cursors = MKTG_COLUMNS(cursor_types);
	uint64		count;

	for (int i = 0; i < claim->ncursors; i++)
		mktg_columns_add(&cursors, (MktgArg[])
						 {
							 MKTG_INT64(claim->cursors[i].tenant_id), MKTG_INT64(claim->cursors[i].campaign_id),
							 MKTG_TIME(claim->cursors[i].due), MKTG_INT64(claim->cursors[i].contact_id)
						 });
	claim->now = mktg_now();
	claim->next_due = 0;
	claim->rows = 0;
	count = mktg_call(&query, MKTG_TIME(claim->now),
					  mktg_columns_array(&cursors, 0), mktg_columns_array(&cursors, 1),
					  mktg_columns_array(&cursors, 2), mktg_columns_array(&cursors, 3));
	claim->lanes = palloc(sizeof(MktgLane) * (count + 1));
	claim->nlanes = 0;
	for (uint64 i = 0; i < count; i++)
	{
		MktgLane   *lane = &claim->lanes[claim->nlanes];

		read_lane(lane, i);
		if (lane->due <= claim->now)
			claim->nlanes++;
		else if (claim->next_due == 0 || lane->due < claim->next_due)
			claim->next_due = lane->due;
	}
	rotate_equals(claim, rotation);
}

void
mktg_claim_lanes_again(MktgClaim *claim, uint32 rotation)
{
	claim->now = mktg_now();
	claim->rows = claim->handled = 0;
	for (int i = 0; i < claim->nlanes; i++)
	{
		MktgLane   *lane = &claim->lanes[i];

		lane->room = INT_MAX;
		lane->found = 0;
		lane->left = false;
		for (int j = 0; j < claim->ncursors; j++)
			if (claim->cursors[j].tenant_id == lane->tenant_id && claim->cursors[j].campaign_id == lane->campaign_id)
			{
				lane->after_due = claim->cursors[j].due;
				lane->after_contact = claim->cursors[j].contact_id;
			}
	}
	rotate_equals(claim, rotation);
}

bool
mktg_claim_suspects_wait(const MktgClaim *claim)
{
	/* OFFSET keeps the join out: only the index of suspects serves the inner part */
	static MktgQuery query = MKTG_QUERY(
		"SELECT FROM (SELECT tenant_id, campaign_id FROM mktg.outbox"
		"   WHERE lease IS NULL AND deaths > 0 AND due <= $3 OFFSET 0) o"
		" JOIN unnest($1, $2) AS l (tenant_id, campaign_id)"
		"  ON o.tenant_id = l.tenant_id AND o.campaign_id = l.campaign_id LIMIT 1",
		INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID);
	static const Oid lane_types[] = {INT8OID, INT8OID};
	MktgColumns lanes = MKTG_COLUMNS(lane_types);

	for (int i = 0; i < claim->nlanes; i++)
		if (claim->lanes[i].room > 0)
			mktg_columns_add(&lanes, (MktgArg[])
							 {
								 MKTG_INT64(claim->lanes[i].tenant_id), MKTG_INT64(claim->lanes[i].campaign_id)
							 });
	return lanes.n > 0 && mktg_call(&query, mktg_columns_array(&lanes, 0), mktg_columns_array(&lanes, 1),
									MKTG_TIME(claim->now)) > 0;
}

static void
read_lane(MktgLane *lane, uint64 row)
{
	bool		isnull;
	Datum		value;

	memset(lane, 0, sizeof(*lane));
	lane->tenant_id = lane->caps.tenant_id = mktg_int64_at(row, 1);
	lane->campaign_id = mktg_int64_at(row, 2);
	lane->sender_id = lane->caps.sender_id = mktg_int64_at(row, 3);
	lane->template_id = mktg_int64_at(row, 4);
	lane->template_version = mktg_int32_at(row, 5);
	lane->priority = mktg_int32_at(row, 6);
	lane->channel = mktg_text_at(row, 7);
	lane->template_data = DatumGetJsonbPCopy(mktg_value_at(row, 8, &isnull));
	lane->sender = mktg_text_at(row, 9);
	lane->provider = mktg_text_at(row, 10);
	lane->from_address = mktg_text_at(row, 11);
	lane->from_name = mktg_text_at(row, 12);
	lane->reply_to = mktg_text_at(row, 13);
	lane->caps.daily_limit = mktg_int32_at(row, 14);
	lane->caps.rate = DatumGetFloat8(mktg_value_at(row, 15, &isnull));
	lane->max_attempts = mktg_int32_at(row, 16);
	lane->hold = mktg_bool_at(row, 17);
	lane->caps.today = mktg_int32_at(row, 18);
	lane->due = (TimestampTz) mktg_int64_at(row, 19);
	value = mktg_value_at(row, 20, &isnull);
	lane->after_due = isnull ? DT_NOBEGIN : DatumGetTimestampTz(value);
	lane->after_contact = mktg_int64_at(row, 21);
	lane->type = mktg_text_at(row, 22);
	lane->fallback = mktg_text_at(row, 23);
	lane->resting_until = (TimestampTz) mktg_int64_at(row, 24);
	lane->caps.budgeted = mktg_bool_at(row, 25);
	lane->caps.pool_id = mktg_int64_at(row, 26);
	lane->zone = mktg_find_zone(mktg_text_at(row, 27));
	lane->hours.weekdays = MKTG_EVERY_WEEKDAY;
	if (strcmp(lane->type, "transactional") != 0)
		lane->hours = mktg_hours_at(row, 28);
	lane->frequency_caps = mktg_bool_at(row, 31);
	lane->room = INT_MAX;
}

/* Campaigns of one priority take turns at being first. */
static void
rotate_equals(MktgClaim *claim, uint32 rotation)
{
	MktgLane   *turned = palloc(sizeof(MktgLane) * (claim->nlanes + 1));
	MktgLane   *lanes = claim->lanes;

	for (int first = 0; first < claim->nlanes;)
	{
		int			n = 1;

		while (first + n < claim->nlanes &&
			   claim->lanes[first + n].priority == claim->lanes[first].priority)
			n++;
		for (int i = 0; i < n; i++)
			turned[first + i] = lanes[first + (i + rotation) % n];
		first += n;
	}
	claim->lanes = turned;
	pfree(lanes);
}

/* ---- caps ---- */

/* Locks whatever limits a lane that has something to take. */
static void
lock_caps(MktgClaim *claim, MktgAllowances *allowances)
{
	int64	   *tenants = palloc(sizeof(int64) * (claim->nlanes + 1));
	int			ntenants = 0;

	for (int i = 0; i < claim->nlanes; i++)
	{
		MktgLane   *lane = &claim->lanes[i];

		lane->room = Max(lane->room, 0);
		if (lane->room == 0)
			continue;
		if (mktg_is_capped(&lane->caps))
			(void) mktg_allowances_add(allowances, &lane->caps);
		if (lane->frequency_caps)
			tenants[ntenants++] = lane->tenant_id;
	}
	mktg_frequency_lock(tenants, ntenants);
	mktg_allowances_lock(allowances, claim->now);
	for (int i = 0; i < claim->nlanes; i++)
	{
		MktgLane   *lane = &claim->lanes[i];
		MktgAllowance *allowance = mktg_allowances_find(allowances, lane->tenant_id, lane->sender_id);

		lane->first_room = lane->room;
		if (allowance != NULL && lane->room > 0)
			limit_lane(claim, lane, allowance);
	}
}

static void
come_back_at(MktgClaim *claim, TimestampTz at)
{
	if (at != 0 && (claim->next_due == 0 || at < claim->next_due))
		claim->next_due = at;
}

/* Lanes of one sender share what is left of it; without a rate each has all. */
static void
limit_lane(MktgClaim *claim, MktgLane *lane, MktgAllowance *allowance)
{
	lane->room = Min(lane->room, allowance->left);
	if (lane->caps.rate > 0)
		allowance->left -= lane->room;
	lane->first_room = Min(lane->room, allowance->first_left);
	allowance->first_left -= lane->first_room;
	come_back_at(claim, allowance->refills_at);
	if (allowance->pool != NULL && allowance->pool->left == 0)
		come_back_at(claim, allowance->pool->frees_at);
}

/* ---- rows ---- */

void
mktg_claim_rows(MktgClaim *claim, int worker, int most, bool suspect)
{
	MktgAllowances allowances = {0};
	Decisions	decisions = {0};
	SPITupleTable *rows;

	lock_caps(claim, &allowances);
	look_at_rows(claim, most, suspect);
	rows = SPI_tuptable;
	decide(claim, &allowances, &decisions);
	carry_out(claim, worker, &decisions);
	mktg_allowances_spend(&allowances);
#ifdef MKTG_PLANT_RECORD_FIRST
	record_first(claim);
#endif
	SPI_tuptable = rows;
}

static void
look_at_rows(MktgClaim *claim, int most, bool suspect)
{
	/*
	 * In a lane that is split, rows that have had their first attempt are
	 * looked for apart, so that they need not wait behind those that may not.
	 */
	static MktgQuery query = MKTG_QUERY(
		"WITH c AS MATERIALIZED (SELECT l.lane, l.tenant_id, l.campaign_id, l.pool_id, l.channel, l.type, l.expires_at, l.max_age,"
		"    q.tid, q.contact_id, q.ref, q.due, q.attempt"
		/* sorted within, so that no join changes the order of the lanes */
		"   FROM (SELECT u.lane, u.room, u.again, u.after_due, u.after_contact, u.pool_id, k.tenant_id, k.campaign_id,"
		"      k.channel, k.type, k.expires_at, k.max_age"
		"     FROM unnest($1, $2, $3, $4, $8, $9, $10) WITH ORDINALITY"
		"       AS u (tenant_id, campaign_id, room, again, after_due, after_contact, pool_id, lane)"
		"     JOIN mktg.campaign k ON k.tenant_id = u.tenant_id AND k.campaign_id = u.campaign_id AND k.status = 'active'"
		"     ORDER BY u.lane) l"
		"   CROSS JOIN LATERAL (SELECT * FROM (" WAITING_ROWS " AND (o.attempt = 0 OR l.again = 0)"
		"      AND (o.due, o.contact_id) >= (l.after_due, l.after_contact)"
		"     ORDER BY o.due, o.contact_id LIMIT l.room FOR UPDATE SKIP LOCKED) any_row"
		"    UNION ALL SELECT * FROM (" WAITING_ROWS " AND o.attempt > 0"
		"     ORDER BY o.due LIMIT l.again FOR UPDATE SKIP LOCKED) begun_row) q LIMIT $5)"
		" SELECT c.lane::integer, c.tid,"
		"   CASE WHEN m.contact_id IS NULL OR m.status <> 'queued' THEN 'gone'"
		"    WHEN c.expires_at <= $6 OR m.queued_at + c.max_age <= $6 THEN 'expired' ELSE " MKTG_SQL_GATE("m", "c", "p") " END,"
		"   c.pool_id <> 0 AND EXISTS (SELECT FROM mktg.pool_contact x WHERE x.tenant_id = c.tenant_id"
		"    AND x.pool_id = c.pool_id AND x.contact_id = c.contact_id),"
		"   c.contact_id, c.ref, c.attempt + 1, m.address, m.variables, c.due, p.external_id, p.email, p.phone, p.name,"
		"   p.language, p.country, p.city, p.tier, p.region, to_char(p.birth_date, 'YYYY-MM-DD'), p.gender, p.time_zone, p.attributes"
		"  FROM c LEFT JOIN mktg.message m ON m.tenant_id = c.tenant_id AND m.campaign_id = c.campaign_id"
		"    AND m.contact_id = c.contact_id AND m.ref = c.ref"
		"  LEFT JOIN mktg.contact p ON p.tenant_id = c.tenant_id AND p.contact_id = c.contact_id",
		INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT4OID, TIMESTAMPTZOID, BOOLOID,
		TIMESTAMPTZARRAYOID, INT8ARRAYOID, INT8ARRAYOID);
	static const Oid lane_types[] = {INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID};
	MktgColumns lanes = MKTG_COLUMNS(lane_types);

	for (int i = 0; i < claim->nlanes; i++)
	{
		MktgLane   *lane = &claim->lanes[i];

		lane->split = lane->first_room < Min(lane->room, most);
		mktg_columns_add(&lanes, (MktgArg[])
						 {
							 MKTG_INT64(lane->tenant_id), MKTG_INT64(lane->campaign_id),
							 MKTG_INT64(lane->split ? lane->first_room : lane->room),
							 MKTG_INT64(lane->split ? lane->room - lane->first_room : 0),
							 MKTG_TIME(lane->after_due), MKTG_INT64(lane->after_contact), MKTG_INT64(lane->caps.pool_id)
						 });
	}
	claim->rows = mktg_call(&query,
							mktg_columns_array(&lanes, 0), mktg_columns_array(&lanes, 1),
							mktg_columns_array(&lanes, 2), mktg_columns_array(&lanes, 3),
							MKTG_INT32(most), MKTG_TIME(claim->now), MKTG_ARG(BoolGetDatum(suspect)),
							mktg_columns_array(&lanes, 4), mktg_columns_array(&lanes, 5), mktg_columns_array(&lanes, 6));
}

static MktgLane *
lane_of(const MktgClaim *claim, uint64 row)
{
	return &claim->lanes[mktg_int32_at(row, MKTG_CLAIMED_LANE) - 1];
}

static MktgArg
tid_of(uint64 row)
{
	bool		isnull;

	return MKTG_ARG(mktg_value_at(row, MKTG_CLAIMED_TID, &isnull));
}

static bool
is_first_attempt(uint64 row)
{
	return mktg_int32_at(row, MKTG_CLAIMED_ATTEMPT) == 1;
}

static void
drop(Decisions *decisions, uint64 row, const char *reason)
{
	mktg_columns_add(&decisions->dropped, (MktgArg[]) {tid_of(row), MKTG_TEXT(reason)});
}

static void
defer(Decisions *decisions, uint64 row, TimestampTz until)
{
	mktg_columns_add(&decisions->deferred, (MktgArg[]) {tid_of(row), MKTG_TIME(until)});
}

/* The rows are in SPI_tuptable, and the order of the questions is that of mktg.why(). */
static void
decide(MktgClaim *claim, MktgAllowances *allowances, Decisions *decisions)
{
	static const Oid dropped_types[] = {TIDOID, TEXTOID};
	static const Oid deferred_types[] = {TIDOID, TIMESTAMPTZOID};
	SPITupleTable *rows = SPI_tuptable;
	bool	   *settled = palloc0(claim->rows + 1);

	decisions->dropped = (MktgColumns) MKTG_COLUMNS(dropped_types);
	decisions->deferred = (MktgColumns) MKTG_COLUMNS(deferred_types);
	decisions->leased = palloc(sizeof(Datum) * (claim->rows + 1));
	decisions->touches = palloc0(sizeof(MktgTouch) * (claim->rows + 1));
	decisions->touch_rows = palloc(sizeof(uint64) * (claim->rows + 1));
	claim->leased = palloc(sizeof(uint64) * (claim->rows + 1));
	claim->nleased = 0;
	for (uint64 i = 0; i < claim->rows; i++)
	{
		MktgLane   *lane = lane_of(claim, i);
		TimestampTz allowed = claim->now;

		lane->found++;
		if (!mktg_any_time(&lane->hours))
			allowed = mktg_next_allowed(claim->now, &lane->hours,
										mktg_zone_or(mktg_text_at(i, MKTG_CLAIMED_TIME_ZONE), lane->zone));
		settled[i] = true;
		if (!mktg_null_at(i, MKTG_CLAIMED_REASON))
			drop(decisions, i, mktg_text_at(i, MKTG_CLAIMED_REASON));
		else if (allowed > claim->now)
			defer(decisions, i, allowed);
		else
			settled[i] = false;
	}
	ask_frequency(claim, decisions, settled);
	SPI_tuptable = rows;
	lease(claim, allowances, decisions, settled);
	claim->handled = claim->nleased + decisions->dropped.n + decisions->deferred.n;
}

/*
 * Holds first attempts against the frequency caps.  Of several to one contact
 * only the first is asked about; the others are left for the next claim, which
 * sees it.
 */
static void
ask_frequency(MktgClaim *claim, Decisions *decisions, bool *settled)
{
	HASHCTL		control = {.keysize = sizeof(ContactKey), .entrysize = sizeof(ContactKey), .hcxt = CurrentMemoryContext};
	HTAB	   *seen = NULL;
	SPITupleTable *rows = SPI_tuptable;

	for (uint64 i = 0; i < claim->rows; i++)
	{
		MktgLane   *lane = lane_of(claim, i);
		ContactKey	key = {lane->tenant_id, mktg_int64_at(i, MKTG_CLAIMED_CONTACT)};
		bool		found;

		if (settled[i] || !lane->frequency_caps || !is_first_attempt(i))
			continue;
		if (seen == NULL)
			seen = hash_create("mktg contacts of a claim", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		(void) hash_search(seen, &key, HASH_ENTER, &found);
		if (found)
		{
			settled[i] = lane->left = true;
			continue;
		}
		decisions->touch_rows[decisions->ntouches] = i;
		decisions->touches[decisions->ntouches++] = (MktgTouch)
		{
			.tenant_id = lane->tenant_id, .campaign_id = lane->campaign_id, .contact_id = key.contact_id,
				.ref = mktg_text_at(i, MKTG_CLAIMED_REF), .channel = lane->channel, .type = lane->type
		};
	}
	if (decisions->ntouches == 0)
		return;
	mktg_frequency_ask(decisions->touches, decisions->ntouches, claim->now);
	SPI_tuptable = rows;
	for (int i = 0; i < decisions->ntouches; i++)
	{
		const MktgTouch *touch = &decisions->touches[i];
		uint64		row = decisions->touch_rows[i];

		settled[row] = touch->over;
		if (touch->over && touch->skip)
			drop(decisions, row, psprintf("frequency cap %s", touch->cap));
		else if (touch->over)
			defer(decisions, row, touch->until);
	}
}

/* Takes what is left within the pools. */
static void
lease(MktgClaim *claim, MktgAllowances *allowances, Decisions *decisions, const bool *settled)
{
	int			touch = 0;
	int			kept = 0;

	for (uint64 i = 0; i < claim->rows; i++)
	{
		MktgLane   *lane = lane_of(claim, i);
		MktgAllowance *allowance = mktg_allowances_find(allowances, lane->tenant_id, lane->sender_id);
		MktgPool   *pool = allowance == NULL ? NULL : allowance->pool;
		bool		touches = touch < decisions->ntouches && decisions->touch_rows[touch] == i;
		int			this_touch = touch;

		touch += touches ? 1 : 0;
		if (settled[i])
			continue;
		if (pool != NULL)
		{
			if (!mktg_bool_at(i, MKTG_CLAIMED_IN_POOL) && pool->left-- <= 0)
			{
				pool->left = 0;
				lane->left = true;
				come_back_at(claim, pool->frees_at);
				continue;
			}
			mktg_allowances_count(allowances, allowance, mktg_int64_at(i, MKTG_CLAIMED_CONTACT), claim->now);
		}
		if (allowance != NULL)
		{
			allowance->attempts++;
			allowance->first_attempts += is_first_attempt(i) ? 1 : 0;
		}
		if (touches)
			decisions->touches[kept++] = decisions->touches[this_touch];
		decisions->leased[claim->nleased] = tid_of(i).value;
		claim->leased[claim->nleased++] = i;
	}
	decisions->ntouches = kept;
}

static void
carry_out(const MktgClaim *claim, int worker, const Decisions *decisions)
{
	static MktgQuery lease_query = MKTG_QUERY("UPDATE mktg.outbox SET lease = $2, worker = $3, attempt = attempt + 1"
											  " WHERE ctid = ANY ($1)", TIDARRAYOID, INT8OID, INT2OID);
	static MktgQuery drop_query = MKTG_QUERY(
		"WITH gone AS (DELETE FROM mktg.outbox o USING unnest($1, $2) AS d (tid, reason) WHERE o.ctid = d.tid"
		"   RETURNING o.tenant_id, o.campaign_id, o.contact_id, o.ref, d.reason)"
		" UPDATE mktg.message m SET status = 'skipped', failure_reason = g.reason FROM gone g"
		"  WHERE g.reason <> 'gone' AND m.tenant_id = g.tenant_id AND m.campaign_id = g.campaign_id"
		"   AND m.contact_id = g.contact_id AND m.ref = g.ref",
		TIDARRAYOID, TEXTARRAYOID);
	static MktgQuery defer_query = MKTG_QUERY("UPDATE mktg.outbox o SET due = d.due FROM unnest($1, $2) AS d (tid, due)"
											  " WHERE o.ctid = d.tid", TIDARRAYOID, TIMESTAMPTZARRAYOID);

	if (claim->nleased > 0 &&
		mktg_call(&lease_query, MKTG_ARG(mktg_array(decisions->leased, NULL, claim->nleased, TIDOID)),
				  MKTG_INT64(claim->lease), MKTG_ARG(Int16GetDatum(worker))) != claim->nleased)
		elog(ERROR, "rows of the queue that were locked could not be leased");
	mktg_run_columns(&drop_query, &decisions->dropped);
	mktg_run_columns(&defer_query, &decisions->deferred);
	if (decisions->ntouches > 0)
		mktg_frequency_record(decisions->touches, decisions->ntouches, claim->now);
}

#ifdef MKTG_PLANT_RECORD_FIRST
/*
 * A PLANTED BUG, never in what ships: messages are recorded as sent before
 * they leave, so that a crash loses them.  test/t/003_kill.pl builds this to
 * see that it would notice.
 */
static void
record_first(const MktgClaim *claim)
{
	static MktgQuery query = MKTG_QUERY(
		"WITH gone AS (DELETE FROM mktg.outbox WHERE lease = $1 RETURNING *)"
		" UPDATE mktg.message m SET status = 'sent', sent_at = $2, attempts = g.attempt FROM gone g"
		"  WHERE m.tenant_id = g.tenant_id AND m.campaign_id = g.campaign_id"
		"   AND m.contact_id = g.contact_id AND m.ref = g.ref", INT8OID, TIMESTAMPTZOID);

	mktg_call(&query, MKTG_INT64(claim->lease), MKTG_TIME(claim->now));
}
#endif
