-- name: append_usage_days
-- The differences between the requests of some customers' days as known at a cut-off, with what they lack, and what is
-- stored of them; days as append_charges has them. usage_delta, usage_mark (customer_id, window_start), usage_day
-- (customer_id, day_start).
WITH days AS MATERIALIZED (
  SELECT * FROM unnest(:customers::text[], :sinces::timestamptz[], :untils::timestamptz[])
             AS n (customer_id, since, until)
), midnights AS MATERIALIZED (
  SELECT m.zone, m.midnights::timestamptz[] AS midnights FROM unnest(:zones::text[], :midnights::text[]) AS m (zone, midnights)
), subscribed AS MATERIALIZED (
  SELECT * FROM subscriptions_of(:customers::text[], :batch_seq)
), counted AS (
  SELECT d.customer_id, d.usage_key_id, d.window_start, d.requests, 0 AS estimated, 0 AS incomplete, 0 AS input_unknown,
         0 AS output_unknown, 0 AS cached_unknown,
         0 AS written_unknown, 0 AS reasoning_unknown
    FROM days n
   CROSS JOIN LATERAL (SELECT * FROM usage_delta u
                        WHERE u.customer_id = n.customer_id AND u.window_start >= n.since AND u.window_start < n.until
                          AND u.batch_seq <= :batch_seq OFFSET 0) d
  UNION ALL
  SELECT d.customer_id, d.usage_key_id, d.window_start, 0, d.estimated, d.incomplete, d.input_unknown, d.output_unknown,
         d.cached_unknown, d.written_unknown,
         d.reasoning_unknown
    FROM days n
   CROSS JOIN LATERAL (SELECT * FROM usage_mark u
                        WHERE u.customer_id = n.customer_id AND u.window_start >= n.since AND u.window_start < n.until
                          AND u.batch_seq <= :batch_seq OFFSET 0) d
), moved AS (
  SELECT u.customer_id, s.subscription_id, nullif(s.payer_id, u.customer_id) AS payer_id,
         greatest(z.midnights[width_bucket(u.window_start, z.midnights)], lower(s.valid)) AS day_start,
         sum(u.requests) AS requests, sum(u.estimated) AS estimated, sum(u.incomplete) AS incomplete,
         sum(u.input_unknown) AS input_unknown, sum(u.output_unknown) AS output_unknown,
         sum(u.cached_unknown) AS cached_unknown, sum(u.written_unknown) AS written_unknown,
         sum(u.reasoning_unknown) AS reasoning_unknown
    FROM counted u
    JOIN usage_key k USING (usage_key_id)
    LEFT JOIN subscribed s ON s.customer_id = u.customer_id AND s.valid @> u.window_start AND s.models @> k.model
    LEFT JOIN midnights z ON z.zone = coalesce(s.zone, :entity_zone)
   GROUP BY 1, 2, 3, 4
  UNION ALL
  SELECT d.customer_id, d.subscription_id, d.payer_id, d.day_start, -d.requests, -d.estimated, -d.incomplete,
         -d.input_unknown, -d.output_unknown, -d.cached_unknown,
         -d.written_unknown, -d.reasoning_unknown
    FROM days n JOIN usage_day d ON d.customer_id = n.customer_id AND d.day_start >= n.since AND d.day_start < n.until
), changed AS (
  SELECT m.customer_id, m.subscription_id, m.payer_id, m.day_start, sum(m.requests) AS requests,
         sum(m.estimated) AS estimated, sum(m.incomplete) AS incomplete,
         sum(m.input_unknown) AS input_unknown, sum(m.output_unknown) AS output_unknown,
         sum(m.cached_unknown) AS cached_unknown, sum(m.written_unknown) AS written_unknown,
         sum(m.reasoning_unknown) AS reasoning_unknown
    FROM moved m
   GROUP BY m.customer_id, m.subscription_id, m.payer_id, m.day_start
)
INSERT INTO usage_day (customer_id, subscription_id, payer_id, day_start, cut_off_id, batch_seq, entity_id,
                       requests, estimated, incomplete, input_unknown, output_unknown, cached_unknown,
                       written_unknown, reasoning_unknown)
SELECT c.customer_id, c.subscription_id, c.payer_id, c.day_start, :cut_off_id, :stored_seq, :entity_id,
       c.requests, c.estimated, c.incomplete, c.input_unknown, c.output_unknown, c.cached_unknown, c.written_unknown,
       c.reasoning_unknown
  FROM changed c
 WHERE (c.requests, c.estimated, c.incomplete, c.input_unknown, c.output_unknown, c.cached_unknown, c.written_unknown,
        c.reasoning_unknown) <> (0, 0, 0, 0, 0, 0, 0, 0);

-- name: sum_marks_of_subscription
-- Requests of a period under a subscription as known at a cut-off, its customer's and of all below, and how many of them
-- lack what; usage_day (customer_id, day_start) and (payer_id, day_start).
SELECT coalesce(sum(d.requests), 0) AS requests, coalesce(sum(d.estimated), 0) AS estimated,
       coalesce(sum(d.incomplete), 0) AS incomplete, coalesce(sum(d.input_unknown), 0) AS input_unknown,
       coalesce(sum(d.output_unknown), 0) AS output_unknown, coalesce(sum(d.cached_unknown), 0) AS cached_unknown,
       coalesce(sum(d.written_unknown), 0) AS written_unknown,
       coalesce(sum(d.reasoning_unknown), 0) AS reasoning_unknown
  FROM usage_day d
 WHERE d.subscription_id = :subscription_id AND (d.customer_id = :customer_id OR d.payer_id = :customer_id)
   AND d.day_start >= :since AND d.day_start < :until AND d.batch_seq <= :batch_seq;
