/*-------------------------------------------------------------------------
 *
 * create_template.c
 *		Templates and their versions.
 *
 * A version is never changed once it is written: a message that was queued
 * with one can be rendered again as it was.
 *
 * IDENTIFICATION
 *		src/template/create_template.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "base/base.h"
#include "core/core.h"

#define MAX_TEXT		(1024 * 1024)	/* bytes of a body */
#define MAX_SUBJECT		1000	/* bytes; a header line has 998 at most (RFC 5322, 2.1.1) */
#define MAX_LOCALE		35		/* bytes; RFC 5646, 4.4.1 */

static char *read_text(FunctionCallInfo fcinfo, int n, const char *what, Size limit);
static void check_syntax(const char *what, const char *source);
static void check_subject(const char *channel, const char *subject);
static void check_locale(const char *locale);

PG_FUNCTION_INFO_V1(mktg_create_template);

/*
 * SQL: mktg.create_template(name text, channel text, subject text, html text,
 *		body text, locale text, category text, tenant bigint) returns bigint
 *
 * Errors: MK010 unknown tenant, MK012 unknown channel, MK020 invalid name,
 * MK023 texts that make no template, MK024 invalid locale, MK025 too large,
 * MK032 channel ads.
 */
Datum
mktg_create_template(PG_FUNCTION_ARGS)
{
	/* The row of the template is locked by DO UPDATE: two at once give two versions. */
	static MktgQuery query =
		MKTG_QUERY("WITH t AS (INSERT INTO mktg.template AS t (tenant_id, name, channel, category)"
				   "  VALUES ($1, $2, $3, $4)"
				   "  ON CONFLICT (tenant_id, channel, name) DO UPDATE"
				   "  SET version = t.version + 1, category = excluded.category"
				   "  RETURNING t.tenant_id, t.template_id, t.version)"
				   " INSERT INTO mktg.template_version"
				   "  (tenant_id, template_id, version, locale, subject, html, body)"
				   " SELECT t.tenant_id, t.template_id, t.version, $5, $6, $7, $8 FROM t"
				   " RETURNING template_id",
				   INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID);
	char	   *name = mktg_text_argument(fcinfo, 0, "name");
	char	   *channel = mktg_text_argument(fcinfo, 1, "channel");
	char	   *subject = read_text(fcinfo, 2, "subject", MAX_SUBJECT);
	char	   *html = read_text(fcinfo, 3, "html", MAX_TEXT);
	char	   *body = read_text(fcinfo, 4, "body", MAX_TEXT);
	char	   *locale = read_text(fcinfo, 5, "locale", MAX_LOCALE);
	char	   *category = mktg_text_argument(fcinfo, 6, "category");
	int64		tenant = mktg_int64_argument(fcinfo, 7, "tenant");
	int64		template_id;

	mktg_require_name("template", name);
	mktg_require_channel(channel);
	if (strcmp(channel, "ads") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_WRONG_CHANNEL),
				 errmsg("channel ads has no templates"),
				 errhint("mktg.sync_segment() and mktg.send_conversion() need none.")));
	mktg_require_name("template category", category);
	check_locale(locale);
	check_subject(channel, subject);
	if (html == NULL && body == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_TEMPLATE),
				 errmsg("template has neither html nor body"),
				 errhint("Give at least one of \"html\" and \"body\"; a subject alone is no message.")));
	check_syntax("html", html);
	check_syntax("body", body);

	mktg_begin();
	mktg_require_tenant(tenant);
	mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(name), MKTG_TEXT(channel),
			  MKTG_TEXT(category), MKTG_TEXT(locale), MKTG_TEXT(subject),
			  MKTG_TEXT(html), MKTG_TEXT(body));
	template_id = mktg_int64_at(0, 1);
	mktg_end();
	PG_RETURN_INT64(template_id);
}

/* An optional text; NULL and the empty text are NULL. */
static char *
read_text(FunctionCallInfo fcinfo, int n, const char *what, Size limit)
{
	Size		size;

	if (PG_ARGISNULL(n))
		return NULL;
	size = VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(n));
	if (size > limit)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_TOO_LARGE),
				 errmsg("\"%s\" of a template is too large", what),
				 errdetail("It has %zu bytes, at most %zu are allowed.", size, limit),
				 errhint("Shorten it.")));
	return size == 0 ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

static void
check_syntax(const char *what, const char *source)
{
	MktgTemplate *parsed;
	MktgTemplateError error = {0};

	if (source == NULL)
		return;
	parsed = mktg_template_parse(source, strlen(source), &error);
	if (parsed == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_TEMPLATE),
				 errmsg("syntax error in \"%s\" of a template", what),
				 errdetail("At byte %zu: %s.", error.offset, error.message),
				 errhint("Names are written {{name}}; see the page on templates.")));
	mktg_template_free(parsed);
}

static void
check_subject(const char *channel, const char *subject)
{
	if (subject == NULL || strspn(subject, " \t") == strlen(subject))
	{
		if (strcmp(channel, "email") == 0)
			ereport(ERROR,
					(errcode(ERRCODE_MKTG_INVALID_TEMPLATE),
					 errmsg("template for channel \"%s\" has no subject", channel),
					 errhint("Give \"subject\" a text.")));
		return;
	}
	if (!mktg_header_safe(subject, strlen(subject)))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_TEMPLATE),
				 errmsg("subject of a template must be one line"),
				 errdetail("It holds a line break or another control character."),
				 errhint("Write the subject without it.")));
	check_syntax("subject", subject);
}

/* Letters and digits with - or _ between, as in "en", "pt_BR", "zh-Hant-TW". */
static void
check_locale(const char *locale)
{
	const char *at = locale;

	if (locale == NULL)
		return;
	for (;;)
	{
		size_t		length = strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");

		if (length < 1 || length > 8 || (at[length] != '\0' && strchr("-_", at[length]) == NULL))
			break;
		if (at[length] == '\0')
			return;
		at += length + 1;
	}
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_VALUE),
			 errmsg("invalid locale \"%s\"", locale),
			 errhint("Write it like en, pt_BR or zh-Hant-TW.")));
}
