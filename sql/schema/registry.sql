-- What the rule language may name, as it ships: tenant 0 is everybody's. Applied
-- by install() and by every migrate(). In an expression, rule_at is the instant
-- a rule is asked for, rule_time_zone and rule_currency are the tenant's.

DELETE FROM mktg.source WHERE tenant_id = 0;
INSERT INTO mktg.source (tenant_id, name, relation, contact_column, at_column, key, description) VALUES
    (0, 'contact', 'mktg.contact', 'contact_id', NULL, 'contact_id', 'contacts themselves'),
    (0, 'booking', 'mktg.purchase', 'contact_id', 'placed_at', 'contact_id', 'orders and bookings'),
    (0, 'cart', 'mktg.cart', 'contact_id', 'updated_at', 'contact_id', 'shopping carts'),
    (0, 'event', 'mktg.event', 'contact_id', 'occurred_at', 'contact_id', 'what contacts did'),
    (0, 'engagement', 'mktg.message', 'contact_id', 'sent_at', 'contact_id', 'messages sent to contacts'),
    (0, 'consent', 'mktg.consent', 'contact_id', NULL, 'contact_id', 'consent by channel and topic'),
    (0, 'rfm', 'mktg.rfm_score', 'contact_id', NULL, 'contact_id', 'scores of the last score_rfm()');

