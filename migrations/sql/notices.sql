-- What happened, told to the systems of those it concerns. A notice is written by triggers, in the transaction of what it
-- tells, whoever writes that; it is sent behind it, and each try is kept.

CREATE TABLE webhook (
  webhook_id  text PRIMARY KEY,
  entity_id   text NOT NULL REFERENCES entity,
  customer_id text REFERENCES customer,
  url         text NOT NULL CHECK (url ~ '^https?://' AND length(url) <= 2000),
  events      text[] NOT NULL CHECK (cardinality(events) > 0 AND events <@ ARRAY[
    'invoice.issued', 'invoice.paid', 'invoice.overdue', 'invoice.voided', 'credit_note.issued', 'payment.received',
    'budget.crossed', 'balance.low']),
  entered_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  batch_seq   bigint NOT NULL,
  CONSTRAINT webhook_id_is_plain CHECK (webhook_id ~ '^[A-Za-z0-9][A-Za-z0-9._:@+=~-]{0,127}$')
);
COMMENT ON TABLE webhook IS 'Where a system of an entity, or of one of its customers, is told what happened.';
CREATE INDEX ON webhook (entity_id);

CREATE TABLE webhook_secret (
  secret_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  webhook_id text NOT NULL REFERENCES webhook,
  secret     bytea NOT NULL CHECK (length(secret) = 32),
  made_at    timestamptz NOT NULL
);
COMMENT ON TABLE webhook_secret IS 'What its messages are signed with: the newest, and for a day the one before.';
CREATE INDEX ON webhook_secret (webhook_id, secret_id);

CREATE TABLE webhook_state (
  state_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  webhook_id text NOT NULL REFERENCES webhook,
  active     boolean NOT NULL,
  reason     text NOT NULL CHECK (reason <> ''),
  changed_at timestamptz NOT NULL
);
COMMENT ON TABLE webhook_state IS 'That a webhook was switched off or on, and why; the newest holds, without one it is on.';
CREATE INDEX ON webhook_state (webhook_id, state_id);

CREATE TABLE notice (
  notice_id   text PRIMARY KEY GENERATED ALWAYS AS (md5(event || '/' || entity_id || '/' || subject)) STORED,
  event       text NOT NULL,
  entity_id   text NOT NULL REFERENCES entity,
  customer_id text NOT NULL REFERENCES customer,
  subject     text NOT NULL,
  noticed_at  timestamptz NOT NULL,
  data        jsonb NOT NULL
);
COMMENT ON COLUMN notice.subject IS 'What of its entity it is about: of one event and subject there is one notice.';
CREATE INDEX ON notice (entity_id, noticed_at);

CREATE TABLE notice_due (
  webhook_id text NOT NULL REFERENCES webhook,
  notice_id  text NOT NULL REFERENCES notice,
  due_at     timestamptz NOT NULL,
  tries      int NOT NULL DEFAULT 0,
  PRIMARY KEY (webhook_id, notice_id)
);
COMMENT ON TABLE notice_due IS 'What is still to be sent, and when; a row goes when it was delivered or given up.';
CREATE INDEX ON notice_due (webhook_id, due_at);

CREATE TABLE notice_delivery (
  delivery_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  notice_id   text NOT NULL REFERENCES notice,
  webhook_id  text NOT NULL REFERENCES webhook,
  tried_at    timestamptz NOT NULL,
  outcome     text NOT NULL CHECK (outcome IN ('delivered', 'failed', 'refused')),
  status      int,
  detail      text NOT NULL,
  next_at     timestamptz
);
COMMENT ON COLUMN notice_delivery.outcome IS 'refused: nothing was sent, because of where it would have gone.';
COMMENT ON COLUMN notice_delivery.next_at IS 'When it is tried again; NULL: not any more.';
CREATE INDEX ON notice_delivery (notice_id);

CREATE FUNCTION is_active(of_webhook text) RETURNS boolean LANGUAGE sql STABLE
RETURN coalesce((SELECT s.active FROM webhook_state s WHERE s.webhook_id = of_webhook ORDER BY s.state_id DESC LIMIT 1), true);

-- Webhooks that are to hear of it. PostgreSQL puts it into the query that names it, which of many rows at once costs a fraction
-- of what calling is_wanted() for each does.
CREATE FUNCTION wanting(of_event text, of_entity text, of_customer text) RETURNS SETOF webhook LANGUAGE sql STABLE
BEGIN ATOMIC
  SELECT w.* FROM webhook w
   WHERE w.entity_id = of_entity AND of_event = ANY (w.events) AND coalesce(w.customer_id = of_customer, true);
END;

-- Whether any is: what nobody wants to know is not written.
CREATE FUNCTION is_wanted(of_event text, of_entity text, of_customer text) RETURNS boolean LANGUAGE sql STABLE
RETURN EXISTS (SELECT FROM wanting(of_event, of_entity, of_customer));

-- A notice is due at once at every webhook that wants it.
CREATE FUNCTION queue_notices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO notice_due (webhook_id, notice_id, due_at)
  SELECT w.webhook_id, n.notice_id, n.noticed_at
    FROM new_rows n CROSS JOIN LATERAL wanting(n.event, n.entity_id, n.customer_id) w;
  RETURN NULL;
END $$;
CREATE TRIGGER queues AFTER INSERT ON notice REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION queue_notices();

