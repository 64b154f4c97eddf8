"""What energy made."""
