/*-------------------------------------------------------------------------
 *
 * read.c
 *		Carts, scopes and offers, from the server's JSON and from tables.
 *
 * IDENTIFICATION
 *		src/offer/read.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/datetime.h"
#include "utils/datum.h"
#include "utils/numeric.h"

#include "base/base.h"
#include "offer/cache.h"

/* ---- JSON ---- */

static bool
feed_scalar(const JsonbValue *value, MktgTakeEvent take, void *reader)
{
	char	   *number;

	switch (value->type)
	{
		case jbvString:
			return take(reader, MKTG_JSON_STRING, value->val.string.val, value->val.string.len);
		case jbvNumeric:
			number = numeric_normalize(value->val.numeric);
			return take(reader, MKTG_JSON_NUMBER, number, strlen(number));
		case jbvBool:
			return take(reader, MKTG_JSON_BOOLEAN, "", value->val.boolean);
		default:
			return take(reader, MKTG_JSON_NULL, "", 0);
	}
}

bool
mktg_feed_json(Jsonb *json, MktgTakeEvent take, void *reader)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		going = true;

	/* a scalar is kept as an array of one, and is as little of an object */
	if (!JB_ROOT_IS_OBJECT(json))
		return take(reader, MKTG_JSON_ARRAY, "", 0);
	iterator = JsonbIteratorInit(&json->root);
	while (going && (token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		switch (token)
		{
			case WJB_BEGIN_OBJECT:
				going = take(reader, MKTG_JSON_OBJECT, "", 0);
				break;
			case WJB_END_OBJECT:
				going = take(reader, MKTG_JSON_END_OBJECT, "", 0);
				break;
			case WJB_BEGIN_ARRAY:
				going = take(reader, MKTG_JSON_ARRAY, "", 0);
				break;
			case WJB_END_ARRAY:
				going = take(reader, MKTG_JSON_END_ARRAY, "", 0);
				break;
			case WJB_KEY:
				going = take(reader, MKTG_JSON_KEY, value.val.string.val, value.val.string.len);
				break;
			default:
				going = feed_scalar(&value, take, reader);
		}
	}
	return going;
}

static void *
grow(void *context, void *memory, size_t size)
{
	return memory == NULL ? palloc(size) : repalloc(memory, size);
}

/* A time in the tenant's zone. */
static bool
read_time(void *context, const char *text, size_t length, int64_t *instant, int32_t *day)
{
	char		copy[MAXDATELEN + 1];
	bool		date_only;
	TimestampTz at;

	if (length > MAXDATELEN)
		return false;
	memcpy(copy, text, length);
	copy[length] = '\0';
	if (!mktg_read_time(copy, context, &at, &date_only) || TIMESTAMP_NOT_FINITE(at))
		return false;
	*instant = at;
	*day = mktg_day_at(at, context);
	return true;
}

MktgSurroundings
mktg_surroundings(pg_tz *zone)
{
	return (MktgSurroundings) {zone, grow, read_time};
}

static bool
feed_cart(void *reader, MktgJsonEvent event, const char *text, size_t length)
{
	return mktg_cart_feed(reader, event, text, length);
}

static bool
feed_scope(void *reader, MktgJsonEvent event, const char *text, size_t length)
{
	return mktg_scope_feed(reader, event, text, length);
}

const char *
mktg_read_scope(Jsonb *json, const MktgSurroundings *surroundings, MktgScope *scope)
{
	MktgScopeReader reader;

	mktg_scope_begin(&reader, scope, surroundings);
	(void) mktg_feed_json(json, feed_scope, &reader);
	return mktg_scope_end(&reader) ? NULL : pstrdup(reader.place.problem);
}

/* ---- who asks ---- */

Jsonb *
mktg_cart_argument(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be NULL", "cart"),
				 errhint("For example '{\"currency\": \"INR\", \"lines\": [{\"item\": \"show\", \"unit_price\": 50000}]}'.")));
	return PG_GETARG_JSONB_P(n);
}

typedef struct KnownTenant
{
	int64		tenant_id;
	char	   *time_zone;
	char	   *currency;
} KnownTenant;

