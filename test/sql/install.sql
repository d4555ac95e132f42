\set ECHO none
\i test/setup.sql
BEGIN;
\i test/fixture.sql
SELECT plan(137);
SET LOCAL mktg.clock = '2025-01-15 09:00+00';

-- What DROP EXTENSION takes and migrate() puts back.
CREATE FUNCTION pg_temp.attached() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT 'trigger ' || tgrelid::regclass || ' ' || pg_get_triggerdef(oid) FROM pg_trigger
     WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'mktg'::regnamespace) AND NOT tgisinternal
    UNION ALL
    SELECT 'view ' || oid::regclass || ' ' || pg_get_viewdef(oid) || ' ' || reloptions::text || ' ' || obj_description(oid, 'pg_class')
      FROM pg_class WHERE relnamespace = 'mktg'::regnamespace AND relkind = 'v'
    UNION ALL
    SELECT 'default ' || adrelid::regclass || ' ' || pg_get_expr(adbin, adrelid) FROM pg_attrdef
     WHERE adrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'mktg'::regnamespace AND NOT relispartition)
    UNION ALL
    SELECT 'server ' || srvname || ' ' || srvoptions::text FROM pg_foreign_server WHERE srvname = 'mktg_sandbox'
$$;
CREATE FUNCTION pg_temp.tables() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT relname::text FROM pg_class WHERE relnamespace = 'mktg'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
$$;

--
-- a schema of another version; asked first, as the answer "all is well" is kept for the transaction
--
INSERT INTO mktg.schema_version (version, extension_version) VALUES (99, '9.9');
SELECT is(pg_temp.refusal('SELECT mktg.migrate()'),
    'MK003 | schema version 99 is newer than this library | The library knows version 2. | Install the library that belongs to the schema.',
    'migrate() does not go back');
SELECT is(pg_temp.refusal(statement),
    'MK003 | mktg cannot work on this schema version | This is schema version 99, library knows version 2.'
    ' | Run SELECT mktg.migrate(), or install the library that belongs to the schema.', 'newer schema: ' || statement)
  FROM unnest(ARRAY[$$SELECT mktg.create_campaign('c', 'email')$$, $$SELECT mktg.upsert_contact('{"email": "a@b.example"}')$$, $$SELECT mktg.process_daily()$$,
    $$SELECT mktg.send(1, 't')$$, $$SELECT mktg.record_status('1-1-1', 'sent')$$, $$SELECT * FROM mktg.campaign_stats(1)$$,
    $$SELECT mktg.arm_delivery()$$, $$SELECT mktg._claim(1::smallint, 1)$$, $$SELECT mktg.uninstall(current_database())$$]) AS statement;
SELECT is(pg_temp.rows($$SELECT ok, detail FROM mktg.status() WHERE "check" = 'schema'$$),
    '(f,"schema version 99, library knows version 2")', 'status() says so');
SELECT is((SELECT count(*) FROM mktg.status() WHERE "check" IN ('armed', 'queue')), 0::bigint, 'and does not look further');
DELETE FROM mktg.schema_version WHERE version = 99;
INSERT INTO mktg.schema_version (version, extension_version) VALUES (0, '0.0');
SELECT is((SELECT ok FROM mktg.status() WHERE "check" = 'schema'), true, 'the highest version counts');
DELETE FROM mktg.schema_version WHERE version = 0;

--
-- what install() made (00_install ran it)
--
SELECT is(pg_temp.rows('SELECT version, extension_version FROM mktg.schema_version'),
    '(2,' || extversion || ')', 'the version is on record') FROM pg_extension WHERE extname = 'mktg';
SELECT is(pg_temp.rows('SELECT tenant_id, name, time_zone, currency FROM mktg.tenant'), '(1,default,UTC,USD)', 'install() made tenant 1');
SELECT is(pg_temp.rows('SELECT tenant_id, name, provider, channel, daily_limit, is_active FROM mktg.sender'),
    '(1,sandbox,mktg_sandbox,,,t)', 'and a sandbox sender that serves every channel');
