-- name: lock_months
-- Waits for whoever books entries of the entity, closes or opens a month of it; held until the transaction ends.
SELECT pg_advisory_xact_lock(lock_class('months'), hashtext(:entity_id));

-- name: list_states
-- The last change of each month of an entity, in order; primary key.
SELECT DISTINCT ON (s.month) s.month, s.change_no, s.state, s.seal FROM month_state s
 WHERE s.entity_id = :entity_id ORDER BY s.month, s.change_no DESC;

-- name: find_first_booked
-- When the first entry of an entity is booked for; journal_entry (entity_id, booked_for).
SELECT min(e.booked_for) AS booked_for FROM journal_entry e WHERE e.entity_id = :entity_id;

-- name: digest_month
-- What the journal says of a month, line by line in its order: how many lines, the last entry of the entity, and the
-- SHA-256 of the bytes that PostgreSQL would send of each; journal_entry (entity_id, booked_for), posting.
SELECT coalesce((SELECT max(m.entry_id) FROM journal_entry m WHERE m.entity_id = :entity_id), 0) AS until_entry_id,
       count(*) AS lines,
       sha256(coalesce(string_agg(sha256(l.said), ''::bytea
                                  ORDER BY l.booked_for, l.natural_key COLLATE "C", l.revision, l.line_no), '')) AS digest
  FROM (SELECT e.booked_for, e.natural_key, e.revision, p.line_no,
               record_send(ROW(e.booked_for, e.corrects, e.kind, e.natural_key, e.revision, e.description, p.line_no,
                               p.account, trim_scale(p.amount::numeric), p.currency::text, p.customer_id, p.dimension,
                               p.tier, p.model)) AS said
          FROM journal_entry e JOIN posting p USING (entry_id)
         WHERE e.entity_id = :entity_id AND e.booked_for >= :since AND e.booked_for < :until) l;

-- name: insert_state
-- A change of a month, sealed where that closes it.
INSERT INTO month_state (entity_id, month, change_no, state, since, until, accepted, reason, actor, request_id,
                         changed_at, cut_off_id, batch_seq, until_entry_id, lines, lines_digest, previous, seal)
VALUES (:entity_id, :month, :change_no, :state, :since, :until, :accepted::jsonb, :reason, :actor, :request_id,
        :changed_at, :cut_off_id, :batch_seq, :until_entry_id::bigint, :lines::bigint, :lines_digest::bytea,
        :previous::bytea, :seal::bytea);

-- name: find_stages_behind
-- Stages that something of a month has come for since they ran last: usage of customers, charges, cost lines;
-- usage_delta, charge_day and cost_allocation by batch_seq.
SELECT s.stage FROM (VALUES
  ('allocate', :allocate_seq > 0 AND EXISTS (
    SELECT FROM usage_delta d JOIN customer c USING (customer_id)
     WHERE c.entity_id = :entity_id AND d.window_start >= :since AND d.window_start < :until AND d.batch_seq > :allocate_seq)),
  ('rate', EXISTS (
    SELECT FROM usage_delta d JOIN customer c USING (customer_id)
     WHERE c.entity_id = :entity_id AND d.window_start >= :since AND d.window_start < :until AND d.batch_seq > :rate_seq)),
  ('book_revenue', EXISTS (
    SELECT FROM charge_day d WHERE d.entity_id = :entity_id AND d.day_start >= :since AND d.day_start < :until
                               AND d.batch_seq > :book_revenue_seq)),
  ('book_cost', EXISTS (
    SELECT FROM cost_allocation a WHERE a.entity_id = :entity_id AND a.window_start >= :since AND a.window_start < :until
                                    AND a.batch_seq > :book_cost_seq))) AS s (stage, is_behind)
 WHERE s.is_behind;

