\set ECHO none
\i test/setup.sql
BEGIN;
\i test/fixture.sql
SELECT no_plan();
SET LOCAL mktg.clock = '2026-03-10 12:00+00';
UPDATE mktg.tenant SET time_zone = 'America/New_York', currency = 'USD' WHERE tenant_id = 1;
INSERT INTO mktg.tenant (tenant_id, name) VALUES (71, 'other');

-- ann and bob have this and that, nil has nothing
CREATE TEMP TABLE who (name text PRIMARY KEY, id bigint);
WITH made AS (INSERT INTO mktg.contact (name, external_id, city, tier, birth_date, tags, is_active, created_at, attributes) VALUES
    ('ann', 'a', 'Berlin', 'gold', '1990-03-10', '{vip,"a,b"}', true, '2026-03-10 12:00+00', '{"n": 5, "t": "x", "b": true, "l": ["p", "q", 1], "d": "2026-03-01", "s": "7.5"}'),
    ('bob', 'b', 'New York', 'Gold', '1990-03-11', '{fashion}', false, '2026-02-08 12:00+00', '{"n": "5", "t": 5, "b": "false", "l": "p", "d": "2026-03-09T20:00:00-04:00", "e": null}'),
    ('cat', NULL, '', NULL, '2000-02-29', '{}', true, '2026-02-08 12:00:00.000001+00', '{"n": "many", "t": {"x": 1}, "l": {}, "d": 20260301, "b": 1}'),
    ('nil', NULL, NULL, NULL, NULL, '{NULL}', true, '2020-01-01 00:00+00', '{}') RETURNING name, contact_id)
INSERT INTO who SELECT name, contact_id FROM made;
INSERT INTO mktg.contact (tenant_id, contact_id, name, city) SELECT 71, id, 'foreign', 'Berlin' FROM who;
INSERT INTO mktg.purchase (contact_id, amount, currency, placed_at, channel, items, attributes) SELECT id, amount, currency, at::timestamptz, channel, '[1]', attributes::jsonb FROM who JOIN (VALUES
    ('ann', 1000, NULL, '2026-03-10 12:00+00', 'web', '{"cabin": "FIRST", "route": "A-B", "category": "MUSIC", "departure": "2026-03-14", "party_size": 2, "ancillaries": ["seat", "bag"]}'),
    ('ann', 5000, 'USD', '2026-02-08 12:00+00', 'agent', '{"cabin": "ECONOMY", "category": "COMEDY"}'),
    ('ann', 90000, 'EUR', '2026-02-09 12:00+00', NULL, '{"cabin": "BUSINESS"}'),
    ('bob', -500, 'USD', '2025-03-10 12:00+00', 'web', '{"category": "MUSIC", "party_size": "3"}'),
    ('bob', 60001, 'USD', '2026-03-09 12:00+00', 'mobile', '{"category": "SPORT"}'),
    ('cat', 7777, 'EUR', '2026-03-01 12:00+00', 'web', '{"category": "MUSIC"}'),
    ('cat', 1000, NULL, '2026-03-10 12:00:00.000001+00', 'web', '{"cabin": "FIRST"}')) AS p (name, amount, currency, at, channel, attributes) USING (name);
INSERT INTO mktg.purchase (tenant_id, contact_id, amount, placed_at) SELECT 71, id, 100000, '2026-03-01 00:00+00' FROM who;
INSERT INTO mktg.consent (contact_id, channel, topic, state) SELECT id, channel, topic, state FROM who JOIN (VALUES
    ('ann', 'email', 'marketing', 'subscribed'), ('bob', 'email', 'marketing', 'unsubscribed'), ('bob', 'email', 'news', 'subscribed'), ('cat', 'sms', 'marketing', 'subscribed'))
    AS c (name, channel, topic, state) USING (name);
INSERT INTO mktg.event (contact_id, name, occurred_at, properties) SELECT id, 'view', '2026-03-10 04:00+00', '{"page": "home"}' FROM who WHERE name = 'ann';

-- Whom the rules mean, by the statement for each and by the pass for all.
CREATE FUNCTION pg_temp.who(rules text, at timestamptz DEFAULT mktg.clock()) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    statement text; pass text; why text; made bigint;
BEGIN
    SELECT string_agg(name, ' ' ORDER BY name) FILTER (WHERE mktg.matches(id, rules::jsonb, at)),
           string_agg(name, ' ' ORDER BY name) FILTER (WHERE (SELECT passed FROM mktg.why_segment(id, rules::jsonb, at) LIMIT 1)) INTO statement, why FROM who;
    made := mktg.create_segment('who', rules::jsonb);
    PERFORM mktg.refresh_segment(made, at);
    SELECT string_agg(name, ' ' ORDER BY name) INTO pass FROM who WHERE mktg.in_segment(id, made);
    PERFORM mktg.drop_segment(made);
    RETURN CASE WHEN statement IS DISTINCT FROM pass THEN format('statement: %s; pass: %s', statement, pass)
                WHEN statement IS DISTINCT FROM why THEN format('statement: %s; why: %s', statement, why) ELSE coalesce(statement, '-') END;
END $$;
-- {"field": ..., the rest of it}
CREATE FUNCTION pg_temp.leaf(field text, more text) RETURNS text LANGUAGE sql AS $$
    SELECT format('{"field": "%s", %s}', field, more)
