-- Sums follow: what large batches bring as frames becomes rows of windows, many batches at once, a moment after them.

-- Begins to sum: everything up to what it returns may be summed in this transaction, which nobody else does, and while
-- which nobody draws a cut-off; those drawn later lie at or above it. NULL where a transaction that has drawn a cut-off,
-- or sums itself, does not end in time: what is not summed waits for the next.
CREATE FUNCTION begin_sums() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '2s' AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(lock_class('cut_off'), 0);
  RETURN last_closed_batch();
EXCEPTION WHEN lock_not_available THEN
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION begin_sums() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION begin_sums() TO tokenledger_worker;
GRANT DELETE ON pending_sum TO tokenledger_worker;
