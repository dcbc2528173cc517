"""Stage 1: align the sequential model with a language model."""
