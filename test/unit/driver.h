/*-------------------------------------------------------------------------
 *
 * driver.h
 *		For tests of one driver: requests built and replies classified,
 *		without a network.
 *
 * IDENTIFICATION
 *		test/unit/driver.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_DRIVER_TEST_H
#define MKTG_DRIVER_TEST_H

#include "provider/provider.h"
#include "provider/transport.h"
#include "error_cases.h"
#include "tap.h"

#define LENGTH(array)	((int) (sizeof(array) / sizeof((array)[0])))
#define MAX_TEXT		2000

static const char *const kinds[] = {
	"none", "sent", "retry", "permanent", "suppress", "config", "doubt", "again", "campaign"
};

/* Opens with "a=b c=d"; NULL and why. */
__attribute__((unused))
static MktgProvider *
open_driver(const char *driver, const char *text, char *why, size_t why_size)
{
	static char copy[MAX_TEXT];
	MktgSetting settings[20];
	int			n = 0;
	char	   *next = NULL;

	snprintf(copy, sizeof(copy), "%s", text);
	for (char *word = strtok_r(copy, " ", &next); word != NULL; word = strtok_r(NULL, " ", &next))
	{
		char	   *equals = strchr(word, '=');

		*equals = '\0';
		settings[n++] = (MktgSetting) {word, equals + 1};
	}
	why[0] = '\0';
	return mktg_provider_open(mktg_driver_find(driver), settings, n, why, why_size);
}

/* Opens what must open. */
__attribute__((unused))
static MktgProvider *
opened(const char *driver, const char *text)
{
	char		why[300];
	MktgProvider *provider = open_driver(driver, text, why, sizeof(why));

	if (provider == NULL)
	{
		fprintf(stderr, "%s: %s\n", driver, why);
		abort();
	}
	return provider;
}

__attribute__((unused))
static void
refused(const char *driver, const char *text, const char *want)
{
	char		why[300];
	MktgProvider *provider = open_driver(driver, text, why, sizeof(why));

	if (!ok(provider == NULL && strcmp(why, want) == 0, "%s %s: %s", driver, text, want))
		printf("# said \"%s\"\n", why);
	mktg_provider_close(provider);
}

/* Gives the deliveries a reply of the provider: a request of its own, as if it had been sent. */
__attribute__((unused))
static void
classify(MktgProvider *provider, MktgDelivery *deliveries, int n, long status, const char *reply)
{
	MktgDelivery *pointers[1000];
	MktgRequest request = {.provider = provider, .deliveries = pointers, .count = n,
		.status = status, .may_have_arrived = true};

	for (int i = 0; i < n; i++)
		pointers[i] = &deliveries[i];
	mktg_buffer_puts(&request.reply, reply);
	provider->driver->classify(&request);
	mktg_buffer_free(&request.reply);
}

/* The body built for the deliveries, malloc'd; NULL if nothing is left to send. */
__attribute__((unused))
static char *
built(MktgProvider *provider, MktgDelivery *deliveries, int n)
{
	MktgDelivery *pointers[1000];
	MktgRequest *request;
	char	   *body = NULL;

	for (int i = 0; i < n; i++)
		pointers[i] = &deliveries[i];
	request = mktg_request_get(NULL, provider, pointers, n);
	if (provider->driver->build(request))
		body = strndup(request->body.data, request->body.length);
	mktg_request_put(request);
	return body;
}

__attribute__((unused))
static int
fitting(MktgProvider *provider, MktgDelivery *deliveries, int n)
{
	MktgDelivery *pointers[1000];

	for (int i = 0; i < n; i++)
		pointers[i] = &deliveries[i];
	return provider->driver->fit(provider, pointers, n);
}

__attribute__((unused))
static void
outcome_is(const MktgDelivery *delivery, MktgOutcomeKind kind, const char *reason, const char *name)
{
	if (!ok(delivery->outcome.kind == kind && strcmp(delivery->outcome.reason, reason) == 0,
			"%s: %s", name, kinds[kind]))
		printf("# got %s (%s)\n", kinds[delivery->outcome.kind], delivery->outcome.reason);
}

/*
 * The recorded errors of a provider: "expects" turns the word they come with
 * into a kind.
 */
__attribute__((unused))
static void
test_recorded(MktgProvider *provider, const MktgDelivery *model,
			  MktgOutcomeKind (*expects) (const char *word))
{
	int			n = 0;

	for (int i = 0; cases[i].provider != NULL; i++)
	{
		MktgDelivery delivery = *model;

		if (strcmp(cases[i].provider, provider->driver->name) != 0)
			continue;
		classify(provider, &delivery, 1, cases[i].status, cases[i].body);
		if (!ok(delivery.outcome.kind == expects(cases[i].expect), "recorded: %s: %s",
				cases[i].name, cases[i].expect))
			printf("# got %s (%s)\n", kinds[delivery.outcome.kind], delivery.outcome.reason);
		n++;
	}
	if (n == 0)
		skip("the recorded errors are not there");
}

#endif
