-- What somebody may use in a period, and what is held of that before it is used: each budget and period has a row of
-- its own, which whoever changes it locks, in the order of its key. Usage counts when it is stored, in its transaction.

CREATE TABLE budget (
  budget_row_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  budget_id      text NOT NULL,
  customer_id    text NOT NULL REFERENCES customer,
  project_id     text,
  api_key_id     text,
  agent_id       text,
  agent_run_id   text,
  period         text NOT NULL CHECK (period IN ('hour', 'day', 'week', 'month', 'run', 'ever')),
  anchor_day     int NOT NULL DEFAULT 1 CHECK (anchor_day BETWEEN 1 AND 31),
  zone           text NOT NULL,
  unit           text NOT NULL CHECK (unit IN ('money', 'tokens', 'requests')),
  currency       currency,
  amount         amount NOT NULL CHECK (amount BETWEEN 0 AND 1e15),
  times_own_mean amount CHECK (times_own_mean BETWEEN 1 AND 1e6),
  hard           boolean NOT NULL,
  alert_percents int[] NOT NULL,
  valid          tstzrange NOT NULL CHECK (valid_on_grid(valid)),
  recorded       int8range NOT NULL,
  CHECK ((unit = 'money') = (currency IS NOT NULL)),
  CONSTRAINT budget_id_is_plain CHECK (budget_id ~ '^[A-Za-z0-9][A-Za-z0-9._:@+=~-]{0,127}$'),
  CONSTRAINT valid_in_bounds CHECK (
    lower(valid) >= '2000-01-01 00:00Z' AND (upper(valid) <= '2200-01-01 00:00Z' OR upper(valid) = 'infinity')),
  EXCLUDE USING gist (budget_id WITH =, valid WITH &&, recorded WITH &&)
);
COMMENT ON COLUMN budget.period IS 'run: each run of an agent by itself; ever: all of its validity. The others are of its zone.';
COMMENT ON COLUMN budget.times_own_mean IS 'Where a period, or run, may use at most so many times what those before it used on average.';
COMMENT ON COLUMN budget.hard IS 'Reservations beyond it are refused; else it counts and alerts only.';
CREATE INDEX ON budget (customer_id) WHERE upper_inf(recorded);

-- A customer's own budgets, and at a moment those of all who are above it, which cover it too.
CREATE FUNCTION budgets_of(of_customer text, at timestamptz) RETURNS SETOF budget LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT b.* FROM budget b WHERE b.customer_id = of_customer AND upper_inf(b.recorded)
   UNION ALL
  SELECT b.* FROM customer_above a JOIN budget b ON b.customer_id = a.above_id AND upper_inf(b.recorded)
   WHERE a.customer_id = of_customer AND upper_inf(a.recorded) AND a.valid @> at;
END;

-- The price of one kind of usage is looked up for every reservation, on cards of thousands of models.
CREATE INDEX ON rate_card_price (rate_card_id, coalesce(model, '')) WHERE upper_inf(recorded);

CREATE TABLE budget_balance (
  budget_id    text COLLATE "C" NOT NULL,
  run_id       text COLLATE "C" NOT NULL,
  period_start timestamptz NOT NULL,
  customer_id  text NOT NULL,
  used         numeric NOT NULL DEFAULT 0,
  held         numeric NOT NULL DEFAULT 0 CHECK (held >= 0),
  own_mean     numeric,
  PRIMARY KEY (budget_id, run_id, period_start)
) WITH (fillfactor = 50);
COMMENT ON COLUMN budget_balance.held IS 'The sum of its rows in reservation_hold; those that expired leave it with the next change.';
COMMENT ON COLUMN budget_balance.own_mean IS 'What the periods or runs before it used on average, as it began; NULL: too few to say.';

CREATE TABLE entered_budget (
  batch_seq bigint NOT NULL,
  budget_id text NOT NULL,
  PRIMARY KEY (batch_seq, budget_id)
);
COMMENT ON TABLE entered_budget IS 'Budgets of which earlier use is not counted for good, by the number under which they, or who is below them, were entered.';

CREATE TABLE counted_meanwhile (
  budget_id    text NOT NULL,
  run_id       text NOT NULL,
  period_start timestamptz NOT NULL,
  batch_seq    bigint NOT NULL,
  amount       numeric NOT NULL
);
COMMENT ON TABLE counted_meanwhile IS 'What batches have counted in entered budgets, while those wait for their earlier use.';

CREATE TABLE reservation (
  customer_id    text NOT NULL,
  reservation_id text COLLATE "C" NOT NULL,
  said           jsonb NOT NULL,
  reserved_at    timestamptz NOT NULL,
  expires_at     timestamptz NOT NULL CHECK (expires_at > reserved_at),
  actor          text NOT NULL,
  PRIMARY KEY (customer_id, reservation_id)
);
COMMENT ON COLUMN reservation.said IS 'What was asked for; the same id with other content is refused.';

CREATE TABLE reservation_end (
  customer_id    text NOT NULL,
  reservation_id text COLLATE "C" NOT NULL,
  kind           text NOT NULL CHECK (kind IN ('settled', 'released', 'expired')),
  ended_at       timestamptz NOT NULL,
  PRIMARY KEY (customer_id, reservation_id)
);
COMMENT ON COLUMN reservation_end.kind IS 'settled: by the usage event that names it; released: by whoever holds it; expired: noticed by whoever came next.';

CREATE TABLE reservation_hold (
  customer_id    text NOT NULL,
  reservation_id text COLLATE "C" NOT NULL,
  budget_id      text COLLATE "C" NOT NULL,
  run_id         text COLLATE "C" NOT NULL,
  period_start   timestamptz NOT NULL,
  amount         numeric NOT NULL CHECK (amount >= 0),
  expires_at     timestamptz NOT NULL,
  PRIMARY KEY (customer_id, reservation_id, budget_id, run_id, period_start)
);
COMMENT ON TABLE reservation_hold IS 'What is held now; a row goes when its reservation ends.';
CREATE INDEX ON reservation_hold (budget_id, run_id, period_start, expires_at);

