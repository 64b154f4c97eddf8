"""What waits for a price."""
