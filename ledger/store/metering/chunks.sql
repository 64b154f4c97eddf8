-- name: insert_chunk
-- The facts of a batch as columns, and what readers go by.
INSERT INTO usage_chunk (stored_day, batch_seq, rows, first_ordinal, last_ordinal, first_time, last_time, source_ids,
                         last_times, suspended, sha256, facts)
VALUES (:stored_day, :batch_seq, :rows, :first_ordinal, :last_ordinal, :first_time, :last_time, :source_ids,
        :last_times, :suspended, :sha256, :facts);

-- name: find_chunks
-- Chunks stored from a day to another that may hold facts of batches since_seq to until_seq and of [since, until), in
-- stored order. usage_chunk (batch_seq).
SELECT c.stored_day, c.batch_seq, c.rows, c.suspended
  FROM usage_chunk c
 WHERE c.stored_day >= :since_day AND c.stored_day <= :until_day
   AND c.batch_seq >= :since_seq AND c.batch_seq <= :until_seq AND c.last_time >= :since AND c.first_time < :until
 ORDER BY c.batch_seq, c.stored_day;

-- name: find_batch_chunks
-- Chunks of some batches, in stored order. usage_chunk (batch_seq).
SELECT c.stored_day, c.batch_seq, c.rows, c.suspended
  FROM usage_chunk c WHERE c.batch_seq = ANY(:batch_seqs::bigint[]) ORDER BY c.batch_seq, c.stored_day;

-- name: read_chunk
-- A chunk's facts, or no row where its day was moved to a file. usage_chunk (batch_seq).
SELECT c.stored_day, c.batch_seq, c.sha256, c.facts
  FROM usage_chunk c WHERE c.stored_day = :stored_day AND c.batch_seq = :batch_seq;

-- name: count_chunk_facts
-- How many facts lie in chunks.
SELECT coalesce(sum(rows), 0)::bigint FROM usage_chunk;

-- name: find_visible_keys
-- Those of these keys that whoever asks may see. Primary key.
SELECT k.usage_key_id FROM usage_key k WHERE k.usage_key_id = ANY(:usage_key_ids::bigint[]);

-- name: is_restricted
-- Whether row-level security decides what this role sees of usage keys.
SELECT row_security_active('usage_key');
