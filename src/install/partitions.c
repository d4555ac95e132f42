/*-------------------------------------------------------------------------
 *
 * partitions.c
 *		Partitions by month of tables that only grow.
 *
 * The present month and the next three get one each, in UTC.  Nobody waits for
 * it and it waits for nobody: where a lock cannot be had at once, or rows of a
 * month lie in the default partition already, that month is left to the next
 * run or to the default partition, which takes whatever has none.
 *
 * IDENTIFICATION
 *		src/install/partitions.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/base.h"
#include "install/install.h"

#define MONTHS_AHEAD	3

typedef struct Month
{
	int			year;
	int			month;
	TimestampTz from;
	TimestampTz to;
} Month;

static TimestampTz
first_of_month(int year, int month)
{
	struct pg_tm tm = {.tm_year = year, .tm_mon = month, .tm_mday = 1};
	TimestampTz first;

	if (tm2timestamp(&tm, 0, NULL, &first) != 0)
		return DT_NOEND;
	return first;
}

/* The month so many after that of an instant; false where the calendar ends, or begins. */
static bool
find_month(TimestampTz at, int after, Month *month)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			months;

	if (TIMESTAMP_NOT_FINITE(at) || timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0 || tm.tm_year < 1)
		return false;
	months = tm.tm_year * 12 + tm.tm_mon - 1 + after;
	month->year = months / 12;
	month->month = months % 12 + 1;
	month->from = first_of_month(month->year, month->month);
	month->to = first_of_month((months + 1) / 12, (months + 1) % 12 + 1);
	return month->from != DT_NOEND && month->to != DT_NOEND;
}

static TimestampTz
bound_at(PartitionBoundInfo bounds, int i)
{
	if (bounds->kind[i][0] == PARTITION_RANGE_DATUM_MINVALUE)
		return DT_NOBEGIN;
	if (bounds->kind[i][0] == PARTITION_RANGE_DATUM_MAXVALUE)
		return DT_NOEND;
	return DatumGetTimestampTz(bounds->datums[i][0]);
}

/* Does a partition other than the default one have a part of the month, whoever made it? */
static bool
month_is_taken(Relation parent, const Month *month)
{
	PartitionBoundInfo bounds = RelationGetPartitionDesc(parent, false)->boundinfo;

	/* indexes[i] is whose the values are below bound i, from the bound before it on */
	for (int i = 1; bounds != NULL && i < bounds->ndatums; i++)
		if (bounds->indexes[i] >= 0 && bound_at(bounds, i - 1) < month->to && bound_at(bounds, i) > month->from)
			return true;
	return false;
}

static bool
default_has_rows(const char *table, const Month *month)
{
	Oid			types[] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[] = {TimestampTzGetDatum(month->from), TimestampTzGetDatum(month->to)};

	if (SPI_execute_with_args(psprintf("SELECT 1 FROM mktg.%s_default WHERE occurred_at >= $1 AND occurred_at < $2 LIMIT 1", table),
							  2, types, values, NULL, false, 1) < 0)
		elog(ERROR, "could not look for rows of a month");
	return SPI_processed > 0;
}

static void
make_month(const char *table, const Month *month)
{
	char	   *name = psprintf("%s_%04d_%02d", table, month->year, month->month);
	char	   *from = pstrdup(timestamptz_to_str(month->from));
	char	   *to = pstrdup(timestamptz_to_str(month->to));

	/* something of that name that is no partition of it */
	if (OidIsValid(get_relname_relid(name, get_namespace_oid("mktg", false))))
		return;
	/* attached, not made in place: the table itself stays open to everybody */
	if (SPI_execute(psprintf("CREATE TABLE mktg.%s (LIKE mktg.%s INCLUDING DEFAULTS INCLUDING CONSTRAINTS"
							 " INCLUDING STORAGE INCLUDING COMPRESSION);"
							 "ALTER TABLE mktg.%s ATTACH PARTITION mktg.%s FOR VALUES FROM (%s) TO (%s)",
							 name, table, table, name, quote_literal_cstr(from), quote_literal_cstr(to)),
					false, 0) < 0)
		elog(ERROR, "could not make partition \"%s\"", name);
}

static void
make_months(const char *table, TimestampTz at)
{
	Oid			schema = get_namespace_oid("mktg", false);
	Oid			parent_oid = get_relname_relid(table, schema);
	Oid			default_oid = get_relname_relid(psprintf("%s_default", table), schema);
	bool		locked = false;

	if (!OidIsValid(parent_oid) || get_rel_relkind(parent_oid) != RELKIND_PARTITIONED_TABLE || !OidIsValid(default_oid))
		return;
	for (int i = 0; i <= MONTHS_AHEAD; i++)
	{
		Month		month;
		Relation	parent;
		bool		taken;

		if (!find_month(at, i, &month))
			return;
		parent = table_open(parent_oid, AccessShareLock);
		taken = month_is_taken(parent, &month);
		table_close(parent, NoLock);
		if (taken)
			continue;
		/* the locks attaching takes: who would have to wait for them keeps others waiting */
		if (!locked && !(ConditionalLockRelationOid(parent_oid, ShareUpdateExclusiveLock) &&
						 ConditionalLockRelationOid(default_oid, AccessExclusiveLock)))
			return;
		locked = true;
		if (!default_has_rows(table, &month))
			make_month(table, &month);
	}
}

/* As the owner: who may only run mktg.maintain() cannot attach partitions. */
void
mktg_make_partitions(TimestampTz at)
{
	Oid			relation = get_relname_relid("event", get_namespace_oid("mktg", false));
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid			user;
	int			context;

	if (!HeapTupleIsValid(tuple))
		return;
	/* an error takes the rights back with the transaction */
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(((Form_pg_class) GETSTRUCT(tuple))->relowner,
						   context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	ReleaseSysCache(tuple);
	make_months("event", at);
	SetUserIdAndSecContext(user, context);
}
