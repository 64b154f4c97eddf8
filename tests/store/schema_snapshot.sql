-- One line for everything the migrations make, sorted, so that a change of the schema is seen as a difference.
SELECT line FROM (
  SELECT format('table %s.%s %s%s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
                CASE WHEN a.attnotnull THEN ' not null' ELSE '' END,
                coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')) AS line
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
   WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  UNION ALL
  SELECT format('rights %s %s', c.relname, array_to_string(ARRAY(SELECT unnest(c.relacl)::text ORDER BY 1), ' '))
    FROM pg_class c
   WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'S', 'v') AND NOT c.relispartition
  UNION ALL
  SELECT format('constraint %s.%s %s', c.relname, k.conname, pg_get_constraintdef(k.oid))
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
   WHERE k.connamespace = 'public'::regnamespace AND NOT c.relispartition AND k.contype <> 'n'
  UNION ALL
  SELECT format('domain %s %s', t.typname, pg_get_constraintdef(k.oid))
    FROM pg_type t JOIN pg_constraint k ON k.contypid = t.oid WHERE t.typnamespace = 'public'::regnamespace
  UNION ALL
  SELECT 'index ' || pg_get_indexdef(i.indexrelid)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
   WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition
  UNION ALL
  SELECT 'trigger ' || pg_get_triggerdef(t.oid)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
   WHERE NOT t.tgisinternal AND c.relnamespace = 'public'::regnamespace AND NOT c.relispartition
  UNION ALL
  SELECT format('policy %s.%s for %s to %s using %s check %s', p.tablename, p.policyname, p.cmd,
                array_to_string(p.roles, ','), p.qual, p.with_check)
    FROM pg_policies p WHERE p.schemaname = 'public'
  UNION ALL
  SELECT format('function %s(%s) %s%s%s %s', p.proname, pg_get_function_identity_arguments(p.oid), p.provolatile,
                CASE WHEN p.prosecdef THEN ' definer' ELSE '' END,
                coalesce(' ' || array_to_string(p.proconfig, ' '), ''), md5(coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)))
    FROM pg_proc p
    LEFT JOIN pg_depend e ON e.objid = p.oid AND e.deptype = 'e'
   WHERE p.pronamespace = 'public'::regnamespace AND e.objid IS NULL
) AS all_of_it
ORDER BY line COLLATE "C"
