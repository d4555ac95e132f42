\echo Use "CREATE EXTENSION mktg" to load this file. \quit
-- install.sql: bringing the tables, arming delivery, health, housekeeping

CREATE FUNCTION mktg.clock() RETURNS timestamptz
    LANGUAGE C STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_clock';
COMMENT ON FUNCTION mktg.clock() IS 'now(), or the instant the superuser''s setting mktg.clock has stopped the clock at';

CREATE FUNCTION mktg.install(default_tenant boolean DEFAULT true) RETURNS integer
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_install';
COMMENT ON FUNCTION mktg.install(boolean) IS 'creates tables, triggers and views, arms delivery for this place, makes tenant 1 with a sandbox sender; returns the schema version';

CREATE FUNCTION mktg.migrate() RETURNS integer
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_migrate';
COMMENT ON FUNCTION mktg.migrate() IS 'brings the tables to the version this library knows and puts back triggers and views that DROP EXTENSION took; returns the schema version';

CREATE FUNCTION mktg.uninstall(confirm text) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_uninstall';
COMMENT ON FUNCTION mktg.uninstall(text) IS 'drops everything install() made, data included; confirm is the name of the database';

CREATE FUNCTION mktg.status() RETURNS TABLE ("check" text, ok boolean, detail text)
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_status';
COMMENT ON FUNCTION mktg.status() IS 'health: one row a check; works before install() and without preloading, and says so';

CREATE FUNCTION mktg.arm_delivery() RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_arm_delivery';
COMMENT ON FUNCTION mktg.arm_delivery() IS 'lets this place send: cluster, timeline, database, data directory and host of this session; no other place then does';

CREATE FUNCTION mktg.disarm_delivery() RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_disarm_delivery';
COMMENT ON FUNCTION mktg.disarm_delivery() IS 'stops all sending from the next claim on, until arm_delivery()';

CREATE FUNCTION mktg.maintain() RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_maintain';
COMMENT ON FUNCTION mktg.maintain() IS 'housekeeping: folds statistics of past days, forgets failures and sandbox messages older than 30 days';

CREATE FUNCTION mktg.schedule_jobs(tenant bigint DEFAULT 1) RETURNS integer
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_schedule_jobs';
COMMENT ON FUNCTION mktg.schedule_jobs(bigint) IS 'registers process_daily() and maintain() with pg_cron; returns the number of jobs';

CREATE FUNCTION mktg.unschedule_jobs() RETURNS integer
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_unschedule_jobs';
COMMENT ON FUNCTION mktg.unschedule_jobs() IS 'removes the jobs schedule_jobs() registered, of every tenant; returns their number';

CREATE FUNCTION mktg.create_tenant(name text, time_zone text DEFAULT 'UTC', currency text DEFAULT 'USD') RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_create_tenant';
COMMENT ON FUNCTION mktg.create_tenant(text, text, text) IS 'makes a tenant with a sandbox sender; returns tenant_id';
-- contact.sql: contacts, consent, suppression

