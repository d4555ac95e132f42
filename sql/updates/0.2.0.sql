\echo Use "ALTER EXTENSION mktg UPDATE TO '0.2.0'" to load this file. \quit
-- What 0.2.0 changes in the parts that 0.1.0 had.

COMMENT ON FUNCTION mktg.maintain() IS 'housekeeping: makes the partitions of the months to come, ends reservations of offers that are over, folds statistics of past days, forgets failures and sandbox messages older than 30 days';
COMMENT ON FUNCTION mktg.schedule_jobs(bigint) IS 'registers process_daily(), the nightly score_rfm() and refresh_segments(), and maintain() with pg_cron; returns the number of jobs; what changes by day the worker refreshes, or refresh_dirty() where none runs';

CREATE FUNCTION mktg.measure_sms(body text, OUT alphabet text, OUT characters integer, OUT units integer, OUT segments integer)
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_measure_sms';
COMMENT ON FUNCTION mktg.measure_sms(text) IS 'what a text takes as an SMS: its alphabet, characters, places, and the segments it is split into and paid by';

DROP FUNCTION mktg.set_sender(text, text, text, text, text, text, integer, double precision, integer, text, boolean, bigint);

CREATE FUNCTION mktg.set_delivery_limits(campaign bigint, expires_at timestamptz DEFAULT NULL, max_age interval DEFAULT NULL, max_bounce_rate numeric DEFAULT NULL, max_complaint_rate numeric DEFAULT NULL, tenant bigint DEFAULT 1) RETURNS void
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_set_delivery_limits';
COMMENT ON FUNCTION mktg.set_delivery_limits(bigint, timestamptz, interval, numeric, numeric, bigint) IS 'until when, and how long after it was queued, a campaign''s message may be sent; which shares of bounces and complaints pause the campaign';
