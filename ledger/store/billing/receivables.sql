-- name: lock_receivables
-- Waits for whoever credits or pays invoices of the entity; held until the transaction ends.
SELECT pg_advisory_xact_lock(lock_class('receivables'), hashtext(:entity_id));

-- name: share_receivables
-- The same, beside others who do so.
SELECT pg_advisory_xact_lock_shared(lock_class('receivables'), hashtext(:entity_id));

-- name: list_open_items
-- Invoices of an entity that still ask for something, of one customer and currency or (NULL) all; a scan of invoice with a
-- probe each of what credits, pays and disputes them.
SELECT o.invoice_id, o.number, o.customer_id, o.currency, (o.issued_at AT TIME ZONE e.zone)::date AS issued_on, o.due_on,
       o.payable, o.credited, o.paid, is_disputed(o.invoice_id) AS is_disputed
  FROM open_items() o JOIN entity e USING (entity_id)
 WHERE (:entity_id::text IS NULL OR o.entity_id = :entity_id)
   AND (:customer_id::text IS NULL OR o.customer_id = :customer_id)
   AND (:currency::text IS NULL OR o.currency = :currency)
   AND o.payable <> o.credited + o.paid
 ORDER BY o.due_on, o.number COLLATE "C";

-- name: sum_on_account
-- What customers have on account, by currency; scans of credit_note, invoice and payment.
SELECT customer_id, currency, sum(amount) AS amount FROM (
  SELECT n.customer_id, n.currency::text AS currency, n.on_account::numeric AS amount FROM credit_note n
   WHERE (:entity_id::text IS NULL OR n.entity_id = :entity_id)
     AND (:customer_id::text IS NULL OR n.customer_id = :customer_id)
  UNION ALL
  SELECT i.customer_id, i.currency, credit_of(i.invoice_id) - i.payable FROM invoice i
   WHERE i.payable < 0 AND (:entity_id::text IS NULL OR i.entity_id = :entity_id)
     AND (:customer_id::text IS NULL OR i.customer_id = :customer_id)
  UNION ALL
  SELECT p.customer_id, p.currency, p.on_account FROM payment p
   WHERE (:entity_id::text IS NULL OR p.entity_id = :entity_id)
     AND (:customer_id::text IS NULL OR p.customer_id = :customer_id)) a
 GROUP BY 1, 2 HAVING sum(amount) <> 0 ORDER BY 1, 2;

-- name: find_payment
-- A payment by its primary key.
SELECT entity_id, payment_id, customer_id, kind, paid_on, currency, amount, invoice, reference
  FROM payment WHERE entity_id = :entity_id AND payment_id = :payment_id;

-- name: insert_payment
-- A payment, with what it pays.
WITH new AS (
  INSERT INTO payment (entity_id, payment_id, customer_id, kind, paid_on, currency, amount, on_account, invoice, reference,
                       batch_seq)
  VALUES (:entity_id, :payment_id, :customer_id, :kind, :paid_on, :currency, :amount, :on_account, :invoice, :reference,
          :batch_seq)
  RETURNING entity_id, payment_id, customer_id
)
INSERT INTO payment_part (entity_id, payment_id, invoice_id, customer_id, amount)
SELECT n.entity_id, n.payment_id, p.invoice_id, n.customer_id, p.amount
  FROM new n, unnest(:invoice_ids::bigint[], :amounts::numeric[]) AS p (invoice_id, amount);

-- name: list_credited_lines
-- What was credited of the lines of an invoice; credit_note (invoice_id), and primary key.
SELECT l.line_no, sum(l.amount) AS amount
  FROM credit_note n JOIN credit_note_line l USING (credit_note_id) WHERE n.invoice_id = :invoice_id GROUP BY 1;

-- name: find_later_run
-- The last invoice of a period that came behind one and stands; primary key and unique (subscription_id, period, run_no).
SELECT l.number
  FROM invoice i JOIN invoice l ON l.subscription_id = i.subscription_id AND l.period = i.period AND l.run_no > i.run_no
 WHERE i.invoice_id = :invoice_id AND NOT is_void(l.invoice_id) ORDER BY l.run_no DESC LIMIT 1;

-- name: insert_credit_note
-- A credit note with its lines and taxes; nothing of it ever changes.
WITH new AS (
  INSERT INTO credit_note (invoice_id, entity_id, customer_id, number, currency, net_total, tax_total, payable, on_account,
                           issued_at, reason, voids, batch_seq)
  VALUES (:invoice_id, :entity_id, :customer_id, :number, :currency, :net_total, :tax_total, :payable, :on_account,
          :issued_at, :reason, :voids, :batch_seq)
  RETURNING credit_note_id, customer_id
), lines AS (
  INSERT INTO credit_note_line (credit_note_id, line_no, customer_id, amount)
  SELECT n.credit_note_id, l.line_no, n.customer_id, l.amount
    FROM new n, unnest(:line_nos::int[], :amounts::numeric[]) AS l (line_no, amount)
), taxes AS (
  INSERT INTO credit_note_tax (credit_note_id, line_no, customer_id, country, treatment, percent, included, reason, base,
                               amount)
  SELECT n.credit_note_id, t.line_no, n.customer_id, t.country, t.treatment, t.percent, t.included, t.reason, t.base,
         t.amount
    FROM new n, unnest(:countries::text[], :treatments::text[], :percents::numeric[], :included::boolean[],
                       :reasons::text[], :bases::numeric[], :tax_amounts::numeric[])
                WITH ORDINALITY AS t (country, treatment, percent, included, reason, base, amount, line_no)
)
SELECT credit_note_id FROM new;

-- name: insert_credit_document
-- A rendered document of a credit note, kept as it went out.
INSERT INTO credit_note_document (credit_note_id, media_type, sha256, content)
VALUES (:credit_note_id, :media_type, :sha256, :content);

-- name: find_credit_document
-- The document of a credit note, by its number or id.
SELECT d.content FROM credit_note n JOIN credit_note_document d USING (credit_note_id)
 WHERE :named IN (n.number, n.credit_note_id::text) AND d.media_type = :media_type;
