-- name: sum_usage
-- Requests and tokens as known at a cut-off, and how many requests lack what, of one customer or entity or (NULL) all
-- that may be seen, by dimensions (columns of the key; `customer` is its id, or what it calls itself in brackets) before
-- and behind a step in time (a local day by its date, as if of UTC); groups in order, those after a place. usage_delta and usage_mark (customer_id, window_start).
WITH sums AS MATERIALIZED (
  SELECT d.usage_key_id,
         CASE :step::text WHEN 'window' THEN d.window_start
                          WHEN 'hour' THEN date_trunc('hour', d.window_start, :zone)
                          WHEN 'day' THEN date_trunc('day', d.window_start AT TIME ZONE :zone) AT TIME ZONE 'UTC'
          END AS step,
         sum(d.requests) AS requests, sum(d.uncached) AS uncached,
         sum(d.cache_read) AS cache_read, sum(d.cache_write) AS cache_write,
         sum(d.visible) AS visible, sum(d.reasoning) AS reasoning,
         sum(d.estimated) AS estimated, sum(d.incomplete) AS incomplete,
         sum(d.input_unknown) AS input_unknown, sum(d.output_unknown) AS output_unknown,
         sum(d.cached_unknown) AS cached_unknown, sum(d.written_unknown) AS written_unknown,
         sum(d.reasoning_unknown) AS reasoning_unknown
    FROM (SELECT customer_id, usage_key_id, window_start, requests, uncached, cache_read, cache_write, visible, reasoning,
                 0 AS estimated, 0 AS incomplete, 0 AS input_unknown, 0 AS output_unknown,
                 0 AS cached_unknown, 0 AS written_unknown, 0 AS reasoning_unknown
            FROM usage_delta
           WHERE window_start >= :since AND window_start < :until AND batch_seq <= :batch_seq
             AND (:customer_id::text IS NULL OR customer_id = :customer_id)
          UNION ALL
          SELECT customer_id, usage_key_id, window_start, 0, 0, 0, 0, 0, 0,
                 estimated, incomplete, input_unknown, output_unknown, cached_unknown, written_unknown, reasoning_unknown
            FROM usage_mark
           WHERE window_start >= :since AND window_start < :until AND batch_seq <= :batch_seq
             AND (:customer_id::text IS NULL OR customer_id = :customer_id)) d
   WHERE d.customer_id IS NOT NULL OR NOT :known::boolean
   GROUP BY 1, 2
), keys AS MATERIALIZED (
  SELECT k.* FROM (SELECT :before::text[] || :behind::text[] AS names OFFSET 0) a CROSS JOIN LATERAL grouped_keys(a.names) k
   WHERE k.usage_key_id IN (SELECT usage_key_id FROM sums) AND (:entity_id::text IS NULL OR k.entity_id = :entity_id)
), grouped AS (
  SELECT k.customer, k.project_id, k.api_key_id, k.agent_id, k.tier, k.model, k.adapter, k.region, k.outcome,
         s.step,
         sum(s.requests) AS requests, sum(s.uncached) AS uncached,
         sum(s.cache_read) AS cache_read, sum(s.cache_write) AS cache_write,
         sum(s.visible) AS visible, sum(s.reasoning) AS reasoning,
         sum(s.estimated) AS estimated, sum(s.incomplete) AS incomplete,
         sum(s.input_unknown) AS input_unknown, sum(s.output_unknown) AS output_unknown,
         sum(s.cached_unknown) AS cached_unknown, sum(s.written_unknown) AS written_unknown,
         sum(s.reasoning_unknown) AS reasoning_unknown
    FROM sums s JOIN keys k USING (usage_key_id)
   GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
  -- What was all corrected away is no group.
  HAVING sum(s.requests) <> 0
), placed AS (
  SELECT p.sort_key,
         g.requests, g.uncached, g.cache_read, g.cache_write, g.visible, g.reasoning,
         g.estimated, g.incomplete, g.input_unknown, g.output_unknown, g.cached_unknown, g.written_unknown,
         g.reasoning_unknown
    FROM grouped g
   CROSS JOIN LATERAL place_of_group(:before::text[], g.step, :behind::text[], g.customer, g.project_id, g.api_key_id,
                                     g.agent_id, g.tier, g.model, g.adapter, g.region, g.outcome, NULL) p
)
SELECT p.* FROM placed p
 WHERE :after::text[] IS NULL OR p.sort_key COLLATE "C" > :after::text[]
 ORDER BY p.sort_key COLLATE "C" LIMIT :most;

