-- What version 2 adds to tables of version 1. A table's file is never changed
-- once a version with it is out: a fresh install takes the same steps.

ALTER TABLE mktg.campaign
    ADD include_segments bigint[] NOT NULL DEFAULT '{}',
    ADD exclude_segments bigint[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN mktg.campaign.target_audience IS 'rules of whom add_audience() adds, as segments have them';
COMMENT ON COLUMN mktg.campaign.include_segments IS 'segments add_audience() adds the members of; with rules, it adds who is meant by both';
-- What a contact was sent; for all statuses, so that a change of status stays HOT.
CREATE INDEX message_contact ON mktg.message (tenant_id, contact_id);

ALTER TABLE mktg.sender
    ADD fallback         name,
    ADD pool_id          bigint,
    ADD warmup           integer[],
    ADD warmup_start     date,
    ADD monthly_budget   bigint   CHECK (monthly_budget >= 0),
    ADD cost_per_message numeric  CHECK (cost_per_message >= 0),
    ADD quiet_from       time,
    ADD quiet_until      time,
    ADD weekdays         smallint[],
    ADD FOREIGN KEY (tenant_id, pool_id) REFERENCES mktg.sender_pool,
    ADD CHECK ((warmup IS NULL) = (warmup_start IS NULL)),
    ADD CHECK (monthly_budget IS NULL OR cost_per_message > 0),
    ADD CHECK ((quiet_from IS NULL) = (quiet_until IS NULL));
COMMENT ON COLUMN mktg.sender.fallback IS 'foreign server that takes the messages while the provider rests';
COMMENT ON COLUMN mktg.sender.warmup IS 'most messages on each day from warmup_start on, beside daily_limit';
COMMENT ON COLUMN mktg.sender.monthly_budget IS 'minor units of the tenant''s currency, for a month in its time zone';
COMMENT ON COLUMN mktg.sender.cost_per_message IS 'minor units of the tenant''s currency; may be a fraction';
COMMENT ON COLUMN mktg.sender.quiet_from IS 'from here to quiet_until nothing is sent, in the recipient''s time zone';
COMMENT ON COLUMN mktg.sender.weekdays IS 'days it sends on, 1 Monday to 7 Sunday, in the recipient''s time zone; NULL: all';

ALTER TABLE mktg.sender_state
    ADD month         date,
    ADD spent         numeric NOT NULL DEFAULT 0,
    ADD resting_until timestamptz,
    ADD rest_reason   text;
COMMENT ON COLUMN mktg.sender_state.spent IS 'of the budget of month, minor units';
COMMENT ON COLUMN mktg.sender_state.resting_until IS 'the breaker: nothing goes by its provider before; real time';

ALTER TABLE mktg.campaign
    ADD expires_at         timestamptz,
    ADD max_age            interval CHECK (max_age > '0'),
    ADD max_bounce_rate    numeric  CHECK (max_bounce_rate > 0 AND max_bounce_rate <= 1),
    ADD max_complaint_rate numeric  CHECK (max_complaint_rate > 0 AND max_complaint_rate <= 1),
    ADD pause_reason       text;
COMMENT ON COLUMN mktg.campaign.expires_at IS 'nothing is sent from then on';
COMMENT ON COLUMN mktg.campaign.max_age IS 'a message that has been queued as long is not sent any more';
COMMENT ON COLUMN mktg.campaign.max_bounce_rate IS 'bounced to sent and bounced; above it the campaign pauses';
COMMENT ON COLUMN mktg.campaign.max_complaint_rate IS 'complaints to sent; above it the campaign pauses';
COMMENT ON COLUMN mktg.campaign.pause_reason IS 'why it paused by itself; NULL: somebody paused it';

-- Channel ads: people in audiences of advertisers, and what they bought.
ALTER TABLE mktg.consent DROP CONSTRAINT consent_channel_check,
    ADD CONSTRAINT consent_channel_check CHECK (channel IN ('email', 'sms', 'push', 'whatsapp', 'webhook', 'in_app', 'ads'));
ALTER TABLE mktg.suppression DROP CONSTRAINT suppression_channel_check,
    ADD CONSTRAINT suppression_channel_check CHECK (channel IN ('email', 'sms', 'push', 'whatsapp', 'webhook', 'in_app', 'ads'));
ALTER TABLE mktg.sender DROP CONSTRAINT sender_channel_check,
    ADD CONSTRAINT sender_channel_check CHECK (channel IN ('email', 'sms', 'push', 'whatsapp', 'webhook', 'in_app', 'ads'));
ALTER TABLE mktg.campaign DROP CONSTRAINT campaign_channel_check,
    ADD CONSTRAINT campaign_channel_check CHECK (channel IN ('email', 'sms', 'push', 'whatsapp', 'webhook', 'in_app', 'ads'));

ALTER TABLE mktg.provider_failure
    DROP CONSTRAINT provider_failure_class_check,
    ADD CONSTRAINT provider_failure_class_check
        CHECK (class IN ('retry', 'permanent', 'suppress', 'config', 'doubt', 'campaign'));

-- A message is written twice after it was added, when it is queued and when its
-- outcome is recorded, each time with all its neighbours: with room for their
-- next versions beside them none of the four indexes is written.
ALTER TABLE mktg.message SET (fillfactor = 45);
