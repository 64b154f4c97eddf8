-- What is true at a cut-off, said once: of each natural key the highest revision stored up to it. PostgreSQL puts these
-- functions into the query that names them, and what is asked of the columns that rows are told apart by into their
-- scans; so entity_id is one of them, though a row's other names decide it. Restricted as the policies of the tables
-- are: whether a plan may go parallel is decided before their bodies are seen.

-- A cut-off behind every batch.
CREATE FUNCTION as_it_stands() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 9223372036854775807;
COMMENT ON FUNCTION as_it_stands() IS 'The cut-off of what is asked now, whatever was stored.';

CREATE FUNCTION charges_at(seq bigint) RETURNS SETOF charge LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT DISTINCT ON (c.customer_id, c.window_start, c.usage_key_id, c.meter, c.entity_id) c.*
    FROM charge c WHERE c.batch_seq <= seq
   ORDER BY c.customer_id, c.window_start, c.usage_key_id, c.meter, c.entity_id, c.revision DESC;
END;
COMMENT ON FUNCTION charges_at(bigint) IS 'Charges as known at a cut-off; ask by entity_id or customer_id, and by window_start.';

CREATE FUNCTION cost_lines_at(seq bigint) RETURNS SETOF cost_allocation LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT DISTINCT ON (c.scope, c.window_start, c.line, c.usage_key_id, c.entity_id) c.*
    FROM cost_allocation c WHERE c.batch_seq <= seq
   ORDER BY c.scope, c.window_start, c.line, c.usage_key_id, c.entity_id, c.revision DESC;
END;
COMMENT ON FUNCTION cost_lines_at(bigint) IS 'Cost lines as known at a cut-off; ask by entity_id or scope, and by window_start.';

CREATE FUNCTION pools_at(seq bigint) RETURNS SETOF cost_pool LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT DISTINCT ON (p.scope, p.window_start, p.kind, p.entity_id) p.*
    FROM cost_pool p WHERE p.batch_seq <= seq
   ORDER BY p.scope, p.window_start, p.kind, p.entity_id, p.revision DESC;
END;
COMMENT ON FUNCTION pools_at(bigint) IS 'Cost pools as known at a cut-off; ask by entity_id or scope, and by window_start.';

CREATE FUNCTION meters_at(seq bigint) RETURNS SETOF meter_window LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT DISTINCT ON (m.gpu_uuid, m.window_start) m.*
    FROM meter_window m WHERE m.batch_seq <= seq
   ORDER BY m.gpu_uuid, m.window_start, m.revision DESC;
END;
COMMENT ON FUNCTION meters_at(bigint) IS 'Energy of meters as known at a cut-off; ask by gpu_uuid or window_start.';

-- Numbers of usage_fact by their names in ledger/domain/metering/fact.py.
CREATE FUNCTION is_reversal(kind smallint) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN kind = 2;
COMMENT ON FUNCTION is_reversal(smallint) IS 'Whether a fact of this kind takes back another.';

CREATE FUNCTION is_superseded(flags int) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN flags & 1024 <> 0;
COMMENT ON FUNCTION is_superseded(int) IS 'Whether a fact of these flags was reversed in the batch that stored it.';

-- OFFSET 0 holds the planner to the index of fate_change: it cannot know how few facts are asked about.
CREATE FUNCTION fates_of(batch_seqs bigint[], ordinals int[])
RETURNS TABLE (n bigint, batch_seq bigint, ordinal int, depth int) LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  WITH RECURSIVE chain AS (
    SELECT o.n, o.batch_seq, o.ordinal, 0 AS depth
      FROM unnest(batch_seqs, ordinals) WITH ORDINALITY AS o(batch_seq, ordinal, n)
    UNION ALL
    SELECT c.n, f.batch_seq, f.ordinal, c.depth + 1
      FROM chain c
     CROSS JOIN LATERAL (SELECT * FROM fate_change s
                          WHERE s.fact_batch_seq = c.batch_seq AND s.fact_ordinal = c.ordinal OFFSET 0) f
  )
  SELECT c.n, c.batch_seq, c.ordinal, c.depth FROM chain c;
END;
COMMENT ON FUNCTION fates_of(bigint[], int[]) IS 'Each fact asked about (the n-th, from 1) and all that came to stand for it, change by change.';

CREATE FUNCTION standing_facts(batch_seqs bigint[], ordinals int[])
RETURNS TABLE (n bigint, batch_seq bigint, ordinal int) LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
  SELECT c.n, c.batch_seq, c.ordinal FROM fates_of(batch_seqs, ordinals) c
   WHERE NOT EXISTS (SELECT FROM fate_change f
                      WHERE f.fact_batch_seq = c.batch_seq AND f.fact_ordinal = c.ordinal OFFSET 0);
END;
COMMENT ON FUNCTION standing_facts(bigint[], int[]) IS 'What stands now for each fact asked about, after every change of fate.';
