-- Segments that are kept in step with an audience at an advertiser. What has
-- changed is read off a segment of the sync's own, which holds who may be uploaded.
CREATE TABLE mktg.audience_sync (
    tenant_id   bigint           NOT NULL,
    campaign_id bigint           NOT NULL,
    segment_id  bigint           NOT NULL,
    members_id  bigint           NOT NULL,
    audience    text COLLATE "C" NOT NULL CHECK (audience ~ '^[A-Za-z0-9_-]{1,100}$'),
    feeds       bigint           NOT NULL DEFAULT 0,
    fed_at      timestamptz,
    PRIMARY KEY (tenant_id, campaign_id),
    UNIQUE (tenant_id, audience)
) WITH (fillfactor = 50);
COMMENT ON TABLE mktg.audience_sync IS 'segments kept in step with audiences at advertisers; a row goes when its campaign is cancelled';
COMMENT ON COLUMN mktg.audience_sync.members_id IS 'the segment of those members who may be uploaded; its changes are taken out of mktg.segment_change as they are fed';
COMMENT ON COLUMN mktg.audience_sync.feeds IS 'feeds that have had something to upload; begins the ref of their messages';
