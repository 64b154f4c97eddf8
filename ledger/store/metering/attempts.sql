-- name: sum_attempts
-- By engine instance and hour in [since, until): requests that ended in it, those of them without a final count, and
-- the tokens of attempts that ran over one of its edges. A scan of the days stored since the day before.
WITH attempt AS (
  SELECT k.engine_instance, f.flags, f.requests, f.uncached + f.cache_read + f.cache_write AS input,
         f.visible + f.reasoning AS output, date_bin('1 hour', f.time, 'epoch') AS hour,
         date_bin('1 hour', coalesce(f.started_at, f.time), 'epoch') AS first_hour
    FROM usage_fact f JOIN engine_key k USING (engine_key_id)
   WHERE f.stored_day >= ((:since::timestamptz - interval '1 day') AT TIME ZONE 'UTC')::date
     AND f.time >= :since AND f.time < :until::timestamptz + interval '1 hour' AND f.batch_seq <= :batch_seq
     AND k.engine_instance <> ''
), part AS (
  SELECT a.*, h.hour AS of_hour, h.hour = a.hour AS ended, a.first_hour < a.hour AS over_edge
    FROM attempt a
   CROSS JOIN LATERAL generate_series(greatest(a.first_hour, a.hour - interval '1 day'), a.hour, interval '1 hour')
         AS h(hour)
   WHERE h.hour >= date_bin('1 hour', :since::timestamptz, 'epoch') AND h.hour < :until
)
SELECT p.engine_instance, p.of_hour AS hour,
       coalesce(sum(p.requests) FILTER (WHERE p.ended), 0) AS requests,
       coalesce(sum(p.requests) FILTER (WHERE p.ended AND p.flags & :unfinished::int <> 0), 0) AS unfinished,
       coalesce(sum(p.input) FILTER (WHERE p.over_edge), 0) AS input_over_edge,
       coalesce(sum(p.output) FILTER (WHERE p.over_edge), 0) AS output_over_edge
  FROM part p
 GROUP BY p.engine_instance, p.of_hour
 ORDER BY p.engine_instance, p.of_hour;
