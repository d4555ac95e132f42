\set ECHO none
\i test/setup.sql
BEGIN;
\i test/fixture.sql
SELECT no_plan();
SET LOCAL mktg.clock = '2025-07-01 12:00+00';
INSERT INTO mktg.tenant (tenant_id, name, time_zone, currency) VALUES (71, 'other', 'UTC', 'USD'), (72, 'Kolkata', 'Asia/Kolkata', 'INR'),
    (73, 'Berlin', 'Europe/Berlin', 'EUR'), (74, 'yen', 'UTC', 'JPY'), (75, 'dinar', 'UTC', 'KWD');

-- A fingerprint that covers scores and segments as well.
CREATE FUNCTION pg_temp.scores() RETURNS text LANGUAGE sql AS $$
    SELECT (SELECT sum(hashtextextended(r::text, 0)::numeric) FROM mktg.rfm_score r) || ' ' ||
           (SELECT coalesce(sum(hashtextextended(s::text, 0)::numeric), 0) FROM mktg.segment s)
$$;
CREATE FUNCTION pg_temp.score_of(contact bigint, of_tenant bigint DEFAULT 1) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', recency_days, frequency, monetary, code, segment, spend_percentile) FROM mktg.rfm_score
     WHERE tenant_id = of_tenant AND contact_id = contact
$$;
-- What the manual says, in plain SQL: the facts a score is made of.
CREATE FUNCTION pg_temp.base(of_tenant bigint, instant timestamptz, since timestamptz DEFAULT '-infinity')
RETURNS TABLE (contact_id bigint, recency_days integer, frequency integer, monetary bigint) LANGUAGE sql AS $$
    SELECT p.contact_id, (instant AT TIME ZONE t.time_zone)::date - max((placed_at AT TIME ZONE t.time_zone)::date),
           count(DISTINCT (placed_at AT TIME ZONE t.time_zone)::date)::integer, sum(amount)::bigint
      FROM mktg.purchase p JOIN mktg.tenant t USING (tenant_id) JOIN mktg.contact c USING (tenant_id, contact_id)
     WHERE tenant_id = of_tenant AND placed_at <= instant AND placed_at > since AND isfinite(placed_at)
       AND coalesce(p.currency, t.currency) = t.currency
     GROUP BY p.contact_id, t.time_zone
$$;
-- Rows in which the scores differ from SQL's own by the method.
CREATE FUNCTION pg_temp.wrong(method text, of_tenant bigint, instant timestamptz, since timestamptz DEFAULT '-infinity') RETURNS bigint LANGUAGE sql AS $$
    WITH base AS (SELECT * FROM pg_temp.base(of_tenant, instant, since)),
    ranked AS (SELECT *, ntile(5) OVER (ORDER BY recency_days DESC, contact_id) AS nr, ntile(5) OVER (ORDER BY frequency, contact_id) AS nf,
                      ntile(5) OVER (ORDER BY monetary, contact_id) AS nm, rank() OVER (ORDER BY recency_days DESC) AS kr,
                      rank() OVER (ORDER BY frequency) AS kf, rank() OVER (ORDER BY monetary) AS km, count(*) OVER () AS n FROM base),
    want AS (SELECT contact_id, recency_days, frequency, monetary,
                    CASE method WHEN 'ntile' THEN nr WHEN 'percentile' THEN CASE n WHEN 1 THEN 5 ELSE least(5, 1 + 5 * (kr - 1) / (n - 1)) END
                        ELSE CASE WHEN recency_days <= 30 THEN 5 WHEN recency_days <= 90 THEN 4 WHEN recency_days <= 180 THEN 3 WHEN recency_days <= 365 THEN 2 ELSE 1 END END AS r,
                    CASE method WHEN 'ntile' THEN nf WHEN 'percentile' THEN CASE n WHEN 1 THEN 5 ELSE least(5, 1 + 5 * (kf - 1) / (n - 1)) END
                        ELSE CASE WHEN frequency >= 10 THEN 5 WHEN frequency >= 5 THEN 4 WHEN frequency >= 3 THEN 3 ELSE frequency END END AS f,
                    CASE method WHEN 'ntile' THEN nm WHEN 'percentile' THEN CASE n WHEN 1 THEN 5 ELSE least(5, 1 + 5 * (km - 1) / (n - 1)) END
                        ELSE CASE WHEN monetary <= 50000 THEN 1 WHEN monetary <= 100000 THEN 2 WHEN monetary <= 250000 THEN 3 WHEN monetary <= 500000 THEN 4 ELSE 5 END END AS m,
                    CASE n WHEN 1 THEN 100 ELSE 100.0 * (km - 1) / (n - 1) END::double precision AS percentile FROM ranked)
    SELECT count(*) FROM want w FULL JOIN (SELECT * FROM mktg.rfm_score WHERE tenant_id = of_tenant) s USING (contact_id)
     WHERE (w.recency_days, w.frequency, w.monetary, w.r, w.f, w.m, concat(w.r, w.f, w.m)) IS DISTINCT FROM
           (s.recency_days, s.frequency, s.monetary, s.r::bigint, s.f::bigint, s.m::bigint, s.code)
        OR abs(w.percentile - s.spend_percentile) > 1e-9 OR s.segment IS NULL
