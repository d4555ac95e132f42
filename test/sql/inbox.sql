\set ECHO none
\i test/setup.sql
BEGIN;
\i test/fixture.sql
SELECT plan(33);
SET LOCAL mktg.clock = '2025-01-15 09:00+00';
INSERT INTO mktg.tenant (tenant_id, name) VALUES (71, 'other');
CREATE SERVER inbox FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'in_app');
SELECT mktg.create_template('hello', 'in_app', 'Hi {{name}}', body => 'Come in') \g /dev/null
SELECT mktg.create_template('hello', 'in_app', body => 'Come in', tenant => 71) \g /dev/null
SELECT mktg.set_sender('app', 'inbox', 'in_app', tenant => tenant) FROM unnest('{1,71}'::bigint[]) AS tenant \g /dev/null
SELECT pg_temp.people(3, '{in_app}') AS ann \gset
SELECT :ann + 1 AS bob, :ann + 2 AS cat, pg_temp.people(1, '{in_app}', 71) AS other \gset

--
-- the driver's options
--
SELECT throws_ok($$ALTER SERVER inbox OPTIONS (ADD keep_days '0')$$, 'MK041', NULL, 'no days');
SELECT throws_ok($$ALTER SERVER inbox OPTIONS (ADD keep_days '3651')$$, 'MK041', NULL, 'more than ten years');
SELECT throws_ok($$ALTER SERVER inbox OPTIONS (ADD timeout_ms '5')$$, 'HV00D', NULL, 'an option of drivers with a network');
SELECT lives_ok($$ALTER SERVER inbox OPTIONS (ADD keep_days '30')$$, 'thirty days');

--
-- inbox(): as the worker leaves it
--
SELECT mktg.send(:ann, 'hello', '{}', 'in_app', sender => 'app', idempotency_key => 'a') AS first, mktg.send(:ann, 'hello', '{}', 'in_app', sender => 'app', idempotency_key => 'b') AS second,
       mktg.send(:bob, 'hello', '{}', 'in_app', sender => 'app', idempotency_key => 'a') AS bobs, mktg.send(:other, 'hello', '{}', 'in_app', sender => 'app', idempotency_key => 'a', tenant => 71) AS others \gset
SELECT pg_temp.drain() \g /dev/null
CREATE FUNCTION pg_temp.leave(after interval DEFAULT '0', days integer DEFAULT 30) RETURNS bigint LANGUAGE sql AS $$
    WITH made AS (INSERT INTO mktg.inbox_message (tenant_id, contact_id, campaign_id, ref, title, body, data, created_at, expires_at)
        SELECT tenant_id, contact_id, campaign_id, ref, 'Hi', 'Come in ' || ref, '{"url": "/sale"}',
               mktg.clock() + CASE ref WHEN 'b' THEN after ELSE '0' END, mktg.clock() + make_interval(days => days)
          FROM mktg.message WHERE status = 'sent' RETURNING 1)
    SELECT count(*) FROM made
$$;
SELECT is(pg_temp.leave('1 minute'), 4::bigint, 'four messages, in two tenants');
SELECT is(pg_temp.rows(format($$SELECT message, title, body, data, created_at, read_at, expires_at FROM mktg.inbox(%s)$$, :ann)),
    format('(%s,Hi,"Come in b","{""url"": ""/sale""}","2025-01-15 09:01:00+00",,"2025-02-14 09:00:00+00") ', :'second')
    || format('(%s,Hi,"Come in a","{""url"": ""/sale""}","2025-01-15 09:00:00+00",,"2025-02-14 09:00:00+00")', :'first'),
    'a contact''s messages, newest first');
