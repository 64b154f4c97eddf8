-- Run by a superuser in any database of the server, as often as wished: the three roles.
-- A password, or the verifier made of it, is read from the session setting tokenledger.<role>_password; without one
-- it stays as it is, and a new role has none and can enter only where the server trusts the socket.
DO $$
DECLARE
  kind text;
  role_name text;
  secret text;
BEGIN
  FOREACH kind IN ARRAY ARRAY['owner', 'worker', 'api'] LOOP
    role_name := 'tokenledger_' || kind;
    secret := nullif(current_setting(format('tokenledger.%s_password', kind), true), '');
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
      EXECUTE format('CREATE ROLE %I', role_name);
    END IF;
    -- PostgreSQL refuses COPY FROM where row-level security binds the caller, so the worker passes it.
    EXECUTE format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION %s', role_name,
                   CASE kind WHEN 'worker' THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END);
    IF secret IS NOT NULL THEN
      EXECUTE format('ALTER ROLE %I PASSWORD %L', role_name, secret);
    END IF;
    PERFORM set_config(format('tokenledger.%s_password', kind), '', false);
  END LOOP;
END $$;
