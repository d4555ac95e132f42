\set ECHO none
\i test/setup.sql
BEGIN;
\i test/fixture.sql
SELECT no_plan();
SET LOCAL mktg.clock = '2025-01-15 09:00+00';
INSERT INTO mktg.tenant (tenant_id, name, time_zone, currency) VALUES (71, 'India', 'Asia/Kolkata', 'JPY');
SELECT mktg.set_sender('meta', 'mktg_sandbox', 'ads') AS meta, mktg.set_sender('mail', 'mktg_sandbox', 'email') AS mail,
       mktg.set_sender('meta', 'mktg_sandbox', 'ads', tenant => 71) AS foreign_meta \gset
-- people 1 to 8 live in Pune; all agree to ads but 8
SELECT pg_temp.people(7, '{ads}') AS p, pg_temp.people(1, '{email}', first => 8) AS q, pg_temp.people(1, '{ads}', 71) AS foreigner \gset
UPDATE mktg.contact SET city = 'Pune';
SELECT mktg.create_segment('Pune', '{"city": "Pune"}') AS pune, mktg.create_segment('picked', kind => 'static') AS picked,
       mktg.create_segment('Pune', '{"city": "Pune"}', tenant => 71) AS foreign_pune \gset

-- What a campaign's uploads are: "person operation status", in the order they came.
CREATE FUNCTION pg_temp.uploads(campaign bigint) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', coalesce(c.external_id, 'gone'), m.variables ->> 'operation', m.status, m.failure_reason), ', ' ORDER BY m.ref, m.contact_id)
      FROM mktg.message m LEFT JOIN mktg.contact c USING (tenant_id, contact_id) WHERE m.campaign_id = campaign
$$;
-- What has happened since, as the worker would bring it on its way: "person operation" of what is sent now.
CREATE FUNCTION pg_temp.feed(tenant bigint DEFAULT 1) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    sent text := ''; more text;
BEGIN
    PERFORM mktg.refresh_dirty(tenant => tenant);
    PERFORM mktg.feed_audiences(tenant);
    -- a claim that only leaves out what was overtaken gives nothing
    FOR n IN 1 .. 3 LOOP
        SELECT string_agg(x.who || ' ' || x.operation, ', ' ORDER BY x.operation DESC, x.contact_id) INTO more
          FROM (SELECT coalesce(c.external_id, 'gone') AS who, m.contact_id, m.variables ->> 'operation' AS operation, mktg._record(k.message, k.lease, 'sent')
                  FROM mktg._claim(1::smallint, 1000) k
                  JOIN mktg.message m ON mktg._message_id(m.tenant_id, m.campaign_id, m.contact_id, m.ref) = k.message
                  LEFT JOIN mktg.contact c USING (tenant_id, contact_id)) x;
        sent := concat_ws('; ', nullif(sent, ''), more);
    END LOOP;
    RETURN sent;
END $$;

--
-- sync_segment
--
SELECT mktg.sync_segment(:pune, 'meta', '238512') AS c \gset
SELECT is(pg_temp.rows('SELECT name, type, channel, status, template_id, start_date, template_data FROM mktg.campaign WHERE campaign_id = ' || :c),
    '(Pune,audience_sync,ads,active,,,"{""audience"": ""238512""}")', 'a sync is a running campaign, of the segment''s name');
SELECT is(pg_temp.rows('SELECT campaign_id, segment_id, audience, feeds, fed_at FROM mktg.audience_sync'), format('(%s,%s,238512,0,)', :c, :pune), 'of an audience');
SELECT members_id AS members FROM mktg.audience_sync \gset
SELECT is(pg_temp.rows('SELECT name, kind, keeps_history FROM mktg.segment WHERE segment_id = ' || :members), format('("audience of campaign %s",dynamic,t)', :c),
    'with a segment of its own that keeps history');
