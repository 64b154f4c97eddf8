-- name: find_open_grid_factors
-- Factors of a site and kind that overlap [since, until), in order; the exclusion constraint's index.
SELECT source, lower(period) AS valid_from, upper(period) AS valid_to, per_kwh
  FROM grid_factor
 WHERE facility_id = :facility_id AND kind = :kind AND period && tstzrange(:since, :until) AND upper_inf(recorded)
 ORDER BY period;

-- name: supersede_grid_factors
-- Closes the factors that the offered periods overlap, and enters again what is left of them.
WITH offered AS (
  SELECT range_agg(tstzrange(o.start_at, o.end_at)) AS periods
    FROM unnest(:starts::timestamptz[], :ends::timestamptz[]) AS o(start_at, end_at)),
closed AS (
  UPDATE grid_factor g SET recorded = int8range(lower(g.recorded), :batch_seq)
    FROM offered o
   WHERE g.facility_id = :facility_id AND g.kind = :kind AND upper_inf(g.recorded) AND g.period && o.periods
  RETURNING g.*)
INSERT INTO grid_factor (facility_id, kind, source, period, per_kwh, recorded)
SELECT c.facility_id, c.kind, c.source, part, c.per_kwh, int8range(:batch_seq, NULL)
  FROM closed c, offered o, unnest(tstzmultirange(c.period) - o.periods) part;

-- name: sum_efficiency
-- Energy of an entity in [since, until) as known at a cut-off, its cost and what it emitted and drank, per scope, line,
-- who used it and, by_day, local day. Grams and ml are told as mJ times what a kWh takes times the seconds of the
-- quarter hour it holds, and `no_` is energy of quarter hours for which a series has a hole. What tokens of a kind
-- took (`part_`) goes by the weights of the scope; all else stands in the first kind of each. Index: cost_allocation
-- (entity_id, window_start), activity (window_start, engine_key_id), the exclusion constraint of grid_factor.
WITH mine AS MATERIALIZED (
  SELECT l.scope, l.line, l.currency, l.usage_key_id, l.window_start, coalesce(p.facility_id, o.facility_id) AS facility_id,
         l.device_metered_mj::numeric + l.device_estimated_mj + l.host_mj + l.overhead_mj AS energy_mj,
         l.device_cost + l.overhead_cost + l.gpu_cost AS cost
    FROM cost_lines_at(:batch_seq) l
    LEFT JOIN scope_sites_at(:batch_seq) p ON p.scope = l.scope AND p.valid @> l.window_start
    LEFT JOIN (SELECT min(a.facility_id) AS facility_id FROM asset a
                WHERE a.entity_id = :entity_id AND a.recorded @> :batch_seq::bigint
               HAVING count(DISTINCT a.facility_id) = 1) o ON true
   WHERE l.entity_id = :entity_id AND l.window_start >= :since AND l.window_start < :until
), held AS (
  SELECT w.facility_id, w.window_start, g.kind, sum(h.per_kwh_s) AS per_kwh_s, sum(s.seconds) AS seconds
    FROM (SELECT DISTINCT facility_id, window_start FROM mine) w
    JOIN grid_factor g ON g.facility_id = w.facility_id AND g.recorded @> :batch_seq::bigint
                      AND g.period && tstzrange(w.window_start, w.window_start + interval '15 minutes')
   CROSS JOIN LATERAL (
     SELECT extract(epoch FROM least(upper(g.period), w.window_start + interval '15 minutes')
                             - greatest(lower(g.period), w.window_start)) AS seconds) s
   CROSS JOIN LATERAL (SELECT g.per_kwh * s.seconds AS per_kwh_s) h
   GROUP BY w.facility_id, w.window_start, g.kind
), factor AS (
  SELECT h.facility_id, h.window_start,
         sum(h.per_kwh_s) FILTER (WHERE h.kind = 'carbon_location' AND h.seconds = 900) AS carbon_location,
         sum(h.per_kwh_s) FILTER (WHERE h.kind = 'carbon_market' AND h.seconds = 900) AS carbon_market,
         sum(h.per_kwh_s) FILTER (WHERE h.kind = 'water' AND h.seconds = 900) AS water
    FROM held h GROUP BY h.facility_id, h.window_start
), worked AS (
  SELECT a.window_start, a.usage_key_id, sum(a.uncached) AS uncached, sum(a.cache_read) AS cache_read,
         sum(a.cache_write) AS cache_write, sum(a.output) AS output
    FROM activity_delta a
   WHERE a.window_start >= :since AND a.window_start < :until AND a.batch_seq <= :batch_seq
   GROUP BY a.window_start, a.usage_key_id
)
SELECT m.scope, m.line, m.currency, u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model,
       CASE WHEN :by_day::boolean THEN (m.window_start AT TIME ZONE :zone)::date END AS day, k.kind,
       coalesce(sum(m.energy_mj) FILTER (WHERE k.number = 1), 0) AS energy_mj,
       coalesce(sum(m.cost) FILTER (WHERE k.number = 1), 0) AS cost,
       coalesce(sum(e.carbon_location) FILTER (WHERE k.number = 1), 0) AS carbon_location,
       coalesce(sum(e.carbon_market) FILTER (WHERE k.number = 1), 0) AS carbon_market,
       coalesce(sum(e.water) FILTER (WHERE k.number = 1), 0) AS water,
       coalesce(sum(m.energy_mj) FILTER (WHERE k.number = 1 AND f.carbon_location IS NULL), 0) AS no_carbon_location_mj,
       coalesce(sum(m.energy_mj) FILTER (WHERE k.number = 1 AND f.carbon_market IS NULL), 0) AS no_carbon_market_mj,
       coalesce(sum(m.energy_mj) FILTER (WHERE k.number = 1 AND f.water IS NULL), 0) AS no_water_mj,
       coalesce(sum(e.part_energy_mj), 0) AS part_energy_mj,
       coalesce(sum(e.part_cost), 0) AS part_cost,
       coalesce(sum(e.part_carbon_location), 0) AS part_carbon_location,
       coalesce(sum(e.part_carbon_market), 0) AS part_carbon_market,
       coalesce(sum(e.part_water), 0) AS part_water
  FROM mine m
  LEFT JOIN usage_key u USING (usage_key_id)
  LEFT JOIN factor f ON f.facility_id = m.facility_id AND f.window_start = m.window_start
  LEFT JOIN worked t ON t.window_start = m.window_start AND t.usage_key_id = m.usage_key_id
  LEFT JOIN deployment d ON 'deployment:' || d.deployment_id = m.scope AND d.valid @> m.window_start
                        AND d.recorded @> :batch_seq::bigint
 CROSS JOIN LATERAL (
   SELECT c.number, c.kind, c.weighed / nullif(sum(c.weighed) OVER (), 0) AS share
     FROM (VALUES (1, 'input_uncached', t.uncached * d.weight_uncached),
                  (2, 'input_cache_read', t.cache_read * d.weight_cache_read),
                  (3, 'input_cache_write', t.cache_write * d.weight_cache_write),
                  (4, 'output', t.output * d.weight_output)) AS c(number, kind, weighed)
    WHERE c.number = 1 OR c.weighed > 0) k
 CROSS JOIN LATERAL (
   SELECT m.energy_mj * f.carbon_location AS carbon_location, m.energy_mj * f.carbon_market AS carbon_market,
          m.energy_mj * f.water AS water, m.energy_mj * k.share AS part_energy_mj, m.cost * k.share AS part_cost,
          m.energy_mj * f.carbon_location * k.share AS part_carbon_location,
          m.energy_mj * f.carbon_market * k.share AS part_carbon_market,
          m.energy_mj * f.water * k.share AS part_water) e
 GROUP BY m.scope, m.line, m.currency, u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model, day, k.kind
 ORDER BY m.scope COLLATE "C", m.line COLLATE "C", m.currency, u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model,
          day, k.kind;

