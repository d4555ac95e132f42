/*-------------------------------------------------------------------------
 *
 * offer.h
 *		Promo codes, carts, what an offer means and what it takes off.
 *
 * Carts and scopes are read from the events of whoever reads JSON: the server
 * has its own form of it, tests and fuzzers have text.  Texts are not copied;
 * they must live as long as what is read from them.
 *
 * IDENTIFICATION
 *		src/core/offer.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_CORE_OFFER_H
#define MKTG_CORE_OFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct MktgSlice
{
	const char *text;			/* NULL: not given */
	size_t		length;
} MktgSlice;

extern bool mktg_slice_is(MktgSlice slice, const char *word);

/* ---- code.c ---- */

#define MKTG_CODE_MAX		80	/* symbols of a code, without what typing adds */
#define MKTG_CODE_MIN_BODY	4
#define MKTG_CODE_MAX_BODY	32

/* 32 symbols that are not taken for one another, or 0 to 9 and A to V */
extern const char mktg_code_plain[33];
extern const char mktg_code_ambiguous[33];

/*
 * The one written form of what was typed: capitals, without blanks and dashes,
 * into "out" of MKTG_CODE_MAX + 1 bytes.  False if it can be no code.
 */
extern bool mktg_code_normalize(const char *typed, size_t length, char *out);

/* The check symbol of a body; '\0' if it has a symbol the alphabet does not. */
extern char mktg_code_check(const char *alphabet, const char *body, size_t length);

/* Is the last symbol the check symbol of those before it? */
extern bool mktg_code_valid(const char *alphabet, const char *body, size_t length);

/* A body of "length" symbols, the last the check symbol if so wanted, from as many random bytes. */
extern void mktg_code_body(const char *alphabet, const unsigned char *random, size_t length, bool checksum, char *out);

/* ---- amounts (discount.c) ---- */

#define MKTG_RATE_PERCENT	1000000 /* rates are millionths of a percent */
#define MKTG_RATE_MAX		(100 * (int64_t) MKTG_RATE_PERCENT)

/* A percentage of an amount that is not negative, half up; false if it overflows. */
extern bool mktg_percent_of(int64_t amount, int64_t rate, int64_t *result);

typedef struct MktgShare
{
	int64_t		weight;			/* not negative */
	int64_t		part;			/* out */
	uint64_t	remainder;
	int			place;
} MktgShare;

/*
 * Divides "total", not negative and not above the sum of the weights, by them:
 * largest remainder, ties to the first.  The parts add up to the total, and none is
 * above its weight.
 */
extern void mktg_apportion(int64_t total, MktgShare *shares, int n);

/* A decimal number as an integer of 10^-decimals; false if it has more decimals or does not fit. */
extern bool mktg_read_decimal(const char *text, size_t length, int decimals, int64_t *result);

/* ---- JSON as events ---- */

typedef enum MktgJsonEvent
{
	MKTG_JSON_OBJECT,
	MKTG_JSON_END_OBJECT,
	MKTG_JSON_ARRAY,
	MKTG_JSON_END_ARRAY,
	MKTG_JSON_KEY,
	MKTG_JSON_STRING,
	MKTG_JSON_NUMBER,			/* its text: digits, perhaps a sign and decimals */
	MKTG_JSON_BOOLEAN,			/* length 1 is true, 0 false */
	MKTG_JSON_NULL
} MktgJsonEvent;

/*
 * What readers need of their surroundings: memory, as realloc() gives it, and
 * what a text says of time, in the tenant's zone.
 */
typedef struct MktgSurroundings
{
	void	   *context;
	void	   *(*grow) (void *context, void *memory, size_t size);

	/* Days since 2000-01-01 and microseconds since then; false if the text is no time. */
	bool		(*read_time) (void *context, const char *text, size_t length,
							  int64_t *instant, int32_t *day);
} MktgSurroundings;

/* "YYYY-MM-DD" as days since 2000-01-01; false if it is no such day. */
extern bool mktg_read_day(const char *text, size_t length, int32_t *day);

/* ---- cart.c ---- */

#define MKTG_CART_MAX_LINES	1000
#define MKTG_CART_MAX_FEES	100

typedef struct MktgCartLine
{
	MktgSlice	id;
	MktgSlice	item;
	MktgSlice	category;
	MktgSlice	city;
	MktgSlice	organizer;
	MktgSlice	route;
	MktgSlice	fare;
	int64_t		unit_price;
	int64_t		quantity;
	int64_t		booked_seats;
	int64_t		amount;			/* unit_price * quantity */
	int32_t		travel_day;
	bool		has_travel_day;
} MktgCartLine;

typedef struct MktgCartFee
{
	MktgSlice	name;
	int64_t		amount;
} MktgCartFee;

typedef struct MktgCart
{
	MktgSlice	currency;
	MktgSlice	purchase;
	MktgSlice	channel;
	MktgCartLine *lines;
	int			nlines;
	MktgCartFee *fees;
	int			nfees;
	int64_t		subtotal;		/* sum of the lines' amounts */
	int64_t		fee_total;
} MktgCart;

