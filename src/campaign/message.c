/*-------------------------------------------------------------------------
 *
 * message.c
 *		Single messages: sent in a transaction of the application, reported on
 *		by a provider, settled by a person.
 *
 * A report names the message by our id, which providers echo.  It moves a
 * message forward and never back, whatever order reports come in.
 *
 * IDENTIFICATION
 *		src/campaign/message.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "base/base.h"
#include "base/shared.h"
#include "campaign/campaign.h"

#define MAX_REF		128

const Oid	mktg_report_types[7] = {
	INT8OID, INT8OID, INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID
};

static const char *const reported_states[] = {"sent", "delivered", "read", "failed", "bounced"};
static const char *const reported_events[] = {"opened", "clicked", "converted", "unsubscribed"};

static void key_argument(FunctionCallInfo fcinfo, int n, int64 tenant, MktgMessageKey *key);
static bool is_one_of(const char *word, const char *const *list, int n);
static bool apply_complaint(const MktgMessageKey *key, TimestampTz at);
static void withdraw_consent(const MktgMessageKey *key);
static bool apply_event(const MktgMessageKey *key, const char *event, TimestampTz at);
static uint64 apply_one(const MktgMessageKey *key, const char *status, TimestampTz at, MktgArg reason);
static int64 find_stream(const char *template_name, const char *channel, const char *sender_name, int64 tenant);
static void refuse_unknown_status(const char *status, const char *hint);

PG_FUNCTION_INFO_V1(mktg_send);
PG_FUNCTION_INFO_V1(mktg_record_status);
PG_FUNCTION_INFO_V1(mktg_settle);

char *
mktg_message_id(const MktgMessageKey *key)
{
	return psprintf(INT64_FORMAT "-" INT64_FORMAT "-" INT64_FORMAT "%s%s",
					key->tenant_id, key->campaign_id, key->contact_id,
					key->ref[0] == '\0' ? "" : "-", key->ref);
}

bool
mktg_parse_message_id(const char *id, MktgMessageKey *key)
{
	int64	   *numbers[] = {&key->tenant_id, &key->campaign_id, &key->contact_id};
	const char *written = id;
	char	   *end = NULL;

	for (int i = 0; i < lengthof(numbers); i++)
	{
		if (*id < '0' || *id > '9')
			return false;
		errno = 0;
		*numbers[i] = strtoll(id, &end, 10);
		if (errno != 0 || (*end != '-' && (i < 2 || *end != '\0')))
			return false;
		id = end + 1;
	}
	key->ref = pstrdup(*end == '\0' ? "" : id);
	/* a message has one id: no leading zeros, no hyphen at the end */
	return strcmp(mktg_message_id(key), written) == 0;
}

/* The message an argument names, which must be the tenant's. */
static void
key_argument(FunctionCallInfo fcinfo, int n, int64 tenant, MktgMessageKey *key)
{
	static MktgQuery query = MKTG_QUERY("SELECT 1 FROM mktg.message WHERE tenant_id = $1 AND campaign_id = $2"
										" AND contact_id = $3 AND ref = $4", INT8OID, INT8OID, INT8OID, TEXTOID);
	char	   *id = mktg_text_argument(fcinfo, n, "message");

	if (mktg_parse_message_id(id, key) && key->tenant_id == tenant &&
		mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(key->campaign_id),
				  MKTG_INT64(key->contact_id), MKTG_TEXT(key->ref)) > 0)
		return;
	mktg_require_tenant(tenant);
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_UNKNOWN_MESSAGE),
			 errmsg("message \"%s\" does not exist", id),
			 errdetail("Tenant " INT64_FORMAT " has no such message.", tenant),
			 errhint("A message id is what mktg.send() returns and mktg.recipient shows, such as 1-7-4711.")));
}

static bool
is_one_of(const char *word, const char *const *list, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(word, list[i]) == 0)
			return true;
	return false;
}

static void
refuse_unknown_status(const char *status, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_UNKNOWN_STATUS),
			 errmsg("status \"%s\" does not exist here", status),
			 errhint("%s", hint)));
}

/*
 * A row that waits for another attempt leaves the queue with the report: it
 * has arrived after all.  One that is leased is left to the worker, whose own
 * record then finds the message further on.
 */
