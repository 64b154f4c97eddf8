"""Whose cost it is: assets, deployments, splits and what is still lacking."""
