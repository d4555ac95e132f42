/*-------------------------------------------------------------------------
 *
 * pump.h
 *		Messages under way in one worker: claimed, rendered, with a provider,
 *		finished, recorded.
 *
 * IDENTIFICATION
 *		src/worker/pump.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_PUMP_H
#define MKTG_PUMP_H

#include "postgres.h"

#include "lib/ilist.h"
#include "utils/hsearch.h"

#include "base/query.h"
#include "provider/provider.h"
#include "worker/claim.h"
#include "worker/worker.h"

/*
 * A transaction records finished messages and claims as many new ones, and the
 * former keep their slots until it has committed.
 */
#define PUMP_SLOTS	(2 * MKTG_MOST_IN_FLIGHT)

/* lanes that may be long at once; one more just begins at its beginning */
#define PUMP_CURSORS	64

/* An open provider, or why there is none. */
typedef struct ProviderEntry
{
	char		name[NAMEDATALEN];	/* key: foreign server */
	MktgProvider *provider;
	int			under_way;		/* requests */
	int			messages;		/* in them */
	int			lanes;			/* that chose it, while rooms are shared out */
	bool		stale;			/* its options changed: reopened when nothing is under way */
	TimestampTz not_before;		/* after a failure to open */
	char		why[256];
} ProviderEntry;

typedef struct WayKey
{
	int64		tenant_id;
	int64		sender_id;
	bool		fallback;		/* by its second provider */
} WayKey;

/* A sender's way by one of its providers, and how it fares there. */
struct MktgWay
{
	WayKey		key;
	char		provider[NAMEDATALEN];
	TimestampTz not_before;		/* real time */
	int			failing;		/* attempts in a row the provider did not take or did not answer */
	int			rests;			/* taken for that */
	int			config_failures;	/* rests in a row for these */
	int			under_way;		/* messages */
	uint32		tried_in;		/* the cycle that lets one message try it */
	bool		changed;		/* the rest begun or ended since it was last written down */
	bool		noted;			/* sender_state says that it rests */
	char		why[MKTG_REASON_SIZE];
};

typedef enum SlotState
{
	SLOT_FREE,
	SLOT_CLAIMED,				/* leased, not begun */
	SLOT_UNDER_WAY,
	SLOT_FINISHED				/* waits to be recorded */
} SlotState;

/* One message under way.  Its strings are in "text", kept for the next message. */
typedef struct Slot
{
	MktgDelivery delivery;
	SlotState	state;
	dlist_node	node;			/* in free, or in finished, in the order of outcomes */
	int64		lease;
	int			max_attempts;
	ProviderEntry *provider;
	MktgWay    *way;
	bool		has_other_way;	/* should this one rest */
	const char *sender_name;
	bool		in_process;		/* no provider but this process had it */
	bool		released;		/* given back before it had begun */
	bool		trial;			/* tries a way that has rested */
	DateADT		day;			/* the tenant's, at the claim */
	TimestampTz finished_at;	/* mktg's clock */
	int			lane;			/* of the claim just made */
	const Datum *values;		/* row of the claim just made, in the claim's memory */
	const bool *nulls;
	MktgBuffer	text;
	MktgBuffer	subject;
	MktgBuffer	html;
	MktgBuffer	body;
	MktgBuffer	data;
	MktgBuffer	contact;
} Slot;

typedef struct Pump
{
	int			worker;			/* worker number, the lease's owner */
	MktgTransport *transport;
	Slot	   *slots;
	int			nclaimed;
	Slot	   *claimed[MKTG_MOST_IN_FLIGHT];
	int			used;			/* slots not free */
	int			under_way;
	int			nfinished;
	uint64		recorded;		/* outcomes, since it began */
	dlist_head	finished;
	dlist_head	free;
	TimestampTz first_finished; /* real time */
	MemoryContext claim_context;	/* one claim's rows */
	MemoryContext lanes_context;	/* its lanes */
	bool		lanes_kept;		/* those of the claim before */
	TimestampTz lanes_until;	/* real time: so long a busy queue's may be used again */
	MktgClaim	claim;
	uint32		cycle;
	bool		more;			/* the last claim was full */
	Slot	   *suspect;		/* under way alone; NULL: none */
	TimestampTz alone_until;	/* real time; 0: no suspect has its turn */
	bool		sandbox_used;
	HTAB	   *providers;
	HTAB	   *ways;
	char		first_provider[NAMEDATALEN];	/* over the network */
	bool		several_providers;	/* there have been others */
	int			ncursors;
	MktgCursor	cursors[PUMP_CURSORS];	/* of the longest lanes */
	bool		anew;			/* the next search begins at the beginning */
	TimestampTz anew_at;		/* real time of the next such */
	int64		anew_cost;		/* of the last, in microseconds */
	bool		looked_back;	/* the last claim found nothing, and cursors were set back for this */
} Pump;