pg_tz *
mktg_tenant_zone(int64 tenant, char **currency)
{
	static MktgQuery query = {
		.sql = "SELECT time_zone, currency FROM mktg.tenant WHERE tenant_id = $1",
		.fresh = true, .nargs = 1, .argtypes = {INT8OID}
	};
	MemoryContext memory = mktg_cache_memory();
	KnownTenant *known = hash_search(mktg_cache_table(MKTG_CACHE_TENANTS, sizeof(int64), sizeof(KnownTenant)), &tenant, HASH_FIND, NULL);

	if (known == NULL)
	{
		char	   *time_zone;
		char	   *its_currency;

		if (mktg_call(&query, MKTG_INT64(tenant)) == 0)
			mktg_require_tenant(tenant);
		time_zone = MemoryContextStrdup(memory, mktg_text_at(0, 1));
		its_currency = MemoryContextStrdup(memory, mktg_text_at(0, 2));
		known = hash_search(mktg_cache_table(MKTG_CACHE_TENANTS, sizeof(int64), sizeof(KnownTenant)), &tenant, HASH_ENTER, NULL);
		known->time_zone = time_zone;
		known->currency = its_currency;
	}
	*currency = pstrdup(known->currency);
	return mktg_find_zone(known->time_zone);
}

void
mktg_pricing_begin(MktgPricing *pricing, int64 contact, Jsonb *cart, TimestampTz at, int64 tenant)
{
	MktgCartReader reader;
	char	   *currency;

	memset(pricing, 0, sizeof(*pricing));
	pricing->tenant_id = tenant;
	pricing->contact_id = contact;
	pricing->at = at;
	pricing->zone = mktg_tenant_zone(tenant, &currency);
	pricing->tenant_currency = currency;
	if (contact != 0)
		mktg_require_contact(contact, tenant);
	pricing->moment = (MktgMoment) {at, mktg_day_at(at, pricing->zone)};
	pricing->surroundings = mktg_surroundings(pricing->zone);

	mktg_cart_begin(&reader, &pricing->cart, &pricing->surroundings);
	(void) mktg_feed_json(cart, feed_cart, &reader);
	if (!mktg_cart_end(&reader))
	{
		pricing->problem = pstrdup(reader.place.problem);
		return;
	}
	pricing->currency = pricing->cart.currency.text == NULL ? currency :
		pnstrdup(pricing->cart.currency.text, pricing->cart.currency.length);
	pricing->rest = palloc(pricing->cart.nlines * sizeof(int64));
	for (int i = 0; i < pricing->cart.nlines; i++)
		pricing->rest[i] = pricing->cart.lines[i].amount;
}

static int64
number_of(JsonbContainer *object, const char *key)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(object, key, strlen(key), &value) == NULL || value.type != jbvNumeric)
		return 0;
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
}

static void
take_prior(MktgPricing *pricing, Jsonb *lines)
{
	int			n = JB_ROOT_COUNT(lines);

	for (int i = 0; i < n; i++)
	{
		JsonbValue *line = getIthJsonbValueFromContainer(&lines->root, i);
		int64		number;

		if (line == NULL || line->type != jbvBinary)
			continue;
		number = number_of(line->val.binary.data, "line");
		if (number >= 1 && number <= pricing->cart.nlines)
			pricing->rest[number - 1] = Max(pricing->rest[number - 1] - number_of(line->val.binary.data, "discount"), 0);
	}
}

void
mktg_read_priors(MktgPricing *pricing, const char *purchase, int64 offer)
{
	/* the first condition is that of the index */
	static MktgQuery query = {
		.sql = "SELECT r.offer_id, o.code, o.stackable, o.combine_with, r.lines"
		"  FROM mktg.redemption r JOIN mktg.offer o ON o.tenant_id = r.tenant_id AND o.offer_id = r.offer_id"
		" WHERE r.tenant_id = $1 AND r.purchase = $2 AND r.status NOT IN ('released', 'expired')"
		"   AND r.status <> 'reversed' AND r.offer_id <> $3"
		"   AND (r.status = 'committed' OR r.expires_at > $4) ORDER BY r.redemption_id",
		.fresh = true, .nargs = 4, .argtypes = {INT8OID, TEXTOID, INT8OID, TIMESTAMPTZOID}
	};
	bool		isnull;

	pricing->npriors = (int) mktg_call(&query, MKTG_INT64(pricing->tenant_id), MKTG_TEXT(purchase), MKTG_INT64(offer),
									   MKTG_TIME(mktg_over_at(pricing->at)));
	pricing->priors = palloc(pricing->npriors * sizeof(MktgPrior));
	for (int i = 0; i < pricing->npriors; i++)
	{
		MktgPrior  *prior = &pricing->priors[i];

		prior->offer_id = mktg_int64_at(i, 1);
		prior->code = mktg_text_at(i, 2);
		prior->stackable = mktg_bool_at(i, 3);
		prior->combine_with = mktg_value_at(i, 4, &isnull);
		prior->lines = DatumGetJsonbP(mktg_value_at(i, 5, &isnull));
		if (pricing->problem == NULL)
			take_prior(pricing, prior->lines);
	}
}

