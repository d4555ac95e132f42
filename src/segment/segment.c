/*-------------------------------------------------------------------------
 *
 * segment.c
 *		Makes, changes and drops segments; fills static ones.
 *
 * IDENTIFICATION
 *		src/segment/segment.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "segment/ask.h"
#include "segment/segment.h"

static const char catalog_json[] =
#include "segment/catalog_json.h"
;

static Datum source_names(const MktgCompiled *compiled);
static void refuse_kind(int64 segment, const char *kind, const char *hint);
static char *lock_segment(int64 segment, int64 tenant);

PG_FUNCTION_INFO_V1(mktg_create_segment);
PG_FUNCTION_INFO_V1(mktg_update_segment);
PG_FUNCTION_INFO_V1(mktg_drop_segment);
PG_FUNCTION_INFO_V1(mktg_keep_segment_history);
PG_FUNCTION_INFO_V1(mktg_load_segment_catalog);
PG_FUNCTION_INFO_V1(mktg_add_to_segment);
PG_FUNCTION_INFO_V1(mktg_remove_from_segment);

void
mktg_require_segment(int64 segment, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT 1 FROM mktg.segment WHERE tenant_id = $1 AND segment_id = $2",
										INT8OID, INT8OID);

	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(segment)) > 0)
		return;
	mktg_require_tenant(tenant);
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_UNKNOWN_SEGMENT),
			 errmsg("segment " INT64_FORMAT " does not exist", segment),
			 errdetail("Tenant " INT64_FORMAT " has no such segment.", tenant),
			 errhint("The view mktg.segment_list lists them; mktg.create_segment() makes one.")));
}

/* Locks its row; gives its kind. */
static char *
lock_segment(int64 segment, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT kind FROM mktg.segment WHERE tenant_id = $1 AND segment_id = $2"
										" FOR NO KEY UPDATE", INT8OID, INT8OID);

	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(segment)) == 0)
		mktg_require_segment(segment, tenant);
	return mktg_text_at(0, 1);
}

static void
refuse_kind(int64 segment, const char *kind, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_WRONG_KIND),
			 errmsg("segment " INT64_FORMAT " is %s", segment, kind),
			 errhint("%s", hint)));
}

/* The sources a segment's rules read, each once. */
static Datum
source_names(const MktgCompiled *compiled)
{
	Datum	   *names = palloc(sizeof(Datum) * (list_length(compiled->sources) + 1));
	int			n = 0;
	ListCell   *cell;

	foreach(cell, compiled->sources)
		names[n++] = CStringGetTextDatum(((MktgSource *) lfirst(cell))->name);
	return mktg_array(names, NULL, n, TEXTOID);
}

static int64
insert_segment(const char *name, Jsonb *rules, const char *kind, const char *description, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY(
		"INSERT INTO mktg.segment (tenant_id, name, kind, rules, description, sources, settle_after)"
		" VALUES ($1, $2, $3, $4, $5, $6, CASE $3 WHEN 'dynamic' THEN '0'::xid8 END)"
		" ON CONFLICT (tenant_id, name) DO NOTHING RETURNING segment_id",
		INT8OID, TEXTOID, TEXTOID, JSONBOID, TEXTOID, TEXTARRAYOID);
	Datum		sources = rules == NULL ? PointerGetDatum(construct_empty_array(TEXTOID)) :
		source_names(mktg_compile_rules(rules, mktg_now(), tenant));

	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(name), MKTG_TEXT(kind),
				  rules == NULL ? MKTG_NULL : MKTG_ARG(JsonbPGetDatum(rules)), MKTG_TEXT(description),
				  MKTG_ARG(sources)) == 0)
		return 0;
	return mktg_int64_at(0, 1);
}

/*
 * SQL: mktg.create_segment(name text, rules jsonb, kind text, description text, tenant bigint) returns bigint
 *
 * Errors: MK020 name, or one that exists; MK024 kind, or rules that do not go
 * with it; those of rules.
 */
