-- name: list_reading_days
-- Days before one whose readings are in the database; the catalogue.
SELECT d AS stored_day FROM list_reading_days(:table_name) d WHERE d < :before::date ORDER BY d;

-- name: close_readings
-- Measures one day of readings.
SELECT rows, first_time, last_time, first_batch_seq, last_batch_seq FROM close_readings(:table_name, :day::date);

-- name: read_gpu_reading
-- Readings of a day, every column, in stored order; one partition.
SELECT stored_day, batch_seq, ordinal, source_id, gpu_uuid, epoch, sampled_at, energy_mj, power_mw, method, quality,
       boot_id, driver_load, monotonic_us, scope
  FROM gpu_reading WHERE stored_day = :day::date ORDER BY batch_seq, ordinal;

-- name: read_counter_reading
-- Counters of a day, every column, in stored order; one partition.
SELECT stored_day, batch_seq, ordinal, source_id, engine, engine_instance, run_id, run_started_at, scraped_at, metric,
       labels::text AS labels, value::text AS value, precision_loss
  FROM counter_reading WHERE stored_day = :day::date ORDER BY batch_seq, ordinal, metric, labels;

-- name: drop_archived_readings
-- Leaves of a day that lies in a file now what its neighbours need, and says where it is; refuses where their rows differ.
SELECT drop_archived_readings(:table_name, :day::date, :path, :sha256, :rows, :first_batch_seq, :last_batch_seq);

-- name: find_allocated_seq
-- Up to which batch every entity whose costs were ever allocated has them, NULL where nobody has; stage_run (stage,
-- entity_id, run_id).
SELECT min(r.batch_seq) AS batch_seq
  FROM entity e
 CROSS JOIN LATERAL (SELECT c.batch_seq FROM stage_run s JOIN cut_off c USING (cut_off_id)
                      WHERE s.stage = 'allocate' AND s.entity_id = e.entity_id ORDER BY s.run_id DESC LIMIT 1) r;

-- name: may_read
-- Whether whoever asks may read all readings: what lies in files has no policy of its own.
SELECT NOT row_security_active('gpu_reading') OR sees_all();

-- name: lend_gpu_reading
-- What stands before a query that finds readings in files too: those that are given, but for what stayed in its table.
WITH lent AS MATERIALIZED (
  SELECT l.* FROM json_populate_recordset(NULL::gpu_reading, :lent::text::json) l
   WHERE NOT EXISTS (SELECT FROM gpu_reading g
                      WHERE g.stored_day = l.stored_day AND g.batch_seq = l.batch_seq AND g.ordinal = l.ordinal)
), every_gpu_reading AS NOT MATERIALIZED (
  SELECT * FROM gpu_reading UNION ALL SELECT * FROM lent
)
SELECT * FROM every_gpu_reading;

-- name: lend_counter_reading
-- What stands before a query that finds counters in files too, as above.
WITH lent AS MATERIALIZED (
  SELECT l.stored_day, l.batch_seq, l.ordinal, l.source_id, l.engine, l.engine_instance, l.run_id, l.run_started_at,
         l.scraped_at, l.metric, (l.labels #>> '{}')::jsonb AS labels, l.value, l.precision_loss
    FROM json_populate_recordset(NULL::counter_reading, :lent::text::json) l
   WHERE NOT EXISTS (SELECT FROM counter_reading g
                      WHERE g.stored_day = l.stored_day AND g.batch_seq = l.batch_seq AND g.ordinal = l.ordinal
                        AND g.metric = l.metric AND g.run_id = l.run_id AND g.labels = (l.labels #>> '{}')::jsonb)
), every_counter_reading AS NOT MATERIALIZED (
  SELECT * FROM counter_reading UNION ALL SELECT * FROM lent
)
SELECT * FROM every_counter_reading;
