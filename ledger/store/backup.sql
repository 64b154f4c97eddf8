-- name: export_snapshot
-- What this transaction sees, by a name that pg_dump takes over.
SELECT pg_export_snapshot();

-- name: find_home
-- The schema of the books, and the migration they stand at.
SELECT current_schema()::text AS schema_name, (SELECT version_num FROM alembic_version) AS revision;

-- name: list_tables
-- Every table of the books, partitioned ones once; the catalogue.
SELECT c.relname::text AS table_name FROM pg_class c
 WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = current_schema())
   AND c.relkind IN ('r', 'p') AND NOT c.relispartition
 ORDER BY 1;

-- name: count_rows
-- Rows of one table, whose name takes the place of this one: a name is no parameter.
SELECT count(*) FROM "account";

-- name: list_archive_roots
-- Archived files as they were recorded, and where they are now.
SELECT a.stored_day, a.path AS recorded, archived_path(a.path) AS path FROM archived_partition a ORDER BY 1;

-- name: insert_archive_move
-- From now on the files of one folder are looked for in another.
INSERT INTO archive_move (from_folder, to_folder) VALUES (:from_folder, :to_folder);