SELECT throws_ok(format('SELECT mktg.drop_segment(%s)', s), '2BP01', NULL, 'which cannot be dropped, nor that it is made of')
  FROM unnest(ARRAY[:members, :pune]) AS s;
SELECT is(mktg.feed_audiences(), 0::bigint, 'nothing to feed before a refresh');

-- the first feed adds all
SELECT is(pg_temp.feed(), '1 add, 2 add, 3 add, 4 add, 5 add, 6 add, 7 add', 'the first feed adds all members who agreed');
SELECT is(pg_temp.rows('SELECT ref, address, send_day, variables FROM mktg.message WHERE campaign_id = ' || :c || ' AND contact_id = ' || :p),
    format('(0000000001-2,p1@example.com,2025-01-15,"{""email"": ""%s"", ""phone"": ""%s"", ""operation"": ""add"", ""phone_e164"": ""%s""}")',
        encode(sha256('p1@example.com'), 'hex'), encode(sha256('14151000001'), 'hex'), encode(sha256('+14151000001'), 'hex')), 'an addition has hashed identifiers');
SELECT is(pg_temp.rows('SELECT feeds, fed_at FROM mktg.audience_sync'), '(1,"2025-01-15 09:00:00+00")', 'the feed is noted');
SELECT is_empty('SELECT * FROM mktg.segment_change WHERE segment_id = ' || :members, 'and its changes are taken');
SELECT is(pg_temp.feed(), '', 'another feed finds nothing');

-- changes
UPDATE mktg.contact SET city = 'Delhi' WHERE contact_id = :p;
SELECT mktg.unsubscribe(:p + 1, 'ads') \g /dev/null
UPDATE mktg.contact SET is_active = false WHERE contact_id = :p + 2;
DELETE FROM mktg.contact WHERE contact_id = :p + 3;
SELECT mktg.subscribe(:q, 'ads') \g /dev/null
SELECT is(pg_temp.feed(), '1 remove, 2 remove, 3 remove, gone remove, 8 add', 'who leaves, unsubscribes, is switched off or deleted is removed; who agrees is added');
SELECT is(pg_temp.rows('SELECT address, variables ->> ''email'' FROM mktg.message WHERE ref = ''0000000002-1'' AND contact_id = ' || :p + 3),
    format('(%s,%s)', :p + 3, encode(sha256('p4@example.com'), 'hex')), 'one who is gone by what was uploaded');
UPDATE mktg.contact SET city = 'Pune', email = 'new@example.com' WHERE contact_id = :p;
SELECT is(pg_temp.feed(), '1 add', 'who comes back is added');
UPDATE mktg.contact SET city = 'Delhi', email = NULL, phone = NULL WHERE contact_id = :p;
SELECT is(pg_temp.feed(), '1 remove', 'who leaves without an address is removed');
SELECT is(pg_temp.rows('SELECT variables ->> ''email'' FROM mktg.message WHERE ref = ''0000000004-1'''), format('(%s)', encode(sha256('new@example.com'), 'hex')), 'by the last that was uploaded');

-- back and forth between two feeds
UPDATE mktg.contact SET city = 'Delhi' WHERE contact_id = :p + 4;
SELECT mktg.refresh_dirty() \g /dev/null
UPDATE mktg.contact SET city = 'Pune' WHERE contact_id = :p + 4;
SELECT is(pg_temp.feed(), '', 'who was away between two feeds stays');
UPDATE mktg.contact SET city = 'Delhi' WHERE contact_id = :p + 4;
SELECT mktg.refresh_dirty() \g /dev/null
UPDATE mktg.contact SET city = 'Pune', email = 'five@example.com' WHERE contact_id = :p + 4;
SELECT is(pg_temp.feed(), '5 remove; 5 add', 'with another address than was uploaded the old one goes, then the new one comes');

