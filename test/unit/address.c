/*-------------------------------------------------------------------------
 *
 * address.c
 *		Unit tests of src/core/address.c.
 *
 * IDENTIFICATION
 *		test/unit/address.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/core.h"
#include "tap.h"

typedef MktgAddressResult (*Normalize) (const char *in, size_t length, char *out);

/* "want" NULL: no address comes out. */
static void
check(Normalize normalize, const char *in, size_t length, MktgAddressResult result,
	  const char *want, const char *name)
{
	/* on the heap and exactly as long, so that a byte too far is seen */
	char	   *copy = malloc(length > 0 ? length : 1);
	char	   *out = malloc(MKTG_ADDRESS_BUFFER);
	MktgAddressResult got;

	memcpy(copy, in, length);
	got = normalize(copy, length, out);
	if (!ok(got == result && strcmp(out, want != NULL ? want : "") == 0, "%s", name))
		printf("# got result %d \"%s\", want %d\n", got, out, result);
	free(copy);
	free(out);
}

#define EMAIL(in, result, want, name) \
	check(mktg_email_normalize, in, sizeof(in) - 1, MKTG_ADDRESS_##result, want, "e-mail: " name)
#define PHONE(in, result, want, name) \
	check(mktg_phone_normalize, in, sizeof(in) - 1, MKTG_ADDRESS_##result, want, "phone: " name)

#define X10 "xxxxxxxxxx"
#define X50 X10 X10 X10 X10 X10
#define X60 X50 X10

static void
test_email(void)
{
	EMAIL("ana@example.com", OK, "ana@example.com", "as it is");
	EMAIL(" \tAna.Lima@Example.COM  ", OK, "ana.lima@example.com", "blanks go, letters become small");
	EMAIL("a@b.co", OK, "a@b.co", "short");
	EMAIL("a!#$%&'*+-/=?^_`{|}~9@example.com", OK, "a!#$%&'*+-/=?^_`{|}~9@example.com", "every sign of atext");
	EMAIL("x@xn--bcher-kva.example", OK, "x@xn--bcher-kva.example", "punycode");
	EMAIL("x@1and1.com", OK, "x@1and1.com", "a label may begin with a digit");
	EMAIL("x@1.2.c3", OK, "x@1.2.c3", "labels of digits before the last");

	EMAIL("", EMPTY, NULL, "empty");
	EMAIL(" \t ", EMPTY, NULL, "blanks");
	EMAIL("ana", MALFORMED, NULL, "no @");
	EMAIL("@example.com", MALFORMED, NULL, "no local part");
	EMAIL("ana@", MALFORMED, NULL, "no domain");
	EMAIL("ana@localhost", MALFORMED, NULL, "one label");
	EMAIL("a@b@example.com", MALFORMED, NULL, "two @");
	EMAIL("\"a b\"@example.com", MALFORMED, NULL, "a quoted local part");
	EMAIL("\"a@b\"@example.com", MALFORMED, NULL, "an @ in quotes");
	EMAIL(".a@example.com", MALFORMED, NULL, "a dot first");
	EMAIL("a.@example.com", MALFORMED, NULL, "a dot last");
	EMAIL("a..b@example.com", MALFORMED, NULL, "two dots");
	EMAIL("a b@example.com", MALFORMED, NULL, "a blank inside");
	EMAIL("a(x)@example.com", MALFORMED, NULL, "a comment");
	EMAIL("a,b@example.com", MALFORMED, NULL, "a comma");
	EMAIL("<a@example.com>", MALFORMED, NULL, "angle brackets");
	EMAIL("Ana <a@example.com>", MALFORMED, NULL, "a name before it");
	EMAIL("a@example.com.", MALFORMED, NULL, "a dot at the end");
	EMAIL("a@.example.com", MALFORMED, NULL, "an empty label first");
	EMAIL("a@example..com", MALFORMED, NULL, "an empty label inside");
	EMAIL("a@-example.com", MALFORMED, NULL, "a label that starts with -");
	EMAIL("a@example-.com", MALFORMED, NULL, "a label that ends with -");
	EMAIL("a@exa_mple.com", MALFORMED, NULL, "_ in the domain");
	EMAIL("a@127.0.0.1", MALFORMED, NULL, "an IPv4 address");
	EMAIL("a@[127.0.0.1]", MALFORMED, NULL, "an address literal");
	EMAIL("a@example.123", MALFORMED, NULL, "a last label of digits");
	EMAIL("j\xC3\xB6rg@example.com", MALFORMED, NULL, "not ASCII");
	EMAIL("a@ex\xC3\xA4mple.com", MALFORMED, NULL, "a domain that is not ASCII");
	EMAIL("a@example.com\n", CONTROL, NULL, "a line end is an error, not a blank");
	EMAIL("a@example.com\r\nBcc: x@example.com", CONTROL, NULL, "a header smuggled in");
	EMAIL("a@example.com\0x", CONTROL, NULL, "NUL");
	EMAIL("a\t@example.com", CONTROL, NULL, "a tab inside");
	EMAIL("a\x7f@example.com", CONTROL, NULL, "DEL");
}

static void
test_email_lengths(void)
{
	EMAIL(X60 "xxxx@example.com", OK, X60 "xxxx@example.com", "local part of 64");
	EMAIL(X60 "xxxxx@example.com", MALFORMED, NULL, "local part of 65");
	EMAIL("a@" X60 "xxx.com", OK, "a@" X60 "xxx.com", "label of 63");
	EMAIL("a@" X60 "xxxx.com", MALFORMED, NULL, "label of 64");
	EMAIL(X60 "@" X60 "." X60 "." X60 "." X10 "." "com", TOO_LONG, NULL, "259 bytes");
	EMAIL(X60 "@" X60 "." X60 "." X60 ".xxxxxxx.com", TOO_LONG, NULL, "255 bytes");
	EMAIL("  " X60 "@" X60 "." X60 "." X60 ".xxxxxx.com  ", OK,
		  X60 "@" X60 "." X60 "." X60 ".xxxxxx.com", "254 bytes");
}

static void
test_phone(void)
{
	PHONE("+4930123456", OK, "+4930123456", "as it is");
	PHONE(" +49 (30) 123-456/7.8 ", OK, "+49301234567" "8", "signs between go");
	PHONE("0049 30 123456", OK, "+4930123456", "00 becomes +");
	PHONE("(00)4930123456", OK, "+4930123456", "00 in brackets");
	PHONE("[+91] 98765 43210", OK, "+919876543210", "square brackets, + behind one");
	PHONE("+1234567", OK, "+1234567", "7 digits");
	PHONE("+123456789012345", OK, "+123456789012345", "15 digits");
	PHONE("00123456789012345", OK, "+123456789012345", "15 digits behind 00");
	PHONE("+1 (800) 555-0100", OK, "+18005550100", "an area code that ends in 0");

	PHONE("", EMPTY, NULL, "empty");
	PHONE("   ", EMPTY, NULL, "blanks");
	PHONE("030 123456", NO_COUNTRY, NULL, "a national number");
	PHONE("4930123456", NO_COUNTRY, NULL, "no + and no 00");
	PHONE("0", NO_COUNTRY, NULL, "one digit");
	PHONE("+", MALFORMED, NULL, "+ alone");
	PHONE("--", MALFORMED, NULL, "signs alone");
	PHONE("+123456", MALFORMED, NULL, "6 digits");
	PHONE("00", MALFORMED, NULL, "00 alone");
	PHONE("+1234567890123456", TOO_LONG, NULL, "16 digits");
	PHONE("001234567890123456", TOO_LONG, NULL, "16 digits behind 00");
	PHONE("+1234567890123456789012345678901234567890", TOO_LONG, NULL, "40 digits");
	PHONE("+0123456789", MALFORMED, NULL, "no country begins with 0");
	PHONE("+004930123456", MALFORMED, NULL, "+ and 00");
	PHONE("++4930123456", MALFORMED, NULL, "two +");
	PHONE("49+30123456", MALFORMED, NULL, "+ inside");
	PHONE("+49 (0) 30 123456", MALFORMED, NULL, "(0) is not guessed at");
	PHONE("+49 ( 0 )30 123456", MALFORMED, NULL, "nor with blanks in it");
	PHONE("+1-800-FLOWERS", MALFORMED, NULL, "letters");
	PHONE("+4930123456 ext. 7", MALFORMED, NULL, "an extension");
	PHONE("tel:+4930123456", MALFORMED, NULL, "a URI");
	PHONE("+\xD9\xA1\xD9\xA2\xD9\xA3\xD9\xA4\xD9\xA5\xD9\xA6\xD9\xA7", MALFORMED, NULL, "digits that are not ASCII");
	PHONE("+4930\xC2\xA0" "123456", MALFORMED, NULL, "a no-break space");
	PHONE("+4930123456\n", CONTROL, NULL, "a line end");
	PHONE("+49301\0" "23456", CONTROL, NULL, "NUL");
	PHONE("+4930\t123456", CONTROL, NULL, "a tab inside");
}

int
main(void)
{
	test_email();
	test_email_lengths();
	test_phone();
	return tap_done();
}
