/*-------------------------------------------------------------------------
 *
 * base.c
 *		The clock, and the checks at the edge of the API.
 *
 * IDENTIFICATION
 *		src/base/base.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/guc.h"

#include "base/base.h"

static const char *const channels[] = {
	"email", "sms", "push", "whatsapp", "webhook", "in_app", "ads"
};

char	   *mktg_clock_setting = NULL;

static bool check_clock(char **newval, void **extra, GucSource source);

PG_FUNCTION_INFO_V1(mktg_clock);

void
mktg_settings_init(void)
{
	DefineCustomStringVariable("mktg.clock",
							   "Stops the clock of mktg at an instant, for rehearsals and tests.",
							   "Empty means the real time. Give the time zone with it.",
							   &mktg_clock_setting,
							   "",
							   PGC_SUSET, 0,
							   check_clock, NULL, NULL);
}

/*
 * Everything is checked here: the worker reads the clock where an error would
 * end it.  What the zone makes of it is left open, as that may change.
 */
static bool
check_clock(char **newval, void **extra, GucSource source)
{
	char		workbuf[MAXDATELEN + MAXDATEFIELDS];
	char	   *field[MAXDATEFIELDS];
	int			ftype[MAXDATEFIELDS];
	int			nfields;
	int			kind;
	int			zone;
	struct pg_tm tm;
	fsec_t		fsec;
	TimestampTz instant;

	if (*newval == NULL || **newval == '\0')
		return true;
	if (ParseDateTime(*newval, workbuf, sizeof(workbuf), field, ftype,
					  MAXDATEFIELDS, &nfields) == 0 &&
		mktg_decode_datetime(field, ftype, nfields, &kind, &tm, &fsec, &zone) == 0 &&
		kind == DTK_DATE &&
		tm2timestamp(&tm, fsec, &zone, &instant) == 0)
		return true;
	GUC_check_errdetail("\"%s\" is not a timestamp.", *newval);
	return false;
}

static bool
clock_stopped(void)
{
	return mktg_clock_setting != NULL && mktg_clock_setting[0] != '\0';
}

static TimestampTz
stopped_at(void)
{
	return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
												   CStringGetDatum(mktg_clock_setting),
												   ObjectIdGetDatum(InvalidOid),
												   Int32GetDatum(-1)));
}

TimestampTz
mktg_now(void)
{
	return clock_stopped() ? stopped_at() : GetCurrentTransactionStartTimestamp();
}

TimestampTz
mktg_wall_now(void)
{
	return clock_stopped() ? stopped_at() : GetCurrentTimestamp();
}

/*
 * SQL: mktg.clock() returns timestamptz
 *
 * The transaction's time, or the instant the superuser's setting mktg.clock
 * has stopped it at.
 */
Datum
mktg_clock(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(mktg_now());
}

void
mktg_require_tenant(int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT 1 FROM mktg.tenant WHERE tenant_id = $1", INT8OID);

	if (mktg_call(&query, MKTG_INT64(tenant)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_UNKNOWN_TENANT),
				 errmsg("tenant " INT64_FORMAT " does not exist", tenant),
				 errhint("Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.")));
}

void
mktg_require_contact(int64 contact, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT 1 FROM mktg.contact WHERE tenant_id = $1 AND contact_id = $2",
										INT8OID, INT8OID);

	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(contact)) > 0)
		return;
	mktg_require_tenant(tenant);
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_UNKNOWN_CONTACT),
			 errmsg("contact " INT64_FORMAT " does not exist", contact),
			 errdetail("Tenant " INT64_FORMAT " has no such contact.", tenant),
			 errhint("mktg.upsert_contact() makes one and returns its contact_id.")));
}

void
mktg_require_channel(const char *channel)
{
	for (int i = 0; i < lengthof(channels); i++)
		if (strcmp(channel, channels[i]) == 0)
			return;
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_UNKNOWN_CHANNEL),
			 errmsg("channel \"%s\" does not exist", channel),
			 errhint("Channels are email, sms, push, whatsapp, webhook, in_app and ads.")));
}

void
mktg_require_name(const char *kind, const char *name)
{
	int			length = pg_mbstrlen(name);

	if (length >= 1 && length <= MKTG_MAX_NAME && strspn(name, " \t\r\n") < strlen(name))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_NAME),
			 errmsg("name of a %s must have 1 to %d characters", kind, MKTG_MAX_NAME),
			 errdetail("The name given has %d characters.", length),
			 errhint("Choose a name that is not blank and not longer.")));
}

void
mktg_require_limit(const char *what, int32 limit)
{
	if (limit >= 1)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_LIMIT),
			 errmsg("%s must be at least 1", what),
			 errdetail("The value given is %d.", limit),
			 errhint("Leave it NULL for no limit.")));
}

int32
mktg_tenant_day(TimestampTz at, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT ($1 AT TIME ZONE time_zone)::date FROM mktg.tenant WHERE tenant_id = $2",
										TIMESTAMPTZOID, INT8OID);
	bool		isnull;

	if (mktg_call(&query, MKTG_TIME(at), MKTG_INT64(tenant)) == 0)
		mktg_require_tenant(tenant);
	return DatumGetDateADT(mktg_value_at(0, 1, &isnull));
}

static void
refuse_null(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("argument \"%s\" must not be NULL", what),
			 errhint("Give a value for \"%s\".", what)));
}

char *
mktg_text_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		refuse_null(what);
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

char *
mktg_optional_text(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

int64
mktg_int64_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		refuse_null(what);
	return PG_GETARG_INT64(n);
}
