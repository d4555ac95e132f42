/*-------------------------------------------------------------------------
 *
 * tap.h
 *		The Test Anything Protocol for unit tests in C.
 *
 * One file, one program: main() makes its checks and returns tap_done().
 *
 * IDENTIFICATION
 *		test/unit/tap.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_TAP_H
#define MKTG_TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int	tap_count = 0;
static int	tap_failed = 0;

/* Prints the line of one check; true if it passed. */
__attribute__((format(printf, 2, 3), unused))
static bool
ok(bool passed, const char *format,...)
{
	va_list		args;

	printf("%sok %d - ", passed ? "" : "not ", ++tap_count);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	if (!passed)
		tap_failed++;
	return passed;
}

/* Prints bytes on a line of a message, what is not printable as \xNN. */
__attribute__((unused))
static void
tap_show(const char *label, const char *bytes, size_t length)
{
	size_t		i;

	printf("# %s: ", label);
	for (i = 0; i < length; i++)
		if (bytes[i] >= 0x20 && bytes[i] < 0x7F)
			putchar(bytes[i]);
		else
			printf("\\x%02x", (unsigned char) bytes[i]);
	putchar('\n');
}

__attribute__((unused))
static bool
is_bytes(const char *got, size_t got_length, const char *want, size_t want_length,
		 const char *name)
{
	bool		same = got_length == want_length &&
		(want_length == 0 || memcmp(got, want, want_length) == 0);

	if (!ok(same, "%s", name))
	{
		tap_show("got ", got, got_length);
		tap_show("want", want, want_length);
	}
	return same;
}

__attribute__((unused))
static bool
is_string(const char *got, const char *want, const char *name)
{
	return is_bytes(got, strlen(got), want, strlen(want), name);
}

__attribute__((unused))
static bool
is_int(int64_t got, int64_t want, const char *name)
{
	if (!ok(got == want, "%s", name))
		printf("# got %" PRId64 ", want %" PRId64 "\n", got, want);
	return got == want;
}

/* The checks that cannot be made here count as passed, and say why. */
__attribute__((unused))
static void
skip(const char *why)
{
	printf("ok %d # SKIP %s\n", ++tap_count, why);
}

__attribute__((unused))
static int
tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed > 0;
}

#endif
