\set ECHO none
\i test/setup.sql
BEGIN;
\i test/fixture.sql
SELECT plan(73);
SET LOCAL mktg.clock = '2025-01-15 09:00+00';
INSERT INTO mktg.tenant (tenant_id, name, time_zone) VALUES (71, 'India', 'Asia/Kolkata');
SELECT mktg.create_template('hello', 'whatsapp', body => 'Hello'), mktg.create_template('hello', 'whatsapp', body => 'Hello', tenant => 71) \g /dev/null
SELECT pg_temp.people(100) AS p, pg_temp.people(20, tenant => 71) AS q \gset

-- n messages of their own, from contact number "skip" + 1 on, as of an application.
CREATE FUNCTION pg_temp.sends(n integer, sender text, skip integer DEFAULT 0, tenant bigint DEFAULT 1) RETURNS void LANGUAGE sql AS $$
    SELECT count(mktg.send(contact_id, 'hello', channel => 'whatsapp', sender => sender, tenant => tenant))
      FROM (SELECT contact_id FROM mktg.contact c WHERE c.tenant_id = tenant ORDER BY contact_id OFFSET skip LIMIT n) c
$$;
CREATE FUNCTION pg_temp.claims(most integer DEFAULT 1000) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM mktg._claim(1::smallint, most)';
-- A running campaign of n contacts, all of it queued.
CREATE FUNCTION pg_temp.queued(name text, n integer, priority integer DEFAULT 5, sender text DEFAULT NULL, skip integer DEFAULT 0) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    c bigint := mktg.create_campaign(name, 'whatsapp', 'hello', sender, priority => priority);
BEGIN
    PERFORM mktg.add_recipients(c, array_agg(contact_id)) FROM (SELECT contact_id FROM mktg.contact WHERE tenant_id = 1
        ORDER BY contact_id OFFSET skip LIMIT n) x;
    PERFORM mktg.activate_campaign(c, (mktg.clock() AT TIME ZONE 'UTC')::date);
    PERFORM mktg.process_daily();
    RETURN c;
END $$;

--
-- claim and record
--
SELECT pg_temp.queued('c', 10) AS c \gset
CREATE TEMP TABLE taken AS SELECT * FROM mktg._claim(3::smallint, 4);
SELECT is(pg_temp.rows('SELECT count(*), count(DISTINCT message), count(DISTINCT lease), min(attempt), max(attempt) FROM taken'), '(4,4,1,1,1)', 'a claim takes as many as it is told, under one lease');
SELECT is(pg_temp.rows('SELECT count(*), count(lease), min(worker), max(worker), sum(attempt) FROM mktg.outbox'), '(10,4,3,3,4)', 'the attempt counts from the claim on');
SELECT is(pg_temp.statuses(:c), 'queued 10', 'messages are queued until it is recorded');
SELECT is(pg_temp.claims(), 6::bigint, 'the next claim has the others');
SELECT is(pg_temp.claims(), 0::bigint, 'and one more has nothing');
SELECT is((SELECT string_agg(mktg._record(message, lease + 1, outcome)::text, ' ') FROM taken, unnest('{sent,failed,retry,release,in_doubt}'::text[]) AS outcome WHERE message = (SELECT min(message) FROM taken)),
    'false false false false false', 'a record under another lease changes nothing');
SELECT is((SELECT o.lease IS NOT NULL AND o.attempt = 1 FROM mktg.outbox o JOIN taken t ON t.message = mktg._message_id(o.tenant_id, o.campaign_id, o.contact_id, o.ref) AND t.lease = o.lease
            WHERE message = (SELECT min(message) FROM taken)), true, 'the row is still leased');
CREATE TEMP TABLE outcomes AS SELECT message, lease, row_number() OVER (ORDER BY message) AS n,
    (ARRAY['sent', 'failed', 'bounced', 'in_doubt'])[row_number() OVER (ORDER BY message)] AS outcome FROM taken;
SELECT is((SELECT string_agg(mktg._record(message, lease, outcome, 'because')::text, ' ') FROM outcomes), 'true true true true', 'recorded');
SELECT is((SELECT string_agg(mktg._record(message, lease, 'sent')::text, ' ') FROM outcomes), 'false false false false', 'once');
SELECT is((SELECT string_agg(concat_ws(' ', m.status, attempts, to_char(sent_at, 'HH24'), to_char(failed_at, 'HH24'), failure_reason), ', ' ORDER BY n)
    FROM outcomes JOIN mktg.message m ON message = mktg._message_id(m.tenant_id, m.campaign_id, m.contact_id, m.ref)),
    'sent 1 09, failed 1 09 because, bounced 1 09 because, in_doubt 1 09 because', 'each outcome');
