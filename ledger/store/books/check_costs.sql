-- name: find_wrong_cost_days
-- Days of cost against their windows, whose revisions and local days are found anew here: every sum of each line, and
-- where each day ends; of days whose lines were let go, sums of all lines of a kind. Scans of cost_allocation, cost_share
-- and cost_day_line, which are written in one transaction, so that none waits.
WITH latest AS (
  SELECT DISTINCT ON (c.entity_id, c.scope, c.window_start, c.line) c.*
    FROM cost_allocation c
   ORDER BY c.entity_id, c.scope, c.window_start, c.line, c.revision DESC
), told_windows AS (
  SELECT c.*, d.day_start FROM latest c JOIN entity e USING (entity_id)
    JOIN cost_day d ON d.entity_id = c.entity_id AND d.day_start = date_trunc('day', c.window_start, e.zone)
   WHERE c.lines > 0
), thin AS MATERIALIZED (
  SELECT DISTINCT c.entity_id, c.day_start FROM told_windows c
   WHERE c.line = 'usage' AND NOT EXISTS (
     SELECT FROM cost_share s WHERE s.entity_id = c.entity_id AND s.window_start = c.window_start AND s.scope = c.scope
                                AND s.revision = c.revision)
), lines AS (
  SELECT c.entity_id, c.day_start, c.scope, c.line, 0 AS usage_key_id, c.currency::text AS currency, c.gpu_terms,
         c.busy_s::bigint * c.lines AS busy_s, c.device_metered_mj, c.device_estimated_mj, c.host_mj, c.overhead_mj,
         c.device_cost::numeric AS device_cost, c.overhead_cost::numeric AS overhead_cost, c.gpu_cost::numeric AS gpu_cost
    FROM told_windows c LEFT JOIN thin t USING (entity_id, day_start) WHERE c.line <> 'usage' OR t.entity_id IS NOT NULL
   UNION ALL
  SELECT c.entity_id, c.day_start, c.scope, c.line, l.usage_key_id, c.currency::text, c.gpu_terms, c.busy_s,
         coalesce(l.device_metered_mj, 0), coalesce(l.device_estimated_mj, 0), coalesce(l.host_mj, 0), coalesce(l.overhead_mj, 0), amount_of(l.device_low, l.device_high),
         amount_of(l.overhead_low, l.overhead_high), amount_of(l.gpu_low, l.gpu_high)
    FROM told_windows c LEFT JOIN thin t USING (entity_id, day_start)
    JOIN cost_share s ON s.entity_id = c.entity_id AND s.window_start = c.window_start AND s.scope = c.scope
                     AND s.revision = c.revision
   CROSS JOIN LATERAL unnest(s.usage_key_id, s.device_metered_mj, s.device_estimated_mj, s.host_mj, s.overhead_mj,
                             s.device_cost_low, s.device_cost_high, s.overhead_cost_low, s.overhead_cost_high,
                             s.gpu_cost_low, s.gpu_cost_high)
                   AS l(usage_key_id, device_metered_mj, device_estimated_mj, host_mj, overhead_mj, device_low, device_high,
                        overhead_low, overhead_high, gpu_low, gpu_high)
   WHERE c.line = 'usage' AND t.entity_id IS NULL
), due AS (
  SELECT l.entity_id, l.day_start, l.scope, l.line, l.usage_key_id, l.currency, l.gpu_terms,
         sum(l.busy_s) AS busy_s, sum(l.device_metered_mj) AS device_metered_mj,
         sum(l.device_estimated_mj) AS device_estimated_mj, sum(l.host_mj) AS host_mj, sum(l.overhead_mj) AS overhead_mj,
         sum(l.device_cost) AS device_cost, sum(l.overhead_cost) AS overhead_cost, sum(l.gpu_cost) AS gpu_cost
    FROM lines l
   GROUP BY 1, 2, 3, 4, 5, 6, 7
), told AS (
  SELECT l.entity_id, l.day_start, l.scope, l.line, CASE WHEN n.entity_id IS NULL THEN l.usage_key_id ELSE 0 END AS usage_key_id,
         l.currency::text AS currency, l.gpu_terms,
         sum(l.busy_s) AS busy_s, sum(l.device_metered_mj) AS device_metered_mj,
         sum(l.device_estimated_mj) AS device_estimated_mj, sum(l.host_mj) AS host_mj, sum(l.overhead_mj) AS overhead_mj,
         sum(l.device_cost) AS device_cost, sum(l.overhead_cost) AS overhead_cost, sum(l.gpu_cost) AS gpu_cost
    FROM cost_day_line l LEFT JOIN thin n USING (entity_id, day_start) GROUP BY 1, 2, 3, 4, 5, 6, 7
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

-- name: find_wrong_pool_days
-- Pools of days against their windows, whose revisions and local days are found anew here; scans of cost_pool and pool_day.
WITH latest AS (
  SELECT DISTINCT ON (p.entity_id, p.scope, p.window_start, p.kind) p.*
    FROM cost_pool p ORDER BY p.entity_id, p.scope, p.window_start, p.kind, p.revision DESC
), due AS (
  SELECT p.entity_id, d.day_start, p.kind, p.currency::text AS currency, sum(p.amount) AS amount
    FROM latest p JOIN entity e USING (entity_id)
    JOIN cost_day d ON d.entity_id = p.entity_id AND d.day_start = date_trunc('day', p.window_start, e.zone)
   GROUP BY 1, 2, 3, 4
), told AS (
  SELECT p.entity_id, p.day_start, p.kind, p.currency::text AS currency, sum(p.amount) AS amount FROM pool_day p GROUP BY 1, 2, 3, 4
)
SELECT concat_ws(' ', entity_id, kind, currency) AS place, day_start AS window_start, 'amount' AS name,
       trim_scale(coalesce(d.amount, 0))::text AS expected, trim_scale(coalesce(t.amount, 0))::text AS stored,
       count(*) OVER () AS differing
  FROM due d FULL JOIN told t USING (entity_id, day_start, kind, currency)
 WHERE coalesce(d.amount, 0) <> coalesce(t.amount, 0)
 ORDER BY 2, 1 LIMIT :most;

-- name: find_wrong_meter_days
-- Meters of days against their windows, whose revisions are found anew here; scans of meter_window and meter_day.
WITH latest AS (
  SELECT DISTINCT ON (m.gpu_uuid, m.window_start) m.* FROM meter_window m
   ORDER BY m.gpu_uuid, m.window_start, m.revision DESC
), told AS (
  SELECT d.gpu_uuid, d.day_start, sum(d.metered_mj) AS metered_mj, sum(d.estimated_mj) AS estimated_mj,
         sum(d.covered_s) AS covered_s, sum(d.windows) AS windows, sum(d.known) AS known
    FROM meter_day d GROUP BY 1, 2
), due AS (
  SELECT t.gpu_uuid, t.day_start, sum(m.metered_mj) AS metered_mj, sum(m.estimated_mj) AS estimated_mj,
         sum(m.covered_s) AS covered_s, count(*) AS windows,
         count(*) FILTER (WHERE m.covered_s > 0 OR m.metered_mj > 0 OR 'estimated_by_weights' = ANY(m.findings)) AS known
    FROM told t JOIN latest m ON m.gpu_uuid = t.gpu_uuid AND date_trunc('day', m.window_start, 'UTC') = t.day_start
   GROUP BY 1, 2
)
SELECT t.gpu_uuid AS place, t.day_start AS window_start, f.name, coalesce(f.expected, 0)::text AS expected,
       f.stored::text AS stored, count(*) OVER () AS differing
  FROM told t LEFT JOIN due d USING (gpu_uuid, day_start)
 CROSS JOIN LATERAL (VALUES ('metered_mj', d.metered_mj, t.metered_mj), ('estimated_mj', d.estimated_mj, t.estimated_mj),
                            ('covered_s', d.covered_s, t.covered_s), ('windows', d.windows, t.windows),
                            ('known', d.known, t.known)) AS f(name, expected, stored)
 WHERE coalesce(f.expected, 0) <> f.stored
 ORDER BY 2, 1, 3 LIMIT :most;

-- name: find_wrong_tallies
-- Days of usage keys as far as they are tallied against their windows, whose days are found anew here; scans of usage_delta,
-- usage_mark and key_day.
WITH tallied AS (
  SELECT t.entity_id, e.zone, max(t.until_seq) AS until_seq FROM usage_tally t JOIN entity e USING (entity_id) GROUP BY 1, 2
), used AS (
  SELECT d.usage_key_id, d.window_start, d.batch_seq, d.requests, d.uncached, d.cache_read, d.cache_write,
         d.visible::numeric + d.reasoning AS output, 0 AS input_unknown, 0 AS output_unknown, 0 AS cached_unknown,
         0 AS written_unknown
    FROM usage_delta d
   UNION ALL
  SELECT m.usage_key_id, m.window_start, m.batch_seq, 0, 0, 0, 0, 0, m.input_unknown, m.output_unknown, m.cached_unknown,
         m.written_unknown
    FROM usage_mark m
), due AS (
  SELECT t.entity_id, u.usage_key_id, (u.window_start AT TIME ZONE t.zone)::date::timestamp AT TIME ZONE t.zone AS day_start,
         ARRAY[sum(u.requests), sum(u.uncached), sum(u.cache_read), sum(u.cache_write), sum(u.output),
               sum(u.input_unknown), sum(u.output_unknown), sum(u.cached_unknown), sum(u.written_unknown)] AS counts
    FROM tallied t JOIN usage_key k USING (entity_id) JOIN used u USING (usage_key_id)
   WHERE u.batch_seq <= t.until_seq GROUP BY 1, 2, 3
), told AS (
  SELECT d.entity_id, d.usage_key_id, d.day_start,
         ARRAY[sum(d.requests), sum(d.uncached), sum(d.cache_read), sum(d.cache_write), sum(d.output),
               sum(d.input_unknown), sum(d.output_unknown), sum(d.cached_unknown), sum(d.written_unknown)] AS counts
    FROM key_day d GROUP BY 1, 2, 3
), wrong AS (
  SELECT entity_id, usage_key_id, day_start, n.name, coalesce(d.counts[n.at], 0) AS expected,
         coalesce(t.counts[n.at], 0) AS stored
    FROM due d FULL JOIN told t USING (entity_id, usage_key_id, day_start)
   CROSS JOIN unnest(ARRAY['requests', 'uncached', 'cache_read', 'cache_write', 'output', 'input_unknown', 'output_unknown',
                           'cached_unknown', 'written_unknown']) WITH ORDINALITY AS n(name, at)
   WHERE coalesce(d.counts[n.at], 0) <> coalesce(t.counts[n.at], 0)
)
SELECT concat_ws(' ', w.entity_id, w.usage_key_id) AS place, w.day_start AS window_start, w.name, w.expected::text AS expected,
       w.stored::text AS stored, count(*) OVER () AS differing
  FROM wrong w ORDER BY 2, 1, 3 LIMIT :most;

-- name: find_lost_costs
-- What cost lines name and is not there, which no foreign key holds: entity, cut-off, usage key, and the deployment, asset
-- or meter of the scope; scans of cost_allocation, cost_share and cost_day_line.
WITH named AS MATERIALIZED (
  SELECT c.entity_id, c.scope, 0::bigint AS usage_key_id, c.cut_off_id, min(c.window_start) AS window_start
    FROM cost_allocation c GROUP BY 1, 2, 4
   UNION
  SELECT s.entity_id, s.scope, k.usage_key_id, c.cut_off_id, min(s.window_start)
    FROM cost_share s JOIN cost_allocation c ON c.scope = s.scope AND c.window_start = s.window_start AND c.line = 'usage'
                                            AND c.revision = s.revision
   CROSS JOIN LATERAL unnest(s.usage_key_id) AS k(usage_key_id) GROUP BY 1, 2, 3, 4
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

-- name: find_wrong_shares
-- Lines of usage that are there against what was allocated with them: how many they are, what they come to, and their
-- digest; scans of cost_share.
WITH shares AS (
  SELECT s.*, c.lines, c.digest, c.device_metered_mj AS metered, c.device_estimated_mj AS estimated, c.host_mj AS host,
         c.overhead_mj AS overhead, c.device_cost AS device, c.overhead_cost AS overhead_of, c.gpu_cost AS gpu,
         c.entity_id AS owner
    FROM cost_share s LEFT JOIN cost_allocation c ON c.scope = s.scope AND c.window_start = s.window_start
                                                 AND c.line = 'usage' AND c.revision = s.revision
), summed AS (
  SELECT s.*, n.*, d.sha
    FROM shares s
   CROSS JOIN LATERAL (
     SELECT count(*) AS found, coalesce(sum(u.mj_1), 0) AS mj_1, coalesce(sum(u.mj_2), 0) AS mj_2,
            coalesce(sum(u.mj_3), 0) AS mj_3, coalesce(sum(u.mj_4), 0) AS mj_4,
            coalesce(sum(u.low_1), 0) * 0.000000000001 + coalesce(sum(u.high_1), 0) * 10000 AS cost_1,
            coalesce(sum(u.low_2), 0) * 0.000000000001 + coalesce(sum(u.high_2), 0) * 10000 AS cost_2,
            coalesce(sum(u.low_3), 0) * 0.000000000001 + coalesce(sum(u.high_3), 0) * 10000 AS cost_3
       FROM unnest(s.usage_key_id, s.device_metered_mj, s.device_estimated_mj, s.host_mj, s.overhead_mj, s.device_cost_low,
                   s.device_cost_high, s.overhead_cost_low, s.overhead_cost_high, s.gpu_cost_low, s.gpu_cost_high)
         AS u(key, mj_1, mj_2, mj_3, mj_4, low_1, high_1, low_2, high_2, low_3, high_3)) n
   CROSS JOIN LATERAL (SELECT array_fill(0::bigint, ARRAY[cardinality(s.usage_key_id)]) AS zeros OFFSET 0) z
   CROSS JOIN LATERAL (
     SELECT sha256(array_send(s.usage_key_id) || string_agg(array_send(coalesce(a.amounts, z.zeros)), '' ORDER BY a.n)) AS sha
       FROM (VALUES (1, s.device_metered_mj), (2, s.device_estimated_mj), (3, s.host_mj), (4, s.overhead_mj),
                    (5, s.device_cost_high), (6, s.overhead_cost_high), (7, s.gpu_cost_high),
                    (8, s.device_cost_low), (9, s.overhead_cost_low), (10, s.gpu_cost_low)) AS a(n, amounts)) d
), wrong AS (
  SELECT s.entity_id, s.scope, s.window_start, f.name, f.expected, f.stored
    FROM summed s
   CROSS JOIN LATERAL (VALUES
           ('entity_id', s.owner, s.entity_id), ('lines', s.lines::text, s.found::text),
           ('device_metered_mj', s.metered::text, s.mj_1::text), ('device_estimated_mj', s.estimated::text, s.mj_2::text),
           ('host_mj', s.host::text, s.mj_3::text), ('overhead_mj', s.overhead::text, s.mj_4::text),
           ('device_cost', trim_scale(s.device)::text, trim_scale(s.cost_1)::text),
           ('overhead_cost', trim_scale(s.overhead_of)::text, trim_scale(s.cost_2)::text),
           ('gpu_cost', trim_scale(s.gpu)::text, trim_scale(s.cost_3)::text),
           ('digest', encode(s.digest, 'hex'), encode(s.sha, 'hex'))) AS f(name, expected, stored)
   WHERE f.expected IS DISTINCT FROM f.stored
)
SELECT concat_ws(' ', w.entity_id, w.scope) AS place, w.window_start, w.name, coalesce(w.expected, 'none') AS expected,
       coalesce(w.stored, 'none') AS stored, count(*) OVER () AS differing
  FROM wrong w ORDER BY 2, 1, 3 LIMIT :most;

-- name: find_wrong_gpu_parts
-- GPUs of which deployments, as recorded now, have more than all at a time: they begin to where one of these does. A scan of
-- deployment_member.
WITH parts AS (
  SELECT m.member, m.valid, m.parts FROM deployment_member m WHERE m.kind = 'gpu' AND upper_inf(m.recorded)
), taken AS (
  SELECT b.member, lower(b.valid) AS since, sum(p.parts) AS parts
    FROM (SELECT DISTINCT member, valid FROM parts) b
    JOIN parts p ON p.member = b.member AND p.valid @> coalesce(lower(b.valid), '-infinity')
   GROUP BY b.member, b.valid
)
SELECT 'GPU ' || t.member AS place, min(t.since) AS window_start, 'parts' AS name, '7000000 at most' AS expected,
       max(t.parts)::text AS stored, count(*) OVER () AS differing
  FROM taken t WHERE t.parts > 7000000
 GROUP BY t.member ORDER BY 2, 1 LIMIT :most;

-- name: sum_thin_day
-- What lines of usage of an entity's day come to as they stand, by usage key, costs in 1e-12. Index: cost_day_line (entity_id, day_start).
SELECT l.scope, l.usage_key_id, l.currency::text AS currency, l.gpu_terms, sum(l.busy_s) AS busy_s,
       sum(l.device_metered_mj) AS device_metered_mj, sum(l.device_estimated_mj) AS device_estimated_mj,
       sum(l.host_mj) AS host_mj, sum(l.overhead_mj) AS overhead_mj,
       round(sum(l.device_cost) * 1000000000000) AS device_cost,
       round(sum(l.overhead_cost) * 1000000000000) AS overhead_cost, round(sum(l.gpu_cost) * 1000000000000) AS gpu_cost
  FROM cost_day_line l
 WHERE l.entity_id = :entity_id AND l.day_start = :day_start AND l.line = 'usage'
 GROUP BY 1, 2, 3, 4;
