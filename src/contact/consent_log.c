/*-------------------------------------------------------------------------
 *
 * consent_log.c
 *		The trigger that keeps every change of consent.
 *
 * Fired once a statement: one INSERT ... SELECT copies the transition table,
 * be it one row or a million of a COPY.
 *
 * IDENTIFICATION
 *		src/contact/consent_log.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/primnodes.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/varlena.h"

#include "base/base.h"
#include "contact/contact.h"

/*
 * Statements kept for the backend's life.  Three triggers make two texts; room
 * for a second table of the kind is left, what comes after that takes turns.
 */
#define KEPT_PLANS	4

typedef struct KeptPlan
{
	Oid			table;			/* the transition table has its columns */
	char	   *sql;
	SPIPlanPtr	plan;			/* NULL: slot free */
} KeptPlan;

static char *build_statement(TriggerData *trigdata);
static SPIPlanPtr find_plan(Oid table, const char *sql);

PG_FUNCTION_INFO_V1(mktg_consent_log);

/*
 * SQL: trigger mktg._consent_log('schema.table'), AFTER INSERT, UPDATE or
 *		DELETE FOR EACH STATEMENT, with the NEW (or, of DELETE, OLD) table
 *
 * $1 is the time that a removal is logged with; others carry their own.
 */
Datum
mktg_consent_log(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	Datum		now;
	int			result;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_AFTER(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(trigdata->tg_event) ||
		trigdata->tg_trigger->tgnargs != 1 ||
		(trigdata->tg_newtable == NULL && trigdata->tg_oldtable == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("mktg._consent_log() is for AFTER triggers FOR EACH STATEMENT with a transition table and the log's name"),
				 errhint("mktg.migrate() puts the triggers of mktg back as they belong.")));

	SPI_connect();
	if ((result = SPI_register_trigger_data(trigdata)) < 0)
		elog(ERROR, "could not use transition table: %s", SPI_result_code_string(result));
	now = TimestampTzGetDatum(mktg_now());
	result = SPI_execute_plan(find_plan(RelationGetRelid(trigdata->tg_relation),
										build_statement(trigdata)),
							  &now, NULL, false, 0);
	if (result != SPI_OK_INSERT)
		elog(ERROR, "could not write the consent log: %s", SPI_result_code_string(result));
	SPI_finish();

	return PointerGetDatum(NULL);
}

/* "schema.table" of the trigger's argument, quoted anew */
static char *
log_name(const char *argument)
{
	RangeVar   *name = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(argument)));

	if (name->schemaname == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("the log's name \"%s\" has no schema", argument),
				 errhint("Write it like mktg.consent_log.")));
	return quote_qualified_identifier(name->schemaname, name->relname);
}

static char *
build_statement(TriggerData *trigdata)
{
	Trigger    *trigger = trigdata->tg_trigger;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s (tenant_id, contact_id, channel, topic, state,"
					 " source, ip, reason, at) SELECT tenant_id, contact_id, channel, topic, ",
					 log_name(trigger->tgargs[0]));
	if (trigdata->tg_newtable != NULL)
		appendStringInfo(&sql, "state, source, ip, reason, at FROM %s",
						 quote_identifier(trigger->tgnewtable));
	else
		appendStringInfo(&sql, "'removed', NULL, NULL, NULL, $1 FROM %s",
						 quote_identifier(trigger->tgoldtable));
	return sql.data;
}

static SPIPlanPtr
find_plan(Oid table, const char *sql)
{
	static KeptPlan kept[KEPT_PLANS];
	static int	next = 0;
	Oid			types[1] = {TIMESTAMPTZOID};
	SPIPlanPtr	plan;
	KeptPlan   *slot;
	char	   *copy;

	for (int i = 0; i < KEPT_PLANS; i++)
		if (kept[i].plan != NULL && kept[i].table == table && strcmp(kept[i].sql, sql) == 0)
			return kept[i].plan;

	copy = MemoryContextStrdup(TopMemoryContext, sql);
	plan = SPI_prepare(sql, 1, types);
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare statement: %s", SPI_result_code_string(SPI_result));

	slot = &kept[next];
	next = (next + 1) % KEPT_PLANS;
	if (slot->plan != NULL)
	{
		SPI_freeplan(slot->plan);
		pfree(slot->sql);
	}
	slot->table = table;
	slot->sql = copy;
	slot->plan = plan;
	return plan;
}
