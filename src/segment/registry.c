/*-------------------------------------------------------------------------
 *
 * registry.c
 *		What rules may name: sources, fields over their rows, short keys.
 *
 * A tenant's registry is what ships (tenant 0) and its own.  It is read once a
 * backend and kept until somebody changes it or a relation it names.
 *
 * IDENTIFICATION
 *		src/segment/registry.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/namespace.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"

#include "base/base.h"
#include "segment/define.h"
#include "segment/segment.h"

typedef struct Kept
{
	MktgRegistry registry;
	MemoryContext context;
	bool		stale;
	Oid			tables[3];		/* source, field, rule_alias */
} Kept;

/* the last tenant's; a backend that serves many in turn reads it anew */
static Kept *kept = NULL;

/* something changed while there was none, such as while one is being read */
static bool missed = false;

static const struct
{
	const char *name;
	MktgFieldType type;
}			type_names[] = {
	{"text", MKTG_FIELD_TEXT},
	{"number", MKTG_FIELD_NUMBER},
	{"money", MKTG_FIELD_MONEY},
	{"boolean", MKTG_FIELD_BOOLEAN},
	{"timestamp", MKTG_FIELD_TIMESTAMP},
	{"date", MKTG_FIELD_DATE},
	{"array", MKTG_FIELD_ARRAY},
	{"json", MKTG_FIELD_JSON}
};

static void on_relcache(Datum arg, Oid relation);
static void read_tenant(MktgRegistry *registry);
static void read_sources(MktgRegistry *registry);
static void read_fields(MktgRegistry *registry);
static void read_aliases(MktgRegistry *registry);

static void
on_relcache(Datum arg, Oid relation)
{
	if (kept == NULL)
	{
		missed = true;
		return;
	}
	if (!OidIsValid(relation))
		kept->stale = true;
	for (int i = 0; i < lengthof(kept->tables); i++)
		if (relation == kept->tables[i])
			kept->stale = true;
	for (int i = 0; i < kept->registry.nsources; i++)
		if (relation == kept->registry.sources[i]->relation)
			kept->stale = true;
}

const MktgRegistry *
mktg_registry(int64 tenant)
{
	static bool registered = false;
	MemoryContext context;
	MemoryContext caller;
	Kept	   *made;
	Oid			schema;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(on_relcache, (Datum) 0);
		registered = true;
	}
	if (kept != NULL && !kept->stale && kept->registry.tenant_id == tenant)
	{
		/* the time zone and the currency are the tenant's row's, which nobody announces */
		read_tenant(&kept->registry);
		return &kept->registry;
	}

	if (kept != NULL)
	{
		/* rules compiled before in this transaction still point at it */
		context = kept->context;
		kept = NULL;
		MemoryContextSetParent(context, TopTransactionContext);
	}
	missed = false;
	context = AllocSetContextCreate(CurrentMemoryContext, "mktg registry", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	made = palloc0(sizeof(Kept));
	made->context = context;
	made->registry.tenant_id = tenant;
	schema = get_namespace_oid("mktg", false);
	made->tables[0] = get_relname_relid("source", schema);
	made->tables[1] = get_relname_relid("field", schema);
	made->tables[2] = get_relname_relid("rule_alias", schema);
	read_tenant(&made->registry);
	read_sources(&made->registry);
	read_fields(&made->registry);
	read_aliases(&made->registry);
	MemoryContextSwitchTo(caller);
	MemoryContextSetParent(context, CacheMemoryContext);
	made->stale = missed;
	kept = made;
	return &kept->registry;
}

