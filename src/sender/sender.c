/*-------------------------------------------------------------------------
 *
 * sender.c
 *		Definition of senders, pools and frequency caps.
 *
 * IDENTIFICATION
 *		src/sender/sender.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "base/base.h"
#include "base/shared.h"
#include "provider/options.h"
#include "sender/sender.h"

/* a ramp longer than a year is a mistake */
#define MAX_WARMUP_DAYS		366

static const char set_sender_sql[] =
"INSERT INTO mktg.sender AS s (tenant_id, name, provider, channel, from_address, from_name,"
"   reply_to, daily_limit, rate_per_second, max_attempts, on_doubt, is_active, fallback, pool_id,"
"   warmup, warmup_start, monthly_budget, cost_per_message, quiet_from, quiet_until, weekdays)"
" VALUES ($1, $2, $3::pg_catalog.name, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::pg_catalog.name, $14,"
"   $15, CASE WHEN $15 IS NOT NULL THEN coalesce($16, $22) END, $17, $18, $19, $20, $21)"
" ON CONFLICT (tenant_id, name) DO UPDATE SET"
"   provider = EXCLUDED.provider, channel = EXCLUDED.channel,"
"   from_address = EXCLUDED.from_address, from_name = EXCLUDED.from_name,"
"   reply_to = EXCLUDED.reply_to, daily_limit = EXCLUDED.daily_limit,"
"   rate_per_second = EXCLUDED.rate_per_second, max_attempts = EXCLUDED.max_attempts,"
"   on_doubt = EXCLUDED.on_doubt, is_active = EXCLUDED.is_active,"
"   fallback = EXCLUDED.fallback, pool_id = EXCLUDED.pool_id, warmup = EXCLUDED.warmup,"
/* said again, a ramp goes on where it is */
"   warmup_start = CASE WHEN $15 IS NOT NULL THEN coalesce($16, s.warmup_start, $22) END,"
"   monthly_budget = EXCLUDED.monthly_budget, cost_per_message = EXCLUDED.cost_per_message,"
"   quiet_from = EXCLUDED.quiet_from, quiet_until = EXCLUDED.quiet_until, weekdays = EXCLUDED.weekdays"
" RETURNING s.sender_id";

/* arguments of mktg.set_sender, as they stand in its declaration */
enum
{
	ARG_NAME, ARG_PROVIDER, ARG_CHANNEL, ARG_FROM_ADDRESS, ARG_FROM_NAME, ARG_REPLY_TO,
	ARG_DAILY_LIMIT, ARG_RATE, ARG_MAX_ATTEMPTS, ARG_ON_DOUBT, ARG_IS_ACTIVE, ARG_FALLBACK, ARG_POOL,
	ARG_WARMUP, ARG_WARMUP_START, ARG_BUDGET, ARG_COST, ARG_QUIET_FROM, ARG_QUIET_UNTIL, ARG_WEEKDAYS, ARG_TENANT
};

PG_FUNCTION_INFO_V1(mktg_set_sender);
PG_FUNCTION_INFO_V1(mktg_reset_sender);
PG_FUNCTION_INFO_V1(mktg_set_sender_pool);
PG_FUNCTION_INFO_V1(mktg_set_frequency_cap);
PG_FUNCTION_INFO_V1(mktg_drop_frequency_cap);

/* The normal form of an e-mail address; an error if it is none. */
static char *
mailbox(const char *what, const char *address)
{
	char		normal[MKTG_ADDRESS_BUFFER];

	if (mktg_email_normalize(address, strlen(address), normal) != MKTG_ADDRESS_OK)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_ADDRESS),
				 errmsg("%s is not an e-mail address", what),
				 errhint("Write it as name@domain, without a display name.")));
	return pstrdup(normal);
}

static void
require_header_safe(const char *what, const char *text)
{
	if (text == NULL || mktg_header_safe(text, strlen(text)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_VALUE),
			 errmsg("%s must not hold line breaks or other control characters", what),
			 errhint("It becomes part of a header line; write it in one line.")));
}

/*
 * Who the sender is for a driver.  What does not look like mail is left as it
 * is: a phone number, an id a provider gave out, or a name.
 */
