"""Readings and meters."""
