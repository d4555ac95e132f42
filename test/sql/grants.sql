\set ECHO none
\i test/setup.sql
-- examples/grants.sql: what it lets each role do, and what not.

BEGIN;
SELECT plan(72);

CREATE ROLE grants_admin;
CREATE ROLE grants_app;
\set admin grants_admin
\set app grants_app
\i examples/grants.sql
\i examples/grants.sql

SELECT pass('the script can be run twice');

CREATE SERVER grants_hook FOREIGN DATA WRAPPER mktg_provider
    OPTIONS (driver 'webhook', url 'https://hooks.example.com/in');
SELECT mktg.set_credential('grants_hook', 'secret', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
-- a template and a contact of somebody else's, to build on
SELECT mktg.create_template('grants', 'email', 'Hello', body => 'Hello {{name}}.') AS template \gset

-- and a segment, whose rules read what contacts do
SELECT mktg.create_segment('grants', '{"logic": "AND", "rules": [{"field": "customer.orderCount", "operator": ">=", "value": 1},
    {"field": "cart.count", "operator": ">=", "value": 0}, {"field": "event.count", "operator": ">=", "value": 0}]}') AS segment \gset
-- one rule for each field that ships
CREATE TEMPORARY TABLE grants_rule AS
    SELECT jsonb_build_object('logic', 'OR', 'rules', jsonb_agg(jsonb_build_object('field', replace(name, '.KEY', '.key'), 'operator', 'EXISTS'))
               || '[{"field": "customer.attributes.a", "operator": ">", "value": 1}, {"field": "customer.attributes.a", "value": true},
                    {"field": "customer.attributes.a", "operator": "CONTAINS", "value": "x"},
                    {"field": "customer.attributes.a", "operator": "AFTER", "value": "today"}]') AS rules
      FROM mktg.rule_field WHERE tenant_id = 1 AND NOT is_own;
GRANT SELECT ON grants_rule TO grants_app, grants_admin;

-- a message in an inbox
INSERT INTO mktg.inbox_message (tenant_id, contact_id, campaign_id, ref, body, created_at, expires_at)
    VALUES (1, 900, 900, '', 'Hello', mktg.clock(), mktg.clock() + interval '1 day');

---- app: contacts, consent, messages, statistics

SET LOCAL ROLE grants_app;
SELECT lives_ok($$SELECT mktg.upsert_contact('{"external_id": "grants-1", "email": "one@grants.example"}')$$,
                'app makes a contact');
SELECT lives_ok($$SELECT mktg.upsert_contact('{"external_id": "grants-1", "city": "Rome"}')$$,
                'app changes a contact');
SELECT contact_id AS contact FROM mktg.contact WHERE external_id = 'grants-1' \gset
SELECT lives_ok(format('SELECT mktg.subscribe(%s, ''email'')', :contact), 'app subscribes');
SELECT lives_ok(format('SELECT mktg.unsubscribe(%s, ''email'')', :contact), 'app unsubscribes');
SELECT lives_ok($$SELECT mktg.suppress('email', 'two@grants.example')$$, 'app suppresses');
SELECT lives_ok(format('SELECT mktg.send(%s, ''grants'', idempotency_key => ''k'')', :contact),
                'app sends, and makes the stream of the template');
SELECT mktg.send(:contact, 'grants', idempotency_key => 'k') AS message \gset
SELECT lives_ok(format('SELECT mktg.send(%s, ''grants'', variables => ''{"a": 1}'')', :contact),
                'app sends in the stream that is there');
SELECT is(mktg.record_status(:'message', 'delivered'), true, 'app records a status');
SELECT is(mktg.record_status(:'message', 'opened'), true, 'app records an event');
SELECT is(mktg.record_status(:'message', 'unsubscribed'), true, 'app records an unsubscription');
SELECT is(mktg.record_status(:'message', 'complained'), true, 'app records a complaint');
SELECT campaign_id AS campaign FROM mktg.campaign_list WHERE name = 'grants' \gset
SELECT is((SELECT total_target FROM mktg.campaign_stats(:campaign)), 2::bigint, 'app reads statistics');
SELECT lives_ok($$SELECT FROM mktg.campaign_list, mktg.campaign_daily, mktg.send_calendar,
                mktg.recipient, mktg.failed_sends, mktg.in_doubt LIMIT 1$$, 'app reads the views');

SELECT is_empty(format('SELECT * FROM mktg.inbox(%s)', :contact), 'app reads an inbox');
SELECT is(mktg.mark_read('1-900-900'), true, 'and says what was read');

---- app: what contacts do, questions about segments

