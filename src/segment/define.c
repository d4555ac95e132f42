/*-------------------------------------------------------------------------
 *
 * define.c
 *		Writes the registry of what rules may name.
 *
 * Expressions are SQL and run as whoever asks, the worker's refreshes as the
 * tables' owner; so it is the owner who defines them.
 *
 * IDENTIFICATION
 *		src/segment/define.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parser.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/rel.h"

#include "base/base.h"
#include "segment/ask.h"
#include "segment/define.h"
#include "segment/segment.h"

PG_FUNCTION_INFO_V1(mktg_map_source);
PG_FUNCTION_INFO_V1(mktg_define_field);
PG_FUNCTION_INFO_V1(mktg_define_alias);

/* Every session reads the registry anew, and what rules mean now is found out by refreshing segments. */
static void
registry_changed(int64 tenant)
{
	CacheInvalidateRelcacheByRelid(get_relname_relid("field", get_namespace_oid("mktg", false)));
	CommandCounterIncrement();
	AcceptInvalidationMessages();
	mktg_segments_outdated(tenant);
}

/* Only the tables' owner, and superusers. */
static void
require_owner(void)
{
	Oid			table = get_relname_relid("field", get_namespace_oid("mktg", false));

	if (!object_ownercheck(RelationRelationId, table, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("only the owner of mktg's tables defines what rules may name"),
				 errhint("Expressions of the registry run with the owner's rights when the worker refreshes segments.")));
}

static void
refuse_field(const char *message, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_FIELD), errmsg("%s", message), errhint("%s", hint)));
}

/* ---- sources ---- */

static Oid
column_type(Oid relation, const char *column, const char *what)
{
	AttrNumber	number = get_attnum(relation, column);

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("relation \"%s\" has no column \"%s\"", get_rel_name(relation), column),
				 errhint("Name a column of the relation as %s.", what)));
	return getBaseType(get_atttype(relation, number));
}

static void
require_name(const char *what, const char *name)
{
	size_t		length = strlen(name);

	if (length < 1 || length > 63 || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != length ||
		(name[0] >= '0' && name[0] <= '9') || name[0] == '_')
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_NAME),
				 errmsg("invalid name of a %s", what),
				 errhint("Use 1 to 63 letters, digits and _, beginning with a letter.")));
}

static const char *const watched_events[] = {"INSERT", "UPDATE", "DELETE", "TRUNCATE"};

/* The name of a trigger, quoted; one that would be cut off has a number in place of the source's name. */
static const char *
trigger_name(const char *source, int64 tenant, const char *event)
{
	char	   *name = psprintf("mktg_%s_" INT64_FORMAT "_%s", source, tenant, event);

	if (strlen(name) >= NAMEDATALEN)
		name = psprintf("mktg_%016llx_%s", (unsigned long long) hash_bytes_extended((unsigned char *) name,
																					 strlen(name) - strlen(event), 0), event);
	return quote_identifier(name);
}

static char *
relation_name(Oid relation)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), get_rel_name(relation));
}

/* Statement triggers that tell whose rows change; false where the relation can have none. */
static bool
watch(Oid relation, const char *source, const char *column, const char *key, int64 tenant)
{
	static const char *const tables[] = {
		"REFERENCING NEW TABLE AS new_rows", "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
		"REFERENCING OLD TABLE AS old_rows", ""
	};
	char		kind = get_rel_relkind(relation);

	if ((kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE) ||
		pg_class_aclcheck(relation, GetUserId(), ACL_TRIGGER) != ACLCHECK_OK)
		return false;
	for (int i = 0; i < lengthof(watched_events); i++)
	{
		char	   *sql = psprintf("CREATE OR REPLACE TRIGGER %s AFTER %s ON %s %s FOR EACH STATEMENT"
								   " EXECUTE FUNCTION mktg._mark_contacts(%s, %s, %s, " INT64_FORMAT ")",
								   trigger_name(source, tenant, watched_events[i]), watched_events[i],
								   relation_name(relation), tables[i], quote_literal_cstr(source),
								   quote_literal_cstr(column), quote_literal_cstr(key), tenant);

		if (SPI_execute(sql, false, 0) < 0)
			elog(ERROR, "could not make trigger");
	}
	return true;
}

