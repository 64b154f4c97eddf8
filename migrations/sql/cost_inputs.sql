-- What the factory costs: sites, hardware, power prices, and which GPUs serve what.
-- Slow facts are bitemporal: valid in the world, recorded in the stored order.

CREATE TABLE facility (
  facility_id text PRIMARY KEY CHECK (facility_id <> ''),
  entity_id   text NOT NULL REFERENCES entity,
  name        text NOT NULL,
  zone        text NOT NULL,
  batch_seq   bigint NOT NULL
);

CREATE TABLE facility_pue (
  pue_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  facility_id     text NOT NULL REFERENCES facility,
  pue             amount NOT NULL CHECK (pue >= 1),
  host_mw_per_gpu bigint NOT NULL DEFAULT 0 CHECK (host_mw_per_gpu >= 0),
  valid           tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded        int8range NOT NULL,
  EXCLUDE USING gist (facility_id WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON COLUMN facility_pue.host_mw_per_gpu IS 'Host CPU, memory and fans beside one GPU, in milliwatts.';

CREATE TABLE energy_meter (
  energy_meter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  meter           text NOT NULL CHECK (meter <> ''),
  facility_id     text NOT NULL REFERENCES facility,
  measures        text NOT NULL CHECK (measures IN ('gpu', 'host', 'it', 'facility')),
  gpu_uuids       text[] NOT NULL DEFAULT '{}',
  gain            amount NOT NULL DEFAULT 1 CHECK (gain > 0),
  offset_mw       bigint NOT NULL DEFAULT 0,
  valid           tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded        int8range NOT NULL,
  CHECK (measures <> 'host' OR cardinality(gpu_uuids) > 0),
  EXCLUDE USING gist (meter WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON TABLE energy_meter IS 'What a meter measures, and its calibration: true is gain times what its counter grew, and offset_mw all the while. The raw counter stays the fact.';

CREATE TABLE asset (
  asset_row_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  asset_id       text NOT NULL CHECK (asset_id <> ''),
  entity_id      text NOT NULL REFERENCES entity,
  facility_id    text NOT NULL REFERENCES facility,
  name           text NOT NULL,
  terms          text NOT NULL CHECK (terms IN ('owned', 'lease')),
  gpu_count      int NOT NULL CHECK (gpu_count > 0),
  currency       currency NOT NULL,
  purchase_price amount,
  residual_value amount,
  in_service     timestamptz,
  life_months    int CHECK (life_months > 0),
  gpu_hour_rate  amount CHECK (gpu_hour_rate >= 0),
  all_in         boolean NOT NULL DEFAULT false,
  method         text NOT NULL DEFAULT 'straight_line' CHECK (method IN ('straight_line', 'capital_recovery', 'declining')),
  rate_percent   amount CHECK (rate_percent BETWEEN 0 AND 100),
  gpu_type       text CHECK (gpu_type <> ''),
  valid          tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded       int8range NOT NULL,
  CHECK (terms <> 'owned' OR (purchase_price IS NOT NULL AND residual_value IS NOT NULL
         AND residual_value <= purchase_price AND in_service IS NOT NULL
         AND life_months IS NOT NULL AND gpu_hour_rate IS NULL AND NOT all_in)),
  CHECK (terms <> 'lease' OR (gpu_hour_rate IS NOT NULL AND purchase_price IS NULL
         AND life_months IS NULL AND method = 'straight_line')),
  CHECK ((method = 'straight_line') = (rate_percent IS NULL)),
  EXCLUDE USING gist (asset_id WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON COLUMN asset.rate_percent IS 'A year: interest of capital recovery, or what declining writes off of what is left.';
COMMENT ON COLUMN asset.all_in IS 'The lease pays for power too, so that no tariff and no energy are asked for.';

CREATE TABLE tariff (
  tariff_id   text PRIMARY KEY CHECK (tariff_id <> ''),
  facility_id text NOT NULL REFERENCES facility,
  name        text NOT NULL,
  currency    currency NOT NULL,
  batch_seq   bigint NOT NULL
);

CREATE TABLE tariff_price (
  tariff_id     text NOT NULL REFERENCES tariff,
  facility_id   text NOT NULL REFERENCES facility,
  period        tstzrange NOT NULL CHECK (NOT isempty(period) AND NOT lower_inf(period) AND NOT upper_inf(period)),
  price_per_mwh amount NOT NULL,
  recorded      int8range NOT NULL,
  EXCLUDE USING gist (facility_id WITH =, period WITH &&, recorded WITH &&)
);
COMMENT ON TABLE tariff_price IS 'Price of one MWh at a site; negative prices are real.';

CREATE TABLE site_cost_term (
  site_cost_term_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  facility_id       text NOT NULL REFERENCES facility,
  name              text NOT NULL CHECK (name <> ''),
  currency          currency NOT NULL,
  kind              text NOT NULL CHECK (kind IN ('standing', 'demand', 'tiers', 'percent', 'bill')),
  params            jsonb NOT NULL,
  valid             tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded          int8range NOT NULL,
  CHECK (kind <> 'bill' OR NOT upper_inf(valid)),
  EXCLUDE USING gist (facility_id WITH =, name WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON TABLE site_cost_term IS 'A cost of a site beside energy at its price and hardware, under its name: kinds of cost are rows, not columns.';
COMMENT ON COLUMN site_cost_term.params IS 'What the rule of its kind goes by (ledger/wire/site_inputs.py), decimals as text.';

CREATE TABLE utility_bill (
  utility_bill_row_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  bill_id     text NOT NULL CHECK (bill_id <> ''),
  facility_id text NOT NULL REFERENCES facility,
  currency    currency NOT NULL,
  kwh         amount NOT NULL CHECK (kwh >= 0),
  net         amount NOT NULL,
  tax         amount NOT NULL,
  covers      text[] NOT NULL CHECK (covers <> '{}'),
  reference   text NOT NULL,
  final       boolean NOT NULL,
  valid       tstzrange NOT NULL CHECK (valid_on_grid(valid) AND NOT upper_inf(valid)),
  recorded    int8range NOT NULL,
  EXCLUDE USING gist (bill_id WITH =, recorded WITH &&),
  EXCLUDE USING gist (facility_id WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON TABLE utility_bill IS 'What a utility asked for, for whole local days of a site: only a final one makes up what was accrued. A bill is replaced as a whole, since an amount of a month says nothing of a week.';
COMMENT ON COLUMN utility_bill.covers IS 'Costs of the site that it asks for: electricity is energy at its price, others by their names.';

CREATE TABLE grid_factor (
  facility_id text NOT NULL REFERENCES facility,
  kind        text NOT NULL CHECK (kind IN ('carbon_location', 'carbon_market', 'water')),
  source      text NOT NULL CHECK (source <> ''),
  period      tstzrange NOT NULL CHECK (NOT isempty(period) AND NOT lower_inf(period) AND NOT upper_inf(period)),
  per_kwh     amount NOT NULL CHECK (per_kwh >= 0),
  recorded    int8range NOT NULL,
  EXCLUDE USING gist (facility_id WITH =, kind WITH =, period WITH &&, recorded WITH &&)
);
COMMENT ON TABLE grid_factor IS 'What one kWh of a site emits and drinks, and who says so: g CO2e by where the grid is or by what was contracted, ml of water.';

CREATE TABLE deployment (
  deployment_row_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  deployment_id     text NOT NULL CHECK (deployment_id <> ''),
  entity_id         text NOT NULL REFERENCES entity,
  asset_id          text NOT NULL,
  model             text NOT NULL,
  tier              text,
  gpu_count         int NOT NULL CHECK (gpu_count > 0),
  gpu_uuids         text[] NOT NULL DEFAULT '{}',
  engine_instances  text[] NOT NULL DEFAULT '{}',
  weight_version    int NOT NULL DEFAULT 1,
  weight_uncached   int NOT NULL DEFAULT 1 CHECK (weight_uncached >= 0),
  weight_cache_read int NOT NULL DEFAULT 0 CHECK (weight_cache_read >= 0),
  weight_cache_write int NOT NULL DEFAULT 1 CHECK (weight_cache_write >= 0),
  weight_output     int NOT NULL DEFAULT 5 CHECK (weight_output >= 0),
  weight_context    int NOT NULL DEFAULT 0 CHECK (weight_context >= 0),
  weight_step       int NOT NULL DEFAULT 0 CHECK (weight_step >= 0),
  idle_mw_per_gpu   int CHECK (idle_mw_per_gpu >= 0),
  slot_s            smallint NOT NULL DEFAULT 15 CHECK (slot_s > 0 AND 900 % slot_s = 0),
  prefill_chunk     int CHECK (prefill_chunk > 0),
  instance_gpus     jsonb NOT NULL DEFAULT '{}',
  gpu_parts         int NOT NULL DEFAULT 7000000 CHECK (gpu_parts BETWEEN 1 AND 7000000),
  mig_slices        text[] NOT NULL DEFAULT '{}',
  gpu_split         text NOT NULL DEFAULT 'share' CHECK (gpu_split IN ('share', 'busy_time', 'weights')),
  valid             tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded          int8range NOT NULL,
  CHECK (cardinality(gpu_uuids) IN (0, gpu_count)),
  EXCLUDE USING gist (deployment_id WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON TABLE deployment IS 'Which GPUs of an asset serve which model, by which engine instances, from when to when, and the declared token weights of that time.';
COMMENT ON COLUMN deployment.weight_context IS 'Of an output token, for each 1,000 tokens that it looks back on.';
COMMENT ON COLUMN deployment.weight_step IS 'Of a step of an engine, shared by all who write in it.';
COMMENT ON COLUMN deployment.idle_mw_per_gpu IS 'What a GPU draws while it holds the model and runs nothing; NULL is unknown.';
COMMENT ON COLUMN deployment.slot_s IS 'How many seconds are weighed at once.';
COMMENT ON COLUMN deployment.prefill_chunk IS 'How many tokens of a prompt a step of its engines reads at most; NULL: all of them.';
COMMENT ON COLUMN deployment.instance_gpus IS 'Which of its GPUs an engine instance runs on, where that is known.';
COMMENT ON COLUMN deployment.gpu_parts IS 'How much of each of its GPUs it has, in parts of 7,000,000: millionths and sevenths are whole numbers of them.';
COMMENT ON COLUMN deployment.mig_slices IS 'By which slices of MIG it has its part of each GPU; empty: by a declared share.';
COMMENT ON COLUMN deployment.gpu_split IS 'By what GPUs that others have a part of are split while anything runs; at rest it is by their parts.';
COMMENT ON COLUMN deployment.engine_instances IS 'Empty: the deployment takes usage of its model that names no known instance.';

CREATE TABLE weight_set (
  weight_set_row_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  weight_set_id     text NOT NULL CHECK (weight_set_id <> ''),
  deployment_id     text NOT NULL,
  entity_id         text NOT NULL REFERENCES entity,
  version           int NOT NULL CHECK (version > 0),
  source            text NOT NULL CHECK (source IN ('declared', 'phase_time', 'calibrated')),
  uncached          int NOT NULL CHECK (uncached >= 0),
  cache_read        int NOT NULL CHECK (cache_read >= 0),
  cache_write       int NOT NULL CHECK (cache_write >= 0),
  output            int NOT NULL CHECK (output >= 0),
  context           int NOT NULL CHECK (context >= 0),
  step              int NOT NULL CHECK (step >= 0),
  idle_mw_per_gpu   int CHECK (idle_mw_per_gpu >= 0),
  evidence          jsonb,
  unread            text NOT NULL DEFAULT 'estimated' CHECK (unread IN ('estimated', 'left_out')),
  valid             tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded          int8range NOT NULL,
  CHECK (uncached > 0 OR cache_read > 0 OR cache_write > 0 OR output > 0 OR context > 0 OR step > 0),
  CHECK (source <> 'calibrated' OR evidence IS NOT NULL),
  EXCLUDE USING gist (deployment_id WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON TABLE weight_set IS 'What each kind of work takes at a deployment from when to when, in place of the weights it was declared with, and who says so.';
COMMENT ON COLUMN weight_set.evidence IS 'Of which slots it was fitted, how well, and between what each weight lies.';
COMMENT ON COLUMN weight_set.unread IS 'What becomes of time in which no meter was read: estimated by these weights where they were fitted, or left out and named as a gap.';
COMMENT ON COLUMN weight_set.idle_mw_per_gpu IS 'NULL: as the deployment says.';

CREATE TABLE idle_policy (
  idle_policy_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  entity_id      text NOT NULL REFERENCES entity,
  scope          text NOT NULL DEFAULT '',
  version        int NOT NULL CHECK (version > 0),
  method         text NOT NULL CHECK (method IN ('operator', 'use', 'reserved_tier', 'reserved_share', 'peak_share')),
  reserved       jsonb NOT NULL DEFAULT '{}',
  valid          tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded       int8range NOT NULL,
  EXCLUDE USING gist (entity_id WITH =, scope WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON TABLE idle_policy IS 'Who pays for what stood idle, from when to when; without one that of a deployment is spread by use, and that of hardware that serves nothing is the operator''s.';
COMMENT ON COLUMN idle_policy.scope IS 'deployment:ID or asset:ID; empty is every deployment that none names.';
COMMENT ON COLUMN idle_policy.reserved IS 'The share of the capacity that each tier reserved, as text.';

-- One engine instance serves one deployment at a time, and a GPU several, each with its part of it. That these come to one
-- GPU at most is checked where they are entered, with the asset locked; no two have more than half of it.
CREATE TABLE deployment_member (
  deployment_row_id bigint NOT NULL REFERENCES deployment,
  deployment_id     text NOT NULL,
  member            text NOT NULL,
  kind              text NOT NULL CHECK (kind IN ('gpu', 'instance')),
  valid             tstzrange NOT NULL,
  recorded          int8range NOT NULL,
  parts             int NOT NULL DEFAULT 7000000 CHECK (parts BETWEEN 1 AND 7000000),
  EXCLUDE USING gist (kind WITH =, member WITH =, valid WITH &&, recorded WITH &&) WHERE (parts > 3500000)
);

CREATE TABLE fx_rate (
  base     currency NOT NULL,
  quote    currency NOT NULL,
  day      date NOT NULL,
  rate     numeric NOT NULL CHECK (rate > 0 AND rate NOT IN ('NaN', 'Infinity')),
  source   text NOT NULL,
  recorded int8range NOT NULL,
  EXCLUDE USING gist (base WITH =, quote WITH =, day WITH =, recorded WITH &&)
);
