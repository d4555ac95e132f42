-- ads.sql: people in audiences of advertisers, and what they bought

CREATE FUNCTION mktg.sync_segment(segment bigint, sender text, audience text, name text DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_sync_segment';
COMMENT ON FUNCTION mktg.sync_segment(bigint, text, text, text, bigint) IS 'keeps an audience at an advertiser in step with a segment from now on; returns the campaign, which pauses and ends it';

CREATE FUNCTION mktg.feed_audiences(tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_feed_audiences';
COMMENT ON FUNCTION mktg.feed_audiences(bigint) IS 'queues additions and removals for the segments that are kept in step, as the worker does by itself; returns how many';

CREATE FUNCTION mktg.send_conversion(contact bigint, event text, sender text, occurred_at timestamptz DEFAULT mktg.clock(), value bigint DEFAULT NULL, currency text DEFAULT NULL, event_id text DEFAULT NULL, properties jsonb DEFAULT '{}', tenant bigint DEFAULT 1) RETURNS text
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_send_conversion';
COMMENT ON FUNCTION mktg.send_conversion(bigint, text, text, timestamptz, bigint, text, text, jsonb, bigint) IS 'tells an advertiser of a conversion, in the caller''s transaction; value in minor units; returns the message id';
