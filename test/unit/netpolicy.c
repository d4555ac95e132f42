/*-------------------------------------------------------------------------
 *
 * netpolicy.c
 *		Unit tests of src/core/netpolicy.c.
 *
 * IDENTIFICATION
 *		test/unit/netpolicy.c
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/core.h"
#include "tap.h"

/* Family by the look of the text. */
static const struct sockaddr *
address(const char *text)
{
	static struct sockaddr_storage storage;

	memset(&storage, 0, sizeof(storage));
	if (strchr(text, ':') != NULL)
	{
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *) &storage;

		in6->sin6_family = AF_INET6;
		if (inet_pton(AF_INET6, text, &in6->sin6_addr) != 1)
			abort();
	}
	else
	{
		struct sockaddr_in *in = (struct sockaddr_in *) &storage;

		in->sin_family = AF_INET;
		if (inet_pton(AF_INET, text, &in->sin_addr) != 1)
			abort();
	}
	return (const struct sockaddr *) &storage;
}

/* Each network's first and last address, and the neighbours on both sides. */
static void
test_ipv4_ranges(void)
{
	static const struct
	{
		const char *before;		/* NULL: another refused network, or nothing, is next to it */
		const char *first;
		const char *last;
		const char *after;
	}			ranges[] = {
		{NULL, "0.0.0.0", "0.255.255.255", "1.0.0.0"},
		{"9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
		{"100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"},
		{"126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"},
		{"169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"},
		{"172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"},
		{"191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"},
		{"192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"},
		{"192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"},
		{"192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"},
		{"198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"},
		{"198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"},
		{"203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"},
		{"223.255.255.255", "224.0.0.0", "239.255.255.255", NULL},
		{NULL, "240.0.0.0", "255.255.255.255", NULL},
	};
	size_t		i;

	for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
	{
		ok(!mktg_address_is_public(address(ranges[i].first)), "%s is not public", ranges[i].first);
		ok(!mktg_address_is_public(address(ranges[i].last)), "%s is not public", ranges[i].last);
		if (ranges[i].before != NULL)
			ok(mktg_address_is_public(address(ranges[i].before)), "%s is public", ranges[i].before);
		if (ranges[i].after != NULL)
			ok(mktg_address_is_public(address(ranges[i].after)), "%s is public", ranges[i].after);
	}
}

static void
test_ipv6(void)
{
	static const char *const public[] = {
		"2000::", "2606:4700:4700::1111", "2001:1::", "2001:4860:4860::8888",
		"2003::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:8.8.8.8"
	};
	static const char *const other[] = {
		"::", "::1", "::8.8.8.8", "64:ff9b::808:808", "100::1", "1fff:ffff::", "2001::", "2001:0:ffff::1",
		"2002::", "2002:808:808::1", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::",
		"fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1",
		"::ffff:127.0.0.1", "::ffff:10.1.2.3", "::ffff:169.254.169.254", "::ffff:0:8.8.8.8"
	};
	size_t		i;

	for (i = 0; i < sizeof(public) / sizeof(public[0]); i++)
		ok(mktg_address_is_public(address(public[i])), "%s is public", public[i]);
	for (i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		ok(!mktg_address_is_public(address(other[i])), "%s is not public", other[i]);
}

static void
test_other_families(void)
{
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	ok(!mktg_address_is_public((struct sockaddr *) &local), "a unix socket is not public");
	ok(!mktg_address_is_public(&none), "an address of no family is not public");
	is_int(mktg_address_in_list((struct sockaddr *) &local, "0.0.0.0/0,::/0"), 0,
		   "a unix socket is in no list");
}

static void
in_list(const char *text, const char *list, int want)
{
	int			got = mktg_address_in_list(address(text), list);

	if (!ok(got == want, "%s in \"%s\": %d", text, list, want))
		printf("# got %d\n", got);
}

static void
test_list(void)
{
	in_list("10.1.2.3", "10.1.2.3", 1);
	in_list("10.1.2.4", "10.1.2.3", 0);
	in_list("10.1.2.3", "10.0.0.0/8", 1);
	in_list("11.1.2.3", "10.0.0.0/8", 0);
	in_list("10.1.2.3", "192.168.0.0/16, 10.1.2.0/30 ,::1", 1);
	in_list("10.1.2.4", "192.168.0.0/16, 10.1.2.0/30 ,::1", 0);
	in_list("8.8.8.8", "0.0.0.0/0", 1);
	in_list("8.8.8.8", "::/0", 0);
	in_list("::1", "::1", 1);
	in_list("::1", "127.0.0.1,::1/128", 1);
	in_list("fd00::5", "fd00::/8", 1);
	in_list("fe00::5", "fd00::/8", 0);
	in_list("2001:db8:8::1", "2001:db8::/45", 0);
	in_list("2001:db8:7::1", "2001:db8::/45", 1);
	in_list("::ffff:10.1.2.3", "10.0.0.0/8", 1);
	in_list("10.1.2.3", "::ffff:10.0.0.0/104", 1);
	in_list("10.1.2.3", "::ffff:10.1.2.3", 1);
	in_list("10.1.2.3", "::ffff:0:0/96", 1);
	in_list("10.1.2.3", "::/95", 0);
	in_list("10.1.2.3", "\t10.1.2.3\t", 1);

	in_list("10.1.2.3", "", -1);
	in_list("10.1.2.3", " ", -1);
	in_list("10.1.2.3", ",", -1);
	in_list("10.1.2.3", "10.1.2.3,", -1);
	in_list("10.1.2.3", "10.1.2.3,nonsense", -1);
	in_list("10.1.2.3", "10.1.2.3 10.1.2.4", -1);
	in_list("10.1.2.3", "10.1.2.3/8", -1);
	in_list("10.1.2.3", "10.0.0.0/33", -1);
	in_list("10.1.2.3", "10.0.0.0/-1", -1);
	in_list("10.1.2.3", "10.0.0.0/08", -1);
	in_list("10.1.2.3", "10.0.0.0/", -1);
	in_list("10.1.2.3", "10.0.0.0/8/8", -1);
	in_list("10.1.2.3", "10.0.0.0 /8", -1);
	in_list("10.1.2.3", "10.0.0.0/1000", -1);
	in_list("10.1.2.3", "10.1", -1);
	in_list("10.1.2.3", "0x0a010203", -1);
	in_list("10.1.2.3", "fd00::/129", -1);
	in_list("10.1.2.3", "fd00::1/8", -1);
	in_list("10.1.2.3", "fe80::1%eth0", -1);
	in_list("10.1.2.3", "1111:2222:3333:4444:5555:6666:7777:8888:9999:0000:1111", -1);
	in_list("10.1.2.3", "localhost", -1);
}

int
main(void)
{
	test_ipv4_ranges();
	test_ipv6();
	test_other_families();
	test_list();
	return tap_done();
}
