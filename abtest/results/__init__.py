"""Say what a result means: metrics, factors, evidence, exit codes, and how it shows in Python."""
