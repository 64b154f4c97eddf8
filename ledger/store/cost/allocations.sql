-- name: find_allocations
-- What is allocated of an entity's windows as it stands, of all scopes or some, with the arrays of its lines, but for
-- those without anything in them. Index:
-- cost_allocation (entity_id, window_start), cost_share's primary key.
SELECT c.scope, c.window_start, c.line, c.revision, c.currency::text AS currency, c.weight_version, c.weight_uncached,
       c.weight_cache_read, c.weight_cache_write, c.weight_output, c.gpu_terms, c.busy_s, c.uncached, c.cache_read,
       c.cache_write, c.output, c.uncached_mj, c.cache_read_mj, c.cache_write_mj, c.output_mj, c.uncached_cost,
       c.cache_read_cost, c.cache_write_cost, c.output_cost, c.steps, c.stepped_output, l.*
  FROM allocations_at(as_it_stands()) c
 CROSS JOIN LATERAL (
   SELECT coalesce(s.usage_key_id, refuse_without_lines(c.entity_id, c.scope, c.window_start)) AS usage_key_id,
          s.device_metered_mj, s.device_estimated_mj, s.host_mj, s.overhead_mj, s.device_cost_low, s.device_cost_high,
          s.overhead_cost_low, s.overhead_cost_high, s.gpu_cost_low, s.gpu_cost_high
     FROM (SELECT 1) AS one
     LEFT JOIN cost_share s ON s.entity_id = c.entity_id AND s.window_start = c.window_start AND s.scope = c.scope
                           AND s.revision = c.revision
    WHERE c.line = 'usage' AND c.lines > 0
    UNION ALL
   SELECT array_fill(0::bigint, o.one), array_fill(c.device_metered_mj, o.one), array_fill(c.device_estimated_mj, o.one),
          array_fill(c.host_mj, o.one), array_fill(c.overhead_mj, o.one),
          array_fill(((c.device_cost - o.device * 10000) * 1000000000000)::bigint, o.one), array_fill(o.device, o.one),
          array_fill(((c.overhead_cost - o.overhead * 10000) * 1000000000000)::bigint, o.one), array_fill(o.overhead, o.one),
          array_fill(((c.gpu_cost - o.gpu * 10000) * 1000000000000)::bigint, o.one), array_fill(o.gpu, o.one)
     FROM (SELECT ARRAY[c.lines] AS one, floor(c.device_cost * 0.0001)::bigint AS device,
                  floor(c.overhead_cost * 0.0001)::bigint AS overhead, floor(c.gpu_cost * 0.0001)::bigint AS gpu) o
    WHERE c.line <> 'usage' OR c.lines = 0
   OFFSET 0) l
 WHERE c.entity_id = :entity_id AND c.window_start = ANY(:windows::timestamptz[])
   AND (:scopes::text[] IS NULL OR c.scope = ANY(:scopes::text[]))
 ORDER BY c.scope, c.window_start, c.line;

-- name: find_parts_of_days
-- What of [since, until) is read window by window at a cut-off, because its days are not added up there.
SELECT lower(rest.period) AS since, upper(rest.period) AS until
  FROM unnest(tstzmultirange(tstzrange(:since, :until)) - coalesce((
         SELECT range_agg(tstzrange(d.day_start, d.day_end)) FROM cost_day d
          WHERE d.entity_id = :entity_id AND d.batch_seq <= :batch_seq AND d.day_start >= :since
            AND d.day_end <= :until), '{}'::tstzmultirange)) AS rest(period)
 ORDER BY 1;

-- name: find_allocated
-- Which lines of usage of an entity in some periods stand at a cut-off, with the stored order their inputs were read up
-- to; `gone`, those that were let go. Index: cost_allocation (entity_id, window_start), cost_share's primary key.
SELECT c.scope, c.window_start, c.revision, c.batch_seq, k.batch_seq AS known_batch_seq, c.digest
  FROM unnest(:sinces::timestamptz[], :untils::timestamptz[]) AS o(since, until)
 CROSS JOIN LATERAL (SELECT a.* FROM allocations_at(:batch_seq) a
                      WHERE a.entity_id = :entity_id AND a.window_start >= o.since AND a.window_start < o.until
                        AND a.line = 'usage' OFFSET 0) c
  JOIN cut_off k USING (cut_off_id)
  LEFT JOIN LATERAL (SELECT n.revision FROM cost_share n
                      WHERE n.entity_id = :entity_id AND n.window_start = c.window_start AND n.scope = c.scope
                        AND n.revision = c.revision OFFSET 0) s ON true
 WHERE c.lines > 0 AND NOT (:gone::boolean AND s.revision IS NOT NULL)
 ORDER BY c.window_start, c.scope;

-- name: find_days_to_thin
-- Local days of an entity that are added up and booked, and have lines of windows that nobody asked for within an hour.
-- Where cost is a price, invoices go by windows: none are let go. Index: cost_share's primary key.
WITH booked AS (
  SELECT o.batch_seq FROM stage_run s JOIN cut_off o USING (cut_off_id)
   WHERE s.stage = 'book_cost' AND s.entity_id = :entity_id ORDER BY s.run_id DESC LIMIT 1
)
SELECT d.day_start, d.day_end, b.batch_seq AS booked_seq
  FROM booked b JOIN cost_day d ON d.batch_seq <= b.batch_seq
 WHERE d.entity_id = :entity_id
   AND EXISTS (SELECT FROM cost_share s
                WHERE s.entity_id = d.entity_id AND s.window_start >= d.day_start AND s.window_start < d.day_end
                  AND s.batch_seq <= b.batch_seq AND (s.recalled_at IS NULL OR s.recalled_at < now() - interval '1 hour'))
   AND NOT EXISTS (SELECT FROM parked p WHERE p.stage = 'book_cost' AND p.entity_id = d.entity_id
                      AND (p.windows IS NULL OR p.windows @> d.day_start))
   AND NOT EXISTS (SELECT FROM rate_card r JOIN rate_card_price p USING (rate_card_id)
                    WHERE r.entity_id = d.entity_id AND p.kind = 'cost_plus')
 ORDER BY d.day_start;

-- name: let_lines_go
-- Lets lines of an entity's windows go that were stored up to a batch, but for those that somebody asked for within an hour.
-- Index: cost_share's primary key.
DELETE FROM cost_share s
 WHERE s.entity_id = :entity_id AND s.window_start >= :since AND s.window_start < :until AND s.batch_seq <= :batch_seq
   AND (s.recalled_at IS NULL OR s.recalled_at < now() - interval '1 hour');

-- name: list_thin_days
-- Local days that are added up, of all entities, and lack lines of windows as they stand. A scan of cost_allocation.
SELECT d.entity_id, d.day_start, d.day_end
  FROM cost_day d
 WHERE EXISTS (SELECT FROM allocations_at(as_it_stands()) c
                WHERE c.entity_id = d.entity_id AND c.window_start >= d.day_start AND c.window_start < d.day_end
                  AND c.line = 'usage' AND c.lines > 0
                  AND NOT EXISTS (SELECT FROM cost_share s
                                   WHERE s.entity_id = c.entity_id AND s.window_start = c.window_start
                                     AND s.scope = c.scope AND s.revision = c.revision))
 ORDER BY d.entity_id, d.day_start;

-- name: find_present
-- When it is, by the clock of the database.
SELECT clock_timestamp();
