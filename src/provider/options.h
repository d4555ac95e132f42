/*-------------------------------------------------------------------------
 *
 * options.h
 *		Providers as foreign servers: for senders and for the worker.
 *
 * IDENTIFICATION
 *		src/provider/options.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_PROVIDER_OPTIONS_H
#define MKTG_PROVIDER_OPTIONS_H

#include "postgres.h"

#include "provider/provider.h"

/* The driver of a foreign server; an error (MK016) if it is no provider. */
extern const MktgDriver *mktg_provider_driver(const char *server);

/*
 * Opens the provider that a foreign server of wrapper mktg_provider describes:
 * its options, the credentials in the user mapping for PUBLIC and those in
 * its credential_file, which count first.  NULL with "why" filled if one of
 * them will not do.  Wants a transaction; the provider is malloc'd and
 * outlives it.
 */
extern MktgProvider *mktg_provider_open_server(Oid server, char *why, size_t why_size);

#endif
