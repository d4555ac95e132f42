/*-------------------------------------------------------------------------
 *
 * consent.c
 *		Who may be written to, on which channel, about what.
 *
 * Consent is a row by contact, channel and topic; the trigger of
 * consent_log.c keeps every change of one.
 *
 * IDENTIFICATION
 *		src/contact/consent.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "base/base.h"
#include "contact/contact.h"

#define MAX_REMARK	2000		/* characters of a source or a reason */

static char *optional_remark(FunctionCallInfo fcinfo, int n, const char *what);

PG_FUNCTION_INFO_V1(mktg_subscribe);
PG_FUNCTION_INFO_V1(mktg_unsubscribe);

/*
 * SQL: mktg.subscribe(contact bigint, channel text, topic text, source text,
 *		ip inet, tenant bigint) returns void
 *
 * A later consent takes the place of an earlier one, with its own time,
 * source and IP.  Errors: MK011 unknown contact, MK012 unknown channel.
 */
Datum
mktg_subscribe(PG_FUNCTION_ARGS)
{
	static MktgQuery query =
		MKTG_QUERY("INSERT INTO mktg.consent AS k"
				   " (tenant_id, contact_id, channel, topic, state, source, ip, reason, at)"
				   " SELECT c.tenant_id, c.contact_id, $3, $4, 'subscribed', $5, $6, NULL, $7"
				   " FROM mktg.contact c WHERE c.tenant_id = $1 AND c.contact_id = $2"
				   " ON CONFLICT (tenant_id, contact_id, channel, topic) DO UPDATE"
				   " SET state = excluded.state, source = excluded.source,"
				   " ip = excluded.ip, reason = excluded.reason, at = excluded.at",
				   INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, INETOID, TIMESTAMPTZOID);
	int64		contact = mktg_int64_argument(fcinfo, 0, "contact");
	char	   *channel = mktg_text_argument(fcinfo, 1, "channel");
	char	   *topic = mktg_text_argument(fcinfo, 2, "topic");
	char	   *source = optional_remark(fcinfo, 3, "source");
	int64		tenant = mktg_int64_argument(fcinfo, 5, "tenant");

	mktg_require_channel(channel);
	mktg_require_name("topic", topic);

	mktg_begin();
	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(contact), MKTG_TEXT(channel),
				  MKTG_TEXT(topic), MKTG_TEXT(source), MKTG_FCARG(4), MKTG_TIME(mktg_now())) == 0)
		mktg_require_contact(contact, tenant);
	mktg_end();
	PG_RETURN_VOID();
}

/*
 * SQL: mktg.unsubscribe(contact bigint, channel text, topic text, reason text,
 *		tenant bigint) returns void
 *
 * Without a topic, every topic the contact has on the channel and "marketing",
 * which stands for all to come.  What is unsubscribed already keeps its time.
 * Errors: MK011 unknown contact, MK012 unknown channel.
 */
Datum
mktg_unsubscribe(PG_FUNCTION_ARGS)
{
	/* sorted: two at once meet at the first row, not crosswise */
	static MktgQuery query =
		MKTG_QUERY("WITH c AS MATERIALIZED (SELECT tenant_id, contact_id FROM mktg.contact"
				   "  WHERE tenant_id = $1 AND contact_id = $2),"
				   " topics AS (SELECT coalesce($4, 'marketing') AS topic"
				   "  UNION SELECT topic FROM mktg.consent"
				   "   WHERE tenant_id = $1 AND contact_id = $2 AND channel = $3 AND $4 IS NULL),"
				   " written AS (INSERT INTO mktg.consent AS k"
				   "  (tenant_id, contact_id, channel, topic, state, source, ip, reason, at)"
				   "  SELECT c.tenant_id, c.contact_id, $3, t.topic, 'unsubscribed', NULL, NULL, $5, $6"
				   "   FROM c CROSS JOIN topics t ORDER BY t.topic"
				   "  ON CONFLICT (tenant_id, contact_id, channel, topic) DO UPDATE"
				   "  SET state = excluded.state, source = excluded.source,"
				   "  ip = excluded.ip, reason = excluded.reason, at = excluded.at"
				   "  WHERE k.state <> 'unsubscribed')"
				   " SELECT FROM c",
				   INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID);
	int64		contact = mktg_int64_argument(fcinfo, 0, "contact");
	char	   *channel = mktg_text_argument(fcinfo, 1, "channel");
	char	   *topic = mktg_optional_text(fcinfo, 2);
	char	   *reason = optional_remark(fcinfo, 3, "reason");
	int64		tenant = mktg_int64_argument(fcinfo, 4, "tenant");

	mktg_require_channel(channel);
	if (topic != NULL)
		mktg_require_name("topic", topic);

	mktg_begin();
	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(contact), MKTG_TEXT(channel),
				  MKTG_TEXT(topic), MKTG_TEXT(reason), MKTG_TIME(mktg_now())) == 0)
		mktg_require_contact(contact, tenant);
	mktg_end();
	PG_RETURN_VOID();
}

/* Free text beside a consent; NULL stays NULL. */
static char *
optional_remark(FunctionCallInfo fcinfo, int n, const char *what)
{
	char	   *remark;
	int			length;

	if (PG_ARGISNULL(n))
		return NULL;
	remark = text_to_cstring(PG_GETARG_TEXT_PP(n));
	length = pg_mbstrlen(remark);
	if (length > MAX_REMARK)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_TOO_LARGE),
				 errmsg("\"%s\" of a consent is too long", what),
				 errdetail("It has %d characters, at most %d are allowed.", length, MAX_REMARK),
				 errhint("Keep documents elsewhere, and name them here.")));
	return remark;
}
