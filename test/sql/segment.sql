\set ECHO none
\i test/setup.sql
BEGIN;
\i test/fixture.sql
SELECT plan(314);
SET LOCAL mktg.clock = '2025-01-15 09:00+00';
INSERT INTO mktg.tenant (tenant_id, name) VALUES (72, 'other');

-- Ten people: the first five of Pune, the others of Delhi; 1, 4, 7 and 10 are vip.
SELECT pg_temp.people(10) AS p \gset
UPDATE mktg.contact SET city = CASE WHEN external_id::integer <= 5 THEN 'Pune' ELSE 'Delhi' END,
       tags = CASE external_id::integer % 3 WHEN 1 THEN '{vip}'::text[] ELSE '{}' END;

-- Members of a segment, by number; what the view has.
CREATE FUNCTION pg_temp.members(segment bigint, tenant bigint DEFAULT 1) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(coalesce(c.external_id, m.contact_id::text), ' ' ORDER BY m.contact_id), 'nobody')
      FROM mktg.segment_member m LEFT JOIN mktg.contact c ON c.tenant_id = m.tenant_id AND c.contact_id = m.contact_id
     WHERE m.tenant_id = tenant AND m.segment_id = segment
$$;
CREATE FUNCTION pg_temp.refreshed(segment bigint, tenant bigint DEFAULT 1) RETURNS text LANGUAGE sql AS $$
    SELECT r::text FROM mktg.refresh_segment(segment, tenant => tenant) r
$$;
CREATE FUNCTION pg_temp.ids(VARIADIC numbers integer[]) RETURNS bigint[] LANGUAGE sql AS $$
    SELECT array_agg(contact_id ORDER BY n) FROM unnest(numbers) WITH ORDINALITY AS u (number, n)
      LEFT JOIN mktg.contact ON tenant_id = 1 AND external_id = number::text
$$;

--
-- create_segment
--
SELECT mktg.create_segment('Pune', '{"city": "Pune"}') AS pune \gset
SELECT is(pg_temp.rows(format('SELECT name, kind, size, refreshed_at, rules, description, sources, keeps_history, failure FROM mktg.segment_list WHERE segment_id = %s', :pune)),
    '(Pune,dynamic,0,,"{""city"": ""Pune""}",,{contact},f,)', 'a dynamic segment is there, and empty until it is refreshed');
SELECT is(pg_temp.members(:pune), 'nobody', 'nobody is in it');
SELECT mktg.create_segment('VIPs', '{"tags": ["vip"]}', 'dynamic', 'those with the tag') AS vips \gset
SELECT mktg.create_segment('Friends', kind => 'static') AS friends \gset
SELECT is(pg_temp.rows(format('SELECT name, kind, size, refreshed_at, rules, description, sources FROM mktg.segment_list WHERE segment_id IN (%s, %s)', :vips, :friends)),
    '(VIPs,dynamic,0,,"{""tags"": [""vip""]}","those with the tag",{contact}) (Friends,static,0,,,,{})', 'kind, description');
SELECT is(mktg.create_segment('Näme: with 200 letters ' || repeat('x', 177), '{"city": "Pune"}') IS NOT NULL, true, 'a name of 200 characters');
SELECT is(pg_temp.refusal(statement), refused, what) FROM (VALUES
    ($$SELECT mktg.create_segment('', '{"city": "Pune"}')$$, 'MK020 | name of a segment must have 1 to 200 characters | The name given has 0 characters. | Choose a name that is not blank and not longer.', 'an empty name'),
    ($$SELECT mktg.create_segment(repeat('x', 201), '{"city": "Pune"}')$$, 'MK020 | name of a segment must have 1 to 200 characters | The name given has 201 characters. | Choose a name that is not blank and not longer.', 'a name too long'),
    ($$SELECT mktg.create_segment('Pune', '{"city": "Delhi"}')$$, 'MK020 | segment "Pune" exists already | Choose another name, or change its rules with mktg.update_segment().', 'a name that is taken'),
    ($$SELECT mktg.create_segment('Pune', kind => 'static')$$, 'MK020 | segment "Pune" exists already | Choose another name, or change its rules with mktg.update_segment().', 'by one of the other kind'),
    ($$SELECT mktg.create_segment(NULL, '{"city": "Pune"}')$$, '22004 | argument "name" must not be NULL | Give a value for "name".', 'no name'),
    ($$SELECT mktg.create_segment('x', '{"city": "Pune"}', 'magic')$$, 'MK024 | kind "magic" does not exist | Kinds are dynamic (by rules) and static (by hand).', 'a kind that is none'),
    ($$SELECT mktg.create_segment('x', '{"city": "Pune"}', NULL)$$, '22004 | argument "kind" must not be NULL | Give a value for "kind".', 'no kind'),
    ($$SELECT mktg.create_segment('x')$$, 'MK024 | a dynamic segment needs rules | Give rules, such as ''{"city": "Berlin"}'', or kind => ''static'' and mktg.add_to_segment().', 'a dynamic one without rules'),
    ($$SELECT mktg.create_segment('x', '{"city": "Pune"}', 'static')$$, 'MK024 | a static segment has no rules | Give rules, such as ''{"city": "Berlin"}'', or kind => ''static'' and mktg.add_to_segment().', 'a static one with rules'),
    ($$SELECT mktg.create_segment('x', '{"city": "Pune"}', tenant => 99)$$, 'MK010 | tenant 99 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.', 'a tenant that is none'),
    ($$SELECT mktg.create_segment('x', '{"city": "Pune"}', tenant => NULL)$$, '22004 | argument "tenant" must not be NULL | Give a value for "tenant".', 'no tenant'),
    ($$SELECT mktg.create_segment('x', '{"segment": 999999}')$$, 'MK019 | invalid rule at segment: segment 999999 does not exist | The view mktg.segment_list lists them.', 'a rule that names a segment of nobody'),
    ($$SELECT mktg.create_segment('x', '{"segment": "x"}')$$, 'MK019 | invalid rule at segment: segment "x" does not exist | The view mktg.segment_list lists them.', 'or itself, which is not there yet'),
    ($$SELECT mktg.create_segment('x', '{"cityy": "Pune"}')$$, 'MK027 | invalid rule at cityy: short key "cityy" does not exist | Did you mean "city"?', 'a short key that is none')) AS t (statement, refused, what);

--
-- refresh_segment, in_segment
--
SELECT is(pg_temp.refreshed(:pune), '(5,0,5)', 'five entered, nobody exited, five are in');
SELECT is(pg_temp.members(:pune), '1 2 3 4 5', 'those of Pune');
SELECT is(pg_temp.refreshed(:pune), '(0,0,5)', 'refreshed again, nothing changes');
SELECT is(pg_temp.rows(format('SELECT size, refreshed_at, failure FROM mktg.segment_list WHERE segment_id = %s', :pune)), '(5,"2025-01-15 09:00:00+00",)', 'size and time are kept');
UPDATE mktg.contact SET city = 'Pune' WHERE external_id = '6';
UPDATE mktg.contact SET city = NULL WHERE external_id IN ('1', '2');
SELECT is(pg_temp.members(:pune), '1 2 3 4 5', 'members are those of the last refresh');
SELECT is(pg_temp.refreshed(:pune), '(1,2,4)', 'one entered, two exited');
SELECT is(pg_temp.members(:pune), '3 4 5 6', 'and the members are right');
SELECT is(mktg.in_segment(:p, :pune)::text || mktg.in_segment(:p + 2, :pune) || mktg.in_segment(:p + 5, :pune) || mktg.in_segment(-1, :pune)
       || mktg.in_segment(9223372036854775807, :pune), 'falsetruetruefalsefalse', 'in_segment() says the same, of contacts that are none too');
DELETE FROM mktg.consent WHERE contact_id = :p + 3;
DELETE FROM mktg.contact WHERE contact_id = :p + 3;
SELECT is(pg_temp.refreshed(:pune), '(0,1,3)', 'a contact that is no more exits');
INSERT INTO mktg.contact (contact_id, external_id, city, tags) VALUES (:p + 3, '4', 'Pune', '{vip}');
UPDATE mktg.contact SET city = 'Pune' WHERE external_id IN ('1', '2');
UPDATE mktg.contact SET city = 'Delhi' WHERE external_id = '6';
SELECT is(pg_temp.rows('SELECT r.name, r.entered, r.exited, r.size FROM mktg.refresh_segments() r WHERE name NOT LIKE ''N%'''), '(Pune,3,1,5) (VIPs,4,0,4)',
    'refresh_segments() does all dynamic ones');
SELECT is(pg_temp.rows('SELECT r.name, r.entered, r.exited, r.size FROM mktg.refresh_segments(NULL) r WHERE name NOT LIKE ''N%'''), '(Pune,0,0,5) (VIPs,0,0,4)',
    'as of now where the instant is NULL');
SELECT is(pg_temp.refusal(statement), refused, what) FROM (VALUES
    ('SELECT mktg.refresh_segment(999999)', 'MK019 | segment 999999 does not exist | Tenant 1 has no such segment. | The view mktg.segment_list lists them; mktg.create_segment() makes one.', 'a segment that is none'),
    ('SELECT mktg.refresh_segment(NULL)', '22004 | argument "segment" must not be NULL | Give a value for "segment".', 'no segment'),
    (format('SELECT mktg.refresh_segment(%s)', :friends), format('MK029 | segment %s is static | Its members are those of mktg.add_to_segment() and remove_from_segment().', :friends), 'a static one is not refreshed'),
    (format('SELECT mktg.refresh_segment(%s, ''infinity'')', :pune), 'MK024 | argument "at" must be an instant | Infinity is none. | Leave it out for the present time.', 'infinity'),
    ('SELECT mktg.refresh_segments(tenant => 99)', 'MK010 | tenant 99 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.', 'no such tenant'),
    ('SELECT mktg.refresh_dirty(0)', 'MK021 | limit must be at least 1 | The value given is 0. | Leave it NULL for no limit.', 'a limit of nothing'),
    ('SELECT mktg.in_segment(1, 999999)', 'MK019 | segment 999999 does not exist | Tenant 1 has no such segment. | The view mktg.segment_list lists them; mktg.create_segment() makes one.', 'in a segment that is none'),
    (format('SELECT mktg.in_segment(NULL, %s)', :pune), '22004 | argument "contact" must not be NULL | Give a value for "contact".', 'nobody in a segment')) AS t (statement, refused, what);
