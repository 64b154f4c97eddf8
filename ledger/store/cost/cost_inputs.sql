-- name: find_facility
-- A site by its primary key.
SELECT facility_id, entity_id, name, zone FROM facility WHERE facility_id = :facility_id;

-- name: insert_facility
-- A new site.
INSERT INTO facility (facility_id, entity_id, name, zone, batch_seq)
VALUES (:facility_id, :entity_id, :name, :zone, :batch_seq);

-- name: find_open_pues
-- PUE rows of a site that overlap; the exclusion constraint's index.
SELECT pue_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, facility_id, pue,
       host_mw_per_gpu
  FROM facility_pue
 WHERE facility_id = :facility_id AND valid && tstzrange(:valid_from, :valid_to)
   AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_pues
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE facility_pue SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE pue_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO facility_pue (facility_id, pue, host_mw_per_gpu, valid, recorded)
SELECT c.facility_id, c.pue, c.host_mw_per_gpu, part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part;

-- name: insert_pue
-- What a site adds to a GPU; returns its row.
INSERT INTO facility_pue (facility_id, pue, host_mw_per_gpu, valid, recorded)
VALUES (:facility_id, :pue, :host_mw_per_gpu, tstzrange(:valid_from, :valid_to),
        int8range(:batch_seq, NULL))
RETURNING pue_id;

-- name: find_open_energy_meters
-- What a meter measures, as far as it overlaps; the exclusion constraint's index.
SELECT energy_meter_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, meter, facility_id,
       measures, gpu_uuids, gain, offset_mw
  FROM energy_meter
 WHERE meter = :meter AND valid && tstzrange(:valid_from, :valid_to) AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_energy_meters
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE energy_meter SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE energy_meter_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO energy_meter (meter, facility_id, measures, gpu_uuids, gain, offset_mw, valid, recorded)
SELECT c.meter, c.facility_id, c.measures, c.gpu_uuids, c.gain, c.offset_mw, part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part;

-- name: insert_energy_meter
-- What a meter measures, and its calibration; returns its row.
INSERT INTO energy_meter (meter, facility_id, measures, gpu_uuids, gain, offset_mw, valid, recorded)
VALUES (:meter, :facility_id, :measures, :gpu_uuids::text[], :gain, :offset_mw,
        tstzrange(:valid_from, :valid_to), int8range(:batch_seq, NULL))
RETURNING energy_meter_id;

-- name: find_open_assets
-- Rows of an asset that overlap; the exclusion constraint's index.
SELECT asset_row_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, asset_id,
       entity_id, facility_id, name, terms, gpu_count, currency, purchase_price, residual_value,
       in_service, life_months, gpu_hour_rate, all_in, method, rate_percent, gpu_type
  FROM asset
 WHERE asset_id = :asset_id AND valid && tstzrange(:valid_from, :valid_to) AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_assets
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE asset SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE asset_row_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO asset (asset_id, entity_id, facility_id, name, terms, gpu_count, currency, purchase_price,
                   residual_value, in_service, life_months, gpu_hour_rate, all_in, method,
                   rate_percent, gpu_type, valid, recorded)
SELECT c.asset_id, c.entity_id, c.facility_id, c.name, c.terms, c.gpu_count, c.currency,
       c.purchase_price, c.residual_value, c.in_service, c.life_months, c.gpu_hour_rate, c.all_in, c.method, c.rate_percent,
       c.gpu_type, part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part;

-- name: insert_asset
-- Hardware; returns its row.
INSERT INTO asset (asset_id, entity_id, facility_id, name, terms, gpu_count, currency, purchase_price,
                   residual_value, in_service, life_months, gpu_hour_rate, all_in, method,
                   rate_percent, gpu_type, valid, recorded)
VALUES (:asset_id, :entity_id, :facility_id, :name, :terms, :gpu_count, :currency, :purchase_price,
        :residual_value, :in_service, :life_months, :gpu_hour_rate, :all_in, :method, :rate_percent, :gpu_type,
        tstzrange(:valid_from, :valid_to), int8range(:batch_seq, NULL))
RETURNING asset_row_id;

-- name: find_tariff
-- A tariff by its primary key.
SELECT tariff_id, facility_id, name, currency FROM tariff WHERE tariff_id = :tariff_id;

-- name: insert_tariff
-- A new tariff, still without prices.
INSERT INTO tariff (tariff_id, facility_id, name, currency, batch_seq)
VALUES (:tariff_id, :facility_id, :name, :currency, :batch_seq);

-- name: find_open_tariff_prices
-- Prices of a site that overlap [since, until), in order; the exclusion constraint's index.
SELECT tariff_id, lower(period) AS valid_from, upper(period) AS valid_to, price_per_mwh
  FROM tariff_price
 WHERE facility_id = :facility_id AND period && tstzrange(:since, :until) AND upper_inf(recorded)
 ORDER BY period;

