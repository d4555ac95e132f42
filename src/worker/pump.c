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
 * A message that a worker died with is a suspect and goes alone, so that the
 * culprit shows at the second death.  Solitude is neither waited for nor
 * granted longer than SOLITUDE_MS: one slow provider must not hold up all.
 *
 * IDENTIFICATION
 *		src/worker/pump.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "campaign/campaign.h"
#include "worker/pump.h"

#define MESSAGE_LIMIT	(1024 * 1024)
#define LONG_LANE		16		/* rows of one claim that make a lane worth a cursor */
#define LANES_MS		50
#define CURSOR_MS		5000	/* longest wait of a row that came late, behind the cursor */
#define LATE_US			(INT64CONST(10) * USECS_PER_SEC)	/* how late, usually: its transaction took as long */
#define ANEW_MS			30000	/* longest wait of one that came later than that */
#define CHEAP_US		10000	/* a search from the beginning that need not be saved */
#define ANEW_SHARE		50		/* else such searches take one part of this many */
#define SOLITUDE_MS		2000
#define CAMPAIGN_WAIT_MS 10000	/* of messages that have stopped their campaign */

/* whose rows a claim takes */
typedef enum Turn
{
	TURN_NOBODY,
	TURN_SUSPECT,
	TURN_OTHERS
} Turn;

static void find_lanes(Pump *pump);
static Turn whose_turn(Pump *pump);
static void set_cursors_back(Pump *pump, bool all);
static void forget_cursors(Pump *pump);
static void note_search(Pump *pump, TimestampTz began);
static void move_cursors(Pump *pump);
static void take_rows(Pump *pump, int most, bool suspect);
static void take_row(Pump *pump, uint64 row);
static void fill_strings(Slot *slot, const MktgLane *lane);
static void start_batch(Pump *pump, Slot **batch, int n);
static void collect(Pump *pump);
static void finish(Pump *pump, Slot *slot);
static void make_record(Slot *slot, MktgRecord *record);

Pump *
mktg_pump_create(int worker)
{
	Pump	   *pump = MemoryContextAllocZero(TopMemoryContext, sizeof(Pump));

	pump->worker = worker;
	pump->transport = mktg_transport_create();
	if (pump->transport == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not set up the delivery transport")));
	pump->slots = MemoryContextAllocZero(TopMemoryContext, sizeof(Slot) * PUMP_SLOTS);
	dlist_init(&pump->free);
	for (int i = PUMP_SLOTS - 1; i >= 0; i--)
	{
		dlist_push_head(&pump->free, &pump->slots[i].node);
		pump->slots[i].subject.limit = pump->slots[i].html.limit = pump->slots[i].body.limit =
			pump->slots[i].data.limit = MESSAGE_LIMIT;
	}
	dlist_init(&pump->finished);
	pump->claim_context = AllocSetContextCreate(TopMemoryContext, "mktg claim", ALLOCSET_DEFAULT_SIZES);
	pump->lanes_context = AllocSetContextCreate(TopMemoryContext, "mktg lanes", ALLOCSET_DEFAULT_SIZES);
	mktg_ways_init(pump);
	return pump;
}

void
mktg_pump_close(Pump *pump)
{
	mktg_transport_destroy(pump->transport);
	pump->transport = NULL;
}

int
mktg_pump_room(const Pump *pump)
{
	return Max(mktg_max_in_flight - (pump->used - pump->nfinished), 0);
}

/* ---- claim, in a transaction ---- */

void
mktg_pump_claim(Pump *pump)
{
	MemoryContext previous;
	TimestampTz began = GetCurrentTimestamp();
	int			most = mktg_pump_room(pump);
	bool		searched_anew;
	Turn		turn;

	MemoryContextReset(pump->claim_context);
	previous = MemoryContextSwitchTo(pump->claim_context);
	mktg_ways_refresh(pump);
	set_cursors_back(pump, false);
	searched_anew = pump->anew;
	pump->claim.cursors = pump->cursors;
	pump->claim.ncursors = pump->ncursors;
	find_lanes(pump);
	mktg_limit_lanes(pump);
	pump->nclaimed = 0;
	pump->more = false;

	turn = whose_turn(pump);
	if (turn == TURN_SUSPECT)
	{
		take_rows(pump, 1, true);
		if (pump->nclaimed > 0)
		{
			pump->suspect = pump->claimed[0];
			pump->alone_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), SOLITUDE_MS);
		}
		else
		{
			/* its sender can take nothing now */
			pump->alone_until = 0;
			turn = TURN_OTHERS;
		}
	}
	if (turn == TURN_OTHERS)
	{
		take_rows(pump, most, false);
		pump->more = pump->claim.handled >= most;
		move_cursors(pump);
	}
	if (searched_anew)
		note_search(pump, began);
	/* what came late may wait behind a cursor that found no more */
	if (turn != TURN_NOBODY && pump->claim.handled == 0 && pump->claim.ncursors > 0 && !pump->looked_back)
	{
		if (pump->anew_cost <= CHEAP_US)
			forget_cursors(pump);
		else
			set_cursors_back(pump, true);
		pump->looked_back = pump->more = true;
	}
	else
		pump->looked_back = false;
	MemoryContextSwitchTo(previous);
}

