/*-------------------------------------------------------------------------
 *
 * meta_audience.c
 *		A driver that adds people to Meta's custom audiences, and removes them.
 *
 * https://developers.facebook.com/docs/marketing-api/reference/custom-audience/users/
 *
 * A request adds or removes, never both.  Repeating either is harmless, so
 * whatever is not understood goes again.  What Meta refuses concerns the
 * audience or the app, for a row that makes no sense is only counted: then the
 * sender stops and the messages wait.
 *
 * IDENTIFICATION
 *		src/provider/meta_audience.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provider/api.h"
#include "provider/drivers.h"
#include "provider/upload.h"

#define MAX_ROWS		10000
#define MAX_BODY		(30 * 1024 * 1024)
#define MAX_URL			512
#define MAX_COLUMNS		12
#define DEFAULT_SCHEMA	"EMAIL,PHONE,FN,LN,DOBY,DOBM,DOBD,GEN,CT,ST,COUNTRY"

typedef enum Column
{
	COLUMN_EMAIL, COLUMN_PHONE, COLUMN_FN, COLUMN_LN, COLUMN_DOBY, COLUMN_DOBM, COLUMN_DOBD,
	COLUMN_GEN, COLUMN_CT, COLUMN_ST, COLUMN_COUNTRY, COLUMN_EXTERN_ID, COLUMNS
} Column;

static const char *const column_names[COLUMNS] = {
	"EMAIL", "PHONE", "FN", "LN", "DOBY", "DOBM", "DOBD", "GEN", "CT", "ST", "COUNTRY", "EXTERN_ID"
};

typedef struct Audience
{
	char	   *base;			/* URL up to the version */
	struct curl_slist *headers;
	char		proof[MKTG_HASH_SIZE];	/* empty: none */
	int			ncolumns;
	Column		columns[MAX_COLUMNS];
} Audience;

static bool check_schema(const char *value, char *why, size_t why_size);

static const MktgOptionSpec options[] = {
	{"access_token", true, true, mktg_check_credential},
	{"api_version", false, false, mktg_check_graph_version},
	{"app_secret", true, false, mktg_check_credential},
	{"base_url", false, false, mktg_check_base_url},
	{"schema", false, false, check_schema},
	{NULL, false, false, NULL}
};

/* ---- options ---- */

/* Columns of a list; their number, or -1 if one is none, or there is nothing to find people by. */
static int
read_schema(const char *list, Column columns[MAX_COLUMNS])
{
	const char *item;
	size_t		length;
	bool		finds = false;
	int			n = 0;

	while (mktg_next_item(&list, &item, &length))
	{
		int			column = 0;

		while (column < COLUMNS && (strlen(column_names[column]) != length ||
									memcmp(column_names[column], item, length) != 0))
			column++;
		if (column == COLUMNS || n == MAX_COLUMNS)
			return -1;
		finds |= column == COLUMN_EMAIL || column == COLUMN_PHONE;
		columns[n++] = (Column) column;
	}
	return finds ? n : -1;
}

static bool
check_schema(const char *value, char *why, size_t why_size)
{
	Column		columns[MAX_COLUMNS];

	if (mktg_check_items(value, MAX_COLUMNS, 20, why, why_size) && read_schema(value, columns) > 0)
		return true;
	snprintf(why, why_size, "must be different ones of " DEFAULT_SCHEMA ",EXTERN_ID, with EMAIL or PHONE among them");
	return false;
}

static bool
audience_open(MktgProvider *provider, const MktgSetting *settings, int n, char *why, size_t why_size)
{
	Audience   *audience = calloc(1, sizeof(Audience));
	const char *token = mktg_setting(settings, n, "access_token", "");
	const char *secret = mktg_setting(settings, n, "app_secret", NULL);
	char		version[16];
	char		bearer[5000];
	bool		ok;

	provider->state = audience;
	snprintf(version, sizeof(version), "/%s", mktg_setting(settings, n, "api_version", MKTG_GRAPH_VERSION));
	snprintf(bearer, sizeof(bearer), "Bearer %s", token);
	ok = audience != NULL &&
		(audience->base = mktg_api_url(mktg_setting(settings, n, "base_url", MKTG_GRAPH_URL), version)) != NULL &&
		mktg_add_header(&audience->headers, "Authorization", bearer) &&
		mktg_add_header(&audience->headers, "Content-Type", "application/x-www-form-urlencoded") &&
		mktg_add_header(&audience->headers, "Expect", "") &&
		(secret == NULL || mktg_graph_proof(secret, token, audience->proof));
	explicit_bzero(bearer, sizeof(bearer));
	if (ok)
		audience->ncolumns = read_schema(mktg_setting(settings, n, "schema", DEFAULT_SCHEMA), audience->columns);
	else
		snprintf(why, why_size, "out of memory");
	return ok;
}

