/*-------------------------------------------------------------------------
 *
 * score.c
 *		mktg.score_rfm(): scores of all contacts of a tenant with purchases.
 *
 * IDENTIFICATION
 *		src/rfm/score.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"

#include "base/base.h"
#include "rfm/rfm.h"

/* What the tenant's row says, and what follows from it. */
typedef struct Terms
{
	char	   *time_zone;
	char	   *currency;
	int32		today;			/* local day of "at" */
	TimestampTz from;			/* purchases are later than that */
} Terms;

static MktgRfmMethod method_argument(FunctionCallInfo fcinfo, int n);
static void require_period(const Interval *period);
static void read_terms(int64 tenant, TimestampTz at, const MktgArg *period, Terms *terms);
static void score(MktgRfm *contacts, size_t n, MktgRfmMethod method, const Terms *terms);
static void make_segments_due(int64 tenant);

PG_FUNCTION_INFO_V1(mktg_score_rfm);

/*
 * SQL: mktg.score_rfm(method text DEFAULT 'fixed', period interval DEFAULT NULL,
 *		at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) returns bigint
 *
 * Errors: MK010 unknown tenant, MK024 method, period, at, or a sum that is none.
 */
Datum
mktg_score_rfm(PG_FUNCTION_ARGS)
{
	MktgRfmMethod method = method_argument(fcinfo, 0);
	MktgArg		period = MKTG_FCARG(1);
	/* a timestamp is passed as the bigint it is */
	TimestampTz at = mktg_int64_argument(fcinfo, 2, "at");
	int64		tenant = mktg_int64_argument(fcinfo, 3, "tenant");
	Relation	table;
	Terms		terms;
	MktgRfm    *contacts = NULL;
	size_t		n;

	if (!period.isnull)
		require_period(DatumGetIntervalP(period.value));
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("scores have no meaning at an infinite time"),
				 errhint("Leave \"at\" out for now.")));

	mktg_begin();
	read_terms(tenant, at, &period, &terms);
	table = mktg_rfm_lock_scores();
	n = mktg_rfm_collect(tenant, terms.from, at, terms.time_zone, terms.currency, &contacts);
	score(contacts, n, method, &terms);
	if (mktg_rfm_store(table, tenant, contacts, n) > 0)
		make_segments_due(tenant);
	table_close(table, NoLock);
	mktg_end();
	PG_RETURN_INT64(n);
}

static MktgRfmMethod
method_argument(FunctionCallInfo fcinfo, int n)
{
	char	   *name = mktg_text_argument(fcinfo, n, "method");

	if (strcmp(name, "fixed") == 0)
		return MKTG_RFM_FIXED;
	if (strcmp(name, "ntile") == 0)
		return MKTG_RFM_NTILE;
	if (strcmp(name, "percentile") == 0)
		return MKTG_RFM_PERCENTILE;
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_VALUE),
			 errmsg("method \"%s\" does not exist", name),
			 errhint("Methods are fixed, ntile and percentile.")));
}

static void
require_period(const Interval *period)
{
	Interval	zero = {0};

	if (DatumGetBool(DirectFunctionCall2(interval_gt, IntervalPGetDatum(period), IntervalPGetDatum(&zero))))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_VALUE),
			 errmsg("period must be longer than nothing"),
			 errdetail("The period given is %s.",
					   DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(period)))),
			 errhint("Leave it NULL for all purchases ever made.")));
}

/* A period of months or days ends by the tenant's calendar, not by the session's. */
static void
read_terms(int64 tenant, TimestampTz at, const MktgArg *period, Terms *terms)
{
	static MktgQuery query = MKTG_QUERY("SELECT time_zone, currency, ($2 AT TIME ZONE time_zone)::date,"
										" coalesce(($2 AT TIME ZONE time_zone - $3) AT TIME ZONE time_zone, '-infinity')"
										" FROM mktg.tenant WHERE tenant_id = $1",
										INT8OID, TIMESTAMPTZOID, INTERVALOID);
	bool		isnull;

	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_TIME(at), *period) == 0)
		mktg_require_tenant(tenant);
	terms->time_zone = mktg_text_at(0, 1);
	terms->currency = mktg_text_at(0, 2);
	terms->today = DatumGetDateADT(mktg_value_at(0, 3, &isnull));
	terms->from = DatumGetTimestampTz(mktg_value_at(0, 4, &isnull));
}

static void
score(MktgRfm *contacts, size_t n, MktgRfmMethod method, const Terms *terms)
{
	void	   *scratch = palloc_extended(mktg_rfm_score_scratch(n), MCXT_ALLOC_HUGE);

	for (size_t i = 0; i < n; i++)
		contacts[i].recency_days = terms->today - contacts[i].recency_days;
	mktg_rfm_score(contacts, n, method, mktg_currency_exponent(terms->currency), scratch);
	pfree(scratch);
}

/* Segments whose rules read scores are to be held against all contacts again. */
static void
make_segments_due(int64 tenant)
{
	static MktgQuery query = MKTG_QUERY(
		"WITH due AS MATERIALIZED (SELECT tenant_id, segment_id FROM mktg.segment"
		" WHERE tenant_id = $1 AND kind = 'dynamic' AND 'rfm' = ANY (sources)"
		" ORDER BY segment_id FOR NO KEY UPDATE)"
		" UPDATE mktg.segment s SET refreshed_at = NULL FROM due d"
		" WHERE s.tenant_id = $1 AND s.segment_id = d.segment_id", INT8OID);

	mktg_call(&query, MKTG_INT64(tenant));
}
