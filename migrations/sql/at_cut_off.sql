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