SELECT is(pg_temp.rows('SELECT mktg.refresh_dirty()') || pg_temp.rows('SELECT mktg.refresh_dirty(1)'), '(0)(0)', 'nothing is left to be refreshed');

--
-- update_segment, and segments within segments
--
SELECT mktg.update_segment(:vips, '{"logic": "AND", "rules": [{"field": "customer.tags", "operator": "CONTAINS", "value": "vip"}, {"segment": "Pune"}]}') \g /dev/null
SELECT is(pg_temp.members(:vips), '1 4 7 10', 'members are those of the old rules');
SELECT is((SELECT refreshed_at FROM mktg.segment_list WHERE segment_id = :vips), NULL, 'until it is refreshed');
SELECT is(pg_temp.refreshed(:vips), '(0,2,2)', 'then of the new');
SELECT is(pg_temp.members(:vips), '1 4', 'which take another segment''s rules in');
UPDATE mktg.contact SET city = 'Pune' WHERE external_id = '7';
SELECT is(pg_temp.refreshed(:vips), '(1,0,3)', 'by its rules, not by its members of the last refresh');
UPDATE mktg.contact SET city = 'Delhi' WHERE external_id = '7';
SELECT mktg.create_segment('Others', format('{"not": true, "rules": [{"segment": %s}]}', :vips)::jsonb) AS others \gset
SELECT is(pg_temp.refreshed(:others) || ' ' || pg_temp.members(:others), '(8,0,8) 2 3 5 6 7 8 9 10', 'and those others again');
SELECT mktg.update_segment(:pune, '{"field": "booking.frequency", "operator": ">=", "value": 1}') \g /dev/null
SELECT is(pg_temp.rows('SELECT name, sources, refreshed_at FROM mktg.segment_list WHERE name IN (''Pune'', ''VIPs'', ''Others'') ORDER BY name'),
    '(Others,"{contact,booking}",) (Pune,{booking},) (VIPs,"{contact,booking}",)', 'what one reads, those that take it in read too');
SELECT mktg.update_segment(:pune, '{"city": "Pune"}') \g /dev/null
SELECT is(pg_temp.refusal(statement), refused, what) FROM (VALUES
    (format('SELECT mktg.update_segment(%s, ''{"segment": %s}'')', :pune, :others), 'MK026 | invalid rule at segment: segment "Others" is made of itself | Take one of the segments out of the circle.', 'a circle of three'),
    (format('SELECT mktg.update_segment(%s, ''{"segment": %s}'')', :pune, :pune), 'MK026 | invalid rule at segment: segment "Pune" is made of itself | Take one of the segments out of the circle.', 'of one'),
    (format('SELECT mktg.update_segment(%s, ''{"segment": "Pune"}'')', :pune), 'MK026 | invalid rule at segment: segment "Pune" is made of itself | Take one of the segments out of the circle.', 'of one, by name'),
    (format('SELECT mktg.update_segment(%s, NULL)', :pune), '22004 | argument "rules" must not be NULL | For example ''{"city": "Berlin"}''.', 'no rules'),
    (format('SELECT mktg.update_segment(%s, ''[]'')', :pune), 'MK026 | invalid rule: rules must be a JSON object | The language is described in doc/segment.md; mktg.rule_field and mktg.rule_operator list what it knows.', 'rules that are none'),
    (format('SELECT mktg.update_segment(%s, ''{"city": "Pune"}'')', :friends), format('MK029 | segment %s is static | Only dynamic segments have rules.', :friends), 'a static one'),
    ('SELECT mktg.update_segment(999999, ''{"city": "Pune"}'')', 'MK019 | segment 999999 does not exist | Tenant 1 has no such segment. | The view mktg.segment_list lists them; mktg.create_segment() makes one.', 'one that is none')) AS t (statement, refused, what);

--
-- drop_segment
--
SELECT is(pg_temp.refusal(statement), refused, what) FROM (VALUES
    (format('SELECT mktg.drop_segment(%s)', :pune), '2BP01 | segment "Pune" is part of segment "VIPs" | Change or drop the other segment first.', 'one that is named by name'),
    (format('SELECT mktg.drop_segment(%s)', :vips), '2BP01 | segment "VIPs" is part of segment "Others" | Change or drop the other segment first.', 'by id'),
    ('SELECT mktg.drop_segment(999999)', 'MK019 | segment 999999 does not exist | Tenant 1 has no such segment. | The view mktg.segment_list lists them; mktg.create_segment() makes one.', 'one that is none'),
    ('SELECT mktg.drop_segment(NULL)', '22004 | argument "segment" must not be NULL | Give a value for "segment".', 'none')) AS t (statement, refused, what);
SELECT mktg.create_segment('The word "segment"', '{"field": "customer.name", "operator": "=", "value": "{\"segment\": \"Others\"}"}') AS word \gset
SELECT mktg.keep_segment_history(:others) \g /dev/null
SELECT mktg.create_segment('Recent', '{"field": "booking.at", "operator": "WITHIN_LAST", "value": 30}') AS recent \gset
INSERT INTO mktg.purchase (contact_id, amount) VALUES (:p, 100);
SELECT is(pg_temp.refreshed(:recent), '(1,0,1)', 'somebody who bought');
SELECT isnt((SELECT count(*) FROM mktg.segment_due WHERE segment_id = :recent), 0::bigint, 'will leave in time');
SELECT mktg.drop_segment(:others), mktg.drop_segment(:recent) \g /dev/null
SELECT is(pg_temp.rows(format('SELECT (SELECT count(*) FROM mktg.segment WHERE segment_id = ANY (x.s)), (SELECT count(*) FROM mktg.segment_bitmap WHERE segment_id = ANY (x.s)),'
        ' (SELECT count(*) FROM mktg.segment_change WHERE segment_id = ANY (x.s)), (SELECT count(*) FROM mktg.segment_due WHERE segment_id = ANY (x.s)) FROM (SELECT ARRAY[%s, %s]::bigint[] AS s) x', :others, :recent)),
    '(0,0,0,0)', 'dropped with members, history and marks; a word in a value names nobody');
SELECT mktg.drop_segment(:word), mktg.drop_segment(:vips) \g /dev/null

--
-- static segments
--
SELECT is(mktg.add_to_segment(:friends, pg_temp.ids(1, 2, 2, NULL, 1) || ARRAY[NULL, 0, -5, 999999999999]::bigint[]), 2::bigint, 'NULLs, repeats and contacts of nobody do not count');
SELECT is(mktg.add_to_segment(:friends, pg_temp.ids(2, 3)), 1::bigint, 'those who are in it do not, either');
SELECT is(pg_temp.members(:friends) || ', ' || size || ', ' || refreshed_at, '1 2 3, 3, 2025-01-15 09:00:00+00', 'three members') FROM mktg.segment_list WHERE segment_id = :friends;
SELECT is(mktg.remove_from_segment(:friends, pg_temp.ids(1, 1, 5, NULL) || ARRAY[0, -5]::bigint[]), 1::bigint, 'one is removed');
SELECT is(mktg.add_to_segment(:friends, '{}') || ' ' || mktg.remove_from_segment(:friends, '{}') || ' ' || mktg.add_to_segment(:friends, '{NULL}'), '0 0 0', 'empty arrays');
SELECT is(mktg.add_to_segment(:friends, ARRAY[pg_temp.ids(8, 9), pg_temp.ids(9, 10)]), 3::bigint, 'an array of two dimensions');
SELECT is(pg_temp.members(:friends), '2 3 8 9 10', 'five members');
INSERT INTO mktg.contact (contact_id, external_id) SELECT id, 'far ' || id
  FROM unnest(ARRAY[-9223372036854775808, -65537, -65536, -5, -1, 0, 65535, 65536, 131071, 131072, 4294967296, 9223372036854710272, 9223372036854775807]::bigint[]) AS id
  WHERE NOT EXISTS (SELECT FROM mktg.contact WHERE contact_id = id);
SELECT mktg.create_segment('Far', kind => 'static') AS far \gset
SELECT is(mktg.add_to_segment(:far, array_agg(contact_id ORDER BY external_id)), count(*), 'contact_ids from the smallest to the largest') FROM mktg.contact WHERE external_id LIKE 'far %';
SELECT set_eq(format('SELECT contact_id FROM mktg.segment_member WHERE segment_id = %s', :far), 'SELECT contact_id FROM mktg.contact WHERE external_id LIKE ''far %''', 'all of them are in');
SELECT is((SELECT bool_and(mktg.in_segment(contact_id, :far)) FROM mktg.contact WHERE external_id LIKE 'far %')::text || mktg.in_segment(1, :far) || mktg.in_segment(-2, :far)
    || mktg.in_segment(65537, :far) || mktg.in_segment(9223372036854775806, :far) || mktg.in_segment(-9223372036854775807, :far),
    'truefalsefalsefalsefalsefalse', 'and none beside them');
