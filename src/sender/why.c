/*-------------------------------------------------------------------------
 *
 * why.c
 *		mktg.why(): the gates between a contact and a campaign's message, one
 *		by one, in the order in which the claim asks.
 *
 * Nothing is locked and nothing changes: what is said of caps is as of now.
 *
 * IDENTIFICATION
 *		src/sender/why.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/date.h"

#include "base/base.h"
#include "base/zone.h"
#include "campaign/campaign.h"
#include "sender/sender.h"

/* what the query brings, in its order */
enum
{
	F_CAMPAIGN_STATUS = 1, F_PAUSE_REASON, F_TYPE, F_CHANNEL, F_IS_EXPIRED, F_EXPIRES,
	F_STATUS, F_REF, F_POSITION, F_MESSAGE_ADDRESS, F_FAILURE, F_ATTEMPTS, F_ENDED_AT, F_MESSAGE_ID,
	F_IN_QUEUE, F_DUE, F_IS_LEASED, F_DEATHS, F_SCHEDULED_ON,
	F_IS_ACTIVE, F_ADDRESS, F_SUPPRESSED_AS, F_CONSENTED, F_CONSENT, F_CONTACT_ZONE, F_TENANT_ZONE,
	F_SENDER, F_SENDER_ACTIVE, F_RESTING_UNTIL, F_REST_REASON, F_FALLBACK,
	F_USED, F_LIMIT, F_SPENT, F_BUDGET, F_OVER_BUDGET, F_POOL, F_POOL_USED, F_POOL_LIMIT, F_IN_POOL, F_RATE,
	F_QUIET_FROM, F_QUIET_UNTIL, F_WEEKDAYS, F_MATCHES, F_ROWS
};

typedef struct Answer
{
	ReturnSetInfo *rsinfo;
	SPITupleTable *facts;
	TimestampTz now;
	const char *refused;		/* first gate that did not let it through */
	const char *refusal;
	bool		waits;			/* that gate opens by itself */
} Answer;

static void load_facts(int64 contact, int64 campaign, int64 tenant, TimestampTz now);
static void gate(Answer *answer, const char *name, bool passed, bool waits, const char *detail);
static void contact_gates(Answer *answer);
static void time_gates(Answer *answer, int64 contact, int64 campaign, int64 tenant);
static void sender_gates(Answer *answer);
static void outcome(Answer *answer);

PG_FUNCTION_INFO_V1(mktg_why);

/*
 * SQL: mktg.why(contact bigint, campaign bigint, tenant bigint)
 *		returns setof (gate text, passed boolean, detail text)
 *
 * Of several messages of the campaign to the contact it speaks of the last.
 * Errors: MK010, MK011, MK014.
 */
Datum
mktg_why(PG_FUNCTION_ARGS)
{
	int64		contact = mktg_int64_argument(fcinfo, 0, "contact");
	int64		campaign = mktg_int64_argument(fcinfo, 1, "campaign");
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");
	Answer		answer = {.now = mktg_now()};
	char	   *status;
	char	   *reason;

	InitMaterializedSRF(fcinfo, 0);
	answer.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	mktg_begin();
	mktg_require_campaign(campaign, tenant);
	mktg_require_contact(contact, tenant);
	load_facts(contact, campaign, tenant, answer.now);
	answer.facts = SPI_tuptable;

	status = mktg_text_at(0, F_CAMPAIGN_STATUS);
	reason = mktg_text_at(0, F_PAUSE_REASON);
	gate(&answer, "campaign", strcmp(status, "active") == 0, strcmp(status, "draft") == 0 || strcmp(status, "paused") == 0,
		 reason == NULL ? status : psprintf("%s: %s", status, reason));
	if (!mktg_null_at(0, F_STATUS))
		gate(&answer, "audience", true, false,
			 mktg_null_at(0, F_POSITION) ? psprintf("message %s", mktg_text_at(0, F_MESSAGE_ID)) :
			 psprintf("recipient %d, message %s", mktg_int32_at(0, F_POSITION), mktg_text_at(0, F_MESSAGE_ID)));
	else
		gate(&answer, "audience", false, false,
			 mktg_null_at(0, F_MATCHES) ? "not a recipient" : mktg_bool_at(0, F_MATCHES) ?
			 "not a recipient; the campaign's rules mean this contact: add_audience() would add it" :
			 "not a recipient; the campaign's rules do not mean this contact");
	gate(&answer, "expiry", !mktg_bool_at(0, F_IS_EXPIRED), false,
		 mktg_null_at(0, F_EXPIRES) ? "none" : mktg_text_at(0, F_EXPIRES));
	contact_gates(&answer);
	time_gates(&answer, contact, campaign, tenant);
	SPI_tuptable = answer.facts;
	sender_gates(&answer);
	outcome(&answer);
	mktg_end();
	PG_RETURN_NULL();
}

