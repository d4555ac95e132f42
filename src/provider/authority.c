/*-------------------------------------------------------------------------
 *
 * authority.c
 *		Tokens that a provider has to be asked for before it takes messages.
 *
 * The question is a request like any other, on a handle of its own and without
 * a message, so that the worker's loop does not wait for it.  Requests of the
 * provider are built only when there is a token, as it stands in them.
 *
 * A token is asked for anew while the old one is still good; only when there
 * is none are requests held.  A provider may also end a token early: a request
 * that is refused for that goes once more, with another token, for it has not
 * been taken.
 *
 * IDENTIFICATION
 *		src/provider/authority.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "provider/transport.h"

#define EARLY_MS	(5 * 60 * 1000)	/* a token is renewed so long before its end */
#define AGAIN_MS	(30 * 1000)	/* if that fails and the old one is still good */

static void ask(MktgNetwork *network, MktgProvider *provider);
static void release(MktgNetwork *network, MktgProvider *provider, const MktgOutcome *refusal);

static bool
is_valid(const MktgAuthority *authority, int64_t now)
{
	return now < authority->valid_until;
}

void
mktg_authority_launch(MktgNetwork *network, MktgRequest *request)
{
	MktgProvider *provider = request->provider;
	MktgAuthority *authority = provider->authority;
	int64_t		now = mktg_monotonic_ms();

	request->token = authority->token;
	if (is_valid(authority, now))
		mktg_network_launch(network, request);
	else
		mktg_queue_add(mktg_network_held(network), request);
	if (!authority->asking && (now >= authority->ask_at || !is_valid(authority, now)))
		ask(network, provider);
}

static void
ask(MktgNetwork *network, MktgProvider *provider)
{
	static const MktgOutcome no_memory = {
		.kind = MKTG_OUTCOME_RETRY, .reason = "not sent: out of memory"
	};
	MktgAuthority *authority = provider->authority;
	MktgRequest *request = mktg_request_asking(mktg_network_transport(network), provider,
											   &authority->delivery);

	if (request == NULL)
	{
		release(network, provider, &no_memory);
		return;
	}
	authority->asking = true;
	__atomic_add_fetch(&authority->out, 1, __ATOMIC_SEQ_CST);
	mktg_network_launch(network, request);
}

void
mktg_authority_settle(MktgNetwork *network, MktgRequest *request)
{
	MktgProvider *provider = request->provider;
	MktgAuthority *authority = provider->authority;
	MktgOutcome *outcome = &authority->delivery.outcome;
	int64_t		now = mktg_monotonic_ms();
	int64_t		life = outcome->kind == MKTG_OUTCOME_NONE ? provider->driver->authorized(request) : 0;
	bool		good = life > 0;

	authority->asking = false;
	if (good)
	{
		authority->token++;
		authority->valid_until = now + life;
		authority->ask_at = now + (life > 2 * EARLY_MS ? life - EARLY_MS : life / 2);
	}
	else
		authority->ask_at = now + AGAIN_MS;
	if (!good && (outcome->kind == MKTG_OUTCOME_NONE || outcome->kind == MKTG_OUTCOME_DOUBT))
		outcome->kind = MKTG_OUTCOME_RETRY;
	if (good || !is_valid(authority, now))
		release(network, provider, good ? NULL : outcome);
}

/* Lets the provider's held requests go, or end with the refusal. */
static void
release(MktgNetwork *network, MktgProvider *provider, const MktgOutcome *refusal)
{
	MktgRequestQueue *held = mktg_network_held(network);
	MktgRequestQueue all = *held;
	MktgRequest *request;

	*held = (MktgRequestQueue) {NULL, NULL};
	while ((request = mktg_queue_take(&all)) != NULL)
	{
		if (request->provider != provider)
			mktg_queue_add(held, request);
		else if (refusal == NULL)
		{
			request->token = provider->authority->token;
			mktg_network_launch(network, request);
		}
		else
		{
			for (int i = 0; i < request->count; i++)
				request->deliveries[i]->outcome = *refusal;
			mktg_network_finish(network, request);
		}
	}
}

bool
mktg_authority_again(MktgNetwork *network, MktgRequest *request)
{
	MktgAuthority *authority = request->provider->authority;

	if (request->asked_again || !request->provider->driver->unauthorized(request))
		return false;
	/* another request may have told us so already */
	if (request->token == authority->token)
		authority->valid_until = 0;
	mktg_request_clear(request);
	for (int i = 0; i < request->count; i++)
		memset(&request->deliveries[i]->outcome, 0, sizeof(MktgOutcome));
	request->asked_again = true;
	mktg_authority_launch(network, request);
	return true;
}