Datum
mktg_create_segment(PG_FUNCTION_ARGS)
{
	char	   *name = mktg_text_argument(fcinfo, 0, "name");
	Jsonb	   *rules = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	char	   *kind = mktg_text_argument(fcinfo, 2, "kind");
	char	   *description = mktg_optional_text(fcinfo, 3);
	int64		tenant = mktg_int64_argument(fcinfo, 4, "tenant");
	bool		dynamic = strcmp(kind, "dynamic") == 0;
	int64		segment;

	mktg_begin();
	mktg_require_tenant(tenant);
	mktg_require_name("segment", name);
	if (!dynamic && strcmp(kind, "static") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("kind \"%s\" does not exist", kind),
				 errhint("Kinds are dynamic (by rules) and static (by hand).")));
	if (dynamic != (rules != NULL))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 dynamic ? errmsg("a dynamic segment needs rules") : errmsg("a static segment has no rules"),
				 errhint("Give rules, such as '{\"city\": \"Berlin\"}', or kind => 'static' and mktg.add_to_segment().")));
	segment = insert_segment(name, rules, kind, description, tenant);
	if (segment == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_NAME),
				 errmsg("segment \"%s\" exists already", name),
				 errhint("Choose another name, or change its rules with mktg.update_segment().")));
	mktg_segments_changed();
	mktg_end();
	PG_RETURN_INT64(segment);
}

/*
 * Notes anew what segments read: those whose rules take other segments in
 * ("nested"), or all.  Rules that do not hold any more are left to the refresh,
 * which says so.
 */
static void
renew_sources(int64 tenant, bool nested)
{
	static MktgQuery list = MKTG_QUERY("SELECT segment_id, rules FROM mktg.segment WHERE tenant_id = $1 AND kind = 'dynamic'"
									   " AND (NOT $2 OR rules::text LIKE '%\"segment\"%') ORDER BY segment_id", INT8OID, BOOLOID);
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.segment SET sources = coalesce($3, sources), refreshed_at = NULL,"
										" failed_at = NULL, settle_after = '0'::xid8"
										" WHERE tenant_id = $1 AND segment_id = $2", INT8OID, INT8OID, TEXTARRAYOID);
	uint64		n = mktg_call(&list, MKTG_INT64(tenant), MKTG_ARG(BoolGetDatum(nested)));
	int64	   *ids = palloc(sizeof(int64) * (n + 1));
	Jsonb	  **rules = palloc(sizeof(Jsonb *) * (n + 1));

	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		ids[i] = mktg_int64_at(i, 1);
		rules[i] = DatumGetJsonbPCopy(mktg_value_at(i, 2, &isnull));
	}
	for (uint64 i = 0; i < n; i++)
	{
		MktgCompiled *compiled = mktg_try_compile(rules[i], mktg_now(), tenant);

		mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(ids[i]),
				  compiled == NULL ? MKTG_NULL : MKTG_ARG(source_names(compiled)));
	}
}

void
mktg_segments_outdated(int64 tenant)
{
	renew_sources(tenant, false);
	mktg_segments_changed();
}

/*
 * SQL: mktg.update_segment(segment bigint, rules jsonb, tenant bigint) returns void
 *
 * Errors: MK019 segment, MK029 a static one, those of rules.
 */
Datum
mktg_update_segment(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY(
		"UPDATE mktg.segment SET rules = $3, sources = $4, refreshed_at = NULL, calendar_due = NULL, settle_after = '0'::xid8,"
		" failure = NULL, failed_at = NULL"
		" WHERE tenant_id = $1 AND segment_id = $2", INT8OID, INT8OID, JSONBOID, TEXTARRAYOID);
	int64		segment = mktg_int64_argument(fcinfo, 0, "segment");
	Jsonb	   *rules = mktg_rules_argument(fcinfo, 1);
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");

	mktg_begin();
	if (strcmp(lock_segment(segment, tenant), "static") == 0)
		refuse_kind(segment, "static", "Only dynamic segments have rules.");
	mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(segment), MKTG_ARG(JsonbPGetDatum(rules)),
			  MKTG_ARG(source_names(mktg_compile_rules(rules, mktg_now(), tenant))));
	/* once more, now that they are there: finds a circle they close */
	(void) mktg_compile_rules(rules, mktg_now(), tenant);
	renew_sources(tenant, true);
	mktg_segments_changed();
	mktg_end();
	PG_RETURN_VOID();
}

/* Is a segment part of another one's rules? */
static bool
names_segment(const MktgRule *rule, int64 segment, const char *name)
{
	if (rule->kind == MKTG_RULE_SEGMENT)
		return rule->name != NULL ? strcmp(rule->name, name) == 0 : rule->segment == segment;
	for (int i = 0; i < rule->nrules; i++)
		if (names_segment(rule->rules[i], segment, name))
			return true;
	return false;
}