/* In a busy queue finding the lanes would cost as much as a part of the rows. */
static void
find_lanes(Pump *pump)
{
	TimestampTz now = GetCurrentTimestamp();
	MemoryContext previous = MemoryContextSwitchTo(pump->lanes_context);

	pump->lanes_kept = pump->more && now < pump->lanes_until && pump->alone_until == 0;
	if (pump->lanes_kept)
		mktg_claim_lanes_again(&pump->claim, pump->cycle++);
	else
	{
		MemoryContextReset(pump->lanes_context);
		mktg_claim_lanes(&pump->claim, pump->cycle++);
		pump->lanes_until = TimestampTzPlusMilliseconds(now, LANES_MS);
	}
	MemoryContextSwitchTo(previous);
}

static Turn
whose_turn(Pump *pump)
{
	TimestampTz now = GetCurrentTimestamp();

	if (pump->suspect != NULL)
		return now < pump->alone_until ? TURN_NOBODY : TURN_OTHERS;
	if (pump->lanes_kept || !mktg_claim_suspects_wait(&pump->claim))
	{
		pump->alone_until = 0;
		return TURN_OTHERS;
	}
	/* first the way is cleared */
	if (pump->alone_until == 0)
		pump->alone_until = TimestampTzPlusMilliseconds(now, SOLITUDE_MS);
	return pump->used > pump->nfinished && now < pump->alone_until ? TURN_NOBODY : TURN_SUSPECT;
}

static void
take_rows(Pump *pump, int most, bool suspect)
{
	SPITupleTable *rows;

	pump->claim.rows = pump->claim.handled = 0;
	if (pump->claim.nlanes == 0)
		return;
	pump->claim.lease = (int64) (pg_prng_uint64(&pg_global_prng_state) >> 1);
	mktg_claim_rows(&pump->claim, pump->worker, most, suspect);
	rows = SPI_tuptable;
	for (int i = 0; i < pump->claim.nleased; i++)
	{
		SPI_tuptable = rows;
		take_row(pump, pump->claim.leased[i]);
	}
	SPI_tuptable = rows;
}

/*
 * Rows become visible in another order than that of their times, so what lies
 * shortly behind a cursor is looked at again.
 */
static void
set_cursors_back(Pump *pump, bool all)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz late = mktg_wall_now() - LATE_US;

	if (now >= pump->anew_at)
		forget_cursors(pump);
	for (int i = 0; i < pump->ncursors; i++)
	{
		MktgCursor *cursor = &pump->cursors[i];

		if (now < cursor->until && !all)
			continue;
		cursor->until = TimestampTzPlusMilliseconds(now, CURSOR_MS);
		if (cursor->due <= late)
			continue;
		cursor->due = late;
		cursor->contact_id = PG_INT64_MIN;
	}
}

static void
forget_cursors(Pump *pump)
{
	pump->ncursors = 0;
	pump->anew = true;
}

