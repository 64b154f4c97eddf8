-- name: list_new_alerts
-- What budgets had to say since a moment, newest first; the index by number, from its end.
SELECT budget_id, customer_id, run_id AS agent_run_id, period_start, kind, percent, used, held, ceiling, noticed_at
  FROM budget_alert WHERE noticed_at >= :since ORDER BY alert_id DESC LIMIT :most;

-- name: list_low_balances
-- Customers of whose credit less can be used today than their rule says; a scan of rules, there are few.
SELECT c.entity_id, r.customer_id, r.currency::text AS currency, b.usable, r.low_balance
  FROM top_up_rule r
  JOIN customer c USING (customer_id)
  JOIN entity e USING (entity_id)
 CROSS JOIN LATERAL (SELECT (:now::timestamptz AT TIME ZONE e.zone)::date AS today) t
 CROSS JOIN LATERAL (
   SELECT coalesce(sum(o.left_over), 0) AS usable
     FROM credit_grant g JOIN grant_balances() o USING (entity_id, grant_id)
    WHERE g.customer_id = r.customer_id AND g.currency = r.currency AND g.starts_on <= t.today
      AND (g.expires_on IS NULL OR g.expires_on > t.today)) b
 WHERE upper_inf(r.recorded) AND r.valid @> :now::timestamptz AND b.usable < r.low_balance
 ORDER BY c.entity_id, r.customer_id, r.currency;
