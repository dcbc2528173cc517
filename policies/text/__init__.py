"""Vectors of texts without a language model."""
