/*-------------------------------------------------------------------------
 *
 * lifecycle.c
 *		What becomes of a redemption: committed, released, expired, reversed.
 *
 * A use goes back where it was taken from: to the contact's count of the
 * period it was reserved in, to the code, to the offer's limits, in this order.
 *
 * IDENTIFICATION
 *		src/offer/lifecycle.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/base.h"
#include "offer/offer.h"

typedef struct Redemption
{
	int64		redemption_id;
	int64		offer_id;
	MktgArg		contact;
	MktgArg		period;
	char	   *status;
	int64		discount;
	int64		reversed;
	char	   *purchase;
	Jsonb	   *refunds;
} Redemption;

PG_FUNCTION_INFO_V1(mktg_commit_redemption);
PG_FUNCTION_INFO_V1(mktg_release_redemption);
PG_FUNCTION_INFO_V1(mktg_reverse_redemption);

TimestampTz
mktg_over_at(TimestampTz at)
{
	TimestampTz now = mktg_now();

	return at < now ? at : now;
}

static MktgArg
arg_at(uint64 row, int column)
{
	bool		isnull;
	Datum		value = mktg_value_at(row, column, &isnull);

	return (MktgArg) {value, isnull};
}

/* Reads a redemption and locks it until the transaction ends. */
static void
lock_redemption(int64 redemption, int64 tenant, Redemption *out)
{
	static MktgQuery query = MKTG_QUERY("SELECT offer_id, contact_id, period, status, discount, reversed, purchase, refunds"
										"  FROM mktg.redemption WHERE tenant_id = $1 AND redemption_id = $2 FOR NO KEY UPDATE",
										INT8OID, INT8OID);
	bool		isnull;

	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(redemption)) == 0)
	{
		mktg_require_tenant(tenant);
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_UNKNOWN_REDEMPTION),
				 errmsg("redemption " INT64_FORMAT " does not exist", redemption),
				 errdetail("Tenant " INT64_FORMAT " has no such redemption.", tenant),
				 errhint("mktg.reserve_promo() and mktg.redeem_promo() return ids.")));
	}
	out->redemption_id = redemption;
	out->offer_id = mktg_int64_at(0, 1);
	out->contact = arg_at(0, 2);
	out->period = arg_at(0, 3);
	out->status = mktg_text_at(0, 4);
	out->discount = mktg_int64_at(0, 5);
	out->reversed = mktg_int64_at(0, 6);
	out->purchase = mktg_text_at(0, 7);
	out->refunds = DatumGetJsonbP(mktg_value_at(0, 8, &isnull));
}

static void
refuse_state(const Redemption *redemption, const char *action, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_REDEMPTION_OVER),
			 errmsg("redemption " INT64_FORMAT " cannot be %s", redemption->redemption_id, action),
			 errdetail("It is %s.", redemption->status),
			 errhint("%s", hint)));
}

/* The contact's count and the code; the offer's limits are the caller's. */
static void
give_back_use(int64 tenant, const Redemption *redemption)
{
	static MktgQuery contact = MKTG_QUERY("UPDATE mktg.offer_contact SET used = used - 1"
										  " WHERE tenant_id = $1 AND offer_id = $2 AND contact_id = $3 AND period = $4 AND used > 0",
										  INT8OID, INT8OID, INT8OID, DATEOID);
	static MktgQuery code = MKTG_QUERY("UPDATE mktg.promo_code k SET redemption_id = NULL FROM mktg.redemption r"
									   " WHERE r.tenant_id = $1 AND r.redemption_id = $2"
									   "  AND k.tenant_id = r.tenant_id AND k.code = r.code AND k.redemption_id = r.redemption_id",
									   INT8OID, INT8OID);

	if (!redemption->period.isnull)
		mktg_call(&contact, MKTG_INT64(tenant), MKTG_INT64(redemption->offer_id), redemption->contact, redemption->period);
	mktg_call(&code, MKTG_INT64(tenant), MKTG_INT64(redemption->redemption_id));
}

static void
give_back_limits(int64 tenant, int64 offer, int64 uses, int64 budget)
{
	MktgOffer	of;

	mktg_get_offer(tenant, offer, &of);
	(void) mktg_take_uses(&of, -uses, -budget, mktg_now());
}

/*
 * SQL: mktg.commit_redemption(redemption bigint, purchase text, at timestamptz, tenant bigint) returns boolean
 *
 * Errors: MK083 unknown redemption, MK084 one that is over or another purchase's.
 */
