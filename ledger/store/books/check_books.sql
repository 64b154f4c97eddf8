-- Each query finds what is wrong: where (`place`, `window_start`), which figure (`name`), what it must be and what is
-- stored, the first `most` of `differing` in all. Sums are PostgreSQL's numeric, which has no end. All of it reads the
-- snapshot of the check as it is: what a stage has not come to yet is not wrong, so usage counts up to the cut-off of
-- the stage's last run, or of what it has written already, and what it parked waits.

-- name: find_unrated
-- Usage against charges: every meter of every day of a known customer is charged, or listed as unpriced, with its
-- quantity, in which parts of it that are charged apart count; requests and extras are where a price is for them, and may
-- be at its hours, or where tokens that count the same cost nothing. Scans of usage_delta, extra_delta and charge.
WITH run AS (
  SELECT s.entity_id, max(o.batch_seq) AS batch_seq
    FROM stage_run s JOIN cut_off o USING (cut_off_id) WHERE s.stage = 'rate' GROUP BY 1
), unasked AS MATERIALIZED (
  SELECT p.* FROM rate_card_price p
   WHERE p.meter NOT IN ('input_uncached', 'input_cache_read', 'input_cache_write', 'output_visible', 'output_reasoning',
                         'fee', 'commitment', 'discount', 'outcome', 'cost')
), by_request AS MATERIALIZED (
  SELECT s.customer_id, s.models, s.valid * p.valid AS valid, p.meter, p.model, p.tier, p.adapter, p.region, p.project_id, p.agent_id,
         coalesce(p.band_from, 0) AS band_from,
         p.hours IS NULL AND NOT EXISTS (
           SELECT FROM rate_card_price t
            WHERE t.rate_card_id = p.rate_card_id AND t.meter = same_as(p.meter) AND t.recorded @> r.batch_seq
              AND t.valid && p.valid) AS always
    FROM run r
   CROSS JOIN LATERAL subscriptions_of(ARRAY(SELECT c.customer_id FROM customer c WHERE c.entity_id = r.entity_id), r.batch_seq) s
    JOIN unasked p ON p.rate_card_id = s.rate_card_id AND p.recorded @> r.batch_seq
   WHERE s.valid && p.valid AND EXISTS (SELECT FROM unasked)
), charged AS (
  SELECT c.customer_id, (c.day_start AT TIME ZONE e.zone)::date AS day, c.usage_key_id, c.meter,
         sum(c.quantity) AS quantity, max(o.batch_seq) AS seen_seq
    FROM charge c JOIN cut_off o USING (cut_off_id) JOIN entity e USING (entity_id) GROUP BY 1, 2, 3, 4
), whole AS (
  SELECT customer_id, day, usage_key_id, coalesce(part_of(meter), meter) AS meter, sum(quantity) AS quantity
    FROM charged GROUP BY 1, 2, 3, 4
  UNION ALL
  SELECT customer_id, day, usage_key_id, meter, quantity FROM charged WHERE part_of(meter) IS NOT NULL
), counted AS (
  SELECT d.customer_id, d.usage_key_id, d.window_start, d.batch_seq, 'requests' AS meter, d.requests AS quantity FROM usage_delta d
  UNION ALL
  SELECT d.customer_id, d.usage_key_id, d.window_start, d.batch_seq, d.meter, d.quantity FROM extra_delta d
), seen AS (
  SELECT customer_id, day, max(seen_seq) AS batch_seq FROM charged GROUP BY 1, 2
), used AS (
  SELECT d.customer_id, w.day, d.usage_key_id, sum(d.uncached) AS uncached,
         sum(d.cache_read) AS cache_read, sum(d.cache_write) AS cache_write, sum(d.visible) AS visible,
         sum(d.reasoning) AS reasoning
    FROM usage_delta d
    JOIN customer c USING (customer_id)
    JOIN entity e USING (entity_id)
   CROSS JOIN LATERAL (SELECT (d.window_start AT TIME ZONE e.zone)::date AS day) w
    LEFT JOIN run r USING (entity_id)
    LEFT JOIN seen s ON s.customer_id = d.customer_id AND s.day = w.day
   WHERE d.batch_seq <= greatest(r.batch_seq, s.batch_seq)
   GROUP BY 1, 2, 3
), metered AS (
  SELECT u.customer_id, u.day, u.usage_key_id, m.meter, m.quantity AS at_least, m.quantity AS at_most
    FROM used u
   CROSS JOIN LATERAL (VALUES ('input_uncached', u.uncached), ('input_cache_read', u.cache_read),
                              ('input_cache_write', u.cache_write), ('output_visible', u.visible),
                              ('output_reasoning', u.reasoning)) AS m (meter, quantity)
  UNION ALL
  SELECT d.customer_id, w.day, d.usage_key_id, d.meter, sum(CASE WHEN a.always THEN d.quantity ELSE 0 END), sum(d.quantity)
    FROM counted d
    JOIN usage_key k USING (usage_key_id)
    JOIN entity e ON e.entity_id = k.entity_id
   CROSS JOIN LATERAL (SELECT (d.window_start AT TIME ZONE e.zone)::date AS day) w
   CROSS JOIN LATERAL (
     SELECT bool_or(b.always) AS always FROM by_request b
      WHERE b.customer_id = d.customer_id AND b.meter = d.meter AND b.valid @> d.window_start AND b.models @> k.model
        AND (b.model IS NULL OR b.model = ANY(model_patterns(k.model))) AND (b.tier IS NULL OR b.tier = k.tier)
        AND (b.adapter IS NULL OR b.adapter = k.adapter) AND (b.region IS NULL OR b.region = k.region)
        AND (b.project_id IS NULL OR b.project_id = k.project_id) AND (b.agent_id IS NULL OR b.agent_id = k.agent_id)
        AND b.band_from <= (context_edges())[k.context_band + 1]) a
    LEFT JOIN run r ON r.entity_id = e.entity_id
    LEFT JOIN seen s ON s.customer_id = d.customer_id AND s.day = w.day
   WHERE a.always IS NOT NULL AND d.customer_id IN (SELECT b.customer_id FROM by_request b)
     AND d.batch_seq <= greatest(r.batch_seq, s.batch_seq)
   GROUP BY 1, 2, 3, 4
), wrong AS (
  SELECT customer_id, usage_key_id, meter, day::timestamp AT TIME ZONE e.zone AS day_start,
         coalesce(CASE WHEN l.quantity > m.at_most THEN m.at_most ELSE m.at_least END, 0) AS expected,
         coalesce(l.quantity, 0) AS stored, e.entity_id
    FROM metered m
    FULL JOIN whole l USING (customer_id, day, usage_key_id, meter)
    LEFT JOIN customer c USING (customer_id)
    LEFT JOIN entity e USING (entity_id)
   WHERE coalesce(l.quantity, 0) NOT BETWEEN coalesce(m.at_least, 0) AND coalesce(m.at_most, 0)
)
SELECT concat_ws(' ', w.customer_id, k.model, k.tier, w.meter) AS place, w.day_start AS window_start, 'quantity' AS name,
       w.expected::text AS expected, w.stored::text AS stored, count(*) OVER () AS differing
  FROM wrong w LEFT JOIN usage_key k USING (usage_key_id)
 WHERE NOT EXISTS (SELECT FROM parked p
                    WHERE p.stage = 'rate' AND p.entity_id = w.entity_id AND p.subject IN ('', w.customer_id)
                      AND (p.windows IS NULL OR p.windows @> w.day_start))
 ORDER BY 2, 1 LIMIT :most;

-- name: lock_extras
-- Keeps days of extras where they are, for who reads their files as well.
LOCK TABLE usage_extra IN ACCESS SHARE MODE;

-- name: find_wrong_extras
-- Extras of facts, and what files have of them by window, against what windows have of them, whose they are, and parts against the meter that they are of: as known
-- at the last cut-off, behind which nothing waits to be summed. Scans of usage_extra and extra_delta, and of usage_delta
-- where there are any.
WITH last AS (
  SELECT coalesce(max(batch_seq), -1) AS batch_seq FROM cut_off
), counted AS (
  SELECT e.usage_key_id, e.window_start, e.meter, sum(e.quantity) AS quantity
    FROM (SELECT u.usage_key_id, date_bin('15 minutes', u.time, timestamptz '2000-01-01 00:00Z') AS window_start, x.meter,
                 u.quantity::numeric
            FROM last l JOIN usage_extra x ON x.batch_seq <= l.batch_seq
           CROSS JOIN LATERAL unnest(x.usage_key_ids, x.times, x.quantities) AS u(usage_key_id, time, quantity)
          UNION ALL
          SELECT * FROM unnest(:usage_key_ids::bigint[], :windows::timestamptz[], :meters::text[], :quantities::numeric[])
         ) AS e(usage_key_id, window_start, meter, quantity)
   GROUP BY 1, 2, 3
), stored AS (
  SELECT d.usage_key_id, d.window_start, d.meter, sum(d.quantity) AS quantity,
         count(*) FILTER (WHERE d.customer_id IS DISTINCT FROM k.customer_id) AS misplaced
    FROM last l JOIN extra_delta d ON d.batch_seq <= l.batch_seq
    LEFT JOIN usage_key k USING (usage_key_id)
   GROUP BY 1, 2, 3
), part AS (
  SELECT usage_key_id, window_start, part_of(meter) AS meter, sum(quantity) AS quantity
    FROM stored WHERE part_of(meter) IS NOT NULL GROUP BY 1, 2, 3
), whole AS (
  SELECT p.usage_key_id, p.window_start, p.meter, p.quantity,
         coalesce(sum(CASE p.meter WHEN 'input_uncached' THEN d.uncached WHEN 'input_cache_read' THEN d.cache_read
                                   WHEN 'input_cache_write' THEN d.cache_write ELSE d.visible END), 0) AS whole
    FROM part p CROSS JOIN last l
    LEFT JOIN usage_delta d ON d.usage_key_id = p.usage_key_id AND d.window_start = p.window_start
                           AND d.batch_seq <= l.batch_seq
   GROUP BY 1, 2, 3, 4
), wrong AS (
  SELECT usage_key_id, window_start, meter, 'quantity' AS name, coalesce(c.quantity, 0) AS expected,
         coalesce(s.quantity, 0) AS stored
    FROM counted c FULL JOIN stored s USING (usage_key_id, window_start, meter)
   WHERE coalesce(c.quantity, 0) <> coalesce(s.quantity, 0)
  UNION ALL
  SELECT s.usage_key_id, s.window_start, s.meter, 'misplaced', 0, s.misplaced FROM stored s WHERE s.misplaced > 0
  UNION ALL
  SELECT w.usage_key_id, w.window_start, w.meter, 'parts', w.whole, w.quantity FROM whole w WHERE w.quantity NOT BETWEEN 0 AND w.whole
)
SELECT concat_ws(' ', k.customer_ref, k.model, k.tier, w.meter) AS place, w.window_start, w.name, w.expected::text AS expected,
       w.stored::text AS stored, count(*) OVER () AS differing
  FROM wrong w LEFT JOIN usage_key k USING (usage_key_id)
 ORDER BY 2, 1, 3 LIMIT :most;

