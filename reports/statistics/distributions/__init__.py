"""Compute quantiles, bootstraps and one-pass sums of tables of any size."""