SELECT is((SELECT string_agg(chunk::text, ' ' ORDER BY chunk) FROM mktg.segment_bitmap WHERE segment_id = :far), '-140737488355328 -2 -1 0 1 2 65536 140737488355327', 'in chunks of 65,536');
SELECT is(mktg.audience_size(ARRAY[:far]::bigint[]), (SELECT count(*) FROM mktg.contact WHERE external_id LIKE 'far %'), 'counted');
SELECT mktg.create_segment('Far ones', '{"field": "customer.externalId", "operator": "STARTS_WITH", "value": "far "}') AS faraway \gset
SELECT is(pg_temp.refreshed(:faraway), format('(%s,0,%s)', n, n), 'a dynamic one has them, too') FROM (SELECT count(*) AS n FROM mktg.contact WHERE external_id LIKE 'far %') x;
SELECT is(pg_temp.rows(format('SELECT "both" FROM mktg.segment_overlap(ARRAY[%s, %s])', :far, :faraway)), format('(%s)', count(*)), 'the same') FROM mktg.contact WHERE external_id LIKE 'far %';
SELECT mktg.refresh_segments() \g /dev/null
UPDATE mktg.contact SET external_id = 'near' WHERE contact_id = 9223372036854775807;
SELECT is(mktg.refresh_dirty() || ' ' || mktg.in_segment(9223372036854775807, :faraway), '1 false', 'the largest is held against it alone');
UPDATE mktg.contact SET external_id = 'near2' WHERE contact_id = -5;
SELECT is(mktg.refresh_dirty() || ' ' || mktg.in_segment(-5, :faraway), '1 false', 'a negative one as well');
SELECT is(mktg.remove_from_segment(:far, '{-5,65535,65536,9223372036854775807,9223372036854775806}'), 4::bigint, 'four of them are removed');
SELECT is((SELECT string_agg(chunk::text, ' ' ORDER BY chunk) FROM mktg.segment_bitmap WHERE segment_id = :far AND chunk > 0), '1 2 65536 140737488355327', 'chunks with members stay');
SELECT mktg.remove_from_segment(:far, array_agg(contact_id)) FROM mktg.contact \g /dev/null
SELECT is((SELECT count(*) FROM mktg.segment_bitmap WHERE segment_id = :far), 0::bigint, 'those without go');
SELECT is((SELECT size FROM mktg.segment_list WHERE segment_id = :far), 0::bigint, 'nobody is left');
SELECT is(pg_temp.refusal(statement), refused, what) FROM (VALUES
    (format('SELECT mktg.add_to_segment(%s, ''{1}'')', :pune), format('MK029 | segment %s is dynamic | Its members follow from its rules; make a static segment for a list.', :pune), 'a dynamic one is not added to'),
    (format('SELECT mktg.remove_from_segment(%s, ''{1}'')', :pune), format('MK029 | segment %s is dynamic | Its members follow from its rules; make a static segment for a list.', :pune), 'or removed from'),
    (format('SELECT mktg.add_to_segment(%s, NULL)', :friends), '22004 | argument "contacts" must not be NULL | Give an array of contact_ids.', 'no contacts'),
    ('SELECT mktg.add_to_segment(999999, ''{1}'')', 'MK019 | segment 999999 does not exist | Tenant 1 has no such segment. | The view mktg.segment_list lists them; mktg.create_segment() makes one.', 'no such segment'),
    ('SELECT mktg.remove_from_segment(999999, ''{1}'')', 'MK019 | segment 999999 does not exist | Tenant 1 has no such segment. | The view mktg.segment_list lists them; mktg.create_segment() makes one.', 'to remove from')) AS t (statement, refused, what);
-- rules may name a static one
SELECT mktg.create_segment('Friends of Delhi', '{"logic": "AND", "rules": [{"segment": "Friends"}, {"field": "customer.city", "operator": "=", "value": "Delhi"}]}') AS fod \gset
SELECT is(pg_temp.refreshed(:fod) || ' ' || pg_temp.members(:fod), '(3,0,3) 8 9 10', 'rules over a static segment');
SELECT mktg.refresh_segments() \g /dev/null
SELECT mktg.add_to_segment(:friends, pg_temp.ids(6)), mktg.remove_from_segment(:friends, pg_temp.ids(9)) \g /dev/null
SELECT is(mktg.refresh_dirty() || ' ' || pg_temp.members(:fod), '2 6 8 10', 'follow those who are added and removed');
SELECT is(pg_temp.refusal(format('SELECT mktg.drop_segment(%s)', :friends)), '2BP01 | segment "Friends" is part of segment "Friends of Delhi" | Change or drop the other segment first.', 'and keep it from being dropped');

--
-- audience_size, segment_overlap
--
SELECT mktg.create_segment('A', kind => 'static') AS a, mktg.create_segment('B', kind => 'static') AS b, mktg.create_segment('C', kind => 'static') AS c, mktg.create_segment('None', kind => 'static') AS none \gset
INSERT INTO mktg.contact (contact_id) SELECT 5000000000 + 3 * i FROM generate_series(1, 40000) AS i;
SELECT mktg.add_to_segment(:a, array_agg(5000000000 + 3 * i)) AS na FROM generate_series(1, 20000) AS i \gset
SELECT mktg.add_to_segment(:b, array_agg(5000000000 + 3 * i)) AS nb FROM generate_series(10001, 40000) AS i \gset
SELECT mktg.add_to_segment(:c, array_agg(5000000000 + 3 * i)) AS nc FROM generate_series(3, 40000, 3) AS i \gset
SELECT is(:na || ' ' || :nb || ' ' || :nc, '20000 30000 13333', 'three large segments');
-- the same over a membership table, for comparison
CREATE TEMP TABLE member AS SELECT segment_id AS s, contact_id AS c FROM mktg.segment_member WHERE segment_id IN (:a, :b, :c, :none);
CREATE FUNCTION pg_temp.slow_size(include bigint[], exclude bigint[], mode text) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM (SELECT c FROM member GROUP BY c
     HAVING CASE mode WHEN 'any' THEN bool_or(s = ANY (include))
                 ELSE count(DISTINCT s) FILTER (WHERE s = ANY (include)) = (SELECT count(DISTINCT u) FROM unnest(include) u) AND cardinality(include) > 0 END
        AND NOT bool_or(s = ANY (exclude))) x
$$;
CREATE TEMP TABLE sets (name text, ids bigint[]);
INSERT INTO sets VALUES ('{}', '{}'), ('A', ARRAY[:a]), ('AB', ARRAY[:a, :b]), ('ABC', ARRAY[:a, :b, :c]), ('AAC', ARRAY[:a, :a, :c]), ('A0', ARRAY[:a, :none]), ('0', ARRAY[:none]), ('C', ARRAY[:c]), ('BC', ARRAY[[:b], [:c]]);
SELECT is_empty($$SELECT i.name, e.name, mode FROM sets i, sets e, unnest('{any,all}'::text[]) AS mode
     WHERE mktg.audience_size(i.ids, e.ids, mode) IS DISTINCT FROM pg_temp.slow_size(i.ids, e.ids, mode)$$,
    'sizes of 162 combinations are those of the same question over a table: none, one, several, repeated, empty, in two dimensions');
SELECT is(mktg.audience_size(ARRAY[:a, :b]) || ' ' || mktg.audience_size(ARRAY[:a, :b], '{}', 'all') || ' ' || mktg.audience_size(ARRAY[:a, :b], ARRAY[:c]) || ' ' || mktg.audience_size('{}'),
    '40000 10000 26667 0', 'any, all, without, of none');
SELECT is(pg_temp.rows(format('SELECT CASE a WHEN %1$s THEN ''A'' WHEN %2$s THEN ''B'' WHEN %3$s THEN ''C'' END, CASE b WHEN %2$s THEN ''B'' WHEN %3$s THEN ''C'' ELSE ''none'' END, "both"'
        ' FROM mktg.segment_overlap(ARRAY[%1$s, %2$s, %3$s, %4$s, %1$s])', :a, :b, :c, :none)),
    '(A,B,10000) (A,C,6666) (A,none,0) (B,C,10000) (B,none,0) (C,none,0)', 'overlap of each pair, a repeated one once');
SELECT is((SELECT count(*) FROM mktg.segment_overlap('{}')) + (SELECT count(*) FROM mktg.segment_overlap(ARRAY[:a])), 0::bigint, 'no pair, no row');
SELECT is(pg_temp.refusal(statement), refused, what) FROM (VALUES
    ('SELECT mktg.audience_size(NULL)', '22004 | argument "include" must not be NULL | Give an array of segment ids, ''{}'' for none.', 'no array'),
    (format('SELECT mktg.audience_size(ARRAY[%s], NULL)', :a), '22004 | argument "exclude" must not be NULL | Give an array of segment ids, ''{}'' for none.', 'no array to leave out'),
    (format('SELECT mktg.audience_size(ARRAY[%s, NULL])', :a), '22004 | array "include" must not contain NULL | List the ids of segments.', 'a NULL among them'),
    (format('SELECT mktg.audience_size(ARRAY[%s], ''{NULL}'')', :a), '22004 | array "exclude" must not contain NULL | List the ids of segments.', 'to leave out'),
    (format('SELECT mktg.audience_size(ARRAY[%s, 999999])', :a), 'MK019 | segment 999999 does not exist | Tenant 1 has no such segment. | The view mktg.segment_list lists them; mktg.create_segment() makes one.', 'one that is none'),
    (format('SELECT mktg.audience_size(ARRAY[%s], ''{999999}'')', :a), 'MK019 | segment 999999 does not exist | Tenant 1 has no such segment. | The view mktg.segment_list lists them; mktg.create_segment() makes one.', 'to leave out'),
    (format('SELECT mktg.audience_size(ARRAY[%s], mode => ''some'')', :a), 'MK024 | mode "some" does not exist | Modes are any (in one of the segments) and all (in every one).', 'a mode that is none'),
    (format('SELECT mktg.audience_size(ARRAY[%s], mode => NULL)', :a), '22004 | argument "mode" must not be NULL | Give a value for "mode".', 'no mode'),
    ('SELECT mktg.audience_size(''{}'', tenant => 99)', 'MK010 | tenant 99 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.', 'no such tenant'),
    ('SELECT mktg.segment_overlap(NULL)', '22004 | argument "segments" must not be NULL | Give an array of segment ids, ''{}'' for none.', 'overlap of nothing'),
    ('SELECT mktg.segment_overlap(''{999999}'')', 'MK019 | segment 999999 does not exist | Tenant 1 has no such segment. | The view mktg.segment_list lists them; mktg.create_segment() makes one.', 'of one that is none'),
    ('SELECT mktg.segment_overlap(''{NULL}'')', '22004 | array "segments" must not contain NULL | List the ids of segments.', 'of NULL')) AS t (statement, refused, what);
CREATE TEMP TABLE many AS SELECT mktg.create_segment('many ' || i, kind => 'static') AS id FROM generate_series(1, 201) AS i;
SELECT is((SELECT count(*) FROM mktg.segment_overlap((SELECT array_agg(id) FROM (SELECT id FROM many LIMIT 200) x))), 19900::bigint, 'two hundred segments');
SELECT is(pg_temp.refusal('SELECT mktg.segment_overlap((SELECT array_agg(id) FROM many))'), 'MK025 | too many segments | The array has 201, and 200 are the most. | Ask for fewer at once.', 'not more');
SELECT mktg.drop_segment(id) FROM many \g /dev/null
DELETE FROM mktg.contact WHERE contact_id > 5000000000 AND contact_id <= 5000120000;
SELECT mktg.drop_segment(s) FROM unnest(ARRAY[:a, :b, :c, :none, :far, :faraway]) AS s \g /dev/null
SELECT mktg.refresh_segments() \g /dev/null

