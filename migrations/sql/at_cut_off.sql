-- What is true at a cut-off, said once: of each natural key the highest revision stored up to it; charges are summed.
-- PostgreSQL puts these functions into the query that names them, and what is asked of the columns that rows are told
-- apart by into their scans; so entity_id is one of them, though a row's other names decide it. Restricted as the
-- policies of the tables are: whether a plan may go parallel is decided before their bodies are seen.

CREATE FUNCTION priced_keys(seq bigint)
RETURNS TABLE (usage_key_id bigint, model text, tier text, adapter text, region text, context_band smallint,
               project_id text, agent_id text, outcomes int) LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT k.usage_key_id, k.model, k.tier, k.adapter, k.region, k.context_band,
         CASE WHEN k.project_id = ANY (n.projects) THEN k.project_id ELSE '' END,
         CASE WHEN k.agent_id = ANY (n.agents) THEN k.agent_id ELSE '' END, k.outcomes & n.outcomes
    FROM usage_key k
   CROSS JOIN (SELECT coalesce(array_agg(DISTINCT p.project_id) FILTER (WHERE p.project_id IS NOT NULL), '{}') AS projects,
                      coalesce(array_agg(DISTINCT p.agent_id) FILTER (WHERE p.agent_id IS NOT NULL), '{}') AS agents,
                      coalesce(bit_or(outcome_bit(p.name)) FILTER (WHERE p.meter = 'outcome'), 0) AS outcomes
                 FROM rate_card_price p
                WHERE (p.project_id IS NOT NULL OR p.agent_id IS NOT NULL OR p.meter = 'outcome')
                  AND lower(p.recorded) <= seq) n;
END;
COMMENT ON FUNCTION priced_keys(bigint) IS 'What prices may depend on of usage keys: of projects, agents and outcomes those alone that some price has ever named, so that usage alike to all prices is one kind.';

-- What reports group usage by: of its keys the names that are asked for, all others NULL; `customer` is its id, or what it
-- calls itself in brackets.
CREATE FUNCTION grouped_keys(names text[])
RETURNS TABLE (usage_key_id bigint, entity_id text, customer text, project_id text, api_key_id text, agent_id text, tier text,
               model text, adapter text, region text, outcome text) LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT k.usage_key_id, k.entity_id,
         CASE WHEN 'customer' = ANY (names) THEN coalesce(k.customer_id, '(' || k.customer_ref || ')') END,
         CASE WHEN 'project_id' = ANY (names) THEN k.project_id END,
         CASE WHEN 'api_key_id' = ANY (names) THEN k.api_key_id END,
         CASE WHEN 'agent_id' = ANY (names) THEN k.agent_id END,
         CASE WHEN 'tier' = ANY (names) THEN k.tier END,
         CASE WHEN 'model' = ANY (names) THEN k.model END,
         CASE WHEN 'adapter' = ANY (names) THEN k.adapter END,
         CASE WHEN 'region' = ANY (names) THEN k.region END,
         CASE WHEN 'outcome' = ANY (names) THEN outcome_names(k.outcomes) END
    FROM usage_key k;
END;
COMMENT ON FUNCTION grouped_keys(text[]) IS 'Usage keys by the columns that are named; ask by usage_key_id.';

CREATE FUNCTION place_of_group(before text[], step timestamptz, behind text[], customer text, project_id text, api_key_id text,
                               agent_id text, tier text, model text, adapter text, region text, outcome text, meter text)