SELECT is((SELECT fdwname || ' ' || srvoptions::text FROM pg_foreign_server s JOIN pg_foreign_data_wrapper f ON f.oid = s.srvfdw
            WHERE srvname = 'mktg_sandbox'), 'mktg_provider {driver=sandbox}', 'the sandbox is a foreign server');
SELECT results_eq($$SELECT a.system_identifier, a.database_oid, a.data_directory, a.timeline FROM mktg.delivery_arming a$$,
    $$SELECT s.system_identifier, d.oid, current_setting('data_directory'), c.timeline_id
        FROM pg_control_system() s, pg_control_checkpoint() c, pg_database d WHERE datname = current_database()$$,
    'delivery is armed for this place');
SELECT is_empty($$SELECT classid::regclass, objid FROM pg_depend
     WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mktg')
       AND deptype = 'e' AND classid = 'pg_class'::regclass$$, 'no table or view is a member of the extension');

SELECT is_empty($$
    SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = indrelid
      JOIN pg_attribute a ON a.attrelid = indrelid AND a.attnum = indkey[0]
     WHERE relnamespace = 'mktg'::regnamespace AND relkind IN ('r', 'p') AND indisunique AND a.attname <> 'tenant_id'
       AND c.relname NOT IN ('schema_version', 'delivery_arming', 'tenant')$$,
    'every key begins with tenant_id, but for what belongs to the installation');
SELECT is_empty($$
    SELECT oid::regclass FROM pg_class c WHERE relnamespace = 'mktg'::regnamespace AND relkind IN ('r', 'p')
       AND relname NOT IN ('consent_log', 'segment_change', 'segment_due')
       AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)$$,
    'every table has a primary key, but for logs and marks');
SELECT is_empty($$
    SELECT attrelid::regclass, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
     WHERE relnamespace = 'mktg'::regnamespace AND attidentity <> ''$$, 'there are no identity columns');
SELECT is_empty($$
    SELECT p.oid::regprocedure, lanname FROM pg_proc p JOIN pg_language l ON l.oid = prolang
     WHERE pronamespace = 'mktg'::regnamespace AND lanname NOT IN ('c', 'sql') AND prokind <> 'a'$$, 'functions are C or SQL');

--
-- install() twice, uninstall(), install() again
--
SELECT is(pg_temp.refusal('SELECT mktg.install()'),
    format('MK002 | mktg is installed in database "%s" already | mktg.migrate() brings an installation up to date; mktg.uninstall() drops it.',
           current_database()), 'install() twice');
SELECT is(mktg.migrate(), 2, 'migrate() on an installation that is up to date');

INSERT INTO mktg.contact (external_id) VALUES ('stays');
SELECT is(pg_temp.refusal(format('SELECT mktg.uninstall(%L)', confirm)),
    format('MK005 | uninstalling mktg was not confirmed | It drops every contact, consent, campaign and message of this database.'
           ' | Name the database: SELECT mktg.uninstall(''%s'');', current_database()),
    'uninstall() confirmed with ' || what)
  FROM (VALUES ('', 'nothing'), ('yes', 'another word'), (upper(current_database()), 'the name in capitals'), (NULL, 'NULL')) AS t (confirm, what);
SELECT is((SELECT count(*) FROM mktg.contact WHERE external_id = 'stays'), 1::bigint, 'nothing was dropped');

CREATE TEMP TABLE was AS SELECT * FROM pg_temp.attached() AS thing;
CREATE TEMP TABLE tables_were AS SELECT * FROM pg_temp.tables() AS name;
SELECT mktg.uninstall(current_database()) \g /dev/null
SELECT is_empty('SELECT pg_temp.tables()', 'uninstall() dropped every table');
SELECT is_empty('SELECT pg_temp.attached()', 'and what was attached to them, and the sandbox');
SELECT is_empty($$SELECT oid::regclass FROM pg_class WHERE relnamespace = 'mktg'::regnamespace$$, 'nothing is left, no sequence either');

