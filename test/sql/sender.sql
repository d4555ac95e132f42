\set ECHO none
\i test/setup.sql
BEGIN;
\i test/fixture.sql
SELECT plan(107);
SET LOCAL mktg.clock = '2025-01-15 09:00+00';
INSERT INTO mktg.tenant (tenant_id, name, time_zone) VALUES (71, 'India', 'Asia/Kolkata');
SELECT mktg.create_template('hello', 'whatsapp', body => 'Hello'), mktg.create_template('hello', 'sms', body => 'Hello'), mktg.create_template('hello', 'whatsapp', body => 'Hello', tenant => 71) \g /dev/null
SELECT pg_temp.people(40) AS p, pg_temp.people(10, tenant => 71) AS q \gset
INSERT INTO mktg.consent (tenant_id, contact_id, channel) SELECT tenant_id, contact_id, 'sms' FROM mktg.contact ON CONFLICT DO NOTHING;
CREATE SERVER box FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'sandbox');
CREATE SERVER box2 FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'sandbox');

CREATE FUNCTION pg_temp.claims(most integer DEFAULT 1000) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM mktg._claim(1::smallint, most)';
-- A running campaign of n contacts of a tenant, all of it queued.
CREATE FUNCTION pg_temp.queued(name text, n integer, sender text, skip integer DEFAULT 0, channel text DEFAULT 'whatsapp', type text DEFAULT 'promotional', tenant bigint DEFAULT 1) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    c bigint := mktg.create_campaign(name, channel, 'hello', sender, type => type, tenant => tenant);
BEGIN
    PERFORM mktg.add_recipients(c, array_agg(contact_id ORDER BY contact_id), tenant) FROM (SELECT contact_id FROM mktg.contact x WHERE x.tenant_id = queued.tenant
        ORDER BY contact_id OFFSET skip LIMIT n) x;
    PERFORM mktg.activate_campaign(c, (SELECT (mktg.clock() AT TIME ZONE time_zone)::date FROM mktg.tenant t WHERE t.tenant_id = queued.tenant), tenant);
    PERFORM mktg.process_daily(tenant => tenant);
    RETURN c;
END $$;
CREATE FUNCTION pg_temp.record_all(outcome text) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FILTER (WHERE mktg._record(mktg._message_id(tenant_id, campaign_id, contact_id, ref), lease, outcome))
      FROM (SELECT * FROM mktg.outbox WHERE lease IS NOT NULL) x
$$;
CREATE FUNCTION pg_temp.queue() RETURNS text LANGUAGE sql AS $$
    SELECT count(*) FILTER (WHERE lease IS NULL) || ' waiting, ' || count(lease) || ' leased' FROM mktg.outbox
