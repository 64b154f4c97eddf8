-- Facts that are merged: large chunks, by customer and time, stand for rows and chunks of a day.

-- Whether facts of a batch that were stored on a day are in merged chunks: all up to some batch are, or none.
CREATE FUNCTION is_merged(day date, batch bigint) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM merged_chunk m WHERE m.stored_day = day AND m.last_batch_seq >= batch);
END;

-- A row that is merged may go, and nothing else of a row of facts. Asked once of all that a statement takes away: for each
-- row it cost three times what taking it away does. What names a partition meets the trigger of that alone, so each has
-- one (ensure_partitions).
CREATE TRIGGER append_only BEFORE UPDATE ON usage_fact FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE FUNCTION refuse_going_but_merged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM (SELECT g.stored_day, max(g.batch_seq) AS last FROM gone g GROUP BY g.stored_day) d
              WHERE NOT is_merged(d.stored_day, d.last)) THEN
    RAISE EXCEPTION '% is append-only: a correction is a new row', TG_TABLE_NAME
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER only_merged_go AFTER DELETE ON usage_fact REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_going_but_merged();

-- A chunk that is merged may lose its facts; what its row says of them stays.
CREATE FUNCTION refuse_change_but_losing_facts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.facts IS NULL AND is_merged(OLD.stored_day, OLD.batch_seq) THEN
    OLD.facts := NULL;
    IF OLD IS NOT DISTINCT FROM NEW THEN
      RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION '% is append-only: a correction is a new row', TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON usage_chunk
  FOR EACH ROW EXECUTE FUNCTION refuse_change_but_losing_facts();

-- Takes facts of a day up to a batch from where they were, once merged chunks from first_part on have them; refused where
-- these have not as many. Nobody writes at or below a sealed batch any more, so it keeps out neither writers nor readers.
CREATE FUNCTION finish_merge(day date, until_seq bigint, since_part int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  merged bigint;
  chunked bigint;
  single bigint;
BEGIN
  SELECT coalesce(sum(m.rows), 0) INTO merged FROM merged_chunk m WHERE m.stored_day = day AND m.part >= since_part;
  WITH freed AS (
    UPDATE usage_chunk c SET facts = NULL
     WHERE c.stored_day = day AND c.batch_seq <= until_seq AND c.facts IS NOT NULL RETURNING c.rows
  )
  SELECT coalesce(sum(f.rows), 0) INTO chunked FROM freed f;
  DELETE FROM usage_fact f WHERE f.stored_day = day AND f.batch_seq <= until_seq;
  GET DIAGNOSTICS single = ROW_COUNT;
  IF merged <> chunked + single THEN
    RAISE EXCEPTION 'of % up to batch % there are % facts in chunks and % in rows, merged were %', day, until_seq, chunked,
      single, merged USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN merged;
END $$;
REVOKE ALL ON FUNCTION finish_merge(date, bigint, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION finish_merge(date, bigint, int) TO tokenledger_worker;
