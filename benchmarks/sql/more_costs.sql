-- What was allocated of an hour as so many days: each added up as 24 such hours, lines, pools and meters, with pools and
-- meters of every hour.
SET session_replication_role = replica;
INSERT INTO cost_day (entity_id, day_start, day_end, cut_off_id, batch_seq)
SELECT e.entity_id, s.since + n * interval '1 day', s.since + (n + 1) * interval '1 day', 1, 1
  FROM entity e, generate_series(0, {days} - 1) n,
       (SELECT date_trunc('day', min(window_start), 'UTC') AS since FROM cost_allocation) s;
WITH hour AS MATERIALIZED (
  SELECT l.entity_id, l.scope, l.line, l.usage_key_id, l.currency, l.gpu_terms, 24 * sum(l.busy_s) AS busy_s,
         24 * sum(l.device_metered_mj) AS device_metered_mj, 24 * sum(l.device_estimated_mj) AS device_estimated_mj,
         24 * sum(l.host_mj) AS host_mj, 24 * sum(l.overhead_mj) AS overhead_mj, 24 * sum(l.device_cost) AS device_cost,
         24 * sum(l.overhead_cost) AS overhead_cost, 24 * sum(l.gpu_cost) AS gpu_cost
    FROM cost_lines_at(as_it_stands()) l
   GROUP BY l.entity_id, l.scope, l.line, l.usage_key_id, l.currency, l.gpu_terms
)
INSERT INTO cost_day_line (entity_id, day_start, scope, line, usage_key_id, currency, gpu_terms, cut_off_id, batch_seq,
                           busy_s, device_metered_mj, device_estimated_mj, host_mj, overhead_mj, device_cost, overhead_cost,
                           gpu_cost)
SELECT d.entity_id, d.day_start, h.scope, h.line, h.usage_key_id, h.currency, h.gpu_terms, 1, 1, h.busy_s,
       h.device_metered_mj, h.device_estimated_mj, h.host_mj, h.overhead_mj, h.device_cost, h.overhead_cost, h.gpu_cost
  FROM cost_day d JOIN hour h USING (entity_id)
 ORDER BY d.day_start;
INSERT INTO cost_pool (scope, window_start, kind, revision, cut_off_id, batch_seq, entity_id, currency, amount)
SELECT p.scope, p.window_start + n * interval '1 hour', p.kind, p.revision, p.cut_off_id, p.batch_seq, p.entity_id, p.currency,
       p.amount
  FROM cost_pool p CROSS JOIN generate_series(1, 24 * {days} - 1) n;
INSERT INTO meter_window (gpu_uuid, window_start, revision, cut_off_id, batch_seq, metered_mj, estimated_mj, covered_s,
                          findings)
SELECT m.gpu_uuid, m.window_start + n * interval '1 hour', m.revision, m.cut_off_id, m.batch_seq, m.metered_mj,
       m.estimated_mj, m.covered_s, m.findings
  FROM meter_window m CROSS JOIN generate_series(1, 24 * {days} - 1) n;
INSERT INTO pool_day (entity_id, day_start, kind, currency, cut_off_id, batch_seq, amount)
SELECT d.entity_id, d.day_start, p.kind, p.currency, 1, 1, sum(p.amount)
  FROM cost_day d JOIN cost_pool p USING (entity_id)
 WHERE p.window_start >= d.day_start AND p.window_start < d.day_end
 GROUP BY d.entity_id, d.day_start, p.kind, p.currency;
INSERT INTO meter_day (gpu_uuid, day_start, cut_off_id, batch_seq, metered_mj, estimated_mj, covered_s, windows, known)
SELECT m.gpu_uuid, date_trunc('day', m.window_start, 'UTC'), 1, 1, sum(m.metered_mj), sum(m.estimated_mj), sum(m.covered_s),
       count(*), count(*) FILTER (WHERE m.covered_s > 0 OR m.metered_mj > 0)
  FROM meter_window m GROUP BY 1, 2;