-- Every entry point says so, in the same transaction that dropped the tables.
SELECT is(pg_temp.refusal(statement),
    format('MK001 | mktg is not installed in database "%s" | Run SELECT mktg.install();', current_database()), 'not installed: ' || statement)
  FROM unnest(ARRAY[
    $$SELECT mktg.migrate()$$, $$SELECT mktg.uninstall(current_database())$$, $$SELECT mktg.arm_delivery()$$,
    $$SELECT mktg.disarm_delivery()$$, $$SELECT mktg.maintain()$$, $$SELECT mktg.schedule_jobs()$$, $$SELECT mktg.unschedule_jobs()$$,
    $$SELECT mktg.create_tenant('t')$$, $$SELECT mktg.upsert_contact('{"email": "a@b.example"}')$$, $$SELECT mktg.subscribe(1, 'email')$$,
    $$SELECT mktg.unsubscribe(1, 'email')$$, $$SELECT mktg.suppress('email', 'a@b.example')$$, $$SELECT mktg.unsuppress('email', 'a@b.example')$$,
    $$SELECT mktg.create_template('t', 'sms', body => 'x')$$, $$SELECT mktg.create_campaign('c', 'email')$$,
    $$SELECT mktg.add_recipients(1, '{1}'::bigint[])$$, $$SELECT mktg.add_recipients(1, '{a@b.example}'::text[])$$,
    $$SELECT mktg.add_all_contacts(1)$$, $$SELECT mktg.activate_campaign(1)$$, $$SELECT mktg.process_daily()$$,
    $$SELECT mktg.pause_campaign(1)$$, $$SELECT mktg.resume_campaign(1)$$, $$SELECT mktg.cancel_campaign(1)$$,
    $$SELECT mktg.send(1, 't')$$, $$SELECT mktg.record_status('1-1-1', 'sent')$$, $$SELECT mktg.settle('1-1-1', 'sent')$$,
    $$SELECT mktg.rebuild_stats(1)$$, $$SELECT mktg.set_sender('s', 'mktg_sandbox')$$,
    $$SELECT mktg._claim(1::smallint, 1)$$, $$SELECT mktg._record('1-1-1', 1, 'sent')$$]) AS statement;
SELECT is(pg_temp.rows('SELECT "check", ok, detail FROM mktg.status()'), format('(library,t,"mktg %s")'
    ' (preloaded,t,"shared_preload_libraries names mktg")'
    ' (schema,f,"not installed")'
    ' ("worker %s",f,"none; the setting mktg.databases does not name this database")', extversion, current_database()),
    'status() works before install(), and says so') FROM pg_extension WHERE extname = 'mktg';

SELECT is(mktg.install(default_tenant => false), 2, 'install() after uninstall()');
SELECT set_eq('SELECT pg_temp.tables()', 'TABLE tables_were', 'the same tables');
SELECT set_eq('SELECT pg_temp.attached()', 'TABLE was', 'the same triggers, views, defaults and server');
SELECT is((SELECT count(*) FROM mktg.tenant) + (SELECT count(*) FROM mktg.sender) + (SELECT count(*) FROM mktg.contact), 0::bigint,
    'default_tenant => false makes no tenant and no sender, and the data is gone');
SELECT is(pg_temp.refusal(statement),
    'MK010 | tenant 1 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.',
    'a tenant forgotten is an error: ' || statement)
  FROM unnest(ARRAY[$$SELECT mktg.create_campaign('c', 'email')$$, $$SELECT mktg.upsert_contact('{"email": "a@b.example"}')$$,
    $$SELECT mktg.create_template('t', 'sms', body => 'x')$$, $$SELECT mktg.process_daily()$$, $$SELECT mktg.send(1, 't')$$,
    $$SELECT mktg.add_all_contacts(1)$$, $$SELECT mktg.suppress('email', 'a@b.example')$$,
    $$SELECT * FROM mktg.campaign_stats(1)$$]) AS statement;
