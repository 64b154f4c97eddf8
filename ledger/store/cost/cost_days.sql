-- name: find_window_before
-- The last window before a time in which an entity has cost lines. Index: cost_allocation (entity_id, window_start).
SELECT max(c.window_start) FROM cost_allocation c
 WHERE c.entity_id = :entity_id AND c.window_start < :before;

-- name: find_days
-- Which of some local days of an entity are added up. Index: primary key.
SELECT d.day_start FROM cost_day d
 WHERE d.entity_id = :entity_id AND d.day_start = ANY(:days::timestamptz[])
 ORDER BY d.day_start;

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