static void
unwatch(Oid relation, const char *source, int64 tenant)
{
	char		kind = get_rel_relkind(relation);

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		return;
	for (int i = 0; i < lengthof(watched_events); i++)
		if (SPI_execute(psprintf("DROP TRIGGER IF EXISTS %s ON %s",
								 trigger_name(source, tenant, watched_events[i]), relation_name(relation)), false, 0) < 0)
			elog(ERROR, "could not drop trigger");
}

/* Triggers on the relation a source was mapped to before are of no use any more. */
static void
unwatch_former(const char *source, Oid relation, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT relation::oid FROM mktg.source WHERE tenant_id = $1 AND name = $2"
										" AND relation <> $3", INT8OID, TEXTOID, OIDOID);

	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(source), MKTG_ARG(ObjectIdGetDatum(relation))) > 0)
		unwatch((Oid) mktg_int32_at(0, 1), source, tenant);
}

/* Takes a mapping back, with the triggers it made. */
static void
forget_source(const char *name, int64 tenant)
{
	static MktgQuery used = MKTG_QUERY("SELECT name FROM mktg.field WHERE tenant_id = $1 AND source = $2 ORDER BY name LIMIT 1",
									   INT8OID, TEXTOID);
	static MktgQuery query = MKTG_QUERY("DELETE FROM mktg.source WHERE tenant_id = $1 AND name = $2 RETURNING relation::oid",
										INT8OID, TEXTOID);

	if (mktg_call(&used, MKTG_INT64(tenant), MKTG_TEXT(name)) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("field %s is one of source \"%s\"", mktg_text_at(0, 1), name),
				 errhint("Remove its fields first: mktg.define_field(name, source, NULL, NULL).")));
	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(name)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_UNKNOWN_FIELD),
				 errmsg("source \"%s\" does not exist", name),
				 errhint("SELECT name FROM mktg.source lists those of the tenant.")));
	unwatch((Oid) mktg_int32_at(0, 1), name, tenant);
	registry_changed(tenant);
}

/*
 * SQL: mktg.map_source(name text, relation regclass, contact_column name, at_column name,
 *		key text, description text, tenant bigint) returns void
 *
 * A relation that is NULL takes the mapping back.  Errors: MK020 name, MK024 key
 * or a column of another type, MK027 no such source, 42703 column, 2BP01 fields
 * are left, 42501 for anybody but the owner.
 */
Datum
mktg_map_source(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY(
		"INSERT INTO mktg.source (tenant_id, name, relation, contact_column, at_column, key, watched, description)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, name) DO UPDATE SET relation = excluded.relation,"
		"  contact_column = excluded.contact_column, at_column = excluded.at_column, key = excluded.key,"
		"  watched = excluded.watched, description = excluded.description",
		INT8OID, TEXTOID, REGCLASSOID, NAMEOID, NAMEOID, TEXTOID, BOOLOID, TEXTOID);
	char	   *name = mktg_text_argument(fcinfo, 0, "name");
	char	   *column;
	char	   *key = mktg_text_argument(fcinfo, 4, "key");
	int64		tenant = mktg_int64_argument(fcinfo, 6, "tenant");
	Oid			relation;
	Oid			type;
	bool		watched;

	if (PG_ARGISNULL(1))
	{
		mktg_begin();
		require_owner();
		mktg_require_tenant(tenant);
		forget_source(name, tenant);
		mktg_end();
		PG_RETURN_VOID();
	}
	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"contact_column\" must not be NULL"),
				 errhint("Name the column of the table that has the contact_id or external_id.")));
	relation = PG_GETARG_OID(1);
	column = NameStr(*PG_GETARG_NAME(2));
	mktg_begin();
	require_owner();
	mktg_require_tenant(tenant);
	require_name("source", name);
	if (strcmp(key, "contact_id") != 0 && strcmp(key, "external_id") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("key \"%s\" does not exist", key),
				 errhint("Keys are contact_id and external_id.")));
	type = column_type(relation, column, "contact_column");
	if (strcmp(key, "contact_id") == 0 && type != INT8OID && type != INT4OID && type != INT2OID)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("column \"%s\" cannot hold contact_ids", column),
				 errdetail("It is of type %s.", format_type_be(type)),
				 errhint("Use key => 'external_id' for ids of your own.")));
	if (!PG_ARGISNULL(3))
	{
		type = column_type(relation, NameStr(*PG_GETARG_NAME(3)), "at_column");
		if (type != TIMESTAMPTZOID && type != TIMESTAMPOID && type != DATEOID)
			ereport(ERROR,
					(errcode(ERRCODE_MKTG_INVALID_VALUE),
					 errmsg("column \"%s\" is no time", NameStr(*PG_GETARG_NAME(3))),
					 errdetail("It is of type %s.", format_type_be(type)),
					 errhint("Name a column of type timestamptz, timestamp or date.")));
	}
	unwatch_former(name, relation, tenant);
	watched = watch(relation, name, column, key, tenant);
	mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(name), MKTG_FCARG(1), MKTG_FCARG(2), MKTG_FCARG(3),
			  MKTG_TEXT(key), MKTG_ARG(BoolGetDatum(watched)), MKTG_FCARG(5));
	registry_changed(tenant);
	if (!watched)
		ereport(NOTICE,
				(errmsg("rows of \"%s\" cannot be watched", get_rel_name(relation)),
				 errhint("Segments that read it are up to date after mktg.refresh_segments(), not after mktg.refresh_dirty().")));
	mktg_end();
	PG_RETURN_VOID();
}