-- name: find_wrong_usage_days
-- Usage against its requests by day, and how many of them lack what, of known customers; scans of usage_delta, usage_mark
-- and usage_day.
WITH run AS (
  SELECT s.entity_id, max(o.batch_seq) AS batch_seq
    FROM stage_run s JOIN cut_off o USING (cut_off_id) WHERE s.stage = 'rate' GROUP BY 1
), stored AS (
  SELECT d.customer_id, (d.day_start AT TIME ZONE e.zone)::date AS day, max(o.batch_seq) AS batch_seq,
         sum(d.requests) AS requests, sum(d.estimated) AS estimated, sum(d.incomplete) AS incomplete,
         sum(d.input_unknown) AS input_unknown, sum(d.output_unknown) AS output_unknown,
         sum(d.cached_unknown) AS cached_unknown, sum(d.written_unknown) AS written_unknown,
         sum(d.reasoning_unknown) AS reasoning_unknown
    FROM usage_day d JOIN cut_off o USING (cut_off_id) JOIN entity e USING (entity_id) GROUP BY 1, 2
), counted AS (
  SELECT customer_id, window_start, batch_seq, requests, 0 AS estimated, 0 AS incomplete, 0 AS input_unknown,
         0 AS output_unknown, 0 AS cached_unknown,
         0 AS written_unknown, 0 AS reasoning_unknown
    FROM usage_delta
  UNION ALL
  SELECT customer_id, window_start, batch_seq, 0, estimated, incomplete, input_unknown, output_unknown, cached_unknown,
         written_unknown, reasoning_unknown
    FROM usage_mark
), used AS (
  SELECT u.customer_id, w.day, sum(u.requests) AS requests, sum(u.estimated) AS estimated, sum(u.incomplete) AS incomplete,
         sum(u.input_unknown) AS input_unknown, sum(u.output_unknown) AS output_unknown,
         sum(u.cached_unknown) AS cached_unknown, sum(u.written_unknown) AS written_unknown,
         sum(u.reasoning_unknown) AS reasoning_unknown
    FROM counted u
    JOIN customer c USING (customer_id)
    JOIN entity e USING (entity_id)
   CROSS JOIN LATERAL (SELECT (u.window_start AT TIME ZONE e.zone)::date AS day) w
    LEFT JOIN run r USING (entity_id)
    LEFT JOIN stored s ON s.customer_id = u.customer_id AND s.day = w.day
   WHERE u.batch_seq <= greatest(r.batch_seq, s.batch_seq)
   GROUP BY 1, 2
), wrong AS (
  SELECT customer_id, day::timestamp AT TIME ZONE e.zone AS day_start, n.name, n.expected, n.stored, e.entity_id
    FROM used u
    FULL JOIN stored s USING (customer_id, day)
    LEFT JOIN customer c USING (customer_id)
    LEFT JOIN entity e USING (entity_id)
   CROSS JOIN LATERAL (VALUES ('requests', coalesce(u.requests, 0), coalesce(s.requests, 0)),
                              ('estimated', coalesce(u.estimated, 0), coalesce(s.estimated, 0)),
                              ('incomplete', coalesce(u.incomplete, 0), coalesce(s.incomplete, 0)),
                              ('input_unknown', coalesce(u.input_unknown, 0), coalesce(s.input_unknown, 0)),
                              ('output_unknown', coalesce(u.output_unknown, 0), coalesce(s.output_unknown, 0)),
                              ('cached_unknown', coalesce(u.cached_unknown, 0), coalesce(s.cached_unknown, 0)),
                              ('written_unknown', coalesce(u.written_unknown, 0), coalesce(s.written_unknown, 0)),
                              ('reasoning_unknown', coalesce(u.reasoning_unknown, 0), coalesce(s.reasoning_unknown, 0)))
                  AS n (name, expected, stored)
   WHERE n.expected <> n.stored
)
SELECT w.customer_id AS place, w.day_start AS window_start, w.name, w.expected::text AS expected, w.stored::text AS stored,
       count(*) OVER () AS differing
  FROM wrong w
 WHERE NOT EXISTS (SELECT FROM parked p
                    WHERE p.stage = 'rate' AND p.entity_id = w.entity_id AND p.subject IN ('', w.customer_id)
                      AND (p.windows IS NULL OR p.windows @> w.day_start))
 ORDER BY 2, 1, 3 LIMIT :most;

-- name: find_wrong_charges
-- Charges against prices: quantity times the price they name, which must be one for their meter, model, tier and
-- day, it or another of its match and terms; a scan of charge. What a day has nothing left of need not have a price. Of an
-- outcome nothing is charged otherwise on a day on which, by the most specific rule as the last run knew it, the house pays.
WITH run AS (
  SELECT s.entity_id, max(o.batch_seq) AS batch_seq
    FROM stage_run s JOIN cut_off o USING (cut_off_id) WHERE s.stage = 'rate' GROUP BY 1
), summed AS (
  SELECT c.customer_id, c.day_start, c.usage_key_id, c.meter, c.price_id, c.currency, sum(c.quantity) AS quantity,
         sum(c.amount) AS amount
    FROM charge c WHERE c.amount IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6
), priced AS (
  SELECT c.customer_id, c.day_start, c.meter, c.quantity, c.amount, c.currency, c.price_id, k.model, k.tier,
         p.kind, CASE p.kind WHEN 'who_pays' THEN 0 ELSE (p.params ->> 'amount')::numeric END AS unit_amount,
         CASE p.kind WHEN 'who_pays' THEN 1 ELSE (p.params ->> 'per')::numeric END AS per,
         r.currency AS card_currency,
         (p.meter IN (c.meter, CASE c.meter WHEN 'output_reasoning' THEN 'output_visible' END)
          OR p.meter = 'outcome' AND p.params ->> 'pays' = 'house' AND k.outcomes & outcome_bit(p.params ->> 'outcome') <> 0)
           -- What a discount is of is not what it is charged as: find_wrong_periods proves it.
           AND (p.meter IN ('discount', 'cost')
                OR (p.model IS NULL OR p.model = ANY(model_patterns(k.model))) AND (p.tier IS NULL OR p.tier = k.tier)
                   AND (p.adapter IS NULL OR p.adapter = k.adapter) AND (p.region IS NULL OR p.region = k.region)
                   AND (p.project_id IS NULL OR p.project_id = k.project_id)
                   AND (p.agent_id IS NULL OR p.agent_id = k.agent_id))
           AND (p.valid && d.span OR EXISTS (
                SELECT FROM rate_card_price q
                 WHERE q.rate_card_id = p.rate_card_id AND q.kind = p.kind AND q.params = p.params AND q.valid && d.span
                   AND (q.meter, q.project_id, q.agent_id, q.model, q.tier, q.adapter, q.region, q.band_from, q.hours, q.name)
                       IS NOT DISTINCT FROM (p.meter, p.project_id, p.agent_id, p.model, p.tier, p.adapter, p.region,
                                             p.band_from, p.hours, p.name))) AS applies,
         h.unbilled
    FROM summed c
   CROSS JOIN LATERAL (SELECT tstzrange(c.day_start, c.day_start + interval '25 hours') AS span) d
    LEFT JOIN usage_key k USING (usage_key_id)
    LEFT JOIN rate_card_price p ON p.price_id = c.price_id
    LEFT JOIN rate_card r USING (rate_card_id)
    LEFT JOIN run u ON u.entity_id = r.entity_id
    LEFT JOIN LATERAL (
      SELECT bool_or(o.pays = 'house' AND o.whole_day) AS unbilled FROM (
        SELECT DISTINCT ON (q.name) q.params ->> 'pays' AS pays,
               NOT EXISTS (SELECT FROM rate_card_price x
                            WHERE x.rate_card_id = q.rate_card_id AND x.meter = 'outcome' AND x.recorded @> u.batch_seq
                              AND x.valid && d.span AND NOT x.valid @> d.span) AS whole_day
          FROM rate_card_price q
         WHERE q.rate_card_id = p.rate_card_id AND q.meter = 'outcome' AND q.recorded @> u.batch_seq AND q.valid @> d.span
           AND k.outcomes & outcome_bit(q.name) <> 0
           AND (q.model IS NULL OR q.model = ANY(model_patterns(k.model))) AND (q.tier IS NULL OR q.tier = k.tier)
           AND (q.adapter IS NULL OR q.adapter = k.adapter) AND (q.region IS NULL OR q.region = k.region)
           AND (q.project_id IS NULL OR q.project_id = k.project_id) AND (q.agent_id IS NULL OR q.agent_id = k.agent_id)
         ORDER BY q.name, q.agent_id IS NULL, q.project_id IS NULL, q.model IS NULL, right(q.model, 1) = '*',
                  length(q.model) DESC, q.adapter IS NULL, q.tier IS NULL, q.region IS NULL, q.price_id) o
      ) h ON k.outcomes <> 0 AND p.kind <> 'who_pays' AND p.meter NOT IN ('fee', 'commitment', 'discount', 'cost')
), wrong AS (
  SELECT p.*, 'amount' AS name, trim_scale(round(p.quantity * p.unit_amount / p.per, 12))::text AS expected,
         trim_scale(p.amount)::text AS stored
    FROM priced p WHERE p.kind IN ('per_unit', 'who_pays') AND p.amount * p.per <> p.quantity * p.unit_amount
  UNION ALL
  SELECT p.*, 'currency', p.card_currency, p.currency FROM priced p WHERE p.currency <> p.card_currency
  UNION ALL
  SELECT p.*, 'price_id', 'a price that applies', coalesce(p.price_id::text, 'none')
    FROM priced p WHERE (p.quantity <> 0 OR p.amount <> 0) AND p.applies IS NOT TRUE
  UNION ALL
  SELECT p.*, 'price_id', 'one by which the house pays', p.price_id::text
    FROM priced p WHERE (p.quantity <> 0 OR p.amount <> 0) AND p.unbilled
)
SELECT concat_ws(' ', customer_id, model, tier, meter) AS place, day_start AS window_start, name, expected, stored,
       count(*) OVER () AS differing
  FROM wrong ORDER BY 2, 1, 3 LIMIT :most;

