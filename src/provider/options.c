/*-------------------------------------------------------------------------
 *
 * options.c
 *		Providers as foreign servers: their options and credentials.
 *
 * A provider is a foreign server of the wrapper mktg_provider, which has no
 * handler: nothing can be selected from it.  Options of a server are for all
 * to read, so credentials are refused there; they go into a file or into the
 * user mapping for PUBLIC.
 *
 * The only file of this room that knows PostgreSQL.
 *
 * IDENTIFICATION
 *		src/provider/options.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/xact.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "base/base.h"
#include "provider/options.h"

#define WRAPPER_NAME	"mktg_provider"
#define MAX_SETTINGS	64
#define WHY_SIZE		256

static void validate_server(List *options);
static void validate_mapping(List *options);

PG_FUNCTION_INFO_V1(mktg_provider_validator);
PG_FUNCTION_INFO_V1(mktg_set_credential);

/* ---- the validator ---- */

/*
 * SQL: mktg.provider_validator(options text[], catalog oid) returns void
 *
 * Called by CREATE and ALTER of wrapper, server and user mapping with all the
 * options that would then be there.
 */
Datum
mktg_provider_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);

	if (catalog == ForeignServerRelationId)
		validate_server(options);
	else if (catalog == UserMappingRelationId)
		validate_mapping(options);
	else if (options != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("invalid option \"%s\"", ((DefElem *) linitial(options))->defname),
				 errhint("There are no valid options in this context.")));
	PG_RETURN_VOID();
}

static void
append_name(StringInfo names, const char *name)
{
	if (names->len > 0)
		appendStringInfoString(names, ", ");
	appendStringInfoString(names, name);
}

/* Names of a list of options that are secret, or that are not. */
static void
append_options(StringInfo names, const MktgOptionSpec *specs, bool secret)
{
	for (; specs->name != NULL; specs++)
		if (specs->secret == secret)
			append_name(names, specs->name);
}

static bool
has_secrets(const MktgDriver *driver)
{
	for (const MktgOptionSpec *spec = driver->options; spec->name != NULL; spec++)
		if (spec->secret)
			return true;
	return false;
}

static char *
server_option_names(const MktgDriver *driver)
{
	StringInfoData names;

	initStringInfo(&names);
	append_name(&names, "driver");
	if (has_secrets(driver))
		append_name(&names, "credential_file");
	append_options(&names, driver->options, false);
	if (!driver->in_process)
		append_options(&names, mktg_common_options, false);
	return names.data;
}

static char *
secret_names(const MktgDriver *driver)
{
	StringInfoData names;

	initStringInfo(&names);
	append_options(&names, driver->options, true);
	return names.data;
}

static char *
driver_names(void)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; mktg_drivers[i] != NULL; i++)
		append_name(&names, mktg_drivers[i]->name);
	return names.data;
}

/* The driver that the options name; an error if there is none. */
static const MktgDriver *
driver_option(List *options)
{
	const MktgDriver *driver;
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, "driver") != 0)
			continue;
		driver = mktg_driver_find(defGetString(option));
		if (driver != NULL)
			return driver;
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_PROVIDER_OPTION),
				 errmsg("driver \"%s\" does not exist", defGetString(option)),
				 errhint("Drivers are: %s.", driver_names())));
	}
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_PROVIDER_OPTION),
			 errmsg("option \"driver\" is missing"),
			 errhint("Name one of these drivers in the server's options: %s.", driver_names())));
	return NULL;				/* not reached */
}

/* A path the server's own files are not behind: backups of them must not hold secrets. */
static void
validate_credential_file(const char *path)
{
	char		why[WHY_SIZE];
	char	   *canonical = pstrdup(path);

	if (!mktg_check_path(path, why, sizeof(why)))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_PROVIDER_OPTION),
				 errmsg("option \"credential_file\" %s", why),
				 errhint("Name a file outside the data directory that only the server's user may read.")));
	canonicalize_path(canonical);
	if (path_is_prefix_of_path(DataDir, canonical))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_PROVIDER_OPTION),
				 errmsg("option \"credential_file\" must not name a file in the data directory"),
				 errhint("Backups copy that directory; name a file outside of it.")));
}

/* A single option of a server: is it one, and not a secret? */
static void
validate_server_option(const MktgDriver *driver, DefElem *option)
{
	const MktgOptionSpec *spec = mktg_driver_option(driver, option->defname);

	if (strcmp(option->defname, "driver") == 0)
		return;
	if (strcmp(option->defname, "credential_file") == 0 && has_secrets(driver))
	{
		validate_credential_file(defGetString(option));
		return;
	}
	if (spec == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("invalid option \"%s\"", option->defname),
				 errdetail("Driver \"%s\" does not know it.", driver->name),
				 errhint("Valid options in this context are: %s", server_option_names(driver))));
	if (spec->secret)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_CREDENTIAL),
				 errmsg("credential \"%s\" must not be an option of the server", spec->name),
				 errdetail("Options of a server can be read by everyone."),
				 errhint("Put it into the file that option \"credential_file\" names,"
						 " or call mktg.set_credential().")));
}

