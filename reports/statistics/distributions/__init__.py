"""Quantiles, bootstrap and one-pass sums of tables of any size."""
