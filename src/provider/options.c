/*-------------------------------------------------------------------------
 *
 * options.c
 *		Providers as foreign servers: their options, credentials and senders.
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

#include <math.h>

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

static const char set_sender_sql[] =
"INSERT INTO mktg.sender AS s (tenant_id, name, provider, channel, from_address, from_name,"
"   reply_to, daily_limit, rate_per_second, max_attempts, on_doubt, is_active)"
" VALUES ($1, $2, $3::pg_catalog.name, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
" ON CONFLICT (tenant_id, name) DO UPDATE SET"
"   provider = EXCLUDED.provider, channel = EXCLUDED.channel,"
"   from_address = EXCLUDED.from_address, from_name = EXCLUDED.from_name,"
"   reply_to = EXCLUDED.reply_to, daily_limit = EXCLUDED.daily_limit,"
"   rate_per_second = EXCLUDED.rate_per_second, max_attempts = EXCLUDED.max_attempts,"
"   on_doubt = EXCLUDED.on_doubt, is_active = EXCLUDED.is_active"
" RETURNING s.sender_id";

/* arguments of mktg.set_sender, as they stand in its declaration */
enum
{
	ARG_NAME, ARG_PROVIDER, ARG_CHANNEL, ARG_FROM_ADDRESS, ARG_FROM_NAME, ARG_REPLY_TO,
	ARG_DAILY_LIMIT, ARG_RATE, ARG_MAX_ATTEMPTS, ARG_ON_DOUBT, ARG_IS_ACTIVE, ARG_TENANT
};

static void validate_server(List *options);
static void validate_mapping(List *options);

PG_FUNCTION_INFO_V1(mktg_provider_validator);
PG_FUNCTION_INFO_V1(mktg_set_credential);
PG_FUNCTION_INFO_V1(mktg_set_sender);

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
	value = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	PreventCommandIfReadOnly("mktg.set_credential()");

	server = require_provider(server_name);
	(void) require_secret(driver_option(server->options), name, value);
	write_mapping(server, name, value);
	PG_RETURN_VOID();
}

/* ---- senders ---- */

static char *
optional_text(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* The normal form of an e-mail address; an error if it is none. */
static char *
mailbox(const char *what, const char *address)
{
	char		normal[MKTG_ADDRESS_BUFFER];

	if (mktg_email_normalize(address, strlen(address), normal) != MKTG_ADDRESS_OK)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_ADDRESS),
				 errmsg("%s is not an e-mail address", what),
				 errhint("Write it as name@domain, without a display name.")));
	return pstrdup(normal);
}

static void
require_header_safe(const char *what, const char *text)
{
	if (text == NULL || mktg_header_safe(text, strlen(text)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_VALUE),
			 errmsg("%s must not hold line breaks or other control characters", what),
			 errhint("It becomes part of a header line; write it in one line.")));
}

/*
 * Who the sender is for a driver.  What does not look like mail is left as it
 * is: a phone number, an id a provider gave out, or a name.
 */
static void
check_identity(const MktgDriver *driver, const char *channel, char **from_address,
			   const char *from_name, char **reply_to)
{
	bool		mail = strcmp(driver->name, "smtp") == 0 ||
		(channel != NULL && strcmp(channel, "email") == 0);

	if (*from_address == NULL && strcmp(driver->name, "smtp") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_ADDRESS),
				 errmsg("a sender of an SMTP provider needs from_address"),
				 errhint("Give the e-mail address its messages come from.")));
	require_header_safe("from_address", *from_address);
	require_header_safe("from_name", from_name);
	if (*from_address != NULL && (mail || strchr(*from_address, '@') != NULL))
		*from_address = mailbox("from_address", *from_address);
	if (*reply_to != NULL)
		*reply_to = mailbox("reply_to", *reply_to);
}

