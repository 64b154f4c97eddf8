-- name: find_last_fold
-- The cut-off of the last finished fold and when it ended; a scan of runs by primary key, newest first.
SELECT c.batch_seq, s.finished_at FROM stage_run s JOIN cut_off c USING (cut_off_id)
 WHERE s.stage = 'fold' ORDER BY s.run_id DESC LIMIT 1;

-- name: find_windows_to_fold
-- Windows stored in (since_seq, batch_seq], of all five tables; BRIN (batch_seq).
SELECT d.window_start FROM usage_delta d WHERE d.batch_seq > :since_seq AND d.batch_seq <= :batch_seq
UNION
SELECT u.window_start FROM usage_mark u WHERE u.batch_seq > :since_seq AND u.batch_seq <= :batch_seq
UNION
SELECT x.window_start FROM extra_delta x WHERE x.batch_seq > :since_seq AND x.batch_seq <= :batch_seq
UNION
SELECT a.window_start FROM activity a WHERE a.batch_seq > :since_seq AND a.batch_seq <= :batch_seq
UNION
SELECT m.window_start FROM activity_mask m WHERE m.batch_seq > :since_seq AND m.batch_seq <= :batch_seq
ORDER BY 1;

-- name: try_lock_fold
-- One step of one fold at a time, and none while a transaction has drawn a cut-off it did not commit.
SELECT pg_try_advisory_xact_lock(lock_class('cut_off'), 0);

-- name: fold_usage
-- Merges at most `most` usage rows of some windows; a row goes and comes back in one statement.
-- A sum of zero stays, because it leads to its facts; rows whose sum a column of 64 bits might not hold stay apart.
-- Index: usage_delta (customer_id, window_start).
WITH placed AS (
  SELECT d.ctid AS place, d.customer_id, d.usage_key_id, d.window_start, first_seen_at(d.batch_seq) AS seen_at,
         greatest(abs(d.requests), abs(d.uncached), abs(d.cache_read), abs(d.cache_write), abs(d.visible),
                  abs(d.reasoning)) AS largest
    FROM usage_delta d
   WHERE d.window_start = ANY(:windows::timestamptz[]) AND d.batch_seq <= :batch_seq
), counted AS (
  SELECT p.*, count(*) OVER alike AS alike, sum(p.largest) OVER alike AS reach
    FROM placed p
  WINDOW alike AS (PARTITION BY p.customer_id, p.usage_key_id, p.window_start, p.seen_at)
), chosen AS (
  SELECT c.place, c.seen_at FROM counted c WHERE c.alike > 1 AND c.reach < 9223372036854775808
   ORDER BY c.customer_id, c.usage_key_id, c.window_start, c.seen_at LIMIT :most
), gone AS (
  DELETE FROM usage_delta d USING chosen c WHERE d.ctid = c.place
  RETURNING d.*, c.seen_at
), come AS (
  INSERT INTO usage_delta (customer_id, usage_key_id, window_start, batch_seq, requests, uncached,
                           cache_read, cache_write, visible, reasoning, first_batch_seq)
  SELECT g.customer_id, g.usage_key_id, g.window_start, max(g.batch_seq), sum(g.requests),
         sum(g.uncached), sum(g.cache_read), sum(g.cache_write), sum(g.visible), sum(g.reasoning),
         min(coalesce(g.first_batch_seq, g.batch_seq))
    FROM gone g GROUP BY g.customer_id, g.usage_key_id, g.window_start, g.seen_at
  RETURNING 1
)
SELECT (SELECT count(*) FROM gone) AS gone, (SELECT count(*) FROM come) AS come;

