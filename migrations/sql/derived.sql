-- What follows from the facts. Each row is natural key + revision + the cut-off it was computed at;
-- the highest revision stored up to a cut-off is the truth at that cut-off. Charges have no revisions: they add up.

CREATE TABLE meter_window (
  gpu_uuid     text NOT NULL,
  window_start timestamptz NOT NULL CHECK (on_grid(window_start)),
  revision     int NOT NULL CHECK (revision > 0),
  cut_off_id   bigint NOT NULL REFERENCES cut_off,
  batch_seq    bigint NOT NULL,
  metered_mj   bigint NOT NULL CHECK (metered_mj >= 0),
  estimated_mj bigint NOT NULL CHECK (estimated_mj >= 0),
  covered_s    int NOT NULL CHECK (covered_s BETWEEN 0 AND 900),
  findings     text[] NOT NULL DEFAULT '{}',
  PRIMARY KEY (gpu_uuid, window_start, revision)
);
COMMENT ON TABLE meter_window IS 'Energy of one GPU in one window, measured and estimated apart.';

-- What a window costs before anybody is charged with it: rounded once, here.
CREATE TABLE cost_pool (
  scope        text NOT NULL,
  window_start timestamptz NOT NULL CHECK (on_grid(window_start)),
  kind         text NOT NULL CHECK (kind IN ('electricity', 'gpu')),
  revision     int NOT NULL CHECK (revision > 0),
  cut_off_id   bigint NOT NULL REFERENCES cut_off,
  batch_seq    bigint NOT NULL,
  entity_id    text NOT NULL REFERENCES entity,
  currency     currency NOT NULL,
  amount       amount NOT NULL,
  PRIMARY KEY (scope, window_start, kind, revision)
);
COMMENT ON COLUMN cost_pool.scope IS 'deployment:ID, or asset:ID for hardware that serves nothing, or gpu:UUID for a metered GPU nobody deployed.';
CREATE INDEX ON cost_pool (entity_id, window_start);

-- An amount of two numbers: what it has below 10,000 in 1e-12, and tens of thousands; NULL is none.
CREATE FUNCTION amount_of(low bigint, high bigint) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN high <> 0 THEN high * 10000::numeric ELSE 0 END + coalesce(low, 0) * 0.000000000001;

-- What was allocated of a scope's window: the sums of its lines of one kind, how many these are, and what they were cut
-- by. A revision has all of them. Without foreign keys: the flow writes its own entity and cut-off alone, and `check`
-- looks for what lines name. The digest vouches for the lines of usage, which cost_share has, or had. Numbers of one width come
-- first, so that nothing is padded between them.
CREATE TABLE cost_allocation (
  window_start        timestamptz NOT NULL CHECK (on_grid(window_start)),
  cut_off_id          bigint NOT NULL,
  batch_seq           bigint NOT NULL,
  device_metered_mj   bigint NOT NULL,
  device_estimated_mj bigint NOT NULL,
  host_mj             bigint NOT NULL,
  overhead_mj         bigint NOT NULL,
  revision            int NOT NULL CHECK (revision > 0),
  weight_version      int NOT NULL,
  weight_uncached     int NOT NULL,
  weight_cache_read   int NOT NULL,
  weight_cache_write  int NOT NULL,
  weight_output       int NOT NULL,
  busy_s              int NOT NULL,
  lines               int NOT NULL CHECK (lines >= 0 AND (line = 'usage' OR lines <= 1)),
  uncached            bigint CHECK (uncached >= 0),
  cache_read          bigint CHECK (cache_read >= 0),
  cache_write         bigint CHECK (cache_write >= 0),
  output              bigint CHECK (output >= 0),
  uncached_mj         bigint,
  cache_read_mj       bigint,
  cache_write_mj      bigint,
  output_mj           bigint,
  steps               bigint CHECK (steps >= 0),
  stepped_output      bigint CHECK (stepped_output >= 0),
  scope               text NOT NULL,
  line                text NOT NULL CHECK (line IN ('usage', 'idle', 'unattributed', 'unclaimed')),
  entity_id           text NOT NULL,
  currency            currency NOT NULL,
  gpu_terms           text NOT NULL CHECK (gpu_terms IN ('owned', 'lease', 'none')),
  device_cost         amount NOT NULL,
  overhead_cost       amount NOT NULL,
  gpu_cost            amount NOT NULL,
  digest              bytea CHECK (length(digest) = 32),
  uncached_cost       amount,
  cache_read_cost     amount,
  cache_write_cost    amount,
  output_cost         amount,
  PRIMARY KEY (scope, window_start, line, revision),
  CHECK ((digest IS NOT NULL) = (line = 'usage' AND lines > 0)),
  CHECK (line <> 'usage' OR uncached_mj::numeric + cache_read_mj + cache_write_mj + output_mj
                            = device_metered_mj::numeric + device_estimated_mj + host_mj + overhead_mj),
  CHECK (line <> 'usage' OR uncached_cost + cache_read_cost + cache_write_cost + output_cost
                            = device_cost + overhead_cost + gpu_cost)
);
COMMENT ON TABLE cost_allocation IS 'What scopes cost by window and kind of line, however many lines; ask cost_lines_at() for these one by one.';
COMMENT ON COLUMN cost_allocation.device_cost IS 'Electricity of the device; host and site uplift are in overhead_cost.';
COMMENT ON COLUMN cost_allocation.output IS 'Tokens that were worked on in the window: what tokens of each kind took adds up to what all usage took.';
COMMENT ON COLUMN cost_allocation.steps IS 'Of engines that all counted them, with stepped_output, the tokens of answers that they counted meanwhile; both 0 where any did not.';
COMMENT ON COLUMN cost_allocation.digest IS 'SHA-256 of all lines of usage, in the order of their keys.';
CREATE INDEX ON cost_allocation (entity_id, window_start);
CREATE INDEX ON cost_allocation USING brin (batch_seq) WITH (pages_per_range = 16);

