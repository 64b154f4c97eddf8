"""Books cost and revenue, and checks the books."""
