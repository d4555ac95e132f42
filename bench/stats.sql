-- What bench/stats.sh measures: campaigns of 10,000, 1,000,000 and 100,000
-- recipients, and the references.

INSERT INTO mktg.campaign (campaign_id, name, channel)
VALUES (1, 'small', 'whatsapp'), (2, 'large', 'whatsapp'), (3, 'middle', 'whatsapp');
INSERT INTO mktg.message (campaign_id, contact_id, position, send_day, address, status, queued_at, sent_at)
SELECT c, g, g, '2025-01-15', '+91' || 9000000000 + g, CASE WHEN random() < 0.5 THEN 'sent' ELSE 'delivered' END, now(), now()
  FROM (VALUES (1, 10000), (2, 1000000), (3, 100000)) v (c, n), generate_series(1, n) g;

CREATE SCHEMA bench;

-- Reference: a plain statement trigger; also the one with a single counter row
-- for a campaign and day, which its writers queue behind.
CREATE TABLE bench.plain (LIKE mktg.campaign_stat INCLUDING ALL);
CREATE FUNCTION bench.plain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO bench.plain AS s (tenant_id, campaign_id, variant, day, slot, pending, queued, sent, delivered, read,
                                  failed, bounced, skipped, cancelled, in_doubt, opened, clicked, converted, unsubscribed)
    SELECT tenant_id, campaign_id, variant, coalesce(send_day, '-infinity'), 0,
           coalesce(sum(n) FILTER (WHERE status = 'pending'), 0), coalesce(sum(n) FILTER (WHERE status = 'queued'), 0),
           coalesce(sum(n) FILTER (WHERE status = 'sent'), 0), coalesce(sum(n) FILTER (WHERE status = 'delivered'), 0),
           coalesce(sum(n) FILTER (WHERE status = 'read'), 0), coalesce(sum(n) FILTER (WHERE status = 'failed'), 0),
           coalesce(sum(n) FILTER (WHERE status = 'bounced'), 0), coalesce(sum(n) FILTER (WHERE status = 'skipped'), 0),
           coalesce(sum(n) FILTER (WHERE status = 'cancelled'), 0), coalesce(sum(n) FILTER (WHERE status = 'in_doubt'), 0),
           coalesce(sum(n) FILTER (WHERE opened_at IS NOT NULL), 0), coalesce(sum(n) FILTER (WHERE clicked_at IS NOT NULL), 0),
           coalesce(sum(n) FILTER (WHERE converted_at IS NOT NULL), 0), coalesce(sum(n) FILTER (WHERE unsubscribed_at IS NOT NULL), 0)
      FROM (SELECT *, 1 AS n FROM new_rows UNION ALL SELECT *, -1 FROM old_rows) m
     GROUP BY 1, 2, 3, 4
        ON CONFLICT (tenant_id, campaign_id, variant, day, slot) DO UPDATE
       SET pending = s.pending + excluded.pending, queued = s.queued + excluded.queued, sent = s.sent + excluded.sent,
           delivered = s.delivered + excluded.delivered, read = s.read + excluded.read, failed = s.failed + excluded.failed,
           bounced = s.bounced + excluded.bounced, skipped = s.skipped + excluded.skipped,
           cancelled = s.cancelled + excluded.cancelled, in_doubt = s.in_doubt + excluded.in_doubt,
           opened = s.opened + excluded.opened, clicked = s.clicked + excluded.clicked,
           converted = s.converted + excluded.converted, unsubscribed = s.unsubscribed + excluded.unsubscribed;
    RETURN NULL;
END $$;
CREATE TRIGGER bench_plain AFTER UPDATE ON mktg.message REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION bench.plain();

-- Reference: counts the campaign anew for every row.
CREATE TABLE bench.naive (campaign_id bigint PRIMARY KEY, pending bigint, queued bigint, sent bigint, delivered bigint, read bigint, failed bigint);
INSERT INTO bench.naive VALUES (1), (2), (3);
CREATE FUNCTION bench.naive() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE bench.naive s
       SET pending = n.pending, queued = n.queued, sent = n.sent, delivered = n.delivered, read = n.read, failed = n.failed
      FROM (SELECT count(*) FILTER (WHERE status = 'pending') AS pending, count(*) FILTER (WHERE status = 'queued') AS queued,
                   count(*) FILTER (WHERE status = 'sent') AS sent, count(*) FILTER (WHERE status = 'delivered') AS delivered,
                   count(*) FILTER (WHERE status = 'read') AS read, count(*) FILTER (WHERE status = 'failed') AS failed
              FROM mktg.message WHERE tenant_id = NEW.tenant_id AND campaign_id = NEW.campaign_id) n
     WHERE s.campaign_id = NEW.campaign_id;
    RETURN NULL;
END $$;
CREATE TRIGGER bench_naive AFTER UPDATE ON mktg.message FOR EACH ROW EXECUTE FUNCTION bench.naive();

-- Which of them is at work.
CREATE FUNCTION bench.use(which text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    ALTER TABLE mktg.message DISABLE TRIGGER USER;
    IF which <> 'none' THEN
        EXECUTE 'ALTER TABLE mktg.message ENABLE TRIGGER ' || CASE which WHEN 'mktg' THEN 'message_count_update' ELSE 'bench_' || which END;
    END IF;
END $$;

-- Microseconds a statement takes that updates "size" recipients in a row of a
-- campaign's order, without the commit.
CREATE FUNCTION bench.time_update(campaign bigint, recipients integer, size integer, statements integer) RETURNS double precision
LANGUAGE plpgsql AS $$
DECLARE
    begun timestamptz;
    p     integer;
BEGIN
    -- the first in a session plans
    UPDATE mktg.message SET attempts = attempts WHERE tenant_id = 1 AND campaign_id = campaign AND position = 1;
    begun := clock_timestamp();
    FOR i IN 1..statements LOOP
        p := 1 + floor(random() * (recipients - size + 1));
        IF size = 1 THEN
            UPDATE mktg.message SET status = CASE status WHEN 'sent' THEN 'delivered' ELSE 'sent' END, sent_at = now()
             WHERE tenant_id = 1 AND campaign_id = campaign AND contact_id = p AND ref = '';
        ELSE
            UPDATE mktg.message SET status = CASE status WHEN 'sent' THEN 'delivered' ELSE 'sent' END, sent_at = now()
             WHERE tenant_id = 1 AND campaign_id = campaign AND position >= p AND position < p + size;
        END IF;
    END LOOP;
    RETURN extract(epoch FROM clock_timestamp() - begun) * 1e6 / statements;
END $$;

-- Microseconds of that spent in the trigger alone, by EXPLAIN ANALYZE.
CREATE FUNCTION bench.time_trigger(campaign bigint, recipients integer, size integer) RETURNS double precision
LANGUAGE plpgsql AS $$
DECLARE
    plan json;
    p    integer := 1 + floor(random() * (recipients - size + 1));
BEGIN
    EXECUTE format('EXPLAIN (ANALYZE, FORMAT json) '
                   'UPDATE mktg.message SET status = CASE status WHEN ''sent'' THEN ''delivered'' ELSE ''sent'' END, sent_at = now() '
                   'WHERE tenant_id = 1 AND campaign_id = %s AND position >= %s AND position < %s', campaign, p, p + size) INTO plan;
    RETURN (plan -> 0 -> 'Triggers' -> 0 ->> 'Time')::double precision * 1000;
END $$;

VACUUM (FREEZE, ANALYZE);
CHECKPOINT;
