/*-------------------------------------------------------------------------
 *
 * sms.c
 *		Fuzzes the measuring of short messages: any bytes have a measure, and
 *		it is one that the limits allow.
 *
 * IDENTIFICATION
 *		test/fuzz/sms.c
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* exactly as long, so that a look behind the end is seen */
	char	   *text = malloc(size > 0 ? size : 1);
	MktgSms		sms;
	int			single;
	int			segment;

	if (size > 0)
		memcpy(text, data, size);
	sms = mktg_sms_measure(text, size);
	single = sms.gsm ? 160 : 70;
	segment = sms.gsm ? 153 : 67;

	PROMISE(sms.units >= sms.characters || !sms.gsm);
	PROMISE(sms.gsm || sms.units == sms.characters);
	PROMISE(sms.characters <= (int) size && sms.units <= 2 * (int) size);
	PROMISE((sms.segments == 0) == (size == 0));
	PROMISE((sms.segments == 1) == (sms.units > 0 && sms.units <= single));
	/* a character that is not split leaves at most one unit of a segment empty */
	if (sms.segments > 1)
		PROMISE(sms.units <= sms.segments * segment && sms.units > (sms.segments - 1) * (segment - 1));
	free(text);
	return 0;
}
