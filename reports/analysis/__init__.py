"""Turn outcome tables into estimates and checks."""
