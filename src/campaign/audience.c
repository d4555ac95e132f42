/*-------------------------------------------------------------------------
 *
 * audience.c
 *		Adds recipients to a campaign: those it may reach, each address once.
 *
 * One statement for any number.  It rates every candidate, takes one contact
 * an address, gives positions after those already given, and counts the rest.
 * The lock on the campaign's row keeps positions dense when two sessions add.
 *
 * IDENTIFICATION
 *		src/campaign/audience.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/jsonb.h"

#include "base/base.h"
#include "campaign/campaign.h"
#include "segment/segment.h"

/*
 * $1 tenant, $2 channel, $3 campaign, $4 last position given, $5 consent is
 * needed, $6 the caller's array.  "wanted" has each element once with the
 * number of times it came, "input" the contacts it stands for.
 *
 * Candidates come in the order of contact_id, and positions are given in it; of
 * contacts that share an address the lowest stands for it.  A contact that is
 * subscribed to several topics comes out of the join several times; taking the
 * first of each address takes care of that too.
 */
#define INPUT_CONTACTS \
	"WITH wanted AS MATERIALIZED (SELECT id AS key, count(*) AS n FROM unnest($6::bigint[]) AS u (id) GROUP BY id)," \
	" input AS MATERIALIZED (SELECT c.contact_id FROM wanted w" \
	"   JOIN mktg.contact c ON c.tenant_id = $1 AND c.contact_id = w.key),"

#define INPUT_ADDRESSES \
	"WITH wanted AS MATERIALIZED (SELECT mktg._address_or_null($2, a) AS key, count(*) AS n" \
	"   FROM unnest($6::text[]) AS u (a) GROUP BY 1)," \
	" input AS MATERIALIZED (SELECT c.contact_id FROM wanted w" \
	"   JOIN mktg.contact c ON c.tenant_id = $1 AND " MKTG_SQL_ADDRESS("$2", "c") " = w.key),"

/* nulls, malformed addresses, and what no contact has */
#define UNKNOWN(found) \
	"(SELECT coalesce(sum(n) FILTER (WHERE key IS NULL), 0)::bigint + count(key) FROM wanted) - " found

#define INPUT_ALL	"WITH"
#define COUNT_ALL	"(SELECT count(*) FROM mktg.contact WHERE tenant_id = $1)"

/*
 * What is counted: contacts; or addresses, each by the best rating of those
 * who share it.
 */
#define CONTACTS	"rated"
#define ADDRESSES	"(SELECT min(rating) AS rating FROM rated GROUP BY address) best"

/* ratings, the better the lower */
#define ADDED			"1"
#define DUPLICATE		"2"
#define UNSUBSCRIBED	"3"
#define SUPPRESSED		"4"
#define UNREACHABLE		"5"

#define ADD(from, counted, unknown, total) \
	" rated AS MATERIALIZED (SELECT contact_id, address," \
	"  (CASE WHEN rating < " DUPLICATE " AND NOT mktg._first_of(address) THEN " DUPLICATE " ELSE rating END)::smallint AS rating" \
	"  FROM (SELECT c.contact_id, a.address," \
	"   CASE WHEN NOT c.is_active OR a.address IS NULL THEN " UNREACHABLE \
	"        WHEN x.address_hash IS NOT NULL THEN " SUPPRESSED \
	"        WHEN $5 AND (k.contact_id IS NULL OR u.contact_id IS NOT NULL) THEN " UNSUBSCRIBED \
	"        WHEN m.contact_id IS NOT NULL OR n.contact_id IS NOT NULL THEN " DUPLICATE \
	"        ELSE " ADDED " END AS rating" \
	"   FROM " from \
	"   CROSS JOIN LATERAL (SELECT " MKTG_SQL_ADDRESS("$2", "c") " AS address) a" \
	"   LEFT JOIN mktg.suppression x ON x.tenant_id = $1 AND x.channel = $2" \
	"     AND x.address_hash = mktg.address_hash(a.address)" \
	"   LEFT JOIN mktg.consent u ON u.tenant_id = $1 AND u.contact_id = c.contact_id AND u.channel = $2" \
	"     AND u.topic = 'marketing' AND u.state = 'unsubscribed' AND $5" \
	"   LEFT JOIN mktg.consent k ON k.tenant_id = $1 AND k.contact_id = c.contact_id AND k.channel = $2" \
	"     AND k.state = 'subscribed' AND $5" \
	"     AND c.is_active AND a.address IS NOT NULL AND x.address_hash IS NULL AND u.contact_id IS NULL" \
	"   LEFT JOIN mktg.message m ON m.tenant_id = $1 AND m.campaign_id = $3 AND m.contact_id = c.contact_id" \
	"     AND m.ref || '' = ''" /* by key: not what the index of addresses offers */ \
	"   LEFT JOIN mktg.message n ON n.tenant_id = $1 AND n.campaign_id = $3 AND n.address = a.address AND n.ref = ''" \
	"  WHERE c.tenant_id = $1 ORDER BY c.contact_id) candidate)," \
	" added AS (INSERT INTO mktg.message (tenant_id, campaign_id, contact_id, address, position)" \
	"   SELECT $1, $3, contact_id, address, $4 + row_number() OVER () FROM rated WHERE rating = " ADDED ")" \
	" SELECT count(*) FILTER (WHERE rating = " ADDED ")," \
	"  count(*) FILTER (WHERE rating = " UNSUBSCRIBED ")," \
	"  count(*) FILTER (WHERE rating = " SUPPRESSED ")," \
	"  count(*) FILTER (WHERE rating = " UNREACHABLE ")," \
	"  " unknown ", " total \
	" FROM " counted

