-- name: list_entities
-- Entities, one or all.
SELECT entity_id, currency, zone FROM entity
 WHERE :entity_id::text IS NULL OR entity_id = :entity_id
 ORDER BY entity_id;

-- name: find_rated_to
-- When whichever of some entities (of a customer: its own; NULL, NULL: all) was rated longest ago was last rated, as known
-- at a cut-off; NULL where none was. stage_run (stage, entity_id, run_id).
SELECT min(last.drawn_at) AS drawn_at
  FROM entity e
 CROSS JOIN LATERAL (SELECT c.drawn_at FROM stage_run r JOIN cut_off c USING (cut_off_id)
                      WHERE r.stage = 'rate' AND r.entity_id = e.entity_id AND c.batch_seq <= :batch_seq
                      ORDER BY r.run_id DESC LIMIT 1) last
 WHERE (:entity_id::text IS NULL OR e.entity_id = :entity_id)
   AND (:customer_id::text IS NULL
        OR e.entity_id = (SELECT c.entity_id FROM customer c WHERE c.customer_id = :customer_id));

-- name: find_touched_days
-- Days of each customer, in a zone, that batches stored after a cut-off touched, in counts or in what these lack; leads by
-- BRIN on batch_seq. Windows are few beside keys, so the days are made of these.
WITH touched AS (
  SELECT d.customer_id, d.window_start FROM usage_delta d
   WHERE d.batch_seq > :since_seq AND d.batch_seq <= :batch_seq GROUP BY 1, 2
   UNION ALL
  SELECT d.customer_id, d.window_start FROM usage_mark d
   WHERE d.batch_seq > :since_seq AND d.batch_seq <= :batch_seq GROUP BY 1, 2
   UNION ALL
  SELECT d.customer_id, d.window_start FROM extra_delta d
   WHERE d.batch_seq > :since_seq AND d.batch_seq <= :batch_seq GROUP BY 1, 2
)
SELECT t.customer_id, array_agg(DISTINCT (t.window_start AT TIME ZONE :zone)::date) AS days
  FROM touched t JOIN customer c USING (customer_id)
 WHERE c.entity_id = :entity_id
 GROUP BY 1;

-- name: find_repriced_days
-- Days with usage up to a cut-off of each customer whose card or subscription, or whoever pays for them, was recorded or closed
-- after it, each customer's times as few stretches as they are; usage_delta (customer_id, window_start). OFFSET 0 holds the
-- planner to it, and to one process: mostly there are none. Before any run there is nothing to rate anew.
WITH changed AS MATERIALIZED (
  SELECT s.customer_id, s.valid * p.valid AS valid
    FROM rate_card_price p JOIN subscription s USING (rate_card_id)
   WHERE (lower(p.recorded) > :since_seq AND lower(p.recorded) <= :batch_seq)
      OR (upper(p.recorded) > :since_seq AND upper(p.recorded) <= :batch_seq)
  UNION ALL
  SELECT s.customer_id, s.valid FROM subscription s
   WHERE (lower(s.recorded) > :since_seq AND lower(s.recorded) <= :batch_seq)
      OR (upper(s.recorded) > :since_seq AND upper(s.recorded) <= :batch_seq)
), touched AS MATERIALIZED (
  SELECT x.customer_id, x.valid FROM changed x
  UNION ALL
  SELECT a.customer_id, x.valid * a.valid FROM changed x JOIN customer_above a ON a.above_id = x.customer_id AND a.pays
  UNION ALL
  SELECT a.customer_id, a.valid FROM customer_above a
   WHERE (lower(a.recorded) > :since_seq AND lower(a.recorded) <= :batch_seq)
      OR (upper(a.recorded) > :since_seq AND upper(a.recorded) <= :batch_seq)
)
SELECT d.customer_id, array_agg(DISTINCT (d.window_start AT TIME ZONE :zone)::date) AS days
  FROM (SELECT t.customer_id, unnest(range_agg(t.valid)) AS valid FROM touched t WHERE :since_seq > 0 GROUP BY 1) x
  JOIN customer c ON c.customer_id = x.customer_id AND c.entity_id = :entity_id
 CROSS JOIN LATERAL (SELECT u.customer_id, u.window_start FROM usage_delta u
                      WHERE u.customer_id = x.customer_id AND u.window_start >= lower(x.valid)
                        AND u.window_start < coalesce(upper(x.valid), 'infinity') AND u.batch_seq <= :since_seq OFFSET 0) d
 GROUP BY 1;

-- name: has_named_prices
-- Whether any price has ever named a project, agent or outcome up to a cut-off; the partial index of these.
SELECT EXISTS (SELECT FROM rate_card_price p
                WHERE (p.project_id IS NOT NULL OR p.agent_id IS NOT NULL OR p.meter = 'outcome')
                  AND lower(p.recorded) <= :batch_seq);

