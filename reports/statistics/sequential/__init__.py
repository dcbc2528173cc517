"""Tests that are looked at while an experiment runs."""