-- What each usage key took of it, the n-th of each array a line's, in order of their keys. They follow from facts and
-- inputs, and the digest says whether they do: once their day is added up they may go, and are made again for whoever asks.
-- A cost is two numbers, as amount_of() has it. What hardly compresses is stored as it is, to try takes most of a COPY:
-- in its page where it fits there, or each array would be looked for apart.
CREATE TABLE cost_share (
  entity_id           text NOT NULL,
  window_start        timestamptz NOT NULL CHECK (on_grid(window_start)),
  scope               text NOT NULL,
  revision            int NOT NULL CHECK (revision > 0),
  batch_seq           bigint NOT NULL,
  recalled_at         timestamptz,
  usage_key_id        bigint[] NOT NULL CHECK (are_numbers(usage_key_id, cardinality(usage_key_id))),
  device_metered_mj   bigint[] CHECK (are_numbers(device_metered_mj, cardinality(usage_key_id))),
  device_estimated_mj bigint[] CHECK (are_numbers(device_estimated_mj, cardinality(usage_key_id))),
  host_mj             bigint[] CHECK (are_numbers(host_mj, cardinality(usage_key_id))),
  overhead_mj         bigint[] CHECK (are_numbers(overhead_mj, cardinality(usage_key_id))),
  device_cost_low     bigint[] CHECK (are_numbers(device_cost_low, cardinality(usage_key_id))),
  device_cost_high    bigint[] CHECK (are_numbers(device_cost_high, cardinality(usage_key_id))),
  overhead_cost_low   bigint[] CHECK (are_numbers(overhead_cost_low, cardinality(usage_key_id))),
  overhead_cost_high  bigint[] CHECK (are_numbers(overhead_cost_high, cardinality(usage_key_id))),
  gpu_cost_low        bigint[] CHECK (are_numbers(gpu_cost_low, cardinality(usage_key_id))),
  gpu_cost_high       bigint[] CHECK (are_numbers(gpu_cost_high, cardinality(usage_key_id))),
  PRIMARY KEY (entity_id, window_start, scope, revision),
  CHECK (0 <> ALL (usage_key_id))
) WITH (toast_tuple_target = 8160);
ALTER TABLE cost_share ALTER COLUMN usage_key_id SET STORAGE EXTERNAL, ALTER COLUMN device_metered_mj SET STORAGE EXTERNAL,
                       ALTER COLUMN overhead_mj SET STORAGE EXTERNAL, ALTER COLUMN device_cost_low SET STORAGE EXTERNAL,
                       ALTER COLUMN overhead_cost_low SET STORAGE EXTERNAL, ALTER COLUMN gpu_cost_low SET STORAGE EXTERNAL;
