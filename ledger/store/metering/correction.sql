-- name: find_corrections
-- Stored revisions of these targets. Primary key.
SELECT o.n::int AS n, c.owner, c.revision, c.original, c.digest, c.batch_seq, c.ordinal
  FROM unnest(:source_ids::int[], :targets::text[]) WITH ORDINALITY AS o(source_id, target, n)
  JOIN correction c ON c.source_id = o.source_id AND c.target = o.target;

-- name: find_corrected_ids
-- Targets of stored corrections inside these sequenced batches. Primary key, a range a batch.
SELECT DISTINCT c.source_id, c.target
  FROM unnest(:source_ids::int[], :prefixes::text[]) AS o(source_id, prefix)
  JOIN correction c ON c.source_id = o.source_id
   AND c.target >= o.prefix || '/' COLLATE "C" AND c.target < o.prefix || '0' COLLATE "C";

-- name: insert_corrections
-- Remembers revisions; one already there is left out of the count.
INSERT INTO correction (source_id, target, owner, revision, original, digest, batch_seq, ordinal)
SELECT o.source_id, o.target, o.owner, o.revision, o.original, o.digest, :batch_seq, o.ordinal
  FROM unnest(:source_ids::int[], :targets::text[], :owners::text[], :revisions::int[], :originals::boolean[],
              :digests::uuid[], :ordinals::int[])
       AS o(source_id, target, owner, revision, original, digest, ordinal)
ON CONFLICT DO NOTHING;

-- name: find_first
-- The usage that came first to each place, be it by a replay, with its key's customer and after how many changes of
-- fate; none for a place of a reading or of what nobody could read, which is `refused`; rows alone. Indexes as find_standing's, quarantine (batch_seq, ordinal).
WITH chain AS MATERIALIZED (
  SELECT * FROM fates_of(:batch_seqs::bigint[], :ordinals::int[])
), places AS MATERIALIZED (
  SELECT c.batch_seq, array_agg(c.ordinal) AS ordinals FROM chain c GROUP BY c.batch_seq
), facts AS MATERIALIZED (
  SELECT f.* FROM places p
   CROSS JOIN LATERAL (SELECT * FROM usage_fact u
                        WHERE u.batch_seq = p.batch_seq AND u.ordinal = ANY(p.ordinals) OFFSET 0) f
)
SELECT DISTINCT ON (c.n) c.n::int - 1 AS n, CASE WHEN u.batch_seq IS NOT NULL THEN c.depth END AS depth, k.customer_id,
       EXISTS (SELECT FROM quarantine q WHERE q.batch_seq = c.batch_seq AND q.ordinal = c.ordinal) AS refused
  FROM chain c
  LEFT JOIN facts u ON u.batch_seq = c.batch_seq AND u.ordinal = c.ordinal
  LEFT JOIN usage_key k USING (usage_key_id)
 ORDER BY c.n, u.batch_seq IS NULL, c.depth;

-- name: find_standing
-- The fact that stands now for each place, after every change of fate, with its key's customer.
-- Indexes: fate_change (fact_batch_seq, fact_ordinal), usage_fact BRIN (batch_seq), one probe a batch; OFFSET 0
-- holds the planner to them: it cannot know how few places there are.
WITH places AS MATERIALIZED (
  SELECT * FROM standing_facts(:batch_seqs::bigint[], :ordinals::int[])
), facts AS MATERIALIZED (
  SELECT f.* FROM (SELECT p.batch_seq, array_agg(p.ordinal) AS ordinals FROM places p GROUP BY p.batch_seq) b
   CROSS JOIN LATERAL (SELECT * FROM usage_fact u
                        WHERE u.batch_seq = b.batch_seq AND u.ordinal = ANY(b.ordinals) OFFSET 0) f
)
SELECT c.n::int AS n, u.batch_seq, u.ordinal, u.lane, u.kind, u.flags, u.source_id, u.usage_key_id,
       u.engine_key_id, u.time, u.started_at, u.first_token_at, u.ended_at, u.queue_ms, u.requests, u.uncached,
       u.cache_read, u.cache_write, u.visible, u.reasoning, u.event_id, u.agent_run_id,
       u.end_user::text AS end_user, k.customer_id
  FROM places c
  JOIN facts u ON u.batch_seq = c.batch_seq AND u.ordinal = c.ordinal
  JOIN usage_key k USING (usage_key_id);

-- name: find_row_event_ids
-- The id of the fact in a row at each place. Index as find_standing's, a probe a place.
SELECT o.n::int AS n, u.event_id
  FROM unnest(:batch_seqs::bigint[], :ordinals::int[]) WITH ORDINALITY AS o(batch_seq, ordinal, n)
 CROSS JOIN LATERAL (SELECT * FROM usage_fact f
                      WHERE f.batch_seq = o.batch_seq AND f.ordinal = o.ordinal OFFSET 0) u;
