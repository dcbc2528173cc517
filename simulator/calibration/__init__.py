"""Fit the built-in world to published figures."""
