-- name: find_wrong_cost_days
-- Days of cost against their windows, whose revisions and local days are found anew here: every sum of each line, and
-- where each day ends; scans of cost_allocation and cost_day_line. Both are written in one transaction, so neither waits.
WITH latest AS (
  SELECT DISTINCT ON (c.entity_id, c.scope, c.window_start, c.line) c.*
    FROM cost_allocation c
   ORDER BY c.entity_id, c.scope, c.window_start, c.line, c.revision DESC
), due AS (
  SELECT d.entity_id, d.day_start, c.scope, c.line, l.usage_key_id, c.currency::text AS currency, c.gpu_terms,
         sum(c.busy_s) AS busy_s, sum(l.device_metered_mj) AS device_metered_mj,
         sum(l.device_estimated_mj) AS device_estimated_mj, sum(l.host_mj) AS host_mj, sum(l.overhead_mj) AS overhead_mj,
         sum(l.device_cost) AS device_cost, sum(l.overhead_cost) AS overhead_cost, sum(l.gpu_cost) AS gpu_cost
    FROM latest c JOIN entity e USING (entity_id)
    JOIN cost_day d ON d.entity_id = c.entity_id AND d.day_start = date_trunc('day', c.window_start, e.zone)
   CROSS JOIN LATERAL unnest(c.usage_key_id, c.device_metered_mj, c.device_estimated_mj, c.host_mj, c.overhead_mj,
                             c.device_cost, c.overhead_cost, c.gpu_cost)
                   AS l(usage_key_id, device_metered_mj, device_estimated_mj, host_mj, overhead_mj, device_cost,
                        overhead_cost, gpu_cost)
   GROUP BY 1, 2, 3, 4, 5, 6, 7
), told AS (
  SELECT l.entity_id, l.day_start, l.scope, l.line, l.usage_key_id, l.currency::text AS currency, l.gpu_terms,
         sum(l.busy_s) AS busy_s, sum(l.device_metered_mj) AS device_metered_mj,
         sum(l.device_estimated_mj) AS device_estimated_mj, sum(l.host_mj) AS host_mj, sum(l.overhead_mj) AS overhead_mj,
         sum(l.device_cost) AS device_cost, sum(l.overhead_cost) AS overhead_cost, sum(l.gpu_cost) AS gpu_cost
    FROM cost_day_line l GROUP BY 1, 2, 3, 4, 5, 6, 7
), wrong AS (
  SELECT entity_id, scope, line, usage_key_id, day_start, f.name, trim_scale(coalesce(f.expected, 0))::text AS expected,
         trim_scale(coalesce(f.stored, 0))::text AS stored
    FROM due d FULL JOIN told t USING (entity_id, day_start, scope, line, usage_key_id, currency, gpu_terms)
   CROSS JOIN LATERAL (VALUES
           ('busy_s', d.busy_s::numeric, t.busy_s::numeric), ('device_metered_mj', d.device_metered_mj, t.device_metered_mj),
           ('device_estimated_mj', d.device_estimated_mj, t.device_estimated_mj), ('host_mj', d.host_mj, t.host_mj),
           ('overhead_mj', d.overhead_mj, t.overhead_mj), ('device_cost', d.device_cost, t.device_cost),
           ('overhead_cost', d.overhead_cost, t.overhead_cost), ('gpu_cost', d.gpu_cost, t.gpu_cost))
                   AS f(name, expected, stored)
   WHERE coalesce(f.expected, 0) <> coalesce(f.stored, 0)
   UNION ALL
  SELECT d.entity_id, NULL, NULL, 0, d.day_start, 'day_end', n.ends::text, d.day_end::text
    FROM cost_day d JOIN entity e USING (entity_id)
   CROSS JOIN LATERAL (SELECT ((d.day_start AT TIME ZONE e.zone)::date + 1)::timestamp AT TIME ZONE e.zone AS ends) n
   WHERE n.ends <> d.day_end
)
SELECT concat_ws(' ', w.entity_id, w.scope, w.line, nullif(w.usage_key_id, 0)) AS place, w.day_start AS window_start, w.name,
       w.expected, w.stored, count(*) OVER () AS differing
  FROM wrong w ORDER BY 2, 1, 3 LIMIT :most;

-- name: find_lost_costs
-- What cost lines name and is not there, which no foreign key holds: entity, cut-off, usage key, and the deployment, asset
-- or meter of the scope; scans of cost_allocation and cost_day_line.
WITH named AS MATERIALIZED (
  SELECT c.entity_id, c.scope, k.usage_key_id, c.cut_off_id, min(c.window_start) AS window_start
    FROM cost_allocation c LEFT JOIN LATERAL unnest(c.usage_key_id) AS k(usage_key_id) ON true GROUP BY 1, 2, 3, 4
   UNION
  SELECT l.entity_id, l.scope, l.usage_key_id, l.cut_off_id, min(l.day_start) FROM cost_day_line l GROUP BY 1, 2, 3, 4
), lost AS (
  SELECT n.*, 'entity_id' AS name, n.entity_id AS stored FROM named n
   WHERE NOT EXISTS (SELECT FROM entity e WHERE e.entity_id = n.entity_id)
   UNION ALL
  SELECT n.*, 'cut_off_id', n.cut_off_id::text FROM named n
   WHERE NOT EXISTS (SELECT FROM cut_off o WHERE o.cut_off_id = n.cut_off_id)
   UNION ALL
  SELECT n.*, 'usage_key_id', n.usage_key_id::text FROM named n
   WHERE n.usage_key_id <> 0 AND NOT EXISTS (SELECT FROM usage_key k WHERE k.usage_key_id = n.usage_key_id)
   UNION ALL
  SELECT n.*, 'scope', n.scope FROM named n
   WHERE NOT EXISTS (SELECT FROM deployment d
                      WHERE 'deployment:' || d.deployment_id = n.scope AND d.entity_id = n.entity_id)
     AND NOT EXISTS (SELECT FROM asset a WHERE 'asset:' || a.asset_id = n.scope AND a.entity_id = n.entity_id)
     AND NOT EXISTS (SELECT FROM meter_window m WHERE 'gpu:' || m.gpu_uuid = n.scope)
)
SELECT concat_ws(' ', l.entity_id, l.scope) AS place, l.window_start, l.name, 'one that is there' AS expected, l.stored,
       count(*) OVER () AS differing
  FROM lost l ORDER BY 2, 1, 3, 5 LIMIT :most;
