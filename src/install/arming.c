/*-------------------------------------------------------------------------
 *
 * arming.c
 *		Which place may send: delivery is armed for one cluster, timeline,
 *		database, data directory and host.
 *
 * A copy carries the row that says so along and finds itself elsewhere: it
 * stays silent until a person runs mktg.arm_delivery() there.  A failover pair
 * may set mktg.rearm_on_promote, and then a standby that was promoted arms
 * itself; whoever sets it makes sure the old primary is dead.
 *
 * IDENTIFICATION
 *		src/install/arming.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/guc.h"

#include "base/base.h"
#include "base/shared.h"
#include "install/install.h"

typedef struct Place
{
	int64		system_identifier;
	int32		timeline;
	Oid			database;
	const char *data_directory;
	const char *host;
} Place;

static bool rearm_on_promote = false;

static void find_place(Place *place);
static bool read_armed(Place *place);

PG_FUNCTION_INFO_V1(mktg_arm_delivery);
PG_FUNCTION_INFO_V1(mktg_disarm_delivery);

void
mktg_install_settings_init(void)
{
	DefineCustomBoolVariable("mktg.rearm_on_promote",
							 "Lets a promoted standby send without mktg.arm_delivery().",
							 "Only for failover pairs that make sure the old primary is dead.",
							 &rearm_on_promote,
							 false,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
}

/* The machine's name, and its identity where it has one; read once a process. */
static char *
find_host(void)
{
	static char host[256] = "";
	char		name[128] = "";
	char		machine[64] = "";
	FILE	   *file;

	if (host[0] != '\0')
		return host;
	file = AllocateFile("/etc/machine-id", "r");
	if (file != NULL)
	{
		if (fgets(machine, sizeof(machine), file) == NULL)
			machine[0] = '\0';
		machine[strcspn(machine, "\n")] = '\0';
		FreeFile(file);
	}
	if (gethostname(name, sizeof(name) - 1) != 0)
		strlcpy(name, "unknown", sizeof(name));
	snprintf(host, sizeof(host), "%s %s", name, machine);
	return host;
}

static void
find_place(Place *place)
{
	place->system_identifier = (int64) GetSystemIdentifier();
	place->timeline = (int32) GetWALInsertionTimeLine();
	place->database = MyDatabaseId;
	place->data_directory = DataDir;
	place->host = find_host();
}

/* The place delivery is armed for; false if for none. */
static bool
read_armed(Place *place)
{
	static MktgQuery query = MKTG_QUERY("SELECT system_identifier, timeline, database_oid, data_directory, host"
										" FROM mktg.delivery_arming");
	bool		isnull;

	if (mktg_run(&query, NULL) == 0)
		return false;
	place->system_identifier = mktg_int64_at(0, 1);
	place->timeline = mktg_int32_at(0, 2);
	place->database = DatumGetObjectId(mktg_value_at(0, 3, &isnull));
	place->data_directory = mktg_text_at(0, 4);
	place->host = mktg_text_at(0, 5);
	return true;
}

void
mktg_arm_here(void)
{
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.delivery_arming AS a"
										" (system_identifier, timeline, database_oid, data_directory, host)"
										" VALUES ($1, $2, $3, $4, $5)"
										" ON CONFLICT (singleton) DO UPDATE SET"
										" (system_identifier, timeline, database_oid, data_directory, host, armed_at, armed_by) ="
										" (excluded.system_identifier, excluded.timeline, excluded.database_oid,"
										"  excluded.data_directory, excluded.host, excluded.armed_at, excluded.armed_by)",
										INT8OID, INT4OID, OIDOID, TEXTOID, TEXTOID);
	Place		here;

	find_place(&here);
	mktg_call(&query, MKTG_INT64(here.system_identifier), MKTG_INT32(here.timeline),
			  MKTG_ARG(ObjectIdGetDatum(here.database)), MKTG_TEXT(here.data_directory), MKTG_TEXT(here.host));
	mktg_wake_at_commit();
}

bool
mktg_delivery_armed(const char **why)
{
	Place		here;
	Place		armed;

	*why = NULL;
	if (RecoveryInProgress())
		*why = "standby";
	else if (!read_armed(&armed))
		*why = "not armed; mktg.arm_delivery() arms it";
	if (*why != NULL)
		return false;

	find_place(&here);
	if (armed.system_identifier != here.system_identifier)
		*why = "armed for another cluster";
	else if (armed.database != here.database)
		*why = "armed for another database";
	else if (armed.timeline != here.timeline)
		*why = "armed for another timeline: promoted or restored";
	else if (strcmp(armed.data_directory, here.data_directory) != 0)
		*why = "armed for another data directory";
	else if (strcmp(armed.host, here.host) != 0)
		*why = "armed for another host";
	return *why == NULL;
}

/* Directory and host differ after a failover, so they are not asked for. */
bool
mktg_rearm_promoted(void)
{
	Place		here;
	Place		armed;

	if (!rearm_on_promote || RecoveryInProgress() || !read_armed(&armed))
		return false;
	find_place(&here);
	if (armed.system_identifier != here.system_identifier || armed.database != here.database ||
		armed.timeline >= here.timeline)
		return false;
	ereport(LOG,
			(errmsg("mktg arms delivery after promotion to timeline %d", here.timeline)));
	mktg_arm_here();
	return true;
}

/*
 * SQL: mktg.arm_delivery() returns void
 */
Datum
mktg_arm_delivery(PG_FUNCTION_ARGS)
{
	mktg_begin();
	mktg_arm_here();
	mktg_end();
	PG_RETURN_VOID();
}

/*
 * SQL: mktg.disarm_delivery() returns void
 */
Datum
mktg_disarm_delivery(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("DELETE FROM mktg.delivery_arming");

	mktg_begin();
	mktg_run(&query, NULL);
	mktg_end();
	PG_RETURN_VOID();
}
