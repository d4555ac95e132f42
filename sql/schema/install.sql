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
