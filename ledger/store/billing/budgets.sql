-- name: find_open_budgets
-- Budgets of this id that overlap; the exclusion constraint's index.
SELECT budget_row_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, budget_id, customer_id, project_id,
       api_key_id, agent_id, agent_run_id, period, anchor_day, zone, unit, currency, amount, times_own_mean, hard,
       alert_percents
  FROM budget
 WHERE budget_id = :budget_id AND valid && tstzrange(:valid_from, :valid_to) AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_budgets
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE budget SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE budget_row_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO budget (budget_id, customer_id, project_id, api_key_id, agent_id, agent_run_id, period, anchor_day, zone, unit,
                    currency, amount, times_own_mean, hard, alert_percents, valid, recorded)
SELECT c.budget_id, c.customer_id, c.project_id, c.api_key_id, c.agent_id, c.agent_run_id, c.period, c.anchor_day, c.zone,
       c.unit, c.currency, c.amount, c.times_own_mean, c.hard, c.alert_percents, part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part;

-- name: insert_budget
-- What may be used in a period; returns its row.
INSERT INTO budget (budget_id, customer_id, project_id, api_key_id, agent_id, agent_run_id, period, anchor_day, zone, unit,
                    currency, amount, times_own_mean, hard, alert_percents, valid, recorded)
VALUES (:budget_id, :customer_id, :project_id, :api_key_id, :agent_id, :agent_run_id, :period, :anchor_day, :zone, :unit,
        :currency, :amount, :times_own_mean, :hard, :alert_percents, tstzrange(:valid_from, :valid_to),
        int8range(:batch_seq, NULL))
RETURNING budget_row_id;

-- name: find_budget_scope
-- What a budget of this id is of, as it was recorded first: it stays.
SELECT customer_id, project_id, api_key_id, agent_id, agent_run_id, period, anchor_day, zone, unit, currency
  FROM budget WHERE budget_id = :budget_id ORDER BY budget_row_id LIMIT 1;

-- name: reserve
-- Holds what each asks for, or says why not.
SELECT r.ask, r.outcome, r.detail FROM reserve(:asks::jsonb, :at) r;

-- name: release
-- Ends a reservation; NULL where there is none.
SELECT release_reservation(:customer_id, :reservation_id, :at);

-- name: count_use
-- Counts usage in the budgets it falls under, and settles the reservations it names.
SELECT count_use(:moves::jsonb, :named::jsonb, :batch_seq, :at);

-- name: enter_balances
-- Begins a budget with what is stored, and notes that what is on its way is to be counted.
SELECT enter_balances(:budget_id, :batch_seq, clock_timestamp());

-- name: enter_again
-- Notes the budgets of whoever came to be, or is no longer, above some customers by what was written under this number.
INSERT INTO entered_budget (batch_seq, budget_id)
SELECT DISTINCT :batch_seq::bigint, b.budget_id
  FROM customer_above a
  JOIN budget b ON b.customer_id = a.above_id AND upper_inf(b.recorded)
 WHERE a.customer_id = ANY (:customers::text[]) AND :batch_seq IN (lower(a.recorded), upper(a.recorded))
   AND b.period <> 'run' AND b.agent_run_id IS NULL;

-- name: list_entered_budgets
-- Budgets whose earlier use is not counted for good, with the numbers they were entered under, and behind which number
-- every batch sees all of them. A scan of what was entered just now.
SELECT e.budget_id, array_agg(e.batch_seq ORDER BY e.batch_seq) AS entered,
       (SELECT s.last_value FROM batch_seq s WHERE max(e.batch_seq) > 0) AS seen_behind
  FROM entered_budget e GROUP BY e.budget_id ORDER BY e.budget_id;

-- name: is_any_open
-- Whether a batch up to this number is not ended yet: its number is locked until then.
SELECT EXISTS (
  SELECT FROM pg_locks l
   WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.mode = 'ExclusiveLock' AND l.granted
     AND (l.classid::bigint << 32) | l.objid::bigint <= :batch_seq
     AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()));

-- name: list_earlier_use
-- What was used in each period of a budget up to a cut-off.
SELECT u.period_start, u.used FROM earlier_use(:budget_id, :batch_seq) u ORDER BY u.period_start;

-- name: count_entered_budget
-- Counts that; false where another was first.
SELECT count_entered_budget(:budget_id, :entered::bigint[], :batch_seq, :periods::timestamptz[], :uses::numeric[],
                            clock_timestamp());

-- name: find_customer_named
-- Our id and the entity of a customer by its id, else by another system's name of it.
SELECT c.customer_id, c.entity_id FROM customer c
 WHERE c.customer_id = coalesce(
         (SELECT n.customer_id FROM customer n WHERE n.customer_id = :name),
         (SELECT n.customer_id FROM customer_alias n WHERE n.alias = :name AND n.valid @> :at::timestamptz AND upper_inf(n.recorded)));
