-- name: find_entity
-- What an export says about the entity, its name as it was at a moment; primary key.
SELECT e.entity_id, d.name, e.currency, e.zone
  FROM entity e JOIN entity_detail d USING (entity_id)
 WHERE e.entity_id = :entity_id AND upper_inf(d.recorded) AND d.valid @> :at::timestamptz;

-- name: find_issued_invoices
-- Invoices of an entity stored up to a cut-off: whose usage is of [since, until), or that were issued in it;
-- unique (entity_id, number).
SELECT i.number, i.issued_at, i.due_on, i.customer_id, i.snapshot -> 'buyer' ->> 'name' AS customer_name,
       i.subscription_id, lower(i.period) AS period_start, upper(i.period) AS period_end, i.run_no,
       i.currency, i.priced_in, i.charged_total, i.exact_total, i.net_total, i.tax_total, i.tax_included, i.payable, i.event_cut_off,
       c.batch_seq AS ledger_seq_to, encode(d.sha256, 'hex') AS pdf_sha256
  FROM invoice i
  JOIN cut_off c USING (cut_off_id)
  LEFT JOIN invoice_document d ON d.invoice_id = i.invoice_id AND d.media_type = 'application/pdf'
                               AND d.batch_seq <= :batch_seq
 WHERE i.entity_id = :entity_id
   AND (CASE WHEN :by_service::boolean THEN i.period && tstzrange(:since, :until)
             ELSE i.issued_at >= :since AND i.issued_at < :until END)
   AND i.batch_seq <= :batch_seq
 ORDER BY i.issued_at, i.number COLLATE "C";

-- name: find_issued_taxes
-- Tax of invoices stored up to a cut-off: whose usage is of [since, until), or that were issued in it; primary keys.
SELECT i.number, i.issued_at, i.customer_id, i.snapshot -> 'buyer' ->> 'tax_number' AS customer_tax_number,
       i.snapshot -> 'seller' ->> 'tax_number' AS seller_tax_number, i.currency, t.line_no, t.country, t.treatment,
       t.percent, t.included, t.reason, t.base, t.amount
  FROM invoice i JOIN invoice_tax t USING (invoice_id)
 WHERE i.entity_id = :entity_id
   AND (CASE WHEN :by_service::boolean THEN i.period && tstzrange(:since, :until)
             ELSE i.issued_at >= :since AND i.issued_at < :until END)
   AND i.batch_seq <= :batch_seq
 ORDER BY i.issued_at, i.number COLLATE "C", t.line_no;

-- name: find_issued_lines
-- Lines whose usage is of [since, until), or of invoices issued in it; primary keys.
SELECT i.number, i.issued_at, i.currency, l.line_no, l.customer_id, l.kind,
       lower(l.service_period) AS service_start, upper(l.service_period) AS service_end, l.model, l.tier,
       l.adapter, l.region, l.context_band, l.meter, l.used_by, l.description, l.quantity, l.unit_amount, l.per,
       i.priced_in, l.charged_amount, l.exact_amount, l.amount
  FROM invoice i JOIN invoice_line l USING (invoice_id)
 WHERE i.entity_id = :entity_id
   AND (CASE WHEN :by_service::boolean THEN l.service_period && tstzrange(:since, :until)
             ELSE i.issued_at >= :since AND i.issued_at < :until END)
   AND i.batch_seq <= :batch_seq
 ORDER BY i.issued_at, i.number COLLATE "C", l.line_no;