typedef struct MktgJsonPlace
{
	int			depth;			/* of what is open */
	int			skip;			/* depth of something nobody asks about, 0: none */
	int			key[2];			/* of the object at depth 1, and of one inside it */
	bool		failed;
	char		problem[128];
} MktgJsonPlace;

typedef struct MktgCartReader
{
	MktgJsonPlace place;
	const MktgSurroundings *surroundings;
	MktgCart   *cart;
	int			line_capacity;
	int			fee_capacity;
	bool		done;
} MktgCartReader;

extern void mktg_cart_begin(MktgCartReader *reader, MktgCart *cart, const MktgSurroundings *surroundings);

/* False, with a word in place.problem, as soon as it is no cart. */
extern bool mktg_cart_feed(MktgCartReader *reader, MktgJsonEvent event, const char *text, size_t length);
extern bool mktg_cart_end(MktgCartReader *reader);

/* Sums and amounts anew, after prices were changed; false if they overflow. */
extern bool mktg_cart_total(MktgCart *cart);

/* ---- scope.c ---- */

#define MKTG_SCOPE_MAX_VALUES	1000

typedef enum MktgScopeList
{
	MKTG_SCOPE_ORGANIZERS,
	MKTG_SCOPE_ITEMS,
	MKTG_SCOPE_CATEGORIES,
	MKTG_SCOPE_CITIES,
	MKTG_SCOPE_ROUTES,
	MKTG_SCOPE_EXCLUDED_ROUTES,
	MKTG_SCOPE_FARES,
	MKTG_SCOPE_EXCLUDED_FARES,
	MKTG_SCOPE_CHANNELS,
	MKTG_SCOPE_SEGMENTS,
	MKTG_SCOPE_LISTS
} MktgScopeList;

/* Either end may be missing: the least and the greatest number then. */
typedef struct MktgSpanOfTime
{
	int64_t		start;
	int64_t		end;
	int32_t		start_day;
	int32_t		end_day;
} MktgSpanOfTime;

typedef struct MktgScope
{
	struct
	{
		MktgSlice  *values;
		int			n;
		bool		given;
	}			lists[MKTG_SCOPE_LISTS];
	MktgSpanOfTime booking_window;	/* [start, end) */
	MktgSpanOfTime travel_window;	/* days [start, end) */
	MktgSpanOfTime *blackouts;	/* days from start to end, both of them in it */
	int			nblackouts;
	unsigned int weekdays;		/* bit 1 is Monday; 0: all */
	bool		first_purchase;
} MktgScope;

typedef struct MktgScopeReader
{
	MktgJsonPlace place;
	const MktgSurroundings *surroundings;
	MktgScope  *scope;
	MktgSpanOfTime *span;		/* the one being read */
	int			capacity;		/* of the list being read */
	bool		done;
} MktgScopeReader;

extern void mktg_scope_begin(MktgScopeReader *reader, MktgScope *scope, const MktgSurroundings *surroundings);
extern bool mktg_scope_feed(MktgScopeReader *reader, MktgJsonEvent event, const char *text, size_t length);
extern bool mktg_scope_end(MktgScopeReader *reader);

/* When a cart is priced. */
typedef struct MktgMoment
{
	int64_t		instant;
	int32_t		day;			/* in the tenant's zone */
} MktgMoment;

typedef enum MktgScopeAnswer
{
	MKTG_SCOPE_FITS,			/* at least one line */
	MKTG_SCOPE_MISSES,
	MKTG_SCOPE_BLACKED_OUT
} MktgScopeAnswer;

/*
 * Which lines the offer means, into "eligible"; all of the scope but segments
 * and first_purchase, which the cart does not tell.
 */
extern MktgScopeAnswer mktg_scope_match(const MktgScope *scope, const MktgCart *cart,
										MktgMoment at, bool *eligible);

/* ---- what an offer takes off (discount.c) ---- */

/* in the order in which offers of one priority come */
typedef enum MktgOfferType
{
	MKTG_OFFER_PERCENT,
	MKTG_OFFER_FLAT,
	MKTG_OFFER_FREE_ITEM,
	MKTG_OFFER_POINTS
} MktgOfferType;

/*
 * What comes off the lines that "eligible" names, of what is left of each
 * ("rest").  "value" is a rate, minor units or a number of items by type.
 * "parts" are by line and add up to the result; shares is room for as many.
 */
extern int64_t mktg_offer_discount(MktgOfferType type, int64_t value, const MktgCart *cart,
								   const bool *eligible, const int64_t *rest,
								   int64_t *parts, MktgShare *shares);

/* ---- json.c: what the readers of both share ---- */

/* -1 if the key is none of the words */
extern int	mktg_json_word(const char *const *words, int n, const char *text, size_t length);
extern bool mktg_json_fail(MktgJsonPlace *place, const char *format,...) __attribute__((format(printf, 2, 3)));

/* An array with room for one more; NULL if there is no memory. */
extern void *mktg_json_room(const MktgSurroundings *surroundings, void *array, int n, int *capacity, size_t size);

#endif
