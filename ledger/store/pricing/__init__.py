"""Rate cards and charges."""
