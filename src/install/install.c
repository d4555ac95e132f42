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
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#include "base/base.h"
#include "base/compat.h"
#include "install/install.h"

static const char schema_sql[] =
#include "install/schema_sql.h"
;

/* triggers, defaults that call functions, views: put back by migrate() */
static const char attach_sql[] =
#include "install/attach_sql.h"
;

static const char sandbox_sql[] =
"CREATE SERVER mktg_sandbox FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'sandbox')";

/* in an order in which they can be dropped one by one */
static const char *const tables[] = {
	"campaign_stat", "send_schedule", "message", "campaign", "sandbox_message",
	"provider_failure", "outbox", "sender_state", "sender", "template_version",
	"template", "suppression", "consent_log", "consent", "contact", "tenant",
	"delivery_arming", "schema_version"
};

static void execute(const char *sql);
static void refuse_existing(void);
static void make_sandbox_server(void);
static int64 make_tenant(const char *name, const char *time_zone, const char *currency);

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

/*
 * SQL: mktg.install(default_tenant boolean DEFAULT true) returns integer
 *
 * Errors: MK002 installed already, MK004 a table of that name exists.
 */
Datum
mktg_install(PG_FUNCTION_ARGS)
{
	static MktgQuery version_query = MKTG_QUERY("INSERT INTO mktg.schema_version (version, extension_version)"
												" VALUES ($1, $2)", INT4OID, TEXTOID);
	bool		default_tenant = PG_ARGISNULL(0) || PG_GETARG_BOOL(0);

	SPI_connect();
	refuse_existing();
	execute(schema_sql);
	execute(attach_sql);
	make_sandbox_server();
	mktg_call(&version_query, MKTG_INT32(MKTG_SCHEMA_VERSION), MKTG_TEXT(MKTG_VERSION));
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

	for (int i = 0; i < lengthof(tables); i++)
	{
		Oid			relation = get_relname_relid(tables[i], namespace_oid);

		if (!OidIsValid(relation))
			continue;
		if (OidIsValid(get_relname_relid("schema_version", namespace_oid)))
			ereport(ERROR,
					(errcode(ERRCODE_MKTG_ALREADY_INSTALLED),
					 errmsg("mktg is installed in database \"%s\" already",
							get_database_name(MyDatabaseId)),
					 errhint("mktg.migrate() brings an installation up to date; mktg.uninstall() drops it.")));
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_FOREIGN_OBJECT),
				 errmsg("relation \"mktg.%s\" exists already", tables[i]),
				 errdetail("It was not made by mktg.install()."),
				 errhint("Drop or rename it, then run mktg.install() again.")));
	}
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
											   " VALUES ($1, $2, $3) RETURNING tenant_id",
											   TEXTOID, TEXTOID, TEXTOID);
	static MktgQuery sender_query = MKTG_QUERY("INSERT INTO mktg.sender (tenant_id, name, provider)"
											   " VALUES ($1, 'sandbox', 'mktg_sandbox')", INT8OID);
	int64		tenant;

	mktg_call(&tenant_query, MKTG_TEXT(name), MKTG_TEXT(time_zone), MKTG_TEXT(currency));
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
	execute(attach_sql);
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
	for (int i = 0; i < lengthof(tables); i++)
		execute(psprintf("DROP TABLE IF EXISTS mktg.%s CASCADE", tables[i]));
	execute("DROP SERVER IF EXISTS mktg_sandbox CASCADE");
	mktg_end();
	PG_RETURN_VOID();
}

/*
 * SQL: mktg.create_tenant(name text, time_zone text, currency text) returns bigint
 *
 * Errors: MK020 name, MK024 time zone or currency.
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
	tenant = make_tenant(name, time_zone, currency);
	mktg_end();
	PG_RETURN_INT64(tenant);
}
