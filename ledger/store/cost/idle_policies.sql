-- name: find_open_idle_policies
-- Policies of idle of an entity and scope that overlap; the exclusion constraint's index.
SELECT idle_policy_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, entity_id, scope, version, method,
       reserved
  FROM idle_policy
 WHERE entity_id = :entity_id AND scope = :scope AND valid && tstzrange(:valid_from, :valid_to) AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_idle_policies
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE idle_policy SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE idle_policy_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO idle_policy (entity_id, scope, version, method, reserved, valid, recorded)
SELECT c.entity_id, c.scope, c.version, c.method, c.reserved, part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part;

-- name: insert_idle_policy
-- Who pays for idle; returns its row.
INSERT INTO idle_policy (entity_id, scope, version, method, reserved, valid, recorded)
VALUES (:entity_id, :scope, :version, :method, :reserved, tstzrange(:valid_from, :valid_to), int8range(:batch_seq, NULL))
RETURNING idle_policy_id;

-- name: find_scope_owner
-- The entity of a deployment or asset as it is recorded now; a scan, the tables are small.
SELECT d.entity_id FROM deployment d WHERE :scope::text = 'deployment:' || d.deployment_id AND upper_inf(d.recorded)
UNION ALL
SELECT a.entity_id FROM asset a WHERE :scope::text = 'asset:' || a.asset_id AND upper_inf(a.recorded)
LIMIT 1;

-- name: list_tiers
-- Tiers that an entity deploys for, prices, or served anything on. Index: usage_key's; the others are small.
SELECT d.tier FROM deployment d WHERE d.entity_id = :entity_id AND d.tier IS NOT NULL
UNION
SELECT p.tier FROM rate_card_price p JOIN rate_card r USING (rate_card_id)
 WHERE r.entity_id = :entity_id AND p.tier IS NOT NULL
UNION
SELECT u.tier FROM usage_key u WHERE u.entity_id = :entity_id AND u.tier <> ''
ORDER BY 1;

-- name: find_idle_policies
-- Policies of idle of an entity known at a cut-off and valid somewhere in [since, until).
SELECT p.scope, p.version, p.method, p.reserved, lower(p.valid) AS valid_from,
       nullif(upper(p.valid), 'infinity') AS valid_to
  FROM idle_policy p
 WHERE p.entity_id = :entity_id AND p.recorded @> :batch_seq::bigint AND p.valid && tstzrange(:since, :until)
 ORDER BY p.scope, valid_from;

-- name: sum_deployed_gpus
-- Seconds of parts of GPUs that deployments of an entity had of each asset in [since, until) known at a cut-off; a scan.
SELECT 'asset:' || d.asset_id AS asset_scope, 'deployment:' || d.deployment_id AS scope,
       sum(d.gpu_count::numeric * d.gpu_parts * extract(epoch FROM least(upper(d.valid), :until) - greatest(lower(d.valid), :since))) AS part_s
  FROM deployment d
 WHERE d.entity_id = :entity_id AND d.recorded @> :batch_seq::bigint AND d.valid && tstzrange(:since, :until)
 GROUP BY d.asset_id, d.deployment_id ORDER BY d.asset_id, d.deployment_id;

-- name: find_peaks
-- The quarter hour of [since, until) in which who used a scope of an entity cost most, for each scope, as known at a
-- cut-off. Index: cost_allocation (entity_id, window_start).
SELECT DISTINCT ON (l.scope) l.scope, l.window_start FROM allocations_at(:batch_seq) l
 WHERE l.entity_id = :entity_id AND l.window_start >= :since AND l.window_start < :until AND l.line = 'usage' AND l.lines > 0
 ORDER BY l.scope, l.device_cost::numeric + l.overhead_cost + l.gpu_cost DESC, l.window_start;

-- name: sum_peak_lines
-- Cost of who used scopes of an entity, each in one window, as known at a cut-off.
-- Index: cost_allocation (entity_id, window_start).
WITH dearest AS MATERIALIZED (
  SELECT * FROM unnest(:scopes::text[], :windows::timestamptz[]) AS o(scope, window_start)
)
SELECT l.scope, l.line, l.currency, u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model, u.project_id, u.api_key_id,
       u.adapter, u.region,
       sum(l.busy_s) AS busy_s,
       sum(l.device_metered_mj) AS device_metered_mj, sum(l.device_estimated_mj) AS device_estimated_mj,
       sum(l.host_mj) AS host_mj, sum(l.overhead_mj) AS overhead_mj,
       sum(l.device_cost) AS device_cost, sum(l.overhead_cost) AS overhead_cost, sum(l.gpu_cost) AS gpu_cost
  FROM dearest o
 CROSS JOIN LATERAL (SELECT c.* FROM cost_lines_at(:batch_seq) c
                      WHERE c.entity_id = :entity_id AND c.window_start = o.window_start AND c.scope = o.scope
                        AND c.line = 'usage' OFFSET 0) l
  LEFT JOIN usage_key u USING (usage_key_id)
 GROUP BY l.scope, l.line, l.currency, u.customer_id, u.customer_ref, u.agent_id, u.tier, u.model, u.project_id, u.api_key_id,
          u.adapter, u.region
 ORDER BY l.scope COLLATE "C", l.currency COLLATE "C", u.customer_id COLLATE "C" NULLS FIRST,
          u.customer_ref COLLATE "C", u.agent_id COLLATE "C", u.tier COLLATE "C", u.model COLLATE "C", u.project_id COLLATE "C",
          u.api_key_id COLLATE "C", u.adapter COLLATE "C", u.region COLLATE "C";
