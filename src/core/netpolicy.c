/*-------------------------------------------------------------------------
 *
 * netpolicy.c
 *		Which addresses a URL that came as data may reach.
 *
 * Asked with the address a connection is about to be opened to, after name
 * resolution, so that neither a name nor a way of writing numbers gets around
 * it.  IPv4 addresses inside IPv6 (::ffff:0:0/96) count as IPv4.
 *
 * IDENTIFICATION
 *		src/core/netpolicy.c
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "core/core.h"

/* an address, or a network of "prefix" bits */
typedef struct Network
{
	int			bits;			/* 32 or 128; 0 = neither kind */
	int			prefix;
	unsigned char bytes[16];
} Network;

/* IPv4 that is no public unicast: the IANA special-purpose registry, multicast, reserved */
static const Network not_public[] = {
	{32, 8, {0}},
	{32, 8, {10}},
	{32, 10, {100, 64}},
	{32, 8, {127}},
	{32, 16, {169, 254}},
	{32, 12, {172, 16}},
	{32, 24, {192, 0, 0}},
	{32, 24, {192, 0, 2}},
	{32, 24, {192, 88, 99}},
	{32, 16, {192, 168}},
	{32, 15, {198, 18}},
	{32, 24, {198, 51, 100}},
	{32, 24, {203, 0, 113}},
	{32, 4, {224}},
	{32, 4, {240}},
};

static const Network global_unicast = {128, 3, {0x20}};
static const Network teredo = {128, 32, {0x20, 0x01}};	/* carries IPv4 addresses */
static const Network six_to_four = {128, 16, {0x20, 0x02}}; /* likewise */

/* Turns an IPv4 address in IPv6 clothes, or a network of such, into IPv4. */
static void
unwrap(Network *network)
{
	static const unsigned char mapped[12] = {[10] = 0xFF, [11] = 0xFF};

	if (network->bits != 128 || network->prefix < 96 ||
		memcmp(network->bytes, mapped, sizeof(mapped)) != 0)
		return;
	memmove(network->bytes, network->bytes + 12, 4);
	network->bits = 32;
	network->prefix -= 96;
}

static Network
from_sockaddr(const struct sockaddr *address)
{
	Network		result = {0};

	/* copied, for a sockaddr need not lie where a sockaddr_in6 could */
	if (address->sa_family == AF_INET)
	{
		struct sockaddr_in in;

		memcpy(&in, address, sizeof(in));
		memcpy(result.bytes, &in.sin_addr, 4);
		result.bits = result.prefix = 32;
	}
	else if (address->sa_family == AF_INET6)
	{
		struct sockaddr_in6 in6;

		memcpy(&in6, address, sizeof(in6));
		memcpy(result.bytes, &in6.sin6_addr, 16);
		result.bits = result.prefix = 128;
	}
	unwrap(&result);
	return result;
}

static bool
contains(const Network *network, const Network *address)
{
	int			whole = network->prefix / 8;
	int			rest = network->prefix % 8;
	unsigned char mask = (unsigned char) (0xFF00 >> rest);

	return network->bits == address->bits &&
		memcmp(network->bytes, address->bytes, (size_t) whole) == 0 &&
		(rest == 0 || ((network->bytes[whole] ^ address->bytes[whole]) & mask) == 0);
}

bool
mktg_address_is_public(const struct sockaddr *address)
{
	Network		asked = from_sockaddr(address);
	size_t		i;

	if (asked.bits == 128)
		return contains(&global_unicast, &asked) &&
			!contains(&teredo, &asked) && !contains(&six_to_four, &asked);
	if (asked.bits != 32)
		return false;
	for (i = 0; i < sizeof(not_public) / sizeof(not_public[0]); i++)
		if (contains(&not_public[i], &asked))
			return false;
	return true;
}

/* Reads one, two or three digits without a leading zero; -1 if that is not what is there. */
static int
parse_prefix(const char *at, size_t length)
{
	int			value = 0;
	size_t		i;

	if (length == 0 || length > 3 || (length > 1 && at[0] == '0'))
		return -1;
	for (i = 0; i < length; i++)
	{
		if (at[i] < '0' || at[i] > '9')
			return -1;
		value = value * 10 + (at[i] - '0');
	}
	return value;
}

/* Bits behind the prefix would say that something else was meant. */
static bool
host_bits_clear(const Network *network)
{
	int			i;

	for (i = network->prefix; i < network->bits; i++)
		if ((network->bytes[i / 8] & (0x80 >> (i % 8))) != 0)
			return false;
	return true;
}

static bool
parse_network(const char *at, size_t length, Network *network)
{
	const char *slash = memchr(at, '/', length);
	size_t		address_length = slash != NULL ? (size_t) (slash - at) : length;
	char		address[INET6_ADDRSTRLEN];

	memset(network, 0, sizeof(*network));
	if (address_length >= sizeof(address))
		return false;
	memcpy(address, at, address_length);
	address[address_length] = '\0';

	if (inet_pton(AF_INET, address, network->bytes) == 1)
		network->bits = 32;
	else if (inet_pton(AF_INET6, address, network->bytes) == 1)
		network->bits = 128;
	else
		return false;

	network->prefix = network->bits;
	if (slash != NULL)
		network->prefix = parse_prefix(slash + 1, length - address_length - 1);
	if (network->prefix < 0 || network->prefix > network->bits ||
		!host_bits_clear(network))
		return false;
	unwrap(network);
	return true;
}

int
mktg_address_in_list(const struct sockaddr *address, const char *list)
{
	Network		asked = from_sockaddr(address);
	int			found = 0;

	/* to the end even where it was found: the answer to a bad list is always -1 */
	for (;;)
	{
		Network		network;
		size_t		length;
		size_t		next;

		list += strspn(list, " \t");
		next = length = strcspn(list, ",");
		while (length > 0 && (list[length - 1] == ' ' || list[length - 1] == '\t'))
			length--;
		if (!parse_network(list, length, &network))
			return -1;
		if (contains(&network, &asked))
			found = 1;
		if (list[next] == '\0')
			return found;
		list += next + 1;
	}
}
