\set ECHO none
\i test/setup.sql
BEGIN;
\i test/fixture.sql
SELECT plan(71);
SET LOCAL mktg.clock = '2025-01-15 09:00+00';
INSERT INTO mktg.tenant (tenant_id, name) VALUES (71, 'other');
SELECT mktg.create_template('hello', 'whatsapp', body => 'Hello') \g /dev/null

-- Contacts by name; each with a phone of its own unless it is about the phone.
CREATE TEMP TABLE who (name text PRIMARY KEY, id bigint);
CREATE FUNCTION pg_temp.make(name text, phone text, active boolean DEFAULT true, tenant bigint DEFAULT 1) RETURNS void LANGUAGE sql AS $$
    WITH c AS (INSERT INTO mktg.contact (tenant_id, name, phone, email, is_active)
               VALUES (tenant, name, phone, name || '@example.com', active) RETURNING contact_id)
    INSERT INTO who SELECT name, contact_id FROM c
$$;
CREATE FUNCTION pg_temp.ids(VARIADIC names text[]) RETURNS bigint[] LANGUAGE sql AS $$
    SELECT array_agg(id ORDER BY place) FROM unnest(names) WITH ORDINALITY AS n (name, place) LEFT JOIN who USING (name)
$$;
SELECT pg_temp.make(name, '+49301000' || 100 + row_number() OVER ()) FROM unnest('{ann,bob,cat,dan,eve,fay,gus,hal,ivy}'::text[]) AS name \g /dev/null
SELECT pg_temp.make('nophone', NULL), pg_temp.make('asleep', '+49302000001', false), pg_temp.make('blocked', '+49302000002'),
       pg_temp.make('foreign', '+49302000003', tenant => 71) \g /dev/null
-- ann, bob: one topic; cat: three; dan: another topic only; eve: no consent; fay: not yet confirmed; gus: left;
-- hal: left marketing, holds two other topics; ivy: consent for another channel
INSERT INTO mktg.consent (contact_id, channel, topic, state) SELECT id, channel, topic, state FROM who JOIN (VALUES
    ('ann', 'whatsapp', 'marketing', 'subscribed'), ('bob', 'whatsapp', 'marketing', 'subscribed'),
    ('cat', 'whatsapp', 'marketing', 'subscribed'), ('cat', 'whatsapp', 'news', 'subscribed'), ('cat', 'whatsapp', 'offers', 'subscribed'),
    ('dan', 'whatsapp', 'offers', 'subscribed'), ('dan', 'whatsapp', 'news', 'unsubscribed'), ('fay', 'whatsapp', 'marketing', 'pending'),
    ('gus', 'whatsapp', 'marketing', 'unsubscribed'), ('hal', 'whatsapp', 'marketing', 'unsubscribed'), ('hal', 'whatsapp', 'news', 'subscribed'),
    ('hal', 'whatsapp', 'offers', 'subscribed'), ('ivy', 'email', 'marketing', 'subscribed'), ('nophone', 'whatsapp', 'marketing', 'subscribed'),
    ('asleep', 'whatsapp', 'marketing', 'subscribed'), ('blocked', 'whatsapp', 'marketing', 'subscribed')) AS k (name, channel, topic, state) USING (name);
INSERT INTO mktg.consent (tenant_id, contact_id, channel) SELECT 71, id, 'whatsapp' FROM who WHERE name = 'foreign';
SELECT mktg.suppress('whatsapp', '+49 302 000 002'), mktg.suppress('sms', '+49301000101'), mktg.suppress('whatsapp', '+49301000102', tenant => 71) \g /dev/null

-- What adding says: added, duplicates, unsubscribed, suppressed, unreachable, unknown; and that the sum is right, the
-- counters too, and positions run from 1 without a gap.
CREATE FUNCTION pg_temp.adding(campaign bigint, what text, total integer, tenant bigint DEFAULT 1) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    EXECUTE format('SELECT * FROM mktg.%s', what) INTO r;
    RETURN concat_ws(' ', r.added, r.duplicates, r.unsubscribed, r.suppressed, r.unreachable, r.unknown,
        CASE WHEN r.added + r.duplicates + r.unsubscribed + r.suppressed + r.unreachable + r.unknown <> total THEN 'WRONG SUM' END,
        CASE WHEN mktg.rebuild_stats(campaign, tenant) <> 0 THEN 'MISCOUNTED' END,
        (SELECT CASE WHEN count(*) <> count(DISTINCT position) OR max(position) <> count(*) OR min(position) <> 1
                  OR count(*) <> (SELECT last_position FROM mktg.campaign c WHERE c.tenant_id = tenant AND campaign_id = campaign) THEN 'GAPS' END
           FROM mktg.message m WHERE m.tenant_id = tenant AND campaign_id = campaign));
