-- name: insert_manual_write
-- Keeps who wrote what by hand, and why.
INSERT INTO manual_write (batch_seq, actor, action, subject, reason, request_id, detail)
VALUES (:batch_seq, :actor, :action, :subject, :reason, :request_id, :detail);

-- name: count_manual_writes
-- How many writes of each kind one request made; a scan, for reports after an import.
SELECT action, count(*) FROM manual_write WHERE request_id = :request_id GROUP BY action ORDER BY min(batch_seq);

-- name: find_entity
-- What stays of an entity, by its primary key.
SELECT entity_id, currency, zone, rounding, invoice_prefix, default_tier, is_test
  FROM entity WHERE entity_id = :entity_id;

-- name: insert_entity
-- A new entity.
INSERT INTO entity (entity_id, currency, zone, rounding, invoice_prefix, default_tier, is_test, batch_seq)
VALUES (:entity_id, :currency, :zone, :rounding, :invoice_prefix, :default_tier, :is_test, :batch_seq);

-- name: find_open_entity_details
-- Details of an entity that overlap; the exclusion constraint's index.
SELECT detail_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, entity_id, name,
       address, tax_number, email, country, electronic_address, payment_account, payment_link, language,
       payment_days, review_times, review_above, overcharges
  FROM entity_detail
 WHERE entity_id = :entity_id AND valid && tstzrange(:valid_from, :valid_to) AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_entity_details
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE entity_detail SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE detail_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO entity_detail (entity_id, name, address, tax_number, email, country, electronic_address,
  payment_account, payment_link, language, payment_days, review_times, review_above, overcharges, valid, recorded)
SELECT c.entity_id, c.name, c.address, c.tax_number, c.email, c.country, c.electronic_address,
       c.payment_account, c.payment_link, c.language, c.payment_days, c.review_times, c.review_above,
       c.overcharges, part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part
RETURNING detail_id;

-- name: insert_entity_detail
-- What may change of an entity; returns its row.
INSERT INTO entity_detail (entity_id, name, address, tax_number, email, country, electronic_address,
  payment_account, payment_link, language, payment_days, review_times, review_above, overcharges, valid, recorded)
VALUES (:entity_id, :name, :address, :tax_number, :email, :country, :electronic_address, :payment_account,
        :payment_link, :language, :payment_days, :review_times, :review_above, :overcharges,
        tstzrange(:valid_from, :valid_to), int8range(:batch_seq, NULL))
RETURNING detail_id;

-- name: insert_logo
-- The logo of an entity from now on; without bytes it has none any more.
INSERT INTO entity_logo (entity_id, media_type, content, batch_seq)
VALUES (:entity_id, :media_type, :content, :batch_seq);

-- name: find_logo
-- The logo of an entity as it was at a number of the stored order, or (NULL) is; entity_logo (entity_id, batch_seq).
SELECT l.media_type, l.content
  FROM (SELECT * FROM entity_logo
         WHERE entity_id = :entity_id AND batch_seq <= coalesce(:batch_seq::bigint, as_it_stands())
         ORDER BY batch_seq DESC LIMIT 1) l
 WHERE l.content IS NOT NULL;

-- name: find_customer
-- What stays of a customer, by its primary key.
SELECT customer_id, entity_id, kind, is_test FROM customer WHERE customer_id = :customer_id;

-- name: insert_customer
-- A new customer.
INSERT INTO customer (customer_id, entity_id, kind, is_test, batch_seq)
VALUES (:customer_id, :entity_id, :kind, :is_test, :batch_seq);

-- name: find_open_customer_details
-- Details of a customer that overlap; the exclusion constraint's index.
SELECT detail_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, customer_id, name,
       address, tax_number, email, country, electronic_address, buyer_reference, e_invoice,
       language, payment_days, invoiced_in
  FROM customer_detail
 WHERE customer_id = :customer_id AND valid && tstzrange(:valid_from, :valid_to)
   AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_customer_details
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE customer_detail SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE detail_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO customer_detail (customer_id, name, address, tax_number, email, country, electronic_address,
  buyer_reference, e_invoice, language, payment_days, invoiced_in, valid, recorded)
SELECT c.customer_id, c.name, c.address, c.tax_number, c.email, c.country, c.electronic_address,
       c.buyer_reference, c.e_invoice, c.language, c.payment_days, c.invoiced_in, part,
       int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part
RETURNING detail_id;

