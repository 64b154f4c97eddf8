-- name: insert_sums
-- What a batch adds to windows.
INSERT INTO pending_sum (batch_seq, moves, reach, sha256, usage, marks, extras, activity, masks)
VALUES (:batch_seq, :moves, :reach, :sha256, :usage, :marks, :extras, :activity, :masks);

-- name: count_unsummed
-- How many batches no sum holds yet, and when the oldest was stored; primary key.
SELECT count(*) AS batches, min(p.stored_at) AS stored_at FROM pending_sum p;

-- name: list_pending
-- All that waits to be summed, in stored order; there is a second of it.
SELECT p.batch_seq, NULL::bigint AS seen_at, p.sha256, p.usage, p.marks, p.extras, p.activity, p.masks FROM pending_sum p ORDER BY p.batch_seq;

-- name: begin_sums
-- Up to where this transaction may sum, alone; NULL where others do not let it in time.
SELECT begin_sums();

-- name: choose_sums
-- The batches of one step, closed ones in stored order: as many as fit into memory, and of which no sum can outgrow a
-- column of 64 bits; the first always. Primary key.
SELECT p.batch_seq, first_seen_at(p.batch_seq) AS seen_at, p.sha256, p.usage, p.marks, p.extras, p.activity, p.masks
  FROM (SELECT c.batch_seq, sum(c.moves) OVER upto AS moves, sum(c.reach) OVER upto AS reach, row_number() OVER upto AS n
          FROM (SELECT batch_seq, moves, reach FROM pending_sum WHERE batch_seq <= :closed
                 ORDER BY batch_seq LIMIT 1000) c
        WINDOW upto AS (ORDER BY c.batch_seq)) c
  JOIN pending_sum p USING (batch_seq)
 WHERE c.n = 1 OR (c.moves <= 500000 AND c.reach < 9223372036854775808)
 ORDER BY p.batch_seq;

-- name: delete_sums
-- What is summed waits no more; primary key.
DELETE FROM pending_sum WHERE batch_seq = ANY(:batch_seqs::bigint[]);
