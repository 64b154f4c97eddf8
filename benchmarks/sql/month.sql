-- A month of customers with keys of their own on one card, one row of usage for each key and window, as if counted; run
-- by the owner of the tables.
SET session_replication_role = replica;
INSERT INTO entity (entity_id, currency, zone, invoice_prefix, batch_seq)
  VALUES ('month', 'EUR', 'Europe/Copenhagen', 'M', 1);
INSERT INTO customer (customer_id, entity_id, batch_seq)
  SELECT format('m-%s', n), 'month', 1 FROM generate_series(1, {customers}) n;
INSERT INTO rate_card (rate_card_id, entity_id, name, currency, batch_seq) VALUES ('month', 'month', 'Month', 'EUR', 1);
INSERT INTO rate_card_price (rate_card_id, meter, kind, params, valid, recorded)
  SELECT 'month', meter, 'per_unit', '{{"amount": "1.25", "per": 1000000}}', '[2020-01-01 00:00+00,)', '[1,)'
    FROM unnest(ARRAY['input_uncached', 'input_cache_read', 'output_visible']) meter;
INSERT INTO subscription (subscription_id, customer_id, rate_card_id, zone, valid, recorded)
  SELECT format('s-%s', n), format('m-%s', n), 'month', 'Europe/Copenhagen', '[2020-01-01 00:00+00,)', '[1,)'
    FROM generate_series(1, {customers}) n;
INSERT INTO usage_key (usage_key_id, entity_id, customer_id, customer_ref, tier, model)
  SELECT c * {keys} + k, 'month', format('m-%s', c), format('m-%s', c), 'standard', format('model-%s', k)
    FROM generate_series(1, {customers}) c, generate_series(1, {keys}) k;
INSERT INTO usage_delta (customer_id, usage_key_id, window_start, batch_seq, requests, uncached, cache_read, cache_write,
                         visible, reasoning)
  SELECT format('m-%s', c), c * {keys} + k,
         timestamptz '2026-03-01 00:00+00' + (w * 2880 / {windows}) * interval '15 minutes', 1, 1, 1000 + c, {cache_read}, 0,
         {visible}, 0
    FROM generate_series(0, {windows} - 1) w, generate_series(1, {customers}) c, generate_series(1, {keys}) k;
SELECT setval('batch_seq', 2);
