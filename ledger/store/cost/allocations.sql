-- name: find_allocations
-- What is allocated of an entity's windows as it stands. Index: cost_allocation (entity_id, window_start).
SELECT c.* FROM allocations_at(as_it_stands()) c
 WHERE c.entity_id = :entity_id AND c.window_start = ANY(:windows::timestamptz[])
 ORDER BY c.scope, c.window_start, c.line;
