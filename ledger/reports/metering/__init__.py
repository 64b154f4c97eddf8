"""What was used and what is covered."""
