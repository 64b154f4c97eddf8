-- name: insert_dispute
-- What a customer says is wrong with an invoice or a line of it; returns its id, or nothing where that is disputed already.
-- dispute (invoice_id).
INSERT INTO dispute (invoice_id, line_no, entity_id, customer_id, reason, opened_at, batch_seq)
SELECT :invoice_id, :line_no::int, :entity_id, :customer_id, :reason, :opened_at, :batch_seq
 WHERE NOT EXISTS (SELECT FROM dispute d
                    WHERE d.invoice_id = :invoice_id AND d.line_no IS NOT DISTINCT FROM :line_no::int
                      AND NOT EXISTS (SELECT FROM dispute_resolution r WHERE r.dispute_id = d.dispute_id))
RETURNING dispute_id;

-- name: find_dispute
-- A dispute and how it ended; primary keys.
SELECT d.dispute_id, d.entity_id, d.customer_id, r.outcome
  FROM dispute d LEFT JOIN dispute_resolution r USING (dispute_id) WHERE d.dispute_id = :dispute_id;

-- name: insert_resolution
-- How a dispute ended that a person ended.
INSERT INTO dispute_resolution (dispute_id, entity_id, customer_id, outcome, reason, resolved_at, batch_seq)
VALUES (:dispute_id, :entity_id, :customer_id, :outcome, :reason, :resolved_at, :batch_seq);

-- name: resolve_credited
-- Ends what was disputed of an invoice and a credit note takes back: its lines, or anything where all of it was disputed.
INSERT INTO dispute_resolution (dispute_id, entity_id, customer_id, outcome, credit_note_id, reason, resolved_at, batch_seq)
SELECT d.dispute_id, d.entity_id, d.customer_id, 'credited', n.credit_note_id, n.reason, n.issued_at, n.batch_seq
  FROM credit_note n JOIN dispute d USING (invoice_id)
 WHERE n.credit_note_id = :credit_note_id
   AND (d.line_no IS NULL OR d.line_no IN (SELECT l.line_no FROM credit_note_line l
                                            WHERE l.credit_note_id = n.credit_note_id))
   AND NOT EXISTS (SELECT FROM dispute_resolution r WHERE r.dispute_id = d.dispute_id);
