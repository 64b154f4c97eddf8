-- One more copy of the warm-up: its number, the highest batch number before all copies, how many come before it.
SELECT preload($1::bigint, $2::bigint + $3::bigint * (SELECT max(w.batch_seq) FROM warm_receipt w))
