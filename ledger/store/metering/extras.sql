-- name: close_extras
-- Measures what a day's facts have of extras.
SELECT rows, first_time, last_time, first_batch_seq, last_batch_seq FROM close_extras(:day::date);

-- name: read_extras
-- What a day's facts count of extras, each fact and meter a row, in stored order; one partition.
SELECT x.stored_day, x.batch_seq, u.ordinal, x.meter, u.usage_key_id, u.time, u.quantity
  FROM usage_extra x
 CROSS JOIN LATERAL unnest(x.ordinals, x.usage_key_ids, x.times, x.quantities) AS u(ordinal, usage_key_id, time, quantity)
 WHERE x.stored_day = :day::date ORDER BY x.batch_seq, u.ordinal, x.meter;

-- name: drop_archived_extras
-- Drops what lies in a file now of a day's extras, and says where; refused where their rows differ.
SELECT drop_archived_extras(:day::date, :path, :sha256, :rows, :first_batch_seq, :last_batch_seq);

-- name: find_extras
-- What some facts count of extras, each under the ordinal it is asked for by; primary key of usage_extra.
SELECT p.ordinal, e.meter, e.quantity
  FROM unnest(:batch_seqs::bigint[], :fact_ordinals::int[], :ordinals::int[]) AS p(batch_seq, fact_ordinal, ordinal)
  JOIN (SELECT x.batch_seq, x.meter, q.ordinal AS fact_ordinal, q.quantity
          FROM usage_extra x CROSS JOIN LATERAL unnest(x.ordinals, x.quantities) AS q(ordinal, quantity)
         WHERE x.batch_seq = ANY(:batch_seqs::bigint[])) e USING (batch_seq, fact_ordinal)
 ORDER BY p.ordinal, e.meter;
