"""What usage is worth: rate cards and the charges they make."""
