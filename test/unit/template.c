/*-------------------------------------------------------------------------
 *
 * template.c
 *		Unit tests of src/core/template.c.
 *
 * IDENTIFICATION
 *		test/unit/template.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/core.h"
#include "tap.h"

#include "mustache_cases.h"

/* names and values in turn, ending with NULL */
static bool
look_up(void *context, const char *name, size_t name_length,
		const char **value, size_t *length)
{
	const char *const *values = context;

	for (; *values != NULL; values += 2)
		if (strlen(*values) == name_length && memcmp(*values, name, name_length) == 0)
		{
			*value = values[1];
			*length = strlen(values[1]);
			return true;
		}
	return false;
}

static const char *const people[] = {
	"name", "Ana <b>", "_x1", "under", "a.b.c", "deep", "empty", "",
	"all", "&<>\"'", "tag", "{{name}}", NULL
};

/* Source copied to the heap, exactly as long, and given back before rendering. */
static MktgTemplate *
parse(const char *source, size_t length, MktgTemplateError *error)
{
	char	   *copy = malloc(length > 0 ? length : 1);
	MktgTemplate *tpl;

	memcpy(copy, source, length);
	tpl = mktg_template_parse(copy, length, error);
	free(copy);
	return tpl;
}

static void
renders(const char *source, size_t length, MktgEscape escape, const char *const *values,
		const char *want, size_t want_length, const char *name)
{
	MktgTemplateError error;
	MktgTemplate *tpl = parse(source, length, &error);
	MktgBuffer	out = {0};

	if (tpl == NULL)
	{
		ok(false, "%s", name);
		printf("# refused at %zu: %s\n", error.offset, error.message);
		return;
	}
	mktg_template_render(tpl, escape, look_up, (void *) values, &out);
	is_bytes(out.data, out.length, want, want_length, name);
	mktg_buffer_free(&out);
	mktg_template_free(tpl);
}

#define PLAIN(source, want, name) \
	renders(source, sizeof(source) - 1, MKTG_ESCAPE_NONE, people, want, sizeof(want) - 1, name)
#define HTML(source, want, name) \
	renders(source, sizeof(source) - 1, MKTG_ESCAPE_HTML, people, want, sizeof(want) - 1, name)

static void
test_rendering(void)
{
	PLAIN("", "", "an empty text");
	PLAIN("no names", "no names", "a text without names");
	PLAIN("a\0b", "a\0b", "NUL in a text");
	PLAIN("Dear {{name}}!", "Dear Ana <b>!", "a name");
	PLAIN("{{name}}", "Ana <b>", "a name alone");
	PLAIN("{{name}}{{_x1}}{{a.b.c}}", "Ana <b>underdeep", "names side by side");
	PLAIN("{{ name }}{{\t\r\nname\n}}", "Ana <b>Ana <b>", "blanks inside the braces");
	PLAIN("[{{nobody}}{{empty}}]", "[]", "no such name, and no value");
	PLAIN("{{Name}}", "", "small and capital letters differ");
	PLAIN("{name} } }} {", "{name} } }} {", "braces that are no tags");
	PLAIN("{{name}}}", "Ana <b>}", "a brace behind a tag");
	PLAIN("{{tag}}", "{{name}}", "a value is not a template");
	PLAIN("{{{ name }}}{{&name}}{{& name }}{{ & name }}", "Ana <b>Ana <b>Ana <b>Ana <b>", "raw names in plain text");

	HTML("<i>{{all}}</i>", "<i>&amp;&lt;&gt;&quot;&#39;</i>", "HTML: values are escaped, the text is not");
	HTML("{{name}}", "Ana &lt;b&gt;", "HTML: an escape at the end of a value");
	HTML("{{{all}}}{{&all}}", "&<>\"'&<>\"'", "HTML: raw names are not");
	HTML("{{empty}}{{_x1}}", "under", "HTML: values without escapes");
}

static void
test_comments(void)
{
	PLAIN("a{{! b }}c", "ac", "a comment renders nothing");
	PLAIN("{{!}}{{!!}}{{! {{name} }}x", "x", "comments of odd contents");
	PLAIN("a\n {{! own line }} \nb", "a\nb", "a line of a comment alone goes");
	PLAIN("a\r\n{{!x}}\r\nb", "a\r\nb", "with CR and LF too");
	PLAIN("{{!x}}\n{{!y}}\nb{{!z}}\nc", "b\nc", "several lines of comments, and one behind text");
	PLAIN("{{name}} {{!x}}\nb", "Ana <b> \nb", "a line with a name before the comment stays");
	PLAIN("{{!x}} {{name}}\nb", " Ana <b>\nb", "a line with a name behind the comment stays");
	PLAIN("  {{!x}}", "", "the only line");
}

static void
refuses(const char *source, size_t length, size_t offset, const char *message)
{
	MktgTemplateError error;
	MktgTemplate *tpl = parse(source, length, &error);

	if (!ok(tpl == NULL && error.offset == offset && strcmp(error.message, message) == 0,
			"refuses \"%.40s\"", source))
		printf("# %s at %zu: %s\n", tpl != NULL ? "taken" : "refused", error.offset, error.message);
	mktg_template_free(tpl);
}

#define REFUSE(source, offset, message) refuses(source, sizeof(source) - 1, offset, message)

