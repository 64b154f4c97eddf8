-- name: sum_cost_lines
-- Cost and energy of an entity in [since, until) as known at a cut-off, per scope, line and who used it, told apart by some
-- of customer, agent, tier and model; keys are looked up once each. Index: cost_day_line (entity_id, day_start),
-- cost_allocation (entity_id, window_start).
SELECT l.scope, l.line, l.currency, u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model, u.project_id, u.api_key_id,
       u.adapter, u.region,
       sum(l.busy_s) AS busy_s,
       sum(l.device_metered_mj) AS device_metered_mj, sum(l.device_estimated_mj) AS device_estimated_mj,
       sum(l.host_mj) AS host_mj, sum(l.overhead_mj) AS overhead_mj,
       sum(l.device_cost) AS device_cost, sum(l.overhead_cost) AS overhead_cost, sum(l.gpu_cost) AS gpu_cost
  FROM (SELECT c.scope, c.line, c.currency, c.usage_key_id, sum(c.busy_s) AS busy_s,
               sum(c.device_metered_mj) AS device_metered_mj, sum(c.device_estimated_mj) AS device_estimated_mj,
               sum(c.host_mj) AS host_mj, sum(c.overhead_mj) AS overhead_mj, sum(c.device_cost) AS device_cost,
               sum(c.overhead_cost) AS overhead_cost, sum(c.gpu_cost) AS gpu_cost
          FROM costs_at(:batch_seq, :entity_id, :since, :until) c
         GROUP BY c.usage_key_id, c.scope, c.line, c.currency) l
  LEFT JOIN users_by(:by::text[]) u USING (usage_key_id)
 GROUP BY l.scope, l.line, l.currency, u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model, u.project_id, u.api_key_id,
          u.adapter, u.region
 ORDER BY l.scope COLLATE "C", l.line COLLATE "C", l.currency COLLATE "C", u.customer_id COLLATE "C" NULLS FIRST,
          u.customer_ref COLLATE "C", u.agent_id COLLATE "C", u.tier COLLATE "C", u.model COLLATE "C", u.project_id COLLATE "C",
          u.api_key_id COLLATE "C", u.adapter COLLATE "C", u.region COLLATE "C";

-- name: sum_cost_days
-- Energy and cost of an entity in [since, until) as known at a cut-off, by local day of a zone, line and currency: what was
-- used beside boards and hosts is told apart. Index: as sum_cost_lines.
SELECT (c.part_start AT TIME ZONE :zone)::date AS day, c.line, c.currency,
       sum(c.device_metered_mj) + sum(c.device_estimated_mj) + sum(c.host_mj) + sum(c.overhead_mj) AS energy_mj,
       sum(c.device_cost) AS electricity, sum(c.overhead_cost) AS overhead, sum(c.gpu_cost) AS gpu_cost
  FROM costs_at(:batch_seq, :entity_id, :since, :until) c
 GROUP BY day, c.line, c.currency ORDER BY day, c.line COLLATE "C", c.currency COLLATE "C";

-- name: sum_usage
-- Tokens of an entity's customers, and of customers nobody knows that carry cost of it, in [since, until), told apart by
-- some of customer, agent, tier and model, and how many requests did not say which; keys are looked up once each.
-- Index: key_day (entity_id, day_start), usage_delta and usage_mark (customer_id, window_start).
WITH used AS (
  SELECT a.usage_key_id, sum(a.requests) AS requests, sum(a.uncached) AS uncached, sum(a.cache_read) AS cache_read,
         sum(a.cache_write) AS cache_write, sum(a.output) AS output, sum(a.input_unknown) AS input_unknown,
         sum(a.output_unknown) AS output_unknown, sum(a.cached_unknown) AS cached_unknown,
         sum(a.written_unknown) AS written_unknown
    FROM usage_at(:batch_seq, :entity_id, :since, :until) a GROUP BY a.usage_key_id
), unknown AS MATERIALIZED (
  SELECT d.usage_key_id, d.requests, d.uncached, d.cache_read, d.cache_write, d.visible::numeric + d.reasoning AS output,
         0 AS input_unknown, 0 AS output_unknown, 0 AS cached_unknown, 0 AS written_unknown
    FROM usage_delta d
   WHERE d.customer_id IS NULL AND d.window_start >= :since AND d.window_start < :until AND d.batch_seq <= :batch_seq
   UNION ALL
  SELECT m.usage_key_id, 0, 0, 0, 0, 0, m.input_unknown, m.output_unknown, m.cached_unknown, m.written_unknown
    FROM usage_mark m
   WHERE m.customer_id IS NULL AND m.window_start >= :since AND m.window_start < :until AND m.batch_seq <= :batch_seq
), carried AS (
  SELECT n.* FROM unknown n
   WHERE n.usage_key_id IN (SELECT c.usage_key_id FROM costs_at(:batch_seq, :entity_id, :since, :until) c
                             WHERE c.line = 'usage')
)
SELECT u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model, u.project_id, u.api_key_id,
       u.adapter, u.region,
       sum(d.requests) AS requests, sum(d.uncached) AS uncached,
       sum(d.cache_read) AS cache_read, sum(d.cache_write) AS cache_write, sum(d.output) AS output,
       sum(d.input_unknown) AS input_unknown, sum(d.output_unknown) AS output_unknown,
       sum(d.cached_unknown) AS cached_unknown, sum(d.written_unknown) AS written_unknown
  FROM (SELECT * FROM used UNION ALL SELECT * FROM carried) d JOIN users_by(:by::text[]) u USING (usage_key_id)
 GROUP BY u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model, u.project_id, u.api_key_id,
          u.adapter, u.region
 ORDER BY u.customer_id NULLS FIRST, u.customer_ref, u.agent_id, u.tier, u.model, u.project_id, u.api_key_id,
          u.adapter, u.region;

