-- name: find_rate_card
-- A rate card by its primary key.
SELECT rate_card_id, entity_id, name, currency FROM rate_card WHERE rate_card_id = :rate_card_id;

-- name: list_currencies
-- In which currencies an entity sells: its own, and those of its cards; of which there are few.
SELECT currency FROM entity WHERE entity_id = :entity_id
 UNION
SELECT currency FROM rate_card WHERE entity_id = :entity_id ORDER BY 1;

-- name: insert_rate_card
-- A new rate card, still without prices.
INSERT INTO rate_card (rate_card_id, entity_id, name, currency, batch_seq)
VALUES (:rate_card_id, :entity_id, :name, :currency, :batch_seq);

-- name: list_open_prices
-- Every price of a card as recorded now; the exclusion constraint's index by its first column.
SELECT price_id, meter, project_id, agent_id, model, tier, adapter, region, band_from, hours, name, kind, params,
       lower(valid) AS valid_from, upper(valid) AS valid_to
  FROM rate_card_price WHERE rate_card_id = :rate_card_id AND upper_inf(recorded)
 ORDER BY price_id;

-- name: find_open_prices
-- Prices of the same match on the same card that overlap; the exclusion constraint's index.
SELECT price_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, rate_card_id, meter,
       project_id, agent_id, model, tier, adapter, region, band_from, hours, name, kind, params
  FROM rate_card_price
 WHERE rate_card_id = :rate_card_id AND meter = :meter
   AND coalesce(project_id, '') = coalesce(:project_id, '') AND coalesce(agent_id, '') = coalesce(:agent_id, '')
   AND coalesce(model, '') = coalesce(:model, '')
   AND coalesce(tier, '') = coalesce(:tier, '') AND coalesce(adapter, '') = coalesce(:adapter, '')
   AND coalesce(region, '') = coalesce(:region, '')
   AND coalesce(band_from, -1) = coalesce(:band_from::bigint, -1)
   AND coalesce(hours, '') = coalesce(:hours, '') AND name = :name
   AND valid && tstzrange(:valid_from, :valid_to) AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_prices
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE rate_card_price SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE price_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO rate_card_price (rate_card_id, meter, project_id, agent_id, model, tier, adapter, region, band_from, hours,
                             name, kind, params, valid, recorded)
SELECT c.rate_card_id, c.meter, c.project_id, c.agent_id, c.model, c.tier, c.adapter, c.region, c.band_from, c.hours, c.name, c.kind, c.params,
       part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part;

-- name: insert_price
-- A price on a card; returns its row.
INSERT INTO rate_card_price (rate_card_id, meter, project_id, agent_id, model, tier, adapter, region, band_from, hours,
                             name, kind, params, valid, recorded)
VALUES (:rate_card_id, :meter, :project_id, :agent_id, :model, :tier, :adapter, :region, :band_from, :hours, :name, :kind, :params,
        tstzrange(:valid_from, :valid_to), int8range(:batch_seq, NULL))
RETURNING price_id;

-- name: insert_prices
-- Prices of a table on a card, each by token, from a moment on.
INSERT INTO rate_card_price (rate_card_id, meter, model, tier, band_from, kind, params, valid, recorded)
SELECT :rate_card_id, t.meter, t.model, t.tier, t.band_from, 'per_unit', t.params,
       tstzrange(:valid_from, NULL), int8range(:batch_seq, NULL)
  FROM jsonb_to_recordset(:priced::jsonb)
    AS t(meter text, model text, tier text, band_from bigint, params jsonb);

-- name: list_unit_prices
-- Prices by the unit of a meter on a card that are for all models and valid at a moment, as recorded now; rate_card_price
-- (rate_card_id, coalesce(model, '')) where recorded now.
SELECT kind, params FROM rate_card_price
 WHERE rate_card_id = :rate_card_id AND coalesce(model, '') = '' AND meter = :meter AND kind = 'per_unit'
   AND valid @> :at::timestamptz AND upper_inf(recorded)
 ORDER BY price_id;

