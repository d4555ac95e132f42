/*-------------------------------------------------------------------------
 *
 * mail.c
 *		Header lines and texts of a mail message (RFC 5322, 2045, 2047).
 *
 * Texts are UTF-8.  What is not plain ASCII goes into a header as encoded
 * words, cut between characters.
 *
 * IDENTIFICATION
 *		src/provider/mail.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include "provider/mail.h"

#define ENCODED_WORD	45		/* bytes a word of at most 75 characters carries */
#define BASE64_LINE		57		/* bytes a line of 76 characters carries */
#define PLAIN_HEADER	200		/* an ASCII text up to this length needs no folding */
#define LONGEST_LINE	990		/* of a 7bit text; the limit is 998 */

/* ---- what can be mailed ---- */

bool
mktg_mail_check(MktgDelivery *delivery)
{
	MktgOutcome *outcome = &delivery->outcome;

	if (delivery->from_address == NULL || !mktg_mail_address_safe(delivery->from_address))
		mktg_outcome_set(outcome, MKTG_OUTCOME_CONFIG, "the sender has no valid from_address");
	else if (delivery->reply_to != NULL && !mktg_mail_address_safe(delivery->reply_to))
		mktg_outcome_set(outcome, MKTG_OUTCOME_CONFIG, "the sender's reply_to is not a valid address");
	else if (delivery->from_name != NULL &&
			 !mktg_header_safe(delivery->from_name, strlen(delivery->from_name)))
		mktg_outcome_set(outcome, MKTG_OUTCOME_CONFIG, "the sender's from_name holds a control character");
	else if (!mktg_mail_address_safe(delivery->address))
		mktg_outcome_set(outcome, MKTG_OUTCOME_PERMANENT, "the address is not a valid e-mail address");
	else if (delivery->subject != NULL &&
			 !mktg_header_safe(delivery->subject, delivery->subject_length))
		mktg_outcome_set(outcome, MKTG_OUTCOME_PERMANENT,
						 "the subject holds a line break or another control character");
	else if (delivery->subject_length > MKTG_MAX_SUBJECT)
		mktg_outcome_set(outcome, MKTG_OUTCOME_PERMANENT, "the subject is longer than %d bytes",
						 MKTG_MAX_SUBJECT);
	else if (delivery->html == NULL && delivery->body == NULL)
		mktg_outcome_set(outcome, MKTG_OUTCOME_PERMANENT, "the message has neither text nor html");
	else
		return true;
	return false;
}

/* ---- headers ---- */

/* Can the text stand in a header as it is? */
static bool
is_plain(const char *text, size_t length)
{
	if (length > PLAIN_HEADER)
		return false;
	for (size_t i = 0; i < length; i++)
		if (text[i] < 0x20 || text[i] > 0x7E)
			return false;
	/* blanks at the ends would be lost, and this would be taken for an encoded word */
	return length == 0 ||
		(text[0] != ' ' && text[length - 1] != ' ' && memmem(text, length, "=?", 2) == NULL);
}

/* Bytes of "text" that go into one encoded word: whole characters. */
static size_t
word_length(const char *text, size_t length)
{
	size_t		n = ENCODED_WORD;

	if (length <= n)
		return length;
	while (n > ENCODED_WORD - 4 && ((unsigned char) text[n] & 0xC0) == 0x80)
		n--;
	return n;
}

static void
add_encoded_words(MktgBuffer *out, const char *text, size_t length)
{
	unsigned char word[ENCODED_WORD * 4 / 3 + 4];

	while (length > 0)
	{
		size_t		n = word_length(text, length);
		int			coded = EVP_EncodeBlock(word, (const unsigned char *) text, (int) n);

		mktg_buffer_puts(out, "=?utf-8?B?");
		mktg_buffer_add(out, (char *) word, (size_t) coded);
		mktg_buffer_puts(out, "?=");
		text += n;
		length -= n;
		if (length > 0)
			mktg_buffer_puts(out, "\r\n ");
	}
}

void
mktg_mail_text(MktgBuffer *out, const char *name, const char *text, size_t length)
{
	mktg_buffer_puts(out, name);
	mktg_buffer_puts(out, ": ");
	if (is_plain(text, length))
		mktg_buffer_add(out, text, length);
	else
		add_encoded_words(out, text, length);
	mktg_buffer_puts(out, "\r\n");
}