$$;

--
-- every operator on every type
--
SELECT is(pg_temp.who(pg_temp.leaf(field, more)), want, concat_ws(' ', field, more)) FROM (VALUES
    -- text
    ('customer.city', '"operator": "=", "value": "Berlin"', 'ann'),
    ('customer.city', '"operator": "!=", "value": "Berlin"', 'bob cat nil'),
    ('customer.city', '"operator": ">", "value": "Berlin"', 'bob'),
    ('customer.city', '"operator": "<", "value": "Berlin"', 'cat'),
    ('customer.city', '"operator": ">=", "value": "Berlin"', 'ann bob'),
    ('customer.city', '"operator": "<=", "value": "Berlin"', 'ann cat'),
    ('customer.city', '"operator": "IN", "value": ["Berlin", ""]', 'ann cat'),
    ('customer.city', '"operator": "NOT_IN", "value": ["Berlin", ""]', 'bob nil'),
    ('customer.city', '"operator": "BETWEEN", "value": ["Berlin", "New York"]', 'ann bob'),
    ('customer.city', '"operator": "BETWEEN", "value": ["New York", "Berlin"]', '-'),
    ('customer.city', '"operator": "CONTAINS", "value": "er"', 'ann'),
    ('customer.city', '"operator": "CONTAINS", "value": ""', 'ann bob cat'),
    ('customer.city', '"operator": "CONTAINS", "value": "%"', '-'),
    ('customer.city', '"operator": "CONTAINS", "value": "_"', '-'),
    ('customer.city', '"operator": "STARTS_WITH", "value": "New"', 'bob'),
    ('customer.city', '"operator": "STARTS_WITH", "value": "new"', '-'),
    ('customer.city', '"operator": "EXISTS"', 'ann bob cat'),
    ('customer.city', '"operator": "NOT_EXISTS"', 'nil'),
    ('customer.city', '"operator": "!=", "value": "Berlin", "not": true', 'ann'),
    ('customer.tier', '"value": "gold"', 'ann'),
    -- numbers of a row: none without a date of birth; a count, which is 0
    ('customer.age', '"operator": "=", "value": 36', 'ann'),
    ('customer.age', '"operator": "!=", "value": 36', 'bob cat nil'),
    ('customer.age', '"operator": ">", "value": 35.5', 'ann'),
    ('customer.age', '"operator": "<", "value": 35.5', 'bob cat'),
    ('customer.age', '"operator": ">=", "value": 35', 'ann bob'),
    ('customer.age', '"operator": "<=", "value": 35', 'bob cat'),
    ('customer.age', '"operator": "IN", "value": [35, 26]', 'bob cat'),
    ('customer.age', '"operator": "NOT_IN", "value": [35, 26]', 'ann nil'),
    ('customer.age', '"operator": "BETWEEN", "value": [26, 35]', 'bob cat'),
    ('customer.age', '"operator": "EXISTS"', 'ann bob cat'),
    ('customer.age', '"operator": "NOT_EXISTS"', 'nil'),
    ('booking.frequency', '"operator": "=", "value": 0', 'nil'),
    ('booking.frequency', '"operator": "!=", "value": 0', 'ann bob cat'),
    ('booking.frequency', '"operator": ">", "value": 2.5', 'ann'),
    ('booking.frequency', '"operator": "<", "value": 1', 'nil'),
    ('booking.frequency', '"operator": "<=", "value": 1', 'cat nil'),
    ('booking.frequency', '"operator": "IN", "value": [0, 3]', 'ann nil'),
    ('booking.frequency', '"operator": "NOT_IN", "value": [0, 3]', 'bob cat'),
    ('booking.frequency', '"operator": "BETWEEN", "value": [1, 2]', 'bob cat'),
    ('booking.frequency', '"operator": "EXISTS"', 'ann bob cat'),
    ('booking.frequency', '"operator": "NOT_EXISTS"', 'nil'),
    -- money: major units, minor ones where the name says so, the tenant's currency alone; a sum is 0 without rows, an average nothing
    ('customer.totalSpend', '"operator": "=", "value": 60', 'ann'),
    ('customer.totalSpend', '"operator": "=", "value": 0', 'cat nil'),
    ('customer.totalSpend', '"operator": "!=", "value": 0', 'ann bob'),
    ('customer.totalSpend', '"operator": ">", "value": 60', 'bob'),
    ('customer.totalSpend', '"operator": ">=", "value": 60.001', 'bob'),
    ('customer.totalSpend', '"operator": "<", "value": 0.01', 'cat nil'),
    ('customer.totalSpend', '"operator": "BETWEEN", "value": [-1, 60]', 'ann cat nil'),
    ('customer.totalSpend', '"operator": "IN", "value": [60, 0]', 'ann cat nil'),
    ('customer.totalSpend', '"operator": "EXISTS"', 'ann bob'),
    ('customer.totalSpend', '"operator": "NOT_EXISTS"', 'cat nil'),
    ('customer.totalSpendMinor', '"operator": "=", "value": 6000', 'ann'),
    ('customer.averageOrder', '"operator": "=", "value": 30', 'ann'),
    ('customer.averageOrder', '"operator": "!=", "value": 30', 'bob cat nil'),
    ('customer.averageOrder', '"operator": "=", "value": 297.505', 'bob'),
    ('customer.averageOrder', '"operator": "NOT_EXISTS"', 'cat nil'),
    ('booking.amount', '"operator": "<", "value": 0', 'bob'),
    ('booking.amount', '"operator": ">", "value": 600', 'bob'),
    ('booking.amountMinor', '"operator": "IN", "value": [5000, 60001]', 'ann bob'),
    -- true and false; an aggregate is false without rows
    ('customer.isActive', '"operator": "=", "value": false', 'bob'),
    ('customer.isActive', '"operator": "!=", "value": false', 'ann cat nil'),
    ('customer.isActive', '"operator": "EXISTS"', 'ann bob cat nil'),
    ('customer.birthdayThisMonth', '"value": true', 'ann bob'),
    ('customer.birthdayThisMonth', '"value": false', 'cat'),
    ('customer.birthdayThisMonth', '"operator": "!=", "value": true', 'cat nil'),
    ('customer.birthdayThisMonth', '"operator": "NOT_EXISTS"', 'nil'),
    ('consent.email', '"value": true', 'ann'),
    ('consent.email', '"value": false', 'bob cat nil'),
    ('consent.email', '"operator": "EXISTS"', 'ann bob'),
    ('consent.email', '"operator": "NOT_EXISTS"', 'cat nil'),
    -- times
    ('customer.createdAt', '"operator": "=", "value": "2026-03-10T12:00:00Z"', 'ann'),
    ('customer.createdAt', '"operator": "=", "value": "2026-03-10 08:00"', 'ann'),
    ('customer.createdAt', '"operator": "=", "value": "2026-02-08"', 'bob cat'),
    ('customer.createdAt', '"operator": "!=", "value": "2026-02-08"', 'ann nil'),
    ('customer.createdAt', '"operator": "BEFORE", "value": "2026-02-08"', 'nil'),
    ('customer.createdAt', '"operator": "<=", "value": "2026-02-08"', 'bob cat nil'),
    ('customer.createdAt', '"operator": "AFTER", "value": "2026-02-08T12:00:00Z"', 'ann cat'),
    ('customer.createdAt', '"operator": ">", "value": "2026-02-08"', 'ann'),
    ('customer.createdAt', '"operator": ">=", "value": "-30 days"', 'ann bob cat'),
    ('customer.createdAt', '"operator": ">", "value": "-30 days"', 'ann cat'),
    ('customer.createdAt', '"operator": "=", "value": "now"', 'ann'),
    ('customer.createdAt', '"operator": "=", "value": "today"', 'ann'),
    ('customer.createdAt', '"operator": ">=", "value": "-1 month"', 'ann'),
    ('customer.createdAt', '"operator": "IN", "value": ["2026-02-08", "today"]', 'ann bob cat'),
    ('customer.createdAt', '"operator": "NOT_IN", "value": ["2026-02-08", "today"]', 'nil'),
    ('customer.createdAt', '"operator": "BETWEEN", "value": ["2020-01-01", "2026-02-08"]', 'bob cat'),
    ('customer.createdAt', '"operator": "WITHIN_LAST", "value": 30', 'ann cat'),
    ('customer.createdAt', '"operator": "NOT_WITHIN_LAST", "value": 30', 'bob nil'),
    ('customer.createdAt', '"operator": "EXISTS"', 'ann bob cat nil'),
    ('customer.lastOrderAt', '"operator": "WITHIN_LAST", "value": 1', 'ann'),
    ('customer.lastOrderAt', '"operator": "NOT_WITHIN_LAST", "value": 1', 'bob cat nil'),
    ('customer.lastOrderAt', '"operator": "NOT_EXISTS"', 'nil'),
    ('customer.daysSinceLastOrder', '"operator": "<=", "value": 1', 'ann bob'),
    ('customer.daysSinceLastOrder', '"operator": "!=", "value": 9', 'ann bob nil'),
    -- dates
    ('customer.birthDate', '"operator": "=", "value": "1990-03-10"', 'ann'),
    ('customer.birthDate', '"operator": "!=", "value": "1990-03-10"', 'bob cat nil'),
    ('customer.birthDate', '"operator": ">", "value": "1990-03-10"', 'bob cat'),
    ('customer.birthDate', '"operator": "<=", "value": "1990-03-10"', 'ann'),
    ('customer.birthDate', '"operator": "BETWEEN", "value": ["1990-03-11", "2000-02-29"]', 'bob cat'),
    ('customer.birthDate', '"operator": "IN", "value": ["1990-03-10", "2000-02-29"]', 'ann cat'),
    ('customer.birthDate', '"operator": "WITHIN_LAST", "value": 36500', 'ann bob cat'),
    ('customer.birthDate', '"operator": "NOT_WITHIN_LAST", "value": 36500', 'nil'),
    ('customer.birthDate', '"operator": "BEFORE", "value": "-30 years"', 'ann bob'),
    ('customer.birthDate', '"operator": "NOT_EXISTS"', 'nil'),
    -- arrays
    ('customer.tags', '"operator": "CONTAINS", "value": "a,b"', 'ann'),
    ('customer.tags', '"operator": "IN", "value": ["vip", "fashion"]', 'ann bob'),
    ('customer.tags', '"operator": "NOT_IN", "value": ["vip", "fashion"]', 'cat nil'),
    ('customer.tags', '"operator": "CONTAINS", "value": "VIP"', '-'),
    ('customer.tags', '"operator": "EXISTS"', 'ann bob nil'),
    ('customer.tags', '"operator": "NOT_EXISTS"', 'cat'),
    ('booking.ancillaries', '"operator": "CONTAINS", "value": "bag"', 'ann'),
    -- keys of objects, by the type of the value
    ('customer.attributes.n', '"operator": "=", "value": 5', 'ann bob'),
    ('customer.attributes.n', '"operator": "!=", "value": 5', 'cat nil'),
    ('customer.attributes.n', '"operator": "IN", "value": [4, 5]', 'ann bob'),
    ('customer.attributes.n', '"operator": "=", "value": "5"', 'ann bob'),
    ('customer.attributes.s', '"operator": "BETWEEN", "value": [7, 7.5]', 'ann'),
    ('customer.attributes.t', '"value": "x"', 'ann'),
    ('customer.attributes.t', '"operator": "!=", "value": "x"', 'bob cat nil'),
    ('customer.attributes.t', '"operator": "EXISTS"', 'ann bob cat'),
    ('customer.attributes.e', '"operator": "EXISTS"', '-'),
    ('customer.attributes.b', '"value": true', 'ann'),
    ('customer.attributes.b', '"value": false', 'bob'),
    ('customer.attributes.b', '"operator": "!=", "value": true', 'bob cat nil'),
    ('customer.attributes.l', '"operator": "CONTAINS", "value": "p"', 'ann bob'),
    ('customer.attributes.l', '"operator": "IN", "value": ["q", "z"]', 'ann'),
    ('customer.attributes.l', '"operator": "NOT_IN", "value": ["q", "z"]', 'bob cat nil'),
    ('customer.attributes.d', '"operator": "BEFORE", "value": "2026-03-02"', 'ann'),
    ('customer.attributes.d', '"operator": "AFTER", "value": "2026-03-09"', '-'),
    ('customer.attributes.d', '"operator": "AFTER", "value": "2026-03-09T20:00:00Z"', 'bob'),
    ('customer.attributes.d', '"operator": "WITHIN_LAST", "value": 1', 'bob'),
    ('customer.attributes.d', '"operator": "NOT_WITHIN_LAST", "value": 1', 'ann cat nil'),
    ('event.properties.page', '"value": "home"', 'ann'),
    -- within_days: later than so long ago, up to now; where: of the same row
    ('booking.frequency', '"operator": ">=", "value": 1, "within_days": 30', 'ann bob cat'),
    ('booking.frequency', '"operator": "=", "value": 2, "within_days": 30', 'ann'),
    ('booking.frequency', '"operator": "=", "value": 2, "within_days": 30.001', '-'),
    ('booking.cabinClass', '"value": "FIRST"', 'ann'),
    ('booking.cabinClass', '"value": "ECONOMY", "within_days": 30', '-'),
    ('booking.cabinClass', '"operator": "!=", "value": "FIRST"', 'bob cat nil'),
    ('booking.cabinClass', '"value": "FIRST", "where": {"field": "booking.channel", "value": "agent"}', '-'),
    ('booking.cabinClass', '"value": "FIRST", "where": [{"field": "booking.channel", "value": "web"}, {"field": "booking.amount", "value": 10}]', 'ann'),
    ('customer.totalSpend', '"operator": ">", "value": 49, "where": {"logic": "OR", "rules": [{"field": "booking.channel", "value": "agent"}, {"field": "booking.channel", "value": "mobile"}]}', 'ann bob'),
    ('booking.frequency', '"operator": "=", "value": 0, "where": {"field": "booking.channel", "value": "web", "not": true}', 'cat nil'),
    ('booking.advanceDays', '"operator": "=", "value": 4', 'ann'),
    ('booking.weekday', '"operator": "=", "value": 6', 'ann'),
    ('booking.partySize', '"operator": ">=", "value": 2', 'ann bob'),
    ('booking.ancillaryCount', '"operator": "=", "value": 2', 'ann'),
    ('customer.lifecycleStage', '"value": "New"', 'cat'),
    ('customer.lifecycleStage', '"operator": "!=", "value": "New"', 'ann bob nil'),
    -- names and operators as people spell them
    ('CUSTOMER.CITY', '"operator": "==", "value": "Berlin"', 'ann'),
    ('customer.total_spend', '"operator": "<>", "value": 0', 'ann bob'),
    ('customer.city', '"operator": "not in", "value": ["Berlin"]', 'bob cat nil'),
    ('customer.createdAt', '"operator": "within-last", "value": 30', 'ann cat')) AS v (field, more, want);

