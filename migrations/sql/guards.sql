-- Indexes of what is asked after every run: which rows of a stage are new. Rows come in stored order.
CREATE INDEX ON charge USING brin (batch_seq) WITH (pages_per_range = 16);
CREATE INDEX ON activity_mask USING brin (batch_seq) WITH (pages_per_range = 16);
