"""Turn estimates into a verdict, a decision and words."""
