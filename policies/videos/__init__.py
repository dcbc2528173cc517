"""Rank videos."""