-- the instant asked for: rows later than it do not count, dates are days of the tenant's zone
SELECT is(pg_temp.who(pg_temp.leaf('booking.frequency', '"operator": ">", "value": 1'), '2026-03-10 12:00:00.000001+00'), 'ann bob cat', 'a row counts from its own instant on');
SELECT is(pg_temp.who(pg_temp.leaf('customer.totalSpend', '"operator": "=", "value": 0'), '2025-03-10 11:59:59.999999+00'), 'ann bob cat nil', 'and not before');
SELECT is(pg_temp.who(pg_temp.leaf('event.at', '"operator": "=", "value": "2026-03-10"')), 'ann', 'midnight in New York begins the day');
SELECT is(pg_temp.who(pg_temp.leaf('event.at', '"operator": "=", "value": "2026-03-09"')), '-', 'and does not end the one before');

--
-- short forms
--
SELECT is(pg_temp.who(rules), want, rules) FROM (VALUES
    ('{"hasTickets": true, "hasPurchasedInLast30Days": true, "totalSpentGreaterThan": 100, "emailEnabled": true}', '-'),
    ('{"hasTickets": true, "hasPurchasedInLast30Days": true, "totalSpentGreaterThan": 59.99, "emailEnabled": true}', 'ann'),
    ('{"hasTickets": false}', 'nil'),
    ('{"emailEnabled": false}', 'bob cat nil'),
    ('{"customer_tier": "gold", "city": "Berlin", "tags": ["vip", "accessories"]}', 'ann'),
    ('{"customer_tier": "premium", "city": "New York", "tags": ["fashion", "accessories"]}', '-'),
    ('{"city": ["Berlin", "New York"]}', 'ann bob'),
    ('{"tags": "fashion"}', 'bob'),
    ('{"lifecycle_stage": "Active", "tags": ["vip"], "min_order_count": 3, "min_ltv": 60}', 'ann'),
    ('{"lifecycle_stage": "Active", "tags": ["vip"], "min_order_count": 4, "min_ltv": 60}', '-'),
    ('{"categories": ["COMEDY", "MUSIC"], "attended_in_last_days": 180, "city": "Berlin", "price_ceiling": 60000}', 'ann'),
    -- one and the same booking: bob's MUSIC is a year old, his new one too dear; cat's is not in dollars
    ('{"categories": ["COMEDY", "MUSIC"], "attended_in_last_days": 180}', 'ann cat'),
    ('{"categories": ["COMEDY", "MUSIC"], "attended_in_last_days": 180, "price_ceiling": 60000}', 'ann'),
    ('{"categories": ["SPORT"], "price_ceiling": 60000}', '-'),
    ('{"logic": "AND", "rules": [{"categories": ["SPORT"]}, {"price_ceiling": 60000}]}', 'bob'),
    ('{"categories": ["SPORT"], "not": true}', 'ann cat nil'),
    ('{"logic": "AND", "rules": [{"field": "customer.totalSpend", "operator": ">=", "value": 5000}, {"field": "booking.frequency", "operator": ">=", "value": 10, "within_days": 365}, {"field": "booking.cabinClass", "operator": "IN", "value": ["BUSINESS", "FIRST"]}, {"field": "customer.rfmSegment", "operator": "IN", "value": ["Champions", "Loyal"]}]}', '-'),
    ('{"logic": "AND", "rules": [{"field": "customer.totalSpend", "operator": ">=", "value": 60}, {"field": "booking.frequency", "operator": ">=", "value": 3, "within_days": 365}, {"field": "booking.cabinClass", "operator": "IN", "value": ["BUSINESS", "FIRST"]}, {"field": "customer.rfmSegment", "operator": "NOT_IN", "value": ["Champions", "Loyal"]}]}', 'ann'),
    ('{"logic": "OR", "not": true, "rules": [{"city": "Berlin"}, {"not": true, "rules": [{"city": "New York"}]}]}', 'bob')) AS v (rules, want);

