-- The books: entries that sum to zero, and documents that never change.

CREATE TABLE account (
  account text PRIMARY KEY,
  name    text NOT NULL,
  type    text NOT NULL CHECK (type IN ('asset', 'liability', 'equity', 'income', 'expense'))
);

CREATE TABLE journal_entry (
  entry_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  entity_id   text NOT NULL,
  kind        text NOT NULL,
  natural_key text NOT NULL,
  revision    int NOT NULL CHECK (revision > 0),
  booked_for  timestamptz NOT NULL,
  corrects    timestamptz CHECK (corrects < booked_for),
  booked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  customer_id text,
  cut_off_id  bigint NOT NULL,
  batch_seq   bigint NOT NULL,
  description text NOT NULL,
  UNIQUE (natural_key, revision)
);
COMMENT ON TABLE journal_entry IS 'The general ledger: of what was used an entry a day of the entity, whoever its customers are; behind it charges, invoices, credit notes and payments are the ledgers by customer. Revision n books the difference between what is true now and what revisions before n booked.';
COMMENT ON COLUMN journal_entry.corrects IS 'The moment it belongs to, where that lay in a closed month: then it is booked for the first of the next open one.';
CREATE INDEX ON journal_entry (entity_id, booked_for);
CREATE INDEX ON journal_entry (entity_id, batch_seq);

-- Neither entries nor invoices and what follows from them have foreign keys to what its flow has just read or written in the same
-- transaction: they cost as much as all the rest of an invoice, and more with each. `check` proves them.
CREATE TABLE posting (
  entry_id    bigint NOT NULL,
  line_no     int NOT NULL,
  account     text NOT NULL,
  amount      amount NOT NULL CHECK (amount <> 0),
  currency    currency NOT NULL,
  customer_id text,
  dimension   text NOT NULL DEFAULT '',
  tier        text NOT NULL DEFAULT '',
  model       text NOT NULL DEFAULT '',
  PRIMARY KEY (entry_id, line_no)
);
COMMENT ON COLUMN posting.amount IS 'Signed: debit positive, credit negative.';
CREATE INDEX ON posting (account, entry_id);

CREATE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrong record;
BEGIN
  SELECT n.entry_id, n.currency, sum(n.amount) AS residual INTO wrong
    FROM new_postings n GROUP BY n.entry_id, n.currency HAVING sum(n.amount) <> 0 LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'journal entry % does not balance: % % left over', wrong.entry_id, wrong.residual, wrong.currency
      USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER posting_balances AFTER INSERT ON posting
  REFERENCING NEW TABLE AS new_postings FOR EACH STATEMENT EXECUTE FUNCTION refuse_unbalanced();

-- Stretches of an entity's journal in stored order, and what stood on each account by the entries of one. Eight in a row
-- are added up in one of the next level: any cut-off is reached over a few, and a balance costs the same however long
-- the journal is.
CREATE TABLE journal_stretch (
  entity_id  text NOT NULL REFERENCES entity,
  level      smallint NOT NULL CHECK (level >= 0),
  since_seq  bigint NOT NULL CHECK (since_seq >= 0),
  until_seq  bigint NOT NULL CHECK (until_seq > since_seq),
  currencies text[] NOT NULL,
  PRIMARY KEY (entity_id, level, until_seq),
  UNIQUE (entity_id, since_seq, until_seq)
);
COMMENT ON TABLE journal_stretch IS 'Entries with since_seq < batch_seq <= until_seq, whose balances are carried; those of level 0 follow one another from 0 on.';

CREATE TABLE carried_balance (
  entity_id    text NOT NULL,
  level        smallint NOT NULL,
  until_seq    bigint NOT NULL,
  account      text NOT NULL,
  currency     currency NOT NULL,
  booked_until timestamptz NOT NULL CHECK (on_grid(booked_until)),
  amount       amount NOT NULL,
  PRIMARY KEY (entity_id, level, until_seq, account, currency, booked_until)
);
COMMENT ON TABLE carried_balance IS 'What the entries of a stretch that are booked for before booked_until come to on an account: a row where it changes.';

