CREATE TABLE mktg.source (
    tenant_id      bigint   NOT NULL DEFAULT 1,
    name           text COLLATE "C" NOT NULL CHECK (name ~ '^[A-Za-z][A-Za-z0-9_]{0,62}$'),
    relation       regclass NOT NULL,
    contact_column name     NOT NULL,
    at_column      name,
    key            text COLLATE "C" NOT NULL DEFAULT 'contact_id' CHECK (key IN ('contact_id', 'external_id')),
    watched        boolean  NOT NULL DEFAULT true,
    description    text,
    PRIMARY KEY (tenant_id, name)
);
COMMENT ON TABLE mktg.source IS 'tables that rules may read; tenant 0 has those that ship';
COMMENT ON COLUMN mktg.source.contact_column IS 'the column that says whose row it is: a contact_id or an external_id, as key has it';
COMMENT ON COLUMN mktg.source.at_column IS 'when a row came to be, for within_days; rows later than the instant asked for do not count';
COMMENT ON COLUMN mktg.source.watched IS 'triggers on the relation tell whose rows change';

CREATE TABLE mktg.field (
    tenant_id   bigint NOT NULL DEFAULT 1,
    name        text COLLATE "C" NOT NULL,
    source      text COLLATE "C" NOT NULL,
    expression  text   NOT NULL,
    type        text COLLATE "C" NOT NULL
                CHECK (type IN ('text', 'number', 'money', 'boolean', 'timestamp', 'date', 'array', 'json')),
    at_column   name,
    changes     text COLLATE "C" CHECK (changes IN ('day', 'month')),
    synonyms    jsonb,
    description text,
    PRIMARY KEY (tenant_id, name)
);
COMMENT ON TABLE mktg.field IS 'what rules may name: an expression over the rows of a source; tenant 0 has those that ship';
COMMENT ON COLUMN mktg.field.at_column IS 'the time of within_days where it is not that of the source';
COMMENT ON COLUMN mktg.field.changes IS 'how often the value changes with nothing but the calendar, in the tenant''s time zone';
COMMENT ON COLUMN mktg.field.synonyms IS 'other names of values';
-- names are the same whatever their capitals and underscores
CREATE UNIQUE INDEX field_name ON mktg.field (tenant_id, lower(replace(name, '_', '')));

CREATE TABLE mktg.rule_alias (
    tenant_id bigint NOT NULL DEFAULT 1,
    key       text COLLATE "C" NOT NULL CHECK (key <> '' AND length(key) <= 200),
    rule      jsonb  NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
COMMENT ON TABLE mktg.rule_alias IS 'keys of the short form, each with the rule it stands for; tenant 0 has those that ship';

CREATE TABLE mktg.segment (
    tenant_id     bigint      NOT NULL DEFAULT 1 REFERENCES mktg.tenant,
    segment_id    bigserial   NOT NULL,
    name          text        NOT NULL CHECK (name <> '' AND length(name) <= 200),
    kind          text COLLATE "C" NOT NULL DEFAULT 'dynamic' CHECK (kind IN ('dynamic', 'static')),
    rules         jsonb,
    description   text,
    keeps_history boolean     NOT NULL DEFAULT false,
    sources       text[]      NOT NULL DEFAULT '{}',
    size          bigint      NOT NULL DEFAULT 0,
    refreshed_at  timestamptz,
    calendar_due  timestamptz,
    settle_after  xid8,
    failure       text,
    failed_at     timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    created_by    name        NOT NULL DEFAULT current_user,
    PRIMARY KEY (tenant_id, segment_id),
    UNIQUE (tenant_id, name),
    CHECK ((kind = 'dynamic') = (rules IS NOT NULL))
) WITH (fillfactor = 50);
COMMENT ON TABLE mktg.segment IS 'segments: dynamic ones by rules, static ones by hand';
COMMENT ON COLUMN mktg.segment.sources IS 'the sources its rules read';
COMMENT ON COLUMN mktg.segment.refreshed_at IS 'when all contacts were last held against its rules; NULL when that is due';
COMMENT ON COLUMN mktg.segment.calendar_due IS 'when the calendar makes that due';
COMMENT ON COLUMN mktg.segment.failure IS 'why its last refresh failed, such as a field that was dropped; it is tried again every minute';
COMMENT ON COLUMN mktg.segment.settle_after IS 'transactions older than this may have written without telling whose rows; NULL when there are none left';

CREATE TABLE mktg.segment_bitmap (
    tenant_id  bigint  NOT NULL,
    segment_id bigint  NOT NULL,
    chunk      bigint  NOT NULL,
    members    integer NOT NULL,
    bits       bytea   NOT NULL,
    PRIMARY KEY (tenant_id, segment_id, chunk)
) WITH (autovacuum_vacuum_scale_factor = 0.1);
-- what is dense is not compressible, what is sparse is small already
ALTER TABLE mktg.segment_bitmap ALTER bits SET STORAGE EXTERNAL;
COMMENT ON TABLE mktg.segment_bitmap IS 'members of segments: chunk is contact_id / 65536, bits the members in it; read it through mktg.segment_member';

CREATE TABLE mktg.segment_change (
    tenant_id  bigint      NOT NULL,
    segment_id bigint      NOT NULL,
    contact_id bigint      NOT NULL,
    at         timestamptz NOT NULL,
    change     text COLLATE "C" NOT NULL CHECK (change IN ('entered', 'exited'))
);
COMMENT ON TABLE mktg.segment_change IS 'who entered and left, append only, for segments that keep history';
CREATE INDEX segment_change_segment ON mktg.segment_change (tenant_id, segment_id, at);

-- Who has to be held against the rules again, and from when on.  A statement
-- that writes adds a row, whatever its size, due at once; a refresh adds rows
-- for the instants at which time alone changes an answer.
CREATE TABLE mktg.segment_due (
    tenant_id    bigint      NOT NULL,
    segment_id   bigint      NOT NULL DEFAULT 0,
    due          timestamptz NOT NULL DEFAULT '-infinity',
    source       text COLLATE "C",
    contacts     bytea,
    external_ids text[],
    CHECK ((contacts IS NULL) <> (external_ids IS NULL))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE mktg.segment_due ALTER contacts SET STORAGE EXTERNAL;
COMMENT ON TABLE mktg.segment_due IS 'sets of contacts to be held against the rules again from an instant on; -infinity is at once';
COMMENT ON COLUMN mktg.segment_due.source IS 'the source whose rows changed: segments that do not read it have nothing to look at; NULL: all have';
COMMENT ON COLUMN mktg.segment_due.external_ids IS 'contacts by the application''s own ids, looked up when they are due';
COMMENT ON COLUMN mktg.segment_due.segment_id IS '0: all segments';
CREATE INDEX segment_due_due ON mktg.segment_due (tenant_id, due);
