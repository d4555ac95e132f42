/*-------------------------------------------------------------------------
 *
 * address.c
 *		E-mail and phone addresses, checked and brought to one written form.
 *
 * An address is stored, compared, hashed for suppression and handed to
 * providers only in this form, so normalizing it again changes nothing.
 * Stricter than the standards on purpose: quoted local parts, comments,
 * address literals and internationalized addresses are refused.
 *
 * IDENTIFICATION
 *		src/core/address.c
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "core/core.h"

#define MAX_LOCAL		64		/* RFC 5321, 4.5.3.1.1 */
#define MAX_LABEL		63		/* RFC 1035, 2.3.4 */
#define MIN_DIGITS		7
#define MAX_DIGITS		15		/* E.164 */

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Takes the blanks around the text away. */
static void
trim(const char **in, size_t *length)
{
	while (*length > 0 && (**in == ' ' || **in == '\t'))
	{
		(*in)++;
		(*length)--;
	}
	while (*length > 0 && ((*in)[*length - 1] == ' ' || (*in)[*length - 1] == '\t'))
		(*length)--;
}

static bool
has_control(const char *in, size_t length)
{
	size_t		i;

	for (i = 0; i < length; i++)
		if ((unsigned char) in[i] < 0x20 || in[i] == 0x7F)
			return true;
	return false;
}

/* Dot-atom of RFC 5321: atext, single dots inside. */
static bool
local_part_ok(const char *in, size_t length)
{
	size_t		i;

	if (length == 0 || length > MAX_LOCAL)
		return false;
	for (i = 0; i < length; i++)
	{
		if (in[i] == '.')
		{
			if (i == 0 || i == length - 1 || in[i - 1] == '.')
				return false;
		}
		else if (in[i] == '\0' ||
				 (!is_letter(in[i]) && !is_digit(in[i]) &&
				  strchr("!#$%&'*+-/=?^_`{|}~", in[i]) == NULL))
			return false;
	}
	return true;
}

static bool
label_ok(const char *in, size_t length)
{
	size_t		i;

	if (length == 0 || length > MAX_LABEL || in[0] == '-' || in[length - 1] == '-')
		return false;
	for (i = 0; i < length; i++)
		if (!is_letter(in[i]) && !is_digit(in[i]) && in[i] != '-')
			return false;
	return true;
}

/* Two labels or more; a last one of digits alone would be an IP address. */
static bool
domain_ok(const char *in, size_t length)
{
	const char *label = in;
	const char *end = in + length;
	int			labels = 1;
	const char *dot;

	while ((dot = memchr(label, '.', (size_t) (end - label))) != NULL)
	{
		if (!label_ok(label, (size_t) (dot - label)))
			return false;
		label = dot + 1;
		labels++;
	}
	if (labels < 2 || !label_ok(label, (size_t) (end - label)))
		return false;
	for (; label < end; label++)
		if (!is_digit(*label))
			return true;
	return false;
}

MktgAddressResult
mktg_email_normalize(const char *in, size_t length, char *out)
{
	const char *at;
	size_t		local_length;
	size_t		i;

	out[0] = '\0';
	trim(&in, &length);
	if (length == 0)
		return MKTG_ADDRESS_EMPTY;
	if (length > MKTG_MAX_EMAIL)
		return MKTG_ADDRESS_TOO_LONG;
	if (has_control(in, length))
		return MKTG_ADDRESS_CONTROL;

	/* a second @ is in no domain, and in no local part without quotes */
	at = memchr(in, '@', length);
	if (at == NULL)
		return MKTG_ADDRESS_MALFORMED;
	local_length = (size_t) (at - in);
	if (!local_part_ok(in, local_length) ||
		!domain_ok(at + 1, length - local_length - 1))
		return MKTG_ADDRESS_MALFORMED;

	for (i = 0; i < length; i++)
		out[i] = in[i] >= 'A' && in[i] <= 'Z' ? (char) (in[i] - 'A' + 'a') : in[i];
	out[length] = '\0';
	return MKTG_ADDRESS_OK;
}

/*
 * Keeps the digits, at most "max" of them in "digits" and their number in
 * *count, which may be more.  False if anything stands there that does not
 * belong in a phone number.
 */
static bool
phone_digits(const char *in, size_t length, char *digits, size_t max,
			 size_t *count, bool *plus)
{
	size_t		opened = SIZE_MAX;	/* digits before the last opening bracket */
	char		last = 0;
	size_t		i;

	*count = 0;
	*plus = false;
	for (i = 0; i < length; i++)
	{
		if (is_digit(in[i]))
		{
			if (*count < max)
				digits[*count] = in[i];
			(*count)++;
			last = in[i];
		}
		else if (in[i] == '+' && *count == 0 && !*plus)
			*plus = true;
		else if (in[i] == '\0' || strchr(" -./()[]", in[i]) == NULL)
			return false;

		/* "(0)": few countries dial it from abroad, most do not, so do not guess */
		if (in[i] == '(' || in[i] == '[')
			opened = *count;
		else if ((in[i] == ')' || in[i] == ']') &&
				 opened == *count - 1 && last == '0')
			return false;
	}
	return true;
}

MktgAddressResult
mktg_phone_normalize(const char *in, size_t length, char *out)
{
	char		kept[MAX_DIGITS + 2];	/* 00 and the number */
	const char *digits = kept;
	size_t		count;
	bool		plus;

	out[0] = '\0';
	trim(&in, &length);
	if (length == 0)
		return MKTG_ADDRESS_EMPTY;
	if (has_control(in, length))
		return MKTG_ADDRESS_CONTROL;
	if (!phone_digits(in, length, kept, sizeof(kept), &count, &plus))
		return MKTG_ADDRESS_MALFORMED;
	if (count == 0)
		return MKTG_ADDRESS_MALFORMED;

	if (!plus)
	{
		if (count < 2 || digits[0] != '0' || digits[1] != '0')
			return MKTG_ADDRESS_NO_COUNTRY;
		digits += 2;
		count -= 2;
	}
	if (count > MAX_DIGITS)
		return MKTG_ADDRESS_TOO_LONG;
	if (count < MIN_DIGITS || digits[0] == '0')
		return MKTG_ADDRESS_MALFORMED;

	out[0] = '+';
	memcpy(out + 1, digits, count);
	out[count + 1] = '\0';
	return MKTG_ADDRESS_OK;
}
