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

extern const MktgDriver mktg_sandbox_driver;
extern const MktgDriver mktg_webhook_driver;
extern const MktgDriver mktg_smtp_driver;
extern const MktgDriver mktg_sendgrid_driver;
extern const MktgDriver mktg_mailgun_driver;
extern const MktgDriver mktg_fcm_driver;
extern const MktgDriver mktg_twilio_driver;
extern const MktgDriver mktg_whatsapp_driver;
extern const MktgDriver mktg_meta_audience_driver;
extern const MktgDriver mktg_meta_conversions_driver;
extern const MktgDriver mktg_x_audience_driver;
extern const MktgDriver mktg_in_app_driver;

#endif
