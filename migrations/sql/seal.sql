-- A chain over what was stored. A seal names a stretch of the stored order behind a cut-off, where nothing comes any
-- more, and has a digest of the rows of every table in it; each seal is linked to the one before by its digest. Whoever
-- keeps one digest elsewhere can tell whether anything before it was changed, taken away, put in or put elsewhere.
CREATE TABLE seal (
  seal_no          bigint PRIMARY KEY CHECK (seal_no > 0),
  until_seq        bigint NOT NULL,
  until_cut_off_id bigint NOT NULL,
  previous         bytea NOT NULL CHECK (length(previous) = 32),
  digest           bytea NOT NULL CHECK (length(digest) = 32),
  made_at          timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN seal.until_seq IS 'The stretch goes from the last seal''s, exclusive, to this batch.';

CREATE TABLE seal_part (
  seal_no    bigint NOT NULL REFERENCES seal,
  table_name text NOT NULL,
  stored_day date,
  rows       bigint NOT NULL CHECK (rows > 0),
  digest     bytea NOT NULL CHECK (length(digest) = 32),
  columns    text NOT NULL,
  UNIQUE NULLS NOT DISTINCT (seal_no, table_name, stored_day)
);
COMMENT ON COLUMN seal_part.columns IS 'What the digest is of: a column that comes later changes no earlier digest.';

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['seal', 'seal_part'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I
                    FOR EACH ROW EXECUTE FUNCTION refuse_change()', name);
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('GRANT SELECT, INSERT ON %I TO tokenledger_worker', name);
  END LOOP;
END $$;

-- Rows come in stored order, so a stretch is found without reading the rest.
CREATE INDEX ON event_key USING brin (batch_seq) WITH (pages_per_range = 16);
CREATE INDEX ON correction USING brin (batch_seq) WITH (pages_per_range = 16);
CREATE INDEX ON journal_entry USING brin (batch_seq) WITH (pages_per_range = 16);
CREATE INDEX ON manual_write USING brin (batch_seq) WITH (pages_per_range = 16);
