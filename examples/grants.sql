-- grants.sql: who may do what. Two roles, which must exist:
--
--	admin	runs marketing: templates, segments, campaigns, senders, providers, arming
--	app	the application: contacts, consent, what contacts do, questions about
--		segments, single messages, statistics
--
--	psql -d DATABASE -1 -v admin=ROLE -v app=ROLE -f examples/grants.sql
--
-- Run it as the role that installed mktg, once mktg.install() has been run, and
-- again after every upgrade and mktg.migrate(): what they make anew has no
-- grants. Running it twice changes nothing.
--
-- install(), migrate() and uninstall() stay with the role that owns the tables, and
-- so does the registry of what rules of segments may name: its expressions run with
-- the owner's rights when the worker refreshes segments.

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
-- the first six need the tables' owner; the last two of the others are the worker's.
-- Refreshing takes the aggregate mktg._collect(), not the functions it is made of.
REVOKE EXECUTE ON FUNCTION
    mktg.install(boolean), mktg.migrate(), mktg.uninstall(text),
    mktg.map_source(text, regclass, name, name, text, text, bigint),
    mktg.define_field(text, text, text, text, text, bigint),
    mktg.define_alias(text, jsonb, bigint),
    mktg._collect_row(internal, bytea, bigint, "any"), mktg._collect_combine(internal, internal),
    mktg._collect_serialize(internal), mktg._collect_deserialize(bytea, internal), mktg._collect_end(internal),
    mktg._claim(smallint, integer), mktg._record(text, bigint, text, text)
FROM :"admin";

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA mktg TO :"admin";
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA mktg TO :"admin";
-- what has been logged stays, and only migrate() changes the version
REVOKE UPDATE, DELETE ON mktg.consent_log FROM :"admin";
REVOKE INSERT, UPDATE, DELETE ON mktg.schema_version FROM :"admin";
REVOKE INSERT, UPDATE, DELETE ON mktg.source, mktg.field, mktg.rule_alias FROM :"admin";

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

-- what contacts do
GRANT SELECT, INSERT, UPDATE ON mktg.purchase, mktg.cart TO :"app";
GRANT SELECT, INSERT ON mktg.event TO :"app";
GRANT USAGE ON SEQUENCE mktg.purchase_purchase_id_seq, mktg.cart_cart_id_seq TO :"app";

-- questions about segments: stored members, and rules held against one contact, with
-- what the expressions of fields call and read. Tables of your own that are mapped
-- need SELECT too.
GRANT EXECUTE ON FUNCTION
    mktg.matches(bigint, jsonb, timestamptz, bigint), mktg.why_segment(bigint, jsonb, timestamptz, bigint),
    mktg.in_segment(bigint, bigint, bigint), mktg.audience_size(bigint[], bigint[], text, bigint),
    mktg._chunk_has(bytea, bigint), mktg._chunk_members(bigint, bytea), mktg._rule_operators(),
    mktg.lifecycle_stage(timestamptz, timestamptz), mktg.days_since(timestamptz, timestamptz),
    mktg._json_number(jsonb, text), mktg._json_count(jsonb, text), mktg._json_texts(jsonb, text),
    mktg._json_boolean(jsonb, text), mktg._json_time(jsonb, text, text),
    mktg._advance_days(jsonb, text, timestamptz, text), mktg._weekday(jsonb, text, timestamptz, text),
    mktg._month(jsonb, text, timestamptz, text)
TO :"app";
GRANT SELECT ON
    mktg.source, mktg.field, mktg.rule_alias, mktg.rule_field, mktg.rule_operator,
    mktg.segment, mktg.segment_bitmap, mktg.segment_list, mktg.segment_member, mktg.rfm_score
TO :"app";

-- single messages; the first of a template makes the campaign they belong to.
-- Counters are written with the rights of the tables' owner.
GRANT EXECUTE ON FUNCTION
    mktg.send(bigint, text, jsonb, text, text, text, bigint),
    mktg.send_conversion(bigint, text, text, timestamptz, bigint, text, text, jsonb, bigint)
TO :"app";
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
GRANT INSERT ON mktg.complaint TO :"app";

-- messages in the application itself
GRANT EXECUTE ON FUNCTION
    mktg.inbox(bigint, bigint), mktg.mark_read(text, timestamptz, bigint)
TO :"app";
GRANT SELECT, UPDATE (read_at) ON mktg.inbox_message TO :"app";

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

-- offers: what they take off, and using them; making them is the admin's
GRANT EXECUTE ON FUNCTION
    mktg.validate_promo(text, bigint, jsonb, timestamptz, bigint), mktg.public_reason(text),
    mktg.best_offers(bigint, jsonb, text[], timestamptz, bigint), mktg.quote(bigint, jsonb, text[], jsonb, timestamptz, bigint),
    mktg.effective_price(text, bigint, integer, timestamptz, bigint),
    mktg.reserve_promo(text, bigint, jsonb, text, interval, timestamptz, bigint),
    mktg.redeem_promo(text, bigint, jsonb, text, text, timestamptz, bigint),
    mktg.commit_redemption(bigint, text, timestamptz, bigint), mktg.release_redemption(bigint, timestamptz, bigint),
    mktg.reverse_redemption(bigint, bigint, text, timestamptz, bigint)
TO :"app";
GRANT SELECT ON mktg.offer, mktg.code_series, mktg.price_phase TO :"app";
GRANT SELECT, UPDATE (uses_left, budget_left) ON mktg.offer_slot TO :"app";
GRANT SELECT, INSERT, UPDATE (used) ON mktg.offer_contact TO :"app";
GRANT SELECT, UPDATE (redemption_id) ON mktg.promo_code TO :"app";
GRANT SELECT, INSERT, UPDATE (status, purchase, reversed, refunds, expires_at, committed_at, ended_at)
    ON mktg.redemption TO :"app";
GRANT USAGE ON SEQUENCE mktg.redemption_redemption_id_seq TO :"app";