/* ---- fields ---- */

/* One expression and nothing behind it: what would end the SELECT, or hide what follows, is refused. */
static void
require_expression(const char *expression)
{
	List	   *raw;
	SelectStmt *select;

	if (strstr(expression, "--") != NULL || strstr(expression, "/*") != NULL)
		refuse_field("the expression has a comment", "Leave out -- and /*, inside quotes too.");
	raw = raw_parser(psprintf("SELECT (%s\n)", expression), RAW_PARSE_DEFAULT);
	if (list_length(raw) != 1 || !IsA(linitial_node(RawStmt, raw)->stmt, SelectStmt))
		refuse_field("the expression is more than one expression", "Give what would stand between SELECT and FROM.");
	select = (SelectStmt *) linitial_node(RawStmt, raw)->stmt;
	if (select->op != SETOP_NONE || list_length(select->targetList) != 1 || select->fromClause != NIL ||
		select->whereClause != NULL || select->groupClause != NIL || select->havingClause != NULL ||
		select->windowClause != NIL || select->sortClause != NIL || select->limitCount != NULL ||
		select->lockingClause != NIL || select->withClause != NULL || select->intoClause != NULL ||
		select->valuesLists != NIL || select->distinctClause != NIL ||
		IsA(linitial_node(ResTarget, select->targetList)->val, RowExpr))
		refuse_field("the expression is more than one expression", "Give what would stand between SELECT and FROM.");
}

static bool
find_forbidden(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink) || IsA(node, Aggref) || IsA(node, WindowFunc))
		return true;
	return expression_tree_walker(node, find_forbidden, context);
}

/* What of a row an expression takes must be of the row alone and the same each time. */
static Oid
require_row_expression(const MktgSource *source, const char *sql)
{
	Oid			types[MKTG_FIXED_PARAMS] = {INT8OID, TIMESTAMPTZOID, TEXTOID, TEXTOID};
	SPIPlanPtr	plan = SPI_prepare(psprintf("SELECT %s FROM %s s", sql, source->relation_sql), MKTG_FIXED_PARAMS, types);
	CachedPlanSource *made;
	Query	   *query;
	Node	   *value;

	if (plan == NULL)
		elog(ERROR, "could not prepare expression: %s", SPI_result_code_string(SPI_result));
	made = linitial(SPI_plan_get_plan_sources(plan));
	query = linitial_node(Query, made->query_list);
	value = (Node *) linitial_node(TargetEntry, query->targetList)->expr;
	if (find_forbidden(value, NULL))
		refuse_field("the expression has a subquery or an aggregate inside",
					 "A field is an expression over one row, or count, sum, min, max, avg, bool_and or bool_or of one.");
	if (expression_returns_set(value))
		refuse_field("the expression gives more than one value", "A field has one value a row.");
	if (contain_volatile_functions(value))
		refuse_field("the expression is volatile", "It must give the same for a row each time it is asked.");
	return getBaseType(exprType(value));
}

