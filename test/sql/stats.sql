\set ECHO none
\i test/setup.sql
BEGIN;
SELECT plan(78);

CREATE EXTENSION amcheck;
INSERT INTO mktg.tenant (tenant_id, name) VALUES (900, 'second');
INSERT INTO mktg.campaign (tenant_id, campaign_id, name, channel)
VALUES (1, 901, 'first', 'email'), (1, 902, 'second', 'email'), (900, 901, 'of the second tenant', 'email');

-- A recount that shares nothing with the code: keys and counters that differ.
CREATE FUNCTION pg_temp.differences(messages regclass, counters regclass) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
    EXECUTE format($q$
        WITH unit AS (
            SELECT tenant_id, campaign_id, variant, coalesce(send_day, '-infinity') AS day, counter
              FROM %s, LATERAL (VALUES (status), (CASE WHEN opened_at IS NOT NULL THEN 'opened' END),
                   (CASE WHEN clicked_at IS NOT NULL THEN 'clicked' END),
                   (CASE WHEN converted_at IS NOT NULL THEN 'converted' END),
                   (CASE WHEN unsubscribed_at IS NOT NULL THEN 'unsubscribed' END)) v (counter)
             WHERE counter IS NOT NULL),
        recount AS (SELECT tenant_id, campaign_id, variant, day, counter, count(*) AS n FROM unit GROUP BY 1, 2, 3, 4, 5),
        kept AS (SELECT tenant_id, campaign_id, variant, day, key AS counter, sum(value::bigint) AS n
                   FROM %s s, LATERAL jsonb_each_text(to_jsonb(s) - '{tenant_id,campaign_id,variant,day,slot,note}'::text[])
                  GROUP BY 1, 2, 3, 4, 5)
        SELECT count(*) FROM recount r FULL JOIN kept k USING (tenant_id, campaign_id, variant, day, counter)
         WHERE coalesce(r.n, 0) <> coalesce(k.n, 0)$q$, messages, counters) INTO n;
    RETURN n;
END $$;

-- What rebuild_stats() says of every campaign, and the recount.
CREATE FUNCTION pg_temp.wrong() RETURNS bigint LANGUAGE sql AS $$
SELECT pg_temp.differences('mktg.message', 'mktg.campaign_stat')
     + sum(mktg.rebuild_stats(campaign_id, tenant_id)) FROM mktg.campaign $$;

CREATE FUNCTION pg_temp.counted(campaign bigint, counter text, tenant bigint DEFAULT 1) RETURNS bigint LANGUAGE sql AS $$
SELECT coalesce(sum((to_jsonb(s) ->> counter)::bigint), 0)::bigint
  FROM mktg.campaign_stat s WHERE s.campaign_id = campaign AND s.tenant_id = tenant $$;

---- every kind of write ----

INSERT INTO mktg.message (campaign_id, contact_id) VALUES (901, 1);
SELECT is(pg_temp.counted(901, 'pending'), 1::bigint, 'INSERT of one row counts');
SELECT is((SELECT array_agg(day) FROM mktg.campaign_stat WHERE campaign_id = 901), '{-infinity}'::date[],
          'a message without a day counts under -infinity');

INSERT INTO mktg.message (campaign_id, contact_id, variant, send_day, status)
SELECT 901 + g % 2, g, g % 3, CASE WHEN g % 5 > 0 THEN date '2025-01-15' + g % 5 END,
       (ARRAY['pending', 'queued', 'sent', 'delivered', 'read', 'failed', 'bounced', 'skipped', 'cancelled', 'in_doubt'])[1 + g % 10]
  FROM generate_series(1000, 2999) g;
SELECT is(pg_temp.wrong(), 0::bigint, 'INSERT ... SELECT over campaigns, variants, days and statuses');
SELECT is(pg_temp.counted(902, 'in_doubt'), 200::bigint, 'and counts every status');

INSERT INTO mktg.message (tenant_id, campaign_id, contact_id) VALUES (900, 901, 1), (900, 901, 2);
SELECT is(pg_temp.counted(901, 'pending', 900), 2::bigint, 'tenants with the same campaign number');
SELECT is(pg_temp.wrong(), 0::bigint, 'are counted apart');

