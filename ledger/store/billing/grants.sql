-- name: find_grant
-- A grant by its primary key.
SELECT entity_id, grant_id, customer_id, kind, currency, amount, priority, meters, models, granted_on, starts_on,
       expires_on, order_id, reference
  FROM credit_grant WHERE entity_id = :entity_id AND grant_id = :grant_id;

-- name: insert_grant
-- A grant; nothing of it ever changes.
INSERT INTO credit_grant (entity_id, grant_id, customer_id, kind, currency, amount, priority, meters, models, granted_on,
                          starts_on, expires_on, order_id, reference, batch_seq)
VALUES (:entity_id, :grant_id, :customer_id, :kind, :currency, :amount, :priority, :meters, :models, :granted_on,
        :starts_on, :expires_on, :order_id, :reference, :batch_seq);

-- name: find_order
-- An order of a top-up by its number, and the grant that it came to, if any.
SELECT e.customer_id, e.currency,
       (SELECT g.grant_id FROM credit_grant g WHERE g.entity_id = e.entity_id AND g.order_id = e.event_id) AS grant_id
  FROM credit_event e WHERE e.event_id = :order_id AND e.entity_id = :entity_id AND e.kind = 'top_up_ordered';

-- name: find_open_rules
-- Rules of a customer's currency that overlap; the exclusion constraint's index.
SELECT rule_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, customer_id, currency, low_balance,
       top_up_amount
  FROM top_up_rule
 WHERE customer_id = :customer_id AND currency = :currency AND valid && tstzrange(:valid_from, :valid_to)
   AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_rules
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE top_up_rule SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE rule_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO top_up_rule (customer_id, currency, low_balance, top_up_amount, valid, recorded)
SELECT c.customer_id, c.currency, c.low_balance, c.top_up_amount, part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part;

-- name: insert_rule
-- When a balance is low, and what is ordered then; returns its row.
INSERT INTO top_up_rule (customer_id, currency, low_balance, top_up_amount, valid, recorded)
VALUES (:customer_id, :currency, :low_balance, :top_up_amount, tstzrange(:valid_from, :valid_to),
        int8range(:batch_seq, NULL))
RETURNING rule_id;

-- name: list_due
-- Customers with grants whose charges of a day changed, who were granted something, whose grants expired, or whose
-- rule is new, since a cut-off: from which day on what grants paid is to be found anew.
SELECT d.customer_id, min(d.day) AS day
  FROM (
    SELECT coalesce(c.payer_id, c.customer_id) AS customer_id, (c.day_start AT TIME ZONE :zone)::date AS day
      FROM charge_day c
     WHERE c.entity_id = :entity_id AND c.batch_seq > :since_seq AND c.batch_seq <= :batch_seq
       AND EXISTS (SELECT FROM credit_grant g
                    WHERE g.customer_id = coalesce(c.payer_id, c.customer_id) AND g.batch_seq <= :batch_seq)
    UNION ALL
    SELECT g.customer_id, g.starts_on FROM credit_grant g
     WHERE g.entity_id = :entity_id AND g.batch_seq > :since_seq AND g.batch_seq <= :batch_seq
    UNION ALL
    SELECT g.customer_id, g.expires_on
      FROM credit_grant g JOIN grant_balances() b USING (entity_id, grant_id)
     WHERE g.entity_id = :entity_id AND g.expires_on <= :today AND g.batch_seq <= :batch_seq AND b.left_over <> 0
    UNION ALL
    SELECT r.customer_id, :today FROM top_up_rule r JOIN customer c USING (customer_id)
     WHERE c.entity_id = :entity_id AND lower(r.recorded) > :since_seq AND lower(r.recorded) <= :batch_seq) d
 GROUP BY 1 ORDER BY 1;

-- name: list_grants_of
-- Grants of some customers, as known at a cut-off.
SELECT grant_id, customer_id, kind, currency, amount, priority, meters, models, granted_on, starts_on, expires_on
  FROM credit_grant WHERE customer_id = ANY(:customers::text[]) AND batch_seq <= :batch_seq
 ORDER BY grant_id;

-- name: sum_drawn_before
-- What grants of some customers paid of the days before one, by kind of usage.
SELECT d.customer_id, d.grant_id, d.subscription_id, d.meter, d.model, sum(d.amount) AS amount
  FROM unnest(:customers::text[], :sinces::timestamptz[]) AS n (customer_id, since)
  JOIN credit_draw d ON d.customer_id = n.customer_id AND d.day_start < n.since
 GROUP BY 1, 2, 3, 4, 5;

