/*-------------------------------------------------------------------------
 *
 * upsert.c
 *		mktg.upsert_contact(): one contact from one JSON object.
 *
 * Whom an object means: the contact with its external_id; else one with its
 * e-mail; else one with its phone.  A contact that holds another value of a
 * stronger key is somebody else: a phone does not make a customer of another
 * external_id, or a person of another e-mail, the same one.  So a lead becomes
 * a customer, and two people who share a phone stay two.
 *
 * The contact found is locked and changed in the next statement; if there is
 * none, claim.c sees to it that only one transaction makes it.  Above READ
 * COMMITTED the second of two cannot see what the first has made: it looks
 * all the same, and fails to serialize rather than make another.
 *
 * IDENTIFICATION
 *		src/contact/upsert.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/datetime.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "base/base.h"
#include "contact/contact.h"

/* How a key of the object becomes a column */
typedef enum FieldKind
{
	FIELD_ID,					/* string or number */
	FIELD_EMAIL,
	FIELD_PHONE,
	FIELD_TEXT,
	FIELD_DATE,
	FIELD_TAGS,
	FIELD_ATTRIBUTES,
	FIELD_BOOLEAN,
	FIELD_FIXED					/* never written from outside */
} FieldKind;

typedef struct Field
{
	const char *name;
	FieldKind	kind;
} Field;

/* In the order of the statements' arguments from $4 on */
static const Field fields[] = {
	{"external_id", FIELD_ID},
	{"email", FIELD_EMAIL},
	{"phone", FIELD_PHONE},
	{"name", FIELD_TEXT},
	{"birth_date", FIELD_DATE},
	{"gender", FIELD_TEXT},
	{"language", FIELD_TEXT},
	{"country", FIELD_TEXT},
	{"region", FIELD_TEXT},
	{"city", FIELD_TEXT},
	{"time_zone", FIELD_TEXT},
	{"tier", FIELD_TEXT},
	{"tags", FIELD_TAGS},
	{"attributes", FIELD_ATTRIBUTES},
	{"is_active", FIELD_BOOLEAN},
	{"tenant_id", FIELD_FIXED},
	{"contact_id", FIELD_FIXED},
	{"created_at", FIELD_FIXED},
	{"updated_at", FIELD_FIXED}
};

#define EXTERNAL_ID		0		/* places in "fields" */
#define EMAIL			1
#define PHONE			2
#define ATTRIBUTES		13
#define NCOLUMNS		15

typedef struct ContactInput
{
	int32		given;			/* bit i: the object has fields[i] */
	MktgArg		columns[NCOLUMNS];	/* ATTRIBUTES: what is merged in */
	MktgArg		removed;		/* text[]: attributes taken away */
	const char *external_id;	/* the keys; NULL where there is none */
	const char *email;
	const char *phone;
} ContactInput;

static void read_contact(Datum json, ContactInput *input);
static bool find_strongest(int64 tenant, const ContactInput *input, int64 *contact);
static bool find_any(int64 tenant, const ContactInput *input, int64 *contact);
static void claim_keys(int64 tenant, const ContactInput *input);
static void update_contact(int64 tenant, int64 contact, const ContactInput *input);
static bool insert_contact(int64 tenant, const ContactInput *input, int64 *contact);

PG_FUNCTION_INFO_V1(mktg_upsert_contact);

/*
 * SQL: mktg.upsert_contact(contact jsonb, tenant bigint) returns bigint
 *
 * Errors: MK010 unknown tenant, MK022 malformed address, MK024 a key of the
 * wrong type or an object without any key to match by, MK025 over 1 MB.
 */
Datum
mktg_upsert_contact(PG_FUNCTION_ARGS)
{
	int64		tenant;
	int64		contact;
	ContactInput input = {0};

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"contact\" must not be NULL"),
				 errhint("Give an object, such as '{\"email\": \"name@example.com\"}'.")));
	tenant = mktg_int64_argument(fcinfo, 1, "tenant");
	read_contact(PG_GETARG_DATUM(0), &input);

	mktg_begin();
	if (find_strongest(tenant, &input, &contact))
		update_contact(tenant, contact, &input);
	else
	{
		mktg_require_tenant(tenant);
		claim_keys(tenant, &input);
		for (;;)
		{
			if (find_any(tenant, &input, &contact))
			{
				update_contact(tenant, contact, &input);
				break;
			}
			if (insert_contact(tenant, &input, &contact))
				break;
			/* a plain INSERT of this external_id has come in between */
			CHECK_FOR_INTERRUPTS();
		}
	}
	mktg_end();
	PG_RETURN_INT64(contact);
}

