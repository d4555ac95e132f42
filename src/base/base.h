/*-------------------------------------------------------------------------
 *
 * base.h
 *		What every room uses: the clock, the registry of tenants, the checks
 *		at the edge of the API.
 *
 * IDENTIFICATION
 *		src/base/base.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_BASE_BASE_H
#define MKTG_BASE_BASE_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/query.h"

/* the schema this library works with */
#define MKTG_SCHEMA_VERSION	2

/* names of campaigns, templates, senders, topics: 1 to 200 characters */
#define MKTG_MAX_NAME		200

/* now, or where the setting mktg.clock has stopped it */
extern TimestampTz mktg_now(void);

/* The same for the worker, whose loop is in no transaction: the wall clock, or where it is stopped. */
extern TimestampTz mktg_wall_now(void);

/* Refusals; each returns only if all is well. */
extern void mktg_require_tenant(int64 tenant);
extern void mktg_require_contact(int64 contact, int64 tenant);
extern void mktg_require_channel(const char *channel);
extern void mktg_require_name(const char *kind, const char *name);
extern void mktg_require_limit(const char *what, int32 limit);

/* Day of an instant in the tenant's time zone, as a DateADT; unknown tenant is refused. */
extern int32 mktg_tenant_day(TimestampTz at, int64 tenant);

/*
 * A required text argument: NULL is refused with a hint that names it.
 * Numbers alike.  "what" is the argument's name.
 */
extern char *mktg_text_argument(FunctionCallInfo fcinfo, int n, const char *what);
extern char *mktg_optional_text(FunctionCallInfo fcinfo, int n);	/* NULL stays NULL */
extern int64 mktg_int64_argument(FunctionCallInfo fcinfo, int n, const char *what);

/* Decimals of a currency, by its code of ISO 4217: 10 to this many minor units are a major one. */
extern int	mktg_currency_exponent(const char *code);

extern void mktg_settings_init(void);
extern char *mktg_clock_setting;

#endif
