"""Align the sequential model with a language model: stage 1."""
