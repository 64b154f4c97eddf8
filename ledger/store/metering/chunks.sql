-- name: insert_chunk
-- The facts of a batch as columns, and what readers go by.
INSERT INTO usage_chunk (stored_day, batch_seq, rows, first_ordinal, last_ordinal, first_time, last_time, source_ids,
                         last_times, suspended, sha256, facts)
VALUES (:stored_day, :batch_seq, :rows, :first_ordinal, :last_ordinal, :first_time, :last_time, :source_ids,
        :last_times, :suspended, :sha256, :facts);

-- name: find_chunks
-- Chunks stored from a day to another that may hold facts of batches since_seq to until_seq, of [since, until), and of a
-- customer, NULL of any; by the first batch of each. usage_chunk (batch_seq), merged_chunk (last_batch_seq).
SELECT c.stored_day, NULL::int AS part, c.batch_seq AS first_batch_seq, c.batch_seq AS last_batch_seq, c.rows, c.suspended
  FROM usage_chunk c
 WHERE c.facts IS NOT NULL AND c.stored_day >= :since_day AND c.stored_day <= :until_day
   AND c.batch_seq >= :since_seq AND c.batch_seq <= :until_seq AND c.last_time >= :since AND c.first_time < :until
UNION ALL
SELECT m.stored_day, m.part, m.first_batch_seq, m.last_batch_seq, m.rows, m.suspended
  FROM merged_chunk m
 WHERE m.stored_day >= :since_day AND m.stored_day <= :until_day
   AND m.last_batch_seq >= :since_seq AND m.first_batch_seq <= :until_seq AND m.last_time >= :since AND m.first_time < :until
   AND (:customer_id::text IS NULL OR m.first_customer <= :customer_id AND m.last_customer >= :customer_id)
 ORDER BY first_batch_seq, stored_day, part;

-- name: find_batch_chunks
-- Chunks that may hold facts of some batches, or merged ones alone; by the first batch of each.
-- usage_chunk (batch_seq), merged_chunk (last_batch_seq).
SELECT c.stored_day, NULL::int AS part, c.batch_seq AS first_batch_seq, c.batch_seq AS last_batch_seq, c.rows, c.suspended
  FROM usage_chunk c WHERE c.facts IS NOT NULL AND c.batch_seq = ANY(:batch_seqs::bigint[]) AND NOT :merged::boolean
UNION ALL
SELECT m.stored_day, m.part, m.first_batch_seq, m.last_batch_seq, m.rows, m.suspended
  FROM merged_chunk m
 WHERE m.last_batch_seq >= (SELECT min(b) FROM unnest(:batch_seqs::bigint[]) AS b)
   AND EXISTS (SELECT FROM unnest(:batch_seqs::bigint[]) AS b WHERE b BETWEEN m.first_batch_seq AND m.last_batch_seq)
 ORDER BY first_batch_seq, stored_day, part;

-- name: read_chunk
-- The facts of a batch's chunk, or no row where they were merged or moved to a file. usage_chunk (batch_seq).
SELECT c.stored_day, NULL::int AS part, c.batch_seq, c.sha256, c.facts
  FROM usage_chunk c WHERE c.stored_day = :stored_day AND c.batch_seq = :batch_seq AND c.facts IS NOT NULL;

-- name: read_merged_chunk
-- The facts of a merged chunk, or no row where its day was moved to a file. Primary key.
SELECT m.stored_day, m.part, NULL::bigint AS batch_seq, m.sha256, m.facts
  FROM merged_chunk m WHERE m.stored_day = :stored_day AND m.part = :part;

-- name: count_chunk_facts
-- How many facts lie in chunks.
SELECT coalesce(sum(rows), 0)::bigint
  FROM (SELECT rows FROM usage_chunk WHERE facts IS NOT NULL UNION ALL SELECT rows FROM merged_chunk) c;

-- name: find_visible_keys
-- Those of these keys that whoever asks may see. Primary key.
SELECT k.usage_key_id FROM usage_key k WHERE k.usage_key_id = ANY(:usage_key_ids::bigint[]);

-- name: is_restricted
-- Whether row-level security decides what this role sees of usage keys.
SELECT row_security_active('usage_key');
