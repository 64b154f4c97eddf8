-- name: lock_stage
-- One run of a stage at a time: waits for the other, and for what still stores beside one that is gone.
SELECT pg_advisory_lock(lock_class('stage'), hashtext(:stage)), pg_advisory_lock(lock_class('stage'), hashtext(:stage || '+')),
       pg_advisory_unlock(lock_class('stage'), hashtext(:stage || '+'));

-- name: lock_beside
-- Of a session that stores for a run of a stage beside that which runs it: until it ends there is no other run.
SELECT pg_advisory_lock_shared(lock_class('stage'), hashtext(:stage || '+'));

-- name: unlock_stage
-- Frees what lock_stage took in this session.
SELECT pg_advisory_unlock(lock_class('stage'), hashtext(:stage));

-- name: find_last_run
-- How far a stage has come for an entity: the stored-order number of its last run's cut-off and how far it followed
-- the clock, or none. Index: stage_run (stage, entity_id, run_id).
SELECT c.batch_seq, s.followed_to FROM stage_run s JOIN cut_off c USING (cut_off_id)
 WHERE s.stage = :stage AND s.entity_id = :entity_id
 ORDER BY s.run_id DESC LIMIT 1;

-- name: add_stage_run
-- How far the stage has come now.
INSERT INTO stage_run (stage, entity_id, cut_off_id, followed_to, windows, rows)
VALUES (:stage, :entity_id, :cut_off_id, :followed_to, :windows, :rows);
