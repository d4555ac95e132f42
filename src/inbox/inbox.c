/*-------------------------------------------------------------------------
 *
 * inbox.c
 *		Messages in the application: what a contact has, and what it has read.
 *
 * The worker writes a message here in the transaction that records it as
 * delivered (src/worker/aftermath.c), so there is neither a message without
 * its row nor a row twice.
 *
 * IDENTIFICATION
 *		src/inbox/inbox.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"

#include "base/base.h"
#include "campaign/campaign.h"

static bool set_read(const MktgMessageKey *key, TimestampTz at);
static bool is_there(const MktgMessageKey *key);

PG_FUNCTION_INFO_V1(mktg_inbox);
PG_FUNCTION_INFO_V1(mktg_mark_read);

/*
 * SQL: mktg.inbox(contact bigint, tenant bigint DEFAULT 1) returns setof
 *		(message, campaign, title, body, data, created_at, read_at, expires_at)
 *
 * Errors: MK010 unknown tenant, MK011 unknown contact.
 */
Datum
mktg_inbox(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY(
		"SELECT mktg._message_id(tenant_id, campaign_id, contact_id, ref), campaign_id, title, body, data,"
		"  created_at, read_at, expires_at"
		" FROM mktg.inbox_message WHERE tenant_id = $1 AND contact_id = $2 AND expires_at > $3"
		" ORDER BY created_at DESC, campaign_id DESC, ref", INT8OID, INT8OID, TIMESTAMPTZOID);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		contact = mktg_int64_argument(fcinfo, 0, "contact");
	int64		tenant = mktg_int64_argument(fcinfo, 1, "tenant");
	uint64		count;

	InitMaterializedSRF(fcinfo, 0);
	mktg_begin();
	mktg_require_contact(contact, tenant);
	count = mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(contact), MKTG_TIME(mktg_now()));
	for (uint64 i = 0; i < count; i++)
		tuplestore_puttuple(rsinfo->setResult, SPI_tuptable->vals[i]);
	mktg_end();
	PG_RETURN_NULL();
}

/*
 * SQL: mktg.mark_read(message text, at timestamptz DEFAULT mktg.clock(),
 *		tenant bigint DEFAULT 1) returns boolean
 *
 * Errors: MK010 unknown tenant, MK017 no such message in an inbox.
 */
Datum
mktg_mark_read(PG_FUNCTION_ARGS)
{
	char	   *id = mktg_text_argument(fcinfo, 0, "message");
	TimestampTz at = PG_ARGISNULL(1) ? mktg_now() : PG_GETARG_TIMESTAMPTZ(1);
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");
	MktgColumns reports = MKTG_COLUMNS(mktg_report_types);
	MktgMessageKey key;
	bool		read;

	mktg_begin();
	if (!mktg_parse_message_id(id, &key) || key.tenant_id != tenant || !is_there(&key))
	{
		mktg_require_tenant(tenant);
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_UNKNOWN_MESSAGE),
				 errmsg("message \"%s\" is in no inbox", id),
				 errdetail("Tenant " INT64_FORMAT " has no such message of channel in_app.", tenant),
				 errhint("A message id is what mktg.inbox() shows, such as 1-7-4711.")));
	}
	read = set_read(&key, at);
	if (read)
	{
		mktg_columns_add(&reports, (MktgArg[])
						 {
							 MKTG_INT64(key.tenant_id), MKTG_INT64(key.campaign_id), MKTG_INT64(key.contact_id),
							 MKTG_TEXT(key.ref), MKTG_TEXT("read"), MKTG_TIME(at), MKTG_NULL
						 });
		(void) mktg_apply_reports(&reports);
	}
	mktg_end();
	PG_RETURN_BOOL(read);
}

static bool
is_there(const MktgMessageKey *key)
{
	static MktgQuery query = MKTG_QUERY("SELECT FROM mktg.inbox_message WHERE tenant_id = $1 AND campaign_id = $2"
										" AND contact_id = $3 AND ref = $4", INT8OID, INT8OID, INT8OID, TEXTOID);

	return mktg_call(&query, MKTG_INT64(key->tenant_id), MKTG_INT64(key->campaign_id),
					 MKTG_INT64(key->contact_id), MKTG_TEXT(key->ref)) > 0;
}

/* The first time counts. */
static bool
set_read(const MktgMessageKey *key, TimestampTz at)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.inbox_message SET read_at = $5 WHERE tenant_id = $1"
										" AND campaign_id = $2 AND contact_id = $3 AND ref = $4 AND read_at IS NULL",
										INT8OID, INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID);

	return mktg_call(&query, MKTG_INT64(key->tenant_id), MKTG_INT64(key->campaign_id),
					 MKTG_INT64(key->contact_id), MKTG_TEXT(key->ref), MKTG_TIME(at)) > 0;
}
