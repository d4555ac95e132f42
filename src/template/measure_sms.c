/*-------------------------------------------------------------------------
 *
 * measure_sms.c
 *		What a text takes as a short message.
 *
 * IDENTIFICATION
 *		src/template/measure_sms.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "core/core.h"

PG_FUNCTION_INFO_V1(mktg_measure_sms);

/* SQL: mktg.measure_sms(body text) returns (alphabet text, characters integer, units integer, segments integer) */
Datum
mktg_measure_sms(PG_FUNCTION_ARGS)
{
	text	   *body = PG_GETARG_TEXT_PP(0);
	int			length = VARSIZE_ANY_EXHDR(body);
	char	   *utf8 = pg_server_to_any(VARDATA_ANY(body), length, PG_UTF8);
	TupleDesc	tupdesc;
	MktgSms		sms;
	Datum		values[4];
	bool		nulls[4] = {false};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "mktg.measure_sms must return a row");
	/* what was not converted does not end in NUL */
	if (utf8 != VARDATA_ANY(body))
		length = strlen(utf8);
	sms = mktg_sms_measure(utf8, length);
	values[0] = CStringGetTextDatum(sms.gsm ? "GSM-7" : "UCS-2");
	values[1] = Int32GetDatum(sms.characters);
	values[2] = Int32GetDatum(sms.units);
	values[3] = Int32GetDatum(sms.segments);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
