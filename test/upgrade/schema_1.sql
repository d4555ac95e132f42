-- What mktg.install() creates: ordinary objects of the database, never members
-- of the extension, so that a dump carries them and DROP EXTENSION cannot.

CREATE TABLE mktg.schema_version (
    version           integer     PRIMARY KEY,
    extension_version text        NOT NULL,
    installed_at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE mktg.schema_version IS 'versions this schema has been brought to; the highest counts';

-- One row: the place delivery is armed for. A copy of the database carries the
-- row along, finds itself elsewhere, and stays silent.
CREATE TABLE mktg.delivery_arming (
    singleton         boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    system_identifier bigint      NOT NULL,
    timeline          integer     NOT NULL,
    database_oid      oid         NOT NULL,
    data_directory    text        NOT NULL,
    host              text        NOT NULL,
    armed_at          timestamptz NOT NULL DEFAULT now(),
    armed_by          name        NOT NULL DEFAULT current_user
);
COMMENT ON TABLE mktg.delivery_arming IS 'the one place (cluster, timeline, database, directory, host) that may send';

CREATE TABLE mktg.tenant (
    tenant_id  bigserial   PRIMARY KEY,
    name       text        NOT NULL UNIQUE CHECK (name <> '' AND length(name) <= 200),
    time_zone  text        NOT NULL DEFAULT 'UTC'
               CHECK ((timestamptz '2000-01-01 00:00+00' AT TIME ZONE time_zone) IS NOT NULL),
    currency   text        NOT NULL DEFAULT 'USD' CHECK (currency ~ '^[A-Z]{3}$'),
    settings   jsonb       NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE mktg.tenant IS 'one row per company; a single-company install has tenant 1';
CREATE TABLE mktg.contact (
    tenant_id   bigint      NOT NULL DEFAULT 1 REFERENCES mktg.tenant,
    contact_id  bigserial   NOT NULL,
    external_id text,
    email       text COLLATE "C",
    phone       text COLLATE "C",
    name        text,
    birth_date  date,
    gender      text,
    language    text,
    country     text,
    region      text,
    city        text,
    time_zone   text,
    tier        text,
    tags        text[]      NOT NULL DEFAULT '{}',
    attributes  jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) = 'object'),
    is_active   boolean     NOT NULL DEFAULT true,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, contact_id)
);
COMMENT ON TABLE mktg.contact IS 'people and firms a tenant may write to; plain INSERT and COPY work, addresses are normalised on the way in';
CREATE UNIQUE INDEX contact_external_id ON mktg.contact (tenant_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX contact_email ON mktg.contact (tenant_id, email) WHERE email IS NOT NULL;
CREATE INDEX contact_phone ON mktg.contact (tenant_id, phone) WHERE phone IS NOT NULL;

-- Always empty to the eye: upsert_contact() inserts and deletes what it is about
-- to make, so that others wait for it at the primary key.
CREATE UNLOGGED TABLE mktg.contact_claim (
    tenant_id bigint NOT NULL,
    key_hash  bigint NOT NULL,
    PRIMARY KEY (tenant_id, key_hash)
);
COMMENT ON TABLE mktg.contact_claim IS 'keys of contacts being made by transactions that are not over';

CREATE TABLE mktg.consent (
    tenant_id  bigint      NOT NULL DEFAULT 1,
    contact_id bigint      NOT NULL,
    channel    text COLLATE "C" NOT NULL CHECK (channel IN ('email', 'sms', 'push', 'whatsapp', 'webhook', 'in_app')),
    topic      text COLLATE "C" NOT NULL DEFAULT 'marketing' CHECK (topic <> '' AND length(topic) <= 200),
    state      text COLLATE "C" NOT NULL DEFAULT 'subscribed' CHECK (state IN ('subscribed', 'pending', 'unsubscribed')),
    source     text,
    ip         inet,
    reason     text,
    at         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, contact_id, channel, topic),
    FOREIGN KEY (tenant_id, contact_id) REFERENCES mktg.contact ON DELETE CASCADE
);
COMMENT ON TABLE mktg.consent IS 'the present state of consent by contact, channel and topic; every change is in consent_log';

CREATE TABLE mktg.consent_log (
    tenant_id  bigint      NOT NULL,
    contact_id bigint      NOT NULL,
    channel    text        NOT NULL,
    topic      text        NOT NULL,
    state      text        NOT NULL,
    source     text,
    ip         inet,
    reason     text,
    at         timestamptz NOT NULL,
    logged_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    logged_by  name        NOT NULL DEFAULT current_user
);
COMMENT ON TABLE mktg.consent_log IS 'every write to consent, append only; state is that after the write, or ''removed''';
CREATE INDEX consent_log_contact ON mktg.consent_log (tenant_id, contact_id, logged_at);

