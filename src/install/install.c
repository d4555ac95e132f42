/*-------------------------------------------------------------------------
 *
 * install.c
 *		Makes, mends and drops the tables, which are ordinary objects of the
 *		database and no members of the extension.
 *
 * The texts come from sql/schema/ and are compiled in, so that a library and
 * the schema it makes are one thing.
 *
 * IDENTIFICATION
 *		src/install/install.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#include "base/base.h"
#include "base/compat.h"
#include "install/install.h"

static const char schema_1_sql[] =
#include "install/schema_1_sql.h"
;

static const char schema_2_sql[] =
#include "install/schema_2_sql.h"
;

/* the step to each version; a fresh install takes them all */
static const char *const steps[] = {schema_1_sql, schema_2_sql};

StaticAssertDecl(lengthof(steps) == MKTG_SCHEMA_VERSION, "a step for each version");

/* triggers, defaults that call functions, views: put back by migrate() */
static const char attach_sql[] =
#include "install/attach_sql.h"
;

static const char sandbox_sql[] =
"CREATE SERVER mktg_sandbox FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'sandbox')";

/* in an order in which they can be dropped one by one */
static const char *const tables[] = {
	"price_phase", "redemption", "promo_code", "code_series", "offer_contact", "offer_slot", "offer",
	"audience_sync", "segment_due", "segment_change", "segment_bitmap", "segment", "rule_alias", "field", "source",
	"rfm_score", "cart", "event", "purchase", "campaign_stat", "send_schedule", "inbox_message", "message", "campaign", "sandbox_message",
	"provider_failure", "delivery_rate", "complaint", "contact_send", "frequency_cap", "pool_contact", "outbox", "sender_state", "sender",
	"sender_pool", "template_version",
	"template", "suppression", "consent_log", "consent", "contact_claim", "contact",
	"tenant", "delivery_arming", "schema_version"
};

/* most go along with their tables */
static const char *const views[] = {
	"_campaign_count", "campaign_list", "campaign_daily", "send_calendar",
	"recipient", "failed_sends", "in_doubt", "sender_status", "delivery_progress",
	"contact_lifecycle", "segment_list", "segment_member", "rule_operator", "rule_field",
	"promo_list", "promo_redemption", "promo_performance", "promo_daily", "promo_item", "promo_route", "_promo_line",
	"price_phase_list"
};

static void execute(const char *sql);
static void take_steps(int version);
static void record_version(int version);
static void refuse_existing(void);
static void refuse_if_there(const char *name, Oid namespace_oid);
static void refuse_other_owners(Oid namespace_oid);
static void make_sandbox_server(void);
static int64 make_tenant(const char *name, const char *time_zone, const char *currency);
static void require_time_zone(const char *name);
static void require_currency(const char *currency);

PG_FUNCTION_INFO_V1(mktg_install);
PG_FUNCTION_INFO_V1(mktg_migrate);
PG_FUNCTION_INFO_V1(mktg_uninstall);
PG_FUNCTION_INFO_V1(mktg_create_tenant);

static void
execute(const char *sql)
{
	int			result = SPI_execute(sql, false, 0);

	if (result < 0)
		elog(ERROR, "could not run schema script: %s", SPI_result_code_string(result));
}

/* From a version of the schema, 0 for none, to the library's. */
static void
take_steps(int version)
{
	for (int i = version; i < MKTG_SCHEMA_VERSION; i++)
		execute(steps[i]);
}

static void
record_version(int version)
{
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.schema_version (version, extension_version)"
										" VALUES ($1, $2)", INT4OID, TEXTOID);

	mktg_call(&query, MKTG_INT32(version), MKTG_TEXT(MKTG_VERSION));
}

/*
 * SQL: mktg.install(default_tenant boolean DEFAULT true) returns integer
 *
 * Errors: MK002 installed already, MK004 a table of that name exists.
 */
Datum
mktg_install(PG_FUNCTION_ARGS)
{
	bool		default_tenant = PG_ARGISNULL(0) || PG_GETARG_BOOL(0);

	SPI_connect();
	refuse_existing();
	take_steps(0);
	record_version(MKTG_SCHEMA_VERSION);
	execute(attach_sql);
	mktg_make_partitions(mktg_now());
	make_sandbox_server();
	if (default_tenant)
		(void) make_tenant("default", "UTC", "USD");
	mktg_arm_here();
	SPI_finish();
	PG_RETURN_INT32(MKTG_SCHEMA_VERSION);
}

