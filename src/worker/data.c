/*-------------------------------------------------------------------------
 *
 * data.c
 *		The data of a message, for drivers that want more than texts.
 *
 * It is the campaign's template_data with the message's variables in place of
 * keys of the same name.  Strings in template_data are templates, for whoever
 * plans the campaign writes them.  Variables are values and stay as they are:
 * what a customer once typed is not to be read as a template.
 *
 * template_data is turned into runs of JSON and the templates between them
 * once, and kept for the campaign as long as it does not change.
 *
 * IDENTIFICATION
 *		src/worker/data.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "worker/pump.h"

#define MOST_CAMPAIGNS	64		/* kept at once; one more begins anew */

typedef struct DataKey
{
	int64		tenant_id;
	int64		campaign_id;
} DataKey;

/* a run of JSON, and the template of the string that follows it */
typedef struct DataPart
{
	size_t		text;			/* offset into the entry's text */
	size_t		length;
	MktgTemplate *tpl;			/* NULL: nothing follows */
} DataPart;

/* a key of the outermost object, with its value */
typedef struct DataField
{
	const char *name;			/* in the entry's copy of the data */
	int			name_length;
	int			first_part;
	int			end_part;
} DataField;

typedef struct DataEntry
{
	DataKey		key;
	MemoryContext context;		/* of all but text and templates, which are malloc'd */
	Jsonb	   *source;
	MktgBuffer	text;
	int			nfields;
	DataField  *fields;
	int			nparts;
	int			max_parts;
	DataPart   *parts;
	bool		worked;			/* a message with this data was sent */
	char		error[192];		/* empty: fine */
} DataEntry;

static HTAB *entries = NULL;
static MktgBuffer string_text;	/* a rendered string before it is quoted */

static DataEntry *find_entry(const MktgLane *lane);
static void forget_entries(void);
static void read_source(DataEntry *entry);
static void add_fields(DataEntry *entry);
static void add_container(DataEntry *entry, JsonbContainer *container);
static void add_value(DataEntry *entry, const JsonbValue *value);
static void add_string(DataEntry *entry, const JsonbValue *value);
static void end_part(DataEntry *entry, MktgTemplate *tpl);
static void add_scalar(MktgBuffer *out, const JsonbValue *value);
static void render_field(const DataEntry *entry, const DataField *field, MktgTemplateLookup look_up,
						 void *names, MktgBuffer *out);

static bool
has_key(Jsonb *object, const DataField *field)
{
	JsonbValue	found;

	return object != NULL &&
		getKeyJsonValueFromContainer(&object->root, field->name, field->name_length, &found) != NULL;
}

static void
add_comma(MktgBuffer *out)
{
	if (out->length > 1)
		mktg_buffer_add(out, ",", 1);
}

static void
add_variables(Jsonb *variables, MktgBuffer *out)
{
	JsonbIterator *it = JsonbIteratorInit(&variables->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			add_comma(out);
			mktg_buffer_json_string(out, value.val.string.val, value.val.string.len);
			mktg_buffer_add(out, ":", 1);
		}
		else if (token == WJB_VALUE)
			add_scalar(out, &value);
	}
}

MktgOutcomeKind
mktg_data_render(Slot *slot, const MktgLane *lane, MktgTemplateLookup look_up, void *names,
				 char *why, size_t why_size)
{
	DataEntry  *entry = find_entry(lane);
	MktgBuffer *out = &slot->data;
	Jsonb	   *variables = NULL;

	if (!slot->nulls[MKTG_CLAIMED_VARIABLES - 1])
		variables = DatumGetJsonbP(slot->values[MKTG_CLAIMED_VARIABLES - 1]);
	if (variables != NULL && (!JB_ROOT_IS_OBJECT(variables) || JB_ROOT_COUNT(variables) == 0))
		variables = NULL;
	mktg_buffer_clear(out);
	mktg_buffer_add(out, "{", 1);
	for (int i = 0; i < entry->nfields; i++)
		if (!has_key(variables, &entry->fields[i]))
		{
			add_comma(out);
			render_field(entry, &entry->fields[i], look_up, names, out);
		}
	if (variables != NULL)
		add_variables(variables, out);
	mktg_buffer_add(out, "}", 1);

	if (entry->error[0] != '\0')
	{
		strlcpy(why, entry->error, why_size);
		return MKTG_OUTCOME_CAMPAIGN;
	}
	if (out->failed)
	{
		strlcpy(why, "the message's data is over 1 MB", why_size);
		return MKTG_OUTCOME_PERMANENT;
	}
	return MKTG_OUTCOME_NONE;
}