uint64
mktg_apply_reports(const MktgColumns *reports)
{
	static MktgQuery query = MKTG_QUERY(
		"WITH r AS MATERIALIZED (SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)"
		"   AS r (tenant_id, campaign_id, contact_id, ref, status, at, reason)),"
		" moved AS (UPDATE mktg.message m SET status = r.status,"
		"   sent_at = CASE WHEN r.status IN ('sent', 'delivered', 'read') THEN coalesce(m.sent_at, r.at) ELSE m.sent_at END,"
		"   delivered_at = CASE WHEN r.status IN ('delivered', 'read') THEN coalesce(m.delivered_at, r.at) ELSE m.delivered_at END,"
		"   read_at = CASE WHEN r.status = 'read' THEN coalesce(m.read_at, r.at) ELSE m.read_at END,"
		"   failed_at = CASE WHEN r.status IN ('failed', 'bounced') THEN r.at END,"
		"   failure_reason = CASE WHEN r.status IN ('failed', 'bounced') THEN coalesce(r.reason, r.status) END"
		"  FROM r WHERE m.tenant_id = r.tenant_id AND m.campaign_id = r.campaign_id"
		"   AND m.contact_id = r.contact_id AND m.ref = r.ref AND " MKTG_SQL_MOVES("m.status", "r.status")
		"  RETURNING m.tenant_id, m.campaign_id, m.contact_id, m.ref),"
		/* by key, then by place: see record.c; not "lease IS NULL", which would offer the index of all that waits */
		" waiting AS MATERIALIZED (SELECT q.tid FROM moved v CROSS JOIN LATERAL (SELECT o.ctid AS tid FROM mktg.outbox o"
		"   WHERE o.tenant_id = v.tenant_id AND o.campaign_id = v.campaign_id AND o.contact_id = v.contact_id"
		"    AND o.ref = v.ref AND o.worker IS NULL LIMIT 1) q),"
		" gone AS (DELETE FROM mktg.outbox o USING waiting w WHERE o.ctid = w.tid AND o.worker IS NULL)"
		" SELECT count(*) FROM moved",
		INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID);

	if (mktg_run_columns(&query, reports) == 0)
		return 0;
	return (uint64) mktg_int64_at(0, 1);
}

static uint64
apply_one(const MktgMessageKey *key, const char *status, TimestampTz at, MktgArg reason)
{
	MktgColumns reports = MKTG_COLUMNS(mktg_report_types);

	mktg_columns_add(&reports, (MktgArg[])
					 {
						 MKTG_INT64(key->tenant_id), MKTG_INT64(key->campaign_id), MKTG_INT64(key->contact_id),
						 MKTG_TEXT(key->ref), MKTG_TEXT(status), MKTG_TIME(at), reason
					 });
	return mktg_apply_reports(&reports);
}

/*
 * SQL: mktg.record_status(message text, status text, at timestamptz,
 *		reason text, tenant bigint) returns boolean
 *
 * Statuses sent, delivered, read, failed, bounced move the message; opened,
 * clicked, converted and unsubscribed are times, and the last also withdraws
 * consent.  Complained suppresses the address besides.  Errors: MK017 unknown message, MK018 unknown status.
 */
Datum
mktg_record_status(PG_FUNCTION_ARGS)
{
	char	   *status = mktg_text_argument(fcinfo, 1, "status");
	TimestampTz at = PG_ARGISNULL(2) ? mktg_now() : PG_GETARG_TIMESTAMPTZ(2);
	int64		tenant = mktg_int64_argument(fcinfo, 4, "tenant");
	MktgMessageKey key;
	bool		applied;

	mktg_begin();
	key_argument(fcinfo, 0, tenant, &key);
	if (is_one_of(status, reported_states, lengthof(reported_states)))
		applied = apply_one(&key, status, at, MKTG_FCARG(3)) > 0;
	else if (strcmp(status, "complained") == 0)
		applied = apply_complaint(&key, at);
	else if (is_one_of(status, reported_events, lengthof(reported_events)))
		applied = apply_event(&key, status, at);
	else
		refuse_unknown_status(status, "Statuses are sent, delivered, read, failed, bounced; "
							  "events are opened, clicked, converted, unsubscribed, complained.");
	mktg_end();
	PG_RETURN_BOOL(applied);
}

/*
 * The first time counts; later ones change nothing.  Who unsubscribes is heard
 * whatever we believe became of the message.
 */
