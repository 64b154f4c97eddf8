-- Run by a superuser inside the database, before the migrations and as often as wished.
CREATE EXTENSION IF NOT EXISTS btree_gist;
DO $$
BEGIN
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
  EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO tokenledger_worker', current_database());
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO tokenledger_api', current_database());
END $$;