-- name: find_unbooked_revenue
-- Charges against the general ledger: what is booked as revenue of each day of the entity by tier and model; scans of
-- charge and of revenue entries.
WITH run AS (
  SELECT s.entity_id, max(o.batch_seq) AS batch_seq
    FROM stage_run s JOIN cut_off o USING (cut_off_id) WHERE s.stage = 'book_revenue' GROUP BY 1
), booked AS (
  SELECT e.entity_id, (coalesce(e.corrects, e.booked_for) AT TIME ZONE n.zone)::date AS day, p.currency, p.tier, p.model,
         -sum(p.amount) AS amount, max(o.batch_seq) AS batch_seq
    FROM journal_entry e JOIN entity n USING (entity_id) JOIN cut_off o USING (cut_off_id) JOIN posting p USING (entry_id)
   WHERE e.kind = 'revenue' AND p.account = '4000' GROUP BY 1, 2, 3, 4, 5
), seen AS (
  SELECT entity_id, day, max(batch_seq) AS batch_seq FROM booked GROUP BY 1, 2
), charged AS (
  SELECT c.entity_id, d.day, c.currency, coalesce(k.tier, '') AS tier, coalesce(k.model, '') AS model,
         sum(c.amount) AS amount
    FROM charge c
    JOIN entity e USING (entity_id)
   CROSS JOIN LATERAL (SELECT (c.day_start AT TIME ZONE e.zone)::date AS day) d
    LEFT JOIN usage_key k USING (usage_key_id)
    LEFT JOIN run r ON r.entity_id = c.entity_id
    LEFT JOIN seen s ON s.entity_id = c.entity_id AND s.day = d.day
   WHERE c.amount IS NOT NULL AND c.batch_seq <= greatest(r.batch_seq, s.batch_seq) GROUP BY 1, 2, 3, 4, 5
), wrong AS (
  SELECT entity_id, tier, model, currency, day::timestamp AT TIME ZONE e.zone AS booked_for,
         coalesce(c.amount, 0) AS expected, coalesce(b.amount, 0) AS stored
    FROM charged c FULL JOIN booked b USING (entity_id, day, currency, tier, model)
    JOIN (SELECT entity_id, zone FROM entity) e USING (entity_id)
   WHERE coalesce(c.amount, 0) <> coalesce(b.amount, 0)
)
SELECT concat_ws(' ', w.entity_id, nullif(w.model, ''), nullif(w.tier, ''), w.currency) AS place,
       w.booked_for AS window_start, 'revenue' AS name, trim_scale(w.expected)::text AS expected,
       trim_scale(w.stored)::text AS stored, count(*) OVER () AS differing
  FROM wrong w
 WHERE NOT EXISTS (SELECT FROM parked p
                    WHERE p.stage = 'book_revenue' AND p.entity_id = w.entity_id
                      AND (p.windows IS NULL OR p.windows @> w.booked_for))
 ORDER BY 2, 1 LIMIT :most;

-- name: find_unbooked_cost
-- Cost lines against the journal: every account of cost, by entity and local day, of usage by tier and model, whatever the
-- entry that was booked on it is called; of days whose lines were let go, usage as the days have it, which are held against
-- windows by themselves. Scans of cost_allocation, cost_share and of postings on these accounts. The chart is said anew: which part of which
-- line of which hardware is debited where, against what.
WITH run AS (
  SELECT s.entity_id, max(o.batch_seq) AS batch_seq
    FROM stage_run s JOIN cut_off o USING (cut_off_id) WHERE s.stage = 'book_cost' GROUP BY 1
), chart (line, part, gpu_terms, account, dimension, against) AS (
  VALUES ('usage', 'device', NULL, '5000', '', '2100'), ('suspense', 'device', NULL, '5000', 'suspense', '2100'),
         ('idle', 'device', NULL, '5010', '', '2100'), ('unattributed', 'device', NULL, '5900', 'electricity', '2100'),
         ('usage', 'overhead', NULL, '5020', 'serving', '2100'), ('suspense', 'overhead', NULL, '5020', 'suspense', '2100'),
         ('idle', 'overhead', NULL, '5020', 'idle', '2100'), ('unattributed', 'overhead', NULL, '5900', 'electricity', '2100'),
         ('usage', 'gpu', 'owned', '5100', '', '1590'), ('suspense', 'gpu', 'owned', '5100', 'suspense', '1590'),
         ('idle', 'gpu', 'owned', '5110', '', '1590'), ('unattributed', 'gpu', 'owned', '5900', 'gpu', '1590'),
         ('usage', 'gpu', 'lease', '5200', 'serving', '2000'), ('suspense', 'gpu', 'lease', '5200', 'suspense', '2000'),
         ('idle', 'gpu', 'lease', '5200', 'idle', '2000'), ('unattributed', 'gpu', 'lease', '5900', 'gpu', '2000')
), booked AS (
  SELECT e.entity_id, date_trunc('day', coalesce(e.corrects, e.booked_for), n.zone) AS booked_for, p.account, p.dimension, p.tier, p.model,
         p.currency::text AS currency, sum(p.amount) AS amount, max(o.batch_seq) AS batch_seq
    FROM journal_entry e JOIN entity n USING (entity_id) JOIN cut_off o USING (cut_off_id) JOIN posting p USING (entry_id)
   WHERE p.account IN (SELECT account FROM chart UNION SELECT against FROM chart) AND e.kind <> 'utility bill' GROUP BY 1, 2, 3, 4, 5, 6, 7
), seen AS (
  SELECT entity_id, booked_for, max(batch_seq) AS batch_seq FROM booked GROUP BY 1, 2
), latest AS (
  SELECT DISTINCT ON (c.entity_id, c.scope, c.window_start, c.line) c.*, h.booked_for
    FROM cost_allocation c
    JOIN entity e USING (entity_id)
   CROSS JOIN LATERAL (SELECT date_trunc('day', c.window_start, e.zone) AS booked_for) h
    LEFT JOIN run r USING (entity_id)
    LEFT JOIN seen s ON s.entity_id = c.entity_id AND s.booked_for = h.booked_for
   WHERE c.batch_seq <= greatest(r.batch_seq, s.batch_seq)
   ORDER BY c.entity_id, c.scope, c.window_start, c.line, c.revision DESC
), shared AS (
  SELECT c.*, s.usage_key_id, s.device_cost_low, s.device_cost_high, s.overhead_cost_low, s.overhead_cost_high,
         s.gpu_cost_low, s.gpu_cost_high
    FROM latest c LEFT JOIN cost_share s
      ON s.entity_id = c.entity_id AND s.window_start = c.window_start AND s.scope = c.scope AND s.revision = c.revision
   WHERE c.line = 'usage' AND c.lines > 0
), thin AS MATERIALIZED (
  SELECT DISTINCT s.entity_id, s.booked_for FROM shared s WHERE s.usage_key_id IS NULL
), lines AS (
  SELECT c.entity_id, c.booked_for, c.currency, c.line, c.gpu_terms, 0 AS usage_key_id, c.device_cost::numeric AS device_cost,
         c.overhead_cost::numeric AS overhead_cost, c.gpu_cost::numeric AS gpu_cost
    FROM latest c WHERE c.line <> 'usage'
   UNION ALL
  SELECT s.entity_id, s.booked_for, s.currency, s.line, s.gpu_terms, l.usage_key_id, amount_of(l.device_low, l.device_high),
         amount_of(l.overhead_low, l.overhead_high), amount_of(l.gpu_low, l.gpu_high)
    FROM shared s
   CROSS JOIN LATERAL unnest(s.usage_key_id, s.device_cost_low, s.device_cost_high, s.overhead_cost_low, s.overhead_cost_high,
                             s.gpu_cost_low, s.gpu_cost_high)
                   AS l(usage_key_id, device_low, device_high, overhead_low, overhead_high, gpu_low, gpu_high)
   WHERE (s.entity_id, s.booked_for) NOT IN (SELECT t.entity_id, t.booked_for FROM thin t)
   UNION ALL
  SELECT l.entity_id, l.day_start, l.currency, l.line, l.gpu_terms, l.usage_key_id, l.device_cost::numeric,
         l.overhead_cost::numeric, l.gpu_cost::numeric
    FROM thin t JOIN cost_day_line l ON l.entity_id = t.entity_id AND l.day_start = t.booked_for AND l.line = 'usage'
    LEFT JOIN run r ON r.entity_id = t.entity_id
    LEFT JOIN seen s ON s.entity_id = t.entity_id AND s.booked_for = t.booked_for
   WHERE l.batch_seq <= greatest(r.batch_seq, s.batch_seq)
), summed AS (
  SELECT l.entity_id, l.booked_for, l.currency::text AS currency,
         CASE l.line WHEN 'usage' THEN CASE WHEN k.customer_id IS NULL THEN 'suspense' ELSE 'usage' END
                     WHEN 'idle' THEN 'idle' ELSE 'unattributed' END AS line,
         l.gpu_terms, coalesce(k.tier, '') AS tier, coalesce(k.model, '') AS model, sum(l.device_cost) AS device,
         sum(l.overhead_cost) AS overhead, sum(l.gpu_cost) AS gpu
    FROM lines l LEFT JOIN usage_key k USING (usage_key_id) GROUP BY 1, 2, 3, 4, 5, 6, 7
), due AS (
  SELECT s.entity_id, s.booked_for, a.account, a.dimension, a.tier, a.model, s.currency, sum(a.amount) AS amount
    FROM summed s
   CROSS JOIN LATERAL (VALUES ('device', s.device), ('overhead', s.overhead), ('gpu', s.gpu)) AS p (part, amount)
    JOIN chart c ON c.line = s.line AND c.part = p.part
                AND coalesce(c.gpu_terms = CASE s.gpu_terms WHEN 'lease' THEN 'lease' ELSE 'owned' END, true)
   CROSS JOIN LATERAL (VALUES (c.account, c.dimension, s.tier, s.model, p.amount), (c.against, '', '', '', -p.amount))
                   AS a (account, dimension, tier, model, amount)
   GROUP BY 1, 2, 3, 4, 5, 6, 7
)
SELECT concat_ws(' ', entity_id, 'account', account, nullif(dimension, ''), nullif(model, ''), nullif(tier, ''), currency) AS place,
       booked_for AS window_start, 'amount' AS name, trim_scale(coalesce(d.amount, 0))::text AS expected,
       trim_scale(coalesce(b.amount, 0))::text AS stored, count(*) OVER () AS differing
  FROM due d FULL JOIN booked b USING (entity_id, booked_for, account, dimension, tier, model, currency)
 WHERE coalesce(d.amount, 0) <> coalesce(b.amount, 0)
   AND NOT EXISTS (SELECT FROM parked p
                    WHERE p.stage = 'book_cost' AND p.entity_id = coalesce(d.entity_id, b.entity_id)
                      AND (p.windows IS NULL OR p.windows @> coalesce(d.booked_for, b.booked_for)))
 ORDER BY 2, 1 LIMIT :most;