#define FROM_INPUT	"input i JOIN mktg.contact c ON c.tenant_id = $1 AND c.contact_id = i.contact_id"
#define FROM_ALL	"mktg.contact c"

/* from this many on, candidates are a good part of the tables */
#define MANY_CANDIDATES	10000

#define ADD_TYPES	INT8OID, TEXTOID, INT8OID, INT4OID, BOOLOID

static MktgQuery add_contacts = MKTG_BULK_QUERY(INPUT_CONTACTS
												ADD(FROM_INPUT, CONTACTS, UNKNOWN("(SELECT count(*) FROM input)"), "0::bigint"),
												ADD_TYPES, INT8ARRAYOID);
static MktgQuery add_addresses = MKTG_BULK_QUERY(INPUT_ADDRESSES
												 ADD(FROM_INPUT, ADDRESSES, UNKNOWN("count(*)"), "0::bigint"),
												 ADD_TYPES, TEXTARRAYOID);
static MktgQuery add_all = MKTG_BULK_QUERY(INPUT_ALL ADD(FROM_ALL, CONTACTS, "0::bigint", COUNT_ALL), ADD_TYPES);

static Datum add(FunctionCallInfo fcinfo, MktgQuery *query, const MktgArg *array, int tenant_argument);
static bool lock_for_adding(int64 id, int64 tenant, MktgCampaign *campaign, int32 *sender_limit);
static void extend(const MktgCampaign *campaign, int64 added, bool sender_locked, int32 sender_limit);

PG_FUNCTION_INFO_V1(mktg_add_contacts);
PG_FUNCTION_INFO_V1(mktg_add_addresses);
PG_FUNCTION_INFO_V1(mktg_add_all_contacts);
PG_FUNCTION_INFO_V1(mktg_set_audience);
PG_FUNCTION_INFO_V1(mktg_add_audience);

/*
 * SQL: mktg.add_recipients(campaign bigint, contacts bigint[], tenant bigint DEFAULT 1)
 *		returns (added, duplicates, unsubscribed, suppressed, unreachable, unknown)
 *
 * The counts add up to the length of the array, NULLs and repeats included.
 * Errors: MK014 unknown campaign, MK033 completed or cancelled.
 */
Datum
mktg_add_contacts(PG_FUNCTION_ARGS)
{
	MktgArg		array = MKTG_FCARG(1);

	return add(fcinfo, &add_contacts, &array, 2);
}

/*
 * SQL: mktg.add_recipients(campaign bigint, addresses text[], tenant bigint DEFAULT 1)
 *
 * A malformed address is unknown, no error.  Where contacts share an address
 * one that may be written to stands for it.
 */
Datum
mktg_add_addresses(PG_FUNCTION_ARGS)
{
	MktgArg		array = MKTG_FCARG(1);

	return add(fcinfo, &add_addresses, &array, 2);
}

/*
 * SQL: mktg.add_all_contacts(campaign bigint, tenant bigint DEFAULT 1)
 *
 * The counts add up to the number of the tenant's contacts.
 */
