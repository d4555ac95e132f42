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