--
-- history
--
SELECT mktg.keep_segment_history(:pune), mktg.keep_segment_history(:friends) \g /dev/null
SELECT is((SELECT string_agg(name, ',' ORDER BY name) FROM mktg.segment_list WHERE keeps_history), 'Friends,Pune', 'two keep history');
SELECT is_empty('SELECT * FROM mktg.segment_change', 'from now on');
SET LOCAL mktg.clock = '2025-01-16 10:00+00';
UPDATE mktg.contact SET city = CASE city WHEN 'Pune' THEN 'Delhi' ELSE 'Pune' END WHERE external_id IN ('5', '6');
SELECT mktg.refresh_dirty() \g /dev/null
SET LOCAL mktg.clock = '2025-01-17 11:00+00';
SELECT mktg.add_to_segment(:friends, pg_temp.ids(1, 2)), mktg.remove_from_segment(:friends, pg_temp.ids(3, 4)) \g /dev/null
UPDATE mktg.contact SET city = 'Pune' WHERE external_id = '5';
SELECT mktg.refresh_segment(:pune) \g /dev/null
UPDATE mktg.contact SET city = 'Delhi' WHERE external_id = '6';
SELECT mktg.refresh_segments('2025-01-18 12:00+00') \g /dev/null
SELECT is(pg_temp.rows('SELECT s.name, c.external_id, to_char(h.at, ''DD HH24''), h.change FROM mktg.segment_change h JOIN mktg.segment s USING (segment_id) JOIN mktg.contact c USING (contact_id)'
        ' ORDER BY h.at, s.name, c.external_id'), '(Pune,5,"16 10",exited) (Pune,6,"16 10",entered) (Friends,1,"17 11",entered) (Friends,3,"17 11",exited)'
    ' (Pune,5,"17 11",entered) (Pune,6,"18 12",exited)', 'who entered and exited, and when, whichever way it came about');
SELECT mktg.keep_segment_history(:pune, false), mktg.keep_segment_history(:friends, false) \g /dev/null
UPDATE mktg.contact SET city = 'Pune' WHERE external_id = '6';
SELECT mktg.refresh_segments() \g /dev/null
SELECT is((SELECT count(*) FROM mktg.segment_change), 6::bigint, 'no more, and what was written stays');
UPDATE mktg.contact SET city = 'Delhi' WHERE external_id = '6';
SELECT mktg.keep_segment_history(:pune, NULL) \g /dev/null
SELECT is((SELECT keeps_history FROM mktg.segment_list WHERE segment_id = :pune), true, 'NULL keeps');
SELECT is(pg_temp.refusal('SELECT mktg.keep_segment_history(999999)'), 'MK019 | segment 999999 does not exist | Tenant 1 has no such segment. | The view mktg.segment_list lists them; mktg.create_segment() makes one.', 'of one that is none');
SELECT mktg.refresh_segments() \g /dev/null
SET LOCAL mktg.clock = '2025-01-15 09:00+00';

--
-- estimate, explain
--
SELECT is(mktg.estimate_segment('{"city": "Pune"}') || ' ' || mktg.estimate_segment('{"hasTickets": true}') || ' ' || mktg.estimate_segment('{"city": "Oslo"}'), '5 1 0', 'estimate_segment() counts');
CREATE TEMP TABLE before AS SELECT pg_temp.state();
SELECT is(mktg.estimate_segment('{"hasPurchasedInLast30Days": true}', at) , n, 'as of ' || at)
  FROM (VALUES (timestamptz '2025-01-15 08:59:59+00', 0::bigint), ('2025-01-15 09:00+00', 1), ('2025-02-14 08:59:59+00', 1), ('2025-02-14 09:00:01+00', 0)) AS t (at, n);
