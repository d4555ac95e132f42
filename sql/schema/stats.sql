-- A session adds to a row of its own (slot), so that no two writers of a
-- campaign queue behind one counter; readers sum over the slots.
CREATE TABLE mktg.campaign_stat (
    tenant_id    bigint   NOT NULL,
    campaign_id  bigint   NOT NULL,
    variant      smallint NOT NULL,
    day          date     NOT NULL,
    slot         integer  NOT NULL,
    pending      bigint   NOT NULL DEFAULT 0,
    queued       bigint   NOT NULL DEFAULT 0,
    sent         bigint   NOT NULL DEFAULT 0,
    delivered    bigint   NOT NULL DEFAULT 0,
    read         bigint   NOT NULL DEFAULT 0,
    failed       bigint   NOT NULL DEFAULT 0,
    bounced      bigint   NOT NULL DEFAULT 0,
    skipped      bigint   NOT NULL DEFAULT 0,
    cancelled    bigint   NOT NULL DEFAULT 0,
    in_doubt     bigint   NOT NULL DEFAULT 0,
    opened       bigint   NOT NULL DEFAULT 0,
    clicked      bigint   NOT NULL DEFAULT 0,
    converted    bigint   NOT NULL DEFAULT 0,
    unsubscribed bigint   NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, campaign_id, variant, day, slot)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE mktg.campaign_stat IS 'messages by the status they are in (not cumulated) and by the events they had, kept by trigger; sum over slots';
COMMENT ON COLUMN mktg.campaign_stat.day IS 'message.send_day; -infinity for messages not yet given a day';