CREATE TABLE invoice_series (
  entity_id text NOT NULL REFERENCES entity,
  kind      text NOT NULL,
  year      int NOT NULL,
  next_no   bigint NOT NULL,
  PRIMARY KEY (entity_id, kind, year)
);

CREATE TABLE invoice (
  invoice_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  entity_id       text NOT NULL,
  customer_id     text NOT NULL,
  subscription_id text NOT NULL,
  period          tstzrange NOT NULL,
  run_no          int NOT NULL CHECK (run_no > 0),
  number          text NOT NULL,
  currency        currency NOT NULL,
  priced_in       currency NOT NULL,
  charged_total   amount NOT NULL,
  exact_total     amount NOT NULL,
  net_total       amount NOT NULL,
  tax_total       amount NOT NULL,
  tax_included    amount NOT NULL,
  payable         amount NOT NULL,
  issued_at       timestamptz NOT NULL,
  due_on          date NOT NULL,
  event_cut_off   timestamptz NOT NULL,
  cut_off_id      bigint NOT NULL,
  batch_seq       bigint NOT NULL,
  snapshot        jsonb NOT NULL,
  UNIQUE (subscription_id, period, run_no),
  UNIQUE (entity_id, number),
  CHECK (payable = net_total + tax_total)
);
CREATE INDEX ON invoice (customer_id, invoice_id);
COMMENT ON COLUMN invoice.charged_total IS 'Its lines before rounding in the currency of their prices, priced_in; exact_total is that in its own, by the rate in the snapshot.';
COMMENT ON COLUMN invoice.tax_included IS 'The part of tax_total that the amounts of its lines hold already.';
COMMENT ON COLUMN invoice.snapshot IS 'Parties, terms and prices as they stood at issue.';

CREATE TABLE invoice_line (
  invoice_id     bigint NOT NULL,
  line_no        int NOT NULL,
  customer_id    text NOT NULL,
  kind           text NOT NULL CHECK (kind IN ('usage', 'adjustment', 'advance')),
  service_period tstzrange NOT NULL,
  model          text NOT NULL,
  tier           text NOT NULL,
  adapter        text NOT NULL DEFAULT '',
  region         text NOT NULL DEFAULT '',
  context_band   smallint NOT NULL DEFAULT 0,
  meter          text NOT NULL,
  price_id       bigint NOT NULL,
  part           text NOT NULL,
  used_by        text NOT NULL DEFAULT '',
  description    text NOT NULL,
  quantity       quantity NOT NULL,
  unit_amount    amount NOT NULL,
  per            bigint NOT NULL,
  charged_amount amount NOT NULL,
  exact_amount   amount NOT NULL,
  amount         amount NOT NULL,
  PRIMARY KEY (invoice_id, line_no)
);

COMMENT ON COLUMN invoice_line.charged_amount IS 'In the currency of its price, as unit_amount is; exact_amount is in that of the invoice.';
COMMENT ON COLUMN invoice_line.used_by IS 'The customer below customer_id who used it; empty: customer_id itself.';
COMMENT ON COLUMN invoice_line.part IS 'The tier or the name of a fee, where a price has several lines or is for no usage; else empty.';

CREATE TABLE invoice_tax (
  invoice_id  bigint NOT NULL,
  line_no     int NOT NULL,
  customer_id text NOT NULL,
  country     country NOT NULL,
  treatment   text NOT NULL,
  percent     amount NOT NULL,
  included    boolean NOT NULL,
  reason      text NOT NULL,
  base        amount NOT NULL,
  amount      amount NOT NULL,
  PRIMARY KEY (invoice_id, line_no)
);
COMMENT ON COLUMN invoice_tax.base IS 'What is taxed, without the tax.';

CREATE TABLE invoice_document (
  invoice_id bigint NOT NULL REFERENCES invoice,
  media_type text NOT NULL,
  sha256     bytea NOT NULL CHECK (length(sha256) = 32),
  content    bytea NOT NULL,
  batch_seq  bigint NOT NULL,
  PRIMARY KEY (invoice_id, media_type)
);
COMMENT ON TABLE invoice_document IS 'As it was rendered first, when somebody first asked for it; from then on these bytes.';
