-- name: find_agreements
-- Subscriptions as known at a cut-off, their parties as they are at a moment; one row for each validity;
-- subscription (subscription_id), customer_detail (customer_id), customer's primary key. What an array names is found by these,
-- and not by what is valid at a moment, which the planner takes for a row or two of all there are. Both sides are put together
-- by a FULL JOIN, which cannot be done by going through one side for each row of the other; OFFSET 0 keeps it one.
WITH asked AS MATERIALIZED (
  SELECT * FROM subscription v WHERE v.subscription_id = ANY(:subscription_ids::text[])
), buyers AS MATERIALIZED (
  SELECT d.customer_id AS buyer_id, d.name AS customer_name, d.address AS customer_address, d.tax_number AS customer_tax_number,
         d.email AS customer_email, d.country AS customer_country, d.electronic_address AS customer_electronic_address,
         d.buyer_reference AS customer_buyer_reference, d.e_invoice AS customer_e_invoice, d.language AS own_language,
         d.payment_days AS own_payment_days, d.invoiced_in, c.entity_id, c.is_test
    FROM (SELECT * FROM customer_detail v WHERE v.customer_id = ANY(ARRAY(SELECT a.customer_id FROM asked a)) OFFSET 0) d
    JOIN customer c USING (customer_id)
   WHERE d.recorded @> :batch_seq::bigint AND d.valid @> :at::timestamptz
)
SELECT s.subscription_id, s.customer_id, s.rate_card_id, s.zone, s.anchor_day,
       lower(s.valid) AS valid_from, upper(s.valid) AS valid_to, coalesce(s.invoiced_in, r.currency) AS currency,
       r.currency AS priced_in, r.name AS card_name,
       s.is_test OR e.is_test AS is_test, s.customer_name, s.customer_address, s.customer_tax_number, s.customer_email,
       s.customer_country, s.customer_electronic_address, s.customer_buyer_reference, s.customer_e_invoice, e.entity_id,
       e.zone AS entity_zone, e.rounding, e.invoice_prefix,
       ed.name AS entity_name, ed.address AS entity_address,
       ed.tax_number AS entity_tax_number, ed.email AS entity_email,
       ed.country AS entity_country, ed.electronic_address AS entity_electronic_address,
       ed.payment_account AS entity_payment_account, ed.payment_link AS entity_payment_link,
       ed.review_times, ed.review_above, ed.overcharges, coalesce(s.own_language, ed.language) AS language,
       coalesce(s.own_payment_days, ed.payment_days) AS payment_days
  FROM (SELECT * FROM asked a FULL JOIN buyers b ON b.buyer_id = a.customer_id OFFSET 0) s
  JOIN entity e USING (entity_id)
  JOIN entity_detail ed ON ed.entity_id = e.entity_id AND ed.recorded @> :batch_seq::bigint
                       AND ed.valid @> :at::timestamptz
  JOIN rate_card r USING (rate_card_id)
 WHERE s.recorded @> :batch_seq::bigint
 ORDER BY s.subscription_id, s.valid;

-- name: list_payables
-- What the last invoices of customers that are not void ask for, the newest first; invoice (customer_id, invoice_id).
SELECT c.customer_id, i.currency, i.payable
  FROM unnest(:customers::text[]) AS c (customer_id)
 CROSS JOIN LATERAL (SELECT v.currency, v.payable FROM invoice v
                      WHERE v.customer_id = c.customer_id AND v.payable > 0 AND NOT is_void(v.invoice_id)
                      ORDER BY v.invoice_id DESC LIMIT :history) i;

