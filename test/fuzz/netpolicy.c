/*-------------------------------------------------------------------------
 *
 * netpolicy.c
 *		Fuzzes network lists, and compares with a second implementation of
 *		the address policy.
 *
 * The first byte of the input chooses the family, the next 4 or 16 are the
 * address, the rest is the list.
 *
 * IDENTIFICATION
 *		test/fuzz/netpolicy.c
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "fuzz.h"

static bool
public_ipv4(uint32_t a)
{
	return !(a >> 24 == 0 || a >> 24 == 10 || a >> 22 == 0x64400000u >> 22 ||
			 a >> 24 == 127 || a >> 16 == 0xA9FE || a >> 20 == 0xAC1 ||
			 a >> 8 == 0xC00000 || a >> 8 == 0xC00002 || a >> 8 == 0xC05863 ||
			 a >> 16 == 0xC0A8 || a >> 17 == 0xC6120000u >> 17 ||
			 a >> 8 == 0xC63364 || a >> 8 == 0xCB0071 || a >> 28 >= 14);
}

static bool
public_ipv6(const uint8_t *a)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

	if (memcmp(a, mapped, 12) == 0)
		return public_ipv4((uint32_t) a[12] << 24 | (uint32_t) a[13] << 16 |
						   (uint32_t) a[14] << 8 | a[15]);
	if (a[0] < 0x20 || a[0] > 0x3F)
		return false;
	if (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0 && a[3] == 0)
		return false;
	return !(a[0] == 0x20 && a[1] == 0x02);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	const struct sockaddr *address = (struct sockaddr *) &in;
	char		own[INET6_ADDRSTRLEN];
	char	   *list;
	int			found;
	bool		six = size > 0 && data[0] % 2 == 1;
	size_t		length = six ? 16 : 4;

	if (size < 1 + length)
		return 0;
	if (six)
	{
		address = (struct sockaddr *) &in6;
		memcpy(&in6.sin6_addr, data + 1, 16);
		PROMISE(mktg_address_is_public(address) == public_ipv6(data + 1));
	}
	else
	{
		memcpy(&in.sin_addr, data + 1, 4);
		PROMISE(mktg_address_is_public(address) == public_ipv4(ntohl(in.sin_addr.s_addr)));
	}

	list = fuzz_string(data + 1 + length, size - 1 - length);
	found = mktg_address_in_list(address, list);
	PROMISE(found >= -1 && found <= 1);
	if (found >= 0)
		PROMISE(strspn(list, "0123456789abcdefABCDEF.:/, \t") == strlen(list));
	free(list);

	inet_ntop(six ? AF_INET6 : AF_INET, data + 1, own, sizeof(own));
	PROMISE(mktg_address_in_list(address, own) == 1);
	return 0;
}
