-- What was entered, one query for each resource. All take the same places: the id of one (NULL: all), the
-- entity (NULL: all), a moment (NULL: every validity recorded now), and where the page before ended.
-- The tables are small: each is a scan and a sort.

-- name: list_entities
-- Entities with their details.
SELECT e.entity_id, d.name, d.address, d.tax_number, d.email, d.country, d.electronic_address,
       d.payment_account, d.payment_link, d.language, e.currency, e.zone, e.rounding, e.invoice_prefix,
       e.default_tier, d.payment_days, d.review_times, d.review_above, d.overcharges, e.is_test,
       lower(d.valid) AS valid_from, upper(d.valid) AS valid_to, ARRAY[e.entity_id, sortable(lower(d.valid))] AS sort_key
  FROM entity e JOIN entity_detail d USING (entity_id)
 WHERE upper_inf(d.recorded) AND (:id::text IS NULL OR e.entity_id = :id)
   AND (:entity_id::text IS NULL OR e.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR d.valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[e.entity_id, sortable(lower(d.valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_customers
-- Customers with their details; without language or payment days they have the entity's.
SELECT c.customer_id, c.entity_id, d.name, c.kind, d.address, d.tax_number, d.email, d.country, d.electronic_address,
       d.buyer_reference, d.e_invoice, d.language, d.payment_days, d.invoiced_in, c.is_test, lower(d.valid) AS valid_from,
       upper(d.valid) AS valid_to,
       ARRAY[c.customer_id, sortable(lower(d.valid))] AS sort_key
  FROM customer c JOIN customer_detail d USING (customer_id)
 WHERE upper_inf(d.recorded) AND (:id::text IS NULL OR c.customer_id = :id)
   AND (:entity_id::text IS NULL OR c.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR d.valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[c.customer_id, sortable(lower(d.valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_aliases
-- Other systems' names of customers.
SELECT a.alias, a.customer_id, lower(a.valid) AS valid_from, upper(a.valid) AS valid_to,
       ARRAY[a.alias, sortable(lower(a.valid))] AS sort_key
  FROM customer_alias a JOIN customer c USING (customer_id)
 WHERE upper_inf(a.recorded) AND (:id::text IS NULL OR a.alias = :id)
   AND (:entity_id::text IS NULL OR c.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR a.valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[a.alias, sortable(lower(a.valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_parents
-- Whose children customers are.
SELECT p.customer_id, p.parent_id, lower(p.valid) AS valid_from, upper(p.valid) AS valid_to,
       ARRAY[p.customer_id, sortable(lower(p.valid))] AS sort_key
  FROM customer_parent p JOIN customer c USING (customer_id)
 WHERE upper_inf(p.recorded) AND (:id::text IS NULL OR p.customer_id = :id)
   AND (:entity_id::text IS NULL OR c.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR p.valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[p.customer_id, sortable(lower(p.valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_facilities
-- Sites.
SELECT facility_id, entity_id, name, zone, ARRAY[facility_id] AS sort_key
  FROM facility
 WHERE (:id::text IS NULL OR facility_id = :id)
   AND (:entity_id::text IS NULL OR entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[facility_id] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_pues
-- PUE and host power of sites.
SELECT p.facility_id, p.pue, p.host_mw_per_gpu, lower(p.valid) AS valid_from, upper(p.valid) AS valid_to,
       ARRAY[p.facility_id, sortable(lower(p.valid))] AS sort_key
  FROM facility_pue p JOIN facility f USING (facility_id)
 WHERE upper_inf(p.recorded) AND (:id::text IS NULL OR p.facility_id = :id)
   AND (:entity_id::text IS NULL OR f.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR p.valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[p.facility_id, sortable(lower(p.valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_energy_meters
-- What meters measure, and their calibration.
SELECT m.meter, m.facility_id, m.measures, m.gpu_uuids, m.gain, m.offset_mw,
       lower(m.valid) AS valid_from, upper(m.valid) AS valid_to,
       ARRAY[m.meter, sortable(lower(m.valid))] AS sort_key
  FROM energy_meter m JOIN facility f USING (facility_id)
 WHERE upper_inf(m.recorded) AND (:id::text IS NULL OR m.meter = :id)
   AND (:entity_id::text IS NULL OR f.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR m.valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[m.meter, sortable(lower(m.valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_assets
-- Hardware.
SELECT asset_id, entity_id, facility_id, name, terms, gpu_count, currency, purchase_price,
       residual_value, in_service, life_months, gpu_hour_rate, all_in, method, rate_percent, gpu_type,
       lower(valid) AS valid_from, upper(valid) AS valid_to, ARRAY[asset_id, sortable(lower(valid))] AS sort_key
  FROM asset
 WHERE upper_inf(recorded) AND (:id::text IS NULL OR asset_id = :id)
   AND (:entity_id::text IS NULL OR entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[asset_id, sortable(lower(valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_tariffs
-- Contracts for electricity.
SELECT t.tariff_id, t.facility_id, t.name, t.currency, ARRAY[t.tariff_id] AS sort_key
  FROM tariff t JOIN facility f USING (facility_id)
 WHERE (:id::text IS NULL OR t.tariff_id = :id)
   AND (:entity_id::text IS NULL OR f.entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[t.tariff_id] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_tariff_prices
-- Prices of electricity, of one tariff or all.
SELECT p.tariff_id, lower(p.period) AS start, upper(p.period) AS end, t.currency, p.price_per_mwh,
       ARRAY[p.tariff_id, sortable(lower(p.period))] AS sort_key
  FROM tariff_price p JOIN tariff t USING (tariff_id) JOIN facility f ON f.facility_id = t.facility_id
 WHERE upper_inf(p.recorded) AND (:id::text IS NULL OR p.tariff_id = :id)
   AND (:entity_id::text IS NULL OR f.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR p.period @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[p.tariff_id, sortable(lower(p.period))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_site_costs
-- What sites cost beside energy and hardware.
SELECT t.facility_id, t.name, t.currency, t.kind, t.params, lower(t.valid) AS valid_from, upper(t.valid) AS valid_to,
       ARRAY[t.facility_id, t.name, sortable(lower(t.valid))] AS sort_key
  FROM site_cost_term t JOIN facility f USING (facility_id)
 WHERE upper_inf(t.recorded) AND (:id::text IS NULL OR t.facility_id = :id)
   AND (:entity_id::text IS NULL OR f.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR t.valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[t.facility_id, t.name, sortable(lower(t.valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_utility_bills
-- What utilities asked for, by days of the site.
SELECT b.bill_id, b.facility_id, (lower(b.valid) AT TIME ZONE f.zone)::date AS first_day,
       (upper(b.valid) AT TIME ZONE f.zone)::date - 1 AS last_day, b.kwh, b.net AS amount, b.tax, b.currency, b.covers,
       b.reference, b.final, ARRAY[b.bill_id] AS sort_key
  FROM utility_bill b JOIN facility f USING (facility_id)
 WHERE upper_inf(b.recorded) AND (:id::text IS NULL OR b.bill_id = :id)
   AND (:entity_id::text IS NULL OR f.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR b.valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[b.bill_id] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_grid_factors
-- What a kWh of sites emits and drinks.
SELECT g.facility_id, g.kind, g.source, lower(g.period) AS start, upper(g.period) AS end, g.per_kwh,
       ARRAY[g.facility_id, g.kind, sortable(lower(g.period))] AS sort_key
  FROM grid_factor g JOIN facility f USING (facility_id)
 WHERE upper_inf(g.recorded) AND (:id::text IS NULL OR g.facility_id = :id)
   AND (:entity_id::text IS NULL OR f.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR g.period @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[g.facility_id, g.kind, sortable(lower(g.period))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_deployments
-- Which GPUs serve what.
SELECT deployment_id, entity_id, asset_id, model, tier, gpu_count, gpu_uuids, engine_instances,
       weight_version, weight_uncached, weight_cache_read, weight_cache_write, weight_output,
       weight_context, weight_step, idle_mw_per_gpu, slot_s, prefill_chunk, instance_gpus,
       trim_scale(round(gpu_parts / 7000000.0, 6)) AS gpu_share, mig_slices, gpu_split, lower(valid) AS valid_from, upper(valid) AS valid_to,
       ARRAY[deployment_id, sortable(lower(valid))] AS sort_key
  FROM deployment
 WHERE upper_inf(recorded) AND (:id::text IS NULL OR deployment_id = :id)
   AND (:entity_id::text IS NULL OR entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[deployment_id, sortable(lower(valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_weight_sets
-- What each kind of work takes at deployments, in place of what they were declared with.
SELECT deployment_id, weight_set_id, entity_id, version, source, uncached, cache_read, cache_write, output, context, step,
       idle_mw_per_gpu, evidence, unread, lower(valid) AS valid_from, upper(valid) AS valid_to,
       ARRAY[deployment_id, sortable(lower(valid))] AS sort_key
  FROM weight_set
 WHERE upper_inf(recorded) AND (:id::text IS NULL OR deployment_id = :id)
   AND (:entity_id::text IS NULL OR entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[deployment_id, sortable(lower(valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_idle_policies
-- Who pays for what stood idle.
SELECT entity_id, nullif(scope, '') AS scope, version, method, reserved, lower(valid) AS valid_from,
       upper(valid) AS valid_to, ARRAY[entity_id, scope, sortable(lower(valid))] AS sort_key
  FROM idle_policy
 WHERE upper_inf(recorded) AND (:id::text IS NULL OR entity_id = :id)
   AND (:entity_id::text IS NULL OR entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[entity_id, scope, sortable(lower(valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_rate_cards
-- Rate cards.
SELECT rate_card_id, entity_id, name, currency, ARRAY[rate_card_id] AS sort_key
  FROM rate_card
 WHERE (:id::text IS NULL OR rate_card_id = :id)
   AND (:entity_id::text IS NULL OR entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[rate_card_id] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_prices
-- Prices of rate cards, of one card or all.
SELECT p.price_id, p.rate_card_id, p.meter, p.project_id, p.agent_id, p.model, p.tier, p.adapter, p.region, p.band_from, p.hours, p.name,
       p.kind, p.params, r.currency, lower(p.valid) AS valid_from, upper(p.valid) AS valid_to,
       ARRAY[p.rate_card_id, p.meter, coalesce(p.model, ''), coalesce(p.tier, ''), p.name,
             sortable(lower(p.valid)), lpad(p.price_id::text, 20, '0')] AS sort_key
  FROM rate_card_price p JOIN rate_card r USING (rate_card_id)
 WHERE upper_inf(p.recorded) AND (:id::text IS NULL OR p.rate_card_id = :id)
   AND (:entity_id::text IS NULL OR r.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR p.valid @> :at::timestamptz)
   AND (:after::text[] IS NULL
        OR ARRAY[p.rate_card_id, p.meter, coalesce(p.model, ''), coalesce(p.tier, ''), p.name,
                 sortable(lower(p.valid)), lpad(p.price_id::text, 20, '0')] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_subscriptions
-- Who is on which rate card.
SELECT s.subscription_id, s.customer_id, s.rate_card_id, s.zone, s.anchor_day, s.models,
       lower(s.valid) AS valid_from, upper(s.valid) AS valid_to,
       ARRAY[s.subscription_id, sortable(lower(s.valid))] AS sort_key
  FROM subscription s JOIN customer c USING (customer_id)
 WHERE upper_inf(s.recorded) AND (:id::text IS NULL OR s.subscription_id = :id)
   AND (:entity_id::text IS NULL OR c.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR s.valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[s.subscription_id, sortable(lower(s.valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_tax_rates
-- What countries take.
SELECT r.country, r.kind, r.percent, lower(r.valid) AS valid_from, upper(r.valid) AS valid_to,
       ARRAY[r.country, r.kind, sortable(lower(r.valid))] AS sort_key
  FROM tax_rate r
 WHERE upper_inf(r.recorded) AND (:id::text IS NULL OR r.country = :id)
   AND (:at::timestamptz IS NULL OR r.valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[r.country, r.kind, sortable(lower(r.valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_tax_registrations
-- Where entities pay tax.
SELECT r.entity_id, r.country, r.tax_number, lower(r.valid) AS valid_from, upper(r.valid) AS valid_to,
       ARRAY[r.entity_id, r.country, sortable(lower(r.valid))] AS sort_key
  FROM tax_registration r
 WHERE upper_inf(r.recorded) AND (:id::text IS NULL OR r.entity_id = :id)
   AND (:entity_id::text IS NULL OR r.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR r.valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[r.entity_id, r.country, sortable(lower(r.valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_tax_treatments
-- How customers are taxed.
SELECT t.customer_id, t.country, t.treatment, t.included, t.reason, lower(t.valid) AS valid_from,
       upper(t.valid) AS valid_to, ARRAY[t.customer_id, sortable(lower(t.valid))] AS sort_key
  FROM tax_treatment t JOIN customer c USING (customer_id)
 WHERE upper_inf(t.recorded) AND (:id::text IS NULL OR t.customer_id = :id)
   AND (:entity_id::text IS NULL OR c.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR t.valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[t.customer_id, sortable(lower(t.valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_payments
-- What customers paid and got back, by day.
SELECT p.payment_id, p.entity_id, p.customer_id, p.kind, p.paid_on, p.currency, p.amount, p.on_account, p.invoice,
       p.reference, ARRAY[p.paid_on::text, p.entity_id, p.payment_id] AS sort_key
  FROM payment p
 WHERE (:id::text IS NULL OR p.payment_id = :id)
   AND (:entity_id::text IS NULL OR p.entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[p.paid_on::text, p.entity_id, p.payment_id] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_dunning_policies
-- When entities remind customers.
SELECT p.entity_id, p.reminder_days, lower(p.valid) AS valid_from, upper(p.valid) AS valid_to,
       ARRAY[p.entity_id, sortable(lower(p.valid))] AS sort_key
  FROM dunning_policy p
 WHERE upper_inf(p.recorded) AND (:id::text IS NULL OR p.entity_id = :id)
   AND (:entity_id::text IS NULL OR p.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR p.valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[p.entity_id, sortable(lower(p.valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_dunning_letters
-- Letters about what is overdue, in their order.
SELECT l.letter_id, l.entity_id, l.customer_id, l.level, l.written_on, l.currency, i.open, i.invoices,
       ARRAY[lpad(l.letter_id::text, 20, '0')] AS sort_key
  FROM dunning_letter l
 CROSS JOIN LATERAL (SELECT sum(i.open) AS open, array_agg(n.number ORDER BY n.due_on, n.number COLLATE "C") AS invoices
                       FROM dunning_letter_item i JOIN invoice n USING (invoice_id) WHERE i.letter_id = l.letter_id) i
 WHERE (:id::text IS NULL OR l.letter_id::text = :id)
   AND (:entity_id::text IS NULL OR l.entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[lpad(l.letter_id::text, 20, '0')] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_bank_entries
-- What banks booked, by day, and what became of it.
SELECT e.entry_id, e.entity_id, e.account, e.bank_reference, e.booked_on, e.currency, e.amount, e.payer, e.payer_account,
       e.reference, o.kind AS state, o.payments, o.reason, ARRAY[e.booked_on::text, e.entry_id] AS sort_key
  FROM bank_entry e
 CROSS JOIN LATERAL (
   SELECT (array_agg(o.kind ORDER BY o.outcome_id DESC))[1] AS kind, (array_agg(o.reason ORDER BY o.outcome_id DESC))[1] AS reason,
          coalesce(array_agg(o.payment_id ORDER BY o.outcome_id) FILTER (WHERE o.payment_id IS NOT NULL), '{}') AS payments
     FROM bank_entry_outcome o WHERE o.entry_id = e.entry_id) o
 WHERE (:id::text IS NULL OR e.entry_id = :id)
   AND (:entity_id::text IS NULL OR e.entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[e.booked_on::text, e.entry_id] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_disputes
-- What customers dispute of invoices, in their order, and how it ended.
SELECT d.dispute_id, d.entity_id, d.customer_id, i.number AS invoice, d.line_no, d.reason, d.opened_at, r.outcome,
       n.number AS credit_note, r.reason AS resolution, r.resolved_at, ARRAY[lpad(d.dispute_id::text, 20, '0')] AS sort_key
  FROM dispute d
  JOIN invoice i USING (invoice_id)
  LEFT JOIN dispute_resolution r USING (dispute_id)
  LEFT JOIN credit_note n USING (credit_note_id)
 WHERE (:id::text IS NULL OR d.dispute_id::text = :id)
   AND (:entity_id::text IS NULL OR d.entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[lpad(d.dispute_id::text, 20, '0')] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_closes
-- Changes of months of entities, in their order; primary key.
SELECT s.entity_id, to_char(s.month, 'YYYY-MM') AS month, s.change_no, s.state, s.changed_at, s.actor, s.reason, s.accepted,
       s.lines, encode(s.seal, 'hex') AS seal,
       ARRAY[s.entity_id, to_char(s.month, 'YYYY-MM'), lpad(s.change_no::text, 10, '0')] AS sort_key
  FROM month_state s
 WHERE (:id::text IS NULL OR s.entity_id = :id)
   AND (:entity_id::text IS NULL OR s.entity_id = :entity_id)
   AND (:after::text[] IS NULL
        OR ARRAY[s.entity_id, to_char(s.month, 'YYYY-MM'), lpad(s.change_no::text, 10, '0')] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_credit_notes
-- What was taken back of invoices, by time of issue.
SELECT n.number, n.credit_note_id, n.entity_id, n.customer_id, i.number AS invoice, n.currency, n.net_total, n.tax_total,
       n.payable, n.on_account, n.issued_at, n.reason, n.voids,
       ARRAY[sortable(n.issued_at), n.entity_id, n.number] AS sort_key
  FROM credit_note n JOIN invoice i USING (invoice_id)
 WHERE (:id::text IS NULL OR n.number = :id)
   AND (:entity_id::text IS NULL OR n.entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[sortable(n.issued_at), n.entity_id, n.number] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_budgets
-- What may be used in a period.
SELECT b.budget_id, b.customer_id, b.project_id, b.api_key_id, b.agent_id, b.agent_run_id, b.period, b.anchor_day, b.zone,
       b.unit, b.currency, b.amount, b.times_own_mean, b.hard, b.alert_percents, lower(b.valid) AS valid_from,
       upper(b.valid) AS valid_to, ARRAY[b.budget_id, sortable(lower(b.valid))] AS sort_key
  FROM budget b JOIN customer c USING (customer_id)
 WHERE upper_inf(b.recorded) AND (:id::text IS NULL OR b.budget_id = :id)
   AND (:entity_id::text IS NULL OR c.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR b.valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[b.budget_id, sortable(lower(b.valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_budget_balances
-- What of budgets is used and held, by the terms recorded now; what has expired is not held.
SELECT h.budget_id, h.customer_id, h.run_id AS agent_run_id, h.period_start, b.unit, b.currency, h.used,
       h.held - e.expired AS held, t.ceiling, t.ceiling - h.used - h.held + e.expired AS left,
       ARRAY[h.budget_id, h.run_id, sortable(h.period_start)] AS sort_key
  FROM budget_balance h
  JOIN customer c USING (customer_id)
 CROSS JOIN LATERAL (SELECT * FROM budget o WHERE o.budget_id = h.budget_id AND upper_inf(o.recorded)
                      ORDER BY o.valid @> greatest(h.period_start, lower(o.valid)) DESC, o.valid DESC LIMIT 1) b
 CROSS JOIN LATERAL (SELECT trim_scale(least(b.amount, b.times_own_mean * h.own_mean)) AS ceiling) t
 CROSS JOIN LATERAL (SELECT coalesce(sum(o.amount), 0) AS expired FROM reservation_hold o
                      WHERE o.budget_id = h.budget_id AND o.run_id = h.run_id AND o.period_start = h.period_start
                        AND o.expires_at <= now()) e
 WHERE (:id::text IS NULL OR h.budget_id = :id)
   AND (:entity_id::text IS NULL OR c.entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[h.budget_id, h.run_id, sortable(h.period_start)] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_budget_alerts
-- What budgets had to say, in the order in which they did.
SELECT a.budget_id, a.customer_id, a.run_id AS agent_run_id, a.period_start, a.kind, a.percent, a.used, a.held, a.ceiling,
       a.noticed_at, ARRAY[lpad(a.alert_id::text, 20, '0')] AS sort_key
  FROM budget_alert a JOIN customer c USING (customer_id)
 WHERE (:id::text IS NULL OR a.budget_id = :id)
   AND (:entity_id::text IS NULL OR c.entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[lpad(a.alert_id::text, 20, '0')] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_reservations
-- What was held, by time, and how it ended.
SELECT r.reservation_id, r.customer_id, r.said ->> 'model' AS model, r.said ->> 'agent_id' AS agent_id,
       r.said ->> 'agent_run_id' AS agent_run_id, (r.said ->> 'input_tokens_max')::bigint AS input_tokens_max,
       (r.said ->> 'output_tokens_max')::bigint AS output_tokens_max,
       CASE WHEN r.said ? 'extras_max' THEN coalesce(
         (SELECT jsonb_object_agg(x.meter, x.quantity)
            FROM jsonb_to_recordset(r.said -> 'extras_max') AS x (meter text, quantity bigint)), '{}') END AS extras_max, r.reserved_at, r.expires_at,
       coalesce(e.kind, CASE WHEN r.expires_at <= now() THEN 'expired' ELSE 'held' END) AS state,
       coalesce(e.ended_at, CASE WHEN r.expires_at <= now() THEN r.expires_at END) AS ended_at,
       ARRAY[sortable(r.reserved_at), r.customer_id, r.reservation_id] AS sort_key
  FROM reservation r
  JOIN customer c USING (customer_id)
  LEFT JOIN reservation_end e USING (customer_id, reservation_id)
 WHERE (:id::text IS NULL OR r.reservation_id = :id)
   AND (:entity_id::text IS NULL OR c.entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[sortable(r.reserved_at), r.customer_id, r.reservation_id] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_grants
-- What customers hold in advance, by day, and what became of it.
SELECT g.grant_id, g.entity_id, g.customer_id, g.kind, g.currency, g.amount, b.drawn, b.expired, b.left_over AS left,
       g.priority, g.meters, g.models, g.granted_on, g.starts_on, g.expires_on, g.order_id, g.reference,
       ARRAY[g.granted_on::text, g.entity_id, g.grant_id] AS sort_key
  FROM credit_grant g JOIN grant_balances() b USING (entity_id, grant_id)
 WHERE (:id::text IS NULL OR g.grant_id = :id)
   AND (:entity_id::text IS NULL OR g.entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[g.granted_on::text, g.entity_id, g.grant_id] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_credit_balances
-- What became of all that each customer holds in advance, by currency, and what pays for usage of today.
SELECT s.customer_id, s.entity_id, s.currency, s.granted, s.drawn, s.expired, s.left, s.usable, r.low_balance,
       r.top_up_amount, ARRAY[s.customer_id, s.currency] AS sort_key
  FROM (
    SELECT g.customer_id, g.entity_id, g.currency::text AS currency, sum(g.amount) AS granted, sum(b.drawn) AS drawn,
           sum(b.expired) AS expired, sum(b.left_over) AS left,
           coalesce(sum(b.left_over) FILTER (WHERE g.starts_on <= t.today AND (g.expires_on IS NULL OR g.expires_on > t.today)),
                    0) AS usable
      FROM credit_grant g
      JOIN grant_balances() b USING (entity_id, grant_id)
      JOIN entity e ON e.entity_id = g.entity_id
     CROSS JOIN LATERAL (SELECT (now() AT TIME ZONE e.zone)::date AS today) t
     WHERE (:id::text IS NULL OR g.customer_id = :id) AND (:entity_id::text IS NULL OR g.entity_id = :entity_id)
     GROUP BY 1, 2, 3) s
  LEFT JOIN top_up_rule r ON r.customer_id = s.customer_id AND r.currency = s.currency AND upper_inf(r.recorded)
                         AND r.valid @> now()
 WHERE :after::text[] IS NULL OR ARRAY[s.customer_id, s.currency] > :after::text[]
 ORDER BY sort_key LIMIT :limit;

-- name: list_credit_events
-- What balances had to say, in the order in which they did; the number of an order is its event's.
SELECT v.event_id, v.entity_id, v.customer_id, v.currency, v.kind, v.about, v.amount, v.noticed_at,
       ARRAY[lpad(v.event_id::text, 20, '0')] AS sort_key
  FROM credit_event v
 WHERE (:id::text IS NULL OR v.customer_id = :id)
   AND (:entity_id::text IS NULL OR v.entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[lpad(v.event_id::text, 20, '0')] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_top_up_rules
-- When balances are low, and what is ordered then.
SELECT r.customer_id, r.currency, r.low_balance, r.top_up_amount, lower(r.valid) AS valid_from, upper(r.valid) AS valid_to,
       ARRAY[r.customer_id, r.currency, sortable(lower(r.valid))] AS sort_key
  FROM top_up_rule r JOIN customer c USING (customer_id)
 WHERE upper_inf(r.recorded) AND (:id::text IS NULL OR r.customer_id = :id)
   AND (:entity_id::text IS NULL OR c.entity_id = :entity_id)
   AND (:at::timestamptz IS NULL OR r.valid @> :at::timestamptz)
   AND (:after::text[] IS NULL OR ARRAY[r.customer_id, r.currency, sortable(lower(r.valid))] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_agent_runs
-- Runs of agents, by customer, with what their share of the charges of their days and keys comes to.
WITH run AS (
  SELECT r.customer_id, r.agent_run_id, min(k.agent_id) AS agent_id, max(r.parent_agent_id) AS parent_agent_id,
         max(r.parent_run_id) AS parent_run_id, greatest(max(r.step), sum(r.requests)) AS steps,
         min(r.first_at) AS first_at, max(r.last_at) AS last_at, sum(r.requests) AS requests,
         sum(r.uncached) + sum(r.cache_read) + sum(r.cache_write) AS input_tokens,
         sum(r.visible) + sum(r.reasoning) AS output_tokens, e.zone
    FROM agent_run_delta r
    JOIN usage_key k USING (usage_key_id)
    JOIN customer c ON c.customer_id = r.customer_id
    JOIN entity e ON e.entity_id = c.entity_id
   WHERE (:id::text IS NULL OR r.agent_run_id = :id)
     AND (:entity_id::text IS NULL OR c.entity_id = :entity_id)
     AND (:after::text[] IS NULL OR ARRAY[r.customer_id, r.agent_run_id] > :after::text[])
   GROUP BY r.customer_id, r.agent_run_id, e.zone
   ORDER BY ARRAY[r.customer_id, r.agent_run_id] LIMIT :limit
)
SELECT n.customer_id, n.agent_id, n.agent_run_id, n.parent_agent_id, n.parent_run_id, b.child_runs, to_jsonb(n.steps) AS steps, n.first_at,
       n.last_at, coalesce(l.lasted_s, 0)::bigint AS lasted_s, round(l.lasted_s / u.mean_s, 1) AS times_usual,
       coalesce(n.last_at > now() - interval '1 hour', false) AS running, to_jsonb(n.requests) AS requests,
       to_jsonb(n.input_tokens) AS input_tokens, to_jsonb(n.output_tokens) AS output_tokens, coalesce(g.extras, '{}') AS extras,
       a.currency, a.amount, ARRAY[n.customer_id, n.agent_run_id] AS sort_key
  FROM run n
 CROSS JOIN LATERAL (SELECT extract(epoch FROM n.last_at - n.first_at) AS lasted_s) l
 CROSS JOIN LATERAL (SELECT count(DISTINCT x.agent_run_id) AS child_runs FROM agent_run_delta x
                      WHERE x.customer_id = n.customer_id AND x.parent_run_id = n.agent_run_id) b
 CROSS JOIN LATERAL (
   SELECT CASE WHEN count(*) >= 5 THEN nullif(avg(o.lasted_s), 0) END AS mean_s
     FROM (SELECT extract(epoch FROM max(x.last_at) - min(x.first_at)) AS lasted_s
             FROM agent_run_delta x JOIN usage_key k USING (usage_key_id)
            WHERE x.customer_id = n.customer_id AND k.agent_id = n.agent_id AND x.agent_run_id <> n.agent_run_id
            GROUP BY x.agent_run_id) o) u
 CROSS JOIN LATERAL (
   SELECT jsonb_object_agg(o.meter, o.quantity) AS extras
     FROM (SELECT x.meter, sum(x.quantity) AS quantity FROM agent_run_delta x
            WHERE x.customer_id = n.customer_id AND x.agent_run_id = n.agent_run_id AND x.meter IS NOT NULL
            GROUP BY 1 HAVING sum(x.quantity) <> 0) o) g
 CROSS JOIN LATERAL (
   -- What parts are charged as themselves is no more of the meter that they are a part of.
   WITH used AS (
     SELECT x.usage_key_id, (x.window_start AT TIME ZONE n.zone)::date AS day, q.meter, sum(q.quantity) AS quantity
       FROM agent_run_delta x
      CROSS JOIN LATERAL (VALUES ('input_uncached', x.uncached), ('input_cache_read', x.cache_read),
                                 ('input_cache_write', x.cache_write), ('output_visible', x.visible),
                                 ('output_reasoning', x.reasoning), ('requests', x.requests), (x.meter, x.quantity)) AS q (meter, quantity)
      WHERE x.customer_id = n.customer_id AND x.agent_run_id = n.agent_run_id AND q.quantity <> 0
      GROUP BY 1, 2, 3
   ), priced AS (
     SELECT u.usage_key_id, u.day, u.meter, u.quantity, c.currency, c.amount, c.quantity AS of_all
       FROM used u
       JOIN LATERAL (SELECT h.currency::text AS currency, sum(h.quantity) AS quantity, sum(h.amount) AS amount FROM charge h
                      WHERE h.customer_id = n.customer_id AND h.usage_key_id = u.usage_key_id AND h.meter = u.meter
                        AND h.amount IS NOT NULL AND h.day_start >= u.day - interval '1 day'
                        AND h.day_start < u.day + interval '3 days' AND (h.day_start AT TIME ZONE n.zone)::date = u.day
                      GROUP BY 1) c ON true
   )
   SELECT min(p.currency) AS currency, sum(round((p.quantity - r.quantity) * p.amount / nullif(p.of_all, 0), 12)) AS amount
     FROM priced p
    CROSS JOIN LATERAL (SELECT coalesce(sum(o.quantity), 0) AS quantity FROM priced o
                         WHERE o.usage_key_id = p.usage_key_id AND o.day = p.day AND part_of(o.meter) = p.meter) r) a
 ORDER BY sort_key;

-- name: list_fx_rates
-- Exchange rates, of one pair like EUR-USD or all.
SELECT base || '-' || quote AS pair, base, quote, day, rate, source,
       ARRAY[base || '-' || quote, day::text] AS sort_key
  FROM fx_rate
 WHERE upper_inf(recorded) AND (:id::text IS NULL OR base || '-' || quote = :id)
   AND (:at::timestamptz IS NULL OR day = (:at::timestamptz AT TIME ZONE 'UTC')::date)
   AND (:after::text[] IS NULL OR ARRAY[base || '-' || quote, day::text] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_keys
-- API keys without their secrets.
SELECT k.key_id, k.role, k.name, k.entity_id, k.customer_id, k.sources, k.customers, k.tier,
       k.created_at, r.revoked_at, ARRAY[sortable(k.created_at), k.key_id] AS sort_key
  FROM api_key k LEFT JOIN api_key_revocation r USING (key_id)
 WHERE (:id::text IS NULL OR k.key_id = :id)
   AND (:entity_id::text IS NULL OR k.entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[sortable(k.created_at), k.key_id] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_webhooks
-- Where systems are told what happened, and whether they are.
SELECT w.webhook_id, w.entity_id, w.customer_id, w.url, w.events, w.entered_at, coalesce(s.active, true) AS active,
       coalesce(s.reason, '') AS reason,
       (SELECT max(k.made_at) FROM webhook_secret k WHERE k.webhook_id = w.webhook_id) AS secret_since,
       ARRAY[w.webhook_id] AS sort_key
  FROM webhook w
  LEFT JOIN LATERAL (SELECT s.active, s.reason FROM webhook_state s WHERE s.webhook_id = w.webhook_id
                      ORDER BY s.state_id DESC LIMIT 1) s ON true
 WHERE (:id::text IS NULL OR w.webhook_id = :id)
   AND (:entity_id::text IS NULL OR w.entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[w.webhook_id] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_notices
-- What happened, by time.
SELECT n.notice_id, n.event, n.entity_id, n.customer_id, n.subject, n.noticed_at, n.data,
       (SELECT count(*)::int FROM webhook w JOIN notice_due d USING (webhook_id)
         WHERE w.entity_id = n.entity_id AND d.notice_id = n.notice_id) AS waiting,
       ARRAY[sortable(n.noticed_at), n.notice_id] AS sort_key
  FROM notice n
 WHERE (:id::text IS NULL OR n.notice_id = :id)
   AND (:entity_id::text IS NULL OR n.entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[sortable(n.noticed_at), n.notice_id] > :after::text[])
 ORDER BY sort_key LIMIT :limit;

-- name: list_deliveries
-- What came of sending notices, in the order in which it was tried.
SELECT d.notice_id, d.webhook_id, n.event, d.tried_at, d.outcome, d.status, d.detail, d.next_at,
       ARRAY[lpad(d.delivery_id::text, 20, '0')] AS sort_key
  FROM notice_delivery d JOIN notice n USING (notice_id)
 WHERE (:id::text IS NULL OR d.notice_id = :id)
   AND (:entity_id::text IS NULL OR n.entity_id = :entity_id)
   AND (:after::text[] IS NULL OR ARRAY[lpad(d.delivery_id::text, 20, '0')] > :after::text[])
 ORDER BY sort_key LIMIT :limit;