static bool
find_parameter(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, ParamRef))
		return true;
	return raw_expression_tree_walker(node, find_parameter, context);
}

/*
 * What changes with time alone must be known to be refreshed in time: a field of
 * an application gives times, and rules compare them.
 */
static void
require_no_clock(const char *expression)
{
	List	   *raw = raw_parser(psprintf("SELECT (%s\n)", expression), RAW_PARSE_DEFAULT);

	if (strcmp(mktg_bind_names(expression), expression) != 0 ||
		find_parameter((Node *) linitial_node(RawStmt, raw)->stmt, NULL))
		refuse_field("the expression names rule_at, rule_time_zone or rule_currency",
					 "Only fields that ship may; give a time and compare it in the rule, with WITHIN_LAST or \"-30 days\".");
}

/* Does the type of an expression serve for a field's? */
static bool
type_fits(MktgFieldType field, Oid type)
{
	switch (field)
	{
		case MKTG_FIELD_TEXT:
			return type == TEXTOID || type == VARCHAROID || type == BPCHAROID || type == NAMEOID;
		case MKTG_FIELD_NUMBER:
			return type == INT2OID || type == INT4OID || type == INT8OID || type == NUMERICOID ||
				type == FLOAT4OID || type == FLOAT8OID;
		case MKTG_FIELD_MONEY:
			return type == INT2OID || type == INT4OID || type == INT8OID || type == NUMERICOID;
		case MKTG_FIELD_BOOLEAN:
			return type == BOOLOID;
		case MKTG_FIELD_TIMESTAMP:
			return type == TIMESTAMPTZOID || type == TIMESTAMPOID;
		case MKTG_FIELD_DATE:
			return type == DATEOID;
		case MKTG_FIELD_ARRAY:
			return type == TEXTARRAYOID;
		case MKTG_FIELD_JSON:
			return type == JSONBOID;
	}
	return false;
}

static void
check_field(const MktgSource *source, const char *expression, MktgFieldType type)
{
	MktgAggregate aggregate;
	char	   *row_sql;
	Oid			row_type;

	if (strlen(expression) > 10000)
		refuse_field("the expression is too long", "It has at most 10,000 characters.");
	require_expression(expression);
	require_no_clock(expression);
	mktg_split_expression(expression, &aggregate, &row_sql);
	row_type = row_sql == NULL ? INT8OID : require_row_expression(source, row_sql);
	switch (aggregate)
	{
		case MKTG_AGG_COUNT:
			row_type = INT8OID;
			break;
		case MKTG_AGG_AVG:
		case MKTG_AGG_SUM:
			if (!type_fits(MKTG_FIELD_NUMBER, row_type))
				refuse_field(psprintf("there is no sum of %s", format_type_be(row_type)), "Add up numbers.");
			row_type = NUMERICOID;
			break;
		case MKTG_AGG_DAYS_SINCE:
			row_type = INT4OID;
			break;
		case MKTG_AGG_LIFECYCLE:
			row_type = TEXTOID;
			break;
		default:
			break;
	}
	if (!type_fits(type, row_type))
		refuse_field(psprintf("the expression is of type %s, which is no %s", format_type_be(row_type),
							  mktg_field_type_name(type)),
					 "Types are text, number, money (whole minor units), boolean, timestamp, date, array (of text) and json (jsonb).");
	if (type == MKTG_FIELD_JSON && aggregate != MKTG_AGG_NONE)
		refuse_field("a JSON field cannot be an aggregate", "Give a column of type jsonb.");
}

/* Names have parts with dots between them, of letters, digits and underscores. */
static void
require_field_name(const char *name)
{
	bool		begins = true;

	for (const char *p = name; *p != '\0'; p++)
	{
		bool		letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z');

		if (!(letter || (!begins && ((*p >= '0' && *p <= '9') || *p == '_' || (*p == '.' && p[1] != '\0')))))
			begins = true;
		else
		{
			begins = *p == '.';
			continue;
		}
		break;
	}
	if (begins || strlen(name) > MKTG_MAX_NAME || strchr(name, '.') == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_NAME),
				 errmsg("invalid name of a field"),
				 errhint("Write it like loan.balance: letters, digits and _ with dots between, at most %d characters.", MKTG_MAX_NAME)));
}

