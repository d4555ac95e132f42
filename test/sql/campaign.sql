\set ECHO none
\i test/setup.sql
BEGIN;
\i test/fixture.sql
SELECT plan(154);
SET LOCAL mktg.clock = '2025-01-14 09:00+00';
INSERT INTO mktg.tenant (tenant_id, name, time_zone) VALUES
    (71, 'India', 'Asia/Kolkata'), (72, 'New Zealand', 'Pacific/Auckland'), (73, 'empty', 'UTC');
SELECT mktg.create_template('hello', 'whatsapp', body => 'Hello {{name}}') AS hello,
       mktg.create_template('mail', 'email', 'Hi', body => 'Hi') AS mail \gset
SELECT mktg.create_template('hello', 'whatsapp', body => 'Namaste', tenant => 71) \g /dev/null
SELECT mktg.create_template('hello', 'whatsapp', body => 'Kia ora', tenant => 72) \g /dev/null
SELECT mktg.set_sender('shop', 'mktg_sandbox', tenant => tenant) FROM unnest('{71,72}'::bigint[]) AS tenant \g /dev/null
SELECT mktg.set_sender('mailer', 'mktg_sandbox', channel => 'email') AS mailer,
       (SELECT sender_id FROM mktg.sender WHERE tenant_id = 1 AND name = 'sandbox') AS sandbox \gset

--
-- create_campaign
--
SELECT mktg.create_campaign('New Year Sale 2025', 'whatsapp', 'hello', 'sandbox', 'newsletter', 250, 8, 'the sale',
                            '{"discount": "20 %"}', '{"city": "Bengaluru"}', 1) AS c \gset
