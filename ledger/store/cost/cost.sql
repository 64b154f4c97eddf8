-- name: list_cost_entities
-- Entities that own or lease hardware, or run a deployment.
SELECT e.entity_id, e.currency, e.zone FROM entity e
 WHERE (:entity_id::text IS NULL OR e.entity_id = :entity_id)
   AND (EXISTS (SELECT FROM asset a WHERE a.entity_id = e.entity_id)
     OR EXISTS (SELECT FROM deployment d WHERE d.entity_id = e.entity_id))
 ORDER BY e.entity_id;

-- name: find_received_at
-- When the last batch of events known at a cut-off was received, or until when nothing was. Index: receipt's primary key.
SELECT r.received_at FROM receipt r WHERE r.batch_seq <= :batch_seq
 ORDER BY r.batch_seq DESC, r.ordinal_from DESC LIMIT 1;

-- name: add_silence
-- A receipt of nothing: until then nothing was received since the one before.
INSERT INTO receipt (batch_seq, ordinal_from, lane, transport, received_at, received)
VALUES (draw_batch_seq(), 0, 0, 'internal', :until, 0);

-- name: find_unread_windows
-- Windows in which a GPU of some deployments, known at the cut-off, was not read all along as they are allocated.
-- Index: meter_window's primary key.
SELECT DISTINCT w.window_start
  FROM unnest(:windows::timestamptz[]) AS w(window_start)
  JOIN deployment d ON d.deployment_id = ANY(:deployment_ids::text[]) AND d.recorded @> :batch_seq::bigint
                   AND d.valid @> w.window_start
 CROSS JOIN LATERAL unnest(d.gpu_uuids) AS g(gpu_uuid)
  LEFT JOIN LATERAL (SELECT m.covered_s, m.findings FROM meters_at(as_it_stands()) m
                      WHERE m.gpu_uuid = g.gpu_uuid AND m.window_start = w.window_start OFFSET 0) m ON true
 WHERE m.covered_s IS NULL OR m.covered_s < 900
    OR m.findings && ARRAY['counter_reset', 'driver_reload', 'reboot']
 ORDER BY w.window_start;

-- name: find_assets
-- Terms of an entity's hardware known at the cut-off that began before a time, oldest first.
SELECT a.asset_id, a.entity_id, a.facility_id, a.name, a.terms, a.gpu_count, a.currency, a.purchase_price,
       a.residual_value, a.in_service, a.life_months, a.gpu_hour_rate, a.all_in,
       lower(a.valid) AS valid_from, nullif(upper(a.valid), 'infinity') AS valid_to, a.method, a.rate_percent
  FROM asset a
 WHERE a.recorded @> :batch_seq::bigint AND lower(a.valid) < :until
   AND (a.entity_id = :entity_id OR a.asset_id IN (
        SELECT d.asset_id FROM deployment d WHERE d.entity_id = :entity_id AND d.recorded @> :batch_seq::bigint))
 ORDER BY a.asset_id, valid_from;

-- name: find_deployments
-- Deployments of all entities known at the cut-off and valid somewhere in [since, until): who claims an
-- engine instance is decided between all of them.
SELECT d.deployment_id, d.entity_id, d.asset_id, d.model, d.tier, d.gpu_count, d.gpu_uuids, d.engine_instances,
       coalesce(w.version, d.weight_version) AS weight_version,
       coalesce(w.uncached, d.weight_uncached) AS weight_uncached,
       coalesce(w.cache_read, d.weight_cache_read) AS weight_cache_read,
       coalesce(w.cache_write, d.weight_cache_write) AS weight_cache_write,
       coalesce(w.output, d.weight_output) AS weight_output,
       coalesce(w.context, d.weight_context) AS weight_context,
       coalesce(w.step, d.weight_step) AS weight_step,
       coalesce(w.idle_mw_per_gpu, d.idle_mw_per_gpu) AS idle_mw_per_gpu, d.slot_s, d.prefill_chunk, d.instance_gpus,
       d.gpu_parts, d.mig_slices, d.gpu_split, w.weight_set_id, coalesce(w.source, 'declared') AS weight_source,
       lower(part.valid) AS valid_from, nullif(upper(part.valid), 'infinity') AS valid_to
  FROM weights_at(:batch_seq) part
  JOIN deployment d USING (deployment_row_id)
  LEFT JOIN weight_set w USING (weight_set_row_id)
 WHERE part.valid && tstzrange(:since, :until)
 ORDER BY d.deployment_id, valid_from;