static void
forget_field(const char *name, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("DELETE FROM mktg.field WHERE tenant_id = $1"
										" AND lower(replace(name, '_', '')) = lower(replace($2, '_', ''))", INT8OID, TEXTOID);

	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(name)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_UNKNOWN_FIELD),
				 errmsg("field \"%s\" does not exist", name),
				 errhint("Only a tenant's own fields can be removed; SELECT name FROM mktg.field lists them.")));
	registry_changed(tenant);
}

/*
 * SQL: mktg.define_field(name text, source text, expression text, type text, description text, tenant bigint) returns void
 *
 * An expression that is NULL removes the tenant's field.  Errors: MK020 name,
 * MK027 source or field, MK028 expression or type, 42501 for anybody but the
 * owner, and the server's own for an expression that is none.
 */
Datum
mktg_define_field(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY(
		"INSERT INTO mktg.field (tenant_id, name, source, expression, type, description) VALUES ($1, $2, $3, $4, $5, $6)"
		" ON CONFLICT (tenant_id, lower(replace(name, '_', ''))) DO UPDATE SET name = excluded.name, source = excluded.source,"
		"  expression = excluded.expression, type = excluded.type, description = excluded.description",
		INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID);
	char	   *name = mktg_text_argument(fcinfo, 0, "name");
	char	   *source_name = mktg_text_argument(fcinfo, 1, "source");
	char	   *expression;
	char	   *type_name;
	int64		tenant = mktg_int64_argument(fcinfo, 5, "tenant");
	const MktgRegistry *registry;
	MktgSource *source = NULL;
	MktgFieldType type;

	mktg_begin();
	require_owner();
	mktg_require_tenant(tenant);
	if (PG_ARGISNULL(2))
	{
		forget_field(name, tenant);
		mktg_end();
		PG_RETURN_VOID();
	}
	expression = mktg_text_argument(fcinfo, 2, "expression");
	type_name = mktg_text_argument(fcinfo, 3, "type");
	require_field_name(name);
	registry = mktg_registry(tenant);
	for (int i = 0; source == NULL && i < registry->nsources; i++)
		if (strcmp(registry->sources[i]->name, source_name) == 0)
			source = registry->sources[i];
	if (source == NULL || source->relation_sql == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_UNKNOWN_FIELD),
				 errmsg("source \"%s\" does not exist", source_name),
				 errhint("mktg.map_source() makes one; SELECT name FROM mktg.source lists them.")));
	if (!mktg_field_type_of(type_name, &type))
		refuse_field(psprintf("type \"%s\" does not exist", type_name),
					 "Types are text, number, money (whole minor units), boolean, timestamp, date, array (of text) and json (jsonb).");
	check_field(source, expression, type);
	mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(name), MKTG_TEXT(source_name), MKTG_TEXT(expression),
			  MKTG_TEXT(type_name), MKTG_FCARG(4));
	registry_changed(tenant);
	mktg_end();
	PG_RETURN_VOID();
}

/*
 * SQL: mktg.define_alias(key text, rule jsonb, tenant bigint) returns void
 *
 * Errors: MK020 key, MK026 and MK027 for a rule that is none.
 */
Datum
mktg_define_alias(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.rule_alias (tenant_id, key, rule) VALUES ($1, $2, $3)"
										" ON CONFLICT (tenant_id, key) DO UPDATE SET rule = excluded.rule",
										INT8OID, TEXTOID, JSONBOID);
	static MktgQuery remove = MKTG_QUERY("DELETE FROM mktg.rule_alias WHERE tenant_id = $1 AND key = $2", INT8OID, TEXTOID);
	char	   *key = mktg_text_argument(fcinfo, 0, "key");
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");

	mktg_begin();
	require_owner();
	mktg_require_tenant(tenant);
	mktg_require_name("short key", key);
	if (PG_ARGISNULL(1))
		mktg_call(&remove, MKTG_INT64(tenant), MKTG_TEXT(key));
	else
	{
		mktg_check_template(PG_GETARG_JSONB_P(1), tenant);
		mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(key), MKTG_FCARG(1));
	}
	registry_changed(tenant);
	mktg_end();
	PG_RETURN_VOID();
}
