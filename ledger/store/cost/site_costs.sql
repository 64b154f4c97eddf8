-- name: find_open_site_costs
-- Rows of a site's cost that overlap; the exclusion constraint's index.
SELECT site_cost_term_id AS row_id, lower(valid) AS valid_from, upper(valid) AS valid_to, facility_id, name, currency,
       kind, params
  FROM site_cost_term
 WHERE facility_id = :facility_id AND name = :name AND valid && tstzrange(:valid_from, :valid_to)
   AND upper_inf(recorded)
 ORDER BY valid FOR UPDATE;

-- name: supersede_site_costs
-- Closes rows and enters again what is left of them outside the new validity; primary key.
WITH closed AS (
  UPDATE site_cost_term SET recorded = int8range(lower(recorded), :batch_seq)
   WHERE site_cost_term_id = ANY(:row_ids::bigint[]) RETURNING *)
INSERT INTO site_cost_term (facility_id, name, currency, kind, params, valid, recorded)
SELECT c.facility_id, c.name, c.currency, c.kind, c.params, part, int8range(:batch_seq, NULL)
  FROM closed c,
       unnest(tstzmultirange(c.valid) - tstzmultirange(tstzrange(:valid_from, :valid_to))) part;

-- name: insert_site_cost
-- A cost of a site; returns its row.
INSERT INTO site_cost_term (facility_id, name, currency, kind, params, valid, recorded)
VALUES (:facility_id, :name, :currency, :kind, :params, tstzrange(:valid_from, :valid_to),
        int8range(:batch_seq, NULL))
RETURNING site_cost_term_id;

-- name: find_open_bills
-- Bills of a site that overlap a time, final ones of utilities too, as recorded now; scans, the tables are small.
SELECT name, params -> 'of' AS "of", lower(valid) AS valid_from, upper(valid) AS valid_to
  FROM site_cost_term
 WHERE facility_id = :facility_id AND kind = 'bill' AND upper_inf(recorded)
   AND valid && tstzrange(:valid_from, :valid_to)
 UNION ALL
SELECT 'utility bill', to_jsonb(covers), lower(valid), upper(valid)
  FROM utility_bill
 WHERE facility_id = :facility_id AND final AND upper_inf(recorded) AND valid && tstzrange(:valid_from, :valid_to)
 ORDER BY name, valid_from;

-- name: list_site_entities
-- Entities with a site that has, or had, a cost of its own or a bill.
SELECT e.entity_id, e.currency, e.zone FROM entity e
 WHERE (:entity_id::text IS NULL OR e.entity_id = :entity_id)
   AND EXISTS (SELECT FROM facility f
                WHERE f.entity_id = e.entity_id
                  AND (EXISTS (SELECT FROM site_cost_term t WHERE t.facility_id = f.facility_id)
                       OR EXISTS (SELECT FROM utility_bill b WHERE b.facility_id = f.facility_id)))
 ORDER BY e.entity_id;

-- name: find_sites
-- Sites of an entity that have, or had, a cost of their own or a bill.
SELECT f.facility_id, f.zone FROM facility f
 WHERE f.entity_id = :entity_id
   AND (EXISTS (SELECT FROM site_cost_term t WHERE t.facility_id = f.facility_id)
        OR EXISTS (SELECT FROM utility_bill b WHERE b.facility_id = f.facility_id))
 ORDER BY f.facility_id;

-- name: list_sites
-- Sites of an entity.
SELECT f.facility_id, f.zone FROM facility f WHERE f.entity_id = :entity_id ORDER BY f.facility_id;

-- name: find_site_terms
-- Costs of a site known at a cut-off, and what final bills make up of them; a scan, the tables are small.
SELECT t.name, t.currency, t.kind, t.params, lower(t.valid) AS valid_from, nullif(upper(t.valid), 'infinity') AS valid_to
  FROM site_cost_term t
 WHERE t.facility_id = :facility_id AND t.recorded @> :batch_seq::bigint
 UNION ALL
SELECT 'utility bill', b.currency, 'bill', jsonb_build_object('amount', b.net::text, 'of', to_jsonb(b.covers)), lower(b.valid),
       upper(b.valid)
  FROM utility_bill b
 WHERE b.facility_id = :facility_id AND b.final AND b.recorded @> :batch_seq::bigint
 ORDER BY name, valid_from;

-- name: find_changed_site_inputs
-- Merged periods in which a cost or bill of a site, or its hardware, became known or ceased to be, in (since_seq, batch_seq].
SELECT lower(merged.period) AS valid_from, nullif(upper(merged.period), 'infinity') AS valid_to
  FROM (SELECT unnest(range_agg(c.valid)) AS period FROM (
          SELECT t.valid, t.recorded FROM site_cost_term t WHERE t.facility_id = :facility_id
          UNION ALL SELECT b.valid, b.recorded FROM utility_bill b WHERE b.facility_id = :facility_id
          UNION ALL SELECT a.valid, a.recorded FROM asset a WHERE a.facility_id = :facility_id) c
         WHERE (lower(c.recorded) > :since_seq AND lower(c.recorded) <= :batch_seq)
            OR (upper(c.recorded) > :since_seq AND upper(c.recorded) <= :batch_seq)) merged
 ORDER BY valid_from;