-- name: sum_extras
-- What is counted beside tokens, or as parts of them, as known at a cut-off, by dimensions as for usage, and last by
-- meter; groups in order, those after a place. extra_delta (customer_id, window_start).
WITH sums AS MATERIALIZED (
  SELECT d.usage_key_id, d.meter,
         CASE :step::text WHEN 'window' THEN d.window_start
                          WHEN 'hour' THEN date_trunc('hour', d.window_start, :zone)
                          WHEN 'day' THEN date_trunc('day', d.window_start AT TIME ZONE :zone) AT TIME ZONE 'UTC'
          END AS step,
         sum(d.quantity) AS quantity
    FROM extra_delta d
   WHERE d.window_start >= :since AND d.window_start < :until AND d.batch_seq <= :batch_seq
     AND (:customer_id::text IS NULL OR d.customer_id = :customer_id)
     AND (d.customer_id IS NOT NULL OR NOT :known::boolean)
   GROUP BY 1, 2, 3 HAVING sum(d.quantity) <> 0
), keys AS MATERIALIZED (
  SELECT k.* FROM (SELECT :before::text[] || :behind::text[] AS names OFFSET 0) a CROSS JOIN LATERAL grouped_keys(a.names) k
   WHERE k.usage_key_id IN (SELECT usage_key_id FROM sums) AND (:entity_id::text IS NULL OR k.entity_id = :entity_id)
), grouped AS (
  SELECT k.customer, k.project_id, k.api_key_id, k.agent_id, k.tier, k.model, k.adapter, k.region, k.outcome,
         s.step, s.meter, sum(s.quantity) AS quantity
    FROM sums s JOIN keys k USING (usage_key_id)
   GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
), placed AS (
  SELECT p.sort_key || g.meter AS sort_key,
         g.quantity
    FROM grouped g
   CROSS JOIN LATERAL place_of_group(:before::text[], g.step, :behind::text[], g.customer, g.project_id, g.api_key_id,
                                     g.agent_id, g.tier, g.model, g.adapter, g.region, g.outcome, NULL) p
)
SELECT p.* FROM placed p
 WHERE :after::text[] IS NULL OR p.sort_key COLLATE "C" > :after::text[]
 ORDER BY p.sort_key COLLATE "C" LIMIT :most;

-- name: sum_charges
-- What usage comes to as known at a cut-off: exact amounts, and the units that wait for a price, of what is asked and of
-- one customer or (NULL) all, by dimensions (as for usage, and `meter`) before and behind a step in time, and last by
-- currency; groups in order, those after a place. Of keys no more is read than is asked for beside whose they are. charge
-- (entity_id, day_start) or (customer_id, day_start, batch_seq).
WITH asked AS MATERIALIZED (
  SELECT n.names, NOT n.names <@ ARRAY['customer', 'meter'] AS by_key FROM (SELECT :before::text[] || :behind::text[] AS names) n
), sums AS MATERIALIZED (
  SELECT l.customer_id, CASE WHEN (SELECT by_key FROM asked) THEN l.usage_key_id END AS usage_key_id, l.meter, l.currency,
         CASE :step::text WHEN 'window' THEN l.used_at
                          WHEN 'hour' THEN date_trunc('hour', l.used_at, :zone)
                          WHEN 'day' THEN date_trunc('day', l.used_at AT TIME ZONE :zone) AT TIME ZONE 'UTC'
          END AS step,
         CASE WHEN sum(l.amount) <> 0 OR sum(l.quantity) FILTER (WHERE l.unpriced IS NULL) <> 0 THEN sum(l.amount)
          END AS amount,
         coalesce(sum(l.quantity) FILTER (WHERE l.unpriced IS NULL), 0) AS quantity,
         coalesce(sum(l.quantity) FILTER (WHERE l.unpriced IS NOT NULL), 0) AS unpriced_quantity
    FROM charged_at(:batch_seq, :since, :until, :asked::jsonb) l
   WHERE (:entity_id::text IS NULL OR l.entity_id = :entity_id)
     AND (:customer_id::text IS NULL OR l.customer_id = :customer_id)
   GROUP BY 1, 2, 3, 4, 5
  HAVING sum(l.quantity) <> 0 OR sum(l.amount) <> 0
), keys AS MATERIALIZED (
  SELECT k.* FROM asked a CROSS JOIN LATERAL grouped_keys(a.names) k
   WHERE a.by_key AND k.usage_key_id IN (SELECT usage_key_id FROM sums)
), grouped AS (
  SELECT CASE WHEN 'customer' = ANY (a.names) THEN s.customer_id END AS customer, k.project_id, k.api_key_id, k.agent_id, k.tier, k.model, k.adapter, k.region, k.outcome,
         s.step, s.currency,
         CASE WHEN 'meter' = ANY (a.names) THEN s.meter END AS meter,
         sum(s.amount) AS amount, sum(s.quantity) AS quantity,
         sum(s.unpriced_quantity) AS unpriced_quantity
    FROM sums s CROSS JOIN asked a LEFT JOIN keys k USING (usage_key_id)
   GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
), placed AS (
  SELECT p.sort_key || coalesce(g.currency, '') AS sort_key,
         g.amount, g.quantity, g.unpriced_quantity
    FROM grouped g
   CROSS JOIN LATERAL place_of_group(:before::text[], g.step, :behind::text[], g.customer, g.project_id, g.api_key_id,
                                     g.agent_id, g.tier, g.model, g.adapter, g.region, g.outcome, g.meter) p
)
SELECT p.* FROM placed p
 WHERE :after::text[] IS NULL OR p.sort_key COLLATE "C" > :after::text[]
 ORDER BY p.sort_key COLLATE "C" LIMIT :most;
