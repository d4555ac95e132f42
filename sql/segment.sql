-- segment.sql: the registry of rules, segments, their members

CREATE FUNCTION mktg.map_source(name text, relation regclass, contact_column name, at_column name DEFAULT NULL, key text DEFAULT 'contact_id', description text DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_map_source';
COMMENT ON FUNCTION mktg.map_source(text, regclass, name, name, text, text, bigint) IS 'lets rules read a table: contact_column holds a contact_id or an external_id, as key says, at_column the time of a row; a name that is mapped already is mapped anew, a relation that is NULL takes the mapping back';

CREATE FUNCTION mktg.define_field(name text, source text, expression text, type text, description text DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_define_field';
COMMENT ON FUNCTION mktg.define_field(text, text, text, text, text, bigint) IS 'gives rules a field: an SQL expression over a row of a source, or count, sum, min, max, avg, bool_and or bool_or of one; a name that is defined already is defined anew, an expression that is NULL removes it';

CREATE FUNCTION mktg.define_alias(key text, rule jsonb, tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_define_alias';
COMMENT ON FUNCTION mktg.define_alias(text, jsonb, bigint) IS 'gives short rules a key: the rule it stands for, with "$value" where the value goes; NULL removes it';

CREATE FUNCTION mktg._rule_operators(OUT operator text, OUT value text, OUT types text[], OUT description text) RETURNS SETOF record
    LANGUAGE C STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_rule_operators';
COMMENT ON FUNCTION mktg._rule_operators() IS 'operators of the rule language, for the view mktg.rule_operator';

CREATE FUNCTION mktg._json_number(object jsonb, key text) RETURNS numeric
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_json_number';
COMMENT ON FUNCTION mktg._json_number(jsonb, text) IS 'the value of a key if it is a number, also one in a string';

CREATE FUNCTION mktg._json_count(object jsonb, key text DEFAULT NULL) RETURNS integer
    LANGUAGE C IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_json_count_sql';
COMMENT ON FUNCTION mktg._json_count(jsonb, text) IS 'elements of the array a key has, or of the array given; a number counts as itself, no array as one';

CREATE FUNCTION mktg._json_texts(object jsonb, key text) RETURNS text[]
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_json_texts';
COMMENT ON FUNCTION mktg._json_texts(jsonb, text) IS 'the strings of the array a key has; a string is one';

CREATE FUNCTION mktg._json_boolean(object jsonb, key text) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_json_boolean';
COMMENT ON FUNCTION mktg._json_boolean(jsonb, text) IS 'the value of a key if it is true or false, also in a string';

CREATE FUNCTION mktg._json_time(object jsonb, key text, zone text) RETURNS timestamptz
    LANGUAGE C STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_json_time';
COMMENT ON FUNCTION mktg._json_time(jsonb, text, text) IS 'the value of a key if it is a time of ISO 8601, in the zone unless it names one';

CREATE FUNCTION mktg._advance_days(object jsonb, key text, at timestamptz, zone text) RETURNS integer
    LANGUAGE C STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_advance_days';
COMMENT ON FUNCTION mktg._advance_days(jsonb, text, timestamptz, text) IS 'days from an instant to the day a key names';

CREATE FUNCTION mktg._weekday(object jsonb, key text, at timestamptz, zone text) RETURNS integer
    LANGUAGE C STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_weekday';
COMMENT ON FUNCTION mktg._weekday(jsonb, text, timestamptz, text) IS 'weekday of the day a key names, else of the instant; Monday is 1';

CREATE FUNCTION mktg._month(object jsonb, key text, at timestamptz, zone text) RETURNS integer
    LANGUAGE C STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_month';
COMMENT ON FUNCTION mktg._month(jsonb, text, timestamptz, text) IS 'month of the day a key names, else of the instant';

CREATE FUNCTION mktg._chunk_has(bits bytea, contact bigint) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_chunk_has_sql';
COMMENT ON FUNCTION mktg._chunk_has(bytea, bigint) IS 'whether a contact is a member by the bits of its chunk';

CREATE FUNCTION mktg._chunk_members(chunk bigint, bits bytea) RETURNS SETOF bigint
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10000
    AS 'MODULE_PATHNAME', 'mktg_chunk_members';
COMMENT ON FUNCTION mktg._chunk_members(bigint, bytea) IS 'contacts in a chunk of a segment''s members, ascending';

CREATE FUNCTION mktg._collect_row(state internal, program bytea, contact bigint, VARIADIC inputs "any") RETURNS internal
    LANGUAGE C STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_collect_row';
COMMENT ON FUNCTION mktg._collect_row(internal, bytea, bigint, "any") IS 'transition function of mktg._collect';

CREATE FUNCTION mktg._collect_combine(a internal, b internal) RETURNS internal
    LANGUAGE C STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_collect_combine';
COMMENT ON FUNCTION mktg._collect_combine(internal, internal) IS 'adds what two processes have collected';

CREATE FUNCTION mktg._collect_serialize(state internal) RETURNS bytea
    LANGUAGE C STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_collect_serialize';
COMMENT ON FUNCTION mktg._collect_serialize(internal) IS 'what a process has collected, for another one';

CREATE FUNCTION mktg._collect_deserialize(serialized bytea, state internal) RETURNS internal
    LANGUAGE C STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_collect_deserialize';
COMMENT ON FUNCTION mktg._collect_deserialize(bytea, internal) IS 'what another process has collected';

CREATE FUNCTION mktg._collect_end(state internal) RETURNS bigint
    LANGUAGE C STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_collect_end';
COMMENT ON FUNCTION mktg._collect_end(internal) IS 'hands what was collected to the pass that asked for it; returns the rows seen';

CREATE AGGREGATE mktg._collect(program bytea, contact bigint, VARIADIC inputs "any") (
    SFUNC = mktg._collect_row,
    STYPE = internal,
    COMBINEFUNC = mktg._collect_combine,
    SERIALFUNC = mktg._collect_serialize,
    DESERIALFUNC = mktg._collect_deserialize,
    FINALFUNC = mktg._collect_end,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE mktg._collect(bytea, bigint, "any") IS 'one pass over a source: facts of every contact at once; only for passes of this library';

CREATE FUNCTION mktg._mark_contacts() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'mktg_mark_contacts';
COMMENT ON FUNCTION mktg._mark_contacts() IS 'trigger: says whose rows a statement changed, for segments that read them';

CREATE FUNCTION mktg.create_segment(name text, rules jsonb DEFAULT NULL, kind text DEFAULT 'dynamic', description text DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_create_segment';
COMMENT ON FUNCTION mktg.create_segment(text, jsonb, text, text, bigint) IS 'makes a segment, dynamic (by rules) or static (by hand); returns segment_id; refresh_segment() or the worker fills it';

CREATE FUNCTION mktg.update_segment(segment bigint, rules jsonb, tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_update_segment';
COMMENT ON FUNCTION mktg.update_segment(bigint, jsonb, bigint) IS 'gives a dynamic segment other rules; its members are those of the old ones until it is refreshed';

CREATE FUNCTION mktg.drop_segment(segment bigint, tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_drop_segment';
COMMENT ON FUNCTION mktg.drop_segment(bigint, bigint) IS 'removes a segment with its members and history; refused while another segment names it';

CREATE FUNCTION mktg.keep_segment_history(segment bigint, keep boolean DEFAULT true, tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_keep_segment_history';
COMMENT ON FUNCTION mktg.keep_segment_history(bigint, boolean, bigint) IS 'from now on, who enters and exits the segment is written to mktg.segment_change, or no more';

CREATE FUNCTION mktg.load_segment_catalog(tenant bigint DEFAULT 1) RETURNS integer
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_load_segment_catalog';
COMMENT ON FUNCTION mktg.load_segment_catalog(bigint) IS 'makes the ready-made segments the tenant has no segment of that name for; returns how many';

CREATE FUNCTION mktg.estimate_segment(rules jsonb, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_estimate_segment';
COMMENT ON FUNCTION mktg.estimate_segment(jsonb, timestamptz, bigint) IS 'how many contacts the rules mean: an exact count, nothing is stored';

CREATE FUNCTION mktg.explain_segment(rules jsonb, tenant bigint DEFAULT 1) RETURNS text
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_explain_segment';
COMMENT ON FUNCTION mktg.explain_segment(jsonb, bigint) IS 'the statement the rules become, and its parameters';

CREATE FUNCTION mktg.explain_segment(rules jsonb, "analyze" boolean, tenant bigint DEFAULT 1) RETURNS text
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_explain_segment_plan';
COMMENT ON FUNCTION mktg.explain_segment(jsonb, boolean, bigint) IS 'the plan of that statement, run if analyze is true, and which indexes it misses';

CREATE FUNCTION mktg.matches(contact bigint, rules jsonb, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) RETURNS boolean
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_matches';
COMMENT ON FUNCTION mktg.matches(bigint, jsonb, timestamptz, bigint) IS 'whether the rules mean a contact, from the tables as they are';

CREATE FUNCTION mktg.in_segment(contact bigint, segment bigint, tenant bigint DEFAULT 1) RETURNS boolean
    LANGUAGE C STABLE SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_in_segment';
COMMENT ON FUNCTION mktg.in_segment(bigint, bigint, bigint) IS 'whether a contact is a stored member of a segment';

CREATE FUNCTION mktg.why_segment(contact bigint, rules jsonb, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) RETURNS TABLE (path text, rule text, value text, passed boolean)
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_why_segment';
COMMENT ON FUNCTION mktg.why_segment(bigint, jsonb, timestamptz, bigint) IS 'each rule with what the contact has for it and whether that passes; groups come before their rules';

CREATE FUNCTION mktg.refresh_segment(segment bigint, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1, OUT entered bigint, OUT exited bigint, OUT size bigint)
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_refresh_segment';
COMMENT ON FUNCTION mktg.refresh_segment(bigint, timestamptz, bigint) IS 'brings a segment up to date, all contacts held against its rules';

CREATE FUNCTION mktg.refresh_segments(at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) RETURNS TABLE (segment_id bigint, name text, entered bigint, exited bigint, size bigint)
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_refresh_segments';
COMMENT ON FUNCTION mktg.refresh_segments(timestamptz, bigint) IS 'brings all dynamic segments up to date in one pass over each source';

CREATE FUNCTION mktg.refresh_dirty("limit" bigint DEFAULT NULL, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_refresh_dirty';
COMMENT ON FUNCTION mktg.refresh_dirty(bigint, timestamptz, bigint) IS 'holds contacts that changed, or that time changed, against all dynamic segments, at most about limit of them; returns how many';

CREATE FUNCTION mktg.add_to_segment(segment bigint, contacts bigint[], tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_add_to_segment';
COMMENT ON FUNCTION mktg.add_to_segment(bigint, bigint[], bigint) IS 'adds contacts to a static segment; returns how many were not in it';

CREATE FUNCTION mktg.remove_from_segment(segment bigint, contacts bigint[], tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_remove_from_segment';
COMMENT ON FUNCTION mktg.remove_from_segment(bigint, bigint[], bigint) IS 'removes contacts from a static segment; returns how many were in it';

CREATE FUNCTION mktg.audience_size(include bigint[], exclude bigint[] DEFAULT '{}', mode text DEFAULT 'any', tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C STABLE SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_audience_size';
COMMENT ON FUNCTION mktg.audience_size(bigint[], bigint[], text, bigint) IS 'contacts that are in any (or all) of the segments included and in none excluded';

CREATE FUNCTION mktg.segment_overlap(segments bigint[], tenant bigint DEFAULT 1) RETURNS TABLE (a bigint, b bigint, "both" bigint)
    LANGUAGE C STABLE SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_segment_overlap';
COMMENT ON FUNCTION mktg.segment_overlap(bigint[], bigint) IS 'for each pair of the segments, how many contacts are in both';
