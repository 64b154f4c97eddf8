-- Who we are, who buys from us, who may ask, and who changed what.

CREATE TABLE manual_write (
  write_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  batch_seq  bigint NOT NULL,
  written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor      text NOT NULL,
  action     text NOT NULL,
  subject    text NOT NULL,
  reason     text NOT NULL CHECK (reason <> ''),
  request_id text NOT NULL,
  detail     jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE manual_write IS 'Every write by hand: which key (actor), why, and under which request id.';

CREATE TABLE entity (
  entity_id      text PRIMARY KEY CHECK (entity_id <> ''),
  currency       currency NOT NULL,
  zone           text NOT NULL,
  rounding       text NOT NULL DEFAULT 'half_up' CHECK (rounding IN ('half_up', 'half_even')),
  invoice_prefix text NOT NULL,
  default_tier   text NOT NULL DEFAULT 'standard',
  is_test        boolean NOT NULL DEFAULT false,
  batch_seq      bigint NOT NULL,
  UNIQUE (invoice_prefix)
);

CREATE TABLE entity_detail (
  detail_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  entity_id    text NOT NULL REFERENCES entity,
  name         text NOT NULL,
  address      text NOT NULL DEFAULT '',
  tax_number   text NOT NULL DEFAULT '',
  email        text NOT NULL DEFAULT '',
  country      text NOT NULL DEFAULT '',
  electronic_address text NOT NULL DEFAULT '',
  payment_account    text NOT NULL DEFAULT '',
  payment_link       text NOT NULL DEFAULT '',
  language     text NOT NULL DEFAULT 'en',
  payment_days int NOT NULL DEFAULT 30 CHECK (payment_days >= 0),
  review_times int NOT NULL DEFAULT 10 CHECK (review_times >= 0),
  review_above amount NOT NULL DEFAULT 1000 CHECK (review_above >= 0),
  overcharges  text NOT NULL DEFAULT 'next_invoice' CHECK (overcharges IN ('next_invoice', 'credit_note')),
  valid        tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded     int8range NOT NULL,
  EXCLUDE USING gist (entity_id WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON COLUMN entity_detail.review_times IS 'A run holds an invoice for a person that asks for more than so many times the most of its customer''s last twelve, and for more than review_above; 0: none.';
COMMENT ON COLUMN entity_detail.overcharges IS 'What invoiced periods turn out to have been charged too much is a line of the next invoice, or a credit note of its own.';
COMMENT ON TABLE entity_detail IS 'What may change of an entity without making it another one; what an invoice said is in its snapshot.';

CREATE TABLE entity_logo (
  logo_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  entity_id  text NOT NULL REFERENCES entity,
  media_type text CHECK (media_type IN ('image/png', 'image/svg+xml')),
  content    bytea CHECK (length(content) <= 100000),
  batch_seq  bigint NOT NULL,
  CHECK ((media_type IS NULL) = (content IS NULL))
);
COMMENT ON TABLE entity_logo IS 'What stands above the documents of an entity, the newest up to a document''s place in the stored order; NULL: nothing.';
CREATE INDEX ON entity_logo (entity_id, batch_seq);

CREATE TABLE customer (
  customer_id text PRIMARY KEY CHECK (customer_id <> ''),
  entity_id   text NOT NULL REFERENCES entity,
  kind        text NOT NULL DEFAULT 'organization' CHECK (kind IN ('organization', 'person', 'ai_agent')),
  is_test     boolean NOT NULL DEFAULT false,
  batch_seq   bigint NOT NULL
);

CREATE TABLE customer_detail (
  detail_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id  text NOT NULL REFERENCES customer,
  name         text NOT NULL,
  address      text NOT NULL DEFAULT '',
  tax_number   text NOT NULL DEFAULT '',
  email        text NOT NULL DEFAULT '',
  country      text NOT NULL DEFAULT '',
  electronic_address text NOT NULL DEFAULT '',
  buyer_reference    text NOT NULL DEFAULT '',
  e_invoice    text NOT NULL DEFAULT 'none' CHECK (e_invoice IN ('none', 'factur_x', 'peppol')),
  language     text,
  payment_days int CHECK (payment_days >= 0),
  invoiced_in  currency,
  valid        tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded     int8range NOT NULL,
  EXCLUDE USING gist (customer_id WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON COLUMN customer_detail.invoiced_in IS 'The currency that its invoices ask for; NULL: that of its card.';
COMMENT ON COLUMN customer_detail.language IS 'NULL, as with payment_days: the entity''s.';

CREATE TABLE customer_alias (
  alias_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  alias       text NOT NULL CHECK (alias <> ''),
  customer_id text NOT NULL REFERENCES customer,
  valid       tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded    int8range NOT NULL,
  EXCLUDE USING gist (alias WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON TABLE customer_alias IS 'Names that gateways, CRM or ERP use for a customer, dated.';

CREATE TABLE customer_parent (
  parent_row_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id   text NOT NULL REFERENCES customer,
  parent_id     text REFERENCES customer CHECK (parent_id <> customer_id),
  valid         tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded      int8range NOT NULL,
  EXCLUDE USING gist (customer_id WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON TABLE customer_parent IS 'Whose child a customer is, dated, or that it has no parent (NULL); a parent pays for its children.';
CREATE INDEX ON customer_parent (parent_id);

CREATE TABLE customer_above (
  above_row_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id  text NOT NULL REFERENCES customer,
  above_id     text NOT NULL REFERENCES customer CHECK (above_id <> customer_id),
  pays         boolean NOT NULL,
  valid        tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded     int8range NOT NULL,
  EXCLUDE USING gist (customer_id WITH =, above_id WITH =, valid WITH &&, recorded WITH &&),
  EXCLUDE USING gist (customer_id WITH =, valid WITH &&, recorded WITH &&) WHERE (pays)
);
COMMENT ON TABLE customer_above IS 'Every customer above another, by way of parents, written with what it follows from.';
COMMENT ON COLUMN customer_above.pays IS 'Whether it is the topmost, which is invoiced for all below it.';
CREATE INDEX ON customer_above (above_id);

CREATE TABLE api_key (
  key_id      text PRIMARY KEY,
  key_hash    bytea NOT NULL UNIQUE CHECK (length(key_hash) = 32),
  role        text NOT NULL CHECK (role IN ('admin', 'finance', 'ingest', 'customer')),
  name        text NOT NULL DEFAULT '',
  entity_id   text REFERENCES entity,
  customer_id text REFERENCES customer,
  sources     text[] NOT NULL DEFAULT '{}',
  customers   text[] NOT NULL DEFAULT '{}',
  tier        text,
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  batch_seq   bigint NOT NULL,
  CHECK ((role = 'customer') = (customer_id IS NOT NULL)),
  CHECK (role <> 'ingest' OR cardinality(sources) > 0)
);
COMMENT ON COLUMN api_key.sources IS 'An ingest key writes these sources only.';
COMMENT ON COLUMN api_key.customers IS 'Where not empty, an ingest key writes usage of these customers only.';

CREATE TABLE api_key_revocation (
  key_id     text PRIMARY KEY REFERENCES api_key,
  revoked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  batch_seq  bigint NOT NULL
);

CREATE TABLE idempotency_key (
  key_id          text NOT NULL REFERENCES api_key,
  idempotency_key text NOT NULL,
  request_digest  uuid NOT NULL,
  status          int NOT NULL,
  body            bytea NOT NULL,
  stored_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (key_id, idempotency_key)
);

-- What ingest caches of the slow facts carries this number; any change of them raises it.
CREATE SEQUENCE directory_version AS bigint;
CREATE FUNCTION touch_directory() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF is_preview() THEN
    RETURN NULL;
  END IF;
  -- Held until the change is visible: a number alone would be seen before what it announces.
  PERFORM pg_advisory_xact_lock_shared(lock_class('directory'), 0);
  PERFORM nextval('directory_version');
  RETURN NULL;
END $$;
