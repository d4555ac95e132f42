-- delivery.sql: the queue as the worker works it, for tests and for the curious

CREATE FUNCTION mktg._claim(worker smallint, most integer, OUT message text, OUT lease bigint, OUT attempt integer) RETURNS SETOF record
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_claim_sql';
COMMENT ON FUNCTION mktg._claim(smallint, integer) IS 'leases due messages to a worker slot, as the worker does before it sends';

CREATE FUNCTION mktg._record(message text, lease bigint, outcome text, reason text DEFAULT NULL) RETURNS boolean
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_record_sql';
COMMENT ON FUNCTION mktg._record(text, bigint, text, text) IS 'records the outcome of a leased message; false if the lease is no longer held';