-- Only a hash of the address, so that an erased address stays suppressed.
CREATE TABLE mktg.suppression (
    tenant_id    bigint      NOT NULL DEFAULT 1 REFERENCES mktg.tenant,
    channel      text COLLATE "C" NOT NULL CHECK (channel IN ('email', 'sms', 'push', 'whatsapp', 'webhook', 'in_app')),
    address_hash bytea       NOT NULL,
    reason       text        NOT NULL DEFAULT 'manual'
                 CHECK (reason IN ('hard_bounce', 'complaint', 'stop', 'manual', 'legal', 'erased')),
    at           timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, channel, address_hash)
);
COMMENT ON TABLE mktg.suppression IS 'addresses nothing is sent to, by SHA-256 of the normalised address (mktg.address_hash)';
CREATE TABLE mktg.template (
    tenant_id   bigint      NOT NULL DEFAULT 1 REFERENCES mktg.tenant,
    template_id bigserial   NOT NULL,
    name        text        NOT NULL CHECK (name <> '' AND length(name) <= 200),
    channel     text COLLATE "C" NOT NULL CHECK (channel IN ('email', 'sms', 'push', 'whatsapp', 'webhook', 'in_app')),
    category    text        NOT NULL DEFAULT 'promotional',
    version     integer     NOT NULL DEFAULT 1 CHECK (version >= 1),
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, template_id),
    UNIQUE (tenant_id, channel, name)
);
COMMENT ON TABLE mktg.template IS 'templates by name and channel; version is the one in use';

CREATE TABLE mktg.template_version (
    tenant_id   bigint      NOT NULL DEFAULT 1,
    template_id bigint      NOT NULL,
    version     integer     NOT NULL,
    locale      text,
    subject     text,
    html        text,
    body        text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    created_by  name        NOT NULL DEFAULT current_user,
    PRIMARY KEY (tenant_id, template_id, version),
    FOREIGN KEY (tenant_id, template_id) REFERENCES mktg.template
);
COMMENT ON TABLE mktg.template_version IS 'the texts of every version of a template; never updated';
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
-- Applied by install() and by every migrate(): all that depends on functions of
-- the extension, which DROP EXTENSION ... CASCADE therefore takes along.

ALTER TABLE mktg.consent ALTER at SET DEFAULT mktg.clock();
ALTER TABLE mktg.suppression ALTER at SET DEFAULT mktg.clock();

CREATE OR REPLACE TRIGGER contact_normalize BEFORE INSERT OR UPDATE ON mktg.contact
    FOR EACH ROW EXECUTE FUNCTION mktg._contact_normalize();

CREATE OR REPLACE TRIGGER consent_log_insert AFTER INSERT ON mktg.consent
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._consent_log('mktg.consent_log');

CREATE OR REPLACE TRIGGER consent_log_update AFTER UPDATE ON mktg.consent
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._consent_log('mktg.consent_log');

CREATE OR REPLACE TRIGGER consent_log_delete AFTER DELETE ON mktg.consent
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._consent_log('mktg.consent_log');

CREATE OR REPLACE TRIGGER campaign_guard BEFORE INSERT OR UPDATE ON mktg.campaign
    FOR EACH ROW EXECUTE FUNCTION mktg._campaign_guard();

CREATE OR REPLACE TRIGGER message_count_insert AFTER INSERT ON mktg.message
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('mktg.campaign_stat');

CREATE OR REPLACE TRIGGER message_count_update AFTER UPDATE ON mktg.message
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('mktg.campaign_stat');

CREATE OR REPLACE TRIGGER message_count_delete AFTER DELETE ON mktg.message
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('mktg.campaign_stat');

CREATE OR REPLACE TRIGGER message_count_truncate AFTER TRUNCATE ON mktg.message
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('mktg.campaign_stat');
-- Applied by install() and by every migrate().

CREATE OR REPLACE VIEW mktg._campaign_count WITH (security_invoker = true) AS
SELECT tenant_id, campaign_id, day,
       sum(pending + queued + sent + delivered + read + failed + bounced + skipped + cancelled + in_doubt)::bigint AS total,
       sum(pending)::bigint AS pending,
       sum(queued)::bigint AS queued,
       sum(sent + delivered + read)::bigint AS sent,
       sum(delivered + read)::bigint AS delivered,
       sum(read)::bigint AS read,
       sum(failed)::bigint AS failed,
       sum(bounced)::bigint AS bounced,
       sum(skipped)::bigint AS skipped,
       sum(cancelled)::bigint AS cancelled,
       sum(in_doubt)::bigint AS in_doubt,
       sum(opened)::bigint AS opened,
       sum(clicked)::bigint AS clicked,
       sum(converted)::bigint AS converted,
       sum(unsubscribed)::bigint AS unsubscribed
  FROM mktg.campaign_stat
 GROUP BY tenant_id, campaign_id, day;
