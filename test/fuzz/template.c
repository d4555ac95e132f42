/*-------------------------------------------------------------------------
 *
 * template.c
 *		Fuzzes templates: taken or refused in bounds, rendered within limits.
 *
 * IDENTIFICATION
 *		test/fuzz/template.c
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

typedef struct Seen
{
	size_t		names;
	size_t		bytes;			/* of names */
} Seen;

static void
check_name(const char *name, size_t length)
{
	size_t		i;

	PROMISE(length >= 1 && length <= 200);
	PROMISE(name[0] != '.' && !(name[0] >= '0' && name[0] <= '9'));
	for (i = 0; i < length; i++)
		PROMISE(name[i] != '\0' &&
				strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.",
					   name[i]) != NULL);
}

static void
see(void *context, const char *name, size_t length)
{
	Seen	   *seen = context;

	check_name(name, length);
	seen->names++;
	seen->bytes += length;
}

/* Some names have no value, some one of dangerous characters alone. */
static bool
look_up(void *context, const char *name, size_t name_length, const char **value, size_t *length)
{
	size_t	   *calls = context;

	check_name(name, name_length);
	(*calls)++;
	if (name_length % 3 == 0)
		return false;
	*value = "<\"&'>";
	*length = name_length % 3 == 1 ? 5 : 0;
	return true;
}

/* Values without names in them: length of the text alone. */
static bool
nothing(void *context, const char *name, size_t name_length, const char **value, size_t *length)
{
	return false;
}

static void
check_taken(const MktgTemplate *tpl, size_t size)
{
	Seen		seen = {0, 0};
	size_t		calls = 0;
	MktgBuffer	html = {0};
	MktgBuffer	plain = {0};
	MktgBuffer	text = {0};
	MktgBuffer	tight = {0};

	mktg_template_names(tpl, see, &seen);
	PROMISE(mktg_template_render(tpl, MKTG_ESCAPE_HTML, look_up, &calls, &html));
	PROMISE(calls == seen.names);
	PROMISE(mktg_template_render(tpl, MKTG_ESCAPE_NONE, look_up, &calls, &plain));
	PROMISE(mktg_template_render(tpl, MKTG_ESCAPE_NONE, nothing, NULL, &text));

	/* braces and names of tags are gone, and nothing else comes from the source */
	PROMISE(text.length + 4 * seen.names + seen.bytes <= size);
	PROMISE(plain.length >= text.length && plain.length <= text.length + 5 * seen.names);
	PROMISE(html.length >= plain.length && html.length <= text.length + 24 * seen.names);

	if (html.length > 1)
	{
		tight.limit = html.length - 1;
		PROMISE(!mktg_template_render(tpl, MKTG_ESCAPE_HTML, look_up, &calls, &tight));
		PROMISE(tight.failed && tight.length <= tight.limit);
		mktg_buffer_free(&tight);
	}
	mktg_buffer_free(&text);
	mktg_buffer_free(&plain);
	mktg_buffer_free(&html);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	MktgTemplateError error;
	MktgTemplate *tpl = mktg_template_parse((const char *) data, size, &error);

	if (tpl == NULL)
	{
		PROMISE(error.offset < size);
		PROMISE(error.message[0] != '\0' && strlen(error.message) < sizeof(error.message) - 1);
		return 0;
	}
	check_taken(tpl, size);
	mktg_template_free(tpl);
	return 0;
}
