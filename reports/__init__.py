"""Outcome tables in, lift reports out."""