-- name: find_usage
-- Tokens of an entity by window and key as known at a cut-off, with those of customers nobody knows
-- that carry cost of it, and how many requests lack what; usage_delta and usage_mark (customer_id, window_start). Keys
-- are put in order once, and then numbers sorted.
WITH sums AS MATERIALIZED (
  SELECT d.window_start, d.usage_key_id, sum(d.requests) AS requests, sum(d.uncached) AS uncached,
         sum(d.cache_read) AS cache_read, sum(d.cache_write) AS cache_write, sum(d.visible) AS visible,
         sum(d.reasoning) AS reasoning
    FROM usage_delta d JOIN usage_key k USING (usage_key_id)
   WHERE d.window_start >= :since AND d.window_start < :until AND d.batch_seq <= :batch_seq
     AND (k.entity_id = :entity_id OR (k.entity_id IS NULL AND d.usage_key_id IN (
          SELECT c.usage_key_id FROM costs_at(:batch_seq, :entity_id, :since, :until) c WHERE c.line = 'usage')))
   GROUP BY d.window_start, d.usage_key_id
  HAVING sum(d.requests) <> 0 OR sum(d.uncached) <> 0 OR sum(d.cache_read) <> 0
      OR sum(d.cache_write) <> 0 OR sum(d.visible) <> 0 OR sum(d.reasoning) <> 0
), marks AS MATERIALIZED (
  SELECT m.window_start, m.usage_key_id, sum(m.estimated) AS estimated, sum(m.incomplete) AS incomplete,
         sum(m.input_unknown) AS input_unknown, sum(m.output_unknown) AS output_unknown,
         sum(m.cached_unknown) AS cached_unknown, sum(m.written_unknown) AS written_unknown,
         sum(m.reasoning_unknown) AS reasoning_unknown
    FROM usage_mark m
   WHERE m.window_start >= :since AND m.window_start < :until AND m.batch_seq <= :batch_seq
   GROUP BY m.window_start, m.usage_key_id
), keys AS MATERIALIZED (
  SELECT k.*, row_number() OVER (ORDER BY coalesce(k.customer_id, '') COLLATE "C", k.customer_ref COLLATE "C",
                                          k.project_id COLLATE "C", k.api_key_id COLLATE "C", k.agent_id COLLATE "C",
                                          k.tier COLLATE "C", k.model COLLATE "C", k.adapter COLLATE "C",
                                          k.region COLLATE "C", k.context_band, k.usage_key_id) AS place
    FROM usage_key k WHERE k.usage_key_id IN (SELECT usage_key_id FROM sums)
)
SELECT s.window_start, k.customer_id, k.customer_ref, k.project_id, k.api_key_id, k.agent_id, k.tier, k.model,
       k.adapter, k.region, k.context_band, s.requests, s.uncached, s.cache_read, s.cache_write, s.visible, s.reasoning,
       coalesce(m.estimated, 0) AS estimated, coalesce(m.incomplete, 0) AS incomplete,
       coalesce(m.input_unknown, 0) AS input_unknown, coalesce(m.output_unknown, 0) AS output_unknown,
       coalesce(m.cached_unknown, 0) AS cached_unknown, coalesce(m.written_unknown, 0) AS written_unknown,
       coalesce(m.reasoning_unknown, 0) AS reasoning_unknown
  FROM sums s JOIN keys k USING (usage_key_id) LEFT JOIN marks m USING (window_start, usage_key_id)
 ORDER BY s.window_start, k.place;

-- name: find_extras
-- Extras of an entity by window, key and meter as known at a cut-off; extra_delta (customer_id, window_start).
WITH sums AS MATERIALIZED (
  SELECT d.window_start, d.usage_key_id, d.meter, sum(d.quantity) AS quantity
    FROM extra_delta d
   WHERE d.customer_id = ANY(ARRAY(SELECT customer_id FROM customer WHERE entity_id = :entity_id))
     AND d.window_start >= :since AND d.window_start < :until AND d.batch_seq <= :batch_seq
   GROUP BY d.window_start, d.usage_key_id, d.meter HAVING sum(d.quantity) <> 0
)
SELECT s.window_start, k.customer_id, k.customer_ref, k.project_id, k.api_key_id, k.agent_id, k.tier, k.model, k.adapter,
       k.region, k.context_band, s.meter, s.quantity
  FROM sums s JOIN usage_key k USING (usage_key_id)
 ORDER BY s.window_start, k.customer_id COLLATE "C", k.customer_ref COLLATE "C", k.project_id COLLATE "C",
          k.api_key_id COLLATE "C", k.agent_id COLLATE "C", k.tier COLLATE "C", k.model COLLATE "C", k.adapter COLLATE "C",
          k.region COLLATE "C", k.context_band, k.usage_key_id, s.meter;
