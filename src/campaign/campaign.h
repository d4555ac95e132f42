/*-------------------------------------------------------------------------
 *
 * campaign.h
 *		Campaigns, their recipients, their plan; and single messages.
 *
 * All functions are called within SPI (mktg_begin()).
 *
 * IDENTIFICATION
 *		src/campaign/campaign.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_CAMPAIGN_H
#define MKTG_CAMPAIGN_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/date.h"

#include "base/query.h"

typedef struct MktgCampaign
{
	int64		tenant_id;
	int64		campaign_id;
	char	   *name;
	char	   *type;
	char	   *channel;
	char	   *status;
	int64		template_id;	/* 0: none */
	int64		sender_id;		/* 0: none */
	int32		daily_limit;	/* 0: none */
	int32		last_position;
} MktgCampaign;

extern void mktg_require_campaign(int64 campaign, int64 tenant);

/* Reads a campaign and locks its row until the transaction ends. */
extern void mktg_lock_campaign(int64 campaign, int64 tenant, MktgCampaign *out);

/* Sender of a name, or the default of a channel (name NULL; 0 where there is none). */
extern int64 mktg_find_sender(const char *name, const char *channel, int64 tenant);

/* Template of a name and channel; refuses a name that is not there. */
extern int64 mktg_find_template(const char *name, const char *channel, int64 tenant);

/* Argument n is NULL or a JSON object of at most MKTG_MAX_JSON bytes. */
#define MKTG_MAX_JSON	(1024 * 1024)
extern void mktg_require_object(FunctionCallInfo fcinfo, int n, const char *what);

extern void mktg_refuse_transition(const MktgCampaign *campaign, const char *action);
extern void mktg_refuse_other_channel(const char *kind, const char *name,
									  const char *has, const char *wanted);

/* ---- plan.c ---- */

/* a plan longer than a century is a mistake */
#define MKTG_MAX_PLAN_DAYS	36525

/*
 * Serialises planning and dispatch under a sender; gives its daily limit, 0 for
 * none, INT32_MAX where only its warm-up limits it.
 */
extern int32 mktg_lock_sender(int64 sender, int64 tenant);

/*
 * Lays what is left of the sender's running campaigns over the days from
 * "today" on.  Where the sender has no limit its campaigns do not compete and
 * only "campaign" is laid (0: all).
 */
extern void mktg_plan_sender(int64 sender, int32 sender_limit, int64 campaign,
							 DateADT today, int64 tenant);

/*
 * Takes what a sender's campaign (0: all of them) queued on earlier days and
 * has not begun back; whoever calls this plans the same campaigns anew.
 */
extern void mktg_recall_overdue(int64 sender, int64 campaign, DateADT today, int64 tenant);

/* Ends the campaigns of a tenant (0: all) that have nothing left to send. */
extern void mktg_complete_campaigns(int64 tenant, TimestampTz now);

/* ---- limits.c ---- */

/* Pauses active campaigns of their own accord; columns tenant, campaign, reason. */
extern const Oid mktg_pause_types[3];
extern void mktg_pause_campaigns(const MktgColumns *campaigns);

/* Those whose bounces or complaints pass their limits. */
extern void mktg_pause_over_limits(void);

/* ---- message.c ---- */

typedef struct MktgMessageKey
{
	int64		tenant_id;
	int64		campaign_id;
	int64		contact_id;
	char	   *ref;
} MktgMessageKey;

/* "tenant-campaign-contact" or "tenant-campaign-contact-ref" */
extern char *mktg_message_id(const MktgMessageKey *key);
extern bool mktg_parse_message_id(const char *id, MktgMessageKey *key);

/* Argument n as the ref of a message, or a random one that no other message has. */
extern char *mktg_message_ref(FunctionCallInfo fcinfo, int n, const char *what);

/*
 * Queues a message of a running campaign and wakes the worker at commit, or
 * writes it down as skipped; a message of that key that is there already stays.
 */
extern void mktg_enqueue(const MktgMessageKey *key, const char *channel, MktgArg variables, bool consent);

/* Columns of reports: tenant, campaign, contact, ref, status, at, reason. */
extern const Oid mktg_report_types[7];

/*
 * Applies reports of the statuses sent, delivered, read, failed and bounced;
 * gives the number of messages that moved.
 */
extern uint64 mktg_apply_reports(const MktgColumns *reports);

/* ---- fragments of SQL that say one rule in one place ---- */

/*
 * The address of contact row "c" on a channel (SQL expressions).  Push tokens
 * and webhook targets are attributes; in_app reaches the contact itself.
 * Advertisers know a person by either of two addresses.
 */
#define MKTG_SQL_ADDRESS(channel, c) \
	"CASE " channel " WHEN 'email' THEN " c ".email" \
	" WHEN 'sms' THEN " c ".phone WHEN 'whatsapp' THEN " c ".phone" \
	" WHEN 'push' THEN nullif(btrim(" c ".attributes ->> 'push_token'), '')" \
	" WHEN 'webhook' THEN coalesce(nullif(btrim(" c ".attributes ->> 'webhook_url'), ''), " c ".contact_id::text)" \
	" WHEN 'ads' THEN coalesce(" c ".email, " c ".phone)" \
	" ELSE " c ".contact_id::text END"

