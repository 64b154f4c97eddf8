-- Days of readings move to files as days of facts do, but for the first and last reading of each meter and series, which
-- stay: whoever looks for a reading's neighbour beyond a day finds it here, and reads the file for what lies between.

-- What is read when, and what tells one series from another; NULL where a table is not archived so.
CREATE FUNCTION reading_moment(parent text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE parent WHEN 'gpu_reading' THEN 'sampled_at' WHEN 'counter_reading' THEN 'scraped_at' END;

CREATE FUNCTION reading_series(parent text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE parent WHEN 'gpu_reading' THEN 'gpu_uuid, source_id'
                   WHEN 'counter_reading' THEN 'engine_instance, metric, labels, run_id, source_id' END;

-- Days of a table of readings that no file has.
CREATE FUNCTION list_reading_days(parent text) RETURNS SETOF date
LANGUAGE sql STABLE
BEGIN ATOMIC
  WITH part AS MATERIALIZED (
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = to_regclass(parent) AND reading_moment(parent) IS NOT NULL
  )
  SELECT d.day FROM (SELECT to_date(right(p.relname, 8), 'YYYYMMDD') AS day FROM part p) d
   WHERE NOT EXISTS (SELECT FROM archived_partition a WHERE a.table_name = parent AND a.stored_day = d.day)
   ORDER BY 1;
END;

-- Measures a day of readings, while nobody writes into it.
CREATE FUNCTION close_readings(parent text, day date) RETURNS fact_partition
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '2s' AS $$
DECLARE
  part text := parent || to_char(day, '_YYYYMMDD');
  measured fact_partition;
BEGIN
  EXECUTE format('LOCK TABLE %I IN SHARE MODE', part);
  EXECUTE format('INSERT INTO fact_partition AS p
                    (table_name, stored_day, rows, first_time, last_time, first_batch_seq, last_batch_seq)
                  SELECT %L, %L, count(*), min(%3$I), max(%3$I), min(batch_seq), max(batch_seq) FROM %4$I
                  ON CONFLICT (table_name, stored_day) DO UPDATE
                     SET rows = excluded.rows, first_time = excluded.first_time,
                         last_time = excluded.last_time, first_batch_seq = excluded.first_batch_seq,
                         last_batch_seq = excluded.last_batch_seq, closed_at = clock_timestamp()
                  RETURNING p.*', parent, day, reading_moment(parent), part) INTO measured;
  RETURN measured;
END $$;

-- Puts in the place of a day, whose readings are in a file, what of them stays; refused where the file was made of others.
CREATE FUNCTION drop_archived_readings(parent text, day date, file_path text, file_sha256 bytea, file_rows bigint,
                                       file_first_batch_seq bigint, file_last_batch_seq bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  part text := parent || to_char(day, '_YYYYMMDD');
  kept text := part || '_kept';
  home name := (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.oid = 'usage_fact'::regclass);
  found fact_partition;
BEGIN
  PERFORM set_config('lock_timeout', '2s', true);
  EXECUTE format('LOCK TABLE %I IN SHARE ROW EXCLUSIVE MODE', part);
  found := close_readings(parent, day);
  PERFORM name_file(found, file_path, file_sha256, file_rows, file_first_batch_seq, file_last_batch_seq);
  EXECUTE format('CREATE TABLE %I.%I (LIKE %I INCLUDING ALL)', home, kept, parent);
  EXECUTE format('INSERT INTO %1$I SELECT t.* FROM %2$I t
                    JOIN (SELECT %3$s, min(%4$I) AS first_at, max(%4$I) AS last_at FROM %2$I GROUP BY %3$s) e USING (%3$s)
                   WHERE t.%4$I IN (e.first_at, e.last_at)',
                 kept, part, reading_series(parent), reading_moment(parent));
  EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, part);
  EXECUTE format('DROP TABLE %I', part);
  EXECUTE format('ALTER TABLE %I.%I RENAME TO %I', home, kept, part);
  EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, day, day + 1);
END $$;

REVOKE ALL ON FUNCTION close_readings(text, date),
  drop_archived_readings(text, date, text, bytea, bigint, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION close_readings(text, date),
  drop_archived_readings(text, date, text, bytea, bigint, bigint, bigint) TO tokenledger_worker;
