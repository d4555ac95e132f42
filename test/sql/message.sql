\set ECHO none
\i test/setup.sql
BEGIN;
\i test/fixture.sql
SELECT plan(176);
SET LOCAL mktg.clock = '2025-01-15 09:00+00';
INSERT INTO mktg.tenant (tenant_id, name, time_zone) VALUES (71, 'India', 'Asia/Kolkata');
SELECT mktg.create_template('receipt', 'email', 'Your order {{order}}', body => 'Thanks') AS receipt,
       mktg.create_template('code', 'sms', body => 'Code {{code}}') AS code \gset
SELECT mktg.create_template('receipt', 'email', 'Order', body => 'Thanks', tenant => 71) \g /dev/null
SELECT mktg.set_sender('mail', 'mktg_sandbox', channel => 'email') AS mail, mktg.set_sender('texts', 'mktg_sandbox', channel => 'sms') AS texts \gset
SELECT pg_temp.people(9, '{email}') AS p, pg_temp.people(1, '{email}', 71, 500) AS foreigner \gset

--
-- send
--
SELECT mktg.send(:p, 'receipt', '{"order": "A-1"}') AS id \gset
SELECT campaign_id AS stream, ref FROM mktg.message WHERE contact_id = :p \gset
SELECT is(:'id'::text, format('1-%s-%s-%s', :stream, :p, :'ref'), 'the id names tenant, campaign, contact and reference');
SELECT matches(:'ref'::text, '^[0-9a-f]{24}$', 'the reference is 96 random bits');
SELECT is(pg_temp.rows('SELECT status, address, position, send_day, queued_at, attempts, variables FROM mktg.message WHERE campaign_id = ' || :stream),
    '(queued,p1@example.com,,2025-01-15,"2025-01-15 09:00:00+00",0,"{""order"": ""A-1""}")', 'the message is queued, outside any plan');
SELECT is(pg_temp.rows('SELECT ref, due, lease, attempt FROM mktg.outbox WHERE campaign_id = ' || :stream), format('(%s,"2025-01-15 09:00:00+00",,0)', :'ref'), 'and due at once');
SELECT is(pg_temp.rows('SELECT name, code, type, channel, status, priority, sender_id, template_id, start_date FROM mktg.campaign WHERE campaign_id = ' || :stream),
    format('(receipt,stream:%s:%s,transactional,email,active,10,%s,%s,)', :receipt, :mail, :mail, :receipt), 'its campaign is the stream of template and sender');
SELECT isnt(mktg.send(:p, 'receipt'), mktg.send(:p, 'receipt'), 'without a key each is a message of its own');
SELECT is((SELECT count(*) FROM mktg.message WHERE campaign_id = :stream), 3::bigint, 'in the same stream');
SELECT is((SELECT variables FROM mktg.message WHERE campaign_id = :stream AND ref <> :'ref' LIMIT 1), '{}', 'variables are {} by default');

