-- name: lock_months
-- Waits for whoever books entries of the entity, closes or opens a month of it; held until the transaction ends.
SELECT pg_advisory_xact_lock(lock_class('months'), hashtext(:entity_id));

-- name: list_states
-- The last change of each month of an entity, in order; primary key.
SELECT DISTINCT ON (s.month) s.month, s.change_no, s.state, s.seal FROM month_state s
 WHERE s.entity_id = :entity_id ORDER BY s.month, s.change_no DESC;

-- name: find_first_booked
-- When the first entry of an entity is booked for; journal_entry (entity_id, booked_for).
SELECT min(e.booked_for) AS booked_for FROM journal_entry e WHERE e.entity_id = :entity_id;

-- name: digest_month
-- What the journal says of a month, line by line in its order: how many lines, the last entry of the entity, and the
-- SHA-256 of the bytes that PostgreSQL would send of each; journal_entry (entity_id, booked_for), posting.
SELECT coalesce((SELECT max(m.entry_id) FROM journal_entry m WHERE m.entity_id = :entity_id), 0) AS until_entry_id,
       count(*) AS lines,
       sha256(coalesce(string_agg(sha256(l.said), ''::bytea
                                  ORDER BY l.booked_for, l.natural_key COLLATE "C", l.revision, l.line_no), '')) AS digest
  FROM (SELECT e.booked_for, e.natural_key, e.revision, p.line_no,
               record_send(ROW(e.booked_for, e.corrects, e.kind, e.natural_key, e.revision, e.description, p.line_no,
                               p.account, trim_scale(p.amount::numeric), p.currency::text, p.customer_id, p.dimension,
                               p.tier, p.model)) AS said
          FROM journal_entry e JOIN posting p USING (entry_id)
         WHERE e.entity_id = :entity_id AND e.booked_for >= :since AND e.booked_for < :until) l;

-- name: insert_state
-- A change of a month, sealed where that closes it.
INSERT INTO month_state (entity_id, month, change_no, state, since, until, accepted, reason, actor, request_id,
                         changed_at, cut_off_id, batch_seq, until_entry_id, lines, lines_digest, previous, seal)
VALUES (:entity_id, :month, :change_no, :state, :since, :until, :accepted::jsonb, :reason, :actor, :request_id,
        :changed_at, :cut_off_id, :batch_seq, :until_entry_id::bigint, :lines::bigint, :lines_digest::bytea,
        :previous::bytea, :seal::bytea);
