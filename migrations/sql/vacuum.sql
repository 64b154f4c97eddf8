-- Every table that was made by now and is searched so; later partitions are told as they are made (ensure_partitions).
SELECT vacuum_soon(i.indrelid)
  FROM pg_index i
  JOIN pg_class x ON x.oid = i.indexrelid
  JOIN pg_am m ON m.oid = x.relam AND m.amname = 'brin'
  JOIN pg_class t ON t.oid = i.indrelid AND t.relkind = 'r';
