"""Turn outcome tables into lift reports."""