$$;

--
-- every code: a contact each
--
CREATE TEMP TABLE want (segment text COLLATE "C", n integer, codes text[] COLLATE "C");
INSERT INTO want VALUES
    ('Lost', 6, '{111,112,121,131,141,151}'),
    ('Hibernating', 12, '{113,122,123,132,211,212,213,221,222,223,231,232}'),
    ('Can''t Lose Them', 8, '{114,115,144,145,154,155,214,215}'),
    ('At Risk', 22, '{124,125,133,134,135,142,143,152,153,224,225,233,234,235,242,243,244,245,252,253,254,255}'),
    ('About to Sleep', 8, '{241,251,311,312,321,322,331,332}'),
    ('Promising', 19, '{313,314,315,411,412,413,414,415,421,422,423,424,425,513,514,515,523,524,525}'),
    ('Needs Attention', 12, '{323,324,325,333,334,341,342,343,431,432,433,434}'),
    ('Potential Loyalists', 24, '{335,344,351,352,353,435,441,442,443,444,451,452,453,531,532,533,534,535,541,542,543,551,552,553}'),
    ('Loyal Customers', 7, '{345,354,355,445,454,455,545}'),
    ('Recent Customers', 4, '{511,512,521,522}'),
    ('Champions', 3, '{544,554,555}');
SELECT is(pg_temp.rows('SELECT count(DISTINCT code), count(*), bool_and(cardinality(codes) = n) FROM want, unnest(codes) code'), '(125,125,t)', 'the map is total');
INSERT INTO mktg.contact (contact_id, external_id) SELECT r * 100 + f * 10 + m, 'code ' || r || f || m
  FROM generate_series(1, 5) r, generate_series(1, 5) f, generate_series(1, 5) m;
INSERT INTO mktg.purchase (contact_id, amount, placed_at)
SELECT r * 100 + f * 10 + m, CASE i WHEN 1 THEN ('{50000,100000,250000,500000,500001}'::integer[])[m] ELSE 0 END,
       mktg.clock() - ('{366,365,180,90,30}'::integer[])[r] * interval '1 day' - (i - 1) * interval '1 day'
  FROM generate_series(1, 5) r, generate_series(1, 5) f, generate_series(1, 5) m, generate_series(1, ('{1,2,3,5,10}'::integer[])[f]) i;
SELECT is(mktg.score_rfm(), 125::bigint, '125 contacts are scored');
SELECT results_eq('SELECT contact_id::text COLLATE "C", code, segment FROM mktg.rfm_score WHERE tenant_id = 1 ORDER BY 1',
                  'SELECT code, code, segment FROM want, unnest(codes) code ORDER BY 1', 'each by its code, at the thresholds');
SELECT is(pg_temp.score_of(511), '30 1 50000 511 Recent Customers 0', '511, which two segments claim');
SELECT is((SELECT segment FROM mktg.rfm_score WHERE code = '545'), 'Loyal Customers', '545');
SELECT is((SELECT segment FROM mktg.rfm_score WHERE code = '544'), 'Champions', '544');
SELECT is(pg_temp.wrong('fixed', 1, mktg.clock()), 0::bigint, 'all as in SQL');
SELECT is(pg_temp.rows('SELECT min(spend_percentile), max(spend_percentile) FROM mktg.rfm_score'), '(0,80.64516129032258)', 'equal spend, equal percentile: 100 of 124 others spent less than the 25 best');
SELECT is(mktg.score_rfm(at => mktg.clock() + interval '1 day'), 125::bigint, 'a day later');
SELECT is(pg_temp.rows('SELECT count(*), min(recency_days), bool_and(recency_days IN (367,366,181,91,31)) FROM mktg.rfm_score'), '(125,31,t)', 'all have aged');
SELECT is(pg_temp.wrong('fixed', 1, mktg.clock() + interval '1 day'), 0::bigint, 'and are as in SQL again');