static void
audience_close(MktgProvider *provider)
{
	Audience   *audience = provider->state;

	if (audience == NULL)
		return;
	free(audience->base);
	mktg_free_headers(audience->headers);
	free(audience);
}

/* ---- requests ---- */

static bool
audience_prepare(MktgRequest *request)
{
	const Audience *audience = request->provider->state;

	return mktg_api_prepare(request, audience->base, audience->headers);
}

/* Those of the first one's kind: a request adds or removes. */
static int
audience_fit(const MktgProvider *provider, MktgDelivery *const *deliveries, int n)
{
	bool		removal = mktg_upload_is_removal(deliveries[0]);

	(void) provider;
	for (int i = 1; i < n; i++)
		if (mktg_upload_is_removal(deliveries[i]) != removal)
			return i;
	return n;
}

/* Value of a column; empty where there is none. */
static const char *
column_value(Column column, const MktgUpload *upload, json_object *contact, char hash[MKTG_HASH_SIZE])
{
	const char *birth = mktg_member_text(contact, "birth_date", "");

	hash[0] = '\0';
	switch (column)
	{
		case COLUMN_EMAIL:
			return upload->email != NULL ? upload->email : "";
		case COLUMN_PHONE:
			return upload->phone != NULL ? upload->phone : "";
		case COLUMN_FN:
			(void) mktg_contact_name_hash(contact, false, hash);
			break;
		case COLUMN_LN:
			(void) mktg_contact_name_hash(contact, true, hash);
			break;
		case COLUMN_GEN:
			(void) mktg_contact_hash(contact, "gender", MKTG_IDENTIFIER_GENDER, hash);
			break;
		case COLUMN_CT:
			(void) mktg_contact_hash(contact, "city", MKTG_IDENTIFIER_PLACE, hash);
			break;
		case COLUMN_ST:
			(void) mktg_contact_hash(contact, "region", MKTG_IDENTIFIER_PLACE, hash);
			break;
		case COLUMN_COUNTRY:
			(void) mktg_contact_hash(contact, "country", MKTG_IDENTIFIER_COUNTRY, hash);
			break;
		case COLUMN_EXTERN_ID:
			/* by Meta's rule not hashed */
			return mktg_member_text(contact, "external_id", "");
		default:
			/* YYYY-MM-DD, or not at all */
			if (strlen(birth) != 10)
				break;
			if (column == COLUMN_DOBY)
				(void) mktg_identifier_hash(MKTG_IDENTIFIER_YEAR, birth, 4, hash);
			else if (column == COLUMN_DOBM)
				(void) mktg_identifier_hash(MKTG_IDENTIFIER_MONTH, birth + 5, 2, hash);
			else
				(void) mktg_identifier_hash(MKTG_IDENTIFIER_DAY, birth + 8, 2, hash);
			break;
	}
	return hash;
}

/* Removals go by what was uploaded, which the contact may not have any more. */
static bool
is_used(Column column, bool removal)
{
	return !removal || column == COLUMN_EMAIL || column == COLUMN_PHONE;
}

static void
add_schema(const Audience *audience, MktgBuffer *out, bool removal)
{
	const char *separator = "{\"schema\":[";

	for (int i = 0; i < audience->ncolumns; i++)
		if (is_used(audience->columns[i], removal))
		{
			mktg_buffer_puts(out, separator);
			mktg_buffer_json_string(out, column_names[audience->columns[i]], strlen(column_names[audience->columns[i]]));
			separator = ",";
		}
	mktg_buffer_puts(out, "],\"data\":[");
}

/* One row; false with the outcome set where nothing in it would find the person. */
static bool
add_row(const Audience *audience, MktgBuffer *out, MktgDelivery *delivery, const MktgUpload *upload)
{
	json_object *contact = upload->removal ? NULL : mktg_parse_object(delivery->contact, delivery->contact_length);
	size_t		before = out->length;
	const char *separator = out->data[out->length - 1] == ']' ? ",[" : "[";
	bool		finds = false;

	for (int i = 0; i < audience->ncolumns; i++)
	{
		Column		column = audience->columns[i];
		char		hash[MKTG_HASH_SIZE];
		const char *value;

		if (!is_used(column, upload->removal))
			continue;
		value = column_value(column, upload, contact, hash);
		finds |= value[0] != '\0' && (column == COLUMN_EMAIL || column == COLUMN_PHONE);
		mktg_buffer_puts(out, separator);
		mktg_buffer_json_string(out, value, strlen(value));
		separator = ",";
	}
	mktg_buffer_puts(out, "]");
	json_object_put(contact);
	if (finds)
		return true;
	out->length = before;
	mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
					 "the contact has none of the addresses that \"schema\" names");
	return false;
}