-- name: find_unbooked_site_costs
-- Costs of sites against the journal: what is accrued of each day and name is an expense, and owed, by whatever entry;
-- scans of site_cost and of postings on these accounts. Both are written in one transaction, so neither waits.
WITH due AS (
  SELECT s.entity_id, s.day_start AS booked_for, a.account, a.dimension, s.currency::text AS currency,
         sum(a.amount) AS amount
    FROM site_cost s
   CROSS JOIN LATERAL (VALUES ('5300', s.name, s.amount::numeric), ('2150', '', -s.amount))
                   AS a (account, dimension, amount)
   WHERE s.name <> 'utility bill' GROUP BY 1, 2, 3, 4, 5
), booked AS (
  SELECT e.entity_id, coalesce(e.corrects, e.booked_for) AS booked_for, p.account, p.dimension,
         p.currency::text AS currency, sum(p.amount) AS amount
    FROM journal_entry e JOIN posting p USING (entry_id)
   WHERE p.account IN ('5300', '2150') AND e.kind <> 'utility bill' GROUP BY 1, 2, 3, 4, 5
)
SELECT concat_ws(' ', entity_id, 'account', account, nullif(dimension, ''), currency) AS place,
       booked_for AS window_start, 'amount' AS name, trim_scale(coalesce(d.amount, 0))::text AS expected,
       trim_scale(coalesce(b.amount, 0))::text AS stored, count(*) OVER () AS differing
  FROM due d FULL JOIN booked b USING (entity_id, booked_for, account, dimension, currency)
 WHERE coalesce(d.amount, 0) <> coalesce(b.amount, 0)
 ORDER BY 2, 1 LIMIT :most;

-- name: find_unbooked_bills
-- What utilities asked for against the journal: what is owed is final bills with their tax, as the last run of accrual knew
-- them, and what they are beyond what was accrued is an expense of each day; scans of utility_bill, site_cost, and of
-- entries of that kind. An entity of which accrual is parked waits.
WITH run AS (
  SELECT s.entity_id, max(o.batch_seq) AS batch_seq
    FROM stage_run s JOIN cut_off o USING (cut_off_id) WHERE s.stage = 'accrue' GROUP BY 1
), due AS (
  SELECT f.entity_id, NULL::timestamptz AS booked_for, '2000' AS account, b.currency::text AS currency,
         -sum(b.net + b.tax) AS amount
    FROM utility_bill b JOIN facility f USING (facility_id) JOIN run r USING (entity_id)
   WHERE b.final AND b.recorded @> r.batch_seq GROUP BY 1, 4
   UNION ALL
  SELECT s.entity_id, s.day_start, 'expenses', s.currency::text, sum(s.amount)
    FROM site_cost s WHERE s.name = 'utility bill' GROUP BY 1, 2, 4
), booked AS (
  SELECT e.entity_id, CASE WHEN p.account <> '2000' THEN coalesce(e.corrects, e.booked_for) END AS booked_for,
         CASE WHEN p.account = '2000' THEN p.account ELSE 'expenses' END AS account, p.currency::text AS currency,
         sum(p.amount) AS amount
    FROM journal_entry e JOIN posting p USING (entry_id)
   WHERE e.kind = 'utility bill' AND (p.account = '2000' OR p.account >= '5') GROUP BY 1, 2, 3, 4
)
SELECT concat_ws(' ', coalesce(d.entity_id, b.entity_id), 'account', coalesce(d.account, b.account),
                 coalesce(d.currency, b.currency)) AS place,
       coalesce(d.booked_for, b.booked_for) AS window_start, 'amount' AS name,
       trim_scale(coalesce(d.amount, 0))::text AS expected, trim_scale(coalesce(b.amount, 0))::text AS stored,
       count(*) OVER () AS differing
  FROM due d FULL JOIN booked b
    ON (d.entity_id, d.account, d.currency) = (b.entity_id, b.account, b.currency)
   AND coalesce(d.booked_for, 'epoch') = coalesce(b.booked_for, 'epoch')
 WHERE coalesce(d.amount, 0) <> coalesce(b.amount, 0)
   AND NOT EXISTS (SELECT FROM parked p WHERE p.stage = 'accrue' AND p.entity_id = coalesce(d.entity_id, b.entity_id))
 ORDER BY 2, 1 LIMIT :most;