COMMENT ON TABLE cost_share IS 'Cost lines of usage of scopes by window, many in a row; those of days that are over may have gone.';
COMMENT ON COLUMN cost_share.host_mj IS 'As all energy and cost here, NULL where no line has any.';
COMMENT ON COLUMN cost_share.device_cost_high IS 'Tens of thousands of the cost, beside what is below in 1e-12.';
COMMENT ON COLUMN cost_share.recalled_at IS 'When they were made again for somebody who asked; NULL: they are as they were allocated.';

-- Days of an entity that are over, of which cost lines are added up: reports read those instead of their windows.
CREATE TABLE cost_day (
  entity_id  text NOT NULL REFERENCES entity,
  day_start  timestamptz NOT NULL CHECK (on_grid(day_start)),
  day_end    timestamptz NOT NULL CHECK (on_grid(day_end) AND day_end > day_start),
  cut_off_id bigint NOT NULL REFERENCES cut_off,
  batch_seq  bigint NOT NULL,
  PRIMARY KEY (entity_id, day_start)
);
COMMENT ON TABLE cost_day IS 'Local days of which cost_day_line has all that their windows cost, from this batch on.';
CREATE INDEX ON cost_day USING brin (batch_seq);

-- Lines are made again from facts, and their day says what they came to: until it is added up they stay.
CREATE FUNCTION refuse_change_but_letting_go() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND EXISTS (SELECT FROM cost_day d
                                   WHERE d.entity_id = OLD.entity_id AND d.day_start <= OLD.window_start
                                     AND d.day_start > OLD.window_start - interval '26 hours'
                                     AND d.day_end > OLD.window_start) THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION '% is append-only until its day is added up', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON cost_share
  FOR EACH ROW EXECUTE FUNCTION refuse_change_but_letting_go();

-- Differences: what a line of a day comes to is the sum of its rows up to a cut-off, whatever was revised. Without foreign
-- keys and in its order, as cost_allocation.
CREATE TABLE cost_day_line (
  day_start           timestamptz NOT NULL CHECK (on_grid(day_start)),
  usage_key_id        bigint NOT NULL,
  cut_off_id          bigint NOT NULL,
  batch_seq           bigint NOT NULL,
  busy_s              bigint NOT NULL,
  device_metered_mj   bigint NOT NULL,
  device_estimated_mj bigint NOT NULL,
  host_mj             bigint NOT NULL,
  overhead_mj         bigint NOT NULL,
  entity_id           text NOT NULL,
  scope               text NOT NULL,
  line                text NOT NULL CHECK (line IN ('usage', 'idle', 'unattributed', 'unclaimed')),
  currency            currency NOT NULL,
  gpu_terms           text NOT NULL CHECK (gpu_terms IN ('owned', 'lease', 'none')),
  device_cost         amount NOT NULL,
  overhead_cost       amount NOT NULL,
  gpu_cost            amount NOT NULL,
  CHECK ((line = 'usage') = (usage_key_id <> 0))
);
CREATE INDEX ON cost_day_line (entity_id, day_start);
CREATE INDEX ON cost_day_line USING brin (batch_seq) WITH (pages_per_range = 16);

-- Differences as well: pools of days that cost_day has.
CREATE TABLE pool_day (
  entity_id  text NOT NULL,
  day_start  timestamptz NOT NULL CHECK (on_grid(day_start)),
  kind       text NOT NULL CHECK (kind IN ('electricity', 'gpu')),
  currency   currency NOT NULL,
  cut_off_id bigint NOT NULL,
  batch_seq  bigint NOT NULL,
  amount     amount NOT NULL
);
COMMENT ON TABLE pool_day IS 'What cost pools of a local day come to: the sum of its rows up to a cut-off.';
CREATE INDEX ON pool_day (entity_id, day_start);
CREATE INDEX ON pool_day USING brin (batch_seq);

