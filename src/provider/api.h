/*-------------------------------------------------------------------------
 *
 * api.h
 *		What drivers of HTTP APIs share.
 *
 * IDENTIFICATION
 *		src/provider/api.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_PROVIDER_API_H
#define MKTG_PROVIDER_API_H

#include "provider/provider.h"

/* a key, token or password that goes into a header */
extern bool mktg_check_credential(const char *value, char *why, size_t why_size);

/* The next item of a list with commas, without the blanks around it; false at the end. */
extern bool mktg_next_item(const char **list, const char **item, size_t *length);

/* at most "max" different items, each of 1 to "longest" bytes and fit for a header */
extern bool mktg_check_items(const char *list, int max, size_t longest, char *why, size_t why_size);

/* one after the other, malloc'd; NULL if there was no memory */
extern char *mktg_api_url(const char *base, const char *path);

/* a header line more on a list; false if there was no memory, and the list stands as it was */
extern bool mktg_add_header(struct curl_slist **headers, const char *name, const char *value);

/* clears the lines, one of which may hold a credential, and frees the list */
extern void mktg_free_headers(struct curl_slist *headers);

/* for prepare(): posts to this URL with these headers, which outlive the handle */
extern bool mktg_api_prepare(MktgRequest *request, const char *url, struct curl_slist *headers);

/* for prepare(): basic authentication */
extern bool mktg_api_log_in(MktgRequest *request, const char *user, const char *password);

/*
 * As mktg_classify_http(), but a URL that leads nowhere (3xx, 404, 405, a bad
 * name or scheme) is the server's base_url or account: no message is to blame.
 */
extern void mktg_api_classify(const MktgRequest *request, MktgOutcome *outcome);

/*
 * Messages that one request may hold at this attempt.  A provider that refuses
 * a request and does not say for which message would refuse it again: those
 * tried before go in ever smaller company, and in the end alone.
 */
extern int	mktg_api_most(int attempt);

#endif