SET LOCAL mktg.clock = '2025-03-01 00:00+00';
SELECT is(mktg.estimate_segment('{"hasPurchasedInLast30Days": true}'), 0::bigint, 'without an instant, as of mktg.clock()');
SET LOCAL mktg.clock = '2025-01-15 09:00+00';
SELECT is((TABLE before), pg_temp.state(), 'and nothing is stored');
SELECT alike(regexp_replace(sql, '\s+', ' ', 'g'), '%FROM mktg.contact c WHERE c.tenant_id = $1 AND %', 'explain_segment() shows a statement') FROM mktg.explain_segment('{"city": "Pu''ne; DROP TABLE x"}') AS sql;
SELECT is(split_part(sql, E'\n--', 1) LIKE '%Pu''ne%', false, 'in which no value stands') FROM mktg.explain_segment('{"city": "Pu''ne; DROP TABLE x"}') AS sql;
SELECT matches(sql, '-- \$\d+ = ''Pu''''ne; DROP TABLE x'' \(text\)', 'values are parameters') FROM mktg.explain_segment('{"city": "Pu''ne; DROP TABLE x"}') AS sql;
SELECT is((SELECT count(*) FROM regexp_matches(split_part(sql, E'\n--', 1), '\$\d+', 'g') AS m WHERE strpos(sql, E'\n-- ' || m[1] || ' = ') = 0), 0::bigint,
    'each parameter of the statement is listed') FROM mktg.explain_segment('{"city": "Pune", "tags": ["vip"], "min_ltv": 5, "hasPurchasedInLast30Days": true}') AS sql;
SELECT matches(plan, 'Aggregate.*Scan', 'its plan') FROM mktg.explain_segment('{"city": "Pune"}', false) AS plan;
SELECT doesnt_match(plan, 'actual|Execution Time', 'without being run') FROM mktg.explain_segment('{"city": "Pune"}', false) AS plan;
SELECT matches(plan, 'actual.*Execution Time', 'and run') FROM mktg.explain_segment('{"city": "Pune"}', true) AS plan;
SELECT is(pg_temp.refusal(statement), refused, what) FROM (VALUES
    ('SELECT mktg.explain_segment(NULL)', '22004 | argument "rules" must not be NULL | For example ''{"city": "Berlin"}''.', 'explain no rules'),
    ('SELECT mktg.explain_segment(NULL, true)', '22004 | argument "rules" must not be NULL | For example ''{"city": "Berlin"}''.', 'or their plan'),
    ('SELECT mktg.explain_segment(''{"nothing": 1}'')', 'MK027 | invalid rule at nothing: short key "nothing" does not exist | mktg.define_alias() makes short keys; mktg.rule_alias has them.', 'explain rules that are none'),
    ('SELECT mktg.explain_segment(''{"nothing": 1}'', false)', 'MK027 | invalid rule at nothing: short key "nothing" does not exist | mktg.define_alias() makes short keys; mktg.rule_alias has them.', 'plan rules that are none'),
    ('SELECT mktg.estimate_segment(NULL)', '22004 | argument "rules" must not be NULL | For example ''{"city": "Berlin"}''.', 'estimate no rules'),
    ('SELECT mktg.estimate_segment(''{"city": "Pune"}'', ''-infinity'')', 'MK024 | argument "at" must be an instant | Infinity is none. | Leave it out for the present time.', 'estimate before all time'),
    ('SELECT mktg.estimate_segment(''{"city": "Pune"}'', tenant => 99)', 'MK010 | tenant 99 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.', 'estimate of no tenant')) AS t (statement, refused, what);

--
-- the registry, and an application's table
--
CREATE SCHEMA shop;
CREATE TABLE shop.loans (loan_id serial, customer_no text NOT NULL, balance numeric NOT NULL, "Opened On" date, product varchar(20), flags text[], extra jsonb, paid boolean, updated timestamp);
INSERT INTO shop.loans (customer_no, balance, "Opened On", product, flags, extra, paid, updated) VALUES
    ('1', 1200.50, '2025-01-10', 'home', '{late}', '{"branch": "West"}', false, '2025-01-14 12:00'),
    ('1', 300, '2020-05-01', 'car', '{}', '{}', true, '2024-01-01'), ('2', 50, '2024-12-31', 'car', NULL, NULL, NULL, NULL),
    ('nobody', 1e9, '2025-01-01', 'home', '{late}', NULL, false, NULL);
SELECT lives_ok($$SELECT mktg.map_source('loan', 'shop.loans', 'customer_no', 'Opened On', 'external_id', 'loans of the bank')$$, 'a table the extension has never seen');
SELECT is(pg_temp.rows('SELECT tenant_id, name, relation, contact_column, at_column, key, watched, description FROM mktg.source WHERE tenant_id > 0'),
    '(1,loan,shop.loans,customer_no,"Opened On",external_id,t,"loans of the bank")', 'is mapped');
SELECT is(pg_temp.refusal(statement), 'nothing', what) FROM (VALUES
    ($$SELECT mktg.define_field('loan.balance', 'loan', 'balance', 'number', 'what is owed')$$, 'a column as a field'),
    ($$SELECT mktg.define_field('loan.total', 'loan', 'sum(balance)', 'number')$$, 'a sum'),
    ($$SELECT mktg.define_field('loan.count', 'loan', 'count(*)', 'number')$$, 'a count'),
    ($$SELECT mktg.define_field('loan.cents', 'loan', '(balance * 100)::bigint', 'money')$$, 'money'),
    ($$SELECT mktg.define_field('loan.product', 'loan', 'product', 'text')$$, 'a varchar'),
    ($$SELECT mktg.define_field('loan.opened', 'loan', '"Opened On"', 'date')$$, 'a column with a blank'),
    ($$SELECT mktg.define_field('loan.lastOpened', 'loan', 'max("Opened On")', 'date')$$, 'the latest'),
    ($$SELECT mktg.define_field('loan.flags', 'loan', 'flags', 'array')$$, 'an array'),
    ($$SELECT mktg.define_field('loan.extra', 'loan', 'extra', 'json')$$, 'JSON'),
    ($$SELECT mktg.define_field('loan.allPaid', 'loan', 'bool_and(paid)', 'boolean')$$, 'all of them'),
    ($$SELECT mktg.define_field('loan.updated', 'loan', 'updated', 'timestamp')$$, 'a time without zone'),
    ($$SELECT mktg.define_field('loan.big', 'loan', 'CASE WHEN balance > 1000 THEN ''yes'' ELSE ''no'' END', 'text')$$, 'an expression')) AS t (statement, what);
SELECT is(mktg.estimate_segment(rules::jsonb), n, rules) FROM (VALUES
    ('{"field": "loan.balance", "operator": ">", "value": 1000}', 1::bigint), ('{"field": "loan.total", "operator": "=", "value": 1500.5}', 1),
    ('{"field": "loan.count", "operator": ">=", "value": 1}', 2), ('{"field": "loan.cents", "operator": "<", "value": 51}', 1),
    ('{"field": "loan.product", "operator": "=", "value": "car"}', 2), ('{"field": "loan.opened", "operator": "BEFORE", "value": "2021-01-01"}', 1),
    ('{"field": "loan.lastOpened", "operator": "AFTER", "value": "2025-01-01"}', 1), ('{"field": "loan.flags", "operator": "CONTAINS", "value": "late"}', 1),
    ('{"field": "loan.extra.branch", "operator": "=", "value": "West"}', 1), ('{"field": "loan.allPaid", "operator": "=", "value": true}', 0),
    ('{"field": "loan.big", "operator": "=", "value": "no"}', 2), ('{"field": "loan.count", "operator": ">=", "value": 1, "within_days": 10}', 1),
    ('{"field": "LOAN.BALANCE", "operator": "=", "value": 50}', 1), ('{"field": "loan.updated", "operator": "WITHIN_LAST", "value": 2}', 1)) AS t (rules, n);
SELECT lives_ok($$SELECT mktg.define_alias('owes_at_least', '{"field": "loan.total", "operator": ">=", "value": "$value"}')$$, 'a short key');
SELECT is(mktg.estimate_segment('{"owes_at_least": 100}') || ' ' || mktg.estimate_segment('{"owes_at_least": 10, "city": "Pune"}'), '1 2', 'is understood');
SELECT is(pg_temp.rows('SELECT name, source, type, takes_within_days, description, expression, is_own FROM mktg.rule_field WHERE tenant_id = 1 AND name IN (''loan.balance'', ''loan.extra.KEY'') ORDER BY name'),
    '(loan.balance,loan,number,t,"what is owed",balance,t) (loan.extra.KEY,loan,json,t,,extra,t)', 'forms can offer them');
SELECT mktg.create_segment('Debtors', '{"owes_at_least": 10}') AS debtors \gset
SELECT is(pg_temp.refreshed(:debtors) || ' ' || pg_temp.members(:debtors), '(2,0,2) 1 2', 'a segment of them, found by external_id');
SELECT mktg.refresh_segments() \g /dev/null
INSERT INTO shop.loans (customer_no, balance, "Opened On") VALUES ('9', 11, '2025-01-15'), ('8', 9, '2025-01-15');
DELETE FROM shop.loans WHERE customer_no = '2';
SELECT is(mktg.refresh_dirty() || ' ' || pg_temp.members(:debtors), '3 1 9', 'whose changes are noticed');
UPDATE shop.loans SET customer_no = '10' WHERE customer_no = '9';
SELECT is(mktg.refresh_dirty() || ' ' || pg_temp.members(:debtors), '2 1 10', 'both of whom a row went from and to');
INSERT INTO mktg.contact (external_id) VALUES ('nobody');
SELECT is(mktg.refresh_dirty() || ' ' || pg_temp.members(:debtors), '1 1 10 nobody', 'a contact that comes after its rows');
UPDATE mktg.contact SET external_id = 'nobody2' WHERE external_id = 'nobody';
SELECT is(mktg.refresh_dirty() || ' ' || pg_temp.members(:debtors), '1 1 10', 'or gets another external_id');
TRUNCATE shop.loans;
SELECT is(mktg.refresh_dirty() > 0 AND pg_temp.members(:debtors) = 'nobody', true, 'TRUNCATE is noticed');
INSERT INTO shop.loans (customer_no, balance, "Opened On") VALUES ('3', 70, '2025-01-15');
SELECT mktg.refresh_dirty() \g /dev/null
SELECT mktg.define_alias('owes_at_least', '{"field": "loan.count", "operator": ">=", "value": "$value"}') \g /dev/null
SELECT mktg.refresh_dirty() \g /dev/null
SELECT is(pg_temp.members(:debtors), 'nobody', 'a short key that is defined anew makes members anew');
SELECT mktg.define_alias('owes_at_least', '{"field": "loan.total", "operator": ">=", "value": "$value"}') \g /dev/null

-- every refusal
SELECT is(pg_temp.refusal(statement), refused, what) FROM (VALUES
    ($$SELECT mktg.map_source(NULL, 'shop.loans', 'customer_no')$$, '22004 | argument "name" must not be NULL | Give a value for "name".', 'map: no name'),
    ($$SELECT mktg.map_source('x', 'shop.loans', NULL)$$, '22004 | argument "contact_column" must not be NULL | Name the column of the table that has the contact_id or external_id.', 'map: no column'),
    ($$SELECT mktg.map_source('x y', 'shop.loans', 'customer_no', key => 'external_id')$$, 'MK020 | invalid name of a source | Use 1 to 63 letters, digits and _, beginning with a letter.', 'map: a name with a blank'),
    ($$SELECT mktg.map_source('', 'shop.loans', 'customer_no', key => 'external_id')$$, 'MK020 | invalid name of a source | Use 1 to 63 letters, digits and _, beginning with a letter.', 'map: an empty name'),
    ($$SELECT mktg.map_source('1x', 'shop.loans', 'customer_no', key => 'external_id')$$, 'MK020 | invalid name of a source | Use 1 to 63 letters, digits and _, beginning with a letter.', 'map: a name that begins with a digit'),
    ($$SELECT mktg.map_source(repeat('x', 64), 'shop.loans', 'customer_no', key => 'external_id')$$, 'MK020 | invalid name of a source | Use 1 to 63 letters, digits and _, beginning with a letter.', 'map: a long name'),
    ($$SELECT mktg.map_source('x', 'shop.loans', 'customer')$$, '42703 | relation "loans" has no column "customer" | Name a column of the relation as contact_column.', 'map: a column that is none'),
    ($$SELECT mktg.map_source('x', 'shop.loans', 'ctid')$$, '42703 | relation "loans" has no column "ctid" | Name a column of the relation as contact_column.', 'map: a system column'),
    ($$SELECT mktg.map_source('x', 'shop.loans', 'customer_no', 'opened', 'external_id')$$, '42703 | relation "loans" has no column "opened" | Name a column of the relation as at_column.', 'map: a time that is none'),
    ($$SELECT mktg.map_source('x', 'shop.loans', 'customer_no', 'balance', 'external_id')$$, 'MK024 | column "balance" is no time | It is of type numeric. | Name a column of type timestamptz, timestamp or date.', 'map: a time of another type'),
    ($$SELECT mktg.map_source('x', 'shop.loans', 'customer_no')$$, 'MK024 | column "customer_no" cannot hold contact_ids | It is of type text. | Use key => ''external_id'' for ids of your own.', 'map: text for contact_ids'),
    ($$SELECT mktg.map_source('x', 'shop.loans', 'customer_no', key => 'email')$$, 'MK024 | key "email" does not exist | Keys are contact_id and external_id.', 'map: a key that is none'),
    ($$SELECT mktg.map_source('x', 'shop.loans', 'customer_no', key => NULL)$$, '22004 | argument "key" must not be NULL | Give a value for "key".', 'map: no key'),
    ($$SELECT mktg.map_source('x', 'shop.loans', 'customer_no', key => 'external_id', tenant => 99)$$, 'MK010 | tenant 99 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.', 'map: no such tenant'),
    ($$SELECT mktg.map_source('x', 'shop.loans', 'customer_no', key => 'external_id', tenant => 0)$$, 'MK010 | tenant 0 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.', 'map: for everybody'),
    ($$SELECT mktg.map_source('x', NULL, NULL)$$, 'MK027 | source "x" does not exist | SELECT name FROM mktg.source lists those of the tenant.', 'map: take back what is not there'),
    ($$SELECT mktg.map_source('booking', NULL, NULL)$$, 'MK027 | source "booking" does not exist | SELECT name FROM mktg.source lists those of the tenant.', 'map: take back what ships'),
    ($$SELECT mktg.map_source('loan', NULL, NULL)$$, '2BP01 | field loan.allPaid is one of source "loan" | Remove its fields first: mktg.define_field(name, source, NULL, NULL).', 'map: take back what has fields'),
    ($$SELECT mktg.define_field(NULL, 'loan', 'balance', 'number')$$, '22004 | argument "name" must not be NULL | Give a value for "name".', 'field: no name'),
    ($$SELECT mktg.define_field('loan.x', NULL, 'balance', 'number')$$, '22004 | argument "source" must not be NULL | Give a value for "source".', 'field: no source'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'balance', NULL)$$, '22004 | argument "type" must not be NULL | Give a value for "type".', 'field: no type'),
    ($$SELECT mktg.define_field('loan.none', 'loan', NULL, NULL)$$, 'MK027 | field "loan.none" does not exist | Only a tenant''s own fields can be removed; SELECT name FROM mktg.field lists them.', 'field: remove what is not there'),
    ($$SELECT mktg.define_field('customer.city', 'contact', NULL, NULL)$$, 'MK027 | field "customer.city" does not exist | Only a tenant''s own fields can be removed; SELECT name FROM mktg.field lists them.', 'field: remove what ships'),
    ($$SELECT mktg.define_field('balance', 'loan', 'balance', 'number')$$, 'MK020 | invalid name of a field | Write it like loan.balance: letters, digits and _ with dots between, at most 200 characters.', 'field: a name without a dot'),
    ($$SELECT mktg.define_field('loan.', 'loan', 'balance', 'number')$$, 'MK020 | invalid name of a field | Write it like loan.balance: letters, digits and _ with dots between, at most 200 characters.', 'field: that ends in one'),
    ($$SELECT mktg.define_field('loan..x', 'loan', 'balance', 'number')$$, 'MK020 | invalid name of a field | Write it like loan.balance: letters, digits and _ with dots between, at most 200 characters.', 'field: with two'),
    ($$SELECT mktg.define_field('loan.x"', 'loan', 'balance', 'number')$$, 'MK020 | invalid name of a field | Write it like loan.balance: letters, digits and _ with dots between, at most 200 characters.', 'field: with a quote'),
    ($$SELECT mktg.define_field('loan.' || repeat('x', 200), 'loan', 'balance', 'number')$$, 'MK020 | invalid name of a field | Write it like loan.balance: letters, digits and _ with dots between, at most 200 characters.', 'field: a long name'),
    ($$SELECT mktg.define_field('loan.x', 'loans', 'balance', 'number')$$, 'MK027 | source "loans" does not exist | mktg.map_source() makes one; SELECT name FROM mktg.source lists them.', 'field: a source that is none'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'balance', 'float')$$, 'MK028 | type "float" does not exist | Types are text, number, money (whole minor units), boolean, timestamp, date, array (of text) and json (jsonb).', 'field: a type that is none'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'balance', 'text')$$, 'MK028 | the expression is of type numeric, which is no text | Types are text, number, money (whole minor units), boolean, timestamp, date, array (of text) and json (jsonb).', 'field: of another type'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'sum(product)', 'number')$$, 'MK028 | there is no sum of character varying | Add up numbers.', 'field: a sum of words'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'max(extra)', 'json')$$, 'MK028 | a JSON field cannot be an aggregate | Give a column of type jsonb.', 'field: an aggregate that is none'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'nothing', 'number')$$, '42703 | column "nothing" does not exist', 'field: a column that is none'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'balance +', 'number')$$, '42601 | syntax error at or near ")"', 'field: half an expression'),
    ($$SELECT mktg.define_field('loan.x', 'loan', '', 'number')$$, '42601 | syntax error at or near ")"', 'field: an empty one'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'balance, 1', 'number')$$, 'MK028 | the expression is more than one expression | Give what would stand between SELECT and FROM.', 'field: two of them'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'balance FROM shop.loans; DROP TABLE shop.loans; SELECT 1', 'number')$$, '42601 | syntax error at or near "FROM"', 'field: another statement behind it'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'balance) FROM shop.loans; DROP TABLE shop.loans; SELECT (1', 'number')$$, 'MK028 | the expression is more than one expression | Give what would stand between SELECT and FROM.', 'field: out of the brackets'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'balance) FROM (SELECT 1', 'number')$$, '42601 | subquery in FROM must have an alias | For example, FROM (SELECT ...) [AS] foo.', 'field: with a FROM of its own'),
    ($$SELECT mktg.define_field('loan.x', 'loan', '1 --', 'number')$$, 'MK028 | the expression has a comment | Leave out -- and /*, inside quotes too.', 'field: a comment, which would end more than the expression'),
    ($$SELECT mktg.define_field('loan.x', 'loan', '(SELECT 1)', 'number')$$, 'MK028 | the expression has a subquery or an aggregate inside | A field is an expression over one row, or count, sum, min, max, avg, bool_and or bool_or of one.', 'field: a subquery'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'sum(balance) + 1', 'number')$$, 'MK028 | the expression has a subquery or an aggregate inside | A field is an expression over one row, or count, sum, min, max, avg, bool_and or bool_or of one.', 'field: an aggregate inside'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'count(*) OVER ()', 'number')$$, 'MK028 | the expression has a subquery or an aggregate inside | A field is an expression over one row, or count, sum, min, max, avg, bool_and or bool_or of one.', 'field: a window'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'stddev(balance)', 'number')$$, 'MK028 | the expression has a subquery or an aggregate inside | A field is an expression over one row, or count, sum, min, max, avg, bool_and or bool_or of one.', 'field: another aggregate'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'generate_series(1, 3)', 'number')$$, 'MK028 | the expression gives more than one value | A field has one value a row.', 'field: a set'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'random()', 'number')$$, 'MK028 | the expression is volatile | It must give the same for a row each time it is asked.', 'field: a volatile function'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'date_part(''day'', rule_at)', 'number')$$, 'MK028 | the expression names rule_at, rule_time_zone or rule_currency'
     ' | Only fields that ship may; give a time and compare it in the rule, with WITHIN_LAST or "-30 days".', 'field: the instant'),
    ($$SELECT mktg.define_field('loan.x', 'loan', '$2', 'timestamp')$$, 'MK028 | the expression names rule_at, rule_time_zone or rule_currency'
     ' | Only fields that ship may; give a time and compare it in the rule, with WITHIN_LAST or "-30 days".', 'field: the instant as a parameter'),
    ($$SELECT mktg.define_field('loan.x', 'loan', repeat('1 + ', 5000) || '1', 'number')$$, 'MK028 | the expression is too long | It has at most 10,000 characters.', 'field: a long expression'),
    ($$SELECT mktg.define_field('loan.x', 'loan', 'count(DISTINCT product)', 'number')$$, 'MK028 | the expression has a subquery or an aggregate inside | A field is an expression over one row, or count, sum, min, max, avg, bool_and or bool_or of one.', 'field: distinct'),
    ($$SELECT mktg.define_alias(NULL, '{"field": "loan.count", "operator": "EXISTS"}')$$, '22004 | argument "key" must not be NULL | Give a value for "key".', 'alias: no key'),
    ($$SELECT mktg.define_alias('', '{"field": "loan.count", "operator": "EXISTS"}')$$, 'MK020 | name of a short key must have 1 to 200 characters | The name given has 0 characters. | Choose a name that is not blank and not longer.', 'alias: an empty key'),
    ($$SELECT mktg.define_alias('x', '{"field": "loan.nothing", "operator": "EXISTS"}')$$, 'MK027 | invalid rule at field: field "loan.nothing" does not exist | The view mktg.rule_field lists the fields.', 'alias: a rule with a field that is none'),
    ($$SELECT mktg.define_alias('x', '[]')$$, 'MK026 | invalid rule: rules must be a JSON object | The language is described in doc/segment.md; mktg.rule_field and mktg.rule_operator list what it knows.', 'alias: a rule that is none')) AS t (statement, refused, what);
SELECT mktg.define_field('loan.x', 'loan', 'balance', 'number'), mktg.define_field('loan.x', 'loan', NULL, NULL) \g /dev/null
SELECT is_empty($$SELECT * FROM mktg.field WHERE name = 'loan.x'$$, 'a field is removed');

-- names that are long, mappings that move and go
CREATE TABLE shop.visits (contact_id integer, seen timestamptz);
CREATE TABLE shop.hits (contact_id smallint);
CREATE FUNCTION pg_temp.watching(relation regclass) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(e, ' ' ORDER BY e), 'nothing') FROM (SELECT CASE WHEN tgtype & 4 > 0 THEN 'insert' WHEN tgtype & 8 > 0 THEN 'delete' WHEN tgtype & 16 > 0 THEN 'update' ELSE 'truncate' END AS e
      FROM pg_trigger WHERE tgrelid = relation AND tgfoid = 'mktg._mark_contacts'::regproc) t
$$;
SELECT mktg.map_source(repeat('v', 62) || n, 'shop.visits', 'contact_id', 'seen') FROM generate_series(1, 2) AS n \g /dev/null
SELECT is(pg_temp.watching('shop.visits'), 'delete delete insert insert truncate truncate update update', 'sources with names of 63 letters that differ in the last have triggers of their own');
SELECT mktg.map_source(repeat('v', 62) || 1, NULL, NULL) \g /dev/null
SELECT is(pg_temp.watching('shop.visits'), 'delete insert truncate update', 'one is taken back');
SELECT mktg.map_source(repeat('v', 62) || 2, 'shop.hits', 'contact_id') \g /dev/null
SELECT is(pg_temp.watching('shop.visits') || ', ' || pg_temp.watching('shop.hits'), 'nothing, delete insert truncate update', 'the other moves to another table');
SELECT mktg.map_source(repeat('v', 62) || 2, NULL, NULL) \g /dev/null
SELECT is(pg_temp.watching('shop.hits') || ' ' || count(*), 'nothing 0', 'and goes') FROM mktg.source WHERE name LIKE 'vvv%';

-- what cannot be watched, what has no index
CREATE VIEW shop.open_loans AS SELECT * FROM shop.loans;
SELECT lives_ok($$SELECT mktg.map_source('open_loan', 'shop.open_loans', 'customer_no', key => 'external_id')$$, 'a view');
SELECT is((SELECT watched FROM mktg.source WHERE name = 'open_loan'), false, 'cannot be watched');
SELECT is(pg_temp.rows($$SELECT mktg.define_field('open.balance', 'open_loan', 'balance', 'number')$$) || mktg.estimate_segment('{"field": "open.balance", "operator": ">", "value": 60}'), '("")1', 'but read');
SELECT doesnt_match(mktg.explain_segment('{"owes_at_least": 1}', false), 'CREATE INDEX', 'a small table needs no index');
INSERT INTO shop.loans (customer_no, balance) SELECT 'c' || i, 1 FROM generate_series(1, 20000) i;
ANALYZE shop.loans;
SELECT matches(mktg.explain_segment('{"owes_at_least": 1}', false), 'CREATE INDEX ON shop.loans \(customer_no\);', 'explain_segment() says which a large one misses');
SELECT doesnt_match(mktg.explain_segment('{"owes_at_least": 1}'), 'CREATE INDEX', 'its other form does not');
CREATE INDEX ON shop.loans (customer_no);
SELECT doesnt_match(mktg.explain_segment('{"owes_at_least": 1}', false), 'CREATE INDEX', 'until it is there');
TRUNCATE shop.loans;
INSERT INTO shop.loans (customer_no, balance, "Opened On") VALUES ('3', 70, '2025-01-15');

--
-- rules that come not to hold
--
SELECT mktg.create_segment('By product', '{"field": "loan.product", "operator": "=", "value": "car"}') AS product \gset
SELECT mktg.create_segment('Not by product', '{"not": true, "rules": [{"segment": "By product"}]}') AS unproduct \gset
SELECT mktg.refresh_segments() \g /dev/null
SAVEPOINT whole;
ALTER TABLE shop.loans DROP COLUMN product CASCADE;
INSERT INTO shop.loans (customer_no, balance, "Opened On") VALUES ('4', 70, '2025-01-15');
UPDATE mktg.contact SET city = 'Pune' WHERE external_id = '8';
SET LOCAL client_min_messages = error;
SELECT is(pg_temp.rows('SELECT r.name, r.entered, r.exited, r.size FROM mktg.refresh_segments() r WHERE name NOT LIKE ''N_me%'' AND name <> ''Friends of Delhi'''),
    '(Pune,1,0,6) (Debtors,1,0,2)', 'a column is dropped: the segments that do not read it are refreshed');
