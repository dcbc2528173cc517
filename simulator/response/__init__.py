"""Respond as users do: by the built-in world's truth, or as learned from a log."""
