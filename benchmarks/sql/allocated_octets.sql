-- What is allocated takes on disk, with its indexes: by window, and by day.
SELECT pg_total_relation_size('cost_allocation') + pg_total_relation_size('cost_share')
       + pg_total_relation_size('cost_day_line');
