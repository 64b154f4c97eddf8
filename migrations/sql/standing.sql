-- How the stages stand: what they could not do and will try again, and when each piece of work last succeeded.

CREATE TABLE parked (
  stage           text NOT NULL,
  entity_id       text NOT NULL REFERENCES entity,
  subject         text NOT NULL DEFAULT '',
  windows         tstzrange,
  reason          text NOT NULL CHECK (reason <> ''),
  failures        int NOT NULL CHECK (failures > 0),
  first_failed_at timestamptz NOT NULL,
  last_failed_at  timestamptz NOT NULL,
  next_try_at     timestamptz NOT NULL,
  UNIQUE NULLS NOT DISTINCT (stage, entity_id, subject, windows)
);
COMMENT ON TABLE parked IS 'What a stage failed at and goes on without; it is tried again after growing pauses, and the row goes once it is done.';
COMMENT ON COLUMN parked.windows IS 'NULL: the stage could not even find out what is due for the entity.';
COMMENT ON COLUMN parked.subject IS 'The customer, for stages that work by customer; the subscription, for invoices.';

CREATE TABLE work_state (
  work         text NOT NULL,
  entity_id    text NOT NULL DEFAULT '',
  succeeded_at timestamptz,
  failed_at    timestamptz,
  failure      text,
  failures     int NOT NULL DEFAULT 0 CHECK (failures >= 0),
  PRIMARY KEY (work, entity_id),
  CHECK ((failures = 0) = (failure IS NULL))
);
COMMENT ON TABLE work_state IS 'When each piece of background work last succeeded, by entity where it goes by entity; failures are those since.';

-- What anybody may know who asks whether the ledger is ready: names of nobody, and no reasons.
CREATE VIEW work_standing WITH (security_barrier) AS
  SELECT w.work, min(w.succeeded_at) AS succeeded_at, sum(w.failures)::bigint AS failures FROM work_state w GROUP BY w.work;
COMMENT ON VIEW work_standing IS 'Each piece of work: when it last succeeded for the entity that waits longest, and failures since.';
CREATE VIEW parked_standing WITH (security_barrier) AS
  SELECT p.stage, count(*) AS parked FROM parked p GROUP BY p.stage;
COMMENT ON VIEW parked_standing IS 'How much is parked, by stage.';
GRANT SELECT ON work_standing, parked_standing TO tokenledger_worker, tokenledger_api;

GRANT SELECT, INSERT, UPDATE, DELETE ON parked TO tokenledger_worker;
GRANT SELECT, INSERT, UPDATE ON work_state TO tokenledger_worker;
ALTER TABLE parked ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON parked TO tokenledger_api;
CREATE POLICY seen_by ON parked FOR SELECT TO tokenledger_api
  USING (EXISTS (SELECT FROM entity e WHERE e.entity_id = parked.entity_id) AND (SELECT asks_for_the_house()));
ALTER TABLE work_state ENABLE ROW LEVEL SECURITY;
