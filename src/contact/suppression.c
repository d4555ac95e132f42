/*-------------------------------------------------------------------------
 *
 * suppression.c
 *		Addresses nothing is sent to, whatever their consent.
 *
 * Only the hash of an address is stored, so that an address that must be
 * forgotten can stay suppressed.
 *
 * IDENTIFICATION
 *		src/contact/suppression.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/base.h"
#include "contact/contact.h"

static const char *const reasons[] = {
	"hard_bounce", "complaint", "stop", "manual", "legal", "erased"
};

static Datum hash_of_address(const char *channel, text *address);
static void require_reason(const char *reason);

PG_FUNCTION_INFO_V1(mktg_suppress);
PG_FUNCTION_INFO_V1(mktg_unsuppress);

/*
 * SQL: mktg.suppress(channel text, address text, reason text, tenant bigint)
 *		returns void
 *
 * An address that is suppressed already keeps its reason and time.
 * Errors: MK012 unknown channel, MK022 malformed address, MK024 unknown reason.
 */
Datum
mktg_suppress(PG_FUNCTION_ARGS)
{
	static MktgQuery query =
		MKTG_QUERY("INSERT INTO mktg.suppression (tenant_id, channel, address_hash, reason, at)"
				   " VALUES ($1, $2, $3, $4, $5)"
				   " ON CONFLICT (tenant_id, channel, address_hash) DO NOTHING",
				   INT8OID, TEXTOID, BYTEAOID, TEXTOID, TIMESTAMPTZOID);
	char	   *channel = mktg_text_argument(fcinfo, 0, "channel");
	char	   *reason = mktg_text_argument(fcinfo, 2, "reason");
	int64		tenant = mktg_int64_argument(fcinfo, 3, "tenant");
	Datum		hash;

	mktg_require_channel(channel);
	(void) mktg_text_argument(fcinfo, 1, "address");
	require_reason(reason);
	hash = hash_of_address(channel, PG_GETARG_TEXT_PP(1));

	mktg_begin();
	mktg_require_tenant(tenant);
	mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(channel), MKTG_ARG(hash),
			  MKTG_TEXT(reason), MKTG_TIME(mktg_now()));
	mktg_end();
	PG_RETURN_VOID();
}

/*
 * SQL: mktg.unsuppress(channel text, address text, tenant bigint) returns boolean
 *
 * False if the address was not suppressed.
 * Errors: MK012 unknown channel, MK022 malformed address.
 */
Datum
mktg_unsuppress(PG_FUNCTION_ARGS)
{
	static MktgQuery query =
		MKTG_QUERY("DELETE FROM mktg.suppression"
				   " WHERE tenant_id = $1 AND channel = $2 AND address_hash = $3",
				   INT8OID, TEXTOID, BYTEAOID);
	char	   *channel = mktg_text_argument(fcinfo, 0, "channel");
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");
	Datum		hash;
	bool		found;

	mktg_require_channel(channel);
	(void) mktg_text_argument(fcinfo, 1, "address");
	hash = hash_of_address(channel, PG_GETARG_TEXT_PP(1));

	mktg_begin();
	mktg_require_tenant(tenant);
	found = mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(channel), MKTG_ARG(hash)) > 0;
	mktg_end();
	PG_RETURN_BOOL(found);
}

static Datum
hash_of_address(const char *channel, text *address)
{
	Datum		form = DirectFunctionCall2(mktg_normalize_address,
										   CStringGetTextDatum(channel), PointerGetDatum(address));

	return DirectFunctionCall1(mktg_address_hash, form);
}

static void
require_reason(const char *reason)
{
	for (int i = 0; i < lengthof(reasons); i++)
		if (strcmp(reason, reasons[i]) == 0)
			return;
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_VALUE),
			 errmsg("suppression reason \"%s\" does not exist", reason),
			 errhint("Reasons are hard_bounce, complaint, stop, manual, legal and erased.")));
}
