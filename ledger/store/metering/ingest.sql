-- name: ensure_partitions
-- Makes the daily partitions from a day on; returns how many were new.
SELECT ensure_partitions(:first_day, :days);

-- name: insert_sources
-- Registers sources on first sight, in the order given; a form once registered stays, one unknown is filled in.
INSERT INTO source (source, form, batch_seq)
SELECT s.source, s.form, :batch_seq
  FROM unnest(:sources::text[], :forms::text[]) WITH ORDINALITY AS s(source, form, place) ORDER BY s.place
ON CONFLICT (source) DO UPDATE SET form = excluded.form WHERE source.form IS NULL AND excluded.form IS NOT NULL;

-- name: insert_source_forms
-- The forms in which owners of bound keys come to sources, in the order given; the first stays.
INSERT INTO source_form (source_id, owner, form, batch_seq)
SELECT s.source_id, f.owner, f.form, :batch_seq
  FROM unnest(:sources::text[], :owners::text[], :forms::text[]) WITH ORDINALITY AS f(source, owner, form, place)
  JOIN source s USING (source)
 ORDER BY f.place
ON CONFLICT (source_id, owner) DO NOTHING;

-- name: insert_usage_keys
-- Keys by content, in the order given. Primary key.
INSERT INTO usage_key (usage_key_id, entity_id, customer_id, customer_ref, project_id, api_key_id, agent_id,
                       tier, model, adapter, region, context_band, outcomes)
SELECT k.* FROM unnest(:ids::bigint[], :entities::text[], :customers::text[], :refs::text[], :projects::text[],
                       :api_keys::text[], :agents::text[], :tiers::text[], :models::text[], :adapters::text[],
                       :regions::text[], :bands::smallint[], :outcomes::smallint[]) AS k
ON CONFLICT (usage_key_id) DO NOTHING;

-- name: find_usage_keys
-- Keys by their ids. Primary key.
SELECT k.usage_key_id, k.entity_id, k.customer_id, k.customer_ref, k.project_id, k.api_key_id, k.agent_id,
       k.tier, k.model, k.adapter, k.region, k.context_band, k.outcomes
  FROM usage_key k WHERE k.usage_key_id = ANY(:ids::bigint[]);

-- name: insert_engine_keys
-- Keys by content, in the order given. Primary key.
INSERT INTO engine_key (engine_key_id, engine_instance, model, tier)
SELECT k.* FROM unnest(:ids::bigint[], :instances::text[], :models::text[], :tiers::text[]) AS k
ON CONFLICT (engine_key_id) DO NOTHING;

-- name: find_engine_keys
-- Keys by their ids. Primary key.
SELECT k.engine_key_id, k.engine_instance, k.model, k.tier FROM engine_key k WHERE k.engine_key_id = ANY(:ids::bigint[]);

-- name: lock_identities
-- Waits, in the order given, for whoever stores or corrects the same places; two keys, so that no
-- cut-off takes these locks for batch numbers.
SELECT pg_advisory_xact_lock(lock_class('place'), p.place)
  FROM unnest(:places::int[]) WITH ORDINALITY AS p(place, n) ORDER BY p.n;

-- name: find_batches
-- Which of these places are taken, and by what. Primary key.
SELECT o.n::int AS n, b.digest, b.batch_seq, b.ordinal_from, b.events, b.owner
  FROM unnest(:source_ids::int[], :producers::text[], :epochs::bigint[], :sequences::bigint[])
       WITH ORDINALITY AS o(source_id, producer, epoch, sequence, n)
  JOIN ingest_batch b USING (source_id, producer, epoch, sequence);

-- name: insert_batches
-- Claims places; those already taken are left out of the count.
INSERT INTO ingest_batch (source_id, producer, epoch, sequence, digest, batch_seq, ordinal_from, events, owner)
SELECT o.source_id, o.producer, o.epoch, o.sequence, o.digest, :batch_seq, o.ordinal_from, o.events, o.owner
  FROM unnest(:source_ids::int[], :producers::text[], :epochs::bigint[], :sequences::bigint[], :digests::uuid[],
              :ordinals::int[], :events::int[], :owners::text[])
       AS o(source_id, producer, epoch, sequence, digest, ordinal_from, events, owner)
ON CONFLICT DO NOTHING;

-- name: insert_quarantine
-- Keeps what was refused, and its raw bytes apart with their expiry.
WITH refused AS (
  INSERT INTO quarantine (batch_seq, ordinal, source, event_id, reason, detail, received_at, items)
  SELECT :batch_seq, q.ordinal, q.source, q.event_id, q.reason, q.detail, :received_at, q.items
    FROM unnest(:ordinals::int[], :sources::text[], :event_ids::text[], :reasons::text[], :details::text[], :items::int[])
         AS q(ordinal, source, event_id, reason, detail, items)
   ORDER BY q.ordinal
  RETURNING quarantine_id, ordinal
)
INSERT INTO quarantine_raw (quarantine_id, raw, truncated, binding, sent_as, expires_at)
SELECT r.quarantine_id, o.raw, o.truncated, o.binding, o.sent_as, :expires_at
  FROM refused r
  JOIN unnest(:ordinals::int[], :raws::bytea[], :truncated::boolean[], :bindings::jsonb[], :sent_as::jsonb[])
       AS o(ordinal, raw, truncated, binding, sent_as) USING (ordinal)
 WHERE o.raw IS NOT NULL;

-- name: count_kept
-- How many refused items of each source were kept since a moment, `most` at most; quarantine (source, received_at).
SELECT s.source, n.kept
  FROM unnest(:sources::text[]) AS s(source)
 CROSS JOIN LATERAL (SELECT count(*) AS kept FROM (
   SELECT FROM quarantine q WHERE q.source = s.source AND q.received_at > :since LIMIT :most) q) n;

-- name: insert_position
-- A partition's first position, unless it has one.
INSERT INTO kafka_position (cluster_id, topic_id, partition, topic, next_offset, batch_seq)
VALUES (:cluster_id, :topic_id, :partition, :topic, :next_offset, 0) ON CONFLICT DO NOTHING;

-- name: find_positions
-- Where each partition of a topic stands. Primary key.
SELECT p.partition, p.next_offset FROM kafka_position p
 WHERE p.cluster_id = :cluster_id AND p.topic_id = :topic_id AND p.partition = ANY(:partitions::int[]);

-- name: move_position
-- Moves a partition on, only from where the caller believes it stands.
UPDATE kafka_position SET next_offset = :next_offset, batch_seq = :batch_seq
 WHERE cluster_id = :cluster_id AND topic_id = :topic_id AND partition = :partition
   AND next_offset = :expected;

-- name: insert_gap
-- Names offsets that the broker no longer has.
INSERT INTO kafka_gap (cluster_id, topic_id, partition, from_offset, to_offset)
VALUES (:cluster_id, :topic_id, :partition, :from_offset, :to_offset) ON CONFLICT DO NOTHING;
