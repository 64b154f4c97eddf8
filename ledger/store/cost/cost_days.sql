-- name: find_window_before
-- The last window before a time in which an entity has cost lines. Index: cost_allocation (entity_id, window_start).
SELECT max(c.window_start) FROM cost_allocation c
 WHERE c.entity_id = :entity_id AND c.window_start < :before;

-- name: find_days
-- Which of some local days of an entity are added up. Index: primary key.
SELECT d.day_start FROM cost_day d
 WHERE d.entity_id = :entity_id AND d.day_start = ANY(:days::timestamptz[])
 ORDER BY d.day_start;

-- name: sum_pool_days
-- What pools of an entity's local days come to as they stand. Index: cost_pool (entity_id, window_start).
SELECT d.since AS day_start, p.kind, p.currency::text AS currency, sum(p.amount) AS amount
  FROM unnest(:sinces::timestamptz[], :untils::timestamptz[]) AS d(since, until)
 CROSS JOIN LATERAL (SELECT c.* FROM pools_at(as_it_stands()) c
                      WHERE c.entity_id = :entity_id AND c.window_start >= d.since AND c.window_start < d.until OFFSET 0) p
 GROUP BY 1, 2, 3;

-- name: find_meter_days
-- Of which days of UTC GPUs are added up. Index: meter_day (gpu_uuid, day_start).
SELECT DISTINCT m.gpu_uuid, m.day_start FROM meter_day m
 WHERE m.gpu_uuid = ANY(:gpu_uuids::text[]) AND m.day_start = ANY(:days::timestamptz[])
 ORDER BY m.gpu_uuid, m.day_start;

-- name: sum_meter_days
-- What windows of GPUs come to as they stand, each in one day of UTC. Index: meter_window's primary key.
SELECT d.gpu_uuid, d.day_start, sum(m.metered_mj) AS metered_mj, sum(m.estimated_mj) AS estimated_mj,
       sum(m.covered_s) AS covered_s, count(*) AS windows,
       count(*) FILTER (WHERE m.covered_s > 0 OR m.metered_mj > 0 OR 'estimated_by_weights' = ANY(m.findings)) AS known
  FROM unnest(:gpu_uuids::text[], :days::timestamptz[]) AS d(gpu_uuid, day_start)
 CROSS JOIN LATERAL (SELECT w.* FROM meters_at(as_it_stands()) w
                      WHERE w.gpu_uuid = d.gpu_uuid AND w.window_start >= d.day_start
                        AND w.window_start < d.day_start + interval '24 hours' OFFSET 0) m
 GROUP BY d.gpu_uuid, d.day_start;

-- name: sum_days
-- What cost lines of an entity's local days come to as they stand. Index: cost_allocation (entity_id, window_start).
SELECT d.since AS day_start, l.scope, l.line, l.usage_key_id, l.currency, l.gpu_terms, sum(l.busy_s)AS busy_s,
       sum(l.device_metered_mj)AS device_metered_mj,
       sum(l.device_estimated_mj)AS device_estimated_mj, sum(l.host_mj)AS host_mj,
       sum(l.overhead_mj)AS overhead_mj,
       sum(l.device_cost) AS device_cost, sum(l.overhead_cost) AS overhead_cost, sum(l.gpu_cost) AS gpu_cost
  FROM unnest(:sinces::timestamptz[], :untils::timestamptz[]) AS d(since, until)
 CROSS JOIN LATERAL (SELECT c.* FROM cost_lines_at(as_it_stands()) c
                      WHERE c.entity_id = :entity_id AND c.window_start >= d.since AND c.window_start < d.until OFFSET 0) l
 GROUP BY d.since, l.scope, l.line, l.usage_key_id, l.currency, l.gpu_terms;
