-- name: find_directory_version
-- The number that any change of a slow fact raises. A sequence: one row, no snapshot.
SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END FROM directory_version s;

-- name: find_directory_changing
-- Whether a change is under way that raised the number and is not visible yet.
SELECT EXISTS (
  SELECT FROM pg_locks l
   WHERE l.locktype = 'advisory' AND l.classid = lock_class('directory')::oid
     AND l.objid = 0 AND l.objsubid = 2 AND l.granted
     AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()));

-- name: list_customers
-- Every customer with its entity. A scan.
SELECT c.customer_id, c.entity_id FROM customer c;

-- name: list_names
-- Every dated name of a customer that is recorded now. A scan.
SELECT a.alias, a.customer_id, lower(a.valid) AS since, nullif(upper(a.valid), 'infinity') AS until
  FROM customer_alias a WHERE upper_inf(a.recorded) ORDER BY a.alias, lower(a.valid);

-- name: list_key_tiers
-- The tier of every API key that has one. A scan.
SELECT k.key_id, k.tier FROM api_key k WHERE k.tier IS NOT NULL;

-- name: list_tier_rules
-- Every deployment that declares a tier, as recorded now. A scan.
SELECT d.deployment_id, d.entity_id, d.model, d.tier, d.engine_instances,
       lower(d.valid) AS since, nullif(upper(d.valid), 'infinity') AS until
  FROM deployment d WHERE d.tier IS NOT NULL AND upper_inf(d.recorded)
 ORDER BY d.deployment_id, lower(d.valid);

-- name: list_members
-- Every GPU and engine instance that a deployment names, with its entity, as recorded now. A scan.
SELECT DISTINCT m.member, d.entity_id
  FROM deployment_member m JOIN deployment d USING (deployment_row_id) WHERE upper_inf(m.recorded);

-- name: list_entity_tiers
-- The default tier of every entity. A scan.
SELECT e.entity_id, e.default_tier FROM entity e;

-- name: list_sources
-- Every source with its number and form. A scan.
SELECT s.source, s.source_id, s.form FROM source s;

-- name: list_source_forms
-- The form in which each owner of a bound key comes to each source. A scan.
SELECT f.source_id, f.owner, f.form FROM source_form f;

-- name: list_budgeted
-- Every customer that has a budget, or is below one that has, as recorded now; the index of open budgets.
SELECT b.customer_id FROM budget b WHERE upper_inf(b.recorded)
 UNION
SELECT a.customer_id FROM budget b JOIN customer_above a ON a.above_id = b.customer_id AND upper_inf(a.recorded)
 WHERE upper_inf(b.recorded);
