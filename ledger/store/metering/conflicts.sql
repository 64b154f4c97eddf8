-- name: list_conflicts
-- Conflicts that nobody has resolved (or all, with `resolved`), newest first, below a given id; conflict (conflict_id),
-- one probe each of source, offer and resolution.
SELECT c.conflict_id, s.source, c.event_id, c.items, c.batch_seq, c.ordinal,
       c.stored_batch_seq, c.stored_ordinal, o.batch_seq IS NOT NULL AS offer_kept, o.expires_at,
       r.resolution, r.actor AS resolved_by, r.reason, r.resolved_at
  FROM conflict c
  JOIN source s USING (source_id)
  LEFT JOIN conflict_offer o ON o.batch_seq = c.batch_seq AND o.ordinal = c.ordinal
  LEFT JOIN conflict_resolution r USING (conflict_id)
 WHERE c.conflict_id < :before AND (:source::text IS NULL OR s.source = :source)
   AND (:resolved OR r.conflict_id IS NULL)
 ORDER BY c.conflict_id DESC LIMIT :rows;

-- name: find_conflict
-- One conflict with what was offered, as far as it is kept; conflict (conflict_id), a probe each of the others.
SELECT c.conflict_id, c.source_id, s.source, s.form,
       (SELECT jsonb_object_agg(f.owner, f.form) FROM source_form f WHERE f.source_id = c.source_id) AS of_bound, c.event_id, c.items, c.batch_seq, c.ordinal,
       c.stored_batch_seq, c.stored_ordinal, o.batch_seq IS NOT NULL AS offer_kept, o.offered, o.truncated, o.binding, o.expires_at,
       r.resolution, r.actor AS resolved_by, r.reason, r.resolved_at
  FROM conflict c
  JOIN source s USING (source_id)
  LEFT JOIN conflict_offer o ON o.batch_seq = c.batch_seq AND o.ordinal = c.ordinal
  LEFT JOIN conflict_resolution r USING (conflict_id)
 WHERE c.conflict_id = :conflict_id;

-- name: count_conflicts
-- Conflicts that nobody has resolved; both by number of rows.
SELECT (SELECT count(*) FROM conflict) - (SELECT count(*) FROM conflict_resolution);

-- name: list_stored_usage
-- Attempts of a batch from an ordinal on, as they are stored, with who and what they name; usage_fact BRIN (batch_seq).
SELECT f.batch_seq, f.ordinal, f.event_id, f.time, f.started_at, f.first_token_at, f.ended_at, k.customer_ref,
       k.project_id, k.api_key_id, k.agent_id, k.tier, k.model, k.adapter, k.region, e.engine_instance,
       f.requests, f.uncached, f.cache_read, f.cache_write, f.visible, f.reasoning
  FROM usage_fact f JOIN usage_key k USING (usage_key_id) JOIN engine_key e USING (engine_key_id)
 WHERE f.batch_seq = :batch_seq AND f.ordinal >= :first AND f.ordinal < :until
 ORDER BY f.ordinal LIMIT :most;

-- name: list_stored_readings
-- Readings of a batch from an ordinal on, as they are stored; gpu_reading BRIN (batch_seq).
SELECT g.batch_seq, g.ordinal, g.gpu_uuid, g.epoch, g.sampled_at, g.energy_mj, g.power_mw, g.method, g.quality
  FROM gpu_reading g
 WHERE g.batch_seq = :batch_seq AND g.ordinal >= :first AND g.ordinal < :until
 ORDER BY g.ordinal LIMIT :most;

-- name: list_stored_gaps
-- Stretches without readings of a batch from an ordinal on, as they are stored; meter_gap BRIN (batch_seq).
SELECT g.batch_seq, g.ordinal, g.gpu_uuid, g.reason, g.since, g.until, g.detail
  FROM meter_gap g
 WHERE g.batch_seq = :batch_seq AND g.ordinal >= :first AND g.ordinal < :until
 ORDER BY g.ordinal LIMIT :most;

-- name: list_stored_counters
-- Counters of a batch from an ordinal on, as they are stored; counter_reading BRIN (batch_seq).
SELECT c.batch_seq, c.ordinal, c.engine, c.engine_instance, c.run_id, c.scraped_at, c.metric, c.labels, c.value
  FROM counter_reading c
 WHERE c.batch_seq = :batch_seq AND c.ordinal >= :first AND c.ordinal < :until
 ORDER BY c.ordinal, c.metric LIMIT :most;

-- name: insert_resolution
-- Says what became of a conflict; the first word stands.
INSERT INTO conflict_resolution (conflict_id, resolution, actor, reason, resolved_at)
VALUES (:conflict_id, :resolution, :actor, :reason, :resolved_at) ON CONFLICT DO NOTHING;

-- name: expire_offers
-- Deletes what was offered once its time is over.
DELETE FROM conflict_offer WHERE expires_at <= :now;

-- name: count_offered
-- How many events of each source are kept that expire after a moment, `most` conflicts at most; conflict_offer
-- (source_id, expires_at).
SELECT s.source_id, n.items
  FROM unnest(:source_ids::int[]) AS s(source_id)
 CROSS JOIN LATERAL (SELECT coalesce(sum(o.items), 0)::bigint AS items FROM (
   SELECT f.items FROM conflict_offer f WHERE f.source_id = s.source_id AND f.expires_at > :since LIMIT :most) o) n;
