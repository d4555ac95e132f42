/*-------------------------------------------------------------------------
 *
 * table.h
 *		Tables that may be written without the executor.
 *
 * IDENTIFICATION
 *		src/base/table.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_TABLE_H
#define MKTG_TABLE_H

#include "utils/relcache.h"

typedef struct MktgTableColumn
{
	const char *name;
	Oid			type;
} MktgTableColumn;

/*
 * A heap that begins with these columns, none of them null, with its primary
 * key as its only index, and with no checks, partitions or other replica
 * identity.  Triggers, rights and policies are the caller's to look at.
 */
extern bool mktg_is_plain_table(Relation table, const MktgTableColumn *columns, int n);

#endif							/* MKTG_TABLE_H */
