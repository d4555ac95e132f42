/*-------------------------------------------------------------------------
 *
 * cart.c
 *		Carts: from JSON to lines and amounts.
 *
 * Keys that nobody here knows are the application's own and are passed over.
 *
 * IDENTIFICATION
 *		src/core/cart.c
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "core/offer.h"

#define LENGTH_OF(array)	((int) (sizeof(array) / sizeof((array)[0])))

enum
{
	CURRENCY, PURCHASE, CHANNEL, LINES, FEES
};

static const char *const cart_keys[] = {"currency", "purchase", "channel", "lines", "fees"};

enum
{
	ID, ITEM, CATEGORY, CITY, ORGANIZER, ROUTE, FARE, UNIT_PRICE, QUANTITY, BOOKED_SEATS, TRAVEL_DATE
};

static const char *const line_keys[] = {
	"id", "item", "category", "city", "organizer", "route", "fare", "unit_price", "quantity",
	"booked_seats", "travel_date"
};

enum
{
	NAME, AMOUNT
};

static const char *const fee_keys[] = {"name", "amount"};

void
mktg_cart_begin(MktgCartReader *reader, MktgCart *cart, const MktgSurroundings *surroundings)
{
	memset(reader, 0, sizeof(*reader));
	memset(cart, 0, sizeof(*cart));
	reader->cart = cart;
	reader->surroundings = surroundings;
}

static bool
read_amount(MktgCartReader *reader, const char *name, int64_t least, MktgJsonEvent event,
			const char *text, size_t length, int64_t *amount)
{
	if (event != MKTG_JSON_NUMBER || !mktg_read_decimal(text, length, 0, amount))
		return mktg_json_fail(&reader->place, "%s must be a whole number", name);
	if (*amount < least)
		return mktg_json_fail(&reader->place, "%s must be at least %d", name, (int) least);
	return true;
}

static bool
read_slice(MktgCartReader *reader, const char *name, MktgJsonEvent event,
		   const char *text, size_t length, MktgSlice *slice)
{
	if (event != MKTG_JSON_STRING && event != MKTG_JSON_NUMBER)
		return mktg_json_fail(&reader->place, "%s must be a string", name);
	*slice = (MktgSlice) {text, length};
	return true;
}

static bool
add_line(MktgCartReader *reader)
{
	MktgCart   *cart = reader->cart;

	if (cart->nlines == MKTG_CART_MAX_LINES)
		return mktg_json_fail(&reader->place, "a cart has at most %d lines", MKTG_CART_MAX_LINES);
	cart->lines = mktg_json_room(reader->surroundings, cart->lines, cart->nlines,
								 &reader->line_capacity, sizeof(MktgCartLine));
	if (cart->lines == NULL)
		return mktg_json_fail(&reader->place, "out of memory");
	memset(&cart->lines[cart->nlines], 0, sizeof(MktgCartLine));
	cart->lines[cart->nlines].quantity = 1;
	cart->lines[cart->nlines].unit_price = -1;
	cart->nlines++;
	return true;
}

static bool
add_fee(MktgCartReader *reader)
{
	MktgCart   *cart = reader->cart;

	if (cart->nfees == MKTG_CART_MAX_FEES)
		return mktg_json_fail(&reader->place, "a cart has at most %d fees", MKTG_CART_MAX_FEES);
	cart->fees = mktg_json_room(reader->surroundings, cart->fees, cart->nfees,
								&reader->fee_capacity, sizeof(MktgCartFee));
	if (cart->fees == NULL)
		return mktg_json_fail(&reader->place, "out of memory");
	cart->fees[cart->nfees++] = (MktgCartFee) {{NULL, 0}, -1};
	return true;
}

static bool
cart_value(MktgCartReader *reader, MktgJsonEvent event, const char *text, size_t length)
{
	MktgCart   *cart = reader->cart;

	switch (reader->place.key[0])
	{
		case CURRENCY:
			return read_slice(reader, "currency", event, text, length, &cart->currency);
		case PURCHASE:
			return read_slice(reader, "purchase", event, text, length, &cart->purchase);
		case CHANNEL:
			return read_slice(reader, "channel", event, text, length, &cart->channel);
		case LINES:
			return mktg_json_fail(&reader->place, "lines must be an array");
		case FEES:
			return add_fee(reader) &&
				read_amount(reader, "fees", 0, event, text, length, &cart->fees[cart->nfees - 1].amount);
		default:
			return true;
	}
}

static bool
line_value(MktgCartReader *reader, MktgJsonEvent event, const char *text, size_t length)
{
	MktgCartLine *line = &reader->cart->lines[reader->cart->nlines - 1];
	MktgSlice  *slices[] = {
		&line->id, &line->item, &line->category, &line->city, &line->organizer, &line->route, &line->fare
	};
	int64_t		instant;

	switch (reader->place.key[1])
	{
		case -1:
			return true;
		case UNIT_PRICE:
			return read_amount(reader, "unit_price", 0, event, text, length, &line->unit_price);
		case QUANTITY:
			return read_amount(reader, "quantity", 1, event, text, length, &line->quantity);
		case BOOKED_SEATS:
			return read_amount(reader, "booked_seats", 0, event, text, length, &line->booked_seats);
		case TRAVEL_DATE:
			line->has_travel_day = event == MKTG_JSON_STRING &&
				(mktg_read_day(text, length, &line->travel_day) ||
				 reader->surroundings->read_time(reader->surroundings->context, text, length,
												 &instant, &line->travel_day));
			return line->has_travel_day ||
				mktg_json_fail(&reader->place, "travel_date must be a date such as 2025-07-01");
		default:
			return read_slice(reader, line_keys[reader->place.key[1]], event, text, length,
							  slices[reader->place.key[1]]);
	}
}

static bool
fee_value(MktgCartReader *reader, MktgJsonEvent event, const char *text, size_t length)
{
	MktgCartFee *fee = &reader->cart->fees[reader->cart->nfees - 1];

	if (reader->place.key[1] == NAME)
		return read_slice(reader, "name of a fee", event, text, length, &fee->name);
	if (reader->place.key[1] == AMOUNT)
		return read_amount(reader, "amount of a fee", 0, event, text, length, &fee->amount);
	return true;
}

/* A value, or the beginning of one, that is no object or array we look into. */
static bool
scalar(MktgCartReader *reader, MktgJsonEvent event, const char *text, size_t length)
{
	if (event == MKTG_JSON_NULL && reader->place.depth != 2)
		return true;
	switch (reader->place.depth)
	{
		case 1:
			return cart_value(reader, event, text, length);
		case 2:
			return mktg_json_fail(&reader->place, "elements of %s must be objects", cart_keys[reader->place.key[0]]);
		case 3:
			return reader->place.key[0] == LINES ? line_value(reader, event, text, length) :
				fee_value(reader, event, text, length);
		default:
			return mktg_json_fail(&reader->place, "a cart must be an object");
	}
}

