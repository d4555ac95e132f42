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
