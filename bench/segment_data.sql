-- segment_data.sql: contacts and what they did, for the benchmarks of segments.
--
--	psql -v contacts=1000000 -v purchases_per_contact=5 -v at='2026-01-01 00:00+00' -f bench/segment_data.sql
--
-- For tenant 1 (UTC, USD) of a database where nothing is but what install()
-- makes.  Everything follows from hashes of row numbers, so that the same
-- variables give the same rows.  What is skewed in life is skewed here: a fifth
-- of the contacts bought nothing, one in twenty 29 times; few routes make most
-- of the journeys, and a contact comes back to its own.  Purchases and events
-- lie in no order of contact or time.  Every thousandth happens at or after
-- "at", and a quarter on the full hour, so that boundaries of whole days are
-- met exactly.

\if :{?contacts}
\else
\set contacts 1000000
\endif
\if :{?purchases_per_contact}
\else
\set purchases_per_contact 5
\endif
\if :{?at}
\else
\set at '2026-01-01 00:00+00'
\endif

SET timezone = 'UTC';
SET synchronous_commit = off;
SET client_min_messages = warning;
-- no triggers: the first refresh reads everything anyway
SET session_replication_role = replica;

CREATE SCHEMA IF NOT EXISTS bench;
-- who is in which segment, as one would keep it by hand
CREATE TABLE bench.member (segment integer NOT NULL, contact_id bigint NOT NULL, PRIMARY KEY (segment, contact_id));

-- from 0 to below 1
CREATE FUNCTION bench.chance(id bigint, seed bigint) RETURNS double precision IMMUTABLE PARALLEL SAFE LANGUAGE sql AS
'SELECT (hashint8extended($1, $2) & 1048575) / 1048576.0::double precision';
-- from 0 to below n
CREATE FUNCTION bench.pick(id bigint, seed bigint, n integer) RETURNS integer IMMUTABLE PARALLEL SAFE LANGUAGE sql AS
'SELECT ((hashint8extended($1, $2) & 1048575) % $3)::integer';

-- Contacts: of the last six years; a third have left again at some time.
DROP INDEX mktg.contact_external_id, mktg.contact_email, mktg.contact_phone;

INSERT INTO mktg.contact (contact_id, external_id, email, phone, name, birth_date, gender, language, country, region, city,
                          time_zone, tier, tags, attributes, is_active, created_at, updated_at)
SELECT i, 'c' || i, 'c' || i || '@example.com', CASE WHEN bench.chance(i, 1) < 0.6 THEN '+1202' || lpad(i::text, 8, '0') END,
       'Name ' || i,
       CASE WHEN bench.chance(i, 2) < 0.8 THEN date '1945-01-01' + bench.pick(i, 3, 22600) END,
       (ARRAY['female', 'male', NULL])[1 + bench.pick(i, 4, 3)],
       (ARRAY['en', 'en', 'en', 'es', 'fr'])[1 + bench.pick(i, 5, 5)],
       CASE WHEN bench.chance(i, 6) < 0.85 THEN 'US' ELSE 'CA' END,
       NULL,
       (ARRAY['New York', 'Los Angeles', 'Chicago', 'Houston', 'Phoenix', 'Denver', 'Seattle', 'Boston', 'Miami', 'Atlanta',
              'Toronto', 'Montreal'])[1 + floor(12 * bench.chance(i, 7) ^ 2)::integer],
       NULL,
       CASE WHEN bench.chance(i, 8) < 0.01 THEN 'vip' WHEN bench.chance(i, 8) < 0.04 THEN 'platinum'
            WHEN bench.chance(i, 8) < 0.12 THEN 'gold' WHEN bench.chance(i, 8) < 0.3 THEN 'silver'
            WHEN bench.chance(i, 8) < 0.7 THEN 'basic' END,
       CASE WHEN bench.chance(i, 9) < 0.01 THEN '{vip,newsletter}' WHEN bench.chance(i, 9) < 0.03 THEN '{corporate}'
            WHEN bench.chance(i, 9) < 0.035 THEN '{corporate,vip}' WHEN bench.chance(i, 9) < 0.1 THEN '{newsletter,follower}'
            WHEN bench.chance(i, 9) < 0.3 THEN '{newsletter}' ELSE '{}' END::text[],
       CASE bench.pick(i, 10, 25)
            WHEN 0 THEN jsonb_build_object('corporate_account', 'A' || bench.pick(i, 11, 5000))
            WHEN 1 THEN jsonb_build_object('corporate_account', NULL)
            WHEN 2 THEN jsonb_build_object('referral_code', 'R' || i)
            WHEN 3 THEN jsonb_build_object('referred_by', bench.pick(i, 11, 1000000))
            WHEN 4 THEN jsonb_build_object('loyalty_number', 'L' || i, 'referral_code', 'R' || i)
            WHEN 5 THEN jsonb_build_object('loyalty_number', 'L' || i)
            WHEN 6 THEN jsonb_build_object('loyalty_number', 'L' || i)
            ELSE '{}' END
       || CASE WHEN bench.chance(i, 12) < 0.5
               THEN jsonb_build_object('prediction', jsonb_build_object(
                    'churn', round(bench.chance(i, 13)::numeric, 2),
                    'purchase', round((bench.chance(i, 14) ^ 2)::numeric, 2),
                    'ltv12', round((5000 * bench.chance(i, 15) ^ 3)::numeric, -1)))
               ELSE '{}' END,
       bench.chance(i, 16) < 0.98,
       timestamptz :'at' - interval '2190 days' * bench.chance(i, 17),
       timestamptz :'at'
  FROM generate_series(1, :contacts::bigint) i;
