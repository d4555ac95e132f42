/*-------------------------------------------------------------------------
 *
 * rule_json.c
 *		Rules as JSON text, read by json-c.
 *
 * A look over the text before that refuses what json-c would take or change in
 * silence (NUL, NaN, leading zeros, keys in single quotes) and bounds the depth,
 * and with it every recursion over what comes out.
 *
 * IDENTIFICATION
 *		src/core/rule_json.c
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "core/rule_parse.h"

static bool
not_json(MktgRuleError *error, size_t offset, const char *reason)
{
	mktg_rule_fail(error, AT("", NULL), "rules are not valid JSON");
	return mktg_rule_hint(error, "The JSON parser stopped after %zu bytes: %s.", offset, reason);
}

static const char *
skip_digits(const char *at, const char *end)
{
	while (at < end && *at >= '0' && *at <= '9')
		at++;
	return at;
}

/* Behind the number at "at"; NULL if it is none in JSON. */
static const char *
skip_number(const char *at, const char *end)
{
	const char *digits;

	if (*at == '-')
		at++;
	digits = at;
	at = skip_digits(at, end);
	if (at == digits || (at - digits > 1 && *digits == '0'))
		return NULL;
	if (at < end && *at == '.')
	{
		digits = at + 1;
		at = skip_digits(digits, end);
		if (at == digits)
			return NULL;
	}
	if (at < end && (*at == 'e' || *at == 'E'))
	{
		at++;
		if (at < end && (*at == '+' || *at == '-'))
			at++;
		digits = at;
		at = skip_digits(digits, end);
		if (at == digits)
			return NULL;
	}
	return at;
}

/* Behind the closing quote of the string whose text starts at "at"; NULL and *error on a NUL. */
static const char *
skip_string(const char *at, const char *end, MktgRuleError *error)
{
	for (; at < end && *at != '"'; at++)
	{
		if (*at != '\\')
			continue;
		if (end - at > 5 && memcmp(at, "\\u0000", 6) == 0)
		{
			mktg_rule_fail(error, AT("", NULL), "rules hold a NUL character");
			return NULL;
		}
		if (++at == end)
			break;
	}
	return at < end ? at + 1 : end;
}

/* Refuses what json-c does not, and what is too large for it. */
static bool
look_over(const char *json, size_t length, MktgRuleError *error)
{
	const char *at = json;
	const char *end = json + length;
	int			depth = 0;

	if (memchr(json, '\0', length) != NULL)
		return mktg_rule_fail(error, AT("", NULL), "rules hold a NUL character");
	while (at < end)
	{
		const char *token = at++;

		switch (*token)
		{
			case '"':
				at = skip_string(at, end, error);
				if (at == NULL)
					return false;
				break;
			case '{':
			case '[':
				if (++depth <= MKTG_RULE_MAX_DEPTH)
					break;
				mktg_rule_fail(error, AT("", NULL), "rules are nested too deeply");
				error->too_large = true;
				return mktg_rule_hint(error, "Objects and arrays may be nested at most %d deep.",
									  MKTG_RULE_MAX_DEPTH);
			case '}':
			case ']':
				depth--;
				break;
			case '\'':
			case 'N':
			case 'I':
				return not_json(error, (size_t) (token - json), "unexpected character");
			default:
				if (*token != '-' && (*token < '0' || *token > '9'))
					break;
				at = skip_number(token, end);
				if (at == NULL)
					return not_json(error, (size_t) (token - json), "number expected");
		}
	}
	return true;
}

/* Parses the whole text; a state of success means that nothing is left of it. */
static enum json_tokener_error
parse(json_tokener *tokener, const char *text, size_t length, json_object **json, size_t *end)
{
	*json = json_tokener_parse_ex(tokener, text, (int) length);
	*end = json_tokener_get_parse_end(tokener);
	if (json_tokener_get_error(tokener) != json_tokener_continue)
		return *end < length && json_tokener_get_error(tokener) == json_tokener_success ?
			json_tokener_error_parse_unexpected : json_tokener_get_error(tokener);

	/* the NUL says that nothing more comes */
	*json = json_tokener_parse_ex(tokener, "", 1);
	*end = length;
	return json_tokener_get_error(tokener);
}

bool
mktg_rule_json(const char *text, size_t length, json_object **json, MktgRuleError *error)
{
	json_tokener *tokener;
	enum json_tokener_error state;
	size_t		end;

	*json = NULL;
	if (!look_over(text, length, error))
		return false;
	/* more than look_over() lets through, for the scalars inside */
	tokener = json_tokener_new_ex(MKTG_RULE_MAX_DEPTH + 2);
	if (tokener == NULL)
		return mktg_rule_out_of_memory(error);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	state = parse(tokener, text, length, json, &end);
	json_tokener_free(tokener);
	if (state == json_tokener_success)
		return true;
	json_object_put(*json);
	*json = NULL;
	return not_json(error, end, json_tokener_error_desc(state));
}