-- name: fold_activity
-- Merges activity of some windows, of all batches that one cut-off sees at once, until `most` keys went; a sum of zero
-- vanishes, and rows of which 64 bits might not hold a sum stay apart. Index: activity (window_start, engine_key_id).
WITH placed AS (
  SELECT a.ctid AS place, a.engine_key_id, a.window_start, first_seen_at(a.batch_seq) AS seen_at,
         cardinality(a.usage_key_ids) AS keys,
         (SELECT coalesce(max(greatest(abs(k.uncached), abs(k.cache_read), abs(k.cache_write), abs(k.output))), 0)
            FROM unnest(a.uncached, a.cache_read, a.cache_write, a.output)
              AS k(uncached, cache_read, cache_write, output)) AS largest
    FROM activity a
   WHERE a.window_start = ANY(:windows::timestamptz[]) AND a.batch_seq <= :batch_seq
), counted AS (
  SELECT p.*, count(*) OVER alike AS alike, sum(p.largest) OVER alike AS reach
    FROM placed p
  WINDOW alike AS (PARTITION BY p.engine_key_id, p.window_start, p.seen_at)
), merging AS (
  SELECT c.place, c.seen_at, c.keys, sum(c.keys) OVER alike AS keys_alike, sum(c.keys) OVER upto AS keys_upto
    FROM counted c
   WHERE (c.alike > 1 AND c.reach < 9223372036854775808) OR c.largest = 0
  WINDOW alike AS (PARTITION BY c.engine_key_id, c.window_start, c.seen_at),
         upto AS (ORDER BY c.engine_key_id, c.window_start, c.seen_at)
), chosen AS (
  SELECT m.place, m.seen_at, m.keys FROM merging m WHERE m.keys_upto - m.keys_alike < :most
), gone AS (
  DELETE FROM activity a USING chosen c WHERE a.ctid = c.place
  RETURNING a.*, c.seen_at
), summed AS (
  SELECT g.engine_key_id, g.window_start, g.seen_at, k.usage_key_id, max(g.batch_seq) AS batch_seq,
         sum(k.uncached)::bigint AS uncached, sum(k.cache_read)::bigint AS cache_read,
         sum(k.cache_write)::bigint AS cache_write, sum(k.output)::bigint AS output
    FROM gone g
   CROSS JOIN LATERAL unnest(g.usage_key_ids, g.uncached, g.cache_read, g.cache_write, g.output)
           AS k(usage_key_id, uncached, cache_read, cache_write, output)
   GROUP BY g.engine_key_id, g.window_start, g.seen_at, k.usage_key_id
  HAVING sum(k.uncached) <> 0 OR sum(k.cache_read) <> 0 OR sum(k.cache_write) <> 0 OR sum(k.output) <> 0
), come AS (
  INSERT INTO activity (engine_key_id, window_start, batch_seq, usage_key_ids, uncached, cache_read, cache_write, output)
  SELECT s.engine_key_id, s.window_start, max(s.batch_seq), array_agg(s.usage_key_id ORDER BY s.usage_key_id),
         array_agg(s.uncached ORDER BY s.usage_key_id), array_agg(s.cache_read ORDER BY s.usage_key_id),
         array_agg(s.cache_write ORDER BY s.usage_key_id), array_agg(s.output ORDER BY s.usage_key_id)
    FROM summed s GROUP BY s.engine_key_id, s.window_start, s.seen_at
)
SELECT (SELECT coalesce(sum(cardinality(g.usage_key_ids)), 0)::bigint FROM gone g) AS gone,
       (SELECT count(*) FROM summed) AS come;

-- name: fold_marks
-- Merges at most `most` rows of marks of some windows, as fold_activity does its own.
-- Index: usage_mark (customer_id, window_start).
WITH placed AS (
  SELECT u.ctid AS place, u.customer_id, u.usage_key_id, u.window_start, first_seen_at(u.batch_seq) AS seen_at,
         greatest(abs(u.estimated), abs(u.incomplete), abs(u.input_unknown), abs(u.output_unknown), abs(u.cached_unknown),
                  abs(u.written_unknown), abs(u.reasoning_unknown)) AS largest
    FROM usage_mark u
   WHERE u.window_start = ANY(:windows::timestamptz[]) AND u.batch_seq <= :batch_seq
), counted AS (
  SELECT p.*, count(*) OVER alike AS alike, sum(p.largest) OVER alike AS reach
    FROM placed p
  WINDOW alike AS (PARTITION BY p.customer_id, p.usage_key_id, p.window_start, p.seen_at)
), chosen AS (
  SELECT c.place, c.seen_at FROM counted c
   WHERE (c.alike > 1 AND c.reach < 9223372036854775808) OR c.largest = 0
   ORDER BY c.customer_id, c.usage_key_id, c.window_start, c.seen_at LIMIT :most
), gone AS (
  DELETE FROM usage_mark u USING chosen c WHERE u.ctid = c.place
  RETURNING u.*, c.seen_at
), come AS (
  INSERT INTO usage_mark (customer_id, usage_key_id, window_start, batch_seq, estimated, incomplete, input_unknown,
                          output_unknown, cached_unknown, written_unknown, reasoning_unknown)
  SELECT g.customer_id, g.usage_key_id, g.window_start, max(g.batch_seq), sum(g.estimated), sum(g.incomplete),
         sum(g.input_unknown), sum(g.output_unknown), sum(g.cached_unknown), sum(g.written_unknown),
         sum(g.reasoning_unknown)
    FROM gone g GROUP BY g.customer_id, g.usage_key_id, g.window_start, g.seen_at
  HAVING sum(g.estimated) <> 0 OR sum(g.incomplete) <> 0 OR sum(g.input_unknown) <> 0 OR sum(g.output_unknown) <> 0
      OR sum(g.cached_unknown) <> 0 OR sum(g.written_unknown) <> 0 OR sum(g.reasoning_unknown) <> 0
  RETURNING 1
)
SELECT (SELECT count(*) FROM gone) AS gone, (SELECT count(*) FROM come) AS come;

