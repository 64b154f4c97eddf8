"""Rates usage."""
