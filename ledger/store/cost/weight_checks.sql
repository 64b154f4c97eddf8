-- name: find_fitted_sets
-- Weight sets of an entity with evidence that are in force somewhere in [since, until), known at the cut-off; a scan, the
-- table is small.
SELECT w.deployment_id, w.weight_set_id, w.version, w.uncached, w.cache_read, w.cache_write, w.output, w.context, w.step,
       w.idle_mw_per_gpu, w.evidence -> 'low' AS low, w.evidence -> 'high' AS high, w.unread,
       (w.evidence ->> 'condition')::numeric AS condition,
       (w.evidence ->> 'fit_error_percent')::numeric AS fit_error_percent,
       (w.evidence ->> 'holdout_error_percent')::numeric AS holdout_error_percent,
       lower(w.valid) AS valid_from, upper(w.valid) AS valid_to
  FROM weight_set w
 WHERE w.entity_id = :entity_id AND w.evidence IS NOT NULL AND w.idle_mw_per_gpu IS NOT NULL
   AND w.recorded @> :batch_seq::bigint
   AND w.valid && tstzrange(:since, :until)
 ORDER BY w.deployment_id, valid_from;

-- name: list_drifted
-- The last check of each weight set in force now, where energy was outside of what the set says.
-- Index: weight_check's primary key.
SELECT c.entity_id, c.deployment_id, c.weight_set_id, c.version, c.since, c.until, c.slots, c.measured_mj, c.expected_mj,
       c.low_mj, c.high_mj
  FROM weight_set w
 CROSS JOIN LATERAL (SELECT k.* FROM weight_check k
                      WHERE k.entity_id = w.entity_id AND k.deployment_id = w.deployment_id
                      ORDER BY k.since DESC LIMIT 1) c
 WHERE upper_inf(w.recorded) AND w.evidence IS NOT NULL AND w.valid @> :now::timestamptz
   AND c.version = w.version AND c.measured_mj NOT BETWEEN c.low_mj AND c.high_mj
 ORDER BY c.entity_id, c.deployment_id;

-- name: list_weights_used
-- By which weights costs of an entity's deployments were shared in [since, until), known at the cut-off: parts by which set
-- was in force; a scan, the tables are small.
SELECT d.deployment_id, w.weight_set_id, coalesce(w.version, d.weight_version) AS version,
       coalesce(w.source, 'declared') AS source, greatest(lower(part.valid), :since::timestamptz) AS valid_from,
       least(coalesce(upper(part.valid), 'infinity'), :until::timestamptz) AS valid_to,
       jsonb_build_object('uncached', w.uncached, 'cache_read', w.cache_read, 'output', w.output, 'context', w.context,
                          'step', w.step, 'idle', w.idle_mw_per_gpu) AS fitted,
       w.evidence -> 'low' AS low, w.evidence -> 'high' AS high
  FROM weights_at(:batch_seq) part
  JOIN deployment d USING (deployment_row_id)
  LEFT JOIN weight_set w USING (weight_set_row_id)
 WHERE d.entity_id = :entity_id AND part.valid && tstzrange(:since, :until)
 ORDER BY d.deployment_id, valid_from;
