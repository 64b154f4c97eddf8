-- The usage of a month once more, so many months of four weeks later and in a batch of its own; run by the owner of the
-- tables.
SET session_replication_role = replica;
WITH batch AS MATERIALIZED (SELECT nextval('batch_seq') AS seq)
INSERT INTO usage_delta (customer_id, usage_key_id, window_start, batch_seq, requests, uncached, cache_read, cache_write,
                         visible, reasoning)
  SELECT d.customer_id, d.usage_key_id, d.window_start + {months} * interval '28 days', b.seq, d.requests, d.uncached,
         d.cache_read, d.cache_write, d.visible, d.reasoning
    FROM usage_delta d CROSS JOIN batch b WHERE d.batch_seq = 1;