-- what waits is overtaken
UPDATE mktg.contact SET city = 'Delhi' WHERE contact_id = :p + 4;
SELECT is(pg_temp.feed(), '5 remove', 'one is out');
UPDATE mktg.contact SET city = 'Pune' WHERE contact_id = :p + 4;
SELECT mktg.refresh_dirty() + mktg.feed_audiences() > 0 AS "in" \g /dev/null
UPDATE mktg.contact SET city = 'Delhi' WHERE contact_id = :p + 4;
SELECT is(pg_temp.feed(), '5 remove', 'an addition that waits when its removal comes is not sent');
SELECT is(pg_temp.rows('SELECT m.status, m.failure_reason FROM mktg.message m WHERE contact_id = ' || :p + 4 || ' AND ref LIKE ''%-2'' ORDER BY ref DESC LIMIT 1'), '(skipped,superseded)', 'it says why');
UPDATE mktg.contact SET city = 'Pune' WHERE contact_id = :p + 4;
SELECT mktg.refresh_dirty() + mktg.feed_audiences() > 0 AS "in" \g /dev/null
SELECT message AS message, lease AS lease FROM mktg._claim(1::smallint, 10) \gset
UPDATE mktg.contact SET city = 'Delhi' WHERE contact_id = :p + 4;
SELECT is(pg_temp.feed(), '', 'a removal waits while the addition is under way');
SELECT is((SELECT count(*) FROM mktg.outbox WHERE lease IS NULL), 1::bigint, 'in the queue');
SELECT mktg._record(:'message', :lease, 'retry') \g /dev/null
SELECT is(pg_temp.feed(), '5 remove', 'when that is to be tried again, the removal takes its place');
SELECT is(pg_temp.rows('SELECT status, failure_reason FROM mktg.message WHERE mktg._message_id(tenant_id, campaign_id, contact_id, ref) = ' || quote_literal(:'message')), '(skipped,superseded)', 'so the addition is not');

-- consent is asked again when it leaves
UPDATE mktg.contact SET city = 'Pune' WHERE contact_id = :p + 4;
SELECT mktg.refresh_dirty() + mktg.feed_audiences() > 0 AS "in" \g /dev/null
SELECT mktg.unsubscribe(:p + 4, 'ads') \g /dev/null
SELECT is((SELECT count(*) FROM mktg._claim(1::smallint, 10)), 0::bigint, 'who unsubscribes before the claim is not uploaded');
SELECT mktg.subscribe(:p + 4, 'ads') \g /dev/null
SELECT is(pg_temp.feed(), '5 add', 'who is back before the segment has noticed is');
SELECT mktg.unsubscribe(:p + 4, 'ads') \g /dev/null
SELECT is(pg_temp.feed(), '5 remove', 'and is removed when it has');
SELECT mktg.subscribe(:p + 4, 'ads') \g /dev/null
SELECT mktg.refresh_dirty() + mktg.feed_audiences() > 0 AS "in" \g /dev/null
SELECT mktg.unsubscribe(:p + 4, 'ads') \g /dev/null
SELECT is(pg_temp.feed(), '5 remove', 'an addition that waits for consent is overtaken by the removal');
SELECT is(pg_temp.rows('SELECT m.status, m.failure_reason FROM mktg.message m WHERE ref LIKE ''%-2'' AND contact_id = ' || :p + 4 || ' ORDER BY ref DESC LIMIT 1'), '(skipped,superseded)', 'with the reason');
SELECT mktg.subscribe(:p + 4, 'ads') \g /dev/null
SELECT mktg.refresh_dirty() + mktg.feed_audiences() > 0 AS "in" \g /dev/null
DELETE FROM mktg.contact WHERE contact_id = :p + 4;
SELECT is(pg_temp.feed(), 'gone remove', 'so is one of somebody who is deleted');
SELECT mktg.suppress('ads', ' P9@Example.com ') \g /dev/null
SELECT pg_temp.people(1, '{ads}', first => 9) AS nine \gset
UPDATE mktg.contact SET city = 'Pune' WHERE contact_id = :nine;
SELECT is(pg_temp.feed(), '', 'a suppressed address is not uploaded');
SELECT is(pg_temp.rows('SELECT m.status, m.failure_reason FROM mktg.message m WHERE contact_id = ' || :nine), '(skipped,suppressed)', 'with the reason');
SELECT mktg.unsubscribe(:p + 5, 'ads', topic => 'marketing') \g /dev/null
SELECT mktg.refresh_dirty() + mktg.feed_audiences() > 0 AS "out" \g /dev/null
SELECT is(pg_temp.rows('SELECT contact_id, worker FROM mktg.outbox WHERE ref LIKE ''%-1'''), format('(%s,)', :p + 5), 'a removal waits');
SELECT mktg.suppress('ads', 'p6@example.com') \g /dev/null
SELECT is(pg_temp.feed(), '6 remove', 'and goes, suppressed and unsubscribed or not');

