/*-------------------------------------------------------------------------
 *
 * define.h
 *		Between registry.c, which reads the registry, and define.c, which
 *		writes it.
 *
 * IDENTIFICATION
 *		src/segment/define.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MKTG_SEGMENT_DEFINE_H
#define MKTG_SEGMENT_DEFINE_H

#include "segment/segment.h"

extern bool mktg_field_type_of(const char *name, MktgFieldType *type);
extern bool mktg_is_minor_name(const char *name);
extern char *mktg_bind_names(const char *expression);
extern void mktg_split_expression(const char *expression, MktgAggregate *aggregate, char **row_sql);
/* Refuses the rule of a short key that is no rule or names what does not exist. */
extern void mktg_check_template(Jsonb *rule, int64 tenant);
extern char *mktg_time_column_sql(const char *column, Oid type);

#endif