-- name: list_due_subscriptions
-- Subscriptions of an entity that are valid at a moment of a period, or were before and have an invoice; of these such as may
-- have something to go out: no invoice that stands holds the day or moment that is asked for (in the zone of each), what it was
-- charged too much is a credit note of its own, or something of it is parked. Invoice (subscription_id, period, run_no).
SELECT DISTINCT s.subscription_id
  FROM subscription s
  JOIN customer c USING (customer_id)
  JOIN unnest(:zones::text[], :begins::timestamptz[], :ends::timestamptz[]) AS z (zone, day_begin, day_end) USING (zone)
 WHERE c.entity_id = :entity_id AND upper_inf(s.recorded)
   AND (s.valid && tstzrange(:since, :until)
        OR (upper(s.valid) <= :since AND EXISTS (SELECT FROM invoice i WHERE i.subscription_id = s.subscription_id)))
   AND (NOT EXISTS (SELECT FROM invoice i
                     WHERE i.subscription_id = s.subscription_id
                       AND i.period @> CASE WHEN lower(s.valid) >= z.day_begin AND lower(s.valid) < z.day_end
                                            THEN lower(s.valid) ELSE z.day_begin END
                       AND NOT EXISTS (SELECT FROM credit_note n WHERE n.invoice_id = i.invoice_id AND n.voids))
        OR NOT EXISTS (SELECT FROM subscription l
                        WHERE l.subscription_id = s.subscription_id AND upper_inf(l.recorded)
                          AND coalesce(upper(l.valid), 'infinity') > :at)
        OR EXISTS (SELECT FROM entity_detail d
                    WHERE d.entity_id = c.entity_id AND upper_inf(d.recorded) AND d.valid @> :at::timestamptz
                      AND d.overcharges = 'credit_note')
        OR EXISTS (SELECT FROM parked p
                    WHERE p.stage = :parked_as AND p.entity_id = c.entity_id AND p.subject = s.subscription_id))
 ORDER BY s.subscription_id;

-- name: list_zones
-- The zones of an entity's subscriptions.
SELECT DISTINCT s.zone FROM subscription s JOIN customer c USING (customer_id)
 WHERE c.entity_id = :entity_id AND upper_inf(s.recorded) ORDER BY 1;

-- name: list_credited_apart
-- Those of some subscriptions whose overcharges are credit notes of their own: their entity says so, or they have ended, so
-- that no invoice follows; subscription (subscription_id).
SELECT s.subscription_id
  FROM subscription s
  JOIN customer c USING (customer_id)
  JOIN entity_detail d ON d.entity_id = c.entity_id AND upper_inf(d.recorded) AND d.valid @> :at::timestamptz
 WHERE s.subscription_id = ANY(:subscription_ids::text[]) AND upper_inf(s.recorded)
 GROUP BY s.subscription_id, d.overcharges
HAVING d.overcharges = 'credit_note' OR max(coalesce(upper(s.valid), 'infinity')) <= :at::timestamptz
 ORDER BY s.subscription_id;

-- name: sum_period_charges
-- Priced charges of subscriptions in a period of each by what shares an invoice line, at a cut-off, of their customers and of
-- all who are below them; charge (customer_id, day_start, batch_seq) and (payer_id, day_start), usage_key's primary key.
-- OFFSET 0 has each key found by that: there are few beside all that the table has.
WITH charged AS MATERIALIZED (
  SELECT n.subscription_id, CASE WHEN l.payer_id IS NULL THEN '' ELSE l.customer_id END AS used_by, l.usage_key_id, l.meter,
         l.price_id, sum(l.quantity) AS quantity, sum(l.amount) AS amount
    FROM unnest(:subscriptions::text[], :customers::text[], :sinces::timestamptz[], :untils::timestamptz[])
           AS n (subscription_id, customer_id, since, until)
   CROSS JOIN LATERAL (SELECT c.* FROM charges_at(:batch_seq) c
                        WHERE (c.customer_id = n.customer_id OR c.payer_id = n.customer_id) AND c.day_start >= n.since
                          AND c.day_start < n.until AND c.subscription_id = n.subscription_id AND c.amount IS NOT NULL
                        OFFSET 0) l
   GROUP BY 1, 2, 3, 4, 5
)
SELECT c.subscription_id, k.model, k.tier, k.adapter, k.region, k.context_band, c.meter, c.price_id, '' AS part, c.used_by,
       sum(c.quantity) AS quantity, sum(c.amount) AS amount
  FROM charged c
 CROSS JOIN LATERAL (SELECT * FROM usage_key v WHERE v.usage_key_id = c.usage_key_id OFFSET 0) k
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, c.used_by
HAVING sum(c.quantity) <> 0 OR sum(c.amount) <> 0;

