CREATE TABLE mktg.campaign (
    tenant_id        bigint      NOT NULL DEFAULT 1 REFERENCES mktg.tenant,
    campaign_id      bigserial   NOT NULL,
    name             text        NOT NULL CHECK (name <> '' AND length(name) <= 200),
    code             text,
    description      text,
    type             text COLLATE "C" NOT NULL DEFAULT 'promotional' CHECK (type ~ '^[a-z][a-z0-9_]{0,62}$'),
    channel          text COLLATE "C" NOT NULL CHECK (channel IN ('email', 'sms', 'push', 'whatsapp', 'webhook', 'in_app')),
    template_id      bigint,
    sender_id        bigint,
    status           text COLLATE "C" NOT NULL DEFAULT 'draft'
                     CHECK (status IN ('draft', 'active', 'paused', 'completed', 'cancelled')),
    daily_send_limit integer     CHECK (daily_send_limit >= 1),
    priority         integer     NOT NULL DEFAULT 5 CHECK (priority BETWEEN 1 AND 10),
    template_data    jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(template_data) = 'object'),
    target_audience  jsonb,
    start_date       date,
    last_position    integer     NOT NULL DEFAULT 0,
    created_at       timestamptz NOT NULL DEFAULT now(),
    created_by       name        NOT NULL DEFAULT current_user,
    activated_at     timestamptz,
    ended_at         timestamptz,
    PRIMARY KEY (tenant_id, campaign_id),
    FOREIGN KEY (tenant_id, template_id) REFERENCES mktg.template,
    FOREIGN KEY (tenant_id, sender_id) REFERENCES mktg.sender
);
COMMENT ON TABLE mktg.campaign IS 'what is sent to whom under which daily limit; type transactional needs no consent';
COMMENT ON COLUMN mktg.campaign.priority IS '1 to 10; the higher number goes first and keeps its days under a shared cap';
COMMENT ON COLUMN mktg.campaign.last_position IS 'the position last given to a recipient';
CREATE UNIQUE INDEX campaign_code ON mktg.campaign (tenant_id, code) WHERE code IS NOT NULL;
CREATE INDEX campaign_running ON mktg.campaign (tenant_id, campaign_id) WHERE status = 'active';

CREATE TABLE mktg.message (
    tenant_id           bigint   NOT NULL DEFAULT 1,
    campaign_id         bigint   NOT NULL,
    contact_id          bigint   NOT NULL,
    position            integer,
    send_day            date,
    variant             smallint NOT NULL DEFAULT 0,
    attempts            smallint NOT NULL DEFAULT 0,
    ref                 text COLLATE "C" NOT NULL DEFAULT '',
    address             text COLLATE "C",
    status              text COLLATE "C" NOT NULL DEFAULT 'pending'
                        CHECK (status IN ('pending', 'queued', 'sent', 'delivered', 'read', 'failed',
                                          'bounced', 'skipped', 'cancelled', 'in_doubt')),
    send_after          timestamptz,
    queued_at           timestamptz,
    sent_at             timestamptz,
    delivered_at        timestamptz,
    read_at             timestamptz,
    failed_at           timestamptz,
    opened_at           timestamptz,
    clicked_at          timestamptz,
    converted_at        timestamptz,
    unsubscribed_at     timestamptz,
    provider_message_id text,
    failure_reason      text,
    variables           jsonb,
    PRIMARY KEY (tenant_id, campaign_id, contact_id, ref)
) WITH (fillfactor = 85);
COMMENT ON TABLE mktg.message IS 'one row per recipient and step of a campaign, from audience to outcome';
COMMENT ON COLUMN mktg.message.position IS 'place in the campaign''s order, from 1; NULL for messages outside the plan';
COMMENT ON COLUMN mktg.message.send_day IS 'day it was queued, in the tenant''s time zone; the day it is counted under';
COMMENT ON COLUMN mktg.message.ref IS 'journey step or idempotency key; empty for a campaign''s own message';
-- The same address is never in a campaign twice; messages with a ref may repeat.
CREATE UNIQUE INDEX message_address ON mktg.message (tenant_id, campaign_id, address) WHERE ref = '';
-- Not partial on status: a status change would then never be HOT.  Partial on
-- position, so that no look-up by key can be planned over it: before the first
-- ANALYZE the planner takes one index for as good as the other.
CREATE INDEX message_position ON mktg.message (tenant_id, campaign_id, position) WHERE position IS NOT NULL;

CREATE TABLE mktg.send_schedule (
    tenant_id     bigint  NOT NULL DEFAULT 1,
    campaign_id   bigint  NOT NULL,
    send_date     date    NOT NULL,
    batch         integer NOT NULL,
    from_position integer NOT NULL,
    to_position   integer NOT NULL,
    batch_size    integer NOT NULL,
    queued        integer NOT NULL DEFAULT 0,
    skipped       integer NOT NULL DEFAULT 0,
    remaining     integer NOT NULL,
    status        text COLLATE "C" NOT NULL DEFAULT 'planned' CHECK (status IN ('planned', 'dispatched', 'cancelled')),
    PRIMARY KEY (tenant_id, campaign_id, send_date, batch),
    FOREIGN KEY (tenant_id, campaign_id) REFERENCES mktg.campaign,
    CHECK (from_position <= to_position)
);
COMMENT ON TABLE mktg.send_schedule IS 'the plan: which positions of a campaign go out on which day';
COMMENT ON COLUMN mktg.send_schedule.remaining IS 'recipients of the batch not yet queued or skipped';
CREATE INDEX send_schedule_planned ON mktg.send_schedule (tenant_id, send_date) WHERE status = 'planned';
CREATE INDEX send_schedule_position ON mktg.send_schedule (tenant_id, campaign_id, from_position);
