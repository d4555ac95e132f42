\set ECHO none
\i test/setup.sql
BEGIN;
\i test/fixture.sql
SELECT no_plan();
SET LOCAL mktg.clock = '2025-06-15 12:00+00';
INSERT INTO mktg.tenant (tenant_id, name, currency) VALUES (83, 'price', 'INR');
INSERT INTO mktg.contact (contact_id, external_id) VALUES (830, 'price');

CREATE FUNCTION pg_temp.price(item text, booked integer DEFAULT 0, at timestamptz DEFAULT mktg.clock(), tenant bigint DEFAULT 1) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', effective_price, phase_name, ends_at, seats_left) FROM mktg.effective_price(item, 1000, booked, at, tenant)
$$;

--
-- phases
--
SELECT is(pg_temp.price('show'), '1000', 'without a phase the base price');
SELECT mktg.create_price_phase('show', 'early', 600, NULL, '2025-06-01', 100) AS early,
       mktg.create_price_phase('show', 'regular', 800, '2025-06-01', '2025-07-01', ordinal => 2) AS regular,
       mktg.create_price_phase('show', 'last', 1200, '2025-07-01', ordinal => 3) AS last \gset
SELECT is(pg_temp.price('show', 0, '2025-05-01'), '600 early 2025-06-01 00:00:00+00 100', 'early');
SELECT is(pg_temp.price('show', 99, '2025-05-01'), '600 early 2025-06-01 00:00:00+00 1', 'one seat is left');
SELECT is(pg_temp.price('show', 100, '2025-05-01'), '1000', 'all seats of the phase are booked, and the next has not begun');
SELECT is(pg_temp.price('show', 0, '2025-06-01'), '800 regular 2025-07-01 00:00:00+00', 'a phase ends before its end, and another begins with its start');
SELECT is(pg_temp.price('show', 0, '2025-07-01'), '1200 last', 'and has none');
SELECT is(pg_temp.price('other'), '1000', 'another item');
SELECT is(pg_temp.price('show', tenant => 83), '1000', 'another tenant');
SELECT mktg.create_price_phase('order', 'c', 3, '2025-06-02', ordinal => 1), mktg.create_price_phase('order', 'b', 2, '2025-06-01', ordinal => 1),
       mktg.create_price_phase('order', 'd', 4, '2025-06-01', ordinal => 1), mktg.create_price_phase('order', 'z', 1, ordinal => 2) \gset ignored_
SELECT is(pg_temp.price('order'), '2 b', 'by ordinal, start and id');
SELECT mktg.create_price_phase('order', 'a', 5) \gset ignored_
SELECT is(pg_temp.price('order'), '5 a', 'what has no start began first');
SELECT is((SELECT string_agg(name || ' ' || status, ', ' ORDER BY ordinal) FROM mktg.price_phase_list WHERE item = 'show'), 'early over, regular active, last not_started', 'a list');
SELECT mktg.delete_price_phase(:regular) \gset ignored_
SELECT is(pg_temp.price('show'), '1000', 'deleted');
SELECT throws_ok(format('SELECT mktg.delete_price_phase(%s)', :regular), 'MK085', NULL, 'an unknown phase');
SELECT throws_ok(format('SELECT mktg.delete_price_phase(%s, 83)', :early), 'MK085', NULL, 'or one of another tenant');
SELECT throws_ok($$SELECT mktg.create_price_phase('x', 'x', -1)$$, 'MK024', NULL, 'a negative price');
SELECT throws_ok($$SELECT mktg.create_price_phase('x', 'x', 1, '2025-01-01', '2025-01-01')$$, 'MK024', NULL, 'a phase of no time');
SELECT throws_ok($$SELECT mktg.create_price_phase('x', 'x', 1, max_seats => 0)$$, 'MK021', NULL, 'or of no seats');
SELECT throws_ok($$SELECT mktg.create_price_phase('', 'x', 1)$$, 'MK020', NULL, 'an item without a name');
SELECT throws_ok($$SELECT mktg.create_price_phase('x', '', 1)$$, 'MK020', NULL, 'a phase without one');
SELECT throws_ok($$SELECT mktg.create_price_phase('x', 'x', 1, tenant => 999)$$, 'MK010', NULL, 'an unknown tenant');
SELECT throws_ok($$SELECT mktg.effective_price('x', -1)$$, 'MK024', NULL, 'a negative base price');
SELECT throws_ok($$SELECT mktg.effective_price('x', 1, -1)$$, 'MK024', NULL, 'or number of seats');

