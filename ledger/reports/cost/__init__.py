"""What it cost, what lacks and where a figure comes from."""
