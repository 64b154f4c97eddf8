-- A transaction that does nothing but reach the disk.
SELECT pg_logical_emit_message(true, 'bench', 'x'::text)::text;