-- name: find_changed_site_days
-- First and last window of each local day that cost lines of hardware at a site were revised in, in (since_seq,
-- batch_seq]. Index: BRIN (batch_seq) of cost_allocation.
SELECT min(c.window_start) AS first_window, max(c.window_start) AS last_window
  FROM cost_allocation c
 WHERE c.batch_seq > :since_seq AND c.batch_seq <= :batch_seq
   AND c.entity_id IN (SELECT a.entity_id FROM asset a WHERE a.facility_id = :facility_id)
 GROUP BY date_trunc('day', c.window_start, :zone)
 ORDER BY 1;

-- name: find_site_windows
-- Energy and its cost of a site by quarter hour and currency, whoever uses it, as known at a cut-off. A scope is where
-- its hardware is; a meter of no hardware is at the one site of its entity. Power that a lease pays for is no tariff's.
-- Index: cost_allocation (entity_id, window_start).
WITH entities AS (
  SELECT f.entity_id FROM facility f WHERE f.facility_id = :facility_id
  UNION SELECT a.entity_id FROM asset a WHERE a.facility_id = :facility_id
  UNION SELECT d.entity_id FROM deployment d JOIN asset a USING (asset_id) WHERE a.facility_id = :facility_id
), only_site AS (
  SELECT a.entity_id, min(a.facility_id) AS facility_id FROM asset a WHERE a.recorded @> :batch_seq::bigint
   GROUP BY a.entity_id HAVING count(DISTINCT a.facility_id) = 1
)
SELECT l.window_start, l.currency::text AS currency,
       sum(l.device_metered_mj) + sum(l.device_estimated_mj) + sum(l.host_mj) + sum(l.overhead_mj) AS energy_mj,
       sum(l.device_cost) + sum(l.overhead_cost) AS cost
  FROM entities e
 CROSS JOIN LATERAL (SELECT * FROM allocations_at(:batch_seq) c
                      WHERE c.entity_id = e.entity_id AND c.window_start >= :since AND c.window_start < :until OFFSET 0) l
  LEFT JOIN scope_sites_at(:batch_seq) p ON p.scope = l.scope AND p.valid @> l.window_start
  LEFT JOIN only_site o ON o.entity_id = l.entity_id
 WHERE coalesce(p.facility_id, o.facility_id) = :facility_id AND p.all_in IS NOT TRUE
 GROUP BY l.window_start, l.currency
 ORDER BY l.window_start, l.currency;

-- name: find_site_gpus
-- How many GPUs of hardware stood at a site when, as known at a cut-off.
SELECT a.gpu_count, lower(a.valid) AS valid_from, nullif(upper(a.valid), 'infinity') AS valid_to
  FROM asset a
 WHERE a.facility_id = :facility_id AND a.recorded @> :batch_seq::bigint AND a.valid && tstzrange(:since, :until)
 ORDER BY valid_from, a.asset_id;

-- name: find_site_costs
-- What is stored of some days of a site, as it stands. Index: site_cost (facility_id, day_start).
SELECT s.day_start, s.name, s.currency, sum(s.amount) AS amount
  FROM site_costs_at(as_it_stands()) s
 WHERE s.facility_id = :facility_id AND s.day_start = ANY(:days::timestamptz[])
 GROUP BY s.day_start, s.name, s.currency HAVING sum(s.amount) <> 0
 ORDER BY s.day_start, s.name, s.currency;

-- name: sum_site_costs
-- What an entity's sites cost beside energy and hardware, on local days that begin in [since, until), by name.
-- Index: site_cost (entity_id, day_start).
SELECT s.facility_id, s.name, s.currency, sum(s.amount) AS amount
  FROM site_costs_at(:batch_seq) s
 WHERE s.entity_id = :entity_id AND s.day_start >= :since AND s.day_start < :until
 GROUP BY s.facility_id, s.name, s.currency HAVING sum(s.amount) <> 0
 ORDER BY s.facility_id COLLATE "C", s.name COLLATE "C", s.currency COLLATE "C";

-- name: list_site_days
-- The same by local day.
SELECT s.facility_id, s.day_start, s.name, s.currency, sum(s.amount) AS amount
  FROM site_costs_at(:batch_seq) s
 WHERE s.entity_id = :entity_id AND s.day_start >= :since AND s.day_start < :until
 GROUP BY s.facility_id, s.day_start, s.name, s.currency HAVING sum(s.amount) <> 0
 ORDER BY s.facility_id COLLATE "C", s.day_start, s.name COLLATE "C", s.currency COLLATE "C";

-- name: find_scope_sites
-- At which site each deployment of an entity is in [since, until), the first of them where it moved.
SELECT p.scope, (array_agg(p.facility_id ORDER BY lower(p.valid), p.facility_id))[1] AS facility_id
  FROM deployment d JOIN scope_sites_at(:batch_seq) p ON p.scope = 'deployment:' || d.deployment_id
 WHERE d.entity_id = :entity_id AND d.recorded @> :batch_seq::bigint AND p.valid && tstzrange(:since, :until)
 GROUP BY p.scope ORDER BY p.scope;
