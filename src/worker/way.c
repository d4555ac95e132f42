/*-------------------------------------------------------------------------
 *
 * way.c
 *		Providers and senders: which of them can take messages now.
 *
 * A provider that refuses, or whose credentials are wrong, rests its sender:
 * nothing is claimed for it meanwhile and no attempts are burnt.  Failures that
 * come in during a rest are of requests begun before it and do not prolong it.
 * After a rest one message tries the way.
 *
 * IDENTIFICATION
 *		src/worker/way.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_foreign_server.h"
#include "common/pg_prng.h"
#include "foreign/foreign.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "base/base.h"
#include "provider/options.h"
#include "worker/pump.h"

#define BREAKER_COUNT	8		/* attempts in a row a provider did not take */
#define REOPEN_MS		30000	/* after a provider could not be opened */
#define CONFIG_REST		5		/* first rest after a CONFIG outcome: 2^5 s */

static volatile bool providers_changed = false;

static void on_server_change(Datum arg, int cacheid, uint32 hashvalue);
static void forgive_senders(Pump *pump);
static ProviderEntry *open_provider(Pump *pump, const char *name, TimestampTz now, bool *tried);
static void note_provider(SenderEntry *sender, const char *provider);
static int64 rest_after(Slot *slot, bool resting);

void
mktg_ways_init(Pump *pump)
{
	HASHCTL		by_name = {.keysize = NAMEDATALEN, .entrysize = sizeof(ProviderEntry)};
	HASHCTL		by_sender = {.keysize = sizeof(SenderKey), .entrysize = sizeof(SenderEntry)};

	pump->providers = hash_create("mktg providers", 16, &by_name, HASH_ELEM | HASH_STRINGS);
	pump->senders = hash_create("mktg senders", 16, &by_sender, HASH_ELEM | HASH_BLOBS);
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, on_server_change, (Datum) 0);
	CacheRegisterSyscacheCallback(USERMAPPINGOID, on_server_change, (Datum) 0);
}

static void
on_server_change(Datum arg, int cacheid, uint32 hashvalue)
{
	providers_changed = true;
}

/* A changed server is closed when nothing is under way with it, and opened anew when needed. */
void
mktg_ways_refresh(Pump *pump)
{
	HASH_SEQ_STATUS scan;
	ProviderEntry *entry;
	bool		changed = providers_changed;

	/* before looking, so that a change from now on is seen next time */
	providers_changed = false;
	if (changed)
		forgive_senders(pump);
	hash_seq_init(&scan, pump->providers);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		entry->stale |= changed;
		if (!entry->stale || entry->under_way > 0)
			continue;
		if (entry->provider != NULL)
			mktg_provider_close(entry->provider);
		hash_search(pump->providers, entry->name, HASH_REMOVE, NULL);
	}
}

/* Options or credentials have been changed: they may be right now. */
static void
forgive_senders(Pump *pump)
{
	HASH_SEQ_STATUS scan;
	SenderEntry *entry;

	hash_seq_init(&scan, pump->senders);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (entry->config_failures == 0)
			continue;
		entry->config_failures = 0;
		entry->not_before = 0;
	}
}

/* The provider, opened if that has not just failed; "tried" says whether it did now. */
static ProviderEntry *
open_provider(Pump *pump, const char *name, TimestampTz now, bool *tried)
{
	bool		found;
	ProviderEntry *entry = hash_search(pump->providers, name, HASH_ENTER, &found);
	ForeignServer *server;

	if (!found)
	{
		entry->provider = NULL;
		entry->under_way = 0;
		entry->stale = false;
		entry->not_before = 0;
		entry->why[0] = '\0';
	}
	*tried = entry->provider == NULL && now >= entry->not_before;
	if (!*tried)
		return entry;
	server = GetForeignServerByName(name, true);
	if (server == NULL)
		snprintf(entry->why, sizeof(entry->why), "foreign server \"%s\" does not exist", name);
	else
		entry->provider = mktg_provider_open_server(server->serverid, entry->why, sizeof(entry->why));
	if (entry->provider == NULL)
	{
		entry->not_before = TimestampTzPlusMilliseconds(now, REOPEN_MS);
		ereport(LOG,
				(errmsg("mktg could not open provider \"%s\": %s", name, entry->why)));
	}
	return entry;
}