--
-- what counts: existence, currency, day, time, period, tenant
--
DELETE FROM mktg.purchase;
DELETE FROM mktg.contact WHERE tenant_id = 1 AND contact_id > 5;
INSERT INTO mktg.contact (contact_id) VALUES (1), (2), (3), (4), (5);
INSERT INTO mktg.contact (tenant_id, contact_id) VALUES (71, 1), (71, 2);
INSERT INTO mktg.purchase (tenant_id, contact_id, amount, currency, placed_at) VALUES
    (1, 1, 100, NULL, '2025-06-30 00:00+00'), (1, 1, 200, 'USD', '2025-06-30 23:59:59.999999+00'), (1, 1, 7, 'USD', '2025-06-29 23:59:59.999999+00'),
    (1, 1, 1000000, 'EUR', '2025-07-01 00:00+00'), (1, 1, 5000, NULL, '2025-07-01 12:00:00.000001+00'),
    (1, 2, -300, 'USD', '2025-07-01 12:00+00'), (1, 2, 100, 'USD', '2025-07-01 00:00+00'),
    (1, 3, 9, 'EUR', '2025-06-01 00:00+00'), (1, 4, 1, NULL, '-infinity'), (1, 4, 1, NULL, 'infinity'),
    (1, 99, 1, NULL, '2025-06-01 00:00+00'), (71, 1, 42, NULL, '2024-01-01 00:00+00'), (71, 99, 1, NULL, '2025-06-01 00:00+00');
SELECT is(mktg.score_rfm(), 2::bigint, 'who has no purchase that counts has no score any more');
SELECT is(pg_temp.score_of(1), '1 2 307 521 Recent Customers 100', 'one day''s purchases are one; other currencies and the future do not count');
SELECT is(pg_temp.score_of(2), '0 1 -200 511 Recent Customers 0', 'the very instant counts; what was given back is taken off');
SELECT is((SELECT count(*) FROM mktg.rfm_score WHERE tenant_id = 71), 0::bigint, 'another tenant''s purchases are not its');
SELECT is(mktg.score_rfm(tenant => 71), 1::bigint, 'the other tenant');
SELECT is(pg_temp.score_of(1, 71), '547 1 42 111 Lost 100', 'has its own score for the same number; the only one spends most');
SELECT is(pg_temp.score_of(1), '1 2 307 521 Recent Customers 100', 'and the first keeps its');
SELECT is(mktg.score_rfm('ntile', tenant => 71), 1::bigint, 'a single contact by ntile');
SELECT is(pg_temp.score_of(1, 71), '547 1 42 111 Lost 100', 'is in the first group');
SELECT is(mktg.score_rfm('percentile', tenant => 71), 1::bigint, 'by percentile');
SELECT is(pg_temp.score_of(1, 71), '547 1 42 555 Champions 100', 'in the last part');
DELETE FROM mktg.contact WHERE tenant_id = 71 AND contact_id = 1;
SELECT is(mktg.score_rfm(tenant => 71), 0::bigint, 'a contact deleted meanwhile');
SELECT is((SELECT count(*) FROM mktg.rfm_score WHERE tenant_id = 71), 0::bigint, 'loses its score');
SELECT is(mktg.score_rfm(tenant => 71), 0::bigint, 'and there is nothing to do');
SELECT is(mktg.score_rfm(period => '1 day 12 hours'), 2::bigint, 'a period');
SELECT is(pg_temp.score_of(1), '1 1 200 511 Recent Customers 100', 'leaves out what is as old or older');
SELECT is(mktg.score_rfm(period => '12 hours'), 1::bigint, 'a short one');
SELECT is(pg_temp.score_of(2), '0 1 -300 511 Recent Customers 100', 'midnight is just outside');