-- name: find_wrong_controls
-- Control accounts of the general ledger against the ledgers behind them, by customer but for usage, of which the general
-- ledger knows no customer: what is unbilled is charges less invoices, of fees that are billed in advance by themselves, what is owed is what invoices ask for, prepaid
-- what of grants was neither drawn nor expired, tax and rounding are theirs, and revenue is charges less the tax in them, by whatever entries; scans of charge, invoice, credit notes,
-- payments and of postings on these accounts. An entity of which revenue is parked waits.
WITH run AS (
  SELECT s.entity_id, max(o.batch_seq) AS batch_seq
    FROM stage_run s JOIN cut_off o USING (cut_off_id) WHERE s.stage = 'book_revenue' GROUP BY 1
), seen AS (
  SELECT e.entity_id, (coalesce(e.corrects, e.booked_for) AT TIME ZONE n.zone)::date AS day, max(o.batch_seq) AS batch_seq
    FROM journal_entry e JOIN entity n USING (entity_id) JOIN cut_off o USING (cut_off_id)
   WHERE e.kind = 'revenue' GROUP BY 1, 2
), advance AS (
  SELECT p.price_id FROM rate_card_price p WHERE p.params ->> 'billed' = 'advance'
), deferred AS (
  SELECT l.invoice_id, sum(l.charged_amount) AS amount FROM invoice_line l JOIN advance USING (price_id) GROUP BY 1
), known AS (
  SELECT c.customer_id, c.currency, c.amount, c.price_id IN (SELECT a.price_id FROM advance a) IS TRUE AS in_advance
    FROM charge c
    JOIN entity e USING (entity_id)
    LEFT JOIN run r ON r.entity_id = c.entity_id
    LEFT JOIN seen s ON s.entity_id = c.entity_id AND s.day = (c.day_start AT TIME ZONE e.zone)::date
   WHERE c.batch_seq <= greatest(r.batch_seq, s.batch_seq)
), moved (customer_id, currency, account, amount) AS (
  SELECT l.customer_id, l.currency::text, a.account, a.amount FROM (
    SELECT customer_id, currency, in_advance, sum(amount) AS amount FROM known WHERE amount IS NOT NULL GROUP BY 1, 2, 3) l
   CROSS JOIN LATERAL (VALUES (CASE WHEN l.in_advance THEN '2250' ELSE '1150' END, l.amount), ('4000', -l.amount)) AS a (account, amount)
  UNION ALL
  SELECT i.customer_id, a.currency, a.account, a.amount FROM invoice i LEFT JOIN deferred d USING (invoice_id)
   CROSS JOIN LATERAL (VALUES (i.currency::text, CASE WHEN i.payable < 0 THEN '2400' ELSE '1100' END, i.payable::numeric),
                              (i.priced_in::text, '1150', coalesce(d.amount, 0) - i.charged_total),
                              (i.priced_in::text, '2250', -coalesce(d.amount, 0)), (i.priced_in::text, '3100', i.charged_total),
                              (i.currency::text, '3100', -i.exact_total), (i.currency::text, '2300', -i.tax_total),
                              (i.currency::text, '4000', i.tax_included),
                              (i.currency::text, '6100', i.exact_total - i.net_total - i.tax_included))
                      AS a (currency, account, amount)
  UNION ALL
  SELECT n.customer_id, n.currency, a.account, a.amount FROM credit_note n
   CROSS JOIN LATERAL (VALUES ('2300', n.tax_total::numeric), ('1100', n.on_account - n.payable),
                              ('2400', -n.on_account)) AS a (account, amount)
  UNION ALL
  SELECT n.customer_id, n.currency, '4900', n.net_total FROM credit_note n WHERE NOT n.voids
  UNION ALL
  SELECT n.customer_id, a.currency, a.account, a.amount FROM credit_note n JOIN invoice i USING (invoice_id)
    LEFT JOIN deferred d USING (invoice_id)
   CROSS JOIN LATERAL (VALUES (i.priced_in::text, '1150', i.charged_total - coalesce(d.amount, 0)),
                              (i.priced_in::text, '2250', coalesce(d.amount, 0)), (i.priced_in::text, '3100', -i.charged_total),
                              (i.currency::text, '3100', i.exact_total::numeric), (i.currency::text, '4000', -i.tax_included),
                              (i.currency::text, '6100', i.net_total + i.tax_included - i.exact_total))
                      AS a (currency, account, amount)
   WHERE n.voids
  UNION ALL
  SELECT g.customer_id, g.currency, a.account, a.amount FROM credit_grant g
   CROSS JOIN LATERAL (VALUES ('1000', g.amount::numeric), ('2200', -g.amount)) AS a (account, amount)
   WHERE g.kind = 'prepaid'
  UNION ALL
  SELECT d.customer_id, d.currency, a.account, a.amount FROM credit_draw d JOIN credit_grant g USING (entity_id, grant_id)
   CROSS JOIN LATERAL (VALUES (CASE g.kind WHEN 'prepaid' THEN '2200' ELSE '4910' END, d.amount::numeric),
                              ('1150', -d.amount)) AS a (account, amount)
  UNION ALL
  SELECT x.customer_id, x.currency, a.account, a.amount FROM credit_expiry x JOIN credit_grant g USING (entity_id, grant_id)
   CROSS JOIN LATERAL (VALUES ('2200', x.amount::numeric), ('4100', -x.amount)) AS a (account, amount)
   WHERE g.kind = 'prepaid'
  UNION ALL
  SELECT p.customer_id, a.currency, a.account, a.amount FROM credit_applied p JOIN invoice i USING (invoice_id)
   CROSS JOIN LATERAL (VALUES (i.priced_in::text, '1150', p.charged_amount::numeric), (i.priced_in::text, '3100', -p.charged_amount),
                              (i.currency::text, '3100', p.exact_amount::numeric), (i.currency::text, '6100', p.amount - p.exact_amount),
                              (i.currency::text, CASE WHEN i.payable < 0 THEN '2400' ELSE '1100' END, -p.amount))
                      AS a (currency, account, amount)
  UNION ALL
  SELECT p.customer_id, p.currency, a.account, a.amount FROM payment p
   CROSS JOIN LATERAL (SELECT CASE p.kind WHEN 'received' THEN p.amount WHEN 'refunded' THEN -p.amount ELSE 0 END AS cash) c
   CROSS JOIN LATERAL (VALUES ('1000', c.cash), ('1100', p.on_account - c.cash), ('2400', -p.on_account))
                      AS a (account, amount)
), due AS (
  SELECT c.entity_id, CASE WHEN m.account NOT IN ('1150', '2250', '4000') THEN m.customer_id ELSE '' END AS customer_id,
         m.currency, m.account, sum(m.amount) AS amount
    FROM moved m JOIN customer c USING (customer_id) GROUP BY 1, 2, 3, 4
), balance AS (
  SELECT e.entity_id, CASE WHEN p.account IN ('1150', '2250', '4000') THEN ''
                           ELSE coalesce(p.customer_id, e.customer_id, 'nobody') END AS customer_id,
         p.currency::text AS currency, p.account, sum(p.amount) AS amount
    FROM posting p JOIN journal_entry e USING (entry_id)
   WHERE p.account IN ('1000', '1100', '1150', '2200', '2250', '2300', '2400', '3100', '4000', '4100', '4900', '4910', '6100')
   GROUP BY 1, 2, 3, 4
)
SELECT concat_ws(' ', coalesce(nullif(customer_id, ''), entity_id), 'account', account, currency) AS place,
       NULL::timestamptz AS window_start, 'balance' AS name, trim_scale(coalesce(d.amount, 0))::text AS expected,
       trim_scale(coalesce(b.amount, 0))::text AS stored, count(*) OVER () AS differing
  FROM due d FULL JOIN balance b USING (entity_id, customer_id, currency, account)
 WHERE coalesce(d.amount, 0) <> coalesce(b.amount, 0)
   AND NOT EXISTS (SELECT FROM parked p WHERE p.stage = 'book_revenue' AND p.entity_id = coalesce(d.entity_id, b.entity_id))
 ORDER BY 1 LIMIT :most;

-- name: find_unbalanced
-- Every entry sums to zero in each currency, and what entries and postings name is there; a scan of each.
WITH unbalanced AS (
  SELECT p.entry_id, p.currency, sum(p.amount) AS amount FROM posting p GROUP BY 1, 2 HAVING sum(p.amount) <> 0
), wrong AS (
  SELECT concat_ws(' ', coalesce(e.natural_key, 'no entry'), 'entry', w.entry_id, w.currency) AS place, e.booked_for,
         'residual' AS name, '0' AS expected, trim_scale(w.amount)::text AS stored
    FROM unbalanced w LEFT JOIN journal_entry e USING (entry_id)
  UNION ALL
  SELECT concat_ws(' ', 'entry', p.entry_id, 'line', p.line_no), NULL, 'entry_id', 'one that is there', p.entry_id::text
    FROM posting p LEFT JOIN journal_entry e USING (entry_id) WHERE e.entry_id IS NULL
  UNION ALL
  SELECT concat_ws(' ', 'entry', p.entry_id, 'line', p.line_no), NULL, 'account', 'one of the chart', p.account
    FROM posting p LEFT JOIN account a USING (account) WHERE a.account IS NULL
  UNION ALL
  SELECT e.natural_key, e.booked_for, n.name, 'one that is there', n.said
    FROM journal_entry e
    LEFT JOIN entity o USING (entity_id)
    LEFT JOIN customer c ON c.customer_id = e.customer_id
    LEFT JOIN cut_off t USING (cut_off_id)
   CROSS JOIN LATERAL (VALUES ('entity_id', e.entity_id, o.entity_id), ('customer_id', e.customer_id, c.customer_id),
                              ('cut_off_id', e.cut_off_id::text, t.cut_off_id::text)) AS n (name, said, known)
   WHERE n.said IS NOT NULL AND n.known IS NULL
)
SELECT place, booked_for AS window_start, name, expected, stored, count(*) OVER () AS differing
  FROM wrong ORDER BY 2, 1, 3 LIMIT :most;