static void
load_facts(int64 contact, int64 campaign, int64 tenant, TimestampTz now)
{
	static MktgQuery query = MKTG_QUERY(
		"SELECT c.status, c.pause_reason, c.type, c.channel,"
		"  coalesce(c.expires_at <= $4 OR m.queued_at + c.max_age <= $4, false), least(c.expires_at, m.queued_at + c.max_age)::text,"
		"  m.status, m.ref, m.position, m.address, m.failure_reason, m.attempts::integer,"
		"  coalesce(m.read_at, m.delivered_at, m.sent_at, m.failed_at)::text,"
		"  mktg._message_id(m.tenant_id, m.campaign_id, m.contact_id, m.ref),"
		"  o.contact_id IS NOT NULL, o.due, o.lease IS NOT NULL, o.deaths::integer,"
		"  (SELECT r.send_date FROM mktg.send_schedule r WHERE r.tenant_id = m.tenant_id AND r.campaign_id = m.campaign_id"
		"    AND r.status = 'planned' AND m.position BETWEEN r.from_position AND r.to_position),"
		"  p.is_active, " MKTG_SQL_ADDRESS("c.channel", "p") ","
		"  (SELECT x.reason FROM mktg.suppression x WHERE x.tenant_id = p.tenant_id AND x.channel = c.channel"
		"    AND x.address_hash = mktg.address_hash(coalesce(m.address, " MKTG_SQL_ADDRESS("c.channel", "p") "))),"
		"  " MKTG_SQL_CONSENTED("c.channel", "p") ","
		"  (SELECT string_agg(k.topic || ' ' || k.state, ', ' ORDER BY k.topic) FROM mktg.consent k"
		"    WHERE k.tenant_id = p.tenant_id AND k.contact_id = p.contact_id AND k.channel = c.channel),"
		"  p.time_zone, n.time_zone,"
		"  s.name, s.is_active, s.resting_until::text, s.rest_reason, s.fallback, s.used_today, s.limit_today,"
		"  s.spent_this_month::text, s.monthly_budget::text,"
		"  coalesce(s.spent_this_month + s.cost_per_message > s.monthly_budget, false),"
		"  s.pool, s.pool_contacts, s.pool_limit,"
		"  EXISTS (SELECT FROM mktg.sender d JOIN mktg.pool_contact x ON x.tenant_id = d.tenant_id AND x.pool_id = d.pool_id"
		"    WHERE d.tenant_id = s.tenant_id AND d.sender_id = s.sender_id AND x.contact_id = p.contact_id AND x.at > $4 - interval '24 hours'),"
		"  s.rate_per_second::text, s.quiet_from, s.quiet_until,"
		"  " MKTG_SQL_WEEKDAYS("s") ","
		"  CASE WHEN m.contact_id IS NULL AND c.target_audience IS NOT NULL THEN mktg.matches(p.contact_id, c.target_audience, tenant => c.tenant_id) END"
		" FROM mktg.campaign c"
		" JOIN mktg.contact p ON p.tenant_id = c.tenant_id AND p.contact_id = $2"
		" JOIN mktg.tenant n ON n.tenant_id = c.tenant_id"
		" LEFT JOIN LATERAL (SELECT * FROM mktg.message m WHERE m.tenant_id = c.tenant_id AND m.campaign_id = c.campaign_id"
		"   AND m.contact_id = p.contact_id ORDER BY m.queued_at DESC NULLS LAST, m.ref LIMIT 1) m ON true"
		" LEFT JOIN mktg.outbox o ON o.tenant_id = m.tenant_id AND o.campaign_id = m.campaign_id"
		"   AND o.contact_id = m.contact_id AND o.ref = m.ref"
		" LEFT JOIN mktg.sender_status s ON s.tenant_id = c.tenant_id AND s.sender_id = c.sender_id"
		" WHERE c.tenant_id = $3 AND c.campaign_id = $1",
		INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID);

	mktg_call(&query, MKTG_INT64(campaign), MKTG_INT64(contact), MKTG_INT64(tenant), MKTG_TIME(now));
}

