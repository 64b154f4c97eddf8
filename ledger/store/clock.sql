-- name: draw_batch_seq
-- The next number of the stored order, locked until this transaction ends.
SELECT draw_batch_seq();

-- name: draw_cut_off
-- A new cut-off, below every batch still open or not summed.
SELECT cut_off_id, batch_seq, drawn_at FROM draw_cut_off(:purpose);

-- name: find_cut_off
-- A kept cut-off by its primary key.
SELECT cut_off_id, batch_seq, drawn_at FROM cut_off WHERE cut_off_id = :cut_off_id;

-- name: is_summed
-- Whether no batch waits to be summed; primary key.
SELECT NOT EXISTS (SELECT FROM pending_sum);
