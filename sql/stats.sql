-- stats.sql: counters of messages, kept by trigger

CREATE FUNCTION mktg._count_messages() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'mktg_count_messages';
COMMENT ON FUNCTION mktg._count_messages() IS 'trigger on message: adds what a statement changed to the counters in the table named by its argument';

CREATE FUNCTION mktg.rebuild_stats(campaign bigint, tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_rebuild_stats';
COMMENT ON FUNCTION mktg.rebuild_stats(bigint, bigint) IS 'recounts a campaign''s messages and mends its counters; returns how many were wrong';
