-- Applied by install() and by every migrate(): all that depends on functions of
-- the extension, which DROP EXTENSION ... CASCADE therefore takes along.

ALTER TABLE mktg.consent ALTER at SET DEFAULT mktg.clock();
ALTER TABLE mktg.suppression ALTER at SET DEFAULT mktg.clock();
ALTER TABLE mktg.purchase ALTER placed_at SET DEFAULT mktg.clock();
ALTER TABLE mktg.event ALTER occurred_at SET DEFAULT mktg.clock();
ALTER TABLE mktg.cart ALTER updated_at SET DEFAULT mktg.clock();

CREATE OR REPLACE TRIGGER contact_normalize BEFORE INSERT OR UPDATE ON mktg.contact
    FOR EACH ROW EXECUTE FUNCTION mktg._contact_normalize();

CREATE OR REPLACE TRIGGER consent_log_insert AFTER INSERT ON mktg.consent
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._consent_log('mktg.consent_log');

CREATE OR REPLACE TRIGGER consent_log_update AFTER UPDATE ON mktg.consent
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._consent_log('mktg.consent_log');

CREATE OR REPLACE TRIGGER consent_log_delete AFTER DELETE ON mktg.consent
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._consent_log('mktg.consent_log');

CREATE OR REPLACE TRIGGER campaign_guard BEFORE INSERT OR UPDATE ON mktg.campaign
    FOR EACH ROW EXECUTE FUNCTION mktg._campaign_guard();

CREATE OR REPLACE TRIGGER message_count_insert AFTER INSERT ON mktg.message
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('mktg.campaign_stat');

CREATE OR REPLACE TRIGGER message_count_update AFTER UPDATE ON mktg.message
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('mktg.campaign_stat');

CREATE OR REPLACE TRIGGER message_count_delete AFTER DELETE ON mktg.message
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('mktg.campaign_stat');

CREATE OR REPLACE TRIGGER message_count_truncate AFTER TRUNCATE ON mktg.message
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._count_messages('mktg.campaign_stat');