/*---- reading the object ----*/

static void
refuse_type(const char *key, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_VALUE),
			 errmsg("invalid value for \"%s\" of a contact", key),
			 errhint("\"%s\" takes %s.", key, wanted)));
}

static char *
read_string(const Field *field, const JsonbValue *value)
{
	if (value->type == jbvString)
		return pnstrdup(value->val.string.val, value->val.string.len);
	if (field->kind == FIELD_ID && value->type == jbvNumeric)
		return DatumGetCString(DirectFunctionCall1(numeric_out,
												   NumericGetDatum(value->val.numeric)));
	refuse_type(field->name, field->kind == FIELD_ID ?
				"a string, a number or null" : "a string or null");
	return NULL;				/* not reached */
}

/* A key that contacts are found by, in the form the table has it in; NULL for blanks. */
static char *
read_key(const Field *field, const JsonbValue *value)
{
	char	   *string = read_string(field, value);
	size_t		length = strlen(string);
	char	   *buffer = palloc(MKTG_ADDRESS_BUFFER);
	MktgAddressKind kind = field->kind == FIELD_EMAIL ? MKTG_KIND_EMAIL : MKTG_KIND_PHONE;
	MktgAddressResult result;
	const char *form;
	size_t		form_length;

	if (field->kind == FIELD_ID)
	{
		if (length > MKTG_MAX_EXTERNAL_ID)
			ereport(ERROR,
					(errcode(ERRCODE_MKTG_TOO_LARGE),
					 errmsg("\"external_id\" of a contact is too long"),
					 errdetail("It has %zu bytes, at most %d are allowed.", length, MKTG_MAX_EXTERNAL_ID),
					 errhint("Use the short id by which the other system knows the contact.")));
		return mktg_blank(string, length) ? NULL : string;
	}

	result = mktg_address_form(kind, string, length, buffer, &form, &form_length);
	if (result == MKTG_ADDRESS_EMPTY)
		return NULL;
	if (result != MKTG_ADDRESS_OK)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_ADDRESS),
				 errmsg("invalid address in \"%s\" of a contact", field->name),
				 mktg_address_errdetail(kind, result, length),
				 mktg_address_errhint(kind)));
	return buffer;
}

/* YYYY-MM-DD and nothing else: what a date means must not hang on DateStyle. */
static MktgArg
read_date(const Field *field, const JsonbValue *value)
{
	char	   *string = read_string(field, value);
	int			year,
				month,
				day;

	if (strlen(string) != 10 || strspn(string, "0123456789") != 4 || string[4] != '-' ||
		strspn(string + 5, "0123456789") != 2 || string[7] != '-' ||
		strspn(string + 8, "0123456789") != 2)
		refuse_type(field->name, "a date like \"1990-12-31\", or null");
	year = atoi(string);
	month = atoi(string + 5);
	day = atoi(string + 8);
	if (year < 1 || month < 1 || month > MONTHS_PER_YEAR ||
		day < 1 || day > day_tab[isleap(year)][month - 1])
		refuse_type(field->name, "a date of the calendar, or null");
	return MKTG_DATE(date2j(year, month, day) - POSTGRES_EPOCH_JDATE);
}

static MktgArg
make_text_array(const Datum *elements, int n)
{
	return MKTG_ARG(PointerGetDatum(construct_array((Datum *) elements, n, TEXTOID,
													-1, false, TYPALIGN_INT)));
}

