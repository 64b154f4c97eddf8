-- name: find_agreements
-- A subscription as known at a cut-off, its parties as they are at a moment; one row for each validity.
SELECT s.subscription_id, s.customer_id, s.rate_card_id, s.zone, s.anchor_day,
       lower(s.valid) AS valid_from, upper(s.valid) AS valid_to, r.currency, r.name AS card_name,
       c.is_test OR e.is_test AS is_test,
       cd.name AS customer_name, cd.address AS customer_address, cd.tax_number AS customer_tax_number,
       cd.email AS customer_email, cd.country AS customer_country,
       cd.electronic_address AS customer_electronic_address,
       cd.buyer_reference AS customer_buyer_reference, cd.e_invoice AS customer_e_invoice, e.entity_id,
       e.zone AS entity_zone, e.rounding, e.invoice_prefix,
       ed.name AS entity_name, ed.address AS entity_address,
       ed.tax_number AS entity_tax_number, ed.email AS entity_email,
       ed.country AS entity_country, ed.electronic_address AS entity_electronic_address,
       ed.payment_account AS entity_payment_account, ed.payment_link AS entity_payment_link,
       coalesce(cd.language, ed.language) AS language,
       coalesce(cd.payment_days, ed.payment_days) AS payment_days
  FROM subscription s
  JOIN customer c USING (customer_id)
  JOIN customer_detail cd ON cd.customer_id = c.customer_id AND cd.recorded @> :batch_seq::bigint
                         AND cd.valid @> :at::timestamptz
  JOIN entity e ON e.entity_id = c.entity_id
  JOIN entity_detail ed ON ed.entity_id = e.entity_id AND ed.recorded @> :batch_seq::bigint
                       AND ed.valid @> :at::timestamptz
  JOIN rate_card r USING (rate_card_id)
 WHERE s.subscription_id = :subscription_id AND s.recorded @> :batch_seq::bigint
 ORDER BY s.valid;

-- name: list_subscriptions
-- Subscriptions of an entity, with those of them that have charges in a period.
SELECT DISTINCT s.subscription_id
  FROM subscription s JOIN customer c USING (customer_id)
 WHERE c.entity_id = :entity_id AND upper_inf(s.recorded)
 ORDER BY s.subscription_id;

-- name: sum_period_charges
-- Priced charges of a subscription by what shares an invoice line, at a cut-off; charge (customer_id, day_start,
-- batch_seq).
SELECT k.model, k.tier, k.adapter, k.region, k.context_band, l.meter, l.price_id, '' AS part,
       sum(l.quantity) AS quantity, sum(l.amount) AS amount
  FROM charges_at(:batch_seq) l JOIN usage_key k USING (usage_key_id)
 WHERE l.customer_id = :customer_id AND l.day_start >= :since AND l.day_start < :until
   AND l.subscription_id = :subscription_id AND l.amount IS NOT NULL
 GROUP BY k.model, k.tier, k.adapter, k.region, k.context_band, l.meter, l.price_id
HAVING sum(l.quantity) <> 0 OR sum(l.amount) <> 0;