-- name: sum_pending
-- What changed about billed periods of subscriptions and no invoice says yet, by service period and line: charges of a
-- period stored behind the cut-off that its first invoice billed, up to another, less the adjustments there are; what is
-- void bills nothing; charge (customer_id, day_start, batch_seq), invoice (subscription_id, period, run_no). OFFSET 0 holds the
-- planner to what it cannot know of a table that has just grown: of each few rows are asked for.
WITH asked AS MATERIALIZED (
  SELECT * FROM unnest(:subscriptions::text[], :customers::text[]) AS n (subscription_id, customer_id)
), billed AS MATERIALIZED (
  SELECT DISTINCT ON (i.subscription_id, i.period) n.customer_id, i.subscription_id, i.period, o.batch_seq
    FROM asked n
   CROSS JOIN LATERAL (SELECT * FROM invoice v WHERE v.subscription_id = n.subscription_id OFFSET 0) i
    JOIN cut_off o USING (cut_off_id)
   WHERE NOT is_void(i.invoice_id) ORDER BY i.subscription_id, i.period, i.run_no
), late AS MATERIALIZED (
  SELECT b.subscription_id, b.period, CASE WHEN c.payer_id IS NULL THEN '' ELSE c.customer_id END AS used_by, c.usage_key_id,
         c.meter, c.price_id, sum(c.quantity) AS quantity, sum(c.amount) AS amount
    FROM billed b
   CROSS JOIN LATERAL (SELECT l.* FROM charges_at(:batch_seq) l
                        WHERE (l.customer_id = b.customer_id OR l.payer_id = b.customer_id)
                          AND l.day_start >= lower(b.period) AND l.day_start < upper(b.period)
                          AND l.batch_seq > b.batch_seq AND l.subscription_id = b.subscription_id
                          AND l.amount IS NOT NULL OFFSET 0) c
   GROUP BY 1, 2, 3, 4, 5, 6
), moved AS (
  SELECT l.subscription_id, l.period, k.model, k.tier, k.adapter, k.region, k.context_band, l.meter, l.price_id, l.used_by,
         l.quantity, l.amount
    FROM late l JOIN usage_key k USING (usage_key_id)
  UNION ALL
  SELECT i.subscription_id, l.service_period, l.model, l.tier, l.adapter, l.region, l.context_band, l.meter, l.price_id,
         l.used_by, -l.quantity, -l.charged_amount
    FROM asked n
   CROSS JOIN LATERAL (SELECT * FROM invoice v WHERE v.subscription_id = n.subscription_id OFFSET 0) i
   CROSS JOIN LATERAL (SELECT * FROM invoice_line v WHERE v.invoice_id = i.invoice_id AND v.kind = 'adjustment' OFFSET 0) l
   WHERE NOT is_void(i.invoice_id)
)
SELECT m.subscription_id, lower(m.period) AS service_start, upper(m.period) AS service_end, m.model, m.tier, m.adapter,
       m.region, m.context_band, m.meter, m.price_id, '' AS part, m.used_by, sum(m.quantity) AS quantity,
       sum(m.amount) AS amount
  FROM moved m
 GROUP BY m.subscription_id, m.period, m.model, m.tier, m.adapter, m.region, m.context_band, m.meter, m.price_id, m.used_by
HAVING sum(m.quantity) <> 0 OR sum(m.amount) <> 0;

-- name: sum_advances
-- What invoices of subscriptions billed in advance and have not taken back, by service period and price; what is void billed
-- nothing; invoice (subscription_id, period, run_no).
SELECT i.subscription_id, lower(l.service_period) AS service_start, upper(l.service_period) AS service_end, '' AS model,
       '' AS tier, '' AS adapter, '' AS region, 0 AS context_band, l.meter, l.price_id, l.part, '' AS used_by,
       sum(l.charged_amount) AS amount
  FROM unnest(:subscription_ids::text[]) AS n (subscription_id)
 CROSS JOIN LATERAL (SELECT * FROM invoice v WHERE v.subscription_id = n.subscription_id OFFSET 0) i
 CROSS JOIN LATERAL (SELECT * FROM invoice_line v WHERE v.invoice_id = i.invoice_id AND v.kind = 'advance' OFFSET 0) l
 WHERE NOT is_void(i.invoice_id)
 GROUP BY i.subscription_id, l.service_period, l.meter, l.price_id, l.part
