/*-------------------------------------------------------------------------
 *
 * row.c
 *		What a pass takes of a row, and which conditions hold.
 *
 * IDENTIFICATION
 *		src/segment/row.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"

#include "base/base.h"
#include "segment/collecting.h"
#include "segment/json.h"

typedef struct RowValue
{
	bool		isnull;
	int64		number;
	const char *bytes;			/* of a text */
	int			length;
	const void *other;			/* array, container or numeric */
} RowValue;

/* What values of one row share: the day a key names, and the day of a time. */
typedef struct Row
{
	FunctionCallInfo fcinfo;
	int			day_object;		/* whose key was last taken for a day, and its day */
	int			day_slot;
	bool		has_day;
	int32		day;
	TimestampTz local_at;		/* the time last taken for a day */
	int32		local_day;
} Row;

static void
json_text(const JsonbValue *found, RowValue *out)
{
	if (found->type == jbvString)
	{
		out->bytes = found->val.string.val;
		out->length = found->val.string.len;
	}
	else if (found->type == jbvBool)
	{
		out->bytes = found->val.boolean ? "true" : "false";
		out->length = found->val.boolean ? 4 : 5;
	}
	else if (found->type == jbvNumeric)
	{
		out->bytes = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(found->val.numeric)));
		out->length = strlen(out->bytes);
	}
	else
	{
		StringInfoData text;

		initStringInfo(&text);
		(void) JsonbToCString(&text, found->val.binary.data, found->val.binary.len);
		out->bytes = text.data;
		out->length = text.len;
	}
}

/* The value at an entry of a container. */
static void
entry_value(const JsonbContainer *container, int index, const char *base, JsonbValue *value)
{
	JEntry		entry = container->children[index];
	uint32		offset = getJsonbOffset(container, index);

	if (JBE_ISSTRING(entry))
	{
		value->type = jbvString;
		value->val.string.val = (char *) base + offset;
		value->val.string.len = getJsonbLength(container, index);
	}
	else if (JBE_ISNUMERIC(entry))
	{
		value->type = jbvNumeric;
		value->val.numeric = (Numeric) (base + INTALIGN(offset));
	}
	else if (JBE_ISBOOL(entry))
	{
		value->type = jbvBool;
		value->val.boolean = JBE_ISBOOL_TRUE(entry);
	}
	else if (JBE_ISCONTAINER(entry))
	{
		value->type = jbvBinary;
		value->val.binary.data = (JsonbContainer *) (base + INTALIGN(offset));
		value->val.binary.len = getJsonbLength(container, index) - (INTALIGN(offset) - offset);
	}
	else
		value->type = jbvNull;
}

/* Finds all keys of an input in one walk: the object's and ours are in the same order. */
static void
look_at(const Collecting *c, Object *object, Datum datum)
{
	const JsonbContainer *container;
	const char *base;
	uint32		begin = 0;
	int			count;
	int			k = 0;

	object->looked = true;
	object->jsonb = DatumGetJsonbP(datum);
	container = &object->jsonb->root;
	for (int i = 0; i < object->n; i++)
		object->found[i].type = jbvNull;
	if (!JsonContainerIsObject(container))
		return;
	count = JsonContainerSize(container);
	base = (const char *) (container->children + count * 2);
	for (int i = 0; i < count && k < object->n; i++)
	{
		uint32		end = begin;
		int			length;
		int			cmp = 1;

		JBE_ADVANCE_OFFSET(end, container->children[i]);
		length = (int) (end - begin);
		while (k < object->n)
		{
			const MktgProgramString *key = object->keys[k];

			cmp = key->length != length ? key->length - length :
				memcmp(c->strings + key->offset, base + begin, length);
			if (cmp >= 0)
				break;
			k++;
		}
		if (k < object->n && cmp == 0)
			entry_value(container, i + count, base, &object->found[k++]);
		begin = end;
	}
}

/* The value of a key in the object, or in the object another key of it has. */
static bool
find_key(const Collecting *c, int i, JsonbValue *found)
{
	const MktgProgramValue *value = &c->values[i];

	*found = c->objects[c->object_of[i]].found[c->slot_of[i]];
	if (value->outer >= 0)
	{
		const MktgProgramString *key = &c->keys[value->key];

		return found->type == jbvBinary && JsonContainerIsObject(found->val.binary.data) &&
			getKeyJsonValueFromContainer(found->val.binary.data, c->strings + key->offset, key->length, found) != NULL &&
			found->type != jbvNull;
	}
	return found->type != jbvNull;
}

static int32
day_of(Collecting *c, Row *row, TimestampTz at)
{
	if (row->local_at != at)
	{
		row->local_at = at;
		row->local_day = mktg_local_day(&c->days, at);
	}
	return row->local_day;
}