SELECT is(pg_temp.rows($$SELECT name, failure, refreshed_at FROM mktg.segment_list WHERE failure IS NOT NULL$$),
    '("By product","column ""product"" does not exist",) ("Not by product","column ""product"" does not exist",)', 'the others say why not');
SELECT matches(pg_temp.refusal(format('SELECT mktg.refresh_segment(%s)', :product)), '^(42703|MK02.) ', 'refresh_segment() of one is an error');
SELECT lives_ok(format($$SELECT mktg.update_segment(%s, '{"city": "Delhi"}')$$, :pune), 'another one can be changed');
SELECT lives_ok(format($$SELECT mktg.update_segment(%s, '{"field": "loan.balance", "operator": ">", "value": 60}')$$, :product), 'and so can it');
SELECT is(pg_temp.rows(format('SELECT failure FROM mktg.segment_list WHERE segment_id = %s', :product)), '()', 'which says nothing of a failure that was the old rules''');
SELECT mktg.refresh_dirty() \g /dev/null
SELECT is(pg_temp.members(:product), '3 4', 'recovers without waiting');
SELECT is_empty('SELECT name, failure FROM mktg.segment_list WHERE failure IS NOT NULL', 'with whoever takes it in');
ROLLBACK TO whole;
DROP TABLE shop.loans CASCADE;
SET LOCAL client_min_messages = error;
SELECT is((SELECT count(*) FROM mktg.refresh_segments() WHERE name IN ('Debtors', 'By product', 'Not by product', 'Pune')), 1::bigint, 'a whole table is dropped: one is left');
SELECT is(pg_temp.rows($$SELECT name, failure FROM mktg.segment_list WHERE failure IS NOT NULL ORDER BY name$$), '("By product","invalid rule at field: the relation of source ""loan"" does not exist") (Debtors,"invalid rule at owes_at_least.field: the relation of source ""loan"" does not exist") ("Not by product","invalid rule at field: the relation of source ""loan"" does not exist")', 'and the others say why');
SELECT matches(pg_temp.refusal($$SELECT mktg.define_field('loan.y', 'loan', 'balance', 'number')$$), '^MK027 \| source "loan" does not exist', 'nothing more can be defined on it');
CREATE TABLE shop.loans (customer_no text, balance numeric, product text, "Opened On" date, flags text[], extra jsonb, paid boolean, updated timestamp);
INSERT INTO shop.loans (customer_no, balance, product, "Opened On") VALUES ('5', 100, 'car', '2025-01-15');
SELECT mktg.map_source('loan', 'shop.loans', 'customer_no', 'Opened On', 'external_id') \g /dev/null
SELECT mktg.refresh_dirty() \g /dev/null
SELECT is(pg_temp.members(:product) || ' ' || pg_temp.members(:debtors), '5 5', 'made and mapped anew, it is read again');
INSERT INTO shop.loans (customer_no, balance, product, "Opened On") VALUES ('6', 100, 'car', '2025-01-15');
SELECT is(mktg.refresh_dirty() || ' ' || pg_temp.members(:product), '1 5 6', 'and watched');
SET LOCAL client_min_messages = warning;

