-- Applied by install() and by every migrate().

CREATE OR REPLACE VIEW mktg._campaign_count WITH (security_invoker = true) AS
SELECT tenant_id, campaign_id, day,
       sum(pending + queued + sent + delivered + read + failed + bounced + skipped + cancelled + in_doubt)::bigint AS total,
       sum(pending)::bigint AS pending,
       sum(queued)::bigint AS queued,
       sum(sent + delivered + read)::bigint AS sent,
       sum(delivered + read)::bigint AS delivered,
       sum(read)::bigint AS read,
       sum(failed)::bigint AS failed,
       sum(bounced)::bigint AS bounced,
       sum(skipped)::bigint AS skipped,
       sum(cancelled)::bigint AS cancelled,
       sum(in_doubt)::bigint AS in_doubt,
       sum(opened)::bigint AS opened,
       sum(clicked)::bigint AS clicked,
       sum(converted)::bigint AS converted,
       sum(unsubscribed)::bigint AS unsubscribed
  FROM mktg.campaign_stat
 GROUP BY tenant_id, campaign_id, day;
COMMENT ON VIEW mktg._campaign_count IS 'counters by campaign and day; sent and delivered are cumulated (design: sent counts sent, delivered and read)';

CREATE OR REPLACE VIEW mktg.campaign_list WITH (security_invoker = true) AS
SELECT c.tenant_id, c.campaign_id, c.name, c.code, c.type, c.channel, c.status, c.priority,
       t.name AS template, s.name AS sender, c.daily_send_limit,
       coalesce(n.total, 0) AS total_target, coalesce(n.pending, 0) AS pending, coalesce(n.queued, 0) AS queued,
       coalesce(n.sent, 0) AS sent, coalesce(n.delivered, 0) AS delivered, coalesce(n.read, 0) AS read,
       coalesce(n.failed, 0) AS failed, coalesce(n.bounced, 0) AS bounced, coalesce(n.skipped, 0) AS skipped,
       coalesce(n.cancelled, 0) AS cancelled, coalesce(n.in_doubt, 0) AS in_doubt,
       round(100.0 * (n.total - n.pending - n.queued) / nullif(n.total, 0), 2) AS progress_percentage,
       c.start_date, p.last_day AS estimated_completion_date,
       c.description, c.created_at, c.activated_at, c.ended_at
  FROM mktg.campaign c
  LEFT JOIN mktg.template t ON t.tenant_id = c.tenant_id AND t.template_id = c.template_id
  LEFT JOIN mktg.sender s ON s.tenant_id = c.tenant_id AND s.sender_id = c.sender_id
  LEFT JOIN (SELECT tenant_id, campaign_id, sum(total)::bigint AS total, sum(pending)::bigint AS pending,
                    sum(queued)::bigint AS queued, sum(sent)::bigint AS sent, sum(delivered)::bigint AS delivered,
                    sum(read)::bigint AS read, sum(failed)::bigint AS failed, sum(bounced)::bigint AS bounced,
                    sum(skipped)::bigint AS skipped, sum(cancelled)::bigint AS cancelled, sum(in_doubt)::bigint AS in_doubt
               FROM mktg._campaign_count GROUP BY tenant_id, campaign_id) n
    ON n.tenant_id = c.tenant_id AND n.campaign_id = c.campaign_id
  LEFT JOIN (SELECT tenant_id, campaign_id, max(send_date) AS last_day
               FROM mktg.send_schedule WHERE status <> 'cancelled' GROUP BY tenant_id, campaign_id) p
    ON p.tenant_id = c.tenant_id AND p.campaign_id = c.campaign_id;
COMMENT ON VIEW mktg.campaign_list IS 'one row a campaign: settings by name, counters, progress in percent, last day of the plan';