-- name: find_gpu_homes
-- The entity and asset of every GPU any deployment ever named, known at the cut-off: the latest one stands.
SELECT DISTINCT ON (named.gpu_uuid) named.gpu_uuid, d.entity_id, d.asset_id
  FROM deployment d CROSS JOIN LATERAL unnest(d.gpu_uuids) AS named(gpu_uuid)
 WHERE d.recorded @> :batch_seq::bigint
 ORDER BY named.gpu_uuid, lower(d.valid) DESC, d.deployment_id;

-- name: find_facilities
-- The sites an entity uses. Index: primary keys.
SELECT f.facility_id, f.zone FROM facility f
 WHERE f.entity_id = :entity_id
    OR f.facility_id IN (SELECT a.facility_id FROM asset a WHERE a.entity_id = :entity_id
                            OR a.asset_id IN (SELECT d.asset_id FROM deployment d WHERE d.entity_id = :entity_id))
 ORDER BY f.facility_id;

-- name: find_pues
-- Uplifts of sites known at the cut-off and valid somewhere in [since, until).
SELECT p.facility_id, p.pue, p.host_mw_per_gpu, lower(p.valid) AS valid_from, nullif(upper(p.valid), 'infinity') AS valid_to
  FROM facility_pue p
 WHERE p.facility_id = ANY(:facility_ids::text[]) AND p.recorded @> :batch_seq::bigint
   AND p.valid && tstzrange(:since, :until)
 ORDER BY p.facility_id, valid_from;

-- name: find_energy_meters
-- What meters of sites measure and their calibration, known at the cut-off and valid somewhere in [since, until).
SELECT m.meter, m.facility_id, m.measures, m.gpu_uuids, m.gain, m.offset_mw,
       lower(m.valid) AS valid_from, nullif(upper(m.valid), 'infinity') AS valid_to
  FROM energy_meter m
 WHERE m.facility_id = ANY(:facility_ids::text[]) AND m.recorded @> :batch_seq::bigint
   AND m.valid && tstzrange(:since, :until)
 ORDER BY m.meter, valid_from;

-- name: find_tariff_prices
-- Prices of power at sites known at the cut-off and valid somewhere in [since, until), with their currency.
SELECT p.facility_id, p.tariff_id, t.currency, p.price_per_mwh,
       lower(p.period) AS valid_from, nullif(upper(p.period), 'infinity') AS valid_to
  FROM tariff_price p JOIN tariff t USING (tariff_id)
 WHERE p.facility_id = ANY(:facility_ids::text[]) AND p.recorded @> :batch_seq::bigint
   AND p.period && tstzrange(:since, :until)
 ORDER BY p.facility_id, valid_from;

-- name: find_changed_inputs
-- Periods in which a slow fact of an entity became known or ceased to be, in (since_seq, batch_seq]. What hardware was
-- bought for bears on all that is written off later.
WITH sites AS (
  SELECT f.facility_id FROM facility f WHERE f.entity_id = :entity_id
  UNION SELECT a.facility_id FROM asset a WHERE a.entity_id = :entity_id
     OR a.asset_id IN (SELECT d.asset_id FROM deployment d WHERE d.entity_id = :entity_id)
), changed AS (
  SELECT CASE a.terms WHEN 'owned' THEN tstzrange(lower(a.valid), NULL) ELSE a.valid END, a.recorded
    FROM asset a
   WHERE a.entity_id = :entity_id
      OR a.asset_id IN (SELECT d.asset_id FROM deployment d WHERE d.entity_id = :entity_id)
  UNION ALL SELECT d.valid, d.recorded FROM deployment d
  UNION ALL SELECT w.valid, w.recorded FROM weight_set w
  UNION ALL SELECT p.valid, p.recorded FROM facility_pue p JOIN sites USING (facility_id)
  UNION ALL SELECT m.valid, m.recorded FROM energy_meter m JOIN sites USING (facility_id)
  UNION ALL SELECT p.period, p.recorded FROM tariff_price p JOIN sites USING (facility_id)
)
SELECT lower(merged.period) AS valid_from, nullif(upper(merged.period), 'infinity') AS valid_to
  FROM (SELECT unnest(range_agg(c.valid)) AS period FROM changed c
         WHERE (lower(c.recorded) > :since_seq AND lower(c.recorded) <= :batch_seq)
            OR (upper(c.recorded) > :since_seq AND upper(c.recorded) <= :batch_seq)) merged
 ORDER BY valid_from;

