"""Rank from tables of vectors, without a language model."""
