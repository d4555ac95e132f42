/*-------------------------------------------------------------------------
 *
 * classify.c
 *		What a reply, or the lack of one, says about a message.
 *
 * The one question that matters: can the provider have taken it?  A reply
 * says so itself.  Without one, a request of which no byte left this machine
 * was not taken and may go again; of any other nobody knows.
 *
 * IDENTIFICATION
 *		src/provider/classify.c
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <json-c/json.h>

#include "provider/provider.h"

#define BLANK			"[...]"
#define LONG_NUMBER		7		/* digits of the shortest phone numbers */
#define SECRET_LENGTH	24		/* keys of providers are longer than words */
#define TEXT_SIZE		1024
#define REPLY_TEXT_SIZE	200
#define JSON_DEPTH		32		/* replies nest a few levels */

/* ---- reasons ---- */

static bool
is_separator(char c)
{
	return strchr(" <>()[]{}\",;:'=", c) != NULL;
}

/* Must this word not be seen?  Addresses, phone numbers, keys. */
static bool
is_private(const char *word, size_t length)
{
	size_t		digits = 0;
	size_t		letters = 0;
	size_t		run = 0;

	for (size_t i = 0; i < length; i++)
	{
		if (word[i] == '@')
			return true;
		if (isdigit((unsigned char) word[i]))
		{
			digits++;
			if (++run >= LONG_NUMBER)
				return true;
		}
		else
		{
			if (word[i] != '-')
				run = 0;
			if (isalpha((unsigned char) word[i]))
				letters++;
		}
	}
	return length >= SECRET_LENGTH && digits > 0 && letters > 0;
}

/* Copies "text" into the reason, private words blanked out. */
static void
scrub(const char *text, char *out, size_t size)
{
	size_t		used = 0;

	while (*text != '\0' && used + 1 < size)
	{
		size_t		length = 0;
		const char *word = text;

		while (text[length] != '\0' && !is_separator(text[length]))
			length++;
		text += length;
		if (length == 0)
			length = 1, text++;	/* the separator itself */
		else if (is_private(word, length))
		{
			word = BLANK;
			length = strlen(BLANK);
		}
		if (length > size - 1 - used)
			length = size - 1 - used;
		memcpy(out + used, word, length);
		used += length;
	}
	out[used] = '\0';
}

void
mktg_outcome_set(MktgOutcome *outcome, MktgOutcomeKind kind, const char *format, ...)
{
	char		text[TEXT_SIZE];
	va_list		args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *c = text; *c != '\0'; c++)
	{
		if (isspace((unsigned char) *c))
			*c = ' ';
		else if (*c < 0x20 || *c > 0x7E)
			*c = '?';
	}
	outcome->kind = kind;
	scrub(text, outcome->reason, sizeof(outcome->reason));
}

const char *
mktg_reply_text(const MktgRequest *request, char *out, size_t size)
{
	size_t		length = request->reply.length;
	size_t		skip = 0;

	while (skip < length && isspace((unsigned char) request->reply.data[skip]))
		skip++;
	length -= skip;
	if (length == 0)
		return "no reply text";
	if (length > size - 1)
		length = size - 1;
	memcpy(out, request->reply.data + skip, length);
	out[length] = '\0';
	/* a NUL would end it early, and only that */
	return out;
}

void
mktg_outcome_all(const MktgRequest *request, const MktgOutcome *outcome)
{
	for (int i = 0; i < request->count; i++)
		if (request->deliveries[i]->outcome.kind == MKTG_OUTCOME_NONE)
			request->deliveries[i]->outcome = *outcome;
}

/* ---- replies ---- */

/* Text with a NUL behind its last byte, which ends a number that stands alone. */
static json_object *
parse_json(const char *text, size_t length)
{
	json_tokener *tokener;
	json_object *object;

	if (length == 0)
		return NULL;
	tokener = json_tokener_new_ex(JSON_DEPTH);
	if (tokener == NULL)
		return NULL;
	object = json_tokener_parse_ex(tokener, text, (int) length + 1);
	if (json_tokener_get_error(tokener) != json_tokener_success)
	{
		json_object_put(object);
		object = NULL;
	}
	json_tokener_free(tokener);
	return object;
}