CREATE FUNCTION tell_of_invoices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO notice (event, entity_id, customer_id, subject, noticed_at, data)
  SELECT 'invoice.issued', n.entity_id, n.customer_id, n.number, n.issued_at,
         jsonb_build_object('invoice_id', n.invoice_id, 'number', n.number, 'customer_id', n.customer_id,
                            'subscription_id', n.subscription_id, 'currency', n.currency, 'net_total', n.net_total::text,
                            'tax_total', n.tax_total::text, 'payable', n.payable::text, 'due_on', n.due_on)
    FROM new_rows n
   WHERE EXISTS (SELECT FROM wanting('invoice.issued', n.entity_id, n.customer_id))
  ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER tells AFTER INSERT ON invoice REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION tell_of_invoices();

-- Invoices of these that ask for nothing any more, because of money that came.
CREATE FUNCTION tell_of_paid(ids bigint[], at timestamptz) RETURNS void LANGUAGE sql AS $$
  INSERT INTO notice (event, entity_id, customer_id, subject, noticed_at, data)
  SELECT 'invoice.paid', o.entity_id, o.customer_id, o.number, at,
         jsonb_build_object('invoice_id', o.invoice_id, 'number', o.number, 'customer_id', o.customer_id,
                            'currency', o.currency, 'payable', o.payable::text, 'credited', o.credited::text,
                            'paid', o.paid::text)
    FROM open_items() o
   WHERE o.invoice_id = ANY (ids) AND o.paid > 0 AND o.payable = o.credited + o.paid
     AND is_wanted('invoice.paid', o.entity_id, o.customer_id)
  ON CONFLICT DO NOTHING
$$;

CREATE FUNCTION tell_of_payments() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO notice (event, entity_id, customer_id, subject, noticed_at, data)
  SELECT 'payment.received', n.entity_id, n.customer_id, n.payment_id, clock_timestamp(),
         jsonb_build_object('payment_id', n.payment_id, 'customer_id', n.customer_id, 'paid_on', n.paid_on,
                            'currency', n.currency, 'amount', n.amount::text, 'on_account', n.on_account::text,
                            'invoice', n.invoice, 'reference', n.reference)
    FROM new_rows n WHERE n.kind = 'received' AND is_wanted('payment.received', n.entity_id, n.customer_id)
  ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER tells AFTER INSERT ON payment REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION tell_of_payments();

CREATE FUNCTION tell_of_settled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM tell_of_paid(array_agg(DISTINCT n.invoice_id), clock_timestamp()) FROM new_rows n;
  RETURN NULL;
END $$;
CREATE TRIGGER tells AFTER INSERT ON payment_part REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION tell_of_settled();

CREATE FUNCTION tell_of_credits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO notice (event, entity_id, customer_id, subject, noticed_at, data)
  SELECT t.event, n.entity_id, n.customer_id, t.subject, n.issued_at,
         jsonb_build_object('credit_note_id', n.credit_note_id, 'number', n.number, 'invoice_id', n.invoice_id,
                            'invoice', i.number, 'customer_id', n.customer_id, 'currency', n.currency,
                            'payable', n.payable::text, 'on_account', n.on_account::text, 'reason', n.reason)
    FROM new_rows n
    JOIN invoice i USING (invoice_id)
   CROSS JOIN LATERAL (VALUES ('credit_note.issued', n.number, true), ('invoice.voided', i.number, n.voids))
           AS t (event, subject, happened)
   WHERE t.happened AND is_wanted(t.event, n.entity_id, n.customer_id)
  ON CONFLICT DO NOTHING;
  PERFORM tell_of_paid(array_agg(n.invoice_id), max(n.issued_at)) FROM new_rows n WHERE NOT n.voids;
  RETURN NULL;
END $$;
CREATE TRIGGER tells AFTER INSERT ON credit_note REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION tell_of_credits();

-- Alerts are rare, and what brings none is asked nothing.
CREATE FUNCTION tell_of_budgets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO notice (event, entity_id, customer_id, subject, noticed_at, data)
  SELECT 'budget.crossed', c.entity_id, c.customer_id,
         concat_ws('/', NEW.budget_id, NEW.run_id, extract(epoch FROM NEW.period_start)::bigint, NEW.kind, NEW.percent),
         NEW.noticed_at,
         jsonb_build_object('budget_id', NEW.budget_id, 'customer_id', NEW.customer_id, 'agent_run_id', NEW.run_id,
                            'kind', NEW.kind, 'percent', NEW.percent, 'used', trim_scale(NEW.used)::text,
                            'held', trim_scale(NEW.held)::text, 'ceiling', trim_scale(NEW.ceiling)::text)
    FROM customer c
   WHERE c.customer_id = NEW.customer_id AND is_wanted('budget.crossed', c.entity_id, c.customer_id)
  ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER tells AFTER INSERT ON budget_alert FOR EACH ROW EXECUTE FUNCTION tell_of_budgets();

-- What was paid ahead runs out, has run out, or more of it was ordered; what expired is no news of the balance.
CREATE FUNCTION tell_of_balances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO notice (event, entity_id, customer_id, subject, noticed_at, data)
  SELECT 'balance.low', NEW.entity_id, NEW.customer_id,
         concat_ws('/', NEW.customer_id, NEW.currency, NEW.kind, NEW.about), NEW.noticed_at,
         jsonb_build_object('customer_id', NEW.customer_id, 'currency', NEW.currency, 'kind', NEW.kind,
                            'amount', NEW.amount::text)
   WHERE NEW.kind <> 'expired' AND is_wanted('balance.low', NEW.entity_id, NEW.customer_id)
  ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER tells AFTER INSERT ON credit_event FOR EACH ROW EXECUTE FUNCTION tell_of_balances();
