\set ECHO none
-- Providers as foreign servers: options, credentials, senders.
\i test/setup.sql
BEGIN;
SELECT plan(98);

-- ---- options of servers ----

CREATE FUNCTION pg_temp.server(options text) RETURNS text LANGUAGE sql AS
$$SELECT 'CREATE SERVER s FOREIGN DATA WRAPPER mktg_provider OPTIONS (' || options || ')'$$;

SELECT lives_ok(pg_temp.server($$driver 'sandbox', seed '7', failed_rate '0.1'$$), 'a sandbox');
SELECT throws_ok($$ALTER SERVER s OPTIONS (ADD failed_rat '0.1')$$, 'HV00D', 'invalid option "failed_rat"', 'an option nobody knows');
SELECT throws_ok($$ALTER SERVER s OPTIONS (ADD timeout_ms '1')$$, 'HV00D', 'invalid option "timeout_ms"', 'an option of drivers with a network');
SELECT throws_ok($$ALTER SERVER s OPTIONS (ADD credential_file '/x')$$, 'HV00D', 'invalid option "credential_file"', 'a driver without credentials needs no file');
SELECT throws_ok($$ALTER SERVER s OPTIONS (DROP driver)$$, 'MK041', 'option "driver" is missing', 'the driver cannot go');
SELECT throws_ok($$ALTER SERVER s OPTIONS (SET driver 'smtp')$$, 'HV00D', NULL, 'nor change to one that does not know the options');
SELECT throws_ok($$ALTER SERVER s OPTIONS (SET seed 'x')$$, 'MK041', 'option "seed" must be a whole number from 0 to 2147483647', 'a malformed value');
SELECT throws_ok($$ALTER SERVER s OPTIONS (ADD bounced_rate '0.95')$$, 'MK041', NULL, 'rates that add up to more than 1');
SELECT is((SELECT srvoptions::text FROM pg_foreign_server WHERE srvname = 's'), '{driver=sandbox,seed=7,failed_rate=0.1}', 'nothing has changed');
DROP SERVER s;

SELECT throws_ok($$CREATE SERVER s FOREIGN DATA WRAPPER mktg_provider$$, 'MK041', 'option "driver" is missing', 'no options at all');
SELECT throws_ok(pg_temp.server($$driver 'pigeon'$$), 'MK041', 'driver "pigeon" does not exist', 'an unknown driver');
SELECT throws_ok(pg_temp.server($$driver 'smtp'$$), 'MK041', 'option "host" is missing', 'a required option');
SELECT throws_ok(pg_temp.server($$driver 'smtp', host 'h', password 'x'$$), 'MK040', 'credential "password" must not be an option of the server', 'a secret among the options');
SELECT throws_ok(pg_temp.server($$driver 'webhook', secret 'x'$$), 'MK040', 'credential "secret" must not be an option of the server', 'a secret of webhook');
SELECT throws_ok(pg_temp.server($$driver 'webhook', url 'http://x/'$$), 'MK041', NULL, 'plain http that nothing allows');
SELECT throws_ok(pg_temp.server($$driver 'webhook', url 'https://u:p@x/'$$), 'MK041', 'option "url" must be an https URL without user and password', 'a URL with a password');
SELECT throws_ok(pg_temp.server($$driver 'smtp', host 'h', credential_file 'x'$$), 'MK041', 'option "credential_file" must be an absolute path', 'a relative credential file');
SELECT throws_ok(pg_temp.server(format($$driver 'smtp', host 'h', credential_file %L$$, current_setting('data_directory') || '/secret')), 'MK041',
                 'option "credential_file" must not name a file in the data directory', 'a credential file that backups would copy');
SELECT throws_ok(pg_temp.server(format($$driver 'smtp', host 'h', credential_file %L$$, current_setting('data_directory') || '/base/../secret')), 'MK041',
                 NULL, 'also by a detour');
SELECT throws_ok($$CREATE FOREIGN DATA WRAPPER w VALIDATOR mktg.provider_validator OPTIONS (driver 'x')$$, 'HV00D', 'invalid option "driver"', 'a wrapper has no options');
SELECT lives_ok($$CREATE SERVER mail FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'smtp', host 'mail.example.com', port '587', tls 'starttls',
    helo 'me.example', credential_file '/etc/mktg/mail', timeout_ms '60000', connect_timeout_ms '5000', max_connections '4', ca_file '/etc/ca.pem', proxy 'http://proxy:3128')$$,
    'every option of smtp');
SELECT lives_ok($$CREATE SERVER hook FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'webhook', url 'https://hooks.example.com/x',
    allow_http 'false', allow_networks '10.0.0.0/8,::1', http_version '2')$$, 'every option of webhook');
SELECT lives_ok($$CREATE SERVER box FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'sandbox')$$, 'a sandbox without options');

