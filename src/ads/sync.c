/*-------------------------------------------------------------------------
 *
 * sync.c
 *		Keeps an audience at an advertiser in step with a segment.
 *
 * A sync is a campaign of channel ads; an addition or removal is a message of
 * it.  It has a segment of its own, by rules: members of the segment asked for
 * who have agreed, are active and have an address.  So whoever unsubscribes or
 * is deleted leaves it as they would leave any segment, and what its history
 * says is what has to be uploaded.
 *
 * A feed takes rows out of that history, so none is read twice and none is
 * missed, in whatever order their transactions commit.  A row only says whose
 * state to look at: what is done follows from the members as they are, seen by
 * the same snapshot, and from the contact's last upload.
 *
 * Removals carry the identifiers that were uploaded, not the present ones: the
 * contact may have changed them, or be gone.
 *
 * IDENTIFICATION
 *		src/ads/sync.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "ads/ads.h"
#include "base/base.h"
#include "base/shared.h"
#include "campaign/campaign.h"
#include "core/bitmap.h"
#include "segment/segment.h"

#define CHANNEL			"ads"
#define MAX_AUDIENCE	100

/* SHA-256 as advertisers want it; NULL of NULL */
#define HASH(text)		"encode(sha256(convert_to(" text ", 'UTF8')), 'hex')"

static void require_audience(const char *audience, int64 tenant);
static int64 make_campaign(const char *name, const char *audience, int64 sender, int64 tenant);
static int64 make_members(int64 campaign, int64 segment, int64 tenant);
static void end_syncs(int64 tenant);

PG_FUNCTION_INFO_V1(mktg_sync_segment);
PG_FUNCTION_INFO_V1(mktg_feed_audiences);

/*
 * SQL: mktg.sync_segment(segment bigint, sender text, audience text,
 *		name text DEFAULT NULL, tenant bigint DEFAULT 1) returns bigint
 *
 * Errors: MK010 tenant, MK015 sender, MK019 segment, MK020 name, MK024 audience,
 * or one that is kept already, MK032 sender of another channel.
 */
Datum
mktg_sync_segment(PG_FUNCTION_ARGS)
{
	static MktgQuery name_query = MKTG_QUERY("SELECT left(name, 200) FROM mktg.segment WHERE tenant_id = $1 AND segment_id = $2",
											 INT8OID, INT8OID);
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.audience_sync (tenant_id, campaign_id, segment_id, members_id, audience)"
										" VALUES ($1, $2, $3, $4, $5)", INT8OID, INT8OID, INT8OID, INT8OID, TEXTOID);
	int64		segment = mktg_int64_argument(fcinfo, 0, "segment");
	char	   *sender_name = mktg_text_argument(fcinfo, 1, "sender");
	char	   *audience = mktg_text_argument(fcinfo, 2, "audience");
	char	   *name = mktg_optional_text(fcinfo, 3);
	int64		tenant = mktg_int64_argument(fcinfo, 4, "tenant");
	int64		campaign;
	int64		members;

	mktg_begin();
	mktg_require_segment(segment, tenant);
	require_audience(audience, tenant);
	if (name != NULL)
		mktg_require_name("campaign", name);
	else if (mktg_call(&name_query, MKTG_INT64(tenant), MKTG_INT64(segment)) > 0)
		name = mktg_text_at(0, 1);
	campaign = make_campaign(name, audience, mktg_find_sender(sender_name, CHANNEL, tenant), tenant);
	members = make_members(campaign, segment, tenant);
	mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(campaign), MKTG_INT64(segment), MKTG_INT64(members),
			  MKTG_TEXT(audience));
	mktg_end();
	PG_RETURN_INT64(campaign);
}

