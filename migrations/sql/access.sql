-- Three roles: the owner migrates; the worker writes and owns nothing; the api reads under row-level
-- security, told per transaction who asks (tokenledger.role, tokenledger.customer, tokenledger.entity).

CREATE FUNCTION asking_role() RETURNS text LANGUAGE sql STABLE
RETURN coalesce(current_setting('tokenledger.role', true), '');
CREATE FUNCTION asking_customer() RETURNS text LANGUAGE sql STABLE
RETURN nullif(current_setting('tokenledger.customer', true), '');
CREATE FUNCTION sees_all() RETURNS boolean LANGUAGE sql STABLE
RETURN asking_role() IN ('admin', 'finance');

DO $$
DECLARE
  home name := current_schema();
BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO tokenledger_worker, tokenledger_api', home);
  EXECUTE format('GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA %I TO tokenledger_worker', home);
  EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO tokenledger_worker', home);
  EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO tokenledger_api', home);
  EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM PUBLIC', home);
END $$;
GRANT SELECT ON SEQUENCE directory_version TO tokenledger_worker;
GRANT UPDATE ON kafka_position, invoice_series TO tokenledger_worker;
GRANT UPDATE (form) ON source TO tokenledger_worker;
GRANT UPDATE (recorded) ON customer_alias, facility_pue, asset, tariff_price, deployment,
  deployment_member, fx_rate, rate_card_price, subscription TO tokenledger_worker;
GRANT DELETE ON quarantine_raw TO tokenledger_worker;
REVOKE ALL ON FUNCTION ensure_partitions(date, int), draw_batch_seq(), draw_cut_off(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_partitions(date, int), draw_batch_seq(), draw_cut_off(text) TO tokenledger_worker;

REVOKE SELECT ON api_key, idempotency_key FROM tokenledger_api;

DO $$
DECLARE
  name text;
BEGIN
  -- A customer sees rows that carry its own id.
  FOREACH name IN ARRAY ARRAY['customer', 'customer_alias', 'subscription', 'usage_key', 'usage_delta',
                              'charge', 'invoice', 'invoice_line'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY seen_by ON %I FOR SELECT TO tokenledger_api USING (sees_all() OR
                    (asking_role() = ''customer'' AND customer_id = asking_customer()))', name);
  END LOOP;
  -- Facts and documents follow their parent.
  EXECUTE 'ALTER TABLE usage_fact ENABLE ROW LEVEL SECURITY';
  EXECUTE 'CREATE POLICY seen_by ON usage_fact FOR SELECT TO tokenledger_api USING (sees_all() OR
           EXISTS (SELECT FROM usage_key k WHERE k.usage_key_id = usage_fact.usage_key_id))';
  EXECUTE 'ALTER TABLE invoice_document ENABLE ROW LEVEL SECURITY';
  EXECUTE 'CREATE POLICY seen_by ON invoice_document FOR SELECT TO tokenledger_api USING (sees_all() OR
           EXISTS (SELECT FROM invoice i WHERE i.invoice_id = invoice_document.invoice_id))';
  EXECUTE 'ALTER TABLE rate_card_price ENABLE ROW LEVEL SECURITY';
  EXECUTE 'CREATE POLICY seen_by ON rate_card_price FOR SELECT TO tokenledger_api USING (sees_all() OR
           EXISTS (SELECT FROM subscription s WHERE s.rate_card_id = rate_card_price.rate_card_id))';
  EXECUTE 'ALTER TABLE rate_card ENABLE ROW LEVEL SECURITY';
  EXECUTE 'CREATE POLICY seen_by ON rate_card FOR SELECT TO tokenledger_api USING (sees_all() OR
           EXISTS (SELECT FROM subscription s WHERE s.rate_card_id = rate_card.rate_card_id))';
  EXECUTE 'ALTER TABLE entity ENABLE ROW LEVEL SECURITY';
  EXECUTE 'CREATE POLICY seen_by ON entity FOR SELECT TO tokenledger_api USING (sees_all() OR
           EXISTS (SELECT FROM customer c WHERE c.entity_id = entity.entity_id))';
  -- Cost, the books and operations are for the house alone.
  FOREACH name IN ARRAY ARRAY['facility', 'facility_pue', 'asset', 'tariff', 'tariff_price', 'deployment',
      'deployment_member', 'fx_rate', 'gpu_reading', 'counter_reading', 'provider_claim', 'meter_window',
      'cost_pool', 'cost_allocation', 'journal_entry', 'posting', 'receipt', 'ingest_batch', 'event_key',
      'correction', 'fate_change', 'conflict', 'quarantine', 'quarantine_raw', 'quarantine_replay',
      'kafka_position', 'kafka_gap', 'activity_delta', 'activity_mask', 'engine_key', 'source',
      'manual_write', 'stage_run', 'invoice_series', 'api_key_revocation'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY seen_by ON %I FOR SELECT TO tokenledger_api USING (sees_all())', name);
  END LOOP;
  -- Append only, for the owner as well.
  FOREACH name IN ARRAY ARRAY['usage_fact', 'gpu_reading', 'counter_reading', 'provider_claim', 'receipt',
      'ingest_batch', 'event_key', 'usage_key', 'engine_key', 'correction', 'fate_change', 'conflict',
      'quarantine', 'meter_window', 'cost_pool', 'cost_allocation', 'charge', 'journal_entry', 'posting',
      'invoice', 'invoice_line', 'invoice_document', 'manual_write', 'cut_off', 'entity', 'customer',
      'facility', 'tariff', 'rate_card'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I
                    FOR EACH ROW EXECUTE FUNCTION refuse_change()', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['customer_alias', 'facility_pue', 'asset', 'tariff_price', 'deployment',
      'deployment_member', 'fx_rate', 'rate_card_price', 'subscription'] LOOP
    EXECUTE format('CREATE TRIGGER keeps_history BEFORE UPDATE OR DELETE ON %I
                    FOR EACH ROW EXECUTE FUNCTION refuse_change_but_closing()', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['entity', 'customer', 'customer_alias', 'deployment', 'api_key', 'source'] LOOP
    EXECUTE format('CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE ON %I
                    FOR EACH STATEMENT EXECUTE FUNCTION touch_directory()', name);
  END LOOP;
END $$;
