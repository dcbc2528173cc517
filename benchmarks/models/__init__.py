"""Measure the models: quality, cost, against public implementations."""