SELECT is(pg_temp.rows(format('SELECT tenant_id, name, channel, template_id = %s AS t, sender_id = %s AS s, type, daily_send_limit, priority,
        description, template_data, target_audience FROM mktg.campaign WHERE campaign_id = %s', :hello, :sandbox, :c)),
    '(1,"New Year Sale 2025",whatsapp,t,t,newsletter,250,8,"the sale","{""discount"": ""20 %""}","{""city"": ""Bengaluru""}")',
    'every argument is kept');
SELECT is(pg_temp.rows(format('SELECT status, code, start_date, last_position, activated_at, ended_at, created_by = current_user AS by FROM mktg.campaign
        WHERE campaign_id = %s', :c)), '(draft,,,0,,,t)', 'a new campaign is a draft without recipients');
SELECT is(pg_temp.rows(format('SELECT template_id, sender_id = %s AS s, type, daily_send_limit, priority, description, template_data, target_audience
        FROM mktg.campaign WHERE campaign_id = %s', :sandbox, mktg.create_campaign('plain', 'whatsapp'))),
    '(,t,promotional,,5,,{},)', 'defaults');
SELECT is(pg_temp.rows(format('SELECT priority, template_data FROM mktg.campaign WHERE campaign_id = %s',
    mktg.create_campaign('nulls', 'sms', NULL, NULL, 'promotional', NULL, NULL, NULL, NULL, NULL))), '(5,{})', 'NULL stands for the default');
-- A column of a campaign that is made with these arguments.
CREATE FUNCTION pg_temp.made(what text, arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    c bigint; result text;
BEGIN
    EXECUTE 'SELECT mktg.create_campaign(' || arguments || ')' INTO c;
    EXECUTE format('SELECT %s FROM mktg.campaign WHERE campaign_id = %s', what, c) INTO result;
    RETURN result;
END $$;
SELECT is(pg_temp.made('sender_id', $$'m', 'email'$$), :'mailer',
    'a sender of the channel is preferred to one that serves all');
SELECT mktg.set_sender('mailer', 'mktg_sandbox', channel => 'email', is_active => false) \g /dev/null
SELECT is(pg_temp.made('sender_id', $$'m', 'email'$$), :'sandbox',
    'one that is not active is not chosen');
SELECT is(pg_temp.made('sender_id', $$'m', 'email', sender => 'mailer'$$), :'mailer',
    'unless it is named');
SELECT is(pg_temp.made('sender_id', $$'m', 'email', tenant => 73$$), NULL,
    'a tenant without senders makes drafts');
SELECT isnt(mktg.create_campaign('twice', 'email'), mktg.create_campaign('twice', 'email'), 'names may repeat');
SELECT is(pg_temp.made('length(name)', $$repeat('é', 200), 'email'$$), '200',
    '200 characters of any script are not too long');
SELECT lives_ok(format('SELECT mktg.create_campaign(''c'', %L)', channel), 'channel ' || channel)
  FROM unnest('{email,sms,push,whatsapp,webhook,in_app}'::text[]) AS channel;

SELECT is(pg_temp.refusal('SELECT mktg.create_campaign(' || arguments || ')'), refused, name) FROM (VALUES
    ($$'c', 'email', tenant => 999$$, 'unknown tenant',
     'MK010 | tenant 999 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.'),
    ($$'c', 'email', tenant => NULL$$, 'no tenant', '22004 | argument "tenant" must not be NULL | Give a value for "tenant".'),
    ($$'c', 'fax'$$, 'unknown channel',
     'MK012 | channel "fax" does not exist | Channels are email, sms, push, whatsapp, webhook, in_app and ads.'),
    ($$'c', 'Email'$$, 'channels are small letters',
     'MK012 | channel "Email" does not exist | Channels are email, sms, push, whatsapp, webhook, in_app and ads.'),
    ($$'c', NULL$$, 'no channel', '22004 | argument "channel" must not be NULL | Give a value for "channel".'),
    ($$'c', 'whatsapp', 'bye'$$, 'unknown template',
     'MK013 | template "bye" does not exist | Tenant 1 has no template of that name. | mktg.create_template() makes one.'),
    ($$'c', 'whatsapp', 'hello', tenant => 73$$, 'template of another tenant',
     'MK013 | template "hello" does not exist | Tenant 73 has no template of that name. | mktg.create_template() makes one.'),
    ($$'c', 'email', 'hello'$$, 'template of another channel',
     'MK032 | template "hello" is for another channel | It is for channel whatsapp, and email is wanted. | Name a template of channel email.'),
    ($$'c', 'whatsapp', sender => 'nobody'$$, 'unknown sender',
     'MK015 | sender "nobody" does not exist | Tenant 1 has no sender of that name. | mktg.set_sender() makes one.'),
    ($$'c', 'whatsapp', sender => 'shop'$$, 'sender of another tenant',
     'MK015 | sender "shop" does not exist | Tenant 1 has no sender of that name. | mktg.set_sender() makes one.'),
    ($$'c', 'whatsapp', sender => 'mailer'$$, 'sender of another channel',
     'MK032 | sender "mailer" is for another channel | It is for channel email, and whatsapp is wanted. | Name a sender of channel whatsapp.'),
    ($$'c', 'email', daily_send_limit => 0$$, 'limit 0',
     'MK021 | daily_send_limit must be at least 1 | The value given is 0. | Leave it NULL for no limit.'),
    ($$'c', 'email', daily_send_limit => -250$$, 'limit below 0',
     'MK021 | daily_send_limit must be at least 1 | The value given is -250. | Leave it NULL for no limit.'),
    ($$'', 'email'$$, 'name empty',
     'MK020 | name of a campaign must have 1 to 200 characters | The name given has 0 characters. | Choose a name that is not blank and not longer.'),
    ($$E' \t\n', 'email'$$, 'name blank',
     'MK020 | name of a campaign must have 1 to 200 characters | The name given has 3 characters. | Choose a name that is not blank and not longer.'),
    ($$repeat('é', 201), 'email'$$, 'name of 201 characters',
     'MK020 | name of a campaign must have 1 to 200 characters | The name given has 201 characters. | Choose a name that is not blank and not longer.'),
    ($$NULL, 'email'$$, 'no name', '22004 | argument "name" must not be NULL | Give a value for "name".'),
    ($$'c', 'email', priority => 0$$, 'priority 0',
     'MK024 | priority must be from 1 to 10 | The value given is 0. | 10 goes first, 5 is usual.'),
    ($$'c', 'email', priority => 11$$, 'priority 11',
     'MK024 | priority must be from 1 to 10 | The value given is 11. | 10 goes first, 5 is usual.'),
    ($$'c', 'email', type => 'Big Sale'$$, 'type that is no word',
     'MK024 | campaign type "Big Sale" is not a word | Use small letters, digits and _, such as promotional, newsletter or transactional.'),
    ($$'c', 'email', type => ''$$, 'type empty',
     'MK024 | campaign type "" is not a word | Use small letters, digits and _, such as promotional, newsletter or transactional.'),
    ($$'c', 'email', type => '2025'$$, 'type that begins with a digit',
     'MK024 | campaign type "2025" is not a word | Use small letters, digits and _, such as promotional, newsletter or transactional.'),
    ($$'c', 'email', type => NULL$$, 'no type', '22004 | argument "type" must not be NULL | Give a value for "type".'),
    ($$'c', 'email', template_data => '[1]'$$, 'template_data is a list',
     'MK024 | template_data must be a JSON object | For example ''{"discount": "20 %"}''.'),
    ($$'c', 'email', template_data => '"x"'$$, 'template_data is a string',
     'MK024 | template_data must be a JSON object | For example ''{"discount": "20 %"}''.')) AS t (arguments, name, refused);

--
-- activate_campaign: what it answers, and the plan it makes
--
SELECT pg_temp.people(300) AS p \gset
-- A draft with the first n contacts, activated for a day; returns what activation said.
CREATE FUNCTION pg_temp.draft(n integer, daily integer DEFAULT NULL, sender text DEFAULT NULL, priority integer DEFAULT 5)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    c bigint := mktg.create_campaign('draft', 'whatsapp', 'hello', sender, daily_send_limit => daily, priority => priority);
BEGIN
    PERFORM mktg.add_recipients(c, array_agg(contact_id)) FROM (SELECT contact_id FROM mktg.contact
        WHERE tenant_id = 1 AND external_id IS NOT NULL ORDER BY contact_id LIMIT n) x;
    RETURN c;
END $$;
CREATE FUNCTION pg_temp.activated(campaign bigint, day date DEFAULT '2025-01-15') RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.rows(format('SELECT status, recipients_scheduled, daily_limit, estimated_days, estimated_completion_date,
        campaign_id = %s AS same FROM mktg.activate_campaign(%s, %L)', campaign, campaign, day))
$$;

SELECT pg_temp.draft(103, 25) AS c \gset
SELECT is(pg_temp.activated(:c), '(active,103,25,5,2025-01-19,t)', 'the answer: the completion date is the day of the last batch');
SELECT is(pg_temp.days(:c), '01-15 25, 01-16 25, 01-17 25, 01-18 25, 01-19 3', 'the remainder is a batch of its own');
SELECT is(pg_temp.rows(format('SELECT batch, from_position, to_position, batch_size, queued, skipped, remaining, status FROM mktg.send_schedule
        WHERE campaign_id = %s AND batch IN (1, 5) ORDER BY batch', :c)),
    '(1,1,25,25,0,0,25,planned) (5,101,103,3,0,0,3,planned)', 'the plan is ranges of positions');
SELECT is(pg_temp.rows('SELECT status, start_date, activated_at, ended_at, last_position FROM mktg.campaign WHERE campaign_id = ' || :c),
    '(active,2025-01-15,"2025-01-14 09:00:00+00",,103)', 'by mktg''s clock');
SELECT is(pg_temp.statuses(:c), 'pending 103', 'planning writes nothing into the recipients');
SELECT is(pg_temp.activated(pg_temp.draft(100, 25)), '(active,100,25,4,2025-01-18,t)', 'no remainder');
SELECT is(pg_temp.activated(pg_temp.draft(300)), '(active,300,,1,2025-01-15,t)', 'no limit at all: one batch');
SELECT is(pg_temp.activated(pg_temp.draft(1, 1000000)), '(active,1,1000000,1,2025-01-15,t)', 'a limit far above');
SELECT is(pg_temp.activated(pg_temp.draft(3, 1), '2025-01-14'), '(active,3,1,3,2025-01-16,t)', 'today is not the past');
SELECT is(pg_temp.activated(pg_temp.draft(3, 1), '2028-02-28'), '(active,3,1,3,2028-03-01,t)', 'over a 29 February');
SELECT is(pg_temp.activated(pg_temp.draft(2), NULL), '(active,2,,1,2025-01-15,t)', 'NULL is tomorrow');

-- tomorrow is where the tenant lives
SELECT pg_temp.people(1, tenant => 71) AS india, pg_temp.people(1, tenant => 72) AS zealand \gset
CREATE FUNCTION pg_temp.tomorrow(now text, tenant bigint, contact bigint) RETURNS date LANGUAGE plpgsql AS $$
DECLARE
    c bigint := mktg.create_campaign('c', 'whatsapp', 'hello', tenant => tenant);
    day date;
BEGIN
    PERFORM mktg.add_recipients(c, ARRAY[contact], tenant);
    PERFORM set_config('mktg.clock', now, true);
    day := (mktg.activate_campaign(c, tenant => tenant)).estimated_completion_date;
    PERFORM set_config('mktg.clock', '2025-01-14 09:00+00', true);
    RETURN day;
END $$;
SELECT is(pg_temp.tomorrow(now, tenant, CASE tenant WHEN 71 THEN :india ELSE :zealand END), day, name) FROM (VALUES
    ('2025-01-14 18:29:59+00', 71, date '2025-01-15', 'Asia/Kolkata, a second before midnight'),
    ('2025-01-14 18:30+00', 71, '2025-01-16', 'Asia/Kolkata, midnight'),
    ('2025-01-14 10:59:59+00', 72, '2025-01-15', 'Pacific/Auckland, a second before midnight'),
    ('2025-01-14 11:00+00', 72, '2025-01-16', 'Pacific/Auckland, midnight'),
    ('2025-04-06 11:59:59+00', 72, '2025-04-07', 'Pacific/Auckland, the day its summer time ends'),
    ('2025-04-06 12:00+00', 72, '2025-04-08', 'and the next')) AS t (now, tenant, day, name);
SELECT pg_temp.people(1, tenant => 72, first => 2) AS zealand2 \gset
SELECT mktg.create_campaign('c', 'whatsapp', 'hello', tenant => 72) AS kiwi \gset
SELECT mktg.add_recipients(:kiwi, ARRAY[:zealand2]::bigint[], 72) \g /dev/null
SET LOCAL mktg.clock = '2025-01-14 11:00+00';
SELECT is(pg_temp.refusal(format('SELECT mktg.activate_campaign(%s, ''2025-01-14'', 72)', :kiwi)),
    'MK034 | a campaign cannot start in the past | The start is 2025-01-14 and today is 2025-01-15 for tenant 72.'
    ' | Start today or later; NULL means tomorrow.', 'in Auckland it is the 15th already');
SET LOCAL mktg.clock = '2025-01-14 09:00+00';

--
-- activate_campaign: refusals
--
SELECT mktg.create_campaign('no template', 'whatsapp') AS no_template, mktg.create_campaign('nobody', 'whatsapp', 'hello') AS nobody,
       pg_temp.draft(3, 1) AS ready, mktg.create_campaign('no sender', 'whatsapp', 'hello', tenant => 71) AS no_sender,
       mktg.create_campaign('wrong', 'whatsapp') AS wrong, pg_temp.draft(3, 1) AS long, :c AS running \gset
SELECT mktg.add_recipients(c, ARRAY[:p]::bigint[]) FROM unnest(ARRAY[:no_template, :wrong]) AS c \g /dev/null
SELECT mktg.add_recipients(:no_sender, ARRAY[:india]::bigint[], 71) \g /dev/null
UPDATE mktg.campaign SET template_id = :mail WHERE campaign_id = :wrong;
UPDATE mktg.sender SET is_active = false WHERE tenant_id = 71;
UPDATE mktg.campaign SET sender_id = NULL WHERE campaign_id = :no_sender;
SELECT is(pg_temp.refusal(format('SELECT mktg.activate_campaign(%s)', arguments)), refused, name) FROM (VALUES
    ('-1', 'unknown campaign', 'MK014 | campaign -1 does not exist | Tenant 1 has no such campaign.'
     ' | The view mktg.campaign_list lists them; mktg.create_campaign() makes one.'),
    (:kiwi::text, 'campaign of another tenant', format('MK014 | campaign %s does not exist | Tenant 1 has no such campaign.'
     ' | The view mktg.campaign_list lists them; mktg.create_campaign() makes one.', :kiwi)),
    (:ready || ', tenant => 999', 'unknown tenant',
     'MK010 | tenant 999 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.'),
    ('NULL', 'no campaign', '22004 | argument "campaign" must not be NULL | Give a value for "campaign".'),
    (:nobody::text, 'no recipients', format('MK030 | campaign %s has no recipients'
     ' | Add some with mktg.add_recipients() or mktg.add_all_contacts().', :nobody)),
    (:no_template::text, 'no template', format('MK031 | campaign %s has no template | Make one of channel whatsapp with mktg.create_template()'
     ' and set campaign.template_id, or name it in mktg.create_campaign().', :no_template)),
    (:wrong::text, 'template of another channel, set by hand',
     'MK032 | template "mail" is for another channel | It is for channel email, and whatsapp is wanted. | Name a template of channel whatsapp.'),
    (:no_sender || ', tenant => 71', 'no sender', 'MK015 | there is no sender for channel whatsapp | mktg.set_sender() makes one.'),
    (:running::text, 'twice', format('MK033 | campaign %s cannot be activated | It is active. | A draft can be activated or cancelled,'
     ' an active campaign paused or cancelled, a paused one resumed or cancelled; completed and cancelled are the end.', :running)),
    (:ready || ', ''2025-01-13''', 'yesterday', 'MK034 | a campaign cannot start in the past'
     ' | The start is 2025-01-13 and today is 2025-01-14 for tenant 1. | Start today or later; NULL means tomorrow.'),
    (:ready || ', ''-infinity''', 'before all time', 'MK034 | a campaign cannot start in the past'
     ' | The start is -infinity and today is 2025-01-14 for tenant 1. | Start today or later; NULL means tomorrow.'),
    (:ready || ', ''2125-01-16''', 'more than a century ahead', 'MK035 | a campaign cannot start more than 36525 days ahead'
     ' | The start is 2125-01-16 and today is 2025-01-14 for tenant 1. | Choose an earlier day; NULL means tomorrow.'),
    (:ready || ', ''infinity''', 'never', 'MK035 | a campaign cannot start more than 36525 days ahead'
     ' | The start is infinity and today is 2025-01-14 for tenant 1. | Choose an earlier day; NULL means tomorrow.')) AS t (arguments, name, refused);
SELECT is(string_agg(DISTINCT status, ','), 'draft', 'all of them are drafts still') FROM mktg.campaign
 WHERE campaign_id IN (:nobody, :no_template, :wrong, :no_sender, :ready);
SELECT is(pg_temp.activated(:ready, '2125-01-15'), '(active,3,1,3,2125-01-17,t)', 'a century ahead, and over it');
--
-- campaigns that share a sender with a daily limit
--
SELECT mktg.set_sender('phone', 'mktg_sandbox', daily_limit => 100) AS phone \gset
SELECT pg_temp.draft(250, NULL, 'phone') AS a, pg_temp.draft(120, 80, 'phone') AS b, pg_temp.draft(150, 90, 'phone', 9) AS c,
       pg_temp.draft(30, NULL, 'phone', 1) AS d, pg_temp.draft(10, NULL, 'phone', 10) AS e \gset
-- The most that any day holds of the sender.
CREATE FUNCTION pg_temp.fullest(sender text) RETURNS bigint LANGUAGE sql AS $$
    SELECT max(n) FROM (SELECT sum(batch_size) AS n FROM mktg.send_schedule p
        JOIN mktg.campaign c USING (tenant_id, campaign_id) JOIN mktg.sender s USING (tenant_id, sender_id)
        WHERE s.name = sender AND c.status IN ('active', 'completed') AND p.status <> 'cancelled' GROUP BY send_date) x
$$;
SELECT is(pg_temp.activated(:a), '(active,250,100,3,2025-01-17,t)', 'the sender''s limit where the campaign has none');
SELECT is(pg_temp.activated(:b), '(active,120,80,2,2025-01-18,t)', 'the second takes what the first leaves');
SELECT is(pg_temp.days(:a) || ' / ' || pg_temp.days(:b), '01-15 100, 01-16 100, 01-17 50 / 01-17 50, 01-18 70',
    'among equals the first keeps its days');
SELECT is(pg_temp.activated(:c), '(active,150,90,2,2025-01-16,t)', 'a higher priority goes first');
SELECT is(pg_temp.days(:c) || ' / ' || pg_temp.days(:a) || ' / ' || pg_temp.days(:b),
    '01-15 90, 01-16 60 / 01-15 10, 01-16 40, 01-17 100, 01-18 100 / 01-19 80, 01-20 40', 'the lower ones are planned anew');
SELECT is(pg_temp.activated(:d), '(active,30,100,2,2025-01-20,t)', 'the lowest priority fills gaps');
SELECT is(pg_temp.activated(:e, '2025-01-20'), '(active,10,100,1,2025-01-20,t)', 'the highest from the 20th on');
SELECT is(pg_temp.days(:b) || ' / ' || pg_temp.days(:d) || ' / ' || pg_temp.days(:e), '01-19 80, 01-20 40 / 01-19 20, 01-20 10 / 01-20 10',
    'moves nobody where there is room');
SELECT is(pg_temp.fullest('phone'), 100::bigint, 'no day holds more than the sender may send');
SELECT is((SELECT string_agg(sum, ',' ORDER BY send_date) FROM (SELECT send_date, max(sender_total)::text AS sum FROM mktg.send_calendar
            WHERE sender = 'phone' GROUP BY send_date) x), '100,100,100,100,100,60', 'as the calendar shows');
SELECT is((SELECT count(*) FROM mktg.send_schedule p, generate_series(from_position, to_position) WHERE campaign_id = :a), 250::bigint,
    'every position is planned once');
-- another sender of the same tenant does not compete
SELECT mktg.set_sender('phone2', 'mktg_sandbox', daily_limit => 100) \g /dev/null
SELECT is(pg_temp.activated(pg_temp.draft(100, NULL, 'phone2')), '(active,100,100,1,2025-01-15,t)', 'caps are the sender''s own');

--
-- the state machine
--
CREATE FUNCTION pg_temp.campaign_in(state text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    c bigint := pg_temp.draft(4, 2);
BEGIN
    IF state <> 'draft' AND state <> 'cancelled' THEN PERFORM mktg.activate_campaign(c, '2025-01-15'); END IF;
    CASE state WHEN 'paused' THEN PERFORM mktg.pause_campaign(c);
               WHEN 'cancelled' THEN PERFORM mktg.cancel_campaign(c);
               WHEN 'completed' THEN UPDATE mktg.campaign SET status = 'completed' WHERE campaign_id = c;
               ELSE NULL; END CASE;
    RETURN c;
END $$;
CREATE TEMP TABLE every AS SELECT state, pg_temp.campaign_in(state) AS c FROM unnest('{draft,active,paused,completed,cancelled}'::text[]) AS state;
SELECT is(string_agg(c.status, ',' ORDER BY campaign_id), 'draft,active,paused,completed,cancelled', 'a campaign in every state')
  FROM every JOIN mktg.campaign c ON campaign_id = every.c;
SELECT is(pg_temp.refusal(format(call, c)),
    CASE WHEN state = ANY (allowed) THEN 'nothing' ELSE format('MK033 | campaign %s cannot be %s | It is %s. | A draft can be activated or cancelled,'
     ' an active campaign paused or cancelled, a paused one resumed or cancelled; completed and cancelled are the end.', c, participle, state) END,
    participle || ' when ' || state)
  FROM every, (VALUES
    ('SELECT mktg.activate_campaign(%s)', 'activated', '{draft}'::text[]),
    ('SELECT mktg.pause_campaign(%s)', 'paused', '{active}'),
    ('SELECT mktg.resume_campaign(%s)', 'resumed', '{paused}'),
    ('SELECT mktg.cancel_campaign(%s)', 'cancelled', '{draft,active,paused}'),
    ('SELECT mktg.add_recipients(%s, ''{}''::bigint[])', 'given recipients', '{draft,active,paused}')) AS f (call, participle, allowed)
 WHERE NOT state = ANY (allowed);
SELECT is(pg_temp.refusal(format(call, campaign)), refused, format(call, name)) FROM (VALUES
    ('-1', 'unknown', 'MK014 | campaign -1 does not exist | Tenant 1 has no such campaign.'
     ' | The view mktg.campaign_list lists them; mktg.create_campaign() makes one.'),
    (:kiwi::text, 'another tenant''s', format('MK014 | campaign %s does not exist | Tenant 1 has no such campaign.'
     ' | The view mktg.campaign_list lists them; mktg.create_campaign() makes one.', :kiwi)),
    ('1, 999', 'unknown tenant', 'MK010 | tenant 999 does not exist'
     ' | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.'),
    ('NULL', 'NULL', '22004 | argument "campaign" must not be NULL | Give a value for "campaign".')) AS t (campaign, name, refused),
    unnest('{pause_campaign(%s),resume_campaign(%s),cancel_campaign(%s),campaign_stats(%s),rebuild_stats(%s),add_all_contacts(%s)}'::text[]) AS function,
    LATERAL (SELECT 'SELECT mktg.' || function) c (call);

-- against a direct UPDATE too
SELECT is(pg_temp.refusal(format('UPDATE mktg.campaign SET status = %L WHERE campaign_id = %s', target, c)),
    format('MK033 | campaign cannot go from %s to %s | Campaign %s.'
           ' | Use mktg.activate_campaign(), pause_campaign(), resume_campaign() and cancel_campaign().', state, target, c),
    format('UPDATE from %s to %s', state, target))
  FROM every, unnest('{draft,active,paused,completed,cancelled}'::text[]) AS target
 WHERE state <> target AND (state, target) NOT IN (('draft', 'cancelled'), ('active', 'paused'), ('active', 'completed'),
    ('active', 'cancelled'), ('paused', 'active'), ('paused', 'cancelled'), ('completed', 'active'));
SELECT is(pg_temp.refusal(format('UPDATE mktg.campaign SET name = name || ''!'', status = status WHERE campaign_id = %s', c)), 'nothing',
    'other columns of a campaign that is ' || state || ' may change') FROM every;
SELECT throws_ok(format('INSERT INTO mktg.campaign (name, channel, status) VALUES (''c'', ''email'', %L)', state), 'MK033',
    format('a campaign cannot begin as %s', state), 'INSERT of one that is ' || state) FROM every WHERE state <> 'draft';
SELECT throws_ok(format('UPDATE mktg.campaign SET status = ''running'' WHERE campaign_id = %s', c), 'MK033', NULL, 'UPDATE to a status that is none')
  FROM every WHERE state = 'active';
SELECT throws_ok(format('UPDATE mktg.campaign SET status = NULL WHERE campaign_id = %s', c), '23502', NULL, 'UPDATE to no status')
  FROM every WHERE state = 'active';
SELECT is(pg_temp.refusal('SELECT mktg._campaign_guard()'), '39P01 | _campaign_guard must be fired before insert or update for each row',
    'the guard is a trigger');

-- a plan of a century, last as it is long
UPDATE mktg.campaign SET last_position = 36527 WHERE campaign_id = :long;
SELECT is(pg_temp.refusal(format('SELECT mktg.activate_campaign(%s)', :long)),
    format('MK021 | the plan of campaign %s would take more than 36525 days | Raise daily_send_limit or the sender''s daily limit.', :long),
    'a plan longer than a century');
UPDATE mktg.campaign SET last_position = 36526 WHERE campaign_id = :long;
SELECT is(pg_temp.activated(:long), '(active,36526,1,36526,2125-01-16,t)', 'a century is not too long');

SELECT * FROM finish();
ROLLBACK;
