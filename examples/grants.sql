-- grants.sql: who may do what. Two roles, which must exist:
--
--	admin	runs marketing: templates, campaigns, senders, providers, arming
--	app	the application: contacts, consent, single messages, statistics
--
--	psql -d DATABASE -1 -v admin=ROLE -v app=ROLE -f examples/grants.sql
--
-- Run it as the role that installed mktg, once mktg.install() has been run, and
-- again after every upgrade and mktg.migrate(): what they make anew has no
-- grants. Running it twice changes nothing.
--
-- install(), migrate() and uninstall() stay with the role that owns the tables.

\if :{?admin}
\else
    \warn 'grants.sql: name the role of the administrators: -v admin=ROLE'
    \quit
\endif
\if :{?app}
\else
    \warn 'grants.sql: name the role of the application: -v app=ROLE'
    \quit
\endif

GRANT USAGE ON SCHEMA mktg TO :"admin", :"app";

-- ---- admin ----

GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA mktg TO :"admin";
-- these three need the tables' owner; the last two are the worker's
REVOKE EXECUTE ON FUNCTION
    mktg.install(boolean), mktg.migrate(), mktg.uninstall(text),
    mktg._claim(smallint, integer), mktg._record(text, bigint, text, text)
FROM :"admin";

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA mktg TO :"admin";
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA mktg TO :"admin";
-- what has been logged stays, and only migrate() changes the version
REVOKE UPDATE, DELETE ON mktg.consent_log FROM :"admin";
REVOKE INSERT, UPDATE, DELETE ON mktg.schema_version FROM :"admin";

-- to CREATE SERVER: a provider belongs to the role that makes it
GRANT USAGE ON FOREIGN DATA WRAPPER mktg_provider TO :"admin";

-- ---- app ----

-- every function looks the version up, most of them the tenant
GRANT SELECT ON mktg.schema_version, mktg.tenant TO :"app";
GRANT EXECUTE ON FUNCTION mktg.clock() TO :"app";

-- contacts
GRANT EXECUTE ON FUNCTION
    mktg.normalize_address(text, text), mktg.address_hash(text),
    mktg.upsert_contact(jsonb, bigint)
TO :"app";
GRANT SELECT, INSERT, UPDATE ON mktg.contact TO :"app";
GRANT SELECT, INSERT, DELETE ON mktg.contact_claim TO :"app";
GRANT USAGE ON SEQUENCE mktg.contact_contact_id_seq TO :"app";

-- consent, and what is never to be written to again; unsuppress() is the admin's
GRANT EXECUTE ON FUNCTION
    mktg.subscribe(bigint, text, text, text, inet, bigint),
    mktg.unsubscribe(bigint, text, text, text, bigint),
    mktg.suppress(text, text, text, bigint)
TO :"app";
GRANT SELECT, INSERT, UPDATE ON mktg.consent TO :"app";
GRANT INSERT ON mktg.consent_log TO :"app";
GRANT SELECT, INSERT ON mktg.suppression TO :"app";

-- single messages; the first of a template makes the campaign they belong to.
-- Counters are written with the rights of the tables' owner.
GRANT EXECUTE ON FUNCTION mktg.send(bigint, text, jsonb, text, text, text, bigint) TO :"app";
GRANT SELECT ON mktg.template, mktg.sender, mktg.campaign TO :"app";
GRANT INSERT (tenant_id, name, code, type, channel, template_id, sender_id, status, priority, activated_at)
    ON mktg.campaign TO :"app";
GRANT USAGE ON SEQUENCE mktg.campaign_campaign_id_seq TO :"app";
GRANT SELECT, INSERT ON mktg.message, mktg.outbox TO :"app";

-- what providers report, as long as the application is who hears it
GRANT EXECUTE ON FUNCTION mktg.record_status(text, text, timestamptz, text, bigint) TO :"app";
GRANT UPDATE (status, sent_at, delivered_at, read_at, failed_at, failure_reason,
              opened_at, clicked_at, converted_at, unsubscribed_at)
    ON mktg.message TO :"app";
GRANT DELETE ON mktg.outbox TO :"app";

-- statistics and the plan
GRANT EXECUTE ON FUNCTION
    mktg.campaign_stats(bigint, bigint),
    mktg._require_campaign(bigint, bigint), mktg._message_id(bigint, bigint, bigint, text)
TO :"app";
GRANT SELECT ON
    mktg.send_schedule, mktg.campaign_stat, mktg._campaign_count,
    mktg.campaign_list, mktg.campaign_daily, mktg.send_calendar,
    mktg.recipient, mktg.failed_sends, mktg.in_doubt
TO :"app";
