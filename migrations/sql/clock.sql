-- The stored clock: every batch draws a number, every reader draws a cut-off.
-- A cut-off never waits for a batch, and no batch can land behind a cut-off already drawn.

-- Both are asked of each element of each array that is stored: what has no scale, as NaN has none, is refused without being
-- compared, and nothing is trimmed that is short enough.
CREATE DOMAIN amount AS numeric
  CHECK (VALUE IS NULL OR (scale(VALUE) <= 12 OR scale(trim_scale(VALUE)) <= 12) IS TRUE);
COMMENT ON DOMAIN amount IS 'Money or rate: refused, never rounded, beyond twelve decimals.';

CREATE DOMAIN quantity AS numeric
  CHECK (VALUE IS NULL OR (scale(VALUE) = 0 OR scale(trim_scale(VALUE)) = 0) IS TRUE);
COMMENT ON DOMAIN quantity IS 'Units added up over windows: whole, and without the end that 64 bits have.';

-- Three letters, without the regular expression that would take most of the time of storing a charge's other columns.
CREATE DOMAIN currency AS text
  CHECK (octet_length(VALUE) = 3 AND translate(VALUE, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', '') = '');

CREATE SEQUENCE batch_seq AS bigint;

-- A preview is a transaction that does all that follows from a change, tells what came of it and is rolled back.
CREATE FUNCTION is_preview() RETURNS boolean LANGUAGE sql STABLE PARALLEL RESTRICTED
RETURN coalesce(current_setting('tokenledger.preview', true) = pg_current_xact_id_if_assigned()::text, false);
COMMENT ON FUNCTION is_preview() IS 'Whether this transaction began as a preview, so that it stores nothing.';

-- The gate is a session lock (locks.sql) because it must be free again before the batch commits. Of a preview nobody ever
-- sees a row: it reads one snapshot, in which its numbers lie behind all others, and keeps nobody's cut-off back.
CREATE FUNCTION draw_batch_seq() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  drawn bigint;
BEGIN
  IF is_preview() THEN
    RETURN nextval('batch_seq');
  END IF;
  PERFORM pg_advisory_lock_shared(lock_class('gate'), 0);
  BEGIN
    drawn := nextval('batch_seq');
    PERFORM pg_advisory_xact_lock(drawn);
  EXCEPTION WHEN query_canceled OR OTHERS THEN
    PERFORM pg_advisory_unlock_shared(lock_class('gate'), 0);
    RAISE;
  END;
  PERFORM pg_advisory_unlock_shared(lock_class('gate'), 0);
  RETURN drawn;
END $$;

CREATE TABLE cut_off (
  cut_off_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  batch_seq  bigint NOT NULL CHECK (batch_seq >= 0),
  purpose    text NOT NULL,
  drawn_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE cut_off IS 'Everything stored up to and including batch_seq is visible to whoever names this row.';

-- The last number at and below which every batch is committed or rolled back. Statements that read for it must start
-- after it returns; it never becomes lower.
CREATE FUNCTION last_closed_batch() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  last_drawn bigint;
  smallest_open bigint;
BEGIN
  PERFORM pg_advisory_lock(lock_class('gate'), 0);
  BEGIN
    SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END INTO last_drawn FROM batch_seq s;
    SELECT min((l.classid::bigint << 32) | l.objid::bigint) INTO smallest_open
      FROM pg_locks l
     WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.mode = 'ExclusiveLock' AND l.granted
       AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
  EXCEPTION WHEN query_canceled OR OTHERS THEN
    PERFORM pg_advisory_unlock(lock_class('gate'), 0);
    RAISE;
  END;
  PERFORM pg_advisory_unlock(lock_class('gate'), 0);
  RETURN coalesce(smallest_open - 1, last_drawn);
END $$;

-- A cut-off lies below what is open and below what is not summed yet (sums.sql): nobody sees facts there without their
-- sums, or sums without their facts. Its transaction shares the lock of its name while nobody else sees the cut-off: one
-- step of a fold, or of sums, which would merge across it, takes that alone. A preview's is behind all that it has stored.
CREATE FUNCTION draw_cut_off(purpose text) RETURNS cut_off
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  closed bigint;
  drawn cut_off;
BEGIN
  IF is_preview() THEN
    INSERT INTO cut_off (batch_seq, purpose) VALUES (nextval('batch_seq'), draw_cut_off.purpose) RETURNING * INTO drawn;
    RETURN drawn;
  END IF;
  PERFORM pg_advisory_xact_lock_shared(lock_class('cut_off'), 0);
  closed := last_closed_batch();
  INSERT INTO cut_off (batch_seq, purpose)
    SELECT least(closed, (SELECT min(p.batch_seq) - 1 FROM pending_sum p)), draw_cut_off.purpose
    RETURNING * INTO drawn;
  RETURN drawn;
END $$;

CREATE FUNCTION refuse_preview() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a preview stores nothing' USING ERRCODE = 'restrict_violation';
END $$;

-- Its cut-off is what no commit gets past.
CREATE CONSTRAINT TRIGGER preview_stores_nothing AFTER INSERT ON cut_off DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (is_preview()) EXECUTE FUNCTION refuse_preview();

CREATE FUNCTION begin_preview() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  PERFORM set_config('tokenledger.preview', pg_current_xact_id()::text, true);
  PERFORM draw_cut_off('preview');
END $$;
COMMENT ON FUNCTION begin_preview() IS 'Makes this transaction one that cannot be committed; it needs one snapshot, which is taken by now.';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only: a correction is a new row', TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END $$;

-- Slow facts are superseded by closing the recorded range; nothing else of a row may change.
CREATE FUNCTION refuse_change_but_closing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND upper_inf(OLD.recorded) AND lower(NEW.recorded) = lower(OLD.recorded)
     AND NOT upper_inf(NEW.recorded)
     AND to_jsonb(NEW) - 'recorded' = to_jsonb(OLD) - 'recorded' THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION '% keeps its history: close a row and add another', TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END $$;

-- A body that is parsed when it is made names its functions by what they are, not by a path of schemas: a
-- restore, whose path is empty, checks rows with it.
CREATE FUNCTION on_grid(moment timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN moment IS NULL OR moment = date_bin('15 minutes', moment, timestamptz '2000-01-01 00:00+00');

-- An array of as many elements, none of them unknown.
CREATE FUNCTION are_numbers(numbers bigint[], lines int) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN cardinality(numbers) = lines AND array_position(numbers, NULL) IS NULL;

CREATE FUNCTION valid_on_grid(valid tstzrange) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN NOT isempty(valid) AND NOT lower_inf(valid)
   AND lower_inc(valid) AND NOT upper_inc(valid)
   AND on_grid(lower(valid)) AND on_grid(upper(valid));

-- A moment as text that sorts as the moments do: places in lists are made of it.
CREATE FUNCTION sortable(moment timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US');

-- Microseconds since 1970 as a moment: exact, as far as 2255.
CREATE FUNCTION from_micros(micros bigint) RETURNS timestamptz
LANGUAGE sql STABLE
RETURN timestamptz 'epoch' + micros * interval '1 microsecond';

-- A cut-off behind every batch.
CREATE FUNCTION as_it_stands() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 9223372036854775807;
COMMENT ON FUNCTION as_it_stands() IS 'The cut-off of what is asked now, whatever was stored.';
