CREATE TABLE mktg.offer (
    tenant_id          bigint      NOT NULL DEFAULT 1 REFERENCES mktg.tenant,
    offer_id           bigserial   NOT NULL,
    code               text COLLATE "C",
    type               text COLLATE "C" NOT NULL CHECK (type IN ('percent', 'flat', 'free_item', 'points_multiplier')),
    value              numeric     NOT NULL CHECK (value > 0),
    currency           text COLLATE "C" CHECK (currency ~ '^[A-Z]{3}$'),
    starts_at          timestamptz,
    ends_at            timestamptz,
    usage_limit        bigint      CHECK (usage_limit >= 1),
    per_contact_limit  integer     CHECK (per_contact_limit >= 1),
    per_contact_period text COLLATE "C" CHECK (per_contact_period IN ('day', 'week', 'month', 'year')),
    minimum_amount     bigint      CHECK (minimum_amount >= 0),
    budget             bigint      CHECK (budget >= 1),
    scope              jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(scope) = 'object'),
    stackable          boolean     NOT NULL DEFAULT false,
    combine_with       text[]      NOT NULL DEFAULT '{}',
    priority           integer     NOT NULL DEFAULT 1,
    campaign_id        bigint,
    codes_made         bigint      NOT NULL DEFAULT 0,
    revision           bigint      NOT NULL DEFAULT 0,
    disabled_at        timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now(),
    created_by         name        NOT NULL DEFAULT current_user,
    PRIMARY KEY (tenant_id, offer_id),
    FOREIGN KEY (tenant_id, campaign_id) REFERENCES mktg.campaign,
    CHECK (starts_at < ends_at),
    CHECK (type <> 'percent' OR value <= 100)
);
COMMENT ON TABLE mktg.offer IS 'what is taken off carts, and when, where, how often; without any code it is automatic';
COMMENT ON COLUMN mktg.offer.code IS 'the code everybody may use, normalised; NULL for automatic offers and those with codes in promo_code alone';
COMMENT ON COLUMN mktg.offer.value IS 'percent, minor units, items or points by type';
COMMENT ON COLUMN mktg.offer.budget IS 'most that may be taken off in all, in minor units';
COMMENT ON COLUMN mktg.offer.revision IS 'counts changes of the limits: whoever has read an older one reads again';
CREATE UNIQUE INDEX offer_code ON mktg.offer (tenant_id, code) WHERE code IS NOT NULL;
CREATE INDEX offer_automatic ON mktg.offer (tenant_id, offer_id) WHERE code IS NULL AND codes_made = 0;

