-- name: find_idempotent
-- The stored answer of a write, by primary key.
SELECT request_digest, status, body FROM idempotency_key
 WHERE key_id = :key_id AND idempotency_key = :idempotency_key;

-- name: lock_idempotent
-- Waits for whoever writes under this key; the lock is the session's, not the transaction's.
SELECT set_config('lock_timeout', '20s', true),
       pg_advisory_lock(lock_class('request'), hashtext(:key_id || ' ' || :idempotency_key));

-- name: unlock_idempotent
-- Lets the next one in.
SELECT pg_advisory_unlock(lock_class('request'), hashtext(:key_id || ' ' || :idempotency_key));

-- name: insert_idempotent
-- Keeps the answer of a write.
INSERT INTO idempotency_key (key_id, idempotency_key, request_digest, status, body)
VALUES (:key_id, :idempotency_key, :request_digest, :status, :body);

-- name: is_ready
-- Whether the schema is there.
SELECT count(*) FROM cut_off WHERE false;

-- name: spill
-- Writes a megabyte to the database's disk and lets it go, as any role may: it fails where none is free.
-- Little memory is asked for first, and the series depends on the answer.
SELECT count(*) FROM set_config('work_mem', '64kB', true) AS small(kept), generate_series(length(small.kept), 50000);

-- name: sum_usage
-- Tokens and requests by window and dimensions, of what the caller may see, and how many requests lack what;
-- usage_delta and usage_mark (customer_id, window_start).
SELECT d.customer_id, k.model, k.tier, k.agent_id, k.project_id, k.api_key_id, d.window_start,
       sum(d.requests) AS requests, sum(d.uncached) AS uncached,
       sum(d.cache_read) AS cache_read, sum(d.cache_write) AS cache_write,
       sum(d.visible) AS visible, sum(d.reasoning) AS reasoning,
       sum(d.estimated) AS estimated, sum(d.incomplete) AS incomplete,
       sum(d.input_unknown) AS input_unknown, sum(d.output_unknown) AS output_unknown
  FROM (SELECT customer_id, usage_key_id, window_start, requests, uncached, cache_read, cache_write, visible, reasoning,
               0 AS estimated, 0 AS incomplete, 0 AS input_unknown, 0 AS output_unknown
          FROM usage_delta
         WHERE window_start >= :since AND window_start < :until AND customer_id IS NOT NULL
           AND (:customer_id::text IS NULL OR customer_id = :customer_id)
        UNION ALL
        SELECT customer_id, usage_key_id, window_start, 0, 0, 0, 0, 0, 0,
               estimated, incomplete, input_unknown, output_unknown
          FROM usage_mark
         WHERE window_start >= :since AND window_start < :until AND customer_id IS NOT NULL
           AND (:customer_id::text IS NULL OR customer_id = :customer_id)) d
  JOIN usage_key k USING (usage_key_id)
 WHERE :entity_id::text IS NULL OR k.entity_id = :entity_id
 GROUP BY d.customer_id, k.model, k.tier, k.agent_id, k.project_id, k.api_key_id, d.window_start
 ORDER BY d.window_start, d.customer_id, k.model, k.tier, k.agent_id, k.project_id, k.api_key_id;

-- name: sum_hourly
-- Revenue and cost of an entity by hour or day of a zone and currency, as they stand; cost is NULL where none is known.
WITH charges AS (
  SELECT DISTINCT ON (customer_id, window_start, usage_key_id, meter) window_start, currency, amount
    FROM charge
   WHERE entity_id = :entity_id AND window_start >= :since AND window_start < :until
   ORDER BY customer_id, window_start, usage_key_id, meter, revision DESC
), lines AS (
  SELECT DISTINCT ON (scope, window_start, line, usage_key_id) window_start, line, currency,
         device_cost + overhead_cost + gpu_cost AS cost
    FROM cost_allocation
   WHERE entity_id = :entity_id AND window_start >= :since AND window_start < :until
   ORDER BY scope, window_start, line, usage_key_id, revision DESC
), both_sides AS (
  SELECT date_trunc(:step, window_start, :zone) AS hour, currency, amount AS revenue, NULL::numeric AS cost,
         NULL::numeric AS idle FROM charges WHERE amount IS NOT NULL
  UNION ALL
  SELECT date_trunc(:step, window_start, :zone), currency, 0, cost, CASE WHEN line = 'idle' THEN cost ELSE 0 END
    FROM lines
)
SELECT hour, currency, sum(revenue) AS revenue, sum(cost) AS cost, sum(idle) AS idle
  FROM both_sides GROUP BY hour, currency ORDER BY hour, currency;

-- name: latest_activity
-- First and last window with usage, of an entity or (NULL) all, whom nobody knows included;
-- usage_delta (customer_id, window_start), two steps a customer.
WITH ends AS (
  SELECT (SELECT min(d.window_start) FROM usage_delta d WHERE d.customer_id = c.customer_id) AS first_window,
         (SELECT max(d.window_start) FROM usage_delta d WHERE d.customer_id = c.customer_id) AS last_window
    FROM customer c WHERE :entity_id::text IS NULL OR c.entity_id = :entity_id
  UNION ALL
  SELECT (SELECT min(d.window_start) FROM usage_delta d WHERE d.customer_id IS NULL),
         (SELECT max(d.window_start) FROM usage_delta d WHERE d.customer_id IS NULL)
   WHERE :entity_id::text IS NULL
)
SELECT min(first_window) AS first_window, max(last_window) AS last_window FROM ends;

-- name: sum_charges
-- What usage comes to by window and dimensions, as it stands, of what the caller may see: exact amounts, and the units
-- that wait for a price. Index: charge (entity_id, window_start), or its primary key for one customer.
WITH latest AS (
  SELECT DISTINCT ON (c.customer_id, c.window_start, c.usage_key_id, c.meter) c.*
    FROM charge c
   WHERE c.window_start >= :since AND c.window_start < :until
     AND (:entity_id::text IS NULL OR c.entity_id = :entity_id)
     AND (:customer_id::text IS NULL OR c.customer_id = :customer_id)
   ORDER BY c.customer_id, c.window_start, c.usage_key_id, c.meter, c.revision DESC
)
SELECT l.customer_id, k.model, k.tier, k.agent_id, k.project_id, k.api_key_id, l.meter, l.window_start, l.currency,
       sum(l.amount) AS amount,
       coalesce(sum(l.quantity) FILTER (WHERE l.unpriced IS NULL), 0) AS quantity,
       coalesce(sum(l.quantity) FILTER (WHERE l.unpriced IS NOT NULL), 0) AS unpriced_quantity
  FROM latest l JOIN usage_key k USING (usage_key_id)
 GROUP BY l.customer_id, k.model, k.tier, k.agent_id, k.project_id, k.api_key_id, l.meter, l.window_start, l.currency
HAVING sum(l.quantity) <> 0 OR sum(l.amount) <> 0
 ORDER BY l.window_start, l.customer_id, k.model, k.tier, k.agent_id, k.project_id, k.api_key_id, l.meter, l.currency;

-- name: find_entity_zone
-- The zone of an entity, of those the caller may see.
SELECT zone FROM entity WHERE entity_id = :entity_id;

-- name: list_open_subscriptions
-- Subscriptions of a customer that hold at a moment, of those the caller may see.
SELECT subscription_id FROM subscription
 WHERE customer_id = :customer_id AND valid @> :moment::timestamptz AND upper_inf(recorded)
 ORDER BY subscription_id;
