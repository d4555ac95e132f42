/*-------------------------------------------------------------------------
 *
 * code.c
 *		Promo codes: how they are written, and their check symbol.
 *
 * Symbols are numbers of GF(32), and the check symbol is a sum of them times
 * powers of x (x^5 + x^2 + 1, in which x has order 31): every single error
 * and every swap of neighbours shows.
 *
 * IDENTIFICATION
 *		src/core/code.c
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "core/offer.h"

const char	mktg_code_plain[33] = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
const char	mktg_code_ambiguous[33] = "0123456789ABCDEFGHIJKLMNOPQRSTUV";

bool
mktg_slice_is(MktgSlice slice, const char *word)
{
	return slice.text != NULL && slice.length == strlen(word) && memcmp(slice.text, word, slice.length) == 0;
}

bool
mktg_code_normalize(const char *typed, size_t length, char *out)
{
	size_t		n = 0;

	for (size_t i = 0; i < length; i++)
	{
		char		symbol = typed[i];

		if (symbol == '-' || symbol == ' ' || (symbol >= '\t' && symbol <= '\r'))
			continue;
		if (symbol < '!' || symbol > '~' || n == MKTG_CODE_MAX)
			return false;
		out[n++] = symbol >= 'a' && symbol <= 'z' ? symbol - 'a' + 'A' : symbol;
	}
	out[n] = '\0';
	return n > 0;
}

static unsigned int
times_x(unsigned int c)
{
	c <<= 1;
	return c & 32 ? c ^ 37 : c;
}

/* The sum over all symbols; -1 for one that is not in the alphabet. */
static int
sum_of(const char *alphabet, const char *body, size_t length)
{
	unsigned int c = 0;

	for (size_t i = 0; i < length; i++)
	{
		const char *found = body[i] == '\0' ? NULL : strchr(alphabet, body[i]);

		if (found == NULL)
			return -1;
		c = times_x(c ^ (unsigned int) (found - alphabet));
	}
	return (int) c;
}

char
mktg_code_check(const char *alphabet, const char *body, size_t length)
{
	int			c = sum_of(alphabet, body, length);

	return c < 0 ? '\0' : alphabet[c];
}

bool
mktg_code_valid(const char *alphabet, const char *body, size_t length)
{
	return length > 1 && sum_of(alphabet, body, length) == 0;
}

void
mktg_code_body(const char *alphabet, const unsigned char *random, size_t length, bool checksum, char *out)
{
	size_t		n = checksum ? length - 1 : length;

	/* 256 is a multiple of 32: every symbol is as likely as any other */
	for (size_t i = 0; i < n; i++)
		out[i] = alphabet[random[i] & 31];
	if (checksum)
		out[n] = mktg_code_check(alphabet, out, n);
}