-- name: find_kinds
-- What customers used in some periods on which card as known at a cut-off, from the first window to the last; usage_delta
-- (customer_id, window_start).
WITH used AS MATERIALIZED (
  SELECT d.customer_id, d.usage_key_id, min(d.window_start) AS first_window, max(d.window_start) AS last_window
    FROM unnest(:customers::text[], :sinces::timestamptz[], :untils::timestamptz[]) AS n (customer_id, since, until)
   CROSS JOIN LATERAL (SELECT * FROM usage_delta u
                        WHERE u.customer_id = n.customer_id AND u.window_start >= n.since AND u.window_start < n.until
                          AND u.batch_seq <= :batch_seq OFFSET 0) d
   GROUP BY 1, 2
)
SELECT s.rate_card_id, k.model, k.tier, k.adapter, k.region, k.context_band, k.project_id, k.agent_id, k.outcomes,
       min(greatest(u.first_window, lower(s.valid))) AS first_window,
       max(least(u.last_window, upper(s.valid) - interval '15 minutes')) AS last_window
  FROM used u
  JOIN priced_keys(:batch_seq) k USING (usage_key_id)
  JOIN subscriptions_of(:customers::text[], :batch_seq) s
    ON s.customer_id = u.customer_id AND s.valid && tstzrange(u.first_window, u.last_window, '[]')
   AND s.models @> k.model
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9;

-- name: find_kinds_of_entities
-- The same of what customers of some entities, or one of them, used in some periods.
WITH used AS MATERIALIZED (
  SELECT d.customer_id, d.usage_key_id, min(d.window_start) AS first_window, max(d.window_start) AS last_window
    FROM unnest(:entities::text[], :sinces::timestamptz[], :untils::timestamptz[]) AS n (entity_id, since, until)
    JOIN customer c ON c.entity_id = n.entity_id AND (:customer_id::text IS NULL OR c.customer_id = :customer_id)
   CROSS JOIN LATERAL (SELECT * FROM usage_delta u
                        WHERE u.customer_id = c.customer_id AND u.window_start >= n.since AND u.window_start < n.until
                          AND u.batch_seq <= :batch_seq OFFSET 0) d
   GROUP BY 1, 2
)
SELECT s.rate_card_id, k.model, k.tier, k.adapter, k.region, k.context_band, k.project_id, k.agent_id, k.outcomes,
       min(greatest(u.first_window, lower(s.valid))) AS first_window,
       max(least(u.last_window, upper(s.valid) - interval '15 minutes')) AS last_window
  FROM used u
  JOIN priced_keys(:batch_seq) k USING (usage_key_id)
  JOIN subscriptions_of(ARRAY(SELECT DISTINCT x.customer_id FROM used x), :batch_seq) s
    ON s.customer_id = u.customer_id AND s.valid && tstzrange(u.first_window, u.last_window, '[]')
   AND s.models @> k.model
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9;

-- name: prefer_hashes
-- For this transaction: a chunk is grouped in memory, where the planner, which knows little of what is asked for by arrays,
-- would sort it by texts first.
SELECT set_config('work_mem', '64MB', true), set_config('enable_sort', 'off', true);

-- name: join_by_hashes
-- For this transaction: what many rows name is read once and looked up in memory, and they are grouped there. Of what was
-- stored just now the planner does not know yet that it is many: it would look each up by itself, and sort it by texts.
SELECT set_config('work_mem', '64MB', true), set_config('enable_sort', 'off', true), set_config('enable_nestloop', 'off', true);