/* An array of strings, or one string. */
static MktgArg
read_tags(const Field *field, const JsonbValue *value)
{
	JsonbIterator *iterator;
	JsonbValue	element;
	Datum	   *tags;
	int			n = 0;

	if (value->type == jbvString)
	{
		Datum		tag = PointerGetDatum(cstring_to_text_with_len(value->val.string.val,
																   value->val.string.len));

		return make_text_array(&tag, 1);
	}
	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		refuse_type(field->name, "an array of strings, a string or null");

	tags = palloc(sizeof(Datum) * (JsonContainerSize(value->val.binary.data) + 1));
	iterator = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&iterator, &element, true);
	while (JsonbIteratorNext(&iterator, &element, true) == WJB_ELEM)
	{
		if (element.type != jbvString)
			refuse_type(field->name, "an array of strings, a string or null");
		tags[n++] = PointerGetDatum(cstring_to_text_with_len(element.val.string.val,
															 element.val.string.len));
	}
	return make_text_array(tags, n);
}

static void
read_field(ContactInput *input, int n, const JsonbValue *value)
{
	const Field *field = &fields[n];
	MktgArg    *column = &input->columns[n];
	char	   *string = NULL;

	if (field->kind == FIELD_FIXED)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("\"%s\" of a contact cannot be set", field->name),
				 errhint("Contacts are found by \"external_id\", \"email\" or \"phone\"; the tenant is an argument.")));

	input->given |= 1 << n;
	*column = MKTG_NULL;
	if (value->type == jbvNull && field->kind != FIELD_BOOLEAN)
		return;

	switch (field->kind)
	{
		case FIELD_ID:
		case FIELD_EMAIL:
		case FIELD_PHONE:
			string = read_key(field, value);
			*column = MKTG_TEXT(string);
			break;
		case FIELD_TEXT:
			*column = MKTG_TEXT(read_string(field, value));
			break;
		case FIELD_DATE:
			*column = read_date(field, value);
			break;
		case FIELD_TAGS:
			*column = read_tags(field, value);
			break;
		case FIELD_ATTRIBUTES:
			if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
				refuse_type(field->name, "an object or null");
			break;
		case FIELD_BOOLEAN:
			if (value->type != jbvBool)
				refuse_type(field->name, "true or false");
			*column = MKTG_ARG(BoolGetDatum(value->val.boolean));
			break;
		case FIELD_FIXED:
			break;
	}

	if (n == EXTERNAL_ID)
		input->external_id = string;
	else if (n == EMAIL)
		input->email = string;
	else if (n == PHONE)
		input->phone = string;
}

static int
find_field(const JsonbValue *key)
{
	for (int i = 0; i < lengthof(fields); i++)
		if (strlen(fields[i].name) == key->val.string.len &&
			memcmp(fields[i].name, key->val.string.val, key->val.string.len) == 0)
			return i;
	return -1;
}

/* Adds the members of an object; of one key twice the later counts. */
static void
push_members(JsonbParseState **state, JsonbContainer *object, bool unknown_only)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbValue	key;
	JsonbValue	value;

	(void) JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&iterator, &value, true);
		if (unknown_only && find_field(&key) >= 0)
			continue;
		(void) pushJsonbValue(state, WJB_KEY, &key);
		(void) pushJsonbValue(state, WJB_VALUE, &value);
	}
}

/*
 * What is merged into the attributes: the key "attributes", then the unknown
 * keys.  JSON null takes an attribute away.
 */
static void
collect_attributes(ContactInput *input, JsonbContainer *object, JsonbContainer *attributes)
{
	JsonbParseState *state = NULL;
	JsonbIterator *iterator;
	JsonbValue	key;
	JsonbValue	value;
	Jsonb	   *merged;
	Datum	   *removed;
	int			n = 0;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (attributes != NULL)
		push_members(&state, attributes, false);
	push_members(&state, object, true);
	merged = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));

	removed = palloc(sizeof(Datum) * (JB_ROOT_COUNT(merged) + 1));
	iterator = JsonbIteratorInit(&merged->root);
	(void) JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&iterator, &value, true);
		if (value.type == jbvNull)
			removed[n++] = PointerGetDatum(cstring_to_text_with_len(key.val.string.val,
																	key.val.string.len));
	}
	input->columns[ATTRIBUTES] = MKTG_ARG(JsonbPGetDatum(merged));
	input->removed = make_text_array(removed, n);
}

