-- provider.sql: providers as foreign servers, their credentials, senders

CREATE FUNCTION mktg.provider_validator(options text[], catalog oid) RETURNS void
    LANGUAGE C STRICT
    AS 'MODULE_PATHNAME', 'mktg_provider_validator';
COMMENT ON FUNCTION mktg.provider_validator(text[], oid) IS 'checks the options of providers and their credentials; the server calls it';

CREATE FOREIGN DATA WRAPPER mktg_provider VALIDATOR mktg.provider_validator;
COMMENT ON FOREIGN DATA WRAPPER mktg_provider IS 'providers that messages are handed to: each is a foreign server with an option driver';

CREATE FUNCTION mktg.set_credential(server text, name text, value text) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_set_credential';
COMMENT ON FUNCTION mktg.set_credential(text, text, text) IS 'writes a credential of a provider into its user mapping for PUBLIC; value NULL removes it';

CREATE FUNCTION mktg.set_sender(name text, provider text, channel text DEFAULT NULL, from_address text DEFAULT NULL, from_name text DEFAULT NULL, reply_to text DEFAULT NULL, daily_limit integer DEFAULT NULL, rate_per_second double precision DEFAULT NULL, max_attempts integer DEFAULT 8, on_doubt text DEFAULT NULL, is_active boolean DEFAULT true, tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_set_sender';
COMMENT ON FUNCTION mktg.set_sender(text, text, text, text, text, text, integer, double precision, integer, text, boolean, bigint) IS 'creates the sender of that name, or gives it these values; returns sender_id';
