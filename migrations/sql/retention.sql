-- What keeps a ledger small without losing anything: delta rows merged between kept cut-offs, finished
-- days indexed and measured, and their facts moved to files.

-- NULL is a row of one batch: COPY names its columns and knows nothing of folding.
ALTER TABLE usage_delta ADD COLUMN first_batch_seq bigint CHECK (first_batch_seq <= batch_seq);
COMMENT ON COLUMN usage_delta.first_batch_seq IS 'Of a row summed or folded: the lowest batch merged into it; batch_seq is the highest.';
GRANT DELETE ON usage_delta, usage_mark, extra_delta, activity, activity_mask TO tokenledger_worker;

CREATE INDEX ON cut_off (batch_seq);

-- Whoever reads at a cut-off may read again later, so every one is kept but those that nobody can ask
-- for again once they are a day old.
CREATE FUNCTION is_kept(drawn cut_off) RETURNS boolean
LANGUAGE sql STABLE
RETURN drawn.purpose NOT IN ('fold', 'seal', 'thin')
   AND (drawn.purpose NOT IN ('check', 'status', 'status over the API', 'report over the API')
        OR drawn.drawn_at > now() - interval '1 day');

-- The first kept cut-off that sees a batch, or NULL: rows of one window may merge where it is equal.
CREATE FUNCTION first_seen_at(batch bigint) RETURNS bigint
LANGUAGE sql STABLE
BEGIN ATOMIC
  SELECT c.batch_seq FROM cut_off c WHERE c.batch_seq >= batch AND is_kept(c)
   ORDER BY c.batch_seq LIMIT 1;
END;

CREATE TABLE fact_partition (
  table_name      text NOT NULL,
  stored_day      date NOT NULL,
  rows            bigint NOT NULL,
  first_time      timestamptz,
  last_time       timestamptz,
  first_batch_seq bigint,
  last_batch_seq  bigint,
  closed_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (table_name, stored_day)
);
COMMENT ON TABLE fact_partition IS 'What a finished day holds: its range of event times and of the stored order.';

CREATE TABLE archived_partition (
  table_name      text NOT NULL,
  stored_day      date NOT NULL,
  path            text NOT NULL,
  sha256          bytea NOT NULL CHECK (length(sha256) = 32),
  rows            bigint NOT NULL,
  first_time      timestamptz,
  last_time       timestamptz,
  first_batch_seq bigint,
  last_batch_seq  bigint,
  archived_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (table_name, stored_day)
);
COMMENT ON TABLE archived_partition IS 'Facts and readings that live in a file now; the row is written as the partition is dropped.';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON archived_partition
  FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Measures one day, again where that was done before, and gives it the index that leads from a window
-- to its facts. SHARE waits for whoever still writes into this day and lets everybody read; whoever waits for
-- it makes every later writer wait behind, so it waits for a moment and is tried again.
CREATE FUNCTION close_day(day date) RETURNS fact_partition
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '2s' AS $$
DECLARE
  part text := 'usage_fact' || to_char(day, '_YYYYMMDD');
  chunks text := 'usage_chunk' || to_char(day, '_YYYYMMDD');
  merged text := 'merged_chunk' || to_char(day, '_YYYYMMDD');
  measured fact_partition;
