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
