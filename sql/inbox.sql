-- inbox.sql: messages of channel in_app, as the application reads them

CREATE FUNCTION mktg.inbox(contact bigint, tenant bigint DEFAULT 1, OUT message text, OUT campaign bigint, OUT title text, OUT body text, OUT data jsonb, OUT created_at timestamptz, OUT read_at timestamptz, OUT expires_at timestamptz) RETURNS SETOF record
    LANGUAGE C STABLE SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_inbox';
COMMENT ON FUNCTION mktg.inbox(bigint, bigint) IS 'a contact''s messages in the application that have not expired, newest first; read_at is NULL while unread';

CREATE FUNCTION mktg.mark_read(message text, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) RETURNS boolean
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_mark_read';
COMMENT ON FUNCTION mktg.mark_read(text, timestamptz, bigint) IS 'notes that the contact has read a message of the inbox, which becomes read; false if that was known';