Datum
mktg_add_all_contacts(PG_FUNCTION_ARGS)
{
	return add(fcinfo, &add_all, NULL, 1);
}

/*
 * SQL: mktg.set_audience(campaign bigint, include bigint[], exclude bigint[], tenant bigint) returns void
 *
 * Errors: MK014 campaign, MK019 segment.
 */
Datum
mktg_set_audience(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.campaign SET include_segments = $3, exclude_segments = $4"
										" WHERE tenant_id = $1 AND campaign_id = $2",
										INT8OID, INT8OID, INT8ARRAYOID, INT8ARRAYOID);
	int64		id = mktg_int64_argument(fcinfo, 0, "campaign");
	int64		tenant = mktg_int64_argument(fcinfo, 3, "tenant");
	Datum		none = PointerGetDatum(construct_empty_array(INT8OID));

	mktg_begin();
	mktg_require_segments(PG_ARGISNULL(1) ? none : PG_GETARG_DATUM(1), "include", tenant);
	mktg_require_segments(PG_ARGISNULL(2) ? none : PG_GETARG_DATUM(2), "exclude", tenant);
	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(id), PG_ARGISNULL(1) ? MKTG_ARG(none) : MKTG_FCARG(1),
				  PG_ARGISNULL(2) ? MKTG_ARG(none) : MKTG_FCARG(2)) == 0)
		mktg_require_campaign(id, tenant);
	mktg_end();
	PG_RETURN_VOID();
}

/* Takes from "ids" those that are (or are not) in "others"; both ascending. */
static int64
keep_ids(int64 *ids, int64 n, const int64 *others, int64 nothers, bool in)
{
	int64		kept = 0;
	int64		k = 0;

	for (int64 i = 0; i < n; i++)
	{
		while (k < nothers && others[k] < ids[i])
			k++;
		if ((k < nothers && others[k] == ids[i]) == in)
			ids[kept++] = ids[i];
	}
	return kept;
}

/* The contacts a campaign's rules or segments mean, as an array in the caller's memory. */
static Datum
find_audience(int64 id, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT target_audience, include_segments, exclude_segments FROM mktg.campaign"
										" WHERE tenant_id = $1 AND campaign_id = $2", INT8OID, INT8OID);
	Datum		none = PointerGetDatum(construct_empty_array(INT8OID));
	Jsonb	   *rules = NULL;
	Datum		include;
	Datum		exclude;
	int64	   *ids = NULL;
	int64		n = 0;
	int64	   *others;
	int64		nothers;
	Datum	   *values;
	bool		isnull;
	bool		by_segment;

	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(id)) == 0)
		mktg_require_campaign(id, tenant);
	if (!mktg_null_at(0, 1))
		rules = DatumGetJsonbPCopy(mktg_value_at(0, 1, &isnull));
	include = PointerGetDatum(DatumGetArrayTypePCopy(mktg_value_at(0, 2, &isnull)));
	exclude = PointerGetDatum(DatumGetArrayTypePCopy(mktg_value_at(0, 3, &isnull)));
	by_segment = ARR_NDIM(DatumGetArrayTypeP(include)) > 0;
	if (rules == NULL && !by_segment)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_NO_RECIPIENTS),
				 errmsg("campaign " INT64_FORMAT " has no audience", id),
				 errdetail("It has neither target_audience nor segments to include."),
				 errhint("Name segments with mktg.set_audience(), or add contacts with mktg.add_recipients().")));
	if (by_segment)
		ids = mktg_audience_ids(include, exclude, tenant, &n);
	if (rules != NULL)
	{
		others = mktg_matching_ids(mktg_compile_rules(rules, mktg_now(), tenant), &nothers);
		if (by_segment)
			n = keep_ids(ids, n, others, nothers, true);
		else
		{
			ids = others;
			n = nothers;
			others = mktg_audience_ids(exclude, none, tenant, &nothers);
			n = keep_ids(ids, n, others, nothers, false);
		}
	}
	values = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Datum) * (n + 1));
	for (int64 i = 0; i < n; i++)
		values[i] = Int64GetDatum(ids[i]);
	return SPI_datumTransfer(mktg_array(values, NULL, (int) n, INT8OID), false, -1);
}