static void
render_field(const DataEntry *entry, const DataField *field, MktgTemplateLookup look_up,
			 void *names, MktgBuffer *out)
{
	string_text.limit = out->limit;
	for (int i = field->first_part; i < field->end_part; i++)
	{
		const DataPart *part = &entry->parts[i];

		mktg_buffer_add(out, entry->text.data + part->text, part->length);
		if (part->tpl == NULL)
			continue;
		mktg_buffer_clear(&string_text);
		if (!mktg_template_render(part->tpl, MKTG_ESCAPE_NONE, look_up, names, &string_text))
			out->failed = true;
		mktg_buffer_json_string(out, string_text.data, string_text.length);
	}
}

void
mktg_data_learn(Slot *slot)
{
	DataKey		key = {slot->delivery.tenant_id, slot->delivery.campaign_id};
	MktgOutcome *outcome = &slot->delivery.outcome;
	DataEntry  *entry = hash_search(entries, &key, HASH_FIND, NULL);

	if (entry == NULL)
		return;
	if (outcome->kind == MKTG_OUTCOME_SENT)
		entry->worked = true;
	else if (outcome->kind == MKTG_OUTCOME_CAMPAIGN && outcome->perhaps_own && entry->worked)
		outcome->kind = MKTG_OUTCOME_PERMANENT;
}

/* ---- template_data, read once ---- */

static DataEntry *
find_entry(const MktgLane *lane)
{
	DataKey		key = {lane->tenant_id, lane->campaign_id};
	DataEntry  *entry;
	bool		found;

	if (entries == NULL)
	{
		HASHCTL		control = {.keysize = sizeof(DataKey), .entrysize = sizeof(DataEntry)};

		entries = hash_create("mktg campaign data", MOST_CAMPAIGNS, &control, HASH_ELEM | HASH_BLOBS);
	}
	entry = hash_search(entries, &key, HASH_FIND, NULL);
	if (entry != NULL && VARSIZE(entry->source) == VARSIZE(lane->template_data) &&
		memcmp(entry->source, lane->template_data, VARSIZE(entry->source)) == 0)
		return entry;
	if (entry != NULL || hash_get_num_entries(entries) >= MOST_CAMPAIGNS)
		forget_entries();

	entry = hash_search(entries, &key, HASH_ENTER, &found);
	memset((char *) entry + sizeof(key), 0, sizeof(*entry) - sizeof(key));
	entry->context = AllocSetContextCreate(TopMemoryContext, "mktg campaign data", ALLOCSET_SMALL_SIZES);
	entry->source = MemoryContextAlloc(entry->context, VARSIZE(lane->template_data));
	memcpy(entry->source, lane->template_data, VARSIZE(lane->template_data));
	read_source(entry);
	return entry;
}

static void
forget_entries(void)
{
	HASH_SEQ_STATUS scan;
	DataEntry  *entry;

	hash_seq_init(&scan, entries);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		for (int i = 0; i < entry->nparts; i++)
			mktg_template_free(entry->parts[i].tpl);
		mktg_buffer_free(&entry->text);
		MemoryContextDelete(entry->context);
		hash_search(entries, &entry->key, HASH_REMOVE, NULL);
	}
}

static void
read_source(DataEntry *entry)
{
	MemoryContext previous = MemoryContextSwitchTo(entry->context);

	if (JB_ROOT_IS_OBJECT(entry->source))
		add_fields(entry);
	if (entry->text.failed)
		strlcpy(entry->error, "out of memory", sizeof(entry->error));
	MemoryContextSwitchTo(previous);
}

