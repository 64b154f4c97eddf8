-- name: sum_receipts_to_cut_off
-- Sums what arrived up to the last cut-off; NULL where another process is at it. Receipts since the last time.
SELECT sum_receipts();

-- name: list_source_states
-- Each source: what arrived, by fate, when last, and the time of the newest fact in its last batch; sums, the
-- receipts since them, and the facts of one batch a source, of one stored day by BRIN (batch_seq). Then those of which
-- everything was refused, so that they are no sources yet: quarantine (source, received_at), some steps for each.
WITH RECURSIVE refused AS (
  (SELECT q.source FROM quarantine q ORDER BY q.source LIMIT 1)
  UNION ALL
  SELECT (SELECT q.source FROM quarantine q WHERE q.source > r.source ORDER BY q.source LIMIT 1)
    FROM refused r WHERE r.source IS NOT NULL
), unknown AS (
  SELECT r.source FROM refused r
   WHERE r.source IS NOT NULL AND NOT EXISTS (SELECT FROM source s WHERE s.source = r.source) LIMIT 100
), later AS (
  SELECT coalesce(r.source_id, 0) AS source_id, sum(r.received)::bigint AS received,
         sum(r.counted)::bigint AS counted, sum(r.duplicate)::bigint AS duplicate,
         sum(r.conflict)::bigint AS conflict, sum(r.quarantined)::bigint AS quarantined,
         sum(r.superseded)::bigint AS superseded, sum(r.suspense)::bigint AS suspense,
         max(r.received_at) AS last_received_at,
         max(r.batch_seq) FILTER (WHERE r.counted + r.suspense > 0) AS last_batch_seq
    FROM receipt r WHERE r.batch_seq > (SELECT m.batch_seq FROM receipt_summed m) GROUP BY 1
), sums AS (
  SELECT t.source_id, sum(t.received)::bigint AS received, sum(t.counted)::bigint AS counted,
         sum(t.duplicate)::bigint AS duplicate, sum(t.conflict)::bigint AS conflict,
         sum(t.quarantined)::bigint AS quarantined, sum(t.superseded)::bigint AS superseded,
         sum(t.suspense)::bigint AS suspense, max(t.last_received_at) AS last_received_at,
         max(t.last_batch_seq) AS last_batch_seq
    FROM (SELECT * FROM receipt_total UNION ALL SELECT * FROM later) t GROUP BY 1
)
SELECT s.source, s.form, sums.received, sums.counted, sums.duplicate, sums.conflict,
       sums.quarantined, sums.superseded, sums.suspense, sums.last_received_at, newest.last_event_at
  FROM source s
  LEFT JOIN sums USING (source_id)
  LEFT JOIN LATERAL (
    SELECT (max(r.received_at) AT TIME ZONE 'UTC')::date AS day
      FROM receipt r WHERE r.batch_seq = sums.last_batch_seq) stored ON true
  LEFT JOIN LATERAL (
    SELECT max(at) AS last_event_at FROM (
      SELECT max(f.time) AS at FROM usage_fact f
       WHERE f.stored_day = stored.day AND f.batch_seq = sums.last_batch_seq AND f.source_id = s.source_id
      UNION ALL
      SELECT max(n.last_time) FROM usage_chunk h CROSS JOIN unnest(h.source_ids, h.last_times) AS n(source_id, last_time)
       WHERE h.stored_day = stored.day AND h.batch_seq = sums.last_batch_seq AND n.source_id = s.source_id
      UNION ALL
      SELECT max(n.last_time)
        FROM merged_chunk h CROSS JOIN unnest(h.source_ids, h.last_batch_seqs, h.last_times) AS n(source_id, batch_seq, last_time)
       WHERE h.stored_day = stored.day AND h.last_batch_seq >= sums.last_batch_seq
         AND n.batch_seq = sums.last_batch_seq AND n.source_id = s.source_id
      UNION ALL
      SELECT max(g.sampled_at) FROM gpu_reading g
       WHERE g.stored_day = stored.day AND g.batch_seq = sums.last_batch_seq AND g.source_id = s.source_id
      UNION ALL
      SELECT max(c.scraped_at) FROM counter_reading c
       WHERE c.stored_day = stored.day AND c.batch_seq = sums.last_batch_seq AND c.source_id = s.source_id
      UNION ALL
      SELECT max(m.until) FROM meter_gap m
       WHERE m.stored_day = stored.day AND m.batch_seq = sums.last_batch_seq AND m.source_id = s.source_id
    ) each) newest ON true
UNION ALL
SELECT u.source, NULL, n.quarantined, 0, 0, 0, n.quarantined, 0, 0, n.last_received_at, NULL
  FROM unknown u
 CROSS JOIN LATERAL (SELECT sum(q.items)::bigint AS quarantined, max(q.received_at) AS last_received_at
                       FROM quarantine q WHERE q.source = u.source) n
 ORDER BY source;