$$;
-- Sees what the functions called before it have done.
CREATE FUNCTION pg_temp.one(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    EXECUTE query INTO answer;
    RETURN answer;
END $$;
CREATE FUNCTION pg_temp.clear() RETURNS void LANGUAGE sql AS $$
    DELETE FROM mktg.outbox; UPDATE mktg.campaign SET status = 'cancelled' WHERE status IN ('active', 'paused')
$$;

--
-- quiet hours and weekdays: when a message to a contact in a zone goes, asked at an instant
--
SELECT mktg.set_sender('quiet', 'box') \g /dev/null
SELECT pg_temp.queued('hours', 1, 'quiet') AS hours \gset
CREATE FUNCTION pg_temp.goes(at timestamptz, zone text, quiet_from time, quiet_until time, weekdays integer[] DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    until timestamptz;
BEGIN
    PERFORM mktg.set_sender('quiet', 'box', quiet_from => quiet_from, quiet_until => quiet_until, weekdays => weekdays);
    UPDATE mktg.contact SET time_zone = zone WHERE tenant_id = 1;
    UPDATE mktg.outbox SET due = at, lease = NULL, worker = NULL, attempt = 0;
    PERFORM set_config('mktg.clock', at::text, true);
    IF (SELECT count(*) FROM mktg._claim(1::smallint, 10)) = 1 THEN
        RETURN 'now';
    END IF;
    SELECT due INTO until FROM mktg.outbox WHERE lease IS NULL;
    PERFORM set_config('mktg.clock', (until - interval '1 ms')::text, true);
    IF (SELECT count(*) FROM mktg._claim(1::smallint, 10)) <> 0 THEN
        RETURN 'earlier than ' || until;
    END IF;
    PERFORM set_config('mktg.clock', until::text, true);
    IF (SELECT count(*) FROM mktg._claim(1::smallint, 10)) <> 1 THEN
        RETURN 'not at ' || until;
    END IF;
    RETURN until AT TIME ZONE 'UTC';
END $$;
SELECT is(pg_temp.goes('2025-01-15 09:00+00', NULL, NULL, NULL), 'now', 'without quiet hours at any time');
SELECT is(pg_temp.goes('2025-01-15 07:59:59+00', NULL, '21:00', '08:00'), '2025-01-15 08:00:00', 'over midnight: until they end');
SELECT is(pg_temp.goes('2025-01-15 08:00+00', NULL, '21:00', '08:00'), 'now', 'then it goes');
SELECT is(pg_temp.goes('2025-01-15 20:59:59.9+00', NULL, '21:00', '08:00'), 'now', 'to the last moment');
SELECT is(pg_temp.goes('2025-01-15 21:00+00', NULL, '21:00', '08:00'), '2025-01-16 08:00:00', 'at their beginning no more');
SELECT is(pg_temp.goes('2025-01-15 12:30+00', NULL, '12:00', '14:00'), '2025-01-15 14:00:00', 'within a day');
SELECT is(pg_temp.goes('2025-01-15 02:00+00', 'Asia/Kolkata', '21:00', '08:00'), '2025-01-15 02:30:00', 'on the recipient''s clock');
SELECT is(pg_temp.goes('2025-01-15 16:00+00', 'Asia/Kolkata', '21:00', '08:00'), '2025-01-16 02:30:00', 'which is five and a half hours ahead');
SELECT is(pg_temp.goes('2025-01-17 22:00+00', NULL, '21:00', '08:00', '{1,2,3,4,5}'), '2025-01-20 08:00:00', 'Friday night to Monday morning');
SELECT is(pg_temp.goes('2025-01-18 12:00+00', NULL, NULL, NULL, '{1}'), '2025-01-20 00:00:00', 'Saturday to Monday, at midnight');
SELECT is(pg_temp.goes('2025-01-20 12:00+00', NULL, NULL, NULL, '{1}'), 'now', 'on a Monday');
SELECT is(pg_temp.goes('2025-01-20 23:00+00', 'Asia/Kolkata', NULL, NULL, '{1}'), '2025-01-26 18:30:00', 'there it is Tuesday');
-- New York: 2025-03-09 02:00 EST is 03:00 EDT; 2025-11-02 02:00 EDT is 01:00 EST
SELECT is(pg_temp.goes('2025-03-09 05:00+00', 'America/New_York', '21:00', '08:00'), '2025-03-09 12:00:00', 'the night in which the clock leaps is an hour shorter');
SELECT is(pg_temp.goes('2025-03-08 05:00+00', 'America/New_York', '21:00', '08:00'), '2025-03-08 13:00:00', 'than the one before');
SELECT is(pg_temp.goes('2025-03-09 06:00+00', 'America/New_York', '21:00', '02:30'), '2025-03-09 07:00:00', 'an end that the clock leaps over has come when it has');
SELECT is(pg_temp.goes('2025-03-09 06:59:59+00', 'America/New_York', '02:15', '03:30'), 'now', 'before the leap');
SELECT is(pg_temp.goes('2025-03-09 07:00+00', 'America/New_York', '02:15', '03:30'), '2025-03-09 07:30:00', 'after it');
SELECT is(pg_temp.goes('2025-11-02 04:00+00', 'America/New_York', '21:00', '08:00'), '2025-11-02 13:00:00', 'the night in which it is put back is an hour longer');
SELECT is(pg_temp.goes('2025-11-02 05:45+00', 'America/New_York', '21:00', '01:30'), 'now', 'half past one for the first time');
SELECT is(pg_temp.goes('2025-11-02 06:15+00', 'America/New_York', '21:00', '01:30'), '2025-11-02 06:30:00', 'and, an hour later, not yet for the second');
SELECT is(pg_temp.goes('2025-11-02 06:15+00', 'America/New_York', '01:30', '05:00'), 'now', 'nor is it quiet there again');
-- each recipient once
SELECT is((SELECT count(*) || ' ' || sum(attempt) FROM mktg.outbox), '1 1', 'one message, leased once');
SELECT pg_temp.clear() \g /dev/null
SET LOCAL mktg.clock = '2025-01-15 23:00+00';
UPDATE mktg.contact SET time_zone = NULL;
SELECT mktg.set_sender('quiet', 'box', quiet_from => '21:00', quiet_until => '08:00') \g /dev/null
SELECT mktg.send(contact_id, 'hello', channel => 'whatsapp', sender => 'quiet') FROM mktg.contact WHERE tenant_id = 1 ORDER BY contact_id LIMIT 2 \g /dev/null
SELECT is(pg_temp.claims(), 2::bigint, 'transactional messages go at any hour');
SELECT pg_temp.record_all('sent'), pg_temp.clear() \g /dev/null
SELECT pg_temp.queued('night', 5, 'quiet') AS night \gset
SELECT is(pg_temp.claims(2), 0::bigint, 'at night nothing goes');
SELECT is((SELECT string_agg(due AT TIME ZONE 'UTC' || ' ' || n, ', ' ORDER BY due) FROM (SELECT due, count(*) AS n FROM mktg.outbox GROUP BY due) d),
    '2025-01-15 23:00:00 3, 2025-01-16 08:00:00 2', 'a claim puts off what it has looked at');
SELECT mktg.set_sender('loud', 'box') \g /dev/null
SELECT is(pg_temp.claims() || ' ' || pg_temp.claims(), '0 0', 'until all of it is');
SET LOCAL mktg.clock = '2025-01-16 08:00+00';
SELECT is(pg_temp.claims() || ' ' || pg_temp.claims(), '5 0', 'in the morning all of it goes, once');
SELECT pg_temp.record_all('sent'), pg_temp.clear() \g /dev/null

--
-- warm-up
--
SELECT mktg.set_sender('new', 'box', daily_limit => 4, warmup => '{1,3}', warmup_start => '2025-01-17') AS new \gset
SET LOCAL mktg.clock = '2025-01-16 09:00+00';
SELECT pg_temp.queued('ramp', 12, 'new') AS ramp \gset
SELECT is((SELECT string_agg(to_char(send_date, 'DD') || ' ' || batch_size, ', ' ORDER BY send_date) FROM mktg.send_schedule WHERE campaign_id = :ramp),
    '16 1, 17 1, 18 3, 19 4, 20 3', 'the plan keeps the ramp; before its beginning the first step holds');
UPDATE mktg.outbox SET due = '2025-01-16 09:00+00';
INSERT INTO mktg.outbox (campaign_id, contact_id, due) SELECT campaign_id, contact_id, '2025-01-16 09:00+00' FROM mktg.message WHERE campaign_id = :ramp AND status = 'pending';
UPDATE mktg.message SET status = 'queued', send_day = '2025-01-16' WHERE campaign_id = :ramp AND status = 'pending';
CREATE FUNCTION pg_temp.claims_on(day date) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('mktg.clock', (day + time '09:00')::text || '+00', true);
    RETURN pg_temp.claims();
END $$;
SELECT is((SELECT string_agg(pg_temp.claims_on(d::date)::text, ' ' ORDER BY d) FROM generate_series('2025-01-16'::date, '2025-01-20', '1 day') d), '1 1 3 4 3', 'so does the claim, whatever is queued');
SELECT is((SELECT limit_today || ' ' || used_today || ' ' || state FROM mktg.sender_status WHERE name = 'new'), '4 3 ready', 'after the ramp the daily limit alone holds');
SELECT mktg.set_sender('new', 'box', warmup => '{1,3}') \g /dev/null
SELECT is((SELECT warmup_start::text FROM mktg.sender WHERE name = 'new'), '2025-01-17', 'said again, a ramp keeps its beginning');
SELECT mktg.set_sender('newer', 'box', warmup => '{5}') \g /dev/null
SELECT is((SELECT warmup_start::text FROM mktg.sender WHERE name = 'newer'), '2025-01-20', 'unless said it begins today');
SELECT pg_temp.record_all('sent'), pg_temp.clear() \g /dev/null

--
-- budget of a month, in the tenant's time zone
--
SELECT mktg.set_sender('paid', 'box', monthly_budget => 10, cost_per_message => 2.5, tenant => 71) \g /dev/null
SET LOCAL mktg.clock = '2025-01-31 18:00+00';
SELECT pg_temp.queued('costly', 10, 'paid', tenant => 71) AS costly \gset
SELECT is(pg_temp.claims(3) || ' ' || pg_temp.claims(3), '3 1', 'four messages of 2.5 make ten');
SELECT is((SELECT spent_this_month || ' ' || state FROM mktg.sender_status WHERE name = 'paid'), '10.0 budget used up', 'and use the budget up');
SELECT is(pg_temp.record_all('retry') || ' ' || pg_temp.claims(), '4 4', 'further attempts cost nothing');
SELECT pg_temp.record_all('sent') \g /dev/null
SET LOCAL mktg.clock = '2025-01-31 18:29:59+00';
SELECT is(pg_temp.claims(), 0::bigint, 'to the last second of January in Asia/Kolkata');
SET LOCAL mktg.clock = '2025-01-31 18:30+00';
SELECT is(pg_temp.claims(), 4::bigint, 'February begins anew');
SELECT is((SELECT spent_this_month || ' ' || monthly_budget FROM mktg.sender_status WHERE name = 'paid'), '10.0 10', 'with nothing spent before');
SELECT pg_temp.record_all('sent'), pg_temp.clear() \g /dev/null

--
-- unique contacts in 24 hours, shared by the senders of a pool
--
SET LOCAL mktg.clock = '2025-02-03 09:00+00';
SELECT mktg.set_sender_pool('portfolio', 6) AS pool \gset
SELECT mktg.set_sender('number 1', 'box', pool => 'portfolio'), mktg.set_sender('number 2', 'box', pool => 'portfolio') \g /dev/null
SELECT pg_temp.queued('first', 4, 'number 1') AS first, pg_temp.queued('second', 10, 'number 2') AS second \gset
SELECT is(pg_temp.claims(4), 4::bigint, 'four contacts');
SET LOCAL mktg.clock = '2025-02-03 15:00+00';
SELECT pg_temp.record_all('sent') \g /dev/null
SELECT is(pg_temp.claims(), 6::bigint, 'six more messages: four contacts are known, two are new');
SELECT is((SELECT count(DISTINCT contact_id) FROM mktg.outbox WHERE lease IS NOT NULL) || ' ' || (SELECT used FROM mktg.sender_pool), '6 6', 'together six, over both senders');
SELECT is(pg_temp.claims(), 0::bigint, 'and no more');
SELECT is((SELECT string_agg(name || ' ' || pool_contacts || '/' || pool_limit || ' ' || state, ', ' ORDER BY name) FROM mktg.sender_status WHERE pool = 'portfolio'),
    'number 1 6/6 pool used up, number 2 6/6 pool used up', 'the status of both says so');
SELECT pg_temp.record_all('sent') \g /dev/null
SET LOCAL mktg.clock = '2025-02-04 09:00+00';
SELECT is((SELECT messages_queued FROM mktg.process_daily()), 4::bigint, 'the plan kept the rest for the next day');
SELECT is(pg_temp.claims(), 0::bigint, 'who was written to again counts from then');
SET LOCAL mktg.clock = '2025-02-04 14:59:59+00';
SELECT is(pg_temp.claims(), 0::bigint, 'for 24 hours');
SET LOCAL mktg.clock = '2025-02-04 15:00+00';
SELECT is(pg_temp.claims() || ' ' || pg_temp.one('SELECT used FROM mktg.sender_pool'), '4 4', 'then others may be');
SELECT is((SELECT count(*) FROM mktg.pool_contact), 4::bigint, 'who does not count is forgotten');
SELECT pg_temp.record_all('sent'), pg_temp.clear() \g /dev/null

--
-- frequency caps
--
SET LOCAL mktg.clock = '2025-03-03 09:00+00';
SELECT mktg.set_frequency_cap('two a week', 2, '7 days'), mktg.set_frequency_cap('one sms a day', 1, '1 day', channel => 'sms', action => 'skip') \g /dev/null
SELECT pg_temp.queued('one', 3, 'loud') AS one \gset
SELECT is(pg_temp.claims(), 3::bigint, 'the first');
SELECT is((SELECT count(*) FROM mktg.contact_send), 3::bigint, 'counts from the claim on');
SELECT pg_temp.record_all('sent') \g /dev/null
SET LOCAL mktg.clock = '2025-03-05 09:00+00';
SELECT pg_temp.queued('two', 3, 'loud') AS two, pg_temp.queued('three', 3, 'loud', channel => 'sms') AS three \gset
SELECT is(pg_temp.claims(), 3::bigint, 'of two to a contact at once one is claimed');
SELECT is(pg_temp.queue(), '3 waiting, 3 leased', 'the other is left');
SELECT is(pg_temp.claims(), 0::bigint, 'the third within the week waits');
SELECT is((SELECT string_agg(DISTINCT (due AT TIME ZONE 'UTC')::text, ' ') FROM mktg.outbox WHERE lease IS NULL), '2025-03-10 09:00:00', 'until the first is a week ago, over channels');
SELECT pg_temp.record_all('sent') \g /dev/null
SELECT mktg.send(contact_id, 'hello', channel => 'whatsapp', sender => 'loud') FROM mktg.contact WHERE tenant_id = 1 ORDER BY contact_id LIMIT 3 \g /dev/null
SELECT is(pg_temp.claims(), 3::bigint, 'transactional messages do not wait');
SELECT pg_temp.record_all('sent') \g /dev/null
SELECT is((SELECT count(*) FROM mktg.contact_send), 6::bigint, 'nor do they count');
SET LOCAL mktg.clock = '2025-03-10 09:00+00';
SELECT is(pg_temp.claims(), 3::bigint, 'after the week it goes');
SELECT is(pg_temp.record_all('retry') || ' ' || pg_temp.claims() || ' ' || (SELECT count(*) FROM mktg.contact_send), '3 3 9', 'further attempts neither count nor wait');
SELECT pg_temp.record_all('sent') \g /dev/null
SELECT pg_temp.queued('four', 3, 'loud', channel => 'sms') AS four \gset
SELECT is(pg_temp.claims(), 0::bigint, 'a second text on one day');
SELECT is(pg_temp.statuses(:four), 'skipped 3', 'is skipped');
SELECT is((SELECT string_agg(DISTINCT failure_reason, ' ') FROM mktg.message WHERE campaign_id = :four), 'frequency cap one sms a day', 'with the name of the cap');
SELECT is(mktg.drop_frequency_cap('one sms a day'), true, 'a cap is dropped');
SELECT is(mktg.drop_frequency_cap('one sms a day'), false, 'once');
SELECT mktg.drop_frequency_cap('two a week') \g /dev/null
DELETE FROM mktg.contact_send;
SELECT mktg.set_frequency_cap('two a week', 2, '7 days') \g /dev/null
SELECT is((SELECT count(*) FROM mktg.contact_send), 6::bigint, 'a cap knows what was sent before it was set');
SELECT mktg.drop_frequency_cap('two a week'), pg_temp.clear() \g /dev/null

--
-- expiry
--
SET LOCAL mktg.clock = '2025-04-01 09:00+00';
SELECT pg_temp.queued('offer of the day', 3, 'loud') AS offer \gset
SELECT mktg.set_delivery_limits(:offer, expires_at => '2025-04-01 10:00+00') \g /dev/null
SELECT is(pg_temp.claims(1), 1::bigint, 'before it expires a message goes');
SELECT pg_temp.record_all('retry') \g /dev/null
SET LOCAL mktg.clock = '2025-04-01 10:00+00';
SELECT is(pg_temp.claims() || ' ' || pg_temp.statuses(:offer), '0 skipped 3', 'from then on none, not even again');
SELECT is((SELECT string_agg(DISTINCT failure_reason, ' ') FROM mktg.message WHERE campaign_id = :offer), 'expired', 'with the reason');
SELECT mktg.send(contact_id, 'hello', channel => 'sms', sender => 'loud') AS code FROM mktg.contact WHERE tenant_id = 1 ORDER BY contact_id LIMIT 1 \gset
SELECT mktg.set_delivery_limits((SELECT max(campaign_id) FROM mktg.campaign WHERE type = 'transactional'), max_age => '10 minutes') \g /dev/null
SET LOCAL mktg.clock = '2025-04-01 10:10+00';
SELECT is(pg_temp.claims() || ' ' || pg_temp.one(format('SELECT failure_reason FROM mktg.message WHERE mktg._message_id(tenant_id, campaign_id, contact_id, ref) = %L', :'code')), '0 expired', 'a code that is ten minutes old is not sent');

--
-- a campaign pauses itself
--
SET LOCAL mktg.clock = '2025-04-02 09:00+00';
SELECT mktg.create_campaign('bouncing', 'whatsapp', 'hello', 'loud') AS bouncing \gset
INSERT INTO mktg.contact (phone) SELECT '+1202555' || 1000 + i FROM generate_series(1, 200) i;
INSERT INTO mktg.consent (contact_id, channel) SELECT contact_id, 'whatsapp' FROM mktg.contact WHERE phone LIKE '+1202555%' ON CONFLICT DO NOTHING;
SELECT mktg.add_recipients(:bouncing, array_agg(phone)) FROM mktg.contact WHERE phone LIKE '+1202555%' AND tenant_id = 1 \g /dev/null
SELECT mktg.activate_campaign(:bouncing, '2025-04-02'), mktg.set_delivery_limits(:bouncing, max_bounce_rate => 0.02, max_complaint_rate => 0.001), mktg.process_daily() \g /dev/null
SELECT pg_temp.claims(99), pg_temp.record_all('sent') \g /dev/null
CREATE FUNCTION pg_temp.report(campaign bigint, what text, n integer) RETURNS text LANGUAGE sql AS $$
    SELECT count(mktg.record_status(message, what)) || ' ' || left(pg_temp.claims(0)::text, 0) || pg_temp.one('SELECT concat_ws('' '', status, pause_reason) FROM mktg.campaign WHERE campaign_id = ' || $1)
      FROM (SELECT message FROM mktg.recipient r WHERE r.campaign_id = $1 AND r.status = 'sent' ORDER BY position LIMIT n) x
$$;
SELECT is(pg_temp.report(:bouncing, 'bounced', 3), '3 active', 'of 99 messages nothing is concluded');
SELECT pg_temp.claims(1), pg_temp.record_all('sent') \g /dev/null
SELECT pg_temp.report(:bouncing, 'bounced', 1) \g /dev/null
SELECT is((SELECT status || ' ' || pause_reason FROM mktg.campaign WHERE campaign_id = :bouncing), 'paused bounces: 4 of 100, over 0.02', 'of 100 it is');
SELECT is(pg_temp.claims(), 0::bigint, 'nothing more goes');
SELECT mktg.set_delivery_limits(:bouncing, max_bounce_rate => 0.1, max_complaint_rate => 0.01) \g /dev/null
SELECT is(mktg.resume_campaign(:bouncing) || ' ' || coalesce(pg_temp.one('SELECT pause_reason FROM mktg.campaign WHERE campaign_id = ' || :bouncing), '-'), 'active -', 'with another limit it is resumed');
SELECT mktg.process_daily(), pg_temp.claims(50), pg_temp.record_all('sent') \g /dev/null
SELECT is(pg_temp.report(:bouncing, 'complained', 2), '2 paused complaints: 2 of 146, over 0.01', 'complaints stop it as well');
SELECT is((SELECT count(*) FROM mktg.suppression WHERE reason = 'complaint') || ' ' || (SELECT count(*) FROM mktg.consent WHERE state = 'unsubscribed' AND reason = 'reported by provider'), '2 2', 'who complains is suppressed and unsubscribed');

--
-- mktg.why() and mktg.rehearse()
--
CREATE FUNCTION pg_temp.why(contact bigint, campaign bigint) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(gate || ': ' || detail, '; ') FILTER (WHERE NOT passed), 'all open') FROM mktg.why(contact, campaign)
$$;
SELECT contact_id AS c1 FROM mktg.contact WHERE tenant_id = 1 ORDER BY contact_id LIMIT 1 \gset
SELECT pg_temp.clear() \g /dev/null
SET LOCAL mktg.clock = '2025-05-05 09:00+00';
SELECT mktg.create_campaign('asked', 'whatsapp', 'hello', 'loud') AS asked \gset
SELECT is(pg_temp.why(:c1, :asked), 'campaign: draft; audience: not a recipient; outcome: waits: campaign, draft', 'a draft');
SELECT mktg.add_recipients(:asked, ARRAY[:c1, :c1 + 1, :c1 + 2]), mktg.activate_campaign(:asked, '2025-05-06') \g /dev/null
SELECT is(pg_temp.why(:c1, :asked), 'schedule: planned for 2025-05-06; outcome: waits: schedule, planned for 2025-05-06', 'a planned recipient');
SET LOCAL mktg.clock = '2025-05-06 22:00+00';
SELECT mktg.process_daily() \g /dev/null
SELECT is(pg_temp.why(:c1, :asked), 'all open', 'a queued one');
SELECT is((SELECT string_agg(gate, ' ') FROM mktg.why(:c1, :asked)), 'campaign audience expiry contact address suppression consent schedule quiet hours frequency caps sender daily limit budget pool rate outcome', 'every gate is named, in order');
SELECT mktg.set_sender('loud', 'box', quiet_from => '21:00', quiet_until => '08:00', daily_limit => 1) \g /dev/null
INSERT INTO mktg.sender_state (tenant_id, sender_id, day, tokens_at, resting_until, rest_reason) SELECT 1, sender_id, '2025-05-06', now(), clock_timestamp() + interval '1 hour', 'HTTP 503'
  FROM mktg.sender WHERE name = 'loud' AND tenant_id = 1;
SELECT mktg.unsubscribe(:c1, 'whatsapp'), mktg.suppress('whatsapp', (SELECT phone FROM mktg.contact WHERE contact_id = :c1 + 1 AND tenant_id = 1), 'stop') \g /dev/null
SELECT matches(pg_temp.why(:c1, :asked), '^consent: marketing unsubscribed; quiet hours: closed in UTC until 2025-05-07 08:00:00[^;]*; sender: loud rests until [^;]*: HTTP 503; outcome: will not be sent: consent', 'every gate that is closed is told, the first decides');
SELECT matches(pg_temp.why(:c1 + 1, :asked), '^suppression: stop; ', 'suppression');
SELECT matches(pg_temp.why(:c1 + 2, :asked), '^quiet hours: .*; outcome: waits: quiet hours', 'one that waits');
SELECT is(mktg.reset_sender('loud') || ' ' || mktg.reset_sender('loud'), 'true false', 'the rest of a sender is ended, once');
SELECT is(pg_temp.rows(format('SELECT contact_id - %s, action, reason, send_at FROM mktg.rehearse(%s) ORDER BY 1', :c1, :asked)),
    '(0,skip,unsubscribed,) (1,skip,suppressed,) (2,send,"quiet hours","2025-05-07 08:00:00+00")', 'a rehearsal of a running campaign');
SELECT mktg.create_campaign('draft', 'sms', 'hello', 'costly', daily_send_limit => 2) AS draft FROM mktg.set_sender('costly', 'box', monthly_budget => 5, cost_per_message => 1.25) \gset
SELECT mktg.add_recipients(:draft, array_agg(contact_id)) FROM (SELECT contact_id FROM mktg.contact WHERE tenant_id = 1 ORDER BY contact_id OFFSET 5 LIMIT 6) x \g /dev/null
SELECT is(pg_temp.rows(format('SELECT "position", send_date, action, reason, cost FROM mktg.rehearse(%s) ORDER BY 1', :draft)),
    '(1,2025-05-06,send,,1.25) (2,2025-05-06,send,,1.25) (3,2025-05-07,send,,1.25) (4,2025-05-07,send,,1.25) (5,2025-05-08,wait,"budget used up",) (6,2025-05-08,wait,"budget used up",)',
    'of a draft: who, when, at what cost, and where the budget ends');
SELECT is((SELECT status FROM mktg.campaign WHERE campaign_id = :draft) || ' ' || (SELECT count(*) FROM mktg.send_schedule WHERE campaign_id = :draft), 'draft 0', 'which it still is, and without a plan');

--
-- what is refused
--
SELECT throws_ok(format('SELECT mktg.set_sender(%L, %L, %s)', 'x', 'box', arguments), code, message, arguments) FROM (VALUES
    ('fallback => ''nowhere''', 'MK016', 'provider "nowhere" does not exist'),
    ('pool => ''none''', 'MK015', 'sender pool "none" does not exist'),
    ('warmup => ''{}''', 'MK021', 'warmup must have 1 to 366 elements'),
    ('warmup => ''{5,0}''', 'MK021', 'a day of warmup must be at least 1'),
    ('warmup => ''{5,NULL}''', '22004', 'warmup must not hold a NULL'),
    ('warmup_start => ''2025-01-01''', 'MK021', 'warmup_start without warmup'),
    ('monthly_budget => 100', 'MK021', 'monthly_budget without cost_per_message'),
    ('monthly_budget => -1, cost_per_message => 1', 'MK021', 'monthly_budget must be 0 or more'),
    ('cost_per_message => ''NaN''', 'MK021', 'cost_per_message must be 0 or more'),
    ('quiet_from => ''21:00''', 'MK024', 'quiet hours need a beginning and an end'),
    ('quiet_from => ''21:00'', quiet_until => ''21:00''', 'MK024', 'quiet hours must end at another time than they begin'),
    ('weekdays => ''{0}''', 'MK024', 'weekday 0 does not exist'),
    ('weekdays => ''{}''', 'MK021', 'weekdays must have 1 to 7 elements')) AS v (arguments, code, message);
SELECT throws_ok($$SELECT mktg.set_sender_pool('p', 0)$$, 'MK021', NULL, 'a pool for nobody');
SELECT throws_ok($$SELECT mktg.set_frequency_cap('f', 1, '0')$$, 'MK024', NULL, 'a window of nothing');
SELECT throws_ok($$SELECT mktg.set_frequency_cap('f', 1, '1 day', type => 'transactional')$$, 'MK024', NULL, 'a cap on transactional messages');
SELECT throws_ok($$SELECT mktg.set_frequency_cap('f', 1, '1 day', channel => 'ads')$$, 'MK024', NULL, 'a cap on uploads to advertisers');
SELECT throws_ok($$SELECT mktg.set_frequency_cap('f', 1, '1 day', action => 'drop')$$, 'MK024', NULL, 'an unknown action');
SELECT throws_ok(format('SELECT mktg.set_delivery_limits(%s, max_bounce_rate => 1.5)', :draft), 'MK021', NULL, 'a share over one');
SELECT throws_ok(format('SELECT mktg.set_delivery_limits(%s, max_age => ''-1 day'')', :draft), 'MK024', NULL, 'a negative age');
SELECT throws_ok('SELECT mktg.why(1, -1)', 'MK014', NULL, 'why() of no campaign');
SELECT throws_ok('SELECT * FROM mktg.rehearse(' || :offer || ')', 'MK033', NULL, 'a cancelled campaign cannot be rehearsed');

SELECT * FROM finish();
ROLLBACK;
