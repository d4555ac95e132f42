/*-------------------------------------------------------------------------
 *
 * buffer.c
 *		Unit tests of src/core/buffer.c.
 *
 * IDENTIFICATION
 *		test/unit/buffer.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/core.h"
#include "tap.h"

static void
test_adding(void)
{
	MktgBuffer	buffer = {0};
	int			i;

	mktg_buffer_add(&buffer, NULL, 0);
	ok(buffer.data == NULL && !buffer.failed, "adding nothing leaves an empty buffer");

	mktg_buffer_puts(&buffer, "one");
	mktg_buffer_add(&buffer, "\0two", 4);
	is_bytes(buffer.data, buffer.length, "one\0two", 7, "bytes add up, NUL among them");
	ok(buffer.data[7] == '\0', "a NUL follows");

	for (i = 0; i < 100000; i++)
		mktg_buffer_add(&buffer, "x", 1);
	ok(buffer.length == 100007 && buffer.data[100006] == 'x' && buffer.data[100007] == '\0',
	   "grows");
	ok(buffer.capacity <= 2 * 100008, "to no more than twice its length");

	mktg_buffer_clear(&buffer);
	ok(buffer.length == 0 && buffer.data != NULL && buffer.data[0] == '\0', "clear keeps the memory");
	mktg_buffer_free(&buffer);
	ok(buffer.data == NULL && buffer.capacity == 0, "free gives it back");
	mktg_buffer_puts(&buffer, "again");
	is_bytes(buffer.data, buffer.length, "again", 5, "a freed buffer may be used again");
	mktg_buffer_free(&buffer);
}

static void
test_limit(void)
{
	MktgBuffer	buffer = {.limit = 5};

	mktg_buffer_puts(&buffer, "12345");
	ok(!buffer.failed, "a buffer may be filled to its limit");
	mktg_buffer_add(&buffer, "", 0);
	ok(!buffer.failed, "nothing still fits");
	mktg_buffer_puts(&buffer, "6");
	ok(buffer.failed, "one byte over the limit fails");
	is_bytes(buffer.data, buffer.length, "12345", 5, "and adds nothing");

	mktg_buffer_clear(&buffer);
	mktg_buffer_puts(&buffer, "123456");
	mktg_buffer_puts(&buffer, "1");
	ok(buffer.failed && buffer.length == 0, "a failed buffer takes nothing more");
	mktg_buffer_clear(&buffer);
	mktg_buffer_puts(&buffer, "1");
	ok(!buffer.failed && buffer.length == 1, "until it is cleared");
	mktg_buffer_free(&buffer);

	mktg_buffer_add(&buffer, "x", SIZE_MAX);
	ok(buffer.failed, "a length that overflows fails");
	mktg_buffer_free(&buffer);

	buffer.limit = 6;
	mktg_buffer_json_string(&buffer, "12345", 5);
	ok(buffer.failed && buffer.length <= 6, "a JSON string minds the limit");
	mktg_buffer_clear(&buffer);
	mktg_buffer_json_string(&buffer, "1234", 4);
	is_bytes(buffer.data, buffer.length, "\"1234\"", 6, "and fills it");
	mktg_buffer_free(&buffer);
}

static void
json(const char *in, size_t length, const char *want, const char *name)
{
	MktgBuffer	buffer = {0};

	mktg_buffer_json_string(&buffer, in, length);
	is_bytes(buffer.data, buffer.length, want, strlen(want), name);
	mktg_buffer_free(&buffer);
}

#define JSON(in, want, name) json(in, sizeof(in) - 1, want, name)
#define BAD "\xEF\xBF\xBD"

static void
test_json_ascii(void)
{
	char		in[40];
	int			byte;
	int			place;
	bool		all = true;

	JSON("", "\"\"", "an empty string");
	json(NULL, 0, "\"\"", "no bytes at all");
	JSON("plain text, longer than a word", "\"plain text, longer than a word\"", "plain text");
	JSON("say \"hi\" to C:\\x", "\"say \\\"hi\\\" to C:\\\\x\"", "quotes and backslashes");
	JSON("\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\"", "control characters with a short form");
	JSON("\x01\x1f\0z", "\"\\u0001\\u001f\\u0000z\"", "control characters without, NUL too");
	JSON("</script>\x7f", "\"</script>\x7f\"", "slash and DEL stand as they are");

	/* every byte at every place of a word must be seen by the fast path */
	for (byte = 0; byte < 0x80; byte++)
		for (place = 0; place < 24; place++)
		{
			MktgBuffer	buffer = {0};
			bool		plain = byte >= 0x20 && byte != '"' && byte != '\\';

			memset(in, 'a', 24);
			in[place] = (char) byte;
			mktg_buffer_json_string(&buffer, in, 24);
			if ((buffer.length == 26) != plain)
			{
				printf("# byte %d at %d\n", byte, place);
				all = false;
			}
			mktg_buffer_free(&buffer);
		}
	ok(all, "each ASCII byte at each place is escaped where it must be, and only there");
}

static void
test_json_utf8(void)
{
	JSON("gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x8E\x89", "\"gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x8E\x89\"",
		 "characters of two, three and four bytes");
	JSON("\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF",
		 "\"\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\"",
		 "the first and last character of each length");
	JSON("\xC0\xAF", "\"" BAD BAD "\"", "overlong, two bytes");
	JSON("\xE0\x80\xAF", "\"" BAD BAD BAD "\"", "overlong, three bytes");
	JSON("\xF0\x80\x80\xAF", "\"" BAD BAD BAD BAD "\"", "overlong, four bytes");
	JSON("\xC1\xBF", "\"" BAD BAD "\"", "overlong, the highest");
	JSON("\xED\xA0\x80", "\"" BAD BAD BAD "\"", "a surrogate");
	JSON("\xED\xA0\xBD\xED\xB8\x80", "\"" BAD BAD BAD BAD BAD BAD "\"", "a pair of surrogates");
	JSON("\xF4\x90\x80\x80", "\"" BAD BAD BAD BAD "\"", "above U+10FFFF");
	JSON("\xF5\x80", "\"" BAD BAD "\"", "a lead byte there is not");
	JSON("\xFF\xFE", "\"" BAD BAD "\"", "bytes UTF-8 never has");
	JSON("\x80\xBF", "\"" BAD BAD "\"", "continuation bytes alone");
	JSON("a\xE2\x82", "\"a" BAD "\"", "a character cut at the end is one replacement");
	JSON("\xF0\x9F\x8E" "b", "\"" BAD "b\"", "a character cut inside is one replacement");
	JSON("\xC3\"", "\"" BAD "\\\"\"", "a cut character does not swallow the quote behind it");
	JSON("\xC3", "\"" BAD "\"", "a lead byte alone");

	/* Unicode 15, table 3-11 */
	JSON("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", "\"" BAD BAD BAD BAD "A\"",
		 "truncated sequences as the Unicode standard replaces them");
}

static void
test_percent(void)
{
	MktgBuffer	buffer = {0};

	mktg_buffer_percent(&buffer, "aZ09-._~", 8);
	mktg_buffer_percent(&buffer, "", 0);
	mktg_buffer_percent(&buffer, " +&=%/\0\xC3\xA9!", 10);
	is_string(buffer.data, "aZ09-._~%20%2B%26%3D%25%2F%00%C3%A9%21", "bytes of a form");
	mktg_buffer_free(&buffer);
}

int
main(void)
{
	test_adding();
	test_limit();
	test_json_ascii();
	test_json_utf8();
	test_percent();
	return tap_done();
}