HAVING sum(l.charged_amount) <> 0;

-- name: list_advance_fees
-- Fees of cards that are billed in advance, as known at a cut-off, each by the id of the first of its terms, as rating has
-- it (find_prices).
WITH every AS (
  SELECT p.*, min(p.price_id) OVER (PARTITION BY p.rate_card_id, p.name, p.params) AS first_id
    FROM rate_card_price p
   WHERE p.rate_card_id = ANY(:rate_card_ids::text[]) AND p.kind = 'recurring' AND p.params ->> 'billed' = 'advance'
     AND lower(p.recorded) <= :batch_seq
)
SELECT p.rate_card_id, p.first_id AS price_id, p.meter, p.project_id, p.agent_id, p.model, p.tier, p.adapter, p.region,
       p.band_from, p.hours, p.name, p.kind, p.params, lower(p.valid) AS valid_from, upper(p.valid) AS valid_to
  FROM every p WHERE p.recorded @> :batch_seq::bigint
 ORDER BY p.rate_card_id, p.price_id;

-- name: list_own_times
-- When subscriptions of some customers price what these use themselves, as known at a cut-off: while somebody above pays
-- they are set aside.
SELECT s.subscription_id, lower(s.valid) AS since, upper(s.valid) AS until
  FROM subscriptions_of(:customers::text[], :batch_seq) s WHERE s.payer_id = s.customer_id
 ORDER BY 1, 2;

-- name: list_billed_periods
-- Periods of subscriptions that have an invoice; `stands` where one is not void; invoice (subscription_id, period, run_no).
SELECT i.subscription_id, lower(i.period) AS period_start, upper(i.period) AS period_end, max(i.run_no) AS run_no,
       bool_or(NOT is_void(i.invoice_id)) AS stands
  FROM unnest(:subscription_ids::text[]) AS n (subscription_id)
 CROSS JOIN LATERAL (SELECT * FROM invoice v WHERE v.subscription_id = n.subscription_id OFFSET 0) i
 GROUP BY i.subscription_id, i.period ORDER BY i.subscription_id, i.period;

-- name: find_line_prices
-- Parameters of the prices that lines name, in which currency and since when, by primary key.
SELECT p.price_id, r.currency, lower(p.valid) AS valid_from, p.meter, p.project_id, p.agent_id, p.model, p.tier, p.adapter,
       p.region, p.band_from, p.hours, p.name, p.kind, p.params
  FROM rate_card_price p JOIN rate_card r USING (rate_card_id) WHERE p.price_id = ANY(:price_ids::bigint[]);

-- name: list_unpriced_of
-- Usage of subscriptions that waits for a price in a period of each, by the reason, as it stands at a cut-off; charge
-- (entity_id, customer_id) where unpriced.
WITH sums AS (
  SELECT n.subscription_id, l.customer_id, l.usage_key_id, l.day_start, l.meter, l.unpriced, sum(l.quantity) AS quantity
    FROM unnest(:subscriptions::text[], :customers::text[], :sinces::timestamptz[], :untils::timestamptz[])
           AS n (subscription_id, customer_id, since, until)
    JOIN charges_at(:batch_seq) l
      ON l.entity_id = :entity_id AND (l.customer_id = n.customer_id OR l.payer_id = n.customer_id) AND l.unpriced IS NOT NULL
     AND l.subscription_id = n.subscription_id AND l.day_start >= n.since AND l.day_start < n.until
   GROUP BY 1, 2, 3, 4, 5, 6
  HAVING sum(l.quantity) <> 0
)
SELECT s.subscription_id, s.customer_id, k.model, k.tier, s.meter, s.unpriced AS reason, sum(s.quantity) AS quantity,
       min(s.day_start) AS first_day, max(s.day_start) AS last_day
  FROM sums s JOIN usage_key k USING (usage_key_id)
 GROUP BY s.subscription_id, s.customer_id, k.model, k.tier, s.meter, s.unpriced
 ORDER BY s.subscription_id, k.model, k.tier, s.meter, s.unpriced;