COMMENT ON VIEW mktg._campaign_count IS 'counters by campaign and day; sent and delivered are cumulated (design: sent counts sent, delivered and read)';

CREATE OR REPLACE VIEW mktg.campaign_list WITH (security_invoker = true) AS
SELECT c.tenant_id, c.campaign_id, c.name, c.code, c.type, c.channel, c.status, c.priority,
       t.name AS template, s.name AS sender, c.daily_send_limit,
       coalesce(n.total, 0) AS total_target, coalesce(n.pending, 0) AS pending, coalesce(n.queued, 0) AS queued,
       coalesce(n.sent, 0) AS sent, coalesce(n.delivered, 0) AS delivered, coalesce(n.read, 0) AS read,
       coalesce(n.failed, 0) AS failed, coalesce(n.bounced, 0) AS bounced, coalesce(n.skipped, 0) AS skipped,
       coalesce(n.cancelled, 0) AS cancelled, coalesce(n.in_doubt, 0) AS in_doubt,
       round(100.0 * (n.total - n.pending - n.queued) / nullif(n.total, 0), 2) AS progress_percentage,
       c.start_date, p.last_day AS estimated_completion_date,
       c.description, c.created_at, c.activated_at, c.ended_at
  FROM mktg.campaign c
  LEFT JOIN mktg.template t ON t.tenant_id = c.tenant_id AND t.template_id = c.template_id
  LEFT JOIN mktg.sender s ON s.tenant_id = c.tenant_id AND s.sender_id = c.sender_id
  LEFT JOIN (SELECT tenant_id, campaign_id, sum(total)::bigint AS total, sum(pending)::bigint AS pending,
                    sum(queued)::bigint AS queued, sum(sent)::bigint AS sent, sum(delivered)::bigint AS delivered,
                    sum(read)::bigint AS read, sum(failed)::bigint AS failed, sum(bounced)::bigint AS bounced,
                    sum(skipped)::bigint AS skipped, sum(cancelled)::bigint AS cancelled, sum(in_doubt)::bigint AS in_doubt
               FROM mktg._campaign_count GROUP BY tenant_id, campaign_id) n
    ON n.tenant_id = c.tenant_id AND n.campaign_id = c.campaign_id
  LEFT JOIN (SELECT tenant_id, campaign_id, max(send_date) AS last_day
               FROM mktg.send_schedule WHERE status <> 'cancelled' GROUP BY tenant_id, campaign_id) p
    ON p.tenant_id = c.tenant_id AND p.campaign_id = c.campaign_id;
COMMENT ON VIEW mktg.campaign_list IS 'one row a campaign: settings by name, counters, progress in percent, last day of the plan';

CREATE OR REPLACE VIEW mktg.campaign_daily WITH (security_invoker = true) AS
SELECT d.tenant_id, d.campaign_id, c.name AS campaign_name, d.day,
       d.planned, d.remaining, d.total AS dispatched, d.queued, d.sent, d.delivered, d.read,
       d.failed, d.bounced, d.skipped, d.cancelled, d.in_doubt,
       d.opened, d.clicked, d.converted, d.unsubscribed
  FROM (SELECT tenant_id, campaign_id, day, sum(planned)::bigint AS planned, sum(remaining)::bigint AS remaining,
               sum(total)::bigint AS total, sum(queued)::bigint AS queued, sum(sent)::bigint AS sent,
               sum(delivered)::bigint AS delivered, sum(read)::bigint AS read, sum(failed)::bigint AS failed,
               sum(bounced)::bigint AS bounced, sum(skipped)::bigint AS skipped, sum(cancelled)::bigint AS cancelled,
               sum(in_doubt)::bigint AS in_doubt, sum(opened)::bigint AS opened, sum(clicked)::bigint AS clicked,
               sum(converted)::bigint AS converted, sum(unsubscribed)::bigint AS unsubscribed
          FROM (SELECT tenant_id, campaign_id, send_date AS day, batch_size AS planned, remaining,
                       0 AS total, 0 AS queued, 0 AS sent, 0 AS delivered, 0 AS read, 0 AS failed, 0 AS bounced,
                       0 AS skipped, 0 AS cancelled, 0 AS in_doubt, 0 AS opened, 0 AS clicked, 0 AS converted,
                       0 AS unsubscribed
                  FROM mktg.send_schedule
                UNION ALL
                SELECT tenant_id, campaign_id, day, 0, 0, total, queued, sent, delivered, read, failed, bounced,
                       skipped, cancelled, in_doubt, opened, clicked, converted, unsubscribed
                  FROM mktg._campaign_count WHERE day > '-infinity') both_sides
         GROUP BY tenant_id, campaign_id, day) d
  JOIN mktg.campaign c ON c.tenant_id = d.tenant_id AND c.campaign_id = d.campaign_id;
