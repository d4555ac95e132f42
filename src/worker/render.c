/*-------------------------------------------------------------------------
 *
 * render.c
 *		Renders a message from its template when it is sent.
 *
 * A name is looked up in the message's variables, the campaign's
 * template_data, the contact's columns and the contact's attributes, in this
 * order; a name that is nowhere renders as nothing.  Dots go into objects.
 *
 * IDENTIFICATION
 *		src/worker/render.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "base/base.h"
#include "worker/pump.h"

typedef struct TemplateKey
{
	int64		tenant_id;
	int64		template_id;
} TemplateKey;

typedef struct TemplateEntry
{
	TemplateKey key;
	int32		version;
	MktgTemplate *subject;		/* NULL: the template has none */
	MktgTemplate *html;
	MktgTemplate *body;
	char		error[192];		/* empty: fine */
} TemplateEntry;

typedef struct Names
{
	const Slot *slot;
	const MktgLane *lane;
	char		number[32];
} Names;

static const struct
{
	const char *name;
	int			column;
} contact_columns[] = {
	{"name", MKTG_CLAIMED_NAME}, {"email", MKTG_CLAIMED_EMAIL}, {"phone", MKTG_CLAIMED_PHONE},
	{"external_id", MKTG_CLAIMED_EXTERNAL_ID}, {"language", MKTG_CLAIMED_LANGUAGE},
	{"country", MKTG_CLAIMED_COUNTRY}, {"city", MKTG_CLAIMED_CITY}, {"tier", MKTG_CLAIMED_TIER},
};

static HTAB *templates = NULL;

static TemplateEntry *find_entry(int64 tenant, int64 template_id, bool *found);
static MktgTemplate *parse_column(TemplateEntry *entry, int column);
static void render_contact(Slot *slot);
static bool look_up(void *context, const char *name, size_t name_length, const char **value, size_t *length);
static bool in_jsonb(Jsonb *object, const char *name, size_t name_length, const char **value, size_t *length);

static TemplateEntry *
find_entry(int64 tenant, int64 template_id, bool *found)
{
	TemplateKey key = {tenant, template_id};

	if (templates == NULL)
	{
		HASHCTL		control = {.keysize = sizeof(TemplateKey), .entrysize = sizeof(TemplateEntry)};

		templates = hash_create("mktg templates", 64, &control, HASH_ELEM | HASH_BLOBS);
	}
	return hash_search(templates, &key, HASH_ENTER, found);
}

/* Makes sure the lane's template is parsed in its present version. */
void
mktg_templates_load(const MktgLane *lane)
{
	static MktgQuery query = MKTG_QUERY("SELECT subject, html, body FROM mktg.template_version"
										" WHERE tenant_id = $1 AND template_id = $2 AND version = $3",
										INT8OID, INT8OID, INT4OID);
	bool		found;
	TemplateEntry *entry = find_entry(lane->tenant_id, lane->template_id, &found);

	if (found && entry->version == lane->template_version)
		return;
	if (found)
	{
		mktg_template_free(entry->subject);
		mktg_template_free(entry->html);
		mktg_template_free(entry->body);
	}
	entry->version = 0;
	entry->subject = entry->html = entry->body = NULL;
	entry->error[0] = '\0';
	/* campaigns of channel ads have no template */
	if (lane->template_id == 0)
		return;
	if (mktg_call(&query, MKTG_INT64(lane->tenant_id), MKTG_INT64(lane->template_id),
				  MKTG_INT32(lane->template_version)) == 0)
	{
		strlcpy(entry->error, "template has no such version", sizeof(entry->error));
		return;
	}
	entry->subject = parse_column(entry, 1);
	entry->html = parse_column(entry, 2);
	entry->body = parse_column(entry, 3);
	entry->version = lane->template_version;
}

static MktgTemplate *
parse_column(TemplateEntry *entry, int column)
{
	char	   *source = mktg_text_at(0, column);
	MktgTemplateError error = {0};
	MktgTemplate *parsed;

	if (source == NULL)
		return NULL;
	parsed = mktg_template_parse(source, strlen(source), &error);
	if (parsed == NULL)
		snprintf(entry->error, sizeof(entry->error), "template: %s", error.message);
	return parsed;
}

static bool
render_part(const MktgTemplate *tpl, MktgEscape escape, Names *names, MktgBuffer *out,
			const char **text, size_t *length)
{
	mktg_buffer_clear(out);
	*text = NULL;
	*length = 0;
	if (tpl == NULL)
		return true;
	if (!mktg_template_render(tpl, escape, look_up, names, out))
		return false;
	*text = out->data == NULL ? "" : out->data;
	*length = out->length;
	return true;
}

static void
refuse(Slot *slot, MktgOutcomeKind kind, const char *reason)
{
	slot->delivery.outcome.kind = kind;
	strlcpy(slot->delivery.outcome.reason, reason, sizeof(slot->delivery.outcome.reason));
}