SELECT is(pg_temp.rows('SELECT count(*), count(lease) FROM mktg.outbox'), '(6,6)', 'ended messages leave the queue');

-- retry and release
CREATE TEMP TABLE again AS SELECT mktg._message_id(tenant_id, campaign_id, contact_id, ref) AS message, lease FROM mktg.outbox ORDER BY contact_id LIMIT 2;
SELECT is((SELECT string_agg(mktg._record(message, lease, outcome)::text, ' ') FROM (SELECT message, lease, (ARRAY['retry', 'release'])[row_number() OVER (ORDER BY message)] AS outcome FROM again) x),
    'true true', 'to be tried again, and never begun');
SELECT is((SELECT string_agg(concat_ws(' ', o.attempt, o.lease, o.worker), ', ' ORDER BY contact_id) FROM mktg.outbox o JOIN again a ON a.message = mktg._message_id(o.tenant_id, o.campaign_id, o.contact_id, o.ref)),
    '1, 0', 'both wait; what was never begun burns no attempt');
SELECT is((SELECT string_agg(mktg._record(message, lease, 'sent')::text, ' ') FROM again), 'false false', 'the old lease is worth nothing');
CREATE TEMP TABLE second AS SELECT * FROM mktg._claim(1::smallint, 100);
SELECT is((SELECT string_agg(attempt::text, ' ' ORDER BY message) FROM second), '2 1', 'the second attempt is counted');
SELECT mktg._record(message, lease, 'retry') FROM second \g /dev/null
SELECT is((SELECT string_agg(attempt::text, ' ' ORDER BY message) FROM mktg._claim(1::smallint, 100)), '3 2', 'and the third');
SELECT is((SELECT string_agg(mktg._record(mktg._message_id(tenant_id, campaign_id, contact_id, ref), lease, 'sent')::text, ' ') FROM mktg.outbox), 'true true true true true true', 'all end');
SELECT is((SELECT string_agg(attempts::text, ' ' ORDER BY mktg._message_id(tenant_id, campaign_id, contact_id, ref)) FROM mktg.message
            JOIN again ON message = mktg._message_id(tenant_id, campaign_id, contact_id, ref)), '3 2', 'the message keeps how many it took');
