/*-------------------------------------------------------------------------
 *
 * claim.c
 *		Leases messages from the queue.
 *
 * The attempt is counted and committed before any byte leaves.  Campaign
 * status, consent and suppression are read in the statement that leases, so
 * a pause or an unsubscribe committed before it always wins.  A sender's caps
 * are kept in one row that every claim locks, so they hold for any number of
 * workers and over restarts.  A day's limit counts first attempts; a retry is
 * free, for its contact has been counted.
 *
 * What is sent is what RETURNING says was leased, and nothing else.
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

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "campaign/campaign.h"
#include "worker/claim.h"

/* Rows of lane "l" that wait and are due, suspects or others. */
#define WAITING_ROWS	"SELECT o.ctid AS tid, o.contact_id, o.ref, o.due FROM mktg.outbox o" \
	" WHERE o.tenant_id = l.tenant_id AND o.campaign_id = l.campaign_id AND o.lease IS NULL" \
	" AND o.due <= $6 AND (o.deaths > 0) = $9"

/* What a sender may still take, and has taken in this claim. */
typedef struct Allowance
{
	const MktgLane *lane;		/* any lane of the sender */
	int32		used;
	double		tokens;
	int			left;			/* rows, by the rate */
	int			first_left;		/* first attempts, by the day's limit */
	int			first_attempts;
	int			attempts;
} Allowance;

static void read_lane(MktgLane *lane, uint64 row);
static void rotate_equals(MktgClaim *claim, uint32 rotation);
static bool limited(const MktgLane *lane);
static Allowance *find_allowance(Allowance *list, int n, const MktgLane *lane);
static Allowance *lock_allowances(MktgClaim *claim, int *count);
static void load_allowance(Allowance *allowance, MktgClaim *claim);
static void spend_allowances(MktgClaim *claim, Allowance *list, int n);
#ifdef MKTG_PLANT_RECORD_FIRST
static void record_first(const MktgClaim *claim);
#endif

