\set ECHO none
\i test/setup.sql
BEGIN;
SELECT plan(228);
SET LOCAL mktg.clock = '2025-01-15 09:00+00';

-- What a statement is refused with: SQLSTATE, message, detail, hint, column.
CREATE FUNCTION pg_temp.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    code text; message text; detail text; hint text; col text;
BEGIN
    EXECUTE statement;
    RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, col = COLUMN_NAME;
    RETURN concat_ws(' | ', code, message, nullif(detail, ''), nullif(hint, ''), nullif(col, ''));
END $$;
CREATE FUNCTION pg_temp.context(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    context text;
BEGIN
    EXECUTE statement;
    RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
    RETURN split_part(context, E'\n', 1);
END $$;
INSERT INTO mktg.tenant (tenant_id, name) VALUES (70, 'seventy');
-- Ids written below are lower than those that are given out.
SELECT setval('mktg.contact_contact_id_seq', 1000000) \g /dev/null

--
-- normalize_address, _address_or_null, address_hash
--
SELECT is(mktg.normalize_address('email', E'  Ann.Lee@Example.COM\t'), 'ann.lee@example.com',
          'e-mail: blanks go, letters become small');
SELECT is(mktg.normalize_address('sms', '+1 (415) 555-0123'), '+14155550123', 'phone: separators go');
SELECT is(mktg.normalize_address('whatsapp', '0049 30/123 45 67'), '+49301234567', 'phone: 00 becomes +');
SELECT is(mktg.normalize_address(channel, '  Tok:EN_1  '), 'Tok:EN_1', channel || ': trimmed, case kept')
  FROM unnest('{push,webhook,in_app}'::text[]) AS channel;
SELECT is(length(mktg.normalize_address('push', repeat('x', 2000))), 2000, '2000 bytes are not too long');
SELECT is(mktg.normalize_address('push', U&'\00e9\4e2d'), U&'\00e9\4e2d', 'other scripts pass');
SELECT is(mktg.normalize_address('email', NULL), NULL, 'no address, no form');
SELECT is(mktg.normalize_address(NULL, 'a@b.example'), NULL, 'no channel, no form');

SELECT is(pg_temp.refusal($$SELECT mktg.normalize_address('email', 'Secret.example.com')$$),
          'MK022 | invalid address for channel "email" | It does not have the form name@domain. | Write it like name@example.com.',
          'e-mail without @; the address is not repeated');
SELECT is(pg_temp.refusal($$SELECT mktg.normalize_address('email', '  ')$$),
          'MK022 | invalid address for channel "email" | It is empty or blank. | Write it like name@example.com.',
          'e-mail of blanks');
SELECT is(pg_temp.refusal($$SELECT mktg.normalize_address('email', repeat('x', 250) || '@example.com')$$),
          'MK022 | invalid address for channel "email" | It has 262 bytes, at most 254 are allowed. | Write it like name@example.com.',
          'e-mail too long');
SELECT is(pg_temp.refusal($$SELECT mktg.normalize_address('email', E'a@example.com\r\nBcc: b@example.com')$$),
          'MK022 | invalid address for channel "email" | It holds a control character, such as a line break. | Write it like name@example.com.',
          'e-mail with a line break');
SELECT is(pg_temp.refusal($$SELECT mktg.normalize_address('sms', '4155550123')$$),
          'MK022 | invalid address for channel "sms" | The number has no country code. | Write it in international form, like +14155550123.',
          'phone without country');
SELECT is(pg_temp.refusal($$SELECT mktg.normalize_address('whatsapp', '+1415555call')$$),
          'MK022 | invalid address for channel "whatsapp" | It is not a number of 7 to 15 digits after the sign +. | Write it in international form, like +14155550123.',
          'phone with letters');
SELECT is(pg_temp.refusal($$SELECT mktg.normalize_address('sms', '+1234567890123456')$$),
          'MK022 | invalid address for channel "sms" | A phone number has at most 15 digits. | Write it in international form, like +14155550123.',
          'phone too long');
SELECT is(pg_temp.refusal($$SELECT mktg.normalize_address('push', repeat('x', 2001))$$),
          'MK022 | invalid address for channel "push" | It has 2001 bytes, at most 2000 are allowed. | Give 1 to 2000 bytes without control characters.',
          'token too long');
SELECT is(pg_temp.refusal($$SELECT mktg.normalize_address('webhook', E'https://a.example/\u007f')$$),
          'MK022 | invalid address for channel "webhook" | It holds a control character, such as a line break. | Give 1 to 2000 bytes without control characters.',
          'DEL is a control character');
SELECT is(pg_temp.refusal($$SELECT mktg.normalize_address('in_app', ' ')$$),
          'MK022 | invalid address for channel "in_app" | It is empty or blank. | Give 1 to 2000 bytes without control characters.',
          'token of blanks');
SELECT is(pg_temp.refusal($$SELECT mktg.normalize_address('fax', '1')$$),
          'MK012 | channel "fax" does not exist | Channels are email, sms, push, whatsapp, webhook, in_app and ads.',
          'unknown channel');

SELECT is(mktg._address_or_null('email', ' A@Example.com'), 'a@example.com', 'or null: the same form');
SELECT is(mktg._address_or_null(channel, address), NULL, 'or null: ' || channel || ' ' || to_json(address))
  FROM (VALUES ('email', 'a@b'), ('email', ''), ('email', E'a@example.com\n'), ('sms', '12'), ('whatsapp', 'x'),
               ('push', ' '), ('webhook', E'a\nb')) AS v (channel, address);
SELECT is(pg_temp.refusal($$SELECT mktg._address_or_null('Email', 'a@example.com')$$),
          'MK012 | channel "Email" does not exist | Channels are email, sms, push, whatsapp, webhook, in_app and ads.',
          'or null: an unknown channel is an error all the same');

SELECT is(mktg.address_hash(address), sha256(convert_to(address, 'UTF8')), 'hash is SHA-256 of ' || length(address) || ' characters')
  FROM unnest(ARRAY['', 'abc', U&'\00e9', repeat('x', 100000)]) AS address;
SELECT is((SELECT count(DISTINCT mktg.address_hash(n::text)) FROM generate_series(1, 1000) AS n), 1000::bigint,
          'one hash leaves nothing behind for the next');

--
-- Plain INSERT, UPDATE and COPY
--
INSERT INTO mktg.contact (contact_id, external_id, email, phone, time_zone)
VALUES (1001, 'c-1', ' Ann@Example.com', '+1 415 555 0123', 'Asia/Kolkata'), (1002, ' ', '', '  ', ' ');
SELECT results_eq($$SELECT (external_id, email, phone, time_zone)::text FROM mktg.contact WHERE contact_id IN (1001, 1002) ORDER BY contact_id$$,
                  $$VALUES ('(c-1,ann@example.com,+14155550123,Asia/Kolkata)'), ('(,,,)')$$,
                  'INSERT: one form; blanks are NULL');
SELECT ok(updated_at = now() AND created_at = now(), 'INSERT: the defaults stand') FROM mktg.contact WHERE contact_id = 1001;
UPDATE mktg.contact SET email = 'ANN@example.org' WHERE contact_id = 1001;
SELECT is((SELECT (email, updated_at)::text FROM mktg.contact WHERE contact_id = 1001), '(ann@example.org,"2025-01-15 09:00:00+00")', 'UPDATE: one form, updated_at by the clock');

COPY mktg.contact (contact_id, email, phone, name) FROM stdin;
1003	BOB@EXAMPLE.COM	0044 20 7946 0958	Bob
1004	\N	+61 2 5550 1234	O'Brien \\ "x"
1005			none
\.
SELECT results_eq($$SELECT (email, phone, name)::text FROM mktg.contact WHERE contact_id BETWEEN 1003 AND 1005 ORDER BY contact_id$$,
                  $$VALUES ('(bob@example.com,+442079460958,Bob)'), ('(,+61255501234,"O''Brien \\ ""x""")'), ('(,,none)')$$,
                  'COPY: one form; blanks are NULL');

SELECT is(pg_temp.refusal($$COPY mktg.contact (email) FROM PROGRAM 'echo ok@example.com; echo not-an-address'$$),
          'MK022 | invalid address in column "email" of a contact | It does not have the form name@domain. | Write it like name@example.com. | email',
          'COPY: a malformed e-mail names its column');
SELECT is(pg_temp.context($$COPY mktg.contact (email) FROM PROGRAM 'echo ok@example.com; echo not-an-address'$$),
          'COPY contact, line 2: "not-an-address"', 'COPY: and its line');
SELECT is((SELECT count(*) FROM mktg.contact WHERE email = 'ok@example.com'), 0::bigint, 'COPY: nothing of it stays');
SELECT is(pg_temp.refusal($$INSERT INTO mktg.contact (phone) VALUES ('555-0123')$$),
          'MK022 | invalid address in column "phone" of a contact | The number has no country code. | Write it in international form, like +14155550123. | phone',
          'INSERT: malformed phone');
SELECT is(pg_temp.refusal($$UPDATE mktg.contact SET phone = '+1' WHERE contact_id = 1001$$),
          'MK022 | invalid address in column "phone" of a contact | It is not a number of 7 to 15 digits after the sign +. | Write it in international form, like +14155550123. | phone',
          'UPDATE: malformed phone');
SELECT is(pg_temp.refusal($$INSERT INTO mktg.contact (time_zone) VALUES ('Mars/Olympus')$$),
          'MK024 | unknown time zone in column "time_zone" of a contact | The value is "Mars/Olympus". | SELECT name FROM pg_timezone_names lists the zones. | time_zone',
          'unknown time zone');
SELECT is(left(pg_temp.refusal($$INSERT INTO mktg.contact (time_zone) VALUES (repeat('x', 300))$$), 5), 'MK024', 'endless time zone');
SELECT is(pg_temp.refusal($$INSERT INTO mktg.contact (external_id) VALUES (repeat('x', 1001))$$),
          'MK025 | "external_id" of a contact is too long | It has 1001 bytes, at most 1000 are allowed. | Use the short id by which the other system knows the contact. | external_id',
          'external_id too long');
SELECT lives_ok($$INSERT INTO mktg.contact (external_id) SELECT string_agg(md5(n::text), '') || repeat('x', 8) FROM generate_series(1, 31) n$$,
                'external_id of 1000 bytes that do not compress');

ALTER TABLE mktg.contact DISABLE TRIGGER contact_normalize;
INSERT INTO mktg.contact (contact_id, email, time_zone) VALUES (1006, 'not an address', 'Mars/Olympus');
ALTER TABLE mktg.contact ENABLE TRIGGER contact_normalize;
SELECT lives_ok($$UPDATE mktg.contact SET name = 'old' WHERE contact_id = 1006$$, 'what was let in does not stand in the way of other changes');
SELECT is(left(pg_temp.refusal($$UPDATE mktg.contact SET email = 'still none' WHERE contact_id = 1006$$), 5), 'MK022', 'but may not be replaced by more of the kind');
DELETE FROM mktg.contact WHERE contact_id = 1006;

INSERT INTO mktg.contact (contact_id, external_id) VALUES (1007, 'c-1') ON CONFLICT (tenant_id, external_id) WHERE external_id IS NOT NULL
    DO UPDATE SET email = ' Conflict@Example.com';
SELECT is((SELECT email FROM mktg.contact WHERE contact_id = 1001), 'conflict@example.com', 'ON CONFLICT DO UPDATE: one form');
UPDATE mktg.contact SET email = 'ann@example.org' WHERE contact_id = 1001;

CREATE TABLE pg_temp.other (email text);
CREATE TRIGGER wrong_table BEFORE INSERT ON other FOR EACH ROW EXECUTE FUNCTION mktg._contact_normalize();
SELECT is(pg_temp.refusal($$INSERT INTO other VALUES ('x')$$),
          '39P01 | table "other" has no column "external_id" of the type of mktg.contact | mktg._contact_normalize() is for the table mktg.contact.',
          'the trigger on another table');
CREATE TABLE pg_temp.other_event (LIKE mktg.contact INCLUDING DEFAULTS);
CREATE TRIGGER wrong_event AFTER INSERT ON other_event FOR EACH ROW EXECUTE FUNCTION mktg._contact_normalize();
SELECT is(pg_temp.refusal($$INSERT INTO other_event (contact_id) VALUES (1)$$),
          '39P01 | mktg._contact_normalize() is for BEFORE INSERT OR UPDATE triggers FOR EACH ROW | mktg.migrate() puts the triggers of mktg back as they belong.',
          'the trigger on another event');
SELECT throws_ok($$SELECT mktg._contact_normalize()$$, '39P01', NULL, 'the trigger function, called');

--
-- upsert_contact: columns and attributes
--
SELECT mktg.upsert_contact('{"external_id": "u-1", "email": "Una@Example.com ", "phone": "+353 1 555 0100", "name": "Una",
    "birth_date": "1990-02-28", "gender": "f", "language": "en", "country": "IE", "region": "Leinster", "city": "Dublin",
    "time_zone": "Europe/Dublin", "tier": "gold", "tags": ["a", "b"], "attributes": {"x": 1, "deep": {"y": [1, null]}},
    "is_active": false, "shoe_size": 38, "gone": null}') AS una \gset
CREATE FUNCTION pg_temp.columns(contact bigint) RETURNS jsonb LANGUAGE sql STABLE AS
    $$SELECT to_jsonb(c) - '{tenant_id,contact_id,created_at,updated_at}'::text[] FROM mktg.contact c WHERE tenant_id = 1 AND contact_id = contact$$;
SELECT is(pg_temp.columns(:una), '{"external_id": "u-1", "email": "una@example.com", "phone": "+35315550100", "name": "Una",
    "birth_date": "1990-02-28", "gender": "f", "language": "en", "country": "IE", "region": "Leinster", "city": "Dublin",
    "time_zone": "Europe/Dublin", "tier": "gold", "tags": ["a", "b"], "is_active": false,
    "attributes": {"x": 1, "deep": {"y": [1, null]}, "shoe_size": 38}}', 'every column, unknown keys among the attributes');
SELECT is(mktg.upsert_contact('{"external_id": "u-1"}'), :una::bigint, 'found by external_id');
SELECT is((SELECT (name, tier, tags, is_active, attributes ->> 'shoe_size')::text FROM mktg.contact WHERE contact_id = :una),
          '(Una,gold,"{a,b}",f,38)', 'keys that are not there leave the column as it is');
SELECT is(mktg.upsert_contact('{"external_id": "u-1", "name": null, "tier": null, "birth_date": null, "tags": null, "phone": null, "is_active": true,
                                "attributes": {"x": null, "deep": {"z": 1}, "new": true}, "shoe_size": null}'), :una::bigint, 'null clears');
SELECT is(pg_temp.columns(:una), '{"external_id": "u-1", "email": "una@example.com", "phone": null, "name": null,
    "birth_date": null, "gender": "f", "language": "en", "country": "IE", "region": "Leinster", "city": "Dublin",
    "time_zone": "Europe/Dublin", "tier": null, "tags": [], "is_active": true, "attributes": {"deep": {"z": 1}, "new": true}}',
                  'null clears a column and takes an attribute away; attributes are merged one level deep');
SELECT is(mktg.upsert_contact('{"external_id": "u-1", "attributes": {"k": 1, "m": null}, "k": 2, "m": 3}'), :una::bigint, 'the same key twice');
SELECT is((SELECT attributes FROM mktg.contact WHERE contact_id = :una), '{"deep": {"z": 1}, "new": true, "k": 2, "m": 3}', 'the key outside "attributes" counts');
SELECT is(mktg.upsert_contact('{"external_id": "u-1", "attributes": null, "left": "over"}'), :una::bigint, 'attributes null');
SELECT is((SELECT attributes FROM mktg.contact WHERE contact_id = :una), '{"left": "over"}', 'clears all attributes before the others come in');
SELECT is(mktg.upsert_contact('{"external_id": "u-1", "tags": "solo"}'), :una::bigint, 'a single tag');
SELECT is((SELECT tags FROM mktg.contact WHERE contact_id = :una), '{solo}', 'is an array of one');
SELECT mktg.upsert_contact('{"external_id": "u-1", "tags": []}') \g /dev/null
SELECT is((SELECT tags FROM mktg.contact WHERE contact_id = :una), '{}', 'no tags');
SELECT is((SELECT updated_at FROM mktg.contact WHERE contact_id = :una), timestamptz '2025-01-15 09:00+00', 'updated_at by the clock');
SELECT is(mktg.upsert_contact('{"external_id": 4711, "email": ""}'), mktg.upsert_contact('{"external_id": "4711"}'), 'a number as external_id is its text');
SELECT is((SELECT (tags, attributes, is_active)::text FROM mktg.contact WHERE external_id = '4711'), '({},{},t)', 'defaults of a new contact');
SELECT mktg.upsert_contact('{"external_id": "leap", "birth_date": "2000-02-29"}') AS leap \gset
SELECT is((SELECT birth_date FROM mktg.contact WHERE contact_id = :leap), date '2000-02-29', 'a leap day');

--
-- upsert_contact: whom an object means
--
INSERT INTO mktg.contact (contact_id, external_id, email, phone) VALUES
    (2001, NULL, 'shared@example.com', NULL),
    (2002, NULL, 'shared@example.com', NULL),
    (2003, 'has-id', 'owned@example.com', '+14155550203'),
    (2004, NULL, NULL, '+14155550204'),
    (2005, NULL, 'five@example.com', '+14155550205'),
    (2006, NULL, 'shared@example.com', NULL),
    (2007, 'has-id-2', 'both@example.com', NULL),
    (2008, NULL, 'both@example.com', NULL);
SELECT is(mktg.upsert_contact('{"email": "SHARED@example.com"}'), 2001::bigint, 'e-mail of several: the lowest contact_id');
SELECT is(mktg.upsert_contact('{"email": "owned@example.com"}'), 2003::bigint, 'e-mail of a contact with an external_id');
SELECT is(mktg.upsert_contact('{"phone": "+1 415 555 0204"}'), 2004::bigint, 'phone');
SELECT is(mktg.upsert_contact('{"external_id": "lead-1", "email": "shared@example.com"}'), 2001::bigint, 'a lead gets its external_id');
SELECT is(mktg.upsert_contact('{"external_id": "lead-1", "email": "moved@example.com"}'), 2001::bigint, 'and is found by it, whatever its e-mail');
SELECT is(mktg.upsert_contact('{"external_id": "lead-2", "email": "both@example.com"}'), 2008::bigint, 'a new external_id passes over the contact of another one');
SELECT isnt(mktg.upsert_contact('{"external_id": "new-1", "email": "owned@example.com", "phone": "+14155550203"}'), 2003::bigint, 'nobody but the contact of another external_id:');
SELECT is((SELECT count(*) FROM mktg.contact WHERE email = 'owned@example.com'), 2::bigint, 'a new contact');
SELECT is(mktg.upsert_contact('{"external_id": "lead-4", "phone": "+14155550204"}'), 2004::bigint, 'a lead by phone');
SELECT isnt(mktg.upsert_contact('{"external_id": "lead-5", "phone": "+14155550204"}'), 2004::bigint, 'but once it has one, it is no other''s');
SELECT is(mktg.upsert_contact('{"email": "two@example.com", "phone": "+14155550204"}'), 2004::bigint, 'no external_id in the object: that of the contact is no hindrance');
INSERT INTO mktg.contact (contact_id, phone) VALUES (2010, '+14155550210');
SELECT is(mktg.upsert_contact('{"email": "ten@example.com", "phone": "+14155550210"}'), 2010::bigint, 'a contact with the phone and no e-mail gets one');
SELECT isnt(mktg.upsert_contact('{"email": "eleven@example.com", "phone": "+14155550210"}'), 2010::bigint, 'another e-mail with the same phone is somebody else');
SELECT is((SELECT email FROM mktg.contact WHERE contact_id = 2010), 'ten@example.com', 'whose e-mail nobody overwrites');
SELECT is(mktg.upsert_contact('{"external_id": " ", "email": "ten@example.com"}'), 2010::bigint, 'a blank external_id is none');

--
-- upsert_contact: what is refused
--
SELECT is(pg_temp.refusal(format('SELECT mktg.upsert_contact(%L)', contact)), refusal, 'refused: ' || left(contact, 60))
  FROM (VALUES
    ('[]', 'MK024 | contact must be a JSON object | Give one contact, such as ''{"email": "name@example.com"}''.'),
    ('"x"', 'MK024 | contact must be a JSON object | Give one contact, such as ''{"email": "name@example.com"}''.'),
    ('null', 'MK024 | contact must be a JSON object | Give one contact, such as ''{"email": "name@example.com"}''.'),
    ('{}', 'MK024 | contact has no "external_id", "email" or "phone" | It could not be found again. | Give at least one of them.'),
    ('{"name": "x", "email": " ", "external_id": null}', 'MK024 | contact has no "external_id", "email" or "phone" | It could not be found again. | Give at least one of them.'),
    ('{"email": "x"}', 'MK022 | invalid address in "email" of a contact | It does not have the form name@domain. | Write it like name@example.com.'),
    ('{"phone": "12"}', 'MK022 | invalid address in "phone" of a contact | The number has no country code. | Write it in international form, like +14155550123.'),
    ('{"email": 1}', 'MK024 | invalid value for "email" of a contact | "email" takes a string or null.'),
    ('{"phone": 14155550123}', 'MK024 | invalid value for "phone" of a contact | "phone" takes a string or null.'),
    ('{"external_id": ["x"]}', 'MK024 | invalid value for "external_id" of a contact | "external_id" takes a string, a number or null.'),
    ('{"external_id": true}', 'MK024 | invalid value for "external_id" of a contact | "external_id" takes a string, a number or null.'),
    ('{"external_id": "x", "name": {"first": "x"}}', 'MK024 | invalid value for "name" of a contact | "name" takes a string or null.'),
    ('{"external_id": "x", "tier": 3}', 'MK024 | invalid value for "tier" of a contact | "tier" takes a string or null.'),
    ('{"external_id": "x", "birth_date": "28.2.1990"}', 'MK024 | invalid value for "birth_date" of a contact | "birth_date" takes a date like "1990-12-31", or null.'),
    ('{"external_id": "x", "birth_date": "1990-02-30"}', 'MK024 | invalid value for "birth_date" of a contact | "birth_date" takes a date of the calendar, or null.'),
    ('{"external_id": "x", "birth_date": "1990-00-01"}', 'MK024 | invalid value for "birth_date" of a contact | "birth_date" takes a date of the calendar, or null.'),
    ('{"external_id": "x", "birth_date": 19900101}', 'MK024 | invalid value for "birth_date" of a contact | "birth_date" takes a string or null.'),
    ('{"external_id": "x", "time_zone": "Nowhere"}', 'MK024 | unknown time zone in column "time_zone" of a contact | The value is "Nowhere". | SELECT name FROM pg_timezone_names lists the zones. | time_zone'),
    ('{"external_id": "x", "tags": [1]}', 'MK024 | invalid value for "tags" of a contact | "tags" takes an array of strings, a string or null.'),
    ('{"external_id": "x", "tags": ["a", null]}', 'MK024 | invalid value for "tags" of a contact | "tags" takes an array of strings, a string or null.'),
    ('{"external_id": "x", "tags": [["a"]]}', 'MK024 | invalid value for "tags" of a contact | "tags" takes an array of strings, a string or null.'),
    ('{"external_id": "x", "tags": {"a": 1}}', 'MK024 | invalid value for "tags" of a contact | "tags" takes an array of strings, a string or null.'),
    ('{"external_id": "x", "tags": 7}', 'MK024 | invalid value for "tags" of a contact | "tags" takes an array of strings, a string or null.'),
    ('{"external_id": "x", "attributes": [1]}', 'MK024 | invalid value for "attributes" of a contact | "attributes" takes an object or null.'),
    ('{"external_id": "x", "attributes": "x"}', 'MK024 | invalid value for "attributes" of a contact | "attributes" takes an object or null.'),
    ('{"external_id": "x", "is_active": null}', 'MK024 | invalid value for "is_active" of a contact | "is_active" takes true or false.'),
    ('{"external_id": "x", "is_active": "yes"}', 'MK024 | invalid value for "is_active" of a contact | "is_active" takes true or false.'),
    ('{"external_id": "x", "contact_id": 5}', 'MK024 | "contact_id" of a contact cannot be set | Contacts are found by "external_id", "email" or "phone"; the tenant is an argument.'),
    ('{"external_id": "x", "tenant_id": 2}', 'MK024 | "tenant_id" of a contact cannot be set | Contacts are found by "external_id", "email" or "phone"; the tenant is an argument.'),
    ('{"external_id": "x", "created_at": null}', 'MK024 | "created_at" of a contact cannot be set | Contacts are found by "external_id", "email" or "phone"; the tenant is an argument.'),
    ('{"external_id": "' || repeat('x', 1001) || '"}', 'MK025 | "external_id" of a contact is too long | It has 1001 bytes, at most 1000 are allowed. | Use the short id by which the other system knows the contact.')
  ) AS v (contact, refusal);
SELECT is((SELECT count(*) FROM mktg.contact WHERE external_id = 'x'), 0::bigint, 'refused: nothing is written');
SELECT is(pg_temp.refusal($$SELECT mktg.upsert_contact(jsonb_build_object('external_id', 'big', 'doc', repeat('x', 1024 * 1024)))$$),
          'MK025 | contact is too large | The object has 1048613 bytes as jsonb, at most 1048576 are allowed. | Keep documents elsewhere, and a reference in the contact.',
          'refused: over 1 MB');
SELECT lives_ok($$SELECT mktg.upsert_contact(jsonb_build_object('external_id', 'big', 'doc', repeat('x', 1024 * 1024 - 100)))$$, 'just under 1 MB');
SELECT throws_ok($$SELECT mktg.upsert_contact(NULL)$$, '22004', 'argument "contact" must not be NULL', 'refused: NULL');
SELECT throws_ok($$SELECT mktg.upsert_contact('{"external_id": "x"}', NULL)$$, '22004', 'argument "tenant" must not be NULL', 'refused: tenant NULL');
SELECT is(pg_temp.refusal($$SELECT mktg.upsert_contact('{"external_id": "x"}', 404)$$),
          'MK010 | tenant 404 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.',
          'refused: unknown tenant');

--
-- upsert_contact: hostile text is text
--
CREATE TEMP TABLE hostile (n serial, content text);
INSERT INTO hostile (content) VALUES
    ($t$'; DROP TABLE mktg.contact; --$t$), ($t$O'Brien "the" \ backslash$t$), ($t$\'; SELECT 1; --$t$),
    ($t$$1 $2 %s %n {{name}} {0} {$t$), (U&'\202Eright to left\202C'), (U&'\D83D\DE00 e\0301 \4E2D\6587'),
    (E'line\nbreak\ttab'), ('<script>alert(1)</script>'), ('=cmd|''/c calc''!A0'), (repeat('long ', 10000)), ('NULL'), ('{}'), ('{"a":1}');
SELECT mktg.upsert_contact(jsonb_build_object('external_id', 'h-' || n, 'name', content, 'city', content, 'tags', jsonb_build_array(content),
                                              left(content, 1000), content, 'attributes', jsonb_build_object('k', content)))
  FROM hostile \g /dev/null
SELECT is(c.name = h.content AND c.city = h.content AND c.tags = ARRAY[h.content]
          AND c.attributes = jsonb_build_object('k', h.content, left(h.content, 1000), h.content), true, 'kept as it came: hostile text ' || h.n)
  FROM hostile h LEFT JOIN mktg.contact c ON c.external_id = 'h-' || h.n ORDER BY h.n;
SELECT is(mktg.upsert_contact(jsonb_build_object('external_id', left(content, 1000))),
          mktg.upsert_contact(jsonb_build_object('external_id', left(content, 1000), 'name', 'again')), 'hostile text ' || n || ' as a key')
  FROM hostile ORDER BY n;

--
-- upsert_contact: many in one transaction do not fill the lock table
--
SELECT mktg.upsert_contact(jsonb_build_object('email', 'bulk' || n || '@example.com', 'phone', '+1415' || 6000000 + n))
  FROM generate_series(1, 3000) AS n \g /dev/null
SELECT is((SELECT count(*) FROM mktg.contact WHERE email LIKE 'bulk%'), 3000::bigint, '3000 new contacts in a transaction:');
SELECT is_empty('SELECT FROM mktg.contact_claim', 'leave no claims to be seen');
SELECT cmp_ok((SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()), '<', 200::bigint, 'and need fewer than 200 locks');

--
-- Consent
--
INSERT INTO mktg.contact (contact_id) VALUES (3001), (3002);
INSERT INTO mktg.contact (tenant_id, contact_id, email) VALUES (70, 3001, 'ann@example.org');
CREATE FUNCTION pg_temp.consents(contact bigint) RETURNS SETOF text LANGUAGE sql STABLE AS
    $$SELECT (channel, topic, state, source, ip, reason, to_char(at, 'MM-DD'))::text FROM mktg.consent WHERE tenant_id = 1 AND contact_id = contact ORDER BY channel, topic$$;
-- The log in the order it was written.
CREATE FUNCTION pg_temp.logged(contact bigint, after timestamptz DEFAULT '-infinity') RETURNS SETOF text LANGUAGE sql STABLE AS
    $$SELECT (channel, topic, state, source, ip, reason, to_char(at, 'MM-DD'))::text FROM mktg.consent_log
       WHERE tenant_id = 1 AND contact_id = contact AND at >= after ORDER BY logged_at, topic$$;

SELECT is(mktg.subscribe(3001, 'email', source => 'form', ip => '192.0.2.7')::text, '', 'subscribe');
SELECT results_eq('SELECT pg_temp.consents(3001)', $$VALUES ('(email,marketing,subscribed,form,192.0.2.7,,01-15)')$$, 'topic marketing, time by the clock');
SET LOCAL mktg.clock = '2025-01-16 09:00+00';
SELECT mktg.subscribe(3001, 'email', 'marketing', 'shop', '2001:db8::1') \g /dev/null
SELECT mktg.subscribe(3001, 'email', 'news') \g /dev/null
SELECT mktg.subscribe(3001, 'sms', 'news') \g /dev/null
SELECT results_eq('SELECT pg_temp.consents(3001)',
                  $$VALUES ('(email,marketing,subscribed,shop,2001:db8::1,,01-16)'), ('(email,news,subscribed,,,,01-16)'), ('(sms,news,subscribed,,,,01-16)')$$,
                  'a later consent takes the place of an earlier one');
SELECT results_eq('SELECT pg_temp.logged(3001)',
                  $$VALUES ('(email,marketing,subscribed,form,192.0.2.7,,01-15)'), ('(email,marketing,subscribed,shop,2001:db8::1,,01-16)'),
                           ('(email,news,subscribed,,,,01-16)'), ('(sms,news,subscribed,,,,01-16)')$$, 'and both are in the log');

SET LOCAL mktg.clock = '2025-01-17 09:00+00';
SELECT is(mktg.unsubscribe(3001, 'email', 'news', 'too many')::text, '', 'unsubscribe from a topic');
SELECT results_eq('SELECT pg_temp.consents(3001)',
                  $$VALUES ('(email,marketing,subscribed,shop,2001:db8::1,,01-16)'), ('(email,news,unsubscribed,,,"too many",01-17)'), ('(sms,news,subscribed,,,,01-16)')$$,
                  'the others stay');
SET LOCAL mktg.clock = '2025-01-18 09:00+00';
SELECT mktg.unsubscribe(3001, 'email', 'news', 'again') \g /dev/null
SELECT results_eq($$SELECT pg_temp.logged(3001, '2025-01-17')$$, $$VALUES ('(email,news,unsubscribed,,,"too many",01-17)')$$, 'twice is once: time and reason stay');
SELECT mktg.unsubscribe(3001, 'email', NULL, 'stop') \g /dev/null
SELECT results_eq('SELECT pg_temp.consents(3001)',
                  $$VALUES ('(email,marketing,unsubscribed,,,stop,01-18)'), ('(email,news,unsubscribed,,,"too many",01-17)'), ('(sms,news,subscribed,,,,01-16)')$$,
                  'from every topic of the channel, of no other channel');
SELECT mktg.unsubscribe(3001, 'sms') \g /dev/null
SELECT results_eq('SELECT pg_temp.consents(3001)',
                  $$VALUES ('(email,marketing,unsubscribed,,,stop,01-18)'), ('(email,news,unsubscribed,,,"too many",01-17)'),
                           ('(sms,marketing,unsubscribed,,,,01-18)'), ('(sms,news,unsubscribed,,,,01-18)')$$, 'marketing stands for all to come');
SELECT mktg.unsubscribe(3002, 'push', 'offers') \g /dev/null
SELECT mktg.unsubscribe(3002, 'whatsapp') \g /dev/null
SELECT results_eq('SELECT pg_temp.consents(3002)', $$VALUES ('(push,offers,unsubscribed,,,,01-18)'), ('(whatsapp,marketing,unsubscribed,,,,01-18)')$$,
                  'who never subscribed can unsubscribe');
SELECT mktg.subscribe(3001, 'email') \g /dev/null
SELECT is((SELECT state || coalesce(reason, '') FROM mktg.consent WHERE tenant_id = 1 AND contact_id = 3001 AND channel = 'email' AND topic = 'marketing'), 'subscribed', 'and come back');
SELECT is((SELECT count(*) FROM mktg.consent_log WHERE tenant_id = 1 AND contact_id = 3001), 9::bigint, 'the log has every change');
SELECT is((SELECT count(*) FROM mktg.consent_log WHERE logged_by <> current_user OR logged_at IS NULL), 0::bigint, 'and who made it');

SELECT is((SELECT count(*) FROM mktg.consent WHERE tenant_id = 70), 0::bigint, 'nothing of it in another tenant');
SELECT is(pg_temp.refusal('SELECT mktg.' || call), refusal, 'refused: ' || left(call, 60))
  FROM (VALUES
    ($$subscribe(404, 'email')$$, 'MK011 | contact 404 does not exist | Tenant 1 has no such contact. | mktg.upsert_contact() makes one and returns its contact_id.'),
    ($$subscribe(3002, 'email', tenant => 70)$$, 'MK011 | contact 3002 does not exist | Tenant 70 has no such contact. | mktg.upsert_contact() makes one and returns its contact_id.'),
    ($$subscribe(3001, 'email', tenant => 404)$$, 'MK010 | tenant 404 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.'),
    ($$subscribe(3001, 'fax')$$, 'MK012 | channel "fax" does not exist | Channels are email, sms, push, whatsapp, webhook, in_app and ads.'),
    ($$subscribe(3001, 'email', '')$$, 'MK020 | name of a topic must have 1 to 200 characters | The name given has 0 characters. | Choose a name that is not blank and not longer.'),
    ($$subscribe(3001, 'email', repeat('x', 201))$$, 'MK020 | name of a topic must have 1 to 200 characters | The name given has 201 characters. | Choose a name that is not blank and not longer.'),
    ($$subscribe(3001, 'email', 'news', repeat('x', 2001))$$, 'MK025 | "source" of a consent is too long | It has 2001 characters, at most 2000 are allowed. | Keep documents elsewhere, and name them here.'),
    ($$subscribe(NULL, 'email')$$, '22004 | argument "contact" must not be NULL | Give a value for "contact".'),
    ($$subscribe(3001, NULL)$$, '22004 | argument "channel" must not be NULL | Give a value for "channel".'),
    ($$subscribe(3001, 'email', NULL)$$, '22004 | argument "topic" must not be NULL | Give a value for "topic".'),
    ($$subscribe(3001, 'email', tenant => NULL)$$, '22004 | argument "tenant" must not be NULL | Give a value for "tenant".'),
    ($$unsubscribe(404, 'email')$$, 'MK011 | contact 404 does not exist | Tenant 1 has no such contact. | mktg.upsert_contact() makes one and returns its contact_id.'),
    ($$unsubscribe(404, 'email', 'news')$$, 'MK011 | contact 404 does not exist | Tenant 1 has no such contact. | mktg.upsert_contact() makes one and returns its contact_id.'),
    ($$unsubscribe(3002, 'email', tenant => 70)$$, 'MK011 | contact 3002 does not exist | Tenant 70 has no such contact. | mktg.upsert_contact() makes one and returns its contact_id.'),
    ($$unsubscribe(3001, 'email', tenant => 404)$$, 'MK010 | tenant 404 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.'),
    ($$unsubscribe(3001, 'fax')$$, 'MK012 | channel "fax" does not exist | Channels are email, sms, push, whatsapp, webhook, in_app and ads.'),
    ($$unsubscribe(3001, 'email', ' ')$$, 'MK020 | name of a topic must have 1 to 200 characters | The name given has 1 characters. | Choose a name that is not blank and not longer.'),
    ($$unsubscribe(3001, 'email', NULL, repeat('x', 2001))$$, 'MK025 | "reason" of a consent is too long | It has 2001 characters, at most 2000 are allowed. | Keep documents elsewhere, and name them here.'),
    ($$unsubscribe(NULL, 'email')$$, '22004 | argument "contact" must not be NULL | Give a value for "contact".'),
    ($$unsubscribe(3001, NULL)$$, '22004 | argument "channel" must not be NULL | Give a value for "channel".'),
    ($$unsubscribe(3001, 'email', tenant => NULL)$$, '22004 | argument "tenant" must not be NULL | Give a value for "tenant".')
  ) AS v (call, refusal);
SELECT mktg.subscribe(3002, 'email', left(content, 200), left(content, 2000)), mktg.unsubscribe(3002, 'sms', left(content, 200), left(content, 2000)) FROM hostile WHERE content <> '' \g /dev/null
SELECT is((SELECT count(*) FROM mktg.consent k JOIN hostile h ON k.topic = left(h.content, 200) AND left(h.content, 2000) IN (k.source, k.reason)
            WHERE k.tenant_id = 1 AND k.contact_id = 3002), 26::bigint, 'hostile topics, sources and reasons are kept as they came');

--
-- The log, whatever the statement
--
SET LOCAL mktg.clock = '2025-02-01 09:00+00';
INSERT INTO mktg.contact (contact_id) SELECT n FROM generate_series(4001, 4100) AS n;
INSERT INTO mktg.consent (contact_id, channel, source) SELECT n, 'email', 'import' FROM generate_series(4001, 4100) AS n;
SELECT is((SELECT count(*) FROM mktg.consent_log WHERE contact_id BETWEEN 4001 AND 4100 AND state = 'subscribed' AND source = 'import'
            AND at = '2025-02-01 09:00+00'), 100::bigint, 'INSERT of many; the column''s default is the clock');
INSERT INTO mktg.consent (contact_id, channel, state, at) SELECT n, 'email', 'pending', now() FROM generate_series(4091, 4100) AS n
    ON CONFLICT (tenant_id, contact_id, channel, topic) DO UPDATE SET state = excluded.state;
INSERT INTO mktg.consent (contact_id, channel) SELECT n, 'email' FROM generate_series(4091, 4100) AS n ON CONFLICT DO NOTHING;
SELECT is((SELECT count(*) FROM mktg.consent_log WHERE contact_id BETWEEN 4001 AND 4100 AND state = 'pending'), 10::bigint, 'ON CONFLICT DO UPDATE; DO NOTHING is no change');
UPDATE mktg.consent SET state = 'unsubscribed', reason = 'cleaning' WHERE contact_id BETWEEN 4001 AND 4050;
UPDATE mktg.consent SET state = 'unsubscribed' WHERE contact_id = 0;
SELECT is((SELECT count(*) FROM mktg.consent_log WHERE contact_id BETWEEN 4001 AND 4100 AND state = 'unsubscribed' AND reason = 'cleaning'), 50::bigint, 'UPDATE of many');
SET LOCAL mktg.clock = '2025-02-02 09:00+00';
DELETE FROM mktg.consent WHERE contact_id BETWEEN 4001 AND 4020;
DELETE FROM mktg.contact WHERE contact_id BETWEEN 4021 AND 4030;
SELECT is((SELECT count(*) FROM mktg.consent_log WHERE contact_id BETWEEN 4001 AND 4030 AND state = 'removed' AND source IS NULL AND at = '2025-02-02 09:00+00'), 30::bigint,
          'DELETE, and what goes with a deleted contact');
COPY mktg.consent (contact_id, channel, topic, source, ip) FROM stdin;
4001	sms	news	file	198.51.100.1
4002	sms	news	file	198.51.100.2
\.
SELECT results_eq($$SELECT contact_id, ip FROM mktg.consent_log WHERE source = 'file' ORDER BY contact_id$$,
                  $$VALUES (4001::bigint, inet '198.51.100.1'), (4002::bigint, inet '198.51.100.2')$$, 'COPY');
SAVEPOINT undone;
DELETE FROM mktg.consent WHERE contact_id = 4001;
ROLLBACK TO undone;
SELECT is((SELECT count(*) FROM mktg.consent_log WHERE contact_id = 4001 AND channel = 'sms' AND state = 'removed'), 0::bigint, 'what is undone is not in the log');

-- The same trigger on another table, with a log whose name needs quotes
CREATE SCHEMA "Odd ""schema""";
CREATE TABLE "Odd ""schema"""."the log; --" (LIKE mktg.consent_log INCLUDING DEFAULTS);
CREATE TABLE "Odd ""schema""".consent (reason text, ip inet, source text, state text, topic text, channel text, contact_id bigint, tenant_id bigint, at timestamptz);
CREATE TRIGGER log_all AFTER INSERT ON "Odd ""schema""".consent REFERENCING NEW TABLE AS "new ""rows""; --"
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._consent_log('"Odd ""schema"""."the log; --"');
CREATE TRIGGER log_removed AFTER DELETE ON "Odd ""schema""".consent REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._consent_log('"Odd ""schema"""."the log; --"');
INSERT INTO "Odd ""schema""".consent (tenant_id, contact_id, channel, topic, state, at) VALUES (1, 5, 'email', 't', 's', now());
DELETE FROM "Odd ""schema""".consent;
INSERT INTO mktg.consent (contact_id, channel) VALUES (4001, 'push');
SELECT is((SELECT string_agg(contact_id || state, ',' ORDER BY state) FROM "Odd ""schema"""."the log; --"), '5removed,5s', 'the table is the trigger''s argument, quoted');
CREATE TRIGGER no_schema AFTER INSERT ON "Odd ""schema""".consent REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION mktg._consent_log('consent_log');
SELECT is(pg_temp.refusal($$INSERT INTO "Odd ""schema""".consent (tenant_id, contact_id, channel, topic, state, at) VALUES (1, 5, 'email', 't', 's', now())$$),
          '39P01 | the log''s name "consent_log" has no schema | Write it like mktg.consent_log.', 'a log without schema');
DROP TRIGGER no_schema ON "Odd ""schema""".consent;
DROP TRIGGER log_all ON "Odd ""schema""".consent;
CREATE TRIGGER row_trigger AFTER INSERT ON "Odd ""schema""".consent FOR EACH ROW EXECUTE FUNCTION mktg._consent_log('mktg.consent_log');
SELECT is(left(pg_temp.refusal($$INSERT INTO "Odd ""schema""".consent (tenant_id) VALUES (1)$$), 5), '39P01', 'a trigger for each row');
SELECT throws_ok($$SELECT mktg._consent_log()$$, '39P01', NULL, 'the trigger function, called');

--
-- Suppression
--
SET LOCAL mktg.clock = '2025-03-01 09:00+00';
SELECT is(mktg.suppress('email', ' Ann@Example.COM ')::text, '', 'suppress');
SET LOCAL mktg.clock = '2025-03-02 09:00+00';
SELECT mktg.suppress('email', 'ann@example.com', 'legal') \g /dev/null
SELECT mktg.suppress('whatsapp', '0049 30 1234567', 'stop') \g /dev/null
SELECT mktg.suppress('email', 'ann@example.com', 'complaint', 70) \g /dev/null
SELECT results_eq($$SELECT address_hash, (tenant_id, channel, reason, to_char(at, 'MM-DD'))::text FROM mktg.suppression WHERE at >= '2025-03-01' AND at < '2025-03-03' ORDER BY tenant_id, channel$$,
                  $$VALUES (sha256('ann@example.com'), '(1,email,manual,03-01)'), (sha256('+49301234567'), '(1,whatsapp,stop,03-02)'),
                           (sha256('ann@example.com'), '(70,email,complaint,03-02)')$$,
                  'by the hash of the normalised address; the first reason stays; tenants apart');
SELECT is(mktg.unsuppress('email', 'ANN@example.com'), true, 'unsuppress');
SELECT is(mktg.unsuppress('email', 'ANN@example.com'), false, 'not there any more');
SELECT is(mktg.unsuppress('sms', '+49301234567'), false, 'channels apart');
SELECT is((SELECT count(*) FROM mktg.suppression WHERE tenant_id = 70), 1::bigint, 'another tenant''s stays');
SELECT mktg.suppress('push', content) FROM hostile WHERE content !~ '[\n\t]' AND length(content) < 2000 \g /dev/null
SELECT is((SELECT count(*) FILTER (WHERE mktg.unsuppress('push', content)) FROM hostile WHERE content !~ '[\n\t]' AND length(content) < 2000), 11::bigint, 'hostile addresses');
SELECT lives_ok(format('SELECT mktg.suppress(%L, %L, %L)', 'email', reason || '@example.com', reason), 'reason ' || reason)
  FROM unnest('{hard_bounce,complaint,stop,manual,legal,erased}'::text[]) AS reason;
SELECT is(pg_temp.refusal('SELECT mktg.' || call), refusal, 'refused: ' || call)
  FROM (VALUES
    ($$suppress('email', 'x')$$, 'MK022 | invalid address for channel "email" | It does not have the form name@domain. | Write it like name@example.com.'),
    ($$suppress('fax', 'x')$$, 'MK012 | channel "fax" does not exist | Channels are email, sms, push, whatsapp, webhook, in_app and ads.'),
    ($$suppress('email', 'a@example.com', 'because')$$, 'MK024 | suppression reason "because" does not exist | Reasons are hard_bounce, complaint, stop, manual, legal and erased.'),
    ($$suppress('email', 'a@example.com', tenant => 404)$$, 'MK010 | tenant 404 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.'),
    ($$suppress(NULL, 'a@example.com')$$, '22004 | argument "channel" must not be NULL | Give a value for "channel".'),
    ($$suppress('email', NULL)$$, '22004 | argument "address" must not be NULL | Give a value for "address".'),
    ($$suppress('email', 'a@example.com', NULL)$$, '22004 | argument "reason" must not be NULL | Give a value for "reason".'),
    ($$suppress('email', 'a@example.com', tenant => NULL)$$, '22004 | argument "tenant" must not be NULL | Give a value for "tenant".'),
    ($$unsuppress('email', 'x')$$, 'MK022 | invalid address for channel "email" | It does not have the form name@domain. | Write it like name@example.com.'),
    ($$unsuppress('fax', 'x')$$, 'MK012 | channel "fax" does not exist | Channels are email, sms, push, whatsapp, webhook, in_app and ads.'),
    ($$unsuppress('email', 'a@example.com', 404)$$, 'MK010 | tenant 404 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.'),
    ($$unsuppress(NULL, 'a@example.com')$$, '22004 | argument "channel" must not be NULL | Give a value for "channel".'),
    ($$unsuppress('email', NULL)$$, '22004 | argument "address" must not be NULL | Give a value for "address".'),
    ($$unsuppress('email', 'a@example.com', NULL)$$, '22004 | argument "tenant" must not be NULL | Give a value for "tenant".')
  ) AS v (call, refusal);

--
-- Tenants
--
SELECT mktg.upsert_contact('{"external_id": "u-1", "email": "una@example.com", "name": "other"}', 70) AS other \gset
SELECT isnt(:other::bigint, :una::bigint, 'the same external_id and e-mail in another tenant is another contact');
SELECT is(mktg.upsert_contact('{"email": "una@example.com"}', 70), :other::bigint, 'found in its own');
SELECT is(mktg.upsert_contact('{"email": "una@example.com"}'), :una::bigint, 'and in its own');
SELECT is((SELECT name FROM mktg.contact WHERE tenant_id = 1 AND contact_id = :una), NULL, 'which the other did not touch');

SELECT * FROM finish();
ROLLBACK;