static void
read_contact(Datum json, ContactInput *input)
{
	Size		size = toast_raw_datum_size(json) - VARHDRSZ;
	Jsonb	   *contact;
	JsonbContainer *attributes = NULL;
	JsonbIterator *iterator;
	JsonbValue	key;
	JsonbValue	value;

	if (size > MKTG_MAX_JSON)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_TOO_LARGE),
				 errmsg("contact is too large"),
				 errdetail("The object has %zu bytes as jsonb, at most %d are allowed.",
						   size, MKTG_MAX_JSON),
				 errhint("Keep documents elsewhere, and a reference in the contact.")));
	contact = DatumGetJsonbP(json);
	if (!JB_ROOT_IS_OBJECT(contact))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("contact must be a JSON object"),
				 errhint("Give one contact, such as '{\"email\": \"name@example.com\"}'.")));

	for (int i = 0; i < NCOLUMNS; i++)
		input->columns[i] = MKTG_NULL;
	iterator = JsonbIteratorInit(&contact->root);
	(void) JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		int			n = find_field(&key);

		(void) JsonbIteratorNext(&iterator, &value, true);
		if (n < 0)
			continue;
		read_field(input, n, &value);
		if (n == ATTRIBUTES && value.type == jbvBinary)
			attributes = value.val.binary.data;
	}
	collect_attributes(input, &contact->root, attributes);

	/* merged in: only null clears what is there */
	if (attributes != NULL)
		input->given &= ~(1 << ATTRIBUTES);
	if (input->external_id == NULL && input->email == NULL && input->phone == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("contact has no \"external_id\", \"email\" or \"phone\""),
				 errdetail("It could not be found again."),
				 errhint("Give at least one of them.")));
}

/*---- finding and writing ----*/

/* sees the latest contacts under any isolation */
#define FIND_QUERY(text, ...) \
	{.sql = (text), .fresh = true, .argtypes = {__VA_ARGS__}, \
	 .nargs = sizeof((Oid[]) {__VA_ARGS__}) / sizeof(Oid)}

static bool
found(uint64 rows, int64 *contact)
{
	if (rows == 0)
		return false;
	*contact = mktg_int64_at(0, 1);
	return true;
}

static bool
find_by_external_id(int64 tenant, const ContactInput *input, int64 *contact)
{
	static MktgQuery query =
		FIND_QUERY("SELECT contact_id FROM mktg.contact"
				   " WHERE tenant_id = $1 AND external_id = $2 FOR NO KEY UPDATE",
				   INT8OID, TEXTOID);

	return found(mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(input->external_id)), contact);
}

/* "+ 0": by the index on the address, not along the primary key until one fits */
static bool
find_by_email(int64 tenant, const ContactInput *input, int64 *contact)
{
	static MktgQuery query =
		FIND_QUERY("SELECT contact_id FROM mktg.contact"
				   " WHERE tenant_id = $1 AND email = $2 AND ($3 IS NULL OR external_id IS NULL)"
				   " ORDER BY contact_id + 0 LIMIT 1 FOR NO KEY UPDATE",
				   INT8OID, TEXTOID, TEXTOID);

	return found(mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(input->email),
						   MKTG_TEXT(input->external_id)), contact);
}

static bool
find_by_phone(int64 tenant, const ContactInput *input, int64 *contact)
{
	static MktgQuery query =
		FIND_QUERY("SELECT contact_id FROM mktg.contact"
				   " WHERE tenant_id = $1 AND phone = $2 AND ($3 IS NULL OR external_id IS NULL)"
				   " AND ($4 IS NULL OR email IS NULL)"
				   " ORDER BY contact_id + 0 LIMIT 1 FOR NO KEY UPDATE",
				   INT8OID, TEXTOID, TEXTOID, TEXTOID);

	return found(mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(input->phone),
						   MKTG_TEXT(input->external_id), MKTG_TEXT(input->email)), contact);
}

/* The usual case, for which nothing but the contact needs a lock. */
static bool
find_strongest(int64 tenant, const ContactInput *input, int64 *contact)
{
	if (input->external_id != NULL)
		return find_by_external_id(tenant, input, contact);
	if (input->email != NULL)
		return find_by_email(tenant, input, contact);
	return find_by_phone(tenant, input, contact);
}