--
-- quotes
--
SELECT mktg.create_promo('QTEN', 'percent', 10, stackable => true), mktg.create_promo('QFLAT', 'flat', 250, stackable => true, scope => '{"items": ["show"]}') \gset ignored_
SELECT mktg.create_price_phase('show', 'regular', 800) \gset ignored_
SELECT mktg.quote(830, '{"lines": [{"id": "1", "item": "show", "unit_price": 1000, "quantity": 3}, {"id": "2", "item": "drink", "unit_price": 333}], "fees": [{"name": "parcel", "amount": 70}]}',
    '{qten,qflat,nobody}', '{"fees": [{"name": "booking", "percent": 2.5}, {"name": "seat", "amount": 15, "per": "unit"}, {"name": "line", "amount": 1, "per": "line"}, {"name": "order", "amount": 5}],
    "taxes": [{"name": "GST", "percent": 18}, {"name": "city", "percent": 1, "on": "net"}, {"name": "service", "percent": 50, "on": "fees"}]}') AS quote \gset
SELECT is(:'quote'::jsonb - 'lines' - 'offers' - 'fees' - 'taxes', '{"currency": "USD", "base_subtotal": 3333, "phase_adjustment": -600, "subtotal": 2733, "redeemed": 0, "discount": 523, "net": 2210,
    "fee_total": 192, "tax_total": 550, "total": 2952}', 'phases, offers, fees, taxes');
SELECT is((SELECT jsonb_agg(o - 'promo') FROM jsonb_array_elements(:'quote'::jsonb -> 'offers') o),
    '[{"code": "QTEN", "reason": "ok", "applied": true, "discount": 273, "running_total": 2460}, {"code": "QFLAT", "reason": "ok", "applied": true, "discount": 250, "running_total": 2210},
    {"code": "NOBODY", "reason": "unknown", "applied": false, "discount": 0, "running_total": 2210}]'::jsonb, 'offers, one after the other');
SELECT is((SELECT jsonb_agg(l - 'phase_id') FROM jsonb_array_elements(:'quote'::jsonb -> 'lines') l),
    '[{"id": "1", "line": 1, "item": "show", "quantity": 3, "base_price": 1000, "unit_price": 800, "phase_name": "regular", "amount": 2400, "discount": 490, "net": 1910},
    {"id": "2", "line": 2, "item": "drink", "quantity": 1, "base_price": 333, "unit_price": 333, "amount": 333, "discount": 33, "net": 300}]'::jsonb, 'lines');
SELECT is(:'quote'::jsonb -> 'fees', '[{"name": "booking", "amount": 55}, {"name": "seat", "amount": 60}, {"name": "line", "amount": 2}, {"name": "order", "amount": 5}, {"name": "parcel", "amount": 70}]'::jsonb, 'fees');
SELECT is(:'quote'::jsonb -> 'taxes', '[{"name": "GST", "amount": 432}, {"name": "city", "amount": 22}, {"name": "service", "amount": 96}]'::jsonb, 'taxes, each half up');

