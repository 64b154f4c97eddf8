-- name: find_idempotent
-- The stored answer of a write, by primary key.
SELECT request_digest, status, body FROM idempotency_key
 WHERE key_id = :key_id AND idempotency_key = :idempotency_key;

-- name: insert_idempotent
-- Keeps the answer of a write.
INSERT INTO idempotency_key (key_id, idempotency_key, request_digest, status, body)
VALUES (:key_id, :idempotency_key, :request_digest, :status, :body);

-- name: is_ready
-- Whether the schema is there.
SELECT count(*) FROM cut_off WHERE false;

-- name: spill
-- Writes a megabyte to the database's disk and lets it go, as any role may: it fails where none is free.
-- Little memory is asked for first, and the series depends on the answer.
SELECT count(*) FROM set_config('work_mem', '64kB', true) AS small(kept), generate_series(length(small.kept), 50000);

-- name: list_entities
-- Entities the caller may see.
SELECT entity_id, name, address, tax_number, currency, zone, rounding, invoice_prefix, default_tier,
       payment_days, is_test
  FROM entity ORDER BY entity_id;

-- name: list_customers
-- Customers the caller may see, by id, after a place.
SELECT customer_id, entity_id, name, kind, address, tax_number, email, is_test
  FROM customer
 WHERE (:entity_id::text IS NULL OR entity_id = :entity_id)
   AND (:after::text IS NULL OR customer_id > :after)
 ORDER BY customer_id LIMIT :limit;

-- name: list_aliases
-- Aliases as recorded now.
SELECT alias, customer_id, lower(valid) AS valid_from, upper(valid) AS valid_to
  FROM customer_alias WHERE upper_inf(recorded) ORDER BY alias, valid;

-- name: list_facilities
-- Sites.
SELECT facility_id, entity_id, name, zone FROM facility ORDER BY facility_id;

-- name: list_pues
-- PUE and host power of sites as recorded now.
SELECT facility_id, pue, host_mw_per_gpu, lower(valid) AS valid_from, upper(valid) AS valid_to
  FROM facility_pue WHERE upper_inf(recorded) ORDER BY facility_id, valid;

-- name: list_assets
-- Hardware as recorded now.
SELECT asset_id, entity_id, facility_id, name, terms, gpu_count, currency, purchase_price,
       residual_value, in_service, life_months, gpu_hour_rate, all_in, lower(valid) AS valid_from,
       upper(valid) AS valid_to
  FROM asset WHERE upper_inf(recorded) ORDER BY asset_id, valid;

-- name: list_tariffs
-- Tariffs.
SELECT tariff_id, facility_id, name, currency FROM tariff ORDER BY tariff_id;

-- name: list_tariff_prices
-- Prices of a tariff as recorded now, in a period.
SELECT tariff_id, lower(period) AS start, upper(period) AS end, price_per_mwh
  FROM tariff_price
 WHERE upper_inf(recorded) AND tariff_id = :tariff_id
   AND (:after::timestamptz IS NULL OR lower(period) > :after)
 ORDER BY period LIMIT :limit;

-- name: list_deployments
-- Deployments as recorded now.
SELECT deployment_id, entity_id, asset_id, model, tier, gpu_count, gpu_uuids, engine_instances,
       weight_version, weight_uncached, weight_cache_read, weight_cache_write, weight_output,
       lower(valid) AS valid_from, upper(valid) AS valid_to
  FROM deployment WHERE upper_inf(recorded) ORDER BY deployment_id, valid;

-- name: list_rate_cards
-- Rate cards the caller may see.
SELECT rate_card_id, entity_id, name, currency FROM rate_card ORDER BY rate_card_id;

-- name: list_prices
-- Prices of a card as recorded now.
SELECT price_id, rate_card_id, meter, model, tier, adapter, region, band_from, kind, params,
       lower(valid) AS valid_from, upper(valid) AS valid_to
  FROM rate_card_price
 WHERE upper_inf(recorded) AND rate_card_id = :rate_card_id
 ORDER BY meter, model, tier, valid;