-- name: append_charges
-- The differences between what some customers' days come to, as known at a cut-off, and what is stored of them: usage by
-- its price, by day of the entity or of the subscription's zone (their midnights are given), less every row there is; and
-- in the same way the requests of those days with what they lack. What days add by prices that look at a period as a
-- whole is given, and its units cost nothing one by one; fees are append_period_charges's. Usage is read once, and windows
-- of a key between two edges are added up before anything is asked of them: at edges a price, subscription or day begins.
-- Where any of it is of a kind and time whose prices are not listed, nothing is appended, and `lacks` says so. What an
-- extra counts is taken out of the meter that it is a part of while it has a price, and else stays in it. What a row of
-- usage does not count is NULL, which is carried along for nothing. What is looked up by OFFSET 0 or an array is few rows of
-- tables that grow: the planner cannot know.
-- usage_delta, usage_mark, extra_delta (customer_id, window_start), usage_key's primary key, charge (customer_id, day_start,
-- batch_seq), usage_day (customer_id, day_start).
WITH days AS MATERIALIZED (
  SELECT * FROM unnest(:customers::text[], :sinces::timestamptz[], :untils::timestamptz[])
             AS n (customer_id, since, until)
), midnights AS MATERIALIZED (
  SELECT m.zone, m.midnights::timestamptz[] AS midnights FROM unnest(:zones::text[], :midnights::text[]) AS m (zone, midnights)
), kinds AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset(:kinds::jsonb)
             AS t(kind int, model text, tier text, adapter text, region text, context_band smallint, project_id text,
                  agent_id text, outcomes int)
), listed AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset(:listed::jsonb)
             AS t(rate_card_id text, kind int, meter text, since timestamptz, until timestamptz, price_id bigint,
                  currency text, each_amount numeric, unpriced text)
), known AS MATERIALIZED (
  SELECT l.rate_card_id, l.kind, min(l.since) AS since, max(l.until) AS until FROM listed l GROUP BY 1, 2
), subscribed AS MATERIALIZED (
  SELECT * FROM subscriptions_of(ARRAY(SELECT DISTINCT n.customer_id FROM days n), :batch_seq)
), edges AS MATERIALIZED (
  SELECT array_agg(e.edge ORDER BY e.edge) AS edges
    FROM (SELECT unnest(m.midnights) AS edge FROM midnights m
           UNION SELECT unnest(:price_edges::timestamptz[])
           UNION SELECT lower(s.valid) FROM subscribed s
           UNION SELECT upper(s.valid) FROM subscribed s WHERE NOT upper_inf(s.valid)) e
), used AS MATERIALIZED (
  SELECT d.customer_id, d.usage_key_id, min(d.window_start) AS used_at,
         sum(d.uncached) FILTER (WHERE d.uncached <> 0) AS uncached,
         sum(d.cache_read) FILTER (WHERE d.cache_read <> 0) AS cache_read,
         sum(d.cache_write) FILTER (WHERE d.cache_write <> 0) AS cache_write,
         sum(d.visible) FILTER (WHERE d.visible <> 0) AS visible,
         sum(d.reasoning) FILTER (WHERE d.reasoning <> 0) AS reasoning,
         sum(d.requests) AS requests, NULL::numeric[] AS marks, NULL AS extra, NULL::numeric AS units
    FROM days n CROSS JOIN edges e
   CROSS JOIN LATERAL (SELECT * FROM usage_delta u
                        WHERE u.customer_id = n.customer_id AND u.window_start >= n.since AND u.window_start < n.until
                          AND u.batch_seq <= :batch_seq OFFSET 0) d
   GROUP BY d.customer_id, d.usage_key_id, width_bucket(d.window_start, e.edges)
  UNION ALL
  SELECT d.customer_id, d.usage_key_id, min(d.window_start), NULL, NULL, NULL, NULL, NULL, NULL,
         ARRAY[sum(d.estimated), sum(d.incomplete), sum(d.input_unknown), sum(d.output_unknown), sum(d.cached_unknown),
               sum(d.written_unknown), sum(d.reasoning_unknown)], NULL, NULL
    FROM days n CROSS JOIN edges e
   CROSS JOIN LATERAL (SELECT * FROM usage_mark u
                        WHERE u.customer_id = n.customer_id AND u.window_start >= n.since AND u.window_start < n.until
                          AND u.batch_seq <= :batch_seq OFFSET 0) d
   GROUP BY d.customer_id, d.usage_key_id, width_bucket(d.window_start, e.edges)
  UNION ALL
  SELECT d.customer_id, d.usage_key_id, min(d.window_start), NULL, NULL, NULL, NULL, NULL, NULL, NULL, d.meter, sum(d.quantity)
    FROM days n CROSS JOIN edges e
   CROSS JOIN LATERAL (SELECT * FROM extra_delta u
                        WHERE u.customer_id = n.customer_id AND u.window_start >= n.since AND u.window_start < n.until
                          AND u.batch_seq <= :batch_seq OFFSET 0) d
   GROUP BY d.customer_id, d.usage_key_id, d.meter, width_bucket(d.window_start, e.edges)
), keys AS MATERIALIZED (
  SELECT k.usage_key_id, k.model, t.kind
    FROM priced_keys(:batch_seq) k
    LEFT JOIN kinds t
      ON t.model = k.model AND t.tier = k.tier AND t.adapter = k.adapter AND t.region = k.region
     AND t.context_band = k.context_band AND t.project_id = k.project_id AND t.agent_id = k.agent_id
     AND t.outcomes = k.outcomes
   WHERE k.usage_key_id = ANY (ARRAY(SELECT DISTINCT u.usage_key_id FROM used u))
), placed AS MATERIALIZED (
  SELECT u.*, k.kind, s.rate_card_id, s.subscription_id, nullif(s.payer_id, u.customer_id) AS payer_id,
         greatest(z.midnights[width_bucket(u.used_at, z.midnights)], lower(s.valid)) AS day_start
    FROM used u
    JOIN keys k USING (usage_key_id)
    LEFT JOIN subscribed s ON s.customer_id = u.customer_id AND s.valid @> u.used_at AND s.models @> k.model
    LEFT JOIN midnights z ON z.zone = coalesce(s.zone, :entity_zone)
), lacking AS MATERIALIZED (
  SELECT EXISTS (SELECT FROM (SELECT p.rate_card_id, p.kind, min(p.used_at) AS first, max(p.used_at) AS last
                                FROM placed p WHERE p.rate_card_id IS NOT NULL GROUP BY 1, 2) p
                   LEFT JOIN known w
                     ON w.rate_card_id = p.rate_card_id AND w.kind = p.kind AND w.since <= p.first AND p.last < w.until
                  WHERE w.kind IS NULL) AS lacks
), counted AS (
  SELECT p.customer_id, p.subscription_id, p.payer_id, p.day_start, p.requests, p.marks FROM placed p
  UNION ALL
  SELECT d.customer_id, d.subscription_id, d.payer_id, d.day_start, -d.requests,
         ARRAY[-d.estimated, -d.incomplete, -d.input_unknown, -d.output_unknown, -d.cached_unknown, -d.written_unknown,
               -d.reasoning_unknown]
    FROM days n
   CROSS JOIN LATERAL (SELECT * FROM usage_day u
                        WHERE u.customer_id = n.customer_id AND u.day_start >= n.since AND u.day_start < n.until OFFSET 0) d
), changed AS (
  SELECT c.customer_id, c.subscription_id, c.payer_id, c.day_start, coalesce(sum(c.requests), 0) AS requests,
         coalesce(sum(c.marks[1]), 0) AS estimated,
         coalesce(sum(c.marks[2]), 0) AS incomplete,
         coalesce(sum(c.marks[3]), 0) AS input_unknown,
         coalesce(sum(c.marks[4]), 0) AS output_unknown,
         coalesce(sum(c.marks[5]), 0) AS cached_unknown,
         coalesce(sum(c.marks[6]), 0) AS written_unknown,
         coalesce(sum(c.marks[7]), 0) AS reasoning_unknown
    FROM counted c
   WHERE NOT (SELECT l.lacks FROM lacking l)
   GROUP BY 1, 2, 3, 4
), appended AS (
  INSERT INTO usage_day (customer_id, subscription_id, payer_id, day_start, cut_off_id, batch_seq, entity_id, requests,
                         estimated, incomplete, input_unknown, output_unknown, cached_unknown, written_unknown,
                         reasoning_unknown)
  SELECT c.customer_id, c.subscription_id, c.payer_id, c.day_start, :cut_off_id, :stored_seq, :entity_id, c.requests,
         c.estimated, c.incomplete, c.input_unknown, c.output_unknown, c.cached_unknown, c.written_unknown,
         c.reasoning_unknown
    FROM changed c
   WHERE (c.requests, c.estimated, c.incomplete, c.input_unknown, c.output_unknown, c.cached_unknown, c.written_unknown,
          c.reasoning_unknown) <> (0, 0, 0, 0, 0, 0, 0, 0)
), metered AS (
  SELECT p.*, 'input_uncached' AS meter, p.uncached AS quantity FROM placed p WHERE p.uncached <> 0
  UNION ALL SELECT p.*, 'input_cache_read', p.cache_read FROM placed p WHERE p.cache_read <> 0
  UNION ALL SELECT p.*, 'input_cache_write', p.cache_write FROM placed p WHERE p.cache_write <> 0
  UNION ALL SELECT p.*, 'output_visible', p.visible FROM placed p WHERE p.visible <> 0
  UNION ALL SELECT p.*, 'output_reasoning', p.reasoning FROM placed p WHERE p.reasoning <> 0
  UNION ALL SELECT p.*, 'requests', p.requests FROM placed p
             WHERE p.requests <> 0 AND EXISTS (SELECT FROM listed l WHERE l.meter = 'requests')
  UNION ALL
  SELECT p.*, e.meter, e.quantity
    FROM placed p
    JOIN listed x
      ON x.rate_card_id = p.rate_card_id AND x.kind = p.kind AND x.meter = p.extra AND x.since <= p.used_at AND p.used_at < x.until
   CROSS JOIN LATERAL (VALUES (x.meter, p.units), (part_of(x.meter), -p.units)) AS e(meter, quantity)
   WHERE e.meter IS NOT NULL
), moved AS (
  SELECT m.customer_id, m.usage_key_id, m.meter, m.subscription_id, m.payer_id, t.price_id, t.currency,
         CASE WHEN m.subscription_id IS NULL THEN 'no subscription' ELSE t.unpriced END AS unpriced, m.day_start, m.quantity,
         m.quantity * t.each_amount AS amount
    FROM metered m
    LEFT JOIN listed t
      ON t.rate_card_id = m.rate_card_id AND t.kind = m.kind AND t.meter = m.meter
     AND t.since <= m.used_at AND m.used_at < t.until
   WHERE m.meter <> 'requests' OR t.price_id IS NOT NULL
  UNION ALL
  SELECT t.customer_id, t.usage_key_id, t.meter, t.subscription_id, t.payer_id, t.price_id, t.currency, NULL, t.day_start, 0, t.amount
    FROM jsonb_to_recordset(:pooled::jsonb)
      AS t(customer_id text, usage_key_id bigint, meter text, subscription_id text, payer_id text, price_id bigint, currency text,
           day_start timestamptz, amount numeric)
  UNION ALL
  SELECT c.customer_id, c.usage_key_id, c.meter, c.subscription_id, c.payer_id, c.price_id, c.currency, c.unpriced, c.day_start,
         -c.quantity, -c.amount
    FROM days n
   CROSS JOIN LATERAL (SELECT * FROM charge o
                        WHERE o.customer_id = n.customer_id AND o.day_start >= n.since AND o.day_start < n.until OFFSET 0) c
   WHERE c.meter NOT IN ('fee', 'commitment', 'discount', 'cost')
), charged AS (
  INSERT INTO charge_day (customer_id, day_start, cut_off_id, batch_seq, entity_id, subscription_id, payer_id, currency,
                          unpriced, usage_key_id, meter, price_id, quantity, amount)
  SELECT s.customer_id, s.day_start, :cut_off_id, :stored_seq, :entity_id, s.subscription_id, s.payer_id, s.currency,
         s.unpriced, array_agg(s.usage_key_id), array_agg(s.meter), array_agg(s.price_id), array_agg(s.quantity),
         CASE WHEN s.unpriced IS NULL THEN array_agg(s.amount) END
    FROM (SELECT m.customer_id, m.usage_key_id, m.day_start, m.meter, m.subscription_id, m.payer_id, m.price_id, m.currency,
                 m.unpriced, sum(m.quantity) AS quantity, sum(m.amount) AS amount
            FROM moved m
           WHERE NOT (SELECT l.lacks FROM lacking l)
           GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
          HAVING sum(m.quantity) <> 0 OR sum(m.amount) <> 0) s
   GROUP BY 1, 2, 6, 7, 8, 9
  RETURNING cardinality(usage_key_id) AS charges
)
SELECT (SELECT l.lacks FROM lacking l) AS lacks, (SELECT coalesce(sum(c.charges), 0) FROM charged c) AS charges;

