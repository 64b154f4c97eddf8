-- name: find_open_tax_rates
-- Rates of a country and kind that overlap; the exclusion constraint's index.
SELECT tax_rate_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, country, kind, percent
  FROM tax_rate
 WHERE country::text = :country AND kind = :kind AND valid && tstzrange(:valid_from, :valid_to) AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_tax_rates
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE tax_rate SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE tax_rate_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO tax_rate (country, kind, percent, valid, recorded)
SELECT c.country, c.kind, c.percent, part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part
RETURNING tax_rate_id;

-- name: insert_tax_rate
-- A country's rate; returns its row.
INSERT INTO tax_rate (country, kind, percent, valid, recorded)
VALUES (:country, :kind, :percent, tstzrange(:valid_from, :valid_to), int8range(:batch_seq, NULL))
RETURNING tax_rate_id;

-- name: find_open_tax_registrations
-- Registrations of an entity in a country that overlap; the exclusion constraint's index.
SELECT tax_registration_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, entity_id, country,
       tax_number
  FROM tax_registration
 WHERE entity_id = :entity_id AND country::text = :country AND valid && tstzrange(:valid_from, :valid_to)
   AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_tax_registrations
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE tax_registration SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE tax_registration_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO tax_registration (entity_id, country, tax_number, valid, recorded)
SELECT c.entity_id, c.country, c.tax_number, part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part
RETURNING tax_registration_id;

-- name: insert_tax_registration
-- Where an entity pays tax; returns its row.
INSERT INTO tax_registration (entity_id, country, tax_number, valid, recorded)
VALUES (:entity_id, :country, :tax_number, tstzrange(:valid_from, :valid_to), int8range(:batch_seq, NULL))
RETURNING tax_registration_id;

-- name: find_open_tax_treatments
-- How a customer is taxed, where that overlaps; the exclusion constraint's index.
SELECT tax_treatment_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, customer_id, country,
       treatment, included, reason
  FROM tax_treatment
 WHERE customer_id = :customer_id AND valid && tstzrange(:valid_from, :valid_to) AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_tax_treatments
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE tax_treatment SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE tax_treatment_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO tax_treatment (customer_id, country, treatment, included, reason, valid, recorded)
SELECT c.customer_id, c.country, c.treatment, c.included, c.reason, part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part
RETURNING tax_treatment_id;

-- name: insert_tax_treatment
-- How a customer is taxed; returns its row.
INSERT INTO tax_treatment (customer_id, country, treatment, included, reason, valid, recorded)
VALUES (:customer_id, :country, :treatment, :included, :reason, tstzrange(:valid_from, :valid_to),
        int8range(:batch_seq, NULL))
RETURNING tax_treatment_id;

-- name: list_registrations
-- Where an entity pays tax, as known at a cut-off; the exclusion constraint's index.
SELECT country, tax_number, lower(valid) AS valid_from, upper(valid) AS valid_to
  FROM tax_registration WHERE entity_id = :entity_id AND recorded @> :batch_seq::bigint ORDER BY country, valid;

-- name: list_treatments
-- How customers are taxed, as known at a cut-off; tax_treatment (customer_id), to which an array holds the planner.
SELECT t.customer_id, t.country, t.treatment, t.included, t.reason, lower(t.valid) AS valid_from, upper(t.valid) AS valid_to
  FROM (SELECT * FROM tax_treatment v WHERE v.customer_id = ANY(:customers::text[]) OFFSET 0) t
 WHERE t.recorded @> :batch_seq::bigint
 ORDER BY t.customer_id, t.valid;

-- name: list_rates
-- Rates of some countries, as known at a cut-off; the exclusion constraint's index.
SELECT country, kind, percent, lower(valid) AS valid_from, upper(valid) AS valid_to
  FROM tax_rate WHERE country::text = ANY(:countries::text[]) AND recorded @> :batch_seq::bigint
 ORDER BY country, kind, valid;

-- name: list_tax_lines
-- The tax of some invoices, by line; primary key.
SELECT invoice_id, country, treatment, percent, included, reason, base, amount
  FROM invoice_tax WHERE invoice_id = ANY(:invoice_ids::bigint[]) ORDER BY invoice_id, line_no;