static void
add_fields(DataEntry *entry)
{
	JsonbIterator *it = JsonbIteratorInit(&entry->source->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	entry->fields = palloc(sizeof(DataField) * (JB_ROOT_COUNT(entry->source) + 1));
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		DataField  *field = &entry->fields[entry->nfields];

		if (token == WJB_KEY)
		{
			field->name = value.val.string.val;
			field->name_length = value.val.string.len;
			field->first_part = entry->nparts;
			mktg_buffer_json_string(&entry->text, field->name, field->name_length);
			mktg_buffer_add(&entry->text, ":", 1);
		}
		else if (token == WJB_VALUE)
		{
			add_value(entry, &value);
			end_part(entry, NULL);
			field->end_part = entry->nparts;
			entry->nfields++;
		}
	}
}

static void
add_value(DataEntry *entry, const JsonbValue *value)
{
	if (value->type == jbvBinary)
		add_container(entry, value->val.binary.data);
	else if (value->type == jbvString)
		add_string(entry, value);
	else
		add_scalar(&entry->text, value);
}

static void
add_container(DataEntry *entry, JsonbContainer *container)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		first = true;

	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		if (!first && (token == WJB_KEY || token == WJB_ELEM || token == WJB_BEGIN_ARRAY || token == WJB_BEGIN_OBJECT))
			mktg_buffer_add(&entry->text, ",", 1);
		switch (token)
		{
			case WJB_BEGIN_ARRAY:
				mktg_buffer_add(&entry->text, "[", 1);
				break;
			case WJB_BEGIN_OBJECT:
				mktg_buffer_add(&entry->text, "{", 1);
				break;
			case WJB_END_ARRAY:
				mktg_buffer_add(&entry->text, "]", 1);
				break;
			case WJB_END_OBJECT:
				mktg_buffer_add(&entry->text, "}", 1);
				break;
			case WJB_KEY:
				mktg_buffer_json_string(&entry->text, value.val.string.val, value.val.string.len);
				mktg_buffer_add(&entry->text, ":", 1);
				break;
			case WJB_VALUE:
			case WJB_ELEM:
				add_value(entry, &value);
				break;
			default:
				break;
		}
		/* a comma is wanted before whatever follows a value */
		first = token == WJB_BEGIN_ARRAY || token == WJB_BEGIN_OBJECT || token == WJB_KEY;
	}
}

static void
add_string(DataEntry *entry, const JsonbValue *value)
{
	MktgTemplateError error = {0};
	MktgTemplate *tpl;

	if (memmem(value->val.string.val, value->val.string.len, "{{", 2) == NULL)
	{
		mktg_buffer_json_string(&entry->text, value->val.string.val, value->val.string.len);
		return;
	}
	tpl = mktg_template_parse(value->val.string.val, value->val.string.len, &error);
	if (tpl == NULL)
		snprintf(entry->error, sizeof(entry->error), "template_data: %s", error.message);
	else
		end_part(entry, tpl);
}

/* What was added since the last part becomes one. */
static void
end_part(DataEntry *entry, MktgTemplate *tpl)
{
	DataPart   *last = entry->nparts > 0 ? &entry->parts[entry->nparts - 1] : NULL;
	size_t		begin = last != NULL ? last->text + last->length : 0;

	if (entry->nparts == entry->max_parts)
	{
		entry->max_parts = entry->max_parts * 2 + 16;
		entry->parts = entry->parts == NULL ? palloc(sizeof(DataPart) * entry->max_parts) :
			repalloc(entry->parts, sizeof(DataPart) * entry->max_parts);
	}
	entry->parts[entry->nparts++] = (DataPart)
	{
		begin, entry->text.length - begin, tpl
	};
}

/* ---- JSON ---- */

static void
add_scalar(MktgBuffer *out, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			mktg_buffer_json_string(out, value->val.string.val, value->val.string.len);
			break;
		case jbvNumeric:
			mktg_buffer_puts(out, DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric))));
			break;
		case jbvBool:
			mktg_buffer_puts(out, value->val.boolean ? "true" : "false");
			break;
		case jbvBinary:
			mktg_buffer_puts(out, JsonbToCString(NULL, value->val.binary.data, value->val.binary.len));
			break;
		default:
			mktg_buffer_puts(out, "null");
			break;
	}
}
