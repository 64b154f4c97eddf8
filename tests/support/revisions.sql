-- Three customers, scopes and GPUs with two windows each, revised up to five times in batches before 40: a later
-- revision comes in a later batch, or in an earlier one, which no stage does and the functions need not forbid. Charges
-- are differences, ten of each customer.
SET session_replication_role = replica;
CREATE TEMP TABLE revised AS
  SELECT 'c-' || n AS customer_id, n AS usage_key_id, timestamptz '2024-05-06Z' + w * interval '15 min' AS window_start,
         r AS revision, (n * 17 + w * 5 + r * 11) % 40 AS batch_seq, 'e-' || n % 2 AS entity_id
    FROM generate_series(1, 3) n, generate_series(1, 2) w, generate_series(1, 5) r;
INSERT INTO charge_day (customer_id, usage_key_id, day_start, meter, price_id, cut_off_id, batch_seq, entity_id, quantity, unpriced)
  SELECT customer_id, ARRAY[usage_key_id], '2024-05-06Z', '{output_visible}', '{NULL}', 1, batch_seq, entity_id, ARRAY[revision],
         'no price' FROM revised;
INSERT INTO cost_allocation (scope, window_start, line, lines, revision, cut_off_id, batch_seq, entity_id,
                             currency, weight_version, weight_uncached, weight_cache_read, weight_cache_write,
                             weight_output, gpu_terms, busy_s, device_metered_mj, device_estimated_mj, host_mj,
                             overhead_mj, device_cost, overhead_cost, gpu_cost, digest)
  SELECT 'deployment:' || customer_id, window_start, 'usage', 1, revision, 1, batch_seq, entity_id,
         'EUR', 1, 1, 1, 1, 1, 'owned', 900, 1, 0, 0, 0, revision, 1, 1, sha256('') FROM revised;
INSERT INTO cost_share (scope, window_start, usage_key_id, revision, batch_seq, entity_id, device_metered_mj,
                        device_estimated_mj, host_mj, overhead_mj, device_cost_low, overhead_cost_low, gpu_cost_low)
  SELECT 'deployment:' || customer_id, window_start, ARRAY[usage_key_id], revision, batch_seq, entity_id, '{1}', '{0}', '{0}',
         '{0}', ARRAY[revision * 1000000000000], '{1000000000000}', '{1000000000000}' FROM revised;
INSERT INTO cost_pool (scope, window_start, kind, revision, cut_off_id, batch_seq, entity_id, currency, amount)
  SELECT 'deployment:' || customer_id, window_start, 'gpu', revision, 1, batch_seq, entity_id, 'EUR', revision
    FROM revised;
INSERT INTO meter_window (gpu_uuid, window_start, revision, cut_off_id, batch_seq, metered_mj, estimated_mj, covered_s)
  SELECT 'GPU-' || usage_key_id, window_start, revision, 1, batch_seq, revision, 0, 900 FROM revised;