-- name: sum_charges
-- What an entity's customers owe for what is asked as known at a cut-off, told apart by some of customer, agent, tier and
-- model, and what waits for a price. Index: charge (entity_id, day_start).
SELECT c.currency, u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model, u.project_id, u.api_key_id,
       u.adapter, u.region,
       coalesce(sum(c.amount), 0) AS amount,
       coalesce(sum(c.quantity) FILTER (WHERE c.unpriced IS NOT NULL), 0) AS unpriced_tokens
  FROM charged_at(:batch_seq, :since, :until, :asked::jsonb) c JOIN users_by(:by::text[]) u USING (usage_key_id)
 WHERE c.entity_id = :entity_id
 GROUP BY c.currency, u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model, u.project_id, u.api_key_id,
          u.adapter, u.region
HAVING sum(c.amount) <> 0 OR sum(c.quantity) <> 0
 ORDER BY c.currency, u.customer_id NULLS FIRST, u.customer_ref, u.agent_id, u.tier, u.model, u.project_id, u.api_key_id,
          u.adapter, u.region;

-- name: sum_foreign_charges
-- The charges of an entity in currencies other than `home`, by day in its zone and by user, whatever is told apart: each
-- is rounded once as it is converted.
-- Index: charge (entity_id, day_start).
SELECT (c.used_at AT TIME ZONE :zone)::date AS used_on,
       c.currency, u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model, u.project_id, u.api_key_id,
       u.adapter, u.region,
       coalesce(sum(c.amount), 0) AS amount,
       coalesce(sum(c.quantity) FILTER (WHERE c.unpriced IS NOT NULL), 0) AS unpriced_tokens
  FROM charged_at(:batch_seq, :since, :until, :asked::jsonb) c JOIN usage_key u USING (usage_key_id)
 WHERE c.entity_id = :entity_id AND c.currency <> :home
 GROUP BY used_on, c.currency, u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model, u.project_id, u.api_key_id,
          u.adapter, u.region
HAVING sum(c.amount) <> 0 OR sum(c.quantity) <> 0
 ORDER BY used_on, c.currency, u.customer_id NULLS FIRST, u.customer_ref, u.agent_id, u.tier, u.model, u.project_id, u.api_key_id,
          u.adapter, u.region;

-- name: sum_pools
-- What an entity's windows of [since, until) cost before anybody was charged, per currency and kind: of days that are added
-- up as they are stored. Index: pool_day (entity_id, day_start), cost_pool (entity_id, window_start).
WITH told AS MATERIALIZED (
  SELECT d.day_start, d.day_end FROM cost_day d
   WHERE d.entity_id = :entity_id AND d.batch_seq <= :batch_seq AND d.day_start >= :since AND d.day_end <= :until
), pools AS (
  SELECT p.currency::text AS currency, p.kind, p.amount::numeric AS amount
    FROM told t JOIN pool_day p ON p.day_start = t.day_start
   WHERE p.entity_id = :entity_id AND p.batch_seq <= :batch_seq
   UNION ALL
  SELECT w.currency::text, w.kind, w.amount::numeric
    FROM unnest(tstzmultirange(tstzrange(:since, :until)) - coalesce((
           SELECT range_agg(tstzrange(t.day_start, t.day_end)) FROM told t), '{}'::tstzmultirange)) AS rest(period)
   CROSS JOIN LATERAL (SELECT c.* FROM pools_at(:batch_seq) c
                        WHERE c.entity_id = :entity_id AND c.window_start >= lower(rest.period)
                          AND c.window_start < upper(rest.period) OFFSET 0) w
)
SELECT p.currency, p.kind, sum(p.amount) AS amount FROM pools p
 GROUP BY p.currency, p.kind ORDER BY p.currency, p.kind;