-- keys that look back differently still mean one booking
SELECT mktg.define_alias('recent_cabin', '{"field": "booking.cabinClass", "value": "$value", "within_days": 7}') \g /dev/null
SELECT is(pg_temp.who('{"recent_cabin": "FIRST", "categories": ["COMEDY"]}'), '-', 'the one is FIRST, the other COMEDY');
SELECT is(pg_temp.who('{"recent_cabin": "FIRST", "categories": ["MUSIC"]}'), 'ann', 'this is both');

-- other segments
SELECT mktg.create_segment('O''Hare "x"', '{"city": "Berlin"}') AS berlin, mktg.create_segment('by hand', kind => 'static') AS hand \gset
SELECT mktg.add_to_segment(:hand, ARRAY(SELECT id FROM who WHERE name IN ('bob', 'nil'))) \g /dev/null
SELECT is(pg_temp.who('{"segment": "O''Hare \"x\""}'), 'ann', 'by name');
SELECT is(pg_temp.who(format('{"segment": %s, "not": true}', :hand)), 'ann cat', 'by number, negated');
SELECT is(pg_temp.who('{"logic": "OR", "rules": [{"segment": "by hand"}, {"city": ""}]}'), 'bob cat nil', 'among others');

--
-- what is refused, and where it is
--
CREATE FUNCTION pg_temp.no(rules text) RETURNS text LANGUAGE sql AS $$
    SELECT regexp_replace(pg_temp.refusal(format('SELECT mktg.matches(%s, %L)', (SELECT id FROM who WHERE name = 'ann'), rules)), ' \| The language is described.*', '')
