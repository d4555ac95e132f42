-- segment_reference.sql: the fifty segments of the catalogue, in its order, as one
-- would write them by hand on the tables that segment_data.sql fills.  What the
-- rules are measured against, and what their answers are compared with.
--
--	psql -v at='2026-01-01 00:00+00' -c '\timing on' -f bench/segment_reference.sql
--
-- Tenant 1, in UTC and US dollars; every row has a contact.

\if :{?at}
\else
\set at '2026-01-01 00:00+00'
\endif

-- a day is 24 hours
SET timezone = 'UTC';
-- with less, contacts are grouped through the index, which takes four times as long
SET work_mem = '256MB';

-- High-Value Customers
INSERT INTO bench.member (segment, contact_id)
SELECT 1, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at <= :'at'::timestamptz
 GROUP BY contact_id
HAVING sum(CASE WHEN currency IS NULL OR currency = 'USD' THEN amount END) >= 500000;

-- VIP Customers
INSERT INTO bench.member (segment, contact_id)
SELECT 2, contact_id
  FROM mktg.contact
 WHERE tenant_id = 1 AND (tier IN ('vip', 'platinum') OR 'vip' = ANY (tags));

-- First-Time Bookers
INSERT INTO bench.member (segment, contact_id)
SELECT 3, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at <= :'at'::timestamptz
 GROUP BY contact_id
HAVING count(*) = 1;

-- Repeat Customers
INSERT INTO bench.member (segment, contact_id)
SELECT 4, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at <= :'at'::timestamptz
 GROUP BY contact_id
HAVING count(*) >= 2;

-- Group Bookers
INSERT INTO bench.member (segment, contact_id)
SELECT 5, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '730 days' AND placed_at <= :'at'::timestamptz
   AND (attributes ->> 'party_size')::numeric >= 5
 GROUP BY contact_id;

-- Corporate Account Travelers
INSERT INTO bench.member (segment, contact_id)
SELECT 6, contact_id
  FROM mktg.contact
 WHERE tenant_id = 1 AND (attributes ->> 'corporate_account' IS NOT NULL OR 'corporate' = ANY (tags));

-- Last-Minute Bookers
INSERT INTO bench.member (segment, contact_id)
SELECT 7, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz
   AND (attributes ->> 'departure')::date - (placed_at AT TIME ZONE 'UTC')::date BETWEEN 0 AND 3
 GROUP BY contact_id
HAVING count(*) >= 2;

-- Early Planners
INSERT INTO bench.member (segment, contact_id)
SELECT 8, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz
   AND (attributes ->> 'departure')::date - (placed_at AT TIME ZONE 'UTC')::date >= 60
 GROUP BY contact_id
HAVING count(*) >= 2;

-- Price-Sensitive
INSERT INTO bench.member (segment, contact_id)
SELECT 9, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at <= :'at'::timestamptz
 GROUP BY contact_id
HAVING count(*) FILTER (WHERE placed_at > :'at'::timestamptz - interval '365 days' AND attributes ->> 'promo_code' IS NOT NULL) >= 2
    OR count(*) >= 3 AND avg(CASE WHEN currency IS NULL OR currency = 'USD' THEN amount END) <= 15000;

-- Premium Seekers
INSERT INTO bench.member (segment, contact_id)
SELECT 10, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz
   AND attributes ->> 'cabin' IN ('BUSINESS', 'FIRST')
 GROUP BY contact_id
HAVING count(*) >= 2;

-- Domestic Travelers
INSERT INTO bench.member (segment, contact_id)
SELECT 11, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz
 GROUP BY contact_id
HAVING count(*) FILTER (WHERE attributes ->> 'category' = 'domestic') >= 2
   AND count(*) FILTER (WHERE attributes ->> 'category' IN ('regional', 'international', 'transcontinental')) = 0;

-- International Travelers
INSERT INTO bench.member (segment, contact_id)
SELECT 12, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz
   AND attributes ->> 'category' IN ('international', 'transcontinental')
 GROUP BY contact_id