/* Nothing of ours may be there yet, least of all somebody else's. */
static void
refuse_existing(void)
{
	Oid			namespace_oid = get_namespace_oid("mktg", false);

	if (OidIsValid(get_relname_relid("schema_version", namespace_oid)))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_ALREADY_INSTALLED),
				 errmsg("mktg is installed in database \"%s\" already",
						get_database_name(MyDatabaseId)),
				 errhint("mktg.migrate() brings an installation up to date; mktg.uninstall() drops it.")));
	for (int i = 0; i < lengthof(tables); i++)
		refuse_if_there(tables[i], namespace_oid);
	for (int i = 0; i < lengthof(views); i++)
		refuse_if_there(views[i], namespace_oid);
}

static void
refuse_if_there(const char *name, Oid namespace_oid)
{
	if (OidIsValid(get_relname_relid(name, namespace_oid)))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_FOREIGN_OBJECT),
				 errmsg("relation \"mktg.%s\" exists already", name),
				 errdetail("It was not made by mktg.install()."),
				 errhint("Drop or rename it, then run mktg.install() again.")));
}

/*
 * What is there must belong to whoever owns the installation: anything else
 * was put in its place by another role.
 */
static void
refuse_other_owners(Oid namespace_oid)
{
	static MktgQuery query = MKTG_QUERY("SELECT c.relname::text FROM pg_catalog.pg_class c, pg_catalog.pg_class v"
										" WHERE c.relnamespace = $1 AND c.relname = ANY ($2) AND c.relowner <> v.relowner"
										"  AND v.relnamespace = $1 AND v.relname = 'schema_version'"
										" ORDER BY 1 LIMIT 1", OIDOID, TEXTARRAYOID);
	Datum		names[lengthof(tables) + lengthof(views)];

	for (int i = 0; i < lengthof(tables); i++)
		names[i] = CStringGetTextDatum(tables[i]);
	for (int i = 0; i < lengthof(views); i++)
		names[lengthof(tables) + i] = CStringGetTextDatum(views[i]);
	if (mktg_call(&query, MKTG_ARG(ObjectIdGetDatum(namespace_oid)),
				  MKTG_ARG(mktg_array(names, NULL, lengthof(names), TEXTOID))) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_FOREIGN_OBJECT),
				 errmsg("relation \"mktg.%s\" belongs to another role", mktg_text_at(0, 1)),
				 errdetail("mktg.schema_version and it have different owners."),
				 errhint("If it is not mktg's own, drop or rename it; else give all of them to one role.")));
}

static void
make_sandbox_server(void)
{
	static MktgQuery query = MKTG_QUERY("SELECT 1 FROM pg_catalog.pg_foreign_server WHERE srvname = 'mktg_sandbox'");

	if (mktg_run(&query, NULL) == 0)
		execute(sandbox_sql);
}

static int64
make_tenant(const char *name, const char *time_zone, const char *currency)
{
	static MktgQuery tenant_query = MKTG_QUERY("INSERT INTO mktg.tenant (name, time_zone, currency)"
											   " VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING RETURNING tenant_id",
											   TEXTOID, TEXTOID, TEXTOID);
	static MktgQuery sender_query = MKTG_QUERY("INSERT INTO mktg.sender (tenant_id, name, provider)"
											   " VALUES ($1, 'sandbox', 'mktg_sandbox')", INT8OID);
	int64		tenant;

	if (mktg_call(&tenant_query, MKTG_TEXT(name), MKTG_TEXT(time_zone), MKTG_TEXT(currency)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_NAME),
				 errmsg("tenant \"%s\" exists already", name),
				 errhint("Choose another name; SELECT tenant_id, name FROM mktg.tenant lists them.")));
	tenant = mktg_int64_at(0, 1);
	mktg_call(&sender_query, MKTG_INT64(tenant));
	return tenant;
}

