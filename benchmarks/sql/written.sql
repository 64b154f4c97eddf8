-- Bytes of WAL so far, and of everything in the database.
SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS wal, pg_database_size(current_database()) AS stored