UPDATE mktg.message SET status = 'sent', sent_at = now() WHERE campaign_id = 901 AND contact_id = 1;
SELECT is(pg_temp.wrong(), 0::bigint, 'UPDATE of one row');
UPDATE mktg.message SET opened_at = now() WHERE campaign_id = 902 AND status IN ('delivered', 'read');
UPDATE mktg.message SET clicked_at = now(), converted_at = now(), unsubscribed_at = now()
 WHERE campaign_id = 902 AND variant = 1;
SELECT is(pg_temp.wrong(), 0::bigint, 'UPDATE of events');
SELECT is(pg_temp.counted(902, 'opened'), 200::bigint, 'events count beside the status');
UPDATE mktg.message SET opened_at = now() - interval '1 day', clicked_at = NULL WHERE campaign_id = 902;
SELECT is(pg_temp.counted(902, 'opened'), 1000::bigint, 'an event that changes its time counts once');
SELECT is(pg_temp.counted(902, 'clicked'), 0::bigint, 'an event taken back is taken off');
SELECT is(pg_temp.wrong(), 0::bigint, 'and all the rest stays');

UPDATE mktg.message SET status = 'failed' WHERE false;
UPDATE mktg.message SET attempts = attempts + 1;
SELECT is(pg_temp.wrong(), 0::bigint, 'UPDATE of nothing, and of nothing that counts');
UPDATE mktg.message SET campaign_id = 901, ref = 'moved' WHERE campaign_id = 902 AND contact_id % 4 = 1;
SELECT is(pg_temp.wrong(), 0::bigint, 'UPDATE that moves rows to another campaign');
UPDATE mktg.message SET send_day = coalesce(send_day + 1, '2025-02-01'), variant = 3 - variant WHERE campaign_id = 902;
SELECT is(pg_temp.wrong(), 0::bigint, 'UPDATE that moves rows to other days and variants');
UPDATE mktg.message SET send_day = NULL WHERE contact_id % 7 = 0;
SELECT is(pg_temp.wrong(), 0::bigint, 'UPDATE that takes the day away');
UPDATE mktg.message m SET tenant_id = 900 WHERE tenant_id = 1 AND campaign_id = 901 AND contact_id % 100 = 1 AND ref = '' AND contact_id > 1;
SELECT is(pg_temp.wrong(), 0::bigint, 'UPDATE that moves rows to another tenant');

DELETE FROM mktg.message WHERE contact_id % 11 = 0;
SELECT is(pg_temp.wrong(), 0::bigint, 'DELETE');

COPY mktg.message (campaign_id, contact_id, status, opened_at) FROM stdin;
901	5001	sent	2025-01-15 10:00+00
901	5002	sent	\N
902	5001	failed	\N
\.
SELECT is(pg_temp.wrong(), 0::bigint, 'COPY');

INSERT INTO mktg.message (campaign_id, contact_id, status)
SELECT 901, g, 'queued' FROM generate_series(5000, 5003) g
ON CONFLICT (tenant_id, campaign_id, contact_id, ref) DO UPDATE SET status = 'delivered';
SELECT is((SELECT string_agg(status, ' ' ORDER BY contact_id) FROM mktg.message
            WHERE campaign_id = 901 AND contact_id BETWEEN 5000 AND 5003),
          'queued delivered delivered queued', 'ON CONFLICT DO UPDATE inserts and updates');
SELECT is(pg_temp.wrong(), 0::bigint, 'and both count');
INSERT INTO mktg.message (campaign_id, contact_id) SELECT 901, g FROM generate_series(5002, 5004) g ON CONFLICT DO NOTHING;
SELECT is(pg_temp.wrong(), 0::bigint, 'ON CONFLICT DO NOTHING');

MERGE INTO mktg.message m
USING (SELECT 902::bigint AS campaign_id, g::bigint AS contact_id FROM generate_series(5001, 5006) g) s
   ON m.tenant_id = 1 AND m.campaign_id = s.campaign_id AND m.contact_id = s.contact_id AND m.ref = ''
 WHEN MATCHED THEN UPDATE SET status = 'bounced'
 WHEN NOT MATCHED THEN INSERT (campaign_id, contact_id, status) VALUES (s.campaign_id, s.contact_id, 'queued');
