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

-- Whose rows change, for segments that read them; of messages only what rules look at.
CREATE OR REPLACE TRIGGER contact_mark_insert AFTER INSERT ON mktg.contact
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('contact', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER contact_mark_update AFTER UPDATE ON mktg.contact
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('contact', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER contact_mark_delete AFTER DELETE ON mktg.contact
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('contact', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER contact_mark_truncate AFTER TRUNCATE ON mktg.contact
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('contact', 'contact_id', 'contact_id', '0');

CREATE OR REPLACE TRIGGER purchase_mark_insert AFTER INSERT ON mktg.purchase
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('booking', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER purchase_mark_update AFTER UPDATE ON mktg.purchase
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('booking', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER purchase_mark_delete AFTER DELETE ON mktg.purchase
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('booking', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER purchase_mark_truncate AFTER TRUNCATE ON mktg.purchase
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('booking', 'contact_id', 'contact_id', '0');

CREATE OR REPLACE TRIGGER event_mark_insert AFTER INSERT ON mktg.event
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('event', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER event_mark_update AFTER UPDATE ON mktg.event
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('event', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER event_mark_delete AFTER DELETE ON mktg.event
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('event', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER event_mark_truncate AFTER TRUNCATE ON mktg.event
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('event', 'contact_id', 'contact_id', '0');

CREATE OR REPLACE TRIGGER cart_mark_insert AFTER INSERT ON mktg.cart
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('cart', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER cart_mark_update AFTER UPDATE ON mktg.cart
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('cart', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER cart_mark_delete AFTER DELETE ON mktg.cart
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('cart', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER cart_mark_truncate AFTER TRUNCATE ON mktg.cart
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('cart', 'contact_id', 'contact_id', '0');

CREATE OR REPLACE TRIGGER consent_mark_insert AFTER INSERT ON mktg.consent
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('consent', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER consent_mark_update AFTER UPDATE ON mktg.consent
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('consent', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER consent_mark_delete AFTER DELETE ON mktg.consent
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('consent', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER consent_mark_truncate AFTER TRUNCATE ON mktg.consent
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('consent', 'contact_id', 'contact_id', '0');

CREATE OR REPLACE TRIGGER message_mark_insert AFTER INSERT ON mktg.message
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('engagement', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER message_mark_update AFTER UPDATE ON mktg.message
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('engagement', 'contact_id', 'contact_id', '0', 'status', 'sent_at', 'delivered_at', 'opened_at', 'clicked_at');
CREATE OR REPLACE TRIGGER message_mark_delete AFTER DELETE ON mktg.message
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('engagement', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER message_mark_truncate AFTER TRUNCATE ON mktg.message
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('engagement', 'contact_id', 'contact_id', '0');

CREATE OR REPLACE TRIGGER rfm_score_mark_insert AFTER INSERT ON mktg.rfm_score
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('rfm', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER rfm_score_mark_update AFTER UPDATE ON mktg.rfm_score
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('rfm', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER rfm_score_mark_delete AFTER DELETE ON mktg.rfm_score
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('rfm', 'contact_id', 'contact_id', '0');
CREATE OR REPLACE TRIGGER rfm_score_mark_truncate AFTER TRUNCATE ON mktg.rfm_score
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._mark_contacts('rfm', 'contact_id', 'contact_id', '0');

-- Sessions remember offers, the forms of their codes and the zones of their tenants.
CREATE OR REPLACE TRIGGER offer_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON mktg.offer
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._offer_changed();
CREATE OR REPLACE TRIGGER code_series_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON mktg.code_series
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._offer_changed();
CREATE OR REPLACE TRIGGER tenant_changed AFTER UPDATE OR DELETE OR TRUNCATE ON mktg.tenant
    FOR EACH STATEMENT EXECUTE FUNCTION mktg._offer_changed();
