-- An archive that was restored or moved is found again: a day's row says where its file was when it was written, and
-- a move where that folder is now.
CREATE TABLE archive_move (
  move_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  from_folder text NOT NULL CHECK (from_folder <> ''),
  to_folder   text NOT NULL CHECK (to_folder <> ''),
  moved_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN archive_move.from_folder IS 'As the rows of archived_partition name it, whatever moves came before.';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON archive_move
  FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Where a file is now that was recorded at `recorded`: the latest move of its folder has the last word.
CREATE FUNCTION archived_path(recorded text) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
  SELECT coalesce((SELECT m.to_folder || substr(recorded, length(m.from_folder) + 1) FROM archive_move m
                    WHERE starts_with(recorded, m.from_folder || '/') ORDER BY m.move_id DESC LIMIT 1), recorded);
END;

GRANT SELECT, INSERT ON archive_move TO tokenledger_worker;
GRANT SELECT ON archive_move TO tokenledger_api;
