"""What customers owe, and for how long."""
