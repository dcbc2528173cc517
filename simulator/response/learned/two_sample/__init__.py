"""Ask whether a classifier can tell simulated sessions from those of the log."""