$$;
SELECT is(pg_temp.no(rules), want, rules) FROM (VALUES
    ('[]', 'MK026 | invalid rule: rules must be a JSON object'),
    ('{}', 'MK026 | invalid rule: rule is empty'),
    ('{"rules": []}', 'MK026 | invalid rule at rules: "rules" is empty'),
    ('{"logic": "XOR", "rules": [{"city": "x"}]}', 'MK026 | invalid rule at logic: "logic" must be AND or OR'),
    ('{"rules": [{"city": "x"}, {"field": "customer.cty", "value": "x"}]}', 'MK027 | invalid rule at rules[1].field: field "customer.cty" does not exist | Did you mean "customer.city"?'),
    ('{"rules": [{"rules": [{"field": "totalSpend", "value": 1}]}]}', 'MK027 | invalid rule at rules[0].rules[0].field: field "totalSpend" does not exist | Did you mean "customer.totalSpend"?'),
    ('{"field": "zzzzzz", "value": 1}', 'MK027 | invalid rule at field: field "zzzzzz" does not exist | The view mktg.rule_field lists the fields.'),
    ('{"rules": [{"ctiy": "x"}]}', 'MK027 | invalid rule at rules[0].ctiy: short key "ctiy" does not exist | Did you mean "city"?'),
    ('{"field": "customer.city", "operator": "LIKE", "value": "x"}', 'MK026 | invalid rule at operator: there is no operator "LIKE" | Operators are = != > < >= <= IN NOT_IN BETWEEN CONTAINS STARTS_WITH EXISTS NOT_EXISTS BEFORE AFTER WITHIN_LAST NOT_WITHIN_LAST.'),
    ('{"field": "customer.city", "operator": "CONTIANS", "value": "x"}', 'MK026 | invalid rule at operator: there is no operator "CONTIANS" | Perhaps CONTAINS is meant.'),
    ('{"field": "customer.city", "operator": "AFTER", "value": "x"}', 'MK026 | invalid rule at operator: operator AFTER is not for field customer.city, which is of type text | Operators for it are = != > < >= <= IN NOT_IN BETWEEN CONTAINS STARTS_WITH EXISTS NOT_EXISTS.'),
    ('{"field": "customer.tags", "operator": "=", "value": "x"}', 'MK026 | invalid rule at operator: operator = is not for field customer.tags, which is of type array | Operators for it are IN NOT_IN CONTAINS EXISTS NOT_EXISTS.'),
    ('{"field": "customer.city", "value": 5}', 'MK026 | invalid rule at value: field customer.city needs a string | Write it in quotes, such as "value": "gold".'),
    ('{"rules": [{"field": "customer.city", "operator": "IN", "value": ["a", true]}]}', 'MK026 | invalid rule at rules[0].value[1]: field customer.city needs a string | Write it in quotes, such as "value": "gold".'),
    ('{"field": "customer.age", "value": "36"}', 'MK026 | invalid rule at value: field customer.age needs a number | Give it without quotes.'),
    ('{"field": "customer.totalSpend", "operator": "BETWEEN", "value": [1, "x"]}', 'MK026 | invalid rule at value[1]: field customer.totalSpend needs a number | Give it without quotes, in major units of the tenant''s currency.'),
    ('{"field": "customer.isActive", "value": "true"}', 'MK026 | invalid rule at value: field customer.isActive needs true or false'),
    ('{"field": "customer.createdAt", "operator": "AFTER", "value": "soon"}', 'MK026 | invalid rule at value: field customer.createdAt needs a time | Write "2026-01-31", "2026-01-31 18:00", "2026-01-31T18:00:00Z", "now", "today" or "-30 days".'),
    ('{"field": "customer.createdAt", "operator": "AFTER", "value": "2026-02-30"}', 'MK026 | invalid rule at value: field customer.createdAt needs a time | Write "2026-01-31", "2026-01-31 18:00", "2026-01-31T18:00:00Z", "now", "today" or "-30 days".'),
    ('{"field": "customer.city", "operator": "IN", "value": []}', 'MK026 | invalid rule at value: list of IN is empty'),
    ('{"field": "customer.city", "operator": "IN", "value": "x"}', 'MK026 | invalid rule at value: IN takes a list | Write a list in brackets, even of one value.'),
    ('{"field": "customer.city", "operator": "=", "value": ["x"]}', 'MK026 | invalid rule at value: = takes one value, not a list | Use IN or NOT_IN for a list, BETWEEN for a range.'),
    ('{"field": "customer.age", "operator": "BETWEEN", "value": [1]}', 'MK026 | invalid rule at value: BETWEEN takes a list of two values | Write the least and the greatest value in brackets.'),
    ('{"field": "customer.age", "operator": "EXISTS", "value": false}', 'MK026 | invalid rule at value: EXISTS takes no value | Leave "value" out.'),
    ('{"field": "customer.age", "operator": ">"}', 'MK026 | invalid rule: > needs a value'),
    ('{"field": "customer.age", "operator": ">", "value": null}', 'MK026 | invalid rule at value: value is null | Use EXISTS or NOT_EXISTS to ask whether there is a value.'),
    ('{"field": "customer.age", "operator": ">", "value": {"a": 1}}', 'MK026 | invalid rule at value: value is an object | A value is a string, a number, true, false or a list of these.'),
    ('{"categories": []}', 'MK026 | invalid rule at categories: list of "categories" is empty'),
    ('{"hasTickets": "yes"}', 'MK026 | invalid rule at hasTickets: value must be true or false'),
    ('{"min_ltv": "much"}', 'MK026 | invalid rule at min_ltv: field customer.totalSpend needs a number | Give it without quotes, in major units of the tenant''s currency.'),
    ('{"field": "booking.frequency", "operator": ">", "value": 1, "within_days": 0}', 'MK026 | invalid rule at within_days: "within_days" must be a number of days | It must be above 0 and at most 36500.'),
    ('{"field": "booking.frequency", "operator": ">", "value": 1, "within_days": "30"}', 'MK026 | invalid rule at within_days: "within_days" must be a number of days | It must be above 0 and at most 36500.'),
    ('{"field": "booking.frequency", "operator": ">", "value": 1, "within_days": 36501}', 'MK026 | invalid rule at within_days: "within_days" must be a number of days | It must be above 0 and at most 36500.'),
    ('{"field": "customer.city", "value": "x", "within_days": 30}', 'MK026 | invalid rule at within_days: source contact has no time | within_days counts the rows of the last days: it needs a source with a time column.'),
    ('{"field": "customer.createdAt", "operator": "WITHIN_LAST", "value": -1}', 'MK026 | invalid rule at value: WITHIN_LAST takes a number of days | It must be above 0 and at most 36500.'),
    ('{"field": "booking.frequency", "operator": ">", "value": 1, "where": {"field": "customer.city", "value": "x"}}', 'MK026 | invalid rule at where.field: field customer.city is not one of source booking | Conditions of "where" are on the rows that are counted.'),
    ('{"field": "booking.frequency", "operator": ">", "value": 1, "where": [{"field": "booking.channel", "value": "x"}, {"field": "customer.totalSpend", "value": 1}]}', 'MK026 | invalid rule at where[1].field: field customer.totalSpend is an aggregate | Conditions of "where" are on single rows.'),
    ('{"field": "booking.frequency", "operator": ">", "value": 1, "where": {"field": "booking.channel", "value": "x", "within_days": 3}}', 'MK026 | invalid rule at where.within_days: "within_days" cannot stand within "where"'),
    ('{"field": "booking.frequency", "operator": ">", "value": 1, "where": {"city": "x"}}', 'MK026 | invalid rule at where: short form cannot stand within "where" | Write a condition with "field", "operator" and "value".'),
    ('{"field": "customer.city", "operater": "=", "value": "x"}', 'MK026 | invalid rule at operater: rule has no key "operater" | Perhaps "operator" is meant.'),
    ('{"field": "customer.city", "rules": []}', 'MK026 | invalid rule: "field" and "rules" cannot stand together'),
    ('{"segment": "nobody"}', 'MK019 | invalid rule at segment: segment "nobody" does not exist | The view mktg.segment_list lists them.'),
    ('{"rules": [{"segment": 0}]}', 'MK026 | invalid rule at rules[0].segment: "segment" must be the name or the number of a segment')) AS v (rules, want);

