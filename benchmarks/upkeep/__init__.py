"""Keep the project honest: examples, pictures, mutants, equal results."""
