/*-------------------------------------------------------------------------
 *
 * compat.h
 *		Differences between server versions, under the newest API's names.
 *
 * IDENTIFICATION
 *		src/base/compat.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_BASE_COMPAT_H
#define MKTG_BASE_COMPAT_H

#include "postgres.h"

#include "catalog/pg_database_d.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/acl.h"

#if PG_VERSION_NUM < 150000
#error "mktg needs PostgreSQL 15 or later"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"				/* postgres.h has it until 15 */
#endif

#if PG_VERSION_NUM < 170000
#include "storage/backendid.h"

/* 17 numbers backends from 0 by their place in the process array */
#define MyProcNumber	(MyBackendId - 1)
#endif

#if PG_VERSION_NUM < 160000
#include "fmgr.h"

/* Under -fvisibility=hidden; 16 exports the function along with its info. */
#undef PG_FUNCTION_INFO_V1
#define PG_FUNCTION_INFO_V1(funcname) \
extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS); \
extern PGDLLEXPORT const Pg_finfo_record *CppConcat(pg_finfo_,funcname)(void); \
const Pg_finfo_record * \
CppConcat(pg_finfo_,funcname) (void) \
{ \
	static const Pg_finfo_record my_finfo = { 1 }; \
	return &my_finfo; \
} \
extern int no_such_variable

/* whether an update calls for new index entries; 16 tells kinds of indexes apart */
#define TU_UpdateIndexes	bool
#define TU_None				false

/* 16 has one check for all classes of objects; here it serves relations */
#define object_ownercheck(classid, objectid, role)	pg_class_ownercheck(objectid, role)
#define mktg_owns_database(database, role)	pg_database_ownercheck(database, role)

#define mktg_decode_datetime(field, ftype, nf, dtype, tm, fsec, tz) \
	DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz)

#define mktg_decode_timezone_abbrev(name, kind, offset, zone) \
	(*(kind) = DecodeTimezoneAbbrev(0, name, offset, zone))
#else
#define mktg_owns_database(database, role)	object_ownercheck(DatabaseRelationId, database, role)

/* what is wrong in detail is of no interest */
#define mktg_decode_datetime(field, ftype, nf, dtype, tm, fsec, tz) \
	DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz, &(DateTimeErrorExtra) {0})

/* *kind is UNKNOWN_FIELD for what is no abbreviation */
#define mktg_decode_timezone_abbrev(name, kind, offset, zone) \
	((void) DecodeTimezoneAbbrev(0, name, kind, offset, zone, &(DateTimeErrorExtra) {0}))
#endif

/* The running transaction, told apart from the backend's earlier ones. */
static inline LocalTransactionId
mktg_transaction_id(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProc->vxid.lxid;
#else
	return MyProc->lxid;
#endif
}

#endif
