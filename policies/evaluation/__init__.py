"""Splits, candidates and metrics of offline evaluation."""