Datum
mktg_commit_redemption(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.redemption SET status = 'committed', committed_at = $4, expires_at = NULL,"
										"  purchase = coalesce(purchase, $3)"
										" WHERE tenant_id = $1 AND redemption_id = $2", INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID);
	int64		id = mktg_int64_argument(fcinfo, 0, "redemption");
	char	   *purchase = mktg_optional_text(fcinfo, 1);
	TimestampTz at = PG_ARGISNULL(2) ? mktg_now() : PG_GETARG_TIMESTAMPTZ(2);
	int64		tenant = mktg_int64_argument(fcinfo, 3, "tenant");
	Redemption	redemption;
	bool		moves;

	mktg_begin();
	lock_redemption(id, tenant, &redemption);
	moves = strcmp(redemption.status, "reserved") == 0;
	if (!moves && strcmp(redemption.status, "committed") != 0)
		refuse_state(&redemption, "committed", "Reserve the promo again.");
	if (purchase != NULL && (redemption.purchase == NULL ? !moves : strcmp(purchase, redemption.purchase) != 0))
		refuse_state(&redemption, "committed for this purchase", "It belongs to another one.");
	if (moves)
		mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(id), MKTG_TEXT(purchase), MKTG_TIME(at));
	mktg_end();
	PG_RETURN_BOOL(moves);
}

/*
 * SQL: mktg.release_redemption(redemption bigint, at timestamptz, tenant bigint) returns boolean
 *
 * Errors: MK083 unknown redemption, MK084 a committed one.
 */
Datum
mktg_release_redemption(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.redemption SET status = 'released', ended_at = $3"
										" WHERE tenant_id = $1 AND redemption_id = $2", INT8OID, INT8OID, TIMESTAMPTZOID);
	int64		id = mktg_int64_argument(fcinfo, 0, "redemption");
	TimestampTz at = PG_ARGISNULL(1) ? mktg_now() : PG_GETARG_TIMESTAMPTZ(1);
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");
	Redemption	redemption;
	bool		moves;

	mktg_begin();
	lock_redemption(id, tenant, &redemption);
	moves = strcmp(redemption.status, "reserved") == 0;
	if (!moves && strcmp(redemption.status, "released") != 0 && strcmp(redemption.status, "expired") != 0)
		refuse_state(&redemption, "released", "A committed one is taken back by mktg.reverse_redemption().");
	if (moves)
	{
		mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(id), MKTG_TIME(at));
		give_back_use(tenant, &redemption);
		give_back_limits(tenant, redemption.offer_id, 1, redemption.discount);
	}
	mktg_end();
	PG_RETURN_BOOL(moves);
}

/* Was this refund heard before?  Another amount of the same name is an error. */
static bool
is_repeated(const Redemption *redemption, const char *refund, bool whole, int64 amount)
{
	JsonbValue	value;
	int64		before;

	if (refund == NULL ||
		getKeyJsonValueFromContainer(&redemption->refunds->root, refund, strlen(refund), &value) == NULL)
		return false;
	before = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
	if (!whole && before != amount)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_IDEMPOTENCY_CONFLICT),
				 errmsg("refund \"%s\" was used with another amount", refund),
				 errdetail("It took " INT64_FORMAT " back.", before),
				 errhint("Repeat a call as it was, or name another refund.")));
	return true;
}

static void
reverse(int64 tenant, const Redemption *redemption, int64 amount, const char *refund, TimestampTz at)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.redemption SET reversed = reversed + $3,"
										"  status = CASE WHEN reversed + $3 = discount THEN 'reversed' ELSE status END,"
										"  ended_at = CASE WHEN reversed + $3 = discount THEN $5 END,"
										"  refunds = refunds || CASE WHEN $4 IS NULL THEN '{}'::jsonb ELSE jsonb_build_object($4, $3) END"
										" WHERE tenant_id = $1 AND redemption_id = $2",
										INT8OID, INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID);
	bool		whole = redemption->reversed + amount == redemption->discount;

	mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(redemption->redemption_id), MKTG_INT64(amount), MKTG_TEXT(refund),
			  MKTG_TIME(at));
	if (whole)
		give_back_use(tenant, redemption);
	give_back_limits(tenant, redemption->offer_id, whole, amount);
}

/*
 * SQL: mktg.reverse_redemption(redemption bigint, amount bigint, refund text, at timestamptz, tenant bigint)
 *		returns bigint
 *
 * Errors: MK083 unknown redemption, MK084 one that is not committed, MK081 a refund
 * with another amount, MK024 an amount below 1 or above what is left.
 */
