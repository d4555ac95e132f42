/*-------------------------------------------------------------------------
 *
 * nearest.c
 *		Which name was meant: the nearest of those there are.
 *
 * IDENTIFICATION
 *		src/core/nearest.c
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "core/rule.h"

/* longer names are near nothing; bounds the work and the stack */
#define MAX_NAME	256

static inline char
small(char c)
{
	return c >= 'A' && c <= 'Z' ? (char) (c + ('a' - 'A')) : c;
}

static bool
same(const char *a, const char *b, size_t length)
{
	size_t		i;

	for (i = 0; i < length; i++)
		if (small(a[i]) != small(b[i]))
			return false;
	return true;
}

/* Is "tail" what stands behind a dot at the end of "name"? */
static bool
ends_in(const char *name, size_t name_length, const char *tail, size_t tail_length)
{
	return tail_length > 0 && name_length > tail_length &&
		name[name_length - tail_length - 1] == '.' &&
		same(name + name_length - tail_length, tail, tail_length);
}

static inline size_t
least_of(size_t a, size_t b)
{
	return a < b ? a : b;
}

/*
 * Levenshtein, with neighbours that changed places as one step, for that is how
 * people mistype: bytes to change, add, take away or swap.
 */
static size_t
distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t		rows[3][MAX_NAME + 1];	/* of the table, each in the place of the third before */
	size_t		i;
	size_t		j;

	for (j = 0; j <= b_length; j++)
		rows[0][j] = j;
	for (i = 1; i <= a_length; i++)
	{
		size_t	   *row = rows[i % 3];
		const size_t *above = rows[(i + 2) % 3];

		row[0] = i;
		for (j = 1; j <= b_length; j++)
		{
			bool		differs = small(a[i - 1]) != small(b[j - 1]);

			row[j] = least_of(above[j - 1] + differs, least_of(above[j], row[j - 1]) + 1);
			if (differs && i > 1 && j > 1 && small(a[i - 1]) == small(b[j - 2]) &&
				small(a[i - 2]) == small(b[j - 1]))
				row[j] = least_of(row[j], rows[(i + 1) % 3][j - 2] + 1);
		}
	}
	return rows[a_length % 3][b_length];
}

const char *
mktg_nearest_name(const char *name, const char *const *names, int n)
{
	const char *nearest = NULL;
	size_t		least = MAX_NAME + 1;
	size_t		length = strlen(name);
	int			i;

	if (length > MAX_NAME)
		return NULL;
	for (i = 0; i < n; i++)
	{
		size_t		other = strlen(names[i]);
		size_t		steps;

		if (other > MAX_NAME)
			continue;
		/* a name given without its table, or with one too many, is a small slip */
		if (ends_in(names[i], other, name, length) || ends_in(name, length, names[i], other))
			steps = 1;
		else
		{
			steps = distance(name, length, names[i], other);
			if (steps * 3 > (length > other ? length : other))
				continue;
		}
		if (steps < least)
		{
			least = steps;
			nearest = names[i];
		}
	}
	return nearest;
}
