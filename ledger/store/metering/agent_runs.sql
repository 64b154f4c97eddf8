-- name: sum_agents
-- Runs of an entity's agents of which something was used in [since, until), by customer and agent, as known at a cut-off:
-- how many, how many another run started, how many were used in the last hour of it, or before now where it is not over,
-- the longest and the most steps.
-- Index: agent_run_delta (customer_id, window_start).
WITH run AS (
  SELECT r.customer_id, k.agent_id, r.agent_run_id, bool_or(r.parent_run_id IS NOT NULL) AS is_child,
         extract(epoch FROM max(r.last_at) - min(r.first_at)) AS lasted_s, max(r.last_at) AS last_at,
         greatest(max(r.step), sum(r.requests)) AS steps
    FROM customer c
    JOIN agent_run_delta r ON r.customer_id = c.customer_id AND r.window_start >= :since AND r.window_start < :until
                          AND r.batch_seq <= :batch_seq
    JOIN usage_key k USING (usage_key_id)
   WHERE c.entity_id = :entity_id
   GROUP BY 1, 2, 3 HAVING sum(r.requests) <> 0
)
SELECT customer_id, agent_id, count(*) AS runs, count(*) FILTER (WHERE is_child) AS child_runs,
       count(*) FILTER (WHERE last_at >= least(:until::timestamptz, now()) - interval '1 hour') AS running,
       coalesce(max(lasted_s), 0)::bigint AS longest_s, max(steps)::bigint AS most_steps
  FROM run GROUP BY 1, 2 ORDER BY 1, 2;

-- name: find_runs
-- Runs of a customer's agent of which something was used in [since, until), as known at a cut-off, those used last first, with
-- how many runs each started: at most so many.
-- Index: agent_run_delta (customer_id, window_start).
SELECT r.agent_run_id, max(r.parent_agent_id) AS parent_agent_id, max(r.parent_run_id) AS parent_run_id,
       min(r.first_at) AS first_at, max(r.last_at) AS last_at, extract(epoch FROM max(r.last_at) - min(r.first_at))::bigint AS lasted_s,
       to_jsonb(greatest(max(r.step), sum(r.requests))) AS steps, to_jsonb(sum(r.requests)) AS requests,
       to_jsonb(sum(r.uncached) + sum(r.cache_read) + sum(r.cache_write)) AS input_tokens,
       to_jsonb(sum(r.visible) + sum(r.reasoning)) AS output_tokens,
       (SELECT coalesce(jsonb_object_agg(x.meter, x.quantity), '{}')
          FROM (SELECT o.meter, sum(o.quantity) AS quantity FROM unnest(array_agg(r.meter), array_agg(r.quantity)) AS o(meter, quantity)
                 WHERE o.meter IS NOT NULL GROUP BY 1 HAVING sum(o.quantity) <> 0) x) AS extras
  FROM customer c
  JOIN agent_run_delta r ON r.customer_id = c.customer_id AND r.window_start >= :since AND r.window_start < :until
                        AND r.batch_seq <= :batch_seq
  JOIN usage_key k USING (usage_key_id)
 WHERE c.entity_id = :entity_id AND c.customer_id = :customer_id AND k.agent_id = :agent_id
 GROUP BY r.agent_run_id HAVING sum(r.requests) <> 0
 ORDER BY max(r.last_at) DESC NULLS LAST, r.agent_run_id LIMIT :limit;

-- name: find_budgets
-- Budgets of a customer's agent, and of each run of it, in the last period that begins before :until: what is used and held, what
-- has expired left out, and the ceiling.
-- Index: budget (customer_id), budget_balance (budget_id).
SELECT DISTINCT ON (b.budget_id, h.run_id)
       b.budget_id, h.run_id AS agent_run_id, b.period, h.period_start, b.unit, b.currency, b.hard, h.used, h.held - e.expired AS held,
       trim_scale(least(b.amount, b.times_own_mean * h.own_mean)) AS ceiling
  FROM customer c
  JOIN budget b ON b.customer_id = c.customer_id AND upper_inf(b.recorded) AND b.agent_id = :agent_id
  JOIN budget_balance h ON h.budget_id = b.budget_id AND h.period_start < :until
 CROSS JOIN LATERAL (SELECT coalesce(sum(o.amount), 0) AS expired FROM reservation_hold o
                      WHERE o.budget_id = h.budget_id AND o.run_id = h.run_id AND o.period_start = h.period_start
                        AND o.expires_at <= now()) e
 WHERE c.entity_id = :entity_id AND c.customer_id = :customer_id
 ORDER BY b.budget_id, h.run_id, h.period_start DESC, b.valid @> greatest(h.period_start, lower(b.valid)) DESC, b.valid DESC LIMIT :limit;
