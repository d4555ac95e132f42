/*-------------------------------------------------------------------------
 *
 * aftermath.c
 *		What outcomes leave behind besides the message's record: failures for
 *		mktg.status(), suppressed addresses, inboxes, the sandbox's own book.
 *
 * IDENTIFICATION
 *		src/worker/aftermath.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "campaign/campaign.h"
#include "worker/pump.h"

/* reports taken at once, so that one transaction stays short */
#define REPORTS_AT_ONCE	1000

static const Oid failure_types[] = {INT8OID, INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID};
static const Oid suppression_types[] = {INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID};
static const Oid refund_types[] = {INT8OID, INT8OID, DATEOID};
static const Oid rest_types[] = {INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID};
static const Oid inbox_types[] = {
	INT8OID, INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT4OID
};
static const Oid sandbox_types[] = {
	INT8OID, INT8OID, INT8OID, TEXTOID, INT2OID, TEXTOID, TEXTOID, TEXTOID,
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID
};

void
mktg_aftermath_begin(Aftermath *aftermath)
{
	aftermath->failures = (MktgColumns) MKTG_COLUMNS(failure_types);
	aftermath->suppressions = (MktgColumns) MKTG_COLUMNS(suppression_types);
	aftermath->pauses = (MktgColumns) MKTG_COLUMNS(mktg_pause_types);
	aftermath->sandbox = (MktgColumns) MKTG_COLUMNS(sandbox_types);
	aftermath->inbox = (MktgColumns) MKTG_COLUMNS(inbox_types);
	aftermath->delivered = (MktgColumns) MKTG_COLUMNS(mktg_report_types);
	aftermath->refunds = (MktgColumns) MKTG_COLUMNS(refund_types);
	aftermath->rests = (MktgColumns) MKTG_COLUMNS(rest_types);
	aftermath->untouched = (MktgColumns) MKTG_COLUMNS(mktg_untouch_types);
}

void
mktg_aftermath_failure(Aftermath *aftermath, int64 tenant, int64 sender, const char *class,
					   const char *reason, TimestampTz at)
{
	mktg_columns_add(&aftermath->failures, (MktgArg[])
					 {
						 MKTG_INT64(tenant), MKTG_INT64(sender), MKTG_TEXT(class), MKTG_TEXT(reason), MKTG_TIME(at)
					 });
}

void
mktg_aftermath_suppress(Aftermath *aftermath, const Slot *slot)
{
	mktg_columns_add(&aftermath->suppressions, (MktgArg[])
					 {
						 MKTG_INT64(slot->delivery.tenant_id), MKTG_TEXT(slot->delivery.channel),
						 MKTG_TEXT(slot->delivery.address), MKTG_TIME(slot->finished_at),
						 MKTG_TEXT(slot->delivery.outcome.opted_out ? "stop" : "hard_bounce")
					 });
}

/* What is wrong is the campaign's: it stops. */
void
mktg_aftermath_pause(Aftermath *aftermath, const Slot *slot)
{
	mktg_columns_add(&aftermath->pauses, (MktgArg[])
					 {
						 MKTG_INT64(slot->delivery.tenant_id), MKTG_INT64(slot->delivery.campaign_id),
						 MKTG_TEXT(slot->delivery.outcome.reason)
					 });
}

static const char *
outcome_name(MktgOutcomeKind kind)
{
	static const char *const names[] = {
		"none", "sent", "retry", "failed", "bounced", "config", "doubt", "again", "campaign"
	};

	return names[kind];
}

/* The text of a part, or NULL where the template has none. */
static MktgArg
part(const char *text, size_t length)
{
	if (text == NULL)
		return MKTG_NULL;
	return MKTG_ARG(PointerGetDatum(cstring_to_text_with_len(text, length)));
}

/* What is in the inbox has arrived. */
void
mktg_aftermath_inbox(Aftermath *aftermath, const Slot *slot)
{
	const MktgDelivery *d = &slot->delivery;

	mktg_columns_add(&aftermath->inbox, (MktgArg[])
					 {
						 MKTG_INT64(d->tenant_id), MKTG_INT64(d->contact_id), MKTG_INT64(d->campaign_id),
						 MKTG_TEXT(d->ref), part(d->subject, d->subject_length), part(d->body, d->body_length),
						 part(d->data, d->data_length), MKTG_TIME(slot->finished_at), MKTG_INT32(d->outcome.keep_days)
					 });
	mktg_columns_add(&aftermath->delivered, (MktgArg[])
					 {
						 MKTG_INT64(d->tenant_id), MKTG_INT64(d->campaign_id), MKTG_INT64(d->contact_id),
						 MKTG_TEXT(d->ref), MKTG_TEXT("delivered"), MKTG_TIME(slot->finished_at), MKTG_NULL
					 });
}

