"""Simulate the platform: its logs, its people and videos, and the feed that joins them."""
