"""Compute the probabilities with which a target policy would have chosen."""