-- name: fold_extras
-- Merges at most `most` rows of extras of some windows, as fold_activity does its own.
-- Index: extra_delta (customer_id, window_start).
WITH placed AS (
  SELECT x.ctid AS place, x.customer_id, x.usage_key_id, x.window_start, x.meter, first_seen_at(x.batch_seq) AS seen_at,
         abs(x.quantity) AS largest
    FROM extra_delta x
   WHERE x.window_start = ANY(:windows::timestamptz[]) AND x.batch_seq <= :batch_seq
), counted AS (
  SELECT p.*, count(*) OVER alike AS alike, sum(p.largest) OVER alike AS reach
    FROM placed p
  WINDOW alike AS (PARTITION BY p.customer_id, p.usage_key_id, p.window_start, p.meter, p.seen_at)
), chosen AS (
  SELECT c.place, c.seen_at FROM counted c
   WHERE (c.alike > 1 AND c.reach < 9223372036854775808) OR c.largest = 0
   ORDER BY c.customer_id, c.usage_key_id, c.window_start, c.meter, c.seen_at LIMIT :most
), gone AS (
  DELETE FROM extra_delta x USING chosen c WHERE x.ctid = c.place
  RETURNING x.*, c.seen_at
), come AS (
  INSERT INTO extra_delta (customer_id, usage_key_id, window_start, batch_seq, meter, quantity)
  SELECT g.customer_id, g.usage_key_id, g.window_start, max(g.batch_seq), g.meter, sum(g.quantity)
    FROM gone g GROUP BY g.customer_id, g.usage_key_id, g.window_start, g.meter, g.seen_at
  HAVING sum(g.quantity) <> 0
  RETURNING 1
)
SELECT (SELECT count(*) FROM gone) AS gone, (SELECT count(*) FROM come) AS come;

-- name: fold_masks
-- Merges at most `most` busy masks of some windows. Index: activity_mask (window_start, engine_key_id).
WITH placed AS (
  SELECT m.ctid AS place, m.engine_key_id, m.window_start, first_seen_at(m.batch_seq) AS seen_at
    FROM activity_mask m
   WHERE m.window_start = ANY(:windows::timestamptz[]) AND m.batch_seq <= :batch_seq
), counted AS (
  SELECT p.*, count(*) OVER (PARTITION BY p.engine_key_id, p.window_start, p.seen_at) AS alike
    FROM placed p
), chosen AS (
  SELECT c.place, c.seen_at FROM counted c WHERE c.alike > 1
   ORDER BY c.engine_key_id, c.window_start, c.seen_at LIMIT :most
), gone AS (
  DELETE FROM activity_mask m USING chosen c WHERE m.ctid = c.place
  RETURNING m.*, c.seen_at
), come AS (
  INSERT INTO activity_mask (engine_key_id, window_start, batch_seq, mask)
  SELECT g.engine_key_id, g.window_start, max(g.batch_seq), bit_or(g.mask)
    FROM gone g GROUP BY g.engine_key_id, g.window_start, g.seen_at
  RETURNING 1
)
SELECT (SELECT count(*) FROM gone) AS gone, (SELECT count(*) FROM come) AS come;