Datum
mktg_reverse_redemption(PG_FUNCTION_ARGS)
{
	int64		id = mktg_int64_argument(fcinfo, 0, "redemption");
	bool		whole = PG_ARGISNULL(1);
	char	   *refund = mktg_optional_text(fcinfo, 2);
	TimestampTz at = PG_ARGISNULL(3) ? mktg_now() : PG_GETARG_TIMESTAMPTZ(3);
	int64		tenant = mktg_int64_argument(fcinfo, 4, "tenant");
	Redemption	redemption;
	int64		left;
	int64		amount;

	mktg_begin();
	lock_redemption(id, tenant, &redemption);
	left = redemption.discount - redemption.reversed;
	amount = whole ? left : PG_GETARG_INT64(1);
	if (!is_repeated(&redemption, refund, whole, amount) &&
		!(whole && refund == NULL && strcmp(redemption.status, "reversed") == 0))
	{
		if (strcmp(redemption.status, "committed") != 0)
			refuse_state(&redemption, "reversed", "Only a committed one can be; a reservation is released.");
		if (!whole && (amount < 1 || amount > left))
			ereport(ERROR,
					(errcode(ERRCODE_MKTG_INVALID_VALUE),
					 errmsg("amount to reverse must be from 1 to " INT64_FORMAT, left),
					 errdetail("The discount was " INT64_FORMAT ", of which " INT64_FORMAT " are reversed.",
							   redemption.discount, redemption.reversed),
					 errhint("Leave it NULL for all that is left.")));
		reverse(tenant, &redemption, amount, refund, at);
		left -= amount;
	}
	mktg_end();
	PG_RETURN_INT64(left);
}

/* ---- reservations that are over ---- */

/*
 * Rows that others have hold of are passed over, contacts' counts too: whoever
 * redeems holds its own contact's, and must not wait for that of another who
 * waits for its.
 */
#define OVERDUE(columns, from, where, of) \
	"SELECT r.redemption_id" columns " FROM mktg.redemption r" from \
	" WHERE r.tenant_id = $1 AND r.offer_id = $2 AND r.status = 'reserved' AND r.expires_at <= $5" where \
	"   AND ($3 = 0 OR r.contact_id = $3) AND ($4 = 0 OR r.redemption_id = $4) FOR UPDATE OF " of " SKIP LOCKED"

int64
mktg_expire_reservations(int64 tenant, int64 offer, int64 contact, int64 redemption, TimestampTz now, int64 *budget)
{
	static MktgQuery query = {
		.sql = "WITH counted AS MATERIALIZED ("
		OVERDUE("", " JOIN mktg.offer_contact c ON c.tenant_id = r.tenant_id AND c.offer_id = r.offer_id"
				" AND c.contact_id = r.contact_id AND c.period = r.period", "", "r, c") "),"
		" uncounted AS MATERIALIZED (" OVERDUE("", "", " AND r.period IS NULL", "r") "),"
		" gone AS (UPDATE mktg.redemption r SET status = 'expired', ended_at = $5"
		"   WHERE r.tenant_id = $1 AND r.redemption_id IN (SELECT redemption_id FROM counted UNION ALL SELECT redemption_id FROM uncounted)"
		"   RETURNING r.redemption_id, r.contact_id, r.period, r.code, r.discount),"
		" contacts AS (UPDATE mktg.offer_contact c SET used = greatest(c.used - n.uses, 0)"
		"   FROM (SELECT contact_id, period, count(*)::integer AS uses FROM gone WHERE period IS NOT NULL GROUP BY 1, 2) n"
		"   WHERE c.tenant_id = $1 AND c.offer_id = $2 AND c.contact_id = n.contact_id AND c.period = n.period),"
		" codes AS (UPDATE mktg.promo_code k SET redemption_id = NULL FROM gone g"
		"   WHERE k.tenant_id = $1 AND k.code = g.code AND k.redemption_id = g.redemption_id)"
		" SELECT count(*), coalesce(sum(discount)::bigint, 0) FROM gone",
		.fresh = true, .nargs = 5, .argtypes = {INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID}
	};

	mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(offer), MKTG_INT64(contact), MKTG_INT64(redemption), MKTG_TIME(now));
	*budget = mktg_int64_at(0, 2);
	return mktg_int64_at(0, 1);
}

bool
mktg_has_overdue(int64 tenant, int64 offer, TimestampTz now)
{
	static MktgQuery query = {
		.sql = "SELECT 1 FROM mktg.redemption WHERE tenant_id = $1 AND offer_id = $2 AND status = 'reserved' AND expires_at <= $3 LIMIT 1",
		.fresh = true, .nargs = 3, .argtypes = {INT8OID, INT8OID, TIMESTAMPTZOID}
	};

	return mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(offer), MKTG_TIME(now)) > 0;
}

void
mktg_expire_all(TimestampTz now)
{
	static MktgQuery query = MKTG_QUERY("SELECT DISTINCT tenant_id, offer_id FROM mktg.redemption"
										" WHERE status = 'reserved' AND expires_at <= $1 ORDER BY 1, 2", TIMESTAMPTZOID);
	int			n = (int) mktg_call(&query, MKTG_TIME(now));
	int64		(*offers)[2] = palloc(n * sizeof(*offers) + 1);

	for (int i = 0; i < n; i++)
	{
		offers[i][0] = mktg_int64_at(i, 1);
		offers[i][1] = mktg_int64_at(i, 2);
	}
	for (int i = 0; i < n; i++)
	{
		int64		budget;
		int64		uses = mktg_expire_reservations(offers[i][0], offers[i][1], 0, 0, now, &budget);

		if (uses > 0)
			give_back_limits(offers[i][0], offers[i][1], uses, budget);
	}
}
