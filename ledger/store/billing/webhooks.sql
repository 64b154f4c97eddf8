-- name: find_webhook
-- A webhook by its primary key.
SELECT webhook_id, entity_id, customer_id, url, events FROM webhook WHERE webhook_id = :webhook_id;

-- name: insert_webhook
-- A webhook; nothing of it ever changes but whether it is on.
INSERT INTO webhook (webhook_id, entity_id, customer_id, url, events, batch_seq)
VALUES (:webhook_id, :entity_id, :customer_id, :url, :events, :batch_seq);

-- name: insert_secret
-- The secret that signs from now on.
INSERT INTO webhook_secret (webhook_id, made_at, secret) VALUES (:webhook_id, :made_at, :secret);

-- name: insert_state
-- A webhook is on or off from now on.
INSERT INTO webhook_state (webhook_id, active, reason, changed_at) VALUES (:webhook_id, :active, :reason, :changed_at);

-- name: lease_due
-- What is due at webhooks that are on and have a secret, at most :each of one, put off until :until for whoever asks next;
-- notice_due (webhook_id, due_at).
WITH leased AS (
  UPDATE notice_due d SET due_at = :until
    FROM (SELECT c.webhook_id, c.notice_id
            FROM webhook w
           CROSS JOIN LATERAL (SELECT q.webhook_id, q.notice_id FROM notice_due q
                                WHERE q.webhook_id = w.webhook_id AND q.due_at <= :now
                                ORDER BY q.due_at, q.notice_id LIMIT :each FOR UPDATE SKIP LOCKED) c
           WHERE is_active(w.webhook_id) AND EXISTS (SELECT FROM webhook_secret s WHERE s.webhook_id = w.webhook_id)) c
   WHERE d.webhook_id = c.webhook_id AND d.notice_id = c.notice_id
  RETURNING d.webhook_id, d.notice_id, d.tries
)
SELECT l.webhook_id, w.url, l.tries, n.notice_id, n.event, n.noticed_at, n.data,
       (SELECT array_agg(s.secret ORDER BY s.secret_id DESC)
          FROM (SELECT s.secret, s.secret_id, lead(s.made_at) OVER (ORDER BY s.secret_id) AS replaced_at
                  FROM webhook_secret s WHERE s.webhook_id = l.webhook_id) s
         WHERE s.replaced_at IS NULL OR s.replaced_at > :signs_since) AS secrets
  FROM leased l JOIN webhook w USING (webhook_id) JOIN notice n USING (notice_id)
 ORDER BY n.noticed_at, n.notice_id, l.webhook_id;

-- name: insert_deliveries
-- What came of tries, and what is due again; what has no next time is due no more; primary key.
WITH tried AS (
  SELECT * FROM unnest(:webhook_ids::text[], :notice_ids::text[], :outcomes::text[], :statuses::int[], :details::text[],
                       :next_at::timestamptz[]) AS t (webhook_id, notice_id, outcome, status, detail, next_at)
), kept AS (
  INSERT INTO notice_delivery (notice_id, webhook_id, tried_at, outcome, status, detail, next_at)
  SELECT t.notice_id, t.webhook_id, :now, t.outcome, t.status, t.detail, t.next_at FROM tried t
), over AS (
  DELETE FROM notice_due d USING tried t
   WHERE d.webhook_id = t.webhook_id AND d.notice_id = t.notice_id AND t.next_at IS NULL
)
UPDATE notice_due d SET due_at = t.next_at, tries = d.tries + 1
  FROM tried t
 WHERE d.webhook_id = t.webhook_id AND d.notice_id = t.notice_id AND t.next_at IS NOT NULL;

-- name: is_notice
-- Whether there is a notice of an id; primary key.
SELECT EXISTS (SELECT FROM notice WHERE notice_id = :notice_id);

-- name: queue_again
-- Makes a notice due at every webhook that wants it; returns how many; by entity.
WITH queued AS (
  INSERT INTO notice_due (webhook_id, notice_id, due_at)
  SELECT w.webhook_id, n.notice_id, :now
    FROM notice n
    JOIN webhook w ON w.entity_id = n.entity_id AND n.event = ANY (w.events) AND coalesce(w.customer_id = n.customer_id, true)
   WHERE n.notice_id = :notice_id
  ON CONFLICT (webhook_id, notice_id) DO UPDATE SET due_at = excluded.due_at, tries = 0
  RETURNING 1
)
SELECT count(*) FROM queued;

-- name: tell_of_overdue
-- Writes a notice of each invoice that is overdue, once, where a webhook wants to know; scans the invoices of its entities.
INSERT INTO notice (event, entity_id, customer_id, subject, noticed_at, data)
SELECT 'invoice.overdue', o.entity_id, o.customer_id, o.number, :now,
       jsonb_build_object('invoice_id', o.invoice_id, 'number', o.number, 'customer_id', o.customer_id,
                          'currency', o.currency, 'payable', o.payable::text, 'due_on', o.due_on,
                          'open', (o.payable - o.credited - o.paid)::text)
  FROM entity e JOIN open_items() o USING (entity_id)
 WHERE EXISTS (SELECT FROM webhook w WHERE w.entity_id = e.entity_id AND 'invoice.overdue' = ANY (w.events))
   AND o.due_on < (:now::timestamptz AT TIME ZONE e.zone)::date AND o.payable > o.credited + o.paid
   AND is_wanted('invoice.overdue', o.entity_id, o.customer_id)
ON CONFLICT DO NOTHING;
