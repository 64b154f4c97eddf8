-- name: find_event_keys
-- Which of these keys are taken, and by what. Unique indexes of event_key, the one of a key's slot.
SELECT o.n::int AS n, k.digest, k.batch_seq, k.ordinal, k.owner
  FROM (SELECT encode(t.key, 'hex')::uuid AS key, t.n FROM unnest(:keys::bytea[]) WITH ORDINALITY AS t(key, n)) o
 CROSS JOIN LATERAL (SELECT * FROM taken_event c WHERE c.slot = slot_of(o.key) AND c.key = o.key OFFSET 0) k;

-- name: draw_batch
-- The next number of the stored order, and behind it the number that any change of a slow fact raises.
SELECT d.batch_seq, (SELECT CASE WHEN v.is_called THEN v.last_value ELSE 0 END
                       FROM directory_version v WHERE d.batch_seq > 0) AS directory_version
  FROM (SELECT draw_batch_seq() AS batch_seq OFFSET 0) d;

-- name: take_event_keys
-- The next number of the stored order, these keys taken under it, eight to a row, in the order of their lines, and behind
-- it the number that any change of a slow fact raises.
WITH drawn AS MATERIALIZED (SELECT draw_batch_seq() AS batch_seq),
taken AS (
  INSERT INTO event_key (batch_seq, owner,
                         key_0, digest_0, ordinal_0,
                         key_1, digest_1, ordinal_1,
                         key_2, digest_2, ordinal_2,
                         key_3, digest_3, ordinal_3,
                         key_4, digest_4, ordinal_4,
                         key_5, digest_5, ordinal_5,
                         key_6, digest_6, ordinal_6,
                         key_7, digest_7, ordinal_7)
  SELECT d.batch_seq, k.owner,
         any_value(k.key) FILTER (WHERE k.slot = 0), any_value(k.digest) FILTER (WHERE k.slot = 0), any_value(k.ordinal) FILTER (WHERE k.slot = 0),
         any_value(k.key) FILTER (WHERE k.slot = 1), any_value(k.digest) FILTER (WHERE k.slot = 1), any_value(k.ordinal) FILTER (WHERE k.slot = 1),
         any_value(k.key) FILTER (WHERE k.slot = 2), any_value(k.digest) FILTER (WHERE k.slot = 2), any_value(k.ordinal) FILTER (WHERE k.slot = 2),
         any_value(k.key) FILTER (WHERE k.slot = 3), any_value(k.digest) FILTER (WHERE k.slot = 3), any_value(k.ordinal) FILTER (WHERE k.slot = 3),
         any_value(k.key) FILTER (WHERE k.slot = 4), any_value(k.digest) FILTER (WHERE k.slot = 4), any_value(k.ordinal) FILTER (WHERE k.slot = 4),
         any_value(k.key) FILTER (WHERE k.slot = 5), any_value(k.digest) FILTER (WHERE k.slot = 5), any_value(k.ordinal) FILTER (WHERE k.slot = 5),
         any_value(k.key) FILTER (WHERE k.slot = 6), any_value(k.digest) FILTER (WHERE k.slot = 6), any_value(k.ordinal) FILTER (WHERE k.slot = 6),
         any_value(k.key) FILTER (WHERE k.slot = 7), any_value(k.digest) FILTER (WHERE k.slot = 7), any_value(k.ordinal) FILTER (WHERE k.slot = 7)
    FROM drawn d
   CROSS JOIN (SELECT t.line, t.slot, encode(t.key, 'hex')::uuid AS key, encode(t.digest, 'hex')::uuid AS digest, t.ordinal, t.owner
                 FROM unnest(:lines::int[], :slots::int[], :keys::bytea[], :digests::bytea[], :ordinals::int[], :owners::text[])
                      AS t(line, slot, key, digest, ordinal, owner)) k
   GROUP BY d.batch_seq, k.owner, k.line
   ORDER BY k.line
)
SELECT d.batch_seq, (SELECT CASE WHEN v.is_called THEN v.last_value ELSE 0 END
                       FROM directory_version v WHERE d.batch_seq > 0) AS directory_version
  FROM drawn d;