--
-- days are the tenant's, whatever the session's
--
SET LOCAL timezone = 'America/Los_Angeles';
INSERT INTO mktg.contact (tenant_id, contact_id) VALUES (72, 1), (73, 1), (73, 2);
INSERT INTO mktg.purchase (tenant_id, contact_id, amount, placed_at) VALUES
    (72, 1, 1, '2025-06-30 18:29:59.999999+00'), (72, 1, 1, '2025-06-30 18:30+00'), (72, 1, 1, '2025-07-01 11:00+00'),
    -- the hour that comes twice, and the one that never comes
    (73, 1, 1, '2024-10-26 22:00+00'), (73, 1, 1, '2024-10-27 22:59:59+00'), (73, 1, 1, '2025-03-29 23:00+00'), (73, 1, 1, '2025-03-30 21:59:59+00'),
    (73, 2, 1, '2024-10-27 23:00+00'), (73, 2, 1, '2025-03-30 22:00+00'), (73, 2, 1, '1890-01-01 00:00+00'), (73, 2, 1, '0044-03-15 00:00+00 BC');
SELECT is(mktg.score_rfm(tenant => 72), 1::bigint, 'Kolkata');
SELECT is(pg_temp.score_of(1, 72), '0 2 3 521 Recent Customers 100', 'its day begins at 18:30 UTC');
SELECT is(mktg.score_rfm(at => '2025-07-01 18:30+00', tenant => 72), 1::bigint, 'at its midnight');
SELECT is(pg_temp.score_of(1, 72), '1 2 3 521 Recent Customers 100', 'another day');
SELECT is(mktg.score_rfm(at => '2025-03-30 22:30+00', tenant => 73), 2::bigint, 'Berlin, over changes of its clocks');
SELECT is(pg_temp.score_of(1, 73), '1 2 4 521 Recent Customers 0', 'days of 25 and 23 hours are days');
SELECT is(pg_temp.score_of(2, 73), '0 4 4 531 Potential Loyalists 0', 'and long before there were zones');
SELECT is(pg_temp.wrong('fixed', 73, '2025-03-30 22:30+00'), 0::bigint, 'as in SQL');
SELECT is(mktg.score_rfm(at => '2025-03-31 12:00+02', period => '1 day', tenant => 73), 2::bigint, 'a day of the period is one of 24 hours here');
SELECT is(mktg.score_rfm(at => '2025-03-30 12:00+02', period => '1 day', tenant => 73), 1::bigint, 'and one of 23');
SELECT is(pg_temp.wrong('fixed', 73, '2025-03-30 12:00+02', '2025-03-29 12:00+01'), 0::bigint, 'by the tenant''s calendar');
-- zones that are no names: abbreviations, POSIX
CREATE FUNCTION pg_temp.zone_is_right(zone text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE mktg.tenant SET time_zone = zone WHERE tenant_id = 73;
    PERFORM mktg.score_rfm(at => '2025-04-30 22:30+00', tenant => 73);
    RETURN pg_temp.wrong('fixed', 73, '2025-04-30 22:30+00') = 0;
END $$;
INSERT INTO mktg.purchase (tenant_id, contact_id, amount, placed_at)
SELECT 73, 1 + i % 2, i, timestamptz '1995-01-01 00:00+00' + i * interval '7 hours 13 minutes' FROM generate_series(1, 36000) i;
SELECT ok(pg_temp.zone_is_right(zone), 'days in zone ' || zone)
  FROM unnest('{UTC,Europe/Berlin,America/New_York,Asia/Kolkata,Australia/Lord_Howe,Africa/Casablanca,Pacific/Apia,America/Sao_Paulo,EST,CEST,msk,MET,<+0330>-3:30,EST5EDT,UTC+7}'::text[]) AS zone;
SET LOCAL timezone = 'UTC';

--
-- thresholds of spend are major units
--
INSERT INTO mktg.contact (tenant_id, contact_id) VALUES (74, 1), (74, 2), (75, 1), (75, 2);
INSERT INTO mktg.purchase (tenant_id, contact_id, amount, placed_at) SELECT t, c, amount, '2025-06-30 00:00+00'
  FROM (VALUES (74, 1, 500), (74, 2, 5001), (75, 1, 500000), (75, 2, 500001)) AS v (t, c, amount);
SELECT is(mktg.score_rfm(tenant => t), 2::bigint, 'tenant ' || t) FROM unnest('{74,75}'::bigint[]) t;
SELECT is(pg_temp.rows('SELECT tenant_id, contact_id, m FROM mktg.rfm_score WHERE tenant_id > 73 ORDER BY 1, 2'), '(74,1,1) (74,2,5) (75,1,1) (75,2,2)',
    'the yen has no decimals, the dinar three');

--
-- random data, all methods, scored again and again as it changes
--
INSERT INTO mktg.contact (tenant_id, contact_id) SELECT 71, CASE WHEN i % 10 = 0 THEN i::bigint << 40 WHEN i % 10 = 1 THEN -i ELSE 1000 + i END FROM generate_series(1, 3007) i;
SELECT setseed(0.25) \g /dev/null
CREATE FUNCTION pg_temp.shop(n integer) RETURNS void LANGUAGE sql AS $$
    INSERT INTO mktg.purchase (tenant_id, contact_id, amount, currency, placed_at)
    SELECT 71, c.contact_id, (CASE WHEN random() < 0.3 THEN 100 * floor(random() * 50) ELSE random() * 100000 * random() END)::bigint,
           CASE WHEN random() < 0.5 THEN 'USD' WHEN random() < 0.1 THEN 'EUR' END,
           timestamptz '2025-07-01 12:00+00' - random() * random() * interval '600 days' + (CASE WHEN random() < 0.02 THEN interval '30 days' ELSE '0' END)
      FROM (SELECT contact_id, row_number() OVER (ORDER BY contact_id) AS place FROM mktg.contact WHERE tenant_id = 71) c
      JOIN (SELECT 1 + floor(random() * random() * 3007)::bigint AS place FROM generate_series(1, n)) p USING (place)
$$;
SELECT pg_temp.shop(9000) \g /dev/null
SELECT ok(mktg.score_rfm(method, tenant => 71) > 1500, 'many by ' || method) || E'\n' ||
       is(pg_temp.wrong(method, 71, mktg.clock()), 0::bigint, method || ' equals the windows of SQL')
  FROM unnest('{ntile,percentile,fixed,ntile}'::text[]) AS method;
SELECT pg_temp.shop(2000) \g /dev/null
DELETE FROM mktg.purchase WHERE tenant_id = 71 AND contact_id % 7 = 0;
DELETE FROM mktg.contact WHERE tenant_id = 71 AND contact_id % 11 = 0;
SELECT ok(mktg.score_rfm('ntile', tenant => 71) > 1500, 'after many changes');
SELECT is(pg_temp.wrong('ntile', 71, mktg.clock()), 0::bigint, 'ntile equals the windows of SQL');
SELECT ok(mktg.score_rfm('percentile', '90 days', tenant => 71) > 500, 'of the last 90 days');
SELECT is(pg_temp.wrong('percentile', 71, mktg.clock(), '2025-04-02 12:00+00'), 0::bigint, 'percentile equals the ranks of SQL');
SELECT is(pg_temp.score_of(2), '0 1 -300 511 Recent Customers 100', 'the first tenant''s scores are as they were');
-- the same by more than one process
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 2;
ANALYZE mktg.purchase, mktg.contact;
CREATE FUNCTION pg_temp.plan() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) SELECT mktg._rfm_purchases(contact_id, amount, placed_at, ''UTC'') FROM mktg.purchase WHERE tenant_id = 71';
END $$;
SELECT ok((SELECT string_agg(p, ' ') FROM pg_temp.plan() p) ~ 'Finalize Aggregate.*Gather.*Partial Aggregate', 'purchases are added up by parallel processes');
SELECT ok(mktg.score_rfm('ntile', tenant => 71) > 1500, 'scored by parallel processes');
SELECT is(pg_temp.wrong('ntile', 71, mktg.clock()), 0::bigint, 'ntile equals the windows of SQL');
-- where the table is not plain, by statements
ALTER TABLE mktg.rfm_score ADD CHECK (r BETWEEN 1 AND 5);
SELECT ok(mktg.score_rfm('percentile', tenant => 71) > 1500, 'a table with a check');
SELECT is(pg_temp.wrong('percentile', 71, mktg.clock()), 0::bigint, 'percentile equals the ranks of SQL');
SELECT is(mktg.score_rfm(at => '1990-01-01', tenant => 71), 0::bigint, 'before there was anything');
SELECT is((SELECT count(*) FROM mktg.rfm_score WHERE tenant_id = 71), 0::bigint, 'there are no scores');