static void
refuse_if_named(int64 segment, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT s.name, s.rules::text, t.name FROM mktg.segment s, mktg.segment t"
										" WHERE s.tenant_id = $1 AND s.kind = 'dynamic' AND s.segment_id <> $2"
										" AND s.rules::text LIKE '%\"segment\"%' AND t.tenant_id = $1 AND t.segment_id = $2",
										INT8OID, INT8OID);
	uint64		n = mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(segment));

	for (uint64 i = 0; i < n; i++)
	{
		char	   *rules = mktg_text_at(i, 2);
		MktgRuleError error;
		MktgRuleTree *tree = mktg_rule_parse(rules, strlen(rules), &error);
		bool		named = tree != NULL && names_segment(mktg_rule_root(tree), segment, mktg_text_at(i, 3));

		mktg_rule_free(tree);
		if (named)
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("segment \"%s\" is part of segment \"%s\"", mktg_text_at(i, 3), mktg_text_at(i, 1)),
					 errhint("Change or drop the other segment first.")));
	}
}

/* A campaign that is not over must not lose whom it leaves out. */
static void
refuse_if_in_campaign(int64 segment, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT campaign_id FROM mktg.campaign WHERE tenant_id = $1"
										" AND status NOT IN ('completed', 'cancelled')"
										" AND ($2 = ANY (include_segments) OR $2 = ANY (exclude_segments)) LIMIT 1",
										INT8OID, INT8OID);

	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(segment)) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("segment " INT64_FORMAT " is in the audience of campaign " INT64_FORMAT, segment, mktg_int64_at(0, 1)),
				 errhint("Take it out with mktg.set_audience() first.")));
}

/*
 * SQL: mktg.drop_segment(segment bigint, tenant bigint) returns void
 *
 * Errors: MK019 segment, 2BP01 where another segment's rules or a campaign that
 * is not over name it.
 */
Datum
mktg_drop_segment(PG_FUNCTION_ARGS)
{
	static MktgQuery queries[] = {
		MKTG_QUERY("DELETE FROM mktg.segment_bitmap WHERE tenant_id = $1 AND segment_id = $2", INT8OID, INT8OID),
		MKTG_QUERY("DELETE FROM mktg.segment_change WHERE tenant_id = $1 AND segment_id = $2", INT8OID, INT8OID),
		MKTG_QUERY("DELETE FROM mktg.segment_due WHERE tenant_id = $1 AND segment_id = $2", INT8OID, INT8OID),
		MKTG_QUERY("DELETE FROM mktg.segment WHERE tenant_id = $1 AND segment_id = $2", INT8OID, INT8OID)
	};
	int64		segment = mktg_int64_argument(fcinfo, 0, "segment");
	int64		tenant = mktg_int64_argument(fcinfo, 1, "tenant");

	mktg_begin();
	(void) lock_segment(segment, tenant);
	refuse_if_named(segment, tenant);
	refuse_if_in_campaign(segment, tenant);
	for (int i = 0; i < lengthof(queries); i++)
		mktg_call(&queries[i], MKTG_INT64(tenant), MKTG_INT64(segment));
	mktg_segments_changed();
	mktg_end();
	PG_RETURN_VOID();
}

/*
 * SQL: mktg.keep_segment_history(segment bigint, keep boolean, tenant bigint) returns void
 *
 * Errors: MK019 segment.
 */
Datum
mktg_keep_segment_history(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("UPDATE mktg.segment SET keeps_history = $3"
										" WHERE tenant_id = $1 AND segment_id = $2", INT8OID, INT8OID, BOOLOID);
	int64		segment = mktg_int64_argument(fcinfo, 0, "segment");
	bool		keep = PG_ARGISNULL(1) || PG_GETARG_BOOL(1);
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");

	mktg_begin();
	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(segment), MKTG_ARG(BoolGetDatum(keep))) == 0)
		mktg_require_segment(segment, tenant);
	mktg_end();
	PG_RETURN_VOID();
}

/*
 * SQL: mktg.load_segment_catalog(tenant bigint) returns integer
 *
 * Errors: MK010 tenant.
 */