SELECT lives_ok(format('INSERT INTO mktg.purchase (contact_id, amount) VALUES (%s, 4900)', :contact), 'app writes a purchase');
SELECT lives_ok(format('INSERT INTO mktg.event (contact_id, name) VALUES (%s, ''search'')', :contact), 'app writes an event');
SELECT lives_ok(format('INSERT INTO mktg.cart (contact_id, amount) VALUES (%s, 4900)', :contact), 'app writes a cart');
SELECT lives_ok(format('UPDATE mktg.cart SET recovered_at = mktg.clock() WHERE contact_id = %s', :contact), 'app changes a cart');
SELECT is(mktg.matches(:contact, '{"hasTickets": true, "min_ltv": 49}'), true, 'app asks about a contact');
SELECT is(mktg.matches(:contact, (SELECT rules FROM grants_rule)), true, 'by any field that ships');
SELECT is((SELECT count(*) FROM mktg.why_segment(:contact, (SELECT rules FROM grants_rule))),
          (SELECT count(*) + 5 FROM mktg.rule_field WHERE tenant_id = 1 AND NOT is_own), 'and why');
SELECT is(mktg.in_segment(:contact, :segment), false, 'app asks who is in a segment');
SELECT is(mktg.audience_size(ARRAY[:segment]), 0::bigint, 'and how many are');
SELECT lives_ok($$SELECT FROM mktg.segment_list, mktg.segment_member, mktg.rule_operator LIMIT 1$$,
                'app reads the views of segments');

---- app: offers

RESET ROLE;
SELECT mktg.create_promo('GRANTS', 'percent', 10, usage_limit => 5, per_contact_limit => 4, budget => 1000) AS promo \gset
SELECT mktg.generate_codes(:promo, 1, 'GRANTS') \gset ignored_
SET LOCAL ROLE grants_app;
SELECT '{"lines": [{"item": "x", "unit_price": 1000}]}' AS promo_cart \gset
SELECT is((SELECT public_reason FROM mktg.validate_promo('grants', :contact, :'promo_cart'), mktg.public_reason(reason)), 'ok', 'app validates a promo code');
SELECT lives_ok(format('SELECT mktg.best_offers(%s, %L, ''{grants}''), mktg.quote(%1$s, %2$L, ''{grants}''), mktg.effective_price(''x'', 1)', :contact, :'promo_cart'), 'app asks for prices');
SELECT redemption_id AS redemption FROM mktg.redeem_promo((SELECT code FROM mktg.promo_code WHERE offer_id = :promo), :contact, :'promo_cart', 'grants', 'grants') \gset
SELECT is(mktg.reverse_redemption(:redemption), 0::bigint, 'app redeems one and takes it back');
SELECT is((SELECT mktg.commit_redemption(redemption_id, 'grants-2') FROM mktg.reserve_promo('grants', :contact, :'promo_cart', 'grants-2')), true, 'app reserves and commits');
SELECT is((SELECT mktg.release_redemption(redemption_id) FROM mktg.reserve_promo('grants', :contact, :'promo_cart', 'grants-3')), true, 'app reserves and releases');
SELECT throws_ok($$SELECT mktg.create_promo('x', 'percent', 10)$$, '42501', NULL, 'app may not make promos');
SELECT throws_ok(format('SELECT mktg.update_promo(%s, ''{"value": 90}'')', :promo), '42501', NULL, 'nor change them');
SELECT throws_ok($$UPDATE mktg.offer SET value = 90$$, '42501', NULL, 'past the function');

---- app: not senders, providers, credentials, campaigns, the log

PREPARE refused_sender AS SELECT mktg.set_sender('sandbox', 'mktg_sandbox');
SELECT throws_ok('refused_sender', '42501', NULL, 'app may not call set_sender()');
SELECT throws_ok($$UPDATE mktg.sender SET daily_limit = 1$$, '42501', NULL, 'app may not change senders');
SELECT throws_ok($$SELECT mktg.set_credential('grants_hook', 'secret', NULL)$$, '42501', NULL,
                 'app may not change credentials');
SELECT is_empty($$SELECT umoptions FROM pg_user_mappings WHERE umoptions IS NOT NULL$$,
                'app reads no credentials');
SELECT throws_ok($$SELECT * FROM pg_user_mapping$$, '42501', NULL, 'nor past the view');
SELECT throws_ok($$CREATE SERVER grants_other FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'sandbox')$$,
                 '42501', NULL, 'app may not make providers');
SELECT throws_ok($$SELECT mktg.create_campaign('x', 'email')$$, '42501', NULL, 'app may not make campaigns');
SELECT throws_ok(format('SELECT mktg.cancel_campaign(%s)', :campaign), '42501', NULL, 'app may not end them');
SELECT throws_ok($$SELECT mktg.unsuppress('email', 'two@grants.example')$$, '42501', NULL,
                 'app may not lift a suppression');