/* ---- offers ---- */

#define OFFER_COLUMNS \
	"SELECT o.offer_id, o.revision, o.code, o.type," \
	" (o.value * CASE o.type WHEN 'percent' THEN 1000000 ELSE 1 END)::bigint, o.currency, o.starts_at, o.ends_at," \
	" coalesce(o.usage_limit, -1), coalesce(o.budget, -1), coalesce(o.minimum_amount, -1), o.per_contact_limit," \
	" o.per_contact_period, o.scope, o.stackable, o.combine_with, o.priority, o.disabled_at IS NOT NULL"

#define OFFER_BY_CODE(codes) \
	OFFER_COLUMNS ", c.code, k.code IS NOT NULL, k.contact_id, k.redemption_id" \
	"  FROM " codes \
	"  LEFT JOIN mktg.promo_code k ON k.tenant_id = $1 AND k.code = c.code" \
	"  LEFT JOIN mktg.offer s ON s.tenant_id = $1 AND s.code = c.code" \
	"  LEFT JOIN mktg.offer o ON o.tenant_id = $1 AND o.offer_id = coalesce(k.offer_id, s.offer_id)"

static MktgOfferType
type_of(const char *name)
{
	return strcmp(name, "percent") == 0 ? MKTG_OFFER_PERCENT :
		strcmp(name, "flat") == 0 ? MKTG_OFFER_FLAT :
		strcmp(name, "free_item") == 0 ? MKTG_OFFER_FREE_ITEM : MKTG_OFFER_POINTS;
}

static TimestampTz
time_at(uint64 row, int column, TimestampTz otherwise)
{
	bool		isnull;
	Datum		value = mktg_value_at(row, column, &isnull);

	return isnull ? otherwise : DatumGetTimestampTz(value);
}

static void
read_offer(uint64 row, int64 tenant, MktgOffer *offer)
{
	bool		isnull;

	memset(offer, 0, sizeof(*offer));
	offer->tenant_id = tenant;
	offer->typed = mktg_text_at(row, 19);
	if (mktg_null_at(row, 1))
		return;
	offer->offer_id = mktg_int64_at(row, 1);
	offer->revision = mktg_int64_at(row, 2);
	offer->code = mktg_text_at(row, 3);
	offer->type = type_of(mktg_text_at(row, 4));
	offer->value = mktg_int64_at(row, 5);
	offer->currency = mktg_text_at(row, 6);
	offer->starts_at = time_at(row, 7, DT_NOBEGIN);
	offer->ends_at = time_at(row, 8, DT_NOEND);
	offer->usage_limit = mktg_int64_at(row, 9);
	offer->budget = mktg_int64_at(row, 10);
	offer->minimum_amount = mktg_int64_at(row, 11);
	offer->per_contact_limit = mktg_int32_at(row, 12);
	offer->per_contact_period = mktg_text_at(row, 13);
	offer->scope = DatumGetJsonbP(mktg_value_at(row, 14, &isnull));
	offer->stackable = mktg_bool_at(row, 15);
	offer->combine_with = mktg_value_at(row, 16, &isnull);
	offer->priority = mktg_int32_at(row, 17);
	offer->disabled = mktg_bool_at(row, 18);
	offer->is_single = mktg_bool_at(row, 20);
	offer->assigned = mktg_int64_at(row, 21);
	offer->taken_by = mktg_int64_at(row, 22);
}

/* Of a tenant, by a code that everybody may use. */
typedef struct OfferKey
{
	int64		tenant_id;
	char		code[MKTG_CODE_MAX + 8];	/* NUL to the end */
} OfferKey;

typedef struct KnownOffer
{
	OfferKey	key;
	MktgOffer	offer;
} KnownOffer;

static char *
copy_string(const char *string)
{
	return string == NULL ? NULL : pstrdup(string);
}

/* With all it points to, into the present memory. */
static void
copy_offer(const MktgOffer *from, MktgOffer *to)
{
	*to = *from;
	to->code = copy_string(from->code);
	to->typed = copy_string(from->typed);
	to->currency = copy_string(from->currency);
	to->per_contact_period = copy_string(from->per_contact_period);
	to->scope = DatumGetJsonbP(datumCopy(JsonbPGetDatum(from->scope), false, -1));
	to->combine_with = datumCopy(from->combine_with, false, -1);
}

static void
remember_offer(const OfferKey *key, const MktgOffer *offer, MemoryContext memory)
{
	HTAB	   *offers = mktg_cache_table(MKTG_CACHE_OFFERS, sizeof(OfferKey), sizeof(KnownOffer));
	MemoryContext caller = MemoryContextSwitchTo(memory);
	MktgOffer	copy;

	copy_offer(offer, &copy);
	((KnownOffer *) hash_search(offers, key, HASH_ENTER, NULL))->offer = copy;
	MemoryContextSwitchTo(caller);
}

