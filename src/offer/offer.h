/*-------------------------------------------------------------------------
 *
 * offer.h
 *		Offers, promo codes, redemptions and price phases.
 *
 * All functions are called within SPI (mktg_begin()), where it is not said
 * otherwise; what they give lives until mktg_end().
 *
 * IDENTIFICATION
 *		src/offer/offer.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_OFFER_H
#define MKTG_OFFER_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/date.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/query.h"
#include "base/zone.h"
#include "core/offer.h"

/* ---- read.c: JSON of the server, offers from their table ---- */

typedef struct MktgOffer
{
	int64		tenant_id;
	int64		offer_id;		/* 0: there is none */
	int64		revision;
	char	   *code;			/* the one for everybody, or NULL */
	char	   *typed;			/* the one it was asked for by; NULL: automatic */
	MktgOfferType type;
	int64		value;
	char	   *currency;		/* NULL: any */
	TimestampTz starts_at;
	TimestampTz ends_at;
	int64		usage_limit;	/* -1: none, as in the next two */
	int64		budget;
	int64		minimum_amount;
	int32		per_contact_limit;	/* 0: none */
	char	   *per_contact_period; /* NULL: for ever */
	Jsonb	   *scope;
	bool		stackable;
	Datum		combine_with;
	int32		priority;
	bool		disabled;
	bool		is_single;		/* asked for by a code that can be used once */
	int64		assigned;		/* to this contact; 0: anybody's */
	int64		taken_by;		/* redemption of such a code; 0: none */
} MktgOffer;

/* What was redeemed for the purchase before, by other offers. */
typedef struct MktgPrior
{
	int64		offer_id;
	char	   *code;
	bool		stackable;
	Datum		combine_with;
	Jsonb	   *lines;
} MktgPrior;

/* Who asks, about which cart, when. */
typedef struct MktgPricing
{
	int64		tenant_id;
	int64		contact_id;		/* 0: a guest */
	TimestampTz at;
	pg_tz	   *zone;
	const char *tenant_currency;
	const char *currency;		/* the cart's */
	MktgMoment	moment;
	MktgCart	cart;
	const char *problem;		/* why it is no cart; NULL if it is one */
	MktgSurroundings surroundings;
	int64	   *rest;			/* by line: what nothing has been taken off yet */
	MktgPrior  *priors;
	int			npriors;
} MktgPricing;

/* A contact of 0 is a guest. */
extern void mktg_pricing_begin(MktgPricing *pricing, int64 contact, Jsonb *cart, TimestampTz at, int64 tenant);

/* Argument n, which must not be NULL; outside SPI too. */
extern Jsonb *mktg_cart_argument(FunctionCallInfo fcinfo, int n);

/* Takes what was redeemed for the cart's purchase, but by "offer", off "rest". */
extern void mktg_read_priors(MktgPricing *pricing, const char *purchase, int64 offer);

/* Gives events of a value to a reader of core/offer.h; false as soon as that does. */
typedef bool (*MktgTakeEvent) (void *reader, MktgJsonEvent event, const char *text, size_t length);
extern bool mktg_feed_json(Jsonb *json, MktgTakeEvent take, void *reader);

/* Reads a scope; NULL, or what is wrong with it. */
extern const char *mktg_read_scope(Jsonb *json, const MktgSurroundings *surroundings, MktgScope *scope);
extern MktgSurroundings mktg_surroundings(pg_tz *zone);

/* The offer a code is of, offer_id 0 if there is none. */
extern void mktg_look_up_offer(int64 tenant, const char *code, MktgOffer *offer);

/*
 * The same, from what the backend remembers if it does; true if it did.  Who may
 * refuse looks up, too, as the time an answer takes would tell which codes exist.
 */
extern bool mktg_recall_offer(int64 tenant, const char *code, MktgOffer *offer);

/* The same for several codes, in their order; behind them offers without a code. */
extern MktgOffer *mktg_find_offers(int64 tenant, ArrayType *codes, TimestampTz at, int *n);

/* The same by id: refuses one that is not there. */
extern void mktg_get_offer(int64 tenant, int64 id, MktgOffer *offer);
extern void mktg_refuse_unknown_promo(int64 tenant, int64 id);
extern pg_tz *mktg_tenant_zone(int64 tenant, char **currency);

/* First day of the period a use counts in. */
extern DateADT mktg_offer_period(const char *period, int32 day);

/* ---- judge.c: may the offer be used, and what does it take off? ---- */