MERGE INTO mktg.message m
USING (VALUES (5001), (5002), (5003)) s (contact_id)
   ON m.tenant_id = 1 AND m.campaign_id = 902 AND m.contact_id = s.contact_id
 WHEN MATCHED AND s.contact_id = 5001 THEN DELETE
 WHEN MATCHED THEN UPDATE SET status = 'sent', send_day = '2025-01-20';
SELECT is(pg_temp.wrong(), 0::bigint, 'MERGE that inserts, updates and deletes');

WITH gone AS (DELETE FROM mktg.message WHERE campaign_id = 902 AND contact_id = 5002 RETURNING contact_id),
     changed AS (UPDATE mktg.message SET status = 'delivered' WHERE campaign_id = 902 AND contact_id = 5003 RETURNING contact_id),
     again AS (UPDATE mktg.message SET status = 'read' WHERE campaign_id = 902 AND contact_id = 5004 RETURNING contact_id)
INSERT INTO mktg.message (campaign_id, contact_id, status)
SELECT 901, contact_id + 1000, 'queued' FROM (TABLE gone UNION ALL TABLE changed UNION ALL TABLE again) a;
SELECT is(pg_temp.wrong(), 0::bigint, 'several writes in one statement');

---- rollback ----

SAVEPOINT a;
UPDATE mktg.message SET status = 'cancelled' WHERE campaign_id = 901;
INSERT INTO mktg.message (campaign_id, contact_id, send_day) VALUES (901, 7000, '2025-03-01');
SELECT pg_temp.wrong() AS within \gset
ROLLBACK TO a;
SELECT is(:within, 0, 'within a savepoint');
SELECT is(pg_temp.wrong(), 0::bigint, 'rollback to the savepoint takes the counts back');
UPDATE mktg.message SET status = 'cancelled' WHERE campaign_id = 901;
INSERT INTO mktg.message (campaign_id, contact_id, send_day) VALUES (901, 7000, '2025-03-01');
SELECT is(pg_temp.wrong(), 0::bigint, 'the same writes again after the rollback');
SAVEPOINT b;
UPDATE mktg.message SET status = 'sent' WHERE campaign_id = 901;
RELEASE b;
SELECT is(pg_temp.wrong(), 0::bigint, 'a released savepoint stays counted');
DO $$
BEGIN
    UPDATE mktg.message SET status = 'read' WHERE campaign_id = 901;
    PERFORM 1 / 0;
EXCEPTION WHEN division_by_zero THEN
    UPDATE mktg.message SET status = 'skipped' WHERE campaign_id = 901 AND contact_id % 2 = 0;
END $$;
SELECT is(pg_temp.wrong(), 0::bigint, 'an exception handled in a block');

---- many statements in one transaction ----

SELECT pg_stat_get_xact_numscans('mktg.campaign_stat_pkey'::regclass) AS scans \gset
-- More versions of the counter row than fit on its page, all kept by this
-- transaction.
DO $$
BEGIN
    FOR i IN 1..500 LOOP
        UPDATE mktg.message SET status = CASE status WHEN 'sent' THEN 'delivered' ELSE 'sent' END
         WHERE campaign_id = 901 AND contact_id = 7000;
        IF i % 50 = 0 THEN
            UPDATE mktg.message SET send_day = send_day + 1 WHERE campaign_id = 901 AND contact_id = 7000;
        END IF;
    END LOOP;
END $$;
SELECT is(pg_temp.wrong(), 0::bigint, '500 one-row statements in one transaction');
SELECT cmp_ok(pg_stat_get_xact_numscans('mktg.campaign_stat_pkey'::regclass) - :scans, '<', 100::bigint,
              'a row written before is updated without looking for it');
SELECT lives_ok($$SELECT bt_index_check('mktg.campaign_stat_pkey', true)$$, 'the index has an entry for every counter row');
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
SELECT is(pg_temp.counted(901, 'sent'), (SELECT count(*) FROM mktg.message WHERE tenant_id = 1 AND campaign_id = 901 AND status = 'sent'),
          'the index leads to the counters');
RESET enable_seqscan;
RESET enable_bitmapscan;
SELECT is((SELECT count(*) FROM mktg.campaign_stat WHERE slot < 1), 0::bigint, 'sessions do not write slot 0');
SELECT is((SELECT count(DISTINCT slot) FROM mktg.campaign_stat), 1::bigint, 'one session writes one slot');

---- rebuild_stats ----

