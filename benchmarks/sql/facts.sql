-- The rows that the yardstick copies: all that the run stored, what was in chunks spread out.
TABLE usage_fact UNION ALL TABLE spread_fact
