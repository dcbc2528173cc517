"""Measure the statistics: agreement, coverage, errors."""