-- hints name what is valid
CREATE FUNCTION pg_temp.hint(statement text) RETURNS text LANGUAGE plpgsql AS
$$DECLARE hint text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN hint;
END$$;
SELECT is(pg_temp.hint($$ALTER SERVER hook OPTIONS (ADD x 'y')$$),
          'Valid options in this context are: driver, credential_file, allow_http, allow_networks, http_version, url, ca_file, connect_timeout_ms, max_connections, proxy, timeout_ms',
          'the options of webhook');
SELECT is(pg_temp.hint($$ALTER SERVER box OPTIONS (ADD x 'y')$$),
          'Valid options in this context are: driver, bounced_rate, delivered_rate, doubt_rate, failed_rate, read_rate, retry_rate, seed',
          'the options of sandbox');
SELECT matches(pg_temp.hint(pg_temp.server($$driver 'x'$$)), '^Drivers are: sandbox, webhook, smtp(, [a-z_]+)*[.]$', 'the drivers');
SELECT is(pg_temp.hint(pg_temp.server($$driver 'sendgrid', region 'eu'$$)),
          'Valid options in this context are: driver, credential_file, asm_group_id, asm_groups_to_display, base_url, categories, click_tracking, ip_pool_name, open_tracking, sandbox_mode, subscription_tracking, ca_file, connect_timeout_ms, max_connections, proxy, timeout_ms',
          'the options of sendgrid');
SELECT is(pg_temp.hint(pg_temp.server($$driver 'mailgun', domain 'x', region 'eu'$$)),
          'Valid options in this context are: driver, credential_file, base_url, domain, require_tls, tags, testmode, tracking, tracking_clicks, tracking_opens, ca_file, connect_timeout_ms, max_connections, proxy, timeout_ms',
          'the options of mailgun');
SELECT is(pg_temp.hint(pg_temp.server($$driver 'twilio', account_sid 'AC0123456789abcdef0123456789abcdef', region 'eu'$$)),
          'Valid options in this context are: driver, credential_file, account_sid, base_url, max_segments, smart_encoded, status_callback, validity_period, ca_file, connect_timeout_ms, max_connections, proxy, timeout_ms',
          'the options of twilio');
SELECT throws_ok(pg_temp.server($$driver 'sendgrid', asm_groups_to_display '1'$$), 'MK041', 'option "asm_groups_to_display" needs "asm_group_id" beside it', 'options of sendgrid that do not go together');
SELECT throws_ok(pg_temp.server($$driver 'mailgun', domain 'x', tracking 'false', tracking_opens 'true'$$), 'MK041', 'option "tracking" is false, and "tracking_opens" is not', 'options of mailgun that do not');
SELECT throws_ok(pg_temp.server($$driver 'mailgun'$$), 'MK041', 'option "domain" is missing', 'mailgun without a domain');
SELECT throws_ok(pg_temp.server($$driver 'twilio'$$), 'MK041', 'option "account_sid" is missing', 'twilio without an account');
SELECT throws_ok(pg_temp.server($$driver 'twilio', account_sid 'AC0123456789abcdef0123456789abcdef', auth_token 'x'$$), 'MK040', 'credential "auth_token" must not be an option of the server', 'a token among the options');
SELECT throws_ok(pg_temp.server($$driver 'sendgrid', base_url 'http://api.sendgrid.com'$$), 'MK041', NULL, 'a key that would go over the network in plain text');
SELECT is(pg_temp.hint(pg_temp.server($$driver 'smtp', host 'h', user 'x'$$)),
          'Put it into the file that option "credential_file" names, or call mktg.set_credential().', 'where a secret belongs');

-- ---- user mappings ----

SELECT lives_ok($$CREATE USER MAPPING FOR PUBLIC SERVER mail OPTIONS (user 'me', password 'a')$$, 'credentials in a user mapping');
SELECT throws_ok($$ALTER USER MAPPING FOR PUBLIC SERVER mail OPTIONS (ADD host 'x')$$, 'HV00D', 'invalid option "host"', 'no other options there');
SELECT matches(pg_temp.hint($$ALTER USER MAPPING FOR PUBLIC SERVER mail OPTIONS (ADD x 'y')$$), '^Valid options in this context are: secret, password, user(, [a-z_]+)*$', 'all credentials there are');
DROP USER MAPPING FOR PUBLIC SERVER mail;

-- ---- set_credential ----

CREATE FUNCTION pg_temp.mapping(server text) RETURNS text LANGUAGE sql AS
$$SELECT coalesce((SELECT umoptions::text FROM pg_user_mapping m JOIN pg_foreign_server s ON s.oid = m.umserver WHERE m.umuser = 0 AND s.srvname = server), 'none')$$;

