"""Test an experiment while it runs."""
