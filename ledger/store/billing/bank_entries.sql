-- name: list_accounts
-- Every account that an entity has said is its own, as it is recorded now.
SELECT DISTINCT upper(regexp_replace(d.payment_account, '\s', '', 'g')) AS account
  FROM entity_detail d WHERE d.entity_id = :entity_id AND upper_inf(d.recorded) AND d.payment_account <> '' ORDER BY 1;

-- name: insert_entries
-- Entries of a bank that are not known yet; returns their ids; primary key.
INSERT INTO bank_entry (entry_id, entity_id, account, bank_reference, booked_on, currency, amount, payer, payer_account,
                        reference, batch_seq)
SELECT e.entry_id, :entity_id, e.account, e.bank_reference, e.booked_on, e.currency, e.amount, e.payer, e.payer_account,
       e.reference, :batch_seq
  FROM unnest(:entry_ids::text[], :accounts::text[], :bank_references::text[], :booked_on::date[], :currencies::text[],
              :amounts::numeric[], :payers::text[], :payer_accounts::text[], :said::text[])
       AS e (entry_id, account, bank_reference, booked_on, currency, amount, payer, payer_account, reference)
ON CONFLICT DO NOTHING
RETURNING entry_id;

-- name: find_documents
-- Invoices with what is open of them, and credit notes, of these numbers; unique (entity_id, number).
SELECT o.number, o.customer_id, o.currency, o.payable - o.credited - o.paid AS open, false AS is_credit
  FROM open_items() o WHERE o.entity_id = :entity_id AND o.number = ANY (:numbers::text[])
UNION ALL
SELECT n.number, n.customer_id, n.currency::text, 0, true
  FROM credit_note n WHERE n.entity_id = :entity_id AND n.number = ANY (:numbers::text[]);

-- name: list_customer_names
-- Every name of an entity's customers, as it is recorded now.
SELECT DISTINCT c.customer_id, d.name FROM customer c JOIN customer_detail d USING (customer_id)
 WHERE c.entity_id = :entity_id AND upper_inf(d.recorded) ORDER BY 1, 2;

-- name: insert_outcome
-- What became of an entry.
INSERT INTO bank_entry_outcome (entry_id, kind, payment_id, reason, batch_seq)
VALUES (:entry_id, :kind, :payment_id, :reason, :batch_seq);

-- name: find_entry
-- An entry, and whether a person is to say whose it is; primary key.
SELECT e.entry_id, e.entity_id, e.account, e.bank_reference, e.booked_on, e.currency::text AS currency, e.amount, e.payer,
       e.payer_account, e.reference,
       (SELECT o.kind FROM bank_entry_outcome o WHERE o.entry_id = e.entry_id ORDER BY o.outcome_id DESC LIMIT 1) = 'waiting'
         AS waits
  FROM bank_entry e WHERE e.entry_id = :entry_id;

-- name: is_paid_as
-- Whether another entry of the entity is paid under an id; index (payment_id), primary key.
SELECT EXISTS (SELECT FROM bank_entry_outcome o JOIN bank_entry e USING (entry_id)
                WHERE o.payment_id = :payment_id AND o.entry_id <> :entry_id AND e.entity_id = :entity_id) AS paid;