/* Days of travel: three fields go by the same key. */
static void
travel_value(Collecting *c, Row *row, int i, RowValue *out)
{
	const MktgProgramValue *value = &c->values[i];
	const NullableDatum *time = &row->fcinfo->args[3 + value->time];
	int32		day;

	if (value->outer >= 0 || row->day_object != c->object_of[i] || row->day_slot != c->slot_of[i])
	{
		JsonbValue	found;

		row->day_object = value->outer >= 0 ? -1 : c->object_of[i];
		row->day_slot = c->slot_of[i];
		row->has_day = find_key(c, i, &found) && mktg_json_day(&found, &row->day);
	}
	/* an infinite time has no day */
	out->isnull = time->isnull || (value->of == MKTG_VALUE_ADVANCE_DAYS && !row->has_day) ||
		(TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(time->value)) && (value->of == MKTG_VALUE_ADVANCE_DAYS || !row->has_day));
	if (out->isnull)
		return;
	if (value->of == MKTG_VALUE_ADVANCE_DAYS)
	{
		out->number = (int64) row->day - day_of(c, row, DatumGetTimestampTz(time->value));
		return;
	}
	day = row->has_day ? row->day : day_of(c, row, DatumGetTimestampTz(time->value));
	out->number = value->of == MKTG_VALUE_WEEKDAY ? mktg_weekday_of(day) : mktg_month_of(day);
}

static void
json_value(Collecting *c, Row *row, int i, RowValue *out)
{
	const MktgProgramValue *value = &c->values[i];
	JsonbValue	found;

	if (value->of >= MKTG_VALUE_ADVANCE_DAYS)
	{
		travel_value(c, row, i, out);
		return;
	}
	if (value->key < 0)
	{
		Jsonb	   *object = c->objects[c->object_of[i]].jsonb;

		out->isnull = false;
		out->number = JB_ROOT_IS_ARRAY(object) && !JB_ROOT_IS_SCALAR(object) ? JB_ROOT_COUNT(object) : 0;
		return;
	}
	out->isnull = !find_key(c, i, &found);
	switch (value->of)
	{
		case MKTG_VALUE_JSON_COUNT:
			out->number = out->isnull ? 0 : mktg_json_count(&found);
			out->isnull = false;
			break;
		case MKTG_VALUE_JSON_TEXT:
			if (!out->isnull)
				json_text(&found, out);
			break;
		case MKTG_VALUE_JSON_TEXTS:
			out->bytes = NULL;
			if (out->isnull)
				break;
			if (found.type == jbvString)
				json_text(&found, out);
			else if (found.type == jbvBinary && JsonContainerIsArray(found.val.binary.data))
				out->other = found.val.binary.data;
			else
				out->isnull = true;
			break;
		default:
			{
				Numeric		number;

				out->isnull = out->isnull || !mktg_json_numeric(&found, &number);
				if (!out->isnull)
					out->other = number;
			}
	}
}

static void
take_value(Collecting *c, Row *row, int i, RowValue *out)
{
	const MktgProgramValue *value = &c->values[i];
	const NullableDatum *input = &row->fcinfo->args[3 + value->input];

	out->isnull = input->isnull;
	if (out->isnull && value->of != MKTG_VALUE_JSON_COUNT)
		return;
	switch (value->of)
	{
		case MKTG_VALUE_INT:
			out->number = c->input_types[value->input] == INT8OID ? DatumGetInt64(input->value) :
				c->input_types[value->input] == INT4OID ? DatumGetInt32(input->value) : DatumGetInt16(input->value);
			break;
		case MKTG_VALUE_TIME:
			out->number = mktg_finite_time(DatumGetTimestampTz(input->value));
			break;
		case MKTG_VALUE_DATE:
			out->number = DatumGetDateADT(input->value);
			break;
		case MKTG_VALUE_BOOL:
			out->number = DatumGetBool(input->value);
			break;
		case MKTG_VALUE_TEXT:
			{
				text	   *bytes = DatumGetTextPP(input->value);

				out->bytes = VARDATA_ANY(bytes);
				out->length = VARSIZE_ANY_EXHDR(bytes);
				break;
			}
		case MKTG_VALUE_TEXTS:
			out->other = DatumGetArrayTypeP(input->value);
			break;
		case MKTG_VALUE_ANY:
			break;
		default:
			if (out->isnull)
			{
				out->isnull = false;
				out->number = 0;
				break;
			}
			if (!c->objects[c->object_of[i]].looked)
				look_at(c, &c->objects[c->object_of[i]], input->value);
			json_value(c, row, i, out);
	}
}

/* Which conditions a text satisfies by being what it is. */
static void
hold_constant(const Collecting *c, const Lookup *lookup, const char *bytes, int length, uint64 *bits)
{
	uint32		hash = mktg_constant_hash(bytes, length);

	for (const Constant *place; (place = &lookup->table[hash & lookup->mask])->bytes != NULL; hash++)
		if (place->length == length && memcmp(place->bytes, bytes, length) == 0)
		{
			for (int w = 0; w < c->cond_words; w++)
				bits[w] |= place->conds[w];
			break;
		}
}

static void
hold_array(const Collecting *c, const Lookup *lookup, const ArrayType *array, uint64 *bits)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	if (ARR_NDIM(array) == 0)
		return;
	deconstruct_array((ArrayType *) array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			hold_constant(c, lookup, VARDATA_ANY(DatumGetPointer(elements[i])), VARSIZE_ANY_EXHDR(DatumGetPointer(elements[i])), bits);
}

