"""Compare policies offline on held-out events."""
