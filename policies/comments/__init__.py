"""Rank comments."""
