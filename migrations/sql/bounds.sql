-- The second wall around what people enter: the bounds of ledger/wire/input_fields.py, whoever writes. Within them
-- every stage can multiply, add up and date what it finds. Plain expressions: a dump restores them before any function.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['entity_detail', 'customer_detail', 'customer_alias', 'customer_parent', 'customer_above', 'facility_pue', 'energy_meter', 'asset', 'deployment', 'weight_set', 'idle_policy',
                              'deployment_member', 'site_cost_term', 'utility_bill', 'rate_card_price', 'subscription', 'tax_rate', 'tax_registration',
                              'tax_treatment'] LOOP
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT valid_in_bounds CHECK (
      lower(valid) >= ''2000-01-01 00:00Z'' AND (upper(valid) <= ''2200-01-01 00:00Z'' OR upper(valid) = ''infinity''))',
      name);
  END LOOP;
END $$;

ALTER TABLE entity_detail ADD CONSTRAINT payment_days_in_bounds CHECK (payment_days <= 3650);
ALTER TABLE customer_detail ADD CONSTRAINT payment_days_in_bounds CHECK (payment_days <= 3650);
ALTER TABLE facility_pue
  ADD CONSTRAINT pue_in_bounds CHECK (pue <= 100),
  ADD CONSTRAINT host_in_bounds CHECK (host_mw_per_gpu <= 10000000);
ALTER TABLE energy_meter ADD CONSTRAINT calibration_in_bounds CHECK (
  gain <= 10 AND offset_mw BETWEEN -10000000 AND 10000000);
ALTER TABLE asset
  ADD CONSTRAINT gpus_in_bounds CHECK (gpu_count <= 1000000),
  ADD CONSTRAINT life_in_bounds CHECK (life_months <= 1200),
  ADD CONSTRAINT in_service_in_bounds CHECK (in_service BETWEEN '2000-01-01 00:00Z' AND '2200-01-01 00:00Z'),
  ADD CONSTRAINT amounts_in_bounds CHECK (
    purchase_price BETWEEN 0 AND 1e15 AND residual_value BETWEEN 0 AND 1e15 AND gpu_hour_rate BETWEEN 0 AND 1e15);
ALTER TABLE deployment ADD CONSTRAINT gpus_in_bounds CHECK (gpu_count <= 1000000);
ALTER TABLE tariff_price
  ADD CONSTRAINT period_in_bounds CHECK (
    lower(period) >= '2000-01-01 00:00Z' AND upper(period) <= '2200-01-01 00:00Z'),
  ADD CONSTRAINT price_in_bounds CHECK (price_per_mwh BETWEEN -1e15 AND 1e15);
ALTER TABLE utility_bill ADD CONSTRAINT amounts_in_bounds CHECK (
  kwh <= 1e15 AND net BETWEEN -1e15 AND 1e15 AND tax BETWEEN -1e15 AND 1e15);
ALTER TABLE grid_factor
  ADD CONSTRAINT period_in_bounds CHECK (
    lower(period) >= '2000-01-01 00:00Z' AND upper(period) <= '2200-01-01 00:00Z'),
  ADD CONSTRAINT factor_in_bounds CHECK (per_kwh <= 1e6);
ALTER TABLE fx_rate
  ADD CONSTRAINT day_in_bounds CHECK (day BETWEEN '2000-01-01' AND '2200-01-01'),
  ADD CONSTRAINT rate_in_bounds CHECK (rate <= 1e9 AND scale(trim_scale(rate)) <= 12);
-- A price model whose parameters have no amount of that name holds its own numbers to the same bound.
ALTER TABLE rate_card_price ADD CONSTRAINT amount_in_bounds CHECK (
  (params ->> 'amount')::numeric BETWEEN 0 AND 1e15 AND (params ->> 'per')::numeric BETWEEN 1 AND 1e12);

-- What names something of ours stands in paths, file names, headers and invoice numbers: one rule of characters.
DO $$
DECLARE
  named text;
  field text;
BEGIN
  FOR named, field IN VALUES
      ('entity', 'entity_id'), ('entity', 'invoice_prefix'), ('customer', 'customer_id'), ('facility', 'facility_id'),
      ('asset', 'asset_id'), ('tariff', 'tariff_id'), ('deployment', 'deployment_id'), ('rate_card', 'rate_card_id'),
      ('subscription', 'subscription_id'), ('utility_bill', 'bill_id') LOOP
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (%I ~ ''^[A-Za-z0-9][A-Za-z0-9._:@+=~-]{0,127}$'')',
                   named, field || '_is_plain', field);
  END LOOP;
END $$;
