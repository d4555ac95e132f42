/*-------------------------------------------------------------------------
 *
 * drivers.h
 *		The drivers there are, for the list in drivers.c.
 *
 * IDENTIFICATION
 *		src/provider/drivers.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_PROVIDER_DRIVERS_H
#define MKTG_PROVIDER_DRIVERS_H

#include "provider/provider.h"

/* one line for each; their order is that of lists for people */
#define MKTG_DRIVERS(DRIVER) \
	DRIVER(sandbox) \
	DRIVER(webhook) \
	DRIVER(smtp) \
	DRIVER(sendgrid) \
	DRIVER(mailgun) \
	DRIVER(fcm) \
	DRIVER(twilio) \
	DRIVER(whatsapp) \
	DRIVER(meta_audience) \
	DRIVER(meta_conversions) \
	DRIVER(x_audience) \
	DRIVER(in_app)

#define DRIVER(name)	extern const MktgDriver mktg_##name##_driver;
MKTG_DRIVERS(DRIVER)
#undef DRIVER

#endif