-- name: sum_token_kinds
-- Tokens of an entity's customers, and of customers nobody knows that carry cost of it, in [since, until), by who used
-- them and, by_day, local day. Index: usage_delta (customer_id, window_start).
SELECT u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model,
       CASE WHEN :by_day::boolean THEN (d.window_start AT TIME ZONE :zone)::date END AS day,
       sum(d.uncached) AS input_uncached, sum(d.cache_read) AS input_cache_read, sum(d.cache_write) AS input_cache_write,
       sum(d.visible) + sum(d.reasoning) AS output
  FROM usage_delta d JOIN usage_key u USING (usage_key_id)
 WHERE d.window_start >= :since AND d.window_start < :until AND d.batch_seq <= :batch_seq
   AND (u.entity_id = :entity_id OR (u.entity_id IS NULL AND d.usage_key_id IN (
        SELECT c.usage_key_id FROM costs_at(:batch_seq, :entity_id, :since, :until) c WHERE c.line = 'usage')))
 GROUP BY u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model, day
 ORDER BY u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model, day;

-- name: find_grid_holes
-- When a site used energy of an entity in [since, until) and a series says nothing, as known at a cut-off.
-- Index: cost_allocation (entity_id, window_start), the exclusion constraint of grid_factor.
WITH mine AS (
  SELECT DISTINCT coalesce(p.facility_id, o.facility_id) AS facility_id, l.window_start
    FROM allocations_at(:batch_seq) l
    LEFT JOIN scope_sites_at(:batch_seq) p ON p.scope = l.scope AND p.valid @> l.window_start
    LEFT JOIN (SELECT min(a.facility_id) AS facility_id FROM asset a
                WHERE a.entity_id = :entity_id AND a.recorded @> :batch_seq::bigint
               HAVING count(DISTINCT a.facility_id) = 1) o ON true
   WHERE l.entity_id = :entity_id AND l.window_start >= :since AND l.window_start < :until
     AND l.device_metered_mj::numeric + l.device_estimated_mj + l.host_mj + l.overhead_mj > 0
)
SELECT s.facility_id, k.kind, lower(h.hole) AS valid_from, upper(h.hole) AS valid_to
  FROM (SELECT m.facility_id, range_agg(tstzrange(m.window_start, m.window_start + interval '15 minutes')) AS used
          FROM mine m GROUP BY m.facility_id) s
 CROSS JOIN unnest(:kinds::text[]) AS k(kind)
 CROSS JOIN LATERAL unnest(s.used - coalesce(
   (SELECT range_agg(g.period) FROM grid_factor g
     WHERE g.facility_id = s.facility_id AND g.kind = k.kind AND g.recorded @> :batch_seq::bigint
       AND g.period && tstzrange(:since, :until)), '{}')) AS h(hole)
 ORDER BY s.facility_id, k.kind, valid_from;
