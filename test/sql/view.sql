\set ECHO none
\i test/setup.sql
BEGIN;
\i test/fixture.sql
SELECT plan(32);
SET LOCAL mktg.clock = '2025-01-14 09:00+00';
INSERT INTO mktg.tenant (tenant_id, name) VALUES (71, 'other');
SELECT mktg.create_template('hello', 'whatsapp', body => 'Hello'), mktg.create_template('hello', 'whatsapp', body => 'Hello', tenant => 71),
       mktg.set_sender('phone', 'mktg_sandbox', daily_limit => 20), mktg.set_sender('phone', 'mktg_sandbox', tenant => 71) \g /dev/null
SELECT pg_temp.people(60) AS p, pg_temp.people(3, tenant => 71) AS q \gset
CREATE FUNCTION pg_temp.span(first bigint, n integer) RETURNS bigint[] LANGUAGE sql AS $$SELECT array_agg(first + i) FROM generate_series(0, n - 1) i$$;

--
-- campaign_stats: its columns, and rates of nothing
--
SELECT is((SELECT string_agg(name || ' ' || format_type(type, NULL), ', ' ORDER BY i) FROM pg_proc,
        unnest(proargnames, proallargtypes, proargmodes) WITH ORDINALITY AS a (name, type, mode, i) WHERE oid = 'mktg.campaign_stats'::regproc AND mode = 't'),
    'campaign_id bigint, campaign_name text, status text, total_target bigint, pending bigint, queued bigint, sent bigint, delivered bigint, read bigint, '
    'failed bigint, bounced bigint, skipped bigint, cancelled bigint, in_doubt bigint, opened bigint, clicked bigint, converted bigint, unsubscribed bigint, '
    'progress_percentage numeric, delivery_rate numeric, read_rate numeric, open_rate numeric, click_rate numeric, conversion_rate numeric, '
    'estimated_completion_date date', 'columns of campaign_stats()');
SELECT mktg.create_campaign('empty', 'whatsapp') AS empty \gset
SELECT is(pg_temp.rows('SELECT * FROM mktg.campaign_stats(' || :empty || ')'), format('(%s,empty,draft,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,,,,,,,)', :empty),
    'without recipients there is neither progress nor rate');

--
-- a campaign of 30, ten a day, and one of another tenant
--
SELECT mktg.create_campaign('sale', 'whatsapp', 'hello', 'phone', daily_send_limit => 10, priority => 7, description => 'thirty') AS c,
       mktg.create_campaign('theirs', 'whatsapp', 'hello', 'phone', tenant => 71) AS theirs \gset
SELECT mktg.add_recipients(:c, pg_temp.span(:p, 30)), mktg.add_all_contacts(:theirs, 71) \g /dev/null
SELECT is(pg_temp.rows('SELECT count(*), count(scheduled_on), min(position), max(position) FROM mktg.recipient WHERE campaign_id = ' || :c), '(30,0,1,30)',
    'recipients of a draft have no day');
SELECT is(pg_temp.rows('SELECT status, total_target, pending, progress_percentage, start_date, estimated_completion_date FROM mktg.campaign_list WHERE campaign_id = ' || :c),
    '(draft,30,30,0.00,,)', 'a draft in campaign_list');
SELECT mktg.activate_campaign(:c, '2025-01-15'), mktg.activate_campaign(:theirs, '2025-01-15', 71) \g /dev/null
CREATE FUNCTION pg_temp.scheduled(campaign bigint) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', to_char(scheduled_on, 'MM-DD'), n, statuses), ', ' ORDER BY scheduled_on) FROM (SELECT scheduled_on, count(*) AS n,
        string_agg(DISTINCT status, '+' ORDER BY status) AS statuses FROM mktg.recipient WHERE campaign_id = campaign GROUP BY scheduled_on) x
