/*-------------------------------------------------------------------------
 *
 * offer.c
 *		Offers: made, changed, disabled.
 *
 * IDENTIFICATION
 *		src/offer/offer.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "base/base.h"
#include "campaign/campaign.h"
#include "offer/offer.h"

/* columns of an offer in the order of create_promo()'s arguments */
enum
{
	CODE, TYPE, VALUE, STARTS_AT, ENDS_AT, USAGE_LIMIT, PER_CONTACT_LIMIT, PER_CONTACT_PERIOD, MINIMUM_AMOUNT,
	CURRENCY, SCOPE, BUDGET, STACKABLE, COMBINE_WITH, PRIORITY, CAMPAIGN, NCOLUMNS
};

#define COLUMN_LIST \
	"code, type, value, starts_at, ends_at, usage_limit, per_contact_limit, per_contact_period, minimum_amount," \
	" currency, scope, budget, stackable, combine_with, priority, campaign_id"
#define COLUMN_TYPES \
	TEXTOID, TEXTOID, NUMERICOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT4OID, TEXTOID, INT8OID, \
	TEXTOID, JSONBOID, INT8OID, BOOLOID, TEXTARRAYOID, INT4OID, INT8OID

typedef struct Definition
{
	MktgArg		columns[NCOLUMNS];
} Definition;

PG_FUNCTION_INFO_V1(mktg_create_promo);
PG_FUNCTION_INFO_V1(mktg_update_promo);
PG_FUNCTION_INFO_V1(mktg_disable_promo);

/* ---- what can be ---- */

static void
refuse_value(const char *message, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_VALUE),
			 errmsg("%s", message),
			 errhint("%s", hint)));
}

static char *
text_of(const Definition *definition, int column)
{
	return definition->columns[column].isnull ? NULL : TextDatumGetCString(definition->columns[column].value);
}

static int64
number_of(const Definition *definition, int column, int64 otherwise)
{
	if (definition->columns[column].isnull)
		return otherwise;
	return column == PER_CONTACT_LIMIT ? DatumGetInt32(definition->columns[column].value) :
		DatumGetInt64(definition->columns[column].value);
}

static char *
normalized(const char *code)
{
	char		out[MKTG_CODE_MAX + 1];

	if (!mktg_code_normalize(code, strlen(code), out))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_NAME),
				 errmsg("a promo code must have 1 to %d letters, digits or signs of ASCII", MKTG_CODE_MAX),
				 errdetail("Blanks and dashes do not count, and small letters are as capitals."),
				 errhint("For example SUMMER25; NULL makes an automatic offer.")));
	return pstrdup(out);
}

static void
check_value(const Definition *definition)
{
	char	   *type = text_of(definition, TYPE);
	char	   *value;
	int64		number;

	if (type == NULL || definition->columns[VALUE].isnull)
		refuse_value("a promo must have a type and a value", "For example 'percent' and 10.");
	value = numeric_normalize(DatumGetNumeric(definition->columns[VALUE].value));
	if (strcmp(type, "percent") == 0)
	{
		if (!mktg_read_decimal(value, strlen(value), 6, &number) || number <= 0 || number > MKTG_RATE_MAX)
			refuse_value("percent must be more than 0 and at most 100", "With at most six decimals.");
	}
	else if (strcmp(type, "flat") == 0)
	{
		if (!mktg_read_decimal(value, strlen(value), 0, &number) || number <= 0)
			refuse_value("a flat amount must be a whole number of minor units above 0", "500 is 5.00 in a currency with cents.");
	}
	else if (strcmp(type, "free_item") == 0)
	{
		if (!mktg_read_decimal(value, strlen(value), 0, &number) || number <= 0)
			refuse_value("the number of free items must be a whole number above 0", "1 makes the cheapest eligible item free.");
	}
	else if (strcmp(type, "points_multiplier") == 0)
	{
		if (!mktg_read_decimal(value, strlen(value), 6, &number) || number <= 0 || number > 1000 * INT64CONST(1000000))
			refuse_value("a multiplier must be more than 0 and at most 1000", "2 is twice the points.");
	}
	else
		refuse_value("unknown type of a promo", "Types are percent, flat, free_item and points_multiplier.");
}