/*
 * Consent, for row "r" with tenant_id and contact_id: subscribed to the
 * channel in any topic, and not unsubscribed from topic marketing.
 */
#define MKTG_SQL_CONSENTED(channel, r) \
	"(EXISTS (SELECT FROM mktg.consent k WHERE k.tenant_id = " r ".tenant_id" \
	"   AND k.contact_id = " r ".contact_id AND k.channel = " channel " AND k.state = 'subscribed')" \
	" AND NOT EXISTS (SELECT FROM mktg.consent k WHERE k.tenant_id = " r ".tenant_id" \
	"   AND k.contact_id = " r ".contact_id AND k.channel = " channel \
	"   AND k.topic = 'marketing' AND k.state = 'unsubscribed'))"

#define MKTG_SQL_SUPPRESSED(channel, address, r) \
	"EXISTS (SELECT FROM mktg.suppression x WHERE x.tenant_id = " r ".tenant_id" \
	" AND x.channel = " channel " AND x.address_hash = mktg.address_hash(" address "))"

/*
 * A removal from an advertiser's audience: it goes whatever the contact's state,
 * for who has left, unsubscribed or been deleted is to be forgotten there.
 */
#define MKTG_SQL_REMOVAL(m, c) \
	"(" c ".type = 'audience_sync' AND " m ".variables ->> 'operation' = 'remove')"

/*
 * Uploads of one contact to an audience go one after another, in the order of
 * their refs: row "o" of the queue waits while an earlier one is there.  An
 * addition also waits while the contact may not be uploaded: were it left out,
 * somebody who is back before the segment has noticed would be missing for good.
 * Either a removal follows, or consent comes back.
 */
#define MKTG_SQL_ITS_TURN(type, o) \
	"(" type " <> 'audience_sync'" \
	" OR NOT EXISTS (SELECT FROM mktg.outbox e WHERE e.tenant_id = " o ".tenant_id" \
	"   AND e.campaign_id = " o ".campaign_id AND e.contact_id = " o ".contact_id AND e.ref < " o ".ref)" \
	" AND (" o ".ref LIKE '%-1'" \
	"  OR EXISTS (SELECT FROM mktg.outbox e WHERE e.tenant_id = " o ".tenant_id" \
	"    AND e.campaign_id = " o ".campaign_id AND e.contact_id = " o ".contact_id AND e.ref > " o ".ref)" \
	"  OR " MKTG_SQL_CONSENTED("'ads'", o) \
	"   AND EXISTS (SELECT FROM mktg.contact p WHERE p.tenant_id = " o ".tenant_id" \
	"    AND p.contact_id = " o ".contact_id AND p.is_active)))"

/* An addition that a later upload makes pointless is left out. */
#define MKTG_SQL_SUPERSEDED(m, c) \
	"(" c ".type = 'audience_sync' AND EXISTS (SELECT FROM mktg.outbox e WHERE e.tenant_id = " m ".tenant_id" \
	"   AND e.campaign_id = " m ".campaign_id AND e.contact_id = " m ".contact_id AND e.ref > " m ".ref))"

/*
 * What becomes of messages whose outcome nobody knows, of campaign "c" and its
 * sender "s".  Who takes a message twice without harm is sent it again.
 */
#define MKTG_SQL_ON_DOUBT(c, s) \
	"coalesce(" s ".on_doubt, CASE WHEN " c ".type = 'transactional' OR " c ".channel IN ('webhook', 'ads', 'in_app')" \
	" THEN 'retry' ELSE 'hold' END)"

/*
 * Why a queued or pending message "m" of campaign "c" must not go to contact
 * "p" (a LEFT JOIN), or NULL.  The order is that of the answer a person wants.
 */
#define MKTG_SQL_GATE(m, c, p) \
	"CASE WHEN " MKTG_SQL_REMOVAL(m, c) " THEN NULL" \
	" WHEN " MKTG_SQL_SUPERSEDED(m, c) " THEN 'superseded'" \
	" WHEN " p ".contact_id IS NULL OR NOT " p ".is_active THEN 'inactive'" \
	" WHEN " m ".address IS NULL THEN 'unreachable'" \
	" WHEN " MKTG_SQL_SUPPRESSED(c ".channel", m ".address", m) " THEN 'suppressed'" \
	" WHEN " c ".type <> 'transactional' AND NOT " MKTG_SQL_CONSENTED(c ".channel", m) \
	" THEN 'unsubscribed' END"

/*
 * Whether a report may move a message from status "old" to "new": the later
 * stage wins, an end stays, and a doubt is decided by whatever is reported.
 */
#define MKTG_SQL_MOVES(old, new) \
	"(CASE " old " WHEN 'queued' THEN 10 WHEN 'in_doubt' THEN 15 WHEN 'sent' THEN 20" \
	" WHEN 'delivered' THEN 30 WHEN 'read' THEN 40 ELSE 99 END <" \
	" CASE " new " WHEN 'sent' THEN 20 WHEN 'failed' THEN 25 WHEN 'bounced' THEN 25" \
	" WHEN 'delivered' THEN 30 WHEN 'read' THEN 40 ELSE 0 END)"

#endif