static bool
find_any(int64 tenant, const ContactInput *input, int64 *contact)
{
	return (input->external_id != NULL && find_by_external_id(tenant, input, contact)) ||
		(input->email != NULL && find_by_email(tenant, input, contact)) ||
		(input->phone != NULL && find_by_phone(tenant, input, contact));
}

static void
claim_keys(int64 tenant, const ContactInput *input)
{
	MktgContactKey keys[MKTG_CONTACT_KEYS];
	int			n = 0;

	if (input->external_id != NULL)
		keys[n++] = (MktgContactKey) {'x', input->external_id};
	if (input->email != NULL)
		keys[n++] = (MktgContactKey) {'e', input->email};
	if (input->phone != NULL)
		keys[n++] = (MktgContactKey) {'p', input->phone};
	mktg_claim_contact_keys(tenant, keys, n);
}

/* $1 tenant, $2 contact, $3 which columns are given, $4 on the columns, $19 attributes to remove */
#define WRITE_TYPES \
	INT8OID, INT8OID, INT4OID, \
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, DATEOID, TEXTOID, TEXTOID, TEXTOID, \
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID, JSONBOID, BOOLOID, \
	TEXTARRAYOID

static uint64
write_contact(MktgQuery *query, int64 tenant, int64 contact, const ContactInput *input)
{
	MktgArg		args[3 + NCOLUMNS + 1];

	args[0] = MKTG_INT64(tenant);
	args[1] = MKTG_INT64(contact);
	args[2] = MKTG_INT32(input->given);
	memcpy(&args[3], input->columns, sizeof(input->columns));
	args[3 + NCOLUMNS] = input->removed;
	return mktg_run(query, args);
}

#define SET_IF_GIVEN(bit, column, value) \
	column " = CASE WHEN $3 & (1 << " bit ") <> 0 THEN " value " ELSE c." column " END"

static void
update_contact(int64 tenant, int64 contact, const ContactInput *input)
{
	static MktgQuery query =
		MKTG_QUERY("UPDATE mktg.contact c SET "
				   SET_IF_GIVEN("0", "external_id", "$4") ", "
				   SET_IF_GIVEN("1", "email", "$5") ", "
				   SET_IF_GIVEN("2", "phone", "$6") ", "
				   SET_IF_GIVEN("3", "name", "$7") ", "
				   SET_IF_GIVEN("4", "birth_date", "$8") ", "
				   SET_IF_GIVEN("5", "gender", "$9") ", "
				   SET_IF_GIVEN("6", "language", "$10") ", "
				   SET_IF_GIVEN("7", "country", "$11") ", "
				   SET_IF_GIVEN("8", "region", "$12") ", "
				   SET_IF_GIVEN("9", "city", "$13") ", "
				   SET_IF_GIVEN("10", "time_zone", "$14") ", "
				   SET_IF_GIVEN("11", "tier", "$15") ", "
				   SET_IF_GIVEN("12", "tags", "coalesce($16, '{}')") ", "
				   "attributes = (CASE WHEN $3 & (1 << 13) <> 0 THEN '{}'"
				   " ELSE c.attributes END || $17) - $19, "
				   SET_IF_GIVEN("14", "is_active", "$18")
				   " WHERE c.tenant_id = $1 AND c.contact_id = $2",
				   WRITE_TYPES);

	if (write_contact(&query, tenant, contact, input) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update"),
				 errdetail("Contact " INT64_FORMAT " was made after this transaction began.", contact),
				 errhint("Repeat the transaction.")));
}

/* False if the external_id is there already. */
static bool
insert_contact(int64 tenant, const ContactInput *input, int64 *contact)
{
	static MktgQuery query =
		MKTG_QUERY("INSERT INTO mktg.contact (tenant_id, external_id, email, phone, name,"
				   " birth_date, gender, language, country, region, city, time_zone, tier,"
				   " tags, attributes, is_active)"
				   " VALUES ($1, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,"
				   " coalesce($16, '{}'), $17 - $19, coalesce($18, true))"
				   " ON CONFLICT (tenant_id, external_id) WHERE external_id IS NOT NULL DO NOTHING"
				   " RETURNING contact_id",
				   WRITE_TYPES);

	return found(write_contact(&query, tenant, 0, input), contact);
}
