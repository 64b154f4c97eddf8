-- name: insert_accounts
-- The chart of accounts; what is there stays.
INSERT INTO account (account, name, type)
SELECT * FROM unnest(:accounts::text[], :names::text[], :types::text[]) AS a (account, name, type)
    ON CONFLICT DO NOTHING;

-- name: find_booked
-- What all revisions of some natural keys have booked, by place; leads by (natural_key, revision).
SELECT e.natural_key, e.revision, p.account, p.currency, p.customer_id, p.dimension, p.tier, p.model, p.amount
  FROM journal_entry e LEFT JOIN posting p USING (entry_id)
 WHERE e.natural_key = ANY(:natural_keys::text[]);

-- name: find_revisions
-- The last revision of some natural keys; leads by (natural_key, revision).
SELECT e.natural_key, max(e.revision) AS revision FROM journal_entry e
 WHERE e.natural_key = ANY(:natural_keys::text[]) GROUP BY 1;

-- name: hold_months
-- Keeps months of some entities as they are until the transaction ends; waits for whoever closes or opens one.
SELECT pg_advisory_xact_lock_shared(lock_class('months'), hashtext(o.entity_id))
  FROM (SELECT DISTINCT entity_id FROM unnest(:entities::text[]) AS e (entity_id) ORDER BY 1) o;

-- name: insert_entries
-- New revisions of entries; returns their ids by natural key. What belongs to a closed month is booked for the first
-- moment after it, and says what it corrects.
WITH closed AS MATERIALIZED (
  SELECT o.entity_id, closed_until(o.entity_id) AS until FROM (SELECT DISTINCT unnest(:entities::text[]) AS entity_id) o
)
INSERT INTO journal_entry (entity_id, kind, natural_key, revision, booked_for, corrects, customer_id,
                           cut_off_id, batch_seq, description)
SELECT entity_id, e.kind, e.natural_key, e.revision, greatest(e.booked_for, c.until),
       CASE WHEN e.booked_for < c.until THEN e.booked_for END, e.customer_id, :cut_off_id, :batch_seq, e.description
  FROM unnest(:entities::text[], :kinds::text[], :natural_keys::text[], :revisions::int[],
              :booked_for::timestamptz[], :customers::text[], :descriptions::text[])
       AS e (entity_id, kind, natural_key, revision, booked_for, customer_id, description)
  JOIN closed c USING (entity_id)
RETURNING entry_id, natural_key;

-- name: list_journal_lines
-- Every posting of an entity in a period, in the order of the journal, with the cut-offs of its entry and of the
-- revision before (0: there is none), by journal_entry (natural_key, revision).
SELECT p.line_no, e.kind, e.natural_key, e.revision, e.booked_for, e.corrects, p.account, a.name, p.amount,
       p.currency,
       p.customer_id, p.dimension, p.tier, p.model, e.description, c.batch_seq AS cut_off,
       CASE WHEN e.revision = 1 THEN 0
            ELSE coalesce((SELECT k.batch_seq FROM journal_entry b JOIN cut_off k USING (cut_off_id)
                            WHERE b.natural_key = e.natural_key AND b.revision = e.revision - 1), 0) END AS booked_seq
  FROM journal_entry e
  JOIN posting p USING (entry_id)
  JOIN account a USING (account)
  JOIN cut_off c USING (cut_off_id)
 WHERE e.entity_id = :entity_id AND e.batch_seq <= :batch_seq
   AND e.booked_for >= :since AND e.booked_for < :until
 ORDER BY e.booked_for, e.natural_key COLLATE "C", e.revision, p.line_no;

-- name: find_journal_head
-- What the postings of an entity in a period name, sorted, and when the first was booked for.
SELECT coalesce(array_agg(DISTINCT a.name COLLATE "C" ORDER BY a.name COLLATE "C"), '{}') AS accounts,
       coalesce(array_agg(DISTINCT p.currency COLLATE "C" ORDER BY p.currency COLLATE "C"), '{}') AS currencies,
       min(e.booked_for) AS first
  FROM journal_entry e JOIN posting p USING (entry_id) JOIN account a USING (account)
 WHERE e.entity_id = :entity_id AND e.batch_seq <= :batch_seq
   AND e.booked_for >= :since AND e.booked_for < :until;
