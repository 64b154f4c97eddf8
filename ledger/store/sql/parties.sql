-- name: insert_manual_write
-- Keeps who wrote what by hand, and why.
INSERT INTO manual_write (batch_seq, actor, action, subject, reason, request_id, detail)
VALUES (:batch_seq, :actor, :action, :subject, :reason, :request_id, :detail);

-- name: count_manual_writes
-- How many writes one request made; a scan, for reports after an import.
SELECT count(*) FROM manual_write WHERE request_id = :request_id;

-- name: find_entity
-- An entity by its primary key.
SELECT entity_id, name, address, tax_number, currency, zone, rounding, invoice_prefix, default_tier,
       payment_days, is_test
  FROM entity WHERE entity_id = :entity_id;

-- name: insert_entity
-- A new entity.
INSERT INTO entity (entity_id, name, address, tax_number, currency, zone, rounding, invoice_prefix,
                    default_tier, payment_days, is_test, batch_seq)
VALUES (:entity_id, :name, :address, :tax_number, :currency, :zone, :rounding, :invoice_prefix,
        :default_tier, :payment_days, :is_test, :batch_seq);

-- name: find_customer
-- A customer by its primary key.
SELECT customer_id, entity_id, name, kind, address, tax_number, email, is_test
  FROM customer WHERE customer_id = :customer_id;

-- name: insert_customer
-- A new customer.
INSERT INTO customer (customer_id, entity_id, name, kind, address, tax_number, email, is_test, batch_seq)
VALUES (:customer_id, :entity_id, :name, :kind, :address, :tax_number, :email, :is_test, :batch_seq);

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

-- name: list_entities
-- Every entity, by id; a scan, there are few.
SELECT entity_id, name, currency, zone, is_test FROM entity ORDER BY entity_id;
