\set ECHO none
\i test/setup.sql
BEGIN;
\i test/fixture.sql
SELECT no_plan();
SET LOCAL mktg.clock = '2025-06-15 12:00+00';
INSERT INTO mktg.tenant (tenant_id, name, time_zone, currency) VALUES (81, 'Kolkata', 'Asia/Kolkata', 'INR'), (82, 'other', 'UTC', 'USD');
INSERT INTO mktg.contact (tenant_id, contact_id, external_id) SELECT 1, i, 'offer' || i FROM generate_series(801, 820) i;
INSERT INTO mktg.contact (tenant_id, contact_id, external_id) SELECT 81, i, 'offer' || i FROM generate_series(801, 820) i;

-- A cart of one line, or of lines given as JSON.
CREATE FUNCTION pg_temp.cart(price bigint, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('lines', jsonb_build_array(jsonb_build_object('id', 'a', 'item', 'show', 'unit_price', price))) || more
$$;
CREATE FUNCTION pg_temp.lines(VARIADIC lines text[]) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('lines', jsonb_agg(l::jsonb)) FROM unnest(lines) l
$$;
-- "reason discount" of a validation.
CREATE FUNCTION pg_temp.check(code text, cart jsonb, contact bigint DEFAULT NULL, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) RETURNS text LANGUAGE sql AS $$
    SELECT reason || ' ' || discount FROM mktg.validate_promo(code, contact, cart, at, tenant)
$$;
-- The same of a redemption that is undone: the detail of its refusal, or the discount.
CREATE FUNCTION pg_temp.try(code text, cart jsonb, contact bigint DEFAULT NULL, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    BEGIN
        SELECT 'ok ' || discount INTO answer FROM mktg.redeem_promo(code, contact, cart, NULL, NULL, at, tenant);
        RAISE EXCEPTION USING ERRCODE = 'ZZ000', MESSAGE = answer;
    EXCEPTION
        WHEN SQLSTATE 'MK080' THEN
            GET STACKED DIAGNOSTICS answer = PG_EXCEPTION_DETAIL;
            RETURN answer || ' 0';
        WHEN SQLSTATE 'ZZ000' THEN
            RETURN SQLERRM;
    END;
END $$;
-- What validation and redemption both say; what differs is shown.
CREATE FUNCTION pg_temp.both(code text, cart jsonb, contact bigint DEFAULT NULL, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) RETURNS text LANGUAGE sql AS $$
    SELECT CASE v WHEN r THEN v ELSE v || ' / ' || r END
      FROM (SELECT pg_temp.check(code, cart, contact, at, tenant) AS v, pg_temp.try(code, cart, contact, at, tenant) AS r) x
$$;
-- What is left of limits, and whether uses and budget add up to it.
CREATE FUNCTION pg_temp.left_of(promo bigint) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', uses_left, budget_left) FROM mktg.promo_list l WHERE l.promo = left_of.promo
$$;
CREATE FUNCTION pg_temp.faults() RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM mktg.promo_list l
      LEFT JOIN (SELECT tenant_id, offer_id, count(*) AS uses, sum(discount - reversed) AS spent FROM mktg.redemption
                  WHERE status IN ('reserved', 'committed') GROUP BY 1, 2) r ON r.tenant_id = l.tenant_id AND r.offer_id = l.promo
     WHERE l.usage_limit - l.uses_left <> coalesce(r.uses, 0) OR l.budget - l.budget_left <> coalesce(r.spent, 0)
$$;

--
-- the worked numbers
--
SELECT mktg.create_promo('FORTY', 'percent', 40) AS forty \gset
SELECT is(pg_temp.both('FORTY', pg_temp.cart(5186)), 'ok 2074', '40 % of 51.86, half up');
SELECT is((SELECT pg_temp.rows('SELECT net, tax_total, total FROM jsonb_to_record(mktg.quote(NULL, pg_temp.cart(5186), ''{FORTY}'', ''{"taxes": [{"name": "tax", "percent": 8.25}]}'')) AS x (net bigint, tax_total bigint, total bigint)')),
          '(3112,257,3369)', 'net, 8.25 % of tax, to pay');
SELECT mktg.create_promo('THOUSAND', 'flat', 1000), mktg.create_promo('F1777', 'flat', 1777) \gset ignored_
CREATE FUNCTION pg_temp.parts(code text, cart jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(l ->> 'discount', ' ' ORDER BY ordinality) FROM mktg.validate_promo(code, NULL, cart) v, jsonb_array_elements(v.lines) WITH ORDINALITY AS l (l, ordinality)
$$;
SELECT is(pg_temp.parts('THOUSAND', pg_temp.lines('{"unit_price": 700}', '{"unit_price": 700}', '{"unit_price": 700}')), '334 333 333', '1000 over three equal lines');
SELECT is(pg_temp.parts('F1777', pg_temp.lines('{"unit_price": 5186}', '{"unit_price": 999}', '{"unit_price": 12345}')), '497 96 1184', '1777 over three lines');
SELECT is(pg_temp.both('THOUSAND', pg_temp.cart(999)), 'ok 999', 'never above the eligible subtotal');
SELECT mktg.create_promo('TEN', 'percent', 10, stackable => true), mktg.create_promo('THIRTY', 'percent', 30, stackable => true),
       mktg.create_promo('FIVE', 'flat', 500, stackable => true) \gset ignored_
SELECT is((SELECT pg_temp.rows('SELECT code, applied, discount, running_total FROM mktg.best_offers(NULL, pg_temp.cart(10000), ''{five,ten,thirty}'')')),
          '(TEN,t,1000,9000) (THIRTY,t,2700,6300) (FIVE,t,500,5800)', '100.00 with 10 %, 30 % and 5.00: percentages first');
SELECT mktg.create_promo('FIVEFIRST', 'flat', 500, stackable => true, priority => 0) \gset ignored_
SELECT is((SELECT pg_temp.rows('SELECT code, running_total FROM mktg.best_offers(NULL, pg_temp.cart(10000), ''{ten,thirty,fivefirst}'')')),
          '(FIVEFIRST,9500) (TEN,8550) (THIRTY,5985)', 'the amount first, by priority');
SELECT is(pg_temp.both('TEN', pg_temp.lines('{"unit_price": 5}')), 'ok 1', 'half a unit goes up');
SELECT is(pg_temp.both('TEN', pg_temp.lines('{"unit_price": 4}')), 'ok 0', 'less goes down');
SELECT is(pg_temp.both('TEN', pg_temp.lines('{"unit_price": 5}', '{"unit_price": 5}', '{"unit_price": 5}')), 'ok 2', 'once for the order, not line by line');

--
-- against exact arithmetic of numeric
--
SELECT setseed(0.5) \gset ignored_
CREATE TEMP TABLE random_cart AS
SELECT n, jsonb_agg(jsonb_build_object('unit_price', floor(exp(random() * 25))::bigint, 'quantity', 1 + floor(random() * 5)::int,
                                       'item', (ARRAY['in', 'out'])[1 + floor(random() * 1.3)::int])) AS lines
  FROM generate_series(1, 500) n, generate_series(1, 1 + n % 12) GROUP BY n;
SELECT mktg.create_promo('ODD', 'percent', 33.333333, scope => '{"items": ["in"]}'), mktg.create_promo('BIG', 'flat', 123456789, scope => '{"items": ["in"]}') \gset ignored_
CREATE TEMP TABLE outcome AS
SELECT c.n, code, v.*, e.base, CASE code WHEN 'ODD' THEN round(e.base * 33.333333 / 100) ELSE least(e.base, 123456789) END AS want
  FROM random_cart c CROSS JOIN (VALUES ('ODD'), ('BIG')) k (code)
 CROSS JOIN LATERAL mktg.validate_promo(code, NULL, jsonb_build_object('lines', c.lines)) v
 CROSS JOIN LATERAL (SELECT coalesce(sum((l ->> 'unit_price')::numeric * (l ->> 'quantity')::numeric), 0) AS base
                       FROM jsonb_array_elements(c.lines) l WHERE l ->> 'item' = 'in') e;
SELECT is_empty('SELECT * FROM outcome WHERE valid AND (discount <> want OR eligible_subtotal <> base)', 'discounts of 500 random carts');
SELECT is_empty('SELECT * FROM outcome WHERE valid <> (lines @> ''[{"item": "in"}]'')', 'valid where a line is eligible');
SELECT is_empty($$
    WITH l AS (SELECT n, code, want, div((l ->> 'amount')::numeric * want, base) AS whole, mod((l ->> 'amount')::numeric * want, base) AS remainder,
                      (l ->> 'discount')::numeric AS part, (l ->> 'line')::int AS line
                 FROM outcome, jsonb_array_elements(lines) l WHERE valid),
         r AS (SELECT *, whole + (row_number() OVER (PARTITION BY n, code ORDER BY remainder DESC, line)
                                  <= want - sum(whole) OVER (PARTITION BY n, code))::int AS expected FROM l)
    SELECT * FROM r WHERE part <> expected
$$, 'and their lines by largest remainder');

--
-- what cannot be
--
SELECT throws_ok($$SELECT mktg.create_promo('X', 'percent', 0)$$, 'MK024', 'percent must be more than 0 and at most 100', 'no percentage of 0');
SELECT throws_ok($$SELECT mktg.create_promo('X', 'percent', 100.1)$$, 'MK024', NULL, 'nor above 100');
SELECT throws_ok($$SELECT mktg.create_promo('X', 'percent', 'NaN')$$, 'MK024', NULL, 'nor no number');
SELECT throws_ok($$SELECT mktg.create_promo('X', 'flat', 1.5)$$, 'MK024', NULL, 'half a minor unit');
SELECT throws_ok($$SELECT mktg.create_promo('X', 'flat', -1)$$, 'MK024', NULL, 'a negative amount');
SELECT throws_ok($$SELECT mktg.create_promo('X', 'flat', 1e30)$$, 'MK024', NULL, 'an amount of more than a bigint');
SELECT throws_ok($$SELECT mktg.create_promo('X', 'half', 1)$$, 'MK024', 'unknown type of a promo', 'an unknown type');
SELECT throws_ok($$SELECT mktg.create_promo('X', 'percent', 1, '2025-01-02', '2025-01-02')$$, 'MK024', NULL, 'it starts when it ends');
SELECT throws_ok($$SELECT mktg.create_promo('X', 'percent', 1, usage_limit => 0)$$, 'MK021', NULL, 'a limit of 0');
SELECT throws_ok($$SELECT mktg.create_promo('X', 'percent', 1, per_contact_limit => 0)$$, 'MK021', NULL, 'for contacts too');
SELECT throws_ok($$SELECT mktg.create_promo('X', 'percent', 1, budget => 0)$$, 'MK021', NULL, 'a budget of 0');
SELECT throws_ok($$SELECT mktg.create_promo('X', 'percent', 1, minimum_amount => -1)$$, 'MK024', NULL, 'a negative minimum');
SELECT throws_ok($$SELECT mktg.create_promo('X', 'percent', 1, per_contact_limit => 1, per_contact_period => 'decade')$$, 'MK024', NULL, 'an unknown period');
SELECT throws_ok($$SELECT mktg.create_promo('X', 'percent', 1, per_contact_period => 'day')$$, 'MK024', NULL, 'a period without a limit');
SELECT throws_ok($$SELECT mktg.create_promo('X', 'percent', 1, currency => 'rupee')$$, 'MK024', NULL, 'an unknown currency');
SELECT throws_ok($$SELECT mktg.create_promo(' - ', 'percent', 1)$$, 'MK020', NULL, 'a code without symbols');
SELECT throws_ok($$SELECT mktg.create_promo(repeat('X', 81), 'percent', 1)$$, 'MK020', NULL, 'a code that is too long');
SELECT throws_ok($$SELECT mktg.create_promo('for-ty', 'percent', 1)$$, 'MK020', 'promo code "FORTY" exists already', 'a code that is there');
SELECT throws_ok($$SELECT mktg.create_promo('X', 'percent', 1, campaign => 999)$$, 'MK014', NULL, 'an unknown campaign');
SELECT throws_ok($$SELECT mktg.create_promo('X', 'percent', 1, tenant => 999)$$, 'MK010', NULL, 'an unknown tenant');
SELECT throws_ok(format('SELECT mktg.create_promo(''X'', ''percent'', 1, scope => %L)', s), 'MK024', 'invalid scope', 'scope ' || s)
  FROM unnest(ARRAY['{"planets": []}', '{"items": "a"}', '{"items": [true]}', '{"first_purchase": 1}', '{"booking_window": {"begin": "2025-01-01"}}',
       '{"booking_window": {"start": "soon"}}', '{"travel_window": {"start": "2025-01-02", "end": "2025-01-01"}}', '{"blackout": [{"start": "2025-01-01"}]}',
       '{"blackout": {"start": "2025-01-01", "end": "2025-01-01"}}', '{"weekdays": [0]}', '{"weekdays": [8]}', '{"weekdays": ["Monday"]}', '[]', '1', '{"blackout": [{"start": "2025-01-02", "end": "2025-01-01"}]}']) s;
SELECT throws_ok($$SELECT mktg.create_promo('X', 'percent', 1, scope => '{"segments": ["nobody"]}')$$, 'MK019', NULL, 'a segment that does not exist');
SELECT is(pg_temp.check('FORTY', c), 'invalid_cart 0', 'cart ' || left(c::text, 60))
  FROM unnest(ARRAY['{}', '[]', '1', 'null', '{"lines": []}', '{"lines": 1}', '{"lines": [1]}', '{"lines": [{}]}', '{"lines": [{"unit_price": -1}]}',
       '{"lines": [{"unit_price": 1.5}]}', '{"lines": [{"unit_price": "1"}]}', '{"lines": [{"unit_price": 1, "quantity": 0}]}',
       '{"lines": [{"unit_price": 9223372036854775808}]}', '{"lines": [{"unit_price": 9223372036854775807, "quantity": 2}]}',
       '{"lines": [{"unit_price": 9223372036854775807}, {"unit_price": 1}]}', '{"lines": [{"unit_price": 1, "travel_date": "2025-02-30"}]}',
       '{"currency": "rupee", "lines": [{"unit_price": 1}]}', '{"purchase": "", "lines": [{"unit_price": 1}]}', '{"lines": [{"unit_price": 1}], "fees": -1}']::jsonb[]) c;
SELECT is(pg_temp.both('FORTY', pg_temp.cart(9223372036854775807)), 'ok 3689348814741910323', 'the largest amount there is');
SELECT is(pg_temp.check('FORTY', '{"lines": [{"unit_price": 100.00, "quantity": 2.0, "note": {"a": [1, {}]}}], "app": [{"x": 1}], "fees": [{"name": "f", "amount": 3}]}'), 'ok 80', 'other keys are the application''s');
SELECT throws_ok($$SELECT mktg.validate_promo('FORTY', 1, NULL)$$, '22004', NULL, 'no cart at all');
SELECT throws_ok($$SELECT mktg.validate_promo('FORTY', 999999, '{"lines": [{"unit_price": 1}]}')$$, 'MK011', NULL, 'an unknown contact');
SELECT throws_ok($$SELECT mktg.validate_promo('FORTY', NULL, '{"lines": [{"unit_price": 1}]}', tenant => 999)$$, 'MK010', NULL, 'an unknown tenant');

--
-- reasons
--
SELECT mktg.create_promo('SOON', 'percent', 10, '2025-06-15 12:00:01+00', '2025-07-01') AS soon \gset
SELECT is(pg_temp.both('SOON', pg_temp.cart(1000)), 'not_started 0', 'before it starts');
SELECT is(pg_temp.both('SOON', pg_temp.cart(1000), at => '2025-06-15 12:00:01+00'), 'ok 100', 'it starts with its first instant');
SELECT is(pg_temp.both('SOON', pg_temp.cart(1000), at => '2025-07-01'), 'expired 0', 'and is over at its end');
SELECT is(pg_temp.both('NOBODYS', pg_temp.cart(1000)), 'unknown 0', 'a code that does not exist');
SELECT is(pg_temp.both('', pg_temp.cart(1000)), 'unknown 0', 'an empty one');
SELECT is(pg_temp.both(E'\u00e9', pg_temp.cart(1000)), 'unknown 0', 'one that can be none');
SELECT is(pg_temp.check(NULL, pg_temp.cart(1000)), 'unknown 0', 'none at all');
SELECT is(pg_temp.both(' for ty- ', pg_temp.cart(1000)), 'ok 400', 'typed with blanks, dashes and small letters');
SELECT is(mktg.disable_promo(:forty), true, 'disabled');
SELECT is(mktg.disable_promo(:forty), false, 'that is so already');
SELECT is(pg_temp.both('FORTY', pg_temp.cart(1000)), 'disabled 0', 'it is refused');
SELECT is(mktg.disable_promo(:forty, false), true, 'and let again');
SELECT is(pg_temp.both('FORTY', pg_temp.cart(1000)), 'ok 400', 'it is taken again');
SELECT throws_ok('SELECT mktg.disable_promo(999999)', 'MK082', NULL, 'an unknown promo');
SELECT throws_ok(format('SELECT mktg.disable_promo(%s, tenant => 81)', :forty), 'MK082', NULL, 'or one of another tenant');
SELECT is(pg_temp.both('FORTY', pg_temp.cart(1000), tenant => 81), 'unknown 0', 'whose codes nobody else has');
SELECT mktg.create_promo('MIN', 'percent', 10, minimum_amount => 1000) \gset ignored_
SELECT is(pg_temp.both('MIN', pg_temp.cart(999)), 'minimum_amount 0', 'below the minimum');
SELECT is(pg_temp.both('MIN', pg_temp.cart(1000)), 'ok 100', 'at it');
SELECT is(pg_temp.both('MIN', pg_temp.cart(1000, '{"currency": "EUR"}')), 'currency 0', 'amounts are of the tenant''s currency');
SELECT is(pg_temp.both('TEN', pg_temp.cart(1000, '{"currency": "EUR"}')), 'ok 100', 'percentages of any');
SELECT mktg.create_promo('EUROS', 'flat', 100, currency => 'EUR') \gset ignored_
SELECT is(pg_temp.both('EUROS', pg_temp.cart(1000, '{"currency": "EUR"}')) || ', ' || pg_temp.both('EUROS', pg_temp.cart(1000)), 'ok 100, currency 0', 'unless one is named');
SELECT is((SELECT pg_temp.rows('SELECT DISTINCT valid, discount, eligible_subtotal, lines, message, mktg.public_reason(reason) FROM (VALUES (''NOBODYS''), (''MIN''), (''EUROS''), (''SOON'')) c (code), mktg.validate_promo(code, NULL, pg_temp.cart(10))')),
          '(f,0,0,[],"This code cannot be used for this order.",refused)', 'refusals are of one shape');
SELECT is(mktg.public_reason('ok'), 'ok', 'and the rest is ok');

--
-- scope
--
CREATE FUNCTION pg_temp.scoped(scope jsonb, cart jsonb, contact bigint DEFAULT NULL, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    promo bigint := mktg.create_promo('SCOPED', 'percent', 100, scope => scope, tenant => tenant);
    answer text := pg_temp.both('SCOPED', cart, contact, at, tenant);
BEGIN
    DELETE FROM mktg.offer o WHERE o.tenant_id = tenant AND o.offer_id = promo;
    RETURN answer;
END $$;
SELECT pg_temp.lines('{"id": 1, "item": "rock", "category": "concert", "city": "Pune", "organizer": "o1", "route": "DEL-BOM", "fare": "Y", "unit_price": 100, "travel_date": "2025-07-01"}',
    '{"id": 2, "item": "opera", "category": "concert", "city": "Delhi", "organizer": "o2", "route": "BOM-DEL", "fare": "J", "unit_price": 1000, "travel_date": "2025-07-06"}') AS cart \gset
SELECT is(pg_temp.scoped(scope::jsonb, :'cart'), want, scope) FROM (VALUES
    ('{}', 'ok 1100'), ('{"items": []}', 'ok 1100'), ('{"items": ["rock"]}', 'ok 100'), ('{"items": ["rock", "opera"]}', 'ok 1100'), ('{"items": ["jazz"]}', 'scope 0'),
    ('{"organizers": ["o2"]}', 'ok 1000'), ('{"categories": ["concert"]}', 'ok 1100'), ('{"cities": ["Pune"]}', 'ok 100'), ('{"cities": ["pune"]}', 'scope 0'),
    ('{"routes": ["DEL-BOM"]}', 'ok 100'), ('{"excluded_routes": ["DEL-BOM"]}', 'ok 1000'), ('{"routes": ["DEL-BOM"], "excluded_routes": ["DEL-BOM"]}', 'scope 0'),
    ('{"fares": ["J"]}', 'ok 1000'), ('{"excluded_fares": ["J", "F"]}', 'ok 100'), ('{"items": ["rock"], "fares": ["J"]}', 'scope 0'),
    ('{"travel_window": {"start": "2025-07-01", "end": "2025-07-06"}}', 'ok 100'), ('{"travel_window": {"start": "2025-07-02"}}', 'ok 1000'),
    ('{"weekdays": [2]}', 'ok 100'), ('{"weekdays": [7]}', 'ok 1000'), ('{"weekdays": [1]}', 'scope 0'),
    ('{"blackout": [{"start": "2025-07-01", "end": "2025-07-01"}]}', 'ok 1000'), ('{"blackout": [{"start": "2025-07-01", "end": "2025-07-06"}]}', 'blackout 0'),
    ('{"blackout": [{"start": "2025-06-10", "end": "2025-06-15"}]}', 'blackout 0'), ('{"blackout": [{"start": "2025-06-10", "end": "2025-06-14"}]}', 'ok 1100'),
    ('{"booking_window": {"start": "2025-06-15", "end": "2025-06-16"}}', 'ok 1100'), ('{"booking_window": {"start": "2025-06-15 12:00:00.000001+00"}}', 'scope 0'),
    ('{"booking_window": {"end": "2025-06-15 12:00+00"}}', 'scope 0'), ('{"channels": ["web"]}', 'scope 0'), ('{"first_purchase": false}', 'ok 1100'), ('{"items": null}', 'ok 1100')) s (scope, want);
SELECT is(pg_temp.scoped('{"channels": ["web", "app"]}', :'cart'::jsonb || '{"channel": "app"}'), 'ok 1100', 'a channel');
SELECT is(pg_temp.scoped('{"items": ["7"]}', '{"lines": [{"item": 7, "unit_price": 5}]}'), 'ok 5', 'ids that are numbers');
SELECT is(pg_temp.scoped('{"travel_window": {"start": "2025-07-01"}}', pg_temp.cart(5)), 'scope 0', 'a travel window wants a date');
SELECT is(pg_temp.scoped('{"weekdays": [7]}', pg_temp.cart(5)), 'ok 5', 'without one the weekday is that of the booking: a Sunday');
SELECT is(pg_temp.scoped('{"blackout": [{"start": "2025-06-16", "end": "2025-06-16"}]}', pg_temp.cart(5), at => '2025-06-15 18:29+00', tenant => 81), 'ok 5', 'days are the tenant''s: still the 15th');
SELECT is(pg_temp.scoped('{"blackout": [{"start": "2025-06-16", "end": "2025-06-16"}]}', pg_temp.cart(5), at => '2025-06-15 18:30+00', tenant => 81), 'blackout 0', 'already the 16th');
SELECT is(pg_temp.scoped('{"first_purchase": true}', pg_temp.cart(5), 801), 'ok 5', 'a first purchase');
SELECT is(pg_temp.scoped('{"first_purchase": true}', pg_temp.cart(5)), 'first_purchase 0', 'which a guest does not have');
INSERT INTO mktg.purchase (contact_id, external_id, amount, placed_at) VALUES (801, 'first', 1, '2025-06-15 11:00+00');
SELECT is(pg_temp.scoped('{"first_purchase": true}', pg_temp.cart(5), 801), 'first_purchase 0', 'a second one');
SELECT is(pg_temp.scoped('{"first_purchase": true}', pg_temp.cart(5, '{"purchase": "first"}'), 801), 'ok 5', 'the first, which is written already');
SELECT mktg.create_segment('offer vip', kind => 'static') AS vip \gset
SELECT mktg.add_to_segment(:vip, '{801}') \gset ignored_
SELECT is(pg_temp.scoped('{"segments": ["offer vip"]}', pg_temp.cart(5), 801), 'ok 5', 'a member of a segment');
SELECT is(pg_temp.scoped(format('{"segments": [%s]}', :vip)::jsonb, pg_temp.cart(5), 801), 'ok 5', 'by its id');
SELECT is(pg_temp.scoped('{"segments": ["offer vip"]}', pg_temp.cart(5), 802), 'segment 0', 'no member');
SELECT is(pg_temp.scoped('{"segments": ["offer vip"]}', pg_temp.cart(5)), 'segment 0', 'nor a guest');

--
-- other types
--
SELECT mktg.create_promo('FREE', 'free_item', 2), mktg.create_promo('DOUBLE', 'points_multiplier', 2.5) \gset ignored_
SELECT is(pg_temp.parts('FREE', pg_temp.lines('{"unit_price": 900, "quantity": 3}', '{"unit_price": 500}', '{"unit_price": 700, "quantity": 2}')), '0 500 700', 'the cheapest two items');
SELECT is(pg_temp.both('FREE', pg_temp.cart(800)), 'ok 800', 'or as many as there are');
SELECT is(pg_temp.both('DOUBLE', pg_temp.cart(800)), 'ok 0', 'points are counted elsewhere');

--
-- limits, and the life of a redemption
--
SELECT mktg.create_promo('THREE', 'flat', 100, usage_limit => 3, budget => 1000) AS three \gset
SELECT redemption_id AS r1 FROM mktg.reserve_promo('three', 801, pg_temp.cart(1000), 'three-1') \gset
SELECT is((SELECT pg_temp.rows('SELECT discount, expires_at FROM mktg.reserve_promo(''three'', 801, pg_temp.cart(1000), ''three-1'')')),
          '(100,"2025-06-15 12:15:00+00")', 'the same key and content: the first answer');
SELECT is(pg_temp.left_of(:three), '2 900', 'it is counted once');
SELECT throws_ok($$SELECT mktg.reserve_promo('three', 802, pg_temp.cart(1000), 'three-1')$$, 'MK081', 'idempotency key was used with another content', 'with another contact');
SELECT throws_ok($$SELECT mktg.reserve_promo('three', 801, pg_temp.cart(1001), 'three-1')$$, 'MK081', NULL, 'with another cart');
SELECT throws_ok($$SELECT mktg.redeem_promo('ten', 801, pg_temp.cart(1000), NULL, 'three-1')$$, 'MK081', NULL, 'with another code');
SELECT throws_ok($$SELECT mktg.redeem_promo('three', 801, pg_temp.cart(1000), NULL, 'three-1')$$, 'MK084', NULL, 'a reservation is committed, not redeemed');
SELECT is(mktg.commit_redemption(:r1, 'order-1'), true, 'committed');
SELECT is(mktg.commit_redemption(:r1, 'order-1'), false, 'and that is so');
SELECT throws_ok(format('SELECT mktg.commit_redemption(%s, ''order-2'')', :r1), 'MK084', NULL, 'for no other purchase');
SELECT throws_ok(format('SELECT mktg.release_redemption(%s)', :r1), 'MK084', NULL, 'it cannot be released');
SELECT is((SELECT redemption_id FROM mktg.redeem_promo('three', 801, pg_temp.cart(1000, '{"purchase": "order-9"}'), 'order-9', NULL)),
          (SELECT redemption_id FROM mktg.redeem_promo('three', 801, pg_temp.cart(1000, '{"purchase": "order-9"}'), 'order-9', 'another key')), 'one redemption for an offer and a purchase');
SELECT throws_ok($$SELECT mktg.redeem_promo('three', 802, pg_temp.cart(1000), 'order-9', NULL)$$, 'MK081', 'purchase was used with another content', 'with the same content');
SELECT throws_ok($$SELECT mktg.redeem_promo('three', 802, pg_temp.cart(1000, '{"purchase": "a"}'), 'b', NULL)$$, 'MK024', NULL, 'a purchase is named once');
SELECT redemption_id AS r3 FROM mktg.reserve_promo('three', 801, pg_temp.cart(1000), 'three-3') \gset
SELECT is(pg_temp.both('THREE', pg_temp.cart(1000)), 'usage_limit 0', 'three uses, and no more');
SELECT is((SELECT discount FROM mktg.reserve_promo('three', 801, pg_temp.cart(1000), 'three-3')), 100::bigint, 'a repeated call has its answer all the same');
SELECT is(mktg.release_redemption(:r3) || ' ' || mktg.release_redemption(:r3), 'true false', 'released');
SELECT is(pg_temp.left_of(:three), '1 800', 'what it took is there again');
SELECT throws_ok(format('SELECT mktg.commit_redemption(%s)', :r3), 'MK084', NULL, 'it is over');
SELECT throws_ok($$SELECT mktg.reserve_promo('three', 801, pg_temp.cart(1000), 'three-3')$$, 'MK084', NULL, 'its key is, too');
SELECT redemption_id AS r4 FROM mktg.reserve_promo('three', 801, pg_temp.cart(1000), 'three-4', '10 min') \gset
SELECT is(pg_temp.both('THREE', pg_temp.cart(1000), at => '2025-06-15 12:05+00'), 'usage_limit 0', 'a reservation counts');
SET LOCAL mktg.clock = '2025-06-15 12:10+00';
SELECT is(pg_temp.both('THREE', pg_temp.cart(1000)), 'ok 100', 'until its time is over, whether or not maintain() has run');
SELECT mktg.maintain() \gset ignored_
SELECT is((SELECT status FROM mktg.promo_redemption WHERE redemption_id = :r4), 'expired', 'maintain() says so');
SELECT is(pg_temp.left_of(:three), '1 800', 'and has given back what it took');
SELECT throws_ok(format('SELECT mktg.commit_redemption(%s)', :r4), 'MK084', NULL, 'it cannot be committed');
SELECT is(mktg.release_redemption(:r4), false, 'there is nothing to release');
SELECT redemption_id AS r5 FROM mktg.reserve_promo('three', 801, pg_temp.cart(1000), 'three-5', '10 min') \gset
SET LOCAL mktg.clock = '2025-06-15 12:30+00';
SELECT is(mktg.commit_redemption(:r5, 'order-5'), true, 'late, but nobody else has it: committed');
SELECT is(pg_temp.both('THREE', pg_temp.cart(1000)), 'usage_limit 0', 'for good');
SELECT is(mktg.reverse_redemption(:r5, 30, 'refund-1'), 70::bigint, 'a part of the purchase is refunded');
SELECT is(mktg.reverse_redemption(:r5, 30, 'refund-1'), 70::bigint, 'heard twice');
SELECT throws_ok(format('SELECT mktg.reverse_redemption(%s, 31, ''refund-1'')', :r5), 'MK081', NULL, 'another amount is another refund');
SELECT throws_ok(format('SELECT mktg.reverse_redemption(%s, 71)', :r5), 'MK024', NULL, 'more than is left');
SELECT throws_ok(format('SELECT mktg.reverse_redemption(%s, 0)', :r5), 'MK024', NULL, 'or nothing');
SELECT is(pg_temp.left_of(:three), '0 730', 'the use is still one');
SELECT is(mktg.reverse_redemption(:r5), 0::bigint, 'the rest');
SELECT is(mktg.reverse_redemption(:r5), 0::bigint, 'once more');
SELECT is(pg_temp.left_of(:three), '1 800', 'and the use is given back');
SELECT throws_ok(format('SELECT mktg.reverse_redemption(%s)', :r3), 'MK084', NULL, 'what was released cannot be reversed');
SELECT throws_ok('SELECT mktg.commit_redemption(999999)', 'MK083', NULL, 'an unknown redemption');
SELECT throws_ok(format('SELECT mktg.commit_redemption(%s, tenant => 81)', :r1), 'MK083', NULL, 'or another tenant''s');
SELECT throws_ok($$SELECT mktg.reserve_promo('three', 801, pg_temp.cart(1000), 'x', '0 min')$$, 'MK024', NULL, 'no time at all');
SELECT throws_ok($$SELECT mktg.reserve_promo('three', 801, pg_temp.cart(1000), '')$$, 'MK024', NULL, 'an empty key');

SELECT mktg.create_promo('BUDGET', 'percent', 50, budget => 1000) AS budget \gset
SELECT is(pg_temp.both('BUDGET', pg_temp.cart(2002)), 'budget 0', 'more than the budget');
SELECT is((SELECT discount FROM mktg.redeem_promo('BUDGET', NULL, pg_temp.cart(1998), NULL, NULL)), 999::bigint, 'nearly all of it, from all its shares');
SELECT is(pg_temp.left_of(:budget), '1', 'one unit is left');
SELECT is(pg_temp.both('BUDGET', pg_temp.cart(4)), 'budget 0', 'two are too many');
SELECT is(pg_temp.both('BUDGET', pg_temp.cart(2)), 'ok 1', 'one is not');

--
-- limits of contacts
--
SELECT mktg.create_promo('MONTHLY', 'flat', 100, per_contact_limit => 1, per_contact_period => 'month', tenant => 81) AS monthly \gset
SET LOCAL mktg.clock = '2025-01-31 18:00+00';
SELECT redemption_id AS january FROM mktg.redeem_promo('monthly', 801, pg_temp.cart(1000), NULL, NULL, tenant => 81) \gset
SELECT is(pg_temp.both('MONTHLY', pg_temp.cart(1000), 801, tenant => 81), 'contact_limit 0', 'once in January');
SELECT is(pg_temp.both('MONTHLY', pg_temp.cart(1000), 802, tenant => 81), 'ok 100', 'others have their own');
SELECT is(pg_temp.both('MONTHLY', pg_temp.cart(1000), tenant => 81), 'contact_limit 0', 'a guest has none');
SET LOCAL mktg.clock = '2025-01-31 19:00+00';
SELECT is(pg_temp.both('MONTHLY', pg_temp.cart(1000), 801, tenant => 81), 'ok 100', '19:00 UTC on January 31 is February in Kolkata');
SELECT redemption_id AS february FROM mktg.redeem_promo('monthly', 801, pg_temp.cart(1000), NULL, NULL, tenant => 81) \gset
SELECT mktg.reverse_redemption(:january, tenant => 81) \gset ignored_
SELECT is(pg_temp.both('MONTHLY', pg_temp.cart(1000), 801, tenant => 81), 'contact_limit 0', 'January''s use goes back to January');
SELECT is(pg_temp.both('MONTHLY', pg_temp.cart(1000), 801, '2025-01-31 18:29+00', 81), 'ok 100', 'where there is one again');
SELECT is((SELECT string_agg(period || ' ' || used, ', ' ORDER BY period) FROM mktg.offer_contact WHERE tenant_id = 81 AND offer_id = :monthly), '2025-01-01 0, 2025-02-01 1', 'as the counts say');
SELECT is(pg_temp.scoped('{}', pg_temp.cart(1), 801), 'ok 1', 'offers without such a limit count nobody');
SELECT mktg.create_promo('WEEKLY', 'flat', 1, per_contact_limit => 1, per_contact_period => 'week'), mktg.create_promo('DAILY', 'flat', 1, per_contact_limit => 1, per_contact_period => 'day'),
       mktg.create_promo('YEARLY', 'flat', 1, per_contact_limit => 1, per_contact_period => 'year'), mktg.create_promo('EVER', 'flat', 1, per_contact_limit => 1) \gset ignored_
CREATE FUNCTION pg_temp.periods(code text, VARIADIC at timestamptz[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answers text[]; i timestamptz;
BEGIN
    FOREACH i IN ARRAY at LOOP
        answers := answers || pg_temp.check(code, pg_temp.cart(10), 805, i);
        IF answers[cardinality(answers)] LIKE 'ok %' THEN
            PERFORM mktg.redeem_promo(code, 805, pg_temp.cart(10), NULL, NULL, i);
        END IF;
    END LOOP;
    RETURN array_to_string(answers, ', ');
END $$;
SELECT is(pg_temp.periods('WEEKLY', '2025-06-15 23:59:59+00', '2025-06-16 00:00+00', '2025-06-22 23:00+00', '2025-06-23 00:00+00'), 'ok 1, ok 1, contact_limit 0, ok 1', 'weeks begin on Monday');
SELECT is(pg_temp.periods('DAILY', '2025-06-15 23:59:59+00', '2025-06-16 00:00+00', '2025-06-16 23:00+00'), 'ok 1, ok 1, contact_limit 0', 'days');
SELECT is(pg_temp.periods('YEARLY', '2024-12-31 23:59:59+00', '2025-01-01 00:00+00', '2025-12-31 00:00+00'), 'ok 1, ok 1, contact_limit 0', 'years');
SELECT is(pg_temp.periods('EVER', '2024-12-31 23:59:59+00', '2035-01-01 00:00+00'), 'ok 1, contact_limit 0', 'for ever');
SET LOCAL mktg.clock = '2025-06-15 12:00+00';
SELECT mktg.create_promo('ONCE', 'flat', 100, usage_limit => 1, per_contact_limit => 1, budget => 100) AS once \gset
SELECT mktg.reserve_promo('once', 803, pg_temp.cart(1000), 'once-1') \gset ignored_
SET LOCAL mktg.clock = '2025-06-15 12:15+00';
SELECT is((SELECT discount FROM mktg.reserve_promo('once', 803, pg_temp.cart(1000), 'once-2')), 100::bigint, 'a reservation that is over makes way for another, of contact, limit and budget');
SELECT is((SELECT string_agg(status, ' ' ORDER BY redemption_id) FROM mktg.redemption WHERE tenant_id = 1 AND offer_id = :once), 'expired reserved', 'and is ended');
SET LOCAL mktg.clock = '2025-06-15 12:40+00';
SELECT is((SELECT discount FROM mktg.reserve_promo('once', 804, pg_temp.cart(1000), 'once-3')), 100::bigint, 'for another contact as well');
SELECT is((SELECT string_agg(contact_id || ' ' || used, ', ' ORDER BY contact_id) FROM mktg.offer_contact WHERE tenant_id = 1 AND offer_id = :once), '803 0, 804 1', 'whose use it is then');
SET LOCAL mktg.clock = '2025-06-15 12:00+00';

--
-- changes
--
SELECT mktg.create_promo('CHANGE', 'flat', 100, usage_limit => 5) AS change \gset
SELECT mktg.redeem_promo('change', NULL, pg_temp.cart(1000), NULL, NULL), mktg.redeem_promo('change', NULL, pg_temp.cart(1000), NULL, NULL) \gset ignored_
SELECT throws_ok(format('SELECT mktg.update_promo(%s, ''{"usage_limit": 1}'')', :change), 'MK021', 'usage_limit cannot be below what is used', 'a limit below what is used');
SELECT mktg.update_promo(:change, '{"usage_limit": 2, "value": 150}') \gset ignored_
SELECT is(pg_temp.both('CHANGE', pg_temp.cart(1000)), 'usage_limit 0', 'a limit of what is used');
SELECT mktg.update_promo(:change, '{"usage_limit": null, "budget": 1000}') \gset ignored_
SELECT is(pg_temp.both('CHANGE', pg_temp.cart(1000)), 'ok 150', 'no limit, and a budget');
SELECT is(pg_temp.left_of(:change), '800', 'that knows what was given already');
SELECT throws_ok(format('SELECT mktg.update_promo(%s, ''{"budget": 199}'')', :change), 'MK021', NULL, 'and cannot be below it');
SELECT mktg.update_promo(:change, '{"code": "changed", "usage_limit": 3, "campaign": null, "scope": {"items": ["show"]}}') \gset ignored_
SELECT is(pg_temp.both('CHANGE', pg_temp.cart(1000)) || ', ' || pg_temp.both('CHANGED', pg_temp.cart(1000)), 'unknown 0, ok 150', 'another code');
SELECT is(pg_temp.left_of(:change), '1 800', 'and a limit again');
SELECT throws_ok(format('SELECT mktg.update_promo(%s, ''{"color": 1}'')', :change), 'MK024', NULL, 'an unknown key');
SELECT throws_ok(format('SELECT mktg.update_promo(%s, ''{"value": 0}'')', :change), 'MK024', NULL, 'what cannot be made cannot be made so');
SELECT throws_ok('SELECT mktg.update_promo(999999, ''{}'')', 'MK082', NULL, 'an unknown promo');
SELECT throws_ok(format('SELECT mktg.update_promo(%s, ''{"per_contact_period": "day"}'', tenant => 81)', :monthly), 'MK024', NULL, 'the period of counts that are there');

--
-- stacking
--
SELECT mktg.create_promo('LONE', 'percent', 20), mktg.create_promo('FRIEND', 'percent', 10, combine_with => '{lo-ne}'), mktg.create_promo('LONER', 'percent', 50, priority => 2) \gset ignored_
CREATE FUNCTION pg_temp.best(codes text[], cart jsonb DEFAULT pg_temp.cart(10000)) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(coalesce(code, 'auto') || ' ' || reason || ' ' || discount, ', ') FROM mktg.best_offers(NULL, cart, codes)
$$;
SELECT is(pg_temp.best('{LONE,TEN}'), 'LONE ok 2000, TEN stacking 0', 'one that is not stackable stays alone; the larger discount wins');
SELECT is(pg_temp.best('{FRIEND,LONE}'), 'LONE ok 2000, FRIEND stacking 0', 'one side alone does not make a pair');
SELECT mktg.update_promo((SELECT promo FROM mktg.promo_list WHERE tenant_id = 1 AND code = 'LONE'), '{"combine_with": ["FRIEND"]}') \gset ignored_
SELECT is(pg_temp.best('{FRIEND,LONE}'), 'LONE ok 2000, FRIEND ok 800', 'both do');
SELECT is(pg_temp.best('{LONER,LONE,FRIEND}'), 'LONE ok 2000, FRIEND ok 800, LONER stacking 0', 'priority before discount');
SELECT is(pg_temp.best('{LONE,lone,nobody,SOON,"é"}'), 'LONE ok 2000, NOBODY unknown 0, SOON not_started 0, é unknown 0', 'reasons of the others, and every code once');
SELECT is(pg_temp.best('{}'), NULL, 'nothing comes of nothing');
SELECT is(pg_temp.best('{LONE}', '{}'), 'LONE invalid_cart 0', 'nor of no cart');
SELECT mktg.create_promo(NULL, 'flat', 300, stackable => true, scope => '{"items": ["auto"]}') AS automatic \gset
SELECT is(pg_temp.best('{}', '{"lines": [{"item": "auto", "unit_price": 1000}]}'), 'auto ok 300', 'an automatic offer');
SELECT is(pg_temp.best('{TEN}', '{"lines": [{"item": "auto", "unit_price": 1000}, {"item": "show", "unit_price": 1000}]}'), 'TEN ok 200, auto ok 300', 'with a code');
SELECT is(pg_temp.best('{LONE}', '{"lines": [{"item": "auto", "unit_price": 1000}]}'), 'auto ok 300, LONE stacking 0', 'or in place of it');
SELECT is(pg_temp.best('{TEN}'), 'TEN ok 1000', 'those that do not apply go without saying');
SELECT throws_ok($$SELECT * FROM mktg.best_offers(NULL, pg_temp.cart(1), ARRAY(SELECT i::text FROM generate_series(1, 101) i))$$, 'MK025', NULL, 'too many codes');
SELECT is((SELECT discount FROM mktg.redeem_promo('ten', NULL, pg_temp.cart(10000), 'stack', NULL)), 1000::bigint, 'redeemed one after the other for one purchase');
SELECT is((SELECT discount FROM mktg.redeem_promo('thirty', NULL, pg_temp.cart(10000), 'stack', NULL)), 2700::bigint, 'each takes from what is left');
SELECT is((SELECT discount FROM mktg.redeem_promo('five', NULL, pg_temp.cart(10000), 'stack', NULL)), 500::bigint, 'as best_offers() has it');
SELECT is(pg_temp.check('TEN', pg_temp.cart(10000, '{"purchase": "stack"}')), 'ok 680', 'to ask for one of them again is to ask anew');
SELECT is(pg_temp.check('LONE', pg_temp.cart(10000, '{"purchase": "stack"}')), 'stacking 0', 'what does not combine is refused');
SELECT throws_ok($$SELECT mktg.redeem_promo('lone', NULL, pg_temp.cart(10000), 'stack', NULL)$$, 'MK080', 'promo code was refused', 'by redemption, too');
SELECT is(mktg.quote(NULL, pg_temp.cart(10000, '{"purchase": "stack"}')) ->> 'redeemed', '4200', 'a quote knows what was taken off');
SELECT is(pg_temp.best('{TEN}', pg_temp.cart(10000, '{"purchase": "stack"}')), 'TEN stacking 0', 'and nothing is taken off again');

--
-- codes that can be used once
--
SELECT mktg.create_promo('CODES', 'percent', 50) AS codes \gset
SELECT is(mktg.generate_codes(:codes, 1000, 'AB-', '-2024'), 1000::bigint, 'a thousand codes');
SELECT is((SELECT count(*) FROM mktg.promo_code WHERE offer_id = :codes AND code ~ '^AB[2-9A-HJ-NP-Z]{8}2024$'), 1000::bigint, 'of the form asked for, all different');
SELECT code AS one FROM mktg.promo_code WHERE offer_id = :codes ORDER BY code LIMIT 1 \gset
SELECT code AS two FROM mktg.promo_code WHERE offer_id = :codes ORDER BY code DESC LIMIT 1 \gset
SELECT is(pg_temp.both(lower(:'one'), pg_temp.cart(100)), 'ok 50', 'one of them');
SELECT mktg.redeem_promo(:'one', NULL, pg_temp.cart(100), NULL, 'one') AS redeemed \gset
SELECT is(pg_temp.both(:'one', pg_temp.cart(100)), 'usage_limit 0', 'only once');
SELECT is((SELECT discount FROM mktg.redeem_promo(:'one', NULL, pg_temp.cart(100), NULL, 'one')), 50::bigint, 'but to who repeats the call');
SELECT is(pg_temp.both(:'two', pg_temp.cart(100)), 'ok 50', 'another is free');
SELECT redemption_id AS held FROM mktg.reserve_promo(:'two', NULL, pg_temp.cart(100), 'two') \gset
SELECT is(pg_temp.both(:'two', pg_temp.cart(100)), 'usage_limit 0', 'until it is reserved');
SELECT mktg.release_redemption(:held) \gset ignored_
SELECT is(pg_temp.both(:'two', pg_temp.cart(100)), 'ok 50', 'and released');
SELECT mktg.reserve_promo(:'two', NULL, pg_temp.cart(100), 'two again') \gset ignored_
SET LOCAL mktg.clock = '2025-06-15 12:15+00';
SELECT is(pg_temp.both(:'two', pg_temp.cart(100)), 'ok 50', 'or over');
SELECT 'AB' || translate(substr(:'two', 3, 1), '23456789ABCDEFGHJKLMNPQRSTUVWXYZ', '3456789ABCDEFGHJKLMNPQRSTUVWXYZ2') || substr(:'two', 4) AS wrong \gset
SELECT is(pg_temp.both(:'wrong', pg_temp.cart(100)), 'unknown 0', 'a wrong symbol');
-- the statistics of the transaction say which tables were looked into
CREATE FUNCTION pg_temp.scans() RETURNS bigint LANGUAGE sql AS $$
    SELECT coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0)::bigint FROM pg_stat_xact_all_tables WHERE schemaname = 'mktg'
$$;
SELECT pg_temp.scans() AS before \gset
SELECT is((SELECT reason FROM mktg.validate_promo(:'wrong', NULL, '{"lines": [{"unit_price": 1}]}')), 'unknown', 'is refused');
SELECT is(pg_temp.scans() - :before, 0::bigint, 'without looking into a table');
SELECT mktg.create_promo(:'wrong', 'percent', 1) \gset ignored_
SELECT is(pg_temp.both(:'wrong', pg_temp.cart(100)), 'ok 1', 'unless somebody has made it a code of its own');
SELECT is(mktg.generate_codes(:codes, 3, contacts => '{801,802,803}'), 3::bigint, 'codes for contacts');
SELECT is((SELECT string_agg(contact_id::text, ' ' ORDER BY contact_id) FROM mktg.promo_code WHERE offer_id = :codes AND contact_id IS NOT NULL), '801 802 803', 'one each');
SELECT code AS mine FROM mktg.promo_code WHERE contact_id = 802 \gset
SELECT is(pg_temp.both(:'mine', pg_temp.cart(100), 802) || ', ' || pg_temp.both(:'mine', pg_temp.cart(100), 801) || ', ' || pg_temp.both(:'mine', pg_temp.cart(100)),
          'ok 50, unknown 0, unknown 0', 'that nobody else can use');
SELECT is(mktg.generate_codes(:codes, 5, length => 12, checksum => false, exclude_ambiguous => false), 5::bigint, 'without check symbol, of all symbols');
SELECT is(mktg.generate_codes(:codes, 1, '{{DATE}}{{YEAR}}{{MONTH}}{{CODE}}'), 1::bigint, 'patterns');
SELECT is((SELECT count(*) FROM mktg.promo_code WHERE code LIKE '20250615202506CODES%'), 1::bigint, 'and what they stand for');
SELECT mktg.create_promo('SEG', 'percent', 5, scope => '{"segments": ["offer vip"]}', campaign => mktg.create_campaign('Sum Mer', 'sms')) AS seg \gset
SELECT mktg.generate_codes(:seg, 1, '{{SEGMENT}}', '{{CAMPAIGN}}') \gset ignored_
SELECT is((SELECT code ~ '^OFFERVIP.{8}SUMMER$' FROM mktg.promo_code WHERE offer_id = :seg), true, 'segment and campaign');
SELECT throws_ok(format('SELECT mktg.generate_codes(%s, 1, ''{{SEGMENT}}'')', :codes), 'MK024', 'invalid prefix of codes', 'an offer without a segment');
SELECT throws_ok(format('SELECT mktg.generate_codes(%s, 1, ''{{NAME}}'')', :codes), 'MK024', NULL, 'an unknown pattern');
SELECT throws_ok(format('SELECT mktg.generate_codes(%s, 1, suffix => ''{{'')', :codes), 'MK024', NULL, 'half a pattern');
SELECT throws_ok(format('SELECT mktg.generate_codes(%s, 1, %L)', :codes, repeat('A', 25)), 'MK024', NULL, 'a prefix that is too long');
SELECT throws_ok(format('SELECT mktg.generate_codes(%s, 1, ''ü'')', :codes), 'MK024', NULL, 'or has other letters');
SELECT throws_ok(format('SELECT mktg.generate_codes(%s, 0)', :codes), 'MK024', NULL, 'no codes');
SELECT throws_ok(format('SELECT mktg.generate_codes(%s, 1, length => 3)', :codes), 'MK024', NULL, 'short ones');
SELECT throws_ok(format('SELECT mktg.generate_codes(%s, 1, contacts => ''{801,802}'')', :codes), 'MK024', NULL, 'more contacts than codes');
SELECT throws_ok(format('SELECT mktg.generate_codes(%s, 1, contacts => ''{999999}'')', :codes), 'MK011', NULL, 'an unknown contact');
SELECT throws_ok('SELECT mktg.generate_codes(999999, 1)', 'MK082', NULL, 'an unknown promo');
SELECT is(mktg.generate_codes(:codes, 16384, 'HALF', length => 4), 16384::bigint, 'half of all codes of a form, found among the other half');
SELECT is((SELECT count(DISTINCT code) FROM mktg.promo_code WHERE code LIKE 'HALF____'), 16384::bigint, 'each once');
SELECT throws_ok(format('SELECT mktg.generate_codes(%s, 1, ''HALF'', length => 4)', :codes), 'MK025', NULL, 'one more is too many');
SELECT mktg.generate_codes(:codes, 16000, 'MANY', length => 4) \gset ignored_
SELECT is(mktg.generate_codes(:codes, 310, 'MANY', length => 4, contacts => ARRAY(SELECT 801 + i % 20 FROM generate_series(0, 299) i)), 310::bigint, 'for contacts, where every second try is taken already');
SELECT is((SELECT string_agg(DISTINCT n::text, ' ') FROM (SELECT count(*) AS n FROM mktg.promo_code WHERE code LIKE 'MANY____' AND contact_id IS NOT NULL GROUP BY contact_id HAVING count(*) > 0) x), '15', 'each contact has its codes');
SELECT is((SELECT count(*) FROM mktg.promo_code WHERE code LIKE 'MANY____'), 16310::bigint, 'and the rest is anybody''s');
SELECT mktg.create_promo(NULL, 'percent', 10) AS single \gset
SELECT mktg.generate_codes(:single, 1, 'SINGLE') \gset ignored_
SELECT is(pg_temp.best('{}'), NULL, 'an offer with such codes alone is not automatic');
SELECT is((SELECT pg_temp.both(code, pg_temp.cart(100)) FROM mktg.promo_code WHERE offer_id = :single), 'ok 10', 'but by them');

--
-- reports
--
SET LOCAL mktg.clock = '2025-06-20 20:00+00';
SELECT mktg.create_promo('REPORT', 'percent', 10, scope => '{"cities": ["Pune"]}', campaign => mktg.create_campaign('report', 'sms', tenant => 81), tenant => 81) AS report \gset
SELECT mktg.generate_codes(:report, 4, 'REP', tenant => 81) \gset ignored_
INSERT INTO mktg.purchase (tenant_id, contact_id, external_id, amount, placed_at) VALUES (81, 801, 'report-1', 2700, mktg.clock());
SELECT '{"lines": [{"item": "rock", "route": "A-B", "city": "Pune", "unit_price": 1000}, {"item": "pop", "route": "A-B", "city": "Pune", "unit_price": 2000}, {"item": "folk", "city": "Goa", "unit_price": 5000}]}' AS cart \gset
SELECT redemption_id AS full FROM mktg.redeem_promo('report', 801, :'cart', 'report-1', NULL, tenant => 81) \gset
SELECT redemption_id AS part FROM mktg.redeem_promo((SELECT code FROM mktg.promo_code WHERE offer_id = :report ORDER BY 1 LIMIT 1), 801, :'cart', 'report-2', NULL, at => '2025-06-20 18:00+00', tenant => 81) \gset
SELECT redemption_id AS gone FROM mktg.redeem_promo('report', 802, :'cart', 'report-3', NULL, tenant => 81) \gset
SELECT mktg.reverse_redemption(:part, 150, tenant => 81), mktg.reverse_redemption(:gone, tenant => 81), mktg.reserve_promo('report', 803, :'cart', 'report', tenant => 81) \gset ignored_
SELECT is(pg_temp.rows($$SELECT code, redemptions, customers, gross_value, discount_given, average_discount, codes_made, codes_used, breakage_rate FROM mktg.promo_performance WHERE tenant_id = 81 AND code = 'REPORT'$$),
          '(REPORT,2,1,6000,450,225.00,4,1,0.7500)', 'performance: what is committed, less what was taken back');
SELECT is(pg_temp.rows($$SELECT code, day, redemptions, customers, gross_value, discount_given FROM mktg.promo_daily WHERE tenant_id = 81 AND code = 'REPORT' ORDER BY day$$),
          '(REPORT,2025-06-20,1,1,3000,150) (REPORT,2025-06-21,1,1,3000,300)', 'by day of the tenant');
SELECT is(pg_temp.rows($$SELECT item, redemptions, customers, gross_value, discount_given FROM mktg.promo_item WHERE tenant_id = 81 AND code = 'REPORT' ORDER BY item$$),
          '(pop,2,1,4000,300) (rock,2,1,2000,150)', 'by item');
SELECT is(pg_temp.rows($$SELECT route, redemptions, customers, gross_value, discount_given FROM mktg.promo_route WHERE tenant_id = 81 AND code = 'REPORT'$$),
          '(A-B,2,1,6000,450)', 'by route');
SELECT is(pg_temp.rows(format('SELECT purchase, purchase_amount, campaign, status, discount FROM mktg.promo_redemption WHERE tenant_id = 81 AND redemption_id = %s', :full)),
          '(report-1,2700,report,committed,300)', 'a discount, its purchase and its campaign');
SELECT is(pg_temp.rows($$SELECT code, status, is_automatic, uses_left FROM mktg.promo_list WHERE tenant_id = 1 AND code IN ('SOON', 'THREE', 'FORTY', 'ONCE') ORDER BY code$$),
          '(FORTY,active,f,) (ONCE,used_up,f,0) (SOON,active,f,) (THREE,active,f,1)', 'a list of offers');
SELECT is((SELECT count(*) FROM mktg.promo_performance WHERE redemptions = 0 AND average_discount IS NOT NULL), 0::bigint, 'no average of nothing');

SELECT is(pg_temp.faults(), 0::bigint, 'limits and budgets are what they were less what redemptions took');
SELECT * FROM finish();
ROLLBACK;
