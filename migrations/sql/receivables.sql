-- What takes back or pays what invoices ask for. Nothing here changes: a mistake is undone by its opposite.

CREATE TABLE credit_note (
  credit_note_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  invoice_id     bigint NOT NULL REFERENCES invoice,
  entity_id      text NOT NULL REFERENCES entity,
  customer_id    text NOT NULL REFERENCES customer,
  number         text NOT NULL,
  currency       currency NOT NULL,
  net_total      amount NOT NULL,
  tax_total      amount NOT NULL,
  payable        amount NOT NULL CHECK (payable > 0),
  on_account     amount NOT NULL CHECK (on_account BETWEEN 0 AND payable),
  issued_at      timestamptz NOT NULL,
  reason         text NOT NULL CHECK (reason <> ''),
  voids          boolean NOT NULL DEFAULT false,
  batch_seq      bigint NOT NULL,
  UNIQUE (entity_id, number),
  CHECK (payable = net_total + tax_total)
);
COMMENT ON COLUMN credit_note.on_account IS 'What its invoice did not owe any more: the customer''s, for another invoice or to be paid back.';
COMMENT ON COLUMN credit_note.voids IS 'It takes back all of its invoice, whose period is to be invoiced anew.';
CREATE INDEX ON credit_note (invoice_id);
CREATE UNIQUE INDEX ON credit_note (invoice_id) WHERE voids;
CREATE INDEX ON credit_note (customer_id);

CREATE TABLE credit_note_line (
  credit_note_id bigint NOT NULL REFERENCES credit_note,
  line_no        int NOT NULL,
  customer_id    text NOT NULL,
  amount         amount NOT NULL CHECK (amount <> 0),
  PRIMARY KEY (credit_note_id, line_no)
);
COMMENT ON COLUMN credit_note_line.line_no IS 'The line of the invoice of which it takes back.';

CREATE TABLE credit_note_tax (
  credit_note_id bigint NOT NULL REFERENCES credit_note,
  line_no        int NOT NULL,
  customer_id    text NOT NULL,
  country        country NOT NULL,
  treatment      text NOT NULL,
  percent        amount NOT NULL,
  included       boolean NOT NULL,
  reason         text NOT NULL,
  base           amount NOT NULL,
  amount         amount NOT NULL,
  PRIMARY KEY (credit_note_id, line_no)
);

CREATE TABLE credit_note_document (
  credit_note_id bigint NOT NULL REFERENCES credit_note,
  media_type     text NOT NULL,
  sha256         bytea NOT NULL CHECK (length(sha256) = 32),
  content        bytea NOT NULL,
  PRIMARY KEY (credit_note_id, media_type)
);

CREATE TABLE payment (
  entity_id   text NOT NULL REFERENCES entity,
  payment_id  text NOT NULL CHECK (payment_id <> ''),
  customer_id text NOT NULL REFERENCES customer,
  kind        text NOT NULL CHECK (kind IN ('received', 'refunded', 'from_account')),
  paid_on     date NOT NULL,
  currency    currency NOT NULL,
  amount      amount NOT NULL CHECK (amount > 0),
  on_account  amount NOT NULL,
  invoice     text NOT NULL DEFAULT '',
  reference   text NOT NULL DEFAULT '',
  batch_seq   bigint NOT NULL,
  PRIMARY KEY (entity_id, payment_id),
  CHECK (CASE kind WHEN 'received' THEN on_account BETWEEN 0 AND amount ELSE on_account = -amount END)
);
COMMENT ON COLUMN payment.on_account IS 'What of it is the customer''s for later; below zero where it was taken from there.';
COMMENT ON COLUMN payment.invoice IS 'The number of the invoice that it was said to pay.';
CREATE INDEX ON payment (customer_id);

CREATE TABLE payment_part (
  entity_id   text NOT NULL,
  payment_id  text NOT NULL,
  invoice_id  bigint NOT NULL REFERENCES invoice,
  customer_id text NOT NULL,
  amount      amount NOT NULL CHECK (amount > 0),
  PRIMARY KEY (entity_id, payment_id, invoice_id),
  FOREIGN KEY (entity_id, payment_id) REFERENCES payment
);
CREATE INDEX ON payment_part (invoice_id);

-- Whether an invoice was taken back as a whole, and its period is to be invoiced anew.
CREATE FUNCTION is_void(of_invoice bigint) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN EXISTS (SELECT FROM credit_note n WHERE n.invoice_id = of_invoice AND n.voids);

-- What customers say is wrong with an invoice, until somebody answers: meanwhile nobody reminds them of it.
CREATE TABLE dispute (
  dispute_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  invoice_id  bigint NOT NULL REFERENCES invoice,
  line_no     int,
  entity_id   text NOT NULL REFERENCES entity,
  customer_id text NOT NULL REFERENCES customer,
  reason      text NOT NULL CHECK (reason <> ''),
  opened_at   timestamptz NOT NULL,
  batch_seq   bigint NOT NULL,
  FOREIGN KEY (invoice_id, line_no) REFERENCES invoice_line
);
COMMENT ON COLUMN dispute.line_no IS 'NULL: the invoice as a whole.';
CREATE INDEX ON dispute (invoice_id);

