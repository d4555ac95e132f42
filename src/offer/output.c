/*-------------------------------------------------------------------------
 *
 * output.c
 *		Answers as JSON.
 *
 * IDENTIFICATION
 *		src/offer/output.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/numeric.h"

#include "offer/offer.h"

void
mktg_push_key(JsonbParseState **state, const char *key)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = (char *) key;
	value.val.string.len = strlen(key);
	pushJsonbValue(state, WJB_KEY, &value);
}

void
mktg_push_text(JsonbParseState **state, const char *key, MktgSlice slice)
{
	JsonbValue	value = {.type = jbvString};

	if (slice.text == NULL)
		return;
	mktg_push_key(state, key);
	value.val.string.val = (char *) slice.text;
	value.val.string.len = slice.length;
	pushJsonbValue(state, WJB_VALUE, &value);
}

void
mktg_push_number(JsonbParseState **state, const char *key, int64 number)
{
	JsonbValue	value = {.type = jbvNumeric};

	mktg_push_key(state, key);
	value.val.numeric = int64_to_numeric(number);
	pushJsonbValue(state, WJB_VALUE, &value);
}

Datum
mktg_verdict_lines(const MktgPricing *pricing, const MktgVerdict *verdict)
{
	JsonbParseState *state = NULL;
	JsonbValue *result;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; verdict->reason == MKTG_REASON_OK && i < pricing->cart.nlines; i++)
	{
		const MktgCartLine *line = &pricing->cart.lines[i];

		if (!verdict->eligible[i])
			continue;
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		mktg_push_number(&state, "line", i + 1);
		mktg_push_text(&state, "id", line->id);
		mktg_push_text(&state, "item", line->item);
		mktg_push_text(&state, "route", line->route);
		mktg_push_number(&state, "amount", line->amount);
		mktg_push_number(&state, "discount", verdict->parts[i]);
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	result = pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	return PointerGetDatum(JsonbValueToJsonb(result));
}
