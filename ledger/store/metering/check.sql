-- name: lock_facts
-- Keeps every partition of facts where it is until the transaction ends; waits for nobody but a drop.
LOCK TABLE usage_fact, usage_chunk, merged_chunk IN ACCESS SHARE MODE;

-- name: export_snapshot
-- What this transaction sees, by a name that another one may take over.
SELECT pg_export_snapshot();

-- name: take_snapshot
-- See what the transaction that exported it sees; a utility statement, which takes no parameters.
SET TRANSACTION SNAPSHOT 'exported';

-- name: count_received
-- Events that became facts, and readings with them; a scan of receipts.
SELECT coalesce(sum(counted + superseded + suspense), 0)::bigint FROM receipt;

-- name: read_usage_sums
-- Stored sums of usage windows up to a cut-off, in halves of 32 bits because a sum may be wider than a column of 64; a scan
-- of usage_delta. Halves are brought into four bytes, whose sums PostgreSQL makes in eight: numeric costs five times as much.
SELECT usage_key_id, window_start,
       sum((requests >> 32)::int) AS requests_high,
       sum(((requests & 4294967295) - 2147483648)::int) + count(*) * 2147483648 AS requests_low,
       sum((uncached >> 32)::int) AS uncached_high,
       sum(((uncached & 4294967295) - 2147483648)::int) + count(*) * 2147483648 AS uncached_low,
       sum((cache_read >> 32)::int) AS cache_read_high,
       sum(((cache_read & 4294967295) - 2147483648)::int) + count(*) * 2147483648 AS cache_read_low,
       sum((cache_write >> 32)::int) AS cache_write_high,
       sum(((cache_write & 4294967295) - 2147483648)::int) + count(*) * 2147483648 AS cache_write_low,
       sum((visible >> 32)::int) AS visible_high,
       sum(((visible & 4294967295) - 2147483648)::int) + count(*) * 2147483648 AS visible_low,
       sum((reasoning >> 32)::int) AS reasoning_high,
       sum(((reasoning & 4294967295) - 2147483648)::int) + count(*) * 2147483648 AS reasoning_low
  FROM usage_delta WHERE batch_seq <= :batch_seq::bigint GROUP BY 1, 2

-- name: read_activity
-- Stored activity up to a cut-off, its usage keys side by side; a scan of activity.
SELECT engine_key_id, window_start, usage_key_ids, uncached, cache_read, cache_write, output
  FROM activity WHERE batch_seq <= :batch_seq::bigint

-- name: read_mark_sums
-- Stored sums of marks up to a cut-off, in halves as above; a scan of usage_mark.
SELECT usage_key_id, window_start,
       sum((estimated >> 32)::int) AS estimated_high,
       sum(((estimated & 4294967295) - 2147483648)::int) + count(*) * 2147483648 AS estimated_low,
       sum((incomplete >> 32)::int) AS incomplete_high,
       sum(((incomplete & 4294967295) - 2147483648)::int) + count(*) * 2147483648 AS incomplete_low,
       sum((input_unknown >> 32)::int) AS input_unknown_high,
       sum(((input_unknown & 4294967295) - 2147483648)::int) + count(*) * 2147483648 AS input_unknown_low,
       sum((output_unknown >> 32)::int) AS output_unknown_high,
       sum(((output_unknown & 4294967295) - 2147483648)::int) + count(*) * 2147483648 AS output_unknown_low,
       sum((cached_unknown >> 32)::int) AS cached_unknown_high,
       sum(((cached_unknown & 4294967295) - 2147483648)::int) + count(*) * 2147483648 AS cached_unknown_low,
       sum((written_unknown >> 32)::int) AS written_unknown_high,
       sum(((written_unknown & 4294967295) - 2147483648)::int) + count(*) * 2147483648 AS written_unknown_low,
       sum((reasoning_unknown >> 32)::int) AS reasoning_unknown_high,
       sum(((reasoning_unknown & 4294967295) - 2147483648)::int) + count(*) * 2147483648 AS reasoning_unknown_low
  FROM usage_mark WHERE batch_seq <= :batch_seq::bigint GROUP BY 1, 2

-- name: read_busy_seconds
-- Stored busy seconds by engine and window up to a cut-off; a scan of activity_mask.
SELECT engine_key_id, window_start, bit_or(mask) AS mask
  FROM activity_mask WHERE batch_seq <= :batch_seq::bigint GROUP BY 1, 2

-- name: find_misplaced
-- Windows of usage with rows under another customer than their key's, up to a cut-off, the first
-- `most`, and how many there are; a scan of usage_delta.
SELECT d.usage_key_id, d.window_start, k.customer_id, d.customer_id AS stored_customer_id,
       count(*) OVER () AS differing
  FROM usage_delta d LEFT JOIN usage_key k USING (usage_key_id)
 WHERE d.batch_seq <= :batch_seq AND d.customer_id IS DISTINCT FROM k.customer_id
 GROUP BY 1, 2, 3, 4
 ORDER BY 2, 1, 4 LIMIT :most;

-- name: find_usage_names
-- Who and what keys stand for; primary key.
SELECT usage_key_id, customer_ref, model, tier FROM usage_key
 WHERE usage_key_id = ANY(:usage_key_ids::bigint[]);

-- name: find_engine_names
-- Where engine keys ran; primary key.
SELECT engine_key_id, engine_instance, model, tier FROM engine_key
 WHERE engine_key_id = ANY(:engine_key_ids::bigint[]);
