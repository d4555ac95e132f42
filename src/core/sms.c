/*-------------------------------------------------------------------------
 *
 * sms.c
 *		What a text takes as a short message: alphabet, units, segments.
 *
 * 3GPP TS 23.038: a message of characters of the GSM 7-bit default alphabet
 * holds 160 septets, some characters taking two; any other holds 70 UTF-16
 * units.  A longer text is split into segments of 153 or 67, and a character
 * is never split.
 *
 * IDENTIFICATION
 *		src/core/sms.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/core.h"

#define GSM_SINGLE		160
#define GSM_SEGMENT		153
#define UCS2_SINGLE		70
#define UCS2_SEGMENT	67
#define REPLACEMENT		0xFFFD

/* of the default alphabet beyond ASCII, in order */
static const uint16_t gsm_others[] = {
	0x00A1, 0x00A3, 0x00A4, 0x00A5, 0x00A7, 0x00BF, 0x00C4, 0x00C5, 0x00C6, 0x00C7, 0x00C9,
	0x00D1, 0x00D6, 0x00D8, 0x00DC, 0x00DF, 0x00E0, 0x00E4, 0x00E5, 0x00E6, 0x00E8, 0x00E9,
	0x00EC, 0x00F1, 0x00F2, 0x00F6, 0x00F8, 0x00F9, 0x00FC, 0x0393, 0x0394, 0x0398, 0x039B,
	0x039E, 0x03A0, 0x03A3, 0x03A6, 0x03A8, 0x03A9
};

#define EURO	0x20AC			/* of the extension table */

/* The character at *at, which moves on; what is not UTF-8 is U+FFFD, a byte at a time. */
static uint32_t
next_character(const unsigned char **at, const unsigned char *end)
{
	const unsigned char *start = *at;
	uint32_t	character = *start;
	int			more = character < 0x80 ? 0 : character >= 0xF0 ? 3 : character >= 0xE0 ? 2 : 1;
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};

	*at = start + 1;
	if (more == 0)
		return character;
	if (character < 0xC2 || character > 0xF4 || end - start <= more)
		return REPLACEMENT;
	character &= 0x3F >> more;
	for (int i = 1; i <= more; i++)
	{
		if ((start[i] & 0xC0) != 0x80)
			return REPLACEMENT;
		character = character << 6 | (start[i] & 0x3F);
	}
	if (character < least[more] || character > 0x10FFFF || (character >= 0xD800 && character <= 0xDFFF))
		return REPLACEMENT;
	*at = start + more + 1;
	return character;
}

/* Septets of a character: 0 if the alphabet does not have it. */
static int
septets(uint32_t character)
{
	if (character < 0x80)
	{
		switch (character)
		{
			case '^':
			case '{':
			case '}':
			case '\\':
			case '[':
			case '~':
			case ']':
			case '|':
			case '\f':
				return 2;
			case '`':
			case 0x7F:
				return 0;
			default:
				return character >= 0x20 || character == '\n' || character == '\r';
		}
	}
	if (character == EURO)
		return 2;
	for (size_t i = 0; i < sizeof(gsm_others) / sizeof(gsm_others[0]); i++)
		if (gsm_others[i] == character)
			return 1;
	return 0;
}

static int
utf16_units(uint32_t character)
{
	return character > 0xFFFF ? 2 : 1;
}

MktgSms
mktg_sms_measure(const char *text, size_t length)
{
	const unsigned char *end = (const unsigned char *) text + length;
	MktgSms		sms = {.gsm = true};
	int			segment;		/* units one may hold */
	int			used = 0;		/* of the last one */
	int			segments = 1;

	for (const unsigned char *at = (const unsigned char *) text; at < end;)
	{
		uint32_t	character = next_character(&at, end);

		sms.characters += utf16_units(character);
		sms.gsm &= septets(character) > 0;
	}
	segment = sms.gsm ? GSM_SEGMENT : UCS2_SEGMENT;
	for (const unsigned char *at = (const unsigned char *) text; at < end;)
	{
		uint32_t	character = next_character(&at, end);
		int			units = sms.gsm ? septets(character) : utf16_units(character);

		sms.units += units;
		if (used + units > segment)
		{
			segments++;
			used = 0;
		}
		used += units;
	}
	if (sms.units <= (sms.gsm ? GSM_SINGLE : UCS2_SINGLE))
		segments = sms.units > 0;
	sms.segments = segments;
	return sms;
}
