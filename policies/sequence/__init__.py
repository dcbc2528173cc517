"""Encode, train and score sequences of events: shared by sequence models."""
