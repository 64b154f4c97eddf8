"""Commands of a GPU host."""