typedef enum MktgReason
{
	MKTG_REASON_OK,
	MKTG_REASON_UNKNOWN,
	MKTG_REASON_DISABLED,
	MKTG_REASON_NOT_STARTED,
	MKTG_REASON_EXPIRED,
	MKTG_REASON_USAGE_LIMIT,
	MKTG_REASON_CONTACT_LIMIT,
	MKTG_REASON_MINIMUM_AMOUNT,
	MKTG_REASON_SCOPE,
	MKTG_REASON_CURRENCY,
	MKTG_REASON_BLACKOUT,
	MKTG_REASON_BUDGET,
	MKTG_REASON_STACKING,
	MKTG_REASON_SEGMENT,
	MKTG_REASON_FIRST_PURCHASE,
	MKTG_REASON_INVALID_CART
} MktgReason;

extern const char *const mktg_reasons[];

typedef struct MktgVerdict
{
	MktgReason	reason;
	int64		discount;
	int64		eligible_subtotal;
	bool	   *eligible;		/* by line */
	int64	   *parts;			/* by line: what comes off */
	DateADT		period;			/* the use counts in, where contacts are limited */
} MktgVerdict;

/* What is left of limits. */
typedef struct MktgLeft
{
	int64		uses;			/* INT64_MAX without a limit, as in budget */
	int64		budget;
	int64		contact_uses;
	bool		code_free;
} MktgLeft;

/* Without "left" the limits are not looked at: whoever redeems takes from them instead. */
extern void mktg_judge(MktgPricing *pricing, MktgOffer *offer, const MktgLeft *left, MktgVerdict *verdict);
extern void mktg_read_left(const MktgPricing *pricing, const MktgOffer *offers, int n, MktgLeft *left);

/* What the offer takes off "rest" of the lines that are eligible. */
extern void mktg_discount(const MktgPricing *pricing, const MktgOffer *offer, MktgVerdict *verdict);

/* Each is stackable or names the other. */
extern bool mktg_combine(const MktgOffer *a, const MktgOffer *b);

/* ---- output.c: answers as JSON; a slice that is not given is left out ---- */

extern void mktg_push_key(JsonbParseState **state, const char *key);
extern void mktg_push_text(JsonbParseState **state, const char *key, MktgSlice slice);
extern void mktg_push_number(JsonbParseState **state, const char *key, int64 number);

/* [{"line", "id", "item", "route", "amount", "discount"}] of the eligible lines */
extern Datum mktg_verdict_lines(const MktgPricing *pricing, const MktgVerdict *verdict);

/* ---- best.c ---- */

typedef struct MktgApplied
{
	MktgOffer  *offer;
	MktgVerdict verdict;
	bool		applied;
	int64		running_total;
} MktgApplied;

/* Those that apply, in their order, and then the others; "rest" is what is left. */
extern MktgApplied *mktg_apply_best(MktgPricing *pricing, ArrayType *codes, int *n);

/* ---- slot.c: limits and budgets in shares ---- */

#define MKTG_OFFER_SLOTS	32

/*
 * Takes uses and budget, or gives them back where they are negative, exactly and
 * until the transaction ends.  MKTG_REASON_OK, _USAGE_LIMIT or _BUDGET.
 */
extern MktgReason mktg_take_uses(MktgOffer *offer, int64 uses, int64 budget, TimestampTz at);

/* Waits until nobody has hold of a share, and lets nobody in until the transaction ends. */
extern void mktg_lock_slots(int64 tenant, int64 offer);

/* Shares anew what is left, -1 for no limit; all slots are locked. */
extern void mktg_share_slots(int64 tenant, int64 offer, int64 revision, int64 uses, int64 budget);

/* ---- lifecycle.c ---- */

/*
 * Ends reservations that are over, of an offer and, if they are not 0, a contact or
 * one of them alone.  The uses are the caller's to give back.
 */
extern int64 mktg_expire_reservations(int64 tenant, int64 offer, int64 contact, int64 redemption,
									  TimestampTz now, int64 *budget);
extern bool mktg_has_overdue(int64 tenant, int64 offer, TimestampTz now);

/* Ends all that are over; the part of maintain(). */
extern void mktg_expire_all(TimestampTz now);

/* The instant up to which reservations are over for who asks at "at": not in the future. */
extern TimestampTz mktg_over_at(TimestampTz at);

/* ---- series.c: forms of generated codes ---- */

/*
 * Of what was typed, the code into "out" (MKTG_CODE_MAX + 1 bytes).  False if it can
 * be none, its check symbol included, which is known without a table once the
 * forms are.  Outside or inside SPI.
 */
extern bool mktg_code_plausible(int64 tenant, const char *typed, size_t length, char *out);

/* ---- price.c ---- */

typedef struct MktgPhase
{
	int64		phase_id;		/* 0: none, and the price is the base price */
	char	   *name;
	int64		price;
	TimestampTz ends_at;		/* DT_NOEND: open */
	int64		seats_left;		/* -1: no limit */
} MktgPhase;

/* The phase that counts for each of n items. */
extern void mktg_find_phases(int64 tenant, Datum *items, Datum *booked, int n, TimestampTz at, MktgPhase *phases);

#endif
