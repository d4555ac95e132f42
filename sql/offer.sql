-- offer.sql: offers, promo codes, redemptions

CREATE FUNCTION mktg.create_promo(code text, type text, value numeric, starts_at timestamptz DEFAULT NULL, ends_at timestamptz DEFAULT NULL, usage_limit bigint DEFAULT NULL, per_contact_limit integer DEFAULT NULL, per_contact_period text DEFAULT NULL, minimum_amount bigint DEFAULT NULL, currency text DEFAULT NULL, scope jsonb DEFAULT '{}', budget bigint DEFAULT NULL, stackable boolean DEFAULT false, combine_with text[] DEFAULT '{}', priority integer DEFAULT 1, campaign bigint DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_create_promo';
COMMENT ON FUNCTION mktg.create_promo(text, text, numeric, timestamptz, timestamptz, bigint, integer, text, bigint, text, jsonb, bigint, boolean, text[], integer, bigint, bigint) IS 'makes an offer of type percent, flat, free_item or points_multiplier; without a code it is automatic; returns promo';

CREATE FUNCTION mktg.update_promo(promo bigint, changes jsonb, tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_update_promo';
COMMENT ON FUNCTION mktg.update_promo(bigint, jsonb, bigint) IS 'changes what the keys name, as arguments of create_promo(); limits not below what is used';

CREATE FUNCTION mktg.disable_promo(promo bigint, disabled boolean DEFAULT true, tenant bigint DEFAULT 1) RETURNS boolean
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_disable_promo';
COMMENT ON FUNCTION mktg.disable_promo(bigint, boolean, bigint) IS 'refuses an offer from now on, or lets it be used again; false if that is so already';

CREATE FUNCTION mktg.generate_codes(promo bigint, count integer, prefix text DEFAULT '', suffix text DEFAULT '', length integer DEFAULT 8, checksum boolean DEFAULT true, exclude_ambiguous boolean DEFAULT true, contacts bigint[] DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_generate_codes';
COMMENT ON FUNCTION mktg.generate_codes(bigint, integer, text, text, integer, boolean, boolean, bigint[], bigint) IS 'makes codes that can be used once, in mktg.promo_code, the first of them for the contacts; returns how many';

CREATE FUNCTION mktg.validate_promo(code text, contact bigint, cart jsonb, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1,
    OUT valid boolean, OUT reason text, OUT discount bigint, OUT eligible_subtotal bigint, OUT lines jsonb, OUT message text)
    LANGUAGE C STABLE SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_validate_promo';
COMMENT ON FUNCTION mktg.validate_promo(text, bigint, jsonb, timestamptz, bigint) IS 'what a code would take off a cart, or why it would not; writes nothing';

CREATE FUNCTION mktg.public_reason(reason text) RETURNS text
    LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE reason WHEN 'ok' THEN 'ok' ELSE 'refused' END;
COMMENT ON FUNCTION mktg.public_reason(text) IS 'the one answer for all refusals, for those who must not learn which codes exist';

CREATE FUNCTION mktg.best_offers(contact bigint, cart jsonb, codes text[], at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1)
RETURNS TABLE (code text, applied boolean, reason text, discount bigint, running_total bigint)
    LANGUAGE C STABLE ROWS 10 SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_best_offers';
COMMENT ON FUNCTION mktg.best_offers(bigint, jsonb, text[], timestamptz, bigint) IS 'which of the codes and automatic offers apply together, in their order, and why the others do not';

CREATE FUNCTION mktg.reserve_promo(code text, contact bigint, cart jsonb, idempotency_key text, ttl interval DEFAULT '15 min', at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1,
    OUT redemption_id bigint, OUT discount bigint, OUT expires_at timestamptz)
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_reserve_promo';
COMMENT ON FUNCTION mktg.reserve_promo(text, bigint, jsonb, text, interval, timestamptz, bigint) IS 'holds a use of an offer until it is committed, released or over; error MK080 with the reason in its detail';

CREATE FUNCTION mktg.redeem_promo(code text, contact bigint, cart jsonb, purchase text, idempotency_key text, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1,
    OUT redemption_id bigint, OUT discount bigint)
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_redeem_promo';
COMMENT ON FUNCTION mktg.redeem_promo(text, bigint, jsonb, text, text, timestamptz, bigint) IS 'reserves and commits in one step; error MK080 with the reason in its detail';

CREATE FUNCTION mktg.commit_redemption(redemption bigint, purchase text DEFAULT NULL, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) RETURNS boolean
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_commit_redemption';
COMMENT ON FUNCTION mktg.commit_redemption(bigint, text, timestamptz, bigint) IS 'makes a reservation final, for a purchase; false if it is already';

CREATE FUNCTION mktg.release_redemption(redemption bigint, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) RETURNS boolean
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_release_redemption';
COMMENT ON FUNCTION mktg.release_redemption(bigint, timestamptz, bigint) IS 'gives a reservation back; false if it is already, or over';

CREATE FUNCTION mktg.reverse_redemption(redemption bigint, amount bigint DEFAULT NULL, refund text DEFAULT NULL, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_reverse_redemption';
COMMENT ON FUNCTION mktg.reverse_redemption(bigint, bigint, text, timestamptz, bigint) IS 'takes a discount back when the purchase is refunded, all that is left or an amount; returns what is left of it';

CREATE FUNCTION mktg._offer_changed() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'mktg_offer_changed';
COMMENT ON FUNCTION mktg._offer_changed() IS 'trigger: tells sessions to forget what they know of offers, codes and tenants';