void
mktg_render(Slot *slot, const MktgLane *lane)
{
	MktgDelivery *delivery = &slot->delivery;
	Names		names = {slot, lane, ""};
	bool		found;
	TemplateEntry *entry = find_entry(lane->tenant_id, lane->template_id, &found);
	char		why[192];

	if (!found || entry->error[0] != '\0')
		refuse(slot, MKTG_OUTCOME_PERMANENT, found ? entry->error : "template is gone");
	else if (!render_part(entry->subject, MKTG_ESCAPE_NONE, &names, &slot->subject,
						  &delivery->subject, &delivery->subject_length) ||
			 !render_part(entry->html, MKTG_ESCAPE_HTML, &names, &slot->html,
						  &delivery->html, &delivery->html_length) ||
			 !render_part(entry->body, MKTG_ESCAPE_NONE, &names, &slot->body,
						  &delivery->body, &delivery->body_length))
		refuse(slot, MKTG_OUTCOME_PERMANENT, "rendered message is over 1 MB");
	else if (delivery->subject != NULL &&
			 !mktg_header_safe(delivery->subject, delivery->subject_length))
		refuse(slot, MKTG_OUTCOME_PERMANENT, "subject has a line break or control character in it");
	else if (slot->provider->provider->driver->wants_data)
	{
		MktgOutcomeKind refusal = mktg_data_render(slot, lane, look_up, &names, why, sizeof(why));

		if (refusal != MKTG_OUTCOME_NONE)
			refuse(slot, refusal, why);
		delivery->data = slot->data.data;
		delivery->data_length = slot->data.length;
	}
	if (slot->provider->provider->driver->wants_contact)
		render_contact(slot);
}

/* Everything that may tell a person from others, as the contact has it now. */
static void
render_contact(Slot *slot)
{
	static const struct
	{
		const char *start;
		int			column;
	}			columns[] = {
		{"\"external_id\":", MKTG_CLAIMED_EXTERNAL_ID}, {"\"email\":", MKTG_CLAIMED_EMAIL},
		{"\"phone\":", MKTG_CLAIMED_PHONE}, {"\"name\":", MKTG_CLAIMED_NAME},
		{"\"country\":", MKTG_CLAIMED_COUNTRY}, {"\"region\":", MKTG_CLAIMED_REGION},
		{"\"city\":", MKTG_CLAIMED_CITY}, {"\"birth_date\":", MKTG_CLAIMED_BIRTH_DATE},
		{"\"gender\":", MKTG_CLAIMED_GENDER},
	};
	MktgBuffer *out = &slot->contact;

	mktg_buffer_clear(out);
	mktg_buffer_add(out, "{", 1);
	for (int i = 0; i < lengthof(columns); i++)
	{
		text	   *value;

		if (slot->nulls[columns[i].column - 1])
			continue;
		value = DatumGetTextPP(slot->values[columns[i].column - 1]);
		if (out->length > 1)
			mktg_buffer_add(out, ",", 1);
		mktg_buffer_puts(out, columns[i].start);
		mktg_buffer_json_string(out, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	}
	mktg_buffer_add(out, "}", 1);
	if (out->failed)
		refuse(slot, MKTG_OUTCOME_PERMANENT, "the contact's columns are over 1 MB");
	slot->delivery.contact = out->data;
	slot->delivery.contact_length = out->length;
}

static bool
look_up(void *context, const char *name, size_t name_length, const char **value, size_t *length)
{
	Names	   *names = context;
	const Datum *values = names->slot->values;
	const bool *nulls = names->slot->nulls;

	if (!nulls[MKTG_CLAIMED_VARIABLES - 1] &&
		in_jsonb(DatumGetJsonbP(values[MKTG_CLAIMED_VARIABLES - 1]), name, name_length, value, length))
		return true;
	if (in_jsonb(names->lane->template_data, name, name_length, value, length))
		return true;
	for (int i = 0; i < lengthof(contact_columns); i++)
	{
		int			column = contact_columns[i].column - 1;
		text	   *found;

		if (strlen(contact_columns[i].name) != name_length ||
			memcmp(contact_columns[i].name, name, name_length) != 0)
			continue;
		if (nulls[column])
			return false;
		found = DatumGetTextPP(values[column]);
		*value = VARDATA_ANY(found);
		*length = VARSIZE_ANY_EXHDR(found);
		return true;
	}
	if (name_length == strlen("contact_id") && memcmp(name, "contact_id", name_length) == 0)
	{
		*length = pg_lltoa(names->slot->delivery.contact_id, names->number);
		*value = names->number;
		return true;
	}
	if (nulls[MKTG_CLAIMED_ATTRIBUTES - 1])
		return false;
	if (name_length > strlen("attributes.") && memcmp(name, "attributes.", strlen("attributes.")) == 0)
	{
		name += strlen("attributes.");
		name_length -= strlen("attributes.");
	}
	return in_jsonb(DatumGetJsonbP(values[MKTG_CLAIMED_ATTRIBUTES - 1]), name, name_length, value, length);
}

/* The text of object.name, or of object.a.b for the name "a.b". */
static bool
in_jsonb(Jsonb *object, const char *name, size_t name_length, const char **value, size_t *length)
{
	JsonbContainer *container = &object->root;
	JsonbValue	found;
	size_t		dot;
	char	   *text;

	for (;;)
	{
		for (dot = 0; dot < name_length && name[dot] != '.'; dot++)
			;
		if (!JsonContainerIsObject(container) ||
			getKeyJsonValueFromContainer(container, name, (int) dot, &found) == NULL)
			return false;
		if (dot == name_length)
			break;
		if (found.type != jbvBinary)
			return false;
		container = found.val.binary.data;
		name += dot + 1;
		name_length -= dot + 1;
	}
	switch (found.type)
	{
		case jbvString:
			*value = found.val.string.val;
			*length = found.val.string.len;
			return true;
		case jbvNumeric:
			text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(found.val.numeric)));
			break;
		case jbvBool:
			text = found.val.boolean ? "true" : "false";
			break;
		case jbvBinary:
			text = JsonbToCString(NULL, found.val.binary.data, found.val.binary.len);
			break;
		default:
			return false;
	}
	*value = text;
	*length = strlen(text);
	return true;
}
