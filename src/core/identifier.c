/*-------------------------------------------------------------------------
 *
 * identifier.c
 *		What advertisers know people by: brought to one form, and hashed.
 *
 * The forms are those of Meta's customer information parameters; X has the
 * same for e-mail addresses.
 *
 * IDENTIFICATION
 *		src/core/identifier.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/sha.h>

#include "core/core.h"

#define HEX_DIGITS		"0123456789abcdefABCDEF"

static bool
is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * Small letters of Latin, Greek and Cyrillic, in place: those of two bytes in
 * UTF-8 stay two bytes.  Others are passed on as they are.
 */
static void
lower(char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
	{
		unsigned char *at = (unsigned char *) text + i;
		unsigned int code;

		if (*at >= 'A' && *at <= 'Z')
			*at += 'a' - 'A';
		if ((*at & 0xE0) != 0xC0 || i + 1 == length || (at[1] & 0xC0) != 0x80)
			continue;
		code = (unsigned int) (*at & 0x1F) << 6 | (at[1] & 0x3F);
		if ((code >= 0xC0 && code <= 0xDE && code != 0xD7) ||	/* Latin-1 */
			(code >= 0x391 && code <= 0x3A9) || (code >= 0x410 && code <= 0x42F))
			code += 0x20;
		else if (code >= 0x400 && code <= 0x40F)
			code += 0x50;
		else if ((code >= 0x139 && code <= 0x148) || (code >= 0x179 && code <= 0x17E))
			code += code & 1;	/* capitals are odd here */
		else if (code >= 0x100 && code <= 0x177 && code != 0x130 && code != 0x138)
			code |= 1;
		else if (code == 0x178)
			code = 0xFF;
		at[0] = (unsigned char) (0xC0 | code >> 6);
		at[1] = (unsigned char) (0x80 | (code & 0x3F));
		i++;
	}
}

/* A number of "least" to "most" in "digits" digits, leading zeros added. */
static bool
number(const char *in, size_t length, int digits, int least, int most, char *out)
{
	int			value = 0;

	if (length < 1 || length > (size_t) digits)
		return false;
	for (size_t i = 0; i < length; i++)
	{
		if (!is_digit(in[i]))
			return false;
		value = value * 10 + (in[i] - '0');
	}
	if (value < least || value > most)
		return false;
	snprintf(out, MKTG_IDENTIFIER_BUFFER, "%0*d", digits, value);
	return true;
}

/* Digits with the country's, without the sign before them. */
static bool
phone(const char *in, size_t length, bool with_plus, char *out)
{
	if (mktg_phone_normalize(in, length, out) != MKTG_ADDRESS_OK)
		return false;
	if (!with_plus)
		memmove(out, out + 1, strlen(out));
	return true;
}

static bool
gender(const char *word, char *out)
{
	static const char *const words[][2] = {
		{"m", "m"}, {"male", "m"}, {"man", "m"}, {"f", "f"}, {"female", "f"}, {"woman", "f"}
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(word, words[i][0]) == 0)
		{
			strcpy(out, words[i][1]);
			return true;
		}
	return false;
}

/* Takes out what names of places are not compared by. */
static bool
place(char *text)
{
	char	   *to = text;

	for (const char *from = text; *from != '\0'; from++)
		if (!is_blank(*from) && !is_digit(*from) && strchr(".-()", *from) == NULL)
			*to++ = *from;
	*to = '\0';
	return to > text;
}

static void
trim(const char **in, size_t *length)
{
	while (*length > 0 && is_blank((*in)[*length - 1]))
		(*length)--;
	while (*length > 0 && is_blank(**in))
		(*in)++, (*length)--;
}

bool
mktg_identifier_normalize(MktgIdentifier kind, const char *in, size_t length, char out[MKTG_IDENTIFIER_BUFFER])
{
	trim(&in, &length);
	if (length == 0 || length >= MKTG_IDENTIFIER_BUFFER || memchr(in, '\0', length) != NULL)
		return false;
	switch (kind)
	{
		case MKTG_IDENTIFIER_EMAIL:
			return mktg_email_normalize(in, length, out) == MKTG_ADDRESS_OK;
		case MKTG_IDENTIFIER_PHONE:
			return phone(in, length, false, out);
		case MKTG_IDENTIFIER_PHONE_E164:
			return phone(in, length, true, out);
		case MKTG_IDENTIFIER_YEAR:
			return length == 4 && number(in, length, 4, 1800, 2200, out);
		case MKTG_IDENTIFIER_MONTH:
			return number(in, length, 2, 1, 12, out);
		case MKTG_IDENTIFIER_DAY:
			return number(in, length, 2, 1, 31, out);
		default:
			break;
	}
	memcpy(out, in, length);
	out[length] = '\0';
	lower(out, length);
	switch (kind)
	{
		case MKTG_IDENTIFIER_PLACE:
			return place(out);
		case MKTG_IDENTIFIER_COUNTRY:
			return length == 2 && strspn(out, "abcdefghijklmnopqrstuvwxyz") == 2;
		case MKTG_IDENTIFIER_GENDER:
			return gender(out, out);
		default:
			return true;
	}
}

bool
mktg_identifier_hash(MktgIdentifier kind, const char *in, size_t length, char hash[MKTG_HASH_SIZE])
{
	char		form[MKTG_IDENTIFIER_BUFFER];
	unsigned char digest[SHA256_DIGEST_LENGTH];

	trim(&in, &length);
	if (length == MKTG_HASH_SIZE - 1)
	{
		memcpy(hash, in, length);
		hash[length] = '\0';
		/* hashed already */
		if (strspn(hash, HEX_DIGITS) == length)
		{
			lower(hash, length);
			return true;
		}
	}
	hash[0] = '\0';
	if (!mktg_identifier_normalize(kind, in, length, form) ||
		SHA256((const unsigned char *) form, strlen(form), digest) == NULL)
		return false;
	for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
		sprintf(hash + 2 * i, "%02x", digest[i]);
	return true;
}