static void
check_limits(const Definition *definition)
{
	char	   *period = text_of(definition, PER_CONTACT_PERIOD);
	static const int limits[] = {USAGE_LIMIT, PER_CONTACT_LIMIT, BUDGET};
	static const char *const names[] = {"usage_limit", "per_contact_limit", "budget"};

	for (int i = 0; i < lengthof(limits); i++)
		if (number_of(definition, limits[i], 1) < 1)
			ereport(ERROR,
					(errcode(ERRCODE_MKTG_INVALID_LIMIT),
					 errmsg("%s must be at least 1", names[i]),
					 errhint("Leave it NULL for no limit.")));
	if (number_of(definition, MINIMUM_AMOUNT, 0) < 0)
		refuse_value("minimum_amount must not be negative", "It is in minor units.");
	if (period == NULL)
		return;
	if (strcmp(period, "day") != 0 && strcmp(period, "week") != 0 && strcmp(period, "month") != 0 && strcmp(period, "year") != 0)
		refuse_value("unknown per_contact_period", "Periods are day, week, month and year of the calendar; NULL is for ever.");
	if (definition->columns[PER_CONTACT_LIMIT].isnull)
		refuse_value("per_contact_period without per_contact_limit", "Give the limit that holds in each period.");
}

static void
check_segments(const MktgScope *scope, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT n.name FROM unnest($2) AS n (name) WHERE NOT EXISTS (SELECT FROM mktg.segment s"
										" WHERE s.tenant_id = $1 AND (s.name = n.name OR s.segment_id::text = n.name)) LIMIT 1",
										INT8OID, TEXTARRAYOID);
	int			n = scope->lists[MKTG_SCOPE_SEGMENTS].n;
	Datum	   *names = palloc((n + 1) * sizeof(Datum));

	for (int i = 0; i < n; i++)
		names[i] = PointerGetDatum(cstring_to_text_with_len(scope->lists[MKTG_SCOPE_SEGMENTS].values[i].text,
															scope->lists[MKTG_SCOPE_SEGMENTS].values[i].length));
	if (n > 0 && mktg_call(&query, MKTG_INT64(tenant), MKTG_ARG(mktg_array(names, NULL, n, TEXTOID))) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_UNKNOWN_SEGMENT),
				 errmsg("segment \"%s\" does not exist", mktg_text_at(0, 1)),
				 errdetail("Tenant " INT64_FORMAT " has no segment of that id or name.", tenant),
				 errhint("The view mktg.segment_list lists them.")));
}

static void
check_scope(Definition *definition, int64 tenant, pg_tz *zone)
{
	MktgSurroundings surroundings = mktg_surroundings(zone);
	MktgScope	scope;
	const char *problem;

	if (definition->columns[SCOPE].isnull)
		definition->columns[SCOPE] = MKTG_ARG(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	problem = mktg_read_scope(DatumGetJsonbP(definition->columns[SCOPE].value), &surroundings, &scope);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("invalid scope"),
				 errdetail("%s.", problem),
				 errhint("Keys are organizers, items, categories, cities, routes, excluded_routes, fares, excluded_fares, channels,"
						 " segments, first_purchase, booking_window, travel_window, blackout and weekdays.")));
	check_segments(&scope, tenant);
}

static void
check_combine_with(Definition *definition)
{
	Datum	   *codes;
	bool	   *nulls;
	int			n;

	if (definition->columns[COMBINE_WITH].isnull)
		n = 0;
	else
		deconstruct_array(DatumGetArrayTypeP(definition->columns[COMBINE_WITH].value), TEXTOID, -1, false, TYPALIGN_INT,
						  &codes, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			refuse_value("combine_with must not have NULL in it", "It is a list of codes.");
		codes[i] = CStringGetTextDatum(normalized(TextDatumGetCString(codes[i])));
	}
	definition->columns[COMBINE_WITH] = MKTG_ARG(mktg_array(n == 0 ? NULL : codes, NULL, n, TEXTOID));
}

/* Amounts are of a currency: the tenant's unless another is named. */
static void
check_currency(Definition *definition, const char *tenant_currency)
{
	char	   *currency = text_of(definition, CURRENCY);
	bool		has_amounts = strcmp(text_of(definition, TYPE), "flat") == 0 ||
		!definition->columns[MINIMUM_AMOUNT].isnull || !definition->columns[BUDGET].isnull;

	if (currency == NULL && has_amounts)
		definition->columns[CURRENCY] = MKTG_TEXT(tenant_currency);
	else if (currency != NULL && (strlen(currency) != 3 || strspn(currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 3))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("invalid currency \"%s\"", currency),
				 errhint("Use a code of ISO 4217, such as USD or INR.")));
}