static bool
apply_event(const MktgMessageKey *key, const char *event, TimestampTz at)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.message SET"
										" opened_at = CASE $5 WHEN 'opened' THEN $6 ELSE opened_at END,"
										" clicked_at = CASE $5 WHEN 'clicked' THEN $6 ELSE clicked_at END,"
										" converted_at = CASE $5 WHEN 'converted' THEN $6 ELSE converted_at END,"
										" unsubscribed_at = CASE $5 WHEN 'unsubscribed' THEN $6 ELSE unsubscribed_at END"
										" WHERE tenant_id = $1 AND campaign_id = $2 AND contact_id = $3 AND ref = $4"
										"  AND (status NOT IN ('pending', 'skipped', 'cancelled') OR $5 = 'unsubscribed')"
										"  AND CASE $5 WHEN 'opened' THEN opened_at WHEN 'clicked' THEN clicked_at"
										"   WHEN 'converted' THEN converted_at ELSE unsubscribed_at END IS NULL",
										INT8OID, INT8OID, INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID);
	if (mktg_call(&query, MKTG_INT64(key->tenant_id), MKTG_INT64(key->campaign_id), MKTG_INT64(key->contact_id),
				  MKTG_TEXT(key->ref), MKTG_TEXT(event), MKTG_TIME(at)) == 0)
		return false;
	if (strcmp(event, "unsubscribed") == 0)
		withdraw_consent(key);
	return true;
}

static void
withdraw_consent(const MktgMessageKey *key)
{
	static MktgQuery withdraw = MKTG_QUERY("SELECT mktg.unsubscribe($2, channel, NULL, 'reported by provider', $1)"
										   " FROM mktg.campaign WHERE tenant_id = $1 AND campaign_id = $3"
										   "  AND EXISTS (SELECT FROM mktg.contact WHERE tenant_id = $1 AND contact_id = $2)",
										   INT8OID, INT8OID, INT8OID);

	mktg_call(&withdraw, MKTG_INT64(key->tenant_id), MKTG_INT64(key->contact_id), MKTG_INT64(key->campaign_id));
}

/* Who calls a message spam wants no other, on this address or, as a contact, on this channel. */
static bool
apply_complaint(const MktgMessageKey *key, TimestampTz at)
{
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.complaint (tenant_id, campaign_id, contact_id, ref, at)"
										" SELECT tenant_id, campaign_id, contact_id, ref, $5 FROM mktg.message"
										"  WHERE tenant_id = $1 AND campaign_id = $2 AND contact_id = $3 AND ref = $4"
										"   AND status NOT IN ('pending', 'skipped', 'cancelled') ON CONFLICT DO NOTHING",
										INT8OID, INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID);
	static MktgQuery suppress = MKTG_QUERY("INSERT INTO mktg.suppression (tenant_id, channel, address_hash, reason, at)"
										   " SELECT m.tenant_id, c.channel, mktg.address_hash(m.address), 'complaint', $5"
										   "  FROM mktg.message m JOIN mktg.campaign c ON c.tenant_id = m.tenant_id AND c.campaign_id = m.campaign_id"
										   "  WHERE m.tenant_id = $1 AND m.campaign_id = $2 AND m.contact_id = $3 AND m.ref = $4"
										   "   AND m.address IS NOT NULL ON CONFLICT DO NOTHING",
										   INT8OID, INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID);
	MktgArg		args[] = {
		MKTG_INT64(key->tenant_id), MKTG_INT64(key->campaign_id), MKTG_INT64(key->contact_id),
		MKTG_TEXT(key->ref), MKTG_TIME(at)
	};

	if (mktg_run(&query, args) == 0)
		return false;
	mktg_run(&suppress, args);
	withdraw_consent(key);
	return true;
}

/*
 * SQL: mktg.settle(message text, status text, tenant bigint DEFAULT 1) returns boolean
 *
 * Settled as queued the message is sent again, and a completed campaign runs
 * until it is.  Errors: MK017 unknown message, MK018 unknown status, MK033
 * campaign cancelled, MK036 not in doubt.
 */