SELECT is((SELECT count(*) FROM mktg.delivery_arming), 1::bigint, 'delivery is armed without a tenant too');

--
-- create_tenant
--
SELECT mktg.create_tenant('acme', 'Asia/Kolkata', 'INR') AS acme \gset
SELECT is(pg_temp.rows('SELECT name, time_zone, currency, settings FROM mktg.tenant WHERE tenant_id = ' || :acme),
    '(acme,Asia/Kolkata,INR,{})', 'create_tenant() keeps what it was given');
SELECT is(pg_temp.rows('SELECT name, provider FROM mktg.sender WHERE tenant_id = ' || :acme), '(sandbox,mktg_sandbox)',
    'and gives the tenant a sandbox sender');
SELECT is(pg_temp.rows('SELECT time_zone, currency FROM mktg.tenant WHERE tenant_id = ' || mktg.create_tenant('plain')), '(UTC,USD)',
    'UTC and USD by default');
SELECT is(pg_temp.refusal(statement), refused, name) FROM (VALUES
    ($$SELECT mktg.create_tenant('')$$, 'a name that is empty',
     'MK020 | name of a tenant must have 1 to 200 characters | The name given has 0 characters. | Choose a name that is not blank and not longer.'),
    ($$SELECT mktg.create_tenant(repeat('x', 201))$$, 'a name too long',
     'MK020 | name of a tenant must have 1 to 200 characters | The name given has 201 characters. | Choose a name that is not blank and not longer.'),
    ($$SELECT mktg.create_tenant('acme')$$, 'a name that is taken',
     'MK020 | tenant "acme" exists already | Choose another name; SELECT tenant_id, name FROM mktg.tenant lists them.'),
    ($$SELECT mktg.create_tenant(NULL)$$, 'no name', '22004 | argument "name" must not be NULL | Give a value for "name".'),
    ($$SELECT mktg.create_tenant('x', NULL)$$, 'no time zone', '22004 | argument "time_zone" must not be NULL | Give a value for "time_zone".'),
    ($$SELECT mktg.create_tenant('x', 'UTC', NULL)$$, 'no currency', '22004 | argument "currency" must not be NULL | Give a value for "currency".'),
    ($$SELECT mktg.create_tenant('x', 'Middle/Earth')$$, 'a time zone that is none',
     'MK024 | time zone "Middle/Earth" does not exist | Use a name such as Asia/Kolkata; SELECT name FROM pg_timezone_names lists them.'),
    ($$SELECT mktg.create_tenant('x', 'UTC', 'usd')$$, 'a currency in small letters',
     'MK024 | invalid currency "usd" | Use a code of ISO 4217, such as USD or INR.'),
    ($$SELECT mktg.create_tenant('x', 'UTC', 'EURO')$$, 'a currency of four letters',
     'MK024 | invalid currency "EURO" | Use a code of ISO 4217, such as USD or INR.')) AS t (statement, name, refused);

--
-- relations that are not ours
--
SELECT mktg.uninstall(current_database()) \g /dev/null
CREATE TABLE mktg.contact (mine integer);
SELECT is(pg_temp.refusal('SELECT mktg.install()'),
    'MK004 | relation "mktg.contact" exists already | It was not made by mktg.install(). | Drop or rename it, then run mktg.install() again.',
    'install() does not take over a table');
DROP TABLE mktg.contact;
CREATE VIEW mktg.recipient AS SELECT 1 AS mine;
SELECT is(pg_temp.refusal('SELECT mktg.install()'),
    'MK004 | relation "mktg.recipient" exists already | It was not made by mktg.install(). | Drop or rename it, then run mktg.install() again.',
    'nor a view');