-- name: find_hardware_periods
-- Merged periods in which an entity has hardware or runs a deployment, known at the cut-off.
SELECT lower(merged.period) AS valid_from, nullif(upper(merged.period), 'infinity') AS valid_to
  FROM (SELECT unnest(range_agg(h.valid)) AS period FROM (
          SELECT a.valid FROM asset a WHERE a.entity_id = :entity_id AND a.recorded @> :batch_seq::bigint
          UNION ALL
          SELECT d.valid FROM deployment d WHERE d.entity_id = :entity_id AND d.recorded @> :batch_seq::bigint) h) merged
 ORDER BY valid_from;

-- name: find_costing_periods
-- Merged periods in which hardware that an entity owns or deploys on costs something, whatever happens there.
SELECT lower(merged.period) AS valid_from, nullif(upper(merged.period), 'infinity') AS valid_to
  FROM (SELECT unnest(range_agg(c.period)) AS period FROM (
          SELECT CASE a.terms WHEN 'lease' THEN a.valid ELSE a.valid *
                   tstzrange(a.in_service, a.in_service + make_interval(months => a.life_months)) END AS period
            FROM asset a
           WHERE a.recorded @> :batch_seq::bigint
             AND (a.gpu_hour_rate > 0 OR a.purchase_price > a.residual_value OR a.rate_percent > 0)
             AND (a.entity_id = :entity_id OR a.asset_id IN (
                  SELECT d.asset_id FROM deployment d
                   WHERE d.entity_id = :entity_id AND d.recorded @> :batch_seq::bigint))) c) merged
 ORDER BY valid_from;

-- name: find_eventful_windows
-- Windows of [since, until) with work of anybody, or with costs of an entity that stand.
-- Index: activity and activity_mask (window_start, engine_key_id), cost_allocation (entity_id, window_start).
SELECT a.window_start FROM activity a
 WHERE a.window_start >= :since AND a.window_start < :until AND a.batch_seq <= :batch_seq
UNION
SELECT m.window_start FROM activity_mask m
 WHERE m.window_start >= :since AND m.window_start < :until AND m.batch_seq <= :batch_seq
UNION
SELECT c.window_start FROM cost_allocation c
 WHERE c.entity_id = :entity_id AND c.window_start >= :since AND c.window_start < :until
ORDER BY 1;

-- name: find_touched_activity
-- Windows with activity stored in (since_seq, batch_seq]. Index: BRIN (batch_seq) of both tables.
SELECT a.window_start FROM activity a WHERE a.batch_seq > :since_seq AND a.batch_seq <= :batch_seq
UNION
SELECT m.window_start FROM activity_mask m WHERE m.batch_seq > :since_seq AND m.batch_seq <= :batch_seq
ORDER BY 1;

-- name: find_touched_engines
-- The engine keys of activity stored in (since_seq, batch_seq], of some windows. Index: BRIN (batch_seq) of both tables.
SELECT a.window_start, a.engine_key_id FROM activity a
 WHERE a.batch_seq > :since_seq AND a.batch_seq <= :batch_seq AND a.window_start = ANY(:windows::timestamptz[])
UNION
SELECT m.window_start, m.engine_key_id FROM activity_mask m
 WHERE m.batch_seq > :since_seq AND m.batch_seq <= :batch_seq AND m.window_start = ANY(:windows::timestamptz[])
ORDER BY 1, 2;

-- name: find_activity
-- Tokens worked on per window, engine key and usage key at the cut-off.
-- Index: activity (window_start, engine_key_id).
SELECT a.window_start, a.engine_key_id, a.usage_key_id, u.entity_id,
       sum(a.uncached) AS uncached, sum(a.cache_read) AS cache_read,
       sum(a.cache_write) AS cache_write, sum(a.output) AS output
  FROM activity_delta a JOIN usage_key u USING (usage_key_id)
 WHERE a.window_start = ANY(:windows::timestamptz[]) AND a.batch_seq <= :batch_seq
 GROUP BY a.window_start, a.engine_key_id, a.usage_key_id, u.entity_id
HAVING sum(a.uncached) <> 0 OR sum(a.cache_read) <> 0 OR sum(a.cache_write) <> 0 OR sum(a.output) <> 0
 ORDER BY a.window_start, a.engine_key_id, a.usage_key_id;