END $$;
CREATE FUNCTION pg_temp.contacts(campaign bigint, contacts bigint[]) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.adding(campaign, format('add_recipients(%s, %L::bigint[])', campaign, contacts), cardinality(contacts))
$$;
CREATE FUNCTION pg_temp.addresses(campaign bigint, addresses text[]) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.adding(campaign, format('add_recipients(%s, %L::text[])', campaign, addresses), cardinality(addresses))
$$;
CREATE FUNCTION pg_temp.recipients(campaign bigint) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(name, ' ' ORDER BY name) FROM mktg.message JOIN who ON id = contact_id WHERE campaign_id = campaign
$$;

--
-- contacts
--
SELECT mktg.create_campaign('c', 'whatsapp', 'hello') AS c \gset
SELECT is(pg_temp.contacts(:c, pg_temp.ids('ann', 'bob', 'bob')), '2 1 0 0 0 0', 'once each');
SELECT is(pg_temp.contacts(:c, pg_temp.ids('ann', 'bob', 'cat', 'cat', 'dan')), '2 3 0 0 0 0', 'several topics make one recipient; some were there');
SELECT is(pg_temp.contacts(:c, pg_temp.ids('eve', 'fay', 'gus', 'hal', 'ivy', 'hal')), '0 1 5 0 0 0',
    'no consent, not confirmed, withdrawn, withdrawn from marketing, of another channel');
SELECT is(pg_temp.contacts(:c, pg_temp.ids('blocked', 'nophone', 'asleep', 'blocked')), '0 1 0 1 2 0', 'suppressed, without phone, not active');
SELECT is(pg_temp.contacts(:c, pg_temp.ids('foreign') || ARRAY[-1, 0, 999999999999, NULL, NULL, -1]::bigint[]), '0 1 0 0 0 6',
    'another tenant''s, ids of nobody, NULL');
SELECT is(pg_temp.recipients(:c), 'ann bob cat dan', 'those who may be written to');
SELECT is(pg_temp.rows(format('SELECT DISTINCT tenant_id, ref, status, attempts, variant, send_day FROM mktg.message WHERE campaign_id = %s', :c)),
    '(1,"",pending,0,0,)', 'they are pending, without a day');
SELECT is((SELECT address FROM mktg.message WHERE campaign_id = :c AND contact_id = (SELECT id FROM who WHERE name = 'ann')), '+49301000101',
    'the address is kept as it is now; suppressed for sms only');
SELECT is(pg_temp.contacts(:c, pg_temp.ids('ann', 'bob', 'cat', 'dan')), '0 4 0 0 0 0', 'twice: all of them are there');
SELECT is(pg_temp.contacts(:c, '{}'), '0 0 0 0 0 0', 'an empty array');
SELECT is(pg_temp.adding(:c, format('add_recipients(%s, NULL::bigint[])', :c), 0), '0 0 0 0 0 0', 'no array');
SELECT is(pg_temp.contacts(:c, '{NULL,NULL}'), '0 0 0 0 0 2', 'nothing but NULL');
SELECT is(pg_temp.contacts(:c, ARRAY[pg_temp.ids('ann', 'eve'), pg_temp.ids('blocked', 'eve')]), '0 2 1 1 0 0', 'an array of two dimensions');

-- two contacts, one phone
SELECT pg_temp.make('max', '+49303000001'), pg_temp.make('moritz', '+49303000001'), pg_temp.make('paul', '+49303000001') \g /dev/null
INSERT INTO mktg.consent (contact_id, channel) SELECT id, 'whatsapp' FROM who WHERE name IN ('max', 'moritz', 'paul');
SELECT is(pg_temp.contacts(:c, pg_temp.ids('max', 'moritz')), '1 1 0 0 0 0', 'contacts that share an address: one of them');
SELECT is(pg_temp.contacts(:c, pg_temp.ids('paul', 'max', 'moritz')), '0 3 0 0 0 0', 'and nobody else later');
-- a recipient who has moved
UPDATE mktg.contact SET phone = '+49303000009' WHERE contact_id = (SELECT id FROM who WHERE name = 'ann');
SELECT is(pg_temp.contacts(:c, pg_temp.ids('ann')), '0 1 0 0 0 0', 'a recipient whose address has changed is there already');
SELECT is((SELECT address FROM mktg.message WHERE campaign_id = :c AND contact_id = (SELECT id FROM who WHERE name = 'ann')), '+49301000101', 'as it was');
UPDATE mktg.contact SET phone = '+49301000101' WHERE contact_id = (SELECT id FROM who WHERE name = 'ann');