CREATE OR REPLACE VIEW mktg.campaign_daily WITH (security_invoker = true) AS
SELECT d.tenant_id, d.campaign_id, c.name AS campaign_name, d.day,
       d.planned, d.remaining, d.total AS dispatched, d.queued, d.sent, d.delivered, d.read,
       d.failed, d.bounced, d.skipped, d.cancelled, d.in_doubt,
       d.opened, d.clicked, d.converted, d.unsubscribed
  FROM (SELECT tenant_id, campaign_id, day, sum(planned)::bigint AS planned, sum(remaining)::bigint AS remaining,
               sum(total)::bigint AS total, sum(queued)::bigint AS queued, sum(sent)::bigint AS sent,
               sum(delivered)::bigint AS delivered, sum(read)::bigint AS read, sum(failed)::bigint AS failed,
               sum(bounced)::bigint AS bounced, sum(skipped)::bigint AS skipped, sum(cancelled)::bigint AS cancelled,
               sum(in_doubt)::bigint AS in_doubt, sum(opened)::bigint AS opened, sum(clicked)::bigint AS clicked,
               sum(converted)::bigint AS converted, sum(unsubscribed)::bigint AS unsubscribed
          FROM (SELECT tenant_id, campaign_id, send_date AS day, batch_size AS planned, remaining,
                       0 AS total, 0 AS queued, 0 AS sent, 0 AS delivered, 0 AS read, 0 AS failed, 0 AS bounced,
                       0 AS skipped, 0 AS cancelled, 0 AS in_doubt, 0 AS opened, 0 AS clicked, 0 AS converted,
                       0 AS unsubscribed
                  FROM mktg.send_schedule
                UNION ALL
                SELECT tenant_id, campaign_id, day, 0, 0, total, queued, sent, delivered, read, failed, bounced,
                       skipped, cancelled, in_doubt, opened, clicked, converted, unsubscribed
                  FROM mktg._campaign_count WHERE day > '-infinity') both_sides
         GROUP BY tenant_id, campaign_id, day) d
  JOIN mktg.campaign c ON c.tenant_id = d.tenant_id AND c.campaign_id = d.campaign_id;
COMMENT ON VIEW mktg.campaign_daily IS 'one row a campaign and day: what was planned, what went out, what became of it';

CREATE OR REPLACE VIEW mktg.send_calendar WITH (security_invoker = true) AS
SELECT p.tenant_id, p.send_date, p.campaign_id, c.name AS campaign_name, c.status AS campaign_status, c.channel, c.priority,
       p.batch, p.from_position, p.to_position, p.batch_size, p.queued, p.skipped, p.remaining, p.status,
       s.name AS sender, s.daily_limit AS sender_daily_limit,
       -- a paused or cancelled campaign holds nothing of a day but what it has dispatched
       coalesce(sum(p.batch_size) FILTER (WHERE p.status = 'dispatched' OR p.status = 'planned' AND c.status = 'active')
                OVER (PARTITION BY p.tenant_id, p.send_date, c.sender_id), 0) AS sender_total
  FROM mktg.send_schedule p
  JOIN mktg.campaign c ON c.tenant_id = p.tenant_id AND c.campaign_id = p.campaign_id
  LEFT JOIN mktg.sender s ON s.tenant_id = c.tenant_id AND s.sender_id = c.sender_id;
COMMENT ON VIEW mktg.send_calendar IS 'one row a day, campaign and batch, with what the sender''s campaigns hold of that day together';

CREATE OR REPLACE VIEW mktg.recipient WITH (security_invoker = true) AS
SELECT m.tenant_id, m.campaign_id, m.contact_id, m.position,
       coalesce(m.send_day, p.send_date) AS scheduled_on,
       m.status, m.address, m.attempts, m.queued_at, m.sent_at, m.delivered_at, m.read_at, m.failed_at,
       m.opened_at, m.clicked_at, m.converted_at, m.unsubscribed_at,
       m.failure_reason, m.provider_message_id,
       mktg._message_id(m.tenant_id, m.campaign_id, m.contact_id, m.ref) AS message
  FROM mktg.message m
  LEFT JOIN LATERAL (SELECT s.send_date, s.to_position
                       FROM mktg.send_schedule s
                      WHERE s.tenant_id = m.tenant_id AND s.campaign_id = m.campaign_id
                        AND s.from_position <= m.position AND m.status = 'pending'
                      ORDER BY s.from_position DESC LIMIT 1) p ON p.to_position >= m.position
 WHERE m.ref = '';
COMMENT ON VIEW mktg.recipient IS 'recipients of campaigns, each with the day it is planned for or was queued on';

