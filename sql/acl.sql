-- acl.sql: nobody may call anything until granted (examples/grants.sql)

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA mktg FROM PUBLIC;