-- name: find_price_holes
-- Times between the prices of a site of which it has none, if they touch [since, until]; all its prices are read.
SELECT ended AS since, begins AS until
  FROM (SELECT upper(period) AS ended, lead(lower(period)) OVER (ORDER BY lower(period)) AS begins
          FROM tariff_price WHERE facility_id = :facility_id AND upper_inf(recorded)) neighbours
 WHERE begins > ended AND ended <= :until AND begins >= :since
 ORDER BY ended;

-- name: supersede_tariff_prices
-- Closes the prices of a site that the offered periods overlap, and enters again what is left of them.
WITH offered AS (
  SELECT range_agg(tstzrange(o.start_at, o.end_at)) AS periods
    FROM unnest(:starts::timestamptz[], :ends::timestamptz[]) AS o(start_at, end_at)),
closed AS (
  UPDATE tariff_price t SET recorded = int8range(lower(t.recorded), :batch_seq)
    FROM offered o
   WHERE t.facility_id = :facility_id AND upper_inf(t.recorded) AND t.period && o.periods
  RETURNING t.*)
INSERT INTO tariff_price (tariff_id, facility_id, period, price_per_mwh, recorded)
SELECT c.tariff_id, c.facility_id, part, c.price_per_mwh, int8range(:batch_seq, NULL)
  FROM closed c, offered o, unnest(tstzmultirange(c.period) - o.periods) part;

-- name: find_open_deployments
-- Rows of a deployment that overlap; the exclusion constraint's index.
SELECT deployment_row_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to,
       deployment_id, entity_id, asset_id, model, tier, gpu_count, gpu_uuids, engine_instances,
       weight_version, weight_uncached, weight_cache_read, weight_cache_write, weight_output,
       weight_context, weight_step, idle_mw_per_gpu, slot_s, prefill_chunk, instance_gpus, gpu_parts,
       mig_slices, gpu_split
  FROM deployment
 WHERE deployment_id = :deployment_id AND valid && tstzrange(:valid_from, :valid_to)
   AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: list_asset_deployments
-- Every deployment on an asset that overlaps, as recorded now; a scan, the table is small.
SELECT deployment_row_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to,
       deployment_id, gpu_count, gpu_parts
  FROM deployment
 WHERE asset_id = :asset_id AND valid && tstzrange(:valid_from, :valid_to) AND upper_inf(recorded)
 ORDER BY deployment_id, valid;