-- The parts of a quote add up.
CREATE FUNCTION pg_temp.adds_up(q jsonb) RETURNS boolean LANGUAGE sql AS $$
    SELECT (q ->> 'base_subtotal')::numeric + (q ->> 'phase_adjustment')::numeric = (q ->> 'subtotal')::numeric
       AND (q ->> 'subtotal')::numeric - (q ->> 'discount')::numeric = (q ->> 'net')::numeric
       AND (q ->> 'net')::numeric + (q ->> 'fee_total')::numeric + (q ->> 'tax_total')::numeric = (q ->> 'total')::numeric
       AND (q ->> 'subtotal')::numeric = (SELECT sum((l ->> 'amount')::numeric) FROM jsonb_array_elements(q -> 'lines') l)
       AND (q ->> 'discount')::numeric = (SELECT sum((l ->> 'discount')::numeric) FROM jsonb_array_elements(q -> 'lines') l)
       AND (q ->> 'net')::numeric = (SELECT sum((l ->> 'net')::numeric) FROM jsonb_array_elements(q -> 'lines') l)
       AND (q ->> 'discount')::numeric = (q ->> 'redeemed')::numeric + (SELECT coalesce(sum((o ->> 'discount')::numeric), 0) FROM jsonb_array_elements(q -> 'offers') o)
       AND (q ->> 'fee_total')::numeric = (SELECT coalesce(sum((f ->> 'amount')::numeric), 0) FROM jsonb_array_elements(q -> 'fees') f)
       AND (q ->> 'tax_total')::numeric = (SELECT coalesce(sum((t ->> 'amount')::numeric), 0) FROM jsonb_array_elements(q -> 'taxes') t)
       AND NOT EXISTS (SELECT FROM jsonb_array_elements(q -> 'lines') l WHERE (l ->> 'net')::numeric < 0 OR (l ->> 'discount')::numeric < 0)
$$;
SELECT ok(pg_temp.adds_up(:'quote'), 'its parts add up');
SELECT setseed(0.25) \gset ignored_
CREATE TEMP TABLE carts AS
SELECT n, jsonb_build_object('lines', jsonb_agg(jsonb_build_object('item', (ARRAY['show', 'order', 'drink'])[1 + floor(random() * 3)::int],
              'unit_price', floor(exp(random() * 12))::bigint, 'quantity', 1 + floor(random() * 4)::int))) AS cart
  FROM generate_series(1, 500) n, generate_series(1, 1 + n % 9) GROUP BY n;
SELECT is((SELECT count(*) FROM carts WHERE NOT pg_temp.adds_up(mktg.quote(NULL, cart, '{qten,qflat}',
    '{"fees": [{"percent": 1.7}, {"amount": 3, "per": "unit"}], "taxes": [{"percent": 8.25}, {"percent": 0.333333, "on": "net"}]}'))), 0::bigint, 'as those of 500 random ones do');
SELECT is(mktg.quote(NULL, '{"lines": [{"item": "show", "unit_price": 1000, "booked_seats": 5}]}', at => '2025-05-01') -> 'lines' -> 0 ->> 'unit_price', '600', 'seats booked so far count');
SELECT is(mktg.quote(NULL, '{"lines": [{"item": "show", "unit_price": 1000, "booked_seats": 100}]}', at => '2025-05-01') -> 'lines' -> 0 ->> 'unit_price', '800', 'a phase without seats is passed over');
SELECT is(mktg.quote(NULL, '{"lines": [{"unit_price": 7}], "fees": 5}', NULL) ->> 'total', '12', 'neither item, codes nor rules');
SELECT throws_ok($$SELECT mktg.quote(NULL, '{"lines": [{"unit_price": -7}]}')$$, 'MK024', 'invalid cart', 'an invalid cart');
SELECT throws_ok($$SELECT mktg.quote(NULL, '{"lines": [{"unit_price": 9223372036854775807}], "fees": 1}')$$, 'MK024', NULL, 'a total above a bigint');
SELECT throws_ok(format('SELECT mktg.quote(NULL, ''{"lines": [{"unit_price": 7}]}'', fee_rules => %L)', r), 'MK024', 'invalid fee_rules', 'rules ' || r)
  FROM unnest(ARRAY['[]', '{"fee": []}', '{"fees": {}}', '{"fees": [1]}', '{"fees": [{"name": "x"}]}', '{"fees": [{"percent": -1}]}', '{"fees": [{"percent": 1, "amount": 1}]}', '{"fees": [{"amount": 1.5}]}',
       '{"fees": [{"amount": 1, "per": "kilo"}]}', '{"taxes": [{"amount": 1}]}', '{"taxes": [{"percent": 1, "on": "gross"}]}', '{"taxes": [{"percent": 1, "per": "unit"}]}', '{"taxes": [{"percent": "1"}]}']) r;
SELECT throws_ok($$SELECT mktg.quote(999999, '{"lines": [{"unit_price": 7}]}')$$, 'MK011', NULL, 'an unknown contact');
SELECT * FROM finish();
ROLLBACK;
