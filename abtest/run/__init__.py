"""Run one experiment from a configuration to a report."""