-- name: append_period_charges
-- The differences between what time adds on some customers' days and what is stored of it; charge (customer_id, day_start,
-- batch_seq).
WITH moved AS (
  SELECT t.customer_id, t.usage_key_id, t.meter, t.subscription_id, t.price_id, t.currency, t.day_start, t.amount
    FROM jsonb_to_recordset(:timed::jsonb)
      AS t(customer_id text, usage_key_id bigint, meter text, subscription_id text, price_id bigint, currency text,
           day_start timestamptz, amount numeric)
  UNION ALL
  SELECT c.customer_id, c.usage_key_id, c.meter, c.subscription_id, c.price_id, c.currency, c.day_start, -c.amount
    FROM unnest(:customers::text[], :sinces::timestamptz[], :untils::timestamptz[]) AS n (customer_id, since, until)
    JOIN charge c ON c.customer_id = n.customer_id AND c.day_start >= n.since AND c.day_start < n.until
   WHERE c.meter IN ('fee', 'commitment', 'discount', 'cost')
), charged AS (
  INSERT INTO charge_day (customer_id, day_start, cut_off_id, batch_seq, entity_id, subscription_id, currency, usage_key_id,
                          meter, price_id, quantity, amount)
  SELECT s.customer_id, s.day_start, :cut_off_id, :stored_seq, :entity_id, s.subscription_id, s.currency,
         array_agg(s.usage_key_id), array_agg(s.meter), array_agg(s.price_id), array_agg(0::numeric), array_agg(s.amount)
    FROM (SELECT m.customer_id, m.usage_key_id, m.day_start, m.meter, m.subscription_id, m.price_id, m.currency,
                 sum(m.amount) AS amount
            FROM moved m GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(m.amount) <> 0) s
   GROUP BY 1, 2, 6, 7
  RETURNING cardinality(usage_key_id) AS charges
)
SELECT coalesce(sum(c.charges), 0) AS charges FROM charged c;