static void
gate(Answer *answer, const char *name, bool passed, bool waits, const char *detail)
{
	Datum		values[3] = {CStringGetTextDatum(name), BoolGetDatum(passed), CStringGetTextDatum(detail)};
	bool		nulls[3] = {false, false, false};

	tuplestore_putvalues(answer->rsinfo->setResult, answer->rsinfo->setDesc, values, nulls);
	if (passed || answer->refused != NULL)
		return;
	answer->refused = pstrdup(name);
	answer->refusal = pstrdup(detail);
	answer->waits = waits;
}

static bool
is_transactional(void)
{
	return strcmp(mktg_text_at(0, F_TYPE), "transactional") == 0;
}

static void
contact_gates(Answer *answer)
{
	const char *consent = mktg_text_at(0, F_CONSENT);

	gate(answer, "contact", mktg_bool_at(0, F_IS_ACTIVE), false, mktg_bool_at(0, F_IS_ACTIVE) ? "active" : "not active");
	gate(answer, "address", mktg_text_at(0, mktg_null_at(0, F_STATUS) ? F_ADDRESS : F_MESSAGE_ADDRESS) != NULL, false,
		 mktg_text_at(0, mktg_null_at(0, F_STATUS) ? F_ADDRESS : F_MESSAGE_ADDRESS) != NULL ?
		 psprintf("has one on %s", mktg_text_at(0, F_CHANNEL)) : psprintf("has none on %s", mktg_text_at(0, F_CHANNEL)));
	gate(answer, "suppression", mktg_null_at(0, F_SUPPRESSED_AS), false,
		 mktg_null_at(0, F_SUPPRESSED_AS) ? "none" : mktg_text_at(0, F_SUPPRESSED_AS));
	gate(answer, "consent", is_transactional() || mktg_bool_at(0, F_CONSENTED), false,
		 is_transactional() ? "not asked for: transactional" : consent == NULL ? "none given" : consent);
}

static const char *
time_text(TimestampTz at)
{
	return pstrdup(timestamptz_to_str(at));
}

static void
schedule_gate(Answer *answer)
{
	TimestampTz due = (TimestampTz) mktg_int64_at(0, F_DUE);
	bool		isnull;

	if (mktg_bool_at(0, F_IN_QUEUE))
		gate(answer, "schedule", due <= answer->now, true,
			 due <= answer->now ? "due" : psprintf("due at %s", time_text(due)));
	else if (!mktg_null_at(0, F_SCHEDULED_ON))
		gate(answer, "schedule", false, true,
			 psprintf("planned for %s", DatumGetCString(DirectFunctionCall1(date_out, mktg_value_at(0, F_SCHEDULED_ON, &isnull)))));
	else
		gate(answer, "schedule", true, false, mktg_null_at(0, F_STATUS) ? "not planned" : "nothing to wait for");
}

/* The plan, the hours of the recipient, and how much was sent to it lately. */
static void
time_gates(Answer *answer, int64 contact, int64 campaign, int64 tenant)
{
	MktgHours	hours = mktg_hours_at(0, F_QUIET_FROM);
	const char *zone_name = mktg_text_at(0, mktg_null_at(0, F_CONTACT_ZONE) ? F_TENANT_ZONE : F_CONTACT_ZONE);
	pg_tz	   *zone = mktg_zone_or(mktg_text_at(0, F_CONTACT_ZONE), mktg_find_zone(mktg_text_at(0, F_TENANT_ZONE)));
	TimestampTz allowed = is_transactional() ? answer->now : mktg_next_allowed(answer->now, &hours, zone);
	MktgTouch	touch = {
		.tenant_id = tenant, .campaign_id = campaign, .contact_id = contact, .ref = "",
		.channel = mktg_text_at(0, F_CHANNEL), .type = mktg_text_at(0, F_TYPE)
	};

	schedule_gate(answer);
	gate(answer, "quiet hours", allowed <= answer->now, true,
		 is_transactional() ? "not asked for: transactional" : mktg_any_time(&hours) ? "any time" :
		 allowed <= answer->now ? psprintf("open in %s", zone_name) :
		 psprintf("closed in %s until %s", zone_name, time_text(allowed)));
	if (is_transactional())
	{
		gate(answer, "frequency caps", true, false, "not asked for: transactional");
		return;
	}
	/* one that has been counted is not counted against itself */
	if (mktg_int32_at(0, F_ATTEMPTS) == 0 && !mktg_bool_at(0, F_IS_LEASED) && strcmp(touch.channel, "ads") != 0)
		mktg_frequency_ask(&touch, 1, answer->now);
	gate(answer, "frequency caps", !touch.over, !touch.skip,
		 !touch.over ? "within" : touch.skip ? psprintf("%s: skipped", touch.cap) :
		 psprintf("%s: waits until %s", touch.cap, time_text(touch.until)));
}

