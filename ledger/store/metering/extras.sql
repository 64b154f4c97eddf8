-- name: find_extras
-- What some facts count of extras, each under the ordinal it is asked for by; primary key of usage_extra.
SELECT p.ordinal, e.meter, e.quantity
  FROM unnest(:batch_seqs::bigint[], :fact_ordinals::int[], :ordinals::int[]) AS p(batch_seq, fact_ordinal, ordinal)
  JOIN (SELECT x.batch_seq, x.meter, q.ordinal AS fact_ordinal, q.quantity
          FROM usage_extra x CROSS JOIN LATERAL unnest(x.ordinals, x.quantities) AS q(ordinal, quantity)
         WHERE x.batch_seq = ANY(:batch_seqs::bigint[])) e USING (batch_seq, fact_ordinal)
 ORDER BY p.ordinal, e.meter;
