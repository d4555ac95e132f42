/*-------------------------------------------------------------------------
 *
 * http2.c
 *		Which requests an HTTP/2 server has not looked at.
 *
 * An HTTP/2 server that ends a connection says in GOAWAY which requests it has
 * not looked at; these go again wherever they are.  libcurl repeats them as it
 * repeats those whose connection died, and tells the two apart in nothing but
 * what it says for people to read: so that is read.  Where another version
 * words it otherwise the request is in doubt, as it would be without.
 *
 * IDENTIFICATION
 *		src/provider/http2.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "provider/transport.h"

/* Tells connections that are open at one time apart (FNV-1a); never 0. */
static uint64_t
connection_key(const char *ip, const char *local_ip, int port, int local_port)
{
	uint64_t	key = UINT64_C(0xCBF29CE484222325) ^ ((uint64_t) (uint32_t) port << 32 | (uint32_t) local_port);

	for (const char *c = ip; *c != '\0'; c++)
		key = (key ^ (unsigned char) *c) * UINT64_C(0x100000001B3);
	for (const char *c = local_ip; *c != '\0'; c++)
		key = (key ^ (unsigned char) *c) * UINT64_C(0x100000001B3);
	return key != 0 ? key : 1;
}

/*
 * What libcurl 7.88 says of streams: the number of the request's own, the end
 * of its connection, and that it leaves it for another.  The end is told to
 * whichever request was being looked after, so it is taken from one that is on
 * the connection and no other.
 */
static int
take_remark(CURL *easy, curl_infotype type, char *text, size_t length, void *data)
{
	MktgRequest *request = data;
	char		line[128];
	const char *last;
	unsigned int number;

	(void) easy;
	if (type != CURLINFO_TEXT || length == 0 || strchr("UrCR", text[0]) == NULL)
		return 0;
	if (length > sizeof(line) - 1)
		length = sizeof(line) - 1;
	memcpy(line, text, length);
	line[length] = '\0';

	if (sscanf(line, "Using Stream ID: %u", &number) == 1)
		request->stream = number;
	else if (strstr(line, "retrying a fresh connect") != NULL)
		request->connection = 0;
	else if (request->connection != 0 && strstr(line, "GOAWAY") != NULL &&
			 (last = strstr(line, "last_stream=")) != NULL &&
			 sscanf(last, "last_stream=%u", &number) == 1)
		mktg_network_goaway(request->transport->network, request->connection, number);
	return 0;
}

/* libcurl's remarks are taken, and nothing of them is printed. */
bool
mktg_http2_prepare(MktgRequest *request)
{
	return curl_easy_setopt(request->easy, CURLOPT_DEBUGFUNCTION, take_remark) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_DEBUGDATA, request) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_VERBOSE, 1L) == CURLE_OK;
}

void
mktg_http2_begins(MktgRequest *request, const char *ip, const char *local_ip, int port, int local_port)
{
	request->connection = connection_key(ip, local_ip, port, local_port);
	request->stream = 0;
}