-- name: sum_meter_windows
-- Energy of meters in [since, until) as known at a cut-off, per GPU and the deployments that have it at a time. Days of UTC that
-- are added up, and in which no deployment of the GPU begins or ends, are read as they are stored. Who has a GPU is looked
-- up once for each time between two edges, not for each day.
-- Index: meter_day (gpu_uuid, day_start), meter_window's primary key.
WITH RECURSIVE gpus AS (
  (SELECT m.gpu_uuid FROM meter_window m ORDER BY m.gpu_uuid LIMIT 1)
  UNION ALL
  SELECT (SELECT m.gpu_uuid FROM meter_window m WHERE m.gpu_uuid > g.gpu_uuid ORDER BY m.gpu_uuid LIMIT 1)
    FROM gpus g WHERE g.gpu_uuid IS NOT NULL
), named AS MATERIALIZED (
  SELECT n.gpu_uuid, d.entity_id, d.deployment_id, d.valid
    FROM deployment d CROSS JOIN LATERAL unnest(d.gpu_uuids) AS n(gpu_uuid)
   WHERE d.recorded @> :batch_seq::bigint
), home AS MATERIALIZED (
  SELECT DISTINCT ON (n.gpu_uuid) n.gpu_uuid, n.entity_id FROM named n
   ORDER BY n.gpu_uuid, lower(n.valid) DESC, n.deployment_id
), edges AS MATERIALIZED (
  SELECT DISTINCT n.gpu_uuid, date_trunc('day', e.moment, 'UTC') AS day_start
    FROM named n CROSS JOIN LATERAL (VALUES (lower(n.valid)), (upper(n.valid))) AS e(moment)
   WHERE e.moment <> date_trunc('day', e.moment, 'UTC')
), told AS MATERIALIZED (
  SELECT d.gpu_uuid, d.day_start, d.metered_mj, d.estimated_mj, d.covered_s, d.windows
    FROM meter_day d
   WHERE d.batch_seq <= :batch_seq AND d.day_start >= :since AND d.day_start + interval '24 hours' <= :until
     AND NOT EXISTS (SELECT FROM edges e WHERE e.gpu_uuid = d.gpu_uuid AND e.day_start = d.day_start)
), days AS MATERIALIZED (
  SELECT t.gpu_uuid, range_agg(tstzrange(t.day_start, t.day_start + interval '24 hours')) AS periods FROM told t GROUP BY 1
), meters AS (
  SELECT t.gpu_uuid, t.day_start AS window_start, t.metered_mj, t.estimated_mj, t.covered_s, t.windows FROM told t
   UNION ALL
  SELECT w.gpu_uuid, w.window_start, w.metered_mj, w.estimated_mj, w.covered_s, 1
    FROM gpus g LEFT JOIN days t USING (gpu_uuid)
   CROSS JOIN LATERAL unnest(tstzmultirange(tstzrange(:since, :until))
                             - coalesce(t.periods, '{}'::tstzmultirange)) AS rest(period)
   CROSS JOIN LATERAL (SELECT m.* FROM meters_at(:batch_seq) m
                        WHERE m.gpu_uuid = g.gpu_uuid AND m.window_start >= lower(rest.period)
                          AND m.window_start < upper(rest.period) OFFSET 0) w
), moments AS (
  SELECT g.gpu_uuid, '-infinity'::timestamptz AS moment FROM gpus g
   UNION
  SELECT d.gpu_uuid, '-infinity' FROM days d
   UNION
  SELECT n.gpu_uuid, e.moment FROM named n CROSS JOIN LATERAL (VALUES (lower(n.valid)), (upper(n.valid))) AS e(moment)
   WHERE e.moment IS NOT NULL
), stretches AS (
  SELECT m.gpu_uuid, m.moment, tstzrange(m.moment, lead(m.moment) OVER (PARTITION BY m.gpu_uuid ORDER BY m.moment)) AS valid
    FROM moments m
), served AS MATERIALIZED (
  SELECT t.gpu_uuid, t.valid, coalesce(min(n.entity_id), min(h.entity_id)) AS entity_id,
         coalesce(array_agg(n.deployment_id ORDER BY n.deployment_id) FILTER (WHERE n.deployment_id IS NOT NULL), '{}')
           AS deployment_ids
    FROM stretches t
    LEFT JOIN named n ON n.gpu_uuid = t.gpu_uuid AND n.valid @> t.moment
    LEFT JOIN home h ON h.gpu_uuid = t.gpu_uuid
   GROUP BY t.gpu_uuid, t.valid
)
SELECT s.gpu_uuid, s.entity_id, s.deployment_ids, sum(m.metered_mj) AS metered_mj, sum(m.estimated_mj) AS estimated_mj,
       sum(m.covered_s) AS covered_s, sum(m.windows) AS windows
  FROM meters m JOIN served s ON s.gpu_uuid = m.gpu_uuid AND s.valid @> m.window_start
 GROUP BY s.gpu_uuid, s.entity_id, s.deployment_ids
 ORDER BY s.gpu_uuid, s.entity_id, s.deployment_ids;