-- name: list_period_subscriptions
-- Subscriptions to cards with prices of some kinds that price what an entity's customers use, as known at a cut-off; a
-- scan of rate_card_price, subscription (rate_card_id).
WITH cards AS MATERIALIZED (
  SELECT DISTINCT p.rate_card_id FROM rate_card_price p WHERE p.kind = ANY(:kinds::text[]) AND lower(p.recorded) <= :batch_seq
), priced AS MATERIALIZED (
  SELECT s.customer_id FROM cards JOIN subscription s USING (rate_card_id)
   UNION
  SELECT a.customer_id
    FROM cards JOIN subscription s USING (rate_card_id) JOIN customer_above a ON a.above_id = s.customer_id AND a.pays
)
SELECT s.subscription_id, s.customer_id, nullif(s.payer_id, s.customer_id) AS payer_id, s.rate_card_id, s.zone, s.anchor_day,
       lower(s.valid) AS valid_from, upper(s.valid) AS valid_to, lower(s.agreed) AS agreed_from, upper(s.agreed) AS agreed_to
  FROM subscriptions_of(ARRAY(SELECT c.customer_id FROM priced JOIN customer c USING (customer_id)
                               WHERE c.entity_id = :entity_id), :batch_seq) s
 WHERE s.rate_card_id IN (SELECT x.rate_card_id FROM cards x)
 ORDER BY s.customer_id, s.subscription_id, s.valid;