-- name: sum_activity
-- Tokens worked on per window and engine key at the cut-off, of all engine keys or some.
-- Index: activity (window_start, engine_key_id). Arrays that are taken apart in a list of columns are kept nowhere on
-- the way, as those of activity_delta are: that takes less than half the time; and each row is added up by itself, so that
-- its keys need not be grouped.
SELECT a.window_start, a.engine_key_id, sum(k.uncached) AS uncached, sum(k.cache_read) AS cache_read,
       sum(k.cache_write) AS cache_write, sum(k.output) AS output
  FROM activity a
 CROSS JOIN LATERAL (
   SELECT sum(n.uncached) AS uncached, sum(n.cache_read) AS cache_read, sum(n.cache_write) AS cache_write,
          sum(n.output) AS output
     FROM (SELECT unnest(a.uncached) AS uncached, unnest(a.cache_read) AS cache_read,
                  unnest(a.cache_write) AS cache_write, unnest(a.output) AS output) n) k
 WHERE a.window_start = ANY(:windows::timestamptz[]) AND a.batch_seq <= :batch_seq
   AND (:engine_key_ids::bigint[] IS NULL OR a.engine_key_id = ANY(:engine_key_ids::bigint[]))
 GROUP BY a.window_start, a.engine_key_id
 ORDER BY a.window_start, a.engine_key_id;

-- name: copy_activity
-- What find_activity finds at some engine keys, as numbers of one width: a sum beyond 64 bits is the largest they have.
-- Index: activity (window_start, engine_key_id).
SELECT s.window_start, s.engine_key_id, s.usage_key_id, least(s.uncached, 9223372036854775807)::bigint AS uncached,
       least(s.cache_read, 9223372036854775807)::bigint AS cache_read,
       least(s.cache_write, 9223372036854775807)::bigint AS cache_write,
       least(s.output, 9223372036854775807)::bigint AS output
  FROM (SELECT a.window_start, a.engine_key_id, a.usage_key_id, sum(a.uncached) AS uncached,
               sum(a.cache_read) AS cache_read, sum(a.cache_write) AS cache_write, sum(a.output) AS output
          FROM activity_delta a
         WHERE a.window_start = ANY(:windows::timestamptz[]) AND a.engine_key_id = ANY(:engine_key_ids::bigint[])
           AND a.batch_seq <= :batch_seq::bigint
         GROUP BY a.window_start, a.engine_key_id, a.usage_key_id) s
 WHERE s.uncached <> 0 OR s.cache_read <> 0 OR s.cache_write <> 0 OR s.output <> 0;

-- name: find_masks
-- The seconds in which attempts ran, per window and engine key, at the cut-off.
-- Index: activity_mask (window_start, engine_key_id).
SELECT m.window_start, m.engine_key_id, bit_or(m.mask) AS mask FROM activity_mask m
 WHERE m.window_start = ANY(:windows::timestamptz[]) AND m.batch_seq <= :batch_seq
 GROUP BY m.window_start, m.engine_key_id
 ORDER BY m.window_start, m.engine_key_id;

-- name: find_key_entities
-- Whose customers' usage keys are. Index: primary key.
SELECT u.usage_key_id, u.entity_id FROM usage_key u WHERE u.usage_key_id = ANY(:usage_key_ids::bigint[])
 ORDER BY u.usage_key_id;

-- name: find_engine_keys
-- Where usage ran, by key. Index: primary key.
SELECT k.engine_key_id, k.engine_instance, k.model, k.tier FROM engine_key k
 WHERE k.engine_key_id = ANY(:engine_key_ids::bigint[])
 ORDER BY k.engine_key_id;

-- name: list_engine_keys
-- Wherever anything ever ran; a scan, there are as many as engines.
SELECT k.engine_key_id, k.engine_instance, k.model, k.tier FROM engine_key k ORDER BY k.engine_key_id;

-- name: find_pools
-- Cost pools of an entity's windows as they stand, of all scopes or some. Index: primary key.
SELECT p.scope, p.window_start, p.kind, p.revision, p.currency, p.amount
  FROM pools_at(as_it_stands()) p
 WHERE p.entity_id = :entity_id AND p.window_start = ANY(:windows::timestamptz[])
   AND (:scopes::text[] IS NULL OR p.scope = ANY(:scopes::text[]))
 ORDER BY p.scope, p.window_start, p.kind;

-- name: find_changed_costs
-- Windows of an entity whose cost lines were revised in (since_seq, batch_seq]. Index: BRIN (batch_seq).
SELECT DISTINCT c.window_start FROM cost_allocation c
 WHERE c.entity_id = :entity_id AND c.batch_seq > :since_seq AND c.batch_seq <= :batch_seq
 ORDER BY c.window_start;

