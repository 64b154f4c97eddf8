-- Three roles: the owner migrates; the worker writes and owns nothing; the api reads under row-level
-- security, told per transaction who asks (identity.sql). What a policy asks of that is asked once a statement.

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
GRANT SELECT ON SEQUENCE directory_version, batch_seq TO tokenledger_worker;
GRANT UPDATE ON kafka_position, invoice_series TO tokenledger_worker;
GRANT UPDATE (form) ON source TO tokenledger_worker;
GRANT UPDATE (used, held, own_mean) ON budget_balance TO tokenledger_worker;
GRANT UPDATE (recorded) ON budget, top_up_rule, entity_detail, customer_detail, customer_alias, customer_parent, customer_above, facility_pue, energy_meter, asset,
  tariff_price, site_cost_term, utility_bill, grid_factor, deployment, weight_set, idle_policy,
  deployment_member, fx_rate, rate_card_price, subscription, tax_rate, tax_registration, tax_treatment,
  dunning_policy TO tokenledger_worker;
GRANT UPDATE (due_at, tries) ON notice_due TO tokenledger_worker;
GRANT DELETE ON quarantine_raw, conflict_offer, reservation_hold, entered_budget, counted_meanwhile, notice_due, cost_share TO tokenledger_worker;
REVOKE ALL ON FUNCTION ensure_partitions(date, int), draw_batch_seq(), last_closed_batch(), draw_cut_off(text), begin_preview() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_partitions(date, int), draw_batch_seq(), draw_cut_off(text), begin_preview() TO tokenledger_worker;

REVOKE SELECT ON api_key, idempotency_key, identity_key, webhook_secret FROM tokenledger_api;
GRANT SELECT (webhook_id, made_at) ON webhook_secret TO tokenledger_api;
REVOKE INSERT ON identity_key FROM tokenledger_worker;

DO $$
DECLARE
  name text;
  parent text;
  key text;
