\set ECHO none
\i test/setup.sql
BEGIN;
SELECT plan(65);

-- What a statement is refused with: SQLSTATE, message, detail, hint.
CREATE FUNCTION pg_temp.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    code text; message text; detail text; hint text;
BEGIN
    EXECUTE statement;
    RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', code, message, nullif(detail, ''), nullif(hint, ''));
END $$;
CREATE FUNCTION pg_temp.versions(template bigint) RETURNS SETOF text LANGUAGE sql STABLE AS
    $$SELECT (t.version, t.category, v.version, v.locale, v.subject, v.html, v.body)::text
        FROM mktg.template t JOIN mktg.template_version v USING (tenant_id, template_id)
       WHERE template_id = template ORDER BY v.version$$;
INSERT INTO mktg.tenant (tenant_id, name) VALUES (70, 'seventy');

SELECT is(pg_get_function_arguments('mktg.create_template'::regproc),
          'name text, channel text, subject text DEFAULT NULL::text, html text DEFAULT NULL::text, body text DEFAULT NULL::text, '
          'locale text DEFAULT NULL::text, category text DEFAULT ''promotional''::text, tenant bigint DEFAULT 1', 'the arguments');

SELECT mktg.create_template('welcome', 'email', 'Hello {{name}}', '<p>{{name}}</p>', 'Hi {{name}}', 'en') AS welcome \gset
SELECT results_eq(format('SELECT pg_temp.versions(%s)', :welcome),
                  $$VALUES ('(1,promotional,1,en,"Hello {{name}}",<p>{{name}}</p>,"Hi {{name}}")')$$, 'a template has its first version');
SELECT is(mktg.create_template('welcome', 'email', 'Hi', body => 'Hi', category => 'transactional'), :welcome::bigint, 'the same name again');
SELECT results_eq(format('SELECT pg_temp.versions(%s)', :welcome),
                  $$VALUES ('(2,transactional,1,en,"Hello {{name}}",<p>{{name}}</p>,"Hi {{name}}")'), ('(2,transactional,2,,Hi,,Hi)')$$,
                  'makes the next version, which is the one in use; the first stays');
SELECT is(mktg.create_template('welcome', 'email', 'Hi', body => 'Hi'), :welcome::bigint, 'the same texts again');
SELECT is((SELECT version FROM mktg.template WHERE template_id = :welcome), 3, 'are a version too');
SELECT isnt(mktg.create_template('welcome', 'sms', body => 'Hi'), :welcome::bigint, 'the same name on another channel is another template');
SELECT isnt(mktg.create_template('Welcome', 'email', 'Hi', body => 'Hi'), :welcome::bigint, 'names are case-sensitive');
SELECT isnt(mktg.create_template('welcome', 'email', 'Hi', body => 'Hi', tenant => 70), :welcome::bigint, 'and in another tenant another');
SELECT is((SELECT version FROM mktg.template WHERE template_id = :welcome), 3, 'which leaves this one as it is');

SELECT lives_ok(format('SELECT mktg.create_template(%L, %L, %L, %L)', 'each', channel, 'subject', '<p>html alone</p>'), channel || ': html alone')
  FROM unnest('{email,sms,push,whatsapp,webhook,in_app}'::text[]) AS channel;
SELECT lives_ok(format('SELECT mktg.create_template(%L, %L, body => %L)', 'plain', channel, 'body alone'), channel || ': body alone, no subject')
  FROM unnest('{sms,push,whatsapp,webhook,in_app}'::text[]) AS channel;
SELECT lives_ok(format('SELECT mktg.create_template(%L, %L, body => %L, locale => %L)', 'locale', 'sms', 'x', locale), 'locale ' || locale)
  FROM unnest('{en,pt_BR,zh-Hant-TW,de-1996,sl-Latn-IT-nedis}'::text[]) AS locale;
SELECT is((SELECT locale FROM mktg.template_version JOIN mktg.template USING (tenant_id, template_id, version) WHERE name = 'locale'), 'sl-Latn-IT-nedis', 'locale is kept');
SELECT mktg.create_template('empty', 'sms', '', '', 'x', '') \g /dev/null
SELECT is((SELECT (v.subject, v.html, v.locale, v.body)::text FROM mktg.template_version v JOIN mktg.template USING (tenant_id, template_id) WHERE name = 'empty'),
          '(,,,x)', 'empty texts are none');
SELECT lives_ok($$SELECT mktg.create_template(repeat('n', 200), 'email', repeat('s', 1000), repeat('h', 1024 * 1024), repeat('b', 1024 * 1024))$$, 'as long as may be');