HAVING count(*) >= 2;

-- Transcontinental Travelers
INSERT INTO bench.member (segment, contact_id)
SELECT 13, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz
   AND attributes ->> 'category' = 'transcontinental'
 GROUP BY contact_id;

-- Regional Travelers
INSERT INTO bench.member (segment, contact_id)
SELECT 14, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz
   AND attributes ->> 'category' = 'regional'
 GROUP BY contact_id
HAVING count(*) >= 2;

-- Specific Route Flyers
INSERT INTO bench.member (segment, contact_id)
SELECT 15, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz
   AND attributes ->> 'route' IN ('JFK-LHR', 'LHR-JFK')
 GROUP BY contact_id
HAVING count(*) >= 3;

-- Frequent Flyers
INSERT INTO bench.member (segment, contact_id)
SELECT 16, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz
 GROUP BY contact_id
HAVING count(*) >= 6;

-- Seasonal Travelers
INSERT INTO bench.member (segment, contact_id)
SELECT 17, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '730 days' AND placed_at <= :'at'::timestamptz
 GROUP BY contact_id
HAVING count(*) >= 2
   AND bool_and(extract(month FROM coalesce((attributes ->> 'departure')::date, (placed_at AT TIME ZONE 'UTC')::date)) IN (6, 7, 8, 12));

-- Weekend Travelers
INSERT INTO bench.member (segment, contact_id)
SELECT 18, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz
   AND extract(isodow FROM coalesce((attributes ->> 'departure')::date, (placed_at AT TIME ZONE 'UTC')::date)) >= 6
 GROUP BY contact_id
HAVING count(*) >= 2;

-- Weekday Travelers
INSERT INTO bench.member (segment, contact_id)
SELECT 19, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz
 GROUP BY contact_id
HAVING count(*) >= 2
   AND bool_and(extract(isodow FROM coalesce((attributes ->> 'departure')::date, (placed_at AT TIME ZONE 'UTC')::date)) <= 5);

-- Mobile Bookers
INSERT INTO bench.member (segment, contact_id)
SELECT 20, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz AND channel IN ('mobile', 'app')
 GROUP BY contact_id
HAVING count(*) >= 2;

-- Web Bookers
INSERT INTO bench.member (segment, contact_id)
SELECT 21, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz AND channel = 'web'
 GROUP BY contact_id
HAVING count(*) >= 2;

-- Agent Bookers
INSERT INTO bench.member (segment, contact_id)
SELECT 22, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz
   AND channel IN ('agent', 'call_center')
 GROUP BY contact_id;

-- New Customers
INSERT INTO bench.member (segment, contact_id)
SELECT 23, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at <= :'at'::timestamptz
 GROUP BY contact_id
HAVING min(placed_at) > :'at'::timestamptz - interval '30 days';

-- Active Customers
INSERT INTO bench.member (segment, contact_id)
SELECT 24, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '90 days' AND placed_at <= :'at'::timestamptz
 GROUP BY contact_id;

-- At-Risk Customers
INSERT INTO bench.member (segment, contact_id)
SELECT 25, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '180 days' AND placed_at <= :'at'::timestamptz
 GROUP BY contact_id
HAVING max(placed_at) <= :'at'::timestamptz - interval '90 days';

-- Churned Customers
INSERT INTO bench.member (segment, contact_id)
SELECT 26, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at <= :'at'::timestamptz
 GROUP BY contact_id
HAVING max(placed_at) <= :'at'::timestamptz - interval '180 days';