--
-- addresses
--
SELECT mktg.create_campaign('a', 'whatsapp', 'hello') AS a \gset
SELECT is(pg_temp.addresses(:a, '{+49301000101,"+49 (301) 000-102",0049301000102,+49301000102}'), '2 2 0 0 0 0', 'however they are written');
SELECT is(pg_temp.addresses(:a, '{+49301000101,+49301000103,+49301000104}'), '2 1 0 0 0 0', 'some were there');
SELECT is(pg_temp.addresses(:a, '{+49301000105,+49301000106,+49301000107,+49301000108,+49301000109,+49301000108}'), '0 1 5 0 0 0', 'without consent');
SELECT is(pg_temp.addresses(:a, '{+49302000002,+49302000001,"+49 302000002"}'), '0 1 0 1 1 0', 'suppressed, not active');
SELECT is(pg_temp.addresses(:a, ARRAY['+49302000003', '+49309999999', '+49309999999', 'nonsense', 'nonsense', '', NULL, '030 1234567', 'a@example.com']),
    '0 1 0 0 0 8', 'another tenant''s, nobody''s, malformed, empty, NULL, without country, of another channel');
SELECT is(pg_temp.recipients(:a), 'ann bob cat dan', 'the same as by contact');
SELECT is(pg_temp.addresses(:a, '{}'), '0 0 0 0 0 0', 'an empty array');
SELECT is(pg_temp.adding(:a, format('add_recipients(%s, NULL::text[])', :a), 0), '0 0 0 0 0 0', 'no array');
SELECT is(pg_temp.addresses(:a, '{+49303000001,+49303000001}'), '1 1 0 0 0 0', 'an address that three contacts share');
SELECT is(pg_temp.addresses(:a, '{+49303000001}'), '0 1 0 0 0 0', 'is there once');
-- of those who share it, one that may be written to stands for it
SELECT pg_temp.make('old', '+49304000001', false), pg_temp.make('left', '+49304000001'), pg_temp.make('new', '+49304000001'),
       pg_temp.make('old2', '+49304000002', false), pg_temp.make('left2', '+49304000002'), pg_temp.make('left3', '+49304000002') \g /dev/null
INSERT INTO mktg.consent (contact_id, channel) SELECT id, 'whatsapp' FROM who WHERE name IN ('old', 'new', 'old2');
SELECT is(pg_temp.addresses(:a, '{+49304000001,+49304000002}'), '1 0 1 0 0 0', 'the best of those who share an address counts, and counts once');
SELECT is(pg_temp.recipients(:a), 'ann bob cat dan max new', 'it is the one with consent');
SELECT is(pg_temp.addresses(:a, '{+49304000001}'), '0 1 0 0 0 0', 'and it is there now');
SELECT mktg.suppress('whatsapp', '+49304000002') \g /dev/null
SELECT is(pg_temp.addresses(:a, '{+49304000002}'), '0 0 0 1 0 0', 'suppression is the address''s, whoever has it');

--
-- every contact
--
SELECT mktg.create_campaign('all', 'whatsapp', 'hello') AS everybody, (SELECT count(*)::integer FROM mktg.contact WHERE tenant_id = 1) AS n \gset
-- ann bob cat dan, one of max moritz paul, new; two more share a phone; eve fay gus hal ivy left; blocked left2 left3; nophone asleep old old2
SELECT is(pg_temp.adding(:everybody, format('add_all_contacts(%s)', :everybody), :n), '6 2 6 3 4 0', 'counts of every contact');
SELECT is(pg_temp.adding(:everybody, format('add_all_contacts(%s)', :everybody), :n), '0 8 6 3 4 0', 'twice');
SELECT is(pg_temp.contacts(:everybody, pg_temp.ids('moritz', 'ann')), '0 2 0 0 0 0', 'contacts after all');
SELECT mktg.create_campaign('theirs', 'whatsapp', tenant => 71) AS theirs \gset
SELECT is(pg_temp.adding(:theirs, format('add_all_contacts(%s, 71)', :theirs), 1, 71), '1 0 0 0 0 0', 'of the tenant, nobody else''s');
SELECT is(pg_temp.refusal(format('SELECT mktg.add_all_contacts(%s)', :theirs)), format('MK014 | campaign %s does not exist | Tenant 1 has no such campaign.'
    ' | The view mktg.campaign_list lists them; mktg.create_campaign() makes one.', :theirs), 'another tenant''s campaign');
