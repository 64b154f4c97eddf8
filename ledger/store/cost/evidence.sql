-- name: find_window_costs
-- The cost lines of a scope in one window as they stood at a cut-off, with whose usage each is of and the stored order
-- its inputs were read up to. Index: primary key.
SELECT c.line, c.usage_key_id, c.revision, c.cut_off_id, k.batch_seq AS known_batch_seq, c.currency,
       u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model, c.weight_version, c.gpu_terms, c.busy_s,
       c.device_metered_mj, c.device_estimated_mj, c.host_mj, c.overhead_mj,
       c.device_cost, c.overhead_cost, c.gpu_cost
  FROM cost_lines_at(:batch_seq) c JOIN cut_off k USING (cut_off_id) LEFT JOIN usage_key u USING (usage_key_id)
 WHERE c.scope = :scope AND c.window_start = :window_start AND c.entity_id = :entity_id
 ORDER BY c.line, c.usage_key_id;

-- name: find_window_pools
-- The pools that the cost lines of a scope in one window were cut from, as they stood at a cut-off. Index: primary key.
SELECT p.kind, p.revision, p.cut_off_id, p.currency, p.amount FROM pools_at(:batch_seq) p
 WHERE p.scope = :scope AND p.window_start = :window_start
 ORDER BY p.kind;

-- name: list_scopes
-- The scopes of an entity that have cost lines in one window. Index: cost_allocation (entity_id, window_start).
SELECT DISTINCT c.scope FROM cost_allocation c
 WHERE c.entity_id = :entity_id AND c.window_start = :window_start AND c.batch_seq <= :batch_seq
 ORDER BY c.scope;

-- name: find_cost_span
-- The first and the last window in which an entity has cost lines. Index: cost_allocation (entity_id, window_start).
SELECT min(c.window_start) AS first_window, max(c.window_start) AS last_window FROM cost_allocation c
 WHERE c.entity_id = :entity_id AND c.batch_seq <= :batch_seq;

-- name: list_sources
-- The sources there are, or the one of a name.
SELECT s.source_id, s.source FROM source s WHERE :source::text IS NULL OR s.source = :source ORDER BY s.source;

-- name: find_events
-- Where events of this id were stored: a key of an id, one for each of some sources, or a place of a sequenced batch. Unique
-- indexes of event_key and the primary key of ingest_batch, one probe a source.
SELECT o.source, k.batch_seq, k.ordinal
  FROM unnest(:sources::text[], :keys::uuid[]) AS o(source, key)
 CROSS JOIN LATERAL (SELECT * FROM taken_event c WHERE c.slot = slot_of(o.key) AND c.key = o.key OFFSET 0) k
UNION ALL
SELECT s.source, b.batch_seq, b.ordinal_from + :ordinal::int
  FROM source s CROSS JOIN LATERAL (SELECT * FROM ingest_batch i
                                     WHERE i.source_id = s.source_id AND i.producer = :producer::text
                                       AND i.epoch = :epoch::bigint AND i.sequence = :sequence::bigint OFFSET 0) b
 WHERE (:source::text IS NULL OR s.source = :source) AND :ordinal::int < b.events
 ORDER BY source;

-- name: find_key_lines
-- Lines of a usage key in windows of some entities as they stood at a cut-off, with the stored order its inputs were read
-- up to. Index: cost_allocation (entity_id, window_start).
SELECT c.entity_id, c.scope, c.window_start, k.batch_seq AS known_batch_seq, c.currency, c.weight_version,
       c.device_metered_mj, c.device_estimated_mj, c.host_mj, c.overhead_mj, c.device_cost, c.overhead_cost, c.gpu_cost
  FROM cost_lines_at(:batch_seq) c JOIN cut_off k USING (cut_off_id)
 WHERE c.entity_id = ANY(:entity_ids::text[]) AND c.window_start = ANY(:windows::timestamptz[])
   AND c.usage_key_id = :usage_key_id
 ORDER BY c.window_start, c.scope;