Datum
mktg_load_segment_catalog(PG_FUNCTION_ARGS)
{
	static MktgQuery list = MKTG_QUERY("SELECT e ->> 'name', e -> 'rules', e ->> 'description'"
									   " FROM jsonb_array_elements($1) WITH ORDINALITY AS j (e, n)"
									   " WHERE NOT EXISTS (SELECT FROM mktg.segment s WHERE s.tenant_id = $2 AND s.name = e ->> 'name')"
									   " ORDER BY n", JSONBOID, INT8OID);
	int64		tenant = mktg_int64_argument(fcinfo, 0, "tenant");
	Datum		catalog = DirectFunctionCall1(jsonb_in, CStringGetDatum(catalog_json));
	int32		made = 0;
	uint64		n;
	char	  **names;
	Jsonb	  **rules;
	char	  **descriptions;

	mktg_begin();
	mktg_require_tenant(tenant);
	n = mktg_call(&list, MKTG_ARG(catalog), MKTG_INT64(tenant));
	names = palloc(sizeof(char *) * (n + 1));
	rules = palloc(sizeof(Jsonb *) * (n + 1));
	descriptions = palloc(sizeof(char *) * (n + 1));
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		names[i] = mktg_text_at(i, 1);
		rules[i] = DatumGetJsonbPCopy(mktg_value_at(i, 2, &isnull));
		descriptions[i] = mktg_text_at(i, 3);
	}
	for (uint64 i = 0; i < n; i++)
		if (insert_segment(names[i], rules[i], "dynamic", descriptions[i], tenant) != 0)
			made++;
	mktg_segments_changed();
	mktg_end();
	PG_RETURN_INT32(made);
}

/* ---- static segments ---- */

static int64
change_static(FunctionCallInfo fcinfo, bool add)
{
	/* planned for the array: a plan made for a few contacts takes hours for many */
	static MktgQuery known = MKTG_BULK_QUERY("SELECT DISTINCT c.contact_id FROM unnest($2::bigint[]) AS u (id)"
											 " JOIN mktg.contact c ON c.tenant_id = $1 AND c.contact_id = u.id"
											 " ORDER BY c.contact_id", INT8OID, INT8ARRAYOID);
	static MktgQuery given = MKTG_BULK_QUERY("SELECT DISTINCT id FROM unnest($2::bigint[]) AS u (id)"
											 " WHERE id IS NOT NULL AND $1 IS NOT NULL ORDER BY id", INT8OID, INT8ARRAYOID);
	static MktgQuery sized = MKTG_QUERY("UPDATE mktg.segment SET size = size + $3, refreshed_at = $4"
										" WHERE tenant_id = $1 AND segment_id = $2 RETURNING keeps_history",
										INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID);
	static MktgQuery history = MKTG_QUERY("SELECT keeps_history FROM mktg.segment WHERE tenant_id = $1 AND segment_id = $2",
										  INT8OID, INT8OID);
	int64		segment = mktg_int64_argument(fcinfo, 0, "segment");
	int64		tenant = mktg_int64_argument(fcinfo, 2, "tenant");
	MktgUniverse universe;
	MktgMembersWriter writer;
	MktgMembersChange change;
	uint64	   *members;
	bool		keeps;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be NULL", "contacts"),
				 errhint("Give an array of contact_ids.")));
	mktg_begin();
	if (strcmp(lock_segment(segment, tenant), "dynamic") == 0)
		refuse_kind(segment, "dynamic", "Its members follow from its rules; make a static segment for a list.");
	mktg_call(&history, MKTG_INT64(tenant), MKTG_INT64(segment));
	keeps = mktg_bool_at(0, 1);
	universe.n = mktg_call(add ? &known : &given, MKTG_INT64(tenant), MKTG_FCARG(1));
	universe.ids = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int64) * (universe.n + 1));
	for (int64 i = 0; i < universe.n; i++)
		universe.ids[i] = mktg_int64_at(i, 1);
	members = MemoryContextAllocHuge(CurrentMemoryContext, (universe.n / 64 + 1) * sizeof(uint64));
	memset(members, add ? 0xff : 0, (universe.n / 64 + 1) * sizeof(uint64));
	mktg_members_begin(&writer, tenant, mktg_now());
	change = mktg_members_apply(&writer, segment, &universe, members, false, keeps);
	mktg_members_end(&writer);
	mktg_call(&sized, MKTG_INT64(tenant), MKTG_INT64(segment), MKTG_INT64(change.entered - change.exited), MKTG_TIME(mktg_now()));
	/* rules of other segments may name this one */
	if (change.entered + change.exited > 0)
		mktg_mark_ids(tenant, NULL, universe.ids, universe.n);
	mktg_end();
	return add ? change.entered : change.exited;
}

/*
 * SQL: mktg.add_to_segment(segment bigint, contacts bigint[], tenant bigint) returns bigint
 *
 * Unknown contacts, NULLs and repeats do not count.  Errors: MK019 segment,
 * MK029 a dynamic one.
 */
Datum
mktg_add_to_segment(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(change_static(fcinfo, true));
}

/*
 * SQL: mktg.remove_from_segment(segment bigint, contacts bigint[], tenant bigint) returns bigint
 */
Datum
mktg_remove_from_segment(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(change_static(fcinfo, false));
}