-- pause, resume, other segments, other tenants
SELECT mktg.pause_campaign(:c) \g /dev/null
UPDATE mktg.contact SET city = 'Delhi' WHERE contact_id = :p + 6;
SELECT is(pg_temp.feed(), '', 'nothing is fed while the campaign is paused');
SELECT mktg.resume_campaign(:c) \g /dev/null
SELECT is(pg_temp.feed(), '7 remove', 'but when it is resumed');
SELECT mktg.sync_segment(:picked, 'meta', 'x1', 'By hand') AS c2, mktg.sync_segment(:foreign_pune, 'meta', '238512', tenant => 71) AS c3 \gset
SELECT mktg.add_to_segment(:picked, ARRAY[:p + 6, :q]) \g /dev/null
SELECT is(pg_temp.feed(), '7 add, 8 add', 'a static segment, while the other one stays as it is');
SELECT is(pg_temp.feed(71), '1 add', 'each tenant has its own');
SELECT mktg.remove_from_segment(:picked, ARRAY[:q]) \g /dev/null
SELECT is(pg_temp.feed(), '8 remove', 'taken out by hand');
SELECT is(pg_temp.rows(format('SELECT name FROM mktg.campaign WHERE campaign_id = %s', :c2)), '("By hand")', 'the name given');
SELECT mktg.update_segment(:pune, '{"city": "Delhi"}') \g /dev/null
SELECT is(pg_temp.feed(), '8 remove, 7 add', 'changed rules');
SELECT is(pg_temp.miscounted(), 0::bigint, 'counters equal a recount');
SELECT is((SELECT count(*) FROM mktg.campaign WHERE status = 'completed'), 0::bigint, 'no sync ends by itself');

-- the end
SELECT mktg.cancel_campaign(:c) \g /dev/null
SELECT mktg.feed_audiences() \g /dev/null
SELECT is(pg_temp.rows('SELECT campaign_id FROM mktg.audience_sync WHERE tenant_id = 1'), format('(%s)', :c2), 'a cancelled sync is no more');
SELECT is_empty('SELECT FROM mktg.segment WHERE segment_id = ' || :members, 'nor is its segment');
SELECT isnt(mktg.sync_segment(:pune, 'meta', '238512'), :c::bigint, 'and the audience is free for another one');
SELECT members_id AS members2 FROM mktg.audience_sync WHERE campaign_id = :c2 \gset
SELECT mktg.create_segment('of it', jsonb_build_object('segment', :members2)) \g /dev/null
SELECT mktg.cancel_campaign(:c2) \g /dev/null
SELECT mktg.feed_audiences() \g /dev/null
SELECT is(pg_temp.rows('SELECT keeps_history FROM mktg.segment WHERE segment_id = ' || :members2), '(f)', 'a segment that other rules name stays, and keeps no history');

