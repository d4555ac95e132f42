/*-------------------------------------------------------------------------
 *
 * in_app.c
 *		A driver that leaves messages where the application reads them.
 *
 * There is nothing to send: the worker writes the message into the contact's
 * inbox with the record that says it was delivered.
 *
 * IDENTIFICATION
 *		src/provider/in_app.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provider/drivers.h"

#define DEFAULT_DAYS	"90"
#define MOST_DAYS		3650

typedef struct InApp
{
	int			keep_days;
} InApp;

static bool check_days(const char *value, char *why, size_t why_size);

static const MktgOptionSpec options[] = {
	{"keep_days", false, false, check_days},
	{NULL, false, false, NULL}
};

static bool
check_days(const char *value, char *why, size_t why_size)
{
	if (mktg_check_integer(value, why, why_size) && atol(value) >= 1 && atol(value) <= MOST_DAYS)
		return true;
	snprintf(why, why_size, "must be a whole number from 1 to %d", MOST_DAYS);
	return false;
}

static bool
in_app_open(MktgProvider *provider, const MktgSetting *settings, int n, char *why, size_t why_size)
{
	InApp	   *in_app = calloc(1, sizeof(InApp));

	provider->state = in_app;
	if (in_app == NULL)
	{
		snprintf(why, why_size, "out of memory");
		return false;
	}
	in_app->keep_days = atoi(mktg_setting(settings, n, "keep_days", DEFAULT_DAYS));
	return true;
}

static void
in_app_close(MktgProvider *provider)
{
	free(provider->state);
}

static void
in_app_deliver(MktgProvider *provider, MktgDelivery *delivery)
{
	const InApp *in_app = provider->state;

	memset(&delivery->outcome, 0, sizeof(delivery->outcome));
	delivery->outcome.kind = MKTG_OUTCOME_SENT;
	delivery->outcome.keep_days = in_app->keep_days;
}

const MktgDriver mktg_in_app_driver = {
	.name = "in_app",
	.options = options,
	.max_batch = 1,
	.in_process = true,
	.wants_data = true,
	.open = in_app_open,
	.close = in_app_close,
	.deliver = in_app_deliver,
};
