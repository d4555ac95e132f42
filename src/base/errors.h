/*-------------------------------------------------------------------------
 *
 * errors.h
 *		SQLSTATEs of class MK: what callers of mktg branch on.
 *
 * doc/errors.md lists them with their meaning; a test holds the two lists
 * against each other.
 *
 * IDENTIFICATION
 *		src/base/errors.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_BASE_ERRORS_H
#define MKTG_BASE_ERRORS_H

#include "utils/elog.h"

#define MKTG_ERRCODE(a, b, c)	MAKE_SQLSTATE('M', 'K', a, b, c)

/* installation */
#define ERRCODE_MKTG_NOT_INSTALLED			MKTG_ERRCODE('0', '0', '1')
#define ERRCODE_MKTG_ALREADY_INSTALLED		MKTG_ERRCODE('0', '0', '2')
#define ERRCODE_MKTG_SCHEMA_VERSION			MKTG_ERRCODE('0', '0', '3')
#define ERRCODE_MKTG_FOREIGN_OBJECT			MKTG_ERRCODE('0', '0', '4')
#define ERRCODE_MKTG_NOT_CONFIRMED			MKTG_ERRCODE('0', '0', '5')
#define ERRCODE_MKTG_NO_PG_CRON				MKTG_ERRCODE('0', '0', '6')

/* a name or id that stands for nothing */
#define ERRCODE_MKTG_UNKNOWN_TENANT			MKTG_ERRCODE('0', '1', '0')
#define ERRCODE_MKTG_UNKNOWN_CONTACT		MKTG_ERRCODE('0', '1', '1')
#define ERRCODE_MKTG_UNKNOWN_CHANNEL		MKTG_ERRCODE('0', '1', '2')
#define ERRCODE_MKTG_UNKNOWN_TEMPLATE		MKTG_ERRCODE('0', '1', '3')
#define ERRCODE_MKTG_UNKNOWN_CAMPAIGN		MKTG_ERRCODE('0', '1', '4')
#define ERRCODE_MKTG_UNKNOWN_SENDER			MKTG_ERRCODE('0', '1', '5')
#define ERRCODE_MKTG_UNKNOWN_PROVIDER		MKTG_ERRCODE('0', '1', '6')
#define ERRCODE_MKTG_UNKNOWN_MESSAGE		MKTG_ERRCODE('0', '1', '7')
#define ERRCODE_MKTG_UNKNOWN_STATUS			MKTG_ERRCODE('0', '1', '8')
#define ERRCODE_MKTG_UNKNOWN_SEGMENT		MKTG_ERRCODE('0', '1', '9')

/* a value that cannot be */
#define ERRCODE_MKTG_INVALID_NAME			MKTG_ERRCODE('0', '2', '0')
#define ERRCODE_MKTG_INVALID_LIMIT			MKTG_ERRCODE('0', '2', '1')
#define ERRCODE_MKTG_INVALID_ADDRESS		MKTG_ERRCODE('0', '2', '2')
#define ERRCODE_MKTG_INVALID_TEMPLATE		MKTG_ERRCODE('0', '2', '3')
#define ERRCODE_MKTG_INVALID_VALUE			MKTG_ERRCODE('0', '2', '4')
#define ERRCODE_MKTG_TOO_LARGE				MKTG_ERRCODE('0', '2', '5')
#define ERRCODE_MKTG_INVALID_RULE			MKTG_ERRCODE('0', '2', '6')
#define ERRCODE_MKTG_UNKNOWN_FIELD			MKTG_ERRCODE('0', '2', '7')
#define ERRCODE_MKTG_INVALID_FIELD			MKTG_ERRCODE('0', '2', '8')
#define ERRCODE_MKTG_WRONG_KIND				MKTG_ERRCODE('0', '2', '9')

/* campaigns */
#define ERRCODE_MKTG_NO_RECIPIENTS			MKTG_ERRCODE('0', '3', '0')
#define ERRCODE_MKTG_NO_TEMPLATE			MKTG_ERRCODE('0', '3', '1')
#define ERRCODE_MKTG_WRONG_CHANNEL			MKTG_ERRCODE('0', '3', '2')
#define ERRCODE_MKTG_INVALID_TRANSITION		MKTG_ERRCODE('0', '3', '3')
#define ERRCODE_MKTG_DATE_PAST				MKTG_ERRCODE('0', '3', '4')
#define ERRCODE_MKTG_DATE_FUTURE			MKTG_ERRCODE('0', '3', '5')
#define ERRCODE_MKTG_NOT_IN_DOUBT			MKTG_ERRCODE('0', '3', '6')

/* delivery */
#define ERRCODE_MKTG_INVALID_CREDENTIAL		MKTG_ERRCODE('0', '4', '0')
#define ERRCODE_MKTG_INVALID_PROVIDER_OPTION MKTG_ERRCODE('0', '4', '1')

/* offers */
#define ERRCODE_MKTG_PROMO_REFUSED			MKTG_ERRCODE('0', '8', '0')
#define ERRCODE_MKTG_IDEMPOTENCY_CONFLICT	MKTG_ERRCODE('0', '8', '1')
#define ERRCODE_MKTG_UNKNOWN_PROMO			MKTG_ERRCODE('0', '8', '2')
#define ERRCODE_MKTG_UNKNOWN_REDEMPTION		MKTG_ERRCODE('0', '8', '3')
#define ERRCODE_MKTG_REDEMPTION_OVER		MKTG_ERRCODE('0', '8', '4')
#define ERRCODE_MKTG_UNKNOWN_PRICE_PHASE	MKTG_ERRCODE('0', '8', '5')

#endif
