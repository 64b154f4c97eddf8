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
-- who used it by what names, and, by_day, local day. Grams and ml are told as mJ
-- times what a kWh takes times the seconds of the quarter hour it holds, and `no_` is energy of quarter hours for which a
-- series has a hole. Of a whole day that is added up users have their part of what its scope emitted by energy. What tokens
-- of a kind took (`part_`) is what those of the scope did in that part of the time, by how many of them are a user's; all
-- else stands in the first kind of each. Index: cost_day_line and key_day (entity_id, day_start), cost_allocation
-- (entity_id, window_start), the exclusion constraint of grid_factor.
WITH told AS MATERIALIZED (
  SELECT d.day_start, d.day_end FROM cost_day d
   WHERE d.entity_id = :entity_id AND d.batch_seq <= :batch_seq AND d.day_start >= :since AND d.day_end <= :until
), mine AS MATERIALIZED (
  SELECT l.scope, l.line, l.currency::text AS currency, l.window_start, coalesce(t.day_start, l.window_start) AS part_start,
         coalesce(p.facility_id, o.facility_id) AS facility_id,
         l.device_metered_mj::numeric + l.device_estimated_mj + l.host_mj + l.overhead_mj AS energy_mj,
         l.device_cost + l.overhead_cost + l.gpu_cost AS cost, l.device_estimated_mj AS estimated_mj,
         l.device_cost + l.overhead_cost AS electricity, l.uncached_mj, l.cache_read_mj, l.cache_write_mj, l.output_mj,
         l.uncached_cost, l.cache_read_cost, l.cache_write_cost, l.output_cost
    FROM allocations_at(:batch_seq) l
    LEFT JOIN told t ON t.day_start <= l.window_start AND t.day_end > l.window_start
    LEFT JOIN scope_sites_at(:batch_seq) p ON p.scope = l.scope AND p.valid @> l.window_start
    LEFT JOIN (SELECT min(a.facility_id) AS facility_id FROM asset a
                WHERE a.entity_id = :entity_id AND a.recorded @> :batch_seq::bigint
               HAVING count(DISTINCT a.facility_id) = 1) o ON true
   WHERE l.entity_id = :entity_id AND l.window_start >= :since AND l.window_start < :until AND l.lines > 0
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
), taken AS MATERIALIZED (
  SELECT m.scope, m.line, m.currency, m.part_start, (m.part_start AT TIME ZONE :zone)::date AS used_on,
         sum(m.energy_mj) AS energy_mj, sum(m.cost) AS cost, sum(m.estimated_mj) AS estimated_mj,
         sum(m.electricity) AS electricity, coalesce(sum(m.energy_mj * f.carbon_location), 0) AS carbon_location,
         coalesce(sum(m.energy_mj * f.carbon_market), 0) AS carbon_market,
         coalesce(sum(m.energy_mj * f.water), 0) AS water,
         coalesce(sum(m.energy_mj) FILTER (WHERE f.carbon_location IS NULL), 0) AS no_carbon_location_mj,
         coalesce(sum(m.energy_mj) FILTER (WHERE f.carbon_market IS NULL), 0) AS no_carbon_market_mj,
         coalesce(sum(m.energy_mj) FILTER (WHERE f.water IS NULL), 0) AS no_water_mj,
         sum(m.uncached_mj) AS uncached_mj, sum(m.cache_read_mj) AS cache_read_mj, sum(m.cache_write_mj) AS cache_write_mj,
         sum(m.output_mj) AS output_mj, sum(m.uncached_cost) AS uncached_cost, sum(m.cache_read_cost) AS cache_read_cost,
         sum(m.cache_write_cost) AS cache_write_cost, sum(m.output_cost) AS output_cost
    FROM mine m LEFT JOIN factor f ON f.facility_id = m.facility_id AND f.window_start = m.window_start
   GROUP BY m.scope, m.line, m.currency, m.part_start
), worked AS MATERIALIZED (
  SELECT w.used_on, w.usage_key_id, sum(w.uncached) AS uncached, sum(w.cache_read) AS cache_read,
         sum(w.cache_write) AS cache_write, sum(w.output) AS output
    FROM day_usage_at(:batch_seq, :entity_id, :since, :until) w GROUP BY w.used_on, w.usage_key_id
), costed AS MATERIALIZED (
  SELECT c.scope, c.currency, c.part_start, c.usage_key_id,
         sum(c.device_metered_mj::numeric + c.device_estimated_mj + c.host_mj + c.overhead_mj) AS energy_mj,
         sum(c.device_cost + c.overhead_cost + c.gpu_cost) AS cost, sum(c.device_estimated_mj) AS estimated_mj,
         sum(c.device_cost + c.overhead_cost) AS electricity
    FROM costs_at(:batch_seq, :entity_id, :since, :until) c
   WHERE c.line = 'usage'
   GROUP BY c.scope, c.currency, c.part_start, c.usage_key_id
), used AS MATERIALIZED (
  SELECT c.scope, c.currency, c.part_start, u.model, u.customer, u.tier, u.agent, u.project, u.api_key, u.adapter, u.region,
         sum(c.energy_mj) AS energy_mj, sum(c.cost) AS cost, sum(c.estimated_mj) AS estimated_mj,
         sum(c.electricity) AS electricity, sum(w.uncached) AS uncached,
         sum(w.cache_read) AS cache_read, sum(w.cache_write) AS cache_write, sum(w.output) AS output
    FROM costed c
    JOIN named_users(:by::text[]) u USING (usage_key_id)
    LEFT JOIN worked w ON w.usage_key_id = c.usage_key_id AND w.used_on = (c.part_start AT TIME ZONE :zone)::date
   GROUP BY c.scope, c.currency, c.part_start, u.model, u.customer, u.tier, u.agent, u.project, u.api_key, u.adapter, u.region
), claimed AS (
  SELECT u.*, u.uncached / nullif(sum(u.uncached) OVER p, 0) AS of_uncached,
         u.cache_read / nullif(sum(u.cache_read) OVER p, 0) AS of_cache_read,
         u.cache_write / nullif(sum(u.cache_write) OVER p, 0) AS of_cache_write,
         u.output / nullif(sum(u.output) OVER p, 0) AS of_output
    FROM used u WINDOW p AS (PARTITION BY u.scope, u.currency, u.part_start)
), shared AS (
  SELECT t.scope, t.line, t.currency, NULL AS model, NULL AS customer, NULL AS tier, NULL AS agent,
         NULL AS project, NULL AS api_key, NULL AS adapter, NULL AS region,
         t.used_on, 1 AS number, 'input_uncached' AS kind, t.energy_mj, t.cost, t.carbon_location, t.carbon_market, t.water,
         t.no_carbon_location_mj, t.no_carbon_market_mj, t.no_water_mj, t.estimated_mj, t.electricity,
         NULL::numeric AS of_energy, NULL::numeric AS of_cost
    FROM taken t WHERE t.line <> 'usage'
   UNION ALL
  SELECT t.scope, t.line, t.currency, c.model, c.customer, c.tier, c.agent, c.project, c.api_key, c.adapter, c.region,
         t.used_on, k.number, k.kind,
         c.energy_mj, c.cost, t.carbon_location * e.part, t.carbon_market * e.part, t.water * e.part,
         CASE WHEN t.no_carbon_location_mj > 0 THEN c.energy_mj ELSE 0 END,
         CASE WHEN t.no_carbon_market_mj > 0 THEN c.energy_mj ELSE 0 END,
         CASE WHEN t.no_water_mj > 0 THEN c.energy_mj ELSE 0 END, c.estimated_mj, c.electricity,
         coalesce(k.of_energy, k.of_cost), coalesce(k.of_cost, k.of_energy)
    FROM claimed c
    JOIN taken t ON t.scope = c.scope AND t.currency = c.currency AND t.part_start = c.part_start AND t.line = 'usage'
   CROSS JOIN LATERAL (SELECT coalesce(c.energy_mj / nullif(t.energy_mj, 0), 0) AS part) e
   CROSS JOIN LATERAL (
     SELECT v.number, v.kind, v.portion * v.mj / nullif(sum(v.portion * v.mj) OVER (), 0) AS of_energy,
            v.portion * v.cost / nullif(sum(v.portion * v.cost) OVER (), 0) AS of_cost
       FROM (VALUES (1, 'input_uncached', c.of_uncached, t.uncached_mj, t.uncached_cost),
                    (2, 'input_cache_read', c.of_cache_read, t.cache_read_mj, t.cache_read_cost),
                    (3, 'input_cache_write', c.of_cache_write, t.cache_write_mj, t.cache_write_cost),
                    (4, 'output', c.of_output, t.output_mj, t.output_cost)) AS v(number, kind, portion, mj, cost)
      WHERE v.number = 1 OR v.portion > 0) k
)
SELECT s.scope, s.line, s.currency,
       CASE s.line WHEN 'usage' THEN ARRAY[s.model, s.customer, s.tier, s.agent, s.project, s.api_key, s.adapter, s.region]
       END AS named,
       CASE WHEN :by_day::boolean THEN s.used_on END AS day, s.kind,
       coalesce(sum(s.energy_mj) FILTER (WHERE s.number = 1), 0) AS energy_mj,
       coalesce(sum(s.cost) FILTER (WHERE s.number = 1), 0) AS cost,
       coalesce(sum(s.carbon_location) FILTER (WHERE s.number = 1), 0) AS carbon_location,
       coalesce(sum(s.carbon_market) FILTER (WHERE s.number = 1), 0) AS carbon_market,
       coalesce(sum(s.water) FILTER (WHERE s.number = 1), 0) AS water,
       coalesce(sum(s.no_carbon_location_mj) FILTER (WHERE s.number = 1), 0) AS no_carbon_location_mj,
       coalesce(sum(s.no_carbon_market_mj) FILTER (WHERE s.number = 1), 0) AS no_carbon_market_mj,
       coalesce(sum(s.no_water_mj) FILTER (WHERE s.number = 1), 0) AS no_water_mj,
       coalesce(sum(s.energy_mj * s.of_energy), 0) AS part_energy_mj, coalesce(sum(s.cost * s.of_cost), 0) AS part_cost,
       coalesce(sum(s.carbon_location * s.of_energy), 0) AS part_carbon_location,
       coalesce(sum(s.carbon_market * s.of_energy), 0) AS part_carbon_market,
       coalesce(sum(s.water * s.of_energy), 0) AS part_water,
       coalesce(sum(s.estimated_mj) FILTER (WHERE s.number = 1), 0) AS estimated_mj,
       coalesce(sum(s.electricity) FILTER (WHERE s.number = 1), 0) AS electricity
  FROM shared s
 GROUP BY s.scope, s.line, s.currency, s.model, s.customer, s.tier, s.agent, s.project, s.api_key, s.adapter, s.region,
          day, s.kind
 ORDER BY s.scope COLLATE "C", s.line COLLATE "C", s.currency, s.model, s.customer, s.tier, s.agent,
          s.project, s.api_key, s.adapter, s.region, day, s.kind;

-- name: sum_token_kinds
-- Tokens of an entity's customers, and of customers nobody knows that carry cost of it, in [since, until), by who used
-- them by what names, and, by_day, local day. Index: key_day (entity_id, day_start),
-- usage_delta (customer_id, window_start).
SELECT ARRAY[u.model, u.customer, u.tier, u.agent, u.project, u.api_key, u.adapter, u.region] AS named,
       CASE WHEN :by_day::boolean THEN d.used_on END AS day,
       sum(d.uncached) AS input_uncached, sum(d.cache_read) AS input_cache_read, sum(d.cache_write) AS input_cache_write,
       sum(d.output) AS output
  FROM day_usage_at(:batch_seq, :entity_id, :since, :until) d JOIN named_users(:by::text[]) u USING (usage_key_id)
 WHERE u.entity_id IS NOT NULL OR d.usage_key_id IN (
       SELECT c.usage_key_id FROM costs_at(:batch_seq, :entity_id, :since, :until) c WHERE c.line = 'usage')
 GROUP BY u.model, u.customer, u.tier, u.agent, u.project, u.api_key, u.adapter, u.region, day
 ORDER BY u.model, u.customer, u.tier, u.agent, u.project, u.api_key, u.adapter, u.region, day;

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
