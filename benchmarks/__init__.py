"""Measure this project beside its peers: speed, memory, accuracy, error rates."""