DELETE FROM mktg.field WHERE tenant_id = 0;
INSERT INTO mktg.field (tenant_id, name, source, expression, type, description) VALUES
    (0, 'customer.id', 'contact', 'contact_id', 'number', 'contact_id'),
    (0, 'customer.externalId', 'contact', 'external_id', 'text', 'the application''s own id'),
    (0, 'customer.email', 'contact', 'email', 'text', 'e-mail address'),
    (0, 'customer.phone', 'contact', 'phone', 'text', 'phone number, E.164'),
    (0, 'customer.name', 'contact', 'name', 'text', 'name'),
    (0, 'customer.birthDate', 'contact', 'birth_date', 'date', 'date of birth'),
    (0, 'customer.gender', 'contact', 'gender', 'text', 'gender'),
    (0, 'customer.language', 'contact', 'language', 'text', 'language'),
    (0, 'customer.country', 'contact', 'country', 'text', 'country'),
    (0, 'customer.region', 'contact', 'region', 'text', 'region'),
    (0, 'customer.city', 'contact', 'city', 'text', 'city the contact lives in'),
    (0, 'customer.timeZone', 'contact', 'time_zone', 'text', 'time zone'),
    (0, 'customer.tier', 'contact', 'tier', 'text', 'tier of the contact'),
    (0, 'customer.tags', 'contact', 'tags', 'array', 'tags'),
    (0, 'customer.isActive', 'contact', 'is_active', 'boolean', 'whether the contact may be written to at all'),
    (0, 'customer.createdAt', 'contact', 'created_at', 'timestamp', 'when the contact was made'),
    (0, 'customer.updatedAt', 'contact', 'updated_at', 'timestamp', 'when the contact was last changed'),
    (0, 'customer.attributes', 'contact', 'attributes', 'json', 'any attribute: customer.attributes.KEY'),
    (0, 'customer.birthMonth', 'contact', 'date_part(''month'', birth_date)', 'number', 'month of birth, 1 to 12'),
    (0, 'customer.totalSpend', 'booking', 'sum(CASE WHEN currency IS NULL OR currency = rule_currency THEN amount END)', 'money', 'spent in all, in the tenant''s currency; 0 without purchases'),
    (0, 'customer.averageOrder', 'booking', 'avg(CASE WHEN currency IS NULL OR currency = rule_currency THEN amount END)', 'money', 'average amount of a purchase'),
    (0, 'customer.orderCount', 'booking', 'count(*)', 'number', 'number of purchases'),
    (0, 'customer.firstOrderAt', 'booking', 'min(placed_at)', 'timestamp', 'first purchase'),
    (0, 'customer.lastOrderAt', 'booking', 'max(placed_at)', 'timestamp', 'last purchase'),
    (0, 'customer.daysSinceLastOrder', 'booking', 'mktg.days_since(placed_at, rule_at)', 'number', 'whole days since the last purchase'),
    (0, 'customer.lifecycleStage', 'booking', 'mktg.lifecycle_stage(placed_at, rule_at)', 'text', 'New, Active, Engaged, At-Risk, Churned or Reactivated; none without purchases'),
    (0, 'customer.spendPercentile', 'rfm', 'spend_percentile', 'number', 'percent of the buyers that spent less, 0 to 100, as of the last score_rfm()'),
    (0, 'customer.rfmSegment', 'rfm', 'segment', 'text', 'RFM segment, as of the last score_rfm()'),
    (0, 'customer.rfmCode', 'rfm', 'code', 'text', 'RFM code such as 555, as of the last score_rfm()'),
    (0, 'booking.frequency', 'booking', 'count(*)', 'number', 'number of bookings'),
    (0, 'booking.at', 'booking', 'placed_at', 'timestamp', 'when it was placed'),
    (0, 'booking.cabinClass', 'booking', 'attributes ->> ''cabin''', 'text', 'cabin'),
    (0, 'booking.channel', 'booking', 'channel', 'text', 'where it was placed, such as web, mobile or agent'),
    (0, 'booking.route', 'booking', 'attributes ->> ''route''', 'text', 'route'),
    (0, 'booking.origin', 'booking', 'attributes ->> ''origin''', 'text', 'where it starts'),
    (0, 'booking.destination', 'booking', 'attributes ->> ''destination''', 'text', 'where it goes'),
    (0, 'booking.category', 'booking', 'attributes ->> ''category''', 'text', 'category'),
    (0, 'booking.city', 'booking', 'attributes ->> ''city''', 'text', 'city it is for'),
    (0, 'booking.advanceDays', 'booking', 'mktg._advance_days(attributes, ''departure'', placed_at, rule_time_zone)', 'number', 'days from placing to departure'),
    (0, 'booking.weekday', 'booking', 'mktg._weekday(attributes, ''departure'', placed_at, rule_time_zone)', 'number', 'weekday of departure, or of placing where there is none; Monday is 1, Sunday 7'),
    (0, 'booking.month', 'booking', 'mktg._month(attributes, ''departure'', placed_at, rule_time_zone)', 'number', 'month of departure, or of placing where there is none; 1 to 12'),
    (0, 'booking.partySize', 'booking', 'mktg._json_number(attributes, ''party_size'')', 'number', 'people it is for'),
    (0, 'booking.ancillaries', 'booking', 'mktg._json_texts(attributes, ''ancillaries'')', 'array', 'extras bought with it'),
    (0, 'booking.ancillaryCount', 'booking', 'mktg._json_count(attributes, ''ancillaries'')', 'number', 'number of extras bought with it, 0 without'),
    (0, 'booking.itemCount', 'booking', 'mktg._json_count(items)', 'number', 'number of items'),
    (0, 'booking.amount', 'booking', 'CASE WHEN currency IS NULL OR currency = rule_currency THEN amount END', 'money', 'amount, where it is in the tenant''s currency'),
    (0, 'booking.attributes', 'booking', 'attributes', 'json', 'any attribute: booking.attributes.KEY'),
    (0, 'cart.count', 'cart', 'count(*)', 'number', 'number of carts'),
    (0, 'cart.updatedAt', 'cart', 'updated_at', 'timestamp', 'when it was last changed'),
    (0, 'cart.abandonedAt', 'cart', 'abandoned_at', 'timestamp', 'when it was left'),
    (0, 'cart.recoveredAt', 'cart', 'recovered_at', 'timestamp', 'when it was bought after all'),
    (0, 'cart.amount', 'cart', 'CASE WHEN currency IS NULL OR currency = rule_currency THEN amount END', 'money', 'amount, where it is in the tenant''s currency'),
    (0, 'event.name', 'event', 'name', 'text', 'name of the event'),
    (0, 'event.count', 'event', 'count(*)', 'number', 'number of events'),
    (0, 'event.at', 'event', 'occurred_at', 'timestamp', 'when it happened'),
    (0, 'event.lastAt', 'event', 'max(occurred_at)', 'timestamp', 'last event'),
    (0, 'event.properties', 'event', 'properties', 'json', 'any property: event.properties.KEY'),
    (0, 'consent.email', 'consent', 'bool_and(CASE WHEN channel <> ''email'' THEN NULL WHEN topic = ''marketing'' AND state = ''unsubscribed'' THEN false WHEN state = ''subscribed'' THEN true END)', 'boolean', 'may be written to by e-mail'),
    (0, 'consent.sms', 'consent', 'bool_and(CASE WHEN channel <> ''sms'' THEN NULL WHEN topic = ''marketing'' AND state = ''unsubscribed'' THEN false WHEN state = ''subscribed'' THEN true END)', 'boolean', 'may be written to by SMS'),
    (0, 'consent.push', 'consent', 'bool_and(CASE WHEN channel <> ''push'' THEN NULL WHEN topic = ''marketing'' AND state = ''unsubscribed'' THEN false WHEN state = ''subscribed'' THEN true END)', 'boolean', 'may be written to by push'),
    (0, 'consent.whatsapp', 'consent', 'bool_and(CASE WHEN channel <> ''whatsapp'' THEN NULL WHEN topic = ''marketing'' AND state = ''unsubscribed'' THEN false WHEN state = ''subscribed'' THEN true END)', 'boolean', 'may be written to by WhatsApp'),
    (0, 'consent.ads', 'consent', 'bool_and(CASE WHEN channel <> ''ads'' THEN NULL WHEN topic = ''marketing'' AND state = ''unsubscribed'' THEN false WHEN state = ''subscribed'' THEN true END)', 'boolean', 'may be uploaded to advertisers'),
    (0, 'prediction.churn', 'contact', 'mktg._json_number(attributes -> ''prediction'', ''churn'')', 'number', 'probability to churn, 0 to 1: attribute prediction.churn of the contact'),
    (0, 'prediction.purchase', 'contact', 'mktg._json_number(attributes -> ''prediction'', ''purchase'')', 'number', 'probability to buy, 0 to 1: attribute prediction.purchase of the contact'),
    (0, 'prediction.ltv12', 'contact', 'mktg._json_number(attributes -> ''prediction'', ''ltv12'')', 'number', 'spend expected in 12 months, major units: attribute prediction.ltv12 of the contact');