CREATE FUNCTION mktg.normalize_address(channel text, address text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_normalize_address';
COMMENT ON FUNCTION mktg.normalize_address(text, text) IS 'the one written form of an address of a channel; error MK022 on one that is none';

CREATE FUNCTION mktg._address_or_null(channel text, address text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_address_or_null';
COMMENT ON FUNCTION mktg._address_or_null(text, text) IS 'normalize_address with NULL in place of the error';

CREATE FUNCTION mktg.address_hash(address text) RETURNS bytea
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'mktg_address_hash';
COMMENT ON FUNCTION mktg.address_hash(text) IS 'SHA-256 of a normalised address, the key of suppression';

CREATE FUNCTION mktg.upsert_contact(contact jsonb, tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_upsert_contact';
COMMENT ON FUNCTION mktg.upsert_contact(jsonb, bigint) IS 'inserts or changes the contact found by external_id, else email, else phone; unknown keys go to attributes; returns contact_id';

CREATE FUNCTION mktg.subscribe(contact bigint, channel text, topic text DEFAULT 'marketing', source text DEFAULT NULL, ip inet DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_subscribe';
COMMENT ON FUNCTION mktg.subscribe(bigint, text, text, text, inet, bigint) IS 'records consent for a channel and topic';

CREATE FUNCTION mktg.unsubscribe(contact bigint, channel text, topic text DEFAULT NULL, reason text DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_unsubscribe';
COMMENT ON FUNCTION mktg.unsubscribe(bigint, text, text, text, bigint) IS 'withdraws consent; topic NULL withdraws every topic of the channel';

CREATE FUNCTION mktg.suppress(channel text, address text, reason text DEFAULT 'manual', tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_suppress';
COMMENT ON FUNCTION mktg.suppress(text, text, text, bigint) IS 'nothing is sent to the address on the channel any more, whatever its consent';

CREATE FUNCTION mktg.unsuppress(channel text, address text, tenant bigint DEFAULT 1) RETURNS boolean
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_unsuppress';
COMMENT ON FUNCTION mktg.unsuppress(text, text, bigint) IS 'takes an address off the suppression list; false if it was not on it';

CREATE FUNCTION mktg._contact_normalize() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'mktg_contact_normalize';
COMMENT ON FUNCTION mktg._contact_normalize() IS 'trigger: addresses in their one form, updated_at';

CREATE FUNCTION mktg._consent_log() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'mktg_consent_log';
COMMENT ON FUNCTION mktg._consent_log() IS 'trigger: copies every write to consent into the log named by its argument';
-- template.sql: what is said to whom

CREATE FUNCTION mktg.create_template(name text, channel text, subject text DEFAULT NULL, html text DEFAULT NULL, body text DEFAULT NULL, locale text DEFAULT NULL, category text DEFAULT 'promotional', tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_create_template';
COMMENT ON FUNCTION mktg.create_template(text, text, text, text, text, text, text, bigint) IS 'makes a template, or the next version of the one with this name and channel; returns template_id';
-- provider.sql: providers as foreign servers, their credentials, senders

CREATE FUNCTION mktg.provider_validator(options text[], catalog oid) RETURNS void
    LANGUAGE C STRICT
    AS 'MODULE_PATHNAME', 'mktg_provider_validator';
COMMENT ON FUNCTION mktg.provider_validator(text[], oid) IS 'checks the options of providers and their credentials; the server calls it';

CREATE FOREIGN DATA WRAPPER mktg_provider VALIDATOR mktg.provider_validator;
COMMENT ON FOREIGN DATA WRAPPER mktg_provider IS 'providers that messages are handed to: each is a foreign server with an option driver';

CREATE FUNCTION mktg.set_credential(server text, name text, value text) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_set_credential';
COMMENT ON FUNCTION mktg.set_credential(text, text, text) IS 'writes a credential of a provider into its user mapping for PUBLIC; value NULL removes it';

CREATE FUNCTION mktg.set_sender(name text, provider text, channel text DEFAULT NULL, from_address text DEFAULT NULL, from_name text DEFAULT NULL, reply_to text DEFAULT NULL, daily_limit integer DEFAULT NULL, rate_per_second double precision DEFAULT NULL, max_attempts integer DEFAULT 8, on_doubt text DEFAULT NULL, is_active boolean DEFAULT true, tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_set_sender';
COMMENT ON FUNCTION mktg.set_sender(text, text, text, text, text, text, integer, double precision, integer, text, boolean, bigint) IS 'creates the sender of that name, or gives it these values; returns sender_id';
-- campaign.sql: campaigns, their recipients, their plan, and single messages

CREATE FUNCTION mktg.create_campaign(name text, channel text, template text DEFAULT NULL, sender text DEFAULT NULL, type text DEFAULT 'promotional', daily_send_limit integer DEFAULT NULL, priority integer DEFAULT 5, description text DEFAULT NULL, template_data jsonb DEFAULT '{}', target_audience jsonb DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_create_campaign';
COMMENT ON FUNCTION mktg.create_campaign(text, text, text, text, text, integer, integer, text, jsonb, jsonb, bigint) IS 'makes a draft campaign; returns campaign_id';

CREATE FUNCTION mktg.add_recipients(campaign bigint, contacts bigint[], tenant bigint DEFAULT 1,
    OUT added bigint, OUT duplicates bigint, OUT unsubscribed bigint, OUT suppressed bigint, OUT unreachable bigint, OUT unknown bigint)
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_add_contacts';
COMMENT ON FUNCTION mktg.add_recipients(bigint, bigint[], bigint) IS 'adds contacts to a campaign, those it may reach; the counts add up to the length of the array';

CREATE FUNCTION mktg.add_recipients(campaign bigint, addresses text[], tenant bigint DEFAULT 1,
    OUT added bigint, OUT duplicates bigint, OUT unsubscribed bigint, OUT suppressed bigint, OUT unreachable bigint, OUT unknown bigint)
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_add_addresses';
COMMENT ON FUNCTION mktg.add_recipients(bigint, text[], bigint) IS 'adds the contacts that have these addresses on the campaign''s channel; the counts add up to the length of the array';

CREATE FUNCTION mktg.add_all_contacts(campaign bigint, tenant bigint DEFAULT 1,
    OUT added bigint, OUT duplicates bigint, OUT unsubscribed bigint, OUT suppressed bigint, OUT unreachable bigint, OUT unknown bigint)
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_add_all_contacts';
COMMENT ON FUNCTION mktg.add_all_contacts(bigint, bigint) IS 'adds every contact the campaign may reach; the counts add up to the number of contacts';

CREATE FUNCTION mktg._first_of(value text) RETURNS boolean
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'mktg_first_of';
COMMENT ON FUNCTION mktg._first_of(text) IS 'true the first time a value is seen in the scan that calls it';

CREATE FUNCTION mktg.activate_campaign(campaign bigint, start_date date DEFAULT NULL, tenant bigint DEFAULT 1,
    OUT campaign_id bigint, OUT status text, OUT recipients_scheduled bigint, OUT daily_limit integer, OUT estimated_days integer, OUT estimated_completion_date date)
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_activate_campaign';
COMMENT ON FUNCTION mktg.activate_campaign(bigint, date, bigint) IS 'plans a draft from start_date on (tomorrow when NULL) within its own and its sender''s daily limit, and lets it run';

CREATE FUNCTION mktg.process_daily(day date DEFAULT NULL, tenant bigint DEFAULT 1,
    OUT day date, OUT campaigns_processed integer, OUT messages_queued bigint, OUT messages_skipped bigint) RETURNS record
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_process_daily';
COMMENT ON FUNCTION mktg.process_daily(date, bigint) IS 'queues the batches of a day (today when NULL) after checking consent and suppression again; missed batches are planned anew; safe to repeat';

CREATE FUNCTION mktg.pause_campaign(campaign bigint, tenant bigint DEFAULT 1) RETURNS text
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_pause_campaign';
COMMENT ON FUNCTION mktg.pause_campaign(bigint, bigint) IS 'stops an active campaign, what is queued at the next claim; returns the new status';

CREATE FUNCTION mktg.resume_campaign(campaign bigint, tenant bigint DEFAULT 1) RETURNS text
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_resume_campaign';
COMMENT ON FUNCTION mktg.resume_campaign(bigint, bigint) IS 'lets a paused campaign run again, overdue recipients planned anew within the caps; returns the new status';

CREATE FUNCTION mktg.cancel_campaign(campaign bigint, tenant bigint DEFAULT 1) RETURNS text
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_cancel_campaign';
COMMENT ON FUNCTION mktg.cancel_campaign(bigint, bigint) IS 'ends a campaign for good, what waits becomes cancelled; returns the new status';

CREATE FUNCTION mktg.send(contact bigint, template text, variables jsonb DEFAULT '{}', channel text DEFAULT 'email', idempotency_key text DEFAULT NULL, sender text DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS text
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_send';
COMMENT ON FUNCTION mktg.send(bigint, text, jsonb, text, text, text, bigint) IS 'enqueues a transactional message in the caller''s transaction and wakes the worker at commit; returns the message id';

CREATE FUNCTION mktg.record_status(message text, status text, at timestamptz DEFAULT mktg.clock(), reason text DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS boolean
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_record_status';
COMMENT ON FUNCTION mktg.record_status(text, text, timestamptz, text, bigint) IS 'applies what a provider reports of a message; false if it is known already or comes too late to matter';

CREATE FUNCTION mktg.settle(message text, status text, tenant bigint DEFAULT 1) RETURNS boolean
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_settle';
COMMENT ON FUNCTION mktg.settle(text, text, bigint) IS 'decides a message whose outcome nobody knows: sent, delivered, failed, or queued to send it again';

CREATE FUNCTION mktg._message_id(tenant_id bigint, campaign_id bigint, contact_id bigint, ref text) RETURNS text
    LANGUAGE SQL IMMUTABLE PARALLEL SAFE
    RETURN tenant_id || '-' || campaign_id || '-' || contact_id || CASE ref WHEN '' THEN '' ELSE '-' || ref END;
COMMENT ON FUNCTION mktg._message_id(bigint, bigint, bigint, text) IS 'our id of a message, as providers echo it';

CREATE FUNCTION mktg._campaign_guard() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'mktg_campaign_guard';
COMMENT ON FUNCTION mktg._campaign_guard() IS 'trigger: refuses what the state machine of campaigns does not have';

CREATE FUNCTION mktg._require_campaign(campaign bigint, tenant bigint) RETURNS bigint
    LANGUAGE C STABLE SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_require_campaign_sql';
COMMENT ON FUNCTION mktg._require_campaign(bigint, bigint) IS 'the campaign''s id, or error MK014';

CREATE FUNCTION mktg.campaign_stats(campaign bigint, tenant bigint DEFAULT 1)
RETURNS TABLE (campaign_id bigint, campaign_name text, status text, total_target bigint,
    pending bigint, queued bigint, sent bigint, delivered bigint, read bigint, failed bigint, bounced bigint,
    skipped bigint, cancelled bigint, in_doubt bigint, opened bigint, clicked bigint, converted bigint, unsubscribed bigint,
    progress_percentage numeric, delivery_rate numeric, read_rate numeric, open_rate numeric, click_rate numeric,
    conversion_rate numeric, estimated_completion_date date)
    LANGUAGE SQL STABLE ROWS 1 SET search_path = pg_catalog, mktg, pg_temp
    AS $$
SELECT c.campaign_id, c.name, c.status, n.total,
       n.pending, n.queued, n.sent, n.delivered, n.read, n.failed, n.bounced,
       n.skipped, n.cancelled, n.in_doubt, n.opened, n.clicked, n.converted, n.unsubscribed,
       round(100.0 * (n.total - n.pending - n.queued) / nullif(n.total, 0), 2),
       round(n.delivered::numeric / nullif(n.sent, 0), 4),
       round(n.read::numeric / nullif(n.delivered, 0), 4),
       round(n.opened::numeric / nullif(n.delivered, 0), 4),
       round(n.clicked::numeric / nullif(n.delivered, 0), 4),
       round(n.converted::numeric / nullif(n.delivered, 0), 4),
       (SELECT max(p.send_date) FROM mktg.send_schedule p
         WHERE p.tenant_id = c.tenant_id AND p.campaign_id = c.campaign_id AND p.status <> 'cancelled')
  FROM mktg._require_campaign(campaign_stats.campaign, campaign_stats.tenant) AS r (id)
  LEFT JOIN mktg.campaign c ON c.tenant_id = campaign_stats.tenant AND c.campaign_id = r.id
 CROSS JOIN LATERAL (SELECT coalesce(sum(total), 0)::bigint AS total, coalesce(sum(pending), 0)::bigint AS pending,
                       coalesce(sum(queued), 0)::bigint AS queued, coalesce(sum(sent), 0)::bigint AS sent,
                       coalesce(sum(delivered), 0)::bigint AS delivered, coalesce(sum(read), 0)::bigint AS read,
                       coalesce(sum(failed), 0)::bigint AS failed, coalesce(sum(bounced), 0)::bigint AS bounced,
                       coalesce(sum(skipped), 0)::bigint AS skipped, coalesce(sum(cancelled), 0)::bigint AS cancelled,
                       coalesce(sum(in_doubt), 0)::bigint AS in_doubt, coalesce(sum(opened), 0)::bigint AS opened,
                       coalesce(sum(clicked), 0)::bigint AS clicked, coalesce(sum(converted), 0)::bigint AS converted,
                       coalesce(sum(unsubscribed), 0)::bigint AS unsubscribed
                  FROM mktg._campaign_count k
                 WHERE k.tenant_id = campaign_stats.tenant AND k.campaign_id = campaign_stats.campaign) n
$$;
COMMENT ON FUNCTION mktg.campaign_stats(bigint, bigint) IS 'one row of counters and rates; sent counts sent, delivered and read; rates are per delivered (delivery_rate per sent), NULL without a denominator';
-- stats.sql: counters of messages, kept by trigger

CREATE FUNCTION mktg._count_messages() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'mktg_count_messages';
COMMENT ON FUNCTION mktg._count_messages() IS 'trigger on message: adds what a statement changed to the counters in the table named by its argument';

CREATE FUNCTION mktg.rebuild_stats(campaign bigint, tenant bigint DEFAULT 1) RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_rebuild_stats';
COMMENT ON FUNCTION mktg.rebuild_stats(bigint, bigint) IS 'recounts a campaign''s messages and mends its counters; returns how many were wrong';
-- delivery.sql: the queue as the worker works it, for tests and for the curious

CREATE FUNCTION mktg._claim(worker smallint, most integer, OUT message text, OUT lease bigint, OUT attempt integer) RETURNS SETOF record
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_claim_sql';
COMMENT ON FUNCTION mktg._claim(smallint, integer) IS 'leases due messages to a worker slot, as the worker does before it sends';

CREATE FUNCTION mktg._record(message text, lease bigint, outcome text, reason text DEFAULT NULL) RETURNS boolean
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_record_sql';
COMMENT ON FUNCTION mktg._record(text, bigint, text, text) IS 'records the outcome of a leased message; false if the lease is no longer held';
-- acl.sql: nobody may call anything until granted (examples/grants.sql)

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA mktg FROM PUBLIC;
