/*-------------------------------------------------------------------------
 *
 * header.c
 *		What may stand in a header line.
 *
 * IDENTIFICATION
 *		src/core/header.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/core.h"

bool
mktg_header_safe(const char *bytes, size_t length)
{
	size_t		i;

	for (i = 0; i < length; i++)
	{
		unsigned char byte = (unsigned char) bytes[i];

		if ((byte < 0x20 && byte != '\t') || byte == 0x7F)
			return false;
	}
	return true;
}
