\set ECHO none
-- Runs first: every later test finds the extensions and the tables there.
\i test/setup.sql
CREATE EXTENSION pgtap;
CREATE EXTENSION mktg;
SELECT mktg.install();
