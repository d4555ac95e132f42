/*-------------------------------------------------------------------------
 *
 * pump.c
 *		Moves messages from the queue through providers to their record.
 *
 * A slot holds one message: FREE, CLAIMED (leased by a transaction that has
 * committed), UNDER_WAY, FINISHED (outcome known, not yet recorded).  No more
 * are claimed or under way than mktg.max_in_flight, so memory does not grow
 * with the queue and no more is claimed than can start at once.
 *
 * A provider that refuses, or whose credentials are wrong, rests its sender:
 * nothing is claimed for it meanwhile and no attempts are burnt.
 *
 * IDENTIFICATION
 *		src/worker/pump.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "foreign/foreign.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/base.h"
#include "campaign/campaign.h"
#include "provider/options.h"
#include "worker/pump.h"

#define MESSAGE_LIMIT	(1024 * 1024)
#define BREAKER_COUNT	8		/* attempts in a row a provider did not take */
#define LONG_LANE		16		/* rows of one claim that make a lane worth a cursor */
#define CURSOR_MS		5000	/* longest wait of a row that came late, behind the cursor */
#define REOPEN_MS		30000	/* after a provider could not be opened */
#define CONFIG_REST		5		/* first rest after a CONFIG outcome: 2^5 s */

static volatile bool providers_changed = false;

static void on_server_change(Datum arg, int cacheid, uint32 hashvalue);
static void reopen_changed(Pump *pump);
static ProviderEntry *open_provider(Pump *pump, const char *name, TimestampTz now);
static SenderEntry *find_sender(Pump *pump, int64 tenant, int64 sender);
static void limit_lanes(Pump *pump);
static void forget_old_cursors(Pump *pump);
static void move_cursors(Pump *pump);
static void take_row(Pump *pump, uint64 row);
static void fill_strings(Slot *slot, const MktgLane *lane);
static void start_batch(Pump *pump, Slot **batch, int n);
static void finish(Pump *pump, Slot *slot);
static void learn(SenderEntry *sender, const MktgOutcome *outcome);
static void make_record(Slot *slot, MktgRecord *record);

Pump *
mktg_pump_create(int worker)
{
	HASHCTL		by_name = {.keysize = NAMEDATALEN, .entrysize = sizeof(ProviderEntry)};
	HASHCTL		by_sender = {.keysize = sizeof(SenderKey), .entrysize = sizeof(SenderEntry)};
	Pump	   *pump = MemoryContextAllocZero(TopMemoryContext, sizeof(Pump));

	pump->worker = worker;
	pump->transport = mktg_transport_create();
	if (pump->transport == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not set up the delivery transport")));
	pump->slots = MemoryContextAllocZero(TopMemoryContext, sizeof(Slot) * PUMP_SLOTS);
	for (int i = 0; i < PUMP_SLOTS; i++)
		pump->slots[i].subject.limit = pump->slots[i].html.limit = pump->slots[i].body.limit = MESSAGE_LIMIT;
	dlist_init(&pump->finished);
	pump->claim_context = AllocSetContextCreate(TopMemoryContext, "mktg claim", ALLOCSET_DEFAULT_SIZES);
	pump->providers = hash_create("mktg providers", 16, &by_name, HASH_ELEM | HASH_STRINGS);
	pump->senders = hash_create("mktg senders", 16, &by_sender, HASH_ELEM | HASH_BLOBS);
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, on_server_change, (Datum) 0);
	CacheRegisterSyscacheCallback(USERMAPPINGOID, on_server_change, (Datum) 0);
	return pump;
}

int
mktg_pump_room(const Pump *pump)
{
	return Max(mktg_max_in_flight - (pump->used - pump->nfinished), 0);
}

/* ---- providers and senders ---- */

static void
on_server_change(Datum arg, int cacheid, uint32 hashvalue)
{
	providers_changed = true;
}