static void
check_identity(const MktgDriver *driver, const char *channel, char **from_address,
			   const char *from_name, char **reply_to)
{
	bool		mail = driver->mail || (channel != NULL && strcmp(channel, "email") == 0);

	if (*from_address == NULL && driver->mail)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_ADDRESS),
				 errmsg("a sender of driver \"%s\" needs from_address", driver->name),
				 errhint("Give the e-mail address its messages come from.")));
	require_header_safe("from_address", *from_address);
	require_header_safe("from_name", from_name);
	if (*from_address != NULL && (mail || strchr(*from_address, '@') != NULL))
		*from_address = mailbox("from_address", *from_address);
	if (*reply_to != NULL)
		*reply_to = mailbox("reply_to", *reply_to);
}

/* Elements of an array of integers; an error if there is none, more than "most", or a NULL. */
static int
integers(const char *what, ArrayType *array, int most, Datum **values)
{
	bool	   *nulls;
	int			n;

	deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT, values, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not hold a NULL", what)));
	if (n < 1 || n > most || ARR_NDIM(array) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_LIMIT),
				 errmsg("%s must have 1 to %d elements", what, most),
				 errhint("Leave it NULL for none.")));
	return n;
}

static void
check_warmup(ArrayType *warmup)
{
	Datum	   *days;
	int			n = integers("warmup", warmup, MAX_WARMUP_DAYS, &days);

	for (int i = 0; i < n; i++)
		mktg_require_limit("a day of warmup", DatumGetInt32(days[i]));
}

static void
check_budget(FunctionCallInfo fcinfo)
{
	bool		costly = !PG_ARGISNULL(ARG_COST);
	Numeric		cost = costly ? PG_GETARG_NUMERIC(ARG_COST) : NULL;

	if (costly && (numeric_is_nan(cost) || numeric_is_inf(cost) ||
				   DatumGetBool(DirectFunctionCall2(numeric_lt, NumericGetDatum(cost),
													NumericGetDatum(int64_to_numeric(0))))))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_LIMIT),
				 errmsg("cost_per_message must be 0 or more"),
				 errhint("Give minor units of the tenant's currency; a fraction is welcome.")));
	if (PG_ARGISNULL(ARG_BUDGET))
		return;
	if (PG_GETARG_INT64(ARG_BUDGET) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_LIMIT),
				 errmsg("monthly_budget must be 0 or more"),
				 errdetail("The value given is " INT64_FORMAT ".", PG_GETARG_INT64(ARG_BUDGET)),
				 errhint("Give minor units of the tenant's currency; leave it NULL for no budget.")));
	if (!costly || DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(cost),
													NumericGetDatum(int64_to_numeric(0)))))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_LIMIT),
				 errmsg("monthly_budget without cost_per_message"),
				 errhint("Give what a message costs, in minor units of the tenant's currency.")));
}

/* The same as smallint, each day once, in order; NULL stays NULL. */
static MktgArg
weekdays(FunctionCallInfo fcinfo)
{
	Datum	   *given;
	Datum		days[7];
	int			set = 0;
	int			count = 0;
	int			n;

	if (PG_ARGISNULL(ARG_WEEKDAYS))
		return MKTG_NULL;
	n = integers("weekdays", PG_GETARG_ARRAYTYPE_P(ARG_WEEKDAYS), 7, &given);
	for (int i = 0; i < n; i++)
	{
		int32		day = DatumGetInt32(given[i]);

		if (day < 1 || day > 7)
			ereport(ERROR,
					(errcode(ERRCODE_MKTG_INVALID_VALUE),
					 errmsg("weekday %d does not exist", day),
					 errhint("1 is Monday, 7 is Sunday.")));
		set |= 1 << day;
	}
	for (int day = 1; day <= 7; day++)
		if (set & (1 << day))
			days[count++] = Int16GetDatum(day);
	return MKTG_ARG(mktg_array(days, NULL, count, INT2OID));
}

static void
check_quiet_hours(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(ARG_QUIET_FROM) != PG_ARGISNULL(ARG_QUIET_UNTIL))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("quiet hours need a beginning and an end"),
				 errhint("Give both, such as quiet_from => '21:00', quiet_until => '08:00'.")));
	if (!PG_ARGISNULL(ARG_QUIET_FROM) && PG_GETARG_TIMEADT(ARG_QUIET_FROM) == PG_GETARG_TIMEADT(ARG_QUIET_UNTIL))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("quiet hours must end at another time than they begin"),
				 errhint("is_active => false stops a sender altogether.")));
}