UPDATE mktg.campaign_stat SET sent = sent + 1 WHERE campaign_id = 901 AND tenant_id = 1 AND day = '2025-01-16' AND variant = 0;
SELECT is(mktg.rebuild_stats(901), 1::bigint, 'a counter that is wrong is found');
SELECT is(mktg.rebuild_stats(901), 0::bigint, 'and mended');
INSERT INTO mktg.campaign_stat (tenant_id, campaign_id, variant, day, slot, opened, failed) VALUES (1, 901, 7, '2030-01-01', 9999, 4, -2);
DELETE FROM mktg.campaign_stat WHERE campaign_id = 901 AND tenant_id = 1 AND day = (SELECT max(send_day) FROM mktg.message WHERE campaign_id = 901 AND contact_id = 7000);
SELECT is(pg_temp.differences('mktg.message', 'mktg.campaign_stat'), 3::bigint, 'two counters of a day without messages, one row lost');
SELECT is(mktg.rebuild_stats(902), 0::bigint, 'another campaign is not touched');
SELECT is(mktg.rebuild_stats(901, 900), 0::bigint, 'nor one of another tenant');
SELECT is(mktg.rebuild_stats(901, 1), 3::bigint, 'all three are found');
SELECT is(pg_temp.wrong(), 0::bigint, 'and mended');
UPDATE mktg.message SET status = 'queued' WHERE campaign_id = 901 AND contact_id = 7000;
SELECT is(pg_temp.wrong(), 0::bigint, 'counting goes on where a row was lost');
ALTER TABLE mktg.message DISABLE TRIGGER USER;
UPDATE mktg.message SET status = 'read', opened_at = now() WHERE campaign_id = 901 AND contact_id = 7000;
DELETE FROM mktg.message WHERE campaign_id = 902;
ALTER TABLE mktg.message ENABLE TRIGGER USER;
SELECT is(mktg.rebuild_stats(901), 3::bigint, 'writes without the trigger: one status less, one more, one event');
SELECT cmp_ok(mktg.rebuild_stats(902), '>', 0::bigint, 'a campaign whose messages are gone');
SELECT is(pg_temp.wrong(), 0::bigint, 'is mended, too');
SELECT throws_ok('SELECT mktg.rebuild_stats(999)', 'MK014', 'campaign 999 does not exist', 'unknown campaign');
SELECT throws_ok('SELECT mktg.rebuild_stats(902, 900)', 'MK014', NULL, 'a campaign of another tenant');
SELECT throws_ok('SELECT mktg.rebuild_stats(901, 999)', 'MK010', 'tenant 999 does not exist', 'unknown tenant');
SELECT throws_ok('SELECT mktg.rebuild_stats(NULL)', '22004', NULL, 'no campaign');

---- fold ----

INSERT INTO mktg.message (campaign_id, contact_id, send_day, status)
SELECT 902, g, date '2025-01-13' + g % 5, 'sent' FROM generate_series(1, 10) g;
INSERT INTO mktg.campaign_stat (tenant_id, campaign_id, variant, day, slot, sent, read)
VALUES (1, 902, 0, '2025-01-15', 8001, -5, 5), (1, 902, 0, '2025-01-15', 8002, 5, -5),
       (1, 902, 5, '2025-01-15', 8001, 1, 0), (1, 902, 5, '2025-01-15', 8002, -1, 0);
SET mktg.clock = '2025-01-17 12:00+00';
SELECT lives_ok('SELECT mktg.maintain()', 'housekeeping');
SELECT is((SELECT min(day) FROM mktg.campaign_stat WHERE slot > 0), '2025-01-16'::date,
          'days before yesterday, and messages without a day, are folded');
SELECT is(pg_temp.wrong(), 0::bigint, 'the sums stay');
SELECT is((SELECT count(*) FROM mktg.campaign_stat WHERE campaign_id = 902 AND variant = 5), 0::bigint,
          'what adds up to nothing leaves no row');
SELECT is((SELECT array_agg(ARRAY[slot, sent, read]::bigint[]) FROM mktg.campaign_stat WHERE campaign_id = 902 AND day = '2025-01-15' AND variant = 0),
          '{{0,2,0}}'::bigint[], 'slots become one row');
