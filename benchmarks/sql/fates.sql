-- What was received and what of it counted.
SELECT coalesce(sum(r.received), 0)::bigint AS received, coalesce(sum(r.counted), 0)::bigint AS counted FROM receipt r