SELECT is(pg_temp.no(repeat('{"rules": [', 40) || '{"city": "x"}' || repeat(']}', 40)), 'MK025 | invalid rule: rules are nested too deeply | Objects and arrays may be nested at most 64 deep.', 'too deep');
SELECT is(pg_temp.no('{"rules": [' || repeat('{"city": "x"}, ', 500) || '{"city": "x"}]}'), 'MK025 | invalid rule at rules[499].city: there are too many rules | There may be at most 1000 rules, groups and conditions together.', 'too many');
SELECT is(pg_temp.no('{"field": "customer.city", "operator": "IN", "value": [' || repeat('"x", ', 10000) || '"x"]}'), 'MK025 | invalid rule at value: list is too long | A list may hold at most 10000 values.', 'too long a list');
SELECT is(pg_temp.refusal(format('SELECT mktg.update_segment(%s, ''{"rules": [{"segment": %s}]}'')', :berlin, :berlin)),
    'MK026 | invalid rule at rules[0].segment: segment "O''Hare "x"" is made of itself | Take one of the segments out of the circle.', 'a circle');
SELECT is(pg_temp.refusal('SELECT mktg.matches(-1, ''{"city": "x"}'')') ~ '^MK011', true, 'nobody');

--
-- what others write is a value or a name and never more
--
CREATE TEMP TABLE evil (n integer, text text);
INSERT INTO evil SELECT row_number() OVER (), text FROM (VALUES ('''; DROP TABLE mktg.contact; --'), ('" OR true --'), ('$1'), ('$5'), ('\'), ('\''; SELECT 1 --'), ('E''\x27'), ('/* x */'), ('-- x'), ('%s %I %L'),
    ('x'' || pg_sleep(10) || '''), ('{"a": 1}'), ('}'), (E'line\nline'), (E'tab\t'), ('Zürich ☃ 𝕏'), (chr(160)), (repeat('x', 170)), ('NULL'), ('${jndi:ldap}'), (';'), ('$$'), ('$a$'), ('_'), ('rule_at'), ('.'), ('a.b.c'), ('..'), ('"'), (E'\u2028')) AS e (text);
