/*-------------------------------------------------------------------------
 *
 * price.c
 *		Phases of an item's price, such as early bird.
 *
 * IDENTIFICATION
 *		src/offer/price.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/base.h"
#include "offer/offer.h"

PG_FUNCTION_INFO_V1(mktg_create_price_phase);
PG_FUNCTION_INFO_V1(mktg_delete_price_phase);
PG_FUNCTION_INFO_V1(mktg_effective_price);

static void
refuse_value(const char *message, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_VALUE),
			 errmsg("%s", message),
			 errhint("%s", hint)));
}

/*
 * SQL: mktg.create_price_phase(item text, name text, price bigint, starts_at timestamptz, ends_at timestamptz,
 *		max_seats integer, ordinal integer, tenant bigint) returns bigint
 *
 * Errors: MK020 item or name, MK021 max_seats, MK024 price or times, MK010 tenant.
 */
Datum
mktg_create_price_phase(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.price_phase (tenant_id, item, name, price, starts_at, ends_at, max_seats, ordinal)"
										" VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8, 1)) RETURNING phase_id",
										INT8OID, TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, INT4OID);
	char	   *item = mktg_text_argument(fcinfo, 0, "item");
	char	   *name = mktg_text_argument(fcinfo, 1, "name");
	int64		price = mktg_int64_argument(fcinfo, 2, "price");
	int64		tenant = mktg_int64_argument(fcinfo, 7, "tenant");
	int64		phase;

	mktg_require_name("item", item);
	mktg_require_name("price phase", name);
	if (price < 0)
		refuse_value("price must not be negative", "It is in minor units.");
	if (!PG_ARGISNULL(3) && !PG_ARGISNULL(4) && PG_GETARG_TIMESTAMPTZ(3) >= PG_GETARG_TIMESTAMPTZ(4))
		refuse_value("a price phase must start before it ends", "It holds from starts_at on and before ends_at.");
	if (!PG_ARGISNULL(5))
		mktg_require_limit("max_seats", PG_GETARG_INT32(5));
	mktg_begin();
	mktg_require_tenant(tenant);
	mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(item), MKTG_TEXT(name), MKTG_INT64(price), MKTG_FCARG(3), MKTG_FCARG(4),
			  MKTG_FCARG(5), MKTG_FCARG(6));
	phase = mktg_int64_at(0, 1);
	mktg_end();
	PG_RETURN_INT64(phase);
}

/*
 * SQL: mktg.delete_price_phase(phase bigint, tenant bigint) returns void
 *
 * Errors: MK085 unknown price phase.
 */
Datum
mktg_delete_price_phase(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("DELETE FROM mktg.price_phase WHERE tenant_id = $1 AND phase_id = $2", INT8OID, INT8OID);
	int64		phase = mktg_int64_argument(fcinfo, 0, "phase");
	int64		tenant = mktg_int64_argument(fcinfo, 1, "tenant");

	mktg_begin();
	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(phase)) == 0)
	{
		mktg_require_tenant(tenant);
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_UNKNOWN_PRICE_PHASE),
				 errmsg("price phase " INT64_FORMAT " does not exist", phase),
				 errdetail("Tenant " INT64_FORMAT " has no such price phase.", tenant),
				 errhint("The view mktg.price_phase_list lists them.")));
	}
	mktg_end();
	PG_RETURN_VOID();
}

void
mktg_find_phases(int64 tenant, Datum *items, Datum *booked, int n, TimestampTz at, MktgPhase *phases)
{
	static MktgQuery query = MKTG_QUERY("SELECT p.phase_id, p.name, p.price, coalesce(p.ends_at, 'infinity'), coalesce(p.max_seats - i.booked, -1)"
										"  FROM unnest($2, $3) WITH ORDINALITY AS i (item, booked, place)"
										"  LEFT JOIN LATERAL (SELECT * FROM mktg.price_phase p WHERE p.tenant_id = $1 AND p.item = i.item"
										"    AND (p.starts_at IS NULL OR p.starts_at <= $4) AND (p.ends_at IS NULL OR p.ends_at > $4)"
										"    AND (p.max_seats IS NULL OR p.max_seats > i.booked)"
										"    ORDER BY p.ordinal, p.starts_at NULLS FIRST, p.phase_id LIMIT 1) p ON true"
										" ORDER BY i.place",
										INT8OID, TEXTARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID);

	mktg_call(&query, MKTG_INT64(tenant), MKTG_ARG(mktg_array(items, NULL, n, TEXTOID)),
			  MKTG_ARG(mktg_array(booked, NULL, n, INT8OID)), MKTG_TIME(at));
	for (int i = 0; i < n; i++)
		phases[i] = (MktgPhase)
	{
		.phase_id = mktg_int64_at(i, 1), .name = mktg_text_at(i, 2), .price = mktg_int64_at(i, 3),
		.ends_at = mktg_int64_at(i, 4), .seats_left = mktg_int64_at(i, 5)
	};
}

/*
 * SQL: mktg.effective_price(item text, base_price bigint, booked_seats integer, at timestamptz, tenant bigint)
 *		returns (base_price bigint, effective_price bigint, phase_id bigint, phase_name text, ends_at timestamptz, seats_left bigint)
 *
 * Errors: MK024 a negative price or number of seats, MK010 tenant.
 */
Datum
mktg_effective_price(PG_FUNCTION_ARGS)
{
	Datum		item = CStringGetTextDatum(mktg_text_argument(fcinfo, 0, "item"));
	int64		base = mktg_int64_argument(fcinfo, 1, "base_price");
	int32		seats = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2);
	Datum		booked = Int64GetDatum(seats);
	TimestampTz at = PG_ARGISNULL(3) ? mktg_now() : PG_GETARG_TIMESTAMPTZ(3);
	int64		tenant = mktg_int64_argument(fcinfo, 4, "tenant");
	MktgPhase	phase;
	bool		none;
	Datum		result;

	if (base < 0 || seats < 0)
		refuse_value("base_price and booked_seats must not be negative", "Prices are in minor units.");
	mktg_begin();
	mktg_require_tenant(tenant);
	mktg_find_phases(tenant, &item, &booked, 1, at, &phase);
	none = phase.phase_id == 0;
	result = mktg_keep_row(fcinfo, (MktgArg[])
						   {
							   MKTG_INT64(base), MKTG_INT64(none ? base : phase.price),
							   none ? MKTG_NULL : MKTG_INT64(phase.phase_id), MKTG_TEXT(phase.name),
							   none || phase.ends_at == DT_NOEND ? MKTG_NULL : MKTG_TIME(phase.ends_at),
							   none || phase.seats_left < 0 ? MKTG_NULL : MKTG_INT64(phase.seats_left)
						   });
	mktg_end();
	PG_RETURN_DATUM(result);
}
