"""Policies that rank videos."""