void
mktg_claim_lanes(MktgClaim *claim, uint32 rotation)
{
	static MktgQuery query = MKTG_QUERY(
		"SELECT c.tenant_id, c.campaign_id, c.sender_id, c.template_id, t.version, c.priority, c.channel,"
		"  c.template_data, s.name, s.provider::text, s.from_address, s.from_name, s.reply_to,"
		"  coalesce(s.daily_limit, 0), coalesce(s.rate_per_second, 0), s.max_attempts::integer,"
		"  coalesce(s.on_doubt, CASE WHEN c.type = 'transactional' OR c.channel = 'webhook' THEN 'retry' ELSE 'hold' END) = 'hold',"
		"  ($1 AT TIME ZONE n.time_zone)::date, o.due, u.due, coalesce(u.contact_id, 0)"
		" FROM mktg.campaign c"
		" JOIN mktg.sender s ON s.tenant_id = c.tenant_id AND s.sender_id = c.sender_id AND s.is_active"
		" JOIN mktg.template t ON t.tenant_id = c.tenant_id AND t.template_id = c.template_id"
		" JOIN mktg.tenant n ON n.tenant_id = c.tenant_id"
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

	lane->tenant_id = mktg_int64_at(row, 1);
	lane->campaign_id = mktg_int64_at(row, 2);
	lane->sender_id = mktg_int64_at(row, 3);
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
	lane->daily_limit = mktg_int32_at(row, 14);
	value = mktg_value_at(row, 15, &isnull);
	lane->rate = DatumGetFloat8(value);
	lane->max_attempts = mktg_int32_at(row, 16);
	lane->hold = mktg_bool_at(row, 17);
	lane->today = mktg_int32_at(row, 18);
	lane->due = (TimestampTz) mktg_int64_at(row, 19);
	value = mktg_value_at(row, 20, &isnull);
	lane->after_due = isnull ? DT_NOBEGIN : DatumGetTimestampTz(value);
	lane->after_contact = mktg_int64_at(row, 21);
	lane->room = INT_MAX;
	lane->taken = 0;
}

/* Campaigns of one priority take turns at being first. */
static void
rotate_equals(MktgClaim *claim, uint32 rotation)
{
	MktgLane   *turned = palloc(sizeof(MktgLane) * (claim->nlanes + 1));

	for (int first = 0; first < claim->nlanes;)
	{
		int			n = 1;

		while (first + n < claim->nlanes &&
			   claim->lanes[first + n].priority == claim->lanes[first].priority)
			n++;
		for (int i = 0; i < n; i++)
			turned[first + i] = claim->lanes[first + (i + rotation) % n];
		first += n;
	}
	claim->lanes = turned;
}

static bool
limited(const MktgLane *lane)
{
	return lane->daily_limit > 0 || lane->rate > 0;
}

static Allowance *
find_allowance(Allowance *list, int n, const MktgLane *lane)
{
	for (int i = 0; i < n; i++)
		if (list[i].lane->tenant_id == lane->tenant_id && list[i].lane->sender_id == lane->sender_id)
			return &list[i];
	return NULL;
}

/* Locks the state of every limited sender that has something to take. */
static Allowance *
lock_allowances(MktgClaim *claim, int *count)
{
	Allowance  *list = palloc0(sizeof(Allowance) * (claim->nlanes + 1));

	*count = 0;
	for (int i = 0; i < claim->nlanes; i++)
	{
		MktgLane   *lane = &claim->lanes[i];
		Allowance  *allowance;

		lane->first_room = lane->room;
		if (!limited(lane) || lane->room <= 0)
			continue;
		allowance = find_allowance(list, *count, lane);
		if (allowance == NULL)
		{
			allowance = &list[(*count)++];
			allowance->lane = lane;
			load_allowance(allowance, claim);
		}
		/* lanes of one sender share what is left of it; without a rate each has all */
		lane->room = Min(lane->room, allowance->left);
		if (lane->rate > 0)
			allowance->left -= lane->room;
		lane->first_room = Min(lane->room, allowance->first_left);
		allowance->first_left -= lane->first_room;
	}
	return list;
}

static void
load_allowance(Allowance *allowance, MktgClaim *claim)
{
	static MktgQuery make_query = MKTG_QUERY("INSERT INTO mktg.sender_state (tenant_id, sender_id, day, tokens, tokens_at)"
											 " VALUES ($1, $2, $3, $4, clock_timestamp()) ON CONFLICT DO NOTHING",
											 INT8OID, INT8OID, DATEOID, FLOAT8OID);

	/* tokens run on real time, whatever mktg.clock says; a second's worth may gather */
	static MktgQuery query = MKTG_QUERY("SELECT CASE day WHEN $3 THEN used ELSE 0 END,"
										" least(greatest($4, 1), tokens + $4 * greatest(extract(epoch FROM clock_timestamp() - tokens_at), 0)::float8)"
										" FROM mktg.sender_state WHERE tenant_id = $1 AND sender_id = $2 FOR UPDATE",
										INT8OID, INT8OID, DATEOID, FLOAT8OID);
	const MktgLane *lane = allowance->lane;
	MktgArg		args[] = {
		MKTG_INT64(lane->tenant_id), MKTG_INT64(lane->sender_id),
		MKTG_DATE(lane->today), MKTG_ARG(Float8GetDatum(lane->rate))
	};
	bool		isnull;

	if (mktg_run(&query, args) == 0)
	{
		mktg_run(&make_query, args);
		mktg_run(&query, args);
	}
	allowance->used = mktg_int32_at(0, 1);
	allowance->tokens = DatumGetFloat8(mktg_value_at(0, 2, &isnull));
	allowance->left = INT_MAX;
	allowance->first_left = lane->daily_limit > 0 ? Max(lane->daily_limit - allowance->used, 0) : INT_MAX;
	if (lane->rate > 0)
	{
		allowance->left = (int) Min(floor(allowance->tokens), INT_MAX);
		if (allowance->tokens < 1)
		{
			TimestampTz refilled = claim->now + (int64) ((1 - allowance->tokens) / lane->rate * USECS_PER_SEC);

			if (claim->next_due == 0 || refilled < claim->next_due)
				claim->next_due = refilled;
		}
	}
}

void
mktg_claim_rows(MktgClaim *claim, int worker, int most, bool suspect)
{
	/*
	 * In a lane that is split, rows that have had their first attempt are
	 * looked for apart, so that they need not wait behind those that may not.
	 */
	static MktgQuery query = MKTG_QUERY(
		"WITH c AS MATERIALIZED (SELECT l.lane, l.tenant_id, l.campaign_id, l.channel, l.type, q.tid, q.contact_id, q.ref, q.due"
		/* sorted within, so that no join changes the order of the lanes */
		"   FROM (SELECT u.lane, u.room, u.again, u.after_due, u.after_contact, k.tenant_id, k.campaign_id, k.channel, k.type"
		"     FROM unnest($1, $2, $3, $4, $10, $11) WITH ORDINALITY"
		"       AS u (tenant_id, campaign_id, room, again, after_due, after_contact, lane)"
		"     JOIN mktg.campaign k ON k.tenant_id = u.tenant_id AND k.campaign_id = u.campaign_id AND k.status = 'active'"
		"     ORDER BY u.lane) l"
		"   CROSS JOIN LATERAL (SELECT * FROM (" WAITING_ROWS " AND (o.attempt = 0 OR l.again = 0)"
		"      AND (o.due, o.contact_id) >= (l.after_due, l.after_contact)"
		"     ORDER BY o.due, o.contact_id LIMIT l.room FOR UPDATE SKIP LOCKED) any_row"
		"    UNION ALL SELECT * FROM (" WAITING_ROWS " AND o.attempt > 0"
		"     ORDER BY o.due LIMIT l.again FOR UPDATE SKIP LOCKED) begun_row) q LIMIT $5),"
		" g AS MATERIALIZED (SELECT c.*, m.address, m.variables, p.external_id, p.email, p.phone, p.name, p.language,"
		"    p.country, p.city, p.tier, p.attributes,"
		"    CASE WHEN m.contact_id IS NULL OR m.status <> 'queued' THEN 'gone' ELSE " MKTG_SQL_GATE("m", "c", "p") " END AS reason"
		"   FROM c LEFT JOIN mktg.message m ON m.tenant_id = c.tenant_id AND m.campaign_id = c.campaign_id"
		"     AND m.contact_id = c.contact_id AND m.ref = c.ref"
		"   LEFT JOIN mktg.contact p ON p.tenant_id = c.tenant_id AND p.contact_id = c.contact_id),"
		/* a row changed since our snapshot is locked, but not found here: it waits for another claim */
		" leased AS (UPDATE mktg.outbox o SET lease = $7, worker = $8, attempt = o.attempt + 1"
		"   FROM g WHERE o.ctid = g.tid AND g.reason IS NULL RETURNING g.*, o.attempt),"
		" dropped AS (DELETE FROM mktg.outbox o USING g WHERE o.ctid = g.tid AND g.reason IS NOT NULL RETURNING g.*),"
		" skipped AS (UPDATE mktg.message m SET status = 'skipped', failure_reason = d.reason FROM dropped d"
		"   WHERE d.reason <> 'gone' AND m.tenant_id = d.tenant_id AND m.campaign_id = d.campaign_id"
		"    AND m.contact_id = d.contact_id AND m.ref = d.ref)"
		" SELECT lane::integer, reason, contact_id, ref, 0, NULL, NULL, due, NULL, NULL, NULL,"
		"   NULL, NULL, NULL, NULL, NULL, NULL FROM dropped"
		" UNION ALL SELECT lane::integer, reason, contact_id, ref, attempt::integer, address, variables, due, external_id, email, phone,"
		"   name, language, country, city, tier, attributes FROM leased",
		INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT4OID, TIMESTAMPTZOID, INT8OID, INT2OID, BOOLOID,
		TIMESTAMPTZARRAYOID, INT8ARRAYOID);
	static const Oid lane_types[] = {INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID};
	MktgColumns lanes = MKTG_COLUMNS(lane_types);
	Allowance  *allowances;
	int			limits;
	SPITupleTable *claimed;

	allowances = lock_allowances(claim, &limits);
	for (int i = 0; i < claim->nlanes; i++)
	{
		MktgLane   *lane = &claim->lanes[i];

		lane->room = Max(lane->room, 0);
		lane->split = lane->first_room < Min(lane->room, most);
		mktg_columns_add(&lanes, (MktgArg[])
						 {
							 MKTG_INT64(lane->tenant_id), MKTG_INT64(lane->campaign_id),
							 MKTG_INT64(lane->split ? lane->first_room : lane->room),
							 MKTG_INT64(lane->split ? lane->room - lane->first_room : 0),
							 MKTG_TIME(lane->after_due), MKTG_INT64(lane->after_contact)
						 });
	}
	claim->rows = mktg_call(&query,
							mktg_columns_array(&lanes, 0), mktg_columns_array(&lanes, 1),
							mktg_columns_array(&lanes, 2), mktg_columns_array(&lanes, 3),
							MKTG_INT32(most), MKTG_TIME(claim->now), MKTG_INT64(claim->lease),
							MKTG_ARG(Int16GetDatum(worker)), MKTG_ARG(BoolGetDatum(suspect)),
							mktg_columns_array(&lanes, 4), mktg_columns_array(&lanes, 5));
	for (uint64 i = 0; i < claim->rows; i++)
		claim->lanes[mktg_int32_at(i, MKTG_CLAIMED_LANE) - 1].taken++;
	claimed = SPI_tuptable;
	spend_allowances(claim, allowances, limits);
#ifdef MKTG_PLANT_RECORD_FIRST
	record_first(claim);
#endif
	SPI_tuptable = claimed;
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

static void
spend_allowances(MktgClaim *claim, Allowance *list, int n)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.sender_state SET day = $3, used = $4, tokens = $5, tokens_at = clock_timestamp()"
										" WHERE tenant_id = $1 AND sender_id = $2",
										INT8OID, INT8OID, DATEOID, INT4OID, FLOAT8OID);

	if (n == 0)
		return;
	for (uint64 i = 0; i < claim->rows; i++)
	{
		Allowance  *allowance = find_allowance(list, n, &claim->lanes[mktg_int32_at(i, MKTG_CLAIMED_LANE) - 1]);

		if (allowance == NULL || !mktg_null_at(i, MKTG_CLAIMED_REASON))
			continue;
		allowance->attempts++;
		if (mktg_int32_at(i, MKTG_CLAIMED_ATTEMPT) == 1)
			allowance->first_attempts++;
	}
	for (int i = 0; i < n; i++)
	{
		const MktgLane *lane = list[i].lane;

		if (list[i].attempts > 0)
			mktg_call(&query, MKTG_INT64(lane->tenant_id), MKTG_INT64(lane->sender_id), MKTG_DATE(lane->today),
					  MKTG_INT32(list[i].used + list[i].first_attempts),
					  MKTG_ARG(Float8GetDatum(Max(list[i].tokens - list[i].attempts, 0))));
	}
}
