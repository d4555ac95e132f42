/*-------------------------------------------------------------------------
 *
 * fcm.c
 *		A driver that pushes notifications through Firebase Cloud Messaging
 *		(HTTP v1).
 *
 * https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
 *
 * The address is the registration token of one app on one device.  Subject and
 * body are the notification; what else a message of FCM may hold comes from the
 * message's data, whose values are passed on as they stand.
 *
 * A message costs no setting of libcurl but its body: URL and header lines are
 * set once for a handle, and the line with the access token is written anew in
 * place.
 *
 * IDENTIFICATION
 *		src/provider/fcm.c
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <json-c/json.h>

#include "provider/api.h"
#include "provider/drivers.h"

#define BASE_URL		"https://fcm.googleapis.com"
#define TOKEN_URI		"https://oauth2.googleapis.com/token"
#define SCOPE			"https://www.googleapis.com/auth/firebase.messaging"
#define MAX_PAYLOAD		4096	/* of a message, without the address */
#define MAX_ADDRESS		4096
#define MAX_TOKEN		4096
#define ASSERTION_LIFE	3600
#define MAX_LIFE		86400	/* of a token, in seconds, whatever its reply says */
#define QUOTA_WAIT_MS	60000	/* where no Retry-After came */

typedef struct Fcm
{
	char	   *url;
	char	   *token_uri;
	char	   *client_email;
	char	   *key_id;			/* NULL: none */
	struct evp_pkey_st *key;
	bool		validate_only;
	struct curl_slist type;		/* header lines, the second of which is: */
	struct curl_slist authorization;
	char		authorization_line[MAX_TOKEN + 32];
} Fcm;

static bool check_project(const char *value, char *why, size_t why_size);
static bool check_key(const char *value, char *why, size_t why_size);

static const MktgOptionSpec options[] = {
	{"base_url", false, false, mktg_check_base_url},
	{"client_email", true, true, mktg_check_credential},
	{"private_key", true, true, check_key},
	{"private_key_id", true, false, mktg_check_credential},
	{"project_id", false, true, check_project},
	{"token_uri", false, false, mktg_check_base_url},
	{"validate_only", false, false, mktg_check_boolean},
	{NULL, false, false, NULL}
};

/* parts of a message that are taken from the data as they are */
static const struct
{
	const char *name;
	const char *start;			/* of the member */
}			passed_on[] = {
	{"android", ",\"android\":"},
	{"apns", ",\"apns\":"},
	{"webpush", ",\"webpush\":"},
	{"fcm_options", ",\"fcmOptions\":"},
};

/* ---- options ---- */

static bool
check_project(const char *value, char *why, size_t why_size)
{
	size_t		length = strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-");

	if (length >= 1 && length <= 63 && value[length] == '\0')
		return true;
	snprintf(why, why_size, "must be a project id of Firebase: small letters, digits and dashes");
	return false;
}

static bool
check_key(const char *value, char *why, size_t why_size)
{
	struct evp_pkey_st *key = mktg_rsa_key(value);

	if (key == NULL)
		snprintf(why, why_size, "must be an RSA private key of 2048 bits or more, in PEM with line ends as \\n");
	mktg_rsa_key_free(key);
	return key != NULL;
}

static bool
fcm_open(MktgProvider *provider, const MktgSetting *settings, int n, char *why, size_t why_size)
{
	Fcm		   *fcm = calloc(1, sizeof(Fcm));
	const char *base = mktg_setting(settings, n, "base_url", BASE_URL);

	provider->state = fcm;
	if (fcm == NULL ||
		asprintf(&fcm->url, "%s/v1/projects/%s/messages:send", base,
				 mktg_setting(settings, n, "project_id", "")) < 0 ||
		(fcm->token_uri = strdup(mktg_setting(settings, n, "token_uri", TOKEN_URI))) == NULL ||
		!mktg_copy_setting(settings, n, "client_email", &fcm->client_email) ||
		!mktg_copy_setting(settings, n, "private_key_id", &fcm->key_id))
	{
		snprintf(why, why_size, "out of memory");
		return false;
	}
	fcm->type = (struct curl_slist) {(char *) "Content-Type: application/json", &fcm->authorization};
	fcm->authorization = (struct curl_slist) {fcm->authorization_line, NULL};
	fcm->validate_only = strcmp(mktg_setting(settings, n, "validate_only", "false"), "true") == 0;
	fcm->key = mktg_rsa_key(mktg_setting(settings, n, "private_key", ""));
	if (fcm->key == NULL)
		snprintf(why, why_size, "credential \"private_key\" cannot be read");
	return fcm->key != NULL;
}

