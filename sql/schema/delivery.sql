CREATE TABLE mktg.sender (
    tenant_id       bigint      NOT NULL DEFAULT 1 REFERENCES mktg.tenant,
    sender_id       bigserial   NOT NULL,
    name            text        NOT NULL CHECK (name <> '' AND length(name) <= 200),
    provider        name        NOT NULL,
    channel         text COLLATE "C" CHECK (channel IN ('email', 'sms', 'push', 'whatsapp', 'webhook', 'in_app')),
    from_address    text,
    from_name       text,
    reply_to        text,
    daily_limit     integer     CHECK (daily_limit >= 1),
    rate_per_second double precision CHECK (rate_per_second > 0),
    max_attempts    smallint    NOT NULL DEFAULT 8 CHECK (max_attempts BETWEEN 1 AND 100),
    on_doubt        text        CHECK (on_doubt IN ('hold', 'retry')),
    is_active       boolean     NOT NULL DEFAULT true,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, sender_id),
    UNIQUE (tenant_id, name)
);
COMMENT ON TABLE mktg.sender IS 'identities messages leave under, with the caps their provider sets; channel NULL serves every channel';
COMMENT ON COLUMN mktg.sender.provider IS 'foreign server of wrapper mktg_provider';
COMMENT ON COLUMN mktg.sender.on_doubt IS 'what happens to a message whose outcome nobody knows; NULL leaves it to the campaign''s type';

-- What a sender has used of its caps; one row a sender, locked by each claim.
CREATE TABLE mktg.sender_state (
    tenant_id   bigint           NOT NULL,
    sender_id   bigint           NOT NULL,
    day         date             NOT NULL,
    used        integer          NOT NULL DEFAULT 0,
    tokens      double precision NOT NULL DEFAULT 0,
    tokens_at   timestamptz      NOT NULL,
    PRIMARY KEY (tenant_id, sender_id)
) WITH (fillfactor = 20);
COMMENT ON TABLE mktg.sender_state IS 'first attempts of the day (tenant''s time zone) and rate tokens left, per sender';

-- The queue: a row waits (lease NULL) or is leased, and goes with its outcome.
CREATE TABLE mktg.outbox (
    tenant_id   bigint      NOT NULL DEFAULT 1,
    campaign_id bigint      NOT NULL,
    contact_id  bigint      NOT NULL,
    ref         text COLLATE "C" NOT NULL DEFAULT '',
    due         timestamptz NOT NULL,
    lease       bigint,
    worker      smallint,
    attempt     smallint    NOT NULL DEFAULT 0,
    deaths      smallint    NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, campaign_id, contact_id, ref),
    CHECK ((lease IS NULL) = (worker IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000000);
COMMENT ON TABLE mktg.outbox IS 'the queue of messages on their way to a provider';
COMMENT ON COLUMN mktg.outbox.attempt IS 'attempts begun; commits before the request leaves';
COMMENT ON COLUMN mktg.outbox.deaths IS 'workers that died while they held this row';
-- contact_id makes the order total, so that a worker can go on where it stopped.
CREATE INDEX outbox_waiting ON mktg.outbox (tenant_id, campaign_id, due, contact_id) WHERE lease IS NULL;
-- Rows that wait for another attempt: free of the sender's daily limit.
CREATE INDEX outbox_begun ON mktg.outbox (tenant_id, campaign_id, due) WHERE lease IS NULL AND attempt > 0;
-- Rows a worker died with; hardly ever any.
CREATE INDEX outbox_suspect ON mktg.outbox (due) WHERE lease IS NULL AND deaths > 0;

CREATE TABLE mktg.provider_failure (
    tenant_id   bigint      NOT NULL,
    sender_id   bigint      NOT NULL,
    minute      timestamptz NOT NULL,
    class       text COLLATE "C" NOT NULL CHECK (class IN ('retry', 'permanent', 'suppress', 'config', 'doubt')),
    failures    bigint      NOT NULL,
    last_reason text,
    PRIMARY KEY (tenant_id, sender_id, minute, class)
);
COMMENT ON TABLE mktg.provider_failure IS 'attempts that failed, counted by minute';

CREATE TABLE mktg.sandbox_message (
    tenant_id   bigint      NOT NULL,
    campaign_id bigint      NOT NULL,
    contact_id  bigint      NOT NULL,
    ref         text COLLATE "C" NOT NULL,
    attempt     smallint    NOT NULL,
    channel     text        NOT NULL,
    address     text        NOT NULL,
    sender      text        NOT NULL,
    subject     text,
    html        text,
    body        text,
    outcome     text        NOT NULL,
    sent_at     timestamptz NOT NULL,
    report      text CHECK (report IN ('delivered', 'read')),
    report_at   timestamptz,
    reported_at timestamptz,
    PRIMARY KEY (tenant_id, campaign_id, contact_id, ref, attempt)
);
COMMENT ON TABLE mktg.sandbox_message IS 'what the sandbox provider was given, and what it says became of it';
CREATE INDEX sandbox_message_report ON mktg.sandbox_message (report_at) WHERE report IS NOT NULL AND reported_at IS NULL;
