-- What is allocated takes on disk, with its indexes.
SELECT pg_total_relation_size('cost_allocation');
