"""Check a dataset: values, references, files, and what it is good for."""
