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
COMMENT ON FUNCTION mktg.maintain() IS 'housekeeping: makes the partitions of the months to come, ends reservations of offers that are over, folds statistics of past days, forgets failures and sandbox messages older than 30 days';

CREATE FUNCTION mktg.schedule_jobs(tenant bigint DEFAULT 1) RETURNS integer
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_schedule_jobs';
COMMENT ON FUNCTION mktg.schedule_jobs(bigint) IS 'registers process_daily(), the nightly score_rfm() and refresh_segments(), and maintain() with pg_cron; returns the number of jobs; what changes by day the worker refreshes, or refresh_dirty() where none runs';

CREATE FUNCTION mktg.unschedule_jobs() RETURNS integer
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_unschedule_jobs';
COMMENT ON FUNCTION mktg.unschedule_jobs() IS 'removes the jobs schedule_jobs() registered, of every tenant; returns their number';

CREATE FUNCTION mktg.create_tenant(name text, time_zone text DEFAULT 'UTC', currency text DEFAULT 'USD') RETURNS bigint
    LANGUAGE C SET search_path = pg_catalog, mktg, pg_temp
    AS 'MODULE_PATHNAME', 'mktg_create_tenant';
COMMENT ON FUNCTION mktg.create_tenant(text, text, text) IS 'makes a tenant with a sandbox sender; returns tenant_id';
