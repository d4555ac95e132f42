/*-------------------------------------------------------------------------
 *
 * upload.h
 *		What drivers of advertisers share: reading uploads and contacts.
 *
 * IDENTIFICATION
 *		src/provider/upload.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_PROVIDER_UPLOAD_H
#define MKTG_PROVIDER_UPLOAD_H

#include <json-c/json.h>

#include "provider/provider.h"

/* Of a message of a sync (mktg.sync_segment()); strings live as long as "data". */
typedef struct MktgUpload
{
	json_object *data;
	const char *audience;
	bool		removal;
	const char *email;			/* hashes; NULL: the contact has none */
	const char *phone;			/* of the digits alone */
	const char *phone_e164;		/* of the digits after the sign + */
} MktgUpload;

/* False with the outcome set if the message is no upload; mktg_upload_free() it otherwise. */
extern bool mktg_upload_read(MktgDelivery *delivery, MktgUpload *upload);
extern void mktg_upload_free(MktgUpload *upload);

/* Is the message a removal?  False for one that is no upload. */
extern bool mktg_upload_is_removal(const MktgDelivery *delivery);

/* The JSON object of a text, json_object_put() it; NULL if it is none. */
extern json_object *mktg_parse_object(const char *text, size_t length);

/* Hash of a member of the contact that is a text; false and empty without one, or a malformed one. */
extern bool mktg_contact_hash(json_object *contact, const char *name, MktgIdentifier kind,
							  char hash[MKTG_HASH_SIZE]);

/* The same for the first or last word of the name; one alone is the first. */
extern bool mktg_contact_name_hash(json_object *contact, bool last, char hash[MKTG_HASH_SIZE]);

/* ---- Meta's Graph API ---- */

#define MKTG_GRAPH_URL		"https://graph.facebook.com"
#define MKTG_GRAPH_VERSION	"v25.0"

extern bool mktg_check_graph_version(const char *value, char *why, size_t why_size);

/* app_secret's proof that the token is ours (64 digits), for requests that carry it */
extern bool mktg_graph_proof(const char *app_secret, const char *access_token, char proof[MKTG_HASH_SIZE]);

/*
 * What a reply other than success says of the whole request; "refused" is what
 * becomes of messages that Meta finds fault with.
 */
extern void mktg_graph_classify(const MktgRequest *request, json_object *reply, MktgOutcomeKind refused,
								MktgOutcome *outcome);

#endif