-- whose window (within_days) is another time than the source's
INSERT INTO mktg.field (tenant_id, name, source, expression, type, at_column, description) VALUES
    (0, 'engagement.sent', 'engagement', 'count(sent_at)', 'number', 'sent_at', 'messages sent'),
    (0, 'engagement.delivered', 'engagement', 'count(delivered_at)', 'number', 'delivered_at', 'messages delivered'),
    (0, 'engagement.opens', 'engagement', 'count(opened_at)', 'number', 'opened_at', 'messages opened'),
    (0, 'engagement.clicks', 'engagement', 'count(clicked_at)', 'number', 'clicked_at', 'messages clicked'),
    (0, 'engagement.openRate', 'engagement', 'avg(CASE WHEN status IN (''delivered'', ''read'') THEN CASE WHEN opened_at IS NULL THEN 0 ELSE 1 END END)', 'number', 'sent_at', 'opened of those delivered, 0 to 1'),
    (0, 'engagement.lastOpenAt', 'engagement', 'max(opened_at)', 'timestamp', 'opened_at', 'last opening'),
    (0, 'engagement.lastClickAt', 'engagement', 'max(clicked_at)', 'timestamp', 'clicked_at', 'last click');

-- what changes with the calendar alone, and how often
INSERT INTO mktg.field (tenant_id, name, source, expression, type, changes, description) VALUES
    (0, 'customer.age', 'contact', 'date_part(''year'', age((rule_at AT TIME ZONE rule_time_zone)::date::timestamp, birth_date::timestamp))', 'number', 'day', 'age in full years'),
    (0, 'customer.birthdayThisMonth', 'contact', 'date_part(''month'', birth_date) = date_part(''month'', rule_at AT TIME ZONE rule_time_zone)', 'boolean', 'month', 'has a birthday in the present month'),
    (0, 'customer.anniversaryThisMonth', 'contact', 'date_part(''month'', created_at AT TIME ZONE rule_time_zone) = date_part(''month'', rule_at AT TIME ZONE rule_time_zone) AND date_part(''year'', created_at AT TIME ZONE rule_time_zone) < date_part(''year'', rule_at AT TIME ZONE rule_time_zone)', 'boolean', 'month', 'was made in this month of an earlier year');

-- other names of a value
UPDATE mktg.field SET synonyms = '{"Loyal": "Loyal Customers", "Cannot Lose Them": "Can''t Lose Them", "Can''t Lose": "Can''t Lose Them", "Need Attention": "Needs Attention"}'
 WHERE tenant_id = 0 AND name = 'customer.rfmSegment';
UPDATE mktg.field SET synonyms = '{"At Risk": "At-Risk"}' WHERE tenant_id = 0 AND name = 'customer.lifecycleStage';

DELETE FROM mktg.rule_alias WHERE tenant_id = 0;
INSERT INTO mktg.rule_alias (tenant_id, key, rule) VALUES
    (0, 'hasTickets', '{"field": "booking.frequency", "operator": ">=", "value": 1}'),
    (0, 'hasPurchasedInLast30Days', '{"field": "booking.frequency", "operator": ">=", "value": 1, "within_days": 30}'),
    (0, 'totalSpentGreaterThan', '{"field": "customer.totalSpend", "operator": ">", "value": "$value"}'),
    (0, 'emailEnabled', '{"field": "consent.email", "operator": "=", "value": "$value"}'),
    (0, 'customer_tier', '{"field": "customer.tier", "operator": "=", "value": "$value"}'),
    (0, 'city', '{"field": "customer.city", "operator": "=", "value": "$value"}'),
    (0, 'tags', '{"field": "customer.tags", "operator": "IN", "value": "$value"}'),
    (0, 'lifecycle_stage', '{"field": "customer.lifecycleStage", "operator": "=", "value": "$value"}'),
    (0, 'min_order_count', '{"field": "customer.orderCount", "operator": ">=", "value": "$value"}'),
    (0, 'min_ltv', '{"field": "customer.totalSpend", "operator": ">=", "value": "$value"}'),
    (0, 'categories', '{"field": "booking.category", "operator": "IN", "value": "$value"}'),
    (0, 'attended_in_last_days', '{"field": "booking.at", "operator": "WITHIN_LAST", "value": "$value"}'),
    (0, 'price_ceiling', '{"field": "booking.amountMinor", "operator": "<=", "value": "$value"}');