SenderEntry *
mktg_sender_entry(Pump *pump, int64 tenant, int64 sender)
{
	SenderKey	key = {tenant, sender};
	bool		found;
	SenderEntry *entry = hash_search(pump->senders, &key, HASH_ENTER, &found);

	if (!found)
		memset((char *) entry + sizeof(key), 0, sizeof(*entry) - sizeof(key));
	return entry;
}

/* Another provider is another chance. */
static void
note_provider(SenderEntry *sender, const char *provider)
{
	if (strcmp(sender->provider, provider) == 0)
		return;
	strlcpy(sender->provider, provider, sizeof(sender->provider));
	sender->not_before = 0;
	sender->failing = sender->rests = sender->config_failures = 0;
}

/* Lowers each lane's room to what its provider and sender can take now. */
void
mktg_limit_lanes(Pump *pump)
{
	TimestampTz now = GetCurrentTimestamp();
	Aftermath	aftermath;

	mktg_aftermath_begin(&aftermath);
	for (int i = 0; i < pump->claim.nlanes; i++)
	{
		MktgLane   *lane = &pump->claim.lanes[i];
		SenderEntry *sender = mktg_sender_entry(pump, lane->tenant_id, lane->sender_id);
		ProviderEntry *provider;
		bool		tried;

		note_provider(sender, lane->provider);
		if (now < sender->not_before)
		{
			lane->room = 0;
			continue;
		}
		provider = open_provider(pump, lane->provider, now, &tried);
		if (provider->provider == NULL || provider->stale)
		{
			lane->room = 0;
			if (provider->provider == NULL && tried)
				mktg_aftermath_failure(&aftermath, lane->tenant_id, lane->sender_id, "config",
									   provider->why, pump->claim.now);
			continue;
		}
		if (!provider->provider->driver->in_process)
			lane->room = Min(lane->room, (provider->provider->max_connections - provider->under_way) *
							 provider->provider->driver->max_batch);
		/* after a rest one message tries the way */
		if (sender->failing >= BREAKER_COUNT || sender->config_failures > 0)
			lane->room = Min(lane->room, 1);
		mktg_templates_load(lane);
	}
	mktg_aftermath_store(&aftermath);
}

/* What an outcome says of the sender's way to its provider. */
void
mktg_learn(Slot *slot)
{
	SenderEntry *sender = slot->sender;
	TimestampTz now = GetCurrentTimestamp();
	int64		rest = rest_after(slot, now < sender->not_before);

	if (rest > 0)
		sender->not_before = Max(sender->not_before, TimestampTzPlusMilliseconds(now, rest));
}

/* How long the sender rests, in ms; 0: it goes on, or rests already. */
static int64
rest_after(Slot *slot, bool resting)
{
	SenderEntry *sender = slot->sender;
	MktgOutcome *outcome = &slot->delivery.outcome;
	double		chance = pg_prng_double(&pg_global_prng_state);

	switch (outcome->kind)
	{
		case MKTG_OUTCOME_CONFIG:
			/* opened anew it reads its credential file again */
			slot->provider->stale = true;
			if (resting)
				return 0;
			return mktg_backoff_ms(CONFIG_REST + sender->config_failures++, 0, chance);
		case MKTG_OUTCOME_RETRY:
			sender->failing++;
			if (outcome->retry_after_ms > 0)
				return mktg_backoff_ms(0, outcome->retry_after_ms, chance);
			if (resting || sender->failing < BREAKER_COUNT)
				return 0;
			return mktg_backoff_ms(sender->rests++, 0, chance);
		case MKTG_OUTCOME_DOUBT:
		case MKTG_OUTCOME_AGAIN:
			return 0;
		default:
			sender->failing = sender->rests = sender->config_failures = 0;
			return 0;
	}
}
