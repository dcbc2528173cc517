"""Encoders, losses and training shared by sequence models."""