-- Reactivated Customers
INSERT INTO bench.member (segment, contact_id)
SELECT 27, contact_id
  FROM (SELECT contact_id, max(placed_at) AS last
          FROM mktg.purchase
         WHERE tenant_id = 1 AND placed_at >= :'at'::timestamptz - interval '90 days' AND placed_at <= :'at'::timestamptz
         GROUP BY contact_id
        HAVING count(*) = 1) l
 WHERE EXISTS (SELECT FROM mktg.purchase p WHERE p.tenant_id = 1 AND p.contact_id = l.contact_id
                  AND p.placed_at < l.last - interval '180 days')
   AND NOT EXISTS (SELECT FROM mktg.purchase p WHERE p.tenant_id = 1 AND p.contact_id = l.contact_id
                      AND p.placed_at >= l.last - interval '180 days' AND p.placed_at < l.last);

-- Win-Back Candidates
INSERT INTO bench.member (segment, contact_id)
SELECT 28, contact_id
  FROM (SELECT contact_id
          FROM mktg.purchase
         WHERE tenant_id = 1 AND placed_at <= :'at'::timestamptz
         GROUP BY contact_id
        HAVING sum(CASE WHEN currency IS NULL OR currency = 'USD' THEN amount END) >= 100000
           AND max(placed_at) > :'at'::timestamptz - interval '730 days' AND max(placed_at) <= :'at'::timestamptz - interval '180 days') p
 WHERE EXISTS (SELECT FROM mktg.consent c WHERE c.tenant_id = 1 AND c.contact_id = p.contact_id
                  AND c.channel = 'email' AND c.state = 'subscribed')
   AND NOT EXISTS (SELECT FROM mktg.consent c WHERE c.tenant_id = 1 AND c.contact_id = p.contact_id
                      AND c.channel = 'email' AND c.topic = 'marketing' AND c.state = 'unsubscribed');

-- Email Engaged
INSERT INTO bench.member (segment, contact_id)
SELECT 29, contact_id
  FROM (SELECT contact_id
          FROM mktg.message
         WHERE tenant_id = 1
         GROUP BY contact_id
        HAVING count(*) FILTER (WHERE opened_at > :'at'::timestamptz - interval '90 days' AND opened_at <= :'at'::timestamptz) >= 2
            OR count(*) FILTER (WHERE clicked_at > :'at'::timestamptz - interval '90 days' AND clicked_at <= :'at'::timestamptz) >= 1) m
 WHERE EXISTS (SELECT FROM mktg.consent c WHERE c.tenant_id = 1 AND c.contact_id = m.contact_id
                  AND c.channel = 'email' AND c.state = 'subscribed')
   AND NOT EXISTS (SELECT FROM mktg.consent c WHERE c.tenant_id = 1 AND c.contact_id = m.contact_id
                      AND c.channel = 'email' AND c.topic = 'marketing' AND c.state = 'unsubscribed');

-- Email Disengaged
INSERT INTO bench.member (segment, contact_id)
SELECT 30, contact_id
  FROM (SELECT contact_id
          FROM mktg.message
         WHERE tenant_id = 1
         GROUP BY contact_id
        HAVING count(*) FILTER (WHERE delivered_at > :'at'::timestamptz - interval '180 days' AND delivered_at <= :'at'::timestamptz) >= 2
           AND count(*) FILTER (WHERE opened_at > :'at'::timestamptz - interval '180 days' AND opened_at <= :'at'::timestamptz) = 0) m
 WHERE EXISTS (SELECT FROM mktg.consent c WHERE c.tenant_id = 1 AND c.contact_id = m.contact_id
                  AND c.channel = 'email' AND c.state = 'subscribed')
   AND NOT EXISTS (SELECT FROM mktg.consent c WHERE c.tenant_id = 1 AND c.contact_id = m.contact_id
                      AND c.channel = 'email' AND c.topic = 'marketing' AND c.state = 'unsubscribed');

-- SMS Opted-In
INSERT INTO bench.member (segment, contact_id)
SELECT 31, contact_id
  FROM mktg.consent
 WHERE tenant_id = 1 AND channel = 'sms'
 GROUP BY contact_id
HAVING bool_or(state = 'subscribed') AND NOT bool_or(topic = 'marketing' AND state = 'unsubscribed');

