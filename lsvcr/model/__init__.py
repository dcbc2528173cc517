"""Represent people, videos and comments as vectors: LSVCR's sequential model."""