CREATE TABLE dispute_resolution (
  dispute_id     bigint PRIMARY KEY REFERENCES dispute,
  entity_id      text NOT NULL REFERENCES entity,
  customer_id    text NOT NULL REFERENCES customer,
  outcome        text NOT NULL CHECK (outcome IN ('credited', 'rejected', 'withdrawn')),
  credit_note_id bigint REFERENCES credit_note,
  reason         text NOT NULL CHECK (reason <> ''),
  resolved_at    timestamptz NOT NULL,
  batch_seq      bigint NOT NULL,
  CHECK ((outcome = 'credited') = (credit_note_id IS NOT NULL))
);
COMMENT ON TABLE dispute_resolution IS 'How a dispute ended: by a credit note, or by a person who said why.';

CREATE FUNCTION is_disputed(of_invoice bigint) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN EXISTS (SELECT FROM dispute d
                WHERE d.invoice_id = of_invoice
                  AND NOT EXISTS (SELECT FROM dispute_resolution r WHERE r.dispute_id = d.dispute_id));

-- What each invoice still asks for: one place says it. What an invoice gives back is on account. Credits count against it but for what went on account.
CREATE FUNCTION open_items() RETURNS TABLE (
  invoice_id bigint, entity_id text, customer_id text, number text, currency text, issued_at timestamptz, due_on date,
  payable numeric, credited numeric, paid numeric)
LANGUAGE sql STABLE
BEGIN ATOMIC
  SELECT i.invoice_id, i.entity_id, i.customer_id, i.number, i.currency::text, i.issued_at, i.due_on, i.payable::numeric,
         coalesce((SELECT sum(n.payable - n.on_account) FROM credit_note n WHERE n.invoice_id = i.invoice_id), 0),
         coalesce((SELECT sum(p.amount) FROM payment_part p WHERE p.invoice_id = i.invoice_id), 0) + credit_of(i.invoice_id)
    FROM invoice i WHERE i.payable >= 0;
END;

CREATE TABLE bank_entry (
  entry_id       text PRIMARY KEY,
  entity_id      text NOT NULL REFERENCES entity,
  account        text NOT NULL,
  bank_reference text NOT NULL,
  booked_on      date NOT NULL,
  currency       currency NOT NULL,
  amount         amount NOT NULL CHECK (amount <> 0),
  payer          text NOT NULL,
  payer_account  text NOT NULL,
  reference      text NOT NULL,
  batch_seq      bigint NOT NULL
);
COMMENT ON TABLE bank_entry IS 'What a bank booked on an account of an entity, once each; above zero is money that came.';
COMMENT ON COLUMN bank_entry.entry_id IS 'A digest of the account and the bank''s reference, day and amount, or of what it says: the same in every file.';
CREATE INDEX ON bank_entry (entity_id, booked_on);

CREATE TABLE bank_entry_outcome (
  outcome_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  entry_id   text NOT NULL REFERENCES bank_entry,
  kind       text NOT NULL CHECK (kind IN ('paid', 'waiting', 'dismissed')),
  payment_id text,
  reason     text NOT NULL,
  batch_seq  bigint NOT NULL,
  CHECK ((kind = 'paid') = (payment_id IS NOT NULL))
);
COMMENT ON TABLE bank_entry_outcome IS 'What became of an entry: payments recorded of it, or why it waits for a person; the newest holds.';
CREATE INDEX ON bank_entry_outcome (entry_id, outcome_id);
CREATE INDEX ON bank_entry_outcome (payment_id);

CREATE TABLE dunning_policy (
  policy_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  entity_id     text NOT NULL REFERENCES entity,
  reminder_days int[] NOT NULL CHECK (cardinality(reminder_days) BETWEEN 1 AND 10 AND 1 <= ALL (reminder_days)),
  valid         tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded      int8range NOT NULL,
  CONSTRAINT valid_in_bounds CHECK (
    lower(valid) >= '2000-01-01 00:00Z' AND (upper(valid) <= '2200-01-01 00:00Z' OR upper(valid) = 'infinity')),
  EXCLUDE USING gist (entity_id WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON COLUMN dunning_policy.reminder_days IS 'Days overdue after which the first, second … and last letter is written.';

CREATE TABLE dunning_letter (
  letter_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  entity_id   text NOT NULL REFERENCES entity,
  customer_id text NOT NULL REFERENCES customer,
  currency    currency NOT NULL,
  level       int NOT NULL CHECK (level > 0),
  written_on  date NOT NULL,
  sha256      bytea NOT NULL CHECK (length(sha256) = 32),
  content     bytea NOT NULL,
  batch_seq   bigint NOT NULL
);
CREATE INDEX ON dunning_letter (entity_id, customer_id);

CREATE TABLE dunning_letter_item (
  letter_id   bigint NOT NULL REFERENCES dunning_letter,
  invoice_id  bigint NOT NULL REFERENCES invoice,
  customer_id text NOT NULL,
  level       int NOT NULL CHECK (level > 0),
  open        amount NOT NULL CHECK (open > 0),
  PRIMARY KEY (letter_id, invoice_id),
  UNIQUE (invoice_id, level)
);
COMMENT ON TABLE dunning_letter_item IS 'What of an invoice was open as a letter reminded of it: once at each level.';
