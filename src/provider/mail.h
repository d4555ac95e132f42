/*-------------------------------------------------------------------------
 *
 * mail.h
 *		Header lines and texts of a mail message.
 *
 * IDENTIFICATION
 *		src/provider/mail.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_PROVIDER_MAIL_H
#define MKTG_PROVIDER_MAIL_H

#include "provider/provider.h"

#define MKTG_MAX_SUBJECT	4000	/* bytes */

/*
 * Each adds one header field with its CRLF.  The texts hold no control
 * character: the caller has asked mktg_header_safe().
 */
extern void mktg_mail_text(MktgBuffer *out, const char *name, const char *text, size_t length);
extern void mktg_mail_address(MktgBuffer *out, const char *name, const char *display,
							  const char *address);
extern void mktg_mail_date(MktgBuffer *out, int64_t when);
extern void mktg_mail_message_id(MktgBuffer *out, const char *id, const char *from_address);

/* fit for an envelope and a header: one "@", nothing that ends or begins something else */
extern bool mktg_mail_address_safe(const char *address);

/* Can the delivery be mailed?  If not, its outcome says the first thing that is in the way. */
extern bool mktg_mail_check(MktgDelivery *delivery);

/* Have both a text, or none, and the same of html: may one request carry them? */
extern bool mktg_mail_same_parts(const MktgDelivery *one, const MktgDelivery *two);

/* adds a text with every line end as CRLF */
extern void mktg_mail_lines(MktgBuffer *out, const char *text, size_t length);

/* adds the base64 of a text, in lines */
extern void mktg_mail_base64(MktgBuffer *out, const char *text, size_t length);

/* The encoding that suits a text with CRLF lines: "7bit", "quoted-printable" or "base64". */
extern const char *mktg_mail_encoding(const char *text, size_t length);

#endif
