"""Share helpers between benchmarks."""