static void
hold_json_array(const Collecting *c, const Lookup *lookup, const JsonbContainer *array, uint64 *bits)
{
	for (uint32 i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer((JsonbContainer *) array, i);

		if (element != NULL && element->type == jbvString)
			hold_constant(c, lookup, element->val.string.val, element->val.string.len, bits);
	}
}

/* Which conditions a number satisfies; and when it will cross a bound that moves. */
static inline void
hold_interval(const Collecting *c, const Lookup *lookup, int64 value, uint64 *bits, int64 *flip)
{
	int			low = 0;
	int			high = lookup->nbounds;
	const uint64 *holds;

	/* counting takes no branches that go either way */
	if (high <= 24)
	{
		for (int i = 0; i < high; i++)
			low += lookup->bounds[i] <= value;
		high = low;
	}
	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (lookup->bounds[middle] <= value)
			low = middle + 1;
		else
			high = middle;
	}
	holds = lookup->holds + low * c->cond_words;
	for (int w = 0; w < c->cond_words; w++)
		bits[w] |= holds[w];
	if (lookup->moving[low] != PG_INT64_MIN)
		*flip = Min(*flip, mktg_crosses(value, lookup->moving[low], c->program->at));
}

static bool
number_holds(const Collecting *c, const MktgProgramCond *cond, Numeric number)
{
	for (int k = 0; k < cond->n; k++)
	{
		const char *constant = c->strings + c->constants[cond->first + k].offset;
		int32		cmp = DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(number), PointerGetDatum(constant)));
		int32		op = cond->op == MKTG_OP_BETWEEN ? (k == 0 ? MKTG_OP_GE : MKTG_OP_LE) : cond->op;
		bool		holds = op == MKTG_OP_GT ? cmp > 0 : op == MKTG_OP_GE ? cmp >= 0 :
			op == MKTG_OP_LT ? cmp < 0 : op == MKTG_OP_LE ? cmp <= 0 : cmp == 0;

		if (cond->op == MKTG_OP_IN ? holds : !holds)
			return cond->op == MKTG_OP_IN;
	}
	return cond->op != MKTG_OP_IN;
}

static bool
plain_holds(const Collecting *c, const MktgProgramCond *cond, const RowValue *value)
{
	const MktgProgramString *text = &c->constants[cond->first];

	switch (cond->test)
	{
		case MKTG_HAS_TEXT:
			return text->length == 0 || memmem(value->bytes, value->length, c->strings + text->offset, text->length) != NULL;
		case MKTG_BEGINS_WITH:
			return value->length >= text->length && memcmp(value->bytes, c->strings + text->offset, text->length) == 0;
		case MKTG_NUMBER_IS:
			return number_holds(c, cond, (Numeric) value->other);
		case MKTG_IS_TRUE:
			return value->number != 0;
		case MKTG_IS_FALSE:
			return value->number == 0;
		default:
			return true;
	}
}

static void
hold_conds(const Collecting *c, const RowValue *values, uint64 *bits, int64 *flip)
{
	for (int i = 0; i < c->program->nvalues; i++)
	{
		const Lookup *lookup = &c->lookups[i];

		if (values[i].isnull)
			continue;
		if (lookup->nbounds > 0)
			hold_interval(c, lookup, values[i].number, bits, flip);
		if (lookup->mask == 0)
			continue;
		if (c->values[i].of == MKTG_VALUE_TEXTS)
			hold_array(c, lookup, values[i].other, bits);
		else if (c->values[i].of == MKTG_VALUE_JSON_TEXTS && values[i].bytes == NULL)
			hold_json_array(c, lookup, values[i].other, bits);
		else
			hold_constant(c, lookup, values[i].bytes, values[i].length, bits);
	}
	for (int k = 0; k < c->nplain; k++)
	{
		int			i = c->plain[k];
		const RowValue *value = &values[c->conds[i].value];

		if (!value->isnull && plain_holds(c, &c->conds[i], value))
			bits[i / 64] |= UINT64CONST(1) << (i % 64);
	}
}

/* Takes the values of a row and holds them against all conditions. */
void
mktg_hold_row(Collecting *c, FunctionCallInfo fcinfo, Pending *pending)
{
	RowValue	values[MKTG_MAX_VALUES];
	Row			row;

	row.fcinfo = fcinfo;
	row.day_object = -1;
	row.local_at = DT_NOBEGIN;
	row.local_day = PG_INT32_MIN / 2;
	for (int i = 0; i < c->nobjects; i++)
		c->objects[i].looked = false;
	memset(pending->bits, 0, sizeof(uint64) * c->cond_words);
	pending->flip = PG_INT64_MAX;
	for (int i = 0; i < c->program->nvalues; i++)
		take_value(c, &row, i, &values[i]);
	hold_conds(c, values, pending->bits, &pending->flip);
	for (int k = 0; k < c->nkept; k++)
	{
		pending->numbers[k] = values[c->kept[k]].number;
		pending->nulls[k] = values[c->kept[k]].isnull;
	}
}