COMMENT ON VIEW mktg.campaign_daily IS 'one row a campaign and day: what was planned, what went out, what became of it';

CREATE OR REPLACE VIEW mktg.send_calendar WITH (security_invoker = true) AS
SELECT p.tenant_id, p.send_date, p.campaign_id, c.name AS campaign_name, c.status AS campaign_status, c.channel, c.priority,
       p.batch, p.from_position, p.to_position, p.batch_size, p.queued, p.skipped, p.remaining, p.status,
       s.name AS sender, s.daily_limit AS sender_daily_limit,
       -- a paused or cancelled campaign holds nothing of a day but what it has dispatched
       coalesce(sum(p.batch_size) FILTER (WHERE p.status = 'dispatched' OR p.status = 'planned' AND c.status = 'active')
                OVER (PARTITION BY p.tenant_id, p.send_date, c.sender_id), 0) AS sender_total
  FROM mktg.send_schedule p
  JOIN mktg.campaign c ON c.tenant_id = p.tenant_id AND c.campaign_id = p.campaign_id
  LEFT JOIN mktg.sender s ON s.tenant_id = c.tenant_id AND s.sender_id = c.sender_id;
COMMENT ON VIEW mktg.send_calendar IS 'one row a day, campaign and batch, with what the sender''s campaigns hold of that day together';

CREATE OR REPLACE VIEW mktg.recipient WITH (security_invoker = true) AS
SELECT m.tenant_id, m.campaign_id, m.contact_id, m.position,
       coalesce(m.send_day, p.send_date) AS scheduled_on,
       m.status, m.address, m.attempts, m.queued_at, m.sent_at, m.delivered_at, m.read_at, m.failed_at,
       m.opened_at, m.clicked_at, m.converted_at, m.unsubscribed_at,
       m.failure_reason, m.provider_message_id,
       mktg._message_id(m.tenant_id, m.campaign_id, m.contact_id, m.ref) AS message
  FROM mktg.message m
  LEFT JOIN LATERAL (SELECT s.send_date, s.to_position
                       FROM mktg.send_schedule s
                      WHERE s.tenant_id = m.tenant_id AND s.campaign_id = m.campaign_id
                        AND s.from_position <= m.position AND m.status = 'pending'
                      ORDER BY s.from_position DESC LIMIT 1) p ON p.to_position >= m.position
 WHERE m.ref = '';
COMMENT ON VIEW mktg.recipient IS 'recipients of campaigns, each with the day it is planned for or was queued on';

CREATE OR REPLACE VIEW mktg.failed_sends WITH (security_invoker = true) AS
SELECT m.tenant_id, m.campaign_id, c.name AS campaign_name, m.contact_id, m.address, m.status,
       m.failure_reason, m.attempts, m.failed_at, m.send_day,
       mktg._message_id(m.tenant_id, m.campaign_id, m.contact_id, m.ref) AS message
  FROM (SELECT tenant_id, campaign_id FROM mktg.campaign_stat
         GROUP BY tenant_id, campaign_id HAVING sum(failed + bounced) > 0) n
  JOIN mktg.campaign c ON c.tenant_id = n.tenant_id AND c.campaign_id = n.campaign_id
  JOIN mktg.message m ON m.tenant_id = n.tenant_id AND m.campaign_id = n.campaign_id
 WHERE m.status IN ('failed', 'bounced');
COMMENT ON VIEW mktg.failed_sends IS 'messages that failed or bounced, with the reason; the counters lead to the campaigns that have any';

CREATE OR REPLACE VIEW mktg.in_doubt WITH (security_invoker = true) AS
SELECT m.tenant_id, m.campaign_id, c.name AS campaign_name, m.contact_id, m.address,
       m.failure_reason, m.attempts, m.failed_at AS doubtful_since, m.send_day,
       mktg._message_id(m.tenant_id, m.campaign_id, m.contact_id, m.ref) AS message
  FROM (SELECT tenant_id, campaign_id FROM mktg.campaign_stat
         GROUP BY tenant_id, campaign_id HAVING sum(in_doubt) > 0) n
  JOIN mktg.campaign c ON c.tenant_id = n.tenant_id AND c.campaign_id = n.campaign_id
  JOIN mktg.message m ON m.tenant_id = n.tenant_id AND m.campaign_id = n.campaign_id
 WHERE m.status = 'in_doubt';
COMMENT ON VIEW mktg.in_doubt IS 'messages that may or may not have arrived; a provider''s report or mktg.settle() decides them';