-- App Users
INSERT INTO bench.member (segment, contact_id)
SELECT 32, contact_id
  FROM (SELECT contact_id
          FROM mktg.consent
         WHERE tenant_id = 1 AND channel = 'push'
         GROUP BY contact_id
        HAVING bool_or(state = 'subscribed') AND NOT bool_or(topic = 'marketing' AND state = 'unsubscribed')
        UNION
        SELECT contact_id
          FROM mktg.event
         WHERE tenant_id = 1 AND name = 'app_open' AND occurred_at > :'at'::timestamptz - interval '90 days' AND occurred_at <= :'at'::timestamptz
        UNION
        SELECT contact_id
          FROM mktg.purchase
         WHERE tenant_id = 1 AND channel = 'app' AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz) u;

-- Loyalty Program Members
INSERT INTO bench.member (segment, contact_id)
SELECT 33, contact_id
  FROM (SELECT contact_id
          FROM mktg.contact
         WHERE tenant_id = 1 AND attributes ->> 'loyalty_number' IS NOT NULL
        UNION
        SELECT contact_id
          FROM mktg.event
         WHERE tenant_id = 1 AND name = 'loyalty_joined' AND occurred_at <= :'at'::timestamptz) u;

-- Social Media Followers
INSERT INTO bench.member (segment, contact_id)
SELECT 34, contact_id
  FROM (SELECT contact_id
          FROM mktg.contact
         WHERE tenant_id = 1 AND 'follower' = ANY (tags)
        UNION
        SELECT contact_id
          FROM mktg.event
         WHERE tenant_id = 1 AND name = 'social_follow' AND occurred_at <= :'at'::timestamptz) u;

-- Ancillary Buyers
INSERT INTO bench.member (segment, contact_id)
SELECT 35, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz
   AND jsonb_array_length(attributes -> 'ancillaries') >= 1
 GROUP BY contact_id;

-- Upgrade Seekers
INSERT INTO bench.member (segment, contact_id)
SELECT 36, contact_id
  FROM (SELECT contact_id
          FROM mktg.purchase
         WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz
           AND attributes -> 'ancillaries' ? 'upgrade'
        UNION
        SELECT contact_id
          FROM mktg.event
         WHERE tenant_id = 1 AND name = 'upgrade_requested'
           AND occurred_at > :'at'::timestamptz - interval '365 days' AND occurred_at <= :'at'::timestamptz) u;

-- Bundle Purchasers
INSERT INTO bench.member (segment, contact_id)
SELECT 37, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz
   AND (jsonb_array_length(items) >= 2 OR jsonb_array_length(attributes -> 'ancillaries') >= 3)
 GROUP BY contact_id;

-- No Ancillary Buyers
INSERT INTO bench.member (segment, contact_id)
SELECT 38, contact_id
  FROM mktg.purchase
 WHERE tenant_id = 1 AND placed_at > :'at'::timestamptz - interval '365 days' AND placed_at <= :'at'::timestamptz
 GROUP BY contact_id
HAVING max(coalesce(jsonb_array_length(attributes -> 'ancillaries'), 0)) = 0;