-- Differences as well, by days of UTC, since a meter is of no entity: from a GPU's first row of a day on they have all of it.
CREATE TABLE meter_day (
  gpu_uuid     text NOT NULL,
  day_start    timestamptz NOT NULL CHECK (day_start = date_trunc('day', day_start, 'UTC')),
  cut_off_id   bigint NOT NULL,
  batch_seq    bigint NOT NULL,
  metered_mj   bigint NOT NULL,
  estimated_mj bigint NOT NULL,
  covered_s    int NOT NULL,
  windows      int NOT NULL,
  known        int NOT NULL
);
COMMENT ON TABLE meter_day IS 'What windows of a GPU come to in a day that is over: the sum of its rows up to a cut-off.';
COMMENT ON COLUMN meter_day.known IS 'In how many of its windows energy was measured, a reading covers any of it, or fitted weights say it.';
CREATE INDEX ON meter_day (gpu_uuid, day_start);
CREATE INDEX ON meter_day USING brin (batch_seq);

CREATE TABLE weight_check (
  entity_id     text NOT NULL,
  deployment_id text NOT NULL,
  since         timestamptz NOT NULL CHECK (on_grid(since)),
  until         timestamptz NOT NULL CHECK (on_grid(until)),
  weight_set_id text NOT NULL,
  version       int NOT NULL,
  slots         int NOT NULL CHECK (slots > 0),
  measured_mj   bigint NOT NULL,
  expected_mj   bigint NOT NULL,
  low_mj        bigint NOT NULL,
  high_mj       bigint NOT NULL,
  cut_off_id    bigint NOT NULL,
  batch_seq     bigint NOT NULL,
  PRIMARY KEY (entity_id, deployment_id, since)
);
COMMENT ON TABLE weight_check IS 'What a deployment took in an hour, beside what the fitted weight set in force says it took and between what that lies.';
CREATE INDEX ON weight_check USING brin (batch_seq);

-- A ledger of differences: what a day comes to is the sum of its rows up to a cut-off, whatever was revised. A row has what
-- one run found of a customer's day in one currency, or without a price for one reason, the n-th of each array a charge's:
-- ten charges cost little more to store than one.
CREATE TABLE charge_day (
  customer_id     text NOT NULL,
  day_start       timestamptz NOT NULL CHECK (on_grid(day_start)),
  cut_off_id      bigint NOT NULL,
  batch_seq       bigint NOT NULL,
  entity_id       text NOT NULL,
  subscription_id text,
  payer_id        text,
  currency        currency,
  unpriced        text,
  usage_key_id    bigint[] NOT NULL CHECK (cardinality(usage_key_id) > 0 AND array_position(usage_key_id, NULL) IS NULL),
  meter           text[] NOT NULL CHECK (cardinality(meter) = cardinality(usage_key_id) AND array_position(meter, NULL) IS NULL),
  price_id        bigint[] NOT NULL CHECK (cardinality(price_id) = cardinality(usage_key_id)),
  quantity        quantity[] NOT NULL
                  CHECK (cardinality(quantity) = cardinality(usage_key_id) AND array_position(quantity, NULL) IS NULL),
  amount          amount[] CHECK (cardinality(amount) = cardinality(usage_key_id) AND array_position(amount, NULL) IS NULL),
  CHECK ((amount IS NULL) = (unpriced IS NOT NULL)),
  CHECK (amount IS NULL OR (currency IS NOT NULL AND subscription_id IS NOT NULL))
);
COMMENT ON COLUMN charge_day.day_start IS 'The first moment of a local day of the entity, or of the subscription where that came later, or its first of all: neither a day nor a billing period has an edge inside.';
COMMENT ON COLUMN charge_day.unpriced IS 'Why there is no price: the usage waits, listed, and is never worth zero.';
COMMENT ON COLUMN charge_day.payer_id IS 'The customer above that pays and whose the subscription is; NULL: customer_id itself.';
CREATE INDEX ON charge_day (entity_id, day_start);
CREATE INDEX ON charge_day (customer_id, day_start, batch_seq);
CREATE INDEX ON charge_day (payer_id, day_start) WHERE payer_id IS NOT NULL;
CREATE INDEX ON charge_day (entity_id, customer_id) WHERE unpriced IS NOT NULL;

-- Arrays are taken apart side by side, without a table of their own for each.
CREATE VIEW charge WITH (security_invoker = true) AS
SELECT d.customer_id, l.usage_key_id, d.day_start, l.meter, d.cut_off_id, d.batch_seq, d.entity_id, d.subscription_id,
       d.payer_id, l.quantity, l.price_id, d.currency, l.amount, d.unpriced
  FROM charge_day d
 CROSS JOIN LATERAL (SELECT unnest(d.usage_key_id) AS usage_key_id, unnest(d.meter) AS meter, unnest(d.price_id) AS price_id,
                            unnest(d.quantity) AS quantity, unnest(d.amount) AS amount) l;
