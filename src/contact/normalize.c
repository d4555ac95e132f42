/*-------------------------------------------------------------------------
 *
 * normalize.c
 *		The trigger that keeps contacts in order, whichever way they come in.
 *
 * It runs for every row of a COPY.  What a statement needs again and again is
 * found out at its first row; a tuple is made anew only if something changes.
 *
 * IDENTIFICATION
 *		src/contact/normalize.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "pgtime.h"
#include "utils/rel.h"

#include "base/base.h"
#include "contact/contact.h"

#define MAX_CHANGES	5			/* columns this trigger may write */

/* What a statement's first row finds out: lives in flinfo, as long as the statement. */
typedef struct NormalizeState
{
	int			external_id;	/* attribute numbers */
	int			email;
	int			phone;
	int			time_zone;
	int			updated_at;
	TimestampTz now;
} NormalizeState;

/* What becomes of the row */
typedef struct RowChange
{
	Relation	rel;
	HeapTuple	old;			/* NULL on INSERT */
	HeapTuple	row;
	int			n;
	int			columns[MAX_CHANGES];
	Datum		values[MAX_CHANGES];
	bool		nulls[MAX_CHANGES];
} RowChange;

static void check_call(FunctionCallInfo fcinfo);
static NormalizeState *prepare_state(FunctionCallInfo fcinfo, Relation rel);
static void normalize_address_column(RowChange *change, int column, MktgAddressKind kind);
static void check_external_id(RowChange *change, int column);
static void check_time_zone(RowChange *change, int column);

PG_FUNCTION_INFO_V1(mktg_contact_normalize);

/*
 * SQL: trigger mktg._contact_normalize(), BEFORE INSERT OR UPDATE FOR EACH ROW
 *
 * E-mail and phone in their one form, blanks are NULL; the time zone one that
 * the server knows; updated_at on UPDATE.
 */
Datum
mktg_contact_normalize(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	NormalizeState *state;
	RowChange	change = {0};

	check_call(fcinfo);
	state = (NormalizeState *) fcinfo->flinfo->fn_extra;
	if (state == NULL)
		state = prepare_state(fcinfo, trigdata->tg_relation);

	change.rel = trigdata->tg_relation;
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
	{
		change.old = trigdata->tg_trigtuple;
		change.row = trigdata->tg_newtuple;
		change.columns[change.n] = state->updated_at;
		change.values[change.n] = TimestampTzGetDatum(state->now);
		change.nulls[change.n++] = false;
	}
	else
		change.row = trigdata->tg_trigtuple;

	check_external_id(&change, state->external_id);
	normalize_address_column(&change, state->email, MKTG_KIND_EMAIL);
	normalize_address_column(&change, state->phone, MKTG_KIND_PHONE);
	check_time_zone(&change, state->time_zone);

	if (change.n == 0)
		return PointerGetDatum(change.row);
	return PointerGetDatum(heap_modify_tuple_by_cols(change.row,
													 RelationGetDescr(change.rel),
													 change.n, change.columns,
													 change.values, change.nulls));
}

static void
check_call(FunctionCallInfo fcinfo)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event) ||
		!(TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) ||
		  TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event)))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("mktg._contact_normalize() is for BEFORE INSERT OR UPDATE triggers FOR EACH ROW"),
				 errhint("mktg.migrate() puts the triggers of mktg back as they belong.")));
}

static int
find_column(Relation rel, const char *name, Oid type)
{
	int			column = SPI_fnumber(RelationGetDescr(rel), name);

	if (column <= 0 || SPI_gettypeid(RelationGetDescr(rel), column) != type)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("table \"%s\" has no column \"%s\" of the type of mktg.contact",
						RelationGetRelationName(rel), name),
				 errhint("mktg._contact_normalize() is for the table mktg.contact.")));
	return column;
}

/* The relation is locked while the statement runs: its columns stay as they are. */
static NormalizeState *
prepare_state(FunctionCallInfo fcinfo, Relation rel)
{
	NormalizeState *state = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(NormalizeState));

	state->external_id = find_column(rel, "external_id", TEXTOID);
	state->email = find_column(rel, "email", TEXTOID);
	state->phone = find_column(rel, "phone", TEXTOID);
	state->time_zone = find_column(rel, "time_zone", TEXTOID);
	state->updated_at = find_column(rel, "updated_at", TIMESTAMPTZOID);
	state->now = mktg_now();
	fcinfo->flinfo->fn_extra = state;
	return state;
}

