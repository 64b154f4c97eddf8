-- name: begin_preview
-- Nothing that this transaction stores can be committed; it needs one snapshot.
SELECT begin_preview();

-- name: forget_hints
-- What a step of this transaction told the planner holds for that step alone.
SELECT set_config(s.name, s.reset_val, true) FROM pg_settings s
 WHERE s.name IN ('work_mem', 'enable_sort', 'enable_nestloop');

-- name: list_moved_accounts
-- What entries behind a number book of each month, wherever they are booked, by account and dimension, and what was booked
-- of it by then; journal_entry (entity_id, batch_seq) and (entity_id, booked_for).
WITH moved AS MATERIALIZED (
  SELECT n.entity_id, n.zone, date_trunc('month', coalesce(e.corrects, e.booked_for) AT TIME ZONE n.zone) AS month,
         max(date_trunc('month', e.booked_for AT TIME ZONE n.zone)) AS booked_in,
         p.account, p.dimension, p.currency::text AS currency, sum(p.amount) AS difference
    FROM entity n
    JOIN journal_entry e ON e.entity_id = n.entity_id AND e.batch_seq > :since_seq
    JOIN posting p USING (entry_id)
   WHERE :entity_id::text IS NULL OR n.entity_id = :entity_id
   GROUP BY 1, 2, 3, 5, 6, 7 HAVING sum(p.amount) <> 0
), months AS MATERIALIZED (
  SELECT DISTINCT m.entity_id, m.month, m.month AT TIME ZONE m.zone AS since,
         (m.month + interval '1 month') AT TIME ZONE m.zone AS until
    FROM moved m
), booked AS MATERIALIZED (
  SELECT m.entity_id, m.month, p.account, p.dimension, p.currency::text AS currency, sum(p.amount) AS amount
    FROM months m
    JOIN journal_entry e ON e.entity_id = m.entity_id AND e.booked_for >= m.since AND e.batch_seq <= :since_seq
     AND coalesce(e.corrects, e.booked_for) >= m.since AND coalesce(e.corrects, e.booked_for) < m.until
    JOIN posting p USING (entry_id)
   GROUP BY 1, 2, 3, 4, 5
)
SELECT m.entity_id, to_char(m.month, 'YYYY-MM') AS month, m.currency, coalesce(b.amount, 0) AS before, m.difference,
       to_char(m.booked_in, 'YYYY-MM') AS booked_in, m.account, m.dimension
  FROM moved m LEFT JOIN booked b USING (entity_id, month, account, dimension, currency)
 ORDER BY m.entity_id, m.month, m.account, m.dimension, m.currency;

-- name: list_moved_charges
-- What charges behind a number add to a customer's month, and what it was charged by then; charge_day (batch_seq), and
-- (customer_id, day_start).
WITH moved AS MATERIALIZED (
  SELECT n.entity_id, n.zone, c.customer_id, date_trunc('month', c.day_start AT TIME ZONE n.zone) AS month,
         c.currency::text AS currency, sum(c.amount) AS difference
    FROM charges_at(as_it_stands()) c JOIN entity n USING (entity_id)
   WHERE c.batch_seq > :since_seq AND c.amount IS NOT NULL AND (:entity_id::text IS NULL OR n.entity_id = :entity_id)
   GROUP BY 1, 2, 3, 4, 5 HAVING sum(c.amount) <> 0
)
SELECT m.entity_id, to_char(m.month, 'YYYY-MM') AS month, m.currency, coalesce(b.amount, 0) AS before, m.difference,
       m.customer_id
  FROM moved m
 CROSS JOIN LATERAL (SELECT sum(c.amount) AS amount FROM charges_at(:since_seq) c
                      WHERE c.customer_id = m.customer_id AND c.entity_id = m.entity_id AND c.currency = m.currency
                        AND c.day_start >= m.month AT TIME ZONE m.zone
                        AND c.day_start < (m.month + interval '1 month') AT TIME ZONE m.zone OFFSET 0) b
 ORDER BY m.entity_id, m.month, m.customer_id, m.currency;

-- name: list_moved_costs
-- What months with windows that were allocated behind a number cost by kind, line and customer, now and by then;
-- cost_allocation: BRIN (batch_seq), (entity_id, window_start); cost_day_line (entity_id, day_start).
WITH months AS MATERIALIZED (
  SELECT DISTINCT n.entity_id, n.zone, date_trunc('month', c.window_start AT TIME ZONE n.zone) AS month
    FROM cost_allocation c JOIN entity n USING (entity_id)
   WHERE c.batch_seq > :since_seq AND (:entity_id::text IS NULL OR n.entity_id = :entity_id)
), lines AS (
  SELECT m.entity_id, m.month, s.is_before, l.line, l.usage_key_id, l.currency, sum(l.device_cost) AS device_cost,
         sum(l.overhead_cost) AS overhead_cost, sum(l.gpu_cost) AS gpu_cost
    FROM months m
   CROSS JOIN (VALUES (:since_seq::bigint, true), (as_it_stands(), false)) AS s (batch_seq, is_before)
   CROSS JOIN LATERAL costs_at(s.batch_seq, m.entity_id, m.month AT TIME ZONE m.zone,
                               (m.month + interval '1 month') AT TIME ZONE m.zone) l
   GROUP BY 1, 2, 3, 4, 5, 6
)
SELECT l.entity_id, to_char(l.month, 'YYYY-MM') AS month, l.currency,
       coalesce(sum(k.amount) FILTER (WHERE l.is_before), 0) AS before,
       sum(CASE WHEN l.is_before THEN -k.amount ELSE k.amount END) AS difference,
       l.line, coalesce(u.customer, '') AS customer, k.kind
  FROM lines l
 CROSS JOIN LATERAL (VALUES ('electricity', l.device_cost), ('hardware', l.gpu_cost), ('overhead', l.overhead_cost))
                 AS k (kind, amount)
  LEFT JOIN grouped_keys('{customer}') u USING (usage_key_id)
 GROUP BY l.entity_id, l.month, l.currency, l.line, u.customer, k.kind
HAVING sum(CASE WHEN l.is_before THEN -k.amount ELSE k.amount END) <> 0
 ORDER BY l.entity_id, l.month, l.line, u.customer NULLS FIRST, k.kind, l.currency;
