"""Enters what people know: parties, prices, sites, hardware, keys."""
