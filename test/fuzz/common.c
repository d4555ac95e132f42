/*-------------------------------------------------------------------------
 *
 * common.c
 *		Fuzzes what texts have in common: literals and gaps put together are
 *		the texts again.
 *
 * The input is texts with a NUL between them; one that begins with a blank is
 * taken back.
 *
 * IDENTIFICATION
 *		test/fuzz/common.c
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"
#include "core/common.h"

#define MAX_TEXTS	8

static void
write_gap(MktgBuffer *out, int number, void *context)
{
	const MktgSpan *gaps = context;

	mktg_buffer_add(out, gaps[number].text, gaps[number].length);
}

static void
check_text(const MktgCommon *common, const char *text)
{
	MktgSpan   *gaps = malloc(((size_t) mktg_common_gaps(common) + 1) * sizeof(MktgSpan));
	MktgBuffer	out = {0};
	size_t		length = strlen(text);

	mktg_common_split(common, text, length, gaps);
	mktg_common_write(common, &out, write_gap, gaps);
	PROMISE(out.length == length && (length == 0 || memcmp(out.data, text, length) == 0));
	PROMISE(mktg_common_length(common) <= length);
	mktg_buffer_free(&out);
	free(gaps);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *copy = fuzz_string(data, size);
	const char *texts[MAX_TEXTS];
	MktgCommon *common;
	int			n = 0;

	for (size_t at = 0; at <= size && n < MAX_TEXTS; at += strlen(copy + at) + 1)
		texts[n++] = copy + at;
	common = mktg_common_new(texts[0], strlen(texts[0]));
	for (int i = 1; i < n; i++)
	{
		mktg_common_add(common, texts[i], strlen(texts[i]));
		if (texts[i][0] == ' ')
		{
			mktg_common_undo(common);
			texts[i] = texts[0];
		}
	}
	for (int i = 0; i < n; i++)
		check_text(common, texts[i]);
	mktg_common_free(common);
	free(copy);
	return 0;
}
