-- name: list_parked
-- What is parked, of a stage, an entity and a period, or (NULL) of any; a scan, there are few.
SELECT p.stage, p.entity_id, p.subject, lower(p.windows) AS since, upper(p.windows) AS until, p.reason, p.failures,
       p.first_failed_at, p.last_failed_at, p.next_try_at
  FROM parked p
 WHERE (:stage::text IS NULL OR p.stage = :stage) AND (:entity_id::text IS NULL OR p.entity_id = :entity_id)
   AND (p.windows IS NULL OR p.windows && tstzrange(:since, :until))
 ORDER BY p.stage, p.entity_id, p.subject, p.windows NULLS FIRST;

-- name: count_parked
-- How much is parked, by stage; a scan, there is little.
SELECT p.stage, p.parked FROM parked_standing p ORDER BY p.stage;

-- name: delete_parked
-- What is done, or failed anew; the unique index.
DELETE FROM parked p
 USING unnest(:subjects::text[], :since::timestamptz[], :until::timestamptz[]) AS d (subject, since, until)
 WHERE p.stage = :stage AND p.entity_id = :entity_id AND p.subject = d.subject
   AND p.windows IS NOT DISTINCT FROM CASE WHEN d.since IS NOT NULL THEN tstzrange(d.since, d.until) END;

-- name: end_parked
-- What is done of subjects in some periods; a scan, there are few.
DELETE FROM parked p
 USING unnest(:subjects::text[], :since::timestamptz[], :until::timestamptz[]) AS d (subject, since, until)
 WHERE p.stage = :stage AND p.entity_id = :entity_id AND p.subject = d.subject
   AND p.windows && tstzrange(d.since, d.until);

-- name: insert_parked
-- What failed, in place of what was known of the same.
INSERT INTO parked (stage, entity_id, subject, windows, reason, failures, first_failed_at, last_failed_at, next_try_at)
SELECT :stage, :entity_id, f.subject, CASE WHEN f.since IS NOT NULL THEN tstzrange(f.since, f.until) END,
       f.reason, f.failures, f.first_failed_at, :now, f.next_try_at
  FROM unnest(:subjects::text[], :since::timestamptz[], :until::timestamptz[], :reasons::text[], :failures::int[],
              :first_failed_at::timestamptz[], :next_try_at::timestamptz[])
       AS f (subject, since, until, reason, failures, first_failed_at, next_try_at)
    ON CONFLICT (stage, entity_id, subject, windows) DO UPDATE
   SET reason = excluded.reason, failures = excluded.failures, last_failed_at = excluded.last_failed_at,
       next_try_at = excluded.next_try_at;

-- name: hurry_parked
-- Ends the pauses of an entity, or (NULL) of all.
UPDATE parked SET next_try_at = first_failed_at WHERE :entity_id::text IS NULL OR entity_id = :entity_id;

-- name: note_success
-- A piece of work succeeded just now.
INSERT INTO work_state AS w (work, entity_id, succeeded_at) VALUES (:work, :entity_id, :now)
    ON CONFLICT (work, entity_id) DO UPDATE
   SET succeeded_at = greatest(w.succeeded_at, excluded.succeeded_at), failure = NULL, failures = 0;

-- name: note_failure
-- A piece of work failed just now, once more.
INSERT INTO work_state AS w (work, entity_id, failed_at, failure, failures) VALUES (:work, :entity_id, :now, :failure, 1)
    ON CONFLICT (work, entity_id) DO UPDATE
   SET failed_at = excluded.failed_at, failure = excluded.failure, failures = w.failures + 1;

-- name: list_work_states
-- Each piece of work and entity; a scan, there are few.
SELECT w.work, w.entity_id, w.succeeded_at, w.failed_at, w.failure, w.failures FROM work_state w
 ORDER BY w.work, w.entity_id;

-- name: sum_work_states
-- Each piece of work: when it last succeeded for the entity that waits longest, and failures since; a scan, there are few.
SELECT w.work, w.succeeded_at, w.failures FROM work_standing w ORDER BY w.work;
