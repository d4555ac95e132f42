-- template.sql: what is said to whom

CREATE FUNCTION mktg.create_template(name text, channel text, subject text DEFAULT NULL, html text DEFAULT NULL, body text DEFAULT NULL, locale text DEFAULT NULL, category text DEFAULT 'promotional', tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_create_template';
COMMENT ON FUNCTION mktg.create_template(text, text, text, text, text, text, text, bigint) IS 'makes a template, or the next version of the one with this name and channel; returns template_id';

CREATE FUNCTION mktg.measure_sms(body text, OUT alphabet text, OUT characters integer, OUT units integer, OUT segments integer)
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_measure_sms';
COMMENT ON FUNCTION mktg.measure_sms(text) IS 'what a text takes as an SMS: its alphabet, characters, places, and the segments it is split into and paid by';
