"""One experiment from a configuration to a report."""