--
-- segments that read scores are due
--
INSERT INTO mktg.segment (tenant_id, name, rules, sources, refreshed_at, kind) VALUES
    (71, 'reads', '{}', '{contact,rfm}', now(), 'dynamic'), (71, 'does not', '{}', '{contact}', now(), 'dynamic'),
    (71, 'static', NULL, '{rfm}', now(), 'static'), (1, 'other', '{}', '{rfm}', now(), 'dynamic');
SELECT is(mktg.score_rfm(at => '1990-01-01', tenant => 71), 0::bigint, 'nothing is written');
SELECT is((SELECT count(*) FROM mktg.segment WHERE refreshed_at IS NULL), 0::bigint, 'no segment is due');
SELECT ok(mktg.score_rfm(tenant => 71) > 1500, 'scores are written');
SELECT is(pg_temp.rows('SELECT name FROM mktg.segment WHERE refreshed_at IS NULL'), '(reads)', 'the segment that reads them is due');

--
-- whose rights count: the caller's, also where the table is written directly
--
ALTER TABLE mktg.rfm_score DROP CONSTRAINT rfm_score_r_check;
CREATE ROLE mktg_test_scorer;
GRANT USAGE ON SCHEMA mktg TO mktg_test_scorer;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA mktg TO mktg_test_scorer;
GRANT SELECT ON mktg.schema_version, mktg.tenant, mktg.contact, mktg.purchase TO mktg_test_scorer;
GRANT SELECT, UPDATE ON mktg.segment TO mktg_test_scorer;
GRANT SELECT, INSERT ON mktg.rfm_score TO mktg_test_scorer;
CREATE FUNCTION pg_temp.as_scorer(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    SET LOCAL ROLE mktg_test_scorer;
    EXECUTE statement INTO result;
    RESET ROLE;
    RETURN result;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT is(pg_temp.as_scorer('SELECT mktg.score_rfm(tenant => 74)'), '42501 permission denied for table rfm_score', 'who may not delete');
GRANT DELETE ON mktg.rfm_score TO mktg_test_scorer;
SELECT is(pg_temp.as_scorer('SELECT mktg.score_rfm(tenant => 74)'), '2', 'who may insert and delete');
ALTER TABLE mktg.rfm_score ENABLE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON mktg.rfm_score USING (tenant_id = 74);
SELECT is(pg_temp.as_scorer('SELECT mktg.score_rfm(tenant => 74)'), '2', 'rows that a policy allows');
SELECT is(pg_temp.as_scorer('SELECT mktg.score_rfm(tenant => 75)'), '42501 new row violates row-level security policy for table "rfm_score"', 'and those it does not');
ALTER TABLE mktg.rfm_score DISABLE ROW LEVEL SECURITY;
ALTER TABLE mktg.purchase ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON mktg.purchase USING (contact_id = 1);
SELECT is(pg_temp.as_scorer('SELECT mktg.score_rfm(tenant => 74)'), '1', 'purchases that a policy shows');
ALTER TABLE mktg.purchase DISABLE ROW LEVEL SECURITY;
DROP POLICY few ON mktg.purchase;
DROP POLICY one_tenant ON mktg.rfm_score;

--
-- refusals
--
SELECT pg_temp.scores() AS before \gset
SELECT is(pg_temp.refusal('SELECT mktg.score_rfm(''quartile'')'), 'MK024 | method "quartile" does not exist | Methods are fixed, ntile and percentile.', 'unknown method');
SELECT is(pg_temp.refusal('SELECT mktg.score_rfm(NULL)'), '22004 | argument "method" must not be NULL | Give a value for "method".', 'no method');
SELECT is(pg_temp.refusal('SELECT mktg.score_rfm(at => NULL)'), '22004 | argument "at" must not be NULL | Give a value for "at".', 'no time');
SELECT is(pg_temp.refusal('SELECT mktg.score_rfm(tenant => NULL)'), '22004 | argument "tenant" must not be NULL | Give a value for "tenant".', 'no tenant');
SELECT is(pg_temp.refusal('SELECT mktg.score_rfm(tenant => 999)'), 'MK010 | tenant 999 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.', 'unknown tenant');
SELECT is(pg_temp.refusal(format('SELECT mktg.score_rfm(period => %L)', period)), 'MK024 | period must be longer than nothing | The period given is ' || period ||
    '. | Leave it NULL for all purchases ever made.', 'period ' || period) FROM unnest('{00:00:00,-1 days}'::text[]) AS period;
SELECT is(pg_temp.refusal(format('SELECT mktg.score_rfm(at => %L)', at)), 'MK024 | scores have no meaning at an infinite time | Leave "at" out for now.', 'at ' || at)
  FROM unnest('{infinity,-infinity}'::text[]) AS at;
INSERT INTO mktg.purchase (contact_id, amount, placed_at) VALUES (5, 9223372036854775807, '2025-06-01'), (5, 1, '2025-06-02');
SELECT is(pg_temp.refusal('SELECT mktg.score_rfm()'), 'MK024 | purchases of contact 5 add up to more than a bigint holds'
    ' | Amounts are minor units: correct those of this contact in mktg.purchase.', 'a sum that does not fit');
SELECT is(pg_temp.scores(), :'before', 'no refusal has changed anything');
DELETE FROM mktg.purchase WHERE tenant_id = 1 AND contact_id = 5;
SELECT ok(pg_temp.refusal(statement) ~ '^(42883|0A000) ', 'cannot be called by itself: ' || statement)
  FROM unnest(ARRAY['SELECT mktg._rfm_purchases_add(NULL, 1, 1, now(), ''UTC'')', 'SELECT mktg._rfm_purchases_end(NULL)',
    'SELECT mktg._rfm_purchases_combine(NULL, NULL)', 'SELECT mktg._rfm_purchases_receive(''\x00'', NULL)']) AS statement;
SELECT is(pg_temp.refusal('SELECT mktg._rfm_purchases(1, 1, now(), ''Mars/Olympus'')'),
    'MK024 | time zone "Mars/Olympus" does not exist | Use a name such as Asia/Kolkata; SELECT name FROM pg_timezone_names lists them.', 'a zone of another world');
SELECT is((SELECT length(mktg._rfm_purchases(c, a, p, z)) FROM (VALUES (NULL::bigint, 1::bigint, now(), 'UTC'), (1, NULL, now(), 'UTC'), (1, 1, now(), NULL)) v (c, a, p, z)),
    4, 'rows with NULL do not count');

--
-- lifecycle
--
CREATE FUNCTION pg_temp.stage(VARIADIC ago text[]) RETURNS text LANGUAGE sql AS $$
    SELECT mktg.lifecycle_stage(mktg.clock() - a::interval, mktg.clock()) FROM unnest(ago) a
$$;
SELECT is(pg_temp.stage(VARIADIC ago), want, array_to_string(ago, ', ') || ' ago: ' || coalesce(want, 'none')) FROM (VALUES
    ('{0}'::text[], 'New'), ('{720 hours}', 'New'), ('{720:00:00.000001}', 'Active'), ('{31 days}', 'Active'), ('{89 days}', 'Active'), ('{2160 hours}', 'Active'),
    ('{2160:00:00.000001}', 'At-Risk'), ('{4320 hours}', 'At-Risk'), ('{4320:00:00.000001}', 'Churned'), ('{1 day,2 days}', 'Active'),
    ('{1 day,2 days,3 days,4 days}', 'Active'), ('{4 days,3 days,5 days,2 days,1 day}', 'Engaged'), ('{2160 hours,5000 hours}', 'Active'),
    ('{2160 hours,6480 hours}', 'Active'), ('{2160 hours,6480:00:00.000001}', 'Reactivated'), ('{9000 hours,1 hour,8000 hours}', 'Reactivated'),
    ('{1 day,9000 hours,9001 hours,9002 hours,9003 hours}', 'Reactivated'), ('{2161 hours,9000 hours}', 'At-Risk'), ('{5000 hours,5001 hours}', 'Churned'),
    ('{-1 second}', NULL), ('{-1 second,1 day}', 'New'), ('{-1 second,-1 day,100 days}', 'At-Risk'), ('{1 day,1 day}', 'Active')) AS v (ago, want);
SELECT is(mktg.lifecycle_stage(p, a), NULL, 'no stage') FROM (VALUES (NULL::timestamptz, now()), (now(), NULL), ('-infinity', now()), (now(), 'infinity')) AS v (p, a);
SELECT is((SELECT mktg.lifecycle_stage(now(), now()) FROM generate_series(1, 0)), NULL, 'nor without rows');
SELECT is((SELECT mktg.days_since(now(), now()) FROM generate_series(1, 0)), NULL, 'and no days');
SELECT is((SELECT mktg.days_since(mktg.clock() - a::interval, mktg.clock()) FROM unnest(ago) a), want, array_to_string(ago, ', ') || ' ago: ' || coalesce(want || ' days', 'none'))
  FROM (VALUES ('{0}'::text[], 0), ('{23:59:59.999999}', 0), ('{24:00}', 1), ('{50 hours,49 hours,72 hours}', 2), ('{-1 second}', NULL), ('{-1 second,26 hours}', 1)) AS v (ago, want);
SELECT is(mktg.days_since('4713-11-24 00:00+00 BC', '294276-12-31 00:00+00'),
    (date '294276-12-31' - date '4713-11-24 BC'), 'the whole of time');
-- one state serves all; parallel processes give the same
CREATE TEMP TABLE life AS SELECT p.contact_id, mktg.lifecycle_stage(placed_at, mktg.clock()) AS stage, mktg.days_since(placed_at, mktg.clock()) AS days,
    mktg._previous_at(placed_at, mktg.clock()) AS previous, count(*) AS n FROM mktg.purchase p WHERE tenant_id = 71 AND placed_at <= mktg.clock() GROUP BY 1;
SELECT is((SELECT count(*) FROM life l JOIN LATERAL (SELECT (array_agg(placed_at ORDER BY placed_at DESC)) AS times FROM mktg.purchase p
        WHERE tenant_id = 71 AND p.contact_id = l.contact_id AND placed_at <= mktg.clock()) t ON true
     WHERE (l.days, l.previous) IS DISTINCT FROM (floor(extract(epoch FROM mktg.clock() - times[1]) / 86400)::integer, times[2])
        OR stage <> CASE WHEN mktg.clock() - times[1] <= '2160 hours' AND times[1] - times[2] > '4320 hours' THEN 'Reactivated'
            WHEN mktg.clock() - times[1] > '4320 hours' THEN 'Churned' WHEN mktg.clock() - times[1] > '2160 hours' THEN 'At-Risk' WHEN n >= 5 THEN 'Engaged'
            WHEN n >= 2 THEN 'Active' WHEN mktg.clock() - times[1] <= '720 hours' THEN 'New' ELSE 'Active' END), 0::bigint, 'stages, days and the purchase before, as in SQL');
SELECT ok((SELECT count(DISTINCT stage) FROM life) = 6, 'all six stages are among them');
SET LOCAL enable_indexscan = off;
SET LOCAL enable_bitmapscan = off;
CREATE TEMP TABLE life_apart AS SELECT p.contact_id, mktg.lifecycle_stage(placed_at, mktg.clock()) AS stage, mktg.days_since(placed_at, mktg.clock()) AS days,
    mktg._previous_at(placed_at, mktg.clock()) AS previous, count(*) AS n FROM mktg.purchase p WHERE tenant_id = 71 AND placed_at <= mktg.clock() GROUP BY 1;
SELECT is((SELECT count(*) FROM (TABLE life EXCEPT TABLE life_apart) x), 0::bigint, 'by parallel processes too');
RESET enable_indexscan;
RESET enable_bitmapscan;
SELECT results_eq('SELECT contact_id, stage, order_count, previous_order_at FROM mktg.contact_lifecycle WHERE tenant_id = 71 ORDER BY 1',
    'SELECT contact_id, stage, n, previous FROM life JOIN mktg.contact c USING (contact_id) WHERE c.tenant_id = 71 ORDER BY 1', 'the view has the same, of contacts that exist');
SELECT is(pg_temp.rows('SELECT * FROM mktg.contact_lifecycle WHERE tenant_id = 1 AND contact_id = 1'),
    '(1,1,Active,4,"2025-07-01 00:00:00+00","2025-06-30 23:59:59.999999+00")', 'purchases in any currency, up to now');
SELECT is(pg_temp.rows('SELECT contact_id FROM mktg.contact_lifecycle WHERE tenant_id = 1 ORDER BY 1'), '(1) (2) (3)', 'contacts that are gone have no stage');
-- states made by hand
SELECT is(pg_temp.refusal(format('SELECT mktg.%s', call)), 'MK024 | the state of a lifecycle aggregate must be an array of 4 bigints | Call mktg.lifecycle_stage() or mktg.days_since().', call)
  FROM unnest(ARRAY['_life_stage(''{}'')', '_life_stage(''{1,2,3}'')', '_life_stage(''{1,2,3,NULL}'')', '_life_stage(''{{1,2},{3,4}}'')', '_life_add(''{1}'', now(), now())',
    '_life_combine(''{1,2,3,4}'', ''{}'')', '_life_days_since(''{1,2,3,4,5}'')', '_life_previous(''{}'')']) AS call;
SELECT is(mktg._life_stage('{1,0,0,0}'), 'New', 'a state that could be');
SELECT is(mktg._life_days_since('{-1,0,0,0}'), NULL, 'one that could not');
SELECT is(mktg._life_add('{0,0,0,0}', 'epoch', 'epoch'), '{1,-946684800000000,0,-946684800000000}', 'called alone, it answers and leaves its argument');

SELECT * FROM finish();
ROLLBACK;
