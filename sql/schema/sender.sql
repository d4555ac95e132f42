-- Senders that a provider counts together, such as the numbers of one portfolio.
CREATE TABLE mktg.sender_pool (
    tenant_id       bigint    NOT NULL DEFAULT 1 REFERENCES mktg.tenant,
    pool_id         bigserial NOT NULL,
    name            text      NOT NULL CHECK (name <> '' AND length(name) <= 200),
    unique_contacts integer   NOT NULL CHECK (unique_contacts >= 1),
    used            integer   NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, pool_id),
    UNIQUE (tenant_id, name)
) WITH (fillfactor = 20);
COMMENT ON TABLE mktg.sender_pool IS 'senders that may write to so many different contacts within any 24 hours together; its row is locked by each claim';
COMMENT ON COLUMN mktg.sender_pool.used IS 'rows of pool_contact';

CREATE TABLE mktg.pool_contact (
    tenant_id  bigint      NOT NULL,
    pool_id    bigint      NOT NULL,
    contact_id bigint      NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, pool_id, contact_id)
);
COMMENT ON TABLE mktg.pool_contact IS 'contacts the senders of a pool have written to in the last 24 hours, and when last';
CREATE INDEX pool_contact_at ON mktg.pool_contact (tenant_id, pool_id, at);

CREATE TABLE mktg.frequency_cap (
    tenant_id bigint   NOT NULL DEFAULT 1 REFERENCES mktg.tenant,
    name      text     NOT NULL CHECK (name <> '' AND length(name) <= 200),
    messages  integer  NOT NULL CHECK (messages >= 1),
    per       interval NOT NULL CHECK (per > '0' AND per <= '366 days'),
    channel   text COLLATE "C" CHECK (channel IN ('email', 'sms', 'push', 'whatsapp', 'webhook', 'in_app')),
    type      text COLLATE "C" CHECK (type <> 'transactional'),
    action    text COLLATE "C" NOT NULL DEFAULT 'defer' CHECK (action IN ('defer', 'skip')),
    PRIMARY KEY (tenant_id, name)
);
COMMENT ON TABLE mktg.frequency_cap IS 'most messages a contact gets within a time, over all campaigns; transactional ones neither count nor wait';
COMMENT ON COLUMN mktg.frequency_cap.channel IS 'NULL: all channels together';
COMMENT ON COLUMN mktg.frequency_cap.type IS 'type of campaign; NULL: all but transactional';

-- Written only where a tenant has a frequency cap; forgotten with the longest of them.
CREATE TABLE mktg.contact_send (
    tenant_id   bigint      NOT NULL,
    contact_id  bigint      NOT NULL,
    campaign_id bigint      NOT NULL,
    ref         text COLLATE "C" NOT NULL,
    at          timestamptz NOT NULL,
    channel     text COLLATE "C" NOT NULL,
    type        text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, contact_id, campaign_id, ref)
);
COMMENT ON TABLE mktg.contact_send IS 'what contacts were sent lately, as frequency caps count it';

CREATE TABLE mktg.complaint (
    tenant_id   bigint      NOT NULL,
    campaign_id bigint      NOT NULL,
    contact_id  bigint      NOT NULL,
    ref         text COLLATE "C" NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, campaign_id, contact_id, ref)
);
COMMENT ON TABLE mktg.complaint IS 'messages whose recipient called them spam, as reported';

-- Real time, whatever mktg.clock says.
CREATE TABLE mktg.delivery_rate (
    tenant_id   bigint      NOT NULL,
    campaign_id bigint      NOT NULL,
    minute      timestamptz NOT NULL,
    ended       bigint      NOT NULL,
    PRIMARY KEY (tenant_id, campaign_id, minute)
) WITH (fillfactor = 50);
COMMENT ON TABLE mktg.delivery_rate IS 'messages that came to their end at a provider, by minute; for delivery_progress';
