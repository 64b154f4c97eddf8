-- Run by a superuser inside the database, before the migrations and as often as wished.
CREATE EXTENSION IF NOT EXISTS btree_gist;
DO $$
DECLARE
  able regprocedure;
BEGIN
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC, tokenledger_worker, tokenledger_api', current_database());
  -- No TEMPORARY: what a role makes for itself is never found by code that runs as the owner.
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO tokenledger_worker, tokenledger_api', current_database());
  REVOKE CREATE ON SCHEMA public FROM PUBLIC, tokenledger_worker, tokenledger_api;
  -- What PostgreSQL lets everybody do: store bytes past every table, write into the WAL, and hold locks that
  -- the stored clock waits for. Locks are for those who write; letting go of its own is what a pool asks of every
  -- session it gets back.
  FOR able IN SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
               WHERE n.nspname = 'pg_catalog' AND p.proname <> 'pg_advisory_unlock_all'
                 AND (p.proname ~ '^(lo_|pg_advisory_|pg_try_advisory_)' OR p.proname IN
                      ('loread', 'lowrite', 'pg_logical_emit_message')) LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', able);
    IF able::text LIKE '%advisory%' THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO tokenledger_owner, tokenledger_worker', able);
    END IF;
  END LOOP;
END $$;
