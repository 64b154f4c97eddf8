-- name: find_rival_bills
-- Bills recorded now under an id, or of days of a site in [since, until), locked; the exclusion constraints' indexes.
SELECT utility_bill_row_id AS row_id, bill_id, facility_id, currency::text AS currency, kwh, net, tax, covers, reference, final,
       lower(valid) AS valid_from, upper(valid) AS valid_to
  FROM utility_bill
 WHERE upper_inf(recorded)
   AND (bill_id = :bill_id OR facility_id = :facility_id AND valid && tstzrange(:since, :until))
 ORDER BY valid, bill_id FOR UPDATE;

-- name: close_bills
-- Bills that others take the place of; primary key.
UPDATE utility_bill SET recorded = int8range(lower(recorded), :batch_seq)
 WHERE utility_bill_row_id = ANY(:row_ids::bigint[]);

-- name: insert_bill
-- A bill; returns its row.
INSERT INTO utility_bill (bill_id, facility_id, currency, kwh, net, tax, covers, reference, final, valid, recorded)
VALUES (:bill_id, :facility_id, :currency, :kwh, :net, :tax, :covers, :reference, :final, tstzrange(:since, :until),
        int8range(:batch_seq, NULL))
RETURNING utility_bill_row_id;

-- name: is_over
-- Whether a moment is past.
SELECT :moment::timestamptz <= now() AS is_over;

-- name: find_priced_in
-- In which currencies electricity, hardware and covered costs of a site are in [since, until), as recorded now, by what
-- they are; scans, the tables are small.
SELECT c.what, c.currency FROM (
  SELECT 'electricity' AS what, t.currency::text AS currency
    FROM tariff_price p JOIN tariff t USING (tariff_id)
   WHERE p.facility_id = :facility_id AND upper_inf(p.recorded) AND p.period && tstzrange(:since, :until)
   UNION
  SELECT 'hardware', a.currency::text FROM asset a
   WHERE a.facility_id = :facility_id AND upper_inf(a.recorded) AND a.valid && tstzrange(:since, :until)
   UNION
  SELECT s.name, s.currency::text FROM site_cost_term s
   WHERE s.facility_id = :facility_id AND upper_inf(s.recorded) AND s.valid && tstzrange(:since, :until)
     AND s.name = ANY(:covers::text[])) c
 ORDER BY c.what, c.currency;

-- name: find_bills
-- Bills of a site that were ever recorded up to a cut-off, and whether they are in force at it; a scan, the table is small.
SELECT bill_id, facility_id, currency::text AS currency, kwh, net, tax, covers, reference, final, lower(valid) AS valid_from,
       upper(valid) AS valid_to, recorded @> :batch_seq::bigint AS in_force
  FROM utility_bill WHERE facility_id = :facility_id AND lower(recorded) <= :batch_seq::bigint
 ORDER BY valid, bill_id;

-- name: list_bills_in
-- Bills of an entity's sites that have a day in [since, until), known at a cut-off; a scan, the table is small.
SELECT b.bill_id, b.facility_id, b.currency::text AS currency, b.kwh, b.net, b.tax, b.covers, b.reference, b.final,
       lower(b.valid) AS valid_from, upper(b.valid) AS valid_to
  FROM utility_bill b JOIN facility f USING (facility_id)
 WHERE f.entity_id = :entity_id AND b.recorded @> :batch_seq::bigint AND b.valid && tstzrange(:since, :until)
 ORDER BY b.facility_id COLLATE "C", b.valid;

-- name: sum_site_electricity
-- What energy of a site cost by local day, line and currency, as find_site_windows tells it: device and what the site adds.
-- Index: cost_allocation (entity_id, window_start).
WITH entities AS (
  SELECT f.entity_id FROM facility f WHERE f.facility_id = :facility_id
  UNION SELECT a.entity_id FROM asset a WHERE a.facility_id = :facility_id
  UNION SELECT d.entity_id FROM deployment d JOIN asset a USING (asset_id) WHERE a.facility_id = :facility_id
), only_site AS (
  SELECT a.entity_id, min(a.facility_id) AS facility_id FROM asset a WHERE a.recorded @> :batch_seq::bigint
   GROUP BY a.entity_id HAVING count(DISTINCT a.facility_id) = 1
)
SELECT date_trunc('day', l.window_start, :zone) AS day_start, l.line, l.currency::text AS currency,
       sum(l.device_cost) AS device_cost, sum(l.overhead_cost) AS overhead_cost
  FROM entities e
 CROSS JOIN LATERAL (SELECT * FROM allocations_at(:batch_seq) c
                      WHERE c.entity_id = e.entity_id AND c.window_start >= :since AND c.window_start < :until OFFSET 0) l
  LEFT JOIN scope_sites_at(:batch_seq) p ON p.scope = l.scope AND p.valid @> l.window_start
  LEFT JOIN only_site o ON o.entity_id = l.entity_id
 WHERE coalesce(p.facility_id, o.facility_id) = :facility_id AND p.all_in IS NOT TRUE
 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- name: list_bills_off
-- Final bills that ended since a moment and differ from what their days were accrued at by more than some per cent, as it
-- stands. Index: site_cost (facility_id, day_start).
SELECT b.bill_id, b.facility_id, lower(b.valid) AS since, upper(b.valid) AS until, b.currency::text AS currency,
       b.net AS amount, b.net - c.difference AS accrued,
       round(100 * c.difference / nullif(b.net - c.difference, 0), 2) AS amount_off_pct
  FROM utility_bill b
 CROSS JOIN LATERAL (SELECT coalesce(sum(s.amount), 0) AS difference FROM site_costs_at(as_it_stands()) s
                      WHERE s.facility_id = b.facility_id AND s.day_start >= lower(b.valid) AND s.day_start < upper(b.valid)
                        AND s.name = 'utility bill') c
 WHERE upper_inf(b.recorded) AND b.final AND upper(b.valid) > :ended_since::timestamptz
   AND abs(c.difference) * 100 > abs(b.net - c.difference) * :tolerance_pct::numeric
 ORDER BY b.facility_id COLLATE "C", b.valid;
