/*-------------------------------------------------------------------------
 *
 * way.c
 *		Providers and senders: which of them can take messages now.
 *
 * A sender has a way by its provider and may have a second one by another.  A
 * provider that refuses, or whose credentials are wrong, makes the way rest:
 * nothing is claimed for it meanwhile and no attempts are burnt.  So does one
 * that does not answer.  Failures that come in during a rest are of requests
 * begun before it and do not prolong it.  After a rest one message tries the
 * way, and if it is refused again, that is no attempt of its own; the others go
 * by the second one.
 *
 * The rest of a first way is written down, so that the next worker keeps it and
 * people can see and end it.
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
#include "worker/worker.h"

#define BREAKER_COUNT	5		/* attempts in a row a provider did not take; fewer than a message has */
#define LAST_REST		8		/* longest rest after these: 2^8 s, for an outage ends unannounced */
#define REOPEN_MS		30000	/* after a provider could not be opened */
#define CONFIG_REST		5		/* first rest after a CONFIG outcome: 2^5 s */

static volatile bool providers_changed = false;

static void on_server_change(Datum arg, int cacheid, uint32 hashvalue);
static void forgive_ways(Pump *pump);
static ProviderEntry *open_provider(Pump *pump, const char *name, TimestampTz now, bool *tried);
static void forgive(MktgWay *way);
static int64 rest_after(Slot *slot, bool resting);

void
mktg_ways_init(Pump *pump)
{
	HASHCTL		by_name = {.keysize = NAMEDATALEN, .entrysize = sizeof(ProviderEntry)};
	HASHCTL		by_key = {.keysize = sizeof(WayKey), .entrysize = sizeof(MktgWay)};

	pump->providers = hash_create("mktg providers", 16, &by_name, HASH_ELEM | HASH_STRINGS);
	pump->ways = hash_create("mktg ways", 16, &by_key, HASH_ELEM | HASH_BLOBS);
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
		forgive_ways(pump);
	hash_seq_init(&scan, pump->providers);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		entry->stale |= changed;
		/* a token may be under way where no message is */
		if (!entry->stale || entry->under_way > 0 ||
			(entry->provider != NULL && mktg_provider_busy(entry->provider)))
			continue;
		if (entry->provider != NULL)
			mktg_provider_close(entry->provider);
		hash_search(pump->providers, entry->name, HASH_REMOVE, NULL);
	}
}