Datum
mktg_settle(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("SELECT status FROM mktg.message WHERE tenant_id = $1 AND campaign_id = $2"
										" AND contact_id = $3 AND ref = $4 FOR UPDATE",
										INT8OID, INT8OID, INT8OID, TEXTOID);
	static MktgQuery reopen = MKTG_QUERY("UPDATE mktg.campaign SET status = 'active', ended_at = NULL"
										 " WHERE tenant_id = $1 AND campaign_id = $2 AND status = 'completed'",
										 INT8OID, INT8OID);
	static MktgQuery again = MKTG_QUERY("WITH m AS (UPDATE mktg.message SET status = 'queued', failed_at = NULL, failure_reason = NULL"
										"  WHERE tenant_id = $1 AND campaign_id = $2 AND contact_id = $3 AND ref = $4"
										"  RETURNING tenant_id, campaign_id, contact_id, ref)"
										" INSERT INTO mktg.outbox (tenant_id, campaign_id, contact_id, ref, due)"
										" SELECT tenant_id, campaign_id, contact_id, ref, $5 FROM m",
										INT8OID, INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID);
	char	   *status = mktg_text_argument(fcinfo, 1, "status");
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");
	MktgMessageKey key;
	char	   *current;

	mktg_begin();
	key_argument(fcinfo, 0, tenant, &key);
	if (strcmp(status, "queued") != 0 &&
		!is_one_of(status, reported_states, lengthof(reported_states)))
		refuse_unknown_status(status, "A doubt is settled as sent, delivered, read, failed or bounced, "
							  "or as queued to send the message again.");
	mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(key.campaign_id), MKTG_INT64(key.contact_id), MKTG_TEXT(key.ref));
	current = mktg_text_at(0, 1);
	if (strcmp(current, "in_doubt") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_NOT_IN_DOUBT),
				 errmsg("message \"%s\" is not in doubt", mktg_message_id(&key)),
				 errdetail("Its status is %s.", current),
				 errhint("The view mktg.in_doubt lists the messages that are.")));
	if (strcmp(status, "queued") == 0)
	{
		MktgCampaign campaign;

		mktg_lock_campaign(key.campaign_id, tenant, &campaign);
		if (strcmp(campaign.status, "cancelled") == 0)
			mktg_refuse_transition(&campaign, "sent again");
		mktg_call(&reopen, MKTG_INT64(tenant), MKTG_INT64(key.campaign_id));
		mktg_call(&again, MKTG_INT64(tenant), MKTG_INT64(key.campaign_id), MKTG_INT64(key.contact_id),
				  MKTG_TEXT(key.ref), MKTG_TIME(mktg_now()));
		mktg_wake_at_commit();
	}
	else
		(void) apply_one(&key, status, mktg_now(), MKTG_TEXT("settled"));
	mktg_end();
	PG_RETURN_BOOL(true);
}

/*
 * SQL: mktg.send(contact bigint, template text, variables jsonb, channel text,
 *		idempotency_key text, sender text, tenant bigint) returns text
 *
 * Whoever is suppressed or has no address gets a message "skipped" with the
 * reason, not an error: the caller's transaction is about an order, not about
 * its receipt.  The same key gives the same id and sends nothing again.  Once
 * the stream has been cancelled, its messages are born cancelled.
 * Errors: MK010, MK011, MK012, MK013, MK015, MK024, MK025, MK032.
 */
Datum
mktg_send(PG_FUNCTION_ARGS)
{
	int64		contact = mktg_int64_argument(fcinfo, 0, "contact");
	char	   *template_name = mktg_text_argument(fcinfo, 1, "template");
	char	   *channel = mktg_text_argument(fcinfo, 3, "channel");
	int64		tenant = mktg_int64_argument(fcinfo, 6, "tenant");
	MktgMessageKey key = {.tenant_id = tenant, .contact_id = contact};
	text	   *id;

	mktg_begin();
	mktg_require_contact(contact, tenant);
	mktg_require_channel(channel);
	mktg_require_object(fcinfo, 2, "variables");
	key.ref = mktg_message_ref(fcinfo, 4, "idempotency key");
	key.campaign_id = find_stream(template_name, channel,
								  mktg_optional_text(fcinfo, 5), tenant);
	mktg_enqueue(&key, channel, MKTG_FCARG(2), false);
	id = mktg_keep_text(mktg_message_id(&key));
	mktg_end();
	PG_RETURN_TEXT_P(id);
}