DROP VIEW mktg.recipient;
SELECT is(mktg.install(NULL), 2, 'install(NULL) is install()');
SELECT is((SELECT string_agg(name, ',') FROM mktg.tenant), 'default', 'with a tenant');

CREATE ROLE mktg_test_other;
GRANT USAGE ON SCHEMA mktg TO mktg_test_other;
GRANT EXECUTE ON FUNCTION mktg.migrate() TO mktg_test_other;
CREATE FUNCTION pg_temp.migrate_as_other() RETURNS integer LANGUAGE sql AS 'SELECT mktg.migrate()';
SET ROLE mktg_test_other;
SELECT throws_ok('SELECT mktg.migrate()', 'MK004', 'tables of mktg belong to another role', 'migrate() by somebody else');
RESET ROLE;
ALTER TABLE mktg.sender_state OWNER TO mktg_test_other;
SELECT is(pg_temp.refusal('SELECT mktg.migrate()'),
    'MK004 | relation "mktg.sender_state" belongs to another role | mktg.schema_version and it have different owners.'
    ' | If it is not mktg''s own, drop or rename it; else give all of them to one role.', 'migrate() with a table of somebody else');
ALTER TABLE mktg.sender_state OWNER TO CURRENT_USER;

--
-- DROP EXTENSION leaves the data
--
SELECT pg_temp.people(3, '{email}') AS first \gset
SELECT mktg.create_template('t', 'email', 'Hello', body => 'x') \g /dev/null
SELECT mktg.create_campaign('kept', 'email', 't') AS campaign \gset
SELECT * FROM mktg.add_recipients(:campaign, ARRAY[:first, :first + 1]::bigint[]) \g /dev/null
DELETE FROM was;
INSERT INTO was SELECT pg_temp.attached();
DROP EXTENSION mktg CASCADE;
SELECT is((SELECT count(*) FROM mktg.contact) || ' ' || (SELECT count(*) FROM mktg.consent) || ' ' || (SELECT count(*) FROM mktg.message)
          || ' ' || (SELECT sum(pending) FROM mktg.campaign_stat), '3 3 2 2', 'DROP EXTENSION ... CASCADE leaves the data');
SELECT isnt_empty('TABLE was EXCEPT SELECT pg_temp.attached()', 'and takes what depends on its functions');
CREATE EXTENSION mktg;
SELECT is(pg_temp.refusal('SELECT mktg.process_daily()'),
    'MK003 | mktg cannot work on this schema version | This is the schema without its triggers and views, which DROP EXTENSION took.'
    ' | Run SELECT mktg.migrate(), or install the library that belongs to the schema.', 'nothing works without the triggers');
SELECT is(pg_temp.refusal('SELECT mktg.install()'),
    format('MK002 | mktg is installed in database "%s" already | mktg.migrate() brings an installation up to date; mktg.uninstall() drops it.',
           current_database()), 'install() sees that the tables are there');
SELECT is(mktg.migrate(), 2, 'migrate() after CREATE EXTENSION');
SELECT set_eq('SELECT pg_temp.attached()', 'TABLE was', 'triggers, views, defaults and the sandbox are back as they were');
SELECT is(mktg.migrate(), 2, 'migrate() may be repeated');
SELECT is((SELECT added FROM mktg.add_recipients(:campaign, ARRAY[:first + 2]::bigint[])), 1::bigint, 'work goes on');
SELECT is(pending || ' ' || mktg.rebuild_stats(:campaign), '3 0', 'and is counted') FROM mktg.campaign_stats(:campaign);

--
-- status(), arming
--
SELECT is(pg_temp.rows('SELECT "check", ok, detail FROM mktg.status()'), format('(library,t,"mktg %s")'
    ' (preloaded,t,"shared_preload_libraries names mktg")'
    ' (schema,t,"version 2")'
    ' (armed,t,"for this place")'
    ' ("worker %s",f,"none; the setting mktg.databases does not name this database")'
    ' (queue,t,"0 waiting, 0 leased, oldest due row none")'
    ' ("provider failures in the last hour",t,none)', extversion, current_database()),
    'status() of an idle installation') FROM pg_extension WHERE extname = 'mktg';