void
mktg_aftermath_sandbox(Aftermath *aftermath, const Slot *slot)
{
	const MktgDelivery *d = &slot->delivery;

	mktg_columns_add(&aftermath->sandbox, (MktgArg[])
					 {
						 MKTG_INT64(d->tenant_id), MKTG_INT64(d->campaign_id), MKTG_INT64(d->contact_id),
						 MKTG_TEXT(d->ref), MKTG_ARG(Int16GetDatum(d->attempt)), MKTG_TEXT(d->channel),
						 MKTG_TEXT(d->address), MKTG_TEXT(slot->sender_name), part(d->subject, d->subject_length),
						 part(d->html, d->html_length), part(d->body, d->body_length),
						 MKTG_TEXT(outcome_name(d->outcome.kind)), MKTG_TIME(slot->finished_at),
						 MKTG_TEXT(d->outcome.report)
					 });
}

/* A first attempt that was given back has used nothing of the sender's day. */
void
mktg_aftermath_refund(Aftermath *aftermath, const Slot *slot)
{
	mktg_columns_add(&aftermath->refunds, (MktgArg[])
					 {
						 MKTG_INT64(slot->way->key.tenant_id), MKTG_INT64(slot->way->key.sender_id),
						 MKTG_DATE(slot->day)
					 });
}

void
mktg_aftermath_rest(Aftermath *aftermath, const MktgWay *way)
{
	mktg_columns_add(&aftermath->rests, (MktgArg[])
					 {
						 MKTG_INT64(way->key.tenant_id), MKTG_INT64(way->key.sender_id),
						 way->not_before == 0 ? MKTG_NULL : MKTG_TIME(way->not_before),
						 MKTG_TEXT(way->not_before == 0 ? NULL : way->why)
					 });
}

void
mktg_aftermath_untouch(Aftermath *aftermath, const Slot *slot)
{
	mktg_columns_add(&aftermath->untouched, (MktgArg[])
					 {
						 MKTG_INT64(slot->delivery.tenant_id), MKTG_INT64(slot->delivery.campaign_id),
						 MKTG_INT64(slot->delivery.contact_id), MKTG_TEXT(slot->delivery.ref)
					 });
}

