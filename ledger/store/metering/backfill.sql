-- name: find_standing_corrections
-- Of these events of a source the correction that stands, and where it is; primary key of correction.
SELECT DISTINCT ON (c.target) c.source_id, c.target, c.revision, c.batch_seq, c.ordinal
  FROM source s
  JOIN correction c USING (source_id)
 WHERE c.owner = '' AND c.revision > 0 AND s.source = :source AND c.target = ANY(:targets::text[])
 ORDER BY c.target, c.revision DESC;

-- name: insert_loaded_file
-- Keeps the bytes of a file under the first name they were loaded as; primary key.
INSERT INTO loaded_file (sha256, source, actor) VALUES (:sha256, :source, :actor)
ON CONFLICT (sha256) DO NOTHING;

-- name: find_loaded_file
-- As what a file was loaded first, and when; primary key.
SELECT source, loaded_at FROM loaded_file WHERE sha256 = :sha256;