-- name: sum_drawn_since
-- What is stored of draws of some customers from a day on.
SELECT d.customer_id, d.grant_id, d.day_start, d.subscription_id, d.meter, d.model, d.currency, sum(d.amount) AS amount
  FROM unnest(:customers::text[], :sinces::timestamptz[]) AS n (customer_id, since)
  JOIN credit_draw d ON d.customer_id = n.customer_id AND d.day_start >= n.since
 GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(d.amount) <> 0;

-- name: sum_uses
-- What some customers pay from a day on, by day and kind of usage, at a cut-off, less what discounts take off a
-- subscription's usage of the day, in proportion; charge (customer_id, day_start, batch_seq).
WITH uses AS (
  SELECT n.customer_id, c.day_start, c.subscription_id, c.meter, k.model, c.currency, sum(c.amount) AS amount,
         sum(sum(c.amount)) FILTER (WHERE c.meter = 'discount') OVER w AS off,
         sum(sum(c.amount)) FILTER (WHERE c.meter NOT IN ('fee', 'commitment', 'discount')) OVER w AS used
    FROM unnest(:customers::text[], :sinces::timestamptz[]) AS n (customer_id, since)
   CROSS JOIN LATERAL (SELECT l.* FROM charges_at(:batch_seq) l
                        WHERE (l.customer_id = n.customer_id AND l.payer_id IS NULL OR l.payer_id = n.customer_id)
                          AND l.day_start >= n.since AND l.amount IS NOT NULL OFFSET 0) c
    JOIN usage_key k USING (usage_key_id)
   GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(c.amount) <> 0
  WINDOW w AS (PARTITION BY n.customer_id, c.day_start, c.subscription_id, c.currency)
)
SELECT u.customer_id, u.day_start, u.subscription_id, u.meter, u.model, u.currency, e.amount
  FROM uses u
 CROSS JOIN LATERAL (
   SELECT CASE WHEN u.off IS NULL OR u.used IS NULL OR u.used = 0 OR u.meter IN ('fee', 'commitment') THEN u.amount
               ELSE u.amount + trunc(u.amount * u.off / u.used, 12) END AS amount) e
 WHERE u.meter <> 'discount' AND e.amount <> 0;

-- name: insert_draws
-- What changed about what grants paid.
INSERT INTO credit_draw (entity_id, grant_id, customer_id, subscription_id, day_start, meter, model, currency, amount,
                         cut_off_id, batch_seq)
SELECT :entity_id, d.grant_id, d.customer_id, d.subscription_id, d.day_start, d.meter, d.model, d.currency, d.amount,
       :cut_off_id, :batch_seq
  FROM unnest(:grants::text[], :customers::text[], :subscriptions::text[], :days::timestamptz[], :meters::text[],
              :models::text[], :currencies::text[], :amounts::numeric[])
    AS d (grant_id, customer_id, subscription_id, day_start, meter, model, currency, amount);

-- name: sum_draws_to_book
-- What grants of each kind paid of some days, with zero rows for what was given back.
SELECT d.customer_id, d.day_start, d.subscription_id, d.currency, g.kind, sum(d.amount) AS amount
  FROM unnest(:customers::text[], :days::timestamptz[]) AS n (customer_id, day_start)
  JOIN credit_draw d USING (customer_id, day_start)
  JOIN credit_grant g USING (entity_id, grant_id)
 GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5;

-- name: expire_grants
-- What is left of grants of some customers that have expired, as differences to what was said to be.
INSERT INTO credit_expiry (entity_id, grant_id, customer_id, currency, amount, cut_off_id, batch_seq)
SELECT b.entity_id, b.grant_id, b.customer_id, b.currency, b.left_over, :cut_off_id, :batch_seq
  FROM credit_grant g JOIN grant_balances() b USING (entity_id, grant_id)
 WHERE g.customer_id = ANY(:customers::text[]) AND g.expires_on <= :today AND g.batch_seq <= :cut_off_seq
   AND b.left_over <> 0;

-- name: list_expired
-- What of prepaid grants of some customers expired.
SELECT g.customer_id, g.grant_id, g.currency, g.expires_on, b.expired AS amount
  FROM credit_grant g JOIN grant_balances() b USING (entity_id, grant_id)
 WHERE g.customer_id = ANY(:customers::text[]) AND g.expires_on <= :today AND g.kind = 'prepaid'
 ORDER BY 1, 2;

