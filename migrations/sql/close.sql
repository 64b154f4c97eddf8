-- Months of an entity that close: what is booked for a closed one stands as it is, whoever asks.

CREATE TABLE month_state (
  entity_id      text NOT NULL REFERENCES entity,
  month          date NOT NULL CHECK (extract(day FROM month) = 1),
  change_no      int NOT NULL CHECK (change_no > 0),
  state          text NOT NULL CHECK (state IN ('open', 'soft_closed', 'closed')),
  since          timestamptz NOT NULL,
  until          timestamptz NOT NULL CHECK (until > since),
  accepted       jsonb NOT NULL DEFAULT '{}',
  reason         text NOT NULL CHECK (reason <> ''),
  actor          text NOT NULL,
  request_id     text NOT NULL,
  changed_at     timestamptz NOT NULL,
  cut_off_id     bigint NOT NULL,
  batch_seq      bigint NOT NULL,
  until_entry_id bigint,
  lines          bigint,
  lines_digest   bytea CHECK (length(lines_digest) = 32),
  previous       bytea CHECK (length(previous) = 32),
  seal           bytea CHECK (length(seal) = 32),
  PRIMARY KEY (entity_id, month, change_no),
  CHECK (num_nulls(until_entry_id, lines, lines_digest, previous, seal) = CASE state WHEN 'closed' THEN 0 ELSE 5 END)
);
COMMENT ON TABLE month_state IS 'What became of a calendar month of an entity, in the zone of it: the last change of each holds; a month without any is open.';
COMMENT ON COLUMN month_state.seal IS 'SHA-256 over the lines of the journal booked for the month, and over the seal of the month that closed before.';

-- The end of the last month of an entity that is closed; null: none is. Months close in order, and only the last opens again.
CREATE FUNCTION closed_until(of_entity text) RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT max(m.until)
    FROM (SELECT DISTINCT ON (s.month) s.until, s.state FROM month_state s
           WHERE s.entity_id = of_entity ORDER BY s.month, s.change_no DESC) m
   WHERE m.state = 'closed';
END;

CREATE FUNCTION refuse_closed_month() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrong record;
BEGIN
  -- Who closes waits for this transaction, or this one for who closes; what is read next is read after that.
  PERFORM pg_advisory_xact_lock_shared(lock_class('months'), hashtext(o.entity_id))
     FROM (SELECT DISTINCT n.entity_id FROM new_entries n ORDER BY 1) o;
  SELECT n.entity_id, n.booked_for, n.until INTO wrong
    FROM (SELECT e.entity_id, min(e.booked_for) AS booked_for, closed_until(e.entity_id) AS until
            FROM new_entries e GROUP BY e.entity_id) n
   WHERE n.booked_for < n.until LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'the books of % are closed until %: nothing is booked for %', wrong.entity_id, wrong.until, wrong.booked_for
      USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER month_is_open AFTER INSERT ON journal_entry
  REFERENCING NEW TABLE AS new_entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed_month();

-- Nor is a line added to an entry that stands in one. OFFSET 0 has each entry found by its key: a session plans this while the
-- journal is small, and would go through all of it for each few entries ever after.
CREATE FUNCTION refuse_line_of_closed_month() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrong record;
BEGIN
  SELECT n.entity_id, n.until INTO wrong
    FROM (SELECT e.entity_id, min(e.booked_for) AS booked_for, closed_until(e.entity_id) AS until
            FROM (SELECT DISTINCT p.entry_id FROM new_lines p) l
           CROSS JOIN LATERAL (SELECT * FROM journal_entry v WHERE v.entry_id = l.entry_id OFFSET 0) e
           GROUP BY e.entity_id) n
   WHERE n.booked_for < n.until LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'the books of % are closed until %: no line is added there', wrong.entity_id, wrong.until
      USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER month_is_open AFTER INSERT ON posting
  REFERENCING NEW TABLE AS new_lines FOR EACH STATEMENT EXECUTE FUNCTION refuse_line_of_closed_month();