BEGIN
  EXECUTE format('LOCK TABLE %I, %I, %I IN SHARE MODE', part, chunks, merged);
  EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %I (usage_key_id, time)', part || '_key_time', part);
  EXECUTE format('INSERT INTO fact_partition AS p
                    (table_name, stored_day, rows, first_time, last_time, first_batch_seq, last_batch_seq)
                  SELECT ''usage_fact'', %L, coalesce(sum(rows), 0), min(first_time), max(last_time),
                         min(first_batch_seq), max(last_batch_seq)
                    FROM (SELECT count(*) AS rows, min(time) AS first_time, max(time) AS last_time,
                                 min(batch_seq) AS first_batch_seq, max(batch_seq) AS last_batch_seq FROM %I
                          UNION ALL
                          SELECT sum(rows), min(first_time), max(last_time), min(batch_seq), max(batch_seq) FROM %I
                           WHERE facts IS NOT NULL
                          UNION ALL
                          SELECT sum(rows), min(first_time), max(last_time), min(first_batch_seq), max(last_batch_seq)
                            FROM %I) f
                  ON CONFLICT (table_name, stored_day) DO UPDATE
                     SET rows = excluded.rows, first_time = excluded.first_time,
                         last_time = excluded.last_time, first_batch_seq = excluded.first_batch_seq,
                         last_batch_seq = excluded.last_batch_seq, closed_at = clock_timestamp()
                  RETURNING p.*', day, part, chunks, merged) INTO measured;
  RETURN measured;
END $$;

-- Which tables are meant is settled before their names are read as days: the planner may otherwise read the name of any
-- table so, and fail.
CREATE FUNCTION list_fact_days() RETURNS SETOF date
LANGUAGE sql STABLE
BEGIN ATOMIC
  WITH part AS MATERIALIZED (
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'usage_fact'::regclass
  )
  SELECT to_date(right(p.relname, 8), 'YYYYMMDD') FROM part p ORDER BY 1;
END;

-- Closes every day before `today` that was not closed yet; returns how many.
CREATE FUNCTION close_days(today date) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  day date;
  closed int := 0;
BEGIN
  FOR day IN SELECT d FROM list_fact_days() d WHERE d < today AND NOT EXISTS (
               SELECT FROM fact_partition p WHERE p.table_name = 'usage_fact' AND p.stored_day = d) LOOP
    PERFORM close_day(day);
    closed := closed + 1;
  END LOOP;
  RETURN closed;
END $$;

-- Says in which file a day is that was measured just now; refused where the file was made of other rows.
CREATE FUNCTION name_file(found fact_partition, file_path text, file_sha256 bytea, file_rows bigint,
                          file_first_batch_seq bigint, file_last_batch_seq bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF (found.rows, found.first_batch_seq, found.last_batch_seq)
     IS DISTINCT FROM (file_rows, file_first_batch_seq, file_last_batch_seq) THEN
    RAISE EXCEPTION '% of % holds % rows (batches % to %), the file % (batches % to %)', found.table_name,
      found.stored_day, found.rows, found.first_batch_seq, found.last_batch_seq, file_rows, file_first_batch_seq,
      file_last_batch_seq USING ERRCODE = 'restrict_violation';
  END IF;
  INSERT INTO archived_partition (table_name, stored_day, path, sha256, rows, first_time, last_time,
                                  first_batch_seq, last_batch_seq)
    VALUES (found.table_name, found.stored_day, file_path, file_sha256, found.rows, found.first_time,
            found.last_time, found.first_batch_seq, found.last_batch_seq);
END $$;

-- Measures what a day's facts have of extras, each fact and meter one, while nobody writes into it.
CREATE FUNCTION close_extras(day date) RETURNS fact_partition
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '2s' AS $$
DECLARE
  part text := 'usage_extra' || to_char(day, '_YYYYMMDD');
  measured fact_partition;
BEGIN
  EXECUTE format('LOCK TABLE %I IN SHARE MODE', part);
  EXECUTE format('INSERT INTO fact_partition AS p
                    (table_name, stored_day, rows, first_time, last_time, first_batch_seq, last_batch_seq)
                  SELECT ''usage_extra'', %L, count(*), min(u.time), max(u.time), min(x.batch_seq), max(x.batch_seq)
                    FROM %I x CROSS JOIN LATERAL unnest(x.times) AS u(time)
                  ON CONFLICT (table_name, stored_day) DO UPDATE
                     SET rows = excluded.rows, first_time = excluded.first_time,
                         last_time = excluded.last_time, first_batch_seq = excluded.first_batch_seq,
                         last_batch_seq = excluded.last_batch_seq, closed_at = clock_timestamp()
                  RETURNING p.*', day, part) INTO measured;
  RETURN measured;
END $$;

-- Drops what a day's facts have of extras, which is in a file, in the transaction in which the facts go.
CREATE FUNCTION drop_archived_extras(day date, file_path text, file_sha256 bytea, file_rows bigint,
                                     file_first_batch_seq bigint, file_last_batch_seq bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  part text := 'usage_extra' || to_char(day, '_YYYYMMDD');
BEGIN
  PERFORM set_config('lock_timeout', '2s', true);
  EXECUTE format('LOCK TABLE %I IN SHARE ROW EXCLUSIVE MODE', part);
  PERFORM name_file(close_extras(day), file_path, file_sha256, file_rows, file_first_batch_seq, file_last_batch_seq);
  EXECUTE format('ALTER TABLE usage_extra DETACH PARTITION %I', part);
  EXECUTE format('DROP TABLE %I', part);
END $$;

-- Drops a day whose facts are in a file, and says where; refused where the file was made of other rows, and where extras
-- of these facts are in none.
-- Writers into this day are kept out while it is counted; the parent is locked for an instant only.
CREATE FUNCTION drop_archived_day(day date, file_path text, file_sha256 bytea, file_rows bigint,
                                  file_first_batch_seq bigint, file_last_batch_seq bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  part text := 'usage_fact' || to_char(day, '_YYYYMMDD');
  chunks text := 'usage_chunk' || to_char(day, '_YYYYMMDD');
  merged text := 'merged_chunk' || to_char(day, '_YYYYMMDD');
  extras text := 'usage_extra' || to_char(day, '_YYYYMMDD');
  found fact_partition;
  unfiled boolean;
BEGIN
  PERFORM set_config('lock_timeout', '2s', true);
  IF to_regclass(format('%I', extras)) IS NOT NULL THEN
    EXECUTE format('LOCK TABLE %I IN SHARE ROW EXCLUSIVE MODE', extras);
    EXECUTE format('SELECT EXISTS (SELECT FROM %I)', extras) INTO unfiled;
    IF unfiled THEN
      RAISE EXCEPTION 'extras of % are in no file', day USING ERRCODE = 'restrict_violation';
    END IF;
    EXECUTE format('ALTER TABLE usage_extra DETACH PARTITION %I', extras);
    EXECUTE format('DROP TABLE %I', extras);
  END IF;
  EXECUTE format('LOCK TABLE %I, %I, %I IN SHARE ROW EXCLUSIVE MODE', part, chunks, merged);
  found := close_day(day);
  PERFORM name_file(found, file_path, file_sha256, file_rows, file_first_batch_seq, file_last_batch_seq);
  EXECUTE format('ALTER TABLE usage_fact DETACH PARTITION %I', part);
  EXECUTE format('ALTER TABLE usage_chunk DETACH PARTITION %I', chunks);
  EXECUTE format('ALTER TABLE merged_chunk DETACH PARTITION %I', merged);
  EXECUTE format('DROP TABLE %I, %I, %I', part, chunks, merged);
END $$;

REVOKE ALL ON FUNCTION close_day(date), close_days(date), close_extras(date),
  name_file(fact_partition, text, bytea, bigint, bigint, bigint),
  drop_archived_extras(date, text, bytea, bigint, bigint, bigint),
  drop_archived_day(date, text, bytea, bigint, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION close_day(date), close_days(date), close_extras(date),
  drop_archived_extras(date, text, bytea, bigint, bigint, bigint),
  drop_archived_day(date, text, bytea, bigint, bigint, bigint) TO tokenledger_worker;
-- Where facts lie is no secret to whoever may see the facts; what they say is filtered by what was charged.
GRANT SELECT ON fact_partition, archived_partition TO tokenledger_worker, tokenledger_api;