/* The payload's rows; their number.  "path" is filled with the audience of the first. */
static int
add_rows(const Audience *audience, MktgRequest *request, MktgBuffer *out, char url[MAX_URL], bool *removal)
{
	int			rows = 0;

	for (int i = 0; i < request->count; i++)
	{
		MktgDelivery *delivery = request->deliveries[i];
		MktgUpload	upload;

		if (!mktg_upload_read(delivery, &upload))
			continue;
		if (out->length == 0)
		{
			*removal = upload.removal;
			snprintf(url, MAX_URL, "%s/%s/users", audience->base, upload.audience);
			add_schema(audience, out, upload.removal);
		}
		if (!out->failed && add_row(audience, out, delivery, &upload))
			rows++;
		mktg_upload_free(&upload);
	}
	return rows;
}

static bool
audience_build(MktgRequest *request)
{
	const Audience *audience = request->provider->state;
	MktgBuffer *body = &request->body;
	MktgBuffer	payload = {0};
	MktgOutcome outcome = {0};
	char		url[MAX_URL];
	bool		removal = false;
	int			rows = add_rows(audience, request, &payload, url, &removal);

	body->limit = MAX_BODY;
	mktg_buffer_puts(&payload, "]}");
	mktg_buffer_puts(body, "payload=");
	mktg_buffer_percent(body, payload.data, payload.length);
	if (audience->proof[0] != '\0')
	{
		mktg_buffer_puts(body, "&appsecret_proof=");
		mktg_buffer_puts(body, audience->proof);
	}
	body->failed |= payload.failed;
	mktg_buffer_free(&payload);
	if (rows == 0)
		return false;
	if (!body->failed && curl_easy_setopt(request->easy, CURLOPT_URL, url) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_CUSTOMREQUEST, removal ? "DELETE" : NULL) == CURLE_OK)
		return true;
	mktg_outcome_set(&outcome, MKTG_OUTCOME_RETRY, "not sent: out of memory");
	mktg_outcome_all(request, &outcome);
	return false;
}

/* ---- replies ---- */

/* Rows that Meta can make nothing of are not told apart; how many there were is kept with its id. */
static void
note_session(json_object *reply, int64_t received, MktgOutcome *outcome)
{
	int64_t		invalid = mktg_member_number(reply, "num_invalid_entries", 0);
	json_object *session = NULL;
	const char *id = "";

	if (json_object_object_get_ex(reply, "session_id", &session) && session != NULL)
		id = json_object_get_string(session);
	if (invalid > 0)
		snprintf(outcome->provider_id, sizeof(outcome->provider_id), "%.40s;invalid=%lld/%lld",
				 id, (long long) invalid, (long long) received);
	else
		snprintf(outcome->provider_id, sizeof(outcome->provider_id), "%.40s", id);
}

static void
audience_classify(MktgRequest *request)
{
	MktgOutcome outcome = {0};
	json_object *reply = mktg_reply_json(request);
	int64_t		received;
	int			sent = 0;

	mktg_graph_classify(request, reply, MKTG_OUTCOME_CONFIG, &outcome);
	if (outcome.kind == MKTG_OUTCOME_SENT)
	{
		for (int i = 0; i < request->count; i++)
			sent += request->deliveries[i]->outcome.kind == MKTG_OUTCOME_NONE;
		received = mktg_member_number(reply, "num_received", -1);
		if (received == sent)
			note_session(reply, received, &outcome);
		else
			mktg_outcome_set(&outcome, MKTG_OUTCOME_RETRY, "HTTP %ld, but %lld of %d entries were received",
							 request->status, (long long) (received < 0 ? 0 : received), sent);
	}
	mktg_outcome_all(request, &outcome);
	json_object_put(reply);
}

const MktgDriver mktg_meta_audience_driver = {
	.name = "meta_audience",
	.options = options,
	.max_batch = MAX_ROWS,
	.wants_data = true,
	.wants_contact = true,
	.protocols = "https",
	.open = audience_open,
	.close = audience_close,
	.prepare = audience_prepare,
	.fit = audience_fit,
	.build = audience_build,
	.classify = audience_classify,
};
