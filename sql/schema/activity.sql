CREATE TABLE mktg.purchase (
    tenant_id   bigint      NOT NULL DEFAULT 1,
    purchase_id bigserial   NOT NULL,
    contact_id  bigint      NOT NULL,
    external_id text,
    amount      bigint      NOT NULL,
    currency    text COLLATE "C" CHECK (currency ~ '^[A-Z]{3}$'),
    placed_at   timestamptz NOT NULL,
    channel     text,
    items       jsonb       NOT NULL DEFAULT '[]',
    attributes  jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) = 'object'),
    PRIMARY KEY (tenant_id, purchase_id)
);
COMMENT ON TABLE mktg.purchase IS 'orders and bookings of contacts; plain INSERT and COPY work';
COMMENT ON COLUMN mktg.purchase.amount IS 'minor units of currency';
COMMENT ON COLUMN mktg.purchase.currency IS 'ISO 4217; NULL is the tenant''s';
COMMENT ON COLUMN mktg.purchase.attributes IS 'rules read cabin, route, origin, destination, category, city, departure, party_size and ancillaries';
CREATE UNIQUE INDEX purchase_external_id ON mktg.purchase (tenant_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX purchase_contact ON mktg.purchase (tenant_id, contact_id, placed_at);

-- Partitions by month come from maintain(); what has none goes into the default one.
CREATE TABLE mktg.event (
    tenant_id   bigint      NOT NULL DEFAULT 1,
    contact_id  bigint      NOT NULL,
    name        text COLLATE "C" NOT NULL CHECK (name <> '' AND length(name) <= 200),
    occurred_at timestamptz NOT NULL,
    event_key   uuid        NOT NULL DEFAULT gen_random_uuid(),
    properties  jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(properties) = 'object'),
    PRIMARY KEY (tenant_id, contact_id, occurred_at, event_key)
) PARTITION BY RANGE (occurred_at);
COMMENT ON TABLE mktg.event IS 'what contacts did, append only; plain INSERT and COPY work';
COMMENT ON COLUMN mktg.event.event_key IS 'tells events of the same instant apart; give it to make an import repeatable';
CREATE TABLE mktg.event_default PARTITION OF mktg.event DEFAULT;
COMMENT ON TABLE mktg.event_default IS 'events of months that have no partition';

CREATE TABLE mktg.cart (
    tenant_id    bigint      NOT NULL DEFAULT 1,
    cart_id      bigserial   NOT NULL,
    contact_id   bigint      NOT NULL,
    items        jsonb       NOT NULL DEFAULT '[]',
    amount       bigint      NOT NULL DEFAULT 0,
    currency     text COLLATE "C" CHECK (currency ~ '^[A-Z]{3}$'),
    updated_at   timestamptz NOT NULL,
    abandoned_at timestamptz,
    recovered_at timestamptz,
    PRIMARY KEY (tenant_id, cart_id)
);
COMMENT ON TABLE mktg.cart IS 'carts of contacts; plain INSERT and COPY work';
COMMENT ON COLUMN mktg.cart.amount IS 'minor units of currency';
CREATE INDEX cart_contact ON mktg.cart (tenant_id, contact_id);
