-- contact.sql: contacts, consent, suppression

CREATE FUNCTION mktg.normalize_address(channel text, address text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_normalize_address';
COMMENT ON FUNCTION mktg.normalize_address(text, text) IS 'the one written form of an address of a channel; error MK022 on one that is none';

CREATE FUNCTION mktg._address_or_null(channel text, address text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_address_or_null';
COMMENT ON FUNCTION mktg._address_or_null(text, text) IS 'normalize_address with NULL in place of the error';

CREATE FUNCTION mktg.address_hash(address text) RETURNS bytea
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_address_hash';
COMMENT ON FUNCTION mktg.address_hash(text) IS 'SHA-256 of a normalised address, the key of suppression';

CREATE FUNCTION mktg.upsert_contact(contact jsonb, tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_upsert_contact';
COMMENT ON FUNCTION mktg.upsert_contact(jsonb, bigint) IS 'inserts or changes the contact found by external_id, else email, else phone; unknown keys go to attributes; returns contact_id';

CREATE FUNCTION mktg.subscribe(contact bigint, channel text, topic text DEFAULT 'marketing', source text DEFAULT NULL, ip inet DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_subscribe';
COMMENT ON FUNCTION mktg.subscribe(bigint, text, text, text, inet, bigint) IS 'records consent for a channel and topic';

CREATE FUNCTION mktg.unsubscribe(contact bigint, channel text, topic text DEFAULT NULL, reason text DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_unsubscribe';
COMMENT ON FUNCTION mktg.unsubscribe(bigint, text, text, text, bigint) IS 'withdraws consent; topic NULL withdraws every topic of the channel';

CREATE FUNCTION mktg.suppress(channel text, address text, reason text DEFAULT 'manual', tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_suppress';
COMMENT ON FUNCTION mktg.suppress(text, text, text, bigint) IS 'nothing is sent to the address on the channel any more, whatever its consent';

CREATE FUNCTION mktg.unsuppress(channel text, address text, tenant bigint DEFAULT 1) RETURNS boolean
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_unsuppress';
COMMENT ON FUNCTION mktg.unsuppress(text, text, bigint) IS 'takes an address off the suppression list; false if it was not on it';

CREATE FUNCTION mktg._contact_normalize() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'mktg_contact_normalize';
COMMENT ON FUNCTION mktg._contact_normalize() IS 'trigger: addresses in their one form, updated_at';

CREATE FUNCTION mktg._consent_log() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'mktg_consent_log';
COMMENT ON FUNCTION mktg._consent_log() IS 'trigger: copies every write to consent into the log named by its argument';