/* The code must be nobody else's. */
static void
check_code(Definition *definition, int64 tenant, int64 offer)
{
	static MktgQuery query = MKTG_QUERY("SELECT 1 FROM mktg.offer WHERE tenant_id = $1 AND code = $2 AND offer_id <> $3"
										" UNION ALL SELECT 1 FROM mktg.promo_code WHERE tenant_id = $1 AND code = $2",
										INT8OID, TEXTOID, INT8OID);
	char	   *code = text_of(definition, CODE);

	if (code == NULL)
		return;
	code = normalized(code);
	definition->columns[CODE] = MKTG_TEXT(code);
	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(code), MKTG_INT64(offer)) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_NAME),
				 errmsg("promo code \"%s\" exists already", code),
				 errhint("Choose another, or change the promo that has it by mktg.update_promo().")));
}

static void
check_definition(Definition *definition, int64 tenant, int64 offer)
{
	char	   *currency;
	pg_tz	   *zone = mktg_tenant_zone(tenant, &currency);

	check_code(definition, tenant, offer);
	check_value(definition);
	check_limits(definition);
	check_scope(definition, tenant, zone);
	check_combine_with(definition);
	check_currency(definition, currency);
	if (!definition->columns[STARTS_AT].isnull && !definition->columns[ENDS_AT].isnull &&
		DatumGetTimestampTz(definition->columns[STARTS_AT].value) >= DatumGetTimestampTz(definition->columns[ENDS_AT].value))
		refuse_value("a promo must start before it ends", "It is valid from starts_at on and before ends_at.");
	if (!definition->columns[CAMPAIGN].isnull)
		mktg_require_campaign(DatumGetInt64(definition->columns[CAMPAIGN].value), tenant);
	if (definition->columns[STACKABLE].isnull)
		definition->columns[STACKABLE] = MKTG_ARG(BoolGetDatum(false));
	if (definition->columns[PRIORITY].isnull)
		definition->columns[PRIORITY] = MKTG_INT32(1);
}

/*
 * SQL: mktg.create_promo(code text, type text, value numeric, starts_at timestamptz, ends_at timestamptz,
 *		usage_limit bigint, per_contact_limit integer, per_contact_period text, minimum_amount bigint,
 *		currency text, scope jsonb, budget bigint, stackable boolean, combine_with text[], priority integer,
 *		campaign bigint, tenant bigint) returns bigint
 *
 * Errors: MK020 code, MK021 a limit below 1, MK024 any other value, MK019
 * segment, MK014 campaign, MK010 tenant.
 */
Datum
mktg_create_promo(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.offer (" COLUMN_LIST ", tenant_id)"
										" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
										" RETURNING offer_id", COLUMN_TYPES, INT8OID);
	int64		tenant = mktg_int64_argument(fcinfo, NCOLUMNS, "tenant");
	Definition	definition;
	MktgArg		args[NCOLUMNS + 1];
	int64		offer;

	for (int i = 0; i < NCOLUMNS; i++)
		definition.columns[i] = MKTG_FCARG(i);
	mktg_begin();
	check_definition(&definition, tenant, 0);
	memcpy(args, definition.columns, sizeof(definition.columns));
	args[NCOLUMNS] = MKTG_INT64(tenant);
	mktg_run(&query, args);
	offer = mktg_int64_at(0, 1);
	mktg_share_slots(tenant, offer, 0, number_of(&definition, USAGE_LIMIT, -1), number_of(&definition, BUDGET, -1));
	mktg_end();
	PG_RETURN_INT64(offer);
}

/* ---- changes ---- */

static void
check_keys(Jsonb *changes)
{
	static const char *const keys[] = {
		"code", "type", "value", "starts_at", "ends_at", "usage_limit", "per_contact_limit", "per_contact_period",
		"minimum_amount", "currency", "scope", "budget", "stackable", "combine_with", "priority", "campaign"
	};
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(changes))
		refuse_value("changes must be a JSON object", "For example '{\"usage_limit\": 500}'.");
	iterator = JsonbIteratorInit(&changes->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
		if (token == WJB_KEY && mktg_json_word(keys, lengthof(keys), value.val.string.val, value.val.string.len) < 0)
			ereport(ERROR,
					(errcode(ERRCODE_MKTG_INVALID_VALUE),
					 errmsg("a promo has no \"%.*s\"", Min(value.val.string.len, 60), value.val.string.val),
					 errhint("Keys are the arguments of mktg.create_promo().")));
}