CREATE OR REPLACE VIEW mktg.failed_sends WITH (security_invoker = true) AS
SELECT m.tenant_id, m.campaign_id, c.name AS campaign_name, m.contact_id, m.address, m.status,
       m.failure_reason, m.attempts, m.failed_at, m.send_day,
       mktg._message_id(m.tenant_id, m.campaign_id, m.contact_id, m.ref) AS message
  FROM (SELECT tenant_id, campaign_id FROM mktg.campaign_stat
         GROUP BY tenant_id, campaign_id HAVING sum(failed + bounced) > 0) n
  JOIN mktg.campaign c ON c.tenant_id = n.tenant_id AND c.campaign_id = n.campaign_id
  JOIN mktg.message m ON m.tenant_id = n.tenant_id AND m.campaign_id = n.campaign_id
 WHERE m.status IN ('failed', 'bounced');
COMMENT ON VIEW mktg.failed_sends IS 'messages that failed or bounced, with the reason; the counters lead to the campaigns that have any';

CREATE OR REPLACE VIEW mktg.in_doubt WITH (security_invoker = true) AS
SELECT m.tenant_id, m.campaign_id, c.name AS campaign_name, m.contact_id, m.address,
       m.failure_reason, m.attempts, m.failed_at AS doubtful_since, m.send_day,
       mktg._message_id(m.tenant_id, m.campaign_id, m.contact_id, m.ref) AS message
  FROM (SELECT tenant_id, campaign_id FROM mktg.campaign_stat
         GROUP BY tenant_id, campaign_id HAVING sum(in_doubt) > 0) n
  JOIN mktg.campaign c ON c.tenant_id = n.tenant_id AND c.campaign_id = n.campaign_id
  JOIN mktg.message m ON m.tenant_id = n.tenant_id AND m.campaign_id = n.campaign_id
 WHERE m.status = 'in_doubt';
COMMENT ON VIEW mktg.in_doubt IS 'messages that may or may not have arrived; a provider''s report or mktg.settle() decides them';

-- The aggregates share one state.
CREATE OR REPLACE VIEW mktg.contact_lifecycle WITH (security_invoker = true) AS
SELECT p.tenant_id, p.contact_id,
       mktg.lifecycle_stage(p.placed_at, mktg.clock()) AS stage,
       count(*) AS order_count,
       max(p.placed_at) AS last_order_at,
       mktg._previous_at(p.placed_at, mktg.clock()) AS previous_order_at
  FROM mktg.purchase p
  JOIN mktg.contact c ON c.tenant_id = p.tenant_id AND c.contact_id = p.contact_id
 WHERE p.placed_at <= mktg.clock() AND isfinite(p.placed_at)
 GROUP BY p.tenant_id, p.contact_id;
COMMENT ON VIEW mktg.contact_lifecycle IS 'stage of life of contacts with purchases, as of now';

CREATE OR REPLACE VIEW mktg.segment_list WITH (security_invoker = true) AS
SELECT s.tenant_id, s.segment_id, s.name, s.kind, s.size, s.refreshed_at,
       s.rules, s.description, s.sources, s.keeps_history, s.failure, s.created_at, s.created_by
  FROM mktg.segment s;
COMMENT ON VIEW mktg.segment_list IS 'one row a segment: its rules, its size, when all contacts were last held against them';

CREATE OR REPLACE VIEW mktg.segment_member WITH (security_invoker = true) AS
SELECT b.tenant_id, b.segment_id, m.contact_id
  FROM mktg.segment_bitmap b, LATERAL mktg._chunk_members(b.chunk, b.bits) AS m (contact_id);
COMMENT ON VIEW mktg.segment_member IS 'one row a segment and member';

CREATE OR REPLACE VIEW mktg.rule_operator WITH (security_invoker = true) AS
SELECT o.operator, o.value, o.types, o.description
  FROM mktg._rule_operators() o;
COMMENT ON VIEW mktg.rule_operator IS 'operators of the rule language: which value they take (none, one, two, list, days) and for which types of fields they are';

CREATE OR REPLACE VIEW mktg.rule_field WITH (security_invoker = true) AS
SELECT t.tenant_id, f.name || CASE f.type WHEN 'json' THEN '.KEY' ELSE '' END AS name, f.source, f.type,
       ARRAY(SELECT o.operator FROM mktg._rule_operators() o WHERE f.type = ANY (o.types)) AS operators,
       coalesce(f.at_column, s.at_column) IS NOT NULL AS takes_within_days,
       f.description, f.expression, f.tenant_id <> 0 AS is_own
  FROM mktg.tenant t
  JOIN mktg.field f ON f.tenant_id IN (0, t.tenant_id)
  LEFT JOIN LATERAL (SELECT s.at_column FROM mktg.source s
                      WHERE s.name = f.source AND s.tenant_id IN (0, f.tenant_id)
                      ORDER BY s.tenant_id DESC LIMIT 1) s ON true
 WHERE f.tenant_id <> 0
    OR NOT EXISTS (SELECT FROM mktg.field o WHERE o.tenant_id = t.tenant_id
                      AND lower(replace(o.name, '_', '')) = lower(replace(f.name, '_', '')));
