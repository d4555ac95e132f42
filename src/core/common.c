/*-------------------------------------------------------------------------
 *
 * common.c
 *		What texts have in common that were made from one template.
 *
 * The first text is cut into pieces of some dozens of bytes.  Each other text
 * is searched for them in order, and a piece that is not there where it should
 * be is given up for good: so a piece is looked for in vain only once, and a
 * text costs little more than a comparison.  What is found wrongly makes gaps
 * larger than they need be, never a text wrong: gaps are what lies between.
 *
 * IDENTIFICATION
 *		src/core/common.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "core/common.h"

/*
 * Shorter pieces would be found where they do not belong.  They end behind a
 * blank, a line or a tag, and so never within a character.
 */
#define LEAST_PIECE		24
#define PIECE_ENDS		" \n>"

typedef struct Piece
{
	size_t		start;			/* in the first text */
	size_t		length;
	int			lost;			/* number of the text that does not have it; 0 = all have it */
	int			parted;			/* of the text that first has something before it; 0 = none */
} Piece;

struct MktgCommon
{
	const char *first;
	size_t		first_length;
	int			texts;			/* added so far, the first not counted */
	int			tail;			/* number of the text that first has something at the end; 0 = none */
	int			n;
	Piece		pieces[];
};

/* ---- beginning ---- */

/* End of the piece that begins at "at". */
static const char *
piece_end(const char *at, const char *end)
{
	if (end - at <= LEAST_PIECE)
		return end;
	for (at += LEAST_PIECE; at < end; at++)
		if (strchr(PIECE_ENDS, at[-1]) != NULL && at[-1] != '\0')
			return at;
	return end;
}

MktgCommon *
mktg_common_new(const char *text, size_t length)
{
	MktgCommon *common = malloc(sizeof(MktgCommon) + (length / LEAST_PIECE + 1) * sizeof(Piece));
	const char *end;

	if (common == NULL)
		return NULL;
	text = length > 0 ? text : "";
	end = text + length;
	*common = (MktgCommon) {.first = text, .first_length = length};
	for (const char *at = text; at < end;)
	{
		const char *next = piece_end(at, end);

		common->pieces[common->n++] = (Piece) {.start = (size_t) (at - text), .length = (size_t) (next - at)};
		at = next;
	}
	return common;
}

void
mktg_common_free(MktgCommon *common)
{
	free(common);
}

/* ---- adding ---- */

/* Where the piece is behind "at", or NULL.  The last one, which may be short, is sought at the end. */
static const char *
find_piece(const MktgCommon *common, int i, const char *at, const char *end)
{
	size_t		length = common->pieces[i].length;
	const char *bytes = common->first + common->pieces[i].start;

	if (i == common->n - 1)
		return memcmp(end - length, bytes, length) == 0 ? end - length : NULL;
	return memmem(at, (size_t) (end - at), bytes, length);
}

void
mktg_common_add(MktgCommon *common, const char *text, size_t length)
{
	const char *at = length > 0 ? text : "";
	const char *end = at + length;
	int			number = ++common->texts;

	for (int i = 0; i < common->n; i++)
	{
		Piece	   *piece = &common->pieces[i];
		const char *bytes = common->first + piece->start;
		const char *found = at;

		if (piece->lost != 0)
			continue;
		if ((size_t) (end - at) < piece->length)
			found = NULL;
		else if (memcmp(at, bytes, piece->length) != 0)
			found = find_piece(common, i, at, end);

		if (found == NULL)
			piece->lost = number;
		else
		{
			if (found != at && piece->parted == 0)
				piece->parted = number;
			at = found + piece->length;
		}
	}
	if (at < end && common->tail == 0)
		common->tail = number;
}

void
mktg_common_undo(MktgCommon *common)
{
	for (int i = 0; i < common->n; i++)
	{
		if (common->pieces[i].lost == common->texts)
			common->pieces[i].lost = 0;
		if (common->pieces[i].parted == common->texts)
			common->pieces[i].parted = 0;
	}
	if (common->tail == common->texts)
		common->tail = 0;
	common->texts--;
}

/* ---- what has come of it ---- */

/* Pieces that stand side by side in all of the texts. */
typedef struct Run
{
	int			next;			/* first piece behind it */
	bool		parted;			/* some text has something before it */
	size_t		start;			/* in the first text */
	size_t		end;
} Run;

/* The next run; {0} before the first.  False if there is none. */
static bool
next_run(const MktgCommon *common, Run *run)
{
	const Piece *pieces = common->pieces;
	int			i = run->next;

	while (i < common->n && pieces[i].lost != 0)
		i++;
	if (i == common->n)
		return false;
	run->parted = pieces[i].parted != 0 || pieces[i].start != run->end;
	run->start = pieces[i].start;
	do
	{
		run->end = pieces[i].start + pieces[i].length;
		i++;
	} while (i < common->n && pieces[i].lost == 0 && pieces[i].parted == 0);
	run->next = i;
	return true;
}

/* Is there something behind this run, the last? */
static bool
has_tail(const MktgCommon *common, const Run *run)
{
	return common->tail != 0 || run->end < common->first_length;
}

static bool
is_last(const MktgCommon *common, const Run *run)
{
	Run			next = *run;

	return !next_run(common, &next);
}

size_t
mktg_common_length(const MktgCommon *common)
{
	Run			run = {0};
	size_t		length = 0;

	while (next_run(common, &run))
		length += run.end - run.start;
	return length;
}

int
mktg_common_gaps(const MktgCommon *common)
{
	Run			run = {0};
	int			gaps = 0;

	while (next_run(common, &run))
		gaps += run.parted;
	return gaps + has_tail(common, &run);
}

void
mktg_common_write(const MktgCommon *common, MktgBuffer *out,
				  void (*gap) (MktgBuffer *out, int number, void *context), void *context)
{
	Run			run = {0};
	int			number = 0;

	while (next_run(common, &run))
	{
		if (run.parted)
			gap(out, number++, context);
		mktg_buffer_add(out, common->first + run.start, run.end - run.start);
	}
	if (has_tail(common, &run))
		gap(out, number, context);
}

/*
 * Each run is taken where it first comes, the last one at the end if nothing
 * may be behind it: since some such places are there, these are.
 */
void
mktg_common_split(const MktgCommon *common, const char *text, size_t length, MktgSpan *gaps)
{
	Run			run = {0};
	const char *at = length > 0 ? text : "";
	const char *end = at + length;
	int			number = 0;

	while (next_run(common, &run))
	{
		size_t		run_length = run.end - run.start;
		const char *found = at;

		if (run.parted)
		{
			if (!has_tail(common, &run) && is_last(common, &run))
				found = end - run_length;
			else
				found = memmem(at, (size_t) (end - at), common->first + run.start, run_length);
			gaps[number++] = (MktgSpan) {at, (size_t) (found - at)};
		}
		at = found + run_length;
	}
	if (has_tail(common, &run))
		gaps[number] = (MktgSpan) {at, (size_t) (end - at)};
}
