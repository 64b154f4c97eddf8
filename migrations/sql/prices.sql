-- What customers pay: dated cards, and who is on which.

CREATE TABLE rate_card (
  rate_card_id text PRIMARY KEY CHECK (rate_card_id <> ''),
  entity_id    text NOT NULL REFERENCES entity,
  name         text NOT NULL,
  currency     currency NOT NULL,
  batch_seq    bigint NOT NULL
);

CREATE TABLE rate_card_price (
  price_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  rate_card_id text NOT NULL REFERENCES rate_card,
  meter        text NOT NULL CHECK (meter IN ('input_uncached', 'input_cache_read', 'input_cache_write',
                                              'output_visible', 'output_reasoning', 'requests', 'input_cache_write_1h', 'input_audio', 'input_image', 'input_video', 'input_cache_read_audio',
                                              'output_rejected_prediction', 'output_audio', 'output_image', 'web_search_calls', 'web_fetch_calls', 'tool_calls',
                                              'web_search_low_calls', 'web_search_medium_calls', 'web_search_high_calls', 'file_search_calls',
                                              'code_interpreter_sessions', 'storage_mb_days', 'input_pages', 'input_characters',
                                              'input_images', 'output_images', 'input_audio_ms', 'output_audio_ms', 'input_video_ms', 'output_video_ms', 'gpu_ms',
                                              'fee', 'commitment', 'discount', 'outcome', 'cost')),
  project_id   text,
  agent_id     text,
  model        text,
  tier         text,
  adapter      text,
  region       text,
  band_from    bigint,
  hours        text CHECK (hours <> ''),
  name         text NOT NULL DEFAULT '',
  kind         text NOT NULL,
  params       jsonb NOT NULL,
  valid        tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded     int8range NOT NULL,
  EXCLUDE USING gist (
    rate_card_id WITH =, meter WITH =, coalesce(project_id, '') WITH =, coalesce(agent_id, '') WITH =, coalesce(model, '') WITH =, coalesce(tier, '') WITH =,
    coalesce(adapter, '') WITH =, coalesce(region, '') WITH =, coalesce(band_from, -1) WITH =, coalesce(hours, '') WITH =, name WITH =,
    valid WITH &&, recorded WITH &&)
);
COMMENT ON COLUMN rate_card_price.model IS 'One that ends with * is of all models that begin so.';
COMMENT ON COLUMN rate_card_price.hours IS 'Hours of the week, like mon-fri 22:00-06:00 Europe/Copenhagen; NULL: all.';
COMMENT ON COLUMN rate_card_price.params IS 'Parameters of the price model named by kind; rates are decimal text.';
COMMENT ON COLUMN rate_card_price.name IS 'Tells fees of one card apart, and is the outcome that a rule of who pays is of; empty of what prices usage.';
-- What few prices name is looked up for all usage.
CREATE INDEX ON rate_card_price (rate_card_id) WHERE project_id IS NOT NULL OR agent_id IS NOT NULL OR meter = 'outcome';
CREATE INDEX ON rate_card_price (price_id) WHERE params ->> 'billed' = 'advance';

-- What an attempt may be beside well done and final: a bit each.
CREATE FUNCTION outcomes() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY['aborted', 'failed', 'filtered', 'retried', 'hedged', 'fallback', 'estimated', 'incomplete'];
COMMENT ON FUNCTION outcomes() IS 'OUTCOMES of ledger/domain/pricing/outcome.py; a test holds the two together.';
CREATE FUNCTION outcome_bit(outcome text) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 1 << (array_position(outcomes(), outcome) - 1);
CREATE FUNCTION outcome_names(bits int) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT coalesce(string_agg(o.outcome, '+' ORDER BY o.n), '') FROM unnest(outcomes()) WITH ORDINALITY AS o (outcome, n)
         WHERE bits & (1 << (o.n::int - 1)) <> 0);

-- What a price may say of its model to be for this one.
CREATE FUNCTION patterns_of(model text) RETURNS SETOF text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT left(model, g.length) || '*' FROM generate_series(0, length(model)) AS g (length) UNION ALL SELECT model;
END;
CREATE FUNCTION model_patterns(model text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY(SELECT patterns_of(model));

-- Names of models in order, so that all that begin alike are a stretch of them.
CREATE TYPE model_range AS RANGE (subtype = text, collation = "C", multirange_type_name = model_ranges);

-- What models a subscription prices: each that is named, or with * at its end all that begin so; of none named, all.
CREATE FUNCTION ranges_of(models text[]) RETURNS model_ranges LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN models = '{}' THEN model_ranges(model_range(NULL, NULL)) ELSE (
  SELECT range_agg(CASE WHEN right(m, 1) = '*' THEN model_range(left(m, -1), left(m, -1) || chr(1114111))
                        ELSE model_range(m, m, '[]') END) FROM unnest(models) AS m) END;

CREATE TABLE subscription (
  subscription_row_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  subscription_id     text NOT NULL CHECK (subscription_id <> ''),
  customer_id         text NOT NULL REFERENCES customer,
  rate_card_id        text NOT NULL REFERENCES rate_card,
  zone                text NOT NULL,
  anchor_day          int NOT NULL DEFAULT 1 CHECK (anchor_day BETWEEN 1 AND 31),
  models              text[] NOT NULL DEFAULT '{}',
  valid               tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded            int8range NOT NULL,
  EXCLUDE USING gist (customer_id WITH =, ranges_of(models) WITH &&, valid WITH &&, recorded WITH &&),
  EXCLUDE USING gist (subscription_id WITH =, valid WITH &&, recorded WITH &&)
);

-- Which subscription prices what some customers use, and whose it is: their own, or while they have a parent that of
-- whoever pays for them. Their own is set aside meanwhile. Most are of all models: a function would cost more than the rest.
-- OFFSET 0 holds the planner to what the array names: it takes what is recorded at a cut-off for a few of all subscriptions,
-- and would begin with these.
CREATE FUNCTION subscriptions_of(customers text[], seq bigint)
RETURNS TABLE (customer_id text, subscription_id text, payer_id text, rate_card_id text, zone text, anchor_day int,
               valid tstzrange, agreed tstzrange, models model_ranges) LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT s.customer_id, s.subscription_id, s.customer_id, s.rate_card_id, s.zone, s.anchor_day, p.part, s.valid,
         CASE WHEN s.models = '{}' THEN model_ranges(model_range(NULL, NULL)) ELSE ranges_of(s.models) END
    FROM (SELECT * FROM subscription x WHERE x.customer_id = ANY (customers) OFFSET 0) s
   CROSS JOIN LATERAL unnest(tstzmultirange(s.valid) - coalesce(
           (SELECT range_agg(a.valid) FROM customer_above a
             WHERE a.customer_id = s.customer_id AND a.pays AND a.recorded @> seq), '{}')) AS p (part)
   WHERE s.recorded @> seq
   UNION ALL
  SELECT a.customer_id, s.subscription_id, s.customer_id, s.rate_card_id, s.zone, s.anchor_day, s.valid * a.valid, s.valid,
         CASE WHEN s.models = '{}' THEN model_ranges(model_range(NULL, NULL)) ELSE ranges_of(s.models) END
    FROM customer_above a
    JOIN subscription s ON s.customer_id = a.above_id AND s.recorded @> seq AND s.valid && a.valid
   WHERE a.customer_id = ANY (customers) AND a.pays AND a.recorded @> seq;
END;
COMMENT ON COLUMN subscription.models IS 'What of its customer it prices: models, or all that begin so where one ends with *; empty: all.';