-- name: take_numbers
-- The first of the next so many numbers of a series; the row stays locked until the invoices are issued or given up.
INSERT INTO invoice_series AS s (entity_id, kind, year, next_no) VALUES (:entity_id, :kind, :year, 1 + :numbers::bigint)
    ON CONFLICT (entity_id, kind, year) DO UPDATE SET next_no = s.next_no + :numbers
RETURNING s.next_no - :numbers AS number;

-- name: insert_invoices
-- Issued invoices; nothing of them ever changes. Returns their ids by number.
INSERT INTO invoice (entity_id, customer_id, subscription_id, period, run_no, number, currency,
                     priced_in, charged_total, exact_total, net_total, tax_total, tax_included, payable, issued_at, due_on,
                     event_cut_off, cut_off_id, batch_seq, snapshot)
SELECT :entity_id, n.customer_id, n.subscription_id, tstzrange(n.period_start, n.period_end), n.run_no, n.number,
       n.currency, n.priced_in, n.charged_total, n.exact_total, n.net_total, n.tax_total, n.tax_included, n.payable, :issued_at, n.due_on,
       n.event_cut_off, :cut_off_id, :batch_seq, n.snapshot
  FROM unnest(:customers::text[], :subscriptions::text[], :period_starts::timestamptz[], :period_ends::timestamptz[],
              :run_nos::int[], :numbers::text[], :currencies::text[], :priced_in::text[],
              :charged_totals::numeric[], :exact_totals::numeric[], :net_totals::numeric[],
              :tax_totals::numeric[], :taxes_included::numeric[], :payables::numeric[], :due_on::date[],
              :event_cut_offs::timestamptz[], :snapshots::jsonb[])
       AS n (customer_id, subscription_id, period_start, period_end, run_no, number, currency, priced_in, charged_total,
             exact_total, net_total, tax_total, tax_included, payable, due_on, event_cut_off, snapshot)
RETURNING invoice_id, number;

-- name: insert_document
-- A rendered document of an invoice, kept as it was rendered first.
INSERT INTO invoice_document (invoice_id, media_type, sha256, content, batch_seq)
VALUES (:invoice_id, :media_type, :sha256, :content, :batch_seq) ON CONFLICT DO NOTHING;

-- name: list_invoices
-- Invoices, newest first; leads by primary key. A number has a prefix and a year, an id digits alone.
SELECT i.invoice_id, i.entity_id, i.customer_id, i.subscription_id, lower(i.period) AS period_start,
       upper(i.period) AS period_end, i.run_no, i.number, i.currency, i.priced_in, i.charged_total,
       i.exact_total, i.net_total, i.tax_total, i.tax_included, i.issued_at, i.due_on, i.event_cut_off, i.cut_off_id,
       c.batch_seq AS cut_off_seq, i.snapshot, is_void(i.invoice_id) AS voided,
       coalesce((SELECT sum(a.amount) FROM credit_applied a WHERE a.invoice_id = i.invoice_id AND NOT a.taken_back), 0) AS credit
  FROM invoice i JOIN cut_off c USING (cut_off_id)
 WHERE (:entity_id::text IS NULL OR i.entity_id = :entity_id)
   AND (:customer_id::text IS NULL OR i.customer_id = :customer_id)
   AND (:invoice_id::bigint IS NULL OR i.invoice_id = :invoice_id)
   AND (:named::text IS NULL OR i.invoice_id = CASE WHEN :named ~ '^[0-9]{1,18}$' THEN :named::bigint END
        OR i.number = CASE WHEN :named !~ '^[0-9]{1,18}$' THEN :named END)
   AND (:before::bigint IS NULL OR i.invoice_id < :before)
 ORDER BY i.invoice_id DESC
 LIMIT :limit;

