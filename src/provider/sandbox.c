/*-------------------------------------------------------------------------
 *
 * sandbox.c
 *		A driver that sends nothing and makes outcomes up.
 *
 * What becomes of a message is drawn from its id and the option "seed", so
 * that a rehearsal gives the same figures every time it is run.  The worker
 * keeps what it was given in mktg.sandbox_message.
 *
 * IDENTIFICATION
 *		src/provider/sandbox.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provider/drivers.h"

/* what each draw decides; a retry is drawn anew with every attempt */
#define DRAW_END		0
#define DRAW_DELIVERED	1
#define DRAW_READ		2
#define DRAW_RETRY		16

typedef struct Sandbox
{
	uint64_t	seed;
	/* shares of all messages */
	double		failed;
	double		bounced;
	double		doubt;
	double		retry;			/* of all attempts */
	double		delivered;		/* of those sent */
	double		read;			/* of those delivered */
} Sandbox;

static const MktgOptionSpec options[] = {
	{"bounced_rate", false, false, mktg_check_rate},
	{"delivered_rate", false, false, mktg_check_rate},
	{"doubt_rate", false, false, mktg_check_rate},
	{"failed_rate", false, false, mktg_check_rate},
	{"read_rate", false, false, mktg_check_rate},
	{"retry_rate", false, false, mktg_check_rate},
	{"seed", false, false, mktg_check_integer},
	{NULL, false, false, NULL}
};

static double
rate(const MktgSetting *settings, int n, const char *name, const char *fallback)
{
	return strtod(mktg_setting(settings, n, name, fallback), NULL);
}

static bool
sandbox_check(const MktgSetting *settings, int n, char *why, size_t why_size)
{
	/* the sum of three decimals that add up to 1 may be a little more */
	if (rate(settings, n, "failed_rate", "0") + rate(settings, n, "bounced_rate", "0") +
		rate(settings, n, "doubt_rate", "0") <= 1 + 1e-9)
		return true;
	snprintf(why, why_size, "options \"failed_rate\", \"bounced_rate\" and \"doubt_rate\""
			 " add up to more than 1");
	return false;
}

static bool
sandbox_open(MktgProvider *provider, const MktgSetting *settings, int n,
			 char *why, size_t why_size)
{
	Sandbox    *sandbox = calloc(1, sizeof(Sandbox));

	provider->state = sandbox;
	if (sandbox == NULL)
	{
		snprintf(why, why_size, "out of memory");
		return false;
	}
	sandbox->seed = strtoull(mktg_setting(settings, n, "seed", "0"), NULL, 10);
	sandbox->failed = rate(settings, n, "failed_rate", "0");
	sandbox->bounced = rate(settings, n, "bounced_rate", "0");
	sandbox->doubt = rate(settings, n, "doubt_rate", "0");
	sandbox->retry = rate(settings, n, "retry_rate", "0");
	sandbox->delivered = rate(settings, n, "delivered_rate", "1");
	sandbox->read = rate(settings, n, "read_rate", "0");
	return true;
}

static void
sandbox_close(MktgProvider *provider)
{
	free(provider->state);
}

static void
sandbox_deliver(MktgProvider *provider, MktgDelivery *delivery)
{
	const Sandbox *sandbox = provider->state;
	MktgOutcome *outcome = &delivery->outcome;
	size_t		length = strlen(delivery->id);
	double		end;

	memset(outcome, 0, sizeof(*outcome));
	if (mktg_chance(sandbox->seed, delivery->id, length,
					DRAW_RETRY + (unsigned int) delivery->attempt) < sandbox->retry)
	{
		mktg_outcome_set(outcome, MKTG_OUTCOME_RETRY, "sandbox: simulated refusal for now");
		return;
	}

	end = mktg_chance(sandbox->seed, delivery->id, length, DRAW_END);
	if (end < sandbox->failed)
		mktg_outcome_set(outcome, MKTG_OUTCOME_PERMANENT, "sandbox: simulated failure");
	else if (end < sandbox->failed + sandbox->bounced)
		mktg_outcome_set(outcome, MKTG_OUTCOME_SUPPRESS, "sandbox: simulated bounce");
	else if (end < sandbox->failed + sandbox->bounced + sandbox->doubt)
		mktg_outcome_set(outcome, MKTG_OUTCOME_DOUBT, "sandbox: simulated loss of the reply");
	else
	{
		outcome->kind = MKTG_OUTCOME_SENT;
		snprintf(outcome->provider_id, sizeof(outcome->provider_id), "sandbox-%s", delivery->id);
		if (mktg_chance(sandbox->seed, delivery->id, length, DRAW_DELIVERED) >= sandbox->delivered)
			return;
		outcome->report = "delivered";
		if (mktg_chance(sandbox->seed, delivery->id, length, DRAW_READ) < sandbox->read)
			outcome->report = "read";
	}
}

const MktgDriver mktg_sandbox_driver = {
	.name = "sandbox",
	.options = options,
	.max_batch = 1,
	.in_process = true,
	.check = sandbox_check,
	.open = sandbox_open,
	.close = sandbox_close,
	.deliver = sandbox_deliver,
};