static void
validate_server(List *options)
{
	const MktgDriver *driver = driver_option(options);
	MktgSetting settings[MAX_SETTINGS];
	int			n = 0;
	char		why[WHY_SIZE];
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		validate_server_option(driver, option);
		/* no driver knows that many, and none may be there twice */
		Assert(n < MAX_SETTINGS);
		settings[n++] = (MktgSetting) {option->defname, defGetString(option)};
	}
	if (!mktg_provider_check(driver, settings, n, why, sizeof(why)))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_PROVIDER_OPTION),
				 errmsg("%s", why),
				 errhint("Valid options in this context are: %s", server_option_names(driver))));
}

/*
 * The driver is not known here.  Any credential of any driver passes; opening
 * the provider is strict.
 */
static void
validate_mapping(List *options)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);
		StringInfoData names;
		bool		found = false;

		initStringInfo(&names);
		for (int i = 0; mktg_drivers[i] != NULL; i++)
		{
			const MktgOptionSpec *spec = mktg_driver_option(mktg_drivers[i], option->defname);

			found |= spec != NULL && spec->secret;
			append_options(&names, mktg_drivers[i]->options, true);
		}
		if (!found)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					 errmsg("invalid option \"%s\"", option->defname),
					 errhint("Valid options in this context are: %s", names.data)));
	}
}

/* ---- servers ---- */

static bool
is_provider(const ForeignServer *server)
{
	return strcmp(GetForeignDataWrapper(server->fdwid)->fdwname, WRAPPER_NAME) == 0;
}

/* The provider of that name; an error if there is none. */
static ForeignServer *
require_provider(const char *name)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	if (server == NULL || !is_provider(server))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_UNKNOWN_PROVIDER),
				 errmsg("provider \"%s\" does not exist", name),
				 server == NULL ? 0 :
				 errdetail("The foreign server of that name is not one of wrapper %s.", WRAPPER_NAME),
				 errhint("CREATE SERVER ... FOREIGN DATA WRAPPER %s OPTIONS (driver '...') makes one.",
						 WRAPPER_NAME)));
	return server;
}

/* Options of the user mapping for PUBLIC; "found" says whether there is one. */
static List *
public_mapping(Oid server, bool *found)
{
	HeapTuple	tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
										ObjectIdGetDatum(server));
	List	   *options = NIL;
	Datum		datum;
	bool		isnull;

	*found = HeapTupleIsValid(tuple);
	if (!*found)
		return NIL;
	datum = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple, Anum_pg_user_mapping_umoptions, &isnull);
	if (!isnull)
		options = untransformRelOptions(datum);
	ReleaseSysCache(tuple);
	return options;
}

/* Appends options to settings; false if there is no room. */
static bool
add_settings(MktgSetting *settings, int *n, List *options)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (*n == MAX_SETTINGS)
			return false;
		settings[(*n)++] = (MktgSetting) {option->defname, defGetString(option)};
	}
	return true;
}

/* Opens with server options, then those of the file, then those of the mapping. */
static MktgProvider *
open_with_credentials(const MktgDriver *driver, List *server_options, List *mapping_options,
					  char *why, size_t why_size)
{
	MktgSetting settings[MAX_SETTINGS];
	char		detail[WHY_SIZE];
	const char *file;
	MktgProvider *provider = NULL;
	int			n = 0;
	int			first;
	int			end;

	if (!add_settings(settings, &n, server_options))
	{
		snprintf(why, why_size, "too many options");
		return NULL;
	}
	first = end = n;
	file = mktg_setting(settings, n, "credential_file", NULL);
	if (file != NULL && !mktg_credential_file(file, settings, &n, MAX_SETTINGS, detail, sizeof(detail)))
	{
		end = n;
		snprintf(why, why_size, "credential file %s", detail);
	}
	else
	{
		end = n;
		if (!add_settings(settings, &n, mapping_options))
			snprintf(why, why_size, "too many options");
		else
			provider = mktg_provider_open(driver, settings, n, why, why_size);
	}

	/* what the file gave is malloc'd */
	for (int i = first; i < end; i++)
	{
		if (settings[i].value != NULL)
			explicit_bzero((char *) settings[i].value, strlen(settings[i].value));
		free((char *) settings[i].name);
		free((char *) settings[i].value);
	}
	return provider;
}