-- name: find_changed_terms
-- When subscriptions to cards that have had prices of some kinds, or these prices, were recorded or closed after a cut-off
-- for which customers; and when it changed who pays for whom, for both.
WITH priced AS (
  SELECT p.rate_card_id, p.valid,
         (lower(p.recorded) > :since_seq AND lower(p.recorded) <= :batch_seq)
         OR (upper(p.recorded) > :since_seq AND upper(p.recorded) <= :batch_seq) IS TRUE AS changed
    FROM rate_card_price p
    JOIN rate_card r ON r.rate_card_id = p.rate_card_id AND r.entity_id = :entity_id
   WHERE p.kind = ANY(:kinds::text[]) AND lower(p.recorded) <= :batch_seq
), moved AS (
  SELECT a.customer_id, a.above_id, a.valid FROM customer_above a JOIN customer c USING (customer_id)
   WHERE c.entity_id = :entity_id AND a.pays
     AND ((lower(a.recorded) > :since_seq AND lower(a.recorded) <= :batch_seq)
          OR (upper(a.recorded) > :since_seq AND upper(a.recorded) <= :batch_seq))
)
SELECT customer_id, lower(valid) AS since, upper(valid) AS until FROM moved
 UNION
SELECT above_id, lower(valid), upper(valid) FROM moved
 UNION
SELECT s.customer_id, lower(s.valid * p.valid) AS since, upper(s.valid * p.valid) AS until
  FROM priced p JOIN subscription s ON s.rate_card_id = p.rate_card_id AND s.valid && p.valid
 WHERE p.changed OR (lower(s.recorded) > :since_seq AND lower(s.recorded) <= :batch_seq)
    OR (upper(s.recorded) > :since_seq AND upper(s.recorded) <= :batch_seq);

-- name: find_pooled_use
-- What some customers used under subscriptions by day and price of those that look at a period as a whole, as append_charges
-- rates it, of periods that end on a day; usage_delta, extra_delta (customer_id, window_start).
WITH subscribed AS MATERIALIZED (
  SELECT * FROM subscriptions_of(:customers::text[], :batch_seq)
), midnights AS MATERIALIZED (
  SELECT m.zone, m.midnights::timestamptz[] AS midnights FROM unnest(:zones::text[], :midnights::text[]) AS m (zone, midnights)
), listed AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset(:listed::jsonb)
             AS t(rate_card_id text, model text, tier text, adapter text, region text, context_band smallint, project_id text,
                  agent_id text, outcomes int, meter text, since timestamptz, until timestamptz, price_id bigint, is_pooled boolean)
), used AS MATERIALIZED (
  SELECT n.subscription_id, u.customer_id, u.usage_key_id, u.window_start, sum(u.uncached) AS uncached,
         sum(u.cache_read) AS cache_read, sum(u.cache_write) AS cache_write, sum(u.visible) AS visible,
         sum(u.reasoning) AS reasoning, sum(u.requests) AS requests, NULL AS extra, 0 AS quantity
    FROM unnest(:subscriptions::text[], :customers::text[], :sinces::timestamptz[], :untils::timestamptz[])
           AS n (subscription_id, customer_id, since, until)
   CROSS JOIN LATERAL (SELECT * FROM usage_delta d
                        WHERE d.customer_id = n.customer_id AND d.window_start >= n.since AND d.window_start < n.until
                          AND d.batch_seq <= :batch_seq OFFSET 0) u
   GROUP BY 1, 2, 3, 4
  UNION ALL
  SELECT n.subscription_id, u.customer_id, u.usage_key_id, u.window_start, 0, 0, 0, 0, 0, 0, u.meter, sum(u.quantity)
    FROM unnest(:subscriptions::text[], :customers::text[], :sinces::timestamptz[], :untils::timestamptz[])
           AS n (subscription_id, customer_id, since, until)
   CROSS JOIN LATERAL (SELECT * FROM extra_delta d
                        WHERE d.customer_id = n.customer_id AND d.window_start >= n.since AND d.window_start < n.until
                          AND d.batch_seq <= :batch_seq OFFSET 0) u
   GROUP BY 1, 2, 3, 4, u.meter
), placed AS MATERIALIZED (
  SELECT u.*, k.model, k.tier, k.adapter, k.region, k.context_band, k.project_id, k.agent_id, k.outcomes, s.rate_card_id,
         nullif(s.payer_id, u.customer_id) AS payer_id,
         greatest(z.midnights[width_bucket(u.window_start, z.midnights)], lower(s.valid)) AS day_start
    FROM used u
    JOIN priced_keys(:batch_seq) k USING (usage_key_id)
    JOIN subscribed s ON s.customer_id = u.customer_id AND s.subscription_id = u.subscription_id AND s.valid @> u.window_start
                     AND s.models @> k.model
    JOIN midnights z ON z.zone = s.zone
)
SELECT p.customer_id, p.subscription_id, t.price_id, p.day_start, p.usage_key_id, m.meter, p.payer_id,
       sum(m.quantity) AS quantity
  FROM placed p
  LEFT JOIN listed x
    ON x.meter = p.extra AND x.rate_card_id = p.rate_card_id AND x.model = p.model AND x.tier = p.tier
   AND x.adapter = p.adapter AND x.region = p.region AND x.context_band = p.context_band
   AND x.project_id = p.project_id AND x.agent_id = p.agent_id AND x.outcomes = p.outcomes
   AND x.since <= p.window_start AND p.window_start < x.until
 CROSS JOIN LATERAL (VALUES ('input_uncached', p.uncached), ('input_cache_read', p.cache_read),
                            ('input_cache_write', p.cache_write), ('output_visible', p.visible),
                            ('output_reasoning', p.reasoning), ('requests', p.requests),
                            (x.meter, p.quantity), (part_of(x.meter), -p.quantity)) AS m(meter, quantity)
  JOIN listed t
    ON t.rate_card_id = p.rate_card_id AND t.model = p.model AND t.tier = p.tier AND t.adapter = p.adapter
   AND t.region = p.region AND t.context_band = p.context_band AND t.project_id = p.project_id
   AND t.agent_id = p.agent_id AND t.outcomes = p.outcomes AND t.meter = m.meter
   AND t.since <= p.window_start AND p.window_start < t.until AND t.is_pooled
 GROUP BY 1, 2, 3, 4, 5, 6, 7