SELECT is((SELECT count(*) FROM mktg.outbox), 0::bigint, 'the queue is empty');
SELECT is(mktg.rebuild_stats(:c), 0::bigint, 'counters equal a recount');
SELECT is(pg_temp.refusal('SELECT mktg._record(' || arguments || ')'), refused, arguments) FROM (VALUES
    ('''1-1-1'', 1, ''lost''', 'MK018 | there is no such message or outcome | Outcomes are sent, failed, bounced, in_doubt, retry and release.'),
    ('''nonsense'', 1, ''sent''', 'MK018 | there is no such message or outcome | Outcomes are sent, failed, bounced, in_doubt, retry and release.'),
    ('NULL, 1, ''sent''', '22004 | argument "message" must not be NULL | Give a value for "message".'),
    ('''1-1-1'', NULL, ''sent''', '22004 | argument "lease" must not be NULL | Give a value for "lease".'),
    ('''1-1-1'', 1, NULL', '22004 | argument "outcome" must not be NULL | Give a value for "outcome".')) AS t (arguments, refused);
SELECT is(mktg._record('1-1-1', 1, 'sent'), false, 'of a message that is not there');

--
-- who has left since it was queued
--
SELECT pg_temp.queued('gone', 10, skip => 10) AS c \gset
CREATE TEMP TABLE ten AS SELECT contact_id, address, position FROM mktg.message WHERE campaign_id = :c;
CREATE FUNCTION pg_temp.nth(n integer) RETURNS bigint LANGUAGE sql AS 'SELECT contact_id FROM ten WHERE position = n';
SELECT mktg.unsubscribe(pg_temp.nth(1), 'whatsapp'), mktg.unsubscribe(pg_temp.nth(2), 'email'), mktg.suppress('whatsapp', (SELECT address FROM ten WHERE position = 3)) \g /dev/null
UPDATE mktg.contact SET is_active = false WHERE contact_id = pg_temp.nth(4);
DELETE FROM mktg.contact WHERE contact_id = pg_temp.nth(5);
DELETE FROM mktg.message WHERE contact_id = pg_temp.nth(6) AND campaign_id = :c;
UPDATE mktg.message SET status = 'cancelled' WHERE contact_id = pg_temp.nth(7) AND campaign_id = :c;
UPDATE mktg.outbox SET due = due + interval '1 s' WHERE contact_id = pg_temp.nth(8);
UPDATE mktg.outbox SET deaths = 1 WHERE contact_id = pg_temp.nth(9);
SELECT is((SELECT string_agg(position::text, ' ' ORDER BY position) FROM mktg._claim(1::smallint, 100) k JOIN ten ON k.message = mktg._message_id(1, :c, contact_id, '')), '2 10',
    'consent, suppression and contact are asked at the claim');
SELECT is((SELECT string_agg(concat_ws(' ', position, m.status, m.failure_reason), ', ' ORDER BY position) FROM mktg.message m JOIN ten USING (contact_id, position) WHERE campaign_id = :c AND m.status <> 'queued'),
    '1 skipped unsubscribed, 3 skipped suppressed, 4 skipped inactive, 5 skipped inactive, 7 cancelled', 'who has left is skipped, with the reason');
SELECT is((SELECT string_agg(position || CASE WHEN lease IS NULL THEN ' waits' ELSE ' leased' END, ', ' ORDER BY position) FROM mktg.outbox JOIN ten USING (contact_id) WHERE campaign_id = :c),
    '2 leased, 8 waits, 9 waits, 10 leased', 'what is not due waits, and what a worker died with; what has no message is gone');
SELECT is(mktg.rebuild_stats(:c), 0::bigint, 'counters equal a recount');
SELECT mktg.cancel_campaign(:c) \g /dev/null
DELETE FROM mktg.outbox;

--
-- pause, senders that are not active, order of lanes
--
SELECT pg_temp.queued('five', 4, 5, skip => 40) AS five, pg_temp.queued('nine', 4, 9, skip => 40) AS nine, pg_temp.queued('one', 4, 1, skip => 40) AS one \gset
SELECT pg_temp.sends(2, 'sandbox', 40) \g /dev/null
-- Names of the campaigns a claim of so many takes from, with the numbers.
CREATE FUNCTION pg_temp.taken_from(most integer) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(name || ' ' || n, ', ' ORDER BY priority DESC) FROM (SELECT c.name, c.priority, count(*) AS n FROM mktg._claim(1::smallint, most) k
        JOIN mktg.campaign c ON k.message LIKE format('%s-%s-%%', c.tenant_id, c.campaign_id) GROUP BY 1, 2) x
$$;
SELECT is(pg_temp.taken_from(3), 'hello 2, nine 1', 'messages of applications first, then the higher priority');
SELECT is(pg_temp.taken_from(5), 'nine 3, five 2', 'and so on down');
SELECT mktg.pause_campaign(:five) \g /dev/null
SELECT is(pg_temp.taken_from(1), 'one 1', 'a paused campaign is passed by');
SELECT mktg.resume_campaign(:five) \g /dev/null
SELECT is(pg_temp.taken_from(100), 'five 2, one 3', 'and is back when it is resumed');
DELETE FROM mktg.outbox;
SELECT count(pg_temp.queued(format('%s', p), 2, p, skip => 50)) FROM generate_series(1, 10) AS p \g /dev/null
SELECT is(string_agg(pg_temp.taken_from(4), ' / ' ORDER BY i), '10 2, 9 2 / 8 2, 7 2 / 6 2, 5 2 / 4 2, 3 2 / 2 2, 1 2', 'ten lanes in their order') FROM generate_series(1, 5) AS i;
DELETE FROM mktg.outbox;
SELECT pg_temp.queued('due', 3, skip => 60) AS due \gset
UPDATE mktg.outbox SET due = due - contact_id * interval '1 minute';
SELECT is((SELECT split_part(message, '-', 3)::bigint FROM mktg._claim(1::smallint, 1)), (SELECT max(contact_id) FROM mktg.message WHERE campaign_id = :due), 'within a lane what was due first');
UPDATE mktg.sender SET is_active = false WHERE tenant_id = 1;
SELECT is(pg_temp.claims(), 0::bigint, 'nothing of a sender that is not active');
UPDATE mktg.sender SET is_active = true WHERE tenant_id = 1;
SELECT is(pg_temp.claims(), 2::bigint, 'until it is');
DELETE FROM mktg.outbox;
UPDATE mktg.campaign SET status = 'cancelled' WHERE status IN ('active', 'paused');

--
-- the sender's daily limit
--
SELECT mktg.set_sender('phone', 'mktg_sandbox', daily_limit => 10) AS phone, mktg.set_sender('free', 'mktg_sandbox') AS free \gset
SELECT pg_temp.queued('within', 8, 5, 'phone') AS within \gset
SELECT pg_temp.sends(7, 'phone', 20), pg_temp.sends(5, 'free', 20) \g /dev/null
SELECT is((SELECT count(*) FROM mktg.outbox), 20::bigint, 'twenty in the queue, fifteen of them the phone''s');
-- Records every leased message of a sender.
CREATE FUNCTION pg_temp.record_all(sender_name text, outcome text) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FILTER (WHERE mktg._record(mktg._message_id(tenant_id, campaign_id, contact_id, ref), lease, outcome)) FROM
        (SELECT o.* FROM mktg.outbox o JOIN mktg.campaign c USING (tenant_id, campaign_id) JOIN mktg.sender s USING (tenant_id, sender_id)
          WHERE s.name = sender_name AND lease IS NOT NULL) x
$$;
CREATE FUNCTION pg_temp.day_of(sender bigint) RETURNS text LANGUAGE sql AS $$SELECT day || ' ' || used FROM mktg.sender_state WHERE sender_id = sender$$;
SELECT is(string_agg(pg_temp.claims(3)::text, ' ' ORDER BY i), '3 3 3 3 3 0 0', 'in claims of three') FROM generate_series(1, 7) AS i;
SELECT is((SELECT string_agg(name || ' ' || n, ', ' ORDER BY name) FROM (SELECT s.name, count(lease) AS n FROM mktg.outbox o JOIN mktg.campaign c USING (tenant_id, campaign_id)
    JOIN mktg.sender s USING (tenant_id, sender_id) GROUP BY s.name) x), 'free 5, phone 10', 'exactly ten of the phone''s, over its campaigns');
SELECT is(pg_temp.day_of(:phone), '2025-01-15 10', 'as the sender''s state has it');
SELECT is((SELECT count(*) FROM mktg.sender_state WHERE sender_id = :free), 0::bigint, 'a sender without caps has none');
SELECT is(pg_temp.record_all('free', 'sent') || ' ' || pg_temp.record_all('phone', 'retry'), '5 10', 'the ten are to be tried again');
SELECT is(pg_temp.claims(), 10::bigint, 'which they are, as they count once');
SELECT is(pg_temp.day_of(:phone), '2025-01-15 10', 'further attempts are not counted');
SELECT is(pg_temp.record_all('phone', 'retry') || ' ' || pg_temp.claims(4) || ' ' || pg_temp.record_all('phone', 'sent') || ' ' || pg_temp.claims(), '10 4 4 6', 'and again');
SELECT is(pg_temp.record_all('phone', 'sent') || ' ' || pg_temp.claims(), '6 0', 'then the day is over for the sender');
SET LOCAL mktg.clock = '2025-01-15 23:59:59+00';
SELECT is(pg_temp.claims(), 0::bigint, 'to its last second');
SET LOCAL mktg.clock = '2025-01-16 00:00+00';
SELECT is(pg_temp.claims(3), 3::bigint, 'the next day begins anew');
SELECT is(pg_temp.day_of(:phone), '2025-01-16 3', 'from nothing');
SET LOCAL mktg.clock = '2025-01-16 09:00+00';
SELECT is(pg_temp.claims() || ' ' || pg_temp.day_of(:phone), '2 2025-01-16 5', 'the two that were left');
SELECT pg_temp.sends(8, 'phone', 70) \g /dev/null
SELECT is(pg_temp.claims() || ' ' || pg_temp.claims() || ' ' || pg_temp.day_of(:phone), '5 0 2025-01-16 10', 'to exactly ten');
SET LOCAL mktg.clock = '2025-01-17 00:30+00';
SELECT is(pg_temp.claims() || ' ' || pg_temp.day_of(:phone), '3 2025-01-17 3', 'three more on the next');
DELETE FROM mktg.outbox;
-- skipped messages do not count, and a limit that is lowered holds at once
SET LOCAL mktg.clock = '2025-01-18 09:00+00';
SELECT pg_temp.queued('skips', 6, 5, 'phone', 80) AS skips \gset
SELECT mktg.unsubscribe(contact_id, 'whatsapp') FROM mktg.message WHERE campaign_id = :skips ORDER BY contact_id LIMIT 4 \g /dev/null
SELECT is(pg_temp.claims() || ' ' || pg_temp.day_of(:phone), '2 2025-01-18 2', 'who is skipped does not count');
SELECT pg_temp.sends(9, 'phone', 86) \g /dev/null
UPDATE mktg.sender SET daily_limit = 5 WHERE sender_id = :phone;
SELECT is(pg_temp.claims() || ' ' || pg_temp.claims() || ' ' || pg_temp.day_of(:phone), '3 0 2025-01-18 5', 'a limit that is lowered holds at once');
UPDATE mktg.sender SET daily_limit = NULL WHERE sender_id = :phone;
SELECT is(pg_temp.claims(), 6::bigint, 'and so does one that is lifted');
DELETE FROM mktg.outbox;
-- the day is the tenant's: midnight in India is 18:30 UTC
SELECT mktg.set_sender('phone', 'mktg_sandbox', daily_limit => 2, tenant => 71) AS indian \gset
SELECT pg_temp.sends(5, 'phone', tenant => 71) \g /dev/null
SET LOCAL mktg.clock = '2025-01-18 18:29:59+00';
SELECT is(pg_temp.claims() || ' ' || pg_temp.claims() || ' ' || pg_temp.day_of(:indian), '2 0 2025-01-18 2', 'the day is the tenant''s');
SET LOCAL mktg.clock = '2025-01-18 18:30+00';
SELECT is(pg_temp.claims() || ' ' || pg_temp.claims() || ' ' || pg_temp.day_of(:indian), '2 0 2025-01-19 2', 'and begins at its midnight');
DELETE FROM mktg.outbox;

--
-- the sender's rate
--
SET LOCAL mktg.clock = '2025-01-18 09:00+00';
SELECT mktg.set_sender('slow', 'mktg_sandbox', rate_per_second => 5) AS slow \gset
SELECT pg_temp.sends(20, 'slow', 20) \g /dev/null
-- What a sender whose tokens were used up that long ago may take.
CREATE FUNCTION pg_temp.claims_after(seconds double precision, sender bigint, most integer DEFAULT 1000) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    UPDATE mktg.sender_state SET tokens = 0, tokens_at = clock_timestamp() - seconds * interval '1 s' WHERE sender_id = sender;
    RETURN pg_temp.claims(most);
END $$;
SELECT is(pg_temp.claims(), 5::bigint, 'a second''s worth at first');
SELECT is(pg_temp.claims_after(0, :slow), 0::bigint, 'then nothing');
SELECT is(pg_temp.claims_after(0.4, :slow), 2::bigint, 'two after two fifths of a second');
SELECT is(pg_temp.claims_after(3600, :slow, 2) || ' ' || pg_temp.claims(), '2 3', 'an hour gathers no more than a second''s worth');
SELECT is(pg_temp.record_all('slow', 'retry'), 12::bigint, 'twelve are to be tried again');
SELECT is(pg_temp.claims_after(1, :slow), 5::bigint, 'further attempts have no other rate');
DELETE FROM mktg.outbox;
SELECT mktg.set_sender('slower', 'mktg_sandbox', rate_per_second => 0.5, daily_limit => 2) AS slower \gset
SELECT pg_temp.sends(5, 'slower', 20) \g /dev/null
SELECT is(pg_temp.claims(), 0::bigint, 'one in two seconds: not yet');
SELECT is(pg_temp.claims_after(2, :slower), 1::bigint, 'one');
SELECT is(pg_temp.claims_after(100, :slower), 1::bigint, 'and one, however long it waits');
SELECT is(pg_temp.claims_after(100, :slower) || ' ' || pg_temp.day_of(:slower), '0 2025-01-18 2', 'the daily limit holds beside the rate');
SELECT is(pg_temp.record_all('slower', 'retry'), 2::bigint, 'two are to be tried again');
SELECT is(pg_temp.claims() || ' ' || pg_temp.claims(), '1 0', 'at the sender''s rate');
SELECT is((SELECT count(*) FILTER (WHERE lease IS NULL) || ' ' || count(lease) FROM mktg.outbox), '4 1', 'what is enqueued waits or is leased');
SELECT is(pg_temp.miscounted(), 0::bigint, 'counters equal a recount');

SELECT * FROM finish();
ROLLBACK;
