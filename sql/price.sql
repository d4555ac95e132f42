-- price.sql: phases of prices, and what a cart costs in the end

CREATE FUNCTION mktg.create_price_phase(item text, name text, price bigint, starts_at timestamptz DEFAULT NULL, ends_at timestamptz DEFAULT NULL, max_seats integer DEFAULT NULL, ordinal integer DEFAULT 1, tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_create_price_phase';
COMMENT ON FUNCTION mktg.create_price_phase(text, text, bigint, timestamptz, timestamptz, integer, integer, bigint) IS 'gives an item another price from starts_at, before ends_at, while fewer than max_seats are booked; returns phase_id';

CREATE FUNCTION mktg.delete_price_phase(phase bigint, tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_delete_price_phase';
COMMENT ON FUNCTION mktg.delete_price_phase(bigint, bigint) IS 'removes a price phase';

CREATE FUNCTION mktg.effective_price(item text, base_price bigint, booked_seats integer DEFAULT 0, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1,
    OUT base_price bigint, OUT effective_price bigint, OUT phase_id bigint, OUT phase_name text, OUT ends_at timestamptz, OUT seats_left bigint) RETURNS record
    LANGUAGE C STABLE SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_effective_price';
COMMENT ON FUNCTION mktg.effective_price(text, bigint, integer, timestamptz, bigint) IS 'the price of an item: that of the first phase that fits, else the base price';

CREATE FUNCTION mktg.quote(contact bigint, cart jsonb, codes text[] DEFAULT '{}', fee_rules jsonb DEFAULT NULL, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) RETURNS jsonb
    LANGUAGE C STABLE SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_quote';
COMMENT ON FUNCTION mktg.quote(bigint, jsonb, text[], jsonb, timestamptz, bigint) IS 'the price of a cart step by step: phases, offers, fees, taxes; every part in whole minor units, adding up to the total';