-- name: sum_costs_to_book
-- What cost lines of an entity's days come to at a cut-off beyond what entries of their natural keys have booked, by kind
-- of line and terms of the hardware, of usage by tier and model: of days that were added up when they were booked last, or
-- never were, what was added to them since; else of windows revised behind its cut-off, as they are less as they
-- were then. Usage of a customer nobody knows yet is a kind of its own, suspense, and what no request claims is unattributed.
-- journal_entry (natural_key, revision), cost_day_line (entity_id, day_start), cost_allocation (entity_id, window_start).
WITH days AS MATERIALIZED (
  SELECT n.natural_key, n.since, n.until,
         coalesce((SELECT max(o.batch_seq) FROM journal_entry e JOIN cut_off o USING (cut_off_id)
                    WHERE e.natural_key = n.natural_key), -1) AS booked_seq,
         -- A run that left the day alone found nothing to book of it.
         coalesce((SELECT o.batch_seq FROM stage_run s JOIN cut_off o USING (cut_off_id)
                    WHERE s.stage = 'book_cost' AND s.entity_id = :entity_id
                      AND NOT EXISTS (SELECT FROM parked p
                                       WHERE p.stage = 'book_cost' AND p.entity_id = :entity_id
                                         AND (p.windows IS NULL OR p.windows @> n.since))
                    ORDER BY s.run_id DESC LIMIT 1), -1) AS run_seq
    FROM unnest(:natural_keys::text[], :sinces::timestamptz[], :untils::timestamptz[]) AS n (natural_key, since, until)
), told AS MATERIALIZED (
  SELECT n.natural_key, greatest(n.booked_seq, n.run_seq) AS booked_seq, d.day_start
    FROM days n JOIN cost_day d ON d.entity_id = :entity_id AND d.day_start = n.since AND d.day_end = n.until
   WHERE d.batch_seq <= greatest(n.booked_seq, n.run_seq) OR (n.booked_seq < 0 AND n.run_seq < 0 AND d.batch_seq <= :batch_seq)
), revised AS MATERIALIZED (
  SELECT DISTINCT n.natural_key, n.booked_seq, c.window_start
    FROM (SELECT * FROM days WHERE natural_key NOT IN (SELECT t.natural_key FROM told t)) n
   CROSS JOIN LATERAL (SELECT a.window_start FROM cost_allocation a
                        WHERE a.entity_id = :entity_id AND a.window_start >= n.since AND a.window_start < n.until
                          AND a.batch_seq > n.booked_seq AND a.batch_seq <= :batch_seq OFFSET 0) c
), moved AS (
  SELECT t.natural_key, l.currency::text AS currency, l.line, l.usage_key_id, l.gpu_terms, l.device_cost::numeric AS device_cost,
         l.overhead_cost::numeric AS overhead_cost, l.gpu_cost::numeric AS gpu_cost
    FROM told t JOIN cost_day_line l ON l.entity_id = :entity_id AND l.day_start = t.day_start
   WHERE l.batch_seq > t.booked_seq AND l.batch_seq <= :batch_seq
  UNION ALL
  SELECT r.natural_key, l.currency, l.line, l.usage_key_id, l.gpu_terms, l.device_cost, l.overhead_cost, l.gpu_cost
    FROM revised r
   CROSS JOIN LATERAL (SELECT n.* FROM cost_lines_at(:batch_seq) n
                        WHERE n.entity_id = :entity_id AND n.window_start = r.window_start OFFSET 0) l
  UNION ALL
  SELECT r.natural_key, l.currency, l.line, l.usage_key_id, l.gpu_terms, -l.device_cost, -l.overhead_cost, -l.gpu_cost
    FROM revised r
   CROSS JOIN LATERAL (SELECT n.* FROM cost_lines_at(r.booked_seq) n
                        WHERE n.entity_id = :entity_id AND n.window_start = r.window_start OFFSET 0) l
), summed AS (
  SELECT m.natural_key, m.currency, m.line, m.usage_key_id, m.gpu_terms, sum(m.device_cost) AS device_cost,
         sum(m.overhead_cost) AS overhead_cost, sum(m.gpu_cost) AS gpu_cost
    FROM moved m GROUP BY 1, 2, 3, 4, 5
)
SELECT s.natural_key, s.currency, CASE WHEN s.line = 'usage' AND k.customer_id IS NULL THEN 'suspense' WHEN s.line = 'unclaimed' THEN 'unattributed'
            ELSE s.line END AS line,
       s.gpu_terms, coalesce(k.tier, '') AS tier, coalesce(k.model, '') AS model, sum(s.device_cost) AS device_cost,
       sum(s.overhead_cost) AS overhead_cost, sum(s.gpu_cost) AS gpu_cost
  FROM summed s LEFT JOIN usage_key k USING (usage_key_id)
 GROUP BY 1, 2, 3, 4, 5, 6
HAVING sum(s.device_cost) <> 0 OR sum(s.overhead_cost) <> 0 OR sum(s.gpu_cost) <> 0
 ORDER BY 1, 2, 3, 4, 5, 6;