-- name: sum_receipts
-- What arrived in all, by fate; sums, and the receipts since them.
SELECT coalesce(sum(received), 0)::bigint AS received, coalesce(sum(counted), 0)::bigint AS counted,
       coalesce(sum(duplicate), 0)::bigint AS duplicate,
       coalesce(sum(conflict), 0)::bigint AS conflict,
       coalesce(sum(quarantined), 0)::bigint AS quarantined,
       coalesce(sum(superseded), 0)::bigint AS superseded,
       coalesce(sum(suspense), 0)::bigint AS suspense
  FROM (SELECT received, counted, duplicate, conflict, quarantined, superseded, suspense FROM receipt_total
        UNION ALL
        SELECT received, counted, duplicate, conflict, quarantined, superseded, suspense FROM receipt
         WHERE batch_seq > (SELECT m.batch_seq FROM receipt_summed m)) t;

-- name: list_sequence_gaps
-- Numbers missing before the last batch of each producer's epoch and owner, which begins at 1; a range or a few for each
-- epoch, and the batches since those were made by BRIN (batch_seq). What the house sent under a number is missed of
-- nobody: a key may have been bound since.
WITH arrived AS (
  SELECT t.source_id, t.producer, t.epoch, t.owner, range_agg(t.arrived) AS arrived
    FROM (SELECT source_id, producer, epoch, owner, arrived FROM arrived_batch
          UNION ALL
          SELECT source_id, producer, epoch, owner, range_agg(int8range(sequence, sequence, '[]')) FROM ingest_batch
           WHERE batch_seq > (SELECT m.batch_seq FROM receipt_summed m) GROUP BY 1, 2, 3, 4) t
   GROUP BY 1, 2, 3, 4
)
SELECT s.source, a.producer, a.epoch, a.owner, lower(gap) AS first_missing, upper(gap) - 1 AS last_missing
  FROM arrived a
  JOIN source s USING (source_id)
  LEFT JOIN arrived h ON h.source_id = a.source_id AND h.producer = a.producer AND h.epoch = a.epoch AND h.owner = ''
 CROSS JOIN LATERAL unnest(int8multirange(int8range(1, greatest(upper(a.arrived), 1)))
                           - a.arrived - coalesce(h.arrived, '{}')) gap
 ORDER BY s.source, a.producer, a.epoch, a.owner, first_missing;

-- name: list_open_batches
-- Batch numbers drawn and not yet committed, oldest first: nothing after the first is seen by a cut-off; locks.
SELECT batch_seq, pid, application, waits_for, quiet_since, began_at FROM list_open_batches() ORDER BY batch_seq;

-- name: end_frozen_sessions
-- Ends sessions that hold a batch number and did nothing for a while; locks.
SELECT batch_seq, pid, application, quiet_since, ended_at FROM end_frozen_sessions(make_interval(secs => :quiet_s));

-- name: list_ended_sessions
-- The last sessions that were ended, newest first; a scan, there are few.
SELECT batch_seq, pid, application, quiet_since, ended_at FROM ended_session ORDER BY ended_at DESC LIMIT :most;

-- name: list_kafka_positions
-- How far each partition was read; a scan, there are few.
SELECT topic, partition, next_offset FROM kafka_position ORDER BY topic, partition;

-- name: list_kafka_gaps
-- Offsets the broker no longer had; a scan, there are few.
SELECT p.topic, g.partition, g.from_offset, g.to_offset, g.noticed_at
  FROM kafka_gap g LEFT JOIN kafka_position p USING (cluster_id, topic_id, partition)
 ORDER BY p.topic, g.partition, g.from_offset;

-- name: list_stage_states
-- The newest run of each stage and how many batches were drawn since; stage_run (stage, run_id), two probes a stage.
WITH RECURSIVE stages AS (
  (SELECT r.stage FROM stage_run r ORDER BY r.stage LIMIT 1)
  UNION ALL
  SELECT (SELECT r.stage FROM stage_run r WHERE r.stage > s.stage ORDER BY r.stage LIMIT 1)
    FROM stages s WHERE s.stage IS NOT NULL
)
SELECT s.stage, last.batch_seq, last.drawn_at AS ran_at,
       greatest(coalesce(pg_sequence_last_value('batch_seq'), 0) - last.batch_seq, 0) AS behind
  FROM stages s
 CROSS JOIN LATERAL (SELECT c.batch_seq, c.drawn_at FROM stage_run r JOIN cut_off c USING (cut_off_id)
                      WHERE r.stage = s.stage ORDER BY r.run_id DESC LIMIT 1) last
 WHERE s.stage IS NOT NULL
 ORDER BY s.stage;

