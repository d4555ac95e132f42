-- What the tests of campaigns share; \i test/fixture.sql after BEGIN.

-- What a statement is refused with: SQLSTATE, message, detail, hint; and
-- whether it left anything behind all the same.
CREATE FUNCTION pg_temp.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    before text := pg_temp.state();
    code text; message text; detail text; hint text;
BEGIN
    EXECUTE statement;
    RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', code, message, nullif(detail, ''), nullif(hint, ''),
                     CASE WHEN pg_temp.state() <> before THEN 'SOMETHING CHANGED' END);
END $$;

-- A fingerprint of all that campaigns and segments write.
CREATE FUNCTION pg_temp.state() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    relation text; print numeric; state text := '';
BEGIN
    FOREACH relation IN ARRAY '{tenant,contact,consent,consent_log,suppression,template,sender,campaign,message,send_schedule,outbox,campaign_stat,
        purchase,event,cart,offer,offer_slot,offer_contact,promo_code,redemption,price_phase,rfm_score,source,field,rule_alias,segment,segment_bitmap,segment_change,segment_due,audience_sync,inbox_message}'::text[] LOOP
        IF to_regclass('mktg.' || relation) IS NOT NULL THEN
            EXECUTE format('SELECT sum(hashtextextended(r::text, 0)::numeric) FROM mktg.%I r', relation) INTO print;
            state := state || ' ' || coalesce(print, 0);
        END IF;
    END LOOP;
    RETURN state;
END $$;

-- Contacts number 1 to n of a tenant, with mail and phone, subscribed to the
-- channels; external_id is the number. Returns the id of the first; they follow
-- each other.
CREATE FUNCTION pg_temp.people(n integer, channels text[] DEFAULT '{whatsapp}', tenant bigint DEFAULT 1, first integer DEFAULT 1)
RETURNS bigint LANGUAGE sql AS $$
    WITH made AS (INSERT INTO mktg.contact (tenant_id, external_id, email, phone, name)
        SELECT tenant, i, 'p' || i || '@example.com', '+1415' || 1000000 + i, 'P ' || i
          FROM generate_series(first, first + n - 1) AS i RETURNING contact_id),
    agreed AS (INSERT INTO mktg.consent (tenant_id, contact_id, channel)
        SELECT tenant, contact_id, channel FROM made, unnest(channels) AS channel)
    SELECT min(contact_id) FROM made
$$;

-- Takes and records all that is due, as a worker would; returns how many.
CREATE FUNCTION pg_temp.drain(outcome text DEFAULT 'sent') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    n bigint; total bigint := 0;
BEGIN
    LOOP
        SELECT count(*) FILTER (WHERE mktg._record(message, lease, outcome, 'as told')) INTO n
          FROM mktg._claim(1::smallint, 10000);
        EXIT WHEN n = 0;
        total := total + n;
    END LOOP;
    RETURN total;
END $$;

-- Counters that differ from a recount, over all campaigns.
CREATE FUNCTION pg_temp.miscounted() RETURNS bigint LANGUAGE sql AS $$
    SELECT coalesce(sum(mktg.rebuild_stats(campaign_id, tenant_id)), 0)::bigint FROM mktg.campaign
$$;

-- "pending 3, sent 2" of a campaign, counted in message itself.
CREATE FUNCTION pg_temp.statuses(campaign bigint, tenant bigint DEFAULT 1) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(status || ' ' || n, ', ' ORDER BY status)
      FROM (SELECT status, count(*) AS n FROM mktg.message
             WHERE tenant_id = tenant AND campaign_id = campaign GROUP BY status) s
$$;

-- "01-15 250, 01-16 250" of a campaign: its days and what they hold.
CREATE FUNCTION pg_temp.days(campaign bigint, tenant bigint DEFAULT 1) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(to_char(send_date, 'MM-DD ') || n, ', ' ORDER BY send_date)
      FROM (SELECT send_date, sum(batch_size) AS n FROM mktg.send_schedule
             WHERE tenant_id = tenant AND campaign_id = campaign AND status <> 'cancelled' GROUP BY send_date) s
$$;

-- Rows of a query, as text: "(1,a) (2,b)".
CREATE FUNCTION pg_temp.rows(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('SELECT string_agg(r::text, '' '') FROM (%s) r', query) INTO result;
    RETURN result;
END $$;
