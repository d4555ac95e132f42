-- Quiet, bare output for every test in test/sql; \i test/setup.sql first.
\set QUIET on
\set ON_ERROR_STOP on
\set ON_ERROR_ROLLBACK off
\pset format unaligned
\pset tuples_only on
\pset pager off
\pset null ''
SET client_min_messages = warning;
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET timezone = 'UTC';