-- name: sum_pending
-- What changed about billed periods of a subscription and no invoice says yet, by service period and line: charges of a
-- period stored behind the cut-off that its first invoice billed, up to another, less the adjustments there are; what is
-- void bills nothing; charge (customer_id, day_start, batch_seq).
WITH billed AS MATERIALIZED (
  SELECT DISTINCT ON (i.period) i.period, o.batch_seq FROM invoice i JOIN cut_off o USING (cut_off_id)
   WHERE i.subscription_id = :subscription_id AND NOT is_void(i.invoice_id) ORDER BY i.period, i.run_no
), late AS (
  SELECT b.period, c.usage_key_id, c.meter, c.price_id, c.quantity, c.amount
    FROM billed b
   CROSS JOIN LATERAL (SELECT l.* FROM charges_at(:batch_seq) l
                        WHERE l.customer_id = :customer_id AND l.day_start >= lower(b.period)
                          AND l.day_start < upper(b.period) AND l.batch_seq > b.batch_seq
                          AND l.subscription_id = :subscription_id AND l.amount IS NOT NULL OFFSET 0) c
), moved AS (
  SELECT l.period, k.model, k.tier, k.adapter, k.region, k.context_band, l.meter, l.price_id, l.quantity, l.amount
    FROM late l JOIN usage_key k USING (usage_key_id)
  UNION ALL
  SELECT l.service_period, l.model, l.tier, l.adapter, l.region, l.context_band, l.meter, l.price_id, -l.quantity,
         -l.exact_amount
    FROM invoice i JOIN invoice_line l USING (invoice_id)
   WHERE i.subscription_id = :subscription_id AND l.kind = 'adjustment' AND NOT is_void(i.invoice_id)
)
SELECT lower(m.period) AS service_start, upper(m.period) AS service_end, m.model, m.tier, m.adapter, m.region,
       m.context_band, m.meter, m.price_id, '' AS part, sum(m.quantity) AS quantity, sum(m.amount) AS amount
  FROM moved m
 GROUP BY m.period, m.model, m.tier, m.adapter, m.region, m.context_band, m.meter, m.price_id
HAVING sum(m.quantity) <> 0 OR sum(m.amount) <> 0;

-- name: list_billed_periods
-- Periods of a subscription that have an invoice; `stands` where one is not void.
SELECT lower(period) AS period_start, upper(period) AS period_end, max(run_no) AS run_no,
       bool_or(NOT is_void(invoice_id)) AS stands
  FROM invoice WHERE subscription_id = :subscription_id
 GROUP BY period ORDER BY period;

-- name: find_line_prices
-- Parameters of the prices that lines name, by primary key.
SELECT price_id, meter, model, tier, adapter, region, name, kind, params FROM rate_card_price WHERE price_id = ANY(:price_ids::bigint[]);

-- name: take_number
-- The next number of a series; the row stays locked until the invoice is issued or given up.
INSERT INTO invoice_series (entity_id, kind, year, next_no) VALUES (:entity_id, :kind, :year, 2)
    ON CONFLICT (entity_id, kind, year) DO UPDATE SET next_no = invoice_series.next_no + 1
RETURNING next_no - 1 AS number;

-- name: insert_invoice
-- An issued invoice; nothing of it ever changes.
INSERT INTO invoice (entity_id, customer_id, subscription_id, period, run_no, number, currency,
                     exact_total, net_total, tax_total, tax_included, payable, issued_at, due_on, event_cut_off,
                     cut_off_id, batch_seq, snapshot)
VALUES (:entity_id, :customer_id, :subscription_id,
        tstzrange(:period_start::timestamptz, :period_end::timestamptz), :run_no, :number, :currency,
        :exact_total, :net_total, :tax_total, :tax_included, :payable, :issued_at, :due_on, :event_cut_off,
        :cut_off_id, :batch_seq, :snapshot)
RETURNING invoice_id;

-- name: insert_lines
-- The lines of an invoice.
INSERT INTO invoice_line (invoice_id, line_no, customer_id, kind, service_period, model, tier, adapter,
                          region, context_band, meter, price_id, part, description, quantity,
                          unit_amount, per, exact_amount, amount)
SELECT :invoice_id, l.line_no, :customer_id, l.kind, tstzrange(l.service_start, l.service_end),
       l.model, l.tier, l.adapter, l.region, l.context_band, l.meter, l.price_id, l.part, l.description,
       l.quantity, l.unit_amount, l.per, l.exact_amount, l.amount
  FROM unnest(:line_nos::int[], :kinds::text[], :service_starts::timestamptz[],
              :service_ends::timestamptz[], :models::text[], :tiers::text[], :adapters::text[],
              :regions::text[], :bands::smallint[], :meters::text[], :price_ids::bigint[],
              :parts::text[], :descriptions::text[], :quantities::numeric[], :unit_amounts::numeric[], :pers::bigint[],
              :exact_amounts::numeric[], :amounts::numeric[])
       AS l (line_no, kind, service_start, service_end, model, tier, adapter, region, context_band,
             meter, price_id, part, description, quantity, unit_amount, per, exact_amount, amount);