-- idempotency
SELECT mktg.send(:p, 'receipt', '{"order": "A-2"}', idempotency_key => 'order-2:receipt') AS id2 \gset
SELECT is(:'id2'::text, format('1-%s-%s-order-2:receipt', :stream, :p), 'a key is the reference');
SELECT is(mktg.send(:p, 'receipt', '{"order": "other"}', idempotency_key => 'order-2:receipt'), :'id2', 'the same key gives the same id');
SELECT is(pg_temp.rows(format('SELECT count(*), min(m.variables::text), count(o.due) FROM mktg.message m JOIN mktg.outbox o USING (tenant_id, campaign_id, contact_id, ref)
        WHERE ref = ''order-2:receipt'' AND campaign_id = %s', :stream)), '(1,"{""order"": ""A-2""}",1)', 'and one message, the first');
SELECT is(pg_temp.drain(), 4::bigint, 'all are sent');
SELECT is(mktg.send(:p, 'receipt', idempotency_key => 'order-2:receipt') || ' ' || pg_temp.drain(), :'id2' || ' 0', 'after it was sent too');
SELECT is(mktg.send(:p + 1, 'receipt', idempotency_key => 'order-2:receipt'), format('1-%s-%s-order-2:receipt', :stream, :p + 1), 'a key is the contact''s own');
SELECT is(mktg.send(:p + 1, 'receipt', idempotency_key => repeat('k', 128)), format('1-%s-%s-%s', :stream, :p + 1, repeat('k', 128)), 'of 128 characters');
SELECT is(mktg.send(:p + 1, 'receipt', idempotency_key => 'aZ09._:+-'), format('1-%s-%s-aZ09._:+-', :stream, :p + 1), 'of these');

-- streams
SELECT is((SELECT split_part(mktg.send(:p, 'receipt', sender => 'sandbox'), '-', 2)) <> :'stream', true, 'another sender is another stream');
SELECT is(split_part(mktg.send(:p, 'receipt', sender => 'mail'), '-', 2), :'stream', 'the sender of the channel is the default');
SELECT isnt(split_part(mktg.send(:p, 'code', channel => 'sms'), '-', 2), :'stream', 'another template and channel too');
SELECT mktg.create_template('receipt', 'email', 'New', body => 'x') \g /dev/null
SELECT is(split_part(mktg.send(:p, 'receipt'), '-', 2), :'stream', 'a new version of the template is the same stream');
SELECT is((SELECT count(*) FROM mktg.campaign WHERE code LIKE 'stream:%'), 3::bigint, 'three streams');
SELECT is((SELECT address FROM mktg.message m JOIN mktg.campaign c USING (tenant_id, campaign_id) WHERE c.channel = 'sms'), '+14151000001', 'by phone');
SELECT pg_temp.drain() \g /dev/null
SELECT is((SELECT concat_ws(' ', campaigns_processed, messages_queued) FROM mktg.process_daily()), '0 0', 'process_daily() has nothing to do with it');
SELECT is((SELECT status FROM mktg.campaign WHERE campaign_id = :stream), 'active', 'a stream does not end');
SELECT is(pg_temp.rows('SELECT total_target, sent, queued, estimated_completion_date FROM mktg.campaign_stats(' || :stream || ')'), '(9,9,0,)', 'it is counted like any campaign');

-- whoever cannot be reached is skipped, the caller's transaction goes on
UPDATE mktg.contact SET is_active = false WHERE contact_id = :p + 2;
UPDATE mktg.contact SET email = NULL WHERE contact_id = :p + 3;
SELECT mktg.suppress('email', 'p5@example.com'), mktg.unsubscribe(:p + 5, 'email') \g /dev/null
SELECT mktg.send(contact, 'receipt', idempotency_key => 'gate') FROM generate_series(:p + 2, :p + 5) AS contact \g /dev/null
SELECT is((SELECT string_agg(concat_ws(' ', m.status, m.failure_reason, o.due::date), ', ' ORDER BY contact_id) FROM mktg.message m
    LEFT JOIN mktg.outbox o USING (tenant_id, campaign_id, contact_id, ref) WHERE ref = 'gate'),
    'skipped inactive, skipped unreachable, skipped suppressed, queued 2025-01-15', 'not active, without address, suppressed; consent is not asked');
SELECT mktg.unsuppress('email', 'p5@example.com') \g /dev/null
SELECT is((SELECT status FROM mktg.message WHERE ref = 'gate' AND contact_id = :p + 4 AND mktg.send(:p + 4, 'receipt', idempotency_key => 'gate') IS NOT NULL), 'skipped',
    'what was skipped stays skipped under its key');
SELECT pg_temp.drain() \g /dev/null
SELECT is(mktg.send(:p, 'receipt', idempotency_key => 'x' || contact_id) IS NOT NULL, true, 'from a query over many rows') FROM mktg.contact WHERE contact_id = :p;

-- suppressed between send and claim
SELECT mktg.send(:p + 6, 'receipt', idempotency_key => 'late') AS late \gset
SELECT mktg.suppress('email', 'p7@example.com') \g /dev/null
SELECT pg_temp.drain() \g /dev/null
SELECT is((SELECT status || ' ' || failure_reason FROM mktg.message WHERE ref = 'late'), 'skipped suppressed', 'suppressed before the claim');

-- a rollback leaves nothing
SAVEPOINT before;
SELECT pg_temp.state() AS state \gset
SELECT mktg.create_template('never', 'email', 'x', body => 'x') \g /dev/null
SELECT mktg.send(:p, 'never'), mktg.send(:p, 'receipt') \g /dev/null
SELECT isnt(pg_temp.state(), :'state', 'in a transaction that fails');
ROLLBACK TO before;
SELECT is(pg_temp.state(), :'state', 'nothing is left: no message, no queue row, no stream, no count');
SELECT isnt(mktg.send(:p, 'receipt'), NULL, 'and work goes on');
SELECT is(pg_temp.miscounted(), 0::bigint, 'counters equal a recount');

-- a stream that is paused, or cancelled
SELECT pg_temp.drain() \g /dev/null
SELECT mktg.pause_campaign(:stream) \g /dev/null
SELECT mktg.send(:p, 'receipt', idempotency_key => 'paused') \g /dev/null
SELECT is(pg_temp.drain(), 0::bigint, 'a paused stream takes messages and keeps them');
SELECT mktg.resume_campaign(:stream) \g /dev/null
SELECT is(pg_temp.drain(), 1::bigint, 'until it is resumed');
SELECT mktg.send(:p, 'receipt', idempotency_key => 'waits') \g /dev/null
SELECT mktg.cancel_campaign(:stream), mktg.send(:p, 'receipt', idempotency_key => 'comes-late') \g /dev/null
SELECT is((SELECT string_agg(ref || ' ' || status, ', ' ORDER BY ref) FROM mktg.message WHERE ref IN ('waits', 'comes-late')), 'comes-late cancelled, waits cancelled',
    'a cancelled stream stays cancelled, and its messages with it');
SELECT is((SELECT count(*) FROM mktg.outbox WHERE campaign_id = :stream), 0::bigint, 'nothing waits in it for ever');
SELECT is(mktg.send(:p, 'receipt', idempotency_key => 'order-2:receipt'), :'id2', 'its keys are known still');

SELECT is(pg_temp.refusal('SELECT mktg.send(' || arguments || ')'), refused, name) FROM (VALUES
    ('-1, ''receipt''', 'unknown contact', 'MK011 | contact -1 does not exist | Tenant 1 has no such contact. | mktg.upsert_contact() makes one and returns its contact_id.'),
    (:foreigner || ', ''receipt''', 'contact of another tenant', format('MK011 | contact %s does not exist | Tenant 1 has no such contact.'
     ' | mktg.upsert_contact() makes one and returns its contact_id.', :foreigner)),
    (:p || ', ''receipt'', tenant => 999', 'unknown tenant',
     'MK010 | tenant 999 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.'),
    (:p || ', ''nothing''', 'unknown template',
     'MK013 | template "nothing" does not exist | Tenant 1 has no template of that name. | mktg.create_template() makes one.'),
    (:p || ', ''code''', 'template of another channel',
     'MK032 | template "code" is for another channel | It is for channel sms, and email is wanted. | Name a template of channel email.'),
    (:p || ', ''receipt'', channel => ''fax''', 'unknown channel',
     'MK012 | channel "fax" does not exist | Channels are email, sms, push, whatsapp, webhook, in_app and ads.'),
    (:p || ', ''receipt'', sender => ''nobody''', 'unknown sender',
     'MK015 | sender "nobody" does not exist | Tenant 1 has no sender of that name. | mktg.set_sender() makes one.'),
    (:p || ', ''receipt'', sender => ''texts''', 'sender of another channel',
     'MK032 | sender "texts" is for another channel | It is for channel sms, and email is wanted. | Name a sender of channel email.'),
    (:foreigner || ', ''receipt'', tenant => 71', 'no sender', 'MK015 | there is no sender for channel email | mktg.set_sender() makes one.'),
    (:p || ', ''receipt'', ''[]''', 'variables are a list', 'MK024 | variables must be a JSON object | For example ''{"discount": "20 %"}''.'),
    (:p || ', ''receipt'', jsonb_build_object(''a'', repeat(''x'', 1048577))', 'variables over 1 MB', 'MK025 | variables is too large'
     ' | It has 1048594 bytes, and 1048576 are the most. | Pass what the template names, and no more.'),
    (:p || ', ''receipt'', idempotency_key => ''''', 'key empty', 'MK024 | invalid idempotency key'
     ' | It must have 1 to 128 letters, digits or characters of "._:+-". | A UUID, or a name such as order-4711:receipt, will do.'),
    (:p || ', ''receipt'', idempotency_key => repeat(''k'', 129)', 'key of 129', 'MK024 | invalid idempotency key'
     ' | It must have 1 to 128 letters, digits or characters of "._:+-". | A UUID, or a name such as order-4711:receipt, will do.'),
    (:p || ', ''receipt'', idempotency_key => ''order 1''', 'key with a blank', 'MK024 | invalid idempotency key'
     ' | It must have 1 to 128 letters, digits or characters of "._:+-". | A UUID, or a name such as order-4711:receipt, will do.'),
    (:p || ', ''receipt'', idempotency_key => E''a\r\nb''', 'key with a line break', 'MK024 | invalid idempotency key'
     ' | It must have 1 to 128 letters, digits or characters of "._:+-". | A UUID, or a name such as order-4711:receipt, will do.'),
    ('NULL, ''receipt''', 'no contact', '22004 | argument "contact" must not be NULL | Give a value for "contact".'),
    (:p || ', NULL', 'no template', '22004 | argument "template" must not be NULL | Give a value for "template".'),
    (:p || ', ''receipt'', channel => NULL', 'no channel', '22004 | argument "channel" must not be NULL | Give a value for "channel".'),
    (:p || ', ''receipt'', tenant => NULL', 'no tenant', '22004 | argument "tenant" must not be NULL | Give a value for "tenant".')) AS t (arguments, name, refused);
SELECT mktg.send(:p, 'code', NULL, 'sms', 'nullvars') \g /dev/null
SELECT is((SELECT status FROM mktg.message WHERE ref = 'nullvars' AND variables IS NULL), 'queued', 'variables may be NULL');

--
-- record_status: the whole matrix, old status by reported status
--
SELECT pg_temp.people(60, '{whatsapp}', first => 100) AS m, mktg.create_template('hello', 'whatsapp', body => 'x') \gset
SELECT mktg.create_campaign('matrix', 'whatsapp', 'hello') AS c \gset
CREATE TEMP TABLE olds AS SELECT * FROM unnest('{pending,queued,sent,delivered,read,failed,bounced,skipped,cancelled,in_doubt}'::text[]) WITH ORDINALITY AS o (old, i);
CREATE TEMP TABLE news AS SELECT * FROM unnest('{sent,delivered,read,failed,bounced}'::text[]) WITH ORDINALITY AS n (new, j);
INSERT INTO mktg.message (campaign_id, contact_id, address, status, sent_at)
SELECT :c, :m + (i - 1) * 5 + j - 1, old || new, old, CASE WHEN old IN ('sent', 'delivered', 'read') THEN timestamptz '2025-01-15 08:00+00' END FROM olds, news;
CREATE TEMP TABLE reported AS
SELECT old, new, j, mktg.record_status(format('1-%s-%s', :c, :m + (i - 1) * 5 + j - 1), new, '2025-01-15 08:30+00', 'why') AS applied, :m + (i - 1) * 5 + j - 1 AS contact FROM olds, news;
SELECT is(string_agg(m.status || CASE WHEN applied THEN '' ELSE ' (no)' END, ', ' ORDER BY j), wanted, old || ': sent, delivered, read, failed, bounced')
  FROM reported JOIN mktg.message m ON contact_id = contact AND campaign_id = :c JOIN (VALUES
    ('pending', 'pending (no), pending (no), pending (no), pending (no), pending (no)'),
    ('queued', 'sent, delivered, read, failed, bounced'),
    ('in_doubt', 'sent, delivered, read, failed, bounced'),
    ('sent', 'sent (no), delivered, read, failed, bounced'),
    ('delivered', 'delivered (no), delivered (no), read, delivered (no), delivered (no)'),
    ('read', 'read (no), read (no), read (no), read (no), read (no)'),
    ('failed', 'failed (no), failed (no), failed (no), failed (no), failed (no)'),
    ('bounced', 'bounced (no), bounced (no), bounced (no), bounced (no), bounced (no)'),
    ('skipped', 'skipped (no), skipped (no), skipped (no), skipped (no), skipped (no)'),
    ('cancelled', 'cancelled (no), cancelled (no), cancelled (no), cancelled (no), cancelled (no)')) AS w (old, wanted) USING (old)
 GROUP BY old, wanted ORDER BY old;
CREATE FUNCTION pg_temp.times(contact bigint) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', 'sent ' || to_char(sent_at, 'HH24:MI'), 'delivered ' || to_char(delivered_at, 'HH24:MI'), 'read ' || to_char(read_at, 'HH24:MI'),
                     'failed ' || to_char(failed_at, 'HH24:MI'), failure_reason) FROM mktg.message WHERE contact_id = contact
$$;
SELECT is(pg_temp.times(contact), wanted, old || ' reported ' || new || ': its times') FROM reported JOIN (VALUES
    ('queued', 'sent', 'sent 08:30'), ('queued', 'delivered', 'sent 08:30 delivered 08:30'), ('queued', 'read', 'sent 08:30 delivered 08:30 read 08:30'),
    ('queued', 'failed', 'failed 08:30 why'), ('sent', 'delivered', 'sent 08:00 delivered 08:30'), ('sent', 'bounced', 'sent 08:00 failed 08:30 why'),
    ('delivered', 'read', 'sent 08:00 delivered 08:30 read 08:30'), ('read', 'sent', 'sent 08:00'), ('pending', 'sent', ''), ('failed', 'delivered', ''))
    AS w (old, new, wanted) USING (old, new) ORDER BY old, new;
SELECT is(mktg.rebuild_stats(:c), 0::bigint, 'counters equal a recount');

-- out of order, repeated, with the defaults
CREATE FUNCTION pg_temp.fresh(contact bigint, word text DEFAULT 'queued') RETURNS text LANGUAGE sql AS $$
    INSERT INTO mktg.message (campaign_id, contact_id, address, status) SELECT campaign_id, contact, 'a' || contact, word FROM mktg.campaign WHERE name = 'matrix'
    RETURNING mktg._message_id(tenant_id, campaign_id, contact_id, ref)
$$;
SELECT pg_temp.fresh(:m + 50) AS id \gset
SELECT is(concat_ws(' ', mktg.record_status(:'id', 'delivered', '2025-01-15 10:00+00'), mktg.record_status(:'id', 'sent', '2025-01-15 09:30+00'),
    mktg.record_status(:'id', 'read', '2025-01-15 10:05+00'), mktg.record_status(:'id', 'delivered', '2025-01-15 10:10+00'),
    mktg.record_status(:'id', 'failed', '2025-01-15 10:15+00', 'too late')), 't f t f f', 'whatever order reports come in');
SELECT is(pg_temp.times(:m + 50), 'sent 10:00 delivered 10:00 read 10:05', 'a message moves forward only, and late reports change no time');
SELECT pg_temp.fresh(:m + 51) AS id \gset
SELECT is(mktg.record_status(:'id', 'failed'), true, 'without time and reason');
SELECT is((SELECT failed_at = mktg.clock() AND failure_reason = 'failed' FROM mktg.message WHERE contact_id = :m + 51), true,
    'at is mktg''s clock by default, and the reason the status');
SELECT pg_temp.fresh(:m + 52) AS id \gset
SELECT mktg.record_status(:'id', 'sent', NULL, NULL) \g /dev/null
SELECT is((SELECT sent_at = mktg.clock() AND failure_reason IS NULL FROM mktg.message WHERE contact_id = :m + 52), true, 'NULL stands for the same');

-- what waits for another attempt has arrived after all; what is under way is the worker's
UPDATE mktg.sender SET max_attempts = 8;
SELECT mktg.send(:p + 7, 'code', channel => 'sms', idempotency_key => k) FROM unnest('{waiting,leased}'::text[]) AS k \g /dev/null
CREATE TEMP TABLE claimed AS SELECT * FROM mktg._claim(1::smallint, 100);
SELECT message AS waiting, mktg._record(message, lease, 'retry') FROM claimed WHERE message LIKE '%-waiting' \gset
SELECT message AS leased, lease FROM claimed WHERE message LIKE '%-leased' \gset
SELECT is(mktg.record_status(:'waiting', 'delivered') AND mktg.record_status(:'leased', 'delivered'), true, 'a report overtakes the record');
SELECT is((SELECT string_agg(ref, ' ') FROM mktg.outbox WHERE ref IN ('waiting', 'leased')), 'leased', 'it is not tried again');
SELECT is(mktg._record(:'leased', :lease, 'sent'), true, 'the worker''s own record ends the lease');
SELECT is((SELECT string_agg(concat_ws(' ', ref, status, attempts), ', ' ORDER BY ref) FROM mktg.message WHERE ref IN ('waiting', 'leased')), 'leased delivered 1, waiting delivered 0',
    'and moves nothing back');
SELECT is((SELECT count(*) FROM mktg.outbox WHERE ref IN ('waiting', 'leased')), 0::bigint, 'the queue is empty');

--
-- events
--
SELECT is(string_agg(CASE WHEN mktg.record_status(pg_temp.fresh(:m + 60 + 10 * j::integer + i::integer, old), event, '2025-01-15 11:00+00') THEN old END, ' ' ORDER BY i),
    'queued sent delivered read failed bounced in_doubt', event || ' is taken of what may have arrived')
  FROM olds, unnest('{opened,clicked,converted}'::text[]) WITH ORDINALITY AS e (event, j) GROUP BY event, j ORDER BY j;
SELECT is((SELECT string_agg(DISTINCT status || ' ' || (opened_at IS NOT NULL), ', ') FROM mktg.message WHERE contact_id BETWEEN :m + 71 AND :m + 80),
    'bounced true, cancelled false, delivered true, failed true, in_doubt true, pending false, queued true, read true, sent true, skipped false', 'and moves no status');
SELECT mktg._message_id(1, :c, :m + 73, '') AS id \gset
SELECT is(concat_ws(' ', mktg.record_status(:'id', 'opened', '2025-01-15 10:00+00'), mktg.record_status(:'id', 'clicked', '2025-01-15 12:00+00'),
    mktg.record_status(:'id', 'clicked', '2025-01-15 13:00+00')), 'f t f', 'the first time counts');
SELECT is((SELECT to_char(opened_at, 'HH24 ') || to_char(clicked_at, 'HH24') FROM mktg.message WHERE contact_id = :m + 73), '11 12', 'and stays');
SELECT is(pg_temp.rows('SELECT opened, clicked, converted, unsubscribed, mktg.rebuild_stats(campaign_id) FROM mktg.campaign_stats(' || :c || ')'), '(7,8,7,0,0)', 'all counted');

SELECT is(string_agg(CASE WHEN mktg.record_status(pg_temp.fresh(:m + 100 + i::integer, old), 'unsubscribed') THEN old END, ' ' ORDER BY i),
    'pending queued sent delivered read failed bounced skipped cancelled in_doubt', 'unsubscribed is heard whatever became of the message') FROM olds;

-- unsubscribed withdraws consent
INSERT INTO mktg.consent (contact_id, channel, topic) VALUES (:m + 50, 'whatsapp', 'news'), (:m + 50, 'email', 'marketing');
SELECT mktg._message_id(1, :c, :m + 50, '') AS id \gset
SELECT is(concat_ws(' ', mktg.record_status(:'id', 'unsubscribed', '2025-01-15 12:00+00'), mktg.record_status(:'id', 'unsubscribed')), 't f', 'unsubscribed, once');
SELECT is((SELECT string_agg(channel || ' ' || topic || ' ' || state, ', ' ORDER BY channel, topic) FROM mktg.consent WHERE contact_id = :m + 50),
    'email marketing subscribed, whatsapp marketing unsubscribed, whatsapp news unsubscribed', 'withdraws consent to every topic of the channel');
SELECT is((SELECT string_agg(DISTINCT reason, ',') FROM mktg.consent_log WHERE contact_id = :m + 50 AND state = 'unsubscribed'), 'reported by provider', 'the log says why');
SELECT is((SELECT to_char(unsubscribed_at, 'HH24:MI') || ' ' || status FROM mktg.message WHERE contact_id = :m + 50), '12:00 read', 'the message has the time');
SELECT pg_temp.fresh(:m + 53, 'sent') AS id \gset
DELETE FROM mktg.contact WHERE contact_id = :m + 53;
SELECT is(mktg.record_status(:'id', 'unsubscribed'), true, 'of a contact that is gone too');

--
-- ids of nothing
--
SELECT pg_temp.fresh(:m + 54, 'sent') AS id \gset
SELECT is(pg_temp.refusal(format('SELECT mktg.%s', replace(call, '?', quote_nullable(id)))), refused, call || ' ' || what)
  FROM (VALUES ('record_status(?, ''delivered'')'), ('settle(?, ''sent'')')) AS c (call), LATERAL (SELECT what, id,
    format('MK017 | message "%s" does not exist | Tenant 1 has no such message. | A message id is what mktg.send() returns and mktg.recipient shows, such as 1-7-4711.', id) AS refused
    FROM (VALUES ('empty', ''), ('a word', 'nonsense'), ('two numbers', '1-2'), ('unknown', '1-1-1'), ('a hyphen at the end', :'id' || '-'), ('a zero before', '0' || :'id'),
    ('a sign', '+' || :'id'), ('a minus', '-' || :'id'), ('blanks', ' ' || :'id'), ('blanks after', :'id' || ' '), ('a reference that is not', :'id' || '-x'),
    ('too large a number', '99999999999999999999-1-1'), ('no number', '1--1'), ('hexadecimal', '0x1-1-1'), ('a quote', '1-1-1'';--'), ('another tenant', '7' || :'id')) AS t (what, id)) x;
SELECT is(pg_temp.refusal('SELECT mktg.' || call), refused, replace(call, :'id', '?')) FROM (VALUES
    ('record_status(NULL, ''sent'')', '22004 | argument "message" must not be NULL | Give a value for "message".'),
    (format('record_status(%L, NULL)', :'id'), '22004 | argument "status" must not be NULL | Give a value for "status".'),
    (format('record_status(%L, ''sent'', tenant => NULL)', :'id'), '22004 | argument "tenant" must not be NULL | Give a value for "tenant".'),
    (format('record_status(%L, ''sent'', tenant => 999)', :'id'), 'MK010 | tenant 999 does not exist'
     ' | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.'),
    (format('settle(%L, NULL)', :'id'), '22004 | argument "status" must not be NULL | Give a value for "status".')) AS t (call, refused);
SELECT is(pg_temp.refusal(format('SELECT mktg.record_status(%L, ''delivered'', tenant => 71)', :'id')), format('MK017 | message "%s" does not exist | Tenant 71 has no such message.'
    ' | A message id is what mktg.send() returns and mktg.recipient shows, such as 1-7-4711.', :'id'), 'another tenant''s message');
SELECT is(pg_temp.refusal(format('SELECT mktg.record_status(%L, %L)', :'id', status)), format('MK018 | status "%s" does not exist here'
    ' | Statuses are sent, delivered, read, failed, bounced; events are opened, clicked, converted, unsubscribed, complained.', status), 'status ' || quote_literal(status))
  FROM unnest('{pending,queued,skipped,cancelled,in_doubt,Sent,"",done}'::text[]) AS status;

--
-- in_doubt and settle
--
SELECT pg_temp.people(8, '{whatsapp}', first => 300) AS d, mktg.create_campaign('doubtful', 'whatsapp', 'hello') AS c \gset
SELECT mktg.add_recipients(:c, array_agg(:d + i)) FROM generate_series(0, 7) AS i \g /dev/null
SELECT mktg.activate_campaign(:c, '2025-01-15'), mktg.process_daily() \g /dev/null
SELECT pg_temp.drain('in_doubt') \g /dev/null
SELECT mktg.process_daily() \g /dev/null
SELECT is((SELECT status FROM mktg.campaign WHERE campaign_id = :c) || ': ' || pg_temp.statuses(:c), 'completed: in_doubt 8', 'a doubt does not keep a campaign running');
SELECT is((SELECT string_agg(DISTINCT concat_ws(' ', campaign_name, attempts, failure_reason, doubtful_since, send_day), ',') || count(*) FROM mktg.in_doubt WHERE campaign_id = :c),
    'doubtful 1 as told 2025-01-15 09:00:00+00 2025-01-158', 'in_doubt lists them');
SELECT is((SELECT count(*) FROM mktg.in_doubt i JOIN mktg.recipient r USING (message) WHERE i.campaign_id = :c), 8::bigint, 'by the id they are settled with');
SET LOCAL mktg.clock = '2025-01-15 10:00+00';
SELECT is(string_agg(mktg.settle(mktg._message_id(1, :c, :d + i, ''), status)::text, ' '), 'true true true true true', 'settled')
  FROM unnest('{sent,delivered,read,failed,bounced}'::text[]) WITH ORDINALITY AS s (status, i);
SELECT is((SELECT string_agg(concat_ws(' ', m.status, to_char(sent_at, 'HH24'), to_char(delivered_at, 'HH24'), to_char(read_at, 'HH24'), to_char(failed_at, 'HH24'), failure_reason), ', ' ORDER BY contact_id)
    FROM mktg.message m WHERE campaign_id = :c), 'in_doubt 09 as told, sent 10, delivered 10 10, read 10 10 10, failed 10 settled, bounced 10 settled, in_doubt 09 as told, in_doubt 09 as told', 'each as it was told');
SELECT is((SELECT status FROM mktg.campaign WHERE campaign_id = :c), 'completed', 'the campaign is over all the same');
SELECT is(mktg.record_status(mktg._message_id(1, :c, :d, ''), 'delivered'), true, 'a report that comes late settles a doubt too');
SELECT is(mktg.settle(mktg._message_id(1, :c, :d + 6, ''), 'queued'), true, 'queued: send it again');
SELECT is(pg_temp.rows('SELECT status, ended_at FROM mktg.campaign WHERE campaign_id = ' || :c), '(active,)', 'reopens a completed campaign');
SELECT is(pg_temp.rows('SELECT contact_id, due, attempt FROM mktg.outbox WHERE campaign_id = ' || :c), format('(%s,"2025-01-15 10:00:00+00",0)', :d + 6), 'the message is queued');
SELECT is((SELECT status || ' ' || (failed_at IS NULL AND failure_reason IS NULL) FROM mktg.message WHERE contact_id = :d + 6), 'queued true', 'without a trace of the doubt');
SELECT is((SELECT messages_queued FROM mktg.process_daily()), 0::bigint, 'process_daily() does not end it before');
SELECT is(pg_temp.drain(), 1::bigint, 'it is sent');
SELECT mktg.process_daily() \g /dev/null
SELECT is((SELECT status FROM mktg.campaign WHERE campaign_id = :c), 'completed', 'and the campaign completed');
SELECT is(pg_temp.statuses(:c) || ' ' || mktg.rebuild_stats(:c), 'bounced 1, delivered 2, failed 1, in_doubt 1, read 1, sent 2 0', 'all counted');
SELECT is(pg_temp.refusal(format('SELECT mktg.settle(%L, %L)', mktg._message_id(1, :c, :d + 1, ''), status)), format('MK036 | message "1-%s-%s" is not in doubt | Its status is sent.'
    ' | The view mktg.in_doubt lists the messages that are.', :c, :d + 1), 'settled already: ' || status) FROM unnest('{delivered,queued}'::text[]) AS status;
SELECT is(pg_temp.refusal(format('SELECT mktg.settle(%L, %L)', mktg._message_id(1, :c, :d + 7, ''), status)), format('MK018 | status "%s" does not exist here'
    ' | A doubt is settled as sent, delivered, read, failed or bounced, or as queued to send the message again.', status), 'settled as ' || status)
  FROM unnest('{pending,skipped,cancelled,in_doubt,opened}'::text[]) AS status;
-- in a campaign that is paused, and one that is cancelled
UPDATE mktg.campaign SET status = 'active' WHERE campaign_id = :c;
SELECT mktg.pause_campaign(:c) \g /dev/null
SELECT is(mktg.settle(mktg._message_id(1, :c, :d + 7, ''), 'queued') || ' ' || pg_temp.drain(), 'true 0', 'in a paused campaign it waits');
SELECT mktg.resume_campaign(:c) \g /dev/null
SELECT is(pg_temp.drain('in_doubt'), 1::bigint, 'and is sent when that is resumed');
SELECT mktg.cancel_campaign(:c) \g /dev/null
SELECT is(pg_temp.refusal(format('SELECT mktg.settle(%L, ''queued'')', mktg._message_id(1, :c, :d + 7, ''))), format('MK033 | campaign %s cannot be sent again | It is cancelled.'
    ' | A draft can be activated or cancelled, an active campaign paused or cancelled, a paused one resumed or cancelled; completed and cancelled are the end.', :c), 'not in a cancelled one');
SELECT is(mktg.settle(mktg._message_id(1, :c, :d + 7, ''), 'failed'), true, 'which can be settled otherwise');
SELECT is((SELECT count(*) FROM mktg.in_doubt WHERE campaign_id = :c), 0::bigint, 'nothing is in doubt any more');
SELECT is(pg_temp.miscounted(), 0::bigint, 'counters equal a recount');

SELECT * FROM finish();
ROLLBACK;
