-- The rows that the yardstick copies: all that the run stored.
TABLE usage_fact
