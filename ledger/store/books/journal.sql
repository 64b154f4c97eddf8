-- name: insert_accounts
-- The chart of accounts; what is there stays.
INSERT INTO account (account, name, type)
SELECT * FROM unnest(:accounts::text[], :names::text[], :types::text[]) AS a (account, name, type)
    ON CONFLICT DO NOTHING;

-- name: find_booked
-- What all revisions of some natural keys have booked, by place; leads by (natural_key, revision).
SELECT e.natural_key, e.revision, p.account, p.currency, p.customer_id, p.dimension, p.amount
  FROM journal_entry e LEFT JOIN posting p USING (entry_id)
 WHERE e.natural_key = ANY(:natural_keys::text[]);

-- name: insert_entries
-- New revisions of entries; returns their ids by natural key.
INSERT INTO journal_entry (entity_id, kind, natural_key, revision, booked_for, customer_id,
                           cut_off_id, batch_seq, description)
SELECT e.entity_id, e.kind, e.natural_key, e.revision, e.booked_for, e.customer_id,
       :cut_off_id, :batch_seq, e.description
  FROM unnest(:entities::text[], :kinds::text[], :natural_keys::text[], :revisions::int[],
              :booked_for::timestamptz[], :customers::text[], :descriptions::text[])
       AS e (entity_id, kind, natural_key, revision, booked_for, customer_id, description)
RETURNING entry_id, natural_key;

-- name: insert_postings
-- All postings of some entries in one statement, which must balance for each entry.
INSERT INTO posting (entry_id, line_no, account, amount, currency, customer_id, dimension)
SELECT * FROM unnest(:entry_ids::bigint[], :line_nos::int[], :accounts::text[], :amounts::numeric[],
                     :currencies::text[], :customers::text[], :dimensions::text[]) AS p (entry_id, line_no, account, amount, currency, customer_id, dimension);

-- name: sum_accounts
-- Balance of every account of an entity at a cut-off.
SELECT p.account, a.name, a.type, p.currency, sum(p.amount) AS amount
  FROM journal_entry e JOIN posting p USING (entry_id) JOIN account a USING (account)
 WHERE e.entity_id = :entity_id AND e.batch_seq <= :batch_seq
 GROUP BY p.account, a.name, a.type, p.currency
 ORDER BY p.account, p.currency;

-- name: list_journal_lines
-- Every posting of an entity in a period, in the order of the journal.
SELECT e.entry_id, p.line_no, e.kind, e.natural_key, e.revision, e.booked_for, p.account, a.name,
       p.amount, p.currency, p.customer_id, p.dimension, e.description, e.batch_seq, c.batch_seq AS cut_off
  FROM journal_entry e
  JOIN posting p USING (entry_id)
  JOIN account a USING (account)
  JOIN cut_off c USING (cut_off_id)
 WHERE e.entity_id = :entity_id AND e.batch_seq <= :batch_seq
   AND (:since::timestamptz IS NULL OR e.booked_for >= :since)
   AND (:until::timestamptz IS NULL OR e.booked_for < :until)
 ORDER BY e.booked_for, e.natural_key, e.revision, p.line_no;
