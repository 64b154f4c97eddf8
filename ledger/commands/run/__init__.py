"""Commands that do the work of a period."""
