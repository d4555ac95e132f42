-- What version 2 adds to tables of version 1. A table's file is never changed
-- once a version with it is out: a fresh install takes the same steps.

ALTER TABLE mktg.campaign
    ADD include_segments bigint[] NOT NULL DEFAULT '{}',
    ADD exclude_segments bigint[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN mktg.campaign.target_audience IS 'rules of whom add_audience() adds, as segments have them';
COMMENT ON COLUMN mktg.campaign.include_segments IS 'segments add_audience() adds the members of; with rules, it adds who is meant by both';
-- What a contact was sent; for all statuses, so that a change of status stays HOT.
CREATE INDEX message_contact ON mktg.message (tenant_id, contact_id);