static void
read_tenant(MktgRegistry *registry)
{
	static MktgQuery query = MKTG_QUERY("SELECT time_zone, currency FROM mktg.tenant WHERE tenant_id = $1", INT8OID);
	char	   *time_zone;
	char	   *currency;

	if (mktg_call(&query, MKTG_INT64(registry->tenant_id)) == 0)
		mktg_require_tenant(registry->tenant_id);
	time_zone = mktg_text_at(0, 1);
	currency = mktg_text_at(0, 2);
	if (registry->time_zone != NULL && strcmp(registry->time_zone, time_zone) == 0 &&
		strcmp(registry->currency, currency) == 0)
		return;
	if (kept != NULL && registry == &kept->registry)
	{
		registry->time_zone = MemoryContextStrdup(kept->context, time_zone);
		registry->currency = MemoryContextStrdup(kept->context, currency);
	}
	else
	{
		registry->time_zone = time_zone;
		registry->currency = currency;
	}
	registry->exponent = mktg_currency_exponent(registry->currency);
}

static void
read_sources(MktgRegistry *registry)
{
	static MktgQuery query = {
		.sql = "SELECT s.name, s.relation::oid, s.contact_column::text, s.at_column::text, s.key, s.watched,"
		" CASE WHEN c.oid IS NOT NULL THEN format('%I.%I', n.nspname, c.relname) END, k.atttypid, a.atttypid, t.attname IS NOT NULL, s.tenant_id"
		" FROM mktg.source s"
		" LEFT JOIN pg_catalog.pg_class c ON c.oid = s.relation"
		" LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
		" LEFT JOIN pg_catalog.pg_attribute k ON k.attrelid = c.oid AND k.attname = s.contact_column AND NOT k.attisdropped"
		" LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = s.at_column AND NOT a.attisdropped"
		" LEFT JOIN pg_catalog.pg_attribute t ON t.attrelid = c.oid AND t.attname = 'tenant_id' AND NOT t.attisdropped"
		"  AND t.atttypid = 'int8'::regtype"
		" WHERE s.tenant_id IN (0, $1) ORDER BY s.tenant_id DESC, s.name",
		.nargs = 1, .argtypes = {INT8OID}, .fresh = true
	};
	Oid			contact = get_relname_relid("contact", get_namespace_oid("mktg", false));

	mktg_call(&query, MKTG_INT64(registry->tenant_id));
	registry->sources = palloc(sizeof(MktgSource *) * (SPI_processed + 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MktgSource *source = palloc0(sizeof(MktgSource));
		char	   *column = mktg_text_at(i, 3);
		Oid			key_type = (Oid) mktg_int32_at(i, 8);

		source->name = mktg_text_at(i, 1);
		source->relation = (Oid) mktg_int32_at(i, 2);
		/* what was dropped stays, to be told by name if a rule asks for it */
		source->relation_sql = mktg_null_at(i, 8) ? NULL : mktg_text_at(i, 7);
		source->external = strcmp(mktg_text_at(i, 5), "external_id") == 0;
		source->contact_sql = psprintf(source->external && key_type != TEXTOID ? "s.%s::text" : "s.%s",
									   quote_identifier(column));
		source->at_sql = mktg_time_column_sql(mktg_text_at(i, 4), (Oid) mktg_int32_at(i, 9));
		source->watched = mktg_bool_at(i, 6);
		source->has_tenant = mktg_bool_at(i, 10);
		source->tenant_id = mktg_int64_at(i, 11);
		source->is_contact = source->relation == contact && source->tenant_id == 0;
		registry->sources[registry->nsources++] = source;
	}
}

/* A column's time as timestamptz: a plain one is in the tenant's time zone. */
char *
mktg_time_column_sql(const char *column, Oid type)
{
	if (column == NULL)
		return NULL;
	if (type == TIMESTAMPTZOID)
		return pstrdup(quote_identifier(column));
	return psprintf("(%s::timestamp AT TIME ZONE $3)", quote_identifier(column));
}

/* The source of a name that fields of a tenant mean: its own before the one that ships. */
static MktgSource *
find_source(MktgRegistry *registry, const char *name)
{
	for (int i = 0; i < registry->nsources; i++)
		if (strcmp(registry->sources[i]->name, name) == 0)
			return registry->sources[i];
	return NULL;
}

/* Fields that ship are of the sources that ship. */
static MktgSource *
find_shipped_source(MktgRegistry *registry, const char *name)
{
	for (int i = registry->nsources - 1; i >= 0; i--)
		if (strcmp(registry->sources[i]->name, name) == 0)
			return registry->sources[i];
	return NULL;
}

static void
read_fields(MktgRegistry *registry)
{
	static MktgQuery query = {
		.sql = "SELECT f.name, f.source, f.expression, f.type, f.at_column::text, f.changes, f.synonyms, f.tenant_id"
		" FROM mktg.field f WHERE f.tenant_id IN (0, $1) ORDER BY f.tenant_id DESC, f.name",
		.nargs = 1, .argtypes = {INT8OID}, .fresh = true
	};

	mktg_call(&query, MKTG_INT64(registry->tenant_id));
	registry->fields = palloc(sizeof(MktgField *) * (SPI_processed + 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MktgField  *field = palloc0(sizeof(MktgField));
		char	   *changes = mktg_text_at(i, 6);
		char	   *at = mktg_text_at(i, 5);
		char	   *type = mktg_text_at(i, 4);
		char	   *source = mktg_text_at(i, 2);
		bool		isnull;
		Datum		synonyms = mktg_value_at(i, 7, &isnull);

		field->source = mktg_int64_at(i, 8) == 0 ? find_shipped_source(registry, source) : find_source(registry, source);
		if (field->source == NULL || !mktg_field_type_of(type, &field->type))
			continue;
		field->name = mktg_text_at(i, 1);
		mktg_split_expression(mktg_text_at(i, 3), &field->aggregate, &field->row_sql);
		field->at_sql = at != NULL ? mktg_time_column_sql(at, TIMESTAMPTZOID) : field->source->at_sql;
		field->changes = changes == NULL ? MKTG_CHANGES_NEVER :
			strcmp(changes, "day") == 0 ? MKTG_CHANGES_DAILY : MKTG_CHANGES_MONTHLY;
		field->synonyms = isnull ? NULL : DatumGetJsonbPCopy(synonyms);
		field->minor = mktg_is_minor_name(field->name);
		registry->fields[registry->nfields++] = field;
	}
}

static void
read_aliases(MktgRegistry *registry)
{
	static MktgQuery query = {
		.sql = "SELECT key, rule::text FROM mktg.rule_alias WHERE tenant_id IN (0, $1) ORDER BY tenant_id DESC, key",
		.nargs = 1, .argtypes = {INT8OID}, .fresh = true
	};

	mktg_call(&query, MKTG_INT64(registry->tenant_id));
	registry->aliases = palloc(sizeof(MktgAlias) * (SPI_processed + 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MktgAlias  *alias = &registry->aliases[registry->naliases++];

		alias->key = mktg_text_at(i, 1);
		alias->rule = mktg_text_at(i, 2);
		alias->length = strlen(alias->rule);
	}
}

bool
mktg_field_type_of(const char *name, MktgFieldType *type)
{
	for (int i = 0; i < lengthof(type_names); i++)
		if (strcmp(type_names[i].name, name) == 0)
		{
			*type = type_names[i].type;
			return true;
		}
	return false;
}

const char *
mktg_field_type_name(MktgFieldType type)
{
	return type_names[type].name;
}

bool
mktg_is_minor_name(const char *name)
{
	size_t		length = strlen(name);

	return length > 5 && strcmp(name + length - 5, "Minor") == 0;
}

/* Names are the same whatever their capitals and underscores. */
static bool
same_name(const char *a, const char *b, size_t b_length)
{
	const char *b_end = b + b_length;

	for (;;)
	{
		while (*a == '_')
			a++;
		while (b < b_end && *b == '_')
			b++;
		if (*a == '\0' || b == b_end)
			return *a == '\0' && b == b_end;
		if (pg_ascii_tolower((unsigned char) *a) != pg_ascii_tolower((unsigned char) *b))
			return false;
		a++;
		b++;
	}
}

static MktgField *
find_name(const MktgRegistry *registry, const char *name, size_t length)
{
	for (int i = 0; i < registry->nfields; i++)
		if (same_name(registry->fields[i]->name, name, length))
			return registry->fields[i];
	return NULL;
}

MktgField *
mktg_find_field(const MktgRegistry *registry, const char *name, const char **json_key)
{
	size_t		length = strlen(name);
	MktgField  *field = find_name(registry, name, length);

	*json_key = NULL;
	if (field != NULL && field->type != MKTG_FIELD_JSON)
		return field;

	/* money in minor units, of any field that is money */
	if (length > 5 && pg_strcasecmp(name + length - 5, "Minor") == 0)
	{
		field = find_name(registry, name, length - 5);
		if (field != NULL && field->type == MKTG_FIELD_MONEY)
		{
			MktgField  *minor = palloc(sizeof(MktgField));

			*minor = *field;
			minor->minor = true;
			return minor;
		}
	}

	/* a key of a JSON field: the field is what stands before one of the dots */
	for (const char *dot = strchr(name, '.'); dot != NULL; dot = strchr(dot + 1, '.'))
	{
		field = find_name(registry, name, dot - name);
		if (field != NULL && field->type == MKTG_FIELD_JSON && dot[1] != '\0')
		{
			*json_key = dot + 1;
			return field;
		}
	}
	return NULL;
}

const MktgAlias *
mktg_find_alias(const MktgRegistry *registry, const char *key)
{
	for (int i = 0; i < registry->naliases; i++)
		if (strcmp(registry->aliases[i].key, key) == 0)
			return &registry->aliases[i];
	return NULL;
}

const char *
mktg_nearest_field(const MktgRegistry *registry, const char *name)
{
	const char **names = palloc(sizeof(char *) * (registry->nfields + 1));

	for (int i = 0; i < registry->nfields; i++)
		names[i] = registry->fields[i]->name;
	return mktg_nearest_name(name, names, registry->nfields);
}

const char *
mktg_nearest_alias(const MktgRegistry *registry, const char *key)
{
	const char **names = palloc(sizeof(char *) * (registry->naliases + 1));

	for (int i = 0; i < registry->naliases; i++)
		names[i] = registry->aliases[i].key;
	return mktg_nearest_name(key, names, registry->naliases);
}

/* ---- expressions ---- */

/* The names that stand for parameters, outside of quotes. */
char *
mktg_bind_names(const char *expression)
{
	static const struct
	{
		const char *name;
		const char *param;
	}			names[] = {
		{"rule_at", "$2"}, {"rule_time_zone", "$3"}, {"rule_currency", "$4"}
	};
	StringInfoData out;
	char		quote = '\0';

	initStringInfo(&out);
	for (const char *p = expression; *p != '\0';)
	{
		size_t		word = 0;

		if (quote == '\0')
			while (isalnum((unsigned char) p[word]) || p[word] == '_' || IS_HIGHBIT_SET(p[word]))
				word++;
		if (word > 0)
		{
			int			i;

			for (i = 0; i < lengthof(names); i++)
				if (strlen(names[i].name) == word && strncmp(names[i].name, p, word) == 0)
					break;
			if (i < lengthof(names))
				appendStringInfoString(&out, names[i].param);
			else
				appendBinaryStringInfo(&out, p, word);
			p += word;
			continue;
		}
		if (quote != '\0' ? *p == quote : (*p == '\'' || *p == '"'))
			quote = quote == '\0' ? *p : '\0';
		appendStringInfoChar(&out, *p++);
	}
	return out.data;
}

static const struct
{
	const char *name;
	MktgAggregate aggregate;
	bool		takes_instant;	/* $2 as its second argument */
}			aggregates[] = {
	{"count", MKTG_AGG_COUNT, false},
	{"sum", MKTG_AGG_SUM, false},
	{"min", MKTG_AGG_MIN, false},
	{"max", MKTG_AGG_MAX, false},
	{"avg", MKTG_AGG_AVG, false},
	{"bool_and", MKTG_AGG_BOOL_AND, false},
	{"bool_or", MKTG_AGG_BOOL_OR, false},
	{"days_since", MKTG_AGG_DAYS_SINCE, true},
	{"lifecycle_stage", MKTG_AGG_LIFECYCLE, true}
};

/* The whole expression is one call of an aggregate: which, and is it "count(*)"? */
static bool
parse_aggregate(const char *expression, MktgAggregate *aggregate, bool *instant, bool *star)
{
	List	   *raw = raw_parser(psprintf("SELECT %s", expression), RAW_PARSE_DEFAULT);
	SelectStmt *select = (SelectStmt *) linitial_node(RawStmt, raw)->stmt;
	Node	   *value = linitial_node(ResTarget, select->targetList)->val;
	FuncCall   *call = (FuncCall *) value;
	char	   *name;

	if (!IsA(value, FuncCall) || call->agg_order != NIL || call->agg_filter != NULL || call->over != NULL ||
		call->agg_distinct || call->agg_within_group || call->func_variadic)
		return false;
	name = strVal(llast(call->funcname));
	for (int i = 0; i < lengthof(aggregates); i++)
	{
		/* ours are named with their schema, the server's are not */
		if (strcmp(name, aggregates[i].name) != 0 ||
			(list_length(call->funcname) == 2) != aggregates[i].takes_instant)
			continue;
		if (call->agg_star ? aggregates[i].aggregate != MKTG_AGG_COUNT :
			list_length(call->args) != (aggregates[i].takes_instant ? 2 : 1))
			return false;
		*aggregate = aggregates[i].aggregate;
		*instant = aggregates[i].takes_instant;
		*star = call->agg_star;
		return true;
	}
	return false;
}

/* Parts the text of a field: the aggregate, and what of a row it takes. */
void
mktg_split_expression(const char *expression, MktgAggregate *aggregate, char **row_sql)
{
	char	   *bound = mktg_bind_names(expression);
	bool		instant = false;
	bool		star = false;
	char	   *open;
	char	   *close;

	*aggregate = MKTG_AGG_NONE;
	*row_sql = bound;
	if (!parse_aggregate(bound, aggregate, &instant, &star))
		return;
	if (star)
	{
		*row_sql = NULL;
		return;
	}
	open = strchr(bound, '(');
	close = strrchr(bound, ')');
	if (instant)
	{
		/* ", $2" goes */
		close = strrchr(bound, '$');
		while (close > open && *close != ',')
			close--;
	}
	*row_sql = pnstrdup(open + 1, close - open - 1);
}

Oid
mktg_expression_type(const MktgSource *source, const char *sql, Oid *collation)
{
	Oid			types[MKTG_FIXED_PARAMS] = {INT8OID, TIMESTAMPTZOID, TEXTOID, TEXTOID};
	SPIPlanPtr	plan = SPI_prepare(psprintf("SELECT %s FROM %s s", sql, source->relation_sql),
								   MKTG_FIXED_PARAMS, types);
	CachedPlanSource *made;
	Oid			type;

	if (plan == NULL)
		elog(ERROR, "could not prepare expression: %s", SPI_result_code_string(SPI_result));
	made = linitial(SPI_plan_get_plan_sources(plan));
	type = getBaseType(TupleDescAttr(made->resultDesc, 0)->atttypid);
	if (collation != NULL)
		*collation = TupleDescAttr(made->resultDesc, 0)->attcollation;
	SPI_freeplan(plan);
	return type;
}