/* The offer as it would be; what it was in "before". */
static void
read_changed(int64 promo, int64 tenant, Jsonb *changes, Definition *after, Definition *before, int64 *revision)
{
	static MktgQuery query = {
		.sql = "SELECT n.code, n.type, n.value, n.starts_at, n.ends_at, n.usage_limit, n.per_contact_limit, n.per_contact_period,"
		" n.minimum_amount, n.currency, n.scope, n.budget, n.stackable, n.combine_with, n.priority, n.campaign_id,"
		" o.usage_limit, o.budget, o.per_contact_limit, o.per_contact_period, o.revision"
		"  FROM mktg.offer o, jsonb_populate_record(o, ($3 - 'campaign') ||"
		"   CASE WHEN $3 ? 'campaign' THEN jsonb_build_object('campaign_id', $3 -> 'campaign') ELSE '{}' END) n"
		" WHERE o.tenant_id = $1 AND o.offer_id = $2 FOR NO KEY UPDATE OF o",
		.fresh = true, .nargs = 3, .argtypes = {INT8OID, INT8OID, JSONBOID}
	};
	static const int kept[] = {USAGE_LIMIT, BUDGET, PER_CONTACT_LIMIT, PER_CONTACT_PERIOD};

	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(promo), MKTG_ARG(JsonbPGetDatum(changes))) == 0)
		mktg_refuse_unknown_promo(tenant, promo);
	for (int i = 0; i < NCOLUMNS; i++)
		after->columns[i].value = mktg_value_at(0, i + 1, &after->columns[i].isnull);
	for (int i = 0; i < lengthof(kept); i++)
		before->columns[kept[i]].value = mktg_value_at(0, NCOLUMNS + 1 + i, &before->columns[kept[i]].isnull);
	*revision = mktg_int64_at(0, NCOLUMNS + 5);
}

/* Uses and budget taken so far: what the slots do not have any more, or what redemptions say. */
static void
read_taken(int64 promo, int64 tenant, const Definition *before, int64 *uses, int64 *budget)
{
	static MktgQuery from_slots = {
		.sql = "SELECT sum(uses_left)::bigint, sum(budget_left)::bigint FROM mktg.offer_slot WHERE tenant_id = $1 AND offer_id = $2",
		.fresh = true, .nargs = 2, .argtypes = {INT8OID, INT8OID}
	};
	static MktgQuery from_redemptions = {
		.sql = "SELECT count(*), coalesce(sum(discount - reversed)::bigint, 0) FROM mktg.redemption"
		" WHERE tenant_id = $1 AND offer_id = $2 AND status IN ('reserved', 'committed')",
		.fresh = true, .nargs = 2, .argtypes = {INT8OID, INT8OID}
	};

	*uses = 0;
	*budget = 0;
	if (before->columns[USAGE_LIMIT].isnull || before->columns[BUDGET].isnull)
	{
		mktg_call(&from_redemptions, MKTG_INT64(tenant), MKTG_INT64(promo));
		*uses = mktg_int64_at(0, 1);
		*budget = mktg_int64_at(0, 2);
	}
	mktg_call(&from_slots, MKTG_INT64(tenant), MKTG_INT64(promo));
	if (!before->columns[USAGE_LIMIT].isnull)
		*uses = number_of(before, USAGE_LIMIT, 0) - mktg_int64_at(0, 1);
	if (!before->columns[BUDGET].isnull)
		*budget = number_of(before, BUDGET, 0) - mktg_int64_at(0, 2);
}

static int64
left_of(const Definition *after, int column, const char *name, int64 taken)
{
	int64		limit = number_of(after, column, -1);

	if (limit >= 0 && limit < taken)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_LIMIT),
				 errmsg("%s cannot be below what is used", name),
				 errdetail(INT64_FORMAT " are reserved or used.", taken),
				 errhint("mktg.disable_promo() ends a promo.")));
	return limit < 0 ? -1 : limit - taken;
}

