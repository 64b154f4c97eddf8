-- What keeps a ledger small without losing anything: delta rows merged between kept cut-offs, finished
-- days indexed and measured, and their facts moved to files.

-- NULL is a row as ingest wrote it: COPY names its columns and knows nothing of folding.
ALTER TABLE usage_delta ADD COLUMN first_batch_seq bigint CHECK (first_batch_seq <= batch_seq);
COMMENT ON COLUMN usage_delta.first_batch_seq IS 'Of a folded row: the lowest batch merged into it; batch_seq is the highest.';
GRANT DELETE ON usage_delta, activity_delta, activity_mask TO tokenledger_worker;

CREATE INDEX ON cut_off (batch_seq);

-- Advisory lock (1, 3) in the two-key space: shared by a transaction that has drawn a cut-off nobody
-- else sees yet, exclusive for one step of a fold, which would otherwise merge across it.
CREATE OR REPLACE FUNCTION draw_cut_off(purpose text) RETURNS cut_off
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  last_drawn bigint;
  smallest_open bigint;
  drawn cut_off;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(1, 3);
  PERFORM pg_advisory_lock(1, 1);
  BEGIN
    SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END INTO last_drawn FROM batch_seq s;
    SELECT min((l.classid::bigint << 32) | l.objid::bigint) INTO smallest_open
      FROM pg_locks l
     WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.mode = 'ExclusiveLock' AND l.granted
       AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
  EXCEPTION WHEN query_canceled OR OTHERS THEN
    PERFORM pg_advisory_unlock(1, 1);
    RAISE;
  END;
  PERFORM pg_advisory_unlock(1, 1);
  INSERT INTO cut_off (batch_seq, purpose)
    VALUES (coalesce(smallest_open - 1, last_drawn), purpose)
    RETURNING * INTO drawn;
  RETURN drawn;
END $$;

-- Whoever reads at a cut-off may read again later, so every one is kept but those that nobody can ask
-- for again once they are a day old.
CREATE FUNCTION is_kept(drawn cut_off) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT drawn.purpose <> 'fold'
     AND (drawn.purpose NOT IN ('check', 'status', 'status over the API')
          OR drawn.drawn_at > now() - interval '1 day')
$$;

-- The first kept cut-off that sees a batch, or NULL: rows of one window may merge where it is equal.
CREATE FUNCTION first_seen_at(batch bigint) RETURNS bigint
LANGUAGE sql STABLE AS $$
  SELECT c.batch_seq FROM cut_off c WHERE c.batch_seq >= batch AND is_kept(c)
   ORDER BY c.batch_seq LIMIT 1
$$;
