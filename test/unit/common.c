/*-------------------------------------------------------------------------
 *
 * common.c
 *		Unit tests of src/core/common.c: literals and gaps put together again
 *		are the texts, and little is left for the gaps.
 *
 * IDENTIFICATION
 *		test/unit/common.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/common.h"
#include "tap.h"

#define MAX_GAPS	1000

typedef struct Gaps
{
	MktgSpan	spans[MAX_GAPS];
} Gaps;

static void
write_gap(MktgBuffer *out, int number, void *context)
{
	const Gaps *gaps = context;

	mktg_buffer_add(out, gaps->spans[number].text, gaps->spans[number].length);
}

static void
write_mark(MktgBuffer *out, int number, void *context)
{
	char		text[20];

	(void) context;
	snprintf(text, sizeof(text), "{%d}", number);
	mktg_buffer_puts(out, text);
}

/* Does what the text is split into make the text again? */
static bool
is_whole(const MktgCommon *common, const char *text, size_t length)
{
	MktgBuffer	out = {0};
	Gaps		gaps;
	size_t		total = mktg_common_length(common);
	bool		same;

	mktg_common_split(common, text, length, gaps.spans);
	for (int i = 0; i < mktg_common_gaps(common); i++)
		total += gaps.spans[i].length;
	mktg_common_write(common, &out, write_gap, &gaps);
	same = total == length && out.length == length && (length == 0 || memcmp(out.data, text, length) == 0);
	mktg_buffer_free(&out);
	return same;
}

/* What the texts, up to a NULL, have in common. */
static void
common_is(const char *const *texts, const char *want, const char *name)
{
	MktgCommon *common = mktg_common_new(texts[0], strlen(texts[0]));
	MktgBuffer	out = {0};
	bool		whole = true;

	for (int i = 1; texts[i] != NULL; i++)
		mktg_common_add(common, texts[i], strlen(texts[i]));
	for (int i = 0; texts[i] != NULL; i++)
		whole &= is_whole(common, texts[i], strlen(texts[i]));
	ok(whole, "%s: the texts come out as they were", name);
	mktg_common_write(common, &out, write_mark, NULL);
	is_string(out.length > 0 ? out.data : "", want, name);
	mktg_buffer_free(&out);
	mktg_common_free(common);
}

#define A	"<p class=\"greeting first\">"
#define B	"<p class=\"main text of it\">"
#define C	"<p class=\"goodbye for now\">"

#define COMMON_IS(want, name, ...) \
	do { static const char *const texts[] = {__VA_ARGS__, NULL}; common_is(texts, want, name); } while (0)

static void
test_examples(void)
{
	COMMON_IS("", "nothing at all", "", "");
	COMMON_IS(A B, "the same twice", A B, A B);
	COMMON_IS(A B, "one text", A B);
	COMMON_IS("{0}", "nothing in common", "Ada", "Bob", "");
	COMMON_IS("{0}", "an empty one first", "", A);
	COMMON_IS(A "{0}", "something behind", A, A "x");
	COMMON_IS("{0}" A, "something before", A, "x" A);
	COMMON_IS(A "{0}" B, "something between", A B, A "x" B);
	COMMON_IS(A "{0}" B "{1}", "two gaps", A "Dear Ada, how are you today? " B "1", A "Dear Bob, how are you today? " B "2");
	COMMON_IS("{0}" B "{1}", "a piece one of them does not have", A B C, "x" B "y", A B C);
	COMMON_IS(A "{0}", "a piece that comes twice in one of them", A, A A);
	/* the second text has B twice, and nothing may come behind it */
	COMMON_IS("{0}" B, "a piece found elsewhere, once one before it is lost", A B, B A B, B);
	COMMON_IS("{0}" A "{1}" C "{2}", "less found than there is", A B C A, B A B C A, B C A C);
	COMMON_IS("{0}" B "{1}" C, "a piece that comes earlier, too", A B C, B A B C, B B C);
}

static unsigned int state;

static unsigned int
draw(unsigned int n)
{
	state = state * 1664525u + 1013904223u;
	return (state >> 16) % n;
}

/* A text of some of eight words, so that they come often and in any order. */
static void
draw_text(char *out)
{
	static const char *const words[] = {
		A, B, C, "<td width=\"100%\" align=left>", "Ada ", "x", "one line that is long enough\n", ""
	};

	*out = '\0';
	for (unsigned int i = draw(30); i > 0; i--)
		strcat(out, words[draw(8)]);
}

static void
test_random(void)
{
	static char texts[8][2000];
	int			wrong = 0;

	for (int round = 0; round < 3000; round++)
	{
		MktgCommon *common;
		int			n = 1 + (int) draw(8);
		bool		taken[8];

		for (int i = 0; i < n; i++)
		{
			draw_text(texts[i]);
			taken[i] = true;
		}
		common = mktg_common_new(texts[0], strlen(texts[0]));
		for (int i = 1; i < n; i++)
		{
			size_t		before = mktg_common_length(common);
			int			gaps = mktg_common_gaps(common);

			mktg_common_add(common, texts[i], strlen(texts[i]));
			if (draw(3) == 0)
			{
				mktg_common_undo(common);
				wrong += mktg_common_length(common) != before || mktg_common_gaps(common) != gaps;
				taken[i] = false;
			}
		}
		for (int i = 0; i < n; i++)
			wrong += taken[i] && !is_whole(common, texts[i], strlen(texts[i]));
		mktg_common_free(common);
	}
	is_int(wrong, 0, "texts drawn at random come out as they were");
}

/* A newsletter of 40 KB with a name at its top and links at its end. */
static void
test_newsletter(void)
{
	static char texts[3][50000];
	static const char *const names[] = {"Ada", "Bartholomew", ""};
	MktgCommon *common;
	bool		whole = true;

	for (int i = 0; i < 3; i++)
	{
		char	   *end = texts[i];

		end += sprintf(end, "<html><body><h1>Dear %s,</h1>\n", names[i]);
		for (int line = 0; line < 500; line++)
			end += sprintf(end, "<tr><td class=\"product\">Product number %d</td><td>only now</td></tr>\n", line);
		sprintf(end, "<p><a href=\"https://example.com/unsubscribe/%d\">Unsubscribe</a></p></body></html>\n", i * 77);
	}
	common = mktg_common_new(texts[0], strlen(texts[0]));
	for (int i = 1; i < 3; i++)
		mktg_common_add(common, texts[i], strlen(texts[i]));
	for (int i = 0; i < 3; i++)
		whole &= is_whole(common, texts[i], strlen(texts[i]));
	ok(whole, "a newsletter comes out as it was");
	is_int(mktg_common_gaps(common), 2, "with two gaps");
	ok(strlen(texts[1]) - mktg_common_length(common) < 200, "of less than 200 bytes: %zu of %zu",
	   strlen(texts[1]) - mktg_common_length(common), strlen(texts[1]));
	mktg_common_free(common);
}

int
main(void)
{
	test_examples();
	test_random();
	test_newsletter();
	return tap_done();
}