-- name: find_metered_spans
-- Merged periods in which a GPU's energy is known, metered or estimated, inside [since, until): the lower bound that a
-- suspect counter proves is no knowledge of the time it stands for, what fitted weights say is. Days of UTC known all through are read as such.
-- Index: meter_day (gpu_uuid, day_start), meter_window's primary key.
WITH through AS MATERIALIZED (
  SELECT d.gpu_uuid, tstzrange(d.day_start, d.day_start + interval '24 hours') AS span FROM meter_day d
   WHERE d.gpu_uuid = ANY(:gpu_uuids::text[]) AND d.batch_seq <= :batch_seq
     AND d.day_start >= :since AND d.day_start + interval '24 hours' <= :until
   GROUP BY d.gpu_uuid, d.day_start HAVING sum(d.known) = 96
), days AS MATERIALIZED (
  SELECT t.gpu_uuid, range_agg(t.span) AS periods FROM through t GROUP BY t.gpu_uuid
), known AS (
  SELECT t.gpu_uuid, t.span FROM through t
   UNION ALL
  SELECT w.gpu_uuid, tstzrange(w.window_start, w.window_start + interval '15 minutes')
    FROM unnest(:gpu_uuids::text[]) AS g(gpu_uuid) LEFT JOIN days t USING (gpu_uuid)
   CROSS JOIN LATERAL unnest(tstzmultirange(tstzrange(:since, :until))
                             - coalesce(t.periods, '{}'::tstzmultirange)) AS rest(period)
   CROSS JOIN LATERAL (SELECT m.* FROM meters_at(:batch_seq) m
                        WHERE m.gpu_uuid = g.gpu_uuid AND m.window_start >= lower(rest.period)
                          AND m.window_start < upper(rest.period) OFFSET 0) w
   WHERE w.covered_s > 0 OR w.metered_mj > 0 OR 'estimated_by_weights' = ANY(w.findings)
), merged AS (
  SELECT k.gpu_uuid, unnest(range_agg(k.span)) AS span FROM known k GROUP BY k.gpu_uuid
)
SELECT m.gpu_uuid, lower(m.span) AS valid_from, upper(m.span) AS valid_to
  FROM merged m ORDER BY m.gpu_uuid, valid_from;

-- name: list_meter_findings
-- What was noticed about meters in [since, until) as known at a cut-off, per GPU and reason. Index: primary key.
SELECT m.gpu_uuid, f.reason, count(*)::bigint AS windows, min(m.window_start) AS first_window,
       max(m.window_start) AS last_window
  FROM meters_at(:batch_seq) m CROSS JOIN LATERAL unnest(m.findings) AS f(reason)
 WHERE m.gpu_uuid = ANY(:gpu_uuids::text[]) AND m.window_start >= :since AND m.window_start < :until
 GROUP BY m.gpu_uuid, f.reason ORDER BY m.gpu_uuid, f.reason;

-- name: list_meter_gaps
-- When meters gave no reading in [since, until) and why, as collectors said up to a cut-off; told again it is one.
-- Index: meter_gap (gpu_uuid, until).
SELECT g.gpu_uuid, g.reason, g.since, max(g.until) AS until, max(g.detail) AS detail, s.source
  FROM meter_gap g JOIN source s USING (source_id)
 WHERE g.gpu_uuid = ANY(:gpu_uuids::text[]) AND g.until >= :since AND g.since < :until AND g.batch_seq <= :batch_seq
 GROUP BY g.gpu_uuid, g.reason, g.since, s.source ORDER BY g.gpu_uuid, g.since, g.reason, s.source;

