"""Read per-user outcome tables."""
