"""Plan a test: users needed, detectable effects, A/A checks."""
