-- Set numbers aside for so many copies; returns the highest before them.
SELECT s.last_value - w.highest * $1::bigint
  FROM (SELECT max(r.batch_seq) AS highest FROM warm_receipt r) w
 CROSS JOIN LATERAL (SELECT setval('batch_seq', b.last_value + w.highest * $1::bigint) AS last_value FROM batch_seq b) s