/* A changed server is closed when nothing is under way with it, and opened anew when needed. */
static void
reopen_changed(Pump *pump)
{
	HASH_SEQ_STATUS scan;
	ProviderEntry *entry;
	bool		changed = providers_changed;

	/* before looking, so that a change from now on is seen next time */
	providers_changed = false;
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

static ProviderEntry *
open_provider(Pump *pump, const char *name, TimestampTz now)
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
	if (entry->provider != NULL || now < entry->not_before)
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

static SenderEntry *
find_sender(Pump *pump, int64 tenant, int64 sender)
{
	SenderKey	key = {tenant, sender};
	bool		found;
	SenderEntry *entry = hash_search(pump->senders, &key, HASH_ENTER, &found);

	if (!found)
	{
		entry->not_before = 0;
		entry->failing = 0;
		entry->config_failures = 0;
	}
	return entry;
}

/* Lowers each lane's room to what its provider and sender can take now. */
static void
limit_lanes(Pump *pump)
{
	TimestampTz now = GetCurrentTimestamp();
	Aftermath	aftermath;

	mktg_aftermath_begin(&aftermath);
	for (int i = 0; i < pump->claim.nlanes; i++)
	{
		MktgLane   *lane = &pump->claim.lanes[i];
		SenderEntry *sender = find_sender(pump, lane->tenant_id, lane->sender_id);
		ProviderEntry *provider;

		if (now < sender->not_before)
		{
			lane->room = 0;
			continue;
		}
		provider = open_provider(pump, lane->provider, now);
		if (provider->provider == NULL || provider->stale)
		{
			lane->room = 0;
			if (provider->provider == NULL)
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

/* ---- claim, in a transaction ---- */

void
mktg_pump_claim(Pump *pump)
{
	MemoryContext previous;
	int			most = mktg_pump_room(pump);
	SPITupleTable *rows;

	MemoryContextReset(pump->claim_context);
	previous = MemoryContextSwitchTo(pump->claim_context);
	reopen_changed(pump);
	forget_old_cursors(pump);
	pump->claim.cursors = pump->cursors;
	pump->claim.ncursors = pump->ncursors;
	mktg_claim_lanes(&pump->claim, pump->cycle++);
	limit_lanes(pump);
	pump->nclaimed = 0;
	pump->more = false;

	/* what a worker died with goes alone, so that the culprit shows */
	if (pump->claim.suspects)
		most = pump->used == pump->nfinished ? 1 : 0;
	if (most > 0 && pump->claim.nlanes > 0)
	{
		pump->claim.lease = (int64) (pg_prng_uint64(&pg_global_prng_state) >> 1);
		mktg_claim_rows(&pump->claim, pump->worker, most, pump->claim.suspects);
		rows = SPI_tuptable;
		for (uint64 i = 0; i < pump->claim.rows; i++)
		{
			SPI_tuptable = rows;
			if (mktg_null_at(i, MKTG_CLAIMED_REASON))
				take_row(pump, i);
		}
		pump->more = pump->claim.rows >= most;
		SPI_tuptable = rows;
		move_cursors(pump);
	}
	/* what came late may wait behind a cursor that found no more */
	if (pump->claim.rows == 0 && pump->claim.ncursors > 0)
	{
		pump->ncursors = 0;
		pump->more = true;
	}
	MemoryContextSwitchTo(previous);
}

static void
forget_old_cursors(Pump *pump)
{
	TimestampTz now = GetCurrentTimestamp();
	int			kept = 0;

	for (int i = 0; i < pump->ncursors; i++)
		if (now < pump->cursors[i].until)
			pump->cursors[kept++] = pump->cursors[i];
	pump->ncursors = kept;
}

static MktgCursor *
find_cursor(Pump *pump, const MktgLane *lane)
{
	for (int i = 0; i < pump->ncursors; i++)
		if (pump->cursors[i].tenant_id == lane->tenant_id && pump->cursors[i].campaign_id == lane->campaign_id)
			return &pump->cursors[i];
	return NULL;
}

/* The search in a lane that gave many rows goes on behind the last of them. */
static void
move_cursors(Pump *pump)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CURSOR_MS);

	for (uint64 i = 0; i < pump->claim.rows; i++)
	{
		const MktgLane *lane = &pump->claim.lanes[mktg_int32_at(i, MKTG_CLAIMED_LANE) - 1];
		MktgCursor *cursor;

		if (lane->taken < LONG_LANE)
			continue;
		cursor = find_cursor(pump, lane);
		if (cursor == NULL && pump->ncursors < PUMP_CURSORS)
		{
			cursor = &pump->cursors[pump->ncursors++];
			cursor->tenant_id = lane->tenant_id;
			cursor->campaign_id = lane->campaign_id;
			cursor->until = until;
		}
		if (cursor == NULL)
			continue;
		cursor->due = (TimestampTz) mktg_int64_at(i, MKTG_CLAIMED_DUE);
		cursor->contact_id = mktg_int64_at(i, MKTG_CLAIMED_CONTACT);
	}
}

/* Puts a claimed row into a free slot; its values live as long as the claim. */
static void
take_row(Pump *pump, uint64 row)
{
	static int	next = 0;
	HeapTuple	tuple = SPI_tuptable->vals[row];
	TupleDesc	tupdesc = SPI_tuptable->tupdesc;
	Datum	   *values = palloc(sizeof(Datum) * MKTG_CLAIMED_COLUMNS);
	bool	   *nulls = palloc(sizeof(bool) * MKTG_CLAIMED_COLUMNS);
	Slot	   *slot;

	while (pump->slots[next].state != SLOT_FREE)
		next = (next + 1) % PUMP_SLOTS;
	slot = &pump->slots[next];

	heap_deform_tuple(tuple, tupdesc, values, nulls);
	for (int i = 0; i < MKTG_CLAIMED_COLUMNS; i++)
	{
		Oid			type = TupleDescAttr(tupdesc, i)->atttypid;

		if (nulls[i])
			continue;
		/* whole and aligned now: out of the transaction nothing can be fetched */
		if (type == JSONBOID)
			values[i] = JsonbPGetDatum(DatumGetJsonbPCopy(values[i]));
		else if (type == TEXTOID)
			values[i] = PointerGetDatum(DatumGetTextPCopy(values[i]));
	}
	slot->values = values;
	slot->nulls = nulls;
	slot->lane = DatumGetInt32(values[MKTG_CLAIMED_LANE - 1]) - 1;
	slot->lease = pump->claim.lease;
	slot->state = SLOT_CLAIMED;
	pump->claimed[pump->nclaimed++] = slot;
	pump->used++;
}

/* The claim rolled back: nothing was leased. */
void
mktg_pump_claim_failed(Pump *pump)
{
	for (int i = 0; i < pump->nclaimed; i++)
	{
		pump->claimed[i]->state = SLOT_FREE;
		pump->used--;
	}
	pump->nclaimed = 0;
}

/* ---- start ---- */

static size_t
pack(MktgBuffer *text, const char *string)
{
	size_t		offset = text->length;

	mktg_buffer_add(text, string, strlen(string) + 1);
	return offset;
}

/* Copies what the delivery needs of the lane and the row into the slot's own memory. */
static void
fill_strings(Slot *slot, const MktgLane *lane)
{
	MktgDelivery *delivery = &slot->delivery;
	MktgMessageKey key = {lane->tenant_id, lane->campaign_id, delivery->contact_id,
	text_to_cstring(DatumGetTextPP(slot->values[MKTG_CLAIMED_REF - 1]))};
	const char *strings[] = {
		key.ref, mktg_message_id(&key), lane->channel,
		text_to_cstring(DatumGetTextPP(slot->values[MKTG_CLAIMED_ADDRESS - 1])),
		lane->sender, lane->from_address, lane->from_name, lane->reply_to
	};
	const char **targets[] = {
		&delivery->ref, &delivery->id, &delivery->channel, &delivery->address,
		&slot->sender_name, &delivery->from_address, &delivery->from_name, &delivery->reply_to
	};
	size_t		offsets[lengthof(strings)];

	mktg_buffer_clear(&slot->text);
	for (int i = 0; i < lengthof(strings); i++)
		offsets[i] = strings[i] == NULL ? 0 : pack(&slot->text, strings[i]);
	if (slot->text.failed)
		ereport(FATAL,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	/* only now: the buffer may have moved while it grew */
	for (int i = 0; i < lengthof(strings); i++)
		*targets[i] = strings[i] == NULL ? NULL : slot->text.data + offsets[i];
}

static void
prepare(Pump *pump, Slot *slot)
{
	const MktgLane *lane = &pump->claim.lanes[slot->lane];
	MktgDelivery *delivery = &slot->delivery;

	memset(delivery, 0, sizeof(*delivery));
	delivery->tenant_id = lane->tenant_id;
	delivery->campaign_id = lane->campaign_id;
	delivery->contact_id = DatumGetInt64(slot->values[MKTG_CLAIMED_CONTACT - 1]);
	delivery->attempt = DatumGetInt32(slot->values[MKTG_CLAIMED_ATTEMPT - 1]);
	delivery->hold = lane->hold;
	delivery->now = timestamptz_to_time_t(pump->claim.now);
	slot->in_process = false;
	slot->max_attempts = lane->max_attempts;
	slot->sender = find_sender(pump, lane->tenant_id, lane->sender_id);
	slot->provider = hash_search(pump->providers, lane->provider, HASH_FIND, NULL);
	fill_strings(slot, lane);
	mktg_render(slot, lane);
}

void
mktg_pump_start(Pump *pump)
{
	MemoryContext previous = MemoryContextSwitchTo(pump->claim_context);
	Slot	   *batch[MKTG_MOST_IN_FLIGHT];
	int			n = 0;

	for (int i = 0; i < pump->nclaimed; i++)
	{
		Slot	   *slot = pump->claimed[i];

		prepare(pump, slot);
		if (slot->delivery.outcome.kind != MKTG_OUTCOME_NONE)
		{
			finish(pump, slot);
			continue;
		}
		if (n > 0 && (batch[0]->lane != slot->lane || n == batch[0]->provider->provider->driver->max_batch))
		{
			start_batch(pump, batch, n);
			n = 0;
		}
		batch[n++] = slot;
	}
	if (n > 0)
		start_batch(pump, batch, n);
	pump->nclaimed = 0;
	MemoryContextSwitchTo(previous);
	MemoryContextReset(pump->claim_context);
}

/* Messages of one lane that fit into one request. */
static void
start_batch(Pump *pump, Slot **batch, int n)
{
	MktgProvider *provider = batch[0]->provider->provider;
	MktgDelivery *deliveries[MKTG_MOST_IN_FLIGHT];

	for (int i = 0; i < n; i++)
	{
		batch[i]->state = SLOT_UNDER_WAY;
		batch[i]->in_process = provider->driver->in_process;
		deliveries[i] = &batch[i]->delivery;
	}
	if (provider->driver->in_process)
	{
		pump->sandbox_used = true;
		for (int i = 0; i < n; i++)
		{
			provider->driver->deliver(provider, deliveries[i]);
			finish(pump, batch[i]);
		}
		return;
	}
	batch[0]->provider->under_way++;
	pump->under_way++;
	if (mktg_transport_start(pump->transport, provider, deliveries, n))
		return;
	/* no memory: the outcomes are set, and nothing will come out */
	batch[0]->provider->under_way--;
	pump->under_way--;
	for (int i = 0; i < n; i++)
		finish(pump, batch[i]);
}

void
mktg_pump_drive(Pump *pump)
{
	MktgDelivery *done[MKTG_MOST_IN_FLIGHT];
	int			n;

	mktg_transport_drive(pump->transport);
	while ((n = mktg_transport_finished(pump->transport, done)) > 0)
	{
		pump->under_way--;
		for (int i = 0; i < n; i++)
		{
			Slot	   *slot = (Slot *) ((char *) done[i] - offsetof(Slot, delivery));

			if (i == 0)
				slot->provider->under_way--;
			finish(pump, slot);
		}
	}
}

static void
finish(Pump *pump, Slot *slot)
{
	if (pump->nfinished == 0)
		pump->first_finished = GetCurrentTimestamp();
	slot->state = SLOT_FINISHED;
	slot->finished_at = mktg_wall_now();
	learn(slot->sender, &slot->delivery.outcome);
	dlist_push_tail(&pump->finished, &slot->node);
	pump->nfinished++;
}

/* What an outcome says of the sender's way to its provider. */
static void
learn(SenderEntry *sender, const MktgOutcome *outcome)
{
	TimestampTz now = GetCurrentTimestamp();
	double		chance = pg_prng_double(&pg_global_prng_state);
	int64		rest = 0;

	switch (outcome->kind)
	{
		case MKTG_OUTCOME_CONFIG:
			sender->config_failures++;
			rest = mktg_backoff_ms(CONFIG_REST + sender->config_failures - 1, 0, chance);
			break;
		case MKTG_OUTCOME_RETRY:
			sender->failing++;
			if (outcome->retry_after_ms > 0)
				rest = mktg_backoff_ms(0, outcome->retry_after_ms, chance);
			else if (sender->failing >= BREAKER_COUNT)
				rest = mktg_backoff_ms(sender->failing - BREAKER_COUNT, 0, chance);
			break;
		case MKTG_OUTCOME_DOUBT:
			break;
		default:
			sender->failing = 0;
			sender->config_failures = 0;
	}
	if (rest > 0)
		sender->not_before = Max(sender->not_before, TimestampTzPlusMilliseconds(now, rest));
}

/* ---- record, in a transaction ---- */

static void
make_record(Slot *slot, MktgRecord *record)
{
	MktgDelivery *delivery = &slot->delivery;
	MktgOutcome *outcome = &delivery->outcome;
	bool		last = delivery->attempt >= slot->max_attempts;
	double		chance = mktg_chance(0, delivery->id, strlen(delivery->id), delivery->attempt);
	int64		wait = 0;

	*record = (MktgRecord)
	{
		.tenant_id = delivery->tenant_id, .campaign_id = delivery->campaign_id,
			.contact_id = delivery->contact_id, .ref = delivery->ref,
			.lease = slot->lease, .attempt = delivery->attempt, .at = slot->finished_at,
			.provider_id = outcome->provider_id[0] == '\0' ? NULL : outcome->provider_id,
			.reason = outcome->reason[0] == '\0' ? NULL : outcome->reason
	};
	switch (outcome->kind)
	{
		case MKTG_OUTCOME_SENT:
			record->kind = MKTG_RECORD_SENT;
			break;
		case MKTG_OUTCOME_PERMANENT:
			record->kind = MKTG_RECORD_FAILED;
			break;
		case MKTG_OUTCOME_SUPPRESS:
			record->kind = MKTG_RECORD_BOUNCED;
			break;
		case MKTG_OUTCOME_RETRY:
			record->kind = last ? MKTG_RECORD_FAILED : MKTG_RECORD_RETRY;
			wait = mktg_backoff_ms(delivery->attempt, outcome->retry_after_ms, chance);
			break;
		case MKTG_OUTCOME_CONFIG:
			record->kind = MKTG_RECORD_RELEASE;
			break;
		case MKTG_OUTCOME_DOUBT:
		case MKTG_OUTCOME_NONE:
			record->kind = delivery->hold || last ? MKTG_RECORD_IN_DOUBT : MKTG_RECORD_RETRY;
			wait = mktg_backoff_ms(delivery->attempt, 0, chance);
			break;
	}
	record->due = TimestampTzPlusMilliseconds(slot->finished_at, wait);
}

static const char *
failure_class(MktgOutcomeKind kind)
{
	switch (kind)
	{
		case MKTG_OUTCOME_RETRY:
			return "retry";
		case MKTG_OUTCOME_PERMANENT:
			return "permanent";
		case MKTG_OUTCOME_SUPPRESS:
			return "suppress";
		case MKTG_OUTCOME_CONFIG:
			return "config";
		case MKTG_OUTCOME_DOUBT:
			return "doubt";
		default:
			return NULL;
	}
}

void
mktg_pump_record(Pump *pump)
{
	MktgRecord *records = palloc(sizeof(MktgRecord) * Max(pump->nfinished, 1));
	Aftermath	aftermath;
	dlist_iter	iter;
	int			n = 0;

	mktg_aftermath_begin(&aftermath);
	dlist_foreach(iter, &pump->finished)
	{
		Slot	   *slot = dlist_container(Slot, node, iter.cur);
		const char *class = failure_class(slot->delivery.outcome.kind);

		make_record(slot, &records[n++]);
		if (class != NULL)
			mktg_aftermath_failure(&aftermath, slot->sender->key.tenant_id, slot->sender->key.sender_id,
								   class, slot->delivery.outcome.reason, slot->finished_at);
		if (slot->delivery.outcome.kind == MKTG_OUTCOME_SUPPRESS)
			mktg_aftermath_suppress(&aftermath, slot);
		if (slot->in_process)
			mktg_aftermath_sandbox(&aftermath, slot);
	}
	(void) mktg_record(records, n);
	mktg_aftermath_store(&aftermath);
}

/* The record has committed: the slots are free. */
void
mktg_pump_recorded(Pump *pump)
{
	while (!dlist_is_empty(&pump->finished))
	{
		Slot	   *slot = dlist_container(Slot, node, dlist_pop_head_node(&pump->finished));

		slot->state = SLOT_FREE;
		pump->used--;
	}
	pump->nfinished = 0;
}