void
mktg_look_up_offer(int64 tenant, const char *code, MktgOffer *offer)
{
	static MktgQuery query = {
		.sql = OFFER_BY_CODE("(SELECT $2 AS code) c"),
		.fresh = true, .nargs = 2, .argtypes = {INT8OID, TEXTOID}
	};

	mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(code));
	read_offer(0, tenant, offer);
}

bool
mktg_recall_offer(int64 tenant, const char *code, MktgOffer *offer)
{
	MemoryContext memory = mktg_cache_memory();
	OfferKey	key = {.tenant_id = tenant};
	KnownOffer *known;

	strlcpy(key.code, code, sizeof(key.code));
	known = hash_search(mktg_cache_table(MKTG_CACHE_OFFERS, sizeof(OfferKey), sizeof(KnownOffer)), &key, HASH_FIND, NULL);
	if (known != NULL)
	{
		copy_offer(&known->offer, offer);
		return true;
	}
	mktg_look_up_offer(tenant, code, offer);
	/* codes that can be used once are not asked about again, and those that do not exist are without end */
	if (offer->offer_id != 0 && !offer->is_single)
		remember_offer(&key, offer, memory);
	return false;
}

MktgOffer *
mktg_find_offers(int64 tenant, ArrayType *codes, TimestampTz at, int *n)
{
	static MktgQuery by_code = MKTG_QUERY(OFFER_BY_CODE("unnest($2) WITH ORDINALITY c (code, place)") " ORDER BY c.place",
										  INT8OID, TEXTARRAYOID);
	static MktgQuery automatic = MKTG_QUERY(OFFER_COLUMNS ", NULL::text, false, NULL::bigint, NULL::bigint FROM mktg.offer o"
											" WHERE o.tenant_id = $1 AND o.code IS NULL AND o.codes_made = 0 AND o.disabled_at IS NULL"
											"  AND (o.starts_at IS NULL OR o.starts_at <= $2) AND (o.ends_at IS NULL OR o.ends_at > $2)"
											" ORDER BY o.offer_id", INT8OID, TIMESTAMPTZOID);
	uint64		named = mktg_call(&by_code, MKTG_INT64(tenant), MKTG_ARG(PointerGetDatum(codes)));
	MktgOffer  *offers = palloc((named + 1) * sizeof(MktgOffer));
	uint64		others;

	for (uint64 i = 0; i < named; i++)
		read_offer(i, tenant, &offers[i]);
	others = mktg_call(&automatic, MKTG_INT64(tenant), MKTG_TIME(at));
	offers = repalloc(offers, (named + others + 1) * sizeof(MktgOffer));
	for (uint64 i = 0; i < others; i++)
		read_offer(i, tenant, &offers[named + i]);
	*n = (int) (named + others);
	return offers;
}

void
mktg_refuse_unknown_promo(int64 tenant, int64 id)
{
	mktg_require_tenant(tenant);
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_UNKNOWN_PROMO),
			 errmsg("promo " INT64_FORMAT " does not exist", id),
			 errdetail("Tenant " INT64_FORMAT " has no such promo.", tenant),
			 errhint("The view mktg.promo_list lists them; mktg.create_promo() makes one.")));
}

void
mktg_get_offer(int64 tenant, int64 id, MktgOffer *offer)
{
	static MktgQuery query = {
		.sql = OFFER_COLUMNS ", NULL::text, false, NULL::bigint, NULL::bigint"
		" FROM mktg.offer o WHERE o.tenant_id = $1 AND o.offer_id = $2",
		.fresh = true, .nargs = 2, .argtypes = {INT8OID, INT8OID}
	};

	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(id)) == 0)
		mktg_refuse_unknown_promo(tenant, id);
	read_offer(0, tenant, offer);
}

DateADT
mktg_offer_period(const char *period, int32 day)
{
	int			year;
	int			month;
	int			date;

	if (period == NULL)
		return DATEVAL_NOBEGIN;
	j2date(day + POSTGRES_EPOCH_JDATE, &year, &month, &date);
	if (strcmp(period, "day") == 0)
		return day;
	if (strcmp(period, "week") == 0)
		return day - (j2day(day + POSTGRES_EPOCH_JDATE) + 6) % 7;
	return date2j(year, strcmp(period, "year") == 0 ? 1 : month, 1) - POSTGRES_EPOCH_JDATE;
}