struct json_object *
mktg_reply_json(const MktgRequest *request)
{
	return parse_json(request->reply.data, request->reply.length);
}

struct json_object *
mktg_data_json(const MktgDelivery *delivery)
{
	return parse_json(delivery->data, delivery->data_length);
}

const char *
mktg_member_text(struct json_object *object, const char *name, const char *fallback)
{
	json_object *member;

	if (json_object_object_get_ex(object, name, &member) &&
		json_object_is_type(member, json_type_string))
		return json_object_get_string(member);
	return fallback;
}

int64_t
mktg_member_number(struct json_object *object, const char *name, int64_t fallback)
{
	json_object *member;

	if (json_object_object_get_ex(object, name, &member) &&
		json_object_is_type(member, json_type_int))
		return json_object_get_int64(member);
	return fallback;
}

const char *
mktg_reply_header(const MktgRequest *request, const char *name)
{
	struct curl_header *header;

	if (request->easy != NULL &&
		curl_easy_header(request->easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK)
		return header->value;
	return NULL;
}

/* ---- HTTP ---- */

bool
mktg_request_never_sent(const MktgRequest *request)
{
	return !request->may_have_arrived;
}

/* No reply came: what libcurl says. */
static void
classify_error(const MktgRequest *request, MktgOutcome *outcome)
{
	const char *error = request->error[0] != '\0' ? request->error :
		curl_easy_strerror(request->result);

	if (request->may_have_arrived)
	{
		mktg_outcome_set(outcome, MKTG_OUTCOME_DOUBT, "no reply: %s", error);
		return;
	}
	if (request->refused_address)
	{
		mktg_outcome_set(outcome, MKTG_OUTCOME_PERMANENT,
						 "the target's network address is not allowed");
		return;
	}
	switch (request->result)
	{
		case CURLE_URL_MALFORMAT:
		case CURLE_UNSUPPORTED_PROTOCOL:
			mktg_outcome_set(outcome, MKTG_OUTCOME_PERMANENT, "not sent: %s", error);
			break;

			/* what trying again will not mend: certificates, files, proxies, builds */
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_COULDNT_RESOLVE_PROXY:
		case CURLE_NOT_BUILT_IN:
		case CURLE_LOGIN_DENIED:
		case CURLE_USE_SSL_FAILED:
			mktg_outcome_set(outcome, MKTG_OUTCOME_CONFIG, "not sent: %s", error);
			break;
		default:
			mktg_outcome_set(outcome, MKTG_OUTCOME_RETRY, "not sent: %s", error);
			break;
	}
}

static MktgOutcomeKind
kind_of_status(long status)
{
	switch (status)
	{
		case 401:
		case 403:
		case 407:
			return MKTG_OUTCOME_CONFIG;
		case 408:
		case 425:
		case 429:
			return MKTG_OUTCOME_RETRY;
		default:
			return status >= 500 ? MKTG_OUTCOME_RETRY : MKTG_OUTCOME_PERMANENT;
	}
}

/*
 * A status that has come counts even where the transfer then broke: the
 * provider had decided.
 */
void
mktg_classify_http(const MktgRequest *request, MktgOutcome *outcome)
{
	char		text[REPLY_TEXT_SIZE];

	if (request->status < 200)
		classify_error(request, outcome);
	else if (request->status < 300)
		outcome->kind = MKTG_OUTCOME_SENT;
	else
	{
		mktg_outcome_set(outcome, kind_of_status(request->status), "HTTP %ld: %s",
						 request->status, mktg_reply_text(request, text, sizeof(text)));
		if (outcome->kind == MKTG_OUTCOME_RETRY && request->retry_after[0] != '\0')
		{
			int64_t		wait = mktg_retry_after_ms(request->retry_after, (int64_t) time(NULL));

			outcome->retry_after_ms = wait > 0 ? wait : 0;
		}
	}
}
