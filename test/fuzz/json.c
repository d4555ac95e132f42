/*-------------------------------------------------------------------------
 *
 * json.c
 *		Fuzzes JSON strings: read back by a second implementation, they hold
 *		what went in, with U+FFFD where that was not UTF-8.
 *
 * IDENTIFICATION
 *		test/fuzz/json.c
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

/*
 * Code point at *at, by arithmetic instead of tables; -1 if there is none, and
 * then one byte is taken.
 */
static int32_t
decode(const uint8_t **at, const uint8_t *end)
{
	uint8_t		lead = *(*at)++;
	int			more = lead < 0x80 ? 0 : lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
	int32_t		code = more == 0 ? lead : lead & (0x3F >> more);
	static const int32_t least[] = {0, 0x80, 0x800, 0x10000};
	int			i;

	if ((lead >= 0x80 && lead < 0xC0) || lead >= 0xF8 || end - *at < more)
		return -1;
	for (i = 0; i < more; i++)
	{
		if (((*at)[i] & 0xC0) != 0x80)
			return -1;
		code = code << 6 | ((*at)[i] & 0x3F);
	}
	if (code < least[more] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
		return -1;
	*at += more;
	return code;
}

/*
 * Bytes of a torn character that become one U+FFFD together: as many as could
 * go on to a character, which decode() is asked by going on with 0x80.
 */
static size_t
torn_length(const uint8_t *at, const uint8_t *end)
{
	size_t		length;

	for (length = 3; length > 1; length--)
	{
		uint8_t		whole[4] = {0x80, 0x80, 0x80, 0x80};
		const uint8_t *read = whole;

		if ((size_t) (end - at) < length)
			continue;
		memcpy(whole, at, length);
		if (decode(&read, whole + 4) >= 0 && (size_t) (read - whole) > length)
			return length;
	}
	return 1;
}

/* Code point a JSON string has at *at, escapes read. */
static int32_t
read_json(const uint8_t **at, const uint8_t *end)
{
	static const char letters[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";
	int32_t		code = decode(at, end);
	const char *letter;
	char		digits[5] = {0};

	PROMISE(code >= 0x20 && code != '"');
	if (code != '\\')
		return code;
	PROMISE(*at < end);
	if (**at != 'u')
	{
		letter = memchr(letters, **at, sizeof(letters) - 1);
		PROMISE(letter != NULL);
		(*at)++;
		return meanings[letter - letters];
	}
	PROMISE(end - *at >= 5);
	memcpy(digits, *at + 1, 4);
	PROMISE(strspn(digits, "0123456789abcdef") == 4);
	*at += 5;
	code = (int32_t) strtol(digits, NULL, 16);
	PROMISE(code < 0x20);
	return code;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	MktgBuffer	buffer = {0};
	MktgBuffer	tight = {0};
	const uint8_t *in = data;
	const uint8_t *in_end = data + size;
	const uint8_t *out;
	const uint8_t *out_end;

	mktg_buffer_json_string(&buffer, (const char *) data, size);
	PROMISE(!buffer.failed && buffer.length >= 2);
	PROMISE(buffer.data[0] == '"' && buffer.data[buffer.length - 1] == '"');
	out = (const uint8_t *) buffer.data + 1;
	out_end = out + buffer.length - 2;

	while (in < in_end)
	{
		const uint8_t *begin = in;
		int32_t		want = decode(&in, in_end);

		if (want < 0)
		{
			PROMISE(out < out_end && read_json(&out, out_end) == 0xFFFD);
			in = begin + torn_length(begin, in_end);
			continue;
		}
		PROMISE(out < out_end && read_json(&out, out_end) == want);
	}
	PROMISE(out == out_end);

	/* one byte less of room must fail, and keep to it */
	tight.limit = buffer.length - 1;
	mktg_buffer_json_string(&tight, (const char *) data, size);
	PROMISE(tight.failed && tight.length <= tight.limit);
	mktg_buffer_free(&tight);
	mktg_buffer_free(&buffer);
	return 0;
}