SELECT is((SELECT campaign FROM mktg.inbox(:ann) LIMIT 1), (SELECT campaign_id FROM mktg.message WHERE contact_id = :ann AND ref = 'b'), 'of which campaign');
SELECT is(pg_temp.rows(format('SELECT message FROM mktg.inbox(%s)', :bob)), format('(%s)', :'bobs'), 'another contact''s');
SELECT is(pg_temp.rows(format('SELECT message FROM mktg.inbox(%s)', :cat)), NULL, 'an empty inbox');
SELECT is(pg_temp.rows(format('SELECT message FROM mktg.inbox(%s, 71)', :other)), format('(%s)', :'others'), 'another tenant''s');
SELECT matches(pg_temp.refusal(format('SELECT * FROM mktg.inbox(%s)', :other)), '^MK011 ', 'whose contacts have none here');
SELECT matches(pg_temp.refusal('SELECT * FROM mktg.inbox(1, 99)'), '^MK010 ', 'no such tenant');
SELECT matches(pg_temp.refusal('SELECT * FROM mktg.inbox(0)'), '^MK011 ', 'no such contact');
SELECT matches(pg_temp.refusal('SELECT * FROM mktg.inbox(NULL)'), '^22004 ', 'contact NULL');
SELECT matches(pg_temp.refusal('SELECT * FROM mktg.inbox(1, NULL)'), '^22004 ', 'tenant NULL');

--
-- mark_read()
--
SELECT is(mktg.mark_read(:'first', '2025-01-15 10:00+00'), true, 'a message is read');
SELECT is(mktg.mark_read(:'first', '2025-01-15 11:00+00'), false, 'again');
SELECT is(mktg.mark_read(:'second'), true, 'another one, by now');
SELECT is(pg_temp.rows(format('SELECT message, read_at FROM mktg.inbox(%s)', :ann)),
    format('(%s,"2025-01-15 09:00:00+00") (%s,"2025-01-15 10:00:00+00")', :'second', :'first'), 'the first time counts');
SELECT is(pg_temp.rows(format($$SELECT status, read_at FROM mktg.message WHERE contact_id = %s AND ref = 'a'$$, :ann)),
    '(read,"2025-01-15 10:00:00+00")', 'the message is read');
SELECT is((SELECT read FROM mktg.campaign_stats((SELECT campaign_id FROM mktg.message WHERE contact_id = :ann AND ref = 'a'))), 2::bigint, 'and counted');
SELECT is(pg_temp.miscounted(), 0::bigint, 'counters equal a recount');
SELECT is((SELECT count(*) FROM mktg.inbox_message WHERE read_at IS NOT NULL), 2::bigint, 'no other is read');
SELECT is(pg_temp.refusal(format('SELECT mktg.mark_read(%L)', :'others')),
    format('MK017 | message "%s" is in no inbox | Tenant 1 has no such message of channel in_app. | A message id is what mktg.inbox() shows, such as 1-7-4711.', :'others'),
    'a message of another tenant');
SELECT matches(pg_temp.refusal(format('SELECT mktg.mark_read(%L, tenant => 71)', :'bobs')), '^MK017 ', 'for another tenant');
SELECT matches(pg_temp.refusal($$SELECT mktg.mark_read('1-2')$$), '^MK017 ', 'what is no message id');
SELECT matches(pg_temp.refusal($$SELECT mktg.mark_read('1-7-4711', tenant => 99)$$), '^MK010 ', 'no such tenant');
SELECT matches(pg_temp.refusal('SELECT mktg.mark_read(NULL)'), '^22004 ', 'message NULL');
SELECT is(mktg.mark_read(:'bobs', NULL), true, 'a time of NULL is now');

--
-- expiry
--
SET LOCAL mktg.clock = '2025-02-14 08:59+00';
SELECT is((SELECT count(*) FROM mktg.inbox(:ann)), 2::bigint, 'the last minute');
SET LOCAL mktg.clock = '2025-02-14 09:00+00';
SELECT is((SELECT count(*) FROM mktg.inbox(:ann)), 0::bigint, 'what has expired is not shown');
SELECT is((SELECT count(*) FROM mktg.inbox_message WHERE contact_id = :ann), 2::bigint, 'it is still there');
SELECT mktg.maintain() \g /dev/null
SELECT is((SELECT count(*) FROM mktg.inbox_message), 0::bigint, 'maintain() deletes it');

SELECT * FROM finish();
ROLLBACK;