SELECT throws_ok($$SELECT mktg.create_segment('x', '{"city": "Rome"}')$$, '42501', NULL, 'app may not make segments');
SELECT throws_ok(format('SELECT mktg.refresh_segment(%s)', :segment), '42501', NULL, 'app may not refresh them');
SELECT throws_ok(format('UPDATE mktg.segment SET rules = ''{}'' WHERE segment_id = %s', :segment), '42501', NULL,
                 'nor change their rules');
SELECT throws_ok($$UPDATE mktg.field SET expression = 'now()'$$, '42501', NULL, 'app may not write the registry');
SELECT throws_ok($$DELETE FROM mktg.consent_log$$, '42501', NULL, 'app may not touch the log of consent');
SELECT throws_ok($$UPDATE mktg.message SET address = 'x'$$, '42501', NULL, 'app may not readdress messages');
SELECT throws_ok($$SELECT mktg.arm_delivery()$$, '42501', NULL, 'app may not arm delivery');

---- admin

RESET ROLE;
DELETE FROM mktg.suppression;
SET LOCAL ROLE grants_admin;
SELECT is((SELECT added FROM mktg.add_recipients(
              mktg.create_campaign('Grants', 'email', 'grants', type => 'transactional'), ARRAY[:contact])),
          1::bigint, 'admin makes a campaign with a recipient');
SELECT campaign_id AS campaign FROM mktg.campaign WHERE name = 'Grants' \gset
SELECT lives_ok(format('SELECT mktg.activate_campaign(%s, (mktg.clock() AT TIME ZONE ''UTC'')::date)', :campaign),
                'admin activates it');
SELECT is((SELECT messages_queued FROM mktg.process_daily()), 1::bigint, 'admin queues its batch');
SELECT lives_ok(format('SELECT mktg.cancel_campaign(%s)', :campaign), 'admin cancels it');
SELECT lives_ok($$SELECT mktg.set_sender('grants', 'mktg_sandbox', daily_limit => 5)$$, 'admin makes a sender');
SELECT lives_ok($$CREATE SERVER grants_own FOREIGN DATA WRAPPER mktg_provider
                  OPTIONS (driver 'webhook', url 'https://hooks.example.com/own')$$, 'admin makes a provider');
SELECT lives_ok($$SELECT mktg.set_credential('grants_own', 'secret', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw')$$,
                'and gives it its credential');
SELECT throws_ok($$SELECT mktg.set_credential('grants_hook', 'secret', NULL)$$, '42501', NULL,
                 'admin may not change the credentials of others');
SELECT is((SELECT entered FROM mktg.refresh_segments() WHERE name = 'grants'), 1::bigint, 'admin refreshes segments');
SELECT lives_ok(format('SELECT mktg.estimate_segment(%L)', (SELECT rules FROM grants_rule)), 'admin counts by any field that ships');
SELECT is((SELECT mktg.refresh_dirty() >= 0), true, 'and those who changed');
SELECT lives_ok($$SELECT mktg.drop_segment(mktg.create_segment('grants 2', '{"city": "Rome"}'))$$, 'admin makes and drops a segment');
SELECT is((SELECT added FROM mktg.add_audience(mktg.create_campaign('Audience', 'email', 'grants', type => 'transactional',
              target_audience => format('{"segment": %s}', :segment)::jsonb))), 1::bigint, 'admin adds an audience');
SELECT throws_ok($$SELECT mktg.define_field('booking.x', 'booking', 'amount', 'number')$$, '42501', NULL,
                 'admin may not define fields');
SELECT throws_ok($$UPDATE mktg.field SET expression = 'now()'$$, '42501', NULL, 'nor write the registry past the function');
SELECT throws_ok($$SELECT mktg.map_source('x', 'mktg.purchase', 'contact_id')$$, '42501', NULL, 'admin may not map tables');
SELECT lives_ok(format('SELECT mktg.update_promo(%s, ''{"usage_limit": 9}''), mktg.disable_promo(%1$s), mktg.delete_price_phase(mktg.create_price_phase(''x'', ''x'', 1))', :promo),
                'admin changes offers and prices');
SELECT lives_ok($$SELECT FROM mktg.promo_list, mktg.promo_redemption, mktg.promo_performance, mktg.promo_daily, mktg.promo_item, mktg.promo_route,
                mktg.price_phase_list LIMIT 1$$, 'admin reads their reports');
SELECT lives_ok($$SELECT mktg.disarm_delivery(), mktg.arm_delivery(), mktg.maintain()$$, 'admin arms and maintains');
SELECT is((SELECT bool_and(ok) FROM mktg.status() WHERE "check" IN ('library', 'schema', 'armed')), true,
          'admin reads the status');
SELECT throws_ok($$DELETE FROM mktg.consent_log$$, '42501', NULL, 'not even admin changes the log of consent');
SELECT throws_ok($$SELECT mktg.uninstall(current_database())$$, '42501', NULL, 'admin may not uninstall');

RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
