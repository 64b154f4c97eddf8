-- Every advisory lock there is, by name. Nowhere else is one written as a number: see tests/architecture.
--
-- Locks of two keys are (lock_class(NAME), key); a lock that there is one of has key 0:
--   stage       a run of one stage at a time; key: hash of its name; session. A session that stores for a run shares the key
--               of the name with + behind, which a run that begins waits for
--   request     a write under one idempotency key at a time; key: hash of both; session
--   partitions  who makes the daily partitions; transaction
--   place       corrections and batches of one place, one after the other; key: hash of the place; transaction
--   receivables who credits or pays invoices of an entity; key: hash of its id; transaction. Shared by those who issue for a run
--   families    who says whose child a customer of an entity is; key: hash of its id; transaction
--   directory   shared by a change of slow facts until it is visible, never waited for, only looked at; transaction
--   cut_off     shared by a transaction that has drawn a cut-off nobody sees yet, exclusive for one step of a fold,
--               which tries and never waits, and of sums, which wait for some seconds; transaction
--   gate        shared while a batch draws its number, exclusive while a cut-off looks at the numbers that are open;
--               held for an instant inside the two functions that take it; session
--   months      shared by who books entries of an entity, exclusive for who closes or opens a month of it; key: hash of its
--               id; transaction
-- Locks of one key are batch numbers and nothing else: held from the draw until the batch commits, waited for by nobody.
--
-- They are taken in this order, and what comes later is let go first or with its transaction, so that none who waits
-- holds what another waits for: stage, request, partitions, place (in the order of keys), receivables, families, directory, cut_off, gate,
-- months (by who books behind its batch number, which nobody waits for),
-- batch number.
CREATE TYPE lock_name AS ENUM ('stage', 'request', 'partitions', 'place', 'receivables', 'families', 'directory', 'cut_off', 'gate',
                               'months');

CREATE FUNCTION lock_class(name lock_name) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE name
  WHEN 'stage' THEN 1 WHEN 'request' THEN 2 WHEN 'partitions' THEN 3 WHEN 'place' THEN 4
  WHEN 'receivables' THEN 5 WHEN 'directory' THEN 6 WHEN 'cut_off' THEN 7 WHEN 'gate' THEN 8 WHEN 'families' THEN 9
  WHEN 'months' THEN 10 END;
COMMENT ON FUNCTION lock_class(lock_name) IS 'The first of the two keys of an advisory lock.';