static void
check_caps(FunctionCallInfo fcinfo)
{
	if (!PG_ARGISNULL(ARG_DAILY_LIMIT))
		mktg_require_limit("daily_limit", PG_GETARG_INT32(ARG_DAILY_LIMIT));
	if (!PG_ARGISNULL(ARG_RATE))
	{
		double		rate = PG_GETARG_FLOAT8(ARG_RATE);

		if (!(rate > 0) || isinf(rate))
			ereport(ERROR,
					(errcode(ERRCODE_MKTG_INVALID_LIMIT),
					 errmsg("rate_per_second must be greater than 0"),
					 errdetail("The value given is %g.", rate),
					 errhint("Leave it NULL for no limit.")));
	}
	if (PG_ARGISNULL(ARG_MAX_ATTEMPTS) ||
		PG_GETARG_INT32(ARG_MAX_ATTEMPTS) < 1 || PG_GETARG_INT32(ARG_MAX_ATTEMPTS) > 100)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_LIMIT),
				 errmsg("max_attempts must be from 1 to 100"),
				 errhint("Leave it out for 8.")));
}

/*
 * SQL: mktg.set_sender(name text, provider text, channel text, from_address text,
 *		from_name text, reply_to text, daily_limit integer, rate_per_second
 *		double precision, max_attempts integer, on_doubt text, is_active boolean,
 *		tenant bigint) returns bigint
 *
 * Creates the sender, or gives the one of that name all these values.
 * Errors: MK010 tenant, MK012 channel, MK016 provider, MK020 name, MK021 limits,
 * MK022 addresses, MK024 from_name or on_doubt.
 */
Datum
mktg_set_sender(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY(set_sender_sql, INT8OID, TEXTOID, TEXTOID, TEXTOID,
										TEXTOID, TEXTOID, TEXTOID, INT4OID, FLOAT8OID, INT4OID,
										TEXTOID, BOOLOID);
	char	   *name = mktg_text_argument(fcinfo, ARG_NAME, "name");
	char	   *provider = mktg_text_argument(fcinfo, ARG_PROVIDER, "provider");
	char	   *channel = optional_text(fcinfo, ARG_CHANNEL);
	char	   *from_address = optional_text(fcinfo, ARG_FROM_ADDRESS);
	char	   *from_name = optional_text(fcinfo, ARG_FROM_NAME);
	char	   *reply_to = optional_text(fcinfo, ARG_REPLY_TO);
	char	   *on_doubt = optional_text(fcinfo, ARG_ON_DOUBT);
	int64		tenant = mktg_int64_argument(fcinfo, ARG_TENANT, "tenant");
	int64		sender;

	mktg_begin();
	mktg_require_tenant(tenant);
	mktg_require_name("sender", name);
	if (channel != NULL)
		mktg_require_channel(channel);
	check_identity(driver_option(require_provider(provider)->options), channel,
				   &from_address, from_name, &reply_to);
	check_caps(fcinfo);
	if (on_doubt != NULL && strcmp(on_doubt, "hold") != 0 && strcmp(on_doubt, "retry") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("on_doubt \"%s\" does not exist", on_doubt),
				 errhint("It is hold, retry, or NULL, which leaves it to the campaign's type.")));

	mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(name), MKTG_TEXT(provider), MKTG_TEXT(channel),
			  MKTG_TEXT(from_address), MKTG_TEXT(from_name), MKTG_TEXT(reply_to),
			  MKTG_FCARG(ARG_DAILY_LIMIT), MKTG_FCARG(ARG_RATE), MKTG_FCARG(ARG_MAX_ATTEMPTS),
			  MKTG_TEXT(on_doubt),
			  MKTG_ARG(BoolGetDatum(PG_ARGISNULL(ARG_IS_ACTIVE) || PG_GETARG_BOOL(ARG_IS_ACTIVE))));
	sender = mktg_int64_at(0, 1);
	mktg_end();
	PG_RETURN_INT64(sender);
}