HAVING sum(m.quantity) <> 0
 ORDER BY 1, 2, 3, 4, 5, 6;

-- name: sum_usage_charged
-- What usage of some customers came to by subscription, day and kind of usage, up to a number of the stored order; charge
-- (customer_id, day_start, batch_seq).
SELECT c.subscription_id, c.day_start, c.meter, k.model, k.tier, k.adapter, k.region, 0 AS context_band, k.project_id,
       k.agent_id, k.outcomes, sum(c.amount) AS amount
  FROM unnest(:subscriptions::text[], :customers::text[], :sinces::timestamptz[], :untils::timestamptz[])
         AS n (subscription_id, customer_id, since, until)
 CROSS JOIN LATERAL (SELECT s.* FROM charges_at(:batch_seq) s
                      WHERE s.customer_id = n.customer_id AND s.subscription_id = n.subscription_id
                        AND s.day_start >= n.since AND s.day_start < n.until AND s.amount IS NOT NULL
                        AND s.meter NOT IN ('fee', 'commitment', 'discount', 'cost') OFFSET 0) c
  JOIN priced_keys(:batch_seq) k USING (usage_key_id)
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
 ORDER BY 1, 2, 3, 4, 5, 6, 7, 9, 10, 11;

-- name: sum_usage_costs
-- What usage under subscriptions was allocated of the cost of its entity, by day and kind of usage, as known at a cut-off;
-- cost_day_line and cost_allocation (entity_id, time).
WITH asked AS MATERIALIZED (
  SELECT * FROM unnest(:subscriptions::text[], :customers::text[], :sinces::timestamptz[], :untils::timestamptz[])
             AS n (subscription_id, customer_id, since, until)
)
SELECT s.subscription_id, d.since AS day_start, c.currency, k.model, k.tier, k.adapter, k.region, 0 AS context_band,
       k.project_id, k.agent_id, k.outcomes, sum(c.amount) AS amount
  FROM (SELECT DISTINCT a.since, a.until FROM asked a) d
 CROSS JOIN LATERAL (
   SELECT x.usage_key_id, x.currency, sum(x.device_cost + x.overhead_cost + x.gpu_cost) AS amount
     FROM costs_at(:batch_seq, :entity_id, d.since, d.until) x WHERE x.line = 'usage' GROUP BY 1, 2) c
  JOIN usage_key o USING (usage_key_id)
  JOIN asked a ON a.customer_id = o.customer_id AND a.since = d.since AND a.until = d.until
  JOIN priced_keys(:batch_seq) k USING (usage_key_id)
  JOIN subscriptions_of(:customers::text[], :batch_seq) s
    ON s.customer_id = o.customer_id AND s.subscription_id = a.subscription_id AND s.valid @> d.since AND s.models @> k.model
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 HAVING sum(c.amount) <> 0
 ORDER BY 1, 2, 3, 4, 5, 6, 7, 9, 10, 11;

-- name: list_cost_plus_cards
-- Which of some cards ask for cost with a mark-up, as known at a cut-off.
SELECT DISTINCT p.rate_card_id FROM rate_card_price p
 WHERE p.rate_card_id = ANY(:rate_card_ids::text[]) AND p.kind = 'cost_plus' AND p.recorded @> :batch_seq::bigint;

-- name: list_zones
-- Zones that subscriptions of an entity's customers are billed in, as known at a cut-off.
SELECT DISTINCT s.zone FROM subscription s JOIN customer c USING (customer_id)
 WHERE c.entity_id = :entity_id AND s.recorded @> :batch_seq::bigint
 ORDER BY s.zone;

