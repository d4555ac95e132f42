/*-------------------------------------------------------------------------
 *
 * template.c
 *		Texts with {{name}} in them.
 *
 * The part of Mustache that needs no data structure: names, raw names and
 * comments.  What Mustache has beyond that is refused, not passed through, so
 * that no text changes its meaning when it arrives.
 *
 * A parsed template is one block of memory: the parts, and behind them the
 * source they point into.  Rendering copies runs of bytes and asks for values;
 * it changes nothing, so one template may render in several places at once.
 *
 * IDENTIFICATION
 *		src/core/template.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"

#define MAX_SOURCE		(16 * 1024 * 1024)
#define MAX_NAME		200

/* a run of text, and the name whose value follows it */
typedef struct Part
{
	uint32_t	text;			/* offsets into the source */
	uint32_t	text_length;
	uint32_t	name;
	uint16_t	name_length;	/* 0: nothing follows the text */
	bool		raw;
} Part;

struct MktgTemplate
{
	const char *source;
	size_t		n_parts;
	Part		parts[];
};

typedef struct Parser
{
	const char *source;
	const char *at;
	const char *end;
	const char *text;			/* where the run of text not yet in a part begins */
	MktgTemplate *tpl;
	MktgTemplateError *error;
} Parser;

static bool
fail(Parser *parser, const char *at, const char *message)
{
	parser->error->offset = (size_t) (at - parser->source);
	snprintf(parser->error->message, sizeof(parser->error->message), "%s", message);
	return false;
}

/* First place of "needle" (two or three bytes) at or after "at"; NULL if none. */
static const char *
find(const char *at, const char *end, const char *needle, size_t length)
{
	while ((size_t) (end - at) >= length)
	{
		at = memchr(at, needle[0], (size_t) (end - at) - length + 1);
		if (at == NULL)
			return NULL;
		if (memcmp(at, needle, length) == 0)
			return at;
		at++;
	}
	return NULL;
}

static inline bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *
skip_blanks(const char *at, const char *end)
{
	while (at < end && is_blank(*at))
		at++;
	return at;
}

static inline bool
starts_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Ends the run of text at "text_end", followed by a name or (length 0) by none. */
static void
add_part(Parser *parser, const char *text_end, const char *name, size_t name_length, bool raw)
{
	Part	   *part = &parser->tpl->parts[parser->tpl->n_parts++];

	part->text = (uint32_t) (parser->text - parser->source);
	part->text_length = (uint32_t) (text_end - parser->text);
	part->name = (uint32_t) (name - parser->source);
	part->name_length = (uint16_t) name_length;
	part->raw = raw;
}

/*
 * A comment that has its lines for itself takes the blanks before it and the
 * line end behind it away, as Mustache wants; other comments leave the text
 * around them alone.
 */
static void
add_comment(Parser *parser, const char *open, const char *after)
{
	const char *line = open;
	const char *rest = after;

	/* a tag earlier in the line shows as a text run that begins in the line */
	while (line > parser->text && (line[-1] == ' ' || line[-1] == '\t'))
		line--;
	while (rest < parser->end && (*rest == ' ' || *rest == '\t'))
		rest++;
	if (parser->end - rest >= 2 && rest[0] == '\r' && rest[1] == '\n')
		rest++;

	if ((line == parser->source || line[-1] == '\n') &&
		(rest == parser->end || *rest == '\n'))
	{
		open = line;
		after = rest == parser->end ? rest : rest + 1;
	}
	add_part(parser, open, open, 0, false);
	parser->at = parser->text = after;
}

/* Says which part of Mustache a tag wanted; false if it is of a kind there is. */
static bool
refuse_unsupported(Parser *parser, const char *open, char sigil)
{
	switch (sigil)
	{
		case '#':
		case '^':
		case '/':
			fail(parser, open, "sections ({{#name}}, {{^name}}, {{/name}}) are not supported yet");
			return true;
		case '>':
			fail(parser, open, "partials ({{>name}}) are not supported yet");
			return true;
		case '<':
		case '$':
			fail(parser, open, "inheritance ({{<name}}, {{$name}}) is not supported yet");
			return true;
		case '=':
			fail(parser, open, "changing the delimiters ({{= =}}) is not supported yet");
			return true;
	}
	return false;
}

/* Reads the name between "at" and "close", where the closing braces are. */
static bool
parse_name(Parser *parser, const char *open, const char *at, const char *close, bool raw,
		   size_t close_length)
{
	const char *name;
	size_t		length;

	name = at = skip_blanks(at, close);
	if (at == close)
		return fail(parser, open, "a name is missing between the braces");
	if (!starts_name(*at))
		return fail(parser, at, "a name must start with a letter or \"_\"");
	while (at < close && (starts_name(*at) || (*at >= '0' && *at <= '9') || *at == '.'))
		at++;
	length = (size_t) (at - name);
	if (length > MAX_NAME)
		return fail(parser, name, "a name is longer than 200 bytes");
	at = skip_blanks(at, close);
	if (at != close)
		return fail(parser, at, "a name may hold only letters, digits, \"_\" and \".\"");

	add_part(parser, open, name, length, raw);
	parser->at = parser->text = close + close_length;
	return true;
}

