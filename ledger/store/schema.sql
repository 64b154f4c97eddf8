-- name: find_revision
-- The migration that the database stands at; a table of one row.
SELECT version_num FROM alembic_version;
