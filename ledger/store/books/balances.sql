-- name: list_journal_entities
-- Entities that have booked something; primary key, and journal_entry (entity_id, batch_seq).
SELECT e.entity_id, e.currency, e.zone FROM entity e
 WHERE (:entity_id::text IS NULL OR e.entity_id = :entity_id)
   AND EXISTS (SELECT FROM journal_entry j WHERE j.entity_id = e.entity_id)
 ORDER BY e.entity_id;

-- name: find_chain
-- The fewest stretches of an entity that follow one another from 0 to as near a cut-off as they come; a probe each.
WITH RECURSIVE chain AS (
  SELECT NULL::smallint AS level, NULL::bigint AS since_seq, 0::bigint AS until_seq, '{}'::text[] AS currencies
   UNION ALL
  SELECT n.level, n.since_seq, n.until_seq, n.currencies
    FROM chain c
   CROSS JOIN LATERAL (SELECT s.level, s.since_seq, s.until_seq, s.currencies FROM journal_stretch s
                        WHERE s.entity_id = :entity_id AND s.since_seq = c.until_seq AND s.until_seq <= :batch_seq
                        ORDER BY s.until_seq DESC LIMIT 1) n
)
SELECT level, since_seq, until_seq, currencies FROM chain WHERE level IS NOT NULL ORDER BY until_seq;

-- name: count_entries
-- How many entries each batch of (since_seq, batch_seq] has, in order; journal_entry (entity_id, batch_seq).
SELECT j.batch_seq, count(*) AS entries FROM journal_entry j
 WHERE j.entity_id = :entity_id AND j.batch_seq > :since_seq AND j.batch_seq <= :batch_seq
 GROUP BY 1 ORDER BY 1;

-- name: insert_first_stretches
-- Stretches of level 0 with their balances, from postings; journal_entry (entity_id, batch_seq), and primary key.
WITH moved AS MATERIALIZED (
  SELECT s.until_seq, p.account, p.currency::text AS currency,
         date_bin('15 minutes', j.booked_for, '2000-01-01 00:00Z') + interval '15 minutes' AS booked_until,
         sum(p.amount) AS amount
    FROM unnest(:since_seqs::bigint[], :until_seqs::bigint[]) AS s (since_seq, until_seq)
   CROSS JOIN LATERAL (SELECT e.entry_id, e.booked_for FROM journal_entry e
                        WHERE e.entity_id = :entity_id AND e.batch_seq > s.since_seq AND e.batch_seq <= s.until_seq OFFSET 0) j
   CROSS JOIN LATERAL (SELECT t.account, t.currency, t.amount FROM posting t WHERE t.entry_id = j.entry_id OFFSET 0) p
   GROUP BY 1, 2, 3, 4
), stretches AS (
  INSERT INTO journal_stretch (entity_id, level, since_seq, until_seq, currencies)
  SELECT :entity_id, 0, s.since_seq, s.until_seq, coalesce(array_agg(DISTINCT m.currency ORDER BY m.currency)
                                                             FILTER (WHERE m.currency IS NOT NULL), '{}')
    FROM unnest(:since_seqs::bigint[], :until_seqs::bigint[]) AS s (since_seq, until_seq)
    LEFT JOIN moved m USING (until_seq) GROUP BY s.since_seq, s.until_seq
)
INSERT INTO carried_balance (entity_id, level, until_seq, account, currency, booked_until, amount)
SELECT :entity_id, 0, m.until_seq, m.account, m.currency, m.booked_until,
       sum(m.amount) OVER (PARTITION BY m.until_seq, m.account, m.currency ORDER BY m.booked_until)
  FROM moved m;