-- name: close_days
-- Indexes and measures every day of facts before one; returns how many were new.
SELECT close_days(:today::date);

-- name: close_day
-- Indexes and measures one day of facts, again where that was done before.
SELECT rows, first_time, last_time, first_batch_seq, last_batch_seq FROM close_day(:day::date);

-- name: list_fact_days
-- Days before one whose facts are in the database, with what is known of them; the catalogue.
SELECT d AS stored_day, p.rows
  FROM list_fact_days() d
  LEFT JOIN fact_partition p ON p.table_name = 'usage_fact' AND p.stored_day = d
 WHERE d < :before::date ORDER BY d;

-- name: count_rows
-- How many rows each batch of a day has, up to a batch, in stored order; one partition.
SELECT f.batch_seq, count(*) AS rows FROM usage_fact f
 WHERE f.stored_day = :day::date AND f.batch_seq <= :until_seq GROUP BY 1 ORDER BY 1;

-- name: read_rows
-- Facts of a day in rows of batches (since_seq, until_seq], in stored order, but for their texts; NULL as -infinity, or
-- -1 ms in a queue, so that all rows are of one width. One partition.
SELECT lane, batch_seq, ordinal, kind, flags, source_id, usage_key_id, engine_key_id, time,
       coalesce(started_at, '-infinity') AS started_at, coalesce(first_token_at, '-infinity') AS first_token_at,
       coalesce(ended_at, '-infinity') AS ended_at, coalesce(queue_ms, -1) AS queue_ms, requests, uncached, cache_read,
       cache_write, visible, reasoning
  FROM usage_fact
 WHERE stored_day = :day::date AND batch_seq > :since_seq::bigint AND batch_seq <= :until_seq::bigint
 ORDER BY batch_seq, ordinal;

-- name: read_row_texts
-- The texts of the same facts in the same order, NULL where no fact of them has any.
SELECT CASE WHEN count(event_id) > 0 THEN array_agg(event_id) END AS event_id,
       CASE WHEN count(agent_run_id) > 0 THEN array_agg(agent_run_id) END AS agent_run_id,
       CASE WHEN count(end_user) > 0 THEN array_agg(end_user) END AS end_user
  FROM (SELECT event_id, agent_run_id, end_user::text AS end_user FROM usage_fact
         WHERE stored_day = :day::date AND batch_seq > :since_seq AND batch_seq <= :until_seq
         ORDER BY batch_seq, ordinal) f;

-- name: drop_archived_day
-- Drops a day that lies in a file now and says where; refuses where their rows differ.
SELECT drop_archived_day(:day::date, :path, :sha256, :rows, :first_batch_seq, :last_batch_seq);

-- name: list_archived
-- Days in files that may hold facts of these batches and times; NULL is any. A scan, a row a day.
SELECT stored_day, archived_path(path) AS path, sha256, rows, first_time, last_time, first_batch_seq, last_batch_seq
  FROM archived_partition
 WHERE table_name = :table_name
   AND (:since_seq::bigint IS NULL OR last_batch_seq >= :since_seq)
   AND (:until_seq::bigint IS NULL OR first_batch_seq <= :until_seq)
   AND (:since::timestamptz IS NULL OR last_time >= :since)
   AND (:until::timestamptz IS NULL OR first_time < :until)
 ORDER BY stored_day;

-- name: find_standing_ids
-- Where the fact that stands now for each place is, after every change of fate; fate_change index.
SELECT s.n::int - 1 AS n, s.batch_seq, s.ordinal FROM standing_facts(:batch_seqs::bigint[], :ordinals::int[]) s;

-- name: find_fate_ids
-- Each place and all that came to stand for it, change by change; fate_change index.
SELECT f.n::int - 1 AS n, f.batch_seq, f.ordinal, f.depth FROM fates_of(:batch_seqs::bigint[], :ordinals::int[]) f;

-- name: find_key_customers
-- Whose usage these keys are; primary key.
SELECT usage_key_id, customer_id FROM usage_key WHERE usage_key_id = ANY(:usage_key_ids::bigint[]);

-- name: list_source_names
-- Names of sources; there are few.
SELECT source_id, source FROM source;
