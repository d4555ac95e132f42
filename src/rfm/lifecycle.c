/*-------------------------------------------------------------------------
 *
 * lifecycle.c
 *		Aggregates over the times of a contact's purchases: the stage of its
 *		life, days since the last, the one before.
 *
 * They share a state, an array of bigint that lies flat in memory: it needs no
 * bringing into form between processes, and the aggregates of one statement
 * that have the same arguments keep one between them.
 *
 * IDENTIFICATION
 *		src/rfm/lifecycle.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "core/rfm.h"

/* What is in the array; times without a purchase are 0. */
typedef struct Life
{
	int64		count;
	int64		last;
	int64		previous;
	int64		at;				/* the instant asked for */
} Life;

#define NFIELDS		(sizeof(Life) / sizeof(int64))

PG_FUNCTION_INFO_V1(mktg_life_add);
PG_FUNCTION_INFO_V1(mktg_life_combine);
PG_FUNCTION_INFO_V1(mktg_life_stage);
PG_FUNCTION_INFO_V1(mktg_life_days_since);
PG_FUNCTION_INFO_V1(mktg_life_previous);

/* Whoever calls may have made the array by hand. */
static Life *
life_of(ArrayType *array)
{
	if (ARR_NDIM(array) != 1 || ARR_HASNULL(array) || ARR_ELEMTYPE(array) != INT8OID ||
		ARR_SIZE(array) != ARR_OVERHEAD_NONULLS(1) + sizeof(Life))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("the state of a lifecycle aggregate must be an array of %d bigints", (int) NFIELDS),
				 errhint("Call mktg.lifecycle_stage() or mktg.days_since().")));
	return (Life *) ARR_DATA_PTR(array);
}

/* A state that may be written: an aggregate's own, else a copy. */
static ArrayType *
writable_state(FunctionCallInfo fcinfo)
{
	return AggCheckCallContext(fcinfo, NULL) ? PG_GETARG_ARRAYTYPE_P(0) : PG_GETARG_ARRAYTYPE_P_COPY(0);
}

static void
add_time(Life *life, int64 at)
{
	if (life->count == 0 || at >= life->last)
	{
		life->previous = life->last;
		life->last = at;
	}
	else if (life->count == 1 || at > life->previous)
		life->previous = at;
	life->count++;
}

/*
 * SQL: mktg._life_add(bigint[], placed_at timestamptz, at timestamptz), STRICT
 *
 * Purchases after the instant do not count, nor do infinite times.
 */
Datum
mktg_life_add(PG_FUNCTION_ARGS)
{
	ArrayType  *state = writable_state(fcinfo);
	Life	   *life = life_of(state);
	TimestampTz placed_at = PG_GETARG_TIMESTAMPTZ(1);
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(2);

	if (placed_at <= at && !TIMESTAMP_NOT_FINITE(placed_at) && !TIMESTAMP_NOT_FINITE(at))
	{
		add_time(life, placed_at);
		life->at = at;
	}
	PG_RETURN_ARRAYTYPE_P(state);
}

Datum
mktg_life_combine(PG_FUNCTION_ARGS)
{
	ArrayType  *state = writable_state(fcinfo);
	Life	   *life = life_of(state);
	const Life *more = life_of(PG_GETARG_ARRAYTYPE_P(1));
	int64		count = life->count + more->count;

	if (more->count == 0)
		PG_RETURN_ARRAYTYPE_P(state);
	if (life->count == 0)
		*life = *more;
	else
	{
		/* the two latest of four; the later one's earlier is no news to a count of one */
		add_time(life, more->last);
		if (more->count > 1)
			add_time(life, more->previous);
		life->count = count;
	}
	PG_RETURN_ARRAYTYPE_P(state);
}

/* SQL: aggregate mktg.lifecycle_stage(timestamptz, timestamptz) returns text */
Datum
mktg_life_stage(PG_FUNCTION_ARGS)
{
	const Life *life = life_of(PG_GETARG_ARRAYTYPE_P(0));
	const char *stage = mktg_lifecycle_stage(life->count, life->last, life->previous, life->at);

	if (stage == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(stage));
}

/* SQL: aggregate mktg.days_since(timestamptz, timestamptz) returns integer */
Datum
mktg_life_days_since(PG_FUNCTION_ARGS)
{
	const Life *life = life_of(PG_GETARG_ARRAYTYPE_P(0));

	if (life->count <= 0)
		PG_RETURN_NULL();
	/* the whole range of times does not fit a signed difference */
	PG_RETURN_INT32(((uint64) life->at - (uint64) life->last) / USECS_PER_DAY);
}

/* SQL: aggregate mktg._previous_at(timestamptz, timestamptz) returns timestamptz */
Datum
mktg_life_previous(PG_FUNCTION_ARGS)
{
	const Life *life = life_of(PG_GETARG_ARRAYTYPE_P(0));

	if (life->count < 2)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(life->previous);
}
