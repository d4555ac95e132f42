-- What bench/offer.sh measures and what it holds it against.
CREATE SCHEMA bench;
INSERT INTO mktg.contact (external_id) SELECT 'c' || i FROM generate_series(1, 1000) i;

-- Carts: one line, and ten of them; an offer with ten conditions.
CREATE FUNCTION bench.cart(lines integer) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('currency', 'USD', 'channel', 'web', 'lines', jsonb_agg(jsonb_build_object('id', i::text, 'item', 'show ' || i % 5, 'category', 'concert',
               'city', 'Pune', 'organizer', 'o' || i % 3, 'route', 'DEL-BOM', 'fare', 'Y', 'unit_price', 5000 + i, 'quantity', 2, 'travel_date', '2030-07-01')))
      FROM generate_series(1, lines) i
$$;
CREATE TABLE bench.input AS SELECT n AS lines, bench.cart(n) AS cart FROM (VALUES (1), (10)) v (n);
CREATE FUNCTION bench.scope(city text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('organizers', '["o0", "o1", "o2"]'::jsonb, 'items', '["show 0", "show 1", "show 2", "show 3", "show 4"]'::jsonb, 'categories', '["theatre", "concert"]'::jsonb,
        'cities', jsonb_build_array('Delhi', city), 'excluded_routes', '["BOM-DEL"]'::jsonb, 'fares', '["J", "Y"]'::jsonb, 'channels', '["web", "app"]'::jsonb,
        'travel_window', '{"start": "2030-01-01", "end": "2031-01-01"}'::jsonb, 'weekdays', '[1, 2, 3]'::jsonb, 'blackout', '[{"start": "2030-12-24", "end": "2030-12-26"}]'::jsonb)
$$;
SELECT mktg.create_promo('TENCONDITIONS', 'percent', 10, usage_limit => 1000000, per_contact_limit => 5, scope => bench.scope('Pune'));
SELECT mktg.create_promo('REFUSEDSCOPE', 'percent', 10, usage_limit => 1000000, per_contact_limit => 5, scope => bench.scope('Goa')),
       mktg.create_promo('REFUSEDLATE', 'percent', 10, ends_at => '2020-01-01'), mktg.create_promo('REFUSEDFULL', 'percent', 10, usage_limit => 1),
       mktg.disable_promo(mktg.create_promo('REFUSEDBYADMIN', 'percent', 10));
SELECT mktg.redeem_promo('REFUSEDFULL', NULL, cart, NULL, NULL) FROM bench.input WHERE lines = 1;
SELECT mktg.create_promo('BEST' || i, 'percent', i, priority => i % 4, stackable => i % 2 = 0, usage_limit => 1000000, scope => bench.scope('Pune')) FROM generate_series(1, 20) i;
SELECT mktg.create_promo('HOT', 'percent', 10, usage_limit => 1000000000), mktg.create_promo('FREE', 'percent', 10);

-- What one would write without an extension: a counter in one row, and a row a use.
CREATE TABLE bench.promo (id integer PRIMARY KEY, used bigint NOT NULL, usage_limit bigint NOT NULL) WITH (fillfactor = 20);
INSERT INTO bench.promo VALUES (1, 0, 1000000000);
CREATE TABLE bench.redemption (LIKE mktg.redemption INCLUDING ALL);
CREATE FUNCTION bench.insert_use(key text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    answer bigint;
BEGIN
    INSERT INTO bench.redemption (tenant_id, offer_id, content_hash, eligible_subtotal, discount, reserved_at, committed_at, status, code, idempotency_key, currency, lines)
    VALUES (1, 1, 1, 10002, 1000, now(), now(), 'committed', 'HOT', key, 'USD', '[{"line": 1, "id": "1", "item": "show 1", "route": "DEL-BOM", "amount": 10002, "discount": 1000}]')
    RETURNING discount INTO answer;
    RETURN answer;
END $$;
CREATE FUNCTION bench.redeem_locked(key text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM bench.promo WHERE id = 1 AND used < usage_limit FOR UPDATE;
    IF NOT FOUND THEN
        RAISE 'used up';
    END IF;
    UPDATE bench.promo SET used = used + 1 WHERE id = 1;
    RETURN bench.insert_use(key);
END $$;
CREATE FUNCTION bench.redeem_guarded(key text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    UPDATE bench.promo SET used = used + 1 WHERE id = 1 AND used < usage_limit;
    IF NOT FOUND THEN
        RAISE 'used up';
    END IF;
    RETURN bench.insert_use(key);
END $$;

-- Microseconds of validate_promo(), each code in turn: the median of n calls.
CREATE FUNCTION bench.time_codes(codes text[], n integer, lines integer) RETURNS TABLE (code text, median numeric) LANGUAGE plpgsql AS $$
DECLARE
    c text; began timestamptz; cart jsonb := (SELECT i.cart FROM bench.input i WHERE i.lines = time_codes.lines);
    took double precision[] := '{}'; named text[] := '{}';
BEGIN
    FOR i IN 1 .. n LOOP
        FOREACH c IN ARRAY codes LOOP
            began := clock_timestamp();
            PERFORM * FROM mktg.validate_promo(c, 1, cart);
            took := took || extract(epoch FROM clock_timestamp() - began)::double precision;
            named := named || c;
        END LOOP;
    END LOOP;
    RETURN QUERY SELECT k, round((1e6 * percentile_cont(0.5) WITHIN GROUP (ORDER BY t))::numeric, 1) FROM unnest(named, took) AS x (k, t) GROUP BY k ORDER BY array_position(codes, k);
END $$;
CREATE FUNCTION bench.time_best(n integer) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz; took double precision[] := '{}'; cart jsonb := (SELECT i.cart FROM bench.input i WHERE i.lines = 10);
    codes text[] := ARRAY(SELECT 'BEST' || i FROM generate_series(1, 20) i);
BEGIN
    FOR i IN 1 .. n LOOP
        began := clock_timestamp();
        PERFORM * FROM mktg.best_offers(1, cart, codes);
        took := took || extract(epoch FROM clock_timestamp() - began)::double precision;
    END LOOP;
    RETURN (SELECT round((1e6 * percentile_cont(0.5) WITHIN GROUP (ORDER BY t))::numeric, 1) FROM unnest(took) t);
END $$;