-- name: supersede_deployments
-- Closes rows with their members; enters again what is left outside the new validity; primary key.
WITH closed AS (
  UPDATE deployment SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE deployment_row_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO deployment (deployment_id, entity_id, asset_id, model, tier, gpu_count, gpu_uuids,
                        engine_instances, weight_version, weight_uncached, weight_cache_read,
                        weight_cache_write, weight_output, weight_context, weight_step, idle_mw_per_gpu,
                        slot_s, prefill_chunk, instance_gpus, gpu_parts, mig_slices, gpu_split, valid, recorded)
SELECT c.deployment_id, c.entity_id, c.asset_id, c.model, c.tier, c.gpu_count, c.gpu_uuids,
       c.engine_instances, c.weight_version, c.weight_uncached, c.weight_cache_read,
       c.weight_cache_write, c.weight_output, c.weight_context, c.weight_step, c.idle_mw_per_gpu,
       c.slot_s, c.prefill_chunk, c.instance_gpus, c.gpu_parts, c.mig_slices, c.gpu_split, part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part
RETURNING deployment_row_id;

-- name: find_open_weight_sets
-- Weight sets of a deployment that overlap; the exclusion constraint's index.
SELECT weight_set_row_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, weight_set_id, deployment_id,
       entity_id, version, source, uncached, cache_read, cache_write, output, context, step, idle_mw_per_gpu, evidence, unread
  FROM weight_set
 WHERE deployment_id = :deployment_id AND valid && tstzrange(:valid_from, :valid_to) AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_weight_sets
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE weight_set SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE weight_set_row_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO weight_set (weight_set_id, deployment_id, entity_id, version, source, uncached, cache_read, cache_write,
                        output, context, step, idle_mw_per_gpu, evidence, unread, valid, recorded)
SELECT c.weight_set_id, c.deployment_id, c.entity_id, c.version, c.source, c.uncached, c.cache_read, c.cache_write,
       c.output, c.context, c.step, c.idle_mw_per_gpu, c.evidence, c.unread, part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part;

-- name: insert_weight_set
-- What each kind of work takes; returns its row.
INSERT INTO weight_set (weight_set_id, deployment_id, entity_id, version, source, uncached, cache_read, cache_write,
                        output, context, step, idle_mw_per_gpu, evidence, unread, valid, recorded)
VALUES (:weight_set_id, :deployment_id, :entity_id, :version, :source, :uncached, :cache_read, :cache_write,
        :output, :context, :step, :idle_mw_per_gpu, :evidence, :unread, tstzrange(:valid_from, :valid_to),
        int8range(:batch_seq, NULL))
RETURNING weight_set_row_id;

-- name: find_other_weights
-- A weight set of a deployment under this version whose weights are others, whenever it was recorded; a scan, the table
-- is small.
SELECT weight_set_id FROM weight_set
 WHERE deployment_id = :deployment_id AND version = :version
   AND (uncached, cache_read, cache_write, output, context, step)
       <> (:uncached::int, :cache_read::int, :cache_write::int, :output::int, :context::int, :step::int)
 LIMIT 1;

-- name: close_members
-- Closes the members of closed deployments; a scan, the table is small.
UPDATE deployment_member SET recorded = int8range(lower(recorded), :batch_seq)
 WHERE deployment_row_id = ANY(:row_ids::bigint[]);

-- name: insert_deployment
-- Which GPUs serve what; returns its row.
INSERT INTO deployment (deployment_id, entity_id, asset_id, model, tier, gpu_count, gpu_uuids,
                        engine_instances, weight_version, weight_uncached, weight_cache_read,
                        weight_cache_write, weight_output, weight_context, weight_step, idle_mw_per_gpu,
                        slot_s, prefill_chunk, instance_gpus, gpu_parts, mig_slices, gpu_split, valid, recorded)
VALUES (:deployment_id, :entity_id, :asset_id, :model, :tier, :gpu_count, :gpu_uuids,
        :engine_instances, :weight_version, :weight_uncached, :weight_cache_read,
        :weight_cache_write, :weight_output, :weight_context, :weight_step, :idle_mw_per_gpu, :slot_s,
        :prefill_chunk, :instance_gpus, :gpu_parts, :mig_slices, :gpu_split, tstzrange(:valid_from, :valid_to),
        int8range(:batch_seq, NULL))
RETURNING deployment_row_id;

-- name: find_open_members
-- Who else has these GPUs or instances meanwhile; the exclusion constraint's index.
SELECT m.deployment_row_id AS row_id, lower(m.valid) AS valid_from, upper(m.valid) AS valid_to,
       m.deployment_id, m.kind, m.member, m.parts AS gpu_parts, d.asset_id, d.mig_slices, d.gpu_split, d.slot_s
  FROM deployment_member m JOIN deployment d USING (deployment_row_id)
 WHERE ((m.kind = 'gpu' AND m.member = ANY(:gpu_uuids::text[]))
        OR (m.kind = 'instance' AND m.member = ANY(:engine_instances::text[])))
   AND m.valid && tstzrange(:valid_from, :valid_to) AND upper_inf(m.recorded)
 ORDER BY m.kind, m.member, m.valid;

-- name: insert_members
-- The members of these deployments, from their own lists; primary key.
INSERT INTO deployment_member (deployment_row_id, deployment_id, member, kind, parts, valid, recorded)
SELECT d.deployment_row_id, d.deployment_id, m.member, m.kind, m.parts, d.valid, d.recorded
  FROM deployment d,
       LATERAL (SELECT g AS member, 'gpu' AS kind, d.gpu_parts AS parts FROM unnest(d.gpu_uuids) g
                UNION ALL SELECT i, 'instance', 7000000 FROM unnest(d.engine_instances) i) m
 WHERE d.deployment_row_id = ANY(:row_ids::bigint[]);

-- name: find_open_fx_rates
-- The rates already there for these pairs and days; the exclusion constraint's index.
SELECT f.base, f.quote, f.day, f.rate, f.source
  FROM unnest(:bases::text[], :quotes::text[], :days::date[]) AS offered(base, quote, day)
  JOIN fx_rate f ON f.base = offered.base AND f.quote = offered.quote AND f.day = offered.day
                AND upper_inf(f.recorded);

-- name: find_fx_rates_before
-- Of each of these rates the one published before it, at most `carried_days` before, of the pair or of the pair turned; the
-- exclusion constraint's index.
SELECT f.base, f.quote, f.day, f.rate, before.day AS before_day, before.rate AS before_rate, before.turned
  FROM unnest(:bases::text[], :quotes::text[], :days::date[]) AS offered(base, quote, day)
  JOIN fx_rate f ON f.base = offered.base AND f.quote = offered.quote AND f.day = offered.day
                AND upper_inf(f.recorded)
 CROSS JOIN LATERAL (
  SELECT b.day, b.rate, false AS turned FROM fx_rate b
   WHERE b.base = f.base AND b.quote = f.quote AND b.day < f.day AND b.day >= f.day - :carried_days::int
     AND upper_inf(b.recorded)
   UNION ALL
  SELECT b.day, b.rate, true FROM fx_rate b
   WHERE b.base = f.quote AND b.quote = f.base AND b.day < f.day AND b.day >= f.day - :carried_days::int
     AND upper_inf(b.recorded)
   ORDER BY day DESC, turned LIMIT 1) AS before
 ORDER BY f.day, f.base, f.quote;

-- name: close_fx_rates
-- Closes the rates of these pairs and days.
UPDATE fx_rate f SET recorded = int8range(lower(f.recorded), :batch_seq)
  FROM unnest(:bases::text[], :quotes::text[], :days::date[]) AS offered(base, quote, day)
 WHERE f.base = offered.base AND f.quote = offered.quote AND f.day = offered.day
   AND upper_inf(f.recorded);
