"""PostgreSQL to try it with."""
