-- What keeps a running ledger running: changes of tables that hold up nobody, frozen sessions ended, and sums of what
-- arrived that need not be read from all its receipts.

-- Numbers drawn and not yet committed, each with its session; `quiet_since` is when the session was last told anything.
-- What other roles do is hidden from all but superusers, and only the worker role draws numbers.
CREATE FUNCTION list_open_batches()
RETURNS TABLE (batch_seq bigint, pid int, application text, waits_for text, quiet_since timestamptz, began_at timestamptz)
LANGUAGE sql STABLE AS $$
  SELECT (l.classid::bigint << 32) | l.objid::bigint, l.pid, a.application_name, a.wait_event_type,
         greatest(a.query_start, a.state_change), a.xact_start
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
   WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.mode = 'ExclusiveLock' AND l.granted
     AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
$$;

CREATE TABLE ended_session (
  batch_seq   bigint PRIMARY KEY,
  pid         int NOT NULL,
  application text NOT NULL,
  quiet_since timestamptz NOT NULL,
  ended_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE ended_session IS 'Sessions ended because they held a batch number and did nothing: their batch was rolled back.';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ended_session
  FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Ends sessions that hold a number and have waited for their client, or for a lock, longer than `quiet`. It runs as its
-- caller: a role may end its own sessions, so nobody needs a right to end those of others.
CREATE FUNCTION end_frozen_sessions(quiet interval) RETURNS SETOF ended_session
LANGUAGE sql AS $$
  -- Chosen first and ended then: conditions of one WHERE have no order.
  WITH frozen AS MATERIALIZED (
    SELECT b.batch_seq, b.pid, b.application, b.quiet_since
      FROM list_open_batches() b JOIN pg_stat_activity a ON a.pid = b.pid
     WHERE a.usename = current_user AND a.pid <> pg_backend_pid() AND b.waits_for IN ('Client', 'Lock')
       AND b.quiet_since < clock_timestamp() - quiet
  ), ended AS MATERIALIZED (
    SELECT f.*, pg_terminate_backend(f.pid) AS done FROM frozen f
  )
  INSERT INTO ended_session (batch_seq, pid, application, quiet_since)
  SELECT batch_seq, pid, application, quiet_since FROM ended WHERE done
  ON CONFLICT (batch_seq) DO NOTHING
  RETURNING *
$$;

-- Receipts up to a cut-off, summed; what came later is added from the receipts themselves.
CREATE TABLE receipt_total (
  source_id      int PRIMARY KEY,
  received       bigint NOT NULL,
  counted        bigint NOT NULL,
  duplicate      bigint NOT NULL,
  conflict       bigint NOT NULL,
  quarantined    bigint NOT NULL,
  superseded     bigint NOT NULL,
  suspense       bigint NOT NULL,
  last_received_at timestamptz NOT NULL,
  last_batch_seq bigint
);
COMMENT ON TABLE receipt_total IS 'Sums of receipt up to receipt_summed, which can be made again from it; source 0 is what named none.';
COMMENT ON COLUMN receipt_total.last_batch_seq IS 'The last batch that brought facts, NULL where none did.';

CREATE TABLE arrived_batch (
  source_id int NOT NULL,
  producer  text NOT NULL,
  epoch     bigint NOT NULL,
  owner     text COLLATE "C" NOT NULL,
  arrived   int8multirange NOT NULL,
  PRIMARY KEY (source_id, producer, epoch, owner)
);
COMMENT ON TABLE arrived_batch IS 'Which numbers of a producer''s epoch arrived from an owner (ingest_batch.owner) up to receipt_summed: a range, unless there are gaps.';

CREATE TABLE receipt_summed (
  only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  batch_seq   bigint NOT NULL,
  quarantined bigint NOT NULL
);
COMMENT ON COLUMN receipt_summed.batch_seq IS 'A drawn cut-off: nothing comes at or below it any more.';
INSERT INTO receipt_summed (batch_seq, quarantined) VALUES (0, 0);

CREATE INDEX ON ingest_batch USING brin (batch_seq) WITH (pages_per_range = 16);

-- Stages look for their last run every few seconds, for ever.
CREATE INDEX ON stage_run (stage, entity_id, run_id);
CREATE INDEX ON stage_run (stage, run_id);

-- Adds what lies between two cut-offs; returns up to where the sums stand, or NULL where another process is at it.
CREATE FUNCTION sum_receipts() RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  since bigint;
  upto bigint;
BEGIN
  SELECT s.batch_seq INTO since FROM receipt_summed s FOR UPDATE SKIP LOCKED;
  IF since IS NULL THEN
    RETURN NULL;
  END IF;
  SELECT max(c.batch_seq) INTO upto FROM cut_off c;
  IF upto IS NULL OR upto <= since THEN
    RETURN since;
  END IF;
  INSERT INTO receipt_total AS t
  SELECT coalesce(r.source_id, 0), sum(r.received), sum(r.counted), sum(r.duplicate), sum(r.conflict),
         sum(r.quarantined), sum(r.superseded), sum(r.suspense), max(r.received_at),
         max(r.batch_seq) FILTER (WHERE r.counted + r.suspense > 0)
    FROM receipt r WHERE r.batch_seq > since AND r.batch_seq <= upto GROUP BY 1
  ON CONFLICT (source_id) DO UPDATE SET
         received = t.received + excluded.received, counted = t.counted + excluded.counted,
         duplicate = t.duplicate + excluded.duplicate, conflict = t.conflict + excluded.conflict,
         quarantined = t.quarantined + excluded.quarantined,
         superseded = t.superseded + excluded.superseded, suspense = t.suspense + excluded.suspense,
         last_received_at = greatest(t.last_received_at, excluded.last_received_at),
         last_batch_seq = greatest(t.last_batch_seq, excluded.last_batch_seq);
  INSERT INTO arrived_batch AS t
  SELECT b.source_id, b.producer, b.epoch, b.owner, range_agg(int8range(b.sequence, b.sequence, '[]'))
    FROM ingest_batch b WHERE b.batch_seq > since AND b.batch_seq <= upto GROUP BY 1, 2, 3, 4
  ON CONFLICT (source_id, producer, epoch, owner) DO UPDATE SET arrived = t.arrived + excluded.arrived;
  UPDATE receipt_summed s SET batch_seq = upto, quarantined = s.quarantined
    + (SELECT coalesce(sum(q.items), 0) FROM quarantine q WHERE q.batch_seq > since AND q.batch_seq <= upto);
  RETURN upto;
END $$;

REVOKE ALL ON FUNCTION list_open_batches(), end_frozen_sessions(interval), sum_receipts() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION list_open_batches(), end_frozen_sessions(interval), sum_receipts() TO tokenledger_worker;
GRANT SELECT, INSERT ON ended_session TO tokenledger_worker;
GRANT SELECT, INSERT, UPDATE ON receipt_total, arrived_batch, receipt_summed TO tokenledger_worker;
ALTER TABLE ended_session ENABLE ROW LEVEL SECURITY;
ALTER TABLE receipt_total ENABLE ROW LEVEL SECURITY;
ALTER TABLE arrived_batch ENABLE ROW LEVEL SECURITY;
ALTER TABLE receipt_summed ENABLE ROW LEVEL SECURITY;