COMMENT ON VIEW charge IS 'Charges one by one: what days come to by usage key, meter and price, to be summed.';

-- Differences as well, by the same days: whoever asks what of a period is not final need not read its windows.
CREATE TABLE usage_day (
  customer_id       text NOT NULL,
  subscription_id   text,
  payer_id          text,
  day_start         timestamptz NOT NULL CHECK (on_grid(day_start)),
  cut_off_id        bigint NOT NULL,
  batch_seq         bigint NOT NULL,
  entity_id         text NOT NULL,
  requests          quantity NOT NULL,
  estimated         quantity NOT NULL,
  incomplete        quantity NOT NULL,
  input_unknown     quantity NOT NULL,
  output_unknown    quantity NOT NULL,
  cached_unknown    quantity NOT NULL,
  written_unknown   quantity NOT NULL,
  reasoning_unknown quantity NOT NULL
);
COMMENT ON TABLE usage_day IS 'Requests of a customer under a subscription (NULL: none) by day, as charge has them, and how many of them lack what.';
CREATE INDEX ON usage_day (customer_id, day_start);
CREATE INDEX ON usage_day (payer_id, day_start) WHERE payer_id IS NOT NULL;
CREATE INDEX ON usage_day USING brin (batch_seq) WITH (pages_per_range = 16);

-- Usage of an entity's customers in (the tally before, until_seq] of the stored order, by key and local day: what is known at
-- a cut-off is the tallies up to it and the windows of the batches behind them. A sum at a kept cut-off never changes, so
-- neither does a tally, whenever it was made.
CREATE TABLE usage_tally (
  entity_id  text NOT NULL REFERENCES entity,
  until_seq  bigint NOT NULL CHECK (until_seq > 0),
  tallied_at timestamptz NOT NULL,
  PRIMARY KEY (entity_id, until_seq)
);

CREATE TABLE key_day (
  entity_id       text NOT NULL,
  until_seq       bigint NOT NULL,
  usage_key_id    bigint NOT NULL,
  day_start       timestamptz NOT NULL CHECK (on_grid(day_start)),
  day_end         timestamptz NOT NULL CHECK (on_grid(day_end)),
  requests        quantity NOT NULL,
  uncached        quantity NOT NULL,
  cache_read      quantity NOT NULL,
  cache_write     quantity NOT NULL,
  output          quantity NOT NULL,
  input_unknown   quantity NOT NULL,
  output_unknown  quantity NOT NULL,
  cached_unknown  quantity NOT NULL,
  written_unknown quantity NOT NULL
);
COMMENT ON TABLE key_day IS 'What a tally adds to days of usage keys; ask usage_at() for what was used in a period.';
CREATE INDEX ON key_day (entity_id, day_start);

-- Differences as well: what a site's day comes to is the sum of its rows up to a cut-off.
CREATE TABLE site_cost (
  facility_id text NOT NULL,
  entity_id   text NOT NULL,
  day_start   timestamptz NOT NULL CHECK (on_grid(day_start)),
  name        text NOT NULL,
  currency    currency NOT NULL,
  cut_off_id  bigint NOT NULL,
  batch_seq   bigint NOT NULL,
  amount      amount NOT NULL CHECK (amount <> 0)
);
COMMENT ON TABLE site_cost IS 'What a site costs beside energy at its price and hardware, by local day of the site, accrued: a billing period up to the day''s end less up to its start.';
CREATE INDEX ON site_cost (entity_id, day_start);
CREATE INDEX ON site_cost (facility_id, day_start);

CREATE TABLE stage_run (
  run_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  stage       text NOT NULL,
  entity_id   text,
  cut_off_id  bigint NOT NULL REFERENCES cut_off,
  followed_to timestamptz,
  finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  windows     int NOT NULL,
  rows        int NOT NULL
);
COMMENT ON TABLE stage_run IS 'How far each stage has come: windows touched after its last cut-off are due again.';
COMMENT ON COLUMN stage_run.followed_to IS 'Windows that began before this moment were looked at; NULL for a stage that time alone gives nothing to do.';
