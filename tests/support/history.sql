-- A ledger of many days, made on the server: what ingest, rating and allocation would have left, in the
-- proportions they leave it in. A day has 96 windows; a batch brings facts of one window and the one before.
-- Every customer is in every batch, as at a gateway. The last day is open; those before it are closed, and a
-- week after it is made ahead. What facts, their sums and their charges leave beside them may be left out.
CREATE FUNCTION make_history(first_day date, days int, batches int, facts int, customers int,
                             beside boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  keys int := customers * 2 + 1;
  final bigint := days::bigint * batches;
BEGIN
  PERFORM set_config('session_replication_role', 'replica', true);
  PERFORM ensure_partitions(first_day, days + 7);
  INSERT INTO entity (entity_id, currency, zone, invoice_prefix, batch_seq)
    VALUES ('factory', 'EUR', 'UTC', 'F', 1) ON CONFLICT DO NOTHING;
  INSERT INTO customer (customer_id, entity_id, batch_seq)
    SELECT format('c-%s', n), 'factory', 1 FROM generate_series(1, customers) n;
  INSERT INTO rate_card (rate_card_id, entity_id, name, currency, batch_seq)
    VALUES ('list', 'factory', 'List', 'EUR', 1);
  INSERT INTO rate_card_price (rate_card_id, meter, kind, params, valid, recorded)
    SELECT 'list', meter, 'per_unit', '{"amount": "1"}', '[2020-01-01 00:00+00,)', '[1,)'
      FROM unnest(ARRAY['input_uncached', 'output_visible']) meter;
  INSERT INTO subscription (subscription_id, customer_id, rate_card_id, zone, valid, recorded)
    SELECT format('s-%s', n), format('c-%s', n), 'list', 'UTC', '[2020-01-01 00:00+00,)', '[1,)'
      FROM generate_series(1, customers) n;
  INSERT INTO source (source, form, batch_seq) VALUES ('/hosts/a', 'sequenced', 1), ('/gateways/a', 'keyed', 1);
  -- The last key belongs to a name nobody knows.
  INSERT INTO usage_key (usage_key_id, entity_id, customer_id, customer_ref, tier, model)
    SELECT k, CASE WHEN k < keys THEN 'factory' END, CASE WHEN k < keys THEN format('c-%s', (k + 1) / 2) END,
           CASE WHEN k < keys THEN format('c-%s', (k + 1) / 2) ELSE 'nobody' END, 'standard', format('m-%s', k % 2)
      FROM generate_series(1, keys) k;
  INSERT INTO engine_key (engine_key_id, engine_instance, model, tier)
    SELECT k, format('pod-%s', k), format('m-%s', k % 2), 'standard' FROM generate_series(1, 8) k;
  INSERT INTO deployment (deployment_id, entity_id, asset_id, model, gpu_count, valid, recorded)
    VALUES ('d', 'factory', 'rack', 'm-0', 8, '[2020-01-01 00:00+00,)', '[1,)');
  PERFORM setval('batch_seq', final);
  INSERT INTO cut_off (batch_seq, purpose) VALUES (final, 'rate');

  INSERT INTO usage_fact (stored_day, lane, batch_seq, ordinal, kind, flags, source_id, usage_key_id,
                          engine_key_id, time, requests, uncached, cache_read, cache_write, visible,
                          reasoning, event_id)
  SELECT first_day + d, b % 4, d * batches + b, o, 1, 0, 1 + b % 2, 1 + (b * facts + o) % keys,
         1 + (b * facts + o) % keys % 8,
         (first_day + d)::timestamp AT TIME ZONE 'UTC' + interval '1 day' * b / (batches + 1)
           + interval '1 second' * (o % 900 - 900),
         1, 100 + o, 0, 0, 50, 0, CASE WHEN b % 2 = 1 THEN format('%s-%s', lpad((d * batches + b)::text, 9, '0'), o) END
    -- Each beside the one before, so that they come in their order and need not be sorted.
    FROM generate_series(0, days - 1) d
   CROSS JOIN LATERAL generate_series(1, batches + 0 * d) b
   CROSS JOIN LATERAL generate_series(0, facts - 1 + 0 * b) o;

  INSERT INTO receipt (batch_seq, ordinal_from, source_id, lane, transport, received_at, received, counted)
    SELECT b, 0, 1 + b % 2, b % 4, 'kafka', now(), facts, facts FROM generate_series(1, final) b;
  INSERT INTO ingest_batch (source_id, producer, epoch, sequence, digest, batch_seq, ordinal_from, events)
    SELECT 1, 'p', 1, b / 2, gen_random_uuid(), b, 0, facts FROM generate_series(2, final, 2) b;
  INSERT INTO usage_delta (customer_id, usage_key_id, window_start, batch_seq, requests, uncached, cache_read,
                           cache_write, visible, reasoning)
    SELECT k.customer_id, f.usage_key_id, date_bin('15 minutes', f.time, 'epoch'), f.batch_seq, sum(requests),
           sum(uncached), 0, 0, sum(visible), 0
      FROM usage_fact f JOIN usage_key k USING (usage_key_id) GROUP BY 1, 2, 3, 4 ORDER BY 4, 2, 3;
  -- Rated after every tenth batch.
  INSERT INTO charge_day (customer_id, usage_key_id, day_start, meter, cut_off_id, batch_seq, entity_id, subscription_id,
                          quantity, price_id, currency, amount)
    SELECT d.customer_id, ARRAY[d.usage_key_id], date_trunc('day', d.window_start, 'UTC'), ARRAY[p.meter], 1,
           least((d.batch_seq / 10 + 1) * 10, final) AS rated, 'factory', format('s-%s', (d.usage_key_id + 1) / 2),
           ARRAY[sum(d.uncached)], ARRAY[p.price_id], 'EUR', '{1}'
      FROM usage_delta d CROSS JOIN rate_card_price p WHERE d.customer_id IS NOT NULL
     GROUP BY d.customer_id, d.usage_key_id, 3, p.meter, p.price_id, rated ORDER BY rated;
  IF beside THEN
    INSERT INTO event_key (batch_seq, key_0, digest_0, ordinal_0,
                           key_1, digest_1, ordinal_1,
                           key_2, digest_2, ordinal_2,
                           key_3, digest_3, ordinal_3,
                           key_4, digest_4, ordinal_4,
                           key_5, digest_5, ordinal_5,
                           key_6, digest_6, ordinal_6,
                           key_7, digest_7, ordinal_7)
      SELECT batch_seq, CASE slot WHEN 0 THEN key END, CASE slot WHEN 0 THEN digest END, CASE slot WHEN 0 THEN ordinal END,
             CASE slot WHEN 1 THEN key END, CASE slot WHEN 1 THEN digest END, CASE slot WHEN 1 THEN ordinal END,
             CASE slot WHEN 2 THEN key END, CASE slot WHEN 2 THEN digest END, CASE slot WHEN 2 THEN ordinal END,
             CASE slot WHEN 3 THEN key END, CASE slot WHEN 3 THEN digest END, CASE slot WHEN 3 THEN ordinal END,
             CASE slot WHEN 4 THEN key END, CASE slot WHEN 4 THEN digest END, CASE slot WHEN 4 THEN ordinal END,
             CASE slot WHEN 5 THEN key END, CASE slot WHEN 5 THEN digest END, CASE slot WHEN 5 THEN ordinal END,
             CASE slot WHEN 6 THEN key END, CASE slot WHEN 6 THEN digest END, CASE slot WHEN 6 THEN ordinal END,
             CASE slot WHEN 7 THEN key END, CASE slot WHEN 7 THEN digest END, CASE slot WHEN 7 THEN ordinal END
        FROM (SELECT k.*, slot_of(k.key) AS slot, gen_random_uuid() AS digest
                FROM (SELECT md5(event_id)::uuid AS key, batch_seq, ordinal FROM usage_fact WHERE event_id IS NOT NULL
                       ORDER BY event_id) k) e;
    -- Few events count anything beside tokens.
    INSERT INTO extra_delta (customer_id, usage_key_id, window_start, batch_seq, meter, quantity)
      SELECT customer_id, usage_key_id, window_start, batch_seq, 'tool_calls', requests
        FROM usage_delta WHERE customer_id IS NOT NULL AND extract(hour FROM window_start AT TIME ZONE 'UTC') = 3
       ORDER BY batch_seq, usage_key_id, window_start;
    -- Tallied up to a few batches before the last.
    INSERT INTO usage_tally (entity_id, until_seq, tallied_at) VALUES ('factory', final - 3, now());
    INSERT INTO key_day (entity_id, until_seq, usage_key_id, day_start, day_end, requests, uncached, cache_read, cache_write,
                         output, input_unknown, output_unknown, cached_unknown, written_unknown)
      SELECT 'factory', final - 3, usage_key_id, day_start, day_start + interval '24 hours', sum(requests), sum(uncached), 0, 0,
             sum(visible), 0, 0, 0, 0
        FROM (SELECT *, date_trunc('day', window_start, 'UTC') AS day_start FROM usage_delta) d
       WHERE customer_id IS NOT NULL AND batch_seq <= final - 3 GROUP BY usage_key_id, day_start ORDER BY day_start;
    INSERT INTO activity (engine_key_id, window_start, batch_seq, usage_key_ids, uncached, cache_read, cache_write, output)
      SELECT 1 + usage_key_id % 8, window_start, batch_seq, array_agg(usage_key_id), array_agg(uncached), array_agg(0),
             array_agg(0), array_agg(visible)
        FROM usage_delta GROUP BY 1, 2, 3 ORDER BY 3, 1, 2;
    INSERT INTO activity_mask (engine_key_id, window_start, batch_seq, mask)
      SELECT DISTINCT engine_key_id, window_start, batch_seq, ~repeat('0', 900)::bit(900)
        FROM activity ORDER BY batch_seq, engine_key_id, window_start;
    INSERT INTO cost_allocation (scope, window_start, line, lines, revision, cut_off_id, batch_seq, entity_id,
                                 currency, weight_version, weight_uncached, weight_cache_read, weight_cache_write,
                                 weight_output, gpu_terms, busy_s, device_metered_mj, device_estimated_mj, host_mj,
                                 overhead_mj, device_cost, overhead_cost, gpu_cost, digest)
      SELECT 'deployment:d', window_start, 'usage', count(*), 1, 1, max(batch_seq),
             'factory', 'EUR', 1, 1, 1, 1, 1, 'owned', 900, count(*), 0, 0, 0, count(*), count(*), count(*), sha256('')
        FROM (SELECT window_start, usage_key_id, max(batch_seq) AS batch_seq
                FROM usage_delta GROUP BY window_start, usage_key_id) d
       GROUP BY window_start ORDER BY window_start;
    INSERT INTO cost_share (scope, window_start, usage_key_id, revision, batch_seq, entity_id, device_metered_mj,
                            device_estimated_mj, host_mj, overhead_mj, device_cost_low, overhead_cost_low, gpu_cost_low)
      SELECT 'deployment:d', window_start, array_agg(usage_key_id ORDER BY usage_key_id), 1, max(batch_seq),
             'factory', array_agg(1), array_agg(0), array_agg(0), array_agg(0),
             array_agg(1000000000000), array_agg(1000000000000), array_agg(1000000000000)
        FROM (SELECT window_start, usage_key_id, max(batch_seq) AS batch_seq
                FROM usage_delta GROUP BY window_start, usage_key_id) d
       GROUP BY window_start ORDER BY window_start;
  END IF;
  -- One fact in twenty was replaced by another of its batch.
  INSERT INTO fate_change (batch_seq, ordinal, fact_batch_seq, fact_ordinal, from_fate, to_fate, reason)
    SELECT batch_seq, ordinal + 1, batch_seq, ordinal, 'counted', 'superseded', 'corrected'
      FROM generate_series(1, final) batch_seq, generate_series(0, facts - 1, 20) ordinal;
  PERFORM close_days(first_day + days - 1);
END $$;