/* The pool of that name; NULL for none. */
static MktgArg
find_pool(const char *name, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT pool_id FROM mktg.sender_pool WHERE tenant_id = $1 AND name = $2",
										INT8OID, TEXTOID);

	if (name == NULL)
		return MKTG_NULL;
	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(name)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_UNKNOWN_SENDER),
				 errmsg("sender pool \"%s\" does not exist", name),
				 errdetail("Tenant " INT64_FORMAT " has no pool of that name.", tenant),
				 errhint("mktg.set_sender_pool() makes one.")));
	return MKTG_INT64(mktg_int64_at(0, 1));
}

static void
check_caps(FunctionCallInfo fcinfo)
{
	if (!PG_ARGISNULL(ARG_DAILY_LIMIT))
		mktg_require_limit("daily_limit", PG_GETARG_INT32(ARG_DAILY_LIMIT));
	if (!PG_ARGISNULL(ARG_RATE))
	{
		double		rate = PG_GETARG_FLOAT8(ARG_RATE);

		if (!(rate > 0) || isinf(rate))
			ereport(ERROR,
					(errcode(ERRCODE_MKTG_INVALID_LIMIT),
					 errmsg("rate_per_second must be greater than 0"),
					 errdetail("The value given is %g.", rate),
					 errhint("Leave it NULL for no limit.")));
	}
	if (PG_ARGISNULL(ARG_MAX_ATTEMPTS) ||
		PG_GETARG_INT32(ARG_MAX_ATTEMPTS) < 1 || PG_GETARG_INT32(ARG_MAX_ATTEMPTS) > 100)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_LIMIT),
				 errmsg("max_attempts must be from 1 to 100"),
				 errhint("Leave it out for 8.")));
	if (!PG_ARGISNULL(ARG_WARMUP))
		check_warmup(PG_GETARG_ARRAYTYPE_P(ARG_WARMUP));
	else if (!PG_ARGISNULL(ARG_WARMUP_START))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_LIMIT),
				 errmsg("warmup_start without warmup"),
				 errhint("Give the most messages of each day, such as warmup => '{50,100,200,400}'.")));
	check_budget(fcinfo);
}

/*
 * SQL: mktg.set_sender(name text, provider text, channel text, from_address text,
 *		from_name text, reply_to text, daily_limit integer, rate_per_second
 *		double precision, max_attempts integer, on_doubt text, is_active boolean,
 *		fallback text, pool text, warmup integer[], warmup_start date,
 *		monthly_budget bigint, cost_per_message numeric, quiet_from time,
 *		quiet_until time, weekdays integer[], tenant bigint) returns bigint
 *
 * Creates the sender, or gives the one of that name all these values.
 * Errors: MK010 tenant, MK012 channel, MK015 pool, MK016 provider or fallback,
 * MK020 name, MK021 limits, MK022 addresses, MK024 from_name, on_doubt, hours or
 * weekdays.
 */