COMMENT ON VIEW mktg.rule_field IS 'fields that rules of a tenant may name, with the operators each has';

CREATE OR REPLACE VIEW mktg.sender_status WITH (security_invoker = true) AS
SELECT s.tenant_id, s.sender_id, s.name, s.provider::text, s.fallback::text, s.channel,
       CASE WHEN NOT s.is_active THEN 'inactive'
            WHEN a.resting_until > clock_timestamp() THEN 'resting'
            WHEN d.used_today >= d.limit_today THEN 'day used up'
            WHEN d.spent + coalesce(s.cost_per_message, 0) > s.monthly_budget THEN 'budget used up'
            WHEN p.used_now >= p.unique_contacts THEN 'pool used up'
            ELSE 'ready' END AS state,
       d.used_today, d.limit_today, s.daily_limit, s.warmup, s.warmup_start, s.rate_per_second,
       d.spent AS spent_this_month, s.monthly_budget, s.cost_per_message,
       p.name AS pool, p.used_now AS pool_contacts, p.unique_contacts AS pool_limit,
       s.quiet_from, s.quiet_until, s.weekdays,
       CASE WHEN a.resting_until > clock_timestamp() THEN a.resting_until END AS resting_until,
       CASE WHEN a.resting_until > clock_timestamp() THEN a.rest_reason END AS rest_reason,
       s.max_attempts, s.on_doubt, s.is_active, s.from_address, s.from_name, s.reply_to
  FROM mktg.sender s
  JOIN mktg.tenant n ON n.tenant_id = s.tenant_id
  LEFT JOIN mktg.sender_state a ON a.tenant_id = s.tenant_id AND a.sender_id = s.sender_id
 CROSS JOIN LATERAL (SELECT (mktg.clock() AT TIME ZONE n.time_zone)::date AS today) t
 CROSS JOIN LATERAL (SELECT CASE a.day WHEN t.today THEN a.used ELSE 0 END AS used_today,
                            least(s.daily_limit, CASE WHEN t.today - s.warmup_start < cardinality(s.warmup)
                                                      THEN s.warmup[greatest(t.today - s.warmup_start, 0) + 1] END) AS limit_today,
                            CASE a.month WHEN date_trunc('month', t.today)::date THEN a.spent ELSE 0 END AS spent) d
  LEFT JOIN LATERAL (SELECT p.name, p.unique_contacts,
                            (SELECT count(*) FROM mktg.pool_contact c WHERE c.tenant_id = p.tenant_id AND c.pool_id = p.pool_id
                                AND c.at > mktg.clock() - interval '24 hours') AS used_now
                       FROM mktg.sender_pool p WHERE p.tenant_id = s.tenant_id AND p.pool_id = s.pool_id) p ON true;
COMMENT ON VIEW mktg.sender_status IS 'one row a sender: what it is, whether it can send now, what it has used of its caps';

CREATE OR REPLACE VIEW mktg.delivery_progress WITH (security_invoker = true) AS
SELECT c.tenant_id, c.campaign_id, c.name AS campaign_name, c.status, c.priority, n.queued AS remaining,
       n.total - n.pending - n.queued AS ended,
       round(r.ended / r.seconds, 1) AS per_second,
       clock_timestamp() + n.queued / nullif(r.ended / r.seconds, 0) * interval '1 second' AS estimated_end,
       (SELECT min(o.due) FROM mktg.outbox o
         WHERE o.tenant_id = c.tenant_id AND o.campaign_id = c.campaign_id AND o.lease IS NULL) AS next_due
  FROM mktg.campaign c
  JOIN (SELECT tenant_id, campaign_id, sum(total)::bigint AS total, sum(pending)::bigint AS pending, sum(queued)::bigint AS queued
          FROM mktg._campaign_count GROUP BY tenant_id, campaign_id HAVING sum(queued) > 0) n
    ON n.tenant_id = c.tenant_id AND n.campaign_id = c.campaign_id
 CROSS JOIN LATERAL (SELECT coalesce(sum(r.ended), 0) AS ended,
                            greatest(extract(epoch FROM clock_timestamp() - min(r.minute)), 1) AS seconds
                       FROM mktg.delivery_rate r WHERE r.tenant_id = c.tenant_id AND r.campaign_id = c.campaign_id
                        AND r.minute > clock_timestamp() - interval '5 minutes') r;