/* Two segments kept in step with one audience would take out each other's members. */
static void
require_audience(const char *audience, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT campaign_id FROM mktg.audience_sync WHERE tenant_id = $1 AND audience = $2",
										INT8OID, TEXTOID);

	/* it becomes part of a URL */
	if (audience[0] == '\0' || strlen(audience) > MAX_AUDIENCE ||
		strspn(audience, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != strlen(audience))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("invalid audience"),
				 errdetail("It must have 1 to %d letters, digits, - or _.", MAX_AUDIENCE),
				 errhint("Give the id the advertiser shows, such as 23851234567890123 or 1nmth.")));
	end_syncs(tenant);
	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(audience)) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("audience \"%s\" is kept in step already", audience),
				 errdetail("By campaign " INT64_FORMAT ".", mktg_int64_at(0, 1)),
				 errhint("Cancel that campaign first, or make another audience.")));
}

static int64
make_campaign(const char *name, const char *audience, int64 sender, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.campaign (tenant_id, name, type, channel, sender_id, status,"
										" template_data, activated_at)"
										" VALUES ($1, $2, 'audience_sync', '" CHANNEL "', $3, 'active',"
										"  jsonb_build_object('audience', $4), $5) RETURNING campaign_id",
										INT8OID, TEXTOID, INT8OID, TEXTOID, TIMESTAMPTZOID);

	mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(name), MKTG_INT64(sender), MKTG_TEXT(audience), MKTG_TIME(mktg_now()));
	return mktg_int64_at(0, 1);
}

/*
 * The segment of those who may be uploaded.  Being in the campaign's audience
 * it cannot be dropped before the campaign is over, nor can the segment it is
 * made of.
 */
