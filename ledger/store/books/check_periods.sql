-- name: find_wrong_periods
-- What was charged by prices that look at a billing period as a whole against their own arithmetic, said anew: units of a
-- period by the tiers, packages and allowances of their price, fees and minimums of every period that is over by the time
-- that they held; as cards and subscriptions were known to the last run. Scans of charge and of rate_card_price.
WITH run AS (
  SELECT s.entity_id, max(o.batch_seq) AS batch_seq, max(s.followed_to) AS followed_to
    FROM stage_run s JOIN cut_off o USING (cut_off_id) WHERE s.stage = 'rate' GROUP BY 1
), term AS (
  SELECT * FROM (
    SELECT p.rate_card_id, p.kind, p.params, p.project_id, p.agent_id, p.model, p.tier, p.adapter, p.region, p.name, p.valid, p.recorded, r.entity_id, u.batch_seq, u.followed_to,
           min(p.price_id) OVER (PARTITION BY p.rate_card_id, p.meter, p.project_id, p.agent_id, p.model, p.tier, p.adapter,
                                              p.region, p.band_from, p.hours, p.name, p.kind, p.params) AS price_id
      FROM rate_card_price p JOIN rate_card r USING (rate_card_id) JOIN run u USING (entity_id)
     WHERE p.kind NOT IN ('per_unit', 'who_pays') AND lower(p.recorded) <= u.batch_seq) t
   WHERE t.recorded @> t.batch_seq
), charged AS (
  SELECT s.customer_id, s.subscription_row_id, c.price_id,
         anchored_month(c.day_start, s.zone, s.anchor_day) AS month,
         sum(c.quantity) AS units, sum(c.amount) AS amount
    FROM charge c
    JOIN run r USING (entity_id)
    JOIN subscription s ON s.subscription_id = c.subscription_id AND s.customer_id = coalesce(c.payer_id, c.customer_id)
                       AND s.valid @> c.day_start AND s.recorded @> r.batch_seq
   WHERE c.price_id IN (SELECT price_id FROM term) AND c.amount IS NOT NULL GROUP BY 1, 2, 3, 4
), pooled AS (
  SELECT c.customer_id, c.subscription_row_id, c.price_id, c.month, c.amount AS stored,
         CASE t.kind
           WHEN 'package' THEN div(c.units + (t.params ->> 'size')::numeric - 1, (t.params ->> 'size')::numeric)
                               * (t.params ->> 'amount')::numeric
           WHEN 'included' THEN greatest(c.units - (t.params ->> 'included')::numeric, 0)
                                * (t.params ->> 'amount')::numeric / (t.params ->> 'per')::numeric
           WHEN 'graduated' THEN (
             SELECT sum(greatest(least(c.units, coalesce(i.end, c.units)) - i.start, 0) * i.amount
                        / (t.params ->> 'per')::numeric + CASE WHEN c.units > i.start THEN i.flat ELSE 0 END)
               FROM jsonb_to_recordset(t.params -> 'tiers') AS i("start" numeric, "end" numeric, amount numeric, flat numeric))
           WHEN 'volume' THEN coalesce((
             SELECT c.units * i.amount / (t.params ->> 'per')::numeric + i.flat
               FROM jsonb_to_recordset(t.params -> 'tiers') AS i("start" numeric, "end" numeric, amount numeric, flat numeric)
              WHERE i.start < c.units AND (i.end IS NULL OR i.end >= c.units)), 0)
         END AS expected
    FROM charged c
    JOIN (SELECT DISTINCT price_id, kind, params FROM term WHERE kind NOT IN ('recurring', 'commitment', 'percent_off', 'amount_off', 'cost_plus')) t USING (price_id)
), over AS (
  SELECT s.customer_id, s.subscription_id, s.subscription_row_id, t.price_id, t.kind, (t.params ->> 'amount')::numeric AS amount,
         m.month, w.whole, w.whole * o.own * t.valid AS active
    FROM term t
    JOIN subscription s ON s.rate_card_id = t.rate_card_id AND s.valid && t.valid AND s.recorded @> t.batch_seq
   -- While somebody above pays, its own subscription is set aside.
   CROSS JOIN LATERAL unnest(tstzmultirange(s.valid) - coalesce(
           (SELECT range_agg(a.valid) FROM customer_above a
             WHERE a.customer_id = s.customer_id AND a.pays AND a.recorded @> t.batch_seq), '{}')) AS o (own)
   CROSS JOIN LATERAL generate_series(
           anchored_month(lower(s.valid * t.valid), s.zone, s.anchor_day),
           t.followed_to AT TIME ZONE s.zone, interval '1 month') AS m (month)
   CROSS JOIN LATERAL (SELECT tstzrange(
           anchored(m.month, s.anchor_day) AT TIME ZONE s.zone,
           anchored(m.month + interval '1 month', s.anchor_day) AT TIME ZONE s.zone) AS whole) w
   WHERE t.kind IN ('recurring', 'commitment') AND upper(w.whole) <= t.followed_to
), shared AS (
  SELECT o.*, div(o.amount * 1e12 * extract(epoch FROM upper(o.active) - lower(o.active)),
                  extract(epoch FROM upper(o.whole) - lower(o.whole))) / 1e12 AS share
    FROM over o WHERE NOT isempty(o.active)
), timed AS (
  SELECT h.customer_id, h.subscription_row_id, h.price_id, h.month,
         sum(CASE h.kind WHEN 'recurring' THEN h.share ELSE greatest(h.share - u.amount, 0) END) AS expected
    FROM shared h
   CROSS JOIN LATERAL (SELECT coalesce(sum(c.amount), 0) AS amount FROM charge c
                        WHERE h.kind = 'commitment' AND coalesce(c.payer_id, c.customer_id) = h.customer_id
                          AND c.subscription_id = h.subscription_id AND c.day_start <@ h.active
                          AND c.meter NOT IN ('fee', 'commitment')) u
   GROUP BY 1, 2, 3, 4
), used AS (
  SELECT s.customer_id, s.subscription_row_id, s.rate_card_id, c.day_start, c.meter, k.model, k.tier, k.adapter, k.region,
         k.project_id, k.agent_id,
         anchored_month(c.day_start, s.zone, s.anchor_day) AS month,
         sum(c.amount) AS amount
    FROM charge c
    JOIN run r USING (entity_id)
    JOIN usage_key k USING (usage_key_id)
    JOIN subscription s ON s.subscription_id = c.subscription_id AND s.customer_id = coalesce(c.payer_id, c.customer_id)
                       AND s.valid @> c.day_start AND s.recorded @> r.batch_seq
   WHERE c.amount IS NOT NULL AND c.meter NOT IN ('fee', 'commitment', 'discount')
     AND s.rate_card_id IN (SELECT t.rate_card_id FROM term t WHERE t.kind IN ('percent_off', 'amount_off'))
   GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
), taken_off AS (
  SELECT s.customer_id, s.subscription_row_id, c.day_start, c.price_id, sum(c.amount) AS amount
    FROM charge c JOIN run r USING (entity_id)
    JOIN subscription s ON s.subscription_id = c.subscription_id AND s.customer_id = c.customer_id
                       AND s.valid @> c.day_start AND s.recorded @> r.batch_seq
   WHERE c.meter = 'discount' GROUP BY 1, 2, 3, 4
), off AS (
  SELECT u.customer_id, u.subscription_row_id, b.price_id, u.month,
         -greatest(round(sum(u.amount) * b.percent / 100, 12), 0) AS expected
    FROM used u
   CROSS JOIN LATERAL (
     SELECT t.price_id, (t.params ->> 'percent')::numeric AS percent FROM term t
      WHERE t.kind = 'percent_off' AND t.rate_card_id = u.rate_card_id AND t.valid @> u.day_start
        AND coalesce(t.params ->> 'on', u.meter) = u.meter
        AND (t.model IS NULL OR t.model = ANY(model_patterns(u.model))) AND (t.tier IS NULL OR t.tier = u.tier)
        AND (t.adapter IS NULL OR t.adapter = u.adapter) AND (t.region IS NULL OR t.region = u.region)
        AND (t.project_id IS NULL OR t.project_id = u.project_id) AND (t.agent_id IS NULL OR t.agent_id = u.agent_id)
      ORDER BY t.agent_id IS NULL, t.project_id IS NULL, t.model IS NULL, right(t.model, 1) = '*', length(t.model) DESC, t.adapter IS NULL, t.tier IS NULL,
               t.region IS NULL, t.params ->> 'on' IS NULL, t.price_id LIMIT 1) b
   WHERE u.meter <> 'cost'
   GROUP BY 1, 2, 3, 4, b.percent
  UNION ALL
  SELECT w.customer_id, w.subscription_row_id, a.price_id, w.month,
         -greatest(least(a.amount, sum(w.amount) FILTER (WHERE a.valid @> w.day_start)
                                   + coalesce(sum(d.amount) FILTER (WHERE a.valid @> w.day_start), 0)), 0)
    FROM (SELECT u.customer_id, u.subscription_row_id, u.rate_card_id, u.month, u.day_start, sum(u.amount) AS amount
            FROM used u GROUP BY 1, 2, 3, 4, 5) w
    JOIN (SELECT t.price_id, t.rate_card_id, t.name, (t.params ->> 'amount')::numeric AS amount, range_agg(t.valid) AS valid
            FROM term t WHERE t.kind = 'amount_off' GROUP BY 1, 2, 3, 4) a USING (rate_card_id)
    -- What was taken off before it: all in per cent, and amounts of names before its own.
    LEFT JOIN LATERAL (
      SELECT sum(o.amount) AS amount FROM taken_off o
       WHERE o.subscription_row_id = w.subscription_row_id AND o.day_start = w.day_start
         AND EXISTS (SELECT FROM term t WHERE t.price_id = o.price_id
                        AND (t.kind = 'percent_off' OR (t.name COLLATE "C", t.price_id) < (a.name COLLATE "C", a.price_id)))) d ON true
   GROUP BY 1, 2, 3, 4, a.amount
), allocated AS (
  SELECT DISTINCT ON (c.entity_id, c.scope, c.window_start, c.line) c.entity_id, c.scope, c.window_start, c.revision,
         r.batch_seq AS run_seq
    FROM cost_allocation c JOIN run r USING (entity_id)
   WHERE c.line = 'usage' AND c.batch_seq <= r.batch_seq AND EXISTS (SELECT FROM term t WHERE t.kind = 'cost_plus')
   ORDER BY c.entity_id, c.scope, c.window_start, c.line, c.revision DESC
), plus AS (
  SELECT coalesce(a.above_id, k.customer_id) AS customer_id, s.subscription_row_id, b.price_id,
         anchored_month(l.window_start, s.zone, s.anchor_day) AS month,
         round(sum(amount_of(l.device_low, l.device_high) + amount_of(l.overhead_low, l.overhead_high)
                   + amount_of(l.gpu_low, l.gpu_high)) * (100 + b.markup) / 100, 12) AS expected
    FROM (SELECT c.window_start, c.run_seq AS batch_seq, u.*
            FROM allocated c JOIN cost_share s USING (entity_id, window_start, scope, revision)
           CROSS JOIN LATERAL unnest(s.usage_key_id, s.device_cost_low, s.device_cost_high, s.overhead_cost_low,
                                     s.overhead_cost_high, s.gpu_cost_low, s.gpu_cost_high)
                           AS u (usage_key_id, device_low, device_high, overhead_low, overhead_high, gpu_low, gpu_high)) l
    JOIN usage_key k USING (usage_key_id)
    LEFT JOIN customer_above a ON a.customer_id = k.customer_id AND a.pays AND a.recorded @> l.batch_seq AND a.valid @> l.window_start
    JOIN subscription s ON s.customer_id = coalesce(a.above_id, k.customer_id) AND s.valid @> l.window_start
                       AND s.recorded @> l.batch_seq AND ranges_of(s.models) @> k.model
   CROSS JOIN LATERAL (
     SELECT t.price_id, (t.params ->> 'markup')::numeric AS markup FROM term t
      WHERE t.kind = 'cost_plus' AND t.rate_card_id = s.rate_card_id
        AND t.valid @> greatest(lower(s.valid), date_trunc('day', l.window_start, s.zone))
        AND (t.model IS NULL OR t.model = ANY(model_patterns(k.model))) AND (t.tier IS NULL OR t.tier = k.tier)
        AND (t.adapter IS NULL OR t.adapter = k.adapter) AND (t.region IS NULL OR t.region = k.region)
        AND (t.project_id IS NULL OR t.project_id = k.project_id) AND (t.agent_id IS NULL OR t.agent_id = k.agent_id)
      ORDER BY t.agent_id IS NULL, t.project_id IS NULL, t.model IS NULL, right(t.model, 1) = '*', length(t.model) DESC,
               t.adapter IS NULL, t.tier IS NULL, t.region IS NULL, t.price_id LIMIT 1) b
   WHERE NOT EXISTS (
     SELECT FROM (
       SELECT DISTINCT ON (q.name) q.params ->> 'pays' AS pays
         FROM rate_card_price q
        WHERE q.rate_card_id = s.rate_card_id AND q.meter = 'outcome' AND q.recorded @> l.batch_seq
          AND q.valid @> greatest(lower(s.valid), date_trunc('day', l.window_start, s.zone))
          AND k.outcomes & outcome_bit(q.name) <> 0
          AND (q.model IS NULL OR q.model = ANY(model_patterns(k.model))) AND (q.tier IS NULL OR q.tier = k.tier)
          AND (q.adapter IS NULL OR q.adapter = k.adapter) AND (q.region IS NULL OR q.region = k.region)
          AND (q.project_id IS NULL OR q.project_id = k.project_id) AND (q.agent_id IS NULL OR q.agent_id = k.agent_id)
        ORDER BY q.name, q.agent_id IS NULL, q.project_id IS NULL, q.model IS NULL, right(q.model, 1) = '*',
                 length(q.model) DESC, q.adapter IS NULL, q.tier IS NULL, q.region IS NULL, q.price_id) o
      WHERE o.pays = 'house')
   GROUP BY 1, 2, 3, 4, b.markup
), wrong AS (
  SELECT customer_id, price_id, month, coalesce(o.expected, 0) AS expected, coalesce(c.amount, 0) AS stored
    FROM plus o
    FULL JOIN (SELECT * FROM charged WHERE price_id IN (SELECT t.price_id FROM term t WHERE t.kind = 'cost_plus')) c
        USING (customer_id, subscription_row_id, price_id, month)
  UNION ALL
  SELECT customer_id, price_id, month, coalesce(o.expected, 0) AS expected, coalesce(c.amount, 0) AS stored
    FROM off o
    FULL JOIN (SELECT * FROM charged WHERE price_id IN (SELECT t.price_id FROM term t
                                                         WHERE t.kind IN ('percent_off', 'amount_off'))) c
        USING (customer_id, subscription_row_id, price_id, month)
  UNION ALL
  SELECT p.customer_id, p.price_id, p.month, p.expected, p.stored FROM pooled p
  UNION ALL
  SELECT t.customer_id, t.price_id, t.month, t.expected, coalesce(c.amount, 0)
    FROM timed t LEFT JOIN charged c USING (customer_id, subscription_row_id, price_id, month)
)
SELECT concat_ws(' ', w.customer_id, 'price', w.price_id) AS place, w.month AT TIME ZONE 'UTC' AS window_start,
       'amount' AS name, trim_scale(round(w.expected, 12))::text AS expected, trim_scale(w.stored)::text AS stored,
       count(*) OVER () AS differing
  FROM wrong w
 WHERE round(w.expected, 12) <> w.stored
   AND NOT EXISTS (SELECT FROM parked p JOIN customer c USING (entity_id)
                    WHERE p.stage = 'rate' AND c.customer_id = w.customer_id AND p.subject IN ('', w.customer_id))
 ORDER BY 2, 1 LIMIT :most;