static void
check_contact_limit(int64 promo, int64 tenant, const Definition *after, const Definition *before)
{
	static MktgQuery query = MKTG_QUERY("SELECT coalesce(max(used), 0) FROM mktg.offer_contact WHERE tenant_id = $1 AND offer_id = $2",
										INT8OID, INT8OID);
	char	   *was = text_of(before, PER_CONTACT_PERIOD);
	char	   *is = text_of(after, PER_CONTACT_PERIOD);
	int64		limit = number_of(after, PER_CONTACT_LIMIT, 0);

	if (limit == 0)
		return;
	mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(promo));
	if (mktg_int32_at(0, 1) > 0 && ((was == NULL) != (is == NULL) || (was != NULL && strcmp(was, is) != 0)))
		refuse_value("per_contact_period cannot change once contacts are counted", "Make another promo.");
	if (mktg_int32_at(0, 1) > limit)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_LIMIT),
				 errmsg("per_contact_limit cannot be below what is used"),
				 errdetail("A contact has used it %d times.", mktg_int32_at(0, 1)),
				 errhint("mktg.disable_promo() ends a promo.")));
}

static bool
has_key(Jsonb *object, const char *key)
{
	JsonbValue	value;

	return getKeyJsonValueFromContainer(&object->root, key, strlen(key), &value) != NULL;
}

/* What is left under the limits as they will be, shared out anew. */
static void
change_limits(int64 promo, int64 tenant, const Definition *after, const Definition *before, int64 revision)
{
	int64		uses;
	int64		budget;

	read_taken(promo, tenant, before, &uses, &budget);
	uses = left_of(after, USAGE_LIMIT, "usage_limit", uses);
	budget = left_of(after, BUDGET, "budget", budget);
	mktg_share_slots(tenant, promo, revision, uses, budget);
}

/*
 * SQL: mktg.update_promo(promo bigint, changes jsonb, tenant bigint) returns void
 *
 * Where usage_limit or budget is among the changes, redemptions wait until the
 * transaction ends.  Errors: MK082 promo, MK021 a
 * limit below what is used, and those of create_promo().
 */
Datum
mktg_update_promo(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.offer SET (" COLUMN_LIST ", revision) ="
										" ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $19)"
										" WHERE tenant_id = $17 AND offer_id = $18", COLUMN_TYPES, INT8OID, INT8OID, INT8OID);
	int64		promo = mktg_int64_argument(fcinfo, 0, "promo");
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");
	Jsonb	   *changes;
	Definition	after;
	Definition	before;
	MktgArg		args[NCOLUMNS + 3];
	bool		limits;
	int64		revision;

	if (PG_ARGISNULL(1))
		(void) mktg_text_argument(fcinfo, 1, "changes");
	changes = PG_GETARG_JSONB_P(1);
	check_keys(changes);
	limits = has_key(changes, "usage_limit") || has_key(changes, "budget");
	mktg_begin();
	if (limits)
		mktg_lock_slots(tenant, promo);
	read_changed(promo, tenant, changes, &after, &before, &revision);
	check_definition(&after, tenant, promo);
	check_contact_limit(promo, tenant, &after, &before);
	if (limits)
		change_limits(promo, tenant, &after, &before, ++revision);
	memcpy(args, after.columns, sizeof(after.columns));
	args[NCOLUMNS] = MKTG_INT64(tenant);
	args[NCOLUMNS + 1] = MKTG_INT64(promo);
	args[NCOLUMNS + 2] = MKTG_INT64(revision);
	mktg_run(&query, args);
	mktg_end();
	PG_RETURN_VOID();
}

/*
 * SQL: mktg.disable_promo(promo bigint, disabled boolean, tenant bigint) returns boolean
 *
 * Errors: MK082 promo.
 */
Datum
mktg_disable_promo(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.offer SET disabled_at = CASE WHEN $3 THEN $4 END"
										" WHERE tenant_id = $1 AND offer_id = $2 AND (disabled_at IS NOT NULL) <> $3",
										INT8OID, INT8OID, BOOLOID, TIMESTAMPTZOID);
	int64		promo = mktg_int64_argument(fcinfo, 0, "promo");
	bool		disabled = PG_ARGISNULL(1) || PG_GETARG_BOOL(1);
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");
	MktgOffer	offer;
	bool		moved;

	mktg_begin();
	mktg_get_offer(tenant, promo, &offer);
	moved = mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(promo), MKTG_ARG(BoolGetDatum(disabled)), MKTG_TIME(mktg_now())) > 0;
	mktg_end();
	PG_RETURN_BOOL(moved);
}