static void
fcm_close(MktgProvider *provider)
{
	Fcm		   *fcm = provider->state;

	if (fcm == NULL)
		return;
	free(fcm->url);
	free(fcm->token_uri);
	free(fcm->client_email);
	free(fcm->key_id);
	mktg_rsa_key_free(fcm->key);
	explicit_bzero(fcm->authorization_line, sizeof(fcm->authorization_line));
	free(fcm);
}

/* ---- the access token ---- */

static void
add_json_text(MktgBuffer *out, const char *start, const char *text)
{
	mktg_buffer_puts(out, start);
	mktg_buffer_json_string(out, text, strlen(text));
}

static bool
add_assertion(const Fcm *fcm, MktgBuffer *out)
{
	int64_t		now = (int64_t) time(NULL);
	MktgBuffer	header = {0};
	MktgBuffer	claims = {0};
	char		times[80];
	bool		ok;

	mktg_buffer_puts(&header, "{\"alg\":\"RS256\",\"typ\":\"JWT\"");
	if (fcm->key_id != NULL)
		add_json_text(&header, ",\"kid\":", fcm->key_id);
	mktg_buffer_puts(&header, "}");
	add_json_text(&claims, "{\"iss\":", fcm->client_email);
	add_json_text(&claims, ",\"scope\":", SCOPE);
	add_json_text(&claims, ",\"aud\":", fcm->token_uri);
	snprintf(times, sizeof(times), ",\"iat\":%" PRId64 ",\"exp\":%" PRId64 "}", now, now + ASSERTION_LIFE);
	mktg_buffer_puts(&claims, times);

	ok = !header.failed && !claims.failed &&
		mktg_jwt_sign(fcm->key, header.data, claims.data, claims.length, out);
	mktg_buffer_free(&header);
	mktg_buffer_free(&claims);
	return ok;
}

static bool
fcm_authorize(MktgRequest *request)
{
	const Fcm  *fcm = request->provider->state;

	mktg_buffer_puts(&request->body, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
	request->headers = curl_slist_append(NULL, "Content-Type: application/x-www-form-urlencoded");
	if (add_assertion(fcm, &request->body) && request->headers != NULL &&
		curl_easy_setopt(request->easy, CURLOPT_HTTPHEADER, request->headers) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_URL, fcm->token_uri) == CURLE_OK)
		return true;
	mktg_outcome_set(&request->deliveries[0]->outcome, MKTG_OUTCOME_RETRY,
					 "not sent: the request for an access token could not be made");
	return false;
}

/* Keeps the token; false if the reply has none. */
static bool
take_token(Fcm *fcm, const char *token)
{
	if (token[0] == '\0' || strlen(token) > MAX_TOKEN || !mktg_header_safe(token, strlen(token)))
		return false;
	snprintf(fcm->authorization_line, sizeof(fcm->authorization_line), "Authorization: Bearer %s", token);
	return true;
}

static int64_t
fcm_authorized(MktgRequest *request)
{
	MktgOutcome *outcome = &request->deliveries[0]->outcome;

	mktg_classify_http(request, outcome);
	if (outcome->kind == MKTG_OUTCOME_SENT)
	{
		json_object *reply = mktg_reply_json(request);
		int64_t		life = mktg_member_number(reply, "expires_in", 0);
		bool		taken = life > 0 && take_token(request->provider->state, mktg_member_text(reply, "access_token", ""));

		json_object_put(reply);
		if (taken)
			return (life < MAX_LIFE ? life : MAX_LIFE) * 1000;
		mktg_outcome_set(outcome, MKTG_OUTCOME_RETRY, "the reply holds none");
	}
	/* what it refuses is our key, or the address of the account */
	if (outcome->kind == MKTG_OUTCOME_PERMANENT)
		outcome->kind = MKTG_OUTCOME_CONFIG;
	mktg_outcome_set(outcome, outcome->kind, "no access token: %s", outcome->reason);
	return 0;
}

/* ---- messages ---- */

static bool
fcm_prepare(MktgRequest *request)
{
	Fcm		   *fcm = request->provider->state;

	return mktg_api_prepare(request, fcm->url, &fcm->type);
}

static bool
refuse(MktgDelivery *delivery, const char *reason)
{
	mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT, "%s", reason);
	return false;
}