-- name: note_events
-- What grants and balances of some customers have to say, each once: what expired; that less is left than a rule says,
-- or nothing; and an order of a top-up, unless one is open.
WITH balance AS (
  SELECT g.entity_id, g.customer_id, g.currency::text AS currency, count(*) AS grants, bool_or(b.drawn + b.expired > 0) AS used,
         coalesce(sum(b.left_over) FILTER (WHERE g.starts_on <= :today
                                             AND (g.expires_on IS NULL OR g.expires_on > :today)), 0) AS amount
    FROM credit_grant g JOIN grant_balances() b USING (entity_id, grant_id)
   WHERE g.customer_id = ANY(:customers::text[]) GROUP BY 1, 2, 3
), ruled AS (
  SELECT c.entity_id, r.customer_id, r.currency::text AS currency, r.low_balance, r.top_up_amount,
         coalesce(b.grants, 0) AS grants, coalesce(b.amount, 0) AS amount
    FROM top_up_rule r JOIN customer c USING (customer_id)
    LEFT JOIN balance b ON b.customer_id = r.customer_id AND b.currency = r.currency
   WHERE r.customer_id = ANY(:customers::text[]) AND upper_inf(r.recorded) AND r.valid @> :now::timestamptz
     AND coalesce(b.amount, 0) < r.low_balance
), said AS (
  SELECT entity_id, customer_id, currency, 'low_balance' AS kind, 'after ' || grants || ' grants' AS about, amount FROM ruled
  UNION ALL
  SELECT entity_id, customer_id, currency, 'exhausted', 'after ' || grants || ' grants', amount
    FROM balance WHERE amount <= 0 AND used
  UNION ALL
  SELECT entity_id, customer_id, currency, 'top_up_ordered', 'after ' || grants || ' grants', top_up_amount
    FROM ruled r
   WHERE top_up_amount IS NOT NULL
     AND NOT EXISTS (SELECT FROM credit_event e
                      WHERE e.customer_id = r.customer_id AND e.currency = r.currency AND e.kind = 'top_up_ordered'
                        AND NOT EXISTS (SELECT FROM credit_grant g
                                         WHERE g.entity_id = e.entity_id AND g.order_id = e.event_id))
  UNION ALL
  SELECT b.entity_id, b.customer_id, b.currency, 'expired', b.grant_id, b.expired
    FROM grant_balances() b WHERE b.customer_id = ANY(:customers::text[]) AND b.expired > 0
)
INSERT INTO credit_event (entity_id, customer_id, currency, kind, about, amount, noticed_at, batch_seq)
SELECT s.entity_id, s.customer_id, s.currency, s.kind, s.about, s.amount, :now, :batch_seq
  FROM said s ORDER BY s.customer_id, s.currency, s.kind, s.about
    ON CONFLICT DO NOTHING;

-- name: list_drawn_of
-- What grants were drawn for of subscriptions' days before a moment and no invoice took account of, in the order in
-- which they are drawn.
SELECT n.subscription_id, g.grant_id, g.currency, coalesce(d.amount, 0) - coalesce(a.amount, 0) AS amount
  FROM unnest(:subscriptions::text[], :customers::text[], :untils::timestamptz[]) AS n (subscription_id, customer_id, until)
  JOIN credit_grant g USING (customer_id)
 CROSS JOIN LATERAL (SELECT sum(r.amount) AS amount FROM credit_draw r
                      WHERE r.entity_id = g.entity_id AND r.grant_id = g.grant_id
                        AND r.subscription_id = n.subscription_id AND r.day_start < n.until) d
 CROSS JOIN LATERAL (SELECT sum(p.charged_amount) AS amount FROM credit_applied p JOIN invoice i USING (invoice_id)
                      WHERE p.entity_id = g.entity_id AND p.grant_id = g.grant_id
                        AND i.subscription_id = n.subscription_id) a
 WHERE coalesce(d.amount, 0) <> coalesce(a.amount, 0)
 ORDER BY n.subscription_id, g.priority, g.expires_on NULLS LAST, g.granted_on, g.grant_id;

-- name: insert_applied
-- What grants pay of invoices.
INSERT INTO credit_applied (invoice_id, grant_id, taken_back, entity_id, customer_id, charged_amount, exact_amount, amount,
                            batch_seq)
SELECT a.invoice_id, a.grant_id, :taken_back, i.entity_id, i.customer_id, a.charged_amount, a.exact_amount, a.amount,
       :batch_seq
  FROM unnest(:invoices::bigint[], :grants::text[], :charged_amounts::numeric[], :exact_amounts::numeric[],
              :amounts::numeric[]) AS a (invoice_id, grant_id, charged_amount, exact_amount, amount)
  JOIN invoice i USING (invoice_id);

-- name: list_applied
-- What grants paid of an invoice and still do.
SELECT grant_id, sum(charged_amount) AS charged_amount, sum(exact_amount) AS exact_amount, sum(amount) AS amount
  FROM credit_applied WHERE invoice_id = :invoice_id
 GROUP BY 1 HAVING sum(exact_amount) <> 0 OR sum(amount) <> 0 ORDER BY 1;