RETURNS TABLE (sort_key text[]) LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT ARRAY(SELECT j.said ->> n.name FROM unnest(before) WITH ORDINALITY n(name, at) ORDER BY n.at)
         || CASE WHEN step IS NULL THEN '{}'::text[]
                 ELSE ARRAY[to_char(step AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS".000000Z"')] END
         || ARRAY(SELECT j.said ->> n.name FROM unnest(behind) WITH ORDINALITY n(name, at) ORDER BY n.at)
    FROM (SELECT jsonb_build_object(
            'customer', customer, 'project_id', project_id, 'api_key_id', api_key_id, 'agent_id', agent_id, 'tier', tier,
            'model', model, 'adapter', adapter, 'region', region, 'outcome', outcome, 'meter', meter) AS said OFFSET 0) j;
END;
COMMENT ON FUNCTION place_of_group IS 'Where a group of a report stands among its pages: what it is of names before and behind its step in time.';

CREATE FUNCTION users_by(names text[])
RETURNS TABLE (usage_key_id bigint, entity_id text, customer_id text, customer_ref text, agent_id text, tier text,
               model text, project_id text, api_key_id text, adapter text, region text) LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT k.usage_key_id, k.entity_id, CASE WHEN 'customer' = ANY (names) THEN k.customer_id END,
         CASE WHEN 'customer' = ANY (names) THEN k.customer_ref END, CASE WHEN 'agent' = ANY (names) THEN k.agent_id END,
         CASE WHEN 'tier' = ANY (names) THEN k.tier END, CASE WHEN 'model' = ANY (names) THEN k.model END,
         CASE WHEN 'project' = ANY (names) THEN k.project_id END, CASE WHEN 'api_key' = ANY (names) THEN k.api_key_id END,
         CASE WHEN 'adapter' = ANY (names) THEN k.adapter END, CASE WHEN 'region' = ANY (names) THEN k.region END
    FROM usage_key k;
END;
COMMENT ON FUNCTION users_by(text[]) IS 'Who used what, by usage key, told apart by these alone of customer, agent, tier, model, project, api_key, adapter and region: so that sums are as few as those who ask tell apart.';

CREATE FUNCTION named_users(names text[])
RETURNS TABLE (usage_key_id bigint, entity_id text, model text, customer text, tier text, agent text, project text,
               api_key text, adapter text, region text) LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT k.usage_key_id, k.entity_id, CASE WHEN 'model' = ANY (names) THEN k.model END,
         CASE WHEN 'customer' = ANY (names) THEN coalesce(k.customer_id, '(unknown) ' || k.customer_ref) END,
         CASE WHEN 'tier' = ANY (names) THEN k.tier END, CASE WHEN 'agent' = ANY (names) THEN k.agent_id END,
         CASE WHEN 'project' = ANY (names) THEN k.project_id END, CASE WHEN 'api_key' = ANY (names) THEN k.api_key_id END,
         CASE WHEN 'adapter' = ANY (names) THEN k.adapter END, CASE WHEN 'region' = ANY (names) THEN k.region END
    FROM usage_key k;
END;
COMMENT ON FUNCTION named_users(text[]) IS 'The same in words, NAMED of ledger/domain/cost/efficiency.py.';

CREATE FUNCTION charges_at(seq bigint) RETURNS SETOF charge LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT c.* FROM charge c WHERE c.batch_seq <= seq;
END;
COMMENT ON FUNCTION charges_at(bigint) IS 'Charges known at a cut-off, to be summed; ask by entity_id or customer_id, and by day_start.';

CREATE FUNCTION site_costs_at(seq bigint) RETURNS SETOF site_cost LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT s.* FROM site_cost s WHERE s.batch_seq <= seq;
END;
COMMENT ON FUNCTION site_costs_at(bigint) IS 'Costs of sites known at a cut-off, to be summed; ask by entity_id or facility_id, and by day_start.';

-- What was charged in a period, of some entities: whole days as they are stored, and parts of days as their usage is priced
-- now, as rating prices it (append_charges); of a price that looks at a period as a whole, by their share of what their
-- day was charged. `asked` names both, and spells out the prices of the parts (charged.py).
-- OFFSET 0 holds the planner to the parts: there are few, or none.
CREATE FUNCTION charged_at(seq bigint, since timestamptz, until timestamptz, asked jsonb)
RETURNS TABLE (customer_id text, entity_id text, usage_key_id bigint, used_at timestamptz, meter text, currency text,
               quantity numeric, amount numeric, unpriced text) LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT c.customer_id, c.entity_id, c.usage_key_id, c.day_start, c.meter, c.currency::text, c.quantity::numeric,
         c.amount::numeric, c.unpriced
    FROM charge c
    JOIN jsonb_to_recordset(asked -> 'whole') AS w(entity_id text, since timestamptz, until timestamptz)
      ON c.entity_id = w.entity_id AND c.day_start >= w.since AND c.day_start < w.until
   WHERE c.batch_seq <= seq AND c.day_start >= charged_at.since AND c.day_start < charged_at.until
   UNION ALL
  SELECT o.customer_id, o.entity_id, d.usage_key_id, d.window_start, m.meter, t.currency, m.quantity,
         CASE WHEN t.is_pooled THEN coalesce(round(m.quantity * y.amount / nullif(y.quantity, 0), 12), 0)
              ELSE m.quantity * t.each_amount END,
         CASE WHEN s.subscription_id IS NULL THEN 'no subscription' ELSE t.unpriced END
    FROM jsonb_to_recordset(asked -> 'parts') AS p(entity_id text, since timestamptz, until timestamptz)
    JOIN customer o ON o.entity_id = p.entity_id
   CROSS JOIN LATERAL (
     SELECT u.usage_key_id, u.window_start, u.requests, u.uncached, u.cache_read, u.cache_write, u.visible, u.reasoning,
            NULL::text AS extra, 0::bigint AS quantity
       FROM (SELECT r.* FROM usage_delta r
              WHERE r.customer_id = o.customer_id AND r.window_start >= p.since AND r.window_start < p.until
                AND r.batch_seq <= seq OFFSET 0) u
      UNION ALL
     SELECT u.usage_key_id, u.window_start, 0, 0, 0, 0, 0, 0, u.meter, u.quantity
       FROM (SELECT r.* FROM extra_delta r
              WHERE r.customer_id = o.customer_id AND r.window_start >= p.since AND r.window_start < p.until
                AND r.batch_seq <= seq OFFSET 0) u) d
    JOIN priced_keys(seq) k ON k.usage_key_id = d.usage_key_id
    LEFT JOIN subscriptions_of(ARRAY(SELECT v.customer_id FROM customer v
                                       JOIN jsonb_to_recordset(asked -> 'parts') AS q(entity_id text) USING (entity_id)), seq) s
      ON s.customer_id = o.customer_id AND s.valid @> d.window_start AND s.models @> k.model
    LEFT JOIN jsonb_to_recordset(asked -> 'listed')
           AS x(rate_card_id text, model text, tier text, adapter text, region text, context_band smallint, project_id text,
                agent_id text, outcomes int, meter text, since timestamptz, until timestamptz)
      ON x.meter = d.extra AND x.rate_card_id = s.rate_card_id AND x.model = k.model AND x.tier = k.tier
     AND x.adapter = k.adapter AND x.region = k.region AND x.context_band = k.context_band AND x.project_id = k.project_id
     AND x.agent_id = k.agent_id AND x.outcomes = k.outcomes AND x.since <= d.window_start AND d.window_start < x.until
   CROSS JOIN LATERAL (VALUES ('input_uncached', d.uncached), ('input_cache_read', d.cache_read),
                              ('input_cache_write', d.cache_write), ('output_visible', d.visible),
                              ('output_reasoning', d.reasoning), ('requests', d.requests), (x.meter, d.quantity),
                              (part_of(x.meter), -d.quantity)) AS m(meter, quantity)
    LEFT JOIN jsonb_to_recordset(asked -> 'listed')
           AS t(rate_card_id text, model text, tier text, adapter text, region text, context_band smallint, project_id text,
                agent_id text, outcomes int, meter text, since timestamptz, until timestamptz, price_id bigint, currency text, each_amount numeric, is_pooled boolean,
                unpriced text)
      ON t.rate_card_id = s.rate_card_id AND t.model = k.model AND t.tier = k.tier AND t.adapter = k.adapter
     AND t.region = k.region AND t.context_band = k.context_band AND t.project_id = k.project_id
     AND t.agent_id = k.agent_id AND t.outcomes = k.outcomes AND t.meter = m.meter
     AND t.since <= d.window_start AND d.window_start < t.until
    LEFT JOIN LATERAL (
           SELECT sum(c.quantity) AS quantity, sum(c.amount) AS amount FROM charge c
            WHERE t.is_pooled AND c.customer_id = o.customer_id AND c.usage_key_id = d.usage_key_id AND c.meter = m.meter
              AND c.price_id = t.price_id AND c.batch_seq <= seq AND c.day_start <= d.window_start
              AND c.day_start > d.window_start - interval '25 hours'
            GROUP BY c.day_start ORDER BY c.day_start DESC LIMIT 1) y ON t.is_pooled
   WHERE m.quantity <> 0 AND (m.meter <> 'requests' OR t.price_id IS NOT NULL);
END;
COMMENT ON FUNCTION charged_at(bigint, timestamptz, timestamptz, jsonb) IS 'Charges of a period at a cut-off, to be summed by the day or hour of used_at; ask by entity_id or customer_id.';

CREATE FUNCTION allocations_at(seq bigint) RETURNS SETOF cost_allocation LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT DISTINCT ON (c.scope, c.window_start, c.line, c.entity_id) c.*
    FROM cost_allocation c WHERE c.batch_seq <= seq
   ORDER BY c.scope, c.window_start, c.line, c.entity_id, c.revision DESC;
END;
COMMENT ON FUNCTION allocations_at(bigint) IS 'What is allocated of windows as known at a cut-off; ask by entity_id or scope, and by window_start.';

-- Where lines were let go and nobody made them again, no answer is better than one without them.
CREATE FUNCTION refuse_without_lines(entity_id text, scope text, window_start timestamptz) RETURNS bigint[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $$
BEGIN
  RAISE EXCEPTION 'the lines of % in the window of % of % have to be made again', scope, window_start, entity_id
    USING ERRCODE = 'object_not_in_prerequisite_state';
END $$;

CREATE FUNCTION cost_lines_at(seq bigint)
RETURNS TABLE (scope text, window_start timestamptz, line text, usage_key_id bigint, revision int, cut_off_id bigint,
               batch_seq bigint, entity_id text, currency text, weight_version int, gpu_terms text, busy_s int,
               device_metered_mj bigint, device_estimated_mj bigint, host_mj bigint, overhead_mj bigint,
               device_cost numeric, overhead_cost numeric, gpu_cost numeric) LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT c.scope, c.window_start, c.line, l.usage_key_id, c.revision, c.cut_off_id, c.batch_seq, c.entity_id,
         c.currency::text, c.weight_version, c.gpu_terms, c.busy_s, l.device_metered_mj, l.device_estimated_mj, l.host_mj,
         l.overhead_mj, l.device_cost, l.overhead_cost, l.gpu_cost
    FROM allocations_at(seq) c
   CROSS JOIN LATERAL (
     SELECT u.usage_key_id, coalesce(u.device_metered_mj, 0) AS device_metered_mj,
            coalesce(u.device_estimated_mj, 0) AS device_estimated_mj, coalesce(u.host_mj, 0) AS host_mj,
            coalesce(u.overhead_mj, 0) AS overhead_mj,
            amount_of(u.device_low, u.device_high) AS device_cost,
            amount_of(u.overhead_low, u.overhead_high) AS overhead_cost, amount_of(u.gpu_low, u.gpu_high) AS gpu_cost
       FROM (SELECT 1) AS one
       LEFT JOIN cost_share s ON s.entity_id = c.entity_id AND s.window_start = c.window_start AND s.scope = c.scope
                             AND s.revision = c.revision
      CROSS JOIN LATERAL unnest(coalesce(s.usage_key_id, refuse_without_lines(c.entity_id, c.scope, c.window_start)),
                                s.device_metered_mj, s.device_estimated_mj, s.host_mj, s.overhead_mj,
                                s.device_cost_low, s.device_cost_high, s.overhead_cost_low, s.overhead_cost_high,
                                s.gpu_cost_low, s.gpu_cost_high)
                      AS u(usage_key_id, device_metered_mj, device_estimated_mj, host_mj, overhead_mj, device_low,
                           device_high, overhead_low, overhead_high, gpu_low, gpu_high)
      WHERE c.line = 'usage' AND c.lines > 0
      UNION ALL
     SELECT 0, c.device_metered_mj, c.device_estimated_mj, c.host_mj, c.overhead_mj, c.device_cost::numeric,
            c.overhead_cost::numeric, c.gpu_cost::numeric
      WHERE c.line <> 'usage' AND c.lines > 0
     OFFSET 0) l;
END;
COMMENT ON FUNCTION cost_lines_at(bigint) IS 'Cost lines as known at a cut-off; ask by entity_id or scope, and by window_start. Those that were let go have to be made again before (flows/cost/recall.py).';

-- What cost lines of an entity in a period come to, to be summed: days that are added up as they are stored, all else
-- window by window.
CREATE FUNCTION costs_at(seq bigint, of_entity text, since timestamptz, until timestamptz)
RETURNS TABLE (scope text, line text, usage_key_id bigint, currency text, gpu_terms text, busy_s bigint,
               device_metered_mj bigint, device_estimated_mj bigint, host_mj bigint, overhead_mj bigint,
               device_cost numeric, overhead_cost numeric, gpu_cost numeric, part_start timestamptz)
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT l.scope, l.line, l.usage_key_id, l.currency::text, l.gpu_terms, l.busy_s, l.device_metered_mj,
         l.device_estimated_mj, l.host_mj, l.overhead_mj, l.device_cost::numeric, l.overhead_cost::numeric,
         l.gpu_cost::numeric, l.day_start
    FROM cost_day_line l
   WHERE l.entity_id = of_entity AND l.batch_seq <= seq
     AND l.day_start = ANY (ARRAY(SELECT d.day_start FROM cost_day d
                                   WHERE d.entity_id = of_entity AND d.batch_seq <= seq AND d.day_start >= since
                                     AND d.day_end <= until))
   UNION ALL
  SELECT w.scope, w.line, w.usage_key_id, w.currency, w.gpu_terms, w.busy_s::bigint, w.device_metered_mj,
         w.device_estimated_mj, w.host_mj, w.overhead_mj, w.device_cost, w.overhead_cost, w.gpu_cost, w.window_start
    FROM unnest(tstzmultirange(tstzrange(costs_at.since, costs_at.until)) - coalesce((
           SELECT range_agg(tstzrange(d.day_start, d.day_end)) FROM cost_day d
            WHERE d.entity_id = of_entity AND d.batch_seq <= seq AND d.day_start >= costs_at.since
              AND d.day_end <= costs_at.until), '{}'::tstzmultirange)) AS rest(period)
   CROSS JOIN LATERAL (SELECT c.* FROM cost_lines_at(seq) c
                        WHERE c.entity_id = of_entity AND c.window_start >= lower(rest.period)
                          AND c.window_start < upper(rest.period) OFFSET 0) w;
END;
COMMENT ON FUNCTION costs_at(bigint, text, timestamptz, timestamptz) IS 'Cost lines of an entity in a period at a cut-off, to be summed: of whole local days, which part_start names, as few rows as their lines.';

-- Usage of an entity's customers in a period, to be summed by key: whole local days as they are tallied, with windows of the
-- batches behind the last tally; parts of days, and all of it where there is no tally, window by window.
CREATE FUNCTION usage_at(seq bigint, of_entity text, since timestamptz, until timestamptz)
RETURNS TABLE (usage_key_id bigint, requests numeric, uncached numeric, cache_read numeric, cache_write numeric,
               output numeric, input_unknown numeric, output_unknown numeric, cached_unknown numeric,
               written_unknown numeric, used_from timestamptz) LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  WITH tallied AS MATERIALIZED (
    SELECT max(t.until_seq) AS until_seq FROM usage_tally t WHERE t.entity_id = of_entity AND t.until_seq <= usage_at.seq
  ), days AS MATERIALIZED (
    SELECT t.until_seq IS NOT NULL AS any_tally, coalesce(t.until_seq, usage_at.seq) AS until_seq,
           tstzrange(usage_at.since, usage_at.until) AS period,
           tstzrange(f.midnight, greatest(date_trunc('day', usage_at.until, e.zone), f.midnight)) AS whole
      FROM tallied t JOIN entity e ON e.entity_id = of_entity
     CROSS JOIN LATERAL (
       SELECT CASE WHEN date_trunc('day', usage_at.since, e.zone) = usage_at.since THEN usage_at.since
                   ELSE ((usage_at.since AT TIME ZONE e.zone)::date + 1)::timestamp AT TIME ZONE e.zone END AS midnight) f
  ), spans AS MATERIALIZED (
    SELECT s.span, d.until_seq FROM days d
     CROSS JOIN LATERAL unnest(tstzmultirange(d.period)
                               - CASE WHEN d.any_tally THEN tstzmultirange(d.whole) ELSE '{}'::tstzmultirange END) AS s(span)
  )
  SELECT k.usage_key_id, k.requests::numeric, k.uncached::numeric, k.cache_read::numeric, k.cache_write::numeric,
         k.output::numeric, k.input_unknown::numeric, k.output_unknown::numeric, k.cached_unknown::numeric,
         k.written_unknown::numeric, k.day_start
    FROM key_day k
   WHERE k.entity_id = of_entity AND k.until_seq <= usage_at.seq AND k.day_start >= usage_at.since
     AND k.day_end <= usage_at.until
   UNION ALL
  SELECT u.usage_key_id, u.requests, u.uncached, u.cache_read, u.cache_write, u.visible::numeric + u.reasoning, 0, 0, 0, 0,
         u.window_start
    FROM spans s JOIN customer c ON c.entity_id = of_entity
   CROSS JOIN LATERAL (SELECT * FROM usage_delta d
                        WHERE d.customer_id = c.customer_id AND d.window_start >= lower(s.span)
                          AND d.window_start < upper(s.span) AND d.batch_seq <= s.until_seq OFFSET 0) u
   UNION ALL
  SELECT u.usage_key_id, 0, 0, 0, 0, 0, u.input_unknown, u.output_unknown, u.cached_unknown, u.written_unknown,
         u.window_start
    FROM spans s JOIN customer c ON c.entity_id = of_entity
   CROSS JOIN LATERAL (SELECT * FROM usage_mark d
                        WHERE d.customer_id = c.customer_id AND d.window_start >= lower(s.span)
                          AND d.window_start < upper(s.span) AND d.batch_seq <= s.until_seq OFFSET 0) u
   UNION ALL
  SELECT u.usage_key_id, u.requests, u.uncached, u.cache_read, u.cache_write, u.visible::numeric + u.reasoning, 0, 0, 0, 0,
         u.window_start
    FROM usage_delta u JOIN usage_key k USING (usage_key_id)
   WHERE k.entity_id = of_entity AND u.batch_seq > (SELECT d.until_seq FROM days d) AND u.batch_seq <= usage_at.seq
     AND u.window_start >= usage_at.since AND u.window_start < usage_at.until
   UNION ALL
  SELECT u.usage_key_id, 0, 0, 0, 0, 0, u.input_unknown, u.output_unknown, u.cached_unknown, u.written_unknown,
         u.window_start
    FROM usage_mark u JOIN usage_key k USING (usage_key_id)
   WHERE k.entity_id = of_entity AND u.batch_seq > (SELECT d.until_seq FROM days d) AND u.batch_seq <= usage_at.seq
     AND u.window_start >= usage_at.since AND u.window_start < usage_at.until;
END;
COMMENT ON FUNCTION usage_at(bigint, text, timestamptz, timestamptz) IS 'Usage of an entity''s customers in a period as known at a cut-off, to be summed by usage key; used_from is in the local day of it.';

-- The same by local day of the entity, and of customers nobody knows.
CREATE FUNCTION day_usage_at(seq bigint, of_entity text, since timestamptz, until timestamptz)
RETURNS TABLE (used_on date, usage_key_id bigint, uncached numeric, cache_read numeric, cache_write numeric, output numeric)
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT (u.used_from AT TIME ZONE e.zone)::date, u.usage_key_id, u.uncached, u.cache_read, u.cache_write, u.output
    FROM entity e
   CROSS JOIN LATERAL usage_at(day_usage_at.seq, day_usage_at.of_entity, day_usage_at.since, day_usage_at.until) u
   WHERE e.entity_id = day_usage_at.of_entity
   UNION ALL
  SELECT (u.window_start AT TIME ZONE e.zone)::date, u.usage_key_id, u.uncached, u.cache_read, u.cache_write,
         u.visible::numeric + u.reasoning
    FROM usage_delta u JOIN entity e ON e.entity_id = day_usage_at.of_entity
   WHERE u.customer_id IS NULL AND u.window_start >= day_usage_at.since AND u.window_start < day_usage_at.until
     AND u.batch_seq <= day_usage_at.seq;
END;
COMMENT ON FUNCTION day_usage_at(bigint, text, timestamptz, timestamptz) IS 'Usage of an entity''s customers, and of such as nobody knows, in a period as known at a cut-off, to be summed by local day and usage key.';

-- Which weight set of a deployment is in force when: its own weights are where no set is (NULL).
CREATE FUNCTION weights_at(seq bigint)
RETURNS TABLE (deployment_row_id bigint, weight_set_row_id bigint, valid tstzrange) LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT d.deployment_row_id, s.weight_set_row_id, d.valid * s.valid
    FROM deployment d JOIN weight_set s ON s.deployment_id = d.deployment_id AND s.valid && d.valid
   WHERE d.recorded @> weights_at.seq AND s.recorded @> weights_at.seq
   UNION ALL
  SELECT d.deployment_row_id, NULL, rest.period
    FROM deployment d
   CROSS JOIN LATERAL unnest(tstzmultirange(d.valid) - coalesce((
           SELECT range_agg(s.valid) FROM weight_set s
            WHERE s.deployment_id = d.deployment_id AND s.recorded @> weights_at.seq), '{}'::tstzmultirange)) AS rest(period)
   WHERE d.recorded @> weights_at.seq;
END;
COMMENT ON FUNCTION weights_at(bigint) IS 'Deployments as known at a cut-off, in parts by the weight set in force; NULL is none: then their own weights are.';

CREATE FUNCTION scope_sites_at(seq bigint)
RETURNS TABLE (scope text, facility_id text, all_in boolean, valid tstzrange) LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT 'asset:' || a.asset_id, a.facility_id, a.all_in, a.valid
    FROM asset a WHERE a.recorded @> seq
  UNION ALL
  SELECT 'deployment:' || d.deployment_id, a.facility_id, a.all_in, d.valid * a.valid
    FROM deployment d JOIN asset a USING (asset_id)
   WHERE d.recorded @> seq AND a.recorded @> seq AND d.valid && a.valid
  UNION ALL
  SELECT 'gpu:' || h.gpu_uuid, a.facility_id, a.all_in, a.valid
    FROM (SELECT DISTINCT ON (n.gpu_uuid) n.gpu_uuid, d.asset_id
            FROM deployment d CROSS JOIN LATERAL unnest(d.gpu_uuids) AS n(gpu_uuid)
           WHERE d.recorded @> seq
           ORDER BY n.gpu_uuid, lower(d.valid) DESC, d.deployment_id) h
    JOIN asset a USING (asset_id) WHERE a.recorded @> seq;
END;
COMMENT ON FUNCTION scope_sites_at(bigint) IS 'At which site a scope of cost lines is, and when: where its hardware stands. A meter of no hardware is at none.';

CREATE FUNCTION pools_at(seq bigint) RETURNS SETOF cost_pool LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT DISTINCT ON (p.scope, p.window_start, p.kind, p.entity_id) p.*
    FROM cost_pool p WHERE p.batch_seq <= seq
   ORDER BY p.scope, p.window_start, p.kind, p.entity_id, p.revision DESC;
END;
COMMENT ON FUNCTION pools_at(bigint) IS 'Cost pools as known at a cut-off; ask by entity_id or scope, and by window_start.';

CREATE FUNCTION meters_at(seq bigint) RETURNS SETOF meter_window LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT DISTINCT ON (m.gpu_uuid, m.window_start) m.*
    FROM meter_window m WHERE m.batch_seq <= seq
   ORDER BY m.gpu_uuid, m.window_start, m.revision DESC;
END;
COMMENT ON FUNCTION meters_at(bigint) IS 'Energy of meters as known at a cut-off; ask by gpu_uuid or window_start.';

-- Numbers of usage_fact by their names in ledger/domain/metering/fact.py.
CREATE FUNCTION is_reversal(kind smallint) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN kind = 2;
COMMENT ON FUNCTION is_reversal(smallint) IS 'Whether a fact of this kind takes back another.';

CREATE FUNCTION is_superseded(flags int) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN flags & 1024 <> 0;
COMMENT ON FUNCTION is_superseded(int) IS 'Whether a fact of these flags was reversed in the batch that stored it.';

-- OFFSET 0 holds the planner to the index of fate_change: it cannot know how few facts are asked about. What was
-- superseded and is void on top has nothing that stands for it by that.
CREATE FUNCTION fates_of(batch_seqs bigint[], ordinals int[])
RETURNS TABLE (n bigint, batch_seq bigint, ordinal int, depth int) LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  WITH RECURSIVE chain AS (
    SELECT o.n, o.batch_seq, o.ordinal, 0 AS depth
      FROM unnest(batch_seqs, ordinals) WITH ORDINALITY AS o(batch_seq, ordinal, n)
    UNION ALL
    SELECT c.n, f.batch_seq, f.ordinal, c.depth + 1
      FROM chain c
     CROSS JOIN LATERAL (SELECT * FROM fate_change s
                          WHERE s.fact_batch_seq = c.batch_seq AND s.fact_ordinal = c.ordinal
                            AND s.from_fate <> 'superseded' OFFSET 0) f
  )
  SELECT c.n, c.batch_seq, c.ordinal, c.depth FROM chain c;
END;
COMMENT ON FUNCTION fates_of(bigint[], int[]) IS 'Each fact asked about (the n-th, from 1) and all that came to stand for it, change by change.';

CREATE FUNCTION standing_facts(batch_seqs bigint[], ordinals int[])
RETURNS TABLE (n bigint, batch_seq bigint, ordinal int) LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT c.n, c.batch_seq, c.ordinal FROM fates_of(batch_seqs, ordinals) c
   WHERE NOT EXISTS (SELECT FROM fate_change f
                      WHERE f.fact_batch_seq = c.batch_seq AND f.fact_ordinal = c.ordinal
                        AND f.from_fate <> 'superseded' OFFSET 0);
END;
COMMENT ON FUNCTION standing_facts(bigint[], int[]) IS 'What stands now for each fact asked about, after every change of fate.';