CREATE TABLE budget_alert (
  alert_id     bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  budget_id    text NOT NULL,
  run_id       text NOT NULL,
  period_start timestamptz NOT NULL,
  kind         text NOT NULL CHECK (kind IN ('used', 'refused', 'runaway')),
  percent      int NOT NULL,
  customer_id  text NOT NULL,
  used         numeric NOT NULL,
  held         numeric NOT NULL,
  ceiling      numeric NOT NULL,
  noticed_at   timestamptz NOT NULL,
  PRIMARY KEY (budget_id, run_id, period_start, kind, percent)
);
COMMENT ON COLUMN budget_alert.kind IS 'used: so many percent are used; refused: a reservation did not fit; runaway: it would have, or use would, but for what is usual.';

CREATE FUNCTION anchored(month timestamp, anchor_day int) RETURNS timestamp LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN least(month + make_interval(days => anchor_day - 1), month + interval '1 month' - interval '1 day');
COMMENT ON FUNCTION anchored(timestamp, int) IS 'The day of a month on which its period begins: its last one where it has none of that number.';
CREATE FUNCTION anchored_month(at timestamptz, zone text, anchor_day int) RETURNS timestamp LANGUAGE sql STABLE PARALLEL SAFE
RETURN date_trunc('month', at AT TIME ZONE zone)
       - CASE WHEN anchored(date_trunc('month', at AT TIME ZONE zone), anchor_day) <= at AT TIME ZONE zone
              THEN interval '0' ELSE interval '1 month' END;
COMMENT ON FUNCTION anchored_month(timestamptz, text, int) IS 'The month in which the period began that holds a moment.';