/*
 * SQL: mktg.migrate() returns integer
 *
 * Takes the schema from its version to the library's, one step after another,
 * and puts back what DROP EXTENSION ... CASCADE took: triggers, views, the
 * sandbox server.  Errors: MK001 not installed, MK003 newer than the library,
 * MK004 not the owner's.
 */
Datum
mktg_migrate(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("SELECT max(version) FROM mktg.schema_version");
	Oid			namespace_oid = get_namespace_oid("mktg", false);
	Oid			relation = get_relname_relid("schema_version", namespace_oid);
	int32		version;

	if (!OidIsValid(relation))
		mktg_require_schema();
	if (!object_ownercheck(RelationRelationId, relation, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_FOREIGN_OBJECT),
				 errmsg("tables of mktg belong to another role"),
				 errhint("Run mktg.migrate() as their owner.")));

	SPI_connect();
	/* nobody may read the version while it changes */
	execute("LOCK TABLE mktg.schema_version IN ACCESS EXCLUSIVE MODE");
	mktg_run(&query, NULL);
	version = mktg_int32_at(0, 1);
	if (version > MKTG_SCHEMA_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_SCHEMA_VERSION),
				 errmsg("schema version %d is newer than this library", version),
				 errdetail("The library knows version %d.", MKTG_SCHEMA_VERSION),
				 errhint("Install the library that belongs to the schema.")));
	refuse_other_owners(namespace_oid);
	take_steps(version);
	if (version < MKTG_SCHEMA_VERSION)
		record_version(MKTG_SCHEMA_VERSION);
	execute(attach_sql);
	mktg_make_partitions(mktg_now());
	make_sandbox_server();
	SPI_finish();
	PG_RETURN_INT32(MKTG_SCHEMA_VERSION);
}

/*
 * SQL: mktg.uninstall(confirm text) returns void
 *
 * Errors: MK005 confirm is not the database's name.
 */
Datum
mktg_uninstall(PG_FUNCTION_ARGS)
{
	char	   *database = get_database_name(MyDatabaseId);

	mktg_begin();
	if (PG_ARGISNULL(0) || strcmp(text_to_cstring(PG_GETARG_TEXT_PP(0)), database) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_NOT_CONFIRMED),
				 errmsg("uninstalling mktg was not confirmed"),
				 errdetail("It drops every contact, consent, campaign and message of this database."),
				 errhint("Name the database: SELECT mktg.uninstall('%s');", database)));
	(void) mktg_forget_jobs();
	for (int i = 0; i < lengthof(views); i++)
		execute(psprintf("DROP VIEW IF EXISTS mktg.%s CASCADE", views[i]));
	for (int i = 0; i < lengthof(tables); i++)
		execute(psprintf("DROP TABLE IF EXISTS mktg.%s CASCADE", tables[i]));
	execute("DROP SERVER IF EXISTS mktg_sandbox CASCADE");
	mktg_end();
	PG_RETURN_VOID();
}

/*
 * SQL: mktg.create_tenant(name text, time_zone text, currency text) returns bigint
 *
 * Errors: MK020 name, or one that exists already; MK024 time zone or currency.
 */
Datum
mktg_create_tenant(PG_FUNCTION_ARGS)
{
	char	   *name = mktg_text_argument(fcinfo, 0, "name");
	char	   *time_zone = mktg_text_argument(fcinfo, 1, "time_zone");
	char	   *currency = mktg_text_argument(fcinfo, 2, "currency");
	int64		tenant;

	mktg_begin();
	mktg_require_name("tenant", name);
	require_time_zone(time_zone);
	require_currency(currency);
	tenant = make_tenant(name, time_zone, currency);
	mktg_end();
	PG_RETURN_INT64(tenant);
}

static void
require_time_zone(const char *name)
{
	pg_tz	   *zone = pg_tzset(name);

	if (zone != NULL && pg_tz_acceptable(zone))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_VALUE),
			 errmsg("time zone \"%s\" does not exist", name),
			 errhint("Use a name such as Asia/Kolkata; SELECT name FROM pg_timezone_names lists them.")));
}

static void
require_currency(const char *currency)
{
	if (strlen(currency) == 3 && strspn(currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 3)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_VALUE),
			 errmsg("invalid currency \"%s\"", currency),
			 errhint("Use a code of ISO 4217, such as USD or INR.")));
}
