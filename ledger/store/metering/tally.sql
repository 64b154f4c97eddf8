-- name: find_last_tally
-- How far in the stored order usage of an entity is tallied, and since when. Index: primary key.
SELECT t.until_seq, t.tallied_at FROM usage_tally t WHERE t.entity_id = :entity_id ORDER BY t.until_seq DESC LIMIT 1;

-- name: add_tally
-- Adds usage of an entity in (since_seq, batch_seq] up by key and local day. Index: BRIN (batch_seq) of usage_delta and
-- usage_mark.
WITH tallied AS (
  INSERT INTO usage_tally (entity_id, until_seq, tallied_at) VALUES (:entity_id, :batch_seq, :now)
), moved AS (
  SELECT d.usage_key_id, d.window_start, d.requests, d.uncached, d.cache_read, d.cache_write,
         d.visible::numeric + d.reasoning AS output, 0 AS input_unknown, 0 AS output_unknown, 0 AS cached_unknown,
         0 AS written_unknown
    FROM usage_delta d WHERE d.batch_seq > :since_seq AND d.batch_seq <= :batch_seq
   UNION ALL
  SELECT m.usage_key_id, m.window_start, 0, 0, 0, 0, 0, m.input_unknown, m.output_unknown, m.cached_unknown,
         m.written_unknown
    FROM usage_mark m WHERE m.batch_seq > :since_seq AND m.batch_seq <= :batch_seq
), summed AS (
  SELECT m.usage_key_id, date_trunc('day', m.window_start, :zone) AS day_start, sum(m.requests) AS requests,
         sum(m.uncached) AS uncached, sum(m.cache_read) AS cache_read, sum(m.cache_write) AS cache_write,
         sum(m.output) AS output, sum(m.input_unknown) AS input_unknown, sum(m.output_unknown) AS output_unknown,
         sum(m.cached_unknown) AS cached_unknown, sum(m.written_unknown) AS written_unknown
    FROM moved m JOIN usage_key k USING (usage_key_id) WHERE k.entity_id = :entity_id GROUP BY 1, 2
)
INSERT INTO key_day (entity_id, until_seq, usage_key_id, day_start, day_end, requests, uncached, cache_read, cache_write,
                     output, input_unknown, output_unknown, cached_unknown, written_unknown)
SELECT :entity_id, :batch_seq, s.usage_key_id, s.day_start,
       ((s.day_start AT TIME ZONE :zone)::date + 1)::timestamp AT TIME ZONE :zone, s.requests, s.uncached, s.cache_read,
       s.cache_write, s.output, s.input_unknown, s.output_unknown, s.cached_unknown, s.written_unknown
  FROM summed s ORDER BY s.day_start, s.usage_key_id;
