-- audience.sql: whom a campaign means, by rules or segments

CREATE FUNCTION mktg.set_audience(campaign bigint, include bigint[], exclude bigint[] DEFAULT '{}', tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_set_audience';
COMMENT ON FUNCTION mktg.set_audience(bigint, bigint[], bigint[], bigint) IS 'names the segments whose members add_audience() adds to a campaign, and those whose members it leaves out';

CREATE FUNCTION mktg.add_audience(campaign bigint, tenant bigint DEFAULT 1,
    OUT added bigint, OUT duplicates bigint, OUT unsubscribed bigint, OUT suppressed bigint, OUT unreachable bigint, OUT unknown bigint)
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_add_audience';
COMMENT ON FUNCTION mktg.add_audience(bigint, bigint) IS 'adds the contacts the campaign''s target_audience or segments mean, those it may reach; the counts add up to their number';
