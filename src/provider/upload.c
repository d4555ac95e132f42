/*-------------------------------------------------------------------------
 *
 * upload.c
 *		What drivers of advertisers share: uploads to audiences, hashes of a
 *		contact's columns, and errors of Meta's Graph API.
 *
 * IDENTIFICATION
 *		src/provider/upload.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "provider/api.h"
#include "provider/upload.h"

#define DATA_DEPTH		32
#define MAX_WAIT_MINUTES 1440

json_object *
mktg_parse_object(const char *text, size_t length)
{
	json_tokener *tokener = text == NULL ? NULL : json_tokener_new_ex(DATA_DEPTH);
	json_object *object;

	if (tokener == NULL)
		return NULL;
	object = json_tokener_parse_ex(tokener, text, (int) length);
	if (json_tokener_get_error(tokener) != json_tokener_success || !json_object_is_type(object, json_type_object))
	{
		json_object_put(object);
		object = NULL;
	}
	json_tokener_free(tokener);
	return object;
}

/* ---- uploads ---- */

bool
mktg_upload_read(MktgDelivery *delivery, MktgUpload *upload)
{
	const char *operation;

	memset(upload, 0, sizeof(*upload));
	upload->data = mktg_parse_object(delivery->data, delivery->data_length);
	operation = mktg_member_text(upload->data, "operation", "");
	upload->audience = mktg_member_text(upload->data, "audience", "");
	upload->removal = strcmp(operation, "remove") == 0;
	upload->email = mktg_member_text(upload->data, "email", NULL);
	upload->phone = mktg_member_text(upload->data, "phone", NULL);
	upload->phone_e164 = mktg_member_text(upload->data, "phone_e164", NULL);
	if (upload->audience[0] == '\0' || (!upload->removal && strcmp(operation, "add") != 0))
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "the message is not of a sync: mktg.sync_segment() makes one");
	else if (upload->email == NULL && (upload->phone == NULL || upload->phone_e164 == NULL))
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "the upload has neither an e-mail address nor a phone number");
	else
		return true;
	mktg_upload_free(upload);
	return false;
}

void
mktg_upload_free(MktgUpload *upload)
{
	json_object_put(upload->data);
	upload->data = NULL;
}

bool
mktg_upload_is_removal(const MktgDelivery *delivery)
{
	json_object *data = mktg_parse_object(delivery->data, delivery->data_length);
	bool		removal = strcmp(mktg_member_text(data, "operation", ""), "remove") == 0;

	json_object_put(data);
	return removal;
}

/* ---- contacts ---- */

bool
mktg_contact_hash(json_object *contact, const char *name, MktgIdentifier kind, char hash[MKTG_HASH_SIZE])
{
	const char *value = mktg_member_text(contact, name, "");

	return mktg_identifier_hash(kind, value, strlen(value), hash);
}

bool
mktg_contact_name_hash(json_object *contact, bool last, char hash[MKTG_HASH_SIZE])
{
	const char *name = mktg_member_text(contact, "name", "");
	size_t		length = strlen(name);
	size_t		word;

	while (length > 0 && strchr(" \t", name[length - 1]) != NULL)
		length--;
	word = strspn(name, " \t");
	if (!last)
		return mktg_identifier_hash(MKTG_IDENTIFIER_NAME, name + word, strcspn(name + word, " \t"), hash);
	for (word = length; word > 0 && strchr(" \t", name[word - 1]) == NULL;)
		word--;
	hash[0] = '\0';
	return strspn(name, " \t") < word &&
		mktg_identifier_hash(MKTG_IDENTIFIER_NAME, name + word, length - word, hash);
}

/* ---- Meta ---- */

bool
mktg_check_graph_version(const char *value, char *why, size_t why_size)
{
	size_t		digits = strspn(value + (value[0] == 'v'), "0123456789");

	if (value[0] == 'v' && digits >= 1 && digits <= 3 && strcmp(value + 1 + digits, ".0") == 0)
		return true;
	snprintf(why, why_size, "must be a version such as " MKTG_GRAPH_VERSION);
	return false;
}

bool
mktg_graph_proof(const char *app_secret, const char *access_token, char proof[MKTG_HASH_SIZE])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int length = 0;

	if (HMAC(EVP_sha256(), app_secret, (int) strlen(app_secret), (const unsigned char *) access_token,
			 strlen(access_token), digest, &length) == NULL)
		return false;
	for (unsigned int i = 0; i < length; i++)
		sprintf(proof + 2 * i, "%02x", digest[i]);
	return true;
}

/* Minutes until the account may go on, by X-Business-Use-Case-Usage; 0: unknown. */
static int64_t
minutes_to_wait(const MktgRequest *request)
{
	const char *header = mktg_reply_header(request, "X-Business-Use-Case-Usage");
	json_object *usage = header == NULL ? NULL : mktg_parse_object(header, strlen(header));
	int64_t		longest = 0;

	if (usage != NULL)
	{
		json_object_object_foreach(usage, account, uses)
		{
			size_t		n = json_object_is_type(uses, json_type_array) ? json_object_array_length(uses) : 0;

			(void) account;
			for (size_t i = 0; i < n; i++)
			{
				int64_t		minutes = mktg_member_number(json_object_array_get_idx(uses, i),
														 "estimated_time_to_regain_access", 0);

				longest = minutes > longest ? minutes : longest;
			}
		}
		json_object_put(usage);
	}
	return longest > MAX_WAIT_MINUTES ? MAX_WAIT_MINUTES : longest;
}

static bool
is_throttle(int64_t code)
{
	return code == 4 || code == 17 || code == 32 || code == 613 || (code >= 80000 && code <= 80014);
}

/* tokens, permissions, the app or the account blocked */
static bool
is_account(int64_t code)
{
	return code == 10 || code == 102 || code == 190 || (code >= 200 && code <= 299) || code == 294 || code == 368;
}

void
mktg_graph_classify(const MktgRequest *request, json_object *reply, MktgOutcomeKind refused, MktgOutcome *outcome)
{
	json_object *error = NULL;
	json_object *transient = NULL;
	int64_t		code;
	MktgOutcomeKind kind;

	mktg_api_classify(request, outcome);
	if (request->status < 300 || !json_object_object_get_ex(reply, "error", &error))
	{
		if (outcome->kind == MKTG_OUTCOME_PERMANENT)
			outcome->kind = refused;
		return;
	}
	code = mktg_member_number(error, "code", 0);
	(void) json_object_object_get_ex(error, "is_transient", &transient);
	if (is_throttle(code))
		kind = MKTG_OUTCOME_RETRY;
	else if (is_account(code))
		kind = MKTG_OUTCOME_CONFIG;
	else if (code == 1 || code == 2 || json_object_get_boolean(transient) || request->status >= 500)
		kind = MKTG_OUTCOME_RETRY;
	else
		kind = refused;
	mktg_outcome_set(outcome, kind, "HTTP %ld: (#%d) %.180s", request->status, (int) code,
					 mktg_member_text(error, "message", "no message"));
	if (kind == MKTG_OUTCOME_RETRY && outcome->retry_after_ms == 0)
		outcome->retry_after_ms = minutes_to_wait(request) * 60 * 1000;
}