-- name: insert_customer_detail
-- What may change of a customer; returns its row.
INSERT INTO customer_detail (customer_id, name, address, tax_number, email, country, electronic_address,
  buyer_reference, e_invoice, language, payment_days, invoiced_in, valid, recorded)
VALUES (:customer_id, :name, :address, :tax_number, :email, :country, :electronic_address, :buyer_reference, :e_invoice,
        :language, :payment_days, :invoiced_in, tstzrange(:valid_from, :valid_to), int8range(:batch_seq, NULL))
RETURNING detail_id;

-- name: find_open_aliases
-- What this name stands for now, where it overlaps; the exclusion constraint's index.
SELECT alias_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, alias, customer_id
  FROM customer_alias
 WHERE alias = :alias AND valid && tstzrange(:valid_from, :valid_to) AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_aliases
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE customer_alias SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE alias_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO customer_alias (alias, customer_id, valid, recorded)
SELECT c.alias, c.customer_id, part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part;

-- name: insert_alias
-- A name for a customer; returns its row.
INSERT INTO customer_alias (alias, customer_id, valid, recorded)
VALUES (:alias, :customer_id, tstzrange(:valid_from, :valid_to), int8range(:batch_seq, NULL))
RETURNING alias_id;

-- name: find_open_parents
-- Parents of a customer that overlap; the exclusion constraint's index.
SELECT parent_row_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, customer_id, parent_id
  FROM customer_parent
 WHERE customer_id = :customer_id AND valid && tstzrange(:valid_from, :valid_to) AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_parents
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE customer_parent SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE parent_row_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO customer_parent (customer_id, parent_id, valid, recorded)
SELECT c.customer_id, c.parent_id, part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part;

-- name: insert_parent
-- Whose child a customer is; returns its row.
INSERT INTO customer_parent (customer_id, parent_id, valid, recorded)
VALUES (:customer_id, :parent_id, tstzrange(:valid_from, :valid_to), int8range(:batch_seq, NULL))
RETURNING parent_row_id;

-- name: lock_families
-- Waits until nobody else says whose child a customer of an entity is, until the transaction ends.
SELECT pg_advisory_xact_lock(lock_class('families'), hashtext(:entity_id));

-- name: list_below
-- A customer and all who are below it at any time, as recorded now; customer_parent (parent_id).
WITH RECURSIVE below AS (
  SELECT :customer_id::text AS customer_id
  UNION
  SELECT p.customer_id FROM below b JOIN customer_parent p ON p.parent_id = b.customer_id AND upper_inf(p.recorded)
)
SELECT customer_id FROM below;

-- name: list_parent_links
-- Whose children some customers, and all who are above them at any time, are, as recorded now; the exclusion
-- constraint's index.
WITH RECURSIVE up AS (
  SELECT c.customer_id FROM unnest(:customers::text[]) AS c (customer_id)
  UNION
  SELECT p.parent_id FROM up u JOIN customer_parent p ON p.customer_id = u.customer_id AND upper_inf(p.recorded)
   WHERE p.parent_id IS NOT NULL
)
SELECT p.customer_id, p.parent_id, lower(p.valid) AS valid_from, upper(p.valid) AS valid_to
  FROM up u JOIN customer_parent p ON p.customer_id = u.customer_id AND upper_inf(p.recorded) AND p.parent_id IS NOT NULL;

-- name: list_open_above
-- Who is above some customers, as recorded now; the exclusion constraint's index.
SELECT above_row_id, customer_id, above_id, pays, lower(valid) AS valid_from, upper(valid) AS valid_to
  FROM customer_above WHERE customer_id = ANY(:customers::text[]) AND upper_inf(recorded);

-- name: close_above
-- Closes who is above customers; primary key.
UPDATE customer_above SET recorded = int8range(lower(recorded), :batch_seq) WHERE above_row_id = ANY(:row_ids::bigint[]);

-- name: insert_above
-- Who is above customers.
INSERT INTO customer_above (customer_id, above_id, pays, valid, recorded)
SELECT t.customer_id, t.above_id, t.pays, tstzrange(t.valid_from, t.valid_to), int8range(:batch_seq, NULL)
  FROM jsonb_to_recordset(:above::jsonb)
    AS t (customer_id text, above_id text, pays boolean, valid_from timestamptz, valid_to timestamptz);

-- name: list_entities
-- Every entity, by id; a scan, there are few.
SELECT entity_id, currency, zone FROM entity ORDER BY entity_id;
