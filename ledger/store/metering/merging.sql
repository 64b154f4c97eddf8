-- name: find_days_to_merge
-- Days with facts up to a batch that are not merged, and how many; in rows `most` are counted. What came to a day after it
-- went to a file stays as it is. BRIN (batch_seq) of each partition, usage_chunk (batch_seq).
SELECT d.stored_day, u.facts
  FROM list_fact_days() AS d(stored_day)
 CROSS JOIN LATERAL (
   SELECT (SELECT count(*) FROM (SELECT FROM usage_fact f
                                  WHERE f.stored_day = d.stored_day AND f.batch_seq <= :until_seq LIMIT :most) f)
        + (SELECT coalesce(sum(c.rows), 0) FROM usage_chunk c
            WHERE c.stored_day = d.stored_day AND c.batch_seq <= :until_seq AND c.facts IS NOT NULL) AS facts) u
 WHERE u.facts > 0
   AND NOT EXISTS (SELECT FROM archived_partition a WHERE a.table_name = 'usage_fact' AND a.stored_day = d.stored_day)
 ORDER BY 1;

-- name: count_unmerged_days
-- Days before one of which not all facts are merged, and the first; a row or a chunk of each.
SELECT count(*) AS days, min(d.stored_day) AS first_day
  FROM list_fact_days() AS d(stored_day)
 WHERE d.stored_day < :before
   AND NOT EXISTS (SELECT FROM archived_partition a WHERE a.table_name = 'usage_fact' AND a.stored_day = d.stored_day)
   AND (EXISTS (SELECT FROM usage_fact f WHERE f.stored_day = d.stored_day)
     OR EXISTS (SELECT FROM usage_chunk c WHERE c.stored_day = d.stored_day AND c.facts IS NOT NULL));

-- name: find_last_part
-- The last merged chunk of a day, 0 before the first; primary key.
SELECT coalesce(max(part), 0) FROM merged_chunk WHERE stored_day = :day;

-- name: insert_merged_chunk
-- Facts of many batches as columns, and what readers go by.
INSERT INTO merged_chunk (stored_day, part, first_batch_seq, last_batch_seq, rows, first_customer, last_customer, first_time,
                          last_time, source_ids, last_batch_seqs, last_times, suspended, sha256, facts)
VALUES (:stored_day, :part, :first_batch_seq, :last_batch_seq, :rows, :first_customer, :last_customer, :first_time,
        :last_time, :source_ids, :last_batch_seqs, :last_times, :suspended, :sha256, :facts);

-- name: finish_merge
-- Takes what is merged from where it was; returns how many facts, refused where merged chunks have not as many.
SELECT finish_merge(:day, :until_seq, :since_part);

-- name: list_merged_days
-- Days that have merged facts, or chunks without theirs, from one day to another: up to which batch, how many of the
-- merged ones were rows. A row a chunk.
SELECT d.stored_day, coalesce(max(d.last_batch_seq), 0) AS last_batch_seq, sum(d.rows) AS rows
  FROM (SELECT stored_day, last_batch_seq, rows FROM merged_chunk
        UNION ALL
        SELECT stored_day, NULL, -rows FROM usage_chunk WHERE facts IS NULL) d
 WHERE d.stored_day >= :since_day::date AND d.stored_day <= :until_day::date
 GROUP BY 1 ORDER BY 1;
