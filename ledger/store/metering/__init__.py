"""Facts and what waits."""
