-- name: list_seals
-- The chain, from its first seal on.
SELECT seal_no, until_seq, until_cut_off_id, previous, digest, made_at FROM seal ORDER BY seal_no;

-- name: find_last_seal
-- The last seal of the chain, or no row; primary key.
SELECT seal_no, until_seq, until_cut_off_id, previous, digest, made_at FROM seal ORDER BY seal_no DESC LIMIT 1;

-- name: list_parts
-- What every seal holds.
SELECT seal_no, table_name, stored_day, rows, digest, columns FROM seal_part ORDER BY seal_no, table_name, stored_day;

-- name: find_latest_cut_off
-- The highest batch behind any cut-off; index.
SELECT coalesce(max(batch_seq), 0) FROM cut_off;

-- name: find_latest_cut_off_id
-- The highest cut-off there is; primary key.
SELECT coalesce(max(cut_off_id), 0) FROM cut_off;

-- name: list_columns
-- The columns of a table and their types, a domain as what it is of, in arrays too: numbers of domains change with a restore.
SELECT string_agg(format('t.%I::%s', a.attname,
                         CASE WHEN e.typtype = 'd' THEN format_type(e.typbasetype, a.atttypmod) || '[]'
                              ELSE format_type(CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END, a.atttypmod) END), ', '
                  ORDER BY a.attnum) AS columns
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
 WHERE a.attrelid = to_regclass(:table_name) AND a.attnum > 0 AND NOT a.attisdropped
   AND a.attname <> ALL(:left_out::text[]);

-- name: prefer_indexes
-- For this transaction: a stretch of the stored order is found by BRIN, where the planner, which knows little of days that
-- are being filled, would read the whole day again for each of its stretches.
SELECT set_config('enable_seqscan', 'off', true), set_config('max_parallel_workers_per_gather', '0', true);

-- name: count_batches
-- How many rows each batch of (since, until] has, in stored order. Written for receipts: where another table is meant,
-- its own words stand for `receipt t`, `t.batch_seq`, `NULL::date`, `1::numeric`, `AND true` and the columns, because no
-- name is a parameter.
SELECT t.batch_seq AS place, sum(1::numeric)::bigint AS rows FROM receipt t
 WHERE t.batch_seq > :since::bigint AND t.batch_seq <= :until::bigint AND true GROUP BY 1 ORDER BY 1;

-- name: digest_batches
-- Digests of the rows of each batch of (since, until], by day: of the bytes that PostgreSQL would send, in the order of
-- those bytes. Written for receipts, as above.
SELECT r.place, r.stored_day, sum(r.rows)::bigint AS rows, sha256(string_agg(r.said, ''::bytea ORDER BY r.said)) AS digest
  FROM (SELECT t.batch_seq AS place, NULL::date AS stored_day, 1::numeric AS rows, record_send(ROW(t.ordinal_from)) AS said
          FROM receipt t WHERE t.batch_seq > :since::bigint AND t.batch_seq <= :until::bigint AND true) r
 GROUP BY 1, 2;

-- name: digest_archived
-- The digest of each row that says which file a day is in, in the order in which its tables went; the columns stand for
-- `t.path`.
SELECT t.stored_day, sha256(record_send(ROW(t.path))) AS digest FROM archived_partition t
 ORDER BY t.stored_day, t.archived_at, t.table_name;

-- name: digest_merged
-- The digest of each row of merged facts of some days, in order; the columns stand for `t.sha256`.
SELECT t.stored_day, sha256(record_send(ROW(t.sha256))) AS digest FROM merged_chunk t
 WHERE t.stored_day >= :since_day::date AND t.stored_day <= :until_day::date ORDER BY t.stored_day, t.part;

-- name: insert_seal
-- A seal at the end of the chain; refused by its key where another was first.
INSERT INTO seal (seal_no, until_seq, until_cut_off_id, previous, digest)
VALUES (:seal_no, :until_seq, :until_cut_off_id, :previous, :digest);

-- name: insert_parts
-- What a seal holds.
INSERT INTO seal_part (seal_no, table_name, stored_day, rows, digest, columns)
SELECT :seal_no, * FROM unnest(:tables::text[], :days::date[], :rows::bigint[], :digests::bytea[], :columns::text[]);
