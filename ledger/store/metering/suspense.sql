-- name: list_suspended_refs
-- References nobody knows that have usage. Index: usage_delta (customer_id, window_start).
SELECT k.customer_ref
  FROM usage_delta d JOIN usage_key k USING (usage_key_id)
 WHERE d.customer_id IS NULL
 GROUP BY k.customer_ref
HAVING sum(d.requests) <> 0
 ORDER BY k.customer_ref;

-- name: find_suspended_keys
-- Keys of a reference nobody knew.
SELECT k.usage_key_id, k.entity_id, k.customer_id, k.customer_ref, k.project_id, k.api_key_id, k.agent_id,
       k.tier, k.model, k.adapter, k.region, k.context_band, k.outcomes
  FROM usage_key k WHERE k.customer_id IS NULL AND k.customer_ref = :customer_ref;

-- name: find_suspended_facts
-- Facts of these keys that stand, oldest first, at most `most`; a closed day by (usage_key_id, time), an open
-- one whole, none that a page before has ended in.
SELECT 0 AS n, u.batch_seq, u.ordinal, u.lane, u.kind, u.flags, u.source_id, u.usage_key_id,
       u.engine_key_id, u.time, u.started_at, u.first_token_at, u.ended_at, u.queue_ms, u.requests, u.uncached,
       u.cache_read, u.cache_write, u.visible, u.reasoning, u.event_id, u.agent_run_id,
       u.end_user::text AS end_user, NULL::text AS customer_id
  FROM usage_fact u
 WHERE u.usage_key_id = ANY(:usage_key_ids::bigint[]) AND NOT is_reversal(u.kind)
   AND u.batch_seq >= :after_seq AND (u.batch_seq, u.ordinal) > (:after_seq::bigint, :after_ordinal::int)
   AND NOT EXISTS (SELECT FROM fate_change f
                    WHERE f.fact_batch_seq = u.batch_seq AND f.fact_ordinal = u.ordinal)
   AND NOT is_superseded(u.flags)
 ORDER BY u.batch_seq, u.ordinal
 LIMIT :most;

-- name: count_waiting
-- Facts in rows of a day that stand for a customer nobody knows: releasing them needs them at hand.
SELECT count(*) FROM usage_fact f JOIN usage_key k USING (usage_key_id)
 WHERE f.stored_day = :day AND k.customer_id IS NULL AND NOT is_reversal(f.kind) AND NOT is_superseded(f.flags)
   AND NOT EXISTS (SELECT FROM fate_change c
                    WHERE c.fact_batch_seq = f.batch_seq AND c.fact_ordinal = f.ordinal);

-- name: find_changed_places
-- Which facts of some batches have changed their fate; fate_change (fact_batch_seq, fact_ordinal).
SELECT f.fact_batch_seq AS batch_seq, f.fact_ordinal AS ordinal
  FROM fate_change f WHERE f.fact_batch_seq = ANY(:batch_seqs::bigint[]);

-- name: find_unknown_keys
-- Keys of references nobody knew.
SELECT k.usage_key_id FROM usage_key k WHERE k.customer_id IS NULL;

-- name: find_quarantined
-- Refused items by id with what is left of their raw bytes, and the place of those from numbered batches.
SELECT q.quarantine_id, q.batch_seq, q.ordinal, q.source, q.reason, q.items, r.raw, r.truncated, r.binding, r.sent_as,
       p.quarantine_id IS NOT NULL AS replayed, d.quarantine_id IS NOT NULL AS dismissed,
       b.source_id, b.producer, b.epoch, b.sequence, b.ordinal_from
  FROM quarantine q
  LEFT JOIN quarantine_raw r USING (quarantine_id)
  LEFT JOIN quarantine_replay p USING (quarantine_id)
  LEFT JOIN quarantine_dismissal d USING (quarantine_id)
  LEFT JOIN ingest_batch b ON b.batch_seq = q.batch_seq
   AND q.ordinal >= b.ordinal_from AND q.ordinal < b.ordinal_from + b.events
 WHERE q.quarantine_id = ANY(:quarantine_ids::bigint[])
 ORDER BY q.quarantine_id;

-- name: dismiss_quarantined
-- Says that nobody waits for these any more; one already dismissed stays as it is.
INSERT INTO quarantine_dismissal (quarantine_id, actor, reason, dismissed_at)
SELECT d.quarantine_id, :actor, :reason, :dismissed_at FROM unnest(:quarantine_ids::bigint[]) AS d(quarantine_id)
ON CONFLICT DO NOTHING;

-- name: dismiss_suspense
-- Says that nobody will ever own what waits under a name, as much as waits now.
INSERT INTO suspense_dismissal (customer_ref, requests, input_tokens, output_tokens, actor, reason, dismissed_at)
VALUES (:customer_ref, :requests, :input_tokens, :output_tokens, :actor, :reason, :dismissed_at);

-- name: expire_raw
-- Deletes raw bytes whose time is over.
DELETE FROM quarantine_raw WHERE expires_at <= :now;
