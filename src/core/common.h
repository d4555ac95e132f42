/*-------------------------------------------------------------------------
 *
 * common.h
 *		What texts have in common that were made from one template.
 *
 * Each of the texts is literal 0, gap 0, literal 1, gap 1 ... literal n: the
 * literals are the same in all of them, the gaps each text's own.
 *
 * IDENTIFICATION
 *		src/core/common.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_COMMON_H
#define MKTG_COMMON_H

#include "core/core.h"

typedef struct MktgCommon MktgCommon;

typedef struct MktgSpan
{
	const char *text;
	size_t		length;
} MktgSpan;

/* Begins with one text, which must outlive it; NULL if there was no memory.  Empty texts may be NULL. */
extern MktgCommon *mktg_common_new(const char *text, size_t length);
extern void mktg_common_free(MktgCommon *common);

/* one text more; undo takes the last one back, once */
extern void mktg_common_add(MktgCommon *common, const char *text, size_t length);
extern void mktg_common_undo(MktgCommon *common);

/* bytes of all literals together, and the number of gaps */
extern size_t mktg_common_length(const MktgCommon *common);
extern int	mktg_common_gaps(const MktgCommon *common);

/* adds the literals, and between them what "gap" adds for number 0, 1 ... */
extern void mktg_common_write(const MktgCommon *common, MktgBuffer *out,
							  void (*gap) (MktgBuffer *out, int number, void *context), void *context);

/* the gaps of one of the texts: mktg_common_gaps() of them */
extern void mktg_common_split(const MktgCommon *common, const char *text, size_t length, MktgSpan *gaps);

#endif
