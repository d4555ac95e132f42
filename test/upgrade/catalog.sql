-- Everything that mktg is made of in a database, a line each: two installations
-- are the same if these lines are.
SET search_path = pg_catalog;
SET timezone = 'UTC';
WITH relation AS (
    SELECT oid::regclass::text AS name, * FROM pg_class WHERE relnamespace = 'mktg'::regnamespace
), line (line) AS (
    SELECT concat_ws(' ', 'relation', name, relkind, relpersistence, reloptions, pg_get_userbyid(relowner), relacl,
                     pg_get_expr(relpartbound, oid), pg_get_partkeydef(oid)) FROM relation WHERE relkind <> 'i'
    UNION ALL
    SELECT concat_ws(' ', 'column', name, attnum, attname, format_type(atttypid, atttypmod), attcollation::regcollation, attnotnull,
                     attstorage, attidentity, attgenerated, pg_get_expr(adbin, adrelid))
      FROM relation JOIN pg_attribute ON attrelid = relation.oid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
     WHERE attnum > 0 AND relkind <> 'i'
    UNION ALL
    SELECT concat_ws(' ', 'index', indexrelid::regclass, pg_get_indexdef(indexrelid), indisprimary, indisvalid, indisclustered, indisreplident)
      FROM relation JOIN pg_index ON indrelid = relation.oid
    UNION ALL
    SELECT concat_ws(' ', 'constraint', name, conname, pg_get_constraintdef(c.oid), convalidated, conislocal, coninhcount)
      FROM relation JOIN pg_constraint c ON conrelid = relation.oid
    UNION ALL
    SELECT concat_ws(' ', 'trigger', name, pg_get_triggerdef(t.oid), tgenabled) FROM relation JOIN pg_trigger t ON tgrelid = relation.oid
     WHERE NOT tgisinternal
    UNION ALL
    SELECT concat_ws(' ', 'view', name, pg_get_viewdef(oid)) FROM relation WHERE relkind = 'v'
    UNION ALL
    SELECT concat_ws(' ', 'sequence', seqrelid::regclass, seqtypid::regtype, seqstart, seqincrement, seqmax, seqcache, refobjid::regclass, refobjsubid)
      FROM pg_sequence JOIN relation ON relation.oid = seqrelid LEFT JOIN pg_depend ON objid = seqrelid AND deptype = 'a'
    UNION ALL
    SELECT concat_ws(' ', 'function', p.oid::regprocedure, prokind, proacl, CASE WHEN prokind = 'a' THEN
             (SELECT concat_ws(' ', aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggtranstype::regtype, aggtransspace,
                               agginitval, proparallel, pg_get_function_arguments(p.oid)) FROM pg_aggregate WHERE aggfnoid = p.oid)
             ELSE pg_get_functiondef(p.oid) END)
      FROM pg_proc p WHERE pronamespace = 'mktg'::regnamespace
    UNION ALL
    SELECT concat_ws(' ', 'member', pg_describe_object(classid, objid, objsubid)) FROM pg_depend
     WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mktg')
    UNION ALL
    SELECT concat_ws(' ', 'comment', pg_describe_object(classoid, objoid, objsubid), description) FROM pg_description
     WHERE pg_describe_object(classoid, objoid, objsubid) LIKE '%mktg%'
    UNION ALL
    SELECT concat_ws(' ', 'server', srvname, fdwname, srvoptions) FROM pg_foreign_server JOIN pg_foreign_data_wrapper f ON f.oid = srvfdw
    UNION ALL
    SELECT 'source ' || s::text FROM mktg.source s
    UNION ALL
    SELECT 'field ' || f::text FROM mktg.field f
    UNION ALL
    SELECT 'alias ' || a::text FROM mktg.rule_alias a
    UNION ALL
    SELECT concat_ws(' ', 'extension', extversion, extrelocatable, extnamespace::regnamespace, (SELECT max(version) FROM mktg.schema_version))
      FROM pg_extension WHERE extname = 'mktg'
)
SELECT line FROM line ORDER BY line COLLATE "C";
