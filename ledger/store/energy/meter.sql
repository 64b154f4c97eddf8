-- name: find_readings
-- Readings of GPUs inside [since, until), and of each GPU the neighbour on either side, so that the
-- range's edges can be interpolated; of equal readings of one reader the first stored stands.
-- Index: gpu_reading (gpu_uuid, sampled_at).
SELECT DISTINCT ON (found.gpu_uuid, found.sampled_at, found.energy_mj, found.epoch, s.source)
       found.gpu_uuid, found.epoch, found.sampled_at, found.energy_mj, found.power_mw, found.method, found.quality,
       found.boot_id, found.driver_load, found.monotonic_us, s.source
  FROM (
    SELECT r.* FROM gpu_reading r
     WHERE r.gpu_uuid = ANY(:gpu_uuids::text[]) AND r.sampled_at >= :since AND r.sampled_at < :until
       AND r.batch_seq <= :batch_seq
    UNION ALL
    SELECT before.* FROM unnest(:gpu_uuids::text[]) AS named(gpu_uuid), LATERAL (
      SELECT r.* FROM gpu_reading r
       WHERE r.gpu_uuid = named.gpu_uuid AND r.sampled_at < :since AND r.batch_seq <= :batch_seq
       ORDER BY r.sampled_at DESC, r.energy_mj DESC LIMIT 1) before
    UNION ALL
    SELECT after.* FROM unnest(:gpu_uuids::text[]) AS named(gpu_uuid), LATERAL (
      SELECT r.* FROM gpu_reading r
       WHERE r.gpu_uuid = named.gpu_uuid AND r.sampled_at >= :until AND r.batch_seq <= :batch_seq
       ORDER BY r.sampled_at, r.energy_mj LIMIT 1) after
  ) found JOIN source s USING (source_id)
 ORDER BY found.gpu_uuid, found.sampled_at, found.energy_mj, found.epoch, s.source, found.batch_seq, found.ordinal;