--
-- the catalogue
--
SELECT is(mktg.load_segment_catalog(), 67, 'sixty-seven segments');
SELECT is(mktg.load_segment_catalog(), 0, 'loaded once');
SELECT set_eq($$SELECT name FROM mktg.segment_list WHERE created_at = now() AND segment_id > $$ || :unproduct || $$ AND name !~ '^(RFM|Lifecycle): '$$, $$SELECT unnest(string_to_array(
    'High-Value Customers, VIP Customers, First-Time Bookers, Repeat Customers, Group Bookers, Corporate Account Travelers, Last-Minute Bookers, Early Planners, Price-Sensitive, '
    'Premium Seekers, Domestic Travelers, International Travelers, Transcontinental Travelers, Regional Travelers, Specific Route Flyers, Frequent Flyers, Seasonal Travelers, '
    'Weekend Travelers, Weekday Travelers, Mobile Bookers, Web Bookers, Agent Bookers, New Customers, Active Customers, At-Risk Customers, Churned Customers, Reactivated Customers, '
    'Win-Back Candidates, Email Engaged, Email Disengaged, SMS Opted-In, App Users, Loyalty Program Members, Social Media Followers, Ancillary Buyers, Upgrade Seekers, '
    'Bundle Purchasers, No Ancillary Buyers, High Churn Risk, Medium Churn Risk, High Propensity to Buy, High LTV Predicted, Birthday This Month, Anniversary This Month, '
    'Abandoned Cart, Search but No Book, Complained Recently, Excellent NPS Score, Detractors, Referral Program Participants', ', '))$$, 'the fifty have their names');
SELECT is((SELECT count(*) FILTER (WHERE name LIKE 'RFM: %') || ' ' || count(*) FILTER (WHERE name LIKE 'Lifecycle: %') FROM mktg.segment_list), '11 6', 'with eleven of RFM and six stages');
SELECT is((SELECT count(*) FROM mktg.segment_list WHERE description IS NULL AND segment_id > :unproduct), 0::bigint, 'each says what it is');
SELECT is((SELECT count(*) FROM mktg.refresh_segments() WHERE segment_id > :unproduct), 67::bigint, 'all of them can be refreshed');
SELECT is((SELECT count(*) FROM mktg.segment_list s WHERE segment_id > :unproduct AND mktg.estimate_segment(s.rules) <> s.size), 0::bigint, 'and have as many members as their rules mean');
SELECT mktg.drop_segment(segment_id) FROM mktg.segment WHERE name IN ('VIP Customers', 'RFM: Lost') \g /dev/null
SELECT is(mktg.load_segment_catalog(), 2, 'those that were dropped come again');
SELECT is(mktg.load_segment_catalog(72), 67, 'another tenant has its own');
SELECT is(pg_temp.refusal('SELECT mktg.load_segment_catalog(99)'), 'MK010 | tenant 99 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.', 'no such tenant');

--
-- tenants
--
SELECT pg_temp.people(3, tenant => 72) AS q \gset
UPDATE mktg.contact SET city = 'Pune' WHERE tenant_id = 72;
SELECT mktg.create_segment('Pune', '{"city": "Pune"}', tenant => 72) AS pune72, mktg.create_segment('Mine', kind => 'static', tenant => 72) AS mine72 \gset
SELECT is(pg_temp.refreshed(:pune72, 72) || ' ' || pg_temp.members(:pune72, 72), '(3,0,3) 1 2 3', 'a tenant''s segment has its own contacts');
SELECT is(mktg.add_to_segment(:mine72, pg_temp.ids(1, 2) || ARRAY[:q]::bigint[], 72), 1::bigint, 'another''s are unknown');
SELECT mktg.refresh_segments() \g /dev/null
SELECT is(pg_temp.members(:pune72, 72), '1 2 3', 'another''s refresh is nothing to it');
SELECT is(pg_temp.rows(format('SELECT mktg.in_segment(%s, %s, 72), mktg.in_segment(%s, %s, 72)', :q, :pune72, :p, :pune72)), '(t,f)', 'asked for by its tenant');
SELECT is(pg_temp.refusal(statement), refused, what) FROM (SELECT statement, format('MK019 | segment %s does not exist | Tenant 1 has no such segment. | The view mktg.segment_list lists them; mktg.create_segment() makes one.', id) AS refused,
    'not by another: ' || regexp_replace(statement, '\d+', 'N', 'g') AS what FROM (VALUES
    (:pune72, format('SELECT mktg.in_segment(%s, %s)', :q, :pune72)), (:pune72, format('SELECT mktg.refresh_segment(%s)', :pune72)),
    (:pune72, format('SELECT mktg.update_segment(%s, ''{"city": "Pune"}'')', :pune72)), (:pune72, format('SELECT mktg.drop_segment(%s)', :pune72)),
    (:pune72, format('SELECT mktg.keep_segment_history(%s)', :pune72)), (:mine72, format('SELECT mktg.add_to_segment(%s, ''{1}'')', :mine72)),
    (:mine72, format('SELECT mktg.remove_from_segment(%s, ''{1}'')', :mine72)), (:pune72, format('SELECT mktg.audience_size(ARRAY[%s, %s])', :pune, :pune72)),
    (:pune72, format('SELECT mktg.audience_size(ARRAY[%s], ARRAY[%s])', :pune, :pune72)), (:pune72, format('SELECT mktg.segment_overlap(ARRAY[%s, %s])', :pune, :pune72))) AS t (id, statement)) x;
SELECT matches(pg_temp.refusal(format('SELECT mktg.estimate_segment(''{"segment": %s}'')', :pune72)), '^MK019|^MK02', 'nor in rules');
SELECT matches(pg_temp.refusal($$SELECT mktg.estimate_segment('{"owes_at_least": 1}', tenant => 72)$$), '^MK027', 'a short key is its tenant''s');
SELECT matches(pg_temp.refusal($$SELECT mktg.estimate_segment('{"field": "loan.balance", "operator": "EXISTS"}', tenant => 72)$$), '^MK027', 'a field, too');
SELECT matches(pg_temp.refusal($$SELECT mktg.define_field('loan.balance', 'loan', 'balance', 'number', tenant => 72)$$), '^MK027', 'and a source');
SELECT is((SELECT count(*) FROM mktg.rule_field WHERE tenant_id = 72 AND (is_own OR name LIKE 'loan.%')), 0::bigint, 'none is offered to another');
SELECT mktg.map_source('loan', 'shop.loans', 'customer_no', key => 'external_id', tenant => 72), mktg.define_field('loan.balance', 'loan', 'balance * 2', 'number', tenant => 72) \g /dev/null
INSERT INTO shop.loans (customer_no, balance, "Opened On") VALUES ('2', 100, '2025-01-15');
SELECT is(mktg.estimate_segment('{"field": "loan.balance", "operator": "=", "value": 200}', tenant => 72) || ' ' || mktg.estimate_segment('{"field": "loan.balance", "operator": "=", "value": 200}'), '1 0',
    'who maps the same table has it its own way');
CREATE TABLE shop.orders (tenant_id bigint NOT NULL, contact bigint, total integer);
SELECT mktg.map_source('order', 'shop.orders', 'contact', tenant => tenant), mktg.define_field('order.total', 'order', 'sum(total)', 'number', tenant => tenant) FROM unnest('{1,72}'::bigint[]) AS tenant \g /dev/null
SELECT mktg.create_segment('Orders', '{"field": "order.total", "operator": ">", "value": 10}', tenant => 1) AS orders, mktg.create_segment('Orders', '{"field": "order.total", "operator": ">", "value": 10}', tenant => 72) AS orders72 \gset
SELECT mktg.refresh_segments(tenant => tenant) FROM unnest('{1,72}'::bigint[]) AS tenant \g /dev/null
INSERT INTO shop.orders VALUES (1, :p, 20), (72, :p + 1, 20), (72, :q, 30), (1, :q + 1, 30);
SELECT mktg.refresh_dirty(tenant => tenant) FROM unnest('{1,72}'::bigint[]) AS tenant \g /dev/null
SELECT is(pg_temp.members(:orders) || ', ' || pg_temp.members(:orders72, 72), '1, 1', 'a mapped table with a tenant_id is read by tenant');

