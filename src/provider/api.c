/*-------------------------------------------------------------------------
 *
 * api.c
 *		What drivers of HTTP APIs share: credentials in headers, lists in
 *		options, and replies that concern the account and not a message.
 *
 * IDENTIFICATION
 *		src/provider/api.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "provider/api.h"

#define MAX_CREDENTIAL	4096

/* ---- options ---- */

bool
mktg_check_credential(const char *value, char *why, size_t why_size)
{
	size_t		length = strlen(value);

	if (length > 0 && length <= MAX_CREDENTIAL && mktg_header_safe(value, length))
		return true;
	snprintf(why, why_size, "must be a text of 1 to %d bytes without control characters",
			 MAX_CREDENTIAL);
	return false;
}

bool
mktg_next_item(const char **list, const char **item, size_t *length)
{
	const char *at = *list;

	if (at == NULL)
		return false;
	at += strspn(at, " ");
	*item = at;
	*length = strcspn(at, ",");
	at += *length;
	*list = *at == ',' ? at + 1 : NULL;
	while (*length > 0 && (*item)[*length - 1] == ' ')
		(*length)--;
	return true;
}

/* Does the item stand in the list before itself? */
static bool
stands_before(const char *list, const char *item, size_t length)
{
	const char *other;
	size_t		other_length;

	while (mktg_next_item(&list, &other, &other_length) && other < item)
		if (other_length == length && memcmp(other, item, length) == 0)
			return true;
	return false;
}

bool
mktg_check_items(const char *list, int max, size_t longest, char *why, size_t why_size)
{
	const char *rest = list;
	const char *item;
	size_t		length;
	int			n = 0;

	while (mktg_next_item(&rest, &item, &length))
		if (++n > max || length < 1 || length > longest || !mktg_header_safe(item, length) ||
			stands_before(list, item, length))
		{
			snprintf(why, why_size, "must be at most %d different texts of 1 to %zu bytes,"
					 " with commas between them", max, longest);
			return false;
		}
	return true;
}

/* ---- requests ---- */

char *
mktg_api_url(const char *base, const char *path)
{
	size_t		size = strlen(base) + strlen(path) + 1;
	char	   *url = malloc(size);

	if (url != NULL)
		snprintf(url, size, "%s%s", base, path);
	return url;
}

bool
mktg_add_header(struct curl_slist **headers, const char *name, const char *value)
{
	size_t		size = strlen(name) + strlen(value) + 3;
	char	   *line = malloc(size);
	struct curl_slist *list = NULL;

	if (line != NULL)
	{
		snprintf(line, size, "%s: %s", name, value);
		list = curl_slist_append(*headers, line);
		explicit_bzero(line, size);
		free(line);
	}
	if (list != NULL)
		*headers = list;
	return list != NULL;
}

void
mktg_free_headers(struct curl_slist *headers)
{
	for (struct curl_slist *line = headers; line != NULL; line = line->next)
		explicit_bzero(line->data, strlen(line->data));
	curl_slist_free_all(headers);
}

bool
mktg_api_prepare(MktgRequest *request, const char *url, struct curl_slist *headers)
{
	bool		plain = strncasecmp(url, "http://", 7) == 0;

	return curl_easy_setopt(request->easy, CURLOPT_POST, 1L) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_URL, url) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
		(!plain || curl_easy_setopt(request->easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK);
}

bool
mktg_api_log_in(MktgRequest *request, const char *user, const char *password)
{
	return curl_easy_setopt(request->easy, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_USERNAME, user) == CURLE_OK &&
		curl_easy_setopt(request->easy, CURLOPT_PASSWORD, password) == CURLE_OK;
}

int
mktg_api_most(int attempt)
{
	static const int most[] = {1000, 100, 10};

	if (attempt < 1)
		attempt = 1;
	return attempt <= (int) (sizeof(most) / sizeof(most[0])) ? most[attempt - 1] : 1;
}

/* ---- replies ---- */

void
mktg_api_classify(const MktgRequest *request, MktgOutcome *outcome)
{
	long		status = request->status;

	mktg_classify_http(request, outcome);
	if (outcome->kind == MKTG_OUTCOME_PERMANENT &&
		(status < 400 || status == 404 || status == 405))
		outcome->kind = MKTG_OUTCOME_CONFIG;
}