-- name: count_unpriced
-- How many kinds of usage of a month wait for a price: by customer, model, tier and meter; charge (entity_id, day_start).
SELECT count(*) FROM (
  SELECT c.customer_id, k.model, k.tier, c.meter FROM charge c JOIN usage_key k USING (usage_key_id)
   WHERE c.entity_id = :entity_id AND c.day_start >= :since AND c.day_start < :until AND c.unpriced IS NOT NULL
   GROUP BY 1, 2, 3, 4 HAVING sum(c.quantity) <> 0) w;

-- name: list_unbilled
-- Subscriptions with charges of a month that no invoice bills that stands, and the first such day; charge (entity_id,
-- day_start), invoice (subscription_id, period).
SELECT s.subscription_id, b.first_day, s.anchor_day, s.zone
  FROM (SELECT c.subscription_id, min(c.day_start) AS first_day
          FROM (SELECT d.subscription_id, d.day_start FROM charge d
                 WHERE d.entity_id = :entity_id AND d.day_start >= :since AND d.day_start < :until
                   AND d.subscription_id IS NOT NULL GROUP BY 1, 2 HAVING sum(d.amount) <> 0) c
         WHERE NOT EXISTS (SELECT FROM invoice i WHERE i.subscription_id = c.subscription_id
                                                   AND i.period @> c.day_start AND NOT is_void(i.invoice_id))
         GROUP BY 1) b
 CROSS JOIN LATERAL (SELECT n.* FROM subscription n
                      WHERE n.subscription_id = b.subscription_id AND upper_inf(n.recorded) AND n.valid @> b.first_day
                      ORDER BY n.valid LIMIT 1) s
 ORDER BY 1;

-- name: count_bank_entries
-- Entries of banks up to a day that nobody matched with a payment or let go; bank_entry_outcome (entry_id, outcome_id).
SELECT count(*) FROM bank_entry e
 WHERE e.entity_id = :entity_id AND e.booked_on < :before
   AND coalesce((SELECT o.kind FROM bank_entry_outcome o WHERE o.entry_id = e.entry_id
                  ORDER BY o.outcome_id DESC LIMIT 1), 'waiting') = 'waiting';

-- name: list_unallocated
-- What stands on account 5900 before a moment, by currency; posting (account, entry_id).
SELECT p.currency::text AS currency, sum(p.amount) AS amount FROM posting p JOIN journal_entry e USING (entry_id)
 WHERE p.account = '5900' AND e.entity_id = :entity_id AND e.booked_for < :until
 GROUP BY 1 HAVING sum(p.amount) <> 0 ORDER BY 1;

-- name: list_changes
-- Every change of months of an entity, or (NULL) of all, in order; primary key.
SELECT s.entity_id, to_char(s.month, 'YYYY-MM') AS month, s.change_no, s.state, s.changed_at, s.actor, s.reason,
       s.accepted, s.lines, encode(s.seal, 'hex') AS seal
  FROM month_state s WHERE :entity_id::text IS NULL OR s.entity_id = :entity_id
 ORDER BY s.entity_id, s.month, s.change_no;

-- name: find_closed_until
-- The end of the last closed month of an entity, or NULL; primary key.
SELECT closed_until(:entity_id) AS until;

-- name: find_closed_before
-- The first day of an entity that is not closed, or NULL where all are; primary key.
SELECT (closed_until(e.entity_id) AT TIME ZONE e.zone)::date AS day FROM entity e WHERE e.entity_id = :entity_id;

-- name: find_state
-- The last change of a month of an entity, given by any of its days, or no row; primary key.
SELECT s.state FROM month_state s
 WHERE s.entity_id = :entity_id AND s.month = date_trunc('month', :day::date)::date ORDER BY s.change_no DESC LIMIT 1;

-- name: list_closed_until
-- Until when the books of each entity are closed, of those that are beyond a moment; primary key.
SELECT e.entity_id, e.until
  FROM (SELECT DISTINCT s.entity_id, closed_until(s.entity_id) AS until FROM month_state s WHERE s.until > :since) e
 WHERE e.until > :since;