static bool
is_token(const char *address)
{
	size_t		length = strspn(address, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_-");

	return length > 0 && length <= MAX_ADDRESS && address[length] == '\0';
}

static bool
is_reserved(const char *key)
{
	return strcmp(key, "from") == 0 || strcmp(key, "message_type") == 0 ||
		strncmp(key, "google.", 7) == 0 || strncmp(key, "gcm.notification.", 17) == 0;
}

/* The first key that is not free to use, or whose value is no text; NULL: all are well. */
static const char *
bad_key(json_object *data)
{
	json_object_object_foreach(data, key, value)
		if (is_reserved(key) || !json_object_is_type(value, json_type_string))
			return key;
	return NULL;
}

static bool
check_data(MktgDelivery *delivery, json_object *data)
{
	const char *key;

	if (!json_object_is_type(data, json_type_object))
		return refuse(delivery, "data: FCM takes an object of texts");
	key = bad_key(data);
	if (key != NULL)
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 is_reserved(key) ? "data: FCM keeps the key \"%.60s\" to itself" :
						 "data: FCM takes texts alone, and \"%.60s\" is none", key);
	return key == NULL;
}

static void
add_json(MktgBuffer *body, const char *start, json_object *value)
{
	mktg_buffer_puts(body, start);
	mktg_buffer_puts(body, json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void
add_text(MktgBuffer *body, const char *start, const char *text, size_t length)
{
	if (text == NULL || length == 0)
		return;
	if (body->data[body->length - 1] != '{')
		mktg_buffer_puts(body, ",");
	mktg_buffer_puts(body, start);
	mktg_buffer_json_string(body, text, length);
}

/* Title, text and picture; where there is none of them only the app sees the message. */
static bool
add_notification(MktgBuffer *body, MktgDelivery *delivery, json_object *data)
{
	json_object *image;
	bool		pictured = json_object_object_get_ex(data, "image", &image) && image != NULL;

	if (pictured && !json_object_is_type(image, json_type_string))
		return refuse(delivery, "image: must be the URL of a picture");
	if (delivery->subject_length == 0 && delivery->body_length == 0 && !pictured)
		return true;
	mktg_buffer_puts(body, ",\"notification\":{");
	add_text(body, "\"title\":", delivery->subject, delivery->subject_length);
	add_text(body, "\"body\":", delivery->body, delivery->body_length);
	if (pictured)
		add_text(body, "\"image\":", json_object_get_string(image), (size_t) json_object_get_string_len(image));
	mktg_buffer_puts(body, "}");
	return true;
}

static bool
add_from_data(MktgBuffer *body, MktgDelivery *delivery, json_object *data)
{
	json_object *value;

	if (json_object_object_get_ex(data, "data", &value) && value != NULL)
	{
		if (!check_data(delivery, value))
			return false;
		add_json(body, ",\"data\":", value);
	}
	for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
	{
		if (!json_object_object_get_ex(data, passed_on[i].name, &value) || value == NULL)
			continue;
		if (!json_object_is_type(value, json_type_object))
		{
			mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT, "%s: must be an object", passed_on[i].name);
			return false;
		}
		add_json(body, passed_on[i].start, value);
	}
	return true;
}

static bool
add_message(MktgBuffer *body, MktgDelivery *delivery, json_object *data)
{
	size_t		start;

	mktg_buffer_json_string(body, delivery->address, strlen(delivery->address));
	start = body->length;
	if (!add_notification(body, delivery, data) || !add_from_data(body, delivery, data))
		return false;
	if (body->length - start > MAX_PAYLOAD)
	{
		mktg_outcome_set(&delivery->outcome, MKTG_OUTCOME_PERMANENT,
						 "the message has %zu bytes, and FCM takes %d", body->length - start, MAX_PAYLOAD);
		return false;
	}
	mktg_buffer_puts(body, "}}");
	return true;
}

static bool
fcm_build(MktgRequest *request)
{
	const Fcm  *fcm = request->provider->state;
	MktgDelivery *delivery = request->deliveries[0];
	json_object *data;
	bool		built;

	if (!is_token(delivery->address))
		return refuse(delivery, "the address is no registration token of FCM");
	data = mktg_data_json(delivery);
	if (data == NULL)
		return refuse(delivery, "template_data is nested too deeply");
	mktg_buffer_puts(&request->body, fcm->validate_only ? "{\"validateOnly\":true,\"message\":{\"token\":" :
					 "{\"message\":{\"token\":");
	built = add_message(&request->body, delivery, data);
	json_object_put(data);
	return built;
}

/* ---- replies ---- */

static const struct
{
	const char *code;
	MktgOutcomeKind kind;
} codes[] = {
	{"UNREGISTERED", MKTG_OUTCOME_SUPPRESS},
	{"INVALID_ARGUMENT", MKTG_OUTCOME_PERMANENT},
	{"SENDER_ID_MISMATCH", MKTG_OUTCOME_CONFIG},
	{"QUOTA_EXCEEDED", MKTG_OUTCOME_RETRY},
	{"UNAVAILABLE", MKTG_OUTCOME_RETRY},
	{"INTERNAL", MKTG_OUTCOME_RETRY},
	{"THIRD_PARTY_AUTH_ERROR", MKTG_OUTCOME_CONFIG},
};

/* What the reply says of an error. */
typedef struct FcmError
{
	char		code[48];		/* of FCM itself, or empty */
	char		message[160];
	bool		names_token;	/* the field that is wrong is the address */
} FcmError;

static bool
names_token(json_object *detail)
{
	json_object *list;

	if (!json_object_object_get_ex(detail, "fieldViolations", &list) || !json_object_is_type(list, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(list); i++)
		if (strcmp(mktg_member_text(json_object_array_get_idx(list, i), "field", ""), "message.token") == 0)
			return true;
	return false;
}

static void
read_error(const MktgRequest *request, FcmError *error)
{
	json_object *reply = mktg_reply_json(request);
	json_object *outer = NULL;
	json_object *details;

	memset(error, 0, sizeof(*error));
	(void) json_object_object_get_ex(reply, "error", &outer);
	snprintf(error->message, sizeof(error->message), "%s", mktg_member_text(outer, "message", ""));
	if (json_object_object_get_ex(outer, "details", &details) && json_object_is_type(details, json_type_array))
		for (size_t i = 0; i < json_object_array_length(details); i++)
		{
			json_object *detail = json_object_array_get_idx(details, i);
			const char *code = mktg_member_text(detail, "errorCode", NULL);

			if (code != NULL)
				snprintf(error->code, sizeof(error->code), "%s", code);
			error->names_token |= names_token(detail);
		}
	json_object_put(reply);
}

/* A certificate or key for Apple's service is not mended by another token. */
static bool
fcm_unauthorized(const MktgRequest *request)
{
	FcmError	error;

	if (request->status != 401)
		return false;
	read_error(request, &error);
	return strcmp(error.code, "THIRD_PARTY_AUTH_ERROR") != 0;
}

/* The id is the last part of "projects/P/messages/ID". */
static void
take_name(const MktgRequest *request, MktgOutcome *outcome)
{
	json_object *reply = mktg_reply_json(request);
	const char *name = mktg_member_text(reply, "name", "");
	const char *slash = strrchr(name, '/');

	snprintf(outcome->provider_id, sizeof(outcome->provider_id), "%s", slash != NULL ? slash + 1 : name);
	json_object_put(reply);
}

static void
fcm_classify(MktgRequest *request)
{
	MktgOutcome *outcome = &request->deliveries[0]->outcome;
	MktgOutcomeKind kind;
	FcmError	error;

	mktg_api_classify(request, outcome);
	if (outcome->kind == MKTG_OUTCOME_SENT)
		take_name(request, outcome);
	if (request->status < 300)
		return;

	kind = outcome->kind;
	read_error(request, &error);
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(error.code, codes[i].code) == 0)
			kind = codes[i].kind;
	if (strcmp(error.code, "INVALID_ARGUMENT") == 0 && error.names_token)
		kind = MKTG_OUTCOME_SUPPRESS;
	if (error.message[0] != '\0')
		mktg_outcome_set(outcome, kind, "FCM %s (HTTP %ld): %s", error.code[0] != '\0' ? error.code : "error",
						 request->status, error.message);
	outcome->kind = kind;
	if (kind == MKTG_OUTCOME_RETRY && request->status == 429 && outcome->retry_after_ms == 0)
		outcome->retry_after_ms = QUOTA_WAIT_MS;
}

const MktgDriver mktg_fcm_driver = {
	.name = "fcm",
	.options = options,
	.max_batch = 1,
	.wants_data = true,
	.http2 = true,
	.protocols = "https",
	.open = fcm_open,
	.close = fcm_close,
	.prepare = fcm_prepare,
	.authorize = fcm_authorize,
	.authorized = fcm_authorized,
	.unauthorized = fcm_unauthorized,
	.build = fcm_build,
	.classify = fcm_classify,
};