-- name: list_subscriptions
-- Subscriptions the caller may see, as recorded now.
SELECT subscription_id, customer_id, rate_card_id, zone, anchor_day, lower(valid) AS valid_from,
       upper(valid) AS valid_to
  FROM subscription WHERE upper_inf(recorded) ORDER BY subscription_id, valid;

-- name: list_fx_rates
-- Exchange rates as recorded now, newest first.
SELECT base, quote, day, rate, source FROM fx_rate
 WHERE upper_inf(recorded) ORDER BY day DESC, base, quote LIMIT :limit;

-- name: sum_usage
-- Tokens and requests by window and dimensions, of what the caller may see.
SELECT d.customer_id, k.model, k.tier, k.agent_id, k.project_id, d.window_start,
       sum(d.requests)::bigint AS requests, sum(d.uncached)::bigint AS uncached,
       sum(d.cache_read)::bigint AS cache_read, sum(d.cache_write)::bigint AS cache_write,
       sum(d.visible)::bigint AS visible, sum(d.reasoning)::bigint AS reasoning
  FROM usage_delta d JOIN usage_key k USING (usage_key_id)
 WHERE d.window_start >= :since AND d.window_start < :until AND d.customer_id IS NOT NULL
   AND (:customer_id::text IS NULL OR d.customer_id = :customer_id)
   AND (:entity_id::text IS NULL OR k.entity_id = :entity_id)
 GROUP BY d.customer_id, k.model, k.tier, k.agent_id, k.project_id, d.window_start
 ORDER BY d.window_start, d.customer_id, k.model, k.tier, k.agent_id, k.project_id;

-- name: sum_hourly
-- Revenue and cost of an entity by hour, as they stand; for the dashboard.
WITH charges AS (
  SELECT DISTINCT ON (customer_id, window_start, usage_key_id, meter) window_start, amount
    FROM charge
   WHERE entity_id = :entity_id AND window_start >= :since AND window_start < :until
   ORDER BY customer_id, window_start, usage_key_id, meter, revision DESC
), lines AS (
  SELECT DISTINCT ON (scope, window_start, line, usage_key_id) window_start, line,
         device_cost + overhead_cost + gpu_cost AS cost
    FROM cost_allocation
   WHERE entity_id = :entity_id AND window_start >= :since AND window_start < :until
   ORDER BY scope, window_start, line, usage_key_id, revision DESC
), both_sides AS (
  SELECT date_trunc('hour', window_start) AS hour, amount AS revenue, 0::numeric AS cost,
         0::numeric AS idle FROM charges
  UNION ALL
  SELECT date_trunc('hour', window_start), 0, cost, CASE WHEN line = 'idle' THEN cost ELSE 0 END
    FROM lines
)
SELECT hour, coalesce(sum(revenue), 0) AS revenue, sum(cost) AS cost, sum(idle) AS idle
  FROM both_sides GROUP BY hour ORDER BY hour;

-- name: latest_activity
-- First and last window with usage, of an entity or (NULL) all, whom nobody knows included;
-- usage_delta (customer_id, window_start), two steps a customer.
WITH ends AS (
  SELECT (SELECT min(d.window_start) FROM usage_delta d WHERE d.customer_id = c.customer_id) AS first_window,
         (SELECT max(d.window_start) FROM usage_delta d WHERE d.customer_id = c.customer_id) AS last_window
    FROM customer c WHERE :entity_id::text IS NULL OR c.entity_id = :entity_id
  UNION ALL
  SELECT (SELECT min(d.window_start) FROM usage_delta d WHERE d.customer_id IS NULL),
         (SELECT max(d.window_start) FROM usage_delta d WHERE d.customer_id IS NULL)
   WHERE :entity_id::text IS NULL
)
SELECT min(first_window) AS first_window, max(last_window) AS last_window FROM ends;