/* A search from the beginning, however long dead rows make it, must not become what the worker does. */
static void
note_search(Pump *pump, TimestampTz began)
{
	TimestampTz now = GetCurrentTimestamp();

	pump->anew_cost = now - began;
	pump->anew_at = now + Max(ANEW_MS * INT64CONST(1000), pump->anew_cost * ANEW_SHARE);
	pump->anew = false;
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

		/* in a split lane rows come in two orders; what was left must be found again */
		if (lane->found < LONG_LANE || lane->split || lane->left)
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

static void
free_slot(Pump *pump, Slot *slot)
{
	slot->state = SLOT_FREE;
	dlist_push_head(&pump->free, &slot->node);
	pump->used--;
}

/* Puts a claimed row into a free slot; its values live as long as the claim. */
static void
take_row(Pump *pump, uint64 row)
{
	HeapTuple	tuple = SPI_tuptable->vals[row];
	TupleDesc	tupdesc = SPI_tuptable->tupdesc;
	Datum	   *values = palloc(sizeof(Datum) * MKTG_CLAIMED_COLUMNS);
	bool	   *nulls = palloc(sizeof(bool) * MKTG_CLAIMED_COLUMNS);
	Slot	   *slot;

	/* the one that was freed last, whose memory is at hand: few are ever used */
	slot = dlist_container(Slot, node, dlist_pop_head_node(&pump->free));

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
		if (pump->claimed[i] == pump->suspect)
			pump->suspect = NULL;
		free_slot(pump, pump->claimed[i]);
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
	slot->released = false;
	slot->day = lane->caps.today;
	slot->max_attempts = lane->max_attempts;
	slot->way = lane->way;
	slot->has_other_way = lane->fallback != NULL && !lane->way->key.fallback;
	slot->trial = mktg_way_on_trial(lane->way);
	slot->provider = hash_search(pump->providers, lane->way->provider, HASH_FIND, NULL);
	fill_strings(slot, lane);
}

void
mktg_pump_start(Pump *pump, bool begin)
{
	MemoryContext previous = MemoryContextSwitchTo(pump->claim_context);
	Slot	   *batch[MKTG_MOST_IN_FLIGHT];
	int			n = 0;

	for (int i = 0; i < pump->nclaimed; i++)
	{
		Slot	   *slot = pump->claimed[i];

		prepare(pump, slot);
		slot->released = !begin;
		if (begin)
			mktg_render(slot, &pump->claim.lanes[slot->lane]);
		if (slot->released || slot->delivery.outcome.kind != MKTG_OUTCOME_NONE)
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

/* Messages of one lane: one request, or several where the driver says they do not fit. */
static void
start_batch(Pump *pump, Slot **batch, int n)
{
	MktgProvider *provider = batch[0]->provider->provider;
	MktgDelivery *deliveries[MKTG_MOST_IN_FLIGHT];
	int			fit;

	batch[0]->way->under_way += n;
	batch[0]->provider->messages += n;
	for (int i = 0; i < n; i++)
	{
		batch[i]->state = SLOT_UNDER_WAY;
		batch[i]->in_process = provider->driver->in_process;
		deliveries[i] = &batch[i]->delivery;
	}
	if (provider->driver->in_process)
	{
		for (int i = 0; i < n; i++)
		{
			provider->driver->deliver(provider, deliveries[i]);
			pump->sandbox_used |= deliveries[i]->outcome.report != NULL;
			finish(pump, batch[i]);
		}
		return;
	}
	for (int first = 0; first < n; first += fit)
	{
		fit = n - first;
		if (provider->driver->fit != NULL)
			fit = provider->driver->fit(provider, deliveries + first, fit);
		if (!mktg_transport_start(pump->transport, provider, deliveries + first, fit))
		{
			/* no memory: their outcomes are set and nothing will come out */
			for (int i = 0; i < fit; i++)
				finish(pump, batch[first + i]);
			continue;
		}
		batch[0]->provider->under_way++;
		pump->under_way++;
	}
}

void
mktg_pump_drive(Pump *pump)
{
	mktg_transport_drive(pump->transport);
	collect(pump);
}

void
mktg_pump_hang_up(Pump *pump)
{
	mktg_transport_abandon(pump->transport);
	collect(pump);
}

/* Takes what has finished off the transport. */
static void
collect(Pump *pump)
{
	MktgDelivery *done[MKTG_MOST_IN_FLIGHT];
	int			n;

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
	if (slot == pump->suspect)
	{
		pump->suspect = NULL;
		pump->alone_until = 0;
	}
	if (slot->state == SLOT_UNDER_WAY)
	{
		slot->way->under_way--;
		slot->provider->messages--;
		if (slot->provider->provider->driver->wants_data)
			mktg_data_learn(slot);
	}
	slot->state = SLOT_FINISHED;
	slot->finished_at = mktg_wall_now();
	if (!slot->released)
		mktg_learn(slot);
	dlist_push_tail(&pump->finished, &slot->node);
	pump->nfinished++;
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
	if (slot->released)
	{
		record->kind = MKTG_RECORD_RELEASE;
		record->due = slot->finished_at;
		return;
	}
	switch (outcome->kind)
	{
		case MKTG_OUTCOME_SENT:
			record->kind = MKTG_RECORD_SENT;
			break;
		case MKTG_OUTCOME_PERMANENT:
			record->kind = MKTG_RECORD_FAILED;
			break;
		case MKTG_OUTCOME_SUPPRESS:
			record->kind = outcome->opted_out ? MKTG_RECORD_FAILED : MKTG_RECORD_BOUNCED;
			break;
		case MKTG_OUTCOME_RETRY:
			/* what every message of the sender meets is no fault of this one */
			record->kind = slot->trial ? MKTG_RECORD_RELEASE : last ? MKTG_RECORD_FAILED : MKTG_RECORD_RETRY;
			/* while its way rests it need not wait to go by the other */
			if (!slot->has_other_way || slot->way->not_before <= GetCurrentTimestamp())
				wait = mktg_backoff_ms(delivery->attempt, outcome->retry_after_ms, chance);
			break;
		case MKTG_OUTCOME_CONFIG:
		case MKTG_OUTCOME_AGAIN:
			record->kind = MKTG_RECORD_RELEASE;
			break;
		case MKTG_OUTCOME_CAMPAIGN:
			/* where the campaign could not be paused this time, not again at once */
			record->kind = MKTG_RECORD_RELEASE;
			wait = CAMPAIGN_WAIT_MS;
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
		case MKTG_OUTCOME_CAMPAIGN:
			return "campaign";
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
	bool		bounced = false;
	int			n = 0;

	mktg_aftermath_begin(&aftermath);
	dlist_foreach(iter, &pump->finished)
	{
		Slot	   *slot = dlist_container(Slot, node, iter.cur);
		const char *class = failure_class(slot->delivery.outcome.kind);

		make_record(slot, &records[n++]);
		if (class != NULL)
			mktg_aftermath_failure(&aftermath, slot->way->key.tenant_id, slot->way->key.sender_id,
								   class, slot->delivery.outcome.reason, slot->finished_at);
		if (slot->delivery.outcome.kind == MKTG_OUTCOME_SUPPRESS)
		{
			mktg_aftermath_suppress(&aftermath, slot);
			bounced = true;
		}
		if (slot->delivery.outcome.kind == MKTG_OUTCOME_CAMPAIGN)
			mktg_aftermath_pause(&aftermath, slot);
		if (records[n - 1].kind == MKTG_RECORD_RELEASE && slot->delivery.attempt == 1)
		{
			mktg_aftermath_refund(&aftermath, slot);
			mktg_aftermath_untouch(&aftermath, slot);
		}
		else if (records[n - 1].kind == MKTG_RECORD_FAILED || records[n - 1].kind == MKTG_RECORD_BOUNCED)
			mktg_aftermath_untouch(&aftermath, slot);
		if (slot->in_process && slot->delivery.outcome.keep_days > 0)
			mktg_aftermath_inbox(&aftermath, slot);
		else if (slot->in_process)
			mktg_aftermath_sandbox(&aftermath, slot);
	}
	(void) mktg_record(records, n);
	mktg_ways_note(pump, &aftermath);
	mktg_aftermath_store(&aftermath);
	if (bounced)
		mktg_pause_over_limits();
}

/* The record has committed: the slots are free. */
void
mktg_pump_recorded(Pump *pump)
{
	while (!dlist_is_empty(&pump->finished))
	{
		Slot	   *slot = dlist_container(Slot, node, dlist_pop_head_node(&pump->finished));

		free_slot(pump, slot);
	}
	pump->recorded += pump->nfinished;
	pump->nfinished = 0;
	mktg_ways_noted(pump);
}