void
mktg_enqueue(const MktgMessageKey *key, const char *channel, MktgArg variables, bool consent)
{
	static MktgQuery query = MKTG_QUERY(
		"WITH p AS MATERIALIZED (SELECT c.contact_id, c.is_active, c.tenant_id, " MKTG_SQL_ADDRESS("$5", "c") " AS address"
		"   FROM mktg.contact c WHERE c.tenant_id = $1 AND c.contact_id = $3),"
		" gated AS (SELECT p.*, CASE WHEN NOT p.is_active THEN 'inactive' WHEN p.address IS NULL THEN 'unreachable'"
		"    WHEN " MKTG_SQL_SUPPRESSED("$5", "p.address", "p") " THEN 'suppressed'"
		"    WHEN $9 AND NOT " MKTG_SQL_CONSENTED("$5", "p") " THEN 'unsubscribed' END AS reason FROM p),"
		" m AS (INSERT INTO mktg.message (tenant_id, campaign_id, contact_id, ref, address, status, send_day, queued_at,"
		"    failure_reason, variables)"
		"   SELECT $1, $2, contact_id, $4, address, CASE WHEN c.status NOT IN ('active', 'paused') THEN 'cancelled'"
		"     WHEN reason IS NULL THEN 'queued' ELSE 'skipped' END, $7, $8, reason, $6"
		"    FROM gated JOIN mktg.campaign c ON c.tenant_id = $1 AND c.campaign_id = $2"
		"   ON CONFLICT (tenant_id, campaign_id, contact_id, ref) DO NOTHING"
		"   RETURNING tenant_id, campaign_id, contact_id, ref, status)"
		" INSERT INTO mktg.outbox (tenant_id, campaign_id, contact_id, ref, due)"
		" SELECT tenant_id, campaign_id, contact_id, ref, $8 FROM m WHERE status = 'queued'",
		INT8OID, INT8OID, INT8OID, TEXTOID, TEXTOID, JSONBOID, DATEOID, TIMESTAMPTZOID, BOOLOID);
	TimestampTz now = mktg_now();

	/* nothing queued: skipped, sent before, or the contact has been deleted meanwhile */
	if (mktg_call(&query, MKTG_INT64(key->tenant_id), MKTG_INT64(key->campaign_id), MKTG_INT64(key->contact_id),
				  MKTG_TEXT(key->ref), MKTG_TEXT(channel), variables, MKTG_DATE(mktg_tenant_day(now, key->tenant_id)),
				  MKTG_TIME(now), MKTG_ARG(BoolGetDatum(consent))) > 0)
		mktg_wake_at_commit();
	else
		mktg_require_contact(key->contact_id, key->tenant_id);
}

char *
mktg_message_ref(FunctionCallInfo fcinfo, int n, const char *what)
{
	char	   *key;
	uint8		noise[12];

	if (PG_ARGISNULL(n))
	{
		char	   *ref = palloc(2 * sizeof(noise) + 1);

		if (!pg_strong_random(noise, sizeof(noise)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate a message reference")));
		for (int i = 0; i < sizeof(noise); i++)
			sprintf(ref + 2 * i, "%02x", noise[i]);
		return ref;
	}
	/* it stands in headers and message ids, so its alphabet is theirs */
	key = text_to_cstring(PG_GETARG_TEXT_PP(n));
	if (key[0] == '\0' || strlen(key) > MAX_REF ||
		strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:+-") != strlen(key))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("invalid %s", what),
				 errdetail("It must have 1 to %d letters, digits or characters of \"._:+-\".", MAX_REF),
				 errhint("A UUID, or a name such as order-4711:receipt, will do.")));
	return key;
}

/*
 * Messages outside campaigns belong to a stream: one campaign of type
 * transactional for each template, channel and sender, made when first needed.
 */
static int64
find_stream(const char *template_name, const char *channel, const char *sender_name, int64 tenant)
{
	static MktgQuery find_query = MKTG_QUERY("SELECT campaign_id FROM mktg.campaign WHERE tenant_id = $1 AND code = $2",
											 INT8OID, TEXTOID);
	static MktgQuery make_query = MKTG_QUERY("INSERT INTO mktg.campaign (tenant_id, name, code, type, channel,"
											 " template_id, sender_id, status, priority, activated_at)"
											 " VALUES ($1, left($2, 200), $3, 'transactional', $4, $5, $6, 'active', 10, $7)"
											 " ON CONFLICT (tenant_id, code) WHERE code IS NOT NULL DO NOTHING",
											 INT8OID, TEXTOID, TEXTOID, TEXTOID, INT8OID, INT8OID, TIMESTAMPTZOID);
	int64		template_id = mktg_find_template(template_name, channel, tenant);
	int64		sender = mktg_find_sender(sender_name, channel, tenant);
	char	   *code = psprintf("stream:" INT64_FORMAT ":" INT64_FORMAT, template_id, sender);

	if (sender == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_UNKNOWN_SENDER),
				 errmsg("there is no sender for channel %s", channel),
				 errhint("mktg.set_sender() makes one.")));
	/* twice at most: after the insert somebody has made it */
	for (;;)
	{
		if (mktg_call(&find_query, MKTG_INT64(tenant), MKTG_TEXT(code)) > 0)
			return mktg_int64_at(0, 1);
		mktg_call(&make_query, MKTG_INT64(tenant), MKTG_TEXT(template_name), MKTG_TEXT(code), MKTG_TEXT(channel),
				  MKTG_INT64(template_id), MKTG_INT64(sender), MKTG_TIME(mktg_now()));
	}
}
