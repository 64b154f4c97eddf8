-- So many WAL segments begun and left: the next checkpoint keeps them to be written again, as in a server at work.
SELECT count(pg_switch_wal()) FROM generate_series(1, $1::integer) AS n, pg_logical_emit_message(false, 'room', n::text)