-- name: find_prices
-- Prices of an entity's cards, of some, or of all that may be seen, as known at a cut-off; each by the id of the first
-- that was recorded of its match and terms, so that one entered again, whose validity is split, charges nothing anew.
WITH every AS (
  SELECT p.*, min(p.price_id) OVER (PARTITION BY p.rate_card_id, p.meter, p.project_id, p.agent_id, p.model, p.tier,
                                                 p.adapter, p.region, p.band_from, p.hours, p.name, p.kind, p.params) AS first_id
    FROM rate_card_price p JOIN rate_card r USING (rate_card_id)
   WHERE lower(p.recorded) <= :batch_seq AND (:entity_id::text IS NULL OR r.entity_id = :entity_id)
     AND (:rate_card_ids::text[] IS NULL OR r.rate_card_id = ANY(:rate_card_ids))
)
SELECT r.rate_card_id, r.currency, p.first_id AS price_id, p.meter, p.project_id, p.agent_id, p.model, p.tier, p.adapter, p.region,
       p.band_from, p.hours, p.name, p.kind, p.params, lower(p.valid) AS valid_from, upper(p.valid) AS valid_to
  FROM rate_card r
  LEFT JOIN every p ON p.rate_card_id = r.rate_card_id AND p.recorded @> :batch_seq::bigint
 WHERE (:entity_id::text IS NULL OR r.entity_id = :entity_id)
   AND (:rate_card_ids::text[] IS NULL OR r.rate_card_id = ANY(:rate_card_ids))
 ORDER BY r.rate_card_id, p.price_id;

-- name: count_changed_charges
-- Days, in a zone, of which charges changed after a cut-off, and how many rows of charges; leads by batch_seq.
SELECT (d.day_start AT TIME ZONE :zone)::date AS day, sum(d.rows) AS rows
  FROM (SELECT c.day_start, count(*) AS rows FROM charge_day c
         WHERE c.entity_id = :entity_id AND c.batch_seq > :since_seq AND c.batch_seq <= :batch_seq GROUP BY 1) d
 GROUP BY 1;

-- name: has_changed_charges
-- Whether charges of an entity were stored after a cut-off; leads by batch_seq.
SELECT count(*) > 0 FROM charge_day c
 WHERE c.entity_id = :entity_id AND c.batch_seq > :batch_seq AND c.batch_seq <= as_it_stands();

-- name: sum_charges_to_book
-- Priced charges of an entity's days at a cut-off that entries of their natural keys have not booked: those stored behind
-- the cut-off of the last; journal_entry (natural_key, revision), charge (entity_id, day_start).
WITH days AS MATERIALIZED (
  SELECT n.natural_key, n.since, n.until,
         coalesce((SELECT max(o.batch_seq) FROM journal_entry e JOIN cut_off o USING (cut_off_id)
                    WHERE e.natural_key = n.natural_key), -1) AS booked_seq
    FROM unnest(:natural_keys::text[], :sinces::timestamptz[], :untils::timestamptz[]) AS n (natural_key, since, until)
)
SELECT n.natural_key, c.currency, coalesce(k.tier, '') AS tier, coalesce(k.model, '') AS model,
       c.meter = 'fee' AND c.price_id IN (SELECT p.price_id FROM rate_card_price p WHERE p.params ->> 'billed' = 'advance')
         AS in_advance, sum(c.amount) AS amount
  FROM days n
 CROSS JOIN LATERAL (SELECT * FROM charges_at(:batch_seq) l
                      WHERE l.entity_id = :entity_id AND l.day_start >= n.since AND l.day_start < n.until
                        AND l.batch_seq > n.booked_seq AND l.amount IS NOT NULL OFFSET 0) c
  LEFT JOIN usage_key k USING (usage_key_id)
 GROUP BY 1, 2, 3, 4, 5 HAVING sum(c.amount) <> 0 ORDER BY 1, 2, 3, 4, 5;

-- name: list_unpriced
-- Usage that waits for a price, by the reason, as it stands at a cut-off, from its first day to its last.
WITH sums AS (
  SELECT l.customer_id, l.usage_key_id, l.day_start, l.meter, l.unpriced, sum(l.quantity) AS quantity
    FROM charges_at(:batch_seq) l
   WHERE l.entity_id = :entity_id AND l.unpriced IS NOT NULL
     AND (:customer_id::text IS NULL OR l.customer_id = :customer_id)
     AND (:subscription_id::text IS NULL OR l.subscription_id = :subscription_id)
     AND (:since::timestamptz IS NULL OR l.day_start >= :since)
     AND (:until::timestamptz IS NULL OR l.day_start < :until)
   GROUP BY 1, 2, 3, 4, 5
  HAVING sum(l.quantity) <> 0
)
SELECT s.customer_id, k.model, k.tier, s.meter, s.unpriced AS reason, sum(s.quantity) AS quantity,
       min(s.day_start) AS first_day, max(s.day_start) AS last_day
  FROM sums s JOIN usage_key k USING (usage_key_id)
 GROUP BY s.customer_id, k.model, k.tier, s.meter, s.unpriced
 ORDER BY s.customer_id, k.model, k.tier, s.meter, s.unpriced;