-- name: list_lines
-- The lines of an invoice.
SELECT line_no, kind, lower(service_period) AS service_start,
       upper(service_period) AS service_end, model, tier, adapter, region, context_band, meter,
       price_id, part, used_by, description, quantity, unit_amount, per, charged_amount, exact_amount,
       amount
  FROM invoice_line WHERE invoice_id = :invoice_id ORDER BY line_no;

-- name: find_document
-- A rendered document by its primary key.
SELECT content FROM invoice_document
 WHERE invoice_id = :invoice_id AND media_type = :media_type;

-- name: find_price_spans
-- When prices of the terms of a line's price, on its card, were ever to apply, as known at a cut-off.
SELECT DISTINCT lower(p.valid) AS since, upper(p.valid) AS until
  FROM rate_card_price q
  JOIN rate_card_price p ON p.rate_card_id = q.rate_card_id AND p.kind = q.kind AND p.params = q.params
 WHERE q.price_id = :price_id AND lower(p.recorded) <= :batch_seq;

-- name: find_line_cards
-- By which cards what a customer used in a period was priced, as known at a cut-off.
SELECT s.rate_card_id, lower(s.valid) AS since, upper(s.valid) AS until
  FROM subscriptions_of(ARRAY[:customer_id::text], :batch_seq) s
 WHERE s.valid && tstzrange(:since, :until) AND (:subscription_id::text IS NULL OR s.subscription_id = :subscription_id);

-- name: trace_runs
-- The keys behind an invoice line and when its price applied to each, by charge (customer_id, day_start, batch_seq).
SELECT k.usage_key_id, s.since, s.until
  FROM (SELECT DISTINCT c.usage_key_id FROM charge c
         WHERE c.customer_id = :customer_id AND c.day_start >= :since AND c.day_start < :until
           AND c.meter = ANY(:meters::text[]) AND c.batch_seq <= :batch_seq) c
  JOIN priced_keys(:batch_seq) k USING (usage_key_id)
  JOIN unnest(:models::text[], :tiers::text[], :adapters::text[], :regions::text[], :bands::smallint[],
              :projects::text[], :agents::text[], :outcomes::int[], :span_sinces::timestamptz[], :span_untils::timestamptz[])
    AS s (model, tier, adapter, region, context_band, project_id, agent_id, outcomes, since, until)
    ON k.model = s.model AND k.tier = s.tier AND k.adapter = s.adapter AND k.region = s.region
   AND k.context_band = s.context_band AND k.project_id = s.project_id AND k.agent_id = s.agent_id
   AND k.outcomes = s.outcomes
 ORDER BY 1, 2;

-- name: trace_events
-- Facts in rows of a customer's keys, each in a span, no two of which hold the same fact. In a day that is closed they
-- are found by the partition's index on (usage_key_id, time), one probe
-- for each key and span. An open day has no such index: there the batches of the windows' deltas, folded or not, lead
-- through the BRIN on batch_seq, one probe for each range of batches, made coarse so that they are few, and keys and
-- spans are looked up in a list. OFFSET 0 and IS TRUE hold the planner to that: it cannot know how few they are.
WITH runs AS MATERIALIZED (
  SELECT r.* FROM unnest(:usage_key_ids::bigint[], :sinces::timestamptz[], :untils::timestamptz[]) AS r (usage_key_id, since, until)
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

-- name: sum_days
-- What a period of a subscription was charged by day of a zone, at a cut-off; charge (customer_id, day_start, batch_seq).
SELECT (l.day_start AT TIME ZONE :zone)::date AS day, sum(l.amount) AS amount
  FROM charges_at(:batch_seq) l
 WHERE (l.customer_id = :customer_id OR l.payer_id = :customer_id) AND l.day_start >= :since AND l.day_start < :until
   AND l.subscription_id = :subscription_id AND l.amount IS NOT NULL
 GROUP BY 1 HAVING sum(l.amount) <> 0 ORDER BY 1;