UPDATE mktg.message SET status = 'delivered' WHERE campaign_id = 902;
SELECT is(pg_temp.wrong(), 0::bigint, 'statements count on after the fold');
SELECT lives_ok('SELECT mktg.maintain()', 'housekeeping again');
SELECT is(pg_temp.wrong(), 0::bigint, 'and folding adds to what was folded');
RESET mktg.clock;

---- rights ----

CREATE ROLE mktg_test_writer;
GRANT USAGE ON SCHEMA mktg TO mktg_test_writer;
GRANT SELECT, INSERT, UPDATE ON mktg.message TO mktg_test_writer;
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.add(bigint, bigint) RETURNS bigint LANGUAGE sql RETURN 0;
CREATE OPERATOR hostile.+ (FUNCTION = hostile.add, LEFTARG = bigint, RIGHTARG = bigint);
GRANT USAGE ON SCHEMA hostile TO mktg_test_writer;
SET ROLE mktg_test_writer;
SET search_path = hostile, pg_catalog, public;
INSERT INTO mktg.message (campaign_id, contact_id) VALUES (901, 8001);
INSERT INTO mktg.message (campaign_id, contact_id) VALUES (901, 8002);
UPDATE mktg.message SET send_day = '2025-04-01' WHERE campaign_id = 901 AND contact_id > 8000;
SELECT throws_ok('SELECT * FROM mktg.campaign_stat', '42501', NULL, 'who may write messages needs no rights on counters');
RESET search_path;
RESET ROLE;
SELECT is(pg_temp.wrong(), 0::bigint, 'and no search_path changes what is added');

---- other tables ----

