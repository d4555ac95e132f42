/*-------------------------------------------------------------------------
 *
 * settings.c
 *		Options of providers: looking them up, checking them, and reading a
 *		credential file.
 *
 * What goes into "why" is a phrase for people that names no value of a
 * secret: it ends up in error details and in the server log.
 *
 * IDENTIFICATION
 *		src/provider/settings.c
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provider/provider.h"

#define MAX_CREDENTIAL_FILE	65536
#define MAX_BASE_URL		1024

const char *
mktg_setting(const MktgSetting *settings, int n, const char *name, const char *fallback)
{
	for (int i = 0; i < n; i++)
		if (strcmp(settings[i].name, name) == 0)
			return settings[i].value;
	return fallback;
}

/* ---- checks ---- */

bool
mktg_check_boolean(const char *value, char *why, size_t why_size)
{
	if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0)
		return true;
	snprintf(why, why_size, "must be true or false");
	return false;
}

bool
mktg_check_integer(const char *value, char *why, size_t why_size)
{
	size_t		digits = strspn(value, "0123456789");

	/* ten digits cannot overflow what strtoll gives */
	if (digits >= 1 && digits <= 10 && value[digits] == '\0' &&
		strtoll(value, NULL, 10) <= INT32_MAX)
		return true;
	snprintf(why, why_size, "must be a whole number from 0 to %d", INT32_MAX);
	return false;
}

bool
mktg_check_rate(const char *value, char *why, size_t why_size)
{
	/* digits and one point: what strtod reads besides (nan, 0x1p-3) is no rate */
	size_t		whole = strspn(value, "0123456789");
	const char *rest = value + whole;
	size_t		part = 0;

	if (*rest == '.')
	{
		part = strspn(++rest, "0123456789");
		rest += part;
	}
	if (*rest == '\0' && whole + part > 0 && whole + part <= 20 && strtod(value, NULL) <= 1)
		return true;
	snprintf(why, why_size, "must be a number from 0 to 1");
	return false;
}

bool
mktg_check_networks(const char *value, char *why, size_t why_size)
{
	struct sockaddr_in any = {.sin_family = AF_INET};

	if (mktg_address_in_list((struct sockaddr *) &any, value) >= 0)
		return true;
	snprintf(why, why_size, "must be networks such as 10.0.0.0/8, or addresses, with commas between them");
	return false;
}

bool
mktg_check_path(const char *value, char *why, size_t why_size)
{
	if (value[0] == '/' && mktg_header_safe(value, strlen(value)))
		return true;
	snprintf(why, why_size, "must be an absolute path");
	return false;
}

bool
mktg_check_host(const char *value, char *why, size_t why_size)
{
	size_t		length = strlen(value);

	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char) value[i]) && strchr(".-_:[]", value[i]) == NULL)
			length = 0;
	if (length >= 1 && length <= 255)
		return true;
	snprintf(why, why_size, "must be a host name or an address");
	return false;
}

/* Is the URL one that a credential may be sent to: https, or this machine? */
static bool
is_safe_base(CURLU *url)
{
	char	   *scheme = NULL;
	char	   *host = NULL;
	char	   *query = NULL;
	char	   *fragment = NULL;
	bool		safe = false;

	if (curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		curl_url_get(url, CURLUPART_QUERY, &query, 0) == CURLUE_NO_QUERY &&
		curl_url_get(url, CURLUPART_FRAGMENT, &fragment, 0) == CURLUE_NO_FRAGMENT)
		safe = strcmp(scheme, "https") == 0 ||
			(strcmp(scheme, "http") == 0 && (strcmp(host, "127.0.0.1") == 0 || strcmp(host, "[::1]") == 0));
	curl_free(scheme);
	curl_free(host);
	curl_free(query);
	curl_free(fragment);
	return safe;
}

bool
mktg_check_base_url(const char *value, char *why, size_t why_size)
{
	size_t		length = strlen(value);
	CURLU	   *url = NULL;
	bool		ok = false;

	if (length > 0 && length <= MAX_BASE_URL && value[length - 1] != '/' &&
		mktg_header_safe(value, length) && (url = curl_url()) != NULL)
		ok = curl_url_set(url, CURLUPART_URL, value, CURLU_DISALLOW_USER) == CURLUE_OK &&
			is_safe_base(url);
	curl_url_cleanup(url);
	if (!ok)
		snprintf(why, why_size, "must be an https URL without user, password, query and last slash"
				 " (or http to 127.0.0.1)");
	return ok;
}

