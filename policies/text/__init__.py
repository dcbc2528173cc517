"""Represent texts as vectors without a language model."""