-- name: insert_stretches
-- Stretches of a level above 0 with their balances, from those of the level below; primary keys.
WITH part AS (
  SELECT w.since_seq, w.until_seq, n.until_seq AS part_seq, n.currencies
    FROM unnest(:since_seqs::bigint[], :until_seqs::bigint[]) AS w (since_seq, until_seq)
    JOIN journal_stretch n ON n.entity_id = :entity_id AND n.level = :level::int - 1
     AND n.until_seq > w.since_seq AND n.until_seq <= w.until_seq
), moved AS (
  SELECT s.until_seq, b.account, b.currency, b.booked_until,
         b.amount - lag(b.amount, 1, 0::numeric) OVER (PARTITION BY b.until_seq, b.account, b.currency
                                                       ORDER BY b.booked_until) AS amount
    FROM part s
    JOIN carried_balance b ON b.entity_id = :entity_id AND b.level = :level::int - 1 AND b.until_seq = s.part_seq
), stretches AS (
  INSERT INTO journal_stretch (entity_id, level, since_seq, until_seq, currencies)
  SELECT :entity_id, :level, s.since_seq, s.until_seq, coalesce(array_agg(DISTINCT k.currency ORDER BY k.currency)
                                                                  FILTER (WHERE k.currency IS NOT NULL), '{}')
    FROM part s LEFT JOIN LATERAL unnest(s.currencies) AS k (currency) ON true GROUP BY s.since_seq, s.until_seq
)
INSERT INTO carried_balance (entity_id, level, until_seq, account, currency, booked_until, amount)
SELECT :entity_id, :level, m.until_seq, m.account, m.currency, m.booked_until,
       sum(sum(m.amount)) OVER (PARTITION BY m.until_seq, m.account, m.currency ORDER BY m.booked_until)
  FROM moved m GROUP BY m.until_seq, m.account, m.currency, m.booked_until;

-- name: find_balances
-- Every account of an entity before two moments, at a cut-off: what is carried of some stretches, a probe for each
-- account, currency and moment; the entries behind them; and those of the quarter hour that a moment cuts.
WITH edge AS (
  SELECT m.moment, date_bin('15 minutes', m.moment, '2000-01-01 00:00Z') AS quarter, m.is_end
    FROM (VALUES (:since::timestamptz, false), (:until::timestamptz, true)) AS m (moment, is_end)
), known AS (
  SELECT a.account, k.currency, e.is_end, b.amount
    FROM unnest(:levels::int[], :until_seqs::bigint[]) AS s (level, until_seq)
   CROSS JOIN unnest(:currencies::text[]) AS k (currency)
   CROSS JOIN account a
   CROSS JOIN edge e
   CROSS JOIN LATERAL (SELECT c.amount FROM carried_balance c
                        WHERE c.entity_id = :entity_id AND c.level = s.level AND c.until_seq = s.until_seq
                          AND c.account = a.account AND c.currency = k.currency AND c.booked_until <= e.quarter
                        ORDER BY c.booked_until DESC LIMIT 1) b
   UNION ALL
  SELECT p.account, p.currency::text, e.is_end, p.amount
    FROM (SELECT n.entry_id, n.booked_for FROM journal_entry n
           WHERE n.entity_id = :entity_id AND n.batch_seq > :carried_seq AND n.batch_seq <= :batch_seq OFFSET 0) j
    JOIN edge e ON j.booked_for < e.moment
   CROSS JOIN LATERAL (SELECT t.account, t.currency, t.amount FROM posting t WHERE t.entry_id = j.entry_id OFFSET 0) p
   UNION ALL
  SELECT p.account, p.currency::text, e.is_end, p.amount
    FROM edge e
   CROSS JOIN LATERAL (SELECT n.entry_id FROM journal_entry n
                        WHERE n.entity_id = :entity_id AND n.booked_for >= e.quarter AND n.booked_for < e.moment
                          AND n.batch_seq <= :carried_seq OFFSET 0) j
   CROSS JOIN LATERAL (SELECT t.account, t.currency, t.amount FROM posting t WHERE t.entry_id = j.entry_id OFFSET 0) p
)
SELECT account, a.name, a.type, k.currency, coalesce(sum(k.amount) FILTER (WHERE NOT k.is_end), 0) AS opening,
       coalesce(sum(k.amount) FILTER (WHERE k.is_end), 0) AS closing
  FROM known k JOIN account a USING (account)
 GROUP BY account, a.name, a.type, k.currency
 ORDER BY account, k.currency;
