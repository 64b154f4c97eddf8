-- name: list_entities
-- Entities, one or all.
SELECT entity_id, currency, zone FROM entity
 WHERE :entity_id::text IS NULL OR entity_id = :entity_id
 ORDER BY entity_id;

-- name: find_touched_usage
-- Windows of customers that batches stored after a cut-off touched; leads by BRIN on batch_seq.
SELECT DISTINCT d.customer_id, d.window_start
  FROM usage_delta d JOIN customer c USING (customer_id)
 WHERE d.batch_seq > :since_seq AND d.batch_seq <= :batch_seq AND c.entity_id = :entity_id;

-- name: find_repriced_usage
-- Windows of customers whose card or subscription was recorded or closed after a cut-off.
WITH changed AS (
  SELECT s.customer_id, s.valid * p.valid AS valid
    FROM rate_card_price p JOIN subscription s USING (rate_card_id)
   WHERE (lower(p.recorded) > :since_seq AND lower(p.recorded) <= :batch_seq)
      OR (upper(p.recorded) > :since_seq AND upper(p.recorded) <= :batch_seq)
  UNION ALL
  SELECT s.customer_id, s.valid FROM subscription s
   WHERE (lower(s.recorded) > :since_seq AND lower(s.recorded) <= :batch_seq)
      OR (upper(s.recorded) > :since_seq AND upper(s.recorded) <= :batch_seq)
)
SELECT DISTINCT d.customer_id, d.window_start
  FROM changed x
  JOIN customer c ON c.customer_id = x.customer_id AND c.entity_id = :entity_id
  JOIN usage_delta d ON d.customer_id = x.customer_id AND d.window_start <@ x.valid
 WHERE d.batch_seq <= :batch_seq;

-- name: sum_usage
-- Totals of some customers' windows at a cut-off; leads by (customer_id, window_start).
SELECT d.customer_id, d.window_start, d.usage_key_id, k.model, k.tier, k.adapter, k.region,
       k.context_band, sum(d.uncached) AS uncached, sum(d.cache_read) AS cache_read,
       sum(d.cache_write) AS cache_write, sum(d.visible) AS visible,
       sum(d.reasoning) AS reasoning
  FROM unnest(:customers::text[], :windows::timestamptz[]) AS n (customer_id, window_start)
  JOIN usage_delta d ON d.customer_id = n.customer_id AND d.window_start = n.window_start
  JOIN usage_key k USING (usage_key_id)
 WHERE d.batch_seq <= :batch_seq
 GROUP BY d.customer_id, d.window_start, d.usage_key_id, k.model, k.tier, k.adapter, k.region,
          k.context_band;

-- name: find_charges
-- The charges of some customers' windows as they stand; leads by primary key, to which OFFSET 0 holds the planner: it
-- asks for each window by itself.
SELECT c.customer_id, c.window_start, c.usage_key_id, c.meter, c.revision, c.subscription_id,
       c.quantity, c.price_id, c.currency, c.amount, c.unpriced
  FROM unnest(:customers::text[], :windows::timestamptz[]) AS n (customer_id, window_start)
 CROSS JOIN LATERAL (SELECT * FROM charges_at(as_it_stands()) s
                      WHERE s.customer_id = n.customer_id AND s.window_start = n.window_start OFFSET 0) c;

-- name: find_subscriptions
-- Subscriptions of an entity's customers as known at a cut-off.
SELECT s.subscription_id, s.customer_id, s.rate_card_id, s.zone, s.anchor_day,
       lower(s.valid) AS valid_from, upper(s.valid) AS valid_to
  FROM subscription s JOIN customer c USING (customer_id)
 WHERE c.entity_id = :entity_id AND s.recorded @> :batch_seq::bigint
 ORDER BY s.customer_id, s.valid;

-- name: find_prices
-- Prices of an entity's cards as known at a cut-off.
SELECT r.rate_card_id, r.currency, p.price_id, p.meter, p.model, p.tier, p.adapter, p.region,
       p.band_from, p.kind, p.params, lower(p.valid) AS valid_from, upper(p.valid) AS valid_to
  FROM rate_card r
  LEFT JOIN rate_card_price p ON p.rate_card_id = r.rate_card_id AND p.recorded @> :batch_seq::bigint
 WHERE r.entity_id = :entity_id
 ORDER BY r.rate_card_id, p.price_id;

-- name: find_changed_charges
-- Windows whose charges were revised after a cut-off, with every subscription they ever named.
SELECT DISTINCT c.customer_id, c.window_start
  FROM charge c
 WHERE c.entity_id = :entity_id AND c.batch_seq > :since_seq AND c.batch_seq <= :batch_seq;

-- name: sum_charges_to_book
-- Priced charges of some customers' windows at a cut-off, with zero rows for subscriptions that
-- earlier revisions named.
WITH every AS (
  SELECT c.*, row_number() OVER (PARTITION BY c.customer_id, c.window_start, c.usage_key_id, c.meter
                                 ORDER BY c.revision DESC) AS age
    FROM unnest(:customers::text[], :windows::timestamptz[]) AS n (customer_id, window_start)
    JOIN charge c ON c.customer_id = n.customer_id AND c.window_start = n.window_start
   WHERE c.batch_seq <= :batch_seq
)
SELECT customer_id, window_start, subscription_id, currency,
       sum(CASE WHEN age = 1 THEN amount ELSE 0 END) AS amount
  FROM every
 WHERE amount IS NOT NULL
 GROUP BY customer_id, window_start, subscription_id, currency;

-- name: list_unpriced
-- Usage that waits for a price, by the reason, as it stands at a cut-off.
SELECT l.customer_id, k.model, k.tier, l.meter, l.unpriced AS reason, sum(l.quantity) AS quantity,
       min(l.window_start) AS first_window, max(l.window_start) AS last_window
  FROM charges_at(:batch_seq) l JOIN usage_key k USING (usage_key_id)
 WHERE l.entity_id = :entity_id AND l.unpriced IS NOT NULL AND l.quantity <> 0
   AND (:customer_id::text IS NULL OR l.customer_id = :customer_id)
   AND (:since::timestamptz IS NULL OR l.window_start >= :since)
   AND (:until::timestamptz IS NULL OR l.window_start < :until)
 GROUP BY l.customer_id, k.model, k.tier, l.meter, l.unpriced
 ORDER BY l.customer_id, k.model, k.tier, l.meter, l.unpriced;

-- name: find_price_currencies
-- The currency of each price, which is its card's; primary keys.
SELECT p.price_id, r.currency FROM rate_card_price p JOIN rate_card r USING (rate_card_id)
 WHERE p.price_id = ANY(:price_ids::bigint[]);