Datum
mktg_set_sender(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY(set_sender_sql, INT8OID, TEXTOID, TEXTOID, TEXTOID,
										TEXTOID, TEXTOID, TEXTOID, INT4OID, FLOAT8OID, INT4OID,
										TEXTOID, BOOLOID, TEXTOID, INT8OID, INT4ARRAYOID, DATEOID, INT8OID,
										NUMERICOID, TIMEOID, TIMEOID, INT2ARRAYOID, DATEOID);
	char	   *name = mktg_text_argument(fcinfo, ARG_NAME, "name");
	char	   *provider = mktg_text_argument(fcinfo, ARG_PROVIDER, "provider");
	char	   *channel = mktg_optional_text(fcinfo, ARG_CHANNEL);
	char	   *from_address = mktg_optional_text(fcinfo, ARG_FROM_ADDRESS);
	char	   *from_name = mktg_optional_text(fcinfo, ARG_FROM_NAME);
	char	   *reply_to = mktg_optional_text(fcinfo, ARG_REPLY_TO);
	char	   *on_doubt = mktg_optional_text(fcinfo, ARG_ON_DOUBT);
	char	   *fallback = mktg_optional_text(fcinfo, ARG_FALLBACK);
	int64		tenant = mktg_int64_argument(fcinfo, ARG_TENANT, "tenant");
	MktgArg		pool;
	int64		sender;

	mktg_begin();
	mktg_require_tenant(tenant);
	mktg_require_name("sender", name);
	if (channel != NULL)
		mktg_require_channel(channel);
	check_identity(mktg_provider_driver(provider), channel, &from_address, from_name, &reply_to);
	if (fallback != NULL)
		check_identity(mktg_provider_driver(fallback), channel, &from_address, from_name, &reply_to);
	check_caps(fcinfo);
	check_quiet_hours(fcinfo);
	if (on_doubt != NULL && strcmp(on_doubt, "hold") != 0 && strcmp(on_doubt, "retry") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("on_doubt \"%s\" does not exist", on_doubt),
				 errhint("It is hold, retry, or NULL, which leaves it to the campaign's type.")));
	pool = find_pool(mktg_optional_text(fcinfo, ARG_POOL), tenant);

	mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(name), MKTG_TEXT(provider), MKTG_TEXT(channel),
			  MKTG_TEXT(from_address), MKTG_TEXT(from_name), MKTG_TEXT(reply_to),
			  MKTG_FCARG(ARG_DAILY_LIMIT), MKTG_FCARG(ARG_RATE), MKTG_FCARG(ARG_MAX_ATTEMPTS),
			  MKTG_TEXT(on_doubt),
			  MKTG_ARG(BoolGetDatum(PG_ARGISNULL(ARG_IS_ACTIVE) || PG_GETARG_BOOL(ARG_IS_ACTIVE))),
			  MKTG_TEXT(fallback), pool, MKTG_FCARG(ARG_WARMUP), MKTG_FCARG(ARG_WARMUP_START),
			  MKTG_FCARG(ARG_BUDGET), MKTG_FCARG(ARG_COST), MKTG_FCARG(ARG_QUIET_FROM), MKTG_FCARG(ARG_QUIET_UNTIL),
			  weekdays(fcinfo), MKTG_DATE(mktg_tenant_day(mktg_now(), tenant)));
	sender = mktg_int64_at(0, 1);
	mktg_end();
	PG_RETURN_INT64(sender);
}

/*
 * SQL: mktg.reset_sender(name text, tenant bigint) returns boolean
 *
 * Errors: MK010 tenant, MK015 sender.
 */
Datum
mktg_reset_sender(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("SELECT sender_id FROM mktg.sender WHERE tenant_id = $1 AND name = $2", INT8OID, TEXTOID);
	static MktgQuery end_query = MKTG_QUERY("UPDATE mktg.sender_state SET resting_until = NULL, rest_reason = NULL"
											" WHERE tenant_id = $1 AND sender_id = $2 AND resting_until IS NOT NULL",
											INT8OID, INT8OID);
	char	   *name = mktg_text_argument(fcinfo, 0, "name");
	int64		tenant = mktg_int64_argument(fcinfo, 1, "tenant");
	bool		rested;

	mktg_begin();
	mktg_require_tenant(tenant);
	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(name)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_UNKNOWN_SENDER),
				 errmsg("sender \"%s\" does not exist", name),
				 errdetail("Tenant " INT64_FORMAT " has no sender of that name.", tenant),
				 errhint("mktg.sender_status lists those there are.")));
	rested = mktg_call(&end_query, MKTG_INT64(tenant), MKTG_INT64(mktg_int64_at(0, 1))) > 0;
	if (rested)
		mktg_wake_at_commit();
	mktg_end();
	PG_RETURN_BOOL(rested);
}

/* ---- pools ---- */

/*
 * SQL: mktg.set_sender_pool(name text, unique_contacts integer, tenant bigint) returns bigint
 *
 * Errors: MK010 tenant, MK020 name, MK021 limit.
 */
Datum
mktg_set_sender_pool(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.sender_pool (tenant_id, name, unique_contacts) VALUES ($1, $2, $3)"
										" ON CONFLICT (tenant_id, name) DO UPDATE SET unique_contacts = EXCLUDED.unique_contacts"
										" RETURNING pool_id", INT8OID, TEXTOID, INT4OID);
	char	   *name = mktg_text_argument(fcinfo, 0, "name");
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");
	int64		pool;

	mktg_begin();
	mktg_require_tenant(tenant);
	mktg_require_name("sender pool", name);
	mktg_require_limit("unique_contacts", PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1));
	mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(name), MKTG_FCARG(1));
	pool = mktg_int64_at(0, 1);
	mktg_end();
	PG_RETURN_INT64(pool);
}

/* ---- frequency caps ---- */

/*
 * SQL: mktg.set_frequency_cap(name text, messages integer, per interval,
 *		channel text, type text, action text, tenant bigint) returns void
 *
 * What was sent before the tenant had a cap is looked up, so that it holds from
 * the first claim on.
 * Errors: MK010 tenant, MK012 channel, MK020 name, MK021 limit, MK024 window,
 * type or action.
 */