--
-- only the owner defines
--
CREATE ROLE mktg_test_marketer;
GRANT USAGE ON SCHEMA mktg, shop TO mktg_test_marketer;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA mktg TO mktg_test_marketer;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA mktg TO mktg_test_marketer;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA mktg TO mktg_test_marketer;
GRANT ALL ON ALL TABLES IN SCHEMA shop TO mktg_test_marketer;
CREATE FUNCTION pg_temp.denied(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' | ' || SQLERRM;
END $$;
SET LOCAL ROLE mktg_test_marketer;
SELECT is(pg_temp.denied(statement), '42501 | only the owner of mktg''s tables defines what rules may name', 'not by another role: ' || statement) FROM unnest(ARRAY[
    $$SELECT mktg.map_source('x', 'shop.loans', 'customer_no', key => 'external_id')$$, $$SELECT mktg.map_source('loan', NULL, NULL)$$,
    $$SELECT mktg.define_field('loan.y', 'loan', 'balance', 'number')$$, $$SELECT mktg.define_field('loan.balance', 'loan', NULL, NULL)$$,
    $$SELECT mktg.define_alias('y', '{"city": "$value"}')$$, $$SELECT mktg.define_alias('owes_at_least', NULL)$$]) AS statement;
SELECT pg_temp.denied($$SELECT mktg.create_segment('By somebody', '{"owes_at_least": 1}')$$) \g /dev/null
SELECT is((SELECT created_by FROM mktg.segment_list WHERE name = 'By somebody'), 'mktg_test_marketer', 'who may write makes segments');
RESET ROLE;
REVOKE ALL ON shop.loans FROM mktg_test_marketer;
SET LOCAL ROLE mktg_test_marketer;
SELECT is(pg_temp.denied($$SELECT mktg.estimate_segment('{"owes_at_least": 1}')$$), '42501 | permission denied for table loans', 'and asks with its own rights');
RESET ROLE;

--
-- set_audience, add_audience
--
INSERT INTO mktg.consent (contact_id, channel) SELECT contact_id, 'whatsapp' FROM mktg.contact WHERE tenant_id = 1 AND external_id = '4';
UPDATE mktg.contact SET phone = '+14155550004' WHERE tenant_id = 1 AND external_id = '4';
UPDATE mktg.contact SET city = CASE WHEN external_id::integer <= 5 THEN 'Pune' ELSE 'Delhi' END WHERE tenant_id = 1 AND external_id IN ('1', '2', '3', '4', '5', '6', '7', '8', '9', '10');
SELECT mktg.unsubscribe(:p, 'whatsapp'), mktg.suppress('whatsapp', phone) FROM mktg.contact WHERE tenant_id = 1 AND external_id = '2' \g /dev/null
UPDATE mktg.contact SET phone = NULL WHERE tenant_id = 1 AND external_id = '8';
SELECT mktg.refresh_segment(:pune) \g /dev/null
SELECT mktg.remove_from_segment(:friends, array_agg(contact_id)) FROM mktg.contact \g /dev/null
SELECT mktg.add_to_segment(:friends, pg_temp.ids(1, 2, 3, 8, 9)) \g /dev/null
SELECT mktg.create_template('hello', 'whatsapp', body => 'Hello') \g /dev/null
-- added, duplicates, unsubscribed, suppressed, unreachable, unknown; who is added
CREATE FUNCTION pg_temp.audience(include bigint[], exclude bigint[], rules jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    c bigint := mktg.create_campaign('audience ' || clock_timestamp(), 'whatsapp', 'hello');
    r record;
BEGIN
    UPDATE mktg.campaign SET target_audience = rules WHERE campaign_id = c;
    PERFORM mktg.set_audience(c, include, exclude);
    SELECT * INTO r FROM mktg.add_audience(c);
    RETURN concat_ws(' ', r.added, r.duplicates, r.unsubscribed, r.suppressed, r.unreachable, r.unknown) || ': '
        || (SELECT coalesce(string_agg(external_id, ' ' ORDER BY m.contact_id), 'nobody') FROM mktg.message m JOIN mktg.contact k USING (tenant_id, contact_id) WHERE campaign_id = c);
END $$;
SELECT is(pg_temp.audience(ARRAY[:friends], '{}', NULL), '2 0 1 1 1 0: 3 9', 'members of a segment, those that may be written to');
SELECT is(pg_temp.audience(ARRAY[:friends, :pune], '{}', NULL), '4 0 1 1 1 0: 3 4 5 9', 'of two');
SELECT is(pg_temp.audience(ARRAY[:pune], ARRAY[:friends], NULL), '2 0 0 0 0 0: 4 5', 'without those of another');
SELECT is(pg_temp.audience(ARRAY[:pune, :pune], ARRAY[:pune], NULL), '0 0 0 0 0 0: nobody', 'without themselves');
SELECT is(pg_temp.audience('{}', '{}', '{"city": "Delhi"}'), '4 0 0 0 1 0: 6 7 9 10', 'contacts the rules mean, as of now');
SELECT is(pg_temp.audience(NULL, ARRAY[:friends], '{"city": "Delhi"}'), '3 0 0 0 0 0: 6 7 10', 'without members of a segment');
SELECT is(pg_temp.audience(ARRAY[:friends], NULL, '{"city": "Delhi"}'), '1 0 0 0 1 0: 9', 'whom both mean, rules and segment');
SELECT is(pg_temp.audience(ARRAY[:friends, :pune], ARRAY[:friends], '{"tags": ["vip"]}'), '1 0 0 0 0 0: 4', 'both, without others');
SELECT is(pg_temp.audience('{}', '{}', '{"city": "Oslo"}'), '0 0 0 0 0 0: nobody', 'rules that mean nobody');
SELECT mktg.create_campaign('twice', 'whatsapp', 'hello') AS twice \gset
SELECT mktg.set_audience(:twice, ARRAY[:friends]) \g /dev/null
SELECT is(pg_temp.rows(format('SELECT include_segments, exclude_segments FROM mktg.campaign WHERE campaign_id = %s', :twice)), format('({%s},{})', :friends), 'set_audience() keeps what it is given');
SELECT is(pg_temp.rows(format('SELECT * FROM mktg.add_audience(%s)', :twice)) || pg_temp.rows(format('SELECT * FROM mktg.add_audience(%s)', :twice)), '(2,0,1,1,1,0)(0,2,1,1,1,0)', 'added twice, they are there');
DELETE FROM mktg.consent WHERE contact_id = :p + 8;
DELETE FROM mktg.contact WHERE contact_id = :p + 8;
SELECT is(pg_temp.rows(format('SELECT * FROM mktg.add_audience(%s)', :twice)), '(0,1,1,1,1,1)', 'a member that is no contact any more is unknown');
SELECT is(mktg.rebuild_stats(:twice), 0::bigint, 'counters equal a recount');
SELECT mktg.create_campaign('bare', 'whatsapp', 'hello') AS bare \gset
SELECT mktg.create_campaign('of 72', 'whatsapp', tenant => 72) AS foreign \gset
SELECT is(pg_temp.refusal(statement), refused, what) FROM (VALUES
    (format('SELECT mktg.add_audience(%s)', :bare), format('MK030 | campaign %s has no audience | It has neither target_audience nor segments to include.'
     ' | Name segments with mktg.set_audience(), or add contacts with mktg.add_recipients().', :bare), 'neither rules nor segments'),
    ('SELECT mktg.add_audience(NULL)', '22004 | argument "campaign" must not be NULL | Give a value for "campaign".', 'no campaign'),
    ('SELECT mktg.add_audience(999999)', 'MK014 | campaign 999999 does not exist | Tenant 1 has no such campaign. | The view mktg.campaign_list lists them; mktg.create_campaign() makes one.', 'a campaign that is none'),
    (format('SELECT mktg.add_audience(%s)', :foreign), format('MK014 | campaign %s does not exist | Tenant 1 has no such campaign. | The view mktg.campaign_list lists them; mktg.create_campaign() makes one.', :foreign), 'another tenant''s'),
    (format('SELECT mktg.set_audience(%s, ''{}'')', :foreign), format('MK014 | campaign %s does not exist | Tenant 1 has no such campaign. | The view mktg.campaign_list lists them; mktg.create_campaign() makes one.', :foreign), 'another tenant''s, to set'),
    (format('SELECT mktg.set_audience(%s, ''{999999}'')', :bare), 'MK019 | segment 999999 does not exist | Tenant 1 has no such segment. | The view mktg.segment_list lists them; mktg.create_segment() makes one.', 'a segment that is none'),
    (format('SELECT mktg.set_audience(%s, ''{}'', ''{999999}'')', :bare), 'MK019 | segment 999999 does not exist | Tenant 1 has no such segment. | The view mktg.segment_list lists them; mktg.create_segment() makes one.', 'to leave out'),
    (format('SELECT mktg.set_audience(%s, ARRAY[%s])', :bare, :pune72), format('MK019 | segment %s does not exist | Tenant 1 has no such segment. | The view mktg.segment_list lists them; mktg.create_segment() makes one.', :pune72), 'another tenant''s'),
    (format('SELECT mktg.set_audience(%s, ''{NULL}'')', :bare), '22004 | array "include" must not contain NULL | List the ids of segments.', 'NULL')) AS t (statement, refused, what);
UPDATE mktg.campaign SET target_audience = '{"nothing": 1}' WHERE campaign_id = :bare;
SELECT matches(pg_temp.refusal(format('SELECT mktg.add_audience(%s)', :bare)), '^MK027', 'rules that are none');
SELECT mktg.cancel_campaign(:twice) \g /dev/null
SELECT matches(pg_temp.refusal(format('SELECT mktg.add_audience(%s)', :twice)), '^MK033', 'not when it is cancelled');

SELECT * FROM finish();
ROLLBACK;