SELECT is(pg_temp.refusal(format('SELECT mktg.add_recipients(%s, %s)', campaign, list)), refused, list || ' to campaign ' || campaign) FROM (VALUES
    ('-1', '''{1}''::bigint[]', 'MK014 | campaign -1 does not exist | Tenant 1 has no such campaign.'
     ' | The view mktg.campaign_list lists them; mktg.create_campaign() makes one.'),
    ('-1', '''{x}''::text[]', 'MK014 | campaign -1 does not exist | Tenant 1 has no such campaign.'
     ' | The view mktg.campaign_list lists them; mktg.create_campaign() makes one.'),
    ('-1', '''{1}''::bigint[], 999', 'MK010 | tenant 999 does not exist'
     ' | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.'),
    ('NULL', '''{1}''::bigint[]', '22004 | argument "campaign" must not be NULL | Give a value for "campaign".'),
    ('1', '''{1}''::bigint[], NULL', '22004 | argument "tenant" must not be NULL | Give a value for "tenant".')) AS t (campaign, list, refused);

--
-- transactional campaigns need no consent; channels have their own addresses
--
SELECT mktg.create_campaign('t', 'whatsapp', 'hello', type => 'transactional') AS t \gset
SELECT is(pg_temp.contacts(:t, pg_temp.ids('ann', 'eve', 'fay', 'gus', 'hal', 'cat', 'blocked', 'asleep', 'nophone')), '6 0 0 1 2 0',
    'transactional: no consent needed, suppression holds');
INSERT INTO mktg.contact (name, attributes) VALUES ('app', '{"push_token": "Tok:1", "webhook_url": "https://hooks.example/1"}'), ('bare', '{}');
INSERT INTO who SELECT name, contact_id FROM mktg.contact WHERE name IN ('app', 'bare');
INSERT INTO mktg.consent (contact_id, channel) SELECT id, channel FROM who, unnest('{push,webhook,in_app,email,sms}'::text[]) AS channel
 WHERE name IN ('app', 'bare', 'ann');
CREATE TEMP TABLE reached AS SELECT channel, mktg.create_campaign(channel, channel) AS c FROM unnest('{push,webhook,in_app,email,sms}'::text[]) AS channel;
SELECT is(pg_temp.contacts(c, pg_temp.ids('app', 'bare', 'ann')), counts, channel) FROM reached JOIN (VALUES
    ('push', '1 0 0 0 2 0'), ('webhook', '3 0 0 0 0 0'), ('in_app', '3 0 0 0 0 0'), ('email', '1 0 0 0 2 0'), ('sms', '0 0 0 1 2 0')) AS v (channel, counts) USING (channel);
SELECT is((SELECT string_agg(replace(address, id::text, 'id'), ' ' ORDER BY name) FROM mktg.message JOIN who ON id = contact_id WHERE campaign_id = c), addresses,
    'address for ' || channel) FROM reached JOIN (VALUES ('push', 'Tok:1'), ('webhook', 'id https://hooks.example/1 id'), ('in_app', 'id id id'),
    ('email', 'ann@example.com')) AS v (channel, addresses) USING (channel);
SELECT is(pg_temp.addresses(c, ARRAY[address]), '0 1 0 0 0 0', channel || ' by address') FROM reached JOIN (VALUES
    ('push', ' Tok:1 '), ('webhook', 'https://hooks.example/1'), ('email', 'ANN@example.com')) AS v (channel, address) USING (channel);

--
-- into a campaign that runs, or is paused
--
SELECT pg_temp.people(30) AS p, mktg.create_campaign('r', 'whatsapp', 'hello', daily_send_limit => 10) AS r \gset
CREATE FUNCTION pg_temp.span(first bigint, n integer) RETURNS bigint[] LANGUAGE sql AS $$SELECT array_agg(first + i) FROM generate_series(0, n - 1) i$$;
SELECT is(pg_temp.contacts(:r, pg_temp.span(:p, 12)), '12 0 0 0 0 0', 'twelve');
SELECT mktg.activate_campaign(:r, '2025-01-15') \g /dev/null
SELECT is(pg_temp.contacts(:r, pg_temp.span(:p, 15)), '3 12 0 0 0 0', 'three more while it runs');
SELECT is(pg_temp.days(:r), '01-15 10, 01-16 5', 'its plan grows');
SELECT is(messages_queued, 10::bigint, 'the day goes out') FROM mktg.process_daily();
SELECT is(pg_temp.contacts(:r, pg_temp.span(:p, 22)), '7 15 0 0 0 0', 'seven more after the day''s batch');
SELECT is(pg_temp.days(:r), '01-15 10, 01-16 10, 01-17 2', 'today is full');
SELECT is((SELECT count(*) FROM mktg.recipient WHERE campaign_id = :r AND scheduled_on IS NULL), 0::bigint, 'each has its day');
SELECT mktg.pause_campaign(:r) \g /dev/null
SELECT is(pg_temp.contacts(:r, pg_temp.span(:p, 30)), '8 22 0 0 0 0', 'eight more while it is paused');
SELECT is(pg_temp.days(:r), '01-15 10, 01-16 10, 01-17 2', 'the plan waits');
SELECT mktg.resume_campaign(:r) \g /dev/null
SELECT is(pg_temp.days(:r), '01-15 10, 01-16 10, 01-17 10', 'and has them when it runs again');
SELECT mktg.cancel_campaign(:r) \g /dev/null
SELECT is(pg_temp.refusal(format('SELECT mktg.add_recipients(%s, ''{1}''::bigint[])', :r)), format('MK033 | campaign %s cannot be given recipients | It is cancelled.'
    ' | A draft can be activated or cancelled, an active campaign paused or cancelled, a paused one resumed or cancelled; completed and cancelled are the end.', :r),
    'not when it is cancelled');

--
-- an array of a million
--
SELECT pg_temp.people(50000, '{email}', 71, 1000000) \g /dev/null
INSERT INTO mktg.consent (tenant_id, contact_id, channel, state) SELECT 71, contact_id, 'email', 'unsubscribed' FROM mktg.contact
 WHERE tenant_id = 71 AND external_id::integer % 20 = 0 ON CONFLICT (tenant_id, contact_id, channel, topic) DO UPDATE SET state = 'unsubscribed';
INSERT INTO mktg.suppression (tenant_id, channel, address_hash) SELECT 71, 'email', mktg.address_hash(email) FROM mktg.contact
 WHERE tenant_id = 71 AND external_id::integer % 20 = 1;
UPDATE mktg.contact SET is_active = false WHERE tenant_id = 71 AND external_id::integer % 20 = 2;
SELECT mktg.create_campaign('million', 'email', tenant => 71) AS million \gset
-- 50000 addresses twelve times, 100000 of nobody, 200000 malformed, 100000 NULL
CREATE TEMP TABLE list AS SELECT array_agg(CASE WHEN i < 50000 THEN 'p' || 1000000 + i || '@example.com'
    WHEN i < 600000 THEN ' P' || 1000000 + i % 50000 || '@Example.COM' WHEN i < 700000 THEN 'q' || i || '@example.com'
    WHEN i < 900000 THEN 'p' || i || ' at example.com' END) AS addresses FROM generate_series(0, 999999) AS i;
SELECT is(cardinality(addresses), 1000000, 'a million addresses') FROM list;
SELECT is(pg_temp.rows(format('SELECT r.* FROM list, mktg.add_recipients(%s, addresses, 71) r', :million)), '(42500,550000,2500,2500,2500,400000)',
    'an array of a million, with NULLs, repeats and nonsense');
SELECT is(pg_temp.rows(format('SELECT r.* FROM list, mktg.add_recipients(%s, addresses, 71) r', :million)), '(0,592500,2500,2500,2500,400000)', 'twice');
SELECT is(pg_temp.rows(format('SELECT count(*), count(DISTINCT position), count(DISTINCT address), min(position), max(position) FROM mktg.message WHERE campaign_id = %s', :million)),
    '(42500,42500,42500,1,42500)', 'positions are dense, addresses unique');
SELECT is(pg_temp.rows(format('SELECT r.* FROM mktg.add_recipients(%s, (SELECT array_agg(CASE WHEN i %% 10 > 0 THEN %s + i %% 100000 END)
        FROM generate_series(1, 1000000) i), 71) r', mktg.create_campaign('by contact', 'email', tenant => 71), (SELECT min(contact_id) FROM mktg.contact
        WHERE tenant_id = 71 AND external_id IS NOT NULL))), '(40000,810000,0,2500,2500,145000)', 'contacts by the million');
SELECT is(mktg.rebuild_stats(:million, 71), 0::bigint, 'counters equal a recount');

SELECT * FROM finish();
ROLLBACK;