CREATE FUNCTION budget_period_start(period text, zone text, anchor_day int, at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
  WHEN period IN ('hour', 'day', 'week') THEN date_trunc(period, at, zone)
  WHEN period <> 'month' THEN timestamptz '2000-01-01 00:00Z'
  WHEN anchored(date_trunc('month', at AT TIME ZONE zone), anchor_day) <= at AT TIME ZONE zone
    THEN anchored(date_trunc('month', at AT TIME ZONE zone), anchor_day) AT TIME ZONE zone
  ELSE anchored(date_trunc('month', at AT TIME ZONE zone) - interval '1 month', anchor_day) AT TIME ZONE zone
END;

CREATE FUNCTION context_edges() RETURNS bigint[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY[0, 31999, 32000, 127999, 128000, 199999, 200000, 255999, 256000, 271999, 272000, 511999, 512000]::bigint[];
COMMENT ON FUNCTION context_edges() IS 'BAND_EDGES of ledger/domain/pricing/rate_card.py; a test holds the two together.';

-- What one unit of each meter costs for usage of a kind, by where its context ends: the most specific price's, chosen as
-- rating does. Of a price that looks at a period as a whole it is the most that one may cost: its dearest tier, an
-- included unit as one beyond, its share of a package; of prices for other hours of the week, the dearest. Without an
-- amount it is no price of units. What tokens count too is left out while they cost something at every hour.
CREATE FUNCTION unit_amounts(of_card text, of_model text, of_tier text, of_adapter text, of_region text,
                             of_project text, of_agent text, edges bigint[], at timestamptz)
RETURNS TABLE (meter text, edge bigint, each_amount numeric) LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  WITH best AS (
    SELECT DISTINCT ON (p.meter, b.edge) p.meter, b.edge,
           bool_or(p.hours IS NOT NULL) OVER (PARTITION BY p.meter, b.edge)
           OR (p.kind = 'per_unit' AND (p.params ->> 'amount')::numeric = 0) AS asks_nothing_at_times,
           trim_scale(CASE
             WHEN p.kind IN ('per_unit', 'included') THEN
               (p.params ->> 'amount')::numeric(60, 24) / (p.params ->> 'per')::numeric
             WHEN p.kind = 'package' THEN (p.params ->> 'amount')::numeric(60, 24) / (p.params ->> 'size')::numeric
             WHEN p.kind IN ('graduated', 'volume') THEN
               (SELECT max((t.tier ->> 'amount')::numeric(60, 24)) / (p.params ->> 'per')::numeric
                  FROM jsonb_array_elements(p.params -> 'tiers') AS t (tier)) END) AS dearest
      -- What may name the model is said once, and not for every price; as a table, which is no call of its own.
      FROM (SELECT ARRAY(SELECT t.pattern FROM patterns_of(of_model) AS t (pattern)) || ''::text AS models OFFSET 0) n
     CROSS JOIN unnest(edges) AS b (edge)
      JOIN rate_card_price p ON p.rate_card_id = of_card AND upper_inf(p.recorded) AND p.valid @> at
       AND coalesce(p.model, '') = ANY(n.models) AND (p.tier IS NULL OR p.tier = of_tier)
       AND (p.adapter IS NULL OR p.adapter = of_adapter) AND (p.region IS NULL OR p.region = of_region)
       AND (p.project_id IS NULL OR p.project_id = of_project) AND (p.agent_id IS NULL OR p.agent_id = of_agent)
       AND coalesce(p.band_from, 0) <= b.edge
     ORDER BY p.meter, b.edge, p.agent_id IS NULL, p.project_id IS NULL, p.model IS NULL, right(p.model, 1) = '*',
              length(p.model) DESC, p.adapter IS NULL, p.tier IS NULL, p.region IS NULL, coalesce(p.band_from, 0) DESC,
              dearest DESC, p.price_id
  )
  SELECT b.meter, b.edge, b.dearest
    FROM best b
   WHERE same_as(b.meter) IS NULL
      OR NOT EXISTS (SELECT FROM best t WHERE t.meter = same_as(b.meter) AND t.edge = b.edge AND NOT t.asks_nothing_at_times);
END;

-- Whether usage of a key is billed to nobody by the rules of a card in force, chosen as rating does.
CREATE FUNCTION house_pays(of_card text, k usage_key, at timestamptz) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN EXISTS (
  SELECT FROM (
    SELECT DISTINCT ON (p.name) p.params ->> 'pays' AS pays
      FROM rate_card_price p
     WHERE p.rate_card_id = of_card AND p.meter = 'outcome' AND upper_inf(p.recorded) AND p.valid @> at
       AND k.outcomes & outcome_bit(p.name) <> 0
       AND (p.model IS NULL OR p.model = ANY(model_patterns(k.model))) AND (p.tier IS NULL OR p.tier = k.tier)
       AND (p.adapter IS NULL OR p.adapter = k.adapter) AND (p.region IS NULL OR p.region = k.region)
       AND (p.project_id IS NULL OR p.project_id = k.project_id) AND (p.agent_id IS NULL OR p.agent_id = k.agent_id)
     ORDER BY p.name, p.agent_id IS NULL, p.project_id IS NULL, p.model IS NULL, right(p.model, 1) = '*',
              length(p.model) DESC, p.adapter IS NULL, p.tier IS NULL, p.region IS NULL, p.price_id) r
   WHERE r.pays = 'house');

-- The most that requests of these tokens can cost by the prices in force: the dearest kind of input, in the dearest band
-- that it may reach. Where nobody says how much of extras, any token may be of any part; else so many are. No row: the
-- customer has no subscription; no amount: a price that it may need is not there.
CREATE FUNCTION most_it_costs(of_customer text, of_model text, of_tier text, of_adapter text, of_region text,
                              of_project text, of_agent text, input_max bigint, output_max bigint,
                              requests bigint, extras_max jsonb, at timestamptz)
RETURNS TABLE (currency text, amount numeric) LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT c.currency::text,
         CASE WHEN input_max = 0 THEN 0 WHEN m.uncached = m.edges THEN input_max * m.input END
       + CASE WHEN output_max = 0 THEN 0 WHEN m.visible = m.edges THEN output_max * m.output END
       + coalesce(requests * m.asked, 0)
       + coalesce((SELECT sum(CASE WHEN x.part_of IS NULL THEN x.quantity * x.each_amount
                                   WHEN x.part_of LIKE 'input%' THEN
                                     least(x.quantity, input_max) * greatest(x.each_amount - m.input, 0)
                                   ELSE least(x.quantity, output_max) * greatest(x.each_amount - m.output, 0) END)
                     FROM (SELECT part_of(e.meter) AS part_of, e.quantity, max(a.each_amount) AS each_amount
                             FROM jsonb_to_recordset(extras_max) AS e (meter text, quantity numeric)
                             JOIN unnest(m.meters, m.amounts) AS a (meter, each_amount) ON a.meter = e.meter
                            GROUP BY e.meter, e.quantity) x), 0)
    FROM subscriptions_of(ARRAY[of_customer], as_it_stands()) s
    JOIN rate_card c USING (rate_card_id)
    JOIN entity e ON e.entity_id = c.entity_id
   CROSS JOIN (SELECT array_agg(t.edge) AS reached FROM unnest(context_edges()) AS t (edge)
                WHERE t.edge < greatest(input_max, 1)) b
   CROSS JOIN LATERAL (
     SELECT cardinality(b.reached) AS edges,
            count(a.each_amount) FILTER (WHERE a.meter = 'input_uncached') AS uncached,
            count(a.each_amount) FILTER (WHERE a.meter = 'output_visible') AS visible,
            max(a.each_amount) FILTER (WHERE a.meter IN ('input_uncached', 'input_cache_read', 'input_cache_write')
                                          OR (extras_max IS NULL AND part_of(a.meter) LIKE 'input%')) AS input,
            max(a.each_amount) FILTER (WHERE a.meter IN ('output_visible', 'output_reasoning')
                                          OR (extras_max IS NULL AND part_of(a.meter) LIKE 'output%')) AS output,
            max(a.each_amount) FILTER (WHERE a.meter = 'requests') AS asked,
            array_agg(a.meter) FILTER (WHERE extras_max IS NOT NULL) AS meters,
            array_agg(a.each_amount) FILTER (WHERE extras_max IS NOT NULL) AS amounts
       FROM unit_amounts(c.rate_card_id, of_model, coalesce(of_tier, e.default_tier), of_adapter, of_region,
                         of_project, of_agent, b.reached, at) a) m
   WHERE s.valid @> at AND s.models @> of_model;
END;

-- What usage of a key in a window comes to by the prices in force; what has no price comes to nothing, and is listed
-- as unpriced elsewhere. A part with a price costs that instead of what the meter costs that it is a part of.
CREATE FUNCTION cost_of_use(k usage_key, at timestamptz, uncached numeric, cache_read numeric, cache_write numeric,
                            visible numeric, reasoning numeric, requests numeric, extras jsonb)
RETURNS TABLE (currency text, amount numeric) LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT c.currency::text, coalesce(uncached * m.input, 0) + coalesce(cache_read * m.read, 0)
         + coalesce(cache_write * m.written, 0) + coalesce(visible * m.output, 0)
         + coalesce(reasoning * coalesce(m.thought, m.output), 0) + coalesce(requests * m.asked, 0)
         + coalesce((SELECT sum(e.value::numeric * (a.each_amount - coalesce(w.each_amount, 0)))
                       FROM jsonb_each_text(extras) e
                       JOIN unnest(m.meters, m.amounts) AS a (meter, each_amount) ON a.meter = e.key
                       LEFT JOIN unnest(m.meters, m.amounts) AS w (meter, each_amount) ON w.meter = part_of(e.key)), 0)
    FROM subscriptions_of(ARRAY[k.customer_id], as_it_stands()) s
    JOIN rate_card c USING (rate_card_id)
   CROSS JOIN LATERAL (
     SELECT max(a.each_amount) FILTER (WHERE a.meter = 'input_uncached') AS input,
            max(a.each_amount) FILTER (WHERE a.meter = 'input_cache_read') AS read,
            max(a.each_amount) FILTER (WHERE a.meter = 'input_cache_write') AS written,
            max(a.each_amount) FILTER (WHERE a.meter = 'output_visible') AS output,
            max(a.each_amount) FILTER (WHERE a.meter = 'output_reasoning') AS thought,
            max(a.each_amount) FILTER (WHERE a.meter = 'requests') AS asked,
            array_agg(a.meter) FILTER (WHERE extras IS NOT NULL) AS meters,
            array_agg(a.each_amount) FILTER (WHERE extras IS NOT NULL) AS amounts
       FROM unit_amounts(c.rate_card_id, k.model, k.tier, k.adapter, k.region, k.project_id, k.agent_id,
                         ARRAY[(context_edges())[k.context_band + 1]], at) a) m
   WHERE s.valid @> at AND s.models @> k.model AND (k.outcomes = 0 OR NOT house_pays(c.rate_card_id, k, at));
END;

CREATE TYPE balance_key AS (budget_id text, run_id text, period_start timestamptz);

-- Locks rows in one order, whoever asks, and makes those that are not there yet. What of them expired is let go: nothing
-- else ever needs to have run. Plans are made once, and for tables that will have grown: here a call is what costs.
CREATE FUNCTION lock_balances(keys balance_key[], at timestamptz) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  there int;
BEGIN
  SELECT count(*) INTO there FROM unnest(keys) AS k JOIN budget_balance h USING (budget_id, run_id, period_start);
  -- Made before any is locked: who waits for a row that another makes holds nothing that the other may wait for.
  IF there < cardinality(keys) THEN
    INSERT INTO budget_balance (budget_id, run_id, period_start, customer_id, own_mean)
    SELECT DISTINCT ON (k.budget_id COLLATE "C", k.run_id COLLATE "C", k.period_start)
           k.budget_id, k.run_id, k.period_start, b.customer_id,
           CASE WHEN b.times_own_mean IS NOT NULL THEN (
             SELECT CASE WHEN count(*) >= 5 THEN avg(o.used) END
               FROM (SELECT o.used FROM budget_balance o
                      WHERE o.budget_id = k.budget_id AND o.used > 0
                        AND (b.period = 'run' OR o.period_start < k.period_start)
                      ORDER BY o.period_start DESC, o.run_id DESC LIMIT 100) o) END
      FROM unnest(keys) AS k
      JOIN budget b ON b.budget_id = k.budget_id AND upper_inf(b.recorded)
     ORDER BY k.budget_id COLLATE "C", k.run_id COLLATE "C", k.period_start
    ON CONFLICT DO NOTHING;
  END IF;

  PERFORM FROM unnest(keys) AS k JOIN budget_balance h USING (budget_id, run_id, period_start)
    ORDER BY h.budget_id, h.run_id, h.period_start FOR UPDATE OF h;

  IF EXISTS (SELECT FROM unnest(keys) AS k JOIN reservation_hold h USING (budget_id, run_id, period_start)
              WHERE h.expires_at <= at) THEN
    WITH gone AS (
      DELETE FROM reservation_hold h USING unnest(keys) AS k
       WHERE h.budget_id = k.budget_id AND h.run_id = k.run_id AND h.period_start = k.period_start AND h.expires_at <= at
      RETURNING h.*
    ), ended AS (
      INSERT INTO reservation_end (customer_id, reservation_id, kind, ended_at)
      SELECT DISTINCT g.customer_id, g.reservation_id, 'expired', g.expires_at FROM gone g
       ORDER BY g.customer_id, g.reservation_id
      ON CONFLICT DO NOTHING
    )
    UPDATE budget_balance b SET held = b.held - g.amount
      FROM (SELECT budget_id, run_id, period_start, sum(amount) AS amount FROM gone GROUP BY 1, 2, 3) g
     WHERE b.budget_id = g.budget_id AND b.run_id = g.run_id AND b.period_start = g.period_start;
  END IF;
END $$;

-- Ends reservations that are still held, whose balances are locked.
CREATE FUNCTION end_reservations(named jsonb, how text, at timestamptz) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  WITH gone AS (
    DELETE FROM reservation_hold h USING jsonb_to_recordset(named) AS n (customer_id text, reservation_id text)
     WHERE h.customer_id = n.customer_id AND h.reservation_id = n.reservation_id
    RETURNING h.*
  ), ended AS (
    INSERT INTO reservation_end (customer_id, reservation_id, kind, ended_at)
    SELECT DISTINCT r.customer_id, r.reservation_id, how, at
      FROM jsonb_to_recordset(named) AS n (customer_id text, reservation_id text)
      JOIN reservation r USING (customer_id, reservation_id)
     ORDER BY r.customer_id, r.reservation_id
    ON CONFLICT DO NOTHING
  )
  UPDATE budget_balance b SET held = b.held - g.amount
    FROM (SELECT budget_id, run_id, period_start, sum(amount) AS amount FROM gone GROUP BY 1, 2, 3) g
   WHERE b.budget_id = g.budget_id AND b.run_id = g.run_id AND b.period_start = g.period_start;
END $$;

-- Asks are numbered from 0 in their order, so that one is found by its number.
CREATE TYPE asked_reservation AS (
  ask int, customer_id text, refused text, reservation_id text, said jsonb, actor text, expires_at timestamptz,
  project_id text, api_key_id text, agent_id text, agent_run_id text, model text, tier text, adapter text, region text,
  requests bigint, input_tokens_max bigint, output_tokens_max bigint, extras_max jsonb);
CREATE TYPE wanted_hold AS (
  ask int, balance int, key balance_key, unit text, needed numeric, ceiling numeric, times_own_mean numeric, lacks text);

-- Many reservations in one call, each as if it came alone: held in all budgets it falls under, or refused and nothing
-- is held. What they are worth is what they need at most, so that what is granted always fits.
CREATE FUNCTION reserve(asks jsonb, at timestamptz)
RETURNS TABLE (ask int, outcome text, detail jsonb) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  asked asked_reservation[];
  wanted wanted_hold[];
  keys balance_key[];
  used numeric[];
  held numeric[];
  means numeric[];
  a asked_reservation;
  w wanted_hold;
  known reservation;
  ceiling numeric;
  next_wanted int := 1;
  first_wanted int;
  why text;
  granted int[] := '{}';
  taken jsonb[];
  inserted int;
  plain boolean;
BEGIN
  SELECT array_agg(ROW(
           q.ask, c.customer_id,
           CASE WHEN c.customer_id IS NULL THEN 'unknown_customer'
                WHEN q.only_entity IS NOT NULL AND q.only_entity <> c.entity_id THEN 'forbidden'
                WHEN q.only_customers IS NOT NULL AND NOT q.only_customers ? c.customer_id THEN 'forbidden' END,
           q.reservation_id, q.said, q.actor, at + make_interval(secs => q.expires_in_s),
           coalesce(q.said ->> 'project_id', ''), coalesce(q.said ->> 'api_key_id', ''),
           coalesce(q.said ->> 'agent_id', ''), coalesce(q.said ->> 'agent_run_id', ''),
           coalesce(q.said ->> 'model', ''), q.said ->> 'tier',
           coalesce(q.said ->> 'adapter', ''), coalesce(q.said ->> 'region', ''),
           (q.said ->> 'requests')::bigint, (q.said ->> 'input_tokens_max')::bigint,
           (q.said ->> 'output_tokens_max')::bigint, q.said -> 'extras_max')::asked_reservation ORDER BY q.ask)
    INTO asked
    FROM jsonb_to_recordset(asks) AS q (ask int, customer text, reservation_id text, said jsonb, actor text,
                                        expires_in_s int, only_customers jsonb, only_entity text)
    LEFT JOIN customer c ON c.customer_id = coalesce(
           (SELECT n.customer_id FROM customer n WHERE n.customer_id = q.customer),
           (SELECT n.customer_id FROM customer_alias n
             WHERE n.alias = q.customer AND n.valid @> at AND upper_inf(n.recorded)));

  SELECT array_agg(ROW(
           q.ask, q.balance, ROW(q.budget_id, q.run_id, q.period_start)::balance_key, q.unit, q.needed, q.amount,
           q.times_own_mean, q.lacks)::wanted_hold ORDER BY q.ask, q.balance)
    INTO wanted
    FROM (
      SELECT q.ask, b.budget_id, r.run_id, p.period_start, b.unit, b.amount, b.times_own_mean,
             -- What lacks something has no balance: it is behind all that have.
             dense_rank() OVER (ORDER BY l.lacks IS NOT NULL, b.budget_id COLLATE "C", r.run_id COLLATE "C",
                                         p.period_start)::int AS balance,
             CASE b.unit WHEN 'money' THEN q.amount
                         WHEN 'tokens' THEN q.input_tokens_max + q.output_tokens_max ELSE q.requests END AS needed,
             l.lacks
        FROM (SELECT p.*, m.currency, m.amount
                FROM unnest(asked) AS p
                LEFT JOIN LATERAL (
                  SELECT * FROM most_it_costs(p.customer_id, p.model, p.tier, p.adapter, p.region, p.project_id, p.agent_id,
                                              p.input_tokens_max, p.output_tokens_max, p.requests, p.extras_max, at)
                   WHERE EXISTS (SELECT FROM budgets_of(p.customer_id, at) b WHERE b.unit = 'money')) m ON true
               WHERE p.refused IS NULL OFFSET 0) AS q
        JOIN LATERAL budgets_of(q.customer_id, at) b ON b.hard AND (b.project_id IS NULL OR b.project_id = q.project_id)
         AND (b.api_key_id IS NULL OR b.api_key_id = q.api_key_id)
         AND (b.agent_id IS NULL OR b.agent_id = q.agent_id)
         AND (b.agent_run_id IS NULL OR b.agent_run_id = q.agent_run_id)
       CROSS JOIN LATERAL (SELECT CASE b.period WHEN 'run' THEN q.agent_run_id ELSE '' END AS run_id) r
        -- Every period that it may end in.
       CROSS JOIN LATERAL (
         SELECT DISTINCT budget_period_start(b.period, b.zone, b.anchor_day, t) AS period_start
           FROM (SELECT generate_series(at, q.expires_at, '1 hour') UNION ALL SELECT q.expires_at) AS s (t)
          WHERE b.valid @> t) p
       CROSS JOIN LATERAL (
         SELECT CASE WHEN b.period = 'run' AND q.agent_run_id = '' THEN 'run_missing'
                     WHEN b.unit = 'money' AND (q.amount IS NULL OR q.currency <> b.currency) THEN 'unpriced'
                END AS lacks) l) q;

  SELECT array_agg(DISTINCT k.key) INTO keys FROM unnest(wanted) AS k WHERE k.lacks IS NULL;
  IF keys IS NOT NULL THEN
    PERFORM lock_balances(keys, at);
    SELECT array_agg(b.used ORDER BY b.budget_id, b.run_id, b.period_start),
           array_agg(b.held ORDER BY b.budget_id, b.run_id, b.period_start),
           array_agg(b.own_mean ORDER BY b.budget_id, b.run_id, b.period_start)
      INTO used, held, means
      FROM unnest(keys) AS k JOIN budget_balance b USING (budget_id, run_id, period_start);
  END IF;

  -- What is known under an id is looked up behind the locks: of two who come at once the second sees the first.
  SELECT coalesce(bool_and(q.refused IS NULL AND r.customer_id IS NULL), true) INTO plain
    FROM unnest(asked) AS q LEFT JOIN reservation r USING (customer_id, reservation_id);
  IF plain THEN
    SELECT coalesce(bool_and(coalesce(u.lacks IS NULL AND u.left >= 0, false)), true) INTO plain
      FROM (SELECT n.lacks, least(n.ceiling, n.times_own_mean * means[n.balance]) - used[n.balance] - held[n.balance]
                     - sum(n.needed) OVER (PARTITION BY n.balance ORDER BY n.ask) AS left
              FROM unnest(wanted) AS n) u;
  END IF;
  IF plain THEN
    -- All of it fits, which is how nearly every call ends.
    SELECT array_agg(q.ask) INTO granted FROM unnest(asked) AS q;
    RETURN QUERY
    SELECT q.ask, 'held', jsonb_build_object('customer_id', q.customer_id, 'expires_at', q.expires_at,
                                             'holds', coalesce(h.holds, '[]'))
      FROM unnest(asked) AS q
      LEFT JOIN (
        SELECT u.ask, jsonb_agg(jsonb_build_object(
                 'budget_id', (u.key).budget_id, 'agent_run_id', (u.key).run_id, 'unit', u.unit,
                 'period_start', (u.key).period_start, 'amount', trim_scale(u.needed)::text,
                 'left', trim_scale(u.left)::text) ORDER BY u.balance) AS holds
          FROM (SELECT n.*, least(n.ceiling, n.times_own_mean * means[n.balance]) - used[n.balance] - held[n.balance]
                         - sum(n.needed) OVER (PARTITION BY n.balance ORDER BY n.ask) AS left
                  FROM unnest(wanted) AS n) u
         GROUP BY u.ask) h ON h.ask = q.ask;
  END IF;

  FOREACH a IN ARRAY CASE WHEN plain THEN '{}' ELSE asked END LOOP
    ask := a.ask;
    outcome := a.refused;
    detail := '{}';
    first_wanted := next_wanted;
    WHILE next_wanted <= coalesce(cardinality(wanted), 0) AND wanted[next_wanted].ask = a.ask LOOP
      next_wanted := next_wanted + 1;
    END LOOP;
    IF outcome IS NULL THEN
      SELECT r.* INTO known FROM reservation r
       WHERE r.customer_id = a.customer_id AND r.reservation_id = a.reservation_id;
      IF FOUND THEN
        outcome := CASE WHEN known.said = a.said THEN 'again' ELSE 'conflict' END;
      END IF;
    END IF;
    IF outcome IS NULL THEN
      FOR n IN first_wanted .. next_wanted - 1 LOOP
        w := wanted[n];
        ceiling := least(w.ceiling, w.times_own_mean * means[w.balance]);
        outcome := CASE WHEN w.lacks IS NOT NULL THEN w.lacks
                        WHEN used[w.balance] + held[w.balance] + w.needed > ceiling THEN 'over_budget' END;
        IF outcome IS NOT NULL THEN
          why := CASE WHEN used[w.balance] + held[w.balance] + w.needed <= w.ceiling THEN 'runaway' ELSE 'refused' END;
          detail := jsonb_build_object(
            'budget_id', (w.key).budget_id, 'agent_run_id', (w.key).run_id, 'unit', w.unit, 'why', why,
            'period_start', (w.key).period_start,
            'currency', (SELECT o.currency FROM budget o WHERE o.budget_id = (w.key).budget_id LIMIT 1),
            'needed', trim_scale(w.needed)::text, 'used', trim_scale(used[w.balance])::text,
            'held', trim_scale(held[w.balance])::text, 'ceiling', trim_scale(ceiling)::text);
          IF outcome = 'over_budget' THEN
            INSERT INTO budget_alert (budget_id, run_id, period_start, kind, percent, customer_id, used, held, ceiling, noticed_at)
            VALUES ((w.key).budget_id, (w.key).run_id, (w.key).period_start, why, 0,
                    (SELECT o.customer_id FROM budget o WHERE o.budget_id = (w.key).budget_id LIMIT 1), used[w.balance],
                    held[w.balance], trim_scale(ceiling), at)
            ON CONFLICT DO NOTHING;
          END IF;
          EXIT;
        END IF;
      END LOOP;
    END IF;
    IF outcome IS NULL THEN
      outcome := 'held';
      granted := granted || a.ask;
      taken := '{}';
      FOR n IN first_wanted .. next_wanted - 1 LOOP
        w := wanted[n];
        held[w.balance] := held[w.balance] + w.needed;
        taken := taken || jsonb_build_object(
          'budget_id', (w.key).budget_id, 'agent_run_id', (w.key).run_id, 'unit', w.unit,
          'period_start', (w.key).period_start, 'amount', trim_scale(w.needed)::text,
          'left', trim_scale(least(w.ceiling, w.times_own_mean * means[w.balance]) - used[w.balance] - held[w.balance])::text);
      END LOOP;
      detail := jsonb_build_object('expires_at', a.expires_at, 'holds', to_jsonb(taken));
    ELSIF outcome = 'again' THEN
      detail := jsonb_build_object('expires_at', known.expires_at, 'holds', coalesce((
        SELECT jsonb_agg(jsonb_build_object('budget_id', h.budget_id, 'agent_run_id', h.run_id, 'unit', b.unit,
                 'period_start', h.period_start, 'amount', trim_scale(h.amount)::text, 'left', NULL)
                 ORDER BY h.budget_id, h.run_id, h.period_start)
          FROM reservation_hold h
          JOIN budget b ON b.budget_id = h.budget_id AND upper_inf(b.recorded) AND b.valid @> at
         WHERE h.customer_id = a.customer_id AND h.reservation_id = a.reservation_id AND h.expires_at > at), '[]'));
    END IF;
    detail := detail || jsonb_build_object('customer_id', a.customer_id);
    RETURN NEXT;
  END LOOP;

  IF granted <> '{}' THEN
    INSERT INTO reservation (customer_id, reservation_id, said, reserved_at, expires_at, actor)
    SELECT q.customer_id, q.reservation_id, q.said, at, q.expires_at, q.actor
      FROM unnest(asked) AS q WHERE q.ask = ANY (granted) ORDER BY q.customer_id, q.reservation_id
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS inserted = ROW_COUNT;
    IF inserted <> cardinality(granted) THEN
      RAISE EXCEPTION 'another reservation of one of these ids came first' USING ERRCODE = 'serialization_failure';
    END IF;
    INSERT INTO reservation_hold (customer_id, reservation_id, budget_id, run_id, period_start, amount, expires_at)
    SELECT (asked[h.ask + 1]).customer_id, (asked[h.ask + 1]).reservation_id, (h.key).budget_id, (h.key).run_id,
           (h.key).period_start, h.needed, (asked[h.ask + 1]).expires_at
      FROM unnest(wanted) AS h WHERE h.ask = ANY (granted);
    UPDATE budget_balance b SET held = b.held + t.needed
      FROM (SELECT h.key, sum(h.needed) AS needed FROM unnest(wanted) AS h WHERE h.ask = ANY (granted) GROUP BY h.key) t
     WHERE b.budget_id = (t.key).budget_id AND b.run_id = (t.key).run_id AND b.period_start = (t.key).period_start;
  END IF;
END $$;

-- Ends what the caller holds under an id: NULL where there is no such reservation, else how it has ended.
CREATE FUNCTION release_reservation(of_customer text, of_reservation text, at timestamptz) RETURNS text
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  keys balance_key[];
BEGIN
  SELECT array_agg(ROW(h.budget_id, h.run_id, h.period_start)::balance_key) INTO keys
    FROM reservation_hold h WHERE h.customer_id = of_customer AND h.reservation_id = of_reservation;
  PERFORM lock_balances(keys, at);
  PERFORM end_reservations(
    jsonb_build_array(jsonb_build_object('customer_id', of_customer, 'reservation_id', of_reservation)),
    CASE WHEN r.expires_at <= at THEN 'expired' ELSE 'released' END, at)
    FROM reservation r WHERE r.customer_id = of_customer AND r.reservation_id = of_reservation;
  RETURN (SELECT e.kind FROM reservation_end e
           WHERE e.customer_id = of_customer AND e.reservation_id = of_reservation);
END $$;

CREATE TYPE budget_use AS (key balance_key, amount numeric);

-- What a budget has to say of its use: so many percent, and that it is beyond what is usual, reserved or not.
CREATE FUNCTION alerts_of(b budget, used numeric, own_mean numeric) RETURNS TABLE (kind text, percent int, ceiling numeric)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT 'used', p.percent, b.amount FROM unnest(b.alert_percents) AS p (percent) WHERE used * 100 >= b.amount * p.percent
   UNION ALL
  SELECT 'runaway', 0, u.ceiling FROM (SELECT trim_scale(b.times_own_mean * own_mean) AS ceiling) u
   WHERE u.ceiling < least(used, b.amount)
$$;

-- What usage adds to the budgets it falls under, signed, and the reservations that it names, which it settles: the last
-- thing a batch does, because others wait for the rows that it locks.
CREATE FUNCTION count_use(moves jsonb, named jsonb, under bigint, at timestamptz) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  uses budget_use[];
  keys balance_key[];
BEGIN
  SELECT array_agg(ROW(ROW(u.budget_id, u.run_id, u.period_start)::balance_key, u.amount)::budget_use) INTO uses
    FROM (
      SELECT b.budget_id, r.run_id, p.period_start,
             sum(CASE b.unit WHEN 'money' THEN CASE WHEN c.currency = b.currency THEN c.amount END
                             WHEN 'tokens' THEN m.uncached + m.cache_read + m.cache_write + m.visible + m.reasoning
                             ELSE m.requests END) AS amount
        FROM jsonb_to_recordset(moves) AS m (usage_key_id bigint, agent_run_id text, used_at timestamptz, requests numeric,
                                             uncached numeric, cache_read numeric, cache_write numeric, visible numeric,
                                             reasoning numeric, extras jsonb)
        JOIN usage_key k USING (usage_key_id)
        JOIN LATERAL budgets_of(k.customer_id, m.used_at) b ON b.valid @> m.used_at
         AND (b.project_id IS NULL OR b.project_id = k.project_id)
         AND (b.api_key_id IS NULL OR b.api_key_id = k.api_key_id)
         AND (b.agent_id IS NULL OR b.agent_id = k.agent_id)
         AND (b.agent_run_id IS NULL OR b.agent_run_id = m.agent_run_id)
         AND (b.period <> 'run' OR m.agent_run_id IS NOT NULL)
       CROSS JOIN LATERAL (SELECT CASE b.period WHEN 'run' THEN m.agent_run_id ELSE '' END AS run_id) r
       CROSS JOIN LATERAL (SELECT budget_period_start(b.period, b.zone, b.anchor_day, m.used_at) AS period_start) p
        LEFT JOIN LATERAL cost_of_use(k, m.used_at, m.uncached, m.cache_read, m.cache_write, m.visible, m.reasoning,
                                      m.requests, m.extras) c
          ON b.unit = 'money'
       GROUP BY 1, 2, 3) u
   WHERE u.amount <> 0;

  SELECT array_agg(k.key) INTO keys
    FROM (SELECT t.key FROM unnest(uses) AS t
           UNION
          SELECT ROW(h.budget_id, h.run_id, h.period_start)::balance_key
            FROM jsonb_to_recordset(named) AS n (customer_id text, reservation_id text)
            JOIN reservation_hold h USING (customer_id, reservation_id)) k;
  IF keys IS NOT NULL THEN
    PERFORM lock_balances(keys, at);
  END IF;
  PERFORM end_reservations(named, 'settled', at);

  INSERT INTO counted_meanwhile (budget_id, run_id, period_start, batch_seq, amount)
  SELECT (t.key).budget_id, (t.key).run_id, (t.key).period_start, under, t.amount
    FROM unnest(uses) AS t WHERE EXISTS (SELECT FROM entered_budget e WHERE e.budget_id = (t.key).budget_id);
  WITH added AS (
    UPDATE budget_balance b SET used = b.used + t.amount
      FROM unnest(uses) AS t
     WHERE b.budget_id = (t.key).budget_id AND b.run_id = (t.key).run_id AND b.period_start = (t.key).period_start
    RETURNING b.*
  )
  INSERT INTO budget_alert (budget_id, run_id, period_start, kind, percent, customer_id, used, held, ceiling, noticed_at)
  SELECT a.budget_id, a.run_id, a.period_start, t.kind, t.percent, a.customer_id, a.used, a.held, t.ceiling, at
    FROM added a
    JOIN budget b ON b.budget_id = a.budget_id AND upper_inf(b.recorded) AND b.valid @> at
   CROSS JOIN LATERAL alerts_of(b, a.used, a.own_mean) t
  ON CONFLICT DO NOTHING;
END $$;

-- What was used before a budget was there, by period, of the last of which anything was, as stored up to a number; nothing
-- of a period that it was counted in, and whose use is nobody's of the family any more. Runs have no sums by window: they
-- count from then on.
CREATE FUNCTION earlier_use(of_budget text, upto bigint) RETURNS TABLE (period_start timestamptz, used numeric)
LANGUAGE plpgsql STABLE AS $$
DECLARE
  b budget;
  since timestamptz;
  family text[];
BEGIN
  SELECT o.* INTO b FROM budget o WHERE o.budget_id = of_budget AND upper_inf(o.recorded) ORDER BY o.valid DESC LIMIT 1;
  IF NOT FOUND OR b.period = 'run' OR b.agent_run_id IS NOT NULL THEN
    RETURN;
  END IF;
  family := b.customer_id || ARRAY(SELECT a.customer_id FROM customer_above a
                                    WHERE a.above_id = b.customer_id AND upper_inf(a.recorded));
  SELECT CASE b.period WHEN 'ever' THEN '-infinity' ELSE
           budget_period_start(b.period, b.zone, b.anchor_day, max(d.window_start) - 12 * ('1 ' || b.period)::interval) END
    INTO since
    FROM usage_delta d WHERE d.customer_id = ANY (family) AND d.batch_seq <= upto;

  RETURN QUERY
  SELECT t.began, sum(t.amount) FROM (
  SELECT h.period_start, 0 FROM budget_balance h
   WHERE h.budget_id = of_budget AND h.run_id = '' AND h.period_start >= coalesce(since, '-infinity')
   UNION ALL
  SELECT p.period_start,
         coalesce(sum(CASE o.unit WHEN 'money' THEN CASE WHEN c.currency = o.currency THEN c.amount END
                                  WHEN 'tokens' THEN u.uncached + u.cache_read + u.cache_write + u.visible + u.reasoning
                                  WHEN 'requests' THEN u.requests END), 0)
    FROM (SELECT d.usage_key_id, d.window_start, sum(d.requests) AS requests, sum(d.uncached) AS uncached,
                 sum(d.cache_read) AS cache_read, sum(d.cache_write) AS cache_write, sum(d.visible) AS visible,
                 sum(d.reasoning) AS reasoning
            FROM usage_delta d
           WHERE d.customer_id = ANY (family) AND d.window_start >= since AND d.batch_seq <= upto
             AND (d.customer_id = b.customer_id OR EXISTS (
                  SELECT FROM customer_above a WHERE a.customer_id = d.customer_id AND a.above_id = b.customer_id
                                                 AND upper_inf(a.recorded) AND a.valid @> d.window_start))
           GROUP BY 1, 2) u
    JOIN usage_key k USING (usage_key_id)
   CROSS JOIN LATERAL (SELECT budget_period_start(b.period, b.zone, b.anchor_day, u.window_start) AS period_start) p
    LEFT JOIN budget o ON o.budget_id = of_budget AND upper_inf(o.recorded) AND o.valid @> u.window_start
     AND (o.project_id IS NULL OR o.project_id = k.project_id)
     AND (o.api_key_id IS NULL OR o.api_key_id = k.api_key_id)
     AND (o.agent_id IS NULL OR o.agent_id = k.agent_id)
    LEFT JOIN LATERAL (
      SELECT jsonb_object_agg(s.meter, s.quantity) AS extras
        FROM (SELECT d.meter, sum(d.quantity) AS quantity FROM extra_delta d
               WHERE d.customer_id = k.customer_id AND d.window_start = u.window_start
                 AND d.usage_key_id = u.usage_key_id AND d.batch_seq <= upto GROUP BY 1) s) x ON o.unit = 'money'
    LEFT JOIN LATERAL cost_of_use(k, u.window_start, u.uncached, u.cache_read, u.cache_write, u.visible, u.reasoning,
                                  u.requests, x.extras) c
      ON o.unit = 'money'
   GROUP BY 1) t (began, amount)
   GROUP BY 1;
END $$;

-- Begins the balances of a budget with what was used of its periods up to a number, and what batches behind that have
-- counted themselves meanwhile.
CREATE FUNCTION begin_balances(of_budget text, upto bigint, periods timestamptz[], uses numeric[], at timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  -- All at once: who holds one and makes another would wait for who makes that and waits for the one.
  PERFORM lock_balances(ARRAY(SELECT ROW(of_budget, '', p.began)::balance_key FROM unnest(periods) AS p (began)), at);
  UPDATE budget_balance h
     SET used = t.used + coalesce((SELECT sum(m.amount) FROM counted_meanwhile m
                                    WHERE m.budget_id = of_budget AND m.run_id = '' AND m.period_start = h.period_start
                                      AND m.batch_seq > upto), 0)
    FROM unnest(periods, uses) AS t (began, used)
   WHERE h.budget_id = of_budget AND h.run_id = '' AND h.period_start = t.began;
  UPDATE budget_balance h
     SET own_mean = (SELECT CASE WHEN count(*) >= 5 THEN avg(o.used) END
                       FROM (SELECT o.used FROM budget_balance o
                              WHERE o.budget_id = of_budget AND o.used > 0 AND o.period_start < h.period_start
                              ORDER BY o.period_start DESC LIMIT 100) o)
   WHERE h.budget_id = of_budget AND h.run_id = '' AND h.period_start = ANY (periods) AND h.own_mean IS NULL
     AND EXISTS (SELECT FROM budget b WHERE b.budget_id = of_budget AND upper_inf(b.recorded) AND b.times_own_mean IS NOT NULL);

  INSERT INTO budget_alert (budget_id, run_id, period_start, kind, percent, customer_id, used, held, ceiling, noticed_at)
  SELECT h.budget_id, h.run_id, h.period_start, t.kind, t.percent, h.customer_id, h.used, h.held, t.ceiling, at
    FROM budget_balance h
    JOIN (SELECT o.* FROM budget o WHERE o.budget_id = of_budget AND upper_inf(o.recorded)
           ORDER BY o.valid DESC LIMIT 1) b ON b.budget_id = h.budget_id
   CROSS JOIN LATERAL alerts_of(b, h.used, h.own_mean) t
   WHERE h.run_id = '' AND h.period_start = (SELECT max(l.began) FROM unnest(periods) AS l (began)) AND h.used > 0
  ON CONFLICT DO NOTHING;
END $$;

-- In the transaction that enters a budget: it begins with all that is seen by then, where nobody has seen the budget. What
-- is on its way then neither sees the budget nor is seen: count_entered_budget() looks again behind it.
CREATE FUNCTION enter_balances(of_budget text, under bigint, at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO entered_budget (batch_seq, budget_id) VALUES (under, of_budget);
  IF NOT EXISTS (SELECT FROM budget_balance h WHERE h.budget_id = of_budget) THEN
    PERFORM begin_balances(of_budget, as_it_stands(), array_agg(u.period_start), array_agg(u.used), at)
       FROM earlier_use(of_budget, as_it_stands()) u HAVING count(*) > 0;
  END IF;
END $$;

-- What was used up to a number behind which every batch sees the budget; false where another was first. Who counts while
-- the budget waits for this says so in counted_meanwhile: locks are held for no longer than it takes to add that.
CREATE FUNCTION count_entered_budget(of_budget text, under bigint[], upto bigint, periods timestamptz[], uses numeric[],
                                     at timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM entered_budget e WHERE e.batch_seq = ANY (under);
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF periods <> '{}' THEN
    PERFORM begin_balances(of_budget, upto, periods, uses, at);
  END IF;
  DELETE FROM counted_meanwhile m
   WHERE m.budget_id = of_budget AND NOT EXISTS (SELECT FROM entered_budget e WHERE e.budget_id = of_budget);
  RETURN true;
END $$;

REVOKE ALL ON FUNCTION earlier_use(text, bigint), begin_balances(text, bigint, timestamptz[], numeric[], timestamptz),
  enter_balances(text, bigint, timestamptz),
  count_entered_budget(text, bigint[], bigint, timestamptz[], numeric[], timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION earlier_use(text, bigint), begin_balances(text, bigint, timestamptz[], numeric[], timestamptz),
  enter_balances(text, bigint, timestamptz),
  count_entered_budget(text, bigint[], bigint, timestamptz[], numeric[], timestamptz) TO tokenledger_worker;
REVOKE ALL ON FUNCTION lock_balances(balance_key[], timestamptz), end_reservations(jsonb, text, timestamptz),
  reserve(jsonb, timestamptz), release_reservation(text, text, timestamptz),
  count_use(jsonb, jsonb, bigint, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lock_balances(balance_key[], timestamptz), end_reservations(jsonb, text, timestamptz),
  reserve(jsonb, timestamptz), release_reservation(text, text, timestamptz),
  count_use(jsonb, jsonb, bigint, timestamptz) TO tokenledger_worker;
