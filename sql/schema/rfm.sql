-- A snapshot: one purchase may move the scores of everybody, so they are made
-- by score_rfm() for all contacts at once and read until it runs again. A page
-- has room for a second version of each of its rows: none has to move, and no
-- index entry is made, when all are scored anew.
CREATE TABLE mktg.rfm_score (
    tenant_id        bigint           NOT NULL DEFAULT 1,
    contact_id       bigint           NOT NULL,
    recency_days     integer          NOT NULL,
    frequency        integer          NOT NULL,
    monetary         bigint           NOT NULL,
    r                smallint         NOT NULL,
    f                smallint         NOT NULL,
    m                smallint         NOT NULL,
    code             text COLLATE "C" NOT NULL,
    segment          text COLLATE "C" NOT NULL,
    spend_percentile double precision NOT NULL,
    PRIMARY KEY (tenant_id, contact_id)
) WITH (fillfactor = 45);
COMMENT ON TABLE mktg.rfm_score IS 'recency, frequency and monetary scores of contacts with purchases, as of the last score_rfm()';
COMMENT ON COLUMN mktg.rfm_score.monetary IS 'spent, in minor units of the tenant''s currency';
COMMENT ON COLUMN mktg.rfm_score.spend_percentile IS 'percent of the other contacts with purchases that spent less, 0 to 100';