CREATE FUNCTION pg_temp.status_of(name text) RETURNS text LANGUAGE sql AS
    $$SELECT ok || ': ' || detail FROM mktg.status() WHERE "check" = name$$;
SELECT mktg.disarm_delivery() \g /dev/null
SELECT is(pg_temp.status_of('armed'), 'false: not armed; mktg.arm_delivery() arms it', 'disarmed');
SELECT mktg.disarm_delivery() \g /dev/null
SELECT mktg.arm_delivery() \g /dev/null
SELECT is(pg_temp.status_of('armed'), 'true: for this place', 'armed again');
SELECT is((SELECT string_agg(armed_by, ',') FROM mktg.delivery_arming), current_user::text, 'by whom is on record');
CREATE TEMP TABLE home AS TABLE mktg.delivery_arming;
CREATE FUNCTION pg_temp.status_when(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    status text;
BEGIN
    EXECUTE 'UPDATE mktg.delivery_arming SET ' || change;
    status := pg_temp.status_of('armed');
    DELETE FROM mktg.delivery_arming;
    INSERT INTO mktg.delivery_arming TABLE home;
    RETURN status;
END $$;
SELECT is(pg_temp.status_when(change), 'false: ' || status, 'armed elsewhere: ' || change) FROM (VALUES
    ('system_identifier = 1', 'armed for another cluster'),
    ('database_oid = 1', 'armed for another database'),
    ('timeline = timeline + 1', 'armed for another timeline: promoted or restored'),
    ('timeline = timeline - 1', 'armed for another timeline: promoted or restored'),
    ('data_directory = ''/elsewhere''', 'armed for another data directory'),
    ('host = ''elsewhere''', 'armed for another host')) AS t (change, status);

INSERT INTO mktg.outbox (campaign_id, contact_id, due, lease, worker) VALUES
    (1, 1, mktg.clock() - interval '299 s', NULL, NULL), (1, 2, mktg.clock() + interval '1 h', NULL, NULL),
    (1, 3, mktg.clock() - interval '1 day', 7, 1);
SELECT is(pg_temp.status_of('queue'), 'true: 2 waiting, 1 leased, oldest due row 299 s old', 'the queue, by mktg''s clock');
UPDATE mktg.outbox SET due = due - interval '1 s';
SELECT is(pg_temp.status_of('queue'), 'false: 2 waiting, 1 leased, oldest due row 300 s old', 'five minutes are too old');
DELETE FROM mktg.outbox WHERE contact_id <> 2;
SELECT is(pg_temp.status_of('queue'), 'true: 1 waiting, 0 leased, oldest due row none', 'what is not due is not late');
DELETE FROM mktg.outbox;

INSERT INTO mktg.provider_failure (tenant_id, sender_id, minute, class, failures, last_reason)
SELECT 1, sender_id, minute, class, failures, reason FROM mktg.sender, (VALUES
    (timestamptz '2025-01-15 08:30+00', 'retry', 2, 'first'), ('2025-01-15 08:40+00', 'retry', 3, 'second'),
    ('2025-01-15 08:50+00', 'doubt', 1, 'broken off'), ('2025-01-15 08:00+00', 'retry', 50, 'an hour ago')) AS f (minute, class, failures, reason);
SELECT is(pg_temp.status_of('provider failures in the last hour'), 'false: sandbox doubt: 1 (broken off); sandbox retry: 5 (second)',
    'failures of the last hour by sender and class, with the last reason');

--
-- maintain(), jobs
--
INSERT INTO mktg.provider_failure (tenant_id, sender_id, minute, class, failures)
SELECT 1, 1, mktg.clock() - age, 'config', 1 FROM unnest('{30 days,30 days 00:01}'::interval[]) AS age;
INSERT INTO mktg.sandbox_message (tenant_id, campaign_id, contact_id, ref, attempt, channel, address, sender, outcome, sent_at)
SELECT 1, 1, row_number() OVER (), '', 1, 'email', 'a@b.example', 's', 'sent', mktg.clock() - age
  FROM unnest('{30 days,30 days 00:00:01}'::interval[]) AS age;
SELECT mktg.maintain() \g /dev/null
SELECT is((SELECT count(*) FROM mktg.provider_failure WHERE class = 'config') || ' ' || (SELECT count(*) FROM mktg.sandbox_message), '1 1',
    'maintain() forgets failures and sandbox messages older than 30 days');
SELECT is(pg_temp.refusal(statement),
    'MK006 | pg_cron is not installed in this database | pg_cron lives in one database of a cluster, the one cron.database_name names.'
    ' | Run CREATE EXTENSION pg_cron there, or call mktg.process_daily() from another scheduler.', 'without pg_cron: ' || statement)
  FROM unnest(ARRAY['SELECT mktg.schedule_jobs()', 'SELECT mktg.unschedule_jobs()']) AS statement;

--
-- partitions by month
--
CREATE FUNCTION pg_temp.months() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(replace(c.relname, 'event_', '') || CASE WHEN c.relname = 'event_default' THEN '' ELSE
               replace(replace(pg_get_expr(relpartbound, c.oid), 'FOR VALUES FROM', ''), ' 00:00:00+00', '') END, ', ' ORDER BY c.relname COLLATE "C")
      FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'mktg.event'::regclass
$$;
CREATE FUNCTION pg_temp.placed() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(tableoid::regclass::text, ' ' ORDER BY occurred_at) FROM mktg.event
$$;
SET LOCAL timezone = 'UTC';
SELECT is(pg_temp.months(), $$2025_01 ('2025-01-01') TO ('2025-02-01'), 2025_02 ('2025-02-01') TO ('2025-03-01'), $$
    || $$2025_03 ('2025-03-01') TO ('2025-04-01'), 2025_04 ('2025-04-01') TO ('2025-05-01'), default$$,
    'install() has made partitions of this month and the next three');
SELECT mktg.maintain() \g /dev/null
SELECT is((SELECT count(*) FROM pg_inherits WHERE inhparent = 'mktg.event'::regclass), 5::bigint, 'maintain() finds all of them there');
SET LOCAL timezone = 'Asia/Kolkata';
SET LOCAL mktg.clock = '2025-01-31 23:59:59.999999+00';
SELECT mktg.maintain() \g /dev/null
SELECT is((SELECT count(*) FROM pg_inherits WHERE inhparent = 'mktg.event'::regclass), 5::bigint, 'months are those of UTC');
SET LOCAL mktg.clock = '2025-02-01 00:00+00';
SELECT mktg.maintain() \g /dev/null
SET LOCAL timezone = 'UTC';
SELECT matches(pg_temp.months(), $$, 2025_05 \('2025-05-01'\) TO \('2025-06-01'\), default$$, 'a month later there is one more, from and to midnight UTC');

SELECT pg_temp.people(1, first => 100) AS reader \gset
SELECT mktg.create_segment('events', '{"field": "event.count", "operator": ">=", "value": 1}') AS events \gset
SELECT mktg.refresh_segment(:events) \g /dev/null
DELETE FROM mktg.segment_due;
INSERT INTO mktg.event (contact_id, name, occurred_at) VALUES (:reader, 'a', '2024-12-31 23:59:59+00'), (:reader, 'b', '2025-01-01 00:00+00'),
    (:reader, 'c', '2025-05-31 23:59:59.999999+00'), (:reader, 'd', '2025-07-04 00:00+00'), (:reader, 'e', 'infinity');
SELECT is(pg_temp.placed(), 'mktg.event_default mktg.event_2025_01 mktg.event_2025_05 mktg.event_default mktg.event_default', 'rows go where they belong');
SELECT is((SELECT count(*) FROM mktg.segment_due), 1::bigint, 'whichever partitions they are in, the statement is noticed, once');
SELECT is(mktg.refresh_dirty() || ' ' || mktg.in_segment(:reader, :events), '1 true', 'and the segment follows');
INSERT INTO mktg.event (contact_id, name) VALUES (:reader, 'now');
SELECT is((SELECT occurred_at FROM mktg.event WHERE name = 'now'), timestamptz '2025-02-01 00:00+00', 'an event is of now unless it says so');
DELETE FROM mktg.event WHERE name = 'now';

SET LOCAL mktg.clock = '2025-05-10 12:00+00';
SELECT mktg.maintain() \g /dev/null
SELECT matches(pg_temp.months(), '2025_05 [^,]*, 2025_06 [^,]*, 2025_08 [^,]*, default', 'a month with rows in the default partition stays there');
SELECT is(pg_temp.placed(), 'mktg.event_default mktg.event_2025_01 mktg.event_2025_05 mktg.event_default mktg.event_default', 'with its rows');
DELETE FROM mktg.event WHERE name = 'd';
CREATE TABLE mktg.event_autumn PARTITION OF mktg.event FOR VALUES FROM ('2025-09-15') TO ('2025-11-15');
CREATE TABLE mktg.event_2026_01 (mine integer);
SET LOCAL mktg.clock = '2025-07-31 12:00+00';
SELECT mktg.maintain() \g /dev/null
SELECT matches(pg_temp.months(), '2025_05 [^,]*, 2025_06 [^,]*, 2025_07 [^,]*, 2025_08 [^,]*, autumn [^,]*, default',
    'until they are gone; months in which another partition begins or ends have none of their own') ;
SET LOCAL mktg.clock = '2025-11-30 12:00+00';
SELECT mktg.maintain() \g /dev/null
SELECT alike(pg_temp.months(), '%, 2025_12 (''2025-12-01'') TO (''2026-01-01''), 2026_02 (%', 'nor those whose name is taken; the year may change');
CREATE ROLE mktg_test_keeper;
GRANT USAGE ON SCHEMA mktg TO mktg_test_keeper;
GRANT EXECUTE ON FUNCTION mktg.maintain() TO mktg_test_keeper;
GRANT SELECT, DELETE ON mktg.schema_version, mktg.provider_failure, mktg.sandbox_message TO mktg_test_keeper;
GRANT SELECT, INSERT, UPDATE, DELETE ON mktg.campaign_stat, mktg.tenant TO mktg_test_keeper;
GRANT SELECT, DELETE ON mktg.contact_send, mktg.frequency_cap, mktg.delivery_rate, mktg.redemption, mktg.inbox_message TO mktg_test_keeper;
SET LOCAL mktg.clock = '2026-03-01 00:00+00';
SET LOCAL ROLE mktg_test_keeper;
SELECT mktg.maintain() \g /dev/null
RESET ROLE;
SELECT is((SELECT relowner FROM pg_class WHERE oid = 'mktg.event_2026_06'::regclass), (SELECT relowner FROM pg_class WHERE oid = 'mktg.event'::regclass),
    'who may only call maintain() makes partitions, which are the owner''s');
SET LOCAL mktg.clock = '0044-03-15 BC';
SELECT lives_ok('SELECT mktg.maintain()', 'maintain() before the first year');
SET LOCAL mktg.clock = '294276-12-01';
SELECT lives_ok('SELECT mktg.maintain()', 'and in its last month');
SET LOCAL mktg.clock = '2025-01-15 09:00+00';

SELECT throws_ok($$SET LOCAL mktg.clock = 'half past nine'$$, '22023', 'invalid value for parameter "mktg.clock": "half past nine"',
    'the clock takes what is a time');

SELECT * FROM finish();
ROLLBACK;
