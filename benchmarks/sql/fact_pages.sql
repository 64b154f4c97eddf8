-- Pages of all facts, without their indexes.
SELECT sum(pg_relation_size(i.inhrelid) / current_setting('block_size')::bigint)::bigint
  FROM pg_inherits i WHERE i.inhparent = 'usage_fact'::regclass