extern Pump *mktg_pump_create(int worker);
extern void mktg_pump_close(Pump *pump);	/* at exit: the transport's connections and threads */

/* ---- in a transaction ---- */
extern void mktg_pump_claim(Pump *pump);
extern void mktg_pump_record(Pump *pump);	/* slots stay until mktg_pump_recorded() */

/* ---- outside ---- */
extern void mktg_pump_claim_failed(Pump *pump);
extern void mktg_pump_recorded(Pump *pump);
extern void mktg_pump_start(Pump *pump, bool begin);	/* renders and sends what was claimed, or gives it back */
extern void mktg_pump_drive(Pump *pump);	/* lets the network go on */
extern void mktg_pump_hang_up(Pump *pump);	/* what is under way finishes as it stands */
extern int	mktg_pump_room(const Pump *pump);	/* messages that may be claimed with the next record */

/* ---- aftermath.c: what else outcomes leave behind, in a transaction ---- */

typedef struct Aftermath
{
	MktgColumns failures;
	MktgColumns suppressions;
	MktgColumns pauses;
	MktgColumns sandbox;
	MktgColumns inbox;
	MktgColumns delivered;		/* what is in the inbox */
	MktgColumns refunds;
	MktgColumns rests;
	MktgColumns untouched;		/* messages that never arrived, for the frequency caps */
} Aftermath;

extern void mktg_aftermath_begin(Aftermath *aftermath);
extern void mktg_aftermath_failure(Aftermath *aftermath, int64 tenant, int64 sender, const char *class,
								   const char *reason, TimestampTz at);
extern void mktg_aftermath_suppress(Aftermath *aftermath, const Slot *slot);
extern void mktg_aftermath_pause(Aftermath *aftermath, const Slot *slot);
extern void mktg_aftermath_inbox(Aftermath *aftermath, const Slot *slot);
extern void mktg_aftermath_sandbox(Aftermath *aftermath, const Slot *slot);
extern void mktg_aftermath_refund(Aftermath *aftermath, const Slot *slot);
extern void mktg_aftermath_rest(Aftermath *aftermath, const MktgWay *way);	/* not_before 0: it is over */
extern void mktg_aftermath_untouch(Aftermath *aftermath, const Slot *slot);
extern void mktg_aftermath_store(const Aftermath *aftermath);

/* Applies what the sandbox says became of its messages, as a provider's webhook would. */
extern uint64 mktg_hear_sandbox(TimestampTz now);

/* ---- way.c ---- */

extern void mktg_ways_init(Pump *pump);
/* In a transaction: closes providers whose options have changed and that are at rest. */
extern void mktg_ways_refresh(Pump *pump);

/* In a transaction: chooses each lane's way, and lowers its room to what that can take now. */
extern void mktg_limit_lanes(Pump *pump);

/* Is the next message to find out whether this way is open again? */
extern bool mktg_way_on_trial(const MktgWay *way);

/* Takes note of what an outcome says of its way. */
extern void mktg_learn(Slot *slot);

/* In a transaction: writes down which ways have begun or ended a rest. */
extern void mktg_ways_note(Pump *pump, Aftermath *aftermath);
extern void mktg_ways_noted(Pump *pump);	/* it has committed */

/* ---- render.c ---- */
extern void mktg_templates_load(const MktgLane *lane);	/* in the claim's transaction */
extern void mktg_render(Slot *slot, const MktgLane *lane);	/* an outcome is set where that fails */

/* ---- data.c ---- */

/*
 * Puts the message's data into slot->data.  Where a string in template_data is
 * no template that is the campaign's fault, where the data does not fit the
 * message's: "why" is then filled.
 */
extern MktgOutcomeKind mktg_data_render(Slot *slot, const MktgLane *lane, MktgTemplateLookup look_up, void *names,
										char *why, size_t why_size);

/* Takes note of an outcome: what went well for others of the campaign is the message's own fault. */
extern void mktg_data_learn(Slot *slot);

#endif
