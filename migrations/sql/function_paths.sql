-- Last of all: every function finds its tables in the schema it is in, whatever that is called and whoever
-- calls. What the system offers comes first and temporary tables last, so that nobody's own stand before them.
DO $$
DECLARE
  home name := current_schema();
  found regprocedure;
BEGIN
  FOR found IN
    SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
     WHERE p.pronamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = home)
       AND l.lanname IN ('sql', 'plpgsql') AND p.prosqlbody IS NULL
  LOOP
    EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, %I, pg_temp', found, home);
  END LOOP;
END $$;