/* The new value of a text column; false if it is NULL or the UPDATE leaves it alone. */
static bool
read_text(RowChange *change, int column, const char **bytes, size_t *length)
{
	TupleDesc	tupdesc = RelationGetDescr(change->rel);
	bool		isnull;
	Datum		value = fastgetattr(change->row, column, tupdesc, &isnull);
	text	   *content;

	if (isnull)
		return false;
	content = DatumGetTextPP(value);
	*bytes = VARDATA_ANY(content);
	*length = VARSIZE_ANY_EXHDR(content);

	/* what was let in once does not stand in the way of other changes */
	if (change->old != NULL)
	{
		Datum		old_value = fastgetattr(change->old, column, tupdesc, &isnull);
		text	   *old_content;

		if (isnull)
			return true;
		old_content = DatumGetTextPP(old_value);
		if (VARSIZE_ANY_EXHDR(old_content) == *length &&
			memcmp(VARDATA_ANY(old_content), *bytes, *length) == 0)
			return false;
	}
	return true;
}

static void
set_column(RowChange *change, int column, Datum value, bool isnull)
{
	Assert(change->n < MAX_CHANGES);
	change->columns[change->n] = column;
	change->values[change->n] = value;
	change->nulls[change->n++] = isnull;
}

static void
normalize_address_column(RowChange *change, int column, MktgAddressKind kind)
{
	char		buffer[MKTG_ADDRESS_BUFFER];
	const char *in;
	const char *form;
	size_t		length;
	size_t		form_length;
	MktgAddressResult result;

	if (!read_text(change, column, &in, &length))
		return;
	result = mktg_address_form(kind, in, length, buffer, &form, &form_length);
	if (result == MKTG_ADDRESS_EMPTY)
		set_column(change, column, (Datum) 0, true);
	else if (result != MKTG_ADDRESS_OK)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_ADDRESS),
				 errmsg("invalid address in column \"%s\" of a contact",
						NameStr(TupleDescAttr(RelationGetDescr(change->rel), column - 1)->attname)),
				 mktg_address_errdetail(kind, result, length),
				 mktg_address_errhint(kind),
				 errtablecol(change->rel, column)));
	else if (form_length != length || memcmp(form, in, length) != 0)
		set_column(change, column,
				   PointerGetDatum(cstring_to_text_with_len(form, form_length)), false);
}

/* Blanks are no id: two contacts would collide on them. */
static void
check_external_id(RowChange *change, int column)
{
	const char *in;
	size_t		length;

	if (!read_text(change, column, &in, &length))
		return;
	if (length > MKTG_MAX_EXTERNAL_ID)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_TOO_LARGE),
				 errmsg("\"external_id\" of a contact is too long"),
				 errdetail("It has %zu bytes, at most %d are allowed.", length, MKTG_MAX_EXTERNAL_ID),
				 errhint("Use the short id by which the other system knows the contact."),
				 errtablecol(change->rel, column)));
	if (mktg_blank(in, length))
		set_column(change, column, (Datum) 0, true);
}

/*
 * Zones come in runs of the same, and the server keeps no list of those it
 * does not know: only the last good one is remembered here.
 */
static void
check_time_zone(RowChange *change, int column)
{
	static char known[TZ_STRLEN_MAX + 1] = "";
	char		name[TZ_STRLEN_MAX + 1];
	const char *in;
	size_t		length;
	pg_tz	   *zone;

	if (!read_text(change, column, &in, &length))
		return;
	if (length > 0 && length == strlen(known) && memcmp(in, known, length) == 0)
		return;
	if (mktg_blank(in, length))
	{
		set_column(change, column, (Datum) 0, true);
		return;
	}
	if (length <= TZ_STRLEN_MAX)
	{
		memcpy(name, in, length);
		name[length] = '\0';
		zone = pg_tzset(name);
		if (zone != NULL && pg_tz_acceptable(zone))
		{
			strcpy(known, name);
			return;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_VALUE),
			 errmsg("unknown time zone in column \"time_zone\" of a contact"),
			 errdetail("The value is \"%.*s\".", pg_mbcliplen(in, length, 64), in),
			 errhint("SELECT name FROM pg_timezone_names lists the zones."),
			 errtablecol(change->rel, column)));
}