CREATE TEMP TABLE hostile (n serial, content text);
INSERT INTO hostile (content) VALUES
    ($t$'; DROP TABLE mktg.template; --$t$), ($t$O'Brien "the" \ backslash$t$), ($t$\'; SELECT 1; --$t$), ($t$$1 %s %n {0} {$t$),
    (U&'\202Eright to left\202C'), (U&'\D83D\DE00 e\0301 \4E2D\6587'), ('<script>alert(1)</script>'), ('}} } {'), ('NULL');
SELECT mktg.create_template(content, 'email', content, content, content, category => content) FROM hostile \g /dev/null
SELECT is((SELECT v.subject = content AND v.html = content AND v.body = content AND t.category = content
             FROM mktg.template t JOIN mktg.template_version v USING (tenant_id, template_id) WHERE t.name = content), true, 'kept as it came: hostile text ' || n)
  FROM hostile ORDER BY n;

SELECT is(pg_temp.refusal('SELECT mktg.create_template(' || arguments || ')'), refusal, 'refused: ' || left(arguments, 70))
  FROM (VALUES
    ($$'x', 'email', 'subject alone'$$, 'MK023 | template has neither html nor body | Give at least one of "html" and "body"; a subject alone is no message.'),
    ($$'x', 'sms', html => '', body => ''$$, 'MK023 | template has neither html nor body | Give at least one of "html" and "body"; a subject alone is no message.'),
    ($$'x', 'email', body => 'x'$$, 'MK023 | template for channel "email" has no subject | Give "subject" a text.'),
    ($$'x', 'email', ' ', body => 'x'$$, 'MK023 | template for channel "email" has no subject | Give "subject" a text.'),
    ($$'x', 'email', E'x\r\nBcc: y@example.com', body => 'x'$$,
     'MK023 | subject of a template must be one line | It holds a line break or another control character. | Write the subject without it.'),
    ($$'x', 'push', E'x\n', body => 'x'$$,
     'MK023 | subject of a template must be one line | It holds a line break or another control character. | Write the subject without it.'),
    ($$'x', 'fax', body => 'x'$$, 'MK012 | channel "fax" does not exist | Channels are email, sms, push, whatsapp, webhook, in_app and ads.'),
    ($$'', 'sms', body => 'x'$$, 'MK020 | name of a template must have 1 to 200 characters | The name given has 0 characters. | Choose a name that is not blank and not longer.'),
    ($$repeat('x', 201), 'sms', body => 'x'$$, 'MK020 | name of a template must have 1 to 200 characters | The name given has 201 characters. | Choose a name that is not blank and not longer.'),
    ($$'x', 'sms', body => 'x', category => ''$$, 'MK020 | name of a template category must have 1 to 200 characters | The name given has 0 characters. | Choose a name that is not blank and not longer.'),
    ($$'x', 'sms', body => 'x', locale => 'english (UK)'$$, 'MK024 | invalid locale "english (UK)" | Write it like en, pt_BR or zh-Hant-TW.'),
    ($$'x', 'sms', body => 'x', locale => 'en-'$$, 'MK024 | invalid locale "en-" | Write it like en, pt_BR or zh-Hant-TW.'),
    ($$'x', 'sms', body => 'x', locale => repeat('x', 36)$$, 'MK025 | "locale" of a template is too large | It has 36 bytes, at most 35 are allowed. | Shorten it.'),
    ($$'x', 'email', repeat('x', 1001), body => 'x'$$, 'MK025 | "subject" of a template is too large | It has 1001 bytes, at most 1000 are allowed. | Shorten it.'),
    ($$'x', 'sms', body => repeat('x', 1024 * 1024 + 1)$$, 'MK025 | "body" of a template is too large | It has 1048577 bytes, at most 1048576 are allowed. | Shorten it.'),
    ($$'x', 'sms', html => repeat('x', 1024 * 1024 + 1)$$, 'MK025 | "html" of a template is too large | It has 1048577 bytes, at most 1048576 are allowed. | Shorten it.'),
    ($$'x', 'sms', body => 'x', tenant => 404$$, 'MK010 | tenant 404 does not exist | Name the tenant as the last argument; SELECT tenant_id, name FROM mktg.tenant lists them.'),
    ($$NULL, 'sms', body => 'x'$$, '22004 | argument "name" must not be NULL | Give a value for "name".'),
    ($$'x', NULL, body => 'x'$$, '22004 | argument "channel" must not be NULL | Give a value for "channel".'),
    ($$'x', 'sms', body => 'x', category => NULL$$, '22004 | argument "category" must not be NULL | Give a value for "category".'),
    ($$'x', 'sms', body => 'x', tenant => NULL$$, '22004 | argument "tenant" must not be NULL | Give a value for "tenant".')
  ) AS v (arguments, refusal);

-- the place of a syntax error, in every text
SELECT is(pg_temp.refusal($$SELECT mktg.create_template('x', 'email', 'Hello {{name', body => 'x')$$), 'MK023 | syntax error in "subject" of a template | At byte 6: "{{" is not closed by "}}". | Names are written {{name}}; see the page on templates.', 'syntax error in the subject');
SELECT is(pg_temp.refusal($$SELECT mktg.create_template('x', 'email', 'Hello', '<p>{{ na me }}</p>')$$), 'MK023 | syntax error in "html" of a template | At byte 9: a name may hold only letters, digits, "_" and ".". | Names are written {{name}}; see the page on templates.', 'syntax error in html');
SELECT is(pg_temp.refusal($$SELECT mktg.create_template('x', 'sms', body => U&'\00e9{{#each}}')$$), 'MK023 | syntax error in "body" of a template | At byte 2: sections ({{#name}}, {{^name}}, {{/name}}) are not supported yet. | Names are written {{name}}; see the page on templates.', 'syntax error in the body, counted in bytes');

SELECT is((SELECT count(*) FROM mktg.template WHERE name = 'x'), 0::bigint, 'refused: nothing is written');

-- short messages
SELECT is(array_agg(m::text ORDER BY n), ARRAY['(GSM-7,0,0,0)', '(GSM-7,160,160,1)', '(GSM-7,161,161,2)', '(GSM-7,80,160,1)', '(UCS-2,13,13,1)', '(UCS-2,72,72,2)'],
          'what texts take as SMS')
  FROM unnest(ARRAY['', repeat('a', 160), repeat('a', 161), repeat('[', 80), U&'Don\2019t miss it', repeat(U&'\+01F389', 36)])
       WITH ORDINALITY AS t (body, n), mktg.measure_sms(body) AS m;
SELECT is((mktg.measure_sms(NULL)).segments, NULL, 'NULL has no measure');

SELECT * FROM finish();
ROLLBACK;
