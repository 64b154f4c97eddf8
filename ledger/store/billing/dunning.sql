-- name: find_open_dunning_policies
-- Policies of an entity that overlap; the exclusion constraint's index.
SELECT policy_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, entity_id, reminder_days
  FROM dunning_policy
 WHERE entity_id = :entity_id AND valid && tstzrange(:valid_from, :valid_to) AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_dunning_policies
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE dunning_policy SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE policy_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO dunning_policy (entity_id, reminder_days, valid, recorded)
SELECT c.entity_id, c.reminder_days, part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part
RETURNING policy_id;

-- name: insert_dunning_policy
-- When an entity writes letters; returns its row.
INSERT INTO dunning_policy (entity_id, reminder_days, valid, recorded)
VALUES (:entity_id, :reminder_days, tstzrange(:valid_from, :valid_to), int8range(:batch_seq, NULL))
RETURNING policy_id;

-- name: find_reminder_days
-- When an entity writes letters, at a moment, as recorded now; the exclusion constraint's index.
SELECT reminder_days FROM dunning_policy
 WHERE entity_id = :entity_id AND valid @> :at::timestamptz AND upper_inf(recorded);

-- name: has_new_policy
-- Whether a policy of an entity was recorded or closed after a number of the stored order; the exclusion constraint's index.
SELECT count(*) > 0 FROM dunning_policy
 WHERE entity_id = :entity_id AND (lower(recorded) > :since_seq OR upper(recorded) > :since_seq);

-- name: list_last_reminders
-- The last letter about each invoice of an entity, of one customer or (NULL) all; by entity.
SELECT DISTINCT ON (i.invoice_id) i.invoice_id, i.level, l.written_on
  FROM dunning_letter l JOIN dunning_letter_item i USING (letter_id)
 WHERE l.entity_id = :entity_id AND (:customer_id::text IS NULL OR l.customer_id = :customer_id)
 ORDER BY i.invoice_id, i.level DESC;

-- name: insert_letter
-- A letter as it goes out, with the invoices it is about; returns its id.
WITH new AS (
  INSERT INTO dunning_letter (entity_id, customer_id, currency, level, written_on, sha256, content, batch_seq)
  VALUES (:entity_id, :customer_id, :currency, :level, :written_on, :sha256, :content, :batch_seq)
  RETURNING letter_id, customer_id
), items AS (
  INSERT INTO dunning_letter_item (letter_id, invoice_id, customer_id, level, open)
  SELECT n.letter_id, i.invoice_id, n.customer_id, i.level, i.open
    FROM new n, unnest(:invoice_ids::bigint[], :levels::int[], :open::numeric[]) AS i (invoice_id, level, open)
)
SELECT letter_id FROM new;

-- name: find_letter
-- The document of a letter; primary key.
SELECT content FROM dunning_letter WHERE letter_id = :letter_id;
