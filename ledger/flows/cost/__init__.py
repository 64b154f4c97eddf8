"""Allocates what the factory costs."""
