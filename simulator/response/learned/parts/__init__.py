"""Divide a log: people into pools, and the impressions of each into training and test."""