-- High Churn Risk
INSERT INTO bench.member (segment, contact_id)
SELECT 39, contact_id
  FROM mktg.contact
 WHERE tenant_id = 1 AND (attributes #>> '{prediction,churn}')::numeric >= 0.7;

-- Medium Churn Risk
INSERT INTO bench.member (segment, contact_id)
SELECT 40, contact_id
  FROM mktg.contact
 WHERE tenant_id = 1 AND (attributes #>> '{prediction,churn}')::numeric >= 0.4 AND (attributes #>> '{prediction,churn}')::numeric < 0.7;

-- High Propensity to Buy
INSERT INTO bench.member (segment, contact_id)
SELECT 41, contact_id
  FROM mktg.contact
 WHERE tenant_id = 1 AND (attributes #>> '{prediction,purchase}')::numeric >= 0.6;

-- High LTV Predicted
INSERT INTO bench.member (segment, contact_id)
SELECT 42, contact_id
  FROM mktg.contact
 WHERE tenant_id = 1 AND (attributes #>> '{prediction,ltv12}')::numeric >= 2000;

-- Birthday This Month
INSERT INTO bench.member (segment, contact_id)
SELECT 43, contact_id
  FROM mktg.contact
 WHERE tenant_id = 1 AND extract(month FROM birth_date) = extract(month FROM :'at'::timestamptz AT TIME ZONE 'UTC');

-- Anniversary This Month
INSERT INTO bench.member (segment, contact_id)
SELECT 44, contact_id
  FROM mktg.contact
 WHERE tenant_id = 1 AND extract(month FROM created_at AT TIME ZONE 'UTC') = extract(month FROM :'at'::timestamptz AT TIME ZONE 'UTC')
   AND extract(year FROM created_at AT TIME ZONE 'UTC') < extract(year FROM :'at'::timestamptz AT TIME ZONE 'UTC');

-- Abandoned Cart
INSERT INTO bench.member (segment, contact_id)
SELECT 45, contact_id
  FROM mktg.cart
 WHERE tenant_id = 1 AND updated_at <= :'at'::timestamptz
   AND abandoned_at > :'at'::timestamptz - interval '14 days' AND abandoned_at <= :'at'::timestamptz AND recovered_at IS NULL
 GROUP BY contact_id;

-- Search but No Book
INSERT INTO bench.member (segment, contact_id)
SELECT 46, contact_id
  FROM mktg.event e
 WHERE tenant_id = 1 AND name = 'search' AND occurred_at > :'at'::timestamptz - interval '30 days' AND occurred_at <= :'at'::timestamptz
   AND NOT EXISTS (SELECT FROM mktg.purchase p WHERE p.tenant_id = 1 AND p.contact_id = e.contact_id
                      AND p.placed_at > :'at'::timestamptz - interval '30 days' AND p.placed_at <= :'at'::timestamptz)
 GROUP BY contact_id;

-- Complained Recently
INSERT INTO bench.member (segment, contact_id)
SELECT 47, contact_id
  FROM mktg.event
 WHERE tenant_id = 1 AND name = 'complaint' AND occurred_at > :'at'::timestamptz - interval '90 days' AND occurred_at <= :'at'::timestamptz
 GROUP BY contact_id;

-- Excellent NPS Score
INSERT INTO bench.member (segment, contact_id)
SELECT 48, contact_id
  FROM (SELECT contact_id, CASE WHEN jsonb_typeof(properties -> 'score') = 'number' THEN (properties ->> 'score')::numeric END AS score
          FROM mktg.event
         WHERE tenant_id = 1 AND name = 'nps_response'
           AND occurred_at > :'at'::timestamptz - interval '365 days' AND occurred_at <= :'at'::timestamptz) e
 GROUP BY contact_id
HAVING count(*) FILTER (WHERE score >= 9) >= 1 AND count(*) FILTER (WHERE score <= 6) = 0;

-- Detractors
INSERT INTO bench.member (segment, contact_id)
SELECT 49, contact_id
  FROM mktg.event
 WHERE tenant_id = 1 AND name = 'nps_response'
   AND occurred_at > :'at'::timestamptz - interval '365 days' AND occurred_at <= :'at'::timestamptz
   AND CASE WHEN jsonb_typeof(properties -> 'score') = 'number' THEN (properties ->> 'score')::numeric END <= 6
 GROUP BY contact_id;

-- Referral Program Participants
INSERT INTO bench.member (segment, contact_id)
SELECT 50, contact_id
  FROM (SELECT contact_id
          FROM mktg.contact
         WHERE tenant_id = 1 AND (attributes ->> 'referral_code' IS NOT NULL OR attributes ->> 'referred_by' IS NOT NULL)
        UNION
        SELECT contact_id
          FROM mktg.event
         WHERE tenant_id = 1 AND name IN ('referral_sent', 'referral_completed')
           AND occurred_at <= :'at'::timestamptz) u;