void
mktg_aftermath_store(const Aftermath *aftermath)
{
	static MktgQuery failure_query = MKTG_QUERY(
		"INSERT INTO mktg.provider_failure AS f (tenant_id, sender_id, minute, class, failures, last_reason)"
		" SELECT tenant_id, sender_id, date_trunc('minute', at), class, count(*), max(reason)"
		"  FROM unnest($1, $2, $3, $4, $5) AS u (tenant_id, sender_id, class, reason, at) GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
		" ON CONFLICT (tenant_id, sender_id, minute, class) DO UPDATE"
		"  SET failures = f.failures + excluded.failures, last_reason = excluded.last_reason",
		INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID);
	static MktgQuery suppression_query = MKTG_QUERY(
		"INSERT INTO mktg.suppression (tenant_id, channel, address_hash, reason, at)"
		" SELECT tenant_id, channel, mktg.address_hash(address), reason, at"
		"  FROM unnest($1, $2, $3, $4, $5) AS u (tenant_id, channel, address, at, reason) ON CONFLICT DO NOTHING",
		INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID);
	static MktgQuery sandbox_query = MKTG_QUERY(
		"INSERT INTO mktg.sandbox_message (tenant_id, campaign_id, contact_id, ref, attempt, channel, address, sender,"
		"  subject, html, body, outcome, sent_at, report, report_at)"
		" SELECT *, CASE WHEN report IS NOT NULL THEN sent_at END"
		"  FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
		"  AS u (tenant_id, campaign_id, contact_id, ref, attempt, channel, address, sender,"
		"   subject, html, body, outcome, sent_at, report) ON CONFLICT DO NOTHING",
		INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, INT2ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
		TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID);
	/* a campaign that has expired is not shown either */
	static MktgQuery inbox_query = MKTG_QUERY(
		"INSERT INTO mktg.inbox_message (tenant_id, contact_id, campaign_id, ref, title, body, data, created_at, expires_at)"
		" SELECT u.tenant_id, u.contact_id, u.campaign_id, u.ref, u.title, u.body, u.data::jsonb, u.at,"
		"   least(u.at + make_interval(days => u.keep_days), c.expires_at)"
		"  FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)"
		"   AS u (tenant_id, contact_id, campaign_id, ref, title, body, data, at, keep_days)"
		"  JOIN mktg.campaign c ON c.tenant_id = u.tenant_id AND c.campaign_id = u.campaign_id ON CONFLICT DO NOTHING",
		INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
		TIMESTAMPTZARRAYOID, INT4ARRAYOID);
	static MktgQuery refund_query = MKTG_QUERY(
		"UPDATE mktg.sender_state s SET used = CASE s.day WHEN r.day THEN greatest(s.used - r.n, 0) ELSE s.used END,"
		"   spent = CASE s.month WHEN date_trunc('month', r.day)::date THEN greatest(s.spent - r.n * coalesce(d.cost_per_message, 0), 0)"
		"    ELSE s.spent END"
		"  FROM (SELECT tenant_id, sender_id, day, count(*)::integer AS n FROM unnest($1, $2, $3)"
		"   AS u (tenant_id, sender_id, day) GROUP BY 1, 2, 3) r"
		"  JOIN mktg.sender d ON d.tenant_id = r.tenant_id AND d.sender_id = r.sender_id"
		"  WHERE s.tenant_id = r.tenant_id AND s.sender_id = r.sender_id",
		INT8ARRAYOID, INT8ARRAYOID, DATEARRAYOID);
	static MktgQuery rest_query = MKTG_QUERY(
		"INSERT INTO mktg.sender_state AS s (tenant_id, sender_id, day, tokens_at, resting_until, rest_reason)"
		" SELECT tenant_id, sender_id, '-infinity', clock_timestamp(), until, reason"
		"  FROM unnest($1, $2, $3, $4) AS u (tenant_id, sender_id, until, reason) ORDER BY 1, 2"
		" ON CONFLICT (tenant_id, sender_id) DO UPDATE SET resting_until = excluded.resting_until, rest_reason = excluded.rest_reason",
		INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID);

	mktg_run_columns(&failure_query, &aftermath->failures);
	mktg_run_columns(&suppression_query, &aftermath->suppressions);
	mktg_pause_campaigns(&aftermath->pauses);
	mktg_run_columns(&sandbox_query, &aftermath->sandbox);
	mktg_run_columns(&inbox_query, &aftermath->inbox);
	(void) mktg_apply_reports(&aftermath->delivered);
	mktg_run_columns(&refund_query, &aftermath->refunds);
	mktg_run_columns(&rest_query, &aftermath->rests);
	mktg_frequency_forget(&aftermath->untouched);
}

uint64
mktg_hear_sandbox(TimestampTz now)
{
	static MktgQuery query = MKTG_QUERY(
		"WITH due AS MATERIALIZED (SELECT s.ctid AS tid FROM mktg.sandbox_message s"
		"   WHERE s.report IS NOT NULL AND s.reported_at IS NULL AND s.report_at <= $1"
		"   ORDER BY s.report_at LIMIT $2 FOR UPDATE SKIP LOCKED)"
		" UPDATE mktg.sandbox_message s SET reported_at = $1 FROM due WHERE s.ctid = due.tid"
		" RETURNING s.tenant_id, s.campaign_id, s.contact_id, s.ref, s.report",
		TIMESTAMPTZOID, INT4OID);
	MktgColumns reports = MKTG_COLUMNS(mktg_report_types);
	uint64		count = mktg_call(&query, MKTG_TIME(now), MKTG_INT32(REPORTS_AT_ONCE));

	for (uint64 i = 0; i < count; i++)
		mktg_columns_add(&reports, (MktgArg[])
						 {
							 MKTG_INT64(mktg_int64_at(i, 1)), MKTG_INT64(mktg_int64_at(i, 2)),
							 MKTG_INT64(mktg_int64_at(i, 3)), MKTG_TEXT(mktg_text_at(i, 4)),
							 MKTG_TEXT(mktg_text_at(i, 5)), MKTG_TIME(now), MKTG_NULL
						 });
	(void) mktg_apply_reports(&reports);
	return count;
}
