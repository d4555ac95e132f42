/*-------------------------------------------------------------------------
 *
 * header.c
 *		Unit tests of src/core/header.c.
 *
 * IDENTIFICATION
 *		test/unit/header.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/core.h"
#include "tap.h"

int
main(void)
{
	int			byte;
	bool		all = true;

	ok(mktg_header_safe(NULL, 0), "nothing is safe");
	ok(mktg_header_safe("New Year Sale: 20 % off", 23), "a subject");
	ok(mktg_header_safe("gr\xC3\xBC\xC3\x9F", 6), "UTF-8");
	ok(!mktg_header_safe("a\r\nBcc: x", 9), "a second header");
	ok(!mktg_header_safe("a\0", 2), "NUL at the end");

	for (byte = 0; byte < 256; byte++)
	{
		char		text[3] = {'a', (char) byte, 'b'};
		bool		want = byte == '\t' || (byte >= 0x20 && byte != 0x7F);

		if (mktg_header_safe(text, 3) != want)
		{
			printf("# byte %d\n", byte);
			all = false;
		}
	}
	ok(all, "every byte");
	return tap_done();
}