-- name: insert_document
-- A rendered document of an invoice, kept as it went out.
INSERT INTO invoice_document (invoice_id, media_type, sha256, content)
VALUES (:invoice_id, :media_type, :sha256, :content);

-- name: list_invoices
-- Invoices, newest first; leads by primary key.
SELECT i.invoice_id, i.entity_id, i.customer_id, i.subscription_id, lower(i.period) AS period_start,
       upper(i.period) AS period_end, i.run_no, i.number, i.currency, i.exact_total, i.net_total,
       i.tax_total, i.tax_included, i.issued_at, i.due_on, i.event_cut_off, i.cut_off_id,
       c.batch_seq AS cut_off_seq, i.snapshot, is_void(i.invoice_id) AS voided
  FROM invoice i JOIN cut_off c USING (cut_off_id)
 WHERE (:entity_id::text IS NULL OR i.entity_id = :entity_id)
   AND (:customer_id::text IS NULL OR i.customer_id = :customer_id)
   AND (:invoice_id::bigint IS NULL OR i.invoice_id = :invoice_id)
   AND (:named::text IS NULL OR :named IN (i.number, i.invoice_id::text))
   AND (:before::bigint IS NULL OR i.invoice_id < :before)
 ORDER BY i.invoice_id DESC
 LIMIT :limit;

-- name: list_lines
-- The lines of an invoice.
SELECT line_no, kind, lower(service_period) AS service_start,
       upper(service_period) AS service_end, model, tier, adapter, region, context_band, meter,
       price_id, part, description, quantity, unit_amount, per, exact_amount, amount
  FROM invoice_line WHERE invoice_id = :invoice_id ORDER BY line_no;

-- name: find_document
-- A rendered document by its primary key.
SELECT content, sha256 FROM invoice_document
 WHERE invoice_id = :invoice_id AND media_type = :media_type;

-- name: find_price_spans
-- When prices of the terms of a line's price, on its card, were ever to apply, as known at a cut-off.
SELECT DISTINCT lower(p.valid) AS since, upper(p.valid) AS until
  FROM rate_card_price q
  JOIN rate_card_price p ON p.rate_card_id = q.rate_card_id AND p.kind = q.kind AND p.params = q.params
 WHERE q.price_id = :price_id AND lower(p.recorded) <= :batch_seq;

-- name: find_line_cards
-- On which cards a customer was in a period, as known at a cut-off.
SELECT s.rate_card_id, lower(s.valid) AS since, upper(s.valid) AS until
  FROM subscription s
 WHERE s.customer_id = :customer_id AND s.recorded @> :batch_seq::bigint
   AND s.valid && tstzrange(:since, :until);