COMMENT ON VIEW mktg.delivery_progress IS 'one row a campaign with messages in the queue: how many, how fast they go, when they will be through at this rate';

CREATE OR REPLACE VIEW mktg.promo_list WITH (security_invoker = true) AS
SELECT o.tenant_id, o.offer_id AS promo, o.code, o.type, o.value, o.currency, o.starts_at, o.ends_at,
       CASE WHEN o.disabled_at IS NOT NULL THEN 'disabled'
            WHEN o.starts_at > mktg.clock() THEN 'not_started'
            WHEN o.ends_at <= mktg.clock() THEN 'expired'
            WHEN s.uses_left = 0 OR s.budget_left = 0 THEN 'used_up' ELSE 'active' END AS status,
       o.usage_limit, s.uses_left, o.per_contact_limit, o.per_contact_period, o.minimum_amount, o.budget, s.budget_left,
       o.scope, o.stackable, o.combine_with, o.priority, o.campaign_id, c.name AS campaign,
       o.code IS NULL AND o.codes_made = 0 AS is_automatic, o.codes_made, o.disabled_at, o.created_at, o.created_by
  FROM mktg.offer o
  LEFT JOIN mktg.campaign c ON c.tenant_id = o.tenant_id AND c.campaign_id = o.campaign_id
  LEFT JOIN LATERAL (SELECT sum(x.uses_left)::bigint AS uses_left, sum(x.budget_left)::bigint AS budget_left
                       FROM mktg.offer_slot x WHERE x.tenant_id = o.tenant_id AND x.offer_id = o.offer_id) s ON true;
COMMENT ON VIEW mktg.promo_list IS 'one row an offer: what it takes off, for what and how often, and what is left of its limits';

CREATE OR REPLACE VIEW mktg.promo_redemption WITH (security_invoker = true) AS
SELECT r.tenant_id, r.redemption_id, r.offer_id AS promo, o.code AS promo_code, r.code, r.contact_id, r.status,
       r.eligible_subtotal, r.discount, r.reversed, r.currency, r.reserved_at, r.expires_at, r.committed_at, r.ended_at,
       r.purchase, p.purchase_id, p.amount AS purchase_amount, o.campaign_id, c.name AS campaign
  FROM mktg.redemption r
  JOIN mktg.offer o ON o.tenant_id = r.tenant_id AND o.offer_id = r.offer_id
  LEFT JOIN mktg.campaign c ON c.tenant_id = o.tenant_id AND c.campaign_id = o.campaign_id
  LEFT JOIN mktg.purchase p ON p.tenant_id = r.tenant_id AND p.external_id = r.purchase;
COMMENT ON VIEW mktg.promo_redemption IS 'one row a use of an offer, with the purchase and the campaign it belongs to';

CREATE OR REPLACE VIEW mktg.promo_performance WITH (security_invoker = true) AS
SELECT o.tenant_id, o.offer_id AS promo, o.code, o.campaign_id, o.type,
       coalesce(r.redemptions, 0) AS redemptions, coalesce(r.customers, 0) AS customers,
       coalesce(r.gross_value, 0) AS gross_value, coalesce(r.discount_given, 0) AS discount_given,
       round(r.discount_given::numeric / r.redemptions, 2) AS average_discount,
       o.codes_made, coalesce(r.codes_used, 0) AS codes_used,
       round(1 - coalesce(r.codes_used, 0)::numeric / nullif(o.codes_made, 0), 4) AS breakage_rate
  FROM mktg.offer o
  LEFT JOIN (SELECT x.tenant_id, x.offer_id, count(*) AS redemptions, count(DISTINCT x.contact_id) AS customers,
                    sum(x.eligible_subtotal)::bigint AS gross_value, sum(x.discount - x.reversed)::bigint AS discount_given,
                    count(*) FILTER (WHERE x.code IS DISTINCT FROM y.code) AS codes_used
               FROM mktg.redemption x JOIN mktg.offer y ON y.tenant_id = x.tenant_id AND y.offer_id = x.offer_id
              WHERE x.status = 'committed' GROUP BY x.tenant_id, x.offer_id) r
    ON r.tenant_id = o.tenant_id AND r.offer_id = o.offer_id;
