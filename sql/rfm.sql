-- rfm.sql: recency, frequency and monetary scores; stages of a contact's life

CREATE FUNCTION mktg._rfm_purchases_add(state internal, contact bigint, amount bigint, placed_at timestamptz, time_zone text) RETURNS internal
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mktg_rfm_purchases_add';
COMMENT ON FUNCTION mktg._rfm_purchases_add(internal, bigint, bigint, timestamptz, text) IS 'of _rfm_purchases: takes a purchase, or without placed_at a contact';

CREATE FUNCTION mktg._rfm_purchases_combine(internal, internal) RETURNS internal
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mktg_rfm_purchases_combine';
COMMENT ON FUNCTION mktg._rfm_purchases_combine(internal, internal) IS 'of _rfm_purchases: joins what two processes have gathered';

CREATE FUNCTION mktg._rfm_purchases_send(internal) RETURNS bytea
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mktg_rfm_purchases_send';
COMMENT ON FUNCTION mktg._rfm_purchases_send(internal) IS 'of _rfm_purchases: to another process';

CREATE FUNCTION mktg._rfm_purchases_receive(bytea, internal) RETURNS internal
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mktg_rfm_purchases_receive';
COMMENT ON FUNCTION mktg._rfm_purchases_receive(bytea, internal) IS 'of _rfm_purchases: from another process';

CREATE FUNCTION mktg._rfm_purchases_end(internal) RETURNS bytea
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mktg_rfm_purchases_end';
COMMENT ON FUNCTION mktg._rfm_purchases_end(internal) IS 'of _rfm_purchases: recency, frequency and monetary of each contact';

CREATE AGGREGATE mktg._rfm_purchases(contact bigint, amount bigint, placed_at timestamptz, time_zone text) (
    SFUNC = mktg._rfm_purchases_add, STYPE = internal, SSPACE = 1000000,
    FINALFUNC = mktg._rfm_purchases_end, COMBINEFUNC = mktg._rfm_purchases_combine,
    SERIALFUNC = mktg._rfm_purchases_send, DESERIALFUNC = mktg._rfm_purchases_receive, PARALLEL = SAFE
);
COMMENT ON AGGREGATE mktg._rfm_purchases(bigint, bigint, timestamptz, text) IS 'adds up purchases by contact, those of one local day as one; for score_rfm() alone';

CREATE FUNCTION mktg.score_rfm(method text DEFAULT 'fixed', period interval DEFAULT NULL, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_score_rfm';
COMMENT ON FUNCTION mktg.score_rfm(text, interval, timestamptz, bigint) IS 'scores all contacts with purchases by fixed, ntile or percentile, in place of their old scores; returns how many';

CREATE FUNCTION mktg._life_add(state bigint[], placed_at timestamptz, at timestamptz) RETURNS bigint[]
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mktg_life_add';
COMMENT ON FUNCTION mktg._life_add(bigint[], timestamptz, timestamptz) IS 'of lifecycle_stage: takes the time of a purchase';

CREATE FUNCTION mktg._life_combine(bigint[], bigint[]) RETURNS bigint[]
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mktg_life_combine';
COMMENT ON FUNCTION mktg._life_combine(bigint[], bigint[]) IS 'of lifecycle_stage: joins two states';

CREATE FUNCTION mktg._life_stage(state bigint[]) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mktg_life_stage';
COMMENT ON FUNCTION mktg._life_stage(bigint[]) IS 'of lifecycle_stage: its answer';

CREATE FUNCTION mktg._life_days_since(state bigint[]) RETURNS integer
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mktg_life_days_since';
COMMENT ON FUNCTION mktg._life_days_since(bigint[]) IS 'of days_since: its answer';

CREATE FUNCTION mktg._life_previous(state bigint[]) RETURNS timestamptz
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mktg_life_previous';
COMMENT ON FUNCTION mktg._life_previous(bigint[]) IS 'of _previous_at: its answer';

CREATE AGGREGATE mktg.lifecycle_stage(placed_at timestamptz, at timestamptz) (
    SFUNC = mktg._life_add, STYPE = bigint[], INITCOND = '{0,0,0,0}', SSPACE = 64,
    FINALFUNC = mktg._life_stage, COMBINEFUNC = mktg._life_combine, PARALLEL = SAFE
);
COMMENT ON AGGREGATE mktg.lifecycle_stage(timestamptz, timestamptz) IS 'stage of a contact''s life from the times of its purchases: New, Active, Engaged, At-Risk, Churned or Reactivated';

CREATE AGGREGATE mktg.days_since(placed_at timestamptz, at timestamptz) (
    SFUNC = mktg._life_add, STYPE = bigint[], INITCOND = '{0,0,0,0}', SSPACE = 64,
    FINALFUNC = mktg._life_days_since, COMBINEFUNC = mktg._life_combine, PARALLEL = SAFE
);
COMMENT ON AGGREGATE mktg.days_since(timestamptz, timestamptz) IS 'whole days of 24 hours from the latest of the times to the instant';

CREATE AGGREGATE mktg._previous_at(placed_at timestamptz, at timestamptz) (
    SFUNC = mktg._life_add, STYPE = bigint[], INITCOND = '{0,0,0,0}', SSPACE = 64,
    FINALFUNC = mktg._life_previous, COMBINEFUNC = mktg._life_combine, PARALLEL = SAFE
);
COMMENT ON AGGREGATE mktg._previous_at(timestamptz, timestamptz) IS 'the latest but one of the times up to the instant';