CREATE FUNCTION pg_temp.with_text(form text, evil text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT replace(form, '@', substr(j, 2, length(j) - 2))::jsonb FROM to_json(evil) AS t (x), LATERAL (SELECT x::text AS j) y
$$;
UPDATE mktg.contact SET city = 'as it is', name = 'as it is' WHERE contact_id = (SELECT id FROM who WHERE name = 'nil');

-- values: nobody has them, then somebody has
SELECT is(string_agg(pg_temp.who(pg_temp.with_text('{"field": "customer.city", "operator": "=", "value": "@"}', text)::text), ' ' ORDER BY n), repeat('- ', 29) || '-', 'values: nobody''s') FROM evil;
CREATE FUNCTION pg_temp.found(form text, evil text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    UPDATE mktg.contact SET city = evil, tags = ARRAY[evil], attributes = jsonb_build_object('k', evil, evil, 'v', 'l', jsonb_build_array(evil)) WHERE contact_id = (SELECT id FROM who WHERE name = 'nil');
    found := pg_temp.who(pg_temp.with_text(form, evil)::text);
    RETURN found = 'nil';
END $$;
SELECT is(string_agg(text, ' ' ORDER BY n) FILTER (WHERE NOT pg_temp.found(form, text)), NULL, 'literally: ' || form) FROM evil, unnest(ARRAY[
    '{"field": "customer.city", "operator": "=", "value": "@"}', '{"field": "customer.city", "operator": "IN", "value": ["@"]}',
    '{"logic": "AND", "rules": [{"field": "customer.city", "operator": "CONTAINS", "value": "@"}, {"field": "customer.name", "value": "as it is"}]}',
    '{"logic": "AND", "rules": [{"field": "customer.city", "operator": "STARTS_WITH", "value": "@"}, {"field": "customer.name", "value": "as it is"}]}',
    '{"field": "customer.city", "operator": "BETWEEN", "value": ["@", "@"]}', '{"field": "customer.tags", "operator": "CONTAINS", "value": "@"}',
    '{"field": "customer.attributes.k", "value": "@"}', '{"field": "customer.attributes.l", "operator": "CONTAINS", "value": "@"}', '{"field": "customer.attributes.@", "value": "v"}', '{"city": "@"}']) AS form GROUP BY form ORDER BY form;

-- names: there are no such ones, and nothing else happens
SELECT is(string_agg(DISTINCT left(pg_temp.refusal(format('SELECT mktg.matches(%s, %L)', (SELECT id FROM who WHERE name = 'ann'), pg_temp.with_text(form, text))), 5), ' '), want, 'refused: ' || form)
  FROM evil, (VALUES ('{"field": "@", "value": "x"}', 'MK027'), ('{"field": "customer.@", "value": "x"}', 'MK027'), ('{"@": "x"}', 'MK027'), ('{"segment": "@"}', 'MK019'),
    ('{"field": "customer.city", "operator": "@", "value": "x"}', 'MK026'), ('{"field": "customer.createdAt", "operator": "AFTER", "value": "@"}', 'MK026'), ('{"field": "customer.age", "value": "@"}', 'MK026')) AS f (form, want)
 GROUP BY form, want ORDER BY form;

-- segments may be called anything
SELECT is(string_agg(text, ' ') FILTER (WHERE NOT coalesce(members = 1, false)), NULL, 'names of segments') FROM evil, LATERAL (SELECT mktg.create_segment(text, kind => 'static') AS id) s,
    LATERAL (SELECT mktg.add_to_segment(s.id, ARRAY(SELECT w.id FROM who w WHERE w.name = 'ann'))) a, LATERAL (SELECT mktg.estimate_segment(pg_temp.with_text('{"segment": "@"}', text)) AS members WHERE a IS NOT NULL) m;

-- NUL is no character of a text
SELECT is(pg_temp.no('{"field": "customer.city", "value": "a\u0000b"}') ~ '^22P05', true, 'NUL in a value');
SELECT is(pg_temp.no('{"a\u0000b": "x"}') ~ '^22P05', true, 'NUL in a key');

-- the statement holds parameters alone: what was given stands in the comments behind it
CREATE FUNCTION pg_temp.statement_of(rules jsonb) RETURNS text LANGUAGE sql AS $$ SELECT split_part(mktg.explain_segment(rules), E'\n-- $1 = ', 1) $$;
SELECT is(count(DISTINCT pg_temp.statement_of(pg_temp.with_text(form, 'value' || text)))::integer, 1, 'one statement for all values: ' || form) FROM evil, unnest(ARRAY[
    '{"field": "customer.city", "operator": "=", "value": "@"}', '{"field": "customer.city", "operator": "IN", "value": ["@"]}', '{"field": "customer.city", "operator": "CONTAINS", "value": "@"}',
    '{"field": "customer.tags", "operator": "CONTAINS", "value": "@"}', '{"field": "booking.channel", "operator": "!=", "value": "@"}', '{"field": "customer.attributes.k", "operator": "<", "value": "@"}',
    '{"field": "booking.frequency", "operator": ">", "value": 1, "where": {"field": "booking.category", "operator": "STARTS_WITH", "value": "@"}}', '{"city": "@"}', '{"categories": ["@"], "price_ceiling": 5}']) AS form
 GROUP BY form ORDER BY form;
SELECT is(pg_temp.statement_of('{"field": "customer.totalSpend", "operator": ">", "value": 123456}') ~ '123456', false, 'nor numbers');
SELECT is(pg_temp.statement_of('{"field": "booking.frequency", "operator": ">", "value": 77, "within_days": 7654}') ~ '77|7654', false, 'nor days');
SELECT is(pg_temp.statement_of('{"field": "customer.createdAt", "operator": ">", "value": "2019-05-06"}') ~ '2019', false, 'nor times');
SELECT is((SELECT count(*) FROM mktg.contact WHERE tenant_id = 1)::integer, 4, 'and all are still there');

SELECT * FROM finish();
ROLLBACK;