CREATE TABLE part_stat (LIKE mktg.campaign_stat INCLUDING ALL);
CREATE TABLE part (LIKE mktg.message INCLUDING DEFAULTS) PARTITION BY LIST (campaign_id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
-- columns of a partition in another order than its parent's
CREATE TABLE part_2 (status text COLLATE "C" NOT NULL DEFAULT 'pending', campaign_id bigint NOT NULL, gone text);
ALTER TABLE part_2 DROP gone;
DO $$
DECLARE columns text;
BEGIN
    SELECT string_agg(format('ADD %I %s %s', attname, format_type(atttypid, atttypmod) || CASE WHEN attcollation = '"C"'::regcollation THEN ' COLLATE "C"' ELSE '' END,
           CASE WHEN attnotnull THEN 'NOT NULL' END), ', ' ORDER BY attnum DESC)
      INTO columns FROM pg_attribute
     WHERE attrelid = 'part'::regclass AND attnum > 0 AND attname NOT IN ('status', 'campaign_id');
    EXECUTE 'ALTER TABLE part_2 ' || columns;
END $$;
ALTER TABLE part ATTACH PARTITION part_2 FOR VALUES IN (2);
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['part', 'part_1', 'part_2'] LOOP
        EXECUTE format($q$
        CREATE TRIGGER count_insert AFTER INSERT ON %1$I REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('public.part_stat');
        CREATE TRIGGER count_update AFTER UPDATE ON %1$I REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('public.part_stat');
        CREATE TRIGGER count_delete AFTER DELETE ON %1$I REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('public.part_stat');
        CREATE TRIGGER count_truncate AFTER TRUNCATE ON %1$I FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('public.part_stat');
        $q$, t);
    END LOOP;
END $$;
INSERT INTO part (campaign_id, contact_id, send_day) SELECT 1 + g % 2, g, date '2025-01-15' + g % 3 FROM generate_series(1, 200) g;
UPDATE part SET status = 'sent', opened_at = now() WHERE contact_id % 3 = 0;
UPDATE part SET campaign_id = 3 - campaign_id WHERE contact_id % 5 = 0;
DELETE FROM part WHERE contact_id % 7 = 0;
SELECT is(pg_temp.differences('part', 'part_stat'), 0::bigint, 'a partitioned table: writes, also across partitions');
UPDATE part_2 SET status = 'failed' WHERE contact_id % 2 = 0;
INSERT INTO part_2 (tenant_id, campaign_id, contact_id, variant, attempts, ref) VALUES (1, 2, 1000, 0, 0, '');
DELETE FROM part_1 WHERE contact_id < 50;
SELECT is(pg_temp.differences('part', 'part_stat'), 0::bigint, 'writes on its partitions');
ALTER TABLE part_stat ADD note text DEFAULT 'kept';
UPDATE part SET status = 'read';
UPDATE part SET status = 'delivered' WHERE contact_id % 2 = 0;
SELECT is(pg_temp.differences('part', 'part_stat'), 0::bigint, 'counters with a further column');
CREATE INDEX ON part_stat (sent);
UPDATE part SET status = 'queued';
UPDATE part SET status = 'sent' WHERE contact_id % 2 = 0;
SELECT is(pg_temp.differences('part', 'part_stat'), 0::bigint, 'counters with a further index');
DROP TABLE part_stat;
CREATE TABLE part_stat (LIKE mktg.campaign_stat, PRIMARY KEY (slot, day, variant, campaign_id, tenant_id));
ALTER TABLE part_stat DROP pending, ADD pending bigint NOT NULL DEFAULT 0;
TRUNCATE part;
INSERT INTO part (campaign_id, contact_id, unsubscribed_at) SELECT 1 + g % 2, g, now() FROM generate_series(1, 20) g;
UPDATE part SET status = 'sent' WHERE contact_id % 3 = 0;
UPDATE part SET status = 'delivered', unsubscribed_at = NULL WHERE contact_id % 2 = 0;
SELECT is(pg_temp.differences('part', 'part_stat'), 0::bigint, 'counters whose columns are in another order');

CREATE TABLE loose (LIKE mktg.message);
ALTER TABLE loose ALTER status DROP NOT NULL;
CREATE TRIGGER count AFTER INSERT ON loose REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('public.part_stat');
SELECT throws_ok($$INSERT INTO loose VALUES (1, 1, 1, NULL, NULL, 0, 0, '', NULL, 'opened')$$, 'MK018', 'status "opened" does not exist', 'unknown status');
SELECT throws_ok($$INSERT INTO loose VALUES (1, 1, 1, NULL, NULL, 0, 0, '', NULL, NULL)$$, '23502', NULL, 'no status');
ALTER TABLE loose DROP clicked_at;
SELECT throws_ok($$INSERT INTO loose VALUES (1, 1, 1, NULL, NULL, 0, 0, '', NULL, 'sent')$$, '42703', 'relation "loose" has no column "clicked_at" of type timestamp with time zone', 'a column is missing');

-- TRUNCATE empties the counters, and what comes after is counted anew.
TRUNCATE mktg.message;
SELECT is((SELECT count(*) FROM mktg.campaign_stat), 0::bigint, 'TRUNCATE');
SELECT is(pg_temp.wrong(), 0::bigint, 'leaves nothing to mend');
INSERT INTO mktg.message (campaign_id, contact_id) VALUES (901, 1);
UPDATE mktg.message SET status = 'sent';
SELECT is(pg_temp.wrong(), 0::bigint, 'counting begins anew');

---- how it is fired ----

SELECT throws_ok('SELECT mktg._count_messages()', '39P01', 'mktg._count_messages() can only be called as a trigger', 'not as a function');
CREATE TABLE fired (LIKE mktg.message INCLUDING DEFAULTS);
CREATE FUNCTION pg_temp.refuses(definition text, name text, state text DEFAULT '39P01') RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'DROP TRIGGER IF EXISTS t ON fired';
    EXECUTE 'CREATE TRIGGER t ' || definition;
    RETURN throws_ok('INSERT INTO fired (campaign_id, contact_id) VALUES (1, 1)', state, NULL, name);
END $$;
SELECT pg_temp.refuses($$AFTER INSERT ON fired REFERENCING NEW TABLE AS n FOR EACH ROW EXECUTE FUNCTION mktg._count_messages('public.part_stat')$$, 'not FOR EACH ROW');
SELECT pg_temp.refuses($$BEFORE INSERT ON fired FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('public.part_stat')$$, 'not BEFORE');
SELECT pg_temp.refuses($$AFTER INSERT ON fired FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('public.part_stat')$$, 'not without the transition table');
SELECT pg_temp.refuses($$AFTER INSERT ON fired REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages()$$, 'not without the table of counters');
SELECT pg_temp.refuses($$AFTER INSERT ON fired REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('part_stat')$$, 'not with a name that search_path would decide');
SELECT pg_temp.refuses($$AFTER INSERT ON fired REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('public.nowhere')$$, 'not into a table that does not exist', '42P01');

SELECT * FROM finish();
ROLLBACK;
