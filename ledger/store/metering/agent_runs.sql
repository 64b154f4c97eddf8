-- name: sum_agents
-- Runs of an entity's agents of which something was used in [since, until), by customer and agent, as known at a cut-off:
-- how many, how many another run started, how many were used in the last hour of it, the longest and the most steps.
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
       count(*) FILTER (WHERE last_at >= :until::timestamptz - interval '1 hour') AS running,
       coalesce(max(lasted_s), 0)::bigint AS longest_s, max(steps)::bigint AS most_steps
  FROM run GROUP BY 1, 2 ORDER BY 1, 2;
