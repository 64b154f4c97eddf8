-- Money held in advance: what customers were granted, what of it their usage drew, and what invoices took account of.

CREATE TABLE credit_grant (
  entity_id  text NOT NULL REFERENCES entity,
  grant_id   text COLLATE "C" NOT NULL,
  customer_id text NOT NULL REFERENCES customer,
  kind       text NOT NULL CHECK (kind IN ('prepaid', 'promotional')),
  currency   currency NOT NULL,
  amount     amount NOT NULL CHECK (amount > 0 AND amount <= 1e15),
  priority   int NOT NULL CHECK (priority BETWEEN 0 AND 1000),
  meters     text[] NOT NULL,
  models     text[] NOT NULL,
  granted_on date NOT NULL,
  starts_on date NOT NULL CHECK (starts_on BETWEEN '2000-01-01' AND '2200-01-01'),
  expires_on date CHECK (expires_on > starts_on AND expires_on <= '2200-01-01'),
  order_id   bigint,
  reference  text NOT NULL DEFAULT '',
  batch_seq  bigint NOT NULL,
  PRIMARY KEY (entity_id, grant_id),
  CONSTRAINT grant_id_is_plain CHECK (grant_id ~ '^[A-Za-z0-9][A-Za-z0-9._:@+=~-]{0,127}$')
);
COMMENT ON COLUMN credit_grant.kind IS 'prepaid: paid for, and owed in usage until then; promotional: given, and less revenue once it is used.';
COMMENT ON COLUMN credit_grant.meters IS 'Which usage it pays for; empty is any, and so with models.';
COMMENT ON COLUMN credit_grant.expires_on IS 'The first day, in the zone of the entity, of which it pays for no usage.';
COMMENT ON COLUMN credit_grant.order_id IS 'The event of credit_event that ordered this top-up.';
CREATE INDEX ON credit_grant (customer_id);

-- Differences, like charges: what of a day's charges a grant paid is the sum of its rows.
CREATE TABLE credit_draw (
  entity_id       text NOT NULL,
  grant_id        text COLLATE "C" NOT NULL,
  customer_id     text NOT NULL,
  subscription_id text NOT NULL,
  day_start       timestamptz NOT NULL CHECK (on_grid(day_start)),
  meter           text NOT NULL,
  model           text NOT NULL,
  currency        currency NOT NULL,
  amount          amount NOT NULL CHECK (amount <> 0),
  cut_off_id      bigint NOT NULL,
  batch_seq       bigint NOT NULL
);
CREATE INDEX ON credit_draw (customer_id, day_start);
CREATE INDEX ON credit_draw (entity_id, grant_id);

CREATE TABLE credit_expiry (
  entity_id   text NOT NULL,
  grant_id    text COLLATE "C" NOT NULL,
  customer_id text NOT NULL,
  currency    currency NOT NULL,
  amount      amount NOT NULL CHECK (amount <> 0),
  cut_off_id  bigint NOT NULL,
  batch_seq   bigint NOT NULL
);
COMMENT ON TABLE credit_expiry IS 'What of grants was never used and is not any more, as differences: usage of before that comes late takes of it.';
CREATE INDEX ON credit_expiry (entity_id, grant_id);

CREATE TABLE credit_applied (
  invoice_id   bigint NOT NULL REFERENCES invoice,
  grant_id     text COLLATE "C" NOT NULL,
  taken_back   boolean NOT NULL DEFAULT false,
  entity_id    text NOT NULL,
  customer_id  text NOT NULL,
  charged_amount amount NOT NULL,
  exact_amount amount NOT NULL,
  amount       amount NOT NULL,
  batch_seq    bigint NOT NULL,
  PRIMARY KEY (invoice_id, grant_id, taken_back),
  FOREIGN KEY (entity_id, grant_id) REFERENCES credit_grant
);
CREATE INDEX ON credit_applied (entity_id, grant_id);
COMMENT ON TABLE credit_applied IS 'What grants paid of an invoice: what they were drawn for in the currency of prices and of the invoice, and in whole minor units what the invoice asks less for; taken back as it is void.';

CREATE TABLE credit_event (
  event_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  entity_id   text NOT NULL,
  customer_id text NOT NULL,
  currency    currency NOT NULL,
  kind        text NOT NULL CHECK (kind IN ('low_balance', 'exhausted', 'top_up_ordered', 'expired')),
  about       text NOT NULL,
  amount      amount NOT NULL,
  noticed_at  timestamptz NOT NULL,
  batch_seq   bigint NOT NULL,
  UNIQUE (entity_id, customer_id, currency, kind, about)
);
COMMENT ON COLUMN credit_event.about IS 'The grant that expired; else after how many grants: said once until there is another.';
COMMENT ON COLUMN credit_event.amount IS 'What is left, what is ordered, or what expired.';

CREATE TABLE top_up_rule (
  rule_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id   text NOT NULL REFERENCES customer,
  currency      currency NOT NULL,
  low_balance   amount NOT NULL CHECK (low_balance > 0 AND low_balance <= 1e15),
  top_up_amount amount CHECK (top_up_amount > 0 AND top_up_amount <= 1e15),
  valid         tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded      int8range NOT NULL,
  CONSTRAINT valid_in_bounds CHECK (
    lower(valid) >= '2000-01-01 00:00Z' AND (upper(valid) <= '2200-01-01 00:00Z' OR upper(valid) = 'infinity')),
  EXCLUDE USING gist (customer_id WITH =, currency WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON COLUMN top_up_rule.top_up_amount IS 'What is ordered as less than low_balance is left; NULL: it is said, and nothing ordered.';

-- Each grant with what became of it: what was drawn, what expired, and what is left of it, expired or not.
CREATE FUNCTION grant_balances() RETURNS TABLE (
  entity_id text, grant_id text, customer_id text, currency text, amount numeric, drawn numeric, expired numeric, left_over numeric)
LANGUAGE sql STABLE
BEGIN ATOMIC
  SELECT g.entity_id, g.grant_id, g.customer_id, g.currency::text, g.amount::numeric, d.drawn, x.expired,
         g.amount - d.drawn - x.expired
    FROM credit_grant g
   CROSS JOIN LATERAL (SELECT coalesce(sum(r.amount), 0) AS drawn FROM credit_draw r
                        WHERE r.entity_id = g.entity_id AND r.grant_id = g.grant_id) d
   CROSS JOIN LATERAL (SELECT coalesce(sum(r.amount), 0) AS expired FROM credit_expiry r
                        WHERE r.entity_id = g.entity_id AND r.grant_id = g.grant_id) x;
END;
COMMENT ON FUNCTION grant_balances() IS 'What became of each grant; ask by entity_id, grant_id or customer_id.';

-- What grants paid of an invoice, in whole minor units.
CREATE FUNCTION credit_of(of_invoice bigint) RETURNS numeric LANGUAGE sql STABLE
RETURN coalesce((SELECT sum(a.amount) FROM credit_applied a WHERE a.invoice_id = of_invoice), 0);
