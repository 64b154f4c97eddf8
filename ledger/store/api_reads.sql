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

-- name: sum_hourly
-- Revenue and cost of an entity by hour or day of a zone and currency, as they stand; cost is NULL where none is known.
-- What sites cost of a day beside energy and hardware is spread evenly over its quarter hours, and adds up to the day.
-- Asked by day, days that are added up are read as they are stored, where the zone has the same.
WITH told AS MATERIALIZED (
  SELECT d.day_start, d.day_end FROM cost_day d
   WHERE :step = 'day' AND d.entity_id = :entity_id AND d.day_start >= :since AND d.day_end <= :until
     AND date_trunc('day', d.day_start, :zone) = d.day_start AND date_trunc('day', d.day_end, :zone) = d.day_end
), lines AS (
  SELECT l.day_start AS window_start, l.line, l.currency::text AS currency,
         l.device_cost::numeric + l.overhead_cost + l.gpu_cost AS cost
    FROM told t JOIN cost_day_line l ON l.day_start = t.day_start
   WHERE l.entity_id = :entity_id
   UNION ALL
  SELECT w.window_start, w.line, w.currency::text, w.device_cost::numeric + w.overhead_cost + w.gpu_cost
    FROM unnest(tstzmultirange(tstzrange(:since, :until)) - coalesce((
           SELECT range_agg(tstzrange(t.day_start, t.day_end)) FROM told t), '{}'::tstzmultirange)) AS rest(period)
   CROSS JOIN LATERAL (SELECT c.* FROM allocations_at(as_it_stands()) c
                        WHERE c.entity_id = :entity_id AND c.window_start >= lower(rest.period)
                          AND c.window_start < upper(rest.period) OFFSET 0) w
), sites AS (
  SELECT d.quarter AS window_start, s.currency,
         round(s.amount * d.n / d.quarters, 12) - round(s.amount * (d.n - 1) / d.quarters, 12) AS cost
    FROM (SELECT c.facility_id, c.day_start, c.currency, sum(c.amount) AS amount FROM site_costs_at(as_it_stands()) c
           WHERE c.entity_id = :entity_id AND c.day_start > :since::timestamptz - interval '25 hours' AND c.day_start < :until
           GROUP BY 1, 2, 3) s
    JOIN facility f USING (facility_id)
   CROSS JOIN LATERAL (
     SELECT q.quarter, row_number() OVER (ORDER BY q.quarter) AS n, count(*) OVER () AS quarters
       FROM generate_series(s.day_start, ((s.day_start AT TIME ZONE f.zone)::date + 1)::timestamp AT TIME ZONE f.zone
                                         - interval '15 minutes', interval '15 minutes') AS q(quarter)) d
   WHERE d.quarter >= :since AND d.quarter < :until
), both_sides AS (
  SELECT date_trunc(:step, used_at, :zone) AS hour, currency, amount AS revenue, NULL::numeric AS cost,
         NULL::numeric AS idle
    FROM charged_at(as_it_stands(), :since, :until, :asked::jsonb)
   WHERE entity_id = :entity_id AND amount IS NOT NULL
  UNION ALL
  SELECT date_trunc(:step, window_start, :zone), currency, 0, cost, CASE WHEN line = 'idle' THEN cost ELSE 0 END
    FROM lines
  UNION ALL
  SELECT date_trunc(:step, window_start, :zone), currency, 0, cost, 0 FROM sites
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

-- name: find_entity_zone
-- The zone of an entity, of those the caller may see.
SELECT zone FROM entity WHERE entity_id = :entity_id;

-- name: list_open_subscriptions
-- Subscriptions of a customer that hold at a moment, of those the caller may see.
SELECT subscription_id FROM subscription
 WHERE customer_id = :customer_id AND valid @> :moment::timestamptz AND upper_inf(recorded)
 ORDER BY subscription_id;