$$;
SELECT is(pg_temp.scheduled(:c), '01-15 10 pending, 01-16 10 pending, 01-17 10 pending', 'scheduled_on follows the plan');
SELECT is((SELECT bool_and(scheduled_on = date '2025-01-15' + (position - 1) / 10) FROM mktg.recipient WHERE campaign_id = :c), true, 'each position its day');
SELECT is(pg_temp.rows('SELECT tenant_id, name, code, type, channel, status, priority, template, sender, daily_send_limit, total_target, pending, queued, sent, delivered, read,
        failed, bounced, skipped, cancelled, in_doubt, progress_percentage, start_date, estimated_completion_date, description, created_at = now() AS now, activated_at, ended_at
        FROM mktg.campaign_list WHERE campaign_id = ' || :c),
    '(1,sale,,promotional,whatsapp,active,7,hello,phone,10,30,30,0,0,0,0,0,0,0,0,0,0.00,2025-01-15,2025-01-17,thirty,t,"2025-01-14 09:00:00+00",)', 'campaign_list');
SELECT is(pg_temp.rows('SELECT tenant_id, name, total_target FROM mktg.campaign_list WHERE campaign_id IN (' || :empty || ',' || :theirs || ') ORDER BY 1'),
    '(1,empty,0) (71,theirs,3)', 'one without recipients, and another tenant''s');
SELECT is(pg_temp.rows('SELECT send_date, campaign_name, campaign_status, channel, priority, batch, from_position, to_position, batch_size, queued, skipped, remaining, status, sender,
        sender_daily_limit, sender_total FROM mktg.send_calendar WHERE tenant_id = 1 ORDER BY send_date'),
    '(2025-01-15,sale,active,whatsapp,7,1,1,10,10,0,0,10,planned,phone,20,10) (2025-01-16,sale,active,whatsapp,7,2,11,20,10,0,0,10,planned,phone,20,10)'
    ' (2025-01-17,sale,active,whatsapp,7,3,21,30,10,0,0,10,planned,phone,20,10)', 'send_calendar');
SELECT is(pg_temp.rows('SELECT day, planned, remaining, dispatched, queued, sent FROM mktg.campaign_daily WHERE campaign_id = ' || :c || ' ORDER BY day'),
    '(2025-01-15,10,10,0,0,0) (2025-01-16,10,10,0,0,0) (2025-01-17,10,10,0,0,0)', 'campaign_daily of what is planned');

-- the first day: one unsubscribes, one fails, one bounces, some are read
SET LOCAL mktg.clock = '2025-01-15 09:00+00';
SELECT mktg.unsubscribe(:p, 'whatsapp'), mktg.process_daily(), mktg.process_daily(tenant => 71) \g /dev/null
SELECT is(pg_temp.scheduled(:c), '01-15 10 queued+skipped, 01-16 10 pending, 01-17 10 pending', 'what was dispatched keeps its day');
SELECT is(pg_temp.drain(), 12::bigint, 'all go out');
SELECT mktg.record_status(message, s.status, reason => s.reason) FROM mktg.recipient JOIN (VALUES (2, 'failed', 'no such number'), (3, 'bounced', NULL), (4, 'delivered', NULL), (5, 'delivered', NULL),
    (6, 'read', NULL), (6, 'opened', NULL), (6, 'clicked', NULL), (5, 'converted', NULL), (4, 'unsubscribed', NULL)) AS s (at_position, status, reason) ON position = at_position WHERE campaign_id = :c \g /dev/null
SELECT mktg.record_status(message, 'failed', reason => 'theirs', tenant => 71) FROM mktg.recipient WHERE tenant_id = 71 AND position = 1 \g /dev/null
SELECT is(pg_temp.rows('SELECT * FROM mktg.campaign_daily WHERE campaign_id = ' || :c || ' ORDER BY day'),
    format('(1,%1$s,sale,2025-01-15,10,0,10,0,7,3,1,1,1,1,0,0,1,1,1,1) (1,%1$s,sale,2025-01-16,10,10,0,0,0,0,0,0,0,0,0,0,0,0,0,0)'
           ' (1,%1$s,sale,2025-01-17,10,10,0,0,0,0,0,0,0,0,0,0,0,0,0,0)', :c), 'campaign_daily of what became of it');
SELECT is((SELECT string_agg(column_name::text, ' ' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_schema = 'mktg' AND table_name = 'campaign_daily'),
    'tenant_id campaign_id campaign_name day planned remaining dispatched queued sent delivered read failed bounced skipped cancelled in_doubt opened clicked converted unsubscribed',
    'columns of campaign_daily');
SELECT is(pg_temp.rows('SELECT total_target, pending, queued, sent, delivered, read, failed, bounced, skipped, opened, clicked, converted, unsubscribed, progress_percentage,
        delivery_rate, read_rate, open_rate, click_rate, conversion_rate FROM mktg.campaign_stats(' || :c || ')'),
    '(30,20,0,7,3,1,1,1,1,1,1,1,1,33.33,0.4286,0.3333,0.3333,0.3333,0.3333)', 'rates are per delivered, delivery per sent');
SELECT is(pg_temp.rows('SELECT tenant_id, campaign_id, campaign_name, contact_id, address, status, failure_reason, attempts, failed_at, send_day, message FROM mktg.failed_sends WHERE tenant_id = 1 ORDER BY contact_id'),
    format('(1,%1$s,sale,%2$s,+14151000002,failed,"no such number",1,"2025-01-15 09:00:00+00",2025-01-15,1-%1$s-%2$s)'
           ' (1,%1$s,sale,%3$s,+14151000003,bounced,bounced,1,"2025-01-15 09:00:00+00",2025-01-15,1-%1$s-%3$s)', :c, :p + 1, :p + 2), 'failed_sends: who and why');
SELECT is(pg_temp.rows('SELECT tenant_id, campaign_name, failure_reason FROM mktg.failed_sends WHERE tenant_id = 71'), '(71,theirs,theirs)', 'of every tenant');

-- missed days move everybody
SET LOCAL mktg.clock = '2025-01-20 09:00+00';
SELECT mktg.process_daily('2025-01-16') \g /dev/null
SELECT is(pg_temp.scheduled(:c), '01-15 10 bounced+delivered+failed+read+sent+skipped, 01-20 10 pending, 01-21 10 pending', 'scheduled_on after planning anew');
SELECT mktg.process_daily() \g /dev/null
-- more of the same day, in a batch of its own
UPDATE mktg.campaign SET daily_send_limit = 15 WHERE campaign_id = :c;
SELECT mktg.add_recipients(:c, pg_temp.span(:p + 30, 1)) \g /dev/null
SELECT is(pg_temp.days(:c), '01-15 10, 01-20 15, 01-21 6', 'a limit that is raised leaves room today');
SELECT mktg.process_daily() \g /dev/null
SELECT is((SELECT count(*) FROM mktg.send_calendar WHERE campaign_id = :c AND send_date = '2025-01-20'), 2::bigint, 'two batches of one day in the calendar');
SELECT is(pg_temp.rows('SELECT day, planned, dispatched, queued FROM mktg.campaign_daily WHERE campaign_id = ' || :c || ' ORDER BY day OFFSET 1'),
    '(2025-01-20,15,15,15) (2025-01-21,6,0,0)', 'one row a campaign and day all the same');
SELECT is((SELECT count(*) FROM (SELECT tenant_id, campaign_id, day FROM mktg.campaign_daily GROUP BY 1, 2, 3 HAVING count(*) > 1) x), 0::bigint, 'of every campaign');
SELECT is((SELECT string_agg(DISTINCT sender_total::text, ' ') FROM mktg.send_calendar WHERE campaign_id = :c AND send_date = '2025-01-20'), '15', 'with the sender''s total of the day');

-- cancelled: nobody has a day any more but those who were dispatched
SELECT mktg.cancel_campaign(:c) \g /dev/null
SELECT is(pg_temp.scheduled(:c), '01-15 10 bounced+delivered+failed+read+sent+skipped, 01-20 15 cancelled, 6 cancelled', 'scheduled_on of a campaign that is cancelled');
SELECT is(pg_temp.rows('SELECT status, cancelled, progress_percentage, estimated_completion_date, ended_at FROM mktg.campaign_list WHERE campaign_id = ' || :c),
    '(cancelled,21,100.00,2025-01-20,"2025-01-20 09:00:00+00")', 'it ends with the last day that was dispatched');

-- messages of their own
SELECT mktg.send(:p + 40, 'hello', channel => 'whatsapp', sender => 'phone') AS own \gset
SELECT is((SELECT count(*) FROM mktg.recipient WHERE contact_id = :p + 40), 0::bigint, 'a message of its own is no recipient');
SELECT is(pg_temp.rows('SELECT name, type, total_target, queued FROM mktg.campaign_list WHERE code LIKE ''stream:%'''), '(hello,transactional,1,1)', 'its stream is in campaign_list');
SELECT is(pg_temp.rows('SELECT d.day, planned, dispatched, queued FROM mktg.campaign_daily d JOIN mktg.campaign c USING (tenant_id, campaign_id) WHERE code LIKE ''stream:%'''),
    '(2025-01-20,0,1,1)', 'and in campaign_daily, unplanned');
SELECT pg_temp.drain('in_doubt') \g /dev/null
SELECT is((SELECT message FROM mktg.in_doubt), :'own', 'in doubt under the id that send() gave');
SELECT is((SELECT count(*) FROM mktg.failed_sends WHERE message = :'own'), 0::bigint, 'which is no failure yet');
SELECT mktg.settle(:'own', 'failed') \g /dev/null
SELECT is((SELECT status || ' ' || failure_reason FROM mktg.failed_sends WHERE message = :'own'), 'failed settled', 'until it is settled as one');
SELECT is(pg_temp.miscounted(), 0::bigint, 'counters equal a recount');

SELECT * FROM finish();
ROLLBACK;
