-- name: ensure_partitions
-- Makes the partitions of these days where they lack; returns how many it made.
SELECT ensure_partitions(:first_day, :days);