/* ---- credential file ---- */

/* Opens the file if it is one that keeps a secret; -1 with "why" filled. */
static int
open_credential_file(const char *path, char *why, size_t why_size)
{
	struct stat st;
	int			fd;

	if (!mktg_check_path(path, why, why_size))
		return -1;

	/* neither a pipe nor a device may hold us up */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) != 0)
		snprintf(why, why_size, "cannot be opened: %s", strerror(errno));
	else if (!S_ISREG(st.st_mode))
		snprintf(why, why_size, "is not a regular file");
	else if (st.st_uid != geteuid())
		snprintf(why, why_size, "does not belong to the user the server runs as");
	else if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		snprintf(why, why_size, "may be read by others (mode %03o): make it 0600",
				 (unsigned int) (st.st_mode & 0777));
	else
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Reads the whole file; NULL with "why" filled. */
static char *
read_credential_file(const char *path, char *why, size_t why_size)
{
	int			fd = open_credential_file(path, why, why_size);
	char	   *text;
	size_t		length = 0;
	ssize_t		got = 0;

	if (fd < 0)
		return NULL;
	text = malloc(MAX_CREDENTIAL_FILE + 2);
	while (text != NULL && length <= MAX_CREDENTIAL_FILE)
	{
		got = read(fd, text + length, MAX_CREDENTIAL_FILE + 1 - length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		length += (size_t) got;
	}
	close(fd);

	if (text == NULL)
		snprintf(why, why_size, "cannot be read: out of memory");
	else if (got < 0)
		snprintf(why, why_size, "cannot be read: %s", strerror(errno));
	else if (length > MAX_CREDENTIAL_FILE)
		snprintf(why, why_size, "is larger than 64 KB");
	else if (memchr(text, '\0', length) != NULL)
		snprintf(why, why_size, "holds a NUL byte");
	else
	{
		text[length] = '\0';
		return text;
	}
	if (text != NULL)
		explicit_bzero(text, length);
	free(text);
	return NULL;
}

/* Takes one line without its end; false with "why" filled. */
static bool
take_line(char *line, int number, MktgSetting *settings, int *n, int max,
		  char *why, size_t why_size)
{
	char	   *equals;
	char	   *name;
	char	   *value;
	size_t		length = strlen(line);

	if (length > 0 && line[length - 1] == '\r')
		line[--length] = '\0';
	name = line + strspn(line, " \t");
	if (*name == '\0' || *name == '#')
		return true;

	equals = strchr(name, '=');
	if (equals == NULL || equals == name)
	{
		snprintf(why, why_size, "has no NAME=VALUE in line %d", number);
		return false;
	}
	value = equals + 1;
	while (equals > name && (equals[-1] == ' ' || equals[-1] == '\t'))
		equals--;
	*equals = '\0';

	if (*n >= max)
	{
		snprintf(why, why_size, "holds too many lines");
		return false;
	}
	settings[*n].name = strdup(name);
	settings[*n].value = strdup(value);
	(*n)++;						/* also what is half there is the caller's to free */
	if (settings[*n - 1].name == NULL || settings[*n - 1].value == NULL)
	{
		snprintf(why, why_size, "cannot be read: out of memory");
		return false;
	}
	return true;
}

bool
mktg_credential_file(const char *path, MktgSetting *settings, int *n, int max,
					 char *why, size_t why_size)
{
	char	   *text = read_credential_file(path, why, why_size);
	char	   *line = text;
	size_t		length;
	bool		ok = text != NULL;

	if (!ok)
		return false;
	length = strlen(text);
	for (int number = 1; ok && line != NULL; number++)
	{
		char	   *end = strchr(line, '\n');

		if (end != NULL)
			*end++ = '\0';
		ok = take_line(line, number, settings, n, max, why, why_size);
		line = end;
	}
	explicit_bzero(text, length);
	free(text);
	return ok;
}