-- name: copy_prices
-- Prices of a card on another, for the time in which that has none of the same match; the exclusion constraint's index.
INSERT INTO rate_card_price (rate_card_id, meter, project_id, agent_id, model, tier, adapter, region, band_from, hours,
                             name, kind, params, valid, recorded)
SELECT :rate_card_id, p.meter, p.project_id, p.agent_id, p.model, p.tier, p.adapter, p.region, p.band_from, p.hours, p.name, p.kind,
       p.params, part, int8range(:batch_seq, NULL)
  FROM rate_card_price p
 CROSS JOIN LATERAL (
       SELECT coalesce(range_agg(o.valid), '{}') AS valid FROM rate_card_price o
        WHERE o.rate_card_id = :rate_card_id AND o.meter = p.meter AND o.name = p.name AND upper_inf(o.recorded)
          AND (o.project_id, o.agent_id, o.model, o.tier, o.adapter, o.region, coalesce(o.band_from, 0), o.hours)
              IS NOT DISTINCT FROM
              (p.project_id, p.agent_id, p.model, p.tier, p.adapter, p.region, coalesce(p.band_from, 0), p.hours)) own
 CROSS JOIN LATERAL unnest(tstzmultirange(p.valid) - own.valid) part
 WHERE p.rate_card_id = :like AND upper_inf(p.recorded)
 ORDER BY p.price_id;

-- name: find_open_subscriptions
-- Subscriptions of this customer that price some of the same models, or of this id, that overlap; the exclusion
-- constraints' indexes.
SELECT subscription_row_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to,
       subscription_id, customer_id, rate_card_id, zone, anchor_day, models
  FROM subscription
 WHERE (customer_id = :customer_id AND ranges_of(models) && ranges_of(:models::text[]) OR subscription_id = :subscription_id)
   AND valid && tstzrange(:valid_from, :valid_to) AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_subscriptions
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE subscription SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE subscription_row_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO subscription (subscription_id, customer_id, rate_card_id, zone, anchor_day, models, valid, recorded)
SELECT c.subscription_id, c.customer_id, c.rate_card_id, c.zone, c.anchor_day, c.models, part,
       int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part;

-- name: insert_subscription
-- A customer on a card; returns its row.
INSERT INTO subscription (subscription_id, customer_id, rate_card_id, zone, anchor_day, models, valid, recorded)
VALUES (:subscription_id, :customer_id, :rate_card_id, :zone, :anchor_day, :models,
        tstzrange(:valid_from, :valid_to), int8range(:batch_seq, NULL))
RETURNING subscription_row_id;

-- name: list_pricing
-- The subscriptions that price what a customer uses at a moment, its own or its payer's, as known at a cut-off, and which
-- of them prices a model.
SELECT s.subscription_id, s.payer_id, s.rate_card_id, o.models, s.models @> :model::text AS applies
  FROM subscriptions_of(ARRAY[:customer_id::text], :batch_seq) s
  JOIN subscription o ON o.subscription_id = s.subscription_id AND o.valid = s.agreed AND o.recorded @> :batch_seq::bigint
 WHERE s.valid @> :at::timestamptz
 ORDER BY s.subscription_id;

-- name: sum_model_cost
-- What usage of a model by a customer was allocated of its entity's cost on the entity's day that holds a moment, as known
-- at a cut-off.
SELECT x.currency, trim_scale(sum(x.device_cost + x.overhead_cost + x.gpu_cost)) AS amount
  FROM customer c
  JOIN entity e USING (entity_id)
 CROSS JOIN LATERAL (SELECT date_trunc('day', :at::timestamptz AT TIME ZONE e.zone) AS day) d
 CROSS JOIN LATERAL costs_at(:batch_seq, e.entity_id, d.day AT TIME ZONE e.zone, (d.day + interval '1 day') AT TIME ZONE e.zone) x
  JOIN usage_key k USING (usage_key_id)
 WHERE c.customer_id = :customer_id AND k.customer_id = :customer_id AND k.model = :model AND x.line = 'usage'
 GROUP BY 1 HAVING sum(x.device_cost + x.overhead_cost + x.gpu_cost) <> 0 ORDER BY 1;
