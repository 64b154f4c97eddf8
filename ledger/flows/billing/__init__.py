"""Drafts and issues invoices."""
