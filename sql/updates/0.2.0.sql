\echo Use "ALTER EXTENSION mktg UPDATE TO '0.2.0'" to load this file. \quit
-- What 0.2.0 changes in the parts that 0.1.0 had.

COMMENT ON FUNCTION mktg.maintain() IS 'housekeeping: makes the partitions of the months to come, folds statistics of past days, forgets failures and sandbox messages older than 30 days';
COMMENT ON FUNCTION mktg.schedule_jobs(bigint) IS 'registers process_daily(), the nightly score_rfm() and refresh_segments(), and maintain() with pg_cron; returns the number of jobs; what changes by day the worker refreshes, or refresh_dirty() where none runs';

