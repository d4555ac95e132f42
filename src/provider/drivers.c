/*-------------------------------------------------------------------------
 *
 * drivers.c
 *		The list of drivers, and opening and closing a provider.
 *
 * IDENTIFICATION
 *		src/provider/drivers.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provider/drivers.h"
#include "provider/transport.h"

#define DEFAULT_TIMEOUT_MS			30000
#define DEFAULT_CONNECT_TIMEOUT_MS	10000
#define DEFAULT_MAX_CONNECTIONS		64

#define DRIVER(name)	&mktg_##name##_driver,

const MktgDriver *const mktg_drivers[] = {
	MKTG_DRIVERS(DRIVER)
	NULL
};

static bool check_positive(const char *value, char *why, size_t why_size);
static bool check_proxy(const char *value, char *why, size_t why_size);

const MktgOptionSpec mktg_common_options[] = {
	{"ca_file", false, false, mktg_check_path},
	{"connect_timeout_ms", false, false, check_positive},
	{"max_connections", false, false, check_positive},
	{"proxy", false, false, check_proxy},
	{"timeout_ms", false, false, check_positive},
	{NULL, false, false, NULL}
};

/* 0 would mean for ever to libcurl */
static bool
check_positive(const char *value, char *why, size_t why_size)
{
	if (mktg_check_integer(value, why, why_size) && atol(value) > 0)
		return true;
	snprintf(why, why_size, "must be a whole number from 1 to %d", INT32_MAX);
	return false;
}

/* server options are for all to read: a proxy that wants a password cannot be had */
static bool
check_proxy(const char *value, char *why, size_t why_size)
{
	if (value[0] != '\0' && strchr(value, '@') == NULL && mktg_header_safe(value, strlen(value)))
		return true;
	snprintf(why, why_size, "must be a proxy's URL without user and password");
	return false;
}

const MktgDriver *
mktg_driver_find(const char *name)
{
	for (int i = 0; mktg_drivers[i] != NULL; i++)
		if (strcmp(mktg_drivers[i]->name, name) == 0)
			return mktg_drivers[i];
	return NULL;
}

static const MktgOptionSpec *
find_option(const MktgOptionSpec *specs, const char *name)
{
	for (; specs->name != NULL; specs++)
		if (strcmp(specs->name, name) == 0)
			return specs;
	return NULL;
}

const MktgOptionSpec *
mktg_driver_option(const MktgDriver *driver, const char *name)
{
	const MktgOptionSpec *spec = find_option(driver->options, name);

	if (spec == NULL && !driver->in_process)
		spec = find_option(mktg_common_options, name);
	return spec;
}

/* Is the setting known and well formed? */
static bool
check_setting(const MktgDriver *driver, const MktgSetting *setting, char *why, size_t why_size)
{
	const MktgOptionSpec *spec;
	char		detail[160];

	if (strcmp(setting->name, "driver") == 0 || strcmp(setting->name, "credential_file") == 0)
		return true;
	spec = mktg_driver_option(driver, setting->name);
	if (spec == NULL)
	{
		snprintf(why, why_size, "driver \"%s\" knows no option \"%.60s\"",
				 driver->name, setting->name);
		return false;
	}
	if (spec->check != NULL && !spec->check(setting->value, detail, sizeof(detail)))
	{
		snprintf(why, why_size, "option \"%s\" %s", spec->name, detail);
		return false;
	}
	return true;
}

/* Are all required options, or credentials, there? */
static bool
check_required(const MktgDriver *driver, bool secret, const MktgSetting *settings, int n,
			   char *why, size_t why_size)
{
	for (const MktgOptionSpec *spec = driver->options; spec->name != NULL; spec++)
		if (spec->required && spec->secret == secret &&
			mktg_setting(settings, n, spec->name, NULL) == NULL)
		{
			snprintf(why, why_size, "%s \"%s\" is missing",
					 secret ? "credential" : "option", spec->name);
			return false;
		}
	return true;
}

bool
mktg_provider_check(const MktgDriver *driver, const MktgSetting *settings, int n,
					char *why, size_t why_size)
{
	for (int i = 0; i < n; i++)
		if (!check_setting(driver, &settings[i], why, why_size))
			return false;
	return check_required(driver, false, settings, n, why, why_size) &&
		(driver->check == NULL || driver->check(settings, n, why, why_size));
}

static long
number_setting(const MktgSetting *settings, int n, const char *name, long fallback)
{
	const char *value = mktg_setting(settings, n, name, NULL);

	return value != NULL ? atol(value) : fallback;
}

bool
mktg_copy_setting(const MktgSetting *settings, int n, const char *name, char **copy)
{
	const char *value = mktg_setting(settings, n, name, NULL);

	if (value == NULL)
		return true;
	*copy = strdup(value);
	return *copy != NULL;
}

MktgProvider *
mktg_provider_open(const MktgDriver *driver, const MktgSetting *settings, int n,
				   char *why, size_t why_size)
{
	MktgProvider *provider;

	if (!mktg_provider_check(driver, settings, n, why, why_size) ||
		!check_required(driver, true, settings, n, why, why_size))
		return NULL;

	provider = calloc(1, sizeof(MktgProvider));
	if (provider == NULL)
	{
		snprintf(why, why_size, "out of memory");
		return NULL;
	}
	provider->driver = driver;
	provider->http2 = driver->http2;
	provider->timeout_ms = number_setting(settings, n, "timeout_ms", DEFAULT_TIMEOUT_MS);
	provider->connect_timeout_ms = number_setting(settings, n, "connect_timeout_ms",
												  DEFAULT_CONNECT_TIMEOUT_MS);
	provider->max_connections = number_setting(settings, n, "max_connections",
											   DEFAULT_MAX_CONNECTIONS);
	if (driver->authorize != NULL)
		provider->authority = calloc(1, sizeof(MktgAuthority));
	if ((driver->authorize != NULL && provider->authority == NULL) ||
		!mktg_copy_setting(settings, n, "ca_file", &provider->ca_file) ||
		!mktg_copy_setting(settings, n, "proxy", &provider->proxy))
		snprintf(why, why_size, "out of memory");
	else if (driver->open == NULL || driver->open(provider, settings, n, why, why_size))
		return provider;

	/* what open() left half done is in provider->state */
	mktg_provider_close(provider);
	return NULL;
}

bool
mktg_provider_busy(const MktgProvider *provider)
{
	return provider->open_requests > 0 ||
		(provider->authority != NULL && __atomic_load_n(&provider->authority->out, __ATOMIC_SEQ_CST) > 0);
}

void
mktg_provider_close(MktgProvider *provider)
{
	if (provider == NULL)
		return;
	mktg_requests_free(provider->idle);
	if (provider->driver->close != NULL)
		provider->driver->close(provider);
	free(provider->authority);
	free(provider->ca_file);
	free(provider->proxy);
	free(provider);
}