SELECT setval('mktg.contact_contact_id_seq', :contacts) \g /dev/null

CREATE UNIQUE INDEX contact_external_id ON mktg.contact (tenant_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX contact_email ON mktg.contact (tenant_id, email) WHERE email IS NOT NULL;
CREATE INDEX contact_phone ON mktg.contact (tenant_id, phone) WHERE phone IS NOT NULL;

-- Consent: 70 % by e-mail, 40 % by SMS, 20 % by push; and some for another topic alone.
INSERT INTO mktg.consent (contact_id, channel, topic, state, source, at)
SELECT i, v.channel, v.topic, CASE WHEN u < v.subscribed THEN 'subscribed' WHEN u < v.unsubscribed THEN 'unsubscribed' ELSE 'pending' END,
       'import', timestamptz :'at' - interval '700 days' * u
  FROM generate_series(1, :contacts::bigint) i,
       (VALUES ('email', 'marketing', 20, 0.7, 0.78, 0.81), ('sms', 'marketing', 21, 0.4, 0.46, 0.48),
               ('push', 'marketing', 22, 0.2, 0.23, 0.23), ('email', 'news', 23, 0.02, 0.03, 0.03))
       v (channel, topic, seed, subscribed, unsubscribed, pending),
       LATERAL (SELECT bench.chance(i, v.seed) OFFSET 0) c (u)
 WHERE u < v.pending;

-- Routes, the most travelled first, and what is bought on them.
CREATE TEMP TABLE route AS
SELECT * FROM (VALUES
    (0, 'JFK', 'LAX', 'Los Angeles', 'domestic'), (1, 'LAX', 'LAS', 'Las Vegas', 'domestic'),
    (2, 'JFK', 'LHR', 'London', 'transcontinental'), (3, 'ATL', 'MIA', 'Miami', 'domestic'),
    (4, 'SFO', 'SEA', 'Seattle', 'domestic'), (5, 'JFK', 'YYZ', 'Toronto', 'regional'),
    (6, 'ORD', 'DEN', 'Denver', 'domestic'), (7, 'BOS', 'DCA', 'Washington', 'domestic'),
    (8, 'DFW', 'CUN', 'Cancun', 'regional'), (9, 'MIA', 'BOG', 'Bogota', 'international'),
    (10, 'LHR', 'JFK', 'New York', 'transcontinental'), (11, 'LAX', 'MEX', 'Mexico City', 'regional'),
    (12, 'DFW', 'PHX', 'Phoenix', 'domestic'), (13, 'JFK', 'MCO', 'Orlando', 'domestic'),
    (14, 'ATL', 'PTY', 'Panama City', 'international'), (15, 'SEA', 'YVR', 'Vancouver', 'regional'),
    (16, 'LAX', 'NRT', 'Tokyo', 'transcontinental'), (17, 'DEN', 'SFO', 'San Francisco', 'domestic'),
    (18, 'JFK', 'GRU', 'Sao Paulo', 'international'), (19, 'BOS', 'CDG', 'Paris', 'transcontinental'),
    (20, 'MIA', 'BOS', 'Boston', 'domestic'), (21, 'ORD', 'YUL', 'Montreal', 'regional'),
    (22, 'ORD', 'FRA', 'Frankfurt', 'transcontinental'), (23, 'MIA', 'LIM', 'Lima', 'international'),
    (24, 'SFO', 'SIN', 'Singapore', 'transcontinental'), (25, 'SAN', 'SJD', 'Los Cabos', 'regional'),
    (26, 'MIA', 'MAD', 'Madrid', 'transcontinental'), (27, 'DFW', 'SCL', 'Santiago', 'international'),
    (28, 'SEA', 'ANC', 'Anchorage', 'domestic'), (29, 'ATL', 'JNB', 'Johannesburg', 'transcontinental'))
    v (n, origin, destination, city, category);

CREATE TEMP TABLE variant AS
SELECT v, (price * CASE cabin WHEN 'FIRST' THEN 5 WHEN 'BUSINESS' THEN 3 WHEN 'PREMIUM_ECONOMY' THEN 1.5 ELSE 1 END
           * party * CASE WHEN promo THEN 0.85 ELSE 1 END)::bigint AS amount,
       CASE WHEN bench.chance(v, 48) < 0.08 THEN '[{"sku": "FLIGHT"}, {"sku": "HOTEL"}]'
            WHEN bench.chance(v, 48) < 0.3 THEN '[{"sku": "FLIGHT"}]' ELSE '[]' END::jsonb AS items,
       jsonb_build_object('cabin', cabin, 'route', origin || '-' || destination, 'origin', origin, 'destination', destination,
                          'category', category, 'city', city, 'party_size', party)
       || CASE WHEN promo THEN '{"promo_code": "SAVE15"}' ELSE '{}' END::jsonb
       || CASE WHEN extras > 0
               THEN jsonb_build_object('ancillaries',
                        (ARRAY['bag', 'seat', 'meal', 'upgrade', 'lounge', 'wifi', 'bag'])[shift:shift + extras - 1])
               WHEN shift = 1 THEN '{"ancillaries": []}' ELSE '{}' END AS attributes
  FROM (SELECT v, origin, destination, city, category,
               CASE category WHEN 'domestic' THEN 6000 WHEN 'regional' THEN 9000 WHEN 'international' THEN 25000 ELSE 40000 END
               * (1 + 2 * bench.chance(v, 41) ^ 2) AS price,
               CASE WHEN bench.chance(v, 42) < 0.02 THEN 'FIRST' WHEN bench.chance(v, 42) < 0.1 THEN 'BUSINESS'
                    WHEN bench.chance(v, 42) < 0.2 THEN 'PREMIUM_ECONOMY' ELSE 'ECONOMY' END AS cabin,
               CASE WHEN bench.chance(v, 43) < 0.6 THEN 1 WHEN bench.chance(v, 43) < 0.85 THEN 2
                    WHEN bench.chance(v, 43) < 0.97 THEN 3 + bench.pick(v, 44, 2) ELSE 5 + bench.pick(v, 44, 8) END AS party,
               bench.chance(v, 45) < 0.15 AS promo,
               CASE WHEN bench.chance(v, 46) < 0.5 THEN 0 ELSE floor(1 + 4 * bench.chance(v, 46) ^ 8)::integer END AS extras,
               1 + bench.pick(v, 47, 4) AS shift
          FROM generate_series(0, 4095) v JOIN route ON n = floor(30 * bench.chance(v, 40) ^ 2)) d;
ANALYZE variant;

-- Purchases: of twenty contacts 4 have none, 4 one, 3 two, and so on to 29; the
-- places of "rank" are those of a hundred purchases.
DROP INDEX mktg.purchase_contact, mktg.purchase_external_id;
ALTER TABLE mktg.purchase DROP CONSTRAINT purchase_pkey;

INSERT INTO mktg.purchase (purchase_id, contact_id, amount, currency, placed_at, channel, items, attributes)
SELECT p + 1, contact_id, amount * (90 + bench.pick(slot, 30, 21)) / 100,
       CASE bench.pick(slot, 31, 40) WHEN 0 THEN 'EUR' WHEN 1 THEN 'USD' WHEN 2 THEN 'USD' END,
       placed_at,
       (ARRAY['web', 'web', 'web', 'web', 'mobile', 'mobile', 'app', 'app', 'agent', 'call_center', NULL, 'web'])
       [1 + CASE WHEN bench.chance(slot, 32) < 0.6 THEN bench.pick(contact_id, 32, 12) ELSE bench.pick(slot, 33, 12) END],
       items,
       CASE WHEN bench.chance(slot, 34) < 0.02 THEN attributes
            ELSE attributes || jsonb_build_object('departure', placed_at::date
                 + floor(150 * ((bench.chance(contact_id, 35) + 2 * bench.chance(slot, 35)) / 3) ^ 3)::integer) END
  FROM (SELECT p, slot, contact_id,
               CASE p % 1000 WHEN 0 THEN timestamptz :'at' + interval '1 hour' * bench.pick(slot, 37, 1000)
                    ELSE date_trunc(CASE WHEN bench.chance(slot, 36) < 0.25 THEN 'hour' ELSE 'minute' END,
                                    came + (gone - came) * bench.chance(slot, 37)) END AS placed_at,
               CASE WHEN bench.chance(slot, 38) < 0.5 THEN bench.pick(contact_id, 38, 4096) ELSE bench.pick(slot, 39, 4096) END AS v
          FROM (SELECT p, slot, contact_id, came,
                       CASE WHEN bench.chance(contact_id, 18) < 0.67 THEN timestamptz :'at'
                            ELSE came + (timestamptz :'at' - came) * bench.chance(contact_id, 19) END AS gone
                  FROM (SELECT p, slot, contact_id,
                               greatest(timestamptz :'at' - interval '2190 days' * bench.chance(contact_id, 17),
                                        timestamptz :'at' - interval '1095 days') AS came
                          FROM (SELECT p, slot,
                                       (20 * (slot / (20 * :purchases_per_contact))
                                        + (7 * rank[1 + (slot % (20 * :purchases_per_contact)) * 5 / :purchases_per_contact]
                                           + bench.pick(slot / (20 * :purchases_per_contact), 29, 20)) % 20)
                                       % :contacts + 1 AS contact_id
                                  FROM (SELECT p, p * 2654435761 % (:contacts::bigint * :purchases_per_contact) AS slot
                                          FROM generate_series(0, :contacts::bigint * :purchases_per_contact - 1) p) a,
                                       (SELECT array_agg(contact ORDER BY contact) AS rank
                                          FROM unnest(ARRAY[0,0,0,0, 1,1,1,1, 2,2,2, 3,3, 4, 5, 6, 8, 12, 20, 29]) WITH ORDINALITY n (n, contact),
                                               generate_series(1, n)) r
                                OFFSET 0) b
                        OFFSET 0) c
                OFFSET 0) d
        OFFSET 0) e
  JOIN variant USING (v);
SELECT setval('mktg.purchase_purchase_id_seq', max(purchase_id)) FROM mktg.purchase \g /dev/null

ALTER TABLE mktg.purchase ADD CONSTRAINT purchase_pkey PRIMARY KEY (tenant_id, purchase_id);
CREATE INDEX purchase_contact ON mktg.purchase (tenant_id, contact_id, placed_at);
CREATE UNIQUE INDEX purchase_external_id ON mktg.purchase (tenant_id, external_id) WHERE external_id IS NOT NULL;

-- Events: one a contact on average, more of them lately.
ALTER TABLE mktg.event DROP CONSTRAINT event_pkey;

INSERT INTO mktg.event (contact_id, name, occurred_at, event_key, properties)
SELECT contact_id, name,
       CASE i % 1000 WHEN 0 THEN timestamptz :'at' + interval '1 hour' * bench.pick(i, 53, 100)
            ELSE date_trunc(CASE WHEN bench.chance(i, 52) < 0.25 THEN 'hour' ELSE 'minute' END,
                            timestamptz :'at' - interval '500 days' * bench.chance(i, 53) ^ 1.5) END,
       ('00000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid,
       CASE name WHEN 'search' THEN jsonb_build_object('origin', 'JFK', 'results', bench.pick(i, 54, 40))
                 WHEN 'nps_response' THEN CASE bench.pick(i, 54, 50) WHEN 0 THEN '{"score": "none"}' WHEN 1 THEN '{"score": null}'
                      ELSE jsonb_build_object('score', floor(11 * bench.chance(i, 55) ^ 0.6)) END
                 ELSE '{}' END
  FROM (SELECT i, 1 + bench.pick(i, 50, :contacts) AS contact_id,
               CASE WHEN u < 0.45 THEN 'search' WHEN u < 0.65 THEN 'app_open' WHEN u < 0.78 THEN 'page_view'
                    WHEN u < 0.88 THEN 'nps_response' WHEN u < 0.9 THEN 'complaint' WHEN u < 0.93 THEN 'loyalty_joined'
                    WHEN u < 0.95 THEN 'social_follow' WHEN u < 0.97 THEN 'upgrade_requested'
                    WHEN u < 0.99 THEN 'referral_sent' ELSE 'referral_completed' END AS name
          FROM generate_series(1, :contacts::bigint) i, LATERAL (SELECT bench.chance(i, 51) OFFSET 0) c (u)
        OFFSET 0) e;

ALTER TABLE mktg.event ADD CONSTRAINT event_pkey PRIMARY KEY (tenant_id, contact_id, occurred_at, event_key);

-- Carts: one for ten contacts; more than half are left, a third of those bought after all.
INSERT INTO mktg.cart (contact_id, items, amount, currency, updated_at, abandoned_at, recovered_at)
SELECT 1 + bench.pick(i, 60, :contacts), '[{"sku": "FLIGHT"}]', 1000 + bench.pick(i, 61, 100000),
       CASE bench.pick(i, 62, 20) WHEN 0 THEN 'EUR' END, updated_at,
       CASE WHEN bench.chance(i, 63) < 0.6 THEN updated_at + interval '1 hour' END,
       CASE WHEN bench.chance(i, 63) < 0.2 THEN updated_at + interval '1 day' END
  FROM (SELECT i, date_trunc('hour', timestamptz :'at' - interval '90 days' * bench.chance(i, 64))
                  + CASE i % 1000 WHEN 0 THEN interval '91 days' ELSE interval '0' END AS updated_at
          FROM generate_series(1, :contacts::bigint / 10) i OFFSET 0) c;

-- Messages of one campaign, up to three a contact, one for two contacts on average.
SELECT mktg.create_template('letter', 'email', subject => 'News', body => 'Dear {{name}}') \g /dev/null
SELECT mktg.create_campaign('letters', 'email', template => 'letter') AS campaign \gset

INSERT INTO mktg.message (campaign_id, contact_id, ref, send_day, address, status, queued_at, sent_at, delivered_at, failed_at,
                          opened_at, clicked_at)
SELECT :campaign, contact_id, ref, sent_at::date, 'c' || contact_id || '@example.com',
       CASE WHEN w < 0.01 THEN 'queued' WHEN w < 0.05 THEN 'bounced' WHEN w < 0.07 THEN 'failed' WHEN w < 0.12 THEN 'sent'
            WHEN w < 0.15 THEN 'read' ELSE 'delivered' END,
       sent_at - interval '1 minute',
       CASE WHEN w >= 0.01 THEN sent_at END,
       CASE WHEN w >= 0.12 THEN sent_at + interval '1 minute' END,
       CASE WHEN w >= 0.01 AND w < 0.07 THEN sent_at + interval '1 minute' END,
       CASE WHEN w >= 0.6 THEN sent_at + interval '1 hour' * (1 + bench.pick(contact_id, 73, 100)) END,
       CASE WHEN w >= 0.9 THEN sent_at + interval '1 hour' * (2 + bench.pick(contact_id, 73, 100)) END
  FROM (SELECT i AS contact_id, ref, bench.chance(i, 74 + ref) AS w,
               date_trunc('hour', timestamptz :'at' - interval '80 days' * (ref - 1 + bench.chance(i, 72))) AS sent_at
          FROM generate_series(1, :contacts::bigint) i, LATERAL (SELECT bench.chance(i, 71) OFFSET 0) c (u),
               generate_series(1, CASE WHEN u < 0.04 THEN 3 WHEN u < 0.13 THEN 2 WHEN u < 0.33 THEN 1 ELSE 0 END) ref
        OFFSET 0) m;

RESET session_replication_role;
SELECT mktg.rebuild_stats(:campaign) \g /dev/null

-- the rows' hint bits and the visibility map, as in a database that has been there for a while
VACUUM ANALYZE mktg.contact, mktg.consent, mktg.purchase, mktg.event, mktg.cart, mktg.message;
