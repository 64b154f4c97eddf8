-- name: read_directory_version
-- A number that any change of the slow facts raises.
SELECT last_value FROM directory_version;

-- name: list_customers
-- Every customer and its entity.
SELECT customer_id, entity_id FROM customer;

-- name: list_aliases
-- Aliases as recorded now, with their validity.
SELECT alias, customer_id, lower(valid) AS valid_from, upper(valid) AS valid_to
  FROM customer_alias WHERE upper_inf(recorded);

-- name: list_default_tiers
-- The tier of an entity where nothing else says one.
SELECT entity_id, default_tier FROM entity;

-- name: list_key_tiers
-- Tiers declared on API keys.
SELECT key_id, tier FROM api_key WHERE tier IS NOT NULL;

-- name: list_servings
-- Which deployment serves which model on which tier, as recorded now.
SELECT model, tier, engine_instances, lower(valid) AS valid_from, upper(valid) AS valid_to
  FROM deployment WHERE upper_inf(recorded);