-- What is left of an offer's limit and budget, in shares: a checkout takes from
-- one that nobody else has hold of. Pages keep room for the next versions of
-- their rows, so that no index entry is ever made.
CREATE TABLE mktg.offer_slot (
    tenant_id   bigint  NOT NULL,
    offer_id    bigint  NOT NULL,
    slot        integer NOT NULL,
    revision    bigint  NOT NULL,
    uses_left   bigint  CHECK (uses_left >= 0),
    budget_left bigint  CHECK (budget_left >= 0),
    PRIMARY KEY (tenant_id, offer_id, slot)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE mktg.offer_slot IS 'shares of what is left of an offer''s usage_limit and budget; sum over slots';

CREATE TABLE mktg.offer_contact (
    tenant_id  bigint  NOT NULL,
    offer_id   bigint  NOT NULL,
    contact_id bigint  NOT NULL,
    period     date    NOT NULL,
    used       integer NOT NULL CHECK (used >= 0),
    PRIMARY KEY (tenant_id, offer_id, contact_id, period)
) WITH (fillfactor = 85);
COMMENT ON TABLE mktg.offer_contact IS 'how often contacts have reserved or used offers that limit it';
COMMENT ON COLUMN mktg.offer_contact.period IS 'first day of the period in the tenant''s zone; -infinity where the limit is for ever';

CREATE TABLE mktg.code_series (
    tenant_id bigint  NOT NULL,
    prefix    text COLLATE "C" NOT NULL,
    suffix    text COLLATE "C" NOT NULL,
    length    integer NOT NULL,
    checksum  boolean NOT NULL,
    ambiguous boolean NOT NULL,
    made      bigint  NOT NULL,
    PRIMARY KEY (tenant_id, prefix, suffix, length, checksum, ambiguous)
);
COMMENT ON TABLE mktg.code_series IS 'forms of the codes that generate_codes() has made, and how many';

CREATE TABLE mktg.promo_code (
    tenant_id     bigint NOT NULL,
    code          text COLLATE "C" NOT NULL,
    offer_id      bigint NOT NULL,
    contact_id    bigint,
    redemption_id bigint,
    PRIMARY KEY (tenant_id, code)
) WITH (fillfactor = 90);
COMMENT ON TABLE mktg.promo_code IS 'codes that can be used once, normalised';
COMMENT ON COLUMN mktg.promo_code.contact_id IS 'the only contact that may use it; NULL: anybody';
COMMENT ON COLUMN mktg.promo_code.redemption_id IS 'what has used it';
CREATE INDEX promo_code_offer ON mktg.promo_code (tenant_id, offer_id);

-- Without checks, which every statement would read and compile anew: it is
-- written in the middle of checkouts, by functions that know what can be.
CREATE TABLE mktg.redemption (
    tenant_id       bigint      NOT NULL,
    redemption_id   bigserial   NOT NULL,
    offer_id        bigint      NOT NULL,
    contact_id      bigint,
    content_hash    bigint      NOT NULL,
    eligible_subtotal bigint  NOT NULL,
    discount        bigint      NOT NULL,
    reversed        bigint      NOT NULL DEFAULT 0,
    reserved_at     timestamptz NOT NULL,
    expires_at      timestamptz,
    committed_at    timestamptz,
    ended_at        timestamptz,
    period          date,
    status          text COLLATE "C" NOT NULL,
    code            text COLLATE "C",
    idempotency_key text COLLATE "C",
    purchase        text COLLATE "C",
    currency        text COLLATE "C" NOT NULL,
    lines           jsonb       NOT NULL,
    refunds         jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, redemption_id)
) WITH (fillfactor = 90);
COMMENT ON TABLE mktg.redemption IS 'uses of offers: reserved, then committed or released or expired; reversed when the purchase is refunded';
COMMENT ON COLUMN mktg.redemption.status IS 'reserved, committed, released, expired or reversed';
COMMENT ON COLUMN mktg.redemption.content_hash IS 'of code, contact, cart and purchase: the same idempotency key with others is an error';
COMMENT ON COLUMN mktg.redemption.reversed IS 'how much of the discount refunds have taken back';
COMMENT ON COLUMN mktg.redemption.period IS 'the period its use is counted in by offer_contact; NULL where the offer did not limit contacts';
COMMENT ON COLUMN mktg.redemption.lines IS 'lines of the cart that were eligible, each with what was taken off it';
COMMENT ON COLUMN mktg.redemption.refunds IS 'amounts of reverse_redemption() by the caller''s name of the refund';
-- not partial: a predicate would be compiled anew for every redemption
CREATE UNIQUE INDEX redemption_key ON mktg.redemption (tenant_id, idempotency_key);
-- the purchase first: what else was taken off it is asked for, too
CREATE UNIQUE INDEX redemption_purchase ON mktg.redemption (tenant_id, purchase, offer_id)
    WHERE purchase IS NOT NULL AND status NOT IN ('released', 'expired');
CREATE INDEX redemption_reserved ON mktg.redemption (tenant_id, offer_id, expires_at) WHERE status = 'reserved';

CREATE TABLE mktg.price_phase (
    tenant_id  bigint      NOT NULL DEFAULT 1 REFERENCES mktg.tenant,
    phase_id   bigserial   NOT NULL,
    item       text COLLATE "C" NOT NULL CHECK (item <> '' AND length(item) <= 200),
    name       text        NOT NULL CHECK (name <> '' AND length(name) <= 200),
    price      bigint      NOT NULL CHECK (price >= 0),
    starts_at  timestamptz,
    ends_at    timestamptz,
    max_seats  integer     CHECK (max_seats >= 1),
    ordinal    integer     NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by name        NOT NULL DEFAULT current_user,
    PRIMARY KEY (tenant_id, phase_id),
    CHECK (starts_at < ends_at)
);
COMMENT ON TABLE mktg.price_phase IS 'prices of an item while a phase lasts, such as early bird; the first that fits counts, by ordinal, starts_at and phase_id';
COMMENT ON COLUMN mktg.price_phase.price IS 'minor units, in place of the base price';
COMMENT ON COLUMN mktg.price_phase.max_seats IS 'the phase is over when so many seats of the item are booked';
CREATE INDEX price_phase_item ON mktg.price_phase (tenant_id, item, ordinal);
