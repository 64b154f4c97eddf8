-- name: find_plain_days
-- Which of some days, by their place, nothing is stored of, lack no count, count no extras and are priced from end to end,
-- for all models, by one subscription of the customer's own that is billed in the entity's zone. What is stored is asked of
-- all customers of a span at once: mostly that is nothing.
-- charge_day, usage_day (customer_id, day_start), usage_mark, extra_delta (customer_id, window_start).
WITH days AS MATERIALIZED (
  SELECT n.place - 1 AS place, n.customer_id, (:sinces::timestamptz[])[n.span] AS since, (:untils::timestamptz[])[n.span] AS until
    FROM unnest(:customers::text::text[], :spans::text::int[]) WITH ORDINALITY AS n (customer_id, span, place)
), spans AS MATERIALIZED (
  SELECT n.since, n.until, array_agg(n.customer_id) AS customers FROM days n GROUP BY 1, 2
), held AS MATERIALIZED (
  SELECT h.customer_id, s.since
    FROM spans s
   CROSS JOIN LATERAL (
    SELECT c.customer_id FROM charge_day c
     WHERE c.customer_id = ANY (s.customers) AND c.day_start >= s.since AND c.day_start < s.until
     UNION ALL
    SELECT u.customer_id FROM usage_day u
     WHERE u.customer_id = ANY (s.customers) AND u.day_start >= s.since AND u.day_start < s.until
     UNION ALL
    SELECT u.customer_id FROM usage_mark u
     WHERE u.customer_id = ANY (s.customers) AND u.window_start >= s.since AND u.window_start < s.until
       AND u.batch_seq <= :batch_seq
     UNION ALL
    SELECT u.customer_id FROM extra_delta u
     WHERE u.customer_id = ANY (s.customers) AND u.window_start >= s.since AND u.window_start < s.until
       AND u.batch_seq <= :batch_seq) h
), subscribed AS MATERIALIZED (
  SELECT s.customer_id, s.subscription_id, s.rate_card_id, s.valid,
         s.zone = :zone AND s.payer_id = s.customer_id AND s.models = model_ranges(model_range(NULL, NULL)) AS is_plain
    FROM subscriptions_of(ARRAY(SELECT DISTINCT n.customer_id FROM days n), :batch_seq) s
), plain AS (
  SELECT n.place, min(s.subscription_id) AS subscription_id, min(s.rate_card_id) AS rate_card_id
    FROM days n
    JOIN subscribed s ON s.customer_id = n.customer_id AND s.valid && tstzrange(n.since, n.until)
   WHERE (n.customer_id, n.since) NOT IN (SELECT h.customer_id, h.since FROM held h)
   GROUP BY 1
  HAVING count(*) = 1 AND bool_and(s.is_plain AND s.valid @> tstzrange(n.since, n.until))
   ORDER BY 1
)
SELECT array_agg(p.place) AS places, array_agg(p.subscription_id) AS subscriptions, array_agg(p.rate_card_id) AS rate_cards
  FROM plain p;

-- name: read_windows
-- What was used on some days, by their place, as known at a cut-off; usage_delta (customer_id, window_start).
SELECT (n.place - 1)::int AS day, u.usage_key_id, u.window_start, u.uncached, u.cache_read, u.cache_write, u.visible, u.reasoning,
       u.requests
  FROM (SELECT m.place, m.customer_id, (:sinces::timestamptz[])[m.span] AS since, (:untils::timestamptz[])[m.span] AS until
          FROM unnest(:customers::text::text[], :spans::text::int[]) WITH ORDINALITY AS m (customer_id, span, place) OFFSET 0) n
 CROSS JOIN LATERAL (SELECT * FROM usage_delta d
                      WHERE d.customer_id = n.customer_id AND d.window_start >= n.since AND d.window_start < n.until
                        AND d.batch_seq <= :batch_seq OFFSET 0) u;

-- name: find_key_kinds
-- Which of some kinds usage keys are of, by their number; those of others are not told. usage_key's primary key. OFFSET 0
-- has what prices name looked up once, and not for each key.
SELECT array_agg(k.usage_key_id) AS usage_key_ids, array_agg(t.kind) AS kinds
  FROM (SELECT * FROM priced_keys(:batch_seq) p
         WHERE p.usage_key_id = ANY (:usage_key_ids::text::bigint[]) OFFSET 0) k
  JOIN jsonb_to_recordset(:kinds::jsonb)
         AS t(kind int, model text, tier text, adapter text, region text, context_band smallint, project_id text,
              agent_id text, outcomes int)
    ON t.model = k.model AND t.tier = k.tier AND t.adapter = k.adapter AND t.region = k.region
   AND t.context_band = k.context_band AND t.project_id = k.project_id AND t.agent_id = k.agent_id
   AND t.outcomes = k.outcomes;