/* Parses the tag whose braces open at "open". */
static bool
parse_tag(Parser *parser, const char *open)
{
	const char *at = open + 2;
	const char *close;
	bool		triple = at < parser->end && *at == '{';

	close = find(triple ? at + 1 : at, parser->end, "}}}", triple ? 3 : 2);
	if (close == NULL)
		return fail(parser, open, triple ? "\"{{{\" is not closed by \"}}}\"" :
					"\"{{\" is not closed by \"}}\"");
	if (triple)
		return parse_name(parser, open, at + 1, close, true, 3);

	at = skip_blanks(at, close);
	if (at < close)
	{
		if (*at == '!')
		{
			add_comment(parser, open, close + 2);
			return true;
		}
		if (*at == '&')
			return parse_name(parser, open, at + 1, close, true, 2);
		if (refuse_unsupported(parser, open, *at))
			return false;
	}
	return parse_name(parser, open, at, close, false, 2);
}

/* Memory for a template of as many parts as there can be at most. */
static MktgTemplate *
allocate(const char *source, size_t length)
{
	const char *at = source;
	const char *end = source + length;
	size_t		n_parts = 1;
	size_t		head;
	MktgTemplate *tpl;

	while ((at = find(at, end, "{{", 2)) != NULL)
	{
		n_parts++;
		at += 2;
	}
	/* cannot overflow: the source is limited, and a part needs two bytes of it */
	head = offsetof(MktgTemplate, parts) + n_parts * sizeof(Part);
	tpl = malloc(head + length + 1);
	if (tpl == NULL)
		return NULL;
	memcpy((char *) tpl + head, source, length);
	((char *) tpl)[head + length] = '\0';
	tpl->source = (char *) tpl + head;
	tpl->n_parts = 0;
	return tpl;
}

MktgTemplate *
mktg_template_parse(const char *source, size_t length, MktgTemplateError *error)
{
	Parser		parser = {.error = error};
	const char *open;

	error->offset = 0;
	error->message[0] = '\0';
	if (length == 0)
		source = "";
	parser.source = source;
	if (length > MAX_SOURCE)
	{
		fail(&parser, source, "the text is longer than 16 MB");
		return NULL;
	}
	parser.tpl = allocate(source, length);
	if (parser.tpl == NULL)
	{
		fail(&parser, source, "out of memory");
		return NULL;
	}

	parser.source = parser.at = parser.text = parser.tpl->source;
	parser.end = parser.source + length;
	while ((open = find(parser.at, parser.end, "{{", 2)) != NULL)
	{
		if (!parse_tag(&parser, open))
		{
			free(parser.tpl);
			return NULL;
		}
	}
	if (parser.text < parser.end)
		add_part(&parser, parser.end, parser.end, 0, false);
	return parser.tpl;
}

void
mktg_template_free(MktgTemplate *tpl)
{
	free(tpl);
}

/* What HTML wants instead of a byte; NULL where the byte may stand. */
static inline const char *
html_entity(char c)
{
	switch (c)
	{
		case '&':
			return "&amp;";
		case '<':
			return "&lt;";
		case '>':
			return "&gt;";
		case '"':
			return "&quot;";
		case '\'':
			return "&#39;";
	}
	return NULL;
}

static void
add_html(MktgBuffer *out, const char *value, size_t length)
{
	size_t		run = 0;
	size_t		i;

	for (i = 0; i < length && !out->failed; i++)
	{
		const char *entity = html_entity(value[i]);

		if (entity == NULL)
			continue;
		mktg_buffer_add(out, value + run, i - run);
		mktg_buffer_puts(out, entity);
		run = i + 1;
	}
	mktg_buffer_add(out, value + run, length - run);
}

bool
mktg_template_render(const MktgTemplate *tpl, MktgEscape escape,
					 MktgTemplateLookup lookup, void *context, MktgBuffer *out)
{
	size_t		i;

	for (i = 0; i < tpl->n_parts && !out->failed; i++)
	{
		const Part *part = &tpl->parts[i];
		const char *value = NULL;
		size_t		length = 0;

		mktg_buffer_add(out, tpl->source + part->text, part->text_length);
		if (part->name_length == 0 ||
			!lookup(context, tpl->source + part->name, part->name_length, &value, &length) ||
			length == 0)
			continue;
		if (escape == MKTG_ESCAPE_HTML && !part->raw)
			add_html(out, value, length);
		else
			mktg_buffer_add(out, value, length);
	}
	return !out->failed;
}

void
mktg_template_names(const MktgTemplate *tpl,
					void (*visit) (void *context, const char *name, size_t length),
					void *context)
{
	size_t		i;

	for (i = 0; i < tpl->n_parts; i++)
	{
		const Part *part = &tpl->parts[i];

		if (part->name_length > 0)
			visit(context, tpl->source + part->name, part->name_length);
	}
}