-- name: find_wrong_carried
-- Carried balances against postings: what a balance has beyond the one before it is what its stretch booked in between;
-- stretches of level 0 follow one another from 0, and each names the currencies it has; a scan of posting a level.
WITH stored AS (
  SELECT b.entity_id, b.level, b.until_seq, b.account, b.currency::text AS currency, b.booked_until,
         b.amount - lag(b.amount, 1, 0::numeric) OVER (PARTITION BY b.entity_id, b.level, b.until_seq, b.account, b.currency
                                                       ORDER BY b.booked_until) AS amount
    FROM carried_balance b
), booked AS (
  SELECT s.entity_id, s.level, s.until_seq, p.account, p.currency::text AS currency,
         to_timestamp((floor(extract(epoch FROM e.booked_for) / 900) + 1) * 900) AS booked_until, sum(p.amount) AS amount
    FROM journal_stretch s
    JOIN journal_entry e ON e.entity_id = s.entity_id AND e.batch_seq > s.since_seq AND e.batch_seq <= s.until_seq
    JOIN posting p USING (entry_id)
   GROUP BY 1, 2, 3, 4, 5, 6
), wrong AS (
  SELECT concat_ws(' ', entity_id, 'account', account, currency, 'up to batch', until_seq) AS place, booked_until AS at,
         'amount' AS name, trim_scale(coalesce(b.amount, 0))::text AS expected, trim_scale(coalesce(s.amount, 0))::text AS stored
    FROM booked b FULL JOIN stored s USING (entity_id, level, until_seq, account, currency, booked_until)
   WHERE coalesce(b.amount, 0) <> coalesce(s.amount, 0)
  UNION ALL
  SELECT concat_ws(' ', f.entity_id, 'up to batch', f.until_seq), NULL, 'since_seq', f.due_seq::text, f.since_seq::text
    FROM (SELECT s.entity_id, s.until_seq, s.since_seq,
                 lag(s.until_seq, 1, 0::bigint) OVER (PARTITION BY s.entity_id ORDER BY s.until_seq) AS due_seq
            FROM journal_stretch s WHERE s.level = 0) f
   WHERE f.since_seq <> f.due_seq
  UNION ALL
  SELECT concat_ws(' ', s.entity_id, 'up to batch', s.until_seq), NULL, 'currencies', concat_ws(' ', VARIADIC n.names),
         concat_ws(' ', VARIADIC s.currencies)
    FROM journal_stretch s
   CROSS JOIN LATERAL (SELECT ARRAY(SELECT DISTINCT b.currency::text FROM carried_balance b
                                     WHERE b.entity_id = s.entity_id AND b.level = s.level AND b.until_seq = s.until_seq
                                     ORDER BY 1) AS names) n
   WHERE NOT n.names <@ s.currencies
)
SELECT place, at AS window_start, name, expected, stored, count(*) OVER () AS differing
  FROM wrong ORDER BY 2, 1, 3 LIMIT :most;

-- name: find_without_customer
-- What documents book is by customer: every posting of theirs on receivables names its entry's; an index scan.
SELECT concat_ws(' ', e.natural_key, 'entry', p.entry_id, 'line', p.line_no) AS place, e.booked_for AS window_start,
       'customer_id' AS name, coalesce(e.customer_id, 'a customer') AS expected,
       coalesce(p.customer_id, 'none') AS stored, count(*) OVER () AS differing
  FROM posting p JOIN journal_entry e USING (entry_id)
 WHERE p.account IN ('1100', '1150') AND e.kind <> 'revenue'
   AND (p.customer_id IS NULL OR p.customer_id IS DISTINCT FROM e.customer_id)
 ORDER BY 2, 1 LIMIT :most;

-- name: find_wrong_invoices
-- Invoices against their lines, their tax and documents, and what each names is there; a scan of each.
WITH summed AS (
  SELECT i.number, i.issued_at, i.charged_total, coalesce(l.charged, 0) AS charged, i.exact_total, i.net_total, i.tax_total, i.tax_included, i.payable,
         coalesce(l.exact, 0) AS exact, coalesce(l.amount, 0) AS lines, coalesce(t.amount, 0) AS tax,
         coalesce(t.included, 0) AS included, coalesce(t.base, i.net_total) AS base
    FROM invoice i
    LEFT JOIN (SELECT invoice_id, sum(charged_amount) AS charged, sum(exact_amount) AS exact, sum(amount) AS amount
                 FROM invoice_line GROUP BY 1) l USING (invoice_id)
    LEFT JOIN (SELECT invoice_id, sum(amount) AS amount, sum(CASE WHEN included THEN amount ELSE 0 END) AS included,
                      sum(base) AS base
                 FROM invoice_tax GROUP BY 1) t USING (invoice_id)
), wrong AS (
  SELECT number, issued_at, 'exact_total' AS name, exact AS expected, exact_total AS stored FROM summed
  UNION ALL SELECT number, issued_at, 'charged_total', charged, charged_total FROM summed
  UNION ALL SELECT number, issued_at, 'net_total', lines - tax_included, net_total FROM summed
  UNION ALL SELECT number, issued_at, 'tax_total', tax, tax_total FROM summed
  UNION ALL SELECT number, issued_at, 'tax_included', included, tax_included FROM summed
  UNION ALL SELECT number, issued_at, 'base of tax', net_total, base FROM summed
  UNION ALL SELECT number, issued_at, 'payable', net_total + tax_total, payable FROM summed
), said AS (
  SELECT number, issued_at, name, trim_scale(expected)::text AS expected, trim_scale(stored)::text AS stored
    FROM wrong WHERE expected <> stored
  UNION ALL
  SELECT i.number, i.issued_at, 'document', encode(d.sha256, 'hex'), encode(sha256(d.content), 'hex')
    FROM invoice i JOIN invoice_document d USING (invoice_id) WHERE sha256(d.content) <> d.sha256
  UNION ALL
  SELECT i.number, i.issued_at, n.name, 'one that is there', n.said
    FROM invoice i
    LEFT JOIN entity o USING (entity_id)
    LEFT JOIN customer c ON c.customer_id = i.customer_id
    LEFT JOIN cut_off t USING (cut_off_id)
   CROSS JOIN LATERAL (VALUES ('entity_id', i.entity_id, o.entity_id), ('customer_id', i.customer_id, c.customer_id),
                              ('cut_off_id', i.cut_off_id::text, t.cut_off_id::text)) AS n (name, said, known)
   WHERE n.known IS NULL
)
SELECT number AS place, issued_at AS window_start, name, expected, stored, count(*) OVER () AS differing
  FROM said ORDER BY 2, 1, 3 LIMIT :most;

-- name: find_wrong_lines
-- Lines against their own figures: what was charged is quantity times price, exact is that by the rate of the invoice, or the
-- same where it has none, and the amount is exact, rounded once to the currency's digits; the invoice and the price that each names are there. A scan of invoice_line.
WITH line AS (
  SELECT i.number, i.issued_at, l.line_no, l.quantity, l.unit_amount, l.per, l.charged_amount, l.exact_amount, l.amount,
         c.digits, coalesce((i.snapshot -> 'exchange' ->> 'multiplier')::numeric, 1) AS multiplier,
         coalesce((i.snapshot -> 'exchange' ->> 'divisor')::numeric, 1) AS divisor
    FROM invoice_line l JOIN invoice i USING (invoice_id)
    JOIN unnest(:currencies::text[], :digits::int[]) AS c (currency, digits) USING (currency)
), wrong AS (
  SELECT l.number, l.line_no, l.issued_at, 'charged_amount' AS name,
         trim_scale(round(l.quantity * l.unit_amount / l.per, 12))::text AS expected, trim_scale(l.charged_amount)::text AS stored
    FROM line l WHERE l.charged_amount * l.per <> l.quantity * l.unit_amount
  UNION ALL
  SELECT l.number, l.line_no, l.issued_at, 'exact_amount',
         trim_scale(round(l.charged_amount * l.multiplier / l.divisor, 12))::text, trim_scale(l.exact_amount)::text
    FROM line l
   WHERE abs(l.exact_amount * l.divisor - l.charged_amount * l.multiplier) * 2 * 10 ^ 12 > CASE WHEN l.divisor = 1 AND l.multiplier = 1 THEN 0 ELSE l.divisor END
  UNION ALL
  SELECT l.number, l.line_no, l.issued_at, 'amount', round(l.exact_amount, l.digits)::text, trim_scale(l.amount)::text
    FROM line l WHERE scale(trim_scale(l.amount)) > l.digits
                   OR abs(l.amount - l.exact_amount) * 2 * 10 ^ l.digits > 1
  UNION ALL
  SELECT i.number, l.line_no, i.issued_at, n.name, 'one that is there', n.said
    FROM invoice_line l
    LEFT JOIN invoice i USING (invoice_id)
    LEFT JOIN rate_card_price p USING (price_id)
   CROSS JOIN LATERAL (VALUES ('invoice_id', l.invoice_id::text, i.invoice_id), ('price_id', l.price_id::text, p.price_id))
                  AS n (name, said, known)
   WHERE n.known IS NULL
)
SELECT concat_ws(' ', number, 'line', line_no) AS place, issued_at AS window_start, name, expected, stored,
       count(*) OVER () AS differing
  FROM wrong ORDER BY 2, 1, 3 LIMIT :most;

-- name: find_wrong_taxes
-- Lines of tax against their own figures: base times per cent, rounded once to the currency's digits; the invoice of each
-- is there. A scan of invoice_tax.
WITH wrong AS (
  SELECT i.number, t.line_no, i.issued_at, 'amount' AS name, round(t.base * t.percent / 100, c.digits)::text AS expected,
         trim_scale(t.amount)::text AS stored
    FROM invoice_tax t JOIN invoice i USING (invoice_id)
    JOIN unnest(:currencies::text[], :digits::int[]) AS c (currency, digits) USING (currency)
   WHERE scale(trim_scale(t.amount)) > c.digits OR abs(t.amount * 100 - t.base * t.percent) * 2 * 10 ^ c.digits > 100
  UNION ALL
  SELECT NULL, t.line_no, NULL, 'invoice_id', 'one that is there', t.invoice_id::text
    FROM invoice_tax t LEFT JOIN invoice i USING (invoice_id) WHERE i.invoice_id IS NULL
)
SELECT concat_ws(' ', number, 'tax', line_no) AS place, issued_at AS window_start, name, expected, stored,
       count(*) OVER () AS differing
  FROM wrong ORDER BY 2, 1, 3 LIMIT :most;

