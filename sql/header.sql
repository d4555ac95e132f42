\echo Use "CREATE EXTENSION mktg" to load this file. \quit