/* Options or credentials have been changed: they may be right now. */
static void
forgive_ways(Pump *pump)
{
	HASH_SEQ_STATUS scan;
	MktgWay    *way;

	hash_seq_init(&scan, pump->ways);
	while ((way = hash_seq_search(&scan)) != NULL)
		if (way->config_failures > 0)
			forgive(way);
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
		entry->under_way = entry->messages = entry->lanes = 0;
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

static MktgWay *
find_way(Pump *pump, const MktgLane *lane, bool fallback)
{
	const char *provider = fallback ? lane->fallback : lane->provider;
	WayKey		key;
	MktgWay    *way;
	bool		found;

	/* hashed as bytes */
	memset(&key, 0, sizeof(key));
	key.tenant_id = lane->tenant_id;
	key.sender_id = lane->sender_id;
	key.fallback = fallback;
	way = hash_search(pump->ways, &key, HASH_ENTER, &found);
	if (!found)
		memset((char *) way + sizeof(key), 0, sizeof(*way) - sizeof(key));
	if (!found && !fallback && lane->resting_until > GetCurrentTimestamp())
	{
		/* the worker before us left it so */
		way->not_before = lane->resting_until;
		way->failing = BREAKER_COUNT;
		way->noted = true;
	}
	if (!found)
		strlcpy(way->provider, provider, sizeof(way->provider));
	else if (strcmp(way->provider, provider) != 0)
	{
		/* another provider is another chance */
		strlcpy(way->provider, provider, sizeof(way->provider));
		forgive(way);
	}
	/* somebody has ended the rest */
	if (way->noted && !way->changed && lane->resting_until == 0)
	{
		forgive(way);
		way->noted = false;
	}
	return way;
}

static void
forgive(MktgWay *way)
{
	way->not_before = 0;
	way->failing = way->rests = way->config_failures = 0;
	way->changed = way->noted;
}

/* Its provider, if a message can go that way now; else NULL. */
static ProviderEntry *
usable_provider(Pump *pump, MktgWay *way, TimestampTz now, Aftermath *aftermath)
{
	ProviderEntry *provider;
	bool		tried;

	if (now < way->not_before)
		return NULL;
	provider = open_provider(pump, way->provider, now, &tried);
	if (provider->provider == NULL && tried)
		mktg_aftermath_failure(aftermath, way->key.tenant_id, way->key.sender_id, "config",
							   provider->why, pump->claim.now);
	return provider->provider == NULL || provider->stale ? NULL : provider;
}

/* After a rest one message tries the way. */
bool
mktg_way_on_trial(const MktgWay *way)
{
	return way->failing >= BREAKER_COUNT || way->config_failures > 0;
}

/* Chooses the lane's way; NULL: it has none now. */
static ProviderEntry *
choose_way(Pump *pump, MktgLane *lane, TimestampTz now, Aftermath *aftermath)
{
	lane->way = NULL;
	for (int i = 0; i < (lane->fallback == NULL ? 1 : 2); i++)
	{
		MktgWay    *way = find_way(pump, lane, i == 1);
		ProviderEntry *provider = usable_provider(pump, way, now, aftermath);

		if (provider == NULL)
			continue;
		if (mktg_way_on_trial(way))
		{
			if (way->under_way > 0 || way->tried_in == pump->cycle)
				continue;
			way->tried_in = pump->cycle;
			lane->room = Min(lane->room, 1);
		}
		lane->way = way;
		return provider;
	}
	lane->room = 0;
	return NULL;
}

/*
 * One that keeps its connections waiting must not stop the others.  Where
 * messages wait for several providers none of them may have more than half of
 * what can be under way; where others are known, a quarter is kept for them.
 */
static void
share_out(Pump *pump, ProviderEntry **chosen)
{
	int			share = Max(mktg_max_in_flight - mktg_max_in_flight / 4, 1);
	int			waiting = 0;

	for (int i = 0; i < pump->claim.nlanes; i++)
	{
		ProviderEntry *entry = chosen[i];

		if (entry == NULL)
			continue;
		if (entry->lanes == 0)
			waiting++;
		entry->lanes++;
		if (pump->first_provider[0] == '\0')
			strlcpy(pump->first_provider, entry->name, sizeof(pump->first_provider));
		pump->several_providers |= strcmp(pump->first_provider, entry->name) != 0;
	}
	if (waiting > 1)
		share = Max(mktg_max_in_flight / 2, 1);
	for (int i = 0; i < pump->claim.nlanes; i++)
	{
		MktgLane   *lane = &pump->claim.lanes[i];
		ProviderEntry *entry = chosen[i];

		if (entry != NULL && pump->several_providers)
			lane->room = Min(lane->room, (share - entry->messages + entry->lanes - 1) / entry->lanes);
	}
	for (int i = 0; i < pump->claim.nlanes; i++)
		if (chosen[i] != NULL)
			chosen[i]->lanes = 0;
}

void
mktg_limit_lanes(Pump *pump)
{
	TimestampTz now = GetCurrentTimestamp();
	ProviderEntry **chosen = palloc(sizeof(ProviderEntry *) * (pump->claim.nlanes + 1));
	Aftermath	aftermath;

	mktg_aftermath_begin(&aftermath);
	for (int i = 0; i < pump->claim.nlanes; i++)
	{
		MktgLane   *lane = &pump->claim.lanes[i];
		ProviderEntry *provider = chosen[i] = choose_way(pump, lane, now, &aftermath);

		if (provider == NULL)
			continue;
		if (provider->provider->driver->in_process)
			chosen[i] = NULL;	/* it keeps nobody waiting */
		else
			lane->room = Min(lane->room, (provider->provider->max_connections - provider->under_way) *
							 provider->provider->driver->max_batch);
		mktg_templates_load(lane);
	}
	share_out(pump, chosen);
	mktg_aftermath_store(&aftermath);
}

/* ---- rests on record ---- */

void
mktg_ways_note(Pump *pump, Aftermath *aftermath)
{
	HASH_SEQ_STATUS scan;
	MktgWay    *way;

	hash_seq_init(&scan, pump->ways);
	while ((way = hash_seq_search(&scan)) != NULL)
		if (way->changed && !way->key.fallback)
			mktg_aftermath_rest(aftermath, way);
}

void
mktg_ways_noted(Pump *pump)
{
	HASH_SEQ_STATUS scan;
	MktgWay    *way;

	hash_seq_init(&scan, pump->ways);
	while ((way = hash_seq_search(&scan)) != NULL)
	{
		if (way->changed)
			way->noted = !way->key.fallback && way->not_before != 0;
		way->changed = false;
	}
}

/* ---- what outcomes say ---- */

void
mktg_learn(Slot *slot)
{
	MktgWay    *way = slot->way;
	TimestampTz now = GetCurrentTimestamp();
	int64		rest = rest_after(slot, now < way->not_before);

	if (rest > 0)
	{
		way->not_before = Max(way->not_before, TimestampTzPlusMilliseconds(now, rest));
		way->changed = true;
		strlcpy(way->why, slot->delivery.outcome.reason, sizeof(way->why));
	}
	else if (way->noted && way->failing == 0 && way->config_failures == 0)
	{
		way->not_before = 0;
		way->changed = true;
	}
}

/* How long the way rests, in ms; 0: it goes on, or rests already. */
static int64
rest_after(Slot *slot, bool resting)
{
	MktgWay    *way = slot->way;
	MktgOutcome *outcome = &slot->delivery.outcome;
	double		chance = pg_prng_double(&pg_global_prng_state);

	switch (outcome->kind)
	{
		case MKTG_OUTCOME_CONFIG:
			/* opened anew it reads its credential file again */
			slot->provider->stale = true;
			if (resting)
				return 0;
			return mktg_backoff_ms(CONFIG_REST + way->config_failures++, 0, chance);
		case MKTG_OUTCOME_RETRY:
			if (outcome->own_wait)
				return 0;
			way->failing++;
			if (outcome->retry_after_ms > 0)
				return mktg_backoff_ms(0, outcome->retry_after_ms, chance);
			break;
		case MKTG_OUTCOME_DOUBT:
			way->failing++;
			break;
		case MKTG_OUTCOME_AGAIN:
			return 0;
		default:
			way->failing = way->rests = way->config_failures = 0;
			return 0;
	}
	if (resting || way->failing < BREAKER_COUNT)
		return 0;
	way->rests = Min(way->rests + 1, LAST_REST + 1);
	return mktg_backoff_ms(way->rests - 1, 0, chance);
}
