-- The table of the yardstick: the columns of usage_fact, partitioned, logged, without any index.
DROP TABLE IF EXISTS yardstick;
CREATE TABLE yardstick (LIKE usage_fact) PARTITION BY RANGE (stored_day);
CREATE TABLE yardstick_all PARTITION OF yardstick DEFAULT;
-- Facts of chunks, as rows.
DROP TABLE IF EXISTS spread_fact;
CREATE UNLOGGED TABLE spread_fact (LIKE usage_fact);
