"""The application: one experiment from a configuration to a lift report."""

__version__ = "0.1.0"