/*
 * SQL: mktg.add_audience(campaign bigint, tenant bigint DEFAULT 1)
 *		returns (added, duplicates, unsubscribed, suppressed, unreachable, unknown)
 *
 * Errors: MK014 unknown campaign, MK030 no audience, MK033 completed or
 * cancelled, those of rules.
 */
Datum
mktg_add_audience(PG_FUNCTION_ARGS)
{
	int64		id = mktg_int64_argument(fcinfo, 0, "campaign");
	int64		tenant = mktg_int64_argument(fcinfo, 1, "tenant");
	MktgArg		array = MKTG_NULL;

	mktg_begin();
	array = MKTG_ARG(find_audience(id, tenant));
	mktg_end();
	return add(fcinfo, &add_contacts, &array, 1);
}

static Datum
add(FunctionCallInfo fcinfo, MktgQuery *query, const MktgArg *array, int tenant_argument)
{
	int64		id = mktg_int64_argument(fcinfo, 0, "campaign");
	int64		tenant = mktg_int64_argument(fcinfo, tenant_argument, "tenant");
	int64		counts[6];		/* added, unsubscribed, suppressed, unreachable, unknown, contacts seen */
	int64		total;
	MktgCampaign campaign;
	int32		sender_limit;
	bool		sender_locked;
	Datum		result;

	total = array == NULL || array->isnull ? 0 :
		ArrayGetNItems(ARR_NDIM(DatumGetArrayTypeP(array->value)),
					   ARR_DIMS(DatumGetArrayTypeP(array->value)));
	query->most_rows = array == NULL || total >= MANY_CANDIDATES;

	mktg_begin();
	sender_locked = lock_for_adding(id, tenant, &campaign, &sender_limit);
	mktg_call(query, MKTG_INT64(tenant), MKTG_TEXT(campaign.channel), MKTG_INT64(id),
			  MKTG_INT32(campaign.last_position),
			  MKTG_ARG(BoolGetDatum(strcmp(campaign.type, "transactional") != 0)),
			  array ? *array : MKTG_NULL);
	for (int i = 0; i < 6; i++)
		counts[i] = mktg_int64_at(0, i + 1);
	if (array == NULL)
		total = counts[5];
	extend(&campaign, counts[0], sender_locked, sender_limit);

	result = mktg_keep_row(fcinfo, (MktgArg[])
						   {
							   MKTG_INT64(counts[0]),
							   MKTG_INT64(total - counts[0] - counts[1] - counts[2] - counts[3] - counts[4]),
							   MKTG_INT64(counts[1]), MKTG_INT64(counts[2]),
							   MKTG_INT64(counts[3]), MKTG_INT64(counts[4])
						   });
	mktg_end();
	PG_RETURN_DATUM(result);
}

/*
 * A running campaign's plan grows with it, so its sender is locked first, as
 * everywhere; a draft must not hold up the sender while a million are added.
 */
static bool
lock_for_adding(int64 id, int64 tenant, MktgCampaign *campaign, int32 *sender_limit)
{
	static MktgQuery query = MKTG_QUERY("SELECT sender_id FROM mktg.campaign WHERE tenant_id = $1"
										" AND campaign_id = $2 AND status = 'active'", INT8OID, INT8OID);
	bool		running = mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(id)) > 0;

	*sender_limit = running ? mktg_lock_sender(mktg_int64_at(0, 1), tenant) : 0;
	mktg_lock_campaign(id, tenant, campaign);
	if (strcmp(campaign->status, "completed") == 0 || strcmp(campaign->status, "cancelled") == 0)
		mktg_refuse_transition(campaign, "given recipients");
	return running;
}

static void
extend(const MktgCampaign *campaign, int64 added, bool sender_locked, int32 sender_limit)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.campaign SET last_position = last_position + $3"
										" WHERE tenant_id = $1 AND campaign_id = $2", INT8OID, INT8OID, INT4OID);

	if (added == 0)
		return;
	mktg_call(&query, MKTG_INT64(campaign->tenant_id), MKTG_INT64(campaign->campaign_id), MKTG_INT32((int32) added));
	if (strcmp(campaign->status, "active") != 0)
		return;
	if (!sender_locked)
		sender_limit = mktg_lock_sender(campaign->sender_id, campaign->tenant_id);
	mktg_plan_sender(campaign->sender_id, sender_limit, campaign->campaign_id,
					 mktg_tenant_day(mktg_now(), campaign->tenant_id), campaign->tenant_id);
}
