/*-------------------------------------------------------------------------
 *
 * conversion.c
 *		What people bought, told to an advertiser.
 *
 * A conversion is a message of a stream, as those of mktg.send() are: one
 * campaign for each sender.  It waits in the transaction of the purchase, and
 * needs the contact's consent on channel ads.
 *
 * IDENTIFICATION
 *		src/ads/conversion.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "ads/ads.h"
#include "base/base.h"
#include "campaign/campaign.h"

#define CHANNEL		"ads"

static char *amount_text(int64 value, const char *currency);
static char *read_currency(FunctionCallInfo fcinfo, int value, int currency, int64 tenant);
static int64 find_stream(const char *sender_name, int64 tenant);

PG_FUNCTION_INFO_V1(mktg_send_conversion);

/*
 * SQL: mktg.send_conversion(contact bigint, event text, sender text,
 *		occurred_at timestamptz, value bigint, currency text, event_id text,
 *		properties jsonb, tenant bigint) returns text
 *
 * Whoever has not agreed, or has no address, gets a message "skipped" with the
 * reason.  The same event_id gives the same message id and sends nothing again.
 * Errors: MK010, MK011, MK015, MK020, MK024, MK025, MK032.
 */
Datum
mktg_send_conversion(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY(
		"SELECT jsonb_strip_nulls(jsonb_build_object('event', $1, 'occurred_at', extract(epoch FROM $2)::bigint,"
		"  'value', $3::numeric, 'currency', $4, 'event_id', $5, 'properties', nullif($6, '{}')))",
		TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID);
	int64		contact = mktg_int64_argument(fcinfo, 0, "contact");
	char	   *event = mktg_text_argument(fcinfo, 1, "event");
	char	   *sender = mktg_text_argument(fcinfo, 2, "sender");
	TimestampTz at = PG_ARGISNULL(3) ? mktg_now() : PG_GETARG_TIMESTAMPTZ(3);
	int64		tenant = mktg_int64_argument(fcinfo, 8, "tenant");
	MktgMessageKey key = {.tenant_id = tenant, .contact_id = contact};
	char	   *currency;
	bool		isnull;
	Datum		variables;
	text	   *id;

	mktg_begin();
	mktg_require_contact(contact, tenant);
	mktg_require_name("conversion event", event);
	mktg_require_object(fcinfo, 7, "properties");
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("occurred_at must be an instant"),
				 errhint("Leave it out for now.")));
	currency = read_currency(fcinfo, 4, 5, tenant);
	key.ref = mktg_message_ref(fcinfo, 6, "event_id");
	key.campaign_id = find_stream(sender, tenant);
	mktg_call(&query, MKTG_TEXT(event), MKTG_TIME(at),
			  PG_ARGISNULL(4) ? MKTG_NULL : MKTG_TEXT(amount_text(PG_GETARG_INT64(4), currency)),
			  MKTG_TEXT(currency), MKTG_FCARG(6), MKTG_FCARG(7));
	variables = mktg_value_at(0, 1, &isnull);
	mktg_enqueue(&key, CHANNEL, MKTG_ARG(variables), true);
	id = mktg_keep_text(mktg_message_id(&key));
	mktg_end();
	PG_RETURN_TEXT_P(id);
}

/* The currency of a value: the tenant's where none is named; NULL without a value. */
static char *
read_currency(FunctionCallInfo fcinfo, int value, int currency, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT currency FROM mktg.tenant WHERE tenant_id = $1", INT8OID);
	char	   *code;

	if (PG_ARGISNULL(value))
	{
		if (PG_ARGISNULL(currency))
			return NULL;
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("a currency needs a value"),
				 errhint("Give the value in minor units, or leave the currency out.")));
	}
	if (PG_GETARG_INT64(value) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("value must not be negative"),
				 errdetail("The value given is " INT64_FORMAT ".", PG_GETARG_INT64(value)),
				 errhint("Give what was earned, in minor units.")));
	if (PG_ARGISNULL(currency))
	{
		mktg_call(&query, MKTG_INT64(tenant));
		return mktg_text_at(0, 1);
	}
	code = text_to_cstring(PG_GETARG_TEXT_PP(currency));
	if (strlen(code) != 3 || strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 3)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("invalid currency \"%s\"", code),
				 errhint("Use a code of ISO 4217, such as USD or INR.")));
	return code;
}

/* In major units, as advertisers take it: 1999 and USD are 19.99. */
static char *
amount_text(int64 value, const char *currency)
{
	int			exponent = mktg_currency_exponent(currency);
	int64		unit = 1;

	for (int i = 0; i < exponent; i++)
		unit *= 10;
	if (exponent == 0)
		return psprintf(INT64_FORMAT, value);
	return psprintf(INT64_FORMAT ".%0*d", value / unit, exponent, (int) (value % unit));
}

/* Conversions of a sender belong to one campaign, made when first needed. */
static int64
find_stream(const char *sender_name, int64 tenant)
{
	static MktgQuery find_query = MKTG_QUERY("SELECT campaign_id FROM mktg.campaign WHERE tenant_id = $1 AND code = $2",
											 INT8OID, TEXTOID);
	static MktgQuery make_query = MKTG_QUERY("INSERT INTO mktg.campaign (tenant_id, name, code, type, channel,"
											 " sender_id, status, priority, activated_at)"
											 " VALUES ($1, left('conversions: ' || $2, 200), $3, 'conversion', '" CHANNEL "', $4, 'active', 10, $5)"
											 " ON CONFLICT (tenant_id, code) WHERE code IS NOT NULL DO NOTHING",
											 INT8OID, TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID);
	int64		sender = mktg_find_sender(sender_name, CHANNEL, tenant);
	char	   *code = psprintf("conversions:" INT64_FORMAT, sender);

	/* twice at most: after the insert somebody has made it */
	for (;;)
	{
		if (mktg_call(&find_query, MKTG_INT64(tenant), MKTG_TEXT(code)) > 0)
			return mktg_int64_at(0, 1);
		mktg_call(&make_query, MKTG_INT64(tenant), MKTG_TEXT(sender_name), MKTG_TEXT(code),
				  MKTG_INT64(sender), MKTG_TIME(mktg_now()));
	}
}