SELECT is(pg_temp.mapping('mail'), 'none', 'no mapping');
SELECT lives_ok($$SELECT mktg.set_credential('mail', 'password', 'p=1, "2" {3}')$$, 'the first credential');
SELECT is(pg_temp.mapping('mail'), '{"password=p=1, \"2\" {3}"}', 'is in the mapping for PUBLIC');
SELECT lives_ok($$SELECT mktg.set_credential('mail', 'user', 'me')$$, 'the second');
SELECT is(pg_temp.mapping('mail'), '{"password=p=1, \"2\" {3}",user=me}', 'joins it');
SELECT lives_ok($$SELECT mktg.set_credential('mail', 'password', 'new')$$, 'a change');
SELECT is(pg_temp.mapping('mail'), '{password=new,user=me}', 'takes its place');
SELECT lives_ok($$SELECT mktg.set_credential('mail', 'password', NULL)$$, 'NULL');
SELECT is(pg_temp.mapping('mail'), '{user=me}', 'removes it');
SELECT lives_ok($$SELECT mktg.set_credential('mail', 'password', NULL)$$, 'and once more');
SELECT is(pg_temp.mapping('mail'), '{user=me}', 'changes nothing');
SELECT lives_ok($$SELECT mktg.set_credential('mail', 'password', '')$$, 'an empty password is a password');
SELECT is(pg_temp.mapping('mail'), '{user=me,password=}', 'and is kept');
SELECT lives_ok($$SELECT mktg.set_credential('hook', 'secret', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw,whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD')$$, 'two secrets for rotation');

SELECT throws_ok($$SELECT mktg.set_credential('nowhere', 'user', 'x')$$, 'MK016', 'provider "nowhere" does not exist', 'an unknown server');
CREATE FOREIGN DATA WRAPPER other;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER other;
SELECT throws_ok($$SELECT mktg.set_credential('elsewhere', 'user', 'x')$$, 'MK016', 'provider "elsewhere" does not exist', 'a server of another wrapper');
SELECT throws_ok($$SELECT mktg.set_credential('mail', 'host', 'x')$$, 'MK040', 'driver "smtp" has no credential "host"', 'an option that is no secret');
SELECT throws_ok($$SELECT mktg.set_credential('mail', 'secret', 'x')$$, 'MK040', 'driver "smtp" has no credential "secret"', 'a credential of another driver');
SELECT throws_ok($$SELECT mktg.set_credential('box', 'secret', 'x')$$, 'MK040', 'driver "sandbox" has no credential "secret"', 'a driver without credentials');
SELECT throws_ok($$SELECT mktg.set_credential('hook', 'secret', 'whsec_short')$$, 'MK040', NULL, 'a malformed secret');
SELECT throws_ok($$SELECT mktg.set_credential(NULL, 'user', 'x')$$, '22004', 'argument "server" must not be NULL', 'no server');
SELECT throws_ok($$SELECT mktg.set_credential('mail', NULL, 'x')$$, '22004', 'argument "name" must not be NULL', 'no name');
SELECT is(pg_temp.hint($$SELECT mktg.set_credential('mail', 'x', 'y')$$), 'Its credentials are: password, user.', 'the credentials of smtp');

-- the secret is not to be seen while the statement runs
CREATE FUNCTION pg_temp.shown(text) RETURNS text LANGUAGE plpgsql AS
$$BEGIN
    PERFORM pg_stat_clear_snapshot();
    RETURN (SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid());
END$$;
SELECT is(pg_temp.shown(mktg.set_credential('mail', 'password', 'canary')::text), 'SELECT mktg.set_credential(...)', 'pg_stat_activity does not show it');

-- only the owner may
CREATE ROLE provider_guest;
GRANT USAGE ON SCHEMA mktg TO provider_guest;
GRANT USAGE ON FOREIGN SERVER mail TO provider_guest;
GRANT EXECUTE ON FUNCTION mktg.set_credential(text, text, text) TO provider_guest;
SET ROLE provider_guest;
SELECT throws_ok($$SELECT mktg.set_credential('mail', 'password', 'mine')$$, '42501', NULL, 'who does not own the server may not');
SELECT throws_ok($$SELECT mktg.set_credential('mail', 'password', NULL)$$, '42501', NULL, 'nor remove it');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION mktg.set_credential(text, text, text) FROM provider_guest;
SET ROLE provider_guest;
SELECT throws_ok($$SELECT mktg.set_credential('mail', 'password', 'mine')$$, '42501', NULL, 'nobody may without a grant');
RESET ROLE;
SELECT throws_ok($$SET LOCAL transaction_read_only = on; SELECT mktg.set_credential('mail', 'password', 'x')$$, '25006', NULL, 'not in a transaction that only reads');

-- ---- set_sender ----

CREATE FUNCTION pg_temp.sender(wanted text) RETURNS text LANGUAGE sql AS
$$SELECT concat_ws('|', provider, channel, from_address, from_name, reply_to, daily_limit, rate_per_second, max_attempts, on_doubt, is_active) FROM mktg.sender WHERE tenant_id = 1 AND name = wanted$$;

SELECT lives_ok($$SELECT mktg.set_sender('plain', 'box')$$, 'a sender with nothing but a provider');
SELECT is(pg_temp.sender('plain'), 'box|8|t', 'has the defaults');
SELECT is(mktg.set_sender('shop', 'mail', 'email', ' Shop@Example.com', 'The "Shop"', 'answers@example.com', 250, 0.5, 3, 'retry', false),
          currval('mktg.sender_sender_id_seq'), 'a sender with everything');
SELECT is(pg_temp.sender('shop'), 'mail|email|shop@example.com|The "Shop"|answers@example.com|250|0.5|3|retry|f', 'has everything, addresses in their one form');
SELECT is(mktg.set_sender('shop', 'mail', from_address => 'shop@example.com'), (SELECT sender_id FROM mktg.sender WHERE name = 'shop'), 'the same name keeps its id');
SELECT is(pg_temp.sender('shop'), 'mail|shop@example.com|8|t', 'and takes all the values of the last call');
SELECT lives_ok($$SELECT mktg.set_sender('sms', 'box', 'sms', 'SHOP')$$, 'a sender of text messages may have a name');

SELECT throws_ok($$SELECT mktg.set_sender('x', 'nowhere')$$, 'MK016', 'provider "nowhere" does not exist', 'an unknown provider');
SELECT throws_ok($$SELECT mktg.set_sender('x', 'elsewhere')$$, 'MK016', 'provider "elsewhere" does not exist', 'a server of another wrapper');
SELECT throws_ok($$SELECT mktg.set_sender('x', 'box', 'pigeon')$$, 'MK012', 'channel "pigeon" does not exist', 'an unknown channel');
SELECT throws_ok($$SELECT mktg.set_sender('x', 'box', tenant => 99)$$, 'MK010', 'tenant 99 does not exist', 'an unknown tenant');
SELECT throws_ok($$SELECT mktg.set_sender('', 'box')$$, 'MK020', NULL, 'an empty name');
SELECT throws_ok($$SELECT mktg.set_sender(repeat('x', 201), 'box')$$, 'MK020', NULL, 'a name of 201 characters');
SELECT throws_ok($$SELECT mktg.set_sender('x', 'box', 'email', 'no address')$$, 'MK022', 'from_address is not an e-mail address', 'a malformed address');
SELECT throws_ok($$SELECT mktg.set_sender('x', 'box', from_address => 'a@b@c')$$, 'MK022', 'from_address is not an e-mail address', 'also without a channel, where it has an @');
SELECT throws_ok($$SELECT mktg.set_sender('x', 'mail')$$, 'MK022', 'a sender of driver "smtp" needs from_address', 'an SMTP sender without one');
SELECT throws_ok($$SELECT mktg.set_sender('x', 'box', reply_to => 'nobody')$$, 'MK022', 'reply_to is not an e-mail address', 'a malformed reply_to');
SELECT throws_ok($$SELECT mktg.set_sender('x', 'box', from_name => E'A\r\nBcc: b@example.com')$$, 'MK024', NULL, 'a line break in from_name');
SELECT throws_ok($$SELECT mktg.set_sender('x', 'box', 'sms', E'SH\nOP')$$, 'MK024', NULL, 'a line break in from_address');
SELECT throws_ok($$SELECT mktg.set_sender('x', 'box', daily_limit => 0)$$, 'MK021', 'daily_limit must be at least 1', 'a daily limit of 0');
SELECT throws_ok(format($$SELECT mktg.set_sender('x', 'box', rate_per_second => %L)$$, rate), 'MK021', 'rate_per_second must be greater than 0', 'a rate of ' || rate)
  FROM unnest('{0,-1,NaN,Infinity}'::float8[]) rate;
SELECT throws_ok(format($$SELECT mktg.set_sender('x', 'box', max_attempts => %s)$$, n), 'MK021', 'max_attempts must be from 1 to 100', n || ' attempts')
  FROM unnest('{0,101,NULL}'::text[]) t(m), coalesce(m, 'NULL') n;
SELECT throws_ok($$SELECT mktg.set_sender('x', 'box', on_doubt => 'panic')$$, 'MK024', 'on_doubt "panic" does not exist', 'an unknown on_doubt');
SELECT throws_ok($$SELECT mktg.set_sender(NULL, 'box')$$, '22004', 'argument "name" must not be NULL', 'no name');
SELECT throws_ok($$SELECT mktg.set_sender('x', NULL)$$, '22004', 'argument "provider" must not be NULL', 'no provider');
SELECT is((SELECT count(*) FROM mktg.sender WHERE name = 'x'), 0::bigint, 'no refused call has left anything');

SELECT * FROM finish();
ROLLBACK;
