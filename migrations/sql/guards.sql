-- Indexes of what is asked after every run: which rows of a stage are new. Rows come in stored order.
-- Charges by a tree: an invoice asks before each chunk, and of what a run has just stored a BRIN has no summary.
CREATE INDEX ON charge_day (batch_seq);
-- What an array of ids names is looked for; the exclusion constraints' indexes are asked for one at a time.
CREATE INDEX ON subscription (subscription_id);
CREATE INDEX ON subscription (customer_id);
CREATE INDEX ON subscription (rate_card_id);
CREATE INDEX ON customer_detail (customer_id);
CREATE INDEX ON tax_treatment (customer_id);
CREATE INDEX ON subscription (lower(recorded));
CREATE INDEX ON subscription (upper(recorded));
CREATE INDEX ON customer_above (lower(recorded));
CREATE INDEX ON customer_above (upper(recorded));
CREATE INDEX ON rate_card_price (lower(recorded));
CREATE INDEX ON rate_card_price (upper(recorded));
CREATE INDEX ON activity_mask USING brin (batch_seq) WITH (pages_per_range = 16);