void
mktg_mail_address(MktgBuffer *out, const char *name, const char *display, const char *address)
{
	size_t		length = display != NULL ? strlen(display) : 0;

	mktg_buffer_puts(out, name);
	mktg_buffer_puts(out, ": ");
	if (length > 0 && is_plain(display, length))
	{
		mktg_buffer_puts(out, "\"");
		for (size_t i = 0; i < length; i++)
		{
			if (display[i] == '"' || display[i] == '\\')
				mktg_buffer_puts(out, "\\");
			mktg_buffer_add(out, &display[i], 1);
		}
		mktg_buffer_puts(out, "\"\r\n ");
	}
	else if (length > 0)
	{
		add_encoded_words(out, display, length);
		mktg_buffer_puts(out, "\r\n ");
	}
	mktg_buffer_puts(out, "<");
	mktg_buffer_puts(out, address);
	mktg_buffer_puts(out, ">\r\n");
}

/* The names are the standard's, whatever the locale. */
void
mktg_mail_date(MktgBuffer *out, int64_t when)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t		seconds = (time_t) when;
	struct tm	tm;
	char		text[80];

	if (gmtime_r(&seconds, &tm) == NULL)
	{
		out->failed = true;
		return;
	}
	snprintf(text, sizeof(text), "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d +0000\r\n",
			 days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900,
			 tm.tm_hour, tm.tm_min, tm.tm_sec);
	mktg_buffer_puts(out, text);
}

/* Letters of an atom stay; any other byte, and '=', becomes =XX: a reply can be traced back. */
void
mktg_mail_message_id(MktgBuffer *out, const char *id, const char *from_address)
{
	static const char others[] = "!#$%&'*+-/?^_`{|}~.";
	const char *domain = strrchr(from_address, '@');

	mktg_buffer_puts(out, "Message-ID: <");
	for (; *id != '\0'; id++)
	{
		bool		letter = (*id >= 'a' && *id <= 'z') || (*id >= 'A' && *id <= 'Z') ||
			(*id >= '0' && *id <= '9') || strchr(others, *id) != NULL;
		char		escape[8];

		if (letter)
			mktg_buffer_add(out, id, 1);
		else
		{
			snprintf(escape, sizeof(escape), "=%02X", (unsigned int) (unsigned char) *id);
			mktg_buffer_puts(out, escape);
		}
	}
	mktg_buffer_puts(out, domain != NULL ? domain : "@localhost");
	mktg_buffer_puts(out, ">\r\n");
}

bool
mktg_mail_address_safe(const char *address)
{
	const char *at = strrchr(address, '@');

	return at != NULL && at != address && at[1] != '\0' &&
		strlen(address) <= MKTG_MAX_EMAIL &&
		mktg_header_safe(address, strlen(address)) &&
		strpbrk(address, " \t<>(),;\"\\") == NULL;
}

/* ---- texts ---- */

void
mktg_mail_lines(MktgBuffer *out, const char *text, size_t length)
{
	const char *end = text + length;

	while (text < end)
	{
		const char *at = text;

		while (at < end && *at != '\r' && *at != '\n')
			at++;
		mktg_buffer_add(out, text, (size_t) (at - text));
		if (at == end)
			return;
		mktg_buffer_add(out, "\r\n", 2);
		/* CRLF is one line end; CR and LF alone are one each */
		text = at + (*at == '\r' && at + 1 < end && at[1] == '\n' ? 2 : 1);
	}
}

void
mktg_mail_base64(MktgBuffer *out, const char *text, size_t length)
{
	unsigned char line[BASE64_LINE * 4 / 3 + 4];

	while (length > 0)
	{
		size_t		n = length < BASE64_LINE ? length : BASE64_LINE;
		int			coded = EVP_EncodeBlock(line, (const unsigned char *) text, (int) n);

		mktg_buffer_add(out, (char *) line, (size_t) coded);
		mktg_buffer_add(out, "\r\n", 2);
		text += n;
		length -= n;
	}
}

/* base64 takes 4/3 of the bytes; quoted-printable 3 times those that are not ASCII */
const char *
mktg_mail_encoding(const char *text, size_t length)
{
	size_t		escapes = 0;
	size_t		line = 0;
	size_t		longest = 0;

	for (size_t i = 0; i < length; i++)
	{
		unsigned char byte = (unsigned char) text[i];

		if (byte == '\n')
			line = 0;
		else if (++line > longest)
			longest = line;
		if (byte > 0x7E || (byte < 0x20 && byte != '\r' && byte != '\n' && byte != '\t'))
			escapes++;
	}
	if (escapes == 0 && longest <= LONGEST_LINE)
		return "7bit";
	return escapes > length / 6 ? "base64" : "quoted-printable";
}

bool
mktg_mail_same_parts(const MktgDelivery *one, const MktgDelivery *two)
{
	return (one->body_length > 0) == (two->body_length > 0) &&
		(one->html_length > 0) == (two->html_length > 0);
}
