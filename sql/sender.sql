-- sender.sql: senders, the pools they share, and caps on contacts

CREATE FUNCTION mktg.set_sender(name text, provider text, channel text DEFAULT NULL, from_address text DEFAULT NULL, from_name text DEFAULT NULL, reply_to text DEFAULT NULL, daily_limit integer DEFAULT NULL, rate_per_second double precision DEFAULT NULL, max_attempts integer DEFAULT 8, on_doubt text DEFAULT NULL, is_active boolean DEFAULT true,
    fallback text DEFAULT NULL, pool text DEFAULT NULL, warmup integer[] DEFAULT NULL, warmup_start date DEFAULT NULL, monthly_budget bigint DEFAULT NULL, cost_per_message numeric DEFAULT NULL, quiet_from time DEFAULT NULL, quiet_until time DEFAULT NULL, weekdays integer[] DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_set_sender';
COMMENT ON FUNCTION mktg.set_sender(text, text, text, text, text, text, integer, double precision, integer, text, boolean, text, text, integer[], date, bigint, numeric, time, time, integer[], bigint) IS 'creates the sender of that name, or gives it these values; returns sender_id';

CREATE FUNCTION mktg.reset_sender(name text, tenant bigint DEFAULT 1) RETURNS boolean
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_reset_sender';
COMMENT ON FUNCTION mktg.reset_sender(text, bigint) IS 'ends the rest a sender takes because its provider failed; false if it takes none';

CREATE FUNCTION mktg.set_sender_pool(name text, unique_contacts integer, tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_set_sender_pool';
COMMENT ON FUNCTION mktg.set_sender_pool(text, integer, bigint) IS 'creates the pool of that name, or gives it this cap: different contacts its senders write to within any 24 hours; returns pool_id';

CREATE FUNCTION mktg.set_frequency_cap(name text, messages integer, per interval, channel text DEFAULT NULL, type text DEFAULT NULL, action text DEFAULT 'defer', tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_set_frequency_cap';
COMMENT ON FUNCTION mktg.set_frequency_cap(text, integer, interval, text, text, text, bigint) IS 'most messages a contact gets within any such time, over all campaigns (of a channel, of a type); what is over waits or is skipped';

CREATE FUNCTION mktg.drop_frequency_cap(name text, tenant bigint DEFAULT 1) RETURNS boolean
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_drop_frequency_cap';
COMMENT ON FUNCTION mktg.drop_frequency_cap(text, bigint) IS 'drops a frequency cap; false if there is none of that name';

CREATE FUNCTION mktg.why(contact bigint, campaign bigint, tenant bigint DEFAULT 1, OUT gate text, OUT passed boolean, OUT detail text) RETURNS SETOF record
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_why';
COMMENT ON FUNCTION mktg.why(bigint, bigint, bigint) IS 'every gate between a contact and a campaign''s message, in order, and what happened or will happen';

CREATE FUNCTION mktg.rehearse(campaign bigint, tenant bigint DEFAULT 1, OUT contact_id bigint, OUT "position" integer, OUT address text, OUT send_date date, OUT send_at timestamptz, OUT action text, OUT reason text, OUT cost numeric) RETURNS SETOF record
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_rehearse';
COMMENT ON FUNCTION mktg.rehearse(bigint, bigint) IS 'one row a recipient: when a campaign would be sent, what it would cost, what is in the way; nothing is changed';