-- name: trace_events
-- Facts behind an invoice line: what its keys used while its price applied, its keys by charge (customer_id, day_start,
-- batch_seq). In a day that is closed their facts are found by the partition's index on (usage_key_id, time), one probe
-- for each key and span. An open day has no such index: there the batches of the windows' deltas, folded or not, lead
-- through the BRIN on batch_seq, one probe for each range of batches, made coarse so that they are few, and keys and
-- spans are looked up in a list. OFFSET 0 and IS TRUE hold the planner to that: it cannot know how few they are.
WITH runs AS MATERIALIZED (
  SELECT k.usage_key_id, s.since, s.until
    FROM (SELECT DISTINCT c.usage_key_id FROM charge c
           WHERE c.customer_id = :customer_id AND c.day_start >= :since AND c.day_start < :until
             AND c.meter = ANY(:meters::text[]) AND c.batch_seq <= :batch_seq) c
    JOIN usage_key k USING (usage_key_id)
    JOIN unnest(:models::text[], :tiers::text[], :adapters::text[], :regions::text[], :bands::smallint[],
                :span_sinces::timestamptz[], :span_untils::timestamptz[])
      AS s (model, tier, adapter, region, context_band, since, until)
      ON k.model = s.model AND k.tier = s.tier AND k.adapter = s.adapter AND k.region = s.region
     AND k.context_band = s.context_band
), batches AS MATERIALIZED (
  SELECT unnest(range_agg(int8range(coalesce(d.first_batch_seq, d.batch_seq) / 256 * 256,
                                   (d.batch_seq / 256 + 1) * 256))) AS span
    FROM usage_delta d
   WHERE d.customer_id = :customer_id AND d.window_start >= :since AND d.window_start < :until
), days AS MATERIALIZED (
  SELECT stored_day, EXISTS (SELECT FROM fact_partition p WHERE p.table_name = 'usage_fact'
                                AND p.stored_day = d.stored_day) AS is_closed
    FROM list_fact_days() AS d(stored_day)
), found AS (
  SELECT f.*
    FROM days d CROSS JOIN runs r
   CROSS JOIN LATERAL (SELECT * FROM usage_fact u
                        WHERE u.stored_day = d.stored_day AND u.usage_key_id = r.usage_key_id
                          AND u.time >= r.since AND u.time < r.until OFFSET 0) f
   WHERE d.is_closed
  UNION ALL
  SELECT f.*
    FROM days d CROSS JOIN batches b
   CROSS JOIN LATERAL (SELECT * FROM usage_fact u
                        WHERE u.stored_day = d.stored_day
                          AND u.batch_seq >= lower(b.span) AND u.batch_seq < upper(b.span)
                          AND u.batch_seq >= :after_seq::bigint
                          AND (u.usage_key_id IN (SELECT r.usage_key_id FROM runs r)) IS TRUE OFFSET 0) f
   WHERE NOT d.is_closed
     AND EXISTS (SELECT FROM runs r WHERE r.usage_key_id = f.usage_key_id AND f.time >= r.since AND f.time < r.until)
)
SELECT f.batch_seq, f.ordinal, f.kind, s.source, f.event_id, f.time, f.started_at, f.first_token_at,
       f.ended_at, f.requests, f.uncached, f.cache_read, f.cache_write, f.visible, f.reasoning,
       f.flags, f.agent_run_id
  FROM found f LEFT JOIN source s USING (source_id)
 WHERE f.batch_seq <= :batch_seq AND (f.batch_seq, f.ordinal) > (:after_seq::bigint, :after_ordinal::int)
 ORDER BY f.batch_seq, f.ordinal
 LIMIT :limit;

-- name: trace_batches
-- Stretches of batches that the windows of a customer's usage are made of, folded or not, in order; usage_delta
-- (customer_id, window_start).
SELECT lower(b.span) AS first, upper(b.span) - 1 AS last
  FROM (SELECT unnest(range_agg(int8range(coalesce(d.first_batch_seq, d.batch_seq), d.batch_seq, '[]'))) AS span
          FROM usage_delta d
         WHERE d.customer_id = :customer_id AND d.window_start >= :since AND d.window_start < :until) b
 ORDER BY 1;

-- name: trace_windows
-- The windows behind an invoice line, as trace_events finds them; usage_delta (customer_id, window_start).
SELECT DISTINCT d.usage_key_id, d.window_start
  FROM unnest(:models::text[], :tiers::text[], :adapters::text[], :regions::text[], :bands::smallint[],
              :span_sinces::timestamptz[], :span_untils::timestamptz[])
    AS s (model, tier, adapter, region, context_band, since, until)
  JOIN usage_delta d ON d.customer_id = :customer_id AND d.window_start >= s.since AND d.window_start < s.until
  JOIN usage_key k ON k.usage_key_id = d.usage_key_id AND k.model = s.model AND k.tier = s.tier AND k.adapter = s.adapter
                  AND k.region = s.region AND k.context_band = s.context_band
 WHERE d.batch_seq <= :batch_seq;