-- name: copy_readings
-- What find_readings finds, a row for each GPU: its place among those asked for, and numbers of each reading side by side,
-- -1 for what is not known. A stream is alike where a reader, its epoch, the boot and the driver's load are, but for its
-- two lowest bits: whether the counter covers a module, and whether the reading is good. An array is sent in a tenth of the
-- time of as many rows. Index: gpu_reading (gpu_uuid, sampled_at).
SELECT named.board::int AS board, read.*
  FROM unnest(:gpu_uuids::text[]) WITH ORDINALITY AS named(gpu_uuid, board)
 CROSS JOIN LATERAL (
   SELECT array_agg(found.sampled_at) AS sampled_at, array_agg(found.energy_mj) AS energy_mj,
          array_agg(coalesce(found.power_mw, -1)) AS power_mw, array_agg(coalesce(found.monotonic_us, -1)) AS monotonic_us,
          array_agg((hashtextextended(found.epoch, found.source_id) # coalesce(hashtextextended(found.boot_id, -1), 0)
                     # coalesce(hashtextextended(found.driver_load, -2), 0)) & -4
                    | CASE found.scope WHEN 'module' THEN 2 ELSE 0 END
                    | CASE found.quality WHEN 'good' THEN 1 ELSE 0 END) AS stream
     FROM (
       SELECT r.* FROM gpu_reading r
        WHERE r.gpu_uuid = named.gpu_uuid AND r.sampled_at >= :since::timestamptz AND r.sampled_at < :until::timestamptz
          AND r.batch_seq <= :batch_seq::bigint
       UNION ALL
       (SELECT r.* FROM gpu_reading r
         WHERE r.gpu_uuid = named.gpu_uuid AND r.sampled_at < :since::timestamptz AND r.batch_seq <= :batch_seq::bigint
         ORDER BY r.sampled_at DESC, r.energy_mj DESC LIMIT 1)
       UNION ALL
       (SELECT r.* FROM gpu_reading r
         WHERE r.gpu_uuid = named.gpu_uuid AND r.sampled_at >= :until::timestamptz AND r.batch_seq <= :batch_seq::bigint
         ORDER BY r.sampled_at, r.energy_mj LIMIT 1)) found
   HAVING count(*) > 0) read;

-- name: find_touched_readings
-- Per GPU the spans whose energy readings stored in (since_seq, batch_seq] can have changed: from the
-- reading before the first of a window to the reading after its last; and whether the counter falls there, among them or
-- towards those neighbours. What a counter shows first and last is looked up: as pairs with their times, which are compared
-- one by one, that takes longer than all the rest.
-- Index: gpu_reading BRIN (batch_seq), gpu_reading (gpu_uuid, sampled_at).
SELECT touched.gpu_uuid,
       coalesce(before.sampled_at, touched.first_at) AS first_at,
       coalesce(after.sampled_at, touched.last_at) AS last_at,
       touched.highest_mj > greatest(first.energy_mj, last.energy_mj) OR touched.lowest_mj < first.energy_mj
       OR coalesce(before.energy_mj > touched.lowest_mj, false)
       OR coalesce(after.energy_mj < touched.highest_mj, false) AS falls
  FROM (
    SELECT r.gpu_uuid, min(r.sampled_at) AS first_at, max(r.sampled_at) AS last_at,
           min(r.energy_mj) AS lowest_mj, max(r.energy_mj) AS highest_mj,
           min(r.stored_day) AS since_day, max(r.stored_day) AS until_day
      FROM gpu_reading r
     WHERE r.batch_seq > :since_seq AND r.batch_seq <= :batch_seq
     GROUP BY r.gpu_uuid, date_bin('15 minutes', r.sampled_at, 'epoch'::timestamptz)
  ) touched
 CROSS JOIN LATERAL (
    SELECT min(r.energy_mj) AS energy_mj FROM gpu_reading r
     WHERE r.stored_day BETWEEN touched.since_day AND touched.until_day AND r.gpu_uuid = touched.gpu_uuid
       AND r.sampled_at = touched.first_at AND r.batch_seq > :since_seq AND r.batch_seq <= :batch_seq) first
 CROSS JOIN LATERAL (
    SELECT max(r.energy_mj) AS energy_mj FROM gpu_reading r
     WHERE r.stored_day BETWEEN touched.since_day AND touched.until_day AND r.gpu_uuid = touched.gpu_uuid
       AND r.sampled_at = touched.last_at AND r.batch_seq > :since_seq AND r.batch_seq <= :batch_seq) last
  LEFT JOIN LATERAL (
    SELECT r.sampled_at, r.energy_mj FROM gpu_reading r
     WHERE r.gpu_uuid = touched.gpu_uuid AND r.sampled_at < touched.first_at AND r.batch_seq <= :batch_seq
     ORDER BY r.sampled_at DESC LIMIT 1) before ON true
  LEFT JOIN LATERAL (
    SELECT r.sampled_at, r.energy_mj FROM gpu_reading r
     WHERE r.gpu_uuid = touched.gpu_uuid AND r.sampled_at > touched.last_at AND r.batch_seq <= :batch_seq
     ORDER BY r.sampled_at LIMIT 1) after ON true
 ORDER BY touched.gpu_uuid, first_at;

-- name: find_metered_periods
-- Per GPU the time between its first and last reading of those stored since a day. A few probes per GPU and stored day.
-- Index: gpu_reading (gpu_uuid, sampled_at).
WITH RECURSIVE gpus AS (
  (SELECT r.gpu_uuid FROM gpu_reading r WHERE r.stored_day >= :stored_since::date ORDER BY r.gpu_uuid LIMIT 1)
  UNION ALL
  SELECT (SELECT r.gpu_uuid FROM gpu_reading r
           WHERE r.stored_day >= :stored_since::date AND r.gpu_uuid > gpus.gpu_uuid ORDER BY r.gpu_uuid LIMIT 1)
    FROM gpus WHERE gpus.gpu_uuid IS NOT NULL
)
SELECT gpus.gpu_uuid, first.sampled_at AS first_at, last.sampled_at AS last_at
  FROM gpus
 CROSS JOIN LATERAL (
   SELECT r.sampled_at FROM gpu_reading r
    WHERE r.stored_day >= :stored_since::date AND r.gpu_uuid = gpus.gpu_uuid AND r.batch_seq <= :batch_seq
    ORDER BY r.sampled_at LIMIT 1) first
 CROSS JOIN LATERAL (
   SELECT r.sampled_at FROM gpu_reading r
    WHERE r.stored_day >= :stored_since::date AND r.gpu_uuid = gpus.gpu_uuid AND r.batch_seq <= :batch_seq
    ORDER BY r.sampled_at DESC LIMIT 1) last
 WHERE gpus.gpu_uuid IS NOT NULL
 ORDER BY gpus.gpu_uuid;

-- name: find_meter_windows
-- The energy of GPUs in [since, until) as it stood at a cut-off. Index: primary key.
SELECT m.gpu_uuid, m.window_start, m.revision, m.metered_mj, m.estimated_mj, m.covered_s, m.findings
  FROM meters_at(:batch_seq) m
 WHERE m.gpu_uuid = ANY(:gpu_uuids::text[]) AND m.window_start >= :since AND m.window_start < :until
 ORDER BY m.gpu_uuid, m.window_start;

-- name: find_engine_counters
-- Cumulative token counters of an engine in [since, until], and of each series the one before: that of the last scrape
-- of its metric, or an older one of the same run, of the day before, where another process answered that scrape.
-- Index: counter_reading (engine_instance, metric, scraped_at), a few probes a metric and day.
WITH metrics AS (
  SELECT unnest(:metrics::text[]) AS metric
), inside AS (
  SELECT i.* FROM metrics m CROSS JOIN LATERAL (
    SELECT c.* FROM counter_reading c
     WHERE c.stored_day >= ((:since::timestamptz - interval '1 day') AT TIME ZONE 'UTC')::date
       AND c.engine_instance = :engine_instance AND c.metric = m.metric
       AND c.scraped_at >= :since AND c.scraped_at <= :until AND c.batch_seq <= :batch_seq OFFSET 0) i
), last AS (
  SELECT l.* FROM metrics m CROSS JOIN LATERAL (
    SELECT c.scraped_at FROM counter_reading c
     WHERE c.engine_instance = :engine_instance AND c.metric = m.metric AND c.scraped_at < :since
       AND c.batch_seq <= :batch_seq ORDER BY c.scraped_at DESC LIMIT 1) t
  CROSS JOIN LATERAL (
    SELECT c.* FROM counter_reading c
     WHERE c.engine_instance = :engine_instance AND c.metric = m.metric AND c.scraped_at = t.scraped_at
       AND c.batch_seq <= :batch_seq OFFSET 0) l
), older AS (
  SELECT o.* FROM (SELECT i.metric, i.labels, i.run_id FROM inside i
                   EXCEPT SELECT l.metric, l.labels, l.run_id FROM last l) s
  CROSS JOIN LATERAL (
    SELECT c.* FROM counter_reading c
     WHERE c.engine_instance = :engine_instance AND c.metric = s.metric AND c.labels = s.labels AND c.run_id = s.run_id
       AND c.scraped_at >= :since::timestamptz - interval '1 day' AND c.scraped_at < :since AND c.batch_seq <= :batch_seq
     ORDER BY c.scraped_at DESC LIMIT 1) o
), found AS (SELECT * FROM last UNION ALL SELECT * FROM older UNION ALL SELECT * FROM inside)
SELECT found.engine_instance, found.run_id, found.run_started_at, found.scraped_at, found.metric,
       found.labels, found.value, found.precision_loss
  FROM found
 ORDER BY found.metric, found.labels, found.scraped_at, found.batch_seq, found.ordinal;

-- name: list_counters
-- Cumulative counters of some engines in [since, until], known at a cut-off. Index: counter_reading (engine_instance,
-- metric, scraped_at), a few probes a metric and day.
SELECT c.engine_instance, c.run_id, c.run_started_at, c.scraped_at, c.metric, c.labels, c.value, c.precision_loss
  FROM unnest(:engine_instances::text[]) AS e(engine_instance) CROSS JOIN unnest(:metrics::text[]) AS m(metric)
 CROSS JOIN LATERAL (
   SELECT r.* FROM counter_reading r
    WHERE r.stored_day >= ((:since::timestamptz - interval '1 day') AT TIME ZONE 'UTC')::date
      AND r.engine_instance = e.engine_instance AND r.metric = m.metric
      AND r.scraped_at >= :since AND r.scraped_at <= :until AND r.batch_seq <= :batch_seq OFFSET 0) c
 ORDER BY c.engine_instance, c.scraped_at;

-- name: find_touched_counters
-- When engines were scraped whose token counters were stored in (since_seq, batch_seq], once for each quarter hour that
-- they are in. Index: BRIN (batch_seq).
SELECT DISTINCT date_bin('15 minutes', c.scraped_at - n.back, 'epoch'::timestamptz) AS window_start
  FROM counter_reading c CROSS JOIN (VALUES (interval '0'), (interval '1 microsecond')) AS n(back)
 WHERE c.batch_seq > :since_seq AND c.batch_seq <= :batch_seq AND c.metric = ANY(:metrics::text[])
 ORDER BY 1;

-- name: list_engine_instances
-- Engine instances with counters in [since, until) known at the cut-off; a scan of the days stored since. A clock
-- may run ahead of ours by minutes, hence the day before.
SELECT DISTINCT c.engine_instance FROM counter_reading c
 WHERE c.stored_day >= ((:since::timestamptz - interval '1 day') AT TIME ZONE 'UTC')::date
   AND c.scraped_at >= :since AND c.scraped_at < :until AND c.batch_seq <= :batch_seq
 ORDER BY c.engine_instance;
