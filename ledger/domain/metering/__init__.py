"""What was used: events into facts, keys, duplicates, corrections and the windows they make."""