BEGIN
  -- A customer sees rows that carry its own id; who is bound to an entity, those of its customers.
  FOREACH name IN ARRAY ARRAY['customer', 'usage_key', 'charge_day', 'usage_day', 'invoice', 'credit_note', 'payment', 'dunning_letter', 'dispute',
                              'dispute_resolution',
                              'credit_grant', 'credit_draw', 'credit_expiry', 'credit_applied', 'credit_event'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY seen_by ON %I FOR SELECT TO tokenledger_api USING ((SELECT sees_all()) OR
                    customer_id = ANY ((SELECT asking_customers())::text[]) OR entity_id = (SELECT asking_entity()))', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['customer_alias', 'customer_parent', 'customer_above', 'subscription', 'tax_treatment', 'usage_delta', 'usage_mark', 'extra_delta', 'agent_run_delta',
                              'invoice_line', 'invoice_tax', 'credit_note_line', 'credit_note_tax', 'payment_part', 'dunning_letter_item',
                              'top_up_rule', 'budget', 'budget_balance', 'budget_alert', 'reservation', 'reservation_end',
                              'reservation_hold'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY seen_by ON %I FOR SELECT TO tokenledger_api USING ((SELECT sees_all()) OR
                    customer_id = ANY ((SELECT asking_customers())::text[]) OR customer_id IN
                    (SELECT c.customer_id FROM customer c WHERE c.entity_id = (SELECT asking_entity())))', name);
  END LOOP;
  -- What belongs to an entity; rate cards and the entity itself are its customers' to see as well.
  FOREACH name IN ARRAY ARRAY['facility', 'asset', 'deployment', 'weight_set', 'idle_policy', 'cost_pool', 'cost_allocation',
                              'cost_share', 'cost_day', 'cost_day_line', 'pool_day', 'usage_tally', 'key_day', 'site_cost', 'weight_check', 'journal_entry',
                              'journal_stretch', 'carried_balance', 'month_state', 'invoice_series', 'stage_run', 'webhook', 'notice', 'bank_entry'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY seen_by ON %I FOR SELECT TO tokenledger_api USING ((SELECT sees_all()) OR
                    entity_id = (SELECT asking_entity()))', name);
  END LOOP;
  ALTER TABLE entity ENABLE ROW LEVEL SECURITY;
  CREATE POLICY seen_by ON entity FOR SELECT TO tokenledger_api USING ((SELECT sees_all())
    OR entity_id = (SELECT asking_entity())
    OR EXISTS (SELECT FROM customer c WHERE c.entity_id = entity.entity_id AND c.customer_id = (SELECT asking_customer())));
  ALTER TABLE rate_card ENABLE ROW LEVEL SECURITY;
  CREATE POLICY seen_by ON rate_card FOR SELECT TO tokenledger_api USING ((SELECT sees_all())
    OR entity_id = (SELECT asking_entity())
    OR (SELECT asking_customer()) IS NOT NULL AND EXISTS (SELECT FROM subscription s WHERE s.rate_card_id = rate_card.rate_card_id));
  -- Who is paid for is priced by the subscription of whoever pays.
  CREATE POLICY priced_by ON subscription FOR SELECT TO tokenledger_api USING (customer_id IN
    (SELECT a.above_id FROM customer_above a
      WHERE a.customer_id = (SELECT asking_customer()) AND a.pays AND upper_inf(a.recorded)));
  -- Facts, documents and details follow their parent: whoever may see the parent's row.
  FOR name, parent, key IN VALUES
      ('entity_detail', 'entity', 'entity_id'), ('entity_logo', 'entity', 'entity_id'), ('dunning_policy', 'entity', 'entity_id'), ('tax_registration', 'entity', 'entity_id'),
      ('customer_detail', 'customer', 'customer_id'),
      ('usage_fact', 'usage_key', 'usage_key_id'), ('invoice_document', 'invoice', 'invoice_id'),
      ('credit_note_document', 'credit_note', 'credit_note_id'),
      ('rate_card_price', 'rate_card', 'rate_card_id'), ('facility_pue', 'facility', 'facility_id'),
      ('energy_meter', 'facility', 'facility_id'),
      ('tariff', 'facility', 'facility_id'), ('tariff_price', 'facility', 'facility_id'),
      ('site_cost_term', 'facility', 'facility_id'), ('utility_bill', 'facility', 'facility_id'), ('grid_factor', 'facility', 'facility_id'),
      ('webhook_secret', 'webhook', 'webhook_id'), ('webhook_state', 'webhook', 'webhook_id'),
      ('bank_entry_outcome', 'bank_entry', 'entry_id'),
      ('notice_due', 'webhook', 'webhook_id'), ('notice_delivery', 'webhook', 'webhook_id'),
      ('deployment_member', 'deployment', 'deployment_row_id'), ('posting', 'journal_entry', 'entry_id') LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY seen_by ON %1$I FOR SELECT TO tokenledger_api USING ((SELECT sees_all()) OR
                    EXISTS (SELECT FROM %2$I p WHERE p.%3$I = %1$I.%3$I))', name, parent, key);
  END LOOP;
  -- Rates of currencies and of tax are nobody's and everybody's in the house.
  FOREACH name IN ARRAY ARRAY['fx_rate', 'tax_rate'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY seen_by ON %I FOR SELECT TO tokenledger_api USING ((SELECT asks_for_the_house()))', name);
  END LOOP;
  -- A chunk has the facts of many, and so have extras: whoever asks as somebody may read it, and its reader keeps to the keys of usage_key
  -- that they see.
  FOREACH name IN ARRAY ARRAY['usage_chunk', 'merged_chunk', 'usage_extra'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY seen_by ON %I FOR SELECT TO tokenledger_api USING ((SELECT sees_all())
                    OR (SELECT asking_entity()) IS NOT NULL OR (SELECT asking_customer()) IS NOT NULL)', name);
  END LOOP;
  -- What meters and operations say is of no one entity: for keys of the house that are bound to none.
  FOREACH name IN ARRAY ARRAY['gpu_reading', 'meter_gap', 'counter_reading', 'provider_claim', 'meter_window', 'meter_day', 'receipt',
      'ingest_batch', 'event_key', 'correction', 'fate_change', 'conflict', 'quarantine', 'quarantine_raw',
      'quarantine_replay', 'quarantine_dismissal', 'conflict_offer', 'conflict_resolution', 'suspense_dismissal', 'kafka_position', 'kafka_gap', 'activity', 'activity_mask', 'pending_sum', 'entered_budget', 'counted_meanwhile', 'engine_key', 'source', 'source_form',
      'manual_write', 'loaded_file', 'api_key', 'api_key_revocation', 'idempotency_key', 'identity_key'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY seen_by ON %I FOR SELECT TO tokenledger_api USING ((SELECT sees_all()))', name);
  END LOOP;
  -- Append only, for the owner as well; facts that are merged go from where they were (merge.sql).
  FOREACH name IN ARRAY ARRAY['merged_chunk', 'agent_run_delta', 'gpu_reading', 'meter_gap', 'counter_reading', 'provider_claim', 'usage_extra', 'receipt',
      'source_form', 'ingest_batch', 'event_key', 'usage_key', 'engine_key', 'correction', 'fate_change', 'conflict',
      'quarantine', 'quarantine_dismissal', 'conflict_resolution', 'suspense_dismissal', 'meter_window', 'cost_pool',
      'cost_allocation', 'cost_day', 'cost_day_line', 'pool_day', 'meter_day', 'site_cost', 'weight_check', 'charge_day', 'usage_day', 'usage_tally', 'key_day', 'journal_entry', 'posting', 'journal_stretch', 'carried_balance', 'month_state',
      'invoice', 'invoice_line', 'invoice_tax', 'invoice_document', 'credit_note', 'credit_note_line',
      'credit_note_tax', 'credit_note_document', 'payment', 'payment_part', 'credit_grant', 'credit_draw',
      'credit_expiry', 'credit_applied', 'credit_event', 'dunning_letter', 'dunning_letter_item', 'dispute', 'dispute_resolution', 'bank_entry', 'bank_entry_outcome', 'manual_write', 'loaded_file', 'cut_off', 'entity', 'entity_logo', 'customer',
      'facility', 'tariff', 'rate_card', 'budget_alert', 'reservation', 'reservation_end', 'webhook', 'webhook_secret',
      'webhook_state', 'notice', 'notice_delivery'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I
                    FOR EACH ROW EXECUTE FUNCTION refuse_change()', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['entity_detail', 'customer_detail', 'customer_alias', 'customer_parent', 'customer_above', 'facility_pue', 'energy_meter', 'asset',
      'tariff_price', 'site_cost_term', 'utility_bill', 'grid_factor', 'deployment', 'weight_set', 'idle_policy', 'deployment_member', 'fx_rate', 'rate_card_price', 'subscription', 'tax_rate',
      'tax_registration', 'tax_treatment', 'budget', 'dunning_policy', 'top_up_rule'] LOOP
    EXECUTE format('CREATE TRIGGER keeps_history BEFORE UPDATE OR DELETE ON %I
                    FOR EACH ROW EXECUTE FUNCTION refuse_change_but_closing()', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['entity', 'customer', 'customer_alias', 'customer_above', 'deployment', 'api_key', 'source', 'source_form', 'budget'] LOOP
    EXECUTE format('CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE ON %I
                    FOR EACH STATEMENT EXECUTE FUNCTION touch_directory()', name);
  END LOOP;
END $$;
