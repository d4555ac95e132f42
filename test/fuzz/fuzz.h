/*-------------------------------------------------------------------------
 *
 * fuzz.h
 *		What the fuzz harnesses share.
 *
 * Built with libFuzzer; a promise that does not hold traps, so that the input
 * is kept like that of any crash.
 *
 * IDENTIFICATION
 *		test/fuzz/fuzz.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_FUZZ_H
#define MKTG_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PROMISE(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition); \
			__builtin_trap(); \
		} \
	} while (0)

/* NUL-terminated copy of the input, exactly as long; the caller frees it. */
__attribute__((unused))
static char *
fuzz_string(const uint8_t *data, size_t size)
{
	char	   *copy = malloc(size + 1);

	if (size > 0)
		memcpy(copy, data, size);
	copy[size] = '\0';
	return copy;
}

#endif
