-- name: sum_producers
-- What deployments of an entity took in [since, until) as known at a cut-off, idle and unattributed as well, and the tokens
-- that were worked on there, by the hardware and type of GPU they were on; `part_windows` is quarter hours times parts of
-- GPUs, and `busy_part_s` seconds of these in which engines ran anything. Index: cost_allocation (entity_id, window_start).
WITH cells AS (
  SELECT l.scope, l.window_start, l.currency::text AS currency, max(l.busy_s) AS busy_s,
         sum(l.device_metered_mj::numeric + l.device_estimated_mj + l.host_mj + l.overhead_mj) AS energy_mj,
         sum(l.device_cost + l.overhead_cost + l.gpu_cost) AS cost, sum(l.uncached) AS uncached,
         sum(l.cache_read) AS cache_read, sum(l.cache_write) AS cache_write, sum(l.output) AS output
    FROM allocations_at(:batch_seq) l
   WHERE l.entity_id = :entity_id AND l.window_start >= :since AND l.window_start < :until AND l.lines > 0
     AND starts_with(l.scope, 'deployment:')
   GROUP BY l.scope, l.window_start, l.currency
)
SELECT d.deployment_id, d.model, coalesce(a.name, '') AS hardware,
       coalesce(a.gpu_type, '(not said)') AS gpu_type, c.currency, sum(d.gpu_count::bigint * d.gpu_parts) AS part_windows,
       sum(c.busy_s::numeric * d.gpu_count * d.gpu_parts) AS busy_part_s, sum(c.energy_mj) AS energy_mj,
       sum(c.cost) AS cost, coalesce(sum(c.uncached), 0) AS uncached, coalesce(sum(c.cache_read), 0) AS cache_read,
       coalesce(sum(c.cache_write), 0) AS cache_write, coalesce(sum(c.output), 0) AS output
  FROM cells c
  JOIN deployment d ON 'deployment:' || d.deployment_id = c.scope AND d.valid @> c.window_start
                   AND d.recorded @> :batch_seq::bigint
  LEFT JOIN asset a ON a.asset_id = d.asset_id AND a.valid @> c.window_start AND a.recorded @> :batch_seq::bigint
 GROUP BY d.deployment_id, d.model, a.name, a.gpu_type, c.currency
 ORDER BY d.deployment_id, d.model, hardware, gpu_type, c.currency;

-- name: list_work_hours
-- What requests of an entity's deployments took of boards in each hour of [since, until) as known at a cut-off, and their
-- tokens and steps, where they wrote enough of them. Index: cost_allocation (entity_id, window_start).
SELECT d.deployment_id, d.model, max(d.gpu_count) AS gpu_count, date_trunc('hour', l.window_start) AS hour_start,
       least(sum(l.device_metered_mj::numeric + l.device_estimated_mj), 9223372036854775807)::bigint AS device_mj,
       least(coalesce(sum(l.uncached), 0), 9223372036854775807)::bigint AS uncached,
       least(coalesce(sum(l.cache_read), 0), 9223372036854775807)::bigint AS cache_read,
       least(coalesce(sum(l.cache_write), 0), 9223372036854775807)::bigint AS cache_write,
       least(coalesce(sum(l.output), 0), 9223372036854775807)::bigint AS output,
       least(coalesce(sum(l.steps), 0), 9223372036854775807)::bigint AS steps,
       least(coalesce(sum(l.stepped_output), 0), 9223372036854775807)::bigint AS stepped_output
  FROM allocations_at(:batch_seq) l
  JOIN deployment d ON 'deployment:' || d.deployment_id = l.scope AND d.valid @> l.window_start
                   AND d.recorded @> :batch_seq::bigint
 WHERE l.entity_id = :entity_id AND l.window_start >= :since AND l.window_start < :until AND l.line = 'usage' AND l.lines > 0
 GROUP BY d.deployment_id, d.model, 4 HAVING sum(l.output) >= :output_least::bigint
 ORDER BY d.deployment_id, d.model, 4;