const MktgDriver *
mktg_provider_driver(const char *server)
{
	return driver_option(require_provider(server)->options);
}

MktgProvider *
mktg_provider_open_server(Oid server_oid, char *why, size_t why_size)
{
	ForeignServer *server = GetForeignServerExtended(server_oid, FSV_MISSING_OK);
	const MktgDriver *driver;
	MktgSetting settings[MAX_SETTINGS];
	int			n = 0;
	bool		found;

	if (server == NULL || !is_provider(server))
	{
		snprintf(why, why_size, "the foreign server of the provider does not exist");
		return NULL;
	}
	(void) add_settings(settings, &n, server->options);
	driver = mktg_driver_find(mktg_setting(settings, n, "driver", ""));
	if (driver == NULL)
	{
		snprintf(why, why_size, "this version has no driver \"%s\"",
				 mktg_setting(settings, n, "driver", ""));
		return NULL;
	}
	return open_with_credentials(driver, server->options, public_mapping(server_oid, &found),
								 why, why_size);
}

/* ---- credentials ---- */

/*
 * The text of the running statement may hold the secret.  Take it from where
 * pg_stat_activity shows it, and from where an error would write it into the
 * server log.
 */
static void
hide_statement(void)
{
	static const char instead[] = "SELECT mktg.set_credential(...)";

	if (debug_query_string != NULL)
		debug_query_string = instead;
	pgstat_report_activity(STATE_RUNNING, instead);
}

static const MktgOptionSpec *
require_secret(const MktgDriver *driver, const char *name, const char *value)
{
	const MktgOptionSpec *spec = mktg_driver_option(driver, name);
	char		why[WHY_SIZE];

	if (spec == NULL || !spec->secret)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_CREDENTIAL),
				 errmsg("driver \"%s\" has no credential \"%s\"", driver->name, name),
				 has_secrets(driver) ?
				 errhint("Its credentials are: %s.", secret_names(driver)) :
				 errhint("It needs no credentials.")));
	if (value != NULL && spec->check != NULL && !spec->check(value, why, sizeof(why)))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_CREDENTIAL),
				 errmsg("credential \"%s\" %s", name, why),
				 errhint("Copy it again from where it was issued.")));
	return spec;
}

/* Adds, changes or (value NULL) removes an option of the mapping for PUBLIC. */
static void
write_mapping(ForeignServer *server, const char *name, const char *value)
{
	RoleSpec   *everyone = makeNode(RoleSpec);
	DefElem    *option = makeDefElem(pstrdup(name),
									 value != NULL ? (Node *) makeString(pstrdup(value)) : NULL, -1);
	bool		mapped;
	bool		present = false;
	ListCell   *lc;

	everyone->roletype = ROLESPEC_PUBLIC;
	everyone->location = -1;
	foreach(lc, public_mapping(server->serverid, &mapped))
		present |= strcmp(lfirst_node(DefElem, lc)->defname, name) == 0;

	if (mapped)
	{
		AlterUserMappingStmt *alter = makeNode(AlterUserMappingStmt);

		option->defaction = value == NULL ? DEFELEM_DROP : present ? DEFELEM_SET : DEFELEM_ADD;
		alter->user = everyone;
		alter->servername = server->servername;
		/* without options it still checks that the caller may do this */
		alter->options = value != NULL || present ? list_make1(option) : NIL;
		(void) AlterUserMapping(alter);
	}
	else
	{
		CreateUserMappingStmt *create = makeNode(CreateUserMappingStmt);

		create->user = everyone;
		create->servername = server->servername;
		create->options = value != NULL ? list_make1(option) : NIL;
		(void) CreateUserMapping(create);
	}
	CommandCounterIncrement();
}

/*
 * SQL: mktg.set_credential(server text, name text, value text) returns void
 *
 * Only the server's owner may.  Written through parse nodes, so that the
 * secret stands in no statement that is run or recorded here.
 * Errors: MK016 no such provider, MK040 no such credential or a malformed one.
 */
Datum
mktg_set_credential(PG_FUNCTION_ARGS)
{
	char	   *server_name;
	char	   *name;
	char	   *value;
	ForeignServer *server;

	hide_statement();
	server_name = mktg_text_argument(fcinfo, 0, "server");
	name = mktg_text_argument(fcinfo, 1, "name");
	value = mktg_optional_text(fcinfo, 2);
	PreventCommandIfReadOnly("mktg.set_credential()");

	server = require_provider(server_name);
	(void) require_secret(driver_option(server->options), name, value);
	write_mapping(server, name, value);
	PG_RETURN_VOID();
}
