"""The journal, and what is read of the books."""