--
-- send_conversion
--
SELECT mktg.send_conversion(:q, 'Purchase', 'meta', '2025-01-14 12:00+00', 1999, event_id => 'order-1', properties => '{"action_source": "website", "content_ids": ["A"]}') AS id \gset
SELECT campaign_id AS stream FROM mktg.campaign WHERE type = 'conversion' \gset
SELECT is(:'id'::text, format('1-%s-%s-order-1', :stream, :q), 'the id of the message');
SELECT is(pg_temp.rows('SELECT name, code, channel, status, template_id FROM mktg.campaign WHERE campaign_id = ' || :stream), format('("conversions: meta",conversions:%s,ads,active,)', :meta), 'its campaign is the sender''s stream');
SELECT is(pg_temp.rows('SELECT status, address, variables FROM mktg.message WHERE campaign_id = ' || :stream),
    '(queued,p8@example.com,"{""event"": ""Purchase"", ""value"": 19.99, ""currency"": ""USD"", ""event_id"": ""order-1"", ""properties"": {""content_ids"": [""A""], ""action_source"": ""website""}, ""occurred_at"": 1736856000}")',
    'what is sent: the value in major units of the tenant''s currency');
SELECT is(mktg.send_conversion(:q, 'Purchase', 'meta', value => 5, event_id => 'order-1'), :'id'::text, 'the same event_id gives the same id');
SELECT is((SELECT count(*) FROM mktg.outbox WHERE campaign_id = :stream), 1::bigint, 'and one message');
SELECT mktg.send_conversion(:q, 'Lead', 'meta') AS lead, mktg.send_conversion(:p + 1, 'Lead', 'meta', event_id => 'left') AS out,
       mktg.send_conversion(:p, 'Lead', 'meta', event_id => 'nowhere') AS nowhere \gset
SELECT is(pg_temp.rows(format('SELECT variables FROM mktg.message WHERE mktg._message_id(tenant_id, campaign_id, contact_id, ref) = %L', :'lead')),
    '("{""event"": ""Lead"", ""occurred_at"": 1736931600}")', 'without value, event_id and properties; now');
SELECT is(pg_temp.rows(format('SELECT ref, status, failure_reason FROM mktg.message WHERE campaign_id = %s AND ref IN (''left'', ''nowhere'') ORDER BY ref', :stream)),
    '(left,skipped,unsubscribed) (nowhere,skipped,unreachable)', 'not without consent, and not without an address');
SELECT mktg.send_conversion(:foreigner, 'Purchase', 'meta', value => 1234567, event_id => 'v', tenant => 71) AS yen \gset
SELECT is(pg_temp.rows('SELECT variables ->> ''value'', variables ->> ''currency'' FROM mktg.message WHERE tenant_id = 71 AND ref = ''v'''), '(1234567,JPY)', 'a currency without decimals, the tenant''s');
CREATE TEMP TABLE amount AS SELECT * FROM (VALUES (5, 'USD', '0.05'), (0, 'USD', '0.00'), (1234567, 'KWD', '1234.567'), (9223372036854775807, 'USD', '92233720368547758.07')) AS t (v, c, want);
SELECT mktg.send_conversion(:q, 'Purchase', 'meta', value => v, currency => c, event_id => 'v' || v || c) FROM amount \g /dev/null
SELECT is((SELECT variables ->> 'value' FROM mktg.message WHERE ref = 'v' || v || c), want, c || ' ' || v) FROM amount;
SELECT is((SELECT count(*) FROM mktg._claim(1::smallint, 100) k WHERE mktg._record(k.message, k.lease, 'sent')), 7::bigint, 'conversions are claimed as any message');