-- name: find_wrong_credits
-- Credit notes against their lines and tax, and the lines of invoices against all that was credited of them; scans.
WITH summed AS (
  SELECT n.number, n.issued_at, n.net_total, n.tax_total, coalesce(l.amount, 0) AS lines, coalesce(t.amount, 0) AS tax,
         coalesce(t.included, 0) AS included
    FROM credit_note n
    LEFT JOIN (SELECT credit_note_id, sum(amount) AS amount FROM credit_note_line GROUP BY 1) l USING (credit_note_id)
    LEFT JOIN (SELECT credit_note_id, sum(amount) AS amount, sum(CASE WHEN included THEN amount ELSE 0 END) AS included
                 FROM credit_note_tax GROUP BY 1) t USING (credit_note_id)
), credited AS (
  SELECT i.number, i.issued_at, l.line_no, l.amount, sum(c.amount) AS credited
    FROM credit_note_line c JOIN credit_note n USING (credit_note_id)
    JOIN invoice i USING (invoice_id) JOIN invoice_line l ON l.invoice_id = i.invoice_id AND l.line_no = c.line_no
   GROUP BY 1, 2, 3, 4
), wrong AS (
  SELECT number AS place, issued_at, 'net_total' AS name, lines - included AS expected, net_total AS stored FROM summed
  UNION ALL SELECT number, issued_at, 'tax_total', tax, tax_total FROM summed
  UNION ALL
  SELECT concat_ws(' ', number, 'line', line_no), issued_at, 'credited', amount, credited
    FROM credited WHERE abs(credited) > abs(amount) OR (credited < 0) <> (amount < 0)
), said AS (
  SELECT place, issued_at, name, trim_scale(expected)::text AS expected, trim_scale(stored)::text AS stored
    FROM wrong WHERE expected <> stored
  UNION ALL
  SELECT n.number, n.issued_at, 'document', encode(d.sha256, 'hex'), encode(sha256(d.content), 'hex')
    FROM credit_note n JOIN credit_note_document d USING (credit_note_id) WHERE sha256(d.content) <> d.sha256
)
SELECT place, issued_at AS window_start, name, expected, stored, count(*) OVER () AS differing
  FROM said ORDER BY 2, 1, 3 LIMIT :most;

-- name: find_wrong_payments
-- Payments against what they pay, invoices against all that pays them, and what is on account against nothing; scans.
WITH said AS (
  SELECT concat_ws(' ', p.entity_id, p.payment_id) AS place, p.paid_on::timestamptz AS at, 'parts' AS name,
         CASE p.kind WHEN 'received' THEN p.amount - p.on_account WHEN 'from_account' THEN p.amount ELSE 0 END AS expected,
         coalesce(sum(t.amount), 0) AS stored
    FROM payment p LEFT JOIN payment_part t USING (entity_id, payment_id)
   GROUP BY p.entity_id, p.payment_id
  UNION ALL
  SELECT o.number, o.issued_at, 'paid', o.payable, o.credited + o.paid FROM open_items() o
   WHERE o.credited + o.paid > o.payable
  UNION ALL
  SELECT concat_ws(' ', a.customer_id, a.currency), NULL, 'on_account', 0, sum(a.amount) FROM (
    SELECT customer_id, currency::text, on_account::numeric AS amount FROM credit_note
    UNION ALL SELECT customer_id, currency, credit_of(invoice_id) - payable FROM invoice WHERE payable < 0
    UNION ALL SELECT customer_id, currency, on_account FROM payment) a
   GROUP BY a.customer_id, a.currency HAVING sum(a.amount) < 0
)
SELECT place, at AS window_start, name, trim_scale(expected)::text AS expected, trim_scale(stored)::text AS stored,
       count(*) OVER () AS differing
  FROM said WHERE expected <> stored ORDER BY 2, 1, 3 LIMIT :most;

-- name: find_wrong_grants
-- Grants against what was drawn of them, day by day: never more than they hold nor less than nothing, none of a day that
-- they do not pay for, no more of a day's charges than there are, all expired of what expired; and what invoices took
-- account of against what was drawn; scans of what grants paid and of their customers' charges.
WITH drawn AS (
  SELECT d.entity_id, d.grant_id, d.customer_id, d.subscription_id, d.day_start, d.meter, d.model, sum(d.amount) AS amount
    FROM credit_draw d GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(d.amount) <> 0
), course AS (
  SELECT entity_id, grant_id, day_start,
         sum(sum(amount)) OVER (PARTITION BY entity_id, grant_id ORDER BY day_start) AS so_far
    FROM drawn GROUP BY 1, 2, 3
), charged AS (
  SELECT p.customer_id, c.subscription_id, c.day_start, c.meter, k.model, sum(c.amount) AS amount
    FROM charge c JOIN usage_key k USING (usage_key_id)
   CROSS JOIN LATERAL (SELECT coalesce(c.payer_id, c.customer_id) AS customer_id) p
   WHERE c.amount IS NOT NULL AND p.customer_id IN (SELECT customer_id FROM credit_grant)
     AND c.batch_seq <= coalesce((SELECT max(o.batch_seq) FROM stage_run s JOIN cut_off o USING (cut_off_id)
                                   WHERE s.stage = 'draw' AND s.entity_id = c.entity_id), 0)
   GROUP BY 1, 2, 3, 4, 5
), wrong AS (
  SELECT g.grant_id AS place, c.day_start AS at, 'drawn' AS name,
         'from 0 to ' || trim_scale(g.amount) AS expected, trim_scale(c.so_far)::text AS stored, g.customer_id, g.entity_id
    FROM course c JOIN credit_grant g USING (entity_id, grant_id) WHERE c.so_far NOT BETWEEN 0 AND g.amount
  UNION ALL
  SELECT g.grant_id, d.day_start, 'scope', 'usage that it pays for', concat_ws(' ', d.meter, d.model), g.customer_id, g.entity_id
    FROM drawn d JOIN credit_grant g USING (entity_id, grant_id) JOIN entity e USING (entity_id)
   CROSS JOIN LATERAL (SELECT (d.day_start AT TIME ZONE e.zone)::date AS day) t
   WHERE d.amount > 0 AND (g.customer_id <> d.customer_id OR t.day < g.starts_on OR t.day >= g.expires_on
                           OR g.meters <> '{}' AND d.meter <> ALL (g.meters)
                           OR g.models <> '{}' AND d.model <> ALL (g.models))
  UNION ALL
  SELECT concat_ws(' ', d.customer_id, d.subscription_id, d.meter, d.model), d.day_start, 'charged',
         'at most ' || trim_scale(coalesce(c.amount, 0)), trim_scale(d.amount)::text, d.customer_id, d.entity_id
    FROM (SELECT entity_id, customer_id, subscription_id, day_start, meter, model, sum(amount) AS amount
            FROM drawn GROUP BY 1, 2, 3, 4, 5, 6) d
    LEFT JOIN charged c USING (customer_id, subscription_id, day_start, meter, model)
   WHERE d.amount > greatest(c.amount, 0)
  UNION ALL
  SELECT b.grant_id, NULL, 'expired', trim_scale(b.amount - b.drawn)::text, trim_scale(b.expired)::text, b.customer_id, b.entity_id
    FROM grant_balances() b
   WHERE b.expired <> 0 AND b.left_over <> 0
  UNION ALL
  SELECT i.number, i.issued_at, 'credit', 'at most ' || trim_scale(greatest(i.payable, 0)), trim_scale(credit_of(i.invoice_id))::text,
         i.customer_id, i.entity_id
    FROM invoice i WHERE credit_of(i.invoice_id) > greatest(i.payable, 0)
)
SELECT w.place, w.at AS window_start, w.name, w.expected, w.stored, count(*) OVER () AS differing
  FROM wrong w
 WHERE NOT EXISTS (SELECT FROM parked p
                    WHERE p.stage = 'draw' AND p.entity_id = w.entity_id AND p.subject IN ('', w.customer_id))
 ORDER BY 2, 1, 3 LIMIT :most;

