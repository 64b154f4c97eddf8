-- Records committed: the sum of the positions, one row a partition.
SELECT coalesce(sum(p.next_offset), 0)::bigint FROM kafka_position p
