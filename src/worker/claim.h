/*-------------------------------------------------------------------------
 *
 * claim.h
 *		Leasing messages from the queue and recording what became of them.
 *
 * All functions are called within SPI, in a transaction of their own.
 *
 * IDENTIFICATION
 *		src/worker/claim.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_CLAIM_H
#define MKTG_CLAIM_H

#include "postgres.h"

#include "executor/spi.h"
#include "utils/date.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "sender/sender.h"

/* Where a lane's messages go; see pump.h. */
typedef struct MktgWay MktgWay;

/* A running campaign with something in the queue. */
typedef struct MktgLane
{
	int64		tenant_id;
	int64		campaign_id;
	int64		sender_id;
	int64		template_id;
	int32		template_version;
	int32		priority;
	const char *channel;
	const char *type;
	Jsonb	   *template_data;
	const char *sender;
	const char *provider;		/* foreign server */
	const char *fallback;		/* another for when that one rests; may be NULL */
	TimestampTz resting_until;	/* what the database says of the former, real time; 0: nothing */
	const char *from_address;	/* these three may be NULL */
	const char *from_name;
	const char *reply_to;
	MktgSenderCaps caps;
	MktgHours	hours;			/* for its recipients; transactional messages go at any time */
	pg_tz	   *zone;			/* the tenant's */
	bool		frequency_caps; /* the tenant has some, and they concern this campaign */
	int32		max_attempts;
	bool		hold;			/* on_doubt */
	TimestampTz due;			/* of its first waiting row */

	TimestampTz after_due;		/* where the search begins; see MktgCursor */
	int64		after_contact;

	MktgWay    *way;			/* the caller's */
	int			room;			/* most rows to take; the caller lowers it */
	int			first_room;		/* of these, most first attempts; mktg_claim_rows() sets it */
	bool		split;			/* that is less than there is room for: attempts are looked for apart */
	int			found;			/* rows the claim looked at */
	bool		left;			/* some of them had to be left as they are */
} MktgLane;

/*
 * How far a long lane has been worked off.  Entries of rows claimed before
 * stay in the index while anybody holds an old snapshot, and walking over them
 * at every claim would make a long queue quadratic.
 */
typedef struct MktgCursor
{
	int64		tenant_id;		/* key, with the next */
	int64		campaign_id;
	TimestampTz due;
	int64		contact_id;
	TimestampTz until;			/* real time; then it is set back a little, for rows that came late */
} MktgCursor;

/* One cycle's claim.  Memory is the current context's. */
typedef struct MktgClaim
{
	TimestampTz now;			/* mktg's clock */
	int			ncursors;
	const MktgCursor *cursors;
	int			nlanes;
	MktgLane   *lanes;
	TimestampTz next_due;		/* earliest time something more can be taken; 0: unknown */
	int64		lease;
	uint64		rows;			/* looked at; in SPI_tuptable, columns as below */
	uint64		handled;		/* of these, leased, put off or dropped */
	int			nleased;
	uint64	   *leased;			/* their numbers */
} MktgClaim;

/* columns of a row looked at */
enum
{
	MKTG_CLAIMED_LANE = 1,		/* integer, from 1 */
	MKTG_CLAIMED_TID,			/* of the row of the queue */
	MKTG_CLAIMED_REASON,		/* text: why it must not go; NULL: nothing is known against it */
	MKTG_CLAIMED_IN_POOL,		/* boolean: its contact counts in the sender's pool */
	MKTG_CLAIMED_CONTACT,
	MKTG_CLAIMED_REF,
	MKTG_CLAIMED_ATTEMPT,		/* integer, 1 for the first */
	MKTG_CLAIMED_ADDRESS,
	MKTG_CLAIMED_VARIABLES,		/* jsonb */
	MKTG_CLAIMED_DUE,
	MKTG_CLAIMED_EXTERNAL_ID,	/* from here on the contact's */
	MKTG_CLAIMED_EMAIL,
	MKTG_CLAIMED_PHONE,
	MKTG_CLAIMED_NAME,
	MKTG_CLAIMED_LANGUAGE,
	MKTG_CLAIMED_COUNTRY,
	MKTG_CLAIMED_CITY,
	MKTG_CLAIMED_TIER,
	MKTG_CLAIMED_REGION,
	MKTG_CLAIMED_BIRTH_DATE,	/* text, YYYY-MM-DD */
	MKTG_CLAIMED_GENDER,
	MKTG_CLAIMED_TIME_ZONE,
	MKTG_CLAIMED_ATTRIBUTES,	/* jsonb */
	MKTG_CLAIMED_COLUMNS = MKTG_CLAIMED_ATTRIBUTES
};

/* Finds the lanes; room is INT_MAX. */
extern void mktg_claim_lanes(MktgClaim *claim, uint32 rotation);

/* The same lanes once more, as of now: what has become of their campaigns the claim of rows sees. */
extern void mktg_claim_lanes_again(MktgClaim *claim, uint32 rotation);

/* Do rows that a worker died with wait in lanes that have room? */
extern bool mktg_claim_suspects_wait(const MktgClaim *claim);

/*
 * Leases at most "most" rows to a worker slot, suspects or others, within the
 * caps of their senders.  Rows whose contact may no longer be written to become
 * skipped; those whose contact must not be written to now are put off.
 */
extern void mktg_claim_rows(MktgClaim *claim, int worker, int most, bool suspect);

/* What became of one leased message. */
typedef enum MktgRecordKind
{
	MKTG_RECORD_SENT,
	MKTG_RECORD_FAILED,
	MKTG_RECORD_BOUNCED,
	MKTG_RECORD_IN_DOUBT,
	MKTG_RECORD_RETRY,			/* waits until "due" */
	MKTG_RECORD_RELEASE			/* waits until "due", and burns no attempt */
} MktgRecordKind;

typedef struct MktgRecord
{
	int64		tenant_id;
	int64		campaign_id;
	int64		contact_id;
	const char *ref;
	int64		lease;
	int			attempt;
	MktgRecordKind kind;
	TimestampTz at;				/* mktg's clock */
	TimestampTz due;			/* RETRY, RELEASE */
	const char *provider_id;	/* may be NULL */
	const char *reason;			/* may be NULL */
} MktgRecord;

/* Compare-and-set on the lease; gives the number of rows whose lease still held. */
extern uint64 mktg_record(const MktgRecord *records, int n);

/*
 * Settles what a dead worker of this slot left behind: doubtful messages are
 * held or made suspects, as on_doubt says; a second death is the last.
 */
extern void mktg_recover(int worker, TimestampTz now);

/* Ends messages in the queue of campaigns that were cancelled under way. */
extern void mktg_sweep_cancelled(void);

#endif
