-- A fact that was replaced is replaced no more: who stands for it may be. Two writers that replace the same
-- one collide here, and the second looks again. What was superseded may turn out to be void, once as well.
CREATE UNIQUE INDEX fate_change_once ON fate_change (fact_batch_seq, fact_ordinal, from_fate);
DROP INDEX fate_change_fact_batch_seq_fact_ordinal_idx;