static int64
make_members(int64 campaign, int64 segment, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT mktg.create_segment('audience of campaign ' || $2, jsonb_build_object('rules', jsonb_build_array("
										"  jsonb_build_object('segment', $3),"
										"  jsonb_build_object('field', 'consent.ads', 'operator', '=', 'value', true),"
										"  jsonb_build_object('field', 'customer.isActive', 'operator', '=', 'value', true),"
										"  jsonb_build_object('logic', 'OR', 'rules', jsonb_build_array("
										"   jsonb_build_object('field', 'customer.email', 'operator', 'EXISTS'),"
										"   jsonb_build_object('field', 'customer.phone', 'operator', 'EXISTS'))))),"
										"  description => 'who may be uploaded by the campaign', tenant => $1)",
										INT8OID, INT8OID, INT8OID);
	static MktgQuery keep_query = MKTG_QUERY("SELECT mktg.keep_segment_history($2, true, $1)", INT8OID, INT8OID);
	static MktgQuery include_query = MKTG_QUERY("UPDATE mktg.campaign SET include_segments = ARRAY[$3]"
												" WHERE tenant_id = $1 AND campaign_id = $2", INT8OID, INT8OID, INT8OID);
	int64		members;

	mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(campaign), MKTG_INT64(segment));
	members = mktg_int64_at(0, 1);
	/* from the first refresh on, so that all who are members already enter */
	mktg_call(&keep_query, MKTG_INT64(tenant), MKTG_INT64(members));
	mktg_call(&include_query, MKTG_INT64(tenant), MKTG_INT64(campaign), MKTG_INT64(members));
	return members;
}

/*
 * What syncs of campaigns that are over leave behind goes.  A segment that
 * somebody's rules have come to name stays, and keeps no more history.
 */
static void
end_syncs(int64 tenant)
{
	static MktgQuery query = MKTG_QUERY(
		"WITH ended AS (DELETE FROM mktg.audience_sync a USING mktg.campaign c"
		"   WHERE ($1 = 0 OR a.tenant_id = $1) AND c.tenant_id = a.tenant_id AND c.campaign_id = a.campaign_id"
		"    AND c.status IN ('completed', 'cancelled') RETURNING a.tenant_id, a.members_id)"
		" SELECT CASE WHEN EXISTS (SELECT FROM mktg.segment o WHERE o.tenant_id = s.tenant_id AND o.segment_id <> s.segment_id"
		"   AND (o.rules::text LIKE '%\"segment\": ' || s.segment_id || '%' OR o.rules::text LIKE '%\"segment\": ' || to_json(s.name) || '%'))"
		"  THEN mktg.keep_segment_history(s.segment_id, false, s.tenant_id)"
		"  ELSE mktg.drop_segment(s.segment_id, s.tenant_id) END"
		" FROM ended JOIN mktg.segment s ON s.tenant_id = ended.tenant_id AND s.segment_id = ended.members_id", INT8OID);

	mktg_call(&query, MKTG_INT64(tenant));
}

bool
mktg_feed_wanted(void)
{
	static MktgQuery query = MKTG_QUERY(
		"SELECT FROM mktg.audience_sync a JOIN mktg.campaign c ON c.tenant_id = a.tenant_id AND c.campaign_id = a.campaign_id"
		" WHERE c.status IN ('completed', 'cancelled') OR c.status = 'active' AND EXISTS (SELECT FROM mktg.segment_change h"
		"  WHERE h.tenant_id = a.tenant_id AND h.segment_id = a.members_id) LIMIT 1");

	return mktg_run(&query, NULL) > 0;
}

/*
 * The syncs are locked first, so that the statement sees what the feed before
 * has made.  Of two feeds at once the second passes over what the first has.
 *
 * A contact whose last upload has not left yet is uploaded once more: the one
 * that waits may be left out at this very moment for a consent that was not
 * there.  Where it is not, the later one makes it superfluous.
 */
MktgFeed
mktg_feed(TimestampTz now, int64 limit, int64 tenant)
{
	static MktgQuery lock_query = MKTG_QUERY(
		"SELECT a.tenant_id, a.campaign_id FROM mktg.audience_sync a"
		" JOIN mktg.campaign c ON c.tenant_id = a.tenant_id AND c.campaign_id = a.campaign_id AND c.status = 'active'"
		" WHERE ($1 = 0 OR a.tenant_id = $1) AND EXISTS (SELECT FROM mktg.segment_change h"
		"   WHERE h.tenant_id = a.tenant_id AND h.segment_id = a.members_id)"
		" ORDER BY a.tenant_id, a.campaign_id FOR NO KEY UPDATE OF a SKIP LOCKED", INT8OID);
	static MktgQuery query = MKTG_BULK_QUERY(
		"WITH s AS MATERIALIZED (SELECT a.tenant_id, a.campaign_id, a.members_id,"
		"    lpad((a.feeds + 1)::text, 10, '0') AS feed, ($1 AT TIME ZONE n.time_zone)::date AS day"
		"   FROM unnest($2, $3) AS u (tenant_id, campaign_id)"
		"   JOIN mktg.audience_sync a ON a.tenant_id = u.tenant_id AND a.campaign_id = u.campaign_id"
		"   JOIN mktg.tenant n ON n.tenant_id = a.tenant_id),"
		" due AS MATERIALIZED (SELECT h.ctid AS tid FROM s"
		"   JOIN mktg.segment_change h ON h.tenant_id = s.tenant_id AND h.segment_id = s.members_id LIMIT $4),"
		" taken AS (DELETE FROM mktg.segment_change h USING due WHERE h.ctid = due.tid"
		"   RETURNING h.tenant_id, h.segment_id, h.contact_id),"
		" changed AS MATERIALIZED (SELECT DISTINCT s.tenant_id, s.campaign_id, s.members_id, s.feed, s.day, t.contact_id"
		"   FROM taken t JOIN s ON s.tenant_id = t.tenant_id AND s.members_id = t.segment_id),"
		" judged AS MATERIALIZED (SELECT c.tenant_id, c.campaign_id, c.contact_id, c.feed, c.day,"
		"    coalesce(p.email, p.phone) AS address,"
		"    jsonb_strip_nulls(jsonb_build_object('email', " HASH("p.email") ", 'phone', " HASH("ltrim(p.phone, '+')") ","
		"     'phone_e164', " HASH("p.phone") ")) AS identifiers,"
		"    coalesce(p.contact_id IS NOT NULL AND mktg._chunk_has(b.bits, c.contact_id), false) AS member,"
		"    l.operation, l.status, l.identifiers AS uploaded"
		"   FROM changed c"
		"   LEFT JOIN mktg.segment_bitmap b ON b.tenant_id = c.tenant_id AND b.segment_id = c.members_id"
		"     AND b.chunk = c.contact_id >> " CppAsString2(MKTG_CHUNK_SHIFT)
		"   LEFT JOIN mktg.contact p ON p.tenant_id = c.tenant_id AND p.contact_id = c.contact_id"
		"   LEFT JOIN LATERAL (SELECT m.variables ->> 'operation' AS operation, m.status, m.variables - 'operation' AS identifiers"
		"     FROM mktg.message m WHERE m.tenant_id = c.tenant_id AND m.campaign_id = c.campaign_id"
		"      AND m.contact_id = c.contact_id AND m.status NOT IN ('skipped', 'cancelled')"
		"     ORDER BY m.ref DESC LIMIT 1) l ON true),"
		/* removals first: whoever is to be forgotten does not wait for a million others */
		" uploads AS MATERIALIZED (SELECT tenant_id, campaign_id, contact_id, feed || '-1' AS ref, contact_id::text AS address, day,"
		"    $1 - interval '1 microsecond' AS due, uploaded || jsonb_build_object('operation', 'remove') AS variables"
		"   FROM judged WHERE operation = 'add' AND (NOT member OR uploaded <> identifiers)"
		"   UNION ALL SELECT tenant_id, campaign_id, contact_id, feed || '-2', address, day,"
		"    $1, identifiers || jsonb_build_object('operation', 'add')"
		"   FROM judged WHERE member AND address IS NOT NULL"
		"    AND (operation IS DISTINCT FROM 'add' OR status = 'queued' OR uploaded <> identifiers)),"
		" messages AS (INSERT INTO mktg.message (tenant_id, campaign_id, contact_id, ref, address, status, send_day, queued_at, variables)"
		"   SELECT tenant_id, campaign_id, contact_id, ref, address, 'queued', day, $1, variables FROM uploads),"
		" queue AS (INSERT INTO mktg.outbox (tenant_id, campaign_id, contact_id, ref, due)"
		"   SELECT tenant_id, campaign_id, contact_id, ref, due FROM uploads),"
		" counted AS (UPDATE mktg.audience_sync a SET feeds = a.feeds + 1, fed_at = $1 FROM s"
		"   WHERE a.tenant_id = s.tenant_id AND a.campaign_id = s.campaign_id)"
		" SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM uploads)",
		TIMESTAMPTZOID, INT8ARRAYOID, INT8ARRAYOID, INT8OID);
	static const Oid types[] = {INT8OID, INT8OID};
	MktgColumns syncs = MKTG_COLUMNS(types);
	MktgFeed	feed = {0};
	uint64		n;

	end_syncs(tenant);
	n = mktg_call(&lock_query, MKTG_INT64(tenant));
	for (uint64 i = 0; i < n; i++)
		mktg_columns_add(&syncs, (MktgArg[]) {MKTG_INT64(mktg_int64_at(i, 1)), MKTG_INT64(mktg_int64_at(i, 2))});
	if (n == 0)
		return feed;
	mktg_call(&query, MKTG_TIME(now), mktg_columns_array(&syncs, 0), mktg_columns_array(&syncs, 1),
			  limit > 0 ? MKTG_INT64(limit) : MKTG_NULL);
	feed.changes = mktg_int64_at(0, 1);
	feed.uploads = mktg_int64_at(0, 2);
	if (feed.uploads > 0)
		mktg_wake_at_commit();
	return feed;
}

/*
 * SQL: mktg.feed_audiences(tenant bigint DEFAULT 1) returns bigint
 *
 * Errors: MK010 tenant.
 */
Datum
mktg_feed_audiences(PG_FUNCTION_ARGS)
{
	int64		tenant = mktg_int64_argument(fcinfo, 0, "tenant");
	MktgFeed	feed;

	mktg_begin();
	mktg_require_tenant(tenant);
	feed = mktg_feed(mktg_now(), 0, tenant);
	mktg_end();
	PG_RETURN_INT64(feed.uploads);
}