--
-- refusals
--
SELECT is(pg_temp.refusal('SELECT mktg.' || call), want, call)
  FROM (VALUES
    (format('sync_segment(%s, ''meta'', ''1'', tenant => 72)', :pune), 'MK010 | tenant 72 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.'),
    ('sync_segment(987654, ''meta'', ''1'')', 'MK019 | segment 987654 does not exist | Tenant 1 has no such segment. | The view mktg.segment_list lists them; mktg.create_segment() makes one.'),
    (format('sync_segment(%s, ''meta'', ''1'')', :foreign_pune), format('MK019 | segment %s does not exist | Tenant 1 has no such segment. | The view mktg.segment_list lists them; mktg.create_segment() makes one.', :foreign_pune)),
    (format('sync_segment(%s, ''nobody'', ''1'')', :pune), 'MK015 | sender "nobody" does not exist | Tenant 1 has no sender of that name. | mktg.set_sender() makes one.'),
    (format('sync_segment(%s, ''mail'', ''1'')', :pune), 'MK032 | sender "mail" is for another channel | It is for channel email, and ads is wanted. | Name a sender of channel ads.'),
    (format('sync_segment(%s, ''meta'', ''a/../b'')', :pune), 'MK024 | invalid audience | It must have 1 to 100 letters, digits, - or _. | Give the id the advertiser shows, such as 23851234567890123 or 1nmth.'),
    (format('sync_segment(%s, ''meta'', '''')', :pune), 'MK024 | invalid audience | It must have 1 to 100 letters, digits, - or _. | Give the id the advertiser shows, such as 23851234567890123 or 1nmth.'),
    (format('sync_segment(%s, ''meta'', ''238512'')', :pune), format('MK024 | audience "238512" is kept in step already | By campaign %s. | Cancel that campaign first, or make another audience.', (SELECT campaign_id FROM mktg.audience_sync WHERE tenant_id = 1))),
    (format('sync_segment(%s, ''meta'', ''1'', '' '')', :pune), 'MK020 | name of a campaign must have 1 to 200 characters | The name given has 1 characters. | Choose a name that is not blank and not longer.'),
    (format('sync_segment(%s, ''meta'', NULL)', :pune), '22004 | argument "audience" must not be NULL | Give a value for "audience".'),
    ('feed_audiences(72)', 'MK010 | tenant 72 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.'),
    (format('send_conversion(%s, '''', ''meta'')', :q), 'MK020 | name of a conversion event must have 1 to 200 characters | The name given has 0 characters. | Choose a name that is not blank and not longer.'),
    (format('send_conversion(%s, ''Purchase'', ''meta'')', :foreigner), format('MK011 | contact %s does not exist | Tenant 1 has no such contact. | mktg.upsert_contact() makes one and returns its contact_id.', :foreigner)),
    (format('send_conversion(%s, ''Purchase'', ''mail'')', :q), 'MK032 | sender "mail" is for another channel | It is for channel email, and ads is wanted. | Name a sender of channel ads.'),
    (format('send_conversion(%s, ''Purchase'', ''meta'', value => -1)', :q), 'MK024 | value must not be negative | The value given is -1. | Give what was earned, in minor units.'),
    (format('send_conversion(%s, ''Purchase'', ''meta'', currency => ''USD'')', :q), 'MK024 | a currency needs a value | Give the value in minor units, or leave the currency out.'),
    (format('send_conversion(%s, ''Purchase'', ''meta'', value => 1, currency => ''usd'')', :q), 'MK024 | invalid currency "usd" | Use a code of ISO 4217, such as USD or INR.'),
    (format('send_conversion(%s, ''Purchase'', ''meta'', event_id => ''a b'')', :q), 'MK024 | invalid event_id | It must have 1 to 128 letters, digits or characters of "._:+-". | A UUID, or a name such as order-4711:receipt, will do.'),
    (format('send_conversion(%s, ''Purchase'', ''meta'', ''infinity'')', :q), 'MK024 | occurred_at must be an instant | Leave it out for now.'),
    (format('send_conversion(%s, ''Purchase'', ''meta'', properties => ''[]'')', :q), 'MK024 | properties must be a JSON object | For example ''{"discount": "20 %"}''.'),
    ('create_template(''t'', ''ads'', body => ''x'')', 'MK032 | channel ads has no templates | mktg.sync_segment() and mktg.send_conversion() need none.')) AS t (call, want);

SELECT * FROM finish();
ROLLBACK;
