\set ECHO none
\i test/setup.sql
-- examples/grants.sql: what it lets each role do, and what not.

BEGIN;
SELECT plan(37);

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
SELECT campaign_id AS campaign FROM mktg.campaign_list WHERE name = 'grants' \gset
SELECT is((SELECT total_target FROM mktg.campaign_stats(:campaign)), 2::bigint, 'app reads statistics');
SELECT lives_ok($$SELECT FROM mktg.campaign_list, mktg.campaign_daily, mktg.send_calendar,
                mktg.recipient, mktg.failed_sends, mktg.in_doubt LIMIT 1$$, 'app reads the views');

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
SELECT throws_ok($$DELETE FROM mktg.consent_log$$, '42501', NULL, 'app may not touch the log of consent');
SELECT throws_ok($$UPDATE mktg.message SET address = 'x'$$, '42501', NULL, 'app may not readdress messages');
SELECT throws_ok($$SELECT mktg.arm_delivery()$$, '42501', NULL, 'app may not arm delivery');

---- admin

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
SELECT lives_ok($$SELECT mktg.disarm_delivery(), mktg.arm_delivery(), mktg.maintain()$$, 'admin arms and maintains');
SELECT is((SELECT bool_and(ok) FROM mktg.status() WHERE "check" IN ('library', 'schema', 'armed')), true,
          'admin reads the status');
SELECT throws_ok($$DELETE FROM mktg.consent_log$$, '42501', NULL, 'not even admin changes the log of consent');
SELECT throws_ok($$SELECT mktg.uninstall(current_database())$$, '42501', NULL, 'admin may not uninstall');

RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