-- name: count_quarantined
-- Unreadable events that were neither replayed nor dismissed; the sum, those since it by index (batch_seq), and all
-- replays and dismissals by primary key.
SELECT (m.quarantined + (SELECT coalesce(sum(q.items), 0) FROM quarantine q WHERE q.batch_seq > m.batch_seq)
     - (SELECT coalesce(sum(q.items), 0) FROM quarantine_replay JOIN quarantine q USING (quarantine_id))
     - (SELECT coalesce(sum(q.items), 0) FROM quarantine_dismissal JOIN quarantine q USING (quarantine_id)))::bigint
  FROM receipt_summed m;

-- name: count_day_tables
-- How many days have tables of their own, how many locks a query takes that looks through all of them, indexes included, and
-- how many there are for all sessions.
SELECT count(DISTINCT d.bounds)::int AS days, (count(*) + coalesce(sum(d.indexes), 0))::int AS locks,
       current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int AS locks_max
  FROM (SELECT pg_get_expr(c.relpartbound, c.oid) AS bounds, (SELECT count(*) FROM pg_index x WHERE x.indrelid = c.oid) AS indexes
          FROM pg_partitioned_table p
          JOIN pg_inherits i ON i.inhparent = p.partrelid
          JOIN pg_class c ON c.oid = i.inhrelid
         WHERE p.partstrat = 'r') d;

-- name: count_dead_letters
-- Whole records that could not be stored and wait; partial index of quarantine_raw.
SELECT count(*) FROM quarantine_raw r
 WHERE r.sent_as IS NOT NULL
   AND NOT EXISTS (SELECT FROM quarantine_replay p WHERE p.quarantine_id = r.quarantine_id)
   AND NOT EXISTS (SELECT FROM quarantine_dismissal d WHERE d.quarantine_id = r.quarantine_id);

-- name: list_quarantine
-- Unreadable events not taken up yet, of a reason or (NULL) any, newest first, below a given id; primary key.
SELECT q.quarantine_id, q.source, q.event_id, q.reason, q.detail, q.received_at, q.items
  FROM quarantine q
 WHERE q.quarantine_id < :before AND (:reason::text IS NULL OR q.reason = :reason)
   AND NOT EXISTS (SELECT FROM quarantine_replay p WHERE p.quarantine_id = q.quarantine_id)
   AND NOT EXISTS (SELECT FROM quarantine_dismissal d WHERE d.quarantine_id = q.quarantine_id)
 ORDER BY q.quarantine_id DESC LIMIT :rows;

-- name: find_quarantine_raw
-- The bytes of one that could not be read, where they are still kept; primary key.
SELECT raw, truncated FROM quarantine_raw WHERE quarantine_id = :quarantine_id;

-- name: list_suspense
-- Usage nobody owns, by the name its events give, but for what was dismissed and stands as it stood then;
-- usage_delta (customer_id, window_start), suspense_dismissal by primary key.
SELECT w.* FROM (
  SELECT k.customer_ref, min(d.window_start) AS first_window, max(d.window_start) AS last_window,
         sum(d.requests) AS requests,
         sum(d.uncached) + sum(d.cache_read) + sum(d.cache_write) AS input_tokens,
         sum(d.visible) + sum(d.reasoning) AS output_tokens
    FROM usage_delta d JOIN usage_key k USING (usage_key_id)
   WHERE d.customer_id IS NULL
   GROUP BY k.customer_ref
  HAVING sum(d.requests) <> 0
      OR sum(d.uncached) + sum(d.cache_read) + sum(d.cache_write) + sum(d.visible) + sum(d.reasoning) <> 0) w
 WHERE NOT EXISTS (SELECT FROM suspense_dismissal x
                    WHERE x.customer_ref = w.customer_ref AND x.requests = w.requests
                      AND x.input_tokens = w.input_tokens AND x.output_tokens = w.output_tokens)
 ORDER BY w.customer_ref;

-- name: sum_usage_marks
-- Requests of a period as known at a cut-off, and how many of them lack what; usage_delta and usage_mark (customer_id,
-- window_start).
WITH requests AS (
  SELECT coalesce(sum(d.requests), 0) AS requests
    FROM usage_delta d
   WHERE d.window_start >= :since AND d.window_start < :until AND d.batch_seq <= :batch_seq
), marks AS (
  SELECT coalesce(sum(d.estimated), 0) AS estimated, coalesce(sum(d.incomplete), 0) AS incomplete,
         coalesce(sum(d.input_unknown), 0) AS input_unknown,
         coalesce(sum(d.output_unknown), 0) AS output_unknown,
         coalesce(sum(d.cached_unknown), 0) AS cached_unknown,
         coalesce(sum(d.written_unknown), 0) AS written_unknown,
         coalesce(sum(d.reasoning_unknown), 0) AS reasoning_unknown
    FROM usage_mark d
   WHERE d.window_start >= :since AND d.window_start < :until AND d.batch_seq <= :batch_seq
)
SELECT r.requests, m.estimated, m.incomplete, m.input_unknown, m.output_unknown, m.cached_unknown, m.written_unknown,
       m.reasoning_unknown
  FROM requests r, marks m;