static bool
open_container(MktgCartReader *reader, MktgJsonEvent event)
{
	MktgJsonPlace *place = &reader->place;

	if (place->depth == 0 && event == MKTG_JSON_OBJECT && !reader->done)
		place->key[0] = -1;
	else if ((place->depth == 1 && place->key[0] < 0) || (place->depth == 3 && place->key[1] < 0))
		place->skip = place->depth + 1;
	else if (place->depth == 2 && event == MKTG_JSON_OBJECT)
	{
		place->key[1] = -1;
		if (!(place->key[0] == LINES ? add_line(reader) : add_fee(reader)))
			return false;
	}
	else if (!(place->depth == 1 && event == MKTG_JSON_ARRAY &&
			   (place->key[0] == LINES || place->key[0] == FEES)))
		return scalar(reader, event, "", 0);
	place->depth++;
	return true;
}

static bool
close_container(MktgCartReader *reader)
{
	MktgCart   *cart = reader->cart;
	MktgJsonPlace *place = &reader->place;

	if (place->depth == 3 && place->key[0] == LINES && cart->lines[cart->nlines - 1].unit_price < 0)
		return mktg_json_fail(place, "a line must have a unit_price");
	if (place->depth == 3 && place->key[0] == FEES && cart->fees[cart->nfees - 1].amount < 0)
		return mktg_json_fail(place, "a fee must have an amount");
	place->depth--;
	reader->done = place->depth == 0;
	return true;
}

static bool
is_end(MktgJsonEvent event)
{
	return event == MKTG_JSON_END_OBJECT || event == MKTG_JSON_END_ARRAY;
}

bool
mktg_cart_feed(MktgCartReader *reader, MktgJsonEvent event, const char *text, size_t length)
{
	MktgJsonPlace *place = &reader->place;

	if (place->failed)
		return false;
	if (place->skip > 0)
	{
		place->depth += event == MKTG_JSON_OBJECT || event == MKTG_JSON_ARRAY;
		place->depth -= is_end(event);
		if (place->depth < place->skip)
			place->skip = 0;
		return true;
	}
	if (event == MKTG_JSON_KEY)
	{
		if (place->depth == 1)
			place->key[0] = mktg_json_word(cart_keys, LENGTH_OF(cart_keys), text, length);
		else if (place->key[0] == LINES)
			place->key[1] = mktg_json_word(line_keys, LENGTH_OF(line_keys), text, length);
		else
			place->key[1] = mktg_json_word(fee_keys, LENGTH_OF(fee_keys), text, length);
		return true;
	}
	if (event == MKTG_JSON_OBJECT || event == MKTG_JSON_ARRAY)
		return open_container(reader, event);
	if (is_end(event))
		return close_container(reader);
	return scalar(reader, event, text, length);
}

bool
mktg_cart_total(MktgCart *cart)
{
	cart->subtotal = 0;
	for (int i = 0; i < cart->nlines; i++)
	{
		MktgCartLine *line = &cart->lines[i];

		if (__builtin_mul_overflow(line->unit_price, line->quantity, &line->amount) ||
			__builtin_add_overflow(cart->subtotal, line->amount, &cart->subtotal))
			return false;
	}
	cart->fee_total = 0;
	for (int i = 0; i < cart->nfees; i++)
		if (__builtin_add_overflow(cart->fee_total, cart->fees[i].amount, &cart->fee_total))
			return false;
	return true;
}

bool
mktg_cart_end(MktgCartReader *reader)
{
	MktgSlice	currency = reader->cart->currency;

	if (reader->place.failed)
		return false;
	if (!reader->done)
		return mktg_json_fail(&reader->place, "a cart must be an object");
	if (reader->cart->nlines == 0)
		return mktg_json_fail(&reader->place, "a cart must have lines");
	if (currency.text != NULL)
	{
		bool		good = currency.length == 3;

		for (size_t i = 0; good && i < 3; i++)
			good = currency.text[i] >= 'A' && currency.text[i] <= 'Z';
		if (!good)
			return mktg_json_fail(&reader->place, "currency must be a code of ISO 4217");
	}
	if (reader->cart->purchase.text != NULL &&
		(reader->cart->purchase.length == 0 || reader->cart->purchase.length > 200))
		return mktg_json_fail(&reader->place, "purchase must have 1 to 200 bytes");
	if (!mktg_cart_total(reader->cart))
		return mktg_json_fail(&reader->place, "the amounts add up to more than a bigint holds");
	return true;
}
