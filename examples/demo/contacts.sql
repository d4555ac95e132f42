-- 1,060 contacts of a shop, 1,000 of whom want offers by WhatsApp: plain
-- INSERTs into the tables. Addresses are normalised on the way in.

INSERT INTO mktg.contact (external_id, name, phone, email, country, city)
SELECT 'shop-' || n,
       (ARRAY['Asha', 'Bruno', 'Chloe', 'Dev', 'Elena', 'Femi', 'Grace', 'Hiro'])[1 + n % 8],
       CASE WHEN n <= 1040 THEN '+91 98450 ' || to_char(n, 'FM00000') END,    -- 20 have no phone
       'customer' || n || '@example.com',
       'IN',
       (ARRAY['Bengaluru', 'Mumbai', 'Delhi', 'Chennai'])[1 + n % 4]
  FROM generate_series(1, 1060) n;

INSERT INTO mktg.consent (contact_id, channel, state, source)
SELECT contact_id, 'whatsapp',
       CASE WHEN contact_id BETWEEN 1001 AND 1030 THEN 'unsubscribed' ELSE 'subscribed' END,
       'web form'
  FROM mktg.contact;

-- ten have complained: nothing goes to these numbers, whatever their consent
SELECT mktg.suppress('whatsapp', phone, 'complaint')
  FROM mktg.contact WHERE contact_id BETWEEN 1031 AND 1040;