-- name: find_lines_unlike_charges
-- The usage lines of a period's first invoice, and of the first since all were void, against the charges it was made of; later invoices bill what changed. Of a
-- price that looks at the period as a whole its lines are held together, and their amount alone; contexts are one line where the price
-- tells them not apart.
WITH first AS (
  SELECT i.invoice_id, i.number, i.issued_at, i.subscription_id, i.customer_id, i.period, o.batch_seq
    FROM invoice i JOIN cut_off o USING (cut_off_id)
   WHERE NOT EXISTS (SELECT FROM invoice p
                      WHERE p.subscription_id = i.subscription_id AND p.period = i.period AND p.run_no < i.run_no
                        AND NOT EXISTS (SELECT FROM credit_note n WHERE n.invoice_id = p.invoice_id AND n.voids
                                           AND n.batch_seq < i.batch_seq))
), charged AS (
  SELECT f.invoice_id, e.model, e.tier, e.adapter, e.region, e.meter,
         CASE WHEN c.payer_id IS NULL THEN '' ELSE c.customer_id END AS used_by, sum(e.quantity) AS quantity,
         sum(c.amount) AS amount
    FROM first f
    JOIN charge c ON coalesce(c.payer_id, c.customer_id) = f.customer_id AND c.subscription_id = f.subscription_id
                 AND c.day_start >= lower(f.period) AND c.day_start < upper(f.period) AND c.batch_seq <= f.batch_seq
    JOIN usage_key k USING (usage_key_id)
    JOIN rate_card_price p ON p.price_id = c.price_id
   CROSS JOIN LATERAL (
          SELECT k.model, k.tier, k.adapter, k.region, c.meter, c.quantity::numeric AS quantity
           WHERE p.kind IN ('per_unit', 'who_pays')
           UNION ALL
          SELECT coalesce(p.model, ''), coalesce(p.tier, ''), coalesce(p.adapter, ''), coalesce(p.region, ''), p.meter, 0
           WHERE p.kind NOT IN ('per_unit', 'who_pays')) e
   WHERE c.amount IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6, 7
), billed AS (
  SELECT l.invoice_id, l.model, l.tier, l.adapter, l.region, l.meter, l.used_by,
         sum(CASE WHEN p.kind IN ('per_unit', 'who_pays') THEN l.quantity ELSE 0 END) AS quantity, sum(l.charged_amount) AS amount
    FROM invoice_line l JOIN first f USING (invoice_id) JOIN rate_card_price p USING (price_id)
   WHERE l.kind = 'usage' GROUP BY 1, 2, 3, 4, 5, 6, 7
), wrong AS (
  SELECT invoice_id, model, tier, meter, n.name, n.expected, n.stored
    FROM charged c FULL JOIN billed b USING (invoice_id, model, tier, adapter, region, meter, used_by)
   CROSS JOIN LATERAL (VALUES ('quantity', coalesce(c.quantity, 0), coalesce(b.quantity, 0)),
                              ('amount', coalesce(c.amount, 0), coalesce(b.amount, 0))) AS n (name, expected, stored)
   WHERE n.expected <> n.stored
)
SELECT concat_ws(' ', f.number, w.model, w.tier, w.meter) AS place, f.issued_at AS window_start, w.name,
       trim_scale(w.expected)::text AS expected, trim_scale(w.stored)::text AS stored, count(*) OVER () AS differing
  FROM wrong w JOIN first f USING (invoice_id) ORDER BY 2, 1, 3 LIMIT :most;

-- name: find_invoices_unlike_journal
-- Invoices against the journal, account by account; entries of no invoice too.
WITH booked AS (
  SELECT e.natural_key, p.account, p.currency, sum(p.amount) AS amount, min(e.booked_for) AS booked_for
    FROM journal_entry e JOIN posting p USING (entry_id) WHERE e.kind = 'invoice' GROUP BY 1, 2, 3
), issued AS (
  SELECT 'invoice:' || i.entity_id || ':' || i.number AS natural_key, a.account, a.currency, a.amount
    FROM invoice i
   CROSS JOIN LATERAL (SELECT coalesce(sum(l.charged_amount), 0) AS deferred
                         FROM invoice_line l JOIN rate_card_price p USING (price_id)
                        WHERE l.invoice_id = i.invoice_id AND p.params ->> 'billed' = 'advance') d
   CROSS JOIN LATERAL (VALUES (i.currency::text, CASE WHEN i.payable < 0 THEN '2400' ELSE '1100' END, i.payable::numeric),
                              (i.priced_in::text, '1150', d.deferred - i.charged_total), (i.priced_in::text, '2250', -d.deferred),
                              (i.priced_in::text, '3100', i.charged_total), (i.currency::text, '3100', -i.exact_total),
                              (i.currency::text, '2300', -i.tax_total), (i.currency::text, '4000', i.tax_included),
                              (i.currency::text, '6100', i.exact_total - i.net_total - i.tax_included))
                      AS a (currency, account, amount)
   WHERE a.amount <> 0 AND (a.account <> '3100' OR i.priced_in <> i.currency)
)
SELECT concat_ws(' ', natural_key, 'account', account, currency) AS place, b.booked_for AS window_start,
       'amount' AS name, trim_scale(coalesce(i.amount, 0))::text AS expected,
       trim_scale(coalesce(b.amount, 0))::text AS stored,
       count(*) OVER () AS differing
  FROM issued i FULL JOIN booked b USING (natural_key, account, currency)
 WHERE coalesce(i.amount, 0) <> coalesce(b.amount, 0)
 ORDER BY 2, 1 LIMIT :most;

-- name: count_states
-- What becomes of usage windows of each key: charged, on a day of which some waits for a price, in suspense, or not come
-- to yet, where what is parked is too.
WITH run AS (
  SELECT s.entity_id, max(o.batch_seq) AS batch_seq
    FROM stage_run s JOIN cut_off o USING (cut_off_id) WHERE s.stage = 'rate' GROUP BY 1
), used AS (
  SELECT d.customer_id, d.window_start, d.usage_key_id, c.entity_id, max(d.batch_seq) AS batch_seq
    FROM usage_delta d LEFT JOIN customer c USING (customer_id)
   GROUP BY 1, 2, 3, 4
  HAVING (sum(d.uncached), sum(d.cache_read), sum(d.cache_write), sum(d.visible), sum(d.reasoning))
         <> (0, 0, 0, 0, 0)
), due AS (
  SELECT u.*, u.batch_seq > coalesce(r.batch_seq, 0)
              OR EXISTS (SELECT FROM parked p
                          WHERE p.stage = 'rate' AND p.entity_id = u.entity_id AND p.subject IN ('', u.customer_id)
                            AND (p.windows IS NULL OR p.windows @> u.window_start)) AS is_due
    FROM used u LEFT JOIN run r USING (entity_id)
), waiting AS (
  SELECT DISTINCT customer_id, day, usage_key_id
    FROM (SELECT c.customer_id, (c.day_start AT TIME ZONE e.zone)::date AS day, c.usage_key_id
            FROM charge c JOIN entity e USING (entity_id)
           WHERE c.unpriced IS NOT NULL
           GROUP BY 1, 2, 3, c.day_start, c.meter, c.unpriced HAVING sum(c.quantity) <> 0) w
)
SELECT count(*) FILTER (WHERE u.customer_id IS NULL) AS suspense,
       count(*) FILTER (WHERE u.customer_id IS NOT NULL AND u.is_due) AS not_yet_rated,
       count(*) FILTER (WHERE u.customer_id IS NOT NULL AND NOT u.is_due AND w.customer_id IS NOT NULL) AS unpriced,
       count(*) FILTER (WHERE u.customer_id IS NOT NULL AND NOT u.is_due AND w.customer_id IS NULL) AS rated
  FROM due u
  LEFT JOIN entity e USING (entity_id)
  LEFT JOIN waiting w ON w.customer_id = u.customer_id AND w.usage_key_id = u.usage_key_id
                     AND w.day = (u.window_start AT TIME ZONE e.zone)::date;

-- name: find_wrong_months
-- Closed months against the journal: the lines that were there when each closed, and none that came while it stays so,
-- and its seal over them and over the month before; journal_entry (entity_id, booked_for).
WITH closed AS (
  SELECT m.*, NOT EXISTS (SELECT FROM month_state n WHERE n.entity_id = m.entity_id AND n.month = m.month
                                                      AND n.change_no > m.change_no) AS stands,
         coalesce((SELECT b.seal FROM month_state b
                    WHERE b.entity_id = m.entity_id AND b.month = (m.month - interval '1 month')::date
                      AND b.state = 'closed' AND b.batch_seq < m.batch_seq ORDER BY b.change_no DESC LIMIT 1),
                  decode(repeat('00', 32), 'hex')) AS before
    FROM month_state m WHERE m.state = 'closed'
), booked AS (
  SELECT c.entity_id, c.month, c.change_no, count(l) AS lines,
         sha256(coalesce(string_agg(sha256(l.said), ''::bytea
                                    ORDER BY l.booked_for, l.natural_key COLLATE "C", l.revision, l.line_no), '')) AS digest
    FROM closed c
    LEFT JOIN LATERAL (
      SELECT e.booked_for, e.natural_key, e.revision, p.line_no,
             record_send(ROW(e.booked_for, e.corrects, e.kind, e.natural_key, e.revision, e.description, p.line_no,
                             p.account, trim_scale(p.amount::numeric), p.currency::text, p.customer_id, p.dimension,
                             p.tier, p.model)) AS said
        FROM journal_entry e JOIN posting p USING (entry_id)
       WHERE e.entity_id = c.entity_id AND e.booked_for >= c.since AND e.booked_for < c.until
         AND (c.stands OR e.entry_id <= c.until_entry_id)) l ON true
   GROUP BY 1, 2, 3
), wrong AS (
  SELECT c.entity_id, c.month, c.since, n.name, n.expected, n.stored
    FROM closed c JOIN booked b USING (entity_id, month, change_no)
   CROSS JOIN LATERAL (VALUES
     ('lines', c.lines::text, b.lines::text),
     ('journal', encode(c.lines_digest, 'hex'), encode(b.digest, 'hex')),
     ('month before', encode(c.before, 'hex'), encode(c.previous, 'hex')),
     ('seal', encode(sha256(c.previous || convert_to(concat(c.entity_id, ' ', to_char(c.month, 'YYYY-MM'), ' ', c.lines, ' '),
                                                     'UTF8') || c.lines_digest), 'hex'), encode(c.seal, 'hex')))
     AS n (name, expected, stored)
   WHERE n.expected <> n.stored
)
SELECT concat_ws(' ', entity_id, to_char(month, 'YYYY-MM')) AS place, since AS window_start, name, expected, stored,
       count(*) OVER () AS differing
  FROM wrong ORDER BY 2, 1, 3 LIMIT :most;
