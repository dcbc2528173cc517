"""Compute the statistics of online experiments; imports nothing of ours."""