-- name: count_gpu_readings
-- How many readings of GPUs were taken in [since, until), stored up to a cut-off; gpu_reading (gpu_uuid, sampled_at),
-- of days on which they can have come.
SELECT r.gpu_uuid, count(*)::bigint AS readings FROM gpu_reading r
 WHERE r.stored_day >= (:since::timestamptz - interval '1 day')::date AND r.gpu_uuid = ANY(:gpu_uuids::text[])
   AND r.sampled_at >= :since AND r.sampled_at < :until AND r.batch_seq <= :batch_seq
 GROUP BY r.gpu_uuid;

-- name: find_engine_activity
-- Per engine key and entity of the customer, the first and last window with activity in [since, until), and
-- its tokens. Index: activity (window_start, engine_key_id).
SELECT k.engine_key_id, k.engine_instance, k.model, k.tier, u.entity_id, a.window_start,
       sum(a.uncached) + sum(a.cache_read) + sum(a.cache_write) AS input, sum(a.output) AS output
  FROM activity_delta a JOIN engine_key k USING (engine_key_id) JOIN usage_key u USING (usage_key_id)
 WHERE a.window_start >= :since AND a.window_start < :until AND a.batch_seq <= :batch_seq
 GROUP BY k.engine_key_id, k.engine_instance, k.model, k.tier, u.entity_id, a.window_start
HAVING sum(a.uncached) <> 0 OR sum(a.cache_read) <> 0 OR sum(a.cache_write) <> 0 OR sum(a.output) <> 0
 ORDER BY a.window_start, k.engine_key_id;

-- name: find_work_at
-- Per engine key and entity of the customer, of work at some engine keys in some times as known at a cut-off, the first and
-- the last window with any. Index: activity (window_start, engine_key_id).
SELECT w.engine_key_id, w.entity_id, min(w.window_start) AS first_window, max(w.window_start) AS last_window
  FROM (SELECT a.engine_key_id, u.entity_id, a.window_start
          FROM unnest(:engine_key_ids::bigint[], :sinces::timestamptz[], :untils::timestamptz[])
            AS o(engine_key_id, since, until)
         CROSS JOIN LATERAL (SELECT * FROM activity_delta d
                              WHERE d.window_start >= o.since AND d.window_start < o.until
                                AND d.engine_key_id = o.engine_key_id AND d.batch_seq <= :batch_seq OFFSET 0) a
          JOIN usage_key u USING (usage_key_id)
         GROUP BY a.engine_key_id, u.entity_id, a.window_start
        HAVING sum(a.uncached) <> 0 OR sum(a.cache_read) <> 0 OR sum(a.cache_write) <> 0 OR sum(a.output) <> 0) w
 GROUP BY w.engine_key_id, w.entity_id ORDER BY w.engine_key_id, w.entity_id;

-- name: find_fx_rates
-- What one `base` is worth in `quote` on each day, as known at a cut-off: by the last rate published on or
-- before it, at most `carried_days` before. A pair quoted the other way is divided by, and two pairs of one
-- day and source are crossed. Index: the exclusion constraint's (base, quote, day).
SELECT asked.base, asked.day AS used_on, found.published, found.multiplier, found.divisor, found.source
  FROM unnest(:bases::text[], :days::date[]) AS asked(base, day)
 CROSS JOIN LATERAL (
  SELECT f.day AS published, f.rate AS multiplier, 1::numeric AS divisor, f.source, 1 AS kind
    FROM fx_rate f
   WHERE f.base = asked.base AND f.quote = :quote AND f.day <= asked.day
     AND f.day >= asked.day - :carried_days::int AND f.recorded @> :batch_seq::bigint
   UNION ALL
  SELECT f.day, 1, f.rate, f.source, 2 FROM fx_rate f
   WHERE f.base = :quote AND f.quote = asked.base AND f.day <= asked.day
     AND f.day >= asked.day - :carried_days::int AND f.recorded @> :batch_seq::bigint
   UNION ALL
  SELECT t.day, t.rate, f.rate, f.source, 3 FROM fx_rate f
    JOIN fx_rate t ON t.base = f.base AND t.quote = :quote AND t.day = f.day AND t.source = f.source
                  AND t.recorded @> :batch_seq::bigint
   WHERE f.quote = asked.base AND f.day <= asked.day
     AND f.day >= asked.day - :carried_days::int AND f.recorded @> :batch_seq::bigint
   ORDER BY published DESC, kind, source LIMIT 1) AS found;
