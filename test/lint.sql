-- Rules of the house that the catalog can be asked about; TAP.
\i test/setup.sql
SELECT no_plan();

SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc p
    WHERE pronamespace = 'mktg'::regnamespace AND prosecdef
      AND NOT EXISTS (SELECT FROM unnest(proconfig) c WHERE c ~ '^search_path=.*, ?"?pg_temp"?$')
$$, 'every security definer function sets search_path, pg_temp last');

SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc p
    WHERE pronamespace = 'mktg'::regnamespace
      AND EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) a
                  WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE')
$$, 'no function is for PUBLIC');

SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class c
    WHERE relnamespace = 'mktg'::regnamespace
      AND EXISTS (SELECT FROM aclexplode(relacl) a WHERE a.grantee = 0)
$$, 'no table or view is for PUBLIC');

SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = prolang
    WHERE pronamespace = 'mktg'::regnamespace AND lanname NOT IN ('c', 'sql') AND prokind <> 'a'
$$, 'functions are C or SQL');

SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc p
    WHERE pronamespace = 'mktg'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
$$, 'every function has a comment');

SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class c
    WHERE relnamespace = 'mktg'::regnamespace AND relkind IN ('r', 'p', 'v')
      AND NOT relispartition AND obj_description(oid, 'pg_class') IS NULL
$$, 'every table and view has a comment');

SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc p,
         LATERAL (SELECT array_position(proargnames[:pronargs], 'tenant') AS place) t
    WHERE pronamespace = 'mktg'::regnamespace AND proname !~ '^_' AND place IS NOT NULL
      AND (place <> pronargs OR pronargdefaults = 0 OR
           pg_get_function_arguments(p.oid) !~ '\mtenant bigint DEFAULT 1\M')
$$, 'the last argument is tenant bigint DEFAULT 1');

SELECT is_empty($$
    SELECT i.indexrelid::regclass FROM pg_index i
    JOIN pg_class c ON c.oid = indrelid
    JOIN pg_attribute a ON a.attrelid = indrelid AND a.attnum = indkey[0]
    WHERE relnamespace = 'mktg'::regnamespace AND relkind IN ('r', 'p') AND indisunique
      AND a.attname <> 'tenant_id'
      AND c.relname NOT IN ('schema_version', 'delivery_arming', 'tenant')
$$, 'keys begin with tenant_id');

SELECT is_empty($$
    SELECT conrelid::regclass, conname FROM pg_constraint k
    JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = conkey[1]
    WHERE connamespace = 'mktg'::regnamespace AND contype = 'f' AND a.attname <> 'tenant_id'
$$, 'foreign keys begin with tenant_id');

SELECT is_empty($$
    SELECT conrelid::regclass, conname FROM pg_constraint
    WHERE connamespace = 'mktg'::regnamespace AND confdeltype = 'n'
$$, 'no ON DELETE SET NULL');

SELECT is_empty($$
    SELECT attrelid::regclass, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
    WHERE relnamespace = 'mktg'::regnamespace AND attidentity <> ''
$$, 'no identity columns');

SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class c
    WHERE relnamespace = 'mktg'::regnamespace AND relkind = 'v'
      AND NOT coalesce(reloptions @> '{security_invoker=true}' OR reloptions @> '{security_invoker=on}', false)
$$, 'views are security invokers');

SELECT * FROM finish();
