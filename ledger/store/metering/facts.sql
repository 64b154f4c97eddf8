-- name: list_fact_pages
-- Each partition of facts: its day, pages of 8 KiB, and how many rows it was last seen to have, or NULL.
SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS stored_day,
       (pg_relation_size(c.oid) + 8191) / 8192 AS pages,
       CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS rows
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
 WHERE i.inhparent = 'usage_fact'::regclass
 ORDER BY 1;

-- name: read_facts
-- Facts of some pages up to a cut-off; NULL as -infinity, or -1 ms in a queue, so that all rows are of one width. Rows cost
-- less to send than to group here. A TID range scan of one partition.
SELECT usage_key_id, engine_key_id, time, coalesce(started_at, '-infinity') AS started_at,
       coalesce(first_token_at, '-infinity') AS first_token_at,
       coalesce(ended_at, '-infinity') AS ended_at,
       coalesce(queue_ms, -1) AS queue_ms, requests, uncached, cache_read, cache_write, visible, reasoning, kind, flags
  FROM usage_fact
 WHERE stored_day = :stored_day::date
   AND ctid >= :first_place::tid AND ctid < :end_place::tid AND batch_seq <= :batch_seq::bigint
   AND time >= :since::timestamptz AND time < :until::timestamptz;