static void
sender_gates(Answer *answer)
{
	bool		full;

	if (mktg_null_at(0, F_SENDER))
	{
		gate(answer, "sender", false, false, "the campaign has none yet");
		return;
	}
	gate(answer, "sender", mktg_bool_at(0, F_SENDER_ACTIVE) && (mktg_null_at(0, F_RESTING_UNTIL) || !mktg_null_at(0, F_FALLBACK)),
		 mktg_bool_at(0, F_SENDER_ACTIVE),
		 !mktg_bool_at(0, F_SENDER_ACTIVE) ? psprintf("%s is not active", mktg_text_at(0, F_SENDER)) :
		 mktg_null_at(0, F_RESTING_UNTIL) ? psprintf("%s is ready", mktg_text_at(0, F_SENDER)) :
		 psprintf("%s rests until %s%s: %s", mktg_text_at(0, F_SENDER), mktg_text_at(0, F_RESTING_UNTIL),
				  mktg_null_at(0, F_FALLBACK) ? "" : psprintf(", %s stands in", mktg_text_at(0, F_FALLBACK)),
				  mktg_text_at(0, F_REST_REASON)));
	gate(answer, "daily limit", mktg_null_at(0, F_LIMIT) || mktg_int32_at(0, F_USED) < mktg_int32_at(0, F_LIMIT), true,
		 mktg_null_at(0, F_LIMIT) ? "none" : psprintf("%d of %d used today", mktg_int32_at(0, F_USED), mktg_int32_at(0, F_LIMIT)));
	gate(answer, "budget", !mktg_bool_at(0, F_OVER_BUDGET), true,
		 mktg_null_at(0, F_BUDGET) ? "none" :
		 psprintf("%s of %s spent this month", mktg_text_at(0, F_SPENT), mktg_text_at(0, F_BUDGET)));
	full = !mktg_null_at(0, F_POOL) && !mktg_bool_at(0, F_IN_POOL) &&
		mktg_int64_at(0, F_POOL_USED) >= mktg_int32_at(0, F_POOL_LIMIT);
	gate(answer, "pool", !full, true,
		 mktg_null_at(0, F_POOL) ? "none" :
		 psprintf("%s: " INT64_FORMAT " of %d contacts in 24 hours%s", mktg_text_at(0, F_POOL), mktg_int64_at(0, F_POOL_USED),
				  mktg_int32_at(0, F_POOL_LIMIT), mktg_bool_at(0, F_IN_POOL) ? ", this one among them" : ""));
	gate(answer, "rate", true, false,
		 mktg_null_at(0, F_RATE) ? "none" : psprintf("%s a second", mktg_text_at(0, F_RATE)));
}

/* What happened, or what will. */
static void
outcome(Answer *answer)
{
	const char *status = mktg_text_at(0, F_STATUS);
	const char *failure = mktg_text_at(0, F_FAILURE);
	const char *ended_at = mktg_text_at(0, F_ENDED_AT);
	bool		open = status == NULL || strcmp(status, "pending") == 0 || strcmp(status, "queued") == 0;

	if (!open)
		gate(answer, "outcome", strcmp(status, "sent") == 0 || strcmp(status, "delivered") == 0 || strcmp(status, "read") == 0, false,
			 psprintf("%s%s%s%s%s", status, ended_at == NULL ? "" : " at ", ended_at == NULL ? "" : ended_at,
					  failure == NULL ? "" : ": ", failure == NULL ? "" : failure));
	else if (mktg_bool_at(0, F_IS_LEASED))
		gate(answer, "outcome", true, false, "on its way to the provider");
	else if (answer->refused == NULL)
		gate(answer, "outcome", true, false, "goes out with one of the next claims");
	else if (answer->waits)
		gate(answer, "outcome", false, true, psprintf("waits: %s, %s", answer->refused, answer->refusal));
	else
		gate(answer, "outcome", false, false, psprintf("will not be sent: %s, %s", answer->refused, answer->refusal));
}
