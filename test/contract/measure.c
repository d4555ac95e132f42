/*-------------------------------------------------------------------------
 *
 * measure.c
 *		Prints what texts take as short messages: for sms.pl.
 *
 * Texts come on the standard input, a NUL behind each; a line for each says
 * alphabet, units and segments.
 *
 * IDENTIFICATION
 *		test/contract/measure.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include "core/core.h"

int
main(void)
{
	char	   *text = NULL;
	size_t		size = 0;
	ssize_t		length;

	while ((length = getdelim(&text, &size, '\0', stdin)) > 0)
	{
		MktgSms		sms = mktg_sms_measure(text, (size_t) length - 1);

		printf("%s %d %d\n", sms.gsm ? "GSM-7" : "UCS-2", sms.units, sms.segments);
	}
	free(text);
	return 0;
}