Datum
mktg_set_frequency_cap(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.frequency_cap (tenant_id, name, messages, per, channel, type, action)"
										" VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, name) DO UPDATE"
										"  SET messages = EXCLUDED.messages, per = EXCLUDED.per, channel = EXCLUDED.channel,"
										"   type = EXCLUDED.type, action = EXCLUDED.action",
										INT8OID, TEXTOID, INT4OID, INTERVALOID, TEXTOID, TEXTOID, TEXTOID);
	static MktgQuery history_query = MKTG_BULK_QUERY(
		"INSERT INTO mktg.contact_send (tenant_id, contact_id, campaign_id, ref, at, channel, type)"
		" SELECT m.tenant_id, m.contact_id, m.campaign_id, m.ref, coalesce(m.sent_at, m.queued_at), c.channel, c.type"
		"  FROM mktg.campaign c JOIN mktg.message m ON m.tenant_id = c.tenant_id AND m.campaign_id = c.campaign_id"
		" WHERE c.tenant_id = $1 AND " MKTG_SQL_COUNTED("c")
		"  AND (m.status IN ('sent', 'delivered', 'read', 'in_doubt') OR m.status = 'queued' AND EXISTS"
		"    (SELECT FROM mktg.outbox o WHERE o.tenant_id = m.tenant_id AND o.campaign_id = m.campaign_id"
		"      AND o.contact_id = m.contact_id AND o.ref = m.ref AND o.attempt > 0))"
		"  AND coalesce(m.sent_at, m.queued_at) > $2 - $3"
		" ON CONFLICT DO NOTHING", INT8OID, TIMESTAMPTZOID, INTERVALOID);
	static MktgQuery window_query = MKTG_QUERY("SELECT $1 > '0' AND $1 <= '366 days'", INTERVALOID);
	char	   *name = mktg_text_argument(fcinfo, 0, "name");
	char	   *channel = mktg_optional_text(fcinfo, 3);
	char	   *type = mktg_optional_text(fcinfo, 4);
	char	   *action = PG_ARGISNULL(5) ? "defer" : mktg_optional_text(fcinfo, 5);
	int64		tenant = mktg_int64_argument(fcinfo, 6, "tenant");

	mktg_begin();
	mktg_require_tenant(tenant);
	mktg_require_name("frequency cap", name);
	mktg_require_limit("messages", PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1));
	if (channel != NULL)
		mktg_require_channel(channel);
	if (PG_ARGISNULL(2) || (mktg_call(&window_query, MKTG_FCARG(2)), !mktg_bool_at(0, 1)))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("per must be more than nothing and at most 366 days"),
				 errhint("Give a window such as '7 days'.")));
	if (type != NULL && strcmp(type, "transactional") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("transactional messages have no frequency cap"),
				 errhint("Name another type of campaign, or NULL for all others.")));
	if (channel != NULL && strcmp(channel, "ads") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("uploads to advertisers have no frequency cap"),
				 errhint("Name a channel on which a contact gets messages, or NULL for all of them.")));
	if (strcmp(action, "defer") != 0 && strcmp(action, "skip") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("action \"%s\" does not exist", action),
				 errhint("It is defer, which lets a message wait, or skip.")));
	mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(name), MKTG_FCARG(1), MKTG_FCARG(2), MKTG_TEXT(channel),
			  MKTG_TEXT(type), MKTG_TEXT(action));
	mktg_call(&history_query, MKTG_INT64(tenant), MKTG_TIME(mktg_now()), MKTG_FCARG(2));
	mktg_end();
	PG_RETURN_VOID();
}

/*
 * SQL: mktg.drop_frequency_cap(name text, tenant bigint) returns boolean
 *
 * False if there is none of that name.  Errors: MK010 tenant.
 */
Datum
mktg_drop_frequency_cap(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("DELETE FROM mktg.frequency_cap WHERE tenant_id = $1 AND name = $2",
										INT8OID, TEXTOID);
	char	   *name = mktg_text_argument(fcinfo, 0, "name");
	int64		tenant = mktg_int64_argument(fcinfo, 1, "tenant");
	bool		dropped;

	mktg_begin();
	mktg_require_tenant(tenant);
	dropped = mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(name)) > 0;
	mktg_end();
	PG_RETURN_BOOL(dropped);
}
