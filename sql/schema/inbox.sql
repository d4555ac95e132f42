-- What channel in_app has delivered: contacts' messages in the application itself.
CREATE TABLE mktg.inbox_message (
    tenant_id   bigint      NOT NULL,
    contact_id  bigint      NOT NULL,
    campaign_id bigint      NOT NULL,
    ref         text COLLATE "C" NOT NULL,
    title       text,
    body        text,
    data        jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(data) = 'object'),
    created_at  timestamptz NOT NULL,
    read_at     timestamptz,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, contact_id, campaign_id, ref)
) WITH (fillfactor = 90);
COMMENT ON TABLE mktg.inbox_message IS 'messages of channel in_app, as the application shows them; read by mktg.inbox()';
COMMENT ON COLUMN mktg.inbox_message.data IS 'the campaign''s template_data, rendered, with the message''s variables over it';
COMMENT ON COLUMN mktg.inbox_message.expires_at IS 'not shown from then on, and deleted by the next maintain()';
