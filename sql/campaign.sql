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

CREATE FUNCTION mktg.set_delivery_limits(campaign bigint, expires_at timestamptz DEFAULT NULL, max_age interval DEFAULT NULL, max_bounce_rate numeric DEFAULT NULL, max_complaint_rate numeric DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_set_delivery_limits';
COMMENT ON FUNCTION mktg.set_delivery_limits(bigint, timestamptz, interval, numeric, numeric, bigint) IS 'until when, and how long after it was queued, a campaign''s message may be sent; which shares of bounces and complaints pause the campaign';

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
