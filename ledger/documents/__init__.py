"""Documents people receive."""
