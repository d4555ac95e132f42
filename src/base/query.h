/*-------------------------------------------------------------------------
 *
 * query.h
 *		Statements the rooms run: prepared once a backend, or planned for
 *		their arguments each time.
 *
 * Callers are between mktg_begin() and mktg_end(), which connect and leave
 * SPI and refuse a schema this library does not know.  Results of the last
 * statement are in SPI_tuptable; mktg_*_at() read them.
 *
 * IDENTIFICATION
 *		src/base/query.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_BASE_QUERY_H
#define MKTG_BASE_QUERY_H

#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#define MKTG_MAX_ARGS	24

/*
 * One statement.  "plan" is kept for the backend's life.  A bulk statement is
 * planned anew for its arguments and given maintenance_work_mem to sort and
 * hash in, as the server does for its own checks of a whole table.
 */
typedef struct MktgQuery
{
	const char *sql;
	int			nargs;
	Oid			argtypes[MKTG_MAX_ARGS];
	bool		bulk;
	bool		most_rows;		/* bulk: reads most of its tables, whatever their statistics say */
	bool		fresh;			/* sees what is committed, also where the isolation shows an older state */
	SPIPlanPtr	plan;
	uint64		runs;			/* of the plan, in this backend */
} MktgQuery;

/* One argument of a statement: a value, or NULL. */
typedef struct MktgArg
{
	Datum		value;
	bool		isnull;
} MktgArg;

/*
 * MKTG_QUERY("SELECT ... $1 ... $2", INT8OID, TEXTOID): the types of the
 * arguments follow the text.
 */
#define MKTG_QUERY_OF(is_bulk, text, ...) \
	{.sql = (text), .bulk = (is_bulk), .argtypes = {__VA_ARGS__}, \
	 .nargs = sizeof((Oid[]) {__VA_ARGS__}) / sizeof(Oid)}
#define MKTG_QUERY(...)			MKTG_QUERY_OF(false, __VA_ARGS__)
#define MKTG_BULK_QUERY(...)	MKTG_QUERY_OF(true, __VA_ARGS__)

#define MKTG_ARG(d)		((MktgArg) {(d), false})
#define MKTG_NULL		((MktgArg) {(Datum) 0, true})
/* the n-th argument of the function being called, NULL kept */
#define MKTG_FCARG(n)	((MktgArg) {PG_GETARG_DATUM(n), PG_ARGISNULL(n)})
#define MKTG_TEXT(cstr)	mktg_text_arg(cstr)	/* a NULL pointer is NULL */
#define MKTG_INT64(i)	MKTG_ARG(Int64GetDatum(i))
#define MKTG_INT32(i)	MKTG_ARG(Int32GetDatum(i))
#define MKTG_TIME(t)	MKTG_ARG(TimestampTzGetDatum(t))
#define MKTG_DATE(d)	MKTG_ARG(DateADTGetDatum(d))

/* mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(name)) */
#define mktg_call(query, ...)	mktg_run((query), (MktgArg[]) {__VA_ARGS__})

extern void mktg_begin(void);
extern void mktg_end(void);
extern bool mktg_schema_ready(const char **detail);
extern void mktg_require_schema(void);

/* Runs the statement; gives the rows returned or, without any, touched. */
extern uint64 mktg_run(MktgQuery *query, const MktgArg *args);
extern MktgArg mktg_text_arg(const char *cstring);

/* n values as an SQL array; nulls may be NULL. */
extern Datum mktg_array(Datum *values, bool *nulls, int n, Oid type);

/*
 * Many rows as arguments, column by column: a statement takes them as arrays,
 * FROM unnest($1, $2, ...), so that one statement serves any number of rows.
 */
typedef struct MktgColumns
{
	int			n;				/* rows */
	int			capacity;
	int			ncolumns;
	const Oid  *types;
	Datum	   *values[MKTG_MAX_ARGS];
	bool	   *nulls[MKTG_MAX_ARGS];
} MktgColumns;

#define MKTG_COLUMNS(type_array)	{.ncolumns = lengthof(type_array), .types = (type_array)}

extern void mktg_columns_add(MktgColumns *columns, const MktgArg *row);
extern MktgArg mktg_columns_array(const MktgColumns *columns, int column);	/* from 0 */

/* Runs a statement whose arguments are the columns; nothing without rows. */
extern uint64 mktg_run_columns(MktgQuery *query, const MktgColumns *columns);

/* Column "column" (from 1) of row "row" (from 0) of the last result. */
extern Datum mktg_value_at(uint64 row, int column, bool *isnull);
extern bool mktg_null_at(uint64 row, int column);
extern int64 mktg_int64_at(uint64 row, int column); /* NULL reads as 0 */
extern int32 mktg_int32_at(uint64 row, int column);
extern bool mktg_bool_at(uint64 row, int column);	/* NULL reads as false */
extern char *mktg_text_at(uint64 row, int column);	/* palloc'd; NULL stays NULL */

/* Allocates where the caller of mktg_begin() was, to outlive mktg_end(). */
extern Datum mktg_keep_row(FunctionCallInfo fcinfo, const MktgArg *columns);
extern text *mktg_keep_text(const char *cstring);

#endif