COMMENT ON VIEW mktg.promo_performance IS 'one row an offer: what committed redemptions brought and cost, and which share of its generated codes is not used';

CREATE OR REPLACE VIEW mktg.promo_daily WITH (security_invoker = true) AS
SELECT o.tenant_id, o.offer_id AS promo, o.code, r.day, r.redemptions, r.customers, r.gross_value, r.discount_given
  FROM (SELECT x.tenant_id, x.offer_id, (x.committed_at AT TIME ZONE t.time_zone)::date AS day, count(*) AS redemptions,
               count(DISTINCT x.contact_id) AS customers, sum(x.eligible_subtotal)::bigint AS gross_value,
               sum(x.discount - x.reversed)::bigint AS discount_given
          FROM mktg.redemption x JOIN mktg.tenant t ON t.tenant_id = x.tenant_id
         WHERE x.status = 'committed' GROUP BY 1, 2, 3) r
  JOIN mktg.offer o ON o.tenant_id = r.tenant_id AND o.offer_id = r.offer_id;
COMMENT ON VIEW mktg.promo_daily IS 'one row an offer and day in the tenant''s zone: committed redemptions';

CREATE OR REPLACE VIEW mktg._promo_line WITH (security_invoker = true) AS
SELECT r.tenant_id, r.offer_id, r.redemption_id, r.contact_id, l.item, l.route, l.amount,
       -- what refunds took back is spread over the lines
       CASE WHEN r.discount = 0 THEN 0 ELSE l.discount::numeric * (r.discount - r.reversed) / r.discount END AS discount
  FROM mktg.redemption r, jsonb_to_recordset(r.lines) AS l (item text, route text, amount bigint, discount bigint)
 WHERE r.status = 'committed';
COMMENT ON VIEW mktg._promo_line IS 'lines of carts that committed redemptions took something off';

CREATE OR REPLACE VIEW mktg.promo_item WITH (security_invoker = true) AS
SELECT o.tenant_id, o.offer_id AS promo, o.code, l.item, l.redemptions, l.customers, l.gross_value, l.discount_given
  FROM (SELECT tenant_id, offer_id, item, count(DISTINCT redemption_id) AS redemptions, count(DISTINCT contact_id) AS customers,
               sum(amount)::bigint AS gross_value, round(sum(discount))::bigint AS discount_given
          FROM mktg._promo_line GROUP BY tenant_id, offer_id, item) l
  JOIN mktg.offer o ON o.tenant_id = l.tenant_id AND o.offer_id = l.offer_id;
COMMENT ON VIEW mktg.promo_item IS 'one row an offer and item: lines that committed redemptions took something off';

CREATE OR REPLACE VIEW mktg.promo_route WITH (security_invoker = true) AS
SELECT o.tenant_id, o.offer_id AS promo, o.code, l.route, l.redemptions, l.customers, l.gross_value, l.discount_given
  FROM (SELECT tenant_id, offer_id, route, count(DISTINCT redemption_id) AS redemptions, count(DISTINCT contact_id) AS customers,
               sum(amount)::bigint AS gross_value, round(sum(discount))::bigint AS discount_given
          FROM mktg._promo_line WHERE route IS NOT NULL GROUP BY tenant_id, offer_id, route) l
  JOIN mktg.offer o ON o.tenant_id = l.tenant_id AND o.offer_id = l.offer_id;
COMMENT ON VIEW mktg.promo_route IS 'one row an offer and route: lines that committed redemptions took something off';

CREATE OR REPLACE VIEW mktg.price_phase_list WITH (security_invoker = true) AS
SELECT p.tenant_id, p.phase_id, p.item, p.name, p.price, p.starts_at, p.ends_at, p.max_seats, p.ordinal,
       CASE WHEN p.starts_at > mktg.clock() THEN 'not_started' WHEN p.ends_at <= mktg.clock() THEN 'over' ELSE 'active' END AS status,
       p.created_at, p.created_by
  FROM mktg.price_phase p;
COMMENT ON VIEW mktg.price_phase_list IS 'one row a price phase, and whether it holds now as far as time goes';
