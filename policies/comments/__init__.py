"""Policies that rank comments."""
