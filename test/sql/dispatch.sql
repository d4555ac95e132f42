\set ECHO none
\i test/setup.sql
BEGIN;
\i test/fixture.sql
SELECT plan(110);
SET LOCAL mktg.clock = '2025-01-14 12:00+00';
INSERT INTO mktg.tenant (tenant_id, name, time_zone) VALUES (71, 'India', 'Asia/Kolkata');
SELECT mktg.set_sender('shop', 'mktg_sandbox', tenant => 71) \g /dev/null
SELECT mktg.create_template('hello', 'whatsapp', body => 'Hello', tenant => tenant) FROM unnest('{1,71}'::bigint[]) AS tenant \g /dev/null

-- Sets the clock, for an argument of psql.
CREATE FUNCTION pg_temp.at(instant text) RETURNS void LANGUAGE sql AS $$SELECT set_config('mktg.clock', instant, true)$$;
CREATE FUNCTION pg_temp.processed(day date DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', p.day, campaigns_processed, messages_queued, messages_skipped) FROM mktg.process_daily(day, tenant) p
$$;
CREATE FUNCTION pg_temp.status(campaign bigint) RETURNS text LANGUAGE sql AS $$SELECT status FROM mktg.campaign WHERE campaign_id = $1$$;

--
-- the story: 10,000 contacts, 250 a day, 40 days
--
SELECT pg_temp.people(10000) AS p \gset
SELECT pg_temp.people(37, '{email}', first => 10001) \g /dev/null
SELECT mktg.create_campaign('New Year Sale 2025', 'whatsapp', 'hello', daily_send_limit => 250) AS c \gset
SELECT is(pg_temp.rows('SELECT * FROM mktg.add_all_contacts(' || :c || ')'), '(10000,0,37,0,0,0)', 'the story: 10,000 subscribed, 37 not');
SELECT is(pg_temp.rows('SELECT * FROM mktg.activate_campaign(' || :c || ', ''2025-01-15'')'),
    format('(%s,active,10000,250,40,2025-02-23)', :c), 'activated for 2025-01-15: 40 days, the last is 2025-02-23');
SELECT is(pg_temp.rows('SELECT count(*), min(send_date), max(send_date), min(batch_size), max(batch_size), min(from_position), max(to_position), max(batch)
        FROM mktg.send_schedule WHERE campaign_id = ' || :c), '(40,2025-01-15,2025-02-23,250,250,1,10000,40)', 'send_schedule: 40 rows of 250');
SELECT is((SELECT count(*) FROM mktg.send_schedule a JOIN mktg.send_schedule b ON b.campaign_id = a.campaign_id AND b.send_date = a.send_date + 1
            WHERE a.campaign_id = :c AND b.from_position = a.to_position + 1 AND b.batch = a.batch + 1), 39::bigint, 'one follows on the other');
SELECT is(pg_temp.miscounted(), 0::bigint, 'counters equal a recount');
SELECT is(pg_temp.processed(), '2025-01-14 0 0 0', 'nothing is due the day before');

SELECT pg_temp.at('2025-01-15 09:00+00') \g /dev/null
SELECT is(pg_temp.processed('2025-01-15'), '2025-01-15 1 250 0', 'the first day queues 250');
SELECT is(pg_temp.rows('SELECT status, batch_size, queued, skipped, remaining FROM mktg.send_schedule WHERE batch = 1 AND campaign_id = ' || :c),
    '(dispatched,250,250,0,0)', 'its batch is dispatched');
SELECT is(pg_temp.rows('SELECT count(*), count(lease), min(due), max(due), sum(attempt) FROM mktg.outbox WHERE campaign_id = ' || :c),
    '(250,0,"2025-01-15 09:00:00+00","2025-01-15 09:00:00+00",0)', 'and in the queue');
SELECT is(pg_temp.rows('SELECT status, send_day, queued_at, min(position), max(position), count(*) FROM mktg.message WHERE status <> ''pending'' AND campaign_id = ' || :c
    || ' GROUP BY 1, 2, 3'), '(queued,2025-01-15,"2025-01-15 09:00:00+00",1,250,250)', 'positions 1 to 250');
SELECT is(pg_temp.miscounted(), 0::bigint, 'counters equal a recount');
SELECT is(pg_temp.processed('2025-01-15') || ' / ' || pg_temp.processed(), '2025-01-15 0 0 0 / 2025-01-15 0 0 0', 'a second and a third run queue nothing');
SELECT is(pg_temp.drain(), 250::bigint, 'they are sent');
SELECT is(pg_temp.statuses(:c), 'pending 9750, sent 250', 'and recorded');

-- what comes back: 240 delivered, of which 100 read and 30 of them opened and 9 clicked; 4 bounced, 2 failed
CREATE FUNCTION pg_temp.report(campaign bigint, word text, first integer, last integer) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FILTER (WHERE applied) FROM (SELECT mktg.record_status(message, word) AS applied FROM mktg.recipient
     WHERE campaign_id = campaign AND position BETWEEN first AND last) x
$$;
SELECT is(string_agg(pg_temp.report(:c, status, first, last)::text, ' '), '240 100 4 2 30 9 1 0', 'statuses come back')
  FROM (VALUES ('delivered', 1, 240), ('read', 1, 100), ('bounced', 241, 244), ('failed', 245, 246), ('opened', 1, 30), ('clicked', 1, 9), ('converted', 1, 1),
    ('delivered', 1, 240)) AS r (status, first, last);
SELECT is(pg_temp.rows('SELECT * FROM mktg.campaign_stats(' || :c || ')'),
    format('(%s,"New Year Sale 2025",active,10000,9750,0,244,240,100,2,4,0,0,0,30,9,1,0,2.50,0.9836,0.4167,0.1250,0.0375,0.0042,2025-02-23)', :c),
    'campaign_stats()');
SELECT is(pg_temp.miscounted(), 0::bigint, 'counters equal a recount');

-- five of tomorrow's unsubscribe
SELECT mktg.unsubscribe(contact_id, 'whatsapp') FROM mktg.message WHERE campaign_id = :c AND position IN (251, 260, 300, 400, 500) \g /dev/null
SELECT pg_temp.at('2025-01-16 09:00+00') \g /dev/null
SELECT is(pg_temp.processed(), '2025-01-16 1 245 5', 'five unsubscribed before day 2: skipped, not sent');
SELECT is(pg_temp.rows('SELECT position, status, failure_reason, send_day, queued_at FROM mktg.message WHERE status = ''skipped'' AND campaign_id = ' || :c
    || ' ORDER BY position'), '(251,skipped,unsubscribed,2025-01-16,) (260,skipped,unsubscribed,2025-01-16,) (300,skipped,unsubscribed,2025-01-16,)'
    ' (400,skipped,unsubscribed,2025-01-16,) (500,skipped,unsubscribed,2025-01-16,)', 'with the reason');
SELECT is(pg_temp.rows('SELECT batch_size, queued, skipped, remaining FROM mktg.send_schedule WHERE batch = 2 AND campaign_id = ' || :c), '(250,245,5,0)',
    'the plan has them too');
SELECT is((SELECT count(*) FROM mktg.outbox WHERE campaign_id = :c), 245::bigint, 'and the queue has not');
SELECT is(pg_temp.miscounted(), 0::bigint, 'counters equal a recount');
SELECT is(pg_temp.drain(), 245::bigint, 'the others are sent');

-- the other 38 days: queued, skipped, sent, wrong counters, today's sends by the day's view
CREATE FUNCTION pg_temp.a_day(campaign bigint, day date) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    said text; drained bigint; view text;
BEGIN
    PERFORM pg_temp.at(day || ' 09:00+00');
    said := pg_temp.processed();
    drained := pg_temp.drain();
    view := (SELECT concat_ws(' ', planned, dispatched, sent) FROM mktg.campaign_daily d WHERE campaign_id = campaign AND d.day = a_day.day);
    RETURN concat_ws(' ', said, drained, mktg.rebuild_stats(campaign), view);
END $$;
SELECT is_empty(format($$SELECT day::date, said FROM generate_series(date '2025-01-17', '2025-02-22', '1 day') AS day,
    LATERAL (SELECT pg_temp.a_day(%s, day::date) AS said) d WHERE said <> day::date || ' 1 250 0 250 0 250 250 250'$$, :c),
    'every other day 250 are queued and sent, and counted');
SELECT is(pg_temp.status(:c) || ', ' || pg_temp.statuses(:c), 'active, bounced 4, delivered 140, failed 2, pending 250, read 100, sent 9499, skipped 5', 'before the last day');
SELECT is(pg_temp.a_day(:c, '2025-02-23'), '2025-02-23 1 250 0 250 0 250 250 250', 'the last day');
SELECT is(pg_temp.processed(), '2025-02-23 0 0 0', 'nothing is left');
SELECT is(pg_temp.rows('SELECT status, ended_at FROM mktg.campaign WHERE campaign_id = ' || :c), '(completed,"2025-02-23 09:00:00+00")', 'the campaign is completed');
SELECT is(pg_temp.rows('SELECT status, total_target, pending, queued, sent, skipped, progress_percentage FROM mktg.campaign_stats(' || :c || ')'),
    '(completed,10000,0,0,9989,5,100.00)', 'all of it');
SELECT is(pg_temp.miscounted(), 0::bigint, 'counters equal a recount');
DELETE FROM mktg.message WHERE campaign_id = :c;

--
-- process_daily: days
--
SELECT pg_temp.at('2025-01-15 09:00+00') \g /dev/null
SELECT is(pg_temp.refusal('SELECT mktg.process_daily(' || arguments || ')'), refused, name) FROM (VALUES
    ('''2025-01-16''', 'tomorrow', 'MK035 | day 2025-01-16 has not come yet | Today is 2025-01-15 for tenant 1. | Leave the day out for today''s batches.'),
    ('''infinity''', 'never', 'MK035 | day infinity has not come yet | Today is 2025-01-15 for tenant 1. | Leave the day out for today''s batches.'),
    ('tenant => 999', 'unknown tenant',
     'MK010 | tenant 999 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.'),
    ('tenant => NULL', 'no tenant', '22004 | argument "tenant" must not be NULL | Give a value for "tenant".')) AS t (arguments, name, refused);
SELECT pg_temp.at('2025-01-15 18:30+00') \g /dev/null
SELECT is(pg_temp.processed('2025-01-16', 71), '2025-01-16 0 0 0', 'in India it is the 16th by then');
SELECT pg_temp.at('2025-01-15 09:00+00') \g /dev/null

-- A running campaign of n contacts, those after number test.after.
SET LOCAL test.after = 1000;
CREATE FUNCTION pg_temp.running(n integer, daily integer DEFAULT NULL, start date DEFAULT '2025-01-15', sender text DEFAULT NULL,
    priority integer DEFAULT 5, type text DEFAULT 'promotional') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    c bigint := mktg.create_campaign('c', 'whatsapp', 'hello', sender, type, daily, priority);
BEGIN
    PERFORM mktg.add_recipients(c, array_agg(contact_id)) FROM (SELECT contact_id FROM mktg.contact
        WHERE tenant_id = 1 AND external_id::integer > current_setting('test.after')::integer ORDER BY contact_id LIMIT n) x;
    PERFORM mktg.activate_campaign(c, start);
    RETURN c;
END $$;

-- missed days
SELECT pg_temp.running(50, 10) AS c \gset
SELECT is(pg_temp.processed() || ' ' || pg_temp.drain(), '2025-01-15 1 10 0 10', 'the first day of five');
SELECT pg_temp.at('2025-01-18 09:00+00') \g /dev/null
SELECT is(pg_temp.processed('2025-01-16'), '2025-01-16 0 0 0', 'a missed day is not flushed');
SELECT is(pg_temp.days(:c), '01-15 10, 01-18 10, 01-19 10, 01-20 10, 01-21 10', 'but planned anew from today on');
SELECT is(pg_temp.processed(), '2025-01-18 1 10 0', 'today has today''s share');
SELECT is(pg_temp.processed('2025-01-17') || ' / ' || pg_temp.processed(), '2025-01-17 0 0 0 / 2025-01-18 0 0 0', 'not more on a second run');
SELECT is((SELECT string_agg(batch || ':' || from_position || '-' || to_position, ' ' ORDER BY batch) FROM mktg.send_schedule WHERE campaign_id = :c),
    '1:1-10 2:11-20 3:21-30 4:31-40 5:41-50', 'in the order of positions');
SELECT is(pg_temp.drain() || ' ' || pg_temp.miscounted(), '10 0', 'sent and counted');
SELECT mktg.cancel_campaign(:c) \g /dev/null

-- missed days of campaigns that share a sender
SELECT pg_temp.at('2025-01-15 09:00+00') \g /dev/null
SELECT mktg.set_sender('phone', 'mktg_sandbox', daily_limit => 20) AS phone \gset
SELECT pg_temp.running(30, 15, sender => 'phone') AS a, pg_temp.running(30, NULL, sender => 'phone', priority => 4) AS b \gset
SELECT is(pg_temp.days(:a) || ' / ' || pg_temp.days(:b), '01-15 15, 01-16 15 / 01-15 5, 01-16 5, 01-17 20', 'two share a sender of 20 a day');
SELECT is(pg_temp.processed() || ' ' || pg_temp.drain(), '2025-01-15 2 20 0 20', 'both go out');
SELECT pg_temp.at('2025-01-20 09:00+00') \g /dev/null
SELECT is(pg_temp.processed(), '2025-01-20 2 20 0', 'five days later no more than a day''s share');
SELECT is(pg_temp.days(:a) || ' / ' || pg_temp.days(:b), '01-15 15, 01-20 15 / 01-15 5, 01-20 5, 01-21 20', 'the rest as planned at first');
SELECT is(pg_temp.drain() || ' ' || pg_temp.miscounted(), '20 0', 'sent and counted');
SELECT pg_temp.at('2025-01-21 09:00+00') \g /dev/null
SELECT is(pg_temp.processed() || ' ' || pg_temp.drain(), '2025-01-21 1 20 0 20', 'the last day');
SELECT is(pg_temp.processed() || ' ' || pg_temp.status(:a) || ' ' || pg_temp.status(:b), '2025-01-21 0 0 0 completed completed', 'both are completed');

-- what was queued and not sent
SELECT pg_temp.at('2025-01-15 09:00+00') \g /dev/null
SELECT pg_temp.running(30, 10) AS c \gset
SELECT is(pg_temp.processed(), '2025-01-15 1 10 0', 'ten are queued');
CREATE TEMP TABLE held AS SELECT * FROM mktg._claim(1::smallint, 7);
SELECT is(count(*) FILTER (WHERE mktg._record(message, lease, outcome)), 5::bigint, 'four are sent, one is to be tried again, two are under way')
  FROM (SELECT message, lease, CASE WHEN row_number() OVER (ORDER BY message) <= 4 THEN 'sent' ELSE 'retry' END AS outcome FROM held ORDER BY message LIMIT 5) r;
SELECT pg_temp.at('2025-01-16 09:00+00') \g /dev/null
SELECT is(pg_temp.processed(), '2025-01-16 1 10 0', 'the next day queues its ten');
SELECT is(pg_temp.rows('SELECT count(*), count(lease), sum(attempt) FROM mktg.outbox WHERE campaign_id = ' || :c), '(13,2,3)',
    'three that were not begun are taken back, what was begun stays');
SELECT is(pg_temp.days(:c), '01-15 7, 01-16 10, 01-17 10, 01-18 3', 'they come last');
SELECT is(pg_temp.rows('SELECT batch_size, queued, skipped, remaining FROM mktg.send_schedule WHERE batch = 1 AND campaign_id = ' || :c), '(7,7,0,0)',
    'the first day gives back what it did not send');
SELECT is(pg_temp.rows('SELECT count(*), min(position), max(position), count(m.send_day), count(m.queued_at) FROM mktg.recipient r JOIN mktg.message m USING (tenant_id, campaign_id, contact_id, position)
        WHERE scheduled_on = ''2025-01-18'' AND campaign_id = ' || :c), '(3,31,33,0,0)', 'at the end of the order, as if they had never been queued');
SELECT is(pg_temp.miscounted(), 0::bigint, 'counters equal a recount');
SELECT is(count(*) FILTER (WHERE mktg._record(message, lease, 'sent')), 2::bigint, 'what is under way ends as it ends') FROM (SELECT * FROM held ORDER BY message OFFSET 5) h;
SELECT is(pg_temp.drain(), 11::bigint, 'ten and the one that is tried again');
SELECT is(pg_temp.a_day(:c, '2025-01-17') || ' / ' || pg_temp.a_day(:c, '2025-01-18'), '2025-01-17 1 10 0 10 0 10 10 10 / 2025-01-18 1 3 0 3 0 3 3 3', 'to the end');
SELECT is(pg_temp.processed() || ' ' || pg_temp.status(:c) || ' ' || pg_temp.statuses(:c), '2025-01-18 0 0 0 completed sent 30', 'all of them, once');

-- two batches of one day taken back
SELECT pg_temp.at('2025-01-15 09:00+00') \g /dev/null
SELECT pg_temp.running(4, 10) AS c \gset
SELECT is(pg_temp.processed(), '2025-01-15 1 4 0', 'a batch of four');
SELECT mktg.add_recipients(:c, array_agg(contact_id)) FROM (SELECT contact_id FROM mktg.contact WHERE external_id::integer BETWEEN 2001 AND 2012) x \g /dev/null
SELECT is(pg_temp.processed(), '2025-01-15 1 6 0', 'six more fit into the day');
SELECT pg_temp.at('2025-01-16 09:00+00') \g /dev/null
SELECT is(pg_temp.processed(), '2025-01-16 1 10 0', 'nothing was sent: the next day');
SELECT is((SELECT string_agg(to_char(send_date, 'DD') || ' ' || batch_size || ' ' || queued, ', ' ORDER BY batch) FROM mktg.send_schedule WHERE campaign_id = :c),
    '15 0 0, 15 0 0, 16 10 10, 17 6 0', 'each batch gives back its own');
SELECT is((SELECT count(*) FROM mktg.message WHERE campaign_id = :c AND position > 6 GROUP BY campaign_id), 16::bigint, 'and nobody is lost');
SELECT is(pg_temp.drain() || ' ' || pg_temp.a_day(:c, '2025-01-17') || ' ' || pg_temp.processed() || ' ' || pg_temp.status(:c),
    '10 2025-01-17 1 6 0 6 0 6 6 6 2025-01-17 0 0 0 completed', 'to the end');

-- without any limit what is late just goes
SELECT pg_temp.at('2025-01-15 09:00+00') \g /dev/null
SELECT pg_temp.running(5) AS c, pg_temp.running(5, start => '2025-01-16') AS later \gset
SELECT is(pg_temp.processed(), '2025-01-15 1 5 0', 'no limit');
SELECT pg_temp.at('2025-01-16 09:00+00') \g /dev/null
SELECT is(pg_temp.processed() || ' ' || pg_temp.statuses(:c) || ' ' || pg_temp.days(:c), '2025-01-16 1 5 0 queued 5 01-15 5', 'what is queued stays queued');
SELECT is(pg_temp.drain() || ' ' || pg_temp.processed() || ' ' || pg_temp.status(:c) || ' ' || pg_temp.status(:later), '10 2025-01-16 0 0 0 completed completed', 'and is sent');

--
-- who is asked again at dispatch
--
SELECT pg_temp.at('2025-01-15 09:00+00') \g /dev/null
SELECT pg_temp.running(8) AS c, pg_temp.running(8, type => 'transactional') AS t \gset
CREATE TEMP TABLE eight AS SELECT position, contact_id, address FROM mktg.message WHERE campaign_id = :c;
CREATE FUNCTION pg_temp.nth(n integer) RETURNS bigint LANGUAGE sql AS 'SELECT contact_id FROM eight WHERE position = n';
SELECT mktg.unsubscribe(pg_temp.nth(1), 'whatsapp'), mktg.unsubscribe(pg_temp.nth(2), 'whatsapp', 'news'),
       mktg.suppress('whatsapp', (SELECT address FROM eight WHERE position = 3)), mktg.suppress('sms', (SELECT address FROM eight WHERE position = 4)) \g /dev/null
UPDATE mktg.contact SET is_active = false WHERE contact_id = pg_temp.nth(5);
DELETE FROM mktg.contact WHERE contact_id = pg_temp.nth(6);
UPDATE mktg.message SET send_after = '2025-01-15 20:00+00' WHERE contact_id = pg_temp.nth(7) AND campaign_id = :c;
UPDATE mktg.message SET status = 'cancelled' WHERE contact_id = pg_temp.nth(8) AND campaign_id = :c;
SELECT is(pg_temp.processed(), '2025-01-15 2 8 7', 'who has left, is suppressed, is not active, is gone');
SELECT is((SELECT string_agg(coalesce(failure_reason, status), ' ' ORDER BY position) FROM mktg.message WHERE campaign_id = :c),
    'unsubscribed queued suppressed queued inactive inactive queued cancelled', 'each with the reason');
SELECT is((SELECT string_agg(coalesce(failure_reason, status), ' ' ORDER BY m.position) FROM mktg.message m JOIN eight e USING (contact_id) WHERE campaign_id = :t AND e.position = m.position),
    'queued queued suppressed queued inactive inactive queued queued', 'transactional needs no consent');
SELECT is((SELECT due FROM mktg.outbox WHERE campaign_id = :c AND contact_id = pg_temp.nth(7)), '2025-01-15 20:00+00', 'a message that is to wait waits in the queue');
SELECT is(pg_temp.rows('SELECT batch_size, queued, skipped, remaining FROM mktg.send_schedule WHERE campaign_id = ' || :c), '(8,3,4,0)', 'the plan has what became of the eight');
SELECT is(pg_temp.drain() || ' ' || pg_temp.miscounted(), '7 0', 'all that are due are sent');
SELECT is(pg_temp.processed() || ' ' || pg_temp.status(:c) || ' ' || pg_temp.status(:t), '2025-01-15 0 0 0 active completed', 'one waits, so its campaign runs');
SELECT pg_temp.at('2025-01-15 20:00+00') \g /dev/null
SELECT is(pg_temp.drain() || ' ' || pg_temp.processed() || ' ' || pg_temp.status(:c), '1 2025-01-15 0 0 0 completed', 'until it is sent');
SET LOCAL test.after = 3000;
SELECT pg_temp.running(1) AS c \gset
UPDATE mktg.contact SET is_active = false WHERE contact_id = (SELECT contact_id FROM mktg.message WHERE campaign_id = :c);
SELECT is(pg_temp.processed() || ' ' || pg_temp.status(:c), '2025-01-15 1 0 1 completed', 'where all are skipped there is nothing to wait for');

--
-- tenants
--
SELECT pg_temp.at('2025-01-15 09:00+00') \g /dev/null
SET LOCAL test.after = 4000;
SELECT pg_temp.people(5, tenant => 71), mktg.create_campaign('theirs', 'whatsapp', 'hello', tenant => 71) AS theirs, pg_temp.running(5) AS ours \gset
SELECT mktg.add_all_contacts(:theirs, 71), mktg.activate_campaign(:theirs, '2025-01-15', 71) \g /dev/null
SELECT is(pg_temp.processed(tenant => 71) || ' ' || pg_temp.statuses(:theirs, 71) || ' ' || pg_temp.statuses(:ours), '2025-01-15 1 5 0 queued 5 pending 5', 'only the tenant''s');
SELECT is(pg_temp.processed() || ' ' || pg_temp.statuses(:theirs, 71) || ' ' || pg_temp.statuses(:ours), '2025-01-15 1 5 0 queued 5 queued 5', 'and the other''s');
SELECT is(pg_temp.drain(), 10::bigint, 'one worker serves both');
SELECT is(pg_temp.processed() || ' ' || pg_temp.status(:theirs) || ' ' || pg_temp.status(:ours), '2025-01-15 0 0 0 active completed', 'completed by its own tenant''s run');

--
-- pause, resume, cancel
--
SELECT pg_temp.running(40, 10) AS c \gset
SELECT is(pg_temp.processed(), '2025-01-15 1 10 0', 'ten are queued');
CREATE TEMP TABLE under_way AS SELECT * FROM mktg._claim(1::smallint, 3);
SELECT is(mktg.pause_campaign(:c), 'paused', 'pause_campaign() returns the status');
SELECT is((SELECT count(*) FROM mktg._claim(1::smallint, 100)), 0::bigint, 'the next claim passes it by');
SELECT is(count(*) FILTER (WHERE mktg._record(message, lease, 'sent')), 3::bigint, 'what was under way is recorded') FROM under_way;
SELECT is(pg_temp.statuses(:c) || ', ' || pg_temp.days(:c), 'pending 30, queued 7, sent 3, 01-15 10, 01-16 10, 01-17 10, 01-18 10', 'the plan is kept');
SELECT pg_temp.at('2025-01-16 09:00+00') \g /dev/null
SELECT is(pg_temp.processed() || ' ' || pg_temp.status(:c), '2025-01-16 0 0 0 paused', 'a paused campaign queues nothing and does not end');
SELECT pg_temp.at('2025-01-20 09:00+00') \g /dev/null
SELECT is(mktg.resume_campaign(:c), 'active', 'resume_campaign() returns the status');
SELECT is(pg_temp.days(:c), '01-15 3, 01-20 10, 01-21 10, 01-22 10, 01-23 7', 'all that is overdue is planned anew within the cap');
SELECT is((SELECT count(*) FROM mktg._claim(1::smallint, 100)), 0::bigint, 'also what was queued');
SELECT is(pg_temp.a_day(:c, '2025-01-20'), '2025-01-20 1 10 0 10 0 10 10 10', 'and goes on');
SELECT is(mktg.pause_campaign(:c) || ' ' || mktg.resume_campaign(:c) || ' ' || pg_temp.days(:c),
    'paused active 01-15 3, 01-20 10, 01-21 10, 01-22 10, 01-23 7', 'nothing moves that is not overdue');

-- the sender's other campaigns keep what they have queued
SELECT pg_temp.at('2025-01-15 09:00+00') \g /dev/null
SELECT mktg.cancel_campaign(:c) \g /dev/null
SELECT pg_temp.running(20, 10) AS a, pg_temp.running(20, 10) AS b \gset
SELECT is(pg_temp.processed(), '2025-01-15 2 20 0', 'two campaigns of a sender without limit');
SELECT pg_temp.at('2025-01-16 09:00+00') \g /dev/null
SELECT mktg.pause_campaign(:a), mktg.resume_campaign(:a) \g /dev/null
SELECT is(pg_temp.statuses(:a) || ' / ' || pg_temp.statuses(:b), 'pending 20 / pending 10, queued 10', 'resuming one leaves the other alone');
SELECT is(pg_temp.processed() || ' / ' || pg_temp.days(:a) || ' / ' || pg_temp.days(:b), '2025-01-16 2 20 0 / 01-15 0, 01-16 10, 01-17 10 / 01-15 0, 01-16 10, 01-17 10',
    'until the day''s run takes back what is overdue');
SELECT is((SELECT count(*) FROM mktg.recipient WHERE campaign_id IN (:a, :b) AND scheduled_on IS NULL), 0::bigint, 'every recipient has a day');

-- cancel
CREATE TEMP TABLE leased AS SELECT * FROM mktg._claim(1::smallint, 4);
SELECT is((SELECT count(*) FROM leased WHERE message LIKE '1-' || :a || '-%'), 4::bigint, 'four are under way');
SELECT is(mktg.cancel_campaign(:a), 'cancelled', 'cancel_campaign() returns the status');
SELECT is(pg_temp.statuses(:a), 'cancelled 16, queued 4', 'what waits is cancelled, pending and queued');
SELECT is(pg_temp.rows('SELECT count(*), count(lease) FROM mktg.outbox WHERE campaign_id = ' || :a), '(4,4)', 'what is under way is the worker''s');
SELECT is((SELECT string_agg(DISTINCT to_char(send_date, 'DD') || ' ' || status, ', ') FROM mktg.send_schedule WHERE campaign_id = :a AND batch_size > 0),
    '16 dispatched, 17 cancelled', 'the plan is cancelled');
SELECT is((SELECT string_agg(mktg._record(message, lease, outcome)::text, ' ') FROM (SELECT message, lease,
        (ARRAY['sent', 'failed', 'bounced', 'in_doubt'])[row_number() OVER (ORDER BY message)] AS outcome FROM leased) r), 'true true true true', 'and ends as it ends');
SELECT is(pg_temp.statuses(:a), 'bounced 1, cancelled 16, failed 1, in_doubt 1, sent 1', 'each in its own way');
SELECT is(pg_temp.rows('SELECT status, ended_at FROM mktg.campaign WHERE campaign_id = ' || :a), '(cancelled,"2025-01-16 09:00:00+00")', 'the campaign is over');
SELECT is(pg_temp.processed() || ' ' || pg_temp.status(:a), '2025-01-16 0 0 0 cancelled', 'for good');
SELECT is(pg_temp.statuses(:b), 'pending 10, queued 10', 'the other one is not touched');
SELECT mktg.cancel_campaign(c) AS x FROM (SELECT mktg.create_campaign('draft', 'whatsapp') AS c) d \gset
SELECT is(:'x'::text, 'cancelled', 'a draft can be cancelled');
SELECT is(pg_temp.miscounted(), 0::bigint, 'counters equal a recount');

SELECT * FROM finish();
ROLLBACK;
