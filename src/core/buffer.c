/*-------------------------------------------------------------------------
 *
 * buffer.c
 *		A growing byte string, and JSON strings into it.
 *
 * A buffer that failed takes nothing more, so callers add freely and look at
 * "failed" once, at the end.  What is added must not lie in the buffer itself.
 *
 * IDENTIFICATION
 *		src/core/buffer.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "core/core.h"

#define FIRST_CAPACITY	64
#define REPLACEMENT		"\xEF\xBF\xBD"	/* U+FFFD in UTF-8 */

/* one byte in each of the eight of a word */
#define EACH_BYTE(x)	(UINT64_C(0x0101010101010101) * (x))

/* Makes room for "more" bytes and the NUL after them. */
static bool
make_room(MktgBuffer *buffer, size_t more)
{
	size_t		capacity = buffer->capacity > 0 ? buffer->capacity : FIRST_CAPACITY;
	size_t		needed;
	char	   *data;

	if (more > SIZE_MAX - 1 - buffer->length)
		return false;
	needed = buffer->length + more + 1;
	if (buffer->limit > 0 && needed - 1 > buffer->limit)
		return false;
	if (needed <= buffer->capacity)
		return true;

	while (capacity < needed)
		capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
	data = realloc(buffer->data, capacity);
	if (data == NULL)
		return false;
	buffer->data = data;
	buffer->capacity = capacity;
	return true;
}

void
mktg_buffer_add(MktgBuffer *buffer, const char *bytes, size_t length)
{
	if (length == 0 || buffer->failed)
		return;
	if (!make_room(buffer, length))
	{
		buffer->failed = true;
		return;
	}
	memcpy(buffer->data + buffer->length, bytes, length);
	buffer->length += length;
	buffer->data[buffer->length] = '\0';
}

void
mktg_buffer_puts(MktgBuffer *buffer, const char *string)
{
	mktg_buffer_add(buffer, string, strlen(string));
}

void
mktg_buffer_clear(MktgBuffer *buffer)
{
	buffer->length = 0;
	buffer->failed = false;
	if (buffer->data != NULL)
		buffer->data[0] = '\0';
}

void
mktg_buffer_free(MktgBuffer *buffer)
{
	free(buffer->data);
	buffer->data = NULL;
	buffer->length = 0;
	buffer->capacity = 0;
	buffer->failed = false;
}

/* ---- forms ---- */

static bool
is_unreserved(unsigned char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
		(byte >= '0' && byte <= '9') || byte == '-' || byte == '.' || byte == '_' || byte == '~';
}

void
mktg_buffer_percent(MktgBuffer *buffer, const char *bytes, size_t length)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t		run = 0;		/* first byte not yet added */

	for (size_t i = 0; i < length; i++)
	{
		unsigned char byte = (unsigned char) bytes[i];
		char		text[3] = {'%', hex[byte >> 4], hex[byte & 15]};

		if (is_unreserved(byte))
			continue;
		mktg_buffer_add(buffer, bytes + run, i - run);
		mktg_buffer_add(buffer, text, 3);
		run = i + 1;
	}
	mktg_buffer_add(buffer, bytes + run, length - run);
}

/* ---- JSON strings ---- */

/* May the byte stand in a JSON string as it is, and alone? */
static inline bool
is_plain(unsigned char byte)
{
	return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/*
 * Are all eight bytes plain?  Subtracting n from a byte below n borrows into
 * its high bit; a byte that is c becomes 0 after xor, and is then below 1.
 * Borrows may reach the next byte, but only where a byte was not plain anyway.
 */
static inline bool
eight_plain(const unsigned char *at)
{
	uint64_t	word;
	uint64_t	quote;
	uint64_t	backslash;

	memcpy(&word, at, sizeof(word));
	quote = word ^ EACH_BYTE('"');
	backslash = word ^ EACH_BYTE('\\');
	return ((word | (word - EACH_BYTE(0x20)) | (quote - EACH_BYTE(1)) |
			 (backslash - EACH_BYTE(1))) & EACH_BYTE(0x80)) == 0;
}

static const unsigned char *
skip_plain(const unsigned char *at, const unsigned char *end)
{
	while (end - at >= 8 && eight_plain(at))
		at += 8;
	while (at < end && is_plain(*at))
		at++;
	return at;
}

/*
 * Length of the UTF-8 character at "at", after Unicode table 3-7: the second
 * byte's bounds shut out overlong forms, surrogates and what is above U+10FFFF.
 * Where there is none, *valid is false and the length is that of the longest
 * part that could have begun one: it becomes a single U+FFFD.
 */
static size_t
utf8_length(const unsigned char *at, const unsigned char *end, bool *valid)
{
	unsigned char lead = *at;
	unsigned char low = 0x80;
	unsigned char high = 0xBF;
	size_t		length;
	size_t		i;

	*valid = false;
	if (lead < 0xC2 || lead > 0xF4)
		return 1;
	length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
	if (lead == 0xE0)
		low = 0xA0;
	else if (lead == 0xED)
		high = 0x9F;
	else if (lead == 0xF0)
		low = 0x90;
	else if (lead == 0xF4)
		high = 0x8F;

	for (i = 1; i < length; i++)
	{
		if (at + i >= end || at[i] < low || at[i] > high)
			return i;
		low = 0x80;
		high = 0xBF;
	}
	*valid = true;
	return length;
}

/* Adds the escape of '"', '\' or a control character. */
static void
add_escape(MktgBuffer *buffer, unsigned char byte)
{
	static const char hex[] = "0123456789abcdef";
	char		text[6] = {'\\', 'u', '0', '0', 0, 0};

	switch (byte)
	{
		case '"':
		case '\\':
			text[1] = (char) byte;
			break;
		case '\b':
			text[1] = 'b';
			break;
		case '\f':
			text[1] = 'f';
			break;
		case '\n':
			text[1] = 'n';
			break;
		case '\r':
			text[1] = 'r';
			break;
		case '\t':
			text[1] = 't';
			break;
		default:
			text[4] = hex[byte >> 4];
			text[5] = hex[byte & 15];
			mktg_buffer_add(buffer, text, 6);
			return;
	}
	mktg_buffer_add(buffer, text, 2);
}

void
mktg_buffer_json_string(MktgBuffer *buffer, const char *bytes, size_t length)
{
	const unsigned char *at = (const unsigned char *) bytes;
	const unsigned char *end = length > 0 ? at + length : at;
	const unsigned char *run = at;	/* not yet added, good as it is */

	mktg_buffer_add(buffer, "\"", 1);
	while (!buffer->failed)
	{
		bool		valid;
		size_t		step = 1;

		at = skip_plain(at, end);
		if (at == end)
			break;
		if (*at >= 0x80)
		{
			step = utf8_length(at, end, &valid);
			if (valid)
			{
				at += step;
				continue;
			}
		}
		mktg_buffer_add(buffer, (const char *) run, (size_t) (at - run));
		if (*at >= 0x80)
			mktg_buffer_add(buffer, REPLACEMENT, 3);
		else
			add_escape(buffer, *at);
		at += step;
		run = at;
	}
	mktg_buffer_add(buffer, (const char *) run, (size_t) (at - run));
	mktg_buffer_add(buffer, "\"", 1);
}
