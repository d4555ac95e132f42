/*-------------------------------------------------------------------------
 *
 * sms.c
 *		Unit tests of src/core/sms.c: alphabets, units and segments.
 *
 * IDENTIFICATION
 *		test/unit/sms.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/core.h"
#include "tap.h"

#define EMOJI	"\xF0\x9F\x8E\x89"

static void
measures_bytes(const char *text, size_t length, bool gsm, int units, int segments, const char *name)
{
	MktgSms		sms = mktg_sms_measure(text, length);

	if (!ok(sms.gsm == gsm && sms.units == units && sms.segments == segments,
			"%s: %s, %d units, %d segments", name, gsm ? "GSM" : "UCS-2", units, segments))
		printf("# got %s, %d units, %d segments\n", sms.gsm ? "GSM" : "UCS-2", sms.units, sms.segments);
}

static void
measures(const char *text, bool gsm, int units, int segments, const char *name)
{
	measures_bytes(text, strlen(text), gsm, units, segments, name);
}

/* "text" n times, and what follows. */
static const char *
times(int n, const char *text, const char *then)
{
	static char out[20000];
	char	   *end = out;

	for (int i = 0; i < n; i++)
		end = stpcpy(end, text);
	strcpy(end, then);
	return out;
}

static void
test_alphabet(void)
{
	/* the default alphabet in its own order, without the escape */
	measures("@\xC2\xA3$\xC2\xA5\xC3\xA8\xC3\xA9\xC3\xB9\xC3\xAC\xC3\xB2\xC3\x87\n\xC3\x98\xC3\xB8\r\xC3\x85\xC3\xA5"
			 "\xCE\x94_\xCE\xA6\xCE\x93\xCE\x9B\xCE\xA9\xCE\xA0\xCE\xA8\xCE\xA3\xCE\x98\xCE\x9E\xC3\x86\xC3\xA6\xC3\x9F\xC3\x89"
			 " !\"#\xC2\xA4%&'()*+,-./0123456789:;<=>?"
			 "\xC2\xA1" "ABCDEFGHIJKLMNOPQRSTUVWXYZ\xC3\x84\xC3\x96\xC3\x91\xC3\x9C\xC2\xA7"
			 "\xC2\xBF" "abcdefghijklmnopqrstuvwxyz\xC3\xA4\xC3\xB6\xC3\xB1\xC3\xBC\xC3\xA0", true, 127, 1,
			 "the default alphabet");
	measures("^{}\\[~]|\xE2\x82\xAC\f", true, 20, 1, "the extension table");
	measures("", true, 0, 0, "nothing");

	for (int c = 1; c < 0x80; c++)
	{
		char		text[2] = {(char) c, 0};
		bool		gsm = (c >= 0x20 && c < 0x7F && c != '`') || c == '\n' || c == '\r' || c == '\f';

		if (mktg_sms_measure(text, 1).gsm != gsm)
			ok(false, "ASCII %d", c);
	}
	ok(true, "ASCII");
	/* near relatives that are not there */
	measures("\xC3\xA7", false, 1, 1, "a small c with cedilla");
	measures("\xC3\xA1", false, 1, 1, "an a with acute");
	measures("\xCE\x91", false, 1, 1, "a capital Alpha");
	measures("\xE2\x80\x99", false, 1, 1, "a curly apostrophe");
	measures("`", false, 1, 1, "a backtick");
	measures("\t", false, 1, 1, "a tab");
	measures("\xE0\xA4\xA8\xE0\xA4\xAE", false, 2, 1, "Hindi");
	measures(EMOJI, false, 2, 1, "a character of two UTF-16 units");
}

static void
test_segments(void)
{
	measures(times(160, "a", ""), true, 160, 1, "160 of GSM");
	measures(times(161, "a", ""), true, 161, 2, "161");
	measures(times(306, "a", ""), true, 306, 2, "306");
	measures(times(307, "a", ""), true, 307, 3, "307");
	measures(times(80, "[", ""), true, 160, 1, "80 of the extension table");
	measures(times(79, "[", "aa"), true, 160, 1, "79 and two");
	measures(times(80, "[", "a"), true, 161, 2, "80 and one: 76 of them and the others");
	measures(times(153, "[", ""), true, 306, 3, "153 of the extension table: one septet of each segment stays empty");
	measures(times(152, "a", "[aaaaaaaaa"), true, 163, 2, "an escape at the border is not split");
	measures(times(70, "\xD0\xAF", ""), false, 70, 1, "70 of UCS-2");
	measures(times(71, "\xD0\xAF", ""), false, 71, 2, "71");
	measures(times(134, "\xD0\xAF", ""), false, 134, 2, "134");
	measures(times(135, "\xD0\xAF", ""), false, 135, 3, "135");
	measures(times(35, EMOJI, ""), false, 70, 1, "35 pairs");
	measures(times(67, EMOJI, ""), false, 134, 3, "67 pairs: a pair is not split");
	measures(times(152, "a", "\xE2\x80\x99"), false, 153, 3, "one character that is not GSM makes three segments of one");
	is_int(mktg_sms_measure(times(800, EMOJI, ""), 3200).characters, 1600, "characters are UTF-16 units");
	is_int(mktg_sms_measure(times(800, "[", ""), 800).characters, 800, "an escape is no character");
}

static void
test_not_utf8(void)
{
	measures("\xC3", false, 1, 1, "a lead byte alone");
	measures("\xC3(", false, 2, 1, "a lead byte and another character");
	measures("\xE2\x82", false, 2, 1, "a cut character");
	measures("\xED\xA0\xBD", false, 3, 1, "a surrogate");
	measures("\xF4\x90\x80\x80", false, 4, 1, "above U+10FFFF");
	measures("\xC0\xAF\xFF\x80", false, 4, 1, "bytes UTF-8 never has");
	measures_bytes("a\0b", 3, false, 3, 1, "a NUL byte");
	measures_bytes("\xE2\x82\xAC", 2, false, 2, 1, "nothing is read behind the end");
}

int
main(void)
{
	test_alphabet();
	test_segments();
	test_not_utf8();
	return tap_done();
}
