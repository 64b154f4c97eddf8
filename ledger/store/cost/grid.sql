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
  SELECT array_agg(d.day_start ORDER BY d.day_start) AS starts, array_agg(d.day_end ORDER BY d.day_start) AS ends
    FROM cost_day d
   WHERE d.entity_id = :entity_id AND d.batch_seq <= :batch_seq AND d.day_start >= :since AND d.day_end <= :until
), mine AS MATERIALIZED (
  SELECT l.scope, l.line, l.currency::text AS currency, l.window_start,
         CASE WHEN l.window_start < t.ends[n.number] THEN t.starts[n.number] ELSE l.window_start END AS part_start,
         coalesce(p.facility_id, o.facility_id) AS facility_id,
         l.device_metered_mj::numeric + l.device_estimated_mj + l.host_mj + l.overhead_mj AS energy_mj,
         l.device_cost + l.overhead_cost + l.gpu_cost AS cost, l.device_estimated_mj AS estimated_mj,
         l.device_cost + l.overhead_cost AS electricity, l.uncached_mj, l.cache_read_mj, l.cache_write_mj, l.output_mj,
         l.uncached_cost, l.cache_read_cost, l.cache_write_cost, l.output_cost
    FROM allocations_at(:batch_seq) l
   CROSS JOIN told t
   CROSS JOIN LATERAL (SELECT width_bucket(l.window_start, t.starts) AS number) n
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
  SELECT c.*, t.used_on, t.carbon_location * e.part AS carbon_location, t.carbon_market * e.part AS carbon_market,
         t.water * e.part AS water,
         CASE WHEN t.no_carbon_location_mj > 0 THEN c.energy_mj ELSE 0 END AS no_carbon_location_mj,
         CASE WHEN t.no_carbon_market_mj > 0 THEN c.energy_mj ELSE 0 END AS no_carbon_market_mj,
         CASE WHEN t.no_water_mj > 0 THEN c.energy_mj ELSE 0 END AS no_water_mj,
         coalesce(m.mj_1 / a.mj, m.cost_1 / a.cost) AS of_energy_1, coalesce(m.cost_1 / a.cost, m.mj_1 / a.mj) AS of_cost_1,
         coalesce(m.mj_2 / a.mj, m.cost_2 / a.cost) AS of_energy_2, coalesce(m.cost_2 / a.cost, m.mj_2 / a.mj) AS of_cost_2,
         coalesce(m.mj_3 / a.mj, m.cost_3 / a.cost) AS of_energy_3, coalesce(m.cost_3 / a.cost, m.mj_3 / a.mj) AS of_cost_3,
         coalesce(m.mj_4 / a.mj, m.cost_4 / a.cost) AS of_energy_4, coalesce(m.cost_4 / a.cost, m.mj_4 / a.mj) AS of_cost_4
    FROM claimed c
    JOIN taken t ON t.scope = c.scope AND t.currency = c.currency AND t.part_start = c.part_start AND t.line = 'usage'
   CROSS JOIN LATERAL (SELECT coalesce(c.energy_mj / nullif(t.energy_mj, 0), 0) AS part) e
   CROSS JOIN LATERAL (
     -- A row of a user and not four, since they are many: kinds are told apart once they are summed.
     SELECT c.of_uncached * t.uncached_mj AS mj_1, c.of_uncached * t.uncached_cost AS cost_1,
            CASE WHEN c.of_cache_read > 0 THEN c.of_cache_read * t.cache_read_mj END AS mj_2,
            CASE WHEN c.of_cache_read > 0 THEN c.of_cache_read * t.cache_read_cost END AS cost_2,
            CASE WHEN c.of_cache_write > 0 THEN c.of_cache_write * t.cache_write_mj END AS mj_3,
            CASE WHEN c.of_cache_write > 0 THEN c.of_cache_write * t.cache_write_cost END AS cost_3,
            CASE WHEN c.of_output > 0 THEN c.of_output * t.output_mj END AS mj_4,
            CASE WHEN c.of_output > 0 THEN c.of_output * t.output_cost END AS cost_4 OFFSET 0) m
   CROSS JOIN LATERAL (
     SELECT nullif(coalesce(m.mj_1, 0) + coalesce(m.mj_2, 0) + coalesce(m.mj_3, 0) + coalesce(m.mj_4, 0), 0) AS mj,
            nullif(coalesce(m.cost_1, 0) + coalesce(m.cost_2, 0) + coalesce(m.cost_3, 0) + coalesce(m.cost_4, 0), 0) AS cost
      OFFSET 0) a
), summed AS (
  SELECT t.scope, t.line, t.currency, NULL::text[] AS named, CASE WHEN :by_day::boolean THEN t.used_on END AS day,
         sum(t.energy_mj) AS energy_mj, sum(t.cost) AS cost, sum(t.carbon_location) AS carbon_location,
         sum(t.carbon_market) AS carbon_market, sum(t.water) AS water, sum(t.no_carbon_location_mj) AS no_carbon_location_mj,
         sum(t.no_carbon_market_mj) AS no_carbon_market_mj, sum(t.no_water_mj) AS no_water_mj,
         sum(t.estimated_mj) AS estimated_mj, sum(t.electricity) AS electricity,
         ARRAY[true, false, false, false] AS kinds, NULL::numeric[] AS part_energy_mj, NULL::numeric[] AS part_cost,
         NULL::numeric[] AS part_carbon_location, NULL::numeric[] AS part_carbon_market, NULL::numeric[] AS part_water
    FROM taken t WHERE t.line <> 'usage' GROUP BY t.scope, t.line, t.currency, day
   UNION ALL
  SELECT s.scope, 'usage', s.currency, ARRAY[s.model, s.customer, s.tier, s.agent, s.project, s.api_key, s.adapter, s.region],
         CASE WHEN :by_day::boolean THEN s.used_on END AS day, sum(s.energy_mj), sum(s.cost), sum(s.carbon_location),
         sum(s.carbon_market), sum(s.water), sum(s.no_carbon_location_mj), sum(s.no_carbon_market_mj), sum(s.no_water_mj),
         sum(s.estimated_mj), sum(s.electricity),
         ARRAY[true, bool_or(s.of_cache_read > 0), bool_or(s.of_cache_write > 0), bool_or(s.of_output > 0)],
         ARRAY[sum(s.energy_mj * s.of_energy_1), sum(s.energy_mj * s.of_energy_2),
               sum(s.energy_mj * s.of_energy_3), sum(s.energy_mj * s.of_energy_4)],
         ARRAY[sum(s.cost * s.of_cost_1), sum(s.cost * s.of_cost_2),
               sum(s.cost * s.of_cost_3), sum(s.cost * s.of_cost_4)],
         ARRAY[sum(s.carbon_location * s.of_energy_1), sum(s.carbon_location * s.of_energy_2),
               sum(s.carbon_location * s.of_energy_3), sum(s.carbon_location * s.of_energy_4)],
         ARRAY[sum(s.carbon_market * s.of_energy_1), sum(s.carbon_market * s.of_energy_2),
               sum(s.carbon_market * s.of_energy_3), sum(s.carbon_market * s.of_energy_4)],
         ARRAY[sum(s.water * s.of_energy_1), sum(s.water * s.of_energy_2),
               sum(s.water * s.of_energy_3), sum(s.water * s.of_energy_4)]
    FROM shared s
   GROUP BY s.scope, s.currency, s.model, s.customer, s.tier, s.agent, s.project, s.api_key, s.adapter, s.region, day
)
SELECT s.scope, s.line, s.currency, s.named, s.day, k.kind,
       CASE WHEN k.number = 1 THEN s.energy_mj ELSE 0 END AS energy_mj,
       CASE WHEN k.number = 1 THEN s.cost ELSE 0 END AS cost,
       CASE WHEN k.number = 1 THEN s.carbon_location ELSE 0 END AS carbon_location,
       CASE WHEN k.number = 1 THEN s.carbon_market ELSE 0 END AS carbon_market,
       CASE WHEN k.number = 1 THEN s.water ELSE 0 END AS water,
       CASE WHEN k.number = 1 THEN s.no_carbon_location_mj ELSE 0 END AS no_carbon_location_mj,
       CASE WHEN k.number = 1 THEN s.no_carbon_market_mj ELSE 0 END AS no_carbon_market_mj,
       CASE WHEN k.number = 1 THEN s.no_water_mj ELSE 0 END AS no_water_mj,
       coalesce(s.part_energy_mj[k.number], 0) AS part_energy_mj,
       coalesce(s.part_cost[k.number], 0) AS part_cost,
       coalesce(s.part_carbon_location[k.number], 0) AS part_carbon_location,
       coalesce(s.part_carbon_market[k.number], 0) AS part_carbon_market,
       coalesce(s.part_water[k.number], 0) AS part_water,
       CASE WHEN k.number = 1 THEN s.estimated_mj ELSE 0 END AS estimated_mj,
       CASE WHEN k.number = 1 THEN s.electricity ELSE 0 END AS electricity
  FROM summed s
 CROSS JOIN (VALUES (1, 'input_uncached'), (2, 'input_cache_read'), (3, 'input_cache_write'), (4, 'output')) AS k(number, kind)
 WHERE s.kinds[k.number]
 ORDER BY s.scope COLLATE "C", s.line COLLATE "C", s.currency, s.named[1], s.named[2], s.named[3], s.named[4], s.named[5],
          s.named[6], s.named[7], s.named[8], s.day, k.kind;

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