#define UNCLOSED "\"{{\" is not closed by \"}}\""
#define UNCLOSED3 "\"{{{\" is not closed by \"}}}\""
#define MISSING "a name is missing between the braces"
#define LETTERS "a name may hold only letters, digits, \"_\" and \".\""
#define START "a name must start with a letter or \"_\""
#define SECTIONS "sections ({{#name}}, {{^name}}, {{/name}}) are not supported yet"

static void
test_errors(void)
{
	REFUSE("ab{{name", 2, UNCLOSED);
	REFUSE("ab{{name}", 2, UNCLOSED);
	REFUSE("{{", 0, UNCLOSED);
	REFUSE("a{{name}}{{!never closed", 9, UNCLOSED);
	REFUSE("a{{{name}}", 1, UNCLOSED3);
	REFUSE("a{{{name} }}", 1, UNCLOSED3);
	REFUSE("{{{", 0, UNCLOSED3);
	REFUSE("a{{}}", 1, MISSING);
	REFUSE("a{{ \n }}", 1, MISSING);
	REFUSE("a{{{}}}", 1, MISSING);
	REFUSE("a{{& }}", 1, MISSING);
	REFUSE("Hi {{first name}}", 11, LETTERS);
	REFUSE("Hi {{first-name}}", 10, LETTERS);
	REFUSE("Hi {{{a}} }}}", 7, LETTERS);
	REFUSE("Hi {{n\xC3\xA4me}}", 6, LETTERS);
	REFUSE("Hi {{a\0}}", 6, LETTERS);
	REFUSE("Hi {{1st}}", 5, START);
	REFUSE("Hi {{.}}", 5, START);
	REFUSE("Hi {{{{name}}}}", 6, START);
	REFUSE("x{{#list}}", 1, SECTIONS);
	REFUSE("x{{/list}}", 1, SECTIONS);
	REFUSE("x{{^list}}", 1, SECTIONS);
	REFUSE("x{{ # list}}", 1, SECTIONS);
	REFUSE("x{{>part}}", 1, "partials ({{>name}}) are not supported yet");
	REFUSE("x{{<part}}", 1, "inheritance ({{<name}}, {{$name}}) is not supported yet");
	REFUSE("x{{$part}}", 1, "inheritance ({{<name}}, {{$name}}) is not supported yet");
	REFUSE("x{{=<% %>=}}", 1, "changing the delimiters ({{= =}}) is not supported yet");
}

static void
count_name(void *context, const char *name, size_t length)
{
	MktgBuffer *names = context;

	mktg_buffer_add(names, name, length);
	mktg_buffer_puts(names, ";");
}

static void
test_limits(void)
{
	MktgTemplateError error;
	char		source[206] = "{{";
	char	   *big;
	MktgTemplate *tpl;

	memset(source + 2, 'n', 200);
	memcpy(source + 202, "}}", 2);
	tpl = parse(source, 204, &error);
	ok(tpl != NULL, "a name of 200 bytes");
	mktg_template_free(tpl);
	memcpy(source + 202, "n}}", 3);
	tpl = parse(source, 205, &error);
	ok(tpl == NULL && error.offset == 2 && strcmp(error.message, "a name is longer than 200 bytes") == 0,
	   "and one of 201");

	big = malloc(16 * 1024 * 1024 + 1);
	memset(big, 'x', 16 * 1024 * 1024 + 1);
	tpl = mktg_template_parse(big, 16 * 1024 * 1024, &error);
	ok(tpl != NULL, "a text of 16 MB");
	mktg_template_free(tpl);
	tpl = mktg_template_parse(big, 16 * 1024 * 1024 + 1, &error);
	ok(tpl == NULL && strcmp(error.message, "the text is longer than 16 MB") == 0, "and a byte more");
	free(big);

	tpl = mktg_template_parse(NULL, 0, &error);
	ok(tpl != NULL, "no text at all is an empty one");
	mktg_template_free(tpl);
	mktg_template_free(NULL);
}

static void
test_output(void)
{
	MktgTemplateError error;
	MktgTemplate *tpl = parse("{{name}}, {{! x }}{{{all}}} {{name}}", 36, &error);
	MktgBuffer	names = {0};
	MktgBuffer	out = {.limit = 18};

	mktg_template_names(tpl, count_name, &names);
	is_string(names.data, "name;all;name;", "names in their order, each time they stand there");
	mktg_buffer_free(&names);

	ok(!mktg_template_render(tpl, MKTG_ESCAPE_HTML, look_up, (void *) people, &out) && out.failed,
	   "output over the limit fails");
	ok(out.length <= 18, "and stays within it");
	mktg_buffer_clear(&out);
	out.limit = 0;
	mktg_buffer_puts(&out, "> ");
	ok(mktg_template_render(tpl, MKTG_ESCAPE_NONE, look_up, (void *) people, &out), "rendering again works");
	is_string(out.data, "> Ana <b>, &<>\"' Ana <b>", "and adds to what is there");
	mktg_buffer_free(&out);
	mktg_template_free(tpl);
}

static void
test_spec(void)
{
	size_t		i;

	for (i = 0; cases[i].name != NULL; i++)
	{
		char		name[200];

		snprintf(name, sizeof(name), "Mustache: %s", cases[i].name);
		renders(cases[i].template, strlen(cases[i].template), MKTG_ESCAPE_HTML, cases[i].values,
				cases[i].expected, strlen(cases[i].expected), name);
	}
	if (i == 0)
		skip("the Mustache specification is not here");
}

int
main(void)
{
	test_rendering();
	test_comments();
	test_errors();
	test_limits();
	test_output();
	test_spec();
	return tap_done();
}
