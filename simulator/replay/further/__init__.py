"""Compute the estimates and intervals that are shown when asked for."""
